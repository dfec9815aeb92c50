/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* What an image is by its first bytes, and whether that belongs where it is to be written. Signed images are wrapped in a DHTB header
 * of 512 bytes (bsl-protocol §6.5, §13); what is inside is looked at then. */

typedef enum ImageKind {
        IMAGE_UNKNOWN,
        IMAGE_DHTB,        /* signed, contents not known */
        IMAGE_BOOT,        /* Android boot or recovery */
        IMAGE_VENDOR_BOOT,
        IMAGE_VBMETA,
        IMAGE_DTBO,
        IMAGE_SPARSE,
        IMAGE_EXT4,
        IMAGE_EROFS,
        IMAGE_NV_DUMP,     /* NV with the loader's header: a dump of the raw partition */
        IMAGE_PACKAGE,     /* a whole .pac */
        IMAGE_ARCHIVE,     /* zip, gzip, xz, 7z: not unpacked */
        IMAGE_KIND_MAX,
} ImageKind;

/* `size` of the whole image, of which at least the first IMAGE_HEAD bytes (or all) are at `data`. */
#define IMAGE_HEAD 4096
ImageKind image_kind(const void *data, size_t head, uint64_t size);
const char *image_kind_to_string(ImageKind kind); /* for sentences: "an Android boot image" */

/* True if an image of this kind may be written to the partition; else *ret_why says what belongs there ("a vbmeta image"). */
bool image_fits(ImageKind kind, const char *partition, const char **ret_why);

/* The same, said in one sentence in `ret`. `loaders`: kind of the loaders that are used on the unit: where they are signed (DHTB), programs of
 * the boot chain must be, too. `chosen`: somebody named file and partition, and no package stands for it that a file without a known kind
 * belongs there: where images have a magic it must have it. True: it may be written. */
bool image_check(ImageKind kind, ImageKind loaders, bool chosen, const char *partition, char *ret, size_t size);

/* The name is `base`, or that of one of its slots, copies or parts: base and something behind "_". */
bool partition_belongs_to(const char *name, const char *base);
/* Partitions that loaders keep in two copies with a header, and whose images are written with a checksum (bsl-protocol §9.2):
 * "l_fixnv1", "nr_fixnv1_a", "l_runtimenv1". */
bool partition_is_nv(const char *partition);
/* A program of the boot chain: the loaders that start before the system, in any slot or second copy. */
bool partition_is_loader(const char *partition);
/* Running NV: made anew by the unit from the fixed NV. */
bool partition_is_running_nv(const char *partition);
/* Identity or production data that a unit cannot get back from a package. */
bool partition_is_identity(const char *partition);
/* The same where things have addresses: fixed NV, and phase check too. */
bool address_is_nv(uint64_t address);
bool address_is_identity(uint64_t address);
