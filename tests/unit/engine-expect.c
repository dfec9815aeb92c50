/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "usbsim/model/feature-table.h"
#include "usbsim/model/phone-ab-table.h"
#include "usbsim/model/phone-nand-table.h"

/* Flash as it must be afterwards, from the package's table and the rules of the references alone. */

#define NOR 0x60000000u
#define PAGE 4096u

const uint8_t *expect_nv_item(const uint8_t *image, size_t size, unsigned id, size_t *ret_size) {
        for (size_t at = 4; at + 4 <= size;) {
                unsigned this = image[at] | image[at + 1] << 8, n = image[at + 2] | image[at + 3] << 8;

                if (this == 0xffff || n > size - at - 4)
                        return NULL;
                if (this == id) {
                        *ret_size = n;
                        return image + at + 4;
                }
                at += 4 + ((n + 3) & ~3u);
        }
        return NULL;
}

static bool in_list(unsigned id, const unsigned *list) {
        for (; *list; list++)
                if (*list == id)
                        return true;
        return false;
}

/* Items that stay the unit's own, by the lists of the packages (module-and-vendor-flow §3.6, generated phone package).
 */
static bool stays(const char *family, unsigned id) {
        static const unsigned a[] = {2, 5, 0x179, 0x186, 0x1e4, 0x26d, 0x26e, 0},
                              b[] = {2, 5, 0x179, 0x186, 0x1e4, 0x26e, 0x26f, 0x1b4, 0x1f0, 0x300, 0},
                              phone[] = {2, 5, 0x179, 0x186, 0x1e4, 0x26d, 0x26e, 0x516, 0x9c4, 0x191, 0},
                              feature[] = {2, 5, 0x179, 0x186, 0x1e4, 0x26d, 0};

        return in_list(id, streq(family, "uis8910") ? a : streq(family, "uis8850") ? b
                                                       : streq(family, "feature") ? feature
                                                                                  : phone);
}

/* ---- modules ---------------------------------------------------------------------------------------------- */

static void module_nv(BenchFlash *f, const char *family, const uint8_t *image, size_t size) {
        for (size_t at = 4; at + 4 <= size;) {
                unsigned id = image[at] | image[at + 1] << 8, n = image[at + 2] | image[at + 3] << 8;
                char name[32];

                if (id == 0xffff)
                        break;
                snprintf(name, sizeof(name), "FFAC/nv%04x.bin", id);
                if (!stays(family, id))
                        bench_flash_put(f, name, image + at + 4, n);
                at += 4 + ((n + 3) & ~3u);
        }
}

static void nor_erase(BenchFlash *f, uint64_t at, uint64_t size) {
        bench_flash_fill(f, "flash.bin", at - NOR, size, 0xff);
}

/* A write erases the pages that it touches. */
static void nor_write(BenchFlash *f, uint64_t at, const uint8_t *data, size_t size, bool two_copies) {
        nor_erase(f, at, (size + PAGE - 1) / PAGE * PAGE);
        bench_flash_patch(f, "flash.bin", at - NOR, data, size);
        if (two_copies) {
                nor_erase(f, at + 0x10000, (size + PAGE - 1) / PAGE * PAGE);
                bench_flash_patch(f, "flash.bin", at - NOR + 0x10000, data, size);
        }
}

static void unpack(BenchFlash *f, const uint8_t *p, size_t size) {
        static const char *const mounts[][2] = {
                {"modem/", "FMOD/"}, {"factory/", "FFAC/"}, {"ext/", "FEXT/"}, {"", "FSYS/"}};

        for (size_t at = 0; at + 26 <= size;) {
                unsigned mode = get_le16(p + at + 6), name_size = get_le16(p + at + 20);
                size_t n = (size_t) get_le16(p + at + 22) << 16 | get_le16(p + at + 24);
                const char *name = (const char *) p + at + 26;
                char path[300] = "";

                ck_assert_uint_eq(get_le16(p + at), 0x71c7);
                if (streq(name, "TRAILER!!!"))
                        break;
                at += 26 + name_size + name_size % 2;
                while (*name == '/')
                        name++;
                for (size_t i = 0; i < ELEMENTSOF(mounts) && !path[0]; i++)
                        if (strncmp(name, mounts[i][0], strlen(mounts[i][0])) == 0)
                                snprintf(path, sizeof(path), "%s%s", mounts[i][1], name + strlen(mounts[i][0]));
                if ((mode & 0170000) != 0040000)
                        bench_flash_put(f, path, p + at, n);
                at += n + n % 2;
        }
}

