/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes as lower-case hex digits, as hashes and ids are written. */

/* 2n digits and the end of the string. */
void bytes_to_hex(const uint8_t *bytes, size_t n, char *ret);
/* 2·n lower-case digits and the end; false: something else. */
bool hex_to_bytes(const char *s, uint8_t *ret, size_t n);
bool is_lower_hex(const char *s, size_t length); /* exactly that many digits */
