/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "common/closer.h"
#include "common/file-io.h"
#include "common/scratch-file.h"
#include "bsl/soft-entry.h"
#include "flash/mailbox.h"
#include "usb/host-causes.h"
#include "usb/usb-channel.h"

/* libusb and the engine need little; the rest is room for the sanitizers. */
#define STACK_SIZE (512U * 1024)
/* Steps of nice below the main thread; Nice= in the unit is as much. */
#define WORKER_NICE 5
/* The main thread decides whether a device is back; beyond its time limit nobody believes in an answer any more. */
#define ANSWER_SLACK_MS 5000U
/* udev sets owner and mode of a node a little after the kernel made it. */
#define CLAIM_WINDOW_MS 1000U
#define CLAIM_PAUSE_MS 50U

/* So long may the main thread take to get an intent or a backup onto the disk. */
uint32_t worker_go_timeout_ms = 60000;

typedef enum Answer { ANSWER_NONE, ANSWER_BACK, ANSWER_NOT_BACK } Answer;

/* A thread whose worker is gone. */
typedef struct Ending Ending;
struct Ending {
        Ending *next;
        pthread_t thread;
};

struct Worker {
        pthread_t thread;
        Ending *ending;                /* kept for its end, which must not fail either */
        JobSpec *spec;
        Mailbox *mailbox;
        Letter *last;                  /* kept for DONE, which must not fail */
        Trace *trace;
        _Atomic uint64_t done, total;
        _Atomic bool cancelled;
        unsigned gates_passed;         /* of the thread */

        pthread_mutex_t lock;          /* for all below */
        pthread_cond_t changed;
        UsbChannel *channel;
        bool interruptible;            /* a transfer may be broken off: nothing is being changed */
        bool abandoned;
        bool gone;                     /* GO came */
        bool held;                     /* it comes when it comes */
        int go_error;
        Answer answer;
        UsbTarget target;
        bool has_serial;               /* or knows why there is none */
        char serial[PHASE_SERIAL_MAX + 1];
        Failure no_serial;
        EngineSaved *saved;            /* what a recall brought, until it is taken */
        size_t n_saved;
};

static Ending *ending; /* of the main thread */

JobSpec *job_spec_free(JobSpec *spec) {
        if (!spec)
                return NULL;
        plan_free(spec->plan);
        mapped_file_unref(spec->package);
        for (size_t i = 0; i < spec->n_outputs; i++)
                close_elsewherep(spec->outputs + i);
        free(spec->outputs);
        free(spec);
        return NULL;
}

static uint64_t realtime_usec(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static struct timespec after_ms(uint32_t ms) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += ms / 1000;
        t.tv_nsec += (long) (ms % 1000) * 1000000;
        if (t.tv_nsec >= 1000000000) {
                t.tv_sec++;
                t.tv_nsec -= 1000000000;
        }
        return t;
}

/* ---- up ---- */

static Letter *letter_new(const Worker *w, RecordType type) {
        Letter *l = calloc(1, sizeof(*l));

        if (!l)
                return NULL;
        l->record.type = type;
        l->record.job_id = w->spec->job_id;
        l->record.step = -1;
        l->record.stage = STAGE_INVALID;
        return l;
}

static void post(Worker *w, Letter *l) {
        bool abandoned;

        l->record.now_usec = realtime_usec();
        pthread_mutex_lock(&w->lock);
        abandoned = w->abandoned;
        pthread_mutex_unlock(&w->lock);
        if (abandoned)
                letter_free(l);
        else
                mailbox_post(w->mailbox, l);
}

static int post_step(Worker *w, RecordType type, unsigned step, Stage stage, const char *partition) {
        Letter *l = letter_new(w, type);

        if (!l)
                return -ENOMEM;
        l->record.step = (int) step;
        l->record.stage = stage;
        snprintf(l->record.partition, sizeof(l->record.partition), "%s", partition);
        post(w, l);
        return 0;
}

static bool is_cancelled(void *userdata) {
        return ((Worker *) userdata)->cancelled;
}

/* From here on a cancel breaks off transfers, or does not. What was broken off before is seen by the engine, which asks
 * is_cancelled() after this and before it sends anything that changes flash. */
