/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What not every loader knows: a loader is never asked so much that it falls silent for good, and never asked the same again. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/choice.h"

/* Counted by the unit since its last loader was started. */
static unsigned counted(const Bench *b, const char *what) {
        static char buf[65536];
        char key[40];
        const char *at;

        sim_describe(b->sim->model, buf, sizeof(buf));
        snprintf(key, sizeof(key), "\"%s\":", what);
        at = strstr(buf, key);
        return at ? (unsigned) strtoul(at + strlen(key), NULL, 10) : 0;
}

/* What the station would keep of the last run. */
static void keep_traits(const Bench *b, LoaderTraits *ret) {
        for (size_t i = 0; i < b->n_events; i++) {
                char loader[65], trait[32], value[16];

                if (b->events[i].type == EVENT_FACT && sscanf(b->events[i].text, "trait=%64s %31s %15s", loader, trait, value) == 3)
                        for (unsigned k = 0; k < 2; k++)
                                if (streq(loader, b->plan->loader[k]))
                                        traits_set(ret + k, trait, value);
        }
}

/* A package that gives cause for as many orders as any. */
static PacMaker *curious(const char *family) {
        PacMaker *m = pm_new_family(family, 11);
        PmFile *f = pm_find(m, "BootLogo");

        if (f)
                strcpy(f->type, "MiscDataCode2");
        return m;
}

static Bench *planned(const char *spec, PacMaker *m) {
        Bench *b = bench_new_made(spec, m);

        /* It stays where it is, so that its counters can be read. */
        bench_plan_with(b, &(PlanOptions) {.mode = FLASH_MODE_UPGRADE,
                                           .finish = FINISH_NOTHING,
                                           .choice = {.try_check = "ddr,chip-type=1,memory-type=2c-ac-15,bad-blocks=100,calibration",
                                                      .keep_charge = CHOICE_YES,
                                                      .keep_charge_try = true}});
        b->input.raw = true;
        return b;
}

static const char *const commands[] = {"plain", "read-partition", "chip-uid", "time-stamp", "enable-raw", "date-time"};
static const char *const kinds[][2] = {
        {"phone-emmc,fast,raw=1", "phone"},
        {"phone-emmc,fast,info=ack", "phone"},
        {"phone-emmc,fast,gate=write-protect", "phone"},
        {"phone-old,fast", "phone-old"},
        {"phone-nand,fast", "phone-nand"},
};

static Bench *ignorant(const char *const kind[2], unsigned set) {
        char spec[256];
        size_t n = (size_t) snprintf(spec, sizeof(spec), "%s", kind[0]);
        const char *before = ",unknown=";

        for (unsigned i = 0; i < ELEMENTSOF(commands); i++)
                if (set >> i & 1) {
                        n += (size_t) snprintf(spec + n, sizeof(spec) - n, "%s%s", before, commands[i]);
                        before = "+";
                }
        return planned(spec, curious(kind[1]));
}

static void run_until_known(const char *const kind[2], unsigned set) {
        Bench *b = ignorant(kind, set);
        LoaderTraits traits[2] = {};
        unsigned asked = 0;

        b->input.traits[0] = traits;
        b->input.traits[1] = traits + 1;
        for (unsigned run = 0; run < 9; run++) { /* what there was no room for at first is found out by and by */
                unsigned before = asked;

                if (run > 0)
                        bench_replug(b);
                bench_run(b);
                asked = counted(b, "unknown");
                ck_assert_msg(asked <= 2, "%s, set %x, run %u: %u unknown commands", kind[0], set, run, asked);
                ck_assert_msg(b->result == 0, "%s, set %x, run %u: %s", kind[0], set, run, b->failure.text);
                keep_traits(b, traits);
                if (run > 0 && asked == 0)
                        break;
                ck_assert_msg(run == 0 || asked < 2 || before == 2, "%s, set %x, run %u: asked again", kind[0], set, run);
        }
        ck_assert_msg(asked == 0, "%s, set %x: %u unknown commands although all is known", kind[0], set, asked);
        bench_free(b);
}

/* Any set of commands that are not known, on any kind of loader: two questions at most, and none of them ever again. */
START_TEST(no_loader_is_silenced) {
        const unsigned all = (1u << ELEMENTSOF(commands)) - 1;

        if (_i < (int) ELEMENTSOF(kinds)) {
                run_until_known(kinds[_i], all);
                run_until_known(kinds[_i], 0);
        } else
                run_until_known(kinds[0], all & ~(1u << ((unsigned) _i - ELEMENTSOF(kinds))));
}
END_TEST

/* One that is locked says to everything that it does not know it: that is no knowledge. */
START_TEST(a_locked_loader_teaches_nothing) {
        Bench *b = planned("phone-emmc,fast,gate=auth", curious("phone"));
        LoaderTraits traits[2] = {};

        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_uint_le(counted(b, "unknown"), 3);
        keep_traits(b, traits);
        ck_assert_uint_eq(traits[1].n, 0);
        bench_free(b);
}
END_TEST

