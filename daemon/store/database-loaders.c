/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "store/database.h"

/* The catalogue of loader pairs, and how each did on each model. */

#define PAIRS_MAX 10000
#define USES_MAX 10000

static int load_pairs(Database *d, StoreSnapshot *ret) {
        _cleanup_free_ char *sql = table_select_sql(TABLE_LOADERS, "ORDER BY added_usec DESC LIMIT ?1");
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        void *rows = NULL;
        int r;

        if (!sql)
                return -ENOMEM;
        r = database_prepare(d, sql, &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, PAIRS_MAX);
        r = database_fetch(d, TABLE_LOADERS, statement, &rows, &ret->n_loaders);
        ret->loaders = rows;
        return r;
}

static void read_use(sqlite3_stmt *s, StoreLoaderUse *ret) {
        database_text(s, 0, ret->hash, sizeof(ret->hash));
        database_text(s, 1, ret->model, sizeof(ret->model));
        ret->worked = (uint64_t) sqlite3_column_int64(s, 2);
        ret->failed = (uint64_t) sqlite3_column_int64(s, 3);
        ret->last_usec = (uint64_t) sqlite3_column_int64(s, 4);
        database_text(s, 5, ret->last_code, sizeof(ret->last_code));
}

static int load_uses(Database *d, StoreSnapshot *ret) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        size_t room = 0;
        int r, rc;

        r = database_prepare(d, "SELECT hash, model, worked, failed, last_usec, last_code FROM loader_uses ORDER BY last_usec DESC LIMIT ?1", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, USES_MAX);
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                if (ret->n_uses == room) {
                        StoreLoaderUse *more = reallocarray(ret->uses, room + 64, sizeof(*more));
                        if (!more)
                                return -ENOMEM;
                        ret->uses = more;
                        room += 64;
                }
                read_use(statement, ret->uses + ret->n_uses++);
        }
        return database_errno(d, rc);
}

int database_load_loaders(Database *d, StoreSnapshot *ret) {
        int r = load_pairs(d, ret);

        return r == 0 ? load_uses(d, ret) : r;
}

int database_count_use(Database *d, const StoreRecord *record) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        if (record->outcome == LOADERS_UNUSED || !record->loaders[0])
                return 0;
        r = database_prepare(d,
                             "INSERT INTO loader_uses VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(hash, model) DO UPDATE SET worked = worked + ?3, "
                             "failed = failed + ?4, last_usec = ?5, last_code = CASE WHEN ?6 = '' THEN last_code ELSE ?6 END",
                             &statement);
        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, record->loaders, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, record->model, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, record->outcome == LOADERS_WORKED);
        sqlite3_bind_int64(statement, 4, record->outcome == LOADERS_FAILED);
        sqlite3_bind_int64(statement, 5, (sqlite3_int64) record->finished_usec);
        sqlite3_bind_text(statement, 6, record->outcome == LOADERS_FAILED ? record->code : "", -1, SQLITE_STATIC);
        return database_errno(d, sqlite3_step(statement));
}
