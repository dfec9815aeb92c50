/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "common/closer.h"
#include "station/evidence.h"
#include "station/internal.h"
#include "station/loaders.h"
#include "station/serial.h"
#include "station/steps-internal.h"
#include "station/trail.h"

/* A job on its device: from worker_start() to RECORD_DONE. */

#define SMALLEST_BLOCK 0x100

/* ---- jobs at work ---- */

void active_add(Job *job) {
        Station *s = job->station;

        job->run->active_next = s->active;
        s->active = job;
        s->n_active++;
        job->run->active_usec = now_monotonic();
        tick_update(s);
}

void active_remove(Job *job) {
        Station *s = job->station;

        for (Job **at = &s->active; *at; at = &(*at)->run->active_next)
                if (*at == job) {
                        *at = job->run->active_next;
                        s->n_active--;
                        tick_update(s);
                        return;
                }
}

Job *job_find_active(Station *s, uint64_t id) {
        for (Job *job = s->active; job; job = job->run->active_next)
                if (job->id == id)
                        return job;
        return NULL;
}

/* ---- start ---- */

/* Handshake alone, or with a reset behind it: no package needed. `pdl`: the device's ids are those of a ROM that speaks PDL. */
int small_plan(bool reset, bool power_off, bool pdl, Plan **ret) {
        Plan *plan = calloc(1, sizeof(Plan));

        if (!plan)
                return -ENOMEM;
        plan->steps = calloc(2, sizeof(PlanStep));
        if (!plan->steps) {
                free(plan);
                return -ENOMEM;
        }
        plan->steps[0] = (PlanStep){.op = PLAN_HANDSHAKE, .stage = STAGE_HANDSHAKE, .backup = -1};
        plan->steps[1] = (PlanStep){.op = power_off ? PLAN_POWER_OFF : PLAN_RESET, .stage = STAGE_FINISH, .backup = -1};
        plan->n_steps = reset ? 2 : 1;
        plan->options.finish = FINISH_NOTHING;
        plan->partition_unit = -1;
        plan->protocol = pdl ? PLAN_PDL : PLAN_BSL;
        *ret = plan;
        return 0;
}

/* After garbled attempts: what is lost on a bad line is less with smaller frames. */
static void shrink_blocks(Plan *plan, unsigned times) {
        plan->smaller = times;
        for (size_t i = 0; i < plan->n_steps; i++)
                for (unsigned n = 0; n < times && plan->steps[i].block / 2 >= SMALLEST_BLOCK; n++)
                        plan->steps[i].block = plan->steps[i].block / 2 & ~3U;
}

/* What the daemon's end broke off goes on with the same unit, as far as it had told who it is. */
static void expect_unit(const Job *job, char ret[static 65]) {
        const Job *old = job->retry_of > 0 ? station_find_job(job->station, job->retry_of) : NULL;

        if (old && old->result == JOB_RESULT_INTERRUPTED)
                snprintf(ret, 65, "%s", old->run->unit);
}

static int make_spec(Job *job, const Device *d, JobSpec **ret) {
        JobSpec *spec = calloc(1, sizeof(JobSpec));
        bool left;
        int r;

        if (!spec)
                return -ENOMEM;
        spec->job_id = job->id;
        snprintf(spec->name, sizeof(spec->name), "fdl-%u-%u", d->busnum, d->devnum);
        spec->target = device_target(d);
        spec->deadlines = job->station->settings.deadlines;
        spec->gated = job->batch > 0;
        spec->on_bus_ms = (uint32_t) MIN((now_monotonic() - d->since_usec) / 1000, (uint64_t) UINT32_MAX);
        spec->resting = d->resting;
        left = d->left[0] && streq(d->left, job->digest);
        expect_unit(job, spec->unit);
        snprintf(spec->kind, sizeof(spec->kind), "%s", job->kind);
        snprintf(spec->package_name, sizeof(spec->package_name), "%.79s", job->package_name);
        snprintf(spec->family, sizeof(spec->family), "%s", job->package && job->package->pac ? pac_family(job->package->pac) : "");
        snprintf(spec->speed, sizeof(spec->speed), "%s", d->speed);
        spec->public_data = !job->run->steps;
        if (job->station->directory[0])
                snprintf(spec->spool, sizeof(spec->spool), "%s/vault", job->station->directory);
        spec->answer_timeout_ms = job->station->settings.answer_timeout_ms;
        memcpy(spec->stations, job->station->settings.stations, sizeof(spec->stations));
        spec->raw = job->options.raw == RAW_DATA_UNSET ? job->station->settings.raw_data : job->options.raw == RAW_DATA_ON;
        if (job->run->steps) {
                r = steps_make_spec(job, spec);
                if (r < 0) {
                        job_spec_free(spec);
                        return r;
                }
        } else if (job->run->cache) {
                spec->plan = plan_cache_take(job->package, job->run->cache);
                if (spec->plan)
                        shrink_blocks(spec->plan, job->run->smaller_blocks);
                spec->package = mapped_file_ref(job->package->map);
        } else if (small_plan(streq(job->kind, "reset"), job->run->power_off, d->vendor == 0x0525, &spec->plan) < 0)
                spec->plan = NULL;
        if (!spec->plan) {
                job_spec_free(spec);
                return -ENOMEM;
        }
        if (left)
                memcpy(spec->left, spec->plan->loader[plan_last_loader(spec->plan)], sizeof(spec->left));
        for (size_t i = 0; i < 2; i++)
                station_loader_traits(job->station, spec->plan->loader[i], spec->traits + i);
        if (!job->station->settings.fixed_deadlines)
                patience_apply(&spec->deadlines, spec->traits + plan_last_loader(spec->plan));
        job->run->deadlines = spec->deadlines;
        *ret = spec;
        return 0;
}

