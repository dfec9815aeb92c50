/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "firmware/digest.h"
#include "state-util.h"
#include "store/store.h"

/* The store's own system calls (not those of SQLite) pass through here: a process can be killed at each of them. */
static _Atomic unsigned calls, die_at;

static void before_call(void) {
        if (++calls == die_at)
                raise(SIGKILL);
}

#define WRAP(type, name, parameters, arguments)                 \
        type __real_##name parameters;                          \
        type __wrap_##name parameters;                          \
        type __wrap_##name parameters {                         \
                before_call();                                  \
                return __real_##name arguments;                 \
        }

WRAP(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, renameat, (int fd, const char *from, int to_fd, const char *to), (fd, from, to_fd, to))
WRAP(int, renameat2, (int fd, const char *from, int to_fd, const char *to, unsigned flags), (fd, from, to_fd, to, flags))

static Store *store;
static StoreSnapshot snapshot;
static CallError error;

static void open_store(void) {
        char *notice = NULL;

        ck_assert_msg(store_open(test_directory, &store, &snapshot, &notice, &error) == 0, "%s", error.text);
        ck_assert_msg(!notice, "unexpected: %s", notice);
}

static char *open_store_with_notice(void) {
        char *notice = NULL;

        ck_assert_msg(store_open(test_directory, &store, &snapshot, &notice, &error) == 0, "%s", error.text);
        return notice;
}

static void close_store(void) {
        store_snapshot_clear(&snapshot);
        store = store_close(store);
}

static void reopen(void) {
        close_store();
        open_store();
}

/* Fails with a text that holds the word. */
static void refuse_to_open(const char *word) {
        char *notice = NULL;

        error.text[0] = '\0';
        ck_assert_int_eq(store_open(test_directory, &store, &snapshot, &notice, &error), -1);
        ck_assert_int_eq(error.error, BUS_ERROR_STORE);
        ck_assert_msg(strstr(error.text, word) != NULL, "no \"%s\" in: %s", word, error.text);
        ck_assert_msg(strstr(error.text, test_directory) != NULL, "no path in: %s", error.text);
}

/* ---- callbacks ---- */

static unsigned n_called;
static int last_error;
static uint64_t last_first;
static unsigned last_n;
static StoreJob listed[1000];
static size_t n_listed;

static void on_done(int e, void *userdata) {
        n_called++;
        last_error = e;
        if (userdata)
                *(int *) userdata = e;
}

static void on_ids(int e, uint64_t first, unsigned n, UNUSED void *userdata) {
        on_done(e, NULL);
        last_first = first;
        last_n = n;
}

static void on_jobs(int e, const StoreJob *jobs, size_t n, UNUSED void *userdata) {
        on_done(e, NULL);
        n_listed = n;
        if (n > 0)
                memcpy(listed, jobs, n * sizeof(*jobs));
}

static void dispatch(unsigned n) {
        n_called = 0;
        while (n_called < n) {
                struct pollfd p = {.fd = store_fd(store), .events = POLLIN};
                ck_assert_int_eq(poll(&p, 1, 30000), 1);
                store_dispatch(store);
        }
        ck_assert_uint_eq(n_called, n);
}

static int finish_one(int queued) {
        if (queued < 0)
                return queued;
        dispatch(1);
        return last_error;
}

static StoreJob example_job(uint64_t id) {
        StoreJob j = {
                .id = id,
                .kind = "flash",
                .state = JOB_STATE_FINISHED,
                .result = JOB_RESULT_FAILED,
                .target_port = "pci-0000:00:14.0-usb-0:1.2",
                .target_any = true,
                .port = "pci-0000:00:14.0-usb-0:1.3",
                .package_name = "Grüße '; DROP TABLE jobs; --.pac",
                .mode = FLASH_MODE_RESEARCH,
                .options = 0xfffffffe,
                .uid = 0xfffffffd,
                .created_usec = UINT64_MAX,
                .started_usec = UINT64_MAX - 1,
                .finished_usec = 0x8000000000000001,
                .bytes_done = 0xfedcba9876543210,
                .bytes_total = UINT64_MAX,
                .stage = STAGE_RESTORE,
                .step = -1,
                .step_count = INT32_MAX,
                .failure = FAILURE_INIT,
                .code = "write-refused-8a",
                .retry_of = 7,
                .note = "identity not proven\nGrüße",
                .operator_name = "Ada Läufer",
        };

        memset(j.digest, 'a', 64);
        j.failure.class = CLASS_GARBLED;
        j.failure.step = INT32_MIN;
        j.failure.pdl = j.failure.must_reflash = true;
        j.failure.error = 28;
        j.failure.verdict = VERDICT_BUSY;
        j.failure.aftermath = AFTERMATH_TALKING;
        j.failure.situation = 1U << SITUATION_SENT_LOG | 1U << SITUATION_FULL_SPEED_HUB;
        j.failure.deadline_ms = UINT32_MAX;
        j.failure.waited_ms = 1;
        j.failure.attempts = UINT32_MAX - 1;
        j.failure.bytes_done = 1ULL << 63;
        strcpy(j.failure.command, "MIDST_DATA");
        strcpy(j.failure.partition, "l_fixnv1");
        strcpy(j.failure.detail, "table");
        memset(j.failure.text, 'x', sizeof(j.failure.text) - 1);
        return j;
}

static int put_job(uint64_t id, JobState state) {
        StoreJob j = example_job(id);

        j.state = state;
        j.result = state == JOB_STATE_FINISHED ? JOB_RESULT_DONE : JOB_RESULT_NONE;
        return store_put_job(store, &j, on_done, NULL);
}

static void *bytes(size_t n, uint8_t seed) {
        uint8_t *p = malloc(n);

        ck_assert_ptr_nonnull(p);
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t) (seed + i * 7);
        return p;
}

/* ---- what is kept ---- */

