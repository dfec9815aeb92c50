/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs of chosen steps, and small ones without a package, on simulated units of all families in virtual time. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/plan-steps.h"
#include "usbsim/model/feature-table.h"

static void plan_steps(Bench *b, const StepRequest *steps, size_t n) {
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING, .verify = VERIFY_ACK}, .steps = steps, .n_steps = n};
        Failure f = FAILURE_INIT;

        Plan *plan = NULL;

        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        ck_assert_msg(plan_make_steps(&in, &plan, &f) == 0, "%s", f.text);
        bench_take_plan(b, plan);
}

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
}

/* ---- after a look at who is there -------------------------------------------------------------------------- */

static const struct {
        const char *spec, *package;
        bool rom; /* it may answer no second greeting */
} families[] = {
        {"phone-emmc,fast", "phone", true},
        {"phone-lk,fast", "phone-lk", true},
        {"phone-nand,fast", "phone-nand", true},
        {"feature-nor,fast,loaders=1", "feature-one", true},
        {"uis8850,fast,image-check=0", "uis8850", true},
        {"uis8910,fast,image-check=0", "uis8910", false},
};

static void only_meet(Bench *b, bool pdl) {
        Plan *plan = calloc(1, sizeof(Plan));

        plan->steps = calloc(1, sizeof(PlanStep));
        plan->n_steps = 1;
        plan->steps[0] = (PlanStep){.op = PLAN_HANDSHAKE, .stage = STAGE_HANDSHAKE, .backup = -1, .write = -1};
        plan->protocol = pdl ? PLAN_PDL : PLAN_BSL;
        plan->partition_unit = -1;
        bench_take_plan(b, plan);
}

START_TEST(probed_units_can_be_flashed) {
        bool pdl = streq(families[_i].package, "uis8910");
        Bench *b = bench_new(families[_i].spec, families[_i].package);
        EngineResting resting;

        only_meet(b, pdl);
        must_pass(b);
        ck_assert(b->report.resting.valid == families[_i].rom);
        ck_assert(b->report.resting.rom == families[_i].rom);
        resting = b->report.resting;
        bench_plan(b, FLASH_MODE_UPGRADE);
        b->input.resting = resting;
        must_pass(b);
        /* That the ROM waits was true only once. */
        ck_assert(!b->report.resting.valid || !b->report.resting.rom);
        bench_free(b);
}
END_TEST

/* A ROM that was unplugged meanwhile has to be greeted. */
START_TEST(the_rom_was_another_one) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        EngineResting resting;

        only_meet(b, false);
        must_pass(b);
        resting = b->report.resting;
        bench_replug(b);
        only_meet(b, false);
        b->input.resting = resting;
        ck_assert_int_eq(bench_run(b), 0);
        bench_free(b);
}
END_TEST

/* ---- calibration at addresses is saved before it is erased or overwritten ---------------------------------- */

static const struct {
        const char *spec, *package;
        uint64_t address;
        size_t size;
        const char *file; /* where it lies in flash as it is; NULL: not in one piece */
        size_t at;
        StepKind kind;
} places[] = {
        {"feature-nor,fast", "feature", 0x90000001, FEATURE_NV_SIZE, "flash.bin", 0x360000, STEP_ERASE},
        {"feature-nor,fast,loaders=1", "feature-one", 0x90000002, 0x1000, "flash.bin", 0x380000, STEP_ERASE},
        {"uis8850,fast,image-check=0", "uis8850", 0xfe000003, 0x28000, NULL, 0, STEP_WRITE},
        {"uis8910,fast,image-check=0", "uis8910", 0xfe000003, 0x20000, NULL, 0, STEP_WRITE},
        {"uis8910,fast,image-check=0", "uis8910", 0xfe000002, 0x100, "FFAC/phasecheck.bin", 0, STEP_ERASE},
};

