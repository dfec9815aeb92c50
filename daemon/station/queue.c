/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"
#include "station/serial.h"
#include "station/steps-internal.h"

/* ---- the queue: jobs that were submitted and not begun, in that order ---- */

void queue_add(Job *job) {
        Station *s = job->station;

        job->queue_prev = s->queue_tail;
        job->queue_next = NULL;
        *(s->queue_tail ? &s->queue_tail->queue_next : &s->queue) = job;
        s->queue_tail = job;
        job->run->queued = true;
}

void queue_remove(Job *job) {
        Station *s = job->station;

        if (!job->run->queued)
                return;
        *(job->queue_prev ? &job->queue_prev->queue_next : &s->queue) = job->queue_next;
        *(job->queue_next ? &job->queue_next->queue_prev : &s->queue_tail) = job->queue_prev;
        job->queue_prev = job->queue_next = NULL;
        job->run->queued = false;
}

/* ---- which device for which job ---- */

/* Free, and able to begin a session. */
static bool device_free_now(const Device *d) {
        const Slot *slot = d->slot;

        return d->acted_on && d->state == DEVICE_STATE_IDLE && !d->job && !d->broken && slot->device == d &&
               !slot->running && !slot->wedged && slot_usable(slot);
}

/* A running system, for a job that begins with asking it for download mode. */
static bool may_enter(const Device *d) {
        const Slot *slot = d->slot;

        return device_soft_entry(d) && d->state == DEVICE_STATE_PRESENT && !d->job && slot->device == d && !slot->running && !slot->wedged &&
               slot_usable(slot);
}

/* A unit that a job has used and that never left is nobody's "next unit": it is used again only on request. */
bool device_usable(const Device *d, const Job *job) {
        if (!device_free_now(d) && !(job->options.soft_entry && may_enter(d)))
                return false;
        if (job->run->want_device)
                return job->run->want_device == d->number;
        return !d->touched && !job->run->needs_replug && (job->run->target == TARGET_ANY || job->slot == d->slot);
}

static Device *find_device(const Job *job, unsigned n_free) {
        if (job->run->target != TARGET_ANY) {
                Device *d = job->slot->device;
                return d && device_usable(d, job) ? d : NULL;
        }
        for (Device *d = n_free > 0 ? job->station->devices : NULL; d; d = d->next)
                if (device_usable(d, job))
                        return d;
        return NULL;
}

static unsigned count_free(const Station *s) {
        unsigned n = 0;

        for (const Device *d = s->devices; d; d = d->next)
                n += device_free_now(d) && !d->touched;
        return n;
}

/* ---- words for people: queued until it can run, waiting while there is nothing to run it on ---- */

static bool slot_occupied(const Slot *slot) {
        return slot->running || slot->wedged || !slot_usable(slot);
}

/* Everything that it needs besides a device is there. */
static bool is_prepared(const Job *job) {
        const JobRun *run = job->run;

        return !run->serial_pending && (run->steps ? !run->preparing : !job->package || run->cache);
}

static void show_waiting(Job *job, bool have_device) {
        const JobRun *run = job->run;

        if (have_device || !is_prepared(job) || (run->target != TARGET_ANY && slot_occupied(job->slot))) {
                job_set_action(job, "");
                job_enter_state(job, JOB_STATE_QUEUED);
                return;
        }
        job_enter_state(job, JOB_STATE_WAITING);
        job_set_action(job, job->slot && job->slot->device && (run->needs_replug || job->slot->device->leaving) ? "replug"
                                                                                                              : "plug-in");
}

bool queue_may_start(const Station *s) {
        return s->inhibited == 0 && !s->stopping && s->n_active - s->n_imports < s->settings.max_parallel_jobs;
}

/* What was asked for by name comes first; the rest of what is plugged in belongs to the batches. */
static void start_batch_units(Station *s) {
        for (Device *d = s->devices, *next; d && queue_may_start(s); d = next) {
                next = d->next;
                if (device_free_now(d) && batch_wants(d))
                        batch_start_unit(d);
        }
}

static void queue_pass(Station *s) {
        unsigned n_free = count_free(s), n_queued = 0, n_waiting = 0;

        for (Job *job = s->queue, *next; job; job = next) {
                bool ready = is_prepared(job);
                Device *d = ready ? find_device(job, n_free) : NULL;

                next = job->queue_next;
                if (d && queue_may_start(s)) {
                        n_free -= n_free > 0 && !d->touched;
                        job_start(job, d);
                        continue;
                }
                show_waiting(job, d != NULL);
                if (job->state == JOB_STATE_WAITING ? n_waiting++ < EXPORTED_WAITING : n_queued++ < EXPORTED_QUEUED)
                        job_export(job);
        }
        start_batch_units(s);
}

