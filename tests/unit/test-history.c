/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <sqlite3.h>

#include "state-util.h"
#include "store/store.h"

/* Records of units: kept once each, found again, chained, pruned; and databases of earlier versions. */

static Store *store;
static StoreSnapshot snapshot;

static void open_store(void) {
        char *notice = NULL;
        CallError e;

        ck_assert_msg(store_open(test_directory, &store, &snapshot, &notice, &e) == 0, "%s", e.text);
        ck_assert_msg(!notice, "unexpected: %s", notice);
}

static void close_store(void) {
        store_snapshot_clear(&snapshot);
        store = store_close(store);
}

static void begin(void) {
        make_test_directory();
        open_store();
}

/* ---- asking ---- */

static bool answered;
static int last_error;
static StoreRecord found[1000];
static size_t n_found;
static StoreRecordCheck check;
static uint64_t n_pruned;

static void on_done(int e, UNUSED void *userdata) {
        answered = true;
        last_error = e;
}

static char last_statistics[512];
static void on_finished(int e, const StoreJob *job, UNUSED void *userdata) {
        on_done(e, NULL);
        snprintf(last_statistics, sizeof(last_statistics), "%s", job->statistics);
}

static void on_records(int e, const StoreRecord *records, size_t n, UNUSED void *userdata) {
        on_done(e, NULL);
        for (size_t i = 0; i < n_found; i++)
                free(found[i].json);
        n_found = n;
        for (size_t i = 0; i < n; i++) {
                found[i] = records[i];
                found[i].json = strdup(records[i].json);
        }
}

static void on_check(int e, const StoreRecordCheck *c, UNUSED void *userdata) {
        on_done(e, NULL);
        check = *c;
}

static void on_pruned(int e, uint64_t n, UNUSED void *userdata) {
        on_done(e, NULL);
        n_pruned = n;
}

static void wait_answer(int queued) {
        ck_assert_int_eq(queued, 0);
        answered = false;
        while (!answered) {
                struct pollfd p = {.fd = store_fd(store), .events = POLLIN};
                ck_assert_int_eq(poll(&p, 1, 30000), 1);
                store_dispatch(store);
        }
        ck_assert_int_eq(last_error, 0);
}

static StoreJob job_row(uint64_t id) {
        StoreJob j = {.id = id, .kind = "flash", .state = JOB_STATE_FINISHED, .result = JOB_RESULT_DONE, .failure = FAILURE_INIT,
                      .stage = STAGE_FINISH};
        return j;
}

static StoreRecord record_of(uint64_t job) {
        StoreRecord r = {.job = job, .batch = job % 3, .started_usec = job * 1000, .finished_usec = job * 1000 + 500};

        snprintf(r.id, sizeof(r.id), "00000000-0000-4000-8000-%012llu", (unsigned long long) job);
        strcpy(r.kind, "flash");
        strcpy(r.result, job % 5 == 0 ? "failed" : "done");
        strcpy(r.code, job % 5 == 0 ? "write-gone" : "");
        snprintf(r.port, sizeof(r.port), "pci-0000:00:14.0-usb-0:%llu", (unsigned long long) (job % 4 + 1));
        snprintf(r.label, sizeof(r.label), "socket %llu", (unsigned long long) (job % 4 + 1));
        memset(r.digest, job % 2 ? 'a' : 'b', 64);
        snprintf(r.serial, sizeof(r.serial), "SN%06llu", (unsigned long long) job);
        snprintf(r.serial_seen, sizeof(r.serial_seen), "OLD%06llu", (unsigned long long) job);
        snprintf(r.chip, sizeof(r.chip), "chip-%llu", (unsigned long long) job);
        ck_assert_int_ge(asprintf(&r.json, "{\"job\":%llu}", (unsigned long long) job), 0);
        return r;
}

static void add(uint64_t job) {
        StoreRecord r = record_of(job);
        StoreJob row = job_row(job);

        wait_answer(store_finish_job(store, &row, &r, on_finished, NULL));
}

static void add_many(uint64_t first, uint64_t last) {
        for (uint64_t job = first; job <= last; job++)
                add(job);
}

static const StoreRecordFilter all = {.until_usec = U64_UNKNOWN, .limit = 1000};

static size_t list(StoreRecordFilter f) {
        wait_answer(store_list_records(store, &f, on_records, NULL));
        return n_found;
}

static void check_all(void) {
        check = (StoreRecordCheck){};
        do
                wait_answer(store_check_records(store, &check, on_check, NULL));
        while (!check.done);
}

