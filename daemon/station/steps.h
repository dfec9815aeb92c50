/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/plan-steps.h"
#include "station/station.h"

/* Jobs made of steps: drafted, filled with steps and files, submitted. Their loaders come from a package of the store or from files of
 * the client. Files that are read from are copied into the spool at Submit and survive a restart; outputs are held, so such a job is
 * interrupted by one. All functions: 0, or -1 with *e. */

typedef struct StepsOptions {
        PlanOptions plan;          /* finish */
        char family[32];           /* of own loaders; "": by their number */
        char unit[65];             /* chip UID of the only unit that the job is for, "" any */
        bool picked, named;        /* the package was chosen by station_choose_loaders(): without a word, with one */
        uint64_t fdl1_address, fdl2_address; /* U64_UNKNOWN: none; their files are attached as "fdl1" and "fdl2" */
} StepsOptions;

/* True if jobs of this kind are made of steps: read, write, erase, backup, restore, repartition, steps. */
bool kind_has_steps(const char *kind);

/* `package`: NULL with own loaders. */
int station_draft_steps(Station *s, const char *kind, const Target *target, Package *package, const StepsOptions *options, uint32_t uid,
                        Job **ret, CallError *e);
int job_add_steps(Job *job, const StepRequest *steps, size_t n, CallError *e);
/* The descriptor is moved on success. */
int job_attach_file(Job *job, const char *key, int fd, CallError *e);
/* Descriptors of clients that the job keeps open now. */
unsigned job_files_held(const Job *job);
/* Bytes of the state directory that the job's copies of attached files take, or will take once they are copied. */
uint64_t job_bytes_held(const Job *job);

/* Lines "partition skip bytes sha256 whole|part" of what a job has read, NULL nothing. */
const char *job_outputs(const Job *job);
