/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Partition tables as a device may send them: whole, damaged, and made to lead astray, with right sums. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macro.h"
#include "firmware/gpt.h"

#define ENTRIES 128u
#define EACH 128u

static uint32_t sum(const uint8_t *p, size_t n) {
        uint32_t c = UINT32_MAX;

        for (; n > 0; n--, p++) {
                c ^= *p;
                for (int i = 0; i < 8; i++)
                        c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        }
        return ~c;
}

static void put(uint8_t *p, uint64_t v, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                p[i] = (uint8_t) (v >> 8 * i);
}

/* A header for the sector `lba` and a list in the sector `list`, both within the bytes at `d`, which are the device's from `base` on. */
typedef struct Disk {
        uint8_t *d;
        size_t size;
        uint32_t sector;
        uint64_t base, lba, list, last_usable;
} Disk;

static uint8_t *header_of(const Disk *d) {
        return d->d + (d->lba * d->sector - d->base);
}

static uint8_t *entry_of(const Disk *d, unsigned i) {
        return d->d + (d->list * d->sector - d->base) + (size_t) i * EACH;
}

static void seal(const Disk *d) {
        uint8_t *h = header_of(d);

        put(h + 88, sum(entry_of(d, 0), ENTRIES * EACH), 4);
        put(h + 16, 0, 4);
        put(h + 16, sum(h, 92), 4);
}

static void set_entry(const Disk *d, unsigned i, const char *name, uint64_t first, uint64_t last) {
        uint8_t *e = entry_of(d, i);

        memset(e, 0, EACH);
        memset(e, 0xa5, 16);
        put(e + 32, first, 8);
        put(e + 40, last, 8);
        for (size_t k = 0; name[k] && k < 36; k++)
                put(e + 56 + 2 * k, (uint8_t) name[k], 2);
}

static Disk new_disk(uint32_t sector, uint64_t base, uint64_t lba, uint64_t list) {
        Disk d = {.size = GPT_HEAD_SIZE, .sector = sector, .base = base, .lba = lba, .list = list, .last_usable = 99999};
        uint8_t *h;

        d.d = calloc(1, d.size);
        h = header_of(&d);
        memcpy(h, "EFI PART\0\0\1", 12);
        put(h + 12, 92, 4);
        put(h + 24, lba, 8);
        put(h + 32, 100033, 8);
        put(h + 40, 34, 8);
        put(h + 48, d.last_usable, 8);
        put(h + 72, list, 8);
        put(h + 80, ENTRIES, 4);
        put(h + 84, EACH, 4);
        set_entry(&d, 0, "boot", 4096, 8191);
        /* not in the order of their places, and with a hole in the list */
        set_entry(&d, 5, "userdata", 16384, 99999);
        set_entry(&d, 7, "vbmeta", 8192, 8192);
        seal(&d);
        return d;
}

static Disk first_disk(uint32_t sector) {
        return new_disk(sector, 0, 1, 2);
}

/* A copy of exact size, so that the sanitizer sees every step too far. */
static int parse(const Disk *d, size_t size, GptEntry **ret, size_t *ret_n, uint32_t *ret_sector, uint64_t *ret_size) {
        uint8_t *copy = malloc(size ? size : 1);
        int r;

        memcpy(copy, d->d, size);
        r = gpt_parse(copy, size, ret, ret_n, ret_sector, ret_size);
        free(copy);
        return r;
}

static void must_be_refused(Disk *d, const char *why) {
        GptEntry *entries = NULL;
        uint32_t sector;
        uint64_t size;
        size_t n;

        ck_assert_msg(parse(d, d->size, &entries, &n, &sector, &size) == -EBADMSG, "taken: %s", why);
        ck_assert_ptr_null(entries);
        free(d->d);
}

