/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "common/failure.h"
#include "firmware/pac.h"
#include "flash/choice.h"

/* What will be done to a device, step by step, known before a byte is sent. Made from a package and options;
 * pure data. The engine (flash/engine.h) executes it; fdlctl prints it. */

typedef enum PlanOp {
        PLAN_ENTER,          /* a running system is asked for download mode; begins with its own intent */
        PLAN_HANDSHAKE,      /* find out who answers: BROM, FDL1, FDL2, PDL */
        PLAN_LOAD,           /* send a loader into RAM (BSL or PDL by protocol) */
        PLAN_EXEC,           /* start it and meet it */
        PLAN_REENUMERATE,    /* wait until the device is back (##PORT-SECOND-ENUM##) */
        PLAN_IDENTIFY,       /* device info, escaping off, partition table against the package */
        PLAN_EXT_TABLE,      /* tell the loader what kind of data partitions hold: Plan.ext_table */
        PLAN_FLASH_INFO,     /* block and page size of the NAND: decides which variants are meant */
        PLAN_RF_TYPE,        /* the radio chip: the same */
        PLAN_KEEP_CHARGE,    /* the first loader lets the unit charge; optional: only where it is known to know how */
        PLAN_CHECK,          /* what a person wants to be checked before the first write: id is a word of CHOICE_CHECKS; optional: if
                                the loader can */
        PLAN_BACKUP,         /* read twice, compare, on disk */
        PLAN_ERASE,
        PLAN_WRITE,          /* bytes of the package */
        PLAN_WRITE_NV,       /* package NV merged with the backup of the same target; merge before the first destructive
                                step, so that what does not fit is found while the unit is whole */
        PLAN_CHECK_NV,       /* read back and compare from byte 4, at most 3 rounds */
        PLAN_VERIFY,         /* read back and compare what the step before wrote; places that only the loader sees are named */
        PLAN_SERIAL,         /* the serial number that the unit will get: known before anything is changed */
        PLAN_INITIALISE,     /* what the host makes up itself: the phase-check area, with that number */
        PLAN_TIME_STAMP,     /* when the unit was flashed, into its miscdata; a loader that does not know it is noted */
        PLAN_APR,            /* when the package was built, into its miscdata; the same */
        PLAN_FIRST_MODE,     /* what the unit shall start as the next time: options.first_mode */
        PLAN_READ,           /* flash into an output of the job */
        PLAN_REPARTITION,    /* the package's table, if the device's differs; begins with its own intent */
        PLAN_RESTORE,        /* what the change of the table has moved: put back and read back */
        PLAN_EXAMINE_TABLE,  /* both copies of the partition table against the source */
        PLAN_REPAIR_TABLE,   /* written again if it is broken and nothing moves; begins with its own intent */
        PLAN_EXAMINE,        /* what all REPAIR steps are about against the source, before one of them writes */
        PLAN_REPAIR,         /* written again if it is broken; begins with its own intent */
        PLAN_RESET,
        PLAN_POWER_OFF,
        PLAN_OP_MAX,
} PlanOp;

typedef enum PlanProtocol { PLAN_BSL, PLAN_PDL } PlanProtocol;

