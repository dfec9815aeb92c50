/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"

/* What a faithful simulator must do, point by point, and which test asks for it. The tests of this file ask for what no
 * family's test does.
 *
 *   1 two checks, a wrong one is death      test_phone_bad_sum_is_death, test_phone_fdl2_bad_sum
 *   2 nothing before SET_CONTROL_LINE_STATE test_phone_needs_line_state, test_phone_line_state_options
 *   3 FDL1: START, overflow, END, EXEC      test_phone_fdl1_ugly, test_fdl1_exec_says_nothing
 *   4 ROM: ACK before the jump, refusals    test_phone_refusals, test_feature_refuses_loader
 *   5 delay and lost sync bytes after EXEC  test_lost_sync
 *   6 96 in both forms, gates               test_phone_info_forms, test_phone_gates, test_ab_info
 *   7 0D, CONNECT, unknown commands         test_phone_fdl2_unknown, test_nand_info, test_feature_panics
 *   8 escaping off                          test_phone_plain_mode
 *   9 when an OUT transfer ends             test_phone_transfer_ends, test_full_buffers
 *  10 ZLPs of replies, log frames           test_in_transfers, test_glued_logs_option, test_fault_kinds
 *  11 names, 64 bits by length              test_phone_start_sizes, test_long_names, test_ab_huge
 *  12 deferred writes                       test_phone_write, test_last_midst
 *  13 NV, prodnv, copies, slots             test_phone_nv*, test_ab_nv*, test_ab_mirror, test_lk_slot_nv
 *  14 sparse, userdata, tables              test_phone_sparse, test_phone_userdata, test_phone_repartition,
 *                                          test_ab_table
 *  15 raw data                              test_phone_raw, test_ab_raw, test_ab_raw_whole
 *  16 power off, reset                      test_phone_resets
 *  17 personalities                         test_autod*, test_second_enumeration, test_8910_pdl
 *  18 after a broken session                test_broken_session_* */

#define VER_ROM "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E"
#define VER_SUM                                                                                                        \
        "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B"                                \
        "20 76 65 72 73 69 6F 6E 20 31 2E 31 00 AA E9 7E"
#define ACK_CRC "7E 00 80 00 00 3B 5A 7E"
#define ACK_SUM "7E 00 80 00 00 FF 7F 7E"

static void exec_fdl1(const char *spec) {
        phone_rom(spec);
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ask("7E 00 03 00 00 59 50 7E", ACK_CRC);
        ask("7E 00 04 00 00 DC C0 7E", ACK_CRC);
        use_crc = false;
}

START_TEST(test_fdl1_exec_says_nothing) {
        phone_fdl1("phone-emmc,fdl2-start=3000,gate=silent");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 2), 0x80);
        ck_assert_uint_eq(command(2, "xy", 2), 0x80);
        ask("7E 00 03 00 00 FF FC 7E", ACK_SUM);
        ask("7E 00 04 00 00 FF FB 7E", ""); /* the first word would be FDL2's */
        m = sim_free(m);
        phone_fdl1("phone-emmc,fdl2-start=3000");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 2), 0x80);
        ck_assert_uint_eq(command(2, "xy", 2), 0x80);
        uint64_t before = now;
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
        ck_assert_uint_eq(now - before, 3000 * MS);
}
END_TEST

START_TEST(test_lost_sync) {
        exec_fdl1("phone-emmc,fdl1-start=2000,drop-sync=2");
        advance(1999 * MS);
        send_hex("7E"); /* waits in the controller */
        ck_assert(!sim_in_ready(m));
        advance(MS);
        expect_nothing();
        ask("7E", "");
        ask("7E", VER_SUM);
        m = sim_free(m);
        exec_fdl1("phone-emmc,fdl1-start=100,drop-sync=0");
        advance(100 * MS);
        ask("7E", VER_SUM);
}
END_TEST

