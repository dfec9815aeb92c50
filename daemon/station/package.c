/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "common/closer.h"
#include "station/internal.h"
#include "station/loaders.h"

/* ---- plans ---- */

static bool options_equal(const PlanOptions *a, const PlanOptions *b) {
        if (a->any_image != b->any_image || a->sparse != b->sparse || a->skip_equal != b->skip_equal)
                return false;
        return a->mode == b->mode && a->allow_warnings == b->allow_warnings && a->finish == b->finish &&
               a->repartition == b->repartition && a->table_only == b->table_only && a->verify == b->verify &&
               a->check_only == b->check_only && a->repair == b->repair && a->soft_entry == b->soft_entry && a->raw == b->raw &&
               choice_equal(&a->choice, &b->choice) && a->first_mode == b->first_mode;
}

PlanOptions plan_options_complete(const Station *s, const PlanOptions *options) {
        PlanOptions complete = *options;

        if (complete.verify == VERIFY_LEVEL_INVALID)
                complete.verify = s->settings.verify;
        return complete;
}

static int make_plan(const Package *p, const PlanOptions *options, Plan **ret, CallError *e) {
        Failure f = FAILURE_INIT;
        int r = plan_make(p->pac, options, ret, &f);

        if (r > 0)
                return call_error_set(e, BUS_ERROR_PLAN_REFUSED, "%s", f.text);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_HOST, "No plan could be made: %s.", strerror(-r));
        return 0;
}

static int check_ready(const Package *p, CallError *e) {
        if (p->problem[0])
                return call_error_set(e, BUS_ERROR_BAD_PACKAGE, "%s", p->problem);
        if (!p->pac || !p->map)
                return call_error_set(e, BUS_ERROR_WRONG_STATE,
                                      "The package is still being checked after the start; try again in a moment.");
        return 0;
}

int package_plan(Package *p, const PlanOptions *options, PlanCache **ret, CallError *e) {
        PlanOptions complete = plan_options_complete(p->station, options);
        PlanCache *c;

        if (check_ready(p, e) < 0)
                return -1;
        for (c = p->plans; c; c = c->next)
                if (options_equal(&c->options, &complete)) {
                        c->users++;
                        *ret = c;
                        return 0;
                }
        c = calloc(1, sizeof(PlanCache));
        if (!c)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        if (make_plan(p, &complete, &c->plan, e) < 0) {
                free(c);
                return -1;
        }
        c->options = complete;
        c->users = 1;
        c->next = p->plans;
        p->plans = c;
        plan_cache_refill(p, c);
        *ret = c;
        return 0;
}

PlanCache *plan_cache_unref(Package *p, PlanCache *c) {
        PlanCache **at = &p->plans;

        if (!c || --c->users > 0)
                return NULL;
        while (*at && *at != c)
                at = &(*at)->next;
        if (*at)
                *at = c->next;
        plan_free(c->plan);
        plan_free(c->spare);
        free(c);
        return NULL;
}

void plan_cache_refill(Package *p, PlanCache *c) {
        Failure f = FAILURE_INIT;

        if (!c->spare && plan_make(p->pac, &c->options, &c->spare, &f) != 0)
                c->spare = NULL;
}

Plan *plan_cache_take(Package *p, PlanCache *c) {
        plan_cache_refill(p, c);
        return TAKE_PTR(c->spare);
}

int station_plan(Station *s, Package *package, const PlanOptions *options, Plan **ret, CallError *e) {
        PlanOptions complete = plan_options_complete(s, options);

        if (check_ready(package, e) < 0)
                return -1;
        return make_plan(package, &complete, ret, e);
}

/* ---- packages ---- */

Package *station_packages(Station *s) {
        return s->packages;
}

Package *station_find_package(Station *s, const char *digest) {
        for (Package *p = s->packages; p; p = p->next)
                if (streq(p->digest, digest))
                        return p;
        return NULL;
}

static Package *package_new(Station *s, const StorePackage *row) {
        Package *p = calloc(1, sizeof(Package)), **tail = &s->packages;

        if (!p)
                return NULL;
        p->station = s;
        snprintf(p->digest, sizeof(p->digest), "%s", row->digest);
        text_clean(p->name, sizeof(p->name), row->name);
        p->size = row->size;
        p->imported_usec = row->imported_usec;
        p->imported_uid = row->imported_uid;
        while (*tail)
                tail = &(*tail)->next;
        *tail = p;
        return p;
}

static void package_free(Package *p) {
        Package **at = &p->station->packages;

        while (*at && *at != p)
                at = &(*at)->next;
        if (*at)
                *at = p->next;
        loaders_remove_package(p);
        while (p->plans) {
                p->plans->users = 1;
                plan_cache_unref(p, p->plans);
        }
        p->map = tidy_drop(p->station, p->map);
        pac_free(p->pac);
        free(p);
}

void package_free_all(Station *s) {
        while (s->packages)
                package_free(s->packages);
}

