/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <openssl/evp.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pacmaker/pacmaker.h"
#include "state-util.h"
#include "store/package-store.h"

#define QUOTA (UINT64_C(1) << 30)

static PackageStore *packages;
static char source[PATH_MAX]; /* a package of several chunks */
static off_t source_size;
static char source_digest[65];

/* ---- system calls of the store pass through here, so that something can happen at each of them ---- */

typedef ssize_t (*IoHook)(unsigned call, int fd);
static _Atomic IoHook read_hook, write_hook; /* 0 go on; else -1 with errno */
static _Atomic unsigned reads, writes;

#define WRAP(type, name, hook, counter, parameters, arguments)          \
        type __real_##name parameters;                                  \
        type __wrap_##name parameters;                                  \
        type __wrap_##name parameters {                                 \
                unsigned call = ++counter;                              \
                IoHook fn = hook;                                       \
                if (fn && fn(call, fd) < 0)                             \
                        return -1;                                      \
                return __real_##name arguments;                         \
        }

WRAP(ssize_t, pread, read_hook, reads, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(ssize_t, pwrite, write_hook, writes, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(int, fsync, write_hook, writes, (int fd), (fd))
WRAP(int, renameat, write_hook, writes, (int fd, const char *from, int to_fd, const char *to), (fd, from, to_fd, to))
WRAP(int, fchmod, write_hook, writes, (int fd, mode_t mode), (fd, mode))
WRAP(int, ftruncate, write_hook, writes, (int fd, off_t size), (fd, size))

/* ---- helpers ---- */

static void digest_of(const char *path, char ret[65]) {
        uint8_t buffer[65536], md[EVP_MAX_MD_SIZE];
        EVP_MD_CTX *c = EVP_MD_CTX_new();
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
        EVP_DigestInit_ex(c, EVP_sha256(), NULL);
        while ((n = read(fd, buffer, sizeof(buffer))) > 0)
                EVP_DigestUpdate(c, buffer, (size_t) n);
        EVP_DigestFinal_ex(c, md, NULL);
        EVP_MD_CTX_free(c);
        close(fd);
        for (int i = 0; i < 32; i++)
                sprintf(ret + 2 * i, "%02x", md[i]);
}

static void make_package(const char *path, uint64_t seed, uint64_t size) {
        PacMaker *m = pm_new_family("uis8850", seed);
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        ck_assert_ptr_nonnull(m);
        ck_assert_int_ge(fd, 0);
        for (unsigned i = 0; i < m->n_files; i++)
                if (m->files[i].data == PM_RANDOM && strcmp(m->files[i].id, "AP") == 0)
                        m->files[i].size = size;
        ck_assert_int_eq(pm_write(m, fd), 0);
        close(fd);
        pm_free(m);
}

/* Made once for all tests: making takes longer than importing. */
static const char *ready_made(unsigned n) {
        static char path[2][PATH_MAX];

        snprintf(path[n], sizeof(path[n]), "%s/%u.pac", test_base, n);
        return path[n];
}

static void copy_file(const char *from, const char *to) {
        static uint8_t buffer[1 << 20];
        int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ssize_t n;

        ck_assert(in >= 0 && out >= 0);
        while ((n = read(in, buffer, sizeof(buffer))) > 0)
                ck_assert_int_eq(write(out, buffer, (size_t) n), n);
        close(in);
        close(out);
}

static void setup_all(void) {
        make_package(ready_made(0), 1, 2500000);
        make_package(ready_made(1), 77, 2500000);
}

static void setup(void) {
        CallError e;
        struct stat st;

        make_test_directory();
        snprintf(source, sizeof(source), "%s", in_directory("source.pac"));
        copy_file(ready_made(0), source);
        ck_assert_int_eq(stat(source, &st), 0);
        source_size = st.st_size;
        ck_assert_int_ge(source_size, 2500000);
        digest_of(source, source_digest);
        ck_assert_int_eq(mkdir(in_directory("state"), 0700), 0);
        ck_assert_msg(package_store_open(in_directory("state"), QUOTA, &packages, &e) == 0, "%s", e.text);
        reads = writes = 0;
}

static void teardown(void) {
        read_hook = write_hook = NULL;
        packages = package_store_free(packages);
}

static void reopen(uint64_t quota) {
        CallError e;

        package_store_free(packages);
        ck_assert_msg(package_store_open(in_directory("state"), quota, &packages, &e) == 0, "%s", e.text);
}

static ImportTask *import_fd(int fd) {
        ImportTask *t = import_task_new(packages, fd, NULL);

        ck_assert_ptr_nonnull(t);
        t->task.run(&t->task);
        ck_assert_int_eq(t->fd, -EBADF);
        ck_assert(t->result == 0 || !t->pac);
        return t;
}

static ImportTask *import_path(const char *path, int flags) {
        int fd = open(path, flags | O_CLOEXEC);

        ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
        return import_fd(fd);
}

static ImportTask *verify(const char *digest) {
        ImportTask *t = verify_task_new(packages, digest, NULL);

        ck_assert_ptr_nonnull(t);
        t->task.run(&t->task);
        return t;
}

static const char *package_path(const char *digest) {
        char name[128];

        snprintf(name, sizeof(name), "state/packages/%s.pac", digest);
        return in_directory(name);
}

static unsigned stored(void) {
        return count_entries(in_directory("state/packages"), "");
}

static void check_good(ImportTask *t) {
        ck_assert_msg(t->result == 0, "%d: %s", t->result, t->failure.text);
        ck_assert_ptr_nonnull(t->pac);
        ck_assert_uint_eq(t->done, t->total);
        ck_assert_uint_eq(t->total, t->pac->size);
        ck_assert_uint_eq(mode_of(package_path(t->digest)), 0400);
}

static void import_good(const char *path) {
        ImportTask *t = import_path(path, O_RDONLY);

        check_good(t);
        import_task_free(t);
}

/* The failure has this code, a text, an explanation of its own, and left nothing behind. */
static void check_failed(ImportTask *t, const char *code) {
        char got[FAILURE_CODE_MAX];
        Explanation e;

        ck_assert_int_eq(t->result, 1);
        ck_assert_str_eq(failure_code(&t->failure, got), code);
        ck_assert_uint_gt(strlen(t->failure.text), 20);
        ck_assert(explanation_find(code, &e));
        ck_assert_ptr_null(t->pac);
        import_task_free(t);
}

/* ---- descriptors ---- */

static void refuse_fd(int fd, const char *word) {
        CallError e = {};

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(package_fd_check(fd, &e), -1);
        ck_assert_int_eq(e.error, BUS_ERROR_BAD_FILE);
        ck_assert_msg(strstr(e.text, word) != NULL, "no \"%s\" in: %s", word, e.text);
        ck_assert_uint_eq(reads, 0);
        check_failed(import_fd(fd), "import-plan-file");
        ck_assert_uint_eq(stored(), 0);
}

START_TEST(refuses_what_is_no_plain_file) {
        int p[2], s[2];

        ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
        refuse_fd(p[0], "a pipe");
        refuse_fd(p[1], "for writing only");
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
        refuse_fd(s[0], "a socket");
        close(s[1]);
        refuse_fd(open(test_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "a directory");
        refuse_fd(open("/dev/zero", O_RDONLY | O_CLOEXEC), "a device");
        refuse_fd(open("/dev/zero", O_RDWR | O_CLOEXEC), "a device");
        refuse_fd(open(source, O_WRONLY | O_CLOEXEC), "for writing only");
        refuse_fd(open(source, O_PATH | O_CLOEXEC), "O_PATH");
        refuse_fd(epoll_create1(EPOLL_CLOEXEC), "not a plain file");
}
END_TEST

START_TEST(refuses_closed_and_unbuffered_descriptors) {
        CallError e = {};
        int fd;

        ck_assert_int_eq(package_fd_check(-1, &e), -1);
        ck_assert_ptr_nonnull(strstr(e.text, "not open"));
        fd = open(source, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0)
                fprintf(stderr, "SKIPPED: this file system has no O_DIRECT\n");
        else
                refuse_fd(fd, "O_DIRECT");
}
END_TEST

START_TEST(refuses_impossible_sizes) {
        const char *path = in_directory("f");
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        refuse_fd(fd, "empty");
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (__real_ftruncate(fd, (off_t) PACKAGE_SIZE_MAX + 1) < 0)
                fprintf(stderr, "SKIPPED: this file system has no files of 64 GiB\n");
        else
                refuse_fd(fd, "64.0 GiB");
}
END_TEST

static int memory_file(const char *path, unsigned flags) {
        int fd = memfd_create("package", flags | MFD_CLOEXEC), in = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t buffer[65536];
        ssize_t n;

        ck_assert_int_ge(fd, 0);
        while ((n = read(in, buffer, sizeof(buffer))) > 0)
                ck_assert_int_eq(write(fd, buffer, (size_t) n), n);
        close(in);
        return fd;
}

START_TEST(memory_files_must_be_sealed) {
        ImportTask *t;
        int fd;

        refuse_fd(memory_file(source, MFD_ALLOW_SEALING), "Seal it");
        fd = memory_file(source, MFD_ALLOW_SEALING);
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
        t = import_fd(fd);
        check_good(t);
        ck_assert_str_eq(t->digest, source_digest);
        import_task_free(t);
}
END_TEST

/* ---- good packages ---- */

START_TEST(imports_and_keeps_the_bytes) {
        char copy[65];
        ImportTask *t = import_path(source, O_RDONLY);
        bool any = false;

        check_good(t);
        ck_assert(!t->existed);
        ck_assert_str_eq(t->digest, source_digest);
        digest_of(package_path(source_digest), copy);
        ck_assert_str_eq(copy, source_digest);
        ck_assert_uint_eq(mode_of(in_directory("state/packages")), 0700);
        for (size_t i = 0; i < t->pac->n_files; i++) {
                static const uint8_t none[32];
                if (t->pac->files[i].size > 0) {
                        ck_assert_mem_ne(t->pac->files[i].sha256, none, 32);
                        any = true;
                }
        }
        ck_assert(any);
        import_task_free(t);
}
END_TEST

START_TEST(the_same_content_twice) {
        ImportTask *t;

        import_good(source);
        t = import_path(source, O_RDWR);
        check_good(t);
        ck_assert(t->existed);
        ck_assert_uint_eq(stored(), 1);
        import_task_free(t);
}
END_TEST

START_TEST(importing_again_mends_a_damaged_file) {
        ImportTask *t = import_path(source, O_RDONLY);
        char copy[65];
        int fd;

        import_task_free(t);
        ck_assert_int_eq(chmod(package_path(source_digest), 0600), 0);
        fd = open(package_path(source_digest), O_RDWR | O_CLOEXEC);
        ck_assert_int_eq(__real_pwrite(fd, "damage", 6, source_size - 100), 6);
        close(fd);
        check_failed(verify(source_digest), "import-host-damaged");
        t = import_path(source, O_RDONLY);
        check_good(t);
        ck_assert(t->existed);
        import_task_free(t);
        digest_of(package_path(source_digest), copy);
        ck_assert_str_eq(copy, source_digest);
        t = verify(source_digest);
        check_good(t);
        import_task_free(t);
}
END_TEST

START_TEST(a_file_that_was_unlinked_and_an_odd_offset) {
        int fd = open(source, O_RDONLY | O_CLOEXEC);
        ImportTask *t;

        ck_assert_int_eq(unlink(source), 0);
        ck_assert_int_eq(lseek(fd, 12345, SEEK_SET), 12345);
        t = import_fd(fd);
        check_good(t);
        import_task_free(t);
}
END_TEST

START_TEST(holes_stay_holes) {
        struct stat from, to;
        ImportTask *t;

        make_package(source, 2, 200u << 20);
        ck_assert_int_eq(stat(source, &from), 0);
        if (from.st_blocks * 512 > from.st_size / 2) {
                fprintf(stderr, "SKIPPED: this file system has no holes\n");
                return;
        }
        t = import_path(source, O_RDONLY);
        check_good(t);
        ck_assert_int_eq(stat(package_path(t->digest), &to), 0);
        ck_assert_int_eq(to.st_size, from.st_size);
        ck_assert_int_le(to.st_blocks * 512, 80 << 20);
        import_task_free(t);
}
END_TEST

START_TEST(real_packages) {
        const char *folder = getenv("FDLD_TEST_PACS");
        unsigned n = 0;
        DIR *d;

        if (!folder || !*folder) {
                fprintf(stderr, "SKIPPED: FDLD_TEST_PACS does not name a folder with real packages\n");
                return;
        }
        d = opendir(folder);
        ck_assert_ptr_nonnull(d);
        for (struct dirent *i; (i = readdir(d));) {
                char path[PATH_MAX], digest[65], copy[65];
                size_t length = strlen(i->d_name);
                ImportTask *t;

                if (length < 4 || strcmp(i->d_name + length - 4, ".pac") != 0)
                        continue;
                snprintf(path, sizeof(path), "%s/%s", folder, i->d_name);
                digest_of(path, digest);
                t = import_path(path, O_RDONLY);
                check_good(t);
                ck_assert_str_eq(t->digest, digest);
                digest_of(package_path(digest), copy);
                ck_assert_str_eq(copy, digest);
                import_task_free(t);
                t = verify(digest);
                check_good(t);
                import_task_free(t);
                ck_assert_uint_eq(stored(), ++n);
        }
        closedir(d);
        ck_assert_uint_gt(n, 0);
}
END_TEST

/* ---- bad packages ---- */

START_TEST(a_changed_byte_anywhere_is_refused) {
        for (off_t at = 0; at < source_size; at += at < 3000 ? 97 : 200003) {
                int fd = open(source, O_RDWR | O_CLOEXEC);
                ImportTask *t;
                uint8_t byte;

                ck_assert_int_eq(__real_pread(fd, &byte, 1, at), 1);
                byte ^= 0x40;
                ck_assert_int_eq(__real_pwrite(fd, &byte, 1, at), 1);
                t = import_fd(fd);
                ck_assert_msg(t->result == 1, "byte %ld: %d", (long) at, t->result);
                ck_assert_int_eq(t->failure.class, CLASS_PLAN);
                ck_assert_int_eq(t->failure.stage, STAGE_IMPORT);
                import_task_free(t);
                ck_assert_uint_eq(stored(), 0);
                fd = open(source, O_RDWR | O_CLOEXEC);
                byte ^= 0x40;
                ck_assert_int_eq(__real_pwrite(fd, &byte, 1, at), 1);
                close(fd);
        }
}
END_TEST

START_TEST(a_cut_or_foreign_file_is_refused) {
        for (off_t size = source_size - 1; size > 0; size /= 3) {
                ck_assert_int_eq(truncate(source, size), 0);
                ImportTask *t = import_path(source, O_RDONLY);
                ck_assert_int_eq(t->result, 1);
                ck_assert_int_eq(t->failure.class, CLASS_PLAN);
                import_task_free(t);
        }
        ImportTask *t = import_path("/proc/self/exe", O_RDONLY);
        ck_assert_int_eq(t->result, 1);
        ck_assert_int_eq(t->failure.class, CLASS_PLAN);
        import_task_free(t);
        ck_assert_uint_eq(stored(), 0);
}
END_TEST

/* ---- files that change meanwhile ---- */

static unsigned change_at;
static void (*change)(int fd);

/* The change comes right before the read number change_at. */
static ssize_t change_hook(unsigned call, UNUSED int fd) {
        if (call == change_at) {
                int own = open(source, O_RDWR | O_CLOEXEC);
                ck_assert_int_ge(own, 0);
                change(own);
                close(own);
        }
        return 0;
}

static void shrink(int fd) {
        ck_assert_int_eq(__real_ftruncate(fd, source_size - 1), 0);
}

static void empty(int fd) {
        ck_assert_int_eq(__real_ftruncate(fd, 0), 0);
}

static void grow(int fd) {
        ck_assert_int_eq(__real_ftruncate(fd, source_size + 1), 0);
}

static void overwrite_header(int fd) {
        ck_assert_int_eq(__real_pwrite(fd, "\0\1\2\3", 4, 1000), 4);
}

static void overwrite_data(int fd) {
        ck_assert_int_eq(__real_pwrite(fd, "\0\1\2\3", 4, source_size / 2), 4);
}

static void exchange(int fd) {
        close(fd);
        copy_file(ready_made(1), source);
        open(source, O_RDWR | O_CLOEXEC); /* the same number again, for the caller to close */
}

/* At every read in turn. Too late, and the import is good; else it is refused as changed. Never is anything stored but what
 * was checked. */
static void change_at_every_read(void (*fn)(int fd), bool size) {
        unsigned last, refused = 0;

        import_good(source);
        ck_assert_int_eq(package_store_remove(packages, source_digest), 0);
        last = reads;
        ck_assert_uint_gt(last, 5);
        change = fn;
        read_hook = change_hook;
        for (change_at = 1; change_at <= last; change_at++) {
                char digest[65];
                ImportTask *t;

                read_hook = NULL;
                copy_file(ready_made(0), source);
                read_hook = change_hook;
                reads = 0;
                t = import_path(source, O_RDONLY);
                if (t->result == 0) {
                        digest_of(package_path(t->digest), digest);
                        ck_assert_str_eq(t->digest, digest);
                        /* exchanged before the first look, another one is as good */
                        ck_assert(streq(digest, source_digest) || change_at == 1);
                        ck_assert_int_eq(package_store_remove(packages, digest), 0);
                        import_task_free(t);
                } else {
                        ck_assert_uint_eq(stored(), 0);
                        check_failed(t, "import-plan-changed");
                        refused++;
                }
        }
        ck_assert_uint_ge(refused, size ? 5 : 2);
}

START_TEST(a_file_that_shrinks) {
        change_at_every_read(shrink, true);
}
END_TEST

START_TEST(a_file_that_becomes_empty) {
        change_at_every_read(empty, true);
}
END_TEST

START_TEST(a_file_that_grows) {
        change_at_every_read(grow, true);
}
END_TEST

START_TEST(a_file_whose_header_changes) {
        change_at_every_read(overwrite_header, false);
}
END_TEST

START_TEST(a_file_whose_data_change) {
        change_at_every_read(overwrite_data, false);
}
END_TEST

START_TEST(a_file_that_becomes_another_package) {
        change_at_every_read(exchange, false);
}
END_TEST

/* ---- room ---- */

START_TEST(the_quota_holds) {
        reopen((uint64_t) source_size - 1);
        check_failed(import_path(source, O_RDONLY), "import-host-quota");
        ck_assert_uint_eq(stored(), 0);
        reopen((uint64_t) source_size);
        import_good(source);
        import_good(source); /* nothing new */
        make_package(source, 3, 100000);
        check_failed(import_path(source, O_RDONLY), "import-host-quota");
        ck_assert_uint_eq(stored(), 1);
        ck_assert_int_eq(package_store_remove(packages, source_digest), 0);
        import_good(source);
}
END_TEST

static ImportTask *second;

static ssize_t second_import_hook(UNUSED unsigned call, UNUSED int fd) {
        write_hook = NULL;
        second = import_path(in_directory("other.pac"), O_RDONLY);
        return 0;
}

START_TEST(imports_at_the_same_time_share_the_quota) {
        copy_file(ready_made(1), in_directory("other.pac"));
        reopen((uint64_t) source_size * 3 / 2);
        write_hook = second_import_hook;
        import_good(source);
        check_failed(second, "import-host-quota");
        ck_assert_uint_eq(stored(), 1);
}
END_TEST

START_TEST(a_full_disk_is_said_before_the_copy) {
        const char *state = in_directory("state");
        CallError e;

        packages = package_store_free(packages);
        if (!mount_small(state, "size=6m,mode=0700")) {
                fprintf(stderr, "SKIPPED: a small file system cannot be mounted: %s\n", strerror(errno));
                return;
        }
        ck_assert_msg(package_store_open(state, QUOTA, &packages, &e) == 0, "%s", e.text);
        writes = 0;
        check_failed(import_path(source, O_RDONLY), "import-host-disk-full");
        ck_assert_uint_eq(writes, 0);
        make_package(source, 3, 100000);
        import_good(source);
}
END_TEST

static int inject_errno;
static unsigned inject_at;

static ssize_t inject_hook(unsigned call, UNUSED int fd) {
        if (call != inject_at)
                return 0;
        errno = inject_errno;
        return -1;
}

/* At every call that writes. Nothing half stays, the failure is of the host, and the next import is good. */
static void inject_everywhere(int error, const char *code) {
        unsigned last, failed = 0;
        ImportTask *t;

        writes = 0;
        import_task_free(import_path(source, O_RDONLY));
        last = writes;
        ck_assert_uint_gt(last, 5);
        inject_errno = error;
        for (inject_at = 1; inject_at <= last; inject_at++) {
                ck_assert(unlink(package_path(source_digest)) == 0 || errno == ENOENT);
                writes = 0;
                write_hook = inject_hook;
                t = import_path(source, O_RDONLY);
                write_hook = NULL;
                ck_assert_uint_eq(count_entries(in_directory("state/packages"), ".import-"), 0);
                check_failed(t, code);
                failed++;
        }
        ck_assert_uint_eq(failed, last);
        import_good(source);
}

START_TEST(the_disk_becomes_full) {
        inject_everywhere(ENOSPC, "import-host-disk-full");
}
END_TEST

START_TEST(the_disk_fails) {
        inject_everywhere(EIO, "import-host-io");
}
END_TEST

START_TEST(the_file_cannot_be_read) {
        unsigned last;

        import_task_free(import_path(source, O_RDONLY));
        last = reads;
        inject_errno = EIO;
        for (inject_at = 1; inject_at <= last; inject_at++) {
                ImportTask *t;

                reads = 0;
                read_hook = inject_hook;
                t = import_path(source, O_RDONLY);
                read_hook = NULL;
                /* the look behind the end alone may fail: what was copied is whole */
                if (t->result == 0)
                        import_task_free(t);
                else
                        check_failed(t, "import-host-read");
                ck_assert_uint_eq(count_entries(in_directory("state/packages"), ".import-"), 0);
        }
}
END_TEST

/* ---- ends in the middle ---- */

static unsigned die_at;

static ssize_t die_hook(UNUSED unsigned call, UNUSED int fd) {
        if (reads + writes == die_at)
                raise(SIGKILL);
        return 0;
}

/* Killed before each system call in turn: after the next start there is the whole package or nothing. */
START_TEST(kill_leaves_nothing_half) {
        unsigned n_killed = 0, n_whole = 0;
        bool more = true;

        for (die_at = 1; more; die_at++) {
                pid_t pid = fork();
                int status;

                ck_assert_int_ge(pid, 0);
                if (pid == 0) {
                        reads = writes = 0;
                        read_hook = write_hook = die_hook;
                        import_path(source, O_RDONLY);
                        _exit(0);
                }
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
                more = WIFSIGNALED(status);
                n_killed += more;
                reopen(QUOTA);
                if (stored() == 0)
                        continue;
                ck_assert_uint_eq(stored(), 1);
                ImportTask *t = verify(source_digest);
                check_good(t);
                import_task_free(t);
                ck_assert_int_eq(package_store_remove(packages, source_digest), 0);
                n_whole++;
        }
        ck_assert_uint_gt(n_killed, 15);
        ck_assert_uint_ge(n_whole, 1);
}
END_TEST

static ImportTask *to_cancel;
static unsigned cancel_at;

static ssize_t cancel_hook(UNUSED unsigned call, UNUSED int fd) {
        if (reads + writes == cancel_at)
                to_cancel->task.cancelled = true;
        return 0;
}

START_TEST(cancel_anywhere_leaves_nothing) {
        unsigned n_cancelled = 0;

        for (cancel_at = 0;; cancel_at++) {
                int r;

                reads = writes = 0;
                to_cancel = import_task_new(packages, open(source, O_RDONLY | O_CLOEXEC), NULL);
                to_cancel->task.cancelled = cancel_at == 0;
                read_hook = write_hook = cancel_hook;
                to_cancel->task.run(&to_cancel->task);
                read_hook = write_hook = NULL;
                r = to_cancel->result;
                import_task_free(to_cancel);
                if (r == 0)
                        break;
                ck_assert_int_eq(r, -ECANCELED);
                ck_assert_uint_eq(stored(), 0);
                n_cancelled++;
        }
        ck_assert_uint_gt(n_cancelled, 10);
        ck_assert_uint_eq(stored(), 1);
}
END_TEST

START_TEST(left_overs_are_swept) {
        close(open(in_directory("state/packages/.import-0123456789abcdef"), O_WRONLY | O_CREAT, 0600));
        ck_assert_uint_eq(stored(), 1);
        reopen(QUOTA);
        ck_assert_uint_eq(stored(), 0);
}
END_TEST

/* ---- packages in the store ---- */

START_TEST(verify_says_what_is_wrong) {
        static const char other[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        ImportTask *t = import_path(source, O_RDONLY);

        import_task_free(t);
        t = verify(source_digest);
        check_good(t);
        ck_assert_str_eq(t->digest, source_digest);
        import_task_free(t);
        check_failed(verify(other), "import-host-missing");
        ck_assert_int_eq(rename(package_path(source_digest), package_path(other)), 0);
        t = verify(other);
        ck_assert_str_eq(t->digest, other);
        check_failed(t, "import-host-damaged");
        ck_assert_int_eq(chmod(package_path(other), 0600), 0);
        ck_assert_int_eq(truncate(package_path(other), source_size - 1), 0);
        check_failed(verify(other), "import-host-damaged");
        ck_assert_int_eq(truncate(package_path(other), 0), 0);
        check_failed(verify(other), "import-host-damaged");
        ck_assert_int_eq(unlink(package_path(other)), 0);
        ck_assert_int_eq(mkdir(package_path(other), 0700), 0);
        check_failed(verify(other), "import-host-damaged");
        t = verify("../../etc/passwd");
        ck_assert_int_eq(t->result, 1);
        import_task_free(t);
}
END_TEST

START_TEST(maps_and_removes) {
        MappedFile *m = NULL;

        ck_assert_int_eq(package_store_map(packages, source_digest, &m), -ENOENT);
        ck_assert_int_eq(package_store_map(packages, "../x", &m), -EINVAL);
        ck_assert_int_eq(package_store_remove(packages, source_digest), -ENOENT);
        ck_assert_int_eq(package_store_remove(packages, "../x"), -EINVAL);
        import_task_free(import_path(source, O_RDONLY));
        ck_assert_int_eq(package_store_map(packages, source_digest, &m), 0);
        ck_assert_int_eq(package_store_remove(packages, source_digest), 0);
        ck_assert_uint_eq(stored(), 0);
        ck_assert_uint_eq(mapped_file_size(m), (uint64_t) source_size);
        ck_assert_mem_eq(mapped_file_data(m), "B\0P\0_\0R", 7);
        ck_assert(mapped_file_ok(m));
        mapped_file_unref(m);
}
END_TEST

/* ---- in the pool ---- */

static unsigned n_done;

static void on_done(Task *task) {
        ck_assert_int_eq(((ImportTask *) task)->result, 0);
        import_task_free((ImportTask *) task);
        n_done++;
}

START_TEST(many_at_once) {
        Pool *pool;

        ck_assert_int_eq(pool_new(4, &pool), 0);
        for (unsigned i = 0; i < 12; i++) {
                char name[32];
                ImportTask *t;

                snprintf(name, sizeof(name), "%u.pac", i % 3);
                if (i < 3)
                        make_package(in_directory(name), i + 10, 300000);
                t = import_task_new(packages, open(in_directory(name), O_RDONLY | O_CLOEXEC), NULL);
                t->task.done = on_done;
                ck_assert_int_eq(pool_submit(pool, &t->task), 0);
        }
        while (n_done < 12) {
                struct pollfd p = {.fd = pool_fd(pool), .events = POLLIN};
                ck_assert_int_eq(poll(&p, 1, 60000), 1);
                pool_dispatch(pool);
        }
        ck_assert_uint_eq(stored(), 3);
        pool_free(pool);
}
END_TEST

static sem_t reading, go_on;

static ssize_t hang_hook(UNUSED unsigned call, UNUSED int fd) {
        read_hook = NULL;
        sem_post(&reading);
        sem_wait(&go_on);
        return 0;
}

/* A client's file that blocks for ever costs its thread only; all that it holds is freed when it ends after all. */
START_TEST(a_file_that_blocks_can_be_abandoned) {
        ImportTask *t;
        Pool *pool;

        sem_init(&reading, 0, 0);
        sem_init(&go_on, 0, 0);
        ck_assert_int_eq(pool_new(1, &pool), 0);
        t = import_task_new(packages, open(source, O_RDONLY | O_CLOEXEC), NULL);
        t->task.done = on_done;
        read_hook = hang_hook;
        ck_assert_int_eq(pool_submit(pool, &t->task), 0);
        sem_wait(&reading);
        pool_abandon(pool, &t->task);
        t = import_task_new(packages, open(source, O_RDONLY | O_CLOEXEC), NULL);
        t->task.done = on_done;
        ck_assert_int_eq(pool_submit(pool, &t->task), 0);
        while (n_done < 1) {
                struct pollfd p = {.fd = pool_fd(pool), .events = POLLIN};
                ck_assert_int_eq(poll(&p, 1, 60000), 1);
                pool_dispatch(pool);
        }
        packages = package_store_free(packages);
        sem_post(&go_on);
        pool_free(pool);
        ck_assert_uint_eq(n_done, 1);
        ck_assert_uint_eq(stored(), 1);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                refuses_what_is_no_plain_file, refuses_closed_and_unbuffered_descriptors, refuses_impossible_sizes,
                memory_files_must_be_sealed, imports_and_keeps_the_bytes, the_same_content_twice,
                importing_again_mends_a_damaged_file, a_file_that_was_unlinked_and_an_odd_offset, holes_stay_holes,
                real_packages, a_changed_byte_anywhere_is_refused, a_cut_or_foreign_file_is_refused, a_file_that_shrinks,
                a_file_that_becomes_empty, a_file_that_grows, a_file_whose_header_changes, a_file_whose_data_change,
                a_file_that_becomes_another_package, the_quota_holds, imports_at_the_same_time_share_the_quota,
                a_full_disk_is_said_before_the_copy, the_disk_becomes_full, the_disk_fails, the_file_cannot_be_read,
                kill_leaves_nothing_half, cancel_anywhere_leaves_nothing, left_overs_are_swept, verify_says_what_is_wrong,
                maps_and_removes, many_at_once, a_file_that_blocks_can_be_abandoned,
        };
        Suite *suite = suite_create("package-store");
        TCase *t = tcase_create("package-store");

        tcase_set_timeout(t, 300);
        tcase_add_unchecked_fixture(t, setup_all, NULL);
        tcase_add_checked_fixture(t, setup, teardown);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++)
                tcase_add_test(t, tests[i]);
        suite_add_tcase(suite, t);
        return run_in_test_base(suite);
}
