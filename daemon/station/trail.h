/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/internal.h"

/* What a job leaves behind for its record: times of its stages and what it learned about the unit. Begins when the job meets a
 * device, lives as long as the job. Main thread. */

typedef struct TrailStage {
        Stage stage;
        unsigned times;            /* it was entered so often */
        uint64_t started_usec;     /* first entered, CLOCK_REALTIME */
        uint64_t usec, bytes;      /* in all */
} TrailStage;

typedef struct TrailFact {
        char key[32], *value; /* of at most 511 characters, as long as it must be: they stay while the finished job can be seen */
} TrailFact;

struct JobTrail {
        TrailStage stages[STAGE_MAX]; /* in the order in which they were first entered */
        size_t n_stages;
        int current;                  /* index, -1 none */
        uint64_t since_usec, since_bytes;
        TrailFact facts[32];
        size_t n_facts;
        char speed[16], hub_speed[16];
        uint16_t vendor, product;
};

/* All bear a job without a trail (no memory, or it never met a device). */
void trail_begin(Job *job, const Device *d);
void trail_free(JobTrail *t);
void trail_enter(Job *job, Stage stage, uint64_t now_usec, uint64_t bytes_done);
void trail_end(Job *job, uint64_t now_usec, uint64_t bytes_done);
void trail_fact(Job *job, const char *key, const char *value);
/* A fact of the job, not of the unit. */
bool trail_of_job(const char *key);
const char *trail_find(const Job *job, const char *key); /* "" unknown */
