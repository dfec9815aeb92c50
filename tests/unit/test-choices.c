/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a person chooses beyond the mode: files, checks before the first write, charging. Plans, and simulated units in virtual time. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/choice.h"

static PlanOptions options;

static void choose(const char *name, const char *value) {
        char why[256];

        ck_assert_msg(choice_set(&options.choice, name, value, why, sizeof(why)) == 0, "%s=%s: %s", name, value, why);
}

static void begin(FlashMode mode) {
        options = (PlanOptions) {.mode = mode, .finish = FINISH_NOTHING, .verify = VERIFY_ACK};
}

/* ---- texts -------------------------------------------------------------------------------------------------- */

START_TEST(values) {
        static const char *const good[][2] = {
                {"include", "boot"}, {"include", "a,b , c"}, {"checks", "ddr,old-memory"}, {"checks", "chip-type=0x96310000"},
                {"checks", "memory-type=2c-ac-15/ec-bc"}, {"try-checks", "bad-blocks=0.5"}, {"keep-charge", "try"}, {"nv", "package"},
                {"stamps", "no"}, {"table-check", "no"},
        };
        static const char *const bad[][2] = {
                {"include", ""}, {"include", " , "}, {"include", "a\nb"}, {"checks", "ddr=1"}, {"checks", "nothing"}, {"checks", "chip-type"},
                {"checks", "chip-type=x"}, {"checks", "chip-type=0x100000000"}, {"checks", "memory-type=2c"}, {"checks", "memory-type=2c-"},
                {"checks", "memory-type=2c-ac-15-1"}, {"checks", "memory-type=zz-1"}, {"try-checks", "bad-blocks=101"}, {"try-checks", "bad-blocks=-1"},
                {"keep-charge", "maybe"}, {"nv", ""}, {"stamps", "try"},
        };
        PlanChoice back;
        char text[CHOICE_LINES_MAX], why[256], again[CHOICE_LINES_MAX];

        begin(FLASH_MODE_UPGRADE);
        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                choose(good[i][0], good[i][1]);
        choice_to_text(&options.choice, text, sizeof(text));
        choice_from_text(&back, text);
        choice_to_text(&back, again, sizeof(again));
        ck_assert_str_eq(text, again);
        ck_assert(choice_equal(&options.choice, &back));
        ck_assert(!choice_is_default(&back));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_msg(choice_set(&options.choice, bad[i][0], bad[i][1], why, sizeof(why)) == -EINVAL, "%s=%s", bad[i][0], bad[i][1]);
                ck_assert_ptr_nonnull(strstr(why, "Possible"));
        }
        ck_assert(choice_equal(&options.choice, &back));
        ck_assert_int_eq(choice_set(&options.choice, "colour", "red", why, sizeof(why)), -ENOENT);
}
END_TEST

/* ---- files -------------------------------------------------------------------------------------------------- */

/* 0, or 1 with the failure. */
static int plan_of(Bench *b, Plan **ret, Failure *f) {
        *f = FAILURE_INIT;
        *ret = NULL;
        return plan_make(b->pac, &options, ret, f);
}

static bool has(const Plan *p, PlanOp op, const char *id) {
        for (size_t i = 0; i < p->n_steps; i++)
                if (p->steps[i].op == op && (!id || streq(p->steps[i].id, id)))
                        return true;
        return false;
}

static void refused(Bench *b, const char *text) {
        Failure f;
        Plan *p;

        ck_assert_int_eq(plan_of(b, &p, &f), 1);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_msg(strstr(f.text, text), "%s", f.text);
}

START_TEST(files_are_left_out) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        Failure f;
        Plan *p;

        begin(FLASH_MODE_UPGRADE);
        choose("exclude", "boot,NV_LTE");
        ck_assert_msg(plan_of(b, &p, &f) == 0, "%s", f.text);
        ck_assert(!has(p, PLAN_WRITE, "BOOT") && has(p, PLAN_WRITE, "System"));
        ck_assert(!has(p, PLAN_WRITE_NV, "NV_LTE"));
        ck_assert(has(p, PLAN_BACKUP, "NV_LTE")); /* it could be destroyed all the same */
        plan_free(p);
        choose("exclude", "nothing");
        refused(b, "no file \"nothing\". It has ");
        ck_assert_int_eq(plan_of(b, &p, &f), 1);
        ck_assert_ptr_nonnull(strstr(f.text, "ProdNV"));
        choose("exclude", "FDL2");
        refused(b, "FDL2 is a loader");
        begin(FLASH_MODE_UPGRADE);
        choose("nv", "package");
        refused(b, "research mode only");
        bench_free(b);
}
END_TEST

