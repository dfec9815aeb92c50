/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The failure catalogue of the protocol description (§12), entry by entry: a simulated device that fails so, the code that its
 * job ends with, and the cause that a person reads first. What needs a USB stack or a job of another kind (F3, F17, F18, F22, F23, F26) is
 * in catalogue.sh. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/engine-bench.h"

typedef struct Entry {
        const char *id;
        const char *spec, *faults;  /* of the device; faults apart by ";" */
        const char *family;         /* of the package */
        const char *code;           /* "": it is not a failure for this host, the job is done */
        const char *cause;          /* words of the first cause */
        void (*package)(PacMaker *m);
} Entry;

/* The loaders are good, what they are to write is not. */
static void signed_loaders(PacMaker *m) {
        strcpy(pm_find(m, "FDL")->head, "DHTB");
        strcpy(pm_find(m, "FDL2")->head, "DHTB");
}

static void other_table(PacMaker *m) {
        for (unsigned i = 0; i < m->n_partitions; i++)
                if (streq(m->partitions[i].name, "cache"))
                        strcpy(m->partitions[i].size, "24");
}

static const Entry entries[] = {
        {"F1", "phone-emmc,brom-window=2000", "at=brom:sync silence count=forever", "phone", "handshake-gone", "boot key", NULL},
        {"F2", "phone-emmc,fast", "at=brom:sync silence count=forever", "phone", "handshake-silent", "half open", NULL},
        {"F4", "phone-emmc,fast,brom-refuse=a6", "", "phone", "load-fdl1-refused-a6", "signed", NULL},
        {"F4", "feature-nor,fast,brom-refuse=a6", "", "feature", "load-fdl1-refused-a6", "signed", NULL},
        {"F5", "phone-emmc,fast,brom-refuse=silent", "", "phone", "exec-fdl1-silent", "another chip", NULL},
        {"F5", "phone-emmc,fast,fdl1-base=0x65000800", "", "phone", "exec-fdl1-silent", "another chip", NULL},
        {"F5", "phone-emmc,fast,brom-refuse=drop", "", "phone", "exec-fdl1-gone", "another chip", NULL},
        {"F6", "phone-emmc,fast", "at=brom:midst:8192 silence count=forever", "phone", "load-fdl1-silent", "overlaps", NULL},
        {"F7", "phone-emmc,fast,ram-base=0x30000000", "", "phone", "load-fdl2-silent", "outside of the RAM", NULL},
        {"F8", "phone-emmc,fast,fdl2-base=0xB4FFFE00", "", "phone", "exec-fdl2-silent", "refused its signature", NULL},
        {"F8", "phone-emmc,fast,gate=silent", "", "phone", "exec-fdl2-silent", "refused its signature", NULL},
        {"F9", "phone-emmc,fast,gate=auth", "", "phone", "backup-refused-fe", "authorised service tool", NULL},
        {"F10", "phone-emmc,fast", "at=fdl1:exec nak=84", "phone", "exec-fdl2-refused-84", "does not know the storage", NULL},
        {"F10", "phone-emmc,fast", "at=fdl1:exec nak=97", "phone", "exec-fdl2-refused-97", "does not know the storage", NULL},
        {"F10", "phone-emmc,fast", "at=fdl1:exec nak=98", "phone", "exec-fdl2-refused-98", "does not know the storage", NULL},
        {"F10", "phone-emmc,fast", "at=fdl1:exec nak=b4", "phone", "exec-fdl2-refused-b4", "does not know the storage", NULL},
        {"F10", "phone-nand,fast", "at=fdl1:exec nak=a4", "phone-nand", "exec-fdl2-refused-a4", "does not know the storage", NULL},
        {"F11", "phone-emmc,fast,gate=challenge", "", "phone", "identify-refused-challenge", "authorised service tool", NULL},
        {"F12", "phone-emmc,fast,gate=write-protect", "at=fdl2:enable-write nak=fe", "phone", "write-refused-ac",
         "write-protection switch", NULL},
        {"F12", "phone-emmc,fast,gate=write-protect", "", "phone", "", "", NULL},
        {"F13", "phone-nand,fast", "at=fdl2:start:#2 nak=96", "phone-nand", "write-refused-96", "another partition table", NULL},
        {"F14", "phone-emmc,fast,fixnv=0x10000", "", "phone", "write-refused-8a", "larger than the partition", NULL},
        {"F14", "uis8850,fast,image-check=0", "at=fdl2:midst:#9 nak=8a", "uis8850", "write-refused-8a", "larger than the partition", NULL},
        {"F15", "phone-emmc,fast,secure", "", "phone", "checking-refused-84", "not signed", signed_loaders},
        {"F15", "phone-emmc,fast", "at=fdl2:midst:2097151@2 silence", "phone", "checking-silent", "not signed", NULL},
        {"F15", "phone-emmc,fast", "at=fdl2:midst:2097151@2 disconnect", "phone", "checking-gone", "not signed", NULL},
        {"F16", "phone-emmc,fast", "at=fdl2:midst:#10 hang-after-ack", "phone", "write-silent", "cable", NULL},
        {"F16", "phone-emmc,fast", "at=fdl2:midst:#11 disconnect", "phone", "write-gone", "cable", NULL},
        {"F19", "uis8850,fast,image-check=0", "at=brom:midst:#9 nak=8b", "uis8850", "load-fdl1-refused-8b", "damaged", NULL},
        {"F19", "phone-emmc,fast", "at=fdl1:midst:#9 nak=8b", "phone", "load-fdl2-refused-8b", "damaged", NULL},
        {"F19", "phone-emmc,fast", "at=fdl1:end nak=8b", "phone", "load-fdl2-refused-8b", "damaged", NULL},
        {"F20", "phone-emmc,fast", "at=fdl2:start:#1 nak=a0", "phone", "write-refused-a0", "checksum", NULL},
        {"F20", "phone-emmc,fast", "at=fdl2:start:#1 nak=a1", "phone", "write-refused-a1", "checksum", NULL},
        {"F20", "phone-emmc,fast", "at=fdl2:midst:#1 nak=a2", "phone", "write-refused-a2", "checksum", NULL},
        {"F20", "phone-emmc,fast", "at=fdl2:midst:0x1ffff@1 nak=a2", "phone", "checking-refused-a2", "checksum", NULL},
        {"F21", "phone-emmc,fast,nv=both-bad", "", "phone", "backup-refused-84", "copies of the data are damaged", NULL},
        {"F21", "uis8850,fast,image-check=0,nv=missing", "", "uis8850", "backup-refused-84", "copies of the data are damaged", NULL},
        {"F23", "phone-emmc,fast,autod", "", "phone", "", "", NULL},
        {"F24", "phone-emmc,fast,worn=1", "", "phone", "repartition-mismatch-table", "worn or failed flash", other_table},
        {"F25", "phone-emmc,fast", "running fdl1", "phone", "", "", NULL},
        {"F27", "phone-emmc,fast,info=empty", "", "phone", "", "", NULL},
};

