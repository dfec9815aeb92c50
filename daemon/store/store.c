/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "common/file-io.h"
#include "common/hex.h"
#include "common/mapped-file.h"
#include "firmware/digest.h"
#include "firmware/nv.h"
#include "store/database.h"
#include "store/reserve.h"
#include "store/state-directory.h"

#define WAITING_MAX 10000
#define BATCH_MAX 256    /* requests of one transaction */
#define DISPATCH_MAX 256 /* callbacks of one dispatch: the loop has other work too */
#define LIST_MAX 1000
#define IDS_MAX 1000000
#define VAULT_FILE_MAX ((size_t) 64 * 1024 * 1024)
#define VAULT_WAITING_MAX ((size_t) 256 * 1024 * 1024)
#define NEXT_ID_NAME "next-id"

typedef enum RequestKind {
        REQUEST_PUT, /* a row into a table */
        REQUEST_REMOVE_PACKAGE,
        REQUEST_BACKUP,
        REQUEST_IDS,
        REQUEST_LIST_JOBS,
        REQUEST_GET_JOB,
        REQUEST_FINISH_JOB, /* the last row and the record */
        REQUEST_LIST_RECORDS,
        REQUEST_CHECK_RECORDS,
        REQUEST_PRUNE_RECORDS,
        REQUEST_OPEN_CHANGE,
        REQUEST_CLOSE_CHANGES,
        REQUEST_RECALL_CHANGE,
        REQUEST_LIST_BACKUPS,
        REQUEST_READ_BACKUP,
        REQUEST_IMPORT_BACKUP,
        REQUEST_STOCK,
        REQUEST_SERIAL,
} RequestKind;

typedef struct Request Request;
struct Request {
        Request *next;
        RequestKind kind;
        TableId table;
        union {
                StoreJob job;
                StoreSlot slot;
                StorePackage package;
                StoreIntent intent;
                StoreBackup backup;
                StoreTrait trait;
                StoreLoaders loaders;
        } row;
        void *data; /* of a backup; a row that is too large for `row` */
        size_t size;
        bool in_vault;
        uint64_t first; /* ids: of the block; list: before; get: id */
        unsigned n;
        StoreCallback cb;
        StoreFinishCallback finish_cb;
        void (*ids_cb)(int error, uint64_t first, unsigned n, void *userdata);
        StoreJobsCallback jobs_cb;
        void *userdata;
        int result;
        StoreJob *jobs;
        size_t n_jobs;
        /* of the history */
        StoreRecord *records; /* to be added, or what was found */
        size_t n_records;
        StoreRecordFilter filter;
        StoreRecordCheck check;
        StoreRecordsCallback records_cb;
        StoreCheckCallback check_cb;
        StorePruneCallback prune_cb;
        /* of changes of the partition table */
        StoreChange change;
        StoreArea *areas;
        size_t n_areas;
        StoreAreasCallback areas_cb;
        /* of the vault */
        StoreBackupFilter backup_filter;
        StoreBackup *backups;
        size_t n_backups;
        int fd;
        StoreBackupsCallback backups_cb;
        StoreBackupCallback backup_cb;
        /* of serial numbers */
        StoreSerial serial;
        StoreSerialCallback serial_cb;
};

typedef struct RequestList {
        Request *first, *last;
} RequestList;

struct Store {
        /* Set before the thread starts. */
        int dir_fd, vault_fd, lock_fd, event_fd;
        pthread_t thread;
        /* Of the store thread. */
        Database *db;
        uint64_t next_id;
        DIR *vault; /* where the search for files without a row stands, NULL done */
        atomic_bool full; /* also read by the main thread */
        bool rested;      /* there was nothing to do, and what is not needed for that was given back */
        /* Under the mutex. */
        pthread_mutex_t mutex;
        pthread_cond_t work, idle;
        RequestList waiting, done;
        size_t n_outstanding, vault_bytes; /* queued, running or not yet dispatched */
        bool busy, closing;
};

static uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static void list_append(RequestList *l, Request *r) {
        r->next = NULL;
        if (l->last)
                l->last->next = r;
        else
                l->first = r;
        l->last = r;
}

static Request *list_pop(RequestList *l) {
        Request *r = l->first;

        if (!r)
                return NULL;
        l->first = r->next;
        if (!l->first)
                l->last = NULL;
        r->next = NULL;
        return r;
}

static void areas_free(Request *r) {
        for (size_t i = 0; i < r->n_areas; i++)
                free(r->areas[i].data);
        free(TAKE_PTR(r->areas));
        r->n_areas = 0;
}

static void request_free(Request *r) {
        areas_free(r);
        free(r->data);
        free(r->jobs);
        records_free(r->records, r->n_records);
        free(r->backups);
        if (r->fd >= 0)
                close(r->fd);
        free(r);
}

static void wake_main(Store *s) {
        uint64_t one = 1;

        /* Fails only if the counter is full, and then the descriptor is readable anyway. */
        (void) !write(s->event_fd, &one, sizeof(one));
}

/* ---- the store thread: single requests ---- */

/* A unit that shows no identity of its own is known by what its calibration data say. */
static void note_contents(StoreBackup *b, const void *data, size_t size) {
        b->blank = nv_blank(data, size);
        if (b->unit[0])
                return;
        if (!nv_unit(data, size, b->unit))
                b->unit[0] = '\0';
}

static int keep_data(Store *s, Request *r) {
        StoreBackup *b = &r->row.backup;
        int e;

        note_contents(b, r->data, r->size);
        e = digest_hex(r->data, r->size, b->sha256);
        return e == 0 ? state_file_write(s->vault_fd, b->id, 0600, r->data, r->size, false) : e;
}

