/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <time.h>

#include "bsl/codes.h"
#include "common/hex.h"
#include "flash/trace-private.h"

/* A trace as text: one event a line, machines read what stands before the "#", people all of it. */

typedef struct Text {
        FILE *out;
        const TraceState *s;
} Text;

static const uint8_t *payload_of(const Text *x, const TraceEvent *e) {
        return e->flags & TRACE_IN_ARENA ? x->s->arena + MIN(e->place, TRACE_ARENA - MIN((uint32_t) e->kept, TRACE_ARENA)) : e->data;
}

/* ---- words for people ---- */

static void say_name(const Text *x, const uint8_t *p) {
        for (size_t i = 0; i < 36 && p[2 * i] > 0x20 && p[2 * i] < 0x7f; i++)
                fputc(p[2 * i], x->out);
}

static void say_text(const Text *x, const uint8_t *p, size_t n) {
        fputs(" \"", x->out);
        for (size_t i = 0; i < n && p[i]; i++)
                fputc(p[i] >= 0x20 && p[i] < 0x7f && p[i] != '#' && p[i] != '"' ? p[i] : '.', x->out);
        fputc('"', x->out);
}

static void say_place(const Text *x, const uint8_t *p, size_t n) {
        if (n >= 76) {
                fputc(' ', x->out);
                say_name(x, p);
                fprintf(x->out, ", %" PRIu64 " bytes", n >= 88 ? get_le64(p + 72) : get_le32(p + 72));
        } else if (n >= 8)
                fprintf(x->out, " 0x%x, %u bytes", get_be32(p), get_be32(p + 4));
}

static void say_command(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        fputs(bsl_command_name(e->type), x->out);
        if (e->kept == 0)
                return;
        if (e->type == BSL_CMD_START_DATA || e->type == BSL_CMD_ERASE_FLASH || e->type == BSL_CMD_READ_START)
                say_place(x, p, e->kept);
        else if (e->type == BSL_CMD_READ_MIDST && e->kept >= 8)
                fprintf(x->out, " %u bytes from %" PRIu64, get_le32(p), e->kept >= 12 ? get_le64(p + 4) : get_le32(p + 4));
        else if (e->type == BSL_CMD_READ_FLASH && e->kept >= 8)
                fprintf(x->out, " 0x%x, %u bytes from %u", get_be32(p), get_be32(p + 4), e->kept >= 12 ? get_be32(p + 8) : 0);
        else if (e->type == BSL_CMD_REPARTITION)
                fprintf(x->out, " %u bytes of table", e->kept);
}

static void say_reply(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        fputs(bsl_reply_name(e->type), x->out);
        if (e->type == BSL_REP_VER && e->kept > 0)
                say_text(x, p, e->kept);
        else if (e->type == BSL_REP_LOG && e->kept > 4)
                say_text(x, p + 4, e->kept - 4u);
        else if (e->type == BSL_REP_INCOMPATIBLE_PARTITION && e->kept >= 20)
                fputs(" (device info)", x->out);
        else if (e->type == BSL_REP_READ_PARTITION)
                fprintf(x->out, " %u entries", e->kept / 76u);
        else if (e->size > 0 && e->kept == 0 && !(e->flags & TRACE_HASHED))
                fputs(" (not kept)", x->out);
}

/* ---- lines ---- */

static void put_payload(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        fprintf(x->out, " %u ", e->size);
        if (e->size == 0)
                fputc('-', x->out);
        else if (e->kept > 0)
                for (size_t i = 0; i < e->kept; i++)
                        fprintf(x->out, "%02x", p[i]);
        else if (e->flags & TRACE_HASHED)
                fprintf(x->out, "~%016" PRIx64, e->hash);
        else
                fputc('?', x->out);
}

static void put_frame(const Text *x, const char *word, const TraceEvent *e) {
        fprintf(x->out, "%s %s %s %04x", word, e->flags & TRACE_CRC ? "crc" : "sum", e->flags & TRACE_PLAIN ? "plain" : "esc", e->type);
        if (e->kind == TRACE_DAMAGED)
                fprintf(x->out, " %u", e->size);
        else
                put_payload(x, e);
        fputs("  # ", x->out);
        if (e->kind == TRACE_FRAME_OUT)
                say_command(x, e);
        else
                say_reply(x, e);
        if (e->kind == TRACE_DAMAGED)
                fputs(", its check is wrong", x->out);
}

