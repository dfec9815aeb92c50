/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sim-host.h"

/* The modules UIS8910 and UIS8850. */

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

static unsigned write_module_nv(uint8_t *image, size_t size, bool fix_crc) {
        uint8_t p[12];
        unsigned r;

        if (fix_crc)
                put_be16(image, arc(image + 2, size - 2));
        put_be32(p, 0xFE000003);
        put_be32(p + 4, (uint32_t) size);
        put_be32(p + 8, 1); /* the sum is ignored */
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

int main(void) {
        const TTest *const modules[] = {test_8850_rom,
                                        test_8850_flash,
                                        test_8850_states,
                                        test_rda_receiver,
                                        test_8850_crc_frame_kills_fdl,
                                        test_8850_nv,
                                        test_8850_nv_damage,
                                        test_module_erases,
                                        test_module_prepack,
                                        test_8910_pdl,
                                        test_8910_fdl1_ugly,
                                        test_8910_flash,
                                        test_8910_nv,
                                        test_8910_nv_missing,
                                        test_real_8850,
                                        test_real_8910,
                                        test_module_variants};
        Suite *s = suite_create("simmodel-module");

        add_case(s, "modules", modules, ELEMENTSOF(modules));
        return run_suite(s);
}