START_TEST(whole_tables) {
        uint32_t sector = _i == 0 ? 512 : 4096, told;
        Disk d = first_disk(sector);
        GptEntry *e;
        uint64_t size;
        size_t n;

        ck_assert_int_eq(parse(&d, d.size, &e, &n, &told, &size), 0);
        ck_assert_uint_eq(told, sector);
        ck_assert_uint_eq(size, 100000ull * sector);
        ck_assert_uint_eq(n, 3);
        ck_assert_str_eq(e[0].name, "boot");
        ck_assert_uint_eq(e[0].start, 4096ull * sector);
        ck_assert_uint_eq(e[0].size, 4096ull * sector);
        ck_assert_str_eq(e[1].name, "vbmeta");
        ck_assert_uint_eq(e[1].size, sector);
        ck_assert_str_eq(e[2].name, "userdata");
        ck_assert_uint_eq(e[2].start, 16384ull * sector);
        ck_assert_uint_eq(gpt_end(d.d, d.size, sector), 100034ull * sector);
        free(e);
        free(d.d);
}
END_TEST

/* Nothing of it is shown as it came. */
START_TEST(names_are_plain) {
        Disk d = first_disk(512);
        GptEntry *e;
        uint32_t sector;
        uint64_t size;
        size_t n;

        set_entry(&d, 0, "b\x1b[2Jo t", 4096, 8191);
        put(entry_of(&d, 0) + 56 + 2, 0x202e, 2);
        memset(entry_of(&d, 7) + 56, 'x', 72); /* no end */
        seal(&d);
        ck_assert_int_eq(parse(&d, d.size, &e, &n, &sector, &size), 0);
        ck_assert_str_eq(e[0].name, "b?[2Jo?t");
        ck_assert_uint_eq(strlen(e[1].name), 36);
        ck_assert_uint_eq(strspn(e[1].name, "?"), 36);
        free(e);
        free(d.d);
}
END_TEST

START_TEST(cut_tables) {
        Disk d = first_disk(512);
        GptEntry *e = NULL;
        uint32_t sector;
        uint64_t size;
        size_t n, least = 2 * 512 + ENTRIES * EACH;

        for (size_t i = 0; i < least; i += i < 1100 ? 1 : 511)
                ck_assert_msg(parse(&d, i, &e, &n, &sector, &size) == -EBADMSG, "%zu bytes are taken", i);
        ck_assert_int_eq(parse(&d, least, &e, &n, &sector, &size), 0);
        ck_assert_uint_eq(gpt_end(d.d, 1023, 512), 0);
        free(e);
        free(d.d);
}
END_TEST

START_TEST(damaged_tables) {
        static const size_t places[] = {512, 512 + 16, 512 + 24, 512 + 48, 512 + 72, 512 + 88, 1024, 1024 + 40, 1024 + 127 * 128};

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                Disk d = first_disk(512);

                d.d[places[i]] ^= 0x40;
                must_be_refused(&d, "a bit is wrong");
        }
}
END_TEST

/* All sums are right, of what the header says if there is that much. */
static void seal_as_told(const Disk *d) {
        uint8_t *h = header_of(d);
        uint64_t at = get_le64(h + 72), n = (uint64_t) get_le32(h + 80) * get_le32(h + 84);

        if (at < d->size / 512 && n <= d->size - at * 512)
                put(h + 88, sum(d->d + at * 512, n), 4);
        put(h + 16, 0, 4);
        put(h + 16, sum(h, 92), 4);
}

START_TEST(hostile_headers) {
        static const struct {
                unsigned at, size;
                uint64_t value;
        } lies[] = {
                {12, 4, 91}, {12, 4, UINT32_MAX},                                      /* size of the header */
                {24, 8, 2},                                                            /* of another place */
                {48, 8, UINT64_MAX}, {48, 8, UINT64_MAX / 512},                        /* last usable sector */
                {72, 8, 0}, {72, 8, 1}, {72, 8, 1 << 20}, {72, 8, UINT64_MAX}, {72, 8, UINT64_MAX / 512 + 2}, /* where the list is */
                {80, 4, 0}, {80, 4, 129}, {80, 4, UINT32_MAX},         /* entries */
                {84, 4, 0}, {84, 4, 127}, {84, 4, 4097}, {84, 4, UINT32_MAX},          /* size of one */
        };

        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                Disk d = first_disk(512);
                uint8_t *h = header_of(&d);
                char why[80];

                put(h + lies[i].at, lies[i].value, lies[i].size);
                seal_as_told(&d);
                snprintf(why, sizeof(why), "%u is 0x%llx", lies[i].at, (unsigned long long) lies[i].value);
                must_be_refused(&d, why);
        }
}
END_TEST