static uint64_t largest_image(const Plan *plan) {
        uint64_t most = 0;

        for (size_t i = 0; plan && i < plan->n_steps; i++)
                most = plan->steps[i].op == PLAN_WRITE ? MAX(most, plan->steps[i].size) : most;
        return most;
}

/* How long a worker may be quiet: the longest deadline that applies, and a margin. */
static void set_limits(Job *job, const BslDeadlines *d) {
        uint64_t checking = ((largest_image(job_plan(job)) >> 20) + 1) * d->checking_per_mib;
        JobRun *run = job->run;
        uint32_t most = 0;

#define X(field, value, floor)                                                                                         \
        most = MAX(most,                                                                                               \
                   (uint32_t) (offsetof(BslDeadlines, field) == offsetof(BslDeadlines, erase_all) ? 0 : d->field));
        BSL_DEADLINES(X)
#undef X
        most = (uint32_t) MIN((uint64_t) most + checking, (uint64_t) UINT32_MAX / 2);
        run->limit_ms = most + HUNG_MARGIN_MS;
        run->erase_limit_ms = MAX(most, d->erase_all) + HUNG_MARGIN_MS;
}

static void bind_device(Job *job, Device *d) {
        job->device = d;
        job->run->first_device = d->number;
        d->job = job;
        d->last_job = job->id;
        d->resting.valid = false; /* until this job tells */
        d->left[0] = '\0';
        device_enter_state(d, streq(job->kind, "probe") ? DEVICE_STATE_PROBING : DEVICE_STATE_BUSY);
}

static void start_failed(Job *job, Device *d, int error) {
        Failure f = FAILURE_INIT;

        d->touched = true; /* or the whole queue would fail here, one job after the other */
        f.stage = STAGE_CLAIM;
        failure_set_errno(&f, error, "The work could not be started: %s.", strerror(-error));
        job_conclude(job, JOB_RESULT_FAILED, &f);
}

static void note_late(Job *job, uint64_t late_job, uint64_t late_usec) {
        char text[120];

        snprintf(text, sizeof(text), "this device came back %.1f s after job %llu gave up waiting for one", (double) late_usec / 1e6,
                 (unsigned long long) late_job);
        job_note(job, text);
}

/* The record says which limits were longer than the station's. */
static void note_limits(Job *job) {
        char text[400];

        patience_differ(&job->station->settings.deadlines, &job->run->deadlines, text, sizeof(text));
        if (text[0])
                trail_fact(job, "limits", text);
}

/* Starts the thread first and tells everybody then: a boot ROM may wait for a moment only. */
int job_start(Job *job, Device *d) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        JobRun *run = job->run;
        int r;

        r = make_spec(job, d, &spec);
        if (r >= 0)
                r = worker_start(&spec, job->station->mailbox, &run->worker);
        if (r < 0) {
                start_failed(job, d, r);
                return r;
        }
        spec = NULL;
        queue_remove(job);
        set_limits(job, &run->deadlines);
        run->want_device = 0;
        run->link_since_usec = now_monotonic();
        run->needs_replug = false;
        job->slot = d->slot;
        snprintf(run->port, sizeof(run->port), "%s", d->slot->port);
        d->slot->running = job;
        device_clear_facts(d);
        bind_device(job, d);
        trail_begin(job, d);
        note_limits(job);
        loaders_job_starts(job, d);
        active_add(job);
        job->stage = STAGE_CLAIM;
        job_set_action(job, "");
        job_enter_state(job, JOB_STATE_RUNNING);
        slot_update(d->slot);
        if (d->late_job > 0)
                note_late(job, d->late_job, d->late_usec);
        if (run->cache)
                plan_cache_refill(job->package, run->cache);
        return 0;
}

