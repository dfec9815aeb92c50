/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/database.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/state-directory.h"

#define BUSY_TIMEOUT_MS 5000
#define FINISHED_IN_SNAPSHOT 64
#define ROWS_MAX 1000000
#define CHECKED_WHOLE_MAX (64 << 20) /* bytes */
#define OPEN_BATCHES_MAX 1024
#define ENDED_BATCHES_IN_SNAPSHOT 16

typedef enum StatementId {
        STATEMENT_BEGIN,
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
        STATEMENT_REMOVE_PACKAGE,
        STATEMENT_SET_NEXT_ID,
        STATEMENT_NEXT_ID,
        STATEMENT_SET_OPENED,
        STATEMENT_LIST_JOBS,
        STATEMENT_GET_JOB,
        STATEMENT_UNFINISHED_JOBS,
        STATEMENT_FINISHED_JOBS,
        STATEMENT_SLOTS,
        STATEMENT_TRAITS,
        STATEMENT_PACKAGES,
        STATEMENT_OPEN_BATCHES,
        STATEMENT_ENDED_BATCHES,
        STATEMENT_COUNT_UNITS,
        STATEMENT_PUT, /* one for each table from here */
        STATEMENT_MAX = STATEMENT_PUT + TABLE_MAX,
} StatementId;

struct Database {
        sqlite3 *db;
        sqlite3_stmt *statements[STATEMENT_MAX];
};

static const struct {
        StatementId id;
        int table; /* -1: text is the whole statement, else what follows SELECT … FROM it */
        const char *text;
} statement_texts[] = {
        {STATEMENT_BEGIN, -1, "BEGIN IMMEDIATE"},
        {STATEMENT_COMMIT, -1, "COMMIT"},
        {STATEMENT_ROLLBACK, -1, "ROLLBACK"},
        {STATEMENT_REMOVE_PACKAGE, -1, "DELETE FROM packages WHERE digest = ?1"},
        {STATEMENT_SET_NEXT_ID, -1, "INSERT OR REPLACE INTO meta VALUES('next-id', ?1)"},
        {STATEMENT_NEXT_ID, -1,
         "SELECT max(coalesce((SELECT value FROM meta WHERE key = 'next-id'), 1), coalesce((SELECT max(id) FROM jobs), 0) + 1, "
         "coalesce((SELECT max(id) FROM batches), 0) + 1)"},
        {STATEMENT_SET_OPENED, -1, "INSERT OR REPLACE INTO meta VALUES('opened', ?1)"},
        {STATEMENT_LIST_JOBS, TABLE_JOBS, "WHERE id < ?1 ORDER BY id DESC LIMIT ?2"},
        {STATEMENT_GET_JOB, TABLE_JOBS, "WHERE id = ?1"},
        {STATEMENT_UNFINISHED_JOBS, TABLE_JOBS, "WHERE state <> 'finished' ORDER BY id LIMIT ?1"},
        {STATEMENT_FINISHED_JOBS, TABLE_JOBS,
         "WHERE id IN (SELECT id FROM jobs WHERE state = 'finished' ORDER BY id DESC LIMIT ?1) ORDER BY id"},
        {STATEMENT_SLOTS, TABLE_SLOTS, "ORDER BY port LIMIT ?1"},
        {STATEMENT_TRAITS, TABLE_TRAITS, "ORDER BY usec, loader LIMIT ?1"},
        {STATEMENT_PACKAGES, TABLE_PACKAGES, "ORDER BY imported_usec, digest LIMIT ?1"},
        {STATEMENT_OPEN_BATCHES, TABLE_BATCHES, "WHERE state NOT IN ('stopped', 'complete') ORDER BY id LIMIT ?1"},
        {STATEMENT_ENDED_BATCHES, TABLE_BATCHES,
         "WHERE id IN (SELECT id FROM batches WHERE state IN ('stopped', 'complete') ORDER BY id DESC LIMIT ?1) ORDER BY id"},
        {STATEMENT_COUNT_UNITS, -1, "SELECT result, count(*) FROM records WHERE batch = ?1 GROUP BY result"},
};

