/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/macro.h"

/* The GUID partition table at the start of a device, as `user_partition` gives it (bsl-protocol §6.6). Everything in it is
 * checked: sums, bounds, order of the numbers. */

#define GPT_HEAD_SIZE 0x8000u /* of the device: holds header and entries with sectors of 512 and of 4096 bytes */
#define GPT_ENTRIES_MAX 128

typedef struct GptEntry {
        char name[37];          /* printable ASCII, others become "?" */
        uint64_t start, size;   /* bytes */
} GptEntry;

/* `data`: the first GPT_HEAD_SIZE bytes. *ret: malloc, in the order of their place on the device. *ret_sector: 512 or 4096.
 * *ret_size: bytes of the device behind its last sector that the table knows. 0; -EBADMSG no table, or one that contradicts
 * itself; -ENOMEM. */
int gpt_parse(const uint8_t *data, size_t size, GptEntry **ret, size_t *ret_n, uint32_t *ret_sector, uint64_t *ret_size);

/* The second copy, at the end of the device: `data` are its last GPT_HEAD_SIZE bytes, `end` is how many it has in all. As above. */
int gpt_parse_copy(const uint8_t *data, uint64_t end, GptEntry **ret, size_t *ret_n, uint32_t *ret_sector);
/* How many bytes the device has, by the place that a first copy which holds names for the second; 0: it does not say. */
uint64_t gpt_end(const uint8_t *data, size_t size, uint32_t sector);
