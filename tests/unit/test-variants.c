/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What packages ask of loaders beside reading and writing: variants of files, the extended table, stamps. On simulated units, in
 * virtual time. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/engine-private.h"
#include "flash/variant.h"
#include "must.h"

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
}

static void must_fail(Bench *b, const char *code) {
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_msg(streq(bench_code(b), code), "%s instead of %s: %s", bench_code(b), code, b->failure.text);
}

static void nothing_written(const Bench *b) {
        ck_assert_ptr_null(bench_event(b, EVENT_INTENT, NULL));
        ck_assert(!b->report.wrote);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

START_TEST(test_keys) {
        static const struct {
                const char *name, *key;
        } names[] = {
                {"system_b128k_p2k.img", "_b128k_p2k"}, {"SYSTEM_B256K_P4K.IMG", "_b256k_p4k"},
                {"my_boot_b512k_p512.ubi", "_b512k_p512"}, {"cache_b128k_p2k", "_b128k_p2k"},
                {"system.img", NULL}, {"system_b128k.img", NULL}, {"system_b_p2k.img", NULL},
                {"system_b128k_p2k_x.img", NULL}, {"_p2k_b128k.img", NULL}, {"", NULL},
        };
        char key[VARIANT_KEY_MAX];

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                ck_assert_msg(variant_flash_key_of(names[i].name, key) == (names[i].key != NULL), "%s", names[i].name);
                if (names[i].key)
                        ck_assert_str_eq(key, names[i].key);
        }
        variant_flash_key(0x20000, 0x800, key);
        ck_assert_str_eq(key, "_b128k_p2k");
        variant_flash_key(16384, 512, key);
        ck_assert_str_eq(key, "_b16k_p512");
}
END_TEST

/* ---- chosen by flash ------------------------------------------------------------------------------------ */

static PacMaker *nand_maker(void) {
        PacMaker *m = pm_new_family("phone-nand", 11);
        PmFile *f = pm_find(m, "System");

        strcpy(f->name, "system_b128k_p2k.img");
        strcpy(f->attributes, "selbyflash=\"1\"");
        pm_variant(m, f, "system_b256k_p4k.img", 3 * 1024 * 1024);
        pm_variant(m, f, "other_b512k_p8k.img", 1024); /* of nothing in this package */
        return m;
}