/* SQLite forgets it on some paths (a failed commit); then the last errno of the thread is the one, if it can be one. */
static int system_errno(Database *d) {
        int last = errno, error = d->db ? sqlite3_system_errno(d->db) : 0;

        if (error > 0)
                return -error;
        switch (last) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
        case EROFS:
        case EACCES:
        case EPERM:
                return -last;
        default:
                return -EIO;
        }
}

static int code_to_errno(Database *d, int rc) {
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_DONE:
        case SQLITE_ROW:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_PERM:
        case SQLITE_AUTH:
                return -EACCES;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                return -EBUSY;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EBADMSG;
        case SQLITE_CONSTRAINT:
                return -EEXIST;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                return system_errno(d);
        default:
                return -EIO;
        }
}

/* Beside the database while somebody met damage in it: the next start looks at all of it. */
static int suspect_path(sqlite3 *db, char ret[static PATH_MAX]) {
        const char *file = sqlite3_db_filename(db, "main");

        return !file || snprintf(ret, PATH_MAX, "%s.suspect", file) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static void note_damage(Database *d) {
        _cleanup_close_ int fd = -EBADF;
        char path[PATH_MAX];

        if (suspect_path(d->db, path) == 0)
                fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int database_errno(Database *d, int rc) {
        int r = code_to_errno(d, rc);

        if (r == -EBADMSG)
                note_damage(d);
        return r;
}

void database_text(sqlite3_stmt *statement, int column, char *ret, size_t size) {
        const char *text = (const char *) sqlite3_column_text(statement, column);

        snprintf(ret, size, "%s", text ? text : "");
}

int database_prepare(Database *d, const char *sql, sqlite3_stmt **ret) {
        return database_errno(d, sqlite3_prepare_v2(d->db, sql, -1, ret, NULL));
}

/* The file ends up as private as this whatever the umask; SQLite gives its other files the same mode. */
static int make_private_file(int dir_fd, CallError *e, const char *path) {
        _cleanup_close_ int fd = -EBADF;

        fd = openat(dir_fd, DATABASE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
        if (fd < 0 || fchmod(fd, 0600) < 0 || fsync(dir_fd) < 0)
                return state_directory_complain(e, path, "Cannot use the database", errno);
        return 0;
}

static int prepare_statements(Database *d) {
        int rc = SQLITE_OK;

        for (size_t i = 0; rc == SQLITE_OK && i < ELEMENTSOF(statement_texts); i++) {
                _cleanup_free_ char *sql = statement_texts[i].table < 0
                                                   ? strdup(statement_texts[i].text)
                                                   : table_select_sql((TableId) statement_texts[i].table, statement_texts[i].text);
                rc = sql ? sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, d->statements + statement_texts[i].id,
                                              NULL)
                         : SQLITE_NOMEM;
        }
        for (int t = 0; rc == SQLITE_OK && t < TABLE_MAX; t++) {
                _cleanup_free_ char *sql = table_insert_sql((TableId) t);
                rc = sql ? sqlite3_prepare_v3(d->db, sql, -1, SQLITE_PREPARE_PERSISTENT, d->statements + STATEMENT_PUT + t, NULL)
                         : SQLITE_NOMEM;
        }
        return rc;
}

static sqlite3_stmt *statement_of(Database *d, int id) {
        sqlite3_reset(d->statements[id]);
        sqlite3_clear_bindings(d->statements[id]);
        return d->statements[id];
}

/* For statements without rows. The reset afterwards ends the read transaction it may hold. */
static int run(sqlite3_stmt *statement) {
        int rc, error;

        errno = 0;
        rc = sqlite3_step(statement);
        error = errno;
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        errno = error;
        return rc;
}

static int quick_check(sqlite3 *db, const char *sql) {
        sqlite3_stmt *statement = NULL;
        int rc;

        rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
        if (rc == SQLITE_OK)
                rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
                const char *text = (const char *) sqlite3_column_text(statement, 0);
                rc = text && streq(text, "ok") ? SQLITE_OK : SQLITE_CORRUPT;
        }
        sqlite3_finalize(statement);
        return rc;
}

/* All but those that grow with each unit. */
static int check_small_tables(sqlite3 *db) {
        sqlite3_stmt *statement = NULL;
        int rc, r;

        rc = sqlite3_prepare_v2(db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('records', 'record_lines', 'jobs', 'intents')",
                                -1, &statement, NULL);
        while (rc == SQLITE_OK && (r = sqlite3_step(statement)) != SQLITE_DONE) {
                char *sql = r == SQLITE_ROW ? sqlite3_mprintf("PRAGMA quick_check(%Q)", sqlite3_column_text(statement, 0)) : NULL;
                rc = sql ? quick_check(db, sql) : r == SQLITE_ROW ? SQLITE_NOMEM : r;
                sqlite3_free(sql);
        }
        sqlite3_finalize(statement);
        return rc;
}

/* A station with a long past starts without reading it all, unless damage was met in it. */
static int check(sqlite3 *db, const char *path) {
        char suspect[PATH_MAX];
        struct stat st;
        int rc;

        if (suspect_path(db, suspect) < 0)
                return SQLITE_CANTOPEN;
        if (stat(path, &st) == 0 && st.st_size > CHECKED_WHOLE_MAX && access(suspect, F_OK) < 0)
                return check_small_tables(db);
        rc = quick_check(db, "PRAGMA quick_check(1)");
        if (rc == SQLITE_OK)
                (void) unlink(suspect);
        return rc;
}

/* Exclusive, before WAL: the index of the WAL then lives on the heap, not in a mapped file that a full disk could turn
 * into SIGBUS, and nobody else can hold the database busy. */
static const char settings_sql[] = "PRAGMA locking_mode = EXCLUSIVE;"
                                   "PRAGMA mmap_size = 0;"
                                   "PRAGMA trusted_schema = OFF;"
                                   "PRAGMA cell_size_check = ON;"
                                   "PRAGMA temp_store = MEMORY;"
                                   "PRAGMA journal_mode = WAL;"
                                   "PRAGMA synchronous = FULL;"
                                   "PRAGMA journal_size_limit = 4194304;";

static int write_test(Database *d) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_SET_OPENED);
        int rc;

        sqlite3_bind_int64(statement, 1, (sqlite3_int64) time(NULL));
        rc = run(statement);
        return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int open_once(Database *d, const char *path) {
        int rc;

        rc = sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (rc != SQLITE_OK)
                return rc;
        sqlite3_extended_result_codes(d->db, 1);
        sqlite3_busy_timeout(d->db, BUSY_TIMEOUT_MS);
        rc = sqlite3_exec(d->db, settings_sql, NULL, NULL, NULL);
        if (rc == SQLITE_OK)
                rc = check(d->db, path);
        if (rc == SQLITE_OK)
                rc = schema_migrate(d->db);
        if (rc == SQLITE_OK)
                rc = prepare_statements(d);
        if (rc == SQLITE_OK)
                rc = write_test(d);
        return rc;
}

