/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "pacmaker/pacmaker.h"
#include "usbsim/model/feature-table.h"
#include "usbsim/model/phone-ab-table.h"
#include "usbsim/model/phone-nand-table.h"
#include "usbsim/model/phone-old-table.h"
#include "usbsim/model/phone-table.h"

#define KIB 1024ull
#define MIB (1024ull * 1024)

/* Ids and lengths of the NV items of real modules. */
static const PmNvEntry nv_uis8910[] = {
        {0x191, 40},    {0x1ba, 268},  {0x1f0, 152}, {0x1f1, 104},  {0x1f2, 200},  {0x5, 8},
        {0x179, 8},     {0x186, 8},    {0x1e4, 8},   {0x2, 6020},   {0x26f, 2048}, {0x26d, 8192},
        {0x26e, 32768}, {0x259, 1484}, {0x25a, 912}, {0x25b, 2128}, {0x277, 2156}, {0x26c, 22528},
        {0x278, 10372}, {0x27a, 3856}, {0x27b, 147}, {0, 0},
};
static const PmNvEntry nv_uis8850[] = {
        {0x193, 147},  {0x1b2, 820},  {0x1b4, 48},   {0x1ac, 13504}, {0x1ab, 4},     {0x1aa, 5358}, {0x1a9, 2},
        {0x27a, 2960}, {0x1b7, 2},    {0x1b8, 2176}, {0x1b9, 376},   {0x5, 8},       {0x179, 8},    {0x186, 8},
        {0x1e4, 8},    {0x2, 6020},   {0x26f, 4096}, {0x26e, 59392}, {0x259, 1612},  {0x25a, 912},  {0x25b, 1436},
        {0x25e, 1436}, {0x25d, 912},  {0x25c, 1612}, {0x277, 2144},  {0x26c, 28672}, {0x1f0, 7400}, {0x800, 84},
        {0x801, 436},  {0x813, 2400}, {0x870, 512},  {0x871, 512},   {0x872, 72},    {0x873, 72},   {0x300, 20},
        {0x301, 256},  {0, 0},
};
static const PmNvEntry nv_phone[] = {
#define X(item, length) {item, length},
        PHONE_NV_ITEMS(X)
#undef X
                {0, 0},
};

static void module_image(PacMaker *m, const char *id, uint64_t base, uint64_t limit, uint64_t size, const char *head) {
        PmFile *f = pm_add(m, id, "CODE", base, limit);
        char name[64];

        snprintf(name, sizeof(name), "%.40s.img", id);
        pm_random(f, name, size);
        strcpy(f->head, head);
}

static void loader(PacMaker *m, const char *id, const char *type, uint32_t base, uint64_t limit, uint64_t size,
                   const char *head) {
        PmFile *f = pm_add(m, id, type, base, limit);
        char name[64];

        snprintf(name, sizeof(name), "%.40s.bin", id);
        pm_random(f, name, size);
        strcpy(f->head, head);
        f->load_address = strcmp(head, "\x27\x05\x19\x56") == 0 ? base + 64 : 0;
}

static void nv(PmFile *f, const PmNvEntry *items, uint64_t size) {
        pm_random(f, "nvitem.bin", size);
        f->data = PM_NV;
        f->nv = items;
        f->omit = 1;
}

static void erase(PacMaker *m, const char *id, uint64_t base, uint64_t size, bool selected) {
        pm_select(pm_add(m, id, "EraseFlash", base, size), selected);
}

