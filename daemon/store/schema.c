/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/schema.h"

#include <stdio.h>

typedef enum FieldKind { FIELD_U64, FIELD_U32, FIELD_I32, FIELD_BOOL, FIELD_TEXT, FIELD_WORD } FieldKind;

typedef struct Words {
        const char *(*to_string)(int value);
        int (*from_string)(const char *word);
        int otherwise; /* for a word that this version does not know */
} Words;

#define DEFINE_FIELD_WORDS(name, Type, fallback)                        \
        static const char *name##_word(int value) {                     \
                return name##_to_string((Type) value);                  \
        }                                                               \
        static int name##_value(const char *word) {                     \
                return (int) name##_from_string(word);                  \
        }                                                               \
        static const Words name##_words = {name##_word, name##_value, fallback};

DEFINE_FIELD_WORDS(stage, Stage, STAGE_INVALID)
DEFINE_FIELD_WORDS(fail_class, FailClass, CLASS_HOST)
DEFINE_FIELD_WORDS(verdict, Verdict, VERDICT_NONE)
DEFINE_FIELD_WORDS(aftermath, Aftermath, AFTERMATH_NONE)
DEFINE_FIELD_WORDS(job_state, JobState, JOB_STATE_FINISHED)
DEFINE_FIELD_WORDS(job_result, JobResult, JOB_RESULT_FAILED)
DEFINE_FIELD_WORDS(batch_state, BatchState, BATCH_STATE_STOPPED)
DEFINE_FIELD_WORDS(flash_mode, FlashMode, FLASH_MODE_UPGRADE)

typedef struct Field {
        const char *column;
        FieldKind kind;
        size_t offset, size;
        const Words *words;
} Field;