void database_rest(Database *d) {
        if (d && d->db)
                (void) sqlite3_db_release_memory(d->db);
}

static void close_once(Database *d) {
        for (size_t i = 0; i < STATEMENT_MAX; i++) {
                sqlite3_finalize(d->statements[i]);
                d->statements[i] = NULL;
        }
        sqlite3_close(d->db);
        d->db = NULL;
}

/* Damage, as against a disk or a permission that is in the way. A generic error means that our tables are not in it, and
 * "read-only" for a file that we may write means a header with an impossible format. */
static bool is_damage(int rc, const char *path) {
        switch (rc & 0xff) {
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_ERROR:
        case SQLITE_SCHEMA:
        case SQLITE_CONSTRAINT:
                return true;
        case SQLITE_READONLY:
                return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
        default:
                return false;
        }
}

static int complain(Database *d, int rc, const char *path, CallError *e) {
        if (rc == SQLITE_MISMATCH)
                return call_error_set(e, BUS_ERROR_STORE,
                                      "The database %.200s was made by a newer fdld than this one (its tables are of version %d at "
                                      "most). Install that version again, or move the file away to begin a new one.",
                                      path, SCHEMA_VERSION);
        if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
                return call_error_set(e, BUS_ERROR_STORE,
                                      "Another program has the database %.200s open. Close it (fuser %.100s names it) and start "
                                      "fdld again.",
                                      path, path);
        return state_directory_complain(e, path, "Cannot use the database", code_to_errno(d, rc));
}

