/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Images without frames, on simulated phones in virtual time: the same flash as with frames, and every fault has a name. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"

static Bench *planned_with(const char *spec, const char *package) {
        Bench *b = bench_new(spec, package);

        bench_plan(b, FLASH_MODE_UPGRADE);
        b->input.raw = true;
        return b;
}

static Bench *planned(const char *spec) {
        return planned_with(spec, "phone");
}

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
        ck_assert(!b->progress_fell);
        ck_assert_uint_eq(b->progress, b->progress_total);
}

static void flash_and_compare(Bench *b) {
        static const char *const boot_areas[] = {"boot1.bin", "boot2.bin", "mtd-", NULL};
        BenchFlash *want = bench_flash(b), *have;

        must_pass(b);
        have = bench_flash(b);
        expect_upgrade(want, b->pac, b->package);
        ck_assert_str_eq(bench_flash_differs(want, have, boot_areas), "");
        ck_assert_str_eq(expect_boot_areas(have, b->pac, b->package), "");
        bench_flash_free(want);
        bench_flash_free(have);
}

/* The same files, most of them in one chunk; boot has two. */
static Bench *planned_small(const char *spec) {
        static const char *const small[] = {"System", "Recovery", "Modem_LTE", "DSP_LTE", "ProdNV"};
        PacMaker *m = pm_new_family("phone", 3);
        Bench *b;

        for (size_t i = 0; i < ELEMENTSOF(small); i++)
                pm_find(m, small[i])->size = 128 * 1024;
        b = bench_new_made(spec, m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        b->input.raw = true;
        return b;
}

/* How often the unit was told so, by its own count. */
static unsigned told(const Bench *b, const char *command) {
        static char buf[65536];
        char key[40];
        const char *at;

        sim_describe(b->sim->model, buf, sizeof(buf));
        snprintf(key, sizeof(key), "\"%s\":", command);
        at = strstr(buf, key);
        return at ? (unsigned) strtoul(at + strlen(key), NULL, 10) : 0;
}

/* ---- the same flash by every way -------------------------------------------------------------------------- */

static const struct {
        const char *spec;
        bool raw;
        bool goes_raw;
        const char *package; /* NULL: that for phones with eMMC */
} ways[] = {
        {"phone-emmc,fast,hdlc=always", false, false},
        {"phone-emmc,fast", false, false},
        {"phone-emmc,fast,raw=1", true, true},
        {"phone-emmc,fast,raw=2", true, true},
        {"phone-emmc,fast,raw=1,info=tlv", true, true},
        {"phone-emmc,raw=2,info=tlv", true, true},
        {"phone-emmc,fast,raw=1,glue-log=3", true, true},
        {"phone-emmc,fast,raw=2,glue-log=3", true, true},
        /* not offered, or not wanted, or with escaping */
        {"phone-emmc,fast", true, false},
        {"phone-emmc,fast,raw=1", false, false},
        {"phone-emmc,fast,raw=2,hdlc=always", true, false},
        {"phone-emmc,fast,raw=1,info-version=2", true, false},
        {"phone-emmc,fast,raw=1,info=empty", true, false},
        /* drivers that want the empty packet behind a chunk whose length they know; two slots; UBI volumes */
        {"phone-ufs-ab,fast", true, true, "phone-ab"},
        {"phone-lk,fast,raw=2", true, true, "phone-lk"},
        {"phone-nand,fast,raw=1", true, true, "phone-nand"},
        {"phone-nand,fast,raw=2", true, true, "phone-nand"},
        {"phone-old,fast,raw=2", true, false, "phone-old"},
};

START_TEST(same_flash_by_every_way) {
        Bench *b = planned_with(ways[_i].spec, ways[_i].package ? ways[_i].package : "phone");

        b->input.raw = ways[_i].raw;
        flash_and_compare(b);
        ck_assert_int_eq(bench_event(b, EVENT_FACT, "raw=level") != NULL, ways[_i].goes_raw);
        bench_free(b);
}
END_TEST

/* A full-speed port has packets of 64 bytes. */
START_TEST(full_speed) {
        Bench *b = planned(_i ? "phone-emmc,fast,raw=2" : "phone-emmc,fast,raw=1");

        b->sim->high_speed = false;
        bench_replug(b);
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "raw=level"));
        bench_free(b);
}
END_TEST

