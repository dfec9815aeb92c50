/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdlib.h>
#include <time.h>

#include "loop.h"
#include "rest.h"

/* The loop on a clock and with events of the test's own. */

static uint64_t now_usec;
static unsigned rests;

int clock_gettime(clockid_t clock _unused_, struct timespec *t) {
        t->tv_sec = (time_t) (now_usec / 1000000);
        t->tv_nsec = (long) (now_usec % 1000000 * 1000);
        return 0;
}

void rest_memory(void) {
        rests++;
}

/* When the next events come, µs after the one before; 0 the end. Nothing comes behind the last: who waits for ever, sees the end. */
static uint64_t next_event[64];
static size_t at;
static uint64_t waited; /* of the next one */

int sd_event_get_state(sd_event *e _unused_) {
        return next_event[at] == 0 ? SD_EVENT_FINISHED : SD_EVENT_INITIAL;
}

int sd_event_prepare(sd_event *e _unused_) {
        return 0;
}

int sd_event_wait(sd_event *e _unused_, uint64_t usec) {
        uint64_t left = next_event[at] - waited;

        if (usec < left) {
                now_usec += usec;
                waited += usec;
                return 0;
        }
        now_usec += left;
        waited = 0;
        at++;
        return 1;
}

int sd_event_dispatch(sd_event *e _unused_) {
        now_usec += 10;
        return 1;
}

int sd_event_get_exit_code(sd_event *e _unused_, int *ret) {
        *ret = 7;
        return 0;
}

static void run(void) {
        LoopTimes t;

        ck_assert_int_eq(loop_run(NULL, &t), 7);
        ck_assert_uint_eq(t.n, at);
        ck_assert_uint_eq(t.over, 0);
}

/* n events, 1 ms apart, from the k-th on. */
static void work(size_t k, size_t n) {
        for (size_t i = 0; i < n; i++)
                next_event[k + i] = 1000;
}

static void setup(void) {
        memset(next_event, 0, sizeof(next_event));
        at = rests = 0;
        waited = 0;
        now_usec = 1000000;
}

START_TEST(rests_after_the_start_and_after_work) {
        next_event[0] = 10000000; /* the start itself was work */
        work(1, 20);
        next_event[21] = 10000000;
        run();
        ck_assert_uint_eq(rests, 2);
}
END_TEST

START_TEST(a_single_call_is_no_work) {
        for (size_t i = 0; i < 40; i++)
                next_event[i] = 10000000;
        run();
        ck_assert_uint_eq(rests, 1); /* of the start */
}
END_TEST

START_TEST(does_not_rest_in_the_middle_of_work) {
        work(0, 40);
        run();
        ck_assert_uint_eq(rests, 0);
}
END_TEST

/* A timer that ends just when it is time to rest. */
START_TEST(rests_also_where_something_comes_just_then) {
        work(0, 20);
        next_event[20] = 2000000;
        work(21, 2);
        next_event[23] = 60000000;
        run();
        ck_assert_uint_eq(rests, 1);
}
END_TEST

int main(void) {
        Suite *s = suite_create("loop");
        TCase *t = tcase_create("rest");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(t, setup, NULL);
        tcase_add_test(t, rests_after_the_start_and_after_work);
        tcase_add_test(t, a_single_call_is_no_work);
        tcase_add_test(t, does_not_rest_in_the_middle_of_work);
        tcase_add_test(t, rests_also_where_something_comes_just_then);
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
