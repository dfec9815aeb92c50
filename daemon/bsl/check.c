/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/check.h"

uint16_t bsl_crc16(uint16_t crc, const void *data, size_t size) {
        /* The remainders of the sixteen values of one nibble. */
        static const uint16_t table[16] = {
                0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
        };
        const uint8_t *p = data;

        for (size_t i = 0; i < size; i++) {
                crc = (uint16_t) (crc << 4) ^ table[(crc >> 12) ^ (p[i] >> 4)];
                crc = (uint16_t) (crc << 4) ^ table[(crc >> 12) ^ (p[i] & 15)];
        }
        return crc;
}

/* Wide words give the same result as 16-bit ones: all that counts is the sum modulo 65535, and that it is zero only for
 * zeros. */
uint16_t bsl_sum16(const void *data, size_t size) {
        const uint8_t *p = data;
        uint64_t sum = 0;

        for (; size >= 8; p += 8, size -= 8)
                sum += (uint64_t) get_le32(p) + get_le32(p + 4);
        for (; size > 1; p += 2, size -= 2)
                sum += get_le16(p);
        if (size > 0)
                sum += *p;
        while (sum >> 16)
                sum = (sum >> 16) + (sum & 0xffff);
        return (uint16_t) ~sum;
}