static Bench *planned(const char *spec, PacMaker *m) {
        Bench *b = bench_new_made(spec, m);

        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

static const uint8_t *attachment(const Bench *b, const char *name, uint64_t *ret_size) {
        for (size_t i = 0; i < b->pac->n_attachments; i++)
                if (streq(b->pac->attachments[i].file_name, name)) {
                        *ret_size = b->pac->attachments[i].size;
                        return b->package + b->pac->attachments[i].offset;
                }
        ck_abort_msg("no attachment %s", name);
        return NULL;
}

static void system_holds(const Bench *b, const uint8_t *data, uint64_t size) {
        BenchFlash *have = bench_flash(b);
        size_t n;
        const uint8_t *p = bench_flash_file(have, "parts/system", &n);

        ck_assert_uint_ge(n, size);
        ck_assert_mem_eq(p, data, size);
        for (size_t i = size; i < n; i++)
                must(p[i] == 0, "byte %zu is 0x%02x", i, p[i]); /* an update of a volume replaces all of it */
        bench_flash_free(have);
}

START_TEST(test_flash_decides) {
        static const char *const specs[] = {"phone-nand,fast", "phone-nand,fast,info-order=page-block",
                                            "phone-nand,fast,block=0x40000,page=0x1000",
                                            "phone-nand,fast,block=0x40000,page=0x1000,info-order=page-block",
                                            "phone-nand,fast,info=ack,block=0x40000,page=0x1000"};
        Bench *b = planned(specs[_i], nand_maker());
        const PacFile *own = pac_find_file(b->pac, "System");
        const uint8_t *data = b->package + own->offset;
        uint64_t size = own->size;

        if (_i >= 2)
                data = attachment(b, "system_b256k_p4k.img", &size);
        must_pass(b);
        system_holds(b, data, size);
        ck_assert(bench_describes(b, "\"read-info\":1"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, _i >= 2 ? "flash-geometry=b256k_p4k" : "flash-geometry=b128k_p2k"));
        bench_free(b);
}
END_TEST

/* Variants that stand in the configuration as files of their own, with one target. */
START_TEST(test_variants_as_files) {
        PacMaker *m = pm_new_family("phone-nand", 11);
        PmFile *f = pm_find(m, "System"), *other;
        Bench *b;

        strcpy(f->name, "system_b128k_p2k.img");
        strcpy(f->attributes, "selbyflash=\"1\"");
        other = pm_add_name(m, "System4K", f->type, "system", 0);
        pm_random(other, "system_b256k_p4k.img", 1024 * 1024);
        strcpy(other->attributes, "selbyflash=\"1\"");
        b = planned("phone-nand,fast,block=0x40000,page=0x1000", m);
        must_pass(b);
        system_holds(b, b->package + pac_find_file(b->pac, "System4K")->offset, 1024 * 1024);
        bench_free(b);
}
END_TEST

static const struct {
        const char *spec, *code, *text;
        const char *fault;
} not_chosen[] = {
        {"phone-nand,fast,block=0x80000,page=0x2000", "identify-mismatch-variant", "_b512k_p8k", NULL},
        {"phone-nand,fast,storage=emmc", "identify-mismatch-variant", "no NAND", NULL},
        {"phone-nand,fast,storage=ufs,info=tlv", "identify-mismatch-variant", "no NAND", NULL},
        {"phone-nand,fast", "identify-refused-fe", "FE", "at=fdl2:read-info nak=fe"},
        {"phone-nand,fast,page=0x20000", "identify-mismatch-variant", "cannot be used", NULL},
        {"phone-nand,fast", "identify-silent", "", "at=fdl2:read-info silence"},
};

START_TEST(test_no_variant) {
        Bench *b = planned(not_chosen[_i].spec, nand_maker());

        if (not_chosen[_i].fault)
                bench_fault(b, not_chosen[_i].fault);
        must_fail(b, not_chosen[_i].code);
        ck_assert_msg(strstr(b->failure.text, not_chosen[_i].text), "%s", b->failure.text);
        nothing_written(b);
        if (strstr(not_chosen[_i].text, "no NAND"))
                ck_assert(!bench_describes(b, "\"read-info\":1")); /* such a loader would never answer */
        bench_free(b);
}
END_TEST

static int plan_of(PacMaker *m, Failure *f) {
        static const PlanOptions options = {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET};
        uint8_t *package;
        size_t size;
        Plan *plan = NULL;
        PacReader reader;
        Pac *pac;
        int r;

        ck_assert_int_eq(pm_build(m, &package, &size), 0);
        reader = pac_reader_for_memory(package, size);
        *f = FAILURE_INIT;
        ck_assert_msg(pac_parse(&reader, &pac, f) == 0, "%s", f->text);
        r = plan_make(pac, &options, &plan, f);
        plan_free(plan);
        pac_free(pac);
        free(package);
        pm_free(m);
        return r;
}

static void must_refuse(PacMaker *m, const char *detail, const char *text) {
        Failure f;

        ck_assert_int_eq(plan_of(m, &f), 1);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_msg(streq(f.detail, detail), "%s: %s", f.detail, f.text);
        ck_assert_msg(strstr(f.text, text), "%s", f.text);
}

/* What can be told from the package alone is refused there. */
START_TEST(test_bad_variants) {
        PacMaker *m = nand_maker();

        strcpy(pm_find(m, "System")->name, "system.img");
        must_refuse(m, "select", "_b128k_p2k");
        m = nand_maker();
        pm_variant(m, pm_find(m, "System"), "SYSTEM_B256K_P4K.img", 4096);
        must_refuse(m, "select", "two files");
        m = pm_new_family("feature", 11);
        strcpy(pm_find(m, "PS")->attributes, "selbyflash=\"1\"");
        must_refuse(m, "select", "cannot be asked");
}
END_TEST

/* ---- chosen by radio chip ------------------------------------------------------------------------------- */

#define RF_LIST "<RF enable=\"1\"><Transceiver id=\"0x0\" name=\"BOCA\"/><Transceiver id=\"0x7\" name=\"NAVAJO\"/></RF>"

static PacMaker *rf_maker(const char *list) {
        PacMaker *m = pm_new_family("phone", 11);
        PmFile *f = pm_find(m, "NV_LTE");

        strcpy(m->product_extra, list);
        strcpy(f->name, "lte_BOCA_nvitem.bin");
        strcpy(f->attributes, "selbyrf=\"1\"");
        pm_variant(m, f, "lte_navajo_v2_nvitem.bin", f->size);
        return m;
}

static void nv_is(const Bench *b, const uint8_t *image) {
        BenchFlash *have = bench_flash(b);
        size_t size, n, k;
        const uint8_t *p = bench_flash_file(have, "parts/l_fixnv1", &size), *item;

        item = expect_nv_item(p + 512, get_le32(p + 4), 0x259, &n);
        ck_assert_ptr_nonnull(item);
        ck_assert_mem_eq(item, expect_nv_item(image, 0x20000, 0x259, &k), n); /* not kept: the package's */
        bench_flash_free(have);
}

START_TEST(test_rf_decides) {
        Bench *b = planned(_i ? "phone-emmc,fast,rf=7" : "phone-emmc,fast,rf=0", rf_maker(RF_LIST));
        uint64_t size;

        must_pass(b);
        nv_is(b, _i ? attachment(b, "lte_navajo_v2_nvitem.bin", &size)
                    : b->package + pac_find_file(b->pac, "NV_LTE")->offset);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, _i ? "rf-chip=NAVAJO" : "rf-chip=BOCA"));
        bench_free(b);
}
END_TEST

