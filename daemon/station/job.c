/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"
#include "station/loaders.h"
#include "station/record.h"
#include "station/serial.h"
#include "station/steps-internal.h"
#include "station/trail.h"

/* ---- memory ---- */

static Job **hash_place(Station *s, uint64_t id) {
        return s->job_hash + id % JOB_HASH;
}

Job *station_find_job(Station *s, uint64_t id) {
        for (Job *j = *hash_place(s, id); j; j = j->hash_next)
                if (j->id == id)
                        return j;
        return NULL;
}

Job *station_jobs(Station *s) {
        return s->jobs;
}

Job *job_new(Station *s, uint64_t id, const char *kind) {
        Job *job = calloc(1, sizeof(Job)), **place = hash_place(s, id);

        if (!job)
                return NULL;
        job->run = calloc(1, sizeof(JobRun));
        if (!job->run) {
                free(job);
                return NULL;
        }
        job->station = s;
        job->id = id;
        job->state = JOB_STATE_DRAFT;
        job->stage = STAGE_INVALID;
        job->bytes_total = U64_UNKNOWN;
        job->expected_end_usec = job->answer_by_usec = U64_UNKNOWN;
        job->failure = FAILURE_INIT;
        job->cancelable = true;
        job->created_usec = now_realtime();
        snprintf(job->kind, sizeof(job->kind), "%s", kind);
        job->hash_next = *place;
        *place = job;
        job->prev = s->jobs_tail;
        *(s->jobs_tail ? &s->jobs_tail->next : &s->jobs) = job;
        s->jobs_tail = job;
        return job;
}

static void unlink_job(Job *job) {
        Station *s = job->station;
        Job **at = hash_place(s, job->id);

        while (*at && *at != job)
                at = &(*at)->hash_next;
        if (*at)
                *at = job->hash_next;
        *(job->prev ? &job->prev->next : &s->jobs) = job->next;
        *(job->next ? &job->next->prev : &s->jobs_tail) = job->prev;
}

static void unbind_package(Job *job) {
        Package *p = job->package;

        if (!p)
                return;
        job->plan = job->run->own_plan;
        job->run->cache = plan_cache_unref(p, job->run->cache);
        p->users--;
}

Job *job_free(Job *job) {
        if (!job)
                return NULL;
        if (job->state != JOB_STATE_FINISHED && !job->run->concluding)
                unbind_package(job);
        unlink_job(job);
        sd_event_source_disable_unref(job->run->expect);
        sd_event_source_disable_unref(job->run->answer_timer);
        steps_free(job);
        plan_free(job->run->own_plan);
        trail_free(job->run->trail);
        free(job->run->log);
        free(job->run);
        free(job);
        return NULL;
}

void job_free_all(Station *s) {
        while (s->jobs) {
                Job *job = s->jobs;
                if (job->run->worker)
                        worker_abandon(job->run->worker);
                job_free(job);
        }
}

void job_bind_package(Job *job, Package *p) {
        if (job->package)
                return;
        job->package = p;
        p->users++;
        snprintf(job->digest, sizeof(job->digest), "%s", p->digest);
        if (!job->package_name[0])
                snprintf(job->package_name, sizeof(job->package_name), "%s", p->name);
}

const Plan *job_plan(const Job *job) {
        return job->run->cache ? job->run->cache->plan : job->run->own_plan;
}

/* ---- the row on disk ---- */

#define OPTION_REPAIR 0x10000U
#define OPTION_SOFT_ENTRY 0x20000U
#define FIRST_MODE_SHIFT 10 /* five bits */

/* What is done with the bytes of images: bits 26 and up. */
static uint32_t pack_images(const PlanOptions *o) {
        return (o->any_image ? 1U << 26 : 0U) | (uint32_t) o->sparse << 27 | (o->skip_equal ? 1U << 29 : 0U);
}

