/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "firmware/digest.h"
#include "store/database.h"

/* Records of what happened to units. Each carries the hash of the one before it, and its own hash is of
 *
 *      previous \n seq \n id \n job \n … all columns in their order … \n json
 *
 * so a record that is changed, taken out or put in later shows. The table "chain" knows where the chain begins (what was pruned
 * in an orderly way) and where it ends (so that records cut off at the end show, too). */

#define SLICE 2000
#define COLUMNS                                                                                                     \
        "seq, id, job, batch, kind, result, code, port, label, digest, serial, serial_seen, chip, started_usec, " \
        "finished_usec, previous, hash"

/* Runs a statement without rows. */
static int finish(Database *d, sqlite3_stmt *statement) {
        return database_errno(d, sqlite3_step(statement));
}

typedef struct Chain {
        uint64_t pruned, head;
        char pruned_hash[65], head_hash[65];
} Chain;

static int read_chain(Database *d, Chain *ret) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, rc;

        *ret = (Chain) {};
        r = database_prepare(d, "SELECT pruned, pruned_hash, head, head_hash FROM chain WHERE id = 1", &statement);
        if (r < 0)
                return r;
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW)
                return rc == SQLITE_DONE ? -EBADMSG : database_errno(d, rc);
        ret->pruned = (uint64_t) sqlite3_column_int64(statement, 0);
        database_text(statement, 1, ret->pruned_hash, sizeof(ret->pruned_hash));
        ret->head = (uint64_t) sqlite3_column_int64(statement, 2);
        database_text(statement, 3, ret->head_hash, sizeof(ret->head_hash));
        return 0;
}

static int write_chain(Database *d, const Chain *c) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        r = database_prepare(d, "INSERT OR REPLACE INTO chain VALUES(1, ?1, ?2, ?3, ?4)", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) c->pruned);
        sqlite3_bind_text(statement, 2, c->pruned_hash, -1, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 3, (sqlite3_int64) c->head);
        sqlite3_bind_text(statement, 4, c->head_hash, -1, SQLITE_STATIC);
        return finish(d, statement);
}

static int record_hash(const StoreRecord *r, char ret[static 65]) {
        _cleanup_free_ char *text = NULL;
        int n;

        n = asprintf(&text,
                     "%s\n%" PRIu64 "\n%s\n%" PRIu64 "\n%" PRIu64 "\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%" PRIu64 "\n%" PRIu64 "\n%s",
                     r->previous, r->seq, r->id, r->job, r->batch, r->kind, r->result, r->code, r->port, r->label, r->digest,
                     r->serial, r->serial_seen, r->chip, r->started_usec, r->finished_usec, r->json);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }
        return digest_hex(text, (size_t) n, ret);
}

static int has_record(Database *d, uint64_t job, bool *ret) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, rc;

        r = database_prepare(d, "SELECT 1 FROM records WHERE job = ?1", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) job);
        rc = sqlite3_step(statement);
        *ret = rc == SQLITE_ROW;
        return database_errno(d, rc);
}

static int insert_record(Database *d, const StoreRecord *r) {
        _cleanup_statement_ sqlite3_stmt *row = NULL, *line = NULL;
        const char *const texts[] = {r->kind, r->result, r->code, r->port, r->label, r->digest, r->serial, r->serial_seen, r->chip};
        int e;

        e = database_prepare(d, "INSERT INTO records(" COLUMNS ", loaders, model) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
                             &row);
        if (e == 0)
                e = database_prepare(d, "INSERT INTO record_lines VALUES(?1, ?2)", &line);
        if (e < 0)
                return e;
        sqlite3_bind_int64(row, 1, (sqlite3_int64) r->seq);
        sqlite3_bind_text(row, 2, r->id, -1, SQLITE_STATIC);
        sqlite3_bind_int64(row, 3, (sqlite3_int64) r->job);
        sqlite3_bind_int64(row, 4, (sqlite3_int64) r->batch);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                sqlite3_bind_text(row, (int) i + 5, texts[i], -1, SQLITE_STATIC);
        sqlite3_bind_int64(row, 14, (sqlite3_int64) r->started_usec);
        sqlite3_bind_int64(row, 15, (sqlite3_int64) r->finished_usec);
        sqlite3_bind_text(row, 16, r->previous, -1, SQLITE_STATIC);
        sqlite3_bind_text(row, 17, r->hash, -1, SQLITE_STATIC);
        sqlite3_bind_text(row, 18, r->loaders, -1, SQLITE_STATIC);
        sqlite3_bind_text(row, 19, r->model, -1, SQLITE_STATIC);
        sqlite3_bind_int64(line, 1, (sqlite3_int64) r->seq);
        sqlite3_bind_text(line, 2, r->json, -1, SQLITE_STATIC);
        e = finish(d, row);
        return e < 0 ? e : finish(d, line);
}