START_TEST(keeps_every_field) {
        StoreJob j = example_job(42);

        open_store();
        ck_assert_int_eq(finish_one(store_put_job(store, &j, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_get_job(store, 42, on_jobs, NULL)), 0);
        ck_assert_uint_eq(n_listed, 1);
        ck_assert_mem_eq(&listed[0], &j, sizeof(j));
        reopen();
        ck_assert_uint_eq(snapshot.n_jobs, 1);
        ck_assert_mem_eq(snapshot.jobs, &j, sizeof(j));
        ck_assert_uint_eq(snapshot.next_id, 43);
        /* a row is replaced, not doubled */
        j.failure = FAILURE_INIT;
        j.stage = STAGE_INVALID;
        j.result = JOB_RESULT_DONE;
        ck_assert_int_eq(finish_one(store_put_job(store, &j, on_done, NULL)), 0);
        reopen();
        ck_assert_uint_eq(snapshot.n_jobs, 1);
        ck_assert_mem_eq(snapshot.jobs, &j, sizeof(j));
        close_store();
}
END_TEST

START_TEST(keeps_slots_and_packages) {
        StoreSlot slot = {.port = "pci-0000:00:14.0-usb-0:1.2", .label = "A 1", .enabled = true, .passed = UINT64_MAX,
                          .failed = 3, .last_result = "failed", .last_code = "write-gone", .last_job = 9, .passed_and_left = true, .bad_links = 2};
        StorePackage package = {.name = "x.pac", .size = 5, .imported_usec = 6, .imported_uid = 1000};

        memset(package.digest, 'b', 64);
        open_store();
        ck_assert_int_eq(finish_one(store_put_slot(store, &slot, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_package(store, &package, on_done, NULL)), 0);
        reopen();
        ck_assert_uint_eq(snapshot.n_slots, 1);
        ck_assert_mem_eq(snapshot.slots, &slot, sizeof(slot));
        ck_assert_uint_eq(snapshot.n_packages, 1);
        ck_assert_mem_eq(snapshot.packages, &package, sizeof(package));
        ck_assert_int_eq(finish_one(store_remove_package(store, package.digest, on_done, NULL)), 0);
        reopen();
        ck_assert_uint_eq(snapshot.n_packages, 0);
        close_store();
}
END_TEST

START_TEST(keeps_what_loaders_have_shown) {
        StoreTrait trait = {.trait = "q:READ_CHIP_UID", .value = "unknown", .usec = 5};

        memset(trait.loader, 'c', 64);
        open_store();
        ck_assert_int_eq(finish_one(store_put_trait(store, &trait, on_done, NULL)), 0);
        trait.usec = 6;
        memcpy(trait.value, "known\0\0", sizeof("unknown")); /* replaced, not doubled */
        ck_assert_int_eq(finish_one(store_put_trait(store, &trait, on_done, NULL)), 0);
        reopen();
        ck_assert_uint_eq(snapshot.n_traits, 1);
        ck_assert_mem_eq(snapshot.traits, &trait, sizeof(trait));
        strcpy(trait.trait, "raw");
        ck_assert_int_eq(finish_one(store_put_trait(store, &trait, on_done, NULL)), 0);
        trait.loader[0] = '\0';
        ck_assert_int_eq(store_put_trait(store, &trait, on_done, NULL), -EINVAL);
        reopen();
        ck_assert_uint_eq(snapshot.n_traits, 2);
        close_store();
}
END_TEST

START_TEST(snapshot_has_unfinished_then_newest_finished) {
        open_store();
        for (uint64_t id = 1; id <= 100; id++)
                ck_assert_int_eq(put_job(id, id % 10 == 0 ? JOB_STATE_RUNNING : JOB_STATE_FINISHED), 0);
        dispatch(100);
        reopen();
        ck_assert_uint_eq(snapshot.n_jobs, 10 + 64);
        for (size_t i = 0; i < 10; i++)
                ck_assert_uint_eq(snapshot.jobs[i].id, (i + 1) * 10);
        ck_assert_uint_eq(snapshot.jobs[10 + 63].id, 99);
        ck_assert_uint_eq(snapshot.complete_from, snapshot.jobs[10].id);
        for (size_t i = 10; i < 74; i++) {
                ck_assert_int_eq(snapshot.jobs[i].state, JOB_STATE_FINISHED);
                ck_assert(i == 10 || snapshot.jobs[i].id > snapshot.jobs[i - 1].id);
        }
        ck_assert_uint_eq(snapshot.jobs[10].id, 29); /* 64 of 91..99, 81..89, … */
        close_store();
}
END_TEST

START_TEST(lists_in_pages) {
        open_store();
        for (uint64_t id = 1; id <= 25; id++)
                ck_assert_int_eq(put_job(id, JOB_STATE_FINISHED), 0);
        dispatch(25);
        ck_assert_int_eq(finish_one(store_list_jobs(store, 0, 10, on_jobs, NULL)), 0);
        ck_assert_uint_eq(n_listed, 10);
        ck_assert_uint_eq(listed[0].id, 25);
        ck_assert_uint_eq(listed[9].id, 16);
        ck_assert_int_eq(finish_one(store_list_jobs(store, 6, 10, on_jobs, NULL)), 0);
        ck_assert_uint_eq(n_listed, 5);
        ck_assert_uint_eq(listed[4].id, 1);
        ck_assert_int_eq(finish_one(store_list_jobs(store, 1, 10, on_jobs, NULL)), 0);
        ck_assert_uint_eq(n_listed, 0);
        ck_assert_int_eq(finish_one(store_list_jobs(store, UINT64_MAX, UINT_MAX, on_jobs, NULL)), 0);
        ck_assert_uint_eq(n_listed, 25);
        ck_assert_int_eq(finish_one(store_get_job(store, 26, on_jobs, NULL)), -ENOENT);
        ck_assert_int_eq(finish_one(store_get_job(store, UINT64_MAX, on_jobs, NULL)), -ENOENT);
        close_store();
}
END_TEST

START_TEST(a_list_sees_what_was_queued_before_it) {
        open_store();
        for (uint64_t id = 1; id <= 5; id++)
                ck_assert_int_eq(put_job(id, JOB_STATE_QUEUED), 0);
        ck_assert_int_eq(store_list_jobs(store, 0, 100, on_jobs, NULL), 0);
        ck_assert_int_eq(put_job(6, JOB_STATE_QUEUED), 0);
        dispatch(7);
        ck_assert_uint_eq(n_listed, 5);
        close_store();
}
END_TEST

START_TEST(refuses_what_cannot_be_a_row) {
        StoreJob j = example_job(0);
        StoreSlot slot = {};
        StorePackage package = {.digest = "../../etc/passwd"};
        char byte;

        open_store();
        ck_assert_int_eq(store_put_job(store, &j, on_done, NULL), -EINVAL);
        j.id = UINT64_MAX;
        ck_assert_int_eq(store_put_job(store, &j, on_done, NULL), -EINVAL);
        j.id = 1;
        j.state = JOB_STATE_MAX;
        ck_assert_int_eq(store_put_job(store, &j, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_slot(store, &slot, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_package(store, &package, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_remove_package(store, "", on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_intent(store, 0, 0, STAGE_ERASE, NULL, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "n"}, NULL, 1, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "n"}, &byte, 0, on_done, NULL), -EINVAL);
        ck_assert_int_eq(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "n"}, &byte, 64 * 1024 * 1024 + 1, on_done, NULL), -EFBIG);
        ck_assert_int_eq(store_reserve_ids(store, 0, on_ids, NULL), -EINVAL);
        ck_assert_int_eq(store_reserve_ids(store, 1000001, on_ids, NULL), -EINVAL);
        close_store();
}
END_TEST

START_TEST(the_queue_has_an_end) {
        unsigned queued = 0;

        open_store();
        while (put_job(queued + 1, JOB_STATE_FINISHED) == 0)
                ck_assert_uint_le(++queued, 10000);
        /* callbacks that were not fetched count too */
        ck_assert_uint_eq(queued, 10000);
        ck_assert_int_eq(put_job(1, JOB_STATE_FINISHED), -ENOBUFS);
        dispatch(10000);
        ck_assert_int_eq(last_error, 0);
        ck_assert_int_eq(finish_one(put_job(10001, JOB_STATE_FINISHED)), 0);
        close_store();
}
END_TEST

START_TEST(close_executes_what_is_queued) {
        open_store();
        for (uint64_t id = 1; id <= 500; id++)
                ck_assert_int_eq(put_job(id, JOB_STATE_QUEUED), 0);
        n_called = 0;
        reopen();
        ck_assert_uint_eq(n_called, 0);
        ck_assert_uint_eq(snapshot.n_jobs, 500);
        ck_assert_int_eq(put_job(501, JOB_STATE_QUEUED), 0);
        store_sync(store);
        store_dispatch(store);
        ck_assert_uint_eq(n_called, 1);
        close_store();
}
END_TEST

START_TEST(backups_go_to_the_vault) {
        char path[PATH_MAX];
        DIR *d;
        struct dirent *i;
        uint8_t *expected = bytes(300000, 1);

        umask(0);
        open_store();
        ck_assert_int_eq(finish_one(store_put_backup(store, &(StoreBackup){.job = 3, .port = "port", .name = "l_fixnv1"}, bytes(300000, 1), 300000, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_intent(store, 3, 4, STAGE_ERASE, "l_fixnv1", on_done, NULL)), 0);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 1);
        d = opendir(in_directory("vault"));
        while ((i = readdir(d)) && i->d_name[0] == '.')
                ;
        snprintf(path, sizeof(path), "%s/%.40s", in_directory("vault"), i->d_name);
        ck_assert_uint_eq(strlen(i->d_name), 32);
        closedir(d);
        ck_assert_uint_eq(mode_of(path), 0600);
        uint8_t *got = calloc(1, 300001);
        int fd = open(path, O_RDONLY);
        ck_assert_int_eq(read(fd, got, 300001), 300000);
        ck_assert_mem_eq(got, expected, 300000);
        close(fd);
        free(got);
        free(expected);
        close_store();
}
END_TEST

static int file_of(const uint8_t *data, size_t size, char sha256[static 65]) {
        int fd = memfd_create("spool", MFD_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
        ck_assert_int_eq(digest_hex(data, size, sha256), 0);
        return fd;
}

START_TEST(a_backup_in_a_file_is_what_was_read_or_none) {
        StoreBackup b = {.job = 3, .port = "port", .name = "prodnv", .size = 300000};
        uint8_t *data = bytes(300000, 1);
        int fd = file_of(data, 300000, b.sha256);

        open_store();
        ck_assert_int_eq(finish_one(store_put_backup_file(store, &b, dup(fd), on_done, NULL)), 0);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 1);
        /* a byte that the disk changed; one that it lost; what nobody has hashed */
        ck_assert_int_eq(pwrite(fd, "x", 1, 150000), 1);
        ck_assert_int_eq(finish_one(store_put_backup_file(store, &b, dup(fd), on_done, NULL)), -EIO);
        ck_assert_int_eq(pwrite(fd, data + 150000, 1, 150000), 1);
        ck_assert_int_eq(ftruncate(fd, 299999), 0);
        ck_assert_int_eq(finish_one(store_put_backup_file(store, &b, dup(fd), on_done, NULL)), -EIO);
        b.sha256[0] = '\0';
        ck_assert_int_eq(store_put_backup_file(store, &b, fd, on_done, NULL), -EINVAL);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 1);
        close(fd);
        free(data);
        close_store();
}
END_TEST

/* ---- the index of the vault ---- */

static StoreBackup entries[8];
static size_t n_entries;

static void on_backups(int e, const StoreBackup *backups, size_t n, UNUSED void *userdata) {
        on_done(e, NULL);
        ck_assert_uint_le(n, ELEMENTSOF(entries));
        n_entries = n;
        if (n > 0)
                memcpy(entries, backups, n * sizeof(*backups));
}

static int memory_file(const void *data, size_t size, bool sealed) {
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
        ck_assert(!sealed || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK) == 0);
        return fd;
}

