/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdatomic.h>

#include "flash/trace.h"

/* Shared by trace.c and trace-text.c. */

#define TRACE_HEAD 256
#define TRACE_TAIL 256
#define TRACE_RUNS 512
#define TRACE_ARENA (96U * 1024)
#define TRACE_INLINE 40
#define TRACE_NV_ITEMS 4096

typedef enum TraceKind {
        TRACE_FRAME_OUT, TRACE_FRAME_IN, TRACE_DAMAGED, TRACE_GARBAGE, TRACE_CUT, TRACE_SYNC, TRACE_RAW, TRACE_PDL_OUT, TRACE_PDL_IN,
        TRACE_OPENED, TRACE_ERROR, TRACE_EXPIRED, TRACE_BACK, TRACE_STEP, TRACE_DIFFERS, TRACE_NV, TRACE_GPT,
} TraceKind;

enum {
        TRACE_CRC = 1,       /* check, else the sum */
        TRACE_PLAIN = 2,     /* no escaping */
        TRACE_HASHED = 4,    /* hash is valid, nothing is kept */
        TRACE_IN_ARENA = 8,  /* the payload is there, not in data */
        TRACE_SENDING = 16,
};

typedef struct TraceEvent {
        uint32_t at_ms;      /* since the beginning */
        uint8_t kind, flags;
        uint16_t type;
        uint32_t size;       /* of the payload, kept or not */
        uint32_t repeat;     /* so often in a row, 1 … */
        uint16_t kept;       /* bytes of it that are kept: all or none */
        int16_t error;
        uint32_t place;      /* in the arena */
        uint64_t hash;       /* DIFFERS: the offset */
        uint8_t data[TRACE_INLINE];
} TraceEvent;

/* One event, or two that follow each other, again and again. */
typedef struct TraceRun {
        TraceEvent events[2];
        uint32_t n_events, count, until_ms, slowest_ms; /* in this order, at the end */
} TraceRun;

/* All that readers see. Sizes are multiples of a word. */
typedef struct TraceState {
        uint64_t n;          /* events so far; beyond the head they go round in the tail */
        uint64_t n_runs, lost, arena_used, start_usec;
        uint64_t half;       /* 1 + at_ms: the first event of the last run came once more, its second is still in the tail; 0 no */
        TraceEvent head[TRACE_HEAD];
        TraceRun runs[TRACE_RUNS];
        TraceEvent tail[TRACE_TAIL];
        uint8_t arena[TRACE_ARENA];
} TraceState;
_Static_assert(sizeof(TraceEvent) % 8 == 0 && sizeof(TraceRun) % 8 == 0 && sizeof(TraceState) % 8 == 0, "words");

/* A copy that holds together; malloc'ed. */
TraceState *trace_copy(const Trace *t);
