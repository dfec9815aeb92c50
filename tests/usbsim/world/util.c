/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * S_NS + (uint64_t) t.tv_nsec;
}

static void PRINTF(1, 0) say(const char *format, va_list ap) {
        flockfile(stderr);
        fputs("usbsim: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        funlockfile(stderr);
}

void quit(int code, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say(format, ap);
        va_end(ap);
        exit(code);
}

void complain(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say(format, ap);
        va_end(ap);
}

void *alloc0(size_t size) {
        void *p = calloc(1, size);

        if (!p)
                quit(1, "Out of memory.");
        return p;
}

char *copy_string(const char *s) {
        char *p = strdup(s);

        if (!p)
                quit(1, "Out of memory.");
        return p;
}

int format_to(char *buf, size_t size, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        int n = vsnprintf(buf, size, format, ap);
        va_end(ap);
        if (n < 0 || (size_t) n >= size)
                quit(1, "A name is too long: %s", buf);
        return n;
}

bool parse_u64(const char *s, uint64_t max, uint64_t *ret) {
        uint64_t v = 0;

        if (!*s)
                return false;
        for (; *s; s++) {
                if (*s < '0' || *s > '9' || v > (UINT64_MAX - 9) / 10)
                        return false;
                v = v * 10 + (uint64_t) (*s - '0');
        }
        if (v > max)
                return false;
        *ret = v;
        return true;
}

bool parse_size(const char *s, uint64_t *ret) {
        static const struct {
                const char *suffix;
                uint64_t factor;
        } units[] = {
                { "", 1 },           { "k", 1000 },     { "K", 1000 },     { "M", 1000000 },
                { "G", 1000000000 }, { "Ki", 1 << 10 }, { "Mi", 1 << 20 }, { "Gi", 1 << 30 },
        };
        char digits[24];
        size_t n = strspn(s, "0123456789");
        uint64_t v;

        if (n == 0 || n >= sizeof digits)
                return false;
        memcpy(digits, s, n);
        digits[n] = 0;
        if (!parse_u64(digits, UINT64_MAX >> 32, &v))
                return false;
        for (size_t i = 0; i < COUNT(units); i++)
                if (strcmp(units[i].suffix, s + n) == 0) {
                        *ret = v * units[i].factor;
                        return true;
                }
        return false;
}

int make_dirs(const char *path) {
        char b[4096];

        format_to(b, sizeof b, "%s", path);
        for (char *p = b + 1; *p; p++)
                if (*p == '/') {
                        *p = 0;
                        if (mkdir(b, 0755) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
                                return -errno;
                        *p = '/';
                }
        return mkdir(b, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

int write_file_at(const char *dir, const char *name, const void *data, size_t size) {
        char path[4096];
        int r = 0;

        format_to(path, sizeof path, "%s/%s", dir, name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return -errno;
        if (size > 0 && write(fd, data, size) != (ssize_t) size)
                r = -EIO;
        close(fd);
        return r;
}

int put_file(const char *dir, const char *name, const char *format, ...) {
        char text[2048];
        va_list ap;

        va_start(ap, format);
        int n = vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        if (n < 0 || (size_t) n >= sizeof text)
                return -EINVAL;
        return write_file_at(dir, name, text, (size_t) n);
}

int make_link(const char *target, const char *dir, const char *name) {
        char path[4096];

        format_to(path, sizeof path, "%s/%s", dir, name);
        unlink(path);
        return symlink(target, path) < 0 ? -errno : 0;
}

static void empty_dir(int fd) {
        DIR *d = fdopendir(fd);
        struct dirent *e;

        if (!d) {
                close(fd);
                return;
        }
        while ((e = readdir(d))) {
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                if (unlinkat(dirfd(d), e->d_name, 0) == 0)
                        continue;
                int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (sub >= 0)
                        empty_dir(sub);
                unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
        }
        closedir(d);
}

void remove_tree(const char *path) {
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0)
                empty_dir(fd);
        rmdir(path);
}
