/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/import.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/closer.h"
#include "common/file-io.h"
#include "common/hex.h"
#include "store/state-directory.h"

#define CHUNK ((size_t) 1 << 20)
/* Written back in between, so that the last fsync does not take minutes without progress and without a way to cancel. */
#define SYNC_EVERY (UINT64_C(64) << 20)
#define HOLE_STEP (UINT64_C(64) << 20)

typedef struct Import {
        ImportTask task; /* first */
        bool verify;
        int holes_fd; /* a description of our own, to look for holes: the client's keeps its position */
        struct stat before;
        uint64_t size;
} Import;

/* ---- descriptors ---- */

static int refuse_file(CallError *e, const char *what, const char *cure) {
        return call_error_set(e, BUS_ERROR_BAD_FILE, "The descriptor is %s. %s", what, cure);
}

static int check_flags(int fd, CallError *e) {
        static const char cure[] = "Open the package as a plain file for reading (O_RDONLY) and pass that.";
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return refuse_file(e, "not open", cure);
        if (flags & O_PATH)
                return refuse_file(e, "a path only (O_PATH), its content cannot be read", cure);
        if ((flags & O_ACCMODE) != O_RDONLY && (flags & O_ACCMODE) != O_RDWR)
                return refuse_file(e, "open for writing only", cure);
        if (flags & O_DIRECT)
                return refuse_file(e, "open for unbuffered input (O_DIRECT)", cure);
        return 0;
}

static int check_type(mode_t mode, CallError *e) {
        static const char cure[] = "Save the package to a plain file and pass that, open for reading.";

        if (S_ISREG(mode))
                return 0;
        if (S_ISDIR(mode))
                return refuse_file(e, "a directory", cure);
        if (S_ISFIFO(mode))
                return refuse_file(e, "a pipe", cure);
        if (S_ISSOCK(mode))
                return refuse_file(e, "a socket", cure);
        if (S_ISCHR(mode) || S_ISBLK(mode))
                return refuse_file(e, "a device", cure);
        return refuse_file(e, "not a plain file", cure);
}

/* Plain files of tmpfs carry F_SEAL_SEAL; what has none of it was made for sealing. */
static int check_seals(int fd, CallError *e) {
        const int needed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
        int seals = fcntl(fd, F_GET_SEALS);

        if (seals < 0 || (seals & needed) == needed || (seals & F_SEAL_SEAL))
                return 0;
        return refuse_file(e, "a memory file that can still be changed",
                           "Seal it (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE) before it is passed.");
}

static int check_size(uint64_t size, CallError *e) {
        char have[24], most[24];

        if (size == 0)
                return refuse_file(e, "an empty file", "Download or copy the package again.");
        if (size > PACKAGE_SIZE_MAX)
                return call_error_set(e, BUS_ERROR_BAD_FILE, "The file has %s; packages have at most %s.",
                                      size_to_text(size, have), size_to_text(PACKAGE_SIZE_MAX, most));
        return 0;
}

/* Without asking the server of a network or FUSE file system, which might never answer. */
static int stat_cached(int fd, mode_t *ret_mode, uint64_t *ret_size) {
        struct statx sx;
        struct stat st;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &sx) == 0) {
                *ret_mode = sx.stx_mode;
                *ret_size = sx.stx_size;
                return 0;
        }
        if (errno != ENOSYS)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        *ret_mode = st.st_mode;
        *ret_size = (uint64_t) st.st_size;
        return 0;
}

int package_fd_check(int fd, CallError *e) {
        uint64_t size = 0;
        mode_t mode = 0;
        int r;

        if (check_flags(fd, e) < 0)
                return -1;
        r = stat_cached(fd, &mode, &size);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_BAD_FILE, "The file cannot be looked at: %s.", strerror(-r));
        if (check_type(mode, e) < 0 || check_seals(fd, e) < 0)
                return -1;
        return check_size(size, e);
}

/* ---- the source ---- */

static bool cancelled(const Import *i) {
        return i->task.task.cancelled;
}

