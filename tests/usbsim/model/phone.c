/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone.h"

#define LOADER_MAX (16u << 20)

static void loader_forget(Phone *p) {
        free(p->loader);
        p->loader = NULL;
        p->started = false;
        p->got = p->size = 0;
}

static void loader_start(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);

        if (n < 8) {
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        loader_forget(p);
        p->address = be32at(d);
        p->size = be32at(d + 4);
        p->started = true;
        m->transfer_offset = 0;
        sim_ack(m);
}

static void loader_midst(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);

        if (!p->started) {
                sim_send(m, REP_NOT_STARTED, NULL, 0);
                return;
        }
        if (n > p->size - p->got) {
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        if (!p->loader)
                p->loader = calloc(1, p->size < LOADER_MAX ? p->size : LOADER_MAX);
        if (p->loader && n <= LOADER_MAX && p->got <= LOADER_MAX - n)
                memcpy(p->loader + p->got, d, n);
        p->got += (uint32_t) n;
        m->transfer_offset = p->got;
        sim_ack(m);
}

static bool loader_has(const Phone *p, const char *text) {
        size_t n = p->got < LOADER_MAX ? p->got : LOADER_MAX;

        return p->loader && memmem(p->loader, n, text, strlen(text));
}

static bool loader_runs(const SimModel *m, const Phone *p, SimOption base) {
        if (p->got == 0 || (m->number[base] && m->number[base] != p->address))
                return false;
        return !sim_flag(m, OPT_SECURE) || (p->got >= 4 && p->loader && memcmp(p->loader, "DHTB", 4) == 0);
}

/* ---- boot ROM ---- */

static void fdl1_begins(SimModel *m) {
        Phone *p = phone_of(m);
        bool again = p->enumerates_again;

        p->enumerates_again = false;
        loader_forget(p);
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
        if (sim_word(m, OPT_BROM_REFUSE, "silent") || !loader_runs(m, p, OPT_FDL1_BASE)) {
                sim_hang(m, "FDL1 does not run");
                return;
        }
        p->enumerates_again = sim_flag(m, OPT_SECOND_ENUM) || loader_has(p, "##PORT-SECOND-ENUM##");
        sim_after(m, sim_delay(m, OPT_FDL1_START), fdl1_begins);
}

static void brom_end(SimModel *m) {
        char *end;
        unsigned long code = strtoul(m->option[OPT_BROM_REFUSE], &end, 16);

        if (*end == 0 && end != m->option[OPT_BROM_REFUSE] && code >= 0x80 && code <= 0xFF)
                sim_send(m, (unsigned) code, NULL, 0);
        else
                sim_ack(m);
}

static void brom_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_START:
                loader_start(m, d, n);
                break;
        case CMD_MIDST:
                loader_midst(m, d, n);
                break;
        case CMD_END:
                brom_end(m);
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
        loader_forget(phone_of(m));
        sim_enter(m, STAGE_FDL2);
        phone_fdl2_hello(m);
}

static void fdl1_exec(SimModel *m) {
        m->starting = true;
        if (!loader_runs(m, phone_of(m), OPT_FDL2_BASE)) {
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
        loader_start(m, d, n);
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
                loader_midst(m, d, n);
                break;
        case CMD_END: /* whatever came */
        case CMD_BAUD:
        case CMD_DDR_CHECK:
                sim_ack(m);
                break;
        case CMD_EXEC:
                fdl1_exec(m);
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

const SimTraits traits_rom = {
        .name = "brom",
        .version = "SPRD3",
        .crc = true,
        .sync = 1,
        .sync_swallow = true,
        .resync_idle = true,
        .dma = 4096,
        .buffers = 1,
        .max_body = 4096,
        .bad_sum = BAD_NAK_HANG,
        .bad_length = BAD_NAK_HANG,
        .too_long = BAD_NAK_HANG,
        .frame = brom_frame,
};

const SimTraits traits_fdl1 = {
        .name = "fdl1",
        .version = "Spreadtrum Boot Block version 1.1",
        .sync = 1,
        .sync_swallow = true,
        .resync_idle = true,
        .dma = 4096,
        .buffers = 1,
        .max_body = 4096,
        .bad_sum = BAD_NAK_HANG,
        .bad_length = BAD_NAK_HANG,
        .too_long = BAD_NAK_HANG,
        .frame = fdl1_frame,
};

/* This controller ends replies with a ZLP and wants the sync byte for itself. */
const SimTraits traits_fdl1_dwc3 = {
        .name = "fdl1",
        .version = "Spreadtrum Boot Block version 1.1",
        .sync = 1,
        .sync_single = true,
        .resync_idle = true,
        .dma = 4096,
        .buffers = 1,
        .max_body = 4096,
        .bad_sum = BAD_NAK_HANG,
        .bad_length = BAD_NAK_HANG,
        .too_long = BAD_NAK_HANG,
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
        loader_forget(phone_of(m));
        phone_of(m)->enumerates_again = phone_of(m)->autod = false;
        phone_fdl2_forget(m);
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
        return (size_t) snprintf(buf, size, "\"partitions\":%zu,\"writing\":\"%s\",\"received\":%llu,", p->n_parts,
                                 name, (unsigned long long) p->received);
}
