/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "firmware/phase-check.h"
#include "flash/plan.h"
#include "flash/trace.h"
#include "flash/traits.h"

/* Executes a plan on one device over a channel. Blocking; runs in a worker thread, or in a test on a channel with
 * virtual time. Knows nothing of threads, bus, store or udev: what it needs from outside are the hooks below. */

/* What was read out of a unit before its partition table was changed. */
typedef struct EngineSaved {
        char name[40];
        uint8_t *data;
        size_t size;
        uint64_t job;               /* that saved it */
} EngineSaved;
void engine_saved_free(EngineSaved *saved, size_t n);

typedef struct EngineHooks {
        /* A step begins. `partition` is "" where there is none. */
        void (*step)(void *userdata, unsigned step, Stage stage, const char *partition);
        /* Bytes of the whole job; called for every block, must be cheap. */
        void (*progress)(void *userdata, uint64_t done, uint64_t total);
        /* Before each destructive step: blocks until the intent is on disk. 0 go; -ECANCELED; -errno no GO. */
        int (*intent)(void *userdata, unsigned step, Stage stage, const char *partition);
        /* Calibration data that were read twice and agree: blocks until they are on disk. Takes ownership of
         * data (malloc). 0 or -errno. */
        int (*backup)(void *userdata, unsigned step, const char *name, void *data, size_t size);
        /* The same for what is large: a new file for it (the caller's), or -errno; then the file, of `size` bytes, is given back whatever
         * comes of it, with the SHA-256 that must be found in it. NULL: memory is all there is. */
        int (*spool)(void *userdata, uint64_t size);
        int (*backup_file)(void *userdata, unsigned step, const char *name, int fd, uint64_t size, const char *sha256);
        /* What a READ step found, for its output; offsets begin with 0. 0 or -errno. */
        int (*output)(void *userdata, unsigned output, uint64_t offset, const void *data, size_t size);
        /* The serial number of the unit, at most `max` characters: blocks until it is known, which may be long. 0; 1 with *f: there is none to
         * be had; -ECANCELED; -errno. NULL: plans that need one cannot be run. */
        int (*serial)(void *userdata, size_t max, char ret[static PHASE_SERIAL_MAX + 1], Failure *f);
        /* Something learned: key "loader-version", "chip-uid", "storage", "table", "partitions" (lines "name bytes", may come in
         * several), "serial" (of the unit as it came), "serial-written", "read" ("output skip bytes sha256
         * whole|part partition"), "sparse", "note", "trait" ("loader's-hash trait value", see traits.h); clean UTF-8. */
        void (*fact)(void *userdata, const char *key, const char *value);
        /* What a change of the table of this unit (its chip UID, "" not told) that did not come to its end has saved; blocks. *ret
         * NULL: nothing is open. 0, -ECANCELED, -EKEYREJECTED something is open that may be this unit's but need not, or -errno. May
         * be NULL: nothing ever is open. */
        int (*recall)(void *userdata, const char *unit, EngineSaved **ret, size_t *ret_n);
        /* The device left after FDL1 and is expected back: gives the channel to go on with, or 1 with *f. */
        int (*reenumerate)(void *userdata, uint32_t timeout_ms, Channel **ret, Failure *f);
        /* True once somebody wants the job to end; asked between blocks and at safe points. */
        bool (*cancelled)(void *userdata);
        void *userdata;
} EngineHooks;

/* A last loader that a session has left in good order: the next one goes on with it without a question, as each question that such
 * a loader does not know costs it one of few buffers (bsl-protocol §4.5). */
typedef struct EngineResting {
        bool valid;
        bool rom;                   /* the boot ROM, greeted and connected: it may answer no second greeting. Else the last loader: */
        BslDeviceInfo info;
        unsigned refusals;          /* questions that it did not know, so far */
        bool old;                   /* it knows none of the newer ones */
        char loader[65];            /* SHA-256 of its image, "" not certain */
} EngineResting;

typedef struct EngineInput {
        const Plan *plan;
        const uint8_t *package;     /* the whole package, mapped read-only */
        uint64_t package_size;
        bool (*package_ok)(void *userdata); /* false after a bad disk made the mapping useless (SIGBUS) */
        void *package_userdata;
        BslDeadlines deadlines;
        uint32_t on_bus_ms;         /* how long the device has been on the bus at least: a ROM wakes up within seconds */
        uint64_t now_s;             /* seconds since 1970, for the time stamp that some packages write */
        bool raw;                   /* images go without frames to loaders that offer it (bsl-protocol §6.4) */
        const char *stations;       /* names for the phase-check area, between blanks; NULL: DOWNLOAD */
        int64_t package_time_s;     /* when the package's file was last changed, for those that write that */
        const LoaderTraits *traits[2]; /* what is known of the plan's loaders, NULL nothing */
        char unit[65];              /* chip UID of the unit that must be there, "" whichever; one that tells none is believed */
        const struct SoftEntry *entry; /* the channel leads to a running system that takes this; NULL: to download mode */
        EngineResting resting;      /* what is known to run on this very device; not valid: find out */
        char left[65];              /* SHA-256 of the last loader that told an earlier job the chip UID of this very device; that job was broken
                                       off, and nobody knows in the middle of what. "" not known */
        Trace *trace;               /* may be NULL */
        bool public_data;           /* what is written comes out of a package, nothing of it is somebody's own */
} EngineInput;

typedef struct EngineReport {
        uint64_t bytes_done, bytes_total;
        unsigned steps_done;
        unsigned retries;           /* commands sent once more, data written once more */
        bool wrote;                 /* something in flash was changed or may have been */
        bool identity_proven;
        EngineResting resting;      /* what runs on it now, if that is certain */
} EngineReport;

/* 0: done, with proof. 1: failed, *f complete (stage, step, …, must_reflash). -ECANCELED: ended at a safe point before
 * or between destructive steps (*f->must_reflash says which). Other negative: our own fault. */
int engine_run(const EngineInput *input, Channel *channel, const EngineHooks *hooks, EngineReport *ret, Failure *f);

/* When a job ends that somebody wants to end:
 *  - at once, in the middle of a transfer, while nothing but RAM is written or flash is only read (handshake, loaders,
 *    identify, backup): this function is true for such steps. The device may need a power cycle afterwards, no more;
 *  - during an erase or a write: when that step is through, END and all. What was begun is finished, the next step
 *    does not begin, and Failure.must_reflash says that the unit is between two firmwares;
 *  - after the last step that matters to flash: not at all. The unit is done but for its reset: the job ends as done.
 * A caller that breaks off transfers must do so only while this is true. */
bool engine_cancel_safe(const Plan *plan, unsigned step);
