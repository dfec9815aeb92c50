/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"
#include "station/trail.h"

/* What happens in each socket, compared with the others: a bad cable is not the fault of the phones. */

#define UNITS_FOR_A_VERDICT 5
#define BAD_SHARE 0.3
#define SUSPECT_SHARE 0.15
#define SLOW_SHARE 0.6

static uint64_t link_failures(const Slot *slot) {
        return slot->timeouts + slot->resets + slot->garbled;
}

static double share(uint64_t failures, uint64_t units) {
        return units > 0 ? (double) failures / (double) units : 0;
}

typedef struct Cohort {
        uint64_t units, failures;
        uint64_t rate; /* median of the others */
} Cohort;

static int compare_rates(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;
        return (*x > *y) - (*x < *y);
}

static Cohort others_than(const Slot *slot) {
        uint64_t rates[SLOTS_MAX];
        Cohort c = {};
        size_t n = 0;

        for (const Slot *other = slot->station->slots; other; other = other->next) {
                if (other == slot)
                        continue;
                c.units += other->units;
                c.failures += link_failures(other);
                if (other->rate > 0 && n < ELEMENTSOF(rates))
                        rates[n++] = other->rate;
        }
        if (n == 0)
                return c;
        qsort(rates, n, sizeof(rates[0]), compare_rates);
        c.rate = rates[n / 2];
        return c;
}

static const char *health_of(const Slot *slot) {
        Cohort c = others_than(slot);
        double mine = share(link_failures(slot), slot->units), theirs = share(c.failures, c.units);

        if (slot->units < UNITS_FOR_A_VERDICT)
                return "unknown";
        if (c.units < UNITS_FOR_A_VERDICT) /* nothing to compare with */
                return mine >= BAD_SHARE ? "suspect" : "good";
        if (mine >= BAD_SHARE && mine >= 3 * theirs)
                return "bad";
        if (mine >= SUSPECT_SHARE && mine >= 2 * theirs)
                return "suspect";
        if (slot->rate > 0 && c.rate > 0 && (double) slot->rate < SLOW_SHARE * (double) c.rate)
                return "suspect";
        return "good";
}

static void note_rate(Slot *slot, const Job *job) {
        const JobTrail *t = job->run->trail;

        for (size_t i = 0; t && i < t->n_stages; i++) {
                const TrailStage *w = t->stages + i;
                uint64_t rate;
                if (w->stage != STAGE_WRITE || w->usec < 100000 || w->bytes == 0)
                        continue;
                rate = (uint64_t) ((double) w->bytes * 1e6 / (double) w->usec);
                slot->rate = slot->rate > 0 ? (slot->rate * 3 + rate) / 4 : rate;
        }
}

/* Other sockets work, so it is not the package and not the model. */
static bool others_pass(const Slot *slot) {
        for (const Slot *other = slot->station->slots; other; other = other->next)
                if (other != slot && other->bad_links == 0 && other->units > 0)
                        return true;
        return false;
}

static void check_quarantine(Slot *slot) {
        const Batch *b = slot->batch;

        if (!b || b->policy.quarantine_after == 0 || slot->bad_links < b->policy.quarantine_after || slot->quarantine[0] || !others_pass(slot))
                return;
        snprintf(slot->quarantine, sizeof(slot->quarantine),
                 "%u units in a row lost their connection here while other slots passed. Change the cable or the port, then clear the slot.",
                 slot->bad_links);
        log_write(LOG_WARNING, &(LogFields){.slot = slot->port, .message = MESSAGE_SLOT_CLOSED}, "%s is in quarantine: %s", slot->port, slot->quarantine);
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Quarantine");
}

static bool is_link_failure(FailClass class) {
        return class == CLASS_SILENT || class == CLASS_SLOW || class == CLASS_GONE || class == CLASS_GARBLED;
}

void slot_note_link(Slot *slot, const Job *job, JobResult result) {
        if (!streq(job->kind, "flash") || (result != JOB_RESULT_DONE && result != JOB_RESULT_FAILED))
                return;
        slot->units++;
        if (result == JOB_RESULT_DONE) {
                slot->bad_links = 0;
                note_rate(slot, job);
        } else if (is_link_failure(job->failure.class)) {
                slot->bad_links++;
                slot->timeouts += job->failure.class == CLASS_SILENT || job->failure.class == CLASS_SLOW;
                slot->resets += job->failure.class == CLASS_GONE;
                slot->garbled += job->failure.class == CLASS_GARBLED;
                check_quarantine(slot);
        }
        slot_update_health(slot);
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Units", "Timeouts", "Resets", "Garbled", "Rate");
}

void slot_update_health(Slot *slot) {
        const char *health = health_of(slot);

        if (streq(slot->health, health))
                return;
        if (streq(health, "bad"))
                log_write(LOG_WARNING, &(LogFields){.slot = slot->port, .message = MESSAGE_SLOT_BAD},
                          "%s fails much more often than the other slots (%llu of %llu units lost their connection): look at its cable.", slot->port,
                          (unsigned long long) link_failures(slot), (unsigned long long) slot->units);
        slot->health = health;
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Health");
}