static void set_interruptible(Worker *w, bool interruptible) {
        pthread_mutex_lock(&w->lock);
        w->interruptible = interruptible;
        pthread_mutex_unlock(&w->lock);
}

static void expect_go(Worker *w) {
        pthread_mutex_lock(&w->lock);
        w->gone = w->held = false;
        pthread_mutex_unlock(&w->lock);
}

/* Each of the two stages waits once, without a limit: the device has none here either. A cancel ends it. */
static void wait_gate(Worker *w, unsigned step, Stage stage) {
        unsigned bit = stage == STAGE_LOAD_FDL1 ? 1U : stage == STAGE_EXEC_FDL2 ? 2U : 0;

        if (!w->spec->gated || bit == 0 || w->gates_passed & bit)
                return;
        w->gates_passed |= bit;
        expect_go(w);
        if (post_step(w, RECORD_GATE, step, stage, "") < 0)
                return;
        pthread_mutex_lock(&w->lock);
        while (!w->gone && !w->cancelled)
                pthread_cond_wait(&w->changed, &w->lock);
        pthread_mutex_unlock(&w->lock);
}

static void on_step(void *userdata, unsigned step, Stage stage, const char *partition) {
        Worker *w = userdata;

        set_interruptible(w, engine_cancel_safe(w->spec->plan, step));
        wait_gate(w, step, stage);
        (void) post_step(w, RECORD_STEP, step, stage, partition);
}

static void on_progress(void *userdata, uint64_t done, uint64_t total) {
        Worker *w = userdata;

        atomic_store_explicit(&w->done, done, memory_order_relaxed);
        atomic_store_explicit(&w->total, total, memory_order_relaxed);
}

static void on_fact(void *userdata, const char *key, const char *value) {
        Worker *w = userdata;
        Letter *l = letter_new(w, RECORD_FACT);

        if (!l)
                return;
        snprintf(l->record.key, sizeof(l->record.key), "%s", key);
        snprintf(l->record.value, sizeof(l->record.value), "%s", value);
        post(w, l);
}

/* ---- outputs ---- */

/* Holes stay holes: zeros beyond the end of the file only make it longer. */
static int write_hole(int fd, uint64_t offset, size_t size) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size > offset)
                return -EEXIST;
        return ftruncate(fd, (off_t) (offset + size)) < 0 ? -errno : 0;
}

static int on_output(void *userdata, unsigned output, uint64_t offset, const void *data, size_t size) {
        const JobSpec *spec = ((Worker *) userdata)->spec;
        int fd;

        if (output == 0 || output > spec->n_outputs)
                return -EINVAL;
        fd = spec->outputs[output - 1];
        if (all_zero(data, size) && write_hole(fd, offset, size) == 0)
                return 0;
        return write_at(fd, data, size, offset);
}

/* ---- waiting for the main thread ---- */

/* 0, what went wrong on disk, -ECANCELED, or -ETIMEDOUT when no word came at all. */
static int wait_go(Worker *w) {
        struct timespec until = after_ms(worker_go_timeout_ms);
        int r = 0;

        pthread_mutex_lock(&w->lock);
        while (!w->gone && !w->cancelled && r == 0)
                r = w->held ? -pthread_cond_wait(&w->changed, &w->lock) : -pthread_cond_timedwait(&w->changed, &w->lock, &until);
        if (w->gone)
                r = w->go_error;
        else if (w->cancelled)
                r = -ECANCELED;
        pthread_mutex_unlock(&w->lock);
        return r;
}

/* Gives a record away that the main thread has to answer. */
static int post_and_wait(Worker *w, Letter *l) {
        expect_go(w);
        post(w, l);
        return wait_go(w);
}

static int on_intent(void *userdata, unsigned step, Stage stage, const char *partition) {
        Worker *w = userdata;
        int r;

        expect_go(w);
        r = post_step(w, RECORD_INTENT, step, stage, partition);
        return r < 0 ? r : wait_go(w);
}

