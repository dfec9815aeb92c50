/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-station.h"
#include "station/settings.h"

#include "station/batch.h"
#include "station/history.h"
#include "station/loaders.h"
#include "station/steps.h"
#include "station/profile.h"

#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>

typedef struct Question {
        uint64_t before;
        unsigned limit;
        StationJobsFunc fn;
        void *userdata;
} Question;

struct Station {
        StationObserver observer;
        Profile profile;
        Batch *batches;
        Device *devices;
        Slot *slots;
        Package *packages;
        Job *jobs;
        uint64_t next_device, next_job;
        char asked[512];
        CallError failure;
        bool fails;
        unsigned inhibitors;
        StoreJob old[64];
        size_t n_old;
        Question questions[64];
        size_t n_questions;
        unsigned n_asked, running;
        uint64_t complete_from;
};

Station *fake_station_new(void) {
        Station *s = calloc(1, sizeof(*s));

        s->next_device = 1;
        s->running = 3;
        s->next_job = 100;
        return s;
}

#define FREE_LIST(Type, head)                                                                                          \
        for (Type *p_ = (head), *n_; p_; p_ = n_) {                                                                    \
                n_ = p_->next;                                                                                         \
                free(p_);                                                                                              \
        }

void fake_station_free(Station *s) {
        FREE_LIST(Batch, s->batches)
        FREE_LIST(Device, s->devices)
        FREE_LIST(Slot, s->slots)
        FREE_LIST(Package, s->packages)
        FREE_LIST(Job, s->jobs)
        free(s);
}

const char *fake_asked(Station *s) {
        return s->asked;
}

void fake_forget(Station *s) {
        s->asked[0] = '\0';
}

void fake_fail(Station *s, BusError error, const char *text) {
        s->fails = true;
        call_error_set(&s->failure, error, "%s", text);
}

_printf_(3, 4) static int ask(Station *s, CallError *e, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vsnprintf(s->asked, sizeof(s->asked), format, ap);
        va_end(ap);
        if (!s->fails)
                return 0;
        s->fails = false;
        *e = s->failure;
        return -1;
}

#define APPEND(head, object)                                                                                           \
        do {                                                                                                           \
                __typeof__(head) *tail_ = &(head);                                                                     \
                while (*tail_)                                                                                         \
                        tail_ = &(*tail_)->next;                                                                       \
                *tail_ = (object);                                                                                     \
        } while (0)

#define UNLINK(head, object)                                                                                           \
        do {                                                                                                           \
                __typeof__(head) *tail_ = &(head);                                                                     \
                while (*tail_ && *tail_ != (object))                                                                   \
                        tail_ = &(*tail_)->next;                                                                       \
                if (*tail_)                                                                                            \
                        *tail_ = (object)->next;                                                                       \
        } while (0)

static void added(Station *s, ObjectKind kind, void *object) {
        if (s->observer.added)
                s->observer.added(s->observer.userdata, kind, object);
}

static void removed(Station *s, ObjectKind kind, void *object) {
        if (s->observer.removed)
                s->observer.removed(s->observer.userdata, kind, object);
}

void fake_changed(Station *s, ObjectKind kind, void *object, const char *const *properties) {
        s->observer.changed(s->observer.userdata, kind, object, properties);
}

Device *fake_add_device(Station *s, const char *port) {
        Device *d = calloc(1, sizeof(*d));

        d->station = s;
        d->number = s->next_device++;
        snprintf(d->sysfs, sizeof(d->sysfs), "/sys/devices/%s", port);
        snprintf(d->devnode, sizeof(d->devnode), "/dev/bus/usb/001/%03u", (unsigned) d->number);
        snprintf(d->port, sizeof(d->port), "%s", port);
        snprintf(d->speed, sizeof(d->speed), "480");
        d->vendor = 0x1782;
        d->product = 0x4d00;
        d->mode = "brom";
        d->state = DEVICE_STATE_IDLE;
        d->stage = STAGE_INVALID;
        d->slot = station_find_slot(s, port);
        d->n_facts = 1;
        snprintf(d->facts[0].key, sizeof(d->facts[0].key), "storage");
        snprintf(d->facts[0].value, sizeof(d->facts[0].value), "emmc");
        APPEND(s->devices, d);
        added(s, OBJECT_DEVICE, d);
        return d;
}