/* What the disk gives back must be what was read out of the unit. */
static int keep_spooled(Store *s, Request *r) {
        _cleanup_(mapped_file_unrefp) MappedFile *m = NULL;
        StoreBackup *b = &r->row.backup;
        char sha256[65];
        int fd = fcntl(r->fd, F_DUPFD_CLOEXEC, 3), e;

        if (fd < 0)
                return -errno;
        e = mapped_file_take(fd, &m);
        if (e < 0) {
                close(fd);
                return e;
        }
        if (mapped_file_size(m) != b->size)
                return -EIO;
        e = digest_hex(mapped_file_data(m), b->size, sha256);
        if (e == 0 && !streq(sha256, b->sha256))
                e = -EIO;
        if (e < 0)
                return e;
        note_contents(b, mapped_file_data(m), b->size);
        e = state_file_write(s->vault_fd, b->id, 0600, mapped_file_data(m), b->size, false);
        if (e < 0)
                return e == -EFAULT ? -EIO : e;
        if (mapped_file_ok(m))
                return 0;
        (void) unlinkat(s->vault_fd, b->id, 0);
        return -EIO;
}

/* The file first: a row in the database says that the file is there. */
static int execute_backup(Store *s, Request *r) {
        StoreBackup *b = &r->row.backup;
        int e;

        if (!r->in_vault) {
                e = random_hex(b->id, 16);
                if (e == 0)
                        e = r->fd >= 0 ? keep_spooled(s, r) : keep_data(s, r);
                if (e < 0)
                        return e;
                r->in_vault = true;
        }
        e = database_tie_backup(s->db, b);
        return e < 0 ? e : database_put(s->db, TABLE_BACKUPS, b);
}

/* Also in a file of its own, so that even a lost database does not bring numbers back. */
static int write_next_id(Store *s) {
        char text[32];
        int n;

        n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long) s->next_id);
        return state_file_write(s->dir_fd, NEXT_ID_NAME, 0600, text, (size_t) n, true);
}

/* A block that could not be made durable is skipped, never given again; a second try of the same request keeps it. */
static int execute_ids(Store *s, Request *r) {
        int e;

        if (s->next_id > (uint64_t) INT64_MAX - r->n)
                return -ERANGE;
        if (r->first == 0) {
                r->first = s->next_id;
                s->next_id += r->n;
        }
        e = write_next_id(s);
        return e < 0 ? e : database_set_next_id(s->db, s->next_id);
}

static int read_whole(int fd, size_t size, void **ret) {
        _cleanup_free_ void *data = malloc(size);
        size_t n = 0;
        int e = data ? read_at(fd, data, size, 0, &n) : -ENOMEM;

        if (e == 0 && n < size)
                e = -EIO;
        if (e == 0)
                *ret = TAKE_PTR(data);
        return e;
}

static int read_vault(Store *s, const StoreBackup *b, void **ret) {
        _cleanup_close_ int fd = openat(s->vault_fd, b->id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_free_ void *data = NULL;
        char sha256[65];
        int e;

        if (fd < 0)
                return -errno;
        if (b->size == 0 || b->size > VAULT_FILE_MAX)
                return -EBADMSG;
        e = read_whole(fd, b->size, &data);
        if (e == 0)
                e = digest_hex(data, b->size, sha256);
        if (e == 0 && !streq(sha256, b->sha256))
                e = -EBADMSG;
        if (e == 0)
                *ret = TAKE_PTR(data);
        return e;
}

static int find_backup(Store *s, Request *r) {
        free(TAKE_PTR(r->backups));
        r->n_backups = 0;
        return database_list_backups(s->db, &r->backup_filter, &r->backups, &r->n_backups);
}

/* Into memory that nobody can change any more. */
static int seal(const void *data, size_t size) {
        int fd = memfd_create("fdld-vault", MFD_CLOEXEC | MFD_ALLOW_SEALING), e;

        if (fd < 0)
                return -errno;
        e = write_all(fd, data, size);
        if (e == 0 && (lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0))
                e = -errno;
        if (e == 0)
                return fd;
        close(fd);
        return e;
}

static int execute_read_backup(Store *s, Request *r) {
        _cleanup_free_ void *data = NULL;
        int e = find_backup(s, r);

        if (e == 0 && r->n_backups == 0)
                e = -ENOENT;
        if (e == 0)
                e = read_vault(s, r->backups, &data);
        if (e < 0)
                return e;
        e = seal(data, r->backups->size);
        if (e < 0)
                return e;
        r->fd = e;
        return 0;
}

/* Sealed memory: reading it cannot block, and what was hashed is what is kept. */
static int read_sealed(int fd, size_t size, void **ret) {
        const int needed = F_SEAL_WRITE | F_SEAL_SHRINK;
        int seals = fcntl(fd, F_GET_SEALS);
        struct stat st;

        if (seals < 0 || (seals & needed) != needed || fstat(fd, &st) < 0)
                return -EBADF;
        if ((uint64_t) st.st_size != size)
                return -EBADMSG;
        return read_whole(fd, size, ret);
}

/* The file is there, but perhaps nothing tells of it: the index is in the database, and that may have been lost. 0: it is the same file.
 * It is not this request's: nothing that goes wrong later may take it away. */
static int adopt_vault_file(Store *s, Request *r, const StoreBackup *b) {
        _cleanup_free_ void *data = NULL;
        int e;

        r->backup_filter = (StoreBackupFilter) {.limit = 1};
        memcpy(r->backup_filter.id, b->id, sizeof(b->id));
        e = find_backup(s, r);
        if (e == 0 && r->n_backups > 0 && !(r->backups->job == 0 && streq(r->backups->name, STORE_RECOVERED)))
                return -EEXIST;
        if (e == 0)
                e = read_vault(s, b, &data);
        if (e == 0)
                e = database_forget_recovered(s->db, b->id);
        return e == -EBADMSG ? -EIO : e;
}

static int execute_import_backup(Store *s, Request *r) {
        StoreBackup *b = &r->row.backup;
        _cleanup_free_ void *data = NULL;
        char sha256[65];
        int e;

        if (!r->in_vault) {
                e = read_sealed(r->fd, b->size, &data);
                if (e == 0)
                        e = digest_hex(data, b->size, sha256);
                if (e == 0 && !streq(sha256, b->sha256))
                        e = -EBADMSG;
                if (e == 0)
                        note_contents(b, data, b->size);
                if (e == 0)
                        e = state_file_write(s->vault_fd, b->id, 0600, data, b->size, false);
                r->in_vault = e == 0;
                if (e == -EEXIST)
                        e = adopt_vault_file(s, r, b);
                if (e < 0)
                        return e;
        }
        return database_put(s->db, TABLE_BACKUPS, b);
}

static int execute_recall(Store *s, Request *r) {
        _cleanup_free_ StoreBackup *list = NULL;
        size_t n = 0;
        int e;

        areas_free(r);
        e = database_list_change(s->db, &r->change, &list, &n);
        if (e < 0 || n == 0)
                return e;
        r->areas = calloc(n, sizeof(*r->areas));
        if (!r->areas)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                StoreArea *a = r->areas + i;

                e = read_vault(s, list + i, &a->data);
                if (e < 0)
                        return e;
                snprintf(a->name, sizeof(a->name), "%s", list[i].name);
                a->size = list[i].size;
                a->job = list[i].job;
                r->n_areas++;
        }
        return 0;
}