/* "abc" */
static StoreBackup foreign_entry(unsigned number) {
        StoreBackup b = {.job = 7, .name = "l_fixnv1", .unit = "chip:C0FFEE", .size = 3, .usec = 1000,
                         .sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"};

        snprintf(b.id, sizeof(b.id), "%032x", number);
        return b;
}

static int import_entry(const StoreBackup *b, const char *data, bool sealed) {
        int fd = memory_file(data, strlen(data), sealed), r = store_import_backup(store, b, fd, on_done, NULL);

        if (r < 0)
                close(fd);
        return finish_one(r);
}

START_TEST(pages_of_the_vault_leave_nothing_out) {
        StoreBackupFilter f = {.limit = 2};
        unsigned seen = 0;

        open_store();
        for (unsigned i = 1; i <= 5; i++) { /* all saved at the same time */
                StoreBackup b = foreign_entry(i);
                ck_assert_int_eq(import_entry(&b, "abc", true), 0);
        }
        do {
                ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
                for (size_t i = 0; i < n_entries; i++) {
                        StoreBackup b = foreign_entry(++seen);
                        ck_assert_str_eq(entries[i].id, b.id);
                        ck_assert_str_eq(entries[i].unit, "chip:C0FFEE");
                        ck_assert(entries[i].imported && !entries[i].blank);
                        f.before_usec = entries[i].usec;
                        memcpy(f.after, entries[i].id, sizeof(f.after));
                }
        } while (n_entries > 0);
        ck_assert_uint_eq(seen, 5);
        f = (StoreBackupFilter) {.limit = 8, .unit = "chip:OTHER"};
        ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
        ck_assert_uint_eq(n_entries, 0);
        close_store();
}
END_TEST

START_TEST(the_vault_takes_in_only_what_is_proven) {
        StoreBackup b = foreign_entry(1);

        open_store();
        ck_assert_int_eq(import_entry(&b, "abc", false), -EBADF);
        ck_assert_int_eq(import_entry(&b, "abd", true), -EBADMSG);
        ck_assert_int_eq(import_entry(&b, "abcd", true), -EBADMSG);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 0);
        ck_assert_int_eq(import_entry(&b, "abc", true), 0);
        ck_assert_int_eq(import_entry(&b, "abc", true), -EEXIST);
        b.id[0] = 'X';
        ck_assert_int_eq(import_entry(&b, "abc", true), -EINVAL);
        close_store();
}
END_TEST

static void put_file(const char *name, const char *text) {
        FILE *f = fopen(in_directory(name), "w");

        ck_assert_ptr_nonnull(f);
        ck_assert(fputs(text, f) >= 0);
        ck_assert_int_eq(fclose(f), 0);
}

