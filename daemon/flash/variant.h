/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/pac.h"

/* Files of which a package has several variants, and which of them is meant: the block and page size of the unit's NAND
 * ("selbyflash", name_b128k_p2k.img), or its radio chip ("selbyrf", name_CHIP_nvitem.bin). The variants lie in the package as
 * entries without an ID, or are files of the configuration with the same target. Names are compared as the vendor's tools do:
 * upper and lower case do not count. */

#define VARIANT_KEY_MAX 48

typedef struct Variant {
        char key[VARIANT_KEY_MAX]; /* "_b128k_p2k", or "rf:" and the name of the chip */
        const char *file_name;
        uint64_t offset, size;
} Variant;

/* "_b128k_p2k": how the vendor writes a block and a page size; whole kibibytes get a "k". */
void variant_flash_key(uint32_t block, uint32_t page, char ret[static VARIANT_KEY_MAX]);
/* The key in a file's name; false if it has none. */
bool variant_flash_key_of(const char *file_name, char ret[static VARIANT_KEY_MAX]);

/* All variants of a file, its own first: at most `max` are put into ret. 0 and their number; 1 with *f (class plan, detail
 * "select"): its name tells no variant, or two of them are for the same. */
int variant_collect(const Pac *pac, const PacFile *file, Variant *ret, size_t max, size_t *ret_n, Failure *f);
