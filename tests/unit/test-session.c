/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <ctype.h>
#include <stdio.h>

#include "bsl/frame.h"
#include "bsl/session.h"
#include "must.h"

/* A device that follows a script, in virtual time. Each Step answers one transfer of the host, in order:
 *      out     the transfer that must come: tokens joined by '+', each plain hex or "@type[:payload]", a frame in the
 * device's present check and escaping; "*" anything; NULL: one more answer to the same transfer in      what it answers
 * `delay` ms later, one transfer; "" a zero-length packet; NULL nothing;
 *              "!19" fails the receive with errno 19
 *      "!19" as out fails the send; -ETIMEDOUT after its time */
typedef struct Step {
        const char *out;
        uint32_t delay;
        const char *in;
} Step;

typedef struct Arrival {
        uint64_t at;
        int error;
        size_t size;
        uint8_t *data;
} Arrival;

static struct {
        Channel channel;
        uint64_t now;
        BslCheck check;
        bool raw;
        const Step *steps;
        size_t n_steps, step;
        Arrival arrivals[64];
        size_t n_arrivals, next_arrival;
        unsigned sends, surplus, line_states;
        int line_error;
        unsigned logs, traced_in, traced_out;
        uint64_t cancel_at;
} dev;

static uint8_t build_buffer[2 * BSL_WIRE_MAX], big[BSL_PAYLOAD_MAX + 1], got[BSL_PAYLOAD_MAX + 1];

static size_t unhex(const char *text, const char *end, uint8_t *ret) {
        size_t n = 0;

        while (text < end) {
                unsigned byte;
                if (*text == ' ') {
                        text++;
                        continue;
                }
                must(sscanf(text, "%2x", &byte) == 1, "bad script: %s", text);
                ret[n++] = (uint8_t) byte;
                text += 2;
        }
        return n;
}

static size_t build_one(const char *token, const char *end, uint8_t *ret) {
        static uint8_t payload[BSL_PAYLOAD_MAX];
        unsigned type;
        size_t n = 0;

        if (*token != '@')
                return unhex(token, end, ret);
        must(sscanf(token + 1, "%2x", &type) == 1, "bad script: %s", token);
        if (token + 3 < end && token[3] == ':')
                n = unhex(token + 4, end, payload);
        return bsl_frame_encode(ret, (uint16_t) type, payload, n, dev.check, !dev.raw);
}

static size_t build(const char *text, uint8_t *ret) {
        size_t n = 0;

        while (*text) {
                const char *end = strchr(text, '+');
                size_t one;
                if (!end)
                        end = text + strlen(text);
                one = build_one(text, end, ret + n);
                n += one;
                text = *end ? end + 1 : end;
        }
        return n;
}

static void arrive(uint32_t delay, const char *in) {
        Arrival *a;

        if (!in)
                return;
        ck_assert_uint_lt(dev.n_arrivals, ELEMENTSOF(dev.arrivals));
        a = dev.arrivals + dev.n_arrivals++;
        a->at = dev.now + delay;
        if (*in == '!') {
                a->error = -atoi(in + 1);
                return;
        }
        a->size = build(in, build_buffer);
        a->data = malloc(MAX(a->size, 1u));
        memcpy(a->data, build_buffer, a->size);
}

static bool cancelled(void) {
        return dev.cancel_at && dev.now >= dev.cancel_at;
}

static int dev_send(_unused_ Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        const Step *s;

        if (cancelled())
                return -ECANCELED;
        dev.sends++;
        if (dev.step == dev.n_steps) {
                dev.surplus++;
                return 0;
        }
        s = dev.steps + dev.step++;
        if (s->out[0] == '!') {
                int error = -atoi(s->out + 1);
                dev.now += error == -ETIMEDOUT ? timeout_ms : 0;
                return error;
        }
        if (!streq(s->out, "*")) {
                size_t n = build(s->out, build_buffer);
                ck_assert_msg(size == n && memcmp(data, build_buffer, n) == 0, "step %zu: not %s", dev.step - 1,
                              s->out);
        }
        arrive(s->delay, s->in);
        for (; dev.step < dev.n_steps && !dev.steps[dev.step].out; dev.step++)
                arrive(dev.steps[dev.step].delay, dev.steps[dev.step].in);
        return 0;
}

static int dev_receive(_unused_ Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        Arrival *a = dev.next_arrival < dev.n_arrivals ? dev.arrivals + dev.next_arrival : NULL;
        uint64_t until = dev.now + timeout_ms;

        if (dev.cancel_at && dev.cancel_at <= until && (!a || a->at > dev.cancel_at)) {
                dev.now = MAX(dev.now, dev.cancel_at);
                return -ECANCELED;
        }
        if (!a || a->at > until) {
                dev.now = until;
                return -ETIMEDOUT;
        }
        dev.now = MAX(dev.now, a->at);
        dev.next_arrival++;
        if (a->error)
                return a->error;
        ck_assert_uint_le(a->size, size);
        memcpy(data, a->data, a->size);
        *ret_size = a->size;
        free(a->data);
        return 0;
}

static int dev_line_state(_unused_ Channel *c, uint16_t value, _unused_ uint32_t timeout_ms) {
        ck_assert_uint_eq(value, 0x0601);
        dev.line_states++;
        return dev.line_error;
}

static uint64_t dev_now(_unused_ Channel *c) {
        return dev.now;
}

static int dev_pause(_unused_ Channel *c, uint32_t ms) {
        dev.now += ms;
        return cancelled() ? -ECANCELED : 0;
}

static const ChannelOps dev_ops = {.send = dev_send, .receive = dev_receive, .line_state = dev_line_state, .now = dev_now, .pause = dev_pause};

static void on_trace(_unused_ void *userdata, const BslEvent *e) {
        if (e->kind == BSL_EVENT_SENT || e->kind == BSL_EVENT_SYNC || e->kind == BSL_EVENT_PDL_SENT)
                dev.traced_out++;
        else if (e->kind == BSL_EVENT_RECEIVED || e->kind == BSL_EVENT_PDL_RECEIVED)
                dev.traced_in++;
        if (e->kind == BSL_EVENT_RECEIVED && e->type == 0xff) {
                dev.logs++;
                must(e->payload, "a log without text");
        }
}

static BslSession *session;
static Failure fail;

static void begin(BslCheck check, const Step *steps, size_t n) {
        memset(&dev, 0, sizeof(dev));
        dev.channel.ops = &dev_ops;
        dev.channel.max_packet = 512;
        dev.now = 1000000;
        dev.check = check;
        dev.steps = steps;
        dev.n_steps = n;
        fail = FAILURE_INIT;
        session = bsl_session_new(&dev.channel, NULL);
        ck_assert_ptr_nonnull(session);
        bsl_session_set_trace(session, on_trace, NULL);
        bsl_session_set_check(session, check);
}