/* The database was lost, or the commit of a row was broken off: what is in the vault is listed nevertheless, and who knows more of it says so. */
START_TEST(files_without_a_row_are_found) {
        StoreBackup b = foreign_entry(1);
        StoreBackupFilter f = {.limit = 8};
        char second[80] = "vault/";

        open_store();
        ck_assert_int_eq(import_entry(&b, "abc", true), 0);
        close_store();
        ck_assert_int_eq(unlink(in_directory("fdld.db")), 0);
        put_file("vault/not-one-of-ours", "abc");
        put_file("vault/00000000000000000000000000000003", "");
        b = foreign_entry(2);
        strcat(second, b.id);
        put_file(second, "\xff\xff\xff\xff");
        for (unsigned start = 0; start < 2; start++) { /* they are found once */
                open_store();
                n_entries = 0;
                for (unsigned i = 0; i < 2000 && n_entries < 2; i++) {
                        ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
                        usleep(1000);
                }
                usleep(20000);
                ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
                ck_assert_uint_eq(n_entries, 2);
                for (size_t i = 0; i < n_entries; i++) {
                        ck_assert_str_eq(entries[i].name, STORE_RECOVERED);
                        ck_assert_str_eq(entries[i].unit, "");
                        ck_assert_uint_eq(entries[i].job, 0);
                        ck_assert_uint_gt(entries[i].usec, 1000000);
                        ck_assert_int_eq(entries[i].blank, streq(entries[i].id, b.id));
                        ck_assert_uint_eq(entries[i].size, entries[i].blank ? 4 : 3);
                }
                if (start == 0)
                        close_store();
        }
        b = foreign_entry(1);
        ck_assert_int_eq(import_entry(&b, "abc", true), 0);
        ck_assert_int_eq(import_entry(&b, "abc", true), -EEXIST);
        memcpy(f.id, b.id, sizeof(f.id));
        ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
        ck_assert_uint_eq(n_entries, 1);
        ck_assert_str_eq(entries[0].name, "l_fixnv1");
        ck_assert_str_eq(entries[0].unit, "chip:C0FFEE");
        close_store();
}
END_TEST

