/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/gpt.h"

#include <stdlib.h>

#include "firmware/crc32.h"

#define HEADER_MIN 92
#define ENTRY_MIN 128
#define NAME_AT 56

/* The header's own sum is made with zeroes in its place. */
static bool header_holds(const uint8_t *h, size_t room) {
        uint32_t size = get_le32(h + 12);
        uint8_t copy[512];

        if (memcmp(h, "EFI PART", 8) != 0 || size < HEADER_MIN || size > MIN(room, sizeof(copy)))
                return false;
        memcpy(copy, h, size);
        memset(copy + 16, 0, 4);
        return crc32_of(copy, size) == get_le32(h + 16);
}

static bool is_unused(const uint8_t *entry) {
        for (int i = 0; i < 16; i++)
                if (entry[i])
                        return false;
        return true;
}

static void take_name(const uint8_t *p, char ret[static 37]) {
        size_t n = 0;

        for (; n < 36 && get_le16(p + 2 * n) != 0; n++) {
                uint16_t unit = get_le16(p + 2 * n);
                ret[n] = unit > 0x20 && unit < 0x7f ? (char) unit : '?';
        }
        ret[n] = '\0';
}

static bool take_entry(const uint8_t *p, uint32_t sector, uint64_t last_usable, GptEntry *ret) {
        uint64_t first = get_le64(p + 32), last = get_le64(p + 40);

        if (first == 0 || last < first || last > last_usable || last >= UINT64_MAX / sector)
                return false;
        take_name(p + NAME_AT, ret->name);
        ret->start = first * sector;
        ret->size = (last - first + 1) * sector;
        return true;
}

static int by_place(const void *a, const void *b) {
        const GptEntry *x = a, *y = b;

        return x->start < y->start ? -1 : x->start > y->start;
}

static int parse_entries(const uint8_t *p, uint32_t n, uint32_t each, uint32_t sector, uint64_t last_usable, GptEntry *ret,
                         size_t *ret_n) {
        size_t used = 0;

        for (uint32_t i = 0; i < n; i++) {
                if (is_unused(p + (size_t) i * each))
                        continue;
                if (!take_entry(p + (size_t) i * each, sector, last_usable, ret + used))
                        return -EBADMSG;
                used++;
        }
        qsort(ret, used, sizeof(*ret), by_place);
        for (size_t i = 1; i < used; i++)
                if (ret[i].start < ret[i - 1].start + ret[i - 1].size)
                        return -EBADMSG;
        *ret_n = used;
        return 0;
}

/* What is at hand of the device: `size` bytes from its byte `base` on. */
typedef struct Piece {
        const uint8_t *data;
        size_t size;
        uint64_t base;
} Piece;

/* A header in the sector `lba`, and its entries, both within the piece. */
static int parse_with(const Piece *p, uint64_t lba, uint32_t sector, GptEntry **ret, size_t *ret_n, uint64_t *ret_size) {
        const uint8_t *h = p->data + (lba * sector - p->base), *list;
        uint32_t n, each;
        uint64_t at, last;
        GptEntry *entries;
        int r;

        if (!header_holds(h, sector) || get_le64(h + 24) != lba)
                return -EBADMSG;
        at = get_le64(h + 72);
        n = get_le32(h + 80);
        each = get_le32(h + 84);
        last = get_le64(h + 48);
        if (n == 0 || n > GPT_ENTRIES_MAX || each < ENTRY_MIN || each > 4096 || at < 2 || at > (p->base + p->size) / sector ||
            at * sector < p->base || (uint64_t) n * each > p->base + p->size - at * sector || last >= UINT64_MAX / sector)
                return -EBADMSG;
        list = p->data + (at * sector - p->base);
        if (crc32_of(list, (size_t) n * each) != get_le32(h + 88))
                return -EBADMSG;
        entries = calloc(n, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        r = parse_entries(list, n, each, sector, last, entries, ret_n);
        if (r < 0) {
                free(entries);
                return r;
        }
        *ret = entries;
        *ret_size = (last + 1) * sector;
        return 0;
}

static const uint32_t sectors[] = {512, 4096};

int gpt_parse(const uint8_t *data, size_t size, GptEntry **ret, size_t *ret_n, uint32_t *ret_sector, uint64_t *ret_size) {
        Piece piece = {data, size, 0};

        for (size_t i = 0; i < ELEMENTSOF(sectors); i++) {
                int r = size < 2 * (size_t) sectors[i] ? -EBADMSG : parse_with(&piece, 1, sectors[i], ret, ret_n, ret_size);

                if (r == -EBADMSG)
                        continue;
                *ret_sector = sectors[i];
                return r;
        }
        return -EBADMSG;
}

int gpt_parse_copy(const uint8_t *data, uint64_t end, GptEntry **ret, size_t *ret_n, uint32_t *ret_sector) {
        Piece piece = {data, GPT_HEAD_SIZE, end - GPT_HEAD_SIZE};
        uint64_t size;

        for (size_t i = 0; i < ELEMENTSOF(sectors); i++) {
                int r = end % sectors[i] ? -EBADMSG : parse_with(&piece, end / sectors[i] - 1, sectors[i], ret, ret_n, &size);

                if (r == -EBADMSG)
                        continue;
                *ret_sector = sectors[i];
                return r;
        }
        return -EBADMSG;
}

uint64_t gpt_end(const uint8_t *data, size_t size, uint32_t sector) {
        uint64_t other;

        if (size < 2 * (size_t) sector || !header_holds(data + sector, sector))
                return 0;
        other = get_le64(data + sector + 32);
        return other < UINT64_MAX / sector - 1 ? (other + 1) * sector : 0;
}
