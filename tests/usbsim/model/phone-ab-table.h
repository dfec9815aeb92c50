/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The partition table of a new phone-ufs-ab or phone-lk unit: 61 partitions with two slots, in disk order, sizes in
 * MiB, 0xFFFFFFFF the rest of the device. splloader is not in it: it lives on the UFS boot LUNs. The images of X_a of
 * PHONE_AB_MIRROR are copied to X_b by FDL2; nr_fixnv1_a is kept in four copies. NV items are those of phone-table.h.
 */
#define PHONE_AB_TABLE(X)                                                                                              \
        X("prodnv", 10)                                                                                                \
        X("miscdata", 1)                                                                                               \
        X("misc", 1)                                                                                                   \
        X("nr_fixnv1_a", 26)                                                                                           \
        X("nr_fixnv1_b", 26)                                                                                           \
        X("nr_fixnv2_a", 26)                                                                                           \
        X("nr_fixnv2_b", 26)                                                                                           \
        X("nr_runtimenv1", 26)                                                                                         \
        X("nr_runtimenv2", 26)                                                                                         \
        X("calinv", 4)                                                                                                 \
        X("trustos_a", 6)                                                                                              \
        X("trustos_b", 6)                                                                                              \
        X("sml_a", 1)                                                                                                  \
        X("sml_b", 1)                                                                                                  \
        X("teecfg_a", 1)                                                                                               \
        X("teecfg_b", 1)                                                                                               \
        X("uboot_a", 3)                                                                                                \
        X("uboot_b", 3)                                                                                                \
        X("uboot_log", 4)                                                                                              \
        X("logo", 8)                                                                                                   \
        X("fbootlogo", 8)                                                                                              \
        X("nr_modem_a", 50)                                                                                            \
        X("nr_modem_b", 50)                                                                                            \
        X("nr_phy_a", 35)                                                                                              \
        X("nr_phy_b", 35)                                                                                              \
        X("nr_v3phy_a", 10)                                                                                            \
        X("nr_v3phy_b", 10)                                                                                            \
        X("nr_deltanv_a", 1)                                                                                           \
        X("nr_deltanv_b", 1)                                                                                           \
        X("nr_nrdsp1_a", 20)                                                                                           \
        X("nr_nrdsp1_b", 20)                                                                                           \
        X("nr_audio_a", 5)                                                                                             \
        X("nr_audio_b", 5)                                                                                             \
        X("pm_sys_a", 1)                                                                                               \
        X("pm_sys_b", 1)                                                                                               \
        X("ch_sys_a", 1)                                                                                               \
        X("ch_sys_b", 1)                                                                                               \
        X("aud_dsp_a", 4)                                                                                              \
        X("aud_dsp_b", 4)                                                                                              \
        X("wcnmodem_a", 16)                                                                                            \
        X("wcnmodem_b", 16)                                                                                            \
        X("gnssmodem_a", 2)                                                                                            \
        X("gnssmodem_b", 2)                                                                                            \
        X("boot_a", 64)                                                                                                \
        X("boot_b", 64)                                                                                                \
        X("vendor_boot_a", 100)                                                                                        \
        X("vendor_boot_b", 100)                                                                                        \
        X("dtbo_a", 8)                                                                                                 \
        X("dtbo_b", 8)                                                                                                 \
        X("vbmeta_a", 1)                                                                                               \
        X("vbmeta_b", 1)                                                                                               \
        X("vbmeta_system_a", 1)                                                                                        \
        X("vbmeta_system_b", 1)                                                                                        \
        X("vbmeta_vendor_a", 1)                                                                                        \
        X("vbmeta_vendor_b", 1)                                                                                        \
        X("super", 8192)                                                                                               \
        X("sysdumpdb", 10)                                                                                             \
        X("common_rs1", 8)                                                                                             \
        X("persist", 2)                                                                                                \
        X("metadata", 64)                                                                                              \
        X("userdata", 0xFFFFFFFF)

#define PHONE_AB_MIRROR(X) X("uboot") X("trustos") X("teecfg") X("sml") X("vbmeta")

#define PHONE_AB_FDL1_BASE 0x65000800
#define PHONE_AB_FDL2_BASE 0xB4FFFE00
#define PHONE_LK_FDL1_BASE 0x65000800
#define PHONE_LK_FDL2_BASE 0xBEFFFE00
/* Longest NV image that FDL2 takes (FIXNV_SIZE). */
#define PHONE_AB_FIXNV_SIZE 0x1900000
#define PHONE_AB_SECTOR 4096
