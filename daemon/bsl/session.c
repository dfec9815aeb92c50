/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "bsl/internal.h"

/* How much may arrive during one wait before we stop listening, whatever the deadline says. */
#define GARBAGE_MAX (1024 * 1024)
#define BYTES_MAX (64 * 1024 * 1024)
#define TRANSFERS_MAX 200000
/* After a damaged frame the right one hardly comes; so long we still listen. */
#define BAD_GRACE_MS 1000
#define DRAIN_MAX_MS 2000

void bsl_deadlines_default(BslDeadlines *ret) {
        *ret = (BslDeadlines){
#define X(field, value, floor) .field = value,
                BSL_DEADLINES(X)
#undef X
        };
}

void bsl_deadlines_apply_floors(BslDeadlines *d) {
#define X(field, value, floor) d->field = MAX(d->field, (uint32_t) (floor));
        BSL_DEADLINES(X)
#undef X
}

BslSession *bsl_session_new(Channel *channel, const BslDeadlines *deadlines) {
        BslSession *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        if (deadlines)
                s->deadlines = *deadlines;
        else
                bsl_deadlines_default(&s->deadlines);
        bsl_deadlines_apply_floors(&s->deadlines);
        bsl_session_set_channel(s, channel);
        return s;
}

BslSession *bsl_session_free(BslSession *s) {
        free(s);
        return NULL;
}

void bsl_session_set_trace(BslSession *s, BslTraceFunc fn, void *userdata) {
        s->trace = fn;
        s->trace_data = userdata;
}

void bsl_session_set_channel(BslSession *s, Channel *channel) {
        s->channel = channel;
        s->transcode = true;
        s->port_error = 0;
        session_clear_rx(s);
}

void bsl_session_set_deadlines(BslSession *s, const BslDeadlines *deadlines) {
        s->deadlines = *deadlines;
        bsl_deadlines_apply_floors(&s->deadlines);
}

BslStage bsl_session_stage(const BslSession *s) {
        return s->stage;
}

void bsl_session_set_stage(BslSession *s, BslStage stage) {
        s->stage = stage;
}

BslCheck bsl_session_check(const BslSession *s) {
        return s->check;
}

void bsl_session_set_check(BslSession *s, BslCheck check) {
        s->check = check;
}

const char *bsl_session_version(const BslSession *s) {
        return s->version;
}

bool bsl_session_tainted(const BslSession *s) {
        return s->tainted;
}

bool bsl_session_transcoding(const BslSession *s) {
        return s->transcode;
}

void clean_text(char *ret, size_t ret_size, const uint8_t *data, size_t size) {
        size_t n = 0;

        for (size_t i = 0; i < size && n < ret_size - 1 && data[i] != '\0'; i++)
                ret[n++] = data[i] >= 0x20 && data[i] < 0x7f ? (char) data[i] : '?';
        ret[n] = '\0';
}

void session_trace(BslSession *s, bool out, const uint8_t *data, size_t size) {
        if (s->trace)
                s->trace(s->trace_data, out, data, size, channel_now(s->channel));
}

void session_clear_rx(BslSession *s) {
        s->rx_at = s->rx_end = 0;
        bsl_decoder_reset(&s->decoder, s->transcode);
}

void session_begin_wait(BslSession *s) {
        s->heard = (Heard){};
        s->decoder.garbage = 0;
}

int session_fill(BslSession *s, uint64_t until) {
        uint64_t now = channel_now(s->channel);
        uint32_t wait = now >= until ? 0 : (uint32_t) MIN(until - now, UINT32_MAX);
        size_t n = 0;
        int r;

        if (++s->heard.transfers > TRANSFERS_MAX || s->heard.bytes > BYTES_MAX || s->heard.garbage > GARBAGE_MAX)
                return -EBADMSG;
        r = channel_receive(s->channel, s->rx, sizeof(s->rx), wait, &n);
        if (r < 0)
                return r == -ETIMEDOUT && channel_now(s->channel) < until ? 0 : r;
        if (n > sizeof(s->rx))
                return -EIO;
        s->rx_at = 0;
        s->rx_end = n;
        s->heard.bytes += n;
        return 0;
}

