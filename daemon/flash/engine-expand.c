/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include "firmware/sparse.h"

/* Sparse images that go to the device expanded: loaders write plain data of large partitions faster than they expand them
 * (bsl-protocol §9.4). What such an image leaves out is sent as zeros. */

typedef struct Expand {
        Engine *e;
        const PlanStep *s;
        uint64_t total, at;  /* bytes of the partition: in all, put into the buffer or sent */
        uint32_t block;
        size_t fill;         /* in the buffer */
} Expand;

bool plan_expands(const PlanOptions *options, const char *partition) {
        switch (options->sparse) {
        case SPARSE_EXPAND:
                return true;
        case SPARSE_AS_IS:
                return false;
        default:
                return streq(partition, "super");
        }
}

static int read_image(void *userdata, void *data, size_t size, uint64_t offset) {
        const Expand *x = userdata;

        return engine_copy(x->e, x->s->offset + offset, data, size);
}

static PacReader reader_of(Expand *x) {
        return (PacReader) {.read = read_image, .userdata = x, .size = x->s->size};
}

/* A signed image loses its signature when it is expanded. */
static bool is_signed(const Engine *e, const PlanStep *s) {
        uint64_t prefix = 0;

        return sparse_detect(e->input->package + s->offset, (size_t) MIN(s->size, (uint64_t) SPARSE_HEAD_SIZE), &prefix) && prefix > 0;
}

bool engine_expands(const Engine *e, const PlanStep *s) {
        return engine_is_sparse(e, s) && plan_expands(&e->plan->options, s->partition) && !is_signed(e, s);
}

int engine_expanded_size(Engine *e, const PlanStep *s, uint64_t *ret) {
        Expand x = {.e = e, .s = s};
        PacReader reader = reader_of(&x);
        SparseInfo info;
        int r = sparse_check(&reader, U64_UNKNOWN, &info, e->failure);

        if (r == 0)
                *ret = info.expanded;
        return r;
}

static int flush(Expand *x) {
        Engine *e = x->e;
        bool last = x->at == x->total;
        int r;

        if (x->fill == 0)
                return 0;
        e->offset = x->at - x->fill;
        if (last)
                engine_enter_stage(e, STAGE_CHECKING);
        r = bsl_midst(e->session, e->block, x->fill, last, e->failure);
        if (r != 0)
                return r;
        if (last)
                engine_enter_stage(e, x->s->stage);
        x->fill = 0;
        engine_progress(e, (uint64_t) ((double) x->s->size * ((double) x->at / (double) x->total)));
        return 0;
}

/* Bytes of the image from `source`, or a word again and again. */
static int put(Expand *x, uint64_t size, uint64_t source, uint32_t word) {
        for (uint64_t from = 0; from < size;) {
                size_t n = (size_t) MIN(size - from, (uint64_t) (x->block - x->fill));
                uint8_t *to = x->e->block + x->fill;
                int r = 0;

                if (source != U64_UNKNOWN)
                        r = read_image(x, to, n, source + from);
                else
                        for (size_t i = 0; i < n; i++)
                                to[i] = (uint8_t) (word >> 8 * ((from + i) % 4));
                if (r != 0)
                        return r;
                x->fill += n;
                x->at += n;
                from += n;
                if (x->fill == x->block || x->at == x->total)
                        r = flush(x);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int put_chunk(void *userdata, uint64_t at, uint64_t size, uint64_t source, uint32_t fill) {
        Expand *x = userdata;
        int r = at > x->at ? put(x, at - x->at, U64_UNKNOWN, 0) : 0;

        return r == 0 ? put(x, size, source, fill) : r;
}

int engine_send_expanded(Engine *e, const PlanStep *s, uint64_t total, uint32_t block) {
        Expand x = {.e = e, .s = s, .total = total, .block = block};
        PacReader reader = reader_of(&x);
        int r = sparse_data(&reader, put_chunk, &x);

        return r == 0 && x.at < total ? put(&x, total - x.at, U64_UNKNOWN, 0) : r;
}