/* ---- a loader that offers what it does not do -------------------------------------------------------------- */

static const char *const fallbacks[] = {
        "at=fdl2:enable-raw nak=84 count=forever",
        "at=fdl2:enable-raw nak=fe count=forever",
        "at=fdl2:enable-raw nak=82 count=forever",
        "at=fdl2:raw-start nak=fe count=forever",
        "at=fdl2:raw-start:#2 nak=fe count=forever", /* not before the second file */
};

START_TEST(falls_back_to_frames) {
        Bench *b = planned("phone-emmc,fast,raw=1,unknown-limit=0");

        bench_fault(b, fallbacks[_i]);
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "refused them"));
        /* Asked once: such a loader has few answers of this kind. */
        ck_assert_uint_le(told(b, "enable-raw"), 1);
        ck_assert_uint_le(told(b, "raw-start"), 2);
        bench_free(b);
}
END_TEST

/* What the run told of a loader goes into the next one, as the station does it. */
static void remember(Bench *b, LoaderTraits *t) {
        for (size_t i = 0; i < b->n_events; i++) {
                char loader[65], trait[32], value[16];
                if (b->events[i].type == EVENT_FACT && sscanf(b->events[i].text, "trait=%64s %31s %15s", loader, trait, value) == 3 &&
                    streq(loader, b->plan->loader[1]))
                        traits_set(t, trait, value);
        }
        b->input.traits[1] = t;
}

START_TEST(a_refusal_is_remembered) {
        Bench *b = planned("phone-emmc,fast,raw=1,unknown-limit=0");
        LoaderTraits traits = {};

        for (unsigned i = 0; i < 32; i++) { /* hashes of the plan are those of a package that was checked */
                b->plan->loader[0][2 * i] = b->plan->loader[0][2 * i + 1] = 'a';
                b->plan->loader[1][2 * i] = b->plan->loader[1][2 * i + 1] = 'b';
        }
        bench_fault(b, fallbacks[0]);
        flash_and_compare(b);
        ck_assert_uint_eq(told(b, "enable-raw"), 1);
        remember(b, &traits);
        ck_assert_str_eq(traits_get(&traits, "raw"), "refused");
        bench_replug(b);
        flash_and_compare(b);
        ck_assert_uint_eq(told(b, "enable-raw"), 1);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "known to refuse them"));
        bench_free(b);
}
END_TEST

START_TEST(large_blocks_are_refused) {
        Bench *b = planned("phone-emmc,fast");
        LoaderTraits traits = {};
        unsigned starts;

        memset(b->plan->loader[1], 'b', 64);
        bench_fault(b, "at=fdl2:midst:#1 nak=8a count=1");
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "sent in blocks of 4096"));
        remember(b, &traits);
        ck_assert_str_eq(traits_get(&traits, "block"), "4096");
        starts = told(b, "start");
        bench_replug(b);
        flash_and_compare(b);
        ck_assert_ptr_null(bench_event(b, EVENT_FACT, "sent in blocks of 4096"));
        ck_assert_uint_lt(told(b, "start") - starts, starts);
        bench_free(b);
}
END_TEST

START_TEST(falls_back_at_level_2) {
        Bench *b = planned("phone-emmc,fast,raw=2,unknown-limit=0");

        bench_fault(b, "at=fdl2:raw-start2 nak=fe count=forever");
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "refused them"));
        bench_free(b);
}
END_TEST

/* ---- faults ----------------------------------------------------------------------------------------------- */