START_TEST(test_no_rf) {
        Bench *b = planned("phone-emmc,fast,rf=3", rf_maker(RF_LIST));

        must_fail(b, "identify-mismatch-variant");
        nothing_written(b);
        bench_free(b);
        b = planned("phone-emmc,fast", rf_maker(RF_LIST)); /* a loader that cannot tell */
        must_fail(b, "identify-refused-fe");
        nothing_written(b);
        bench_free(b);
        /* Without a list the file is the file. */
        b = planned("phone-emmc,fast", rf_maker("<RF enable=\"0\"><Transceiver id=\"0x0\" name=\"BOCA\"/></RF>"));
        must_pass(b);
        nv_is(b, b->package + pac_find_file(b->pac, "NV_LTE")->offset);
        bench_free(b);
        PacMaker *m = rf_maker(RF_LIST);
        strcpy(pm_find(m, "BOOT")->attributes, "selbyrf=\"1\"");
        must_refuse(m, "select", "BOOT");
}
END_TEST

/* ---- the extended table --------------------------------------------------------------------------------- */

#define EXT_TABLE                                                                                                      \
        "<ExtTable><PartitionType tag=\"paty\"><Partition id=\"l_fixnv1\" id2=\"l_fixnv2\" type=\"1\" size=\"0x100000\"/>" \
        "<Partition id=\"super\" id2=\"\" type=\"2\"/></PartitionType></ExtTable>"

static void name_to(uint8_t *p, const char *name) {
        for (; *name; p += 2)
                *p = (uint8_t) *name++;
}

