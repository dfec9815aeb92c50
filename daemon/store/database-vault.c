/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "store/database.h"

/* The index of the vault: which entry belongs to which unit. */

int database_list_backups(Database *d, const StoreBackupFilter *f, StoreBackup **ret, size_t *ret_n) {
        _cleanup_free_ char *sql =
                table_select_sql(TABLE_BACKUPS, "WHERE (?1 = '' OR id = ?1) AND (?2 = '' OR unit = ?2) AND (?3 = '' OR port = ?3) AND "
                                                "(?4 = 0 OR job = ?4) AND (usec < ?5 OR (usec = ?5 AND ?7 <> '' AND id > ?7)) "
                                                "ORDER BY usec DESC, id LIMIT ?6");
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        void *rows = NULL;
        int r;

        if (!sql)
                return -ENOMEM;
        r = database_prepare(d, sql, &statement);
        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, f->id, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, f->unit, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 3, f->port, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64) f->job);
        sqlite3_bind_int64(statement, 5, f->before_usec == 0 || f->before_usec > INT64_MAX ? INT64_MAX : (sqlite3_int64) f->before_usec);
        sqlite3_bind_int64(statement, 6, f->limit);
        sqlite3_bind_text(statement, 7, f->after, -1, SQLITE_STATIC);
        r = database_fetch(d, TABLE_BACKUPS, statement, &rows, ret_n);
        if (r == 0)
                *ret = rows;
        return r;
}

int database_forget_recovered(Database *d, const char *id) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "DELETE FROM backups WHERE id = ?1 AND job = 0 AND name = '" STORE_RECOVERED "'", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
        return database_errno(d, sqlite3_step(statement));
}

static int read_unit(Database *d, StoreBackup *b) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "SELECT unit FROM backups WHERE job = ?1 AND imported = 0 AND unit <> '' LIMIT 1", &statement), rc;

        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) b->job);
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
                database_text(statement, 0, b->unit, sizeof(b->unit));
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : database_errno(d, rc);
}

int database_tie_backup(Database *d, StoreBackup *b) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        if (!b->unit[0])
                return read_unit(d, b);
        r = database_prepare(d, "UPDATE backups SET unit = ?2 WHERE job = ?1 AND imported = 0 AND unit = ''", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) b->job);
        sqlite3_bind_text(statement, 2, b->unit, -1, SQLITE_STATIC);
        return database_errno(d, sqlite3_step(statement));
}
