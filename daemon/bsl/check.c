/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/check.h"

#include "common/kernels.h"

uint16_t bsl_crc16(uint16_t crc, const void *data, size_t size) {
        return kernels()->crc_1021(crc, data, size);
}

uint16_t bsl_sum16_fold(uint64_t sum) {
        while (sum >> 16)
                sum = (sum >> 16) + (sum & 0xffff);
        return (uint16_t) ~sum;
}

uint16_t bsl_sum16(const void *data, size_t size) {
        return bsl_sum16_fold(kernels()->sum_words(data, size));
}