void queue_run(Station *s) {
        if (!s->started)
                return;
        s->queue_again = true;
        if (s->queue_busy)
                return;
        s->queue_busy = true;
        for (unsigned i = 0; s->queue_again && i < 100; i++) {
                s->queue_again = false;
                queue_pass(s);
        }
        s->queue_busy = false;
        schedule_run(s);
}

/* ---- taking jobs in ---- */

static int check_room(Station *s, CallError *e) {
        if (s->stopping)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "The daemon is stopping and takes no new jobs.");
        if (s->n_unfinished >= JOBS_UNFINISHED_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u jobs are unfinished; that is the limit.",
                                      s->n_unfinished);
        return station_check_store(s, e);
}

static int check_device(const Device *d, CallError *e) {
        if (d->acted_on && d->leaving)
                return call_error_set(e, BUS_ERROR_WRONG_STATE,
                                      "The device at %s was restarted or switched off and is about to leave the bus. Work for the "
                                      "next unit can be given to its slot.",
                                      d->port);
        if (d->acted_on)
                return 0;
        if (d->state == DEVICE_STATE_FOREIGN)
                return call_error_set(e, BUS_ERROR_NOT_IN_BOOT_MODE,
                                      "%04x:%04x is also used by other gadgets, so it is left alone. If it is a module "
                                      "in download mode, "
                                      "allow it with AllowIds=%04x:%04x in [Slot %s] of fdld.conf and reload.",
                                      d->vendor, d->product, d->vendor, d->product, d->port);
        return call_error_set(
                e, BUS_ERROR_NOT_IN_BOOT_MODE,
                "%04x:%04x is not in boot mode. Switch it off and connect it again with the boot key held.", d->vendor,
                d->product);
}

/* Said at once where it can be known: a running system that must not be asked. */
static int check_entry(const Target *target, CallError *e) {
        const Device *d = target->kind == TARGET_DEVICE ? target->device : target->kind == TARGET_SLOT ? target->slot->device : NULL;

        if (target->kind == TARGET_ANY)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A running system is asked for download mode only in a slot, or as a device, that is named.");
        if (!d || d->acted_on || device_soft_entry(d))
                return 0;
        if (soft_entry_find(d->vendor, d->product))
                return call_error_set(e, BUS_ERROR_NOT_IN_BOOT_MODE,
                                      "%04x:%04x at %s is a running system, and it is not allowed to ask it for download mode. Allow it with "
                                      "AllowSoftEntry=%04x:%04x in [Slot %s] of fdld.conf and reload, or switch it off and connect it with the boot "
                                      "key held.", d->vendor, d->product, d->port, d->vendor, d->product, d->port);
        return call_error_set(e, BUS_ERROR_NOT_IN_BOOT_MODE, "How %04x:%04x is asked for download mode is not known. Switch it off and connect it with "
                                                             "the boot key held.", d->vendor, d->product);
}

int queue_new_job(Station *s, const char *kind, const Target *target, uint32_t uid, Job **ret, CallError *e) {
        uint64_t id;
        Job *job;

        if (check_room(s, e) < 0 || (target->kind == TARGET_DEVICE && check_device(target->device, e) < 0) ||
            (target->kind == TARGET_SLOT && slot_check_listed(target->slot, e) < 0))
                return -1;
        id = station_take_id(s);
        if (id == 0)
                return call_error_set(e, BUS_ERROR_STORE, "No job number is on disk at the moment; try again.");
        job = job_new(s, id, kind);
        if (!job)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        job->uid = uid;
        job->run->target = target->kind;
        job->slot = target->kind == TARGET_SLOT     ? target->slot
                    : target->kind == TARGET_DEVICE ? target->device->slot
                                                    : NULL;
        if (target->kind == TARGET_DEVICE) {
                job->run->want_device = target->device->number;
                job->run->needs_replug = target->device->broken;
        }
        *ret = job;
        return 0;
}

