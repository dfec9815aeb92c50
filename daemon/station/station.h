/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "common/failure.h"
#include "firmware/pac.h"
#include "flash/engine.h"
#include "flash/plan.h"

/* All state of the daemon: devices, slots, packages, jobs and the queue. Main thread only. It knows nothing of D-Bus:
 * whoever shows it (bus/) registers an observer and reads the structs below; changes go through the functions below.
 * Strings are clean UTF-8. Structs may be read directly; only station/ writes them. */

typedef struct Station Station;
typedef struct Device Device;
typedef struct Slot Slot;
typedef struct Package Package;
typedef struct Job Job;
typedef struct Batch Batch;     /* station/batch.h */
typedef struct Profile Profile; /* station/profile.h */

typedef struct DeviceFact {
        char key[32], value[512];
} DeviceFact;

/* One appearance of a device on the bus; never reused. */
struct Device {
        Station *station;
        uint64_t number; /* object path …/devices/_N */
        char sysfs[256], devnode[64];
        uint16_t vendor, product;
        uint8_t busnum, devnum;
        char speed[16]; /* "480" as sysfs says */
        char hub_speed[16]; /* of what it hangs on, "" not known */
        char port[128]; /* ID_PATH */
        Slot *slot;
        const char *mode; /* "brom" "fdl1" "fdl2" "pdl" "unknown" "not-boot" */
        DeviceState state;
        Stage stage; /* STAGE_INVALID none */
        char loader_version[96], chip[64];
        Job *job;         /* running on it */
        char *partitions; /* live table as JSON-free text lines "name size", NULL unknown */
        uint64_t appeared_usec, appeared_mono; /* CLOCK_REALTIME, CLOCK_MONOTONIC */
        size_t n_facts; /* what jobs learned: "chip-uid", "storage", "identity"; personal, not for properties */
        DeviceFact facts[12];
        /* the rest is of station/ alone */
        uint64_t last_job;
        bool acted_on, touched,
                broken;    /* touched: a job used this unit; broken: and left a session that only power ends */
        bool leaving;      /* restarted or switched off: nothing can be done with it before it was off the bus */
        uint64_t since_usec; /* on the bus since, CLOCK_MONOTONIC, as far as anybody knows */
        JobResult outcome; /* of the last flash job on it */
        uint64_t initialized_usec, passed_usec; /* CLOCK_MONOTONIC */
        bool fits, announced;
        uint64_t late_job, late_usec; /* it came back so long after that job had given up waiting for it; 0 no */
        uint64_t back_job;    /* it stood in download mode as soon as that job had restarted a unit in this socket, 0 no */
        EngineResting resting; /* the loader that our last job has left in good order */
        bool resumable; /* found at start, with work of ours that was interrupted */
        char left[65];  /* that work was with this package, and its last loader had told who the unit is; "" no */
        Device *next;
};

struct Slot {
        Station *station;
        char port[128], label[33];
        bool enabled;
        SlotState state;
        Device *device;
        Job *job; /* running, else the next that waits for this slot */
        uint64_t passed, failed;
        char last_result[16], last_code[FAILURE_CODE_MAX];
        bool safe_to_unplug; /* no flash is being changed there now */
        bool listed;         /* of the station's sockets; once there are such, the others are left alone */
        Batch *batch;        /* that flashes what appears here, NULL none */
        char quarantine[160]; /* "" or why it takes no work until a person looked */
        char action[16];     /* what a person has to do here: "" "plug-in" "unplug" "replug" "clear" "confirm" */
        const char *health;  /* "unknown" "good" "suspect" "bad" */
        uint64_t link_failed_usec, link_good_usec;   /* when a job lost its device here last, or ended without that; CLOCK_MONOTONIC, 0 never */
        uint64_t units, timeouts, resets, garbled; /* what happened here, for good */
        char loaders[65], model[97]; /* what the last unit here was started with, and what it was; "" not known */
        uint64_t rate;       /* bytes/s as usual here, 0 unknown */
        /* the rest is of station/ alone */
        bool wedged, passed_and_left; /* passed_and_left: its reset took the unit off the bus; still a good unit in the
                                         socket */
        uint64_t wedged_job;
        unsigned attempts, garbled_attempts; /* of the batch, on what is likely one unit */
        unsigned bad_links;                  /* failures of the link in a row */
        uint64_t retry_of, left_usec;        /* the job that the next unit repeats; when the last device left */
        unsigned quick_failures; /* of what came back by itself */
        bool retry_now, parked;
        uint64_t reset_job;      /* has flashed and restarted the unit here, and nothing has appeared since; 0 none */
        bool reset_first_stage;  /* that job, or the one before, wrote the first boot stage */
        uint64_t gave_up_job, gave_up_usec; /* of a re-enumeration whose deadline passed, 0 none; CLOCK_MONOTONIC */
        Device *shown_device;
        Job *running;
        Slot *next;
};

