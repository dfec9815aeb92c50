/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-host.h"

/* What all simulated units have in common: frames, faults, options, hostile hosts, the channel. */

static void frame_is(unsigned type, const char *payload, const char *want) {
        uint8_t p[256], got[512], w[512];
        size_t n = build(type, p, from_hex(payload, p), got), k = from_hex(want, w);

        ck_assert_uint_eq(n, k);
        ck_assert_mem_eq(got, w, n);
}

START_TEST(test_worked_frames) {
        rda_sums = plain = false;
        use_crc = true;
        frame_is(3, "", "7E 00 03 00 00 59 50 7E");
        frame_is(1, "00005500 0000B000", "7E 00 01 00 08 00 00 55 00 00 00 B0 00 DC 2E 7E");
        frame_is(2, "7E7D0011", "7E 00 02 00 04 7D 5E 7D 5D 00 11 91 83 7E");
        use_crc = false;
        frame_is(4, "", "7E 00 04 00 00 FF FB 7E");
        frame_is(2, "414243", "7E 00 02 00 03 41 42 43 B8 7B 7E");
        frame_is(2, "41424300", "7E 00 02 00 04 41 42 43 00 7B B7 7E");
        rda_sums = true;
        frame_is(2, "7e7d01", "7e000200037d5e7d5d01807d5d7e");
        frame_is(0x0A, "fe00000653595346", "7e000a0008fe000006535953465b477e");
        rda_sums = false;
}
END_TEST

#define CONNECT "7e00000000ffff7e"
#define ACK "7e00800000ff7f7e"

START_TEST(test_fault_kinds) {
        uint8_t got[256];
        size_t n;
        uint64_t before;

        fdl_8850("uis8850,fast");
        fault("at=fdl2:connect silence");
        ask(CONNECT, "");
        ask(CONNECT, ACK);
        fault("at=fdl2:connect bad-sum");
        ask(CONNECT, "7e00800000aa7f7e");
        fault("at=fdl2:connect nak=84");
        ask(CONNECT, "7e00840000ff7b7e");
        fault("at=fdl2:connect garbage");
        send_hex(CONNECT);
        n = fetch(got, sizeof(got));
        ck_assert_uint_eq(n, 8);
        ck_assert_uint_ne(got[0], 0x7E);
        fault("at=fdl2:connect truncate");
        ask(CONNECT, "7e008000");
        fault("at=fdl2:connect drop-ack");
        ask(CONNECT, "");
        fault("at=fdl2:connect glue-log");
        send_hex(CONNECT);
        n = fetch(got, sizeof(got));
        ck_assert_uint_gt(n, 16);
        ck_assert_mem_eq(got, "\x7e\x00\xff", 3);
        ck_assert_mem_eq(got + n - 8, "\x7e\x00\x80\x00\x00\xff\x7f\x7e", 8);
        fault("at=fdl2:connect unsolicited-log");
        send_hex(CONNECT);
        bool end;
        n = sim_in(m, got, sizeof(got), &end);
        ck_assert(end);
        ck_assert_mem_eq(got, "\x7e\x00\xff", 3);
        expect_hex(ACK);
        fault("at=fdl2:connect slow=500");
        before = now;
        ask(CONNECT, ACK);
        ck_assert_uint_eq(now - before, 500 * MS);
        fault("at=fdl2:connect late=500");
        send_hex(CONNECT);
        ask("7e000c0000fff37e", "7e00820000ff7d5d7e"); /* the next answer passes it */
        before = now;
        expect_hex(ACK);
        ck_assert_uint_eq(now - before, 500 * MS);
        fault("at=fdl2:connect stall=500");
        send_hex(CONNECT);
        ck_assert(!sim_out_ready(m));
        expect_hex(ACK);
        ck_assert(sim_out_ready(m));
        fault("at=fdl2:connect disconnect");
        send_hex(CONNECT);
        ck_assert_int_eq(sim_take_wish(m, NULL), SIM_LEAVE);
        ck_assert(said("\"on_bus\":false"));
}
END_TEST

