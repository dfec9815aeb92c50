/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/spool.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/closer.h"
#include "common/file-io.h"
#include "firmware/digest.h"
#include "store/package-store.h"
#include "store/state-directory.h"

#define CHUNK ((size_t) 1 << 20)
#define SPOOL "spool"
#define TMP_PREFIX ".tmp-"

/* ---- descriptors ---- */

int spool_fd_check(int fd, bool for_output, CallError *e) {
        int flags;

        if (!for_output)
                return package_fd_check(fd, e);
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
                return call_error_set(e, BUS_ERROR_BAD_FILE, "The output is not open for writing.");
        if (flags & O_APPEND)
                return call_error_set(e, BUS_ERROR_BAD_FILE, "The output is open for appending, so parts could not be put in their place. Open it without O_APPEND.");
        return 0;
}

/* ---- the task ---- */

SpoolTask *spool_task_free(SpoolTask *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_files; i++)
                close_elsewherep(&t->files[i].fd);
        free(t->files);
        mapped_file_unref(t->source);
        if (t->free_userdata)
                t->free_userdata(t->userdata);
        free(t);
        return NULL;
}

static void spool_drop(Task *task) {
        (void) spool_task_free((SpoolTask *) task);
}

typedef struct Spool {
        SpoolTask *t;
        int dir_fd, out;
        uint64_t end;
        uint8_t *buffer;
        char tmp[64];
} Spool;

static int fail(Spool *s, FailClass class, const char *detail, const char *text) {
        s->t->failure.stage = STAGE_CLAIM;
        return failure_set(&s->t->failure, class, detail, "%s", text);
}

static int fail_errno(Spool *s, int error, const char *what) {
        s->t->failure.stage = STAGE_CLAIM;
        return failure_set_errno(&s->t->failure, error, "%s: %s.", what, strerror(error < 0 ? -error : error));
}

static int size_files(Spool *s) {
        uint64_t total = 0;

        for (size_t i = 0; i < s->t->n_files; i++) {
                SpoolFile *f = s->t->files + i;
                struct stat st;

                if (f->fd >= 0) {
                        if (fstat(f->fd, &st) < 0)
                                return fail_errno(s, -errno, "An attached file cannot be looked at");
                        if (!S_ISREG(st.st_mode) || st.st_size <= 0)
                                return fail(s, CLASS_PLAN, "file", "An attached file is empty or no plain file.");
                        f->size = (uint64_t) st.st_size;
                }
                f->offset = (total + SPOOL_ALIGN - 1) / SPOOL_ALIGN * SPOOL_ALIGN;
                if (__builtin_add_overflow(f->offset, f->size, &total))
                        return fail(s, CLASS_PLAN, "file", "The attached files are too large.");
        }
        s->t->total = total;
        s->end = total;
        return 0;
}

