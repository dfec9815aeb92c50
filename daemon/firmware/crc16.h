/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* CRC-16/ARC (reflected 0xA001, initial 0, no final xor): packages and NV images. Start with 0, continue with the
 * result. */
uint16_t crc16_arc(uint16_t crc, const void *data, size_t size);
uint16_t crc16_arc_zeros(uint16_t crc, uint64_t n); /* continued over n zero bytes, without looking at each */