static void format(BenchFlash *f, uint64_t fourcc) {
        char name[6] = {(char) fourcc, (char) (fourcc >> 8), (char) (fourcc >> 16), (char) (fourcc >> 24), '/'};

        bench_flash_remove(f, name);
}

static void module_file(BenchFlash *f, const char *family, const PacFile *file, const uint8_t *data) {
        uint64_t base = file->blocks[0].base, size = file->blocks[0].size;
        bool erase = streq(file->type, "EraseFlash");

        if (base == 0xfe000001 && erase)
                bench_flash_remove(f, "NVM/");
        else if (base == 0xfe000006 && erase)
                format(f, size);
        else if (erase)
                nor_erase(f, base, size);
        else if (base == 0xfe000003) {
                module_nv(f, family, data, file->size);
                if (streq(family, "uis8910")) /* clears running NV by itself */
                        bench_flash_remove(f, "NVM/");
        } else if (base == 0xfe000004)
                unpack(f, data, file->size);
        else if (base >= NOR && base < 0x70000000)
                nor_write(f, base, data, file->size, streq(family, "uis8850") && base == NOR);
}

/* ---- phones ----------------------------------------------------------------------------------------------- */

static const char *part_file(const char *name) {
        static char file[128];

        snprintf(file, sizeof(file), "parts/%s", name);
        return file;
}

static bool ends(const char *s, const char *end) {
        return strlen(s) >= strlen(end) && streq(s + strlen(s) - strlen(end), end);
}

/* nr_fixnv1_a is kept in four places, l_fixnv1 in two: those of them that the unit has. */
static size_t nv_places(BenchFlash *f, const char *name, char ret[4][64]) {
        bool slotted = ends(name, "_a");
        int stem = (int) strlen(name) - (slotted ? 3 : 1);
        size_t n = 0;

        for (int copy = 1; copy <= 2; copy++)
                for (int slot = 0; slot <= slotted; slot++) {
                        snprintf(ret[n], 64, "parts/%.*s%d%s", stem, name, copy, !slotted ? "" : slot ? "_b" : "_a");
                        n += bench_flash_file(f, ret[n], NULL) != NULL;
                }
        return n;
}

/* CRC in front, high byte first; returns the sum of all bytes. */
static uint32_t seal(uint8_t *image, size_t size) {
        uint32_t sum = 0;
        uint16_t crc = 0;

        for (size_t i = 2; i < size; i++) {
                crc ^= image[i];
                for (int k = 0; k < 8; k++)
                        crc = crc & 1 ? (uint16_t) (crc >> 1 ^ 0xa001) : (uint16_t) (crc >> 1);
        }
        image[0] = (uint8_t) (crc >> 8);
        image[1] = (uint8_t) crc;
        for (size_t i = 0; i < size; i++)
                sum += image[i];
        return sum;
}

static void keep_own(const char *family, uint8_t *merged, size_t size, const uint8_t *own, size_t own_size) {
        for (unsigned id = 0; id < 0xffff; id++) {
                size_t a = 0, b = 0;
                uint8_t *to = NULL;
                const uint8_t *from = NULL;

                if (!stays(family, id))
                        continue;
                to = (uint8_t *) expect_nv_item(merged, size, id, &a);
                from = expect_nv_item(own, own_size, id, &b);
                if (to && from) {
                        ck_assert_uint_eq(a, b);
                        memcpy(to, from, a);
                }
        }
}

static void phone_nv(BenchFlash *f, const char *name, const uint8_t *image, size_t size) {
        char places[4][64];
        size_t n = nv_places(f, name, places);
        uint8_t head[512] = "VN", *own, *merged = malloc(size);

        ck_assert_uint_gt(n, 0);
        own = bench_flash_file(f, places[0], NULL);
        memcpy(merged, image, size);
        keep_own("phone", merged, size, own + 512, get_le32(own + 4));
        put_le32(head + 4, (uint32_t) size);
        put_le32(head + 8, seal(merged, size));
        put_le32(head + 12, 101);
        for (size_t i = 0; i < n; i++) {
                bench_flash_patch(f, places[i], 0, head, sizeof(head));
                bench_flash_patch(f, places[i], sizeof(head), merged, size);
        }
        free(merged);
}

