/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* CRC-32 as in zip and in GUID partition tables: polynomial 0xedb88320 (reflected), begins with and ends in all ones. */
uint32_t crc32_of(const void *data, size_t size);
