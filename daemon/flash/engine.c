/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdarg.h>
#include <stdio.h>

/* What the steps have in common: order, intent, cancel, progress, and what is said about a failure. */

/* What may be known of the data that move: those of a package, never a unit's own. */
static TraceData data_of(const Engine *e) {
        const PlanStep *s = engine_step(e);
        bool written = s->op == PLAN_WRITE ||
                       (s->op == PLAN_VERIFY && s->write >= 0 && e->plan->steps[s->write].op == PLAN_WRITE);

        return s->op == PLAN_LOAD || (written && e->input->public_data) ? TRACE_PACKAGE : TRACE_PRIVATE;
}

void engine_enter_stage(Engine *e, Stage stage) {
        e->stage = stage;
        trace_step(e->input->trace, e->step, stage_to_string(stage), engine_subject(engine_step(e)), data_of(e));
        if (e->hooks->step)
                e->hooks->step(e->hooks->userdata, e->step, stage, engine_subject(engine_step(e)));
}

void engine_trace_session(const Engine *e, BslSession *s) {
        if (e->input->trace)
                bsl_session_set_trace(s, trace_event, e->input->trace);
}

void engine_progress(Engine *e, uint64_t within_step) {
        /* What is done twice is not told twice: the bar never goes back. */
        e->report->bytes_done = CLAMP(e->base + within_step, e->report->bytes_done, e->report->bytes_total);
        if (e->hooks->progress)
                e->hooks->progress(e->hooks->userdata, e->report->bytes_done, e->report->bytes_total);
}

void engine_fact(Engine *e, const char *key, const char *format, ...) {
        char value[512];
        va_list ap;

        if (!e->hooks->fact)
                return;
        va_start(ap, format);
        vsnprintf(value, sizeof(value), format, ap);
        va_end(ap);
        e->hooks->fact(e->hooks->userdata, key, value);
}

void engine_forget(Engine *e) {
        *e->failure = FAILURE_INIT;
        e->text_complete = false;
}

const char *engine_subject(const PlanStep *s) {
        return s->partition[0] ? s->partition : s->id;
}

int engine_package_fine(Engine *e, uint64_t offset) {
        const EngineInput *in = e->input;

        if (in->package_ok && !in->package_ok(in->package_userdata))
                return engine_fail(e, CLASS_HOST, "package",
                                   "the stored package cannot be read at byte %llu: the disk has an error there",
                                   (unsigned long long) offset);
        return 0;
}

int engine_copy(Engine *e, uint64_t offset, void *data, size_t size) {
        memcpy(data, e->input->package + offset, size);
        return engine_package_fine(e, offset);
}

int engine_intent(Engine *e) {
        int r;

        if (engine_cancelled(e))
                return -ECANCELED;
        if (!e->hooks->intent)
                return 0;
        r = e->hooks->intent(e->hooks->userdata, e->step, e->stage, engine_subject(engine_step(e)));
        if (r >= 0 || r == -ECANCELED)
                return MIN(r, 0);
        e->text_complete = true;
        failure_set_errno(e->failure, r,
                          "before %s: that this step begins could not be recorded on disk (%s), so it was not begun",
                          engine_subject(engine_step(e)), strerror(-r));
        if (r == -ETIMEDOUT)
                snprintf(e->failure->detail, sizeof(e->failure->detail), "no-go");
        else if (r == -EACCES || r == -EPERM)
                snprintf(e->failure->detail, sizeof(e->failure->detail), "state-owner");
        return 1;
}