static void put_pdl(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        if (e->kind == TRACE_PDL_IN)
                fprintf(x->out, "pdl< %u  # %s", e->type, bsl_pdl_reply_name(e->type));
        else if (e->kept == 20)
                fprintf(x->out, "pdl> %u %u %u %u ~%016" PRIx64 "  # %s", e->type, get_le32(p + 12), get_le32(p + 16), e->size, e->hash,
                        bsl_pdl_command_name(e->type));
}

static void put_nv(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        if (e->kept < 12) {
                fputs("nv lost", x->out);
                return;
        }
        fprintf(x->out, "nv %s %04x %04x%04x %u %u", get_be16(p) ? "be" : "le", get_be16(p + 2), get_be16(p + 4), get_be16(p + 6),
                get_be16(p + 8), get_be16(p + 10));
        for (size_t at = 12; at + 4 <= e->kept; at += 4)
                fprintf(x->out, " %x/%u", get_be16(p + at), get_be16(p + at + 2));
        fputs("  # items of the image that was read, without their contents", x->out);
}

static const char *error_word(int error) {
        switch (error) {
        case 0:
                return "ok";
        case -ENODEV:
                return "gone";
        case -EPIPE:
                return "stall";
        case -EPROTO:
        case -EOVERFLOW:
        case -EILSEQ:
                return "damaged";
        case -EBADMSG:
                return "flood";
        case -ECANCELED:
                return "canceled";
        case -ETIMEDOUT:
                return "timeout";
        default:
                return "host";
        }
}

static void put_text(const Text *x, const TraceEvent *e) {
        const uint8_t *p = payload_of(x, e);

        for (size_t i = 0; i < e->kept; i++)
                fputc(p[i] >= 0x20 && p[i] < 0x7f && p[i] != '#' ? p[i] : '_', x->out);
}

static void put_event(const Text *x, const TraceEvent *e) {
        fprintf(x->out, "%6u.%03u ", e->at_ms / 1000, e->at_ms % 1000);
        switch ((TraceKind) e->kind) {
        case TRACE_FRAME_OUT:
                put_frame(x, ">", e);
                break;
        case TRACE_FRAME_IN:
                put_frame(x, "<", e);
                break;
        case TRACE_DAMAGED:
                put_frame(x, "!", e);
                break;
        case TRACE_GARBAGE:
                fprintf(x->out, "garbage %u  # bytes that are no frame", e->size);
                break;
        case TRACE_CUT:
                fprintf(x->out, "cut %u  # bytes, and no end of a frame", e->size);
                break;
        case TRACE_SYNC:
                fprintf(x->out, "sync %u", e->repeat);
                break;
        case TRACE_RAW:
                fputs("raw", x->out);
                put_payload(x, e);
                break;
        case TRACE_PDL_OUT:
        case TRACE_PDL_IN:
                put_pdl(x, e);
                break;
        case TRACE_OPENED:
                fprintf(x->out, "open %s", error_word(e->error));
                break;
        case TRACE_ERROR:
                fprintf(x->out, "error %s%s", error_word(e->error), e->flags & TRACE_SENDING ? " sending" : "");
                break;
        case TRACE_EXPIRED:
                fprintf(x->out, "expired %u%s", e->size, e->flags & TRACE_SENDING ? " sending" : "");
                break;
        case TRACE_BACK:
                fputs("back", x->out);
                break;
        case TRACE_STEP:
                fprintf(x->out, "step %u ", e->type + 1u);
                put_text(x, e);
                break;
        case TRACE_DIFFERS:
                fprintf(x->out, "differs %" PRIu64 "  # what was read is not what it should be, from this byte on", e->hash);
                break;
        case TRACE_NV:
                put_nv(x, e);
                break;
        case TRACE_GPT:
                fputs("gpt ", x->out);
                put_text(x, e);
                break;
        }
        fputc('\n', x->out);
}

