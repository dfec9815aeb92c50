/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>

#include "firmware/crc16.h"
#include "firmware/nv.h"

#define SIZE 0x8000u

/* An image built by hand: prefix, items, end mark, FF. */
typedef struct Image {
        uint8_t data[SIZE];
        size_t at;
        bool big;
} Image;

static void put16(Image *i, size_t at, uint16_t v) {
        if (i->big)
                put_be16(i->data + at, v);
        else
                put_le16(i->data + at, v);
}

static void begin(Image *i) {
        memset(i->data, 0xff, SIZE);
        memset(i->data, 0, 4);
        i->at = 4;
}

/* Data are one repeated byte. Gives their offset. */
static size_t item(Image *i, uint16_t id, uint16_t size, uint8_t fill) {
        size_t at = i->at + 4;

        put16(i, i->at, id);
        put16(i, i->at + 2, size);
        memset(i->data + at, fill, size);
        i->at = at + (size + 3u) / 4 * 4;
        return at;
}

static size_t calibration(Image *i, uint16_t version, uint16_t size, uint8_t fill, uint32_t flag) {
        size_t at = item(i, 2, size, fill);

        put16(i, at, version);
        put_le32(i->data + at + size - 4, flag);
        return at;
}

/* What a unit or a package usually holds; everything that differs is `fill`. */
static Image *usual(uint8_t fill, uint32_t flag) {
        Image *i = calloc(1, sizeof(*i));

        begin(i);
        item(i, 0x191, 40, fill);
        item(i, 0x5, 8, fill);
        item(i, 0x179, 8, fill);
        calibration(i, 0xff0a, 6020, fill, flag);
        item(i, 0x26d, 101, fill);
        item(i, 0x26e, 64, fill);
        return i;
}

static const uint8_t *data_of(const Image *i, uint16_t id, size_t *ret_length) {
        size_t at, length;

        ck_assert_msg(nv_find(i->data, SIZE, id, &at, &length), "no item 0x%x", id);
        if (ret_length)
                *ret_length = length;
        return i->data + at;
}

static int merge(Image *package, const Image *device, const PacNvItem *items, size_t n, FlashMode mode, Failure *f) {
        *f = FAILURE_INIT;
        return nv_merge(package->data, SIZE, device->data, SIZE, items, n, mode, f);
}

#define ITEM(item_name, item_id, go_on)                                                                                \
        { .name = item_name, .id = (item_id), .backup = true, .use = true, .keep_going = (go_on) }
static const PacNvItem usual_items[] = {ITEM("Calibration", UINT32_MAX, false), ITEM("GSM Calibration", 0x26d, true),
                                        ITEM("IMEI", UINT32_MAX, false)};

/* ---- structure ------------------------------------------------------------------------------------------ */

static void crashed(Image *i, const char *whose, const char *words) {
        Failure f = FAILURE_INIT;

        ck_assert_int_eq(nv_check(i->data, SIZE, whose, &f), 1);
        ck_assert_int_eq(f.class, CLASS_MISMATCH);
        ck_assert_str_eq(f.detail, "nv");
        ck_assert_msg(strstr(f.text, whose) && strstr(f.text, words) && strstr(f.text, "crashed"), "%s", f.text);
        free(i);
}

START_TEST(test_structure) {
        Image *i = usual(0x11, 0);
        Failure f;
        size_t length;

        ck_assert_int_eq(nv_check(i->data, SIZE, "the package", &f), 0);
        data_of(i, 0x26d, &length);
        ck_assert_uint_eq(length, 101);
        ck_assert(!nv_find(i->data, SIZE, 0x777, &length, &length));
        free(i);
}
END_TEST

START_TEST(test_structure_faults) {
        Image *i = calloc(1, sizeof(*i));

        begin(i);
        calibration(i, 0xff0a, 6020, 1, 0);
        crashed(i, "the package", "IMEI");
        i = calloc(1, sizeof(*i));
        begin(i);
        item(i, 5, 7, 1);
        calibration(i, 0xff0a, 6020, 1, 0);
        crashed(i, "the device", "8 bytes");
        i = calloc(1, sizeof(*i));
        begin(i);
        item(i, 5, 8, 1);
        crashed(i, "the device", "calibration item");
        i = calloc(1, sizeof(*i));
        begin(i);
        item(i, 5, 8, 1);
        calibration(i, 0xff09, 6020, 1, 0);
        crashed(i, "the device", "unknown version");
        i = calloc(1, sizeof(*i));
        memset(i->data, 0xff, SIZE);
        crashed(i, "the device", "blank");
        i = calloc(1, sizeof(*i));
        crashed(i, "the device", "blank");
}
END_TEST

