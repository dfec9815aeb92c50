/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/steps.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/closer.h"
#include "common/hex.h"
#include "station/loaders.h"
#include "station/steps-internal.h"

#define FILES_PER_JOB_MAX STEP_FILES_MAX
#define FILES_HELD_MAX 4096U /* of all jobs; the unit's LimitNOFILE= is twice that */
#define READ_TEXT_MAX (256 * 1024)

/* Which steps a job of a kind may have: whoever may read must not write by another name. */
static const struct {
        const char *kind;
        unsigned steps;
} kinds[] = {
        {"read", 1U << STEP_READ},
        {"backup", 1U << STEP_READ},
        {"write", 1U << STEP_WRITE},
        {"erase", 1U << STEP_ERASE},
        {"restore", 1U << STEP_WRITE | 1U << STEP_ERASE},
        {"steps", 1U << STEP_READ | 1U << STEP_WRITE | 1U << STEP_ERASE},
        {"repair", 1U << STEP_REPAIR | 1U << STEP_TABLE},
        {"repartition", 1U << STEP_TABLE},
        {"identify", 0},
};

static int find_kind(const char *kind) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (streq(kinds[i].kind, kind))
                        return (int) i;
        return -1;
}

bool kind_has_steps(const char *kind) {
        return find_kind(kind) >= 0;
}

/* ---- drafts ---- */

static bool own_loaders(const StepsOptions *o) {
        return o->fdl1_address != U64_UNKNOWN || o->fdl2_address != U64_UNKNOWN;
}

static const char *family_of(const StepsOptions *o) {
        if (o->family[0])
                return o->family;
        return o->fdl2_address != U64_UNKNOWN ? "phone" : o->fdl1_address == 0x50800000 ? "uis8850" : "feature";
}

static int check_options(const char *kind, Package *package, const StepsOptions *o, CallError *e) {
        if (!kind_has_steps(kind))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "There are no jobs of kind '%.32s' to create. Possible: flash, verify, read, write, erase, backup, restore, repartition, repair, steps, identify.", kind);
        if (package && own_loaders(o))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Loaders come from a package or from files, not from both.");
        if (!package && o->fdl1_address == U64_UNKNOWN)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Which loaders shall be used? Give a package, or the options fdl1-address and fdl2-address and attach the files fdl1 and fdl2.");
        if (package && !package->pac)
                return call_error_set(e, BUS_ERROR_BAD_PACKAGE, "The package is not checked yet or cannot be used: %s", package->problem);
        return 0;
}

int station_draft_steps(Station *s, const char *kind, const Target *target, Package *package, const StepsOptions *options, uint32_t uid,
                        Job **ret, CallError *e) {
        JobSteps *steps;
        Job *job;

        if (check_options(kind, package, options, e) < 0)
                return -1;
        if (s->n_drafts >= DRAFTS_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u drafts exist already. Submit or cancel some.", s->n_drafts);
        steps = calloc(1, sizeof(*steps));
        if (!steps)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        if (queue_new_job(s, kind, target, uid, &job, e) < 0) {
                free(steps);
                return -1;
        }
        steps->options = *options;
        steps->options.plan = plan_options_complete(s, &options->plan);
        steps->options.plan.repartition = steps->options.plan.table_only = streq(kind, "repartition");
        job->run->steps = steps;
        job->options = steps->options.plan;
        if (package)
                job_bind_package(job, package);
        job_enter_state(job, JOB_STATE_DRAFT);
        *ret = job;
        return 0;
}

static int check_draft(const Job *job, CallError *e) {
        if (!job->run->steps)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "A job of kind %s is not made of steps.", job->kind);
        if (job->state != JOB_STATE_DRAFT || job->run->concluding)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "The job was submitted already; it cannot be changed any more.");
        return 0;
}

int job_add_steps(Job *job, const StepRequest *steps, size_t n, CallError *e) {
        JobSteps *j = job->run->steps;
        StepRequest *more;

        if (check_draft(job, e) < 0)
                return -1;
        if (n > STEPS_MAX - j->n_steps)
                return call_error_set(e, BUS_ERROR_QUOTA, "A job has at most %d steps.", STEPS_MAX);
        for (size_t i = 0; i < n; i++)
                if (!(kinds[find_kind(job->kind)].steps & 1U << steps[i].kind))
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A job of kind %s has no steps %s. Create one of kind steps.", job->kind,
                                              step_kind_to_string(steps[i].kind));
        more = reallocarray(j->steps, j->n_steps + n + 1, sizeof(*more));
        if (!more)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        j->steps = more;
        memcpy(more + j->n_steps, steps, n * sizeof(*steps));
        j->n_steps += n;
        return 0;
}

