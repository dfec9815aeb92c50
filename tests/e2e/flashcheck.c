/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* flashcheck PACKAGE BEFORE AFTER [VARIANT]: is a simulated unit's flash, byte for byte, what an upgrade with the package must make of what
 * it held before? The expectation is computed without the daemon's plan. VARIANT: of files that are chosen by the unit's flash
 * ("_b256k_p4k"); "no-apr": its loader cannot write when the package was built. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/mapped-file.h"
#include "engine-bench.h"

/* ---- images that are larger than what is held in memory ----------------------------------------------------- */

#define STEP (1u << 20)

/* `image` NULL: as before. fill: the four bytes again and again. */
static bool same_range(int after, int before, uint64_t at, const uint8_t *image, bool fill, uint64_t n) {
        uint8_t *have = malloc(2 * (size_t) STEP), *want = have + STEP;
        bool same = true;

        for (uint64_t done = 0; same && done < n; done += STEP) {
                size_t step = (size_t) MIN(n - done, (uint64_t) STEP);

                same = pread(after, have, step, (off_t) (at + done)) == (ssize_t) step;
                if (!image)
                        same = same && pread(before, want, step, (off_t) (at + done)) == (ssize_t) step;
                for (size_t i = 0; image && fill && i < step; i++)
                        want[i] = image[i % 4];
                same = same && memcmp(have, image && !fill ? image + done : want, step) == 0;
        }
        free(have);
        return same;
}

static bool same_sparse(int after, int before, const uint8_t *p) {
        uint32_t block = get_le32(p + 12), chunks = get_le32(p + 20);
        uint64_t at = 0;

        for (p += 28; chunks--; p += get_le32(p + 8)) {
                uint64_t n = (uint64_t) get_le32(p + 4) * block;
                unsigned type = get_le16(p);

                if (!same_range(after, before, at, type == 0xcac3 ? NULL : p + 12, type == 0xcac2, n))
                        return false;
                at += n;
        }
        return true;
}

static int check_large(const PacFile *f, const uint8_t *image, const char *before, const char *after) {
        char path[2][4096];
        int fd[2], r = 0;
        bool sparse = f->size >= 28 && get_le32(image) == 0xed26ff3a;

        snprintf(path[0], sizeof(path[0]), "%s/parts/%s", before, f->blocks[0].name);
        snprintf(path[1], sizeof(path[1]), "%s/parts/%s", after, f->blocks[0].name);
        fd[0] = open(path[0], O_RDONLY | O_CLOEXEC);
        fd[1] = open(path[1], O_RDONLY | O_CLOEXEC);
        if (fd[0] < 0 || fd[1] < 0 ||
            !(sparse ? same_sparse(fd[1], fd[0], image) : same_range(fd[1], fd[0], 0, image, false, f->size))) {
                fprintf(stderr, "flashcheck: %s does not hold %s\n", path[1], f->id);
                r = 1;
        }
        for (int i = 0; i < 2; i++)
                if (fd[i] >= 0)
                        close(fd[i]);
        return r;
}

static bool large(const PacFile *f, const uint8_t *image) {
        if (!f->has_data || !f->selected || f->n_blocks == 0 || !f->blocks[0].name[0] || f->backup == 1)
                return false;
        if (f->size >= 28 && get_le32(image) == 0xed26ff3a)
                return (uint64_t) get_le32(image + 12) * get_le32(image + 16) > BENCH_KEEP_MAX;
        return f->size > BENCH_KEEP_MAX;
}

static BenchFlash *read_flash(const char *directory) {
        Bench b = { 0 };

        snprintf(b.dir, sizeof(b.dir), "%s", directory);
        return bench_flash(&b);
}

/* What is written beside the files: when the package was built, and when the unit was flashed. */
static void expect_times(BenchFlash *want, BenchFlash *have, const Pac *pac, const struct stat *st) {
        uint8_t *there = bench_flash_file(have, "parts/miscdata", NULL), built[8];

        if (pac->apr) {
                put_le64(built, ((uint64_t) st->st_mtime + 11644473600u) * 10000000u);
                bench_flash_patch(want, "parts/miscdata", 0x81400, built, sizeof(built));
        }
        for (size_t i = 0; i < pac->n_files; i++)
                if (streq(pac->files[i].type, "MiscDataCode2") && !streq(pac->files[i].blocks[0].name, "miscdata")) {
                        uint64_t stamp = get_le64(there + 0x2704), now = (uint64_t) time(NULL);

                        ck_assert_uint_le(stamp, now);
                        ck_assert_uint_gt(stamp, now - 600);
                        ck_assert_uint_eq(get_le32(there + 0x2700), 0x5445537e);
                        bench_flash_patch(want, "parts/miscdata", 0x2700, there + 0x2700, 12);
                }
}