static void unpack_images(uint32_t options, PlanOptions *ret) {
        unsigned sparse = options >> 27 & 3;

        ret->any_image = options & 1U << 26;
        ret->sparse = sparse == SPARSE_EXPAND ? SPARSE_EXPAND : sparse == SPARSE_AS_IS ? SPARSE_AS_IS : SPARSE_AUTO;
        ret->skip_equal = options & 1U << 29;
}

static uint32_t pack_options(const PlanOptions *o) {
        /* Rows from before there was a level have 0 there: they get the usual one. */
        uint32_t verify = (uint32_t) (o->verify + VERIFY_LEVEL_MAX - VERIFY_CRITICAL) % VERIFY_LEVEL_MAX;

        return pack_images(o) | (o->allow_warnings ? 1U : 0U) | (uint32_t) o->finish << 1 | (o->repartition ? 8U : 0U) | (o->table_only ? 16U : 0U) |
               verify << 5 | (o->check_only ? 128U : 0U) | (o->repair ? OPTION_REPAIR : 0U) | (o->soft_entry ? OPTION_SOFT_ENTRY : 0U) | (uint32_t) o->raw << 8 |
               (o->first_mode & 31) << FIRST_MODE_SHIFT;
}

static void unpack_options(const StoreJob *row, PlanOptions *ret) {
        unsigned finish = row->options >> 1 & 3, raw = row->options >> 8 & 3;

        *ret = (PlanOptions){.mode = row->mode,
                             .allow_warnings = row->options & 1,
                             .repartition = row->options & 8,
                             .table_only = row->options & 16};
        unpack_images(row->options, ret);
        ret->check_only = row->options & 128;
        ret->repair = row->options & OPTION_REPAIR;
        ret->soft_entry = row->options & OPTION_SOFT_ENTRY;
        ret->first_mode = row->options >> FIRST_MODE_SHIFT & 31;
        ret->verify = (VerifyLevel) (((row->options >> 5 & 3) + VERIFY_CRITICAL) % VERIFY_LEVEL_MAX);
        ret->finish = finish == FINISH_POWER_OFF ? FINISH_POWER_OFF
                      : finish == FINISH_NOTHING ? FINISH_NOTHING
                                                 : FINISH_RESET;
        choice_from_text(&ret->choice, row->choice);
        ret->raw = raw == RAW_DATA_ON ? RAW_DATA_ON : raw == RAW_DATA_OFF ? RAW_DATA_OFF : RAW_DATA_UNSET;
}

static void fill_row(const Job *job, StoreJob *ret) {
        const JobRun *run = job->run;

        *ret = (StoreJob){
                .id = job->id,
                .state = run->concluding ? JOB_STATE_FINISHED : job->state,
                .result = run->concluding ? run->result : job->result,
                .target_any = run->target == TARGET_ANY,
                .mode = job->options.mode,
                .options = pack_options(&job->options),
                .uid = job->uid,
                .created_usec = job->created_usec,
                .started_usec = job->started_usec,
                .finished_usec = job->finished_usec,
                .bytes_done = job->bytes_done,
                .bytes_total = job->bytes_total,
                .stage = job->stage,
                .step = job->step,
                .step_count = job->step_count,
                .failure = job->failure,
                .retry_of = job->retry_of,
                .batch = job->batch,
        };
        snprintf(ret->kind, sizeof(ret->kind), "%s", job->kind);
        snprintf(ret->target_port, sizeof(ret->target_port), "%s",
                 run->target != TARGET_ANY && job->slot ? job->slot->port : "");
        snprintf(ret->port, sizeof(ret->port), "%s", run->port);
        snprintf(ret->digest, sizeof(ret->digest), "%s", job->digest);
        snprintf(ret->note, sizeof(ret->note), "%s", job->note);
        snprintf(ret->unit, sizeof(ret->unit), "%s", run->unit);
        snprintf(ret->statistics, sizeof(ret->statistics), "%s", job->statistics);
        snprintf(ret->operator_name, sizeof(ret->operator_name), "%s", job->operator_name);
        snprintf(ret->package_name, sizeof(ret->package_name), "%s", job->package_name);
        snprintf(ret->serial, sizeof(ret->serial), "%s", run->serial);
        snprintf(ret->code, sizeof(ret->code), "%s", job->code);
        choice_to_text(&job->options.choice, ret->choice, sizeof(ret->choice));
}

