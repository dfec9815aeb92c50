/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

/* From the first byte until the last loader runs. Nothing here touches flash. */

/* How long one kind of question is asked before another is tried, while nobody knows what runs on the device. The first
 * time it is only the sync byte, and for long: a boot ROM that is slow to wake up may take anything else for a damaged frame,
 * and be lost until its power is cut (bsl-protocol §14.1). A device that has been on the bus for so long is awake: when it does
 * not answer the sync byte then, it is a loader that somebody else has met. */
#define FIRST_SYNC_MS 5000U
#define FIRST_SYNC_AWAKE_MS 800U
#define PROBE_MS 1500U
#define RETURNS_MAX 3

/* Asks with deadlines of its own in a session of its own: a question that stays without answer must not taint the
 * session that will write. */
static int probe(Engine *e, const BslDeadlines *deadlines, int (*ask)(BslSession *s, const BslDeadlines *d, Failure *f),
                 BslSession **ret) {
        _cleanup_(bsl_session_freep) BslSession *s = bsl_session_new(e->channel, deadlines);
        int r;

        if (!s)
                return -ENOMEM;
        engine_trace_session(e, s);
        engine_forget(e);
        r = ask(s, deadlines, e->failure);
        *ret = TAKE_PTR(s);
        return r;
}

static int ask_sync(BslSession *s, const BslDeadlines *d, Failure *f) {
        return bsl_sync(s, d->sync_brom, d->sync_brom_window, f);
}
static int ask_pdl(BslSession *s, const BslDeadlines *d _unused_, Failure *f) {
        return bsl_pdl_connect(s, f);
}
static int ask_loader(BslSession *s, const BslDeadlines *d _unused_, Failure *f) {
        return bsl_connect_running(s, f);
}

/* Not a word, or not one that can be understood: worth another question. */
static bool unanswered(const Failure *f) {
        return f->class == CLASS_SILENT || f->class == CLASS_SLOW || f->class == CLASS_GARBLED;
}

/* "reboot autodloader" erases the boot loader, so that a phone stays in download mode (bsl-protocol §10.2, §12 F23). */
static void note_autodloader(Engine *e) {
        if (strncmp(bsl_session_version(e->session), "SPRD4:AutoD", 11) != 0)
                return;
        for (size_t i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_WRITE && streq(e->plan->steps[i].partition, "splloader"))
                        return;
        engine_fact(e, "note", "the device came here by erasing its own boot loader (autodloader), and this job does not write one: until "
                    "splloader is written, it starts into download mode only");
}

static void adopt(Engine *e, BslSession *s, EngineRuns runs) {
        bsl_session_free(e->session);
        e->session = s;
        e->runs = runs;
        e->met = true;
        bsl_session_set_deadlines(s, &e->deadlines);
        if (runs == RUNS_LAST)
                bsl_session_set_stage(s, BSL_STAGE_FDL2);
        engine_forget(e);
        if (bsl_session_version(s)[0])
                engine_fact(e, "loader-version", "%s", bsl_session_version(s));
        note_autodloader(e);
        if (runs != RUNS_ROM)
                engine_fact(e, "note", "a loader was running already, so it was not loaded again");
}

static int other_family(Engine *e, const char *answered) {
        return engine_fail(e, CLASS_MISMATCH, "family",
                           "%s answered, and the package is for a device of another kind (%.31s); nothing was sent to it",
                           answered, e->plan->family);
}

/* Who has been met before does not answer a sync any more, but he knows CONNECT (or, on phones, a loader refuses it): a loader of an
 * earlier job, or a boot ROM whose answer to our own sync was lost. */