static int run_op(Engine *e) {
        switch (engine_step(e)->op) {
        case PLAN_ENTER:
                return engine_enter(e);
        case PLAN_HANDSHAKE:
                return engine_handshake(e);
        case PLAN_LOAD:
                return engine_load(e);
        case PLAN_EXEC:
                return engine_exec(e);
        case PLAN_REENUMERATE:
                return engine_reenumerate(e);
        case PLAN_IDENTIFY:
                return engine_identify(e);
        case PLAN_EXT_TABLE:
                return engine_ext_table(e);
        case PLAN_FLASH_INFO:
                return engine_flash_info(e);
        case PLAN_RF_TYPE:
                return engine_rf_type(e);
        case PLAN_KEEP_CHARGE:
                return engine_keep_charge(e);
        case PLAN_CHECK:
                return engine_check(e);
        case PLAN_TIME_STAMP:
                return engine_time_stamp(e);
        case PLAN_APR:
                return engine_apr(e);
        case PLAN_BACKUP:
                return engine_backup(e);
        case PLAN_ERASE:
                return engine_erase(e);
        case PLAN_WRITE:
                return engine_write(e);
        case PLAN_WRITE_NV:
                return engine_write_nv(e);
        case PLAN_CHECK_NV:
                return engine_check_nv(e);
        case PLAN_READ:
                return engine_output(e);
        case PLAN_REPARTITION:
                return engine_repartition(e);
        case PLAN_RESTORE:
                return engine_restore(e);
        case PLAN_VERIFY:
                return engine_verify(e);
        case PLAN_EXAMINE_TABLE:
                return engine_examine_table(e);
        case PLAN_REPAIR_TABLE:
                return engine_repair_table(e);
        case PLAN_EXAMINE:
                return engine_examine(e);
        case PLAN_REPAIR:
                return engine_repair(e);
        case PLAN_RESET:
                return bsl_reset(e->session, e->failure);
        case PLAN_POWER_OFF:
                return bsl_power_off(e->session, e->failure);
        case PLAN_SERIAL:
                return engine_serial(e);
        case PLAN_INITIALISE:
                return engine_initialise(e);
        case PLAN_FIRST_MODE:
                return engine_first_mode(e);
        case PLAN_OP_MAX:
                break;
        }
        return -EINVAL;
}

bool engine_cancel_safe(const Plan *plan, unsigned step) {
        if (step >= plan->n_steps || plan->steps[step].destructive)
                return false;
        switch (plan->steps[step].op) {
        case PLAN_HANDSHAKE:
        case PLAN_LOAD:
        case PLAN_EXEC:
        case PLAN_REENUMERATE:
        case PLAN_IDENTIFY:
        case PLAN_EXT_TABLE:
        case PLAN_FLASH_INFO:
        case PLAN_RF_TYPE:
        case PLAN_KEEP_CHARGE:
        case PLAN_CHECK:
        case PLAN_BACKUP:
        case PLAN_SERIAL:
        case PLAN_READ:
        case PLAN_VERIFY:
        case PLAN_EXAMINE_TABLE:
        case PLAN_EXAMINE:
                return true;
        default:
                return false;
        }
}

/* After the last step that matters to flash a cancel comes too late: the unit is done but for its reset. */
static bool cancel_wanted(const Engine *e) {
        return !e->settled && engine_cancelled(e);
}

static const char *doing(const PlanStep *s) {
        switch (s->op) {
        case PLAN_ENTER:
                return "asking the running system for download mode";
        case PLAN_LOAD:
                return "sending the loader ";
        case PLAN_EXEC:
                return "starting the loader ";
        case PLAN_BACKUP:
        case PLAN_READ:
                return "reading ";
        case PLAN_ERASE:
                return "erasing ";
        case PLAN_WRITE:
        case PLAN_WRITE_NV:
        case PLAN_INITIALISE:
                return "writing ";
        case PLAN_CHECK_NV:
        case PLAN_VERIFY:
                return "checking ";
        case PLAN_REPARTITION:
                return "changing the partition table";
        case PLAN_EXAMINE_TABLE:
                return "looking at the partition table";
        case PLAN_REPAIR_TABLE:
                return "mending the partition table";
        case PLAN_EXAMINE:
                return "looking for what is broken";
        case PLAN_REPAIR:
                return "mending ";
        case PLAN_RESTORE:
                return "putting back the unit's own data";
        case PLAN_RESET:
                return "restarting the device";
        case PLAN_POWER_OFF:
                return "switching the device off";
        case PLAN_IDENTIFY:
                return "asking the loader what it runs on";
        case PLAN_EXT_TABLE:
                return "telling the loader the kinds of partitions";
        case PLAN_FLASH_INFO:
                return "asking the loader for block and page size of the flash";
        case PLAN_RF_TYPE:
                return "asking the loader for the radio chip";
        case PLAN_KEEP_CHARGE:
                return "telling the first loader to let the unit charge";
        case PLAN_CHECK:
                return "checking the unit";
        case PLAN_TIME_STAMP:
                return "writing the time stamp";
        case PLAN_APR:
                return "writing the package's build time";
        case PLAN_SERIAL:
                return "asking for the serial number";
        case PLAN_FIRST_MODE:
                return "telling the unit what to start as";
        case PLAN_REENUMERATE:
                return "waiting for the device to come back";
        default:
                return "meeting the device";
        }
}