static void uis8910(PacMaker *m) {
        static const char uimage[] = "\x27\x05\x19\x56";

        m->flash_type = m->flash_type_id = m->nand_strategy = 1;
        loader(m, "HOST_FDL", "HOST_FDL", 0x838000, 0x8000, 0x33a0, uimage);
        loader(m, "FDL2", "FDL2", 0x810000, 0x28000, 0xcbe0, uimage);
        pm_add(m, "PhaseCheck", "CODE", 0xfe000002, 0x100);
        module_image(m, "BOOTLOADER", 0x60000000, 0x10000, 0xa420, uimage);
        module_image(m, "AP", 0x60010000, 0x170000, 0x40000, uimage);
        module_image(m, "PS", 0x60560000, 0x280000, 0x80000, "");
        erase(m, "FMT_FSSYS", 0xfe000006, 0x53595346, true);
        erase(m, "FMT_FSEXT", 0xfe000006, 0x54584546, false);
        erase(m, "FLASH", 0xfe000001, 0, true);
        nv(pm_add(m, "NV", "NV", 0xfe000003, 0x20000), nv_uis8910, 0x20000);
        pm_item(m, "Calibration", UINT32_MAX, 0);
        pm_item(m, "GSM Calibration", 0x26d, 1);
        pm_item(m, "LTE Calibration", 0x26e, 0);
        pm_item(m, "IMEI", UINT32_MAX, 0);
}

static void uis8850(PacMaker *m) {
        m->nand_strategy = 1;
        loader(m, "FDL", "FDL", 0x50800000, 0x14000, 0x10b80, "SIHR");
        erase(m, "ERASE_SPL", 0x60000000, 0x20000, true);
        module_image(m, "BOOT", 0x60020000, 0x10000, 0x2a40, "SIHR");
        pm_add(m, "PhaseCheck", "CODE", 0xfe000002, 0x100);
        erase(m, "FMT_FSSYS", 0xfe000006, 0x53595346, false);
        erase(m, "FMT_FSMOD", 0xfe000006, 0x444f4d46, true);
        nv(pm_add(m, "NV", "NV", 0xfe000003, 0x28000), nv_uis8850, 0x28000);
        module_image(m, "AP", 0x60030000, 0x17e000, 0x40000, "SIHR");
        module_image(m, "APPIMG", 0x601ae000, 0x51000, 0x88c0, "SIHR");
        erase(m, "FLASH", 0xfe000001, 0, true);
        module_image(m, "SPL", 0x60000000, 0x20000, 0xf800, "SIHR");
        pm_item(m, "Calibration", UINT32_MAX, 0);
        pm_item(m, "LTE Calibration", 0x26e, 0);
        pm_item(m, "Golden_Calib", 0x26f, 0);
        pm_item(m, "IMEI", UINT32_MAX, 0);
        pm_item(m, "IMEI2", 0x179, 0);
        pm_item(m, "GPS_Aptsx", 0x1b4, 1);
        pm_item(m, "Simlock", 0x1f0, 1);
        pm_item(m, "module_def", 0x300, 1);
}

static void phone_image(PacMaker *m, const char *id, const char *type, const char *partition, uint64_t size) {
        char name[64];

        snprintf(name, sizeof(name), "%.40s.img", partition);
        pm_random(pm_add_name(m, id, type, partition, 0), name, size);
}

