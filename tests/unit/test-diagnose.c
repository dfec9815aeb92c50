/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is found out about a device after it failed, in virtual time: how it is, what became of the unit, and that finding out costs
 * little and says nothing to a device that may be changing its flash. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"

static unsigned last_size, largest, syncs;

static void on_sent(void *userdata _unused_, const uint8_t *data, size_t size) {
        last_size = (unsigned) size;
        largest = MAX(largest, last_size);
        syncs += size == 1 && data[0] == 0x7e;
}

static const struct {
        const char *spec, *package;
        const char *faults[2];
        const char *code;
        Aftermath aftermath;
        Verdict verdict;
        bool quiet; /* nothing at all is sent afterwards */
} cases[] = {
        /* the loaders: flash was not touched, and a sync may be asked for */
        {"phone-emmc,fast", "phone", {"at=brom:midst:#9 silence"}, "load-fdl1-silent", AFTERMATH_UNRESPONSIVE, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast", "phone", {"at=fdl1:midst:#5 silence"}, "load-fdl2-silent", AFTERMATH_UNRESPONSIVE, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast", "phone", {"at=fdl1:midst:#5 stall"}, "load-fdl2-silent", AFTERMATH_MUTE, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast", "phone", {"at=fdl1:exec silence"}, "exec-fdl2-silent", AFTERMATH_UNRESPONSIVE, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast,resync", "phone", {"at=brom:midst:#9 silence"}, "load-fdl1-silent", AFTERMATH_SYNCS, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast,resync", "phone", {"at=fdl1:midst:#5 silence"}, "load-fdl2-silent", AFTERMATH_SYNCS, VERDICT_UNCHANGED, false},
        {"phone-emmc,fast", "phone", {"at=brom:exec hang-after-ack"}, "exec-fdl1-silent", AFTERMATH_MUTE, VERDICT_UNCHANGED, true},
        {"phone-emmc,fast", "phone", {"at=brom:end nak=a6"}, "load-fdl1-refused-a6", AFTERMATH_ANSWERED, VERDICT_UNCHANGED, true},
        {"phone-emmc,fast", "phone", {"at=fdl1:midst:#40 disconnect"}, "load-fdl2-gone", AFTERMATH_LEFT, VERDICT_UNCHANGED, true},
        /* flash: never a word more but the question who it is, to who has answered it before; the answer proves that nothing is outstanding */
        {"phone-emmc,fast", "phone", {"at=fdl2:read-partition silence"}, "identify-silent", AFTERMATH_UNRESPONSIVE, VERDICT_UNCHANGED, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 silence"}, "write-silent", AFTERMATH_SYNCS, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 bad-sum"}, "write-garbled", AFTERMATH_SYNCS, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 silence", "at=fdl2:chip-uid:#2 silence"}, "write-silent", AFTERMATH_UNRESPONSIVE, VERDICT_MUST_REFLASH, true},
        {"phone-old,fast", "phone-old", {"at=fdl2:midst:#30 silence"}, "write-silent", AFTERMATH_UNRESPONSIVE, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 stall"}, "write-silent", AFTERMATH_MUTE, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 disconnect"}, "write-gone", AFTERMATH_LEFT, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 late=61000"}, "write-slow", AFTERMATH_SYNCS, VERDICT_MUST_REFLASH, true},
        {"phone-old,fast", "phone-old", {"at=fdl2:midst:#30 late=61000"}, "write-slow", AFTERMATH_TALKING, VERDICT_BUSY, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#30 nak=a2"}, "write-refused-a2", AFTERMATH_ANSWERED, VERDICT_MUST_REFLASH, true},
        /* checking: refused, dead (on the bus or off it), lost, or still alive */
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#3 nak=84"}, "checking-refused-84", AFTERMATH_ANSWERED, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#3 stall"}, "checking-silent-dead", AFTERMATH_MUTE, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#3 disconnect"}, "checking-gone", AFTERMATH_LEFT, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#3 silence"}, "checking-silent", AFTERMATH_UNRESPONSIVE, VERDICT_MUST_REFLASH, true},
        {"phone-emmc,fast", "phone", {"at=fdl2:midst:#3 late=301600"}, "checking-slow", AFTERMATH_TALKING, VERDICT_BUSY, true},
        /* all was written */
        {"phone-emmc,fast", "phone", {"at=fdl2:reset silence"}, "finish-silent", AFTERMATH_UNRESPONSIVE, VERDICT_COMPLETE, true},
        /* others are asked for nothing that they might not expect */
        {"uis8910,fast,image-check=0", "uis8910", {"at=fdl2:midst:#20 silence"}, "write-silent", AFTERMATH_MUTE, VERDICT_MUST_REFLASH, true},
        {"uis8850,fast,image-check=0", "uis8850", {"at=fdl2:midst:#20 silence"}, "write-silent", AFTERMATH_MUTE, VERDICT_MUST_REFLASH, true},
};

static Bench *planned(const char *spec, const char *package) {
        Bench *b = bench_new(spec, package);

        bench_plan(b, FLASH_MODE_UPGRADE);
        last_size = largest = syncs = 0;
        b->sim->tap = on_sent;
        return b;
}

static void must_fail(Bench *b, const char *code) {
        int r = bench_run(b);

        ck_assert_msg(r == 1, "result %d, wanted %s", r, code);
        ck_assert_msg(streq(bench_code(b), code), "%s instead of %s: %s", bench_code(b), code, b->failure.text);
}

START_TEST(what_is_found) {
        Bench *b = planned(cases[_i].spec, cases[_i].package);
        uint64_t begin, spent;

        for (size_t i = 0; i < 2 && cases[_i].faults[i]; i++)
                bench_fault(b, cases[_i].faults[i]);
        begin = b->sim->now_ns;
        must_fail(b, cases[_i].code);
        spent = (b->sim->now_ns - begin) / 1000000;
        ck_assert_msg(b->failure.aftermath == cases[_i].aftermath, "found %s", aftermath_to_string(b->failure.aftermath));
        ck_assert_msg(b->failure.verdict == cases[_i].verdict, "verdict %s", verdict_to_string(b->failure.verdict));
        ck_assert_int_eq(b->failure.must_reflash, cases[_i].verdict == VERDICT_MUST_REFLASH || cases[_i].verdict == VERDICT_BUSY);
        if (cases[_i].quiet && cases[_i].aftermath != AFTERMATH_MUTE)
                ck_assert_msg(last_size != 1, "a sync was sent");
        /* Not much longer than what it waited for. */
        ck_assert_msg(b->failure.deadline_ms == 0 || spent < b->failure.waited_ms + 40000u, "%llu ms, of which it waited %u",
                      (unsigned long long) spent, b->failure.waited_ms);
        bench_free(b);
}
END_TEST

/* From the end of the deadline to the verdict. */
START_TEST(finding_out_is_bounded) {
        static const char *const faults[] = {"at=fdl2:midst:#3 stall", "at=fdl1:midst:#5 stall", "at=fdl1:exec stall", "at=fdl2:midst:#30 silence"};
        Bench *b = planned("phone-emmc,fast", "phone");
        uint64_t before;
        int r;

        b->input.deadlines.midst = b->input.deadlines.midst_last = b->input.deadlines.exec_fdl2 = 100;
        b->input.deadlines.checking_per_mib = 1;
        before = b->sim->now_ns;
        bench_fault(b, faults[_i]);
        r = bench_run(b);
        ck_assert_int_eq(r, 1);
        ck_assert_uint_lt((b->sim->now_ns - before) / 1000000, 12000);
        bench_free(b);
}
END_TEST

/* What a bad line costs is less with smaller frames, with and without escaping. */
START_TEST(a_bad_line_gets_smaller_frames) {
        Bench *b = planned("phone-emmc,fast", "phone");

        ck_assert_int_eq(bench_run(b), 0);
        ck_assert_uint_gt(largest, 0xf800);
        bench_free(b);
        b = planned("phone-emmc,fast", "phone");
        b->plan->smaller = 2;
        ck_assert_int_eq(bench_run(b), 0);
        ck_assert_uint_gt(largest, 0xf800 / 4 - 16);
        ck_assert_uint_lt(largest, 0xf800 / 4 + 64);
        bench_free(b);
        b = planned("phone-emmc,fast", "phone");
        b->plan->smaller = 60;
        ck_assert_int_eq(bench_run(b), 0);
        ck_assert_uint_lt(largest, 2200); /* that of a loader on its way into RAM, which the station makes smaller */
        bench_free(b);
}
END_TEST

START_TEST(a_log_is_noticed) {
        Bench *b = planned("phone-emmc,fast", "phone");

        bench_fault(b, "at=fdl2:midst:#20 glue-log");
        bench_fault(b, "at=fdl2:midst:#30 silence");
        must_fail(b, "write-silent");
        ck_assert(failure_has(&b->failure, SITUATION_SENT_LOG));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "device-log="));
        bench_free(b);
        b = planned("phone-emmc,fast", "phone");
        bench_fault(b, "at=fdl2:midst:#30 silence");
        must_fail(b, "write-silent");
        ck_assert(!failure_has(&b->failure, SITUATION_SENT_LOG));
        bench_free(b);
}
END_TEST