static bool has_subject(const PlanStep *s) {
        return plan_step_bytes(s) > 0 || s->op == PLAN_EXEC || s->op == PLAN_ERASE || s->op == PLAN_READ || s->op == PLAN_REPAIR;
}

/* "writing AP at 0x60010000, byte 2048: the device answered 0x84 …" */
static void introduce(Engine *e, const PlanStep *s) {
        char text[sizeof(e->failure->text)], at[24] = "", byte[32] = "";
        Failure *f = e->failure;
        size_t n;

        /* A sentence becomes the end of one; "USB …" stays as it is. */
        if (f->text[0] >= 'A' && f->text[0] <= 'Z' && f->text[1] >= 'a')
                f->text[0] = (char) (f->text[0] + ('a' - 'A'));

        if (has_subject(s) && !s->partition[0] && s->op != PLAN_EXEC)
                snprintf(at, sizeof(at), " at 0x%llx", (unsigned long long) s->address);
        if (f->offset != U64_UNKNOWN && f->offset > 0)
                snprintf(byte, sizeof(byte), ", byte %llu", (unsigned long long) f->offset);
        snprintf(text, sizeof(text), "%s%.40s%s%s: ", doing(s), has_subject(s) ? engine_subject(s) : "", at, byte);
        n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%.*s", (int) (sizeof(text) - n - 1),
                 f->text[0] ? f->text : "the device did not do it");
        memcpy(f->text, text, sizeof(text));
}

/* A device that was told to change its flash and still owes the answer may be at it. */
static Verdict engine_verdict(const Engine *e) {
        const Failure *f = e->failure;

        if (!e->report->wrote)
                return VERDICT_UNCHANGED;
        if (e->settled)
                return VERDICT_COMPLETE;
        return f->class == CLASS_SLOW && f->aftermath != AFTERMATH_LEFT && f->aftermath != AFTERMATH_SYNCS ? VERDICT_BUSY : VERDICT_MUST_REFLASH;
}

static void complete_failure(Engine *e) {
        const PlanStep *s = engine_step(e);
        Failure *f = e->failure;

        if (f->stage == STAGE_INVALID)
                f->stage = e->stage;
        if (f->step < 0)
                f->step = (int32_t) e->step;
        if (!f->partition[0])
                snprintf(f->partition, sizeof(f->partition), "%.39s", engine_subject(s));
        if (f->offset == U64_UNKNOWN)
                f->offset = e->offset;
        if (f->address == U64_UNKNOWN && has_subject(s) && !s->partition[0])
                f->address = s->address;
        if (f->attempts == 0)
                f->attempts = 1;
        f->bytes_done = e->report->bytes_done;
        f->must_reflash = e->report->wrote && !e->settled;
        f->verdict = engine_verdict(e);
        if (!e->text_complete)
                introduce(e, s);
}

