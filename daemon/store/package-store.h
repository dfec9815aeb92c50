/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "common/mapped-file.h"
#include "common/pool.h"
#include "firmware/pac.h"

/* Content-addressed packages: <state>/packages/<sha256>.pac. Import copies from a client's descriptor while it checks, and
 * publishes by rename; nothing half there after a crash (left-overs are swept at start). */
typedef struct PackageStore PackageStore;

#define PACKAGE_SIZE_MAX (UINT64_C(64) << 30)

/* `directory` is the state directory, after store_open() locked it. Tasks hold a reference of their own, so one that hangs
 * outlives package_store_free(). */
int package_store_open(const char *directory, uint64_t quota_bytes, PackageStore **ret, CallError *e);
PackageStore *package_store_free(PackageStore *p);

/* Looks at a descriptor before anything else: regular file or sealed memfd, readable, no O_PATH, size within limits. Takes the
 * attributes that the kernel has and asks no file server, so it may run on the main thread; the task looks again. 0; -1 with *e. */
int package_fd_check(int fd, CallError *e);

typedef struct ImportTask {
        Task task;                 /* first */
        int fd;                    /* owned; closed in the task's thread, for close() may hang too */
        _Atomic uint64_t done, total;
        /* results, valid in task.done */
        int result;                /* 0; 1 failure filled; -errno; -ECANCELED */
        Failure failure;           /* stage import; class plan: the file (details of pac.h, "file", "changed"); class host: "quota",
                                    * "disk-full", "read", "missing" or "damaged" (verify), permission, io, … */
        bool existed;              /* the same content was there already */
        char digest[65];
        Pac *pac;                  /* parsed and verified; receiver owns */
        void *userdata;            /* the caller's */
        PackageStore *store;
} ImportTask;
/* Fills run and drop; the caller sets task.done and submits. Takes the fd. */
ImportTask *import_task_new(PackageStore *p, int fd, void *userdata); /* NULL: no memory, the fd stays the caller's */
ImportTask *import_task_free(ImportTask *t);

/* Task that parses and verifies a package already in the store (at start). Same results; damaged content is a failure. */
ImportTask *verify_task_new(PackageStore *p, const char *digest, void *userdata);

int package_store_map(PackageStore *p, const char *digest, MappedFile **ret);
/* Unlinks; mapped jobs live on. Not synced (main thread): after a power cut it may be back, see StoreSnapshot. */
int package_store_remove(PackageStore *p, const char *digest);
