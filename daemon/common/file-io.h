/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reading and writing until all of it is done, whatever the kernel does at once. 0 or -errno. */
int write_all(int fd, const void *data, size_t size);
int write_at(int fd, const void *data, size_t size, uint64_t offset);
/* *ret_n is short only at the end of the file. */
int read_at(int fd, void *data, size_t size, uint64_t offset, size_t *ret_n);
/* What is nothing but zeros need not be written into a new file: it may stay a hole. */
bool all_zero(const uint8_t *data, size_t size);
