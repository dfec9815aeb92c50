/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "flash/variant.h"

/* Questions and orders that not every loader knows. Each one that is refused as unknown may cost the loader one of three
 * buffers, and after the third it is mute for good (bsl-protocol §4.5). So at most two may be asked of a loader in one session of
 * its own that it turns out not to know, and what came out of them is remembered for all sessions with that loader. */

#define REFUSALS_MAX 2

static const char *const names[] = {
#define X(name) [Q_##name] = #name,
        QUESTIONS(X)
#undef X
};

/* A lone loader is the first one of its package. */
static unsigned index_of(const Engine *e, Loader which) {
        return which == LOADER_FIRST ? 0 : plan_last_loader(e->plan);
}

const char *engine_known(const Engine *e, Loader which, const char *trait) {
        unsigned i = index_of(e, which);

        return e->certain[i] ? traits_get(e->traits + i, trait) : NULL;
}

static void tell(Engine *e, unsigned i, const char *trait, const char *value) {
        if (e->certain[i] && e->plan->loader[i][0])
                engine_fact(e, "trait", "%s %s %s", e->plan->loader[i], trait, value);
}

void engine_learn(Engine *e, Loader which, const char *trait, const char *value) {
        unsigned i = index_of(e, which);

        if (traits_set(e->traits + i, trait, value))
                tell(e, i, trait, value);
}

static void trait_of(Question q, char ret[static 32]) {
        snprintf(ret, 32, "q:%s", names[q]);
}

/* -1 not known, 0 it does not know the question, 1 it does. Believed too where it is not certain that the plan's loader is the one that runs:
 * somebody has started it, and that was mostly we. */
int engine_answers(const Engine *e, Question q) {
        unsigned i = index_of(e, LOADER_LAST);
        const char *value;
        char trait[32];

        trait_of(q, trait);
        value = traits_get(e->traits + i, trait);
        if (!value)
                return -1;
        return !streq(value, "unknown");
}

bool engine_may_ask(const Engine *e, Question q) {
        int known = engine_answers(e, q);

        if (q == Q_ENABLE_WRITE_FLASH) /* asked only where it said that it wants to be told that */
                return known != 0;
        return known == 1 || (known < 0 && e->refusals < REFUSALS_MAX);
}

/* What is not needed leaves a loader room for the CONNECT of whoever meets it after a crash. */
bool engine_may_try(const Engine *e, Question q) {
        int known = engine_answers(e, q);

        return known == 1 || (known < 0 && e->refusals == 0);
}

/* A loader that runs already: CONNECT has cost it one, and what it was asked before nobody knows. Where it is one that was met in earlier jobs,
 * all that is worth asking is known. */
void engine_met_running(Engine *e) {
        e->refusals = e->traits[index_of(e, LOADER_LAST)].n > 0 ? REFUSALS_MAX : e->refusals + 1;
}

int engine_must_ask(Engine *e, Question q) {
        if (engine_may_ask(e, q))
                return 0;
        if (engine_answers(e, q) == 0)
                return engine_fail(e, CLASS_PLAN, "unsupported", "this loader does not know %s, as it has shown before; it was not asked again", names[q]);
        return engine_fail(e, CLASS_PLAN, "spent",
                           "this loader did not know %u questions and may not answer any more after another one, so %s was not sent", e->refusals, names[q]);
}

/* Answers that mean that the command is not known at all (FE, 82, 83). For a table and for what can be told of a chip any refusal does. */
static bool is_unknown(const Failure *f, Question q) {
        if (f->class != CLASS_REFUSED || f->reply < 0)
                return false;
        return f->reply == 0xfe || f->reply == 0x82 || f->reply == 0x83 || q == Q_READ_PARTITION || q == Q_READ_CHIP_UID || q == Q_READ_FLASH_UID || q == Q_DISABLE_TRANSCODE ||
               q == Q_ENABLE_WRITE_FLASH;
}

/* A loader that is locked says "unknown" to everything: only what one says that obeys is remembered. */
void engine_obeyed(Engine *e) {
        e->obeys = true;
        for (size_t i = 0; i < e->news.n; i++)
                tell(e, index_of(e, LOADER_LAST), e->news.list[i].trait, e->news.list[i].value);
        e->news.n = 0;
}

static void remember(Engine *e, Question q, const char *value) {
        char trait[32];

        trait_of(q, trait);
        if (!traits_set(e->traits + index_of(e, LOADER_LAST), trait, value))
                return;
        traits_set(&e->news, trait, value);
        if (e->obeys)
                engine_obeyed(e);
}

bool engine_did_not_know(Engine *e, Question q, int r) {
        if (r == 1 && is_unknown(e->failure, q) && !bsl_session_tainted(e->session)) {
                e->refusals++;
                if (q != Q_READ_START) /* without it nothing can be done with any unit: rather asked again */
                        remember(e, q, "unknown");
                return true;
        }
        if (r == 0 || (r == 1 && e->failure->class == CLASS_REFUSED && !is_unknown(e->failure, q))) {
                remember(e, q, "known");
                if (r == 0 && q != Q_DISABLE_TRANSCODE) /* the one that locked loaders know too */
                        engine_obeyed(e);
        }
        return false;
}

int engine_ext_table(Engine *e) {
        /* A loader that takes all partitions for raw would write calibration data without their twin and headers. */
        int r = engine_must_ask(e, Q_EXTTABLE);

        if (r == 0) {
                r = bsl_ext_table(e->session, e->plan->ext_table, e->plan->ext_table_size, e->failure);
                (void) engine_did_not_know(e, Q_EXTTABLE, r);
        }
        return r;
}

