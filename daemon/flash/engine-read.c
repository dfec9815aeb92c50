/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-spool.h"

#include "firmware/nv.h"

/* Reading out of flash: what must survive is read twice before anything may destroy it. */

/* Of what may be shorter than expected: loaders are asked for even sizes only; something less than that is nothing. */
#define SMALLEST_READ 2U
#define LEAST_THERE 64U

uint32_t engine_read_block(const Engine *e, const PlanStep *s) {
        return s->partition[0] && !bsl_session_transcoding(e->session) ? engine_block_unescaped(e) : s->block;
}

static int view_part(Engine *e, const PlanStep *s, uint64_t at, size_t n, bool allow_short, const uint8_t **ret, size_t *ret_size) {
        if (!s->partition[0])
                return bsl_view_flash(e->session, (uint32_t) s->address, (uint32_t) at, n, allow_short, ret, ret_size, e->failure);
        *ret_size = n;
        return bsl_view_midst(e->session, at, n, ret, e->failure);
}

int engine_view_part(Engine *e, const PlanStep *s, uint64_t at, size_t n, const uint8_t **ret) {
        size_t got;

        return view_part(e, s, at, n, false, ret, &got);
}

int engine_read_part(Engine *e, const PlanStep *s, uint64_t at, uint8_t *data, size_t n) {
        const uint8_t *came;
        int r = engine_view_part(e, s, at, n, &came);

        if (r == 0)
                memcpy(data, came, n);
        return r;
}

/* Where a reading goes: into memory or a file, or against what was read before. */
typedef struct Sink {
        uint8_t *data;
        const EngineImage *before; /* not NULL: only compared, no second copy of the whole is held */
        EngineSpool *spool;        /* instead of the two */
        bool again;                /* compared with what is in spool */
        const EngineImage *nv;     /* instead of all: only compared, and not its first bytes */
        size_t first;              /* the first byte that differs from that, if differs */
        bool differs;
} Sink;

static bool same_as_before(const EngineImage *before, size_t at, const uint8_t *data, size_t n) {
        return at <= before->size && n <= before->size - at && memcmp(before->data + at, data, n) == 0;
}

/* Where the first difference is, MIN(n, what there is) none, or -errno. */
static ssize_t first_difference(const EngineImage *image, size_t at, const uint8_t *data, size_t n) {
        uint8_t piece[4096];
        size_t i = MIN(at < 4 ? 4 - at : 0, n);

        n = MIN(n, image->size - MIN(at, image->size));
        while (i < n) {
                size_t k = MIN(n - i, sizeof(piece)), j = 0;
                const uint8_t *want = image->kept ? piece : image->data + at + i;
                int r = image->kept ? engine_spool_get(image->kept, at + i, piece, k) : 0;

                if (r < 0)
                        return r;
                if (memcmp(want, data + i, k) == 0) {
                        i += k;
                        continue;
                }
                while (want[j] == data[i + j])
                        j++;
                return (ssize_t) (i + j);
        }
        return (ssize_t) n;
}

/* Loaders put sums of their own into the first bytes of calibration data. */
static int nv_take(Sink *sink, size_t at, const uint8_t *data, size_t n) {
        ssize_t same;

        if (sink->differs)
                return 0;
        same = first_difference(sink->nv, at, data, n);
        if (same < 0)
                return (int) same;
        sink->differs = (size_t) same < n;
        sink->first = at + (size_t) same;
        return 0;
}

/* What could not be kept on our side. */
static int spool_failed(Engine *e, int r) {
        e->text_complete = true;
        return failure_set_errno(e->failure, r, "what was read of %s could not be kept on disk (%s); nothing was changed",
                                 engine_subject(engine_step(e)), strerror(-r));
}

static int sink_take(Engine *e, Sink *sink, size_t at, const uint8_t *data, size_t n) {
        int r = 1;

        if (sink->nv) {
                r = nv_take(sink, at, data, n);
                return r < 0 ? spool_failed(e, r) : 0;
        }
        if (sink->spool)
                r = sink->again ? engine_spool_same(sink->spool, at, data, n) : engine_spool_put(sink->spool, data, n) ?: 1;
        else if (sink->before)
                r = same_as_before(sink->before, at, data, n);
        else
                memcpy(sink->data + at, data, n);
        if (r == 0) {
                trace_differs(e->input->trace, at);
                sink->differs = true;
        }
        return r < 0 ? spool_failed(e, r) : 0;
}

