/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/serials.h"

#include <inttypes.h>
#include <stdio.h>

#define LONGEST 63
#define DIGITS_MAX 18
#define BETWEEN " ,\t\r\n"
#define DIGITS "0123456789"

bool serial_valid(const char *serial) {
        size_t n = strlen(serial);

        return n >= 1 && n <= LONGEST && strspn(serial, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS "._-/") == n;
}

bool serials_is_range(const char *text) {
        return strchr(text, ':') != NULL;
}

typedef struct Range {
        char prefix[64];
        unsigned width;
        uint64_t first, last;
} Range;

static bool parse_range(const char *text, Range *ret) {
        const char *colon = strchr(text, ':'), *digits = colon + 1;
        size_t prefix = (size_t) (colon - text), width = strspn(digits, DIGITS), width_last;

        if (prefix + width > LONGEST || width == 0 || width > DIGITS_MAX || digits[width] != '-')
                return false;
        width_last = strspn(digits + width + 1, DIGITS);
        if (width_last != width || digits[width + 1 + width_last] != '\0')
                return false;
        memcpy(ret->prefix, text, prefix);
        ret->prefix[prefix] = '\0';
        if (prefix > 0 && !serial_valid(ret->prefix))
                return false;
        ret->width = (unsigned) width;
        ret->first = strtoull(digits, NULL, 10);
        ret->last = strtoull(digits + width + 1, NULL, 10);
        return ret->first <= ret->last;
}

/* "0001-0500" without the colon would be one number, and nobody means that. */
static bool looks_like_range(const char *word) {
        size_t n = strspn(word, DIGITS);

        return n > 0 && word[n] == '-' && word[n + 1] && word[n + 1 + strspn(word + n + 1, DIGITS)] == '\0';
}

static int check_list(const char *text, uint64_t *ret_n, size_t *ret_longest, char *why, size_t why_size) {
        *ret_n = *ret_longest = 0;
        for (const char *at = text + strspn(text, BETWEEN); *at; at += strspn(at, BETWEEN)) {
                size_t n = strcspn(at, BETWEEN);
                char word[LONGEST + 1];

                snprintf(word, sizeof(word), "%.*s", (int) MIN(n, (size_t) LONGEST), at);
                if (n > LONGEST || !serial_valid(word) || looks_like_range(word)) {
                        snprintf(why, why_size,
                                 "Number %" PRIu64 " of the list is none: 1 to 63 characters A-Z a-z 0-9 . _ - and / are possible. A range looks like "
                                 "AB24:0001-0500.",
                                 *ret_n + 1);
                        return -EINVAL;
                }
                (*ret_n)++;
                *ret_longest = MAX(*ret_longest, n);
                at += n;
        }
        if (*ret_n > 0)
                return 0;
        snprintf(why, why_size, "The list of serial numbers is empty.");
        return -EINVAL;
}

int serials_check(const char *text, uint64_t *ret_n, size_t *ret_longest, char *why, size_t why_size) {
        Range range;

        if (!serials_is_range(text))
                return check_list(text, ret_n, ret_longest, why, why_size);
        if (!parse_range(text, &range)) {
                snprintf(why, why_size, "A range of serial numbers looks like AB24:0001-0500: what all begin with, then the first and the last number, with "
                                        "as many digits as they shall have; 63 characters at most.");
                return -EINVAL;
        }
        *ret_n = range.last - range.first + 1;
        *ret_longest = strlen(range.prefix) + range.width;
        return 0;
}

bool serials_get(const char *text, uint64_t i, char ret[static 64]) {
        Range range;

        if (serials_is_range(text)) {
                if (!parse_range(text, &range) || i > range.last - range.first)
                        return false;
                return snprintf(ret, 64, "%s%0*" PRIu64, range.prefix, (int) range.width, range.first + i) < 64;
        }
        for (const char *at = text + strspn(text, BETWEEN); *at; at += strspn(at, BETWEEN)) {
                size_t n = strcspn(at, BETWEEN);

                if (i-- == 0) {
                        snprintf(ret, 64, "%.*s", (int) MIN(n, (size_t) LONGEST), at);
                        return true;
                }
                at += n;
        }
        return false;
}
