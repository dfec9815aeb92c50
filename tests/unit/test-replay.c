/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A failure, its trace, and the trace played by a simulated unit: the same failure. In virtual time. What plays shares no code with what
 * records. FDLD_LONG=1: all cases, else one of each class. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "scratch.h"

/* Indices into cases[]: silent garbled refused gone, mismatch, slow, and three kinds of devices. */
static const int quick[] = {1, 2, 3, 17, 19, 26, 32, 41, 43, 44};

typedef struct Case {
        const char *spec, *package, *fault; /* fault: NULL none */
        const char *code;                   /* what it must be, so that the case is the one that is meant */
        VerifyLevel verify;
        bool raw;
} Case;

static const Case cases[] = {
        {"phone-emmc,fast", "phone", "at=brom:sync silence count=forever", "handshake-silent"},
        {"phone-emmc,fast", "phone", "at=brom:sync garbage count=forever", "handshake-garbled"},
        {"phone-emmc,fast,brom-refuse=a6", "phone", NULL, "load-fdl1-refused-a6"},
        {"phone-emmc,fast,brom-refuse=silent", "phone", NULL, "exec-fdl1-silent"},
        {"phone-emmc,fast,brom-refuse=drop", "phone", NULL, "exec-fdl1-gone"},
        {"phone-emmc,fast", "phone", "at=fdl1:midst:5000 silence", "load-fdl2-silent"},
        {"phone-emmc,fast", "phone", "at=fdl1:midst:5000 nak=84", "load-fdl2-refused-84"},
        {"phone-emmc,fast,gate=silent", "phone", NULL, "exec-fdl2-silent"},
        {"phone-emmc,fast,gate=auth", "phone", NULL, NULL},
        {"phone-emmc,fast,gate=challenge", "phone", NULL, NULL},
        {"phone-emmc,fast,nv=both-bad", "phone", NULL, NULL},
        {"phone-emmc,fast,uncalibrated", "phone", NULL, NULL},
        {"phone-emmc,fast", "phone", "at=fdl2:read-midst nak=84 count=forever", NULL},
        {"phone-emmc,fast", "phone", "at=fdl2:read-midst truncate count=forever", "backup-garbled"},
        {"phone-emmc,fast", "phone", "at=fdl2:read-midst bad-readback count=1", "backup-mismatch-backup"},
        {"phone-emmc,fast", "phone", "at=fdl2:erase nak=84 count=1", "erase-refused-84"},
        {"phone-emmc,fast", "phone", "at=fdl2:erase silence count=1", "erase-silent"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 silence count=1", "write-silent"},
        {"phone-emmc,fast,hdlc=always", "phone", "at=fdl2:midst:500000 silence count=1", "write-silent"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 nak=8a count=1", "write-refused-8a"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 garbage count=1", "write-garbled"},
        {"phone-emmc,fast,hdlc=always", "phone", "at=fdl2:midst:500000 garbage count=1", "write-garbled"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 bad-sum count=1", "write-garbled"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 truncate count=1", "write-garbled"},
        {"phone-emmc,fast,hdlc=always", "phone", "at=fdl2:midst:500000 truncate count=1", "write-garbled"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 disconnect count=1", "write-gone"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 late=61000 count=1", "write-slow"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 drop-ack count=1", "write-silent"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 stall count=1", "write-silent"},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 hang-after-ack count=1", NULL},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 write-error count=1", NULL},
        {"phone-emmc,fast,glue-log=2", "phone", "at=fdl2:midst:500000 silence count=1", NULL},
        {"phone-emmc,fast", "phone", "at=fdl2:midst:500000 bad-readback count=1", "verify-mismatch-read-back", VERIFY_FULL},
        {"phone-emmc,fast", "phone", "at=fdl2:end:#2 nak=84 count=1", NULL},
        {"phone-emmc,fast", "phone", "at=fdl2:reset silence count=1", "finish-silent"},
        {"phone-emmc,fast,second-enum", "phone", "at=fdl2:midst:500000 disconnect count=1", "write-gone"},
        {"phone-emmc,fast,raw=1", "phone", "at=fdl2:raw-data silence count=1", "checking-silent", VERIFY_CRITICAL, true},
        {"phone-ufs-ab,fast", "phone-ab", "at=fdl2:midst:500000 silence count=1", "write-silent"},
        {"phone-old,fast", "phone-old", "at=fdl2:midst:300000 silence count=1", "write-silent"},
        {"phone-nand,fast", "phone-nand", "at=fdl2:midst:300000 nak=84 count=1", NULL},
        {"feature-nor,fast", "feature", "at=fdl2:midst:100000 silence count=1", "write-silent"},
        {"uis8910,fast", "uis8910", "at=pdl:pdl-mid silence count=1", NULL},
        {"uis8910,fast", "uis8910", "at=pdl:pdl-end nak=9 count=1", NULL},
        {"uis8910,fast", "uis8910", "at=fdl2:midst:100000 silence count=1", "write-silent"},
        {"uis8850,fast", "uis8850", "at=fdl2:midst:100000 nak=8a count=1", "write-refused-8a"},
};

static void prepare(Bench *b, const Case *c) {
        b->verify = c->verify;
        bench_plan(b, FLASH_MODE_UPGRADE);
        b->input.raw = c->raw;
        b->input.public_data = true;
}

