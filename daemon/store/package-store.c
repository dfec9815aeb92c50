/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/package-store.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/hex.h"
#include "store/import.h"
#include "store/state-directory.h"

/* Left free on the disk for the records, whatever the packages need. */
#define DISK_RESERVE (UINT64_C(4) << 20)

struct PackageStore {
        _Atomic unsigned refs;
        int dir_fd;
        uint64_t quota;
        char *path;
        pthread_mutex_t mutex; /* never held while a client's file is touched or data are synced */
        uint64_t reserved;     /* of imports under way */
};

typedef char PackageName[64 + sizeof(".pac")];

static bool package_name(const char *digest, PackageName ret) {
        if (!is_lower_hex(digest, 64))
                return false;
        snprintf(ret, sizeof(PackageName), "%s.pac", digest);
        return true;
}

int package_store_open(const char *directory, uint64_t quota_bytes, PackageStore **ret, CallError *e) {
        _cleanup_close_ int state_fd = -EBADF;
        PackageStore *p = calloc(1, sizeof(*p));

        if (!p)
                return call_error_set(e, BUS_ERROR_STORE, "No memory left to open the packages.");
        p->refs = 1;
        p->dir_fd = -EBADF;
        p->quota = quota_bytes;
        pthread_mutex_init(&p->mutex, NULL);
        if (asprintf(&p->path, "%s/packages", directory) < 0) {
                p->path = NULL;
                package_store_unref(p);
                return call_error_set(e, BUS_ERROR_STORE, "No memory left to open the packages.");
        }
        if (state_directory_open(directory, &state_fd, e) < 0 ||
            state_directory_sub(state_fd, directory, "packages", &p->dir_fd, e) < 0) {
                package_store_unref(p);
                return -1;
        }
        state_directory_sweep(p->dir_fd, IMPORT_TMP_PREFIX);
        *ret = p;
        return 0;
}

PackageStore *package_store_ref(PackageStore *p) {
        p->refs++;
        return p;
}

PackageStore *package_store_unref(PackageStore *p) {
        if (!p || --p->refs > 0)
                return NULL;
        closep(&p->dir_fd);
        pthread_mutex_destroy(&p->mutex);
        free(p->path);
        free(p);
        return NULL;
}

PackageStore *package_store_free(PackageStore *p) {
        return package_store_unref(p);
}

const char *package_store_path(const PackageStore *p) {
        return p->path;
}

/* ---- room ---- */

const char *size_to_text(uint64_t size, char ret[static 24]) {
        static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
        size_t u = 0;
        double value = (double) size;

        for (; value >= 1024 && u + 1 < ELEMENTSOF(units); u++)
                value /= 1024;
        snprintf(ret, 24, u == 0 ? "%.0f %s" : "%.1f %s", value, units[u]);
        return ret;
}

