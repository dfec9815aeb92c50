/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone-nand-table.h"
#include "phone.h"

/* NAND flash: UBI volumes in parts/NAME (volumes.txt: 'name bytes'), and two MTD partitions of their own with their bad
 * blocks as they lie in flash: mtd-NAME.bin, and mtd-NAME.bad with a byte for each block. What is erased reads as zero.
 */

static const struct {
        const char *name, *file, *bad;
        uint32_t size;
} mtds[] = {
        {"splloader", "mtd-splloader.bin", "mtd-splloader.bad", PHONE_NAND_SPL_SIZE},
        {"uboot", "mtd-uboot.bin", "mtd-uboot.bad", PHONE_NAND_UBOOT_SIZE},
};

#define MAX_BLOCKS 2048u

/* ---- MTD ---- */

static int mtd_of(const char *name) {
        for (size_t i = 0; i < COUNT(mtds); i++)
                if (strcmp(mtds[i].name, name) == 0)
                        return (int) i;
        return -1;
}

static uint32_t block_size(const SimModel *m) {
        return (uint32_t) m->number[OPT_BLOCK];
}

static uint32_t n_blocks(const SimModel *m, int mtd) {
        uint32_t n = mtds[mtd].size / block_size(m);

        return n < MAX_BLOCKS ? n : MAX_BLOCKS;
}

static uint32_t bad_map(SimModel *m, int mtd, uint8_t map[MAX_BLOCKS]) {
        uint32_t n = n_blocks(m, mtd), bad = 0;

        if (store_read(m, mtds[mtd].bad, 0, map, n) < 0)
                memset(map, 0, n);
        for (uint32_t i = 0; i < n; i++)
                bad += map[i] != 0;
        return bad;
}

/* Where the n-th good block lies; UINT32_MAX: nowhere. */
static uint32_t good_block(SimModel *m, int mtd, uint32_t nth) {
        uint8_t map[MAX_BLOCKS];

        (void) bad_map(m, mtd, map);
        for (uint32_t i = 0; i < n_blocks(m, mtd); i++)
                if (!map[i] && nth-- == 0)
                        return i;
        return UINT32_MAX;
}

/* A block fails under a write: it is marked, and what it held goes on to the next good one. */
static bool move_block(SimModel *m, int mtd, uint32_t nth, uint32_t held) {
        uint32_t from = good_block(m, mtd, nth), to, size = block_size(m);
        uint8_t *data, mark = 1;
        bool moved = false;

        if (from == UINT32_MAX || store_write(m, mtds[mtd].bad, from, &mark, 1) < 0)
                return false;
        to = good_block(m, mtd, nth);
        data = malloc(size);
        if (data && to != UINT32_MAX)
                moved = store_read(m, mtds[mtd].file, (uint64_t) from * size, data, held) >= 0 &&
                        store_write(m, mtds[mtd].file, (uint64_t) to * size, data, held) >= 0;
        free(data);
        return moved;
}

static int mtd_move(SimModel *m, const char *name, uint64_t offset, uint8_t *p, size_t n, bool write) {
        int mtd = mtd_of(name), r = 0;
        uint32_t size = block_size(m);

        while (n && r >= 0) {
                uint32_t at = (uint32_t) (offset % size), place;
                size_t step = n < size - at ? n : size - at;

                if (write && sim_takes_write_fault(m) && !move_block(m, mtd, (uint32_t) (offset / size), at))
                        return -EIO;
                place = good_block(m, mtd, (uint32_t) (offset / size));
                if (place == UINT32_MAX)
                        return -ENOSPC;
                r = write ? store_write(m, mtds[mtd].file, (uint64_t) place * size + at, p, step)
                          : store_read(m, mtds[mtd].file, (uint64_t) place * size + at, p, step);
                offset += step;
                p += step;
                n -= step;
        }
        return r;
}

int phone_mtd_write(SimModel *m, const char *name, uint64_t offset, uint8_t *p, size_t n) {
        return mtd_move(m, name, offset, p, n, true);
}

int phone_mtd_read(SimModel *m, const char *name, uint64_t offset, uint8_t *p, size_t n) {
        return mtd_move(m, name, offset, p, n, false);
}

/* UBI has spare blocks for those that fail. */
bool phone_ubi_block_fails(SimModel *m) {
        uint8_t b[4] = {0};

        (void) store_read(m, "ubi.bad", 0, b, sizeof(b));
        if (le32at(b) >= m->number[OPT_SPARE])
                return false;
        le32to(b, le32at(b) + 1);
        return store_write(m, "ubi.bad", 0, b, sizeof(b)) >= 0;
}

/* ---- volumes ---- */