/* ---- the end ---- */

/* After this the device takes no new loader until it was without power (bsl-protocol §8.2). */
static bool session_broken(const Job *job, int result, const Failure *f) {
        if (result == 0 || !job->run->talked)
                return false;
        if (result == -ECANCELED && job->stage == STAGE_LOAD_FDL2)
                return false; /* its first loader goes on listening */
        if (f->class == CLASS_SILENT || f->class == CLASS_SLOW || f->class == CLASS_GARBLED || f->class == CLASS_GONE)
                return true;
        switch (job->stage) {
        case STAGE_LOAD_FDL1:
        case STAGE_EXEC_FDL1:
        case STAGE_REENUMERATE:
        case STAGE_LOAD_FDL2:
        case STAGE_EXEC_FDL2:
                return true;
        default:
                return false;
        }
}

/* Its last step restarts the unit or switches it off. */
static bool leaves_bus(const Job *job) {
        const Plan *plan = job_plan(job);
        PlanOp last = plan && plan->n_steps > 0 ? plan->steps[plan->n_steps - 1].op : PLAN_OP_MAX;

        return last == PLAN_RESET || last == PLAN_POWER_OFF;
}

static void release_device(Job *job, int result, const Failure *f, JobResult word) {
        Slot *slot = job->slot;
        Device *d = job->device;
        bool flash = streq(job->kind, "flash") || job->options.check_only || job->options.repair || job->run->steps;

        slot->running = NULL;
        job->device = NULL;
        slot->reset_job = 0;
        if (flash && word == JOB_RESULT_DONE && !job->options.check_only)
                return_expect(slot, job);
        if (flash && word == JOB_RESULT_DONE && !d)
                slot_set_left(slot, !slot->device);
        if (!d && slot->device && slot->device->number != job->run->first_device)
                return_note(slot->device); /* it was quicker than the record */
        if (!d)
                return;
        d->job = NULL;
        d->broken = session_broken(job, result, f) && !d->resting.valid;
        /* a failed claim counts too: the next job in the queue would fail in the same way */
        d->touched =
                d->touched || (flash && (job->run->talked || word == JOB_RESULT_FAILED)) || streq(job->kind, "reset");
        if (flash)
                d->outcome = word;
        if (flash && word == JOB_RESULT_DONE && job->options.finish != FINISH_NOTHING)
                d->passed_usec = now_monotonic();
        d->leaving = word == JOB_RESULT_DONE && leaves_bus(job);
        device_enter_state(d, d->leaving || !d->acted_on ? DEVICE_STATE_PRESENT : DEVICE_STATE_IDLE);
}

/* Taken out while its first loader started, and another one put in, which has answered as a ROM does that nothing was sent to: what went wrong
 * is not its own, and it is the next unit. One that came back at once may be the same one without power for a moment: that failed. */
static void set_free(Device *d) {
        d->touched = d->broken = false;
        d->outcome = JOB_RESULT_NONE;
        d->resting = (EngineResting) {.valid = true, .rom = true};
}

static bool is_next_unit(const Job *job, const Failure *f) {
        const Device *d = job->device;

        return d && d->appeared_mono > job->run->link_since_usec && f->class == CLASS_MISMATCH && streq(f->detail, "other-unit") &&
               (f->stage == STAGE_EXEC_FDL1 || f->stage == STAGE_REENUMERATE) && !device_came_back(d);
}

static void describe_interruption(const Job *job, Failure *f) {
        if (f->class != CLASS_NONE)
                return;
        failure_set(f, CLASS_HOST, "interrupted", "The daemon was stopped while this job was at step %d of %d.",
                    job->step + 1, job->step_count);
}

