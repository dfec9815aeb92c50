/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"
#include "station/trail.h"

/* Who may begin with what when many units are at work. The handshake is never delayed: a boot ROM waits for a moment only, but once
 * it has answered it waits as long as we like, and so does a loader before it is sent and before its first write. Only there units are held:
 * for the first article of a batch, for other second loaders that start on the same controller, for a free place among its writers. A unit
 * that began to write keeps its place to the end. */

#define STAGGER_USEC 50000ULL
#define WRITERS_LEAST 4
#define WORTH_IT 1.05 /* another writer shall bring that much more in all */
#define BELIEVED_USEC 60000000ULL /* other packages, other devices: then one writer more is tried again */
#define CROWDED 24    /* devices; common controllers take 30 to 60, hubs included */

/* ---- controllers ---- */

static void controller_of(const char *port, char ret[static 64]) {
        const char *usb = strstr(port, "usb-");

        snprintf(ret, 64, "%.*s", (int) MIN(usb ? (size_t) (usb - port) : strlen(port), (size_t) 63), port);
}

static Controller *find_controller(Station *s, const char *port) {
        char name[64];

        controller_of(port, name);
        for (size_t i = 0; i < s->n_controllers; i++)
                if (streq(s->controllers[i].name, name))
                        return s->controllers + i;
        if (s->n_controllers == ELEMENTSOF(s->controllers))
                return s->controllers; /* shared by what does not fit */
        snprintf(s->controllers[s->n_controllers].name, sizeof(s->controllers[0].name), "%s", name);
        return s->controllers + s->n_controllers++;
}

static unsigned writers_on(Station *s, const Controller *c) {
        unsigned n = 0;

        for (const Job *job = s->active; job; job = job->run->active_next)
                n += job->run->writing && !(job->slot && job->slot->parked) && find_controller(s, job->run->port) == c;
        return n;
}

/* The fewest writers with whom the controller was lately about as quick as with one more. */
static unsigned writers_allowed(const Controller *c) {
        uint64_t now = now_monotonic();

        for (unsigned n = WRITERS_LEAST; n + 1 < CONTROLLER_WRITERS; n++)
                if (now - c->seen_usec[n + 1] < BELIEVED_USEC && c->rate[n] > 0 && c->rate[n + 1] > 0 && c->rate[n + 1] < WORTH_IT * c->rate[n])
                        return n;
        return CONTROLLER_WRITERS;
}

/* Four times a second: what all writers of a controller together get through. */
void schedule_learn(Station *s) {
        double rate[ELEMENTSOF(s->controllers)] = {};
        unsigned writers[ELEMENTSOF(s->controllers)] = {};

        for (const Job *job = s->active; job; job = job->run->active_next) {
                size_t i = job->run->writing ? (size_t) (find_controller(s, job->run->port) - s->controllers) : SIZE_MAX;
                if (i == SIZE_MAX || job->stage != STAGE_WRITE || job->rate == 0)
                        continue;
                rate[i] += (double) job->rate;
                writers[i]++;
        }
        for (size_t i = 0; i < s->n_controllers; i++) {
                Controller *c = s->controllers + i;
                unsigned n = MIN(writers[i], CONTROLLER_WRITERS - 1U);
                bool believed = c->rate[n] > 0 && now_monotonic() - c->seen_usec[n] < BELIEVED_USEC;
                if (n == 0)
                        continue;
                c->rate[n] = believed ? c->rate[n] * 0.95 + rate[i] * 0.05 : rate[i];
                c->seen_usec[n] = now_monotonic();
        }
}

void schedule_device_added(const Device *d) {
        Controller *c = find_controller(d->station, d->port);
        unsigned n = 0;

        for (const Device *other = d->station->devices; other; other = other->next)
                n += find_controller(d->station, other->port) == c;
        if (n < CROWDED || n <= c->warned_of)
                return;
        c->warned_of = n;
        log_message(LOG_WARNING, MESSAGE_CONTROLLER_FULL, "USB controller %s has %u devices on it. Many controllers take no more than 30 to 60, hubs included; spread the sockets over "
                    "several controllers before devices are refused.",
                    c->name, n);
}

/* ---- units that wait ---- */

static bool may_exec(Station *s, Controller *c) {
        uint64_t now = now_monotonic();

        (void) s;
        if (now < c->next_exec_usec)
                return false;
        c->next_exec_usec = now + STAGGER_USEC;
        return true;
}

static bool may_pass(Job *job) {
        Station *s = job->station;
        Controller *c = find_controller(s, job->run->port);

        if (job->run->verdict != JOB_RESULT_NONE || job->state == JOB_STATE_CANCELLING)
                return true; /* it ends, and must hear of it */
        if (!job->device && job->run->gate == GATE_LOAD)
                return true; /* it was unplugged while it waited */
        switch (job->run->gate) {
        case GATE_LOAD:
                return batch_lets_load(job);
        case GATE_EXEC:
                return may_exec(s, c);
        case GATE_WRITE:
                return job->run->writing || writers_on(s, c) < writers_allowed(c);
        default:
                return true;
        }
}

