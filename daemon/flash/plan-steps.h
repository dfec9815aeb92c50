/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/image.h"
#include "flash/plan.h"

/* Plans of jobs whose steps a person chose: write this, read that. Loaders come from a package or from files; all bytes lie in one mapped
 * file (PlanStep.offset), outputs are numbered. */

typedef enum StepKind {
        STEP_WRITE,
        STEP_READ,
        STEP_ERASE,
        STEP_REPAIR, /* written only if what stands there is broken */
        STEP_TABLE,  /* REPAIR: no work, the source has this partition with this length, in the order of the steps; in jobs that change the
                        table: the new one has */
        STEP_KIND_MAX
} StepKind;
const char *step_kind_to_string(StepKind kind);
StepKind step_kind_from_string(const char *word); /* STEP_KIND_MAX: none */
/* Sends the bytes of a file. */
static inline bool step_kind_sends(StepKind kind) {
        return kind == STEP_WRITE || kind == STEP_REPAIR;
}

/* One step as asked for. By partition name, or by address where that is empty. */
typedef struct StepRequest {
        StepKind kind;
        char partition[37];
        uint64_t address;
        uint64_t offset;           /* READ: where it begins within the partition or range; TABLE: where the partition begins, 0 not known */
        uint64_t length;           /* READ, ERASE of an address; WRITE: no more of the file than this; U64_UNKNOWN: all;
                                    TABLE: U64_UNKNOWN the rest */
        bool any_image;            /* WRITE: whatever the file looks like */
        bool exact;                /* WRITE of NV: the very bytes, from a backup of the same unit; no sum is put into them */
        bool optional;             /* READ, ERASE: a refusal by the device is noted, and the job goes on */
        char file[64];             /* key of the attached file or output, "" none */
        /* WRITE, once the file is there: */
        uint64_t data_offset, size;
        ImageKind kind_of_data;    /* by its first bytes, UNKNOWN where nobody looked: then the engine does */
        bool looked;               /* somebody did */
        unsigned output;           /* READ, 1 … */
} StepRequest;

#define STEPS_MAX 512
#define STEP_FILES_MAX 512

typedef struct StepLoader {
        uint64_t address, offset, size; /* size 0: there is none */
        char sha256[65];                /* "" not known */
        ImageKind kind;                 /* UNKNOWN: not signed, or nobody looked */
} StepLoader;

typedef struct StepsInput {
        char family[32];           /* word of pac_family() */
        StepLoader loader[2];
        bool second_enumeration;
        bool picked;               /* nobody named the loaders: table and storage must be as their package says before anything is written */
        char storage[8];           /* picked: of their package, "" any */
        char loaders[65];          /* hash of both and their addresses, for the record */
        char product[97];          /* that somebody named, "" nobody did */
        char unit[65];             /* chip UID of the only unit that it is for, "" any */
        const Pac *pac;            /* the package that the loaders are from, for its partition list; may be NULL */
        PlanOptions options;
        size_t n_steps;
        const StepRequest *steps;
} StepsInput;

/* The loaders of a package, as it wants them. 0; 1 with *f. */
int plan_steps_loaders(const Pac *pac, StepsInput *ret, Failure *f);
/* What can be said without the files: families, names, ranges, alignments. 0; 1 with *f (class plan). */
int plan_steps_check(const StepsInput *input, Failure *f);
/* plan-new-table.c: of jobs whose steps are a partition table. The list that the device shall have; the unit is the one of the package if
 * the sizes allow it, since its loader is known to take that. 0 or -ENOMEM. */
int plan_give_table(const StepsInput *input, Plan *plan);
/* Backups of what is the unit's own, the change, and its return; there is room for them in plan->steps. 0. */
int plan_add_new_table(Plan *plan);
/* 0; 1 with *f; -ENOMEM. Without steps the plan ends after identify. */
int plan_make_steps(const StepsInput *input, Plan **ret, Failure *f);