START_TEST(what_is_not_ticked_is_included) {
        PacMaker *m = pm_new_family("phone", 11);
        Failure f;
        Bench *b;
        Plan *p;

        pm_find(m, "System")->check = 0;
        b = bench_new_made("phone-emmc,fast", m);
        begin(FLASH_MODE_UPGRADE);
        options.allow_warnings = true; /* for that very reason */
        ck_assert_msg(plan_of(b, &p, &f) == 0, "%s", f.text);
        ck_assert(!has(p, PLAN_WRITE, "System"));
        plan_free(p);
        choose("include", "system");
        ck_assert_msg(plan_of(b, &p, &f) == 0, "%s", f.text);
        ck_assert(has(p, PLAN_WRITE, "System") && has(p, PLAN_WRITE, "BOOT"));
        plan_free(p);
        bench_free(b);
}
END_TEST

/* Exactly what is chosen, and what that makes necessary for the sake of calibration. */
START_TEST(research_does_what_is_chosen) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        Failure f;
        Plan *p;

        begin(FLASH_MODE_RESEARCH);
        refused(b, "--include=all");
        choose("include", "System");
        ck_assert_msg(plan_of(b, &p, &f) == 0, "%s", f.text);
        ck_assert(has(p, PLAN_WRITE, "System"));
        for (size_t i = 0; i < p->n_steps; i++) {
                ck_assert(!p->steps[i].destructive || streq(p->steps[i].id, "System"));
                ck_assert_int_ne(p->steps[i].op, PLAN_BACKUP);
        }
        plan_free(p);
        choose("include", "NV_LTE");
        ck_assert_int_eq(plan_of(b, &p, &f), 0);
        ck_assert(has(p, PLAN_BACKUP, "NV_LTE") && has(p, PLAN_WRITE_NV, "NV_LTE") && !has(p, PLAN_WRITE, NULL));
        plan_free(p);
        choose("include", "all");
        choose("exclude", "System");
        ck_assert_int_eq(plan_of(b, &p, &f), 0);
        ck_assert(has(p, PLAN_WRITE, "BOOT") && !has(p, PLAN_WRITE, "System"));
        plan_free(p);
        bench_free(b);
}
END_TEST

START_TEST(research_chooses_whose_calibration) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        Failure f;
        Plan *p;

        for (unsigned keep = 0; keep < 2; keep++) {
                begin(FLASH_MODE_RESEARCH);
                choose("include", "NV_LTE");
                choose("nv", keep ? "keep" : "package");
                ck_assert_int_eq(plan_of(b, &p, &f), 0);
                for (size_t i = 0; i < p->n_steps; i++)
                        if (p->steps[i].op == PLAN_WRITE_NV)
                                ck_assert_int_eq(p->steps[i].backup >= 0, keep);
                plan_free(p);
        }
        bench_free(b);
}
END_TEST

/* A unit whose table is another one: refused, unless that was chosen and the file fits. */
START_TEST(another_table_is_no_matter) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        static char spec[200];
        char path[100];
        FILE *out;

        snprintf(path, sizeof(path), "/tmp/choices-%d.table", (int) getpid());
        out = fopen(path, "w");
        ck_assert_ptr_nonnull(out);
        fputs("prodnv 10\nmiscdata 2\nl_fixnv1 2\nl_fixnv2 2\nl_runtimenv1 2\nl_runtimenv2 2\nboot 64\nsuper 2048\nuserdata rest\n", out);
        fclose(out);
        bench_free(b);
        snprintf(spec, sizeof(spec), "phone-emmc,fast,table=%s", path);
        b = bench_new(spec, "phone");
        begin(FLASH_MODE_RESEARCH);
        choose("include", "System");
        bench_plan_with(b, &options);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "identify-mismatch-table");
        bench_free(b);
        b = bench_new(spec, "phone");
        choose("table-check", "no");
        bench_plan_with(b, &options);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        unlink(path);
        bench_free(b);
}
END_TEST