/* Neither beyond the end of the flash, nor more than a place takes. */
START_TEST(addresses_have_an_end) {
        static const struct {
                StepKind kind;
                uint64_t address, size;
                const char *text;
        } cases[] = {
                {STEP_WRITE, 0x607ff000, 4096, NULL},
                {STEP_WRITE, 0x607ff001, 4096, "the flash at 0x60000000 has 8388608"},
                {STEP_ERASE, 0x60000000, 0x801000, "the flash at 0x60000000 has 8388608"},
                {STEP_WRITE, 0xfe000002, 255, "phase check has 256"},
                {STEP_WRITE, 0xfe000003, 0x20001, "has 131072 at most"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                Bench *b = bench_new("uis8910,fast,image-check=0", "uis8910");
                StepRequest s = {.kind = cases[i].kind, .address = cases[i].address, .length = cases[i].size, .size = cases[i].size, .file = "x"};
                StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING, .verify = VERIFY_ACK}, .steps = &s, .n_steps = 1};
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;
                int r;

                s.data_offset = pac_find_file(b->pac, "NV")->offset;
                ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
                r = plan_make_steps(&in, &plan, &f);
                if (r == 0) {
                        bench_take_plan(b, plan);
                        r = bench_run(b);
                        f = b->failure;
                }
                ck_assert_msg(r == (cases[i].text ? 1 : 0), "%zu: %s", i, f.text);
                if (cases[i].text) {
                        ck_assert_msg(strstr(f.text, cases[i].text), "%s", f.text);
                        ck_assert_int_eq(f.class, CLASS_PLAN);
                        ck_assert(!b->report.wrote);
                }
                bench_free(b);
        }
}
END_TEST

START_TEST(addresses_are_saved) {
        StepRequest s = {.kind = places[_i].kind, .address = places[_i].address, .length = U64_UNKNOWN};
        Bench *b = bench_new(places[_i].spec, places[_i].package);
        BenchFlash *before = bench_flash(b);
        const BenchEvent *saved = NULL;

        if (s.kind == STEP_WRITE) {
                snprintf(s.file, sizeof(s.file), "nv");
                s.data_offset = pac_find_file(b->pac, "NV")->offset;
                s.size = pac_find_file(b->pac, "NV")->size;
        }
        plan_steps(b, &s, 1);
        (void) bench_run(b); /* the image itself may be refused: its sum is the package's */
        for (size_t i = 0; i < b->n_events; i++)
                if (b->events[i].type == EVENT_BACKUP)
                        saved = b->events + i;
        ck_assert_msg(saved, "nothing was saved: %s", b->failure.text);
        ck_assert_uint_eq(saved->size, places[_i].size);
        if (places[_i].file)
                ck_assert_int_eq(memcmp(saved->data, bench_flash_file(before, places[_i].file, NULL) + places[_i].at, saved->size), 0);
        bench_flash_free(before);
        bench_free(b);
}
END_TEST

/* What goes back as it was saved has the IMEI of the unit that it is from; a device that cannot say who it is has one, too. */
START_TEST(calibration_of_another_unit) {
        Bench *b = bench_new("uis8850,fast,image-check=0", "uis8850");
        const PacFile *nv = pac_find_file(b->pac, "NV");
        StepRequest s = {.kind = STEP_WRITE, .address = 0xfe000003, .length = U64_UNKNOWN, .exact = true, .file = "nv", .data_offset = nv->offset, .size = nv->size};

        plan_steps(b, &s, 1);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "backup-mismatch-unit");
        ck_assert_msg(strstr(b->failure.text, "another IMEI"), "%s", b->failure.text);
        ck_assert(!b->report.wrote);
        bench_free(b);
}
END_TEST

/* ---- refused before anything is sent ------------------------------------------------------------------------- */

static const struct {
        const char *package;
        StepKind kind;
        uint64_t address;
        const char *text;
} never[] = {
        {"feature", STEP_WRITE, 0x90000003, "0x90000003 is running NV: loaders do not take data for it."},
        {"feature", STEP_READ, 0x90000003, "loaders do not show it"},
        {"uis8850", STEP_WRITE, 0xfe000001, "running NV"},
        {"uis8850", STEP_READ, 0xfe000004, "files to unpack"},
        {"uis8910", STEP_READ, 0xfe000006, "a file system"},
};

