/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "bsl/session.h"
#include "common/failure.h"
#include "must.h"

/* Every failure that can be has an explanation that deserves the name. */

#define UNNAMED_REPLY 0x77

static bool has_word(const char *text, const char *word) {
        return strcasestr(text, word) != NULL;
}

/* "errno 5", "Error 110": a number of the kernel is no explanation. */
static void check_text(const char *code, const char *text) {
        must(text && strlen(text) > 3, "%s: an empty text", code);
        must(!has_word(text, "unknown error") && !has_word(text, "errno"), "%s: \"%s\"", code, text);
        must(islower((unsigned char) text[0]) || isupper((unsigned char) text[0]), "%s: \"%s\"", code, text);
}

static void check_whole(const char *code, const Explanation *e) {
        check_text(code, e->summary);
        ck_assert_msg(strncmp(e->dbus_name, "org.fdld.Fdld1.Error.", 21) == 0, "%s", code);
        ck_assert_msg(e->exit_code > 0, "%s", code);
        ck_assert_msg(e->causes[0] && e->actions[0], "%s has no cause or no action", code);
        for (size_t i = 0; e->causes[i]; i++)
                check_text(code, e->causes[i]);
        for (size_t i = 0; e->actions[i]; i++)
                check_text(code, e->actions[i]);
}

static void check_failure(const Failure *f) {
        char code[FAILURE_CODE_MAX];
        Explanation of, found;

        failure_code(f, code);
        explanation_of(f, &of);
        check_whole(code, &of);
        ck_assert_msg(explanation_find(code, &found), "%s is not found", code);
        ck_assert_str_eq(of.summary, found.summary);
}

START_TEST(every_class_at_every_stage) {
        for (int s = 0; s < STAGE_MAX; s++)
                for (int c = CLASS_NONE + 1; c < CLASS_MAX; c++) {
                        Failure f = FAILURE_INIT;
                        f.stage = (Stage) s;
                        f.class = (FailClass) c;
                        check_failure(&f);
                }
}
END_TEST

START_TEST(every_reply_at_every_stage) {
        for (int s = 0; s < STAGE_MAX; s++)
                for (int reply = 0; reply < 0x100; reply++) {
                        Failure f = FAILURE_INIT;
                        f.stage = (Stage) s;
                        f.class = CLASS_REFUSED;
                        f.reply = reply;
                        check_failure(&f);
                        f.pdl = true;
                        check_failure(&f);
                        f.pdl = false;
                        f.class = CLASS_GARBLED;
                        strcpy(f.detail, "unexpected");
                        check_failure(&f);
                }
}
END_TEST

/* The text for each reply that has a name is its own. */
START_TEST(each_named_reply_has_a_row) {
        Explanation general, e;

        ck_assert(explanation_find("claim-refused", &general));
        for (int reply = 0x80; reply < 0x100; reply++) {
                char code[32];
                if (streq(bsl_reply_name(reply), "unknown"))
                        continue;
                snprintf(code, sizeof(code), "any-refused-%02x", (unsigned) reply);
                ck_assert(explanation_find(code, &e));
                ck_assert_msg(!streq(e.summary, general.summary), "%s has no row", code);
        }
        for (int reply = 1; reply <= 12; reply++) {
                char code[32];
                snprintf(code, sizeof(code), "any-refused-pdl-%02d", reply);
                ck_assert(explanation_find(code, &e));
                ck_assert_msg(!streq(e.summary, general.summary), "%s has no row", code);
        }
}
END_TEST

static const char *summary_of(Stage stage, FailClass class, int reply) {
        Failure f = FAILURE_INIT;
        Explanation e;

        f.stage = stage;
        f.class = class;
        f.reply = reply;
        explanation_of(&f, &e);
        return e.summary;
}

/* A reply without a name says at least what was being done. */
START_TEST(unnamed_replies_are_explained_by_step) {
        const char *general = summary_of(STAGE_CLAIM, CLASS_REFUSED, UNNAMED_REPLY);

        for (int s = STAGE_HANDSHAKE; s < STAGE_IMPORT; s++)
                ck_assert_msg(!streq(summary_of((Stage) s, CLASS_REFUSED, UNNAMED_REPLY), general), "%s-refused has no row",
                              stage_to_string((Stage) s));
}
END_TEST