/* `source`: of the serial number (station/serial.h), NULL: as `wish` says. */
static int new_flash(Station *s, const Target *target, Package *package, const PlanOptions *options, const SerialWish *wish,
                     const char *source, uint32_t uid, Job **ret, CallError *e) {
        char serial[SERIAL_SOURCE_MAX] = "";
        PlanCache *cache;
        Job *job;

        Target there = *target;
        uint64_t asked_for = 0; /* a running system by its own name */

        if (options->soft_entry && check_entry(target, e) < 0)
                return -1;
        if (package_plan(package, options, &cache, e) < 0)
                return -1;
        if (options->soft_entry && target->kind == TARGET_DEVICE && !target->device->acted_on) {
                there.kind = TARGET_SLOT; /* what it comes back as is another device */
                there.slot = target->device->slot;
                asked_for = target->device->number;
        }
        target = &there;
        if (source)
                snprintf(serial, sizeof(serial), "%s", source);
        if ((!source && serial_source(s, cache->plan, wish, serial, e) < 0) ||
            queue_new_job(s, options->check_only ? "verify" : options->repair ? "repair" : "flash", target, uid, &job, e) < 0) {
                plan_cache_unref(package, cache);
                return -1;
        }
        if (there.kind == TARGET_SLOT && asked_for > 0) {
                job->run->want_device = asked_for;
                job->run->follow_slot = true;
                job->run->needs_replug = there.slot->device->broken;
        }
        job->options = cache->options;
        memcpy(job->run->serial, serial, sizeof(serial));
        job_bind_package(job, package);
        job->run->cache = cache;
        job->plan = cache->plan;
        job->step_count = (int) cache->plan->n_steps;
        job->bytes_total = cache->plan->bytes_total;
        *ret = job;
        return 0;
}

static void submit(Job *job) {
        queue_add(job);
        job_enter_state(job, JOB_STATE_QUEUED);
        serial_hold(job);
        if (job->slot)
                slot_update(job->slot);
        queue_run(job->station);
}

int station_flash_as(Station *s, const Target *target, Package *package, const PlanOptions *options, const SerialWish *wish,
                     uint32_t uid, Job **ret, CallError *e) {
        if (new_flash(s, target, package, options, wish, NULL, uid, ret, e) < 0)
                return -1;
        submit(*ret);
        return 0;
}

int station_draft_as(Station *s, const char *kind, const Target *target, Package *package, const PlanOptions *options,
                     const SerialWish *wish, uint32_t uid, Job **ret, CallError *e) {
        PlanOptions wanted = *options;

        if (!streq(kind, "flash") && !streq(kind, "verify"))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "There is no kind of job \"%.32s\" that can be drafted; there are flash and verify.", kind);
        if (!package)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A %s job needs the option package.", kind);
        wanted.check_only = streq(kind, "verify");
        if (s->n_drafts >= DRAFTS_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u drafts exist already. Submit or cancel some.",
                                      s->n_drafts);
        if (new_flash(s, target, package, &wanted, wish, NULL, uid, ret, e) < 0)
                return -1;
        job_enter_state(*ret, JOB_STATE_DRAFT);
        return 0;
}

int job_submit(Job *job, CallError *e) {
        if (job->state != JOB_STATE_DRAFT || job->run->concluding)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "The job was submitted already.");
        if (job->station->stopping)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "The daemon is stopping and takes no new jobs.");
        if (station_check_store(job->station, e) < 0)
                return -1;
        if (job->run->want_device && !station_find_device(job->station, job->run->want_device))
                return call_error_set(e, BUS_ERROR_NO_SUCH_DEVICE, "The device has left since the draft was made.");
        if (job->run->steps && steps_submit(job, e) < 0)
                return -1;
        submit(job);
        return 0;
}

void job_discard(Job *job) {
        if (job->state != JOB_STATE_DRAFT || job->run->concluding)
                return;
        job->station->n_drafts--;
        job->station->n_unfinished--;
        job_free(job);
}

/* Probe and reset: on this device, now. */
static int start_small(Station *s, const char *kind, Device *d, bool power_off, uint32_t uid, Job **ret, CallError *e) {
        Target target = {TARGET_DEVICE, d->slot, d};
        bool reset = streq(kind, "reset");
        Plan *plan;
        Job *job;

        if (check_device(d, e) < 0)
                return -1;
        if (!device_free_now(d) && !d->broken)
                return call_error_set(e, BUS_ERROR_DEVICE_BUSY, "Slot %s cannot take this now: it is %s.",
                                      d->slot->port, slot_state_to_string(d->slot->state));
        if (d->broken)
                return call_error_set(e, BUS_ERROR_WRONG_STATE,
                                      "An earlier session with this device broke off. Remove its power for 10 seconds "
                                      "and connect it again "
                                      "in boot mode.");
        if (small_plan(reset, power_off, false, &plan) < 0)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        if (queue_new_job(s, kind, &target, uid, &job, e) < 0) {
                plan_free(plan);
                return -1;
        }
        job->run->own_plan = job->plan = plan;
        job->run->power_off = power_off;
        job->step_count = (int) plan->n_steps;
        job->bytes_total = 0;
        submit(job);
        *ret = job;
        return 0;
}