static int refuse_changed(Import *i) {
        return failure_set(&i->task.failure, CLASS_PLAN, "changed",
                           "The file was changed while it was being copied. Wait until it is complete (a download, a build) and import it "
                           "again.");
}

static bool source_changed(const Import *i) {
        struct stat now;

        if (i->verify || fstat(i->task.fd, &now) < 0)
                return false;
        return now.st_size != i->before.st_size || now.st_mtim.tv_sec != i->before.st_mtim.tv_sec ||
               now.st_mtim.tv_nsec != i->before.st_mtim.tv_nsec;
}

static int refuse_read(Import *i, int error) {
        if (source_changed(i))
                return refuse_changed(i);
        failure_set(&i->task.failure, CLASS_HOST, i->verify ? "damaged" : "read",
                    i->verify ? "The stored package cannot be read: %s. The disk may be bad; import the package again."
                              : "The file cannot be read: %s. Check where it lies (network, memory card) and import it again.",
                    strerror(-error));
        i->task.failure.error = -error;
        return 1;
}

static int look_at_source(Import *i) {
        CallError e = {};

        if (!i->verify && package_fd_check(i->task.fd, &e) < 0)
                return failure_set(&i->task.failure, CLASS_PLAN, "file", "%s", e.text);
        if (fstat(i->task.fd, &i->before) < 0)
                return refuse_read(i, -errno);
        if (check_type(i->before.st_mode, &e) < 0 || check_size((uint64_t) i->before.st_size, &e) < 0)
                return failure_set(&i->task.failure, CLASS_PLAN, "file", "%s", e.text);
        i->size = (uint64_t) i->before.st_size;
        i->task.total = i->size;
        return 0;
}

/* Without a description of our own the whole file is read, which is only slower. */
static void open_for_holes(Import *i) {
        char path[32];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", i->task.fd);
        i->holes_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* How many bytes from here on are known to be zero, at most HOLE_STEP: the work can be cancelled in between. */
static uint64_t hole_at(const Import *i, uint64_t at) {
        uint64_t next = i->holes_fd >= 0 ? pac_next_data(i->holes_fd, at, i->size) : at;

        return MIN(next - at, HOLE_STEP);
}

/* ---- copying and checking ---- */

static int write_failed(Import *i, int error) {
        return failure_set_errno(&i->task.failure, error, "The package cannot be written to %.100s: %s.",
                                 package_store_path(i->task.store), strerror(error < 0 ? -error : error));
}

static int copy_chunk(Import *i, int out, PacVerifier *v, uint8_t *buffer, uint64_t at) {
        size_t want = (size_t) MIN((uint64_t) CHUNK, i->size - at), n = 0;
        int r;

        r = read_at(i->task.fd, buffer, want, at, &n);
        if (r < 0)
                return refuse_read(i, r);
        if (n < want)
                return i->verify ? refuse_read(i, -EIO) : refuse_changed(i);
        pac_verifier_update(v, buffer, n);
        if (out < 0)
                return 0;
        r = all_zero(buffer, n) ? 0 : write_at(out, buffer, n, at); /* generated packages may be far larger than their content */
        if (r == 0 && at / SYNC_EVERY != (at + n) / SYNC_EVERY && fdatasync(out) < 0)
                r = -errno;
        return r < 0 ? write_failed(i, r) : 0;
}

/* The one pass: every byte is read once, and what is hashed is what is written. */
static int copy_all(Import *i, int out, PacVerifier *v) {
        _cleanup_free_ uint8_t *buffer = malloc(CHUNK);
        size_t more = 0;

        if (!buffer)
                return -ENOMEM;
        for (uint64_t at = 0, n; at < i->size; at += n, i->task.done = at) {
                int r = cancelled(i) ? -ECANCELED : 0;

                n = hole_at(i, at);
                if (r == 0 && n > 0)
                        pac_verifier_zeros(v, n);
                else if (r == 0) {
                        n = MIN((uint64_t) CHUNK, i->size - at);
                        r = copy_chunk(i, out, v, buffer, at);
                }
                if (r != 0)
                        return r;
        }
        if (read_at(i->task.fd, buffer, 1, i->size, &more) == 0 && more > 0)
                return i->verify ? refuse_read(i, -EIO) : refuse_changed(i);
        if (out >= 0 && ftruncate(out, (off_t) i->size) < 0)
                return write_failed(i, errno);
        return 0;
}

static int parse(Import *i, int fd, Pac **ret) {
        PacReader reader = pac_reader_for_fd(&fd, i->size);
        int r = pac_parse(&reader, ret, &i->task.failure);

        if (r < 0 && r != -ENOMEM)
                return refuse_read(i, r);
        return r > 0 && source_changed(i) ? refuse_changed(i) : r;
}

/* Copies (out -1: does not) and verifies what was parsed. */
static int check_content(Import *i, int out, Pac *pac) {
        _cleanup_(pac_verifier_freep) PacVerifier *v = pac_verifier_new(pac);
        uint8_t sha256[32];
        int r;

        if (!v)
                return -ENOMEM;
        open_for_holes(i);
        r = copy_all(i, out, v);
        close_elsewhere(TAKE_FD(i->holes_fd));
        i->holes_fd = -EBADF;
        if (r != 0)
                return r;
        r = pac_verifier_finish(v, sha256, &i->task.failure);
        if (r != 0)
                return r > 0 && source_changed(i) ? refuse_changed(i) : r;
        bytes_to_hex(sha256, sizeof(sha256), i->task.digest);
        return 0;
}

/* What jobs will use comes from the copy, not from the client's file, which may have changed between the two looks at it. */
static int parse_copy(Import *i, int fd, const Pac *checked) {
        _cleanup_(pac_freep) Pac *pac = NULL;
        int r;

        r = parse(i, fd, &pac);
        if (r != 0)
                return r;
        if (pac->n_files != checked->n_files)
                return refuse_changed(i);
        for (size_t n = 0; n < pac->n_files; n++) {
                PacFile *file = pac->files + n;
                const PacFile *known = checked->files + n;

                if (file->offset != known->offset || file->size != known->size || !streq(file->id, known->id))
                        return refuse_changed(i);
                memcpy(file->sha256, known->sha256, sizeof(file->sha256));
        }
        i->task.pac = TAKE_PTR(pac);
        return 0;
}

/* ---- import ---- */

/* When the package was built is told by nothing but the time of its file; some devices want to know it. */
static void keep_time(int fd, const struct stat *from) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, from->st_mtim};

        (void) futimens(fd, times);
}

