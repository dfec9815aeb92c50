/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"
#include "usbsim/model/phone-table.h"

/* phone-emmc, and what all phones have in common. */

START_TEST(test_phone_to_fdl2) {
        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(answer_size, 256);
        ck_assert_uint_eq(get_le32(answer), 4);
        ck_assert_uint_eq(get_le32(answer + 4), 1);
        ck_assert_uint_eq(answer[8], 6);
        ck_assert_uint_eq(answer[9], 0);
        ck_assert_uint_eq(get_le32(answer + 16), 0x102);
        /* FDL2 took its time. */
        ck_assert_uint_ge(now, 2400 * MS);
        ask("7E 00 21 00 00 FF DE 7E", "7E 00 80 00 00 FF 7F 7E");
        plain = true;
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 30 * 76);
        ck_assert_mem_eq(answer, "p\0r\0o\0d\0n\0v\0\0", 14);
        ck_assert_uint_eq(get_le32(answer + 72), 10 * 1024);
        ck_assert(said("\"bootable\":true"));
}
END_TEST

START_TEST(test_phone_needs_line_state) {
        char err[128];

        m = sim_new("phone-emmc", dir, 1, err, sizeof(err));
        ck_assert_ptr_nonnull(m);
        ck_assert(!sim_out_ready(m));
        sim_power_on(m, now, true);
        ck_assert(!sim_out_ready(m));
        sim_line_state(m, 0x0600);
        ck_assert(!sim_out_ready(m));
        sim_line_state(m, 0x0601);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
}
END_TEST

START_TEST(test_phone_line_state_options) {
        plug("phone-emmc,line-state=none", 1);
        sim_power_on(m, now, true);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        m = sim_free(m);
        plug("phone-emmc,line-state=drop", 1);
        sim_power_on(m, now, true);
        ask("7E", "");
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
}
END_TEST

START_TEST(test_phone_bad_sum_is_death) {
        phone_rom("phone-emmc");
        ask("7E 00 03 00 00 59 51 7E", "7E 00 8B 00 00 CB AB 7E");
        send_hex("7E 00 00 00 00 00 00 7E");
        expect_nothing();
        ck_assert(!sim_out_ready(m)); /* its one buffer is never given back */
        m = sim_free(m);
        phone_fdl1("phone-emmc");
        ask("7E 00 03 00 00 FF FD 7E", "7E 00 8B 00 00 FF 74 7E");
        send_hex("7E 00 00 00 00 FF FF 7E");
        expect_nothing();
        /* A power cycle is the way out. */
        sim_power_off(m);
        sim_power_on(m, now, true);
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
}
END_TEST

START_TEST(test_phone_fdl2_bad_sum) {
        phone_fdl2("phone-emmc");
        ask("7E 00 05 00 00 FF FB 7E", "7E 00 8B 00 00 FF 74 7E");
        ask("7E 00 05 00 00 FF FA 7E", "");
}
END_TEST

