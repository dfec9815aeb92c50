/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <strings.h>

#include "firmware/pac-internal.h"

/* Packages that are well formed but dangerous: the job needs an explicit "yes". */

#define WARNINGS_MAX 64
#define SPARSE_CHUNKS_MAX (1u << 20)

int pac_warn(Pac *pac, const char *format, ...) {
        char **all, *text;
        va_list ap;
        int r;

        if (pac->n_warnings >= WARNINGS_MAX)
                return 0;
        all = reallocarray(pac->warnings, pac->n_warnings + 1, sizeof(char *));
        if (!all)
                return -ENOMEM;
        pac->warnings = all;
        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        pac->warnings[pac->n_warnings++] = text;
        return 0;
}

static bool is_nv(const PacFile *file) {
        return streq(file->type, "NV") || streq(file->type, "NV_NAND") || strncmp(file->type, "NV_COMM", 7) == 0;
}

static bool is_erase(const PacFile *file) {
        return streq(file->type, "EraseFlash") || streq(file->type, "EraseFlash2");
}

static const PacBlock *block(const PacFile *file) {
        static const PacBlock none;

        return file->n_blocks > 0 ? file->blocks : &none;
}

/* ---- 14: loaders ---------------------------------------------------------------------------------------- */

static bool plausible_base(const char *family, const PacFile *file) {
        static const struct {
                const char *family, *type;
                uint64_t low, end, least, most;
        } places[] = {
#define LOADER_PLACE(family, type, low, end, least, most) {family, type, low, end, least, most},
#include "firmware/families.def"
        };
        uint64_t base = block(file)->base;

        if (base > UINT32_MAX || file->size > UINT32_MAX)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                if (streq(places[i].family, family) && (!places[i].type[0] || streq(places[i].type, file->type)))
                        return base >= places[i].low &&
                               (base == places[i].low || places[i].end - places[i].low != places[i].most) && base + file->size <= places[i].end && file->size >= places[i].least &&
                               file->size <= places[i].most;
        return true;
}

static int warn_loaders(Pac *pac) {
        const char *family = pac_family(pac);
        int r = 0;

        for (size_t i = 0; r == 0 && i < pac->n_files; i++) {
                const PacFile *a = pac->files + i;

                if (!a->selected || !a->has_data || !pac_file_is_loader(a))
                        continue;
                if (!plausible_base(family, a))
                        r = pac_warn(pac,
                                     "The loader %s goes to address 0x%llx (%llu bytes), where this kind of chip has "
                                     "no memory for it.",
                                     a->id, (unsigned long long) block(a)->base, (unsigned long long) a->size);
                for (size_t k = 0; r == 0 && k < i; k++) {
                        const PacFile *b = pac->files + k;
                        if (b->selected && b->has_data && pac_file_is_loader(b) &&
                            block(a)->base < block(b)->base + b->size && block(b)->base < block(a)->base + a->size)
                                r = pac_warn(pac, "The loaders %s and %s overlap in memory.", b->id, a->id);
                }
        }
        return r;
}

/* ---- 16: dangerous orders ------------------------------------------------------------------------------- */

static bool is_spl_erase(const PacFile *file) {
        const PacBlock *b = block(file);

        return is_erase(file) &&
               (strncmp(b->name, "splloader", 9) == 0 || strcasecmp(file->id, "EraseSPL") == 0 ||
                strcasecmp(file->id, "ERASE_SPL") == 0 || (!b->name[0] && b->base == 0x60000000));
}

static bool written_later(const Pac *pac, size_t i) {
        const PacBlock *target = block(pac->files + i);

        for (size_t k = i + 1; k < pac->n_files; k++) {
                const PacFile *file = pac->files + k;
                if (file->selected && file->has_data && streq(block(file)->name, target->name) &&
                    block(file)->base == target->base)
                        return true;
                if (file->selected && file->has_data && target->name[0] && streq(block(file)->name, target->name))
                        return true;
        }
        return false;
}

