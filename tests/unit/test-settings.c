/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "scratch.h"
#include "station/policy.h"
#include "station/settings.h"
#include "store/store.h"

static char directory[160];
static Settings s;
static CallError e;

static void setup(void) {
        scratch_template(directory, sizeof(directory), "fdld-settings");
        ck_assert_ptr_nonnull(mkdtemp(directory));
        settings_default(&s);
        e = (CallError){};
}

static void put(const char *name, const char *text) {
        char path[224];
        FILE *f;

        snprintf(path, sizeof(path), "%s/fdld.conf.d", directory);
        (void) mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        f = fopen(path, "we");
        ck_assert_ptr_nonnull(f);
        fputs(text, f);
        fclose(f);
}

static void teardown(void) {
        static const char *const names[] = {"fdld.conf",          "fdld.conf.d/10.conf", "fdld.conf.d/20.conf",
                                            "fdld.conf.d/readme", "fdld.conf.d",         ""};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char path[224];
                snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                (void) remove(path);
        }
}

START_TEST(test_limits) {
        ck_assert_uint_eq(s.limits.jobs, 256);
        put("fdld.conf", "[Limits]\nJobsPerUser=10\nDraftsPerUser=2\nImportsPerUser=1\nFilesPerUser=7\nBytesPerUser=3G\n");
        ck_assert_int_eq(settings_load(&s, directory, &e), 0);
        ck_assert_uint_eq(s.limits.jobs, 10);
        ck_assert_uint_eq(s.limits.drafts, 2);
        ck_assert_uint_eq(s.limits.imports, 1);
        ck_assert_uint_eq(s.limits.files, 7);
        ck_assert_uint_eq(s.limits.bytes, 3ULL << 30);
        put("fdld.conf", "[Limits]\nJobsPerUser=0\n");
        ck_assert_int_eq(settings_load(&s, directory, &e), -1);
        put("fdld.conf", "[Limits]\nFriendsPerUser=1\n");
        ck_assert_int_eq(settings_load(&s, directory, &e), -1);
        ck_assert_uint_eq(s.limits.jobs, 10);
}
END_TEST

START_TEST(nothing_there) {
        ck_assert_int_eq(settings_load(&s, directory, &e), 0);
        ck_assert_uint_eq(s.max_parallel_jobs, 64);
        ck_assert_uint_eq(s.package_quota, 16ULL << 30);
        ck_assert_int_eq(s.verify, VERIFY_CRITICAL);
        ck_assert_uint_eq(s.deadlines.erase, 600000);
        ck_assert_int_eq(settings_load(&s, "/nonexistent/x", &e), 0);
}
END_TEST

START_TEST(everything) {
        put("fdld.conf",
            "# comment\n[Station]\nName=Line 4 (east)\nMaxParallelJobs=8\nVerify=full\n\n[Store]\nPackageQuota=2G\n"
            "[Timeouts]\nSyncBromMSec=10\nEraseSec=20min\nResetSec=0.5\nEraseAllSec=3600\nStartSec=700ms\nLearn=no\n"
            "[Devices]\nAllowIds=0525:a4a7 1782:4D16\nAllowSoftEntry=1782:4d03\n"
            "[Slot platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.2.3.4]\nAllowIds=0525:a4a7 1782:4d16\nAllowSoftEntry=2c7c:0901 1782:4D03\n");
        ck_assert_msg(settings_load(&s, directory, &e) == 0, "%s", e.text);
        ck_assert_str_eq(s.station_name, "Line 4 (east)");
        ck_assert_uint_eq(s.max_parallel_jobs, 8);
        ck_assert_int_eq(s.verify, VERIFY_FULL);
        ck_assert_uint_eq(s.package_quota, 2ULL << 30);
        ck_assert_uint_eq(s.deadlines.sync_brom, 10);
        ck_assert_uint_eq(s.deadlines.erase, 1200000);
        ck_assert_uint_eq(s.deadlines.reset, 500);
        ck_assert_uint_eq(s.deadlines.erase_all, 3600000);
        ck_assert_uint_eq(s.deadlines.start, 700);
        ck_assert(s.fixed_deadlines);
        ck_assert_uint_eq(s.n_allow_ids, 2);
        ck_assert_str_eq(s.allow_ids[1], "1782:4d16");
        ck_assert_uint_eq(s.n_soft_ids, 1);
        ck_assert_str_eq(s.soft_ids[0], "1782:4d03");
        ck_assert_uint_eq(s.n_soft_options, 1);
        ck_assert_str_eq(s.soft_options[0], "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.2.3.4 2c7c:0901 1782:4d03");
        ck_assert_uint_eq(s.n_slot_options, 1);
        ck_assert_str_eq(s.slot_options[0],
                         "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.2.3.4 0525:a4a7 1782:4d16");
}
END_TEST

