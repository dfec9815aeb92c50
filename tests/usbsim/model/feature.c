/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feature-table.h"
#include "loader.h"
#include "nvimage.h"
#include "phone-table.h"

/* Feature phones of the SC6531E class: NOR flash whose areas have logical ids (feature-table.h), one or two loaders,
 * and loaders that panic on what they do not know. Storage: flash.bin. */

typedef struct Area {
        uint32_t id;
        const char *name;
        uint32_t offset, size;
} Area;

static const Area areas[] = {
#define X(id, name, offset, size) {id, name, offset, size},
        FEATURE_AREAS(X)
#undef X
};

#define ID_BOOT 0x80000000u
#define ID_PS 0x80000003u
#define ID_NV 0x90000001u
#define ID_RUNNING_NV 0x90000003u
#define FDL2_RAM 0x800000u

typedef struct Feature {
        Loader loader;
        const Area *area; /* being written */
        uint32_t size, got, sum;
        bool has_sum;
        uint8_t *nv; /* whole image: written at the end */
} Feature;

static Feature *feature_of(SimModel *m) {
        return m->priv;
}

static const Area *area_of(uint32_t id) {
        for (size_t i = 0; i < COUNT(areas); i++)
                if (areas[i].id == id)
                        return &areas[i];
        return NULL;
}

static void reply(SimModel *m, unsigned code) {
        sim_send(m, code, NULL, 0);
}

static void panic(SimModel *m) {
        m->unknown++;
        sim_hang(m, "panic: unknown command");
}

/* ---- the last loader ---- */

static int program(SimModel *m, uint32_t offset, const uint8_t *d, size_t n) {
        m->bytes_written += n;
        sim_work_bytes(m, n, OPT_FLASH_RATE);
        return sim_takes_write_fault(m) ? -EIO : store_write(m, "flash.bin", offset, d, n);
}

static int erase_sectors(SimModel *m, uint32_t offset, uint32_t n) {
        n = (n + FEATURE_SECTOR - 1) & ~(uint32_t) (FEATURE_SECTOR - 1);
        m->bytes_erased += n;
        sim_work_bytes(m, n, OPT_ERASE_RATE);
        return store_fill(m, "flash.bin", offset, n, 0xFF);
}

static void end_write(Feature *f) {
        free(f->nv);
        f->nv = NULL;
        f->area = NULL;
}

static void do_start(SimModel *m, const uint8_t *d, size_t n) {
        Feature *f = feature_of(m);
        const Area *area = n >= 8 ? area_of(be32at(d)) : NULL;
        uint32_t size = n >= 8 ? be32at(d + 4) : 0;

        end_write(f);
        if (!area || area->id == ID_RUNNING_NV) {
                reply(m, REP_DEST);
                return;
        }
        if (size == 0 || size > area->size) {
                reply(m, REP_SIZE);
                return;
        }
        f->has_sum = n >= 12;
        f->sum = n >= 12 ? be32at(d + 8) : 0;
        f->size = size;
        f->got = 0;
        f->nv = area->id == ID_NV ? malloc(size) : NULL;
        /* NV is kept until the new one is whole; the rest is erased now. */
        if (!f->nv && erase_sectors(m, area->offset, size) < 0) {
                reply(m, REP_WRITE);
                return;
        }
        f->area = area;
        m->transfer_offset = 0;
        sim_ack(m);
}

static void do_midst(SimModel *m, const uint8_t *d, size_t n) {
        Feature *f = feature_of(m);

        if (!f->area) {
                reply(m, REP_NOT_STARTED);
                return;
        }
        if (n > f->size - f->got) {
                reply(m, REP_SIZE);
                return;
        }
        if (f->nv)
                memcpy(f->nv + f->got, d, n);
        else if (program(m, f->area->offset + f->got, d, n) < 0) {
                reply(m, REP_WRITE);
                return;
        }
        f->got += (uint32_t) n;
        m->transfer_offset = f->got;
        sim_ack(m);
}

