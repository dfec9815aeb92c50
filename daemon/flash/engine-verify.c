/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <inttypes.h>
#include <stdio.h>

#include "firmware/nv.h"
#include "firmware/sparse.h"

/* What was written, read back and compared. Devices change some of it by design; that is left out or compared in another way, so that
 * what differs is a fault. What a loader does not show is no fault, but it is told. */

#define BLOCK 4096U
#define SPL_BLOCK 512U /* made by the loader: check sum and length of the rest */
/* A third unknown command mutes some loaders. */
#define UNREADABLE_MAX 2U
/* Ends a comparison that is only to find out whether there is a difference. */
#define DIFFERENT (-EUCLEAN)

/* Places that loaders fill themselves: the block of the boot loader, fields that are cleared when miscdata was written. */
static const struct {
        const char *partition;
        uint64_t at, size;
} made_by_loader[] = {
        {"splloader", 0, SPL_BLOCK},
        {"splloader_bak", 0, SPL_BLOCK},
        {"miscdata", 0x2400, 8},
        {"miscdata", 0x81400, 16},
};

typedef struct Check {
        Engine *e;
        const PlanStep *s;
        uint64_t total, done;   /* bytes of the image that lie in flash as they are: in all, read or passed over */
        uint64_t end;           /* of what is looked at, in the partition */
        uint64_t shift;         /* the loader put the image so far behind the start */
        bool answered;          /* the loader showed something */
        bool stop;              /* at the first difference: nobody wants to know more */
        uint64_t first, last_block, n_blocks, n_differ; /* blocks of BLOCK bytes, by their place in the partition */
        bool last_differs;
        const uint8_t *data;    /* what was read last, until something else is asked */
} Check;

static bool is_nand(const Engine *e) {
        return e->plan->nand_loader || (e->info.present && e->info.storage == BSL_STORAGE_NAND);
}

static bool is_spl(const Engine *e, const PlanStep *s) {
        return (streq(s->partition, "splloader") || streq(s->partition, "splloader_bak")) && !is_nand(e);
}

static int read_at(Check *c, uint64_t at, size_t n) {
        int r;

        if (engine_cancelled(c->e))
                return -ECANCELED;
        c->e->offset = at;
        r = engine_view_part(c->e, c->s, at, n, &c->data);
        c->answered = c->answered || r == 0;
        return r;
}

/* ---- comparing -------------------------------------------------------------------------------------------- */

static bool is_filled(const uint8_t *p, size_t n, uint64_t from, uint32_t word) {
        for (size_t i = 0; i < n; i++)
                if (p[i] != (uint8_t) (word >> 8 * ((from + i) % 4)))
                        return false;
        return true;
}

/* Part of what should be there: bytes of the package from `source`, or a word again and again. */
typedef struct Want {
        uint64_t source;
        uint32_t fill;
} Want;

static bool as_wanted(const Check *c, const Want *w, uint64_t from, const uint8_t *data, size_t n) {
        return w->source == U64_UNKNOWN ? is_filled(data, n, from, w->fill)
                                        : memcmp(c->e->input->package + w->source + from, data, n) == 0;
}

static uint64_t first_different(const Check *c, const Want *w, uint64_t from, const uint8_t *data, size_t n) {
        size_t i = 0;

        while (i < n && as_wanted(c, w, from + i, data + i, 1))
                i++;
        return i;
}

/* Counts what was read at `at` of the partition, block by block. */
static void count(Check *c, const Want *w, uint64_t from, uint64_t at, size_t n) {
        for (size_t i = 0; i < n;) {
                size_t piece = (size_t) MIN(n - i, BLOCK - (at + i) % BLOCK);
                uint64_t block = (at + i) / BLOCK;
                bool good = as_wanted(c, w, from + i, c->data + i, piece);
                bool again = c->n_blocks > 0 && block == c->last_block; /* it came in two parts */

                if (!good && c->n_differ == 0) {
                        c->first = at + i + first_different(c, w, from + i, c->data + i, piece);
                        trace_differs(c->e->input->trace, c->first);
                }
                c->n_blocks += !again;
                c->n_differ += !good && !(again && c->last_differs);
                c->last_differs = !good || (again && c->last_differs);
                c->last_block = block;
                i += piece;
        }
}

static void tell_progress(Check *c) {
        uint64_t bytes = plan_step_bytes(c->s);

        engine_progress(c->e, c->total > 0 ? (uint64_t) ((double) bytes * ((double) c->done / (double) c->total)) : bytes);
}

