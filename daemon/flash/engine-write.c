/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-spool.h"

#include "firmware/nv.h"

/* Everything that changes flash. Nothing is sent here before engine_intent() agreed, and nothing closing is sent after
 * a refused or short write: the first failure ends the step. */

/* Replies that say why a command was not begun (bsl-protocol §5); all others, and those nobody knows, leave the flash in doubt. */
static bool untouched(const Failure *f) {
        static const uint8_t not_begun[] = {0x82, 0x83, 0x85, 0x86, 0x87, 0x89, 0x8a, 0x8d, 0x96, 0x97, 0x98,
                                            0xa0, 0xa3, 0xa4, 0xac, 0xb3, 0xb4, 0xbf, 0xfe};

        if (f->class == CLASS_HOST)
                return true;
        if (f->class != CLASS_REFUSED)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(not_begun); i++)
                if (f->reply == not_begun[i])
                        return true;
        return false;
}

int engine_erase(Engine *e) {
        const PlanStep *s = engine_step(e);
        int r;

        if (s->partition[0])
                r = bsl_erase_name(e->session, s->partition, s->size, e->failure);
        else
                r = bsl_erase_address(e->session, (uint32_t) s->address, (uint32_t) s->size, e->failure);
        if (r == 0 || (r == 1 && !untouched(e->failure)))
                e->report->wrote = true;
        e->erased_all = e->erased_all || (r == 0 && plan_erases_all(s));
        return r;
}

static int start_once(Engine *e, const PlanStep *s, uint64_t announced, const uint32_t *checksum) {
        if (s->partition[0])
                return bsl_start_name(e->session, s->partition, announced, checksum, e->failure);
        return bsl_start_address(e->session, (uint32_t) s->address, (uint32_t) announced, checksum, e->failure);
}

/* Loaders with a switch against writing by mistake say so; others do not know the command that turns it. */
bool engine_wants_enable(const Engine *e, int r) {
        return r == 1 && e->failure->class == CLASS_REFUSED && e->failure->reply == 0xac && !e->write_enabled;
}

int engine_enable_write(Engine *e) {
        Failure before = *e->failure;
        int r;

        if (!engine_may_ask(e, Q_ENABLE_WRITE_FLASH))
                return 1;
        engine_forget(e);
        r = bsl_enable_write_flash(e->session, e->failure);
        if (engine_did_not_know(e, Q_ENABLE_WRITE_FLASH, r)) /* it has no such switch: what it said first is what counts */
                *e->failure = before;
        if (r == 0) {
                e->write_enabled = true;
                engine_fact(e, "note", "the loader was told to allow writing");
        }
        return r;
}

static int start(Engine *e, const PlanStep *s, uint64_t size, const uint32_t *checksum) {
        uint64_t announced = size + size % 2;
        int r = start_once(e, s, announced, checksum);

        if (engine_wants_enable(e, r)) {
                r = engine_enable_write(e);
                if (r == 0)
                        r = start_once(e, s, announced, checksum);
        }
        if (r == 0 || (r == 1 && !untouched(e->failure)))
                e->report->wrote = true;
        return r;
}

static uint32_t write_block(const Engine *e, const PlanStep *s) {
        const char *known;

        if (!s->partition[0] || bsl_session_transcoding(e->session))
                return s->block;
        known = engine_known(e, LOADER_LAST, "block");
        return MIN(engine_block_unescaped(e), e->small_blocks || (known && streq(known, "4096")) ? ENGINE_BLOCK_SMALL : ENGINE_BLOCK_UNESCAPED);
}

/* "Too much data" in answer to the very first large block: nothing of it was taken. */
static bool wants_small_blocks(const Engine *e, const PlanStep *s, int r) {
        return r == 1 && e->failure->class == CLASS_REFUSED && e->failure->reply == 0x8a && streq(e->failure->command, "MIDST_DATA") && e->offset == 0 && !bsl_session_tainted(e->session) &&
               write_block(e, s) > ENGINE_BLOCK_SMALL && s->size > ENGINE_BLOCK_SMALL;
}

/* A device that is addressed by name writes (and checks signatures) before it answers the last block: minutes may pass.
 */