/* Who runs there is not certain: nothing good is believed of it, and nothing is learned. */
START_TEST(another_ones_loader_teaches_nothing) {
        Bench *b = planned("phone-emmc,fast", curious("phone"));
        LoaderTraits traits[2] = {};
        size_t n;

        b->cancel_step = bench_find_step(b, PLAN_BACKUP, NULL);
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        b->cancel_step = -1;
        b->cancelled = false;
        n = b->n_events;
        b->n_events = 0;
        ck_assert_uint_gt(n, 0);
        ck_assert_msg(bench_run(b) == 0, "%s", b->failure.text);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=a loader was running already"));
        keep_traits(b, traits);
        ck_assert_uint_eq(traits[1].n, 0);
        bench_free(b);
}
END_TEST

/* Cut off by a crash of this computer and met again: it has heard what it does not know, and CONNECT, and hears nothing more of the kind. */
START_TEST(met_again_after_a_crash) {
        Bench *b = planned("phone-emmc,fast,unknown=time-stamp", curious("phone"));
        LoaderTraits traits[2] = {};

        b->input.traits[0] = traits;
        b->input.traits[1] = traits + 1;
        b->cancel_step = bench_find_step(b, PLAN_BACKUP, NULL);
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        b->cancel_step = -1;
        b->cancelled = false;
        keep_traits(b, traits);
        ck_assert_uint_gt(traits[1].n, 0);
        ck_assert_msg(bench_run(b) == 0, "%s", b->failure.text);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=a loader was running already"));
        ck_assert_uint_eq(counted(b, "unknown"), 2);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=time stamp not written"));
        bench_free(b);
}
END_TEST

/* The daemon is killed in the middle of an image, again and again. Each new one knows from the record of the job which loader it has left on
 * this very device: it asks that for its chip UID, and nothing costs the loader a buffer, however often. */
START_TEST(left_in_the_middle) {
        Bench *b = planned("phone-emmc,fast", curious("phone"));
        LoaderTraits traits[2] = {};
        unsigned unknown = 0;

        b->input.traits[0] = traits;
        b->input.traits[1] = traits + 1;
        b->input.raw = false;
        for (unsigned kill = 0; kill < 6; kill++) {
                /* in mid-image, in a backup, and right after the question */
                b->kill_at_send = b->sim->sends + (kill == 0 ? 900 : kill % 3 == 0 ? 150 : kill % 3 == 1 ? 12 : 3);
                ck_assert_int_ne(bench_run(b), 0);
                keep_traits(b, traits);
                if (kill == 0) {
                        ck_assert(bench_describes(b, "\"stage\":\"fdl2\""));
                        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "chip-uid="));
                        unknown = counted(b, "unknown");
                        memcpy(b->input.left, b->plan->loader[1], sizeof(b->input.left));
                } else
                        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "note=a loader was running already"));
        }
        b->kill_at_send = 0;
        ck_assert_msg(bench_run(b) == 0, "%s", b->failure.text);
        ck_assert_uint_eq(counted(b, "unknown"), unknown);
        bench_free(b);
}
END_TEST

/* Of another package, or sent data without frames: met as if nobody had been there. */
START_TEST(left_and_not_asked) {
        Bench *b = planned("phone-emmc,fast", curious("phone"));
        LoaderTraits traits[2] = {};
        unsigned connects;

        b->input.traits[0] = traits;
        b->input.traits[1] = traits + 1;
        b->input.raw = _i == 1;
        b->kill_at_send = 900;
        ck_assert_int_ne(bench_run(b), 0);
        keep_traits(b, traits);
        memset(b->input.left, 'a', 64);
        if (_i == 1)
                memcpy(b->input.left, b->plan->loader[1], sizeof(b->input.left));
        b->kill_at_send = 0;
        connects = counted(b, "connect");
        (void) bench_run(b);
        ck_assert_uint_gt(counted(b, "connect"), connects);
        ck_assert_uint_gt(counted(b, "unknown"), 0);
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *s = suite_create("questions");
        TCase *t = tcase_create("all");
        SRunner *r;
        int failed;

        tcase_set_timeout(t, 60);
        tcase_add_loop_test(t, no_loader_is_silenced, 0, (int) (ELEMENTSOF(kinds) + ELEMENTSOF(commands)));
        tcase_add_test(t, a_locked_loader_teaches_nothing);
        tcase_add_test(t, another_ones_loader_teaches_nothing);
        tcase_add_test(t, met_again_after_a_crash);
        tcase_add_test(t, left_in_the_middle);
        tcase_add_loop_test(t, left_and_not_asked, 0, 2);
        suite_add_tcase(s, t);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
