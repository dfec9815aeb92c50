/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sim.h"

/* A loader on its way into RAM, as boot ROMs and first loaders take it. Replies are sent by these functions. */
typedef struct Loader {
        bool started;
        uint32_t address, size, got;
        uint8_t *data;
} Loader;

void loader_forget(Loader *l);
void loader_start(SimModel *m, Loader *l, const uint8_t *d, size_t n);
void loader_midst(SimModel *m, Loader *l, const uint8_t *d, size_t n);
void loader_end(SimModel *m); /* in ROM: ACK, or what option brom-refuse says */
bool loader_has(const Loader *l, const char *text);
bool loader_runs(const SimModel *m, const Loader *l, SimOption base);
