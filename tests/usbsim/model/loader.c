/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "loader.h"

#define LOADER_MAX (16u << 20)

void loader_forget(Loader *l) {
        free(l->data);
        l->data = NULL;
        l->started = false;
        l->got = l->size = 0;
}

void loader_start(SimModel *m, Loader *l, const uint8_t *d, size_t n) {
        if (n < 8) {
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        loader_forget(l);
        l->address = be32at(d);
        l->size = be32at(d + 4);
        l->started = true;
        m->transfer_offset = 0;
        sim_ack(m);
}

void loader_midst(SimModel *m, Loader *l, const uint8_t *d, size_t n) {
        if (!l->started) {
                sim_send(m, REP_NOT_STARTED, NULL, 0);
                return;
        }
        if (n > l->size - l->got) {
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        if (!l->data)
                l->data = calloc(1, l->size < LOADER_MAX ? l->size : LOADER_MAX);
        if (l->data && n <= LOADER_MAX && l->got <= LOADER_MAX - n)
                memcpy(l->data + l->got, d, n);
        l->got += (uint32_t) n;
        m->transfer_offset = l->got;
        sim_ack(m);
}

bool loader_has(const Loader *l, const char *text) {
        size_t n = l->got < LOADER_MAX ? l->got : LOADER_MAX;

        return l->data && memmem(l->data, n, text, strlen(text));
}

bool loader_runs(const SimModel *m, const Loader *l, SimOption base) {
        if (l->got == 0 || (m->number[base] && m->number[base] != l->address))
                return false;
        return !sim_flag(m, OPT_SECURE) || (l->got >= 4 && l->data && memcmp(l->data, "DHTB", 4) == 0);
}

void loader_end(SimModel *m) {
        char *end;
        unsigned long code = strtoul(m->option[OPT_BROM_REFUSE], &end, 16);

        if (*end == 0 && end != m->option[OPT_BROM_REFUSE] && code >= 0x80 && code <= 0xFF)
                sim_send(m, (unsigned) code, NULL, 0);
        else
                sim_ack(m);
}