struct Package {
        Station *station;
        char digest[65], name[256];
        Pac *pac;          /* NULL until verified at start */
        char problem[256]; /* "" or why it cannot be used (damaged content, no memory) */
        struct LoaderPair *loaders; /* station/loaders.h; NULL until verified */
        uint64_t size, imported_usec;
        uint32_t imported_uid;
        unsigned users; /* jobs that are not finished */
        /* the rest is of station/ alone */
        struct MappedFile *map;
        struct PlanCache *plans;
        bool verifying;
        Package *next;
};

struct Job {
        Station *station;
        uint64_t id;
        char kind[16];
        JobState state;
        JobResult result;
        Slot *slot;       /* NULL: any */
        Device *device;   /* while bound */
        Package *package; /* may be NULL */
        char digest[65], package_name[256];
        PlanOptions options;
        Plan *plan;  /* NULL for imports and for restored finished jobs */
        Stage stage; /* STAGE_INVALID none */
        int step, step_count;
        char partition[40];
        uint64_t bytes_done, bytes_total, rate; /* rate: bytes/s over the last 5 s, 0 stalled */
        uint64_t expected_end_usec;             /* U64_UNKNOWN unknown */
        double progress;                        /* 0..1, never falls */
        bool progress_valid, cancelable;
        bool exported; /* among the objects of ObjectManager: `added` was called for it and `removed` not yet */
        Failure failure;
        char code[FAILURE_CODE_MAX];
        char user_action[32]; /* "" none; "plug-in" while it waits for a device; "unplug"; "replug"; "serial-number" */
        uint64_t answer_by_usec; /* the answer must have come by then (CLOCK_REALTIME), U64_UNKNOWN no limit */
        char verified[12];    /* the level of verification that was reached, "" not yet or not known any more */
        char note[1024];      /* "" or what could not be proven or recorded, plain text, lines */
        char statistics[512]; /* of a failure: what earlier records say, lines */
        uint64_t created_usec, started_usec, finished_usec;
        uint32_t uid;
        char operator_name[64]; /* who stands at the station, as the caller says; "" not told */
        uint64_t retry_of;
        uint64_t batch;         /* 0 none */
        bool straggler;         /* much slower than its cohort */
        unsigned retries;       /* what was sent or written once more in it */
        Job *next;
        /* the rest is of station/ alone */
        struct JobRun *run;
        Job *prev, *hash_next, *queue_next, *queue_prev, *finished_next;
};

typedef enum ObjectKind { OBJECT_STATION, OBJECT_DEVICE, OBJECT_SLOT, OBJECT_PACKAGE, OBJECT_PROFILE, OBJECT_BATCH, OBJECT_JOB } ObjectKind;

