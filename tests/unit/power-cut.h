/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A disk whose power can be cut. Programs that link this file make their system calls through it, their libraries (SQLite) too: what is
 * done below a watched directory is done for real and written down, in order. Afterwards the directory can be made as a power cut at
 * any moment would have left it: what was synced is there; of the rest each write, each sector of it, each name that was made, moved or
 * removed may be there or not. A file's name is on disk when its directory was synced, whatever happened to the file.
 *
 * fsync() and fdatasync() sync nothing: no test needs it, and it takes long. One directory is watched at a time. Failures end the test. */

typedef struct Disk Disk;

bool disk_possible(void); /* on this machine */

/* What is in the directory now counts as synced. */
Disk *disk_watch(const char *directory);
void disk_unwatch(Disk *d);
void disk_free(Disk *d);

/* How many things were done to it so far. A cut at n: the first n happened, and nothing else. */
size_t disk_now(const Disk *d);
bool disk_syncs_at(const Disk *d, size_t n); /* what comes after n things is a sync */

/* Stops whoever writes next, until it is released: what other threads queue up meanwhile is determined. */
void disk_hold(Disk *d);
void disk_await_held(Disk *d);
void disk_release(Disk *d);

typedef enum Cut {
        CUT_LOSES,             /* all that was not synced */
        CUT_TEARS,             /* keeps some of it, some sectors of it, in no order */
        CUT_LATE,              /* all of it up to some moment, which goes through the middle of a write */
        CUT_KEEPS,             /* everything: a killed process, but no power cut */
        CUT_MAX,
} Cut;
/* Makes the directory `to`, which must not exist. Cheap as long as `at` grows. */
void disk_cut(Disk *d, size_t at, Cut how, uint64_t seed, const char *to);

uint64_t random_next(uint64_t *state);
