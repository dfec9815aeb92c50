/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sim.h"

/* Traces of fdld (text, described in fdlctl(1), "Traces"), read here by a parser of the simulator's own. */

typedef enum TraceWhat {
        TRACE_HOST_FRAME, /* what the host sends */
        TRACE_HOST_SYNC,
        TRACE_HOST_RAW,
        TRACE_HOST_PDL,
        TRACE_FRAME, /* what the device does */
        TRACE_BAD_FRAME,
        TRACE_GARBAGE,
        TRACE_CUT,
        TRACE_PDL,
        TRACE_GONE,
        TRACE_BACK,
        TRACE_STALL,
        TRACE_NV, /* what is known of its flash */
        TRACE_GPT,
        TRACE_DIFFERS,
        TRACE_UNTAKEN, /* the host's last frame was never taken */
} TraceWhat;

typedef struct TraceLine {
        TraceWhat what;
        bool crc, plain;
        bool untaken;           /* of the host's frames: the device takes no data then */
        bool after_lost;        /* what came just before is not known */
        unsigned type;
        uint32_t size;          /* of the payload; of sync bytes: how many */
        const uint8_t *payload; /* NULL: not kept */
        uint64_t hash;          /* 0: none */
        uint64_t at;            /* ns since the first */
        uint64_t offset;        /* of readings: where, in what is read; of DIFFERS: which byte */
        uint64_t flip;          /* of readings: this byte is not what it should be; SIM_NEVER: none */
        const char *text;       /* NV, GPT: the rest of the line */
} TraceLine;

typedef struct Trace {
        unsigned vendor, product;
        TraceLine *lines;
        size_t n, room;
        void **parts; /* memory that belongs to it */
        size_t n_parts;
} Trace;

/* False with a sentence that names the line. Runs are written out. */
bool trace_load(Trace *t, const char *path, char *err, size_t err_size);
void trace_clear(Trace *t);
static inline bool trace_is_host(const TraceLine *l) {
        return l->what <= TRACE_HOST_PDL;
}