static Bench *device(const Entry *e) {
        PacMaker *m = pm_new_family(e->family, 11);
        char faults[200], *save = NULL;
        Bench *b;

        if (e->package)
                e->package(m);
        b = bench_new_made(e->spec, m);
        bench_plan_with(b, &(PlanOptions) {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET, .allow_warnings = true,
                                           .repartition = e->package == other_table});
        snprintf(faults, sizeof(faults), "%s", e->faults);
        for (char *f = strtok_r(faults, ";", &save); f; f = strtok_r(NULL, ";", &save))
                if (!streq(f, "running fdl1"))
                        bench_fault(b, f);
        return b;
}

static bool holds(const char *text, const char *words) {
        return text && strcasestr(text, words);
}

START_TEST(a_device_fails_as_the_catalogue_says) {
        const Entry *e = entries + _i;
        Bench *b = device(e);
        Explanation x;

        if (streq(e->faults, "running fdl1")) {
                b->cancel_step = bench_find_step(b, PLAN_LOAD, "FDL2");
                ck_assert_int_eq(bench_run(b), -ECANCELED);
                b->cancel_step = -1;
        }
        bench_run(b);
        if (!e->code[0]) {
                ck_assert_msg(b->result == 0, "%s: %s: %s", e->id, bench_code(b), b->failure.text);
                bench_free(b);
                return;
        }
        ck_assert_int_eq(b->result, 1);
        ck_assert_msg(streq(bench_code(b), e->code), "%s: %s instead of %s: %s", e->id, bench_code(b), e->code, b->failure.text);
        explanation_of(&b->failure, &x);
        ck_assert_msg(holds(x.causes[0], e->cause), "%s: %s: the first cause is \"%s\"", e->id, e->code, x.causes[0]);
        ck_assert_ptr_nonnull(x.actions[0]);
        ck_assert(b->failure.must_reflash == (strstr(e->code, "write-") || strstr(e->code, "checking-") || strstr(e->code, "repartition-")));
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *s = suite_create("catalogue");
        TCase *t = tcase_create("entries");
        SRunner *runner;
        int failed;

        if (getenv("FDLD_TEST_MEMORY"))
                setenv("TMPDIR", getenv("FDLD_TEST_MEMORY"), 1);
        tcase_set_timeout(t, 300);
        tcase_add_loop_test(t, a_device_fails_as_the_catalogue_says, 0, (int) ELEMENTSOF(entries));
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