/* Called on the main thread, after the fact. Jobs: `added` and `removed` follow Job.exported (running and waiting ones,
 * the next 64 queued, the last 64 finished); `changed` comes for exported jobs only. A job that is not exported is
 * found by station_find_job() as long as it is in memory. `removed` is the last moment at which the object may be used.
 * `properties`: NULL-terminated names as on the bus ("State", "Stage"). Progress properties come together and at most 4
 * times a second for each job, less often where more than 16 run. */
typedef struct StationObserver {
        void (*added)(void *userdata, ObjectKind kind, void *object);
        void (*removed)(void *userdata, ObjectKind kind, void *object);
        void (*changed)(void *userdata, ObjectKind kind, void *object, const char *const *properties);
        void (*job_finished)(void *userdata, Job *job);
        void (*user_action)(void *userdata, Job *job, const char *action);
        /* A device in boot mode came and left again without a word: its boot key was not held. */
        void (*left_early)(void *userdata, Slot *slot, uint64_t lived_usec);
        void *userdata;
        /* A line of a job's log; it ends with a newline. */
        void (*job_log)(void *userdata, Job *job, const char *line);
} StationObserver;

typedef struct Settings Settings; /* station/settings.h: fdld.conf */

/* Opens the store, restores what survived (running jobs become interrupted), prepares hotplug. */
int station_new(sd_event *event, const Settings *settings, const char *state_directory, Station **ret, CallError *e);
Station *station_free(Station *s);
void station_set_observer(Station *s, const StationObserver *observer); /* copied; NULL: none any more */
/* Starts hotplug (enumerate and monitor) and the queue; after the observer is set. */
int station_start(Station *s, CallError *e);
/* SIGTERM: no new work; harmless jobs are cancelled, destructive steps finish. Calls fn when all is still. */
void station_stop(Station *s, void (*fn)(void *userdata), void *userdata);
/* Reads the settings again with what station_set_loader() was given. New jobs use them. */
int station_reload(Station *s, CallError *e);
typedef int (*StationLoader)(void *userdata, Settings *ret, CallError *e);
void station_set_loader(Station *s, StationLoader load, void *userdata);
/* Slots in which flash may be changing now; for STATUS and EXTEND_TIMEOUT. */
unsigned station_jobs_destructive(const Station *s);

Device *station_devices(Station *s);
Slot *station_slots(Station *s);
Package *station_packages(Station *s);
Job *station_jobs(Station *s);              /* in memory: unfinished and lately finished, by id */
const char *station_name(const Station *s); /* [Station] Name=, clean UTF-8 */
struct UserLimits;
const struct UserLimits *station_limits(const Station *s); /* station/settings.h */
unsigned station_batches_running(const Station *s);
/* Every job with this number or a higher one is in memory; of the others only some. */
uint64_t station_complete_from(const Station *s);
unsigned station_jobs_running(const Station *s);
unsigned station_jobs_queued(const Station *s);
Device *station_find_device(Station *s, uint64_t number);
Device *station_find_device_by_sysfs(Station *s, const char *sysfs);
Slot *station_find_slot(Station *s, const char *port);
/* Finds or creates (GetSlotByPort). NULL with *e for a port that cannot be one. */
Slot *station_need_slot(Station *s, const char *port, CallError *e);
Package *station_find_package(Station *s, const char *digest);
Job *station_find_job(Station *s, uint64_t id);

typedef enum TargetKind { TARGET_ANY, TARGET_SLOT, TARGET_DEVICE } TargetKind;
typedef struct Target {
        TargetKind kind;
        Slot *slot;
        Device *device;
} Target;

/* What a caller says of the serial number that the unit shall get; valid during the call. */
typedef struct SerialWish {
        const char *serial;  /* this one; NULL or "" not said */
        const char *serials; /* one of these (firmware/serials.h), or "ask" */
} SerialWish;
#define SERIAL_SOURCE_MAX 80
#define USER_ACTION_SERIAL "serial-number"