static int meet_running(Engine *e, uint32_t ms) {
        BslDeadlines d = e->deadlines;
        _cleanup_(bsl_session_freep) BslSession *s = NULL;
        int r;

        d.connect = MIN(d.connect, ms);
        r = probe(e, &d, ask_loader, &s);
        if (r == 1 && e->failure->reply == 0xfe) {
                engine_met_running(e);
                adopt(e, TAKE_PTR(s), RUNS_LAST);
        } else if (r == 0 && bsl_session_stage(s) == BSL_STAGE_BROM) {
                if (e->plan->protocol == PLAN_PDL)
                        return other_family(e, "a boot ROM without PDL");
                adopt(e, TAKE_PTR(s), RUNS_ROM);
                engine_fact(e, "note", "the boot ROM had been met before");
        } else if (r == 0 && e->plan->single_loader)
                adopt(e, TAKE_PTR(s), RUNS_LAST);
        else if (r == 0)
                adopt(e, TAKE_PTR(s), RUNS_FIRST_OR_LAST);
        else
                return r;
        return 0;
}

/* A version came: its check told who speaks. */
static int meet_synced(Engine *e, BslSession *s) {
        EngineRuns runs = RUNS_ROM;

        if (bsl_session_stage(s) == BSL_STAGE_BROM && e->plan->protocol == PLAN_PDL && e->plan->family[0]) {
                char answered[96];

                snprintf(answered, sizeof(answered), "a boot ROM without PDL (%.64s)", bsl_session_version(s));
                bsl_session_free(s);
                return other_family(e, answered);
        }
        if (bsl_session_stage(s) != BSL_STAGE_BROM)
                runs = e->plan->single_loader          ? RUNS_LAST
                       : e->plan->protocol == PLAN_PDL ? RUNS_FIRST_OR_LAST
                                                       : RUNS_FIRST;
        adopt(e, s, runs);
        return bsl_connect(e->session, e->failure);
}

static int meet_sync(Engine *e, uint32_t window_ms) {
        BslDeadlines d = e->deadlines;
        _cleanup_(bsl_session_freep) BslSession *s = NULL;
        int r;

        d.sync_brom_window = MIN(d.sync_brom_window, window_ms);
        r = probe(e, &d, ask_sync, &s);
        return r == 0 ? meet_synced(e, TAKE_PTR(s)) : r;
}

static int meet_pdl(Engine *e) {
        BslDeadlines d = e->deadlines;
        _cleanup_(bsl_session_freep) BslSession *s = NULL;
        int r;

        d.pdl_connect_window = MIN(d.pdl_connect_window, PROBE_MS);
        r = probe(e, &d, ask_pdl, &s);
        if (r != 0)
                return r;
        adopt(e, TAKE_PTR(s), RUNS_ROM);
        return 0;
}

static uint32_t first_sync(const Engine *e) {
        uint32_t there = MIN(e->input->on_bus_ms, FIRST_SYNC_MS - FIRST_SYNC_AWAKE_MS);

        return FIRST_SYNC_MS - there;
}

static int meet_round(Engine *e, bool first) {
        bool pdl = e->plan->protocol == PLAN_PDL, garbled;
        int r;

        r = pdl ? meet_pdl(e) : meet_sync(e, first ? first_sync(e) : PROBE_MS);
        garbled = r == 1 && e->failure->class == CLASS_GARBLED;
        if (pdl && r == 1 && unanswered(e->failure))
                r = meet_sync(e, PROBE_MS / 2);
        if (r != 1 || e->met || e->failure->class != CLASS_SILENT)
                return r;
        r = meet_running(e, PROBE_MS / 2);
        /* A ROM that has not been greeted refuses what only a loader can decode. */
        if (r == 1 && (e->failure->class == CLASS_REFUSED || (garbled && e->failure->class == CLASS_SILENT)))
                e->failure->class = CLASS_GARBLED;
        return r;
}

/* Asked last of all: to a ROM that does not know PDL these are bytes without a frame, but nobody needs them to find that out. */
static bool speaks_pdl(Engine *e) {
        BslDeadlines d = e->deadlines;
        _cleanup_(bsl_session_freep) BslSession *s = NULL;

        d.pdl_connect_window = MIN(d.pdl_connect_window, PROBE_MS);
        return e->plan->protocol != PLAN_PDL && probe(e, &d, ask_pdl, &s) == 0;
}