static unsigned end_nv(SimModel *m) {
        Feature *f = feature_of(m);

        if (f->has_sum && f->sum == 0)
                return REP_NV_SUM_ZERO;
        if (f->has_sum && sim_bytesum(f->nv, f->size) != f->sum)
                return REP_SUM_DIFFERS;
        if (erase_sectors(m, f->area->offset, f->area->size) < 0 || program(m, f->area->offset, f->nv, f->size) < 0)
                return REP_WRITE;
        return 0;
}

static void do_end(SimModel *m) {
        Feature *f = feature_of(m);
        unsigned r = 0;

        if (!f->area)
                r = REP_NOT_STARTED;
        else if (f->got < f->size)
                r = REP_EARLY_END;
        else if (f->nv)
                r = end_nv(m);
        end_write(f);
        reply(m, r ? r : REP_ACK);
}

static void do_read(SimModel *m, const uint8_t *d, size_t n) {
        const Area *area = n >= 8 ? area_of(be32at(d)) : NULL;
        uint32_t size = n >= 8 ? be32at(d + 4) : 0, offset = n >= 12 ? be32at(d + 8) : 0;
        uint8_t *buf;

        if (!area) {
                reply(m, REP_DEST);
                return;
        }
        if (size == 0 || size > 0xFFFE || offset > area->size || size > area->size - offset) {
                reply(m, REP_SIZE);
                return;
        }
        buf = malloc(size);
        if (!buf || store_read(m, "flash.bin", area->offset + offset, buf, size) < 0)
                reply(m, REP_FAILED);
        else {
                if (sim_takes_readback_fault(m))
                        buf[size / 2] ^= 0x10;
                m->bytes_read += size;
                sim_work_bytes(m, size, OPT_VERIFY_RATE);
                sim_send(m, REP_READ_FLASH, buf, size);
        }
        free(buf);
}

static void do_erase(SimModel *m, const uint8_t *d, size_t n) {
        const Area *area = n >= 8 ? area_of(be32at(d)) : NULL;
        uint32_t size = n >= 8 ? be32at(d + 4) : 0;
        int r;

        if (n >= 8 && be32at(d) == 0 && size == 0xFFFFFFFF)
                r = erase_sectors(m, 0, FEATURE_FLASH_SIZE);
        else if (!area) {
                reply(m, REP_DEST);
                return;
        } else
                r = erase_sectors(m, area->offset, size && size < area->size ? size : area->size);
        reply(m, r < 0 || sim_takes_write_fault(m) ? REP_FAILED : REP_ACK);
}

static void number(SimModel *m, unsigned type, uint32_t v) {
        uint8_t b[4];

        be32to(b, v);
        sim_send(m, type, b, sizeof(b));
}

static void fdl2_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                /* fall through */
        case CMD_BAUD:
        case CMD_REPARTITION: /* does nothing */
                sim_ack(m);
                break;
        case CMD_START:
                do_start(m, d, n);
                break;
        case CMD_MIDST:
                do_midst(m, d, n);
                break;
        case CMD_END:
                do_end(m);
                break;
        case CMD_READ_FLASH:
                do_read(m, d, n);
                break;
        case CMD_ERASE:
                do_erase(m, d, n);
                break;
        case CMD_CHIP_TYPE:
                number(m, REP_CHIP_TYPE, 0x6531E000);
                break;
        case CMD_SECTOR_SIZE:
                number(m, REP_SECTOR_SIZE, FEATURE_SECTOR);
                break;
        case CMD_RESET:
                sim_ack(m);
                sim_reset_soon(m);
                break;
        case CMD_POWER_OFF:
                sim_ack(m);
                sim_hang(m, "waits until it is unplugged");
                break;
        default:
                panic(m);
        }
}

#define LOADER_TRAITS .version = "Spreadtrum Boot Block version 1.1", .sync_swallow = true, LOADER_WIRE

static const SimTraits fdl2 = {.name = "fdl2", .max_body = 65536, .frame = fdl2_frame, LOADER_TRAITS};
static const SimTraits only_fdl = {.name = "fdl", .sync = 1, .max_body = 65536, .frame = fdl2_frame, LOADER_TRAITS};

/* ---- ROM and first loader ---- */

