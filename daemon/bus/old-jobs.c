/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "bus/bus-internal.h"
#include "store/store.h"

/* Finished jobs that only the store knows. Whoever asks for one, by id or by path, waits until the store has answered;
 * the record becomes a read-only object, the last OLD_JOBS_MAX of them stay. */

struct Query {
        Bus *bus; /* NULL: the bus is gone, the answer does not matter */
        sd_bus_message *message;
        enum { QUERY_GET, QUERY_PATH, QUERY_LIST } kind;
        uint64_t id, before;
        unsigned limit;
        JobState state;
        Query *next;
};

static void query_free(Query *q) {
        Bus *b = q->bus;

        if (b) {
                for (Query **p = &b->queries; *p; p = &(*p)->next)
                        if (*p == q) {
                                *p = q->next;
                                break;
                        }
                b->n_queries--;
        }
        sd_bus_message_unref(q->message);
        free(q);
}

void old_jobs_free(Bus *b) {
        for (Query *q = b->queries, *next; q; q = next) {
                next = q->next;
                q->bus = NULL;
                q->message = sd_bus_message_unref(q->message);
        }
        b->queries = NULL;
        b->n_queries = 0;
}

static int query_start(Bus *b, const Query *template, StationJobsFunc fn, uint64_t before, unsigned limit,
                       CallError *e) {
        Query *q;
        int r;

        if (b->n_queries >= QUERIES_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA,
                                      "Too many questions about old jobs wait for an answer. Try again later.");
        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = *template;
        q->bus = b;
        sd_bus_message_ref(q->message);
        q->next = b->queries;
        b->queries = q;
        b->n_queries++;
        r = station_list_old_jobs(b->station, before, limit, fn, q);
        if (r < 0) {
                query_free(q);
                return call_error_set(e, BUS_ERROR_STORE, "The records of old jobs cannot be read: %s.", strerror(-r));
        }
        return 1;
}

/* ---- one job ---- */

static Job *job_from_record(Bus *b, const StoreJob *s) {
        Job *j = calloc(1, sizeof(*j));

        if (!j)
                return NULL;
        *j = (Job){
                .station = b->station,
                .id = s->id,
                .state = s->state,
                .result = s->result,
                .stage = s->stage,
                .step = s->step,
                .step_count = s->step_count,
                .bytes_done = s->bytes_done,
                .bytes_total = s->bytes_total,
                .expected_end_usec = U64_UNKNOWN,
                .failure = s->failure,
                .created_usec = s->created_usec,
                .started_usec = s->started_usec,
                .finished_usec = s->finished_usec,
                .uid = s->uid,
                .retry_of = s->retry_of,
                .progress = s->result == JOB_RESULT_DONE ? 1.0 : 0.0,
                .slot = s->port[0] ? station_find_slot(b->station, s->port) : NULL,
                .package = s->digest[0] ? station_find_package(b->station, s->digest) : NULL,
        };
        snprintf(j->kind, sizeof(j->kind), "%s", s->kind);
        snprintf(j->digest, sizeof(j->digest), "%s", s->digest);
        snprintf(j->package_name, sizeof(j->package_name), "%s", s->package_name);
        snprintf(j->code, sizeof(j->code), "%s", s->code);
        snprintf(j->note, sizeof(j->note), "%s", s->note);
        snprintf(j->statistics, sizeof(j->statistics), "%s", s->statistics);
        j->options.mode = s->mode;
        return j;
}

static BusObject *remember(Bus *b, const StoreJob *record) {
        BusObject *o;
        Job *job;

        if (record->state != JOB_STATE_FINISHED)
                return NULL;
        job = job_from_record(b, record);
        if (!job)
                return NULL;
        o = object_add_ghost(b, job, true);
        if (!o)
                free(job);
        return o;
}

static void answer_one(Query *q, const char *path) {
        CallError e;

        if (path && q->kind == QUERY_GET) {
                (void) sd_bus_reply_method_return(q->message, "o", path);
                return;
        }
        /* The call was for the object itself: now it is there. */
        if (path && sd_bus_message_rewind(q->message, true) >= 0 &&
            sd_bus_enqueue_for_read(q->bus->bus, q->message) >= 0)
                return;
        call_error_set(&e, BUS_ERROR_NO_SUCH_JOB, "There is no job %" PRIu64 ".", q->id);
        (void) reply_call_error(q->message, &e);
}

static void on_job(int error, const StoreJob *jobs, size_t n, void *userdata) {
        char buffer[BUS_PATH_MAX];
        Query *q = userdata;
        Bus *b = q->bus;
        BusObject *o;
        CallError e;

        if (b && error < 0) {
                call_error_set(&e, BUS_ERROR_STORE, "The records of old jobs cannot be read: %s.", strerror(-error));
                (void) reply_call_error(q->message, &e);
        } else if (b) {
                o = object_lookup(b, job_path(q->id, buffer));
                if (!o && n > 0 && jobs[0].id == q->id)
                        o = remember(b, jobs);
                answer_one(q, o ? o->path : NULL);
        }
        query_free(q);
}

static int ask_for_job(Bus *b, sd_bus_message *m, int kind, uint64_t id, CallError *e) {
        const Query q = {.message = m, .kind = kind, .id = id};

        if (id == 0 || id >= UINT64_MAX - 1)
                return call_error_set(e, BUS_ERROR_NO_SUCH_JOB, "There is no job %" PRIu64 ".", id);
        return query_start(b, &q, on_job, id + 1, 1, e);
}