/* With the job's last row: a number is used by a pass and by nothing else. */
static int settle_serials(Store *s, const StoreJob *job) {
        return job->serial[0] ? database_settle_serials(s->db, job->id, job->result == JOB_RESULT_DONE) : 0;
}

static int execute_one(Store *s, Request *r) {
        int e;

        switch (r->kind) {
        case REQUEST_PUT:
                e = database_put(s->db, r->table, r->data ? r->data : &r->row);
                if (e == 0 && r->table == TABLE_JOBS && r->row.job.state == JOB_STATE_FINISHED)
                        e = settle_serials(s, &r->row.job);
                return e;
        case REQUEST_REMOVE_PACKAGE:
                return database_remove_package(s->db, r->row.package.digest);
        case REQUEST_BACKUP:
                return execute_backup(s, r);
        case REQUEST_IDS:
                return execute_ids(s, r);
        case REQUEST_LIST_JOBS:
        case REQUEST_GET_JOB:
                free(TAKE_PTR(r->jobs));
                r->n_jobs = 0;
                if (r->kind == REQUEST_LIST_JOBS)
                        return database_list_jobs(s->db, r->first, r->n, &r->jobs, &r->n_jobs);
                return database_get_job(s->db, r->first, &r->jobs, &r->n_jobs);
        case REQUEST_FINISH_JOB:
                e = database_statistics(s->db, &r->row.job, r->records);
                if (e == 0)
                        e = database_put(s->db, TABLE_JOBS, &r->row);
                if (e == 0)
                        e = settle_serials(s, &r->row.job);
                return e < 0 ? e : database_add_record(s->db, r->records);
        case REQUEST_LIST_RECORDS:
                records_free(TAKE_PTR(r->records), r->n_records);
                r->n_records = 0;
                return database_list_records(s->db, &r->filter, &r->records, &r->n_records);
        case REQUEST_CHECK_RECORDS:
                return database_check_records(s->db, &r->check);
        case REQUEST_PRUNE_RECORDS:
                return database_prune_records(s->db, r->filter.until_usec, &r->first);
        case REQUEST_OPEN_CHANGE:
                return database_open_change(s->db, &r->change);
        case REQUEST_CLOSE_CHANGES:
                return database_close_changes(s->db, &r->change);
        case REQUEST_RECALL_CHANGE:
                return execute_recall(s, r);
        case REQUEST_LIST_BACKUPS:
                return find_backup(s, r);
        case REQUEST_READ_BACKUP:
                return execute_read_backup(s, r);
        case REQUEST_IMPORT_BACKUP:
                return execute_import_backup(s, r);
        case REQUEST_STOCK:
                return database_put_stock(s->db, r->serial.stock, r->data);
        case REQUEST_SERIAL:
                return database_reserve_serial(s->db, &r->serial);
        }
        return -EINVAL;
}

static bool is_write(const Request *r) {
        switch (r->kind) {
        case REQUEST_LIST_JOBS:
        case REQUEST_GET_JOB:
        case REQUEST_LIST_RECORDS:
        case REQUEST_CHECK_RECORDS:
        case REQUEST_RECALL_CHANGE:
        case REQUEST_LIST_BACKUPS:
        case REQUEST_READ_BACKUP:
                return false;
        default:
                return true;
        }
}

/* ---- the store thread: transactions ---- */

/* All of the batch in one transaction, so that they share one fsync. False: nothing of it is in the database and it has to
 * be done one by one. A statement that fails alone is undone alone by SQLite and does not hurt the others. */