static void handle_done(Job *job, WorkerRecord *r) {
        Station *s = job->station;
        Slot *slot = job->slot;
        Failure f = r->failure;
        Device *next;
        JobResult word = r->result == 0            ? JOB_RESULT_DONE
                         : r->result == -ECANCELED ? (s->stopping ? JOB_RESULT_INTERRUPTED : JOB_RESULT_CANCELED)
                                                   : JOB_RESULT_FAILED;

        job->run->worker = worker_reap(job->run->worker);
        tidy_later(s);
        if (r->result == -ECANCELED && job->run->verdict != JOB_RESULT_NONE) {
                word = job->run->verdict;
                f = job->run->verdict_failure;
        }
        if (r->result != 0 && f.stage == STAGE_INVALID)
                f.stage = job->stage;
        if (word == JOB_RESULT_FAILED && f.class == CLASS_NONE)
                failure_set_errno(&f, r->result < 0 ? r->result : -EIO,
                                  "The work ended with an error of this computer: %s.",
                                  strerror(r->result < 0 ? -r->result : EIO));
        if (word == JOB_RESULT_INTERRUPTED)
                describe_interruption(job, &f);
        if (word == JOB_RESULT_FAILED && f.stage != STAGE_INVALID)
                job->stage = f.stage;
        if (word == JOB_RESULT_DONE)
                change_close(job);
        else if (job->run->table_open)
                job_note_open_table(job);
        job->retries = r->report.retries;
        surroundings_note(job, &f);
        job->bytes_done = MAX(job->bytes_done, r->report.bytes_done);
        trail_end(job, r->now_usec, job->bytes_done);
        if (job->device)
                job->device->resting = r->report.resting;
        next = word == JOB_RESULT_FAILED && is_next_unit(job, &f) ? job->device : NULL;
        release_device(job, r->result, &f, word);
        if (next)
                set_free(next);
        if (word == JOB_RESULT_FAILED && r->blob)
                evidence_write(job, TAKE_PTR(r->blob), r->blob_size);
        job_conclude(job, word, word == JOB_RESULT_DONE || word == JOB_RESULT_SKIPPED ? NULL : &f);
        slot_update(slot);
        queue_run(s);
}

/* The thread does not answer: it is left alone with what it holds, and so is its socket. */
static void give_up(Job *job) {
        Slot *slot = job->slot;
        Device *d = job->device;
        Failure f = FAILURE_INIT;

        f.stage = job->stage;
        f.step = job->step;
        f.must_reflash = job->run->wrote;
        f.verdict = job->run->wrote ? VERDICT_BUSY : VERDICT_NONE;
        failure_set(&f, CLASS_HOST, "worker-stuck",
                    "The work on %s gave no sign of life and could not be ended. The slot takes no more "
                    "work until the device is unplugged and the slot is cleared.",
                    slot->port);
        evidence_write_stuck(job, &f);
        worker_abandon(TAKE_PTR(job->run->worker));
        slot->wedged = true;
        slot->wedged_job = job->id;
        slot->running = NULL;
        job->device = NULL;
        if (d) {
                d->job = NULL;
                d->touched = d->broken = true;
                d->outcome = JOB_RESULT_FAILED;
        }
        job_conclude(job, JOB_RESULT_FAILED, &f);
        slot_update(slot);
        queue_run(job->station);
}

void job_request_cancel(Job *job) {
        job_enter_state(job, JOB_STATE_CANCELLING);
        if (job->run->worker)
                worker_cancel(job->run->worker);
        else if (job->run->import) {
                import_cancel(job);
                job_conclude(job, JOB_RESULT_CANCELED, NULL);
        }
}

/* ---- records that must reach the disk before the worker goes on ---- */

typedef struct GoContext {
        Station *station;
        uint64_t job;
        bool intent, backup;
} GoContext;

/* Read out of a unit while the store holds as much as it may: many units with large calibration at once. Its worker waits. */
struct WaitingBackup {
        struct WaitingBackup *next;
        StoreBackup backup;
        void *blob;   /* NULL: in fd */
        size_t size;
        int fd;
        GoContext *context;
};

/* Between the question and its answer it may have turned out that the unit is not to be written at all. */
static bool refused_meanwhile(Job *job) {
        if (job->run->verdict == JOB_RESULT_NONE || job->run->changed_flash)
                return false;
        job->run->destructive = job->run->wrote = false;
        return true;
}

void job_go_write(Job *job) {
        bool refused = refused_meanwhile(job);

        if (!refused)
                job->run->changed_flash = true;
        if (job->run->worker)
                worker_go(job->run->worker, refused ? -ECANCELED : 0);
}

static void go(int error, void *userdata);

/* 0; -ENOBUFS: there is no room, but there will be. */
static int put_backup(Station *s, const StoreBackup *backup, void *blob, size_t size, int fd, GoContext *context) {
        int e = blob ? store_put_backup(s->store, backup, blob, size, go, context) : store_put_backup_file(s->store, backup, fd, go, context);

        if (e >= 0) {
                context->backup = true;
                s->backups_in_store++;
        }
        return e == -ENOBUFS && s->backups_in_store == 0 ? -EIO : e;
}

