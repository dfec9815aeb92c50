/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine on simulated units of all families, in virtual time. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/engine-private.h"

static const char *const boot_areas[] = {"boot1.bin", "boot2.bin", "mtd-", NULL};

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
        ck_assert_uint_eq(b->report.steps_done, b->plan->n_steps);
}

static void must_fail(Bench *b, const char *code) {
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_msg(streq(bench_code(b), code), "%s instead of %s: %s", bench_code(b), code, b->failure.text);
        ck_assert_str_ne(b->failure.text, "");
}

static void flash_and_compare(Bench *b) {
        BenchFlash *want = bench_flash(b), *have;

        must_pass(b);
        have = bench_flash(b);
        expect_upgrade(want, b->pac, b->package);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        ck_assert_str_eq(expect_boot_areas(have, b->pac, b->package), "");
        bench_flash_free(want);
        bench_flash_free(have);
}

/* ---- sparse images ---------------------------------------------------------------------------------------- */

static PmFile *sparse_super(PacMaker *m, uint64_t size) {
        PmFile *f = pm_find(m, "System");

        f->data = PM_SPARSE;
        f->size = size;
        return f;
}

static Bench *with_sparse(const char *spec, uint64_t size) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        sparse_super(m, size);
        b = bench_new_made(spec, m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

static uint8_t *sparse_bytes(Bench *b) {
        return b->package + pac_find_file(b->pac, "System")->offset;
}

START_TEST(sparse_images_are_expanded) {
        Bench *b = with_sparse(_i ? "phone-emmc,fast,info=ack" : "phone-emmc,fast", 8 * 1024 * 1024);

        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "sparse image of 8388608 bytes for super"));
        bench_free(b);
}
END_TEST

static void must_be_unchanged(Bench *b, BenchFlash *before) {
        BenchFlash *after = bench_flash(b);

        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        ck_assert_ptr_null(bench_event(b, EVENT_INTENT, NULL));
        ck_assert(!b->report.wrote);
        bench_flash_free(before);
        bench_flash_free(after);
}

static const struct {
        size_t at;
        uint32_t value;
        const char *text;
} damages[] = {
        {4, 2, "at byte 4, major version"},
        {12, 3, "at byte 12, size of a block"},
        {16, 1, "blocks of the chunk"},
        {20, 5, "chunk header"},
        {28, 0xcac9, "at byte 28, kind of chunk"},
        {36, 5, "at byte 36, size of the chunk"},
};