typedef struct PlanStep {
        PlanOp op;
        Stage stage;
        PlanProtocol protocol;
        char id[128];            /* file id of the package, "" for steps of our own */
        char partition[37];      /* name form if not empty, else address form */
        uint64_t address, size;  /* size: bytes to send (odd: the engine pads), to read back, or the erase argument */
        uint64_t offset;         /* of the data within the package */
        uint32_t block;          /* largest MIDST or READ payload while escaping is on */
        int backup;              /* WRITE_NV, CHECK_NV: index of the PLAN_BACKUP step; -1: nothing to merge, the CRC is
                                    still set */
        int write;               /* CHECK_NV, VERIFY: index of the step whose bytes are compared, else -1 */
        uint64_t sample;         /* VERIFY: read back that many bytes, in pieces spread over all; 0 all */
        bool destructive;        /* needs INTENT/GO; CHECK_NV too, as it may write again */
        char storage[8];         /* "": on any unit; "emmc", "ufs": skipped where the device info says another type, a
                                    mismatch where it says none (SPL of both kinds in one package) */
        char variant[48];        /* "": whatever the unit has; "_b128k_p2k", "rf:NAME": only where FLASH_INFO or RF_TYPE said so */
        bool shorter;            /* BACKUP by address: what lies there may end before `size` bytes */
        bool optional;           /* a refusal (backup of an area that never existed) is noted, not fatal */
        bool force;              /* REPARTITION without a list: also if the loader did not ask for it */
        bool checks_calibration; /* BACKUP of NV: calibration gate applies */
        uint64_t skip;           /* READ: where it begins within the partition or range; size U64_UNKNOWN: to the end */
        unsigned output;         /* READ: number of the output, 1 … */
        bool any_image;          /* WRITE: not refused for what the image looks like */
        bool exact;              /* WRITE_NV: these very bytes, sum and all */
        bool boot_chain;         /* WRITE: a part of the boot chain */
        bool phase_check;        /* BACKUP: of the area that holds serial number and test results */
        bool critical;           /* boot chain, and all between erase and write of the first boot stage: a failure here
                                    leaves a unit that must be flashed again */
} PlanStep;

typedef struct PlanOptions {
        FlashMode mode;
        bool any_image;          /* files of the package are written whatever they look like */
        enum { SPARSE_AUTO, SPARSE_EXPAND, SPARSE_AS_IS } sparse; /* where sparse images are expanded: AUTO: "super" here, others by the loader */
        bool skip_equal;         /* what the device holds already is not written again; read back to find out */
        bool allow_warnings;     /* go on although the package has warnings */
        bool repartition;        /* a table that differs from the package's is changed, not refused */
        bool table_only;         /* with repartition: nothing else is written */
        bool display_only;       /* for people: plans that cannot be executed are given too, with the reason in
                                    not_executable */
        bool repair;             /* only what is broken of table, headers, loaders and slot metadata is written */
        bool soft_entry;         /* begins with PLAN_ENTER; only plans that write the first boot stage may */
        bool check_only;         /* nothing is written: the device is compared with the package */
        unsigned first_mode;     /* 0: not told to the unit; else the mode and 1 */
        VerifyLevel verify;      /* in calls of the station also VERIFY_LEVEL_INVALID: as the settings say */
        enum { RAW_DATA_UNSET, RAW_DATA_OFF, RAW_DATA_ON } raw; /* no part of the plan: JobSpec and EngineInput say what holds */
        PlanChoice choice;
        enum { FINISH_RESET, FINISH_POWER_OFF, FINISH_NOTHING } finish;
} PlanOptions;

typedef struct Plan {
        PlanOptions options;
        char family[32];
        bool picked;             /* nobody named the loaders: before a write the unit must be what their package is for */
        char storage[8];         /* picked: of that package, "" any */
        char unit[65];           /* chip UID of the only unit that it may be run on, "" any */
        PlanProtocol protocol;   /* of the first loader */
        bool single_loader;      /* BROM → FDL, no FDL2 */
        char loader[2][65];      /* SHA-256 of the images of first and last loader, "" there is none or it is not known */
        bool nand_loader;        /* the last loader is one for NAND only */
        size_t n_steps;
        PlanStep *steps;
        /* what the device's table must be: from the package, empty if it names none */
        size_t n_partitions;
        PacPartition *partitions;
        int partition_unit;
        bool unplaced;           /* the partitions are named with their sizes, where they begin is not known */
        bool given_table;        /* the partitions are not the package's: somebody gave a table */
        bool chosen;             /* steps that a person chose: names are looked up in the device's table, and the table need
                                    not be that of the package */
        size_t n_nv_items;
        PacNvItem *nv_items;
        char check_cali[64];
        size_t ext_table_size;
        uint8_t *ext_table;      /* payload of EXTTABLE */
        size_t n_rf_chips;
        PacRfChip *rf_chips;
        BslDeadlines at_least;   /* what this family or product needs, whatever the settings say; 0 nothing */
        unsigned smaller;        /* frames without escaping are halved so often: the line garbled larger ones */
        uint64_t bytes_total;    /* sum of plan_step_bytes(), for progress */
        char not_executable[512]; /* "": may run; else why not (only with display_only); engines must refuse */
        /* for people: what dies and what stays, one sentence each; the warnings are the package's */
        size_t n_lost, n_kept, n_notes, n_warnings;
        char **lost, **kept, **notes, **warnings;
} Plan;