START_TEST(one_job_is_one_unit) {
        StoreBackup first = {.job = 3, .port = "p", .name = "miscdata"}, second = {.job = 3, .port = "p", .name = "l_fixnv1", .unit = "chip:C0FFEE"},
                    third = {.job = 3, .port = "p", .name = "prodnv"}, other = {.job = 4, .port = "p", .name = "prodnv"};
        StoreBackupFilter f = {.limit = 8, .unit = "chip:C0FFEE"};

        open_store();
        ck_assert_int_eq(finish_one(store_put_backup(store, &first, bytes(16, 1), 16, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_backup(store, &second, bytes(16, 2), 16, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_backup(store, &third, calloc(1, 16), 16, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_backup(store, &other, bytes(16, 4), 16, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_list_backups(store, &f, on_backups, NULL)), 0);
        ck_assert_uint_eq(n_entries, 3);
        ck_assert_str_eq(entries[0].name, "prodnv");
        ck_assert(entries[0].blank && !entries[1].blank && !entries[2].blank);
        close_store();
}
END_TEST

static void check_private(mode_t mask) {
        umask(mask);
        open_store();
        ck_assert_int_eq(finish_one(put_job(1, JOB_STATE_QUEUED)), 0);
        ck_assert_int_eq(finish_one(store_reserve_ids(store, 1, on_ids, NULL)), 0);
        ck_assert_uint_eq(mode_of(in_directory("fdld.db")), 0600);
        ck_assert_uint_eq(mode_of(in_directory("fdld.db-wal")), 0600);
        ck_assert_uint_eq(mode_of(in_directory("lock")), 0600);
        ck_assert_uint_eq(mode_of(in_directory("next-id")), 0600);
        ck_assert_uint_eq(mode_of(in_directory("vault")), 0700);
        close_store();
}

START_TEST(files_are_private_with_umask_0) {
        check_private(0);
}
END_TEST

START_TEST(files_are_private_with_umask_0777) {
        check_private(0777);
}
END_TEST

/* ---- ids ---- */

START_TEST(ids_are_never_given_twice) {
        uint64_t end = 0;

        for (unsigned round = 0; round < 5; round++) {
                open_store();
                ck_assert_uint_ge(snapshot.next_id, end);
                end = snapshot.next_id;
                for (unsigned i = 1; i <= 20; i++) {
                        ck_assert_int_eq(finish_one(store_reserve_ids(store, i, on_ids, NULL)), 0);
                        ck_assert_uint_eq(last_first, end);
                        ck_assert_uint_eq(last_n, i);
                        end += i;
                }
                close_store();
                /* the database alone, or the file alone, is enough */
                if (round == 1)
                        ck_assert_int_eq(unlink(in_directory("next-id")), 0);
        }
        ck_assert_int_eq(unlink(in_directory("fdld.db")), 0);
        char *notice = open_store_with_notice();
        ck_assert_ptr_nonnull(notice);
        ck_assert_uint_eq(snapshot.next_id, end);
        free(notice);
        close_store();
}
END_TEST

/* ---- being killed ---- */

#define KILL_LOG_MAX 4096
typedef struct KillLog {
        _Atomic unsigned jobs, backups, ids; /* acknowledged: jobs 1..n, backups 1..n, blocks */
        uint64_t first[KILL_LOG_MAX];
} KillLog;
static KillLog *kill_log;
static int kill_pipe[2];

static void note_event(void) {
        ck_assert_int_eq(write(kill_pipe[1], "x", 1), 1);
}

static void on_killed_job(int e, UNUSED void *userdata) {
        if (e == 0)
                kill_log->jobs++;
        note_event();
}

static void on_killed_backup(int e, UNUSED void *userdata) {
        if (e == 0)
                kill_log->backups++;
        note_event();
}

static void on_killed_ids(int e, uint64_t first, UNUSED unsigned n, UNUSED void *userdata) {
        if (e == 0) {
                kill_log->first[kill_log->ids % KILL_LOG_MAX] = first;
                kill_log->ids++;
        }
        note_event();
}

/* Works until it is killed. */
static void work_for_ever(void) {
        open_store();
        for (uint64_t i = 1;; i++) {
                StoreJob j = example_job(1000000 + i);
                store_put_job(store, &j, on_killed_job, NULL);
                if (i % 3 == 0)
                        store_put_backup(store, &(StoreBackup){.job = i, .port = "port", .name = "nv"}, bytes(20000, (uint8_t) i), 20000, on_killed_backup, NULL);
                if (i % 4 == 0)
                        store_reserve_ids(store, 10, on_killed_ids, NULL);
                if (i % 8 == 0) {
                        store_sync(store);
                        store_dispatch(store);
                }
                store_dispatch(store);
        }
}

static void check_vault(void) {
        DIR *d = opendir(in_directory("vault"));
        unsigned whole = 0;

        ck_assert_ptr_nonnull(d);
        for (struct dirent *i; (i = readdir(d));) {
                char path[PATH_MAX];
                struct stat st;

                if (i->d_name[0] == '.' && strncmp(i->d_name, ".tmp-", 5) != 0)
                        continue;
                ck_assert_msg(strlen(i->d_name) == 32, "left over in the vault: %s", i->d_name);
                snprintf(path, sizeof(path), "%s/%.40s", in_directory("vault"), i->d_name);
                ck_assert_int_eq(stat(path, &st), 0);
                ck_assert_int_eq(st.st_size, 20000);
                whole++;
        }
        closedir(d);
        ck_assert_uint_ge(whole, kill_log->backups);
}

static void check_after_kill(uint64_t *highest) {
        open_store();
        for (unsigned i = 0; i < MIN(kill_log->ids, (unsigned) KILL_LOG_MAX); i++) {
                ck_assert_uint_ge(kill_log->first[i], *highest);
                ck_assert_uint_ge(snapshot.next_id, kill_log->first[i] + 10);
        }
        *highest = snapshot.next_id;
        for (unsigned i = 1; i <= kill_log->jobs; i++)
                ck_assert_int_eq(finish_one(store_get_job(store, 1000000 + i, on_jobs, NULL)), 0);
        check_vault();
        close_store();
}

/* One life: killed as soon as n callbacks came, while more work is under way. */
static void live_and_be_killed(unsigned n) {
        char c;
        pid_t pid;
        int status;

        kill_log->jobs = kill_log->backups = kill_log->ids = 0;
        ck_assert_int_eq(pipe2(kill_pipe, O_CLOEXEC), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                close(kill_pipe[0]);
                work_for_ever();
                _exit(1);
        }
        close(kill_pipe[1]);
        while (n-- > 0)
                ck_assert_int_eq(read(kill_pipe[0], &c, 1), 1);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        close(kill_pipe[0]);
}

START_TEST(kill_loses_nothing_acknowledged) {
        uint64_t highest = 0;

        kill_log = mmap(NULL, sizeof(*kill_log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert(kill_log != MAP_FAILED);
        for (unsigned n = 0; n < 40; n++) {
                live_and_be_killed(n);
                check_after_kill(&highest);
        }
        for (unsigned n = 50; n < 1000; n += 190) {
                live_and_be_killed(n);
                check_after_kill(&highest);
        }
}
END_TEST

static void work_a_little(void) {
        open_store();
        for (uint64_t i = 1; i <= 3; i++) {
                ck_assert_int_eq(put_job(1000000 + i, JOB_STATE_FINISHED), 0);
                dispatch(1);
                kill_log->jobs++;
                store_put_backup(store, &(StoreBackup){.job = i, .port = "port", .name = "nv"}, bytes(20000, (uint8_t) i), 20000, on_done, NULL);
                dispatch(1);
                kill_log->backups++;
                store_reserve_ids(store, 10, on_ids, NULL);
                dispatch(1);
                kill_log->first[kill_log->ids++] = last_first;
        }
        close_store();
        _exit(0);
}

START_TEST(kill_at_each_system_call) {
        uint64_t highest = 0;
        bool more = true;

        kill_log = mmap(NULL, sizeof(*kill_log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert(kill_log != MAP_FAILED);
        for (unsigned n = 1; more; n++) {
                int status;
                pid_t pid;

                kill_log->jobs = kill_log->backups = kill_log->ids = 0;
                pid = fork();
                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        calls = 0;
                        die_at = n;
                        work_a_little();
                }
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
                more = WIFSIGNALED(status);
                ck_assert(more || WEXITSTATUS(status) == 0);
                ck_assert(more || n > 30);
                check_after_kill(&highest);
        }
}
END_TEST

/* ---- full and broken disks ---- */

static void fill(const char *path) {
        static char block[65536];
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        memset(block, 'f', sizeof(block));
        for (size_t size = sizeof(block); size > 0;)
                if (write(fd, block, size) <= 0)
                        size /= 2;
        close(fd);
}

static void check_full(void) {
        int r = 0;
        uint64_t id;

        for (id = 10; id < 2000 && r == 0; id++)
                r = finish_one(put_job(id, JOB_STATE_FINISHED));
        ck_assert_int_eq(r, -ENOSPC);
        ck_assert_int_eq(finish_one(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "nv"}, bytes(100000, 2), 100000, on_done, NULL)), -ENOSPC);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 0);
        ck_assert_int_eq(finish_one(store_reserve_ids(store, 10, on_ids, NULL)), -ENOSPC);
        /* reading goes on */
        ck_assert_int_eq(finish_one(store_get_job(store, 1, on_jobs, NULL)), 0);
        ck_assert_int_eq(unlink(in_directory("filler")), 0);
        ck_assert_int_eq(finish_one(put_job(5000, JOB_STATE_FINISHED)), 0);
        ck_assert_int_eq(finish_one(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "nv"}, bytes(1000, 2), 1000, on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_reserve_ids(store, 10, on_ids, NULL)), 0);
        reopen();
        ck_assert_int_eq(finish_one(store_get_job(store, 1, on_jobs, NULL)), 0);
        ck_assert_int_eq(finish_one(store_get_job(store, 5000, on_jobs, NULL)), 0);
        close_store();
}

START_TEST(a_full_disk_is_said_and_survived) {
        if (!mount_small(test_directory, "size=2m,mode=0700")) {
                fprintf(stderr, "SKIPPED here: a small file system cannot be mounted (%s); the limit of file size is tested\n",
                        strerror(errno));
                return;
        }
        open_store();
        ck_assert_int_eq(finish_one(put_job(1, JOB_STATE_QUEUED)), 0);
        fill(in_directory("filler"));
        check_full();
}
END_TEST

START_TEST(a_start_on_a_full_disk_is_refused_with_reason) {
        if (!mount_small(test_directory, "size=1m,mode=0700")) {
                fprintf(stderr, "SKIPPED: a small file system cannot be mounted: %s\n", strerror(errno));
                return;
        }
        open_store();
        ck_assert_int_eq(finish_one(put_job(1, JOB_STATE_QUEUED)), 0);
        close_store();
        fill(in_directory("filler"));
        refuse_to_open("No space left on device");
        ck_assert_uint_eq(count_entries(test_directory, "fdld.db.damaged-"), 0);
        ck_assert_int_eq(unlink(in_directory("filler")), 0);
        open_store();
        ck_assert_uint_eq(snapshot.n_jobs, 1);
        close_store();
}
END_TEST

START_TEST(one_too_big_does_not_hurt_the_others_of_its_transaction) {
        int results[20], big = 0;

        if (!mount_small(test_directory, "size=4m,mode=0700")) {
                fprintf(stderr, "SKIPPED: a small file system cannot be mounted: %s\n", strerror(errno));
                return;
        }
        open_store();
        for (unsigned i = 0; i < 20; i++) {
                StoreJob j = example_job(i + 1);
                results[i] = 1;
                if (i == 10)
                        ck_assert_int_eq(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "nv"}, bytes(8000000, 0), 8000000, on_done, &big), 0);
                ck_assert_int_eq(store_put_job(store, &j, on_done, results + i), 0);
        }
        dispatch(21);
        ck_assert_int_eq(big, -ENOSPC);
        for (unsigned i = 0; i < 20; i++)
                ck_assert_int_eq(results[i], 0);
        reopen();
        ck_assert_uint_eq(snapshot.n_jobs, 20);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 0);
        close_store();
}
END_TEST

