/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine on simulated units in virtual time. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "flash/engine-private.h"

static const char *const specs[] = {"uis8850,fast,image-check=0", "uis8910,fast,image-check=0", "phone-emmc,fast"};
static const char *const families[] = {"uis8850", "uis8910", "phone"};

static Bench *planned(const char *spec, const char *package) {
        Bench *b = bench_new(spec, package);

        if (b)
                bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

static void must_pass(Bench *b) {
        ck_assert_msg(bench_run(b) == 0, "%s at step %d: %s", bench_code(b), b->failure.step, b->failure.text);
        ck_assert(!b->progress_fell);
        ck_assert_uint_eq(b->progress, b->progress_total);
        ck_assert_uint_eq(b->report.steps_done, b->plan->n_steps);
}

static void must_fail(Bench *b, const char *code) {
        int r = bench_run(b);

        ck_assert_msg(r == 1, "result %d, wanted %s", r, code);
        ck_assert_msg(streq(bench_code(b), code), "%s instead of %s: %s", bench_code(b), code, b->failure.text);
        ck_assert_str_ne(b->failure.text, "");
        ck_assert_int_ge(b->failure.step, 0);
        ck_assert_uint_gt(b->failure.attempts, 0);
}

/* ---- the way through -------------------------------------------------------------------------------------- */

/* What a phone's boot area holds: a block that the loader makes, then the image without its first 512 bytes. */
static void check_spl(BenchFlash *have, const Bench *b) {
        const PacFile *spl = pac_find_file(b->pac, "SPLLoader");
        const uint8_t *image = b->package + spl->offset;

        ck_assert_int_eq(memcmp(bench_flash_file(have, "boot1.bin", NULL) + 512, image + 512, spl->size - 512), 0);
        ck_assert_int_eq(memcmp(bench_flash_file(have, "boot2.bin", NULL) + 512, image + 512, spl->size - 512), 0);
}

static void flash_and_compare(Bench *b) {
        static const char *const boot_areas[] = {"boot1.bin", "boot2.bin", NULL};
        bool phone = streq(pac_family(b->pac), "phone");
        BenchFlash *want = bench_flash(b), *have;

        must_pass(b);
        have = bench_flash(b);
        expect_upgrade(want, b->pac, b->package);
        ck_assert_str_eq(bench_flash_differs(want, have, phone ? boot_areas : NULL), "");
        if (phone)
                check_spl(have, b);
        bench_flash_free(want);
        bench_flash_free(have);
}

START_TEST(flashes_generated_packages) {
        Bench *b = planned(specs[_i], families[_i]);

        flash_and_compare(b);
        bench_free(b);
}
END_TEST

static const struct {
        const char *spec, *file;
} real[] = {
        {"uis8850,fast", "uis8850_full.pac"},
        {"uis8850,fast", "uis8850_app_only.pac"},
        {"uis8850,fast", "uis8850_erase_only.pac"},
        {"uis8910,fast", "uis8910_full.pac"},
};

START_TEST(flashes_real_packages) {
        Bench *b = planned(real[_i].spec, real[_i].file);

        if (!b)
                return;
        flash_and_compare(b);
        channel_pause(&b->sim->channel, 5000);
        ck_assert_msg(b->sim->wish == SIM_BOOT, "it does not boot");
        bench_free(b);
}
END_TEST

static const char *const variants[] = {
        "phone-emmc,fast,hdlc=always",
        "phone-emmc,fast,info=tlv",
        "phone-emmc,fast,info=ack",
        "phone-emmc,fast,info=empty",
        "phone-emmc,fast,drop-sync=3",
        "phone-emmc,fast,glue-log=5",
        "phone-emmc",
        "phone-emmc,fast,zlp=no",
        "phone-emmc,fast,unknown-part=early",
};

START_TEST(flashes_every_kind_of_phone) {
        Bench *b = planned(variants[_i], "phone");

        flash_and_compare(b);
        ck_assert_uint_gt(b->n_spooled, 0);
        bench_free(b);
}
END_TEST

/* ---- order of safety -------------------------------------------------------------------------------------- */

static size_t position(const Bench *b, const BenchEvent *e) {
        return (size_t) (e - b->events);
}

/* No step that changes flash begins before its intent, and none before the calibration data are stored. */
START_TEST(intent_and_backup_come_first) {
        Bench *b = planned(specs[_i], families[_i]);
        const BenchEvent *backup, *first;

        must_pass(b);
        backup = bench_event(b, EVENT_BACKUP, NULL);
        first = bench_event(b, EVENT_INTENT, NULL);
        ck_assert_ptr_nonnull(backup);
        ck_assert_uint_lt(position(b, backup), position(b, first));
        for (size_t i = 0; i < b->plan->n_steps; i++) {
                size_t intents = 0;

                for (size_t k = 0; k < b->n_events; k++)
                        intents += b->events[k].type == EVENT_INTENT && b->events[k].step == (int) i;
                ck_assert_uint_eq(intents, b->plan->steps[i].destructive);
        }
        bench_free(b);
}
END_TEST

static void must_be_unchanged(Bench *b, BenchFlash *before) {
        BenchFlash *after = bench_flash(b);

        ck_assert_str_eq(bench_flash_differs(before, after, NULL), "");
        bench_flash_free(before);
        bench_flash_free(after);
        ck_assert(!b->failure.must_reflash);
        ck_assert(!b->report.wrote);
}

START_TEST(no_go_no_step) {
        Bench *b = planned(specs[_i], families[_i]);
        BenchFlash *before = bench_flash(b);

        b->go_error = -ETIMEDOUT;
        must_fail(b, streq(families[_i], "uis8910") ? "write-host-no-go" : "erase-host-no-go");
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

START_TEST(disk_full_no_step) {
        Bench *b = planned(specs[_i], families[_i]);
        BenchFlash *before = bench_flash(b);

        b->backup_error = -ENOSPC;
        must_fail(b, "backup-host-disk-full");
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

/* The intent of each destructive step in turn is not confirmed. */
START_TEST(no_go_at_any_step) {
        Bench *b = planned(specs[_i], families[_i]);

        for (size_t i = 0; i < b->plan->n_steps; i++) {
                if (!b->plan->steps[i].destructive)
                        continue;
                bench_replug(b);
                b->go_error_step = (int) i;
                b->go_error = -EIO;
                ck_assert_int_eq(bench_run(b), 1);
                ck_assert_int_eq(b->failure.class, CLASS_HOST);
                ck_assert_int_eq(b->failure.step, (int) i);
        }
        bench_free(b);
}
END_TEST

/* ---- pulls ------------------------------------------------------------------------------------------------ */

static bool backup_stored_if_needed(const Bench *b) {
        return !b->report.wrote || bench_event(b, EVENT_BACKUP, NULL);
}

/* Pulled when each step begins: the step's stage, class gone; flashing again mends it. */
START_TEST(pulled_at_each_step) {
        Bench *b = planned(specs[_i], families[_i]);

        for (size_t i = 0; i < b->plan->n_steps; i++) {
                const PlanStep *s = b->plan->steps + i;

                bench_replug(b);
                b->unplug_step = (int) i;
                b->comes_back = false;
                ck_assert_int_eq(bench_run(b), 1);
                ck_assert_msg(b->failure.class == CLASS_GONE, "step %zu %s: %s", i, plan_op_to_string(s->op),
                              bench_code(b));
                /* Modules are asked nothing there, so the next step finds out. */
                if (s->op == PLAN_IDENTIFY && !streq(families[_i], "phone"))
                        s++;
                ck_assert_int_eq(b->failure.step, (int) (s - b->plan->steps));
                ck_assert_msg(b->failure.stage == s->stage, "step %zu: %s", i, bench_code(b));
                ck_assert(backup_stored_if_needed(b));
                if (!s->destructive && s->op != PLAN_RESET && s->stage < STAGE_ERASE)
                        ck_assert(!b->report.wrote);
        }
        b->unplug_step = -1;
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

/* Pulled at many places within the session, by the count of transfers. */
START_TEST(pulled_anywhere) {
        Bench *b = planned(specs[_i], families[_i]);
        uint64_t sends, step;

        must_pass(b);
        sends = b->sim->sends;
        step = sends / 60 + 1;
        for (uint64_t at = 1; at < sends - 1; at += step) {
                bench_replug(b);
                b->sim->sends = 0;
                b->sim->unplug_at_send = at;
                b->comes_back = false;
                ck_assert_int_eq(bench_run(b), 1);
                ck_assert_msg(b->failure.class == CLASS_GONE, "%s at transfer %llu of step %d", bench_code(b),
                              (unsigned long long) at, b->failure.step);
                ck_assert(backup_stored_if_needed(b));
                ck_assert(b->failure.must_reflash == b->report.wrote ||
                          b->plan->steps[b->failure.step].op == PLAN_RESET);
        }
        b->sim->unplug_at_send = 0;
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

START_TEST(leaving_at_reset_is_success) {
        Bench *b = planned("uis8850,fast,image-check=0", "uis8850");

        bench_fault(b, "at=fdl2:reset disconnect");
        must_pass(b);
        bench_free(b);
}
END_TEST

/* ---- cancel ----------------------------------------------------------------------------------------------- */

START_TEST(cancelled_at_each_step) {
        Bench *b = planned(specs[_i], families[_i]);
        int last = -1;

        for (size_t i = 0; i < b->plan->n_steps; i++)
                if (b->plan->steps[i].destructive)
                        last = (int) i;
        for (int i = 0; i < (int) b->plan->n_steps; i++) {
                bench_replug(b);
                b->cancel_step = i;
                bench_run(b);
                /* Once everything is written a cancel comes too late. */
                ck_assert_int_eq(b->result, i > last ? 0 : -ECANCELED);
                ck_assert_int_eq(b->failure.must_reflash, b->result != 0 && b->report.wrote);
                if (b->result != 0)
                        ck_assert_int_eq(b->failure.step, i);
        }
        b->cancel_step = -1;
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

/* In the middle of a write: it is finished, END and all, and the next step does not begin. */
START_TEST(cancel_ends_a_write_properly) {
        Bench *b = planned(specs[_i], families[_i]);
        int write = bench_find_step(b, PLAN_WRITE, streq(families[_i], "phone") ? "l_modem" : "AP");
        uint64_t before = 0;

        for (int i = 0; i < write; i++)
                before += plan_step_bytes(b->plan->steps + i);
        b->cancel_bytes = before + 3 * b->plan->steps[write].block;
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        ck_assert_int_eq(b->failure.step, write + 1);
        ck_assert_uint_eq(b->report.bytes_done, before + b->plan->steps[write].size);
        ck_assert(b->failure.must_reflash);
        ck_assert(!engine_cancel_safe(b->plan, (unsigned) write));
        bench_free(b);
}
END_TEST

START_TEST(cancel_breaks_off_loading) {
        Bench *b = planned(specs[_i], families[_i]);

        b->cancel_bytes = 5000;
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        ck_assert_uint_lt(b->report.bytes_done, 9000);
        ck_assert(!b->failure.must_reflash);
        ck_assert(engine_cancel_safe(b->plan, (unsigned) b->failure.step));
        bench_free(b);
}
END_TEST

/* ---- what devices do -------------------------------------------------------------------------------------- */

static const struct {
        int family;
        const char *fault, *code;
        bool must_reflash;
} faults[] = {
        {0, "at=brom:sync silence count=forever", "handshake-silent", false},
        {0, "at=brom:start nak=82", "load-fdl1-refused-82", false},
        {0, "at=brom:midst:#9 silence", "load-fdl1-silent", false},
        {0, "at=brom:midst:#9 nak=8b", "load-fdl1-refused-8b", false},
        {0, "at=brom:exec nak=8b", "exec-fdl1-refused-8b", false},
        {0, "at=brom:exec hang-after-ack", "exec-fdl1-silent", false},
        {0, "at=fdl2:read:#1 nak=84 count=forever", "backup-refused-84", false},
        {0, "at=fdl2:read:#3 silence", "backup-silent", false},
        {0, "at=fdl2:read:#20 bad-readback", "backup-mismatch-backup", false},
        {0, "at=fdl2:erase nak=97", "erase-refused-97", false},
        {0, "at=fdl2:erase nak=84", "erase-refused-84", true},
        {0, "at=fdl2:erase silence", "erase-silent", true},
        {0, "at=fdl2:start nak=89", "write-refused-89", true},
        {0, "at=fdl2:midst:#20 nak=84", "write-refused-84", true},
        {0, "at=fdl2:midst:#20 silence", "write-silent", true},
        {0, "at=fdl2:midst:#20 garbage", "write-garbled", true},
        {0, "at=fdl2:midst:#20 bad-sum", "write-garbled", true},
        {0, "at=fdl2:midst:#20 truncate", "write-garbled", true},
        {0, "at=fdl2:midst:#20 disconnect", "write-gone", true},
        {0, "at=fdl2:midst:#20 late=70000", "write-silent", true},
        {0, "at=fdl2:end:#2 nak=8b", "write-refused-8b", true},
        {0, "at=fdl2:end silence", "write-silent", true},
        {0, "at=fdl2:reset silence", "finish-silent", false},
        {0, "at=fdl2:reset nak=82", "finish-refused-82", false},
        {1, "at=pdl:pdl-connect silence count=forever", "handshake-silent", false},
        {1, "at=pdl:pdl-mid:#3 silence", "load-fdl1-silent", false},
        {1, "at=fdl1:start silence", "load-fdl2-silent", false},
        {1, "at=fdl1:end nak=aa", "load-fdl2-refused-aa", false},
        {1, "at=fdl1:exec silence", "exec-fdl2-silent", false},
        {1, "at=fdl2:midst:#400 write-error", "write-refused-84", true},
        {2, "at=brom:end nak=a6", "load-fdl1-refused-a6", false},
        {2, "at=brom:exec disconnect", "exec-fdl1-gone", false},
        {2, "at=fdl1:midst:#40 disconnect", "load-fdl2-gone", false},
        {2, "at=fdl1:exec silence", "exec-fdl2-silent", false},
        {2, "at=fdl2:read-partition silence", "identify-silent", false},
        {2, "at=fdl2:read-start nak=84 count=forever", "backup-refused-84", false},
        {2, "at=fdl2:start:#1 nak=a0", "write-refused-a0", true},
        {2, "at=fdl2:midst:#30 nak=8a", "write-refused-8a", true},
        {2, "at=fdl2:midst:#30 silence", "write-silent", true},
        {2, "at=fdl2:midst:#3 nak=a2", "checking-refused-a2", true},
        {2, "at=fdl2:midst:#3 disconnect", "checking-gone", true},
        {2, "at=fdl2:midst:#3 silence", "checking-silent", true},
        {2, "at=fdl2:end nak=84", "write-refused-84", true},
};

/* The fault strikes once; the failure has the right name, nothing closing follows, and flashing again mends it. */
START_TEST(faults_have_names) {
        Bench *b = planned(specs[faults[_i].family], families[faults[_i].family]);

        bench_fault(b, faults[_i].fault);
        must_fail(b, faults[_i].code);
        ck_assert_int_eq(b->failure.must_reflash, faults[_i].must_reflash);
        ck_assert(backup_stored_if_needed(b));
        bench_fault(b, "clear");
        bench_replug(b);
        must_pass(b);
        bench_free(b);
}
END_TEST

static const struct {
        int family;
        const char *fault;
} harmless[] = {
        {0, "at=fdl2:midst:#20 glue-log"},    {0, "at=fdl2:midst:#20 unsolicited-log"},
        {0, "at=fdl2:erase slow=500000"},     {0, "at=fdl2:read:#2 nak=84"},
        {0, "at=brom:connect nak=82"},        {1, "at=fdl1:sync silence count=2"},
        {2, "at=fdl1:sync silence count=2"},  {2, "at=fdl2:midst:#3 slow=200000"},
        {2, "at=fdl2:read-midst:#3 bad-sum"}, {2, "at=fdl2:read-partition nak=fe"},
};

START_TEST(harmless_faults_do_no_harm) {
        Bench *b = planned(specs[harmless[_i].family], families[harmless[_i].family]);

        bench_fault(b, harmless[_i].fault);
        flash_and_compare(b);
        ck_assert(bench_describes(b, "\"faults_hit\":0") == false);
        bench_free(b);
}
END_TEST

/* A refused write is not closed: the device must not be told that it is complete. */
START_TEST(a_refused_write_is_never_closed) {
        Bench *b = planned(specs[_i], families[_i]);
        const char *ends = _i == 0 ? "\"end\":1," : _i == 1 ? "\"end\":1," : "\"end\":2,";

        bench_fault(b, "at=fdl2:midst:#1 nak=84");
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert(bench_describes(b, ends));
        bench_free(b);
}
END_TEST

START_TEST(gates_are_named) {
        static const struct {
                const char *spec, *code;
        } gates[] = {
                {"phone-emmc,fast,gate=challenge", "identify-refused-challenge"},
                {"phone-emmc,fast,gate=auth", "backup-refused-fe"},
                {"phone-emmc,fast,gate=silent", "exec-fdl2-silent"},
                {"phone-emmc,fast,brom-refuse=a6", "load-fdl1-refused-a6"},
                {"phone-emmc,fast,brom-refuse=silent", "exec-fdl1-silent"},
                {"phone-emmc,fast,brom-refuse=drop", "exec-fdl1-gone"},
                {"phone-emmc,fast,fdl1-base=0x100", "exec-fdl1-silent"},
                {"uis8850,fast,image-check=0,model-mismatch", "erase-refused-97"},
                {"uis8850,fast,image-check=0,nv=missing", "backup-refused-84"},
                {"uis8850,fast,image-check=0,nv=bad", "backup-mismatch-nv"},
                {"uis8850,fast,image-check=0,uncalibrated", "backup-mismatch-nv-uncalibrated"},
                {"uis8910,fast,image-check=0,nv=bad", "backup-mismatch-nv"},
                {"phone-emmc,fast,nv=both-bad", "backup-refused-84"},
        };
        const char *family = strncmp(gates[_i].spec, "phone", 5) == 0     ? "phone"
                             : strncmp(gates[_i].spec, "uis8850", 7) == 0 ? "uis8850"
                                                                          : "uis8910";
        Bench *b = planned(gates[_i].spec, family);

        must_fail(b, gates[_i].code);
        if (!streq(gates[_i].code, "write-refused-ac"))
                ck_assert(!b->report.wrote);
        bench_free(b);
}
END_TEST

START_TEST(pdl_errors_are_named) {
        PacMaker *m = pm_new_family("uis8910", 11);
        Bench *b;

        pm_find(m, "HOST_FDL")->blocks[0].base = 0x100000;
        b = bench_new_made("uis8910,fast,image-check=0", m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        must_fail(b, "load-fdl1-refused-pdl-04");
        ck_assert(b->failure.pdl);
        bench_free(b);
}
END_TEST

/* ---- who is it -------------------------------------------------------------------------------------------- */

static const struct {
        const char *change, *to, *in_text;
} tables[] = {
        {"boot", "48", "boot is 32 MiB on the device, 48 MiB in the package"},
        {"super", "8", "super is 256 MiB on the device, 8 MiB in the package"},
        {"l_modem", NULL, "l_modem is only on the device"},
        {NULL, "7", "extra is missing on the device"},
};

START_TEST(another_table_is_refused) {
        PacMaker *m = pm_new_family("phone", 11);
        unsigned n = 0;
        BenchFlash *before;
        Bench *b;

        for (unsigned i = 0; i < m->n_partitions; i++) {
                PmPartition p = m->partitions[i];
                if (tables[_i].change && streq(p.name, tables[_i].change)) {
                        if (!tables[_i].to)
                                continue;
                        strcpy(p.size, tables[_i].to);
                }
                m->partitions[n++] = p;
        }
        m->n_partitions = n;
        if (!tables[_i].change) {
                PmPartition last = m->partitions[n - 1];
                strcpy(m->partitions[n - 1].name, "extra");
                strcpy(m->partitions[n - 1].size, tables[_i].to);
                m->partitions[m->n_partitions++] = last;
        }
        b = bench_new_made("phone-emmc,fast", m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        before = bench_flash(b);
        must_fail(b, "identify-mismatch-table");
        ck_assert_msg(strstr(b->failure.text, tables[_i].in_text), "%s", b->failure.text);
        ck_assert_ptr_null(bench_event(b, EVENT_INTENT, NULL));
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

START_TEST(a_file_larger_than_its_partition_is_refused) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        pm_random(pm_find(m, "BootLogo"), "logo.img", 7 * 1024 * 1024);
        b = bench_new_made("phone-emmc,fast", m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        must_fail(b, "identify-mismatch-table");
        ck_assert_msg(strstr(b->failure.text, "the file for logo has 7 MiB, the partition 6 MiB"), "%s",
                      b->failure.text);
        bench_free(b);
}
END_TEST

/* Loaders do not name the unit of their sizes; boot areas are listed by some and not by others; the last partition
 * differs from chip to chip. */
static const struct {
        uint64_t kib[4]; /* a, b, splloader, rest; 0 not listed */
        uint64_t unit;
        bool swapped, fits;
} listings[] = {
        {{1024, 2048, 0, 777}, 1, false, true},      {{1024, 2048, 4096, 777}, 1, false, true},
        {{1024, 2048, 0, 8000}, 8, false, true},     {{1024, 2048, 0, 9216}, 1024, false, true},
        {{1024, 3072, 0, 777}, 1, false, false},     {{1024, 0, 0, 777}, 1, false, false},
        {{1024, 2048, 0, 0}, 1, false, false},       {{1024, 2048, 0, 777}, 1, true, false},
        {{0, 0, 0, 0}, 1, false, false},
};

START_TEST(tables_are_compared_in_any_unit) {
        static const char *const names[] = {"a", "b", "splloader", "rest"};
        PacPartition planned_table[] = {
                {.name = "a", .size = 1}, {.name = "b", .size = 2}, {.name = "rest", .size = U64_UNKNOWN}};
        Plan plan = {.n_partitions = 3, .partitions = planned_table, .partition_unit = -1};
        EngineHooks hooks = {};
        Failure f = FAILURE_INIT;
        Engine e = {.plan = &plan, .hooks = &hooks, .failure = &f};
        BslPartition live[4];
        Table table = {};
        size_t n = 0;

        for (size_t i = 0; i < 4; i++)
                if (listings[_i].kib[i]) {
                        strcpy(live[n].name, names[i]);
                        live[n++].size = listings[_i].kib[i] / listings[_i].unit;
                }
        if (listings[_i].swapped) {
                BslPartition first = live[0];
                live[0] = live[1];
                live[1] = first;
        }
        ck_assert_int_eq(table_from_partitions(&plan, live, n, false, &table), 0);
        ck_assert_msg(engine_check_table(&e, &table) == !listings[_i].fits, "%s", f.text);
        ck_assert_str_eq(f.detail, listings[_i].fits ? "" : "table");
        table_clear(&table);
}
END_TEST

/* A package with boot loaders for two kinds of storage. */
START_TEST(steps_for_other_storage_are_skipped) {
        static const struct {
                const char *spec, *storage;
                int result;
        } cases[] = {
                {"phone-emmc,fast", "emmc", 0},
                {"phone-emmc,fast", "ufs", 0},
                {"phone-emmc,fast,info=ack", "emmc", 1},
        };
        Bench *b = planned(cases[_i].spec, "phone");
        int step = bench_find_step(b, PLAN_WRITE, "logo");
        bool begun = false;

        strcpy(b->plan->steps[step].storage, cases[_i].storage);
        ck_assert_int_eq(bench_run(b), cases[_i].result);
        for (size_t i = 0; i < b->n_events; i++)
                begun |= b->events[i].type == EVENT_INTENT && b->events[i].step == step;
        ck_assert_int_eq(begun, _i == 0);
        if (cases[_i].result)
                ck_assert_str_eq(bench_code(b), "identify-mismatch-storage");
        bench_free(b);
}
END_TEST

START_TEST(identity_is_told) {
        Bench *b = planned("phone-emmc,fast", "phone");

        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "chip-uid="));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "storage=emmc"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "table=30 partitions"));
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "loader-version="));
        ck_assert(b->report.identity_proven);
        bench_free(b);
}
END_TEST

/* A chip that does not tell its number: the flash may. */
START_TEST(identity_of_the_flash) {
        static const struct {
                const char *spec;
                bool proven;
        } units[] = {{"phone-emmc,fast,unknown=chip-uid,flash-uid", true}, {"phone-emmc,fast,unknown=chip-uid,unknown-limit=3", false},
                     {"phone-emmc,fast,flash-uid", true}};
        Bench *b = planned(units[_i].spec, "phone");

        must_pass(b);
        ck_assert_int_eq(b->report.identity_proven, units[_i].proven);
        ck_assert_int_eq(bench_event(b, EVENT_FACT, "flash-uid=") != NULL, _i == 0);
        ck_assert_int_eq(bench_event(b, EVENT_FACT, "chip-uid=") != NULL, _i == 2);
        bench_free(b);
}
END_TEST

/* NV whose items have other lengths than the package's: found before the first erase. */
START_TEST(nv_that_does_not_fit_is_refused_early) {
        static const PmNvEntry other[] = {{0x5, 8}, {0x179, 8}, {0x186, 8}, {0x1e4, 8}, {0x2, 6020}, {0x26d, 8192},
                                          {0x26e, 16384}, {0, 0}};
        PacMaker *m = pm_new_family("phone", 11);
        BenchFlash *before;
        Bench *b;

        pm_find(m, "NV_LTE")->nv = other;
        b = bench_new_made("phone-emmc,fast", m);
        bench_plan(b, FLASH_MODE_UPGRADE);
        before = bench_flash(b);
        must_fail(b, "backup-mismatch-nv-length");
        must_be_unchanged(b, before);
        bench_free(b);
}
END_TEST

/* ---- loaders that run already ----------------------------------------------------------------------------- */

/* The job ends in the last loader (a failure of ours, the unit stays as it is); the next goes on without a power cycle.
 */
START_TEST(a_running_loader_is_picked_up) {
        Bench *b = planned(specs[_i], families[_i]);

        b->backup_error = -EIO;
        ck_assert_int_eq(bench_run(b), 1);
        b->backup_error = 0;
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "was running already"));
        bench_free(b);
}
END_TEST

/* Where the device has been on the bus for so long that a ROM would be awake, that takes a second; where not, a ROM that is slow
 * to wake up is given all the time that it had before. */
START_TEST(a_running_loader_is_picked_up_soon) {
        Bench *b = planned("phone-emmc,fast", "phone");
        uint64_t before;

        b->backup_error = -EIO;
        ck_assert_int_eq(bench_run(b), 1);
        b->backup_error = 0;
        b->input.on_bus_ms = 10000;
        b->cancel_step = bench_find_step(b, PLAN_IDENTIFY, NULL);
        before = b->sim->now_ns;
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "was running already"));
        ck_assert_uint_lt(b->sim->now_ns - before, 1500000000);
        bench_free(b);
        b = planned("phone-emmc,fast", "phone");
        bench_fault(b, "at=brom:sync slow=4000");
        must_pass(b);
        bench_free(b);
}
END_TEST