static bool execute_together(Store *s, Request *batch) {
        bool writes = false;

        for (Request *r = batch; r; r = r->next)
                writes |= is_write(r);
        if (writes && database_begin(s->db) < 0)
                return false;
        for (Request *r = batch; r; r = r->next) {
                r->result = execute_one(s, r);
                if (writes && !database_in_transaction(s->db))
                        return false;
                if (r->result < 0 && r->result != -EEXIST) {
                        database_rollback(s->db);
                        return false;
                }
        }
        if (writes && database_commit(s->db) < 0) {
                database_rollback(s->db);
                return false;
        }
        return true;
}

/* A file whose row did not get in is of no use. Only after a commit that the disk broke off the row may be there after all;
 * then the file stays. */
static void forget_vault_file(Store *s, Request *r) {
        if ((r->kind != REQUEST_BACKUP && r->kind != REQUEST_IMPORT_BACKUP) || !r->in_vault)
                return;
        (void) unlinkat(s->vault_fd, r->row.backup.id, 0);
        r->in_vault = false;
}

static void try_alone(Store *s, Request *r) {
        bool keep = false;
        int e;

        if (!is_write(r)) {
                r->result = execute_one(s, r);
                return;
        }
        r->result = database_begin(s->db);
        if (r->result == 0)
                r->result = execute_one(s, r);
        if (r->result == 0) {
                e = database_commit(s->db);
                if (e == 0)
                        return;
                r->result = e;
                keep = e != -ENOSPC;
        }
        database_rollback(s->db);
        if (!keep)
                forget_vault_file(s, r);
}

/* With a full disk the reserve is given up. From then on the station takes no new work, until the reserve is back. */
static void execute_alone(Store *s, Request *r) {
        try_alone(s, r);
        if (!is_write(r) || !error_is_full(r->result))
                return;
        s->full = true;
        if (reserve_drop(s->dir_fd))
                try_alone(s, r);
}

static void execute_batch(Store *s, Request *batch) {
        if (!execute_together(s, batch))
                for (Request *r = batch; r; r = r->next)
                        execute_alone(s, r);
        for (Request *r = batch; r; r = r->next)
                if (r->kind == REQUEST_GET_JOB && r->result == 0 && r->n_jobs == 0)
                        r->result = -ENOENT;
}

static Request *take_batch(Store *s) {
        RequestList batch = {};

        for (unsigned i = 0; i < BATCH_MAX && s->waiting.first; i++)
                list_append(&batch, list_pop(&s->waiting));
        return batch.first;
}

static void finish_batch(Store *s, Request *batch) {
        while (batch) {
                Request *next = batch->next;
                s->vault_bytes -= batch->size;
                batch->size = 0;
                free(TAKE_PTR(batch->data));
                /* The last of a large file costs time, which the main thread does not have. */
                if (batch->kind == REQUEST_BACKUP && batch->fd >= 0)
                        close(TAKE_FD(batch->fd));
                list_append(&s->done, batch);
                batch = next;
        }
}

/* The mutex is held on entry and on return. */
static void wait_for_work(Store *s) {
        struct timespec until;

        if (!s->full && s->rested) {
                pthread_cond_wait(&s->work, &s->mutex);
                return;
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        if (pthread_cond_timedwait(&s->work, &s->mutex, &until) != ETIMEDOUT)
                return;
        pthread_mutex_unlock(&s->mutex);
        if (s->full && reserve_make(s->dir_fd) == 0)
                s->full = false;
        database_rest(s->db);
        s->rested = true;
        pthread_mutex_lock(&s->mutex);
}

/* ---- files of the vault that no row tells of ---- */

static int read_found(Store *s, StoreBackup *b) {
        _cleanup_close_ int fd = openat(s->vault_fd, b->id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_free_ void *data = NULL;
        struct stat st;
        int e;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t) st.st_size > VAULT_FILE_MAX)
                return -EBADMSG;
        b->size = (uint64_t) st.st_size;
        b->usec = (uint64_t) st.st_mtim.tv_sec * 1000000 + (uint64_t) st.st_mtim.tv_nsec / 1000;
        e = read_whole(fd, (size_t) b->size, &data);
        if (e == 0)
                e = digest_hex(data, (size_t) b->size, b->sha256);
        if (e == 0)
                note_contents(b, data, (size_t) b->size);
        return e;
}

static void list_found(Store *s, const char *id) {
        StoreBackupFilter f = {.limit = 1};
        _cleanup_free_ StoreBackup *known = NULL;
        StoreBackup b = {.name = STORE_RECOVERED};
        size_t n = 0;

        memcpy(f.id, id, sizeof(f.id));
        memcpy(b.id, id, sizeof(b.id));
        if (database_list_backups(s->db, &f, &known, &n) < 0 || n > 0 || read_found(s, &b) < 0 || database_begin(s->db) < 0)
                return;
        if (database_put(s->db, TABLE_BACKUPS, &b) < 0 || database_commit(s->db) < 0)
                database_rollback(s->db);
}

/* One file each time there is nothing else to do. */
static void look_in_vault(Store *s) {
        const struct dirent *d = s->full ? NULL : readdir(s->vault);
        char id[33];

        if (!d) {
                closedir(s->vault);
                s->vault = NULL;
                return;
        }
        if (strlen(d->d_name) != 32 || !is_lower_hex(d->d_name, 32))
                return;
        memcpy(id, d->d_name, sizeof(id));
        list_found(s, id);
}

