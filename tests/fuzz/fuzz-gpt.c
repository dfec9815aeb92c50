/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The partition table at the start of a device. With the first byte odd its sums are made right first, or none would come further. */
#include <string.h>

#include "firmware/gpt.h"
#include "fuzz.h"

static uint32_t crc32(const uint8_t *p, size_t n) {
        uint32_t c = 0xffffffff;

        while (n--) {
                c ^= *p++;
                for (int i = 0; i < 8; i++)
                        c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        }
        return ~c;
}

static void put32(uint8_t *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> 8 * i);
}

static void mend(uint8_t *disk, size_t sector) {
        uint8_t *header = disk + sector;

        put32(header + 88, crc32(disk + 2 * sector, 128 * 128));
        put32(header + 16, 0);
        put32(header + 16, crc32(header, 92));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Script s = {data, size};
        uint8_t how = script_byte(&s);
        size_t length = how & 4 ? s.size : GPT_HEAD_SIZE, n = 0;
        uint8_t *disk = calloc(1, length ? length : 1);
        GptEntry *entries = NULL;
        uint32_t sector;
        uint64_t whole;

        MUST(disk);
        memcpy(disk, s.data, s.size < length ? s.size : length);
        if (how & 1 && length == GPT_HEAD_SIZE)
                mend(disk, how & 2 ? 4096 : 512);
        if (gpt_parse(disk, length, &entries, &n, &sector, &whole) == 0) {
                MUST(n <= GPT_ENTRIES_MAX);
                MUST(sector == 512 || sector == 4096);
                for (size_t i = 0; i < n; i++) {
                        MUST(memchr(entries[i].name, 0, sizeof(entries[i].name)));
                        MUST(entries[i].start + entries[i].size >= entries[i].start);
                }
                free(entries);
        }
        free(disk);
        return 0;
}
