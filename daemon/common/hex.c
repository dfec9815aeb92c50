/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/hex.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

void bytes_to_hex(const uint8_t *bytes, size_t n, char *ret) {
        for (size_t i = 0; i < n; i++) {
                ret[2 * i] = digits[bytes[i] >> 4];
                ret[2 * i + 1] = digits[bytes[i] & 15];
        }
        ret[2 * n] = '\0';
}

bool is_lower_hex(const char *s, size_t length) {
        return strspn(s, digits) == length && s[length] == '\0';
}

static uint8_t digit(char c) {
        return (uint8_t) (c <= '9' ? c - '0' : c - 'a' + 10);
}

bool hex_to_bytes(const char *s, uint8_t *ret, size_t n) {
        if (!is_lower_hex(s, 2 * n))
                return false;
        for (size_t i = 0; i < n; i++)
                ret[i] = (uint8_t) (digit(s[2 * i]) << 4 | digit(s[2 * i + 1]));
        return true;
}