static int compare(Check *c, const Want *w, uint64_t at, uint64_t size) {
        uint32_t block = engine_read_block(c->e, c->s);
        const EngineInput *in = c->e->input;

        for (uint64_t from = 0; from < size;) {
                uint64_t here;
                bool read = plan_verify_piece(c->total, c->s->sample, c->done, &here);
                size_t n = (size_t) MIN(MIN(here, size - from), read ? block : SIZE_MAX / 2);
                int r = read ? read_at(c, at + from, n) : 0;

                if (r != 0)
                        return r;
                if (read)
                        count(c, w, from, at + from, n);
                if (c->stop && c->n_differ > 0)
                        return DIFFERENT;
                from += n;
                c->done += n;
                tell_progress(c);
        }
        if (in->package_ok && !in->package_ok(in->package_userdata))
                return engine_fail(c->e, CLASS_HOST, "package", "the stored package cannot be read any more: the disk has an error");
        return 0;
}

/* ---- images that lie in flash as they are ------------------------------------------------------------------- */

/* The next place that the loader made itself, at or after `at`. */
static uint64_t next_made(const PlanStep *s, uint64_t at, uint64_t *ret_end) {
        uint64_t start = U64_UNKNOWN;

        for (size_t i = 0; i < ELEMENTSOF(made_by_loader); i++)
                if (streq(made_by_loader[i].partition, s->partition) && made_by_loader[i].at >= at && made_by_loader[i].at < start) {
                        start = made_by_loader[i].at;
                        *ret_end = start + made_by_loader[i].size;
                }
        return start;
}

static int compare_plain(Check *c) {
        const PlanStep *s = c->s;
        bool made = c->shift == 0 && (is_spl(c->e, s) || streq(s->partition, "miscdata"));

        for (uint64_t at = 0; at < s->size;) {
                uint64_t end = s->size, stop = made ? next_made(s, at, &end) : U64_UNKNOWN;
                uint64_t n = MIN(stop, s->size) - at;
                Want want = {.source = s->offset + at};
                int r = compare(c, &want, at + c->shift, n);

                if (r != 0)
                        return r;
                at = stop < s->size ? end : s->size;
        }
        return 0;
}

/* Some loaders put their block over the first bytes of the boot loader, some before it. */
static int find_shift(Check *c) {
        const uint8_t *image = c->e->input->package + c->s->offset;
        uint64_t size = c->s->size;
        size_t n;
        int r;

        if (!is_spl(c->e, c->s) || size <= 2 * SPL_BLOCK)
                return 0;
        n = (size_t) MIN(size - SPL_BLOCK, (uint64_t) BLOCK);
        r = read_at(c, SPL_BLOCK, n);
        if (r == 0 && memcmp(c->data, image + SPL_BLOCK, n) != 0 && memcmp(c->data, image, n) == 0)
                c->shift = SPL_BLOCK;
        return r;
}

/* ---- images that the loader expanded ------------------------------------------------------------------------ */

static int read_package(void *userdata, void *data, size_t size, uint64_t offset) {
        const Check *c = userdata;

        return engine_copy(c->e, c->s->offset + offset, data, size);
}

static int add_size(void *userdata, uint64_t at, uint64_t size, uint64_t source _unused_, uint32_t fill _unused_) {
        Check *c = userdata;

        c->total += size;
        c->end = at + size;
        return 0;
}

static int compare_chunk(void *userdata, uint64_t at, uint64_t size, uint64_t source, uint32_t fill) {
        Check *c = userdata;
        Want want = {.source = source == U64_UNKNOWN ? source : c->s->offset + source, .fill = fill};

        return compare(c, &want, at, size);
}

static int walk_sparse(Check *c, SparseData tell) {
        PacReader reader = {.read = read_package, .userdata = c, .size = c->s->size};

        return sparse_data(&reader, tell, c);
}

/* ---- the step ------------------------------------------------------------------------------------------------ */

static int compare_all(Check *c) {
        PlanStep write = *c->s;
        bool sparse;
        int r = 0;

        write.op = PLAN_WRITE;
        sparse = engine_is_sparse(c->e, &write);
        c->total = c->s->size;
        c->end = c->s->size + (is_spl(c->e, c->s) ? SPL_BLOCK : 0);
        if (sparse) {
                c->total = 0;
                r = walk_sparse(c, add_size);
        }
        /* Loaders for NAND fetch so much at once and refuse more than there is. */
        if (r == 0 && c->s->partition[0])
                r = bsl_read_start(c->e->session, c->s->partition, c->end, c->e->failure);
        if (r == 0 && !sparse)
                r = find_shift(c);
        if (r == 0)
                r = sparse ? walk_sparse(c, compare_chunk) : compare_plain(c);
        return r;
}