/* The walk leaves the image, or never meets the end. */
START_TEST(test_structure_cut) {
        Image *i = usual(0x11, 0);
        Failure f;

        for (size_t size = 0; size < i->at + 2; size++) {
                uint8_t *copy = malloc(size + 1);
                memcpy(copy, i->data, size);
                f = FAILURE_INIT;
                ck_assert_msg(nv_check(copy, size, "the device", &f) == 1, "size %zu", size);
                free(copy);
        }
        ck_assert_int_eq(nv_check(i->data, i->at + 2, "the device", &f), 0);
        put_le16(i->data + 6, 0xfff0); /* length of the first item */
        crashed(i, "the device", "end mark");
}
END_TEST

START_TEST(test_blank) {
        uint8_t data[64];

        memset(data, 0xff, sizeof(data));
        ck_assert(nv_blank(data, sizeof(data)));
        data[63] = 0xfe;
        ck_assert(!nv_blank(data, sizeof(data)));
        memset(data, 0, sizeof(data));
        ck_assert(nv_blank(data, sizeof(data)));
        memset(data, 0x55, sizeof(data));
        ck_assert(!nv_blank(data, sizeof(data)));
        ck_assert(nv_blank(data, 0));
}
END_TEST

/* Feature phones: big-endian images; a unit may answer with the bytes of each word swapped. */
START_TEST(test_byte_orders) {
        Image *device = calloc(1, sizeof(*device)), *package = calloc(1, sizeof(*package));
        Failure f;

        device->big = package->big = true;
        for (int k = 0; k < 2; k++) {
                Image *i = k ? package : device;
                begin(i);
                item(i, 5, 8, k ? 0x22 : 0x11);
                calibration(i, 0xff0a, 6020, k ? 0x22 : 0x11, 0);
        }
        ck_assert_int_eq(nv_check(device->data, SIZE, "the package", &f), 0);
        ck_assert_int_eq(merge(package, device, usual_items, 1, FLASH_MODE_UPGRADE, &f), 0);
        ck_assert_uint_eq(data_of(package, 2, NULL)[100], 0x11);
        ck_assert_uint_eq(data_of(package, 5, NULL)[0], 0x22);
        free(package);
        package = usual(0x22, 0);
        free(device);
        device = usual(0x11, 0);
        device->data[12] = 0xab;
        for (size_t i = 0; i < SIZE; i += 2) {
                uint8_t b = device->data[i];
                device->data[i] = device->data[i + 1];
                device->data[i + 1] = b;
        }
        ck_assert_int_eq(nv_check(device->data, SIZE, "the device", &f), 0);
        ck_assert_int_eq(merge(package, device, &(PacNvItem) ITEM("BT", 0x191, false), 1, FLASH_MODE_UPGRADE, &f), 0);
        ck_assert_uint_eq(data_of(package, 0x191, NULL)[4], 0xab);
        ck_assert_uint_eq(data_of(package, 0x191, NULL)[5], 0x11);
        free(device);
        free(package);
}
END_TEST

/* ---- merge ---------------------------------------------------------------------------------------------- */

START_TEST(test_merge) {
        Image *package = usual(0x22, 0), *device = usual(0x11, 0x8000001), *before = usual(0x22, 0);
        Failure f;
        size_t length;

        ck_assert_int_eq(merge(package, device, usual_items, ELEMENTSOF(usual_items), FLASH_MODE_UPGRADE, &f), 0);
        ck_assert_mem_eq(data_of(package, 2, &length), data_of(device, 2, NULL), 6020);
        ck_assert_uint_eq(length, 6020);
        ck_assert_mem_eq(data_of(package, 5, NULL), data_of(device, 5, NULL), 8);
        ck_assert_mem_eq(data_of(package, 0x179, NULL), data_of(device, 0x179, NULL), 8);
        ck_assert_mem_eq(data_of(package, 0x26d, NULL), data_of(device, 0x26d, NULL), 101);
        /* not in the list: as the package has it */
        ck_assert_mem_eq(data_of(package, 0x191, NULL), data_of(before, 0x191, NULL), 40);
        ck_assert_mem_eq(data_of(package, 0x26e, NULL), data_of(before, 0x26e, NULL), 64);
        ck_assert_mem_eq(package->data + package->at, before->data + before->at, SIZE - package->at);
        free(package);
        free(device);
        free(before);
}
END_TEST

