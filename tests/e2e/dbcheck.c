/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dbcheck DATABASE: is a daemon's database whole, by the look of somebody who shares no code with it? Then a line for each record on stdout:
 * number, job, result, code, port, chip, must_reflash (0 or 1), hash; "-" for what is empty. Give it a copy: it opens the database as SQLite
 * does, which puts the write-ahead log in. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *db;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("dbcheck: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static sqlite3_stmt *prepare(const char *sql) {
        sqlite3_stmt *s = NULL;

        if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
                die("%s: %s", sql, sqlite3_errmsg(db));
        return s;
}

static const char *text(sqlite3_stmt *s, int column) {
        return (const char *) sqlite3_column_text(s, column) ?: "";
}

static const char *shown(const char *t) {
        return t[0] ? t : "-";
}

static void check_whole(void) {
        sqlite3_stmt *s = prepare("PRAGMA integrity_check");

        if (sqlite3_step(s) != SQLITE_ROW || strcmp(text(s, 0), "ok") != 0)
                die("the database is damaged: %s", text(s, 0));
        sqlite3_finalize(s);
}

/* Each of these must find nothing. */
static void check_rules(void) {
        static const struct {
                const char *sql, *what;
        } rules[] = {
                {"SELECT id FROM jobs WHERE kind = 'flash' AND state = 'finished' AND id NOT IN (SELECT job FROM records)",
                 "ended, but has no record"},
                {"SELECT job FROM records GROUP BY job HAVING count(*) > 1", "has more than one record"},
                {"SELECT r.job FROM records r JOIN jobs j ON j.id = r.job WHERE j.state <> 'finished'", "has a record, but has not ended"},
                {"SELECT r.job FROM records r JOIN jobs j ON j.id = r.job WHERE j.result <> r.result OR j.code <> r.code OR j.batch <> r.batch",
                 "has another result than its record"},
                {"SELECT r.job FROM records r JOIN record_lines l USING(seq) WHERE json_extract(l.json, '$.result') <> r.result"
                 " OR json_extract(l.json, '$.job') <> r.job", "has a record that contradicts itself"},
        };

        for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
                sqlite3_stmt *s = prepare(rules[i].sql);
                if (sqlite3_step(s) == SQLITE_ROW)
                        die("job %s %s", text(s, 0), rules[i].what);
                sqlite3_finalize(s);
        }
}

/* The hash of a record is of the one before it and of all columns, a line each, with the whole record as the last. */
static void record_hash(sqlite3_stmt *s, const char *previous, char ret[static 65]) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        unsigned n = 0;

        if (!c || !EVP_DigestInit_ex(c, EVP_sha256(), NULL))
                die("no SHA-256");
        EVP_DigestUpdate(c, previous, strlen(previous));
        for (int i = 0; i < 16; i++) {
                EVP_DigestUpdate(c, "\n", 1);
                EVP_DigestUpdate(c, text(s, i), strlen(text(s, i)));
        }
        EVP_DigestFinal_ex(c, digest, &n);
        EVP_MD_CTX_free(c);
        for (unsigned i = 0; i < 32; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

static void print_records(void) {
        sqlite3_stmt *s = prepare("SELECT r.seq, id, job, batch, kind, result, code, port, label, digest, serial, serial_seen, chip, started_usec,"
                                  " finished_usec, json, previous, hash FROM records r JOIN record_lines l USING(seq) ORDER BY r.seq");
        char before[65] = "", hash[65];
        int64_t last = 0;

        while (sqlite3_step(s) == SQLITE_ROW) {
                if (sqlite3_column_int64(s, 0) != ++last)
                        die("record %" PRId64 " is missing", last);
                record_hash(s, before, hash);
                if (strcmp(text(s, 16), before) != 0 || strcmp(text(s, 17), hash) != 0)
                        die("record %" PRId64 " does not hang on the chain", last);
                memcpy(before, hash, sizeof(before));
                printf("%s %s %s %s %s %s %d %s\n", text(s, 0), text(s, 2), text(s, 5), shown(text(s, 6)), shown(text(s, 7)), shown(text(s, 12)),
                       strstr(text(s, 15), "\"must_reflash\":true") != NULL, hash);
        }
        sqlite3_finalize(s);
        s = prepare("SELECT head, head_hash FROM chain");
        if (sqlite3_step(s) != SQLITE_ROW || sqlite3_column_int64(s, 0) != last || strcmp(text(s, 1), before) != 0)
                die("the end of the chain is not where it says");
        sqlite3_finalize(s);
}

int main(int argc, char **argv) {
        if (argc != 2) {
                fprintf(stderr, "usage: dbcheck DATABASE\n");
                return 2;
        }
        if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
                die("%s: %s", argv[1], sqlite3_errmsg(db));
        check_whole();
        check_rules();
        print_records();
        sqlite3_close(db);
        return fflush(stdout) == 0 ? 0 : 1;
}
