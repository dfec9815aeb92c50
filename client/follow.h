/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Follows jobs until they are finished: bars on a terminal, plain lines elsewhere, all on stderr. */
typedef struct FollowOptions {
        bool cancel_on_interrupt;  /* Ctrl-C cancels at once (verbs whose work is of no use without us) */
        uint64_t timeout_usec;     /* give up waiting, 0 never */
} FollowOptions;

/* The worst exit code of all jobs. Ctrl-C once detaches and says so, twice within two seconds cancels and goes on
 * waiting. Prints for each failed job why, and what to do. */
int follow_jobs(sd_bus *bus, const char *const *paths, size_t n, const FollowOptions *options);