static int wait_for_room(Station *s, const StoreBackup *backup, void *blob, size_t size, int fd, GoContext *context) {
        struct WaitingBackup *w = malloc(sizeof(*w)), **end = &s->waiting_backups;

        if (!w)
                return -ENOMEM;
        *w = (struct WaitingBackup){.backup = *backup, .blob = blob, .size = size, .fd = fd, .context = context};
        while (*end)
                end = &(*end)->next;
        *end = w;
        return 0;
}

static void free_backup(struct WaitingBackup *w) {
        free(w->blob);
        if (!w->blob)
                close_elsewhere(w->fd);
}

/* One that was before the store is through: perhaps there is room for the next. */
static void put_waiting(Station *s) {
        while (s->waiting_backups) {
                struct WaitingBackup *w = s->waiting_backups;
                int e = put_backup(s, &w->backup, w->blob, w->size, w->fd, w->context);

                if (e == -ENOBUFS)
                        return;
                s->waiting_backups = w->next;
                if (e < 0) {
                        free_backup(w);
                        go(e, w->context);
                }
                free(w);
        }
}

void station_free_waiting_backups(Station *s) {
        while (s->waiting_backups) {
                struct WaitingBackup *w = s->waiting_backups;

                s->waiting_backups = w->next;
                free_backup(w);
                free(w->context);
                free(w);
        }
}

static void go(int error, void *userdata) {
        GoContext *context = userdata;
        Station *s = context->station;
        Job *job = job_find_active(s, context->job);
        bool backup = context->backup;

        if (backup)
                s->backups_in_store--;

        if (job && job->run->held > 0)
                job->run->held--;
        if (job && error == 0)
                error = job->run->change_error;
        if (job && job->run->worker) {
                job->run->active_usec = now_monotonic();
                if (error < 0 || !context->intent)
                        worker_go(job->run->worker, error);
                else
                        schedule_wait(job, GATE_WRITE);
        }
        if (error < 0)
                log_write(LOG_ERR, &(LogFields){.job = context->job, .message = MESSAGE_JOB_UNRECORDED},
                          "Job %llu: what must be on disk before the next step could not be "
                          "written to %s: %s.",
                          (unsigned long long) context->job, s->directory, strerror(-error));
        free(context);
        station_note_write(s, error);
        if (backup)
                put_waiting(s);
}

static GoContext *hold(Job *job) {
        GoContext *context = malloc(sizeof(GoContext));

        if (!context) {
                worker_go(job->run->worker, -ENOMEM);
                return NULL;
        }
        *context = (GoContext){.station = job->station, .job = job->id};
        job->run->held++;
        job->station->writes_pending++;
        return context;
}

/* From then on what was saved is the truth, as with another partition table. */
static bool erases_all(const Job *job, int step) {
        const Plan *plan = job_plan(job);

        return plan && step >= 0 && (size_t) step < plan->n_steps && plan_erases_all(plan->steps + step) && plan->steps[step].partition[0];
}

static void handle_intent(Job *job, const WorkerRecord *r) {
        GoContext *context;
        int e;

        job->run->destructive = job->run->wrote = true;
        slot_update(job->slot);
        job_put_row(job); /* the same transaction: a crash leaves the exact step */
        e = r->stage == STAGE_REPARTITION || erases_all(job, r->step) ? change_open(job) : 0;
        if (e < 0) {
                worker_go(job->run->worker, e);
                return;
        }
        context = hold(job);
        if (!context)
                return;
        context->intent = true;
        e = store_put_intent(job->station->store, job->id, r->step, r->stage, r->partition, go, context);
        if (e < 0)
                go(e, context);
}

static void handle_backup(Job *job, WorkerRecord *r) {
        StoreBackup backup = {.job = job->id};
        GoContext *context = hold(job);
        int e;

        if (!context)
                return;
        snprintf(backup.port, sizeof(backup.port), "%s", job->slot->port);
        snprintf(backup.name, sizeof(backup.name), "%s", r->partition);
        if (job->run->unit[0])
                snprintf(backup.unit, sizeof(backup.unit), "chip:%s", job->run->unit);
        if (r->spooled) {
                backup.size = r->blob_size;
                memcpy(backup.sha256, r->sha256, sizeof(backup.sha256));
        }
        e = put_backup(job->station, &backup, r->blob, r->blob_size, r->fd, context);
        if (e == -ENOBUFS) {
                e = wait_for_room(job->station, &backup, r->blob, r->blob_size, r->fd, context);
                if (e == 0)
                        worker_hold(job->run->worker); /* other units' data, not the disk, are what it waits for */
        }
        if (e < 0)
                go(e, context);
        else {
                r->blob = NULL;
                r->spooled = false;
        }
}