static int import_into(Import *i, const char *tmp, int fd, Pac *pac) {
        int r;

        r = check_content(i, fd, pac);
        if (r == 0)
                r = parse_copy(i, fd, pac);
        if (r != 0)
                return r;
        keep_time(fd, &i->before);
        if (fchmod(fd, 0400) < 0 || fsync(fd) < 0)
                return write_failed(i, errno);
        if (cancelled(i))
                return -ECANCELED;
        r = package_store_publish(i->task.store, tmp, i->task.digest, i->size, &i->task.existed, &i->task.failure);
        return r < 0 ? write_failed(i, r) : r;
}

static int import_reserved(Import *i, Pac *pac) {
        _cleanup_close_ int fd = -EBADF;
        char tmp[32];
        int r;

        r = package_store_make_tmp(i->task.store, tmp, &fd);
        if (r < 0)
                return write_failed(i, r);
        r = import_into(i, tmp, fd, pac);
        if (r != 0)
                package_store_drop_tmp(i->task.store, tmp);
        return r;
}

/* Disk that the copy will take. A file of holes takes less than its size; a file system that tells nothing, all of it. */
static uint64_t needed_blocks(const Import *i) {
        uint64_t blocks = (uint64_t) i->before.st_blocks * 512;

        return blocks == 0 ? i->size : MIN(blocks, i->size);
}

/* There is no room for a copy, but perhaps none is needed: the same content may be stored already. */
static int import_stored(Import *i, Pac *pac) {
        _cleanup_close_ int fd = -EBADF;
        Failure no_room = i->task.failure;
        int r;

        if (!package_store_has_size(i->task.store, i->size))
                return 1;
        i->task.failure = FAILURE_INIT;
        r = check_content(i, -1, pac);
        if (r != 0)
                return r;
        if (package_store_open_package(i->task.store, i->task.digest, &fd) < 0) {
                i->task.failure = no_room;
                return 1;
        }
        i->task.existed = true;
        return parse_copy(i, fd, pac);
}

