/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/state-directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/file-io.h"
#include "common/hex.h"

static void user_name(uid_t uid, char *ret, size_t size) {
        struct passwd pw, *found = NULL;
        char buffer[4096];

        if (getpwuid_r(uid, &pw, buffer, sizeof(buffer), &found) == 0 && found)
                snprintf(ret, size, "%.40s (uid %u)", found->pw_name, (unsigned) uid);
        else
                snprintf(ret, size, "uid %u", (unsigned) uid);
}

int state_directory_complain(CallError *e, const char *path, const char *what, int error) {
        char owner[64], self[64];
        struct stat st;

        error = error < 0 ? -error : error;
        user_name(geteuid(), self, sizeof(self));
        if (stat(path, &st) < 0)
                return call_error_set(e, BUS_ERROR_STORE,
                                      "%s %.200s: %s. fdld runs as %s and needs it readable and writable for that user.",
                                      what, path, strerror(error), self);
        user_name(st.st_uid, owner, sizeof(owner));
        return call_error_set(e, BUS_ERROR_STORE,
                              "%s %.200s (owner %s, mode %04o): %s. fdld runs as %s and needs it owned by that user and "
                              "writable, on a file system with free space.",
                              what, path, owner, (unsigned) st.st_mode & 07777, strerror(error), self);
}

static int check_directory(const char *path, const struct stat *st, CallError *e) {
        char owner[64], self[64];

        user_name(st->st_uid, owner, sizeof(owner));
        user_name(geteuid(), self, sizeof(self));
        if (st->st_uid != geteuid())
                return call_error_set(e, BUS_ERROR_STORE,
                                      "The state directory %.200s belongs to %s (mode %04o) but fdld runs as %s. Start fdld as "
                                      "its owner, or give it the directory: chown -R %u %.100s",
                                      path, owner, (unsigned) st->st_mode & 07777, self, (unsigned) geteuid(), path);
        if (st->st_mode & 022)
                return call_error_set(e, BUS_ERROR_STORE,
                                      "The state directory %.200s (owner %s, mode %04o) can be written by others. It must be "
                                      "writable for its owner alone: chmod 0700 %.100s",
                                      path, owner, (unsigned) st->st_mode & 07777, path);
        if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) < 0)
                return state_directory_complain(e, path, "Cannot write to the state directory", errno);
        return 0;
}

int state_directory_open(const char *path, int *ret_fd, CallError *e) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        char self[64];

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) {
                user_name(geteuid(), self, sizeof(self));
                return call_error_set(e, BUS_ERROR_STORE,
                                      "There is no state directory %.200s. It must be a directory with mode 0700 that belongs "
                                      "to %s: install -d -m 0700 -o %u %.100s",
                                      path, self, (unsigned) geteuid(), path);
        }
        if (fd < 0)
                return state_directory_complain(e, path, "Cannot open the state directory", errno);
        if (fstat(fd, &st) < 0)
                return state_directory_complain(e, path, "Cannot open the state directory", errno);
        if (check_directory(path, &st, e) < 0)
                return -1;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Who holds it is a hint only: the number was written by the holder after it got the lock. */
static int complain_locked(int fd, const char *path, CallError *e) {
        char pid[16] = "";
        ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

        pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
        return call_error_set(e, BUS_ERROR_STORE,
                              "Another fdld%s%s uses the state directory %.200s already. Stop that one first (systemctl stop "
                              "fdld), or give this one a state directory of its own.",
                              pid[0] ? ", process " : "", pid, path);
}

int state_directory_lock(int dir_fd, const char *path, int *ret_fd, CallError *e) {
        char file[PATH_MAX], pid[24];
        _cleanup_close_ int fd = -EBADF;
        int n;

        snprintf(file, sizeof(file), "%s/lock", path);
        fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
        if (fd < 0)
                return state_directory_complain(e, faccessat(dir_fd, "lock", F_OK, 0) < 0 ? path : file,
                                                "Cannot write to the state directory:", errno);
        if (fchmod(fd, 0600) < 0)
                return state_directory_complain(e, file, "Cannot use the file", errno);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? complain_locked(fd, path, e)
                                            : state_directory_complain(e, file, "Cannot lock the file", errno);
        n = snprintf(pid, sizeof(pid), "%-10ld\n", (long) getpid());
        (void) !pwrite(fd, pid, (size_t) n, 0);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int state_directory_sub(int dir_fd, const char *path, const char *name, int *ret_fd, CallError *e) {
        char full[PATH_MAX];
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        snprintf(full, sizeof(full), "%s/%s", path, name);
        /* The mode again: an odd umask may have made it one that even we cannot open. */
        if (mkdirat(dir_fd, name, 0700) < 0 ? errno != EEXIST : fchmodat(dir_fd, name, 0700, 0) < 0)
                return state_directory_complain(e, path, "Cannot make a directory in the state directory", errno);
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return state_directory_complain(e, full, "Cannot open the directory", errno);
        if (st.st_uid != geteuid())
                return state_directory_complain(e, full, "Cannot use the directory", EPERM);
        if (fchmod(fd, 0700) < 0 || fsync(dir_fd) < 0)
                return state_directory_complain(e, full, "Cannot use the directory", errno);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int state_file_publish(int dir_fd, const char *tmp_name, const char *name, bool replace) {
        if (!replace && renameat2(dir_fd, tmp_name, dir_fd, name, RENAME_NOREPLACE) == 0)
                return 0;
        if (!replace) {
                /* Not every file system knows that flag. */
                if (errno != EINVAL && errno != ENOSYS)
                        return -errno;
                if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                        return -EEXIST;
        }
        return renameat(dir_fd, tmp_name, dir_fd, name) < 0 ? -errno : 0;
}

static int write_tmp(int dir_fd, const char *tmp, mode_t mode, const void *data, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = write_all(fd, data, size);
        if (r < 0)
                return r;
        if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
                return -errno;
        return close(TAKE_FD(fd)) < 0 ? -errno : 0;
}

int state_file_write(int dir_fd, const char *name, mode_t mode, const void *data, size_t size, bool replace) {
        char tmp[sizeof(STATE_TMP_PREFIX) + 16] = STATE_TMP_PREFIX;
        int r;

        r = random_hex(tmp + strlen(tmp), 8);
        if (r < 0)
                return r;
        r = write_tmp(dir_fd, tmp, mode, data, size);
        if (r == 0)
                r = state_file_publish(dir_fd, tmp, name, replace);
        if (r < 0) {
                (void) unlinkat(dir_fd, tmp, 0);
                return r;
        }
        return fsync(dir_fd) < 0 ? -errno : 0;
}

void state_directory_sweep(int dir_fd, const char *prefix) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        if (!d) {
                if (fd >= 0)
                        close(fd);
                return;
        }
        for (struct dirent *i; (i = readdir(d));)
                if (strncmp(i->d_name, prefix, strlen(prefix)) == 0)
                        (void) unlinkat(dir_fd, i->d_name, 0);
        closedir(d);
}

int random_hex(char *ret, size_t n) {
        uint8_t bytes[32];

        if (n > sizeof(bytes))
                return -EINVAL;
        if (getrandom(bytes, n, 0) != (ssize_t) n)
                return -EIO;
        bytes_to_hex(bytes, n, ret);
        return 0;
}
