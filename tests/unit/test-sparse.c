/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>

#include "firmware/sparse.h"

#define BLOCK 4096u

typedef struct Image {
        uint8_t data[1 << 20];
        size_t size, start; /* start: of the sparse header */
        uint32_t blocks, chunks;
        bool sum, sum_short; /* what is left out counts as zeros, or not */
        uint32_t crc;
        Failure f;
        SparseInfo info;
        uint64_t read, largest;
} Image;

static Image image;

/* Bit by bit: not the way of what is tested. */
static void sum(Image *i, const uint8_t *p, size_t n) {
        while (n--) {
                i->crc ^= *p++;
                for (int k = 0; k < 8; k++)
                        i->crc = i->crc & 1 ? i->crc >> 1 ^ 0xedb88320 : i->crc >> 1;
        }
}

static void begin(bool prefix) {
        memset(&image, 0, sizeof(image));
        image.f = FAILURE_INIT;
        image.crc = UINT32_MAX;
        image.start = prefix ? 0x200 : 0;
        if (prefix)
                memcpy(image.data, "DHTB", 4);
        image.size = image.start + 28;
}

static uint8_t *chunk(unsigned type, uint32_t blocks, uint32_t bytes) {
        uint8_t *p = image.data + image.size;

        put_le16(p, (uint16_t) type);
        put_le32(p + 4, blocks);
        put_le32(p + 8, 12 + bytes);
        image.size += 12 + bytes;
        image.chunks++;
        image.blocks += blocks;
        return p + 12;
}

static void raw(uint32_t blocks) {
        uint8_t *p = chunk(0xcac1, blocks, blocks * BLOCK);

        for (size_t i = 0; i < blocks * BLOCK; i++)
                p[i] = (uint8_t) (i * 7 + i / 256 + image.chunks);
        sum(&image, p, blocks * BLOCK);
}

static void fill(uint32_t blocks, uint32_t word) {
        put_le32(chunk(0xcac2, blocks, 4), word);
        for (size_t i = 0; i < blocks * BLOCK / 4; i++) {
                uint8_t p[4];
                put_le32(p, word);
                sum(&image, p, 4);
        }
}

static void skip(uint32_t blocks, bool counts) {
        static const uint8_t zeros[BLOCK];

        chunk(0xcac3, blocks, 0);
        for (uint32_t i = 0; counts && i < blocks; i++)
                sum(&image, zeros, BLOCK);
}

static void crc(void) {
        put_le32(chunk(0xcac4, 0, 4), ~image.crc);
}

static void end(void) {
        uint8_t *h = image.data + image.start;

        put_le32(h, 0xed26ff3a);
        put_le16(h + 4, 1);
        put_le16(h + 8, 28);
        put_le16(h + 10, 12);
        put_le32(h + 12, BLOCK);
        put_le32(h + 16, image.blocks);
        put_le32(h + 20, image.chunks);
}

static void usual(bool prefix) {
        begin(prefix);
        raw(3);
        fill(5, 0xdeadbeef);
        skip(7, true);
        crc();
        fill(1, 0);
        raw(2);
        crc();
        end();
}

static int read_image(void *userdata, void *data, size_t size, uint64_t offset) {
        Image *i = userdata;

        ck_assert_uint_le(size, i->size);
        ck_assert_uint_le(offset, i->size - size);
        i->read += size;
        i->largest = MAX(i->largest, (uint64_t) size);
        memcpy(data, i->data + offset, size);
        return 0;
}

static int check(uint64_t room) {
        PacReader reader = {.read = read_image, .userdata = &image, .size = image.size};

        image.f = FAILURE_INIT;
        return sparse_check(&reader, room, &image.info, &image.f);
}

static void refused(const char *field, uint64_t offset) {
        ck_assert_int_eq(check(U64_UNKNOWN), 1);
        ck_assert_str_eq(image.f.detail, "sparse");
        ck_assert_msg(strstr(image.f.text, field) != NULL, "%s: %s", field, image.f.text);
        ck_assert_msg(image.f.offset == offset, "%s: byte %llu, %s", field, (unsigned long long) offset, image.f.text);
        ck_assert_int_eq(image.f.class, CLASS_PLAN);
}

START_TEST(whole_images_pass) {
        usual(_i);
        ck_assert_msg(check(18 * BLOCK) == 0, "%s", image.f.text);
        ck_assert_uint_eq(image.info.expanded, 18 * BLOCK);
        ck_assert_uint_eq(image.info.prefix, _i ? 0x200 : 0);
        ck_assert_uint_eq(image.info.chunks, 7);
        ck_assert(image.info.summed);
        ck_assert_uint_le(image.largest, 65536);
}
END_TEST

/* Nothing but headers is read where there is no sum. */
START_TEST(without_sum_only_headers_are_read) {
        begin(false);
        raw(50);
        skip(2, true);
        end();
        ck_assert_int_eq(check(U64_UNKNOWN), 0);
        ck_assert(!image.info.summed);
        ck_assert_uint_lt(image.read, 1024);
}
END_TEST

START_TEST(sums_of_both_customs) {
        begin(false);
        raw(1);
        skip(3, _i);
        fill(2, 0x01020304);
        crc();
        end();
        ck_assert_msg(check(U64_UNKNOWN) == 0, "%s", image.f.text);
        put_le32(image.data + 24, ~image.crc);
        ck_assert_msg(check(U64_UNKNOWN) == 0, "%s", image.f.text);
        image.data[24] ^= 1;
        refused("CRC in the header", 24);
}
END_TEST