/* ---- steps and facts ---- */

static const char *mode_at(const Job *job, Stage stage) {
        const Plan *plan = job_plan(job);

        switch (stage) {
        case STAGE_LOAD_FDL1:
        case STAGE_EXEC_FDL1:
                return plan && plan->protocol == PLAN_PDL ? "pdl" : "brom";
        case STAGE_LOAD_FDL2:
        case STAGE_EXEC_FDL2:
                return "fdl1";
        case STAGE_IDENTIFY:
        case STAGE_BACKUP:
        case STAGE_ERASE:
        case STAGE_WRITE:
                return plan && plan->single_loader ? "fdl1" : "fdl2";
        default:
                return NULL;
        }
}

static void handle_step(Job *job, const WorkerRecord *r) {
        const Plan *plan = job_plan(job);
        bool known = plan && r->step >= 0 && (size_t) r->step < plan->n_steps, new_stage = job->stage != r->stage;
        const char *mode = mode_at(job, r->stage);
        uint64_t done, total;

        worker_progress(job->run->worker, &done, &total);
        if (new_stage)
                job->run->waited_usec = 0;
        trail_enter(job, r->stage, r->now_usec, done);
        job->step = r->step;
        job->stage = r->stage;
        text_clean(job->partition, sizeof(job->partition), r->partition);
        job->run->talked = job->run->talked || r->stage != STAGE_CLAIM;
        if (!known || !plan->steps[r->step].destructive)
                job->run->destructive = false;
        job->cancelable = job->state == JOB_STATE_RUNNING && (!known || engine_cancel_safe(plan, (unsigned) r->step));
        NOTIFY(job->station, OBJECT_JOB, job, "Step", "Stage", "Partition", "Cancelable");
        if (job->device) {
                device_set_stage(job->device, r->stage);
                if (mode)
                        device_set_mode(job->device, mode);
        }
        log_write(LOG_DEBUG, &(LogFields){.message = MESSAGE_JOB_STEP, .job = job->id, .slot = job->slot->port, .stage = stage_to_string(job->stage)},
                  "Job %llu: step %d of %d, %s%s%s", (unsigned long long) job->id, job->step + 1, job->step_count,
                  stage_to_string(job->stage), job->partition[0] ? " " : "", job->partition);
        slot_update(job->slot);
        if (new_stage)
                job_put_row(job);
}

static void handle_fact(Job *job, const WorkerRecord *r) {
        if (streq(r->key, "read")) {
                steps_fact(job, r->value);
                return;
        }
        if (streq(r->key, "trait")) {
                traits_fact(job, r->value);
                return;
        }
        if (streq(r->key, "note")) {
                job_note(job, r->value);
                log_write(LOG_NOTICE,
                          &(LogFields){.message = MESSAGE_JOB_NOTE, .job = job->id, .slot = job->slot->port, .stage = stage_to_string(job->stage)},
                          "Job %llu: %s", (unsigned long long) job->id, job->note);
                return;
        }
        if (streq(r->key, "loaders")) {
                job->run->loaders_started = true;
                return;
        }
        if (streq(r->key, "chip-uid"))
                snprintf(job->run->unit, sizeof(job->run->unit), "%.64s", r->value);
        else if (streq(r->key, "flash-uid"))
                snprintf(job->run->unit, sizeof(job->run->unit), "flash:%.58s", r->value);
        if (streq(r->key, "chip-uid") || streq(r->key, "flash-uid"))
                return_unit_known(job);
        trail_fact(job, r->key, r->value);
        batch_job_fact(job, r->key, r->value);
        if (streq(r->key, "verify")) {
                snprintf(job->verified, sizeof(job->verified), "%.11s", r->value);
                NOTIFY(job->station, OBJECT_JOB, job, "Verified");
        }
        if (job->device && !trail_of_job(r->key))
                device_fact(job->device, r->key, r->value);
}

/* ---- a device that leaves and returns between two loaders ---- */

static void answer_device(Job *job, Device *d) {
        UsbTarget target;

        job->run->expect = sd_event_source_disable_unref(job->run->expect);
        job->run->active_usec = now_monotonic();
        if (!d) {
                worker_answer_device(job->run->worker, NULL);
                return;
        }
        target = device_target(d);
        worker_answer_device(job->run->worker, &target);
        bind_device(job, d);
        NOTIFY(job->station, OBJECT_JOB, job, "Device");
}