static const struct {
        unsigned level;
        const char *fault, *code;
} faults[] = {
        /* before a file is begun */
        {1, "at=fdl2:enable-raw silence", "write-silent"},
        {1, "at=fdl2:enable-raw stall", "write-silent"},
        {1, "at=fdl2:enable-raw garbage", "write-garbled"},
        {1, "at=fdl2:enable-raw truncate", "write-garbled"},
        {1, "at=fdl2:enable-raw late=3000", "write-slow"},
        {1, "at=fdl2:enable-raw hang-after-ack", "write-silent"},
        {1, "at=fdl2:enable-raw disconnect", "write-gone"},
        /* the file is refused, or its START is */
        {1, "at=fdl2:start:#2 nak=8a", "write-refused-8a"},
        {1, "at=fdl2:start:#2 nak=96", "write-refused-96"},
        {1, "at=fdl2:start:#2 silence", "write-silent"},
        {2, "at=fdl2:start:#2 nak=ac", "write-refused-ac"},
        /* the way is refused; not before the first chunk, so there is no way back */
        {1, "at=fdl2:raw-start silence", "write-silent"},
        {1, "at=fdl2:raw-start nak=84", "write-refused-84"},
        {1, "at=fdl2:raw-start stall", "write-silent"},
        {1, "at=fdl2:raw-start garbage", "write-garbled"},
        {1, "at=fdl2:raw-start bad-sum", "write-garbled"},
        {1, "at=fdl2:raw-start:#8 nak=fe", "write-refused-fe"},
        {1, "at=fdl2:raw-start:#8 nak=82", "write-refused-82"},
        {1, "at=fdl2:raw-start:#3 disconnect", "write-gone"},
        {2, "at=fdl2:raw-start2 silence", "write-silent"},
        {2, "at=fdl2:raw-start2 truncate", "write-garbled"},
        {2, "at=fdl2:raw-start2 nak=8d", "write-refused-8d"},
        {2, "at=fdl2:raw-start2:#2 disconnect", "write-gone"},
        /* in the middle of a chunk: an answer that comes early, no more room, gone */
        {1, "at=fdl2:raw-piece:#3 nak=8a", "checking-refused-8a"},
        {1, "at=fdl2:raw-piece:#40 nak=a2", "write-refused-a2"},
        {1, "at=fdl2:raw-piece:#3 silence", "checking-refused-8b"},
        {1, "at=fdl2:raw-piece:#3 stall", "checking-silent-dead"},
        {1, "at=fdl2:raw-piece:#3 disconnect", "checking-gone"},
        {2, "at=fdl2:raw-piece:#3 nak=8a", "checking-refused-8a"},
        {2, "at=fdl2:raw-piece:#40 nak=84", "write-refused-84"},
        {2, "at=fdl2:raw-piece:#40 silence", "write-refused-8b"},
        {2, "at=fdl2:raw-piece:#40 stall", "write-silent"},
        {2, "at=fdl2:raw-piece:#40 disconnect", "write-gone"},
        /* the answer to a chunk: of the wrong length, an error, none, none that can be understood, too late */
        {1, "at=fdl2:raw-data nak=8a", "checking-refused-8a"},
        {1, "at=fdl2:raw-data silence", "checking-silent"},
        {1, "at=fdl2:raw-data stall", "checking-silent-dead"},
        {1, "at=fdl2:raw-data bad-sum", "checking-garbled"},
        {1, "at=fdl2:raw-data garbage", "checking-garbled"},
        {1, "at=fdl2:raw-data drop-ack", "checking-silent"},
        {1, "at=fdl2:raw-data:#2 late=400000", "checking-silent"},
        {1, "at=fdl2:raw-data:#2 slow=400000", "checking-silent"},
        {1, "at=fdl2:raw-data:#2 hang-after-ack", "checking-silent-dead"},
        {1, "at=fdl2:raw-data:#2 disconnect", "checking-gone"},
        {2, "at=fdl2:raw-data nak=84", "checking-refused-84"},
        {2, "at=fdl2:raw-data:#2 nak=8a", "checking-refused-8a"},
        {2, "at=fdl2:raw-data write-error", "checking-refused-a2"},
        {2, "at=fdl2:raw-data silence", "checking-silent"},
        {2, "at=fdl2:raw-data truncate", "checking-garbled"},
        {2, "at=fdl2:raw-data garbage", "checking-garbled"},
        {2, "at=fdl2:raw-data:#2 late=400000", "checking-silent"},
        {2, "at=fdl2:raw-data:#2 hang-after-ack", "checking-silent-dead"},
        {2, "at=fdl2:raw-data:#2 disconnect", "checking-gone"},
        /* the end */
        {1, "at=fdl2:end:#2 nak=84", "checking-refused-84"},
        {1, "at=fdl2:end:#2 garbage", "checking-garbled"},
        {1, "at=fdl2:end:#2 disconnect", "checking-gone"},
        {2, "at=fdl2:end:#2 silence", "checking-silent"},
};

