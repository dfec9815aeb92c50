/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/trace-private.h"

#include <sched.h>
#include <time.h>

#include "bsl/codes.h"

#define HASH_EDGE 32
#define COPY_TRIES 2000
#define DEDUPE 64
#define KEEP_FRAME_MAX (64U * 1024)

/* The structure of calibration data, as they come frame by frame. */
typedef struct NvWalk {
        enum { NV_IDLE, NV_WALKING, NV_BROKEN, NV_WHOLE } state;
        bool big;
        uint64_t at;           /* next byte that is expected */
        uint64_t skip_to;      /* where the next item's head begins */
        uint8_t head[4];
        unsigned have;
        unsigned n_items;
        uint16_t items[TRACE_NV_ITEMS][2];
        bool own, calibration; /* the items that every image has were seen */
        /* Words that say what the calibration is worth and nothing about the unit. */
        uint16_t version, flags_at_end[2], short_flag[2];
        uint64_t item_at;
} NvWalk;

struct Trace {
        _Atomic unsigned n_ref;
        _Atomic uint64_t sequence;   /* odd: being written */
        /* of the writer alone */
        uint64_t start_ms;
        TraceEvent last;             /* as in its slot */
        TraceRun run;                /* the last one, as in its slot */
        TraceEvent half;             /* the first of the run's two events came, the second not yet */
        bool started, has_half;
        uint64_t n, n_runs, lost, arena_used;
        TraceData data;
        uint64_t read_offset;        /* of the frame that is awaited */
        NvWalk nv;
        struct {
                uint64_t hash;
                uint32_t place, size;
        } known[DEDUPE];
        unsigned n_known;
        _Atomic uint64_t words[sizeof(TraceState) / 8];
};

Trace *trace_new(void) {
        Trace *t = calloc(1, sizeof(*t));

        if (t)
                atomic_init(&t->n_ref, 1);
        return t;
}

Trace *trace_ref(Trace *t) {
        if (t)
                atomic_fetch_add_explicit(&t->n_ref, 1, memory_order_relaxed);
        return t;
}

Trace *trace_unref(Trace *t) {
        if (t && atomic_fetch_sub_explicit(&t->n_ref, 1, memory_order_acq_rel) == 1)
                free(t);
        return NULL;
}

/* ---- memory that is written and read at the same time ---- */

/* Whoever sees one of these words sees the odd sequence that was stored before it. */
static void put(Trace *t, size_t offset, const void *data, size_t size) {
        const uint8_t *p = data;

        for (size_t i = 0; i < size; i += 8) {
                uint64_t word = 0;

                memcpy(&word, p + i, MIN(size - i, (size_t) 8));
                atomic_store_explicit(t->words + (offset + i) / 8, word, memory_order_release);
        }
}

#define PUT(t, field, value) put((t), offsetof(TraceState, field), (value), sizeof(*(value)))