static const struct {
        int reply;
        Stage stages[8];
        size_t n;
} by_step[] = {
        {0x96, {STAGE_LOAD_FDL2, STAGE_EXEC_FDL2, STAGE_IDENTIFY, STAGE_WRITE, STAGE_REPARTITION, STAGE_VERIFY, STAGE_ERASE}, 7},
        {0x84, {STAGE_LOAD_FDL2, STAGE_EXEC_FDL2, STAGE_BACKUP, STAGE_ERASE, STAGE_WRITE, STAGE_CHECKING, STAGE_REPARTITION, STAGE_FINISH}, 8},
        {0x8a, {STAGE_LOAD_FDL1, STAGE_LOAD_FDL2, STAGE_READ, STAGE_BACKUP, STAGE_WRITE, STAGE_CHECKING, STAGE_REPARTITION}, 7},
        {0xfe, {STAGE_HANDSHAKE, STAGE_LOAD_FDL2, STAGE_EXEC_FDL2, STAGE_IDENTIFY, STAGE_READ, STAGE_WRITE, STAGE_FINISH}, 7},
        {-1, {STAGE_HANDSHAKE, STAGE_LOAD_FDL1, STAGE_EXEC_FDL2, STAGE_IDENTIFY, STAGE_WRITE, STAGE_CHECKING, STAGE_VERIFY, STAGE_FINISH}, 8},
};

START_TEST(one_code_means_another_thing_at_another_step) {
        FailClass class = by_step[_i].reply < 0 ? CLASS_SILENT : CLASS_REFUSED;

        for (size_t a = 0; a < by_step[_i].n; a++)
                for (size_t b = a + 1; b < by_step[_i].n; b++)
                        ck_assert_msg(!streq(summary_of(by_step[_i].stages[a], class, by_step[_i].reply),
                                             summary_of(by_step[_i].stages[b], class, by_step[_i].reply)),
                                      "%02x: %s and %s are explained alike", (unsigned) by_step[_i].reply & 0xff,
                                      stage_to_string(by_step[_i].stages[a]), stage_to_string(by_step[_i].stages[b]));
}
END_TEST

/* The first cause of each entry of the failure catalogue (bsl-protocol §12) is the catalogue's. */
static const struct {
        const char *entry, *code, *cause;
} catalogue[] = {
        {"F1", "handshake-gone", "boot key"},
        {"F2", "handshake-silent", "half open"},
        {"F3", "claim-host-permission", "udev"},
        {"F3", "claim-host-busy", "another flashing tool"},
        {"F4", "load-fdl1-refused-a6", "signed"},
        {"F5", "exec-fdl1-silent", "another chip"},
        {"F5", "exec-fdl1-gone", "another chip"},
        {"F6", "load-fdl1-silent", "overlaps"},
        {"F7", "load-fdl2-silent", "outside of the RAM"},
        {"F8", "exec-fdl2-silent", "refused its signature"},
        {"F9", "identify-refused-fe", "authorised service tool"},
        {"F9", "backup-refused-fe", "authorised service tool"},
        {"F9", "erase-refused-fe", "authorised service tool"},
        {"F9", "write-refused-fe", "authorised service tool"},
        {"F9", "repartition-refused-fe", "authorised service tool"},
        {"F10", "exec-fdl2-refused-84", "does not know the storage"},
        {"F10", "exec-fdl2-refused-97", "does not know the storage"},
        {"F10", "exec-fdl2-refused-98", "does not know the storage"},
        {"F10", "exec-fdl2-refused-b4", "does not know the storage"},
        {"F10", "exec-fdl2-refused-a4", "does not know the storage"},
        {"F11", "identify-refused-challenge", "authorised service tool"},
        {"F11", "identify-refused-b9", "authorised service tool"},
        {"F12", "write-refused-ac", "write-protection switch"},
        {"F12", "repartition-refused-ac", "write-protection switch"},
        {"F13", "write-refused-96", "another partition table"},
        {"F13", "erase-refused-96", "another partition table"},
        {"F14", "write-refused-8a", "larger than the partition"},
        {"F15", "checking-silent", "not signed"},
        {"F15", "checking-refused-84", "not signed"},
        {"F15", "checking-gone", "not signed"},
        {"F16", "write-silent", "cable"},
        {"F16", "write-gone", "cable"},
        {"F17", "read-gone", "RAM"},
        {"F18", "read-garbled", "larger than the loader can send"},
        {"F18", "read-garbled-length", "blocks of this size"},
        {"F19", "write-refused-8b", ""},
        {"F19", "load-fdl2-refused-8b", "damaged"},
        {"F19", "identify-refused-8b", "damaged"},
        {"F20", "write-refused-a0", "checksum"},
        {"F20", "write-refused-a1", "checksum"},
        {"F20", "write-refused-a2", "checksum"},
        {"F20", "restore-refused-a2", "checksum"},
        {"F21", "backup-refused-84", "copies of the data are damaged"},
        {"F21", "read-refused-84", "copies of the data are damaged"},
        {"F22", "finish-gone-no-return", "boot chain is incomplete"},
        {"F22", "finish-mismatch-boot-rom", "boot chain is incomplete"},
        {"F23", "finish-mismatch-autodloader", "erased on purpose"},
        {"F23", "handshake-mismatch-autodloader", "erased on purpose"},
        {"F24", "repartition-mismatch-table", "worn or failed flash"},
        {"F25", "handshake-slow", "loader of an earlier attempt"},
        {"F26", "claim-mismatch-interface", "normal system"},
        {"F27", "exec-fdl2-refused-96", "policy"},
};

