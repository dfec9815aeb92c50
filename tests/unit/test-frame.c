/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdio.h>

#include "bsl/devinfo.h"
#include "bsl/frame.h"

static uint8_t wire[BSL_WIRE_MAX], expected[BSL_WIRE_MAX], payload[BSL_PAYLOAD_MAX + 1];
static BslDecoder decoder;

/* Reproducible numbers; the seed is in the failure text by way of the loop index. */
static uint32_t state;
static uint32_t draw(void) {
        state = state * 1664525 + 1013904223;
        return state >> 8;
}

static size_t unhex(const char *text, uint8_t *ret) {
        size_t n = 0;

        for (; *text; text++) {
                unsigned byte;
                if (*text == ' ')
                        continue;
                ck_assert_int_eq(sscanf(text, "%2x", &byte), 1);
                ret[n++] = (uint8_t) byte;
                text++;
        }
        return n;
}

typedef struct Worked {
        uint16_t type;
        const char *payload, *frame;
        BslCheck check;
        bool raw;
} Worked;

#define CRC BSL_CHECK_CRC16
#define SUM BSL_CHECK_SUM
#define ZERO10 "00000000000000000000"
#define ZERO50 ZERO10 ZERO10 ZERO10 ZERO10 ZERO10
#define ZERO54 ZERO50 "00000000"
#define ZERO60 ZERO50 ZERO10
#define ZERO64 ZERO60 "00000000"

