/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix.h"

/* What a cell must leave behind, from what was acknowledged before the fault, the package and the unit's flash before. */

_printf_(1, 2) static const char *say(const char *format, ...) {
        static char text[900];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return text;
}

/* ---- what is told ----------------------------------------------------------------------------------------- */

typedef struct Search {
        const char *exact, *anywhere;
        bool found;
} Search;

static void look(const char *pattern, const Explanation *e _unused_, void *userdata) {
        Search *s = userdata;

        s->found |= streq(pattern, s->exact) || streq(pattern, s->anywhere);
}

/* The code has a row of its own, or one for all stages, and it says why and what to do. */
static const char *check_explanation(Bench *b) {
        char anywhere[FAILURE_CODE_MAX];
        const char *code = bench_code(b), *stage = stage_to_string(b->failure.stage);
        Search s = {.exact = code, .anywhere = anywhere};
        Explanation e;

        snprintf(anywhere, sizeof(anywhere), "any%s", code + strlen(stage));
        explanation_foreach(look, &s);
        if (!s.found || !explanation_find(code, &e))
                return say("%s has no entry of its own", code);
        if (!e.summary[0] || !e.causes[0] || !e.causes[0][0] || !e.actions[0] || !e.actions[0][0])
                return say("%s has no cause or no action", code);
        if (strcasestr(e.summary, "unknown error") || strcasestr(b->failure.text, "unknown error") || strstr(b->failure.text, "errno"))
                return say("it says: %s", b->failure.text);
        return "";
}

/* Whether it may be unplugged, and whether it starts. */
static const char *check_verdict(const Failure *f, const Outcome *o) {
        bool owes_answer = o->class == CLASS_SILENT || o->class == CLASS_SLOW;

        if (f->verdict == VERDICT_NONE)
                return "it does not say what became of the unit";
        if (!verdict_safe_to_unplug(f->verdict) && !(owes_answer && f->must_reflash))
                return "it says that the unit must not be unplugged, and nothing can be going on in it";
        if (verdict_bootable(f->verdict) == f->must_reflash)
                return "what it says about starting and about flashing again contradict each other";
        if (!f->must_reflash && f->verdict != (streq(o->stage, "finish") ? VERDICT_COMPLETE : VERDICT_UNCHANGED))
                return say("what became of the unit is wrong: %s", verdict_text(f->verdict));
        return "";
}

const char *judge_failure(Bench *b, const Cell *c, const Outcome *o) {
        const Failure *f = &b->failure;
        const char *bad;
        char code[FAILURE_CODE_MAX];

        snprintf(code, sizeof(code), "%s-%s%s%s", o->stage, fail_class_to_string(o->class), o->detail[0] ? "-" : "", o->detail);
        if (b->result != 1)
                return say("result %d instead of %s", b->result, code);
        if (!streq(bench_code(b), code))
                return say("%s instead of %s: %s", bench_code(b), code, f->text);
        if (o->command && !streq(f->command, o->command))
                return say("command %s instead of %s", f->command, o->command);
        if (!f->text[0] || f->step < 0 || f->attempts == 0)
                return "the failure has no text, step or attempt";
        if (o->class == CLASS_REFUSED && f->reply < 0)
                return "the reply is not told";
        if (f->must_reflash != rule_must_reflash(c, o))
                return f->must_reflash ? "it says that the unit must be flashed again" : "it does not say that the unit must be flashed again";
        bad = check_verdict(f, o);
        return *bad ? bad : check_explanation(b);
}

/* ---- flash ------------------------------------------------------------------------------------------------ */

static const char *const made_by_loader[] = {"boot1.bin", "boot2.bin", "mtd-", "ubi.bad", NULL};

typedef struct Op {
        size_t first, last_data, end; /* commands: START (or ERASE), last MIDST, END */
        uint64_t acked;               /* bytes of it, up to the fault */
        const PacFile *file;
} Op;

static const PacFile *file_of(const Bench *b, const WireCommand *c) {
        bool erase = streq(c->command, "erase");

        for (size_t i = 0; i < b->pac->n_files; i++) {
                const PacFile *f = b->pac->files + i;
                bool erases = strncmp(f->type, "Erase", 5) == 0;
                char address[40];

                if (!f->selected || f->n_blocks == 0 || erases != erase || (!erase && !f->has_data))
                        continue;
                snprintf(address, sizeof(address), "0x%08llx", (unsigned long long) f->blocks[0].base);
                if (c->named ? !streq(f->blocks[0].name, c->target) : !streq(address, c->target))
                        continue;
                if (!c->named && f->blocks[0].base == 0xfe000006 && f->blocks[0].size != c->size)
                        continue;
                return f;
        }
        ck_abort_msg("no file for %s %s", c->command, c->target);
}

