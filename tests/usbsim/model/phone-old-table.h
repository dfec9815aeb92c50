/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The partition table of a new phone-old unit, in disk order, sizes in MiB, 0xFFFFFFFF the rest of the device. There is
 * no partition uboot: that name means the second eMMC boot area (boot2.bin), and splloader the first, without a copy.
 * NV names have no prefix; NV items are those of phone-table.h. */
#define PHONE_OLD_TABLE(X)                                                                                             \
        X("prodnv", 5)                                                                                                 \
        X("miscdata", 1)                                                                                               \
        X("misc", 1)                                                                                                   \
        X("fixnv1", 2)                                                                                                 \
        X("fixnv2", 2)                                                                                                 \
        X("runtimenv1", 2)                                                                                             \
        X("runtimenv2", 2)                                                                                             \
        X("modem", 12)                                                                                                 \
        X("dsp", 4)                                                                                                    \
        X("wcnmodem", 4)                                                                                               \
        X("sml", 1)                                                                                                    \
        X("sml_bak", 1)                                                                                                \
        X("logo", 1)                                                                                                   \
        X("fbootlogo", 1)                                                                                              \
        X("persist", 2)                                                                                                \
        X("boot", 10)                                                                                                  \
        X("recovery", 10)                                                                                              \
        X("system", 600)                                                                                               \
        X("cache", 150)                                                                                                \
        X("userdata", 0xFFFFFFFF)

#define PHONE_OLD_FDL1_BASE 0x50000000
#define PHONE_OLD_FDL2_BASE 0x9F000000
