/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A new partition table, on simulated units in virtual time: what it changes, what it must not, and what happens when cable or host
 * are lost anywhere in between. FDLD_LONG=1: at every message, each in one way, but only at some of the many that read; FDLD_LONG=every: at all, in
 * every way. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine-bench.h"
#include "flash/engine-private.h"
#include "must.h"

/* 40 partitions of a phone with two slots, in mebibytes before and after: names that move, grow, shrink, change their order. */
static const struct {
        const char *name;
        unsigned before, after;
} layout[] = {
        {"prodnv", 5, 5},        {"miscdata", 1, 2},      {"misc", 1, 1},          {"nr_fixnv1_a", 2, 3},   {"nr_fixnv1_b", 2, 3},
        {"nr_fixnv2_a", 2, 3},   {"nr_fixnv2_b", 2, 3},   {"nr_runtimenv1", 2, 3}, {"calinv", 2, 2},        {"trustos_a", 2, 2},
        {"trustos_b", 2, 2},     {"sml_a", 1, 1},         {"sml_b", 1, 1},         {"teecfg_a", 1, 1},      {"teecfg_b", 1, 1},
        {"uboot_a", 2, 3},       {"uboot_b", 2, 3},       {"uboot_log", 2, 1},     {"logo", 2, 2},          {"fbootlogo", 2, 2},
        {"nr_modem_a", 4, 6},    {"nr_phy_a", 4, 4},      {"nr_v3phy_a", 2, 2},    {"pm_sys_a", 1, 1},      {"nr_deltanv_a", 1, 1},
        {"nr_nrdsp1_a", 2, 2},   {"nr_audio_a", 1, 1},    {"aud_dsp_a", 1, 1},     {"wcnmodem_a", 2, 2},    {"gnssmodem_a", 2, 2},
        {"boot_a", 8, 8},        {"vendor_boot_a", 8, 6}, {"dtbo_a", 2, 2},        {"vbmeta_a", 1, 1},      {"vbmeta_b", 1, 1},
        {"super", 64, 80},       {"sysdumpdb", 2, 2},     {"persist", 2, 2},       {"metadata", 4, 4},      {"userdata", 0, 0},
};