/* Changes the file behind the store's back. */
static void tamper(const char *sql) {
        sqlite3 *db;

        close_store();
        ck_assert_int_eq(sqlite3_open(in_directory("fdld.db"), &db), SQLITE_OK);
        ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_close(db);
        open_store();
}

/* ---- keeping and finding ---- */

START_TEST(a_record_comes_back_whole) {
        StoreRecord r;

        begin();
        add(7);
        r = record_of(7);
        close_store();
        open_store();
        ck_assert_uint_eq(list(all), 1);
        ck_assert_uint_eq(found[0].seq, 1);
        ck_assert_str_eq(found[0].id, r.id);
        ck_assert_uint_eq(found[0].job, 7);
        ck_assert_uint_eq(found[0].batch, 1);
        ck_assert_str_eq(found[0].port, r.port);
        ck_assert_str_eq(found[0].label, r.label);
        ck_assert_str_eq(found[0].serial, r.serial);
        ck_assert_str_eq(found[0].serial_seen, r.serial_seen);
        ck_assert_str_eq(found[0].chip, r.chip);
        ck_assert_str_eq(found[0].digest, r.digest);
        ck_assert_uint_eq(found[0].started_usec, r.started_usec);
        ck_assert_uint_eq(found[0].finished_usec, r.finished_usec);
        ck_assert_str_eq(found[0].json, r.json);
        ck_assert_uint_eq(strlen(found[0].hash), 64);
        free(r.json);
        close_store();
}
END_TEST

START_TEST(one_job_one_record) {
        begin();
        add(7);
        add(7);
        ck_assert_uint_eq(list(all), 1);
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        close_store();
}
END_TEST

static StoreRecordFilter with(void (*set)(StoreRecordFilter *f)) {
        StoreRecordFilter f = all;
        set(&f);
        return f;
}
static void by_serial(StoreRecordFilter *f) { strcpy(f->serial, "SN000012"); }
static void by_old_serial(StoreRecordFilter *f) { strcpy(f->serial, "OLD000013"); }
static void by_chip(StoreRecordFilter *f) { strcpy(f->chip, "chip-14"); }
static void by_label(StoreRecordFilter *f) { strcpy(f->slot, "socket 2"); }
static void by_port(StoreRecordFilter *f) { strcpy(f->slot, "pci-0000:00:14.0-usb-0:2"); }
static void by_code(StoreRecordFilter *f) { strcpy(f->code, "write-gone"); }
static void by_result(StoreRecordFilter *f) { strcpy(f->result, "failed"); }
static void by_batch(StoreRecordFilter *f) { f->batch = 2; }
static void by_job(StoreRecordFilter *f) { f->job = 3; }
static void by_time(StoreRecordFilter *f) { f->since_usec = 5500; f->until_usec = 8500; }
static void by_nothing(StoreRecordFilter *f) { strcpy(f->kind, "read"); }

START_TEST(each_filter_finds_its_own) {
        begin();
        add_many(1, 20);
        ck_assert_uint_eq(list(all), 20);
        ck_assert_uint_eq(list(with(by_serial)), 1);
        ck_assert_uint_eq(found[0].job, 12);
        ck_assert_uint_eq(list(with(by_old_serial)), 1);
        ck_assert_uint_eq(found[0].job, 13);
        ck_assert_uint_eq(list(with(by_chip)), 1);
        ck_assert_uint_eq(found[0].job, 14);
        ck_assert_uint_eq(list(with(by_label)), 5);
        ck_assert_uint_eq(list(with(by_port)), 5);
        ck_assert_uint_eq(list(with(by_code)), 4);
        ck_assert_uint_eq(list(with(by_result)), 4);
        ck_assert_uint_eq(list(with(by_batch)), 7);
        ck_assert_uint_eq(list(with(by_job)), 1);
        ck_assert_uint_eq(list(with(by_time)), 3); /* ended at 5500, 6500, 7500 */
        ck_assert_uint_eq(list(with(by_nothing)), 0);
        close_store();
}
END_TEST

START_TEST(pages_in_both_directions) {
        StoreRecordFilter f = all;

        begin();
        add_many(1, 7);
        f.limit = 3;
        ck_assert_uint_eq(list(f), 3);
        ck_assert_uint_eq(found[0].seq, 7);
        f.cursor = found[2].seq;
        ck_assert_uint_eq(list(f), 3);
        ck_assert_uint_eq(found[0].seq, 4);
        f.oldest_first = true;
        f.cursor = 5;
        ck_assert_uint_eq(list(f), 2);
        ck_assert_uint_eq(found[0].seq, 6);
        close_store();
}
END_TEST