#define FIELD(kind, Type, member, column) {column, FIELD_##kind, offsetof(Type, member), sizeof(((Type *) 0)->member), NULL}
#define WORD(table, Type, member, column) \
        {column, FIELD_WORD, offsetof(Type, member), sizeof(((Type *) 0)->member), &table##_words}

static const Field job_fields[] = {
        FIELD(U64, StoreJob, id, "id"),
        FIELD(TEXT, StoreJob, kind, "kind"),
        WORD(job_state, StoreJob, state, "state"),
        WORD(job_result, StoreJob, result, "result"),
        FIELD(TEXT, StoreJob, target_port, "target_port"),
        FIELD(BOOL, StoreJob, target_any, "target_any"),
        FIELD(TEXT, StoreJob, port, "port"),
        FIELD(TEXT, StoreJob, digest, "digest"),
        FIELD(TEXT, StoreJob, package_name, "package_name"),
        WORD(flash_mode, StoreJob, mode, "mode"),
        FIELD(U32, StoreJob, options, "options"),
        FIELD(U32, StoreJob, uid, "uid"),
        FIELD(U64, StoreJob, created_usec, "created_usec"),
        FIELD(U64, StoreJob, started_usec, "started_usec"),
        FIELD(U64, StoreJob, finished_usec, "finished_usec"),
        FIELD(U64, StoreJob, bytes_done, "bytes_done"),
        FIELD(U64, StoreJob, bytes_total, "bytes_total"),
        WORD(stage, StoreJob, stage, "stage"),
        FIELD(I32, StoreJob, step, "step"),
        FIELD(I32, StoreJob, step_count, "step_count"),
        WORD(fail_class, StoreJob, failure.class, "failure_class"),
        WORD(stage, StoreJob, failure.stage, "failure_stage"),
        FIELD(I32, StoreJob, failure.step, "failure_step"),
        FIELD(I32, StoreJob, failure.reply, "failure_reply"),
        FIELD(BOOL, StoreJob, failure.pdl, "failure_pdl"),
        FIELD(BOOL, StoreJob, failure.must_reflash, "failure_must_reflash"),
        WORD(verdict, StoreJob, failure.verdict, "failure_verdict"),
        WORD(aftermath, StoreJob, failure.aftermath, "failure_device_state"),
        FIELD(U32, StoreJob, failure.situation, "failure_situation"),
        FIELD(I32, StoreJob, failure.error, "failure_error"),
        FIELD(U32, StoreJob, failure.deadline_ms, "failure_deadline_ms"),
        FIELD(U32, StoreJob, failure.waited_ms, "failure_waited_ms"),
        FIELD(U32, StoreJob, failure.attempts, "failure_attempts"),
        FIELD(U64, StoreJob, failure.offset, "failure_offset"),
        FIELD(U64, StoreJob, failure.address, "failure_address"),
        FIELD(U64, StoreJob, failure.bytes_done, "failure_bytes_done"),
        FIELD(TEXT, StoreJob, failure.command, "failure_command"),
        FIELD(TEXT, StoreJob, failure.partition, "failure_partition"),
        FIELD(TEXT, StoreJob, failure.detail, "failure_detail"),
        FIELD(TEXT, StoreJob, failure.text, "failure_text"),
        FIELD(TEXT, StoreJob, code, "code"),
        FIELD(U64, StoreJob, retry_of, "retry_of"),
        FIELD(TEXT, StoreJob, note, "note"),
        FIELD(TEXT, StoreJob, operator_name, "operator"),
        FIELD(U64, StoreJob, batch, "batch"),
        FIELD(TEXT, StoreJob, choice, "choice"),
        FIELD(TEXT, StoreJob, statistics, "statistics"),
        FIELD(TEXT, StoreJob, unit, "unit"),
        FIELD(TEXT, StoreJob, serial, "serial"),
};
static const Field slot_fields[] = {
        FIELD(TEXT, StoreSlot, port, "port"),
        FIELD(TEXT, StoreSlot, label, "label"),
        FIELD(BOOL, StoreSlot, enabled, "enabled"),
        FIELD(U64, StoreSlot, passed, "passed"),
        FIELD(U64, StoreSlot, failed, "failed"),
        FIELD(TEXT, StoreSlot, last_result, "last_result"),
        FIELD(TEXT, StoreSlot, last_code, "last_code"),
        FIELD(U64, StoreSlot, last_job, "last_job"),
        FIELD(BOOL, StoreSlot, listed, "listed"),
        FIELD(TEXT, StoreSlot, quarantine, "quarantine"),
        FIELD(U64, StoreSlot, units, "units"),
        FIELD(U64, StoreSlot, timeouts, "timeouts"),
        FIELD(U64, StoreSlot, resets, "resets"),
        FIELD(U64, StoreSlot, garbled, "garbled"),
        FIELD(U64, StoreSlot, rate, "rate"),
        FIELD(TEXT, StoreSlot, loaders, "loaders"),
        FIELD(TEXT, StoreSlot, model, "model"),
        FIELD(BOOL, StoreSlot, passed_and_left, "passed_and_left"),
        FIELD(U64, StoreSlot, bad_links, "bad_links"),
};
static const Field package_fields[] = {
        FIELD(TEXT, StorePackage, digest, "digest"),
        FIELD(TEXT, StorePackage, name, "name"),
        FIELD(U64, StorePackage, size, "size"),
        FIELD(U64, StorePackage, imported_usec, "imported_usec"),
        FIELD(U32, StorePackage, imported_uid, "imported_uid"),
};
static const Field intent_fields[] = {
        FIELD(U64, StoreIntent, job, "job"),
        FIELD(I32, StoreIntent, step, "step"),
        WORD(stage, StoreIntent, stage, "stage"),
        FIELD(TEXT, StoreIntent, partition, "partition"),
        FIELD(U64, StoreIntent, usec, "usec"),
};
static const Field backup_fields[] = {
        FIELD(TEXT, StoreBackup, id, "id"),
        FIELD(U64, StoreBackup, job, "job"),
        FIELD(TEXT, StoreBackup, port, "port"),
        FIELD(TEXT, StoreBackup, name, "name"),
        FIELD(TEXT, StoreBackup, sha256, "sha256"),
        FIELD(U64, StoreBackup, size, "size"),
        FIELD(U64, StoreBackup, usec, "usec"),
        FIELD(TEXT, StoreBackup, unit, "unit"),
        FIELD(BOOL, StoreBackup, blank, "blank"),
        FIELD(BOOL, StoreBackup, imported, "imported"),
};
static const Field batch_fields[] = {
        FIELD(U64, StoreBatch, id, "id"),
        FIELD(TEXT, StoreBatch, name, "name"),
        FIELD(TEXT, StoreBatch, digest, "digest"),
        FIELD(TEXT, StoreBatch, package_name, "package_name"),
        FIELD(TEXT, StoreBatch, profile, "profile"),
        FIELD(TEXT, StoreBatch, operator_name, "operator"),
        WORD(batch_state, StoreBatch, state, "state"),
        FIELD(TEXT, StoreBatch, reason, "reason"),
        FIELD(TEXT, StoreBatch, slots, "slots"),
        FIELD(BOOL, StoreBatch, all_slots, "all_slots"),
        FIELD(BOOL, StoreBatch, armed, "armed"),
        FIELD(TEXT, StoreBatch, policy, "policy"),
        FIELD(U32, StoreBatch, uid, "uid"),
        FIELD(U64, StoreBatch, created_usec, "created_usec"),
        FIELD(U64, StoreBatch, finished_usec, "finished_usec"),
        FIELD(TEXT, StoreBatch, boot_id, "boot_id"),
        FIELD(U64, StoreBatch, passed, "passed"),
        FIELD(U64, StoreBatch, failed, "failed"),
        FIELD(U64, StoreBatch, skipped, "skipped"),
        FIELD(TEXT, StoreBatch, first_article, "first_article"),
        FIELD(TEXT, StoreBatch, cohort, "cohort"),
        FIELD(TEXT, StoreBatch, recent, "recent"),
};
static const Field trait_fields[] = {
        FIELD(TEXT, StoreTrait, loader, "loader"),
        FIELD(TEXT, StoreTrait, trait, "trait"),
        FIELD(TEXT, StoreTrait, value, "value"),
        FIELD(U64, StoreTrait, usec, "usec"),
};

static const Field loaders_fields[] = {
        FIELD(TEXT, StoreLoaders, hash, "hash"),
        FIELD(TEXT, StoreLoaders, family, "family"),
        FIELD(TEXT, StoreLoaders, board, "board"),
        FIELD(TEXT, StoreLoaders, product, "product"),
        FIELD(TEXT, StoreLoaders, storage, "storage"),
        FIELD(TEXT, StoreLoaders, signature, "signature"),
        FIELD(U64, StoreLoaders, fdl1_address, "fdl1_address"),
        FIELD(U64, StoreLoaders, fdl1_size, "fdl1_size"),
        FIELD(U64, StoreLoaders, fdl2_address, "fdl2_address"),
        FIELD(U64, StoreLoaders, fdl2_size, "fdl2_size"),
        FIELD(TEXT, StoreLoaders, digest, "digest"),
        FIELD(TEXT, StoreLoaders, package_name, "package_name"),
        FIELD(U64, StoreLoaders, added_usec, "added_usec"),
};

static const struct {
        const char *name;
        const Field *fields;
        size_t n, row_size;
        bool once;
} tables[TABLE_MAX] = {
        [TABLE_JOBS] = {"jobs", job_fields, ELEMENTSOF(job_fields), sizeof(StoreJob), false},
        [TABLE_SLOTS] = {"slots", slot_fields, ELEMENTSOF(slot_fields), sizeof(StoreSlot), false},
        [TABLE_PACKAGES] = {"packages", package_fields, ELEMENTSOF(package_fields), sizeof(StorePackage), false},
        [TABLE_INTENTS] = {"intents", intent_fields, ELEMENTSOF(intent_fields), sizeof(StoreIntent), true},
        [TABLE_BACKUPS] = {"backups", backup_fields, ELEMENTSOF(backup_fields), sizeof(StoreBackup), true},
        [TABLE_BATCHES] = {"batches", batch_fields, ELEMENTSOF(batch_fields), sizeof(StoreBatch), false},
        [TABLE_TRAITS] = {"loader_traits", trait_fields, ELEMENTSOF(trait_fields), sizeof(StoreTrait), false},
        [TABLE_LOADERS] = {"loaders", loaders_fields, ELEMENTSOF(loaders_fields), sizeof(StoreLoaders), false},
};

/* Each step is frozen once it was released: later versions add steps and leave these alone. */
static const char *const migrations[SCHEMA_VERSION] = {
        "CREATE TABLE meta(key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) @STRICT@;"
        "INSERT INTO meta VALUES('next-id', 1);"
        "INSERT INTO meta VALUES('opened', 0);"
        "CREATE TABLE jobs(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, result TEXT NOT NULL,"
        " target_port TEXT NOT NULL, target_any INTEGER NOT NULL, port TEXT NOT NULL, digest TEXT NOT NULL,"
        " package_name TEXT NOT NULL, mode TEXT NOT NULL, options INTEGER NOT NULL, uid INTEGER NOT NULL,"
        " created_usec INTEGER NOT NULL, started_usec INTEGER NOT NULL, finished_usec INTEGER NOT NULL,"
        " bytes_done INTEGER NOT NULL, bytes_total INTEGER NOT NULL, stage TEXT, step INTEGER NOT NULL,"
        " step_count INTEGER NOT NULL, failure_class TEXT NOT NULL, failure_stage TEXT, failure_step INTEGER NOT NULL,"
        " failure_reply INTEGER NOT NULL, failure_pdl INTEGER NOT NULL, failure_must_reflash INTEGER NOT NULL,"
        " failure_error INTEGER NOT NULL, failure_deadline_ms INTEGER NOT NULL, failure_waited_ms INTEGER NOT NULL,"
        " failure_attempts INTEGER NOT NULL, failure_offset INTEGER NOT NULL, failure_address INTEGER NOT NULL,"
        " failure_bytes_done INTEGER NOT NULL, failure_command TEXT NOT NULL, failure_partition TEXT NOT NULL,"
        " failure_detail TEXT NOT NULL, failure_text TEXT NOT NULL, code TEXT NOT NULL,"
        " retry_of INTEGER NOT NULL, note TEXT NOT NULL) @STRICT@;"
        "CREATE INDEX jobs_unfinished ON jobs(id) WHERE state <> 'finished';"
        "CREATE INDEX jobs_finished ON jobs(id) WHERE state = 'finished';"
        "CREATE TABLE slots(port TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL, enabled INTEGER NOT NULL,"
        " passed INTEGER NOT NULL, failed INTEGER NOT NULL, last_result TEXT NOT NULL, last_code TEXT NOT NULL,"
        " last_job INTEGER NOT NULL) @STRICT@;"
        "CREATE TABLE packages(digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL,"
        " imported_usec INTEGER NOT NULL, imported_uid INTEGER NOT NULL) @STRICT@;"
        "CREATE TABLE intents(seq INTEGER PRIMARY KEY, job INTEGER NOT NULL, step INTEGER NOT NULL, stage TEXT,"
        " partition TEXT NOT NULL, usec INTEGER NOT NULL) @STRICT@;"
        "CREATE INDEX intents_job ON intents(job);"
        "CREATE TABLE backups(id TEXT NOT NULL PRIMARY KEY, job INTEGER NOT NULL, port TEXT NOT NULL,"
        " name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, usec INTEGER NOT NULL) @STRICT@;"
        "CREATE INDEX backups_job ON backups(job);",
        /* The lines lie apart from what is searched: a search then reads little. */
        "CREATE TABLE records(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job INTEGER NOT NULL UNIQUE,"
        " batch INTEGER NOT NULL, kind TEXT NOT NULL, result TEXT NOT NULL, code TEXT NOT NULL, port TEXT NOT NULL,"
        " label TEXT NOT NULL, digest TEXT NOT NULL, serial TEXT NOT NULL, serial_seen TEXT NOT NULL, chip TEXT NOT NULL,"
        " started_usec INTEGER NOT NULL, finished_usec INTEGER NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL) @STRICT@;"
        "CREATE INDEX records_batch ON records(batch);"
        "CREATE INDEX records_result ON records(result);"
        "CREATE INDEX records_code ON records(code);"
        "CREATE INDEX records_port ON records(port);"
        "CREATE INDEX records_label ON records(label);"
        "CREATE INDEX records_digest ON records(digest);"
        "CREATE INDEX records_serial ON records(serial);"
        "CREATE INDEX records_serial_seen ON records(serial_seen);"
        "CREATE INDEX records_chip ON records(chip);"
        "CREATE INDEX records_finished ON records(finished_usec);"
        "CREATE TABLE record_lines(seq INTEGER PRIMARY KEY, json TEXT NOT NULL) @STRICT@;"
        "CREATE TABLE chain(id INTEGER PRIMARY KEY CHECK(id = 1), pruned INTEGER NOT NULL, pruned_hash TEXT NOT NULL,"
        " head INTEGER NOT NULL, head_hash TEXT NOT NULL) @STRICT@;"
        "INSERT INTO chain VALUES(1, 0, '', 0, '');",
        "ALTER TABLE jobs ADD COLUMN operator TEXT NOT NULL DEFAULT '';",
        "ALTER TABLE jobs ADD COLUMN batch INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN listed INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN quarantine TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE slots ADD COLUMN units INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN timeouts INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN resets INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN garbled INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN rate INTEGER NOT NULL DEFAULT 0;"
        "CREATE TABLE batches(id INTEGER PRIMARY KEY, name TEXT NOT NULL, digest TEXT NOT NULL, package_name TEXT NOT NULL,"
        " profile TEXT NOT NULL, operator TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, slots TEXT NOT NULL,"
        " all_slots INTEGER NOT NULL, armed INTEGER NOT NULL, policy TEXT NOT NULL, uid INTEGER NOT NULL,"
        " created_usec INTEGER NOT NULL, finished_usec INTEGER NOT NULL, boot_id TEXT NOT NULL, passed INTEGER NOT NULL,"
        " failed INTEGER NOT NULL, skipped INTEGER NOT NULL, first_article TEXT NOT NULL, cohort TEXT NOT NULL,"
        " recent TEXT NOT NULL) @STRICT@;",
        "CREATE TABLE table_changes(job INTEGER PRIMARY KEY, unit TEXT NOT NULL, port TEXT NOT NULL,"
        " opened_usec INTEGER NOT NULL, closed_usec INTEGER NOT NULL) @STRICT@;"
        "CREATE INDEX table_changes_open ON table_changes(unit, port) WHERE closed_usec = 0;",
        "ALTER TABLE backups ADD COLUMN unit TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE backups ADD COLUMN blank INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE backups ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;"
        "CREATE INDEX backups_unit ON backups(unit);"
        "CREATE INDEX backups_usec ON backups(usec);",
        "CREATE TABLE loader_traits(loader TEXT NOT NULL, trait TEXT NOT NULL, value TEXT NOT NULL, usec INTEGER NOT NULL,"
        " PRIMARY KEY(loader, trait)) @STRICT@;",
        "ALTER TABLE jobs ADD COLUMN failure_verdict TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE jobs ADD COLUMN failure_device_state TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE jobs ADD COLUMN failure_situation INTEGER NOT NULL DEFAULT 0;",
        "CREATE TABLE loaders(hash TEXT NOT NULL PRIMARY KEY, family TEXT NOT NULL, board TEXT NOT NULL, product TEXT NOT NULL,"
        " storage TEXT NOT NULL, signature TEXT NOT NULL, fdl1_address INTEGER NOT NULL, fdl1_size INTEGER NOT NULL,"
        " fdl2_address INTEGER NOT NULL, fdl2_size INTEGER NOT NULL, digest TEXT NOT NULL, package_name TEXT NOT NULL,"
        " added_usec INTEGER NOT NULL) @STRICT@;"
        "CREATE TABLE loader_uses(hash TEXT NOT NULL, model TEXT NOT NULL, worked INTEGER NOT NULL, failed INTEGER NOT NULL,"
        " last_usec INTEGER NOT NULL, last_code TEXT NOT NULL, PRIMARY KEY(hash, model)) @STRICT@;"
        "ALTER TABLE records ADD COLUMN loaders TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE records ADD COLUMN model TEXT NOT NULL DEFAULT '';"
        "CREATE INDEX records_loaders ON records(loaders) WHERE loaders <> '';"
        "ALTER TABLE jobs ADD COLUMN statistics TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE slots ADD COLUMN loaders TEXT NOT NULL DEFAULT '';"
        "ALTER TABLE slots ADD COLUMN model TEXT NOT NULL DEFAULT '';",
        "ALTER TABLE jobs ADD COLUMN unit TEXT NOT NULL DEFAULT '';",
        "ALTER TABLE jobs ADD COLUMN choice TEXT NOT NULL DEFAULT '';",
        "ALTER TABLE jobs ADD COLUMN serial TEXT NOT NULL DEFAULT '';"
        "CREATE TABLE serial_stocks(id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL, next INTEGER NOT NULL) @STRICT@;"
        "CREATE TABLE serials(value TEXT NOT NULL PRIMARY KEY, job INTEGER NOT NULL UNIQUE, used INTEGER NOT NULL,"
        " stock TEXT NOT NULL, position INTEGER NOT NULL, usec INTEGER NOT NULL) @STRICT@;"
        "CREATE INDEX serials_held ON serials(stock, position) WHERE used = 0;",
        "ALTER TABLE slots ADD COLUMN passed_and_left INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE slots ADD COLUMN bad_links INTEGER NOT NULL DEFAULT 0;",
};

static int exec(sqlite3 *db, const char *sql) {
        return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int user_version(sqlite3 *db, int *ret) {
        sqlite3_stmt *statement = NULL;
        int rc;

        rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
        if (rc == SQLITE_OK)
                rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
                *ret = sqlite3_column_int(statement, 0);
                rc = SQLITE_OK;
        }
        sqlite3_finalize(statement);
        return rc;
}

/* STRICT tables came with SQLite 3.37. */
static char *with_strict(const char *sql) {
        static const char mark[] = "@STRICT@", strict[] = "STRICT";
        bool able = sqlite3_libversion_number() >= 3037000;
        char *copy = strdup(sql);

        if (!copy)
                return NULL;
        for (char *p = copy; (p = strstr(p, mark));) {
                memset(p, ' ', strlen(mark));
                if (able)
                        memcpy(p, strict, strlen(strict));
        }
        return copy;
}

static int migrate_step(sqlite3 *db, int to) {
        _cleanup_free_ char *sql = with_strict(migrations[to - 1]);
        char version[48];
        int rc;

        if (!sql)
                return SQLITE_NOMEM;
        snprintf(version, sizeof(version), "PRAGMA user_version = %d", to);
        rc = exec(db, "BEGIN IMMEDIATE");
        if (rc == SQLITE_OK)
                rc = exec(db, sql);
        if (rc == SQLITE_OK)
                rc = exec(db, version);
        if (rc == SQLITE_OK)
                rc = exec(db, "COMMIT");
        if (rc != SQLITE_OK && !sqlite3_get_autocommit(db))
                (void) exec(db, "ROLLBACK");
        return rc;
}

int schema_migrate(sqlite3 *db) {
        int version = 0, rc;

        rc = user_version(db, &version);
        if (rc != SQLITE_OK)
                return rc;
        /* No fdld will come that far: the number itself is damaged. */
        if (version < 0 || version > 10000)
                return SQLITE_CORRUPT;
        if (version > SCHEMA_VERSION)
                return SQLITE_MISMATCH;
        while (rc == SQLITE_OK && version < SCHEMA_VERSION)
                rc = migrate_step(db, ++version);
        return rc;
}

static char *column_list(TableId table) {
        char *s = sqlite3_mprintf("");

        for (size_t i = 0; s && i < tables[table].n; i++)
                s = sqlite3_mprintf("%z%s%s", s, i > 0 ? ", " : "", tables[table].fields[i].column);
        return s;
}

/* The rest of the program frees with free(). */
static char *own(char *sqlite_string) {
        char *copy = sqlite_string ? strdup(sqlite_string) : NULL;

        sqlite3_free(sqlite_string);
        return copy;
}

char *table_insert_sql(TableId table) {
        char *columns = column_list(table), *marks = sqlite3_mprintf("?1"), *sql = NULL;

        for (size_t i = 1; marks && i < tables[table].n; i++)
                marks = sqlite3_mprintf("%z, ?%d", marks, (int) i + 1);
        if (columns && marks)
                sql = sqlite3_mprintf("INSERT %sINTO %s(%s) VALUES(%s)", tables[table].once ? "" : "OR REPLACE ",
                                      tables[table].name, columns, marks);
        sqlite3_free(columns);
        sqlite3_free(marks);
        return own(sql);
}

char *table_select_sql(TableId table, const char *tail) {
        char *columns = column_list(table), *sql = NULL;

        if (columns)
                sql = sqlite3_mprintf("SELECT %s FROM %s %s", columns, tables[table].name, tail);
        sqlite3_free(columns);
        return own(sql);
}

size_t table_row_size(TableId table) {
        return tables[table].row_size;
}

static int bind_field(const Field *f, sqlite3_stmt *statement, int i, const void *member) {
        const char *word;

        switch (f->kind) {
        case FIELD_U64:
                return sqlite3_bind_int64(statement, i, (sqlite3_int64) * (const uint64_t *) member);
        case FIELD_U32:
                return sqlite3_bind_int64(statement, i, *(const uint32_t *) member);
        case FIELD_I32:
                return sqlite3_bind_int(statement, i, *(const int32_t *) member);
        case FIELD_BOOL:
                return sqlite3_bind_int(statement, i, *(const bool *) member);
        case FIELD_TEXT:
                return sqlite3_bind_text(statement, i, member, (int) strnlen(member, f->size - 1), SQLITE_STATIC);
        case FIELD_WORD:
                word = f->words->to_string(*(const int *) member);
                return word ? sqlite3_bind_text(statement, i, word, -1, SQLITE_STATIC) : sqlite3_bind_null(statement, i);
        }
        return SQLITE_MISUSE;
}

int table_bind(TableId table, sqlite3_stmt *statement, const void *row) {
        int rc = SQLITE_OK;

        for (size_t i = 0; rc == SQLITE_OK && i < tables[table].n; i++) {
                const Field *f = tables[table].fields + i;
                rc = bind_field(f, statement, (int) i + 1, (const uint8_t *) row + f->offset);
        }
        return rc;
}

static void read_text(const Field *f, sqlite3_stmt *statement, int i, char *member) {
        const void *text = sqlite3_column_text(statement, i);
        int n = sqlite3_column_bytes(statement, i);
        size_t length = text && n > 0 ? MIN((size_t) n, f->size - 1) : 0;

        if (length > 0)
                memcpy(member, text, length);
        member[length] = '\0';
}

static void read_field(const Field *f, sqlite3_stmt *statement, int i, void *member) {
        int value;

        switch (f->kind) {
        case FIELD_U64:
                *(uint64_t *) member = (uint64_t) sqlite3_column_int64(statement, i);
                break;
        case FIELD_U32:
                *(uint32_t *) member = (uint32_t) sqlite3_column_int64(statement, i);
                break;
        case FIELD_I32:
                *(int32_t *) member = sqlite3_column_int(statement, i);
                break;
        case FIELD_BOOL:
                *(bool *) member = sqlite3_column_int64(statement, i) != 0;
                break;
        case FIELD_TEXT:
                read_text(f, statement, i, member);
                break;
        case FIELD_WORD:
                value = f->words->from_string((const char *) sqlite3_column_text(statement, i));
                *(int *) member = value < 0 ? f->words->otherwise : value;
                break;
        }
}

void table_read(TableId table, sqlite3_stmt *statement, void *row) {
        memset(row, 0, tables[table].row_size);
        for (size_t i = 0; i < tables[table].n; i++) {
                const Field *f = tables[table].fields + i;
                read_field(f, statement, (int) i, (uint8_t *) row + f->offset);
        }
}
