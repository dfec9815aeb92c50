/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "firmware/crc16.h"
#include "firmware/pac.h"
#include "pacmaker/pacmaker.h"
#include "scratch.h"

/* ---- helpers -------------------------------------------------------------------------------------------- */

typedef void (*Change)(PacMaker *m);

static int parse_memory(const uint8_t *data, size_t size, Pac **ret, Failure *f) {
        /* A copy of exact size, so that the sanitizer sees every step too far. */
        uint8_t *copy = calloc(1, size ? size : 1);
        PacReader reader = pac_reader_for_memory(copy, size);
        uint8_t digest[32];
        int r;

        memcpy(copy, data, size);
        *f = FAILURE_INIT;
        *ret = NULL;
        r = pac_parse(&reader, ret, f);
        if (r == 0)
                r = pac_verify(&reader, *ret, digest, f);
        free(copy);
        return r;
}

/* Builds and parses; the maker is consumed. */
static int try_package(PacMaker *m, Pac **ret, Failure *f) {
        uint8_t *data;
        size_t size;
        int r;

        ck_assert_int_eq(pm_build(m, &data, &size), 0);
        r = parse_memory(data, size, ret, f);
        free(data);
        pm_free(m);
        return r;
}

static Pac *accepted(PacMaker *m) {
        Failure f;
        Pac *pac;
        int r = try_package(m, &pac, &f);

        ck_assert_msg(r == 0, "refused: %s: %s", f.detail, f.text);
        return pac;
}

static char last_text[256]; /* of the last refusal */

/* Refused with class plan, this detail, and a text that says where and why. */
static void refused(PacMaker *m, const char *detail) {
        Failure f;
        Pac *pac;
        int r = try_package(m, &pac, &f);

        ck_assert_msg(r == 1, "expected a refusal (%s), got %d", detail, r);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_msg(streq(f.detail, detail), "expected %s, got %s: %s", detail, f.detail, f.text);
        ck_assert_msg(strstr(f.text, " at offset ") && strstr(f.text, ": "), "text names no place: %s", f.text);
        strcpy(last_text, f.text);
        pac_free(pac);
}

static void refused_after(Change change, const char *detail) {
        PacMaker *m = pm_new_family("uis8850", 7);

        change(m);
        refused(m, detail);
}

/* A package whose header or table is changed at one place before the checksums are made. */
typedef struct Poke {
        bool table;
        unsigned entry;
        size_t offset, size;
        uint32_t value;
        const uint8_t *bytes;
} Poke;

static void poke(PacMaker *m _unused_, uint8_t *header, uint8_t *table, unsigned n _unused_, void *userdata) {
        const Poke *p = userdata;
        uint8_t *at = (p->table ? table + (size_t) 2580 * p->entry : header) + p->offset;

        if (p->bytes)
                memcpy(at, p->bytes, p->size);
        else
                for (size_t i = 0; i < p->size; i++)
                        at[i] = (uint8_t) (p->value >> 8 * i);
}

static void poked(const char *family, Poke p, const char *detail) {
        PacMaker *m = pm_new_family(family, 7);

        m->change_table = poke;
        m->userdata = &p;
        refused(m, detail);
}

#define HEADER32(at, v) ((Poke){.offset = (at), .size = 4, .value = (v)})
#define ENTRY32(i, at, v) ((Poke){.table = true, .entry = (i), .offset = (at), .size = 4, .value = (v)})

static const char *xml_from, *xml_to;
static void edit(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        size_t before = *size;

        pm_replace(xml, size, xml_from, xml_to);
        ck_assert_msg(*size != before || strlen(xml_from) == strlen(xml_to), "nothing to replace: %s", xml_from);
}

static PacMaker *edited_family(const char *family, const char *from, const char *to) {
        PacMaker *m = pm_new_family(family, 7);

        xml_from = from;
        xml_to = to;
        m->change_xml = edit;
        return m;
}

static void edited(const char *from, const char *to, const char *detail) {
        refused(edited_family("uis8850", from, to), detail);
}

static bool warns(const Pac *pac, const char *words) {
        for (size_t i = 0; i < pac->n_warnings; i++)
                if (strstr(pac->warnings[i], words))
                        return true;
        return false;
}

static void warned(PacMaker *m, const char *words) {
        Pac *pac = accepted(m);

        ck_assert_msg(warns(pac, words), "no warning about \"%s\" (%zu others, first: %s)", words, pac->n_warnings,
                      pac->n_warnings ? pac->warnings[0] : "");
        pac_free(pac);
}

/* ---- the format ----------------------------------------------------------------------------------------- */

static void vector_xml(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        free(*xml);
        *xml = strdup("<BMAConfig/>");
        *size = strlen(*xml);
}

START_TEST(test_vector) {
        PacMaker *m = pm_new("demo");
        uint8_t *data, a[16], b[32];
        size_t size;

        memset(a, 'A', sizeof(a));
        memset(b, 'B', sizeof(b));
        m->flash_type = 1;
        pm_bytes(pm_add(m, "FDL", "FDL", 0x5500, 0), "fdl1.bin", a, sizeof(a));
        pm_bytes(pm_add(m, "FDL2", "FDL2", 0x9efffe00, 0), "fdl2.bin", b, sizeof(b));
        pm_add(m, "FLASH", "EraseFlash2", 0, 0);
        m->change_xml = vector_xml;
        pm_build(m, &data, &size);
        ck_assert_uint_eq(size, 12504);
        ck_assert_uint_eq(get_le16(data + 2120), 0x41a3);
        ck_assert_uint_eq(get_le16(data + 2122), 0xd590);
        ck_assert_uint_eq(crc16_arc(0, data, 2120), 0x41a3);
        ck_assert_uint_eq(crc16_arc(0, data + 2124, size - 2124), 0xd590);
        ck_assert_uint_eq(crc16_arc(0, "123456789", 9), 0xbb3d);
        free(data);
        pm_free(m);
}
END_TEST

START_TEST(test_crc_of_holes) {
        static const uint8_t zeros[100000];

        ck_assert_uint_eq(pm_crc_zeros(0x1234, sizeof(zeros)), crc16_arc(0x1234, zeros, sizeof(zeros)));
        ck_assert_uint_eq(pm_crc_zeros(0x1234, 0), 0x1234);
}
END_TEST

/* Any length and any alignment; the maker has a checksum of its own. */
START_TEST(test_crc_lengths) {
        uint8_t data[300];

        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t) (i * 151 + (i >> 3));
        for (size_t from = 0; from < 9; from++)
                for (size_t n = 0; n + from <= sizeof(data); n++)
                        ck_assert_uint_eq(crc16_arc(0x8001, data + from, n), pm_crc(0x8001, data + from, n));
        for (uint64_t n = 0; n < 70; n++)
                ck_assert_uint_eq(crc16_arc_zeros(0xbeef, n), pm_crc_zeros(0xbeef, n));
        ck_assert_uint_eq(crc16_arc_zeros(0xbeef, 0x123456789), pm_crc_zeros(0xbeef, 0x123456789));
}
END_TEST