static int send_last(Engine *e, const PlanStep *s, const uint8_t *data, size_t n) {
        int r;

        if (!s->partition[0])
                return bsl_midst(e->session, data, n, true, e->failure);
        engine_enter_stage(e, STAGE_CHECKING);
        r = bsl_midst(e->session, data, n, true, e->failure);
        if (r == 0)
                engine_enter_stage(e, s->stage);
        return r;
}

/* The frame of the next block is made from the package's pages while the device works on the one before; whether the pages were
 * good is asked before it goes out. */
static int send_blocks(Engine *e, const PlanStep *s, const uint8_t *data, bool from_package, uint64_t size) {
        uint32_t block = write_block(e, s);

        bsl_midst_prepare(e->session, data, (size_t) MIN(size, block));
        for (uint64_t at = 0; at < size;) {
                size_t n = (size_t) MIN(size - at, block), next = (size_t) MIN(size - at - n, block);
                int r;

                e->offset = at;
                r = from_package ? engine_package_fine(e, s->offset + at) : 0;
                if (r == 0)
                        r = next == 0 ? send_last(e, s, data + at, n)
                                      : bsl_midst_then(e->session, data + at, n, false, data + at + n, next, e->failure);
                if (r != 0)
                        return r;
                at += n;
                engine_progress(e, at);
        }
        return 0;
}

/* The same of what was put aside: block by block from there, so that nothing goes out that could not be read. */
static int send_kept(Engine *e, const PlanStep *s, const EngineSpool *kept, uint64_t size) {
        uint32_t block = MIN(write_block(e, s), ENGINE_BLOCK_MAX);

        for (uint64_t at = 0; at < size;) {
                size_t n = (size_t) MIN(size - at, block);
                int r = engine_spool_get(kept, at, e->block, n);

                e->offset = at;
                if (r < 0) {
                        e->text_complete = true;
                        return failure_set_errno(e->failure, r, "what was to be written to %s was put aside on this computer's disk and cannot be read any more: %s",
                                                 engine_subject(s), strerror(-r));
                }
                r = at + n == size ? send_last(e, s, e->block, n) : bsl_midst(e->session, e->block, n, false, e->failure);
                if (r != 0)
                        return r;
                at += n;
                engine_progress(e, at);
        }
        return 0;
}

/* The larger the image, the longer a signature check and the writing of what is still in RAM may take. */
static void set_checking_deadline(Engine *e, const PlanStep *s, uint64_t size) {
        uint64_t mib = (size + 0xfffff) >> 20, scaled = e->deadlines.midst_last + mib * e->deadlines.checking_per_mib;
        BslDeadlines d = e->deadlines;

        if (s->partition[0]) {
                d.midst_last = (uint32_t) MIN(scaled, UINT32_MAX / 2);
                e->size_ms = MAX(e->size_ms, d.midst_last - e->deadlines.midst_last);
        }
        bsl_session_set_deadlines(e->session, &d);
}

/* A new START throws away what the one before announced. */
static int begin_again(Engine *e, const PlanStep *s, uint64_t size, const uint32_t *checksum) {
        engine_fact(e, "note", "the loader takes no blocks of %u bytes: sent in blocks of %u", engine_block_unescaped(e), ENGINE_BLOCK_SMALL);
        engine_learn(e, LOADER_LAST, "block", "4096");
        e->small_blocks = true;
        engine_forget(e);
        engine_enter_stage(e, s->stage);
        return start(e, s, size, checksum);
}