static Letter *backup_letter(const Worker *w, unsigned step, const char *name, size_t size) {
        Letter *l = letter_new(w, RECORD_BACKUP);

        if (!l)
                return NULL;
        l->record.step = (int) step;
        l->record.stage = STAGE_BACKUP;
        snprintf(l->record.partition, sizeof(l->record.partition), "%s", name);
        l->record.blob_size = size;
        return l;
}

static int on_spool(void *userdata, uint64_t size) {
        const JobSpec *spec = ((Worker *) userdata)->spec;

        return spec->spool[0] ? scratch_file_new(spec->spool, size) : -EOPNOTSUPP;
}

static int on_backup_file(void *userdata, unsigned step, const char *name, int fd, uint64_t size, const char *sha256) {
        Worker *w = userdata;
        Letter *l = backup_letter(w, step, name, size);

        if (!l) {
                close(fd);
                return -ENOMEM;
        }
        l->record.spooled = true;
        l->record.fd = fd;
        snprintf(l->record.sha256, sizeof(l->record.sha256), "%s", sha256);
        return post_and_wait(w, l);
}

static int on_backup(void *userdata, unsigned step, const char *name, void *data, size_t size) {
        Worker *w = userdata;
        Letter *l = backup_letter(w, step, name, size);

        if (!l) {
                free(data);
                return -ENOMEM;
        }
        l->record.blob = data;
        return post_and_wait(w, l);
}

static int on_recall(void *userdata, const char *unit, EngineSaved **ret, size_t *ret_n) {
        Worker *w = userdata;
        Letter *l = letter_new(w, RECORD_RECALL);
        int r;

        if (!l)
                return -ENOMEM;
        snprintf(l->record.value, sizeof(l->record.value), "%s", unit);
        expect_go(w);
        post(w, l);
        r = wait_go(w);
        pthread_mutex_lock(&w->lock);
        *ret = r == 0 ? TAKE_PTR(w->saved) : NULL;
        *ret_n = *ret ? w->n_saved : 0;
        pthread_mutex_unlock(&w->lock);
        return r;
}

/* People take their time, and the main thread says when it is over. Should it say nothing, this ends all the same. */
static int on_serial(void *userdata, size_t max, char ret[static PHASE_SERIAL_MAX + 1], Failure *f) {
        Worker *w = userdata;
        Letter *l = letter_new(w, RECORD_SERIAL);
        struct timespec until = after_ms(w->spec->answer_timeout_ms + worker_go_timeout_ms);
        int r = 0;

        if (!l)
                return -ENOMEM;
        l->record.serial_max = (unsigned) max;
        pthread_mutex_lock(&w->lock);
        w->has_serial = false;
        pthread_mutex_unlock(&w->lock);
        post(w, l);
        pthread_mutex_lock(&w->lock);
        while (!w->has_serial && !w->cancelled && r == 0)
                r = -pthread_cond_timedwait(&w->changed, &w->lock, &until);
        if (w->has_serial && w->serial[0])
                memcpy(ret, w->serial, sizeof(w->serial));
        else if (w->has_serial)
                *f = w->no_serial;
        r = w->cancelled ? -ECANCELED : !w->has_serial ? r : w->serial[0] ? 0 : 1;
        pthread_mutex_unlock(&w->lock);
        return r;
}

static Answer wait_answer(Worker *w, uint32_t timeout_ms, UsbTarget *ret) {
        struct timespec until = after_ms(timeout_ms);
        Answer answer;
        int r = 0;

        pthread_mutex_lock(&w->lock);
        while (w->answer == ANSWER_NONE && !w->cancelled && r == 0)
                r = pthread_cond_timedwait(&w->changed, &w->lock, &until);
        answer = w->answer;
        *ret = w->target;
        pthread_mutex_unlock(&w->lock);
        return answer;
}

/* ---- the device ---- */

static void close_channel(Worker *w) {
        UsbChannel *channel;

        pthread_mutex_lock(&w->lock);
        channel = TAKE_PTR(w->channel);
        pthread_mutex_unlock(&w->lock);
        usb_channel_close(channel);
}