static void *store_thread(void *userdata) {
        Store *s = userdata;

        pthread_setname_np(pthread_self(), "fdld-store");
        pthread_mutex_lock(&s->mutex);
        for (;;) {
                Request *batch = take_batch(s);
                if (!batch) {
                        s->busy = false;
                        pthread_cond_broadcast(&s->idle);
                        if (s->closing)
                                break;
                        if (s->vault) {
                                pthread_mutex_unlock(&s->mutex);
                                look_in_vault(s);
                                pthread_mutex_lock(&s->mutex);
                        } else
                                wait_for_work(s);
                        continue;
                }
                s->busy = true;
                s->rested = false;
                pthread_mutex_unlock(&s->mutex);
                execute_batch(s, batch);
                pthread_mutex_lock(&s->mutex);
                finish_batch(s, batch);
                /* Whom this wakes takes the mutex at once. */
                pthread_mutex_unlock(&s->mutex);
                wake_main(s);
                pthread_mutex_lock(&s->mutex);
        }
        pthread_mutex_unlock(&s->mutex);
        return NULL;
}

/* ---- opening ---- */

/* False: there is none, or nothing that can be one. */
static bool read_next_id(int dir_fd, uint64_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        unsigned long long value;
        char text[32] = "", *end;
        ssize_t n;

        fd = openat(dir_fd, NEXT_ID_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return false;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0 || text[0] < '1' || text[0] > '9')
                return false;
        errno = 0;
        value = strtoull(text, &end, 10);
        if (errno != 0 || !streq(end, "\n") || value > INT64_MAX)
                return false;
        *ret = value;
        return true;
}

static bool package_known(const StoreSnapshot *snapshot, size_t n, const char *digest) {
        for (size_t i = 0; i < n; i++)
                if (streq(snapshot->packages[i].digest, digest))
                        return true;
        return false;
}

