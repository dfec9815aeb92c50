/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/closer.h"
#include "common/pool.h"

typedef struct Work {
        Task task; /* first */
        unsigned number;
        sem_t *hang; /* waits for it, whatever happens; NULL: does not */
        sem_t *started;
} Work;

static Pool *pool;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned ran[1000], n_ran, running, most_running; /* under the mutex */
static unsigned done[1000], n_done;                      /* of the main thread */
static _Atomic unsigned n_dropped;
static pthread_t main_thread;
static sem_t dropped_one;

static void run(Task *t) {
        Work *w = (Work *) t;

        ck_assert(!pthread_equal(pthread_self(), main_thread));
        pthread_mutex_lock(&mutex);
        ran[n_ran++] = w->number;
        running++;
        most_running = MAX(most_running, running);
        pthread_mutex_unlock(&mutex);
        if (w->started)
                sem_post(w->started);
        if (w->hang)
                sem_wait(w->hang);
        pthread_mutex_lock(&mutex);
        running--;
        pthread_mutex_unlock(&mutex);
}

static void on_done(Task *t) {
        ck_assert(pthread_equal(pthread_self(), main_thread));
        done[n_done++] = ((Work *) t)->number;
        free(t);
}

static void on_drop(Task *t) {
        free(t);
        n_dropped++;
        sem_post(&dropped_one);
}

static Work *work_new(unsigned number, sem_t *hang, sem_t *started) {
        Work *w = calloc(1, sizeof(*w));

        w->task.run = run;
        w->task.done = on_done;
        w->task.drop = on_drop;
        w->number = number;
        w->hang = hang;
        w->started = started;
        return w;
}

static Work *submit(unsigned number, sem_t *hang, sem_t *started) {
        Work *w = work_new(number, hang, started);

        ck_assert_int_eq(pool_submit(pool, &w->task), 0);
        return w;
}

static void wait_done(unsigned n) {
        while (n_done < n) {
                struct pollfd p = {.fd = pool_fd(pool), .events = POLLIN};
                ck_assert_int_eq(poll(&p, 1, 30000), 1);
                pool_dispatch(pool);
        }
        ck_assert_uint_eq(n_done, n);
}

static void setup(void) {
        main_thread = pthread_self();
        sem_init(&dropped_one, 0, 0);
}

START_TEST(a_bad_size_is_refused) {
        ck_assert_int_eq(pool_new(0, &pool), -EINVAL);
        ck_assert_int_eq(pool_new(1000, &pool), -EINVAL);
        ck_assert_ptr_null(pool_free(NULL));
}
END_TEST

START_TEST(one_thread_keeps_the_order) {
        ck_assert_int_eq(pool_new(1, &pool), 0);
        for (unsigned i = 0; i < 60; i++)
                submit(i, NULL, NULL);
        wait_done(60);
        for (unsigned i = 0; i < 60; i++) {
                ck_assert_uint_eq(ran[i], i);
                ck_assert_uint_eq(done[i], i);
        }
        ck_assert_uint_eq(most_running, 1);
        pool_free(pool);
}
END_TEST

START_TEST(no_more_than_max_run) {
        sem_t hang, started;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(3, &pool), 0);
        for (unsigned i = 0; i < 10; i++)
                submit(i, &hang, &started);
        for (unsigned i = 0; i < 3; i++)
                sem_wait(&started);
        ck_assert_int_eq(sem_trywait(&started), -1);
        for (unsigned i = 0; i < 10; i++)
                sem_post(&hang);
        wait_done(10);
        ck_assert_uint_eq(most_running, 3);
        pool_free(pool);
}
END_TEST

START_TEST(the_queue_has_an_end) {
        sem_t hang, started;
        Work *w;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        submit(0, &hang, &started);
        sem_wait(&started);
        for (unsigned i = 1; i <= 64; i++)
                submit(i, NULL, NULL);
        w = work_new(99, NULL, NULL);
        ck_assert_int_eq(pool_submit(pool, &w->task), -ENOBUFS);
        free(w); /* still ours */
        sem_post(&hang);
        wait_done(65);
        pool_free(pool);
}
END_TEST

/* One that hangs gives its place away when it is abandoned; its end is not reported. */
START_TEST(abandoned_while_it_runs) {
        sem_t hang, started;
        Work *w;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        w = submit(0, &hang, &started);
        submit(1, NULL, NULL);
        sem_wait(&started);
        ck_assert(!w->task.cancelled);
        pool_abandon(pool, &w->task);
        wait_done(1);
        ck_assert_uint_eq(done[0], 1);
        ck_assert_uint_eq(n_dropped, 0);
        sem_post(&hang);
        sem_wait(&dropped_one);
        ck_assert_uint_eq(n_dropped, 1);
        submit(2, NULL, NULL);
        wait_done(2);
        pool_free(pool);
}
END_TEST