START_TEST(test_phone_refusals) {
        phone_rom("phone-emmc,brom-refuse=a6");
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ask("7E 00 03 00 00 59 50 7E", "7E 00 A6 00 00 0F 3C 7E");
        m = sim_free(m);

        phone_rom("phone-emmc,brom-refuse=silent");
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        ask("7E", "");
        m = sim_free(m);

        phone_rom("phone-emmc,brom-refuse=drop");
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        advance(1000 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_LEAVE);
        m = sim_free(m);

        /* Loaded where it cannot run. */
        phone_rom("phone-emmc");
        ck_assert_uint_eq(start_at(0x5000, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        ask("7E", "");
}
END_TEST

START_TEST(test_phone_brom_window) {
        plug("phone-emmc,brom-window=2000", 1);
        advance(1999 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_STAY);
        advance(2 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_LEAVE);
        sim_power_off(m);
        sim_power_on(m, now, true);
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        advance(60000 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_STAY);
}
END_TEST

START_TEST(test_phone_second_enumeration) {
        static const char image[] = "code ##PORT-SECOND-ENUM## more";
        uint64_t delay = 0;

        phone_rom("phone-emmc,drop-sync=0");
        ck_assert_uint_eq(start_at(0x5500, sizeof(image) - 1), 0x80);
        ck_assert_uint_eq(command(2, image, sizeof(image) - 1), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        advance(301 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_REENUMERATE);
        ck_assert_uint_eq(delay, 600 * MS);
        ck_assert(!sim_out_ready(m));
        advance(600 * MS);
        ck_assert(!sim_out_ready(m)); /* the port must be opened again */
        sim_line_state(m, 0x0601);
        send_hex("7E");
        ck_assert(said("\"stage\":\"fdl1\""));
        uint8_t b[64];
        ck_assert_uint_gt(fetch(b, sizeof(b)), 8);
}
END_TEST

START_TEST(test_phone_fdl1_ugly) {
        uint8_t big[4100] = {0};

        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x5500, 4), 0); /* outside its RAM: mute */
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);

        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 4), 0x80);
        ck_assert_uint_eq(command(2, big, 6), 0x8A);
        ck_assert_uint_eq(command(2, big, 2), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80); /* bytes are missing: no matter */
        ck_assert_uint_eq(command(0x13, NULL, 0), 0x80);
        ck_assert_uint_eq(command(0x0D, NULL, 0), 0);
        ck_assert_uint_eq(command(0, NULL, 0), 0);
        m = sim_free(m);

        phone_fdl1("phone-emmc,no-keep-charge");
        ck_assert_uint_eq(command(0x13, NULL, 0), 0);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);

        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 0x10000), 0x80);
        ck_assert_uint_eq(command(2, big, 4090), 0x80);
        ck_assert_uint_eq(command(2, big, 4092), 0x8B); /* body above 4096 */
        ck_assert(said("\"hung\":true"));
}
END_TEST

START_TEST(test_phone_transfer_ends) {
        uint8_t frame[600], got[64];
        uint8_t data[504];
        size_t n;

        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 0x1000), 0x80);
        memset(data, 0x11, sizeof(data));
        n = build(2, data, sizeof(data), frame);
        ck_assert_uint_eq(n, 512);
        /* A multiple of wMaxPacketSize without a ZLP: the device waits for more. */
        sim_out(m, frame, n, false);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 0);
        sim_out(m, NULL, 0, true);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 8);
        /* One byte less, then the last: what vendor hosts do. */
        sim_out(m, frame, n - 1, false);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 0);
        sim_out(m, frame + n - 1, 1, false);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 8);
}
END_TEST

START_TEST(test_phone_fdl2_unknown) {
        phone_fdl2("phone-emmc");
        ask("7E 00 0D 00 00 FF F2 7E", "");                        /* never answered */
        ask("7E 00 00 00 00 FF FF 7E", "7E 00 FE 00 00 FF 01 7E"); /* CONNECT is not known here */
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0xFE);
        ck_assert_uint_eq(command(0x1A, NULL, 0), 0xAB);
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0xFE);
        ck_assert(!sim_out_ready(m)); /* mute */
        m = sim_free(m);
        phone_fdl2("phone-emmc,unknown-limit=5");
        for (int i = 0; i < 5; i++)
                ck_assert_uint_eq(command(0x0F, NULL, 0), 0xFE);
        m = sim_free(m);
        phone_fdl2("phone-emmc,unknown-limit=0");
        for (int i = 0; i < 20; i++)
                ck_assert_uint_eq(command(0x0F, NULL, 0), 0xFE);
}
END_TEST

START_TEST(test_phone_info_forms) {
        phone_fdl1("phone-emmc,info=tlv,storage=ufs");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
        ck_assert_mem_eq(answer,
                         "\x6e\x65\x77\x74\0\0\4\0\1\0\0\0\1\0\1\0\6\2\0\1\0\0\3\0\4\0\0\10\0\0\6\0\4\0\3\1\0\0", 38);
        ck_assert_uint_eq(answer_size, 38);
        m = sim_free(m);
        phone_fdl1("phone-emmc,info=ack");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        m = sim_free(m);
        phone_fdl1("phone-emmc,gate=silent");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0);
}
END_TEST