static int differs(Check *c) {
        const PlanStep *s = c->s;

        c->e->offset = c->first;
        if (c->e->plan->options.check_only)
                return engine_fail(c->e, CLASS_MISMATCH, "differs",
                                   "%s differs from the package: first at byte %" PRIu64 " (0x%" PRIx64 "), in %" PRIu64 " of %" PRIu64
                                   " blocks of %u bytes%s",
                                   engine_subject(s), c->first, c->first, c->n_differ, c->n_blocks, BLOCK,
                                   s->sample > 0 && s->sample < c->total ? " that were looked at" : "");
        return engine_fail(c->e, CLASS_MISMATCH, "read-back",
                           "%s was written, but reads back differently: first at byte %" PRIu64 " (0x%" PRIx64 "), in %" PRIu64
                           " of %" PRIu64 " blocks of %u bytes%s",
                           engine_subject(s), c->first, c->first, c->n_differ, c->n_blocks, BLOCK,
                           s->sample > 0 && s->sample < c->total ? " that were looked at" : "");
}

/* A loader that does not show what stands there. Later in a partition the same answer is a fault of the flash. */
static bool cannot_show(const Check *c) {
        return c->e->failure->class == CLASS_REFUSED && !c->answered && !bsl_session_tainted(c->e->session);
}

static int verify_image(Engine *e) {
        const PlanStep *s = engine_step(e);
        Check c = {.e = e, .s = s};
        int r = compare_all(&c);

        if (r == 1 && cannot_show(&c)) {
                engine_forget(e);
                e->unreadable++;
                return 0;
        }
        if (r == 0 && s->partition[0])
                r = bsl_read_end(e->session, e->failure);
        if (r == 0 && c.n_differ > 0)
                return differs(&c);
        e->proven[s->write >= 0 ? (unsigned) s->write : e->step] = r == 0 && c.n_blocks > 0;
        return r;
}

int engine_compare(Engine *e, const PlanStep *s, EngineDifference *ret) {
        Check c = {.e = e, .s = s};
        int r = compare_all(&c);

        *ret = (EngineDifference) {.shown = true};
        if (r == 1 && cannot_show(&c)) {
                *ret = (EngineDifference) {.reply = e->failure->reply};
                engine_forget(e);
                return 0;
        }
        if (r == 0 && s->partition[0])
                r = bsl_read_end(e->session, e->failure);
        ret->first = c.first;
        ret->n_differ = c.n_differ;
        ret->n_blocks = c.n_blocks;
        return r;
}

/* ---- NV -------------------------------------------------------------------------------------------------------- */

/* Stores of modules give the items back in an order of their own, and some keep what they think is theirs. */
static int compare_items(Engine *e, const EngineImage *image, const uint8_t *back, size_t size, size_t at) {
        const PlanStep *s = engine_step(e);
        NvDifference d;
        int r = s->partition[0] ? -EBADMSG
                                : nv_compare(image->data, image->size, back, size, e->plan->nv_items, e->plan->n_nv_items, &d);

        e->offset = at;
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return engine_fail(e, CLASS_MISMATCH, "read-back",
                                   "%s was written, but reads back differently: first at byte %zu (%zu of %zu bytes came)",
                                   engine_subject(s), at, size, image->size);
        if (d.n_own > 0)
                return engine_fail(e, CLASS_MISMATCH, "read-back",
                                   "%s was written, but its item 0x%x, which is calibration or identity, reads back "
                                   "differently",
                                   engine_subject(s), d.first_own);
        if (d.n > 0)
                engine_fact(e, "note", "%s: the unit keeps its own of %zu NV items, first of 0x%x", engine_subject(s), d.n, d.first);
        return 0;
}

static int verify_nv(Engine *e) {
        const PlanStep *s = engine_step(e);
        const EngineImage *image = e->images + s->write;
        _cleanup_free_ uint8_t *back = NULL;
        size_t got = 0, at = 0;
        int r;

        if (!image->data && !image->kept)
                return -EINVAL;
        /* All of it is needed only where the order of items may differ. */
        back = s->partition[0] ? NULL : malloc(image->size);
        if (!s->partition[0] && !back)
                return -ENOMEM;
        r = back ? engine_read(e, back, image->size, true, 0, &got) : engine_read_nv(e, image, &got, &at);
        if (r == 1 && e->failure->class == CLASS_REFUSED && got == 0 && !bsl_session_tainted(e->session)) {
                engine_forget(e);
                e->unreadable++;
                return 0;
        }
        if (r != 0)
                return r;
        if (back)
                at = engine_nv_difference(image, back, got);
        if (at != image->size)
                trace_differs(e->input->trace, at);
        r = at == image->size ? 0 : compare_items(e, image, back, got, at);
        e->proven[s->write] = r == 0;
        return r;
}

