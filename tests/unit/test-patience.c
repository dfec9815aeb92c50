/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time limits that are learned: a kind of device that needs longer gets longer, none ever gets less than is set, and none gets for ever. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine-bench.h"
#include "flash/patience.h"

static void keep_traits(const Bench *b, LoaderTraits *ret) {
        for (size_t i = 0; i < b->n_events; i++) {
                char loader[65], trait[32], value[16];

                if (b->events[i].type == EVENT_FACT && sscanf(b->events[i].text, "trait=%64s %31s %15s", loader, trait, value) == 3 &&
                    streq(loader, b->plan->loader[1]))
                        traits_set(ret, trait, value);
        }
}

/* How many limits are known; a loader has other traits too. */
static unsigned n_known(const LoaderTraits *t) {
        unsigned n = 0;

        for (size_t i = 0; i < t->n; i++)
                n += strncmp(t->list[i].trait, "t:", 2) == 0;
        return n;
}

static void other_table(PacMaker *m) {
        for (unsigned i = 0; i < m->n_partitions; i++)
                if (streq(m->partitions[i].name, "cache"))
                        strcpy(m->partitions[i].size, "24");
}

/* Another unit of the same model, with what the station knows; it learns from it. NULL: the job was done; else how it failed. */
static const char *flash_one(LoaderTraits *known, const BslDeadlines *set, const char *fault, const char *fault2) {
        static char code[FAILURE_CODE_MAX];
        PacMaker *m = pm_new_family("phone", 11);
        LoaderTraits before = *known;
        bool done;
        Bench *b;

        other_table(m);
        b = bench_new_made("phone-emmc,fast", m);
        bench_plan_with(b, &(PlanOptions) {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET, .repartition = true});
        b->input.deadlines = *set;
        patience_apply(&b->input.deadlines, known);
        b->input.traits[1] = &before;
        bench_fault(b, fault);
        if (fault2)
                bench_fault(b, fault2);
        bench_run(b);
        keep_traits(b, known);
        done = b->result == 0;
        snprintf(code, sizeof(code), "%s", done ? "" : bench_code(b));
        bench_free(b);
        return done ? NULL : code;
}

static const struct {
        const char *wait, *at;
        size_t offset;
} waits[] = {
#define ROW(field, at) {#field, at, offsetof(BslDeadlines, field)}
        ROW(start, "fdl2:start:#2"),
        ROW(midst, "fdl2:midst:#9"),
        ROW(midst_last, "fdl2:midst:2097151@2"),
        ROW(end, "fdl2:end:#2"),
        ROW(exec_fdl2, "fdl1:exec"),
        ROW(erase, "fdl2:erase:#1"),
        ROW(repartition, "fdl2:repartition"),
#undef ROW
};

static uint32_t limit_of(const BslDeadlines *d, int i) {
        return *(const uint32_t *) ((const char *) d + waits[i].offset);
}

static void slow_at(int i, uint64_t ms, char ret[static 96]) {
        snprintf(ret, 96, "at=%s slow=%llu", waits[i].at, (unsigned long long) ms);
}

START_TEST(who_needs_longer_gets_longer) {
        LoaderTraits known = {};
        BslDeadlines set, longer;
        char fault[96];
        const char *code;

        bsl_deadlines_default(&set);
        /* Slow, but in time: one thing was learned, and only the limit that it is about is longer. */
        slow_at(_i, (uint64_t) limit_of(&set, _i) * 8 / 10, fault);
        code = flash_one(&known, &set, fault, NULL);
        ck_assert_msg(!code, "%s: %s", waits[_i].wait, code);
        ck_assert_uint_eq(n_known(&known), 1);
        ck_assert_uint_ge(patience_needed(&known, waits[_i].wait), limit_of(&set, _i) / 10 * 7);
        longer = set;
        patience_apply(&longer, &known);
        for (int k = 0; k < (int) ELEMENTSOF(waits); k++)
                if (k != _i)
                        ck_assert_uint_eq(limit_of(&longer, k), limit_of(&set, k));
        ck_assert_uint_ge(limit_of(&longer, _i), limit_of(&set, _i) / 10 * 15);
        /* The next unit is slower still. */
        slow_at(_i, (uint64_t) limit_of(&set, _i) * 15 / 10, fault);
        code = flash_one(&known, &set, fault, NULL);
        ck_assert_msg(!code, "%s: %s", waits[_i].wait, code);
        ck_assert_uint_ge(patience_needed(&known, waits[_i].wait), limit_of(&set, _i) / 10 * 14);
}
END_TEST