int old_job_get(Call *c, uint64_t id) {
        return ask_for_job(c->bus, c->message, QUERY_GET, id, c->e);
}

/* Sees every incoming message before the objects do. */
int old_jobs_filter(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        CallError e = {.error = BUS_ERROR_NO_SUCH_JOB};
        Bus *b = userdata;
        uint64_t id;

        if (!sd_bus_message_is_method_call(m, NULL, NULL) || !job_id_from_path(sd_bus_message_get_path(m), &id) ||
            object_lookup(b, sd_bus_message_get_path(m)))
                return 0;
        if (ask_for_job(b, m, QUERY_PATH, id, &e) < 0)
                (void) reply_call_error(m, &e);
        return 1;
}

/* ---- a page of the list: what is in memory and what is not, newest first ---- */

typedef struct Row {
        uint64_t id;
        const Job *job; /* in memory, else */
        const StoreJob *record;
} Row;

static int newest_first(const void *a, const void *b) {
        const Row *x = a, *y = b;

        return x->id < y->id ? 1 : x->id > y->id ? -1 : 0;
}

static int append_row(sd_bus_message *m, const Row *row) {
        const StoreJob *s = row->record;
        char job[BUS_PATH_MAX], slot_buffer[BUS_PATH_MAX];
        const char *slot = "/";
        double progress;
        Slot fake;
        int r;

        if (row->job) {
                slot = object_path(OBJECT_SLOT, row->job->slot, slot_buffer);
                progress = row->job->progress;
        } else {
                if (s->port[0]) {
                        snprintf(fake.port, sizeof(fake.port), "%s", s->port);
                        slot = object_path(OBJECT_SLOT, &fake, slot_buffer);
                }
                progress = s->result == JOB_RESULT_DONE ? 1.0 : 0.0;
        }
        r = sd_bus_message_open_container(m, 'r', "tsoosd");
        if (r >= 0)
                r = sd_bus_message_append(m, "tsoo", row->id,
                                          job_state_to_string(row->job ? row->job->state : s->state),
                                          job_path(row->id, job), slot);
        if (r >= 0)
                r = append_string(m, row->job ? row->job->kind : s->kind);
        if (r >= 0)
                r = sd_bus_message_append(m, "d", progress);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool row_fits(const Query *q, uint64_t id, JobState state) {
        return (q->before == 0 || id < q->before) && ((int) q->state < 0 || state == q->state);
}

static size_t collect(const Query *q, const StoreJob *jobs, size_t n_jobs, Row *rows) {
        Station *s = q->bus->station;
        size_t n = 0;

        for (const Job *j = station_jobs(s); j; j = j->next)
                if (row_fits(q, j->id, j->state))
                        rows[n++] = (Row){.id = j->id, .job = j};
        for (size_t i = 0; i < n_jobs; i++)
                if (row_fits(q, jobs[i].id, jobs[i].state) && !station_find_job(s, jobs[i].id))
                        rows[n++] = (Row){.id = jobs[i].id, .record = jobs + i};
        qsort(rows, n, sizeof(Row), newest_first);
        return MIN(n, (size_t) q->limit);
}

static int reply_list(const Query *q, const StoreJob *jobs, size_t n_jobs) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_free_ Row *rows = NULL;
        size_t n = n_jobs;
        int r;

        for (const Job *j = station_jobs(q->bus->station); j; j = j->next)
                n++;
        rows = calloc(n + 1, sizeof(Row));
        if (!rows)
                return -ENOMEM;
        n = collect(q, jobs, n_jobs, rows);
        r = new_reply(q->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(tsoosd)");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_row(reply, rows + i);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}

static void on_list(int error, const StoreJob *jobs, size_t n, void *userdata) {
        Query *q = userdata;
        CallError e;
        int r;

        if (q->bus) {
                r = error < 0 ? error : reply_list(q, jobs, n);
                if (r < 0) {
                        call_error_set(&e, BUS_ERROR_STORE, "The records of old jobs cannot be read: %s.",
                                       strerror(-r));
                        (void) reply_call_error(q->message, &e);
                }
        }
        query_free(q);
}

/* Whether a page of the newest jobs can be made of those in memory, without waiting for the disk. */
static bool is_in_memory(const Query *q) {
        uint64_t from = station_complete_from(q->bus->station);
        unsigned n = 0;

        for (const Job *j = station_jobs(q->bus->station); j; j = j->next)
                n += j->id >= from && row_fits(q, j->id, j->state);
        return from <= 1 || n >= q->limit;
}

int old_jobs_list(Call *c, JobState state, uint64_t before, unsigned limit) {
        const Query q = {.bus = c->bus,
                         .message = c->message,
                         .kind = QUERY_LIST,
                         .before = before,
                         .limit = limit,
                         .state = state};
        int r;

        /* Only finished jobs leave memory. */
        if (((int) state < 0 || state == JOB_STATE_FINISHED) && !is_in_memory(&q))
                return query_start(c->bus, &q, on_list, before, limit, c->e);
        r = reply_list(&q, NULL, 0);
        return r < 0 ? r : 1;
}
