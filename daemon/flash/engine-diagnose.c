/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

/* A deadline that expired says little. What is learned here costs seconds at most, and tells a slow device from a dead one, and
 * a loader that is lost from a computer that is. Nothing is sent that could change flash (design §2.3). */

#define LISTEN_MS 2000U
#define SYNC_MS 1500U
#define LOOK_MS 1000U

static bool is_link_failure(FailClass class) {
        return class == CLASS_SILENT || class == CLASS_SLOW || class == CLASS_GARBLED;
}

/* What it says after its time limit is of no use any more, but it lives. */
static bool still_talks(Engine *e) {
        Failure *f = e->failure;

        if (f->class == CLASS_SLOW)
                return true;
        return f->class == CLASS_SILENT && e->stage != STAGE_HANDSHAKE && bsl_listen(e->session, MIN(LISTEN_MS, e->deadlines.midst), f);
}

/* Only what cannot touch flash may be asked for a new session: a boot ROM and a first loader. What was asked for one just now is not
 * asked again. */
static bool may_sync(const Engine *e) {
        switch (e->stage) {
        case STAGE_LOAD_FDL1:
        case STAGE_EXEC_FDL1:
        case STAGE_REENUMERATE:
        case STAGE_LOAD_FDL2:
        case STAGE_EXEC_FDL2:
                break;
        default:
                return false;
        }
        return e->met && e->runs != RUNS_LAST && e->plan->protocol != PLAN_PDL && !streq(e->failure->command, "CHECK_BAUD") &&
               bsl_session_stage(e->session) != BSL_STAGE_FDL2;
}

static bool syncs(Engine *e) {
        uint32_t window = MIN(SYNC_MS, e->deadlines.sync_fdl1_window);
        Failure own = FAILURE_INIT;

        if (!may_sync(e) || bsl_sync(e->session, MIN(e->deadlines.sync_fdl1, window / 3), window, &own) != 0)
                return false;
        engine_fact(e, "note", "after the failure the device answered a sync: %s", bsl_session_version(e->session));
        return true;
}

/* Modules and feature phones take over the port as their ROM left it; nobody knows what they make of a request that it did not expect. */
static uint32_t look_ms(const Engine *e) {
        return e->plan->protocol == PLAN_PDL || e->plan->single_loader ? 0 : MIN(LOOK_MS, e->deadlines.other);
}

static Aftermath look(Engine *e) {
        int r = channel_look(e->channel, 0);

        if (r == -ENODEV)
                return AFTERMATH_LEFT;
        if (syncs(e) || engine_settle(e))
                return AFTERMATH_SYNCS;
        r = channel_look(e->channel, look_ms(e));
        return r == 0 ? AFTERMATH_UNRESPONSIVE : r == -ENODEV ? AFTERMATH_LEFT : r == -ETIMEDOUT ? AFTERMATH_MUTE : AFTERMATH_NONE;
}

/* While it checks an image it is asked for nothing: what it does not say by itself, only its port can tell. */
static void judge_checking(Engine *e) {
        Failure *f = e->failure;

        if (e->stage == STAGE_CHECKING && f->class == CLASS_SILENT && !f->detail[0] &&
            (f->aftermath == AFTERMATH_MUTE || f->aftermath == AFTERMATH_LEFT) && look_ms(e) > 0)
                snprintf(f->detail, sizeof(f->detail), "dead");
}

void engine_diagnose(Engine *e) {
        Failure *f = e->failure;
        const char *log = bsl_session_log(e->session);

        if (log[0]) {
                f->situation |= 1U << SITUATION_SENT_LOG;
                engine_fact(e, "device-log", "%s", log);
        }
        if (f->class == CLASS_GONE)
                f->aftermath = AFTERMATH_LEFT;
        else if (f->class == CLASS_REFUSED || (f->class == CLASS_MISMATCH && e->met))
                f->aftermath = AFTERMATH_ANSWERED;
        else if (!is_link_failure(f->class) || engine_cancelled(e))
                return;
        else if (still_talks(e))
                f->aftermath = engine_settle(e) ? AFTERMATH_SYNCS : AFTERMATH_TALKING;
        else
                f->aftermath = look(e);
        judge_checking(e);
}