/* Holes that are not read must give the same digests as holes that are. */
START_TEST(test_holes) {
        char path[160];

        scratch_template(path, sizeof(path), "fdld-pac");
        _cleanup_close_ int fd = mkstemp(path);
        PacMaker *m = pm_new_family("phone", 3);
        uint8_t digest[2][32], system[2][32];
        struct stat st;

        unlink(path);
        pm_find(m, "System")->size = 150ull << 20;
        ck_assert_int_eq(pm_write(m, fd), 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        for (int i = 0; i < 2; i++) {
                PacReader reader = pac_reader_for_fd(&fd, (uint64_t) st.st_size);
                Failure f = FAILURE_INIT;
                Pac *pac = NULL;

                if (i == 1)
                        reader.next_data = NULL;
                ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
                ck_assert_msg(pac_verify(&reader, pac, digest[i], &f) == 0, "%s", f.text);
                memcpy(system[i], pac_find_file(pac, "System")->sha256, 32);
                pac_free(pac);
        }
        ck_assert_mem_eq(digest[0], digest[1], 32);
        ck_assert_mem_eq(system[0], system[1], 32);
        pm_free(m);
}
END_TEST

typedef struct Expected {
        const char *id, *type, *name;
        uint64_t base, argument, size, offset;
        bool selected, can_omit;
        uint32_t flag, check_flag;
} Expected;

typedef struct RealPackage {
        const char *file, *family, *product, *product_version, *alias;
        uint64_t size;
        uint16_t crc1, crc2;
        uint32_t flash_type, nv_backup;
        bool nv_enabled;
        size_t n_items;
        Expected files[16];
} RealPackage;

#define FDL8850(at)                                                                                                    \
        { "FDL", "FDL", "norfdl.sign.img", 0x50800000, 0x14000, 0x10b80, at, true, false, 1, 1 }
static const RealPackage real_packages[] = {
        {"uis8910_full.pac",
         "uis8910",
         "UIX8910_MODEM",
         "8910 MODULE",
         "8915DM_cat1_CSDK",
         4193236,
         0xe104,
         0x9b32,
         1,
         1,
         true,
         4,
         {
                 {"HOST_FDL", "HOST_FDL", "fdl1.img", 0x838000, 0x8000, 0x33a0, 0x813c, true, false, 1, 1},
                 {"FDL2", "FDL2", "fdl2.img", 0x810000, 0x28000, 0xcbe0, 0xb4dc, true, false, 1, 1},
                 {"PhaseCheck", "CODE", "", 0xfe000002, 0x100, 0, 0, true, true, 0, 0},
                 {"BOOTLOADER", "CODE", "boot.img", 0x60000000, 0x10000, 0xa420, 0x180bc, true, false, 1, 0},
                 {"AP", "CODE", "8915DM_cat1_CSDK.img", 0x60010000, 0x170000, 0x13c6c0, 0x224dc, true, false, 1, 0},
                 {"PS", "CODE", "cat1_UIS8915DM_BB_RF_SS_NoVolte_cus.img", 0x60560000, 0x280000, 0x280000, 0x15eb9c,
                  true, false, 1, 0},
                 {"FMT_FSSYS", "EraseFlash", "", 0xfe000006, 0x53595346, 0, 0, true, true, 0, 0},
                 {"FMT_FSEXT", "EraseFlash", "", 0xfe000006, 0x54584546, 0, 0, false, true, 0, 0},
                 {"FLASH", "EraseFlash", "", 0xfe000001, 0, 0, 0, true, true, 0, 0},
                 {"NV", "NV", "cat1_UIS8915DM_BB_RF_SS_NoVolte_cus_nvitem.bin", 0xfe000003, 0x20000, 0x20000, 0x3deb9c,
                  true, true, 1, 0},
                 {"PREPACK", "CODE", "cat1_UIS8915DM_BB_RF_SS_NoVolte_cus_prepack.cpio", 0xfe000004, 0, 0x6a, 0x3feb9c,
                  true, false, 1, 0},
         }},
        {"uis8850_full.pac",
         "uis8850",
         "8850_MODEM",
         "8850 MODULE",
         "8850XM_cat1_open",
         2801222,
         0x1bd9,
         0xacab,
         0,
         1,
         true,
         8,
         {
                 FDL8850(0x9f78),
                 {"ERASE_SPL", "EraseFlash", "", 0x60000000, 0x20000, 0, 0, true, true, 0, 0},
                 {"BOOT", "CODE", "boot.sign.img", 0x60020000, 0x10000, 0x2a40, 0x1aaf8, true, false, 1, 0},
                 {"PhaseCheck", "CODE", "", 0xfe000002, 0x100, 0, 0, true, true, 0, 0},
                 {"FMT_FSSYS", "EraseFlash", "", 0xfe000006, 0x53595346, 0, 0, false, true, 0, 0},
                 {"FMT_FSMOD", "EraseFlash", "", 0xfe000006, 0x444f4d46, 0, 0, true, true, 0, 0},
                 {"FMT_FSEXT", "EraseFlash", "", 0xfe000006, 0x54584546, 0, 0, false, true, 0, 0},
                 {"NV", "NV", "8850XM_cat1bis_ds_ab_nvitem.bin", 0xfe000003, 0x28000, 0x28000, 0x1d538, true, true, 1,
                  0},
                 {"AP", "CODE", "8850XM_cat1_open.sign.img", 0x60030000, 0x17e000, 0x145940, 0x45538, true, false, 1,
                  0},
                 {"APPIMG", "CODE", "SLOGGERS6V001_APP.sign.img", 0x601ae000, 0x51000, 0x88c0, 0x18ae78, true, false, 1,
                  0},
                 {"CP", "CODE", "8850XM_cat1bis_ds_ab_modem.cpio", 0xfe000004, 0, 0x104fc0, 0x193738, true, false, 1,
                  0},
                 {"INDELTANV", "CODE", "8850XM_cat1bis_ds_ab_indeltanv.cpio", 0xfe000004, 0, 0x2b48, 0x2986f8, true,
                  false, 1, 0},
                 {"FLASH", "EraseFlash", "", 0xfe000001, 0, 0, 0, true, true, 0, 0},
                 {"SPL", "CODE", "spl.sign.img", 0x60000000, 0x20000, 0xf800, 0x29b240, true, false, 1, 0},
         }},
        {"uis8850_app_only.pac",
         "uis8850",
         "8850_MODEM",
         "8850 MODULE",
         "8850XM_cat1_open",
         114367,
         0x906c,
         0x9ff2,
         0,
         0,
         false,
         0,
         {
                 FDL8850(0x2688),
                 {"APPIMG", "CODE", "SLOGGERS6V001_APP.sign.img", 0x601ae000, 0x51000, 0x88c0, 0x13208, true, false, 1,
                  0},
         }},
        {"uis8850_erase_only.pac",
         "uis8850",
         "8850_MODEM",
         "8850 MODULE",
         "8850XM_cat1_open",
         79382,
         0x1a32,
         0xea12,
         0,
         0,
         false,
         0,
         {
                 FDL8850(0x2688),
                 {"ERASE_APPIMG", "EraseFlash", "", 0x601ae000, 0x51000, 0, 0, true, true, 0, 0},
         }},
};

static void check_file(const PacFile *file, const Expected *e, int fd) {
        uint8_t digest[32], *data = malloc(e->size + 1);

        ck_assert_str_eq(file->id, e->id);
        ck_assert_str_eq(file->alias, e->id);
        ck_assert_str_eq(file->type, e->type);
        ck_assert_str_eq(file->file_name, e->name);
        ck_assert_uint_eq(file->n_blocks, 1);
        ck_assert_str_eq(file->blocks[0].name, "");
        ck_assert_uint_eq(file->blocks[0].base, e->base);
        ck_assert_uint_eq(file->blocks[0].size, e->argument);
        ck_assert_uint_eq(file->size, e->size);
        ck_assert(file->has_data == (e->size > 0));
        ck_assert(file->selected == e->selected);
        ck_assert(file->can_omit == e->can_omit);
        ck_assert_uint_eq(file->flag, e->flag);
        ck_assert_uint_eq(file->check_flag, e->check_flag);
        ck_assert_int_eq(file->backup, -1);
        if (e->size > 0) {
                ck_assert_uint_eq(file->offset, e->offset);
                ck_assert_int_eq(pread(fd, data, e->size, (off_t) e->offset), (ssize_t) e->size);
                EVP_Digest(data, e->size, digest, NULL, EVP_sha256(), NULL);
                ck_assert_mem_eq(digest, file->sha256, 32);
        }
        free(data);
}

static void check_real(const RealPackage *x, const Pac *pac, int fd) {
        size_t n = 0;

        while (n < ELEMENTSOF(x->files) && x->files[n].id)
                n++;
        ck_assert_str_eq(pac->version, "BP_R1.0.0");
        ck_assert_str_eq(pac->product, x->product);
        ck_assert_str_eq(pac->product_version, x->product_version);
        ck_assert_str_eq(pac->alias, x->alias);
        ck_assert_str_eq(pac->scheme, x->product);
        ck_assert_str_eq(pac_family(pac), x->family);
        ck_assert_uint_eq(pac->size, x->size);
        ck_assert_uint_eq(pac->crc1, x->crc1);
        ck_assert_uint_eq(pac->crc2, x->crc2);
        ck_assert_uint_eq(pac->mode, 0);
        ck_assert_uint_eq(pac->flash_type, x->flash_type);
        ck_assert_uint_eq(pac->flash_type_id, x->flash_type);
        ck_assert_uint_eq(pac->nand_strategy, 1);
        ck_assert_uint_eq(pac->nv_backup, x->nv_backup);
        ck_assert(pac->nv_backup_enabled == x->nv_enabled);
        ck_assert(pac->reboot_by_at);
        ck_assert(!pac->second_enumeration);
        ck_assert_uint_eq(pac->n_nv_items, x->n_items);
        ck_assert_uint_eq(pac->n_partitions, 0);
        ck_assert_msg(pac->n_warnings == 0, "warning: %s", pac->n_warnings ? pac->warnings[0] : "");
        ck_assert_uint_eq(pac->n_files, n);
        for (size_t i = 0; i < n; i++)
                check_file(pac->files + i, x->files + i, fd);
}

START_TEST(test_real) {
        const RealPackage *x = real_packages + _i;
        const char *dir = getenv("FDLD_TEST_PACS");
        _cleanup_(pac_freep) Pac *pac = NULL;
        _cleanup_close_ int fd = -1;
        uint8_t digest[32];
        char path[4096];
        struct stat st;
        PacReader reader;
        Failure f = FAILURE_INIT;

        if (!dir) {
                fprintf(stderr, "SKIP %s: FDLD_TEST_PACS is not set\n", x->file);
                return;
        }
        snprintf(path, sizeof(path), "%s/%s", dir, x->file);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
        ck_assert_int_eq(fstat(fd, &st), 0);
        reader = pac_reader_for_fd(&fd, (uint64_t) st.st_size);
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        ck_assert_msg(pac_verify(&reader, pac, digest, &f) == 0, "%s", f.text);
        check_real(x, pac, fd);
}
END_TEST

START_TEST(test_nv_items) {
        Pac *pac = accepted(pm_new_family("uis8850", 7));
        static const struct {
                const char *name;
                uint32_t id;
                bool keep_going;
        } items[] = {
                {"Calibration", UINT32_MAX, false}, {"LTE Calibration", 0x26e, false}, {"Golden_Calib", 0x26f, false},
                {"IMEI", UINT32_MAX, false},        {"IMEI2", 0x179, false},           {"GPS_Aptsx", 0x1b4, true},
                {"Simlock", 0x1f0, true},           {"module_def", 0x300, true}};

        ck_assert_uint_eq(pac->n_nv_items, ELEMENTSOF(items));
        for (size_t i = 0; i < ELEMENTSOF(items); i++) {
                ck_assert_str_eq(pac->nv_items[i].name, items[i].name);
                ck_assert_uint_eq(pac->nv_items[i].id, items[i].id);
                ck_assert(pac->nv_items[i].backup && pac->nv_items[i].use);
                ck_assert(pac->nv_items[i].keep_going == items[i].keep_going);
        }
        pac_free(pac);
}
END_TEST

START_TEST(test_families) {
        static const char *const families[] = {"uis8910", "uis8850", "phone"};

        for (size_t i = 0; i < ELEMENTSOF(families); i++)
                for (int version = 1; version <= 2; version++) {
                        PacMaker *m = pm_new_family(families[i], 3);
                        Pac *pac;

                        m->version = version;
                        pac = accepted(m);
                        ck_assert_str_eq(pac_family(pac), families[i]);
                        ck_assert_str_eq(pac->version, version == 2 ? "BP_R2.0.1" : "BP_R1.0.0");
                        ck_assert_msg(pac->n_warnings == 0, "%s: %s", families[i],
                                      pac->n_warnings ? pac->warnings[0] : "");
                        pac_free(pac);
                }
}
END_TEST

/* Order of work is the configuration's, whatever the table's is. */
START_TEST(test_table_order) {
        PacMaker *m = pm_new_family("phone", 3);
        Pac *pac;

        m->reverse_table = true;
        pac = accepted(m);
        ck_assert_str_eq(pac->files[0].id, "FDL");
        ck_assert_str_eq(pac->files[1].id, "FDL2");
        ck_assert_uint_gt(pac->files[0].offset, pac->files[1].offset);
        ck_assert_uint_eq(pac->n_partitions, 30);
        ck_assert_str_eq(pac->partitions[29].name, "userdata");
        ck_assert_uint_eq(pac->partitions[29].size, U64_UNKNOWN);
        ck_assert_int_eq(pac->partition_unit, -1);
        pac_free(pac);
}
END_TEST

START_TEST(test_above_4_gib) {
        char path[160];

        scratch_template(path, sizeof(path), "fdld-pac");
        _cleanup_close_ int fd = mkstemp(path);
        PacMaker *m = pm_new_family("phone", 3);
        const PacFile *big, *next;
        struct stat st;
        PacReader reader;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;

        unlink(path);
        m->n_partitions = 0;
        pm_find(m, "System")->size = 5ull << 30;
        ck_assert_int_eq(pm_write(m, fd), 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_int_gt(st.st_size, 5ll << 30);
        ck_assert_int_lt(st.st_blocks * 512ll, 200ll << 20);
        reader = pac_reader_for_fd(&fd, (uint64_t) st.st_size);
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        ck_assert_str_eq(pac->version, "BP_R2.0.1");
        ck_assert_uint_eq(pac->size, (uint64_t) st.st_size);
        big = pac_find_file(pac, "system");
        next = pac_find_file(pac, "Cache");
        ck_assert_uint_eq(big->size, 5ull << 30);
        ck_assert_uint_eq(next->offset, big->offset + big->size);
        ck_assert_uint_gt(next->offset, UINT32_MAX);
        pac_free(pac);
        pm_free(m);
}
END_TEST

START_TEST(test_second_enumeration) {
        PacMaker *m = pm_new_family("phone", 3);
        Pac *pac;

        strcpy(pm_find(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
        pac = accepted(m);
        ck_assert(pac->second_enumeration);
        pac_free(pac);
}
END_TEST

/* ---- malformed: points 1 to 7 ----------------------------------------------------------------------------- */

START_TEST(test_point_1_short) {
        PacMaker *m = pm_new_family("uis8850", 7);
        size_t size;
        uint8_t *data;

        pm_build(m, &data, &size);
        for (size_t cut = 0; cut < size; cut = cut < 5000 ? cut + 211 : cut * 3 / 2) {
                Failure f;
                Pac *pac;

                ck_assert_int_eq(parse_memory(data, cut, &pac, &f), 1);
                ck_assert_str_eq(f.detail, "size");
                ck_assert_int_eq(f.class, CLASS_PLAN);
        }
        free(data);
        pm_free(m);
}
END_TEST

START_TEST(test_point_1) {
        poked("uis8850", HEADER32(48, 5), "size");
        poked("uis8850", HEADER32(44, 1), "size");
        poked("uis8850", (Poke){.offset = 0, .size = 2, .value = 'X'}, "version");
        poked("uis8850", HEADER32(1076, 0), "count");
        poked("uis8850", HEADER32(1076, UINT32_MAX), "count");
        poked("uis8850", HEADER32(1076, 0x80000001), "count");
        poked("uis8850", HEADER32(1076, 100000), "count");
        poked("uis8850", HEADER32(1076, 500), "table");
        poked("uis8850", HEADER32(1080, 2125), "table");
        poked("uis8850", HEADER32(1080, 0), "table");
        poked("uis8850", ENTRY32(2, 1532, 1), "high-words");
        poked("uis8850", ENTRY32(2, 1536, 1), "high-words");
        poked("uis8850", ENTRY32(2, 1560, 6), "addresses");
}
END_TEST

START_TEST(test_point_2) {
        poked("uis8850", ENTRY32(1, 0, 2579), "struct-size");
        poked("uis8850", ENTRY32(1, 0, 0), "struct-size");
}
END_TEST

static void version_2(PacMaker *m) {
        m->version = 2;
}

START_TEST(test_point_3) {
        PacMaker *m = pm_new_family("uis8850", 7);
        Poke wide = ENTRY32(2, 1532, UINT32_MAX);
        uint8_t *data;
        size_t size;
        uint32_t offset;

        pm_build(m, &data, &size);
        offset = get_le32(data + 2124 + 2 * 2580 + 1552);
        free(data);
        pm_free(m);
        poked("uis8850", ENTRY32(2, 1540, 0x7fffffff), "range");
        poked("uis8850", ENTRY32(2, 1552, 0xfffffff0), "range");
        poked("uis8850", ENTRY32(2, 1552, 2124), "overlap");
        poked("uis8850", ENTRY32(2, 1552, 16), "overlap");
        ck_assert_ptr_nonnull(strstr(last_text, "data offset at offset 8836"));
        ck_assert_ptr_nonnull(strstr(last_text, "within the header or table"));
        poked("uis8850", ENTRY32(2, 1552, offset - 16), "overlap");
        poked("uis8850", ENTRY32(2, 1552, offset + 16), "gap");
        poked("uis8850", ENTRY32(2, 1540, 0x10), "gap");
        m = pm_new_family("uis8850", 7);
        version_2(m);
        m->change_table = poke;
        m->userdata = &wide;
        refused(m, "range");
}
END_TEST

START_TEST(test_point_4) {
        poked("uis8850", ENTRY32(2, 1544, 0), "flags"); /* BOOT has bytes */
}
END_TEST

static void needs_missing_file(PacMaker *m) {
        PmFile *f = pm_find(m, "APPIMG");

        f->data = PM_NONE;
        f->size = 0;
        f->omit = 0;
}

static void five(PacMaker *m) {
        m->trailing = 1;
}

START_TEST(test_point_4_no_data) {
        refused_after(needs_missing_file, "flags");
}
END_TEST

START_TEST(test_point_5) {
        refused_after(five, "trailing");
}
END_TEST

static void wrong_crc1(PacMaker *m _unused_, uint8_t *header, void *userdata _unused_) {
        header[2120] ^= 1;
}
static void wrong_crc2(PacMaker *m _unused_, uint8_t *header, void *userdata _unused_) {
        header[2123] ^= 0x80;
}
static void set_wrong_crc1(PacMaker *m) {
        m->change_sums = wrong_crc1;
}
static void set_wrong_crc2(PacMaker *m) {
        m->change_sums = wrong_crc2;
}

START_TEST(test_point_6) {
        poked("uis8850", HEADER32(2116, 0), "magic");
        poked("uis8850", HEADER32(2116, 0xfffafffb), "magic");
        refused_after(set_wrong_crc1, "crc1");
        refused_after(set_wrong_crc2, "crc2");
        poked("uis8850", (Poke){.offset = 1316, .size = 2, .value = 1}, "encrypted");
}
END_TEST

static void duplicate_in_xml(PacMaker *m) {
        strcpy(pm_find(m, "APPIMG")->id, "boot");
}
static void duplicate_in_table(PacMaker *m) {
        PmFile *f = pm_add(m, "Boot", "CODE", 0x60020000, 0);

        f->in_xml = false;
}
static void no_loader(PacMaker *m) {
        strcpy(pm_find(m, "FDL")->id, "LOADER");
}
static void loader_not_ticked(PacMaker *m) {
        pm_select(pm_find(m, "FDL"), false);
}

START_TEST(test_point_7) {
        PacMaker *m = pm_new_family("uis8850", 7);
        unsigned last = m->n_files;

        pm_free(m);
        refused_after(duplicate_in_xml, "duplicate");
        refused_after(duplicate_in_table, "duplicate");
        poked("uis8850", ENTRY32(2, 1544, 2), "xml-place"); /* two of them */
        poked("uis8850", ENTRY32(last, 1544, 1), "xml-missing");
        refused_after(no_loader, "loader");
        refused_after(loader_not_ticked, "loader");
}
END_TEST

/* The only configuration stands before the last entry. */
START_TEST(test_point_7_not_last) {
        PacMaker *m = pm_new_family("uis8850", 7);
        Poke p = {.table = true, .entry = 2, .offset = 1544, .size = 4, .value = 2};
        Failure f;
        Pac *pac;
        size_t size;
        uint8_t *data, *last;
        unsigned n = m->n_files + 1;

        m->change_table = poke;
        m->userdata = &p;
        pm_build(m, &data, &size);
        last = data + 2124 + (size_t) 2580 * (n - 1);
        put_le32(last + 1544, 1);
        put_le32(last + 1556, 1);
        ck_assert_int_eq(parse_memory(data, size, &pac, &f), 1);
        ck_assert_str_eq(f.detail, "xml-place");
        ck_assert_ptr_nonnull(strstr(f.text, "not the last"));
        free(data);
        pm_free(m);
}
END_TEST

/* ---- strings and names ------------------------------------------------------------------------------------ */

START_TEST(test_point_8) {
        static const struct {
                size_t size;
                uint8_t bytes[12];
        } bad[] = {
                {4, {'a', 0, 0x1b, 0}},      /* control */
                {4, {'a', 0, 0x85, 0}},      /* control above ASCII */
                {4, {'a', 0, 0x00, 0xd8}},   /* surrogate */
                {4, {'a', 0, 0x2e, 0x20}},   /* right-to-left override */
                {4, {'a', 0, 0x66, 0x20}},   /* isolate */
                {6, {'a', 0, 0, 0, 'b', 0}}, /* behind the end */
                {4, {'a', 0, 0xff, 0xff}},
        };
        static const size_t fields[] = {52, 564, 1104};
        uint8_t full[512];

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                for (size_t k = 0; k < ELEMENTSOF(fields); k++)
                        poked("uis8850", (Poke){.offset = fields[k], .size = bad[i].size, .bytes = bad[i].bytes},
                              "text");
                poked("uis8850",
                      (Poke){.table = true, .entry = 2, .offset = 4, .size = bad[i].size, .bytes = bad[i].bytes},
                      "text");
                poked("uis8850",
                      (Poke){.table = true, .entry = 2, .offset = 516, .size = bad[i].size, .bytes = bad[i].bytes},
                      "text");
        }
        for (size_t i = 0; i < sizeof(full); i++)
                full[i] = i % 2 ? 0 : 'x';
        poked("uis8850", (Poke){.offset = 52, .size = 512, .bytes = full}, "text");
        poked("uis8850", (Poke){.table = true, .entry = 2, .offset = 516, .size = 512, .bytes = full}, "text");
        edited("<ID>BOOT</ID>", "<ID>BO&#x202e;OT</ID>", "text");
        edited("<IDAlias>BOOT</IDAlias>", "<IDAlias>BO&#x9b;OT</IDAlias>", "text");
}
END_TEST

START_TEST(test_point_9) {
        static const char *const names[] = {"a/b",     "..\\x",    "..",   "x..y",    "C:x",        "nul",
                                            "CON.txt", "com1.bin", "LPT9", ".hidden", "/etc/passwd"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                PacMaker *m = pm_new_family("uis8850", 7);

                strcpy(pm_find(m, "BOOT")->name, names[i]);
                refused(m, "file-name");
        }
        for (int i = 0; i < 1; i++) {
                PacMaker *m = pm_new_family("uis8850", 7);

                pm_find(m, "BOOT")->name[0] = '\0';
                refused(m, "file-name");
        }
}
END_TEST

/* ---- configuration ---------------------------------------------------------------------------------------- */

static void huge_xml(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        size_t more = 1024 * 1024 + 1;

        *xml = realloc(*xml, *size + more);
        memset(*xml + *size, ' ', more);
        *size += more;
}
static void with_nul(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        (*xml)[*size / 2] = '\0';
}
static void with_last_nul(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        *xml = realloc(*xml, *size + 1);
        (*xml)[(*size)++] = '\0';
}
static void with_bom(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        *xml = realloc(*xml, *size + 3);
        memmove(*xml + 3, *xml, *size);
        memcpy(*xml, "\xef\xbb\xbf", 3);
        *size += 3;
}
static void as_utf16(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        size_t n = *size;
        char *wide;

        pm_replace(xml, &n, "utf-8", "utf-16");
        wide = calloc(n + 1, 2);
        memcpy(wide, "\xff\xfe", 2);
        for (size_t i = 0; i < n; i++)
                wide[2 + 2 * i] = (*xml)[i];
        free(*xml);
        *xml = wide;
        *size = 2 * n + 2;
}
static void as_utf16_with_nul(PacMaker *m, char **xml, size_t *size, void *userdata) {
        as_utf16(m, xml, size, userdata);
        *xml = realloc(*xml, *size + 2);
        memset(*xml + *size, 0, 2);
        *size += 2;
}
static void deep_xml(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        char *deep = calloc(1, 100000);

        for (int i = 0; i < 10000; i++)
                strcpy(deep + 3 * i, "<a>");
        pm_replace(xml, size, "<ProductList>", deep);
        free(deep);
}
static void many_elements(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        char *many = calloc(1, 400000);

        for (int i = 0; i < 70000; i++)
                memcpy(many + 4 * i, "<a/>", 4);
        pm_replace(xml, size, "<ProductList>", many);
        free(many);
}
static void many_attributes(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        char many[1024] = "<ProductList";

        for (int i = 0; i < 60; i++)
                snprintf(many + strlen(many), 20, " a%d=\"1\"", i);
        strcat(many, ">");
        pm_replace(xml, size, "<ProductList>", many);
}
static void long_value(PacMaker *m _unused_, char **xml, size_t *size, void *userdata _unused_) {
        char *long_text = calloc(1, 5000);

        strcpy(long_text, "<SchemeName>");
        memset(long_text + strlen(long_text), 'x', 4000);
        pm_replace(xml, size, "<SchemeName>", long_text);
        free(long_text);
}

static PacMaker *with_xml(void (*change)(PacMaker *m, char **xml, size_t *size, void *userdata)) {
        PacMaker *m = pm_new_family("uis8850", 7);

        m->change_xml = change;
        return m;
}

START_TEST(test_point_10) {
        refused(with_xml(huge_xml), "xml-limit");
        refused(with_xml(deep_xml), "xml-limit");
        refused(with_xml(many_elements), "xml-limit");
        refused(with_xml(many_attributes), "xml-limit");
        refused(with_xml(long_value), "xml-limit");
        refused(with_xml(with_nul), "xml");
        edited("<BMAConfig>", "<!DOCTYPE a [<!ENTITY x \"yy\"><!ENTITY z \"&x;&x;&x;\">]><BMAConfig>", "xml-dtd");
        edited("<BMAConfig>", "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><BMAConfig>", "xml-dtd");
        edited("<ID>BOOT</ID>", "<ID>&boot;</ID>", "xml");
        edited("</BMAConfig>", "", "xml");
        edited("encoding=\"utf-8\"", "encoding=\"iso-8859-1\"", "xml");
        pac_free(accepted(with_xml(with_last_nul)));
        pac_free(accepted(with_xml(with_bom)));
        pac_free(accepted(with_xml(as_utf16)));
        pac_free(accepted(edited_family("uis8850", "<Description>BOOT<", "<Description>B&amp;O&lt;T<")));
}
END_TEST

START_TEST(test_point_11_attributes) {
        edited("<Product name=\"8850_MODEM\">", "<Product>", "attribute");
        edited("<Scheme name=\"8850_MODEM\">", "<Scheme>", "attribute");
        edited("<NVBackup backup=\"1\">", "<NVBackup>", "attribute");
        edited("<NVItem backup=\"1\" name=\"IMEI\">", "<NVItem backup=\"1\">", "attribute");
        edited("<NVItem backup=\"1\" name=\"IMEI\">", "<NVItem name=\"IMEI\">", "attribute");
        edited("<NVFlag check=\"1\" name=\"Continue\"/>", "<NVFlag check=\"1\"/>", "attribute");
        edited("<BackupFlag use=\"1\">", "<BackupFlag>", "attribute");
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\"/>"),
                "attribute");
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition size=\"32\"/>"),
                "attribute");
        edited("<ID>BOOT</ID>", "", "xml");
        edited("<Type>EraseFlash</Type>", "", "xml");
        edited("<Flag>1</Flag>", "", "xml");
        edited("<CheckFlag>0</CheckFlag>", "", "xml");
}
END_TEST

