/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"
#include "station/trail.h"

/* What stands around a device that failed: how its hub links, and how its neighbours at the same hub fare. The fault of a hub, a cable or
 * a power supply is often taken for the fault of a phone. */

#define FULL_SPEED_MBIT 12
/* Failures of neighbours within this time have one cause; successes within the longer one show that the hub works. */
#define SAME_MOMENT_USEC 10000000ULL
#define LATELY_USEC 60000000ULL
/* A job that moved so lately works. */
#define ALIVE_USEC 5000000ULL

static bool is_link_failure(FailClass class) {
        return class == CLASS_SILENT || class == CLASS_SLOW || class == CLASS_GONE || class == CLASS_GARBLED;
}

/* All of a port but its last number: the hub. "…-usb-0:1.2" and "…-usb-0:1.4" are neighbours, "…-usb-0:1" and "…-usb-0:3", too. */
static size_t hub_length(const char *port) {
        const char *chain = strrchr(port, ':'), *dot = chain ? strrchr(chain, '.') : NULL;

        return chain ? (size_t) ((dot ? dot : chain) + 1 - port) : 0;
}

static bool are_neighbours(const Slot *a, const Slot *b) {
        size_t n = hub_length(a->port);

        return a != b && n > 0 && n == hub_length(b->port) && strncmp(a->port, b->port, n) == 0;
}

/* A hub that is slow is to blame; a device that is slow at a fast hub only where its kind is known to be fast: feature phones and modules
 * are not. */
static uint32_t look_at_link(const Job *job) {
        const Plan *plan = job_plan(job);
        const JobTrail *t = job->run->trail; /* the device may be gone */

        if (!t)
                return 0;
        if (atoi(t->hub_speed) == FULL_SPEED_MBIT)
                return 1U << SITUATION_FULL_SPEED_HUB;
        if (atoi(t->speed) == FULL_SPEED_MBIT && plan && plan->n_steps > 2 && !plan->single_loader && plan->protocol != PLAN_PDL)
                return 1U << SITUATION_FULL_SPEED;
        return 0;
}

static bool works(const Slot *slot, uint64_t now) {
        const Job *job = slot->running;

        if (job && job->run->talked && job->stage > STAGE_HANDSHAKE && now - job->run->active_usec < ALIVE_USEC)
                return true;
        return slot->link_good_usec > slot->link_failed_usec && now - slot->link_good_usec < LATELY_USEC;
}

/* It failed while this job was at work: what happened before that has another cause. */
static bool failed_meanwhile(const Slot *other, const Job *job, uint64_t now) {
        return other->link_failed_usec > 0 && now - other->link_failed_usec < SAME_MOMENT_USEC && other->link_failed_usec > job->run->link_since_usec;
}

static uint32_t look_at_neighbours(const Job *job, uint64_t now) {
        unsigned failing = 0, fine = 0;
        const Slot *slot = job->slot;

        for (const Slot *other = slot->station->slots; other; other = other->next) {
                if (!are_neighbours(slot, other))
                        continue;
                if (failed_meanwhile(other, job, now))
                        failing++;
                else if (works(other, now))
                        fine++;
        }
        if (failing > 0 && failing >= fine)
                return 1U << SITUATION_NEIGHBOURS_FAIL;
        return fine > 0 && failing == 0 ? 1U << SITUATION_NEIGHBOURS_FINE : 0;
}

void surroundings_note(Job *job, Failure *f) {
        uint64_t now = now_monotonic();
        Slot *slot = job->slot;

        if (!is_link_failure(f->class)) {
                if (job->run->talked)
                        slot->link_good_usec = now;
                return;
        }
        f->situation |= look_at_link(job) | look_at_neighbours(job, now);
        if (f->class == CLASS_SLOW && failure_has(f, SITUATION_FULL_SPEED_HUB) && !f->detail[0])
                snprintf(f->detail, sizeof(f->detail), "full-speed");
        slot->link_failed_usec = now;
}