static void phone_erase(BenchFlash *f, const char *name) {
        size_t size;

        if (bench_flash_file(f, part_file(name), &size))
                bench_flash_fill(f, part_file(name), 0, size, 0);
}

/* Blocks that the image leaves out stay as they are; what lies behind the part of a file that is held in memory is looked
 * at apart. */
static void expand(BenchFlash *f, const char *file, const uint8_t *p) {
        uint32_t block = get_le32(p + 12), chunks = get_le32(p + 20);
        uint64_t at = 0;

        for (p += 28; chunks--; p += get_le32(p + 8)) {
                uint64_t n = (uint64_t) get_le32(p + 4) * block;

                if (at + n > BENCH_KEEP_MAX && get_le16(p) != 0xcac3)
                        break;
                if (get_le16(p) == 0xcac1)
                        bench_flash_patch(f, file, at, p + 12, n);
                for (uint64_t i = 0; get_le16(p) == 0xcac2 && i < n; i += 4)
                        bench_flash_patch(f, file, at + i, p + 12, 4);
                at += n;
        }
}

static bool on_nand(BenchFlash *f) {
        return bench_flash_file(f, "volumes.txt", NULL) != NULL;
}

static void phone_data(BenchFlash *f, const char *name, const PacFile *file, const uint8_t *data) {
        /* An update of a volume replaces all of it. */
        if (on_nand(f))
                phone_erase(f, name);
        if (file->size >= 28 && get_le32(data) == 0xed26ff3a)
                expand(f, part_file(name), data);
        else
                bench_flash_patch(f, part_file(name), 0, data, MIN(file->size, (uint64_t) BENCH_KEEP_MAX));
}

/* The loader's own copies: "_bak", or the other slot. */
static void phone_copy(BenchFlash *f, const char *name, const PacFile *file, const uint8_t *data) {
        static const char *const with_copy[] = {"trustos", "sml", "uboot", "teecfg", "vbmeta", "boot", NULL};
        static const char *const mirrored[] = {
#define X(name) name "_a",
                PHONE_AB_MIRROR(X)
#undef X
                        NULL};
        char copy[64];

        snprintf(copy, sizeof(copy), "%s_bak", name);
        for (size_t i = 0; with_copy[i]; i++)
                if (streq(name, with_copy[i]) && bench_flash_file(f, part_file(copy), NULL))
                        phone_data(f, copy, file, data);
        snprintf(copy, sizeof(copy), "%.*s_b", (int) MAX(strlen(name), 2u) - 2, name);
        for (size_t i = 0; mirrored[i]; i++)
                if (streq(name, mirrored[i]))
                        phone_data(f, copy, file, data);
}

static void phone_file(BenchFlash *f, const PacFile *file, const uint8_t *data) {
        const char *name = file->blocks[0].name, *nv;
        char twin[64];

        if (streq(name, "prodnv") || streq(name, "miscdata"))
                return; /* identity: not touched in upgrade mode */
        if (streq(name, "splloader"))
                return; /* boot areas: looked at apart */
        if (streq(file->type, "EraseFlash2")) {
                phone_erase(f, name);
                nv = strstr(name, "runtimenv1");
                snprintf(twin, sizeof(twin), "%.*s2", (int) strlen(name) - 1, name);
                if (nv)
                        phone_erase(f, twin);
                return;
        }
        if (strncmp(file->type, "NV_COMM", 7) == 0) {
                phone_nv(f, name, data, file->size);
                return;
        }
        if (streq(name, "uboot") && !bench_flash_file(f, "parts/uboot", NULL))
                return; /* no partition but a place of its own */
        phone_data(f, name, file, data);
        phone_copy(f, name, file, data);
}

/* ---- feature phones --------------------------------------------------------------------------------------- */

static const struct {
        uint64_t id;
        size_t at, size;
} areas[] = {
#define X(id, name, at, size) {id, at, size},
        FEATURE_AREAS(X)
#undef X
};