START_TEST(test_fault_ends) {
        uint64_t delay;

        fdl_8850("uis8850,fast");
        fault("at=fdl2:connect disconnect=700");
        send_hex(CONNECT);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_REENUMERATE);
        ck_assert_uint_eq(delay, 700 * MS);
        advance(delay);
        ask(CONNECT, ACK);
        fault("at=fdl2:connect hang-after-ack");
        ask(CONNECT, ACK);
        ask(CONNECT, "");
        m = sim_free(m);
        fdl_8850("uis8850,fast");
        fault("at=fdl2:connect stall");
        send_hex(CONNECT);
        ck_assert(!sim_out_ready(m));
        expect_nothing();
}
END_TEST

START_TEST(test_fault_points) {
        uint8_t b[256] = {1};

        fdl_8850("uis8850,fast,fault=at=fdl2:midst:600+nak=84");
        ck_assert_uint_eq(start_at(0x60200000, 1024), 0x80);
        ck_assert_uint_eq(command(2, b, 256), 0x80);
        ck_assert_uint_eq(command(2, b, 256), 0x80);
        ck_assert_uint_eq(command(2, b, 256), 0x84); /* the one that carries byte 600 */
        fault("at=fdl2:start:#3 nak=89 count=2");
        ck_assert_uint_eq(start_at(0x60200000, 4), 0x80);
        ck_assert_uint_eq(start_at(0x60200000, 4), 0x89);
        ck_assert_uint_eq(start_at(0x60200000, 4), 0x89);
        ck_assert_uint_eq(start_at(0x60200000, 4), 0x80);
        fault("at=*:* nak=8d count=forever");
        for (int i = 0; i < 5; i++)
                ck_assert_uint_eq(command(0, NULL, 0), 0x8D);
        fault("clear");
        ck_assert_uint_eq(command(0, NULL, 0), 0x80);
        char err[128];
        ck_assert(!sim_fault(m, "at=fdl2:nonsense nak=84", err, sizeof(err)));
        ck_assert(!sim_fault(m, "at=fdl9:start nak=84", err, sizeof(err)));
        ck_assert(!sim_fault(m, "at=fdl2:start nak", err, sizeof(err)));
        ck_assert(!sim_fault(m, "at=fdl2:start silence nak=84", err, sizeof(err)));
        ck_assert(!sim_fault(m, "nak=84", err, sizeof(err)));
        ck_assert(!sim_fault(m, "at=fdl2:start", err, sizeof(err)));
        ck_assert_int_gt((int) strlen(err), 10);
}
END_TEST

