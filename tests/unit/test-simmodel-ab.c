/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"
#include "usbsim/model/phone-ab-table.h"

/* phone-ufs-ab: UFS, two slots, virtual A/B, raw data. */

static unsigned ab_exec(const char *spec) {
        phone_fdl1_at(spec, PHONE_AB_FDL1_BASE);
        return start_fdl2(PHONE_AB_FDL2_BASE);
}

static void ab_fdl2(const char *spec) {
        ck_assert_uint_eq(ab_exec(spec), 0x96);
}

static bool holds(const char *file, uint64_t offset, const void *want, size_t n) {
        static uint8_t got[65536];

        ck_assert_uint_le(n, sizeof(got));
        read_store(file, offset, got, n);
        return memcmp(got, want, n) == 0;
}

START_TEST(test_ab_info) {
        ab_fdl2("phone-ufs-ab");
        ck_assert_uint_eq(answer_size, 38);
        ck_assert_mem_eq(answer,
                         "\x6E\x65\x77\x74\x00\x00\x04\x00\x01\x00\x00\x00\x01\x00\x01\x00\x06\x02\x00\x01\x00\x01\x03"
                         "\x00\x04\x00\x00\x08\x00\x00\x06\x00\x04\x00\x03\x01\x00\x00",
                         38);
        m = sim_free(m);
        /* The frame of the protocol description, but for the old-memory bits. */
        phone_fdl1_at("phone-ufs-ab", PHONE_AB_FDL1_BASE);
        ck_assert_uint_eq(start_at(PHONE_AB_FDL2_BASE, 2), 0x80);
        ck_assert_uint_eq(command(2, "xy", 2), 0x80);
        ask("7E 00 04 00 00 FF FB 7E",
            "7E 00 96 00 26 6E 65 77 74 00 00 04 00 01 00 00 00 01 00 01 00 06 02 00 01 00 01 03 00 04 00 00 08 00 00 "
            "06 00 04 00 03 01 00 00 F8 5C 7E");
        m = sim_free(m);
        ab_fdl2("phone-ufs-ab,raw=2,info-extra");
        ck_assert_uint_eq(answer_size, 38 + 14 + 4);
        ck_assert_uint_eq(answer[21], 2);
        ck_assert_mem_eq(answer + 38, "\x63\0\x0a\0unheard of\xfe\xff\0\0", 18);
        m = sim_free(m);
        /* The struct form says the same. */
        ab_fdl2("phone-ufs-ab,info=struct");
        ck_assert_mem_eq(answer, "\4\0\0\0\1\0\0\0\6\1\0\0\0\10\0\0\3\1\0\0", 20);
}
END_TEST

START_TEST(test_ab_table) {
        static const struct {
                const char *name;
                uint32_t mib;
        } want[] = {
#define X(name, mib) {name, mib},
                PHONE_AB_TABLE(X)
#undef X
        };

        ab_fdl2("phone-ufs-ab");
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x80);
        plain = true;
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 61 * 76);
        ck_assert_uint_eq(ELEMENTSOF(want), 61);
        for (size_t i = 0; i < 61; i++) {
                uint8_t name[72];

                name_to(name, want[i].name);
                ck_assert_mem_eq(answer + i * 76, name, 72);
                /* "Sectors / 2", which is units of 8 KiB here. */
                if (want[i].mib != 0xFFFFFFFF)
                        ck_assert_uint_eq(get_le32(answer + i * 76 + 72), want[i].mib * 128);
        }
}
END_TEST

START_TEST(test_ab_gpt) {
        static uint8_t head[4096];

        ab_fdl2("phone-ufs-ab");
        ck_assert_uint_eq(named(0x10, "user_partition", 0x8000), 0x80);
        ck_assert_uint_eq(read_piece(0x6000, 0), 0x93);
        ck_assert_uint_eq(get_le16(answer + 510), 0xAA55);
        ck_assert_mem_eq(answer + 4096, "EFI PART", 8);
        ck_assert_uint_eq(get_le64(answer + 4096 + 40), 6); /* first usable: 2 + 4 sectors of entries */
        ck_assert_uint_eq(get_le64(answer + 4096 + 72), 2);
        ck_assert_uint_eq(get_le64(answer + 4096 + 32), (32768ull << 20) / 4096 - 1);
        ck_assert_mem_eq(answer + 8192 + 56, "p\0r\0o\0d\0n\0v\0\0", 14);
        ck_assert_uint_eq(get_le64(answer + 8192 + 32), 256); /* 1 MiB in sectors of 4096 */
        ck_assert_uint_eq(get_le64(answer + 8192 + 40), 256 + 10 * 256 - 1);
        read_store("gpt-backup.bin", 4 * 4096, head, sizeof(head));
        ck_assert_mem_eq(head, "EFI PART", 8);
        ck_assert_uint_eq(get_le64(head + 24), (32768ull << 20) / 4096 - 1);
        ck_assert_uint_eq(get_le64(head + 72), (32768ull << 20) / 4096 - 5);
        ck_assert_uint_eq(named(0x10, "boot_a_size", 64), 0x80);
        ck_assert_uint_eq(read_piece(64, 0), 0x93);
        ck_assert_mem_eq(answer, "size:boot_a_size: 0x4000000 block number: 0x4000", 48);
}
END_TEST