static void save(const Bench *b, const char *path, const char *family) {
        char code[FAILURE_CODE_MAX];
        TraceHead head = {.job = 1, .kind = "flash", .package = "x", .family = family, .speed = "480", .vendor = 0x1782, .product = 0x4d00,
                          .deadlines = &b->input.deadlines, .failure = &b->failure, .code = failure_code(&b->failure, code)};
        size_t size;
        _cleanup_free_ char *text = trace_text(b->input.trace, &head, &size);
        FILE *f = fopen(path, "w");

        ck_assert(text && f);
        ck_assert_uint_eq(fwrite(text, 1, size, f), size);
        ck_assert_int_eq(fclose(f), 0);
}

START_TEST(same_failure) {
        const Case *c = cases + (getenv("FDLD_LONG") ? _i : quick[_i]);
        Bench *b = bench_new(c->spec, c->package), *again;
        char path[160], spec[200], code[FAILURE_CODE_MAX];
        int fd;

        scratch_template(path, sizeof(path), "fdld-trace");
        fd = mkstemp(path);
        ck_assert_int_ge(fd, 0);
        close(fd);
        prepare(b, c);
        b->input.trace = trace_new();
        if (c->fault)
                bench_fault(b, c->fault);
        ck_assert_msg(bench_run(b) == 1, "%s: it did not fail", c->spec);
        snprintf(code, sizeof(code), "%s", bench_code(b));
        if (c->code)
                ck_assert_msg(streq(code, c->code), "%s, %s: %s: %s", c->spec, c->fault, code, b->failure.text);
        save(b, path, c->package);

        snprintf(spec, sizeof(spec), "replay,trace=%s", path);
        again = bench_new(spec, c->package);
        prepare(again, c);
        ck_assert_msg(bench_run(again) == 1, "%s, %s: the replay does not fail", c->spec, code);
        ck_assert_msg(streq(bench_code(again), code), "%s, %s: the replay fails with %s at step %d: %s (%s)", c->spec, code, bench_code(again),
                      again->failure.step, again->failure.text, b->failure.text);
        ck_assert_int_eq(again->failure.class, b->failure.class);
        ck_assert_int_eq(again->failure.stage, b->failure.stage);
        ck_assert_int_eq(again->failure.step, b->failure.step);
        ck_assert_int_eq(again->failure.reply, b->failure.reply);
        ck_assert_str_eq(again->failure.command, b->failure.command);
        remove(path);
        trace_unref(b->input.trace);
        bench_free(b);
        bench_free(again);
}
END_TEST

/* ---- traces that are none ---- */

static const char *const bad[] = {
        "", "fdld-trace 2\nbegin\nend\n", "fdld-trace 1\n", "fdld-trace 1\nbegin\n", "fdld-trace 1\nnonsense 7\nbegin\nend\n",
        "fdld-trace 1\nbegin\n0.000 sync\nend\n", "fdld-trace 1\nbegin\n0.000 > crc esc 0001 8 0011\nend\n",
        "fdld-trace 1\nbegin\n0.000 > crc esc 0001 70000 ?\nend\n", "fdld-trace 1\nbegin\n0.000 > crc esc 0001 2 00zz\nend\n",
        "fdld-trace 1\nbegin\n0 sync 1\nend\n", "fdld-trace 1\nbegin\n-1.000 sync 1\nend\n", "fdld-trace 1\nbegin\nrun 0 1 1.000 1\nend\n",
        "fdld-trace 1\nbegin\nrun 9 3 1.000 1\nend\n", "fdld-trace 1\nbegin\nrun 99999999999 1 1.000 1\n0.000 sync 1\nend\n",
        "fdld-trace 1\nbegin\nrun 2000000 2 1.000 1\n0.000 sync 1\n0.000 sync 1\nend\n", "fdld-trace 1\nbegin\nrun 2 2 1.000 1\n0.000 sync 1\nend\n",
        "fdld-trace 1\nbegin\n0.000 dance\nend\n", "fdld-trace 1\nbegin\nend\nmore\n", "fdld-trace 1\nbegin\n0.000 < sum esc 0080 0\nend\n",
        "fdld-trace 1\nbegin\n0.000 nv le ff0a 00000001 1 1 2/65536999\nend\n",
};

START_TEST(bad_traces) {
        char path[160], spec[200], dir[160], err[512];
        SimChannel *sim;
        FILE *f;

        scratch_template(path, sizeof(path), "fdld-trace");
        close(mkstemp(path));
        scratch_template(dir, sizeof(dir), "fdld-replay");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        f = fopen(path, "w");
        ck_assert_ptr_nonnull(f);
        fputs(bad[_i], f);
        fclose(f);
        snprintf(spec, sizeof(spec), "replay,trace=%s", path);
        sim = sim_channel_new(spec, dir, 1, err, sizeof(err));
        ck_assert_msg(!sim, "accepted: %s", bad[_i]);
        ck_assert_msg(strstr(err, path), "no word of the file: %s", err);
        remove(path);
        rmdir(dir);
}
END_TEST

int main(void) {
        Suite *s = suite_create("replay");
        TCase *c = tcase_create("replay");
        SRunner *r;
        int failed;

        tcase_set_timeout(c, 60);
        tcase_add_loop_test(c, same_failure, 0, getenv("FDLD_LONG") ? (int) ELEMENTSOF(cases) : (int) ELEMENTSOF(quick));
        tcase_add_loop_test(c, bad_traces, 0, (int) ELEMENTSOF(bad));
        suite_add_tcase(s, c);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed > 0;
}