START_TEST(a_write_error_is_said_and_survived) {
        struct rlimit limit, before;
        int r = 0;

        signal(SIGXFSZ, SIG_IGN);
        open_store();
        ck_assert_int_eq(finish_one(put_job(1, JOB_STATE_QUEUED)), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
        limit = before;
        limit.rlim_cur = 200000;
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        for (uint64_t id = 10; id < 2000 && r == 0; id++)
                r = finish_one(put_job(id, JOB_STATE_FINISHED));
        ck_assert_int_eq(r, -EFBIG);
        ck_assert_int_eq(finish_one(store_put_backup(store, &(StoreBackup){.job = 1, .port = "p", .name = "nv"}, bytes(300000, 2), 300000, on_done, NULL)), -EFBIG);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 0);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
        ck_assert_int_eq(finish_one(put_job(5000, JOB_STATE_FINISHED)), 0);
        reopen();
        ck_assert_int_eq(finish_one(store_get_job(store, 5000, on_jobs, NULL)), 0);
        close_store();
}
END_TEST

START_TEST(a_read_only_file_system_is_said) {
        if (!mount_small(test_directory, "size=2m,mode=0700") ||
            mount(NULL, test_directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0) {
                fprintf(stderr, "SKIPPED: a read-only file system cannot be mounted: %s\n", strerror(errno));
                return;
        }
        refuse_to_open("Read-only file system");
}
END_TEST

/* ---- damage ---- */

static void make_database(void) {
        open_store();
        for (uint64_t id = 1; id <= 300; id++)
                ck_assert_int_eq(put_job(id, id % 7 ? JOB_STATE_FINISHED : JOB_STATE_QUEUED), 0);
        ck_assert_int_eq(store_reserve_ids(store, 1000, on_ids, NULL), 0);
        store_sync(store);
        store_dispatch(store);
        store_dispatch(store);
        close_store();
}

static off_t file_size(const char *path) {
        struct stat st;

        ck_assert_int_eq(stat(path, &st), 0);
        return st.st_size;
}

static void overwrite(off_t offset, size_t n, uint8_t value) {
        int fd = open(in_directory("fdld.db"), O_WRONLY);
        uint8_t block[4096];

        memset(block, value, sizeof(block));
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, block, n, offset), (ssize_t) n);
        close(fd);
}

static void copy_database(const char *from, const char *to) {
        char command[PATH_MAX * 3];

        snprintf(command, sizeof(command), "cp '%s/%s' '%s/%s'", test_directory, from, test_directory, to);
        ck_assert_int_eq(system(command), 0);
}

/* Never a crash, never a refusal; either the damage did not hurt, or it is said, the old file kept and a new one begun. In
 * both cases the store works and numbers go on. */
static bool open_damaged(void) {
        unsigned before = count_entries(test_directory, "fdld.db.damaged-");
        char *notice = open_store_with_notice();
        bool damaged = notice != NULL, aside = damaged && strstr(notice, "moved to");

        ck_assert_uint_eq(count_entries(test_directory, "fdld.db.damaged-"), before + aside);
        if (damaged) {
                ck_assert_ptr_nonnull(strstr(notice, "damaged"));
                ck_assert_ptr_nonnull(strstr(notice, test_directory));
                ck_assert_uint_eq(snapshot.n_jobs, 0);
        }
        ck_assert_uint_ge(snapshot.next_id, 1001);
        ck_assert_int_eq(finish_one(put_job(snapshot.next_id, JOB_STATE_QUEUED)), 0);
        ck_assert_int_eq(finish_one(store_list_jobs(store, 0, 1000, on_jobs, NULL)), 0);
        ck_assert_int_eq(finish_one(store_reserve_ids(store, 10, on_ids, NULL)), 0);
        ck_assert_uint_ge(last_first, 1001);
        close_store();
        free(notice);
        return damaged;
}

START_TEST(damage_anywhere_is_moved_aside) {
        off_t size;
        unsigned found = 0;

        make_database();
        copy_database("fdld.db", "good");
        size = file_size(in_directory("good"));
        for (off_t offset = 0; offset < size; offset += 4096) {
                copy_database("good", "fdld.db");
                overwrite(offset, 100, 0xff);
                found += open_damaged();
                copy_database("good", "fdld.db");
                overwrite(offset, 4096, 0);
                found += open_damaged();
        }
        /* every page is a page of a tree, so at least the blank ones are noticed */
        ck_assert_uint_ge(found, (unsigned) (size / 4096));
}
END_TEST

static void on_check(int e, const StoreRecordCheck *c, UNUSED void *userdata) {
        on_done(e, NULL);
        ck_assert(e < 0 || c->bad_seq > 0);
}

static void run_sql(const char *sql) {
        sqlite3 *db = NULL;

        ck_assert_int_eq(sqlite3_open(in_directory("fdld.db"), &db), SQLITE_OK);
        ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
        sqlite3_close(db);
}

/* Nobody waits until years of records are read. What is damaged in them is found when it is met, and the next start looks at all of it;
 * the small tables are looked at each time. */
START_TEST(a_large_database_is_not_read_whole_at_start) {
        StoreRecordCheck from = {};
        char *notice;

        make_database();
        run_sql("INSERT INTO records VALUES(1,'i',1,0,'flash','done','','p','','','','','',0,0,'','x','','');"
                "INSERT INTO record_lines VALUES(1, hex(zeroblob(36000000))); UPDATE chain SET head = 1");
        copy_database("fdld.db", "good");
        overwrite(file_size(in_directory("fdld.db")) / 2 & ~4095L, 4096, 0xff);
        notice = open_store_with_notice();
        ck_assert_ptr_null(notice);
        ck_assert_uint_gt(snapshot.n_jobs, 0);
        ck_assert_int_ne(access(in_directory("fdld.db.suspect"), F_OK), 0);
        ck_assert_int_eq(finish_one(store_check_records(store, &from, on_check, NULL)), -EBADMSG);
        close_store();
        ck_assert_int_eq(access(in_directory("fdld.db.suspect"), F_OK), 0);
        ck_assert(open_damaged());
        ck_assert_int_ne(access(in_directory("fdld.db.suspect"), F_OK), 0);

        copy_database("good", "fdld.db");
        overwrite(4096, 4096, 0); /* the first tables of all */
        ck_assert(open_damaged());
}
END_TEST

START_TEST(damage_of_each_byte_of_the_header) {
        make_database();
        copy_database("fdld.db", "good");
        for (off_t offset = 0; offset < 100; offset++) {
                if (offset == 63) /* the lowest byte of the version: a newer fdld, see below */
                        continue;
                copy_database("good", "fdld.db");
                overwrite(offset, 1, 0xee);
                open_damaged();
        }
}
END_TEST