/* Loaders refuse a reading that goes beyond the end; where that is, is found by smaller ones. */
static bool beyond_end(Engine *e, const PlanStep *s, int r, size_t at, uint32_t *block) {
        if (r != 1 || !s->shorter || e->failure->class != CLASS_REFUSED || (e->failure->reply != 0x8a && e->failure->reply != 0x82) ||
            (at == 0 && *block <= LEAST_THERE))
                return false;
        engine_forget(e);
        *block = 1U << (31 - __builtin_clz(*block - 1)); /* the next smaller power of two */
        return true;
}

static int read_parts(Engine *e, const PlanStep *s, Sink *sink, size_t size, bool allow_short, uint64_t progress,
                      size_t *ret) {
        uint32_t block = engine_read_block(e, s);
        size_t at = 0;

        while (at < size) {
                size_t n = MIN(size - at, block), got = 0;
                const uint8_t *data = NULL;
                int r;

                if (engine_cancel_safe(e->plan, e->step) && engine_cancelled(e))
                        return -ECANCELED;
                e->offset = at;
                r = view_part(e, s, at, n, allow_short, &data, &got);
                if (beyond_end(e, s, r, at, &block)) {
                        if (block < SMALLEST_READ)
                                break;
                        continue; /* with a smaller one */
                }
                if (r != 0)
                        return r;
                got = MIN(got, n);
                r = sink_take(e, sink, at, data, got);
                if (r != 0)
                        return r;
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

        if (s->partition[0] && e->read_unknown.class != CLASS_NONE) {
                *e->failure = e->read_unknown; /* a third question that it does not know would be its last */
                return 1;
        }
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

int engine_read_nv(Engine *e, const EngineImage *image, size_t *ret_size, size_t *ret_at) {
        Sink sink = {.nv = image};
        int r = read_into(e, &sink, image->size, true, 0, ret_size);

        *ret_at = sink.differs ? sink.first : MIN(*ret_size, image->size);
        return r;
}

int engine_read_name(Engine *e, const char *name, uint8_t *data, size_t size) {
        size_t block = bsl_session_transcoding(e->session) ? 0x3000 : engine_block_unescaped(e);
        int r = bsl_read_start(e->session, name, size, e->failure);

        for (size_t at = 0; r == 0 && at < size; at += block) {
                e->offset = at;
                r = bsl_read_midst(e->session, at, data + at, MIN(size - at, block), e->failure);
        }
        return r == 0 ? bsl_read_end(e->session, e->failure) : r;
}

bool engine_holds_nv(const Plan *plan, unsigned step) {
        for (size_t i = step + 1; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_WRITE_NV && plan->steps[i].backup == (int) step)
                        return true;
        return false;
}

#define PUT_BACK_MAX (64U * 1024 * 1024)

/* The package's word for the size may be that of another table, or count what the loader keeps to itself. What will be put back is read
 * whole: whether there is room for it is another question. */
static size_t backup_size(const Engine *e, const PlanStep *s) {
        const TableEntry *t = s->partition[0] && e->live.entries ? table_find(&e->live, s->partition) : NULL;
        uint64_t own = strstr(s->partition, "fixnv") ? 512 : 0; /* the loader's header is not given out */

        if (!t || t->size <= own || t->size == U64_UNKNOWN)
                return (size_t) s->size;
        return (size_t) (t->size - own < s->size || (engine_puts_back(e, e->step) && t->size <= PUT_BACK_MAX) ? t->size - own : s->size);
}

static int same_twice(Engine *e, const Sink *again, size_t first, size_t second) {
        e->offset = U64_UNKNOWN;
        if (first == second && !again->differs)
                return 0;
        return engine_fail(e, CLASS_MISMATCH, "backup",
                           "%s was read twice and the two readings differ: what would be put back later could be "
                           "wrong, so nothing was changed",
                           engine_subject(engine_step(e)));
}

static int read_twice(Engine *e, EngineImage *image, bool nv) {
        size_t n = 0, size = backup_size(e, engine_step(e));
        Sink again = {.before = image};
        int r;

        image->data = malloc(size);
        if (!image->data)
                return -ENOMEM;
        r = engine_read(e, image->data, size, nv, 0, &image->size);
        if (r == 0)
                r = read_into(e, &again, size, nv, size, &n);
        return r == 0 ? same_twice(e, &again, image->size, n) : r;
}

/* The same by way of a file. image->data stays that of the spool. */
static int spool_twice(Engine *e, EngineSpool *spool, EngineImage *image, bool nv) {
        Sink first = {.spool = spool}, again = {.spool = spool, .again = true};
        size_t n = 0, m = 0, size = backup_size(e, engine_step(e));
        const uint8_t *data;
        int r = read_into(e, &first, size, nv, 0, &n);

        if (r == 0)
                r = read_into(e, &again, size, nv, size, &m);
        if (r == 0)
                r = same_twice(e, &again, n, m);
        if (r != 0)
                return r;
        r = engine_spool_map(spool, &data, &image->size);
        if (r < 0)
                return spool_failed(e, r);
        image->data = (uint8_t *) data;
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

/* What the vault's answer means for the job. */
static int backup_stored(Engine *e, EngineImage *image, int r) {
        image->stored = r >= 0;
        if (r >= 0 || r == -ECANCELED)
                return MIN(r, 0);
        e->text_complete = true;
        failure_set_errno(e->failure, r, "the backup of %s could not be stored on disk (%s); nothing was changed",
                          engine_subject(engine_step(e)), strerror(-r));
        if (r == -ETIMEDOUT)
                snprintf(e->failure->detail, sizeof(e->failure->detail), "no-go");
        return 1;
}

/* Gives the image away: what is merged with it has been made by now. What is put back later stays here too. */
static int store_backup(Engine *e, EngineImage *image) {
        const PlanStep *s = engine_step(e);
        size_t size = image->size;
        uint8_t *data = image->data;

        if (!e->hooks->backup)
                return 0;
        if (engine_puts_back(e, e->step)) {
                data = malloc(size);
                if (!data)
                        return -ENOMEM;
                memcpy(data, image->data, size);
        } else
                image->data = NULL;
        return backup_stored(e, image, e->hooks->backup(e->hooks->userdata, e->step, engine_subject(s), data, size));
}

static void drop_image(EngineImage *image) {
        engine_image_clear(image);
        image->size = 0;
}

/* What was saved before a change of the table that did not come to its end is the truth: what stands there now need not be. */
static int take_saved(const EngineSaved *saved, EngineImage *image) {
        image->data = malloc(saved->size);
        if (!image->data)
                return -ENOMEM;
        memcpy(image->data, saved->data, saved->size);
        image->size = saved->size;
        return 0;
}

/* Calibration that goes back as it was saved, to a device that cannot say who it is: at least its own must not name another unit. */
static int check_owner(Engine *e, const EngineImage *image) {
        char is[24], was[24];

        if (e->report->identity_proven || !nv_unit(image->data, image->size, is))
                return 0;
        for (size_t i = e->step + 1; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;
                _cleanup_free_ uint8_t *data = NULL;
                int r;

                if (s->op != PLAN_WRITE_NV || !s->exact || !streq(s->partition, engine_step(e)->partition) || s->address != engine_step(e)->address)
                        continue;
                data = malloc(s->size + 1);
                if (!data)
                        return -ENOMEM;
                r = engine_copy(e, s->offset, data, s->size);
                if (r != 0)
                        return r;
                if (nv_unit(data, s->size, was) && !streq(is, was))
                        return engine_fail(e, CLASS_MISMATCH, "unit", "the calibration to be put back is of a unit with another IMEI than this one; "
                                           "nothing was written");
        }
        return 0;
}

static int store_spooled(Engine *e, EngineSpool *spool, EngineImage *image) {
        image->data = NULL; /* merged and checked is by now what has to be; could it be trusted? */
        return engine_spool_ok(spool) ? backup_stored(e, image, engine_spool_store(e, spool, engine_subject(engine_step(e)))) : spool_failed(e, -EIO);
}

static void end_backup(Engine *e, EngineSpool *spool, EngineImage *image, int r) {
        if (spool) {
                image->data = NULL;
                engine_spool_free(spool);
        }
        if (r != 0 || !engine_puts_back(e, e->step))
                drop_image(image);
}

int engine_backup(Engine *e) {
        const EngineSaved *saved = engine_find_saved(e, engine_step(e)->partition);
        EngineImage *image = e->images + e->step;
        bool nv = engine_holds_nv(e->plan, e->step), cali = engine_step(e)->checks_calibration, shorter = nv || cali || engine_step(e)->shorter;
        EngineSpool *spool = saved ? NULL : engine_spool_for(e, backup_size(e, engine_step(e)));
        int r;

        r = saved ? take_saved(saved, image) : spool ? spool_twice(e, spool, image, shorter) : read_twice(e, image, shorter);
        if (r == 0 && image->size == 0)
                r = engine_fail(e, CLASS_MISMATCH, "backup", "the device gave no data for %s",
                                engine_subject(engine_step(e)));
        if (r == 0)
                engine_note_phase_check(e, image->data, image->size);
        if (r == 0 && (nv || cali))
                r = check_nv_image(e, image);
        if (r == 0 && nv)
                r = engine_prepare_nv(e, (int) e->step);
        if (r == 0 && e->plan->chosen)
                r = check_owner(e, image);
        if (r == 0)
                r = spool ? store_spooled(e, spool, image) : store_backup(e, image);
        end_backup(e, spool, image, r);
        return r;
}
