/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "store/database.h"

/* Partition tables that were being changed: opened with the intent, closed when a job on that unit ended well. What the job saved
 * before is among the backups, by its number. */

#define AREAS_MAX 256

/* A unit without a name of its own is only known by where it was. */
#define SAME_UNIT \
        "table_changes.closed_usec = 0 AND table_changes.unit = ?1 AND (table_changes.unit <> '' OR table_changes.port = ?2)"

static void bind_unit(sqlite3_stmt *statement, const StoreChange *c) {
        sqlite3_bind_text(statement, 1, c->unit, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, c->port, -1, SQLITE_STATIC);
}

int database_open_change(Database *d, const StoreChange *c) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "INSERT OR REPLACE INTO table_changes(unit, port, job, opened_usec, closed_usec) VALUES(?1, ?2, ?3, ?4, 0)",
                        &statement);

        if (r < 0)
                return r;
        bind_unit(statement, c);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64) c->job);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64) c->usec);
        return database_errno(d, sqlite3_step(statement));
}

int database_close_changes(Database *d, const StoreChange *c) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "UPDATE table_changes SET closed_usec = ?3 WHERE " SAME_UNIT, &statement);

        if (r < 0)
                return r;
        bind_unit(statement, c);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64) c->usec);
        return database_errno(d, sqlite3_step(statement));
}

static bool have(const StoreBackup *list, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (streq(list[i].name, name))
                        return true;
        return false;
}

/* The oldest job that is open says what the unit's own data are: a later one may have read what the change had already moved. */
int database_list_change(Database *d, const StoreChange *c, StoreBackup **ret, size_t *ret_n) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        _cleanup_free_ StoreBackup *list = calloc(AREAS_MAX, sizeof(StoreBackup));
        size_t n = 0;
        int r, rc;

        if (!list)
                return -ENOMEM;
        r = database_prepare(d,
                    "SELECT b.job, b.name, b.id, b.sha256, b.size FROM backups b JOIN table_changes ON b.job = table_changes.job "
                    "WHERE " SAME_UNIT " AND b.name <> 'partition-table' ORDER BY b.job, b.usec",
                    &statement);
        if (r < 0)
                return r;
        bind_unit(statement, c);
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW && n < AREAS_MAX) {
                StoreBackup *b = list + n;

                database_text(statement, 1, b->name, sizeof(b->name));
                if (have(list, n, b->name))
                        continue;
                b->job = (uint64_t) sqlite3_column_int64(statement, 0);
                database_text(statement, 2, b->id, sizeof(b->id));
                database_text(statement, 3, b->sha256, sizeof(b->sha256));
                b->size = (uint64_t) sqlite3_column_int64(statement, 4);
                n++;
        }
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return database_errno(d, rc);
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}