/* ---- before a write: is it there already? ------------------------------------------------------------------------ */

/* Places that the loader makes itself cannot be compared, so they are written. */
static bool comparable(const Engine *e, const PlanStep *s) {
        uint64_t end;

        return !is_spl(e, s) && next_made(s, 0, &end) == U64_UNKNOWN && e->unreadable < UNREADABLE_MAX && e->read_unknown.class == CLASS_NONE;
}

/* What loaders write along with a partition: its second copy, or that of the other slot. False: nobody tells whether there is one. */
static bool find_twin(const Engine *e, const PlanStep *s, char ret[static 40]) {
        size_t n = strlen(s->partition);

        ret[0] = '\0';
        if (!s->partition[0])
                return true;
        if (!e->live.entries)
                return false;
        snprintf(ret, 40, "%.35s_bak", s->partition);
        if (n > 2 && streq(s->partition + n - 2, "_a"))
                snprintf(ret, 40, "%.*s_b", (int) MIN(n - 2, (size_t) 34), s->partition);
        if (!table_find(&e->live, ret))
                ret[0] = '\0';
        return true;
}

/* True: read and the same, all of it. What cannot be read is written. */
static int image_equal(Engine *e, const PlanStep *s, bool *ret) {
        Check c = {.e = e, .s = s, .stop = true};
        int r = compare_all(&c);

        *ret = false;
        if (r == 1 && cannot_show(&c)) {
                engine_forget(e);
                e->unreadable++;
                return 0;
        }
        if ((r == 0 || r == DIFFERENT) && s->partition[0]) {
                *ret = r == 0 && c.n_differ == 0 && c.n_blocks > 0;
                return bsl_read_end(e->session, e->failure);
        }
        *ret = r == 0 && c.n_differ == 0 && c.n_blocks > 0;
        return r == DIFFERENT ? 0 : r;
}

static void note_skipped(Engine *e) {
        size_t used = strlen(e->skipped);

        snprintf(e->skipped + used, sizeof(e->skipped) - used, "%s%s", used > 0 ? ", " : "", engine_subject(engine_step(e)));
        engine_fact(e, "skipped", "%s", e->skipped);
}

int engine_is_equal(Engine *e, bool *ret) {
        PlanStep s = *engine_step(e);
        char twin[40];
        int r;

        *ret = false;
        if (!comparable(e, &s) || !find_twin(e, &s, twin))
                return 0;
        s.sample = 0;
        engine_enter_stage(e, STAGE_VERIFY);
        r = image_equal(e, &s, ret);
        if (r == 0 && *ret && twin[0]) {
                snprintf(s.partition, sizeof(s.partition), "%.36s", twin);
                r = image_equal(e, &s, ret);
        }
        e->offset = U64_UNKNOWN;
        if (r == 0 && *ret) {
                e->proven[e->step] = e->equal[e->step] = true;
                note_skipped(e);
        } else if (r == 0)
                engine_enter_stage(e, engine_step(e)->stage);
        return r;
}

int engine_verify(Engine *e) {
        if (engine_step(e)->write >= 0 && e->equal[engine_step(e)->write])
                return 0;
        if (e->unreadable >= UNREADABLE_MAX)
                return 0;
        if (!e->plan->options.check_only && e->plan->steps[engine_step(e)->write].op == PLAN_WRITE_NV)
                return verify_nv(e);
        return verify_image(e);
}

/* ---- what was reached -------------------------------------------------------------------------------------------- */

void engine_tell_verified(Engine *e) {
        VerifyLevel level = e->plan->options.verify;
        char names[360] = "";
        size_t n_writes = 0, n_proven = 0, used = 0;

        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                bool counts = e->plan->options.check_only ? s->op == PLAN_VERIFY : s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV;

                if (!counts || engine_skips(e, s))
                        continue;
                n_writes++;
                n_proven += e->proven[i];
                if (!e->proven[i] && used + 2 < sizeof(names))
                        used += (size_t) snprintf(names + used, sizeof(names) - used, "%s%s", used ? ", " : "", engine_subject(s));
        }
        if (e->plan->options.check_only)
                engine_fact(e, "note", "calibration and NV settings belong to the unit and were not compared");
        if (n_writes == 0)
                return;
        engine_fact(e, "verify", "%s", verify_level_to_string(n_proven > 0 ? level : VERIFY_ACK));
        if (level != VERIFY_ACK && n_proven < n_writes)
                engine_fact(e, "note", "%scannot be read back: %s%s", e->plan->options.check_only ? "" : "acknowledged, but ", names,
                            used >= sizeof(names) - 2 ? " …" : "");
}
