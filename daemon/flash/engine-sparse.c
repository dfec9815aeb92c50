/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "firmware/sparse.h"

/* Loaders expand sparse images on their way into a partition and notice an error where they meet it: too late. */

typedef struct Source {
        Engine *e;
        uint64_t offset; /* of the image within the package */
} Source;

static int read_package(void *userdata, void *data, size_t size, uint64_t offset) {
        Source *source = userdata;

        if (engine_cancelled(source->e))
                return -ECANCELED;
        return engine_copy(source->e, source->offset + offset, data, size);
}

bool engine_is_sparse(const Engine *e, const PlanStep *s) {
        uint64_t prefix;

        return s->op == PLAN_WRITE && s->partition[0] &&
               sparse_detect(e->input->package + s->offset, (size_t) MIN(s->size, (uint64_t) SPARSE_HEAD_SIZE),
                             &prefix);
}

static int check_one(Engine *e, const PlanStep *s, uint64_t room) {
        Source source = {.e = e, .offset = s->offset};
        PacReader reader = {.read = read_package, .userdata = &source, .size = s->size};
        Failure *f = e->failure;
        SparseInfo info;
        char text[sizeof(f->text)];
        int r = sparse_check(&reader, room, &info, f);

        if (r == 0) {
                engine_fact(e, "sparse", "%s is a sparse image of %llu bytes for %s%s", s->id,
                            (unsigned long long) info.expanded, s->partition, info.summed ? ", its CRC is right" : "");
                return 0;
        }
        if (r != 1 || e->text_complete)
                return r;
        snprintf(text, sizeof(text), "%.60s for %s: %.150s", s->id, s->partition, f->text);
        memcpy(f->text, text, sizeof(text));
        snprintf(f->partition, sizeof(f->partition), "%s", s->partition);
        e->text_complete = true;
        return 1;
}

int engine_check_sparse(Engine *e, const Table *live) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;
                int r;

                if (engine_other_storage(e, s) || !engine_is_sparse(e, s))
                        continue;
                r = check_one(e, s, engine_room(e->plan, live, s));
                if (r != 0)
                        return r;
        }
        return 0;
}