static Attached *find_file(JobSteps *j, const char *key) {
        for (size_t i = 0; i < j->n_files; i++)
                if (streq(j->files[i].key, key))
                        return j->files + i;
        return NULL;
}

unsigned job_files_held(const Job *job) {
        const JobSteps *j = job->run ? job->run->steps : NULL;
        unsigned n = 0;

        for (size_t i = 0; j && i < j->n_files; i++)
                n += j->files[i].fd >= 0;
        return n + (j ? (unsigned) j->n_outputs : 0);
}

uint64_t job_bytes_held(const Job *job) {
        const JobSteps *j = job->run ? job->run->steps : NULL;

        if (!j)
                return 0;
        return j->task ? j->task->total : j->spooled && j->map ? mapped_file_size(j->map) : 0;
}

static unsigned files_held(Station *s) {
        unsigned n = 0;

        for (const Job *j = station_jobs(s); j; j = j->next)
                n += job_files_held(j);
        return n;
}

int job_attach_file(Job *job, const char *key, int fd, CallError *e) {
        JobSteps *j = job->run->steps;
        Attached *more;

        if (check_draft(job, e) < 0)
                return -1;
        if (!key[0] || strlen(key) >= sizeof(more->key))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The key of a file has 1 to %zu bytes.", sizeof(more->key) - 1);
        if (find_file(j, key))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A file with the key '%.63s' is attached already.", key);
        if (j->n_files >= FILES_PER_JOB_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "A job has at most %d files.", FILES_PER_JOB_MAX);
        if (files_held(job->station) >= FILES_HELD_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u files are attached to jobs; that is the limit. Submit or cancel some.", FILES_HELD_MAX);
        more = reallocarray(j->files, j->n_files + 1, sizeof(*more));
        if (!more)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        j->files = more;
        more += j->n_files++;
        snprintf(more->key, sizeof(more->key), "%s", key);
        more->fd = fd;
        return 0;
}

JobSteps *steps_free(Job *job) {
        JobSteps *j = job->run->steps;

        if (!j)
                return NULL;
        if (j->task)
                pool_abandon(job->station->pool, &j->task->task);
        for (size_t i = 0; i < j->n_files; i++)
                close_elsewherep(&j->files[i].fd);
        for (size_t i = 0; i < j->n_outputs; i++)
                close_elsewherep(j->outputs + i);
        mapped_file_unref(j->map);
        free(j->files);
        free(j->outputs);
        free(j->steps);
        free(j->read);
        free(j->sums);
        free(j);
        return NULL;
}

/* ---- Submit: what each file is for ---- */

static int take_output(JobSteps *j, StepRequest *s, Attached *a, CallError *e) {
        int *more;

        if (spool_fd_check(a->fd, true, e) < 0)
                return -1;
        more = reallocarray(j->outputs, j->n_outputs + 1, sizeof(*more));
        if (!more)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        j->outputs = more;
        more[j->n_outputs++] = TAKE_FD(a->fd);
        a->fd = -1;
        s->output = (unsigned) j->n_outputs;
        return 0;
}

static int take_outputs(JobSteps *j, CallError *e) {
        for (size_t i = 0; i < j->n_steps; i++) {
                StepRequest *s = j->steps + i;
                Attached *a = s->file[0] ? find_file(j, s->file) : NULL;

                if (s->kind == STEP_ERASE || s->kind == STEP_TABLE)
                        continue;
                if (!a)
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The step %s %.40s needs the file '%.63s', which is not attached.",
                                              step_kind_to_string(s->kind), s->partition[0] ? s->partition : "by address", s->file);
                if (s->kind == STEP_READ && a->fd < 0)
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The file '%.63s' is the output of two steps.", s->file);
                if (s->kind == STEP_READ && take_output(j, s, a, e) < 0)
                        return -1;
        }
        return 0;
}

static bool is_used(const JobSteps *j, const char *key) {
        if (own_loaders(&j->options) && (streq(key, "fdl1") || streq(key, "fdl2")))
                return true;
        for (size_t i = 0; i < j->n_steps; i++)
                if (step_kind_sends(j->steps[i].kind) && streq(j->steps[i].file, key))
                        return true;
        return false;
}

