/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/crc32.h"

uint32_t crc32_of(const void *data, size_t size) {
        const uint8_t *p = data;
        uint32_t crc = UINT32_MAX;

        while (size-- > 0) {
                crc ^= *p++;
                for (int bit = 0; bit < 8; bit++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
        }
        return ~crc;
}