START_TEST(hostile_entries) {
        static const struct {
                unsigned i;
                uint64_t first, last;
        } lies[] = {
                {0, 0, 8191},                                                            /* nowhere */
                {0, 8191, 4096}, {5, 99999, 16384},                                      /* ends before it begins */
                {5, 16384, 100000}, {5, 16384, UINT64_MAX}, {5, UINT64_MAX, UINT64_MAX}, /* behind the last usable sector */
                {0, 4096, 8192}, {0, 8192, 8192}, {5, 8192, 99999},                      /* into, and at the place of another */
        };

        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                Disk d = first_disk(512);
                char why[80];

                set_entry(&d, lies[i].i, "liar", lies[i].first, lies[i].last);
                seal(&d);
                snprintf(why, sizeof(why), "0x%llx to 0x%llx", (unsigned long long) lies[i].first, (unsigned long long) lies[i].last);
                must_be_refused(&d, why);
        }
}
END_TEST

/* The copy at the end of the device, of which only the end is at hand. */
START_TEST(copies) {
        uint32_t sector = _i == 0 ? 512 : 4096, told;
        uint64_t end = 1ull << 33, list = (end - GPT_HEAD_SIZE) / sector;
        Disk d = new_disk(sector, end - GPT_HEAD_SIZE, end / sector - 1, list);
        GptEntry *e = NULL;
        size_t n;

        ck_assert_int_eq(gpt_parse_copy(d.d, end, &e, &n, &told), 0);
        ck_assert_uint_eq(told, sector);
        ck_assert_uint_eq(n, 3);
        ck_assert_str_eq(e[2].name, "userdata");
        free(e);
        e = NULL;
        /* A list that lies before what is at hand, an end that is no sector's, a header that is of the other end. */
        put(header_of(&d) + 72, list - 1, 8);
        seal(&d);
        ck_assert_int_eq(gpt_parse_copy(d.d, end, &e, &n, &told), -EBADMSG);
        put(header_of(&d) + 72, list, 8);
        seal(&d);
        ck_assert_int_eq(gpt_parse_copy(d.d, end + 1, &e, &n, &told), -EBADMSG);
        ck_assert_int_eq(gpt_parse_copy(d.d, end + 4096, &e, &n, &told), -EBADMSG);
        put(header_of(&d) + 24, 1, 8);
        seal(&d);
        ck_assert_int_eq(gpt_parse_copy(d.d, end, &e, &n, &told), -EBADMSG);
        ck_assert_ptr_null(e);
        free(d.d);
}
END_TEST

/* Where the copy should be is told by a header that holds, and by no other. */
START_TEST(where_the_copy_is) {
        Disk d = first_disk(512);

        header_of(&d)[32] ^= 1;
        ck_assert_uint_eq(gpt_end(d.d, d.size, 512), 0);
        put(header_of(&d) + 32, UINT64_MAX / 512, 8);
        seal(&d);
        ck_assert_uint_eq(gpt_end(d.d, d.size, 512), 0);
        put(header_of(&d) + 32, UINT64_MAX, 8);
        seal(&d);
        ck_assert_uint_eq(gpt_end(d.d, d.size, 512), 0);
        free(d.d);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("gpt");
        TCase *tc = tcase_create("gpt");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(tc, whole_tables, 0, 2);
        tcase_add_test(tc, names_are_plain);
        tcase_add_test(tc, cut_tables);
        tcase_add_test(tc, damaged_tables);
        tcase_add_test(tc, hostile_headers);
        tcase_add_test(tc, hostile_entries);
        tcase_add_loop_test(tc, copies, 0, 2);
        tcase_add_test(tc, where_the_copy_is);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