/* What the packages use by their size; temporary files are in `reserved`. *ret_same: one has just this size. */
static int used_bytes(PackageStore *p, uint64_t size, uint64_t *ret, bool *ret_same) {
        int fd = openat(p->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        uint64_t sum = 0;
        struct stat st;

        if (!d) {
                int r = -errno;
                closep(&fd);
                return r;
        }
        *ret_same = false;
        for (struct dirent *i; (i = readdir(d));)
                if (i->d_name[0] != '.' && fstatat(p->dir_fd, i->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
                        sum += (uint64_t) st.st_size;
                        *ret_same = *ret_same || (uint64_t) st.st_size == size;
                }
        closedir(d);
        *ret = sum;
        return 0;
}

static int check_quota(PackageStore *p, uint64_t size, uint64_t reserved, Failure *f) {
        char need[24], have[24], quota[24];
        uint64_t used = 0;
        bool same;
        int r;

        r = used_bytes(p, size, &used, &same);
        if (r < 0)
                return failure_set_errno(f, r, "The package directory %.80s cannot be read: %s.", p->path, strerror(-r));
        used += reserved;
        if (used <= p->quota && size <= p->quota - used)
                return 0;
        return failure_set(f, CLASS_HOST, "quota",
                           "The package has %s, but packages use %s of the %s that they may. Remove some, or raise PackageQuota= in "
                           "fdld.conf.",
                           size_to_text(size, need), size_to_text(used, have), size_to_text(p->quota, quota));
}

static int check_disk(PackageStore *p, uint64_t blocks, Failure *f) {
        char need[24], have[24];
        struct statvfs fs;
        uint64_t available;

        if (fstatvfs(p->dir_fd, &fs) < 0)
                return failure_set_errno(f, errno, "The package directory %.80s cannot be read: %s.", p->path, strerror(errno));
        available = (uint64_t) fs.f_bavail * fs.f_frsize;
        if (available > DISK_RESERVE && blocks <= available - DISK_RESERVE)
                return 0;
        return failure_set(f, CLASS_HOST, "disk-full",
                           "The package needs %s, but the disk of %.80s has only %s left, part of which is kept for records.",
                           size_to_text(blocks, need), p->path, size_to_text(available, have));
}

bool package_store_has_size(PackageStore *p, uint64_t size) {
        uint64_t used;
        bool same = false;

        return used_bytes(p, size, &used, &same) == 0 && same;
}

int package_store_reserve(PackageStore *p, uint64_t size, uint64_t blocks, Failure *f) {
        int r;

        pthread_mutex_lock(&p->mutex);
        r = check_quota(p, size, p->reserved, f);
        if (r == 0)
                r = check_disk(p, blocks, f);
        if (r == 0)
                p->reserved += size;
        pthread_mutex_unlock(&p->mutex);
        return r;
}

void package_store_release(PackageStore *p, uint64_t size) {
        pthread_mutex_lock(&p->mutex);
        p->reserved -= size;
        pthread_mutex_unlock(&p->mutex);
}

/* ---- files ---- */

int package_store_make_tmp(PackageStore *p, char ret_name[static 32], int *ret_fd) {
        int r, fd;

        strcpy(ret_name, IMPORT_TMP_PREFIX);
        r = random_hex(ret_name + strlen(IMPORT_TMP_PREFIX), 8);
        if (r < 0)
                return r;
        fd = openat(p->dir_fd, ret_name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

void package_store_drop_tmp(PackageStore *p, const char *name) {
        (void) unlinkat(p->dir_fd, name, 0);
}

/* Replaces an older file with the same content: should a bad disk have damaged that one, importing again mends it. */
int package_store_publish(PackageStore *p, const char *tmp, const char *digest, uint64_t size, bool *ret_existed, Failure *f) {
        PackageName name;
        int r = 0;

        if (!package_name(digest, name))
                return -EINVAL;
        pthread_mutex_lock(&p->mutex);
        *ret_existed = faccessat(p->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        if (!*ret_existed)
                r = check_quota(p, size, p->reserved - size, f);
        if (r == 0)
                r = state_file_publish(p->dir_fd, tmp, name, true);
        pthread_mutex_unlock(&p->mutex);
        if (r != 0)
                return r;
        return fsync(p->dir_fd) < 0 ? -errno : 0;
}

int package_store_open_package(PackageStore *p, const char *digest, int *ret_fd) {
        PackageName name;
        int fd;

        if (!package_name(digest, name))
                return -EINVAL;
        fd = openat(p->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

int package_store_map(PackageStore *p, const char *digest, MappedFile **ret) {
        _cleanup_free_ char *path = NULL;
        PackageName name;

        if (!package_name(digest, name))
                return -EINVAL;
        if (asprintf(&path, "%s/%s", p->path, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        return mapped_file_open(path, ret);
}

int package_store_remove(PackageStore *p, const char *digest) {
        PackageName name;

        if (!package_name(digest, name))
                return -EINVAL;
        return unlinkat(p->dir_fd, name, 0) < 0 ? -errno : 0;
}