void fake_remove_device(Station *s, Device *d) {
        UNLINK(s->devices, d);
        removed(s, OBJECT_DEVICE, d);
        free(d);
}

Slot *fake_add_slot(Station *s, const char *port) {
        Slot *slot = calloc(1, sizeof(*slot));

        slot->station = s;
        snprintf(slot->port, sizeof(slot->port), "%s", port);
        slot->enabled = true;
        APPEND(s->slots, slot);
        added(s, OBJECT_SLOT, slot);
        return slot;
}

Package *fake_add_package(Station *s, char digit, const char *name) {
        Package *p = calloc(1, sizeof(*p));

        p->station = s;
        memset(p->digest, digit, 64);
        snprintf(p->name, sizeof(p->name), "%s", name);
        p->size = 4711;
        APPEND(s->packages, p);
        added(s, OBJECT_PACKAGE, p);
        return p;
}

void fake_remove_package(Station *s, Package *p) {
        UNLINK(s->packages, p);
        removed(s, OBJECT_PACKAGE, p);
        free(p);
}

Job *fake_add_job(Station *s, const char *kind, JobState state, bool exported) {
        Job *job = calloc(1, sizeof(*job));

        job->station = s;
        job->id = s->next_job++;
        job->state = state;
        job->failure = FAILURE_INIT;
        job->stage = STAGE_INVALID;
        job->step = -1;
        job->exported = exported;
        snprintf(job->kind, sizeof(job->kind), "%s", kind);
        APPEND(s->jobs, job);
        if (exported)
                added(s, OBJECT_JOB, job);
        return job;
}

void fake_remove_job(Station *s, Job *job) {
        UNLINK(s->jobs, job);
        if (job->exported)
                removed(s, OBJECT_JOB, job);
        free(job);
}

void fake_finish(Station *s, Job *job, JobResult result) {
        static const char *const changed[] = {"State", "Result", "Error", NULL};

        job->state = JOB_STATE_FINISHED;
        job->result = result;
        if (job->exported)
                fake_changed(s, OBJECT_JOB, job, changed);
        s->observer.job_finished(s->observer.userdata, job);
}

void fake_log(Station *s, Job *job, const char *line) {
        s->observer.job_log(s->observer.userdata, job, line);
}

void fake_user_action(Station *s, Job *job, const char *action) {
        s->observer.user_action(s->observer.userdata, job, action);
}

void fake_add_old_job(Station *s, uint64_t id, const char *port) {
        StoreJob *j = s->old + s->n_old++;

        *j = (StoreJob){.id = id,
                        .state = JOB_STATE_FINISHED,
                        .result = JOB_RESULT_DONE,
                        .kind = "flash",
                        .stage = STAGE_INVALID};
        snprintf(j->port, sizeof(j->port), "%s", port);
        j->failure = FAILURE_INIT;
        s->complete_from = MAX(s->complete_from, id + 1);
}

void fake_set_running(Station *s, unsigned n) {
        s->running = n;
}

unsigned fake_old_jobs_asked(const Station *s) {
        return s->n_asked;
}

void fake_last_old_job_of(Station *s, const Package *p) {
        snprintf(s->old[s->n_old - 1].digest, sizeof(s->old[0].digest), "%s", p->digest);
}

static void answer(Station *s, const Question *q) {
        StoreJob rows[64];
        unsigned n = 0;

        /* newest first: they were added by rising id */
        for (size_t i = s->n_old; i-- > 0 && n < q->limit;)
                if (q->before == 0 || s->old[i].id < q->before)
                        rows[n++] = s->old[i];
        q->fn(0, rows, n, q->userdata);
}

bool fake_answer_old(Station *s) {
        size_t n = s->n_questions;

        s->n_questions = 0;
        for (size_t i = 0; i < n; i++)
                answer(s, s->questions + i);
        return n > 0;
}

unsigned fake_inhibitors(Station *s) {
        return s->inhibitors;
}

/* ---- station.h ---- */

void station_set_observer(Station *s, const StationObserver *observer) {
        s->observer = observer ? *observer : (StationObserver){0};
}

Device *station_devices(Station *s) {
        return s->devices;
}

Slot *station_slots(Station *s) {
        return s->slots;
}

Package *station_packages(Station *s) {
        return s->packages;
}

Job *station_jobs(Station *s) {
        return s->jobs;
}

