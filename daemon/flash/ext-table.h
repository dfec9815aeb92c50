/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/pac.h"

/* The payload of EXTTABLE (pac-format §6.7): u32 number of tables; for each of them tag[4], u32 offset from the begin of the
 * payload, u32 size; then the tables. All little-endian. *ret: malloc'ed, NULL where the package asks for none. 0 or -ENOMEM. */
int ext_table_build(const Pac *pac, uint8_t **ret, size_t *ret_size);
