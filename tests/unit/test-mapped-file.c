/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/mapped-file.h"
#include "must.h"
#include "scratch.h"

#define SIZE (8 * 4096)

static char path[160];
static char directory[64];

static void make_file(size_t size) {
        _cleanup_close_ int fd = -1;
        uint8_t byte = 0xa5;

        scratch_template(path, sizeof(path), "fdld-mapped-file");
        fd = mkstemp(path);
        ck_assert_int_ge(fd, 0);
        for (size_t i = 0; i < size; i++)
                must(write(fd, &byte, 1) == 1, "%s: %s", path, strerror(errno));
}

static void setup(void) {
        ck_assert_int_eq(mapped_file_setup(), 0);
        make_file(SIZE);
}

static void teardown(void) {
        unlink(path);
}

START_TEST(test_reads) {
        MappedFile *m;

        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        ck_assert_uint_eq(mapped_file_size(m), SIZE);
        ck_assert_uint_eq(mapped_file_data(m)[0], 0xa5);
        ck_assert_uint_eq(mapped_file_data(m)[SIZE - 1], 0xa5);
        ck_assert(mapped_file_ok(m));
        ck_assert_ptr_eq(mapped_file_ref(m), m);
        ck_assert_ptr_null(mapped_file_unref(m));
        ck_assert(mapped_file_ok(m));
        mapped_file_unref(m);
}
END_TEST

START_TEST(test_truncated) {
        MappedFile *m, *other;
        char before[sizeof(path)];
        uint8_t copy[SIZE];

        memcpy(before, path, sizeof(path));
        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        make_file(SIZE);
        ck_assert_int_eq(mapped_file_open(path, &other), 0);
        ck_assert_int_eq(truncate(before, 4096), 0);
        errno = EXDEV;
        memcpy(copy, mapped_file_data(m), SIZE);
        ck_assert_int_eq(errno, EXDEV);
        ck_assert(!mapped_file_ok(m));
        ck_assert_uint_eq(copy[0], 0xa5);
        ck_assert_uint_eq(copy[4096], 0);
        ck_assert_uint_eq(copy[SIZE - 1], 0);
        /* For good, even when the file is whole again; and of no effect on a neighbour. */
        ck_assert_int_eq(truncate(before, SIZE), 0);
        ck_assert(!mapped_file_ok(m));
        ck_assert(mapped_file_ok(other));
        mapped_file_unref(m);
        mapped_file_unref(other);
        unlink(before);
}
END_TEST

/* Cut inside the last page there is no signal: the tail reads as zeros. */
START_TEST(test_cut_in_page) {
        MappedFile *m;

        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        ck_assert_int_eq(truncate(path, SIZE - 100), 0);
        ck_assert_uint_eq(mapped_file_data(m)[SIZE - 1], 0);
        ck_assert(!mapped_file_ok(m));
        mapped_file_unref(m);
}
END_TEST

START_TEST(test_slots_come_back) {
        for (int i = 0; i < 2000; i++) {
                MappedFile *m;
                ck_assert_int_eq(mapped_file_open(path, &m), 0);
                ck_assert(mapped_file_ok(m));
                mapped_file_unref(m);
        }
}
END_TEST

START_TEST(test_refusals) {
        MappedFile *m = NULL;

        snprintf(directory, sizeof(directory), "/tmp");
        ck_assert_int_eq(mapped_file_open(directory, &m), -EISDIR);
        ck_assert_int_eq(mapped_file_open("/dev/null", &m), -EBADF);
        ck_assert_int_eq(mapped_file_open("/nonexistent/file", &m), -ENOENT);
        ck_assert_ptr_null(m);
        ck_assert_int_eq(truncate(path, 0), 0);
        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        ck_assert_uint_eq(mapped_file_size(m), 0);
        ck_assert(mapped_file_ok(m));
        mapped_file_unref(m);
}
END_TEST

static void *hammer(void *arg) {
        MappedFile *m = arg;
        uint32_t sum = 0;

        for (int k = 0; k < 200; k++)
                for (size_t i = 0; i < SIZE; i += 512)
                        sum += ((const volatile uint8_t *) mapped_file_data(m))[i];
        mapped_file_unref(m);
        return (void *) (uintptr_t) sum;
}

