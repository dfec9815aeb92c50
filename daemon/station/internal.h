/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/soft-entry.h"
#include "common/log.h"
#include "common/mapped-file.h"
#include "common/pool.h"
#include "flash/patience.h"
#include "flash/worker.h"
#include "hotplug.h"
#include "station/batch.h"
#include "station/profile.h"
#include "station/settings.h"
#include "station/station.h"
#include "store/package-store.h"
#include "store/store.h"

/* Shared by the files of station/ only. */

#define JOBS_UNFINISHED_MAX 20000
#define JOBS_FINISHED_KEPT 64
#define EXPORTED_QUEUED 64
#define EXPORTED_WAITING 256 /* ten thousand objects in one answer would stop the loop */
#define DRAFTS_MAX 1024 /* each user has a limit of his own, far below */
#define IMPORTS_MAX 32
#define DEVICES_MAX 512
#define SLOTS_MAX 1024
#define ID_BLOCK 1000
#define ID_LOW 500
#define JOB_HASH 1024
#define TICK_USEC 250000ULL
#define PROGRESS_AT_A_TICK 16U /* of so many jobs at most */
#define RATE_SAMPLES 21 /* at 4 Hz: 5 s */
#define HUNG_MARGIN_MS 30000U
#define HUNG_GRACE_USEC 10000000ULL
#define IMPORT_STALL_USEC 60000000ULL

typedef struct PlanCache PlanCache;
typedef struct JobSteps JobSteps; /* station/steps-internal.h */
typedef struct KnownLoader KnownLoader; /* station/traits.c */
typedef struct JobTrail JobTrail; /* station/trail.h */
/* Plans of one package for one set of options. `plan` is what jobs and clients look at; `spare` waits to be moved into
 * the next worker, so that nothing has to be computed when a device appears. */
struct PlanCache {
        PlanOptions options;
        Plan *plan, *spare;
        unsigned users;
        PlanCache *next;
};

/* Where a unit may be held before it goes on (schedule.c). */
typedef enum Gate { GATE_NONE, GATE_LOAD, GATE_EXEC, GATE_WRITE } Gate;

#define CONTROLLER_WRITERS 64
typedef struct Controller {
        char name[64];                    /* what stands before "usb-" in the ports */
        double rate[CONTROLLER_WRITERS];  /* bytes/s of all writers together, by their number */
        uint64_t seen_usec[CONTROLLER_WRITERS]; /* when that was last so; CLOCK_MONOTONIC */
        uint64_t next_exec_usec;          /* CLOCK_MONOTONIC */
        unsigned warned_of;
} Controller;

/* How long the last good units with a package took in a stage. */
typedef struct StageTimes {
        char digest[65];
        Stage stage;
        uint64_t usec[16], used_usec;
        unsigned n;
} StageTimes;

/* What only station/ needs to know of a job. */
typedef struct JobRun {
        TargetKind target;
        uint64_t want_device; /* runs on this appearance only, touched or not; 0: the next unit */
        bool follow_slot;     /* when want_device leaves: wait for what comes next to the slot */
        bool needs_replug;    /* the unit in the socket cannot be used before it was without power */
        PlanCache *cache;
        Plan *own_plan; /* probe and reset */
        bool power_off;
        JobSteps *steps;                   /* what a job made of steps is; NULL for others */
        bool preparing;                    /* its files are being copied */
        Worker *worker;
        ImportTask *import;
        uint64_t first_device;             /* appearance that the worker knows */
        char port[128];                    /* where it ran */
        bool talked;                       /* the device may have seen bytes */
        bool destructive;                  /* a step that changes flash may be running */
        bool wrote;                        /* such a step was begun at some time */
        bool queued;                       /* in the queue */
        bool announced;                    /* counted */
        unsigned held;                     /* records of the worker that wait for the disk */
        BslDeadlines deadlines;            /* that its worker was given */
        uint32_t limit_ms, erase_limit_ms; /* longest silence that the deadlines explain */
        Job *active_next;
        sd_event_source *expect; /* waits for re-enumeration */
        uint64_t link_since_usec; /* at work at its device since, CLOCK_MONOTONIC */
        uint64_t active_usec;    /* last sign of life, CLOCK_MONOTONIC */
        uint64_t hung_usec;      /* cancelled because there was none, 0 no */
        JobTrail *trail;         /* what its record will tell; NULL before it met a device */
        char unit[65];           /* chip UID of the unit it runs on, as far as it told */
        char model[97];          /* what the unit is, as far as anybody says */
        bool model_known;        /* it is a product, not only an USB id */
        bool loaders_started;    /* the last loader answered after this job had sent it */
        LoadersOutcome loaders_outcome;
        char loaders[65];        /* pair that was used, for the record */
        char serial[SERIAL_SOURCE_MAX]; /* station/serial.h */
        bool serial_pending;     /* its own number is not yet known to be free */
        bool asking, answering;  /* its worker waits for a serial number; one that somebody said is being checked */
        unsigned serial_max;
        uint64_t asking_usec;    /* since then */
        sd_event_source *answer_timer;
        int change_error;        /* why a change of the table could not be opened on disk */
        bool table_open;         /* a change of the unit's table is open, by this job or by one before */
        bool concluding;         /* over; the row is on its way to the disk */
        JobResult result;
        JobResult verdict;       /* decided here before the worker ended: skipped, or failed with verdict_failure */
        Failure verdict_failure;
        bool changed_flash;      /* a GO was given */
        Gate gate;               /* where it waits */
        uint64_t gate_usec, waited_usec; /* since when; in all in this stage */
        bool writing;            /* has its place among the writers */
        char *log;               /* last lines, malloc, NULL none */
        unsigned smaller_blocks; /* halve the blocks so often: the last attempts were garbled */
        uint64_t samples[RATE_SAMPLES], sample_usec[RATE_SAMPLES];
        unsigned n_samples;
        bool progress_untold;
} JobRun;

