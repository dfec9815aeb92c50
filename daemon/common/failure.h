/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "common/macro.h"
#include "common/words.h"

/* What went wrong with a device, a file or the host: a record of fixed size that crosses threads by
 * value. Functions that can fail this way return 0 on success, a negative errno for our own faults
 * (no memory, a bug), or 1 with *reterr filled. Lower layers fill what they know (class, command, reply,
 * deadline); the layers above add stage, step and partition on the way up, and never overwrite. */
typedef struct Failure {
        FailClass class;
        Stage stage;
        int32_t step;          /* index of the plan's step, -1 unknown */
        int32_t reply;         /* reply code of the device, -1 none */
        bool pdl;              /* the reply is a PDL code (UIS8910 ROM), not a BSL code */
        bool must_reflash;     /* flash is half written: the unit must be flashed again before it is used */
        Verdict verdict;       /* what became of the unit */
        Aftermath aftermath;   /* how the device was found afterwards ("device_state" on the bus and in records) */
        uint32_t situation;    /* set of Situation: what was seen around it */
        int32_t error;         /* errno behind class host, 0 none */
        uint32_t deadline_ms;  /* the deadline that expired, 0 none */
        uint32_t waited_ms;
        uint32_t attempts;
        uint64_t offset;       /* within the partition or file, U64_UNKNOWN none */
        uint64_t address;      /* flash or RAM address, U64_UNKNOWN none */
        uint64_t bytes_done;   /* of the whole job */
        char command[24];      /* "MIDST_DATA", "" none */
        char partition[40];    /* file id, partition name or logical name, "" none */
        char detail[32];       /* third part of the code if it is a word: "busy", "table"; "" else */
        char text[256];        /* one plain sentence with the particulars of this case */
} Failure;

#define FAILURE_INIT                                                                               \
        (Failure) {                                                                                \
                .stage = STAGE_INVALID, .step = -1, .reply = -1, .offset = U64_UNKNOWN,            \
                .address = U64_UNKNOWN,                                                            \
        }

/* Fills *f (after FAILURE_INIT) with a class, a detail word ("" none) and a sentence. Returns 1, so that
 * `return failure_set(...)` reads well. A NULL f is allowed. */
int failure_set(Failure *f, FailClass class, const char *detail, const char *format, ...) _printf_(4, 5);

/* Class host from an errno: the detail word is derived (EACCES "permission", EBUSY "busy", ENOSPC "disk-full",
 * EIO "io", ENOMEM "memory", …). Returns 1. */
int failure_set_errno(Failure *f, int error, const char *format, ...) _printf_(3, 4);

/* "<stage>-<class>[-<detail>]": detail = BSL reply in two hex digits, pdl-NN, or a word (design §4). */
#define FAILURE_CODE_MAX 80
const char *failure_code(const Failure *f, char ret[static FAILURE_CODE_MAX]);

static inline bool failure_has(const Failure *f, Situation s) {
        return f->situation & 1U << s;
}
/* Gives a failure that says nothing about the unit its verdict, from must_reflash. */
void failure_complete_verdict(Failure *f);
bool verdict_safe_to_unplug(Verdict v); /* nothing is being changed in it any more */
bool verdict_bootable(Verdict v);       /* it starts as it did before, or better */
/* One sentence for people, "" for VERDICT_NONE. */
const char *verdict_text(Verdict v);
const char *aftermath_text(Aftermath a);
const char *situation_text(Situation s);

/* One row of errors.def with what a person reads. Texts are static. causes and actions are NULL-terminated
 * lists in the order of likelihood. */
#define EXPLANATION_LIST_MAX 8
typedef struct Explanation {
        const char *dbus_name; /* "org.fdld.Fdld1.Error.Refused" */
        int exit_code;
        const char *summary;
        const char *causes[EXPLANATION_LIST_MAX];
        const char *actions[EXPLANATION_LIST_MAX];
} Explanation;

/* Looks a code up: the row of the exact code, else of class and detail in any stage, else of stage and class, else
 * of the class. Every stage × class has an answer. False only if `code` has no known stage and class. */
bool explanation_find(const char *code, Explanation *ret);
/* Same for a failure. Always gives an answer; what is known of this case (the command, how the device was found, what was seen around
 * it) orders and completes causes and actions. */
void explanation_of(const Failure *f, Explanation *ret);
/* Which row that is, as explanation_foreach() calls it ("write-refused-8a", "any-gone"). */
bool explanation_pattern(const char *code, char ret[static FAILURE_CODE_MAX]);
/* Calls fn for every row of the table, with its pattern ("write-refused-8a", "any-gone"). */
void explanation_foreach(void (*fn)(const char *pattern, const Explanation *e, void *userdata), void *userdata);

/* Errors that a bus method answers with: bad calls, not failed jobs. Rows BUS_ERROR of errors.def. */
typedef enum BusError {
#define BUS_ERROR(id, name, error, exit, summary) BUS_ERROR_##id,
#include "common/errors.def"
        BUS_ERROR_MAX,
} BusError;

const char *bus_error_name(BusError e);   /* full D-Bus name */
const char *bus_error_summary(BusError e);
/* From a full D-Bus error name, for clients: exit code, or -1 if the name is not ours. */
int bus_error_exit_code_by_name(const char *dbus_name);

/* A bad call on its way to the bus: which error, and a sentence with the particulars. */
typedef struct CallError {
        BusError error;
        char text[512];
} CallError;

/* Returns -1 so that `return call_error_set(...)` reads well. */
int call_error_set(CallError *e, BusError error, const char *format, ...) _printf_(3, 4);
