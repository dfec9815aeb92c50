/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/internal.h"

/* The protocol of the UIS8910 ROM: no check, no escaping, header, tag and data as transfers of their own (module §1.3).
 */

#define PDL_MARK 0xae
#define PDL_FLOW 0xff
#define PDL_FLOW_ERROR 0xee
#define PDL_HEAD 8
#define PDL_TAG 12
#define PDL_REPLY 12
#define PDL_BLOCK_MAX 0x800
#define QUIET_MS 20

static bool is_reply(const uint8_t *p) {
        return p[0] == PDL_MARK && get_le32(p + 1) == 4 && (p[5] == PDL_FLOW || p[5] == PDL_FLOW_ERROR) &&
               get_le16(p + 6) == 0;
}

/* Takes one reply out of what was received; bytes before it are garbage. The window of twelve bytes lives in scratch.
 */
static bool take_reply(BslSession *s, size_t *have, uint32_t *ret) {
        uint8_t *window = s->scratch;

        while (s->rx_at < s->rx_end) {
                window[(*have)++] = s->rx[s->rx_at++];
                if (*have < PDL_REPLY)
                        continue;
                *have = 0;
                if (is_reply(window)) {
                        *ret = get_le32(window + 8);
                        session_trace_bytes(s, BSL_EVENT_PDL_RECEIVED, window, PDL_REPLY);
                        return true;
                }
                s->heard.garbage++;
                memmove(window, window + 1, PDL_REPLY - 1);
                *have = PDL_REPLY - 1;
        }
        return false;
}

static int receive_reply(BslSession *s, uint64_t until, uint32_t *ret) {
        size_t have = 0;

        for (;;) {
                int r;

                if (take_reply(s, &have, ret))
                        return 0;
                r = session_fill(s, until);
                if (r < 0) {
                        s->heard.garbage += have;
                        return r;
                }
        }
}

/* Surplus answers to a repeated CONNECT must not meet the next command. */
static int drop_all(BslSession *s, uint32_t quiet) {
        uint64_t until = channel_now(s->channel) + quiet;
        uint32_t code;
        int r;

        session_begin_wait(s);
        while ((r = receive_reply(s, until, &code)) == 0)
                ;
        session_clear_rx(s);
        session_begin_wait(s);
        return r == -ETIMEDOUT ? 0 : r;
}

static int send_parts(BslSession *s, int code, uint32_t address, uint32_t length, const void *data, size_t size,
                      uint32_t timeout) {
        uint8_t *tx = s->tx[0];
        int r;

        s->ready = NULL;
        tx[0] = PDL_MARK;
        put_le32(tx + 1, (uint32_t) (PDL_TAG + size));
        tx[5] = PDL_FLOW;
        put_le16(tx + 6, 0);
        put_le32(tx + 8, (uint32_t) code);
        put_le32(tx + 12, address);
        put_le32(tx + 16, length);
        if (size > 0)
                memcpy(tx + PDL_HEAD + PDL_TAG, data, size);
        session_trace_bytes(s, BSL_EVENT_PDL_SENT, tx, PDL_HEAD + PDL_TAG + size);
        r = channel_send(s->channel, tx, PDL_HEAD, timeout);
        if (r == 0)
                r = channel_send(s->channel, tx + PDL_HEAD, PDL_TAG, timeout);
        if (r == 0 && size > 0)
                r = channel_send(s->channel, tx + PDL_HEAD + PDL_TAG, size, timeout);
        return r;
}

static int pdl_refused(BslSession *s, const Wait *w, uint32_t code, Failure *f) {
        Failure own = FAILURE_INIT;

        own.reply = (int32_t) MIN(code, 255u);
        own.pdl = true;
        failure_set(&own, CLASS_REFUSED, "", "The boot ROM answered %s with code %u: %s.", w->command, code,
                    bsl_pdl_reply_name((int) MIN(code, 255u)));
        session_note(s, w, &own);
        if (f)
                session_copy_failure(f, &own);
        return 1;
}