static const Worked worked[] = {
        {0x00, "", "7E 00 00 00 00 00 00 7E", CRC},
        {0x00, "", "7E 00 00 00 00 FF FF 7E", SUM},
        {0x03, "", "7E 00 03 00 00 59 50 7E", CRC},
        {0x03, "", "7E 00 03 00 00 FF FC 7E", SUM},
        {0x04, "", "7E 00 04 00 00 DC C0 7E", CRC},
        {0x04, "", "7E 00 04 00 00 FF FB 7E", SUM},
        {0x05, "", "7E 00 05 00 00 FF FA 7E", SUM},
        {0x0c, "", "7E 00 0C 00 00 FF F3 7E", SUM},
        {0x0d, "", "7E 00 0D 00 00 FF F2 7E", SUM},
        {0x12, "", "7E 00 12 00 00 FF ED 7E", SUM},
        {0x13, "", "7E 00 13 00 00 FF EC 7E", SUM},
        {0x17, "", "7E 00 17 00 00 FF E8 7E", SUM},
        {0x1a, "", "7E 00 1A 00 00 FF E5 7E", SUM},
        {0x1b, "", "7E 00 1B 00 00 FF E4 7E", SUM},
        {0x21, "", "7E 00 21 00 00 FF DE 7E", SUM},
        {0x28, "", "7E 00 28 00 00 FF D7 7E", SUM},
        {0x2d, "", "7E 00 2D 00 00 FF D2 7E", SUM},
        {0x33, "", "7E 00 33 00 00 FF CC 7E", SUM},
        {0x80, "", "7E 00 80 00 00 3B 5A 7E", CRC},
        {0x80, "", "7E 00 80 00 00 FF 7F 7E", SUM},
        {0x84, "", "7E 00 84 00 00 E7 9A 7E", CRC},
        {0x84, "", "7E 00 84 00 00 FF 7B 7E", SUM},
        {0x8a, "", "7E 00 8A 00 00 FF 75 7E", SUM},
        {0x8b, "", "7E 00 8B 00 00 CB AB 7E", CRC},
        {0x8b, "", "7E 00 8B 00 00 FF 74 7E", SUM},
        {0x96, "", "7E 00 96 00 00 FF 69 7E", SUM},
        {0xa6, "", "7E 00 A6 00 00 0F 3C 7E", CRC},
        {0xa6, "", "7E 00 A6 00 00 FF 59 7E", SUM},
        {0xfe, "", "7E 00 FE 00 00 FF 01 7E", SUM},
        {0x82, "", "7E 00 82 00 00 FF 7D 5D 7E", SUM},
        {0x81, "535052443300", "7E 00 81 00 06 53 50 52 44 33 00 57 0A 7E", CRC},
        {0x81, "53505244343A4175746F4400", "7E 00 81 00 0C 53 50 52 44 34 3A 41 75 74 6F 44 00 FD 8B 7E", CRC},
        {0x81, "53505244343A4175746F4400", "7E 00 81 00 0C 53 50 52 44 34 3A 41 75 74 6F 44 00 2B BF 7E", SUM},
        {0x81, "5370726561647472756D20426F6F7420426C6F636B2076657273696F6E20312E3100",
         "7E 00 81 00 22 53 70 72 65 61 64 74 72 75 6D 20 42 6F 6F 74 20 42 6C 6F 63 6B 20 76 65 72 73 69 6F 6E 20 31 "
         "2E 31 "
         "00 AA E9 7E",
         SUM},
        {0x81, "5370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200",
         "7e008100225370726561647472756d20426f6f7420426c6f636b2076657273696f6e20312e3200a9e97e", SUM},
        {0x01, "000055000000B000", "7E 00 01 00 08 00 00 55 00 00 00 B0 00 DC 2E 7E", CRC},
        {0x01, "9EFFFE0000100000", "7E 00 01 00 08 9E FF FE 00 00 10 00 00 62 E6 7E", SUM},
        {0x02, "7E7D0011", "7E 00 02 00 04 7D 5E 7D 5D 00 11 91 83 7E", CRC},
        {0x02, "7E7D0011", "7E 00 02 00 04 7D 5E 7D 5D 00 11 81 6B 7E", SUM},
        {0x02, "7E7D0011", "7E 00 02 00 04 7E 7D 00 11 81 6B 7E", SUM, true},
        {0x02, "414243", "7E 00 02 00 03 41 42 43 B8 7B 7E", SUM},
        {0x02, "41424300", "7E 00 02 00 04 41 42 43 00 7B B7 7E", SUM},
        {0x09, "000E1000", "7E 00 09 00 04 00 0E 10 00 EF E4 7E", SUM},
        {0x06, "800000030000080000000000", "7E 00 06 00 0C 80 00 00 03 00 00 08 00 00 00 00 00 77 EA 7E", SUM},
        {0x11, "0010000000000000", "7E 00 11 00 08 00 10 00 00 00 00 00 00 FF D6 7E", SUM},
        {0x11, "00F800000000000001000000", "7E 00 11 00 0C 00 F8 00 00 00 00 00 00 01 00 00 00 FD EA 7E", SUM},
        {0x01, "62006F006F0074005F006100" ZERO60 "00000004",
         "7E 00 01 00 4C 62006F006F0074005F006100" ZERO60 "00000004 8B AC 7E", SUM},
        {0x10, "6D00690073006300" ZERO64 "20080000", "7E 00 10 00 4C 6D00690073006300" ZERO64 "20080000 33 9A 7E", SUM},
        {0x0a, "6D00690073006300" ZERO64 "00000000", "7E 00 0A 00 4C 6D00690073006300" ZERO64 "00000000 53 A8 7E", SUM},
        {0x0a, "650072006100730065005F0061006C006C00" ZERO54 "FFFFFFFF",
         "7E 00 0A 00 4C 650072006100730065005F0061006C006C00" ZERO54 "FFFFFFFF 57 A6 7E", SUM},
        /* module loaders */
        {0x01, "5080000000010b80", "7e000100085080000000010b80eb697e", CRC},
        {0x09, "0001c200", "7e000900040001c2003df17e", SUM},
        {0x01, "008100000000cbe0", "7e00010008008100000000cbe033957e", SUM},
        {0x01, "600100000013c6c0", "7e00010008600100000013c6c0d9217e", SUM},
        {0x02, "7e7d01", "7e000200037d5e7d5d017d5d807e", SUM}, /* module loaders show 80 7D: see test_odd_orders */
        {0x0a, "fe00000100000000", "7e000a0008fe0000010000000001ec7e", SUM},
        {0x0a, "6000000000020000", "7e000a000860000000000200009feb7e", SUM},
        {0x0a, "00000000ffffffff", "7e000a000800000000ffffffffffed7e", SUM},
        {0x0a, "fe00000653595346", "7e000a0008fe000006535953465b477e", SUM},
        {0x06, "fe0000030000300000000000", "7e0006000cfe0000030000300000000000d1e97e", SUM},
        {0x01, "fe0000030002000000ac9d20",
         "7e0001000cfe000003000200"
         "0000ac9d2064207e",
         SUM},
        {0x01, "fe000003000280000072b7f5", "7e0001000cfe000003000280000072b7f5c9847e", SUM},
};