static int adopt_package(Store *s, StoreSnapshot *snapshot, int dir_fd, const char *file, const char *digest) {
        StorePackage *more, *p;
        struct stat st;

        if (fstatat(dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        more = reallocarray(snapshot->packages, snapshot->n_packages + 1, sizeof(*more));
        if (!more)
                return -ENOMEM;
        snapshot->packages = more;
        p = more + snapshot->n_packages++;
        memset(p, 0, sizeof(*p));
        snprintf(p->digest, sizeof(p->digest), "%s", digest);
        snprintf(p->name, sizeof(p->name), "recovered-%.12s.pac", digest);
        p->size = (uint64_t) st.st_size;
        p->imported_usec = (uint64_t) st.st_mtim.tv_sec * 1000000 + (uint64_t) st.st_mtim.tv_nsec / 1000;
        p->imported_uid = UINT32_MAX;
        return database_put(s->db, TABLE_PACKAGES, p);
}

/* Packages without a row would fill the quota and nobody could see or remove them. */
static int adopt_packages(Store *s, StoreSnapshot *snapshot) {
        int fd = openat(s->dir_fd, "packages", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), r = 0;
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        size_t n = snapshot->n_packages;

        if (!d) {
                if (fd >= 0)
                        close(fd);
                return 0;
        }
        for (struct dirent *i; r == 0 && (i = readdir(d));) {
                char digest[65];

                snprintf(digest, sizeof(digest), "%.64s", i->d_name);
                if (is_lower_hex(digest, 64) && streq(i->d_name + 64, ".pac") && !package_known(snapshot, n, digest))
                        r = adopt_package(s, snapshot, fd, i->d_name, digest);
        }
        closedir(d);
        return r;
}

/* Numbers are never given twice: the database, its rows and the file next to it each may know more. If all of them are
 * gone, the clock is ahead of any count. */
static int find_next_id(Store *s, bool lost) {
        uint64_t in_file = 1, in_database = 1;
        bool have_file = read_next_id(s->dir_fd, &in_file);
        int r;

        r = database_next_id(s->db, &in_database);
        if (r < 0)
                return r;
        s->next_id = MAX(in_file, in_database);
        if (lost && !have_file)
                s->next_id = MAX(s->next_id, (uint64_t) time(NULL));
        return 0;
}

/* NULL: nothing can be read there. */
static DIR *open_folder(int dir_fd) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        if (!d && fd >= 0)
                close(fd);
        return d;
}

static int open_files(Store *s, const char *directory, CallError *e) {
        if (state_directory_open(directory, &s->dir_fd, e) < 0 ||
            state_directory_lock(s->dir_fd, directory, &s->lock_fd, e) < 0 ||
            state_directory_sub(s->dir_fd, directory, "vault", &s->vault_fd, e) < 0)
                return -1;
        state_directory_sweep(s->dir_fd, STATE_TMP_PREFIX);
        state_directory_sweep(s->vault_fd, STATE_TMP_PREFIX);
        s->vault = open_folder(s->vault_fd);
        s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (s->event_fd < 0)
                return call_error_set(e, BUS_ERROR_STORE, "No file descriptor left for the store: %s.", strerror(errno));
        return 0;
}

static int open_database(Store *s, const char *directory, StoreSnapshot *snapshot, char **ret_notice, CallError *e) {
        char path[PATH_MAX];
        bool lost = false, used;
        int r;

        snprintf(path, sizeof(path), "%s/" DATABASE_NAME, directory);
        used = faccessat(s->dir_fd, NEXT_ID_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        if (database_open(s->dir_fd, directory, used, &s->db, &lost, ret_notice, e) < 0)
                return -1;
        r = database_load(s->db, snapshot);
        if (r == 0)
                r = database_sweep_serials(s->db);
        if (r == 0)
                r = adopt_packages(s, snapshot);
        if (r == 0)
                r = find_next_id(s, lost);
        if (r < 0)
                return state_directory_complain(e, path, "Cannot read the database", r);
        snapshot->next_id = s->next_id;
        return 0;
}

static int start_thread(Store *s) {
        sigset_t all, before;
        int r;

        /* Signals belong to the main thread, except those of a fault of the thread itself. */
        sigfillset(&all);
        sigdelset(&all, SIGBUS);
        sigdelset(&all, SIGSEGV);
        sigdelset(&all, SIGABRT);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&s->thread, NULL, store_thread, s);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static void store_destroy(Store *s) {
        int *fds[] = {&s->dir_fd, &s->vault_fd, &s->event_fd, &s->lock_fd}; /* the lock last */

        database_close(s->db);
        if (s->vault)
                closedir(s->vault);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                closep(fds[i]);
        pthread_cond_destroy(&s->work);
        pthread_cond_destroy(&s->idle);
        pthread_mutex_destroy(&s->mutex);
        free(s);
}

static Store *store_alloc(void) {
        Store *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        s->dir_fd = s->vault_fd = s->lock_fd = s->event_fd = -EBADF;
        pthread_mutex_init(&s->mutex, NULL);
        pthread_cond_init(&s->work, NULL);
        pthread_cond_init(&s->idle, NULL);
        return s;
}

int store_open(const char *directory, Store **ret, StoreSnapshot *ret_snapshot, char **ret_notice, CallError *e) {
        _cleanup_free_ char *notice = NULL;
        StoreSnapshot snapshot = {};
        Store *s = store_alloc();
        int r;

        if (!s)
                return call_error_set(e, BUS_ERROR_STORE, "No memory left to open the store.");
        if (open_files(s, directory, e) < 0 || open_database(s, directory, &snapshot, &notice, e) < 0)
                goto fail;
        s->full = error_is_full(reserve_make(s->dir_fd));
        r = start_thread(s);
        if (r < 0) {
                call_error_set(e, BUS_ERROR_STORE, "Cannot start the thread of the store: %s.", strerror(-r));
                goto fail;
        }
        *ret = s;
        *ret_snapshot = snapshot;
        if (ret_notice)
                *ret_notice = TAKE_PTR(notice);
        return 0;
fail:
        store_snapshot_clear(&snapshot);
        store_destroy(s);
        return -1;
}

void store_snapshot_clear(StoreSnapshot *s) {
        free(s->slots);
        free(s->packages);
        free(s->jobs);
        free(s->batches);
        free(s->traits);
        free(s->loaders);
        free(s->uses);
        *s = (StoreSnapshot) {};
}

static void free_list(RequestList *l) {
        Request *r;

        while ((r = list_pop(l)))
                request_free(r);
}

Store *store_close(Store *s) {
        if (!s)
                return NULL;
        pthread_mutex_lock(&s->mutex);
        s->closing = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->mutex);
        pthread_join(s->thread, NULL);
        free_list(&s->done);
        store_destroy(s);
        return NULL;
}

void store_sync(Store *s) {
        pthread_mutex_lock(&s->mutex);
        while (s->busy || s->waiting.first)
                pthread_cond_wait(&s->idle, &s->mutex);
        pthread_mutex_unlock(&s->mutex);
}

/* ---- the main thread ---- */

bool store_full(const Store *s) {
        return s->full;
}

int store_fd(const Store *s) {
        return s->event_fd;
}

static void call_back(Request *r) {
        if (r->records_cb)
                r->records_cb(r->result, r->result == 0 ? r->records : NULL, r->result == 0 ? r->n_records : 0, r->userdata);
        else if (r->check_cb)
                r->check_cb(r->result, &r->check, r->userdata);
        else if (r->prune_cb)
                r->prune_cb(r->result, r->result == 0 ? r->first : 0, r->userdata);
        else if (r->areas_cb)
                r->areas_cb(r->result, r->result == 0 ? r->areas : NULL, r->result == 0 ? r->n_areas : 0, r->userdata);
        else if (r->backups_cb)
                r->backups_cb(r->result, r->result == 0 ? r->backups : NULL, r->result == 0 ? r->n_backups : 0, r->userdata);
        else if (r->backup_cb)
                r->backup_cb(r->result, r->result == 0 ? r->backups : NULL, r->result == 0 ? TAKE_FD(r->fd) : -EBADF, r->userdata);
        else if (r->jobs_cb)
                r->jobs_cb(r->result, r->result == 0 ? r->jobs : NULL, r->result == 0 ? r->n_jobs : 0, r->userdata);
        else if (r->serial_cb)
                r->serial_cb(r->result, &r->serial, r->userdata);
        else if (r->ids_cb)
                r->ids_cb(r->result, r->result == 0 ? r->first : 0, r->result == 0 ? r->n : 0, r->userdata);
        else if (r->finish_cb)
                r->finish_cb(r->result, &r->row.job, r->userdata);
        else if (r->cb)
                r->cb(r->result, r->userdata);
}

void store_dispatch(Store *s) {
        uint64_t count;

        (void) !read(s->event_fd, &count, sizeof(count));
        for (unsigned i = 0; i < DISPATCH_MAX; i++) {
                Request *r;

                pthread_mutex_lock(&s->mutex);
                r = list_pop(&s->done);
                if (r)
                        s->n_outstanding--;
                pthread_mutex_unlock(&s->mutex);
                if (!r)
                        return;
                call_back(r);
                request_free(r);
        }
        wake_main(s);
}

static Request *request_new(RequestKind kind, void *userdata) {
        Request *r = calloc(1, sizeof(*r));

        if (r) {
                r->kind = kind;
                r->userdata = userdata;
                r->fd = -EBADF;
        }
        return r;
}

/* Takes the request in any case; the data of a backup only if it succeeds. */
static int enqueue(Store *s, Request *r) {
        pthread_mutex_lock(&s->mutex);
        if (s->closing || s->n_outstanding >= WAITING_MAX || r->size > VAULT_WAITING_MAX - s->vault_bytes) {
                pthread_mutex_unlock(&s->mutex);
                r->data = NULL;
                r->fd = -EBADF;
                r->n_records = 0; /* what they point to stays the caller's */
                request_free(r);
                return -ENOBUFS;
        }
        s->n_outstanding++;
        s->vault_bytes += r->size;
        list_append(&s->waiting, r);
        pthread_mutex_unlock(&s->mutex);
        pthread_cond_signal(&s->work); /* whom this wakes takes the mutex at once */
        return 0;
}

static int put(Store *s, TableId table, const void *row, StoreCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_PUT, userdata);

        if (!r)
                return -ENOMEM;
        r->table = table;
        memcpy(&r->row, row, table_row_size(table));
        r->cb = cb;
        return enqueue(s, r);
}