uint64_t phone_nand_room(const SimModel *m) {
        return ((m->number[OPT_SIZE] / 100 * 98) >> 20 << 20) - PHONE_NAND_SPL_SIZE - PHONE_NAND_UBOOT_SIZE;
}

bool phone_nand_find(SimModel *m, const char *name, Target *ret) {
        const PhonePart *part = phone_part(phone_of(m), name);
        char twin[PHONE_NAME];
        uint8_t map[MAX_BLOCKS];
        int mtd = mtd_of(name);

        if (mtd >= 0) {
                ret->kind = TARGET_MTD;
                snprintf(ret->file, sizeof(ret->file), "%s", mtds[mtd].file);
                ret->size = (uint64_t) (n_blocks(m, mtd) - bad_map(m, mtd, map)) * block_size(m);
                return true;
        }
        if (!part)
                return false;
        phone_part_file(name, ret->file, sizeof(ret->file));
        ret->kind = phone_nv_twin(name, twin) ? TARGET_NV : TARGET_PART;
        ret->size = ret->kind == TARGET_NV ? part->size - NV_HEADER : part->size;
        return true;
}

static int save_volumes(SimModel *m) {
        const Phone *p = phone_of(m);
        char text[PHONE_MAX_PARTS * 64];
        size_t at = 0;

        for (size_t i = 0; i < p->n_parts; i++)
                at += (size_t) snprintf(text + at, sizeof(text) - at, "%s %" PRIu64 "\n", p->parts[i].name,
                                        p->parts[i].size);
        return store_put(m, "volumes.txt", text, at);
}

static int load_volumes(SimModel *m) {
        char text[PHONE_MAX_PARTS * 64 + 1] = {0}, *save = NULL;
        Phone *p = phone_of(m);
        int r = store_read(m, "volumes.txt", 0, text, sizeof(text) - 1);

        p->n_parts = 0;
        for (char *line = strtok_r(text, "\n", &save); line && r >= 0; line = strtok_r(NULL, "\n", &save)) {
                PhonePart *part = &p->parts[p->n_parts];

                if (p->n_parts >= PHONE_MAX_PARTS || sscanf(line, "%35s %" SCNu64, part->name, &part->size) != 2)
                        return -EINVAL;
                p->n_parts++;
        }
        return r;
}

static bool same_names(const Phone *p, const PhonePart *wanted, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!phone_part(p, wanted[i].name))
                        return false;
        return n == p->n_parts;
}

/* The same volumes stay; of the same names only those of another size are made anew; else all are. */
int phone_nand_layout(SimModel *m, const PhonePart *wanted, size_t n) {
        Phone *p = phone_of(m);
        bool keep = same_names(p, wanted, n);
        uint64_t sum = 0;
        char file[128];
        int r = 0;

        for (size_t i = 0; i < n; i++)
                sum += wanted[i].size;
        if (n > PHONE_MAX_PARTS || sum > phone_nand_room(m))
                return -ENOSPC;
        if (!keep)
                (void) store_clear_dir(m, "parts");
        for (size_t i = 0; i < n && r >= 0; i++) {
                if (keep && phone_part(p, wanted[i].name)->size == wanted[i].size)
                        continue;
                phone_part_file(wanted[i].name, file, sizeof(file));
                r = store_create(m, file, wanted[i].size);
        }
        memmove(p->parts, wanted, n * sizeof(*wanted));
        p->n_parts = n;
        return r < 0 ? r : save_volumes(m);
}

int phone_nand_erase_all(SimModel *m) {
        for (size_t i = 0; i < COUNT(mtds); i++)
                if (store_fill(m, mtds[i].file, 0, mtds[i].size, 0) < 0)
                        return -EIO;
        store_clear_dir(m, "parts");
        phone_of(m)->n_parts = 0;
        return save_volumes(m);
}

/* ---- questions ---- */

void phone_nand_info(SimModel *m) {
        bool page_first = sim_word(m, OPT_INFO_ORDER, "page-block");
        uint8_t b[12] = {0};

        be32to(b + (page_first ? 8 : 4), block_size(m));
        be32to(b + (page_first ? 4 : 8), (uint32_t) m->number[OPT_PAGE]);
        sim_send(m, REP_FLASH_INFO, b, sizeof(b));
}

void phone_nand_type(SimModel *m) {
        uint8_t b[16] = {0};

        be32to(b, 0x2C);
        be32to(b + 4, 0xAC);
        be32to(b + 8, 0x15);
        sim_send(m, REP_FLASH_TYPE, b, sizeof(b));
}