/* A transfer ends when the buffer is full, too: 4096 bytes in FDL1, 65472 in FDL2. */
START_TEST(test_full_buffers) {
        static uint8_t frame[140000], data[70000];
        uint8_t got[64];
        size_t n;

        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 0x1000), 0x80);
        memset(data, 0x11, sizeof(data));
        n = build(2, data, 4088, frame);
        ck_assert_uint_eq(n, 4096);
        sim_out(m, frame, n, false); /* full: needs no ZLP */
        ck_assert_uint_eq(fetch(got, sizeof(got)), 8);
        m = sim_free(m);

        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(named(1, "boot", 0x20000), 0x80);
        n = build(2, data, 65464, frame);
        ck_assert_uint_eq(n, 65472);
        sim_out(m, frame, n, false);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 8);
        n = build(2, data, 65464 - 448, frame);
        ck_assert_uint_eq(n % 512, 0);
        sim_out(m, frame, n, false); /* not full: waits */
        ck_assert_uint_eq(fetch(got, sizeof(got)), 0);
        sim_out(m, NULL, 0, true);
        ck_assert_uint_eq(fetch(got, sizeof(got)), 8);
        /* Escaped, a frame takes more than one buffer: nothing is lost between them. */
        memset(data, 0x7E, sizeof(data));
        ck_assert_uint_eq(named(1, "boot", 0x20000), 0x80);
        ck_assert_uint_eq(command(2, data, 0xF000), 0x80);
}
END_TEST

START_TEST(test_long_names) {
        static const char table[] = "abcdefghijklmnopqrstuvwxyz012345678 4\nuserdata rest\n"; /* 35 characters */
        char path[96], spec[160];
        uint8_t p[76];

        write_beside(path, sizeof(path), table, sizeof(table) - 1);
        snprintf(spec, sizeof(spec), "phone-emmc,fast,nv=missing,unknown-part=early,table=%s", path);
        phone_fdl2(spec);
        unlink(path);
        name_to(p, "abcdefghijklmnopqrstuvwxyz012345678X"); /* 36: the last is not read */
        put_le32(p + 72, 4);
        ck_assert_uint_eq(command(1, p, sizeof(p)), 0x80);
        for (size_t i = 1; i < 72; i += 2)
                p[i] = 0x4E; /* nor are high bytes */
        ck_assert_uint_eq(command(1, p, sizeof(p)), 0x80);
        p[68] = 0;
        ck_assert_uint_eq(command(1, p, sizeof(p)), 0x96);
        ck_assert_uint_eq(command(1, p, 75), 0x96); /* shorter than 0x4C: no name at all */
}
END_TEST

START_TEST(test_last_midst) {
        static uint8_t data[0x10000];
        uint64_t before;

        phone_fdl2("phone-emmc,flash-rate=10000");
        pattern(data, sizeof(data), 2);
        fault("at=fdl2:midst:0xFFFF write-error");
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        before = now;
        ck_assert_uint_eq(all_midst(data, 0xF000, 0x1000), 0x80);
        ck_assert_uint_eq(now, before); /* into RAM, at once */
        ck_assert_uint_eq(command(2, data + 0xF000, 0x1000), 0xA2);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, 0xF000, 0x1000), 0x80);
        before = now;
        ck_assert_uint_eq(command(2, data + 0xF000, 0x1000), 0x80);
        ck_assert_uint_gt(now - before, 6500 * MS); /* 64 KiB at 10 kB/s */
        fault("at=fdl2:midst:0xFFFF nak=84");
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x1000), 0x84);
        fault("at=fdl2:midst:0xFFFF disconnect");
        ck_assert_uint_eq(named(1, "boot", sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x1000), 0);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_LEAVE);
}
END_TEST

/* The host died; another one opens the port again. */
static void new_host(void) {
        sim_line_state(m, 0x0600);
        sim_line_state(m, 0x0601);
}

START_TEST(test_broken_session_rom) {
        phone_rom("phone-emmc");
        ck_assert_uint_eq(start_at(0x5500, 0x100), 0x80);
        ck_assert_uint_eq(command(2, "half", 4), 0x80);
        new_host();
        /* It is connected and says VER no more; a new START begins again, a damaged frame is its end. */
        ask("7E", "");
        ask("7E 00 00 00 00 00 00 7E", ACK_CRC);
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        send_hex("7E 00 02 00 04 41");
        new_host();
        ask("7E", "7E 00 8B 00 00 CB AB 7E"); /* ends the frame that the first host began */
        ask("7E", "");
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        /* With option resync it starts afresh. */
        phone_rom("phone-emmc,resync");
        ck_assert_uint_eq(start_at(0x5500, 0x100), 0x80);
        new_host();
        ask("7E", VER_ROM);
        ask("7E 00 00 00 00 00 00 7E", ACK_CRC);
}
END_TEST