static bool erases_all(const PacFile *file) {
        return is_erase(file) && (strcasecmp(block(file)->name, "erase_all") == 0 ||
                                  (!block(file)->name[0] && block(file)->base == 0 && block(file)->size == UINT32_MAX));
}

static bool is_nv_place(const PacBlock *b) {
        return strstr(b->name, "fixnv") != NULL || (!b->name[0] && (b->base == 0xfe000003 || b->base == 0x90000001));
}

static bool keeps_items(const Pac *pac) {
        for (size_t i = 0; i < pac->n_nv_items; i++)
                if (pac->nv_items[i].backup)
                        return pac->nv_backup_enabled;
        return false;
}

static int warn_order(Pac *pac, size_t i) {
        const PacFile *file = pac->files + i;
        int r = 0;

        if (!file->selected) {
                if (strncasecmp(file->id, "FLASH", 5) == 0 && is_erase(file))
                        return pac_warn(pac, "%s (erase of the running NV) is in the package but not selected.",
                                        file->id);
                if (pac->n_partitions > 0 && file->flag == 1 && !file->can_omit)
                        return pac_warn(
                                pac, "The package has a partition table but %s, which belongs to it, is not selected.",
                                file->id);
                return 0;
        }
        if (erases_all(file))
                r = pac_warn(pac, "%s erases the whole flash, calibration and identity included.", file->id);
        else if (is_spl_erase(file) && !written_later(pac, i))
                r = pac_warn(pac, "%s erases the first boot stage, but nothing writes it again.", file->id);
        else if (is_erase(file) && is_nv_place(block(file)) && !written_later(pac, i))
                r = pac_warn(pac, "%s erases calibration and identity (NV), but nothing writes them again.", file->id);
        if (r == 0 && is_nv(file) && (file->backup == 0 || !keeps_items(pac)))
                r = pac_warn(pac,
                             "%s writes NV, but the package keeps none of the unit's own calibration and identity.",
                             file->id);
        return r;
}

/* 18, two boot loaders for one place: whether the unit tells its storage is known when it is asked. */

/* ---- 17: sizes ------------------------------------------------------------------------------------------ */

static uint64_t limit_of(const Pac *pac, const PacFile *file) {
        const PacBlock *b = block(file);
        uint64_t bytes;

        if (!b->name[0])
                return b->size ? b->size : U64_UNKNOWN;
        for (size_t i = 0; i < pac->n_partitions; i++) {
                const PacPartition *p = pac->partitions + i;
                if (!streq(p->name, b->name))
                        continue;
                if (p->size == U64_UNKNOWN ||
                    __builtin_mul_overflow(p->size, pac_partition_unit(pac->partition_unit), &bytes))
                        return U64_UNKNOWN;
                return bytes;
        }
        return U64_UNKNOWN;
}

/* Size after expansion of an Android sparse image; *ret_sparse false if it is none. A text if it is broken. */
static int sparse_size(const PacReader *reader, const PacFile *file, uint64_t at, bool *ret_sparse, uint64_t *ret,
                       const char **fault) {
        uint64_t end = file->offset + file->size, pos = file->offset + at, blocks = 0;
        uint32_t n, block_size;
        uint8_t h[28];
        int r;

        *ret_sparse = false;
        if (file->size < at + sizeof(h))
                return 0;
        r = reader->read(reader->userdata, h, sizeof(h), pos);
        if (r != 0 || get_le32(h) != 0xed26ff3a)
                return r;
        *ret_sparse = true;
        block_size = get_le32(h + 12);
        n = get_le32(h + 20);
        if (get_le16(h + 4) != 1 || get_le16(h + 8) < 28 || get_le16(h + 10) < 12 || block_size == 0 ||
            block_size % 4 || n > SPARSE_CHUNKS_MAX) {
                *fault = "its header is not valid";
                return 0;
        }
        pos += get_le16(h + 8);
        for (uint32_t i = 0; i < n; i++) {
                uint16_t type, header = get_le16(h + 10);
                uint8_t c[12];
                uint64_t chunk_blocks, total;

                if (pos > end || end - pos < sizeof(c)) {
                        *fault = "its chunks reach beyond its end";
                        return 0;
                }
                r = reader->read(reader->userdata, c, sizeof(c), pos);
                if (r != 0)
                        return r;
                type = get_le16(c);
                chunk_blocks = get_le32(c + 4);
                total = get_le32(c + 8);
                if (total < header || total > end - pos || type < 0xcac1 || type > 0xcac4 ||
                    (type == 0xcac1 && total - header != chunk_blocks * block_size) ||
                    (type == 0xcac2 && total - header != 4) || (type == 0xcac3 && total != header) ||
                    (type == 0xcac4 && total - header != 4)) {
                        *fault = "one of its chunks is not valid";
                        return 0;
                }
                pos += total;
                blocks += type == 0xcac4 ? 0 : chunk_blocks;
        }
        if (blocks != get_le32(h + 16))
                *fault = "its chunks do not add up to the size in its header";
        *ret = blocks * block_size;
        return 0;
}

