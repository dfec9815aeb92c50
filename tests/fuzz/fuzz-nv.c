/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calibration images: of a package and of a device, merged and compared. */
#include <string.h>

#include "firmware/nv.h"
#include "fuzz.h"

static const PacNvItem items[] = {
        {.name = "Calibration", .id = 0xffffffff, .backup = true, .use = true},
        {.name = "GSM Calibration", .id = 0x2, .backup = true, .use = true, .keep_going = true},
        {.name = "IMEI", .id = 0x5, .backup = true, .use = true},
        {.name = "LTE", .id = 0x26d, .backup = true, .use = true, .replace = true},
};

static void look(const uint8_t *image, size_t size) {
        size_t at, n;
        char unit[24];
        Failure f = FAILURE_INIT;

        if (nv_length(image, size, &n))
                MUST(n <= size);
        if (nv_unit(image, size, unit))
                MUST(memchr(unit, 0, sizeof(unit)));
        (void) nv_blank(image, size);
        if (nv_check(image, size, "the device", &f) == 1)
                MUST(f.text[0]);
        for (unsigned i = 0; i < 4; i++)
                if (nv_find(image, size, (uint16_t) items[i].id, &at, &n))
                        MUST(at <= size && n <= size - at);
        (void) nv_check_calibrated(image, size, "GSM,TD,WCDMA,LTE", items, 4, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        size_t half = size > 2 ? 2 + (size_t) (data[0] | data[1] << 8) % (size - 1) : size;
        uint8_t *package, *before;
        NvDifference d;
        Failure f = FAILURE_INIT;
        int r;

        if (size < 4 || half > size)
                return 0;
        look(data + half, size - half);
        package = malloc(half);
        before = malloc(half);
        MUST(package && before);
        memcpy(package, data, half);
        memcpy(before, data, half);
        look(package, half);
        r = nv_merge(package, half, data + half, size - half, items, 4, FLASH_MODE_UPGRADE, &f);
        if (r != 0)
                MUST(memcmp(package, before, half) == 0);
        if (r == 0) {
                (void) nv_seal(package, half);
                MUST(nv_compare(package, half, package, half, items, 4, &d) == 0 && d.n == 0);
                (void) nv_compare(package, half, data + half, size - half, items, 4, &d);
        }
        free(package);
        free(before);
        return 0;
}
