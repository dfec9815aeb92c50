/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "common/mapped-file.h"
#include "flash/engine.h"
#include "flash/plan.h"

/* One thread for each running job. Down go START (worker_start), CANCEL, GO and ANSWER; up come WorkerRecords through
 * one locked queue and an eventfd; progress is "latest wins". Nothing else is shared. */

typedef struct UsbTarget {
        char devnode[64];       /* /dev/bus/usb/BBB/DDD */
        char sysfs[256];        /* its folder in /sys, "" not known */
        uint16_t vendor, product;
        uint8_t busnum, devnum;
        const struct SoftEntry *entry; /* a running system, used by that port of it; NULL: download mode */
} UsbTarget;

typedef struct JobSpec {
        uint64_t job_id;
        char name[16];          /* of the thread */
        Plan *plan;             /* owned */
        MappedFile *package;    /* a reference, NULL for jobs without */
        UsbTarget target;
        BslDeadlines deadlines;
        bool gated;             /* asks before it sends the first and before it starts the second loader */
        uint32_t on_bus_ms;     /* how long the device has been there, 0 just come or not known */
        bool raw;               /* raw data, where they are offered */
        bool public_data;       /* what is written comes out of a package of the store */
        char kind[16], package_name[80], family[32], speed[16]; /* for the trace */
        char unit[65];          /* chip UID of the unit that must be there, "" whichever */
        EngineResting resting;  /* what the last job has left on this device */
        char left[65];          /* last loader that a job which was broken off has left on it, "" not known */
        LoaderTraits traits[2]; /* of the plan's loaders */
        char stations[PHASE_STATIONS_MAX]; /* names for the phase-check area */
        uint32_t answer_timeout_ms; /* how long a serial number may take to come */
        char spool[560];        /* folder for large backups on their way to the vault, "" none */
        size_t n_outputs;
        int *outputs;           /* owned: where READ steps go, output 1 first; written with pwrite from offset 0 of each reading */
} JobSpec;

JobSpec *job_spec_free(JobSpec *spec);
DEFINE_CLEANUP(JobSpec *, job_spec_free)

typedef enum RecordType {
        RECORD_STEP,         /* step, stage, partition */
        RECORD_GATE,         /* only if spec->gated: loader 1 is about to be sent, loader 2 to be started; answered with worker_go() at any time,
                                as the device waits safely */
        RECORD_INTENT,       /* the same; answered with worker_go() */
        RECORD_BACKUP,       /* step, name in partition, blob or file; answered with worker_go() */
        RECORD_FACT,         /* key, value */
        RECORD_RECALL,       /* chip UID in value, "" none; answered with worker_recalled() */
        RECORD_SERIAL,       /* serial_max; answered with worker_answer_serial() */
        RECORD_EXPECT_BACK,  /* device left and should return within timeout_ms; answered with worker_answer_device() */
        RECORD_DONE,         /* result, failure, report; of a failed job the trace in blob; the thread ends right after */
} RecordType;

typedef struct WorkerRecord {
        RecordType type;
        uint64_t job_id;
        uint64_t now_usec;      /* CLOCK_REALTIME when posted */
        int step;
        Stage stage;
        char partition[40];
        char key[32];
        char value[512];
        uint32_t timeout_ms;
        unsigned serial_max;    /* characters that the unit has room for */
        void *blob;             /* malloc'ed, moved to the receiver */
        size_t blob_size;
        bool spooled;           /* BACKUP: blob_size bytes with this hash are in `fd` instead of blob; moved to the receiver */
        int fd;
        char sha256[65];
        int result;             /* DONE: as engine_run() */
        Failure failure;
        EngineReport report;
} WorkerRecord;

/* The queue that all workers post to. */
typedef struct Mailbox Mailbox;
int mailbox_new(Mailbox **ret);
Mailbox *mailbox_free(Mailbox *m);
int mailbox_fd(const Mailbox *m);                     /* readable when records wait */
/* Takes one record; false when empty (and rearms the fd). Main thread. Take at most 64 per dispatch. */
bool mailbox_take(Mailbox *m, WorkerRecord *ret);

typedef struct Worker Worker;
/* Moves *spec into a new thread. 0 or -errno (spec stays the caller's then). */
int worker_start(JobSpec **spec, Mailbox *mailbox, Worker **ret);
void worker_cancel(Worker *w);                        /* any time; idempotent */
void worker_go(Worker *w, int error);                 /* 0: committed to disk; -errno: not */
/* The answer to an intent waits for something other than the disk (a place among the writers): the worker's time limit ends here,
 * as the device has none before its first write. worker_go() follows, however late; a cancel ends the wait too. */
void worker_hold(Worker *w);
/* What was saved of the unit, moved (NULL none); or -errno. */
void worker_recalled(Worker *w, int error, EngineSaved *saved, size_t n);
void worker_answer_device(Worker *w, const UsbTarget *target); /* NULL: it did not come back */
/* What is said between job and device; a reference, never NULL after worker_start(). Any time. */
Trace *worker_trace(const Worker *w);
/* The trace as text. Any thread, as long as `spec` and `t` are there. */
char *worker_trace_text(const JobSpec *spec, const Trace *t, const Failure *f, size_t *ret_size);
/* The number, or NULL and why there is none (class, detail, text). */
void worker_answer_serial(Worker *w, const char *serial, const Failure *f);
void worker_progress(const Worker *w, uint64_t *ret_done, uint64_t *ret_total);
/* After RECORD_DONE was taken: frees. Its thread may still do its last instructions, and nobody waits for them: what is left of it goes when
 * this is called for another one, or with workers_join_ended(). */
Worker *worker_reap(Worker *w);
void workers_join_ended(void);
/* The same at the end of all, with waiting. */
void workers_join(void);
/* A worker that does not end: leaves the thread alone for good; everything it owns is leaked on purpose. */
void worker_abandon(Worker *w);