START_TEST(a_cut_database) {
        off_t size;

        make_database();
        copy_database("fdld.db", "good");
        size = file_size(in_directory("good"));
        for (off_t end = 1; end < size; end += end < 200 ? 33 : 10007) {
                copy_database("good", "fdld.db");
                ck_assert_int_eq(truncate(in_directory("fdld.db"), end), 0);
                ck_assert_msg(open_damaged(), "cut at %ld was not noticed", (long) end);
        }
}
END_TEST

START_TEST(an_empty_database_in_a_used_directory_is_a_loss) {
        char *notice;

        make_database();
        ck_assert_int_eq(truncate(in_directory("fdld.db"), 0), 0);
        notice = open_store_with_notice();
        ck_assert_ptr_nonnull(notice);
        ck_assert_uint_eq(snapshot.next_id, 1001);
        free(notice);
        close_store();
}
END_TEST

START_TEST(numbers_go_on_when_all_is_lost) {
        char *notice;

        make_database();
        ck_assert_int_eq(unlink(in_directory("next-id")), 0);
        overwrite(0, 4096, 0xff);
        notice = open_store_with_notice();
        ck_assert_ptr_nonnull(notice);
        ck_assert_uint_ge(snapshot.next_id, 1000000000);
        free(notice);
        close_store();
}
END_TEST

START_TEST(a_newer_database_is_left_alone) {
        int fd, n;
        uint8_t version = 0;

        make_database();
        fd = open(in_directory("fdld.db"), O_RDONLY);
        n = (int) pread(fd, &version, 1, 63);
        ck_assert_int_eq(n, 1);
        close(fd);
        overwrite(63, 1, 77);
        refuse_to_open("newer fdld");
        ck_assert_uint_eq(count_entries(test_directory, "fdld.db.damaged-"), 0);
        overwrite(63, 1, version);
        open_store();
        ck_assert_uint_eq(snapshot.n_jobs, 42 + 64);
        close_store();
}
END_TEST

START_TEST(a_foreign_file_is_moved_aside) {
        int fd = open(in_directory("fdld.db"), O_WRONLY | O_CREAT, 0666);
        char *notice;

        ck_assert_int_eq(write(fd, "this is no database, but long enough to be looked at, as one must be sure", 70), 70);
        close(fd);
        notice = open_store_with_notice();
        ck_assert_ptr_nonnull(notice);
        ck_assert_uint_eq(mode_of(in_directory("fdld.db")), 0600);
        free(notice);
        close_store();
}
END_TEST

START_TEST(packages_without_a_row_are_found_again) {
        static const char digest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        char name[128];
        int fd;

        ck_assert_int_eq(mkdir(in_directory("packages"), 0700), 0);
        snprintf(name, sizeof(name), "packages/%s.pac", digest);
        fd = open(in_directory(name), O_WRONLY | O_CREAT, 0400);
        ck_assert_int_eq(write(fd, "12345", 5), 5);
        close(fd);
        close(open(in_directory("packages/.import-1"), O_WRONLY | O_CREAT, 0600));
        close(open(in_directory("packages/0123.pac"), O_WRONLY | O_CREAT, 0600));
        for (int i = 0; i < 2; i++) {
                open_store();
                ck_assert_uint_eq(snapshot.n_packages, 1);
                ck_assert_str_eq(snapshot.packages[0].digest, digest);
                ck_assert_str_eq(snapshot.packages[0].name, "recovered-0123456789ab.pac");
                ck_assert_uint_eq(snapshot.packages[0].size, 5);
                close_store();
        }
}
END_TEST

START_TEST(left_overs_are_swept) {
        open_store();
        close_store();
        close(open(in_directory("vault/.tmp-1234"), O_WRONLY | O_CREAT, 0600));
        close(open(in_directory(".tmp-1234"), O_WRONLY | O_CREAT, 0600));
        open_store();
        ck_assert_uint_eq(count_entries(test_directory, ".tmp-"), 0);
        ck_assert_uint_eq(count_entries(in_directory("vault"), ""), 0);
        close_store();
}
END_TEST

/* ---- directories that cannot be used ---- */

START_TEST(a_second_daemon_is_kept_out) {
        Store *first;
        StoreSnapshot first_snapshot;
        char pid[32];

        open_store();
        first = store;
        first_snapshot = snapshot;
        refuse_to_open("Another fdld, process ");
        snprintf(pid, sizeof(pid), "process %ld ", (long) getpid());
        ck_assert_msg(strstr(error.text, pid) != NULL, "%s", error.text);
        store = first;
        snapshot = first_snapshot;
        ck_assert_int_eq(finish_one(put_job(1, JOB_STATE_QUEUED)), 0);
        close_store();
        open_store();
        close_store();
}
END_TEST

START_TEST(a_missing_directory) {
        char kept[PATH_MAX];

        strcpy(kept, test_directory);
        strcat(test_directory, "/nowhere");
        refuse_to_open("no state directory");
        refuse_to_open("0700");
        strcpy(test_directory, kept);
}
END_TEST

static StoreSerial reserved;
static void on_serial(int e, const StoreSerial *serial, UNUSED void *userdata) {
        on_done(e, NULL);
        reserved = *serial;
}

static int reserve(uint64_t job, const char *value, const char *stock) {
        StoreSerial q = {.job = job};

        snprintf(q.value, sizeof(q.value), "%s", value);
        snprintf(q.stock, sizeof(q.stock), "%s", stock);
        return finish_one(store_reserve_serial(store, &q, on_serial, NULL));
}

static void job_ends(uint64_t id, JobResult result) {
        StoreJob j = example_job(id);

        j.result = result;
        strcpy(j.serial, "ask");
        ck_assert_int_eq(finish_one(store_put_job(store, &j, on_done, NULL)), 0);
}

static void job_runs(uint64_t id) {
        StoreJob j = example_job(id);

        j.state = JOB_STATE_RUNNING;
        j.result = JOB_RESULT_NONE;
        strcpy(j.serial, "ask");
        ck_assert_int_eq(finish_one(store_put_job(store, &j, on_done, NULL)), 0);
}

#define STOCK_A "0123456789abcdef0123456789abcdef"