static void phone_files(PacMaker *m) {
        PmFile *f;

        loader(m, "FDL", "FDL", PHONE_FDL1_BASE, 0, 44 * KIB, "");
        loader(m, "FDL2", "FDL2", PHONE_FDL2_BASE, 0, 1 * MIB, "");
        pm_add_name(m, "EraseSPL", "EraseFlash2", "splloader", 0);
        f = pm_add_name(m, "NV_LTE", "NV_COMM", "l_fixnv1", 0x100000);
        nv(f, nv_phone, PHONE_NV_SIZE);
        f->backup = 1;
        f = pm_add_name(m, "ProdNV", "CODE2", "prodnv", 0xa00000);
        pm_random(f, "prodnv.img", 1 * MIB);
        f->backup = 1;
        pm_add_name(m, "PhaseCheck", "CODE2", "miscdata", 0x100000)->backup = 1;
        phone_image(m, "Modem_LTE", "CODE2", "l_modem", 2 * MIB);
        phone_image(m, "DSP_LTE", "CODE2", "l_ldsp", 1 * MIB);
        phone_image(m, "Modem_DeltaNV", "CODE2", "l_deltanv", 64 * KIB);
        phone_image(m, "Modem_WCN", "CODE2", "wcnmodem", 512 * KIB);
        phone_image(m, "GPS_GL", "CODE2", "gpsgl", 256 * KIB);
        phone_image(m, "GPS_BD", "CODE2", "gpsbd", 256 * KIB);
        phone_image(m, "BOOT", "CODE2", "boot", 4 * MIB);
        phone_image(m, "Recovery", "CODE2", "recovery", 4 * MIB);
        phone_image(m, "DTBO", "CODE2", "dtbo", 512 * KIB);
        phone_image(m, "System", "YAFFS_IMG2", "super", 8 * MIB);
        phone_image(m, "Cache", "YAFFS_IMG2", "cache", 256 * KIB);
        phone_image(m, "BootLogo", "CODE2", "logo", 512 * KIB);
        phone_image(m, "Fastboot_Logo", "CODE2", "fbootlogo", 512 * KIB);
        pm_add_name(m, "FLASH", "EraseFlash2", "l_runtimenv1", 0);
        pm_add_name(m, "EraseMisc", "EraseFlash2", "misc", 0);
        phone_image(m, "Trustos", "CODE2", "trustos", 512 * KIB);
        phone_image(m, "SML", "CODE2", "sml", 128 * KIB);
        phone_image(m, "VBMETA", "CODE2", "vbmeta", 64 * KIB);
        phone_image(m, "UBOOTLoader", "UBOOT_LOADER2", "uboot", 768 * KIB);
        phone_image(m, "SPLLoader", "BOOT_LOADER2", "splloader", 48 * KIB);
}

#define PARTITION(name, mib) partition(m, name, mib);
static void partition(PacMaker *m, const char *name, uint64_t mib) {
        char size[32];

        snprintf(size, sizeof(size), mib == 0xFFFFFFFF ? "0x%llX" : "%llu", (unsigned long long) mib);
        pm_partition(m, name, size);
}

static void phone_items(PacMaker *m) {
        pm_item(m, "Calibration", UINT32_MAX, 0);
        pm_item(m, "GSM Calibration", 0x26d, 1);
        pm_item(m, "LTE Calibration", 0x26e, 0);
        pm_item(m, "TD_Calibration", UINT32_MAX, 1);
        pm_item(m, "LTE_Calibration", UINT32_MAX, 1);
        pm_item(m, "IMEI", UINT32_MAX, 0);
        pm_item(m, "BT_Address", 0x191, 1);
}

static void erase_name(PacMaker *m, const char *id, const char *name) {
        pm_add_name(m, id, "EraseFlash2", name, 0);
}

/* What no upgrade may touch. */
static void phone_identity(PacMaker *m) {
        PmFile *f = pm_add_name(m, "ProdNV", "CODE2", "prodnv", 0xa00000);

        pm_random(f, "prodnv.img", 1 * MIB);
        f->backup = 1;
        pm_add_name(m, "PhaseCheck", "CODE2", "miscdata", 0x100000)->backup = 1;
}

static void phone_nv(PacMaker *m, const char *id, const char *type, const char *name, uint64_t read) {
        PmFile *f = pm_add_name(m, id, type, name, read);

        nv(f, nv_phone, PHONE_NV_SIZE);
        f->backup = 1;
}

/* ---- two slots, UFS: the order of a real package of that kind ---------------------------------------------- */