static int import_file(Import *i) {
        _cleanup_(pac_freep) Pac *pac = NULL;
        int r;

        r = look_at_source(i);
        if (r != 0)
                return r;
        /* What is no package at all should hear that, and not that it does not fit. */
        r = parse(i, i->task.fd, &pac);
        if (r != 0)
                return r;
        r = package_store_reserve(i->task.store, i->size, needed_blocks(i), &i->task.failure);
        if (r != 0)
                return r > 0 ? import_stored(i, pac) : r;
        r = import_reserved(i, pac);
        package_store_release(i->task.store, i->size);
        return r;
}

static int refuse_damaged(Import *i, const char *why) {
        return failure_set(&i->task.failure, CLASS_HOST, "damaged",
                           "The stored package %.12s is damaged (%.120s). The disk may be bad; import the package again.",
                           i->task.digest, why);
}

static int verify_file(Import *i) {
        char digest[65], why[sizeof(i->task.failure.text)];
        int r;

        memcpy(digest, i->task.digest, sizeof(digest));
        r = package_store_open_package(i->task.store, digest, &i->task.fd);
        if (r < 0) {
                failure_set(&i->task.failure, CLASS_HOST, r == -ENOENT ? "missing" : "read",
                            "The stored package %.12s cannot be opened: %s. Import it again.", digest, strerror(-r));
                i->task.failure.error = -r;
                return 1;
        }
        r = look_at_source(i);
        if (r == 0)
                r = parse(i, i->task.fd, &i->task.pac);
        if (r == 0)
                r = check_content(i, -1, i->task.pac);
        if (r == 0 && !streq(digest, i->task.digest)) {
                memcpy(i->task.digest, digest, sizeof(digest));
                return refuse_damaged(i, "its content is another one");
        }
        memcpy(i->task.digest, digest, sizeof(digest));
        if (r <= 0 || i->task.failure.class == CLASS_HOST)
                return r;
        memcpy(why, i->task.failure.text, sizeof(why));
        return refuse_damaged(i, why);
}

/* ---- tasks ---- */

static void import_run(Task *task) {
        Import *i = (Import *) task;
        ImportTask *t = &i->task;

        t->result = cancelled(i) ? -ECANCELED : i->verify ? verify_file(i) : import_file(i);
        t->failure.stage = STAGE_IMPORT;
        if (t->result != 0)
                t->pac = pac_free(t->pac);
        close_elsewhere(TAKE_FD(t->fd)); /* the result does not wait for it */
}

static void import_drop(Task *task) {
        import_task_free((ImportTask *) task);
}

static Import *import_new(PackageStore *p, void *userdata) {
        Import *i = calloc(1, sizeof(*i));

        if (!i)
                return NULL;
        i->task.task.run = import_run;
        i->task.task.drop = import_drop;
        i->task.fd = i->holes_fd = -EBADF;
        i->task.failure = FAILURE_INIT;
        i->task.userdata = userdata;
        i->task.store = package_store_ref(p);
        return i;
}

ImportTask *import_task_new(PackageStore *p, int fd, void *userdata) {
        Import *i = import_new(p, userdata);

        if (!i)
                return NULL;
        i->task.fd = fd;
        return &i->task;
}

ImportTask *verify_task_new(PackageStore *p, const char *digest, void *userdata) {
        Import *i = import_new(p, userdata);

        if (!i)
                return NULL;
        i->verify = true;
        snprintf(i->task.digest, sizeof(i->task.digest), "%s", digest);
        return &i->task;
}

ImportTask *import_task_free(ImportTask *t) {
        if (!t)
                return NULL;
        close_elsewhere(t->fd); /* this may be the main thread */
        pac_free(t->pac);
        package_store_unref(t->store);
        free(t);
        return NULL;
}
