/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was written is read back: on simulated units of all families, in virtual time. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine-bench.h"
#include "firmware/nv.h"
#include "firmware/sparse.h"
#include "flash/engine-private.h"

static const char *const boot_areas[] = {"boot1.bin", "boot2.bin", "mtd-", NULL};

static Bench *planned(const char *spec, const char *package, VerifyLevel level) {
        Bench *b = bench_new(spec, package);

        if (!b)
                return NULL;
        b->verify = level;
        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
        ck_assert(!b->progress_fell);
        ck_assert_uint_eq(b->progress, b->progress_total);
        ck_assert_uint_eq(b->report.steps_done, b->plan->n_steps);
}

static void must_differ(Bench *b) {
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_msg(streq(bench_code(b), "verify-mismatch-read-back"), "%s: %s", bench_code(b), b->failure.text);
        ck_assert(b->failure.must_reflash);
}

static bool says(const Bench *b, const char *text) {
        return bench_event(b, EVENT_FACT, text) != NULL;
}

static uint64_t bytes_back(const Bench *b) {
        uint64_t bytes = 0;

        for (size_t i = 0; i < b->plan->n_steps; i++)
                if (b->plan->steps[i].op == PLAN_VERIFY)
                        bytes += plan_step_bytes(b->plan->steps + i);
        return bytes;
}

/* ---- every family ----------------------------------------------------------------------------------------- */

static const struct {
        const char *spec, *package, *unreadable;
} matrix[] = {
        {"phone-emmc,fast", "phone", NULL},
        {"phone-emmc,fast,spl-head=shift", "phone", NULL},
        {"phone-emmc,fast,hdlc=always", "phone", NULL},
        {"phone-emmc,fast,info=ack", "phone", NULL},
        {"phone-emmc,fast,autod", "phone", NULL},
        {"phone-ufs-ab,fast", "phone-ab", NULL},
        {"phone-ufs-ab,fast,slot=b,snapshot", "phone-ab", NULL},
        {"phone-old,fast", "phone-old", NULL},
        {"phone-lk,fast", "phone-lk", NULL},
        {"phone-nand,fast", "phone-nand", NULL},
        {"feature-nor,fast", "feature", NULL},
        {"feature-nor,fast,loaders=1", "feature-one", NULL},
        {"uis8910,fast,image-check=0", "uis8910", NULL},
        {"uis8850,fast,image-check=0", "uis8850", NULL},
        {"uis8910,fast", "uis8910_full.pac", "PREPACK"},
        {"uis8850,fast", "uis8850_full.pac", "CP"},
};

START_TEST(good_units_pass_at_every_level) {
        int i = _i / 3;
        VerifyLevel level = (VerifyLevel) (VERIFY_SAMPLE + _i % 3);
        Bench *b = planned(matrix[i].spec, matrix[i].package, level);
        BenchFlash *want, *have;
        char verify[40];

        if (!b)
                return;
        want = bench_flash(b);
        must_pass(b);
        have = bench_flash(b);
        expect_upgrade(want, b->pac, b->package);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        snprintf(verify, sizeof(verify), "verify=%s", verify_level_to_string(level));
        ck_assert_msg(says(b, verify), "%s is not told", verify);
        ck_assert_int_eq(says(b, "cannot be read back"), matrix[i].unreadable != NULL);
        if (matrix[i].unreadable)
                ck_assert(strstr(bench_event(b, EVENT_FACT, "cannot be read back")->text, matrix[i].unreadable));
        bench_flash_free(want);
        bench_flash_free(have);
        bench_free(b);
}
END_TEST

START_TEST(ack_reads_nothing_back) {
        Bench *b = planned("phone-emmc,fast", "phone", VERIFY_ACK);

        ck_assert_uint_eq(bytes_back(b), 0);
        must_pass(b);
        ck_assert(says(b, "verify=ack"));
        bench_free(b);
}
END_TEST

/* ---- what is read ------------------------------------------------------------------------------------------ */

