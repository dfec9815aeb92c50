/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the loader of feature-nor knows by logical id: (id, name, offset in flash.bin, size). Nothing else has an address.
 * 0x90000003 can be erased only, 0x80000000 is the boot loader that the ROM starts. NV items are those of phone-table.h. */
#define FEATURE_AREAS(X)                                                                                               \
        X(0x80000000, "BOOT", 0x000000, 0x010000)                                                                      \
        X(0x80000003, "PS", 0x010000, 0x1D0000)                                                                        \
        X(0x90000009, "DSP", 0x1E0000, 0x040000)                                                                       \
        X(0x90000004, "MMIRes", 0x220000, 0x100000)                                                                    \
        X(0x80000004, "USER", 0x320000, 0x040000)                                                                      \
        X(0x90000001, "NV", 0x360000, 0x020000)                                                                        \
        X(0x90000002, "PhaseCheck", 0x380000, 0x001000)                                                                \
        X(0x90000003, "RunningNV", 0x390000, 0x030000)                                                                 \
        X(0x90000006, "UDISK", 0x3C0000, 0x040000)

#define FEATURE_FLASH_SIZE 0x400000
#define FEATURE_SECTOR 0x1000
/* With two loaders (the default), and with option loaders=1. */
#define FEATURE_FDL1_BASE 0x40004000
#define FEATURE_FDL2_BASE 0x14000000
#define FEATURE_FDL_BASE 0x34000000
/* Length of the NV image: bigger images are refused. */
#define FEATURE_NV_SIZE 0x20000