/* ---- checks ------------------------------------------------------------------------------------------------- */

static const struct {
        const char *spec, *family, *check;
        const char *code; /* "" passes */
        const char *text;
} checks[] = {
        {"phone-emmc,fast", "phone", "ddr", "", ""},
        {"phone-emmc,fast,ddr=bad", "phone", "ddr", "exec-fdl1-refused-b6", "RAM of the unit is bad"},
        {"phone-emmc,fast,ddr=unknown", "phone", "ddr", "exec-fdl1-silent-unknown", "kills it"},
        {"phone-emmc,fast,old-memory=0", "phone", "old-memory", "", ""},
        {"phone-emmc,fast", "phone", "old-memory", "identify-mismatch-old-memory", "RPMB"},
        {"phone-emmc,fast,old-memory=1,info=tlv", "phone", "old-memory", "identify-mismatch-old-memory", "registers"},
        {"phone-emmc,fast,info=ack", "phone", "old-memory", "identify-plan-unsupported", "does not tell"},
        {"phone-emmc,fast,chip-type=0x96310000", "phone", "chip-type=0x96310000", "", ""},
        {"phone-emmc,fast,chip-type=0x96310001", "phone", "chip-type=0x96310000", "identify-mismatch-chip-type", "0x96310001"},
        {"phone-emmc,fast", "phone", "chip-type=0x96310000", "identify-plan-unsupported", "does not know"},
        {"phone-emmc,fast,flash-ids=15-100-0", "phone", "memory-type=2c-ac/15-100", "", ""},
        {"phone-emmc,fast,flash-ids=15-100-7", "phone", "memory-type=15-100-8/2c-100", "identify-mismatch-memory-type", "15-100-7"},
        {"phone-nand,fast", "phone-nand", "memory-type=2c-ac-15", "", ""},
        {"phone-nand,fast", "phone-nand", "bad-blocks=2", "", ""},
        {"phone-nand,fast,ubi-bad=2000", "phone-nand", "bad-blocks=2", "identify-mismatch-bad-blocks", "are allowed"},
        {"phone-nand,fast,unknown=block-info", "phone-nand", "bad-blocks=2", "identify-plan-unsupported", "does not know"},
        {"phone-emmc,fast", "phone", "bad-blocks=2", "identify-plan-unsupported", "no NAND"},
        {"phone-emmc,fast", "phone", "calibration", "", ""},
        {"phone-emmc,fast,uncalibrated", "phone", "calibration", "backup-mismatch-nv-uncalibrated", ""},
};

static bool nothing_was_written(const Bench *b) {
        return bench_describes(b, "\"bytes_written\":0,") && !b->report.wrote;
}

/* In a job that would not look otherwise. */
START_TEST(checked_before_the_first_write) {
        Bench *b = bench_new(checks[_i].spec, checks[_i].family);

        begin(FLASH_MODE_RESEARCH);
        choose("include", "System");
        choose("checks", checks[_i].check);
        bench_plan_with(b, &options);
        bench_run(b);
        ck_assert_msg(b->result == 0 ? !checks[_i].code[0] : streq(bench_code(b), checks[_i].code), "%s with %s: %d %s: %s", checks[_i].spec, checks[_i].check,
                      b->result, b->result ? bench_code(b) : "", b->failure.text);
        if (b->result) {
                ck_assert_msg(strstr(b->failure.text, checks[_i].text), "%s", b->failure.text);
                ck_assert_msg(nothing_was_written(b), "%s", checks[_i].check);
        }
        bench_free(b);
}
END_TEST

/* What is only to be tried is no reason to end. */
START_TEST(only_tried) {
        static const char *const specs[] = {"phone-emmc,fast,ddr=unknown,no-keep-charge", "phone-emmc,fast,info=ack", "phone-nand,fast,unknown=flash-type+block-info"};
        static const char *const families[] = {"phone", "phone", "phone-nand"};
        Bench *b = bench_new(specs[_i], families[_i]);

        begin(FLASH_MODE_RESEARCH);
        choose("include", "System");
        choose("try-checks", _i == 2 ? "ddr,chip-type=1,memory-type=1-2,bad-blocks=1" : "ddr,chip-type=1,memory-type=1-2,bad-blocks=1,old-memory");
        choose("keep-charge", "try");
        if (_i == 0)
                choose("try-checks", "ddr,chip-type=1,memory-type=1-2,bad-blocks=1");
        bench_plan_with(b, &options);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        ck_assert(!bench_describes(b, "\"ddr-check\""));
        ck_assert(!bench_describes(b, "\"keep-charge\""));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=the check of the RAM: not done"));
        bench_free(b);
}
END_TEST

