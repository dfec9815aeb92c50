/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "common/macro.h"

/* sd_event_loop() with a look at the clock: how long the one thread that serves everybody was away from everybody else. */

#define LOOP_BUDGET_USEC 5000U

typedef struct LoopTimes {
        uint64_t n, over;                    /* dispatches; those that took longer than the budget */
        uint64_t longest_usec;               /* of the clock: the machine may have had other work in it */
        uint64_t over_cpu, longest_cpu_usec; /* the same of the processor time that they used */
} LoopTimes;

/* Until the loop is to end. Its exit code, or -errno. */
int loop_run(sd_event *event, LoopTimes *ret);