static void heard_bad(BslSession *s) {
        if (s->heard.bad++ == 0)
                s->heard.first_bad_ms = channel_now(s->channel);
}

/* During a sync either check will do, and that of a VER frame becomes the session's (bsl-protocol §3.4). */
static bool check_fits(BslSession *s, const BslFrame *frame) {
        static const BslCheck checks[] = {BSL_CHECK_CRC16, BSL_CHECK_SUM};

        if (!s->adopting)
                return bsl_body_check(frame->body, frame->body_size, s->check);
        for (size_t i = 0; i < ELEMENTSOF(checks); i++)
                if (bsl_body_check(frame->body, frame->body_size, checks[i])) {
                        if (frame->type == BSL_REP_VER)
                                s->check = checks[i];
                        return true;
                }
        return false;
}

/* Takes the next good frame from what was received. False: more bytes are needed. */
static bool session_decode(BslSession *s, BslFrame *ret) {
        for (;;) {
                const uint8_t *data = s->rx + s->rx_at;
                size_t left = s->rx_end - s->rx_at;
                BslDecoded r = bsl_decoder_feed(&s->decoder, &data, &left, ret);

                s->rx_at = s->rx_end - left;
                s->heard.garbage = s->decoder.garbage;
                if (r == BSL_DECODED_MORE)
                        return false;
                if (r == BSL_DECODED_BAD || !check_fits(s, ret)) {
                        heard_bad(s);
                        continue;
                }
                session_trace(s, false, ret->body, ret->body_size - 2);
                if (ret->type != BSL_REP_LOG)
                        return true;
                s->heard.valid++;
        }
}

int session_receive(BslSession *s, uint64_t until, bool patient, BslFrame *ret) {
        for (;;) {
                int r;

                if (session_decode(s, ret))
                        return 0;
                if (s->heard.bad > 0 && !patient)
                        until = MIN(until, s->heard.first_bad_ms + BAD_GRACE_MS);
                r = session_fill(s, until);
                if (r < 0)
                        return r;
        }
}

int session_drain(BslSession *s, uint32_t quiet) {
        uint64_t stop = channel_now(s->channel) + DRAIN_MAX_MS;
        BslFrame frame;

        session_begin_wait(s);
        for (;;) {
                uint64_t now = channel_now(s->channel);
                int r;

                if (now >= stop)
                        break;
                r = session_receive(s, MIN(now + quiet, stop), true, &frame);
                if (r == -ECANCELED || r == -ENODEV)
                        return r;
                if (r < 0)
                        break;
        }
        session_clear_rx(s);
        session_begin_wait(s);
        return 0;
}

void session_taint(BslSession *s, const Failure *f) {
        if (s->tainted)
                return;
        s->tainted = true;
        s->taint = *f;
}

/* Only what this layer knows: stage, step and partition belong to the caller. */
void session_copy_failure(Failure *to, const Failure *from) {
        to->class = from->class;
        to->reply = from->reply;
        to->pdl = from->pdl;
        to->error = from->error;
        to->deadline_ms = from->deadline_ms;
        to->waited_ms = from->waited_ms;
        to->attempts = from->attempts;
        memcpy(to->command, from->command, sizeof(to->command));
        memcpy(to->detail, from->detail, sizeof(to->detail));
        memcpy(to->text, from->text, sizeof(to->text));
}

int session_refuse_tainted(const BslSession *s, Failure *f) {
        if (f)
                session_copy_failure(f, &s->taint);
        return 1;
}

