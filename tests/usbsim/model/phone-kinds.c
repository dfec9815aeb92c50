/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "phone-ab-table.h"
#include "phone-old-table.h"
#include "phone-table.h"
#include "phone.h"

/* The phone families with a partition table, as data. */

#define X(name, mib) {name, mib},
static const PhonePreset emmc_table[] = {PHONE_TABLE(X)};
static const PhonePreset old_table[] = {PHONE_OLD_TABLE(X)};
static const PhonePreset ab_table[] = {PHONE_AB_TABLE(X)};
#undef X

static const PhoneImage emmc_images[] = {
        {"prodnv", 65536, NULL},      {"miscdata", 65536, NULL},       {"misc", 4096, NULL},
        {"trustos", 131072, "DHTB"},  {"trustos_bak", 131072, "DHTB"}, {"sml", 65536, "DHTB"},
        {"sml_bak", 65536, "DHTB"},   {"uboot", 262144, "DHTB"},       {"uboot_bak", 262144, "DHTB"},
        {"vbmeta", 4096, "DHTB"},     {"vbmeta_bak", 4096, "DHTB"},    {"logo", 65536, NULL},
        {"fbootlogo", 65536, NULL},   {"l_ldsp", 131072, "DHTB"},      {"l_modem", 131072, "DHTB"},
        {"l_deltanv", 16384, NULL},   {"gpsgl", 65536, NULL},          {"gpsbd", 65536, NULL},
        {"wcnmodem", 131072, NULL},   {"persist", 65536, NULL},        {"boot", 262144, "DHTB"},
        {"recovery", 262144, "DHTB"}, {"dtbo", 65536, "DHTB"},         {"super", 131072, NULL},
        {"cache", 65536, NULL},       {"userdata", 131072, NULL},
};

static const PhoneImage ab_images[] = {
        {"prodnv", 65536, NULL},           {"miscdata", 65536, NULL},      {"misc", 4096, NULL},
        {"calinv", 65536, NULL},           {"trustos_a", 131072, "DHTB"},  {"trustos_b", 131072, "DHTB"},
        {"sml_a", 65536, "DHTB"},          {"sml_b", 65536, "DHTB"},       {"teecfg_a", 65536, "DHTB"},
        {"teecfg_b", 65536, "DHTB"},       {"uboot_a", 262144, "DHTB"},    {"uboot_b", 262144, "DHTB"},
        {"uboot_log", 65536, NULL},        {"logo", 65536, NULL},          {"fbootlogo", 65536, NULL},
        {"nr_modem_a", 131072, "DHTB"},    {"nr_modem_b", 131072, "DHTB"}, {"nr_phy_a", 131072, NULL},
        {"nr_deltanv_a", 16384, NULL},     {"wcnmodem_a", 131072, NULL},   {"gnssmodem_a", 65536, NULL},
        {"boot_a", 262144, "DHTB"},        {"boot_b", 262144, "DHTB"},     {"vendor_boot_a", 262144, "DHTB"},
        {"vendor_boot_b", 262144, "DHTB"}, {"dtbo_a", 65536, "DHTB"},      {"dtbo_b", 65536, "DHTB"},
        {"vbmeta_a", 4096, "DHTB"},        {"vbmeta_b", 4096, "DHTB"},     {"vbmeta_system_a", 4096, "DHTB"},
        {"vbmeta_vendor_a", 4096, "DHTB"}, {"super", 131072, NULL},        {"sysdumpdb", 65536, NULL},
        {"persist", 65536, NULL},          {"metadata", 65536, NULL},      {"userdata", 131072, NULL},
};

#define PARTS(what)                                                                                                    \
        .table = what##_table, .n_table = COUNT(what##_table), .images = what##_images, .n_images = COUNT(what##_images)

static const PhoneImage old_images[] = {
        {"prodnv", 65536, NULL},    {"miscdata", 65536, NULL},  {"misc", 4096, NULL},     {"modem", 131072, NULL},
        {"dsp", 65536, NULL},       {"wcnmodem", 65536, NULL},  {"sml", 65536, NULL},     {"sml_bak", 65536, NULL},
        {"logo", 65536, NULL},      {"fbootlogo", 65536, NULL}, {"persist", 65536, NULL}, {"boot", 262144, NULL},
        {"recovery", 262144, NULL}, {"system", 131072, NULL},   {"cache", 65536, NULL},   {"userdata", 131072, NULL},
        {"uboot", 262144, NULL},
};

