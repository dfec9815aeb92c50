/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "bsl/session.h"
#include "flash/table.h"

/* What one job and its device said to each other, in memory that does not grow: the first 256 events, the last 256, and between them
 * what repeats, counted. One thread writes, without locks or allocation; any thread may take a copy at any time.
 *
 * Nothing personal is kept. Payloads that a device needs to be played again are kept (versions, device info, partition tables, commands);
 * of data that come out of a package, their length and a hash; of all other data their length alone, and of calibration images the ids and
 * lengths of the items. That is decided while it is recorded: what is left out was never there. */

typedef struct Trace Trace;
Trace *trace_new(void);                               /* NULL: no memory */
Trace *trace_ref(Trace *t);
Trace *trace_unref(Trace *t);
DEFINE_CLEANUP(Trace *, trace_unref)

/* ---- by the thread that talks to the device ---- */

void trace_event(void *trace, const BslEvent *e);     /* a BslTraceFunc */

/* What the data are that move until the next step. */
typedef enum TraceData {
        TRACE_PRIVATE, /* the unit's own, or unknown: only lengths */
        TRACE_PACKAGE, /* out of a package: length and hash */
} TraceData;
/* A step of the plan begins, or the data are of another kind from here on (trace_data). */
void trace_step(Trace *t, unsigned step, const char *stage, const char *subject, TraceData data);
void trace_data(Trace *t, TraceData data);
/* The partition table that was read last, which holds unique ids besides. */
void trace_gpt(Trace *t, const Table *table);
/* What was read last is not what it should be, at this byte of it. */
void trace_differs(Trace *t, uint64_t offset);

/* ---- the text: the format is described in fdlctl(1), "Traces" ---- */

typedef struct TraceHead {
        uint64_t job;
        const char *kind, *package, *family;          /* "" not known */
        uint16_t vendor, product;
        const char *speed;
        const BslDeadlines *deadlines;
        const Failure *failure;                       /* NULL: it did not fail, or not yet */
        const char *code;
} TraceHead;
/* malloc'ed text; NULL: no memory, or the writer never held still. Any thread. */
char *trace_text(const Trace *t, const TraceHead *head, size_t *ret_size);
