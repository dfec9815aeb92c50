/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim.h"

/* One descriptor for each unit stays open: with hundreds of units a descriptor for each partition would be too many. */
static int store_open(SimModel *m, const char *file, int flags) {
        int fd;

        if (m->file_name && strcmp(m->file_name, file) == 0)
                return m->file_fd;
        fd = openat(m->dir_fd, file, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
        if (fd < 0)
                return -errno;
        store_forget(m);
        m->file_name = strdup(file);
        if (!m->file_name) {
                close(fd);
                return -ENOMEM;
        }
        m->file_fd = fd;
        return fd;
}

void store_forget(SimModel *m) {
        if (m->file_name) {
                free(m->file_name);
                m->file_name = NULL;
                close(m->file_fd);
                m->file_fd = -1;
        }
}

int store_read(SimModel *m, const char *file, uint64_t offset, void *buf, size_t n) {
        uint8_t *p = buf;
        int fd = store_open(m, file, 0);

        if (fd < 0)
                return fd;
        while (n) {
                ssize_t r = pread(fd, p, n, (off_t) offset);
                if (r < 0)
                        return -errno;
                if (r == 0)
                        break;
                p += r;
                offset += (uint64_t) r;
                n -= (size_t) r;
        }
        memset(p, 0, n);
        return 0;
}

int store_write(SimModel *m, const char *file, uint64_t offset, const void *buf, size_t n) {
        const uint8_t *p = buf;
        int fd = store_open(m, file, O_CREAT);

        if (fd < 0)
                return fd;
        while (n) {
                ssize_t r = pwrite(fd, p, n, (off_t) offset);
                if (r < 0)
                        return -errno;
                p += r;
                offset += (uint64_t) r;
                n -= (size_t) r;
        }
        return 0;
}

int store_fill(SimModel *m, const char *file, uint64_t offset, uint64_t n, uint8_t byte) {
        uint8_t block[4096];
        int fd = store_open(m, file, O_CREAT);

        if (fd < 0)
                return fd;
        if (byte == 0 && n && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset, (off_t) n) == 0)
                return 0;
        memset(block, byte, sizeof(block));
        while (n) {
                size_t step = n < sizeof(block) ? (size_t) n : sizeof(block);
                int r = store_write(m, file, offset, block, step);
                if (r < 0)
                        return r;
                offset += step;
                n -= step;
        }
        return 0;
}

int store_create(SimModel *m, const char *file, uint64_t size) {
        int fd;

        store_forget(m);
        fd = store_open(m, file, O_CREAT | O_TRUNC);
        if (fd < 0)
                return fd;
        return ftruncate(fd, (off_t) size) < 0 ? -errno : 0;
}

int64_t store_size(SimModel *m, const char *file) {
        struct stat st;

        if (fstatat(m->dir_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? (int64_t) st.st_size : -EISDIR;
}

int store_put(SimModel *m, const char *file, const void *buf, size_t n) {
        int r = store_create(m, file, 0);

        return r < 0 ? r : store_write(m, file, 0, buf, n);
}

int store_remove(SimModel *m, const char *file) {
        store_forget(m);
        return unlinkat(m->dir_fd, file, 0) < 0 ? -errno : 0;
}

int store_mkdir(SimModel *m, const char *dir) {
        if (mkdirat(m->dir_fd, dir, 0777) < 0 && errno != EEXIST)
                return -errno;
        return 0;
}

static int clear_at(int parent, const char *dir, int depth) {
        int fd = openat(parent, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct dirent *e;
        DIR *d;

        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return -ENOMEM;
        }
        while ((e = readdir(d))) {
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                if (unlinkat(fd, e->d_name, 0) < 0 && depth > 0 && clear_at(fd, e->d_name, depth - 1) == 0)
                        (void) unlinkat(fd, e->d_name, AT_REMOVEDIR);
        }
        closedir(d);
        return 0;
}

int store_clear_dir(SimModel *m, const char *dir) {
        store_forget(m);
        return clear_at(m->dir_fd, dir, 16);
}

bool store_is_empty(SimModel *m) {
        int fd = openat(m->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        bool empty = true;
        struct dirent *e;
        DIR *d;

        if (fd < 0)
                return true;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return true;
        }
        while ((e = readdir(d)))
                if (e->d_name[0] != '.')
                        empty = false;
        closedir(d);
        return empty;
}