/* What happens to flash in the job, in its order; `from`: where to go on. */
static bool next_op(const Bench *b, const Cell *c, size_t executed, size_t *from, Op *ret) {
        const Wire *w = c->clean;

        for (size_t i = *from; i < w->n; i++) {
                const WireCommand *x = w->list + i;

                if (!streq(x->at, "fdl2") || (!streq(x->command, "start") && !streq(x->command, "erase")))
                        continue;
                *ret = (Op) {.first = i, .last_data = i, .end = i, .file = file_of(b, x)};
                while (streq(x->command, "start") && !streq(w->list[ret->end].command, "end")) {
                        ret->end++;
                        if (streq(w->list[ret->end].command, "midst")) {
                                ret->last_data = ret->end;
                                if (ret->end < executed)
                                        ret->acked = w->list[ret->end].to;
                        }
                }
                *from = ret->end + 1;
                return true;
        }
        return false;
}

/* Byte for byte either as before, as after, or erased. */
static const char *is_between(BenchFlash *base, BenchFlash *after, BenchFlash *now, uint64_t sure_from, uint64_t sure_to) {
        static const char *const *except = made_by_loader;
        const char *name;
        size_t n;

        for (size_t k = 0; (name = bench_flash_name(now, k)); k++) {
                const uint8_t *have = bench_flash_file(now, name, &n), *a, *z;
                size_t na = 0, nz = 0;
                bool skip = false;

                for (size_t i = 0; except[i]; i++)
                        skip |= strncmp(name, except[i], strlen(except[i])) == 0;
                a = bench_flash_file(base, name, &na);
                z = bench_flash_file(after, name, &nz);
                if (skip)
                        continue;
                if ((a && na == n && (a == have || memcmp(a, have, n) == 0) && !(streq(name, "flash.bin") && sure_to > sure_from)) ||
                    (z && nz == n && (z == have || memcmp(z, have, n) == 0)))
                        continue;
                if ((!a || na != n) && (!z || nz != n))
                        return say("%s is as nobody wrote it", name);
                for (size_t i = 0; i < n; i++) {
                        bool sure = streq(name, "flash.bin") && i >= sure_from && i < sure_to;
                        bool changes = !a || !z || na != n || nz != n || a[i] != z[i];
                        bool good = z && i < nz && have[i] == z[i];

                        good = good || (!sure && a && i < na && have[i] == a[i]);
                        good = good || (!sure && changes && (have[i] == 0 || have[i] == 0xff));
                        /* A page is erased before it is programmed, with what follows in it. */
                        good = good || (!sure && streq(name, "flash.bin") && have[i] == 0xff);
                        if (!good)
                                return say("%s at 0x%zx: neither what was there nor what is written", name, i);
                }
        }
        return "";
}

static bool all_zero(const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (p[i])
                        return false;
        return true;
}

/* Boot areas of a phone: untouched, erased or written. */
static const char *check_boot(Bench *b, BenchFlash *before, BenchFlash *now, int state) {
        static const char *const areas[] = {"boot1.bin", "boot2.bin"};

        for (size_t i = 0; i < 2 && bench_flash_file(now, areas[i], NULL); i++) {
                size_t n = 0, m = 0;
                const uint8_t *have = bench_flash_file(now, areas[i], &n), *was = bench_flash_file(before, areas[i], &m);

                if (state == 0 && (n != m || memcmp(have, was, n) != 0))
                        return say("%s was changed", areas[i]);
                if (state == 1 && !all_zero(have, n))
                        return say("%s was acknowledged as erased and is not", areas[i]);
        }
        return state == 2 ? expect_boot_areas(now, b->pac, b->package) : "";
}

static bool is_boot(const PacFile *f) {
        return streq(f->blocks[0].name, "splloader");
}

/* The unit's own data: on disk before flash is touched. */
static const char *check_backup(Bench *b, const Cell *c, size_t executed, BenchFlash *before, BenchFlash *now) {
        bool touched = *bench_flash_differs(before, now, NULL);

        for (size_t i = 0; i <= executed && i < c->clean->n; i++)
                touched |= wire_changes_flash(c->clean->list + i);
        if (touched && !bench_event(b, EVENT_BACKUP, NULL))
                return "flash was touched before the unit's own data were on disk";
        return "";
}