static void end(void) {
        for (size_t i = dev.next_arrival; i < dev.n_arrivals; i++)
                free(dev.arrivals[i].data);
        ck_assert_msg(dev.step == dev.n_steps, "the script was left at step %zu of %zu", dev.step, dev.n_steps);
        ck_assert_uint_eq(dev.surplus, 0);
        session = bsl_session_free(session);
}

#define BEGIN(check, ...)                                                                                              \
        static const Step script_[] = {__VA_ARGS__};                                                                   \
        begin(check, script_, ELEMENTSOF(script_))
#define BEGIN_NOTHING(check) begin(check, NULL, 0)

/* ck_assert_* without `fail` noise: class, detail or reply, command. */
#define EXPECT_FAILURE(call, class_, reply_, command_)                                                                 \
        do {                                                                                                           \
                fail = FAILURE_INIT;                                                                                   \
                ck_assert_int_eq((call), 1);                                                                           \
                ck_assert_str_eq(fail_class_to_string(fail.class), class_);                                            \
                ck_assert_int_eq(fail.reply, reply_);                                                                  \
                ck_assert_str_eq(fail.command, command_);                                                              \
                ck_assert_uint_gt(strlen(fail.text), 10);                                                              \
        } while (0)
#define EXPECT_OK(call) ck_assert_msg((call) == 0, "%s", fail.text)

#define VER_BROM "@81:535052443300"
#define VER_FDL "@81:5370726561647472756D20426F6F7420426C6F636B2076657273696F6E20312E3100"
#define LOG "@FF:00000000626F6F740A00"
#define CRC BSL_CHECK_CRC16
#define SUM BSL_CHECK_SUM

/* ---- handshake -------------------------------------------------------------------------------------------- */

START_TEST(test_sync_brom) {
        BEGIN(SUM, {"7E"}, {"7E"}, {"7E", 5, "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E"});
        EXPECT_OK(bsl_open_port(session, &fail));
        ck_assert_uint_eq(dev.line_states, 1);
        EXPECT_OK(bsl_sync(session, 20, 30000, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_BROM);
        ck_assert_int_eq(bsl_session_check(session), CRC);
        ck_assert_str_eq(bsl_session_version(session), "SPRD3");
        ck_assert_uint_lt(dev.now, 1000100); /* three bytes, close together */
        end();
}
END_TEST

START_TEST(test_sync_sum) {
        BEGIN(SUM, {"7E", 300, VER_FDL});
        EXPECT_OK(bsl_sync(session, 1000, 10000, &fail) == 0 ? 0 : 1);
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL1);
        ck_assert_int_eq(bsl_session_check(session), SUM);
        ck_assert_str_eq(bsl_session_version(session), "Spreadtrum Boot Block version 1.1");
        dev.step = dev.n_steps;
        dev.surplus = 0;
        end();
}
END_TEST

/* Answers to surplus bytes come late: none may stand for the answer to CONNECT. */
START_TEST(test_late_versions) {
        BEGIN(CRC, {"7E"}, {"7E"}, {"7E", 15, VER_BROM}, {NULL, 25, VER_BROM}, {NULL, 80, VER_BROM},
              {"@00", 70, "@80"});
        EXPECT_OK(bsl_sync(session, 20, 30000, &fail));
        EXPECT_OK(bsl_connect(session, &fail));
        ck_assert_uint_eq(dev.next_arrival, dev.n_arrivals);
        end();
}
END_TEST

START_TEST(test_sync_silent) {
        uint64_t start;

        BEGIN_NOTHING(CRC);
        start = dev.now;
        dev.line_error = -EPIPE;
        EXPECT_OK(bsl_open_port(session, &fail));
        EXPECT_FAILURE(bsl_sync(session, 20, 30000, &fail), "silent", -1, "CHECK_BAUD");
        ck_assert_uint_ge(dev.now - start, 30000);
        ck_assert_uint_le(dev.now - start, 30100);
        ck_assert_uint_eq(fail.deadline_ms, 30000);
        ck_assert_uint_gt(fail.attempts, 1000);
        ck_assert_uint_eq(fail.attempts, dev.sends);
        ck_assert_ptr_nonnull(strstr(fail.text, "opens its port"));
        /* A sync that failed is no reason to refuse another. */
        ck_assert(!bsl_session_tainted(session));
        dev.surplus = 0;
        end();
}
END_TEST