/* The controller of these chips: the sync byte stands alone, replies of whole packets end with a ZLP. */
START_TEST(test_ab_dwc3_fdl1) {
        phone_rom("phone-ufs-ab,drop-sync=0");
        ck_assert_uint_eq(start_at(PHONE_AB_FDL1_BASE, 2), 0x80);
        ck_assert_uint_eq(command(2, "xy", 2), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        use_crc = false;
        advance(400 * MS);
        ask("7E 7E 7E", "");
        ask("7E", "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B"
                  "20 76 65 72 73 69 6F 6E 20 31 2E 31 00 AA E9 7E");
}
END_TEST

START_TEST(test_ab_mirror) {
        uint8_t data[3000], old[3000];

        ab_fdl2("phone-ufs-ab,fast");
        pattern(data, sizeof(data), 1);
        ck_assert_uint_eq(write_part("uboot_a", data, sizeof(data)), 0x80);
        ck_assert(holds("parts/uboot_a", 0, data, sizeof(data)));
        ck_assert(holds("parts/uboot_b", 0, data, sizeof(data)));
        /* Not the other way round, and not what is outside the boot chain. */
        pattern(data, sizeof(data), 2);
        ck_assert_uint_eq(write_part("uboot_b", data, sizeof(data)), 0x80);
        ck_assert(!holds("parts/uboot_a", 0, data, sizeof(data)));
        read_store("parts/boot_b", 0, old, sizeof(old));
        ck_assert_uint_eq(write_part("boot_a", data, sizeof(data)), 0x80);
        ck_assert(holds("parts/boot_b", 0, old, sizeof(old)));
        /* Erasing is not mirrored. */
        ck_assert_uint_eq(named(0x0A, "vbmeta_a", 0), 0x80);
        read_store("parts/vbmeta_b", 0, old, 4);
        ck_assert_mem_eq(old, "DHTB", 4);
}
END_TEST

START_TEST(test_ab_spl) {
        uint8_t data[4096], twin[4096];

        ab_fdl2("phone-ufs-ab,fast");
        pattern(data, sizeof(data), 3);
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(write_part("splloader", data, sizeof(data)), 0x80);
        ck_assert(holds("boot1.bin", 512, data + 512, sizeof(data) - 512));
        read_store("boot1.bin", 0, twin, sizeof(twin));
        ck_assert(holds("boot2.bin", 0, twin, sizeof(twin)));
        ck_assert(said("\"bootable\":true"));
}
END_TEST

static const char *const nv_copies[] = {"parts/nr_fixnv1_a", "parts/nr_fixnv2_a", "parts/nr_fixnv1_b",
                                        "parts/nr_fixnv2_b"};

static unsigned copies_of(const uint8_t *data, size_t n) {
        unsigned found = 0;

        for (size_t i = 0; i < 4; i++)
                found |= (unsigned) holds(nv_copies[i], 512, data, n) << i;
        return found;
}

static uint32_t sum_bytes(const uint8_t *p, size_t n) {
        uint32_t sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += p[i];
        return sum;
}

START_TEST(test_ab_nv) {
        uint8_t data[2048], bad[16] = {0};

        ab_fdl2("phone-ufs-ab,fast");
        /* Package and phone both with slots, then the package without: four copies. */
        for (unsigned i = 0; i < 2; i++) {
                const char *name = i ? "nr_fixnv1" : "nr_fixnv1_a";

                pattern(data, sizeof(data), 10 + i);
                ck_assert_uint_eq(write_nv(name, data, sizeof(data), sum_bytes(data, sizeof(data)), true), 0x80);
                ck_assert_uint_eq(copies_of(data, sizeof(data)), 15);
                ck_assert(holds(nv_copies[i], 0, "VN\0\0\0\10\0\0", 8));
        }
        /* Read under either name; a damaged copy is mended from its twin. */
        write_store("parts/nr_fixnv1_a", 600, bad, sizeof(bad));
        ck_assert_uint_eq(named(0x10, "nr_fixnv1", 2048), 0x80);
        ck_assert_uint_eq(read_piece(2048, 0), 0x93);
        ck_assert_mem_eq(answer, data, sizeof(data));
        ck_assert_uint_eq(copies_of(data, sizeof(data)), 15);
        ck_assert_uint_eq(write_nv("nr_fixnv1_a", data, sizeof(data), 1, true), 0xA2);
        ck_assert_uint_eq(write_nv("nr_fixnv1_a", data, sizeof(data), 0, false), 0xA0);
        /* nr_runtimenv1 has no slots: a package that names one is mapped. */
        ck_assert_uint_eq(named(0x0A, "nr_runtimenv1_a", 0), 0x80);
        ck_assert(holds("parts/nr_runtimenv1", 0, bad, 4));
        ck_assert(holds("parts/nr_runtimenv2", 0, bad, 4));
}
END_TEST

START_TEST(test_ab_nv_unslotted_phone) {
        static const char table[] = "prodnv 2\nmisc 1\nnr_fixnv1 2\nnr_fixnv2 2\nuserdata rest\n";
        char path[96], spec[160];
        uint8_t data[1024];

        write_beside(path, sizeof(path), table, sizeof(table) - 1);
        snprintf(spec, sizeof(spec), "phone-ufs-ab,fast,nv=missing,table=%s", path);
        ab_fdl2(spec);
        unlink(path);
        pattern(data, sizeof(data), 4);
        for (unsigned i = 0; i < 2; i++) {
                data[0] = (uint8_t) i;
                ck_assert_uint_eq(write_nv(i ? "nr_fixnv1" : "nr_fixnv1_a", data, sizeof(data),
                                           sum_bytes(data, sizeof(data)), true),
                                  0x80);
                ck_assert(holds("parts/nr_fixnv1", 512, data, sizeof(data)));
                ck_assert(holds("parts/nr_fixnv2", 512, data, sizeof(data)));
        }
        ck_assert_uint_eq(named(0x10, "nr_fixnv1_b", 16), 0x80);
        ck_assert_uint_eq(named(0x10, "nr_fixnv3_b", 16), 0x96);
}
END_TEST

START_TEST(test_ab_slot) {
        uint8_t zero[4096] = {0};

        ab_fdl2("phone-ufs-ab,fast,slot=b");
        ck_assert_uint_eq(named(0x10, "misc", 0x820), 0x80);
        ck_assert_uint_eq(read_piece(0x820, 0), 0x93);
        ck_assert_mem_eq(answer + 0x800, "_b\0\0\x42\x43\x41\x42", 8);
        /* Slot b boots; what happens to a does not matter until misc is erased. */
        ck_assert_uint_eq(named(0x0A, "uboot_a", 0), 0x80);
        ck_assert(said("\"bootable\":true"));
        ck_assert_uint_eq(named(0x0A, "misc", 0), 0x80);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(write_part("uboot_a", "DHTBnew!", 8), 0x80);
        ck_assert(said("\"bootable\":true"));
        ck_assert(holds("parts/misc", 0x800, zero, 32));
}
END_TEST

START_TEST(test_ab_snapshot) {
        uint8_t data[4096];

        ab_fdl2("phone-ufs-ab,fast,snapshot");
        ck_assert(said("\"bootable\":true"));
        pattern(data, sizeof(data), 8);
        ck_assert_uint_eq(write_part("super", data, sizeof(data)), 0x80);
        ck_assert(said("\"bootable\":false")); /* the old snapshot is merged into the new super */
        ck_assert_uint_eq(named(0x0A, "metadata", 0), 0x80);
        ck_assert(said("\"bootable\":true"));
}
END_TEST

START_TEST(test_ab_raw) {
        static uint8_t data[3u << 20];

        pattern(data, sizeof(data), 12);
        ab_fdl2("phone-ufs-ab,fast");
        /* The length is told, but this controller wants its ZLP nevertheless. */
        ck_assert_uint_eq(command(0x28, "\0\0\0\0\0\0\0\0", 8), 0x80);
        ck_assert_uint_eq(named(1, "boot_a", sizeof(data)), 0x80);
        ask("7E 00 31 00 00 FF CE 7E", "7E 00 80 00 00 FF 7F 7E");
        sim_out(m, data, 2u << 20, false);
        expect_nothing();
        sim_out(m, NULL, 0, true);
        expect_hex("7E 00 80 00 00 FF 7F 7E");
        ask("7E 00 31 00 00 FF CE 7E", "7E 00 80 00 00 FF 7F 7E");
        fault("at=fdl2:raw-data write-error");
        sim_out(m, data + (2u << 20), 1u << 20, true);
        /* ACK, and later the error in one more frame. */
        expect_hex("7E 00 80 00 00 FF 7F 7E 7E 00 A2 00 00 FF 5D 7E");
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        /* Level 2 is not offered. */
        ck_assert_uint_eq(named(1, "boot_a", sizeof(data)), 0x80);
        ck_assert_uint_eq(command(0x33, NULL, 0), 0xFE);
}
END_TEST

START_TEST(test_ab_raw_whole) {
        static uint8_t data[5u << 20], got[5u << 20];

        pattern(data, sizeof(data), 13);
        ab_fdl2("phone-ufs-ab,fast,raw=2");
        ck_assert_uint_eq(command(0x28, NULL, 0), 0x80);
        ck_assert_uint_eq(named(1, "boot_a", sizeof(data)), 0x80);
        ask("7E 00 33 00 00 FF CC 7E", "7E 00 80 00 00 FF 7F 7E");
        for (unsigned i = 0; i < 3; i++) { /* 1 + N answers */
                sim_out(m, data + i * (2u << 20), i < 2 ? 2u << 20 : 1u << 20, true);
                expect_hex("7E 00 80 00 00 FF 7F 7E");
        }
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/boot_a", 0, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(got));
        /* An error stands where an ACK would. */
        ck_assert_uint_eq(named(1, "boot_a", 2u << 20), 0x80);
        ck_assert_uint_eq(command(0x33, NULL, 0), 0x80);
        fault("at=fdl2:raw-data write-error");
        sim_out(m, data, 2u << 20, true);
        expect_hex("7E 00 A2 00 00 FF 5D 7E");
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
}
END_TEST

START_TEST(test_ab_repartition) {
        static uint8_t table[16 + 2 * 88], before[64], after[64];

        ab_fdl2("phone-ufs-ab,fast");
        memcpy(table, "par:\1\4\1\0tbl:", 12); /* sectors */
        put_le16(table + 12, 16);
        put_le16(table + 14, 2 * 88);
        name_to(table + 16, "prodnv");
        put_le64(table + 16 + 72, 10 * 256);
        name_to(table + 16 + 88, "userdata");
        put_le64(table + 16 + 88 + 72, UINT64_MAX);
        put_le64(table + 16 + 80, 33); /* below 34 sectors */
        ck_assert_uint_eq(command(0x0B, table, sizeof(table)), 0x96);
        put_le64(table + 16 + 80, 0); /* 1 MiB */
        read_store("parts/prodnv", 0, before, sizeof(before));
        ck_assert_uint_eq(command(0x0B, table, sizeof(table)), 0x80);
        read_store("parts/prodnv", 0, after, sizeof(after));
        ck_assert_mem_eq(before, after, sizeof(after));
        ck_assert(!in_store("parts/boot_a"));
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 2 * 76);
        ck_assert_uint_eq(get_le32(answer + 72), 10 * 128);
}
END_TEST

/* Images of gigabytes: START with 64 bits, and zeros take no disk. */
START_TEST(test_ab_huge) {
        static uint8_t zero[0xF000];
        uint8_t p[0x58] = {0};

        ab_fdl2("phone-ufs-ab,fast");
        name_to(p, "super");
        put_le64(p + 72, 8193ull << 20);
        ck_assert_uint_eq(command(1, p, 0x58), 0x8A);
        put_le64(p + 72, 6ull << 30);
        ck_assert_uint_eq(command(1, p, 0x58), 0x80);
        ck_assert_uint_eq(command(2, zero, sizeof(zero)), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
}
END_TEST

int main(void) {
        const TTest *const tests[] = {test_ab_info,        test_ab_table,    test_ab_gpt, test_ab_dwc3_fdl1,
                                      test_ab_mirror,      test_ab_spl,      test_ab_nv,  test_ab_nv_unslotted_phone,
                                      test_ab_slot,        test_ab_snapshot, test_ab_raw, test_ab_raw_whole,
                                      test_ab_repartition, test_ab_huge};
        Suite *s = suite_create("simmodel-ab");

        add_case(s, "phone-ufs-ab", tests, ELEMENTSOF(tests));
        return run_suite(s);
}