/* Nothing is known of its form: blocks in all and bad ones. */
void phone_nand_blocks(SimModel *m) {
        uint32_t bad = 0;
        uint8_t map[MAX_BLOCKS], b[8], ubi[4] = {0};

        for (size_t i = 0; i < COUNT(mtds); i++)
                bad += bad_map(m, (int) i, map);
        (void) store_read(m, "ubi.bad", 0, ubi, sizeof(ubi));
        be32to(b, (uint32_t) (m->number[OPT_SIZE] / block_size(m)));
        be32to(b + 4, bad + le32at(ubi) + (uint32_t) m->number[OPT_UBI_BAD]);
        sim_send(m, REP_BLOCK_INFO, b, sizeof(b));
}

bool phone_nand_bootable(SimModel *m) {
        for (size_t i = 0; i < COUNT(mtds); i++) {
                uint8_t head[512];

                if (phone_mtd_read(m, mtds[i].name, 0, head, sizeof(head)) < 0 || sim_all_bytes(head, sizeof(head), 0))
                        return false;
                if (sim_flag(m, OPT_SECURE) && memcmp(head, "DHTB", 4) != 0)
                        return false;
        }
        return true;
}

/* ---- the family ---- */

static int make_mtds(SimModel *m) {
        SimRandom random = sim_random(m->seed, "bad blocks");

        for (size_t i = 0; i < COUNT(mtds); i++) {
                uint32_t n = n_blocks(m, (int) i);
                uint8_t map[MAX_BLOCKS] = {0};

                if (store_create(m, mtds[i].file, mtds[i].size) < 0)
                        return -EIO;
                /* Never all of them: a unit as sold has room for its loaders. */
                for (uint64_t k = 0; k < m->number[OPT_BAD_BLOCKS] && k < n / 2; k++)
                        map[sim_random_next(&random) % n] = 1;
                if (store_put(m, mtds[i].bad, map, n) < 0)
                        return -EIO;
        }
        return 0;
}

int phone_nand_prepare(SimModel *m, bool fresh, char *err, size_t err_size) {
        uint64_t block = m->number[OPT_BLOCK], page = m->number[OPT_PAGE];

        if (block < 4096 || block > PHONE_NAND_SPL_SIZE || (block & (block - 1)) || page < 512 || page > block ||
            (page & (page - 1))) {
                snprintf(err, err_size, "options block=%s, page=%s: powers of two, 4k to 512k, and 512 to the block",
                         m->option[OPT_BLOCK], m->option[OPT_PAGE]);
                return -EINVAL;
        }
        return fresh ? make_mtds(m) : load_volumes(m);
}

#define X(name, mib) {name, mib},
static const PhonePreset nand_table[] = {PHONE_NAND_TABLE(X)};
#undef X

static const PhoneImage nand_images[] = {
        {"prodnv", 65536, NULL},     {"miscdata", 65536, NULL},       {"misc", 4096, NULL},
        {"trustos", 131072, "DHTB"}, {"trustos_bak", 131072, "DHTB"}, {"sml", 65536, "DHTB"},
        {"sml_bak", 65536, "DHTB"},  {"teecfg", 65536, "DHTB"},       {"teecfg_bak", 65536, "DHTB"},
        {"vbmeta", 4096, "DHTB"},    {"vbmeta_bak", 4096, "DHTB"},    {"logo", 65536, NULL},
        {"fbootlogo", 65536, NULL},  {"l_ldsp", 131072, "DHTB"},      {"l_modem", 131072, "DHTB"},
        {"l_deltanv", 16384, NULL},  {"wcnmodem", 131072, NULL},      {"gnssmodem", 65536, NULL},
        {"boot", 262144, "DHTB"},    {"recovery", 262144, "DHTB"},    {"dtbo", 65536, "DHTB"},
        {"system", 131072, NULL},    {"cache", 65536, NULL},          {"userdata", 131072, NULL},
        {"uboot", 262144, "DHTB"},
};

static const PhoneKind nand = {.table = nand_table,
                               .n_table = COUNT(nand_table),
                               .images = nand_images,
                               .n_images = COUNT(nand_images),
                               .fixnv = "l_fixnv1",
                               .runtimenv = "l_runtimenv1",
                               .nand = true};

static const SimPreset presets[] = {
        {OPT_STORAGE, "nand"},
        {OPT_SIZE, "512M"},
        {OPT_UNKNOWN_PART, "early"},
        {OPT_FDL1_BASE, "0x6200"},
        {OPT_FDL2_BASE, "0x80100000"},
        {OPT_FLASH_RATE, "10M"},
        {0, NULL},
};

const SimFamily sim_phone_nand = {
        .name = "phone-nand",
        .about = "phone with NAND: UBI volumes, bad blocks, no table command, READ_FLASH_INFO",
        .letters = "PN",
        .presets = presets,
        .phone = &nand,
        .stage = {[STAGE_BROM] = &traits_rom, [STAGE_FDL1] = &traits_fdl1, [STAGE_FDL2] = &traits_fdl2},
        PHONE_FAMILY,
};
