/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/internal.h"
#include "station/steps.h"
#include "store/spool.h"

typedef struct Attached {
        char key[64];
        int fd;                    /* -1: given away */
} Attached;

/* A file that went into the spool, and its SHA-256. */
typedef struct StepSum {
        char key[64], sha256[65];
        uint64_t size;
} StepSum;

/* What a job made of steps is, apart from what all jobs are. */
struct JobSteps {
        StepsOptions options;
        StepsInput input;          /* .steps is ours */
        StepRequest *steps;
        size_t n_steps;
        Attached *files;
        size_t n_files;
        int *outputs;              /* duplicates go down to the worker */
        size_t n_outputs;
        SpoolTask *task;           /* copying */
        MappedFile *map;           /* spool or package */
        bool spooled;
        char *read;                /* what it has read, lines */
        size_t n_sums;
        StepSum *sums;             /* what was attached, for the record; unknown after a restart */
};

/* For job_submit(), job_free(), run.c and a restart. */
int steps_submit(Job *job, CallError *e);
JobSteps *steps_free(Job *job);
int steps_make_spec(Job *job, JobSpec *spec); /* 0 or -errno */
void steps_fact(Job *job, const char *value);
const StepSum *steps_find_sum(const JobSteps *j, const char *key); /* NULL: not known */
/* True: the job is ready to be queued again. */
bool steps_restore(Job *job);
void steps_done(Job *job);         /* finished: the spool is not needed any more */

/* steps-spec.c */
char *steps_describe(const StepsInput *input, const SpoolFile *files, size_t n_files); /* malloc */
int steps_parse(const char *text, StepsInput *ret, StepRequest **ret_steps);
