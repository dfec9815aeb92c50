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

/* ---- what a client asked for and no loader can do: said before anything is planned --------------------------- */

static const struct {
        const char *package;
        StepRequest step;
        const char *detail, *text;
} impossible[] = {
        {"phone", {.kind = STEP_KIND_MAX, .partition = "boot", .length = U64_UNKNOWN, .file = "x"}, "step", "no such step"},
        {"phone", {.kind = STEP_READ, .partition = "boot", .length = 0, .file = "x"}, "length", "0 bytes does nothing"},
        {"phone", {.kind = STEP_WRITE, .partition = "boot", .length = U64_UNKNOWN}, "file", "A step write needs a file"},
        {"phone", {.kind = STEP_READ, .partition = "boot", .length = 4096}, "file", "A step read needs a file"},
        {"phone", {.kind = STEP_TABLE, .length = 4096}, "length", "names a partition and its length"},
        {"phone", {.kind = STEP_TABLE, .partition = "boot", .length = U64_UNKNOWN}, "length", "names a partition and its length"},
        {"phone", {.kind = STEP_READ, .partition = "123456789012345678901234567890123456", .length = 1, .file = "x"}, "partition", "35 characters"},
        {"phone", {.kind = STEP_ERASE, .partition = "user data", .length = U64_UNKNOWN}, "partition", "a character that no loader knows"},
        {"phone", {.kind = STEP_ERASE, .partition = "b\x7f", .length = U64_UNKNOWN}, "partition", "a character that no loader knows"},
        {"phone", {.kind = STEP_READ, .partition = "\xc3\xbc", .length = 1, .file = "x"}, "partition", "a character that no loader knows"},
        {"phone", {.kind = STEP_WRITE, .partition = "user_partition", .length = U64_UNKNOWN, .file = "x"}, "partition", "loaders only read it"},
        {"phone", {.kind = STEP_REPAIR, .partition = "user_partition", .length = U64_UNKNOWN, .file = "x"}, "partition", "loaders only read it"},
        {"phone", {.kind = STEP_ERASE, .partition = "erase_all", .length = U64_UNKNOWN}, "erase-all", "not a step"},
        {"phone", {.kind = STEP_WRITE, .partition = "boot", .offset = 512, .length = U64_UNKNOWN, .file = "x"}, "offset", "whole partitions"},
        {"phone", {.kind = STEP_ERASE, .partition = "boot", .offset = 512, .length = U64_UNKNOWN}, "offset", "whole partitions"},
        {"phone", {.kind = STEP_READ, .address = 0x60000000, .length = 4096, .file = "x"}, "address", "by partition name"},
        {"uis8910", {.kind = STEP_READ, .partition = "boot", .length = 4096, .file = "x"}, "names", "give addresses instead of \"boot\""},
        {"uis8910", {.kind = STEP_READ, .address = 0x100000000, .length = 4096, .file = "x"}, "address", "not within 32 bits"},
        {"uis8910", {.kind = STEP_READ, .address = 0x60000000, .length = 0x100000000, .file = "x"}, "address", "not within 32 bits"},
        {"uis8910", {.kind = STEP_READ, .address = 0x60000000, .length = U64_UNKNOWN, .file = "x"}, "length", "How much"},
        {"uis8910", {.kind = STEP_ERASE, .address = 0x60000800, .length = 4096}, "alignment", "blocks of 4096"},
        {"uis8910", {.kind = STEP_ERASE, .address = 0x60000000, .length = 4095}, "alignment", "blocks of 4096"},
        {"uis8910", {.kind = STEP_ERASE, .address = 0x60000000, .length = U64_UNKNOWN}, "alignment", "blocks of 4096"},
        {"uis8910", {.kind = STEP_WRITE, .address = 0x60000000, .offset = 4096, .length = U64_UNKNOWN, .file = "x"}, "offset", "the address itself"},
        {"feature", {.kind = STEP_ERASE, .address = 0, .length = U64_UNKNOWN}, "erase-all", "not a step"},
};

static Bench *another_bench(Bench *b, const char *before, const char *package) {
        if (before && streq(before, package))
                return b;
        bench_free(b);
        return bench_new("phone-emmc", package);
}

