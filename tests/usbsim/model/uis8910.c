/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "module.h"

#define FDL2_ADDRESS 0x810000u
#define RAM_BASE 0x8000C0u
#define RAM_END 0x840000u

/* Ids and lengths of a full NV image of this family. */
static const NvLength items[] = {
        {0x191, 40},  {0x1ba, 268},  {0x1f0, 152},  {0x1f1, 104},   {0x1f2, 200},   {0x5, 8},       {0x179, 8},
        {0x186, 8},   {0x1e4, 8},    {0x2, 6020},   {0x26f, 2048},  {0x26d, 8192},  {0x26e, 32768}, {0x259, 1484},
        {0x25a, 912}, {0x25b, 2128}, {0x277, 2156}, {0x26c, 22528}, {0x278, 10372}, {0x27a, 3856},  {0x27b, 147},
};

/* ---- ROM: the PDL protocol ---- */

enum { PDL_CONNECT = 0, PDL_START = 4, PDL_MID = 5, PDL_END = 6, PDL_EXEC = 7 };
enum { PDL_ACK = 0, PDL_PACKET = 1, PDL_UNKNOWN = 3, PDL_ADDRESS = 4, PDL_SIZE = 7, PDL_VERIFY = 9 };

void sim_uis8910_pdl_reply(SimModel *m, uint32_t code) {
        uint8_t b[12] = {0xAE, 4, 0, 0, 0, 0xFF, 0, 0};

        if (code)
                b[5] = (uint8_t) m->number[OPT_PDL_ERROR_FLOW];
        le32to(b + 8, code);
        m->last_reply = (uint8_t) code;
        sim_send_raw(m, b, sizeof(b));
}

static void fdl1_begins(SimModel *m) {
        module_forget_loader(module_of(m));
        sim_enter(m, STAGE_FDL1);
}

static void pdl_start(SimModel *m, uint32_t address, uint32_t size) {
        Module *o = module_of(m);

        if (address < RAM_BASE || address >= RAM_END || size > RAM_END - address) {
                sim_uis8910_pdl_reply(m, PDL_ADDRESS);
                return;
        }
        module_forget_loader(o);
        o->load_address = address;
        o->load_size = size;
        o->load_state = 1;
        o->pdl_next = 0;
        m->transfer_offset = 0;
        sim_uis8910_pdl_reply(m, PDL_ACK);
}

static void pdl_mid(SimModel *m, uint32_t index, const uint8_t *d, size_t n) {
        Module *o = module_of(m);

        if (o->load_state != 1 || index != o->pdl_next)
                sim_uis8910_pdl_reply(m, PDL_PACKET);
        else if (!module_take(m, d, n))
                sim_uis8910_pdl_reply(m, PDL_SIZE);
        else {
                o->pdl_next++;
                sim_uis8910_pdl_reply(m, PDL_ACK);
        }
}

static void pdl_exec(SimModel *m) {
        Module *o = module_of(m);

        if (o->load_state != 2 || (sim_flag(m, OPT_IMAGE_CHECK) && !uimage_valid(o->image, o->load_got))) {
                sim_uis8910_pdl_reply(m, PDL_VERIFY);
                return;
        }
        m->starting = true; /* no reply: it jumps */
        sim_after(m, sim_delay(m, OPT_FDL1_START), fdl1_begins);
}

static void pdl_command(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        Module *o = module_of(m);
        const uint8_t *tag = o->pdl_data;

        switch (type & 0x0F) {
        case PDL_CONNECT:
                sim_uis8910_pdl_reply(m, PDL_ACK);
                break;
        case PDL_START:
                pdl_start(m, le32at(tag + 4), le32at(tag + 8));
                break;
        case PDL_MID:
                pdl_mid(m, le32at(tag + 4), d, n);
                break;
        case PDL_END:
                if (o->load_state == 1)
                        o->load_state = 2;
                sim_uis8910_pdl_reply(m, PDL_ACK);
                break;
        case PDL_EXEC:
                pdl_exec(m);
                break;
        default:
                sim_uis8910_pdl_reply(m, PDL_UNKNOWN);
        }
}

static void pdl_packet(SimModel *m) {
        static const char *const names[16] = {[PDL_CONNECT] = "pdl-connect",
                                              [PDL_START] = "pdl-start",
                                              [PDL_MID] = "pdl-mid",
                                              [PDL_END] = "pdl-end",
                                              [PDL_EXEC] = "pdl-exec"};
        Module *o = module_of(m);
        uint32_t cmd;

        if (o->pdl_fill < 12) {
                sim_uis8910_pdl_reply(m, PDL_PACKET);
                return;
        }
        cmd = le32at(o->pdl_data);
        if (cmd > 14)
                cmd = 14;
        sim_dispatch(m, names[cmd] ? names[cmd] : "pdl-unknown", 0xE0 | cmd, o->pdl_data + 12, o->pdl_fill - 12,
                     pdl_command);
}

/* The header comes as a transfer of its own; then as many bytes as it says. */
static void pdl_transfer(SimModel *m, const uint8_t *p, size_t n, bool end) {
        Module *o = module_of(m);

        (void) end;

        if (o->pdl_need == 0) {
                bool joined = sim_flag(m, OPT_PDL_JOIN);
                uint32_t size;

                if (n < 8 || (n > 8 && !joined) || p[0] != 0xAE || p[5] != 0xFF || p[6] || p[7])
                        return;
                size = le32at(p + 1);
                if (size < 4 || size > 2048 + 12)
                        return;
                free(o->pdl_data);
                o->pdl_data = calloc(1, 2048 + 12);
                if (!o->pdl_data)
                        return;
                o->pdl_need = size;
                o->pdl_fill = 0;
                p += 8;
                n -= 8;
        }
        if (n > o->pdl_need - o->pdl_fill)
                n = o->pdl_need - o->pdl_fill;
        if (n)
                memcpy(o->pdl_data + o->pdl_fill, p, n);
        o->pdl_fill += n;
        if (o->pdl_fill == o->pdl_need) {
                o->pdl_need = 0;
                pdl_packet(m);
        }
}

