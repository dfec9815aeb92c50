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
        if (s->trace)
                session_trace(s, &(BslEvent){.kind = BSL_EVENT_CHANNEL});
}

void bsl_session_set_deadlines(BslSession *s, const BslDeadlines *deadlines) {
        s->deadlines = *deadlines;
        bsl_deadlines_apply_floors(&s->deadlines);
}

BslSlowest bsl_session_take_slowest(BslSession *s) {
        BslSlowest taken = s->slowest;

        s->slowest = (BslSlowest) {};
        return taken;
}

void session_measure(const BslSession *s, uint64_t since, uint32_t *slowest) {
        uint64_t took = channel_now(s->channel) - since;

        if (slowest)
                *slowest = (uint32_t) MAX((uint64_t) *slowest, MIN(took, (uint64_t) UINT32_MAX));
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

const char *bsl_session_log(const BslSession *s) {
        return s->log;
}

unsigned bsl_session_retries(const BslSession *s) {
        return s->retries;
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

void session_trace(BslSession *s, BslEvent *e) {
        e->check = s->check;
        e->plain = !s->transcode;
        if (e->now_ms == 0)
                e->now_ms = channel_now(s->channel);
        s->trace(s->trace_data, e);
}

static void trace_frame(BslSession *s, BslEventKind kind, const BslFrame *frame) {
        if (s->trace)
                session_trace(s, &(BslEvent){.kind = kind, .type = frame->type, .payload = frame->payload, .size = frame->size,
                                             .check_value = get_be16(frame->body + frame->body_size - 2)});
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
        r = channel_borrow(s->channel, s->rx_own, sizeof(s->rx_own), wait, &s->rx, &n);
        if (r < 0)
                return r == -ETIMEDOUT && channel_now(s->channel) < until ? 0 : r;
        if (n > RX_SIZE)
                return -EIO;
        s->rx_at = 0;
        s->rx_end = n;
        s->heard.bytes += n;
        if (n > 0 && s->trace && s->heard.first_ms == 0)
                s->heard.first_ms = channel_now(s->channel);
        return 0;
}

static void heard_bad(BslSession *s) {
        if (s->heard.bad++ == 0)
                s->heard.first_bad_ms = channel_now(s->channel);
}

/* During a sync either check will do, and that of a VER frame becomes the session's (bsl-protocol §3.4). Who takes a frame for
 * damaged says so with the check that he expects. */
static bool check_fits(BslSession *s, const BslFrame *frame) {
        static const BslCheck checks[] = {BSL_CHECK_CRC16, BSL_CHECK_SUM};

        if (!s->adopting)
                return bsl_body_check(frame->body, frame->body_size, s->check);
        for (size_t i = 0; i < ELEMENTSOF(checks); i++)
                if (bsl_body_check(frame->body, frame->body_size, checks[i])) {
                        if (frame->type == BSL_REP_VER || frame->type == BSL_REP_VERIFY_ERROR)
                                s->check = checks[i];
                        return true;
                }
        return false;
}

/* Takes the next good frame from what was received. False: more bytes are needed. */
static bool session_decode(BslSession *s, BslFrame *ret) {
        while (s->rx_at < s->rx_end) { /* else there may be no buffer either */
                const uint8_t *data = s->rx + s->rx_at;
                size_t left = s->rx_end - s->rx_at;
                BslDecoded r = bsl_decoder_feed(&s->decoder, &data, &left, ret);
                uint64_t garbage = s->decoder.garbage - s->heard.garbage;

                s->rx_at = s->rx_end - left;
                s->heard.garbage = s->decoder.garbage;
                if (r == BSL_DECODED_MORE)
                        return false;
                if (r == BSL_DECODED_BAD) {
                        session_trace_bytes(s, BSL_EVENT_GARBAGE, NULL, (size_t) garbage);
                        heard_bad(s);
                        continue;
                }
                if (!check_fits(s, ret)) {
                        trace_frame(s, BSL_EVENT_DAMAGED, ret);
                        heard_bad(s);
                        continue;
                }
                trace_frame(s, BSL_EVENT_RECEIVED, ret);
                if (ret->type != BSL_REP_LOG)
                        return true;
                if (ret->size > 4) /* behind the kind of log */
                        clean_text(s->log, sizeof(s->log), ret->payload + 4, ret->size - 4);
                s->heard.valid++;
        }
        return false;
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

static void trace_end_of_wait(BslSession *s, const Wait *w, int error) {
        uint64_t stray = s->heard.garbage + bsl_decoder_pending(&s->decoder);

        if (!s->trace)
                return;
        if (s->heard.bad == 0 && stray > 0)
                session_trace(s, &(BslEvent){.kind = BSL_EVENT_CUT, .size = (size_t) MIN(stray, (uint64_t) UINT32_MAX), .now_ms = s->heard.first_ms});
        if (error == -ETIMEDOUT)
                session_trace(s, &(BslEvent){.kind = BSL_EVENT_EXPIRED, .ms = w->deadline, .sending = w->sending});
        else
                session_trace(s, &(BslEvent){.kind = BSL_EVENT_ERROR, .error = error, .sending = w->sending});
}

int session_fail(BslSession *s, const Wait *w, int error, Failure *f) {
        Failure own = FAILURE_INIT;
        uint64_t waited = channel_now(s->channel) - w->since;

        trace_end_of_wait(s, w, error);
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
                if (error == -ENOMEM)
                        snprintf(own.detail, sizeof(own.detail), "usb-memory");
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

/* An error in place of an answer, after raw data that had been acknowledged before they were written: the answer to the command
 * itself is still to come. */
static int late_raw_error(BslSession *s, const Wait *w, int type, Failure *f) {
        Failure own = FAILURE_INIT;

        own.reply = type;
        failure_set(&own, CLASS_REFUSED, "",
                    "The device could not write raw data that it had acknowledged: %02X %s came in place of the answer to %s.", type,
                    bsl_reply_name(type), w->command);
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
                        return s->raw_unproven ? late_raw_error(s, w, frame.type, f) : reply_failure(s, w, frame.type, true, f);
        if (r != -ETIMEDOUT)
                return session_fail(s, w, r, f);
        session_clear_rx(s);
        session_begin_wait(s);
        return 0;
}

/* Odd payloads are padded with one zero. */
static const void *even_payload(BslSession *s, const void *payload, size_t *size) {
        if (*size % 2 == 0)
                return payload;
        memmove(s->scratch, payload, *size);
        s->scratch[(*size)++] = 0;
        return s->scratch;
}

static size_t encode(BslSession *s, int code, const void *payload, size_t size) {
        payload = even_payload(s, payload, &size);
        return bsl_frame_encode(s->tx[s->tx_at], (uint16_t) code, payload, size, s->check, s->transcode);
}

/* The last two bytes before the closing flag, escaped or not. */
static uint16_t check_on_wire(const uint8_t *wire, size_t n, bool transcode) {
        size_t at = n - 1;
        uint8_t byte[2];

        for (int i = 1; i >= 0; i--) {
                byte[i] = wire[--at];
                if (transcode && wire[at - 1] == BSL_ESCAPE) {
                        byte[i] ^= 0x20;
                        at--;
                }
        }
        return get_be16(byte);
}

static void trace_sent(BslSession *s, const Command *c, size_t wire) {
        size_t size = c->size;
        const void *payload = even_payload(s, c->payload, &size);

        session_trace(s, &(BslEvent){.kind = BSL_EVENT_SENT, .type = (uint16_t) c->code, .payload = payload, .size = size,
                                     .check_value = check_on_wire(s->tx[s->tx_at], wire, s->transcode)});
}

static bool sized_right(const BslSession *s, size_t size) {
        /* Without escaping a frame is one transfer into a buffer of 65472 bytes (bsl-protocol §2.4). */
        return size <= (s->transcode ? BSL_PAYLOAD_MAX - 1 : 65472 - 8);
}

void bsl_midst_prepare(BslSession *s, const void *data, size_t size) {
        s->ready = NULL;
        if (size == 0 || !sized_right(s, size))
                return;
        s->ready_wire = encode(s, BSL_CMD_MIDST_DATA, data, size);
        s->ready_size = size;
        s->ready_check = s->check;
        s->ready_transcode = s->transcode;
        s->ready = data;
}

static bool is_ready(const BslSession *s, const Command *c) {
        return s->ready && c->code == BSL_CMD_MIDST_DATA && s->ready == c->payload && s->ready_size == c->size &&
               s->ready_check == s->check && s->ready_transcode == s->transcode;
}

int session_send(BslSession *s, const Command *c) {
        size_t n = is_ready(s, c) ? s->ready_wire : encode(s, c->code, c->payload, c->size);
        int r;

        s->ready = NULL;
        if (s->trace)
                trace_sent(s, c, n);
        r = channel_submit(s->channel, s->tx[s->tx_at], n, c->deadline);
        if (r < 0)
                return r;
        s->tx_at ^= 1;
        if (c->next)
                bsl_midst_prepare(s, c->next, c->next_size);
        return channel_settle(s->channel);
}

int session_command(BslSession *s, const Command *c, BslFrame *ret, Failure *f) {
        Wait w = {.command = bsl_command_name(c->code), .deadline = c->deadline, .since = channel_now(s->channel)};
        BslFrame frame;
        int r;

        s->sent = false;
        if (s->tainted)
                return session_refuse_tainted(s, f);
        if (!sized_right(s, c->size))
                return -EMSGSIZE;
        s->channel->expected = s->transcode ? 2 * c->answer : c->answer;
        s->channel->goes_on = c->next != NULL;
        r = drop_stale(s, &w, f);
        if (r != 0)
                return r;
        r = session_send(s, c);
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
                if (s->raw_unproven && is_error_reply(frame.type))
                        return late_raw_error(s, &w, frame.type, f);
                if (frame.type != BSL_REP_VER)
                        return wrong_answer(s, &w, frame.type, f);
                s->heard.valid++; /* a late answer to a sync */
        }
        s->raw_unproven = false;
        session_measure(s, w.since, c->slowest);
        if (ret)
                *ret = frame;
        return 0;
}

/* The answer to raw data, whole or broken off. */
static int raw_answer(BslSession *s, const Wait *w, bool complete, Failure *f) {
        BslFrame frame;
        int r;

        do {
                r = session_receive(s, w->since + w->deadline, false, &frame);
                if (r < 0)
                        return session_fail(s, w, r, f);
                s->heard.valid++;
        } while (frame.type == BSL_REP_VER);
        if (frame.type == BSL_REP_ACK && complete)
                return 0;
        r = wrong_answer(s, w, frame.type, f);
        /* It may still wait for the rest, or take what comes next for data. */
        if (r > 0 && !s->tainted && f)
                session_taint(s, f);
        return r;
}

int bsl_raw_data(BslSession *s, const void *data, size_t size, bool whole, bool last, Failure *f) {
        Wait w = {.command = "raw data", .deadline = last ? s->deadlines.midst_last : s->deadlines.midst};
        Failure own = FAILURE_INIT;
        int r;

        if (s->tainted)
                return session_refuse_tainted(s, f);
        if (size == 0 || s->transcode)
                return -EINVAL;
        w.since = channel_now(s->channel);
        session_begin_wait(s);
        session_trace_bytes(s, BSL_EVENT_RAW, data, size);
        r = channel_stream(s->channel, data, size, w.deadline);
        if (r < 0 && r != -EREMOTE) {
                w.sending = true;
                return session_fail(s, &w, r, f);
        }
        w.since = channel_now(s->channel);
        r = raw_answer(s, &w, r == 0, &own);
        if (r > 0 && f)
                session_copy_failure(f, &own);
        s->raw_unproven = r == 0 && !whole;
        if (r == 0)
                session_measure(s, w.since, last ? &s->slowest.midst_last : &s->slowest.midst);
        return r;
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
        /* Replies of PDL are no frames. */
        alive = alive || s->heard.valid > 0 || (s->stage == BSL_STAGE_PDL && s->heard.garbage > 0);
        if (!alive)
                return false;
        if (s->tainted && s->taint.class == CLASS_SILENT)
                failure_set(&s->taint, CLASS_SLOW, "", "The device answered %s only after its time limit of %u ms.",
                            s->taint.command, s->taint.deadline_ms);
        if (f && f->class == CLASS_SILENT && s->tainted)
                session_copy_failure(f, &s->taint);
        return true;
}