START_TEST(test_phone_gates) {
        phone_fdl2("phone-emmc,gate=auth");
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x80);
        plain = true;
        ck_assert_uint_eq(command(0x41, NULL, 0), 0xBD);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xFE);
        m = sim_free(m);
        phone_fdl2("phone-emmc,gate=challenge");
        ck_assert_uint_eq(command(0x2B, "0123456789abcdef0123456789abcdef", 32), 0xB9);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        phone_fdl2("phone-emmc,gate=write-protect");
        ck_assert_uint_eq(named(1, "logo", 4), 0xAC);
        ck_assert_uint_eq(command(0x0B, "x", 1), 0xAC);
        ck_assert_uint_eq(command(0x1B, NULL, 0), 0x80);
        ck_assert_uint_eq(named(1, "logo", 4), 0x80);
}
END_TEST

START_TEST(test_phone_plain_mode) {
        uint8_t frame[64] = {0}, b[64];
        size_t n;

        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x80);
        plain = true;
        ck_assert_uint_eq(named(1, "logo", 4), 0x80);
        /* 7E and 7D travel as they are; the first and last byte are not looked at. */
        n = build(2, (const uint8_t *) "\x7e\x7d\x00\x11", 4, frame);
        ck_assert_uint_eq(n, 12);
        ck_assert_mem_eq(frame, "\x7E\x00\x02\x00\x04\x7E\x7D\x00\x11\x81\x6B\x7E", 12);
        frame[0] = frame[n - 1] = 0x42;
        put(frame, n);
        ck_assert_uint_eq(fetch(b, sizeof(b)), 8);
        ck_assert_uint_eq(b[2], 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/logo", 0, b, 4);
        ck_assert_mem_eq(b, "\x7e\x7d\x00\x11", 4);
        /* Two frames in one transfer: the second is not seen. */
        n = build(0x1A, NULL, 0, frame);
        memcpy(frame + n, frame, n);
        put(frame, 2 * n);
        ck_assert_uint_gt(fetch(answer, sizeof(answer)), 8);
        expect_nothing();
}
END_TEST