static void rename_part(int dir_fd, const char *aside, const char *suffix) {
        char from[NAME_MAX], to[NAME_MAX];

        snprintf(from, sizeof(from), DATABASE_NAME "%s", suffix);
        snprintf(to, sizeof(to), "%s%s", aside, suffix);
        (void) renameat(dir_fd, from, dir_fd, to);
}

/* The log moves along under the name that lets SQLite's own tools read the rest of the damaged one. */
static int move_aside(int dir_fd, const char *directory, const char *why, char **ret_notice) {
        char aside[128], stamp[32];
        time_t now = time(NULL);
        struct tm tm;

        gmtime_r(&now, &tm);
        strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
        snprintf(aside, sizeof(aside), DATABASE_NAME ".damaged-%s", stamp);
        for (unsigned i = 2; i < 1000 && faccessat(dir_fd, aside, F_OK, AT_SYMLINK_NOFOLLOW) == 0; i++)
                snprintf(aside, sizeof(aside), DATABASE_NAME ".damaged-%s.%u", stamp, i);
        if (renameat(dir_fd, DATABASE_NAME, dir_fd, aside) < 0)
                return -errno;
        rename_part(dir_fd, aside, "-wal");
        rename_part(dir_fd, aside, "-journal");
        rename_part(dir_fd, aside, "-shm");
        if (fsync(dir_fd) < 0)
                return -errno;
        if (asprintf(ret_notice,
                     "The database %s/" DATABASE_NAME " is damaged (%s). It was moved to %s/%s and a new one begun: earlier jobs, "
                     "slot labels and counters are missing from it. Firmware packages and backups of devices are untouched.",
                     directory, why, directory, aside) < 0)
                *ret_notice = NULL;
        return 0;
}

static bool is_lost(int dir_fd, bool used) {
        struct stat st;

        /* What is shorter than the shortest page is taken for a beginning by SQLite. */
        return used && (fstatat(dir_fd, DATABASE_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size < 512);
}

static int open_or_replace(Database *d, int dir_fd, const char *directory, const char *path, bool *ret_lost,
                           char **ret_notice, CallError *e) {
        char why[160];
        int rc, r;

        if (make_private_file(dir_fd, e, path) < 0)
                return -1;
        rc = open_once(d, path);
        if (rc == SQLITE_OK)
                return 0;
        if (!is_damage(rc, path))
                return complain(d, rc, path, e);
        snprintf(why, sizeof(why), "%s", sqlite3_errstr(rc & 0xff));
        close_once(d);
        r = move_aside(dir_fd, directory, why, ret_notice);
        if (r < 0)
                return state_directory_complain(e, path, "Cannot move the damaged database aside:", r);
        *ret_lost = true;
        if (make_private_file(dir_fd, e, path) < 0)
                return -1;
        rc = open_once(d, path);
        return rc == SQLITE_OK ? 0 : complain(d, rc, path, e);
}

int database_open(int dir_fd, const char *directory, bool used, Database **ret, bool *ret_lost, char **ret_notice,
                  CallError *e) {
        char path[PATH_MAX];
        bool lost = is_lost(dir_fd, used);
        Database *d;

        *ret_notice = NULL;
        *ret_lost = false;
        snprintf(path, sizeof(path), "%s/" DATABASE_NAME, directory);
        d = calloc(1, sizeof(*d));
        if (!d)
                return call_error_set(e, BUS_ERROR_STORE, "No memory left to open the database %.200s.", path);
        if (open_or_replace(d, dir_fd, directory, path, ret_lost, ret_notice, e) < 0) {
                database_close(d);
                free(TAKE_PTR(*ret_notice));
                return -1;
        }
        if (lost && !*ret_lost) {
                *ret_lost = true;
                if (asprintf(ret_notice, "The database %s is missing or damaged (cut off) although this directory was in use. A new one was begun: "
                                         "earlier jobs, slot labels and counters are gone.", path) < 0)
                        *ret_notice = NULL;
        }
        *ret = d;
        return 0;
}

Database *database_close(Database *d) {
        if (d) {
                close_once(d);
                free(d);
        }
        return NULL;
}

int database_begin(Database *d) {
        return code_to_errno(d, run(statement_of(d, STATEMENT_BEGIN)));
}

int database_commit(Database *d) {
        return code_to_errno(d, run(statement_of(d, STATEMENT_COMMIT)));
}

void database_rollback(Database *d) {
        if (database_in_transaction(d))
                (void) run(statement_of(d, STATEMENT_ROLLBACK));
}

bool database_in_transaction(const Database *d) {
        return !sqlite3_get_autocommit(d->db);
}

int database_put(Database *d, TableId table, const void *row) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_PUT + (int) table);
        int rc;

        rc = table_bind(table, statement, row);
        if (rc == SQLITE_OK)
                rc = run(statement);
        return code_to_errno(d, rc);
}