static int nobody_answered(Engine *e, uint32_t window, uint64_t waited, uint32_t attempts) {
        FailClass class = e->failure->class;

        engine_forget(e);
        e->failure->attempts = attempts;
        e->failure->deadline_ms = window;
        e->failure->waited_ms = (uint32_t) MIN(waited, UINT32_MAX);
        snprintf(e->failure->command, sizeof(e->failure->command), "%s",
                 e->plan->protocol == PLAN_PDL ? "PDL CONNECT" : "CHECK_BAUD");
        return failure_set(e->failure, class, "", "the device %s within %g seconds",
                           class == CLASS_GARBLED ? "said nothing that can be understood" : "did not answer",
                           waited < 1000 ? (double) waited / 1000 : (double) (waited / 1000)); /* NOLINT: whole seconds */
}

/* Our last session has left the loader waiting. */
static void go_on(Engine *e) {
        const EngineResting *resting = &e->input->resting;
        unsigned last = plan_last_loader(e->plan);

        bsl_session_set_check(e->session, BSL_CHECK_SUM);
        bsl_session_set_stage(e->session, BSL_STAGE_FDL2);
        e->runs = RUNS_LAST;
        e->met = true;
        e->info = resting->info;
        e->refusals = resting->refusals;
        e->old = resting->old;
        e->certain[last] = resting->loader[0] && streq(resting->loader, e->plan->loader[last]);
}

/* Our last session has only greeted the ROM. Without an answer it is met as if nobody had. */
static int go_on_with_rom(Engine *e) {
        int r;

        if (e->plan->protocol == PLAN_PDL && e->plan->family[0])
                return other_family(e, "a boot ROM without PDL");
        bsl_session_set_check(e->session, BSL_CHECK_CRC16);
        bsl_session_set_stage(e->session, BSL_STAGE_BROM);
        r = bsl_connect(e->session, e->failure);
        if (r == 0) {
                e->runs = RUNS_ROM;
                e->met = true;
        }
        return r;
}

/* The daemon ended in the middle of its work. Without an answer it is met as if nobody had. */
static int go_on_with_left(Engine *e) {
        BslSession *s = NULL;
        int r = engine_meet_left(e, &s);

        if (r != 0)
                return r;
        engine_met_running(e);
        adopt(e, s, RUNS_LAST);
        return 0;
}

int engine_handshake(Engine *e) {
        const BslDeadlines *d = &e->deadlines;
        uint64_t begin = channel_now(e->channel), waited = 0;
        uint32_t window = e->plan->protocol == PLAN_PDL ? d->pdl_connect_window : d->sync_brom_window;
        uint32_t attempts = 0;
        int r;

        r = bsl_open_port(e->session, e->failure);
        if (r != 0)
                return r;
        if (e->input->resting.valid && e->input->resting.rom) {
                r = go_on_with_rom(e);
                if (r != 1 || !unanswered(e->failure))
                        return r;
                begin = channel_now(e->channel);
        } else if (e->input->resting.valid) {
                go_on(e);
                return 0;
        }
        if (e->input->left[0]) {
                r = go_on_with_left(e);
                if (r <= 0 || e->failure->class == CLASS_GONE)
                        return r;
                begin = channel_now(e->channel);
        }
        while (waited < window) {
                r = meet_round(e, attempts == 0);
                attempts++;
                if (r != 1 || e->met || !unanswered(e->failure))
                        return r;
                if (engine_cancelled(e))
                        return -ECANCELED;
                waited = channel_now(e->channel) - begin;
        }
        if (e->failure->class == CLASS_SILENT) {
                if (speaks_pdl(e)) {
                        engine_forget(e);
                        return other_family(e, "a boot ROM that speaks PDL (UIS8910)");
                }
                e->failure->class = CLASS_SILENT;
        }
        return nobody_answered(e, window, waited, attempts);
}

static bool is_first(const PlanStep *s) {
        return s->stage == STAGE_LOAD_FDL1 || s->stage == STAGE_EXEC_FDL1;
}

/* True if what the step would load or start is running. */
static bool past(const Engine *e, const PlanStep *s) {
        return is_first(s) ? e->runs != RUNS_ROM : e->runs == RUNS_LAST;
}