int database_add_record(Database *d, const StoreRecord *record) {
        StoreRecord r = *record;
        bool there = false;
        Chain chain;
        int e;

        e = has_record(d, r.job, &there);
        if (e < 0 || there)
                return e;
        e = read_chain(d, &chain);
        if (e < 0)
                return e;
        r.seq = chain.head + 1;
        snprintf(r.previous, sizeof(r.previous), "%s", chain.head_hash);
        e = record_hash(&r, r.hash);
        if (e == 0)
                e = insert_record(d, &r);
        if (e == 0)
                e = database_count_use(d, &r);
        if (e < 0)
                return e;
        chain.head = r.seq;
        snprintf(chain.head_hash, sizeof(chain.head_hash), "%s", r.hash);
        return write_chain(d, &chain);
}

/* ---- reading ---- */

void records_free(StoreRecord *records, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(records[i].json);
        free(records);
}

static int read_record(sqlite3_stmt *s, StoreRecord *ret) {
        const char *json = (const char *) sqlite3_column_text(s, 17);
        struct {
                char *text;
                size_t size;
        } texts[] = {
                {ret->kind, sizeof(ret->kind)},     {ret->result, sizeof(ret->result)}, {ret->code, sizeof(ret->code)},
                {ret->port, sizeof(ret->port)},     {ret->label, sizeof(ret->label)},   {ret->digest, sizeof(ret->digest)},
                {ret->serial, sizeof(ret->serial)}, {ret->serial_seen, sizeof(ret->serial_seen)},
                {ret->chip, sizeof(ret->chip)},
        };

        memset(ret, 0, sizeof(*ret));
        ret->seq = (uint64_t) sqlite3_column_int64(s, 0);
        database_text(s, 1, ret->id, sizeof(ret->id));
        ret->job = (uint64_t) sqlite3_column_int64(s, 2);
        ret->batch = (uint64_t) sqlite3_column_int64(s, 3);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                database_text(s, (int) i + 4, texts[i].text, texts[i].size);
        ret->started_usec = (uint64_t) sqlite3_column_int64(s, 13);
        ret->finished_usec = (uint64_t) sqlite3_column_int64(s, 14);
        database_text(s, 15, ret->previous, sizeof(ret->previous));
        database_text(s, 16, ret->hash, sizeof(ret->hash));
        ret->json = strdup(json ? json : "");
        return ret->json ? 0 : -ENOMEM;
}

static int fetch_records(Database *d, sqlite3_stmt *statement, StoreRecord **ret, size_t *ret_n) {
        StoreRecord *rows = NULL;
        size_t n = 0, room = 0;
        int rc, r = 0;

        while (r == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
                if (n == room) {
                        StoreRecord *more = reallocarray(rows, room ? room * 2 : 16, sizeof(*rows));
                        if (!more) {
                                r = -ENOMEM;
                                break;
                        }
                        room = room ? room * 2 : 16;
                        rows = more;
                }
                r = read_record(statement, rows + n++);
        }
        if (r == 0)
                r = database_errno(d, rc);
        if (r < 0) {
                records_free(rows, n);
                return r;
        }
        *ret = rows;
        *ret_n = n;
        return 0;
}