static void pass(Job *job) {
        JobRun *run = job->run;
        Gate gate = run->gate;

        run->gate = GATE_NONE;
        run->waited_usec += now_monotonic() - run->gate_usec;
        if (run->held > 0)
                run->held--;
        run->active_usec = now_monotonic();
        if (gate == GATE_WRITE) {
                run->writing = true;
                job_go_write(job);
        } else if (run->worker)
                worker_go(run->worker, 0);
        if (job->slot)
                slot_update(job->slot);
}

static int on_timer(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        schedule_run(userdata);
        return 0;
}

static void look_again(Station *s) {
        if (!s->gate_timer)
                (void) sd_event_add_time_relative(s->event, &s->gate_timer, CLOCK_MONOTONIC, STAGGER_USEC, 1000, on_timer, s);
        else {
                (void) sd_event_source_set_time_relative(s->gate_timer, STAGGER_USEC);
                (void) sd_event_source_set_enabled(s->gate_timer, SD_EVENT_ONESHOT);
        }
}

/* Who waits longest is first. */
static Job *next_waiting(Station *s, uint64_t after) {
        Job *best = NULL;

        for (Job *job = s->active; job; job = job->run->active_next)
                if (job->run->gate != GATE_NONE && job->id > after && (!best || job->id < best->id))
                        best = job;
        return best;
}

void schedule_run(Station *s) {
        bool timed = false;

        for (Job *job = next_waiting(s, 0); job; job = next_waiting(s, job->id)) {
                if (may_pass(job))
                        pass(job);
                else
                        timed |= job->run->gate == GATE_EXEC;
        }
        if (timed)
                look_again(s);
}

void schedule_wait(Job *job, Gate gate) {
        job->run->gate = gate;
        job->run->gate_usec = now_monotonic();
        job->run->held++;
        if (may_pass(job)) {
                pass(job);
                return;
        }
        if (gate == GATE_EXEC)
                look_again(job->station);
        if (gate == GATE_WRITE && job->run->worker)
                worker_hold(job->run->worker);
        if (job->slot)
                slot_update(job->slot);
}

/* ---- stragglers ---- */

#define TIMES_LEAST 3
#define LATE_USEC 2000000ULL

static StageTimes *find_times(Station *s, const char *digest, Stage stage, bool make) {
        StageTimes *oldest = s->times;

        for (size_t i = 0; i < ELEMENTSOF(s->times); i++) {
                StageTimes *t = s->times + i;
                if (t->n > 0 && t->stage == stage && streq(t->digest, digest))
                        return t;
                if (t->used_usec < oldest->used_usec)
                        oldest = t;
        }
        if (!make)
                return NULL;
        *oldest = (StageTimes){.stage = stage};
        snprintf(oldest->digest, sizeof(oldest->digest), "%s", digest);
        return oldest;
}

/* How long a good unit took. */
void schedule_unit_passed(const Job *job) {
        const JobTrail *trail = job->run->trail;

        for (size_t i = 0; trail && job->digest[0] && i < trail->n_stages; i++) {
                StageTimes *t = find_times(job->station, job->digest, trail->stages[i].stage, true);
                t->usec[t->n++ % ELEMENTSOF(t->usec)] = trail->stages[i].usec;
                t->used_usec = now_monotonic();
        }
}

static int compare_times(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;
        return (*x > *y) - (*x < *y);
}

static uint64_t median_of(const StageTimes *t) {
        uint64_t sorted[ELEMENTSOF(t->usec)];
        size_t n = MIN((size_t) t->n, ELEMENTSOF(t->usec));

        memcpy(sorted, t->usec, n * sizeof(sorted[0]));
        qsort(sorted, n, sizeof(sorted[0]), compare_times);
        return sorted[n / 2];
}

static bool is_late(const Job *job, unsigned factor) {
        const JobTrail *trail = job->run->trail;
        const StageTimes *t;
        uint64_t now = now_realtime(), spent, median;

        if (!trail || trail->current < 0 || job->run->gate != GATE_NONE || job->run->asking)
                return false;
        t = find_times(job->station, job->digest, trail->stages[trail->current].stage, false);
        if (!t || t->n < TIMES_LEAST || now < trail->since_usec)
                return false;
        spent = trail->stages[trail->current].usec + now - trail->since_usec;
        spent -= MIN(spent, job->run->waited_usec);
        median = median_of(t);
        return spent > median * factor && spent > median + LATE_USEC;
}

/* Nobody waits for a unit that is much slower than its like; what that means for it says the batch. */
void schedule_check_straggler(Job *job) {
        const Batch *b = job->batch > 0 ? station_find_batch(job->station, job->batch) : NULL;

        if (!b || b->policy.straggler == STRAGGLER_OFF || job->straggler || !job->run->worker || !is_late(job, b->policy.straggler_factor))
                return;
        job->straggler = true;
        NOTIFY(job->station, OBJECT_JOB, job, "Straggler");
        log_write(LOG_WARNING, &(LogFields){.message = MESSAGE_JOB_SLOW, .job = job->id, .slot = job->run->port, .stage = stage_to_string(job->stage)},
                  "Job %llu at %s is much slower than other units with this package in the same stage (%s)%s.", (unsigned long long) job->id,
                  job->run->port, stage_to_string(job->stage), b->policy.straggler == STRAGGLER_PARK ? "; it is not waited for" : "");
        if (b->policy.straggler == STRAGGLER_PARK)
                batch_park(job);
}
