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

/* Of ROMs and loaders on the controllers of phones. */
#define LOADER_WIRE                                                                                                    \
        .resync_idle = true, .dma = 4096, .buffers = 1, .bad_sum = BAD_NAK_HANG, .bad_length = BAD_NAK_HANG,           \
        .too_long = BAD_NAK_HANG
#define ROM_TRAITS(take)                                                                                               \
        {                                                                                                              \
                .name = "brom", .version = "SPRD3", .crc = true, .sync = 1, .sync_swallow = true, .max_body = 4096,    \
                .frame = take, LOADER_WIRE                                                                             \
        }
#define PHONE_USB                                                                                                      \
        {                                                                                                              \
                .vendor = 0x1782, .product = 0x4d00, .bcd_device = 0xFFFF, .device_class = 0xFF, .ep_in = 0x85,        \
                .ep_out = 0x06, .max_packet = 512, .interface_number = 0, .n_interfaces = 1                            \
        }
