/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/pac.h"
#include "flash/engine.h"
#include "pacmaker/pacmaker.h"
#include "sim-channel.h"

/* One simulated unit, one package, one run of the engine in virtual time, and a record of all that the engine told. */

typedef enum BenchEventType { EVENT_STEP, EVENT_INTENT, EVENT_BACKUP, EVENT_FACT, EVENT_REENUMERATE } BenchEventType;

typedef struct BenchEvent {
        BenchEventType type;
        int step;
        Stage stage;
        char text[600];          /* partition, name, or key=value */
        uint8_t *data;           /* BACKUP */
        size_t size;
        uint64_t at_ms;
} BenchEvent;

#define BENCH_EVENTS_MAX 2000

typedef struct Bench {
        char dir[128];
        SimChannel *sim;

        uint8_t *package;
        size_t package_size;
        bool package_mapped;
        Pac *pac;
        Plan *plan;
        EngineInput input;

        VerifyLevel verify;      /* bench_plan() takes it; nothing is read back unless set */

        /* what the outside does */
        void (*before_step)(struct Bench *b, int step); /* NULL: nothing */
        int go_error;            /* answer to the intent of go_error_step */
        int go_error_step;
        int backup_error;
        int cancel_step;         /* the job is cancelled when this step begins, -1 never */
        uint64_t cancel_bytes;   /* or when so much has moved, 0 never */
        int unplug_step;         /* the cable is pulled when this step begins, -1 never */
        uint64_t unplug_bytes;   /* or once so much has moved, 0 never */
        uint64_t bad_disk_bytes; /* the package is unreadable once so much has moved, 0 never */
        const char *late_fault;  /* a fault that comes once late_fault_bytes have moved; NULL none */
        uint64_t late_fault_bytes;
        bool comes_back;         /* after re-enumeration */
        SimChannel *impostor;    /* another unit that is in the socket then; NULL none */
        uint64_t kill_at_send;   /* the host dies just before that many-th send, 0 never; the device keeps power */

        /* What a station keeps over runs: data read out before a change of the table, until a run ends well. */
        bool vault_open;
        char vault_unit[65];
        EngineSaved vault[64];   /* of the open change */
        size_t n_vault;
        EngineSaved fresh[64];   /* read in this run */
        size_t n_fresh;

        /* how it went */
        BenchEvent events[BENCH_EVENTS_MAX];
        size_t n_events;
        uint64_t progress, progress_total;
        uint64_t bytes_output;   /* of READ steps, over all runs */
        unsigned n_spools, n_spooled; /* files asked for, and stored */
        bool progress_fell, cancelled;
        EngineReport report;
        Failure failure;
        int result;
} Bench;

/* NULL if the real package is not there. `spec` of the model; `package`: a family of the package maker, or a file name.
 */
Bench *bench_new(const char *spec, const char *package);
/* Before bench_plan(): takes over a package that was made by hand. */
Bench *bench_new_made(const char *spec, PacMaker *maker);
/* The same with a file of `size` bytes under `id`: the package is a file of holes and is mapped, not read. */
Bench *bench_new_file(const char *spec, PacMaker *maker, const char *id, uint64_t size);
Bench *bench_free(Bench *b);
void bench_plan(Bench *b, FlashMode mode);
void bench_plan_with(Bench *b, const PlanOptions *options); /* 0 or dies */
void bench_take_plan(Bench *b, Plan *plan); /* made otherwise; it is freed with the bench */
void bench_fault(Bench *b, const char *line);
/* Runs; may be repeated: the unit stays plugged in as it is. */
int bench_run(Bench *b);
/* A folder of a test, with all that is in it. */
void bench_remove_folder(const char *path);
/* Out and in again with the boot key held. */
void bench_replug(Bench *b);

int bench_find_step(const Bench *b, PlanOp op, const char *id_or_partition);
const BenchEvent *bench_event(const Bench *b, BenchEventType type, const char *text);
bool bench_describes(const Bench *b, const char *text); /* in sim_describe() */
const char *bench_code(const Bench *b);

/* Large partitions are holes behind their first megabytes: so much of each is compared, and the size of all. */
#define BENCH_KEEP_MAX (9u * 1024 * 1024)

/* The unit's flash: all files of its storage, in memory. */
typedef struct BenchFlash BenchFlash;
BenchFlash *bench_flash(const Bench *b);
BenchFlash *bench_flash_free(BenchFlash *f);
/* Shares what neither of the two changes. */
BenchFlash *bench_flash_copy(const BenchFlash *f);
/* The i-th file; NULL there are no more. */
const char *bench_flash_name(const BenchFlash *f, size_t i);
/* NULL if there is no such file. Not to be changed. */
uint8_t *bench_flash_file(BenchFlash *f, const char *name, size_t *ret_size);
/* Names the first file that differs; "" none. Files whose names begin with one of `except` are passed over. */
const char *bench_flash_differs(const BenchFlash *want, const BenchFlash *have, const char *const *except);
/* Replaces or makes a file of an expectation; data are copied. */
void bench_flash_put(BenchFlash *f, const char *name, const void *data, size_t size);
void bench_flash_remove(BenchFlash *f, const char *prefix);
/* Over part of a file that must be there. */
void bench_flash_patch(BenchFlash *f, const char *name, size_t offset, const void *data, size_t size);
void bench_flash_fill(BenchFlash *f, const char *name, size_t offset, size_t size, uint8_t byte);

/* engine-expect.c: what the documents say a package does to a unit in upgrade mode, computed without the daemon's plan.
 * Works on a picture of the flash taken before. */
void expect_upgrade(BenchFlash *f, const Pac *pac, const uint8_t *package);
/* The same for one of its files that is erased or written. */
void expect_file(BenchFlash *f, const Pac *pac, const PacFile *file, const uint8_t *package);
/* Whether the boot areas of a phone hold the package's boot loader; "" or what is wrong. They are not in the expectation:
 * the loader makes the first 512 bytes itself. */
const char *expect_boot_areas(BenchFlash *have, const Pac *pac, const uint8_t *package);
/* The NV item `id` of an image; NULL if it has none. */
const uint8_t *expect_nv_item(const uint8_t *image, size_t size, unsigned id, size_t *ret_size);