START_TEST(drop_ins_in_order) {
        put("fdld.conf", "[Station]\nMaxParallelJobs=1\n");
        put("fdld.conf.d/20.conf", "[Station]\nMaxParallelJobs=20\n");
        put("fdld.conf.d/10.conf", "[Station]\nMaxParallelJobs=10\nName=ten\n");
        put("fdld.conf.d/readme", "nonsense");
        ck_assert_msg(settings_load(&s, directory, &e) == 0, "%s", e.text);
        ck_assert_uint_eq(s.max_parallel_jobs, 20);
        ck_assert_str_eq(s.station_name, "ten");
}
END_TEST

static const struct {
        const char *text, *line, *word;
} mistakes[] = {
        {"[Station]\nName=x\nColour=red\n", ":3:", "Colour="},
        {"[Station]\n[Staton]\n", ":2:", "[Staton]"},
        {"Name=x\n", ":1:", "before the first"},
        {"[Station]\nMaxParallelJobs=0\n", ":2:", "MaxParallelJobs"},
        {"[Station]\nMaxParallelJobs=many\n", ":2:", "MaxParallelJobs"},
        {"[Station]\nName=\n", ":2:", "Name="},
        {"[Station]\nName=a\x01"
         "b\n",
         ":2:", "Name="},
        {"[Store]\nPackageQuota=12Q\n", ":2:", "PackageQuota"},
        {"[Store]\nPackageQuota=99999999999999999999\n", ":2:", "PackageQuota"},
        {"[Store]\nPackageQuota=99999999T\n", ":2:", "PackageQuota"},
        {"[Timeouts]\nEraseSec=0.01\n", ":2:", "too short"},
        {"[Timeouts]\nEraseSec=-1\n", ":2:", "not a time"},
        {"[Timeouts]\nEraseSec=nan\n", ":2:", "not a time"},
        {"[Timeouts]\nEraseSec=25h\n", ":2:", "not a time"},
        {"[Timeouts]\nErasSec=5\n", ":2:", "ErasSec="},
        {"[Timeouts]\nErase=5\n", ":2:", "Erase="},
        {"[Timeouts]\nLearn=perhaps\n", ":2:", "yes or no"},
        {"[Devices]\nAllowIds=1782:4d00\n", ":2:", "1782:4d00"},
        {"[Devices]\nAllowIds=0525:a4a7,1782:4d16\n", ":2:", "not an id"},
        {"[Devices]\nAllowSoftEntry=1782:4d00\n", ":2:", "1782:4d03"},
        {"[Slot usb-0:1]\nAllowSoftEntry=yes\n", ":2:", "not an id"},
        {"[Slot nowhere]\nAllowIds=0525:a4a7\n", ":2:", "port"},
        {"[Slot usb-0:1]\nLabel=x\n", ":2:", "Label="},
        {"[Station]\njunk\n", ":2:", "neither"},
        {"[Station\n", ":1:", "neither"},
        {"[Station]\nName=a\n  b\n", ":3:", "blank"},
};

