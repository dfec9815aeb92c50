/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* flashcheck PACKAGE BEFORE AFTER: is a simulated unit's flash, byte for byte, what an upgrade with the package must make of what
 * it held before? The expectation is computed without the daemon's plan. */
#include <check.h>
#include <stdio.h>

#include "common/mapped-file.h"
#include "engine-bench.h"

static BenchFlash *read_flash(const char *directory) {
        Bench b = { 0 };

        snprintf(b.dir, sizeof(b.dir), "%s", directory);
        return bench_flash(&b);
}

static int compare(const Pac *pac, const uint8_t *package, const char *before, const char *after) {
        static const char *const boot_areas[] = { "boot1.bin", "boot2.bin", NULL };
        BenchFlash *want = read_flash(before), *have = read_flash(after);
        const char *differs;
        int r = 0;

        expect_upgrade(want, pac, package);
        differs = bench_flash_differs(want, have, boot_areas);
        if (differs[0]) {
                fprintf(stderr, "flashcheck: %s/%s differs from what it must be\n", after, differs);
                r = 1;
        }
        differs = expect_boot_areas(have, pac, package);
        if (differs[0]) {
                fprintf(stderr, "flashcheck: %s: %s\n", after, differs);
                r = 1;
        }
        bench_flash_free(want);
        bench_flash_free(have);
        return r;
}

static char **arguments;

/* The expectation is shared with the unit tests, whose assertions want a test around them. */
START_TEST(test_flash) {
        MappedFile *file = NULL;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;
        PacReader reader;

        ck_assert_int_eq(mapped_file_open(arguments[1], &file), 0);
        reader = pac_reader_for_memory(mapped_file_data(file), mapped_file_size(file));
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        ck_assert_int_eq(compare(pac, mapped_file_data(file), arguments[2], arguments[3]), 0);
        pac_free(pac);
        mapped_file_unref(file);
}
END_TEST

int main(int argc, char **argv) {
        Suite *suite = suite_create("flashcheck");
        TCase *tc = tcase_create("flash");
        SRunner *runner = srunner_create(suite);
        int failed;

        if (argc != 4) {
                fprintf(stderr, "usage: flashcheck PACKAGE BEFORE AFTER\n");
                return 2;
        }
        arguments = argv;
        tcase_add_test(tc, test_flash);
        suite_add_tcase(suite, tc);
        srunner_set_fork_status(runner, CK_NOFORK);
        srunner_run_all(runner, CK_SILENT);
        failed = srunner_ntests_failed(runner);
        if (failed)
                srunner_print(runner, CK_NORMAL);
        srunner_free(runner);
        return failed > 0;
}
