/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "firmware/pac.h"

/* Calibration and identity data ("NV"): structure check, merge, CRC, sum. */

/* Structure: 4-byte prefix, items {id, length, data, pad to 4}, id 0xFFFF ends; the IMEI and calibration items must be
 * there. 0 or 1 with *f (class mismatch, detail "nv", text says which image and what). `whose`: "the device" or "the
 * package". */
int nv_check(const void *image, size_t size, const char *whose, Failure *f);
/* Finds an item. */
bool nv_find(const void *image, size_t size, uint16_t id, size_t *ret_offset, size_t *ret_length);
/* Whose it is: "imei:DIGITS" (item 5: a mark and fifteen digits, low nibble first), or "nv:HEX" where the item holds something else.
 * False if the structure does not hold or nothing was ever written there. */
bool nv_unit(const void *image, size_t size, char ret[static 24]);
/* How many bytes of what was read out of a partition are the image: up to the end mark, and what is not blank behind it. False if the
 * structure does not lead there. */
bool nv_length(const void *image, size_t size, size_t *ret);
/* Looks blank: all FF or all 00. */
bool nv_blank(const void *image, size_t size);

/* Checks both structures, then copies the items of the list from the device's image over the same ids of the package's,
 * in place. An item that is missing in the package, or of another length, is a failure; one that is missing in the
 * device, too, unless it may Continue. Mode upgrade forces Continue for MMITest. 0; 1 with *f (class mismatch; detail nv,
 * nv-device-id, nv-file-id, nv-length, nv-version); -ENOMEM. The image is untouched unless 0. */
int nv_merge(void *image, size_t size, const void *device, size_t device_size, const PacNvItem *items, size_t n_items,
             FlashMode mode, Failure *f);
/* Calibration gate of upgrade mode: 0 calibrated or not applicable, 1 with *f (detail
 * "nv-uncalibrated"). `families`: attribute CheckCali, a list of GSM, TD, WCDMA and LTE, "" means GSM. Other than GSM they count
 * where an item of theirs is in the list of what the package keeps, as in the vendor's tool: TD shares GSM's flag; WCDMA and LTE
 * have one of 16 bits at byte 2 of the item, not 0 where calibrated. An unknown word is ignored. */
int nv_check_calibrated(const void *device, size_t size, const char *families, const PacNvItem *items, size_t n_items,
                        Failure *f);

/* For a unit that is to be calibrated anew: its flag says that it is not yet. Nothing happens where the image has no such flag. */
void nv_clear_calibrated(void *image, size_t size);

/* CRC-16/ARC of bytes [2, size) into bytes 0-1, high byte first; gives the byte sum of the whole (never 0 for a real
 * image). */
uint32_t nv_seal(void *image, size_t size);

typedef struct NvDifference {
        size_t n;       /* items that are missing or differ */
        uint16_t first; /* the lowest id of them */
        size_t n_own;   /* those of them that no firmware may have another opinion of: calibration, identity, what is kept */
        uint16_t first_own;
} NvDifference;

/* Item by item, in whatever order they stand: what of `image` is missing in `back` or differs there. `kept`: the package's list of what
 * is kept. 0; -EBADMSG if `back` does not hold the structure; -ENOMEM. */
int nv_compare(const void *image, size_t size, const void *back, size_t back_size, const PacNvItem *kept, size_t n_kept,
               NvDifference *ret);
