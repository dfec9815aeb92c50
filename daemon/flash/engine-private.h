/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/engine.h"
#include "flash/table.h"

/* What the engine's files share. Return values of all functions here are those of the session: 0, 1 with e->failure
 * filled, -ECANCELED, other negative errno. */

/* Even, and what every loader that can do without escaping is known to take. */
#define ENGINE_BLOCK_UNESCAPED 0xF800U
#define ENGINE_BLOCK_MAX 0x10000U
/* What cures loaders that call the former too large. */
#define ENGINE_BLOCK_SMALL 0x1000U
/* After garbled attempts they are halved, down to that. */
#define ENGINE_BLOCK_LEAST 0x400U
/* Calibration images are below a megabyte on every known chip but UDX710 (7 MiB); an image is held in memory twice. */
#define ENGINE_BACKUP_MAX (64U * 1024 * 1024)
/* Rounds of writing again after a read-back that differs, as the vendor's CheckNVTimes. */
#define ENGINE_NV_ROUNDS 3

/* Which program runs on the device. With a single loader, it is RUNS_LAST. */
typedef enum EngineRuns { RUNS_ROM, RUNS_FIRST, RUNS_FIRST_OR_LAST, RUNS_LAST } EngineRuns;

typedef struct EngineImage {
        uint8_t *data;
        struct EngineSpool *kept; /* it lies in a file, and data is NULL */
        size_t size;
        bool stored;             /* it is on disk, whether data are still held or not */
        uint32_t sum;            /* of what WRITE_NV sends, as loaders want it */
} EngineImage;

typedef struct Engine {
        const EngineInput *input;
        const Plan *plan;
        const EngineHooks *hooks;
        EngineReport *report;
        Failure *failure;

        BslDeadlines deadlines;  /* the settings', and what the plan needs */
        BslSlowest slowest;      /* the longest that the last loader needed, in steps that ended well */
        uint32_t size_ms;        /* what the size of the image adds to the limit of its last block */
        Channel *channel;
        BslSession *session;
        EngineRuns runs;
        bool met;                /* somebody answered */
        unsigned refusals;       /* questions that the last loader did not know: it can only take a few */
        bool old;                /* the last loader knows none of the newer questions */
        LoaderTraits traits[2];  /* what is known of first and last loader, earlier jobs and this one together */
        LoaderTraits news;       /* of the last one, found out in this job and not told yet */
        bool obeys;              /* the last loader does what only one that is not locked does */
        bool certain[2];         /* that the plan's first and last loader run or ran, and not ones that somebody else has started */
        Failure read_unknown;    /* it does not know READ_START: what it answered, so that it is not asked again; else class none */
        BslDeviceInfo info;
        enum { RAW_UNASKED, RAW_ON, RAW_REFUSED } raw; /* what the last loader said to raw data */
        bool small_blocks;       /* the last loader called a large block too large */
        bool write_enabled;      /* the loader's switch against writing by mistake was turned */
        char flash_key[48], rf_key[48]; /* variants of files that are meant for this unit; "" not asked */
        uint32_t storage;        /* BSL_STORAGE_… as the unit's table shows it, where info does not say; else 0 */
        bool greeted;            /* info is what the last loader said to us, not to somebody before */

        unsigned step;
        Stage stage;             /* of the step, or checking */
        uint64_t offset;         /* where in the step a failure would be, U64_UNKNOWN nowhere */
        bool text_complete;      /* the failure's text needs no introduction */
        uint64_t base;           /* progress at the begin of the step */
        int last_flash_step;     /* after it flash is as the plan wants it; -1 none */
        bool prepared;           /* nothing destructive can fail for a reason that could be known before */
        bool settled;            /* all steps up to last_flash_step are done */

        Table live;              /* the device's table, empty not known */
        uint64_t area_base, area_size; /* engine-areas.c: what was measured last; 0 nothing */
        bool knows_table;        /* the loader answered READ_PARTITION: one of the newer ones */
        bool table_differs;      /* from the package's, and the plan changes it */
        bool table_changed;      /* it was, in this job */
        bool erased_all;         /* nothing is left of what was there */
        char differences[440];
        char unit[65];           /* chip UID, "" not told */
        bool knows_layout;       /* of the phase-check area that the unit came with */
        PhaseLayout layout;
        char serial[PHASE_SERIAL_MAX + 1]; /* that it gets */
        EngineSaved *saved;      /* of a change of the table that did not come to its end */
        size_t n_saved;
        char put_back[160];      /* names, for people */
        bool restored;           /* what was saved or read is where it belongs */

        uint8_t *block;          /* ENGINE_BLOCK_MAX bytes */
        EngineImage *images;     /* one for each step: what BACKUP read or WRITE_NV sent */
        uint64_t *sizes;         /* one for each step: what READ reads, known once the table is */
        bool *proven;            /* one for each step: what it wrote was read back */
        struct EngineRepair *repair;
        bool *equal;             /* one for each step: it was there already and was not written again */
        char skipped[360];       /* names of those, for people */
        unsigned unreadable;     /* refusals to show what was written */
} Engine;