START_TEST(test_point_11_numbers) {
        edited("<Base>0x60020000</Base>", "<Base>0x6002000g</Base>", "number");
        edited("<Base>0x60020000</Base>", "<Base>1610743808</Base>", "number");
        edited("<Base>0x60020000</Base>", "<Base></Base>", "number");
        edited("<Base>0x60020000</Base>", "<Base>0x</Base>", "number");
        edited("<Base>0x60020000</Base>", "<Base>-0x1</Base>", "number");
        edited("<Base>0x60020000</Base>", "<Base>0x10000000060020000</Base>", "number");
        edited("<Size>0x10000</Size>", "<Size>0x10000 0</Size>", "number");
        edited("<ID>0x26e</ID>", "<ID>26e</ID>", "number");
        edited("<ID>0x26e</ID>", "<ID>0x1ffff</ID>", "number");
        edited("<CheckFlag>0</CheckFlag>", "<CheckFlag>x</CheckFlag>", "number");
        edited("<NVBackup backup=\"1\">", "<NVBackup backup=\"yes\">", "number");
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"32M\"/>"),
                "number");
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"-2\"/>"),
                "number");
}
END_TEST

static void six_blocks(PacMaker *m) {
        pm_find(m, "BOOT")->n_blocks = 6;
}
static void partitions(PacMaker *m, unsigned n, const char *unit) {
        strcpy(m->partitions_unit, unit);
        m->n_partitions = 0;
        for (unsigned i = 0; i < n; i++) {
                char name[16];
                snprintf(name, sizeof(name), "p%u", i);
                pm_partition(m, name, "1");
        }
}
static PacMaker *with_partitions(unsigned n, const char *unit) {
        PacMaker *m = pm_new_family("uis8850", 7);

        partitions(m, n, unit);
        return m;
}