static void phone_ab_modem(PacMaker *m) {
        phone_image(m, "Modem_NR", "CODE2", "nr_modem_a", 3 * MIB);
        phone_image(m, "DSP_NR_HL", "CODE2", "nr_phy_a", 2 * MIB);
        phone_image(m, "DSP_NR_V3", "CODE2", "nr_v3phy_a", 512 * KIB);
        phone_image(m, "DFS", "CODE2", "pm_sys_a", 64 * KIB);
        phone_image(m, "Modem_NR_DELTANV", "CODE2", "nr_deltanv_a", 64 * KIB);
        phone_image(m, "NR_NRDSP1", "CODE2", "nr_nrdsp1_a", 1 * MIB);
        phone_image(m, "NR_AUDIO", "CODE2", "nr_audio_a", 256 * KIB);
        phone_image(m, "CH_SYS", "CODE2", "ch_sys_a", 64 * KIB);
        phone_image(m, "AUD_DSP", "CODE2", "aud_dsp_a", 256 * KIB);
        phone_image(m, "Modem_WCN", "CODE2", "wcnmodem_a", 512 * KIB);
        phone_image(m, "GNSS", "CODE2", "gnssmodem_a", 256 * KIB);
}

static void phone_ab_system(PacMaker *m) {
        phone_image(m, "BOOT", "CODE2", "boot_a", 4 * MIB);
        phone_image(m, "Vendor_boot", "CODE2", "vendor_boot_a", 4 * MIB);
        phone_image(m, "DTBO", "CODE2", "dtbo_a", 512 * KIB);
        phone_image(m, "Super", "YAFFS_IMG2", "super", 8 * MIB);
        pm_find(m, "Super")->data = PM_SPARSE;
        phone_image(m, "BootLogo", "CODE2", "logo", 512 * KIB);
        phone_image(m, "Fastboot_Logo", "CODE2", "fbootlogo", 512 * KIB);
        erase_name(m, "FLASH_NR", "nr_runtimenv1");
        erase_name(m, "EraseMisc", "misc");
        erase_name(m, "EraseSysdumpdb", "sysdumpdb");
        phone_image(m, "Trustos", "CODE2", "trustos_a", 512 * KIB);
        phone_image(m, "Teecfg", "CODE2", "teecfg_a", 64 * KIB);
        phone_image(m, "SML", "CODE2", "sml_a", 128 * KIB);
        phone_image(m, "VBMETA", "CODE2", "vbmeta_a", 64 * KIB);
        phone_image(m, "UBOOTLoader", "UBOOT_LOADER2", "uboot_a", 768 * KIB);
        phone_image(m, "Persist", "YAFFS_IMG2", "persist", 256 * KIB);
        erase_name(m, "EraseMetadata", "metadata");
}

static void phone_two_slots(PacMaker *m, uint32_t fdl1, uint32_t fdl2) {
        m->flash_type = m->flash_type_id = 1;
        loader(m, "FDL", "FDL", fdl1, 0, 60 * KIB, "");
        loader(m, "FDL2", "FDL2", fdl2, 0, 1 * MIB, "");
        erase_name(m, "EraseSPL", "splloader");
        phone_nv(m, "NV_NR", "NV_COMM_SLOT", "nr_fixnv1_a", PHONE_AB_FIXNV_SIZE);
        phone_identity(m);
        erase_name(m, "EraseUBOOTLOG", "uboot_log");
        phone_ab_modem(m);
        phone_ab_system(m);
        phone_image(m, "SPLLoaderEMMC", "BOOT_LOADER2", "splloader", 48 * KIB);
        phone_image(m, "SPLLoaderUFS", "BOOT_LOADER2", "splloader", 52 * KIB);
        pm_select(pm_add_name(m, "NV_CALI_NR", "CODE2", "calinv", 0x400000), false);
        PHONE_AB_TABLE(PARTITION)
        phone_items(m);
}

static void phone_ab(PacMaker *m) {
        phone_two_slots(m, PHONE_AB_FDL1_BASE, PHONE_AB_FDL2_BASE);
}
static void phone_lk(PacMaker *m) {
        phone_two_slots(m, PHONE_LK_FDL1_BASE, PHONE_LK_FDL2_BASE);
}

