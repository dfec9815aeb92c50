/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sim-channel.h"
#include "usbsim/model/phone-table.h"

/* Judges the simulated units as a foreign client would: bytes on the wire against bytes on the wire. Frames that the
 * protocol description gives are literals; longer flows use the small encoder below, which is checked against those
 * literals first. */

#define MS 1000000ull

static char dir[64];
static SimModel *m;
static uint64_t now;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f) {
        (void) st, (void) type, (void) f;
        return remove(path);
}

static void set_up(void) {
        snprintf(dir, sizeof(dir), "/tmp/simmodel-XXXXXX");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        now = 1000 * MS;
        m = NULL;
}

static void tear_down(void) {
        m = sim_free(m);
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void plug(const char *spec, unsigned seed) {
        char err[256];

        m = sim_new(spec, dir, seed, err, sizeof(err));
        ck_assert_msg(m != NULL, "%s", err);
        sim_power_on(m, now, true);
        sim_line_state(m, 0x0601);
}

static void advance(uint64_t ns) {
        now += ns;
        sim_advance(m, now);
}

/* ---- wire ---- */

static size_t from_hex(const char *hex, uint8_t *to) {
        size_t n = 0;
        unsigned v;

        for (; *hex; hex++) {
                if (*hex == ' ' || *hex == '|')
                        continue;
                ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
                to[n++] = (uint8_t) v;
                hex++;
        }
        return n;
}

static void put(const uint8_t *p, size_t n) {
        SimUsb usb;

        sim_usb(m, &usb);
        ck_assert(sim_out_ready(m));
        sim_out(m, p, n, n % usb.max_packet == 0);
}

static void send_hex(const char *hex) {
        uint8_t b[4096];

        put(b, from_hex(hex, b));
}

/* What is due without letting time pass; transfers glued. */
static size_t fetch_now(uint8_t *to, size_t max) {
        size_t n = 0;
        bool end;

        while (sim_in_ready(m) && n < max)
                n += sim_in(m, to + n, max - n, &end);
        return n;
}

/* What arrives within a minute. */
static size_t fetch(uint8_t *to, size_t max) {
        uint64_t until = now + 60000 * MS;
        size_t n = 0;

        for (;;) {
                uint64_t next;

                n += fetch_now(to + n, max - n);
                next = sim_next_event(m);
                if (n || next > until)
                        break;
                now = next > now ? next : now;
                sim_advance(m, now);
        }
        return n;
}

static void expect_hex(const char *hex) {
        static uint8_t got[131072], want[4096];
        size_t n = fetch(got, sizeof(got)), k = from_hex(hex, want);
        char text[512] = "";

        for (size_t i = 0; i < n && i < 200; i++)
                snprintf(text + 2 * i, 3, "%02x", got[i]);
        ck_assert_msg(n == k && memcmp(got, want, n) == 0, "wanted %s, got %zu bytes: %s", hex, n, text);
}

static void expect_nothing(void) {
        expect_hex("");
}

static void ask(const char *send, const char *reply) {
        send_hex(send);
        expect_hex(reply);
}

/* ---- a small client ---- */

static bool use_crc, rda_sums, plain;

static unsigned crc_of(const uint8_t *p, size_t n) {
        unsigned c = 0;

        for (size_t i = 0; i < n; i++)
                for (int bit = 7; bit >= 0; bit--) {
                        unsigned top = (c >> 15 ^ p[i] >> bit) & 1;
                        c = (c << 1 & 0xFFFF) ^ (top ? 0x1021 : 0);
                }
        return c;
}

static unsigned sum_of(const uint8_t *p, size_t n) {
        unsigned long s = 0;

        for (size_t i = 0; i < n; i++)
                s += i & 1 ? (unsigned long) p[i] << 8 : p[i];
        while (s >> 16)
                s = (s & 0xFFFF) + (s >> 16);
        return (unsigned) ~s & 0xFFFF;
}

static size_t build(unsigned type, const uint8_t *p, size_t n, uint8_t *to) {
        static uint8_t body[70000];
        unsigned check;
        size_t at = 0;

        body[0] = (uint8_t) (type >> 8);
        body[1] = (uint8_t) type;
        body[2] = (uint8_t) (n >> 8);
        body[3] = (uint8_t) n;
        if (n)
                memcpy(body + 4, p, n);
        check = use_crc ? crc_of(body, n + 4) : sum_of(body, n + 4);
        if (use_crc || (n & 1 && !rda_sums))
                check = (check >> 8 | check << 8) & 0xFFFF;
        body[4 + n] = (uint8_t) check;
        body[5 + n] = (uint8_t) (check >> 8);
        to[at++] = 0x7E;
        for (size_t i = 0; i < n + 6; i++)
                if (!plain && (body[i] == 0x7E || body[i] == 0x7D)) {
                        to[at++] = 0x7D;
                        to[at++] = body[i] ^ 0x20;
                } else
                        to[at++] = body[i];
        to[at++] = 0x7E;
        return at;
}

static uint8_t answer[70000];
static size_t answer_size;

/* Sends a frame, returns the reply's type (0: none); its payload in answer. */
static unsigned command(unsigned type, const void *p, size_t n) {
        static uint8_t frame[140000], got[140000], body[70000];
        size_t k, at = 0;

        k = build(type, p, n, frame);
        put(frame, k);
        k = fetch(got, sizeof(got));
        answer_size = 0;
        if (k < 8)
                return 0;
        for (size_t i = 1; i + 1 < k; i++) {
                if (!plain && got[i] == 0x7E)
                        break;
                if (!plain && got[i] == 0x7D)
                        body[at++] = got[++i] ^ 0x20;
                else
                        body[at++] = got[i];
        }
        ck_assert_uint_ge(at, 6);
        answer_size = at - 6;
        ck_assert_uint_eq((unsigned) body[2] << 8 | body[3], answer_size);
        memcpy(answer, body + 4, answer_size);
        return (unsigned) body[0] << 8 | body[1];
}

static void be32(uint8_t *p, uint32_t v) {
        put_be32(p, v);
}

static unsigned start_at(uint32_t address, uint32_t size) {
        uint8_t p[8];

        be32(p, address);
        be32(p + 4, size);
        return command(1, p, 8);
}

static unsigned erase_at(uint32_t address, uint32_t size) {
        uint8_t p[8];

        be32(p, address);
        be32(p + 4, size);
        return command(0x0A, p, 8);
}

static unsigned read_at(uint32_t address, uint32_t size, uint32_t offset) {
        uint8_t p[12];

        be32(p, address);
        be32(p + 4, size);
        be32(p + 8, offset);
        return command(6, p, 12);
}

static void name_to(uint8_t *p, const char *name) {
        memset(p, 0, 72);
        for (size_t i = 0; name[i]; i++)
                p[2 * i] = (uint8_t) name[i];
}

static unsigned named(unsigned type, const char *name, uint32_t size) {
        uint8_t p[76];

        name_to(p, name);
        put_le32(p + 72, size);
        return command(type, p, 76);
}

static unsigned read_piece(uint32_t size, uint32_t offset) {
        uint8_t p[8];

        put_le32(p, size);
        put_le32(p + 4, offset);
        return command(0x11, p, 8);
}

static unsigned all_midst(const uint8_t *p, size_t n, size_t step) {
        unsigned r = 0x80;

        for (size_t at = 0; at < n && r == 0x80; at += step)
                r = command(2, p + at, n - at < step ? n - at : step);
        return r;
}

/* ---- files ---- */

static void read_store(const char *file, uint64_t offset, void *buf, size_t n) {
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s is missing", path);
        ck_assert_int_eq(pread(fd, buf, n, (off_t) offset), (ssize_t) n);
        close(fd);
}

static void write_store(const char *file, uint64_t offset, const void *buf, size_t n) {
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, buf, n, (off_t) offset), (ssize_t) n);
        close(fd);
}