static int expect_timeout(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Job *job = userdata;

        job->slot->gave_up_job = job->id;
        job->slot->gave_up_usec = now_monotonic();
        answer_device(job, NULL);
        return 0;
}

static void handle_expect_back(Job *job, const WorkerRecord *r) {
        Device *there = job->slot->device;
        int e;

        if (there && there->acted_on && there->number != job->run->first_device) {
                answer_device(job, there); /* it was quicker than the record */
                return;
        }
        if (job->device)
                device_enter_state(job->device, DEVICE_STATE_EXPECTED_BACK);
        e = sd_event_add_time_relative(job->station->event, &job->run->expect, CLOCK_MONOTONIC,
                                       (uint64_t) r->timeout_ms * 1000, 1000, expect_timeout, job);
        if (e < 0)
                answer_device(job, NULL);
}

void job_device_arrived(Job *job, Device *d) {
        if (job->run->expect && d->number != job->run->first_device)
                answer_device(job, d);
}

/* The worker finds out by itself, unless it waits for a person; what it needs is only that nobody points to the object any more. */
void job_device_left(Job *job, Device *d) {
        if (job->device != d)
                return;
        job->device = NULL;
        serial_unit_left(job);
        NOTIFY(job->station, OBJECT_JOB, job, "Device");
}

/* ---- the mailbox ---- */

/* Of a job that was given up: only the news that its thread has ended after all matters. */
static void handle_stray(Station *s, const WorkerRecord *r) {
        for (Slot *slot = r->type == RECORD_DONE ? s->slots : NULL; slot; slot = slot->next)
                if (slot->wedged && slot->wedged_job == r->job_id) {
                        slot->wedged_job = 0;
                        slot->wedged = slot->device != NULL;
                        slot_update(slot);
                }
}

static void handle_record(Station *s, WorkerRecord *r) {
        Job *job = job_find_active(s, r->job_id);

        if (!job || !job->run->worker) {
                handle_stray(s, r);
                return;
        }
        job->run->active_usec = now_monotonic();
        switch (r->type) {
        case RECORD_STEP:
                handle_step(job, r);
                break;
        case RECORD_GATE:
                schedule_wait(job, r->stage == STAGE_EXEC_FDL2 ? GATE_EXEC : GATE_LOAD);
                break;
        case RECORD_INTENT:
                handle_intent(job, r);
                break;
        case RECORD_BACKUP:
                handle_backup(job, r);
                break;
        case RECORD_FACT:
                handle_fact(job, r);
                break;
        case RECORD_RECALL:
                change_recall(job, r->value);
                break;
        case RECORD_SERIAL:
                serial_wanted(job, r->serial_max);
                break;
        case RECORD_EXPECT_BACK:
                handle_expect_back(job, r);
                break;
        case RECORD_DONE:
                handle_done(job, r);
                break;
        }
}

#define RECORDS_MAX 64
int mailbox_event(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Station *s = userdata;
        WorkerRecord r;

        for (unsigned n = 0; n < RECORDS_MAX && mailbox_take(s->mailbox, &r); n++) {
                handle_record(s, &r);
                free(r.blob);
                if (r.spooled)
                        close_elsewhere(r.fd); /* the end of a large file takes time */
        }
        return 0;
}

/* ---- progress, looked at 4 times a second while something runs ---- */

static void read_progress(const Job *job, uint64_t *ret_done, uint64_t *ret_total) {
        *ret_done = *ret_total = 0;
        if (job->run->worker)
                worker_progress(job->run->worker, ret_done, ret_total);
        else if (job->run->import) {
                *ret_done = job->run->import->done;
                *ret_total = job->run->import->total;
        }
}

static void update_rate(Job *job, uint64_t now) {
        JobRun *run = job->run;
        unsigned at = run->n_samples % RATE_SAMPLES, oldest;
        uint64_t span;

        run->samples[at] = job->bytes_done;
        run->sample_usec[at] = now;
        run->n_samples++;
        oldest = run->n_samples > RATE_SAMPLES ? run->n_samples % RATE_SAMPLES : 0;
        span = now - run->sample_usec[oldest];
        job->rate = span > 0 ? (uint64_t) ((double) (job->bytes_done - run->samples[oldest]) * 1e6 / (double) span) : 0;
        job->expected_end_usec = U64_UNKNOWN;
        if (job->rate > 0 && job->progress_valid && job->bytes_total >= job->bytes_done)
                job->expected_end_usec = now_realtime() + (uint64_t) ((double) (job->bytes_total - job->bytes_done) *
                                                                      1e6 / (double) job->rate);
}

