/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/scratch-file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "common/macro.h"

/* What a scratch file leaves for those who need the disk more: records, backups, packages. */
#define LEAVE_FREE (64ULL * 1024 * 1024)

/* A name that a killed daemon leaves behind begins as those that are swept at start. */
static int open_named(const char *directory) {
        static atomic_uint n;
        char path[PATH_MAX];
        int fd;

        if (snprintf(path, sizeof(path), "%s/.tmp-scratch-%d-%u", directory, (int) getpid(), atomic_fetch_add(&n, 1)) >= (int) sizeof(path))
                return -ENAMETOOLONG;
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        if (unlink(path) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

static int open_nameless(const char *directory) {
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd >= 0)
                return fd;
        /* Kernels and file systems that do not know the flag say one of these. */
        return errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL ? open_named(directory) : -errno;
}

int scratch_file_new(const char *directory, uint64_t size) {
        _cleanup_close_ int fd = open_nameless(directory);
        struct statvfs st;

        if (fd < 0)
                return fd;
        if (size > INT64_MAX / 2)
                return -EFBIG;
        if (fstatvfs(fd, &st) < 0)
                return -errno;
        if ((uint64_t) st.f_bavail * st.f_frsize < 2 * size + LEAVE_FREE)
                return -ENOSPC;
        if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t) size) < 0)
                return -errno;
        return TAKE_FD(fd);
}
