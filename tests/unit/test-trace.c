/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is kept of the talk with a device: bounded, countable, readable while it is written, and without anything personal. */
#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "bsl/codes.h"
#include "engine-bench.h"
#include "firmware/nv.h"
#include "flash/trace.h"

static BslDeadlines deadlines;

static char *text_of(const Trace *t, size_t *ret_size) {
        TraceHead head = {.job = 7, .kind = "flash", .package = "a b#c.pac", .family = "phone", .vendor = 0x1782, .product = 0x4d00,
                          .speed = "480", .deadlines = &deadlines};
        char *text = trace_text(t, &head, ret_size);

        ck_assert_ptr_nonnull(text);
        return text;
}

static void frame(Trace *t, bool out, unsigned type, const void *payload, size_t size, uint64_t now_ms) {
        trace_event(t, &(BslEvent){.kind = out ? BSL_EVENT_SENT : BSL_EVENT_RECEIVED, .check = BSL_CHECK_SUM, .type = (uint16_t) type,
                                   .payload = payload, .size = size, .check_value = 0x1234, .now_ms = now_ms});
}

static unsigned count_of(const char *text, const char *what) {
        unsigned n = 0;

        for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
                n++;
        return n;
}

/* Of all exchanges, told one by one or as runs. */
static unsigned long exchanges(const char *text) {
        unsigned long n = 0, times = 1;
        unsigned lines = 0;

        for (const char *p = strstr(text, "\nbegin\n") + 7; *p; p = strchr(p, '\n') + 1) {
                unsigned long run;
                unsigned run_lines;

                if (sscanf(p, "run %lu %u", &run, &run_lines) == 2) {
                        times = run;
                        lines = run_lines;
                        continue;
                }
                if (strcspn(p, ">") < strcspn(p, "\n#"))
                        n += times;
                if (lines > 0 && --lines == 0)
                        times = 1;
        }
        return n;
}

START_TEST(bounded) {
        _cleanup_(trace_unrefp) Trace *t = trace_new();
        uint8_t block[2048] = "block";
        char first[64], last[64];
        size_t size;

        trace_step(t, 0, "write", "boot", TRACE_PACKAGE);
        for (uint64_t i = 0; i < 100000; i++) {
                put_le32(block + 100, (uint32_t) i);
                frame(t, true, BSL_CMD_MIDST_DATA, block, sizeof(block), 1000 + 2 * i);
                frame(t, false, BSL_REP_ACK, NULL, 0, 1001 + 2 * i);
        }
        _cleanup_free_ char *text = text_of(t, &size);
        ck_assert_uint_lt(size, 100000);
        ck_assert_uint_eq(exchanges(text), 100000);
        ck_assert_uint_eq(count_of(text, "lost"), 0);
        /* 256 at either end, one of them the step; a run of two; half of one more */
        ck_assert_uint_eq(count_of(text, " > ") + count_of(text, " < ") + count_of(text, "step"), 256 + 2 + 1 + 256);
        snprintf(first, sizeof(first), "\n     0.000 > sum esc 0002 2048 ~");
        snprintf(last, sizeof(last), "\n   199.999 < sum esc 0080 0 -");
        ck_assert_ptr_nonnull(strstr(text, first));
        ck_assert_ptr_nonnull(strstr(text, last));
        ck_assert(strncmp(text, "fdld-trace 1\n", 13) == 0 && streq(text + size - 5, "\nend\n"));
        ck_assert_ptr_nonnull(strstr(text, "\npackage a_b_c.pac\n"));
}
END_TEST

/* Nothing repeats: what does not fit is counted. */
START_TEST(too_many_kinds) {
        _cleanup_(trace_unrefp) Trace *t = trace_new();
        uint8_t payload[8] = {0};
        size_t size;

        for (uint32_t i = 0; i < 50000; i++) {
                put_be32(payload, i);
                frame(t, true, BSL_CMD_START_DATA, payload, sizeof(payload), i);
        }
        _cleanup_free_ char *text = text_of(t, &size);
        ck_assert_uint_lt(size, 300000);
        const char *lost = strstr(text, "\nlost ");
        ck_assert_ptr_nonnull(lost);
        ck_assert_uint_eq(strtoul(lost + 6, NULL, 10) + exchanges(text), 50000);
}
END_TEST

START_TEST(syncs_are_counted) {
        _cleanup_(trace_unrefp) Trace *t = trace_new();
        size_t size;

        for (unsigned i = 0; i < 5000; i++)
                trace_event(t, &(BslEvent){.kind = BSL_EVENT_SYNC, .now_ms = 1 + i});
        _cleanup_free_ char *text = text_of(t, &size);
        ck_assert_ptr_nonnull(strstr(text, " sync 5000\n"));
        ck_assert_uint_eq(count_of(text, "sync 5000"), 1);
}
END_TEST

/* ---- what is personal ---- */