static int start_loader(Engine *e, const PlanStep *s) {
        uint32_t announced = (uint32_t) (s->size + s->size % 2);
        int r;

        if (s->protocol == PLAN_PDL)
                return bsl_pdl_start(e->session, (uint32_t) s->address, (uint32_t) s->size, e->failure);
        r = bsl_start_address(e->session, (uint32_t) s->address, announced, NULL, e->failure);
        /* A module's last loader knows no RAM addresses: that is how it tells itself from the first. */
        if (r == 1 && e->runs == RUNS_FIRST_OR_LAST && e->failure->reply == 0x89) {
                engine_forget(e);
                e->runs = RUNS_LAST;
                bsl_session_set_stage(e->session, BSL_STAGE_FDL2);
                return 0;
        }
        return r;
}

/* Sends one block and makes the next one ready meanwhile. */
static int load_block(Engine *e, const PlanStep *s, uint32_t index, uint64_t at, size_t n) {
        const uint8_t *image = e->input->package + s->offset;
        size_t next = (size_t) MIN(s->size - at - n, s->block);
        int r;

        if (s->protocol == PLAN_PDL) {
                r = engine_copy(e, s->offset + at, e->block, n);
                return r == 0 ? bsl_pdl_midst(e->session, index, e->block, n, e->failure) : r;
        }
        if (at == 0)
                bsl_midst_prepare(e->session, image, n);
        r = engine_package_fine(e, s->offset + at);
        if (r != 0)
                return r;
        return bsl_midst_then(e->session, image + at, n, next == 0, next > 0 ? image + at + n : NULL, next, e->failure);
}

int engine_load(Engine *e) {
        const PlanStep *s = engine_step(e);
        uint32_t index = 0;
        int r;

        if (past(e, s))
                return 0;
        r = start_loader(e, s);
        if (r != 0 || past(e, s))
                return r;
        if (!is_first(s))
                e->runs = RUNS_FIRST;
        for (uint64_t at = 0; at < s->size; index++) {
                size_t n = (size_t) MIN(s->size - at, s->block);

                if (engine_cancelled(e))
                        return -ECANCELED;
                e->offset = at;
                r = load_block(e, s, index, at, n);
                if (r != 0)
                        return r;
                at += n;
                engine_progress(e, at);
        }
        return s->protocol == PLAN_PDL ? bsl_pdl_end(e->session, e->failure) : bsl_end(e->session, e->failure);
}

static int still_rom(Engine *e, const char *how) {
        return engine_fail(e, CLASS_MISMATCH, "still-rom",
                           "the boot ROM answered (%s) where the started loader should have: it did not start", how);
}

/* Loaders of modules answer the sync bytes once: if that answer was lost, they take commands already. Whatever comes of the question,
 * the sync that stayed without answer is what is told if nobody can be met. */
static int connect_unsynced(Engine *e) {
        Failure silence = *e->failure;
        BslDeadlines d = e->deadlines;
        int r;

        d.connect = MIN(d.connect, PROBE_MS / 2);
        bsl_session_set_deadlines(e->session, &d);
        engine_forget(e);
        r = bsl_connect_running(e->session, e->failure);
        bsl_session_set_deadlines(e->session, &e->deadlines);
        if (r == 1 && bsl_session_check(e->session) == BSL_CHECK_CRC16)
                return still_rom(e, "with its own check");
        if (r == 1 && e->failure->class != CLASS_GONE)
                *e->failure = silence;
        return r;
}

/* Sync until the started loader answers. Its first answers may be lost while it sets up clocks and RAM. */
static int meet_started(Engine *e, uint32_t window_ms) {
        const char *version = bsl_session_version(e->session);
        bool synced;
        int r;

        r = bsl_sync(e->session, e->deadlines.sync_fdl1, window_ms, e->failure);
        synced = r == 0;
        if (r == 1 && unanswered(e->failure))
                r = connect_unsynced(e);
        if (r != 0)
                return r;
        if (bsl_session_stage(e->session) == BSL_STAGE_BROM)
                return still_rom(e, synced ? version : "with its own check");
        if (synced) {
                engine_fact(e, "loader-version", "%s", version);
                r = bsl_connect(e->session, e->failure);
        }
        if (r != 0)
                return r;
        e->runs = e->plan->single_loader ? RUNS_LAST : RUNS_FIRST;
        /* From here on it may write: no sync may make up for an answer that is missing. */
        if (e->runs == RUNS_LAST) {
                bsl_session_set_stage(e->session, BSL_STAGE_FDL2);
                engine_fact(e, "loaders", "started");
        }
        return 0;
}