static int check_inputs(JobSteps *j, CallError *e) {
        for (size_t i = 0; i < j->n_files; i++) {
                if (j->files[i].fd < 0)
                        continue;
                if (!is_used(j, j->files[i].key))
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The file '%.63s' is attached, but no step uses it.", j->files[i].key);
                if (spool_fd_check(j->files[i].fd, false, e) < 0)
                        return -1;
        }
        if (own_loaders(&j->options) && (!find_file(j, "fdl1") || (j->options.fdl2_address != U64_UNKNOWN && !find_file(j, "fdl2"))))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The loaders are not attached: the files fdl1%s.",
                                      j->options.fdl2_address != U64_UNKNOWN ? " and fdl2" : "");
        return 0;
}

/* Who names a package says what the unit is. */
static void note_loaders(const Package *p, JobSteps *j) {
        const StoreLoaders *row = p->loaders ? &p->loaders->row : NULL;

        if (!j->options.picked && !j->options.named)
                text_clean(j->input.product, sizeof(j->input.product), p->pac->product);
        if (!row)
                return;
        memcpy(j->input.loaders, row->hash, sizeof(j->input.loaders));
        j->input.picked = j->options.picked;
        if (j->options.picked)
                snprintf(j->input.storage, sizeof(j->input.storage), "%.7s", row->storage);
}

static int prepare_input(Job *job, CallError *e) {
        JobSteps *j = job->run->steps;
        Failure f = FAILURE_INIT;
        int r = 0;

        j->input = (StepsInput){.options = j->options.plan, .n_steps = j->n_steps, .steps = j->steps};
        j->input.options.mode = FLASH_MODE_RESEARCH;
        j->input.options.repair = streq(job->kind, "repair");
        snprintf(j->input.unit, sizeof(j->input.unit), "%s", j->options.unit);
        if (job->package) {
                r = plan_steps_loaders(job->package->pac, &j->input, &f);
                note_loaders(job->package, j);
        } else {
                /* Sizes are known when they are copied; until then anything but 0 says that there will be one. */
                snprintf(j->input.family, sizeof(j->input.family), "%s", family_of(&j->options));
                j->input.loader[0] = (StepLoader){.address = j->options.fdl1_address, .size = 1};
                if (j->options.fdl2_address != U64_UNKNOWN)
                        j->input.loader[1] = (StepLoader){.address = j->options.fdl2_address, .size = 1};
        }
        if (r == 0)
                r = plan_steps_check(&j->input, &f);
        return r == 0 ? 0 : call_error_set(e, BUS_ERROR_PLAN_REFUSED, "%s", r == 1 ? f.text : "Out of memory.");
}

/* ---- Submit: copying ---- */

/* What the task's thread looks at: a copy of everything. */
typedef struct Subject {
        Job *job;                  /* main thread only */
        StepsInput input;
        StepRequest steps[];
} Subject;

static const SpoolFile *spool_file(const SpoolTask *t, const char *key) {
        for (size_t i = 0; i < t->n_files; i++)
                if (streq(t->files[i].key, key))
                        return t->files + i;
        return NULL;
}

/* Loaders that no package brought. */
static void hash_own(StepsInput *in, const SpoolTask *t) {
        const SpoolFile *files[2] = {spool_file(t, "fdl1"), spool_file(t, "fdl2")};
        uint64_t address[2] = {in->loader[0].address, in->loader[1].address};
        const uint8_t *sums[2] = {};
        uint8_t bytes[2][32];

        for (size_t i = 0; i < 2 && files[i] && hex_to_bytes(files[i]->sha256, bytes[i], 32); i++)
                sums[i] = bytes[i];
        if (!in->loaders[0] && sums[0] && loaders_hash(sums, address, in->loaders) < 0)
                in->loaders[0] = '\0';
}

/* Where everything lies in the spool. */
static void place(StepsInput *in, StepRequest *steps, const SpoolTask *t) {
        static const char *const keys[] = {"fdl1", "fdl2"};

        for (size_t i = 0; i < 2; i++) {
                const SpoolFile *f = spool_file(t, keys[i]);
                if (f) {
                        in->loader[i].offset = f->offset;
                        in->loader[i].size = f->size;
                        in->loader[i].kind = f->kind;
                        memcpy(in->loader[i].sha256, f->sha256, sizeof(in->loader[i].sha256));
                }
        }
        for (size_t i = 0; i < in->n_steps; i++) {
                const SpoolFile *f = step_kind_sends(steps[i].kind) ? spool_file(t, steps[i].file) : NULL;
                if (f) {
                        steps[i].data_offset = f->offset;
                        steps[i].size = MIN(f->size, steps[i].length);
                        steps[i].kind_of_data = f->kind;
                        steps[i].looked = true;
                }
        }
        hash_own(in, t);
        in->steps = steps;
}

