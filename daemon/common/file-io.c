/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file-io.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/macro.h"

int write_all(int fd, const void *data, size_t size) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, MIN(size, (size_t) 1 << 30));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

int write_at(int fd, const void *data, size_t size, uint64_t offset) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = pwrite(fd, p, size, (off_t) offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                p += n;
                offset += (uint64_t) n;
                size -= (size_t) n;
        }
        return 0;
}

int read_at(int fd, void *data, size_t size, uint64_t offset, size_t *ret_n) {
        size_t n = 0;

        while (n < size) {
                ssize_t r = pread(fd, (uint8_t *) data + n, size - n, (off_t) (offset + n));
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                if (r == 0)
                        break;
                n += (size_t) r;
        }
        *ret_n = n;
        return 0;
}

bool all_zero(const uint8_t *data, size_t size) {
        return size > 0 && data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}