/* "Unknown" to what every loader knows: it obeys only who has proven himself (bsl-protocol §12 F9). */
static void tell_unauthorised(Engine *e) {
        static const char why[] = ": it accepts only the authorised tool of its maker";
        Failure *f = e->failure;
        size_t n = strlen(f->text);

        if (f->class != CLASS_REFUSED || f->reply != 0xfe || e->text_complete || n == 0 || n + sizeof(why) > sizeof(f->text) ||
            (e->stage != STAGE_BACKUP && e->stage != STAGE_ERASE && e->stage != STAGE_WRITE))
                return;
        if (f->text[n - 1] == '.')
                n--;
        strcpy(f->text + n, why);
}

/* 1 and -ECANCELED leave with everything filled in; our own faults become class host, so that the record has their
 * place. */
static int leave(Engine *e, int r) {
        if (r == 0)
                return 0;
        if (r == -ECANCELED && engine_cancelled(e)) {
                engine_forget(e);
                engine_fail(e, CLASS_NONE, "", "canceled");
                complete_failure(e);
                return -ECANCELED;
        }
        if (r < 0) {
                engine_forget(e);
                failure_set_errno(e->failure, r, "this computer could not go on: %s", strerror(-r));
        }
        engine_diagnose(e);
        tell_unauthorised(e);
        complete_failure(e);
        return 1;
}

int engine_prepare_all(Engine *e) {
        int r;

        if (e->prepared)
                return 0;
        r = engine_prepare_nv(e, -1);
        e->prepared = r == 0;
        return r;
}

static int begin_destructive(Engine *e) {
        int r = engine_prepare_all(e);

        if (r == 0)
                r = engine_restore_first(e);
        return r == 0 ? engine_intent(e) : r;
}

/* A refusal may be passed over where the plan says so, but never that of data which a later step must put back, nor one
 * that says that the loader obeys nobody (FE). */
static bool may_skip(const Engine *e, const PlanStep *s) {
        return s->optional && s->op != PLAN_CHECK && s->op != PLAN_KEEP_CHARGE && e->failure->class == CLASS_REFUSED && e->failure->reply != 0xfe &&
               !bsl_session_tainted(e->session) &&
               !(s->op == PLAN_BACKUP && engine_holds_nv(e->plan, e->step));
}

/* These ask when they know that there is something to write. */
static bool asks_itself(const PlanStep *s) {
        return s->op == PLAN_ENTER || s->op == PLAN_REPARTITION || s->op == PLAN_REPAIR_TABLE || s->op == PLAN_REPAIR;
}

static int do_step(Engine *e) {
        const PlanStep *s = engine_step(e);
        int r;

        if (s->op == PLAN_BACKUP && e->plan->options.repair && !engine_table_broken(e))
                return 0; /* nothing that is done can touch it */
        if (engine_skips(e, s)) {
                if (engine_other_storage(e, s) && !e->plan->options.repair)
                        engine_fact(e, "note", "%s is for %s, which this unit does not have: skipped", engine_subject(s),
                                    s->storage);
                return 0;
        }
        if (s->op == PLAN_WRITE && e->plan->options.skip_equal) {
                bool equal = false;
                r = engine_is_equal(e, &equal);
                if (r != 0 || equal)
                        return r;
        }
        if (plan_erases_all(s))
                r = engine_before_erase_all(e);
        else
                r = s->destructive && !asks_itself(s) ? begin_destructive(e) : 0;
        if (r != 0)
                return r;
        r = run_op(e);
        if (r == 1 && may_skip(e, s)) {
                engine_fact(e, "note", "%s%s: refused by the device, skipped as the plan allows", doing(s),
                            engine_subject(s));
                r = 0;
        }
        return r;
}

