/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"

/* A change of a unit's partition table, over jobs: opened on disk before the job may begin it, asked for by every later job on that
 * unit, closed when one ends well. */

static StoreChange change_of(const Job *job) {
        StoreChange c = {.job = job->id};

        snprintf(c.unit, sizeof(c.unit), "%s", job->run->unit);
        snprintf(c.port, sizeof(c.port), "%s", job->run->port);
        return c;
}

typedef struct Context {
        Station *station;
        uint64_t job;
} Context;

static Context *context_new(Job *job) {
        Context *context = malloc(sizeof(*context));

        if (context)
                *context = (Context) {job->station, job->id};
        return context;
}

/* Comes before the answer to the intent, which then tells the worker. */
static void opened(int error, void *userdata) {
        Context *context = userdata;
        Station *s = context->station;
        Job *job = job_find_active(s, context->job);

        free(context);
        if (job)
                job->run->change_error = error;
        station_note_write(s, error);
}

int change_open(Job *job) {
        Station *s = job->station;
        StoreChange c = change_of(job);
        Context *context = context_new(job);
        int r = context ? store_open_change(s->store, &c, opened, context) : -ENOMEM;

        if (r < 0) {
                free(context);
                return r;
        }
        s->writes_pending++;
        job->run->table_open = true;
        return 0;
}

static void closed(int error, void *userdata) {
        station_note_write(userdata, error);
}

void change_close(Job *job) {
        Station *s = job->station;
        StoreChange c = change_of(job);

        if (!job->run->table_open)
                return;
        s->writes_pending++;
        if (store_close_changes(s->store, &c, closed, s) < 0)
                station_note_write(s, -ENOBUFS);
}

/* A unit that shows no identity is believed to be the one that was left only by somebody who says so: by a retry of that job. */
static bool is_retry_of(Station *s, const Job *job, uint64_t earlier) {
        for (unsigned i = 0; job && i < 100; i++) {
                if (job->retry_of == earlier)
                        return true;
                job = job->retry_of ? station_find_job(s, job->retry_of) : NULL;
        }
        return false;
}

static EngineSaved *take_areas(StoreArea *areas, size_t n) {
        EngineSaved *saved = calloc(n, sizeof(*saved));

        for (size_t i = 0; saved && i < n; i++) {
                snprintf(saved[i].name, sizeof(saved[i].name), "%s", areas[i].name);
                saved[i].data = TAKE_PTR(areas[i].data);
                saved[i].size = areas[i].size;
                saved[i].job = areas[i].job;
        }
        return saved;
}

static void recalled(int error, StoreArea *areas, size_t n, void *userdata) {
        Context *context = userdata;
        Station *s = context->station;
        Job *job = job_find_active(s, context->job);
        EngineSaved *saved = NULL;

        free(context);
        if (!job || !job->run->worker)
                return;
        if (job->run->held > 0)
                job->run->held--;
        job->run->active_usec = now_monotonic();
        if (error == 0 && n > 0 && !job->run->unit[0] && !is_retry_of(s, job, areas[0].job))
                error = -EKEYREJECTED;
        if (error == 0 && n > 0) {
                saved = take_areas(areas, n);
                error = saved ? 0 : -ENOMEM;
                job->run->table_open = saved != NULL;
        }
        worker_recalled(job->run->worker, error, saved, saved ? n : 0);
}

void change_recall(Job *job, const char *unit) {
        Context *context = context_new(job);
        StoreChange c;
        int r = -ENOMEM;

        snprintf(job->run->unit, sizeof(job->run->unit), "%s", unit);
        c = change_of(job);
        if (context)
                r = store_recall_change(job->station->store, &c, recalled, context);
        if (r < 0) {
                free(context);
                worker_recalled(job->run->worker, r, NULL, 0);
                return;
        }
        job->run->held++;
}