START_TEST(pieces_are_spread) {
        static const uint64_t totals[] = {1, 4096, 0x80000, 0x80001, 0x81000, 10 * 1024 * 1024 + 7, 1ull << 40, UINT64_MAX - 5};
        uint64_t total = totals[_i], n, last = 0, pieces = 0, bytes = 0;

        for (uint64_t at = 0; at < total; at += n) {
                bool read = plan_verify_piece(total, 0x80000, at, &n);

                ck_assert_uint_gt(n, 0);
                ck_assert_uint_le(n, total - at);
                ck_assert(at > 0 || read);
                if (!read)
                        continue;
                bytes += n;
                pieces++;
                last = at + n;
        }
        ck_assert_uint_eq(last, total);
        ck_assert_uint_le(bytes, 0x80000 + 0x1000);
        ck_assert_uint_ge(bytes, MIN(total, (uint64_t) 0x80000));
        ck_assert_uint_le(pieces, 32);
        ck_assert_uint_ge(pieces, total > 0x1000000 ? 32 : 1);
}
END_TEST

/* The boot chain is read as a whole, the rest in pieces; a check comes before the next write. */
START_TEST(critical_places_are_read_in_full) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;
        bool sampled = false, whole = false;

        pm_find(m, "System")->size = 4 * 1024 * 1024;
        b = bench_new_made("phone-emmc,fast", m);
        b->verify = VERIFY_CRITICAL;
        bench_plan(b, FLASH_MODE_UPGRADE);
        for (size_t i = 0; i < b->plan->n_steps; i++) {
                const PlanStep *s = b->plan->steps + i;

                if (s->op == PLAN_WRITE)
                        ck_assert_int_eq(b->plan->steps[i + 1].op, PLAN_VERIFY);
                if (s->op != PLAN_VERIFY)
                        continue;
                ck_assert_int_eq(s->write, (int) i - 1);
                whole = whole || (s->boot_chain && s->sample == 0);
                ck_assert(!s->boot_chain || s->sample == 0);
                sampled = sampled || (streq(s->id, "System") && plan_step_bytes(s) == 0x80000);
        }
        ck_assert(whole);
        ck_assert(sampled);
        must_pass(b);
        bench_free(b);
}
END_TEST

/* ---- what differs ------------------------------------------------------------------------------------------ */

static struct {
        int step;
        const char *file;
        long at[8];
        size_t n;
} damage;

