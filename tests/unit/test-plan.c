/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <sys/stat.h>

#include "flash/plan-text.h"
#include "pacmaker/pacmaker.h"

/* ---- helpers -------------------------------------------------------------------------------------------- */

static Pac *parse_maker(PacMaker *m) {
        uint8_t *data;
        size_t size;
        PacReader reader;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;

        pm_build(m, &data, &size);
        reader = pac_reader_for_memory(data, size);
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        free(data);
        pm_free(m);
        return pac;
}

static Pac *parse_real(const char *name) {
        const char *dir = getenv("FDLD_TEST_PACS");
        char path[4096];
        struct stat st;
        PacReader reader;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;
        int fd;

        if (!dir) {
                fprintf(stderr, "SKIP %s: FDLD_TEST_PACS is not set\n", name);
                return NULL;
        }
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
        reader = pac_reader_for_fd(&fd, (uint64_t) st.st_size);
        ck_assert_msg(pac_parse(&reader, &pac, &f) == 0, "%s", f.text);
        close(fd);
        return pac;
}

static Plan *make(const Pac *pac, FlashMode mode) {
        PlanOptions options = {.mode = mode, .choice = {.include = "all"}};
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;
        int r = plan_make(pac, &options, &plan, &f);

        ck_assert_msg(r == 0, "%s: %s", f.detail, f.text);
        ck_assert_str_eq(plan->not_executable, "");
        return plan;
}

static void refused_with(const Pac *pac, PlanOptions options, const char *detail, const char *words) {
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;

        ck_assert_int_eq(plan_make(pac, &options, &plan, &f), 1);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_msg(streq(f.detail, detail) && strstr(f.text, words), "%s: %s", f.detail, f.text);
        ck_assert_ptr_null(plan);
}

static void refused(PacMaker *m, PlanOptions options, const char *detail, const char *words) {
        Pac *pac = parse_maker(m);

        refused_with(pac, options, detail, words);
        pac_free(pac);
}

#define UPGRADE ((PlanOptions){.mode = FLASH_MODE_UPGRADE})
#define UPGRADE_ANYWAY ((PlanOptions){.mode = FLASH_MODE_UPGRADE, .allow_warnings = true})
#define RESEARCH_ANYWAY ((PlanOptions){.mode = FLASH_MODE_RESEARCH, .allow_warnings = true})

enum { D = 1, C = 2, O = 4, CAL = 8 }; /* destructive, critical, optional, calibration gate */
typedef struct Expected {
        PlanOp op;
        Stage stage;
        const char *id, *partition;
        uint64_t address, size, offset;
        uint32_t block;
        int backup, write;
        unsigned flags;
} Expected;

static void check_step(const Plan *plan, size_t i, const Expected *e) {
        const PlanStep *s = plan->steps + i;
        unsigned flags = (s->destructive ? D : 0) | (s->critical ? C : 0) | (s->optional ? O : 0) |
                         (s->checks_calibration ? CAL : 0);

        ck_assert_msg(s->op == e->op, "step %zu: %s, not %s", i, plan_op_to_string(s->op), plan_op_to_string(e->op));
        ck_assert_msg(s->stage == e->stage, "step %zu: stage %s", i, stage_to_string(s->stage));
        ck_assert_msg(streq(s->id, e->id), "step %zu: %s, not %s", i, s->id, e->id);
        ck_assert_msg(streq(s->partition, e->partition ? e->partition : ""), "step %zu: %s", i, s->partition);
        ck_assert_msg(s->address == e->address, "step %zu: address 0x%llx", i, (unsigned long long) s->address);
        ck_assert_msg(s->size == e->size, "step %zu: size 0x%llx", i, (unsigned long long) s->size);
        ck_assert_msg(s->offset == (e->offset ? e->offset : U64_UNKNOWN), "step %zu: offset 0x%llx", i,
                      (unsigned long long) s->offset);
        ck_assert_msg(s->block == e->block, "step %zu: block 0x%x", i, s->block);
        ck_assert_msg(s->backup == (e->backup ? e->backup : -1), "step %zu: backup %d", i, s->backup);
        ck_assert_msg(s->write == (e->write ? e->write : -1), "step %zu: write %d", i, s->write);
        ck_assert_msg(flags == e->flags, "step %zu: flags %u", i, flags);
}

static void check_steps(const Plan *plan, const Expected *e, size_t n) {
        uint64_t bytes = 0;

        for (size_t i = 0; i < MIN(n, plan->n_steps); i++) {
                check_step(plan, i, e + i);
                bytes += plan_step_bytes(plan->steps + i);
        }
        ck_assert_uint_eq(plan->n_steps, n);
        ck_assert_uint_eq(plan->bytes_total, bytes);
}

static bool says(char **list, size_t n, const char *words) {
        for (size_t i = 0; i < n; i++)
                if (strstr(list[i], words))
                        return true;
        return false;
}

#define HANDSHAKE                                                                                                      \
        { PLAN_HANDSHAKE, STAGE_HANDSHAKE, "" }
#define IDENTIFY                                                                                                       \
        { PLAN_IDENTIFY, STAGE_IDENTIFY, "" }
