/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* Serial numbers to choose from, as text: a range "AB24:0001-0500" (what stands before the colon, then first and last number with as many
 * digits as they shall have), or a list "AB1, AB2" separated by commas, blanks or line ends. */

#define SERIALS_TEXT_MAX (1024U * 1024)

/* A serial number that may be written: 1 to 63 of A-Z a-z 0-9 . _ - and /. */
bool serial_valid(const char *serial);
/* How many there are. 0; -EINVAL with *why, a sentence that names no number. */
int serials_check(const char *text, uint64_t *ret_n, size_t *ret_longest, char *why, size_t why_size);
bool serials_is_range(const char *text);
/* The one with the index i, from 0; `text` was checked. False: there are no more. */
bool serials_get(const char *text, uint64_t i, char ret[static 64]);
