/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <check.h>

#include "unit/engine-bench.h"

/* Every stage × command × fault × family on simulated units in virtual time. What must come of a cell is decided by the rules in
 * rules.c, which were written from the protocol description; what flash must hold, by judge.c from the package alone. */

/* FAULT(id, word in rules and reports, line for the simulator ("%u": milliseconds, "%02x": reply code), column of the table,
 *       the simulator has executed the command) */
#define FAULTS(X)                                                                                                        \
        X(SILENT, "silent", "silence", "silent", false)                                                                  \
        X(LOST, "lost", "drop-ack", "silent", true)                                                                      \
        X(STALLED, "stalled", "stall", "silent", false)                                                                  \
        X(SLOW, "slow", "slow=%u", "slow", true)           /* within its deadline */                                     \
        X(PAUSE, "pause", "stall=%u", "slow", true)        /* takes no data for a while */                               \
        X(OVER, "over", "slow=%u", "slow", true)           /* a second over its deadline */                              \
        X(BAD_SUM, "bad-sum", "bad-sum", "checksum", true)                                                               \
        X(NAK, "nak", "nak=%02x", "refused", false)                                                                      \
        X(GARBAGE, "garbage", "garbage", "garbage", true)                                                                \
        X(TRUNCATED, "truncated", "truncate", "truncated", true)                                                         \
        X(GLUED, "glued", "glue-log", "glued", true)                                                                     \
        X(LOG, "log", "unsolicited-log", "glued", true)                                                                  \
        X(GONE, "gone", "disconnect", "gone", false)                                                                     \
        X(BACK, "back", "disconnect=800", "gone", false)   /* and returns, in the same stage */                          \
        X(LATE, "late", "late=%u", "late", true)           /* executed at once, answered within the deadline */          \
        X(OVERDUE, "overdue", "late=%u", "late", true)     /* answered a second after it */                              \
        X(NEVER, "never", "late=%u", "late", true)         /* answered when nobody listens any more */                   \
        X(HANG, "hang", "hang-after-ack", "hang", true)                                                                  \
        X(UNIT, "unit", "disconnect", "unit", false)       /* another unit is in the socket afterwards */                \
        X(WRITE_ERROR, "write-error", "write-error", "flash", true)                                                     \
        X(BAD_FLASH, "bad-flash", "bad-readback", "flash", true)

typedef enum Fault {
#define X(id, word, line, column, executed) FAULT_##id,
        FAULTS(X)
#undef X
                FAULT_MAX
} Fault;
extern const char *const fault_words[FAULT_MAX];

/* A command as it went over the wire. */
typedef struct WireCommand {
        char at[6];          /* who it was sent to: "brom", "pdl", "fdl1", "fdl2" */
        char command[16];    /* the simulator's word */
        unsigned nth;        /* of its kind, since power on */
        char target[40];     /* name or address of the transfer it belongs to */
        uint64_t from, to, size;
        bool named, last;    /* the last block of a transfer */
} WireCommand;

#define WIRE_MAX 20000
typedef struct Wire {
        WireCommand *list;
        size_t n;
        bool single;         /* the ROM starts the last loader */
        const char *at;
        bool plain, pdl_tag;
        uint64_t done, size; /* of the running transfer */
        char target[40];
        bool named;
} Wire;
void wire_start(Wire *w, bool pdl, bool single);
void wire_tap(void *userdata, const uint8_t *data, size_t size);
void wire_free(Wire *w);
/* The i-th command came after a change of the partition table. */
bool wire_repartitioned(const Wire *w, size_t i);
bool wire_changes_flash(const WireCommand *c);

/* A kind of unit with packages for it. */
typedef struct World {
        const char *name, *spec, *family; /* of the unit, of the package maker */
        bool main;           /* tried at every command with every fault; else with some */
        bool second_enumeration;
        VerifyLevel verify;
        bool new_table;      /* each job changes the partition table */
} World;

/* What the cell is about. */
typedef struct Cell {
        const World *world;
        const Wire *clean;   /* the job without a fault */
        size_t at;           /* the command that is struck */
        const char *stage;
        Fault fault;
        unsigned code;       /* NAK */
        bool always;         /* from there on, not only once */
        const char *impostor; /* UNIT: its spec */
} Cell;
const char *cell_name(const Cell *c);
const char *cell_stage(const World *world, const Wire *w, size_t i);
/* Of the reference; ms. */
uint32_t cell_deadline(const WireCommand *c);
void matrix_deadlines(BslDeadlines *d);

/* rules.c */
typedef struct Outcome {
        bool done, may_be_done;
        FailClass class;
        const char *stage, *command; /* the reference's name of the command */
        char detail[16];
        size_t at;           /* the command that it failed at */
} Outcome;
bool rule_applies(const Cell *c);
Outcome rule_outcome(const Cell *c);
bool rule_in_doubt(unsigned code);
bool rule_must_reflash(const Cell *c, const Outcome *o);

/* judge.c: "" or what is wrong. */
const char *judge_failure(Bench *b, const Cell *c, const Outcome *o);
const char *judge_flash(Bench *b, const Cell *c, const Outcome *o, BenchFlash *before, BenchFlash *now);
/* The same after a change of the table: all files in their new places, and what is the unit's own. */
const char *judge_table(Bench *b, BenchFlash *before, BenchFlash *now);
const char *judge_done(Bench *b, BenchFlash *before, BenchFlash *now);