/* False if it was cut short by a cancel. */
static bool pause_for(Worker *w, uint32_t ms) {
        struct timespec until = after_ms(ms);
        int r = 0;

        pthread_mutex_lock(&w->lock);
        while (!w->cancelled && r == 0)
                r = pthread_cond_timedwait(&w->changed, &w->lock, &until);
        pthread_mutex_unlock(&w->lock);
        return !w->cancelled;
}

static bool not_yet_ours(const Failure *f) {
        return f->class == CLASS_HOST && (f->error == EACCES || f->error == EPERM);
}

static int open_channel(Worker *w, const UsbTarget *t, Channel **ret, Failure *f) {
        for (uint32_t waited = 0;; waited += CLAIM_PAUSE_MS) {
                UsbChannel *channel = NULL;
                int r;

                if (w->cancelled)
                        return -ECANCELED;
                *f = FAILURE_INIT;
                r = t->entry ? usb_channel_open_port(t->devnode, t->sysfs, t->vendor, t->product, t->entry->interface, &channel, f)
                             : usb_channel_open(t->devnode, t->sysfs, t->vendor, t->product, &channel, f);
                if (r == 0) {
                        pthread_mutex_lock(&w->lock);
                        w->channel = channel;
                        if (w->cancelled && w->interruptible)
                                usb_channel_cancel(channel);
                        pthread_mutex_unlock(&w->lock);
                        *ret = usb_channel_get(channel);
                        return 0;
                }
                if (r == 1)
                        f->waited_ms = waited;
                if (r != 1 || !not_yet_ours(f) || waited >= CLAIM_WINDOW_MS)
                        return r;
                if (!pause_for(w, CLAIM_PAUSE_MS))
                        return -ECANCELED;
        }
}

static int post_expect_back(Worker *w, uint32_t timeout_ms) {
        Letter *l = letter_new(w, RECORD_EXPECT_BACK);

        if (!l)
                return -ENOMEM;
        l->record.stage = STAGE_REENUMERATE;
        l->record.timeout_ms = timeout_ms;
        post(w, l);
        return 0;
}

static int on_reenumerate(void *userdata, uint32_t timeout_ms, Channel **ret, Failure *f) {
        Worker *w = userdata;
        UsbTarget target;
        Answer answer;
        int r;

        close_channel(w);
        pthread_mutex_lock(&w->lock);
        w->answer = ANSWER_NONE;
        pthread_mutex_unlock(&w->lock);
        r = post_expect_back(w, timeout_ms);
        if (r < 0)
                return r;
        answer = wait_answer(w, timeout_ms + ANSWER_SLACK_MS, &target);
        if (answer == ANSWER_BACK)
                return open_channel(w, &target, ret, f);
        if (answer == ANSWER_NONE && w->cancelled)
                return -ECANCELED;
        f->deadline_ms = timeout_ms;
        return failure_set(f, CLASS_GONE, "", "the device did not come back to the same port within %g seconds", timeout_ms / 1000.0);
}

/* ---- the thread ---- */

static bool package_ok(void *userdata) {
        return mapped_file_ok(userdata);
}

static int run_engine(Worker *w, Channel *channel, EngineReport *report, Failure *f) {
        const JobSpec *spec = w->spec;
        EngineHooks hooks = {
                .step = on_step, .progress = on_progress, .intent = on_intent, .backup = on_backup, .spool = on_spool, .backup_file = on_backup_file, .fact = on_fact, .output = on_output,
                .recall = on_recall, .serial = on_serial, .reenumerate = on_reenumerate, .cancelled = is_cancelled, .userdata = w,
        };
        EngineInput input = {.plan = spec->plan, .deadlines = spec->deadlines, .resting = spec->resting, .raw = spec->raw,
                             .traits = {spec->traits, spec->traits + 1},
                             .trace = w->trace, .public_data = spec->public_data};
        char digest[65];
        int r;

        input.entry = spec->target.entry;
        memcpy(input.unit, spec->unit, sizeof(input.unit));
        memcpy(input.left, spec->left, sizeof(input.left));
        if (spec->package) {
                input.package = mapped_file_data(spec->package);
                input.package_size = mapped_file_size(spec->package);
                input.package_ok = package_ok;
                input.package_userdata = spec->package;
                input.package_time_s = mapped_file_time(spec->package);
        }
        input.stations = spec->stations[0] ? spec->stations : NULL;
        input.on_bus_ms = spec->on_bus_ms;
        input.now_s = (uint64_t) MAX(time(NULL), (time_t) 0);
        mapped_file_busy(spec->package);
        r = engine_run(&input, channel, &hooks, report, f);
        mapped_file_rest(spec->package);
        if (!spec->public_data) /* may be this job's alone, and is gone with it then: the station looks after its packages only */
                mapped_file_give_back(spec->package);
        if (plan_digest(w->spec->plan, digest) == 0)
                on_fact(w, "plan", digest);
        return r;
}

