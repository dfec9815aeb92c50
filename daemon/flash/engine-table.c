/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "bsl/codes.h"

/* The device's partition table: where it comes from, and whether it and the files of the package are made for each other. */

#define PROBE_STEP (1024u * 1024)
#define PROBE_EXACT 4096u
#define PROBE_MAX (64ull << 30)
#define PROBE_BOOT_MAX (64ull << 20)

/* ---- where it comes from -------------------------------------------------------------------------------------- */

static void not_proven(Engine *e, const char *why) {
        engine_fact(e, "table", "not proven: %s", why);
        engine_fact(e, "note", "partition table not proven: %s", why);
}

static bool is_nand(const Engine *e) {
        return e->info.present && e->info.storage == BSL_STORAGE_NAND;
}

/* A device that was asked for something it does not have: no harm done. */
static bool passed_over(Engine *e, int r) {
        if (r != 1 || e->failure->class != CLASS_REFUSED || e->failure->reply < 0 || bsl_session_tainted(e->session))
                return false;
        engine_forget(e);
        return true;
}

/* A question that is refused costs one of few buffers, so it is not put to loaders that are known not to answer it. */
static int ask_loader(Engine *e, Table *ret, char why[static 80]) {
        _cleanup_free_ BslPartition *live = NULL;
        size_t n = 0;
        int r, reply;

        if (is_nand(e) || e->old || !engine_may_ask(e, Q_READ_PARTITION)) {
                snprintf(why, 80, "%s", is_nand(e) ? "loaders of NAND units have no table to show"
                                        : e->old   ? "this loader is too old to show it"
                                                   : "this loader cannot show it");
                return 0;
        }
        r = bsl_read_partitions(e->session, &live, &n, e->failure);
        reply = e->failure->reply;
        (void) engine_did_not_know(e, Q_READ_PARTITION, r);
        if (passed_over(e, r)) {
                snprintf(why, 80, "this loader cannot show it (answer 0x%02x)", (unsigned) reply & 0xff);
                return 0;
        }
        if (r != 0)
                return r;
        e->knows_table = true;
        return table_from_partitions(e->plan, live, n, e->info.present && e->info.storage == BSL_STORAGE_UFS, ret);
}

int engine_read_gpt(Engine *e, Table *ret) {
        _cleanup_free_ uint8_t *head = malloc(GPT_HEAD_SIZE);
        int r;

        if (!head)
                return -ENOMEM;
        if (is_nand(e))
                return 0;
        if (!engine_may_ask(e, Q_READ_START))
                return 0;
        r = engine_read_name(e, "user_partition", head, GPT_HEAD_SIZE);
        if (engine_did_not_know(e, Q_READ_START, r))
                e->read_unknown = *e->failure;
        if (passed_over(e, r))
                return 0;
        if (r != 0)
                return r;
        r = table_from_gpt(head, GPT_HEAD_SIZE, ret);
        if (r == 0)
                trace_gpt(e->input->trace, ret);
        return r == -EBADMSG ? 0 : r;
}

/* True if the device has a partition of that name that holds `size` bytes. NAND loaders refuse what is larger; others notice only when
 * they read. *ret_reply: what READ_START was refused with, 0 nothing. */
static int holds(Engine *e, const char *name, uint64_t size, bool *ret, int *ret_reply) {
        uint8_t end[16];
        int r, reply;

        *ret = false;
        r = bsl_read_start(e->session, name, size, e->failure);
        reply = e->failure->reply;
        if (passed_over(e, r)) {
                if (ret_reply)
                        *ret_reply = reply;
                return 0;
        }
        if (r == 0 && !is_nand(e) && size >= sizeof(end)) {
                r = bsl_read_midst(e->session, size - sizeof(end), end, sizeof(end), e->failure);
                if (passed_over(e, r))
                        return bsl_read_end(e->session, e->failure);
        }
        if (r != 0)
                return r;
        *ret = true;
        return bsl_read_end(e->session, e->failure);
}

static const PacPartition *find_planned(const Plan *plan, const char *name) {
        for (size_t i = 0; i < plan->n_partitions; i++)
                if (streq(plan->partitions[i].name, name))
                        return plan->partitions + i;
        return NULL;
}

int engine_holds(Engine *e, const char *name, uint64_t size, bool *ret) {
        return holds(e, name, size, ret, NULL);
}

static bool keeps_header(const char *name) {
        return strstr(name, "fixnv") || strstr(name, "runtimenv");
}

/* Halves: the largest multiple of `step` between *low, which is held, and `high`, which is not. */
static int narrow(Engine *e, const char *name, uint64_t own, uint64_t step, uint64_t *low, uint64_t high) {
        while (*low + step < high) {
                uint64_t middle = *low + (high - *low) / 2 / step * step;
                bool yes;
                int r = holds(e, name, middle - own, &yes, NULL);

                if (r != 0)
                        return r;
                if (yes)
                        *low = middle;
                else
                        high = middle;
        }
        return 0;
}

