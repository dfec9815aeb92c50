/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sim.h"

/* Images of NV items {u16 id, u16 length, data padded to 4} after a prefix of CRC-16 (high byte first) and a stamp. */

typedef struct NvLength {
        uint16_t id, length;
} NvLength;

typedef struct NvTable {
        NvLength *items;
        size_t n;
} NvTable;

#define NV_ID_END 0xFFFF
#define NV_ID_CALIBRATION 2
#define NV_ID_IMEI 5
#define NV_ID_LTE_CALIBRATION 0x9C4

/* The table of option nv=FILE, else the preset. 0 or negative with a sentence in err. Free items. */
int nv_table_load(SimModel *m, const NvLength *preset, size_t n, NvTable *ret, char *err, size_t err_size);
const NvLength *nv_table_find(const NvTable *t, unsigned id);
/* Index of the IMEI that an item id holds, -1 if none. */
int nv_imei_index(unsigned id);
/* Contents of one item of this unit: IMEI, calibration (with its flag), or unit-specific data. */
void nv_make_item(SimModel *m, unsigned id, uint8_t *data, size_t length);
/* Whole image of `size` bytes, items in table order or IMEIs first, with a valid CRC. false if it does not fit. */
bool nv_make_image(SimModel *m, const NvTable *t, bool imei_first, uint8_t *image, size_t size);
/* Appends an item; returns the new end or 0 if it does not fit. */
size_t nv_put_item(uint8_t *image, size_t size, size_t at, unsigned id, const uint8_t *data, size_t length);
void nv_finish(uint8_t *image, size_t size, size_t at, unsigned stamp);
/* The n-th IMEI of the unit as 15 digits. */
void nv_imei_text(SimModel *m, int index, char ret[16]);