START_TEST(test_worked) {
        const Worked *w = worked + _i;
        size_t size = unhex(w->payload, payload), n = unhex(w->frame, expected);
        const uint8_t *p = expected;
        size_t left = n;
        BslFrame f;

        ck_assert_uint_eq(bsl_frame_encode(wire, w->type, payload, size, w->check, !w->raw), n);
        ck_assert_mem_eq(wire, expected, n);
        if (w->raw)
                return; /* a command: not what a device sends, the raw decoder refuses it */
        bsl_decoder_reset(&decoder, true);
        ck_assert_int_eq(bsl_decoder_feed(&decoder, &p, &left, &f), BSL_DECODED_FRAME);
        ck_assert_uint_eq(f.type, w->type);
        ck_assert_uint_eq(f.size, size);
        if (size > 0)
                ck_assert_mem_eq(f.payload, payload, size);
        ck_assert(bsl_body_check(f.body, f.body_size, w->check));
        ck_assert(!bsl_body_check(f.body, f.body_size, w->check == SUM ? CRC : SUM));
        ck_assert_uint_eq(decoder.garbage, 0);
}
END_TEST

START_TEST(test_checks) {
        ck_assert_uint_eq(bsl_crc16(0, "123456789", 9), 0x31c3);
        ck_assert_uint_eq(bsl_crc16(bsl_crc16(0, "1234", 4), "56789", 5), 0x31c3);
        ck_assert_uint_eq(bsl_sum16("123456789", 9), 0x2af6);
        ck_assert_uint_eq(bsl_sum16("", 0), 0xffff);
        memset(payload, 0xff, sizeof(payload));
        ck_assert_uint_eq(bsl_sum16(payload, sizeof(payload)), 0);
}
END_TEST

/* The text of bsl-protocol §3.3, word by word. */
static uint16_t plain_sum16(const uint8_t *p, size_t size) {
        uint32_t sum = 0;

        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (uint32_t) (p[i] | p[i + 1] << 8);
        if (size % 2)
                sum += p[size - 1];
        sum = (sum >> 16) + (sum & 0xffff);
        sum += sum >> 16;
        return (uint16_t) ~sum;
}

START_TEST(test_sum_plain) {
        uint32_t seed = (uint32_t) _i * 2654435761u + 1;

        for (size_t i = 0; i < sizeof(payload); i++) {
                seed = seed * 1664525u + 1013904223u;
                payload[i] = _i % 4 == 0 ? 0xff : _i % 4 == 1 && i % 7 ? 0 : (uint8_t) (seed >> 24);
        }
        for (size_t size = 0; size < 300; size++)
                ck_assert_uint_eq(bsl_sum16(payload + _i % 5, size), plain_sum16(payload + _i % 5, size));
        ck_assert_uint_eq(bsl_sum16(payload, 65533), plain_sum16(payload, 65533));
}
END_TEST

