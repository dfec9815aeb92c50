/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every form of every loop against the plainest words in which it can be said. */
#include <check.h>

#include "common/kernels.h"
#include "must.h"

#define ROOM 5000

static uint32_t state;
static uint32_t draw(void) {
        state = state * 1664525 + 1013904223;
        return state >> 8;
}

/* ---- in plain words ---- */

static size_t copy_plain_simple(const uint8_t *in, size_t size) {
        size_t n = 0;

        while (n < size && in[n] != 0x7d && in[n] != 0x7e)
                n++;
        return n;
}

static uint64_t sum_simple(const uint8_t *p, size_t size) {
        uint64_t sum = 0;

        for (size_t i = 0; i < size; i++)
                sum += i % 2 == 0 ? p[i] : (uint64_t) p[i] << 8;
        return sum;
}

static uint16_t crc_1021_simple(uint16_t crc, const uint8_t *p, size_t size) {
        for (size_t i = 0; i < size; i++) {
                crc ^= (uint16_t) (p[i] << 8);
                for (int bit = 0; bit < 8; bit++)
                        crc = (uint16_t) (crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
        }
        return crc;
}

static uint16_t crc_arc_simple(uint16_t crc, const uint8_t *p, size_t size) {
        for (size_t i = 0; i < size; i++) {
                crc ^= p[i];
                for (int bit = 0; bit < 8; bit++)
                        crc = (uint16_t) (crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
        }
        return crc;
}

/* ---- inputs ---- */

static uint8_t in_room[ROOM + 64], out_room[ROOM + 128];

/* Few, some, or only bytes that are escaped; only zeros; only ones. */
static void fill(uint8_t *p, size_t size, unsigned kind) {
        for (size_t i = 0; i < size; i++) {
                uint8_t r = (uint8_t) draw();

                switch (kind % 5) {
                case 0:
                        p[i] = r;
                        break;
                case 1:
                        p[i] = draw() % 500 == 0 ? 0x7d + r % 2 : (uint8_t) (r & 0x3f);
                        break;
                case 2:
                        p[i] = 0x7c + r % 4;
                        break;
                case 3:
                        p[i] = 0;
                        break;
                default:
                        p[i] = 0xff;
                }
        }
}

static size_t some_size(void) {
        return draw() % 3 == 0 ? draw() % 40 : draw() % 3 == 0 ? draw() % 300 : draw() % ROOM;
}

static bool untouched_around(const uint8_t *out, size_t size) {
        bool same = true;

        for (const uint8_t *p = out_room; p < out; p++)
                same = same && *p == 0xa5;
        for (const uint8_t *p = out + size; p < out_room + sizeof(out_room); p++)
                same = same && *p == 0xa5;
        return same;
}

static void compare(const Kernels *k, const uint8_t *in, size_t size, uint8_t *out, uint16_t crc) {
        size_t plain = copy_plain_simple(in, size);
        uint64_t sum = sum_simple(in, size);
        uint16_t crc_1021 = crc_1021_simple(crc, in, size), crc_arc = crc_arc_simple(crc, in, size);

        memset(out_room, 0xa5, sizeof(out_room));
        ck_assert_msg(k->copy_plain(out, in, size) == plain, "%s: copy_plain of %zu bytes", k->name, size);
        ck_assert_msg(size == 0 || memcmp(out, in, plain) == 0, "%s: copy_plain of %zu bytes copies wrongly", k->name, size);
        ck_assert_msg(untouched_around(out, size), "%s: copy_plain of %zu bytes writes outside of its room", k->name, size);

        memset(out_room, 0xa5, sizeof(out_room));
        ck_assert_msg(k->sum_words(in, size) == sum, "%s: sum_words of %zu bytes", k->name, size);
        ck_assert_msg(k->copy_sum_words(out, in, size) == sum, "%s: copy_sum_words of %zu bytes", k->name, size);
        ck_assert_msg(size == 0 || memcmp(out, in, size) == 0, "%s: copy_sum_words of %zu bytes copies wrongly", k->name, size);
        ck_assert_msg(untouched_around(out, size), "%s: copy_sum_words of %zu bytes writes outside of its room", k->name, size);

        ck_assert_msg(k->crc_1021(crc, in, size) == crc_1021, "%s: crc_1021 of %zu bytes", k->name, size);
        ck_assert_msg(k->crc_arc(crc, in, size) == crc_arc, "%s: crc_arc of %zu bytes", k->name, size);
}

START_TEST(every_form_agrees) {
        const Kernels *all[4];
        size_t n = kernels_all(all);

        state = (uint32_t) _i;
        ck_assert_uint_ge(n, 1);
        ck_assert_ptr_eq(kernels(), all[n - 1]);
        for (unsigned round = 0; round < 150; round++) {
                size_t size = some_size();
                uint8_t *in = in_room + draw() % 64, *out = out_room + draw() % 64;
                uint16_t crc = (uint16_t) (draw() % 2 ? draw() : 0);

                fill(in, size, round);
                for (size_t i = 0; i < n; i++)
                        compare(all[i], in, size, out, crc);
        }
}
END_TEST

/* One byte at each place, and each value of it, between others that are next to those looked for. */
START_TEST(every_place_is_seen) {
        const Kernels *all[4];
        size_t n = kernels_all(all);

        for (size_t i = 0; i < n; i++)
                for (size_t at = 0; at < 100; at++)
                        for (unsigned value = 0; value < 256; value++) {
                                uint8_t in[100], out[100];
                                size_t want = value == 0x7d || value == 0x7e ? at : 100;

                                memset(in, value % 2 ? 0x7c : 0x7f, sizeof(in));
                                in[at] = (uint8_t) value;
                                must(all[i]->copy_plain(out, in, sizeof(in)) == want, "kernel %zu, byte 0x%x at %zu", i, value, at);
                        }
}
END_TEST

START_TEST(sums_do_not_overflow) {
        const Kernels *all[4];
        size_t n = kernels_all(all), size = (size_t) 4 << 20;
        uint8_t *p = malloc(size);

        ck_assert_ptr_nonnull(p);
        memset(p, 0xff, size);
        for (size_t i = 0; i < n; i++)
                ck_assert_uint_eq(all[i]->sum_words(p, size), (uint64_t) 0xffff * (size / 2));
        free(p);
}
END_TEST

/* What is fed in pieces is what is fed at once. */
START_TEST(crcs_go_on) {
        const Kernels *all[4];
        size_t n = kernels_all(all);

        state = (uint32_t) _i + 1000;
        fill(in_room, ROOM, 0);
        for (size_t i = 0; i < n; i++) {
                uint16_t a = 0, b = 0;

                for (size_t at = 0; at < ROOM;) {
                        size_t step = 1 + draw() % 700;

                        step = MIN(step, ROOM - at);
                        a = all[i]->crc_1021(a, in_room + at, step);
                        b = all[i]->crc_arc(b, in_room + at, step);
                        at += step;
                }
                ck_assert_uint_eq(a, crc_1021_simple(0, in_room, ROOM));
                ck_assert_uint_eq(b, crc_arc_simple(0, in_room, ROOM));
        }
        ck_assert_uint_eq(all[0]->crc_1021(0, (const uint8_t *) "123456789", 9), 0x31c3);
        ck_assert_uint_eq(all[0]->crc_arc(0, (const uint8_t *) "123456789", 9), 0xbb3d);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("kernels");
        TCase *tc = tcase_create("forms");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, every_form_agrees, 0, 8);
        tcase_add_test(tc, every_place_is_seen);
        tcase_add_test(tc, sums_do_not_overflow);
        tcase_add_loop_test(tc, crcs_go_on, 0, 4);
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
