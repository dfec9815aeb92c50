/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "flash/variant.h"

/* Questions and orders that not every loader knows. Each one that is refused as unknown may cost the loader one of three
 * buffers, and after the third it is mute for good (bsl-protocol §4.5): what can be left out is never what takes the last. */

#define REFUSALS_MAX 2

/* A lone loader is the first one of its package. */
static unsigned index_of(const Engine *e, Loader which) {
        return which == LOADER_FIRST || e->plan->single_loader ? 0 : 1;
}

const char *engine_known(const Engine *e, Loader which, const char *trait) {
        unsigned i = index_of(e, which);

        return e->certain[i] ? traits_get(e->traits + i, trait) : NULL;
}

void engine_learn(Engine *e, Loader which, const char *trait, const char *value) {
        unsigned i = index_of(e, which);

        if (e->certain[i] && e->plan->loader[i][0] && traits_set(e->traits + i, trait, value))
                engine_fact(e, "trait", "%s %s %s", e->plan->loader[i], trait, value);
}

int engine_ext_table(Engine *e) {
        /* A loader that takes all partitions for raw would write calibration data without their twin and headers. */
        return bsl_ext_table(e->session, e->plan->ext_table, e->plan->ext_table_size, e->failure);
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
        uint32_t id;
        int r = bsl_read_rf_type(e->session, &id, e->failure);

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

static bool may_order(Engine *e, const char *what) {
        if (e->refusals < REFUSALS_MAX)
                return true;
        engine_fact(e, "note", "%s not written: the loader refused %u questions before, one more could be its last", what,
                    e->refusals);
        return false;
}

/* "Unknown" leaves the step out; anything else is an answer to it. */
static int leave_out(Engine *e, int r, const char *what) {
        const Failure *f = e->failure;

        if (r != 1 || f->class != CLASS_REFUSED || (f->reply != 0xfe && f->reply != 0x82 && f->reply != 0x83)) {
                if (r == 0)
                        e->report->wrote = true;
                return r;
        }
        engine_fact(e, "note", "%s not written: this loader does not know how (answer 0x%02x)", what, (unsigned) f->reply & 0xff);
        engine_forget(e);
        e->refusals++;
        return 0;
}

int engine_time_stamp(Engine *e) {
        if (!may_order(e, "time stamp"))
                return 0;
        return leave_out(e, bsl_set_time_stamp(e->session, e->input->now_s, e->failure), "time stamp");
}

/* As the vendor's tool: when the file of the package was last changed, in 100 ns since 1601. */
int engine_apr(Engine *e) {
        int64_t since_1970 = MAX(e->input->package_time_s, (int64_t) 0);
        uint8_t info[8];

        if (!may_order(e, "build time of the package (APR)"))
                return 0;
        put_le64(info, ((uint64_t) since_1970 + 11644473600ULL) * 10000000ULL);
        return leave_out(e, bsl_write_apr_info(e->session, info, sizeof(info), e->failure), "build time of the package (APR)");
}