START_TEST(test_point_11_limits) {
        refused_after(six_blocks, "blocks");
        refused(edited_family("phone", "<Block id=\"uboot\">",
                              "<Block id=\"uboot4567890123456789012345678901234567\">"),
                "name");
        refused(edited_family("phone", "<Block id=\"uboot\">", "<Block id=\"ub\xc3\xb6ot\">"), "name");
        refused(edited_family("phone", "<Block id=\"uboot\">", "<Block id=\"ub oot\">"), "name");
        refused(edited_family("phone", "<Partition id=\"boot\"",
                              "<Partition id=\"boot4567890123456789012345678901234567\""),
                "name");
        pac_free(accepted(with_partitions(862, "")));
        refused(with_partitions(863, ""), "xml-limit");
        pac_free(accepted(with_partitions(744, "3")));
        refused(with_partitions(745, "3"), "xml-limit");
        refused(with_partitions(5, "5"), "number");
}
END_TEST

START_TEST(test_point_12) {
        static const char *const cases[][2] = {
                {"<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"0xFFFFFFFF\"/>"},
                {"<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"-1\"/>"},
                {"<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"0\"/>"},
                {"<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"dtbo\" size=\"32\"/>"},
                {"<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"\" size=\"32\"/>"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                refused(edited_family("phone", cases[i][0], cases[i][1]), "partitions");
}
END_TEST

/* ---- parts of products that few packages have ---- */

static PacMaker *with_extra(const char *family, const char *extra) {
        PacMaker *m = pm_new_family(family, 7);

        snprintf(m->product_extra, sizeof(m->product_extra), "%s", extra);
        return m;
}

static void refused_extra(const char *extra, const char *detail, const char *words) {
        refused(with_extra("uis8850", extra), detail);
        ck_assert_msg(strstr(last_text, words), "%s", last_text);
}

START_TEST(test_duplicates) {
        edited("</ProductList>", "<Product name=\"8850_MODEM\"><SchemeName>x</SchemeName></Product></ProductList>", "duplicate");
        ck_assert(strstr(last_text, "the product \"8850_MODEM\" stands there twice"));
        edited("</SchemeList>", "<Scheme name=\"8850_MODEM\"></Scheme></SchemeList>", "duplicate");
        edited("<ID>BOOT</ID>", "<ID>AP</ID>", "duplicate");
        ck_assert(strstr(last_text, "the file ID \"AP\" stands there twice"));
        /* Of products that are not ours nothing is looked at. */
        pac_free(accepted(edited_family("uis8850", "</ProductList>", "<Product name=\"OTHER\"><APR>x</APR></Product></ProductList>")));
}
END_TEST

START_TEST(test_long_texts) {
        char scheme[400] = "<SchemeName>";

        memset(scheme + strlen(scheme), 'A', 300);
        strcat(scheme, "</SchemeName>");
        edited("<SchemeName>8850_MODEM</SchemeName>", scheme, "text");
        ck_assert(strstr(last_text, "SchemeName is longer than"));
}
END_TEST

START_TEST(test_items_of_products) {
        Pac *pac = accepted(edited_family("uis8850", "<NVFlag check=\"1\" name=\"Continue\"/>", "<NVFlag check=\"1\" name=\"Replace\"/>"));
        size_t n = 0;

        for (size_t i = 0; i < pac->n_nv_items; i++) {
                ck_assert(!pac->nv_items[i].keep_going);
                n += pac->nv_items[i].replace;
        }
        ck_assert_uint_gt(n, 0);
        pac_free(pac);
        edited("<ID>0x26e</ID>", "", "xml");
        ck_assert(strstr(last_text, "has no ID"));
        edited("<NVFlag check=\"1\" name=\"Continue\"/>", "<NVFlag check=\"2\" name=\"Continue\"/>", "number");
}
END_TEST

START_TEST(test_gaps) {
        Pac *pac = accepted(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"32\" gap=\"0x10\"/>"));

        for (size_t i = 0; i < pac->n_partitions; i++)
                ck_assert_int_eq(pac->partitions[i].gap, streq(pac->partitions[i].name, "boot") ? 16 : 0);
        pac_free(pac);
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"32\" gap=\"-1\"/>"), "number");
        refused(edited_family("phone", "<Partition id=\"boot\" size=\"32\"/>", "<Partition id=\"boot\" size=\"32\" gap=\"0x8000000000000000\"/>"),
                "number");
        ck_assert(strstr(last_text, "Partition gap is too large"));
}
END_TEST