void session_note(BslSession *s, const Wait *w, Failure *f) {
        snprintf(f->command, sizeof(f->command), "%s", w->command);
        f->waited_ms = (uint32_t) MIN(channel_now(s->channel) - w->since, UINT32_MAX);
        f->attempts = MAX(w->attempts, 1u);
}

/* Nothing that could be the answer came in time: which of the three was it? */
static void classify_expired(const BslSession *s, const Wait *w, Failure *f) {
        uint64_t stray = s->heard.garbage + bsl_decoder_pending(&s->decoder);
        const char *port = s->port_error ? " The request that opens its port had failed before." : "";

        if (w->sending)
                failure_set(f, CLASS_SILENT, "", "The device did not accept %s within %u ms.%s", w->command,
                            w->deadline, port);
        else if (s->heard.bad > 0 || stray > 0)
                failure_set(f, CLASS_GARBLED, "",
                            "The device's answer to %s could not be decoded (%u damaged frames, %llu stray bytes).",
                            w->command, s->heard.bad, (unsigned long long) stray);
        else if (s->heard.valid > 0)
                failure_set(f, CLASS_SLOW, "", "The device is alive but did not finish %s within %u ms.", w->command,
                            w->deadline);
        else
                failure_set(f, CLASS_SILENT, "", "The device did not answer %s within %u ms.%s", w->command,
                            w->deadline, port);
}

int session_fail(BslSession *s, const Wait *w, int error, Failure *f) {
        Failure own = FAILURE_INIT;
        uint64_t waited = channel_now(s->channel) - w->since;

        switch (error) {
        case -ENODEV:
                failure_set(&own, CLASS_GONE, "", "The device left the bus during %s.", w->command);
                break;
        case -ETIMEDOUT:
                classify_expired(s, w, &own);
                if (waited >= w->deadline)
                        own.deadline_ms = w->deadline;
                break;
        case -EBADMSG:
                failure_set(&own, CLASS_GARBLED, "", "The device floods the bus with bytes that are no answer to %s.",
                            w->command);
                break;
        case -EPIPE:
                failure_set(&own, CLASS_GARBLED, "stall", "The device stalled its endpoint during %s.", w->command);
                break;
        case -EPROTO:
        case -EOVERFLOW:
        case -EILSEQ:
                failure_set(&own, CLASS_GARBLED, "", "Bytes were damaged or lost on the wire during %s.", w->command);
                break;
        case -ECANCELED:
                failure_set(&own, CLASS_HOST, "canceled", "%s was cancelled before its answer came.", w->command);
                break;
        default:
                failure_set_errno(&own, error, "USB transfer for %s failed: %s.", w->command, strerror(-error));
        }
        session_note(s, w, &own);
        if (error != -ENODEV && !w->harmless)
                session_taint(s, &own);
        if (f)
                session_copy_failure(f, &own);
        return error == -ECANCELED ? -ECANCELED : 1;
}

static bool is_error_reply(int type) {
        return type >= 0x80 && type <= 0xff && !bsl_reply_is_answer(type);
}

static int reply_failure(BslSession *s, const Wait *w, int type, bool stale, Failure *f) {
        Failure own = FAILURE_INIT;

        own.reply = type;
        if (stale)
                failure_set(&own, CLASS_REFUSED, "",
                            "Before %s was sent, the device took back its last answer: %02X %s.", w->command, type,
                            bsl_reply_name(type));
        else
                failure_set(&own, CLASS_REFUSED, "", "The device answered %s with %02X %s.", w->command, type,
                            bsl_reply_name(type));
        session_note(s, w, &own);
        if (f)
                session_copy_failure(f, &own);
        return 1;
}

static int wrong_answer(BslSession *s, const Wait *w, int type, Failure *f) {
        Failure own = FAILURE_INIT;

        if (is_error_reply(type))
                return reply_failure(s, w, type, false, f);
        failure_set(&own, CLASS_GARBLED, "unexpected", "The device answered %s with %02X %s, which is no answer to it.",
                    w->command, type, bsl_reply_name(type));
        own.reply = type;
        session_note(s, w, &own);
        session_taint(s, &own);
        return session_refuse_tainted(s, f);
}