static bool in_store(const char *file) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        return access(path, F_OK) == 0;
}

static bool said(const char *text) {
        static char json[8192];

        sim_describe(m, json, sizeof(json));
        return strstr(json, text) != NULL;
}

static void pattern(uint8_t *p, size_t n, unsigned seed) {
        for (size_t i = 0; i < n; i++) {
                seed = seed * 1103515245 + 12345;
                p[i] = (uint8_t) (seed >> 16);
        }
}

static void fault(const char *line) {
        char err[256];

        ck_assert_msg(sim_fault(m, line, err, sizeof(err)), "%s", err);
}

/* ---- the client itself ---- */

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

/* ---- phone ---- */

static void phone_rom(const char *spec) {
        plug(spec, 1);
        use_crc = true;
        rda_sums = plain = false;
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        ask("7E 00 00 00 00 00 00 7E", "7E 00 80 00 00 3B 5A 7E");
}

static void phone_fdl1(const char *spec) {
        phone_rom(spec);
        ck_assert_uint_eq(start_at(0x5500, 4), 0x80);
        ck_assert_uint_eq(command(2, "FDL1", 4), 0x80);
        ask("7E 00 03 00 00 59 50 7E", "7E 00 80 00 00 3B 5A 7E");
        ask("7E 00 04 00 00 DC C0 7E", "7E 00 80 00 00 3B 5A 7E");
        use_crc = false;
        advance(400 * MS);
        /* The first sync byte is lost, as in every log. */
        ask("7E", "");
        ask("7E", "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B"
                  "20 76 65 72 73 69 6F 6E 20 31 2E 31 00 AA E9 7E");
        ask("7E 00 00 00 00 FF FF 7E", "7E 00 80 00 00 FF 7F 7E");
}

