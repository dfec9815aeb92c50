/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/evidence-files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/file-io.h"
#include "store/state-directory.h"

#define TEXT_MAX (16 * 1024 * 1024)
#define FOLDER "evidence"

const char *evidence_name(uint64_t job, char ret[static EVIDENCE_NAME_MAX]) {
        snprintf(ret, EVIDENCE_NAME_MAX, "evidence/%" PRIu64 ".trace", job);
        return ret;
}

static int by_age(const void *a, const void *b) {
        const EvidenceFile *x = a, *y = b;

        return x->usec != y->usec ? (x->usec < y->usec ? -1 : 1) : x->job < y->job ? -1 : x->job > y->job;
}

static size_t list_files(int fd, EvidenceFile **ret) {
        DIR *dir = fdopendir(fd);
        EvidenceFile *entries = NULL;
        struct dirent *d;
        size_t n = 0;

        while (dir && (d = readdir(dir))) {
                char name[EVIDENCE_NAME_MAX];
                uint64_t job;
                struct stat st;
                EvidenceFile *more;

                if (sscanf(d->d_name, "%" SCNu64, &job) != 1 || !streq(evidence_name(job, name) + strlen("evidence/"), d->d_name) ||
                    fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                more = realloc(entries, (n + 1) * sizeof(*entries));
                if (!more)
                        break;
                entries = more;
                entries[n++] = (EvidenceFile){job, (uint64_t) st.st_mtim.tv_sec * 1000000};
        }
        if (dir)
                closedir(dir);
        else
                close(fd);
        if (n > 0)
                qsort(entries, n, sizeof(*entries), by_age);
        *ret = entries;
        return n;
}

int evidence_files_open(const char *directory, EvidenceFile **ret, size_t *ret_n, CallError *e) {
        _cleanup_close_ int state_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = -EBADF;

        if (state_fd < 0)
                return state_directory_complain(e, directory, "directory", -errno);
        if (state_directory_sub(state_fd, directory, FOLDER, &fd, e) < 0)
                return -1;
        state_directory_sweep(fd, STATE_TMP_PREFIX);
        *ret_n = list_files(fd, ret);
        return 0;
}

static int open_folder(const char *directory) {
        char path[600];
        int fd;

        snprintf(path, sizeof(path), "%.510s/" FOLDER, directory);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int evidence_file_write(const char *directory, uint64_t job, const char *text, size_t size) {
        char name[EVIDENCE_NAME_MAX];
        _cleanup_close_ int fd = open_folder(directory);

        return fd < 0 ? fd : state_file_write(fd, evidence_name(job, name) + strlen(FOLDER "/"), 0600, text, size, true);
}

void evidence_file_remove(const char *directory, uint64_t job) {
        char name[EVIDENCE_NAME_MAX];
        _cleanup_close_ int fd = open_folder(directory);

        if (fd >= 0)
                (void) unlinkat(fd, evidence_name(job, name) + strlen(FOLDER "/"), 0);
}

/* What this computer keeps of a job is never larger. */
int evidence_file_read(const char *directory, uint64_t job, char **ret, size_t *ret_size) {
        char path[600], name[EVIDENCE_NAME_MAX];
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int r;

        snprintf(path, sizeof(path), "%.510s/%s", directory, evidence_name(job, name));
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > TEXT_MAX)
                return -EBADMSG;
        *ret = malloc((size_t) st.st_size + 1);
        if (!*ret)
                return -ENOMEM;
        r = read_at(fd, *ret, (size_t) st.st_size, 0, ret_size);
        if (r < 0)
                free(TAKE_PTR(*ret));
        return r;
}

int evidence_to_memory(const char *text, size_t size) {
        int fd = memfd_create("fdld-trace", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, text, size);
        if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
                r = -errno;
        if (r >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                r = -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}
