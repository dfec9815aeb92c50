/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What repair looks at: the block that chooses the slot, the second copy of the GPT, and the plan. */
#include <check.h>
#include <stdlib.h>

#include "engine-bench.h"
#include "firmware/crc32.h"
#include "firmware/gpt.h"
#include "firmware/slots.h"

START_TEST(test_sum) {
        ck_assert_uint_eq(crc32_of("123456789", 9), 0xcbf43926);
}
END_TEST

START_TEST(test_slots) {
        uint8_t b[SLOTS_SIZE], empty[SLOTS_SIZE] = {0};

        ck_assert_int_eq(slots_check(empty), SLOTS_EMPTY);
        memset(empty, 0xff, sizeof(empty));
        ck_assert_int_eq(slots_check(empty), SLOTS_EMPTY);
        slots_make(b, 'b');
        ck_assert_int_eq(slots_check(b), SLOTS_GOOD);
        ck_assert_int_eq(slots_active(b), 'b');
        ck_assert_uint_eq(b[14] & 15, 15); /* b first */
        ck_assert_uint_eq(b[12] & 15, 14);
        for (size_t i = 0; i < SLOTS_SIZE; i++) { /* no flipped bit goes unseen */
                b[i] ^= 4;
                ck_assert_int_gt(slots_check(b), SLOTS_GOOD);
                b[i] ^= 4;
        }
        b[20] ^= 1;
        ck_assert_int_eq(slots_check(b), SLOTS_BAD_SUM);
        slots_seal(b);
        ck_assert_int_eq(slots_check(b), SLOTS_GOOD);
        b[0] = 'a';
        b[1] = 0;
        slots_seal(b);
        ck_assert_int_eq(slots_active(b), 'a'); /* as some loaders write it */
        b[0] = 'x';
        slots_seal(b);
        ck_assert_int_eq(slots_check(b), SLOTS_BAD);
}
END_TEST

static void header(uint8_t *h, uint64_t lba, uint64_t other, uint64_t list_at, const uint8_t *list, size_t size) {
        memcpy(h, "EFI PART", 8);
        put_le32(h + 12, 92);
        put_le64(h + 24, lba);
        put_le64(h + 32, other);
        put_le64(h + 48, 2000);
        put_le64(h + 72, list_at);
        put_le32(h + 80, 128);
        put_le32(h + 84, 128);
        put_le32(h + 88, crc32_of(list, size));
        put_le32(h + 16, crc32_of(h, 92));
}

START_TEST(test_gpt_copy) {
        static uint8_t disk[2048 * 512];
        uint8_t *list = disk + 2 * 512, *second = disk + 2015 * 512, *tail = disk + sizeof(disk) - GPT_HEAD_SIZE;
        GptEntry *entries;
        uint32_t sector;
        uint64_t size;
        size_t n;

        list[0] = 1;
        put_le64(list + 32, 64);
        put_le64(list + 40, 127);
        list[56] = 'x';
        memcpy(second, list, 128 * 128);
        header(disk + 512, 1, 2047, 2, list, 128 * 128);
        header(disk + 2047 * 512, 2047, 1, 2015, second, 128 * 128);
        ck_assert_int_eq(gpt_parse(disk, GPT_HEAD_SIZE, &entries, &n, &sector, &size), 0);
        free(entries);
        ck_assert_uint_eq(gpt_end(disk, GPT_HEAD_SIZE, sector), sizeof(disk));
        ck_assert_int_eq(gpt_parse_copy(tail, sizeof(disk), &entries, &n, &sector), 0);
        ck_assert_uint_eq(n, 1);
        ck_assert_str_eq(entries[0].name, "x");
        ck_assert_uint_eq(entries[0].start, 64 * 512);
        ck_assert_uint_eq(entries[0].size, 64 * 512);
        free(entries);
        /* at another place, with another list, and out of bounds */
        ck_assert_int_eq(gpt_parse_copy(tail, sizeof(disk) - 512, &entries, &n, &sector), -EBADMSG);
        second[40] ^= 1;
        ck_assert_int_eq(gpt_parse_copy(tail, sizeof(disk), &entries, &n, &sector), -EBADMSG);
        second[40] ^= 1;
        put_le64(disk + 2047 * 512 + 72, 3);
        put_le32(disk + 2047 * 512 + 16, 0);
        put_le32(disk + 2047 * 512 + 16, crc32_of(disk + 2047 * 512, 92));
        ck_assert_int_eq(gpt_parse_copy(tail, sizeof(disk), &entries, &n, &sector), -EBADMSG);
}
END_TEST

