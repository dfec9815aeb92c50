/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* A file that only takes room. When the disk is full it goes, and the records of the jobs that run have its place: they can be
 * brought to their end, which matters for units that are half written. */

/* 0: it is there; -errno. Without fallocate() there is none, and that is no error. */
int reserve_make(int dir_fd);
bool reserve_drop(int dir_fd); /* true: there was one */
bool error_is_full(int error);
