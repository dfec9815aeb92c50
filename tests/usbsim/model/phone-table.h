/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The partition table of a new phone-emmc unit, in disk order, sizes in MiB, 0xFFFFFFFF the rest of the device.
 * splloader is not in it: it lives in the eMMC boot areas. Package makers include this to make packages that fit:
 *   #define X(name, mib) … PHONE_TABLE(X) */
#define PHONE_TABLE(X)                                                                                                 \
        X("prodnv", 10)                                                                                                \
        X("miscdata", 1)                                                                                               \
        X("misc", 1)                                                                                                   \
        X("l_fixnv1", 2)                                                                                               \
        X("l_fixnv2", 2)                                                                                               \
        X("l_runtimenv1", 2)                                                                                           \
        X("l_runtimenv2", 2)                                                                                           \
        X("trustos", 4)                                                                                                \
        X("trustos_bak", 4)                                                                                            \
        X("sml", 1)                                                                                                    \
        X("sml_bak", 1)                                                                                                \
        X("uboot", 1)                                                                                                  \
        X("uboot_bak", 1)                                                                                              \
        X("vbmeta", 1)                                                                                                 \
        X("vbmeta_bak", 1)                                                                                             \
        X("logo", 6)                                                                                                   \
        X("fbootlogo", 6)                                                                                              \
        X("l_ldsp", 16)                                                                                                \
        X("l_modem", 25)                                                                                               \
        X("l_deltanv", 1)                                                                                              \
        X("gpsgl", 1)                                                                                                  \
        X("gpsbd", 1)                                                                                                  \
        X("wcnmodem", 10)                                                                                              \
        X("persist", 2)                                                                                                \
        X("boot", 32)                                                                                                  \
        X("recovery", 32)                                                                                              \
        X("dtbo", 8)                                                                                                   \
        X("super", 256)                                                                                                \
        X("cache", 16)                                                                                                 \
        X("userdata", 0xFFFFFFFF)

#define PHONE_FDL1_BASE 0x5500
#define PHONE_FDL2_BASE 0x9EFFFE00
/* Length of a new unit's NV image, and the ids and lengths of its items. */
#define PHONE_NV_SIZE 0x20000
#define PHONE_NV_ITEMS(X)                                                                                              \
        X(0x5, 8)                                                                                                      \
        X(0x179, 8)                                                                                                    \
        X(0x186, 8)                                                                                                    \
        X(0x1E4, 8)                                                                                                    \
        X(0x2, 6020)                                                                                                   \
        X(0x26D, 8192)                                                                                                 \
        X(0x26E, 32768)                                                                                                \
        X(0x516, 1024)                                                                                                 \
        X(0x9C4, 4096)                                                                                                 \
        X(0x191, 40)                                                                                                   \
        X(0x259, 1484)                                                                                                 \
        X(0x300, 20)