static bool valid_id(uint64_t id) {
        return id > 0 && id <= INT64_MAX;
}

static bool valid_job(const StoreJob *job) {
        return valid_id(job->id) && job_state_to_string(job->state) && job_result_to_string(job->result) &&
               flash_mode_to_string(job->mode) && fail_class_to_string(job->failure.class);
}

int store_put_job(Store *s, const StoreJob *job, StoreCallback cb, void *userdata) {
        return valid_job(job) ? put(s, TABLE_JOBS, job, cb, userdata) : -EINVAL;
}

int store_finish_job(Store *s, const StoreJob *job, const StoreRecord *record, StoreFinishCallback cb, void *userdata) {
        Request *r;

        if (!valid_job(job) || record->job != job->id || !record->id[0] || !record->json)
                return -EINVAL;
        r = request_new(REQUEST_FINISH_JOB, userdata);
        if (!r)
                return -ENOMEM;
        r->records = calloc(1, sizeof(*r->records));
        if (!r->records) {
                request_free(r);
                return -ENOMEM;
        }
        r->row.job = *job;
        r->records[0] = *record;
        r->n_records = 1;
        r->finish_cb = cb;
        return enqueue(s, r);
}

int store_list_records(Store *s, const StoreRecordFilter *filter, StoreRecordsCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_LIST_RECORDS, userdata);

        if (!r)
                return -ENOMEM;
        r->filter = *filter;
        r->filter.limit = CLAMP(filter->limit, 1U, (unsigned) LIST_MAX);
        r->records_cb = cb;
        return enqueue(s, r);
}

int store_check_records(Store *s, const StoreRecordCheck *from, StoreCheckCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_CHECK_RECORDS, userdata);

        if (!r)
                return -ENOMEM;
        r->check = *from;
        r->check_cb = cb;
        return enqueue(s, r);
}

int store_prune_records(Store *s, uint64_t before_usec, StorePruneCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_PRUNE_RECORDS, userdata);

        if (!r)
                return -ENOMEM;
        r->filter.until_usec = before_usec;
        r->prune_cb = cb;
        return enqueue(s, r);
}

int store_put_slot(Store *s, const StoreSlot *slot, StoreCallback cb, void *userdata) {
        return slot->port[0] ? put(s, TABLE_SLOTS, slot, cb, userdata) : -EINVAL;
}

int store_put_trait(Store *s, const StoreTrait *trait, StoreCallback cb, void *userdata) {
        return trait->loader[0] && trait->trait[0] ? put(s, TABLE_TRAITS, trait, cb, userdata) : -EINVAL;
}

int store_put_batch(Store *s, const StoreBatch *batch, StoreCallback cb, void *userdata) {
        StoreBatch *copy;
        Request *r;
        int e;

        if (!valid_id(batch->id) || !batch_state_to_string(batch->state))
                return -EINVAL;
        r = request_new(REQUEST_PUT, userdata);
        copy = malloc(sizeof(*copy));
        if (!r || !copy) {
                free(r);
                free(copy);
                return -ENOMEM;
        }
        *copy = *batch;
        r->table = TABLE_BATCHES;
        r->data = copy;
        r->cb = cb;
        e = enqueue(s, r);
        if (e < 0)
                free(copy);
        return e;
}

int store_put_package(Store *s, const StorePackage *package, StoreCallback cb, void *userdata) {
        return is_lower_hex(package->digest, 64) ? put(s, TABLE_PACKAGES, package, cb, userdata) : -EINVAL;
}

int store_put_loaders(Store *s, const StoreLoaders *loaders, StoreCallback cb, void *userdata) {
        return is_lower_hex(loaders->hash, 64) ? put(s, TABLE_LOADERS, loaders, cb, userdata) : -EINVAL;
}

int store_remove_package(Store *s, const char *digest, StoreCallback cb, void *userdata) {
        Request *r;

        if (!is_lower_hex(digest, 64))
                return -EINVAL;
        r = request_new(REQUEST_REMOVE_PACKAGE, userdata);
        if (!r)
                return -ENOMEM;
        snprintf(r->row.package.digest, sizeof(r->row.package.digest), "%s", digest);
        r->cb = cb;
        return enqueue(s, r);
}

int store_put_intent(Store *s, uint64_t job, int step, Stage stage, const char *partition, StoreCallback cb, void *userdata) {
        StoreIntent intent = {.job = job, .step = step, .stage = stage, .usec = now_usec()};

        if (!valid_id(job))
                return -EINVAL;
        snprintf(intent.partition, sizeof(intent.partition), "%s", partition ? partition : "");
        return put(s, TABLE_INTENTS, &intent, cb, userdata);
}