/* ---- the chain ---- */

static void expect_bad(const char *sql, uint64_t seq) {
        begin();
        add_many(1, 9);
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        ck_assert_uint_eq(check.checked, 9);
        tamper(sql);
        check_all();
        ck_assert_msg(check.bad_seq == seq, "%s: %llu %s", sql, (unsigned long long) check.bad_seq, check.problem);
        ck_assert_str_ne(check.problem, "");
        close_store();
}

START_TEST(a_later_change_shows) {
        expect_bad("UPDATE record_lines SET json = '{}' WHERE seq = 4", 4);
        expect_bad("UPDATE records SET serial = 'SN999999' WHERE seq = 5", 5);
        expect_bad("UPDATE records SET result = 'done' WHERE job = 5", 5);
        expect_bad("UPDATE records SET finished_usec = finished_usec + 1 WHERE seq = 9", 9);
        expect_bad("DELETE FROM record_lines WHERE seq = 2", 2);
        expect_bad("DELETE FROM records WHERE seq = 1", 1);
        expect_bad("DELETE FROM records WHERE seq = 6", 6);
        expect_bad("DELETE FROM records WHERE seq >= 8", 8);
        expect_bad("DELETE FROM records", 1);
        expect_bad("UPDATE records SET seq = seq + 100 WHERE seq = 9", 9);
}
END_TEST

START_TEST(pruning_keeps_the_chain_whole) {
        StoreRecordFilter f = all;

        begin();
        add_many(1, 12);
        wait_answer(store_prune_records(store, 6500, on_pruned, NULL)); /* those that ended before record 6 did */
        ck_assert_uint_eq(n_pruned, 5);
        wait_answer(store_prune_records(store, 6500, on_pruned, NULL));
        ck_assert_uint_eq(n_pruned, 0);
        ck_assert_uint_eq(list(all), 7);
        add(13);
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        ck_assert_uint_eq(check.pruned, 5);
        ck_assert_uint_eq(check.checked, 8);
        f.oldest_first = true;
        ck_assert_uint_eq(list(f), 8);
        ck_assert_uint_eq(found[0].seq, 6);
        ck_assert_uint_eq(found[7].seq, 13);
        tamper("DELETE FROM records WHERE seq = 6");
        check_all();
        ck_assert_uint_eq(check.bad_seq, 6);
        close_store();
}
END_TEST

START_TEST(all_may_be_pruned) {
        begin();
        add_many(1, 3);
        wait_answer(store_prune_records(store, U64_UNKNOWN, on_pruned, NULL));
        ck_assert_uint_eq(n_pruned, 3);
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        ck_assert_uint_eq(check.checked, 0);
        add(4);
        ck_assert_uint_eq(list(all), 1);
        ck_assert_uint_eq(found[0].seq, 4); /* numbers are never given twice */
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        close_store();
}
END_TEST

/* A record that ended late (the clock was set back) keeps those behind it. */
START_TEST(pruning_stops_at_the_first_that_stays) {
        begin();
        add(50);
        add_many(1, 5);
        wait_answer(store_prune_records(store, 10000, on_pruned, NULL));
        ck_assert_uint_eq(n_pruned, 0);
        ck_assert_uint_eq(list(all), 6);
        close_store();
}
END_TEST

START_TEST(what_cannot_be_a_record) {
        StoreJob row = job_row(1);
        StoreRecord r = record_of(2);

        begin();
        ck_assert_int_eq(store_finish_job(store, &row, &r, on_finished, NULL), -EINVAL);
        free(r.json);
        r = record_of(1);
        r.id[0] = '\0';
        ck_assert_int_eq(store_finish_job(store, &row, &r, on_finished, NULL), -EINVAL);
        free(r.json);
        close_store();
}
END_TEST

/* ---- what earlier records say of a failure ---- */

/* A failure of loaders, or a pass, at a socket at a time. */
static void add_attempt(uint64_t job, bool passed, const char *port, const char *chip, uint64_t finished_usec) {
        StoreRecord r = record_of(job);
        StoreJob row = job_row(job);

        strcpy(r.result, passed ? "done" : "failed");
        strcpy(r.code, passed ? "" : "exec-fdl2-silent");
        strcpy(r.port, port);
        strcpy(r.chip, chip);
        memset(r.digest, 'a', 64);
        memset(r.loaders, 'c', 64);
        strcpy(r.model, "PHONE");
        r.outcome = passed ? LOADERS_WORKED : LOADERS_FAILED;
        r.finished_usec = finished_usec;
        row.result = passed ? JOB_RESULT_DONE : JOB_RESULT_FAILED;
        row.failure.class = passed ? CLASS_NONE : CLASS_SILENT;
        wait_answer(store_finish_job(store, &row, &r, on_finished, NULL));
}

