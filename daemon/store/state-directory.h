/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "common/failure.h"
#include "common/macro.h"

/* Files of the state directory: whose they are, private modes whatever the umask, and writes that are whole or not
 * there at all. */

#define STATE_TMP_PREFIX ".tmp-"

/* Opens a directory that must exist, belong to us and be writable for us alone. 0; -1 with *e. */
int state_directory_open(const char *path, int *ret_fd, CallError *e);
/* Takes the lock that keeps a second daemon out. */
int state_directory_lock(int dir_fd, const char *path, int *ret_fd, CallError *e);
/* Makes (0700) and opens a directory in it. */
int state_directory_sub(int dir_fd, const char *path, const char *name, int *ret_fd, CallError *e);
/* The sentence for a file in it that cannot be used: path, owner, mode, error, what is needed. -1. */
int state_directory_complain(CallError *e, const char *path, const char *what, int error);

/* Writes a whole file: temporary file, fsync, rename, fsync of the directory. With `replace` false an existing file is
 * left as it is: -EEXIST. 0 or -errno. */
int state_file_write(int dir_fd, const char *name, mode_t mode, const void *data, size_t size, bool replace);
int state_file_publish(int dir_fd, const char *tmp_name, const char *name, bool replace); /* the rename of that, not synced */
/* Removes what a killed writer left: files whose name begins with `prefix`. */
void state_directory_sweep(int dir_fd, const char *prefix);

/* n random bytes as 2n hex digits. */
int random_hex(char *ret, size_t n);
