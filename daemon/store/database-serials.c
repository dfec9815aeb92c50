/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "firmware/serials.h"
#include "store/database.h"

/* Serial numbers: who has which. A number is held for a job as long as that runs; if the job passes it is used for good, else it is free
 * again, and of a list or range the first that is free comes next. */

#define LOOK_BACK_MAX 100000

static int run(Database *d, sqlite3_stmt *statement) {
        int rc = sqlite3_step(statement);

        return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : database_errno(d, rc);
}

int database_put_stock(Database *d, const char *id, const char *text) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "INSERT OR IGNORE INTO serial_stocks(id, text, next) VALUES(?1, ?2, 0)", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, text, -1, SQLITE_STATIC);
        return run(d, statement);
}

/* 1: it holds one. */
static int held_by(Database *d, StoreSerial *s) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "SELECT value FROM serials WHERE job = ?1", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) s->job);
        r = sqlite3_step(statement);
        if (r == SQLITE_ROW)
                database_text(statement, 0, s->held, sizeof(s->held));
        return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : database_errno(d, r);
}

/* -EEXIST: taken, *ret_job says by whom. */
static int find_free(Database *d, const char *value, uint64_t *ret_job) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "SELECT job FROM serials WHERE value = ?1", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, value, -1, SQLITE_STATIC);
        r = sqlite3_step(statement);
        if (r == SQLITE_ROW)
                *ret_job = (uint64_t) sqlite3_column_int64(statement, 0);
        return r == SQLITE_ROW ? -EEXIST : r == SQLITE_DONE ? 0 : database_errno(d, r);
}

static int hold(Database *d, const StoreSerial *s, uint64_t position) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "INSERT INTO serials(value, job, used, stock, position, usec) VALUES(?1, ?2, 0, ?3, ?4, ?5)", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, s->held, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64) s->job);
        sqlite3_bind_text(statement, 3, s->stock, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 4, (sqlite3_int64) position);
        sqlite3_bind_int64(statement, 5, (sqlite3_int64) s->usec);
        return run(d, statement);
}

static int set_next(Database *d, const char *stock, uint64_t next) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "UPDATE serial_stocks SET next = ?2 WHERE id = ?1", &statement);

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, stock, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64) next);
        return run(d, statement);
}

static int take_from(Database *d, StoreSerial *s, const char *text, uint64_t from, uint64_t end) {
        uint64_t other;

        for (uint64_t i = from; i < end && serials_get(text, i, s->held); i++) {
                int r = find_free(d, s->held, &other);

                if (r == -EEXIST)
                        continue;
                if (r == 0)
                        r = hold(d, s, i);
                return r == 0 ? set_next(d, s->stock, i + 1) : r;
        }
        s->held[0] = '\0';
        return -ENODATA;
}

static int take_next(Database *d, StoreSerial *s) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, "SELECT text, next FROM serial_stocks WHERE id = ?1", &statement);
        const char *text;
        uint64_t next;

        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, s->stock, -1, SQLITE_STATIC);
        r = sqlite3_step(statement);
        if (r != SQLITE_ROW)
                return r == SQLITE_DONE ? -ENOENT : database_errno(d, r);
        text = (const char *) sqlite3_column_text(statement, 0);
        if (!text)
                return -ENOMEM;
        next = (uint64_t) sqlite3_column_int64(statement, 1);
        r = take_from(d, s, text, next, UINT64_MAX);
        /* What was passed over because somebody else had it may be free by now. */
        return r == -ENODATA ? take_from(d, s, text, 0, MIN(next, (uint64_t) LOOK_BACK_MAX)) : r;
}

int database_reserve_serial(Database *d, StoreSerial *s) {
        int r = held_by(d, s);

        if (r != 0)
                return r < 0 ? r : !s->value[0] || streq(s->value, s->held) ? 0 : -EBUSY;
        if (!s->value[0])
                return take_next(d, s);
        r = find_free(d, s->value, &s->other);
        if (r < 0)
                return r;
        snprintf(s->held, sizeof(s->held), "%s", s->value);
        return hold(d, s, 0);
}

static int for_job(Database *d, const char *sql, uint64_t job) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r = database_prepare(d, sql, &statement);

        if (r < 0)
                return r;
        if (sqlite3_bind_parameter_count(statement) > 0)
                sqlite3_bind_int64(statement, 1, (sqlite3_int64) job);
        return run(d, statement);
}

#define GIVE_BACK(which)                                                                                               \
        "UPDATE serial_stocks SET next = min(next, (SELECT min(position) FROM serials WHERE stock = serial_stocks.id AND " which ")) " \
        "WHERE id IN (SELECT stock FROM serials WHERE " which ")",                                                     \
                "DELETE FROM serials WHERE " which

int database_settle_serials(Database *d, uint64_t job, bool used) {
        static const char *const give_back[] = {GIVE_BACK("job = ?1 AND used = 0")};
        int r = 0;

        if (used)
                return for_job(d, "UPDATE serials SET used = 1 WHERE job = ?1", job);
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(give_back); i++)
                r = for_job(d, give_back[i], job);
        return r;
}

/* Held for jobs that nobody knows any more. */
int database_sweep_serials(Database *d) {
        static const char *const give_back[] = {
                GIVE_BACK("used = 0 AND job NOT IN (SELECT id FROM jobs WHERE state <> 'finished')"),
        };
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(give_back); i++)
                r = for_job(d, give_back[i], 0);
        return r;
}