const UserLimits *station_limits(const Station *s _unused_) {
        static const UserLimits limits = {.jobs = 5, .drafts = 3, .imports = 2, .bytes = 1000000};

        return &limits;
}

const char *station_name(const Station *s _unused_) {
        return "line 1";
}

uint64_t station_complete_from(const Station *s) {
        return s->complete_from;
}
unsigned station_jobs_running(const Station *s) {
        return s->running;
}

unsigned station_jobs_destructive(const Station *s _unused_) {
        return 0;
}

unsigned station_jobs_queued(const Station *s _unused_) {
        return 5;
}

Device *station_find_device_by_sysfs(Station *s, const char *sysfs) {
        for (Device *d = s->devices; d; d = d->next)
                if (streq(d->sysfs, sysfs))
                        return d;
        return NULL;
}

Slot *station_find_slot(Station *s, const char *port) {
        for (Slot *p = s->slots; p; p = p->next)
                if (streq(p->port, port))
                        return p;
        return NULL;
}

Slot *station_need_slot(Station *s, const char *port, CallError *e) {
        Slot *slot = station_find_slot(s, port);

        if (ask(s, e, "need-slot %s", port) < 0)
                return NULL;
        return slot ? slot : fake_add_slot(s, port);
}

Package *station_find_package(Station *s, const char *digest) {
        for (Package *p = s->packages; p; p = p->next)
                if (streq(p->digest, digest))
                        return p;
        return NULL;
}

Job *station_find_job(Station *s, uint64_t id) {
        for (Job *j = s->jobs; j; j = j->next)
                if (j->id == id)
                        return j;
        return NULL;
}

int station_import(Station *s, int fd, const char *name, uint32_t uid, Job **ret, CallError *e) {
        close(fd);
        if (ask(s, e, "import name=%s uid=%u", name, uid) < 0)
                return -1;
        *ret = fake_add_job(s, "import", JOB_STATE_RUNNING, true);
        return 0;
}

static const char *target_text(const Target *t) {
        return t->kind == TARGET_ANY ? "any" : t->kind == TARGET_SLOT ? t->slot->port : t->device->sysfs;
}

int station_flash_as(Station *s, const Target *target, Package *package, const PlanOptions *options, const SerialWish *wish _unused_,
                     uint32_t uid, Job **ret, CallError *e) {
        if (ask(s, e, "flash target=%s package=%.4s mode=%s warnings=%d finish=%d uid=%u", target_text(target),
                package->digest, flash_mode_to_string(options->mode), options->allow_warnings, (int) options->finish,
                uid) < 0)
                return -1;
        *ret = fake_add_job(s, "flash", JOB_STATE_QUEUED, true);
        return 0;
}

int station_probe(Station *s, Device *device, uint32_t uid, Job **ret, CallError *e) {
        if (ask(s, e, "probe %s uid=%u", device->port, uid) < 0)
                return -1;
        *ret = fake_add_job(s, "probe", JOB_STATE_RUNNING, true);
        return 0;
}

int station_reset(Station *s, Device *device, bool power_off, uint32_t uid, Job **ret, CallError *e) {
        if (ask(s, e, "reset %s off=%d uid=%u", device->port, power_off, uid) < 0)
                return -1;
        *ret = fake_add_job(s, "reset", JOB_STATE_RUNNING, true);
        return 0;
}

int station_draft_as(Station *s, const char *kind, const Target *target, Package *package, const PlanOptions *options,
                     const SerialWish *wish _unused_, uint32_t uid, Job **ret, CallError *e) {
        if (ask(s, e, "draft kind=%s target=%s package=%.4s mode=%s uid=%u", kind, target_text(target), package->digest,
                flash_mode_to_string(options->mode), uid) < 0)
                return -1;
        *ret = fake_add_job(s, kind, JOB_STATE_DRAFT, false);
        (*ret)->uid = uid;
        (*ret)->options = *options;
        return 0;
}

int job_submit(Job *job, CallError *e) {
        if (ask(job->station, e, "submit %s", job->kind) < 0)
                return -1;
        job->state = JOB_STATE_QUEUED;
        job->exported = true;
        added(job->station, OBJECT_JOB, job);
        return 0;
}

void job_discard(Job *job) {
        (void) ask(job->station, NULL, "discard");
        fake_remove_job(job->station, job);
}

