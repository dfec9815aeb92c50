/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"
#include "usbsim/model/feature-table.h"

/* feature-nor: logical ids, one or two loaders, panic on what is unknown. */

#define VER_SUM                                                                                                        \
        "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B"                                \
        "20 76 65 72 73 69 6F 6E 20 31 2E 31 00 AA E9 7E"
#define ACK_SUM "7E 00 80 00 00 FF 7F 7E"

enum { OFFSET_PS = 0x10000, OFFSET_NV = 0x360000, OFFSET_RUNNING = 0x390000 };

static void two_loaders(const char *spec) {
        phone_fdl1_at(spec, FEATURE_FDL1_BASE);
        ck_assert_uint_eq(start_at(FEATURE_FDL2_BASE, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ask("7E 00 04 00 00 FF FB 7E", ACK_SUM); /* FDL2's first word */
}

static unsigned download(uint32_t id, const void *p, size_t n) {
        unsigned r = start_at(id, (uint32_t) n);

        if (r == 0x80)
                r = all_midst(p, n, 0x800);
        return r == 0x80 ? command(3, NULL, 0) : r;
}

START_TEST(test_feature_one_loader) {
        char err[128];

        /* No SET_CONTROL_LINE_STATE is needed. */
        m = sim_new("feature-nor,loaders=1", dir, 1, err, sizeof(err));
        ck_assert_ptr_nonnull(m);
        sim_power_on(m, now, true);
        use_crc = true;
        rda_sums = plain = false;
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        ask("7E 00 00 00 00 00 00 7E", "7E 00 80 00 00 3B 5A 7E");
        ck_assert_uint_eq(start_at(FEATURE_FDL_BASE, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL ", 4), 0x80);
        ask("7E 00 03 00 00 59 50 7E", "7E 00 80 00 00 3B 5A 7E");
        ask("7E 00 04 00 00 DC C0 7E", "7E 00 80 00 00 3B 5A 7E");
        use_crc = false;
        advance(200 * MS);
        ask("7E", "");
        ask("7E", VER_SUM);
        ask("7E 00 00 00 00 FF FF 7E", ACK_SUM);
        ck_assert(said("\"stage\":\"fdl2\""));
        ask("7E 00 06 00 0C 80 00 00 03 00 00 00 02 00 00 00 00 7E", "7E 00 8B 00 00 FF 74 7E"); /* a wrong sum */
        ck_assert(said("\"hung\":true"));
}
END_TEST

START_TEST(test_feature_two_loaders) {
        uint8_t got[0x800];

        two_loaders("feature-nor");
        /* The frame of the protocol description. */
        send_hex("7E 00 06 00 0C 80 00 00 03 00 00 08 00 00 00 00 00 77 EA 7E");
        ck_assert_uint_gt(fetch(answer, sizeof(answer)), 0x800);
        ck_assert_mem_eq(answer, "\x7E\x00\x93\x08\x00", 5);
        ck_assert_uint_eq(read_at(0x80000003, 0x800, 0), 0x93);
        read_store("flash.bin", OFFSET_PS, got, sizeof(got));
        ck_assert_mem_eq(answer, got, sizeof(got));
        ask("7E 00 0F 00 00 FF F0 7E", "7E 00 9C 00 04 00 00 10 00 EF 5F 7E"); /* sectors of 4096 */
        ck_assert_uint_eq(command(7, NULL, 0), 0x94);
        ck_assert_mem_eq(answer, "\x65\x31\xe0\x00", 4);
        ck_assert_uint_eq(command(0x0B, NULL, 0), 0x80); /* does nothing */
        ck_assert_uint_eq(command(0, NULL, 0), 0x80);
        m = sim_free(m);
        phone_fdl1_at("feature-nor,info=empty", FEATURE_FDL1_BASE);
        ck_assert_uint_eq(start_fdl2(FEATURE_FDL2_BASE), 0x96);
        ck_assert_uint_eq(answer_size, 0);
}
END_TEST

START_TEST(test_feature_panics) {
        static const uint8_t unknown[] = {0x0D, 0x10, 0x1A, 0x21, 0x2D};

        for (size_t i = 0; i < sizeof(unknown); i++) {
                two_loaders("feature-nor,fast,drop-sync=1");
                ck_assert_uint_eq(command(unknown[i], NULL, 0), 0);
                ck_assert_uint_eq(command(0, NULL, 0), 0);
                ck_assert(said("panic"));
                m = sim_free(m);
        }
        phone_fdl1_at("feature-nor", FEATURE_FDL1_BASE);
        ck_assert_uint_eq(command(0x13, NULL, 0), 0);
        ck_assert(said("panic"));
        m = sim_free(m);
        phone_fdl1_at("feature-nor", FEATURE_FDL1_BASE);
        ck_assert_uint_eq(start_at(0x80000000, 4), 0);
        ck_assert(said("\"hung\":true"));
}
END_TEST

START_TEST(test_feature_refuses_loader) {
        phone_rom("feature-nor,brom-refuse=a6");
        ck_assert_uint_eq(start_at(FEATURE_FDL1_BASE, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ask("7E 00 03 00 00 59 50 7E", "7E 00 A6 00 00 0F 3C 7E");
        m = sim_free(m);
        phone_rom("feature-nor");
        ck_assert_uint_eq(start_at(FEATURE_FDL_BASE, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x80);
        ask("7E", ""); /* loaded where it does not run */
}
END_TEST

START_TEST(test_feature_write) {
        static uint8_t data[0x3000], got[0x4000], old[0x1000];

        two_loaders("feature-nor,fast");
        pattern(data, sizeof(data), 1);
        ck_assert_uint_eq(command(2, data, 4), 0x86);
        ck_assert_uint_eq(command(3, NULL, 0), 0x86);
        ck_assert_uint_eq(start_at(0x12345678, 4), 0x89);
        ck_assert_uint_eq(start_at(0x60000000, 4), 0x89); /* nothing has an address but by id */
        ck_assert_uint_eq(start_at(0x90000003, 4), 0x89); /* can be erased only */
        ck_assert_uint_eq(start_at(0x80000000, 0x10001), 0x8A);
        ck_assert_uint_eq(start_at(0x80000000, 0), 0x8A);
        /* START erases whole sectors. */
        read_store("flash.bin", OFFSET_PS, old, sizeof(old));
        ck_assert_uint_eq(start_at(0x80000003, 0x801), 0x80);
        read_store("flash.bin", OFFSET_PS, got, 0x1000);
        for (size_t i = 0; i < 0x1000; i++)
                ck_assert_uint_eq(got[i], 0xFF);
        ck_assert_uint_eq(command(2, data, 0x800), 0x80);
        ck_assert_uint_eq(command(2, data, 2), 0x8A);
        ck_assert_uint_eq(command(3, NULL, 0), 0x88); /* one byte is missing */
        ck_assert_uint_eq(download(0x80000003, data, sizeof(data)), 0x80);
        read_store("flash.bin", OFFSET_PS, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(read_at(0x80000003, 0x100, 0x1D0000), 0x8A);
        ck_assert_uint_eq(read_at(0x12345678, 0x100, 0), 0x89);
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(download(0x90000004, data, 16), 0xA2);
}
END_TEST

START_TEST(test_feature_nv) {
        static uint8_t data[0x1000], got[0x1000], old[0x1000];
        uint8_t p[12];
        uint32_t sum = 0;

        two_loaders("feature-nor,fast");
        pattern(data, sizeof(data), 2);
        for (size_t i = 0; i < sizeof(data); i++)
                sum += data[i];
        ck_assert_uint_eq(read_at(0x90000001, 0x1000, 0), 0x93);
        ck_assert_uint_eq(get_le16(answer + 4), 5); /* the first IMEI */
        ck_assert_uint_eq(get_le16(answer + 6), 8);
        read_store("flash.bin", OFFSET_NV, old, sizeof(old));
        put_be32(p, 0x90000001);
        put_be32(p + 4, sizeof(data));
        for (unsigned i = 0; i < 3; i++) {
                put_be32(p + 8, i == 0 ? 0 : i == 1 ? sum + 1 : sum);
                ck_assert_uint_eq(command(1, p, 12), 0x80);
                ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
                read_store("flash.bin", OFFSET_NV, got, sizeof(got));
                ck_assert_mem_eq(got, old, sizeof(got)); /* kept until the new one is whole and good */
                ck_assert_uint_eq(command(3, NULL, 0), i == 0 ? 0xA0 : i == 1 ? 0xA1 : 0x80);
        }
        read_store("flash.bin", OFFSET_NV, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(got));
        ck_assert_uint_eq(download(0x90000001, old, sizeof(old)), 0x80); /* without a checksum too */
        m = sim_free(m);
        tear_down();
        set_up();
        two_loaders("feature-nor,fast,nv-endian=be");
        ck_assert_uint_eq(read_at(0x90000001, 16, 0), 0x93);
        ck_assert_mem_eq(answer + 4, "\0\5\0\10", 4);
}
END_TEST

START_TEST(test_feature_erase) {
        uint8_t got[16];

        two_loaders("feature-nor,fast");
        read_store("flash.bin", OFFSET_RUNNING, got, sizeof(got));
        ck_assert_mem_ne(got, "\xff\xff\xff\xff", 4);
        ask("7E 00 0A 00 08 90 00 00 03 00 00 00 00 6F EA 7E", ACK_SUM);
        read_store("flash.bin", OFFSET_RUNNING, got, sizeof(got));
        ck_assert_mem_eq(got, "\xff\xff\xff\xff", 4);
        ck_assert_uint_eq(erase_at(0x12345678, 0), 0x89);
        ck_assert(said("\"bootable\":true"));
        ck_assert_uint_eq(erase_at(0, 0xFFFFFFFF), 0x80);
        ck_assert(said("\"bootable\":false"));
        ck_assert_uint_eq(download(0x80000000, "boot", 4), 0x80);
        ck_assert_uint_eq(download(0x80000003, "ps  ", 4), 0x80);
        ck_assert(said("\"bootable\":true"));
        ask("7E 00 05 00 00 FF FA 7E", ACK_SUM);
        advance(100 * MS);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_BOOT);
}
END_TEST

START_TEST(test_feature_slow_flash) {
        static uint8_t data[0x1000];
        uint64_t before;

        two_loaders("feature-nor");
        before = now;
        ck_assert_uint_eq(start_at(0x80000003, 0x100000), 0x80); /* erases a megabyte */
        ck_assert_uint_gt(now - before, 400 * MS);
        before = now;
        ck_assert_uint_eq(command(2, data, 0x800), 0x80);
        ck_assert_uint_gt(now - before, 3 * MS);
}
END_TEST

START_TEST(test_feature_options) {
        char err[256];

        ck_assert_ptr_null(sim_new("feature-nor,loaders=3", dir, 1, err, sizeof(err)));
        ck_assert_ptr_nonnull(strstr(err, "1 or 2"));
        ck_assert_ptr_null(sim_new("feature-nor,nv=twin-bad", dir, 1, err, sizeof(err)));
        ck_assert_ptr_null(sim_new("feature-nor,table=x", dir, 1, err, sizeof(err)));
}
END_TEST

int main(void) {
        const TTest *const tests[] = {test_feature_one_loader,     test_feature_two_loaders, test_feature_panics,
                                      test_feature_refuses_loader, test_feature_write,       test_feature_nv,
                                      test_feature_erase,          test_feature_slow_flash,  test_feature_options};
        Suite *s = suite_create("simmodel-feature");

        add_case(s, "feature-nor", tests, ELEMENTSOF(tests));
        return run_suite(s);
}