START_TEST(places_that_are_only_erased) {
        Bench *b = bench_new("phone-emmc", never[_i].package);
        StepRequest s = {.kind = never[_i].kind, .address = never[_i].address, .length = 4096, .file = "x"};
        StepsInput in = {.steps = &s, .n_steps = 1};
        Failure f = FAILURE_INIT;

        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        ck_assert_int_eq(plan_steps_check(&in, &f), 1);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_str_eq(f.detail, "place");
        ck_assert_msg(strstr(f.text, never[_i].text), "%s", f.text);
        s.kind = STEP_ERASE;
        ck_assert_int_eq(plan_steps_check(&in, &f), 0);
        bench_free(b);
}
END_TEST

/* ---- names and sizes where no table tells ---------------------------------------------------------------------- */

static const char *partitions_of(Bench *b) {
        static char text[8192];

        text[0] = '\0';
        for (size_t i = 0; i < b->n_events; i++)
                if (b->events[i].type == EVENT_FACT && strncmp(b->events[i].text, "partitions=", 11) == 0)
                        strncat(text, b->events[i].text + 11, sizeof(text) - strlen(text) - 1);
        return text;
}

/* Also those whose calibration is blank or damaged, so that no copy is shown: their twin tells the size. */
START_TEST(nand_volumes_are_found_by_name) {
        static const char *const specs[] = {"phone-nand,fast", "phone-nand,fast,nv=both-bad", "phone-nand,fast,nv=missing"};
        Bench *b = bench_new(specs[_i], "phone-nand");
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}};
        Failure f = FAILURE_INIT;

        Plan *plan = NULL;

        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        ck_assert_int_eq(plan_make_steps(&in, &plan, &f), 0);
        bench_take_plan(b, plan);
        must_pass(b);
        ck_assert_msg(strstr(partitions_of(b), "l_fixnv1 2097152\n"), "%s", partitions_of(b));
        ck_assert_msg(strstr(partitions_of(b), "l_runtimenv1 2097152\n"), "%s", partitions_of(b));
        ck_assert_msg(strstr(partitions_of(b), "prodnv 8388608\n"), "%s", partitions_of(b));
        ck_assert_msg(strstr(partitions_of(b), "userdata "), "%s", partitions_of(b));
        bench_free(b);
}
END_TEST

/* A unit whose running NV is blank has the package's table all the same. */
START_TEST(blank_calibration_is_no_other_table) {
        Bench *b = bench_new("phone-nand,fast,nv=both-bad", "phone-nand");
        PlanOptions o = {.mode = FLASH_MODE_UPGRADE, .repartition = true, .table_only = true, .finish = FINISH_NOTHING};

        bench_plan_with(b, &o);
        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "not changed"));
        ck_assert(!b->report.wrote);
        bench_free(b);
}
END_TEST

/* An old loader may drop three buffers in all: a question that it refused is not put to it by the next job again. */
START_TEST(old_loaders_are_not_asked_again) {
        Bench *b = bench_new("phone-old,fast", "phone-old");
        StepRequest s = {.kind = STEP_READ, .partition = "logo", .length = 4096, .file = "x", .output = 1};

        EngineResting resting = {};

        for (unsigned i = 0; i < 5; i++) {
                plan_steps(b, &s, 1);
                b->input.resting = resting;
                must_pass(b);
                ck_assert(b->report.resting.valid);
                resting = b->report.resting;
        }
        ck_assert_uint_eq(b->bytes_output, 5 * 4096);
        bench_free(b);
}
END_TEST

/* ---- what devices without names show ------------------------------------------------------------------------- */

static const struct {
        const char *spec, *package, *table;
} shown[] = {
        {"uis8910,fast,image-check=0", "uis8910", "partitions=0x60000000 8388608\n0xfe000002 256\n0xfe000003 131072\n"},
        /* the store holds less than the longest image */
        {"uis8850,fast,image-check=0,nv-short=100000", "uis8850", "partitions=0x60000000 8388608\n0xfe000002 256\n0xfe000003 100000\n"},
        {"feature-nor,fast", "feature",
         "partitions=0x80000000 65536\n0x80000003 1900544\n0x80000004 262144\n0x90000001 131072\n0x90000002 4096\n0x90000004 1048576\n"
         "0x90000006 262144\n0x90000009 262144\n"},
        {"phone-emmc,fast", "phone", NULL},
};