#define RESET                                                                                                          \
        { PLAN_RESET, STAGE_FINISH, "" }

/* ---- the vendor's transcripts ----------------------------------------------------------------------------- */

START_TEST(test_uis8910) {
        static const Expected steps[] = {
                HANDSHAKE,
                {PLAN_LOAD, STAGE_LOAD_FDL1, "HOST_FDL", NULL, 0x838000, 0x33a0, 0x813c, 0x800},
                {PLAN_EXEC, STAGE_EXEC_FDL1, "HOST_FDL", NULL, 0x838000},
                {PLAN_LOAD, STAGE_LOAD_FDL2, "FDL2", NULL, 0x810000, 0xcbe0, 0xb4dc, 0x840},
                {PLAN_EXEC, STAGE_EXEC_FDL2, "FDL2", NULL, 0x810000},
                IDENTIFY,
                {PLAN_BACKUP, STAGE_BACKUP, "PhaseCheck", NULL, 0xfe000002, 0x100, 0, 0x3000, 0, 0, O},
                {PLAN_BACKUP, STAGE_BACKUP, "NV", NULL, 0xfe000003, 0x20000, 0, 0x3000},
                {PLAN_WRITE, STAGE_WRITE, "BOOTLOADER", NULL, 0x60000000, 0xa420, 0x180bc, 0x800, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "AP", NULL, 0x60010000, 0x13c6c0, 0x224dc, 0x800, 0, 0, D},
                {PLAN_WRITE, STAGE_WRITE, "PS", NULL, 0x60560000, 0x280000, 0x15eb9c, 0x800, 0, 0, D},
                {PLAN_ERASE, STAGE_ERASE, "FMT_FSSYS", NULL, 0xfe000006, 0x53595346, 0, 0, 0, 0, D},
                {PLAN_ERASE, STAGE_ERASE, "FLASH", NULL, 0xfe000001, 0, 0, 0, 0, 0, D},
                {PLAN_WRITE_NV, STAGE_WRITE, "NV", NULL, 0xfe000003, 0x20000, 0x3deb9c, 0x800, 7, 0, D},
                {PLAN_WRITE, STAGE_WRITE, "PREPACK", NULL, 0xfe000004, 0x6a, 0x3feb9c, 0x800, 0, 0, D},
                RESET,
        };
        Pac *pac = parse_real("uis8910_full.pac");
        Plan *plan;

        if (!pac)
                return;
        plan = make(pac, FLASH_MODE_UPGRADE);
        check_steps(plan, steps, ELEMENTSOF(steps));
        ck_assert_str_eq(plan->family, "uis8910");
        ck_assert_int_eq(plan->protocol, PLAN_PDL);
        ck_assert_int_eq(plan->steps[1].protocol, PLAN_PDL);
        ck_assert_int_eq(plan->steps[2].protocol, PLAN_PDL);
        ck_assert_int_eq(plan->steps[3].protocol, PLAN_BSL);
        ck_assert(!plan->single_loader);
        ck_assert_uint_eq(plan->n_nv_items, 4);
        ck_assert(says(plan->kept, plan->n_kept, "PhaseCheck"));
        ck_assert(says(plan->kept, plan->n_kept, "NV"));
        ck_assert(says(plan->lost, plan->n_lost, "FSYS"));
        ck_assert(says(plan->lost, plan->n_lost, "BOOTLOADER, AP, PS, PREPACK"));
        ck_assert(says(plan->notes, plan->n_notes, "FMT_FSEXT"));
        plan_free(plan);
        pac_free(pac);
}
END_TEST

#define FDL8850(at)                                                                                                    \
        HANDSHAKE, {PLAN_LOAD, STAGE_LOAD_FDL1, "FDL", NULL, 0x50800000, 0x10b80, at, 0x210},                          \
                {PLAN_EXEC, STAGE_EXEC_FDL1, "FDL", NULL, 0x50800000}, IDENTIFY