START_TEST(first_causes_are_those_of_the_catalogue) {
        Explanation e;

        ck_assert(explanation_find(catalogue[_i].code, &e));
        ck_assert_msg(has_word(e.causes[0], catalogue[_i].cause), "%s %s: the first cause is \"%s\"", catalogue[_i].entry,
                      catalogue[_i].code, e.causes[0]);
}
END_TEST

/* Whatever the kernel says has a word of its own, and that word a row. */
START_TEST(no_error_of_the_kernel_stays_raw) {
        for (int error = 1; error < 134; error++)
                for (int s = 0; s < STAGE_MAX; s++) {
                        Failure f = FAILURE_INIT;
                        Explanation e, general;
                        char code[FAILURE_CODE_MAX];

                        failure_set_errno(&f, error, "something did not work");
                        f.stage = (Stage) s;
                        ck_assert(f.detail[0] && strcspn(f.detail, "0123456789") == strlen(f.detail));
                        check_failure(&f);
                        explanation_of(&f, &e);
                        ck_assert(explanation_find("any-host", &general));
                        ck_assert_msg(!streq(e.summary, general.summary), "%s has no row", failure_code(&f, code));
                }
}
END_TEST

/* ---- one case ---- */

static void explain_case(Stage stage, FailClass class, uint32_t situation, Aftermath aftermath, Explanation *ret) {
        Failure f = FAILURE_INIT;

        f.stage = stage;
        f.class = class;
        f.situation = situation;
        f.aftermath = aftermath;
        explanation_of(&f, ret);
        check_whole("case", ret);
}

START_TEST(what_stands_around_orders_the_causes) {
        static const struct {
                Situation situation;
                const char *first;
        } cases[] = {
                {SITUATION_FULL_SPEED_HUB, "full speed"},
                {SITUATION_FULL_SPEED, "12 Mbit/s"},
                {SITUATION_NEIGHBOURS_FAIL, "hub or its power supply"},
                {SITUATION_SUSPENDED, "sleep"},
        };
        Explanation plain, e;

        explain_case(STAGE_WRITE, CLASS_SILENT, 0, AFTERMATH_NONE, &plain);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                explain_case(STAGE_WRITE, CLASS_SILENT, 1U << cases[i].situation, AFTERMATH_MUTE, &e);
                ck_assert_msg(has_word(e.causes[0], cases[i].first), "%s", e.causes[0]);
                ck_assert_str_eq(e.causes[1], plain.causes[0]);
                ck_assert_str_eq(e.actions[1], plain.actions[0]);
        }
        /* All at once: the hub before all, and what is too much is left out. */
        explain_case(STAGE_EXEC_FDL2, CLASS_SILENT, (1U << SITUATION_MAX) - 1, AFTERMATH_SYNCS, &e);
        ck_assert(has_word(e.causes[0], "hub or its power supply"));
        /* It says nothing about a refusal. */
        explain_case(STAGE_WRITE, CLASS_REFUSED, 1U << SITUATION_FULL_SPEED_HUB, AFTERMATH_ANSWERED, &e);
        ck_assert(!has_word(e.causes[0], "full speed"));
        /* Neighbours that are fine come last: they take the hub off the list. */
        explain_case(STAGE_WRITE, CLASS_SILENT, 1U << SITUATION_NEIGHBOURS_FINE, AFTERMATH_MUTE, &e);
        ck_assert_str_eq(e.causes[0], plain.causes[0]);
}
END_TEST