static void do_damage(Bench *b, int step) {
        char path[256];
        int fd;

        if (step != damage.step)
                return;
        snprintf(path, sizeof(path), "%s/%s", b->dir, damage.file);
        fd = open(path, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        for (size_t i = 0; i < damage.n; i++) {
                uint8_t byte;

                ck_assert_int_eq(pread(fd, &byte, 1, damage.at[i]), 1);
                byte ^= 0x40;
                ck_assert_int_eq(pwrite(fd, &byte, 1, damage.at[i]), 1);
        }
        close(fd);
        damage.step = -1;
}

static Bench *damaged(const char *spec, const char *package, const char *id, const char *file) {
        Bench *b = planned(spec, package, VERIFY_FULL);

        damage.step = bench_find_step(b, PLAN_VERIFY, id);
        damage.file = file;
        b->before_step = do_damage;
        return b;
}

START_TEST(a_difference_is_told_with_place_and_number) {
        Bench *b = damaged("phone-emmc,fast", "phone", "boot", "parts/boot");

        /* Two in one block, one in another: that one lies where two readings meet. */
        damage.at[0] = 5000;
        damage.at[1] = 5001;
        damage.at[2] = 0xf800 - 1;
        damage.at[3] = 0xf800;
        damage.n = 4;
        must_differ(b);
        ck_assert_str_eq(b->failure.partition, "boot");
        ck_assert_uint_eq(b->failure.offset, 5000);
        ck_assert_msg(strstr(b->failure.text, "first at byte 5000 (0x1388), in 2 of "), "%s", b->failure.text);
        /* Nothing is written after what is not good. */
        ck_assert_ptr_null(bench_event(b, EVENT_FACT, "verify="));
        for (int i = b->failure.step + 1; i < (int) b->plan->n_steps; i++)
                for (size_t k = 0; k < b->n_events; k++)
                        ck_assert_int_ne(b->events[k].step, i);
        bench_free(b);
}
END_TEST

START_TEST(modules_differ) {
        Bench *b = damaged("uis8850,fast,image-check=0", "uis8850", NULL, "flash.bin");

        damage.n = 1;
        damage.at[0] = (long) (b->plan->steps[damage.step].address - 0x60000000 + 100);
        must_differ(b);
        ck_assert_uint_eq(b->failure.offset, 100);
        bench_free(b);
}
END_TEST

static void flip_a_reading(Bench *b, int step) {
        if (step == damage.step)
                bench_fault(b, "at=fdl2:read bad-readback");
}

START_TEST(a_bit_that_fell_over_in_flash_is_found) {
        Bench *b = planned("phone-emmc,fast", "phone", VERIFY_CRITICAL);

        bench_fault(b, "at=fdl2:midst:3000000 bad-readback");
        must_differ(b);
        ck_assert_str_eq(b->failure.partition, "boot");
        ck_assert_uint_eq(b->failure.offset, 2097152);
        bench_free(b);
}
END_TEST

START_TEST(feature_phones_differ) {
        Bench *b = planned("feature-nor,fast", "feature", VERIFY_FULL);

        damage.step = bench_find_step(b, PLAN_VERIFY, NULL);
        b->before_step = flip_a_reading;
        must_differ(b);
        ck_assert_int_eq(b->failure.step, damage.step);
        ck_assert_msg(strstr(b->failure.text, ", in 1 of "), "%s", b->failure.text);
        bench_free(b);
}
END_TEST

START_TEST(the_block_of_the_loader_is_left_out) {
        Bench *b = damaged("phone-emmc,fast", "phone", "splloader", "boot1.bin");

        damage.at[0] = 511;
        damage.n = 1;
        must_pass(b);
        bench_free(b);
        b = damaged("phone-emmc,fast", "phone", "splloader", "boot1.bin");
        damage.at[0] = 512;
        must_differ(b);
        ck_assert_uint_eq(b->failure.offset, 512);
        bench_free(b);
}
END_TEST

static Bench *with_sparse(VerifyLevel level) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        pm_find(m, "System")->data = PM_SPARSE;
        pm_find(m, "System")->size = 8 * 1024 * 1024;
        b = bench_new_made("phone-emmc,fast", m);
        b->verify = level;
        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

typedef struct Span {
        uint64_t at, size;
        bool hole;
} Span;

typedef struct Spans {
        Span list[64];
        size_t n;
} Spans;

static int collect(void *userdata, uint64_t at, uint64_t size, uint64_t source, uint32_t fill _unused_) {
        Spans *s = userdata;

        ck_assert_uint_lt(s->n, 64);
        s->list[s->n++] = (Span) {at, size, source == U64_UNKNOWN};
        return 0;
}

/* What the loader expanded is compared where the image has data or a fill, and nowhere else. */
START_TEST(sparse_images_are_compared_expanded) {
        Bench *b = with_sparse(VERIFY_FULL);
        const PacFile *f = pac_find_file(b->pac, "System");
        PacReader reader = pac_reader_for_memory(b->package + f->offset, f->size);
        Spans spans = {};
        uint64_t hole = 0;

        must_pass(b);
        ck_assert(says(b, "verify=full"));
        ck_assert_int_eq(sparse_data(&reader, collect, &spans), 0);
        ck_assert_uint_gt(spans.n, 1);
        for (size_t i = 0; i < spans.n && hole == spans.list[i].at; i++)
                hole = spans.list[i].at + spans.list[i].size;
        bench_free(b);

        for (size_t i = 0; i < spans.n; i++) {
                b = with_sparse(VERIFY_FULL);
                damage.step = bench_find_step(b, PLAN_VERIFY, "System");
                damage.file = "parts/super";
                damage.at[0] = (long) (spans.list[i].at + spans.list[i].size - 1);
                damage.n = 1;
                b->before_step = do_damage;
                must_differ(b);
                ck_assert_uint_eq(b->failure.offset, spans.list[i].at + spans.list[i].size - 1);
                bench_free(b);
        }
        b = with_sparse(VERIFY_FULL);
        damage.step = bench_find_step(b, PLAN_VERIFY, "System");
        damage.at[0] = (long) hole;
        b->before_step = do_damage;
        must_pass(b);
        bench_free(b);
}
END_TEST

/* ---- sparse images expanded here, and files that are there already ---------------------------------------------- */

static Bench *with_options(const char *spec, PacMaker *m, int sparse, bool skip_equal) {
        PlanOptions o = {.mode = FLASH_MODE_UPGRADE, .verify = VERIFY_FULL, .skip_equal = skip_equal};
        Bench *b = bench_new_made(spec, m);

        o.sparse = sparse == SPARSE_EXPAND ? SPARSE_EXPAND : sparse == SPARSE_AS_IS ? SPARSE_AS_IS : SPARSE_AUTO;
        bench_plan_with(b, &o);
        return b;
}

static PacMaker *sparse_package(void) {
        PacMaker *m = pm_new_family("phone", 11);

        pm_find(m, "System")->data = PM_SPARSE;
        pm_find(m, "System")->size = 8 * 1024 * 1024;
        return m;
}

/* By the loader and by us, escaped or not: the same flash. */
START_TEST(expanded_here_or_there) {
        static const char *const specs[] = {"phone-emmc,fast", "phone-emmc,fast,hdlc=always", "phone-emmc,fast,raw=2"};
        BenchFlash *want = NULL;

        for (int way = SPARSE_AUTO; way <= SPARSE_AS_IS; way++) {
                Bench *b = with_options(specs[_i], sparse_package(), way, false);
                BenchFlash *have;

                must_pass(b);
                ck_assert_int_eq(says(b, "expanded=super"), way != SPARSE_AS_IS);
                have = bench_flash(b);
                if (want)
                        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
                bench_flash_free(want);
                want = have;
                bench_free(b);
        }
        bench_flash_free(want);
}
END_TEST

/* How much went into flash, by the unit's own count. */
static uint64_t written(const Bench *b) {
        static char buf[65536];
        const char *at;

        sim_describe(b->sim->model, buf, sizeof(buf));
        at = strstr(buf, "\"bytes_written\":");
        ck_assert_ptr_nonnull(at);
        return strtoull(at + 16, NULL, 10);
}

START_TEST(what_is_there_is_not_written_again) {
        Bench *b = with_options("phone-emmc,fast", sparse_package(), SPARSE_AUTO, true);
        uint64_t first, before;
        BenchFlash *want, *have;

        before = written(b);
        must_pass(b);
        ck_assert(!says(b, "skipped="));
        first = written(b) - before;
        want = bench_flash(b);
        bench_replug(b);
        before = written(b);
        must_pass(b);
        ck_assert(says(b, "skipped="));
        ck_assert(says(b, "verify=full"));
        /* NV, the boot loader and what the loader changes by itself go every time. */
        ck_assert_uint_lt(written(b) - before, first / 4);
        have = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        bench_flash_free(have);

        /* One byte in one partition: that one is written, and right again. */
        damage.step = 0;
        damage.file = "parts/boot";
        damage.at[0] = 70000;
        damage.n = 1;
        b->before_step = do_damage;
        bench_replug(b);
        must_pass(b);
        have = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        bench_flash_free(have);
        bench_flash_free(want);
        bench_free(b);
}
END_TEST

/* Loaders write the other slot along: one that differs there has to be written too. */
START_TEST(the_twin_counts) {
        Bench *b = with_options("phone-ufs-ab,fast", pm_new_family("phone-ab", 11), SPARSE_AUTO, true);
        BenchFlash *want, *have;

        must_pass(b);
        want = bench_flash(b);
        damage.step = 0;
        damage.file = "parts/uboot_b";
        damage.at[0] = 5000;
        damage.n = 1;
        b->before_step = do_damage;
        bench_replug(b);
        must_pass(b);
        have = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        bench_flash_free(have);
        bench_flash_free(want);
        bench_free(b);
}
END_TEST

static void refuse_to_show_writes(Bench *b, int step) {
        static bool once;

        if (b->plan->steps[step].op == PLAN_WRITE && !once)
                bench_fault(b, "at=fdl2:read-start nak=8c count=forever");
        once = once || b->plan->steps[step].op == PLAN_WRITE;
}

/* A loader that shows nothing gets everything, as ever. */
START_TEST(what_cannot_be_read_is_written) {
        Bench *b = with_options("phone-emmc,fast,unknown-limit=0", pm_new_family("phone", 11), SPARSE_AUTO, true);
        uint64_t before, first;

        before = written(b);
        must_pass(b);
        first = written(b) - before;
        b->before_step = refuse_to_show_writes;
        bench_replug(b);
        before = written(b);
        must_pass(b);
        ck_assert(!says(b, "skipped="));
        ck_assert_uint_eq(written(b) - before, first);
        bench_free(b);
}
END_TEST

/* ---- loaders that do not show it ----------------------------------------------------------------------------- */

static unsigned asked;

static void refuse_to_show(Bench *b, int step) {
        if (b->plan->steps[step].op != PLAN_VERIFY || b->plan->steps[b->plan->steps[step].write].op != PLAN_WRITE)
                return;
        bench_fault(b, "clear");
        if (asked++ < 2)
                bench_fault(b, "at=fdl2:read-start nak=84");
}

START_TEST(a_loader_that_shows_nothing_is_asked_twice) {
        Bench *b = planned("phone-emmc,fast", "phone", VERIFY_FULL);
        const BenchEvent *note;

        asked = 0;
        b->before_step = refuse_to_show;
        must_pass(b);
        ck_assert_uint_gt(asked, 2);
        note = bench_event(b, EVENT_FACT, "cannot be read back");
        ck_assert_ptr_nonnull(note);
        for (size_t i = 0; i < b->plan->n_steps; i++)
                if (b->plan->steps[i].op == PLAN_WRITE)
                        ck_assert_msg(strstr(note->text, b->plan->steps[i].partition), "%s: %s", b->plan->steps[i].partition, note->text);
        bench_free(b);
}
END_TEST

START_TEST(a_refusal_later_in_a_partition_is_a_failure) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        pm_find(m, "System")->size = 4 * 1024 * 1024;
        b = bench_new_made("phone-emmc,fast", m);
        b->verify = VERIFY_FULL;
        bench_plan(b, FLASH_MODE_UPGRADE);
        b->late_fault = "at=fdl2:read-midst nak=8a";
        b->late_fault_bytes = 1024 * 1024;
        for (int i = 0; i < bench_find_step(b, PLAN_VERIFY, "System"); i++)
                b->late_fault_bytes += plan_step_bytes(b->plan->steps + i);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_msg(streq(bench_code(b), "verify-refused-8a"), "%s: %s", bench_code(b), b->failure.text);
        ck_assert_uint_gt(b->failure.offset, 1000 * 1024);
        bench_free(b);
}
END_TEST

