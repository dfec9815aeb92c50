/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone.h"

/* ---- boot ROM ---- */

static void fdl1_begins(SimModel *m) {
        Phone *p = phone_of(m);
        bool again = p->enumerates_again;

        p->enumerates_again = false;
        loader_forget(&p->loader);
        sim_enter(m, STAGE_FDL1);
        m->drop_sync = (unsigned) m->number[OPT_DROP_SYNC];
        if (again) {
                sim_wire_reset(m);
                sim_reenumerate(m);
        }
}

static void fall_off(SimModel *m) {
        sim_wish(m, SIM_LEAVE, 0);
}

static void brom_exec(SimModel *m) {
        Phone *p = phone_of(m);

        sim_ack(m);
        m->starting = true;
        if (sim_word(m, OPT_BROM_REFUSE, "drop")) {
                sim_after(m, 100 * SIM_MS, fall_off);
                return;
        }
        if (sim_word(m, OPT_BROM_REFUSE, "silent") || !loader_runs(m, &p->loader, OPT_FDL1_BASE)) {
                sim_hang(m, "FDL1 does not run");
                return;
        }
        p->enumerates_again = sim_flag(m, OPT_SECOND_ENUM) || loader_has(&p->loader, "##PORT-SECOND-ENUM##");
        sim_after(m, sim_delay(m, OPT_FDL1_START), fdl1_begins);
}

static void brom_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_START:
                loader_start(m, &phone_of(m)->loader, d, n);
                break;
        case CMD_MIDST:
                loader_midst(m, &phone_of(m)->loader, d, n);
                break;
        case CMD_END:
                loader_end(m);
                break;
        case CMD_EXEC:
                brom_exec(m);
                break;
        default:
                m->unknown++; /* nothing is known of what a ROM says; it stays silent */
        }
}

/* ---- FDL1 ---- */

void phone_fdl2_begins(SimModel *m) {
        loader_forget(&phone_of(m)->loader);
        sim_enter(m, STAGE_FDL2);
        phone_fdl2_hello(m);
}

static void fdl1_exec(SimModel *m) {
        m->starting = true;
        if (!loader_runs(m, &phone_of(m)->loader, OPT_FDL2_BASE)) {
                sim_hang(m, "FDL1 does not start FDL2");
                return;
        }
        sim_after(m, sim_delay(m, OPT_FDL2_START), phone_fdl2_begins);
}

static void fdl1_start(SimModel *m, const uint8_t *d, size_t n) {
        uint64_t base = m->number[OPT_RAM_BASE], end = base + (1u << 30);

        if (n < 8 || be32at(d) < base || (uint64_t) be32at(d) + be32at(d + 4) > end) {
                sim_hang(m, "START outside FDL1's RAM window");
                return;
        }
        loader_start(m, &phone_of(m)->loader, d, n);
}

static void fdl1_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_START:
                fdl1_start(m, d, n);
                break;
        case CMD_MIDST:
                loader_midst(m, &phone_of(m)->loader, d, n);
                break;
        case CMD_END: /* whatever came */
        case CMD_BAUD:
                sim_ack(m);
                break;
        case CMD_EXEC:
                fdl1_exec(m);
                break;
        case CMD_DDR_CHECK:
                if (sim_word(m, OPT_DDR, "unknown")) {
                        m->unknown++;
                        sim_hang(m, "unknown command in FDL1");
                } else
                        sim_send(m, sim_word(m, OPT_DDR, "bad") ? REP_DDR : REP_ACK, NULL, 0);
                break;
        case CMD_KEEP_CHARGE:
                if (!sim_flag(m, OPT_NO_KEEP_CHARGE)) {
                        sim_ack(m);
                        break;
                }
                /* fall through */
        default: /* its table has a null pointer there */
                m->unknown++;
                sim_hang(m, "unknown command in FDL1");
        }
}

/* ---- the family ---- */

const SimTraits traits_rom = ROM_TRAITS(brom_frame);

const SimTraits traits_fdl1 = {
        .name = "fdl1",
        .version = "Spreadtrum Boot Block version 1.1",
        .sync = 1,
        .sync_swallow = true,
        .max_body = 4096,
        LOADER_WIRE,
        .frame = fdl1_frame,
};

/* This controller ends replies with a ZLP and wants the sync byte for itself. */
const SimTraits traits_fdl1_dwc3 = {
        .name = "fdl1",
        .version = "Spreadtrum Boot Block version 1.1",
        .sync = 1,
        .sync_single = true,
        .max_body = 4096,
        LOADER_WIRE,
        .zlp = true,
        .frame = fdl1_frame,
};

const SimTraits traits_fdl2 = {
        .name = "fdl2",
        .dma = 65472,
        .buffers = 3,
        .max_body = 65536,
        .bad_sum = BAD_NAK_HANG,
        .bad_length = BAD_NAK_HANG,
        .too_long = BAD_NAK_HANG,
        .zlp = true,
        .raw = phone_raw_data,
        .frame = phone_fdl2_frame,
};

int phone_init(SimModel *m, bool fresh, char *err, size_t err_size) {
        m->priv = calloc(1, sizeof(Phone));
        if (!m->priv) {
                snprintf(err, err_size, "out of memory");
                return -1;
        }
        return phone_disk_init(m, fresh, err, err_size);
}

void phone_power(SimModel *m) {
        loader_forget(&phone_of(m)->loader);
        phone_of(m)->enumerates_again = phone_of(m)->autod = false;
        phone_fdl2_forget(m);
}

void phone_power_cycle(SimModel *m) {
        phone_power(m);
        phone_disk_power(m);
}

void phone_done(SimModel *m) {
        phone_power(m);
        free(m->priv);
        m->priv = NULL;
}

size_t phone_describe(const SimModel *m, char *buf, size_t size) {
        const Phone *p = m->priv;
        char name[PHONE_NAME] = "";

        /* The host chose the name: keep JSON whole. */
        for (size_t i = 0; p->writing && p->target.name[i]; i++) {
                char c = p->target.name[i];
                name[i] = c < 0x20 || c > 0x7E || c == '"' || c == '\\' ? '?' : c;
        }
        return (size_t) snprintf(buf, size,
                                 "\"partitions\":%zu,\"writing\":\"%s\",\"received\":%llu,\"ext-table\":\"%zu %08x\",",
                                 p->n_parts, name, (unsigned long long) p->received, p->ext_size, p->ext_crc);
}
