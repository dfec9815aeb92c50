/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/phase-check.h"

#include <strings.h>

/* Where things are. In both the first serial number begins behind the magic. */
static const struct {
        uint32_t magic;
        size_t serial, n_stations, stations, sign, description, tested, result, size; /* serial: bytes of each of the two */
        unsigned max, name;                                                           /* stations and bytes of a name */
} layouts[PHASE_LAYOUT_MAX] = {
        [PHASE_SP09] = {0x53503039, 24, 52, 56, 219, 220, 252, 254, 256, 15, 10},
        [PHASE_SP15] = {0x53503135, 64, 132, 136, 449, 450, 484, 488, 492, 20, 15},
};

#define SERIAL_AT 4
#define DESCRIPTION "PASS"
#define OWN_STATION "DOWNLOAD"
#define ZERO_IS_PASSED 1 /* what a 0 among the bits means */

bool phase_check_layout(const void *data, size_t size, PhaseLayout *ret) {
        for (int i = 0; i < PHASE_LAYOUT_MAX; i++)
                if (size >= layouts[i].size && get_le32(data) == layouts[i].magic) {
                        *ret = (PhaseLayout) i;
                        return true;
                }
        return false;
}

size_t phase_check_size(PhaseLayout layout) {
        return layouts[layout].size;
}

size_t phase_check_serial_max(PhaseLayout layout) {
        return layouts[layout].serial - 1;
}

void phase_check_serial(const void *data, size_t size, char ret[static PHASE_SERIAL_MAX + 1]) {
        const char *at = (const char *) data + SERIAL_AT;
        PhaseLayout layout;
        size_t n;

        ret[0] = '\0';
        if (!phase_check_layout(data, size, &layout))
                return;
        n = strnlen(at, layouts[layout].serial);
        if (n > phase_check_serial_max(layout))
                return;
        for (size_t i = 0; i < n; i++)
                if (at[i] <= ' ' || at[i] > '~')
                        return;
        memcpy(ret, at, n);
        ret[n] = '\0';
}

/* Bits of stations are 1 until somebody tests there and passes; the word has 16 bits in one layout and 32 in the other, and in the
 * shorter one the highest bit of the results is none of a station's. */
static void put_bits(uint8_t *data, PhaseLayout layout, uint32_t passed) {
        if (layout == PHASE_SP09) {
                put_le16(data + layouts[layout].tested, (uint16_t) ~passed);
                put_le16(data + layouts[layout].result, (uint16_t) (0x7fff & ~passed));
        } else {
                put_le32(data + layouts[layout].tested, ~passed);
                put_le32(data + layouts[layout].result, ~passed);
        }
}

static int put_stations(uint8_t *data, PhaseLayout layout, const char *stations, uint32_t *ret_passed) {
        unsigned n = 0;

        *ret_passed = 0;
        for (const char *at = stations + strspn(stations, " "); *at; at += strspn(at, " "), n++) {
                size_t length = strcspn(at, " ");

                if (n == layouts[layout].max || length >= layouts[layout].name)
                        return -EINVAL;
                memcpy(data + layouts[layout].stations + (size_t) n * layouts[layout].name, at, length);
                if (length == strlen(OWN_STATION) && strncasecmp(at, OWN_STATION, length) == 0)
                        *ret_passed |= UINT32_C(1) << n;
                at += length;
        }
        put_le32(data + layouts[layout].n_stations, n);
        return n == 0 ? -EINVAL : 0;
}

int phase_check_make(void *data, size_t size, PhaseLayout layout, const char *serial, const char *stations) {
        uint8_t *p = data;
        uint32_t passed;
        int r;

        if (size < layouts[layout].size || strlen(serial) > phase_check_serial_max(layout))
                return -EINVAL;
        memset(p, 0xff, size);
        memset(p, 0, layouts[layout].size);
        put_le32(p, layouts[layout].magic);
        memcpy(p + SERIAL_AT, serial, strlen(serial)); /* NOLINT: what follows is 0 */
        r = put_stations(p, layout, stations, &passed);
        if (r < 0)
                return r;
        p[layouts[layout].sign] = ZERO_IS_PASSED;
        memcpy(p + layouts[layout].description, DESCRIPTION, strlen(DESCRIPTION)); /* NOLINT: as above */
        put_bits(p, layout, passed);
        return 0;
}

bool phase_check_stations_valid(const char *stations) {
        uint8_t scratch[512] = {};
        uint32_t passed;

        for (const char *p = stations; *p; p++)
                if (*p < ' ' || *p > '~')
                        return false;
        return strlen(stations) < PHASE_STATIONS_MAX && put_stations(scratch, PHASE_SP09, stations, &passed) == 0;
}
