/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "common/macro.h"

/* The one door to SQLite: a thread that owns the database in the state directory (fdld.db, WAL, synchronous=FULL). The main
 * thread queues requests and gets callbacks from store_dispatch(); the worker threads do not know it. Requests are
 * executed in order. A callback gets 0 once the data are on disk, or -errno. */

typedef struct StoreSlot {
        char port[128];            /* ID_PATH of the USB2 side */
        char label[33];
        bool enabled;
        uint64_t passed, failed;
        char last_result[16], last_code[FAILURE_CODE_MAX];
        uint64_t last_job;
        bool listed;               /* belongs to the list of this station's sockets */
        char quarantine[160];      /* "" or why it takes no work */
        uint64_t units, timeouts, resets, garbled; /* what happened there, for good */
        uint64_t rate;             /* bytes/s as usual there, 0 unknown */
        char loaders[65], model[97]; /* what the last unit there was started with, and what it was; "" not known */
        bool passed_and_left;      /* a good unit is in the socket, though not on the bus any more */
        uint64_t bad_links;        /* units in a row that lost their connection */
} StoreSlot;

/* A pair of loaders that a package brought; it stays when the package goes. */
typedef struct StoreLoaders {
        char hash[65];             /* of both loaders and their addresses */
        char family[32], board[128], product[257], storage[16];
        char signature[32];        /* header of the loaders: "dhtb", "uimage", "none"; "a+b" where they differ */
        uint64_t fdl1_address, fdl1_size, fdl2_address, fdl2_size; /* U64_UNKNOWN, 0: a loader alone */
        char digest[65], package_name[256]; /* that brought it first */
        uint64_t added_usec;
} StoreLoaders;

/* How a pair did on one model. */
typedef struct StoreLoaderUse {
        char hash[65], model[97];
        uint64_t worked, failed, last_usec;
        char last_code[FAILURE_CODE_MAX]; /* of the last failure, "" none */
} StoreLoaderUse;
typedef enum LoadersOutcome { LOADERS_UNUSED, LOADERS_WORKED, LOADERS_FAILED } LoadersOutcome;

/* A batch as it is kept: one row, replaced as it moves on. */
typedef struct StoreBatch {
        uint64_t id;
        char name[65], digest[65], package_name[256], profile[65], operator_name[64];
        BatchState state;
        char reason[512];          /* of a pause */
        char slots[16384];         /* ports, lines */
        bool all_slots, armed;
        char policy[2048];         /* station/policy.h, lines */
        uint32_t uid;
        uint64_t created_usec, finished_usec;
        char boot_id[40];          /* of the boot in which it last ran */
        uint64_t passed, failed, skipped;
        char first_article[16];
        char cohort[4096], recent[4096]; /* station/batch.c, lines */
} StoreBatch;

typedef struct StorePackage {
        char digest[65];           /* SHA-256, lower-case hex */
        char name[256];            /* as the client called it */
        uint64_t size, imported_usec;
        uint32_t imported_uid;
} StorePackage;

/* A job as it is kept: one row, replaced as the job moves on. */
typedef struct StoreJob {
        uint64_t id;
        char kind[16];             /* "flash", "import", "probe", "reset" */
        JobState state;
        JobResult result;
        char target_port[128];     /* slot it is bound to, "" any */
        bool target_any;
        char port[128];            /* where it ran */
        char digest[65], package_name[256];
        FlashMode mode;
        uint32_t options;          /* bits, see station/job.h */
        uint32_t uid;
        uint64_t created_usec, started_usec, finished_usec;
        uint64_t bytes_done, bytes_total;
        Stage stage;
        int step, step_count;
        Failure failure;           /* class CLASS_NONE if none */
        char code[FAILURE_CODE_MAX];
        uint64_t retry_of;
        char note[1024];           /* what could not be proven or recorded, lines; nothing personal */
        char operator_name[64];
        uint64_t batch;            /* 0 none */
        char unit[65];             /* chip UID of the unit it ran on, "" not told; personal */
        char choice[1400];         /* flash/choice.h, lines */
        char statistics[512];      /* of a failure: what earlier records say, lines; filled by the store when the job is finished */
        char serial[80];           /* where its serial number comes from (station/serial.h); personal */
} StoreJob;