static void update_progress(Job *job, uint64_t now) {
        uint64_t done, total, rate = job->rate;
        double progress;

        read_progress(job, &done, &total);
        if (done > job->bytes_done)
                job->run->active_usec = now;
        done = MAX(done, job->bytes_done);
        if (total == 0)
                total = job->bytes_total;
        progress = total > 0 && total != U64_UNKNOWN ? MIN(1.0, (double) done / (double) total) : 0;
        if (done == job->bytes_done && total == job->bytes_total && rate == 0 && job->run->n_samples > 0) {
                update_rate(job, now);
                return; /* nothing moved and nothing was moving: no signal */
        }
        job->bytes_done = done;
        job->bytes_total = total;
        job->progress_valid = job->progress_valid || (total > 0 && total != U64_UNKNOWN);
        job->progress = MAX(job->progress, progress);
        update_rate(job, now);
        job->run->progress_untold = true;
}

/* Every client of the bus that listens pays for each signal: many jobs take turns. */
static void tell_progress(Job *job) {
        Station *s = job->station;
        unsigned turns = (s->n_active + PROGRESS_AT_A_TICK - 1) / PROGRESS_AT_A_TICK;

        if (!job->run->progress_untold || (s->n_ticks + job->id) % turns != 0)
                return;
        job->run->progress_untold = false;
        NOTIFY(s, OBJECT_JOB, job, "Progress", "ProgressValid", "BytesDone", "BytesTotal", "Rate", "ExpectedEndUSec");
}

static void check_alive(Job *job, uint64_t now) {
        JobRun *run = job->run;
        uint64_t limit =
                job->stage == STAGE_ERASE || job->stage == STAGE_REPARTITION ? run->erase_limit_ms : run->limit_ms;

        if (run->held > 0 || run->expect) /* it waits for us */
                run->active_usec = now;
        if (run->import && now - run->active_usec > IMPORT_STALL_USEC) {
                Failure f = FAILURE_INIT;
                f.stage = STAGE_IMPORT;
                import_cancel(job);
                failure_set(&f, CLASS_HOST, "stalled",
                            "The file gave no data for 60 seconds; where it lies does not answer.");
                job_conclude(job, JOB_RESULT_FAILED, &f);
                return;
        }
        if (!run->worker)
                return;
        if (run->hung_usec > 0) {
                if (now - run->hung_usec > HUNG_GRACE_USEC)
                        give_up(job);
        } else if (now - run->active_usec > limit * 1000) {
                run->hung_usec = now;
                log_write(LOG_ERR,
                          &(LogFields){.message = MESSAGE_JOB_STUCK, .job = job->id, .slot = job->slot->port, .stage = stage_to_string(job->stage)},
                          "Job %llu: no sign of life for %llu s; it is cancelled.", (unsigned long long) job->id,
                          (unsigned long long) ((now - run->active_usec) / 1000000));
                job_request_cancel(job);
        }
}

static int tick(sd_event_source *source, uint64_t usec _unused_, void *userdata) {
        Station *s = userdata;
        uint64_t now = now_monotonic();

        s->n_ticks++;
        for (Job *job = s->active, *next; job; job = next) {
                next = job->run->active_next;
                update_progress(job, now);
                tell_progress(job);
                schedule_check_straggler(job);
                check_alive(job, now);
        }
        schedule_learn(s);
        schedule_run(s);
        if (s->n_active > 0) {
                (void) sd_event_source_set_time(source, now + TICK_USEC);
                (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        return 0;
}

/* The timer runs only while there is work. */
void tick_update(Station *s) {
        if (s->n_active == 0) {
                if (s->tick)
                        (void) sd_event_source_set_enabled(s->tick, SD_EVENT_OFF);
                return;
        }
        if (!s->tick)
                (void) sd_event_add_time_relative(s->event, &s->tick, CLOCK_MONOTONIC, TICK_USEC, TICK_USEC / 10, tick,
                                                  s);
        else {
                int on = SD_EVENT_OFF;
                (void) sd_event_source_get_enabled(s->tick, &on);
                if (on != SD_EVENT_OFF)
                        return;
                (void) sd_event_source_set_time_relative(s->tick, TICK_USEC);
                (void) sd_event_source_set_enabled(s->tick, SD_EVENT_ONESHOT);
        }
}