static void damage(const Bench *b, const char *file, long at, size_t n) {
        char path[300];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", b->dir, file);
        f = fopen(path, "r+e");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_eq(fseek(f, at, SEEK_SET), 0);
        for (size_t i = 0; i < n; i++)
                fputc(0x5a, f);
        fclose(f);
}

/* One thing is damaged on a unit that holds the package: found, mended, and all is as before. */
static const struct {
        const char *spec, *package, *file, *found;
        long at;
} cases[] = {
        {"phone-emmc,fast", "phone", "parts/uboot_bak", "uboot_bak", 5000},
        {"phone-emmc,fast", "phone", "parts/trustos", "trustos", 70000},
        {"phone-emmc,fast", "phone", "boot2.bin", "splloader_bak", 3000},
        {"phone-emmc,fast,sector=4096", "phone", "gpt.bin", "partition table", 4100},
        {"phone-old,fast", "phone-old", "boot2.bin", "uboot", 9000},
        {"phone-lk,fast", "phone-lk", "parts/sml_b", "sml_b", 64},
        {"uis8850,fast,image-check=0,zlp=no", "uis8850", "flash.bin", "SPL", 300},
        {"uis8910,fast", "uis8910", "flash.bin", "BOOTLOADER", 300},
        {"phone-nand,fast", "phone-nand", "parts/boot", "nothing", 0}, /* no header in the source: not looked at */
};

START_TEST(test_one_thing) {
        Bench *b = bench_new(cases[_i].spec, cases[_i].package);
        bool none = strcmp(cases[_i].found, "nothing") == 0;
        BenchFlash *before, *after;
        char fact[80];

        ck_assert_ptr_nonnull(b);
        bench_plan_with(b, &(PlanOptions) {.mode = FLASH_MODE_UPGRADE, .allow_warnings = true, .finish = FINISH_NOTHING});
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        before = bench_flash(b);
        if (!none)
                damage(b, cases[_i].file, cases[_i].at, 9);
        bench_replug(b);
        bench_plan_with(b, &(PlanOptions) {.finish = FINISH_NOTHING, .allow_warnings = true, .repair = true});
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        snprintf(fact, sizeof(fact), "repair-found=%s", cases[_i].found);
        ck_assert_msg(bench_event(b, EVENT_FACT, fact), "%s was not found", cases[_i].found);
        ck_assert(b->report.wrote == !none);
        after = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* On a module loaders are compared by address; nothing but them is looked at, and a whole one is left alone. */
START_TEST(test_module) {
        Bench *b = bench_new("uis8850,fast,image-check=0,zlp=no", "uis8850");
        BenchFlash *before, *after;

        ck_assert_ptr_nonnull(b);
        bench_plan(b, FLASH_MODE_UPGRADE);
        ck_assert_int_eq(bench_run(b), 0);
        bench_replug(b);
        bench_plan_with(b, &(PlanOptions) {.finish = FINISH_NOTHING, .allow_warnings = true, .repair = true});
        for (size_t i = 0; i < b->plan->n_steps; i++)
                ck_assert_int_ne(b->plan->steps[i].op, PLAN_WRITE);
        before = bench_flash(b);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        ck_assert(bench_event(b, EVENT_FACT, "repair-found=nothing"));
        ck_assert(!b->report.wrote);
        after = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *s = suite_create("repair");
        TCase *c = tcase_create("repair");
        SRunner *r;
        int failed;

        tcase_add_test(c, test_sum);
        tcase_add_test(c, test_slots);
        tcase_add_test(c, test_gpt_copy);
        tcase_add_test(c, test_module);
        tcase_add_loop_test(c, test_one_thing, 0, (int) ELEMENTSOF(cases));
        tcase_set_timeout(c, 120);
        suite_add_tcase(s, c);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed > 0;
}