static void begin_write(Trace *t) {
        atomic_store_explicit(&t->sequence, atomic_load_explicit(&t->sequence, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void end_write(Trace *t) {
        atomic_store_explicit(&t->sequence, atomic_load_explicit(&t->sequence, memory_order_relaxed) + 1, memory_order_release);
}

static bool try_copy(const Trace *t, TraceState *ret) {
        uint64_t before = atomic_load_explicit(&t->sequence, memory_order_acquire), *to = (uint64_t *) ret;

        if (before % 2)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(t->words); i++)
                to[i] = atomic_load_explicit(t->words + i, memory_order_acquire);
        return atomic_load_explicit(&t->sequence, memory_order_relaxed) == before;
}

TraceState *trace_copy(const Trace *t) {
        TraceState *copy = malloc(sizeof(*copy));

        for (unsigned i = 0; copy && i < COPY_TRIES; i++) {
                if (try_copy(t, copy))
                        return copy;
                sched_yield();
        }
        free(copy);
        return NULL;
}

/* ---- payloads ---- */

static uint64_t fnv(uint64_t hash, const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                hash = (hash ^ p[i]) * 0x100000001b3ULL;
        return hash;
}

/* The same by words of eight bytes. */
static uint64_t fnv_words(uint64_t hash, const uint8_t *p, size_t n) {
        uint8_t last[8] = {0};

        for (; n >= 8; p += 8, n -= 8)
                hash = (hash ^ get_le64(p)) * 0x100000001b3ULL;
        if (n == 0)
                return hash;
        memcpy(last, p, n);
        return (hash ^ get_le64(last)) * 0x100000001b3ULL;
}

/* Of the length, both ends and the frame's check, which is about every byte: data are not walked through a second time. */
static uint64_t edge_hash(const uint8_t *p, size_t n, uint16_t check) {
        size_t first = MIN(n, (size_t) HASH_EDGE), last = MIN(n - first, (size_t) HASH_EDGE);
        uint64_t hash = (0xcbf29ce484222325ULL ^ (n | (uint64_t) check << 32)) * 0x100000001b3ULL;

        return fnv_words(fnv_words(hash, p, first), p + n - last, last);
}

/* Where the bytes are in the arena; the same bytes are there once. False: no room. */
static bool keep_in_arena(Trace *t, const uint8_t *p, size_t n, uint32_t *ret) {
        uint64_t hash = fnv(0xcbf29ce484222325ULL, p, n);
        size_t room = (n + 7) & ~(size_t) 7;

        for (unsigned i = 0; i < MIN(t->n_known, (unsigned) DEDUPE); i++)
                if (t->known[i].hash == hash && t->known[i].size == n) {
                        *ret = t->known[i].place;
                        return true;
                }
        if (room > TRACE_ARENA - t->arena_used)
                return false;
        put(t, offsetof(TraceState, arena) + t->arena_used, p, n);
        *ret = (uint32_t) t->arena_used;
        t->arena_used += room;
        PUT(t, arena_used, &t->arena_used);
        t->known[t->n_known % DEDUPE].hash = hash;
        t->known[t->n_known % DEDUPE].place = *ret;
        t->known[t->n_known++ % DEDUPE].size = (uint32_t) n;
        return true;
}

static void keep(Trace *t, TraceEvent *e, const uint8_t *p, size_t n) {
        if (n == 0 || n > KEEP_FRAME_MAX - 1)
                return;
        if (n <= TRACE_INLINE)
                memcpy(e->data, p, n);
        else if (keep_in_arena(t, p, n, &e->place))
                e->flags |= TRACE_IN_ARENA;
        else
                return;
        e->kept = (uint16_t) n;
}

/* ---- the middle ---- */

static bool same(const TraceEvent *a, const TraceEvent *b) {
        if (a->kind != b->kind || a->type != b->type || a->size != b->size || a->flags != b->flags || a->repeat != b->repeat ||
            a->error != b->error)
                return false;
        /* Readings of so many bytes go on where the one before ended. */
        if (a->kind == TRACE_FRAME_OUT && a->type == BSL_CMD_READ_MIDST)
                return memcmp(a->data, b->data, 4) == 0;
        if (a->kind == TRACE_FRAME_OUT && a->type == BSL_CMD_READ_FLASH)
                return memcmp(a->data + 4, b->data + 4, 4) == 0;
        if (a->kind == TRACE_PDL_OUT && a->type == PDL_CMD_MID_DATA)
                return true;
        return a->kept == b->kept && a->place == b->place && memcmp(a->data, b->data, sizeof(a->data)) == 0;
}

static void put_run(Trace *t) {
        put(t, offsetof(TraceState, runs) + (t->n_runs - 1) * sizeof(TraceRun), &t->run, sizeof(t->run));
}

static void new_run(Trace *t, const TraceEvent *e) {
        if (t->n_runs == TRACE_RUNS) {
                t->lost += e->repeat;
                PUT(t, lost, &t->lost);
                t->run.n_events = 0;
                return;
        }
        t->run = (TraceRun){.events = {*e}, .n_events = 1, .count = 1, .until_ms = e->at_ms};
        t->n_runs++;
        put_run(t);
        PUT(t, n_runs, &t->n_runs);
}

static void count_round(Trace *t, const TraceEvent *e, uint32_t took_ms) {
        t->run.count++;
        t->run.until_ms = e->at_ms;
        t->run.slowest_ms = MAX(t->run.slowest_ms, took_ms);
        /* Only what changes, and it lies together. */
        put(t, offsetof(TraceState, runs) + (t->n_runs - 1) * sizeof(TraceRun) + offsetof(TraceRun, n_events), &t->run.n_events,
            sizeof(TraceRun) - offsetof(TraceRun, n_events));
}

static void set_half(Trace *t, bool has) {
        uint64_t at_ms = t->half.at_ms, word = has ? 1 + at_ms : 0;

        t->has_half = has;
        PUT(t, half, &word);
}

/* What leaves the tail. */
static void middle(Trace *t, const TraceEvent *e) {
        TraceRun *run = &t->run;

        if (t->has_half) {
                set_half(t, false);
                if (same(e, run->events + 1)) {
                        count_round(t, e, e->at_ms - t->half.at_ms);
                        return;
                }
                new_run(t, &t->half);
        } else if (run->n_events == 2 && same(e, run->events)) {
                t->half = *e;
                set_half(t, true);
                return;
        }
        if (run->n_events == 1 && same(e, run->events)) {
                count_round(t, e, 0);
                return;
        }
        if (run->n_events == 1 && run->count == 1) {
                run->events[1] = *e;
                run->n_events = 2;
                run->until_ms = e->at_ms;
                run->slowest_ms = e->at_ms - run->events[0].at_ms;
                put_run(t);
                return;
        }
        new_run(t, e);
}

/* ---- events ---- */

static void get(const Trace *t, size_t offset, void *ret, size_t size) {
        for (size_t i = 0; i < size; i += 8) {
                uint64_t word = atomic_load_explicit(t->words + (offset + i) / 8, memory_order_relaxed);
                memcpy((uint8_t *) ret + i, &word, 8);
        }
}

static size_t slot_of(uint64_t n) {
        return n < TRACE_HEAD ? offsetof(TraceState, head) + n * sizeof(TraceEvent)
                              : offsetof(TraceState, tail) + (n - TRACE_HEAD) % TRACE_TAIL * sizeof(TraceEvent);
}

static bool repeats(const TraceEvent *a, const TraceEvent *b) {
        return a->kind == TRACE_SYNC && b->kind == TRACE_SYNC && a->flags == b->flags;
}

static void push(Trace *t, TraceEvent *e) {
        if (t->n > 0 && repeats(&t->last, e)) {
                t->last.repeat++;
                put(t, slot_of(t->n - 1), &t->last, sizeof(t->last));
                return;
        }
        if (t->n >= TRACE_HEAD + TRACE_TAIL) {
                TraceEvent old;

                get(t, slot_of(t->n), &old, sizeof(old));
                middle(t, &old);
        }
        put(t, slot_of(t->n), e, sizeof(*e));
        t->last = *e;
        t->n++;
        PUT(t, n, &t->n);
}

static uint32_t since_start(Trace *t, uint64_t now_ms) {
        if (!t->started) {
                struct timespec now;
                uint64_t usec;

                clock_gettime(CLOCK_REALTIME, &now);
                usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
                PUT(t, start_usec, &usec);
                t->started = true;
                t->start_ms = now_ms;
        }
        return now_ms > t->start_ms ? (uint32_t) MIN(now_ms - t->start_ms, (uint64_t) UINT32_MAX) : 0;
}

/* ---- calibration data ---- */

static void nv_begin(NvWalk *w) {
        w->state = NV_WALKING;
        w->at = 0;
        w->skip_to = 4; /* a check and a stamp */
        w->have = w->n_items = 0;
        w->own = w->calibration = false;
        w->version = 0;
        memset(w->flags_at_end, 0, sizeof(w->flags_at_end));
        memset(w->short_flag, 0, sizeof(w->short_flag));
        w->item_at = 0;
}

static uint16_t nv_word(const NvWalk *w, const uint8_t *p) {
        return w->big ? get_be16(p) : get_le16(p);
}

/* The head of an item is complete. */
static void nv_item(NvWalk *w) {
        uint16_t id, length;

        if (w->n_items == 0)
                w->big = get_be16(w->head + 2) < get_le16(w->head + 2);
        id = nv_word(w, w->head);
        length = nv_word(w, w->head + 2);
        if (w->n_items == TRACE_NV_ITEMS || (w->n_items > 64 && !w->own && !w->calibration && id == 0)) {
                w->state = NV_BROKEN;
                return;
        }
        w->items[w->n_items][0] = id;
        w->items[w->n_items++][1] = length;
        w->own = w->own || (id == 5 && length == 8);
        w->calibration = w->calibration || (id == 2 && length >= 6);
        w->item_at = w->skip_to + 4;
        w->skip_to = w->item_at + ((length + 3u) & ~3u);
        w->have = 0;
}

/* One byte of what stands in an item: version and flags of the calibration. */
static void nv_content(NvWalk *w, uint64_t at, uint8_t byte) {
        const uint16_t *item = w->items[w->n_items - 1];
        uint64_t within = at - w->item_at;
        unsigned shift = (within % 2 == 0) == w->big ? 8 : 0;

        if (item[0] == 2 && within < 2)
                w->version |= (uint16_t) (byte << shift);
        if (item[0] == 2 && item[1] >= 4 && within >= item[1] - 4u && within < item[1])
                w->flags_at_end[(within - (item[1] - 4u)) / 2] |= (uint16_t) (byte << shift);
        if ((item[0] == 0x12d || item[0] == 0x9c4) && within >= 2 && within < 4)
                w->short_flag[item[0] == 0x9c4] |= byte != 0;
}

static void nv_walk(NvWalk *w, const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n && w->state == NV_WALKING; i++, w->at++) {
                if (w->at < w->skip_to) {
                        const uint16_t *item = w->n_items > 0 ? w->items[w->n_items - 1] : NULL;

                        if (item && (item[0] == 2 || item[0] == 0x12d || item[0] == 0x9c4)) {
                                nv_content(w, w->at, p[i]);
                                continue;
                        }
                        /* Nothing in here is looked at. */
                        uint64_t skip = MIN(w->skip_to - w->at, (uint64_t) (n - i));
                        w->at += skip - 1;
                        i += (size_t) skip - 1;
                        continue;
                }
                w->head[w->have++] = p[i];
                if (w->have == 2 && w->head[0] == 0xff && w->head[1] == 0xff)
                        w->state = w->own && w->calibration ? NV_WHOLE : NV_BROKEN;
                else if (w->have == 4)
                        nv_item(w);
        }
}

/* "le VERSION FLAGS WCDMA LTE id/length …" as numbers: two bytes each, in the order of this machine's text later. */
static void nv_tell(Trace *t, uint32_t at_ms) {
        static const size_t head = 12;
        NvWalk *w = &t->nv;
        size_t size = head + 4u * w->n_items;
        uint8_t *p = malloc(size); /* once for each reading of an image */
        TraceEvent e = {.at_ms = at_ms, .kind = TRACE_NV, .repeat = 1, .size = w->n_items};

        w->state = NV_IDLE;
        if (!p)
                return;
        put_be16(p, w->big);
        put_be16(p + 2, w->version);
        put_be16(p + 4, w->flags_at_end[0]);
        put_be16(p + 6, w->flags_at_end[1]);
        put_be16(p + 8, w->short_flag[0]);
        put_be16(p + 10, w->short_flag[1]);
        for (size_t i = 0; i < w->n_items; i++) {
                put_be16(p + head + 4 * i, w->items[i][0]);
                put_be16(p + head + 4 * i + 2, w->items[i][1]);
        }
        keep(t, &e, p, size);
        free(p);
        push(t, &e);
}

static void private_data(Trace *t, const BslEvent *b, uint32_t at_ms) {
        NvWalk *w = &t->nv;

        if (t->read_offset == 0)
                nv_begin(w);
        if (w->state != NV_WALKING || t->read_offset != w->at)
                return;
        nv_walk(w, b->payload, b->size);
        if (w->state == NV_WHOLE)
                nv_tell(t, at_ms);
}

/* ---- what is kept of a frame ---- */

static void note_command(Trace *t, const BslEvent *b) {
        const uint8_t *p = b->payload;

        if (b->type == BSL_CMD_READ_MIDST && b->size >= 8)
                t->read_offset = b->size >= 12 ? get_le64(p + 4) : get_le32(p + 4);
        else if (b->type == BSL_CMD_READ_FLASH && b->size >= 8)
                t->read_offset = b->size >= 12 ? get_be32(p + 8) : t->nv.state == NV_WALKING ? t->nv.at : 0;
        else if (b->type == BSL_CMD_READ_START || b->type == BSL_CMD_START_DATA)
                t->nv.state = NV_IDLE;
}

static void keep_sent(Trace *t, TraceEvent *e, const BslEvent *b) {
        note_command(t, b);
        if (b->type != BSL_CMD_MIDST_DATA && b->size <= 8192)
                keep(t, e, b->payload, b->size);
        else if (t->data == TRACE_PACKAGE) {
                e->hash = edge_hash(b->payload, b->size, b->check_value);
                e->flags |= TRACE_HASHED;
        }
}

static bool is_word(uint8_t c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* A log line may name anything: what looks like a number of somebody is covered. Addresses stay. */
static void cover(uint8_t *p, size_t n) {
        for (size_t i = 0, end; i < n; i = MAX(end, i + 1)) {
                bool digit = false;

                for (end = i; end < n && is_word(p[end]); end++)
                        digit = digit || (p[end] >= '0' && p[end] <= '9');
                if (digit && end - i >= 8 && !(end - i <= 10 && p[i] == '0' && p[i + 1] == 'x'))
                        memset(p + i, '#', end - i);
        }
}

static void keep_log(Trace *t, TraceEvent *e, const BslEvent *b) {
        uint8_t text[1024];

        if (b->size > sizeof(text))
                return;
        memcpy(text, b->payload, b->size);
        cover(text, b->size);
        keep(t, e, text, b->size);
}

/* Answers that say what the device is, not which one. */
static bool is_harmless(uint16_t type) {
        switch (type) {
        case 0x80 ... 0x92: /* acknowledgement, version, refusals */
        case 0x94:
        case 0x96 ... 0x9d:
        case 0xb5:
        case 0xb8:
        case 0xba:
                return true;
        default:
                return false;
        }
}

static void keep_received(Trace *t, TraceEvent *e, const BslEvent *b) {
        if (is_harmless(b->type))
                keep(t, e, b->payload, b->size);
        else if (b->type == BSL_REP_LOG)
                keep_log(t, e, b);
        else if (b->type == BSL_REP_READ_FLASH && t->data == TRACE_PACKAGE) {
                e->hash = edge_hash(b->payload, b->size, b->check_value);
                e->flags |= TRACE_HASHED;
        }
}

/* Header and tag of 20 bytes; the data behind them are a loader. */
static void keep_pdl(Trace *t, TraceEvent *e, const BslEvent *b) {
        bool out = b->kind == BSL_EVENT_PDL_SENT;
        size_t head = out ? 20 : 12;

        e->size = (uint32_t) (b->size - MIN(b->size, head));
        if (b->size < head)
                return;
        e->type = (uint16_t) MIN(get_le32(b->payload + 8), 0xffffu);
        keep(t, e, b->payload, head);
        e->hash = e->size > 0 ? edge_hash(b->payload + head, e->size, 0) : 0;
}

static const uint8_t kinds[] = {
        [BSL_EVENT_SENT] = TRACE_FRAME_OUT, [BSL_EVENT_RECEIVED] = TRACE_FRAME_IN, [BSL_EVENT_DAMAGED] = TRACE_DAMAGED,
        [BSL_EVENT_GARBAGE] = TRACE_GARBAGE, [BSL_EVENT_CUT] = TRACE_CUT, [BSL_EVENT_SYNC] = TRACE_SYNC,
        [BSL_EVENT_RAW] = TRACE_RAW, [BSL_EVENT_PDL_SENT] = TRACE_PDL_OUT, [BSL_EVENT_PDL_RECEIVED] = TRACE_PDL_IN,
        [BSL_EVENT_OPENED] = TRACE_OPENED, [BSL_EVENT_ERROR] = TRACE_ERROR, [BSL_EVENT_EXPIRED] = TRACE_EXPIRED,
        [BSL_EVENT_CHANNEL] = TRACE_BACK,
};

static void keep_payload(Trace *t, TraceEvent *e, const BslEvent *b) {
        switch (b->kind) {
        case BSL_EVENT_SENT:
                keep_sent(t, e, b);
                break;
        case BSL_EVENT_RECEIVED:
                keep_received(t, e, b);
                break;
        case BSL_EVENT_RAW:
                if (t->data == TRACE_PACKAGE) {
                        e->hash = edge_hash(b->payload, b->size, 0);
                        e->flags |= TRACE_HASHED;
                }
                break;
        case BSL_EVENT_PDL_SENT:
        case BSL_EVENT_PDL_RECEIVED:
                keep_pdl(t, e, b);
                break;
        case BSL_EVENT_EXPIRED:
                e->size = b->ms;
                break;
        default:
                break;
        }
}

void trace_event(void *trace, const BslEvent *b) {
        Trace *t = trace;
        TraceEvent e = {
                .kind = kinds[b->kind], .type = b->type, .repeat = 1, .size = (uint32_t) MIN(b->size, (size_t) UINT32_MAX),
                .error = (int16_t) b->error,
                .flags = (uint8_t) ((b->check == BSL_CHECK_CRC16 ? TRACE_CRC : 0) | (b->plain ? TRACE_PLAIN : 0) |
                                    (b->sending ? TRACE_SENDING : 0)),
        };

        begin_write(t);
        e.at_ms = since_start(t, b->now_ms);
        keep_payload(t, &e, b);
        push(t, &e);
        if (b->kind == BSL_EVENT_RECEIVED && b->type == BSL_REP_READ_FLASH && t->data == TRACE_PRIVATE)
                private_data(t, b, e.at_ms);
        end_write(t);
}

void trace_data(Trace *t, TraceData data) {
        if (t)
                t->data = data;
}

/* The channel's clock is not at hand here: the time is that of the event before. */
void trace_step(Trace *t, unsigned step, const char *stage, const char *subject, TraceData data) {
        TraceEvent e = {.kind = TRACE_STEP, .repeat = 1, .type = (uint16_t) step};
        char text[64];
        int n;

        if (!t)
                return;
        t->data = data;
        e.at_ms = t->n > 0 ? t->last.at_ms : 0;
        n = snprintf(text, sizeof(text), "%s %s", stage, subject);
        begin_write(t);
        keep(t, &e, (const uint8_t *) text, MIN((size_t) n, sizeof(text) - 1));
        e.size = e.kept;
        push(t, &e);
        end_write(t);
}

void trace_gpt(Trace *t, const Table *table) {
        TraceEvent e = {.kind = TRACE_GPT, .repeat = 1};
        _cleanup_free_ char *text = NULL;
        size_t length = 0;
        FILE *out = t ? open_memstream(&text, &length) : NULL;

        if (!out)
                return;
        fprintf(out, "%u", table->sector);
        for (size_t i = 0; i < table->n; i++)
                fprintf(out, " %s:%llu:%llu", table->entries[i].name, (unsigned long long) table->entries[i].start,
                        (unsigned long long) table->entries[i].size);
        if (fclose(out) != 0)
                return;
        e.at_ms = t->n > 0 ? t->last.at_ms : 0;
        begin_write(t);
        keep(t, &e, (const uint8_t *) text, length);
        e.size = e.kept;
        push(t, &e);
        end_write(t);
}

void trace_differs(Trace *t, uint64_t offset) {
        TraceEvent e = {.kind = TRACE_DIFFERS, .repeat = 1, .hash = offset};

        if (!t)
                return;
        e.at_ms = t->n > 0 ? t->last.at_ms : 0;
        begin_write(t);
        push(t, &e);
        end_write(t);
}