static void phone_fdl2(const char *spec) {
        phone_fdl1(spec);
        ck_assert_uint_eq(start_at(0x9EFFFE00, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0x96);
}

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

static unsigned write_nv(const char *name, const uint8_t *data, size_t n, uint32_t sum, bool with_sum) {
        uint8_t p[80];
        unsigned r;

        name_to(p, name);
        put_le32(p + 72, (uint32_t) n);
        put_le32(p + 76, sum);
        r = command(1, p, with_sum ? 80 : 76);
        if (r != 0x80)
                return r;
        r = all_midst(data, n, 0x800);
        return r == 0x80 ? command(3, NULL, 0) : r;
}

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
        char other[64];

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
        m = sim_free(m);
        memcpy(other, dir, sizeof(other));
        nftw(other, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        set_up();
        plug("phone-emmc", 2);
        read_store("parts/l_fixnv1", 512, b, sizeof(b));
        ck_assert_mem_ne(a, b, 32);
}
END_TEST

/* ---- uis8850 ---- */

static void rom_8850(const char *spec) {
        plug(spec, 3);
        use_crc = true;
        rda_sums = true;
        plain = false;
        send_hex("7e");
        send_hex("7e");
        expect_nothing();
        ask("7e", "7e00810006535052443300570a7e");
        ask("7e0000000000007e", "7e008000003b5a7e");
}

static void sihr(uint8_t *p, size_t n) {
        pattern(p, n, 77);
        memset(p, 0, 0x100);
        memcpy(p, "SIHR", 4);
        put_le32(p + 0x24, (uint32_t) n);
}

static void fdl_8850(const char *spec) {
        uint8_t loader[0x1000];

        rom_8850(spec);
        sihr(loader, sizeof(loader));
        ck_assert_uint_eq(start_at(0x50800000, sizeof(loader)), 0x80);
        ck_assert_uint_eq(all_midst(loader, sizeof(loader), 0x210), 0x80);
        ask("7e0003000059507e", "7e008000003b5a7e");
        ask("7e00040000dcc07e", "7e008000003b5a7e");
        use_crc = false;
        advance(200 * MS);
        send_hex("7e7e");
        expect_nothing();
        ask("7e", "7e008100225370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200a9e97e");
        ask("7e00000000ffff7e", "7e00800000ff7f7e");
}

START_TEST(test_8850_rom) {
        plug("uis8850", 3);
        ask("7e7e007e7e", "");
        ask("7e", "7e00810006535052443300570a7e");
        ask("7e0000000000007e", "7e008000003b5a7e");
        ask("7e0003000059517e", "7e008b0000cbab7e"); /* wrong CRC: 8B, and it goes on */
        ask("7e0000000000007e", "7e008000003b5a7e");
        use_crc = rda_sums = true;
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0x83);
        ck_assert_uint_eq(command(2, "ab", 2), 0x82);
        ck_assert_uint_eq(start_at(0x50800000, 0x14001), 0x82);
        ck_assert_uint_eq(start_at(0x50800004, 0x1000), 0x82);
        ask("7e000100085080000000010b80eb697e", "7e008000003b5a7e");
        ck_assert_uint_eq(start_at(0x50800000, 0x1000), 0x82);
        ck_assert_uint_eq(command(4, NULL, 0), 0x82);
        m = sim_free(m);
        rom_8850("uis8850");
        ck_assert_uint_eq(start_at(0x50800000, 0x100), 0x80);
        uint8_t junk[0x100] = "SIHX";
        ck_assert_uint_eq(command(2, junk, 0x100), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ask("7e00040000dcc07e", "7e008b0000cbab7e");
}
END_TEST

START_TEST(test_8850_flash) {
        static uint8_t data[0x5000], got[0x5000];
        uint64_t delay;

        fdl_8850("uis8850");
        ck_assert(said("\"bootable\":true"));
        ask("7e000a00086000000000020000 9feb7e", "7e00800000ff7f7e");
        read_store("flash.bin", 0, got, 16);
        ck_assert_uint_eq(got[0], 0xFF);
        ck_assert(said("\"bootable\":false"));
        sihr(data, sizeof(data));
        ck_assert_uint_eq(start_at(0x60020000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        read_store("flash.bin", 0x20000, got, sizeof(data));
        ck_assert_mem_ne(got, data, sizeof(data)); /* ACK of MIDST does not mean in flash */
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("flash.bin", 0x20000, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(read_at(0x60020000, 0x3000, 0), 0x93);
        ck_assert_mem_eq(answer, data, 0x3000);
        ck_assert_uint_eq(start_at(0x60000000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("flash.bin", 0x10000, got, sizeof(data));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert(said("\"bootable\":true"));
        ask("7e00050000fffa7e", "7e00800000ff7f7e");
        advance(10 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_BOOT);
}
END_TEST

START_TEST(test_8850_states) {
        fdl_8850("uis8850");
        ck_assert_uint_eq(command(2, "ab", 2), 0x86);
        ck_assert_uint_eq(command(3, NULL, 0), 0x86);
        ck_assert_uint_eq(start_at(0x70000000, 0x1000), 0x89);
        ck_assert_uint_eq(command(2, "ab", 2), 0x80); /* left started */
        ck_assert_uint_eq(command(3, NULL, 0), 0x82);
        ck_assert_uint_eq(start_at(0x60200000, 4), 0x80);
        ck_assert_uint_eq(command(2, "ab", 2), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x8A);
        ck_assert_uint_eq(command(3, NULL, 0), 0x86);
        ck_assert_uint_eq(start_at(0x60200000, 2), 0x80);
        ck_assert_uint_eq(start_at(0x60200000, 3), 0x80); /* START restarts; odd sizes work */
        ck_assert_uint_eq(command(2, "abc", 3), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(start_at(0x60200000, 2), 0x80);
        ck_assert_uint_eq(command(2, "abc", 3), 0x8A);
        ck_assert_uint_eq(erase_at(0x60000100, 0x1000), 0x82);
        ck_assert_uint_eq(erase_at(0x60000000, 0x900), 0x82);
        ck_assert_uint_eq(erase_at(0x607FF000, 0x2000), 0x82);
        ck_assert_uint_eq(erase_at(0xFE000006, 0x58585858), 0x84);
        ck_assert_uint_eq(command(0x0C, NULL, 0), 0x82);
        ck_assert_uint_eq(command(0x21, NULL, 0), 0x82);
        ck_assert_uint_eq(command(4, NULL, 0), 0x82);
        ck_assert_uint_eq(command(0x0B, NULL, 0), 0x80);
        ck_assert_uint_eq(start_at(0xFE000001, 2), 0x89);
        m = sim_free(m);
        fdl_8850("uis8850,model-mismatch");
        ck_assert_uint_eq(erase_at(0x60000000, 0x20000), 0x97);
}
END_TEST

START_TEST(test_rda_receiver) {
        uint8_t big[0x3100] = {0};

        fdl_8850("uis8850");
        /* Garbage before, one 7E shared, several at once. */
        ask("112233 7e00000000ffff7e 00000000ffff7e", "7e00800000ff7f7e 7e00800000ff7f7e");
        /* A length that does not fit: dropped. */
        ask("7e00000002ffff7e", "");
        ask("7e00000000ffff7e", "7e00800000ff7f7e");
        /* The last flag later. */
        ask("7e00000000ffff", "");
        ask("7e", "7e00800000ff7f7e");
        ck_assert_uint_eq(start_at(0x60200000, sizeof(big)), 0x80);
        ck_assert_uint_eq(command(2, big, 0x301B), 0);
        ck_assert_uint_eq(command(2, big, 0x301A), 0x80);
        /* Wrong checksum: silence, for good. */
        ask("7e00000000fffe7e", "");
        ask("7e00000000ffff7e", "");
        ck_assert(said("\"hung\":true"));
}
END_TEST

START_TEST(test_8850_crc_frame_kills_fdl) {
        fdl_8850("uis8850");
        ask("7e0003000059507e", "");
        ck_assert(said("wrong checksum"));
}
END_TEST

static uint16_t arc(const uint8_t *p, size_t n) {
        unsigned c = 0;

        for (size_t i = 0; i < n; i++) {
                c ^= p[i];
                for (int k = 0; k < 8; k++)
                        c = c & 1 ? c >> 1 ^ 0xA001 : c >> 1;
        }
        return (uint16_t) c;
}

static void read_nv(uint8_t *to, size_t size) {
        for (size_t at = 0; at < size; at += 0x3000) {
                size_t n = size - at < 0x3000 ? size - at : 0x3000;
                ck_assert_uint_eq(read_at(0xFE000003, (uint32_t) n, (uint32_t) at), 0x93);
                ck_assert_uint_eq(answer_size, n);
                memcpy(to + at, answer, n);
        }
}

static size_t find_item(const uint8_t *image, size_t size, unsigned id) {
        for (size_t at = 4; at + 4 <= size && get_le16(image + at) != 0xFFFF;
             at += 4 + ((get_le16(image + at + 2) + 3u) & ~3u))
                if (get_le16(image + at) == id)
                        return at;
        return 0;
}

static unsigned write_module_nv(uint8_t *image, size_t size, bool fix_crc) {
        uint8_t p[12];
        unsigned r;

        if (fix_crc)
                put_be16(image, arc(image + 2, size - 2));
        be32(p, 0xFE000003);
        be32(p + 4, (uint32_t) size);
        be32(p + 8, 1); /* the sum is ignored */
        r = command(1, p, 12);
        if (r == 0x80)
                r = all_midst(image, size, 0x800);
        return r == 0x80 ? command(3, NULL, 0) : r;
}

START_TEST(test_8850_nv) {
        static uint8_t image[0x28000], again[0x28000];
        size_t at;

        fdl_8850("uis8850,fast");
        read_nv(image, sizeof(image));
        ck_assert_uint_eq(get_be16(image), arc(image + 2, sizeof(image) - 2));
        at = find_item(image, sizeof(image), 2);
        ck_assert_uint_ne(at, 0);
        ck_assert_uint_eq(get_le16(image + at + 2), 6020);
        ck_assert_uint_eq(get_le32(image + at + 4), 0xFF0A);
        ck_assert_uint_ne(get_le32(image + at + 4 + 6016) & 0xF7FFFFFF, 0); /* calibrated */
        ck_assert_uint_eq(get_le16(image + find_item(image, sizeof(image), 5) + 2), 8);
        ck_assert_uint_eq(get_le16(image + find_item(image, sizeof(image), 0x26E) + 2), 59392);
        ck_assert_uint_eq(read_at(0xFE000003, 16, 0x28000), 0x82);
        ck_assert_uint_eq(read_at(0xFE000003, 0x3000, 0x27000), 0x93);
        ck_assert_uint_eq(answer_size, 0x1000);

        image[at + 100] ^= 0xFF;
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), false), 0x84);
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), true), 0x80);
        read_nv(again, sizeof(again));
        ck_assert_mem_eq(image, again, sizeof(again)); /* same layout: a host may compare */

        /* An unknown id: what came before it is stored all the same. */
        size_t last = find_item(image, sizeof(image), 0x301);
        put_le16(image + last, 0x7777);
        at = find_item(image, sizeof(image), 5);
        image[at + 5] = 0x99;
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), true), 0x84);
        read_nv(again, sizeof(again));
        ck_assert_uint_eq(again[at + 5], 0x99);
        ck_assert_uint_eq(start_at(0xFE000003, 0x28002), 0x8A);
}
END_TEST