/* ---- NV --------------------------------------------------------------------------------------------------------- */

/* The store of UIS8910 gives the items back in another order, which is no difference. */
START_TEST(items_are_compared_wherever_they_stand) {
        static const PacNvItem kept[] = {{.name = "Radio", .id = 9, .backup = true}, {.name = "LTE_Calibration", .id = UINT32_MAX, .backup = true}};
        uint8_t a[64], b[64];
        NvDifference d;

        memset(a, 0xff, sizeof(a));
        memset(b, 0xff, sizeof(b));
        memcpy(a + 4, (uint8_t[]) {5, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 4, 0, 0x0a, 0xff, 7, 7, 9, 0, 1, 0, 3, 0, 0, 0}, 28);
        memcpy(b + 4, (uint8_t[]) {9, 0, 1, 0, 3, 0, 0, 0, 2, 0, 4, 0, 0x0a, 0xff, 7, 7, 5, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8}, 28);
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 0);
        b[8]++;
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 1);
        ck_assert_uint_eq(d.first, 9);
        ck_assert_uint_eq(d.n_own, 0);
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), kept, 2, &d), 0);
        ck_assert_uint_eq(d.n_own, 1);
        b[4] = 10;
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 1);
        b[4] = 9, a[24] = 0xc4, a[25] = 9;
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), kept, 2, &d), 0);
        ck_assert_uint_eq(d.first_own, 0x9c4);
        memset(b + 20, 0, 8);
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), -EBADMSG);
}
END_TEST