/* Refused before the first erase, with field and place. */
START_TEST(damaged_sparse_images_are_refused) {
        Bench *b = with_sparse("phone-emmc,fast", 8 * 1024 * 1024);
        BenchFlash *before = bench_flash(b);

        put_le32(sparse_bytes(b) + damages[_i].at, damages[_i].value);
        must_fail(b, "identify-plan-sparse");
        ck_assert_msg(strstr(b->failure.text, damages[_i].text), "%s", b->failure.text);
        ck_assert_msg(strstr(b->failure.text, "System for super"), "%s", b->failure.text);
        ck_assert_str_eq(b->failure.partition, "super");
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

START_TEST(large_sparse_images_are_refused) {
        Bench *b = with_sparse(_i ? "phone-emmc,fast,info=ack" : "phone-emmc,fast", 8 * 1024 * 1024);
        BenchFlash *before = bench_flash(b);
        uint8_t *p = sparse_bytes(b), *skip = p + 28;

        /* The third chunk skips: it may stand for anything. */
        for (int i = 0; i < 2; i++)
                skip += get_le32(skip + 8);
        put_le32(skip + 4, get_le32(skip + 4) + 0x10000);
        put_le32(p + 16, get_le32(p + 16) + 0x10000);
        must_fail(b, "identify-mismatch-sparse-size");
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

/* ---- every family ----------------------------------------------------------------------------------------- */

static const struct {
        const char *spec, *package;
} matrix[] = {
        {"phone-emmc,fast", "phone"},
        {"phone-ufs-ab,fast", "phone-ab"},
        {"phone-ufs-ab,fast,slot=b,snapshot", "phone-ab"},
        {"phone-ufs-ab,fast,info-extra,hdlc=always", "phone-ab"},
        {"phone-old,fast", "phone-old"},
        {"phone-lk,fast", "phone-lk"},
        {"phone-nand,fast", "phone-nand"},
        {"feature-nor,fast", "feature"},
        {"feature-nor,fast,loaders=1", "feature-one"},
        {"phone-emmc,fast,autod", "phone"},
        {"phone-ufs-ab,fast,autod", "phone-ab"},
        {"phone-emmc,fast,autod,second-enum", "phone"},
        {"phone-emmc,fast,second-enum", "phone"},
        {"uis8910,fast,image-check=0", "uis8910"},
        {"uis8850,fast,image-check=0", "uis8850"},
};

START_TEST(every_family_is_flashed) {
        Bench *b = bench_new(matrix[_i].spec, matrix[_i].package);

        bench_plan(b, FLASH_MODE_UPGRADE);
        flash_and_compare(b);
        bench_free(b);
}
END_TEST

/* ---- two slots, UFS --------------------------------------------------------------------------------------- */

static Bench *planned(const char *spec, const char *package) {
        Bench *b = bench_new(spec, package);

        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

static bool intent_of(const Bench *b, int step) {
        for (size_t i = 0; i < b->n_events; i++)
                if (b->events[i].type == EVENT_INTENT && b->events[i].step == step)
                        return true;
        return false;
}

/* The package has a boot loader for each kind of storage: the unit's own is written, the other never. */
START_TEST(the_storage_decides) {
        Bench *b = planned("phone-ufs-ab,fast", "phone-ab");

        must_pass(b);
        ck_assert(intent_of(b, bench_find_step(b, PLAN_WRITE, "SPLLoaderUFS")));
        ck_assert(!intent_of(b, bench_find_step(b, PLAN_WRITE, "SPLLoaderEMMC")));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "storage=ufs"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "table=61 partitions as in the package"));
        bench_free(b);
}
END_TEST

static const struct {
        const char *spec, *code;
} refused_storage[] = {
        {"phone-ufs-ab,fast,info=struct,storage=unsaid", "identify-mismatch-storage"},
        {"phone-ufs-ab,fast,info=ack", "identify-mismatch-storage"},
        {"phone-ufs-ab,fast,info=empty", "identify-mismatch-storage"},
        {"phone-ufs-ab,fast,storage=nand", "identify-mismatch-storage-kind"},
};

START_TEST(unknown_storage_is_refused) {
        Bench *b = planned(refused_storage[_i].spec, "phone-ab");
        BenchFlash *before = bench_flash(b);

        must_fail(b, refused_storage[_i].code);
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

/* Tables in units of 8 KiB: one size that differs is found. */
START_TEST(a_table_of_another_variant_is_refused) {
        PacMaker *m = pm_new_family("phone-ab", 11);
        BenchFlash *before;
        Bench *b;

        for (unsigned i = 0; i < m->n_partitions; i++)
                if (strcmp(m->partitions[i].name, "super") == 0)
                        strcpy(m->partitions[i].size, "4096");
        b = bench_new_made("phone-ufs-ab,fast", m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        before = bench_flash(b);
        must_fail(b, "identify-mismatch-table");
        ck_assert_msg(strstr(b->failure.text, "super is 8192 MiB on the device, 4096 MiB in the package"), "%s",
                      b->failure.text);
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

/* ---- old loaders, autodloader, LK -------------------------------------------------------------------------- */

/* It is asked one question that it may not know, no more; what follows from that is in the record. */
START_TEST(old_loaders_are_not_questioned) {
        Bench *b = planned("phone-old,fast,unknown-limit=2", "phone-old");

        must_pass(b);
        /* Its partition table can be read like a partition. */
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "partitions as in the package"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=identity not proven"));
        ck_assert(!b->report.identity_proven);
        bench_free(b);
}
END_TEST

/* A package whose first loader wants to come back, on a unit that runs its own and stays. */
START_TEST(autodloader_stays_on_the_bus) {
        PacMaker *m = pm_new_family("phone-ab", 11);
        Bench *b;

        strcpy(pm_find(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
        b = bench_new_made("phone-ufs-ab,fast,autod", m);
        b->comes_back = false;
        bench_plan(b, FLASH_MODE_UPGRADE);
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "loader-version=SPRD4:AutoD"));
        ck_assert_ptr_null(bench_event(b, EVENT_REENUMERATE, NULL));
        bench_free(b);
}
END_TEST

/* Replies of LK loaders, and one that nobody knows. */
static const struct {
        const char *fault, *code;
} replies[] = {
        {"at=fdl2:start nak=d0", "write-refused-d0"},        {"at=fdl2:read-start nak=d2", "backup-refused-d2"},
        {"at=fdl2:midst:#1 nak=d3", "write-refused-d3"},     {"at=fdl2:start nak=aa", "write-refused-aa"},
        {"at=fdl2:start nak=77", "write-garbled"}, {"at=fdl2:erase nak=ee", "erase-refused-ee"},
};

START_TEST(replies_have_names) {
        Bench *b = planned("phone-lk,fast", "phone-lk");
        char fault[80];
        Explanation x;

        snprintf(fault, sizeof(fault), "%s count=forever", replies[_i].fault);
        bench_fault(b, fault);
        must_fail(b, replies[_i].code);
        ck_assert(explanation_find(bench_code(b), &x));
        ck_assert_ptr_nonnull(x.causes[0]);
        bench_free(b);
}
END_TEST

/* ---- larger than 4 GiB ------------------------------------------------------------------------------------ */

static long anonymous_kib(void) {
        char line[200];
        FILE *f = fopen("/proc/self/status", "re");
        long kib = -1;

        while (f && kib < 0 && fgets(line, sizeof(line), f))
                (void) sscanf(line, "RssAnon: %ld", &kib);
        ck_assert_ptr_nonnull(f);
        fclose(f);
        return kib;
}

/* 6 GiB in a package of holes: announced with 64 bits, begun, and no memory is taken for it. */
START_TEST(images_above_4_gib) {
        PacMaker *m = pm_new_family("phone-ab", 11);
        Bench *b = bench_new_file("phone-ufs-ab,fast,size=16384M", m, "Super", 6ull << 30);
        long before;
        int super;

        ck_assert_str_eq(b->pac->version, "BP_R2.0.1");
        bench_plan(b, FLASH_MODE_UPGRADE);
        super = bench_find_step(b, PLAN_WRITE, "Super");
        ck_assert_uint_eq(b->plan->steps[super].size, 6ull << 30);
        for (int i = 0; i < super; i++)
                b->unplug_bytes += plan_step_bytes(b->plan->steps + i);
        b->unplug_bytes += 100 * 1024 * 1024;
        before = anonymous_kib();
        must_fail(b, "write-gone");
        ck_assert_int_eq(b->failure.step, super);
        ck_assert_uint_ge(b->failure.offset, 100 * 1024 * 1024 - 0x10000);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed, and shadows of it all */
        ck_assert_msg(anonymous_kib() - before < 150 * 1024, "%ld KiB", anonymous_kib() - before);
#else
        (void) before;
#endif
        bench_free(b);
}
END_TEST

static TCase *add_case(Suite *s, const char *name) {
        TCase *t = tcase_create(name);

        tcase_set_timeout(t, 300);
        suite_add_tcase(s, t);
        return t;
}

int main(void) {
        Suite *s = suite_create("families");
        TCase *t = add_case(s, "sparse");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(t, sparse_images_are_expanded, 0, 2);
        tcase_add_loop_test(t, damaged_sparse_images_are_refused, 0, (int) ELEMENTSOF(damages));
        tcase_add_loop_test(t, large_sparse_images_are_refused, 0, 2);
        t = add_case(s, "families");
        tcase_add_loop_test(t, every_family_is_flashed, 0, (int) ELEMENTSOF(matrix));
        t = add_case(s, "slots");
        tcase_add_test(t, the_storage_decides);
        tcase_add_loop_test(t, unknown_storage_is_refused, 0, (int) ELEMENTSOF(refused_storage));
        tcase_add_test(t, a_table_of_another_variant_is_refused);
        tcase_add_test(t, images_above_4_gib);
        t = add_case(s, "loaders");
        tcase_add_test(t, old_loaders_are_not_questioned);
        tcase_add_test(t, autodloader_stays_on_the_bus);
        tcase_add_loop_test(t, replies_have_names, 0, (int) ELEMENTSOF(replies));
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