START_TEST(test_8850_nv_damage) {
        static uint8_t image[0x28000];

        fdl_8850("uis8850,fast,nv=missing");
        ck_assert_uint_eq(read_at(0xFE000003, 0x3000, 0), 0x84);
        tear_down();
        set_up();
        fdl_8850("uis8850,fast,nv=bad");
        read_nv(image, sizeof(image));
        ck_assert_uint_eq(find_item(image, sizeof(image), 5), 0);
        tear_down();
        set_up();
        fdl_8850("uis8850,fast,nv=reordered,uncalibrated");
        read_nv(image, sizeof(image));
        ck_assert_uint_eq(find_item(image, sizeof(image), 5), 4);
        ck_assert_uint_eq(get_le32(image + find_item(image, sizeof(image), 2) + 4 + 6016), 0);
}
END_TEST

START_TEST(test_module_erases) {
        uint8_t phase[256];

        fdl_8850("uis8850,fast");
        ck_assert(in_store("NVM/running.bin"));
        ask("7e000a0008fe0000010000000001ec7e", "7e00800000ff7f7e");
        ck_assert(!in_store("NVM/running.bin"));
        ck_assert(in_store("FSYS/sysinfo.bin"));
        ask("7e000a0008fe000006535953465b477e", "7e00800000ff7f7e");
        ck_assert(!in_store("FSYS/sysinfo.bin"));
        ck_assert(in_store("FMOD/cp.bin.000"));
        ck_assert(in_store("FFAC/imei.bin"));
        ck_assert_uint_eq(read_at(0xFE000002, 0x100, 0), 0x93);
        ck_assert_mem_eq(answer, "90PS", 4);
        ck_assert_uint_eq(start_at(0xFE000002, 0xFE), 0x8A);
        ck_assert_uint_eq(start_at(0xFE000002, 0x100), 0x80);
        memset(phase, 0x33, sizeof(phase));
        ck_assert_uint_eq(command(2, phase, 256), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(read_at(0xFE000002, 0x100, 0), 0x93);
        ck_assert_mem_eq(answer, phase, 256);
        ck_assert_uint_eq(erase_at(0xFE000002, 0), 0x80);
        ck_assert_uint_eq(read_at(0xFE000002, 0x100, 0), 0x84);
        ck_assert_uint_eq(erase_at(0xFE000003, 0), 0x82);
        /* The whole chip: identity is gone on this one. */
        ask("7e000a000800000000ffffffffffed7e", "7e00800000ff7f7e");
        ck_assert(!in_store("FFAC/imei.bin"));
        ck_assert_uint_eq(read_at(0xFE000003, 0x3000, 0), 0x84);
}
END_TEST

/* Old binary cpio with one file. */
static size_t cpio(uint8_t *to, const char *name, const char *text) {
        size_t at = 0, n = strlen(text);

        for (int last = 0; last < 2; last++) {
                const char *file = last ? "TRAILER!!!" : name;
                size_t size = last ? 0 : n;

                memset(to + at, 0, 26);
                put_le16(to + at, 0x71C7);
                put_le16(to + at + 6, last ? 0 : 0100666);
                put_le16(to + at + 20, (uint16_t) (strlen(file) + 1));
                put_le16(to + at + 24, (uint16_t) size);
                at += 26;
                memcpy(to + at, file, strlen(file) + 1);
                at += (strlen(file) + 2) & ~(size_t) 1;
                memset(to + at, 0, size + 1);
                memcpy(to + at, text, size);
                at += (size + 1) & ~(size_t) 1;
        }
        return at;
}

static unsigned prepack(const uint8_t *p, size_t n) {
        unsigned r = start_at(0xFE000004, (uint32_t) n);

        if (r == 0x80)
                r = all_midst(p, n, 11);
        return r == 0x80 ? command(3, NULL, 0) : r;
}

START_TEST(test_module_prepack) {
        uint8_t b[512], got[16];
        size_t n;

        fdl_8850("uis8850,fast");
        n = cpio(b, "modem/sub/new.bin", "hello");
        ck_assert_uint_eq(prepack(b, n), 0x80);
        read_store("FMOD/sub/new.bin", 0, got, 5);
        ck_assert_mem_eq(got, "hello", 5);
        n = cpio(b, "factory/indeltanv_1.bin", "delta");
        ck_assert_uint_eq(prepack(b, n), 0x80);
        ck_assert(in_store("FFAC/indeltanv_1.bin"));
        n = cpio(b, "prepack/example.txt", "text");
        ck_assert_uint_eq(prepack(b, n), 0x80);
        ck_assert(in_store("FSYS/prepack/example.txt"));
        /* Damaged or out of bounds: skipped, and ACKed. */
        n = cpio(b, "../../escape.txt", "text");
        ck_assert_uint_eq(prepack(b, n), 0x80);
        b[0] = 0;
        ck_assert_uint_eq(prepack(b, n), 0x80);
        ck_assert(!in_store("../escape.txt"));
}
END_TEST

/* ---- uis8910 ---- */

#define PDL_ACK "ae04000000ff0000 00000000"

static void uimage(uint8_t *p, size_t n) {
        pattern(p, n, 5);
        memset(p, 0, 64);
        put_be32(p, 0x27051956);
        put_be32(p + 12, (uint32_t) n - 64);
        /* CRC-32, bit by bit. */
        for (int part = 0; part < 2; part++) {
                const uint8_t *q = part ? p : p + 64;
                size_t k = part ? 64 : n - 64;
                uint32_t c = 0xFFFFFFFF;
                for (size_t i = 0; i < k; i++) {
                        c ^= q[i];
                        for (int bit = 0; bit < 8; bit++)
                                c = c & 1 ? c >> 1 ^ 0xEDB88320 : c >> 1;
                }
                put_be32(p + (part ? 4 : 24), ~c);
        }
}

static void pdl(const char *head, const char *tag, const uint8_t *data, size_t n) {
        send_hex(head);
        send_hex(tag);
        if (n)
                put(data, n);
}

static void fdl1_8910(const char *spec) {
        uint8_t loader[2048 + 928];

        uimage(loader, sizeof(loader));
        plug(spec, 4);
        use_crc = plain = false;
        rda_sums = true;
        pdl("ae0c000000ff0000", "000000000000000000000000", NULL, 0);
        expect_hex(PDL_ACK);
        pdl("ae11000000ff0000", "0400000000808300a00b0000", (const uint8_t *) "PDL1", 5);
        expect_hex(PDL_ACK);
        pdl("ae0c080000ff0000", "050000000000000000080000", loader, 2048);
        expect_hex(PDL_ACK);
        pdl("aeac030000ff0000", "0500000001000000a0030000", loader + 2048, 928);
        expect_hex(PDL_ACK);
        pdl("ae10000000ff0000", "060000000000000000000000", (const uint8_t *) "\x1c\x3c\x6e\x06", 4);
        expect_hex(PDL_ACK);
        pdl("ae0c000000ff0000", "070000000000000000000000", NULL, 0);
        expect_nothing();
        ask("7e", "7e008100225370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200a9e97e");
        ask("7e00000000ffff7e", "7e00800000ff7f7e");
        ask("7e000900040001c2003df17e", "7e00800000ff7f7e");
}

static void fdl2_8910(const char *spec) {
        uint8_t loader[0x1000];

        fdl1_8910(spec);
        uimage(loader, sizeof(loader));
        ck_assert_uint_eq(start_at(0x810000, sizeof(loader)), 0x80);
        ck_assert_uint_eq(all_midst(loader, sizeof(loader), 0x840), 0x80);
        ask("7e00030000fffc7e", "7e00800000ff7f7e");
        ask("7e00040000fffb7e", "7e00800000ff7f7e"); /* sent by FDL2 */
}

START_TEST(test_8910_pdl) {
        uint8_t b[16] = {0};

        plug("uis8910", 4);
        pdl("ae11000000ff0000", "0400000000000000a0330000", (const uint8_t *) "PDL1", 5);
        expect_hex("ae04000000ee0000 04000000");
        pdl("ae11000000ff0000", "040000000080830002000000", (const uint8_t *) "PDL1", 5);
        expect_hex(PDL_ACK);
        pdl("ae10000000ff0000", "050000000000000004000000", b, 4);
        expect_hex("ae04000000ee0000 07000000");
        pdl("ae0c000000ff0000", "0b0000000000000000000000", NULL, 0);
        expect_hex("ae04000000ee0000 03000000");
        pdl("ae0c000000ff0000", "070000000000000000000000", NULL, 0);
        expect_hex("ae04000000ee0000 09000000");
        /* Header and payload joined, wrong flow: not seen. */
        ask("ae0c000000ff0000 000000000000000000000000", "");
        ask("ae0c000000ee0000", "");
        ask("000000000000000000000000", "");
        pdl("ae0c000000ff0000", "000000000000000000000000", NULL, 0);
        expect_hex(PDL_ACK);
        m = sim_free(m);
        plug("uis8910,pdl-join,pdl-error-flow=ff", 4);
        ask("ae0c000000ff0000 000000000000000000000000", PDL_ACK);
        ask("ae0c000000ff0000 070000000000000000000000", "ae04000000ff0000 09000000");
}
END_TEST

START_TEST(test_8910_fdl1_ugly) {
        uint8_t b[0x860] = {0};

        fdl1_8910("uis8910,fast");
        ck_assert_uint_eq(start_at(0x820000, 0x1000), 0x89);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        fdl1_8910("uis8910,fast");
        ck_assert_uint_eq(start_at(0x810000, 0x30001), 0x8A);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        fdl1_8910("uis8910,fast");
        ck_assert_uint_eq(command(2, b, 2), 0x86);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        fdl1_8910("uis8910,fast");
        ck_assert_uint_eq(command(0x0A, b, 8), 0);
        ck_assert(said("\"hung\":true"));
        m = sim_free(m);
        fdl1_8910("uis8910,fast");
        ck_assert_uint_eq(start_at(0x810000, 0x1000), 0x80);
        ck_assert_uint_eq(command(2, b, 0x85B), 0);
        ck_assert_uint_eq(command(2, b, 0x85A), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(command(4, NULL, 0), 0); /* no valid image */
        m = sim_free(m);
        /* A frame before the sync byte is swallowed and answered by VER. */
        fdl1_8910("uis8910,fast");
        sim_power_off(m);
}
END_TEST

START_TEST(test_8910_flash) {
        static uint8_t data[0x2100], got[0x3000];

        fdl2_8910("uis8910,fast");
        ck_assert(said("\"bootable\":true"));
        pattern(data, sizeof(data), 8);
        ck_assert_uint_eq(start_at(0x70000000, 4), 0x89);
        ck_assert_uint_eq(command(2, data, 4), 0x86);
        ck_assert_uint_eq(start_at(0x60700000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("flash.bin", 0x700000, got, sizeof(got));
        ck_assert_mem_eq(got, data, sizeof(data));
        ck_assert_uint_eq(got[sizeof(data)], 0xFF);
        /* A blank range is ACKed before the alignment is looked at. */
        ck_assert_uint_eq(erase_at(0x60704100, 0x10), 0x80);
        ck_assert_uint_eq(erase_at(0x60700100, 0x10), 0x82);
        ck_assert_uint_eq(erase_at(0x60700000, 0), 0x80);
        ck_assert_uint_eq(erase_at(0x60700000, 0x3000), 0x80);
        read_store("flash.bin", 0x700000, got, 16);
        ck_assert_uint_eq(got[0], 0xFF);
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0x82);
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0x82);
        ck_assert_uint_eq(command(0x0F, NULL, 0), 0x82);
        ck_assert_uint_eq(command(0, NULL, 0), 0x80);
}
END_TEST

START_TEST(test_8910_nv) {
        static uint8_t image[0x20000], again[0x20000];
        size_t at;

        fdl2_8910("uis8910,fast");
        read_nv(image, sizeof(image));
        ck_assert_uint_eq(get_le16(image + 4), 5); /* IMEIs first */
        ck_assert_uint_eq(get_be16(image), arc(image + 2, sizeof(image) - 2));
        at = find_item(image, sizeof(image), 0x26D);
        ck_assert_uint_eq(get_le16(image + at + 2), 8192);
        /* Written in another order, read back in its own. */
        memcpy(again, image, sizeof(image));
        size_t imei = 4, next = 16, len = find_item(image, sizeof(image), 2) + 4 + 6020 - next;
        memmove(again + 4, image + next, len);
        memcpy(again + 4 + len, image + imei, 12);
        again[4 + len + 5] ^= 1;
        ck_assert(in_store("NVM/running.bin"));
        ck_assert_uint_eq(write_module_nv(again, sizeof(again), true), 0x80);
        ck_assert(!in_store("NVM/running.bin")); /* other fixed NV: running NV is cleared */
        read_nv(again, sizeof(again));
        ck_assert_uint_eq(get_le16(again + 4), 5);
        ck_assert_uint_eq(again[9], image[9] ^ 1);
        ck_assert_uint_eq(get_be16(again), arc(again + 2, sizeof(again) - 2));
        /* Whole chip: NV and PhaseCheck live in RAM until NV is written. */
        ck_assert_uint_eq(erase_at(0, 0xFFFFFFFF), 0x80);
        ck_assert(!in_store("FFAC/imei.bin"));
        read_nv(image, sizeof(image));
        ck_assert_mem_eq(image, again, sizeof(image));
        ck_assert(!in_store("FFAC/phasecheck.bin"));
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), true), 0x80);
        ck_assert(in_store("FFAC/phasecheck.bin"));
        ck_assert(in_store("FFAC/imei.bin"));
}
END_TEST

