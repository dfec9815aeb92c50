/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* A new, empty file without a name in `directory`, with room for `size` bytes set aside: writing that much into it does not find the disk full.
 * It goes away with its descriptor. -ENOSPC also where it would leave the disk with little for others; other -errno: this file system
 * cannot do it. May block on the disk: not for the main thread. */
int scratch_file_new(const char *directory, uint64_t size);
