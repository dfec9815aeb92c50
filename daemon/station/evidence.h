/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/internal.h"
#include "store/evidence-files.h"

/* Traces of failed jobs: evidence/<job>.trace in the state directory, the newest 500, for half a year. Main thread; files are written,
 * read and removed by threads of the pool. */

/* Before the loop runs: what is there. 0; -1 with *e. */
int evidence_open(Station *s, CallError *e);
void evidence_free(Station *s);
/* Takes the text (malloc). From then on station_has_evidence() is true. */
void evidence_write(Job *job, char *text, size_t size);
/* The same of a thread that is about to be given up: what it has recorded so far. */
void evidence_write_stuck(Job *job, const Failure *f);