START_TEST(mistake) {
        Settings before = s;

        put("fdld.conf", mistakes[_i].text);
        ck_assert_int_eq(settings_load(&s, directory, &e), -1);
        ck_assert_msg(strstr(e.text, "fdld.conf") && strstr(e.text, mistakes[_i].line) &&
                              strstr(e.text, mistakes[_i].word),
                      "%s", e.text);
        ck_assert(memcmp(&before, &s, sizeof(s)) == 0); /* all or nothing */
}
END_TEST

START_TEST(long_line) {
        char text[1000] = "[Station]\nName=";

        memset(text + strlen(text), 'a', 900);
        put("fdld.conf", text);
        ck_assert_int_eq(settings_load(&s, directory, &e), -1);
        ck_assert(strstr(e.text, ":2:"));
}
END_TEST

START_TEST(unreadable) {
        char path[224];

        snprintf(path, sizeof(path), "%s/fdld.conf", directory);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        ck_assert_int_eq(settings_load(&s, directory, &e), -1);
        ck_assert_ptr_nonnull(strstr(e.text, path));
}
END_TEST

/* The file that gets installed: what it calls defaults are the defaults, and every deadline is in it. */
START_TEST(shipped_file) {
        const char *top = getenv("FDLD_SOURCE");
        char path[512], line[512], text[16384] = "", station[sizeof(s.station_name)];
        BslDeadlines deadlines;
        Settings defaults;
        unsigned keys = 0;
        size_t n = 0;
        FILE *f;

        snprintf(path, sizeof(path), "%s/systemd/fdld.conf", top ? top : "..");
        f = fopen(path, "re");
        ck_assert_msg(f != NULL, "%s", path);
        while (fgets(line, sizeof(line), f)) {
                bool setting = line[0] == '#' && line[1] >= 'A' && line[1] <= 'Z';
                keys += setting;
                n += (size_t) snprintf(text + n, sizeof(text) - n, "%s", line + setting);
                ck_assert_uint_lt(n, sizeof(text));
        }
        fclose(f);
        memcpy(station, s.station_name, sizeof(station));
        memset(&s, 0x55, sizeof(s));
        put("fdld.conf", text);
        ck_assert_msg(settings_load(&s, directory, &e) == 0, "%s", e.text);
        bsl_deadlines_default(&deadlines);
        settings_default(&defaults);
        ck_assert_int_eq(memcmp(&s.deadlines, &deadlines, sizeof(deadlines)), 0);
        ck_assert_uint_ge(keys, sizeof(BslDeadlines) / sizeof(uint32_t) + 8);
        ck_assert_int_eq(memcmp(&s.limits, &defaults.limits, sizeof(s.limits)), 0);
        ck_assert_uint_eq(s.max_parallel_jobs, 64);
        ck_assert_uint_eq(s.package_quota, 16ULL << 30);
        ck_assert_int_eq(s.verify, VERIFY_CRITICAL);
        ck_assert_str_eq(s.station_name, station);
        ck_assert_uint_eq(s.n_allow_ids, 0);
}
END_TEST

/* What is chosen for the units of a batch survives its row, and is read by the name in profiles and the one on the bus. */
START_TEST(choices_of_a_batch) {
        static const char *const values[][2] = {
                {"Include", "System,BOOT"}, {"exclude", "NV_LTE"}, {"Checks", "ddr,chip-type=0x1"}, {"try-checks", "old-memory"},
                {"KeepCharge", "try"},      {"nv", "package"},     {"Stamps", "no"},               {"table-check", "no"},
                {"EraseAll", "yes"},
        };
        static const char *const bad[][2] = {{"Checks", "everything"}, {"keep-charge", "perhaps"}, {"EraseAll", "1"}, {"Include", ""}};
        BatchPolicy p, back;
        char text[2048], why[256];

        policy_default(&p);
        for (size_t i = 0; i < ELEMENTSOF(values); i++)
                ck_assert_msg(policy_set(&p, values[i][0], values[i][1], why, sizeof(why)) == 0, "%s", why);
        policy_to_text(&p, text, sizeof(text));
        policy_from_text(&back, text);
        ck_assert(choice_equal(&p.plan.choice, &back.plan.choice));
        ck_assert_str_eq(back.plan.choice.include, "System,BOOT");
        ck_assert(back.plan.choice.keep_charge_try);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(policy_set(&p, bad[i][0], bad[i][1], why, sizeof(why)) == -EINVAL, "%s=%s", bad[i][0], bad[i][1]);
        ck_assert(choice_equal(&p.plan.choice, &back.plan.choice));
}
END_TEST

