/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

typedef struct HookOptions {
        const char *directory;
        unsigned timeout_ms;       /* of each program */
} HookOptions;

/* Runs every program of the folder in the order of names, one after the other: `event` is its argument and $FDLD_EVENT, `json` comes on
 * its standard input, what it prints goes where ours goes. Programs, and the folder itself, must belong to root and nobody else may be
 * able to write them; others are left out with a warning. One that takes too long is killed with all that it started. */
void hooks_run(const HookOptions *options, const char *event, const char *json);