static const char *spec(void) {
        static char text[300];
        static bool made;
        char path[200];
        FILE *f;

        snprintf(path, sizeof(path), "%s/fdld-table-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
        if (!made) {
                f = fopen(path, "we");
                ck_assert_ptr_nonnull(f);
                for (size_t i = 0; i < ELEMENTSOF(layout); i++) {
                        if (layout[i].before)
                                fprintf(f, "%s %u\n", layout[i].name, layout[i].before);
                        else
                                fprintf(f, "%s rest\n", layout[i].name);
                }
                fclose(f);
                made = true;
        }
        snprintf(text, sizeof(text), "phone-ufs-ab,fast,size=512M,fixnv=0x180000,table=%s", path);
        return text;
}

static void remove_table(void) {
        char path[200];

        snprintf(path, sizeof(path), "%s/fdld-table-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int) getpid());
        unlink(path);
}

/* `unit`: attribute of the list, "" none. */
static PacMaker *upgrade(const char *unit, unsigned scale) {
        PacMaker *m = pm_new_family("phone-ab", 11);
        PmFile *nv = pm_find(m, "NV_NR");

        nv->blocks[0].size = 0x100000;
        pm_find(m, "ProdNV")->blocks[0].size = 0x400000;
        pm_random(pm_find(m, "Super"), "super.img", 256 * 1024);
        pm_find(m, "Super")->data = PM_SPARSE;
        pm_random(pm_find(m, "BOOT"), "boot.img", 128 * 1024);
        pm_random(pm_find(m, "Vendor_boot"), "vendor_boot.img", 128 * 1024);
        pm_random(pm_find(m, "FDL2"), "fdl2.bin", 32 * 1024);
        pm_select(pm_find(m, "CH_SYS"), false);
        m->n_partitions = 0;
        strcpy(m->partitions_unit, unit);
        for (size_t i = 0; i < ELEMENTSOF(layout); i++) {
                char size[32] = "0xFFFFFFFF";

                if (layout[i].after)
                        snprintf(size, sizeof(size), "%u", layout[i].after * scale);
                else if (unit[0])
                        strcpy(size, "-1");
                pm_partition(m, layout[i].name, size);
        }
        return m;
}

static void plan_it(Bench *b, FlashMode mode, bool table_only) {
        bench_plan_with(b, &(PlanOptions) {
                                   .mode = mode, .finish = FINISH_RESET, .allow_warnings = true, .repartition = true, .table_only = table_only});
}

static Bench *bench(void) {
        Bench *b = bench_new_made(spec(), upgrade("", 1));

        plan_it(b, FLASH_MODE_UPGRADE, false);
        return b;
}

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
}

/* ---- what must survive ----------------------------------------------------------------------------------------- */

static const char *const own[] = {"parts/prodnv", "parts/miscdata", "parts/calinv"};
static const char *const nv_copies[] = {"parts/nr_fixnv1_a", "parts/nr_fixnv1_b", "parts/nr_fixnv2_a", "parts/nr_fixnv2_b"};

static void same_item(BenchFlash *before, BenchFlash *after, unsigned id) {
        size_t n, m, size_b, size_a;
        uint8_t *b = bench_flash_file(before, nv_copies[0], &size_b);
        const uint8_t *item = expect_nv_item(b + 512, size_b - 512, id, &n);

        ck_assert_ptr_nonnull(item);
        for (size_t i = 0; i < ELEMENTSOF(nv_copies); i++) {
                uint8_t *a = bench_flash_file(after, nv_copies[i], &size_a);
                const uint8_t *now;

                ck_assert_msg(a, "%s is gone", nv_copies[i]);
                now = expect_nv_item(a + 512, size_a - 512, id, &m);
                ck_assert_msg(now && n == m && memcmp(item, now, n) == 0, "%s: item 0x%x is not the unit's own", nv_copies[i], id);
        }
}

static void own_data_survive(BenchFlash *before, BenchFlash *after) {
        for (size_t i = 0; i < ELEMENTSOF(own); i++) {
                size_t n, m;
                uint8_t *x = bench_flash_file(before, own[i], &n), *y = bench_flash_file(after, own[i], &m);

                ck_assert_msg(x && y, "%s is gone", own[i]);
                if (i == 1) { /* fields that a loader clears when it is written */
                        memset(x + 0x2400, 0, 8);
                        memset(x + 0x81400, 0, 16);
                        memset(y + 0x2400, 0, 8);
                        memset(y + 0x81400, 0, 16);
                }
                ck_assert_msg(m >= n && memcmp(x, y, n) == 0, "%s is not as it was", own[i]);
        }
        same_item(before, after, 0x5);
        same_item(before, after, 0x2);
        same_item(before, after, 0x26d);
}

START_TEST(table_is_changed_and_own_data_survive) {
        Bench *b = bench();
        BenchFlash *before = bench_flash(b), *after;

        must_pass(b);
        after = bench_flash(b);
        own_data_survive(before, after);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_BACKUP, "partition-table"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "table=changed: "));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "miscdata is 1 MiB on the device, 2 MiB in the package"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "table-lost="));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "userdata"));
        ck_assert(bench_describes(b, "\"bootable\":true"));
        bench_flash_free(before);
        bench_flash_free(after);
        /* the same again: nothing to change */
        bench_replug(b);
        must_pass(b);
        ck_assert_ptr_null(bench_event(b, EVENT_BACKUP, "partition-table"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "as in the package: not changed"));
        bench_free(b);
}
END_TEST

/* Units of the list: mebibytes by attribute, 512 KiB, KiB, bytes, sectors of 4096; all make the same table. */
static const struct {
        const char *unit;
        unsigned scale;
} units[] = {{"0", 1}, {"1", 2}, {"2", 1024}, {"3", 1024 * 1024}, {"4", 256}};

START_TEST(every_unit_makes_the_same_table) {
        Bench *b = bench_new_made(spec(), upgrade("", 1)), *c = bench_new_made(spec(), upgrade(units[_i].unit, units[_i].scale));
        static const char *const no_parts[] = {"parts/", "boot", NULL};
        BenchFlash *want, *have;

        plan_it(b, FLASH_MODE_UPGRADE, true);
        plan_it(c, FLASH_MODE_UPGRADE, true);
        must_pass(b);
        must_pass(c);
        want = bench_flash(b);
        have = bench_flash(c);
        ck_assert_str_eq(bench_flash_differs(want, have, no_parts), "");
        bench_flash_free(want);
        bench_flash_free(have);
        bench_free(b);
        bench_free(c);
}
END_TEST

