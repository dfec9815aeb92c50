/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

/* A last loader in the middle of something that was broken off: by the end of the daemon, or by an answer that was lost or damaged. It is
 * asked for the chip UID, which it has told before. CONNECT would do as well but for its price: loaders made from U-Boot do not know it, and
 * lose one of three buffers to each command that they do not know (bsl-protocol §4.5). */

#define LEFT_MS 10000U /* it may still be writing what it was sent last */

static int ask(Engine *e, BslSession *s, bool drop, uint32_t ms, char ret_unit[static 65], Failure *f) {
        engine_trace_session(e, s);
        return bsl_meet_again(s, drop, ms, ret_unit, 65, f);
}

/* What was sent without a frame would be data to it, and so would the question. */
static bool in_frames(const Engine *e) {
        return !e->input->raw && e->raw != RAW_ON;
}

int engine_meet_left(Engine *e, BslSession **ret) {
        _cleanup_(bsl_session_freep) BslSession *s = NULL;
        const char *left = e->input->left;
        int drops = engine_answers(e, Q_DISABLE_TRANSCODE), r;

        engine_forget(e);
        /* Where it is not known whether it can do without escaping, nobody knows how it speaks now. */
        if (!left[0] || !streq(left, e->plan->loader[plan_last_loader(e->plan)]) || !in_frames(e) || drops < 0 || engine_answers(e, Q_READ_CHIP_UID) == 0)
                return failure_set(e->failure, CLASS_SILENT, "", "the device was not asked");
        s = bsl_session_new(e->channel, &e->deadlines);
        if (!s)
                return -ENOMEM;
        r = ask(e, s, drops == 1, MIN(LEFT_MS, e->deadlines.midst), e->unit, e->failure);
        if (r == 0) {
                engine_fact(e, "chip-uid", "%s", e->unit);
                *ret = TAKE_PTR(s);
        }
        return r;
}

/* After one of these the device may be at something that lasts, or on its way off the bus. */
static bool may_be_busy(const Engine *e) {
        PlanOp op = engine_step(e)->op;

        return e->stage == STAGE_CHECKING || op == PLAN_ERASE || op == PLAN_REPARTITION || op == PLAN_REPAIR_TABLE || op == PLAN_RESET || op == PLAN_POWER_OFF;
}

bool engine_settle(Engine *e) {
        _cleanup_(bsl_session_freep) BslSession *s = NULL;
        Failure own = FAILURE_INIT;
        char unit[65] = "";

        if (e->runs != RUNS_LAST || !bsl_session_tainted(e->session) || !in_frames(e) || may_be_busy(e) || !e->unit[0] || strncmp(e->unit, "flash:", 6) == 0)
                return false;
        s = bsl_session_new(e->channel, &e->deadlines);
        if (!s || ask(e, s, !bsl_session_transcoding(e->session), e->deadlines.other, unit, &own) != 0 || !streq(unit, e->unit))
                return false;
        e->report->retries += bsl_session_retries(e->session);
        bsl_session_free(e->session);
        e->session = TAKE_PTR(s);
        engine_fact(e, "note", "after the failure the loader answered again, so it can be tried again without a new power-up");
        return true;
}
