/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/pac.h"

/* Android sparse images: loaders expand them on the way into a partition, so an error in one shows when half of the
 * partition is overwritten. They are read through here before that. */

#define SPARSE_HEADER_SIZE 28
/* Some images have a signed header in front. */
#define SPARSE_PREFIX_SIZE 0x200
/* What has to be seen of an image to tell whether it is one. */
#define SPARSE_HEAD_SIZE (SPARSE_PREFIX_SIZE + SPARSE_HEADER_SIZE)

typedef struct SparseInfo {
        uint64_t prefix;   /* bytes before the sparse header: 0 or SPARSE_PREFIX_SIZE */
        uint64_t expanded; /* bytes of the partition that it covers */
        uint32_t block, chunks;
        bool summed;       /* it carries a CRC, and that was right */
} SparseInfo;

/* As loaders tell it: by the first bytes. */
bool sparse_detect(const void *head, size_t size, uint64_t *ret_prefix);

/* Reads the whole structure (and, if it carries a CRC, all data) of the sparse image that is the content of `reader`.
 * `room`: bytes of the partition, U64_UNKNOWN if not known. 0; 1 with *f (class plan, detail "sparse": field, offset and
 * what is wrong; class mismatch, detail "sparse-size": it does not fit); the reader's negative errno. Needs no memory
 * that depends on the image. */
int sparse_check(const PacReader *reader, uint64_t room, SparseInfo *ret, Failure *f);

/* What a sparse image that sparse_check() found good puts into a partition, in order: `size` bytes at `at`, those of the image at
 * `source`, or, where source is U64_UNKNOWN, the word `fill` again and again. What it leaves out is not told. Ends with the first
 * answer that is not 0 and gives it back. */
typedef int (*SparseData)(void *userdata, uint64_t at, uint64_t size, uint64_t source, uint32_t fill);
int sparse_data(const PacReader *reader, SparseData tell, void *userdata);