/* A socket in which a job was running when the daemon ended. */
typedef struct InterruptedPort {
        char port[128];
        uint64_t started_usec, job, batch;
        char digest[65]; /* of its package, if the last loader of that had told who the unit is; else "" */
} InterruptedPort;

struct Station {
        sd_event *event;
        Settings settings;
        StationLoader load;
        void *load_userdata;
        char directory[512];
        Store *store;
        PackageStore *package_store;
        Pool *pool;
        Mailbox *mailbox;
        Hotplug *hotplug;
        sd_event_source *store_source, *pool_source, *mailbox_source, *hotplug_source, *tick, *probe;
        StationObserver observer;
        Device *devices;
        Slot *slots;
        Package *packages;
        struct LoaderPair *loaders; /* station/loaders.c */
        StoreLoaderUse *uses;
        size_t n_uses;
        Batch *batches;
        char boot_id[40];
        Controller controllers[16];
        size_t n_controllers;
        StageTimes times[64];
        sd_event_source *gate_timer, *tidy_timer;
        KnownLoader *known_loaders;
        Job *jobs, *jobs_tail; /* by id */
        Job *job_hash[JOB_HASH];
        Job *queue, *queue_tail;       /* submitted, not started, in the order of submission */
        Job *finished, *finished_tail; /* in the order of finishing */
        uint64_t complete_from;        /* every job with this number or a higher one is in memory */
        Job *active;                   /* with a worker or an import task */
        unsigned n_known_loaders, n_devices, n_slots, n_unfinished, n_drafts, n_imports, n_exports, n_finished, n_running, n_queued, n_active, n_ticks;
        unsigned inhibited;
        bool started, enumerated, stopping;
        bool queue_busy, queue_again; /* queue_run() does not call itself */
        uint64_t next_device;
        uint64_t id_next, id_end, id2_next, id2_end; /* two durable blocks */
        bool id_pending;
        int store_error; /* of the last write, 0 good */
        bool store_probing;
        unsigned writes_pending;
        unsigned backups_in_store;  /* given to the store, no word yet */
        struct WaitingBackup *waiting_backups; /* there was no room in the store */
        void (*stopped)(void *userdata);
        void *stopped_userdata;
        sd_event_source *stopped_source;
        struct Evidence *evidence;
        InterruptedPort *interrupted_ports; /* found at start */
        size_t n_interrupted_ports;
};

uint64_t now_realtime(void);
uint64_t now_monotonic(void);
/* Copies text for people: broken UTF-8, control and bidi characters become "_"; cut between characters. */
void text_clean(char *ret, size_t size, const char *text);

/* station.c */
void notify_added(Station *s, ObjectKind kind, void *object);
void notify_removed(Station *s, ObjectKind kind, void *object);
void notify_changed(Station *s, ObjectKind kind, void *object, const char *const *properties);
#define NOTIFY(station, kind, object, ...)                                                                             \
        notify_changed((station), (kind), (object), (const char *const[]){__VA_ARGS__, NULL})
void station_check_stopped(Station *s);
/* Refuses new work while nothing can be recorded. 0; -1 with *e. */
int station_check_store(Station *s, CallError *e);
void station_note_write(Station *s, int error);
uint64_t station_take_id(Station *s); /* 0: none on disk at the moment */

/* device.c */
void device_event(void *userdata, bool added, const HotplugDevice *d);
void device_enter_state(Device *d, DeviceState state);
void device_set_mode(Device *d, const char *mode);
void device_set_stage(Device *d, Stage stage);
void device_fact(Device *d, const char *key, const char *value);
void device_clear_facts(Device *d);
void device_classify_all(Station *s);
void device_free_all(Station *s);
UsbTarget device_target(const Device *d);
/* A running system that the settings allow to be asked for download mode; NULL: not this one. */
const SoftEntry *device_soft_entry(const Device *d);

/* slot.c */
Slot *slot_find_or_new(Station *s, const char *port);
void slot_restore(Station *s, const StoreSlot *row);
void slot_update(Slot *slot); /* computes state, job and safety and tells who must know */
void slot_count(Slot *slot, const Job *job, JobResult result);
/* Whether a good unit is in the socket that its own reset took off the bus; survives a restart. */
void slot_set_left(Slot *slot, bool passed_and_left);
void slot_note_interrupted(Slot *slot, const char *code);
void slot_free_all(Station *s);

