/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "flash/patience.h"

/* How long the last loader needed for what takes it long, in a job that ended well: what was slow once may be slower the next time. */

void engine_measure(Engine *e) {
        BslSlowest took = bsl_session_take_slowest(e->session);

        if (e->runs != RUNS_LAST)
                return;
        /* What is allowed for the size of an image is no patience. */
        took.midst_last -= MIN(took.midst_last, e->size_ms);
        e->size_ms = 0;
#define X(field, key) e->slowest.field = MAX(e->slowest.field, took.field);
        BSL_WAITS(X)
#undef X
}

static void learn(Engine *e, const char *wait, uint32_t needed, uint32_t limit) {
        const LoaderTraits *known = e->traits + plan_last_loader(e->plan);
        char trait[32], value[16];

        if (needed < PATIENCE_LEAST_MS || (uint64_t) needed * PATIENCE_FACTOR <= limit || needed <= patience_needed(known, wait))
                return;
        patience_trait(wait, trait);
        snprintf(value, sizeof(value), "%u", needed);
        engine_learn(e, LOADER_LAST, trait, value);
}

void engine_tell_slowest(Engine *e) {
#define X(field, key) learn(e, #field, e->slowest.field, e->deadlines.field);
        BSL_WAITS(X)
#undef X
}