/* ---- FDL1: takes FDL2 and stops for good on anything it does not like ---- */

static void refuse(SimModel *m, unsigned code, const char *why) {
        sim_send(m, code, NULL, 0);
        sim_hang(m, why);
}

static void fdl2_begins(SimModel *m) {
        module_forget_loader(module_of(m));
        sim_enter(m, STAGE_FDL2);
        (void) module_nv_defaults(m);
        sim_ack(m); /* nobody asked; to the host it is the answer to EXEC */
}

static void fdl1_start(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);

        if (n < 8 || be32at(d) != FDL2_ADDRESS) {
                refuse(m, REP_DEST, "START to another address than FDL2's");
                return;
        }
        if (be32at(d + 4) > m->number[OPT_FDL2_WINDOW]) {
                refuse(m, REP_SIZE, "FDL2 larger than its window");
                return;
        }
        module_forget_loader(o);
        o->load_address = FDL2_ADDRESS;
        o->load_size = be32at(d + 4);
        o->load_state = 1;
        m->transfer_offset = 0;
        sim_ack(m);
}

static void fdl1_midst(SimModel *m, const uint8_t *d, size_t n) {
        if (module_of(m)->load_state != 1)
                refuse(m, REP_NOT_STARTED, "MIDST before START");
        else if (!module_take(m, d, n))
                refuse(m, REP_SIZE, "more data than announced");
        else
                sim_ack(m);
}

static bool fdl2_runs(SimModel *m) {
        const Module *o = module_of(m);

        return o->load_got && (!sim_flag(m, OPT_IMAGE_CHECK) || uimage_valid(o->image, o->load_got));
}

static void fdl1_exec(SimModel *m) {
        m->starting = true;
        if (fdl2_runs(m))
                sim_after(m, sim_delay(m, OPT_FDL2_START), fdl2_begins);
        else
                sim_hang(m, "no valid FDL2 to start");
}

static void fdl1_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_BAUD:
                sim_ack(m);
                break;
        case CMD_START:
                fdl1_start(m, d, n);
                break;
        case CMD_MIDST:
                fdl1_midst(m, d, n);
                break;
        case CMD_END:
                sim_send(m, sim_flag(m, OPT_SECURE) && !fdl2_runs(m) ? REP_SECURITY : REP_ACK, NULL, 0);
                break;
        case CMD_EXEC:
                fdl1_exec(m);
                break;
        default:
                m->unknown++;
                sim_hang(m, "unknown command in FDL1");
        }
}

static const SimTraits pdl = {
        .name = "pdl",
        .dma = 2048,
        .buffers = 1,
        .max_body = 2048 + 12,
        .zlp = true,
        .raw = pdl_transfer,
};

static const SimTraits fdl1 = {
        .name = "fdl1",
        .version = "Spreadtrum Boot Block version 1.2",
        .rda = true,
        .sync = 1,
        .sync_swallow = true,
        .dma = 2048,
        .buffers = 1,
        .max_body = 0x85A + 6,
        .bad_sum = BAD_HANG,
        .bad_length = BAD_DROP,
        .too_long = BAD_DROP,
        .zlp = true,
        .frame = fdl1_frame,
};

static const SimTraits fdl2 = {
        .name = "fdl2",
        .rda = true,
        .dma = 2048,
        .buffers = 1,
        .max_body = 0x301A + 6,
        .bad_sum = BAD_HANG,
        .bad_length = BAD_DROP,
        .too_long = BAD_DROP,
        .zlp = true,
        .frame = module_frame,
};

static int init_8910(SimModel *m, bool fresh, char *err, size_t err_size) {
        int r = module_init(m, items, COUNT(items), 0x20000, err, err_size);

        if (r < 0 || !fresh)
                return r;
        r = module_old_image(m, "bootloader", 0, 0xA000, true);
        if (r >= 0 && nor_fits(m, 0x10000 + 0x138000))
                r = module_old_image(m, "ap", 0x10000, 0x138000, true);
        if (r >= 0 && nor_fits(m, 0x560000 + 0x20000))
                r = module_old_image(m, "ps", 0x560000, 0x20000, false);
        return r;
}

static bool bootable_8910(SimModel *m) {
        return uimage_in_flash(m, 0) && uimage_in_flash(m, 0x10000);
}

const SimFamily sim_uis8910 = {
        .name = "uis8910",
        .about = "cellular module: ROM with the PDL protocol, FDL1, FDL2; addresses",
        .letters = "A",
        .usb = {.vendor = 0x0525,
                .product = 0xa4a7,
                .bcd_device = 0x0100,
                .device_class = 0xFF,
                .ep_in = 0x81,
                .ep_out = 0x02,
                .max_packet = 64,
                .interface_number = 1,
                .n_interfaces = 2},
        .first = STAGE_PDL,
        .module = true,
        .stage = {[STAGE_PDL] = &pdl, [STAGE_FDL1] = &fdl1, [STAGE_FDL2] = &fdl2},
        .init = init_8910,
        .done = module_done,
        .power = module_power,
        .bootable = bootable_8910,
        .describe = module_describe,
};