START_TEST(faults_have_names) {
        Bench *b = planned_small(faults[_i].level == 1 ? "phone-emmc,fast,raw=1" : "phone-emmc,fast,raw=2");
        unsigned ends;
        int r;

        bench_fault(b, faults[_i].fault);
        r = bench_run(b);
        ck_assert_msg(r == 1, "result %d, wanted %s", r, faults[_i].code);
        ck_assert_msg(streq(bench_code(b), faults[_i].code), "%s instead of %s: %s", bench_code(b), faults[_i].code, b->failure.text);
        ck_assert_str_ne(b->failure.text, "");
        ck_assert_str_ne(b->failure.partition, "");
        /* Nothing follows. */
        ends = told(b, "end");
        ck_assert_uint_le(ends, 9);
        /* And another attempt mends it. */
        bench_fault(b, "clear");
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

/* Level 1 acknowledges what is not written yet: the error comes where another answer is due, and is that of the image. */
START_TEST(late_error) {
        Bench *b = planned("phone-emmc,fast,raw=1");
        int r;

        bench_fault(b, _i ? "at=fdl2:raw-data:#2 write-error" : "at=fdl2:raw-data write-error");
        r = bench_run(b);
        ck_assert_int_eq(r, 1);
        ck_assert_int_eq(b->failure.class, CLASS_REFUSED);
        ck_assert_int_eq(b->failure.reply, 0xa2);
        ck_assert_msg(strstr(b->failure.text, "had acknowledged"), "%s", b->failure.text);
        ck_assert(b->failure.must_reflash);
        bench_fault(b, "clear");
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

START_TEST(cable_pulled) {
        Bench *b = planned(_i % 2 ? "phone-emmc,fast,raw=2" : "phone-emmc,fast,raw=1");

        b->unplug_bytes = 27u * 1024 * 1024 + (uint64_t) _i * 1777777;
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_int_eq(b->failure.class, CLASS_GONE);
        ck_assert(b->failure.must_reflash);
        bench_replug(b);
        b->unplug_bytes = 0;
        must_pass(b);
        bench_free(b);
}
END_TEST

START_TEST(bad_disk) {
        Bench *b = planned(_i ? "phone-emmc,fast,raw=2" : "phone-emmc,fast,raw=1");

        b->bad_disk_bytes = 30u * 1024 * 1024;
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_int_eq(b->failure.class, CLASS_HOST);
        ck_assert_ptr_nonnull(strstr(b->failure.text, "the disk has an error there"));
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("raw");
        TCase *tc = tcase_create("raw data");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tc, 120);
        tcase_add_loop_test(tc, same_flash_by_every_way, 0, (int) ELEMENTSOF(ways));
        tcase_add_loop_test(tc, full_speed, 0, 2);
        tcase_add_loop_test(tc, falls_back_to_frames, 0, (int) ELEMENTSOF(fallbacks));
        tcase_add_test(tc, falls_back_at_level_2);
        tcase_add_test(tc, a_refusal_is_remembered);
        tcase_add_test(tc, large_blocks_are_refused);
        tcase_add_loop_test(tc, faults_have_names, 0, (int) ELEMENTSOF(faults));
        tcase_add_loop_test(tc, late_error, 0, 2);
        tcase_add_loop_test(tc, cable_pulled, 0, 6);
        tcase_add_loop_test(tc, bad_disk, 0, 2);
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed > 0;
}
