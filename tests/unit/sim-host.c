/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "must.h"
#include "scratch.h"
#include "sim-host.h"

char dir[160];
SimModel *m;
uint64_t now;
bool use_crc, rda_sums, plain;
uint8_t answer[70000];
size_t answer_size;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f) {
        (void) st, (void) type, (void) f;
        return remove(path);
}

void set_up(void) {
        scratch_template(dir, sizeof(dir), "fdld-simmodel");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        now = 1000 * MS;
        m = NULL;
}

void tear_down(void) {
        m = sim_free(m);
        nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void plug(const char *spec, unsigned seed) {
        char err[256];

        m = sim_new(spec, dir, seed, err, sizeof(err));
        ck_assert_msg(m != NULL, "%s", err);
        sim_power_on(m, now, true);
        sim_line_state(m, 0x0601);
}

void advance(uint64_t ns) {
        now += ns;
        sim_advance(m, now);
}

size_t from_hex(const char *hex, uint8_t *to) {
        size_t n = 0;
        unsigned v;

        for (; *hex; hex++) {
                if (*hex == ' ' || *hex == '|')
                        continue;
                must(sscanf(hex, "%2x", &v) == 1, "not hex: %s", hex);
                to[n++] = (uint8_t) v;
                hex++;
        }
        return n;
}

void put(const uint8_t *p, size_t n) {
        SimUsb usb;

        sim_usb(m, &usb);
        ck_assert(sim_out_ready(m));
        sim_out(m, p, n, n % usb.max_packet == 0);
}

void send_hex(const char *hex) {
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

size_t fetch(uint8_t *to, size_t max) {
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

void expect_hex(const char *hex) {
        static uint8_t got[131072], want[4096];
        size_t n = fetch(got, sizeof(got)), k = from_hex(hex, want);
        char text[512] = "";

        for (size_t i = 0; i < n && i < 200; i++)
                snprintf(text + 2 * i, 3, "%02x", got[i]);
        ck_assert_msg(n == k && memcmp(got, want, n) == 0, "wanted %s, got %zu bytes: %s", hex, n, text);
}

void expect_nothing(void) {
        expect_hex("");
}

void ask(const char *send, const char *reply) {
        send_hex(send);
        expect_hex(reply);
}

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

size_t build(unsigned type, const uint8_t *p, size_t n, uint8_t *to) {
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

unsigned command(unsigned type, const void *p, size_t n) {
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

unsigned start_at(uint32_t address, uint32_t size) {
        uint8_t p[8];

        put_be32(p, address);
        put_be32(p + 4, size);
        return command(1, p, 8);
}

unsigned erase_at(uint32_t address, uint32_t size) {
        uint8_t p[8];

        put_be32(p, address);
        put_be32(p + 4, size);
        return command(0x0A, p, 8);
}

unsigned read_at(uint32_t address, uint32_t size, uint32_t offset) {
        uint8_t p[12];

        put_be32(p, address);
        put_be32(p + 4, size);
        put_be32(p + 8, offset);
        return command(6, p, 12);
}

void name_to(uint8_t *p, const char *name) {
        memset(p, 0, 72);
        for (size_t i = 0; name[i]; i++)
                p[2 * i] = (uint8_t) name[i];
}

unsigned named(unsigned type, const char *name, uint32_t size) {
        uint8_t p[76];

        name_to(p, name);
        put_le32(p + 72, size);
        return command(type, p, 76);
}

unsigned read_piece(uint32_t size, uint32_t offset) {
        uint8_t p[8];

        put_le32(p, size);
        put_le32(p + 4, offset);
        return command(0x11, p, 8);
}

unsigned all_midst(const uint8_t *p, size_t n, size_t step) {
        unsigned r = 0x80;

        for (size_t at = 0; at < n && r == 0x80; at += step)
                r = command(2, p + at, n - at < step ? n - at : step);
        return r;
}

void read_store(const char *file, uint64_t offset, void *buf, size_t n) {
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s is missing", path);
        ck_assert_int_eq(pread(fd, buf, n, (off_t) offset), (ssize_t) n);
        close(fd);
}

void write_store(const char *file, uint64_t offset, const void *buf, size_t n) {
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(pwrite(fd, buf, n, (off_t) offset), (ssize_t) n);
        close(fd);
}

bool in_store(const char *file) {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", dir, file);
        return access(path, F_OK) == 0;
}

bool said(const char *text) {
        static char json[8192];

        sim_describe(m, json, sizeof(json));
        return strstr(json, text) != NULL;
}

void pattern(uint8_t *p, size_t n, unsigned seed) {
        for (size_t i = 0; i < n; i++) {
                seed = seed * 1103515245 + 12345;
                p[i] = (uint8_t) (seed >> 16);
        }
}

void fault(const char *line) {
        char err[256];

        ck_assert_msg(sim_fault(m, line, err, sizeof(err)), "%s", err);
}

void phone_rom(const char *spec) {
        plug(spec, 1);
        use_crc = true;
        rda_sums = plain = false;
        ask("7E", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E");
        ask("7E 00 00 00 00 00 00 7E", "7E 00 80 00 00 3B 5A 7E");
}

void phone_fdl1_at(const char *spec, uint32_t base) {
        phone_rom(spec);
        ck_assert_uint_eq(start_at(base, 4), 0x80);
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

unsigned start_fdl2(uint32_t base) {
        ck_assert_uint_eq(start_at(base, 6), 0x80);
        ck_assert_uint_eq(command(2, "loader", 6), 0x80);
        ck_assert_uint_eq(command(3, NULL, 0), 0x80);
        return command(4, NULL, 0);
}

void phone_fdl1(const char *spec) {
        phone_fdl1_at(spec, 0x5500);
}

void phone_fdl2(const char *spec) {
        phone_fdl1(spec);
        ck_assert_uint_eq(start_fdl2(0x9EFFFE00), 0x96);
}

void rom_8850(const char *spec) {
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

void sihr(uint8_t *p, size_t n) {
        pattern(p, n, 77);
        memset(p, 0, 0x100);
        memcpy(p, "SIHR", 4);
        put_le32(p + 0x24, (uint32_t) n);
}

void fdl_8850(const char *spec) {
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

void read_nv(uint8_t *to, size_t size) {
        for (size_t at = 0; at < size; at += 0x3000) {
                size_t n = size - at < 0x3000 ? size - at : 0x3000;
                ck_assert_uint_eq(read_at(0xFE000003, (uint32_t) n, (uint32_t) at), 0x93);
                ck_assert_uint_eq(answer_size, n);
                memcpy(to + at, answer, n);
        }
}

size_t find_item(const uint8_t *image, size_t size, unsigned id) {
        for (size_t at = 4; at + 4 <= size && get_le16(image + at) != 0xFFFF;
             at += 4 + ((get_le16(image + at + 2) + 3u) & ~3u))
                if (get_le16(image + at) == id)
                        return at;
        return 0;
}

void uimage(uint8_t *p, size_t n) {
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

void pdl(const char *head, const char *tag, const uint8_t *data, size_t n) {
        send_hex(head);
        send_hex(tag);
        if (n)
                put(data, n);
}

void fdl1_8910(const char *spec) {
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

void fdl2_8910(const char *spec) {
        uint8_t loader[0x1000];

        fdl1_8910(spec);
        uimage(loader, sizeof(loader));
        ck_assert_uint_eq(start_at(0x810000, sizeof(loader)), 0x80);
        ck_assert_uint_eq(all_midst(loader, sizeof(loader), 0x840), 0x80);
        ask("7e00030000fffc7e", "7e00800000ff7f7e");
        ask("7e00040000fffb7e", "7e00800000ff7f7e"); /* sent by FDL2 */
}

void write_beside(char *path, size_t size, const char *text, size_t n) {
        int fd;

        snprintf(path, size, "%s.txt", dir);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, text, n), (ssize_t) n);
        close(fd);
}

void add_case(Suite *s, const char *name, const TTest *const tests[], size_t n) {
        TCase *t = tcase_create(name);

        tcase_add_checked_fixture(t, set_up, tear_down);
        tcase_set_timeout(t, 60);
        for (size_t i = 0; i < n; i++)
                tcase_add_test(t, tests[i]);
        suite_add_tcase(s, t);
}

unsigned write_part(const char *name, const void *p, size_t n) {
        unsigned r = named(1, name, (uint32_t) n);

        if (r == 0x80)
                r = all_midst(p, n, 0x1000);
        return r == 0x80 ? command(3, NULL, 0) : r;
}

unsigned write_nv(const char *name, const uint8_t *data, size_t n, uint32_t sum, bool with_sum) {
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

int run_suite(Suite *s) {
        SRunner *r = srunner_create(s);
        int failed;

        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
