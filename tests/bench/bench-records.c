/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench-records DATABASE RECORDS QUEUED: makes a database as a station has it after years out of one with a record and a queued job: copies of
 * its newest record of a flash that was done, with other units, sockets, times and results, each on the chain, and copies of its newest queued job.
 * The lines of the records are shorter than real ones: without files and stages. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static sqlite3 *db;

static void die(const char *what) {
        fprintf(stderr, "bench-records: %s: %s\n", what, sqlite3_errmsg(db));
        exit(1);
}

static void run(const char *sql) {
        if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
                die(sql);
}

static sqlite3_stmt *prepare(const char *sql) {
        sqlite3_stmt *s = NULL;

        if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
                die(sql);
        return s;
}

static void step(sqlite3_stmt *s) {
        if (sqlite3_step(s) != SQLITE_DONE)
                die(sqlite3_sql(s));
        sqlite3_reset(s);
}

static int64_t number(const char *sql) {
        sqlite3_stmt *s = prepare(sql);
        int64_t n = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;

        sqlite3_finalize(s);
        return n;
}

static void hash_text(const char *text, size_t n, char ret[static 65]) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned size = 0;

        if (!EVP_Digest(text, n, digest, &size, EVP_sha256(), NULL))
                die("SHA-256");
        for (unsigned i = 0; i < 32; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

/* Indexes are made again behind the rows, which is much faster. */
static char *drop_indexes(void) {
        sqlite3_stmt *s = prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ('records', 'jobs')");
        char *again = sqlite3_mprintf(""), *drop = sqlite3_mprintf("");

        while (sqlite3_step(s) == SQLITE_ROW) {
                again = sqlite3_mprintf("%z%s;", again, sqlite3_column_text(s, 1));
                drop = sqlite3_mprintf("%zDROP INDEX %s;", drop, sqlite3_column_text(s, 0));
        }
        sqlite3_finalize(s);
        run(drop);
        sqlite3_free(drop);
        return again;
}

typedef struct Rows {
        sqlite3_stmt *record, *line, *job;
        int64_t first, first_usec;
        char head[65], digest[65];
} Rows;

static const char *const codes[] = {"write-gone", "exec-fdl2-refused-84", "handshake-silent", "verify-mismatch-readback"};

static void add_record(Rows *r, int64_t seq) {
        uint64_t unit = (uint64_t) seq * 0x9e3779b97f4a7c15ULL;
        int64_t job = r->first + seq, started = r->first_usec + seq * 60000000LL;
        const char *result = seq % 50 == 7 ? "failed" : "done", *code = seq % 50 == 7 ? codes[seq / 50 % 4] : "";
        char id[48], serial[24], chip[40], port[48], label[8], json[1024], text[4096], hash[65];
        int64_t batch = 1 + seq / 5000;
        int n;

        snprintf(id, sizeof(id), "%08" PRIx64 "-0000-4000-8000-%012" PRIx64, (uint64_t) seq, unit >> 16);
        snprintf(serial, sizeof(serial), "SN%010" PRId64, seq);
        snprintf(chip, sizeof(chip), "%016" PRIx64 "%016" PRIx64, unit, ~unit);
        snprintf(port, sizeof(port), "pci-0000:00:14.0-usb-0:%d", (int) (seq % 16 + 1));
        snprintf(label, sizeof(label), "A%d", (int) (seq % 16 + 1));
        snprintf(json, sizeof(json),
                 "{\"version\":1,\"id\":\"%s\",\"job\":%" PRId64 ",\"kind\":\"flash\",\"station\":\"bench\",\"port\":\"%s\",\"slot\":\"%s\",\"uid\":0,"
                 "\"batch\":%" PRId64 ",\"package\":{\"sha256\":\"%s\",\"name\":\"phone.pac\"},\"mode\":\"upgrade\",\"unit\":{\"chip-uid\":\"%s\",\"serial\":\"%s\"},"
                 "\"result\":\"%s\",\"code\":\"%s\",\"started_usec\":%" PRId64 ",\"finished_usec\":%" PRId64 ",\"bytes_done\":61747200,\"retries\":0}",
                 id, job, port, label, batch, r->digest, chip, serial, result, code, started, started + 30000000);
        n = snprintf(text, sizeof(text),
                     "%s\n%" PRId64 "\n%s\n%" PRId64 "\n%" PRId64 "\nflash\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%" PRId64 "\n%" PRId64 "\n%s", r->head, seq, id, job,
                     batch, result, code, port, label, r->digest, serial, serial, chip, started, started + 30000000, json);
        hash_text(text, (size_t) n, hash);
        const char *const values[] = {id, result, code, port, label, serial, chip, r->head, hash};
        for (int i = 0; i < 9; i++)
                sqlite3_bind_text(r->record, i + 1, values[i], -1, SQLITE_TRANSIENT);
        const int64_t numbers[] = {seq, job, batch, started, started + 30000000};
        for (int i = 0; i < 5; i++)
                sqlite3_bind_int64(r->record, i + 10, numbers[i]);
        step(r->record);
        sqlite3_bind_int64(r->line, 1, seq);
        sqlite3_bind_text(r->line, 2, json, -1, SQLITE_TRANSIENT);
        step(r->line);
        const int64_t row[] = {job, started, started + 30000000, batch};
        for (int i = 0; i < 4; i++)
                sqlite3_bind_int64(r->job, i + 1, row[i]);
        sqlite3_bind_text(r->job, 5, port, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(r->job, 6, chip, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(r->job, 7, result, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(r->job, 8, code, -1, SQLITE_TRANSIENT);
        step(r->job);
        memcpy(r->head, hash, sizeof(r->head));
}

/* "INSERT INTO jobs SELECT …" of one row with some columns replaced. */
static char *copy_job_sql(const char *where, const char *const *columns, const char *const *values) {
        sqlite3_stmt *s = prepare("SELECT name FROM pragma_table_info('jobs') ORDER BY cid");
        char *list = sqlite3_mprintf("");

        while (sqlite3_step(s) == SQLITE_ROW) {
                const char *name = (const char *) sqlite3_column_text(s, 0), *value = name;
                for (int i = 0; columns[i]; i++)
                        if (strcmp(columns[i], name) == 0)
                                value = values[i];
                list = sqlite3_mprintf("%z%s%s", list, list[0] ? ", " : "", value);
        }
        sqlite3_finalize(s);
        return sqlite3_mprintf("INSERT INTO jobs SELECT %z FROM template WHERE %s", list, where);
}

static void make_records(int64_t n, int64_t first) {
        static const char *const columns[] = {"id", "started_usec", "finished_usec", "batch", "port", "unit", "result", "code", NULL};
        static const char *const values[] = {"?1", "?2", "?3", "?4", "?5", "?6", "?7", "?8", NULL};
        Rows r = {.first = first, .first_usec = (int64_t) (time(NULL) - n * 60) * 1000000};
        sqlite3_stmt *s;

        s = prepare("SELECT digest FROM records WHERE result = 'done' ORDER BY seq DESC LIMIT 1");
        if (sqlite3_step(s) != SQLITE_ROW)
                die("no record to copy");
        snprintf(r.digest, sizeof(r.digest), "%s", sqlite3_column_text(s, 0));
        sqlite3_finalize(s);
        run("CREATE TEMP TABLE template AS SELECT * FROM jobs WHERE id = (SELECT job FROM records WHERE result = 'done' ORDER BY seq DESC LIMIT 1)");
        run("DELETE FROM records; DELETE FROM record_lines; DELETE FROM jobs WHERE state = 'finished'");
        char *record = sqlite3_mprintf("INSERT INTO records(id, result, code, port, label, serial, chip, previous, hash, seq, job, batch, started_usec, finished_usec,"
                                       " kind, digest, serial_seen) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,'flash','%s',?6)", r.digest);
        char *job = copy_job_sql("1", columns, values);
        r.record = prepare(record);
        r.line = prepare("INSERT INTO record_lines VALUES(?1, ?2)");
        r.job = prepare(job);
        for (int64_t seq = 1; seq <= n; seq++)
                add_record(&r, seq);
        s = prepare("INSERT OR REPLACE INTO chain VALUES(1, 0, '', ?1, ?2)");
        sqlite3_bind_int64(s, 1, n);
        sqlite3_bind_text(s, 2, r.head, -1, SQLITE_STATIC);
        step(s);
        sqlite3_finalize(s);
        sqlite3_finalize(r.record);
        sqlite3_finalize(r.line);
        sqlite3_finalize(r.job);
        sqlite3_free(record);
        sqlite3_free(job);
        run("DROP TABLE template");
}

static void make_queue(int64_t n, int64_t first) {
        static const char *const columns[] = {"id", NULL}, *const values[] = {"?1", NULL};

        run("CREATE TEMP TABLE template AS SELECT * FROM jobs WHERE state <> 'finished' ORDER BY id DESC LIMIT 1");
        char *sql = copy_job_sql("1", columns, values);
        sqlite3_stmt *s = prepare(sql);
        for (int64_t i = 1; i < n; i++) {
                sqlite3_bind_int64(s, 1, first + i);
                step(s);
        }
        sqlite3_finalize(s);
        sqlite3_free(sql);
        run("DROP TABLE template");
}

int main(int argc, char **argv) {
        int64_t records, queued, first;
        char next[96];

        if (argc != 4) {
                fprintf(stderr, "usage: bench-records DATABASE RECORDS QUEUED\n");
                return 2;
        }
        records = strtoll(argv[2], NULL, 10);
        queued = strtoll(argv[3], NULL, 10);
        if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
                die(argv[1]);
        run("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = MEMORY; BEGIN");
        first = number("SELECT value FROM meta WHERE key = 'next-id'");
        char *again = drop_indexes();
        make_records(records, first);
        make_queue(queued, first + records);
        run(again);
        snprintf(next, sizeof(next), "UPDATE meta SET value = %" PRId64 " WHERE key = 'next-id'", first + records + queued + 1);
        run(next);
        run("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
        printf("serial SN%010" PRId64 "\n", records / 2);
        sqlite3_free(again);
        sqlite3_close(db);
        return 0;
}