/* Each value under both of its names; what is stored is what was set. */
START_TEST(policy_of_a_batch) {
        static const char *const good[][2] = {
                {"Package", "phone.pac"}, {"mode", "factory"}, {"Finish", "power-off"}, {"finish", "nothing"}, {"verify", "sample"},
                {"AllowWarnings", "yes"}, {"allow-warnings", "true"}, {"first-mode", "gsm-final"}, {"Serials", "AB24:0001-0500"},
                {"count", "100000000"}, {"FirstArticle", "confirm"}, {"stop-after", "3/10"}, {"stop-after", "4"},
                {"StopOnDifference", "1"}, {"retry", "silent:1 gone:2,host:10"}, {"Reflash", "yes"}, {"straggler", "park"},
                {"StragglerFactor", "100"}, {"quarantine-after", "1000"},
        };
        static const char *const bad[][2] = {
                {"Package", ""}, {"mode", "fast"}, {"Finish", "explode"}, {"verify", ""}, {"verify", "some"}, {"AllowWarnings", "2"},
                {"first-mode", "party"}, {"Serials", "A:9-1"}, {"serials", "stock:0123"}, {"serials", ""}, {"count", "-1"}, {"count", "100000001"},
                {"count", ""}, {"count", "1x"}, {"count", "18446744073709551616"}, {"first-article", "maybe"}, {"stop-after", "0"},
                {"stop-after", "0/3"}, {"stop-after", "4/3"}, {"stop-after", "3/65"}, {"stop-after", "65"}, {"stop-after", "3/"},
                {"stop-after", "/3"}, {"stop-on-difference", "perhaps"}, {"retry", ""}, {"retry", "11"}, {"retry", "silent"},
                {"retry", "silent:11"}, {"retry", "refused:1"}, {"retry", "nonsense:1"}, {"retry", "silent:1 gone"}, {"reflash", ""},
                {"straggler", "shoot"}, {"straggler-factor", "1"}, {"straggler-factor", "101"}, {"quarantine-after", "1001"},
                {"quarantine-after", "always"},
        };
        BatchPolicy p, back;
        char text[2048], again[2048], why[400];

        policy_default(&p);
        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ck_assert_msg(policy_set(&p, good[i][0], good[i][1], why, sizeof(why)) == 0, "%s", why);
        policy_to_text(&p, text, sizeof(text));
        policy_from_text(&back, text);
        policy_to_text(&back, again, sizeof(again));
        ck_assert_str_eq(text, again);
        ck_assert_int_eq(back.plan.mode, FLASH_MODE_FACTORY);
        ck_assert_int_eq(back.plan.finish, FINISH_NOTHING);
        ck_assert_int_eq(back.plan.verify, VERIFY_SAMPLE);
        ck_assert(back.plan.allow_warnings && back.stop_on_difference && back.reflash);
        ck_assert_str_eq(back.serials, "AB24:0001-0500");
        ck_assert_uint_eq(back.count, 100000000);
        ck_assert_int_eq(back.first_article, FIRST_ARTICLE_CONFIRM);
        ck_assert_uint_eq(back.stop_after, 4);
        ck_assert_uint_eq(back.stop_window, 10);
        ck_assert_uint_eq(back.retry[CLASS_SILENT], 1);
        ck_assert_uint_eq(back.retry[CLASS_GONE], 2);
        ck_assert_uint_eq(back.retry[CLASS_HOST], 10);
        ck_assert_uint_eq(back.retry[CLASS_SLOW], 0);
        ck_assert_int_eq(back.straggler, STRAGGLER_PARK);
        ck_assert_uint_eq(back.straggler_factor, 100);
        ck_assert_uint_eq(back.quarantine_after, 1000);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                ck_assert_msg(policy_set(&p, bad[i][0], bad[i][1], why, sizeof(why)) == -EINVAL, "%s=%s", bad[i][0], bad[i][1]);
                ck_assert_msg(strncmp(why, bad[i][0], strlen(bad[i][0])) == 0 && strstr(why, "Possible: "), "%s", why);
        }
        ck_assert_int_eq(policy_set(&p, "colour", "red", why, sizeof(why)), -ENOENT);
        policy_to_text(&p, again, sizeof(again));
        ck_assert_str_eq(text, again); /* what was refused has changed nothing */
        ck_assert_int_eq(policy_set(&p, "retry", "1", why, sizeof(why)), 0);
        for (int c = 0; c < CLASS_MAX; c++)
                ck_assert_uint_eq(p.retry[c], class_can_heal((FailClass) c));
        ck_assert_int_eq(policy_set(&p, "stop-after", "never", why, sizeof(why)), 0);
        ck_assert_int_eq(policy_set(&p, "stop-after", "20", why, sizeof(why)), 0);
        ck_assert_uint_eq(p.stop_window, 20);
}
END_TEST