#define DAY (86400 * UINT64_C(1000000))
#define NOON (20000 * DAY + DAY / 2)

START_TEST(the_same_loaders_failed_before) {
        begin();
        add_attempt(1, false, "one", "", NOON);
        ck_assert_str_eq(last_statistics, "");
        add_attempt(2, false, "one", "", NOON + 1);
        ck_assert_ptr_nonnull(strstr(last_statistics, "have failed on this model (PHONE) 1 time before and never worked"));
        add_attempt(3, true, "one", "", NOON + 2);
        ck_assert_str_eq(last_statistics, "");
        add_attempt(4, false, "one", "", NOON + 3);
        ck_assert_ptr_nonnull(strstr(last_statistics, "have worked on this model (PHONE) 1 time before and failed 2"));
        ck_assert_uint_eq(list(all), 4);
        ck_assert_ptr_nonnull(strstr(found[0].json, ",\"statistics\":[\"The same loaders (cccccccc)"));
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        close_store();
        open_store();
        ck_assert_uint_eq(snapshot.n_uses, 1);
        ck_assert_uint_eq(snapshot.uses[0].worked, 1);
        ck_assert_uint_eq(snapshot.uses[0].failed, 3);
        ck_assert_str_eq(snapshot.uses[0].last_code, "exec-fdl2-silent");
        ck_assert_ptr_nonnull(strstr(snapshot.jobs[3].statistics, "have worked on this model"));
        close_store();
}
END_TEST

START_TEST(this_slot_had_most_of_the_timeouts) {
        begin();
        add_attempt(1, true, "two", "", NOON - 8 * DAY);
        add_attempt(2, false, "one", "", NOON - 8 * DAY); /* too long ago */
        add_attempt(3, false, "two", "", NOON);
        add_attempt(4, false, "one", "", NOON);
        add_attempt(5, false, "one", "", NOON);
        ck_assert_ptr_null(strstr(last_statistics, "This slot had"));
        add_attempt(6, false, "one", "", NOON);
        ck_assert_ptr_nonnull(strstr(last_statistics, "This slot had 3 of the 4 timeouts of the last seven days"));
        add_attempt(7, false, "two", "", NOON);
        ck_assert_ptr_null(strstr(last_statistics, "This slot had"));
        close_store();
}
END_TEST

START_TEST(this_unit_passed_before) {
        setenv("TZ", "UTC", 1);
        begin();
        add_attempt(1, true, "one", "U1", NOON - DAY);
        add_attempt(2, false, "one", "U1", NOON);
        ck_assert_ptr_nonnull(strstr(last_statistics, "This very unit passed with this package yesterday at 12:00"));
        add_attempt(3, false, "one", "U2", NOON);
        ck_assert_ptr_null(strstr(last_statistics, "passed"));
        add_attempt(4, false, "one", "", NOON + DAY);
        ck_assert_ptr_nonnull(strstr(last_statistics, "A unit passed in this slot with this package 2 days ago"));
        add_attempt(5, false, "two", "", NOON);
        ck_assert_ptr_null(strstr(last_statistics, "passed"));
        close_store();
}
END_TEST

START_TEST(a_pair_is_kept) {
        StoreLoaders pair = {.family = "phone", .board = "b", .product = "p", .storage = "emmc", .signature = "dhtb", .fdl1_address = 0x5500,
                             .fdl2_address = U64_UNKNOWN, .added_usec = 5};

        begin();
        ck_assert_int_eq(store_put_loaders(store, &pair, on_done, NULL), -EINVAL);
        memset(pair.hash, 'd', 64);
        wait_answer(store_put_loaders(store, &pair, on_done, NULL));
        close_store();
        open_store();
        ck_assert_uint_eq(snapshot.n_loaders, 1);
        ck_assert_mem_eq(snapshot.loaders, &pair, sizeof(pair));
        close_store();
}
END_TEST

/* ---- earlier versions ---- */

