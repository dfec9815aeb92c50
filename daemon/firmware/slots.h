/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "common/macro.h"

/* Which of two slots a unit starts: Android's block for the boot loader, in the partition misc (bsl-protocol §9.1, §9.3). Its layout, in
 * bytes: suffix of the active slot 4, magic 4, version 1, number of slots (3 bits) and more 2, reserved 1, four slots 2 each (priority
 * 4 bits, tries 3, booted 1, damaged 1), reserved 8, CRC-32 of what stands before it 4; little-endian. */

#define SLOTS_AT 0x800u /* in misc */
#define SLOTS_SIZE 32u

typedef enum SlotsState {
        SLOTS_EMPTY,   /* erased: the loader takes slot a, packages leave it like that */
        SLOTS_GOOD,
        SLOTS_BAD_SUM, /* all of it makes sense but for the CRC */
        SLOTS_BAD,
} SlotsState;

SlotsState slots_check(const uint8_t block[static SLOTS_SIZE]);
/* 'a', 'b'; 0: it does not say. */
char slots_active(const uint8_t block[static SLOTS_SIZE]);
void slots_seal(uint8_t block[static SLOTS_SIZE]); /* the CRC */
/* A new block that starts `active` first, the other one if that fails. */
void slots_make(uint8_t block[static SLOTS_SIZE], char active);
