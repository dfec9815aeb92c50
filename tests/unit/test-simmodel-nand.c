/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"
#include "usbsim/model/phone-nand-table.h"

/* phone-nand: UBI volumes, MTD partitions with bad blocks. */

static void nand_fdl2(const char *spec) {
        phone_fdl1_at(spec, PHONE_NAND_FDL1_BASE);
        ck_assert_uint_eq(start_fdl2(PHONE_NAND_FDL2_BASE), 0x96);
}

static bool blank(const char *file, uint64_t offset, size_t n) {
        static uint8_t got[65536];

        read_store(file, offset, got, n);
        for (size_t i = 0; i < n; i++)
                if (got[i])
                        return false;
        return true;
}

START_TEST(test_nand_info) {
        nand_fdl2("phone-nand");
        ck_assert_mem_eq(answer, "\4\0\0\0\1\0\0\0\6\0\0\0\0\10\0\0\1\1\0\0", 20); /* storage 0x101 */
        ask("7E 00 0D 00 00 FF F2 7E", "7E 00 9B 00 0C 00 00 00 00 00 02 00 00 00 00 08 00 F7 56 7E");
        ask("7E 00 2D 00 00 FF D2 7E", "7E 00 FE 00 00 FF 01 7E"); /* no table command */
        ck_assert_uint_eq(command(0x29, NULL, 0), 0xB8);
        ck_assert_mem_eq(answer, "\0\0\20\0", 4);
        ck_assert_uint_eq(command(0x0C, NULL, 0), 0x9D);
        ck_assert_uint_eq(answer_size, 16);
        m = sim_free(m);
        tear_down();
        set_up();
        nand_fdl2("phone-nand,block=0x40000,page=0x1000,info-order=page-block");
        ck_assert_uint_eq(command(0x0D, NULL, 0), 0x9B);
        ck_assert_mem_eq(answer, "\0\0\0\0\0\0\20\0\0\4\0\0", 12);
}
END_TEST

START_TEST(test_nand_names) {
        nand_fdl2("phone-nand,fast");
        /* START and READ_START tell at once what does not exist and what does not fit. */
        ck_assert_uint_eq(named(1, "nothing", 4), 0x96);
        ck_assert_uint_eq(named(0x10, "nothing", 4), 0x96);
        ck_assert_uint_eq(named(0x10, "user_partition", 4), 0x96);
        ck_assert_uint_eq(named(0x10, "boot_size", 4), 0x96);
        ck_assert_uint_eq(named(1, "boot", (24u << 20) + 2), 0x8A);
        ck_assert_uint_eq(named(0x10, "boot", (24u << 20) + 2), 0x8A);
        ck_assert_uint_eq(named(0x10, "boot", 24u << 20), 0x80);
}
END_TEST

START_TEST(test_nand_volume_update) {
        uint8_t data[8192], got[8192];

        nand_fdl2("phone-nand,fast,buffer=4k");
        ck_assert(!blank("parts/boot", 0, 4096));
        pattern(data, sizeof(data), 1);
        /* START empties the volume. */
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert(blank("parts/boot", 0, 65536));
        ck_assert_uint_eq(all_midst(data, 6000, 2000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        ck_assert(blank("parts/boot", 0, 65536)); /* an update that was not finished leaves nothing */
        ck_assert_uint_eq(write_part("boot", data, sizeof(data)), 0x80);
        read_store("parts/boot", 0, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, 6000, 2000), 0x80);
        sim_power_off(m);
        ck_assert(blank("parts/boot", 0, 65536));
}
END_TEST

START_TEST(test_nand_copies) {
        uint8_t data[3000], got[3000];

        nand_fdl2("phone-nand,fast");
        pattern(data, sizeof(data), 2);
        ck_assert_uint_eq(write_part("trustos", data, sizeof(data)), 0x80);
        read_store("parts/trustos_bak", 0, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(data));
}
END_TEST

START_TEST(test_nand_nv) {
        uint8_t data[1000], got[1512], bad[64] = {0};
        uint32_t sum = 0;

        nand_fdl2("phone-nand,fast");
        pattern(data, sizeof(data), 3);
        for (size_t i = 0; i < sizeof(data); i++)
                sum += data[i];
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), 0, true), 0xA0);
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), sum + 1, true), 0xA2);
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), sum, true), 0x80);
        for (unsigned i = 0; i < 2; i++) {
                read_store(i ? "parts/l_fixnv2" : "parts/l_fixnv1", 0, got, sizeof(got));
                ck_assert_mem_eq(got, "VN\0\0\xe8\3\0\0", 8);
                ck_assert_uint_eq(get_le32(got + 8), sum);
                ck_assert_mem_eq(got + 512, data, sizeof(data));
        }
        write_store("parts/l_fixnv1", 600, bad, sizeof(bad));
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 1000), 0x80);
        read_store("parts/l_fixnv1", 512, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        write_store("parts/l_fixnv1", 600, bad, sizeof(bad));
        write_store("parts/l_fixnv2", 600, bad, sizeof(bad));
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 1000), 0x84);
        /* prodnv is a UBIFS here. */
        ck_assert_uint_eq(named(0x10, "prodnv", 4), 0x80);
        ck_assert_uint_eq(read_piece(4, 0), 0x93);
        ck_assert_mem_eq(answer, "\x31\x18\x10\x06", 4);
        ck_assert_uint_eq(named(0x0A, "prodnv", 0), 0x80);
        ck_assert_uint_eq(named(0x10, "prodnv", 4), 0x84);
}
END_TEST