int job_cancel(Job *job, CallError *e) {
        if (ask(job->station, e, "cancel %s", job->kind) < 0)
                return -1;
        if (job->state == JOB_STATE_DRAFT)
                fake_remove_job(job->station, job);
        return 0;
}

int job_retry(Job *job, uint32_t uid, Job **ret, CallError *e) {
        if (ask(job->station, e, "retry %s uid=%u", job->kind, uid) < 0)
                return -1;
        *ret = fake_add_job(job->station, job->kind, JOB_STATE_QUEUED, true);
        return 0;
}

int job_answer(Job *job, const char *action, const char *value _unused_, JobAnswered fn _unused_, void *userdata _unused_, CallError *e) {
        return ask(job->station, e, "answer %s", action);
}

int station_plan(Station *s, Package *package, const PlanOptions *options, Plan **ret, CallError *e) {
        Plan *plan;

        if (ask(s, e, "plan package=%.4s mode=%s", package->digest, flash_mode_to_string(options->mode)) < 0)
                return -1;
        plan = calloc(1, sizeof(*plan));
        plan->n_steps = 2;
        plan->steps = calloc(2, sizeof(PlanStep));
        plan->steps[0] = (PlanStep){.op = PLAN_HANDSHAKE, .stage = STAGE_HANDSHAKE};
        plan->steps[1] = (PlanStep){.op = PLAN_WRITE, .stage = STAGE_WRITE, .size = 4096, .destructive = true};
        snprintf(plan->steps[1].partition, sizeof(plan->steps[1].partition), "boot");
        *ret = plan;
        return 0;
}

int package_remove(Package *package, CallError *e) {
        return ask(package->station, e, "remove %s", package->name);
}

int slot_set_label(Slot *slot, const char *label, CallError *e) {
        return ask(slot->station, e, "label %s", label);
}

int slot_set_enabled(Slot *slot, bool enabled, CallError *e) {
        return ask(slot->station, e, "enabled %d", enabled);
}

int slot_reset_counters(Slot *slot, CallError *e) {
        return ask(slot->station, e, "reset-counters");
}

int slot_clear_wedged(Slot *slot, CallError *e) {
        return ask(slot->station, e, "clear-wedged");
}

int station_reload(Station *s, CallError *e) {
        return ask(s, e, "reload");
}

void station_inhibit(Station *s) {
        s->inhibitors++;
}

void station_uninhibit(Station *s) {
        s->inhibitors--;
}

size_t job_stages(const Job *job, JobStage ret[static STAGE_MAX]) {
        ret[0] = (JobStage){STAGE_HANDSHAKE, 1000, 0, 1};
        ret[1] = (JobStage){STAGE_WRITE, 2000000, job->bytes_done, 3};
        return 2;
}

int station_list_old_jobs(Station *s, uint64_t before, unsigned limit, StationJobsFunc fn, void *userdata) {
        if (s->n_questions >= ELEMENTSOF(s->questions))
                return -ENOBUFS;
        s->n_asked++;
        s->questions[s->n_questions++] = (Question){before, limit, fn, userdata};
        return 0;
}

/* ---- records ---- */

static CallError ignored;

void job_set_operator(Job *job, const char *name) {
        snprintf(job->operator_name, sizeof(job->operator_name), "%s", name);
}

int station_list_records(Station *s, const StoreRecordFilter *filter, StoreRecordsCallback fn, void *userdata) {
        const StoreRecord record = {.seq = 5, .json = (char *) "{\"job\":7,\"result\":\"done\",\"unit\":{\"chip-uid\":\"C0FFEE\"},"
                                                              "\"stages\":[{\"stage\":\"write\"}],\"must\":true}",
                                    .hash = "aa", .previous = "bb"};

        (void) ask(s, &ignored, "records serial=%s slot=%s result=%s since=%llu oldest=%d cursor=%llu limit=%u", filter->serial, filter->slot,
            filter->result, (unsigned long long) filter->since_usec, filter->oldest_first, (unsigned long long) filter->cursor,
            filter->limit);
        fn(0, &record, 1, userdata);
        return 0;
}
int station_check_records(Station *s, StoreCheckCallback fn, void *userdata) {
        const StoreRecordCheck check = {.seq = 9, .checked = 4, .done = true, .bad_seq = 10, .problem = "Record 10 is missing."};

        (void) ask(s, &ignored, "check");
        fn(0, &check, userdata);
        return 0;
}
int station_prune_records(Station *s, uint64_t before_usec, StorePruneCallback fn, void *userdata) {
        (void) ask(s, &ignored, "prune %llu", (unsigned long long) before_usec);
        fn(0, 3, userdata);
        return 0;
}
int station_export_records(Station *s, int fd, ExportFormat format, const StoreRecordFilter *filter, StationExportFunc fn,
                           void *userdata) {
        (void) ask(s, &ignored, "export format=%d code=%s", format, filter->code);
        close(fd);
        fn(0, 1, userdata);
        return 0;
}

