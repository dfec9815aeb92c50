/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"
#include "usbsim/model/phone-ab-table.h"
#include "usbsim/model/phone-old-table.h"

/* The oldest and the newest phones: phone-old, phone-lk. And what every phone may be: an autodloader, or one that
 * leaves the bus between its loaders. */

static void old_fdl2(const char *spec) {
        phone_fdl1_at(spec, PHONE_OLD_FDL1_BASE);
        ck_assert_uint_eq(start_at(PHONE_OLD_FDL2_BASE, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ask("7E 00 04 00 00 FF FB 7E", "7E 00 80 00 00 FF 7F 7E");
}

static void lk_fdl2(const char *spec) {
        phone_fdl1_at(spec, PHONE_LK_FDL1_BASE);
        ck_assert_uint_eq(start_fdl2(PHONE_LK_FDL2_BASE), 0x96);
}

/* ---- old ---- */

START_TEST(test_old_knows_less) {
        old_fdl2("phone-old");
        ask("7E 00 21 00 00 FF DE 7E", "7E 00 FE 00 00 FF 01 7E");
        ck_assert_uint_eq(named(0x10, "boot", 4), 0x80); /* and is still escaped */
        ask("7E 00 2D 00 00 FF D2 7E", "7E 00 FE 00 00 FF 01 7E");
        /* Its table is in the GPT. */
        ck_assert_uint_eq(named(0x10, "user_partition", 0x8000), 0x80);
        ck_assert_uint_eq(read_piece(0x1000, 0), 0x93);
        ck_assert_mem_eq(answer + 512, "EFI PART", 8);
        ck_assert_mem_eq(answer + 1024 + 56, "p\0r\0o\0d\0n\0v\0\0", 14);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xFE); /* the third: mute */
        ck_assert(said("\"hung\":true"));
}
END_TEST

START_TEST(test_old_start) {
        uint8_t p[0x58] = {0}, got[4];

        old_fdl2("phone-old,fast");
        name_to(p, "logo");
        put_le32(p + 72, 4);
        put_le32(p + 76, 1); /* what others take for the high word is not read */
        ck_assert_uint_eq(command(1, p, 0x58), 0x80);
        ck_assert_uint_eq(command(2, "abcd", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/logo", 0, got, 4);
        ck_assert_mem_eq(got, "abcd", 4);
        /* Nor the high half of an offset. */
        ck_assert_uint_eq(named(0x10, "logo", 4), 0x80);
        ck_assert_uint_eq(command(0x11, "\4\0\0\0\0\0\0\0\1\0\0\0", 12), 0x93);
        ck_assert_mem_eq(answer, "abcd", 4);
}
END_TEST

START_TEST(test_old_nv) {
        uint8_t data[1000], got[1000];

        old_fdl2("phone-old,fast");
        pattern(data, sizeof(data), 3);
        ck_assert_uint_eq(write_nv("fixnv1", data, sizeof(data), 0, false), 0x80); /* no checksum in START */
        for (unsigned i = 0; i < 2; i++) {
                read_store(i ? "parts/fixnv2" : "parts/fixnv1", 512, got, sizeof(got));
                ck_assert_mem_eq(got, data, sizeof(data));
        }
}
END_TEST

START_TEST(test_old_boot_areas) {
        uint8_t data[2048], got[2048];

        old_fdl2("phone-old,fast");
        ck_assert(!in_store("parts/uboot"));
        pattern(data, sizeof(data), 4);
        ck_assert_uint_eq(write_part("uboot", data, sizeof(data)), 0x80);
        pattern(got, sizeof(got), 5);
        ck_assert_uint_eq(write_part("splloader", got, sizeof(got)), 0x80);
        read_store("boot2.bin", 0, got, sizeof(got)); /* splloader has no copy there */
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert(said("\"bootable\":true"));
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        read_store("boot2.bin", 0, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert(said("\"bootable\":false"));
}
END_TEST

START_TEST(test_old_repartition) {
        uint8_t table[2 * 76] = {0}, v1[16 + 88] = "par:\1\3\1\0tbl:\20\0\130";

        old_fdl2("phone-old,fast");
        ck_assert_uint_eq(command(0x0B, v1, sizeof(v1)), 0x96);
        name_to(table, "boot");
        put_le32(table + 72, 10);
        name_to(table + 76, "userdata");
        put_le32(table + 76 + 72, 0xFFFFFFFF);
        ck_assert_uint_eq(command(0x0B, table, sizeof(table)), 0x80);
        ck_assert(!in_store("parts/system"));
}
END_TEST

/* ---- LK ---- */

START_TEST(test_lk_info) {
        lk_fdl2("phone-lk");
        ck_assert_uint_eq(answer_size, 38 + 12 + 8);
        ck_assert_mem_eq(answer + 38, "\5\0\10\0\xff\xff\xff\xff\xff\xff\xff\xff\7\0\4\0\1\0\0\0", 20);
        ck_assert_uint_eq(command(0x28, NULL, 0), 0xFE); /* no raw data */
}
END_TEST

START_TEST(test_lk_words) {
        uint8_t bad[75] = {0};

        lk_fdl2("phone-lk,fast,nv=both-bad,malloc=1M");
        ck_assert_uint_eq(command(0x0B, bad, sizeof(bad)), 0xD1);
        ck_assert_uint_eq(named(0x10, "nr_fixnv1_a", 16), 0xD2);
        ck_assert_uint_eq(named(0x0A, "prodnv", 0), 0x80);
        ck_assert_uint_eq(named(0x10, "prodnv", 16), 0xD2);
        ck_assert_uint_eq(named(0x10, "logo", 16), 0x80);
        ck_assert_uint_eq(read_piece(16, 8u << 20), 0xD2);
        ck_assert_uint_eq(named(1, "boot_a", (1u << 20) + 2), 0xD3);
        ck_assert_uint_eq(named(1, "boot_a", 1u << 20), 0x80);
        ck_assert_uint_eq(named(1, "super", 2u << 20), 0x80); /* is not held in memory */
        ck_assert_uint_eq(named(0x10, "nothing", 16), 0x96);
}
END_TEST

START_TEST(test_lk_magic) {
        phone_rom("phone-lk,fast,secure");
        ck_assert_uint_eq(start_at(PHONE_LK_FDL1_BASE, 8), 0x80);
        ck_assert_uint_eq(command(2, "DHTBfdl1", 8), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        use_crc = false;
        ask("7E", "");
        send_hex("7E");
        ck_assert_uint_gt(fetch(answer, sizeof(answer)), 8);
        ck_assert_uint_eq(start_at(PHONE_LK_FDL2_BASE, 8), 0x80);
        ck_assert_uint_eq(command(2, "DHTBfdl2", 8), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
        ck_assert_uint_eq(write_part("boot_a", "unsigned", 8), 0xD0);
        ck_assert_uint_eq(write_part("boot_a", "DHTBgood", 8), 0x80);
}
END_TEST

START_TEST(test_lk_half_a_system) {
        uint8_t got[4096];

        lk_fdl2("phone-lk,fast");
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(write_part("super", "abcd", 4), 0xA2);
        read_store("parts/super", 0, got, sizeof(got));
        for (size_t i = 0; i < sizeof(got); i++)
                ck_assert_uint_eq(got[i], 0);
}
END_TEST

static unsigned marked(unsigned type, const char *name, uint32_t size, uint32_t sum) {
        uint8_t p[80];

        name_to(p, name);
        p[70] = 0x31;
        put_le32(p + 72, size);
        put_le32(p + 76, sum);
        return command(type, p, type == 1 ? 80 : 76);
}

START_TEST(test_lk_slot_nv) {
        static const char *const copies[] = {"parts/nr_fixnv1_a", "parts/nr_fixnv2_a", "parts/nr_fixnv1_b",
                                             "parts/nr_fixnv2_b"};
        uint8_t got[4];

        lk_fdl2("phone-lk,fast,slot=b");
        /* Whatever slot is named, the active one is meant. */
        ck_assert_uint_eq(marked(1, "nr_fixnv1_a", 4, 10), 0x80);
        ck_assert_uint_eq(command(2, "\1\2\3\4", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        for (unsigned i = 0; i < 4; i++) {
                read_store(copies[i], 512, got, sizeof(got));
                ck_assert_int_eq(memcmp(got, "\1\2\3\4", 4) == 0, i >= 2);
        }
        ck_assert_uint_eq(marked(0x10, "nr_fixnv1", 4, 0), 0x80);
        ck_assert_uint_eq(read_piece(4, 0), 0x93);
        ck_assert_mem_eq(answer, "\1\2\3\4", 4);
        ck_assert_uint_eq(named(0x10, "nr_fixnv1_a", 4), 0x80);
        ck_assert_uint_eq(read_piece(4, 0), 0x93);
        ck_assert_mem_ne(answer, "\1\2\3\4", 4);
        /* U-Boot does not look at that unit: 35 characters count. */
        m = sim_free(m);
        tear_down();
        set_up();
        phone_fdl1_at("phone-ufs-ab,fast,slot=b", PHONE_AB_FDL1_BASE);
        ck_assert_uint_eq(start_fdl2(PHONE_AB_FDL2_BASE), 0x96);
        ck_assert_uint_eq(marked(1, "nr_fixnv1_a", 4, 10), 0x80);
        ck_assert_uint_eq(command(2, "\1\2\3\4", 4), 0x80);
        for (unsigned i = 0; i < 4; i++) {
                read_store(copies[i], 512, got, sizeof(got));
                ck_assert_mem_eq(got, "\1\2\3\4", 4);
        }
}
END_TEST

/* ---- autodloader ---- */

#define AUTOD_CRC "7E 00 81 00 0C 53 50 52 44 34 3A 41 75 74 6F 44 00 FD 8B 7E"
#define AUTOD_SUM "7E 00 81 00 0C 53 50 52 44 34 3A 41 75 74 6F 44 00 2B BF 7E"

START_TEST(test_autod) {
        SimUsb usb;

        plug("phone-emmc,autod", 1);
        use_crc = true;
        plain = false;
        sim_usb(m, &usb);
        ck_assert_str_eq(usb.product_name, "Gadget Serial");
        ck_assert_str_eq(usb.manufacturer, "spreadtrum with musb-hdrc");
        ck_assert_uint_eq(usb.bcd_device, 0x2416);
        ck_assert_uint_eq(usb.product, 0x4d00);
        ask("7E", AUTOD_CRC);
        ask("7E 00 00 00 00 00 00 7E", "7E 00 80 00 00 3B 5A 7E");
        ck_assert_uint_eq(start_at(0x12345678, 4), 0x80); /* any loader at any address: thrown away */
        ck_assert_uint_eq(command(2, "junk", 4), 0x80);
        ck_assert_uint_eq(command(2, "more than announced ", 20), 0x80);
        ck_assert_uint_eq(command(0x13, NULL, 0), 0x80);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0); /* unknown: ignored, not death */
        ask("7E 00 03 00 00 59 50 7E", "7E 00 80 00 00 3B 5A 7E");
        ask("7E 00 04 00 00 DC C0 7E", "7E 00 80 00 00 3B 5A 7E");
        use_crc = false;
        advance(400 * MS);
        ask("7E", AUTOD_SUM);
        ask("7E 00 00 00 00 FF FF 7E", "7E 00 80 00 00 FF 7F 7E");
        ck_assert_uint_eq(start_fdl2(0), 0x96);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
}
END_TEST

START_TEST(test_autod_two_execs) {
        plug("phone-ufs-ab,autod,fast", 1);
        use_crc = true;
        plain = false;
        ask("7E", AUTOD_CRC);
        ask("7E 00 04 00 00 DC C0 7E", "7E 00 80 00 00 3B 5A 7E");
        use_crc = false;
        ask("7E", AUTOD_SUM);
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
        /* With a whole boot chain a reset boots; without splloader it is ROM, not autodloader. */
        uint64_t delay;
        SimUsb usb;
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        ck_assert_uint_eq(command(5, NULL, 0), 0x80);
        advance(100 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_REENUMERATE);
        advance(delay);
        sim_usb(m, &usb);
        ck_assert_ptr_null(usb.product_name);
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        sim_power_off(m);
        sim_power_on(m, now, true);
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
}
END_TEST

START_TEST(test_autod_waits_for_the_port) {
        char err[128];

        m = sim_new("phone-emmc,autod", dir, 1, err, sizeof(err));
        sim_power_on(m, now, true);
        ck_assert(!sim_out_ready(m));
        advance(299999 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_STAY);
        advance(2 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_BOOT);
        sim_power_off(m);
        sim_power_on(m, now, true);
        sim_line_state(m, 1);
        advance(400000 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_STAY);
}
END_TEST

/* ---- second enumeration ---- */

START_TEST(test_second_enumeration) {
        uint64_t delay = 0;

        phone_rom("phone-ufs-ab,second-enum,drop-sync=0");
        ck_assert_uint_eq(start_at(PHONE_AB_FDL1_BASE, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        use_crc = false;
        advance(301 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_REENUMERATE);
        ck_assert_uint_eq(delay, 600 * MS);
        advance(delay);
        ck_assert(!sim_out_ready(m)); /* the port wants to be opened again */
        sim_line_state(m, 0x0601);
        ask("7E", "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B"
                  "20 76 65 72 73 69 6F 6E 20 31 2E 31 00 AA E9 7E");
        ck_assert_uint_eq(start_fdl2(PHONE_AB_FDL2_BASE), 0x96);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_STAY); /* once */
        m = sim_free(m);
        /* An autodloader stays where it is. */
        plug("phone-emmc,second-enum,autod", 1);
        use_crc = true;
        ask("7E", AUTOD_CRC);
        ask("7E 00 04 00 00 DC C0 7E", "7E 00 80 00 00 3B 5A 7E");
        advance(5000 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_STAY);
}
END_TEST

int main(void) {
        const TTest *const old[] = {test_old_knows_less, test_old_start, test_old_nv, test_old_boot_areas,
                                    test_old_repartition};
        const TTest *const lk[] = {test_lk_info, test_lk_words, test_lk_magic, test_lk_half_a_system, test_lk_slot_nv};
        const TTest *const ways[] = {test_autod, test_autod_two_execs, test_autod_waits_for_the_port,
                                     test_second_enumeration};
        Suite *s = suite_create("simmodel-old-lk");

        add_case(s, "phone-old", old, ELEMENTSOF(old));
        add_case(s, "phone-lk", lk, ELEMENTSOF(lk));
        add_case(s, "personalities", ways, ELEMENTSOF(ways));
        return run_suite(s);
}