int store_put_backup(Store *s, const StoreBackup *backup, void *data, size_t size, StoreCallback cb, void *userdata) {
        Request *r;

        if (!valid_id(backup->job) || !data || size == 0)
                return -EINVAL;
        if (size > VAULT_FILE_MAX)
                return -EFBIG;
        r = request_new(REQUEST_BACKUP, userdata);
        if (!r)
                return -ENOMEM;
        r->row.backup = *backup;
        r->row.backup.size = size;
        r->row.backup.usec = now_usec();
        r->data = data;
        r->size = size;
        r->cb = cb;
        return enqueue(s, r);
}

int store_put_backup_file(Store *s, const StoreBackup *backup, int fd, StoreCallback cb, void *userdata) {
        Request *r;

        if (!valid_id(backup->job) || backup->size == 0 || !is_lower_hex(backup->sha256, 64))
                return -EINVAL;
        if (backup->size > VAULT_FILE_MAX)
                return -EFBIG;
        r = request_new(REQUEST_BACKUP, userdata);
        if (!r)
                return -ENOMEM;
        r->row.backup = *backup;
        r->row.backup.usec = now_usec();
        r->fd = fd;
        r->cb = cb;
        return enqueue(s, r);
}

int store_list_backups(Store *s, const StoreBackupFilter *filter, StoreBackupsCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_LIST_BACKUPS, userdata);

        if (!r)
                return -ENOMEM;
        r->backup_filter = *filter;
        r->backup_filter.limit = CLAMP(filter->limit, 1U, (unsigned) LIST_MAX);
        r->backups_cb = cb;
        return enqueue(s, r);
}

int store_read_backup(Store *s, const char *id, StoreBackupCallback cb, void *userdata) {
        Request *r;

        if (!is_lower_hex(id, 32))
                return -EINVAL;
        r = request_new(REQUEST_READ_BACKUP, userdata);
        if (!r)
                return -ENOMEM;
        r->backup_filter.limit = 1;
        memcpy(r->backup_filter.id, id, 33);
        r->backup_cb = cb;
        return enqueue(s, r);
}

int store_import_backup(Store *s, const StoreBackup *backup, int fd, StoreCallback cb, void *userdata) {
        Request *r;

        if (!is_lower_hex(backup->id, 32) || !is_lower_hex(backup->sha256, 64) || backup->size == 0 || backup->usec > INT64_MAX)
                return -EINVAL;
        if (backup->size > VAULT_FILE_MAX)
                return -EFBIG;
        r = request_new(REQUEST_IMPORT_BACKUP, userdata);
        if (!r)
                return -ENOMEM;
        r->row.backup = *backup;
        r->row.backup.imported = true;
        r->fd = fd;
        r->cb = cb;
        return enqueue(s, r);
}

static int change_request(Store *s, RequestKind kind, const StoreChange *change, StoreCallback cb, StoreAreasCallback areas_cb,
                          void *userdata) {
        Request *r = request_new(kind, userdata);

        if (!r)
                return -ENOMEM;
        r->change = *change;
        r->change.usec = now_usec();
        r->cb = cb;
        r->areas_cb = areas_cb;
        return enqueue(s, r);
}

int store_open_change(Store *s, const StoreChange *change, StoreCallback cb, void *userdata) {
        if (!valid_id(change->job))
                return -EINVAL;
        return change_request(s, REQUEST_OPEN_CHANGE, change, cb, NULL, userdata);
}

int store_close_changes(Store *s, const StoreChange *change, StoreCallback cb, void *userdata) {
        return change_request(s, REQUEST_CLOSE_CHANGES, change, cb, NULL, userdata);
}

int store_recall_change(Store *s, const StoreChange *change, StoreAreasCallback cb, void *userdata) {
        return change_request(s, REQUEST_RECALL_CHANGE, change, NULL, cb, userdata);
}

int store_put_stock(Store *s, const char *id, const char *text, StoreCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_STOCK, userdata);
        char *copy = strdup(text);
        int e;

        if (!r || !copy) {
                free(r);
                free(copy);
                return -ENOMEM;
        }
        snprintf(r->serial.stock, sizeof(r->serial.stock), "%s", id);
        r->data = copy;
        r->cb = cb;
        e = enqueue(s, r);
        if (e < 0)
                free(copy);
        return e;
}

int store_reserve_serial(Store *s, const StoreSerial *serial, StoreSerialCallback cb, void *userdata) {
        Request *r;

        if (!valid_id(serial->job) || !serial->value[0] == !serial->stock[0])
                return -EINVAL;
        r = request_new(REQUEST_SERIAL, userdata);
        if (!r)
                return -ENOMEM;
        r->serial = *serial;
        r->serial.usec = now_usec();
        r->serial_cb = cb;
        return enqueue(s, r);
}

int store_reserve_ids(Store *s, unsigned n, void (*cb)(int error, uint64_t first, unsigned n, void *userdata), void *userdata) {
        Request *r;

        if (n == 0 || n > IDS_MAX)
                return -EINVAL;
        r = request_new(REQUEST_IDS, userdata);
        if (!r)
                return -ENOMEM;
        r->n = n;
        r->ids_cb = cb;
        return enqueue(s, r);
}

int store_list_jobs(Store *s, uint64_t before, unsigned limit, StoreJobsCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_LIST_JOBS, userdata);

        if (!r)
                return -ENOMEM;
        r->first = before;
        r->n = MIN(limit, (unsigned) LIST_MAX);
        r->jobs_cb = cb;
        return enqueue(s, r);
}

int store_get_job(Store *s, uint64_t id, StoreJobsCallback cb, void *userdata) {
        Request *r = request_new(REQUEST_GET_JOB, userdata);

        if (!r)
                return -ENOMEM;
        r->first = id;
        r->jobs_cb = cb;
        return enqueue(s, r);
}