static uint32_t crc32_of(const uint8_t *p, size_t n) {
        uint32_t crc = ~0u;

        while (n--) {
                crc ^= *p++;
                for (int i = 0; i < 8; i++)
                        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
        return ~crc;
}

START_TEST(test_ext_table) {
        PacMaker *m = pm_new_family("phone", 11);
        uint8_t want[16 + 2 * 152] = {1, 0, 0, 0, 'p', 'a', 't', 'y', 16, 0, 0, 0, 0x30, 1, 0, 0};
        char text[64];
        Bench *b;

        name_to(want + 16, "l_fixnv1");
        name_to(want + 16 + 72, "l_fixnv2");
        put_le32(want + 16 + 144, 0x100000);
        want[16 + 148] = 1;
        name_to(want + 168, "super");
        want[168 + 148] = 2;
        strcpy(m->product_extra, EXT_TABLE);
        b = planned("phone-emmc,fast", m);
        ck_assert_uint_eq(b->plan->ext_table_size, sizeof(want));
        ck_assert_mem_eq(b->plan->ext_table, want, sizeof(want));
        b->cancel_step = bench_find_step(b, PLAN_ERASE, "splloader"); /* while it is still in the loader's memory */
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        snprintf(text, sizeof(text), "\"ext-table\":\"%zu %08x\"", sizeof(want), crc32_of(want, sizeof(want)));
        ck_assert(bench_describes(b, text));
        bench_free(b);
        m = pm_new_family("phone", 11);
        strcpy(m->product_extra, EXT_TABLE);
        b = planned("phone-emmc,fast", m);
        must_pass(b);
        bench_free(b);
        /* A loader that does not take it would write NV as if it were nothing special. */
        m = pm_new_family("phone", 11);
        strcpy(m->product_extra, EXT_TABLE);
        b = planned("phone-emmc,fast,ext-table=0", m);
        must_fail(b, "identify-refused-fe");
        nothing_written(b);
        bench_free(b);
        m = pm_new_family("phone", 11);
        strcpy(m->product_extra, "<ExtTable><OtherType tag=\"pat2\"><Other/></OtherType></ExtTable>");
        must_refuse(m, "ext-table", "OtherType");
}
END_TEST

/* ---- stamps --------------------------------------------------------------------------------------------- */

static PacMaker *apr_maker(void) {
        PacMaker *m = pm_new_family("phone", 11);

        strcpy(m->product_extra, "<APR>1</APR>");
        return m;
}

/* 2024-02-29 12:00:00 UTC, in 100 ns since 1601. */
#define BUILT 1709208000
#define BUILT_APR 133536816000000000ull

START_TEST(test_apr) {
        Bench *b = planned("phone-emmc,fast", apr_maker());
        BenchFlash *want = bench_flash(b), *have;
        static const char *const boot_areas[] = {"boot1.bin", "boot2.bin", NULL};
        uint8_t time[8];

        b->input.package_time_s = BUILT;
        must_pass(b);
        have = bench_flash(b);
        expect_upgrade(want, b->pac, b->package);
        put_le64(time, BUILT_APR);
        bench_flash_patch(want, "parts/miscdata", 0x81400, time, sizeof(time));
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), ""); /* and nothing else of it */
        bench_flash_free(want);
        bench_flash_free(have);
        bench_free(b);
}
END_TEST

/* A loader that does not know it: noted, and what comes after is done. */
START_TEST(test_apr_unknown) {
        Bench *b = planned("phone-emmc,fast,apr=0", apr_maker());

        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=build time of the package (APR) not written: this loader does"));
        bench_free(b);
        b = planned("phone-emmc,fast", apr_maker());
        bench_fault(b, "at=fdl2:date-time nak=a2");
        must_fail(b, "write-refused-a2");
        bench_free(b);
}
END_TEST

static PacMaker *stamp_maker(void) {
        PacMaker *m = pm_new_family("phone", 11);

        strcpy(pm_find(m, "BootLogo")->type, "MiscDataCode2");
        strcpy(pm_find(m, "Fastboot_Logo")->type, "MiscDataCode2");
        strcpy(m->product_extra, "<APR>1</APR>");
        return m;
}