START_TEST(test_uis8850) {
        static const Expected steps[] = {
                FDL8850(0x9f78),
                {PLAN_BACKUP, STAGE_BACKUP, "PhaseCheck", NULL, 0xfe000002, 0x100, 0, 0x3000, 0, 0, O},
                {PLAN_BACKUP, STAGE_BACKUP, "NV", NULL, 0xfe000003, 0x28000, 0, 0x3000, 0, 0, CAL},
                {PLAN_ERASE, STAGE_ERASE, "ERASE_SPL", NULL, 0x60000000, 0x20000, 0, 0, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "BOOT", NULL, 0x60020000, 0x2a40, 0x1aaf8, 0x800, 0, 0, D | C},
                {PLAN_ERASE, STAGE_ERASE, "FMT_FSMOD", NULL, 0xfe000006, 0x444f4d46, 0, 0, 0, 0, D | C},
                {PLAN_WRITE_NV, STAGE_WRITE, "NV", NULL, 0xfe000003, 0x28000, 0x1d538, 0x800, 5, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "AP", NULL, 0x60030000, 0x145940, 0x45538, 0x800, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "APPIMG", NULL, 0x601ae000, 0x88c0, 0x18ae78, 0x800, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "CP", NULL, 0xfe000004, 0x104fc0, 0x193738, 0x800, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "INDELTANV", NULL, 0xfe000004, 0x2b48, 0x2986f8, 0x800, 0, 0, D | C},
                {PLAN_ERASE, STAGE_ERASE, "FLASH", NULL, 0xfe000001, 0, 0, 0, 0, 0, D | C},
                {PLAN_WRITE, STAGE_WRITE, "SPL", NULL, 0x60000000, 0xf800, 0x29b240, 0x800, 0, 0, D | C},
                {PLAN_CHECK_NV, STAGE_VERIFY, "NV", NULL, 0xfe000003, 0x28000, 0x1d538, 0x3000, 5, 9, D | C},
                RESET,
        };
        Pac *pac = parse_real("uis8850_full.pac");
        Plan *plan;

        if (!pac)
                return;
        plan = make(pac, FLASH_MODE_UPGRADE);
        check_steps(plan, steps, ELEMENTSOF(steps));
        ck_assert_str_eq(plan->family, "uis8850");
        ck_assert_int_eq(plan->protocol, PLAN_BSL);
        ck_assert(plan->single_loader);
        ck_assert_str_eq(plan->check_cali, "GSM");
        ck_assert_uint_eq(plan->n_nv_items, 8);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

START_TEST(test_uis8850_parts) {
        static const Expected app[] = {
                FDL8850(0x2688),
                {PLAN_WRITE, STAGE_WRITE, "APPIMG", NULL, 0x601ae000, 0x88c0, 0x13208, 0x800, 0, 0, D},
                RESET,
        };
        static const Expected erase[] = {
                FDL8850(0x2688),
                {PLAN_ERASE, STAGE_ERASE, "ERASE_APPIMG", NULL, 0x601ae000, 0x51000, 0, 0, 0, 0, D},
                RESET,
        };

        for (FlashMode mode = 0; mode < FLASH_MODE_MAX; mode++) {
                Pac *pac = parse_real("uis8850_app_only.pac");
                Plan *plan;

                if (!pac)
                        return;
                plan = make(pac, mode);
                check_steps(plan, app, ELEMENTSOF(app));
                ck_assert(says(plan->kept, plan->n_kept, "not touched"));
                plan_free(plan);
                pac_free(pac);
                pac = parse_real("uis8850_erase_only.pac");
                plan = make(pac, mode);
                check_steps(plan, erase, ELEMENTSOF(erase));
                ck_assert(says(plan->lost, plan->n_lost, "0x601ae000"));
                plan_free(plan);
                pac_free(pac);
        }
}
END_TEST

static const struct {
        PlanOp op;
        const char *id, *partition;
        uint32_t block;
} phone_steps[] = {
        {PLAN_HANDSHAKE, "", "", 0},
        {PLAN_LOAD, "FDL", "", 0x210},
        {PLAN_EXEC, "FDL", "", 0},
        {PLAN_LOAD, "FDL2", "", 0x840},
        {PLAN_EXEC, "FDL2", "", 0},
        {PLAN_IDENTIFY, "", "", 0},
        {PLAN_BACKUP, "PhaseCheck", "miscdata", 0x3000},
        {PLAN_BACKUP, "ProdNV", "prodnv", 0x3000},
        {PLAN_BACKUP, "NV_LTE", "l_fixnv1", 0x3000},
        {PLAN_ERASE, "EraseSPL", "splloader", 0},
        {PLAN_WRITE_NV, "NV_LTE", "l_fixnv1", 0x800},
        {PLAN_WRITE, "Modem_LTE", "l_modem", 0x5000},
        {PLAN_WRITE, "DSP_LTE", "l_ldsp", 0x5000},
        {PLAN_WRITE, "Modem_DeltaNV", "l_deltanv", 0x5000},
        {PLAN_WRITE, "Modem_WCN", "wcnmodem", 0x5000},
        {PLAN_WRITE, "GPS_GL", "gpsgl", 0x5000},
        {PLAN_WRITE, "GPS_BD", "gpsbd", 0x5000},
        {PLAN_WRITE, "BOOT", "boot", 0x5000},
        {PLAN_WRITE, "Recovery", "recovery", 0x5000},
        {PLAN_WRITE, "DTBO", "dtbo", 0x5000},
        {PLAN_WRITE, "System", "super", 0xa000},
        {PLAN_WRITE, "Cache", "cache", 0xa000},
        {PLAN_WRITE, "BootLogo", "logo", 0x5000},
        {PLAN_WRITE, "Fastboot_Logo", "fbootlogo", 0x5000},
        {PLAN_ERASE, "FLASH", "l_runtimenv1", 0},
        {PLAN_ERASE, "EraseMisc", "misc", 0},
        {PLAN_WRITE, "Trustos", "trustos", 0x5000},
        {PLAN_WRITE, "SML", "sml", 0x5000},
        {PLAN_WRITE, "VBMETA", "vbmeta", 0x5000},
        {PLAN_WRITE, "UBOOTLoader", "uboot", 0x800},
        {PLAN_WRITE, "SPLLoader", "splloader", 0x840},
        {PLAN_RESET, "", "", 0},
};

START_TEST(test_phone) {
        Pac *pac = parse_maker(pm_new_family("phone", 5));
        Plan *plan = make(pac, FLASH_MODE_UPGRADE);

        for (size_t i = 0; i < MIN(plan->n_steps, ELEMENTSOF(phone_steps)); i++) {
                ck_assert_msg(plan->steps[i].op == phone_steps[i].op, "step %zu", i);
                ck_assert_str_eq(plan->steps[i].id, phone_steps[i].id);
                ck_assert_str_eq(plan->steps[i].partition, phone_steps[i].partition);
                ck_assert_uint_eq(plan->steps[i].block, phone_steps[i].block);
                ck_assert_uint_eq(plan->steps[i].critical, i >= 9 && i <= 30);
        }
        ck_assert_uint_eq(plan->n_steps, ELEMENTSOF(phone_steps));
        ck_assert_uint_eq(plan->steps[7].size, 0xa00000);
        ck_assert(plan->steps[7].optional && !plan->steps[8].optional && plan->steps[8].checks_calibration);
        ck_assert_int_eq(plan->steps[10].backup, 8);
        ck_assert_uint_eq(plan->n_partitions, 30);
        ck_assert_int_eq(plan->partition_unit, -1);
        ck_assert_uint_eq(plan->partitions[29].size, U64_UNKNOWN);
        ck_assert(says(plan->kept, plan->n_kept, "ProdNV"));
        ck_assert(says(plan->notes, plan->n_notes, "30 partitions"));
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* Nothing that may harm comes before the last of our own readings. */
START_TEST(test_backup_first) {
        static const char *const families[] = {"uis8910", "uis8850", "phone"};

        for (size_t k = 0; k < ELEMENTSOF(families); k++) {
                Pac *pac = parse_maker(pm_new_family(families[k], 5));
                Plan *plan = make(pac, FLASH_MODE_UPGRADE);
                bool harmed = false, nv = false;

                for (size_t i = 0; i < plan->n_steps; i++) {
                        const PlanStep *s = plan->steps + i;

                        harmed = harmed || s->destructive;
                        ck_assert(s->op != PLAN_BACKUP || !harmed);
                        ck_assert_int_eq(s->destructive, s->op == PLAN_ERASE || s->op == PLAN_WRITE ||
                                                                 s->op == PLAN_WRITE_NV || s->op == PLAN_CHECK_NV);
                        if (s->op != PLAN_WRITE_NV)
                                continue;
                        nv = true;
                        ck_assert_int_ge(s->backup, 0);
                        ck_assert_int_eq(plan->steps[s->backup].op, PLAN_BACKUP);
                        ck_assert_uint_eq(plan->steps[s->backup].address, s->address);
                        ck_assert_str_eq(plan->steps[s->backup].partition, s->partition);
                }
                ck_assert(nv);
                plan_free(plan);
                pac_free(pac);
        }
}
END_TEST

START_TEST(test_second_enumeration) {
        PacMaker *m = pm_new_family("phone", 5);
        Pac *pac;
        Plan *plan;

        strcpy(pm_find(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
        pac = parse_maker(m);
        plan = make(pac, FLASH_MODE_UPGRADE);
        ck_assert_int_eq(plan->steps[2].op, PLAN_EXEC);
        ck_assert_int_eq(plan->steps[3].op, PLAN_REENUMERATE);
        ck_assert_int_eq(plan->steps[3].stage, STAGE_REENUMERATE);
        ck_assert_int_eq(plan->steps[4].op, PLAN_LOAD);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

START_TEST(test_finish) {
        Pac *pac = parse_maker(pm_new_family("uis8910", 5));
        PlanOptions options = {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_POWER_OFF};
        Failure f;
        Plan *plan;

        ck_assert_int_eq(plan_make(pac, &options, &plan, &f), 0);
        ck_assert_int_eq(plan->steps[plan->n_steps - 1].op, PLAN_POWER_OFF);
        plan_free(plan);
        options.finish = FINISH_NOTHING;
        ck_assert_int_eq(plan_make(pac, &options, &plan, &f), 0);
        ck_assert_int_ne(plan->steps[plan->n_steps - 1].stage, STAGE_FINISH);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* ---- modes ---------------------------------------------------------------------------------------------- */

START_TEST(test_factory) {
        static const char *const families[] = {"uis8910", "uis8850", "phone"};

        for (size_t k = 0; k < ELEMENTSOF(families); k++) {
                Pac *pac = parse_maker(pm_new_family(families[k], 5));
                PlanOptions options = {.mode = FLASH_MODE_FACTORY};
                bool initialises = false, asks = false, changes = false;
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;
                size_t max = 0;

                ck_assert_int_eq(plan_make(pac, &options, &plan, &f), 0);
                ck_assert_str_eq(plan->not_executable, "");
                ck_assert(plan_writes_serial(plan, &max));
                ck_assert_uint_eq(max, streq(families[k], "phone") ? 63 : 23);
                for (size_t i = 0; i < plan->n_steps; i++) {
                        const PlanStep *s = plan->steps + i;

                        /* The number is known before anything changes, and after everything is saved. */
                        if (s->op == PLAN_SERIAL) {
                                ck_assert(!changes && !asks);
                                asks = true;
                        }
                        ck_assert(s->op != PLAN_BACKUP || !asks);
                        changes = changes || s->destructive;
                        if (s->op == PLAN_INITIALISE) {
                                ck_assert(asks && !initialises && s->destructive);
                                ck_assert_uint_eq(s->size, streq(families[k], "phone") ? 0x2000 : 0x100);
                        }
                        initialises = initialises || plan->steps[i].op == PLAN_INITIALISE;
                        ck_assert(plan->steps[i].op != PLAN_WRITE_NV || plan->steps[i].backup == -1);
                        ck_assert(plan->steps[i].op != PLAN_BACKUP || plan->steps[i].optional);
                        ck_assert(!plan->steps[i].checks_calibration);
                }
                ck_assert(initialises);
                ck_assert(says(plan->lost, plan->n_lost, "calibration and IMEIs are replaced"));
                plan_free(plan);
                pac_free(pac);
        }
}
END_TEST

/* What the unit starts as: asked for, after everything else; not of those that do not know it. */
START_TEST(test_first_mode) {
        Pac *phone = parse_maker(pm_new_family("phone", 5)), *module = parse_maker(pm_new_family("uis8910", 5));
        PlanOptions options = {.mode = FLASH_MODE_FACTORY, .first_mode = 0x11 + 1};
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;
        unsigned mode;

        ck_assert_int_eq(plan_make(phone, &options, &plan, &f), 0);
        ck_assert_int_eq(plan->steps[plan->n_steps - 2].op, PLAN_FIRST_MODE);
        ck_assert_int_eq(plan->steps[plan->n_steps - 1].op, PLAN_RESET);
        refused_with(phone, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .first_mode = 1}, "mode", "factory and research mode only");
        refused_with(module, options, "mode", "cannot be told");
        ck_assert(plan_first_mode_from_string("bbat", &mode) && mode == 0x11);
        ck_assert(plan_first_mode_from_string("0x16", &mode) && mode == 0x16);
        ck_assert(plan_first_mode_from_string("upt", &mode) && mode == 0x16);
        ck_assert(plan_first_mode_from_string("normal", &mode) && mode == 0);
        ck_assert(!plan_first_mode_from_string("0x17", &mode) && !plan_first_mode_from_string("", &mode) && !plan_first_mode_from_string("1x", &mode) &&
                  !plan_first_mode_from_string("tea", &mode));
        plan_free(plan);
        pac_free(phone);
        pac_free(module);
}
END_TEST

START_TEST(test_research) {
        PacMaker *m = pm_new_family("phone", 5);
        Pac *pac;
        Plan *plan;

        pm_find(m, "ProdNV")->backup = 0;
        pac = parse_maker(m);
        plan = make(pac, FLASH_MODE_RESEARCH);
        ck_assert(says(plan->lost, plan->n_lost, "ProdNV"));
        ck_assert(says(plan->kept, plan->n_kept, "PhaseCheck"));
        for (size_t i = 0; i < plan->n_steps; i++)
                ck_assert(!plan->steps[i].checks_calibration);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* ---- refusals ------------------------------------------------------------------------------------------- */

START_TEST(test_types) {
        static const char *const types[] = {"KickOff",  "PARTITION_NAME",     "code",         "Soft_SIM",
                                            "CHIP_DSP", "EXTTABLE"};

        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                PacMaker *m = pm_new_family("phone", 5);
                strcpy(pm_find(m, "BOOT")->type, types[i]);
                refused(m, UPGRADE_ANYWAY, "type", "BOOT");
        }
        PacMaker *m = pm_new_family("uis8850", 5);
        strcpy(pm_find(m, "APPIMG")->type, "CODE2");
        strcpy(pm_find(m, "APPIMG")->blocks[0].id, "appimg");
        refused(m, UPGRADE, "type", "family");
        m = pm_new_family("uis8850", 5);
        m->mode = 1;
        refused(m, UPGRADE, "nand-mode", "NAND");
        m = pm_new_family("uis8850", 5);
        strcpy(m->product_extra, "<ExtTable><PartitionType tag=\"paty\"><Partition id=\"a\"/></PartitionType></ExtTable>");
        refused(m, UPGRADE, "ext-table", "extended");
}
END_TEST

/* The stamp does not matter where the item is left alone. */
START_TEST(test_dropped_type) {
        PacMaker *m = pm_new_family("phone", 5);
        Pac *pac;

        strcpy(pm_find(m, "PhaseCheck")->type, "MiscDataCode2");
        pac = parse_maker(m);
        plan_free(make(pac, FLASH_MODE_UPGRADE));
        pac_free(pac);
}
END_TEST

START_TEST(test_warnings) {
        PacMaker *m = pm_new_family("uis8850", 5);
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;
        Pac *pac;

        pm_select(pm_find(m, "FLASH"), false);
        pac = parse_maker(m);
        refused_with(pac, UPGRADE, "warnings", "FLASH");
        ck_assert_int_eq(plan_make(pac, &UPGRADE_ANYWAY, &plan, &f), 0);
        ck_assert_str_eq(plan->not_executable, "");
        plan_free(plan);
        ck_assert_int_eq(plan_make(pac, &(PlanOptions){.mode = FLASH_MODE_UPGRADE, .display_only = true}, &plan, &f),
                         0);
        ck_assert_ptr_nonnull(strstr(plan->not_executable, "FLASH"));
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* Upgrade mode keeps its promise even with all warnings allowed. */
START_TEST(test_upgrade_promises) {
        PacMaker *m = pm_new_family("phone", 5);

        strcpy(pm_find(m, "EraseMisc")->blocks[0].id, "erase_all");
        refused(m, UPGRADE_ANYWAY, "erase-all", "never");
        m = pm_new_family("phone", 5);
        strcpy(pm_find(m, "EraseMisc")->blocks[0].id, "nr_fixnv1");
        refused(m, UPGRADE_ANYWAY, "nv", "nothing puts it back");
        m = pm_new_family("phone", 5);
        strcpy(pm_find(m, "DTBO")->blocks[0].id, "w_fixnv1");
        refused(m, UPGRADE_ANYWAY, "nv", "overwrites calibration");
        m = pm_new_family("phone", 5);
        strcpy(pm_find(m, "DTBO")->blocks[0].id, "calinv");
        refused(m, UPGRADE_ANYWAY, "nv", "overwrites calibration");
        m = pm_new_family("uis8850", 5);
        pm_find(m, "APPIMG")->blocks[0].base = 0xfe000003;
        refused(m, UPGRADE_ANYWAY, "nv", "overwrites calibration");
        m = pm_new_family("uis8850", 5);
        pm_find(m, "FMT_FSMOD")->blocks[0].size = 0x43414646;
        refused(m, UPGRADE_ANYWAY, "nv", "nothing puts it back");
}
END_TEST

/* Items on miscdata and prodnv are dropped whatever they are called and do. */
START_TEST(test_identity_dropped) {
        PacMaker *m = pm_new_family("phone", 5);
        Pac *pac;
        Plan *plan;

        strcpy(pm_find(m, "EraseMisc")->blocks[0].id, "prodnv");
        strcpy(pm_find(m, "DTBO")->blocks[0].id, "miscdata");
        pac = parse_maker(m);
        plan = make(pac, FLASH_MODE_UPGRADE);
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].destructive)
                        ck_assert(!streq(plan->steps[i].partition, "prodnv") &&
                                  !streq(plan->steps[i].partition, "miscdata"));
        ck_assert(says(plan->kept, plan->n_kept, "EraseMisc"));
        plan_free(plan);
        pac_free(pac);
}
END_TEST

START_TEST(test_bad_items) {
        PacMaker *m = pm_new_family("uis8850", 5);

        pm_find(m, "BOOT")->n_blocks = 2;
        refused(m, UPGRADE_ANYWAY, "blocks", "BOOT");
        m = pm_new_family("uis8850", 5);
        strcpy(pm_find(m, "BOOT")->attributes, "selbyflash=\"1\"");
        refused(m, UPGRADE, "select", "BOOT");
        m = pm_new_family("phone", 5);
        pm_find(m, "BOOT")->blocks[0].id[0] = '\0';
        refused(m, UPGRADE_ANYWAY, "target", "BOOT");
        m = pm_new_family("uis8850", 5);
        pm_find(m, "BOOT")->blocks[0].base = 0x160020000;
        refused(m, UPGRADE, "target", "BOOT");
        m = pm_new_family("uis8850", 5);
        pm_add(m, "X", "CODE", 0x60100000, 0);
        refused(m, UPGRADE, "data", "X");
        m = pm_new_family("phone", 5);
        pm_find(m, "ProdNV")->blocks[0].size = 0;
        refused(m, UPGRADE, "backup-size", "ProdNV");
        m = pm_new_family("uis8850", 5);
        pm_find(m, "NV")->size = 0x28004;
        refused(m, UPGRADE_ANYWAY, "nv", "takes 8 to");
        m = pm_new_family("uis8910", 5);
        pm_select(pm_find(m, "FDL2"), false);
        refused(m, UPGRADE, "loader", "second");
}
END_TEST

START_TEST(test_module_targets) {
        static const struct {
                const char *id;
                uint64_t base, size;
        } bad[] = {{"BOOT", 0x10000000, 0},      {"BOOT", 0xfe000001, 0},         {"BOOT", 0xfe000006, 0},
                   {"BOOT", 0x7fffff00, 0},      {"FMT_FSMOD", 0x601ae001, 4096}, {"FMT_FSMOD", 0x601ae000, 4095},
                   {"FMT_FSMOD", 0xfe000004, 0}, {"FMT_FSMOD", 0x7ffff000, 8192}, {"FMT_FSMOD", 0x20000000, 4096}};

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                PacMaker *m = pm_new_family("uis8850", 5);

                pm_find(m, bad[i].id)->blocks[0].base = bad[i].base;
                pm_find(m, bad[i].id)->blocks[0].size = bad[i].size;
                refused(m, UPGRADE_ANYWAY, "target", bad[i].id);
        }
}
END_TEST

START_TEST(test_both_spl) {
        PacMaker *m = pm_new_family("phone", 5);
        Failure f = FAILURE_INIT;
        Plan *plan;
        Pac *pac;
        int n = 0;

        strcpy(pm_find(m, "SPLLoader")->id, "SPLLoaderEMMC");
        pm_random(pm_add_name(m, "SPLLoaderUFS", "BOOT_LOADER2", "splloader", 0), "spl-ufs.bin", 4096);
        pac = parse_maker(m);
        /* No danger: the unit's storage decides, and one that does not say is refused. */
        ck_assert_int_eq(plan_make(pac, &UPGRADE, &plan, &f), 0);
        ck_assert_str_eq(plan->notes[0], "SPLLoaderEMMC and SPLLoaderUFS: the storage of the unit decides which of them "
                                         "is written. A unit that does not say what it has is refused.");
        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                if (s->storage[0])
                        ck_assert_str_eq(s->storage, n++ == 0 ? "emmc" : "ufs");
        }
        ck_assert_int_eq(n, 2);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* An SPL that is not erased first keeps its place. */
START_TEST(test_spl_without_erase) {
        PacMaker *m = pm_new_family("uis8850", 5);
        PmFile spl;
        Pac *pac;
        Plan *plan;

        pm_select(pm_find(m, "ERASE_SPL"), false);
        spl = *pm_find(m, "SPL");
        *pm_find(m, "SPL") = *pm_find(m, "AP");
        *pm_find(m, "AP") = spl; /* the first of the two is now the SPL */
        pac = parse_maker(m);
        plan = make(pac, FLASH_MODE_UPGRADE);
        for (size_t i = 0; i < plan->n_steps; i++)
                if (streq(plan->steps[i].id, "SPL"))
                        ck_assert_str_eq(plan->steps[i + 1].id, "APPIMG");
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* ---- text and JSON -------------------------------------------------------------------------------------- */

static const char *text_of(struct json_object *o, const char *key) {
        struct json_object *v;

        ck_assert_msg(json_object_object_get_ex(o, key, &v), "no \"%s\"", key);
        return json_object_get_string(v);
}

static struct json_object *array_of(struct json_object *o, const char *key, size_t n) {
        struct json_object *v;

        ck_assert_msg(json_object_object_get_ex(o, key, &v), "no \"%s\"", key);
        ck_assert_uint_eq(json_object_array_length(v), n);
        return v;
}

START_TEST(test_text) {
        Pac *pac = parse_maker(pm_new_family("phone", 5));
        Plan *plan = make(pac, FLASH_MODE_UPGRADE);
        char *text;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        struct json_object *o;

        inspect_print(pac, out);
        plan_print(plan, out);
        fclose(out);
        ck_assert_ptr_nonnull(strstr(text, "SIMPHONE"));
        ck_assert_ptr_nonnull(strstr(text, "l_fixnv1"));
        ck_assert_ptr_nonnull(strstr(text, "the rest"));
        ck_assert_ptr_nonnull(strstr(text, "Lost:"));
        ck_assert_ptr_nonnull(strstr(text, "Kept:"));
        free(text);
        o = inspect_to_json(pac);
        ck_assert_str_eq(text_of(o, "family"), "phone");
        ck_assert_str_eq(text_of(json_object_array_get_idx(array_of(o, "files", pac->n_files), 3), "partition"),
                         "l_fixnv1");
        array_of(o, "partitions", 30);
        array_of(o, "warnings", 0);
        json_object_put(o);
        o = plan_to_json(plan);
        ck_assert_str_eq(text_of(o, "mode"), "upgrade");
        ck_assert_str_eq(text_of(json_object_array_get_idx(array_of(o, "steps", plan->n_steps), 10), "op"), "write-nv");
        array_of(o, "lost", plan->n_lost);
        json_object_put(o);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

/* ---- reading back only, download mode, digests ---- */

static Plan *make_with(const Pac *pac, PlanOptions options) {
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;

        ck_assert_msg(plan_make(pac, &options, &plan, &f) == 0, "%s: %s", f.detail, f.text);
        return plan;
}

static size_t count(const Plan *plan, PlanOp op) {
        size_t n = 0;

        for (size_t i = 0; i < plan->n_steps; i++)
                n += plan->steps[i].op == op;
        return n;
}

/* Nothing that could change a unit is in a plan that only looks; what it looks at is all that would be written, whole. */
START_TEST(test_check_only) {
        static const char *const families[] = {"phone", "uis8850", "uis8910", "feature"};
        Pac *pac = parse_maker(pm_new_family(families[_i], 7));
        Plan *writes = make_with(pac, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .verify = VERIFY_FULL});
        Plan *plan = make_with(pac, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .verify = VERIFY_ACK, .check_only = true});
        size_t read_back = 0;

        for (size_t i = 0; i + 1 < writes->n_steps; i++)
                read_back += writes->steps[i].op == PLAN_WRITE && writes->steps[i + 1].op == PLAN_VERIFY;
        ck_assert_uint_gt(read_back, 2);
        ck_assert_uint_eq(count(plan, PLAN_VERIFY), read_back);
        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;

                ck_assert_msg(!s->destructive && !s->critical && s->write == -1, "step %zu", i);
                ck_assert(s->op != PLAN_WRITE && s->op != PLAN_WRITE_NV && s->op != PLAN_ERASE && s->op != PLAN_REPARTITION && s->op != PLAN_BACKUP);
                if (s->op == PLAN_VERIFY)
                        ck_assert(s->sample == 0 && s->size > 0 && s->offset != U64_UNKNOWN);
        }
        ck_assert_uint_eq(count(plan, PLAN_HANDSHAKE), 1);
        ck_assert_uint_eq(plan->n_lost, 0);
        ck_assert_uint_eq(plan->n_kept, 0);
        plan_free(writes);
        plan_free(plan);
        pac_free(pac);
}
END_TEST

START_TEST(test_soft_entry) {
        Pac *pac = parse_maker(pm_new_family("uis8910", 7));
        Plan *plan = make_with(pac, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .soft_entry = true});
        size_t at = 0;

        ck_assert_uint_eq(count(plan, PLAN_ENTER), 1);
        while (plan->steps[at].op != PLAN_ENTER)
                at++;
        for (size_t i = 0; i <= at; i++)
                ck_assert(plan->steps[i].op != PLAN_LOAD);
        /* The unit may not start any more from there on. */
        ck_assert(plan->steps[at].destructive && plan->steps[at].critical);
        plan_free(plan);
        plan = make_with(pac, UPGRADE);
        ck_assert_uint_eq(count(plan, PLAN_ENTER), 0);
        plan_free(plan);
        /* A job that writes no first boot stage could leave a unit that does not start. */
        refused_with(pac, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .soft_entry = true, .check_only = true}, "soft-entry", "no first boot stage");
        refused_with(pac, (PlanOptions){.mode = FLASH_MODE_UPGRADE, .soft_entry = true, .choice = {.exclude = "BOOTLOADER"}}, "soft-entry", "no first boot stage");
        pac_free(pac);
}
END_TEST