typedef struct RowContext {
        Station *station;
        uint64_t job;
        bool last;
} RowContext;

static void job_finish(Job *job, int error);

static void row_written(int error, void *userdata);

/* What the records before it say of a failure. */
static void finish_written(int error, const StoreJob *row, void *userdata) {
        const RowContext *context = userdata;
        Job *job = error == 0 ? station_find_job(context->station, context->job) : NULL;

        if (job)
                snprintf(job->statistics, sizeof(job->statistics), "%s", row->statistics);
        row_written(error, userdata);
}

static void row_written(int error, void *userdata) {
        RowContext *context = userdata;
        Station *s = context->station;
        Job *job = station_find_job(s, context->job);

        if (job && context->last)
                job_finish(job, error);
        else if (job && error < 0 && job->run->queued) {
                Failure f = FAILURE_INIT;
                f.stage = STAGE_CLAIM;
                failure_set_errno(&f, error, "The job could not be recorded in %s: %s. It was not begun.", s->directory,
                                  strerror(-error));
                if (error == -EACCES || error == -EPERM)
                        snprintf(f.detail, sizeof(f.detail), "state-owner");
                job_conclude(job, JOB_RESULT_FAILED, &f);
        }
        free(context);
        station_note_write(s, error);
}

/* `record`: NULL while the job is not over, or where nothing is to be recorded. */
static void write_row(Job *job, const StoreJob *row, StoreRecord *record, bool last) {
        RowContext *context = malloc(sizeof(RowContext));
        Store *store = job->station->store;
        int r = -ENOMEM;

        if (context) {
                *context = (RowContext){job->station, job->id, last};
                job->station->writes_pending++;
                r = record ? store_finish_job(store, row, record, finish_written, context)
                           : store_put_job(store, row, row_written, context);
        }
        if (r < 0 && record)
                free(TAKE_PTR(record->json));
        if (r < 0 && context)
                row_written(r, context);
        else if (r < 0 && last)
                job_finish(job, r);
}

/* The row of a job that is over and the record of the attempt go to the disk together: a unit has both or none. The record is
 * made while package and plan are still at hand. */
typedef struct LastWords {
        StoreJob row;
        StoreRecord record;
        bool recorded;
} LastWords;

static void last_words(const Job *job, LastWords *ret) {
        int r = 0;

        fill_row(job, &ret->row);
        ret->recorded = false;
        if (record_wanted(job)) {
                r = record_make(job, &ret->row, &ret->record);
                ret->recorded = r == 0;
        }
        if (r < 0)
                log_write(LOG_ERR, &(LogFields){.job = job->id, .code = job->code, .message = MESSAGE_JOB_UNRECORDED},
                          "Job %llu: no record could be made of it: %s.", (unsigned long long) job->id, strerror(-r));
}

void job_set_operator(Job *job, const char *name) {
        snprintf(job->operator_name, sizeof(job->operator_name), "%s", name);
        if (job->state != JOB_STATE_DRAFT && job->state != JOB_STATE_FINISHED && !job->run->concluding)
                job_put_row(job);
}

void job_put_row(Job *job) {
        StoreJob row;

        fill_row(job, &row);
        write_row(job, &row, NULL, false);
}

/* ---- states ---- */

static bool is_waiting(JobState state) {
        return state == JOB_STATE_QUEUED || state == JOB_STATE_WAITING;
}