START_TEST(test_merge_off) {
        Image *package = usual(0x22, 0), *device = usual(0x11, 1), *before = usual(0x22, 0);
        PacNvItem items[] = {ITEM("Calibration", UINT32_MAX, false), ITEM("Nonsense", UINT32_MAX, false)};
        Failure f;

        items[0].backup = false;
        ck_assert_int_eq(merge(package, device, items, 2, FLASH_MODE_UPGRADE, &f), 0);
        ck_assert_mem_eq(package->data, before->data, SIZE);
        free(package);
        free(device);
        free(before);
}
END_TEST

/* One rule, one way to fail; the package's image stays as it was. */
static void fails(Image *package, Image *device, PacNvItem i, FlashMode mode, const char *detail, const char *words) {
        uint8_t *before = malloc(SIZE);
        PacNvItem items[2] = {ITEM("IMEI", UINT32_MAX, false), i}; /* the first one succeeds */
        Failure f;

        memcpy(before, package->data, SIZE);
        ck_assert_int_eq(merge(package, device, items, 2, mode, &f), 1);
        ck_assert_int_eq(f.class, CLASS_MISMATCH);
        ck_assert_msg(streq(f.detail, detail), "%s: %s", f.detail, f.text);
        ck_assert_msg(strstr(f.text, words), "%s", f.text);
        ck_assert_mem_eq(before, package->data, SIZE);
        free(before);
        free(package);
        free(device);
}

static Image *with_calibration(uint16_t version, uint16_t size) {
        Image *i = calloc(1, sizeof(*i));

        begin(i);
        item(i, 5, 8, 1);
        calibration(i, version, size, 1, 0);
        return i;
}

START_TEST(test_merge_failures) {
        const PacNvItem calib = ITEM("Calibration", UINT32_MAX, false);
        Image *longer = usual(0x11, 0);

        item(longer, 0x300, 20, 1);
        fails(usual(0x22, 0), usual(0x11, 0), (PacNvItem) ITEM("x", 0x300, false), FLASH_MODE_UPGRADE, "nv-file-id",
              "new image");
        fails(usual(0x22, 0), longer, (PacNvItem) ITEM("x", 0x300, true), FLASH_MODE_UPGRADE, "nv-file-id",
              "new image");
        longer = usual(0x22, 0);
        item(longer, 0x300, 20, 1);
        fails(longer, usual(0x11, 0), (PacNvItem) ITEM("x", 0x300, false), FLASH_MODE_UPGRADE, "nv-device-id",
              "in the device");
        longer = usual(0x22, 0);
        item(longer, 0x1f0, 7400, 1);
        Image *shorter = usual(0x11, 0);
        item(shorter, 0x1f0, 100, 1);
        fails(longer, shorter, (PacNvItem) ITEM("Simlock", 0x1f0, true), FLASH_MODE_UPGRADE, "nv-length", "7400");
        fails(with_calibration(0xff0b, 6020), with_calibration(0xff0a, 6020), calib, FLASH_MODE_UPGRADE, "nv-version",
              "older structure");
        fails(with_calibration(0xff0a, 6020), with_calibration(0xff0b, 6020), calib, FLASH_MODE_UPGRADE, "nv-version",
              "do not match");
        fails(with_calibration(0xff0a, 6000), with_calibration(0xff0a, 6000), calib, FLASH_MODE_UPGRADE, "nv-version",
              "does not match its structure");
        fails(with_calibration(0xff0c, 6000), with_calibration(0xff0c, 6004), calib, FLASH_MODE_UPGRADE, "nv-length",
              "6004");
}
END_TEST

START_TEST(test_crashed_images) {
        Image *package = usual(0x22, 0), *device = usual(0x11, 0), *bad = usual(0x33, 0);
        Failure f;

        put_le16(bad->data + 6, 0xfff0);
        ck_assert_int_eq(merge(package, bad, usual_items, 3, FLASH_MODE_UPGRADE, &f), 1);
        ck_assert_ptr_nonnull(strstr(f.text, "in the device are crashed"));
        ck_assert_int_eq(merge(bad, device, usual_items, 3, FLASH_MODE_UPGRADE, &f), 1);
        ck_assert_ptr_nonnull(strstr(f.text, "in the package are crashed"));
        memset(bad->data, 0xff, SIZE);
        ck_assert_int_eq(merge(package, bad, usual_items, 3, FLASH_MODE_UPGRADE, &f), 1);
        ck_assert_ptr_nonnull(strstr(f.text, "blank"));
        free(package);
        free(device);
        free(bad);
}
END_TEST