int database_remove_package(Database *d, const char *digest) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_REMOVE_PACKAGE);

        sqlite3_bind_text(statement, 1, digest, -1, SQLITE_STATIC);
        return code_to_errno(d, run(statement));
}

int database_set_next_id(Database *d, uint64_t next_id) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_SET_NEXT_ID);

        sqlite3_bind_int64(statement, 1, (sqlite3_int64) next_id);
        return code_to_errno(d, run(statement));
}

int database_next_id(Database *d, uint64_t *ret) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_NEXT_ID);
        int rc = sqlite3_step(statement);

        if (rc == SQLITE_ROW) {
                sqlite3_int64 value = sqlite3_column_int64(statement, 0);
                *ret = value > 0 ? (uint64_t) value : 1;
        }
        sqlite3_reset(statement);
        return code_to_errno(d, rc);
}

int database_fetch(Database *d, TableId table, sqlite3_stmt *statement, void **ret, size_t *ret_n) {
        size_t size = table_row_size(table), n = 0, room = 0;
        _cleanup_free_ uint8_t *rows = NULL;
        int rc;

        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                if (n == room) {
                        void *more;
                        room = room ? room * 2 : 16;
                        more = reallocarray(rows, room, size);
                        if (!more) {
                                rc = SQLITE_NOMEM;
                                break;
                        }
                        rows = more;
                }
                table_read(table, statement, rows + size * n++);
        }
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        if (rc != SQLITE_DONE)
                return code_to_errno(d, rc);
        *ret = TAKE_PTR(rows);
        *ret_n = n;
        return 0;
}

int database_list_jobs(Database *d, uint64_t before, unsigned limit, StoreJob **ret, size_t *ret_n) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_LIST_JOBS);
        void *rows = NULL;
        int r;

        sqlite3_bind_int64(statement, 1, before == 0 || before > INT64_MAX ? INT64_MAX : (sqlite3_int64) before);
        sqlite3_bind_int64(statement, 2, limit);
        r = database_fetch(d, TABLE_JOBS, statement, &rows, ret_n);
        *ret = rows;
        return r;
}

int database_get_job(Database *d, uint64_t id, StoreJob **ret, size_t *ret_n) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_GET_JOB);
        void *rows = NULL;
        int r;

        sqlite3_bind_int64(statement, 1, (sqlite3_int64) id);
        r = database_fetch(d, TABLE_JOBS, statement, &rows, ret_n);
        *ret = rows;
        return r;
}

static int fetch_up_to(Database *d, StatementId id, TableId table, unsigned limit, void **ret, size_t *ret_n) {
        sqlite3_stmt *statement = statement_of(d, (int) id);

        sqlite3_bind_int64(statement, 1, limit);
        return database_fetch(d, table, statement, ret, ret_n);
}