static int warn_size(const PacReader *reader, Pac *pac, const PacFile *file) {
        uint64_t limit = limit_of(pac, file), expanded = 0;
        const char *fault = NULL;
        bool sparse = false;
        uint8_t head[4];
        int r;

        if (!sparse && file->size >= 4) {
                r = reader->read(reader->userdata, head, sizeof(head), file->offset);
                if (r == 0)
                        r = sparse_size(reader, file, memcmp(head, "DHTB", 4) == 0 ? 0x200 : 0, &sparse, &expanded,
                                        &fault);
                if (r != 0)
                        return r;
        }
        if (fault)
                return pac_warn(pac, "%s is a sparse image, but %s.", file->id, fault);
        if (sparse && expanded > limit)
                return pac_warn(pac, "%s expands to %llu bytes, but its place has only %llu.", file->id,
                                (unsigned long long) expanded, (unsigned long long) limit);
        if (!sparse && file->size > limit)
                return pac_warn(pac, "%s has %llu bytes, but its place has only %llu.", file->id,
                                (unsigned long long) file->size, (unsigned long long) limit);
        return 0;
}

/* ---- 19: images of another chip or product -------------------------------------------------------------- */

static int warn_foreign(const PacReader *reader, Pac *pac, const PacFile *file) {
        static const struct {
                const char *magic, *family, *what;
        } marks[] = {
#define IMAGE_MARK(magic, family, what) {magic, family, what},
#include "firmware/families.def"
        };
        const char *family = pac_family(pac);
        uint8_t h[24];
        int r;

        if (file->size < sizeof(h))
                return 0;
        r = reader->read(reader->userdata, h, sizeof(h), file->offset);
        if (r != 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(marks); i++)
                if (memcmp(h, marks[i].magic, 4) == 0 && !streq(marks[i].family, family))
                        return pac_warn(pac, "%s is %s, but the package is made for %s.", file->id, marks[i].what,
                                        family);
        /* A loader says where it wants to run, behind its own header of 64 bytes. */
        if (pac_file_is_loader(file) && memcmp(h, "\x27\x05\x19\x56", 4) == 0 && get_be32(h + 16) != block(file)->base + 64)
                return pac_warn(pac, "The loader %s was built for address 0x%x, but the package sends it to 0x%llx.",
                                file->id, get_be32(h + 16) - 64, (unsigned long long) block(file)->base);
        return 0;
}

int pac_collect_warnings(const PacReader *reader, Pac *pac) {
        int r = warn_loaders(pac);

        for (size_t i = 0; r == 0 && i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;

                if (file->flag == 2)
                        continue;
                r = warn_order(pac, i);
                if (r == 0 && file->selected && file->has_data) {
                        r = warn_size(reader, pac, file);
                        if (r == 0)
                                r = warn_foreign(reader, pac, file);
                }
        }
        return r;
}