START_TEST(abandoned_before_and_after_it_ran) {
        sem_t hang, started;
        struct pollfd p;
        Work *w;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        submit(0, &hang, &started);
        sem_wait(&started);
        w = submit(1, NULL, NULL);
        submit(2, NULL, NULL);
        pool_abandon(pool, &w->task);
        ck_assert_uint_eq(n_dropped, 1);
        sem_post(&hang);
        wait_done(2);
        ck_assert_uint_eq(done[1], 2);
        /* ended, but not dispatched yet */
        w = submit(3, NULL, NULL);
        p = (struct pollfd) {.fd = pool_fd(pool), .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, 30000), 1);
        pool_abandon(pool, &w->task);
        ck_assert_uint_eq(n_dropped, 2);
        pool_dispatch(pool);
        ck_assert_uint_eq(n_done, 2);
        pool_free(pool);
}
END_TEST

/* Hung tasks do not add up without end: with twice as many as may run, the next one waits. */
START_TEST(hung_threads_have_a_cap) {
        sem_t hang, started;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(2, &pool), 0);
        for (unsigned i = 0; i < 4; i++) {
                Work *w = submit(i, &hang, &started);
                sem_wait(&started);
                pool_abandon(pool, &w->task);
        }
        submit(4, NULL, NULL);
        pthread_mutex_lock(&mutex);
        ck_assert_uint_eq(n_ran, 4);
        pthread_mutex_unlock(&mutex);
        sem_post(&hang);
        wait_done(1);
        ck_assert_uint_eq(done[0], 4);
        for (unsigned i = 0; i < 3; i++)
                sem_post(&hang);
        for (unsigned i = 0; i < 4; i++)
                sem_wait(&dropped_one);
        pool_free(pool);
}
END_TEST

static void run_until_cancelled(Task *t) {
        sem_post(((Work *) t)->started);
        while (!t->cancelled)
                sched_yield();
}

START_TEST(free_abandons_everything) {
        sem_t started;
        Work *w;

        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(2, &pool), 0);
        for (unsigned i = 0; i < 10; i++) {
                w = work_new(i, NULL, &started);
                w->task.run = run_until_cancelled;
                ck_assert_int_eq(pool_submit(pool, &w->task), 0);
        }
        sem_wait(&started);
        sem_wait(&started);
        pool_free(pool);
        /* who looks at the flag has ended by now */
        ck_assert_uint_eq(n_dropped, 10);
        ck_assert_uint_eq(n_done, 0);
}
END_TEST