START_TEST(test_nand_mtd) {
        static uint8_t data[0x50000], got[0x50000], map[16] = {0, 1, 1};

        nand_fdl2("phone-nand,fast,bad-blocks=0");
        write_store("mtd-uboot.bad", 0, map, sizeof(map)); /* blocks 1 and 2 are bad */
        ck_assert_uint_eq(named(1, "uboot", 0x200000 - 2 * 0x20000 + 2), 0x8A);
        pattern(data, sizeof(data), 4);
        ck_assert_uint_eq(write_part("uboot", data, sizeof(data)), 0x80);
        read_store("mtd-uboot.bin", 0, got, 0x20000);
        ck_assert_mem_eq(got, data, 0x20000);
        ck_assert(blank("mtd-uboot.bin", 0x20000, 65536));
        read_store("mtd-uboot.bin", 0x60000, got, 0x30000);
        ck_assert_mem_eq(got, data + 0x20000, 0x30000);
        /* Read: from its start first, as much as was announced. */
        ck_assert_uint_eq(named(0x10, "uboot", 0x21000), 0x80);
        ck_assert_uint_eq(read_piece(0x1000, 0x1000), 0x84);
        ck_assert_uint_eq(read_piece(0x1000, 0), 0x93);
        ck_assert_uint_eq(read_piece(0x1000, 0x20000), 0x93);
        ck_assert_mem_eq(answer, data + 0x20000, 0x1000);
        ck_assert_uint_eq(read_piece(0x1000, 0x21000), 0x84);
}
END_TEST

START_TEST(test_nand_blocks_fail) {
        uint8_t data[4096], got[4096], map[4];

        nand_fdl2("phone-nand,fast,bad-blocks=0,spare=1");
        pattern(data, sizeof(data), 5);
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(write_part("splloader", data, sizeof(data)), 0x80);
        read_store("mtd-splloader.bad", 0, map, sizeof(map));
        ck_assert_mem_eq(map, "\1\0\0\0", 4);
        read_store("mtd-splloader.bin", 0x20000, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(got));
        for (unsigned i = 0; i < 3; i++) {
                fault("at=fdl2:midst write-error");
                ck_assert_uint_eq(write_part("splloader", data, sizeof(data)), i < 2 ? 0x80 : 0xA2);
        }
        ck_assert(said("\"bootable\":false"));
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(write_part("boot", data, sizeof(data)), 0x80); /* the one spare block */
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(write_part("boot", data, sizeof(data)), 0xA2);
        ck_assert_uint_eq(command(0x29, NULL, 0), 0xB8);
        ck_assert_mem_eq(answer + 4, "\0\0\0\5", 4);
}
END_TEST

START_TEST(test_nand_bad_from_the_factory) {
        uint8_t map[16];
        unsigned bad = 0;

        plug("phone-nand,bad-blocks=100", 7);
        read_store("mtd-uboot.bad", 0, map, sizeof(map));
        for (size_t i = 0; i < sizeof(map); i++)
                bad += map[i];
        ck_assert_uint_ge(bad, 1);
        ck_assert_uint_le(bad, 8);
        ck_assert(said("\"bootable\":true"));
}
END_TEST