static void count_state(Station *s, JobState state, int by) {
        s->n_running += state == JOB_STATE_RUNNING || state == JOB_STATE_CANCELLING ? (unsigned) by : 0;
        s->n_queued += is_waiting(state) ? (unsigned) by : 0;
        s->n_drafts += state == JOB_STATE_DRAFT ? (unsigned) by : 0;
        s->n_unfinished += state != JOB_STATE_FINISHED ? (unsigned) by : 0;
}

void job_export(Job *job) {
        if (job->exported)
                return;
        job->exported = true;
        notify_added(job->station, OBJECT_JOB, job);
}

/* Only the latest finished jobs stay; older ones are on disk. */
static void keep_finished(Job *job) {
        Station *s = job->station;

        *(s->finished_tail ? &s->finished_tail->finished_next : &s->finished) = job;
        s->finished_tail = job;
        s->n_finished++;
        while (s->n_finished > JOBS_FINISHED_KEPT) {
                Job *old = s->finished;
                s->finished = old->finished_next;
                s->n_finished--;
                s->complete_from = MAX(s->complete_from, old->id + 1);
                if (old->exported)
                        notify_removed(s, OBJECT_JOB, old);
                job_free(old);
        }
}

static void log_state(const Job *job, JobState before) {
        const char *port = job->run->port[0] ? job->run->port : job->slot ? job->slot->port : NULL;
        LogFields fields = {.job = job->id, .slot = port, .stage = stage_to_string(job->stage), .code = job->code};

        fields.message = job->state != JOB_STATE_FINISHED         ? MESSAGE_JOB_STATE
                         : job->result == JOB_RESULT_DONE         ? MESSAGE_JOB_DONE
                         : job->failure.class != CLASS_NONE       ? MESSAGE_FAILURE
                                                                  : MESSAGE_JOB_ENDED;
        if (job->state == JOB_STATE_FINISHED)
                log_write(job->result == JOB_RESULT_FAILED ? LOG_WARNING : LOG_INFO, &fields,
                          "Job %llu (%s%s%s): %s%s%s%s%s", (unsigned long long) job->id, job->kind, port ? " at " : "",
                          port ? port : "", job_result_to_string(job->result), job->code[0] ? ", " : "", job->code,
                          job->failure.text[0] ? ": " : "", job->failure.text);
        else
                log_write((is_waiting(job->state) && is_waiting(before)) || job->state == JOB_STATE_DRAFT ? LOG_DEBUG
                                                                                                          : LOG_INFO,
                          &fields, "Job %llu (%s%s%s): %s", (unsigned long long) job->id, job->kind, port ? " at " : "",
                          port ? port : "", job_state_to_string(job->state));
}

/* Everything that a change of state brings with it. */
void job_enter_state(Job *job, JobState state) {
        Station *s = job->station;
        JobState before = job->state;
        bool first = !job->run->announced;

        if (before == state && !first)
                return;
        if (!first)
                count_state(s, before, -1);
        job->state = state;
        count_state(s, state, 1);
        job->run->announced = true;
        if (state == JOB_STATE_RUNNING)
                job->started_usec = now_realtime();
        if (state == JOB_STATE_FINISHED)
                job->result = job->run->result;
        job->cancelable = state != JOB_STATE_FINISHED && state != JOB_STATE_CANCELLING;
        log_state(job, before);
        if ((is_waiting(state) && !is_waiting(before)) || state == JOB_STATE_RUNNING)
                job_put_row(job);
        if (state != JOB_STATE_DRAFT && !is_waiting(state)) /* the queue knows which of the others */
                job_export(job);
        NOTIFY(s, OBJECT_JOB, job, "State", "Result", "Error", "Stage", "Slot", "Device", "Cancelable", "UserAction",
               "StartedUSec", "FinishedUSec", "Step", "StepCount", "Partition", "Progress", "ProgressValid",
               "BytesDone", "BytesTotal", "Rate", "ExpectedEndUSec");
        NOTIFY(s, OBJECT_STATION, s, "JobsRunning", "JobsQueued");
        if (state == JOB_STATE_FINISHED) {
                if (s->observer.job_finished)
                        s->observer.job_finished(s->observer.userdata, job);
                keep_finished(job);
                station_check_stopped(s);
        }
}