static int pdl_command(BslSession *s, int code, uint32_t address, uint32_t length, const void *data, size_t size,
                       uint32_t deadline, Failure *f) {
        Wait w = {.command = bsl_pdl_command_name(code), .deadline = deadline, .since = channel_now(s->channel)};
        uint32_t reply = UINT32_MAX; /* never success by itself */
        int r;

        s->sent = false;
        if (s->tainted)
                return session_refuse_tainted(s, f);
        r = drop_all(s, 0);
        if (r < 0)
                return session_fail(s, &w, r, f);
        r = send_parts(s, code, address, length, data, size, deadline);
        if (r < 0) {
                w.sending = true;
                return session_fail(s, &w, r, f);
        }
        s->sent = true;
        r = receive_reply(s, w.since + deadline, &reply);
        if (r < 0)
                return session_fail(s, &w, r, f);
        return reply == 0 ? 0 : pdl_refused(s, &w, reply, f);
}

int bsl_pdl_connect(BslSession *s, Failure *f) {
        uint64_t since = channel_now(s->channel), until = since + s->deadlines.pdl_connect_window;
        Failure own = FAILURE_INIT;
        uint32_t attempts = 0;
        int r;

        if (s->tainted)
                return session_refuse_tainted(s, f);
        do {
                uint64_t left = until - channel_now(s->channel);
                s->tainted = false; /* only an earlier CONNECT is outstanding, and all its answers are alike */
                own = FAILURE_INIT;
                r = pdl_command(s, PDL_CMD_CONNECT, 0, 0, NULL, 0, (uint32_t) MIN(left, s->deadlines.pdl_connect),
                                &own);
                attempts++;
        } while (r > 0 && own.class != CLASS_GONE && own.class != CLASS_HOST && own.class != CLASS_REFUSED &&
                 attempts < 10000 && channel_now(s->channel) < until);
        if (r == 0) {
                s->stage = BSL_STAGE_PDL;
                r = attempts > 1 ? drop_all(s, QUIET_MS) : 0;
                return r == -ECANCELED ? r : 0;
        }
        if (r > 0) {
                own.attempts = attempts;
                own.waited_ms = (uint32_t) (channel_now(s->channel) - since);
                own.deadline_ms = s->deadlines.pdl_connect_window;
                if (own.class == CLASS_SILENT)
                        failure_set(&own, CLASS_SILENT, "", "The boot ROM did not answer PDL CONNECT within %u ms.",
                                    own.deadline_ms);
                if (f)
                        session_copy_failure(f, &own);
        }
        return r;
}

int bsl_pdl_start(BslSession *s, uint32_t address, uint32_t size, Failure *f) {
        if (size == 0)
                return -EINVAL;
        return pdl_command(s, PDL_CMD_START_DATA, address, size, "PDL1", 5, s->deadlines.pdl_data, f);
}

int bsl_pdl_midst(BslSession *s, uint32_t index, const void *data, size_t size, Failure *f) {
        if (size == 0 || size > PDL_BLOCK_MAX)
                return -EINVAL;
        return pdl_command(s, PDL_CMD_MID_DATA, index, (uint32_t) size, data, size, s->deadlines.pdl_data, f);
}

int bsl_pdl_end(BslSession *s, Failure *f) {
        static const uint8_t closing[] = {0x1c, 0x3c, 0x6e, 0x06};

        return pdl_command(s, PDL_CMD_END_DATA, 0, 0, closing, sizeof(closing), s->deadlines.pdl_data, f);
}

int bsl_pdl_exec(BslSession *s, Failure *f) {
        Wait w = {.command = bsl_pdl_command_name(PDL_CMD_EXEC_DATA),
                  .deadline = s->deadlines.pdl_exec,
                  .since = channel_now(s->channel)};
        uint32_t reply = 0;
        int r;

        if (s->tainted)
                return session_refuse_tainted(s, f);
        r = drop_all(s, 0);
        if (r < 0)
                return session_fail(s, &w, r, f);
        r = send_parts(s, PDL_CMD_EXEC_DATA, 0, 0, NULL, 0, s->deadlines.pdl_data);
        if (r < 0) {
                w.sending = true;
                return session_fail(s, &w, r, f);
        }
        /* The ROM jumps without a word; only a refusal is answered. */
        r = receive_reply(s, channel_now(s->channel) + s->deadlines.pdl_exec, &reply);
        if (r == 0 && reply != 0)
                return pdl_refused(s, &w, reply, f);
        if (r < 0 && r != -ETIMEDOUT)
                return session_fail(s, &w, r, f);
        s->stage = BSL_STAGE_UNKNOWN;
        s->check = BSL_CHECK_SUM;
        session_clear_rx(s);
        return 0;
}