static int run_job(Worker *w, EngineReport *report, Failure *f) {
        Channel *channel;
        int r;

        r = open_channel(w, &w->spec->target, &channel, f);
        if (r != 0) {
                if (r < 0 && r != -ECANCELED)
                        r = failure_set_errno(f, r, "the device could not be opened: %s", strerror(-r));
                f->stage = STAGE_CLAIM;
                if (r == 1)
                        f->aftermath = f->class == CLASS_GONE ? AFTERMATH_LEFT : AFTERMATH_UNTOUCHED;
                return r;
        }
        r = run_engine(w, channel, report, f);
        if (r == 1 && f->class != CLASS_REFUSED && host_device_suspended(w->spec->target.sysfs))
                f->situation |= 1U << SITUATION_SUSPENDED;
        return r;
}

char *worker_trace_text(const JobSpec *spec, const Trace *t, const Failure *f, size_t *ret_size) {
        char code[FAILURE_CODE_MAX];
        TraceHead head = {
                .job = spec->job_id, .kind = spec->kind, .package = spec->package_name, .family = spec->family,
                .vendor = spec->target.vendor, .product = spec->target.product, .speed = spec->speed, .deadlines = &spec->deadlines,
                .failure = f, .code = f ? failure_code(f, code) : "",
        };

        return trace_text(t, &head, ret_size);
}

Trace *worker_trace(const Worker *w) {
        return trace_ref(w->trace);
}

/* The main thread answers everybody and has little to do: it goes before dozens of workers, who in the unit (Nice=) are as important as
 * any other program. Where that is forbidden, it stays as it is. */
static void step_back(void) {
        id_t thread = (id_t) gettid();
        int nice;

        errno = 0;
        nice = getpriority(PRIO_PROCESS, thread);
        if (errno == 0)
                (void) setpriority(PRIO_PROCESS, thread, MIN(nice + WORKER_NICE, 19));
}

static void *worker_main(void *userdata) {
        Worker *w = userdata;
        WorkerRecord *record = &w->last->record;
        Mailbox *mailbox = mailbox_ref(w->mailbox); /* with the last letter the worker is the main thread's, which may free it at once */

        step_back();
        pthread_setname_np(pthread_self(), w->spec->name);
        record->failure = FAILURE_INIT;
        record->result = run_job(w, &record->report, &record->failure);
        if (record->result < 0 && record->result != -ECANCELED) {
                failure_set_errno(&record->failure, record->result, "the job's plan cannot be executed: %s",
                                  strerror(-record->result));
                record->failure.stage = STAGE_CLAIM;
                record->result = 1;
        }
        close_channel(w);
        if (record->result == 1)
                record->blob = worker_trace_text(w->spec, w->trace, &record->failure, &record->blob_size);
        record->stage = record->failure.stage;
        record->step = record->failure.step;
        post(w, TAKE_PTR(w->last));
        mailbox_free(mailbox);
        return NULL;
}

static void worker_free(Worker *w) {
        free(w->ending);
        engine_saved_free(w->saved, w->n_saved);
        letter_free(w->last);
        trace_unref(w->trace);
        mailbox_free(w->mailbox);
        job_spec_free(w->spec);
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        free(w);
}

