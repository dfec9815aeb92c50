/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* The loops over every byte of an image, in the widest form that this processor has. All forms give the same results for
 * all inputs (tests/unit/test-kernels.c compares them). */
typedef struct Kernels {
        const char *name;
        /* Copies until the first 7D or 7E, which is not copied; tells how many bytes came before it. `out` has room for
         * `size` bytes and may be written beyond the result, never beyond `size`. */
        size_t (*copy_plain)(uint8_t *out, const uint8_t *in, size_t size);
        /* Adds up little-endian 16-bit words, an odd last byte as it is; not folded. */
        uint64_t (*sum_words)(const uint8_t *data, size_t size);
        /* The same, and copies. The areas do not overlap. */
        uint64_t (*copy_sum_words)(uint8_t *out, const uint8_t *in, size_t size);
        /* CRC-16 with polynomial 0x1021, nothing reflected, and CRC-16/ARC; continued from `crc`. */
        uint16_t (*crc_1021)(uint16_t crc, const uint8_t *data, size_t size);
        uint16_t (*crc_arc)(uint16_t crc, const uint8_t *data, size_t size);
} Kernels;

/* The best ones here. Costs a load. */
const Kernels *kernels(void);
/* All that run here, the plainest first; for tests and measurements. */
size_t kernels_all(const Kernels *ret[static 4]);