START_TEST(logs_are_covered) {
        static const char log[] = "\0\0\0\0imei 490154203237518 at 0x9efffe00, sn=AB12345678 vol 5";
        _cleanup_(trace_unrefp) Trace *t = trace_new();
        size_t size;

        frame(t, false, BSL_REP_LOG, log, sizeof(log), 1);
        _cleanup_free_ char *text = text_of(t, &size);
        ck_assert_ptr_nonnull(strstr(text, "imei ............... at 0x9efffe00, sn=.......... vol 5"));
        ck_assert_ptr_null(strstr(text, "343930313534")); /* "490154" in hex */
}
END_TEST

static void must_not_hold(const char *text, const uint8_t *secret, size_t n) {
        char hex[2 * 64 + 1];

        for (size_t i = 0; i < n; i++)
                snprintf(hex + 2 * i, 3, "%02x", secret[i]);
        ck_assert_msg(!strcasestr(text, hex), "the trace holds %s", hex);
}

static void forget_nothing_but_secrets(const char *spec, const char *family, bool by_name) {
        Bench *b = bench_new(spec, family);
        uint8_t imei[8] = {0};
        char uid[80] = "";
        const BenchEvent *nv = NULL;
        size_t size, at, length;

        bench_plan(b, FLASH_MODE_UPGRADE);
        b->input.trace = trace_new();
        b->input.public_data = true;
        ck_assert_int_eq(bench_run(b), 0);
        for (size_t i = 0; i < b->n_events; i++) {
                const BenchEvent *e = b->events + i;
                if (e->type == EVENT_FACT && strncmp(e->text, "chip-uid=", 9) == 0)
                        snprintf(uid, sizeof(uid), "%s", e->text + 9);
                if (e->type == EVENT_BACKUP && nv_find(e->data, e->size, 5, &at, &length) && length == 8) {
                        nv = e;
                        memcpy(imei, e->data + at, 8);
                }
        }
        ck_assert_ptr_nonnull(nv);
        _cleanup_free_ char *text = text_of(b->input.trace, &size);
        must_not_hold(text, imei, sizeof(imei));
        if (uid[0]) {
                must_not_hold(text, (const uint8_t *) uid, MIN(strlen(uid), (size_t) 64));
                ck_assert_ptr_null(strstr(text, uid));
        }
        ck_assert_ptr_nonnull(strstr(text, " nv le "));
        ck_assert_ptr_nonnull(strstr(text, " 5/8 "));
        ck_assert_ptr_nonnull(strstr(text, "VER \""));
        if (by_name)
                ck_assert_ptr_nonnull(strstr(text, "READ_PARTITION 30 entries"));
        trace_unref(b->input.trace);
        bench_free(b);
}

START_TEST(phone_has_no_secrets) {
        forget_nothing_but_secrets("phone-emmc,fast", "phone", true);
}
END_TEST

START_TEST(module_has_no_secrets) {
        forget_nothing_but_secrets("uis8910,fast", "uis8910", false);
}
END_TEST

/* ---- a reader beside the writer ---- */

static _Atomic bool stop;

static void *write_on(void *userdata) {
        uint8_t block[512] = {0};

        for (uint64_t i = 0; !stop; i++) {
                put_be32(block, (uint32_t) i);
                frame(userdata, true, BSL_CMD_MIDST_DATA, block, sizeof(block), i);
                frame(userdata, false, BSL_REP_ACK, NULL, 0, i);
                /* In bursts: a device is never quicker for long, and under a sanitizer a copy takes a hundred times as long as here. */
                if (i % 16 == 0)
                        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        return NULL;
}

START_TEST(read_while_written) {
        _cleanup_(trace_unrefp) Trace *t = trace_new();
        unsigned long before = 0;
        pthread_t writer;

        ck_assert_int_eq(pthread_create(&writer, NULL, write_on, t), 0);
        for (unsigned i = 0; i < 50; i++) {
                size_t size;
                _cleanup_free_ char *text = text_of(t, &size);
                unsigned long n = exchanges(text);

                ck_assert_uint_ge(n, before);
                before = n;
                ck_assert(size > 5 && streq(text + size - 5, "\nend\n"));
        }
        stop = true;
        pthread_join(writer, NULL);
}
END_TEST

int main(void) {
        Suite *s = suite_create("trace");
        TCase *c = tcase_create("trace");
        SRunner *r;
        int failed;

        bsl_deadlines_default(&deadlines);
        tcase_set_timeout(c, 60);
        tcase_add_test(c, bounded);
        tcase_add_test(c, too_many_kinds);
        tcase_add_test(c, syncs_are_counted);
        tcase_add_test(c, logs_are_covered);
        tcase_add_test(c, phone_has_no_secrets);
        tcase_add_test(c, module_has_no_secrets);
        tcase_add_test(c, read_while_written);
        suite_add_tcase(s, c);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed > 0;
}
