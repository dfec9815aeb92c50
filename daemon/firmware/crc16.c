/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/crc16.h"

#include "common/kernels.h"

#define POLYNOMIAL 0xa001 /* reflected: the highest bit is x^0 */

uint16_t crc16_arc(uint16_t crc, const void *data, size_t size) {
        return kernels()->crc_arc(crc, data, size);
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