#define TYPES(tag, inside) "<ExtTable><PartitionType tag=\"" tag "\">" inside "</PartitionType></ExtTable>"
START_TEST(test_extended_tables) {
        Pac *pac = accepted(with_extra("uis8850", TYPES("paty", "<Partition id=\"a\" id2=\"b\" type=\"2\" size=\"0x100\"/><Partition id=\"c\"/>")));

        ck_assert_str_eq(pac->ext_tag, "paty");
        ck_assert_uint_eq(pac->n_ext_partitions, 2);
        ck_assert_str_eq(pac->ext_partitions[0].twin, "b");
        ck_assert_uint_eq(pac->ext_partitions[0].size, 0x100);
        ck_assert_uint_eq(pac->ext_partitions[0].type, 2);
        ck_assert_str_eq(pac->ext_partitions[1].name, "c");
        ck_assert_uint_eq(pac->ext_partitions[1].type, 0);
        pac_free(pac);
        refused_extra("<ExtTable><PartitionType tag=\"paty\"/><PartitionType tag=\"paty\"/></ExtTable>", "ext-table", "two lists");
        refused_extra(TYPES("part1", ""), "ext-table", "four characters");
        refused_extra(TYPES("", ""), "ext-table", "four characters");
        refused_extra("<ExtTable><PartitionType/></ExtTable>", "attribute", "no attribute \"tag\"");
        refused_extra(TYPES("paty", "<Partition id=\"\"/>"), "ext-table", "without a name");
        refused_extra(TYPES("paty", "<Partition id2=\"x\"/>"), "attribute", "no attribute \"id\"");
        refused_extra(TYPES("paty", "<Partition id=\"a\" type=\"3\"/>"), "number", "too large");
        refused_extra(TYPES("paty", "<Partition id=\"a\" size=\"0x100000000\"/>"), "number", "too large");
        refused_extra(TYPES("paty", "<Partition id=\"a234567890123456789012345678901234567\"/>"), "name", "longer than");
        refused_extra(TYPES("paty", "<Partition id=\"a\" id2=\"b 2\"/>"), "name", "not plain ASCII");
}
END_TEST