START_TEST(impossible_steps_are_refused) {
        Bench *b = NULL;

        for (size_t i = 0; i < ELEMENTSOF(impossible); i++) {
                StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}, .steps = &impossible[i].step, .n_steps = 1};
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;

                b = another_bench(b, i > 0 ? impossible[i - 1].package : NULL, impossible[i].package);
                ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
                ck_assert_msg(plan_steps_check(&in, &f) == 1, "%zu is taken", i);
                ck_assert_int_eq(f.class, CLASS_PLAN);
                ck_assert_msg(streq(f.detail, impossible[i].detail) && strstr(f.text, impossible[i].text), "%zu: %s: %s", i, f.detail, f.text);
                ck_assert_int_eq(plan_make_steps(&in, &plan, &f), 1);
                ck_assert_ptr_null(plan);
        }
        bench_free(b);
}
END_TEST

/* The nearest to those above that are possible. */
START_TEST(possible_steps_are_taken) {
        static const struct {
                const char *package;
                StepRequest step;
        } possible[] = {
                {"phone", {.kind = STEP_READ, .partition = "12345678901234567890123456789012345", .offset = 512, .length = 1, .file = "x"}},
                {"phone", {.kind = STEP_READ, .partition = "user_partition", .length = 4096, .file = "x"}},
                {"phone", {.kind = STEP_TABLE, .partition = "boot", .offset = 4096, .length = 4096}},
                {"uis8910", {.kind = STEP_READ, .address = 0xffffffff, .length = 1, .file = "x"}},
                {"uis8910", {.kind = STEP_ERASE, .address = 0x60001000, .length = 8192}},
                {"feature", {.kind = STEP_ERASE, .address = 0x80000003, .length = U64_UNKNOWN}},
        };

        Bench *b = NULL;

        for (size_t i = 0; i < ELEMENTSOF(possible); i++) {
                StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}, .steps = &possible[i].step, .n_steps = 1};
                Failure f = FAILURE_INIT;

                b = another_bench(b, i > 0 ? possible[i - 1].package : NULL, possible[i].package);
                ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
                ck_assert_msg(plan_steps_check(&in, &f) == 0, "%zu: %s", i, f.text);
        }
        bench_free(b);
}
END_TEST

START_TEST(too_many_steps) {
        static StepRequest steps[STEPS_MAX + 1];
        Bench *b = bench_new("phone-emmc", "phone");
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}, .steps = steps, .n_steps = STEPS_MAX};
        Failure f = FAILURE_INIT;

        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                steps[i] = (StepRequest) {.kind = STEP_ERASE, .partition = "cache", .length = U64_UNKNOWN};
        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        ck_assert_int_eq(plan_steps_check(&in, &f), 0);
        in.n_steps++;
        ck_assert_int_eq(plan_steps_check(&in, &f), 1);
        ck_assert_str_eq(f.detail, "steps");
        ck_assert(strstr(f.text, "at most 512 steps"));
        bench_free(b);
}
END_TEST

static void loaders_refused(const StepsInput *in, const char *detail, const char *text) {
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;

        ck_assert_int_eq(plan_make_steps(in, &plan, &f), 1);
        ck_assert_ptr_null(plan);
        ck_assert_int_eq(f.class, CLASS_PLAN);
        ck_assert_str_eq(f.detail, detail);
        ck_assert_msg(strstr(f.text, text), "%s", f.text);
}

START_TEST(loaders_are_checked) {
        Bench *b = bench_new("phone-emmc", "phone");
        StepsInput good = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING}}, in;
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;

        ck_assert_int_eq(plan_steps_loaders(b->pac, &good, &f), 0);
        in = good;
        strcpy(in.family, "toaster");
        loaders_refused(&in, "family", "no family that is supported");
        in = good;
        in.loader[1] = (StepLoader) {};
        loaders_refused(&in, "loader", "a first and a second loader");
        in = good;
        in.loader[0] = (StepLoader) {};
        loaders_refused(&in, "loader", "a first and a second loader");
        /* The last byte is the last that 32 bits can name. */
        in = good;
        in.loader[1].address = UINT32_MAX - in.loader[1].size;
        ck_assert_int_eq(plan_make_steps(&in, &plan, &f), 0);
        plan_free(plan);
        in.loader[1].address++;
        loaders_refused(&in, "loader", "not within 32 bits");
        in = good;
        in.loader[0].size = 0x100000000;
        in.loader[0].address = 0;
        loaders_refused(&in, "loader", "not within 32 bits");
        bench_free(b);
}
END_TEST