/* The last line of the longest is stored, too. */
START_TEST(longest_policy) {
        char ids[384], name[256], why[400], text[sizeof(((StoreBatch *) NULL)->policy)];
        BatchPolicy p, back;

        memset(ids, 'A', sizeof(ids) - 1);
        ids[sizeof(ids) - 1] = '\0';
        memset(name, 'P', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        policy_default(&p);
        ck_assert_int_eq(policy_set(&p, "Package", name, why, sizeof(why)), 0);
        ck_assert_int_eq(policy_set(&p, "include", ids, why, sizeof(why)), 0);
        ids[0] = 'B';
        ck_assert_int_eq(policy_set(&p, "exclude", ids, why, sizeof(why)), 0);
        for (const char *const *check = (const char *const[]) {"checks", "try-checks", NULL}; *check; check++) {
                char list[200] = "memory-type=2c-ac-15";

                while (strlen(list) + 9 < 160)
                        strcat(list, "/2c-ac-15");
                ck_assert_msg(policy_set(&p, *check, list, why, sizeof(why)) == 0, "%s", why);
        }
        ck_assert_int_eq(policy_set(&p, "retry", "10", why, sizeof(why)), 0);
        ck_assert_msg(policy_set(&p, "serials", "AB24:0001-0500", why, sizeof(why)) == 0, "%s", why);
        ck_assert_int_eq(policy_set(&p, "quarantine-after", "77", why, sizeof(why)), 0);
        policy_to_text(&p, text, sizeof(text));
        policy_from_text(&back, text);
        ck_assert(choice_equal(&p.plan.choice, &back.plan.choice));
        ck_assert_uint_eq(back.quarantine_after, 77);
        ck_assert_str_eq(back.serials, p.serials);
        ck_assert_str_eq(back.package, p.package);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("settings");
        TCase *t = tcase_create("all");
        SRunner *r = srunner_create(suite);
        int failed;

        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, test_limits);
        tcase_add_test(t, nothing_there);
        tcase_add_test(t, choices_of_a_batch);
        tcase_add_test(t, policy_of_a_batch);
        tcase_add_test(t, longest_policy);
        tcase_add_test(t, everything);
        tcase_add_test(t, drop_ins_in_order);
        tcase_add_loop_test(t, mistake, 0, ELEMENTSOF(mistakes));
        tcase_add_test(t, long_line);
        tcase_add_test(t, unreadable);
        tcase_add_test(t, shipped_file);
        suite_add_tcase(suite, t);
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