/* A serial number for the unit of a job. */
typedef struct StoreSerial {
        uint64_t job;
        char value[64];            /* this one; "" the first of the stock that is free */
        char stock[33];            /* "" none */
        uint64_t usec;             /* set by the store */
        char held[64];             /* result: what the job has */
        uint64_t other;            /* -EEXIST: the job that has it, or whose unit has it */
} StoreSerial;

typedef struct StoreBackup {
        char id[33];               /* random, hex: also the file's name in vault/ */
        uint64_t job;
        char port[128], name[40];  /* name: partition, or address as in the plan */
        char sha256[65];
        uint64_t size, usec;
        char unit[96];             /* "chip:UID", or as nv_unit(), of the unit it belongs to; "" not known */
        bool blank;                /* all 00 or all FF: of no use to anybody */
        bool imported;             /* brought in from a file; job and port are of another station then */
} StoreBackup;

/* What a loader has shown of itself (flash/traits.h): one row for each loader and trait, replaced. */
typedef struct StoreTrait {
        char loader[65];           /* SHA-256 of its image */
        char trait[32], value[16];
        uint64_t usec;             /* when it was learned */
} StoreTrait;

/* Name of those whose file was found in the vault without a row, after the database was lost or a commit was broken off: which partition
 * it was nobody knows. Job 0, no port; `unit` where the data themselves tell. They are looked for while the store has nothing else to do. */
#define STORE_RECOVERED "recovered"

/* Empty and 0 mean: whatever. Newest first. */
typedef struct StoreBackupFilter {
        char id[33], unit[96], port[128];
        uint64_t job;
        uint64_t before_usec;      /* older than this: the next page, */
        char after[33];            /* or as old and with an id behind this one */
        unsigned limit;            /* 1 … 1,000 */
} StoreBackupFilter;

/* A partition table that is being changed. */
typedef struct StoreChange {
        char unit[65];             /* chip UID, "" the unit shows none */
        char port[128];
        uint64_t job, usec;
} StoreChange;

typedef struct StoreArea {
        char name[40];
        uint64_t job;              /* that saved it */
        void *data;                /* malloc; the callback may take it (and set it to NULL) */
        size_t size;
} StoreArea;

/* What is kept of one attempt on one unit, for good: numbered, never changed, chained by hash (database-history.c says what the
 * hash is of). The columns are what people search for; `json` is the whole record as one line. Personal: serials and chip. */
typedef struct StoreRecord {
        uint64_t seq;              /* given by the store, 1 … */
        char id[37];               /* unique, for whoever copies records elsewhere */
        uint64_t job, batch;       /* batch 0: none */
        char kind[16], result[16], code[FAILURE_CODE_MAX];
        char port[128], label[33], digest[65];
        char serial[65], serial_seen[65], chip[129];
        uint64_t started_usec, finished_usec;
        char loaders[65], model[97]; /* pair that was used, and on what; "" not known. Not in the hash: both are in the JSON, too */
        LoadersOutcome outcome;    /* counted when the record is added; not read back */
        char *json;                /* malloc */
        char previous[65], hash[65]; /* given by the store */
} StoreRecord;

/* Empty, 0 and U64_UNKNOWN (until) mean: whatever. Newest first, seq < cursor (0: from the newest), or oldest first, seq > cursor. */
typedef struct StoreRecordFilter {
        char serial[65], chip[129];   /* serial: as seen or as written */
        char slot[128];               /* port or label */
        char kind[16], result[16], code[FAILURE_CODE_MAX], digest[65];
        char loaders[65];             /* hash of a pair, or its beginning */
        uint64_t batch, job, since_usec, until_usec; /* by the end of the attempt */
        bool oldest_first;
        uint64_t cursor;
        unsigned limit;               /* 1 … 1,000 */
} StoreRecordFilter;

/* How far the chain was looked at. Start with zeroes; call again with what came back until `done`. */
typedef struct StoreRecordCheck {
        uint64_t seq, checked, pruned; /* last record seen; records that hold; records that were pruned in an orderly way */
        char hash[65];                 /* of the last one seen; at the end the head of the chain */
        bool done;
        uint64_t bad_seq;              /* 0: nothing wrong up to here */
        char problem[160];
} StoreRecordCheck;