/* Without memory the record says less. */
static void keep_sums(JobSteps *j, const SpoolTask *t) {
        j->sums = calloc(t->n_files, sizeof(*j->sums));
        for (; j->sums && j->n_sums < t->n_files; j->n_sums++) {
                const SpoolFile *f = t->files + j->n_sums;
                StepSum *sum = j->sums + j->n_sums;
                memcpy(sum->key, f->key, sizeof(sum->key));
                memcpy(sum->sha256, f->sha256, sizeof(sum->sha256));
                sum->size = f->size;
        }
}

const StepSum *steps_find_sum(const JobSteps *j, const char *key) {
        for (size_t i = 0; i < j->n_sums; i++)
                if (streq(j->sums[i].key, key))
                        return j->sums + i;
        return NULL;
}

static char *describe(SpoolTask *t) {
        Subject *subject = t->userdata;

        place(&subject->input, subject->steps, t);
        return steps_describe(&subject->input, t->files, t->n_files);
}

static int make_plan(Job *job, Failure *f) {
        JobSteps *j = job->run->steps;
        Plan *plan = NULL;
        int r;

        r = plan_make_steps(&j->input, &plan, f);
        if (r != 0)
                return r;
        job->run->own_plan = plan;
        job->plan = plan;
        job->step_count = (int) plan->n_steps;
        job->bytes_total = plan->bytes_total;
        NOTIFY(job->station, OBJECT_JOB, job, "StepCount", "BytesTotal");
        return 0;
}

static void refuse_job(Job *job, int r, Failure *f) {
        if (r < 0)
                failure_set_errno(f, r, "The files of the job could not be taken over: %s.", strerror(-r));
        f->stage = STAGE_CLAIM;
        job_conclude(job, r == -ECANCELED ? JOB_RESULT_CANCELED : JOB_RESULT_FAILED, r == -ECANCELED ? NULL : f);
        queue_run(job->station);
}

static void spool_done(Task *task) {
        SpoolTask *t = (SpoolTask *) task;
        Subject *subject = t->userdata;
        Job *job = subject->job;
        JobSteps *j = job->run->steps;
        Failure f = t->failure;
        int r = t->result;

        j->task = NULL;
        if (r == 0) {
                place(&j->input, j->steps, t);
                keep_sums(j, t);
                j->spooled = true;
                r = spool_map(job->station->directory, job->id, &j->map);
        }
        if (r == 0)
                r = make_plan(job, &f);
        spool_task_free(t);
        job->run->preparing = false;
        if (r != 0)
                refuse_job(job, r, &f);
        else
                queue_run(job->station);
}

static void add_spool_loader(Job *job, SpoolFile *files, size_t *n, unsigned i) {
        const StepLoader *l = job->run->steps->input.loader + i;

        if (!job->package || l->size == 0)
                return;
        files[*n] = (SpoolFile){.fd = -1, .data = mapped_file_data(job->package->map) + l->offset, .size = l->size};
        snprintf(files[(*n)++].key, sizeof(files->key), "fdl%u", i + 1);
}

static int start_spool(Job *job, CallError *e) {
        JobSteps *j = job->run->steps;
        SpoolFile *files = calloc(j->n_files + 2, sizeof(*files));
        Subject *subject = calloc(1, sizeof(*subject) + j->n_steps * sizeof(StepRequest));
        SpoolTask *t = NULL;
        size_t n = 0;

        if (files && subject) {
                add_spool_loader(job, files, &n, 0);
                add_spool_loader(job, files, &n, 1);
                t = spool_task_new(job->station->directory, job->id, job->station->settings.spool_quota, files, 0);
        }
        if (!t) {
                free(files);
                free(subject);
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        }
        subject->job = job;
        subject->input = j->input;
        memcpy(subject->steps, j->steps, j->n_steps * sizeof(StepRequest));
        for (size_t i = 0; i < j->n_files; i++)
                if (j->files[i].fd >= 0) {
                        files[n].fd = TAKE_FD(j->files[i].fd);
                        snprintf(files[n++].key, sizeof(files->key), "%s", j->files[i].key);
                }
        t->n_files = n;
        t->source = job->package ? mapped_file_ref(job->package->map) : NULL;
        t->describe = describe;
        t->userdata = subject;
        t->free_userdata = free;
        t->task.done = spool_done;
        if (pool_submit(job->station->pool, &t->task) < 0) {
                spool_task_free(t);
                return call_error_set(e, BUS_ERROR_QUOTA, "Too much work waits already; try again later.");
        }
        j->task = t;
        job->run->preparing = true;
        return 0;
}

static bool needs_spool(const JobSteps *j) {
        for (size_t i = 0; i < j->n_files; i++)
                if (j->files[i].fd >= 0)
                        return true;
        return false;
}