static inline const PlanStep *engine_step(const Engine *e) {
        return e->plan->steps + e->step;
}
/* Of frames without escaping. */
static inline uint32_t engine_block_unescaped(const Engine *e) {
        uint32_t block = ENGINE_BLOCK_UNESCAPED;

        for (unsigned n = 0; n < e->plan->smaller && block / 2 >= ENGINE_BLOCK_LEAST; n++)
                block = block / 2 & ~3U;
        return block;
}
static inline bool engine_cancelled(const Engine *e) {
        return e->hooks->cancelled && e->hooks->cancelled(e->hooks->userdata);
}

/* A failure with a text of its own. Returns 1. */
#define engine_fail(e, class, detail, ...) \
        ((e)->text_complete = true, failure_set((e)->failure, (class), (detail), __VA_ARGS__))

void engine_enter_stage(Engine *e, Stage stage);
/* What this session says and hears goes into the job's trace. */
void engine_trace_session(const Engine *e, BslSession *s);
void engine_progress(Engine *e, uint64_t within_step);
_printf_(3, 4) void engine_fact(Engine *e, const char *key, const char *format, ...);
/* Forgets a failure that was met with, so that the next one starts clean. */
void engine_forget(Engine *e);
/* What the step works on, for people: "AP", "boot". */
const char *engine_subject(const PlanStep *s);
/* Copies from the package and asks afterwards whether the copy can be trusted. */
int engine_copy(Engine *e, uint64_t offset, void *data, size_t size);
/* Whether what was read from the package up to now can be trusted. */
int engine_package_fine(Engine *e, uint64_t offset);
/* Blocks until the intent of the present step is on disk; only then something may be sent that changes flash. */
int engine_intent(Engine *e);
/* Before the first intent of a job: what will be sent later and can be known to be wrong. */
int engine_prepare_all(Engine *e);

/* engine-patience.c: after a step that ended well, and after the last one */
void engine_measure(Engine *e);
void engine_tell_slowest(Engine *e);

/* engine-enter.c: out of a running system */
int engine_enter(Engine *e);

/* engine-load.c: into RAM */
int engine_handshake(Engine *e);
int engine_load(Engine *e);
int engine_exec(Engine *e);
int engine_reenumerate(Engine *e);

/* engine-identify.c, engine-table.c: who is it */
int engine_identify(Engine *e);
/* True if the step is for another type of storage than the device has; engine_skips(): or a variant for other units. */
bool engine_other_storage(const Engine *e, const PlanStep *s);
bool engine_skips(const Engine *e, const PlanStep *s);
/* READ_PARTITION, else the GPT, else (if it is to be changed) every name of the package; nothing in *ret: nobody tells, and the
 * record says so. */
/* How much of a partition can be read where no table tells, found by asking; 0: none, it is not there. */
int engine_probe_size(Engine *e, const char *name, uint64_t *ret);
int engine_live_table(Engine *e, Table *ret);
/* True if the device has a partition of that name that holds `size` bytes. */
int engine_holds(Engine *e, const char *name, uint64_t size, bool *ret);
/* Nothing in *ret: there is none that can be read. */
int engine_read_gpt(Engine *e, Table *ret);
/* 0: as in the package, or the plan changes it (e->table_differs then). */
int engine_check_table(Engine *e, const Table *live);
/* Loaders that nobody named: is this a unit like those that their package is for? `live`: NULL nobody tells. */
int engine_check_picked(Engine *e, const Table *live);
/* Bytes of the partition that the step is for: by the device's table (NULL unknown), else by the package's, U64_UNKNOWN if
 * neither tells. */
uint64_t engine_room(const Plan *plan, const Table *live, const PlanStep *s);

/* engine-questions.c: what not every loader can answer or do */
typedef enum Loader { LOADER_FIRST, LOADER_LAST } Loader;
/* A word that is known of the loader that runs (traits.h), NULL none, or it is not certain which one runs. */
const char *engine_known(const Engine *e, Loader which, const char *trait);
/* For this job and the later ones. */
void engine_learn(Engine *e, Loader which, const char *trait, const char *value);

