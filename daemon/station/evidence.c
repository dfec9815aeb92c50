/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/evidence.h"

#include <inttypes.h>
#include <stdio.h>

#define KEPT_MAX 500
#define AGE_MAX_USEC (183ULL * 24 * 3600 * 1000000)
#define TRACES_MAX 8 /* calls that wait for one */
#define DROPS_MAX 16 /* old ones that go when one comes */

typedef struct Saving Saving;
struct Evidence {
        Saving *savings;         /* on their way to the disk */
        EvidenceFile entries[KEPT_MAX]; /* oldest first */
        size_t n;
        unsigned n_traces;
};

/* ---- which there are ---- */

int evidence_open(Station *s, CallError *e) {
        _cleanup_free_ EvidenceFile *files = NULL;
        size_t n = 0;

        if (evidence_files_open(s->directory, &files, &n, e) < 0)
                return -1;
        s->evidence = calloc(1, sizeof(*s->evidence));
        if (!s->evidence)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        for (size_t i = n > KEPT_MAX ? n - KEPT_MAX : 0; i < n; i++)
                s->evidence->entries[s->evidence->n++] = files[i];
        return 0;
}

void evidence_free(Station *s) {
        free(TAKE_PTR(s->evidence));
}

bool station_has_evidence(const Station *s, uint64_t job) {
        for (size_t i = s->evidence ? s->evidence->n : 0; i > 0; i--)
                if (s->evidence->entries[i - 1].job == job)
                        return true;
        return false;
}

static void forget(struct Evidence *v, uint64_t job) {
        for (size_t i = 0; i < v->n; i++)
                if (v->entries[i].job == job) {
                        memmove(v->entries + i, v->entries + i + 1, (v->n - i - 1) * sizeof(EvidenceFile));
                        v->n--;
                        return;
                }
}

/* ---- writing ---- */

struct Saving {
        Task task; /* first */
        Saving *next;
        Station *station;
        char directory[512];
        uint64_t job;
        char *text;
        size_t size;
        uint64_t drops[DROPS_MAX];
        size_t n_drops;
        int error;
};

static void saving_drop(Task *t) {
        Saving *x = (Saving *) t;

        free(x->text);
        free(x);
}

static void saving_run(Task *t) {
        Saving *x = (Saving *) t;

        for (size_t i = 0; i < x->n_drops; i++)
                evidence_file_remove(x->directory, x->drops[i]);
        x->error = evidence_file_write(x->directory, x->job, x->text, x->size);
}

static void saving_done(Task *t) {
        Saving *x = (Saving *) t;

        for (Saving **p = &x->station->evidence->savings; *p; p = &(*p)->next)
                if (*p == x) {
                        *p = x->next;
                        break;
                }
        if (x->error < 0) {
                forget(x->station->evidence, x->job);
                log_write(LOG_ERR, &(LogFields){.job = x->job, .message = MESSAGE_JOB_UNRECORDED}, "Job %" PRIu64 ": its trace could not be kept: %s.", x->job,
                          strerror(-x->error));
        }
        saving_drop(t);
}

/* The oldest make room, and those that are too old go. */
static void choose_drops(struct Evidence *v, Saving *x, uint64_t now) {
        while (x->n_drops < DROPS_MAX && v->n > 0 &&
               (v->n >= KEPT_MAX || (now > AGE_MAX_USEC && v->entries[0].usec < now - AGE_MAX_USEC))) {
                x->drops[x->n_drops++] = v->entries[0].job;
                forget(v, v->entries[0].job);
        }
}

void evidence_write(Job *job, char *text, size_t size) {
        Station *s = job->station;
        Saving *x = calloc(1, sizeof(*x));
        int r = -ENOMEM;

        if (x) {
                *x = (Saving){.task = {.run = saving_run, .done = saving_done, .drop = saving_drop}, .station = s, .job = job->id,
                              .text = text, .size = size};
                memcpy(x->directory, s->directory, sizeof(x->directory));
                choose_drops(s->evidence, x, now_realtime());
                r = pool_submit(s->pool, &x->task);
        }
        if (r == 0) {
                x->next = s->evidence->savings;
                s->evidence->savings = x;
                s->evidence->entries[s->evidence->n++] = (EvidenceFile){job->id, now_realtime()};
                return;
        }
        log_write(LOG_ERR, &(LogFields){.job = job->id, .message = MESSAGE_JOB_UNRECORDED}, "Job %" PRIu64 ": its trace could not be kept: %s.", job->id, strerror(-r));
        free(text);
        free(x);
}