/* ---- the whole ---- */

static void put_failure(FILE *out, const TraceHead *h) {
        const Failure *f = h->failure;

        if (!f || f->class == CLASS_NONE)
                return;
        fprintf(out, "failure %s %s %d %s ", fail_class_to_string(f->class), stage_to_string(f->stage) ? stage_to_string(f->stage) : "-",
                f->step < 0 ? 0 : f->step + 1, h->code);
        if (f->reply >= 0)
                fprintf(out, f->pdl ? "pdl-%02d" : "%02x", (unsigned) f->reply & 0xff);
        else
                fputc('-', out);
        fprintf(out, " %s\n", f->command[0] ? f->command : "-");
}

static void put_word(FILE *out, const char *key, const char *text) {
        if (!text || !text[0])
                return;
        fprintf(out, "%s ", key);
        for (; *text; text++)
                fputc((unsigned char) *text > 0x20 && *text != '#' && (unsigned char) *text < 0x7f ? *text : '_', out);
        fputc('\n', out);
}

static void put_head(const Text *x, const TraceHead *h) {
        time_t seconds = (time_t) (x->s->start_usec / 1000000);
        char text[40] = "-";
        struct tm tm;

        if (x->s->start_usec > 0 && gmtime_r(&seconds, &tm))
                strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
        fprintf(x->out, "fdld-trace 1\nversion %s\njob %" PRIu64 " %s\nstarted %s\n", PACKAGE_VERSION, h->job, h->kind, text);
        fprintf(x->out, "device %04x:%04x %s\n", h->vendor, h->product, h->speed && h->speed[0] ? h->speed : "high");
        put_word(x->out, "package", h->package);
        put_word(x->out, "family", h->family);
#define X(field, value, floor) fprintf(x->out, "deadline " #field " %u\n", h->deadlines->field);
        BSL_DEADLINES(X)
#undef X
        put_failure(x->out, h);
        fputs("begin\n", x->out);
}

static void put_middle(const Text *x) {
        for (uint64_t i = 0; i < MIN(x->s->n_runs, (uint64_t) TRACE_RUNS); i++) {
                const TraceRun *r = x->s->runs + i;

                if (r->count > 1)
                        fprintf(x->out, "run %u %u %u.%03u %u  # times the next lines, until, slowest in ms\n", r->count, r->n_events,
                                r->until_ms / 1000, r->until_ms % 1000, r->slowest_ms);
                for (unsigned k = 0; k < MIN(r->n_events, 2u); k++)
                        put_event(x, r->events + k);
        }
        if (x->s->half > 0 && x->s->n_runs > 0) {
                TraceEvent e = x->s->runs[MIN(x->s->n_runs, (uint64_t) TRACE_RUNS) - 1].events[0];
                e.at_ms = (uint32_t) (x->s->half - 1);
                put_event(x, &e);
        }
        if (x->s->lost > 0)
                fprintf(x->out, "lost %" PRIu64 "  # events between, of too many kinds to keep\n", x->s->lost);
}

static void put_events(const Text *x) {
        uint64_t n = x->s->n, first = n > TRACE_HEAD + TRACE_TAIL ? n - TRACE_TAIL : TRACE_HEAD;

        for (uint64_t i = 0; i < MIN(n, (uint64_t) TRACE_HEAD); i++)
                put_event(x, x->s->head + i);
        put_middle(x);
        for (uint64_t i = first; i < n; i++)
                put_event(x, x->s->tail + (i - TRACE_HEAD) % TRACE_TAIL);
        fputs("end\n", x->out);
}

char *trace_text(const Trace *t, const TraceHead *head, size_t *ret_size) {
        _cleanup_free_ TraceState *copy = trace_copy(t);
        char *text = NULL;
        Text x = {.s = copy};

        if (!copy)
                return NULL;
        x.out = open_memstream(&text, ret_size);
        if (!x.out)
                return NULL;
        put_head(&x, head);
        put_events(&x);
        if (fclose(x.out) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