/* ---- the vault ---- */

static const StoreBackup vault_entry = {.id = "0123456789abcdef0123456789abcdef", .unit = "chip:C0FFEE", .name = "l_fixnv1", .size = 3,
                                        .sha256 = "aa", .usec = 77, .job = 7, .port = "p"};

int station_list_backups(Station *s, const StoreBackupFilter *filter, StoreBackupsCallback fn, void *userdata) {
        (void) ask(s, &ignored, "vault unit=%s job=%llu before=%llu limit=%u", filter->unit, (unsigned long long) filter->job,
                   (unsigned long long) filter->before_usec, filter->limit);
        fn(0, &vault_entry, 1, userdata);
        return 0;
}
int station_read_backup(Station *s, const char *id, StoreBackupCallback fn, void *userdata) {
        (void) ask(s, &ignored, "vault read %s", id);
        if (!streq(id, vault_entry.id))
                fn(-ENOENT, NULL, -1, userdata);
        else
                fn(0, &vault_entry, open("/dev/null", O_RDONLY | O_CLOEXEC), userdata);
        return 0;
}
int station_add_backup(Station *s, const StoreBackup *backup, int fd, StoreCallback fn, void *userdata) {
        (void) ask(s, &ignored, "vault add %s unit=%s size=%llu", backup->name, backup->unit, (unsigned long long) backup->size);
        close(fd);
        fn(backup->size == 3 ? 0 : -EBADMSG, userdata);
        return 0;
}

/* ---- jobs made of steps ---- */

bool kind_has_steps(const char *kind) {
        return streq(kind, "read") || streq(kind, "write");
}

int station_draft_steps(Station *s, const char *kind, const Target *target _unused_, Package *package _unused_, const StepsOptions *options,
                        uint32_t uid, Job **ret, CallError *e) {
        if (!streq(kind, "read"))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "There are no jobs of kind '%s' to create.", kind);
        if (ask(s, e, "draft-steps %s fdl1=%llx finish=%d", kind, (unsigned long long) options->fdl1_address, (int) options->plan.finish) < 0)
                return -1;
        *ret = fake_add_job(s, kind, JOB_STATE_DRAFT, false);
        (*ret)->uid = uid;
        return 0;
}
int job_add_steps(Job *job, const StepRequest *steps, size_t n, CallError *e) {
        return ask(job->station, e, "steps %zu %s %s at=%llx offset=%llu length=%llu file=%s any=%d", n, step_kind_to_string(steps[0].kind),
                   steps[0].partition, (unsigned long long) steps[0].address, (unsigned long long) steps[0].offset,
                   (unsigned long long) steps[0].length, steps[0].file, steps[0].any_image);
}
int job_attach_file(Job *job, const char *key, int fd, CallError *e) {
        int r = ask(job->station, e, "attach %s", key);

        if (r == 0)
                close(fd);
        return r;
}
unsigned job_files_held(const Job *job) {
        return streq(job->kind, "read") ? 1 : 0;
}
uint64_t job_bytes_held(const Job *job) {
        return streq(job->kind, "read") ? job->bytes_total : 0;
}
const char *job_outputs(const Job *job _unused_) {
        return "boot 4096 8192 abc part\nmisc 0 16 def whole\n";
}

/* ---- batches and profiles ---- */