/* An id that stands twice is two items, and what belongs to the unit counts even if many others come before it. */
START_TEST(items_are_compared_however_many_differ) {
        uint8_t a[256], b[256];
        size_t at = 4;
        NvDifference d;

        memset(a, 0xff, sizeof(a));
        for (uint8_t i = 0; i < 12; i++, at += 8)
                memcpy(a + at, (uint8_t[]) {i < 2 ? 0x20 : (uint8_t) (0x20 + i), 0, 4, 0, i, 2, 3, 4}, 8);
        memcpy(a + at, (uint8_t[]) {5, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 4, 0, 0x0a, 0xff, 7, 7, 0x79, 1, 1, 0, 3, 0, 0, 0}, 28);
        memcpy(b, a, sizeof(b));
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 0);
        for (at = 4; at < 4 + 12 * 8; at += 8)
                b[at + 7]++;
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 12);
        ck_assert_uint_eq(d.first, 0x20);
        ck_assert_uint_eq(d.n_own, 0);
        b[at + 24]++;
        ck_assert_int_eq(nv_compare(a, sizeof(a), b, sizeof(b), NULL, 0, &d), 0);
        ck_assert_uint_eq(d.n, 13);
        ck_assert_uint_eq(d.first_own, 0x179);
}
END_TEST