START_TEST(free_leaves_who_hangs) {
        static sem_t hang, started;

        sem_init(&hang, 0, 0);
        sem_init(&started, 0, 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        submit(0, &hang, &started);
        sem_wait(&started);
        pool_free(pool);
        ck_assert_uint_eq(n_dropped, 0);
        sem_post(&hang);
        sem_wait(&dropped_one);
}
END_TEST

static void submit_another(Task *t) {
        Work *w = (Work *) t;

        if (w->number < 100)
                submit(w->number + 1, NULL, NULL)->task.done = submit_another;
        on_done(t);
}

START_TEST(done_may_submit) {
        ck_assert_int_eq(pool_new(2, &pool), 0);
        submit(0, NULL, NULL)->task.done = submit_another;
        wait_done(101);
        pool_free(pool);
}
END_TEST

static void look_at_signals(_unused_ Task *t) {
        sigset_t set;

        pthread_sigmask(SIG_SETMASK, NULL, &set);
        ck_assert(sigismember(&set, SIGTERM));
        ck_assert(sigismember(&set, SIGINT));
        ck_assert(!sigismember(&set, SIGBUS));
}

START_TEST(threads_take_no_signals) {
        sigset_t before, after;
        Work *w = work_new(0, NULL, NULL);

        pthread_sigmask(SIG_SETMASK, NULL, &before);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        w->task.run = look_at_signals;
        ck_assert_int_eq(pool_submit(pool, &w->task), 0);
        wait_done(1);
        pthread_sigmask(SIG_SETMASK, NULL, &after);
        ck_assert_int_eq(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
        pool_free(pool);
}
END_TEST

/* Much of everything at once, for ThreadSanitizer. */
START_TEST(turmoil) {
        unsigned abandoned = 0, submitted = 0;

        ck_assert_int_eq(pool_new(4, &pool), 0);
        for (unsigned i = 0; i < 900; i++) {
                Work *w = work_new(i, NULL, NULL);
                if (pool_submit(pool, &w->task) < 0) {
                        free(w);
                        pool_dispatch(pool);
                        continue;
                }
                submitted++;
                if (i % 5 == 0) {
                        pool_abandon(pool, &w->task);
                        abandoned++;
                }
                if (i % 7 == 0)
                        pool_dispatch(pool);
        }
        wait_done(submitted - abandoned);
        pool_free(pool);
        ck_assert_uint_eq(n_dropped, abandoned);
}
END_TEST

/* ---- files that are closed elsewhere ---- */

/* All threads are busy (with a pipe that is full), and yet what is to be closed then is closed once they are not. */
START_TEST(what_is_to_be_closed_waits_for_a_thread) {
        enum { BUSY = 100, REST = 50 };
        char full[4096] = "";
        int tell[2], files[REST][2], flags;
        size_t filled = 0, cookies = 0;
        ssize_t n;

        ck_assert_int_eq(pipe2(tell, O_CLOEXEC), 0);
        flags = fcntl(tell[1], F_GETFL);
        ck_assert_int_eq(fcntl(tell[1], F_SETFL, flags | O_NONBLOCK), 0);
        while ((n = write(tell[1], full, sizeof(full))) > 0)
                filled += (size_t) n;
        ck_assert_int_eq(fcntl(tell[1], F_SETFL, flags), 0);
        for (int i = 0; i < BUSY; i++)
                ck_assert_int_eq(descriptors_empty(NULL, 0, tell[1], full), 0);
        for (int i = 0; i < REST; i++) {
                ck_assert_int_eq(pipe2(files[i], O_CLOEXEC), 0);
                close_elsewhere(files[i][1]);
        }
        while (cookies < BUSY * sizeof(void *)) {
                n = read(tell[0], full, MIN(sizeof(full), filled > 0 ? filled : sizeof(void *)));
                ck_assert_int_gt(n, 0);
                if (filled > 0)
                        filled -= (size_t) n;
                else
                        cookies += (size_t) n;
        }
        for (int i = 0; i < REST; i++) {
                ck_assert_int_eq(read(files[i][0], full, 1), 0); /* ends, or the test does after its time */
                close(files[i][0]);
        }
        close(tell[0]);
        close(tell[1]);
}
END_TEST

/* The owner of a number closes it again: it must not be free, also where no descriptor is left. */
START_TEST(what_is_emptied_stays_a_descriptor) {
        int tell[2], fd = open("/dev/zero", O_RDONLY | O_CLOEXEC), highest = fd, cookie = 7;
        struct rlimit limit;
        void *told;

        ck_assert_int_eq(pipe2(tell, O_CLOEXEC), 0);
        for (int more; getrlimit(RLIMIT_NOFILE, &limit) == 0 && (more = fcntl(fd, F_DUPFD_CLOEXEC, 3)) >= 0;) {
                highest = more;
                limit.rlim_cur = 64;
                ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        }
        ck_assert_int_eq(errno, EMFILE);
        close(highest); /* one is free, for the way back */
        ck_assert_int_eq(descriptors_empty(&fd, 1, tell[1], &cookie), 0);
        ck_assert_int_eq(poll(&(struct pollfd){.fd = tell[0], .events = POLLIN}, 1, 10000), 1);
        ck_assert_int_eq(read(tell[0], &told, sizeof(told)), sizeof(told)); /* NOLINT: pointers go through the pipe */
        ck_assert_ptr_eq(told, &cookie);
        ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
        ck_assert_int_eq(lseek(fd, 0, SEEK_CUR), -1); /* and no longer the old file */
        limit.rlim_cur = limit.rlim_max;
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0); /* sanitizers open files at the end */
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                a_bad_size_is_refused,   one_thread_keeps_the_order,
                no_more_than_max_run,    the_queue_has_an_end,
                abandoned_while_it_runs, abandoned_before_and_after_it_ran,
                hung_threads_have_a_cap, free_abandons_everything,
                free_leaves_who_hangs,   done_may_submit,
                threads_take_no_signals, turmoil,
                what_is_to_be_closed_waits_for_a_thread, what_is_emptied_stays_a_descriptor,
        };
        Suite *suite = suite_create("pool");
        TCase *t = tcase_create("pool");
        SRunner *runner;
        int failed;

        tcase_set_timeout(t, 60);
        tcase_add_checked_fixture(t, setup, NULL);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++)
                tcase_add_test(t, tests[i]);
        suite_add_tcase(suite, t);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