/* `image`: bytes in memory, or put aside; NULL: those of the package. */
static int send_image(Engine *e, const EngineImage *image, uint64_t size, const uint32_t *checksum) {
        const PlanStep *s = engine_step(e);
        const uint8_t *data = image ? image->data : e->input->package + s->offset;
        const EngineSpool *kept = image ? image->kept : NULL;
        bool raw = false, refused = false;
        int r;

        e->offset = 0;
        set_checking_deadline(e, s, size);
        /* Calibration data go the way that is known best. */
        r = image ? 0 : engine_raw_begin(e, &raw);
        if (r == 0)
                r = start(e, s, size, checksum);
        if (r == 0 && raw) {
                r = engine_raw_send(e, data, size, &refused);
                if (r != 0 || !refused)
                        return r;
        }
        if (r == 0)
                r = kept ? send_kept(e, s, kept, size) : send_blocks(e, s, data, !image, size);
        if (wants_small_blocks(e, s, r)) {
                r = begin_again(e, s, size, checksum);
                if (r == 0)
                        r = kept ? send_kept(e, s, kept, size) : send_blocks(e, s, data, !image, size);
        }
        if (r == 0)
                r = bsl_end(e->session, e->failure);
        return r;
}

static int write_expanded(Engine *e) {
        const PlanStep *s = engine_step(e);
        uint64_t total = 0;
        int r = engine_expanded_size(e, s, &total);

        e->offset = 0;
        set_checking_deadline(e, s, total);
        if (r == 0)
                r = start(e, s, total, NULL);
        if (r == 0)
                r = engine_send_expanded(e, s, total, write_block(e, s));
        return r == 0 ? bsl_end(e->session, e->failure) : r;
}

int engine_write(Engine *e) {
        const PlanStep *s = engine_step(e);

        if (!engine_expands(e, s))
                return send_image(e, NULL, s->size, NULL);
        engine_fact(e, "expanded", "%s", s->partition);
        return write_expanded(e);
}

int engine_write_image(Engine *e, uint8_t *image, size_t size) {
        return send_image(e, &(EngineImage) {.data = image, .size = size}, size, NULL);
}

static int merge_nv(Engine *e, const PlanStep *s, EngineImage *image) {
        const EngineImage *own = e->images + s->backup;

        if (!own->data)
                return failure_set(e->failure, CLASS_MISMATCH, "no-backup",
                                   "%s would be overwritten but the unit's own data could not be read before",
                                   engine_subject(s));
        return nv_merge(image->data, image->size, own->data, own->size, e->plan->nv_items, e->plan->n_nv_items,
                        e->plan->options.mode, e->failure);
}

void engine_image_clear(EngineImage *image) {
        free(TAKE_PTR(image->data));
        image->kept = engine_spool_free(image->kept);
}

static uint32_t byte_sum(const EngineImage *image) {
        uint32_t sum = 0;

        for (size_t i = 0; i < image->size; i++)
                sum += image->data[i];
        return sum;
}

/* It is needed when its turn comes to be written, and may be as large as all other memory of the job: put aside until then. Modules
 * give theirs back in an order of their own, which takes all of it to compare. Where there is no file to be had, memory has to do. */
static void put_aside(Engine *e, const PlanStep *s, EngineImage *image) {
        EngineSpool *kept = s->partition[0] ? engine_spool_new(e, image->size) : NULL;

        if (!kept || engine_spool_put(kept, image->data, image->size) < 0) {
                engine_spool_free(kept);
                return;
        }
        engine_image_clear(image);
        image->kept = kept;
}

/* The package's image with the unit's own data in it, and the sums that a loader wants, which are made last. */
static int make_nv(Engine *e, const PlanStep *s, EngineImage *image) {
        _cleanup_free_ uint8_t *data = malloc(s->size);
        int r;

        if (!data)
                return -ENOMEM;
        r = engine_copy(e, s->offset, data, s->size);
        if (r != 0)
                return r;
        *image = (EngineImage) {.data = TAKE_PTR(data), .size = s->size};
        r = s->exact ? 0 : nv_check(image->data, image->size, e->plan->chosen ? "the file" : "the package", e->failure);
        if (r == 0 && s->backup >= 0)
                r = merge_nv(e, s, image);
        else if (r == 0 && e->plan->options.mode == FLASH_MODE_FACTORY)
                nv_clear_calibrated(image->data, image->size);
        if (r != 0) {
                e->text_complete = r == 1;
                engine_image_clear(image);
                *image = (EngineImage) {};
                return r;
        }
        image->sum = s->exact ? byte_sum(image) : nv_seal(image->data, image->size);
        put_aside(e, s, image);
        return 0;
}

static bool has_image(const EngineImage *image) {
        return image->data || image->kept;
}

