/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/trail.h"

#include <stdio.h>

void trail_free(JobTrail *t) {
        for (size_t i = 0; t && i < t->n_facts; i++)
                free(t->facts[i].value);
        free(t);
}

void trail_begin(Job *job, const Device *d) {
        JobTrail *t = calloc(1, sizeof(*t));

        if (!t)
                return;
        trail_free(job->run->trail);
        job->run->trail = t;
        t->current = -1;
        t->vendor = d->vendor;
        t->product = d->product;
        snprintf(t->speed, sizeof(t->speed), "%s", d->speed);
        snprintf(t->hub_speed, sizeof(t->hub_speed), "%s", d->hub_speed);
}

static int find_stage(JobTrail *t, Stage stage) {
        for (size_t i = 0; i < t->n_stages; i++)
                if (t->stages[i].stage == stage)
                        return (int) i;
        t->stages[t->n_stages] = (TrailStage){.stage = stage};
        return (int) t->n_stages++;
}

/* The clock may have been set meanwhile. */
static void leave(JobTrail *t, uint64_t now_usec, uint64_t bytes_done) {
        if (t->current < 0)
                return;
        t->stages[t->current].usec += now_usec > t->since_usec ? now_usec - t->since_usec : 0;
        t->stages[t->current].bytes += bytes_done > t->since_bytes ? bytes_done - t->since_bytes : 0;
        t->current = -1;
}

void trail_enter(Job *job, Stage stage, uint64_t now_usec, uint64_t bytes_done) {
        JobTrail *t = job->run->trail;
        TrailStage *s;

        if (!t || stage < 0 || stage >= STAGE_MAX || (t->current >= 0 && t->stages[t->current].stage == stage))
                return;
        leave(t, now_usec, bytes_done);
        t->current = find_stage(t, stage);
        s = t->stages + t->current;
        if (s->times++ == 0)
                s->started_usec = now_usec;
        t->since_usec = now_usec;
        t->since_bytes = bytes_done;
}

void trail_end(Job *job, uint64_t now_usec, uint64_t bytes_done) {
        if (job->run->trail)
                leave(job->run->trail, now_usec, bytes_done);
}

void trail_fact(Job *job, const char *key, const char *value) {
        JobTrail *t = job->run->trail;
        char clean[512], *copy;
        TrailFact *f = NULL;

        if (!t)
                return;
        text_clean(clean, sizeof(clean), value);
        copy = strdup(clean);
        if (!copy)
                return;
        for (size_t i = 0; i < t->n_facts; i++)
                if (streq(t->facts[i].key, key))
                        f = t->facts + i;
        if (!f && t->n_facts < ELEMENTSOF(t->facts)) {
                f = t->facts + t->n_facts++;
                snprintf(f->key, sizeof(f->key), "%s", key);
        }
        if (!f) {
                free(copy);
                return;
        }
        free(f->value);
        f->value = copy;
}

size_t job_stages(const Job *job, JobStage ret[static STAGE_MAX]) {
        const JobTrail *t = job->run ? job->run->trail : NULL;
        size_t n = t ? t->n_stages : 0;

        for (size_t i = 0; i < n; i++)
                ret[i] = (JobStage){t->stages[i].stage, t->stages[i].usec, t->stages[i].bytes, t->stages[i].times};
        return n;
}

bool trail_of_job(const char *key) {
        return streq(key, "plan") || streq(key, "verify") || streq(key, "skipped") || streq(key, "expanded") || streq(key, "limits") || strncmp(key, "repair-", 7) == 0;
}

const char *trail_find(const Job *job, const char *key) {
        const JobTrail *t = job->run->trail;

        for (size_t i = 0; t && i < t->n_facts; i++)
                if (streq(t->facts[i].key, key))
                        return t->facts[i].value;
        return "";
}