/* Continue: what the unit lacks stays as the package has it. Upgrade mode gives MMITest that right by itself. */
START_TEST(test_continue) {
        for (int k = 0; k < 3; k++) {
                Image *package = usual(0x22, 0), *device = usual(0x11, 0);
                PacNvItem i = ITEM("", k ? UINT32_MAX : 0x300, k == 0);
                FlashMode mode = k == 2 ? FLASH_MODE_RESEARCH : FLASH_MODE_UPGRADE;
                Failure f;

                strcpy(i.name, k ? "MMITest" : "x");
                item(package, k ? 0x19a : 0x300, 20, 0x77);
                ck_assert_int_eq(merge(package, device, &i, 1, mode, &f), k == 2);
                ck_assert_uint_eq(data_of(package, k ? 0x19a : 0x300, NULL)[5], 0x77);
                if (k == 0) { /* the flag counts only where it is used */
                        i.use = false;
                        ck_assert_int_eq(merge(package, device, &i, 1, mode, &f), 1);
                }
                free(package);
                free(device);
        }
}
END_TEST

START_TEST(test_names) {
        static const struct {
                const char *name;
                uint16_t id;
        } names[] = {{"TD_Calibration", 0x516},
                     {"LTE_Calibration", 0x9c4},
                     {"BlueTooth", 0x191},
                     {"WIFI", 0x199},
                     {"BandSelect", 0xd}};

        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                Image *package = usual(0x22, 0), *device = usual(0x11, 0);
                PacNvItem i = ITEM("", UINT32_MAX, false);
                Failure f;

                strcpy(i.name, names[k].name);
                if (names[k].id != 0x191) {
                        item(package, names[k].id, 20, 0x22);
                        item(device, names[k].id, 20, 0x11);
                }
                ck_assert_int_eq(merge(package, device, &i, 1, FLASH_MODE_UPGRADE, &f), 0);
                ck_assert_uint_eq(data_of(package, names[k].id, NULL)[7], 0x11);
                free(package);
                free(device);
        }
}
END_TEST

START_TEST(test_calibrated) {
        static const struct {
                uint32_t flag;
                int expected;
        } flags[] = {{0, 1}, {0x08000000, 1}, {1, 0}, {0x80000000, 0}, {0x08000001, 0}};
        Failure f;

        for (size_t k = 0; k < ELEMENTSOF(flags); k++) {
                Image *i = usual(0x11, flags[k].flag);
                f = FAILURE_INIT;
                ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "GSM", NULL, 0, &f), flags[k].expected);
                ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "", NULL, 0, &f), flags[k].expected);
                ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "LTE", NULL, 0, &f), 0);
                if (flags[k].expected)
                        ck_assert_str_eq(f.detail, "nv-uncalibrated");
                free(i);
        }
        /* The other structures have their flag at the end, too. */
        Image *i = with_calibration(0xff0c, 6000);
        size_t n;
        uint8_t *last = (uint8_t *) data_of(i, 2, &n) + 5996;

        ck_assert_uint_eq(n, 6000);
        put_le32(last, 0x08000000);
        ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "GSM", NULL, 0, &f), 1);
        put_le32(last, 0x08000001);
        ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "GSM", NULL, 0, &f), 0);
        memset(i->data, 0xff, SIZE);
        ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "GSM", NULL, 0, &f), 1);
        free(i);
}
END_TEST

/* Families beside GSM are looked at where the package keeps an item of theirs. */
START_TEST(test_calibrated_families) {
        PacNvItem items[] = {ITEM("LTE_Calibration", UINT32_MAX, true), ITEM("W_Calibration", 0x12d, true),
                             ITEM("TD_Calibration", UINT32_MAX, true)};
        static const uint8_t none[8], flag[8] = {1, 0, 7, 0}, uncalibrated[8] = {1, 0, 0, 0, 7};
        static const struct {
                const uint8_t *lte, *wcdma;
                uint32_t gsm;
                const char *families;
                int expected;
        } rows[] = {
                {flag, flag, 1, "GSM,TD,WCDMA,LTE", 0}, {uncalibrated, flag, 1, "GSM, LTE", 1},
                {flag, uncalibrated, 1, "WCDMA", 1},    {uncalibrated, uncalibrated, 1, "GSM", 0},
                {flag, flag, 0, "lte;wcdma", 0},        {flag, flag, 0, "TD", 1},
                {flag, flag, 1, "TD|LTE", 0},           {none, flag, 1, "LTE", 1},
                {flag, flag, 0, "NR", 0},
        };

        for (size_t k = 0; k < ELEMENTSOF(rows); k++) {
                Image *i = usual(0x11, rows[k].gsm);
                Failure f = FAILURE_INIT;

                item(i, 0x9c4, 8, 0);
                memcpy((uint8_t *) data_of(i, 0x9c4, NULL), rows[k].lte, 8);
                item(i, 0x12d, 8, 0);
                memcpy((uint8_t *) data_of(i, 0x12d, NULL), rows[k].wcdma, 8);
                ck_assert_msg(nv_check_calibrated(i->data, SIZE, rows[k].families, items, 3, &f) == rows[k].expected, "%zu: %s", k,
                              f.text);
                if (rows[k].expected)
                        ck_assert_str_eq(f.detail, "nv-uncalibrated");
                free(i);
        }
        Image *i = usual(0x11, 1);
        Failure f = FAILURE_INIT;
        ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "LTE", items, 3, &f), 1); /* no such item in the unit */
        items[0].backup = false;
        ck_assert_int_eq(nv_check_calibrated(i->data, SIZE, "LTE", items, 3, &f), 0);
        free(i);
}
END_TEST