static int probe_expected(Engine *e, const char *name, uint64_t expected, uint64_t own, uint64_t *ret) {
        bool yes;
        int r;

        if (expected == U64_UNKNOWN || expected < PROBE_STEP || expected % PROBE_STEP != 0)
                return 0;
        r = holds(e, name, expected - own, &yes, NULL);
        if (r == 0 && yes) {
                r = holds(e, name, expected + PROBE_STEP - own, &yes, NULL);
                if (r == 0 && !yes)
                        *ret = expected;
        }
        return r;
}

/* Loaders refuse to read calibration of which no copy is good, and product data without a file system, with the word for "failed". It
 * says that there is such a partition only if the word for an unknown name is another one. */
static int refused_but_there(Engine *e, const char *name, int reply, bool *ret) {
        bool yes;
        int r, unknown = 0;

        *ret = false;
        if ((reply != BSL_REP_OPERATION_FAILED && reply != 0xd2) || (!keeps_header(name) && !streq(name, "prodnv")))
                return 0;
        r = holds(e, "no-such-name", 16, &yes, &unknown);
        *ret = r == 0 && !yes && unknown != reply;
        return r;
}

/* The second copy is a partition like any other to the loader, and as large as the first. */
static bool twin_of(const char *name, char ret[static 37]) {
        char *one;

        snprintf(ret, 37, "%s", name);
        one = strstr(ret, "nv1");
        if (one)
                one[2] = '2';
        return one;
}

/* The size of one partition, in mebibytes, or to the block where nobody knows what to expect; 0 it is not there. What the loader keeps to
 * itself of NV counts as part of it. */
static int probe_size(Engine *e, const char *name, uint64_t expected, uint64_t most, uint64_t *ret) {
        uint64_t own = keeps_header(name) ? 512 : 0, size = 0;
        char twin[37];
        int r, reply = 0;
        bool yes;

        *ret = 0;
        r = holds(e, name, 16, &yes, &reply);
        if (r == 0 && !yes) {
                bool there;

                r = refused_but_there(e, name, reply, &there);
                if (r != 0 || !there)
                        return r;
                if (twin_of(name, twin))
                        return probe_size(e, twin, expected, most, ret);
                engine_fact(e, "note", "%s cannot be read; its size is taken to be that of the package", name);
                *ret = expected;
                return 0;
        }
        if (r == 0)
                r = probe_expected(e, name, expected, own, &size);
        if (r == 0 && size == 0) {
                r = narrow(e, name, own, PROBE_STEP, &size, most);
                if (r == 0 && (expected == U64_UNKNOWN || size == 0))
                        r = narrow(e, name, own, PROBE_EXACT, &size, size + PROBE_STEP);
        }
        *ret = size;
        return r;
}

/* Old loaders know offsets of 32 bits only, so boot areas are not looked for farther than any is large. */
int engine_probe_size(Engine *e, const char *name, uint64_t *ret) {
        const PacPartition *p = find_planned(e->plan, name);
        uint64_t bytes = U64_UNKNOWN;

        if (p && p->size != U64_UNKNOWN && __builtin_mul_overflow(p->size, pac_partition_unit(e->plan->partition_unit), &bytes))
                bytes = U64_UNKNOWN;
        return probe_size(e, name, bytes, table_is_outside(name) || streq(name, "uboot") ? PROBE_BOOT_MAX : PROBE_MAX, ret);
}

/* The last way: every name of the package. What only the device has is not found like this. */
static int probe_names(Engine *e, Table *ret) {
        _cleanup_(table_clear) Table want = {};
        int r = table_from_plan(e->plan, 0, &want);
        size_t n = 0;

        if (r < 0)
                return r;
        *ret = (Table) {.entries = calloc(MAX(want.n, (size_t) 1), sizeof(TableEntry)), .unit = PROBE_STEP, .source = "asking by name"};
        if (!ret->entries)
                return -ENOMEM;
        for (size_t i = 0; i < want.n; i++) {
                uint64_t size;

                if (engine_cancelled(e))
                        return -ECANCELED;
                r = probe_size(e, want.entries[i].name, want.entries[i].size, PROBE_MAX, &size);
                if (r != 0)
                        return r;
                if (size == 0)
                        continue;
                memcpy(ret->entries[n].name, want.entries[i].name, sizeof(want.entries[i].name));
                ret->entries[n].start = U64_UNKNOWN;
                ret->entries[n++].size = size;
        }
        ret->n = n;
        return 0;
}

static int compare(Engine *e, const Table *live, Differences *d) {
        _cleanup_(table_clear) Table want = {};
        bool gaps = false;
        int r = table_from_plan(e->plan, live->sector, &want);

        if (r < 0)
                return r;
        for (size_t i = 0; i < e->plan->n_partitions; i++)
                gaps = gaps || e->plan->partitions[i].gap > 0;
        table_compare(&want, live, gaps, d);
        return 0;
}

/* Nothing but the table is wanted of this job. */
static bool wants_names(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].stage > STAGE_IDENTIFY && plan->steps[i].stage != STAGE_FINISH)
                        return false;
        return plan->chosen && plan->n_partitions > 0;
}

