/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* A file of the daemon's own store, mapped read-only and shared by all jobs that use it. A bad disk (SIGBUS) does not
 * end the process: the page reads as zeros from then on and mapped_file_ok() turns false for good, which every reader
 * asks after it copied and before it sends. References are counted atomically; ref and unref from any thread. */
typedef struct MappedFile MappedFile;

int mapped_file_open(const char *path, MappedFile **ret); /* 0 or -errno */
int mapped_file_take(int fd, MappedFile **ret);              /* the same of a regular file that is open; fd becomes its own on success */
MappedFile *mapped_file_ref(MappedFile *m);
MappedFile *mapped_file_unref(MappedFile *m);
DEFINE_CLEANUP(MappedFile *, mapped_file_unref)
const uint8_t *mapped_file_data(const MappedFile *m);
uint64_t mapped_file_size(const MappedFile *m);
int64_t mapped_file_time(const MappedFile *m); /* last change of the file when it was opened, seconds since 1970 */
/* Nobody has written into it since it was opened, as far as its times tell. */
bool mapped_file_unchanged(const MappedFile *m);
bool mapped_file_ok(MappedFile *m);
/* Around a time in which much of it is read. Any thread; m may be NULL. */
void mapped_file_busy(MappedFile *m);
void mapped_file_rest(MappedFile *m);
/* Much of it was read, and nobody does now. m may be NULL. */
bool mapped_file_rests(const MappedFile *m);
/* In that case its pages are the kernel's alone again and no longer counted as this process's. Takes about 30 ms for each GiB that was read:
 * any thread but the main one. m may be NULL. */
void mapped_file_give_back(MappedFile *m);
/* Installs the SIGBUS handler and unblocks the signal; once, before threads start. A SIGBUS outside our mappings stays
 * fatal, and so does one in a thread that blocks the signal: who blocks all signals must leave SIGBUS out. */
int mapped_file_setup(void);