START_TEST(loaders_of_packages_are_checked) {
        Bench *b = bench_new("phone-emmc", "phone");
        StepsInput in = {};
        const PacFile *first[2];
        Failure f = FAILURE_INIT;
        PacFile *file;

        ck_assert_int_eq(plan_find_loaders(b->pac, first, &f), 0);
        file = b->pac->files + (first[1] - b->pac->files);
        file->blocks[0].base += 0x100000000;
        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 1);
        ck_assert_str_eq(f.detail, "loader");
        ck_assert(strstr(f.text, file->id) && strstr(f.text, "no usable address"));
        file->blocks[0].base -= 0x100000000;
        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        file->has_data = false;
        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 1);
        ck_assert(strstr(f.text, "no data"));
        bench_free(b);
}
END_TEST

/* ---- files that belong elsewhere ----------------------------------------------------------------------------- */

/* text: NULL where it is taken */
static const struct {
        const char *partition;
        ImageKind kind, loaders;
        bool any_image;
        const char *text;
} images[] = {
        {"boot_a", IMAGE_BOOT, IMAGE_UNKNOWN, false, NULL},
        {"boot_a", IMAGE_DHTB, IMAGE_UNKNOWN, false, NULL},
        {"boot_a", IMAGE_VBMETA, IMAGE_UNKNOWN, false, "the file for boot_a is a vbmeta image, and an Android boot image belongs there; nothing was written"},
        {"boot_a", IMAGE_VBMETA, IMAGE_UNKNOWN, true, NULL},
        {"recovery", IMAGE_UNKNOWN, IMAGE_UNKNOWN, false, "is data of no known kind, and an Android boot image belongs there"},
        {"vendor_boot_b", IMAGE_BOOT, IMAGE_UNKNOWN, false, "is an Android boot image, and an Android vendor boot image belongs there"},
        {"vbmeta_system", IMAGE_DTBO, IMAGE_UNKNOWN, false, "is a device tree overlay image, and a vbmeta image belongs there"},
        {"dtbo_bak", IMAGE_SPARSE, IMAGE_UNKNOWN, false, "is an Android sparse image, and a device tree overlay image belongs there"},
        {"logo", IMAGE_PACKAGE, IMAGE_UNKNOWN, false, "is a whole firmware package, and the contents of the partition itself belongs there"},
        {"logo", IMAGE_ARCHIVE, IMAGE_UNKNOWN, false, "is an archive that is not unpacked, and the contents"},
        {"logo", IMAGE_EROFS, IMAGE_UNKNOWN, false, NULL},
        {"uboot", IMAGE_EXT4, IMAGE_UNKNOWN, false, "is an ext4 file system, and a loader belongs there"},
        {"uboot_bak", IMAGE_UNKNOWN, IMAGE_UNKNOWN, false, NULL},
        {"uboot_bak", IMAGE_UNKNOWN, IMAGE_DHTB, false, "the file for uboot_bak has no signature (DHTB header)"},
        {"uboot_bak", IMAGE_DHTB, IMAGE_DHTB, false, NULL},
        {"logo", IMAGE_UNKNOWN, IMAGE_DHTB, false, NULL},
        {"l_fixnv1", IMAGE_NV_DUMP, IMAGE_UNKNOWN, false, "is a raw dump of an NV partition, header and all, and an NV image without the loader's header"},
        {"l_runtimenv1_a", IMAGE_EXT4, IMAGE_UNKNOWN, false, "is an ext4 file system, and an NV image"},
};