static int worker_new(JobSpec *spec, Mailbox *mailbox, Worker **ret) {
        pthread_condattr_t attr;
        Worker *w = calloc(1, sizeof(*w));

        if (!w)
                return -ENOMEM;
        w->spec = spec;
        w->interruptible = true;
        w->last = letter_new(w, RECORD_DONE);
        w->trace = trace_new();
        w->ending = calloc(1, sizeof(Ending));
        if (!w->last || !w->trace || !w->ending) {
                letter_free(w->last);
                free(w->ending);
                trace_unref(w->trace);
                free(w);
                return -ENOMEM;
        }
        pthread_mutex_init(&w->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&w->changed, &attr);
        pthread_condattr_destroy(&attr);
        w->mailbox = mailbox_ref(mailbox);
        *ret = w;
        return 0;
}

/* All signals belong to the main thread, except those that a thread brings upon itself: a bad disk under a mapped
 * package must reach its handler. */
static int start_thread(Worker *w) {
        static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
        sigset_t blocked, old;
        pthread_attr_t attr;
        int r;

        sigfillset(&blocked);
        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                sigdelset(&blocked, own[i]);
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, STACK_SIZE);
        pthread_sigmask(SIG_SETMASK, &blocked, &old);
        r = -pthread_create(&w->thread, &attr, worker_main, w);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        return r;
}

/* ---- the main thread's side ---- */

int worker_start(JobSpec **spec, Mailbox *mailbox, Worker **ret) {
        Worker *w;
        int r;

        r = worker_new(*spec, mailbox, &w);
        if (r < 0)
                return r;
        r = start_thread(w);
        if (r < 0) {
                w->spec = NULL;
                worker_free(w);
                return r;
        }
        *spec = NULL;
        *ret = w;
        return 0;
}

void worker_cancel(Worker *w) {
        pthread_mutex_lock(&w->lock);
        w->cancelled = true;
        if (w->interruptible && w->channel)
                usb_channel_cancel(w->channel);
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
}

void worker_go(Worker *w, int error) {
        pthread_mutex_lock(&w->lock);
        w->gone = true;
        w->go_error = error;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
}

void worker_hold(Worker *w) {
        pthread_mutex_lock(&w->lock);
        w->held = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
}

void worker_recalled(Worker *w, int error, EngineSaved *saved, size_t n) {
        pthread_mutex_lock(&w->lock);
        engine_saved_free(w->saved, w->n_saved);
        w->saved = saved;
        w->n_saved = n;
        pthread_mutex_unlock(&w->lock);
        worker_go(w, error);
}

void worker_answer_device(Worker *w, const UsbTarget *target) {
        pthread_mutex_lock(&w->lock);
        w->answer = target ? ANSWER_BACK : ANSWER_NOT_BACK;
        if (target)
                w->target = *target;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
}

void worker_answer_serial(Worker *w, const char *serial, const Failure *f) {
        pthread_mutex_lock(&w->lock);
        snprintf(w->serial, sizeof(w->serial), "%s", serial ? serial : "");
        w->no_serial = f ? *f : FAILURE_INIT;
        w->has_serial = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
}

void worker_progress(const Worker *w, uint64_t *ret_done, uint64_t *ret_total) {
        *ret_done = atomic_load_explicit(&w->done, memory_order_relaxed);
        *ret_total = atomic_load_explicit(&w->total, memory_order_relaxed);
}

Worker *worker_reap(Worker *w) {
        if (!w)
                return NULL;
        w->ending->thread = w->thread;
        w->ending->next = ending;
        ending = TAKE_PTR(w->ending);
        worker_free(w);
        workers_join_ended();
        return NULL;
}

static void join(bool wait) {
        Ending **at = &ending, *e;

        while ((e = *at)) {
                if ((wait ? pthread_join(e->thread, NULL) : pthread_tryjoin_np(e->thread, NULL)) == EBUSY) {
                        at = &e->next;
                        continue;
                }
                *at = e->next;
                free(e);
        }
}

void workers_join_ended(void) {
        join(false);
}

void workers_join(void) {
        join(true);
}

void worker_abandon(Worker *w) {
        worker_cancel(w);
        pthread_mutex_lock(&w->lock);
        w->abandoned = true;
        pthread_mutex_unlock(&w->lock);
        pthread_detach(w->thread);
}