static int run_step(Engine *e) {
        const PlanStep *s = engine_step(e);
        int r;

        engine_forget(e);
        e->offset = U64_UNKNOWN;
        engine_enter_stage(e, s->stage);
        if (cancel_wanted(e))
                return -ECANCELED;
        r = do_step(e);
        if (r != 0)
                return r;
        if (s->op == PLAN_BACKUP || s->op == PLAN_READ || s->op == PLAN_ERASE || s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV)
                engine_obeyed(e);
        engine_drop_nv(e);
        e->base += s->op == PLAN_READ ? e->sizes[e->step] : plan_step_bytes(s);
        engine_progress(e, 0);
        e->report->steps_done++;
        engine_measure(e);
        e->settled = e->last_flash_step >= 0 && (int) e->step >= e->last_flash_step;
        return 0;
}

static int check_step(const EngineInput *in, const PlanStep *s, size_t i) {
        const Plan *plan = in->plan;
        bool from_package = s->op == PLAN_LOAD || s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV || s->op == PLAN_VERIFY;
        bool in_memory = s->op == PLAN_BACKUP || s->op == PLAN_INITIALISE || s->op == PLAN_WRITE_NV || s->op == PLAN_CHECK_NV;

        if (s->op == PLAN_FIRST_MODE && plan->options.first_mode == 0)
                return -EINVAL;
        if (s->op == PLAN_CHECK_NV &&
            (s->write < 0 || (size_t) s->write >= i || plan->steps[s->write].op != PLAN_WRITE_NV))
                return -EINVAL;
        if (s->op == PLAN_VERIFY && !plan->options.check_only &&
            (s->write < 0 || (size_t) s->write >= i || plan->steps[s->write].size != s->size))
                return -EINVAL;
        if (s->backup >= 0 && ((size_t) s->backup >= i || plan->steps[s->backup].op != PLAN_BACKUP))
                return -EINVAL;
        if (from_package && (s->size == 0 || s->size > in->package_size || s->offset > in->package_size - s->size))
                return -EINVAL;
        if (in_memory && (s->size == 0 || s->size > ENGINE_BACKUP_MAX))
                return -EINVAL;
        if ((from_package || in_memory) && (s->block < 2 || s->block > ENGINE_BLOCK_MAX - 2 || s->block % 2))
                return -EINVAL;
        /* The address form has 32 bits; an odd size is rounded up on its way. */
        if (!s->partition[0] && (s->address > UINT32_MAX || s->size > UINT32_MAX))
                return -EINVAL;
        if (s->op == PLAN_REPAIR && s->size > 0 &&
            (s->offset > in->package_size || s->size > in->package_size - s->offset || s->block < 2 || s->block > ENGINE_BLOCK_MAX - 2 || s->block % 2))
                return -EINVAL;
        if (s->op == PLAN_READ && (s->size == 0 || s->output == 0 || s->block < 2 || s->block > ENGINE_BLOCK_MAX - 2))
                return -EINVAL;
        return 0;
}