/* What a starting daemon finds. Packages include files in packages/ that no row tells of (killed between the two, or the
 * database was lost): their name is made up from the digest, their uid is UINT32_MAX. */
typedef struct StoreSnapshot {
        size_t n_slots, n_packages, n_jobs;
        StoreSlot *slots;
        StorePackage *packages;
        StoreJob *jobs;            /* all unfinished, then the newest 64 finished, by id */
        uint64_t complete_from;    /* every job with this number or a higher one is among them */
        uint64_t next_id;          /* first id that was never handed out */
        size_t n_batches;
        StoreBatch *batches;       /* all unfinished, then the newest 16 finished, by id; units are counted by their records */
        size_t n_traits;
        StoreTrait *traits;
        size_t n_loaders, n_uses;
        StoreLoaders *loaders;
        StoreLoaderUse *uses;      /* the last 10,000 */
} StoreSnapshot;

typedef struct Store Store;
typedef void (*StoreCallback)(int error, void *userdata);

/* Opens or makes the state directory's contents and starts the thread. Before the event loop runs. Only one daemon per
 * directory (flock; -EBUSY). 0; -1 with *e whose text names path, owner and permission needed. A damaged database is moved aside
 * (fdld.db.damaged-<time>), said in *ret_notice (malloc, may be NULL), and a new one begun. */
int store_open(const char *directory, Store **ret, StoreSnapshot *ret_snapshot, char **ret_notice, CallError *e);
void store_snapshot_clear(StoreSnapshot *s);
/* Executes what is queued, then closes. Callbacks that were not dispatched are not called: for those store_sync() and
 * store_dispatch() first. */
Store *store_close(Store *s);
/* Waits until all that was queued before is executed (shutdown and tests: it blocks). Callbacks come from store_dispatch(). */
void store_sync(Store *s);

/* The disk is full: what runs still has a reserve, new work must wait. */
bool store_full(const Store *s);
int store_fd(const Store *s);         /* readable when callbacks wait; for the event loop */
void store_dispatch(Store *s);        /* main thread */

/* All copy their arguments. -ENOBUFS when more than 10,000 requests wait (the callback is not called then), -ENOMEM,
 * -EINVAL for a row that cannot be one (id 0, no port). Callbacks may queue more requests; cb may be NULL. Errors of callbacks:
 * -ENOSPC, -EROFS, -EIO, … The store goes on after each of them and works again once the cause is gone. */
int store_put_job(Store *s, const StoreJob *job, StoreCallback cb, void *userdata);
int store_put_slot(Store *s, const StoreSlot *slot, StoreCallback cb, void *userdata);
int store_put_batch(Store *s, const StoreBatch *batch, StoreCallback cb, void *userdata);
int store_put_trait(Store *s, const StoreTrait *trait, StoreCallback cb, void *userdata);
int store_put_package(Store *s, const StorePackage *package, StoreCallback cb, void *userdata);
int store_put_loaders(Store *s, const StoreLoaders *loaders, StoreCallback cb, void *userdata);
int store_remove_package(Store *s, const char *digest, StoreCallback cb, void *userdata);
int store_put_intent(Store *s, uint64_t job, int step, Stage stage, const char *partition, StoreCallback cb, void *userdata);
/* Moves data (malloc) into vault/<id>: written, synced, renamed, synced; then a row. Write-once. Of `backup` job, port, name and unit
 * count; an unknown unit is taken from the calibration data that the job saves. At most 64 MiB (-EFBIG), not empty. On an error of
 * this call the data stay the caller's. */
int store_put_backup(Store *s, const StoreBackup *backup, void *data, size_t size, StoreCallback cb, void *userdata);
/* The same out of a file of ours, moved on success: all of it, backup->size bytes, whose hash is backup->sha256 (-EIO: it is not). Nothing
 * of it is held in memory. */
int store_put_backup_file(Store *s, const StoreBackup *backup, int fd, StoreCallback cb, void *userdata);
/* Rows are valid within the callback only. */
typedef void (*StoreBackupsCallback)(int error, const StoreBackup *backups, size_t n, void *userdata);
int store_list_backups(Store *s, const StoreBackupFilter *filter, StoreBackupsCallback cb, void *userdata);
/* The bytes, checked against their hash (-EBADMSG: the file is damaged), in a sealed memory file at its beginning. fd is the callback's to
 * close. -ENOENT: no such entry. */
