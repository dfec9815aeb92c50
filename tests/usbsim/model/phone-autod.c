/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "phone.h"

/* The autodloader: the unit's own U-Boot, asked to download, pretends to be ROM (CRC), then FDL1 (sum). It takes
 * loaders and throws them away; the second EXEC starts the download command, its FDL2. */

#define WINDOW_MS 300000ull

static void enter(SimModel *m, SimStage stage, const SimTraits *t) {
        sim_enter(m, stage);
        m->t = t;
        m->synced = false;
}

static void fdl1_begins(SimModel *m) {
        enter(m, STAGE_FDL1, &traits_autod_fdl1);
}

static void exec(SimModel *m) {
        m->starting = true;
        if (m->stage == STAGE_BROM) {
                sim_ack(m);
                sim_after(m, sim_delay(m, OPT_FDL1_START), fdl1_begins);
        } else
                sim_after(m, sim_delay(m, OPT_FDL2_START), phone_fdl2_begins);
}

static void autod_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        (void) d, (void) n;
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                /* fall through */
        case CMD_START:
        case CMD_MIDST:
        case CMD_END:
        case CMD_BAUD:
        case CMD_KEEP_CHARGE:
                sim_ack(m);
                break;
        case CMD_EXEC:
                exec(m);
                break;
        default:
                m->unknown++; /* ignored */
        }
}

#define AUTOD(stage_name, with_crc)                                                                                    \
        {                                                                                                              \
                .name = stage_name, .version = "SPRD4:AutoD", .crc = with_crc, .sync = 1, .sync_swallow = true,        \
                .resync_idle = true, .dma = 65472, .buffers = 3, .max_body = 65536, .bad_sum = BAD_NAK_HANG,           \
                .bad_length = BAD_NAK_HANG, .too_long = BAD_NAK_HANG, .zlp = true, .frame = autod_frame                \
        }

const SimTraits traits_autod_rom = AUTOD("autod", true), traits_autod_fdl1 = AUTOD("autod-fdl1", false);

static void nobody_came(SimModel *m) {
        if (phone_of(m)->autod && !m->port_open)
                sim_reboot(m);
}

/* U-Boot runs only where the boot chain is whole: after a reset that found none it is the ROM again. */
void phone_autod_begin(SimModel *m) {
        phone_of(m)->autod = true;
        enter(m, STAGE_BROM, &traits_autod_rom);
        sim_after(m, WINDOW_MS * SIM_MS, nobody_came);
}

bool phone_wakes(SimModel *m) {
        if (!sim_flag(m, OPT_AUTOD) || !phone_bootable(m))
                return false;
        phone_autod_begin(m);
        return true;
}

void phone_usb_now(const SimModel *m, SimUsb *usb) {
        const Phone *p = m->priv;

        if (!p->autod)
                return;
        usb->manufacturer = "spreadtrum with musb-hdrc";
        usb->product_name = "Gadget Serial";
        usb->bcd_device = 0x2416;
}