/* The package itself is the source: from here on a job like those that flash it. */
static int take_package(Job *job, CallError *e) {
        PlanOptions options = job->options;
        PlanCache *cache;

        options.repair = true;
        if (package_plan(job->package, &options, &cache, e) < 0)
                return -1;
        job->run->steps = steps_free(job);
        job->options = cache->options;
        job->run->cache = cache;
        job->plan = cache->plan;
        job->step_count = (int) cache->plan->n_steps;
        job->bytes_total = cache->plan->bytes_total;
        NOTIFY(job->station, OBJECT_JOB, job, "StepCount", "BytesTotal");
        return 0;
}

int steps_submit(Job *job, CallError *e) {
        JobSteps *j = job->run->steps;
        Failure f = FAILURE_INIT;
        int r;

        if (j->n_steps == 0 && streq(job->kind, "repair") && job->package)
                return take_package(job, e);
        if (j->n_steps == 0 && kinds[find_kind(job->kind)].steps != 0)
                return call_error_set(e, BUS_ERROR_PLAN_REFUSED, "The job has no steps, so there is nothing to do. Add some with AddSteps.");
        if (take_outputs(j, e) < 0 || check_inputs(j, e) < 0 || prepare_input(job, e) < 0)
                return -1;
        if (needs_spool(j))
                return start_spool(job, e);
        /* Nothing of the client's is sent: the package itself will do. */
        j->map = mapped_file_ref(job->package->map);
        r = make_plan(job, &f);
        return r == 0 ? 0 : call_error_set(e, BUS_ERROR_PLAN_REFUSED, "%s", r == 1 ? f.text : "Out of memory.");
}

/* ---- at work and afterwards ---- */

int steps_make_spec(Job *job, JobSpec *spec) {
        JobSteps *j = job->run->steps;
        Failure f = FAILURE_INIT;
        int r;

        r = plan_make_steps(&j->input, &spec->plan, &f);
        if (r != 0)
                return r == 1 ? -EINVAL : r;
        spec->package = mapped_file_ref(j->map);
        spec->outputs = calloc(j->n_outputs + 1, sizeof(int));
        if (!spec->outputs)
                return -ENOMEM;
        for (; spec->n_outputs < j->n_outputs; spec->n_outputs++) {
                spec->outputs[spec->n_outputs] = fcntl(j->outputs[spec->n_outputs], F_DUPFD_CLOEXEC, 3);
                if (spec->outputs[spec->n_outputs] < 0)
                        return -errno;
        }
        return 0;
}

/* "output skip bytes sha256 whole|part partition" from the engine. */
void steps_fact(Job *job, const char *value) {
        JobSteps *j = job->run->steps;
        unsigned long long skip, bytes;
        char sum[65], whole[8], subject[64], *joined;
        size_t have;
        unsigned output;

        if (!j || sscanf(value, "%u %llu %llu %64s %7s %63s", &output, &skip, &bytes, sum, whole, subject) != 6)
                return;
        have = j->read ? strlen(j->read) : 0;
        if (have > READ_TEXT_MAX || asprintf(&joined, "%s%s %llu %llu %s %s\n", j->read ? j->read : "", subject, skip, bytes, sum, whole) < 0)
                return;
        free(j->read);
        j->read = joined;
        NOTIFY(job->station, OBJECT_JOB, job, "Outputs");
}

const char *job_outputs(const Job *job) {
        return job->run && job->run->steps ? job->run->steps->read : NULL;
}

void steps_done(Job *job) {
        JobSteps *j = job->run->steps;

        if (!j)
                return;
        spool_remove(job->station->directory, job->id);
        j->map = mapped_file_unref(j->map);
        for (size_t i = 0; i < j->n_outputs; i++)
                close_elsewherep(j->outputs + i);
        j->n_outputs = 0;
        for (size_t i = 0; i < j->n_files; i++) { /* of a draft that was never submitted */
                close_elsewherep(&j->files[i].fd);
                j->files[i].fd = -EBADF;
        }
}

bool steps_restore(Job *job) {
        _cleanup_free_ char *text = NULL;
        JobSteps *j = calloc(1, sizeof(*j));
        Failure f = FAILURE_INIT;

        if (!j)
                return false;
        job->run->steps = j;
        j->spooled = true;
        if (spool_read_description(job->station->directory, job->id, &text) < 0 || steps_parse(text, &j->input, &j->steps) < 0 ||
            spool_map(job->station->directory, job->id, &j->map) < 0)
                return false;
        j->n_steps = j->input.n_steps;
        return make_plan(job, &f) == 0;
}