START_TEST(areas_are_found_by_asking) {
        Bench *b = bench_new(shown[_i].spec, shown[_i].package);
        const char *told = NULL;

        plan_steps(b, NULL, 0);
        must_pass(b);
        for (size_t i = 0; i < b->n_events && !told; i++)
                if (b->events[i].type == EVENT_FACT && strncmp(b->events[i].text, "partitions=", 11) == 0)
                        told = b->events[i].text;
        ck_assert_ptr_nonnull(told);
        if (shown[_i].table)
                ck_assert_str_eq(told, shown[_i].table);
        else
                ck_assert(!strstr(told, "0x"));
        bench_free(b);
}
END_TEST

/* ---- a table that somebody gives ----------------------------------------------------------------------------- */

static int give_table(const StepRequest *steps, size_t n, bool picked, Plan **ret, Failure *f) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING, .repartition = true, .table_only = true}, .steps = steps, .n_steps = n};
        int r;

        *f = FAILURE_INIT;
        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, f), 0);
        in.picked = picked;
        r = plan_make_steps(&in, ret, f);
        bench_free(b);
        return r;
}

static unsigned count(const Plan *plan, PlanOp op) {
        unsigned n = 0;

        for (size_t i = 0; i < plan->n_steps; i++)
                n += plan->steps[i].op == op;
        return n;
}

START_TEST(tables_are_given) {
        static const uint64_t mib = 1024 * 1024;
        StepRequest steps[] = {
                {.kind = STEP_TABLE, .partition = "prodnv", .length = 5 * mib},
                {.kind = STEP_TABLE, .partition = "l_fixnv1", .length = mib},
                {.kind = STEP_TABLE, .partition = "l_fixnv2", .length = mib},
                {.kind = STEP_TABLE, .partition = "splloader", .length = mib},
                {.kind = STEP_TABLE, .partition = "userdata", .length = U64_UNKNOWN},
        };
        Plan *plan = NULL;
        Failure f;

        /* whole mebibytes: as old loaders take them; calibration once, for both copies */
        ck_assert_msg(give_table(steps, ELEMENTSOF(steps), false, &plan, &f) == 0, "%s", f.text);
        ck_assert_int_eq(plan->partition_unit, -1);
        ck_assert_uint_eq(plan->n_partitions, 4);
        ck_assert_uint_eq(plan->partitions[0].size, 5);
        ck_assert_uint_eq(plan->partitions[3].size, U64_UNKNOWN);
        ck_assert(!plan->chosen && plan->given_table);
        ck_assert_uint_eq(count(plan, PLAN_BACKUP), 2);
        ck_assert_uint_eq(count(plan, PLAN_REPARTITION), 1);
        ck_assert_uint_eq(count(plan, PLAN_RESTORE), 1);
        plan_free(plan);
        /* one behind the other from the first mebibyte on: that is where they are put anyway */
        steps[0].offset = mib, steps[1].offset = 6 * mib, steps[2].offset = 7 * mib, steps[4].offset = 8 * mib;
        ck_assert_int_eq(give_table(steps, ELEMENTSOF(steps), false, &plan, &f), 0);
        ck_assert_int_eq(plan->partition_unit, -1);
        plan_free(plan);
        /* with gaps, or not whole: in bytes */
        steps[2].offset = 8 * mib;
        ck_assert_int_eq(give_table(steps, ELEMENTSOF(steps), false, &plan, &f), 0);
        ck_assert_int_eq(plan->partition_unit, 3);
        ck_assert_int_eq(plan->partitions[0].gap, (int64_t) mib);
        ck_assert_int_eq(plan->partitions[1].gap, 0);
        ck_assert_int_eq(plan->partitions[2].gap, (int64_t) mib);
        plan_free(plan);
        steps[0].length = 5 * mib + 512;
        steps[0].offset = 0;
        ck_assert_int_eq(give_table(steps, ELEMENTSOF(steps), false, &plan, &f), 0);
        ck_assert_int_eq(plan->partition_unit, 3);
        ck_assert_uint_eq(plan->partitions[0].size, 5 * mib + 512);
        plan_free(plan);
        /* refused */
        ck_assert_int_eq(give_table(steps, ELEMENTSOF(steps), true, &plan, &f), 1);
        strcpy(steps[2].partition, "l_fixnv1");
        ck_assert_int_eq(give_table(steps, ELEMENTSOF(steps), false, &plan, &f), 1);
        ck_assert(strstr(f.text, "stands twice"));
        steps[0].length = U64_UNKNOWN;
        ck_assert_int_eq(give_table(steps, 2, false, &plan, &f), 1);
        ck_assert(strstr(f.text, "takes the rest"));
}
END_TEST