START_TEST(test_fault_flash) {
        static uint8_t b[4096];

        fdl_8850("uis8850,fast");
        pattern(b, sizeof(b), 4);
        fault("at=fdl2:end write-error");
        ck_assert_uint_eq(start_at(0x60200000, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(2, b, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        fault("at=fdl2:end bad-readback");
        ck_assert_uint_eq(start_at(0x60200000, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(2, b, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x8B);
        fault("at=fdl2:read bad-readback");
        ck_assert_uint_eq(start_at(0x60200000, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(2, b, sizeof(b)), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(read_at(0x60200000, 64, 0), 0x93);
        ck_assert_mem_ne(answer, b, 64);
        ck_assert_uint_eq(read_at(0x60200000, 64, 0), 0x93);
        ck_assert_mem_eq(answer, b, 64);
        tear_down();
        set_up();
        phone_fdl2("phone-emmc,fast");
        fault("at=fdl2:midst write-error");
        ck_assert_uint_eq(named(1, "logo", 4), 0x80);
        ck_assert_uint_eq(command(2, "abcd", 4), 0xA2);
        ck_assert_uint_eq(command(3, NULL, 0), 0x84);
        fault("at=fdl2:read-midst:100 bad-readback");
        ck_assert_uint_eq(named(0x10, "boot", 4), 0x80);
        uint8_t want[128];
        read_store("parts/boot", 64, want, 64);
        ck_assert_uint_eq(read_piece(64, 0), 0x93);
        ck_assert_uint_eq(read_piece(64, 64), 0x93);
        ck_assert_mem_ne(answer, want, 64);
}
END_TEST

START_TEST(test_fault_sync_pdl_exec) {
        plug("uis8910,fast,fault=at=pdl:pdl-connect+silence,fault=at=fdl1:sync+drop-ack", 4);
        pdl("ae0c000000ff0000", "000000000000000000000000", NULL, 0);
        expect_nothing();
        pdl("ae0c000000ff0000", "000000000000000000000000", NULL, 0);
        expect_hex(PDL_ACK);
        m = sim_free(m);
        phone_fdl1("phone-emmc,fault=at=fdl1:exec+bad-sum");
        ck_assert_uint_eq(start_at(0x9EFFFE00, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        send_hex("7E 00 04 00 00 FF FB 7E");
        uint8_t got[512];
        ck_assert_uint_gt(fetch(got, sizeof(got)), 256);
        ck_assert_uint_eq(got[2], 0x96);
        ck_assert(said("\"faults_hit\":1"));
}
END_TEST

START_TEST(test_tables_from_files) {
        char path[224], spec[320];
        static const char table[] = "# small\nprodnv 2\nboot 4\nuserdata rest\n", items[] = "5 8\n0x2 6020\n0x55 100\n";
        static uint8_t image[0x28000];

        write_beside(path, sizeof(path), table, sizeof(table) - 1);
        snprintf(spec, sizeof(spec), "phone-emmc,fast,table=%s", path);
        phone_fdl2(spec);
        unlink(path);
        ck_assert_uint_eq(command(0x2D, NULL, 0), 0xBA);
        ck_assert_uint_eq(answer_size, 3 * 76);
        ck_assert_uint_eq(get_le32(answer + 76 + 72), 4096);
        tear_down();
        set_up();
        write_beside(path, sizeof(path), items, sizeof(items) - 1);
        snprintf(spec, sizeof(spec), "uis8850,fast,nv=%s", path);
        fdl_8850(spec);
        unlink(path);
        read_nv(image, sizeof(image));
        ck_assert_uint_eq(get_le16(image + find_item(image, sizeof(image), 0x55) + 2), 100);
        ck_assert_uint_eq(find_item(image, sizeof(image), 0x26E), 0);
}
END_TEST

/* A power loss in the middle: what was not programmed is not there, and what lived in RAM is gone. */
START_TEST(test_power_loss) {
        static uint8_t data[0x18000], got[0x18000];

        fdl_8850("uis8850");
        pattern(data, sizeof(data), 2);
        ck_assert_uint_eq(start_at(0x60300000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        sim_power_off(m);
        read_store("flash.bin", 0x300000, got, sizeof(got));
        ck_assert_mem_eq(got, data, 0x10000);
        ck_assert_uint_eq(got[0x10000], 0xFF);
        tear_down();
        set_up();
        fdl2_8910("uis8910,fast");
        ck_assert_uint_eq(erase_at(0, 0xFFFFFFFF), 0x80);
        sim_power_off(m);
        sim_power_on(m, now, true);
        ck_assert(!in_store("FFAC/imei.bin"));
        ck_assert(said("\"bootable\":false"));
}
END_TEST

START_TEST(test_resync) {
        plug("uis8850,resync", 1);
        ask("7e7e7e", "7e00810006535052443300570a7e");
        ask("7e0000000000007e", "7e008000003b5a7e");
        ask("7e7e7e", "7e00810006535052443300570a7e");
        m = sim_free(m);
        plug("uis8850", 1);
        ask("7e7e7e", "7e00810006535052443300570a7e");
        ask("7e0000000000007e", "7e008000003b5a7e");
        ask("7e7e7e", "");
        ask("7e0000000000007e", "7e008000003b5a7e");
        m = sim_free(m);
        tear_down();
        set_up();
        phone_rom("phone-emmc,resync");
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        m = sim_free(m);
        phone_rom("phone-emmc");
        ask("7E", "");
        ask("7E 00 00 00 00 00 00 7E", "7E 00 80 00 00 3B 5A 7E");
        m = sim_free(m);
        /* Late sync bytes before CONNECT give late VERs. */
        plug("phone-emmc", 1);
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
}
END_TEST

/* Random commands with random payloads, valid checksums and often plausible numbers: the model must live, whatever the
 * unit does. */
static void throw_at_it(unsigned seed, unsigned rounds) {
        static const uint8_t types[] = {0,    1,    1,    1,    2,    2,    2,    2,    3,
                                        3,    6,    6,    0x0A, 0x0A, 0x0B, 0x10, 0x11, 0x11,
                                        0x12, 0x2D, 0x25, 0x2A, 0x28, 0x31, 0x33, 0x29, 0x0D};
        static const char *const names[] = {"boot",     "l_fixnv1", "splloader", "user_partition",
                                            "userdata", "x_size",   "vbmeta",    "",
                                            "uboot",    "uboot_a",  "nr_fixnv1", "nr_fixnv1_b"};
        static const uint32_t addresses[] = {0x60000000, 0x60000FFF, 0xFE000003, 0xFE000004, 0xFE000002, 0xFE000006,
                                             0,          0x607FF000, 0x80000003, 0x90000001, 0x90000002, 0x90000003};
        static uint8_t payload[4096], frame[16384], got[131072];
        uint8_t dice[8];

        for (unsigned i = 0; i < rounds; i++) {
                size_t n;

                pattern(dice, sizeof(dice), seed * 7919 + i);
                pattern(payload, sizeof(payload), seed + i * 31);
                n = get_le16(dice) % (dice[7] & 1 ? 100 : 3000);
                if (dice[2] & 1) {
                        name_to(payload, names[dice[3] % ELEMENTSOF(names)]);
                        put_le32(payload + 72, get_le16(dice + 4));
                        n = dice[2] & 2 ? 76 : 80;
                } else if (dice[2] & 4) {
                        put_be32(payload, addresses[dice[3] % ELEMENTSOF(addresses)]);
                        put_be32(payload + 4, dice[4] & 1 ? get_le16(dice + 4) : 0xFFFFFFF0 + (dice[5] & 15));
                        n = dice[2] & 2 ? 8 : 12;
                } else if (dice[2] & 8)
                        put_le32(payload, 0xED26FF3A);
                n = build(types[dice[6] % sizeof(types)], payload, n, frame);
                if (sim_out_ready(m))
                        sim_out(m, frame, n, n % 512 == 0);
                (void) fetch(got, sizeof(got));
                if (dice[1] == 7)
                        sim_out(m, payload, dice[0], true);
        }
}

/* FDL2 of a unit of any phone or feature phone. */
static void to_fdl2(const char *spec, uint32_t fdl1, uint32_t fdl2) {
        phone_fdl1_at(spec, fdl1);
        (void) start_fdl2(fdl2);
}

static void attack(unsigned seed, unsigned rounds) {
        char json[8192];

        throw_at_it(seed, rounds);
        ck_assert_uint_gt(sim_describe(m, json, sizeof(json)), 100);
        ck_assert_uint_lt(sim_describe(m, json, 50), 50);
        tear_down();
        set_up();
}

START_TEST(test_hostile) {
        for (unsigned round = 0; round < 2; round++) {
                fdl_8850("uis8850,fast");
                attack(round, 300);
                fdl2_8910("uis8910,fast");
                attack(round, 300);
        }
}
END_TEST

START_TEST(test_hostile_phones) {
        static const struct {
                const char *spec;
                uint32_t fdl1, fdl2;
                unsigned rounds, times; /* what panics is over soon, and tried more often */
        } units[] = {
                {"phone-emmc,fast,unknown-limit=0,buffer=4k,size=512M", 0x5500, 0x9EFFFE00, 300, 2},
                {"phone-ufs-ab,fast,unknown-limit=0,buffer=4k,raw=2", 0x65000800, 0xB4FFFE00, 300, 2},
                {"phone-lk,fast,unknown-limit=0,slot=b,malloc=8k", 0x65000800, 0xBEFFFE00, 300, 2},
                {"phone-old,fast,unknown-limit=0,size=1024M", 0x50000000, 0x9F000000, 300, 2},
                {"phone-nand,fast,unknown-limit=0,buffer=4k,spare=2", 0x6200, 0x80100000, 300, 2},
                {"feature-nor,fast", 0x40004000, 0x14000000, 20, 12},
        };

        for (unsigned time = 0; time < units[_i].times; time++) {
                to_fdl2(units[_i].spec, units[_i].fdl1, units[_i].fdl2);
                attack(time, units[_i].rounds);
        }
}
END_TEST

START_TEST(test_in_transfers) {
        uint8_t got[8192];
        bool end;
        size_t n;

        /* 12 bytes more than the payload of 500: a multiple of 512? 8 around 504. */
        phone_fdl2("phone-emmc,fast,zlp=yes");
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x80);
        plain = true;
        ck_assert_uint_eq(named(0x10, "boot", 504), 0x80);
        uint8_t p[8], frame[64];
        put_le32(p, 504);
        put_le32(p + 4, 0);
        put(frame, build(0x11, p, 8, frame));
        advance(MS);
        n = sim_in(m, got, 512, &end);
        ck_assert_uint_eq(n, 512);
        ck_assert(!end);
        ck_assert(sim_in_ready(m));
        ck_assert_uint_eq(sim_in(m, got, 512, &end), 0); /* the bare ZLP */
        ck_assert(end);
        put(frame, build(0x11, p, 8, frame));
        advance(MS);
        ck_assert_uint_eq(sim_in(m, got, sizeof(got), &end), 512);
        ck_assert(end);
        m = sim_free(m);
        phone_fdl2("phone-emmc,fast,zlp=no");
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x80);
        plain = true;
        ck_assert_uint_eq(named(0x10, "boot", 504), 0x80);
        put(frame, build(0x11, p, 8, frame));
        advance(MS);
        ck_assert_uint_eq(sim_in(m, got, sizeof(got), &end), 512);
        ck_assert(!end); /* goes on with the next reply */
        ck_assert(!sim_in_ready(m));
        plain = false;
        tear_down();
        set_up();
        fdl_8850("uis8850,fast");
        ck_assert_uint_eq(read_at(0x60100000, 0x2000, 0), 0x93);
        n = 0;
        put(frame, build(6, (const uint8_t *) "\x60\x10\0\0\0\0\x20\0\0\0\0\0", 12, frame));
        advance(MS);
        ck_assert_uint_eq(sim_in(m, got, sizeof(got), &end), 2048); /* long replies come in pieces */
        ck_assert(end);
}
END_TEST

START_TEST(test_glued_logs_option) {
        plug("uis8850,glue-log=1", 1);
        uint8_t got[256];
        size_t n;

        send_hex("7e7e7e");
        n = fetch(got, sizeof(got));
        ck_assert_mem_eq(got, "\x7e\x00\xff", 3);
        ck_assert_mem_eq(got + n - 14, "\x7e\x00\x81\x00\x06SPRD3", 10);
}
END_TEST

START_TEST(test_bad_specs) {
        static const char *const bad[] = {"",
                                          "nokia",
                                          "phone-emmc,zlp=maybe",
                                          "phone-emmc,flash=8M",
                                          "uis8850,table=x",
                                          "uis8850,wat",
                                          "uis8910,id=12345:1",
                                          "uis8850,nv=twin-bad",
                                          "phone-emmc,table=/does/not/exist",
                                          "uis8850,nv=/does/not/exist",
                                          "uis8850,fault=at=x",
                                          "phone-emmc,size=1",
                                          "uis8850,flash=3",
                                          "uis8850,mps=7",
                                          "phone-emmc,fdl2-start=-4"};
        char err[256], help[4] = "";

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                char path[224];

                snprintf(path, sizeof(path), "%s/%zu", dir, i);
                m = sim_new(bad[i], path, 1, err, sizeof(err));
                ck_assert_msg(m == NULL, "%s was taken", bad[i]);
                ck_assert_msg(strlen(err) > 10, "%s: no reason", bad[i]);
        }
        (void) help;
        ck_assert_ptr_nonnull(strstr(sim_help(), "uis8910"));
        ck_assert_ptr_nonnull(strstr(sim_help(), "unknown-limit"));
}
END_TEST

START_TEST(test_usb_facts) {
        SimUsb usb;

        plug("uis8910,id=1782:4d00", 1);
        sim_usb(m, &usb);
        ck_assert_uint_eq(usb.vendor, 0x1782);
        ck_assert_uint_eq(usb.product, 0x4d00);
        ck_assert_uint_eq(usb.ep_in, 0x81);
        ck_assert_uint_eq(usb.interface_number, 1);
        m = sim_free(m);
        plug("phone-emmc", 1);
        sim_usb(m, &usb);
        ck_assert_uint_eq(usb.ep_in, 0x85);
        ck_assert_uint_eq(usb.ep_out, 0x06);
        ck_assert_ptr_null(usb.serial);
}
END_TEST

START_TEST(test_channel) {
        char err[128];
        uint8_t got[4096];
        size_t n;
        SimChannel *sc = sim_channel_new("phone-emmc,drop-sync=2", dir, 1, err, sizeof(err));
        Channel *c;

        ck_assert_ptr_nonnull(sc);
        c = &sc->channel;
        ck_assert_int_eq(channel_send(c, "\x7e", 1, 100), -ETIMEDOUT); /* port not open */
        ck_assert_int_eq(channel_line_state(c, 0x0601, 100), 0);
        ck_assert_int_eq(channel_send(c, "\x7e", 1, 100), 0);
        ck_assert_int_eq(channel_receive(c, got, sizeof(got), 100, &n), 0);
        ck_assert_uint_eq(n, 14);
        uint64_t before = channel_now(c);
        ck_assert_int_eq(channel_receive(c, got, sizeof(got), 5000, &n), -ETIMEDOUT);
        ck_assert_uint_eq(channel_now(c) - before, 5000);
        ck_assert_int_eq(channel_pause(c, 250), 0);
        ck_assert_uint_eq(channel_now(c) - before, 5250);
        sc->unplug_at_ns = sc->now_ns + 30 * MS;
        ck_assert_int_eq(channel_receive(c, got, sizeof(got), 5000, &n), -ENODEV);
        ck_assert_uint_eq(channel_now(c) - before, 5280);
        ck_assert_int_eq(channel_send(c, "\x7e", 1, 100), -ENODEV);
        sim_channel_plug(sc);
        sc->unplug_at_send = sc->sends + 2;
        ck_assert_int_eq(channel_line_state(c, 1, 100), 0);
        ck_assert_int_eq(channel_send(c, "\x7e", 1, 100), 0);
        ck_assert_int_eq(channel_send(c, "\x7e", 1, 100), -ENODEV);
        sim_channel_free(sc);
}
END_TEST

int main(void) {
        const TTest *const others[] = {
                test_worked_frames,       test_fault_kinds,       test_fault_ends, test_fault_points, test_fault_flash,
                test_fault_sync_pdl_exec, test_tables_from_files, test_power_loss, test_resync,       test_hostile,
                test_in_transfers,        test_glued_logs_option, test_bad_specs,  test_usb_facts,    test_channel};
        Suite *s = suite_create("simmodel");

        add_case(s, "others", others, ELEMENTSOF(others));
        TCase *hostile = tcase_create("hostile");
        tcase_add_checked_fixture(hostile, set_up, tear_down);
        tcase_set_timeout(hostile, 60);
        tcase_add_loop_test(hostile, test_hostile_phones, 0, 6);
        suite_add_tcase(s, hostile);
        return run_suite(s);
}