void package_restore(Station *s, const StorePackage *row) {
        if (!package_new(s, row))
                log_message(LOG_ERR, MESSAGE_OUT_OF_MEMORY, "Out of memory: package %.12s is left out until the next start.", row->digest);
}

/* Takes the parsed package; from here on jobs can use it. */
static void package_set_pac(Package *p, Pac *pac) {
        int r;

        p->pac = pac;
        p->size = pac->size;
        r = package_store_map(p->station->package_store, p->digest, &p->map);
        if (r < 0)
                snprintf(p->problem, sizeof(p->problem), "The stored package cannot be opened: %s.", strerror(-r));
        loaders_add_package(p);
}

static const char *const package_ready_properties[] = {"Product", "Version", "Alias",    "Family", "Files",
                                                       "Ready",   "Problem", "Warnings", NULL};

static void verify_done(Task *task) {
        ImportTask *t = (ImportTask *) task;
        Station *s = t->userdata;
        Package *p = station_find_package(s, t->digest);

        if (p && p->verifying) {
                p->verifying = false;
                if (t->result == 0)
                        package_set_pac(p, TAKE_PTR(t->pac));
                else
                        text_clean(p->problem, sizeof(p->problem),
                                   t->result > 0 ? t->failure.text : "The stored package could not be checked.");
                if (p->problem[0])
                        log_message(LOG_ERR, MESSAGE_PACKAGE_BAD, "Package %.12s (%s) cannot be used: %s", p->digest, p->name, p->problem);
                notify_changed(s, OBJECT_PACKAGE, p, package_ready_properties);
                job_package_ready(p);
        }
        import_task_free(t);
        package_verify_next(s);
}

/* Two at a time: an import by a client shall not wait for a long row of old packages. */
void package_verify_next(Station *s) {
        unsigned active = 0;

        for (Package *p = s->packages; p; p = p->next)
                active += p->verifying;
        for (Package *p = s->packages; p && active < 2 && !s->stopping; p = p->next) {
                ImportTask *t;

                if (p->pac || p->verifying || p->problem[0])
                        continue;
                t = verify_task_new(s->package_store, p->digest, s);
                if (t) {
                        snprintf(t->digest, sizeof(t->digest), "%s", p->digest);
                        t->task.done = verify_done;
                        if (pool_submit(s->pool, &t->task) < 0) {
                                import_task_free(t);
                                return; /* too many tasks wait: the next one that ends asks again */
                        }
                        p->verifying = true;
                        active++;
                }
        }
}

static void row_removed(int error, void *userdata) {
        station_note_write(userdata, error);
}

int package_remove(Package *p, CallError *e) {
        Station *s = p->station;
        int r;

        if (p->users > 0)
                return call_error_set(e, BUS_ERROR_PACKAGE_IN_USE,
                                      "%u job%s still use%s this package. Cancel them or wait for their end.", p->users,
                                      p->users == 1 ? "" : "s", p->users == 1 ? "s" : "");
        r = store_remove_package(s->store, p->digest, row_removed, s);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_STORE, "The removal cannot be recorded: %s.", strerror(-r));
        s->writes_pending++;
        r = package_store_remove(s->package_store, p->digest);
        if (r < 0 && r != -ENOENT)
                log_message(LOG_WARNING, MESSAGE_PACKAGE_BAD, "The file of package %.12s could not be removed: %s.", p->digest, strerror(-r));
        log_message(LOG_INFO, MESSAGE_PACKAGE_REMOVED, "Package %.12s (%s) was removed.", p->digest, p->name);
        for (Job *j = s->jobs; j; j = j->next)
                if (j->package == p)
                        j->package = NULL;
        for (Batch *b = s->batches; b; b = b->next) /* those that ended */
                if (b->package == p)
                        b->package = NULL;
        notify_removed(s, OBJECT_PACKAGE, p);
        package_free(p);
        return 0;
}

/* ---- import ---- */

typedef struct ImportRow {
        Station *station;
        uint64_t job;
} ImportRow;

static void import_recorded(int error, void *userdata) {
        ImportRow *row = userdata;
        Station *s = row->station;
        Job *job = station_find_job(s, row->job);

        station_note_write(s, error);
        if (job && !job->run->concluding) {
                Failure f = FAILURE_INIT;
                f.stage = STAGE_IMPORT;
                if (error < 0)
                        failure_set_errno(
                                &f, error,
                                "The package was copied, but it could not be recorded: %s. After a restart of the "
                                "daemon it must be imported again.",
                                strerror(-error));
                job_conclude(job, error < 0 ? JOB_RESULT_FAILED : JOB_RESULT_DONE, error < 0 ? &f : NULL);
        }
        free(row);
}