START_TEST(without_the_option_it_is_refused) {
        Bench *b = bench();
        BenchFlash *before = bench_flash(b), *after;

        bench_plan(b, FLASH_MODE_UPGRADE);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "identify-mismatch-table");
        ck_assert_ptr_nonnull(strstr(b->failure.text, "miscdata is 1 MiB on the device, 2 MiB in the package"));
        ck_assert(!b->report.wrote && !b->failure.must_reflash);
        after = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* Only the table: everything whose place stays the same is as before, and what is the unit's own is put back. */
START_TEST(the_table_alone) {
        Bench *b = bench();
        BenchFlash *before = bench_flash(b), *after;
        uint8_t *x, *y;
        size_t n, m;

        plan_it(b, FLASH_MODE_UPGRADE, true);
        must_pass(b);
        after = bench_flash(b);
        own_data_survive(before, after);
        x = bench_flash_file(before, "boot1.bin", &n);
        y = bench_flash_file(after, "boot1.bin", &m);
        for (size_t i = 0; i < n; i++)
                must(x[i] == y[i], "boot1.bin differs at %zu: %02x %02x", i, x[i], y[i]);
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* A loader with a switch against writing wants it turned before the table is changed. */
START_TEST(a_switch_is_turned) {
        char text[360];
        Bench *b;

        snprintf(text, sizeof(text), "%s,gate=write-protect", spec());
        b = bench_new_made(text, upgrade("", 1));
        plan_it(b, FLASH_MODE_UPGRADE, false);
        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "told to allow writing"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "table=changed: "));
        bench_free(b);
}
END_TEST

/* Calibration data that cannot be read are not destroyed. */
START_TEST(what_cannot_be_saved_is_not_moved) {
        char text[400];
        BenchFlash *before, *after;
        Bench *b;

        snprintf(text, sizeof(text), "%s,nv=both-bad", spec());
        b = bench_new_made(text, upgrade("", 1));
        plan_it(b, FLASH_MODE_UPGRADE, _i);
        before = bench_flash(b);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert(!b->report.wrote);
        if (_i)
                ck_assert_str_eq(bench_code(b), "repartition-mismatch-unsaved");
        after = bench_flash(b);
        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

static const struct {
        const char *fault, *code;
        bool must_reflash;
} refusals[] = {
        {"at=fdl2:repartition nak=96", "repartition-refused-96", true}, /* the boot stage was erased before */
        {"at=fdl2:repartition nak=ac", "repartition-refused-ac", true},
        {"at=fdl2:repartition nak=84", "repartition-refused-84", true},
        {"at=fdl2:repartition silence", "repartition-silent", true},
        {"at=fdl2:repartition disconnect", "repartition-gone", true},
        {"at=fdl2:erase:#1 nak=84", "repartition-refused-84", true},
        {"at=fdl2:erase:#1 disconnect", "repartition-gone", true},
        {"at=fdl2:repartition write-error", "repartition-refused-84", true},
};

START_TEST(failures_of_the_change_are_mended) {
        Bench *b = bench();
        BenchFlash *before = bench_flash(b), *after;

        bench_fault(b, refusals[_i].fault);
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), refusals[_i].code);
        ck_assert_int_eq(b->failure.must_reflash, refusals[_i].must_reflash);
        /* It cannot start half made; if the boot stage was not erased, nothing else was done. */
        ck_assert_int_eq(bench_describes(b, "\"bootable\":true"), strstr(refusals[_i].fault, "erase") != NULL);
        bench_replug(b);
        must_pass(b);
        after = bench_flash(b);
        own_data_survive(before, after);
        bench_flash_free(before);
        bench_flash_free(after);
        bench_free(b);
}
END_TEST

/* ---- NAND, old loaders ------------------------------------------------------------------------------------------- */

/* Loaders that show no table are asked for every name; the GPT is read where there is one. */
static const struct {
        const char *spec, *package, *grows, *by;
} shy[] = {
        {"phone-old,fast", "phone-old", "recovery", "4"},
        {"phone-nand,fast", "phone-nand", "recovery", "7"},
};

