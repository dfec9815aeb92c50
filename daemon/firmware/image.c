/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/image.h"

#include <stdio.h>

#define DHTB_SIZE 512U

static bool begins(const uint8_t *p, size_t have, size_t at, const void *magic, size_t n) {
        return have >= at + n && memcmp(p + at, magic, n) == 0;
}

static ImageKind plain_kind(const uint8_t *p, size_t n) {
        static const struct {
                size_t at, size;
                const char *magic;
                ImageKind kind;
        } known[] = {
                {0, 8, "ANDROID!", IMAGE_BOOT},
                {0, 8, "VNDRBOOT", IMAGE_VENDOR_BOOT},
                {0, 4, "AVB0", IMAGE_VBMETA},
                {0, 4, "\xd7\xb7\xab\x1e", IMAGE_DTBO},
                {0, 4, "\xd0\x0d\xfe\xed", IMAGE_DTBO}, /* a single tree */
                {0, 4, "\x3a\xff\x26\xed", IMAGE_SPARSE},
                {1024, 4, "\xe2\xe1\xf5\xe0", IMAGE_EROFS},
                {1024 + 0x38, 2, "\x53\xef", IMAGE_EXT4},
                {0, 4, "VN\0\0", IMAGE_NV_DUMP},
                {0, 8, "B\0P\0_\0R\0", IMAGE_PACKAGE},
                {0, 4, "PK\3\4", IMAGE_ARCHIVE},
                {0, 3, "\x1f\x8b\x08", IMAGE_ARCHIVE},
                {0, 6, "\xfd" "7zXZ\0", IMAGE_ARCHIVE},
                {0, 6, "7z\xbc\xaf\x27\x1c", IMAGE_ARCHIVE},
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (begins(p, n, known[i].at, known[i].magic, known[i].size))
                        return known[i].kind;
        return IMAGE_UNKNOWN;
}

ImageKind image_kind(const void *data, size_t head, uint64_t size) {
        const uint8_t *p = data;
        size_t n = (size_t) MIN((uint64_t) head, size);
        ImageKind inner;

        if (!begins(p, n, 0, "DHTB", 4))
                return plain_kind(p, n);
        inner = n > DHTB_SIZE ? plain_kind(p + DHTB_SIZE, n - DHTB_SIZE) : IMAGE_UNKNOWN;
        return inner == IMAGE_UNKNOWN ? IMAGE_DHTB : inner;
}

const char *image_kind_to_string(ImageKind kind) {
        static const char *const words[IMAGE_KIND_MAX] = {
                [IMAGE_UNKNOWN] = "data of no known kind",
                [IMAGE_DHTB] = "a signed image",
                [IMAGE_BOOT] = "an Android boot image",
                [IMAGE_VENDOR_BOOT] = "an Android vendor boot image",
                [IMAGE_VBMETA] = "a vbmeta image",
                [IMAGE_DTBO] = "a device tree overlay image",
                [IMAGE_SPARSE] = "an Android sparse image",
                [IMAGE_EXT4] = "an ext4 file system",
                [IMAGE_EROFS] = "an EROFS file system",
                [IMAGE_NV_DUMP] = "a raw dump of an NV partition, header and all",
                [IMAGE_PACKAGE] = "a whole firmware package",
                [IMAGE_ARCHIVE] = "an archive that is not unpacked",
        };

        return words[kind];
}

/* The name without the slot and without what marks a second copy. */
static bool is_partition(const char *name, const char *base) {
        size_t n = strlen(base);

        return strncmp(name, base, n) == 0 && (name[n] == '\0' || streq(name + n, "_a") || streq(name + n, "_b") || streq(name + n, "_bak"));
}

bool partition_belongs_to(const char *name, const char *base) {
        size_t n = strlen(base);

        return strncmp(name, base, n) == 0 && (name[n] == '\0' || name[n] == '_');
}

bool partition_is_loader(const char *name) {
        static const char *const names[] = {"splloader", "uboot", "sml", "trustos", "teecfg", "lk"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (is_partition(name, names[i]))
                        return true;
        return false;
}

/* Partitions of the boot chain whose images begin with a magic, signed or not. */
typedef struct Place {
        const char *name;
        ImageKind kind;
        const char *why;
} Place;
static const Place places[] = {
        {"boot", IMAGE_BOOT, "an Android boot image"},         {"recovery", IMAGE_BOOT, "an Android boot image"},
        {"init_boot", IMAGE_BOOT, "an Android boot image"},    {"vendor_boot", IMAGE_VENDOR_BOOT, "an Android vendor boot image"},
        {"vbmeta", IMAGE_VBMETA, "a vbmeta image"},            {"vbmeta_system", IMAGE_VBMETA, "a vbmeta image"},
        {"vbmeta_vendor", IMAGE_VBMETA, "a vbmeta image"},     {"dtbo", IMAGE_DTBO, "a device tree overlay image"},
};

static const Place *find_place(const char *partition) {
        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (is_partition(partition, places[i].name))
                        return places + i;
        return NULL;
}

/* What an image that is surely something else must not be written to. Places that are not named here take anything. */
bool image_fits(ImageKind kind, const char *partition, const char **ret_why) {
        const Place *place = find_place(partition);

        *ret_why = "the contents of the partition itself";
        if (kind == IMAGE_PACKAGE || kind == IMAGE_ARCHIVE)
                return false;
        if (place) {
                *ret_why = place->why;
                return kind == place->kind || kind == IMAGE_DHTB || kind == IMAGE_UNKNOWN;
        }
        if (partition_is_loader(partition)) {
                *ret_why = "a loader";
                return kind == IMAGE_DHTB || kind == IMAGE_UNKNOWN;
        }
        if (partition_is_nv(partition)) {
                *ret_why = "an NV image without the loader's header";
                return kind == IMAGE_UNKNOWN;
        }
        return true;
}

bool image_check(ImageKind kind, ImageKind loaders, bool chosen, const char *partition, char *ret, size_t size) {
        const char *wanted;

        if (!image_fits(kind, partition, &wanted) || (chosen && kind == IMAGE_UNKNOWN && find_place(partition))) {
                snprintf(ret, size, "the file for %s is %s, and %s belongs there; nothing was written", partition, image_kind_to_string(kind), wanted);
                return false;
        }
        if (loaders != IMAGE_DHTB || kind != IMAGE_UNKNOWN || !partition_is_loader(partition))
                return true;
        snprintf(ret, size, "the file for %s has no signature (DHTB header), and the loaders of this unit have one: it would take it and not start; nothing was "
                            "written", partition);
        return false;
}

/* The first copy, which loaders check and mirror; the second is a partition like any other to them. */
static bool is_first_copy(const char *partition, const char *base) {
        const char *at = strstr(partition, base);

        return at && (streq(at + strlen(base), "") || streq(at + strlen(base), "_a") || streq(at + strlen(base), "_b"));
}

bool partition_is_nv(const char *partition) {
        return is_first_copy(partition, "fixnv1") || partition_is_running_nv(partition);
}

bool partition_is_running_nv(const char *partition) {
        return is_first_copy(partition, "runtimenv1");
}

/* Modules: PhaseCheck and fixed NV. Feature phones: the same by their logical ids (types in pac-format.md §6.3). */
bool address_is_nv(uint64_t address) {
        return address == 0xfe000003 || address == 0x90000001;
}

bool address_is_identity(uint64_t address) {
        return address_is_nv(address) || address == 0xfe000002 || address == 0x90000002;
}

bool partition_is_identity(const char *partition) {
        return strstr(partition, "fixnv") || is_partition(partition, "prodnv") || is_partition(partition, "miscdata") ||
               is_partition(partition, "calinv") || is_partition(partition, "persist");
}
