/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Closing a file of somebody else's can block for ever: the file system may be a FUSE program that does not answer, or a dead
 * server. So the main thread never closes such files; threads do, a bounded number of them. */

/* Closes in a thread, at once or when one of those that there may be is free. With all of them stuck, or no memory for it, the descriptor
 * stays open: a leak, but no stop. */
void close_elsewhere(int fd);

static inline void close_elsewherep(int *fd) {
        if (*fd >= 0)
                close_elsewhere(*fd);
}

/* Lets the numbers refer to something harmless instead, in a thread; then `cookie` is written into the pipe `tell`. From then on
 * they can be closed anywhere. 0 or -errno: nothing will be done. */
int descriptors_empty(const int *fds, size_t n, int tell, void *cookie);
/* To be called once the cookie came out of the pipe, before the numbers are used again. */
void descriptors_emptied(void);