START_TEST(tables_that_are_not_shown) {
        PacMaker *m = pm_new_family(shy[_i].package, 11);
        char want[100];
        Bench *b;

        b = bench_new_made(shy[_i].spec, pm_new_family(shy[_i].package, 11));
        plan_it(b, FLASH_MODE_UPGRADE, false);
        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "as in the package: not changed"));
        bench_free(b);
        for (unsigned i = 0; i < m->n_partitions; i++)
                if (streq(m->partitions[i].name, shy[_i].grows))
                        snprintf(m->partitions[i].size, sizeof(m->partitions[i].size), "%ld", strtol(m->partitions[i].size, NULL, 0) + 5);
        b = bench_new_made(shy[_i].spec, m);
        plan_it(b, FLASH_MODE_UPGRADE, false);
        must_pass(b);
        snprintf(want, sizeof(want), "table=changed: %s is ", shy[_i].grows);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, want));
        bench_free(b);
}
END_TEST

/* No list in the package: the loader knows its table, and is only asked if it wants to be, or must. */
static const struct {
        const char *type, *info;
        bool sent;
} bare[] = {
        {"REPARTITION", "struct", true}, {"REPARTITION", "ack", false}, {"FORCE_REPARTITION", "ack", true},
};

START_TEST(nand_without_a_list) {
        PacMaker *m = pm_new_family("phone-nand", 11);
        char text[100];
        Bench *b;

        m->n_partitions = 0;
        pm_select(pm_add(m, "Repartition", bare[_i].type, 0, 0), true);
        snprintf(text, sizeof(text), "phone-nand,fast,info=%s", bare[_i].info);
        b = bench_new_made(text, m);
        plan_it(b, FLASH_MODE_UPGRADE, false);
        must_pass(b);
        ck_assert_int_eq(bench_describes(b, "\"repartition\":1"), bare[_i].sent);
        bench_free(b);
}
END_TEST

/* ---- lost in between --------------------------------------------------------------------------------------------- */

typedef struct Way {
        bool killed;          /* the host dies and comes back; else the cable is pulled */
        bool other_job;       /* the next job does not ask for a new table */
} Way;
static const Way ways[] = {{false, false}, {true, false}, {false, true}};

/* Sends of the whole job, and of its part from the first backup to the end of what is put back. */
static void measure(uint64_t *ret_all, uint64_t *ret_from, uint64_t *ret_to) {
        Bench *b = bench();
        int backup = bench_find_step(b, PLAN_BACKUP, NULL), restore = bench_find_step(b, PLAN_RESTORE, NULL);

        must_pass(b);
        *ret_all = b->sim->sends;
        bench_free(b);
        b = bench();
        b->cancel_step = backup;
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        *ret_from = b->sim->sends;
        bench_free(b);
        b = bench();
        b->unplug_step = restore + 1;
        ck_assert_int_eq(bench_run(b), 1);
        *ret_to = b->sim->sends;
        bench_free(b);
}

/* What the next job finds when an interrupted one is followed by it. */
static void next_job(Bench *b, const Way *way, uint64_t at) {
        b->kill_at_send = b->sim->unplug_at_send = 0;
        if (way->other_job)
                bench_plan(b, FLASH_MODE_UPGRADE);
        if (!way->killed)
                bench_replug(b);
        if (bench_run(b) == 0)
                return;
        if (way->other_job && streq(bench_code(b), "identify-mismatch-table")) {
                /* The old table still: this job is none that may change it, and leaves the unit as it is. */
                ck_assert(!b->report.wrote);
                plan_it(b, FLASH_MODE_UPGRADE, false);
                bench_replug(b);
                if (bench_run(b) == 0)
                        return;
        }
        /* A half-sent loader or an answer that nobody took: only that a power cycle mends. */
        ck_assert_msg(way->killed, "send %llu: the next job: %s: %s", (unsigned long long) at, bench_code(b), b->failure.text);
        bench_replug(b);
        ck_assert_msg(bench_run(b) == 0, "send %llu: after a power cycle: %s: %s", (unsigned long long) at, bench_code(b),
                      b->failure.text);
}

