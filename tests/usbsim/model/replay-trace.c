/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"

#define FILE_MAX (64L << 20)
#define LINES_MAX 2000000u
#define SIZE_MAX_FRAME 0xFFFFu
#define SIZE_MAX_RAW (64u << 20)
#define LINES_OF_RUN 2

typedef struct Parser {
        Trace *t;
        unsigned line;
        char *err;
        size_t err_size;
        bool lost; /* the next of the host's frames comes after a gap */
        uint64_t base; /* address at which readings by address began, SIM_NEVER none */
} Parser;

static bool wrong(Parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(Parser *p, const char *format, ...) {
        int n = snprintf(p->err, p->err_size, "line %u: ", p->line);
        va_list ap;

        va_start(ap, format);
        if (n > 0 && (size_t) n < p->err_size)
                vsnprintf(p->err + n, p->err_size - (size_t) n, format, ap);
        va_end(ap);
        return false;
}

static void *own(Trace *t, void *memory) {
        void **parts = memory ? realloc(t->parts, (t->n_parts + 1) * sizeof(*parts)) : NULL;

        if (!parts) {
                free(memory);
                return NULL;
        }
        t->parts = parts;
        parts[t->n_parts++] = memory;
        return memory;
}

/* ---- words ---- */

/* The next word of the line; NULL at its end. */
static char *word(char **at) {
        char *start = *at + strspn(*at, " ");

        if (!*start)
                return NULL;
        *at = start + strcspn(start, " ");
        if (**at)
                *(*at)++ = 0;
        return start;
}

static bool number(const char *text, unsigned base, uint64_t max, uint64_t *ret) {
        char *end;

        if (!text || !isxdigit((unsigned char) *text))
                return false;
        errno = 0;
        *ret = strtoull(text, &end, (int) base);
        return errno == 0 && *end == 0 && *ret <= max;
}

/* Seconds with three decimals, as ns. */
static bool when(const char *text, uint64_t *ret) {
        uint64_t seconds, ms;
        const char *dot = text ? strchr(text, '.') : NULL;
        char head[16];

        if (!dot || dot - text > 10 || strlen(dot) != 4)
                return false;
        memcpy(head, text, (size_t) (dot - text));
        head[dot - text] = 0;
        if (!number(head, 10, 10000000, &seconds) || !number(dot + 1, 10, 999, &ms))
                return false;
        *ret = (seconds * 1000 + ms) * SIM_MS;
        return true;
}

static bool payload(Parser *p, const char *text, TraceLine *l) {
        uint8_t *bytes;

        if (!text)
                return wrong(p, "the payload is missing");
        if (strcmp(text, "-") == 0)
                return l->size == 0 || wrong(p, "a payload of %u bytes cannot be empty", l->size);
        if (strcmp(text, "?") == 0)
                return true;
        if (*text == '~')
                return number(text + 1, 16, UINT64_MAX, &l->hash) || wrong(p, "'%.40s' is no hash", text);
        if (strlen(text) != 2 * (size_t) l->size)
                return wrong(p, "the payload does not have %u bytes", l->size);
        bytes = own(p->t, malloc(l->size ? l->size : 1));
        if (!bytes)
                return wrong(p, "out of memory");
        for (size_t i = 0; i < l->size; i++) {
                char pair[3] = {text[2 * i], text[2 * i + 1], 0};
                uint64_t byte;

                if (!isxdigit((unsigned char) pair[1]) || !number(pair, 16, 255, &byte))
                        return wrong(p, "'%s' is no byte", pair);
                bytes[i] = (uint8_t) byte;
        }
        l->payload = bytes;
        return true;
}

/* ---- lines ---- */

static bool frame(Parser *p, char *rest, TraceLine *l) {
        const char *check = word(&rest), *mode = word(&rest), *type = word(&rest), *size = word(&rest);
        uint64_t t, n;

        if (!mode || (strcmp(check, "crc") != 0 && strcmp(check, "sum") != 0) ||
            (strcmp(mode, "esc") != 0 && strcmp(mode, "plain") != 0))
                return wrong(p, "a frame needs crc or sum, and esc or plain");
        l->crc = *check == 'c';
        l->plain = *mode == 'p';
        if (!number(type, 16, 0xFFFF, &t) || !number(size, 10, SIZE_MAX_FRAME, &n))
                return wrong(p, "a frame needs a type and a size");
        l->type = (unsigned) t;
        l->size = (uint32_t) n;
        if (l->what == TRACE_BAD_FRAME)
                return true;
        if (!payload(p, word(&rest), l))
                return false;
        return word(&rest) == NULL || wrong(p, "more than a frame");
}

static bool sized(Parser *p, char *rest, TraceLine *l, uint64_t max) {
        uint64_t n;

        if (!number(word(&rest), 10, max, &n))
                return wrong(p, "a number is needed");
        l->size = (uint32_t) n;
        if (l->what == TRACE_HOST_RAW)
                return payload(p, word(&rest), l);
        return true;
}

static bool pdl_out(Parser *p, char *rest, TraceLine *l) {
        uint64_t code, address, length, size;

        if (!number(word(&rest), 10, 0xFFFF, &code) || !number(word(&rest), 10, UINT32_MAX, &address) ||
            !number(word(&rest), 10, UINT32_MAX, &length) || !number(word(&rest), 10, SIZE_MAX_FRAME, &size))
                return wrong(p, "pdl> needs code, address, length and size");
        l->type = (unsigned) code;
        l->size = (uint32_t) size;
        return true;
}

/* What a transfer ended with. Errors of the host's own say nothing about the device. */
static bool error(Parser *p, char *rest, TraceLine *l, bool *ret_ignore) {
        const char *name = word(&rest), *sending = word(&rest);

        if (!name || (sending && strcmp(sending, "sending") != 0))
                return wrong(p, "error needs a word, and perhaps 'sending'");
        *ret_ignore = true;
        if (strcmp(name, "gone") == 0)
                l->what = TRACE_GONE;
        else if (strcmp(name, "stall") == 0)
                l->what = TRACE_STALL;
        else if (strcmp(name, "damaged") == 0 || strcmp(name, "flood") == 0) {
                l->what = TRACE_CUT;
                l->size = 16;
        } else
                return true;
        *ret_ignore = false;
        return true;
}

static bool expired(Parser *p, char *rest, TraceLine *l, bool *ret_ignore) {
        const char *ms = word(&rest), *sending = word(&rest);
        uint64_t n;

        if (!number(ms, 10, UINT32_MAX, &n) || (sending && strcmp(sending, "sending") != 0))
                return wrong(p, "expired needs a number, and perhaps 'sending'");
        l->what = TRACE_UNTAKEN;
        *ret_ignore = !sending;
        return true;
}

static bool keep_text(Parser *p, const char *rest, TraceLine *l) {
        l->text = own(p->t, strdup(rest));
        return l->text || wrong(p, "out of memory");
}

/* One event. */
static bool event(Parser *p, char *line, TraceLine *l, bool *ret_ignore) {
        const char *at = word(&line), *name = word(&line);
        uint64_t n;

        *l = (TraceLine){.flip = SIM_NEVER};
        *ret_ignore = false;
        if (!when(at, &l->at))
                return wrong(p, "a time like 12.345 is needed");
        if (!name)
                return wrong(p, "nothing happens");
        if (strcmp(name, ">") == 0 || strcmp(name, "<") == 0 || strcmp(name, "!") == 0) {
                l->what = *name == '>' ? TRACE_HOST_FRAME : *name == '<' ? TRACE_FRAME : TRACE_BAD_FRAME;
                return frame(p, line, l);
        }
        if (strcmp(name, "sync") == 0) {
                l->what = TRACE_HOST_SYNC;
                if (!number(word(&line), 10, UINT32_MAX, &n) || n == 0)
                        return wrong(p, "sync needs a number");
                l->size = (uint32_t) n;
                return true;
        }
        if (strcmp(name, "raw") == 0) {
                l->what = TRACE_HOST_RAW;
                return sized(p, line, l, SIZE_MAX_RAW);
        }
        if (strcmp(name, "garbage") == 0 || strcmp(name, "cut") == 0) {
                l->what = *name == 'g' ? TRACE_GARBAGE : TRACE_CUT;
                return sized(p, line, l, 1u << 20);
        }
        if (strcmp(name, "pdl>") == 0) {
                l->what = TRACE_HOST_PDL;
                return pdl_out(p, line, l);
        }
        if (strcmp(name, "pdl<") == 0) {
                l->what = TRACE_PDL;
                if (!number(word(&line), 10, 0xFFFF, &n))
                        return wrong(p, "pdl< needs a code");
                l->type = (unsigned) n;
                return true;
        }
        if (strcmp(name, "differs") == 0) {
                l->what = TRACE_DIFFERS;
                return number(word(&line), 10, UINT64_MAX - 1, &l->offset) || wrong(p, "differs needs a number");
        }
        if (strcmp(name, "error") == 0)
                return error(p, line, l, ret_ignore);
        if (strcmp(name, "expired") == 0)
                return expired(p, line, l, ret_ignore);
        if (strcmp(name, "back") == 0) {
                l->what = TRACE_BACK;
                return true;
        }
        if (strcmp(name, "nv") == 0 || strcmp(name, "gpt") == 0) {
                l->what = *name == 'n' ? TRACE_NV : TRACE_GPT;
                return keep_text(p, line, l);
        }
        *ret_ignore = strcmp(name, "step") == 0 || strcmp(name, "open") == 0;
        return *ret_ignore || wrong(p, "'%.20s' is no event", name);
}

/* ---- what goes into the list ---- */

static bool add(Parser *p, const TraceLine *l) {
        Trace *t = p->t;

        if (t->n == LINES_MAX)
                return wrong(p, "more than %u events", LINES_MAX);
        if (t->n == t->room) {
                size_t room = t->room ? 2 * t->room : 1024;
                TraceLine *lines = realloc(t->lines, room * sizeof(*lines));
                if (!lines)
                        return wrong(p, "out of memory");
                t->lines = lines;
                t->room = room;
        }
        t->lines[t->n] = *l;
        if (trace_is_host(l)) {
                t->lines[t->n].after_lost = p->lost;
                p->lost = false;
        }
        t->n++;
        return true;
}

/* Where a reading reads, from the beginning of what is read. In a run each goes on where the one before ended. */
static void place_reading(Parser *p, TraceLine *l, unsigned round) {
        const uint8_t *b = l->payload;
        uint64_t at, length;

        if (l->what != TRACE_HOST_FRAME)
                return;
        if (l->type == CMD_READ_MIDST && b && l->size >= 8) {
                at = l->size >= 12 ? le64at(b + 4) : le32at(b + 4);
                l->offset = at + (uint64_t) round * le32at(b);
        } else if (l->type == CMD_READ_FLASH && b && l->size >= 8) {
                length = be32at(b + 4);
                at = l->size >= 12 ? be32at(b + 8) : be32at(b);
                if (l->size < 12 && p->base == SIM_NEVER)
                        p->base = at;
                l->offset = (l->size >= 12 ? at : at - p->base) + (uint64_t) round * length;
                return;
        }
        p->base = SIM_NEVER;
}

static uint64_t length_of(const TraceLine *l) {
        if (l->what != TRACE_HOST_FRAME || !l->payload || l->size < 8)
                return 0;
        return l->type == CMD_READ_MIDST ? le32at(l->payload) : l->type == CMD_READ_FLASH ? be32at(l->payload + 4) : 0;
}

static bool take(Parser *p, TraceLine *l, unsigned round) {
        Trace *t = p->t;

        place_reading(p, l, round);
        if (l->what == TRACE_UNTAKEN) {
                for (size_t i = t->n; i > 0; i--)
                        if (trace_is_host(t->lines + i - 1)) {
                                t->lines[i - 1].untaken = true;
                                break;
                        }
                return true;
        }
        if (l->what == TRACE_DIFFERS) {
                for (size_t i = t->n; i > 0; i--) {
                        TraceLine *r = t->lines + i - 1;
                        if (length_of(r) > 0 && l->offset >= r->offset && l->offset - r->offset < length_of(r)) {
                                r->flip = l->offset;
                                break;
                        }
                }
                return true;
        }
        return add(p, l);
}

static bool take_run(Parser *p, TraceLine *run, unsigned n, uint64_t count, uint64_t until) {
        uint64_t from = run[0].at, step = count > 1 && until > from ? (until - from) / (count - 1) : 0;
        uint64_t within[LINES_OF_RUN];

        for (unsigned k = 0; k < n; k++)
                within[k] = run[k].at >= from ? run[k].at - from : 0;
        for (uint64_t i = 0; i < count; i++)
                for (unsigned k = 0; k < n; k++) {
                        TraceLine l = run[k];

                        l.at = from + i * step + within[k];
                        if (!take(p, &l, (unsigned) i))
                                return false;
                }
        return true;
}

/* ---- the file ---- */

static bool head(Parser *p, char *line) {
        static const char *const keys[] = {"version", "job", "started", "package", "family", "deadline", "failure"};
        const char *key = word(&line);
        char end;

        for (size_t i = 0; key && i < COUNT(keys); i++)
                if (strcmp(keys[i], key) == 0)
                        return true;
        if (key && strcmp(key, "device") == 0)
                return sscanf(line, "%4x:%4x%c", &p->t->vendor, &p->t->product, &end) >= 2 || wrong(p, "device needs VID:PID");
        return wrong(p, "'%.20s' is not known", key ? key : "");
}

typedef struct Run {
        TraceLine lines[LINES_OF_RUN];
        bool ignored[LINES_OF_RUN];
        unsigned n, have;
        uint64_t count, until;
} Run;

static bool begin_run(Parser *p, char *line, Run *run) {
        uint64_t lines;

        if (run->n)
                return wrong(p, "a run in a run");
        if (!number(word(&line), 10, LINES_MAX, &run->count) || !number(word(&line), 10, LINES_OF_RUN, &lines) || lines == 0 ||
            run->count == 0 || !when(word(&line), &run->until))
                return wrong(p, "run needs a count, 1 or 2 lines, and a time");
        run->n = (unsigned) lines;
        run->have = 0;
        return true;
}

static bool body(Parser *p, char *line, Run *run) {
        TraceLine l;
        bool ignore;

        if (strncmp(line, "run ", 4) == 0)
                return begin_run(p, line + 4, run);
        if (strncmp(line, "lost ", 5) == 0) {
                p->lost = true;
                return true;
        }
        if (!event(p, line, &l, &ignore))
                return false;
        if (run->n == 0)
                return ignore || take(p, &l, 0);
        if (ignore)
                return wrong(p, "this cannot stand in a run");
        run->lines[run->have++] = l;
        if (run->have < run->n)
                return true;
        unsigned n = run->n;
        run->n = 0;
        return take_run(p, run->lines, n, run->count, run->until);
}

static bool parse(Parser *p, char *text) {
        bool begun = false;
        Run run = {0};

        for (char *next; *text; text = next) {
                next = text + strcspn(text, "\n");
                if (!*next)
                        return wrong(p, "the file ends in the middle");
                *next++ = 0;
                p->line++;
                text[strcspn(text, "#")] = 0;
                if (p->line == 1) {
                        if (strcmp(text, "fdld-trace 1") != 0)
                                return wrong(p, "not a trace of version 1");
                } else if (!begun && strcmp(text, "begin") == 0)
                        begun = true;
                else if (begun && strcmp(text, "end") == 0)
                        return run.n == 0 ? (*next == 0 || wrong(p, "more behind the end")) : wrong(p, "the end of a run is missing");
                else if (!(begun ? body(p, text, &run) : head(p, text)))
                        return false;
        }
        return wrong(p, "the end is missing");
}

static char *read_file(const char *path, char *err, size_t err_size) {
        FILE *f = fopen(path, "rb");
        char *text = NULL;
        long n = -1;

        if (f && fseek(f, 0, SEEK_END) == 0)
                n = ftell(f);
        if (n >= 0 && n <= FILE_MAX) {
                rewind(f);
                text = calloc(1, (size_t) n + 1);
                if (text && fread(text, 1, (size_t) n, f) != (size_t) n) {
                        free(text);
                        text = NULL;
                }
        }
        if (!text)
                snprintf(err, err_size, "the trace %s cannot be read: %s", path, n > FILE_MAX ? "too large" : strerror(errno));
        else if (memchr(text, 0, (size_t) n)) {
                snprintf(err, err_size, "the trace %s is no text", path);
                free(text);
                text = NULL;
        }
        if (f)
                fclose(f);
        return text;
}

bool trace_load(Trace *t, const char *path, char *err, size_t err_size) {
        char why[256] = "", *text = read_file(path, err, err_size);
        Parser p = {.t = t, .err = why, .err_size = sizeof(why), .base = SIM_NEVER};
        bool good;

        if (!text)
                return false;
        *t = (Trace){.vendor = 0x1782, .product = 0x4D00};
        good = parse(&p, text);
        free(text);
        if (!good) {
                snprintf(err, err_size, "the trace %s, %s", path, why);
                trace_clear(t);
        }
        return good;
}

void trace_clear(Trace *t) {
        for (size_t i = 0; i < t->n_parts; i++)
                free(t->parts[i]);
        free(t->parts);
        free(t->lines);
        *t = (Trace){0};
}