/* Both orders behind an odd payload, only one behind an even. */
START_TEST(test_odd_orders) {
        uint8_t body[] = {0x00, 0x93, 0x00, 0x03, 0x41, 0x42, 0x43, 0, 0};
        uint8_t even[] = {0x00, 0x93, 0x00, 0x02, 0x41, 0x42, 0, 0};
        uint16_t sum = bsl_sum16(body, 7);

        put_le16(body + 7, sum);
        ck_assert(bsl_body_check(body, 9, SUM));
        put_be16(body + 7, sum);
        ck_assert(bsl_body_check(body, 9, SUM));
        ck_assert_uint_eq(unhex("000200037e7d01807d", payload), 9);
        ck_assert(bsl_body_check(payload, 9, SUM));
        body[7] ^= 1;
        ck_assert(!bsl_body_check(body, 9, SUM));
        put_be16(even + 6, bsl_sum16(even, 6));
        ck_assert(!bsl_body_check(even, 8, SUM));
        put_le16(even + 6, bsl_sum16(even, 6));
        ck_assert(bsl_body_check(even, 8, SUM));
        ck_assert(!bsl_body_check(even, 5, SUM));
}
END_TEST

/* Feeds a stream cut into random pieces and counts good frames; remembers the last. */
static uint16_t last_type;
static size_t last_size;
static unsigned feed(const uint8_t *data, size_t size, size_t piece, BslCheck check, unsigned *ret_bad) {
        unsigned frames = 0;

        last_type = 0;
        last_size = SIZE_MAX;

        while (size > 0) {
                size_t want = piece ? 1 + draw() % piece : size, n = MIN(size, want), left = n;
                const uint8_t *p = data;
                for (;;) {
                        BslFrame f;
                        BslDecoded r = bsl_decoder_feed(&decoder, &p, &left, &f);
                        if (r == BSL_DECODED_MORE)
                                break;
                        if (r == BSL_DECODED_FRAME && bsl_body_check(f.body, f.body_size, check)) {
                                frames++;
                                last_type = f.type;
                                last_size = f.size;
                                ck_assert_uint_eq(f.body_size, f.size + 6);
                                ck_assert_mem_eq(f.payload, payload, f.size);
                        } else if (ret_bad)
                                ++*ret_bad;
                }
                ck_assert_uint_eq(left, 0);
                data += n;
                size -= n;
        }
        return frames;
}

START_TEST(test_round_trip) {
        static uint8_t stream[8 * BSL_WIRE_MAX];
        bool transcode = _i % 2;
        BslCheck check = _i % 4 < 2 ? SUM : CRC;
        size_t n = 0, size = 0, k = 1 + (size_t) _i % 7;

        state = (uint32_t) _i;
        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = draw() % 3 ? (uint8_t) draw() : (uint8_t) (0x7d + draw() % 2);
        for (size_t i = 0; i < k; i++) {
                size = draw() % 5 == 0 ? BSL_PAYLOAD_MAX - draw() % 3 : draw() % 600;
                size_t one = bsl_frame_encode(wire, 0x93, payload, size, check, transcode);
                bool share = n > 0 && draw() % 2; /* one flag ends a frame and opens the next */
                ck_assert_uint_gt(one, size + 7);
                memcpy(stream + n, wire + share, one - share);
                n += one - share;
                for (unsigned extra = draw() % 3; extra > 0; extra--)
                        stream[n++] = BSL_FLAG;
        }
        bsl_decoder_reset(&decoder, transcode);
        ck_assert_uint_eq(feed(stream, n, 1 + draw() % 70000, check, NULL), k);
        ck_assert_uint_eq(last_size, size);
        ck_assert_uint_eq(decoder.garbage, 0);
}
END_TEST

START_TEST(test_too_long) {
        ck_assert_uint_eq(bsl_frame_encode(wire, 2, payload, BSL_PAYLOAD_MAX + 1, SUM, true), 0);
        memset(payload, BSL_FLAG, sizeof(payload));
        ck_assert_uint_le(bsl_frame_encode(wire, 2, payload, BSL_PAYLOAD_MAX, SUM, true), BSL_WIRE_MAX);
}
END_TEST

