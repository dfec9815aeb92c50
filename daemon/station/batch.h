/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/policy.h"
#include "station/station.h"

/* Batches: what appears in their slots is flashed without a question, until enough units passed or something is wrong with the line.
 * An armed slot is a batch of that one slot. Main thread only; structs may be read directly, only station/ writes them. */

#define BATCH_RUNNING_MAX 256
#define BATCH_ENDED_KEPT 16

typedef enum FirstState { FIRST_OFF, FIRST_WAITING, FIRST_RUNNING, FIRST_CONFIRM, FIRST_PASSED, FIRST_MAX } FirstState;
const char *first_state_to_string(FirstState state); /* "off" "waiting" "running" "confirm" "passed" */

typedef struct BatchOutcome {
        JobResult result;
        FailClass class;
        Stage stage;
} BatchOutcome;

/* What units of a batch have in common: values that were met in units that passed, or that a person agreed to. */
typedef struct CohortFact {
        char key[24], value[200];
        bool agreed;
} CohortFact;

struct Batch {
        Station *station;
        uint64_t id;
        char name[65], profile[65], operator_name[64];
        Package *package; /* NULL: ended, and it was removed */
        char digest[65], package_name[256];
        BatchPolicy policy;
        uint32_t uid;
        BatchState state;
        char reason[512]; /* why it is paused, "" a person paused it */
        bool armed, all_slots;
        size_t n_slots;
        Slot **slots; /* while it is not ended */
        uint64_t passed, failed, skipped, running, created_usec, finished_usec;
        FirstState first;
        /* the rest is of station/ alone */
        struct PlanCache *cache;
        uint64_t first_job;
        BatchOutcome recent[STOP_WINDOW_MAX]; /* newest first */
        size_t n_recent;
        CohortFact cohort[32];
        size_t n_cohort;
        char *ports; /* as restored; slots of an ended batch */
        Batch *next;
};

/* What a caller says beside the policy. */
typedef struct BatchRequest {
        const char *name, *profile, *operator_name;
        const char *serials;     /* NULL: as the policy says */
        Package *package;
        BatchPolicy policy;
        bool armed, all_slots;
        Slot *const *slots;
        size_t n_slots;
        uint32_t uid;
} BatchRequest;

/* 0 and a batch that runs; -1 with *e and nothing changed. */
int station_start_batch(Station *s, const BatchRequest *request, Batch **ret, CallError *e);
Batch *station_batches(Station *s); /* in memory: all that are not ended and the last that are, by id */
Batch *station_find_batch(Station *s, uint64_t id);
int batch_pause(Batch *b, CallError *e);
int batch_resume(Batch *b, CallError *e); /* a person looked: what was counted towards a stop is forgotten */
int batch_drain(Batch *b, CallError *e);  /* no new units; stopped when those that run are through */
int batch_stop(Batch *b, CallError *e);   /* the same, and units whose flash was not touched yet end at once */
int batch_confirm(Batch *b, CallError *e); /* the first article is good */
int slot_disarm(Slot *slot, CallError *e);
int slot_set_listed(Slot *slot, bool listed, CallError *e);
/* Why a slot takes no batch unit now, in words for people: "" it does, or there is no batch. */
const char *slot_action(const Slot *slot);
bool batch_ended(const Batch *b);
