/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"

/* Reads the payload of FDL2's answer to EXEC in either encoding (bsl-protocol §6.2). False: no usable information, *ret
 * is zero then. Unknown records are skipped, lengths that do not fit make the whole unusable. */
bool bsl_device_info_parse(const void *data, size_t size, BslDeviceInfo *ret);