/* ---- real images ---------------------------------------------------------------------------------------- */

static const struct {
        const char *file;
        off_t offset;
        size_t size;
        uint16_t stored, crc;
        uint32_t sum;
        unsigned items;
} images[] = {
        {"uis8910_full.pac", 0x3deb9c, 0x20000, 0x3a3d, 0x263b, 0xac9d20, 21},
        {"uis8850_full.pac", 0x1d538, 0x28000, 0x8d9e, 0xebfb, 0x72b7f5, 35},
};

START_TEST(test_real) {
        const char *dir = getenv("FDLD_TEST_PACS");
        char path[4096];
        _cleanup_free_ uint8_t *data = malloc(images[_i].size), *device = malloc(images[_i].size);
        Failure f = FAILURE_INIT;
        size_t at, length;
        int fd;

        if (!dir) {
                fprintf(stderr, "SKIP %s: FDLD_TEST_PACS is not set\n", images[_i].file);
                return;
        }
        snprintf(path, sizeof(path), "%s/%s", dir, images[_i].file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
        ck_assert_int_eq(pread(fd, data, images[_i].size, images[_i].offset), (ssize_t) images[_i].size);
        close(fd);
        ck_assert_int_eq(nv_check(data, images[_i].size, "the package", &f), 0);
        ck_assert_uint_eq(get_be16(data), images[_i].stored);
        ck_assert_uint_ne(crc16_arc(0, data + 2, images[_i].size - 2), images[_i].stored);
        ck_assert(nv_find(data, images[_i].size, 2, &at, &length));
        ck_assert_uint_eq(length, 6020);
        /* a package is never calibrated */
        ck_assert_int_eq(nv_check_calibrated(data, images[_i].size, "GSM", NULL, 0, &f), 1);
        ck_assert_uint_eq(nv_seal(data, images[_i].size), images[_i].sum);
        ck_assert_uint_eq(get_be16(data), images[_i].crc);
        ck_assert_uint_eq(nv_seal(data, images[_i].size), images[_i].sum);
        /* a unit with its own calibration */
        memcpy(device, data, images[_i].size);
        memset(device + at + 100, 0x5a, 5000);
        device[at + 6016] = 1;
        ck_assert_int_eq(nv_check_calibrated(device, images[_i].size, "GSM", NULL, 0, &f), 0);
        ck_assert_int_eq(
                nv_merge(data, images[_i].size, device, images[_i].size, usual_items, 1, FLASH_MODE_UPGRADE, &f), 0);
        ck_assert_mem_eq(data + 2, device + 2, images[_i].size - 2);
        nv_clear_calibrated(device, images[_i].size);
        ck_assert_int_eq(nv_check_calibrated(device, images[_i].size, "GSM", NULL, 0, &f), 1);
}
END_TEST

int main(void) {
        Suite *s = suite_create("nv");
        TCase *t = tcase_create("nv");
        SRunner *runner;
        int failed;

        tcase_add_test(t, test_structure);
        tcase_add_test(t, test_structure_faults);
        tcase_add_test(t, test_structure_cut);
        tcase_add_test(t, test_blank);
        tcase_add_test(t, test_byte_orders);
        tcase_add_test(t, test_merge);
        tcase_add_test(t, test_merge_off);
        tcase_add_test(t, test_merge_failures);
        tcase_add_test(t, test_crashed_images);
        tcase_add_test(t, test_continue);
        tcase_add_test(t, test_names);
        tcase_add_test(t, test_calibrated);
        tcase_add_test(t, test_calibrated_families);
        tcase_add_loop_test(t, test_real, 0, ELEMENTSOF(images));
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? 1 : 0;
}