static void fdl2_begins(SimModel *m) {
        loader_forget(&feature_of(m)->loader);
        sim_enter(m, STAGE_FDL2);
        if (m->number[OPT_LOADERS] == 1) {
                m->t = &only_fdl;
                m->synced = false;
                m->drop_sync = (unsigned) m->number[OPT_DROP_SYNC];
        } else
                reply(m, sim_word(m, OPT_INFO, "empty") ? REP_PARTITION : REP_ACK);
}

static void fdl1_begins(SimModel *m) {
        loader_forget(&feature_of(m)->loader);
        sim_enter(m, STAGE_FDL1);
        m->drop_sync = (unsigned) m->number[OPT_DROP_SYNC];
}

static void fall_off(SimModel *m) {
        sim_wish(m, SIM_LEAVE, 0);
}

static void rom_exec(SimModel *m) {
        bool one = m->number[OPT_LOADERS] == 1;

        sim_ack(m);
        m->starting = true;
        if (sim_word(m, OPT_BROM_REFUSE, "drop"))
                sim_after(m, 100 * SIM_MS, fall_off);
        else if (sim_word(m, OPT_BROM_REFUSE, "silent") || !loader_runs(m, &feature_of(m)->loader, OPT_FDL1_BASE))
                sim_hang(m, "the loader does not run");
        else
                sim_after(m, sim_delay(m, OPT_FDL1_START), one ? fdl2_begins : fdl1_begins);
}

static void fdl1_exec(SimModel *m) {
        m->starting = true;
        if (loader_runs(m, &feature_of(m)->loader, OPT_FDL2_BASE))
                sim_after(m, sim_delay(m, OPT_FDL2_START), fdl2_begins);
        else
                sim_hang(m, "FDL1 does not start FDL2");
}

static void fdl1_start(SimModel *m, const uint8_t *d, size_t n) {
        uint64_t base = m->number[OPT_FDL2_BASE];

        if (n < 8 || be32at(d) < base || (uint64_t) be32at(d) + be32at(d + 4) > base + FDL2_RAM)
                sim_hang(m, "START outside FDL1's RAM window");
        else
                loader_start(m, &feature_of(m)->loader, d, n);
}

static void early_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        Feature *f = feature_of(m);
        bool rom = m->stage == STAGE_BROM;

        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_START:
                if (rom)
                        loader_start(m, &f->loader, d, n);
                else
                        fdl1_start(m, d, n);
                break;
        case CMD_MIDST:
                loader_midst(m, &f->loader, d, n);
                break;
        case CMD_END:
                if (rom)
                        loader_end(m);
                else
                        sim_ack(m);
                break;
        case CMD_EXEC:
                (rom ? rom_exec : fdl1_exec)(m);
                break;
        default:
                if (rom)
                        m->unknown++; /* silent */
                else if (type == CMD_BAUD)
                        sim_ack(m);
                else
                        panic(m);
        }
}

static const SimTraits rom = ROM_TRAITS(early_frame);
static const SimTraits fdl1 = {.name = "fdl1", .sync = 1, .max_body = 4096, .frame = early_frame, LOADER_TRAITS};

/* ---- flash of a new unit ---- */

static const NvLength items[] = {
#define X(id, length) {id, length},
        PHONE_NV_ITEMS(X)
#undef X
};

/* Some of these phones keep ids and lengths the other way round. */
static void swap_nv(uint8_t *image, size_t size) {
        size_t at = 4;

        while (at + 4 <= size && le16at(image + at) != NV_ID_END) {
                uint32_t id = le16at(image + at), length = le16at(image + at + 2);

                be16to(image + at, id);
                be16to(image + at + 2, length);
                at += 4 + ((length + 3) & ~3u);
        }
        be16to(image, sim_crc16_arc(image + 2, size - 2));
}