/* A good frame after each of these is still found. */
static const char *const junk[] = {
        "",
        "00",
        "55 55 55",
        "7E",
        "7E 7E 7E 7E",
        "7E 00 80 00 00 FF 7E",
        "7E 00 80 00 04 FF 7F 7E",
        "7E 7D 7E",
        "7D",
        "7E 7D",
        "7E 00 80 FF FF 00",
        "7E 00",
        "00 80 00 00 FF 7F 7E",
        "7E 00 80 00 00 FF 7F 00 7E",
        "7E 00 80 00 00 FF 7D 7E",
        "7E 7D 7D 7E",
        "0D 0A 62 6F 6F 74 7E",
        "7E 00 80 00 01 FF 7E",
};

START_TEST(test_junk_before) {
        const char *ack = "7E 00 80 00 00 FF 7F 7E";
        size_t n = unhex(junk[_i], expected);

        n += unhex(ack, expected + n);
        bsl_decoder_reset(&decoder, true);
        ck_assert_uint_eq(feed(expected, n, 1, SUM, NULL), 1);
        ck_assert_uint_eq(last_type, 0x80);
        ck_assert_uint_eq(last_size, 0);
}
END_TEST

static const char *const raw_junk[] = {
        "", "00 11 22", "7E", "7E 7E", "7E 12 34", "7E 00 34 56", "7E 00 80 00 00 FF 7F 00", "AE 7E 7E", "7E 00 7E",
};

START_TEST(test_raw_junk_before) {
        size_t n = unhex(raw_junk[_i], expected);

        n += unhex("7E 00 80 00 00 FF 7F 7E", expected + n);
        bsl_decoder_reset(&decoder, false);
        ck_assert_uint_eq(feed(expected, n, 1 + (size_t) _i % 3, SUM, NULL), 1);
        ck_assert_uint_eq(last_type, 0x80);
}
END_TEST

/* Whatever comes, the decoder uses it up, stays within its buffer (sanitizers see to that) and finds the frame behind.
 */
START_TEST(test_hostile) {
        static uint8_t stream[512 * 1024];
        bool transcode = _i % 2;
        size_t n = sizeof(stream) - 100000;

        state = (uint32_t) _i * 77;
        for (size_t i = 0; i < n; i++)
                switch (_i / 2 % 4) {
                case 0:
                        stream[i] = (uint8_t) draw();
                        break;
                case 1: /* many beginnings of the longest frame */
                        stream[i] = (uint8_t[]){0x7e, 0x00, 0x93, 0xff, 0xff}[i % 5];
                        break;
                case 2: /* small frames that do not end */
                        stream[i] = (uint8_t[]){0x7e, 0x00, 0x80, 0x00, 0x01, 0x00, 0x00}[i % 7];
                        break;
                default:
                        stream[i] = draw() % 4 ? 0x7d : 0x7e;
                }
        memset(stream + n, 0x7e, 100000);
        n += 99000;
        n += unhex("7E 00 80 00 00 FF 7F 7E", stream + n);
        bsl_decoder_reset(&decoder, transcode);
        feed(stream, n, _i % 3 ? 5000 : 0, SUM, NULL);
        ck_assert_uint_eq(last_type, 0x80);
        ck_assert_uint_eq(last_size, 0);
        ck_assert_uint_gt(decoder.garbage, 0);
}
END_TEST

/* ---- device info ------------------------------------------------------------------------------------------ */

START_TEST(test_info_struct) {
        uint8_t p[256] = {2, 0, 0, 0, 1, 0, 0, 0, 6};
        BslDeviceInfo i;

        ck_assert(bsl_device_info_parse(p, sizeof(p), &i));
        ck_assert(i.present && i.disable_transcode);
        ck_assert_uint_eq(i.old_memory, 6);
        ck_assert_uint_eq(i.raw_level, 0);
        p[0] = 4, p[9] = 2, p[12] = 0, p[13] = 8, p[16] = 3, p[17] = 1;
        ck_assert(bsl_device_info_parse(p, 20, &i));
        ck_assert_uint_eq(i.raw_level, 2);
        ck_assert_uint_eq(i.flush_kib, 2048);
        ck_assert_uint_eq(i.storage, 0x103);
        ck_assert(bsl_device_info_parse(p, 8, &i));
        ck_assert(i.disable_transcode && i.raw_level == 0);
        for (size_t n = 0; n < 8; n++)
                ck_assert(!bsl_device_info_parse(p, n, &i) && !i.present && !i.disable_transcode);
        p[0] = 5;
        ck_assert(!bsl_device_info_parse(p, 20, &i));
}
END_TEST