/* The same in the first loader. */
START_TEST(a_running_first_loader_is_picked_up) {
        Bench *b = planned(specs[_i], families[_i]);

        b->cancel_step = bench_find_step(b, PLAN_LOAD, "FDL2");
        ck_assert_int_eq(bench_run(b), -ECANCELED);
        b->cancel_step = -1;
        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "was running already"));
        bench_free(b);
}
END_TEST

/* ---- re-enumeration --------------------------------------------------------------------------------------- */

static Bench *reenumerating(bool said) {
        PacMaker *m = pm_new_family("phone", 11);
        Bench *b;

        strcpy(pm_find(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
        b = bench_new_made("phone-emmc,fast", m);
        if (!said)
                b->pac->second_enumeration = false;
        bench_plan(b, FLASH_MODE_UPGRADE);
        return b;
}

START_TEST(device_comes_back_after_fdl1) {
        Bench *b = reenumerating(_i == 0);

        flash_and_compare(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_REENUMERATE, NULL));
        bench_free(b);
}
END_TEST

START_TEST(device_does_not_come_back) {
        Bench *b = reenumerating(_i == 0);

        b->comes_back = false;
        must_fail(b, _i == 0 ? "reenumerate-gone" : "exec-fdl1-gone");
        bench_free(b);
}
END_TEST

/* ---- our own side ----------------------------------------------------------------------------------------- */

START_TEST(a_bad_disk_ends_the_job) {
        Bench *b = planned(specs[_i], families[_i]);
        int write = bench_find_step(b, PLAN_WRITE, streq(families[_i], "phone") ? "super" : "AP");

        for (int i = 0; i < write; i++)
                b->bad_disk_bytes += plan_step_bytes(b->plan->steps + i);
        b->bad_disk_bytes += 2 * b->plan->steps[write].block;
        must_fail(b, "write-host-package");
        ck_assert_int_eq(b->failure.step, write);
        ck_assert(b->failure.must_reflash);
        bench_free(b);
}
END_TEST

START_TEST(a_bad_disk_while_loading_harms_nothing) {
        Bench *b = planned(specs[_i], families[_i]);

        b->bad_disk_bytes = 3000;
        must_fail(b, "load-fdl1-host-package");
        ck_assert(!b->failure.must_reflash);
        bench_free(b);
}
END_TEST

START_TEST(a_plan_that_contradicts_itself_is_not_begun) {
        Bench *b = planned("uis8850,fast", "uis8850");
        PlanStep *s = b->plan->steps + bench_find_step(b, PLAN_WRITE, "AP");

        s->offset = b->package_size - 10;
        ck_assert_int_eq(bench_run(b), -EINVAL);
        s->offset = 0;
        s->size = UINT64_MAX;
        ck_assert_int_eq(bench_run(b), -EINVAL);
        s->size = 100;
        s->block = 0;
        ck_assert_int_eq(bench_run(b), -EINVAL);
        ck_assert_uint_eq(b->sim->sends, 0);
        strcpy(b->plan->not_executable, "not yet");
        ck_assert_int_eq(bench_run(b), 1);
        ck_assert_str_eq(bench_code(b), "handshake-plan-not-executable");
        bench_free(b);
}
END_TEST

/* The NV reads back wrong: written again, at most three times in all. */
START_TEST(nv_is_checked_after_the_write) {
        Bench *b = planned("uis8850,fast,image-check=0", "uis8850");
        char fault[64];

        /* Two readings of the backups: one read for PhaseCheck, 14 for the NV. */
        snprintf(fault, sizeof(fault), "at=fdl2:read:#%d bad-readback", 2 * (1 + 14) + 3);
        bench_fault(b, fault);
        must_pass(b);
        ck_assert_ptr_nonnull(bench_event(b, EVENT_FACT, "writing it again"));
        bench_replug(b);
        snprintf(fault, sizeof(fault), "at=fdl2:read:#%d bad-readback count=forever", 2 * (1 + 14) + 1);
        bench_fault(b, fault);
        must_fail(b, "verify-mismatch-nv-check");
        ck_assert_uint_eq(b->failure.attempts, 3);
        ck_assert(b->failure.must_reflash);
        bench_free(b);
}
END_TEST

START_TEST(texts_say_where) {
        Bench *b = planned("uis8850,fast,image-check=0", "uis8850");

        bench_fault(b, "at=fdl2:midst:#20 nak=84");
        must_fail(b, "write-refused-84");
        ck_assert_msg(strncmp(b->failure.text, "writing ", 8) == 0 && strstr(b->failure.text, " at 0x") &&
                              strstr(b->failure.text, ", byte ") && strstr(b->failure.text, ": the device answered"),
                      "%s", b->failure.text);
        ck_assert_str_eq(b->failure.command, "MIDST_DATA");
        ck_assert_int_eq(b->failure.reply, 0x84);
        ck_assert_uint_ne(b->failure.address, U64_UNKNOWN);
        ck_assert_uint_ne(b->failure.offset, U64_UNKNOWN);
        ck_assert_uint_gt(b->failure.bytes_done, 0);
        ck_assert_str_ne(b->failure.partition, "");
        bench_free(b);
}
END_TEST

static TCase *add_case(Suite *s, const char *name) {
        TCase *t = tcase_create(name);

        tcase_set_timeout(t, 300);
        suite_add_tcase(s, t);
        return t;
}

static void add_device_cases(Suite *s) {
        TCase *t = add_case(s, "devices");

        tcase_add_loop_test(t, faults_have_names, 0, (int) ELEMENTSOF(faults));
        tcase_add_loop_test(t, harmless_faults_do_no_harm, 0, (int) ELEMENTSOF(harmless));
        tcase_add_loop_test(t, a_refused_write_is_never_closed, 0, 3);
        tcase_add_loop_test(t, gates_are_named, 0, 13);
        tcase_add_test(t, pdl_errors_are_named);
        tcase_add_loop_test(t, another_table_is_refused, 0, (int) ELEMENTSOF(tables));
        tcase_add_test(t, a_file_larger_than_its_partition_is_refused);
        tcase_add_test(t, identity_is_told);
        tcase_add_loop_test(t, identity_of_the_flash, 0, 3);
        tcase_add_loop_test(t, tables_are_compared_in_any_unit, 0, (int) ELEMENTSOF(listings));
        tcase_add_loop_test(t, steps_for_other_storage_are_skipped, 0, 3);
        tcase_add_test(t, nv_that_does_not_fit_is_refused_early);
        tcase_add_loop_test(t, a_running_loader_is_picked_up, 0, 3);
        tcase_add_test(t, a_running_loader_is_picked_up_soon);
        tcase_add_loop_test(t, a_running_first_loader_is_picked_up, 1, 3);
        tcase_add_loop_test(t, device_comes_back_after_fdl1, 0, 2);
        tcase_add_loop_test(t, device_does_not_come_back, 0, 2);
        tcase_add_test(t, nv_is_checked_after_the_write);
}

static void add_own_cases(Suite *s) {
        TCase *t = add_case(s, "own side");

        tcase_add_loop_test(t, intent_and_backup_come_first, 0, 3);
        tcase_add_loop_test(t, no_go_no_step, 0, 3);
        tcase_add_loop_test(t, disk_full_no_step, 0, 3);
        tcase_add_loop_test(t, no_go_at_any_step, 0, 3);
        tcase_add_loop_test(t, cancelled_at_each_step, 0, 3);
        tcase_add_loop_test(t, cancel_ends_a_write_properly, 0, 3);
        tcase_add_loop_test(t, cancel_breaks_off_loading, 0, 3);
        tcase_add_loop_test(t, a_bad_disk_ends_the_job, 0, 3);
        tcase_add_loop_test(t, a_bad_disk_while_loading_harms_nothing, 0, 3);
        tcase_add_test(t, a_plan_that_contradicts_itself_is_not_begun);
        tcase_add_test(t, texts_say_where);
}

int main(void) {
        Suite *s = suite_create("engine");
        TCase *t = add_case(s, "through"), *p = add_case(s, "pulls");
        SRunner *runner;
        int failed;

        tcase_add_loop_test(t, flashes_generated_packages, 0, (int) ELEMENTSOF(families));
        tcase_add_loop_test(t, flashes_real_packages, 0, (int) ELEMENTSOF(real));
        tcase_add_loop_test(t, flashes_every_kind_of_phone, 0, (int) ELEMENTSOF(variants));
        tcase_add_loop_test(p, pulled_at_each_step, 0, 3);
        tcase_add_loop_test(p, pulled_anywhere, 0, 3);
        tcase_add_test(p, leaving_at_reset_is_success);
        add_device_cases(s);
        add_own_cases(s);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