typedef void (*StoreBackupCallback)(int error, const StoreBackup *backup, int fd, void *userdata);
int store_read_backup(Store *s, const char *id, StoreBackupCallback cb, void *userdata);
/* Takes an entry in under the id that it had where it was made. fd: a sealed memory file, moved on success. -EEXIST: it is here already;
 * -EBADMSG: the bytes have another hash; -EBADF: not such a file. */
int store_import_backup(Store *s, const StoreBackup *backup, int fd, StoreCallback cb, void *userdata);
/* Before a job changes a unit's partition table: from then on what it saved is the truth about the unit's own data, until a job on that unit
 * ends well and closes what is open. */
int store_open_change(Store *s, const StoreChange *change, StoreCallback cb, void *userdata);
int store_close_changes(Store *s, const StoreChange *change, StoreCallback cb, void *userdata); /* job does not matter */
/* What open changes of this unit have saved, read from the vault and checked against its hash. Error: a file is missing or damaged. */
typedef void (*StoreAreasCallback)(int error, StoreArea *areas, size_t n, void *userdata);
int store_recall_change(Store *s, const StoreChange *change, StoreAreasCallback cb, void *userdata);
/* The last row of a job and the record of the attempt: both or none. record->json moves to the store if this call succeeds. A second
 * record for the same job is not taken (nor an error). Of a failure, what earlier records say about loaders, slot and unit goes into
 * row and record with it, and comes back in the callback's row. */
typedef void (*StoreFinishCallback)(int error, const StoreJob *job, void *userdata);
int store_finish_job(Store *s, const StoreJob *job, const StoreRecord *record, StoreFinishCallback cb, void *userdata);
/* Rows are valid within the callback only. */
typedef void (*StoreRecordsCallback)(int error, const StoreRecord *records, size_t n, void *userdata);
int store_list_records(Store *s, const StoreRecordFilter *filter, StoreRecordsCallback cb, void *userdata);
/* A slice of the check of the chain: some thousand records, so that nothing urgent waits behind it. */
typedef void (*StoreCheckCallback)(int error, const StoreRecordCheck *check, void *userdata);
int store_check_records(Store *s, const StoreRecordCheck *from, StoreCheckCallback cb, void *userdata);
/* Forgets the oldest records up to the first one that ended at or after `before_usec`, with the rows of their jobs, some thousand at
 * a time: call again while n > 0. A checkpoint keeps the chain whole. */
typedef void (*StorePruneCallback)(int error, uint64_t n, void *userdata);
int store_prune_records(Store *s, uint64_t before_usec, StorePruneCallback cb, void *userdata);
/* Numbers to choose from (firmware/serials.h); the same text is the same stock. `id`: 32 hex digits. */
int store_put_stock(Store *s, const char *id, const char *text, StoreCallback cb, void *userdata);
/* Held for the job until its last row is written: used for good if it is done, else free again. Asked again for the same job it gives the
 * same. -EEXIST: the value is taken; -ENODATA: the stock is used up; -ENOENT: there is no such stock; -EBUSY: the job has another. */
typedef void (*StoreSerialCallback)(int error, const StoreSerial *serial, void *userdata);
int store_reserve_serial(Store *s, const StoreSerial *serial, StoreSerialCallback cb, void *userdata);
/* Ids in durable blocks (n 1 … 1,000,000): the range [*first, *first+n) is on disk as handed out when the callback runs with it. */
int store_reserve_ids(Store *s, unsigned n, void (*cb)(int error, uint64_t first, unsigned n, void *userdata), void *userdata);
/* A finished or old job by id, for GetJob and the paged ListJobs. Rows newest first, id < before (0 = newest), at most 1,000.
 * Rows are valid within the callback only. An unknown id gives -ENOENT. */
typedef void (*StoreJobsCallback)(int error, const StoreJob *jobs, size_t n, void *userdata);
int store_list_jobs(Store *s, uint64_t before, unsigned limit, StoreJobsCallback cb, void *userdata);
int store_get_job(Store *s, uint64_t id, StoreJobsCallback cb, void *userdata);