static int go_on_after_return(Engine *e, Channel *channel) {
        int r;

        e->channel = channel;
        bsl_session_set_channel(e->session, channel);
        r = bsl_open_port(e->session, e->failure);
        if (r == 0)
                r = meet_started(e, e->deadlines.sync_fdl1_window);
        /* A started loader stays in RAM as long as there is power: what answers from its ROM is not what we have met. */
        if (r == 1 && e->failure->class == CLASS_MISMATCH && streq(e->failure->detail, "still-rom"))
                return engine_fail(e, CLASS_MISMATCH, "other-unit",
                                   "another unit in this slot: what came back after the first loader was started is a boot ROM (%.40s) that no loader "
                                   "was sent to, or the same unit lost its power meanwhile; nothing was written", bsl_session_version(e->session));
        if (r == 0)
                engine_fact(e, "note",
                            "the device left the bus after its first loader was started and came back; identity not proven over "
                            "that: this stage offers none, port and time decide");
        return r;
}

/* The device left the bus after its loader was started; some loaders do so on purpose. One that was not expected to and
 * does not return is a failure of the start. */
static int wait_back(Engine *e, bool *ret_back) {
        uint32_t timeout = e->deadlines.second_enumeration;
        Stage before = e->stage;
        Channel *channel = NULL;
        int r;

        *ret_back = false;
        if (!e->hooks->reenumerate)
                return 1;
        engine_forget(e);
        if (before != STAGE_REENUMERATE)
                engine_enter_stage(e, STAGE_REENUMERATE);
        r = e->hooks->reenumerate(e->hooks->userdata, timeout, &channel, e->failure);
        if (before != STAGE_REENUMERATE)
                engine_enter_stage(e, before);
        *ret_back = r == 0;
        return r == 0 ? go_on_after_return(e, channel) : r;
}

/* A loose plug may do it more than once. */
static int wait_back_if_gone(Engine *e, int r) {
        bool back = true;

        for (unsigned i = 0; r == 1 && e->failure->class == CLASS_GONE && back && i < RETURNS_MAX; i++)
                r = wait_back(e, &back);
        return r;
}

static bool reenumeration_planned(const Engine *e) {
        return e->step + 1 < e->plan->n_steps && engine_step(e)[1].op == PLAN_REENUMERATE;
}

static int exec_first(Engine *e, const PlanStep *s) {
        int r;

        r = s->protocol == PLAN_PDL ? bsl_pdl_exec(e->session, e->failure) : bsl_exec_brom(e->session, e->failure);
        if (reenumeration_planned(e) && (r == 0 || (r == 1 && e->failure->class == CLASS_GONE))) {
                engine_forget(e);
                return 0;
        }
        if (r == 0)
                r = meet_started(e, e->deadlines.sync_fdl1_window);
        return wait_back_if_gone(e, r);
}

int engine_exec(Engine *e) {
        const PlanStep *s = engine_step(e);
        int r;

        if (past(e, s))
                return 0;
        e->certain[is_first(s) ? 0 : 1] = true;
        if (is_first(s))
                return exec_first(e, s);
        r = bsl_exec_fdl2(e->session, &e->info, e->failure);
        if (r != 0)
                return r;
        e->greeted = true;
        e->runs = RUNS_LAST;
        engine_fact(e, "loaders", "started");
        return 0;
}

int engine_reenumerate(Engine *e) {
        int r;

        /* Met already: it had been running, or came back sooner. */
        if (e->runs != RUNS_ROM)
                return 0;
        r = meet_started(e, e->deadlines.second_enumeration);
        return wait_back_if_gone(e, r);
}