static void import_failed(Job *job, int result, const Failure *failure) {
        Failure f = failure->class != CLASS_NONE ? *failure : FAILURE_INIT;

        if (f.class == CLASS_NONE)
                failure_set_errno(&f, result < 0 ? result : -EIO, "The package could not be imported: %s.",
                                  strerror(result < 0 ? -result : EIO));
        if (f.stage == STAGE_INVALID)
                f.stage = STAGE_IMPORT;
        job_conclude(job, result == -ECANCELED ? JOB_RESULT_CANCELED : JOB_RESULT_FAILED,
                     result == -ECANCELED ? NULL : &f);
}

/* Finds the package of an import or makes it. NULL with *f: it cannot be used. */
static Package *imported_package(Job *job, ImportTask *t, bool *ret_fresh, Failure *f) {
        Station *s = job->station;
        StorePackage row = {.size = t->pac->size, .imported_usec = now_realtime(), .imported_uid = job->uid};
        Package *p = station_find_package(s, t->digest);

        *ret_fresh = !p;
        snprintf(row.digest, sizeof(row.digest), "%s", t->digest);
        snprintf(row.name, sizeof(row.name), "%s", job->package_name);
        if (!p)
                p = package_new(s, &row);
        if (!p) {
                failure_set_errno(f, ENOMEM, "Out of memory.");
                return NULL;
        }
        if (p->pac && p->map)
                return p;
        p->problem[0] = '\0';
        p->verifying = false;
        loaders_remove_package(p);
        p->pac = pac_free(p->pac);
        package_set_pac(p, TAKE_PTR(t->pac));
        if (!p->problem[0])
                return p;
        failure_set(f, CLASS_HOST, "io", "%s", p->problem); /* removed while it was copied, or a bad disk */
        if (*ret_fresh)
                package_free(p);
        return NULL;
}

/* A good package: shown at once, the job is over when the row is on disk. */
static void import_good(Job *job, ImportTask *t) {
        Station *s = job->station;
        StorePackage row = {};
        Failure f = FAILURE_INIT;
        ImportRow *context = NULL;
        bool fresh;
        Package *p = imported_package(job, t, &fresh, &f);
        int r;

        if (!p) {
                import_failed(job, -EIO, &f);
                return;
        }
        snprintf(job->digest, sizeof(job->digest), "%s", p->digest);
        job_bind_package(job, p);
        if (fresh)
                notify_added(s, OBJECT_PACKAGE, p);
        else
                notify_changed(s, OBJECT_PACKAGE, p, package_ready_properties);
        NOTIFY(s, OBJECT_JOB, job, "Package");
        job_package_ready(p);
        snprintf(row.digest, sizeof(row.digest), "%s", p->digest);
        snprintf(row.name, sizeof(row.name), "%s", p->name);
        row.size = p->size;
        row.imported_usec = p->imported_usec;
        row.imported_uid = p->imported_uid;
        context = calloc(1, sizeof(ImportRow));
        if (!context) {
                import_failed(job, -ENOMEM, &FAILURE_INIT);
                return;
        }
        *context = (ImportRow){.station = s, .job = job->id};
        s->writes_pending++;
        r = store_put_package(s->store, &row, import_recorded, context);
        if (r < 0)
                import_recorded(r, context);
}

static void import_done(Task *task) {
        ImportTask *t = (ImportTask *) task;
        Job *job = t->userdata;

        job->run->import = NULL;
        job->bytes_total = t->total;
        if (t->result == 0 && t->pac)
                import_good(job, t);
        else
                import_failed(job, t->result, &t->failure);
        import_task_free(t);
}

void import_cancel(Job *job) {
        pool_abandon(job->station->pool, &job->run->import->task);
        job->run->import = NULL;
}

int station_import(Station *s, int fd, const char *name, uint32_t uid, Job **ret, CallError *e) {
        _cleanup_(close_elsewherep) int owned = fd;
        ImportTask *t;
        uint64_t id;
        Job *job;

        if (package_fd_check(fd, e) < 0 || station_check_store(s, e) < 0)
                return -1;
        if (s->n_imports >= IMPORTS_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u imports are under way already. Wait for their end.",
                                      s->n_imports);
        id = station_take_id(s);
        if (id == 0)
                return call_error_set(e, BUS_ERROR_STORE, "No job number is on disk at the moment; try again.");
        job = job_new(s, id, "import");
        if (!job)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        t = import_task_new(s->package_store, fd, job);
        if (!t) {
                job_free(job);
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        }
        (void) TAKE_FD(owned);
        t->task.done = import_done;
        if (pool_submit(s->pool, &t->task) < 0) {
                import_task_free(t);
                job_free(job);
                return call_error_set(e, BUS_ERROR_QUOTA, "Too much work waits already; try again later.");
        }
        text_clean(job->package_name, sizeof(job->package_name), name);
        job->uid = uid;
        job->step_count = 1;
        job->stage = STAGE_IMPORT;
        job->run->import = t;
        s->n_imports++;
        active_add(job);
        job_enter_state(job, JOB_STATE_RUNNING);
        *ret = job;
        return 0;
}