/* The variant stands behind the name's stem, in front of the extension. */
static void choose(Pac *pac, const char *key) {
        for (size_t i = 0; i < pac->n_files; i++) {
                PacFile *f = pac->files + i;
                size_t stem = strcspn(f->file_name, "_");

                for (size_t k = 0; f->select_by_flash && k < pac->n_attachments; k++) {
                        const PacAttachment *a = pac->attachments + k;

                        if (strncmp(a->file_name, f->file_name, stem) != 0 || !strstr(a->file_name, key))
                                continue;
                        f->offset = a->offset;
                        f->size = a->size;
                }
        }
}

static int compare(const Pac *pac, const uint8_t *package, const char *before, const char *after,
                   const struct stat *st) {
        static const char *const boot_areas[] = { "boot1.bin", "boot2.bin", "mtd-", NULL };
        BenchFlash *want = read_flash(before), *have = read_flash(after);
        const char *differs;
        int r = 0;

        expect_upgrade(want, pac, package);
        expect_times(want, have, pac, st);
        differs = bench_flash_differs(want, have, boot_areas);
        if (differs[0]) {
                fprintf(stderr, "flashcheck: %s/%s differs from what it must be\n", after, differs);
                r = 1;
        }
        for (size_t i = 0; i < pac->n_files; i++)
                if (large(pac->files + i, package + pac->files[i].offset))
                        r |= check_large(pac->files + i, package + pac->files[i].offset, before, after);
        differs = expect_boot_areas(have, pac, package);
        if (differs[0]) {
                fprintf(stderr, "flashcheck: %s: %s\n", after, differs);
                r = 1;
        }
        bench_flash_free(want);
        bench_flash_free(have);
        return r;
}

#define NV_FILE_MAX (2u << 20)
#define NV_HEADER 512u

static uint8_t *read_nv(const char *path, size_t *ret_size) {
        uint8_t *data = calloc(1, NV_FILE_MAX);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, data, NV_FILE_MAX) : -1;

        ck_assert_msg(n > (ssize_t) NV_HEADER, "%s: cannot be read", path);
        close(fd);
        *ret_size = (size_t) n;
        return data;
}

static void compare_nv(const char *before, const char *after) {
        static const unsigned items[] = { 0x5, 0x2, 0x26d };
        size_t size[2], n[2];
        uint8_t *nv[2] = { read_nv(before, size), read_nv(after, size + 1) };

        for (size_t i = 0; i < ELEMENTSOF(items); i++) {
                const uint8_t *x = expect_nv_item(nv[0] + NV_HEADER, size[0] - NV_HEADER, items[i], n);
                const uint8_t *y = expect_nv_item(nv[1] + NV_HEADER, size[1] - NV_HEADER, items[i], n + 1);

                ck_assert_msg(x && y && n[0] == n[1] && memcmp(x, y, n[0]) == 0, "%s: item 0x%x is another one", after, items[i]);
        }
        free(nv[0]);
        free(nv[1]);
}

static char **arguments;

START_TEST(test_nv) {
        compare_nv(arguments[2], arguments[3]);
}
END_TEST

/* The expectation is shared with the unit tests, whose assertions want a test around them. */
START_TEST(test_flash) {
        MappedFile *file = NULL;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;
        PacReader reader;
        struct stat st;

        ck_assert_int_eq(stat(arguments[1], &st), 0);
        ck_assert_int_eq(mapped_file_open(arguments[1], &file), 0);
        reader = pac_reader_for_memory(mapped_file_data(file), mapped_file_size(file));
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        if (arguments[4] && streq(arguments[4], "no-apr"))
                pac->apr = false;
        else if (arguments[4])
                choose(pac, arguments[4]);
        ck_assert_int_eq(compare(pac, mapped_file_data(file), arguments[2], arguments[3], &st), 0);
        pac_free(pac);
        mapped_file_unref(file);
}
END_TEST

int main(int argc, char **argv) {
        Suite *suite = suite_create("flashcheck");
        TCase *tc = tcase_create("flash");
        SRunner *runner = srunner_create(suite);
        int failed;

        if (argc != 4 && argc != 5) {
                fprintf(stderr, "usage: flashcheck PACKAGE|--nv BEFORE AFTER [VARIANT]\n");
                return 2;
        }
        arguments = argv;
        tcase_add_test(tc, streq(argv[1], "--nv") ? test_nv : test_flash);
        suite_add_tcase(suite, tc);
        srunner_set_fork_status(runner, CK_NOFORK);
        srunner_run_all(runner, CK_SILENT);
        failed = srunner_ntests_failed(runner);
        if (failed)
                srunner_print(runner, CK_NORMAL);
        srunner_free(runner);
        return failed > 0;
}
