/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/internal.h"

/* The record of an attempt, made when a job is over: the columns that are searched and the whole as one line of JSON (documented in
 * the README, "Records"). */

/* False: jobs of this kind are not about a unit (imports). */
bool record_wanted(const Job *job);
/* `row`: the last row of the job. 0, ret->json is the caller's; -ENOMEM; -errno: no random numbers. */
int record_make(const Job *job, const StoreJob *row, StoreRecord *ret);

/* What is exported; malloc, NULL: no memory. A line of JSON with seq, previous and hash before the rest, or a row of CSV (RFC 4180);
 * both end with a newline. Any thread. */
char *record_line(const StoreRecord *r);
char *record_csv(const StoreRecord *r);
const char *record_csv_header(void);