START_TEST(one_flipped_bit_is_found) {
        usual(false);
        image.data[28 + 12 + 5000] ^= 4;
        refused("CRC", 28 + 12 + 3 * BLOCK + 16 + 12 + 12);
        usual(false);
        image.data[image.size - 1] ^= 0x80;
        refused("CRC", image.size - 4);
        usual(false);
        image.data[28 + 12 + 3 * BLOCK + 12] ^= 1; /* the value of the fill chunk */
        refused("CRC", 28 + 12 + 3 * BLOCK + 16 + 12 + 12);
}
END_TEST

START_TEST(too_large_for_its_partition) {
        usual(false);
        ck_assert_int_eq(check(18 * BLOCK - 1), 1);
        ck_assert_str_eq(image.f.detail, "sparse-size");
        ck_assert_int_eq(image.f.class, CLASS_MISMATCH);
}
END_TEST

static const struct {
        size_t at, size;
        uint32_t value;
        const char *field;
        uint64_t offset;
} bad[] = {
        {4, 2, 2, "major version", 4},
        {8, 2, 27, "size of the header", 8},
        {8, 2, 0xffff, "size of the header", 8},
        {10, 2, 11, "size of chunk headers", 10},
        {10, 2, 0xffff, "size of chunk headers", 10},
        {12, 4, 0, "size of a block", 12},
        {12, 4, 4098, "size of a block", 12},
        {12, 4, 0x80000000, "size of a block", 12},
        {16, 4, 0, "number of blocks", 16},
        {16, 4, 2, "blocks of the chunk", 32},
        {16, 4, 19, "blocks of all chunks", 0},
        {16, 4, 0xffffffff, "blocks of all chunks", 0},
        {20, 4, 6, "blocks of all chunks", 0},
        {20, 4, 8, "chunk header", 0},
        {20, 4, 0xffffffff, "chunk header", 0},
        {28, 2, 0xcac0, "kind of chunk", 28},
        {28, 2, 0xcac5, "kind of chunk", 28},
        {28, 2, 0xcac2, "fill chunk", 36},
        {28, 2, 0xcac3, "skipped chunk", 36},
        {28, 2, 0xcac4, "blocks of a CRC chunk", 32},
        {32, 4, 4, "raw chunk", 36},
        {32, 4, 0xffffffff, "blocks of the chunk", 32},
        {36, 4, 11, "size of the chunk", 36},
        {36, 4, 0xffffffff, "raw chunk", 36},
};

START_TEST(hostile_fields) {
        uint64_t offset = bad[_i].offset;

        usual(false);
        if (bad[_i].size == 2)
                put_le16(image.data + bad[_i].at, (uint16_t) bad[_i].value);
        else
                put_le32(image.data + bad[_i].at, bad[_i].value);
        if (offset == 0) { /* at the end */
                offset = image.size;
                if (bad[_i].at == 20 && bad[_i].value == 6)
                        offset -= 16 + 12 + 2 * BLOCK;
        }
        if (bad[_i].at == 20 && bad[_i].value == 6) { /* the last but one is reached, the raw one is not */
                ck_assert_int_eq(check(U64_UNKNOWN), 1);
                ck_assert_str_eq(image.f.detail, "sparse");
                return;
        }
        refused(bad[_i].field, offset);
}
END_TEST

START_TEST(cut_anywhere) {
        size_t full;

        usual(_i);
        full = image.size;
        for (size_t n = 0; n < full; n += n < 1000 ? 1 : 997) {
                image.size = n;
                ck_assert_int_eq(check(U64_UNKNOWN), 1);
                ck_assert_str_eq(image.f.detail, "sparse");
        }
}
END_TEST

START_TEST(what_follows_the_end) {
        usual(false);
        image.size += 4;
        refused("belong to no chunk", image.size - 4);
        usual(true); /* the signature of a signed image */
        image.size += 700;
        ck_assert_int_eq(check(U64_UNKNOWN), 0);
}
END_TEST

/* Chunks of a few bytes that stand for terabytes: no time, no memory. */
START_TEST(terabytes_of_nothing) {
        begin(false);
        chunk(0xcac2, 0x7fffffff, 4);
        chunk(0xcac3, 0x80000000, 0);
        put_le32(chunk(0xcac4, 0, 4), 0x12345678);
        end();
        image.data[12 + 1] = 0; /* 64 MiB blocks */
        put_le32(image.data + 12, 64u * 1024 * 1024);
        refused("CRC", image.size - 4);
        ck_assert_uint_eq(image.info.expanded, 0xffffffffull * 64 * 1024 * 1024);
        ck_assert_int_eq(check(1ull << 40), 1);
        ck_assert_str_eq(image.f.detail, "sparse-size");
}
END_TEST

START_TEST(random_damage_never_hurts) {
        uint64_t state = 88172645463325252ull + (unsigned) _i;

        for (int round = 0; round < 200; round++) {
                usual(round & 1);
                for (int k = 0; k < 3; k++) {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        image.data[image.start + (state & 63)] = (uint8_t) (state >> 8);
                }
                ck_assert_int_ge(check(1 << 20), 0);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("sparse");
        TCase *tc = tcase_create("sparse");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, whole_images_pass, 0, 2);
        tcase_add_test(tc, without_sum_only_headers_are_read);
        tcase_add_loop_test(tc, sums_of_both_customs, 0, 2);
        tcase_add_test(tc, one_flipped_bit_is_found);
        tcase_add_test(tc, too_large_for_its_partition);
        tcase_add_loop_test(tc, hostile_fields, 0, (int) ELEMENTSOF(bad));
        tcase_add_loop_test(tc, cut_anywhere, 0, 2);
        tcase_add_test(tc, what_follows_the_end);
        tcase_add_test(tc, terabytes_of_nothing);
        tcase_add_loop_test(tc, random_damage_never_hurts, 0, 4);
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
