/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "common/mapped-file.h"
#include "common/pool.h"
#include "firmware/image.h"

/* Files that clients attached to a job, copied into one file of the state directory (spool/<job>.bin) so that nothing changes between
 * check and use and the job survives a restart; beside it what the job is (spool/<job>.json). Both are there or none. */

#define SPOOL_ALIGN 4096U

typedef struct SpoolFile {
        char key[64];
        int fd;                    /* owned; -1: `data` instead */
        const uint8_t *data;       /* bytes of a mapping that outlives the task */
        uint64_t size;             /* of data; of a descriptor it is found out */
        uint64_t offset;           /* in the spool, given by the task */
        char sha256[65];           /* given by the task */
        ImageKind kind;            /* the same: what it is by its first bytes */
} SpoolFile;

typedef struct SpoolTask SpoolTask;
struct SpoolTask {
        Task task;                 /* first */
        char directory[512];       /* the state directory */
        uint64_t job, quota;       /* quota: bytes that the spool may have in all */
        size_t n_files;
        SpoolFile *files;          /* owned */
        MappedFile *source;        /* a reference that keeps `data` alive, may be NULL */
        /* In the task's thread, after all is copied: the text of the .json (malloc), NULL no memory. */
        char *(*describe)(SpoolTask *t);
        void *userdata;            /* the caller's */
        void (*free_userdata)(void *userdata); /* of an abandoned task, any thread */
        _Atomic uint64_t done, total;
        /* results, valid in task.done */
        int result;                /* 0; 1 failure filled (class plan: the file; host: disk, quota); -errno; -ECANCELED */
        Failure failure;
};

/* `files`: their descriptors become the task's. Fills run and drop. NULL: no memory, everything stays the caller's. */
SpoolTask *spool_task_new(const char *state_directory, uint64_t job, uint64_t quota, SpoolFile *files, size_t n_files);
SpoolTask *spool_task_free(SpoolTask *t);

/* Main thread: short. */
int spool_map(const char *state_directory, uint64_t job, MappedFile **ret);
int spool_read_description(const char *state_directory, uint64_t job, char **ret);
void spool_remove(const char *state_directory, uint64_t job);
/* At start: removes what belongs to no job that `wanted` knows, and what a killed task left. */
void spool_sweep(const char *state_directory, bool (*wanted)(uint64_t job, void *userdata), void *userdata);

/* A descriptor that may be read, or written, as far as can be said without asking the file's server: no O_PATH, right direction. */
int spool_fd_check(int fd, bool for_output, CallError *e);