Profile *station_profiles(Station *s, size_t *ret_n) {
        *ret_n = s->profile.name[0] != '\0';
        return &s->profile;
}
Profile *fake_add_profile(Station *s) {
        snprintf(s->profile.name, sizeof(s->profile.name), "line-1");
        policy_default(&s->profile.policy);
        s->profile.policy.plan.mode = FLASH_MODE_FACTORY;
        s->profile.policy.stop_after = 5;
        added(s, OBJECT_PROFILE, &s->profile);
        return &s->profile;
}
Batch *station_batches(Station *s) {
        return s->batches;
}
unsigned station_batches_running(const Station *s _unused_) {
        return 2;
}
bool batch_ended(const Batch *b) {
        return b->state == BATCH_STATE_STOPPED || b->state == BATCH_STATE_COMPLETE;
}
const char *first_state_to_string(FirstState state _unused_) {
        return "off";
}
Batch *fake_add_batch(Station *s, const char *name) {
        Batch *b = calloc(1, sizeof(*b));

        b->station = s;
        b->id = s->next_job++;
        b->state = BATCH_STATE_PAUSED;
        policy_default(&b->policy);
        snprintf(b->name, sizeof(b->name), "%s", name);
        snprintf(b->reason, sizeof(b->reason), "because");
        APPEND(s->batches, b);
        added(s, OBJECT_BATCH, b);
        return b;
}
int station_start_batch(Station *s, const BatchRequest *q, Batch **ret, CallError *e) {
        if (ask(s, e, "start-batch name=%s package=%.4s mode=%s profile=%s count=%llu stop=%u/%u first=%d slots=%zu all=%d armed=%d uid=%u", q->name,
                q->package->digest, flash_mode_to_string(q->policy.plan.mode), q->profile ? q->profile : "", (unsigned long long) q->policy.count,
                q->policy.stop_after, q->policy.stop_window, (int) q->policy.first_article, q->n_slots, q->all_slots, q->armed, q->uid) < 0)
                return -1;
        *ret = fake_add_batch(s, q->name);
        return 0;
}
int batch_pause(Batch *b, CallError *e) {
        return ask(b->station, e, "pause %s", b->name);
}
int batch_resume(Batch *b, CallError *e) {
        return ask(b->station, e, "resume %s", b->name);
}
int batch_drain(Batch *b, CallError *e) {
        return ask(b->station, e, "drain %s", b->name);
}
int batch_stop(Batch *b, CallError *e) {
        return ask(b->station, e, "stop %s", b->name);
}
int batch_confirm(Batch *b, CallError *e) {
        return ask(b->station, e, "confirm %s", b->name);
}
int slot_disarm(Slot *slot, CallError *e) {
        return ask(slot->station, e, "disarm");
}
int slot_set_listed(Slot *slot, bool listed, CallError *e) {
        return ask(slot->station, e, "listed %d", listed);
}

const LoaderPair *station_loaders(Station *s) {
        static LoaderPair pair = {.row = {.hash = "abcdef", .family = "phone", .signature = "dhtb", .fdl1_address = 0x5500, .fdl2_address = U64_UNKNOWN},
                                  .n_packages = 1};

        for (Package *p = s->packages; p; p = p->next)
                if (p->pac) {
                        pair.package = p;
                        return &pair;
                }
        return NULL;
}
const StoreLoaderUse *station_loader_uses(Station *s _unused_, size_t *ret_n) {
        static const StoreLoaderUse use = {.hash = "abcdef", .model = "A phone", .worked = 2, .failed = 1, .last_code = "exec-fdl2-silent"};

        *ret_n = 1;
        return &use;
}
void station_loader_limits(const Station *s _unused_, const LoaderPair *p _unused_, char *ret, size_t size) {
        snprintf(ret, size, "EraseSec=820 instead of 600");
}
Package *station_choose_loaders(Station *s, const Target *target _unused_, const char *word, const char *family _unused_, char ret_note[static 256],
                                CallError *e) {
        ret_note[0] = '\0';
        if (ask(s, e, "choose-loaders '%s'", word) < 0)
                return NULL;
        call_error_set(e, BUS_ERROR_INVALID_OPTION, "Several loaders could be meant.");
        return NULL;
}
void job_add_note(Job *job _unused_, const char *text _unused_) {
}
bool station_has_evidence(const Station *s _unused_, uint64_t job _unused_) {
        return false;
}
int station_trace(Station *s, uint64_t job, StationTraceFunc fn, void *userdata) {
        CallError e;

        if (ask(s, &e, "trace %llu", (unsigned long long) job) < 0)
                return -ENOENT;
        fn(-ENOENT, -EBADF, userdata);
        return 0;
}
const char *job_log(const Job *job _unused_) {
        return "";
}
