/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "store/database.h"

/* What earlier records say about a failure: is it the loaders, the socket, or this unit? Asked in the transaction that records it, so each
 * question looks at few rows: by an index, or at the newest WINDOW of all. */

#define WINDOW 5000
#define WEEK_USEC (7 * 86400 * 1000000ULL)
#define TIMEOUTS_MIN 3U

/* Lines; one that does not fit is left out. */
static void say(StoreJob *job, const char *format, ...) _printf_(2, 3);
static void say(StoreJob *job, const char *format, ...) {
        size_t have = strlen(job->statistics), room = sizeof(job->statistics) - have - (have > 0);
        char line[sizeof(job->statistics)];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        if (n > 0 && (size_t) n < room)
                snprintf(job->statistics + have, room + 1, "%s%s", have > 0 ? "\n" : "", line);
}

static bool is_timeout(const StoreJob *job) {
        return job->failure.class == CLASS_SILENT || job->failure.class == CLASS_SLOW;
}

/* ---- the loaders on this model ---- */

static int about_loaders(Database *d, StoreJob *job, const StoreRecord *record) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        uint64_t worked = 0, failed = 0;
        int r, rc;

        if (record->outcome != LOADERS_FAILED || !record->loaders[0])
                return 0;
        r = database_prepare(d, "SELECT worked, failed FROM loader_uses WHERE hash = ?1 AND model = ?2", &statement);
        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, record->loaders, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, record->model, -1, SQLITE_STATIC);
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return database_errno(d, rc);
        if (rc == SQLITE_ROW) {
                worked = (uint64_t) sqlite3_column_int64(statement, 0);
                failed = (uint64_t) sqlite3_column_int64(statement, 1);
        }
        if (failed > 0 && worked == 0)
                say(job, "The same loaders (%.8s) have failed on this model (%s) %" PRIu64 " time%s before and never worked on it: they are most likely not for it.",
                    record->loaders, record->model, failed, failed == 1 ? "" : "s");
        else if (worked > 0)
                say(job, "The same loaders (%.8s) have worked on this model (%s) %" PRIu64 " time%s before and failed %" PRIu64
                         ": more likely it is this unit, its cable or its power.",
                    record->loaders, record->model, worked, worked == 1 ? "" : "s", failed);
        return 0;
}

/* ---- the slot ---- */

/* Timeouts of the last week, by socket, the worst first. */
static int about_slot(Database *d, StoreJob *job, const StoreRecord *record) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        uint64_t here = 1, all = 1, ports = 1, since = record->finished_usec > WEEK_USEC ? record->finished_usec - WEEK_USEC : 0;
        int r, rc;

        if (!is_timeout(job) || !record->port[0])
                return 0;
        r = database_prepare(d,
                             "SELECT port, sum(code GLOB '*-silent' OR code GLOB '*-silent-*' OR code GLOB '*-slow' OR code GLOB '*-slow-*') FROM "
                             "(SELECT port, code, finished_usec FROM records ORDER BY seq DESC LIMIT ?1) WHERE finished_usec >= ?2 AND port <> '' "
                             "GROUP BY port",
                             &statement);
        if (r < 0)
                return r;
        sqlite3_bind_int64(statement, 1, WINDOW);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64) since);
        while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
                const char *port = (const char *) sqlite3_column_text(statement, 0);
                uint64_t n = (uint64_t) sqlite3_column_int64(statement, 1);

                all += n;
                if (port && streq(port, record->port))
                        here += n;
                else
                        ports++;
        }
        if (rc != SQLITE_DONE)
                return database_errno(d, rc);
        /* With one socket in use that says nothing. */
        if (ports > 1 && here >= TIMEOUTS_MIN && here * 2 > all)
                say(job, "This slot had %" PRIu64 " of the %" PRIu64 " timeouts of the last seven days on this station: look at its cable, hub and power.", here, all);
        return 0;
}

/* ---- the unit ---- */