START_TEST(test_phone_write) {
        static uint8_t data[100000], got[100000];

        phone_fdl2("phone-emmc");
        pattern(data, sizeof(data), 5);
        ck_assert_uint_eq(command(2, data, 4), 0x86);
        ck_assert_uint_eq(command(3, NULL, 0), 0x86);
        ck_assert_uint_eq(named(1, "boot", 33u << 20), 0x8A);
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        read_store("parts/boot", 0, got, 16);
        ck_assert_uint_eq(all_midst(data, 0x14000, 0x5000), 0x80);
        /* Still in RAM. */
        read_store("parts/boot", 0, got, 4);
        ck_assert_mem_ne(got, data, 4);
        uint64_t before = now;
        ck_assert_uint_eq(all_midst(data + 0x14000, sizeof(data) - 0x14000, 0x5000), 0x80);
        ck_assert_uint_gt(now, before + MS); /* the last ACK waits for the flash: 100 kB at 60 MB/s */
        read_store("parts/boot", 0, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(command(2, data, 2), 0x8A);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        /* Bytes are missing: END says so and flash is as it was. */
        ck_assert_uint_eq(named(1, "boot", 1000), 0x80);
        ck_assert_uint_eq(command(2, got + 500, 500), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        read_store("parts/boot", 0, got, 1000);
        ck_assert_mem_eq(got, data, 1000);
}
END_TEST

START_TEST(test_phone_start_sizes) {
        uint8_t p[0x58] = {0};

        phone_fdl2("phone-emmc");
        name_to(p, "logo");
        /* 64-bit by length alone: the high word counts. */
        put_le32(p + 72, 4);
        put_le32(p + 76, 1);
        ck_assert_uint_eq(command(1, p, 0x58), 0x8A);
        put_le32(p + 76, 0);
        ck_assert_uint_eq(command(1, p, 0x58), 0x80);
        /* Only low bytes of the name are read. */
        p[1] = 0x30;
        ck_assert_uint_eq(command(1, p, 0x4C), 0x80);
        /* Unknown names: late by default. */
        ck_assert_uint_eq(named(1, "nothing", 4), 0x80);
        ck_assert_uint_eq(command(2, "abcd", 4), 0x96);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        m = sim_free(m);
        phone_fdl2("phone-emmc,unknown-part=early,unknown-read=84");
        ck_assert_uint_eq(named(1, "nothing", 4), 0x96);
        ck_assert_uint_eq(named(0x10, "nothing", 4), 0x84);
}
END_TEST

START_TEST(test_phone_spl_and_bak) {
        static uint8_t data[8192], got[8192], twin[8192];

        phone_fdl2("phone-emmc");
        pattern(data, sizeof(data), 6);
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        read_store("boot1.bin", 0, got, 4096);
        for (int i = 0; i < 4096; i++)
                ck_assert_uint_eq(got[i], 0);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(named(1, "uboot", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x1000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/uboot_bak", 0, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(named(1, "splloader", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x1000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("boot1.bin", 0, got, sizeof(got));
        read_store("boot2.bin", 0, twin, sizeof(twin));
        ck_assert_mem_eq(got, twin, sizeof(got));
        ck_assert_mem_eq(got + 512, data + 512, sizeof(data) - 512);
        ck_assert_mem_ne(got, data, 512);
        ck_assert(said("\"bootable\":true"));
        /* A flipped bit in both copies: it comes back in ROM. */
        got[5000] ^= 1;
        write_store("boot1.bin", 0, got, sizeof(got));
        ck_assert(said("\"bootable\":true"));
        write_store("boot2.bin", 0, got, sizeof(got));
        ck_assert(said("\"bootable\":false"));
}
END_TEST

START_TEST(test_phone_resets) {
        uint64_t delay;

        phone_fdl2("phone-emmc");
        ask("7E 00 05 00 00 FF FA 7E", "7E 00 80 00 00 FF 7F 7E");
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_STAY);
        advance(100 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_BOOT);
        m = sim_free(m);
        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(named(0x0A, "splloader", 0), 0x80);
        ask("7E 00 05 00 00 FF FA 7E", "7E 00 80 00 00 FF 7F 7E");
        advance(100 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_REENUMERATE);
        advance(delay);
        sim_line_state(m, 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        m = sim_free(m);
        phone_fdl2("phone-emmc");
        ask("7E 00 17 00 00 FF E8 7E", "7E 00 80 00 00 FF 7F 7E");
        advance(3600000 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_STAY);
        ask("7E 00 17 00 00 FF E8 7E", "");
}
END_TEST

START_TEST(test_phone_nv) {
        static uint8_t data[4096], got[8192];
        uint32_t sum = 0;

        phone_fdl2("phone-emmc");
        /* What a new unit holds: an IMEI, the calibrated flag, the header in front of both copies only on disk. */
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x80);
        ck_assert_uint_eq(read_piece(0x1000, 0), 0x93);
        ck_assert_uint_eq(get_le16(answer + 4), 5);
        ck_assert_uint_eq(get_le16(answer + 6), 8);
        ck_assert_uint_eq(answer[8] & 0x0F, 0x0A);
        read_store("parts/l_fixnv1", 0, got, 1024);
        ck_assert_mem_eq(got, "VN\0\0", 4);
        ck_assert_mem_eq(got + 512, answer, 512);
        ck_assert_uint_eq(command(0x12, NULL, 0), 0x80);

        pattern(data, sizeof(data), 9);
        for (size_t i = 0; i < sizeof(data); i++)
                sum += data[i];
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), sum, false), 0xA0);
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), 0, true), 0xA0);
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), sum + 1, true), 0xA2);
        ck_assert_uint_eq(write_nv("l_fixnv1", data, sizeof(data), sum, true), 0x80);
        for (int copy = 1; copy <= 2; copy++) {
                read_store(copy == 1 ? "parts/l_fixnv1" : "parts/l_fixnv2", 0, got, 512 + sizeof(data));
                ck_assert_uint_eq(get_le32(got), 0x4E56);
                ck_assert_uint_eq(get_le32(got + 4), sizeof(data));
                ck_assert_uint_eq(get_le32(got + 8), sum);
                ck_assert_uint_eq(get_le32(got + 12), 101);
                ck_assert_mem_eq(got + 512, data, sizeof(data));
        }
        /* Longer than FIXNV_SIZE. */
        uint8_t p[80];
        name_to(p, "l_fixnv1");
        put_le32(p + 72, 0x100002);
        put_le32(p + 76, 1);
        ck_assert_uint_eq(command(1, p, 80), 0x8A);
}
END_TEST