static Suite *verify_suite(void) {
        Suite *s = suite_create("verify");
        TCase *t = tcase_create("verify");

        tcase_set_timeout(t, 180);
        tcase_add_loop_test(t, good_units_pass_at_every_level, 0, 3 * ELEMENTSOF(matrix));
        tcase_add_test(t, ack_reads_nothing_back);
        tcase_add_loop_test(t, pieces_are_spread, 0, 8);
        tcase_add_test(t, critical_places_are_read_in_full);
        tcase_add_test(t, a_difference_is_told_with_place_and_number);
        tcase_add_test(t, modules_differ);
        tcase_add_test(t, a_bit_that_fell_over_in_flash_is_found);
        tcase_add_test(t, feature_phones_differ);
        tcase_add_test(t, the_block_of_the_loader_is_left_out);
        tcase_add_test(t, sparse_images_are_compared_expanded);
        tcase_add_loop_test(t, expanded_here_or_there, 0, 3);
        tcase_add_test(t, what_is_there_is_not_written_again);
        tcase_add_test(t, the_twin_counts);
        tcase_add_test(t, what_cannot_be_read_is_written);
        tcase_add_test(t, a_loader_that_shows_nothing_is_asked_twice);
        tcase_add_test(t, a_refusal_later_in_a_partition_is_a_failure);
        tcase_add_test(t, items_are_compared_wherever_they_stand);
        tcase_add_test(t, items_are_compared_however_many_differ);
        suite_add_tcase(s, t);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(verify_suite());
        int failed;

        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? 1 : 0;
}