START_TEST(test_broken_session_fdl1) {
        phone_fdl1("phone-emmc");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 0x100), 0x80);
        ck_assert_uint_eq(command(2, "half", 4), 0x80);
        new_host();
        ask("7E", "");
        ask("7E 00 00 00 00 FF FF 7E", ACK_SUM); /* still FDL1: the sum tells */
        ck_assert_uint_eq(start_fdl2(0x9EFFFE00), 0x96);
        m = sim_free(m);
        /* A host that speaks CRC to it kills it. */
        phone_fdl1("phone-emmc");
        new_host();
        ask("7E 00 00 00 00 00 00 7E", "7E 00 8B 00 00 FF 74 7E");
        ask("7E", "");
}
END_TEST

START_TEST(test_broken_session_fdl2) {
        phone_fdl2("phone-emmc");
        ck_assert_uint_eq(named(1, "boot", 0x100), 0x80);
        ck_assert_uint_eq(command(2, "half", 4), 0x80);
        new_host();
        ask("7E", "");
        ask("7E 00 00 00 00 FF FF 7E", "7E 00 FE 00 00 FF 01 7E"); /* CONNECT: so this is FDL2 */
        ck_assert_uint_eq(named(1, "logo", 4), 0x80);
        ck_assert_uint_eq(command(2, "abcd", 4), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
}
END_TEST

/* What only some loaders know: each is there, can be absent, and takes no nonsense. */
START_TEST(test_later_commands) {
        static const uint8_t stamp[8] = {1, 2, 3, 4, 5, 6, 7, 8};
        uint8_t table[16 + 152] = {1, 0, 0, 0, 'p', 'a', 't', 'y', 16, 0, 0, 0, 152};

        phone_fdl2("phone-emmc,rf=0x1234,fast");
        ck_assert_uint_eq(command(0x24, NULL, 0), 0xB5);
        ck_assert_uint_eq(answer_size, 4);
        ck_assert_uint_eq(answer[0], 0x34); /* little-endian, unlike its siblings */
        ck_assert_uint_eq(command(0x2C, stamp, 8), 0x80);
        ck_assert_uint_eq(command(0x2C, stamp, 4), 0x84);
        ck_assert_uint_eq(command(0x22, stamp, 8), 0x80);
        ck_assert_uint_eq(command(0x14, table, sizeof(table)), 0x80);
        ck_assert_uint_eq(command(0x14, table, sizeof(table) - 2), 0x84); /* its last record is cut */
        table[8] = 15;
        ck_assert_uint_eq(command(0x14, table, sizeof(table)), 0x84); /* inside its own head */
        ck_assert_uint_eq(command(0x14, NULL, 0), 0x84);
        ck_assert_uint_eq(command(0x0D, NULL, 0), 0); /* eMMC: registered, never answered */
        m = sim_free(m);
        phone_fdl2("phone-emmc,fast,unknown-limit=0,ext-table=0,time-stamp=0,apr=0");
        ck_assert_uint_eq(command(0x14, table, sizeof(table)), 0xFE);
        ck_assert_uint_eq(command(0x2C, stamp, 8), 0xFE);
        ck_assert_uint_eq(command(0x22, stamp, 8), 0xFE);
        ck_assert_uint_eq(command(0x24, NULL, 0), 0xFE);
}
END_TEST

START_TEST(test_sector_option) {
        char err[256];

        ck_assert_ptr_null(sim_new("phone-emmc,sector=0", dir, 1, err, sizeof(err)));
        ck_assert_ptr_nonnull(strstr(err, "512 or 4096"));
        ck_assert_ptr_null(sim_new("phone-emmc,sector=1000", dir, 1, err, sizeof(err)));
}
END_TEST

/* The list for people names every family, and each comes up by its name alone. */
START_TEST(test_families) {
        static const char *const names[] = {"phone-emmc", "phone-ufs-ab", "phone-lk", "phone-old",
                                            "phone-nand", "feature-nor",  "uis8910",  "uis8850"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                ck_assert_ptr_nonnull(strstr(sim_help(), names[i]));
                plug(names[i], 1);
                ck_assert_str_eq(sim_family(m), names[i]);
                ck_assert(said("\"bootable\":true") || strncmp(names[i], "uis", 3) == 0);
                tear_down();
                set_up();
        }
}
END_TEST

int main(void) {
        const TTest *const tests[] = {test_fdl1_exec_says_nothing,
                                      test_lost_sync,
                                      test_full_buffers,
                                      test_long_names,
                                      test_last_midst,
                                      test_broken_session_rom,
                                      test_broken_session_fdl1,
                                      test_broken_session_fdl2,
                                      test_later_commands,
                                      test_sector_option,
                                      test_families};
        Suite *s = suite_create("simmodel-points");

        add_case(s, "points", tests, ELEMENTSOF(tests));
        return run_suite(s);
}