static const char *check_op(const Op *op, const Cell *c, size_t executed, BenchFlash *base, BenchFlash *after, BenchFlash *now) {
        const WireCommand *x = c->clean->list + op->first;
        bool named = x->named, done = executed > op->end || (named && executed > op->last_data);
        uint64_t address = strtoull(x->target, NULL, 0), sure = 0;

        if (c->fault == FAULT_BAD_FLASH && c->at >= op->first && c->at <= op->end)
                return "";
        /* Modules write each 64 KiB as they come; SPL and NV at the end. */
        if (!named && address >= 0x60000000 && op->last_data > op->first + 1)
                sure = op->acked / 65536 * 65536;
        if (done && c->fault != FAULT_WRITE_ERROR) {
                const char *differs = bench_flash_differs(after, now, made_by_loader);
                return *differs ? say("%s was acknowledged: %s", x->target, differs) : "";
        }
        return is_between(base, after, now, address - 0x60000000, address - 0x60000000 + sure);
}

const char *judge_flash(Bench *b, const Cell *c, const Outcome *o, BenchFlash *before, BenchFlash *now) {
        static const bool executed_by[FAULT_MAX] = {
#define X(id, word, line, column, executed) executed,
                FAULTS(X)
#undef X
        };
        /* Commands that the unit has carried out: all before the fault, and the one that was struck, depending on how. */
        size_t executed = MAX(c->at + executed_by[c->fault], o->class == CLASS_MISMATCH ? o->at : 0), from = 0;
        BenchFlash *base = bench_flash_copy(before), *after;
        int boot = 0;
        const char *bad = "";
        Op op;

        while (!*bad && next_op(b, c, executed, &from, &op) && op.first < executed) {
                bool whole = op.end < executed && !(c->fault == FAULT_BAD_FLASH && c->at >= op.first && c->at <= op.end) &&
                             !(c->fault == FAULT_WRITE_ERROR && c->at >= op.first && c->at <= op.end);

                if (is_boot(op.file))
                        boot = whole ? streq(c->clean->list[op.first].command, "erase") ? 1 : 2 : -1;
                if (whole) {
                        expect_file(base, b->pac, op.file, b->package);
                        continue;
                }
                after = bench_flash_copy(base);
                expect_file(after, b->pac, op.file, b->package);
                bad = check_op(&op, c, executed, base, after, now);
                bench_flash_free(after);
                goto finish;
        }
        if (!*bad) {
                const char *differs = bench_flash_differs(base, now, made_by_loader);
                bad = *differs ? say("against what was acknowledged: %s", differs) : "";
        }
finish:
        if (!*bad && boot >= 0)
                bad = check_boot(b, before, now, boot);
        if (!*bad)
                bad = check_backup(b, c, executed, before, now);
        bench_flash_free(base);
        return bad;
}

const char *judge_done(Bench *b, BenchFlash *before, BenchFlash *now) {
        BenchFlash *want = bench_flash_copy(before);
        const char *bad;

        expect_upgrade(want, b->pac, b->package);
        bad = bench_flash_differs(want, now, made_by_loader);
        bench_flash_free(want);
        return *bad ? bad : streq(pac_family(b->pac), "phone") ? expect_boot_areas(now, b->pac, b->package) : "";
}

const char *judge_table(Bench *b, BenchFlash *before, BenchFlash *now) {
        static const unsigned own[] = {0x2, 0x5, 0x179, 0x186, 0x1e4, 0x26d, 0x26e};
        BenchFlash *want = bench_flash_copy(now);
        size_t n[2], size[2] = {};
        const uint8_t *a, *z;
        const char *bad;

        expect_upgrade(want, b->pac, b->package);
        bad = bench_flash_differs(want, now, made_by_loader);
        bench_flash_free(want);
        a = bench_flash_file(before, "parts/l_fixnv1", size);
        z = bench_flash_file(now, "parts/l_fixnv1", size + 1);
        for (size_t i = 0; !*bad && i < ELEMENTSOF(own); i++) {
                const uint8_t *x = expect_nv_item(a + 512, size[0] - 512, own[i], n), *y = expect_nv_item(z + 512, size[1] - 512, own[i], n + 1);

                if (!x || !y || n[0] != n[1] || memcmp(x, y, n[0]) != 0)
                        bad = say("the unit's NV item 0x%x is lost", own[i]);
        }
        for (size_t i = 0; !*bad && i < 2; i++) {
                static const char *const kept[] = {"parts/prodnv", "parts/miscdata"};

                a = bench_flash_file(before, kept[i], size);
                z = bench_flash_file(now, kept[i], size + 1);
                /* Its date and log fields are cleared when it is written; the loader says so. */
                if (!a || !z || memcmp(a, z, MIN(MIN(size[0], size[1]), (size_t) 0x2000)) != 0)
                        bad = say("%s was not put back", kept[i]);
        }
        return *bad ? bad : expect_boot_areas(now, b->pac, b->package);
}