#define SELECT "SELECT r.seq, r.id, r.job, r.batch, r.kind, r.result, r.code, r.port, r.label, r.digest, r.serial, " \
               "r.serial_seen, r.chip, r.started_usec, r.finished_usec, r.previous, r.hash, l.json "                    \
               "FROM records r LEFT JOIN record_lines l ON l.seq = r.seq WHERE r.seq "

/* Only the conditions that are asked for are in the statement, so that their indexes are used. */
static char *list_sql(const StoreRecordFilter *f) {
        return sqlite3_mprintf(SELECT "%s ?1%s%s%s%s%s%s%s%s%s%s%s%s ORDER BY r.seq %s LIMIT ?2", f->oldest_first ? ">" : "<",
                               f->serial[0] ? " AND (r.serial = ?3 OR r.serial_seen = ?3)" : "",
                               f->chip[0] ? " AND r.chip = ?4" : "",
                               f->slot[0] ? " AND (r.port = ?5 OR r.label = ?5)" : "", f->kind[0] ? " AND r.kind = ?6" : "",
                               f->result[0] ? " AND r.result = ?7" : "", f->code[0] ? " AND r.code = ?8" : "",
                               f->digest[0] ? " AND r.digest = ?9" : "", f->batch > 0 ? " AND r.batch = ?10" : "",
                               f->job > 0 ? " AND r.job = ?11" : "", f->since_usec > 0 ? " AND r.finished_usec >= ?12" : "",
                               f->until_usec != U64_UNKNOWN ? " AND r.finished_usec < ?13" : "",
                               f->loaders[0] ? " AND r.loaders >= ?14 AND r.loaders < ?14 || 'g'" : "",
                               f->oldest_first ? "ASC" : "DESC");
}

static void bind_filter(sqlite3_stmt *s, const StoreRecordFilter *f) {
        const char *const texts[] = {f->serial, f->chip, f->slot, f->kind, f->result, f->code, f->digest};
        const uint64_t numbers[] = {f->batch, f->job, f->since_usec, f->until_usec};

        sqlite3_bind_int64(s, 1, !f->oldest_first && (f->cursor == 0 || f->cursor > INT64_MAX) ? INT64_MAX : (sqlite3_int64) MIN(f->cursor, (uint64_t) INT64_MAX));
        sqlite3_bind_int64(s, 2, f->limit);
        /* Those that the statement does not have are SQLITE_RANGE, and that is fine. */
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                (void) sqlite3_bind_text(s, (int) i + 3, texts[i], -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(s, 14, f->loaders, -1, SQLITE_STATIC);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                (void) sqlite3_bind_int64(s, (int) i + 10, (sqlite3_int64) MIN(numbers[i], (uint64_t) INT64_MAX));
}

int database_list_records(Database *d, const StoreRecordFilter *filter, StoreRecord **ret, size_t *ret_n) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char *sql = list_sql(filter);
        int r;

        if (!sql)
                return -ENOMEM;
        r = database_prepare(d, sql, &statement);
        sqlite3_free(sql);
        if (r < 0)
                return r;
        bind_filter(statement, filter);
        return fetch_records(d, statement, ret, ret_n);
}

/* ---- the chain ---- */

static void found(StoreRecordCheck *c, uint64_t seq, const char *format, ...) _printf_(3, 4);
static void found(StoreRecordCheck *c, uint64_t seq, const char *format, ...) {
        va_list ap;

        c->bad_seq = seq;
        c->done = true;
        va_start(ap, format);
        vsnprintf(c->problem, sizeof(c->problem), format, ap);
        va_end(ap);
}

static int check_one(StoreRecordCheck *c, const StoreRecord *r) {
        char hash[65];
        int e;

        if (r->seq != c->seq + 1) {
                found(c, c->seq + 1, "Record %" PRIu64 " is missing.", c->seq + 1);
                return 0;
        }
        e = record_hash(r, hash);
        if (e < 0)
                return e;
        if (!streq(hash, r->hash))
                found(c, r->seq, "Record %" PRIu64 " was changed after it was written.", r->seq);
        else if (!streq(r->previous, c->hash))
                found(c, r->seq, "Record %" PRIu64 " does not follow the record before it.", r->seq);
        else {
                c->seq = r->seq;
                c->checked++;
                snprintf(c->hash, sizeof(c->hash), "%s", r->hash);
        }
        return 0;
}

