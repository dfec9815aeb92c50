/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "loop.h"

#include <time.h>

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

int loop_run(sd_event *event, LoopTimes *ret) {
        int r, code = 0;

        *ret = (LoopTimes){};
        while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
                r = sd_event_prepare(event);
                if (r == 0)
                        r = sd_event_wait(event, UINT64_MAX);
                if (r > 0)
                        r = dispatch(event, ret);
                if (r < 0)
                        return r;
        }
        r = sd_event_get_exit_code(event, &code);
        return r < 0 ? r : code;
}