int station_probe(Station *s, Device *device, uint32_t uid, Job **ret, CallError *e) {
        return start_small(s, "probe", device, false, uid, ret, e);
}

int station_reset(Station *s, Device *device, bool power_off, uint32_t uid, Job **ret, CallError *e) {
        return start_small(s, "reset", device, power_off, uid, ret, e);
}

/* ---- cancel, retry, answer ---- */

int job_cancel(Job *job, CallError *e) {
        if (job->state == JOB_STATE_FINISHED)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Job %llu is finished already.",
                                      (unsigned long long) job->id);
        if (job->run->concluding || job->state == JOB_STATE_CANCELLING)
                return 0;
        if (job->state == JOB_STATE_RUNNING)
                job_request_cancel(job);
        else
                job_conclude(job, JOB_RESULT_CANCELED, NULL);
        if (job->slot)
                slot_update(job->slot);
        return 0;
}

/* The unit of the earlier job may still be there: then it is the one meant, if its session can go on. */
static void aim_retry(Job *job, const Job *old) {
        Device *d = job->slot ? job->slot->device : NULL;
        bool same = d && d->touched &&
                    (d->last_job == old->id || (d->last_job == 0 && old->result == JOB_RESULT_INTERRUPTED));

        if (!same)
                return;
        job->run->follow_slot = true;
        job->run->needs_replug = d->broken;
        job->run->want_device = d->broken ? 0 : d->number;
}

int job_retry(Job *old, uint32_t uid, Job **ret, CallError *e) {
        Station *s = old->station;
        Target target = {.kind = TARGET_ANY};
        Package *package = station_find_package(s, old->digest);
        Job *job;

        if (old->slot)
                target = (Target){.kind = TARGET_SLOT, .slot = old->slot};
        if (old->state != JOB_STATE_FINISHED)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Job %llu is not finished yet.",
                                      (unsigned long long) old->id);
        if (!streq(old->kind, "flash") && !streq(old->kind, "verify") && !old->options.repair)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "A job of kind %s cannot be retried; start it anew.",
                                      old->kind);
        if (!package)
                return call_error_set(e, BUS_ERROR_NO_SUCH_PACKAGE,
                                      "The package of job %llu is no longer in the store. Import it again.",
                                      (unsigned long long) old->id);
        if (new_flash(s, &target, package, &old->options, NULL, old->run->serial, uid, &job, e) < 0)
                return -1;
        job->retry_of = old->id;
        snprintf(job->operator_name, sizeof(job->operator_name), "%s", old->operator_name);
        aim_retry(job, old);
        submit(job);
        *ret = job;
        return 0;
}

static bool is_waiting_for_unit(const Job *job) {
        return (job->state == JOB_STATE_WAITING || job->state == JOB_STATE_QUEUED) && job->user_action[0];
}

int job_answer(Job *job, const char *action, const char *value, JobAnswered fn, void *userdata, CallError *e) {
        if (!job->user_action[0])
                return call_error_set(e, BUS_ERROR_WRONG_STATE,
                                      "Job %llu asks for nothing. Only what its property UserAction names can be answered.",
                                      (unsigned long long) job->id);
        if (!streq(action, job->user_action))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Job %llu asks for \"%s\".",
                                      (unsigned long long) job->id, job->user_action);
        if (streq(action, USER_ACTION_SERIAL))
                return serial_answer(job, value, fn, userdata, e) < 0 ? -1 : 1;
        if (value)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Job %llu asks for \"%s\", which needs no value.",
                                      (unsigned long long) job->id, job->user_action);
        /* plug-in and replug answer themselves: what counts is what the bus shows */
        queue_run(job->station);
        if (is_waiting_for_unit(job))
                return call_error_set(e, BUS_ERROR_WRONG_STATE,
                                      "Job %llu still finds no device that it could take. It starts by itself as soon as one %s, "
                                      "in boot mode; nothing needs to be answered.",
                                      (unsigned long long) job->id, streq(action, "replug") ? "is unplugged and plugged in again" : "is plugged in");
        return 0;
}