#define RF(list) "<RF enable=\"1\">" list "</RF>"
START_TEST(test_radio_chips) {
        Pac *pac = accepted(with_extra("uis8850", RF("<Transceiver id=\"0x7\" name=\"NAVAJO\"/><Transceiver id=\"8\" name=\"BOCA\"/>")));

        ck_assert_uint_eq(pac->n_rf_chips, 2);
        ck_assert_uint_eq(pac->rf_chips[0].id, 7);
        ck_assert_str_eq(pac->rf_chips[1].name, "BOCA");
        pac_free(pac);
        pac = accepted(with_extra("uis8850", "<RF enable=\"0\"><Transceiver id=\"x\" name=\"NAVAJO\"/></RF>"));
        ck_assert_uint_eq(pac->n_rf_chips, 0);
        pac_free(pac);
        refused_extra(RF("<Transceiver id=\"7\" name=\"NAVAJO\"/><Transceiver id=\"0x7\" name=\"BOCA\"/>"), "duplicate", "BOCA");
        refused_extra(RF("<Transceiver id=\"7\" name=\"NAVAJO\"/><Transceiver id=\"8\" name=\"Navajo\"/>"), "duplicate", "Navajo");
        refused_extra(RF("<Transceiver id=\"7\"/>"), "attribute", "no attribute \"name\"");
        refused_extra(RF("<Transceiver id=\"0x100000000\" name=\"NAVAJO\"/>"), "number", "too large");
        refused_extra(RF("<Transceiver id=\"7\" name=\"NA\xc2\x9bVAJO\"/>"), "text", "cannot be shown");
        refused_extra("<RF enable=\"yes\"/>", "number", "RF enable");
}
END_TEST