START_TEST(test_digest) {
        Pac *pac = parse_maker(pm_new_family("uis8910", 7)), *other = parse_maker(pm_new_family("uis8850", 7));
        const struct {
                const Pac *pac;
                PlanOptions options;
        } cases[] = {
                {pac, {.mode = FLASH_MODE_UPGRADE}},
                {pac, {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_NOTHING}},
                {pac, {.mode = FLASH_MODE_UPGRADE, .verify = VERIFY_FULL}},
                {pac, {.mode = FLASH_MODE_FACTORY}},
                {other, {.mode = FLASH_MODE_UPGRADE}},
        };
        char digests[ELEMENTSOF(cases)][65], again[65];

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Plan *plan = make_with(cases[i].pac, cases[i].options);

                ck_assert_int_eq(plan_digest(plan, digests[i]), 0);
                ck_assert_uint_eq(strspn(digests[i], "0123456789abcdef"), 64);
                plan_free(plan);
                plan = make_with(cases[i].pac, cases[i].options);
                ck_assert_int_eq(plan_digest(plan, again), 0);
                ck_assert_str_eq(digests[i], again);
                plan_free(plan);
                for (size_t k = 0; k < i; k++)
                        ck_assert_msg(!streq(digests[i], digests[k]), "%zu is as %zu", i, k);
        }
        pac_free(pac);
        pac_free(other);
}
END_TEST