/* It goes off when it loses the cable, not before (bsl-protocol §6.8). */
static bool switched_off(const Job *job, JobResult result) {
        const Plan *plan = job_plan(job);

        return result == JOB_RESULT_DONE && plan && plan->n_steps > 0 && plan->steps[plan->n_steps - 1].op == PLAN_POWER_OFF;
}

void job_set_action(Job *job, const char *action) {
        Station *s = job->station;

        if (streq(job->user_action, action))
                return;
        snprintf(job->user_action, sizeof(job->user_action), "%s", action);
        if (!streq(action, USER_ACTION_SERIAL))
                job->answer_by_usec = U64_UNKNOWN;
        NOTIFY(s, OBJECT_JOB, job, "UserAction", "AnswerByUSec");
        if (action[0] && s->observer.user_action)
                s->observer.user_action(s->observer.userdata, job, action);
}

void job_note(Job *job, const char *text) {
        size_t have = strlen(job->note), at = have > 0 ? have + 1 : 0;

        if (at + 2 > sizeof(job->note))
                return;
        text_clean(job->note + at, sizeof(job->note) - at, text);
        if (have > 0)
                job->note[have] = '\n';
        NOTIFY(job->station, OBJECT_JOB, job, "Note");
}

/* How to finish or undo what a crash or a failure left behind. It stands first: where there is no room, other notes are cut. */
void job_note_open_table(Job *job) {
        char text[400], how[64], others[sizeof(job->note)], *rest = NULL;

        if (streq(job->kind, "repartition"))
                snprintf(how, sizeof(how), "the same fdlctl repartition again");
        else
                snprintf(how, sizeof(how), "fdlctl retry %llu", (unsigned long long) job->id);
        snprintf(text, sizeof(text),
                 "The change of the partition table may be half done. The unit's own data and its old table are stored. To finish: %s, with the unit in "
                 "boot mode. To undo: fdlctl vault restore ID, of job %llu's partition-table (fdlctl vault lists it), then flash what the unit had.",
                 how, (unsigned long long) job->id);
        memcpy(others, job->note, sizeof(others));
        job->note[0] = '\0';
        job_note(job, text);
        for (char *line = strtok_r(others, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                job_note(job, line);
}

/* ---- the end of a job ---- */

/* A retry that gets nowhere leaves the unit as the attempt before it did: half written, if it was that. */
static bool half_written_before(const Job *job) {
        const Job *old = job->retry_of > 0 ? station_find_job(job->station, job->retry_of) : NULL;

        return old && old->result != JOB_RESULT_DONE && old->failure.must_reflash &&
               (!old->run->unit[0] || !job->run->unit[0] || streq(old->run->unit, job->run->unit));
}

void job_conclude(Job *job, JobResult result, const Failure *f) {
        Station *s = job->station;
        JobRun *run = job->run;
        Slot *slot = run->port[0] ? job->slot : NULL;
        LastWords words;

        if (run->concluding || job->state == JOB_STATE_FINISHED)
                return;
        if (f) {
                job->failure = *f;
                job->failure.must_reflash |= half_written_before(job);
        }
        if (f && !streq(job->kind, "import"))
                failure_complete_verdict(&job->failure);
        if (f && f->class != CLASS_NONE)
                failure_code(f, job->code);
        queue_remove(job);
        active_remove(job);
        run->expect = sd_event_source_disable_unref(run->expect);
        serial_forget(job);
        run->destructive = false;
        run->result = result;
        run->concluding = true;
        if (streq(job->kind, "import"))
                s->n_imports--;
        job->finished_usec = now_realtime();
        trail_end(job, job->finished_usec, job->bytes_done);
        job->rate = 0;
        job->expected_end_usec = U64_UNKNOWN;
        if (result == JOB_RESULT_DONE) {
                job->progress = 1;
                job->progress_valid = true;
                if (job->bytes_total != U64_UNKNOWN)
                        job->bytes_done = job->bytes_total;
        }
        job_set_action(job, switched_off(job, result) ? "unplug" : "");
        loaders_job_ends(job, result);
        last_words(job, &words);
        steps_done(job);
        if (slot) {
                slot_note_link(slot, job, result);
                slot_count(slot, job, result);
        }
        write_row(job, &words.row, words.recorded ? &words.record : NULL, true);
        batch_job_ended(job, result); /* its row comes after that of the unit */
        unbind_package(job);
}

/* The row is on disk, or cannot be brought there: then the result is given all the same, and the journal says so. */
static void job_finish(Job *job, int error) {
        if (error < 0) {
                job_note(job, "The result of this job could not be recorded: the state directory cannot be written.");
                log_write(LOG_ERR, &(LogFields){.job = job->id, .code = job->code, .message = MESSAGE_JOB_UNRECORDED},
                          "Job %llu: its result (%s) could not be recorded: %s.", (unsigned long long) job->id,
                          job_result_to_string(job->run->result), strerror(-error));
        }
        job_enter_state(job, JOB_STATE_FINISHED);
}

/* ---- what survived a restart ---- */

static void restore_interrupted(Job *job) {
        JobRun *run = job->run;
        Failure f = FAILURE_INIT;

        f.stage = job->stage == STAGE_INVALID ? STAGE_CLAIM : job->stage;
        f.step = job->step;
        f.must_reflash = job->stage == STAGE_ERASE || job->stage == STAGE_REPARTITION || job->stage == STAGE_WRITE ||
                         job->stage == STAGE_RESTORE || job->stage == STAGE_CHECKING || job->stage == STAGE_VERIFY ||
                         half_written_before(job);
        failure_set(&f, CLASS_HOST, "interrupted", "The daemon stopped while this job was at step %d of %d (%s).%s",
                    job->step + 1, job->step_count, stage_to_string(f.stage),
                    f.must_reflash ? " The unit must be flashed again." : "");
        if (f.must_reflash && job->options.repartition)
                job_note_open_table(job);
        failure_complete_verdict(&f);
        job->failure = f;
        failure_code(&f, job->code);
        run->result = job->result = JOB_RESULT_INTERRUPTED;
        job->finished_usec = now_realtime();
        if (job->slot && run->port[0])
                slot_note_interrupted(job->slot, job->code);
        if (job->slot && job->batch > 0)
                job->slot->retry_of = job->id; /* the batch goes on with it if it is still there */
}

static bool was_running(const StoreJob *row) {
        return row->state == JOB_STATE_RUNNING || row->state == JOB_STATE_CANCELLING ||
               (row->state != JOB_STATE_FINISHED && !streq(row->kind, "flash") && !streq(row->kind, "verify") && !kind_has_steps(row->kind));
}

/* What was attached is in the spool, unless it was an output: a descriptor does not outlive the daemon. */
static void restore_steps(Job *job) {
        Failure f = FAILURE_INIT;

        count_state(job->station, JOB_STATE_QUEUED, 1);
        if (steps_restore(job)) {
                job->state = JOB_STATE_QUEUED;
                queue_add(job);
                return;
        }
        f.stage = STAGE_CLAIM;
        failure_set(&f, CLASS_HOST, "interrupted", "The daemon stopped before this job began, and the files it was to use went with it. Start it again.");
        job->state = JOB_STATE_QUEUED;
        job_conclude(job, JOB_RESULT_INTERRUPTED, &f);
}

static void restore_queued(Job *job, const StoreJob *row) {
        Station *s = job->station;
        Package *p = station_find_package(s, row->digest);

        job->run->target = row->target_any || !job->slot ? TARGET_ANY : TARGET_SLOT;
        if (kind_has_steps(job->kind) && !job->options.repair) {
                restore_steps(job);
                return;
        }
        if (p) {
                job_bind_package(job, p);
                job->state = JOB_STATE_QUEUED;
                count_state(s, JOB_STATE_QUEUED, 1);
                queue_add(job);
                serial_hold(job);
                return;
        }
        Failure f = FAILURE_INIT;
        f.stage = STAGE_CLAIM;
        failure_set(&f, CLASS_PLAN, "package", "The package of this job is no longer in the store.");
        count_state(s, job->state, 1);
        job_conclude(job, JOB_RESULT_FAILED, &f);
}

void job_restore(Station *s, const StoreJob *row) {
        Job *job = job_new(s, row->id, row->kind);

        if (!job)
                return;
        unpack_options(row, &job->options);
        snprintf(job->digest, sizeof(job->digest), "%s", row->digest);
        snprintf(job->package_name, sizeof(job->package_name), "%s", row->package_name);
        snprintf(job->run->port, sizeof(job->run->port), "%s", row->port);
        snprintf(job->code, sizeof(job->code), "%s", row->code);
        snprintf(job->note, sizeof(job->note), "%s", row->note);
        snprintf(job->run->unit, sizeof(job->run->unit), "%s", row->unit);
        snprintf(job->statistics, sizeof(job->statistics), "%s", row->statistics);
        snprintf(job->run->serial, sizeof(job->run->serial), "%s", row->serial);
        snprintf(job->operator_name, sizeof(job->operator_name), "%s", row->operator_name);
        job->slot = row->port[0] || row->target_port[0]
                            ? station_find_slot(s, row->port[0] ? row->port : row->target_port)
                            : NULL;
        if (!job->slot && row->target_port[0])
                job->slot = slot_find_or_new(s, row->target_port);
        job->uid = row->uid;
        job->retry_of = row->retry_of;
        job->batch = row->batch;
        job->created_usec = row->created_usec;
        job->started_usec = row->started_usec;
        job->finished_usec = row->finished_usec;
        job->stage = row->stage;
        job->step = row->step;
        job->step_count = row->step_count;
        job->bytes_done = row->bytes_done;
        job->bytes_total = row->bytes_total;
        job->failure = row->failure;
        job->result = job->run->result = row->result;
        job->run->target = row->target_any ? TARGET_ANY : TARGET_SLOT;
        job->run->announced = true;
        job->run->talked = row->started_usec > 0;
        if (row->state != JOB_STATE_FINISHED && !was_running(row)) {
                restore_queued(job, row);
                return;
        }
        if (row->result == JOB_RESULT_DONE) {
                job->progress_valid = true;
                job->progress = 1;
        } else if (row->bytes_total > 0 && row->bytes_total != U64_UNKNOWN) {
                job->progress_valid = true;
                job->progress = MIN(1.0, (double) row->bytes_done / (double) row->bytes_total);
        }
        job->cancelable = false;
        job->exported = true;
        job->state = JOB_STATE_FINISHED;
        if (was_running(row)) {
                LastWords words;
                restore_interrupted(job);
                last_words(job, &words);
                write_row(job, &words.row, words.recorded ? &words.record : NULL, false);
        }
        keep_finished(job);
}

void job_package_ready(Package *p) {
        Station *s = p->station;

        for (Job *j = s->queue, *next; j; j = next) {
                CallError e = {};

                next = j->queue_next;
                if (j->package != p || j->run->cache || j->run->steps)
                        continue;
                if (package_plan(p, &j->options, &j->run->cache, &e) == 0) {
                        j->plan = j->run->cache->plan;
                        j->step_count = (int) j->plan->n_steps;
                        j->bytes_total = j->plan->bytes_total;
                        continue;
                }
                Failure f = FAILURE_INIT;
                f.stage = STAGE_CLAIM;
                failure_set(&f, CLASS_PLAN, "package", "%s", e.text);
                job_conclude(j, JOB_RESULT_FAILED, &f);
        }
        batch_package_ready(p);
        queue_run(s);
}