static void describe_moment(uint64_t then_usec, uint64_t now_usec, char ret[static 48]) {
        time_t then = (time_t) (then_usec / 1000000), now = (time_t) (now_usec / 1000000);
        struct tm a, b, noon;
        char clock[8];
        int days;

        localtime_r(&then, &a);
        localtime_r(&now, &b);
        strftime(clock, sizeof(clock), "%H:%M", &a);
        noon = b;
        noon.tm_hour = 12;
        noon.tm_min = noon.tm_sec = 0;
        a.tm_hour = 12;
        a.tm_min = a.tm_sec = 0;
        days = (int) ((difftime(mktime(&noon), mktime(&a)) + 43200) / 86400);
        if (days <= 0)
                snprintf(ret, 48, "today at %s", clock);
        else if (days == 1)
                snprintf(ret, 48, "yesterday at %s", clock);
        else
                snprintf(ret, 48, "%d days ago", days);
}

static int last_pass(Database *d, const char *condition, const char *key, const StoreRecord *record, uint64_t *ret_usec) {
        _cleanup_statement_ sqlite3_stmt *statement = NULL;
        char sql[256];
        int r, rc;

        *ret_usec = 0;
        snprintf(sql, sizeof(sql), "SELECT finished_usec FROM records WHERE %s AND digest = ?2 AND kind = 'flash' AND result = 'done' ORDER BY seq DESC LIMIT 1",
                 condition);
        r = database_prepare(d, sql, &statement);
        if (r < 0)
                return r;
        sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, record->digest, -1, SQLITE_STATIC);
        (void) sqlite3_bind_int64(statement, 3, WINDOW);
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
                *ret_usec = (uint64_t) sqlite3_column_int64(statement, 0);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : database_errno(d, rc);
}

/* Before a loader tells who the unit is, only the socket is known. */
static int about_unit(Database *d, StoreJob *job, const StoreRecord *record) {
        uint64_t usec = 0;
        char when[48];
        int r;

        if (!record->digest[0])
                return 0;
        if (record->chip[0])
                r = last_pass(d, "chip = ?1", record->chip, record, &usec);
        else
                r = last_pass(d, "port = ?1 AND seq > (SELECT coalesce(max(seq), 0) FROM records) - ?3", record->port, record, &usec);
        if (r < 0 || usec == 0)
                return r;
        describe_moment(usec, record->finished_usec, when);
        if (record->chip[0])
                say(job, "This very unit passed with this package %s: package and loaders fit it.", when);
        else
                say(job, "A unit passed in this slot with this package %s: socket, cable and package are likely fine.", when);
        return 0;
}

/* ---- all of it ---- */

/* "…}" becomes "…,"statistics":["…"]}"; the lines have no characters that JSON wants escaped but quotes and backslashes. */
static int add_to_json(const StoreJob *job, StoreRecord *record) {
        size_t n = record->json ? strlen(record->json) : 0, size = n + 2 * strlen(job->statistics) + 64;
        char *text, *to;

        if (n < 2 || record->json[n - 1] != '}')
                return 0;
        text = malloc(size);
        if (!text)
                return -ENOMEM;
        memcpy(text, record->json, n - 1);
        to = stpcpy(text + n - 1, n > 2 ? ",\"statistics\":[\"" : "\"statistics\":[\"");
        for (const char *c = job->statistics; *c; c++) {
                if (*c == '\n') {
                        to = stpcpy(to, "\",\"");
                        continue;
                }
                if (*c == '"' || *c == '\\')
                        *to++ = '\\';
                *to++ = *c;
        }
        strcpy(to, "\"]}");
        free(record->json);
        record->json = text;
        return 0;
}

int database_statistics(Database *d, StoreJob *job, StoreRecord *record) {
        int r;

        /* A second try of the same request. */
        if (job->statistics[0] || job->result != JOB_RESULT_FAILED || job->failure.class == CLASS_PLAN)
                return 0;
        r = about_loaders(d, job, record);
        if (r == 0)
                r = about_slot(d, job, record);
        if (r == 0)
                r = about_unit(d, job, record);
        return r == 0 && job->statistics[0] ? add_to_json(job, record) : r;
}
