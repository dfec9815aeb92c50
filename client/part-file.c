/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "part-file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus-client.h"
#include "common/macro.h"
#include "firmware/digest.h"
#include "output.h"

#define CHUNK ((size_t) 1 << 20)
#define OVERLAP ((uint64_t) 1 << 20)

static int complain(const char *path, const char *what) {
        fprintf(stderr, "fdlctl: %s %s: %s.\n", path, what, strerror(errno));
        return EXIT_OTHER;
}

bool file_sum(const char *path, uint64_t size, char ret[static 65]) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *buffer = malloc(CHUNK);
        _cleanup_(digest_freep) Digest *digest = digest_new();
        uint64_t left = size;
        ssize_t r = 1;

        if (fd < 0 || !buffer || !digest)
                return false;
        while (left > 0 && (r = read(fd, buffer, (size_t) MIN(left, (uint64_t) CHUNK))) > 0) {
                digest_update(digest, buffer, (size_t) r);
                left -= (uint64_t) r;
        }
        if (r < 0 || (size != UINT64_MAX && left > 0))
                return false;
        digest_finish(digest, ret);
        return ret[0] != '\0';
}

/* ---- what is known of a .part ---- */

typedef struct Info {
        char name[64], sum[65];
        uint64_t base, proven;
} Info;

static void info_path(const char *part, char *ret, size_t size) {
        snprintf(ret, size, "%s.info", part);
}

static bool read_info(const char *part, Info *ret) {
        char path[4200];
        FILE *f;
        bool good;

        info_path(part, path, sizeof(path));
        f = fopen(path, "re");
        if (!f)
                return false;
        good = fscanf(f, "fdlctl-part 1 %63s %" SCNu64 " %" SCNu64 " %64s", ret->name, &ret->base, &ret->proven, ret->sum) == 4;
        fclose(f);
        return good;
}

static int write_info(const char *part, const Info *i) {
        char path[4200];
        FILE *f;
        bool good;

        info_path(part, path, sizeof(path));
        f = fopen(path, "we");
        good = f && fprintf(f, "fdlctl-part 1 %s %" PRIu64 " %" PRIu64 " %s\n", i->name, i->base, i->proven, i->sum) > 0;
        if (f && fclose(f) != 0)
                good = false;
        return good ? 0 : complain(path, "cannot be written");
}

static void forget_info(const char *part) {
        char path[4200];

        info_path(part, path, sizeof(path));
        (void) unlink(path);
}

int part_resume(const char *part, const char *name, uint64_t address, uint64_t base, uint64_t *offset) {
        char place[32], sum[65];
        Info i;

        snprintf(place, sizeof(place), "0x%" PRIx64, address);
        *offset = base;
        if (!read_info(part, &i) || !streq(i.name, name[0] ? name : place) || i.base != base || i.proven == 0)
                return 0;
        if (!file_sum(part, i.proven, sum) || !streq(sum, i.sum)) {
                fprintf(stderr, "fdlctl: %s is not what it was when it was cut off; it is read anew.\n", part);
                return 0;
        }
        if (truncate(part, (off_t) i.proven) < 0)
                return complain(part, "cannot be cut");
        *offset = base + i.proven - MIN(i.proven, OVERLAP);
        return 0;
}

/* ---- joining ---- */

static bool same_bytes(int a, uint64_t at_a, int b, uint64_t size) {
        _cleanup_free_ uint8_t *x = malloc(OVERLAP), *y = malloc(OVERLAP);

        return x && y && size <= OVERLAP && pread(a, x, size, (off_t) at_a) == (ssize_t) size && pread(b, y, size, 0) == (ssize_t) size &&
               memcmp(x, y, size) == 0;
}

/* Zeros become holes. */
static int append(int from, uint64_t skip, int to, uint64_t at, uint64_t bytes) {
        _cleanup_free_ uint8_t *buffer = malloc(CHUNK);

        for (uint64_t done = skip; buffer && done < bytes;) {
                ssize_t n = pread(from, buffer, (size_t) MIN(bytes - done, (uint64_t) CHUNK), (off_t) done);
                if (n <= 0)
                        return -1;
                if ((buffer[0] != 0 || memcmp(buffer, buffer + 1, (size_t) n - 1) != 0) && pwrite(to, buffer, (size_t) n, (off_t) (at + done)) != n)
                        return -1;
                done += (uint64_t) n;
        }
        return buffer ? ftruncate(to, (off_t) (at + bytes)) : -1;
}

static int join(const char *run, const char *part, uint64_t at, uint64_t bytes) {
        _cleanup_close_ int from = open(run, O_RDONLY | O_CLOEXEC), to = open(part, O_RDWR | O_CLOEXEC);
        uint64_t overlap;
        struct stat st;

        if (from < 0 || to < 0 || fstat(to, &st) < 0 || (uint64_t) st.st_size < at)
                return complain(part, "cannot be gone on with");
        overlap = MIN((uint64_t) st.st_size - at, bytes);
        if (!same_bytes(to, at, from, overlap)) {
                fprintf(stderr, "fdlctl: What is on the device now does not follow what %s holds: another unit, or its contents changed. "
                                "Remove the file to begin anew.\n", part);
                return EXIT_MISMATCH;
        }
        return append(from, overlap, to, at, bytes) < 0 ? complain(part, "cannot be written") : 0;
}

static int take_run(const char *run, const char *part, uint64_t at, uint64_t bytes) {
        int code;

        if (at == 0)
                return rename(run, part) < 0 ? complain(part, "cannot be written") : 0;
        code = join(run, part, at, bytes);
        if (code == 0)
                (void) unlink(run);
        return code;
}

static int finish_whole(const char *part, const char *file) {
        _cleanup_close_ int fd = open(part, O_RDONLY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0 || rename(part, file) < 0)
                return complain(file, "cannot be written");
        forget_info(part);
        return 0;
}

int part_finish(const char *part, const char *file, const char *name, uint64_t base, uint64_t at, uint64_t bytes, const char *sum, bool whole) {
        Info i = { .base = base, .proven = at + bytes };
        char run[4200], seen[65];
        int code;

        snprintf(run, sizeof(run), "%s.run", file);
        if (!file_sum(run, bytes, seen) || !streq(seen, sum)) {
                fprintf(stderr, "fdlctl: %s does not hold what was read from the device. It is left as it is.\n", run);
                return EXIT_MISMATCH;
        }
        if (truncate(run, (off_t) bytes) < 0)
                return complain(run, "cannot be cut");
        code = take_run(run, part, at, bytes);
        if (code)
                return code;
        if (whole)
                return finish_whole(part, file);
        snprintf(i.name, sizeof(i.name), "%s", name);
        if (!file_sum(part, i.proven, i.sum))
                return complain(part, "cannot be read");
        fprintf(stderr, "%" PRIu64 " bytes are proven and kept in %s; the same command goes on there.\n", i.proven, part);
        return write_info(part, &i);
}

uint64_t file_length_without_blank(const char *path, uint64_t size) {
        _cleanup_free_ uint8_t *data = size < 64 * 1024 * 1024 ? malloc(size + 1) : NULL;
        FILE *f = fopen(path, "re");
        uint64_t n = size;

        if (!data || !f || fread(data, 1, size, f) != size)
                n = 0;
        while (n > 0 && data[n - 1] == data[size - 1])
                n--;
        if (f)
                fclose(f);
        return n == 0 ? size : MIN((n + 4095) / 4096 * 4096, size);
}