static size_t preset(uint8_t *p) {
        size_t n = 0;

#define X(name, mib) name_to(p + n * 76, name), put_le32(p + n * 76 + 72, mib), n++;
        PHONE_NAND_TABLE(X)
#undef X
        return n;
}

START_TEST(test_nand_repartition) {
        static uint8_t table[64 * 76];
        size_t n = preset(table);

        nand_fdl2("phone-nand,fast");
        /* The same volumes, by table or by the loader's own: nothing happens. */
        ck_assert_uint_eq(command(0x0B, table, n * 76), 0x80);
        ck_assert_uint_eq(command(0x0B, NULL, 0), 0x80);
        ck_assert(!blank("parts/boot", 0, 4096));
        ck_assert_uint_eq(command(0x0B, table, n * 76 - 1), 0x96);
        /* Another size: only that volume is made anew (and the last, which takes the rest). */
        for (size_t i = 0; i < n; i++)
                if (memcmp(table + i * 76, "l\0o\0g\0o\0\0", 10) == 0)
                        put_le32(table + i * 76 + 72, 3);
        ck_assert_uint_eq(command(0x0B, table, n * 76), 0x80);
        ck_assert(blank("parts/logo", 0, 4096));
        ck_assert(blank("parts/userdata", 0, 4096));
        ck_assert(!blank("parts/boot", 0, 4096));
        /* Other names: all go. */
        name_to(table, "somewhere");
        ck_assert_uint_eq(command(0x0B, table, n * 76), 0x80);
        ck_assert(!in_store("parts/prodnv"));
        ck_assert(blank("parts/boot", 0, 4096));
        ck_assert_uint_eq(named(0x10, "somewhere", 4), 0x80);
        /* Does not fit. */
        put_le32(table + 72, 4096);
        ck_assert_uint_eq(command(0x0B, table, n * 76), 0x96);
}
END_TEST

START_TEST(test_nand_erase_all) {
        nand_fdl2("phone-nand,fast");
        ck_assert_uint_eq(named(0x0A, "erase_all", 0xFFFFFFFF), 0x80);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(named(1, "boot", 4), 0x96);
        ck_assert_uint_eq(command(0x0B, NULL, 0), 0x80);
        ck_assert_uint_eq(write_part("boot", "abcd", 4), 0x80);
        ck_assert_uint_eq(write_part("splloader", "abcd", 4), 0x80);
        ck_assert_uint_eq(write_part("uboot", "abcd", 4), 0x80);
        ck_assert(said("\"bootable\":true"));
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        ck_assert(said("\"bootable\":false"));
}
END_TEST

START_TEST(test_nand_kept) {
        nand_fdl2("phone-nand,fast");
        ck_assert_uint_eq(write_part("logo", "kept", 4), 0x80);
        m = sim_free(m);
        nand_fdl2("phone-nand,fast");
        ck_assert_uint_eq(named(0x10, "logo", 4), 0x80);
        ck_assert_uint_eq(read_piece(4, 0), 0x93);
        ck_assert_mem_eq(answer, "kept", 4);
}
END_TEST

START_TEST(test_nand_options) {
        char err[256];

        m = sim_new("phone-nand,block=3", dir, 1, err, sizeof(err));
        ck_assert_ptr_null(m);
        ck_assert_ptr_nonnull(strstr(err, "powers of two"));
        m = sim_new("phone-nand,sector=4096", dir, 1, err, sizeof(err));
        ck_assert_ptr_null(m);
        m = sim_new("phone-emmc,spare=1", dir, 1, err, sizeof(err));
        ck_assert_ptr_null(m);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_nand_info,        test_nand_names,     test_nand_volume_update, test_nand_copies,
                test_nand_nv,          test_nand_mtd,       test_nand_blocks_fail,   test_nand_bad_from_the_factory,
                test_nand_repartition, test_nand_erase_all, test_nand_kept,          test_nand_options};
        Suite *s = suite_create("simmodel-nand");

        add_case(s, "phone-nand", tests, ELEMENTSOF(tests));
        return run_suite(s);
}