int engine_prepare_nv(Engine *e, int backup) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;
                int r;

                if (s->op != PLAN_WRITE_NV || i < e->step || has_image(e->images + i) || (backup >= 0 && s->backup != backup) ||
                    engine_skips(e, s))
                        continue;
                r = make_nv(e, s, e->images + i);
                if (r != 0)
                        return r;
        }
        return 0;
}

static bool is_compared_later(const Engine *e, size_t step) {
        for (size_t i = e->step + 1; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].write == (int) step)
                        return true;
        return false;
}

void engine_drop_nv(Engine *e) {
        for (size_t i = 0; i <= e->step; i++)
                if (e->plan->steps[i].op == PLAN_WRITE_NV && has_image(e->images + i) && !is_compared_later(e, i))
                        engine_image_clear(e->images + i);
}

static int send_nv(Engine *e, const EngineImage *image) {
        return send_image(e, image, image->size, &image->sum);
}

static bool checked_later(const Engine *e) {
        for (size_t i = e->step + 1; i < e->plan->n_steps; i++)
                if ((e->plan->steps[i].op == PLAN_CHECK_NV || e->plan->steps[i].op == PLAN_VERIFY) && e->plan->steps[i].write == (int) e->step)
                        return true;
        return false;
}

int engine_write_nv(Engine *e) {
        EngineImage *image = e->images + e->step;
        int r = has_image(image) ? send_nv(e, image) : -EINVAL;

        /* Some firmware acknowledges items that it keeps as they were. */
        if (r == 0 && !checked_later(e))
                engine_fact(e, "note", "%s not proven: it was acknowledged, and this kind of device is not read back",
                            engine_subject(engine_step(e)));
        return r;
}

int engine_write_name(Engine *e, const char *name, uint8_t *data, size_t size, bool nv) {
        size_t block = nv ? 0x800 : bsl_session_transcoding(e->session) ? 0x5000 : engine_block_unescaped(e);
        uint32_t sum = nv ? nv_seal(data, size) : 0;
        int r;

        r = bsl_start_name(e->session, name, size + size % 2, nv ? &sum : NULL, e->failure);
        if (r == 0 || (r == 1 && !untouched(e->failure)))
                e->report->wrote = true;
        for (size_t at = 0; r == 0 && at < size; at += block) {
                size_t n = MIN(size - at, block);

                e->offset = at;
                r = bsl_midst(e->session, data + at, n, at + n == size, e->failure);
        }
        return r == 0 ? bsl_end(e->session, e->failure) : r;
}

size_t engine_nv_difference(const EngineImage *image, const uint8_t *data, size_t size) {
        size_t i = MIN((size_t) 4, image->size);

        while (i < image->size && i < size && image->data[i] == data[i])
                i++;
        return i;
}

static int rewrite_nv(Engine *e, const EngineImage *image) {
        int r = 0;

        e->report->retries++;
        engine_fact(e, "note", "%s read back differently from what was written: writing it again",
                    engine_subject(engine_step(e)));
        if (!engine_step(e)->destructive)
                r = engine_intent(e);
        return r == 0 ? send_nv(e, image) : r;
}

int engine_check_nv(Engine *e) {
        const EngineImage *image = e->images + engine_step(e)->write;
        size_t got = 0, at = 0;

        if (!has_image(image))
                return -EINVAL;
        for (unsigned round = 1;; round++) {
                int r = engine_read_nv(e, image, &got, &at);

                if (r != 0)
                        return r;
                if (at == image->size) {
                        e->proven[engine_step(e)->write] = true;
                        return 0;
                }
                trace_differs(e->input->trace, at);
                e->failure->attempts = round;
                if (round == ENGINE_NV_ROUNDS)
                        break;
                r = rewrite_nv(e, image);
                if (r != 0)
                        return r;
        }
        e->offset = at;
        return engine_fail(
                e, CLASS_MISMATCH, "nv-check",
                "%s was written %u times and still reads back differently at byte %zu (%zu of %zu bytes came)",
                engine_subject(engine_step(e)), ENGINE_NV_ROUNDS, at, got, image->size);
}
