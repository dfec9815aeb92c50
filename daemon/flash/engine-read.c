/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include "firmware/nv.h"

/* Reading out of flash: what must survive is read twice before anything may destroy it. */

uint32_t engine_read_block(const Engine *e, const PlanStep *s) {
        return s->partition[0] && !bsl_session_transcoding(e->session) ? ENGINE_BLOCK_UNESCAPED : s->block;
}

static int read_part(Engine *e, const PlanStep *s, uint64_t at, uint8_t *data, size_t n, bool allow_short,
                     size_t *ret) {
        if (!s->partition[0])
                return bsl_read_flash(e->session, (uint32_t) s->address, (uint32_t) at, data, n, allow_short, ret,
                                      e->failure);
        *ret = n;
        return bsl_read_midst(e->session, at, data, n, e->failure);
}

int engine_read_part(Engine *e, const PlanStep *s, uint64_t at, uint8_t *data, size_t n) {
        size_t got;

        return read_part(e, s, at, data, n, false, &got);
}

/* Where a reading goes: into memory, or against what was read before. */
typedef struct Sink {
        uint8_t *data;
        const EngineImage *before; /* not NULL: only compared, no second copy of the whole is held */
        bool differs;
} Sink;

static uint8_t *sink_room(Engine *e, const Sink *sink, size_t at) {
        return sink->before ? e->block : sink->data + at;
}

static void sink_take(Engine *e, Sink *sink, size_t at, size_t n) {
        const EngineImage *before = sink->before;

        if (before && (at > before->size || n > before->size - at || memcmp(before->data + at, e->block, n) != 0))
                sink->differs = true;
}

static int read_parts(Engine *e, const PlanStep *s, Sink *sink, size_t size, bool allow_short, uint64_t progress,
                      size_t *ret) {
        uint32_t block = engine_read_block(e, s);
        size_t at = 0;

        while (at < size) {
                size_t n = MIN(size - at, block), got = 0;
                int r;

                if (engine_cancel_safe(e->plan, e->step) && engine_cancelled(e))
                        return -ECANCELED;
                e->offset = at;
                r = read_part(e, s, at, sink_room(e, sink, at), n, allow_short, &got);
                if (r != 0)
                        return r;
                got = MIN(got, n);
                sink_take(e, sink, at, got);
                at += got;
                engine_progress(e, progress + at);
                if (got < n)
                        break;
        }
        *ret = at;
        return 0;
}

static int read_into(Engine *e, Sink *sink, size_t size, bool allow_short, uint64_t progress, size_t *ret_size) {
        const PlanStep *s = engine_step(e);
        int r;

        if (s->partition[0]) {
                r = bsl_read_start(e->session, s->partition, size, e->failure);
                if (r != 0)
                        return r;
        }
        r = read_parts(e, s, sink, size, allow_short, progress, ret_size);
        if (r == 0 && s->partition[0])
                r = bsl_read_end(e->session, e->failure);
        return r;
}

int engine_read(Engine *e, uint8_t *data, size_t size, bool allow_short, uint64_t progress, size_t *ret_size) {
        Sink sink = {.data = data};

        return read_into(e, &sink, size, allow_short, progress, ret_size);
}

bool engine_holds_nv(const Plan *plan, unsigned step) {
        for (size_t i = step + 1; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_WRITE_NV && plan->steps[i].backup == (int) step)
                        return true;
        return false;
}

static int read_twice(Engine *e, EngineImage *image, bool nv) {
        const PlanStep *s = engine_step(e);
        Sink again = {.before = image};
        size_t n = 0;
        int r;

        image->data = malloc(s->size);
        if (!image->data)
                return -ENOMEM;
        r = engine_read(e, image->data, s->size, nv, 0, &image->size);
        if (r == 0)
                r = read_into(e, &again, s->size, nv, s->size, &n);
        if (r != 0)
                return r;
        e->offset = U64_UNKNOWN;
        if (n != image->size || again.differs)
                return engine_fail(
                        e, CLASS_MISMATCH, "backup",
                        "%s was read twice and the two readings differ: what would be put back later could be "
                        "wrong, so nothing was changed",
                        engine_subject(s));
        return 0;
}

static int check_nv_image(Engine *e, const EngineImage *image) {
        const PlanStep *s = engine_step(e);
        int r;

        e->text_complete = true;
        r = nv_check(image->data, image->size, "the device", e->failure);
        if (r == 0 && s->checks_calibration)
                r = nv_check_calibrated(image->data, image->size, e->plan->check_cali, e->plan->nv_items,
                                        e->plan->n_nv_items, e->failure);
        e->text_complete = r == 1;
        return r;
}

/* Gives the image away: what is merged with it has been made by now. */
static int store_backup(Engine *e, EngineImage *image) {
        const PlanStep *s = engine_step(e);
        size_t size = image->size;
        int r;

        if (!e->hooks->backup)
                return 0;
        r = e->hooks->backup(e->hooks->userdata, e->step, engine_subject(s), TAKE_PTR(image->data), size);
        if (r >= 0 || r == -ECANCELED)
                return MIN(r, 0);
        e->text_complete = true;
        failure_set_errno(e->failure, r, "the backup of %s could not be stored on disk (%s); nothing was changed",
                          engine_subject(s), strerror(-r));
        if (r == -ETIMEDOUT)
                snprintf(e->failure->detail, sizeof(e->failure->detail), "no-go");
        return 1;
}

static void drop_image(EngineImage *image) {
        free(image->data);
        *image = (EngineImage) {};
}

int engine_backup(Engine *e) {
        EngineImage *image = e->images + e->step;
        bool nv = engine_holds_nv(e->plan, e->step);
        int r;

        r = read_twice(e, image, nv);
        if (r == 0 && image->size == 0)
                r = engine_fail(e, CLASS_MISMATCH, "backup", "the device gave no data for %s",
                                engine_subject(engine_step(e)));
        if (r == 0 && nv)
                r = check_nv_image(e, image);
        if (r == 0 && nv)
                r = engine_prepare_nv(e, (int) e->step);
        if (r == 0)
                r = store_backup(e, image);
        drop_image(image);
        return r;
}