START_TEST(test_threads) {
        pthread_t threads[4];
        MappedFile *m;

        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                ck_assert_int_eq(pthread_create(threads + i, NULL, hammer, mapped_file_ref(m)), 0);
        ck_assert_int_eq(truncate(path, 4096), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                pthread_join(threads[i], NULL);
        ck_assert_uint_eq(mapped_file_data(m)[SIZE - 1], 0);
        ck_assert(!mapped_file_ok(m));
        mapped_file_unref(m);
}
END_TEST

/* A SIGBUS that is not ours still ends the process. */
START_TEST(test_foreign_fault) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                struct sigaction dfl = {.sa_handler = SIG_DFL};
                int fd = open(path, O_RDWR | O_CLOEXEC);
                volatile uint8_t *p;

                /* A sanitizer's own handler would turn the signal into an exit. */
                sigaction(SIGBUS, &dfl, NULL);
                if (mapped_file_setup() < 0 || fd < 0)
                        _exit(1);
                p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
                if (p == MAP_FAILED || ftruncate(fd, 0) < 0)
                        _exit(1);
                (void) *p;
                _exit(0);
        }
        ck_assert_int_gt(pid, 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), SIGBUS);
}
END_TEST

START_TEST(test_sent_signal) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                struct sigaction dfl = {.sa_handler = SIG_DFL};
                sigaction(SIGBUS, &dfl, NULL);
                if (mapped_file_setup() < 0)
                        _exit(1);
                raise(SIGBUS);
                _exit(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), SIGBUS);
}
END_TEST

/* How many of its pages this process has, of *ret_all. */
static unsigned present(const MappedFile *m, unsigned *ret_all) {
        _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        size_t page = (size_t) sysconf(_SC_PAGESIZE), all = (SIZE + page - 1) / page;
        uint64_t entry;
        unsigned n = 0;

        ck_assert_int_ge(fd, 0);
        for (size_t i = 0; i < all; i++) {
                off_t at = (off_t) (((uintptr_t) mapped_file_data(m) / page + i) * sizeof(entry));

                ck_assert_int_eq(pread(fd, &entry, sizeof(entry), at), (ssize_t) sizeof(entry));
                n += entry >> 63;
        }
        *ret_all = (unsigned) all;
        return n;
}

START_TEST(test_rests) {
        volatile uint8_t sum = 0;
        MappedFile *m;
        unsigned all;

        ck_assert_int_eq(mapped_file_open(path, &m), 0);
        ck_assert(!mapped_file_rests(m));
        mapped_file_busy(m);
        mapped_file_busy(m);
        for (size_t i = 0; i < SIZE; i += 4096)
                sum = (uint8_t) (sum + mapped_file_data(m)[i]);
        mapped_file_rest(m);
        ck_assert(!mapped_file_rests(m)); /* another reads */
        mapped_file_give_back(m);
        ck_assert_uint_eq(present(m, &all), all);
        mapped_file_rest(m);
        ck_assert(mapped_file_rests(m));
        ck_assert_uint_eq(present(m, &all), all);
        mapped_file_give_back(m);
        ck_assert_uint_eq(present(m, &all), 0);
        ck_assert(!mapped_file_rests(m)); /* nothing more to give */
        ck_assert_uint_eq(mapped_file_data(m)[SIZE - 1], 0xa5);
        mapped_file_unref(m);
        mapped_file_busy(NULL);
        mapped_file_rest(NULL);
        ck_assert(!mapped_file_rests(NULL));
        mapped_file_give_back(NULL);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("mapped-file");
        TCase *tc = tcase_create("all");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_test(tc, test_reads);
        tcase_add_test(tc, test_truncated);
        tcase_add_test(tc, test_cut_in_page);
        tcase_add_test(tc, test_slots_come_back);
        tcase_add_test(tc, test_refusals);
        tcase_add_test(tc, test_threads);
        tcase_add_test(tc, test_foreign_fault);
        tcase_add_test(tc, test_sent_signal);
        tcase_add_test(tc, test_rests);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
