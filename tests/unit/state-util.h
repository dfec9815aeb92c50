/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Directories and worlds for the tests of what is kept on disk. Each Check test is a process of its own, so namespaces,
 * limits and users may be changed freely in it. */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* Of the program, and of one test in it. The program removes its own at the end: then it does not matter how a test ended. */
#include "scratch.h"

static char test_base[PATH_MAX / 2], test_directory[PATH_MAX];

static int remove_entry(const char *path, UNUSED const struct stat *st, UNUSED int type, UNUSED struct FTW *ftw) {
        (void) remove(path);
        return 0;
}

/* So that what tests made unreadable can be removed all the same. */
static int open_entry(const char *path, UNUSED const struct stat *st, int type, UNUSED struct FTW *ftw) {
        if (type == FTW_D || type == FTW_DNR)
                (void) chmod(path, 0700);
        return 0;
}

UNUSED static void remove_test_base(void) {
        (void) nftw(test_base, open_entry, 16, FTW_PHYS);
        (void) nftw(test_base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* In memory, where that is faster than a disk that syncs. */
UNUSED static void make_test_base(void) {
        const char *memory = getenv("FDLD_TEST_MEMORY"); /* a folder that `run` clears away */

        if (memory)
                snprintf(test_base, sizeof(test_base), "%s/fdld-test-XXXXXX", memory);
        else
                scratch_template(test_base, sizeof(test_base), "fdld-test");
        if (!mkdtemp(test_base) || chmod(test_base, 0755) < 0) {
                fprintf(stderr, "%s: %s\n", test_base, strerror(errno));
                exit(EXIT_FAILURE);
        }
}

/* The exit status of the program. */
UNUSED static int run_in_test_base(Suite *suite) {
        SRunner *runner = srunner_create(suite);
        int failed;

        make_test_base();
        srunner_run_all(runner, CK_NORMAL);
        remove_test_base();
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

UNUSED static void make_test_directory(void) {
        snprintf(test_directory, sizeof(test_directory), "%s/XXXXXX", test_base);
        ck_assert_msg(mkdtemp(test_directory) != NULL, "%s: %s", test_directory, strerror(errno));
}

UNUSED static const char *in_directory(const char *name) {
        static char path[4][PATH_MAX * 2];
        static unsigned n;
        char *p = path[n++ % 4];

        snprintf(p, sizeof(path[0]), "%s/%s", test_directory, name);
        return p;
}

/* Counts entries whose name begins with prefix, except the two dots. */
UNUSED static unsigned count_entries(const char *path, const char *prefix) {
        DIR *d = opendir(path);
        unsigned n = 0;

        if (!d)
                return 0;
        for (struct dirent *i; (i = readdir(d));)
                if (strcmp(i->d_name, ".") != 0 && strcmp(i->d_name, "..") != 0 &&
                    strncmp(i->d_name, prefix, strlen(prefix)) == 0)
                        n++;
        closedir(d);
        return n;
}

UNUSED static unsigned mode_of(const char *path) {
        struct stat st;

        return lstat(path, &st) < 0 ? 0 : (unsigned) st.st_mode & 07777;
}

static bool write_text(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);

        if (fd >= 0)
                close(fd);
        return ok;
}

/* A mount namespace, in a user namespace where we are not root. */
static bool enter_mount_namespace(void) {
        char map[64];
        unsigned uid = (unsigned) geteuid(), gid = (unsigned) getegid();

        if (unshare(CLONE_NEWNS) < 0) {
                if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                        return false;
                snprintf(map, sizeof(map), "0 %u 1", uid);
                if (!write_text("/proc/self/setgroups", "deny") || !write_text("/proc/self/uid_map", map))
                        return false;
                snprintf(map, sizeof(map), "0 %u 1", gid);
                if (!write_text("/proc/self/gid_map", map))
                        return false;
        }
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A small file system at the path, seen by this process alone. False where this machine does not let us. */
UNUSED static bool mount_small(const char *path, const char *options) {
        return enter_mount_namespace() && mount("fdld-test", path, "tmpfs", 0, options) == 0;
}

/* From root to nobody, for tests of permissions. False: we are nobody special already. */
UNUSED static bool become_nobody(void) {
        if (geteuid() != 0)
                return false;
        return setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
}
