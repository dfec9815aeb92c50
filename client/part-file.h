/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Files that are read from a device: FILE.part until they are whole, with FILE.part.info beside it, which says how much of it is proven.
 * Each job writes FILE.run; what it read is checked against the daemon's hash and joined. All return exit codes. */

/* Where to go on. *offset is where the reading shall begin in the partition: `base` for a new file, else a little before the proven end,
 * so that the joint can be compared. */
int part_resume(const char *part, const char *name, uint64_t address, uint64_t base, uint64_t *offset);

/* A job has read `bytes` from base + at. `sum`: their SHA-256 as the daemon saw them. Whole: `file` is there now, else .part and .info. */
int part_finish(const char *part, const char *file, const char *name, uint64_t base, uint64_t at, uint64_t bytes, const char *sum, bool whole);

/* How much of an image counts: up to the last byte that is not like the very last one, in whole blocks. */
uint64_t file_length_without_blank(const char *path, uint64_t size);

/* SHA-256 of the first `size` bytes (UINT64_MAX: all) in hex. False after a message. */
bool file_sum(const char *path, uint64_t size, char ret[static 65]);