START_TEST(how_it_was_found_orders_the_causes) {
        Explanation e;

        explain_case(STAGE_LOAD_FDL2, CLASS_SILENT, 0, AFTERMATH_SYNCS, &e);
        ck_assert(has_word(e.causes[0], "lost on the way"));
        explain_case(STAGE_EXEC_FDL2, CLASS_SILENT, 0, AFTERMATH_SYNCS, &e);
        ck_assert(has_word(e.causes[0], "refused the second"));
        explain_case(STAGE_EXEC_FDL2, CLASS_SILENT, 0, AFTERMATH_MUTE, &e);
        ck_assert(has_word(e.causes[0], "refused its signature"));
}
END_TEST

START_TEST(words_and_verdicts) {
        Failure f = FAILURE_INIT;

        failure_complete_verdict(&f);
        ck_assert_int_eq(f.verdict, VERDICT_UNCHANGED);
        f.verdict = VERDICT_NONE;
        f.must_reflash = true;
        failure_complete_verdict(&f);
        ck_assert_int_eq(f.verdict, VERDICT_MUST_REFLASH);
        for (int v = VERDICT_NONE + 1; v < VERDICT_MAX; v++)
                ck_assert(verdict_text((Verdict) v)[0]);
        for (int a = AFTERMATH_NONE + 1; a < AFTERMATH_MAX; a++)
                ck_assert(aftermath_text((Aftermath) a)[0]);
        for (int s = 0; s < SITUATION_MAX; s++)
                ck_assert(situation_text((Situation) s)[0]);
        ck_assert(verdict_safe_to_unplug(VERDICT_UNCHANGED) && verdict_bootable(VERDICT_UNCHANGED));
        ck_assert(verdict_safe_to_unplug(VERDICT_MUST_REFLASH) && !verdict_bootable(VERDICT_MUST_REFLASH));
        ck_assert(!verdict_safe_to_unplug(VERDICT_BUSY) && !verdict_bootable(VERDICT_BUSY));
        ck_assert(verdict_safe_to_unplug(VERDICT_COMPLETE) && verdict_bootable(VERDICT_COMPLETE));
}
END_TEST

/* What the maker's tools show is a number alone. */
START_TEST(numbers_of_the_makers_tools) {
        Explanation e, same;

        ck_assert(explanation_find("150", &e) && explanation_find("any-refused-96", &same));
        ck_assert_str_eq(e.summary, same.summary);
        ck_assert(explanation_find("0x84", &e) && explanation_find("any-refused-84", &same));
        ck_assert_str_eq(e.summary, same.summary);
        for (unsigned n = 257; n <= 275; n++) {
                char code[8];
                snprintf(code, sizeof(code), "%u", n);
                ck_assert_msg(explanation_find(code, &e), "%u", n);
                check_whole(code, &e);
        }
        ck_assert(!explanation_find("12", &e));
        ck_assert(!explanation_find("0x84x", &e));
        ck_assert(!explanation_find("", &e));
        ck_assert(!explanation_find("no-such-code", &e));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("failure");
        TCase *all = tcase_create("all");
        SRunner *runner;
        int failed;

        tcase_set_timeout(all, 60);
        tcase_add_test(all, every_class_at_every_stage);
        tcase_add_test(all, every_reply_at_every_stage);
        tcase_add_test(all, each_named_reply_has_a_row);
        tcase_add_test(all, unnamed_replies_are_explained_by_step);
        tcase_add_loop_test(all, one_code_means_another_thing_at_another_step, 0, ELEMENTSOF(by_step));
        tcase_add_loop_test(all, first_causes_are_those_of_the_catalogue, 0, ELEMENTSOF(catalogue));
        tcase_add_test(all, no_error_of_the_kernel_stays_raw);
        tcase_add_test(all, what_stands_around_orders_the_causes);
        tcase_add_test(all, how_it_was_found_orders_the_causes);
        tcase_add_test(all, words_and_verdicts);
        tcase_add_test(all, numbers_of_the_makers_tools);
        suite_add_tcase(suite, all);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed == 0 ? 0 : 1;
}