/* ---- what is checked first ----------------------------------------------------------------------------------- */

START_TEST(checks_come_before_the_steps) {
        static const struct {
                const char *spec, *package, *checks, *refused;
        } cases[] = {
                {"phone-emmc,fast", "phone", "ddr,old-memory", NULL},
                {"phone-emmc,fast", "phone", "calibration", "jobs of chosen steps cannot"},
                {"uis8850,fast,image-check=0", "uis8850", "ddr", "do not know them"},
        };

        for (size_t c = 0; c < ELEMENTSOF(cases); c++) {
                StepRequest s = {.kind = STEP_READ, .partition = "logo", .length = 4096, .file = "x", .output = 1};
                StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}, .steps = &s, .n_steps = 1};
                Bench *b = bench_new(cases[c].spec, cases[c].package);
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;

                snprintf(in.options.choice.check, sizeof(in.options.choice.check), "%s", cases[c].checks);
                in.options.choice.keep_charge = CHOICE_YES;
                in.options.choice.keep_charge_try = true;
                ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
                if (cases[c].refused) {
                        ck_assert_int_eq(plan_steps_check(&in, &f), 1);
                        ck_assert_msg(strstr(f.text, cases[c].refused), "%s", f.text);
                } else {
                        unsigned at = 0;
                        ck_assert_int_eq(plan_make_steps(&in, &plan, &f), 0);
                        ck_assert_uint_eq(count(plan, PLAN_CHECK), 2);
                        while (plan->steps[at].op != PLAN_KEEP_CHARGE)
                                at++;
                        ck_assert(plan->steps[at].optional && plan->steps[at + 1].op == PLAN_CHECK && plan->steps[at + 2].op == PLAN_LOAD);
                        ck_assert(plan->steps[plan->n_steps - 2].op == PLAN_CHECK && plan->steps[plan->n_steps - 1].op == PLAN_READ);
                        plan_free(plan);
                }
                bench_free(b);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("steps");
        TCase *tc = tcase_create("steps");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tc, 120);
        tcase_add_loop_test(tc, probed_units_can_be_flashed, 0, (int) ELEMENTSOF(families));
        tcase_add_test(tc, the_rom_was_another_one);
        tcase_add_loop_test(tc, addresses_are_saved, 0, (int) ELEMENTSOF(places));
        tcase_add_test(tc, addresses_have_an_end);
        tcase_add_test(tc, calibration_of_another_unit);
        tcase_add_loop_test(tc, places_that_are_only_erased, 0, (int) ELEMENTSOF(never));
        tcase_add_loop_test(tc, nand_volumes_are_found_by_name, 0, 3);
        tcase_add_test(tc, blank_calibration_is_no_other_table);
        tcase_add_test(tc, old_loaders_are_not_asked_again);
        tcase_add_test(tc, tables_are_given);
        tcase_add_test(tc, checks_come_before_the_steps);
        tcase_add_loop_test(tc, areas_are_found_by_asking, 0, (int) ELEMENTSOF(shown));
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