/* tidy.c: after a job: some time later what it left behind is given back, if nobody needs it then; any number of calls. */
void tidy_later(Station *s);
/* What is mapped of a package at once, and the reference with it. */
MappedFile *tidy_drop(Station *s, MappedFile *m);

/* package.c */
void package_restore(Station *s, const StorePackage *row);
void package_verify_next(Station *s);
void package_free_all(Station *s);
/* What the caller leaves open is taken from the settings. */
PlanOptions plan_options_complete(const Station *s, const PlanOptions *options);
int package_plan(Package *p, const PlanOptions *options, PlanCache **ret, CallError *e);
PlanCache *plan_cache_unref(Package *p, PlanCache *c);
Plan *plan_cache_take(Package *p, PlanCache *c);
void plan_cache_refill(Package *p, PlanCache *c);
void import_cancel(Job *job);

/* job.c */
Job *job_new(Station *s, uint64_t id, const char *kind);
Job *job_free(Job *job);
void job_enter_state(Job *job, JobState state);
void job_set_action(Job *job, const char *action);
void job_export(Job *job);
void job_note(Job *job, const char *text);
void job_note_open_table(Job *job);
/* The job is over: frees what it held, writes the row; finished once that is on disk. *f may be NULL. */
void job_conclude(Job *job, JobResult result, const Failure *f);
void job_put_row(Job *job);
void job_restore(Station *s, const StoreJob *row);
void job_bind_package(Job *job, Package *p);
const Plan *job_plan(const Job *job);
void job_free_all(Station *s);
/* A restored job gets its plan once its package is verified (or fails). */
void job_package_ready(Package *p);

/* batch.c */
void batch_restore(Station *s, const StoreBatch *row);
void batch_package_ready(Package *p);
void batch_slot_added(Slot *slot);
void batch_free_all(Station *s);
/* Should the batch of this slot begin with this device now? */
bool batch_wants(const Device *d);
void batch_start_unit(Device *d);
void batch_job_fact(Job *job, const char *key, const char *value);
void batch_job_ended(Job *job, JobResult result);
bool batch_lets_load(Job *job);
void batch_park(Job *job);
/* Sooner than anybody could have put another one there. */
bool device_came_back(const Device *d);
/* schedule.c */
void schedule_wait(Job *job, Gate gate);
void schedule_run(Station *s);
void schedule_learn(Station *s);
void schedule_device_added(const Device *d);
void schedule_unit_passed(const Job *job);
void schedule_check_straggler(Job *job);
/* run.c: what waited for its place among the writers may write */
void job_go_write(Job *job);
/* slot.c */
bool slot_usable(const Slot *slot); /* enabled, listed, not in quarantine */
int slot_check_listed(const Slot *slot, CallError *e); /* -1 if there is a list of sockets, and it is not one of them: work would wait for ever */
/* surroundings.c: before a job at a device is concluded; may add to *f what is seen around the device */
void surroundings_note(Job *job, Failure *f);
/* return.c: a unit was flashed and restarted here (before its device is let go); a device has appeared: is it back in download mode? */
void return_expect(Slot *slot, const Job *job);
void return_note(Device *d);
/* The job was told which unit it has. */
void return_unit_known(Job *job);
/* ledger.c */
void slot_note_link(Slot *slot, const Job *job, JobResult result);
void slot_update_health(Slot *slot);

/* queue.c */
bool queue_may_start(const Station *s);
void queue_add(Job *job);
void queue_remove(Job *job);
void queue_run(Station *s);
int queue_new_job(Station *s, const char *kind, const Target *target, uint32_t uid, Job **ret, CallError *e);
bool device_usable(const Device *d, const Job *job);

/* run.c */
int job_start(Job *job, Device *d);
int mailbox_event(sd_event_source *source, int fd, uint32_t events, void *userdata);
void job_device_arrived(Job *job, Device *d);
void job_device_left(Job *job, Device *d);
void job_request_cancel(Job *job);
void tick_update(Station *s);
void active_add(Job *job);
void active_remove(Job *job);
Job *job_find_active(Station *s, uint64_t id); /* with a worker or an import task */

/* traits.c: what loaders have shown of themselves, by the SHA-256 of their image ("" none) */
void station_loader_traits(const Station *s, const char *loader, LoaderTraits *ret);
void station_loader_learned(Station *s, const char *loader, const char *trait, const char *value);
void traits_fact(Job *job, const char *text);
void traits_restore(Station *s, const StoreTrait *row);
void traits_free_all(Station *s);

/* job-log.c; NULL: no longer */
void job_log_listen(Station *s);

/* change.c: partition tables that are being changed */
int change_open(Job *job); /* queued before the intent: on disk with it */
void change_recall(Job *job, const char *unit);
void change_close(Job *job); /* it ended well */
void station_free_waiting_backups(Station *s);
int small_plan(bool reset, bool power_off, bool pdl, Plan **ret);