START_TEST(images_belong_somewhere) {
        Bench *b = bench_new("phone-emmc", "phone");

        for (size_t i = 0; i < ELEMENTSOF(images); i++) {
                StepRequest s = {.kind = STEP_WRITE, .length = U64_UNKNOWN, .file = "x", .size = 4096, .looked = true,
                                 .any_image = images[i].any_image, .kind_of_data = images[i].kind};
                StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING, .verify = VERIFY_ACK}, .steps = &s, .n_steps = 1};
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;
                int r;

                strcpy(s.partition, images[i].partition);
                ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
                in.loader[0].kind = images[i].loaders;
                r = plan_make_steps(&in, &plan, &f);
                ck_assert_msg(r == (images[i].text ? 1 : 0), "%zu: %s", i, f.text);
                if (images[i].text) {
                        ck_assert_int_eq(f.class, CLASS_PLAN);
                        ck_assert_str_eq(f.detail, "image-type");
                        ck_assert_str_eq(f.partition, images[i].partition);
                        ck_assert_msg(strstr(f.text, images[i].text), "%zu: %s", i, f.text);
                }
                plan_free(plan);
        }
        bench_free(b);
}
END_TEST

/* ---- the table of a source that units are repaired from -------------------------------------------------------- */

static Plan *table_of_source(Bench *b, const StepRequest *steps, size_t n) {
        StepsInput in = {.options = {.mode = FLASH_MODE_RESEARCH, .finish = FINISH_NOTHING, .verify = VERIFY_ACK}, .steps = steps, .n_steps = n};
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;

        ck_assert_int_eq(plan_steps_loaders(b->pac, &in, &f), 0);
        ck_assert_msg(plan_make_steps(&in, &plan, &f) == 0, "%s", f.text);
        return plan;
}

START_TEST(tables_of_sources) {
        Bench *b = bench_new("phone-emmc,fast", "phone");
        size_t n = b->pac->n_partitions;
        uint64_t unit = pac_partition_unit(b->pac->partition_unit);
        StepRequest *steps = calloc(n + 1, sizeof(StepRequest));
        Plan *plan;

        ck_assert_uint_gt(n, 2);
        /* The boot loader's area is in no table of a package; nothing else may be in between. */
        steps[0] = (StepRequest) {.kind = STEP_TABLE, .partition = "splloader", .length = 0x40000};
        for (size_t i = 0; i < n; i++) {
                const PacPartition *p = b->pac->partitions + i;

                steps[i + 1] = (StepRequest) {.kind = STEP_TABLE, .length = p->size == U64_UNKNOWN ? 12345678 : p->size * unit};
                strcpy(steps[i + 1].partition, p->name);
        }
        plan = table_of_source(b, steps, n + 1);
        ck_assert(!plan->unplaced);
        ck_assert_int_eq(plan->partition_unit, b->pac->partition_unit);
        ck_assert_uint_eq(plan->n_partitions, n);
        ck_assert_uint_eq(plan->partitions[0].size, b->pac->partitions[0].size);
        plan_free(plan);
        /* One of another size, one too few, one of another name: it is the source's own, in bytes. */
        steps[1].length += 4096;
        plan = table_of_source(b, steps, n + 1);
        ck_assert(plan->unplaced);
        ck_assert_int_eq(plan->partition_unit, 3);
        ck_assert_uint_eq(plan->n_partitions, n + 1);
        ck_assert_str_eq(plan->partitions[0].name, "splloader");
        ck_assert_uint_eq(plan->partitions[1].size, steps[1].length);
        plan_free(plan);
        steps[1].length -= 4096;
        plan = table_of_source(b, steps, n);
        ck_assert(plan->unplaced);
        ck_assert_uint_eq(plan->n_partitions, n);
        plan_free(plan);
        strcpy(steps[2].partition, "other");
        plan = table_of_source(b, steps, n + 1);
        ck_assert(plan->unplaced);
        ck_assert_str_eq(plan->partitions[2].name, "other");
        plan_free(plan);
        free(steps);
        bench_free(b);
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
        tcase_add_test(tc, impossible_steps_are_refused);
        tcase_add_test(tc, possible_steps_are_taken);
        tcase_add_test(tc, too_many_steps);
        tcase_add_test(tc, loaders_are_checked);
        tcase_add_test(tc, loaders_of_packages_are_checked);
        tcase_add_test(tc, images_belong_somewhere);
        tcase_add_test(tc, tables_of_sources);
        tcase_add_test(tc, checks_come_before_the_steps);
        tcase_add_loop_test(tc, areas_are_found_by_asking, 0, (int) ELEMENTSOF(shown));
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