/* ---- old ---------------------------------------------------------------------------------------------------- */

static void phone_old(PacMaker *m) {
        m->flash_type = m->flash_type_id = 1;
        loader(m, "FDL", "FDL", PHONE_OLD_FDL1_BASE, 0, 36 * KIB, "");
        loader(m, "FDL2", "FDL2", PHONE_OLD_FDL2_BASE, 0, 512 * KIB, "");
        phone_nv(m, "NV_W", "NV_COMM", "fixnv1", 0x100000);
        phone_identity(m);
        pm_find(m, "ProdNV")->blocks[0].size = 0x500000;
        phone_image(m, "Modem_W", "CODE2", "modem", 2 * MIB);
        phone_image(m, "DSP_W", "CODE2", "dsp", 1 * MIB);
        phone_image(m, "Modem_WCN", "CODE2", "wcnmodem", 512 * KIB);
        phone_image(m, "BOOT", "CODE2", "boot", 3 * MIB);
        phone_image(m, "Recovery", "CODE2", "recovery", 3 * MIB);
        phone_image(m, "System", "YAFFS_IMG2", "system", 8 * MIB);
        pm_find(m, "System")->data = PM_SPARSE;
        phone_image(m, "Cache", "YAFFS_IMG2", "cache", 256 * KIB);
        phone_image(m, "BootLogo", "CODE2", "logo", 512 * KIB);
        phone_image(m, "Fastboot_Logo", "CODE2", "fbootlogo", 512 * KIB);
        erase_name(m, "FLASH", "runtimenv1");
        erase_name(m, "EraseMisc", "misc");
        phone_image(m, "SML", "CODE2", "sml", 128 * KIB);
        phone_image(m, "UBOOTLoader", "UBOOT_LOADER2", "uboot", 512 * KIB);
        phone_image(m, "SPLLoader", "BOOT_LOADER2", "splloader", 32 * KIB);
        PHONE_OLD_TABLE(PARTITION)
        phone_items(m);
}

/* ---- NAND --------------------------------------------------------------------------------------------------- */

/* UBIFS content is opaque to all but the unit's own system. */
static void ubi_image(PacMaker *m, const char *id, const char *name, uint64_t size) {
        phone_image(m, id, "YAFFS_IMG2", name, size);
        memcpy(pm_find(m, id)->head, "\x31\x18\x10\x06", 4);
}

static void phone_nand(PacMaker *m) {
        m->flash_type = m->flash_type_id = 1;
        loader(m, "FDL", "FDL", PHONE_NAND_FDL1_BASE, 0, 40 * KIB, "");
        loader(m, "NAND_FDL", "NAND_FDL", PHONE_NAND_FDL2_BASE, 0, 512 * KIB, "");
        phone_nv(m, "NV_LTE", "NV_COMM", "l_fixnv1", 0x100000);
        phone_identity(m);
        pm_find(m, "ProdNV")->blocks[0].size = 0x100000;
        phone_image(m, "Modem_LTE", "CODE2", "l_modem", 2 * MIB);
        phone_image(m, "DSP_LTE", "CODE2", "l_ldsp", 1 * MIB);
        phone_image(m, "Modem_DeltaNV", "CODE2", "l_deltanv", 64 * KIB);
        phone_image(m, "Modem_WCN", "CODE2", "wcnmodem", 512 * KIB);
        phone_image(m, "GNSS", "CODE2", "gnssmodem", 256 * KIB);
        phone_image(m, "BOOT", "CODE2", "boot", 3 * MIB);
        phone_image(m, "Recovery", "CODE2", "recovery", 3 * MIB);
        phone_image(m, "DTBO", "CODE2", "dtbo", 256 * KIB);
        ubi_image(m, "System", "system", 6 * MIB);
        ubi_image(m, "Cache", "cache", 256 * KIB);
        phone_image(m, "BootLogo", "CODE2", "logo", 512 * KIB);
        phone_image(m, "Fastboot_Logo", "CODE2", "fbootlogo", 512 * KIB);
        erase_name(m, "FLASH", "l_runtimenv1");
        erase_name(m, "EraseMisc", "misc");
        phone_image(m, "Trustos", "CODE2", "trustos", 512 * KIB);
        phone_image(m, "Teecfg", "CODE2", "teecfg", 64 * KIB);
        phone_image(m, "SML", "CODE2", "sml", 128 * KIB);
        phone_image(m, "VBMETA", "CODE2", "vbmeta", 64 * KIB);
        phone_image(m, "UBOOTLoader", "UBOOT_LOADER2", "uboot", 512 * KIB);
        phone_image(m, "SPLLoader", "BOOT_LOADER2", "splloader", 40 * KIB);
        PHONE_NAND_TABLE(PARTITION)
        phone_items(m);
}