static const PhoneKind emmc = {PARTS(emmc), .fixnv = "l_fixnv1", .runtimenv = "l_runtimenv1"};
static const PhoneKind ufs_ab = {PARTS(ab), .fixnv = "nr_fixnv1_a", .runtimenv = "nr_runtimenv1", .slots = true,
                                 .dwc3 = true};

static const PhoneKind lk = {PARTS(ab),     .fixnv = "nr_fixnv1_a", .runtimenv = "nr_runtimenv1",
                             .slots = true, .dwc3 = true,           .lk = true};
static const PhoneKind old = {PARTS(old), .fixnv = "fixnv1", .runtimenv = "runtimenv1", .uboot_in_boot2 = true,
                              .old = true};

static const SimPreset lk_presets[] = {
        {OPT_INFO, "tlv"},
        {OPT_STORAGE, "ufs"},
        {OPT_SECTOR, "4096"},
        {OPT_SIZE, "32768M"},
        {OPT_FDL1_BASE, "0x65000800"},
        {OPT_FDL2_BASE, "0xBEFFFE00"},
        {OPT_FIXNV, "0x1900000"},
        {0, NULL},
};
static const SimPreset old_presets[] = {
        {OPT_INFO, "ack"}, {OPT_HDLC, "always"}, {OPT_FDL1_BASE, "0x50000000"}, {OPT_FDL2_BASE, "0x9F000000"},
        {0, NULL},
};
static const SimPreset ufs_ab_presets[] = {
        {OPT_INFO, "tlv"},
        {OPT_RAW, "1"},
        {OPT_STORAGE, "ufs"},
        {OPT_SECTOR, "4096"},
        {OPT_SIZE, "32768M"},
        {OPT_FDL1_BASE, "0x65000800"},
        {OPT_FDL2_BASE, "0xB4FFFE00"},
        {OPT_FIXNV, "0x1900000"},
        {0, NULL},
};

const SimFamily sim_phone_emmc = {
        .name = "phone-emmc",
        .about = "phone with eMMC: boot ROM, FDL1, FDL2 (U-Boot); names address partitions",
        .letters = "PE",
        .phone = &emmc,
        .stage = {[STAGE_BROM] = &traits_rom, [STAGE_FDL1] = &traits_fdl1, [STAGE_FDL2] = &traits_fdl2},
        PHONE_FAMILY,
};

const SimFamily sim_phone_ufs_ab = {
        .name = "phone-ufs-ab",
        .about = "phone with UFS and two slots, virtual A/B: 61 partitions, sectors of 4096, raw data",
        .letters = "PES",
        .presets = ufs_ab_presets,
        .phone = &ufs_ab,
        .stage = {[STAGE_BROM] = &traits_rom, [STAGE_FDL1] = &traits_fdl1_dwc3, [STAGE_FDL2] = &traits_fdl2},
        PHONE_FAMILY,
};

const SimFamily sim_phone_lk = {
        .name = "phone-lk",
        .about = "phone as phone-ufs-ab whose FDL2 is made from LK: replies D0 to D3, NV of the active slot by a mark "
                 "in the name",
        .letters = "PESL",
        .presets = lk_presets,
        .phone = &lk,
        .stage = {[STAGE_BROM] = &traits_rom, [STAGE_FDL1] = &traits_fdl1_dwc3, [STAGE_FDL2] = &traits_fdl2},
        PHONE_FAMILY,
};

const SimFamily sim_phone_old = {
        .name = "phone-old",
        .about = "phone of 2014: FDL2 answers EXEC with ACK, escapes always, has no READ_PARTITION, knows sizes of 32 "
                 "bits only",
        .letters = "PE",
        .presets = old_presets,
        .phone = &old,
        .stage = {[STAGE_BROM] = &traits_rom, [STAGE_FDL1] = &traits_fdl1, [STAGE_FDL2] = &traits_fdl2},
        PHONE_FAMILY,
};