START_TEST(test_8910_nv_missing) {
        static uint8_t image[0x20000];

        fdl2_8910("uis8910,fast,nv=missing");
        read_nv(image, sizeof(image)); /* a padded image with the item that FDL2 makes itself */
        ck_assert_uint_eq(find_item(image, sizeof(image), 2), 4);
        ck_assert_uint_eq(find_item(image, sizeof(image), 5), 0);
}
END_TEST

/* ---- real packages ---- */

static uint8_t *pac;
static size_t pac_size;

/* An entry of a package by its id, as the container's description says where things are. */
static const uint8_t *entry(const char *id, size_t *ret_size) {
        for (uint32_t i = 0; i < get_le32(pac + 1076); i++) {
                const uint8_t *e = pac + get_le32(pac + 1080) + i * 2580;
                size_t k = 0;

                while (id[k] && e[4 + 2 * k] == (uint8_t) id[k])
                        k++;
                if (id[k] || e[4 + 2 * k])
                        continue;
                *ret_size = get_le32(e + 1540);
                return pac + get_le32(e + 1552);
        }
        ck_abort_msg("no entry %s", id);
        return NULL;
}

static bool load_pac(const char *name) {
        const char *folder = getenv("FDLD_TEST_PACS");
        char path[512];
        struct stat st;
        int fd;

        if (!folder || !*folder) {
                fprintf(stderr, "FDLD_TEST_PACS is not set: %s is not tried\n", name);
                return false;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
        ck_assert_int_eq(fstat(fd, &st), 0);
        pac_size = (size_t) st.st_size;
        pac = malloc(pac_size);
        ck_assert_int_eq(read(fd, pac, pac_size), (ssize_t) pac_size);
        close(fd);
        return true;
}

static void download(const char *id, uint32_t address, size_t step, unsigned packets) {
        size_t n;
        const uint8_t *p = entry(id, &n);

        ck_assert_uint_eq((n + step - 1) / step, packets);
        ck_assert_uint_eq(start_at(address, (uint32_t) n), 0x80);
        ck_assert_uint_eq(all_midst(p, n, step), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
}

static void in_flash(const char *id, uint32_t address) {
        size_t n;
        const uint8_t *p = entry(id, &n);
        uint8_t *got = malloc(n);

        read_store("flash.bin", address - 0x60000000, got, n);
        ck_assert_mem_eq(got, p, n);
        free(got);
}

START_TEST(test_real_8850) {
        static uint8_t image[0x28000];
        uint64_t delay;
        size_t n;

        if (!load_pac("uis8850_full.pac"))
                return;
        rom_8850("uis8850");
        download("FDL", 0x50800000, 0x210, 130);
        ask("7e00040000dcc07e", "7e008000003b5a7e");
        use_crc = false;
        advance(200 * MS);
        ask("7e7e7e", "7e008100225370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200a9e97e");
        ask("7e00000000ffff7e", "7e00800000ff7f7e");
        ck_assert_uint_eq(erase_at(0x60000000, 0x20000), 0x80);
        download("BOOT", 0x60020000, 0x800, 6);
        ck_assert_uint_eq(erase_at(0xFE000006, 0x444F4D46), 0x80);
        read_nv(image, sizeof(image));
        /* As stored in the package its checksum is wrong; with a right one it is taken. */
        memcpy(image, entry("NV", &n), sizeof(image));
        ck_assert_uint_eq(write_module_nv(image, n, false), 0x84);
        ck_assert_uint_eq(write_module_nv(image, n, true), 0x80);
        ck_assert_uint_eq(get_be16(image), 0xebfb);
        download("AP", 0x60030000, 0x800, 652);
        download("APPIMG", 0x601ae000, 0x800, 18);
        download("CP", 0xFE000004, 0x800, 522);
        download("INDELTANV", 0xFE000004, 0x800, 6);
        ck_assert_uint_eq(erase_at(0xFE000001, 0), 0x80);
        ck_assert(said("\"bootable\":false"));
        download("SPL", 0x60000000, 0x800, 31);
        ck_assert(said("\"bootable\":true"));
        in_flash("SPL", 0x60000000);
        in_flash("BOOT", 0x60020000);
        in_flash("AP", 0x60030000);
        in_flash("APPIMG", 0x601ae000);
        ck_assert(in_store("FMOD/cp.bin.024"));
        ck_assert(in_store("FMOD/riscV.bin.000"));
        ck_assert(!in_store("FMOD/old.bin.999"));
        ck_assert(in_store("FFAC/indeltanv_4524363_6.bin"));
        ck_assert_uint_eq(command(5, NULL, 0), 0x80);
        advance(10 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_BOOT);
        free(pac);
}
END_TEST

START_TEST(test_real_8910) {
        static uint8_t image[0x20000];
        const uint8_t *p;
        char head[20], tag[32];
        uint64_t delay;
        size_t n;

        if (!load_pac("uis8910_full.pac"))
                return;
        plug("uis8910", 4);
        use_crc = plain = false;
        rda_sums = true;
        p = entry("HOST_FDL", &n);
        pdl("ae11000000ff0000", "0400000000808300a0330000", (const uint8_t *) "PDL1", 5);
        expect_hex(PDL_ACK);
        for (size_t at = 0; at < n; at += 0x800) {
                size_t k = n - at < 0x800 ? n - at : 0x800;

                snprintf(head, sizeof(head), "ae%02x%02x0000ff0000", (unsigned) (k + 12) & 0xFF,
                         (unsigned) (k + 12) >> 8);
                snprintf(tag, sizeof(tag), "05000000%02x000000%02x%02x0000", (unsigned) (at / 0x800),
                         (unsigned) k & 0xFF, (unsigned) k >> 8);
                pdl(head, tag, p + at, k);
                expect_hex(PDL_ACK);
        }
        pdl("ae10000000ff0000", "060000000000000000000000", (const uint8_t *) "\x1c\x3c\x6e\x06", 4);
        expect_hex(PDL_ACK);
        pdl("ae0c000000ff0000", "070000000000000000000000", NULL, 0);
        expect_nothing();
        ask("7e", "7e008100225370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200a9e97e");
        ask("7e00000000ffff7e", "7e00800000ff7f7e");
        download("FDL2", 0x810000, 0x840, 25);
        ask("7e00040000fffb7e", "7e00800000ff7f7e");
        read_nv(image, sizeof(image));
        download("BOOTLOADER", 0x60000000, 0x800, 21);
        download("AP", 0x60010000, 0x800, 633);
        download("PS", 0x60560000, 0x800, 1280);
        in_flash("BOOTLOADER", 0x60000000);
        in_flash("AP", 0x60010000);
        in_flash("PS", 0x60560000);
        ck_assert_uint_eq(erase_at(0xFE000006, 0x53595346), 0x80);
        ck_assert_uint_eq(erase_at(0xFE000001, 0), 0x80);
        memcpy(image, entry("NV", &n), sizeof(image));
        ck_assert_uint_eq(write_module_nv(image, n, false), 0x84);
        ck_assert_uint_eq(write_module_nv(image, n, true), 0x80);
        ck_assert_uint_eq(get_be16(image), 0x263b);
        download("PREPACK", 0xFE000004, 0x800, 1);
        ck_assert(in_store("FSYS/prepack/example.txt"));
        ck_assert_uint_eq(command(5, NULL, 0), 0x80);
        advance(10 * MS);
        ck_assert_int_eq(sim_take_wish(m, &delay), SIM_BOOT);
        free(pac);
}
END_TEST

/* ---- faults ---- */

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
        m = sim_free(m);
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
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

/* ---- the rarer ways ---- */

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

/* A file of its own next to the storage directory. */
static void write_beside(char *path, size_t size, const char *text, size_t n) {
        int fd;

        snprintf(path, size, "%s.txt", dir);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, text, n), (ssize_t) n);
        close(fd);
}