/* Which of the two that a plan counts runs last: of one loader alone it is the first. */
static inline unsigned plan_last_loader(const Plan *plan) {
        return plan->single_loader ? 0 : 1;
}

/* 0; 1 with *f (class plan; detail "type", "warnings", "nv", "data", "mode"…); -ENOMEM. The plan is
 * self-contained (no pointers into the package). */
int plan_make(const Pac *pac, const PlanOptions *options, Plan **ret, Failure *f);
/* The first loader of a package and the second, NULL if there is none. 0; 1 with *f. */
int plan_find_loaders(const Pac *pac, const PacFile *ret[static 2], Failure *f);
/* How many loaders a family has at least; 0: there is no such family. */
unsigned plan_family_loaders(const char *family);
Plan *plan_free(Plan *plan);
DEFINE_CLEANUP(Plan *, plan_free)

/* SHA-256 of what will be done, in lower-case hex: two jobs with the same one do the same to a unit, given the same package. 0 or
 * -ENOMEM. */
int plan_digest(const Plan *plan, char ret[static 65]);

/* Bytes that a step moves when nothing is repeated: BACKUP counts both readings, ERASE and the rest 0. */
uint64_t plan_step_bytes(const PlanStep *step);

/* An ERASE step for all of the flash. */
static inline bool plan_erases_all(const PlanStep *s) {
        return s->op == PLAN_ERASE && s->size == UINT32_MAX && (s->partition[0] ? streq(s->partition, "erase_all") : s->address == 0);
}
/* What a unit may start as, for factory tests. *ret: the number that the loader is told; words and numbers (0x11) are taken. False: there
 * is none. */
bool plan_first_mode_from_string(const char *word, unsigned *ret);
const char *plan_first_mode_to_string(unsigned mode); /* NULL: there is none */
/* Whether a unit gets a serial number. *ret_max: how many characters it may have at most, as far as the plan can know. */
bool plan_writes_serial(const Plan *plan, size_t *ret_max);

/* engine-expand.c: a sparse image for this partition is expanded before it is sent. */
bool plan_expands(const PlanOptions *options, const char *partition);

/* A part of the boot chain. `partition` "": by address. */
bool plan_is_boot_chain(const char *partition, uint64_t address);

/* plan-verify.c: puts a VERIFY step behind each write that the level wants to be read back. Once, when the plan is complete. 0 or
 * -ENOMEM. */
int plan_add_verify(Plan *plan);

/* plan-repair.c: of a complete plan that flashes, leaves what repairs: who is it, backups, and REPAIR for WRITE. 0 or -ENOMEM. */
int plan_keep_repair(Plan *plan);
/* A step REPAIR, whoever makes the plan; offset and size are the source, size 0 none. */
PlanStep plan_repair_step(const char *partition, uint64_t address, uint64_t offset, uint64_t size);

/* Which pieces of `total` bytes a VERIFY step reads: at `at`, *ret bytes are to be read (true) or passed over (false). */
bool plan_verify_piece(uint64_t total, uint64_t sample, uint64_t at, uint64_t *ret);

const char *plan_op_to_string(PlanOp op); /* "handshake", "load", …, for plans shown to people and in JSON */