/* Puts the rows behind those that an array (malloc, NULL while empty) has already. */
static int append_up_to(Database *d, StatementId id, TableId table, unsigned limit, void **array, size_t *n_array) {
        size_t size = table_row_size(table), n = 0;
        _cleanup_free_ void *rows = NULL;
        uint8_t *more;
        int r;

        r = fetch_up_to(d, id, table, limit, &rows, &n);
        if (r < 0 || n == 0)
                return r;
        more = reallocarray(*array, *n_array + n, size);
        if (!more)
                return -ENOMEM;
        memcpy(more + *n_array * size, rows, n * size);
        *array = more;
        *n_array += n;
        return 0;
}

static int load_jobs(Database *d, StoreSnapshot *ret) {
        size_t unfinished = 0;
        void *jobs = NULL;
        int r;

        r = append_up_to(d, STATEMENT_UNFINISHED_JOBS, TABLE_JOBS, ROWS_MAX, &jobs, &ret->n_jobs);
        if (r == 0) {
                unfinished = ret->n_jobs;
                r = append_up_to(d, STATEMENT_FINISHED_JOBS, TABLE_JOBS, FINISHED_IN_SNAPSHOT, &jobs, &ret->n_jobs);
        }
        ret->jobs = jobs;
        if (ret->n_jobs - unfinished == FINISHED_IN_SNAPSHOT)
                ret->complete_from = ret->jobs[unfinished].id;
        return r;
}

/* The record of a unit and the count of its batch are written one after the other: after a crash in between the records know. Some of
 * them may have been pruned, so never less than the row says. */
static int count_units(Database *d, StoreBatch *b) {
        sqlite3_stmt *statement = statement_of(d, STATEMENT_COUNT_UNITS);
        int rc;

        sqlite3_bind_int64(statement, 1, (sqlite3_int64) b->id);
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                const char *word = (const char *) sqlite3_column_text(statement, 0);
                JobResult result = word ? job_result_from_string(word) : JOB_RESULT_INVALID;
                uint64_t n = (uint64_t) sqlite3_column_int64(statement, 1);

                if (result == JOB_RESULT_DONE)
                        b->passed = MAX(b->passed, n);
                else if (result == JOB_RESULT_FAILED)
                        b->failed = MAX(b->failed, n);
                else if (result == JOB_RESULT_SKIPPED)
                        b->skipped = MAX(b->skipped, n);
        }
        sqlite3_reset(statement);
        return rc == SQLITE_DONE ? 0 : code_to_errno(d, rc);
}

static int load_batches(Database *d, StoreSnapshot *ret) {
        void *batches = NULL;
        int r;

        r = append_up_to(d, STATEMENT_OPEN_BATCHES, TABLE_BATCHES, OPEN_BATCHES_MAX, &batches, &ret->n_batches);
        if (r == 0)
                r = append_up_to(d, STATEMENT_ENDED_BATCHES, TABLE_BATCHES, ENDED_BATCHES_IN_SNAPSHOT, &batches, &ret->n_batches);
        ret->batches = batches;
        for (size_t i = 0; r == 0 && i < ret->n_batches; i++)
                r = count_units(d, ret->batches + i);
        return r;
}

int database_load(Database *d, StoreSnapshot *ret) {
        void *slots = NULL, *packages = NULL, *traits = NULL;
        int r;

        r = load_jobs(d, ret);
        if (r == 0)
                r = fetch_up_to(d, STATEMENT_SLOTS, TABLE_SLOTS, ROWS_MAX, &slots, &ret->n_slots);
        if (r == 0)
                r = fetch_up_to(d, STATEMENT_PACKAGES, TABLE_PACKAGES, ROWS_MAX, &packages, &ret->n_packages);
        if (r == 0)
                r = fetch_up_to(d, STATEMENT_TRAITS, TABLE_TRAITS, ROWS_MAX, &traits, &ret->n_traits);
        ret->slots = slots;
        ret->traits = traits;
        ret->packages = packages;
        if (r == 0)
                r = load_batches(d, ret);
        return r == 0 ? database_load_loaders(d, ret) : r;
}
