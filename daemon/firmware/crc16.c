/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/crc16.h"

#define POLYNOMIAL 0xa001 /* reflected: the highest bit is x^0 */

/* tables[k][b]: what the byte b does to the checksum when k more bytes follow it. Eight bytes are taken at once: packages
 * have gigabytes. */
static uint16_t tables[8][256];

__attribute__((constructor)) static void fill_tables(void) {
        for (unsigned b = 0; b < 256; b++) {
                uint16_t crc = (uint16_t) b;

                for (int bit = 0; bit < 8; bit++)
                        crc = (uint16_t) (crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1);
                tables[0][b] = crc;
        }
        for (unsigned k = 1; k < 8; k++)
                for (unsigned b = 0; b < 256; b++)
                        tables[k][b] = (uint16_t) (tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xff]);
}

uint16_t crc16_arc(uint16_t crc, const void *data, size_t size) {
        const uint8_t *p = data;

        for (; size >= 8; size -= 8, p += 8)
                crc = (uint16_t) (tables[7][(crc ^ p[0]) & 0xff] ^ tables[6][(crc >> 8 ^ p[1]) & 0xff] ^ tables[5][p[2]] ^
                                  tables[4][p[3]] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^ tables[0][p[7]]);
        for (; size > 0; size--, p++)
                crc = (uint16_t) (crc >> 8 ^ tables[0][(crc ^ *p) & 0xff]);
        return crc;
}

static uint16_t multiply(uint16_t a, uint16_t b) {
        uint16_t product = 0;

        for (; a; a = (uint16_t) (a << 1)) {
                if (a & 0x8000)
                        product ^= b;
                b = (uint16_t) (b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1);
        }
        return product;
}

/* A zero byte multiplies the checksum by x^8, n of them by its n-th power. */
uint16_t crc16_arc_zeros(uint16_t crc, uint64_t n) {
        for (uint16_t power = 1 << (15 - 8); n > 0; n >>= 1, power = multiply(power, power))
                if (n & 1)
                        crc = multiply(crc, power);
        return crc;
}