/* A GPT is asked where the loader does not tell, or tells something else than the package: its sizes are in bytes and it has places. */
int engine_live_table(Engine *e, Table *ret) {
        _cleanup_(table_clear) Table gpt = {};
        Differences d = {};
        char why[80] = "";
        int r = ask_loader(e, ret, why);

        if (r == 0 && ret->entries && !e->plan->chosen)
                r = compare(e, ret, &d);
        if (r == 0 && (!ret->entries || d.n > 0))
                r = engine_read_gpt(e, &gpt);
        if (r == 0 && gpt.entries) {
                table_clear(ret);
                *ret = gpt;
                gpt = (Table) {};
        }
        if (r == 0 && !ret->entries && (e->plan->options.repartition || wants_names(e->plan)))
                r = probe_names(e, ret);
        if (r == 0 && !ret->entries)
                not_proven(e, why);
        return r;
}

/* ---- the files ------------------------------------------------------------------------------------------------ */

/* Calibration data of slotted and plain names are found by the loader under either. */
static const TableEntry *find_target(const Table *live, const PlanStep *s) {
        const TableEntry *l = live ? table_find(live, s->partition) : NULL;
        char slotted[48];

        if (l || !live)
                return l;
        snprintf(slotted, sizeof(slotted), "%s_a", s->partition);
        return table_find(live, slotted);
}

uint64_t engine_room(const Plan *plan, const Table *live, const PlanStep *s) {
        const TableEntry *l = find_target(live, s);
        const PacPartition *p = find_planned(plan, s->partition);
        uint64_t bytes;

        if (l)
                return l->size;
        if (!p || p->size == U64_UNKNOWN || __builtin_mul_overflow(p->size, pac_partition_unit(plan->partition_unit), &bytes))
                return U64_UNKNOWN;
        return bytes;
}

static void compare_files(const Engine *e, const Table *live, Differences *d) {
        const Plan *plan = e->plan;

        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                const TableEntry *l;
                char a[32], b[32];

                if (!s->partition[0] || table_is_outside(s->partition) || (s->op != PLAN_WRITE && s->op != PLAN_WRITE_NV))
                        continue;
                l = find_target(live, s);
                if (!l && streq(s->partition, "uboot"))
                        continue; /* without a partition of that name it lies in a boot area */
                if (!l && !find_planned(plan, s->partition))
                        differ(d, "%s, which the package writes, is not on the device", s->partition);
                else if (l && l->size != U64_UNKNOWN && s->size > l->size && !engine_is_sparse(e, s))
                        differ(d, "the file for %s has %s, the partition %s", s->partition,
                               table_human(s->size, a, sizeof(a)), table_human(l->size, b, sizeof(b)));
        }
}

static int refuse(Engine *e, const char *what, const Differences *d, const char *then) {
        char more[32];

        differences_more(d, more);
        engine_fact(e, "table", "differs: %s%s", d->text, more);
        return engine_fail(e, CLASS_MISMATCH, "table", "the partition table differs from %s: %.130s%s%s%s", what, d->text,
                           strlen(d->text) > 130 ? " …" : "", more, then);
}

/* The table will be the package's: its own files must fit it. */
static int check_planned(Engine *e) {
        _cleanup_(table_clear) Table want = {};
        Differences d = {};
        int r = table_from_plan(e->plan, e->live.sector, &want);

        if (r < 0)
                return r;
        compare_files(e, &want, &d);
        return d.n > 0 ? refuse(e, "what the package's own files need", &d, "") : 0;
}

int engine_check_table(Engine *e, const Table *live) {
        Differences d = {};
        char more[32];
        int r = e->plan->options.choice.table_check == CHOICE_NO && !e->plan->options.repartition ? 0 : compare(e, live, &d);

        if (r < 0)
                return r;
        if (d.n == 0 && engine_will_erase_all(e))
                differ(&d, "all of the flash is erased first");
        if (d.n > 0 && e->plan->options.repartition) {
                e->table_differs = true;
                snprintf(e->differences, sizeof(e->differences), "%s%s", d.text, differences_more(&d, more));
                engine_fact(e, "table", "differs: %s", e->differences);
                return check_planned(e);
        }
        compare_files(e, live, &d);
        if (d.n > 0)
                return refuse(e, "the package", &d,
                              e->n_saved > 0 ? "; an earlier job began to change it: retry that one" : "");
        if (e->plan->options.choice.table_check == CHOICE_NO)
                engine_fact(e, "table", "not compared with the package's, as chosen");
        else
                engine_fact(e, "table", "%zu partitions as in the package", e->plan->n_partitions);
        return 0;
}

int engine_check_picked(Engine *e, const Table *live) {
        Differences d = {};
        char more[32];
        int r;

        if (!live || e->plan->n_partitions == 0)
                return 0;
        r = compare(e, live, &d);
        if (r < 0 || d.n == 0)
                return r;
        differences_more(&d, more);
        return engine_fail(e, CLASS_MISMATCH, "loaders",
                           "nobody named the loaders, and the partition table is not that of the package that they were taken from: %.110s%s%s; nothing "
                           "was written", d.text, strlen(d.text) > 110 ? " …" : "", more);
}
