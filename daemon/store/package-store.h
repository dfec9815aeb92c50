/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "common/mapped-file.h"
#include "common/pool.h"
#include "firmware/pac.h"

/* Content-addressed packages: <state>/packages/<sha256>.pac. Import copies from a client's descriptor while it checks, and
 * publishes by rename; nothing half there after a crash (left-overs are swept at start). */
typedef struct PackageStore PackageStore;

int package_store_open(const char *directory, uint64_t quota_bytes, PackageStore **ret, CallError *e);
PackageStore *package_store_free(PackageStore *p);

/* Looks at a descriptor before anything else: regular file or sealed memfd, readable, no O_PATH, size within limits. Cheap,
 * but fstat on a dead mount may hang: so it runs inside the task, and only fcntl checks run on the main thread. 0; -1 with *e. */
int package_fd_check(int fd, CallError *e);

typedef struct ImportTask {
        Task task;                 /* first */
        int fd;                    /* owned */
        _Atomic uint64_t done, total;
        /* results, valid in task.done */
        int result;                /* 0; 1 failure filled; -errno; -ECANCELED */
        Failure failure;           /* stage import; detail "crc2", "changed", "quota", "disk-full", … */
        bool existed;              /* the same content was there already */
        char digest[65];
        Pac *pac;                  /* parsed and verified; receiver owns */
        void *userdata;            /* the caller's */
        PackageStore *store;
} ImportTask;
/* Fills run and drop; the caller sets task.done and submits. Takes the fd. */
ImportTask *import_task_new(PackageStore *p, int fd, void *userdata);
ImportTask *import_task_free(ImportTask *t);

/* Task that parses and verifies a package already in the store (at start). Same results; damaged content is a failure. */
ImportTask *verify_task_new(PackageStore *p, const char *digest, void *userdata);

int package_store_map(PackageStore *p, const char *digest, MappedFile **ret);
int package_store_remove(PackageStore *p, const char *digest); /* unlink; mapped jobs live on */