static int fill_nv(SimModel *m, char *err, size_t err_size) {
        static uint8_t image[FEATURE_NV_SIZE];
        NvTable table;
        int r;

        if (sim_word(m, OPT_NV, "first-bad") || sim_word(m, OPT_NV, "twin-bad") || sim_word(m, OPT_NV, "both-bad")) {
                snprintf(err, err_size, "option nv=%s: this family keeps one copy", m->option[OPT_NV]);
                return -EINVAL;
        }
        r = nv_table_load(m, items, COUNT(items), &table, err, err_size);
        if (r < 0)
                return r;
        if (!nv_make_image(m, &table, sim_word(m, OPT_NV, "reordered"), image, sizeof(image))) {
                snprintf(err, err_size, "the NV items do not fit into %zu bytes", sizeof(image));
                r = -ENOSPC;
        }
        free(table.items);
        if (r >= 0 && sim_word(m, OPT_NV_ENDIAN, "be"))
                swap_nv(image, sizeof(image));
        if (r >= 0 && sim_word(m, OPT_NV, "bad"))
                le16to(image + 6, 0xFFF0);
        if (r < 0 || sim_word(m, OPT_NV, "missing"))
                return r;
        return store_write(m, "flash.bin", area_of(ID_NV)->offset, image, sizeof(image));
}

static int fill_area(SimModel *m, const Area *area) {
        SimRandom random = sim_random(m->seed, area->name);
        uint8_t data[4096];

        sim_random_fill(&random, data, sizeof(data));
        return store_write(m, "flash.bin", area->offset, data, sizeof(data));
}

static int feature_init(SimModel *m, bool fresh, char *err, size_t err_size) {
        int r = 0;

        m->priv = calloc(1, sizeof(Feature));
        if (!m->priv)
                return -ENOMEM;
        if (m->number[OPT_LOADERS] != 1 && m->number[OPT_LOADERS] != 2) {
                snprintf(err, err_size, "option loaders=%s: 1 or 2", m->option[OPT_LOADERS]);
                return -EINVAL;
        }
        if (m->number[OPT_FDL1_BASE] == UINT64_MAX)
                m->number[OPT_FDL1_BASE] = m->number[OPT_LOADERS] == 1 ? FEATURE_FDL_BASE : FEATURE_FDL1_BASE;
        if (!fresh)
                return 0;
        r = store_fill(m, "flash.bin", 0, FEATURE_FLASH_SIZE, 0xFF);
        for (size_t i = 0; i < COUNT(areas) && r >= 0; i++)
                if (areas[i].id != ID_NV)
                        r = fill_area(m, &areas[i]);
        return r < 0 ? r : fill_nv(m, err, err_size);
}

static void feature_power(SimModel *m) {
        loader_forget(&feature_of(m)->loader);
        end_write(feature_of(m));
}

static void feature_done(SimModel *m) {
        feature_power(m);
        free(m->priv);
        m->priv = NULL;
}

static bool feature_bootable(SimModel *m) {
        static const uint32_t needed[] = {ID_BOOT, ID_PS};
        uint8_t head[512];

        for (size_t i = 0; i < COUNT(needed); i++)
                if (store_read(m, "flash.bin", area_of(needed[i])->offset, head, sizeof(head)) < 0 ||
                    sim_all_bytes(head, sizeof(head), 0xFF))
                        return false;
        return true;
}

static size_t feature_describe(const SimModel *m, char *buf, size_t size) {
        const Feature *f = m->priv;

        return (size_t) snprintf(buf, size, "\"writing\":\"%s\",\"received\":%u,", f->area ? f->area->name : "",
                                 f->got);
}

static const SimPreset presets[] = {
        {OPT_LINE_STATE, "none"}, {OPT_INFO, "ack"},
        {OPT_FDL1_BASE, "auto"},  {OPT_FDL2_BASE, "0x14000000"},
        {OPT_FDL1_START, "100"},  {OPT_FDL2_START, "200"},
        {OPT_FLASH_RATE, "500k"}, {OPT_ERASE_RATE, "2M"},
        {OPT_VERIFY_RATE, "2M"},  {0, NULL},
};

const SimFamily sim_feature_nor = {
        .name = "feature-nor",
        .about = "feature phone with NOR (SC6531E class): logical ids, one or two loaders that panic on unknown "
                 "commands",
        .letters = "F",
        .presets = presets,
        .usb = PHONE_USB,
        .first = STAGE_BROM,
        .stage = {[STAGE_BROM] = &rom, [STAGE_FDL1] = &fdl1, [STAGE_FDL2] = &fdl2},
        .init = feature_init,
        .done = feature_done,
        .power = feature_power,
        .bootable = feature_bootable,
        .describe = feature_describe,
};
