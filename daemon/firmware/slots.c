/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/slots.h"

#include "firmware/crc32.h"

#define MAGIC 0x42414342u
#define FORMAT 1u
#define SLOTS_MAX 4u
#define SUM_AT 28u

static bool is_all(const uint8_t *p, uint8_t byte) {
        for (size_t i = 0; i < SLOTS_SIZE; i++)
                if (p[i] != byte)
                        return false;
        return true;
}

/* Android writes "_a", some loaders "a". */
char slots_active(const uint8_t b[static SLOTS_SIZE]) {
        const uint8_t *s = b[0] == '_' ? b + 1 : b;

        return (s[0] == 'a' || s[0] == 'b') && s[1] == 0 ? (char) s[0] : 0;
}

SlotsState slots_check(const uint8_t b[static SLOTS_SIZE]) {
        unsigned n = b[9] & 7;

        if (is_all(b, 0) || is_all(b, 0xff))
                return SLOTS_EMPTY;
        if (get_le32(b + 4) != MAGIC || b[8] != FORMAT || n < 1 || n > SLOTS_MAX || !slots_active(b))
                return SLOTS_BAD;
        return crc32_of(b, SUM_AT) == get_le32(b + SUM_AT) ? SLOTS_GOOD : SLOTS_BAD_SUM;
}

void slots_seal(uint8_t b[static SLOTS_SIZE]) {
        put_le32(b + SUM_AT, crc32_of(b, SUM_AT));
}

void slots_make(uint8_t b[static SLOTS_SIZE], char active) {
        memset(b, 0, SLOTS_SIZE);
        b[0] = '_';
        b[1] = (uint8_t) active;
        put_le32(b + 4, MAGIC);
        b[8] = FORMAT;
        b[9] = 2;
        for (unsigned i = 0; i < 2; i++)
                b[12 + 2 * i] = (uint8_t) ((active == 'a' ? i == 0 : i == 1) ? 15 | 7 << 4 : 14 | 7 << 4);
        slots_seal(b);
}