/* The tables as version 1 had them, with a row in each. */
static const char version_1[] =
        "CREATE TABLE meta(key TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
        "INSERT INTO meta VALUES('next-id', 1001), ('opened', 0);"
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
        " retry_of INTEGER NOT NULL, note TEXT NOT NULL) STRICT;"
        "CREATE INDEX jobs_unfinished ON jobs(id) WHERE state <> 'finished';"
        "CREATE INDEX jobs_finished ON jobs(id) WHERE state = 'finished';"
        "INSERT INTO jobs VALUES(7, 'flash', 'queued', '', '', 1, '', 'aa', 'x.pac', 'upgrade', 0, 1000, 5, 0, 0, 0, -1,"
        " NULL, 0, 9, 'none', NULL, -1, -1, 0, 0, 0, 0, 0, 0, -1, -1, 0, '', '', '', '', '', 0, '');"
        "CREATE TABLE slots(port TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL, enabled INTEGER NOT NULL,"
        " passed INTEGER NOT NULL, failed INTEGER NOT NULL, last_result TEXT NOT NULL, last_code TEXT NOT NULL,"
        " last_job INTEGER NOT NULL) STRICT;"
        "INSERT INTO slots VALUES('pci-0000:00:14.0-usb-0:1', 'left', 1, 5, 2, 'done', '', 6);"
        "CREATE TABLE packages(digest TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL,"
        " imported_usec INTEGER NOT NULL, imported_uid INTEGER NOT NULL) STRICT;"
        "CREATE TABLE intents(seq INTEGER PRIMARY KEY, job INTEGER NOT NULL, step INTEGER NOT NULL, stage TEXT,"
        " partition TEXT NOT NULL, usec INTEGER NOT NULL) STRICT;"
        "CREATE INDEX intents_job ON intents(job);"
        "CREATE TABLE backups(id TEXT NOT NULL PRIMARY KEY, job INTEGER NOT NULL, port TEXT NOT NULL,"
        " name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL, usec INTEGER NOT NULL) STRICT;"
        "CREATE INDEX backups_job ON backups(job);"
        "PRAGMA user_version = 1;";

START_TEST(version_1_migrates) {
        sqlite3 *db;

        make_test_directory();
        ck_assert_int_eq(sqlite3_open(in_directory("fdld.db"), &db), SQLITE_OK);
        ck_assert_msg(sqlite3_exec(db, version_1, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_close(db);
        open_store();
        ck_assert_uint_eq(snapshot.n_jobs, 1);
        ck_assert_uint_eq(snapshot.jobs[0].id, 7);
        ck_assert_int_eq(snapshot.jobs[0].state, JOB_STATE_QUEUED);
        ck_assert_str_eq(snapshot.jobs[0].package_name, "x.pac");
        ck_assert_int_eq(snapshot.jobs[0].failure.verdict, VERDICT_NONE);
        ck_assert_int_eq(snapshot.jobs[0].failure.aftermath, AFTERMATH_NONE);
        ck_assert_uint_eq(snapshot.jobs[0].failure.situation, 0);
        ck_assert_str_eq(snapshot.jobs[0].unit, "");
        ck_assert_uint_eq(snapshot.n_slots, 1);
        ck_assert_str_eq(snapshot.slots[0].label, "left");
        ck_assert_uint_eq(snapshot.slots[0].passed, 5);
        ck_assert_str_eq(snapshot.slots[0].loaders, "");
        ck_assert(!snapshot.slots[0].passed_and_left);
        ck_assert_uint_eq(snapshot.slots[0].bad_links, 0);
        ck_assert_uint_eq(snapshot.n_loaders, 0);
        ck_assert_uint_eq(snapshot.next_id, 1001);
        ck_assert_uint_eq(snapshot.n_traits, 0);
        add_many(8, 9);
        close_store();
        open_store();
        ck_assert_uint_eq(list(all), 2);
        check_all();
        ck_assert_uint_eq(check.bad_seq, 0);
        close_store();
}
END_TEST

int main(void) {
        Suite *s = suite_create("history");
        TCase *t = tcase_create("records");

        tcase_set_timeout(t, 60);
        tcase_add_test(t, a_record_comes_back_whole);
        tcase_add_test(t, one_job_one_record);
        tcase_add_test(t, each_filter_finds_its_own);
        tcase_add_test(t, pages_in_both_directions);
        tcase_add_test(t, a_later_change_shows);
        tcase_add_test(t, pruning_keeps_the_chain_whole);
        tcase_add_test(t, all_may_be_pruned);
        tcase_add_test(t, pruning_stops_at_the_first_that_stays);
        tcase_add_test(t, what_cannot_be_a_record);
        tcase_add_test(t, the_same_loaders_failed_before);
        tcase_add_test(t, this_slot_had_most_of_the_timeouts);
        tcase_add_test(t, this_unit_passed_before);
        tcase_add_test(t, a_pair_is_kept);
        tcase_add_test(t, version_1_migrates);
        suite_add_tcase(s, t);
        return run_in_test_base(s);
}