/* A first loader that died of an order is not given it again, on no unit. */
START_TEST(a_first_loader_dies_once) {
        Bench *b = bench_new("phone-emmc,fast,no-keep-charge", "phone");
        LoaderTraits traits[2] = {};
        const BenchEvent *learned;
        char loader[65], trait[32], value[16];

        begin(FLASH_MODE_UPGRADE);
        choose("keep-charge", "yes");
        bench_plan_with(b, &options);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "exec-fdl1-silent-unknown");
        learned = bench_event(b, EVENT_FACT, "trait=");
        ck_assert_ptr_nonnull(learned);
        ck_assert_int_eq(sscanf(learned->text, "trait=%64s %31s %15s", loader, trait, value), 3);
        ck_assert_str_eq(loader, b->plan->loader[0]);
        ck_assert_str_eq(value, "fatal");
        traits_set(traits, trait, value);
        b->input.traits[0] = traits;
        bench_replug(b);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "exec-fdl1-plan-unsupported");
        ck_assert(bench_describes(b, "\"hung\":false") || !bench_describes(b, "\"hung\":true"));
        bench_free(b);
        b = bench_new("phone-emmc,fast", "phone");
        choose("keep-charge", "yes");
        bench_plan_with(b, &options);
        ck_assert_msg(bench_run(b) == 0, "%s", b->failure.text);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=the first loader was told to let the unit charge"));
        ck_assert(bench_describes(b, "\"keep-charge\":1"));
        bench_free(b);
}
END_TEST

/* Nothing optional goes to a first loader that nobody asked for. */
START_TEST(first_loaders_are_left_in_peace) {
        Bench *b = bench_new("phone-emmc,fast,ddr=unknown,no-keep-charge", "phone");

        begin(FLASH_MODE_UPGRADE);
        bench_plan_with(b, &options);
        ck_assert_msg(bench_run(b) == 0, "%s", b->failure.text);
        bench_free(b);
}
END_TEST

START_TEST(families_without_these_orders) {
        Bench *b = bench_new("uis8910,fast", "uis8910");
        Failure f;
        Plan *p;

        begin(FLASH_MODE_UPGRADE);
        choose("keep-charge", "yes");
        refused(b, "no command that keeps a unit charging");
        choose("keep-charge", "try");
        choose("try-checks", "ddr,old-memory");
        ck_assert_int_eq(plan_of(b, &p, &f), 0);
        ck_assert(!has(p, PLAN_CHECK, NULL) && !has(p, PLAN_KEEP_CHARGE, NULL));
        plan_free(p);
        choose("checks", "ddr");
        refused(b, "not possible");
        bench_free(b);
}
END_TEST

/* ---- all of it ---------------------------------------------------------------------------------------------- */

START_TEST(upgrade_never_erases_all) {
        Bench *b = bench_new("phone-emmc,fast", "phone");

        begin(FLASH_MODE_UPGRADE);
        choose("erase-all", "yes");
        refused(b, "upgrade mode never");
        bench_free(b);
}
END_TEST

