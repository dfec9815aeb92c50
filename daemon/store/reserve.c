/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/macro.h"

#define RESERVE_NAME "reserve"
#define RESERVE_SIZE (4 * 1024 * 1024)

int reserve_make(int dir_fd) {
        _cleanup_close_ int fd = openat(dir_fd, RESERVE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (fd < 0)
                return -errno;
        if (fallocate(fd, 0, 0, RESERVE_SIZE) == 0)
                return 0;
        r = -errno;
        /* Half of it would only be in the way. */
        (void) unlinkat(dir_fd, RESERVE_NAME, 0);
        return r == -EOPNOTSUPP ? 0 : r;
}

bool reserve_drop(int dir_fd) {
        struct stat st;

        return fstatat(dir_fd, RESERVE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
               unlinkat(dir_fd, RESERVE_NAME, 0) == 0;
}

bool error_is_full(int error) {
        return error == -ENOSPC || error == -EDQUOT;
}