START_TEST(who_is_quick_teaches_nothing_and_takes_nothing_away) {
        LoaderTraits known = {}, nothing = {};
        BslDeadlines set;

        bsl_deadlines_default(&set);
        traits_set(&known, "t:erase", "400000");
        ck_assert_ptr_null(flash_one(&nothing, &set, "at=fdl2:erase:#1 slow=200000", NULL));
        ck_assert_uint_eq(n_known(&nothing), 0);
        ck_assert_ptr_null(flash_one(&known, &set, "at=fdl2:erase:#1 slow=200000", NULL));
        ck_assert_uint_eq(patience_needed(&known, "erase"), 400000);
        /* Too slow for a loader of which nothing is known. */
        ck_assert_ptr_nonnull(flash_one(&nothing, &set, "at=fdl2:erase:#1 slow=700000", NULL));
        ck_assert_uint_eq(n_known(&nothing), 0);
}
END_TEST

/* It answers in the last moment each time, a little later each time. */
START_TEST(nobody_stretches_a_limit_for_ever) {
        const uint32_t limits[] = {1000, 1500000}, most[] = {4000, 3600000};
        LoaderTraits known = {};
        BslDeadlines set, now;
        const char *code;
        char fault[96];

        bsl_deadlines_default(&set);
        set.erase = limits[_i];
        for (unsigned round = 0; round < 4; round++) {
                now = set;
                patience_apply(&now, &known);
                ck_assert_uint_le(now.erase, most[_i]);
                snprintf(fault, sizeof(fault), "at=fdl2:erase:#1 slow=%u", now.erase - 1 - now.erase / 50);
                code = flash_one(&known, &set, fault, NULL);
                ck_assert_msg(!code, "%u: round %u: %s", limits[_i], round, code);
        }
        ck_assert_uint_eq(now.erase, most[_i]);
        snprintf(fault, sizeof(fault), "at=fdl2:erase:#1 slow=%u", now.erase + 1000);
        ck_assert_ptr_nonnull(flash_one(&known, &set, fault, NULL));
        patience_apply(&set, &known);
        ck_assert_uint_eq(set.erase, most[_i]);
}
END_TEST

START_TEST(a_job_that_fails_teaches_nothing) {
        LoaderTraits known = {};
        BslDeadlines set;

        bsl_deadlines_default(&set);
        ck_assert_str_eq(flash_one(&known, &set, "at=fdl2:erase:#1 slow=500000", "at=fdl2:midst:#20 disconnect"), "write-gone");
        ck_assert_uint_eq(n_known(&known), 0);
}
END_TEST

/* What stands in a database may be anything. */
START_TEST(what_is_no_number_is_not_believed) {
        static const char *const values[] = {"", "x", "-1", "99999999999999", "12x", " 5", "+7"};
        BslDeadlines set, now;
        LoaderTraits known = {};
        char text[400];

        bsl_deadlines_default(&set);
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                traits_set(&known, "t:erase", values[i]);
                now = set;
                patience_apply(&now, &known);
                ck_assert_uint_ge(now.erase, set.erase);
                ck_assert_uint_le(now.erase, 4 * set.erase);
                if (i != 3)
                        ck_assert_uint_eq(now.erase, set.erase);
        }
        now = set;
        patience_apply(&now, NULL);
        patience_differ(&set, &now, text, sizeof(text));
        ck_assert_str_eq(text, "");
        now.erase = 820500;
        now.repartition = 150000;
        patience_differ(&set, &now, text, sizeof(text));
        ck_assert_str_eq(text, "EraseSec=820.5 instead of 600, RepartitionSec=150 instead of 100");
        ck_assert_uint_eq(patience_limit(600000, 0), 600000);
        ck_assert_uint_eq(patience_limit(600000, 600000), 1200000);
        ck_assert_uint_eq(patience_limit(600000, UINT32_MAX), 2400000);
        ck_assert_uint_eq(patience_limit(3600000, UINT32_MAX), 3600000);
        ck_assert_uint_eq(patience_limit(UINT32_MAX, UINT32_MAX), UINT32_MAX);
}
END_TEST

int main(void) {
        Suite *s = suite_create("patience");
        TCase *t = tcase_create("limits");
        SRunner *runner;
        int failed;

        if (getenv("FDLD_TEST_MEMORY"))
                setenv("TMPDIR", getenv("FDLD_TEST_MEMORY"), 1);
        tcase_set_timeout(t, 120);
        tcase_add_loop_test(t, who_needs_longer_gets_longer, 0, (int) ELEMENTSOF(waits));
        tcase_add_test(t, who_is_quick_teaches_nothing_and_takes_nothing_away);
        tcase_add_loop_test(t, nobody_stretches_a_limit_for_ever, 0, 2);
        tcase_add_test(t, a_job_that_fails_teaches_nothing);
        tcase_add_test(t, what_is_no_number_is_not_believed);
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