static void interrupted_at(const Way *way, uint64_t at, BenchFlash *before, const BenchFlash *intact, const BenchFlash *want) {
        static const char *const unimportant[] = {"parts/uboot_log", NULL};
        Bench *b = bench();
        BenchFlash *after;
        bool touched;

        if (way->killed)
                b->kill_at_send = at;
        else
                b->sim->unplug_at_send = at;
        if (bench_run(b) != 0) {
                after = bench_flash(b);
                touched = bench_flash_differs(intact, after, NULL)[0] && bench_flash_differs(want, after, unimportant)[0];
                /* No unit between two firmwares starts: it stays where it can be flashed. */
                ck_assert_msg(!touched || !bench_describes(b, "\"bootable\":true"),
                              "send %llu: a half-made unit would start: stage %s step %d of %zu, %s", (unsigned long long) at,
                              stage_to_string(b->failure.stage), b->failure.step, b->plan->n_steps,
                              bench_flash_differs(want, after, unimportant));
                bench_flash_free(after);
                next_job(b, way, at);
        }
        after = bench_flash(b);
        own_data_survive(before, after);
        ck_assert_msg(streq(bench_flash_differs(want, after, unimportant), ""), "send %llu: %s", (unsigned long long) at,
                      bench_flash_differs(want, after, unimportant));
        ck_assert_msg(bench_describes(b, "\"bootable\":true"), "send %llu: it does not start", (unsigned long long) at);
        bench_flash_free(after);
        bench_free(b);
}

START_TEST(lost_anywhere) {
        const Way *way = ways + _i;
        const char *how = getenv("FDLD_LONG");
        bool all = how != NULL, every = !all || streq(how, "every");
        uint64_t sends, from, to, tried = 0;
        BenchFlash *before, *intact, *want;
        Bench *b = bench();

        before = bench_flash(b);
        intact = bench_flash(b);
        must_pass(b);
        want = bench_flash(b);
        bench_free(b);
        measure(&sends, &from, &to);
        if (all)
                fprintf(stderr, "%llu messages, table and calibration within %llu to %llu\n", (unsigned long long) sends, (unsigned long long) from,
                        (unsigned long long) to);
        for (uint64_t at = 1; at <= sends; at++) {
                bool inside = at >= to - MIN(to, (uint64_t) 40) && at <= to + 10, reads = at > from + 20 && at < to - MIN(to, (uint64_t) 60);

                if (!all && !(inside && at % 6 == 2 * (uint64_t) _i) && at % 457 != 7)
                        continue;
                /* Each message in one of the ways; and hundreds of questions are of the same kind while everything is read twice. */
                if (all && !every && !inside && at % (reads ? 12 : ELEMENTSOF(ways)) != (uint64_t) _i)
                        continue;
                interrupted_at(way, at, before, intact, want);
                tried++;
        }
        ck_assert_uint_gt(tried, 8);
        bench_flash_free(before);
        bench_flash_free(intact);
        bench_flash_free(want);
}
END_TEST

int main(void) {
        Suite *s = suite_create("repartition");
        TCase *t = tcase_create("change"), *lost = tcase_create("lost");
        SRunner *runner;
        int failed;

        atexit(remove_table);
        tcase_set_timeout(t, 120);
        tcase_set_timeout(lost, getenv("FDLD_LONG") ? 3600 : 600);
        suite_add_tcase(s, t);
        suite_add_tcase(s, lost);
        tcase_add_test(t, table_is_changed_and_own_data_survive);
        tcase_add_loop_test(t, every_unit_makes_the_same_table, 0, (int) ELEMENTSOF(units));
        tcase_add_test(t, without_the_option_it_is_refused);
        tcase_add_test(t, a_switch_is_turned);
        tcase_add_test(t, the_table_alone);
        tcase_add_loop_test(t, what_cannot_be_saved_is_not_moved, 0, 2);
        tcase_add_loop_test(t, failures_of_the_change_are_mended, 0, (int) ELEMENTSOF(refusals));
        tcase_add_loop_test(t, tables_that_are_not_shown, 0, (int) ELEMENTSOF(shy));
        tcase_add_loop_test(t, nand_without_a_list, 0, (int) ELEMENTSOF(bare));
        tcase_add_loop_test(lost, lost_anywhere, 0, (int) ELEMENTSOF(ways));
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
