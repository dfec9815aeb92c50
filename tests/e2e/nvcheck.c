/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* nvcheck [--raw] GOOD COPY… -- ID…: does each COPY of calibration hold the items ID of GOOD, bit for bit? Copies are files as they lie in
 * flash: the loader's header (its length and sum are checked), then the image (its CRC is checked). GOOD is read in the same way. --raw: no
 * header. Of two items with the same id both images must have as many. Told at the end: "N items in M copies; order kept|other order".
 * Written from the description of the format alone: shares nothing with the daemon, the package maker or the simulator. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 512u

typedef struct Image {
        uint8_t *file, *data;
        size_t size;
} Image;

static uint32_t little(const uint8_t *p, unsigned n) {
        uint32_t v = 0;

        while (n-- > 0)
                v = v << 8 | p[n];
        return v;
}

static _Noreturn void die(const char *path, const char *why) {
        fprintf(stderr, "nvcheck: %s: %s\n", path, why);
        exit(1);
}

/* CRC-16/ARC: polynomial 0x8005 reflected, nothing at the start or the end. */
static uint16_t crc(const uint8_t *p, size_t n) {
        uint16_t v = 0;

        for (size_t i = 0; i < n; i++) {
                v ^= p[i];
                for (int bit = 0; bit < 8; bit++)
                        v = (uint16_t) (v & 1 ? v >> 1 ^ 0xA001 : v >> 1);
        }
        return v;
}

static Image read_image(const char *path, bool raw) {
        FILE *f = fopen(path, "re");
        Image image = {.file = calloc(1, 64u << 20)};
        uint32_t sum = 0;

        if (!f)
                die(path, "cannot be opened");
        image.size = fread(image.file, 1, 64u << 20, f);
        fclose(f);
        image.data = image.file;
        if (!raw) {
                size_t length = little(image.file + 4, 4);

                if (image.size < HEADER || little(image.file, 4) != 0x4E56 || length > image.size - HEADER)
                        die(path, "no header of a loader");
                image.data = image.file + HEADER;
                image.size = length;
                for (size_t i = 0; i < length; i++)
                        sum += image.data[i];
                if (sum != little(image.file + 8, 4))
                        die(path, "the header's sum is wrong");
        }
        if (image.size < 8 || crc(image.data + 2, image.size - 2) != (uint16_t) (image.data[0] << 8 | image.data[1]))
                die(path, "the image's CRC is wrong");
        return image;
}

/* The n-th item of an id; its place counts items. */
static const uint8_t *find(const char *path, Image image, unsigned id, size_t *ret_size, unsigned *ret_place) {
        unsigned place = 0;

        for (size_t at = 4; at + 4 <= image.size && little(image.data + at, 2) != 0xFFFF; place++) {
                size_t length = little(image.data + at + 2, 2);

                if (length > image.size - at - 4)
                        die(path, "an item leads out of the image");
                if (little(image.data + at, 2) == id) {
                        *ret_size = length;
                        *ret_place = place;
                        return image.data + at + 4;
                }
                at += 4 + (length + 3) / 4 * 4;
        }
        fprintf(stderr, "nvcheck: %s: there is no item 0x%x\n", path, id);
        exit(1);
}

static bool compare(const char *path, Image good, Image copy, char **ids, const char *good_path) {
        unsigned last_good = 0, last = 0;
        bool same_order = true;

        for (; *ids; ids++) {
                unsigned id = (unsigned) strtoul(*ids, NULL, 0), place_good, place;
                size_t size_good, size;
                const uint8_t *a = find(good_path, good, id, &size_good, &place_good), *b = find(path, copy, id, &size, &place);

                if (size != size_good || memcmp(a, b, size) != 0) {
                        fprintf(stderr, "nvcheck: %s: item 0x%x is another one\n", path, id);
                        exit(1);
                }
                same_order = same_order && (place_good > last_good) == (place > last);
                last_good = place_good;
                last = place;
        }
        return same_order;
}

int main(int argc, char **argv) {
        bool raw = argc > 1 && strcmp(argv[1], "--raw") == 0, same_order = true;
        int first = raw ? 2 : 1, end = first;
        unsigned copies = 0, items = 0;
        Image good;

        while (end < argc && strcmp(argv[end], "--") != 0)
                end++;
        if (end >= argc - 1 || end < first + 2) {
                fprintf(stderr, "usage: nvcheck [--raw] GOOD COPY… -- ID…\n");
                return 2;
        }
        good = read_image(argv[first], raw);
        for (int i = first + 1; i < end; i++, copies++) {
                Image copy = read_image(argv[i], raw);

                same_order = compare(argv[i], good, copy, argv + end + 1, argv[first]) && same_order;
                free(copy.file);
        }
        for (int i = end + 1; i < argc; i++)
                items++;
        free(good.file);
        printf("%u items in %u copies; %s\n", items, copies, same_order ? "order kept" : "other order");
        return 0;
}