/* A plan that contradicts itself is a bug; it is found before a byte is sent. */
static int check_input(const EngineInput *in) {
        size_t first = in->plan->n_steps > 1 && in->plan->steps[0].op == PLAN_ENTER;

        if (in->plan->n_steps == 0 || in->plan->steps[first].op != PLAN_HANDSHAKE)
                return -EINVAL;
        for (size_t i = 0; i < in->plan->n_steps; i++) {
                int r = check_step(in, in->plan->steps + i, i);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What this family or product is known to need, whatever the settings say. */
static void set_deadlines(Engine *e) {
        const BslDeadlines *least = &e->plan->at_least;

        e->deadlines = e->input->deadlines;
#define X(field, value, floor) e->deadlines.field = MAX(e->deadlines.field, least->field);
        BSL_DEADLINES(X)
#undef X
}

static int engine_prepare(Engine *e) {
        const Plan *plan = e->plan;

        set_deadlines(e);
        for (size_t i = 0; i < 2; i++)
                if (e->input->traits[i])
                        e->traits[i] = *e->input->traits[i];
        for (size_t i = 0; i < plan->n_steps; i++) {
                e->report->bytes_total += plan_step_bytes(plan->steps + i);
                if (plan->steps[i].destructive || plan->steps[i].op == PLAN_CHECK_NV ||
                    plan->steps[i].op == PLAN_RESTORE || plan->steps[i].op == PLAN_VERIFY)
                        e->last_flash_step = (int) i;
        }
        e->block = malloc(ENGINE_BLOCK_MAX);
        e->images = calloc(plan->n_steps, sizeof(*e->images));
        e->sizes = calloc(plan->n_steps, sizeof(*e->sizes));
        e->proven = calloc(plan->n_steps, sizeof(*e->proven));
        e->repair = engine_repair_new(plan);
        e->equal = calloc(plan->n_steps, sizeof(*e->equal));
        e->session = bsl_session_new(e->channel, &e->deadlines);
        if (e->session)
                engine_trace_session(e, e->session);
        return e->block && e->images && e->sizes && e->proven && e->equal && e->repair && e->session ? 0 : -ENOMEM;
}

/* A plan that only wanted to know who answers. */
static bool only_met(const Engine *e) {
        for (unsigned i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op != PLAN_HANDSHAKE)
                        return false;
        return e->met && e->step == e->plan->n_steps;
}

/* Nothing is outstanding and nobody was sent away: whoever comes next finds it as it is now. */
static void note_resting(Engine *e) {
        unsigned last = plan_last_loader(e->plan);
        bool restarted = false;

        if (e->runs == RUNS_ROM && only_met(e) && bsl_session_stage(e->session) == BSL_STAGE_BROM) {
                e->report->resting = (EngineResting){.valid = true, .rom = true};
                return;
        }
        for (unsigned i = 0; i < e->step && i < e->plan->n_steps; i++)
                restarted = restarted || e->plan->steps[i].op == PLAN_RESET || e->plan->steps[i].op == PLAN_POWER_OFF;
        if (e->runs != RUNS_LAST || restarted || !e->session || bsl_session_tainted(e->session) || e->failure->class == CLASS_GONE ||
            (e->step < e->plan->n_steps && (engine_step(e)->op == PLAN_RESET || engine_step(e)->op == PLAN_POWER_OFF)))
                return;
        e->report->resting = (EngineResting){.valid = true, .info = e->info, .refusals = e->refusals, .old = e->old};
        if (e->certain[last])
                memcpy(e->report->resting.loader, e->plan->loader[last], sizeof(e->report->resting.loader));
}

static void engine_done(Engine *e) {
        bsl_session_free(e->session);
        for (size_t i = 0; e->images && i < e->plan->n_steps; i++)
                engine_image_clear(e->images + i);
        free(e->images);
        free(e->sizes);
        free(e->proven);
        free(e->equal);
        free(e->block);
        engine_repair_free(e->repair, e->plan);
        table_clear(&e->live);
        engine_saved_free(e->saved, e->n_saved);
}

int engine_run(const EngineInput *input, Channel *channel, const EngineHooks *hooks, EngineReport *ret, Failure *f) {
        Engine e = {
                .input = input, .plan = input->plan, .hooks = hooks, .report = ret, .failure = f, .channel = channel,
                .last_flash_step = -1, .offset = U64_UNKNOWN, .stage = STAGE_HANDSHAKE,
        };
        int r;

        *ret = (EngineReport) {};
        *f = FAILURE_INIT;
        if (input->plan->not_executable[0]) {
                f->stage = STAGE_HANDSHAKE;
                return failure_set(f, CLASS_PLAN, "not-executable", "%s", input->plan->not_executable);
        }
        r = check_input(input);
        if (r < 0)
                return r;
        r = engine_prepare(&e);
        for (; r == 0 && e.step < e.plan->n_steps; e.step++) {
                r = run_step(&e);
                if (r != 0)
                        break;
        }
        if (r == 0) {
                engine_tell_verified(&e);
                engine_tell_slowest(&e);
        }
        r = leave(&e, r);
        note_resting(&e);
        if (e.session)
                ret->retries += bsl_session_retries(e.session);
        engine_done(&e);
        return r;
}