START_TEST(test_phone_nv_repair) {
        uint8_t good[1024], got[1024];

        phone_fdl2("phone-emmc");
        read_store("parts/l_fixnv1", 0, good, sizeof(good));
        memcpy(got, good, sizeof(got));
        got[700] ^= 0x80;
        write_store("parts/l_fixnv1", 0, got, sizeof(got));
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x80);
        read_store("parts/l_fixnv1", 0, got, sizeof(got));
        ck_assert_mem_eq(got, good, sizeof(got));
        got[700] ^= 0x80;
        write_store("parts/l_fixnv1", 0, got, sizeof(got));
        write_store("parts/l_fixnv2", 0, got, sizeof(got));
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x84);
        /* Erasing one erases the other. */
        ck_assert_uint_eq(named(0x0A, "l_fixnv1", 0), 0x80);
        read_store("parts/l_fixnv2", 0, got, 4);
        ck_assert_mem_eq(got, "\0\0\0\0", 4);
}
END_TEST

START_TEST(test_phone_nv_damage) {
        phone_fdl2("phone-emmc,nv=twin-bad");
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x80);
        tear_down();
        set_up();
        phone_fdl2("phone-emmc,nv=both-bad");
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x84);
        tear_down();
        set_up();
        phone_fdl2("phone-emmc,nv=missing");
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x84);
        tear_down();
        set_up();
        phone_fdl2("phone-emmc,nv=bad");
        ck_assert_uint_eq(named(0x10, "l_fixnv1", 0x1000), 0x80);
        ck_assert_uint_eq(read_piece(8, 0), 0x93);
        ck_assert_uint_ge(get_le16(answer + 6), 0xFFF0);
}
END_TEST

START_TEST(test_phone_read) {
        static uint8_t want[0x8000];

        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(read_piece(16, 0), 0x84);
        ck_assert_uint_eq(named(0x10, "boot", 0x1000), 0x80);
        ck_assert_uint_eq(read_piece(0x10002, 0), 0x8A);
        ck_assert_uint_eq(read_piece(0x1000, 0x2000), 0x93);
        ck_assert_uint_eq(answer_size, 0x1000);
        read_store("parts/boot", 0x2000, want, 0x1000);
        ck_assert_mem_eq(answer, want, 0x1000);
        ck_assert_uint_eq(read_piece(0x1000, (32u << 20) - 0x800), 0x84);
        ck_assert_uint_eq(command(0x12, NULL, 0), 0x80);
        ck_assert_uint_eq(command(0x12, NULL, 0), 0x80);
        /* The GPT is really there. */
        ck_assert_uint_eq(named(0x10, "user_partition", 0x8000), 0x80);
        ck_assert_uint_eq(read_piece(0x3000, 0), 0x93);
        ck_assert_uint_eq(get_le16(answer + 510), 0xAA55);
        ck_assert_mem_eq(answer + 512, "EFI PART", 8);
        ck_assert_mem_eq(answer + 1024 + 56, "p\0r\0o\0d\0n\0v\0\0", 14);
        uint64_t lba = get_le64(answer + 1024 + 128 + 32); /* miscdata */
        ck_assert_uint_eq(read_piece(16, (uint32_t) lba * 512), 0x93);
        read_store("parts/miscdata", 0, want, 16);
        ck_assert_mem_eq(answer, want, 16);
        ck_assert_uint_eq(named(0x10, "boot_size", 64), 0x80);
        ck_assert_uint_eq(read_piece(64, 0), 0x93);
        ck_assert_mem_eq(answer, "size:boot_size: 0x2000000 block number: 0x10000", 47);
}
END_TEST