START_TEST(test_files_of_schemes) {
        Pac *pac = accepted(edited_family("uis8850", "<IDAlias>BOOT</IDAlias>", "<IDAlias></IDAlias>"));

        ck_assert_str_eq(pac_find_file(pac, "BOOT")->alias, "BOOT");
        pac_free(pac);
        pac = accepted(with_xml(as_utf16_with_nul));
        ck_assert_str_eq(pac_find_file(pac, "BOOT")->id, "BOOT");
        pac_free(pac);
        edited("<Type>EraseFlash</Type>", "<Type>WriteEFuse</Type>", "secure-boot");
        ck_assert(strstr(last_text, "burns fuses"));
}
END_TEST

static void other_product(PacMaker *m) {
        strcpy(m->xml_product, "OTHER");
}
static void other_scheme(PacMaker *m) {
        strcpy(m->xml_scheme, "OTHER");
}
static void not_in_table(PacMaker *m) {
        pm_find(m, "APPIMG")->in_table = false;
}
static void not_in_xml(PacMaker *m) {
        pm_find(m, "APPIMG")->in_xml = false;
}

START_TEST(test_point_13) {
        refused_after(other_product, "product");
        refused_after(other_scheme, "scheme");
        refused_after(not_in_table, "join");
        refused_after(not_in_xml, "join");
        edited("<SchemeName>8850_MODEM</SchemeName>", "", "scheme");
}
END_TEST

/* Tools write the product with a prefix; several products and schemes may stand side by side. */
START_TEST(test_product_choice) {
        PacMaker *m = pm_new_family("uis8850", 7);
        Pac *pac;

        strcpy(m->product, "PAC_8850_MODEM");
        strcpy(m->xml_product, "8850_MODEM");
        strcpy(m->xml_scheme, "8850_MODEM");
        strcpy(m->xml_scheme_of_product, "8850_MODEM");
        pac = accepted(m);
        ck_assert_str_eq(pac->product, "8850_MODEM");
        pac_free(pac);
        pac = accepted(edited_family(
                "uis8850", "<ProductList>",
                "<ProductList><Product name=\"X\"><SchemeName>Y</SchemeName>"
                "<NVBackup backup=\"0\"><NVItem name=\"z\" backup=\"1\"><ID>0x1</ID></NVItem></NVBackup></Product>"));
        ck_assert_uint_eq(pac->n_nv_items, 8);
        ck_assert_str_eq(pac->scheme, "8850_MODEM");
        pac_free(pac);
        edited("<SchemeList>", "<SchemeList><Scheme name=\"8850_MODEM\"/>", "duplicate");
}
END_TEST

/* ---- semantics -------------------------------------------------------------------------------------------- */

START_TEST(test_point_14) {
        PacMaker *m = pm_new_family("uis8910", 7);

        pm_find(m, "FDL2")->blocks[0].base = pm_find(m, "FDL2")->load_address = 0x838010;
        pm_find(m, "FDL2")->load_address += 64;
        warned(m, "overlap in memory");
        m = pm_new_family("uis8910", 7);
        pm_find(m, "FDL2")->blocks[0].base = 0x60000000;
        pm_find(m, "FDL2")->load_address = 0x60000040;
        warned(m, "no memory for it");
        m = pm_new_family("uis8850", 7);
        pm_find(m, "FDL")->blocks[0].base = 0x50000000;
        warned(m, "no memory for it");
        m = pm_new_family("phone", 7);
        pm_find(m, "FDL2")->blocks[0].base = 0xffffff00;
        warned(m, "no memory for it");
}
END_TEST

START_TEST(test_point_15) {
        edited("<Type>EraseFlash</Type>", "<Type>EnableSecureBoot</Type>", "secure-boot");
        edited("<Type>EraseFlash</Type>", "<Type>Write_eFuse</Type>", "secure-boot");
}
END_TEST

START_TEST(test_point_16) {
        PacMaker *m = pm_new_family("phone", 7);

        strcpy(pm_find(m, "EraseMisc")->blocks[0].id, "erase_all");
        warned(m, "whole flash");
        m = pm_new_family("uis8850", 7);
        pm_find(m, "FMT_FSMOD")->blocks[0].base = 0;
        pm_find(m, "FMT_FSMOD")->blocks[0].size = UINT32_MAX;
        warned(m, "whole flash");
        m = pm_new_family("phone", 7);
        pm_select(pm_find(m, "BOOT"), false);
        warned(m, "BOOT, which belongs to it");
        m = pm_new_family("uis8850", 7);
        m->xml_nv_backup = 0;
        warned(m, "keeps none");
        m = pm_new_family("uis8850", 7);
        pm_find(m, "NV")->backup = 0;
        warned(m, "keeps none");
        m = pm_new_family("uis8850", 7);
        pm_select(pm_find(m, "FLASH"), false);
        warned(m, "not selected");
        m = pm_new_family("uis8850", 7);
        pm_select(pm_find(m, "SPL"), false);
        warned(m, "nothing writes it again");
        m = pm_new_family("phone", 7);
        strcpy(pm_find(m, "FLASH")->blocks[0].id, "l_fixnv1");
        warned(m, "nothing writes them again");
}
END_TEST

START_TEST(test_point_17) {
        PacMaker *m = pm_new_family("phone", 7);
        Pac *pac;

        pm_find(m, "VBMETA")->size = (1 << 20) + 2;
        warned(m, "has only 1048576");
        m = pm_new_family("uis8850", 7);
        pm_find(m, "BOOT")->size = 0x10002;
        warned(m, "has only 65536");
        m = pm_new_family("phone", 7);
        pm_find(m, "Cache")->data = PM_SPARSE;
        pm_find(m, "Cache")->size = 16 << 20;
        pac = accepted(m);
        ck_assert_uint_eq(pac->n_warnings, 0);
        ck_assert_uint_lt(pac_find_file(pac, "Cache")->size, 9 << 20);
        pac_free(pac);
        m = pm_new_family("phone", 7);
        pm_find(m, "Cache")->data = PM_SPARSE;
        pm_find(m, "Cache")->size = (16 << 20) + 4096;
        warned(m, "expands to 16781312");
}
END_TEST

/* Sparse images that lie about their chunks. */
START_TEST(test_point_17_broken_sparse) {
        static const struct {
                size_t offset;
                uint32_t value;
        } lies[] = {{12, 0},      {12, 4097},       {16, 3},          {20, 5}, {20, 0x7fffffff},
                    {28, 0xcac9}, {32, 0xffffffff}, {36, 0xffffffff}, {36, 4}};

        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                PacMaker *m = pm_new_family("phone", 7);
                PmFile *f = pm_find(m, "Cache");
                uint64_t size;
                uint8_t *image;

                f->data = PM_SPARSE;
                f->size = 1 << 20;
                image = pm_content(m, f, &size);
                put_le32(image + lies[i].offset, lies[i].value);
                pm_bytes(f, "cache.img", image, size);
                free(image);
                warned(m, "sparse image, but");
        }
}
END_TEST