static void check_end(StoreRecordCheck *c, const Chain *chain) {
        c->done = true;
        if (c->seq < chain->head)
                found(c, c->seq + 1, "The records from %" PRIu64 " to %" PRIu64 " are missing.", c->seq + 1, chain->head);
        else if (!streq(c->hash, chain->head_hash))
                found(c, c->seq, "Record %" PRIu64 " is not the one that was written last.", c->seq);
}

int database_check_records(Database *d, StoreRecordCheck *c) {
        StoreRecordFilter f = {.oldest_first = true, .until_usec = U64_UNKNOWN, .limit = SLICE};
        StoreRecord *rows = NULL;
        Chain chain;
        size_t n = 0;
        int r;

        r = read_chain(d, &chain);
        if (r < 0)
                return r;
        c->pruned = chain.pruned;
        if (c->seq <= chain.pruned) { /* the beginning, or records that were pruned meanwhile */
                c->seq = chain.pruned;
                snprintf(c->hash, sizeof(c->hash), "%s", chain.pruned_hash);
        }
        f.cursor = c->seq;
        r = database_list_records(d, &f, &rows, &n);
        for (size_t i = 0; r == 0 && !c->done && i < n; i++)
                r = check_one(c, rows + i);
        if (r == 0 && !c->done && n < SLICE)
                check_end(c, &chain);
        records_free(rows, n);
        return r;
}

/* The last record that may go: all before it ended before the time, too. */
static int prune_up_to(Database *d, const Chain *chain, uint64_t before_usec, uint64_t *ret) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, rc;

        r = database_prepare(d, "SELECT min(seq) FROM (SELECT seq FROM records ORDER BY seq LIMIT ?1) JOIN records USING(seq) WHERE finished_usec >= ?2",
                    &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, SLICE);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64) MIN(before_usec, (uint64_t) INT64_MAX));
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW)
                return database_errno(d, rc);
        *ret = sqlite3_column_type(statement, 0) == SQLITE_NULL ? chain->pruned + SLICE
                                                                : (uint64_t) sqlite3_column_int64(statement, 0) - 1;
        *ret = MIN(*ret, chain->head);
        return 0;
}

static int run_up_to(Database *d, const char *sql, uint64_t seq) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r;

        r = database_prepare(d, sql, &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) seq);
        return finish(d, statement);
}

static int hash_of(Database *d, uint64_t seq, char ret[static 65]) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        int r, rc;

        r = database_prepare(d, "SELECT hash FROM records WHERE seq = ?1", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, (sqlite3_int64) seq);
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW)
                return rc == SQLITE_DONE ? -EBADMSG : database_errno(d, rc);
        database_text(statement, 0, ret, 65);
        return 0;
}

int database_prune_records(Database *d, uint64_t before_usec, uint64_t *ret_n) {
        static const char *const sql[] = {
                "DELETE FROM intents WHERE job IN (SELECT job FROM records WHERE seq <= ?1)",
                "DELETE FROM jobs WHERE state = 'finished' AND id IN (SELECT job FROM records WHERE seq <= ?1)",
                "DELETE FROM record_lines WHERE seq <= ?1",
                "DELETE FROM records WHERE seq <= ?1",
        };
        uint64_t last = 0;
        Chain chain;
        int r;

        *ret_n = 0;
        r = read_chain(d, &chain);
        if (r == 0)
                r = prune_up_to(d, &chain, before_usec, &last);
        if (r < 0 || last <= chain.pruned)
                return r;
        *ret_n = last - chain.pruned;
        chain.pruned = last;
        r = hash_of(d, last, chain.pruned_hash);
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(sql); i++)
                r = run_up_to(d, sql[i], last);
        return r < 0 ? r : write_chain(d, &chain);
}