/* Questions and orders that not every last loader knows. Each goes through these two, whoever asks. */
#define QUESTIONS(X)                                                                                                   \
        X(DISABLE_TRANSCODE) X(READ_PARTITION) X(READ_START) X(READ_CHIP_UID) X(READ_FLASH_UID) X(ENABLE_WRITE_FLASH) X(ENABLE_RAW_DATA) \
        X(SET_TIME_STAMP) X(WRITE_APR_INFO) X(EXTTABLE) X(READ_RF_TYPE) X(READ_FLASH_TYPE) X(READ_NAND_BLOCK_INFO)     \
        X(READ_CHIP_TYPE)
typedef enum Question {
#define X(name) Q_##name,
        QUESTIONS(X)
#undef X
} Question;
/* -1 not known, 0 it does not know the question, 1 it does. */
int engine_answers(const Engine *e, Question q);
/* False: it is known not to know that, or it did not know two others, and a third could be its last. What is asked then is not sent. */
bool engine_may_ask(const Engine *e, Question q);
/* The same for what is only nice to know. */
bool engine_may_try(const Engine *e, Question q);
void engine_met_running(Engine *e);
/* The same for what a job cannot do without: 1 with the failure. */
int engine_must_ask(Engine *e, Question q);
/* What came back, r and e->failure. True: it does not know that question (the failure is left for the caller). Counted and learned. */
bool engine_did_not_know(Engine *e, Question q, int r);
/* It has done something that each authorised loader does: what it did not know is no sign of a lock. */
void engine_obeyed(Engine *e);
int engine_ext_table(Engine *e);
int engine_flash_info(Engine *e);
int engine_rf_type(Engine *e);
int engine_time_stamp(Engine *e);
/* engine-again.c: the loader of EngineInput.left, wherever it stands: 0 and a session in which nothing is outstanding, e->unit known; else as
 * commands. */
int engine_meet_left(Engine *e, BslSession **ret);
/* After a failure that left an answer outstanding: true if the last loader proved that none is any more. The session is a new one then. */
bool engine_settle(Engine *e);
/* engine-checks.c: what a person wants to be checked, or the first loader to do */
int engine_keep_charge(Engine *e);
int engine_check(Engine *e);
int engine_apr(Engine *e);

/* engine-factory.c */
/* What a BACKUP step read, if it is the phase-check area. */
void engine_note_phase_check(Engine *e, const void *data, size_t size);
int engine_serial(Engine *e);
int engine_initialise(Engine *e);
int engine_first_mode(Engine *e);

/* engine-repartition.c: another table, and what must survive it */
int engine_repartition(Engine *e);
int engine_restore(Engine *e);
/* The same before the first step that changes flash, in a job that does not change the table itself. */
int engine_restore_first(Engine *e);
/* Everything will go: all that is the unit's own is on disk, or the job ends here. Begins the step's intent. */
int engine_before_erase_all(Engine *e);
/* The plan erases all, and has not yet. */
bool engine_will_erase_all(const Engine *e);
/* Asks for what an unfinished change of this unit's table has left behind. */
int engine_recall(Engine *e);
/* The live table goes on disk as it is. */
int engine_store_table(Engine *e);
int engine_send_table(Engine *e, const void *payload, size_t size);
/* NULL if nothing was saved under that name. */
const EngineSaved *engine_find_saved(const Engine *e, const char *name);
/* What the step read has to be put back after a change of the table. */
bool engine_puts_back(const Engine *e, unsigned step);

/* engine-resolve.c: chosen steps against the device's table, NULL if nobody tells it */
int engine_resolve(Engine *e, const Table *live);
/* The table as facts for whoever looks at the device. */
void engine_tell_table(Engine *e, const Table *live);

/* engine-areas.c: what devices without named partitions show, by address, told in the same way. Nothing for those that have names. */
int engine_list_areas(Engine *e);
/* What a step writes or erases by address is all there, as far as that can be found out. */
int engine_fit_area(Engine *e, const PlanStep *s);

/* What an image is by its first bytes, against the partition that it is for. */
int engine_fit_image(Engine *e, const PlanStep *s);

/* engine-sparse.c: images that the loader expands */
bool engine_is_sparse(const Engine *e, const PlanStep *s);
/* All of the package, before anything is written. `live`: the table that will hold them, NULL not known. */
int engine_check_sparse(Engine *e, const Table *live);

