/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop.h"

#include <time.h>

#include "rest.h"

/* After so much work in one stretch, and so much quiet behind it, what the work needed is given back. What a watchdog or a single call
 * needs is less, so that an idle daemon sleeps on. */
#define REST_WORK 16U
#define REST_USEC 2000000U

static uint64_t usec(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static int dispatch(sd_event *event, LoopTimes *t) {
        uint64_t wall = usec(CLOCK_MONOTONIC), cpu = usec(CLOCK_THREAD_CPUTIME_ID);
        int r = sd_event_dispatch(event);

        wall = usec(CLOCK_MONOTONIC) - wall;
        cpu = usec(CLOCK_THREAD_CPUTIME_ID) - cpu;
        t->n++;
        t->over += wall > LOOP_BUDGET_USEC;
        t->over_cpu += cpu > LOOP_BUDGET_USEC;
        t->longest_usec = MAX(t->longest_usec, wall);
        t->longest_cpu_usec = MAX(t->longest_cpu_usec, cpu);
        return r;
}

/* Waits for something to do; 0: there was nothing for a while, or what there was is gone. *work: dispatches since the last rest. */
static int wait_or_rest(sd_event *event, unsigned *work, uint64_t *since) {
        bool rest = *work >= REST_WORK;
        int r = sd_event_wait(event, rest ? REST_USEC : UINT64_MAX);
        uint64_t now = usec(CLOCK_MONOTONIC);

        if (now - *since >= REST_USEC) {
                if (rest) /* also when something comes just now: after it there may be too little to rest for */
                        rest_memory();
                *work = 0;
        }
        *since = now;
        return r;
}

int loop_run(sd_event *event, LoopTimes *ret) {
        uint64_t since = usec(CLOCK_MONOTONIC);
        unsigned work = REST_WORK; /* the start itself */
        int r, code = 0;

        *ret = (LoopTimes){};
        while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
                r = sd_event_prepare(event);
                if (r == 0)
                        r = wait_or_rest(event, &work, &since);
                if (r > 0) {
                        work++;
                        r = dispatch(event, ret);
                }
                if (r < 0)
                        return r;
        }
        r = sd_event_get_exit_code(event, &code);
        return r < 0 ? r : code;
}