/* Everything goes, the table is made anew, and what is the unit's own is where it was. */
START_TEST(all_is_erased_and_calibration_comes_back) {
        static const char *const specs[][2] = {{"phone-emmc,fast", "phone"}, {"phone-ufs-ab,fast", "phone-ab"}};
        Bench *b = bench_new(specs[_i][0], specs[_i][1]);
        BenchFlash *before, *after;
        const char *nv = _i ? "parts/nr_fixnv1_a" : "parts/l_fixnv1", *id = _i ? "NV_NR" : "NV_LTE";
        const uint8_t *x, *y;
        size_t n, k;
        int erase;

        begin(FLASH_MODE_RESEARCH);
        choose("erase-all", "yes");
        choose("include", "all");
        choose("exclude", id);
        bench_plan_with(b, &options);
        before = bench_flash(b);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        after = bench_flash(b);
        erase = bench_find_step(b, PLAN_ERASE, "erase_all");
        ck_assert_int_ge(erase, 0);
        ck_assert_int_lt(bench_find_step(b, PLAN_BACKUP, id), erase);
        x = bench_flash_file(before, nv, &n);
        y = bench_flash_file(after, nv, &k);
        ck_assert(x && y);
        ck_assert_uint_eq(n, k);
        ck_assert_mem_eq(x + 512 + 4, y + 512 + 4, 0x8000); /* its sum is made anew */
        ck_assert(bench_describes(b, "\"bootable\":true"));
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* The cable is pulled between the erase and the new table: the next job knows what it had saved, and puts it back. */
START_TEST(nothing_is_lost_in_between) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        BenchFlash *before = bench_flash(b), *after;
        const uint8_t *x, *y;
        size_t n, k;

        begin(FLASH_MODE_RESEARCH);
        choose("erase-all", "yes");
        choose("include", "all");
        choose("exclude", "NV_LTE");
        bench_plan_with(b, &options);
        b->unplug_step = bench_find_step(b, _i ? PLAN_RESTORE : PLAN_REPARTITION, NULL);
        ck_assert_int_ge(b->unplug_step, 0);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert(b->failure.must_reflash);
        b->unplug_step = -1;
        bench_replug(b);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        after = bench_flash(b);
        x = bench_flash_file(before, "parts/l_fixnv1", &n);
        y = bench_flash_file(after, "parts/l_fixnv1", &k);
        ck_assert(x && y && n == k);
        ck_assert_mem_eq(x + 512 + 4, y + 512 + 4, 0x8000);
        x = bench_flash_file(before, "parts/prodnv", &n);
        y = bench_flash_file(after, "parts/prodnv", &k);
        ck_assert(x && y && n == k);
        ck_assert_mem_eq(x, y, 4096);
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* What cannot be saved is not destroyed. */
START_TEST(nothing_unsaved_is_erased) {
        Bench *b = bench_new("phone-emmc,fast,nv=both-bad", "phone");

        begin(FLASH_MODE_RESEARCH);
        choose("erase-all", "yes");
        choose("include", "all");
        choose("exclude", "NV_LTE");
        bench_plan_with(b, &options);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "erase-mismatch-unsaved");
        ck_assert(nothing_was_written(b));
        ck_assert(bench_describes(b, "\"bytes_erased\":0,"));
        bench_free(b);
}
END_TEST

START_TEST(modules_are_erased_too) {
        static const char *const families[] = {"uis8910", "uis8850"};
        char spec[40];
        Bench *b;

        snprintf(spec, sizeof(spec), "%s,fast", families[_i]);
        b = bench_new(spec, families[_i]);
        begin(FLASH_MODE_RESEARCH);
        choose("erase-all", "yes");
        choose("include", "all");
        choose("nv", "keep");
        bench_plan_with(b, &options);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        ck_assert(bench_describes(b, "\"bootable\":true"));
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *s = suite_create("choices");
        TCase *t = tcase_create("all");
        SRunner *r;
        int failed;

        tcase_set_timeout(t, 60);
        tcase_add_test(t, values);
        tcase_add_test(t, files_are_left_out);
        tcase_add_test(t, what_is_not_ticked_is_included);
        tcase_add_test(t, research_does_what_is_chosen);
        tcase_add_test(t, research_chooses_whose_calibration);
        tcase_add_test(t, another_table_is_no_matter);
        tcase_add_loop_test(t, checked_before_the_first_write, 0, (int) ELEMENTSOF(checks));
        tcase_add_loop_test(t, only_tried, 0, 3);
        tcase_add_test(t, a_first_loader_dies_once);
        tcase_add_test(t, first_loaders_are_left_in_peace);
        tcase_add_test(t, families_without_these_orders);
        tcase_add_test(t, upgrade_never_erases_all);
        tcase_add_loop_test(t, all_is_erased_and_calibration_comes_back, 0, 2);
        tcase_add_test(t, nothing_unsaved_is_erased);
        tcase_add_loop_test(t, nothing_is_lost_in_between, 0, 2);
        tcase_add_loop_test(t, modules_are_erased_too, 0, 2);
        suite_add_tcase(s, t);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