/* engine-expand.c: sparse images that are expanded here */
bool engine_expands(const Engine *e, const PlanStep *s);
int engine_expanded_size(Engine *e, const PlanStep *s, uint64_t *ret);
/* Between START and END. */
int engine_send_expanded(Engine *e, const PlanStep *s, uint64_t total, uint32_t block);

/* engine-read.c: out of flash */
/* Any partition by name, whatever the step is. */
int engine_read_name(Engine *e, const char *name, uint8_t *data, size_t size);
/* `progress`: what the step has counted before. */
int engine_read(Engine *e, uint8_t *data, size_t size, bool allow_short, uint64_t progress, size_t *ret_size);
/* Compared with calibration data, from the fifth byte on, and not held. *ret_size: so much came; *ret_at: the first byte that differs or did not
 * come, image->size none. */
int engine_read_nv(Engine *e, const EngineImage *image, size_t *ret_size, size_t *ret_at);
int engine_backup(Engine *e);
uint32_t engine_read_block(const Engine *e, const PlanStep *s);
/* Exactly n bytes from `at` within what the step is about; a partition was opened before. */
int engine_read_part(Engine *e, const PlanStep *s, uint64_t at, uint8_t *data, size_t n);
/* The same where they came, valid until the session is used again. */
int engine_view_part(Engine *e, const PlanStep *s, uint64_t at, size_t n, const uint8_t **ret);
/* engine-output.c */
int engine_output(Engine *e);
/* True if a later step merges what this BACKUP step reads. */
bool engine_holds_nv(const Plan *plan, unsigned step);

/* engine-raw.c: writing without frames, where the plan wants it and the loader offers it */
/* Asks the loader, before START. *ret: the step's image can go raw. */
int engine_raw_begin(Engine *e, bool *ret);
/* All of the image and END. *ret_refused: the loader does not know the command after all, nothing was sent. */
int engine_raw_send(Engine *e, const uint8_t *data, uint64_t size, bool *ret_refused);

/* engine-write.c: into flash */
/* r, from START or REPARTITION: the loader wants its switch against writing turned first. */
bool engine_wants_enable(const Engine *e, int r);
int engine_enable_write(Engine *e);
int engine_erase(Engine *e);
int engine_write(Engine *e);
int engine_write_nv(Engine *e);
/* What the step is for, from memory. */
int engine_write_image(Engine *e, uint8_t *image, size_t size);
/* Any partition by name, from memory; `nv`: sealed and sent with its sum. */
int engine_write_name(Engine *e, const char *name, uint8_t *data, size_t size, bool nv);
/* Makes the images of all WRITE_NV steps that use the backup of step `backup` (-1: of all that are not made yet), so
 * that data that do not fit each other are found while flash is still as it was. */
int engine_prepare_nv(Engine *e, int backup);
/* Of the images that were written, those that no later step compares with are needed no more. */
void engine_drop_nv(Engine *e);
int engine_check_nv(Engine *e);
/* Bytes 0-3 are left out: sum and stamp, which a loader may make anew. image->size: none. */
size_t engine_nv_difference(const EngineImage *image, const uint8_t *data, size_t size);
void engine_image_clear(EngineImage *image);

/* engine-diagnose.c: after a failure */
/* Finds out in a bounded time how the device is, without a word that could change flash: listens on, looks whether it is on the bus,
 * asks a boot ROM or first loader for a sync, and its USB port for a sign of life. Fills aftermath and situation; may make a silence
 * slow, and a silence while checking "dead". */
void engine_diagnose(Engine *e);

/* engine-verify.c: what was written, read back. */
/* Before a WRITE step: the device holds all of it already, and its second copy too. */
int engine_is_equal(Engine *e, bool *ret);
int engine_verify(Engine *e);
/* What is on the device against `s->size` bytes of the package from `s->offset` on, as a VERIFY step does it. */
typedef struct EngineDifference {
        bool shown;              /* false: the loader refuses to show it, with `reply` */
        int reply;
        uint64_t first, n_differ, n_blocks;
} EngineDifference;
int engine_compare(Engine *e, const PlanStep *s, EngineDifference *ret);
/* At the end of a job: tells the level reached and names what was only acknowledged. */
void engine_tell_verified(Engine *e);

/* engine-repair.c: only what is broken is written again. */
struct EngineRepair *engine_repair_new(const Plan *plan);
void engine_repair_free(struct EngineRepair *r, const Plan *plan);
int engine_examine_table(Engine *e);
/* True between finding the table broken and the end of the job. */
bool engine_table_broken(const Engine *e);
int engine_repair_table(Engine *e);
int engine_examine(Engine *e);
int engine_repair(Engine *e);
