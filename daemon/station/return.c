/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"

/* A unit that was flashed and restarted should start its system. One that stands in download mode again at once has found nothing to
 * start (bsl-protocol §12 F22, F23). Nobody can prove that before it is spoken to: a quick hand may have plugged in the next unit. So the job,
 * which is done as all that it had to do was acknowledged, and the journal say what it looks like; nothing is held up by it, and a batch knows a
 * unit that it has flashed by its number. One that never comes up at all cannot be told from one that starts a system without an USB port;
 * what the kernel says of such a port, "fdlctl doctor" shows. */

/* The boot ROM is on the bus within a second. */
#define RETURN_USEC 3000000ULL

static bool writes_first_stage(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_WRITE &&
                    (plan->steps[i].partition[0] ? strncmp(plan->steps[i].partition, "splloader", 9) == 0 : plan->steps[i].critical))
                        return true;
        return false;
}

void return_expect(Slot *slot, const Job *job) {
        const Plan *plan = job_plan(job);

        slot->reset_job = 0;
        if (!plan || plan->n_steps < 3 || plan->steps[plan->n_steps - 1].op != PLAN_RESET)
                return;
        slot->reset_job = job->id;
        slot->reset_first_stage = writes_first_stage(plan);
}

/* The likeliest cause, and its code. */
static const char *explain(const Slot *slot, char ret_code[static FAILURE_CODE_MAX]) {
        Failure f = {.stage = STAGE_FINISH, .class = CLASS_MISMATCH};
        Explanation x;

        snprintf(f.detail, sizeof(f.detail), "%s", slot->reset_first_stage ? "boot-rom" : "autodloader");
        failure_code(&f, ret_code);
        explanation_of(&f, &x);
        return x.causes[0];
}

static void tell(Slot *slot, uint64_t after_usec) {
        Job *job = station_find_job(slot->station, slot->reset_job);
        char code[FAILURE_CODE_MAX], text[400];
        const char *cause = explain(slot, code);

        snprintf(text, sizeof(text), "%.1f s after its restart a device is in download mode here: unless another one was plugged in, %s, or its boot key or strap is still held "
                 "(fdlctl explain %s)",
                 (double) after_usec / 1e6, cause, code);
        log_write(LOG_NOTICE, &(LogFields){.message = MESSAGE_DEVICE_BACK, .slot = slot->port, .job = slot->reset_job, .stage = stage_to_string(STAGE_FINISH), .code = code},
                  "%s: job %llu: %s.", slot->port, (unsigned long long) slot->reset_job, text);
        if (job) {
                job_note(job, text);
                job_put_row(job);
        }
}

void return_note(Device *d) {
        Slot *slot = d->slot;
        uint64_t after = d->appeared_mono - slot->left_usec;

        if (slot->reset_job == 0)
                return;
        if (d->acted_on && slot->left_usec > 0 && after < RETURN_USEC) {
                d->back_job = slot->reset_job;
                tell(slot, after);
        }
        slot->reset_job = 0;
}

/* The unit is the same: nobody has plugged in another one. */
void return_unit_known(Job *job) {
        const Device *d = job->device;
        const Job *before = d && d->back_job > 0 && d->back_job != job->id ? station_find_job(job->station, d->back_job) : NULL;
        char code[FAILURE_CODE_MAX], text[400];
        const char *cause;

        if (!before || !before->run || !job->run->unit[0] || !streq(before->run->unit, job->run->unit))
                return;
        cause = explain(job->slot, code);
        job->device->back_job = 0;
        snprintf(text, sizeof(text), "job %llu has flashed and restarted this very unit, and it is in download mode again at once: %s, or its boot key or strap is held (fdlctl explain %s)",
                 (unsigned long long) before->id, cause, code);
        log_write(LOG_WARNING, &(LogFields){.message = MESSAGE_DEVICE_BACK, .slot = job->slot->port, .job = job->id, .stage = stage_to_string(STAGE_FINISH), .code = code},
                  "%s: %s.", job->slot->port, text);
        job_note(job, text);
}
