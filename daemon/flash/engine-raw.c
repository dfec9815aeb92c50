/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

/* Writing without frames (bsl-protocol §6.4). A loader says in its device info what it can: level 1, each chunk asked for and
 * acknowledged before it is written; level 2, the whole file in chunks that are acknowledged when they are through. */

#define CHUNK_DEFAULT (2U * 1024 * 1024)
/* A loader that says something else means something else. */
#define CHUNK_MIN (64U * 1024)
#define CHUNK_MAX (64U * 1024 * 1024)

static uint32_t chunk_of(const Engine *e) {
        uint32_t kib = e->info.flush_kib;

        if (kib == 0)
                return CHUNK_DEFAULT;
        return kib < CHUNK_MIN / 1024 || kib > CHUNK_MAX / 1024 ? 0 : kib * 1024;
}

/* Odd sizes would need a byte that is nowhere in the package. */
static bool wanted(const Engine *e, const PlanStep *s) {
        return e->input->raw && e->raw != RAW_REFUSED && s->partition[0] && s->size % 2 == 0 &&
               e->info.raw_level > 0 && chunk_of(e) > 0 && !bsl_session_transcoding(e->session);
}

static void go_without(Engine *e) {
        engine_fact(e, "note", "the loader offers raw data but refused them (%02X): written in frames", (unsigned) e->failure->reply);
        e->raw = RAW_REFUSED;
        engine_learn(e, LOADER_LAST, "raw", "refused");
        engine_forget(e);
}

/* It would only refuse again. */
static bool known_to_refuse(Engine *e) {
        const char *known = e->raw == RAW_UNASKED ? engine_known(e, LOADER_LAST, "raw") : NULL;

        if (!known || !streq(known, "refused"))
                return false;
        engine_fact(e, "note", "the loader offers raw data but is known to refuse them: written in frames");
        e->raw = RAW_REFUSED;
        return true;
}

int engine_raw_begin(Engine *e, bool *ret) {
        int r;

        *ret = false;
        if (!wanted(e, engine_step(e)) || known_to_refuse(e))
                return 0;
        if (e->raw == RAW_UNASKED && !engine_may_ask(e, Q_ENABLE_RAW_DATA)) {
                e->raw = RAW_REFUSED;
                return 0;
        }
        if (e->raw == RAW_UNASKED) {
                r = bsl_enable_raw(e->session, e->failure);
                (void) engine_did_not_know(e, Q_ENABLE_RAW_DATA, r);
                if (r == 1 && e->failure->class == CLASS_REFUSED) {
                        go_without(e);
                        return 0;
                }
                if (r != 0)
                        return r;
                e->raw = RAW_ON;
                engine_fact(e, "raw", "level %u", (unsigned) e->info.raw_level);
        }
        *ret = true;
        return 0;
}

static int send_chunk(Engine *e, const PlanStep *s, const uint8_t *data, uint64_t at, uint32_t n, bool whole) {
        bool last = at + n == s->size;
        int r;

        if (!whole && at > 0) {
                /* An error would be that of the chunk before. */
                r = bsl_raw_start(e->session, false, e->failure);
                if (r != 0)
                        return r;
        }
        e->offset = at;
        r = engine_package_fine(e, s->offset + at);
        if (r != 0)
                return r;
        if (last)
                engine_enter_stage(e, STAGE_CHECKING);
        return bsl_raw_data(e->session, data + at, n, whole, last, e->failure);
}

int engine_raw_send(Engine *e, const uint8_t *data, uint64_t size, bool *ret_refused) {
        const PlanStep *s = engine_step(e);
        bool whole = e->info.raw_level >= 2;
        uint32_t chunk = chunk_of(e);
        int r;

        r = bsl_raw_start(e->session, whole, e->failure);
        if (r == 1 && e->failure->class == CLASS_REFUSED && e->failure->reply == 0xfe) {
                e->refusals++;
                go_without(e);
                *ret_refused = true;
                return 0;
        }
        for (uint64_t at = 0; r == 0 && at < size;) {
                uint32_t n = (uint32_t) MIN(size - at, chunk);

                r = send_chunk(e, s, data, at, n, whole);
                if (r != 0)
                        break;
                at += n;
                engine_progress(e, at);
        }
        /* Level 1: only the answer to END tells that the last chunk was written, and checked before. */
        if (r == 0)
                r = bsl_end_raw(e->session, e->failure);
        if (r == 0)
                engine_enter_stage(e, s->stage);
        return r;
}