static uint64_t used_bytes(int dir_fd) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        uint64_t used = 0;
        struct stat st;

        for (struct dirent *i; d && (i = readdir(d));)
                if (fstatat(dir_fd, i->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
                        used += (uint64_t) st.st_blocks * 512;
        if (d)
                closedir(d);
        return used;
}

static int open_directory(const char *state_directory) {
        char path[600];
        int fd;

        snprintf(path, sizeof(path), "%s/" SPOOL, state_directory);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}

/* The folder may be new: without its name on disk a power cut takes it away with all that was synced in it. */
static int sync_directory_name(const Spool *s) {
        _cleanup_close_ int fd = openat(s->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Where the file system shares blocks nothing has to be written. */
static bool clone_file(const Spool *s, const SpoolFile *f) {
        struct file_clone_range range = {.src_fd = f->fd, .src_offset = 0, .src_length = 0, .dest_offset = f->offset};

        return f->fd >= 0 && ioctl(s->out, FICLONERANGE, &range) == 0;
}

/* All of it: a file that became shorter is an error. */
static int read_exactly(int fd, uint64_t at, void *data, size_t n) {
        size_t have = 0;
        int r = read_at(fd, data, n, at, &have);

        return r < 0 ? r : have < n ? -ENODATA : 0;
}

/* What is hashed is what will be used: of a clone that is our own file. */
static int take(Spool *s, const SpoolFile *f, bool cloned, uint64_t at, size_t n) {
        if (cloned)
                return read_exactly(s->out, f->offset + at, s->buffer, n);
        if (f->fd >= 0)
                return read_exactly(f->fd, at, s->buffer, n);
        memcpy(s->buffer, f->data + at, n);
        return 0;
}

static int copy_one(Spool *s, SpoolFile *f) {
        _cleanup_(digest_freep) Digest *digest = digest_new();
        bool cloned = clone_file(s, f);

        if (!digest)
                return -ENOMEM;
        for (uint64_t at = 0; at < f->size;) {
                size_t n = (size_t) MIN(f->size - at, (uint64_t) CHUNK);
                int r;

                if (s->t->task.cancelled)
                        return -ECANCELED;
                r = take(s, f, cloned, at, n);
                if (r == -ENODATA)
                        return fail(s, CLASS_PLAN, "changed", "An attached file became shorter while it was copied.");
                if (r < 0)
                        return fail_errno(s, r, "An attached file cannot be read");
                digest_update(digest, s->buffer, n);
                if (at == 0)
                        f->kind = image_kind(s->buffer, n, f->size);
                /* Holes stay holes. */
                r = cloned || all_zero(s->buffer, n) ? 0 : write_at(s->out, s->buffer, n, f->offset + at);
                if (r < 0)
                        return fail_errno(s, r, "The attached files cannot be copied into the state directory");
                at += n;
                s->t->done += n;
        }
        digest_finish(digest, f->sha256);
        closep(&f->fd);
        f->fd = -1;
        return f->sha256[0] ? 0 : -ENOMEM;
}

static int copy_all(Spool *s) {
        int r;

        r = size_files(s);
        if (r != 0)
                return r;
        if (s->t->quota < s->end || used_bytes(s->dir_fd) > s->t->quota - s->end)
                return fail(s, CLASS_HOST, "quota", "The files attached to jobs would need more than SpoolQuota= of fdld.conf allows. Wait for other jobs, or raise it.");
        if (ftruncate(s->out, (off_t) s->end) < 0)
                return fail_errno(s, -errno, "The attached files cannot be copied into the state directory");
        for (size_t i = 0; r == 0 && i < s->t->n_files; i++)
                r = copy_one(s, s->t->files + i);
        return r;
}

/* The bytes first, then what they are for: a description without its bytes cannot come about. */
static int publish(Spool *s) {
        _cleanup_free_ char *text = s->t->describe(s->t);
        char name[64];
        int r;

        if (!text)
                return -ENOMEM;
        r = fsync(s->out) < 0 ? -errno : sync_directory_name(s);
        if (r < 0)
                return fail_errno(s, r, "The attached files cannot be kept on disk");
        snprintf(name, sizeof(name), "%" PRIu64 ".bin", s->t->job);
        r = state_file_publish(s->dir_fd, s->tmp, name, true);
        if (r == 0) {
                s->tmp[0] = '\0';
                /* Else a power cut might keep the second name alone. */
                r = fsync(s->dir_fd) < 0 ? -errno : 0;
        }
        if (r == 0) {
                snprintf(name, sizeof(name), "%" PRIu64 ".json", s->t->job);
                r = state_file_write(s->dir_fd, name, 0600, text, strlen(text), true);
        }
        return r < 0 ? fail_errno(s, r, "The attached files cannot be kept on disk") : 0;
}

static int run_spool(Spool *s) {
        int r;

        s->dir_fd = open_directory(s->t->directory);
        if (s->dir_fd < 0)
                return fail_errno(s, s->dir_fd, "The folder spool of the state directory cannot be used");
        snprintf(s->tmp, sizeof(s->tmp), TMP_PREFIX "%" PRIu64, s->t->job);
        s->out = openat(s->dir_fd, s->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->out < 0)
                return fail_errno(s, -errno, "The folder spool of the state directory cannot be used");
        s->buffer = malloc(CHUNK);
        if (!s->buffer)
                return -ENOMEM;
        r = copy_all(s);
        return r == 0 ? publish(s) : r;
}

static void spool_run(Task *task) {
        Spool s = {.t = (SpoolTask *) task, .dir_fd = -EBADF, .out = -EBADF};

        s.t->failure = FAILURE_INIT;
        s.t->result = run_spool(&s);
        if (s.tmp[0] && s.dir_fd >= 0)
                (void) unlinkat(s.dir_fd, s.tmp, 0);
        closep(&s.out);
        closep(&s.dir_fd);
        free(s.buffer);
}

SpoolTask *spool_task_new(const char *state_directory, uint64_t job, uint64_t quota, SpoolFile *files, size_t n_files) {
        SpoolTask *t = calloc(1, sizeof(*t));

        if (!t)
                return NULL;
        snprintf(t->directory, sizeof(t->directory), "%s", state_directory);
        t->job = job;
        t->quota = quota;
        t->files = files;
        t->n_files = n_files;
        t->task.run = spool_run;
        t->task.drop = spool_drop;
        return t;
}

/* ---- what is there ---- */

static void path_of(const char *state_directory, uint64_t job, const char *suffix, char *ret, size_t size) {
        snprintf(ret, size, "%s/" SPOOL "/%" PRIu64 "%s", state_directory, job, suffix);
}

int spool_map(const char *state_directory, uint64_t job, MappedFile **ret) {
        char path[600];

        path_of(state_directory, job, ".bin", path, sizeof(path));
        return mapped_file_open(path, ret);
}

int spool_read_description(const char *state_directory, uint64_t job, char **ret) {
        _cleanup_close_ int fd = -EBADF;
        char path[600];
        struct stat st;
        char *text;
        ssize_t n;

        path_of(state_directory, job, ".json", path, sizeof(path));
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > 4 * 1024 * 1024)
                return -EBADMSG;
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = read(fd, text, (size_t) st.st_size);
        if (n != st.st_size) {
                free(text);
                return -EIO;
        }
        text[n] = '\0';
        *ret = text;
        return 0;
}

void spool_remove(const char *state_directory, uint64_t job) {
        char path[600];

        path_of(state_directory, job, ".json", path, sizeof(path));
        (void) unlink(path);
        path_of(state_directory, job, ".bin", path, sizeof(path));
        (void) unlink(path);
}

void spool_sweep(const char *state_directory, bool (*wanted)(uint64_t job, void *userdata), void *userdata) {
        int dir_fd = open_directory(state_directory);
        int fd = dir_fd >= 0 ? dup(dir_fd) : -1;
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        for (struct dirent *i; d && (i = readdir(d));) {
                unsigned long long job;
                if (strncmp(i->d_name, TMP_PREFIX, strlen(TMP_PREFIX)) == 0 ||
                    (sscanf(i->d_name, "%llu.", &job) == 1 && !wanted(job, userdata)))
                        (void) unlinkat(dir_fd, i->d_name, 0);
        }
        if (d)
                closedir(d);
        closep(&dir_fd);
}
