/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "module.h"

#define LOAD_ADDRESS 0x50800000u
#define LOAD_MIN 0x100u
#define LOAD_MAX 0x14000u

/* Ids and lengths of a full NV image of this family. */
static const NvLength items[] = {
        {0x193, 147},  {0x1b2, 820},   {0x1b4, 48},   {0x1ac, 13504}, {0x1ab, 4},    {0x1aa, 5358},
        {0x1a9, 2},    {0x27a, 2960},  {0x1b7, 2},    {0x1b8, 2176},  {0x1b9, 376},  {0x5, 8},
        {0x179, 8},    {0x186, 8},     {0x1e4, 8},    {0x2, 6020},    {0x26f, 4096}, {0x26e, 59392},
        {0x259, 1612}, {0x25a, 912},   {0x25b, 1436}, {0x25e, 1436},  {0x25d, 912},  {0x25c, 1612},
        {0x277, 2144}, {0x26c, 28672}, {0x1f0, 7400}, {0x800, 84},    {0x801, 436},  {0x813, 2400},
        {0x870, 512},  {0x871, 512},   {0x872, 72},   {0x873, 72},    {0x300, 20},   {0x301, 256},
};

static void fdl_begins(SimModel *m) {
        module_forget_loader(module_of(m));
        sim_enter(m, STAGE_FDL2);
}

static void rom_start(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);
        bool good = n >= 8 && o->load_state == 0 && be32at(d) == LOAD_ADDRESS && be32at(d + 4) >= LOAD_MIN &&
                    be32at(d + 4) <= LOAD_MAX;

        if (!good) {
                sim_send(m, REP_INVALID, NULL, 0);
                return;
        }
        o->load_address = be32at(d);
        o->load_size = be32at(d + 4);
        o->load_state = 1;
        m->transfer_offset = 0;
        sim_ack(m);
}

static void rom_exec(SimModel *m) {
        Module *o = module_of(m);

        if (o->load_state != 2) {
                sim_send(m, REP_INVALID, NULL, 0);
                return;
        }
        if (sim_flag(m, OPT_IMAGE_CHECK) && !sihr_valid(o->image, o->load_got)) {
                sim_send(m, REP_VERIFY, NULL, 0);
                return;
        }
        sim_ack(m);
        m->starting = true;
        sim_after(m, sim_delay(m, OPT_FDL2_START), fdl_begins);
}

static void rom_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        Module *o = module_of(m);

        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_BAUD:
                sim_ack(m);
                break;
        case CMD_START:
                rom_start(m, d, n);
                break;
        case CMD_MIDST:
                sim_send(m, o->load_state == 1 && module_take(m, d, n) ? REP_ACK : REP_INVALID, NULL, 0);
                break;
        case CMD_END:
                if (o->load_state == 1 && o->load_got == o->load_size) {
                        o->load_state = 2;
                        sim_ack(m);
                } else
                        sim_send(m, REP_INVALID, NULL, 0);
                break;
        case CMD_EXEC:
                rom_exec(m);
                break;
        default:
                m->unknown++;
                sim_send(m, REP_UNKNOWN, NULL, 0);
        }
}

static const SimTraits rom = {
        .name = "brom",
        .version = "SPRD3",
        .crc = true,
        .rda = true,
        .sync = 3,
        .dma = 2048,
        .buffers = 1,
        .max_body = 0x410 + 6,
        .bad_sum = BAD_NAK,
        .bad_length = BAD_NAK,
        .too_long = BAD_DROP,
        .zlp = true,
        .frame = rom_frame,
};

static const SimTraits fdl = {
        .name = "fdl2",
        .version = "Spreadtrum Boot Block version 1.2",
        .rda = true,
        .sync = 3,
        .dma = 2048,
        .buffers = 1,
        .max_body = 0x301A + 6,
        .bad_sum = BAD_HANG,
        .bad_length = BAD_DROP,
        .too_long = BAD_DROP,
        .zlp = true,
        .frame = module_frame,
};

static int init_8850(SimModel *m, bool fresh, char *err, size_t err_size) {
        int r = module_init(m, items, COUNT(items), 0x28000, err, err_size);

        if (r < 0 || !fresh)
                return r;
        r = module_old_image(m, "spl", 0, 0xF000, false);
        if (r >= 0)
                r = module_old_image(m, "spl", SPL_COPY, 0xF000, false);
        if (r >= 0)
                r = module_old_image(m, "boot", 0x20000, 0x2800, false);
        if (r >= 0 && nor_fits(m, 0x30000 + 0x140000))
                r = module_old_image(m, "ap", 0x30000, 0x140000, false);
        if (r >= 0 && nor_fits(m, 0x1AE000 + 0x8000))
                r = module_old_image(m, "appimg", 0x1AE000, 0x8000, false);
        return r;
}

static bool bootable_8850(SimModel *m) {
        if (!sihr_in_flash(m, 0, SPL_COPY) && !sihr_in_flash(m, SPL_COPY, SPL_COPY))
                return false;
        return sihr_in_flash(m, 0x20000, 0x10000) && sihr_in_flash(m, 0x30000, 0x17E000);
}

const SimFamily sim_uis8850 = {
        .name = "uis8850",
        .about = "cellular module: ROM, one FDL; addresses",
        .letters = "B",
        .usb = {.vendor = 0x1782,
                .product = 0x4d16,
                .bcd_device = 0x0100,
                .device_class = 0xFF,
                .ep_in = 0x81,
                .ep_out = 0x01,
                .max_packet = 512,
                .interface_number = 1,
                .n_interfaces = 2},
        .first = STAGE_BROM,
        .module = true,
        .stage = {[STAGE_BROM] = &rom, [STAGE_FDL2] = &fdl},
        .init = init_8850,
        .done = module_done,
        .power = module_power,
        .bootable = bootable_8850,
        .describe = module_describe,
};