/* ---- feature phones ------------------------------------------------------------------------------------------ */

static void feature(PacMaker *m, bool two) {
        m->nand_strategy = 1;
        if (two) {
                loader(m, "FDL", "FDL", FEATURE_FDL1_BASE, 0, 24 * KIB, "");
                loader(m, "FDL2", "FDL2", FEATURE_FDL2_BASE, 0, 48 * KIB, "");
        } else
                loader(m, "FDL", "FDL", FEATURE_FDL_BASE, 0, 32 * KIB, "");
        pm_add(m, "PhaseCheck", "CODE", 0x90000002, 0x1000);
        module_image(m, "PS", 0x80000003, 0, 1 * MIB, "");
        module_image(m, "DSP", 0x90000009, 0, 128 * KIB, "");
        module_image(m, "MMIRes", 0x90000004, 0, 512 * KIB, "");
        module_image(m, "UserImage", 0x80000004, 0, 64 * KIB, "");
        nv(pm_add(m, "NV", "NV", 0x90000001, FEATURE_NV_SIZE), nv_phone, FEATURE_NV_SIZE);
        erase(m, "FLASH", 0x90000003, 0, true);
        module_image(m, "BOOTLOADER", 0x80000000, 0, 32 * KIB, "");
        pm_item(m, "Calibration", UINT32_MAX, 0);
        pm_item(m, "GSM Calibration", 0x26d, 1);
        pm_item(m, "IMEI", UINT32_MAX, 0);
}

static void feature_two(PacMaker *m) {
        feature(m, true);
}
static void feature_one(PacMaker *m) {
        feature(m, false);
}

static void phone(PacMaker *m) {
        m->flash_type = m->flash_type_id = 1;
        phone_files(m);
        for (unsigned i = 0; i < m->n_files; i++)
                if (m->files[i].blocks[0].id[0] && strcmp(m->files[i].blocks[0].id, "splloader") == 0)
                        m->files[i].blocks[0].base = 0x80000000;
        PHONE_TABLE(PARTITION)
        phone_items(m);
}

PacMaker *pm_new_family(const char *family, uint64_t seed) {
        static const struct {
                const char *family, *product;
                void (*fill)(PacMaker *m);
        } families[] = {{"uis8910", "UIX8910_MODEM", uis8910},
                        {"uis8850", "8850_MODEM", uis8850},
                        {"phone", "SIMPHONE", phone},
                        {"phone-ab", "SIMPHONE_AB", phone_ab},
                        {"phone-lk", "SIMPHONE_LK", phone_lk},
                        {"phone-old", "SIMPHONE_OLD", phone_old},
                        {"phone-nand", "SIMPHONE_NAND", phone_nand},
                        {"feature", "SIMFEATURE", feature_two},
                        {"feature-one", "SIMFEATURE_ONE", feature_one}};

        for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
                if (strcmp(families[i].family, family) == 0) {
                        PacMaker *m = pm_new(families[i].product);
                        m->seed = seed;
                        families[i].fill(m);
                        return m;
                }
        return NULL;
}