/* ---- variants ------------------------------------------------------------------------------------------- */

/* Where a file has variants: is there one of this key? NULL: yes, for all of them; else whose is missing. */
static const PlanStep *without_variant(const Engine *e, char first, const char *key) {
        const Plan *plan = e->plan;

        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                bool found = false;

                if (s->variant[0] != first)
                        continue;
                for (size_t k = 0; k < plan->n_steps; k++) {
                        const PlanStep *t = plan->steps + k;
                        found = found || (t->op == s->op && streq(t->id, s->id) && streq(t->variant, key));
                }
                if (!found)
                        return s;
        }
        return NULL;
}

/* eMMC and UFS loaders register READ_FLASH_INFO and never answer it. */
static int check_nand(Engine *e) {
        bool said = e->info.present && e->info.storage != 0;

        if (said ? e->info.storage == BSL_STORAGE_NAND : e->plan->nand_loader)
                return 0;
        return engine_fail(e, CLASS_MISMATCH, "variant",
                           said ? "the package has images for different NAND chips, and the unit has no NAND"
                                : "the package has images for different NAND chips, and the loader does not say that the unit "
                                  "has NAND");
}

int engine_flash_info(Engine *e) {
        const PlanStep *missing;
        uint32_t info[3], block, page;
        int r = check_nand(e);

        if (r == 0)
                r = bsl_read_flash_info(e->session, info, e->failure);
        if (r != 0)
                return r;
        block = MAX(info[1], info[2]);
        page = MIN(info[1], info[2]);
        if (info[0] != 0 || page == 0 || block == page)
                return engine_fail(e, CLASS_MISMATCH, "variant",
                                   "what the loader says of its flash cannot be used (flag 0x%x, sizes %u and %u)", info[0], info[1],
                                   info[2]);
        variant_flash_key(block, page, e->flash_key);
        engine_fact(e, "flash-geometry", "%s", e->flash_key + 1);
        missing = without_variant(e, '_', e->flash_key);
        if (missing)
                return engine_fail(e, CLASS_MISMATCH, "variant",
                                   "the unit's flash has blocks of %u and pages of %u bytes, and the package has no %s for that "
                                   "(%s)",
                                   block, page, missing->id, e->flash_key);
        return 0;
}

int engine_rf_type(Engine *e) {
        const PlanStep *missing;
        uint32_t id = 0;
        int r = engine_must_ask(e, Q_READ_RF_TYPE);

        if (r == 0) {
                r = bsl_read_rf_type(e->session, &id, e->failure);
                (void) engine_did_not_know(e, Q_READ_RF_TYPE, r);
        }
        if (r != 0)
                return r;
        for (size_t i = 0; i < e->plan->n_rf_chips; i++)
                if (e->plan->rf_chips[i].id == id)
                        snprintf(e->rf_key, sizeof(e->rf_key), "rf:%s", e->plan->rf_chips[i].name);
        if (!e->rf_key[0])
                return engine_fail(e, CLASS_MISMATCH, "variant",
                                   "the unit has the radio chip 0x%x, which the package does not know", id);
        engine_fact(e, "rf-chip", "%s", e->rf_key + 3);
        missing = without_variant(e, 'r', e->rf_key);
        if (missing)
                return engine_fail(e, CLASS_MISMATCH, "variant", "the unit has the radio chip %s, and the package has no %s for it",
                                   e->rf_key + 3, missing->id);
        return 0;
}

/* ---- into miscdata -------------------------------------------------------------------------------------- */

static bool may_order(Engine *e, Question q, const char *what) {
        if (engine_may_ask(e, q))
                return true;
        if (engine_answers(e, q) == 0)
                engine_fact(e, "note", "%s not written: this loader does not know how", what);
        else
                engine_fact(e, "note", "%s not written: the loader refused %u questions before, one more could be its last", what, e->refusals);
        return false;
}

/* "Unknown" leaves the step out; anything else is an answer to it. */
static int leave_out(Engine *e, Question q, int r, const char *what) {
        int reply = e->failure->reply;

        if (!engine_did_not_know(e, q, r)) {
                if (r == 0)
                        e->report->wrote = true;
                return r;
        }
        engine_fact(e, "note", "%s not written: this loader does not know how (answer 0x%02x)", what, (unsigned) reply & 0xff);
        engine_forget(e);
        return 0;
}

int engine_time_stamp(Engine *e) {
        if (!may_order(e, Q_SET_TIME_STAMP, "time stamp"))
                return 0;
        return leave_out(e, Q_SET_TIME_STAMP, bsl_set_time_stamp(e->session, e->input->now_s, e->failure), "time stamp");
}

/* As the vendor's tool: when the file of the package was last changed, in 100 ns since 1601. */
int engine_apr(Engine *e) {
        int64_t since_1970 = MAX(e->input->package_time_s, (int64_t) 0);
        uint8_t info[8];

        if (!may_order(e, Q_WRITE_APR_INFO, "build time of the package (APR)"))
                return 0;
        put_le64(info, ((uint64_t) since_1970 + 11644473600ULL) * 10000000ULL);
        return leave_out(e, Q_WRITE_APR_INFO, bsl_write_apr_info(e->session, info, sizeof(info), e->failure), "build time of the package (APR)");
}