/* Start functions: 0 and a job that exists; -1 with *e and nothing changed. */
int station_import(Station *s, int fd /* moved */, const char *name, uint32_t uid, Job **ret, CallError *e);
int station_flash_as(Station *s, const Target *target, Package *package, const PlanOptions *options, const SerialWish *wish,
                     uint32_t uid, Job **ret, CallError *e);
static inline int station_flash(Station *s, const Target *target, Package *package, const PlanOptions *options, uint32_t uid,
                                Job **ret, CallError *e) {
        return station_flash_as(s, target, package, options, NULL, uid, ret, e);
}
int station_probe(Station *s, Device *device, uint32_t uid, Job **ret, CallError *e);
int station_reset(Station *s, Device *device, bool power_off, uint32_t uid, Job **ret, CallError *e);
/* Drafts: made by CreateJob, started by Submit, dropped when their owner leaves the bus (the bus calls job_discard). */
int station_draft_as(Station *s, const char *kind, const Target *target, Package *package, const PlanOptions *options,
                     const SerialWish *wish, uint32_t uid, Job **ret, CallError *e);
static inline int station_draft(Station *s, const char *kind, const Target *target, Package *package, const PlanOptions *options,
                                uint32_t uid, Job **ret, CallError *e) {
        return station_draft_as(s, kind, target, package, options, NULL, uid, ret, e);
}
void job_add_note(Job *job, const char *text); /* for people, in its record */
int job_submit(Job *job, CallError *e);
void job_discard(Job *job);
int job_cancel(Job *job, CallError *e); /* accepted, not over */
int job_retry(Job *job, uint32_t uid, Job **ret, CallError *e);
/* 0: answered; 1: fn will be called, with NULL or what is wrong with the answer; -1 with *e. `value`: NULL none. */
typedef void (*JobAnswered)(const CallError *e, void *userdata);
int job_answer(Job *job, const char *action, const char *value, JobAnswered fn, void *userdata, CallError *e);
/* Who stands at the station, for the record; clean text of at most 63 bytes. */
void job_set_operator(Job *job, const char *name);

int station_plan(Station *s, Package *package, const PlanOptions *options, Plan **ret, CallError *e);
int package_remove(Package *package, CallError *e);
int slot_set_label(Slot *slot, const char *label, CallError *e);
int slot_set_enabled(Slot *slot, bool enabled, CallError *e);
int slot_reset_counters(Slot *slot, CallError *e);
int slot_clear_wedged(Slot *slot, CallError *e);

/* The last lines of the job's log, "" none. */
const char *job_log(const Job *job);
/* What a job and its device say to each other, or said before it failed (client/fdlctl: trace). */
bool station_has_evidence(const Station *s, uint64_t job);
/* fd: a sealed memory file with the text, the callee's; or error: -ENOENT nothing is kept of this job, -errno. -EBUSY and others at once. */
typedef void (*StationTraceFunc)(int error, int fd, void *userdata);
int station_trace(Station *s, uint64_t job, StationTraceFunc fn, void *userdata);

/* The stages of a job that met a device, in the order in which they were first entered: how long and how many bytes in all, and how
 * often. Returns how many; none of a job that only its record knows. */
typedef struct JobStage {
        Stage stage;
        uint64_t usec, bytes;
        unsigned times;
} JobStage;
size_t job_stages(const Job *job, JobStage ret[static STAGE_MAX]);
static inline uint64_t job_duration_usec(const Job *job) { /* of the work itself, 0 not known */
        return job->started_usec > 0 && job->finished_usec > job->started_usec ? job->finished_usec - job->started_usec : 0;
}

/* Inhibit: while at least one lease is held no new job starts. */
void station_inhibit(Station *s);
void station_uninhibit(Station *s);

/* Finished jobs that are no longer in memory. `rows` are StoreJob of store/store.h. */
struct StoreJob;
typedef void (*StationJobsFunc)(int error, const struct StoreJob *jobs, size_t n, void *userdata);
int station_list_old_jobs(Station *s, uint64_t before, unsigned limit, StationJobsFunc fn, void *userdata);
