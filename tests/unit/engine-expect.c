/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"

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
                              phone[] = {2, 5, 0x179, 0x186, 0x1e4, 0x26d, 0x26e, 0x516, 0x9c4, 0x191, 0};

        return in_list(id, streq(family, "uis8910") ? a : streq(family, "uis8850") ? b : phone);
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

static void phone_nv(BenchFlash *f, const uint8_t *image, size_t size) {
        static const char *const twins[] = {"parts/l_fixnv1", "parts/l_fixnv2"};
        uint8_t head[512] = "VN", *own = bench_flash_file(f, twins[0], NULL), *merged = malloc(size);
        uint32_t own_size = get_le32(own + 4), sum = 0;
        uint16_t crc = 0;

        memcpy(merged, image, size);
        for (unsigned id = 0; id < 0xffff; id++) {
                size_t a = 0, b = 0;
                uint8_t *to = (uint8_t *) expect_nv_item(merged, size, id, &a);
                const uint8_t *from = expect_nv_item(own + 512, own_size, id, &b);

                if (stays("phone", id) && to && from) {
                        ck_assert_uint_eq(a, b);
                        memcpy(to, from, a);
                }
        }
        for (size_t i = 2; i < size; i++) {
                crc ^= merged[i];
                for (int k = 0; k < 8; k++)
                        crc = crc & 1 ? (uint16_t) (crc >> 1 ^ 0xa001) : (uint16_t) (crc >> 1);
        }
        merged[0] = (uint8_t) (crc >> 8);
        merged[1] = (uint8_t) crc;
        for (size_t i = 0; i < size; i++)
                sum += merged[i];
        put_le32(head + 4, (uint32_t) size);
        put_le32(head + 8, sum);
        put_le32(head + 12, 101);
        for (size_t i = 0; i < ELEMENTSOF(twins); i++) {
                bench_flash_patch(f, twins[i], 0, head, sizeof(head));
                bench_flash_patch(f, twins[i], sizeof(head), merged, size);
        }
        free(merged);
}

static void phone_erase(BenchFlash *f, const char *name) {
        size_t size;

        if (bench_flash_file(f, part_file(name), &size))
                bench_flash_fill(f, part_file(name), 0, size, 0);
}

static void phone_file(BenchFlash *f, const PacFile *file, const uint8_t *data) {
        static const char *const with_copy[] = {"trustos", "sml", "uboot", "vbmeta"};
        const char *name = file->blocks[0].name;
        char copy[64];

        if (streq(name, "prodnv") || streq(name, "miscdata"))
                return; /* identity: not touched in upgrade mode */
        if (streq(name, "splloader"))
                return; /* boot areas: looked at apart */
        if (streq(file->type, "EraseFlash2")) {
                phone_erase(f, name);
                if (streq(name, "l_runtimenv1"))
                        phone_erase(f, "l_runtimenv2");
                return;
        }
        if (streq(file->type, "NV_COMM")) {
                phone_nv(f, data, file->size);
                return;
        }
        bench_flash_patch(f, part_file(name), 0, data, file->size);
        for (size_t i = 0; i < ELEMENTSOF(with_copy); i++)
                if (streq(name, with_copy[i])) {
                        snprintf(copy, sizeof(copy), "%s_bak", name);
                        bench_flash_patch(f, part_file(copy), 0, data, file->size);
                }
}

void expect_upgrade(BenchFlash *f, const Pac *pac, const uint8_t *package) {
        const char *family = pac_family(pac);

        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;

                if (!file->selected || pac_file_is_loader(file) ||
                    (!file->has_data && strncmp(file->type, "Erase", 5) != 0))
                        continue;
                if (streq(family, "phone"))
                        phone_file(f, file, package + file->offset);
                else
                        module_file(f, family, file, package + file->offset);
        }
}