/* Both are no danger: the plan leaves it to the unit's storage, and refuses a unit that does not tell. */
START_TEST(test_point_18) {
        PacMaker *m = pm_new_family("phone", 7);
        Pac *pac;

        strcpy(pm_find(m, "SPLLoader")->id, "SPLLoaderEMMC");
        pm_random(pm_add_name(m, "SPLLoaderUFS", "BOOT_LOADER2", "splloader", 0), "spl-ufs.bin", 4096);
        pac = accepted(m);
        ck_assert_uint_eq(pac->n_warnings, 0);
        pac_free(pac);
}
END_TEST

START_TEST(test_point_19) {
        PacMaker *m = pm_new_family("uis8850", 7);

        strcpy(pm_find(m, "APPIMG")->head, "\x27\x05\x19\x56");
        warned(m, "UIS8910");
        m = pm_new_family("phone", 7);
        strcpy(pm_find(m, "BOOT")->head, "SIHR");
        warned(m, "UIS8850");
        m = pm_new_family("uis8910", 7);
        strcpy(pm_find(m, "PS")->head, "DHTB");
        warned(m, "phone chip");
        m = pm_new_family("uis8910", 7);
        pm_find(m, "FDL2")->load_address = 0x900040;
        warned(m, "was built for address 0x900000");
}
END_TEST

/* A file that changes between the check and the pass over its bytes. */
START_TEST(test_point_20) {
        PacMaker *m = pm_new_family("uis8850", 7);
        uint8_t *data, digest[32];
        size_t size;
        static const size_t places[] = {60, 2124 + 20, 0};

        pm_build(m, &data, &size);
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                PacReader reader = pac_reader_for_memory(data, size);
                size_t at = places[i] ? places[i] : size - 100; /* header, table, configuration */
                Failure f = FAILURE_INIT;
                Pac *pac = NULL;

                ck_assert_int_eq(pac_parse(&reader, &pac, &f), 0);
                data[at] ^= 1;
                ck_assert_int_eq(pac_verify(&reader, pac, digest, &f), 1);
                ck_assert_str_eq(f.detail, "changed");
                data[at] ^= 1;
                reader.size--;
                ck_assert_int_eq(pac_verify(&reader, pac, digest, &f), 1);
                ck_assert_str_eq(f.detail, "changed");
                reader.size++;
                data[size / 2] ^= 1;
                ck_assert_int_eq(pac_verify(&reader, pac, digest, &f), 1);
                ck_assert_str_eq(f.detail, "crc2");
                data[size / 2] ^= 1;
                ck_assert_int_eq(pac_verify(&reader, pac, digest, &f), 0);
                pac_free(pac);
        }
        free(data);
        pm_free(m);
}
END_TEST

/* The digests do not depend on how the bytes come. */
START_TEST(test_verifier_chunks) {
        PacMaker *m = pm_new_family("uis8850", 7);
        uint8_t *data, one[32], two[32];
        size_t size;
        PacReader reader;
        PacVerifier *v;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;
        uint8_t file[32];

        pm_build(m, &data, &size);
        reader = pac_reader_for_memory(data, size);
        ck_assert_int_eq(pac_parse(&reader, &pac, &f), 0);
        ck_assert_int_eq(pac_verify(&reader, pac, one, &f), 0);
        memcpy(file, pac->files[2].sha256, 32);
        v = pac_verifier_new(pac);
        for (size_t at = 0, n = 1; at < size; at += n, n = MIN(n * 3 % 4099 + 1, size - at))
                pac_verifier_update(v, data + at, MIN(n, size - at));
        ck_assert_int_eq(pac_verifier_finish(v, two, &f), 0);
        pac_verifier_free(v);
        ck_assert_mem_eq(one, two, 32);
        ck_assert_mem_eq(file, pac->files[2].sha256, 32);
        EVP_Digest(data, size, two, NULL, EVP_sha256(), NULL);
        ck_assert_mem_eq(one, two, 32);
        pac_free(pac);
        free(data);
        pm_free(m);
}
END_TEST

/* Any single changed byte of header and table is noticed, whatever it was. */
START_TEST(test_flipped_bytes) {
        PacMaker *m = pm_new_family("uis8850", 7);
        uint8_t *data;
        size_t size;

        pm_build(m, &data, &size);
        for (size_t at = 0; at < size; at += at < 5000 ? 37 : 40013) {
                Failure f;
                Pac *pac;

                data[at] ^= 0x41;
                ck_assert_msg(parse_memory(data, size, &pac, &f) != 0, "byte %zu", at);
                pac_free(pac);
                data[at] ^= 0x41;
        }
        free(data);
        pm_free(m);
}
END_TEST

static TCase *malformed_case(void) {
        TCase *t = tcase_create("malformed");

        tcase_add_test(t, test_point_1_short);
        tcase_add_test(t, test_point_1);
        tcase_add_test(t, test_point_2);
        tcase_add_test(t, test_point_3);
        tcase_add_test(t, test_point_4);
        tcase_add_test(t, test_point_4_no_data);
        tcase_add_test(t, test_point_5);
        tcase_add_test(t, test_point_6);
        tcase_add_test(t, test_point_7);
        tcase_add_test(t, test_point_7_not_last);
        tcase_add_test(t, test_point_8);
        tcase_add_test(t, test_point_9);
        tcase_add_test(t, test_point_10);
        tcase_add_test(t, test_point_11_attributes);
        tcase_add_test(t, test_point_11_numbers);
        tcase_add_test(t, test_point_11_limits);
        tcase_add_test(t, test_duplicates);
        tcase_add_test(t, test_long_texts);
        tcase_add_test(t, test_items_of_products);
        tcase_add_test(t, test_gaps);
        tcase_add_test(t, test_extended_tables);
        tcase_add_test(t, test_radio_chips);
        tcase_add_test(t, test_files_of_schemes);
        tcase_add_test(t, test_point_12);
        tcase_add_test(t, test_point_13);
        tcase_add_test(t, test_point_14);
        tcase_add_test(t, test_point_15);
        tcase_add_test(t, test_point_16);
        tcase_add_test(t, test_point_17);
        tcase_add_test(t, test_point_17_broken_sparse);
        tcase_add_test(t, test_point_18);
        tcase_add_test(t, test_point_19);
        tcase_add_test(t, test_point_20);
        tcase_add_test(t, test_flipped_bytes);
        tcase_set_timeout(t, 60);
        return t;
}

static TCase *good_case(void) {
        TCase *t = tcase_create("good");

        tcase_add_test(t, test_vector);
        tcase_add_test(t, test_crc_of_holes);
        tcase_add_test(t, test_crc_lengths);
        tcase_add_test(t, test_holes);
        tcase_add_loop_test(t, test_real, 0, ELEMENTSOF(real_packages));
        tcase_add_test(t, test_nv_items);
        tcase_add_test(t, test_families);
        tcase_add_test(t, test_table_order);
        tcase_add_test(t, test_above_4_gib);
        tcase_add_test(t, test_second_enumeration);
        tcase_add_test(t, test_product_choice);
        tcase_add_test(t, test_verifier_chunks);
        tcase_set_timeout(t, 60);
        return t;
}

int main(void) {
        Suite *s = suite_create("pac");
        SRunner *runner;
        int failed;

        suite_add_tcase(s, good_case());
        suite_add_tcase(s, malformed_case());
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? 1 : 0;
}