static bool parse_hex(const char *text, BslDeviceInfo *ret) {
        size_t n = unhex(text, payload);
        /* An exact copy, so that a sanitizer sees every byte too far. */
        uint8_t *copy = malloc(MAX(n, 1u));
        bool ok;

        memcpy(copy, payload, n);
        ok = bsl_device_info_parse(copy, n, ret);
        free(copy);
        return ok;
}

START_TEST(test_info_tlv) {
        const char *whole = "7E 00 96 00 26 6E 65 77 74 00 00 04 00 01 00 00 00 01 00 01 00 02 02 00 01 00 01 03 00 04 "
                            "00 00 08 00 00 06 "
                            "00 04 00 03 01 00 00 FC 5C 7E";
        BslDeviceInfo i;
        BslFrame f;
        size_t n = unhex(whole, expected);
        const uint8_t *p = expected;

        bsl_decoder_reset(&decoder, true);
        ck_assert_int_eq(bsl_decoder_feed(&decoder, &p, &n, &f), BSL_DECODED_FRAME);
        ck_assert(bsl_body_check(f.body, f.body_size, SUM));
        ck_assert(bsl_device_info_parse(f.payload, f.size, &i));
        ck_assert(i.present && i.disable_transcode && !i.challenge && !i.dump_log);
        ck_assert_uint_eq(i.old_memory, 2);
        ck_assert_uint_eq(i.raw_level, 1);
        ck_assert_uint_eq(i.flush_kib, 2048);
        ck_assert_uint_eq(i.storage, 0x103);
        ck_assert(parse_hex("6E657774 0400 0400 02000000 0700 0400 01000000 FFFF 0300 AABBCC", &i));
        ck_assert(i.challenge == 2 && i.dump_log);
        ck_assert(parse_hex("6E657774", &i) && i.present);
        ck_assert(parse_hex("6E657774 0000 0400 01000000 0000", &i) && i.disable_transcode);
        ck_assert(parse_hex("6E657774 0000 0400 01000000 00000000", &i) && i.disable_transcode);
        ck_assert(!parse_hex("6E657774 0000 0400 010000", &i) && !i.present);
        ck_assert(!parse_hex("6E657774 0000 FFFF 01000000", &i) && !i.disable_transcode);
        ck_assert(!parse_hex("6E657774 0000 0400 01000000 0100 0200 01", &i) && !i.disable_transcode);
        ck_assert(!parse_hex("6E6577", &i));
        ck_assert(!parse_hex("", &i));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("frame");
        TCase *frames = tcase_create("frames"), *info = tcase_create("device info");
        SRunner *runner;
        int failed;

        tcase_set_timeout(frames, 60);
        tcase_add_loop_test(frames, test_worked, 0, ELEMENTSOF(worked));
        tcase_add_test(frames, test_checks);
        tcase_add_loop_test(frames, test_sum_plain, 0, 20);
        tcase_add_test(frames, test_odd_orders);
        tcase_add_loop_test(frames, test_round_trip, 0, 64);
        tcase_add_test(frames, test_too_long);
        tcase_add_loop_test(frames, test_junk_before, 0, ELEMENTSOF(junk));
        tcase_add_loop_test(frames, test_raw_junk_before, 0, ELEMENTSOF(raw_junk));
        tcase_add_loop_test(frames, test_hostile, 0, 16);
        tcase_add_test(info, test_info_struct);
        tcase_add_test(info, test_info_tlv);
        suite_add_tcase(suite, frames);
        suite_add_tcase(suite, info);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