START_TEST(test_phone_prodnv_and_misc) {
        uint8_t data[0x82000], got[16];

        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(named(0x10, "prodnv", 16), 0x80);
        ck_assert_uint_eq(named(0x0A, "prodnv", 0), 0x80);
        ck_assert_uint_eq(named(0x10, "prodnv", 16), 0x84);
        memset(data, 0x5A, sizeof(data));
        ck_assert_uint_eq(named(1, "miscdata", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x5000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/miscdata", 0x81400, got, 16);
        ck_assert_uint_eq(got[0], 0);
        read_store("parts/miscdata", 0x2400, got, 16);
        ck_assert_uint_eq(got[0], 0);
        ck_assert_uint_eq(got[8], 0x5A);
}
END_TEST

/* A sparse image: 2 blocks raw, 3 filled, 1 skipped, of 4096. */
static size_t sparse(uint8_t *to) {
        size_t at = 28;

        memset(to, 0, 28);
        put_le32(to, 0xED26FF3A);
        put_le16(to + 4, 1);
        put_le16(to + 8, 28);
        put_le16(to + 10, 12);
        put_le32(to + 12, 4096);
        put_le32(to + 16, 6);
        put_le32(to + 20, 3);
        put_le32(to + at, 0xCAC1);
        put_le32(to + at + 4, 2);
        put_le32(to + at + 8, 12 + 8192);
        pattern(to + at + 12, 8192, 3);
        at += 12 + 8192;
        put_le32(to + at, 0xCAC2);
        put_le32(to + at + 4, 3);
        put_le32(to + at + 8, 16);
        put_le32(to + at + 12, 0x01020304);
        at += 16;
        put_le32(to + at, 0xCAC3);
        put_le32(to + at + 4, 1);
        put_le32(to + at + 8, 12);
        return at + 12;
}

START_TEST(test_phone_sparse) {
        static uint8_t image[16384], got[6 * 4096], old[4096];
        size_t n = sparse(image);

        phone_fdl2("phone-emmc,buffer=4k");
        read_store("parts/super", 5 * 4096, old, sizeof(old));
        ck_assert_uint_eq(named(1, "super", (uint32_t) n), 0x80);
        ck_assert_uint_eq(all_midst(image, n, 1000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/super", 0, got, sizeof(got));
        ck_assert_mem_eq(got, image + 40, 8192);
        for (int i = 0; i < 3 * 4096; i += 4)
                ck_assert_uint_eq(get_le32(got + 8192 + i), 0x01020304);
        ck_assert_mem_eq(got + 5 * 4096, old, 4096);
        /* A chunk that leads out of the partition. */
        put_le32(image + 28 + 12 + 8192 + 4, 0x7FFFFFFF);
        ck_assert_uint_eq(named(1, "cache", (uint32_t) n), 0x80);
        ck_assert_uint_eq(all_midst(image, n, 1000), 0x8A);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
}
END_TEST

START_TEST(test_phone_userdata) {
        uint8_t got[512];

        phone_fdl2("phone-emmc");
        read_store("parts/userdata", 65536, got, sizeof(got));
        ck_assert_uint_ne(got[0] | got[1] | got[2] | got[3], 0);
        ck_assert_uint_eq(named(1, "userdata", 4), 0x80);
        ck_assert_uint_eq(command(2, "abcd", 4), 0x80);
        read_store("parts/userdata", 65536, got, sizeof(got));
        ck_assert_uint_eq(got[0] | got[1] | got[2] | got[3], 0);
        read_store("parts/userdata", 0, got, 4);
        ck_assert_mem_eq(got, "abcd", 4);
}
END_TEST

static size_t preset_table(uint8_t *p) {
        size_t n = 0;

#define X(name, mib) name_to(p + n * 76, name), put_le32(p + n * 76 + 72, mib), n++;
        PHONE_TABLE(X)
#undef X
        return n * 76;
}

START_TEST(test_phone_repartition) {
        static uint8_t table[128 * 88 + 16], before[4096], after[4096], again[4096];
        size_t n = preset_table(table);

        phone_fdl2("phone-emmc");
        read_store("parts/boot", 0, before, sizeof(before));
        ck_assert_uint_eq(command(0x0B, table, n - 1), 0x96);
        /* The same table: nothing is lost. */
        ck_assert_uint_eq(command(0x0B, table, n), 0x80);
        read_store("parts/boot", 0, after, sizeof(after));
        ck_assert_mem_eq(before, after, sizeof(after));
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, n);
        /* miscdata grows: what lies behind it moves and is lost, prodnv in front stays. */
        put_le32(table + 76 + 72, 2);
        read_store("parts/prodnv", 0, before, sizeof(before));
        ck_assert_uint_eq(command(0x0B, table, n), 0x80);
        read_store("parts/prodnv", 0, again, sizeof(again));
        ck_assert_mem_eq(before, again, sizeof(again));
        read_store("parts/boot", 0, again, sizeof(again));
        ck_assert_uint_eq(again[0] | again[1] | again[600] | again[601], 0);
        /* v1, in KiB with a gap. */
        memset(table, 0, sizeof(table));
        memcpy(table, "par:\1\2\1\0tbl:", 12);
        put_le16(table + 12, 16);
        put_le16(table + 14, 2 * 88);
        name_to(table + 16, "one");
        put_le64(table + 16 + 72, 512);
        name_to(table + 16 + 88, "two");
        put_le64(table + 16 + 88 + 72, UINT64_MAX);
        put_le64(table + 16 + 88 + 80, 1024);
        ck_assert_uint_eq(command(0x0B, table, 16 + 2 * 88), 0x80);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 2 * 76);
        ck_assert_uint_eq(get_le32(answer + 72), 512);
        ck_assert_uint_eq(named(0x10, "user_partition", 0x8000), 0x80);
        ck_assert_uint_eq(read_piece(0x1000, 0), 0x93);
        ck_assert_uint_eq(get_le64(answer + 1024 + 32), 2048);
        ck_assert_uint_eq(get_le64(answer + 1024 + 128 + 32), 2048 + 1024 + 2048);
        ck_assert(!in_store("parts/boot"));
}
END_TEST

START_TEST(test_phone_erase_all) {
        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(named(0x0A, "erase_all", 0xFFFFFFFF), 0x80);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 0);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(named(0x10, "boot", 16), 0x96);
}
END_TEST

START_TEST(test_phone_kept_storage) {
        uint8_t a[64], b[64];

        phone_fdl2("phone-emmc,fast");
        ck_assert_uint_eq(named(1, "logo", 4), 0x80);
        ck_assert_uint_eq(command(2, "kept", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        m = sim_free(m);
        phone_fdl2("phone-emmc,fast");
        ck_assert_uint_eq(named(0x10, "logo", 4), 0x80);
        ck_assert_uint_eq(read_piece(4, 0), 0x93);
        ck_assert_mem_eq(answer, "kept", 4);
        /* Another seed is another unit. */
        read_store("parts/l_fixnv1", 512, a, sizeof(a));
        tear_down();
        set_up();
        plug("phone-emmc", 2);
        read_store("parts/l_fixnv1", 512, b, sizeof(b));
        ck_assert_mem_ne(a, b, 32);
}
END_TEST

START_TEST(test_phone_raw) {
        static uint8_t data[3 * 1024 * 1024], got[sizeof(data)];

        pattern(data, sizeof(data), 12);
        phone_fdl2("phone-emmc,fast,raw=1");
        ck_assert_uint_eq(answer[9], 1);
        ck_assert_uint_eq(get_le32(answer + 12), 2048);
        ck_assert_uint_eq(command(0x28, NULL, 0), 0x80);
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(command(0x31, NULL, 0), 0x80);
        sim_out(m, data, 2u << 20, false);
        expect_nothing(); /* a multiple of the packet size: it waits for the ZLP */
        sim_out(m, NULL, 0, true);
        expect_hex("7E 00 80 00 00 FF 7F 7E");
        ck_assert_uint_eq(command(0x31, NULL, 0), 0x80);
        fault("at=fdl2:raw-data write-error");
        sim_out(m, data + (2u << 20), 1u << 20, true);
        /* ACK first, then the error as one more frame. */
        expect_hex("7E 00 80 00 00 FF 7F 7E 7E 00 A2 00 00 FF 5D 7E");
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        m = sim_free(m);

        phone_fdl2("phone-emmc,fast,raw=2,info=tlv");
        ck_assert_uint_eq(command(0x28, "\0\0\0\0\0\0\0\0", 8), 0x80);
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(command(0x33, NULL, 0), 0x80);
        sim_out(m, data, 2u << 20, false); /* the exact length is armed: no ZLP */
        expect_hex("7E 00 80 00 00 FF 7F 7E");
        sim_out(m, data + (2u << 20), 1u << 20, false);
        expect_hex("7E 00 80 00 00 FF 7F 7E");
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("parts/boot", 0, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(got));
        ck_assert_uint_eq(named(1, "boot", 1000), 0x80);
        ck_assert_uint_eq(command(0x33, NULL, 0), 0x80);
        sim_out(m, data, 900, false);
        expect_hex("7E 00 8A 00 00 FF 75 7E");
        m = sim_free(m);
        phone_fdl2("phone-emmc,fast");
        ck_assert_uint_eq(command(0x28, NULL, 0), 0xFE);
}
END_TEST

START_TEST(test_phone_spl_shift_and_secure) {
        static uint8_t data[4096], got[8192];

        phone_fdl2("phone-emmc,fast,spl-head=shift");
        pattern(data, sizeof(data), 6);
        ck_assert_uint_eq(named(1, "splloader", 4u << 20), 0x8A);
        ck_assert_uint_eq(named(1, "splloader", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x1000), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("boot2.bin", 0, got, sizeof(got));
        ck_assert_mem_eq(got + 512, data, sizeof(data));
        ck_assert(said("\"bootable\":true"));
        tear_down();
        set_up();
        /* Signed images only: loaders of this test are not. */
        phone_fdl1("phone-emmc,fast,fdl1-base=0");
        m = sim_free(m);
        phone_rom("phone-emmc,fast,secure");
        ck_assert_uint_eq(start_at(0x5500, 8), 0x80);
        ck_assert_uint_eq(command(2, "DHTBfdl1", 8), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        use_crc = false;
        ask("7E", "");
        send_hex("7E");
        ck_assert_uint_gt(fetch(got, sizeof(got)), 8);
        ck_assert_uint_eq(start_at(0x9EFFFE00, 8), 0x80);
        ck_assert_uint_eq(command(2, "DHTBfdl2", 8), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
        ck_assert_uint_eq(named(1, "boot", 8), 0x80);
        ck_assert_uint_eq(command(2, "unsigned", 8), 0x84); /* at the last MIDST */
        ck_assert_uint_eq(named(1, "boot", 8), 0x80);
        ck_assert_uint_eq(command(2, "DHTBsign", 8), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
}
END_TEST

int main(void) {
        const TTest *const phone[] = {test_phone_to_fdl2,
                                      test_phone_needs_line_state,
                                      test_phone_line_state_options,
                                      test_phone_bad_sum_is_death,
                                      test_phone_fdl2_bad_sum,
                                      test_phone_refusals,
                                      test_phone_brom_window,
                                      test_phone_second_enumeration,
                                      test_phone_fdl1_ugly,
                                      test_phone_transfer_ends,
                                      test_phone_fdl2_unknown,
                                      test_phone_info_forms,
                                      test_phone_gates,
                                      test_phone_plain_mode,
                                      test_phone_write,
                                      test_phone_start_sizes,
                                      test_phone_spl_and_bak,
                                      test_phone_resets,
                                      test_phone_nv,
                                      test_phone_nv_repair,
                                      test_phone_nv_damage,
                                      test_phone_read,
                                      test_phone_prodnv_and_misc,
                                      test_phone_sparse,
                                      test_phone_userdata,
                                      test_phone_repartition,
                                      test_phone_erase_all,
                                      test_phone_kept_storage,
                                      test_phone_raw,
                                      test_phone_spl_shift_and_secure};
        Suite *s = suite_create("simmodel-phone");

        add_case(s, "phone", phone, ELEMENTSOF(phone));
        return run_suite(s);
}
