/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* What a production line keeps in a unit: its serial number and which stations it has passed. Two layouts are in use, told apart by the
 * magic at the beginning: SP09 (modules, feature phones, older phones; 256 bytes) and SP15 (smartphones; 492 bytes). All little-endian;
 * the numbers are those of the structures in the vendor's boot loaders and test software. */

typedef enum PhaseLayout { PHASE_SP09, PHASE_SP15, PHASE_LAYOUT_MAX } PhaseLayout;

#define PHASE_SERIAL_MAX 63   /* characters of the longest serial number that any layout holds */
#define PHASE_STATIONS_MAX 256

/* False: there is none. */
bool phase_check_layout(const void *data, size_t size, PhaseLayout *ret);
/* Bytes of the structure; characters that a serial number may have: 23 or 63. */
size_t phase_check_size(PhaseLayout layout);
size_t phase_check_serial_max(PhaseLayout layout);
/* The first serial number in it, "" if none, or one with other than printable ASCII characters. */
void phase_check_serial(const void *data, size_t size, char ret[static PHASE_SERIAL_MAX + 1]);
/* A fresh one, at the beginning of what is filled with FF: no station tested but DOWNLOAD, if it is among the names; that one passed.
 * `stations`: names separated by blanks. 0; -EINVAL for names or a serial number that the layout cannot hold, or too little room. */
int phase_check_make(void *data, size_t size, PhaseLayout layout, const char *serial, const char *stations);
/* Whether the names fit into every layout: at most 15 names, 9 characters each, printable ASCII. */
bool phase_check_stations_valid(const char *stations);
