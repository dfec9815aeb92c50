/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/internal.h"

#define LINE_STATE_OPEN 0x0601 /* the low byte counts: DTR */
#define SYNC_ATTEMPTS_MAX 100000
#define QUIET_MS 20
#define TAINT_QUIET_MS 200

int bsl_open_port(BslSession *s, Failure *f) {
        Wait w = {.command = "SET_LINE_STATE",
                  .deadline = s->deadlines.other,
                  .since = channel_now(s->channel),
                  .harmless = true};
        int r = channel_line_state(s->channel, LINE_STATE_OPEN, s->deadlines.other);

        s->port_error = 0;
        if (s->trace)
                session_trace(s, &(BslEvent){.kind = BSL_EVENT_OPENED, .error = r});
        if (r == -ENODEV || r == -ECANCELED)
                return session_fail(s, &w, r, f);
        /* Feature-phone ROMs refuse the request and work without it. */
        if (r < 0)
                s->port_error = r;
        return 0;
}

/* 0 a VER frame was taken; -ETIMEDOUT none yet; other errors of the channel. */
static int wait_version(BslSession *s, uint64_t until) {
        BslFrame frame;
        int r;

        while ((r = session_receive(s, until, true, &frame)) == 0) {
                if (frame.type == BSL_REP_VER) {
                        clean_text(s->version, sizeof(s->version), frame.payload, frame.size);
                        return 0;
                }
                s->heard.valid++;
        }
        return r;
}

/* One try: up to three single bytes, close together, because some loaders count to three. */
static int sync_try(BslSession *s, uint32_t try_ms, uint64_t until, uint32_t *attempts) {
        static const uint8_t flag = BSL_FLAG;

        for (unsigned i = 0; i < 3; i++) {
                uint64_t now = channel_now(s->channel);
                uint32_t pause = i < 2 ? MIN(s->deadlines.sync_brom, try_ms) : try_ms;
                int r;

                if (now >= until || *attempts >= SYNC_ATTEMPTS_MAX)
                        return -ETIMEDOUT;
                session_trace_bytes(s, BSL_EVENT_SYNC, &flag, 1);
                r = channel_send(s->channel, &flag, 1, (uint32_t) MIN(MAX(try_ms, 100u), until - now));
                ++*attempts;
                if (r == -ETIMEDOUT)
                        continue; /* its endpoint is not open yet */
                if (r == 0)
                        r = wait_version(s, MIN(channel_now(s->channel) + pause, until));
                if (r == -EPIPE || r == -EPROTO || r == -EOVERFLOW) {
                        /* A loader that takes over the controller may disturb the bus for a moment. */
                        s->heard.bad++;
                        r = channel_pause(s->channel, pause);
                        r = r < 0 ? r : -ETIMEDOUT;
                }
                if (r != -ETIMEDOUT)
                        return r;
        }
        return -ETIMEDOUT;
}

int bsl_sync(BslSession *s, uint32_t try_ms, uint32_t window_ms, Failure *f) {
        uint64_t since = channel_now(s->channel), until = since + window_ms;
        uint32_t attempts = 0;
        BslCheck before = s->check;
        int r;

        if (s->stage == BSL_STAGE_FDL2 && s->tainted)
                return session_refuse_tainted(s, f);
        if (s->stage != BSL_STAGE_FDL2)
                s->transcode = true;
        session_clear_rx(s);
        session_begin_wait(s);
        s->adopting = true;
        do
                r = sync_try(s, try_ms, until, &attempts);
        while (r == -ETIMEDOUT && channel_now(s->channel) < until && attempts < SYNC_ATTEMPTS_MAX);
        s->adopting = false;
        if (r < 0) {
                Wait w = {.command = bsl_command_name(BSL_CMD_SYNC),
                          .deadline = window_ms,
                          .since = since,
                          .attempts = attempts,
                          .harmless = true};
                s->check = before;
                return session_fail(s, &w, r, f);
        }
        s->stage = s->check == BSL_CHECK_CRC16 ? BSL_STAGE_BROM : BSL_STAGE_FDL1;
        if (s->tainted) {
                /* Devices answer in order, so nothing from before should still come; a moment more costs little here. */
                r = session_drain(s, TAINT_QUIET_MS);
                if (r == -ECANCELED)
                        return r;
                s->tainted = false;
        }
        return 0;
}

int bsl_probe_fdl2(BslSession *s, Failure *f) {
        const Command c = {.code = BSL_CMD_CONNECT, .deadline = s->deadlines.connect, .want = BSL_REP_ACK};
        Failure own = FAILURE_INIT;
        BslCheck before = s->check;
        int r;

        if (!s->probed) {
                s->check = BSL_CHECK_SUM;
                r = session_command(s, &c, NULL, &own);
                if (r < 0)
                        return r;
                s->probed = true;
                s->probe_result = own.reply == BSL_REP_UNSUPPORTED_COMMAND && own.class == CLASS_REFUSED ? 0 : r;
                s->probe_failure = own;
                if (s->probe_result == 0)
                        s->stage = BSL_STAGE_FDL2;
                else
                        s->check = before;
        }
        if (s->probe_result != 0 && f)
                session_copy_failure(f, &s->probe_failure);
        return s->probe_result;
}

int bsl_connect_running(BslSession *s, Failure *f) {
        int r;

        s->check = BSL_CHECK_SUM;
        s->adopting = true;
        r = bsl_connect(s, f); /* its second try is with the check that the first was answered with */
        s->adopting = false;
        if (r == 0)
                s->stage = s->check == BSL_CHECK_CRC16 ? BSL_STAGE_BROM : BSL_STAGE_FDL1;
        return r;
}

int bsl_connect(BslSession *s, Failure *f) {
        const Command c = {.code = BSL_CMD_CONNECT, .deadline = s->deadlines.connect, .want = BSL_REP_ACK};
        Failure own = FAILURE_INIT;
        int r;

        if (s->tainted)
                return session_refuse_tainted(s, f);
        for (unsigned attempt = 1;; attempt++) {
                r = session_command(s, &c, NULL, &own);
                if (r == 0 && attempt > 1)
                        return session_drain(s, QUIET_MS) == -ECANCELED ? -ECANCELED : 0;
                if (r <= 0)
                        return r;
                if (attempt == 2 || own.class == CLASS_GONE || own.class == CLASS_HOST ||
                    own.reply == BSL_REP_UNSUPPORTED_COMMAND)
                        break;
                s->retries++;
                /* All answers to CONNECT are alike, so a late one does no harm to the second. */
                s->tainted = false;
                r = session_drain(s, QUIET_MS);
                if (r == -ECANCELED)
                        return r;
                own = FAILURE_INIT;
        }
        own.attempts = 2;
        if (f)
                session_copy_failure(f, &own);
        return 1;
}