static void feature_file(BenchFlash *f, const PacFile *file, const uint8_t *data) {
        uint8_t *flash = bench_flash_file(f, "flash.bin", NULL), *merged;
        uint64_t base = file->blocks[0].base;

        for (size_t i = 0; i < ELEMENTSOF(areas); i++) {
                if (areas[i].id != base || base == 0x90000002)
                        continue;
                if (strncmp(file->type, "Erase", 5) == 0) {
                        bench_flash_fill(f, "flash.bin", areas[i].at, areas[i].size, 0xff);
                        continue;
                }
                merged = malloc(file->size);
                memcpy(merged, data, file->size);
                if (base == 0x90000001) {
                        keep_own("feature", merged, file->size, flash + areas[i].at, areas[i].size);
                        seal(merged, file->size);
                }
                bench_flash_fill(f, "flash.bin", areas[i].at,
                                 (file->size + FEATURE_SECTOR - 1) / FEATURE_SECTOR * FEATURE_SECTOR, 0xff);
                bench_flash_patch(f, "flash.bin", areas[i].at, merged, file->size);
                free(merged);
        }
}

void expect_file(BenchFlash *f, const Pac *pac, const PacFile *file, const uint8_t *package) {
        const char *family = pac_family(pac);

        if (streq(family, "phone"))
                phone_file(f, file, package + file->offset);
        else if (streq(family, "feature"))
                feature_file(f, file, package + file->offset);
        else
                module_file(f, family, file, package + file->offset);
}

void expect_upgrade(BenchFlash *f, const Pac *pac, const uint8_t *package) {
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;

                if (file->selected && !pac_file_is_loader(file) && (file->has_data || strncmp(file->type, "Erase", 5) == 0))
                        expect_file(f, pac, file, package);
        }
}

#define SPL_RESERVED 512

static bool holds(BenchFlash *f, const char *name, size_t from, const uint8_t *image, size_t size) {
        size_t n = 0;
        const uint8_t *area = bench_flash_file(f, name, &n);

        return area && n >= size && memcmp(area + from, image + from, size - from) == 0;
}

/* MTD partitions of NAND units: bad blocks are left out. */
static bool mtd_holds(BenchFlash *f, const char *name, const uint8_t *image, size_t size) {
        char file[64], map[64];
        size_t n = 0, n_blocks = 0, done = 0;
        const uint8_t *area, *bad;

        snprintf(file, sizeof(file), "mtd-%.20s.bin", name);
        snprintf(map, sizeof(map), "mtd-%.20s.bad", name);
        area = bench_flash_file(f, file, &n);
        bad = bench_flash_file(f, map, &n_blocks);
        for (size_t i = 0; area && bad && done < size && i < n_blocks; i++) {
                size_t block = n / n_blocks, step = MIN(size - done, block);

                if (bad[i])
                        continue;
                if (memcmp(area + i * block, image + done, step) != 0)
                        return false;
                done += step;
        }
        return done == size;
}

static const char *nand_boot_areas(BenchFlash *have, const Pac *pac, const uint8_t *package) {
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;
                const char *name = file->n_blocks > 0 ? file->blocks[0].name : "";

                if (file->has_data && file->selected && (streq(name, "uboot") || streq(name, "splloader")) &&
                    !mtd_holds(have, name, package + file->offset, file->size))
                        return streq(name, "uboot") ? "mtd-uboot.bin does not hold the package's"
                                                    : "mtd-splloader.bin does not hold the package's";
        }
        return "";
}

const char *expect_boot_areas(BenchFlash *have, const Pac *pac, const uint8_t *package) {
        static char text[200];
        bool uboot_outside = !bench_flash_file(have, "parts/uboot", NULL) &&
                             !bench_flash_file(have, "parts/uboot_a", NULL);

        if (on_nand(have))
                return nand_boot_areas(have, pac, package);
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;
                const char *name = file->n_blocks > 0 ? file->blocks[0].name : "", *bad = NULL;
                const uint8_t *image = package + file->offset;

                if (!file->has_data || !file->selected)
                        continue;
                if (streq(name, "uboot") && uboot_outside)
                        bad = holds(have, "boot2.bin", 0, image, file->size) ? NULL : "boot2.bin";
                if (streq(name, "splloader") &&
                    (streq(file->id, "SPLLoaderUFS") || !pac_find_file(pac, "SPLLoaderUFS"))) {
                        if (!holds(have, "boot1.bin", SPL_RESERVED, image, file->size))
                                bad = "boot1.bin";
                        else if (!uboot_outside && !holds(have, "boot2.bin", SPL_RESERVED, image, file->size))
                                bad = "boot2.bin";
                }
                if (bad) {
                        snprintf(text, sizeof(text), "%s does not hold the package's %.60s", bad, file->id);
                        return text;
                }
        }
        return "";
}