/* ---- reading ---- */

typedef struct Reading {
        Task task; /* first */
        Station *station;
        char directory[512];
        uint64_t job;
        Trace *live;
        char *text;              /* of a trace that is not on disk yet */
        size_t size;
        JobSpec head;
        int fd, error;
        StationTraceFunc fn;
        void *userdata;
} Reading;

static void reading_drop(Task *t) {
        Reading *x = (Reading *) t;

        trace_unref(x->live);
        free(x->text);
        if (x->fd >= 0)
                close(x->fd);
        free(x);
}

static void reading_run(Task *t) {
        Reading *x = (Reading *) t;
        _cleanup_free_ char *text = TAKE_PTR(x->text);
        size_t size = x->size;

        if (text)
                x->error = 0;
        else if (x->live) {
                text = worker_trace_text(&x->head, x->live, NULL, &size);
                x->error = text ? 0 : -ENOMEM;
        } else
                x->error = evidence_file_read(x->directory, x->job, &text, &size);
        if (x->error == 0)
                x->fd = evidence_to_memory(text, size);
        if (x->error == 0 && x->fd < 0)
                x->error = x->fd;
}

static void reading_done(Task *t) {
        Reading *x = (Reading *) t;

        x->station->evidence->n_traces--;
        x->fn(x->error, TAKE_FD(x->fd), x->userdata);
        reading_drop(t);
}

/* The thread that writes it must not be waited for. */
static int take_unsaved(const struct Evidence *v, Reading *x) {
        for (const Saving *s = v->savings; s; s = s->next)
                if (s->job == x->job) {
                        x->text = malloc(s->size + 1);
                        if (!x->text)
                                return -ENOMEM;
                        memcpy(x->text, s->text, s->size);
                        x->size = s->size;
                }
        return 0;
}

/* What stands at the head of a running job's trace. */
static void fill_head(const Job *job, JobSpec *head) {
        head->job_id = job->id;
        head->deadlines = job->run->deadlines;
        snprintf(head->kind, sizeof(head->kind), "%s", job->kind);
        snprintf(head->package_name, sizeof(head->package_name), "%.79s", job->package_name);
        snprintf(head->family, sizeof(head->family), "%s", job->package && job->package->pac ? pac_family(job->package->pac) : "");
        if (job->device) {
                head->target = device_target(job->device);
                snprintf(head->speed, sizeof(head->speed), "%s", job->device->speed);
        }
}

/* Once in the life of a socket, so the main thread may make the text. */
void evidence_write_stuck(Job *job, const Failure *f) {
        Trace *t = job->run->worker ? worker_trace(job->run->worker) : NULL;
        JobSpec head = {};
        size_t size = 0;
        char *text;

        if (!t)
                return;
        fill_head(job, &head);
        text = worker_trace_text(&head, t, f, &size);
        trace_unref(t);
        if (text)
                evidence_write(job, text, size);
}

int station_trace(Station *s, uint64_t id, StationTraceFunc fn, void *userdata) {
        Job *job = job_find_active(s, id);
        bool live = job && job->run->worker;
        Reading *x;
        int r;

        if (!live && !station_has_evidence(s, id))
                return -ENOENT;
        if (s->evidence->n_traces >= TRACES_MAX)
                return -EBUSY;
        x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        x->task = (Task){.run = reading_run, .done = reading_done, .drop = reading_drop};
        x->station = s;
        x->fd = -EBADF;
        x->fn = fn;
        x->userdata = userdata;
        x->job = id;
        memcpy(x->directory, s->directory, sizeof(x->directory));
        if (live) {
                x->live = worker_trace(job->run->worker);
                fill_head(job, &x->head);
        }
        r = take_unsaved(s->evidence, x);
        if (r == 0)
                r = pool_submit(s->pool, &x->task);
        if (r < 0) {
                reading_drop(&x->task);
                return r;
        }
        s->evidence->n_traces++;
        return 0;
}