START_TEST(test_sync_garbled_then_good) {
        BEGIN(CRC, {"7E", 5, "7E 00 81 00 06 53 50 52 44 33 00 57 0B 7E"}, {"7E", 5, VER_BROM});
        EXPECT_OK(bsl_sync(session, 20, 1000, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_BROM);
        end();
}
END_TEST

START_TEST(test_sync_garbled) {
        BEGIN(CRC, {"7E", 5, "7E 00 81 00 06 53 50 52 44 33 00 57 0B 7E"});
        EXPECT_FAILURE(bsl_sync(session, 100, 500, &fail), "garbled", -1, "CHECK_BAUD");
        dev.surplus = 0;
        end();
}
END_TEST

/* Frames of another kind: alive, but no version. */
START_TEST(test_sync_slow) {
        BEGIN(SUM, {"7E", 5, "@80"});
        EXPECT_FAILURE(bsl_sync(session, 100, 500, &fail), "slow", -1, "CHECK_BAUD");
        dev.surplus = 0;
        end();
}
END_TEST

START_TEST(test_sync_gone) {
        BEGIN(CRC, {"7E"}, {"7E", 5, "!19"});
        EXPECT_FAILURE(bsl_sync(session, 20, 500, &fail), "gone", -1, "CHECK_BAUD");
        end();
}
END_TEST

START_TEST(test_sync_endpoint_closed) {
        BEGIN(CRC, {"!110"}, {"!110"}, {"7E", 1, VER_BROM});
        EXPECT_OK(bsl_sync(session, 20, 30000, &fail));
        end();
}
END_TEST

START_TEST(test_sync_disturbed) {
        BEGIN(CRC, {"7E", 1, "!71"}, {"7E", 1, VER_FDL});
        dev.check = SUM;
        EXPECT_OK(bsl_sync(session, 1000, 10000, &fail));
        ck_assert_int_eq(bsl_session_check(session), SUM);
        end();
}
END_TEST

START_TEST(test_connect_twice) {
        BEGIN(CRC, {"@00"}, {"@00", 5, "@80"}, {"@03", 1, "@80"});
        EXPECT_OK(bsl_connect(session, &fail));
        EXPECT_OK(bsl_end(session, &fail));
        end();
}
END_TEST

START_TEST(test_connect_late) {
        /* Both CONNECTs are answered in the end; the second acknowledgement must not pass for that of END. */
        BEGIN(CRC, {"@00", 3045, "@80"}, {"@00", 40, "@80"}, {"@03", 5, "@84"});
        EXPECT_OK(bsl_connect(session, &fail));
        EXPECT_FAILURE(bsl_end(session, &fail), "refused", 0x84, "END_DATA");
        end();
}
END_TEST

START_TEST(test_connect_silent) {
        BEGIN(CRC, {"@00"}, {"@00"});
        EXPECT_FAILURE(bsl_connect(session, &fail), "silent", -1, "CONNECT");
        ck_assert_uint_eq(fail.attempts, 2);
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

/* FE costs the loader a buffer: never again. */
START_TEST(test_connect_unsupported) {
        BEGIN(SUM, {"@00", 1, "@FE"});
        EXPECT_FAILURE(bsl_connect(session, &fail), "refused", 0xfe, "CONNECT");
        end();
}
END_TEST

START_TEST(test_probe_fdl2) {
        BEGIN(SUM, {"@00", 1, "@FE"}, {"@21", 1, "@80"});
        bsl_session_set_check(session, CRC);
        EXPECT_OK(bsl_probe_fdl2(session, &fail));
        EXPECT_OK(bsl_probe_fdl2(session, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL2);
        ck_assert_int_eq(bsl_session_check(session), SUM);
        EXPECT_OK(bsl_disable_transcode(session, &fail));
        end();
}
END_TEST

START_TEST(test_probe_fdl2_silent) {
        BEGIN(SUM, {"@00"});
        bsl_session_set_check(session, CRC);
        EXPECT_FAILURE(bsl_probe_fdl2(session, &fail), "silent", -1, "CONNECT");
        EXPECT_FAILURE(bsl_probe_fdl2(session, &fail), "silent", -1, "CONNECT");
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_UNKNOWN);
        ck_assert_int_eq(bsl_session_check(session), CRC);
        end();
}
END_TEST

/* ---- classes ---------------------------------------------------------------------------------------------- */

START_TEST(test_silent) {
        BEGIN(SUM, {"@03"});
        EXPECT_FAILURE(bsl_end(session, &fail), "silent", -1, "END_DATA");
        ck_assert_uint_eq(fail.deadline_ms, 60000);
        ck_assert_uint_ge(fail.waited_ms, 60000);
        ck_assert_ptr_nonnull(strstr(fail.text, "60000 ms"));
        end();
}
END_TEST

START_TEST(test_silent_packets) {
        /* A zero-length packet belongs to an earlier answer: no byte, no life. */
        BEGIN(SUM, {"@03", 1, ""});
        EXPECT_FAILURE(bsl_end(session, &fail), "silent", -1, "END_DATA");
        end();
}
END_TEST

START_TEST(test_not_taken) {
        BEGIN(SUM, {"!110"});
        EXPECT_FAILURE(bsl_end(session, &fail), "silent", -1, "END_DATA");
        ck_assert_ptr_nonnull(strstr(fail.text, "accept"));
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

START_TEST(test_slow) {
        BEGIN(SUM, {"@03", 100, LOG}, {NULL, 20000, LOG});
        EXPECT_FAILURE(bsl_end(session, &fail), "slow", -1, "END_DATA");
        ck_assert_uint_eq(dev.logs, 2);
        ck_assert_uint_eq(fail.deadline_ms, 60000);
        end();
}
END_TEST

START_TEST(test_refused) {
        BEGIN(SUM, {"@03", 1, "@8A"}, {"@03", 1, "@80"});
        EXPECT_FAILURE(bsl_end(session, &fail), "refused", 0x8a, "END_DATA");
        ck_assert_ptr_nonnull(strstr(fail.text, "DOWN_SIZE_ERROR"));
        ck_assert(!bsl_session_tainted(session)); /* a definite answer */
        EXPECT_OK(bsl_end(session, &fail));
        end();
}
END_TEST

START_TEST(test_gone) {
        BEGIN(SUM, {"@03", 500, "!19"});
        EXPECT_FAILURE(bsl_end(session, &fail), "gone", -1, "END_DATA");
        ck_assert_uint_eq(fail.waited_ms, 500);
        end();
}
END_TEST

static const char *const damaged[] = {
        "7E 00 80 00 00 FF 7E 7E", /* wrong check */
        "7E 00 80 00 00 3B 5A 7E", /* that of the boot ROM */
        "7E 00 80 00 04 FF 7F 7E", "7E 00 80 00 00 FF", "55 AA 55 AA", "7E 7D 7E",
};

START_TEST(test_garbled) {
        const Step script[] = {{"@03", 10, damaged[_i]}};

        begin(SUM, script, 1);
        EXPECT_FAILURE(bsl_end(session, &fail), "garbled", -1, "END_DATA");
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

/* A damaged whole frame was the answer: no use in waiting for minutes. */
START_TEST(test_garbled_soon) {
        BEGIN(SUM, {"@02:4142", 10, "7E 00 80 00 00 FF 7E 7E"});
        EXPECT_FAILURE(bsl_midst(session, "AB", 2, true, &fail), "garbled", -1, "MIDST_DATA");
        ck_assert_uint_lt(fail.waited_ms, 3000);
        end();
}
END_TEST

START_TEST(test_noise_before_answer) {
        BEGIN(SUM, {"@03", 10, "55 AA 7E 00"}, {NULL, 20, "@80"});
        EXPECT_OK(bsl_end(session, &fail));
        end();
}
END_TEST

START_TEST(test_unexpected) {
        BEGIN(SUM, {"@03", 10, "@93:0102"});
        EXPECT_FAILURE(bsl_end(session, &fail), "garbled", 0x93, "END_DATA");
        ck_assert_str_eq(fail.detail, "unexpected");
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

START_TEST(test_host_error) {
        BEGIN(SUM, {"!12"});
        EXPECT_FAILURE(bsl_end(session, &fail), "host", -1, "END_DATA");
        ck_assert_str_eq(fail.detail, "usb-memory");
        ck_assert_int_eq(fail.error, ENOMEM);
        end();
}
END_TEST

START_TEST(test_stall) {
        BEGIN(SUM, {"@03", 1, "!32"});
        EXPECT_FAILURE(bsl_end(session, &fail), "garbled", -1, "END_DATA");
        ck_assert_str_eq(fail.detail, "stall");
        end();
}
END_TEST

START_TEST(test_cancel) {
        BEGIN(SUM, {"@03"});
        dev.cancel_at = dev.now + 700;
        ck_assert_int_eq(bsl_end(session, &fail), -ECANCELED);
        ck_assert_uint_eq(dev.now, 1000700);
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

/* Time stands still and bytes come without end: the wait must end all the same. */
static int flood_receive(_unused_ Channel *c, void *data, size_t size, _unused_ uint32_t timeout_ms, size_t *ret_size) {
        static unsigned kind;

        kind++;
        *ret_size = 0;
        if (dev.sends == 0) {
                dev.now += timeout_ms;
                return -ETIMEDOUT;
        }
        if (dev.line_error == 0) {
                memset(data, 0x55, size);
                *ret_size = size;
        } else if (dev.line_error == 1) {
                size_t n = build(LOG, build_buffer);
                memcpy(data, build_buffer, n);
                *ret_size = n;
        }
        return 0;
}

START_TEST(test_flood) {
        static const ChannelOps flood_ops = {.send = dev_send, .receive = flood_receive, .line_state = dev_line_state, .now = dev_now, .pause = dev_pause};

        BEGIN(SUM, {"@03"});
        dev.channel.ops = &flood_ops;
        dev.line_error = _i;
        EXPECT_FAILURE(bsl_end(session, &fail), "garbled", -1, "END_DATA");
        end();
}
END_TEST

/* ---- late answers ----------------------------------------------------------------------------------------- */

START_TEST(test_taint) {
        BslDeviceInfo info;
        BslPartition *table;
        uint8_t data[16];
        size_t n;
        char uid[65];

        BEGIN(SUM, {"@0A:6000000000020000", 600001, "@80"});
        bsl_session_set_stage(session, BSL_STAGE_FDL2);
        EXPECT_FAILURE(bsl_erase_address(session, 0x60000000, 0x20000, &fail), "silent", -1, "ERASE_FLASH");
        dev.now += 100; /* now the late acknowledgement is there */
#define SAME(call) EXPECT_FAILURE(call, "silent", -1, "ERASE_FLASH")
        SAME(bsl_start_address(session, 0x60000000, 0x100, NULL, &fail));
        SAME(bsl_start_name(session, "boot_a", 0x100, NULL, &fail));
        SAME(bsl_midst(session, data, 16, false, &fail));
        SAME(bsl_end(session, &fail));
        SAME(bsl_erase_address(session, 0x60000000, 0x20000, &fail));
        SAME(bsl_erase_name(session, "misc", 0, &fail));
        SAME(bsl_repartition(session, data, 16, &fail));
        SAME(bsl_reset(session, &fail));
        SAME(bsl_power_off(session, &fail));
        SAME(bsl_connect(session, &fail));
        SAME(bsl_exec_brom(session, &fail));
        SAME(bsl_exec_fdl2(session, &info, &fail));
        SAME(bsl_disable_transcode(session, &fail));
        SAME(bsl_read_flash(session, 0x60000000, 0, data, 16, false, NULL, &fail));
        SAME(bsl_read_start(session, "misc", 16, &fail));
        SAME(bsl_read_midst(session, 0, data, 16, &fail));
        SAME(bsl_read_end(session, &fail));
        SAME(bsl_read_partitions(session, &table, &n, &fail));
        SAME(bsl_read_chip_uid(session, uid, sizeof(uid), &fail));
        SAME(bsl_pdl_connect(session, &fail));
        SAME(bsl_pdl_start(session, 0, 2, &fail));
        SAME(bsl_pdl_exec(session, &fail));
        SAME(bsl_sync(session, 20, 1000, &fail)); /* FDL2 does not answer a sync: no proof to be had */
        ck_assert_uint_eq(dev.sends, 1);
        ck_assert_uint_eq(fail.deadline_ms, 600000);
        end();
}
END_TEST

/* The caller's own fields survive. */
START_TEST(test_taint_keeps_place) {
        BEGIN(SUM, {"@03"});
        EXPECT_FAILURE(bsl_end(session, &fail), "silent", -1, "END_DATA");
        fail = FAILURE_INIT;
        fail.stage = STAGE_WRITE;
        fail.step = 7;
        strcpy(fail.partition, "boot_a");
        ck_assert_int_eq(bsl_end(session, &fail), 1);
        ck_assert_int_eq(fail.stage, STAGE_WRITE);
        ck_assert_int_eq(fail.step, 7);
        ck_assert_str_eq(fail.partition, "boot_a");
        ck_assert_int_eq(bsl_end(session, NULL), 1);
        end();
}
END_TEST

START_TEST(test_listen) {
        BEGIN(SUM, {"@03", 60500, "@80"});
        EXPECT_FAILURE(bsl_end(session, &fail), "silent", -1, "END_DATA");
        ck_assert(bsl_listen(session, 2000, &fail));
        ck_assert_str_eq(fail_class_to_string(fail.class), "slow");
        ck_assert(bsl_session_tainted(session));
        EXPECT_FAILURE(bsl_reset(session, &fail), "slow", -1, "END_DATA");
        ck_assert(!bsl_listen(session, 2000, &fail));
        end();
}
END_TEST

/* In the boot ROM a sync proves that nothing is outstanding. */
START_TEST(test_sync_ends_taint) {
        BEGIN(CRC, {"7E", 1, VER_BROM}, {"@02:4142"}, {"7E", 5, "@80+" VER_BROM}, {"@00", 1, "@80"});
        EXPECT_OK(bsl_sync(session, 20, 1000, &fail));
        EXPECT_FAILURE(bsl_midst(session, "AB", 2, false, &fail), "silent", -1, "MIDST_DATA");
        EXPECT_OK(bsl_sync(session, 20, 1000, &fail));
        ck_assert(!bsl_session_tainted(session));
        EXPECT_OK(bsl_connect(session, &fail));
        end();
}
END_TEST

/* A surplus answer that is already there when a command leaves is never its answer. */
START_TEST(test_duplicate_answer) {
        BEGIN(SUM, {"@02:4142", 1, "@80+@80"}, {"@03", 1, "@84"});
        EXPECT_OK(bsl_midst(session, "AB", 2, false, &fail));
        EXPECT_FAILURE(bsl_end(session, &fail), "refused", 0x84, "END_DATA");
        end();
}
END_TEST

START_TEST(test_duplicate_answer_later) {
        BEGIN(SUM, {"@02:4142", 1, "@80"}, {NULL, 2, "@80"}, {"@03", 1, "@84"});
        EXPECT_OK(bsl_midst(session, "AB", 2, false, &fail));
        dev.now += 10;
        EXPECT_FAILURE(bsl_end(session, &fail), "refused", 0x84, "END_DATA");
        end();
}
END_TEST

/* Acknowledged, then taken back: nothing more is sent. */
START_TEST(test_error_after_ack) {
        BEGIN(SUM, {"@02:4142", 1, "@80"}, {NULL, 50, "@A2"});
        EXPECT_OK(bsl_midst(session, "AB", 2, false, &fail));
        dev.now += 100;
        EXPECT_FAILURE(bsl_end(session, &fail), "refused", 0xa2, "END_DATA");
        ck_assert_uint_eq(dev.sends, 1);
        end();
}
END_TEST

START_TEST(test_partial_stale) {
        /* Half a frame from before must neither complete with nor damage the next answer. */
        BEGIN(SUM, {"@02:4142", 1, "@80+7E 00 80"}, {"@03", 2000, "@80"});
        EXPECT_OK(bsl_midst(session, "AB", 2, false, &fail));
        EXPECT_OK(bsl_end(session, &fail));
        end();
}
END_TEST

START_TEST(test_partial_stale_raw) {
        /* Without escaping, half a frame would swallow the next answers by its length. */
        BEGIN(SUM, {"@21", 1, "@80"}, {"@03", 1, "@80+7E 00 93 FF FF 00"}, {"@03", 1, "@80"});
        EXPECT_OK(bsl_disable_transcode(session, &fail));
        dev.raw = true;
        EXPECT_OK(bsl_end(session, &fail));
        EXPECT_OK(bsl_end(session, &fail));
        end();
}
END_TEST

/* ---- log frames ------------------------------------------------------------------------------------------- */

START_TEST(test_logs_anywhere) {
        BEGIN(SUM, {"@02:4142", 1, LOG "+@80+" LOG}, {"@03", 1, LOG}, {NULL, 2, LOG "+7E 00 80 00"},
              {NULL, 3, "00 FF 7F 7E"});
        EXPECT_OK(bsl_midst(session, "AB", 2, false, &fail));
        EXPECT_OK(bsl_end(session, &fail));
        ck_assert_uint_eq(dev.logs, 4);
        ck_assert_uint_eq(dev.traced_in, 6);
        ck_assert_uint_eq(dev.traced_out, 2);
        end();
}
END_TEST

/* ---- commands --------------------------------------------------------------------------------------------- */

#define Z "0000000000000000"
#define BOOT_A "62006F006F0074005F006100"
#define BOOT_A_PAD BOOT_A Z Z Z Z Z Z Z "00000000"

START_TEST(test_start_forms) {
        const uint32_t sum = 0xac9d20;

        BEGIN(SUM, {"@01:0081000000 00cbe0", 1, "@80"}, {"@01:fe00000300020000 00ac9d20", 1, "@80"},
              {"@01:" BOOT_A_PAD "00000004", 1, "@80"}, {"@01:" BOOT_A_PAD "00000000 01000000" Z, 1, "@80"},
              {"@01:" BOOT_A_PAD "00000004 209dac00", 1, "@80"},
              {"@01:" BOOT_A_PAD "00000000 01000000" Z "209dac00", 1, "@80"});
        EXPECT_OK(bsl_start_address(session, 0x810000, 0xcbe0, NULL, &fail));
        EXPECT_OK(bsl_start_address(session, 0xfe000003, 0x20000, &sum, &fail));
        EXPECT_OK(bsl_start_name(session, "boot_a", 0x4000000, NULL, &fail));
        EXPECT_OK(bsl_start_name(session, "boot_a", 1ull << 32, NULL, &fail));
        EXPECT_OK(bsl_start_name(session, "boot_a", 0x4000000, &sum, &fail));
        EXPECT_OK(bsl_start_name(session, "boot_a", 1ull << 32, &sum, &fail));
        end();
}
END_TEST

START_TEST(test_bad_arguments) {
        BEGIN_NOTHING(SUM);
        ck_assert_int_eq(bsl_start_address(session, 0x810000, 0, NULL, &fail), -EINVAL);
        ck_assert_int_eq(bsl_start_name(session, "boot", 0, NULL, &fail), -EINVAL);
        ck_assert_int_eq(bsl_start_name(session, "", 2, NULL, &fail), -EINVAL);
        ck_assert_int_eq(bsl_start_name(session, "a_name_of_more_than_thirty_five_chars", 2, NULL, &fail), -EINVAL);
        ck_assert_int_eq(bsl_erase_name(session, "caf\xc3\xa9", 0, &fail), -EINVAL);
        ck_assert_int_eq(bsl_erase_name(session, "a b", 0, &fail), -EINVAL);
        ck_assert_int_eq(bsl_midst(session, big, 0, false, &fail), -EINVAL);
        ck_assert_int_eq(bsl_midst(session, big, 65535, false, &fail), -EMSGSIZE);
        ck_assert_int_eq(bsl_read_midst(session, 0, got, 0xffff, &fail), -EINVAL);
        ck_assert_int_eq(bsl_read_midst(session, 0, got, 0, &fail), -EINVAL);
        ck_assert_int_eq(bsl_pdl_midst(session, 0, big, 0x801, &fail), -EINVAL);
        ck_assert_uint_eq(dev.sends, 0);
        end();
}
END_TEST

START_TEST(test_odd_midst) {
        BEGIN(SUM, {"7E 00 02 00 04 41 42 43 00 7B B7 7E", 1, "@80"});
        EXPECT_OK(bsl_midst(session, "ABC", 3, true, &fail));
        end();
}
END_TEST

START_TEST(test_transcode_off) {
        BEGIN(SUM, {"@21", 1, "@80"}, {"7E 00 02 00 04 7E 7D 00 11 81 6B 7E", 1, "7E 00 80 00 00 FF 7F 7E"},
              {"@12", 1, "7E 00 82 00 00 FF 7D 7E"});
        EXPECT_OK(bsl_disable_transcode(session, &fail));
        ck_assert(!bsl_session_transcoding(session));
        EXPECT_OK(bsl_midst(session, "\x7e\x7d\x00\x11", 4, false, &fail));
        ck_assert_int_eq(bsl_midst(session, big, 65466, false, &fail), -EMSGSIZE);
        EXPECT_FAILURE(bsl_read_end(session, &fail), "refused", 0x82, "READ_END");
        bsl_session_set_channel(session, &dev.channel);
        ck_assert(bsl_session_transcoding(session));
        end();
}
END_TEST

START_TEST(test_transcode_refused) {
        BEGIN(SUM, {"@21", 1, "@FE"});
        EXPECT_FAILURE(bsl_disable_transcode(session, &fail), "refused", 0xfe, "DISABLE_TRANSCODE");
        ck_assert(bsl_session_transcoding(session));
        end();
}
END_TEST

START_TEST(test_exec_brom) {
        BEGIN(CRC, {"@04", 1, "@80"});
        EXPECT_OK(bsl_exec_brom(session, &fail));
        ck_assert_int_eq(bsl_session_check(session), SUM);
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_UNKNOWN);
        end();
}
END_TEST

START_TEST(test_exec_fdl2) {
        BslDeviceInfo info;

        BEGIN(SUM, {"@04", 1, LOG},
              {NULL, 3000,
               "7E 00 96 00 26 6E 65 77 74 00 00 04 00 01 00 00 00 01 00 01 00 02 02 00 01 00 01 03 00 04 00 "
               "00 08 00 00 06 00 04 00 03 01 00 00 FC 5C 7E"});
        EXPECT_OK(bsl_exec_fdl2(session, &info, &fail));
        ck_assert(info.present && info.disable_transcode);
        ck_assert_uint_eq(info.storage, 0x103);
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL2);
        end();
}
END_TEST

static const char *const exec_answers[] = {"@80", "@96", "@96:01020304", "@96:6E657774 0000FFFF"};

START_TEST(test_exec_fdl2_no_info) {
        const Step script[] = {{"@04", 1500, exec_answers[_i]}};
        BslDeviceInfo info = {.present = true};

        begin(SUM, script, 1);
        EXPECT_OK(bsl_exec_fdl2(session, &info, &fail));
        ck_assert(!info.present && !info.disable_transcode);
        end();
}
END_TEST

START_TEST(test_exec_fdl2_noisy) {
        /* The loader starts while we listen; noise of that moment does not shorten the wait. */
        BEGIN(SUM, {"@04", 10, "7E 00 11 22 33 7E"}, {NULL, 9000, "@96"});
        EXPECT_OK(bsl_exec_fdl2(session, NULL, &fail));
        end();
}
END_TEST

START_TEST(test_exec_fdl2_refused) {
        BEGIN(SUM, {"@04", 10, "@97"});
        EXPECT_FAILURE(bsl_exec_fdl2(session, NULL, &fail), "refused", 0x97, "EXEC_DATA");
        end();
}
END_TEST

START_TEST(test_erase_deadlines) {
        BEGIN(SUM, {"@0A:00000000ffffffff", 3500000, "@80"}, {"*", 3500000, "@80"},
              {"@0A:fe00000653595346", 599000, "@80"});
        EXPECT_OK(bsl_erase_address(session, 0, UINT32_MAX, &fail));
        EXPECT_OK(bsl_erase_name(session, "erase_all", UINT32_MAX, &fail));
        EXPECT_OK(bsl_erase_address(session, 0xfe000006, 0x53595346, &fail));
        end();
}
END_TEST

START_TEST(test_read_flash) {
        uint8_t data[4];
        size_t n = 99;

        BEGIN(SUM, {"@06:fe0000030000000400000100", 1, "@93:01020304"}, {"@06:6000010000000004", 1, "@93:05060708"},
              {"@06:fe0000030000000400000100", 1, "@93:0102"});
        EXPECT_OK(bsl_read_flash(session, 0xfe000003, 0x100, data, 4, false, NULL, &fail));
        ck_assert_mem_eq(data, "\1\2\3\4", 4);
        EXPECT_OK(bsl_read_flash(session, 0x60000000, 0x100, data, 4, false, &n, &fail));
        ck_assert_mem_eq(data, "\5\6\7\10", 4);
        ck_assert_uint_eq(n, 4);
        EXPECT_OK(bsl_read_flash(session, 0xfe000003, 0x100, data, 4, true, &n, &fail));
        ck_assert_uint_eq(n, 2);
        end();
}
END_TEST

START_TEST(test_read_retry) {
        uint8_t data[4];

        BEGIN(SUM, {"@11:0400000000000000", 1, "7E 00 93 00 04 01 02 03 04 00 00 7E"},
              {"@11:0400000000000000", 1, "@93:01020304"}, {"@11:0400000000000000", 1, "@84"},
              {"@11:0400000000000000", 1, "@93:01020304"}, {"@11:0400000000000000", 1, "@93:0102"},
              {"@11:0400000000000000", 1, "@93:01020304"}, {"@11:0400000000000000", 1, "@93:0102"},
              {"@11:0400000000000000", 1, "@93:0102030405"}, {"@11:0400000000000000", 1, "@FE"});
        for (int i = 0; i < 3; i++)
                EXPECT_OK(bsl_read_midst(session, 0, data, 4, &fail));
        EXPECT_FAILURE(bsl_read_midst(session, 0, data, 4, &fail), "garbled", -1, "READ_MIDST");
        ck_assert_str_eq(fail.detail, "length");
        ck_assert_uint_eq(fail.attempts, 2);
        EXPECT_FAILURE(bsl_read_midst(session, 0, data, 4, &fail), "refused", 0xfe, "READ_MIDST");
        ck_assert(!bsl_session_tainted(session));
        end();
}
END_TEST

/* After an expired deadline there is no second try: its answer could be the first one's. */
START_TEST(test_read_no_retry) {
        uint8_t data[4];

        BEGIN(SUM, {"@11:0400000000000000"});
        EXPECT_FAILURE(bsl_read_midst(session, 0, data, 4, &fail), "silent", -1, "READ_MIDST");
        end();
}
END_TEST

START_TEST(test_read_no_retry_garbled) {
        uint8_t data[4];

        BEGIN(SUM, {"@11:0400000000000000", 1, "55 AA"});
        EXPECT_FAILURE(bsl_read_midst(session, 0, data, 4, &fail), "garbled", -1, "READ_MIDST");
        ck_assert_uint_eq(fail.deadline_ms, 20000);
        ck_assert(bsl_session_tainted(session));
        end();
}
END_TEST

START_TEST(test_read_far) {
        uint8_t data[2];

        BEGIN(SUM, {"@11:02000000 0000000001000000", 1, "@93:0102"}, {"@10:" BOOT_A_PAD "20080000", 1, "@80"},
              {"@12", 1, "@80"});
        EXPECT_OK(bsl_read_midst(session, 1ull << 32, data, 2, &fail));
        EXPECT_OK(bsl_read_start(session, "boot_a", 0x820, &fail));
        EXPECT_OK(bsl_read_end(session, &fail));
        end();
}
END_TEST

START_TEST(test_partitions) {
        BslPartition *table = NULL;
        size_t n = 0;

        BEGIN(SUM,
              {"@2D", 1,
               "@BA:" BOOT_A_PAD "00100000"
               "1B00 6100 4100 0030" Z Z Z Z Z Z Z Z "ffffffff"},
              {"@2D", 1, "@BA:0102"}, {"@2D", 1, "@BA"}, {"@2D", 1, "@FE"});
        EXPECT_OK(bsl_read_partitions(session, &table, &n, &fail));
        ck_assert_uint_eq(n, 2);
        ck_assert_str_eq(table[0].name, "boot_a");
        ck_assert_uint_eq(table[0].size, 0x1000);
        ck_assert_str_eq(table[1].name, "?aA?");
        ck_assert_uint_eq(table[1].size, UINT32_MAX);
        free(table);
        EXPECT_FAILURE(bsl_read_partitions(session, &table, &n, &fail), "garbled", -1, "READ_PARTITION");
        EXPECT_OK(bsl_read_partitions(session, &table, &n, &fail));
        ck_assert_uint_eq(n, 0);
        free(table);
        EXPECT_FAILURE(bsl_read_partitions(session, &table, &n, &fail), "refused", 0xfe, "READ_PARTITION");
        end();
}
END_TEST

START_TEST(test_chip_uid) {
        char uid[8];

        BEGIN(SUM, {"@1A", 1, "@AB:41421B43ff444546474849"}, {"@1A", 1, "@AB"});
        EXPECT_OK(bsl_read_chip_uid(session, uid, sizeof(uid), &fail));
        ck_assert_str_eq(uid, "AB?C?DE");
        EXPECT_OK(bsl_read_chip_uid(session, uid, sizeof(uid), &fail));
        ck_assert_str_eq(uid, "");
        end();
}
END_TEST

START_TEST(test_hostile_version) {
        BEGIN(CRC, {"7E", 1, "@81:1B5B324A0A41FF00424344"});
        EXPECT_OK(bsl_sync(session, 20, 1000, &fail));
        ck_assert_str_eq(bsl_session_version(session), "?[2J?A?");
        end();
}
END_TEST

START_TEST(test_reset) {
        BEGIN(SUM, {"@05", 1, "@80"}, {"@05", 1, "!19"}, {"@05", 1, "@82"});
        EXPECT_OK(bsl_reset(session, &fail));
        EXPECT_OK(bsl_reset(session, &fail));
        EXPECT_FAILURE(bsl_reset(session, &fail), "refused", 0x82, "NORMAL_RESET");
        end();
}
END_TEST

/* Gone before the command went out is no reset; silence is none either. */
START_TEST(test_reset_gone_before) {
        BEGIN(SUM, {"!19"}, {"@05"});
        EXPECT_FAILURE(bsl_reset(session, &fail), "gone", -1, "NORMAL_RESET");
        EXPECT_FAILURE(bsl_reset(session, &fail), "silent", -1, "NORMAL_RESET");
        end();
}
END_TEST

START_TEST(test_reset_gone_in_drain) {
        BEGIN(SUM, {"@02:4142", 1, "@80"}, {NULL, 5, "!19"});
        EXPECT_OK(bsl_midst(session, "AB", 2, true, &fail));
        dev.now += 10;
        EXPECT_FAILURE(bsl_reset(session, &fail), "gone", -1, "NORMAL_RESET");
        end();
}
END_TEST

START_TEST(test_power_off) {
        BEGIN(SUM, {"@17", 1, "@80"}, {"@17", 1, "!19"});
        EXPECT_OK(bsl_power_off(session, &fail));
        EXPECT_FAILURE(bsl_power_off(session, &fail), "gone", -1, "POWER_OFF");
        end();
}
END_TEST

static const char *hex_frame(const char *type, size_t size, char *ret) {
        char *p = ret + sprintf(ret, "@%s:", type);

        for (size_t i = 0; i < size; i++)
                p += sprintf(p, "%02x", big[i]);
        return ret;
}

START_TEST(test_large_blocks) {
        static char out[2 * 0xfc00 + 16], in[2 * 0xfffe + 16];
        size_t read = _i ? 0xfffe : 0x3000;

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (uint8_t) (i % 3 ? 0x7e : i);
        const Step script[] = {{"@21", 1, _i ? "@80" : "@FE"},
                               {hex_frame("02", 0xfc00, out), 1, "@80"},
                               {"*", 1, hex_frame("93", read, in)}};
        begin(SUM, script, ELEMENTSOF(script));
        ck_assert_int_eq(bsl_disable_transcode(session, &fail), !_i);
        dev.raw = _i;
        EXPECT_OK(bsl_midst(session, big, 0xfc00, false, &fail));
        EXPECT_OK(bsl_read_midst(session, 0, got, read, &fail));
        ck_assert_mem_eq(got, big, read);
        end();
}
END_TEST

/* ---- PDL -------------------------------------------------------------------------------------------------- */

#define PDL_ACK "ae04000000ff0000 00000000"

START_TEST(test_pdl) {
        memset(big, 0x11, sizeof(big));
        BEGIN(CRC, {"ae0c000000ff0000"}, {"000000000000000000000000", 5, PDL_ACK}, {"ae11000000ff0000"},
              {"0400000000808300a0330000"}, {"50444c3100", 1, PDL_ACK}, {"ae0e000000ff0000"},
              {"050000000600000002000000"}, {"1111", 1, "ae04000000"}, {NULL, 2, "ff000000000000"},
              {"ae10000000ff0000"}, {"060000000000000000000000"}, {"1c3c6e06", 1, PDL_ACK}, {"ae0c000000ff0000"},
              {"070000000000000000000000"});
        EXPECT_OK(bsl_pdl_connect(session, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_PDL);
        EXPECT_OK(bsl_pdl_start(session, 0x838000, 0x33a0, &fail));
        EXPECT_OK(bsl_pdl_midst(session, 6, big, 2, &fail));
        EXPECT_OK(bsl_pdl_end(session, &fail));
        EXPECT_OK(bsl_pdl_exec(session, &fail));
        ck_assert_int_eq(bsl_session_check(session), SUM);
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_UNKNOWN);
        end();
}
END_TEST

#define PDL_CONNECT                                                                                                    \
        {"ae0c000000ff0000"}, {                                                                                        \
                "000000000000000000000000"

START_TEST(test_pdl_connect_again) {
        /* Three tries, two answers: the surplus one is not START's. */
        BEGIN(CRC, PDL_CONNECT}, PDL_CONNECT, 1005, PDL_ACK
}
, PDL_CONNECT, 10, PDL_ACK
}, {"*"}, {"*"}, {"*", 1, "ae04000000ee0000 04000000"});
EXPECT_OK(bsl_pdl_connect(session, &fail));
EXPECT_FAILURE(bsl_pdl_start(session, 0, 0x100, &fail), "refused", 4, "PDL START_DATA");
ck_assert(fail.pdl);
ck_assert_ptr_nonnull(strstr(fail.text, "invalid address (device)"));
end();
}
END_TEST

START_TEST(test_pdl_silent) {
        BEGIN_NOTHING(CRC);
        EXPECT_FAILURE(bsl_pdl_connect(session, &fail), "silent", -1, "PDL CONNECT");
        ck_assert_uint_ge(fail.waited_ms, 30000);
        ck_assert_uint_ge(fail.attempts, 30);
        ck_assert_uint_eq(fail.deadline_ms, 30000);
        dev.surplus = 0;
        end();
}
END_TEST

START_TEST(test_pdl_exec_refused) {
        BEGIN(CRC, {"*"}, {"*", 3, "00 55 ae04000000ff0000 09000000"});
        EXPECT_FAILURE(bsl_pdl_exec(session, &fail), "refused", 9, "PDL EXEC_DATA");
        ck_assert(fail.pdl);
        ck_assert_int_eq(bsl_session_check(session), CRC);
        end();
}
END_TEST

START_TEST(test_pdl_garbled) {
        BEGIN(CRC, {"*"}, {"*", 1, "ae05000000ff0000 00000000"});
        EXPECT_FAILURE(bsl_pdl_end(session, &fail) == 1 ? 1 : 0, "garbled", -1, "PDL END_DATA");
        dev.surplus = 0;
        end();
}
END_TEST

START_TEST(test_pdl_gone) {
        BEGIN(CRC, {"*"}, {"*", 1, "!19"});
        EXPECT_FAILURE(bsl_pdl_exec(session, &fail), "gone", -1, "PDL EXEC_DATA");
        end();
}
END_TEST

/* ---- names ------------------------------------------------------------------------------------------------ */

START_TEST(test_names) {
        ck_assert_str_eq(bsl_command_name(0x02), "MIDST_DATA");
        ck_assert_str_eq(bsl_command_name(-1), "unknown");
        ck_assert_str_eq(bsl_command_name(0x100), "unknown");
        ck_assert_str_eq(bsl_reply_name(0x8a), "DOWN_SIZE_ERROR");
        ck_assert_str_eq(bsl_reply_name(0x12345), "unknown");
        ck_assert_str_eq(bsl_pdl_reply_name(9), "checksum error (tool), verify error (device)");
        ck_assert_str_eq(bsl_pdl_reply_name(13), "unknown");
        for (int i = 0; i < 0x100; i++)
                ck_assert_uint_lt(strlen(bsl_command_name(i)), sizeof(((Failure *) NULL)->command));
}
END_TEST

static void check_row(const char *pattern, const Explanation *e, _unused_ void *userdata) {
        static char seen[1024][FAILURE_CODE_MAX];
        static size_t n;

        for (size_t i = 0; i < n; i++)
                ck_assert_msg(!streq(seen[i], pattern), "%s has two rows", pattern);
        ck_assert_uint_lt(n, ELEMENTSOF(seen));
        strcpy(seen[n++], pattern);
        ck_assert_msg(e->summary && e->causes[0] && e->actions[0] && e->dbus_name, "%s is not complete", pattern);
}

/* Each reply code that has a name and is an error has a row of its own in the error table. */
START_TEST(test_explanations) {
        static const int answers[] = {0x80, 0x81, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x9b, 0x9c,
                                      0x9d, 0x9e, 0x9f, 0xab, 0xae, 0xaf, 0xb0, 0xb1, 0xb2,
                                      0xb5, 0xb8, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xc0, 0xff};
        Explanation general, e;

        explanation_foreach(check_row, NULL);
        ck_assert(explanation_find("write-refused", &general));
        for (int i = 0x80; i < 0x100; i++) {
                char code[32];
                bool answer = false;
                for (size_t k = 0; k < ELEMENTSOF(answers); k++)
                        answer = answer || answers[k] == i;
                if (answer || streq(bsl_reply_name(i), "unknown"))
                        continue;
                snprintf(code, sizeof(code), "identify-refused-%02x", (unsigned) i);
                ck_assert(explanation_find(code, &e));
                ck_assert_msg(!streq(e.summary, general.summary), "%s has no row", code);
                ck_assert_ptr_nonnull(e.actions[0]);
        }
        for (int i = 1; i <= 12; i++) {
                char code[40];
                snprintf(code, sizeof(code), "load-fdl1-refused-pdl-%02d", i);
                ck_assert(explanation_find(code, &e));
                ck_assert_msg(!streq(e.summary, general.summary), "%s has no row", code);
        }
}
END_TEST

static void add_handshake(TCase *tc) {
        tcase_add_test(tc, test_sync_brom);
        tcase_add_test(tc, test_sync_sum);
        tcase_add_test(tc, test_late_versions);
        tcase_add_test(tc, test_sync_silent);
        tcase_add_test(tc, test_sync_garbled_then_good);
        tcase_add_test(tc, test_sync_garbled);
        tcase_add_test(tc, test_sync_slow);
        tcase_add_test(tc, test_sync_gone);
        tcase_add_test(tc, test_sync_endpoint_closed);
        tcase_add_test(tc, test_sync_disturbed);
        tcase_add_test(tc, test_connect_twice);
        tcase_add_test(tc, test_connect_late);
        tcase_add_test(tc, test_connect_silent);
        tcase_add_test(tc, test_connect_unsupported);
        tcase_add_test(tc, test_probe_fdl2);
        tcase_add_test(tc, test_probe_fdl2_silent);
        tcase_add_test(tc, test_hostile_version);
}

static void add_classes(TCase *tc) {
        tcase_add_test(tc, test_silent);
        tcase_add_test(tc, test_silent_packets);
        tcase_add_test(tc, test_not_taken);
        tcase_add_test(tc, test_slow);
        tcase_add_test(tc, test_refused);
        tcase_add_test(tc, test_gone);
        tcase_add_loop_test(tc, test_garbled, 0, ELEMENTSOF(damaged));
        tcase_add_test(tc, test_garbled_soon);
        tcase_add_test(tc, test_noise_before_answer);
        tcase_add_test(tc, test_unexpected);
        tcase_add_test(tc, test_host_error);
        tcase_add_test(tc, test_stall);
        tcase_add_test(tc, test_cancel);
        tcase_add_loop_test(tc, test_flood, 0, 3);
        tcase_add_test(tc, test_taint);
        tcase_add_test(tc, test_taint_keeps_place);
        tcase_add_test(tc, test_listen);
        tcase_add_test(tc, test_sync_ends_taint);
        tcase_add_test(tc, test_duplicate_answer);
        tcase_add_test(tc, test_duplicate_answer_later);
        tcase_add_test(tc, test_error_after_ack);
        tcase_add_test(tc, test_partial_stale);
        tcase_add_test(tc, test_partial_stale_raw);
        tcase_add_test(tc, test_logs_anywhere);
}

static void add_commands(TCase *tc) {
        tcase_add_test(tc, test_start_forms);
        tcase_add_test(tc, test_bad_arguments);
        tcase_add_test(tc, test_odd_midst);
        tcase_add_test(tc, test_transcode_off);
        tcase_add_test(tc, test_transcode_refused);
        tcase_add_test(tc, test_exec_brom);
        tcase_add_test(tc, test_exec_fdl2);
        tcase_add_loop_test(tc, test_exec_fdl2_no_info, 0, ELEMENTSOF(exec_answers));
        tcase_add_test(tc, test_exec_fdl2_noisy);
        tcase_add_test(tc, test_exec_fdl2_refused);
        tcase_add_test(tc, test_erase_deadlines);
        tcase_add_test(tc, test_read_flash);
        tcase_add_test(tc, test_read_retry);
        tcase_add_test(tc, test_read_no_retry);
        tcase_add_test(tc, test_read_no_retry_garbled);
        tcase_add_test(tc, test_read_far);
        tcase_add_test(tc, test_partitions);
        tcase_add_test(tc, test_chip_uid);
        tcase_add_test(tc, test_reset);
        tcase_add_test(tc, test_reset_gone_before);
        tcase_add_test(tc, test_reset_gone_in_drain);
        tcase_add_test(tc, test_power_off);
        tcase_add_loop_test(tc, test_large_blocks, 0, 2);
}

static void add_pdl(TCase *tc) {
        tcase_add_test(tc, test_pdl);
        tcase_add_test(tc, test_pdl_connect_again);
        tcase_add_test(tc, test_pdl_silent);
        tcase_add_test(tc, test_pdl_exec_refused);
        tcase_add_test(tc, test_pdl_garbled);
        tcase_add_test(tc, test_pdl_gone);
        tcase_add_test(tc, test_names);
        tcase_add_test(tc, test_explanations);
}

int main(void) {
        static void (*const add[])(TCase *) = {add_handshake, add_classes, add_commands, add_pdl};
        Suite *suite = suite_create("session");
        SRunner *runner;
        int failed;

        for (size_t i = 0; i < ELEMENTSOF(add); i++) {
                TCase *tc = tcase_create("session");
                tcase_set_timeout(tc, 30);
                add[i](tc);
                suite_add_tcase(suite, tc);
        }
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