/* Before a command leaves: whatever has arrived by now cannot be its answer. Surplus acknowledgements and versions are
 * dropped; an error that the device sent after it had acknowledged is the failure of what was sent before. */
static int drop_stale(BslSession *s, const Wait *w, Failure *f) {
        BslFrame frame;
        int r;

        session_begin_wait(s);
        while ((r = session_receive(s, 0, true, &frame)) == 0)
                if (is_error_reply(frame.type))
                        return reply_failure(s, w, frame.type, true, f);
        if (r != -ETIMEDOUT)
                return session_fail(s, w, r, f);
        session_clear_rx(s);
        session_begin_wait(s);
        return 0;
}

static int send_frame(BslSession *s, const Command *c) {
        const void *payload = c->payload;
        size_t size = c->size, n;

        if (size % 2 != 0) {
                memmove(s->scratch, payload, size);
                s->scratch[size++] = 0;
                payload = s->scratch;
        }
        n = bsl_frame_encode(s->tx, (uint16_t) c->code, payload, size, s->check, s->transcode);
        if (s->trace) {
                /* The caller's payload has no head in front of it; build one where nothing else lives now. */
                put_be16(s->rx, (uint16_t) c->code);
                put_be16(s->rx + 2, (uint16_t) size);
                if (size > 0)
                        memcpy(s->rx + BSL_HEAD, payload, size);
                session_trace(s, true, s->rx, BSL_HEAD + size);
        }
        return channel_send(s->channel, s->tx, n, c->deadline);
}

static bool sized_right(const BslSession *s, const Command *c) {
        /* Without escaping a frame is one transfer into a buffer of 65472 bytes (bsl-protocol §2.4). */
        return c->size <= (s->transcode ? BSL_PAYLOAD_MAX - 1 : 65472 - 8);
}

int session_command(BslSession *s, const Command *c, BslFrame *ret, Failure *f) {
        Wait w = {.command = bsl_command_name(c->code), .deadline = c->deadline, .since = channel_now(s->channel)};
        BslFrame frame;
        int r;

        s->sent = false;
        if (s->tainted)
                return session_refuse_tainted(s, f);
        if (!sized_right(s, c))
                return -EMSGSIZE;
        r = drop_stale(s, &w, f);
        if (r != 0)
                return r;
        r = send_frame(s, c);
        if (r < 0) {
                w.sending = true;
                return session_fail(s, &w, r, f);
        }
        s->sent = true;
        for (;;) {
                r = session_receive(s, w.since + c->deadline, c->patient, &frame);
                if (r < 0)
                        return session_fail(s, &w, r, f);
                if (frame.type == c->want || (c->want2 && frame.type == c->want2))
                        break;
                if (frame.type != BSL_REP_VER)
                        return wrong_answer(s, &w, frame.type, f);
                s->heard.valid++; /* a late answer to a sync */
        }
        if (ret)
                *ret = frame;
        return 0;
}

bool bsl_listen(BslSession *s, uint32_t ms, Failure *f) {
        uint64_t until = channel_now(s->channel) + ms;
        BslFrame frame;
        bool alive = false;

        session_begin_wait(s);
        while (session_receive(s, until, true, &frame) == 0) {
                alive = true;
                until = MIN(until, channel_now(s->channel) + 50);
        }
        alive = alive || s->heard.valid > 0;
        if (!alive)
                return false;
        if (s->tainted && s->taint.class == CLASS_SILENT)
                failure_set(&s->taint, CLASS_SLOW, "", "The device answered %s only after its time limit of %u ms.",
                            s->taint.command, s->taint.deadline_ms);
        if (f && f->class == CLASS_SILENT && s->tainted)
                session_copy_failure(f, &s->taint);
        return true;
}
