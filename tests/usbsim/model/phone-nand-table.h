/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The UBI volumes of a new phone-nand unit, sizes in MiB, 0xFFFFFFFF what is left of the UBI partition. splloader and
 * uboot are not volumes but MTD partitions of their own. NV items are those of phone-table.h. */
#define PHONE_NAND_TABLE(X)                                                                                            \
        X("prodnv", 8)                                                                                                 \
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
        X("teecfg", 1)                                                                                                 \
        X("teecfg_bak", 1)                                                                                             \
        X("vbmeta", 1)                                                                                                 \
        X("vbmeta_bak", 1)                                                                                             \
        X("logo", 2)                                                                                                   \
        X("fbootlogo", 2)                                                                                              \
        X("l_ldsp", 12)                                                                                                \
        X("l_modem", 16)                                                                                               \
        X("l_deltanv", 1)                                                                                              \
        X("wcnmodem", 6)                                                                                               \
        X("gnssmodem", 2)                                                                                              \
        X("boot", 24)                                                                                                  \
        X("recovery", 24)                                                                                              \
        X("dtbo", 2)                                                                                                   \
        X("system", 220)                                                                                               \
        X("cache", 10)                                                                                                 \
        X("userdata", 0xFFFFFFFF)

#define PHONE_NAND_FDL1_BASE 0x6200
#define PHONE_NAND_FDL2_BASE 0x80100000
/* What READ_FLASH_INFO says unless options change it. */
#define PHONE_NAND_BLOCK 0x20000
#define PHONE_NAND_PAGE 0x800
#define PHONE_NAND_SPL_SIZE 0x80000
#define PHONE_NAND_UBOOT_SIZE 0x200000