/* What keeps this computer from recording a step, by its error. */
START_TEST(the_state_directory_is_told_apart) {
        static const struct {
                int error;
                const char *code;
        } errors[] = {{-ENOSPC, "erase-host-disk-full"}, {-EACCES, "erase-host-state-owner"}, {-EROFS, "erase-host-read-only"}, {-ETIMEDOUT, "erase-host-no-go"}};
        Bench *b = planned("phone-emmc,fast", "phone");
        char code[FAILURE_CODE_MAX];
        Explanation e;

        for (size_t i = 0; i < b->plan->n_steps; i++)
                if (b->plan->steps[i].destructive) {
                        b->go_error_step = (int) i;
                        break;
                }
        b->go_error = errors[_i].error;
        ck_assert_int_eq(bench_run(b), 1);
        snprintf(code, sizeof(code), "%s%s", stage_to_string(b->plan->steps[b->go_error_step].stage), strchr(errors[_i].code, '-'));
        ck_assert_str_eq(bench_code(b), code);
        ck_assert_int_eq(b->failure.verdict, VERDICT_UNCHANGED);
        ck_assert(explanation_find(code, &e));
        bench_free(b);
}
END_TEST

/* What takes long for its size is not slow: the limit grows with the image. */
START_TEST(the_limit_of_checking_grows_with_the_image) {
        Bench *b = planned("phone-emmc,fast", "phone");
        uint64_t size;
        char fault[64];

        b->input.deadlines.midst_last = 1000;
        b->input.deadlines.checking_per_mib = 1;
        bench_fault(b, "at=fdl2:midst:#3 late=2500");
        must_fail(b, "checking-slow");
        size = b->plan->steps[b->failure.step].size;
        ck_assert_uint_gt(size, 0);
        ck_assert_uint_eq(b->failure.deadline_ms, 1000 + ((size + 0xfffff) >> 20));
        /* No progress was made up while it was waited for. */
        ck_assert_uint_eq(b->failure.bytes_done, b->report.bytes_done);
        ck_assert(!b->progress_fell);
        bench_free(b);
        b = planned("phone-emmc,fast", "phone");
        b->input.deadlines.midst_last = 1000;
        b->input.deadlines.checking_per_mib = (uint32_t) (2500 / ((size + 0xfffff) >> 20));
        snprintf(fault, sizeof(fault), "at=fdl2:midst:#3 late=2500");
        bench_fault(b, fault);
        ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("diagnose");
        TCase *all = tcase_create("all");
        SRunner *runner;
        int failed;

        tcase_set_timeout(all, 120);
        tcase_add_loop_test(all, what_is_found, 0, ELEMENTSOF(cases));
        tcase_add_loop_test(all, finding_out_is_bounded, 0, 4);
        tcase_add_test(all, a_bad_line_gets_smaller_frames);
        tcase_add_test(all, a_log_is_noticed);
        tcase_add_loop_test(all, the_state_directory_is_told_apart, 0, 4);
        tcase_add_test(all, the_limit_of_checking_grows_with_the_image);
        suite_add_tcase(suite, all);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? 0 : 1;
}