START_TEST(test_words) {
        for (PlanOp op = 0; op < PLAN_OP_MAX; op++)
                ck_assert_ptr_nonnull(plan_op_to_string(op));
        ck_assert_ptr_null(plan_op_to_string(PLAN_OP_MAX));
}
END_TEST

int main(void) {
        Suite *s = suite_create("plan");
        TCase *t = tcase_create("plan");
        SRunner *runner;
        int failed;

        tcase_add_test(t, test_uis8910);
        tcase_add_test(t, test_uis8850);
        tcase_add_test(t, test_uis8850_parts);
        tcase_add_test(t, test_phone);
        tcase_add_test(t, test_backup_first);
        tcase_add_test(t, test_second_enumeration);
        tcase_add_test(t, test_finish);
        tcase_add_test(t, test_factory);
        tcase_add_test(t, test_first_mode);
        tcase_add_test(t, test_research);
        tcase_add_test(t, test_types);
        tcase_add_test(t, test_dropped_type);
        tcase_add_test(t, test_warnings);
        tcase_add_test(t, test_upgrade_promises);
        tcase_add_test(t, test_identity_dropped);
        tcase_add_test(t, test_bad_items);
        tcase_add_test(t, test_module_targets);
        tcase_add_test(t, test_both_spl);
        tcase_add_test(t, test_spl_without_erase);
        tcase_add_test(t, test_text);
        tcase_add_test(t, test_words);
        tcase_add_loop_test(t, test_check_only, 0, 4);
        tcase_add_test(t, test_soft_entry);
        tcase_add_test(t, test_digest);
        tcase_set_timeout(t, 60);
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? 1 : 0;
}