START_TEST(test_time_stamp) {
        Bench *b = planned("phone-emmc,fast", stamp_maker());
        static const uint8_t magic[4] = {0x7e, 0x53, 0x45, 0x54};
        BenchFlash *have;
        const uint8_t *p;
        size_t n;

        b->input.now_s = 0x1122334455;
        must_pass(b);
        have = bench_flash(b);
        p = bench_flash_file(have, "parts/miscdata", &n);
        ck_assert_mem_eq(p + 0x2700, magic, 4);
        ck_assert_uint_eq(get_le64(p + 0x2704), 0x1122334455);
        p = bench_flash_file(have, "parts/logo", &n);
        ck_assert_mem_eq(p, b->package + pac_find_file(b->pac, "BootLogo")->offset, pac_find_file(b->pac, "BootLogo")->size);
        bench_flash_free(have);
        bench_free(b);
}
END_TEST

/* Two refusals, and the third command that it would not know is never sent: it would be the last. */
START_TEST(test_never_the_third) {
        Bench *b = planned("phone-emmc,fast,unknown=chip-uid+time-stamp+date-time,unknown-limit=3", stamp_maker());

        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=time stamp not written: this loader does not know"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=build time of the package (APR) not written: the loader refused"));
        ck_assert(bench_describes(b, "\"unknown\":2"));
        bench_free(b);
}
END_TEST

/* ---- calibration ---------------------------------------------------------------------------------------- */

START_TEST(test_check_cali) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        strcpy(pm_find(m, "NV_LTE")->attributes, "CheckCali=\"GSM,LTE\"");
        b = planned("phone-emmc,fast,uncalibrated-lte", m);
        must_fail(b, "backup-mismatch-nv-uncalibrated");
        ck_assert_msg(strstr(b->failure.text, "LTE"), "%s", b->failure.text);
        nothing_written(b);
        bench_free(b);
        m = pm_new_family("phone", 11);
        strcpy(pm_find(m, "NV_LTE")->attributes, "CheckCali=\"GSM,LTE\"");
        b = planned("phone-emmc,fast", m);
        must_pass(b);
        bench_free(b);
        b = planned("phone-emmc,fast,uncalibrated-lte", pm_new_family("phone", 11)); /* GSM alone, by default */
        must_pass(b);
        bench_free(b);
}
END_TEST

/* ---- products ------------------------------------------------------------------------------------------- */

START_TEST(test_products) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        strcpy(m->product, "sp9853i_1h10");
        b = planned("phone-emmc,fast,fdl1-start=20000", m); /* more than the 10 s of others */
        ck_assert_uint_eq(b->plan->at_least.sync_fdl1, 10000);
        must_pass(b);
        bench_free(b);
        m = pm_new_family("phone", 11);
        strcpy(m->product, "sc8810_openphone");
        b = planned("phone-emmc,fast", m);
        ck_assert_uint_eq(b->plan->steps[bench_find_step(b, PLAN_WRITE, "BOOT")].block, 0x3000);
        must_pass(b);
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *s = suite_create("variants");
        TCase *t = tcase_create("variants");
        SRunner *runner;
        int failed;

        tcase_set_timeout(t, 300);
        suite_add_tcase(s, t);
        tcase_add_test(t, test_keys);
        tcase_add_loop_test(t, test_flash_decides, 0, 5);
        tcase_add_test(t, test_variants_as_files);
        tcase_add_loop_test(t, test_no_variant, 0, (int) ELEMENTSOF(not_chosen));
        tcase_add_test(t, test_bad_variants);
        tcase_add_loop_test(t, test_rf_decides, 0, 2);
        tcase_add_test(t, test_no_rf);
        tcase_add_test(t, test_ext_table);
        tcase_add_test(t, test_apr);
        tcase_add_test(t, test_apr_unknown);
        tcase_add_test(t, test_time_stamp);
        tcase_add_test(t, test_never_the_third);
        tcase_add_test(t, test_check_cali);
        tcase_add_test(t, test_products);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