/* Used by a pass alone; what is given back comes next; never two for one number. */
START_TEST(serial_numbers) {
        open_store();
        ck_assert_int_eq(finish_one(store_put_stock(store, STOCK_A, "A:1-4", on_done, NULL)), 0);
        ck_assert_int_eq(finish_one(store_put_stock(store, STOCK_A, "A:1-4", on_done, NULL)), 0);
        ck_assert_int_eq(store_reserve_serial(store, &(StoreSerial){.job = 1}, on_serial, NULL), -EINVAL);
        ck_assert_int_eq(reserve(1, "", "00000000000000000000000000000000"), -ENOENT);
        for (uint64_t id = 1; id <= 3; id++) {
                char expected[3] = {'A', (char) ('0' + id), '\0'};
                job_runs(id);
                ck_assert_int_eq(reserve(id, "", STOCK_A), 0);
                ck_assert_str_eq(reserved.held, expected);
                ck_assert_int_eq(reserve(id, "", STOCK_A), 0); /* the same once more */
                ck_assert_str_eq(reserved.held, expected);
        }
        job_runs(4);
        ck_assert_int_eq(reserve(4, "A2", ""), -EEXIST);
        ck_assert_uint_eq(reserved.other, 2);
        ck_assert_int_eq(reserve(3, "B", ""), -EBUSY);
        job_ends(1, JOB_RESULT_DONE);
        job_ends(2, JOB_RESULT_FAILED);
        ck_assert_int_eq(reserve(4, "", STOCK_A), 0);
        ck_assert_str_eq(reserved.held, "A2");
        job_ends(4, JOB_RESULT_DONE);
        /* A number that somebody typed is not given by the stock. */
        job_runs(5);
        ck_assert_int_eq(reserve(5, "A4", ""), 0);
        job_runs(6);
        ck_assert_int_eq(reserve(6, "", STOCK_A), -ENODATA);
        job_ends(5, JOB_RESULT_CANCELED);
        ck_assert_int_eq(reserve(6, "", STOCK_A), 0); /* but once it is free again */
        ck_assert_str_eq(reserved.held, "A4");
        job_ends(6, JOB_RESULT_FAILED);
        reopen();
        /* 3 still runs and holds its number, whoever restarts. */
        job_runs(7);
        ck_assert_int_eq(reserve(7, "A3", ""), -EEXIST);
        ck_assert_int_eq(reserve(7, "A1", ""), -EEXIST);
        ck_assert_int_eq(reserve(7, "A4", ""), 0);
        job_ends(3, JOB_RESULT_INTERRUPTED);
        ck_assert_int_eq(reserve(8, "", STOCK_A), 0); /* of a job that nobody wrote down */
        ck_assert_str_eq(reserved.held, "A3");
        reopen();
        job_runs(9);
        ck_assert_int_eq(reserve(9, "", STOCK_A), 0);
        ck_assert_str_eq(reserved.held, "A3");
        close_store();
}
END_TEST

START_TEST(a_file_for_a_directory) {
        char kept[PATH_MAX];

        strcpy(kept, test_directory);
        strcat(test_directory, "/file");
        close(open(test_directory, O_WRONLY | O_CREAT, 0600));
        refuse_to_open("Not a directory");
        strcpy(test_directory, kept);
}
END_TEST

START_TEST(a_directory_that_others_can_write) {
        ck_assert_int_eq(chmod(test_directory, 0777), 0);
        refuse_to_open("0777");
}
END_TEST

START_TEST(the_directory_of_somebody_else) {
        if (geteuid() != 0) {
                fprintf(stderr, "SKIPPED: only root can give a directory away\n");
                return;
        }
        ck_assert_int_eq(chown(test_directory, 12345, 12345), 0);
        refuse_to_open("uid 12345");
        refuse_to_open("uid 0");
}
END_TEST

START_TEST(a_directory_without_write_permission) {
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(test_directory, 65534, 65534), 0);
                ck_assert(become_nobody());
        }
        ck_assert_int_eq(chmod(test_directory, 0500), 0);
        refuse_to_open("Permission denied");
        refuse_to_open("0500");
        ck_assert_int_eq(chmod(test_directory, 0700), 0);
}
END_TEST

START_TEST(a_database_that_is_a_link) {
        ck_assert_int_eq(symlink("/etc/passwd", in_directory("fdld.db")), 0);
        refuse_to_open("symbolic links");
}
END_TEST

int main(void) {
        Suite *suite = suite_create("store");
        TCase *t = tcase_create("store");

        tcase_set_timeout(t, 300);
        tcase_add_checked_fixture(t, make_test_directory, NULL);
        tcase_add_test(t, keeps_every_field);
        tcase_add_test(t, keeps_slots_and_packages);
        tcase_add_test(t, keeps_what_loaders_have_shown);
        tcase_add_test(t, keeps_what_loaders_have_shown);
        tcase_add_test(t, pages_of_the_vault_leave_nothing_out);
        tcase_add_test(t, the_vault_takes_in_only_what_is_proven);
        tcase_add_test(t, files_without_a_row_are_found);
        tcase_add_test(t, one_job_is_one_unit);
        tcase_add_test(t, snapshot_has_unfinished_then_newest_finished);
        tcase_add_test(t, lists_in_pages);
        tcase_add_test(t, a_list_sees_what_was_queued_before_it);
        tcase_add_test(t, refuses_what_cannot_be_a_row);
        tcase_add_test(t, the_queue_has_an_end);
        tcase_add_test(t, close_executes_what_is_queued);
        tcase_add_test(t, backups_go_to_the_vault);
        tcase_add_test(t, a_backup_in_a_file_is_what_was_read_or_none);
        tcase_add_test(t, files_are_private_with_umask_0);
        tcase_add_test(t, files_are_private_with_umask_0777);
        tcase_add_test(t, ids_are_never_given_twice);
        tcase_add_test(t, kill_loses_nothing_acknowledged);
        tcase_add_test(t, kill_at_each_system_call);
        tcase_add_test(t, a_full_disk_is_said_and_survived);
        tcase_add_test(t, a_start_on_a_full_disk_is_refused_with_reason);
        tcase_add_test(t, one_too_big_does_not_hurt_the_others_of_its_transaction);
        tcase_add_test(t, a_write_error_is_said_and_survived);
        tcase_add_test(t, a_read_only_file_system_is_said);
        tcase_add_test(t, damage_anywhere_is_moved_aside);
        tcase_add_test(t, a_large_database_is_not_read_whole_at_start);
        tcase_add_test(t, damage_of_each_byte_of_the_header);
        tcase_add_test(t, a_cut_database);
        tcase_add_test(t, an_empty_database_in_a_used_directory_is_a_loss);
        tcase_add_test(t, numbers_go_on_when_all_is_lost);
        tcase_add_test(t, a_newer_database_is_left_alone);
        tcase_add_test(t, a_foreign_file_is_moved_aside);
        tcase_add_test(t, packages_without_a_row_are_found_again);
        tcase_add_test(t, left_overs_are_swept);
        tcase_add_test(t, a_second_daemon_is_kept_out);
        tcase_add_test(t, a_missing_directory);
        tcase_add_test(t, serial_numbers);
        tcase_add_test(t, a_file_for_a_directory);
        tcase_add_test(t, a_directory_that_others_can_write);
        tcase_add_test(t, the_directory_of_somebody_else);
        tcase_add_test(t, a_directory_without_write_permission);
        tcase_add_test(t, a_database_that_is_a_link);
        suite_add_tcase(suite, t);
        return run_in_test_base(suite);
}
