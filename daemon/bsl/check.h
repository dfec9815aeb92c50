/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* The two ways in which a frame proves that it arrived whole: the boot ROM uses a CRC, all loaders a sum. */
typedef enum BslCheck { BSL_CHECK_CRC16, BSL_CHECK_SUM } BslCheck;

/* Polynomial 0x1021, nothing reflected; `crc` is 0 or the result for the bytes before. */
uint16_t bsl_crc16(uint16_t crc, const void *data, size_t size);
/* The complement of the folded sum of little-endian words. */
uint16_t bsl_sum16(const void *data, size_t size);
uint16_t bsl_sum16_fold(uint64_t sum); /* from the plain sum of the words */