START_TEST(test_tables_from_files) {
        char path[96], spec[160];
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

START_TEST(test_module_variants) {
        static uint8_t image[0x28000], again[0x28000], data[0x1000];
        uint8_t phase[256] = {0};
        size_t at;

        fdl_8850("uis8850,fast,quectel,spl-copies=1");
        read_nv(image, sizeof(image));
        at = find_item(image, sizeof(image), 2);
        image[at + 200] ^= 1;
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), true), 0x80);
        read_nv(again, sizeof(again));
        ck_assert_uint_ne(again[at + 200], image[at + 200]); /* ACKed, and not stored */
        ck_assert_uint_eq(start_at(0xFE000002, 256), 0x80);
        ck_assert_uint_eq(command(2, phase, 256), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        ck_assert_uint_eq(write_module_nv(image, sizeof(image), true), 0x80);
        read_nv(again, sizeof(again));
        ck_assert_uint_eq(again[at + 200], image[at + 200]);
        sihr(data, sizeof(data));
        ck_assert_uint_eq(erase_at(0x60000000, 0x20000), 0x80);
        ck_assert_uint_eq(start_at(0x60000000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        read_store("flash.bin", 0x10000, again, 4);
        ck_assert_mem_eq(again, "\xff\xff\xff\xff", 4);
        tear_down();
        set_up();
        fdl_8850("uis8850,fast,nv-short=0x24000,secure");
        ck_assert_uint_eq(read_at(0xFE000003, 0x3000, 0x24000), 0x82);
        ck_assert_uint_eq(read_at(0xFE000003, 0x3000, 0x23000), 0x93);
        ck_assert_uint_eq(answer_size, 0x1000);
        memset(data, 0x11, sizeof(data));
        ck_assert_uint_eq(start_at(0x60020000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0xAA);
        tear_down();
        set_up();
        fdl2_8910("uis8910,fast,secure");
        ck_assert_uint_eq(start_at(0x60010000, sizeof(data)), 0x80);
        ck_assert_uint_eq(all_midst(data, sizeof(data), 0x800), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x8B);
        ck_assert(said("\"bootable\":false"));
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

/* ---- hostile hosts ---- */

/* Random commands with random payloads, valid checksums and often plausible numbers: the model must live, whatever the
 * unit does. */
static void throw_at_it(unsigned seed, unsigned rounds) {
        static const uint8_t types[] = {0, 1,    1,    1,    2,    2,    2,    2,    3,    3,    6,
                                        6, 0x0A, 0x0A, 0x0B, 0x10, 0x11, 0x11, 0x12, 0x2D, 0x25, 0x2A};
        static const char *const names[] = {"boot",     "l_fixnv1", "splloader", "user_partition",
                                            "userdata", "x_size",   "vbmeta",    ""};
        static const uint32_t addresses[] = {0x60000000, 0x60000FFF, 0xFE000003, 0xFE000004,
                                             0xFE000002, 0xFE000006, 0,          0x607FF000};
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
                        be32(payload, addresses[dice[3] % ELEMENTSOF(addresses)]);
                        be32(payload + 4, dice[4] & 1 ? get_le16(dice + 4) : 0xFFFFFFF0 + (dice[5] & 15));
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

START_TEST(test_hostile) {
        static const char *const specs[] = {"phone-emmc,fast,unknown-limit=0,buffer=4k,size=512M", "uis8850,fast",
                                            "uis8910,fast"};
        char json[8192];

        for (unsigned round = 0; round < 6; round++) {
                switch (round % 3) {
                case 0:
                        phone_fdl2(specs[0]);
                        break;
                case 1:
                        fdl_8850(specs[1]);
                        break;
                case 2:
                        fdl2_8910(specs[2]);
                        break;
                }
                throw_at_it(round, 300);
                ck_assert_uint_gt(sim_describe(m, json, sizeof(json)), 100);
                ck_assert_uint_lt(sim_describe(m, json, 50), 50);
                tear_down();
                set_up();
        }
}
END_TEST

/* ---- replies as transfers ---- */

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
                char path[96];

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

/* ---- the channel ---- */

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

static void add(Suite *s, const char *name, const TTest *const tests[], size_t n) {
        TCase *t = tcase_create(name);

        tcase_add_checked_fixture(t, set_up, tear_down);
        tcase_set_timeout(t, 60);
        for (size_t i = 0; i < n; i++)
                tcase_add_test(t, tests[i]);
        suite_add_tcase(s, t);
}

static void add_phone(Suite *s) {
        const TTest *const tests[] = {test_phone_to_fdl2,
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

        add(s, "phone", tests, ELEMENTSOF(tests));
}

static void add_modules(Suite *s) {
        const TTest *const tests[] = {test_phone_userdata, test_8850_rom,       test_8850_flash,
                                      test_8850_states,    test_rda_receiver,   test_8850_crc_frame_kills_fdl,
                                      test_8850_nv,        test_8850_nv_damage, test_module_erases,
                                      test_module_prepack, test_8910_pdl,       test_8910_fdl1_ugly,
                                      test_8910_flash,     test_8910_nv,        test_8910_nv_missing,
                                      test_real_8850,      test_real_8910,      test_module_variants};

        add(s, "modules", tests, ELEMENTSOF(tests));
}

static void add_others(Suite *s) {
        const TTest *const tests[] = {
                test_worked_frames,       test_fault_kinds,       test_fault_ends, test_fault_points, test_fault_flash,
                test_fault_sync_pdl_exec, test_tables_from_files, test_power_loss, test_resync,       test_hostile,
                test_in_transfers,        test_glued_logs_option, test_bad_specs,  test_usb_facts,    test_channel};

        add(s, "others", tests, ELEMENTSOF(tests));
}

int main(void) {
        Suite *s = suite_create("simmodel");
        SRunner *r;
        int failed;

        add_phone(s);
        add_modules(s);
        add_others(s);
        r = srunner_create(s);
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
