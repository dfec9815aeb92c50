/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The station with doubles of everything below it: store, workers, pool, hotplug, plans. Time is the test's. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#include "flash/plan-steps.h"
#include "firmware/digest.h"
#include "station/internal.h"
#include "station/steps.h"
#include "store/evidence-files.h"
#include "store/spool.h"

/* ---- time ---- */

static uint64_t clock_offset; /* µs */

int clock_gettime(clockid_t clock, struct timespec *t) {
        long r = syscall(SYS_clock_gettime, clock, t);
        uint64_t nsec = (uint64_t) t->tv_nsec + clock_offset % 1000000 * 1000;

        t->tv_sec += (time_t) (clock_offset / 1000000 + nsec / 1000000000);
        t->tv_nsec = (long) (nsec % 1000000000);
        return (int) r;
}

/* ---- store ---- */

typedef struct Pending {
        StoreCallback cb;
        StoreRecordsCallback records;
        StoreFinishCallback finish;
        StoreSerialCallback serial_cb;
        StoreSerial serial;
        void (*ids)(int error, uint64_t first, unsigned n, void *userdata);
        void *userdata;
        unsigned n;
        bool backup;
} Pending;

static struct {
        Pending pending[4096];
        size_t n_pending;
        bool held; /* the disk is busy: callbacks wait */
        int error; /* of every write */
        uint64_t next_id;
        StoreJob rows[4096];
        size_t n_rows;
        unsigned n_intents, n_backups;
        StoreSlot slot;
        StoreBatch batch;
        unsigned n_batch_rows, n_asked, n_loaders;
        StoreLoaders loaders;
        StoreRecordFilter asked;
        const StoreRecord *found; /* the answer */
        size_t n_found;
        StoreSnapshot snapshot;
        unsigned n_records;
        StoreRecord record; /* the last one */
        StoreChange opened, closed; /* of partition tables, the last ones */
        unsigned n_opened, n_closed;
        StoreTrait trait;           /* of a loader, the last one */
        unsigned n_traits;
        unsigned backup_room;       /* so many backups wait at once; 0: any number */
        int serial_error;           /* of the next reservation */
        unsigned n_stocks, n_reserved;
        bool change_open;           /* what a recall finds: one area of job 1 */
} disk;

static int pend(Pending p) {
        if (disk.n_pending == ELEMENTSOF(disk.pending))
                return -ENOBUFS;
        disk.pending[disk.n_pending++] = p;
        return 0;
}

int store_open(const char *directory _unused_, Store **ret, StoreSnapshot *snapshot, char **notice,
               CallError *e _unused_) {
        *ret = (Store *) &disk;
        *snapshot = disk.snapshot;
        *notice = NULL;
        return 0;
}
void store_snapshot_clear(StoreSnapshot *s _unused_) {
}
Store *store_close(Store *s _unused_) {
        return NULL;
}
static bool disk_full;
bool store_full(const Store *s _unused_) {
        return disk_full;
}

int store_fd(const Store *s _unused_) {
        static int fd = -1;
        return fd >= 0 ? fd : (fd = eventfd(0, EFD_CLOEXEC));
}
void store_dispatch(Store *s _unused_) {
        while (disk.n_pending > 0 && !disk.held) {
                Pending p = disk.pending[0];
                memmove(disk.pending, disk.pending + 1, --disk.n_pending * sizeof(Pending));
                if (p.records)
                        p.records(disk.error, disk.found, disk.n_found, p.userdata);
                else if (p.finish)
                        p.finish(disk.error, &(StoreJob) {.statistics = "as before"}, p.userdata);
                else if (p.serial_cb)
                        p.serial_cb(disk.serial_error, &p.serial, p.userdata);
                else if (p.ids) {
                        p.ids(disk.error, disk.next_id, p.n, p.userdata);
                        disk.next_id += p.n;
                } else
                        p.cb(disk.error, p.userdata);
        }
}
int store_put_job(Store *s _unused_, const StoreJob *job, StoreCallback cb, void *userdata) {
        if (disk.n_rows < ELEMENTSOF(disk.rows))
                disk.rows[disk.n_rows++] = *job;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_put_stock(Store *s _unused_, const char *id, const char *text _unused_, StoreCallback cb, void *userdata) {
        ck_assert_uint_eq(strlen(id), 32);
        disk.n_stocks++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_reserve_serial(Store *s _unused_, const StoreSerial *serial, StoreSerialCallback cb, void *userdata) {
        Pending p = {.serial_cb = cb, .serial = *serial, .userdata = userdata};

        disk.n_reserved++;
        snprintf(p.serial.held, sizeof(p.serial.held), "%s", serial->value[0] ? serial->value : "STOCK1");
        p.serial.other = 4711;
        return pend(p);
}
int store_put_loaders(Store *s _unused_, const StoreLoaders *loaders, StoreCallback cb, void *userdata) {
        disk.n_loaders++;
        disk.loaders = *loaders;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_finish_job(Store *s _unused_, const StoreJob *job, const StoreRecord *record, StoreFinishCallback cb, void *userdata) {
        int r;

        if (disk.n_rows < ELEMENTSOF(disk.rows))
                disk.rows[disk.n_rows++] = *job;
        r = pend((Pending){.finish = cb, .userdata = userdata});

        if (r < 0)
                return r;
        disk.n_records++;
        free(disk.record.json);
        disk.record = *record;
        return 0;
}
int store_put_slot(Store *s _unused_, const StoreSlot *slot, StoreCallback cb, void *userdata) {
        disk.slot = *slot;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_put_trait(Store *s _unused_, const StoreTrait *trait, StoreCallback cb, void *userdata) {
        disk.trait = *trait;
        disk.n_traits++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_put_batch(Store *s _unused_, const StoreBatch *batch, StoreCallback cb, void *userdata) {
        disk.batch = *batch;
        disk.n_batch_rows++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_list_records(Store *s _unused_, const StoreRecordFilter *filter, StoreRecordsCallback cb, void *userdata) {
        disk.asked = *filter;
        disk.n_asked++;
        return pend((Pending){.records = cb, .userdata = userdata});
}
int store_put_package(Store *s _unused_, const StorePackage *p _unused_, StoreCallback cb, void *userdata) {
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_remove_package(Store *s _unused_, const char *d _unused_, StoreCallback cb, void *userdata) {
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_put_intent(Store *s _unused_, uint64_t j _unused_, int st _unused_, Stage g _unused_, const char *p _unused_,
                     StoreCallback cb, void *userdata) {
        disk.n_intents++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_put_backup(Store *s _unused_, const StoreBackup *b _unused_, void *data,
                     size_t size _unused_, StoreCallback cb, void *userdata) {
        unsigned there = 0;

        for (size_t i = 0; i < disk.n_pending; i++)
                there += disk.pending[i].backup;
        if (disk.backup_room > 0 && there >= disk.backup_room)
                return -ENOBUFS;
        disk.n_backups++;
        free(data);
        return pend((Pending){.cb = cb, .userdata = userdata, .backup = true});
}
int store_put_backup_file(Store *s _unused_, const StoreBackup *b _unused_, int fd, StoreCallback cb, void *userdata) {
        disk.n_backups++;
        close(fd);
        return pend((Pending){.cb = cb, .userdata = userdata, .backup = true});
}
int store_open_change(Store *s _unused_, const StoreChange *change, StoreCallback cb, void *userdata) {
        disk.opened = *change;
        disk.n_opened++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_close_changes(Store *s _unused_, const StoreChange *change, StoreCallback cb, void *userdata) {
        disk.closed = *change;
        disk.n_closed++;
        return pend((Pending){.cb = cb, .userdata = userdata});
}
int store_recall_change(Store *s _unused_, const StoreChange *change, StoreAreasCallback cb, void *userdata) {
        StoreArea area = {.name = "miscdata", .job = 1, .size = 4};

        disk.opened = *change;
        if (disk.change_open)
                area.data = strdup("abc");
        cb(disk.error, &area, disk.change_open && !disk.error, userdata);
        free(area.data);
        return 0;
}
int store_reserve_ids(Store *s _unused_, unsigned n, void (*cb)(int, uint64_t, unsigned, void *), void *userdata) {
        return pend((Pending){.ids = cb, .n = n, .userdata = userdata});
}
int store_list_jobs(Store *s _unused_, uint64_t b _unused_, unsigned l _unused_, StoreJobsCallback cb _unused_,
                    void *u _unused_) {
        return 0;
}

/* ---- jobs made of steps: no files here ---- */

const uint8_t *mapped_file_data(const MappedFile *m _unused_) {
        return NULL;
}
uint64_t mapped_file_size(const MappedFile *m _unused_) {
        return 0;
}

const char *step_kind_to_string(StepKind kind _unused_) {
        return "read";
}
StepKind step_kind_from_string(const char *word _unused_) {
        return STEP_READ;
}
int plan_steps_loaders(const Pac *pac _unused_, StepsInput *ret _unused_, Failure *f _unused_) {
        return 0;
}
int plan_steps_check(const StepsInput *input _unused_, Failure *f _unused_) {
        return 0;
}
int plan_make_steps(const StepsInput *input _unused_, Plan **ret _unused_, Failure *f _unused_) {
        return -ENOMEM;
}
int spool_fd_check(int fd _unused_, bool output _unused_, CallError *e _unused_) {
        return 0;
}
int spool_map(const char *d _unused_, uint64_t job _unused_, MappedFile **ret _unused_) {
        return -ENOENT;
}
int spool_read_description(const char *d _unused_, uint64_t job _unused_, char **ret _unused_) {
        return -ENOENT;
}
void spool_remove(const char *d _unused_, uint64_t job _unused_) {
}
void spool_sweep(const char *d _unused_, bool (*wanted)(uint64_t, void *) _unused_, void *userdata _unused_) {
}
SpoolTask *spool_task_new(const char *d _unused_, uint64_t job _unused_, uint64_t quota _unused_, SpoolFile *files _unused_, size_t n _unused_) {
        return NULL;
}
SpoolTask *spool_task_free(SpoolTask *t _unused_) {
        return NULL;
}

const PacFile *pac_find_file(const Pac *pac _unused_, const char *id _unused_) {
        return NULL;
}
bool pac_file_is_loader(const PacFile *file) {
        return strncmp(file->type, "FDL", 3) == 0;
}
void pac_file_hash(const PacFile *file _unused_, char ret[static 65]) {
        snprintf(ret, 65, "%064d", 0);
}
int digest_hex(const void *data, size_t size, char ret[static 65]) {
        uint64_t sum = size;

        for (size_t i = 0; i < size; i++)
                sum = sum * 31 + ((const uint8_t *) data)[i];
        snprintf(ret, 65, "%064llx", (unsigned long long) sum);
        return 0;
}
const char *pac_family(const Pac *pac _unused_) {
        return "phone";
}

/* ---- packages, pool, plans ---- */

static struct {
        Task *tasks[64];
        size_t n_tasks;
        int fd_check, map_error, plan_error;
        unsigned n_plans;
} pool;

int package_store_open(const char *d _unused_, uint64_t q _unused_, PackageStore **ret, CallError *e _unused_) {
        *ret = (PackageStore *) &pool;
        return 0;
}
PackageStore *package_store_free(PackageStore *p _unused_) {
        return NULL;
}
int package_fd_check(int fd _unused_, CallError *e) {
        return pool.fd_check < 0 ? call_error_set(e, BUS_ERROR_BAD_FILE, "bad file") : 0;
}
static ImportTask *task_new(int fd, void *userdata) {
        ImportTask *t = calloc(1, sizeof(*t));
        t->fd = fd;
        t->failure = FAILURE_INIT;
        t->userdata = userdata;
        return t;
}
ImportTask *import_task_new(PackageStore *p _unused_, int fd, void *userdata) {
        return task_new(fd, userdata);
}
ImportTask *verify_task_new(PackageStore *p _unused_, const char *digest, void *userdata) {
        ImportTask *t = task_new(-1, userdata);
        snprintf(t->digest, sizeof(t->digest), "%s", digest);
        return t;
}
ImportTask *import_task_free(ImportTask *t) {
        if (t->fd >= 0)
                close(t->fd);
        pac_free(t->pac);
        free(t);
        return NULL;
}
int package_store_map(PackageStore *p _unused_, const char *d _unused_, MappedFile **ret) {
        *ret = pool.map_error ? NULL : (MappedFile *) &pool;
        return pool.map_error;
}
int package_store_remove(PackageStore *p _unused_, const char *d _unused_) {
        return 0;
}
MappedFile *mapped_file_ref(MappedFile *m) {
        return m;
}
static bool map_bad;
bool mapped_file_ok(MappedFile *m _unused_) {
        return !map_bad;
}
static bool map_changed;
bool mapped_file_unchanged(const MappedFile *m _unused_) {
        return !map_changed;
}
MappedFile *mapped_file_unref(MappedFile *m _unused_) {
        return NULL;
}
static bool map_rests;
bool mapped_file_rests(const MappedFile *m) {
        return m && map_rests;
}
void mapped_file_give_back(MappedFile *m _unused_) {
        map_rests = false;
}
Pac *pac_free(Pac *p) {
        free(p);
        return NULL;
}
int pool_new(unsigned max _unused_, Pool **ret) {
        *ret = (Pool *) &pool;
        return 0;
}
Pool *pool_free(Pool *p _unused_) {
        while (pool.n_tasks > 0)
                import_task_free((ImportTask *) pool.tasks[--pool.n_tasks]);
        return NULL;
}
int pool_fd(const Pool *p _unused_) {
        static int fd = -1;
        return fd >= 0 ? fd : (fd = eventfd(0, EFD_CLOEXEC));
}
void pool_dispatch(Pool *p _unused_) {
}
int pool_submit(Pool *p _unused_, Task *t) {
        if (pool.n_tasks == ELEMENTSOF(pool.tasks))
                return -ENOBUFS;
        pool.tasks[pool.n_tasks++] = t;
        return 0;
}
void pool_abandon(Pool *p _unused_, Task *t) {
        for (size_t i = 0; i < pool.n_tasks; i++)
                if (pool.tasks[i] == t) {
                        memmove(pool.tasks + i, pool.tasks + i + 1, (--pool.n_tasks - i) * sizeof(Task *));
                        import_task_free((ImportTask *) t);
                        return;
                }
        ck_abort_msg("abandoned what is not there");
}

/* handshake, backup, erase, write */
int plan_make(const Pac *pac _unused_, const PlanOptions *options, Plan **ret, Failure *f) {
        static const PlanStep steps[] = {
                {.op = PLAN_HANDSHAKE, .stage = STAGE_HANDSHAKE},
                {.op = PLAN_BACKUP, .stage = STAGE_BACKUP},
                {.op = PLAN_ERASE, .stage = STAGE_ERASE, .destructive = true},
                {.op = PLAN_WRITE, .stage = STAGE_WRITE, .destructive = true},
        };
        if (pool.plan_error)
                return failure_set(f, CLASS_PLAN, "x", "does not fit");
        Plan *p = calloc(1, sizeof(*p));
        p->options = *options;
        memset(p->loader[0], '1', 64);
        memset(p->loader[1], '2', 64);
        p->n_steps = ELEMENTSOF(steps);
        p->steps = malloc(sizeof(steps));
        memcpy(p->steps, steps, sizeof(steps));
        p->bytes_total = 1000;
        pool.n_plans++;
        *ret = p;
        return 0;
}
Plan *plan_free(Plan *p) {
        if (p)
                free(p->steps);
        free(p);
        return NULL;
}
bool engine_cancel_safe(const Plan *p, unsigned step) {
        return !p->steps[step].destructive;
}

/* ---- workers ---- */

struct Worker {
        uint64_t job;
        JobSpec *spec;
        bool cancelled, reaped, abandoned, held;
        int n_go, go_error;
        size_t n_saved;
        int answers; /* -1 it did not come back */
        UsbTarget answered;
        char serial[64]; /* or why there is none */
        unsigned n_serials;
        uint64_t done, total;
};
static struct {
        Worker all[512];
        size_t n;
        int error;
        WorkerRecord records[64];
        size_t n_records;
} workers;

JobSpec *job_spec_free(JobSpec *spec) {
        if (spec)
                plan_free(spec->plan);
        free(spec);
        return NULL;
}
int mailbox_new(Mailbox **ret) {
        *ret = (Mailbox *) &workers;
        return 0;
}
Mailbox *mailbox_free(Mailbox *m _unused_) {
        return NULL;
}
int mailbox_fd(const Mailbox *m _unused_) {
        static int fd = -1;
        return fd >= 0 ? fd : (fd = eventfd(0, EFD_CLOEXEC));
}
bool mailbox_take(Mailbox *m _unused_, WorkerRecord *ret) {
        if (workers.n_records == 0)
                return false;
        *ret = workers.records[0];
        memmove(workers.records, workers.records + 1, --workers.n_records * sizeof(*ret));
        return true;
}
int worker_start(JobSpec **spec, Mailbox *m _unused_, Worker **ret) {
        if (workers.error)
                return workers.error;
        ck_assert_uint_lt(workers.n, ELEMENTSOF(workers.all));
        Worker *w = workers.all + workers.n++;
        *w = (Worker){.job = (*spec)->job_id, .spec = *spec};
        *spec = NULL;
        *ret = w;
        return 0;
}
void worker_cancel(Worker *w) {
        w->cancelled = true;
}
void worker_go(Worker *w, int error) {
        w->n_go++;
        w->go_error = error;
}
void worker_hold(Worker *w) {
        w->held = true;
}
void worker_recalled(Worker *w, int error, EngineSaved *saved, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(saved[i].data);
        free(saved);
        w->n_saved = n;
        worker_go(w, error);
}
void worker_answer_serial(Worker *w, const char *serial, const Failure *f) {
        snprintf(w->serial, sizeof(w->serial), "%s", serial ? serial : f->detail);
        w->n_serials++;
}
void worker_answer_device(Worker *w, const UsbTarget *target) {
        w->answers += target ? 1 : -1;
        if (target)
                w->answered = *target;
}
void worker_progress(const Worker *w, uint64_t *done, uint64_t *total) {
        *done = w->done;
        *total = w->total;
}
Trace *worker_trace(const Worker *w _unused_) {
        return NULL;
}
char *worker_trace_text(const JobSpec *spec _unused_, const Trace *t _unused_, const Failure *f _unused_, size_t *ret_size) {
        *ret_size = 4;
        return strdup("text");
}
Trace *trace_unref(Trace *t _unused_) {
        return NULL;
}
void workers_join_ended(void) {
}
void workers_join(void) {
}
Worker *worker_reap(Worker *w) {
        w->reaped = true;
        w->spec = job_spec_free(w->spec);
        return NULL;
}
void worker_abandon(Worker *w) {
        w->abandoned = true;
        w->spec = job_spec_free(w->spec);
}

/* ---- traces of failed jobs ---- */

int evidence_files_open(const char *directory _unused_, EvidenceFile **ret, size_t *ret_n, CallError *e _unused_) {
        *ret = NULL;
        *ret_n = 0;
        return 0;
}
const char *evidence_name(uint64_t job, char ret[static EVIDENCE_NAME_MAX]) {
        snprintf(ret, EVIDENCE_NAME_MAX, "evidence/%llu.trace", (unsigned long long) job);
        return ret;
}
int evidence_file_write(const char *directory _unused_, uint64_t job _unused_, const char *text _unused_, size_t size _unused_) {
        return 0;
}
int evidence_file_read(const char *directory _unused_, uint64_t job _unused_, char **ret _unused_, size_t *ret_size _unused_) {
        return -ENOENT;
}
void evidence_file_remove(const char *directory _unused_, uint64_t job _unused_) {
}
int evidence_to_memory(const char *text _unused_, size_t size _unused_) {
        return -EBADF;
}

/* ---- hotplug, settings ---- */

int hotplug_new(HotplugFunc fn _unused_, void *u _unused_, Hotplug **ret) {
        *ret = (Hotplug *) &workers;
        return 0;
}
Hotplug *hotplug_free(Hotplug *h _unused_) {
        return NULL;
}
int hotplug_fd(const Hotplug *h _unused_) {
        static int fd = -1;
        return fd >= 0 ? fd : (fd = eventfd(0, EFD_CLOEXEC));
}
int hotplug_dispatch(Hotplug *h _unused_) {
        return 0;
}
static HotplugDevice present_at_start[4];
static size_t n_present_at_start;
static Station *st;
static Station *starting;
int hotplug_enumerate(Hotplug *h _unused_) {
        for (size_t i = 0; i < n_present_at_start; i++)
                device_event(starting, true, present_at_start + i);
        return 0;
}
HotplugId hotplug_id(uint16_t v, uint16_t p) {
        return v == 0x1782 && p == 0x4d00 ? HOTPLUG_ID_BOOT : v == 0x0525 ? HOTPLUG_ID_OPT_IN : HOTPLUG_ID_NOT_BOOT;
}
bool hotplug_port_valid(const char *port) {
        return strncmp(port, "usb-0:", 6) == 0;
}
void settings_default(Settings *s) {
        *s = (Settings){.station_name = "test", .max_parallel_jobs = 64};
        s->deadlines.start = 1000;
        s->deadlines.erase_all = 5000;
}

/* ---- what the observer saw ---- */

static struct {
        unsigned finished, actions, added[OBJECT_JOB + 1], removed[OBJECT_JOB + 1], progress[128];
        JobResult last;
        char action[32];
} seen;

static void on_added(void *u _unused_, ObjectKind kind, void *object _unused_) {
        seen.added[kind]++;
}
static void on_removed(void *u _unused_, ObjectKind kind, void *object _unused_) {
        seen.removed[kind]++;
}
static void on_changed(void *u _unused_, ObjectKind k, void *o, const char *const *p) {
        if (k == OBJECT_JOB && streq(p[0], "Progress"))
                seen.progress[((Job *) o)->id % ELEMENTSOF(seen.progress)]++;
}
static void on_finished(void *u _unused_, Job *job) {
        ck_assert_int_eq(job->state, JOB_STATE_FINISHED);
        ck_assert(job->exported);
        seen.finished++;
        seen.last = job->result;
}
static void on_action(void *u _unused_, Job *job _unused_, const char *action) {
        seen.actions++;
        snprintf(seen.action, sizeof(seen.action), "%s", action);
}

/* ---- fixture ---- */

static sd_event *event;
static CallError err;
static Package *package;
static const PlanOptions upgrade = {.mode = FLASH_MODE_UPGRADE};
static const Target any = {.kind = TARGET_ANY};
#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void settle(void) {
        for (int i = 0; i < 5; i++) {
                while (workers.n_records > 0)
                        mailbox_event(NULL, 0, 0, st);
                store_dispatch(NULL);
                while (sd_event_run(event, 0) > 0)
                        ;
        }
}

static void finish_task(int result, const Failure *f) {
        ImportTask *t = (ImportTask *) pool.tasks[0];

        memmove(pool.tasks, pool.tasks + 1, --pool.n_tasks * sizeof(Task *));
        t->result = result;
        if (f)
                t->failure = *f;
        if (result == 0) {
                t->pac = calloc(1, sizeof(Pac));
                t->pac->size = 1234;
                snprintf(t->digest, sizeof(t->digest), "%s", DIGEST);
        }
        t->task.done(&t->task);
        settle();
}

static void begin(void) {
        static const StationObserver observer = {on_added, on_removed, on_changed, on_finished, on_action, NULL};
        Settings s;

        settings_default(&s);
        ck_assert_int_eq(station_new(event, &s, "/state", &st, &err), 0);
        starting = st;
        station_set_observer(st, &observer);
        ck_assert_int_eq(station_start(st, &err), 0);
}

static void setup(void) {
        memset(&disk, 0, sizeof(disk));
        memset(&pool, 0, sizeof(pool));
        memset(&workers, 0, sizeof(workers));
        memset(&seen, 0, sizeof(seen));
        n_present_at_start = 0;
        clock_offset = 0;
        disk.next_id = 1;
        st = NULL;
        ck_assert_int_ge(sd_event_new(&event), 0);
}

static void import_package(void) {
        Job *job;

        ck_assert_int_eq(station_import(st, -1, "x.pac", 0, &job, &err), 0);
        finish_task(0, NULL);
        ck_assert_int_eq(job->result, JOB_RESULT_DONE);
        package = station_find_package(st, DIGEST);
        ck_assert_ptr_nonnull(package);
        seen.finished = 0;
}

static void setup_ready(void) {
        setup();
        begin();
        import_package();
}

static void teardown(void) {
        disk.held = false;
        disk.error = 0;
        if (st)
                station_free(st);
        event = sd_event_unref(event);
}

static HotplugDevice device_at(int port, uint8_t devnum) {
        HotplugDevice d = {.vendor = 0x1782,
                           .product = 0x4d00,
                           .busnum = 1,
                           .devnum = devnum,
                           .id = HOTPLUG_ID_BOOT,
                           .fits = true};

        snprintf(d.sysfs, sizeof(d.sysfs), "/sys/1-%d", port);
        snprintf(d.devnode, sizeof(d.devnode), "/dev/bus/usb/001/%03u", devnum);
        snprintf(d.port, sizeof(d.port), "usb-0:%d", port);
        return d;
}
static uint8_t next_devnum = 1;
static Device *plug(int port) {
        HotplugDevice d = device_at(port, next_devnum++);

        device_event(st, true, &d);
        return station_find_device_by_sysfs(st, d.sysfs);
}
static void unplug(int port) {
        HotplugDevice d = device_at(port, 0);
        device_event(st, false, &d);
}
static Slot *slot_at(int port) {
        char name[32];
        snprintf(name, sizeof(name), "usb-0:%d", port);
        return station_need_slot(st, name, &err);
}
static Job *flash(Target t) {
        Job *job;
        int r = station_flash(st, &t, package, &upgrade, 0, &job, &err);
        ck_assert_msg(r == 0, "%s", err.text);
        return job;
}
#define ON_SLOT(port) ((Target){.kind = TARGET_SLOT, .slot = slot_at(port)})
#define ON_DEVICE(d) ((Target){.kind = TARGET_DEVICE, .device = (d)})

static Worker *worker_of(const Job *job) {
        for (size_t i = 0; i < workers.n; i++)
                if (workers.all[i].job == job->id)
                        return workers.all + i;
        return NULL;
}
static void post(Job *job, WorkerRecord r) {
        r.job_id = job->id;
        workers.records[workers.n_records++] = r;
}
static void step(Job *job, int n, Stage stage) {
        post(job, (WorkerRecord){.type = RECORD_STEP, .step = n, .stage = stage, .partition = "p"});
        settle();
}
static void done(Job *job, int result, FailClass class, Stage stage) {
        WorkerRecord r = {.type = RECORD_DONE, .result = result, .failure = FAILURE_INIT};
        if (class != CLASS_NONE)
                failure_set(&r.failure, class, "", "made up");
        r.failure.stage = stage;
        post(job, r);
        settle();
}
static void pass(Job *job) {
        step(job, 0, STAGE_HANDSHAKE);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
}

static void pass_time(uint64_t usec) {
        clock_offset += usec;
        settle();
}

/* ---- queue and devices ---- */

START_TEST(plug_starts_waiting_job_at_once) {
        Job *job = flash(any);

        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        ck_assert_str_eq(job->user_action, "plug-in");
        Device *d = plug(1);
        ck_assert_ptr_nonnull(worker_of(job)); /* no dispatch, no disk in between */
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
        ck_assert_str_eq(job->user_action, "");
        ck_assert_int_eq(d->state, DEVICE_STATE_BUSY);
        ck_assert_ptr_eq(job->slot, slot_at(1));
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_BUSY);
        ck_assert_ptr_eq(slot_at(1)->job, job);
        ck_assert_uint_eq(station_jobs_running(st), 1);
}
END_TEST

START_TEST(no_plan_is_computed_when_a_device_appears) {
        Job *job = flash(any);
        unsigned before = pool.n_plans;

        ck_assert_ptr_nonnull(job->run->cache->spare);
        (void) plug(1);
        ck_assert_ptr_nonnull(worker_of(job)->spec->plan);
        ck_assert_ptr_ne(worker_of(job)->spec->plan, job->plan);
        ck_assert_uint_le(pool.n_plans, before + 1); /* the refill comes after the start */
}
END_TEST

START_TEST(finished_only_when_on_disk) {
        Job *job = flash(any);
        Slot *slot = slot_at(1);

        (void) plug(1);
        settle();
        disk.held = true;
        step(job, 0, STAGE_HANDSHAKE);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert(worker_of(job)->reaped);
        ck_assert_int_ne(job->state, JOB_STATE_FINISHED);
        ck_assert_int_eq(job->result, JOB_RESULT_NONE);
        ck_assert_uint_eq(seen.finished, 0);
        ck_assert_int_eq(disk.rows[disk.n_rows - 1].state, JOB_STATE_FINISHED);
        ck_assert_int_eq(disk.rows[disk.n_rows - 1].result, JOB_RESULT_DONE);
        disk.held = false;
        settle();
        ck_assert_uint_eq(seen.finished, 1);
        ck_assert_int_eq(job->result, JOB_RESULT_DONE);
        ck_assert_uint_eq(slot->passed, 1);
        ck_assert_str_eq(slot->last_result, "done");
        ck_assert_int_eq(slot->state, SLOT_STATE_PASSED);
        ck_assert_double_eq(job->progress, 1);
}
END_TEST

START_TEST(a_used_unit_is_not_the_next_unit) {
        Job *first = flash(any), *second = flash(any), *third = flash(ON_SLOT(1));

        (void) plug(1);
        ck_assert_int_eq(second->state, JOB_STATE_WAITING);
        ck_assert_int_eq(third->state, JOB_STATE_QUEUED); /* its slot is busy */
        pass(first);
        ck_assert_int_eq(second->state, JOB_STATE_WAITING);
        ck_assert_int_eq(third->state, JOB_STATE_WAITING);
        unplug(1);
        (void) plug(1);
        ck_assert_int_eq(second->state, JOB_STATE_RUNNING);
        pass(second);
        unplug(1);
        (void) plug(2);
        ck_assert_int_eq(third->state, JOB_STATE_WAITING);
        (void) plug(1);
        ck_assert_int_eq(third->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(present_idle_device_is_next) {
        (void) plug(3);
        ck_assert_int_eq(flash(any)->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(device_target_waits_while_busy_and_fails_when_it_leaves) {
        Device *d = plug(1);
        Job *first = flash(ON_DEVICE(d)), *second = flash(ON_DEVICE(d));

        ck_assert_int_eq(first->state, JOB_STATE_RUNNING);
        ck_assert_int_eq(second->state, JOB_STATE_QUEUED);
        pass(first);
        ck_assert_int_eq(second->state, JOB_STATE_RUNNING); /* asked for by name: used or not */
        Job *third = flash(ON_DEVICE(d));
        unplug(1);
        settle();
        ck_assert_int_eq(third->result, JOB_RESULT_FAILED);
        ck_assert_str_eq(third->code, "claim-gone");
        ck_assert_int_eq(second->state, JOB_STATE_RUNNING);
        ck_assert_ptr_null(second->device);
}
END_TEST

START_TEST(add_twice_is_one_device) {
        HotplugDevice d = device_at(1, 77);

        device_event(st, true, &d);
        device_event(st, true, &d);
        ck_assert_uint_eq(seen.added[OBJECT_DEVICE], 1);
        device_event(st, false, &d);
        device_event(st, false, &d);
        ck_assert_uint_eq(seen.removed[OBJECT_DEVICE], 1);
        ck_assert_ptr_null(station_devices(st));
}
END_TEST

START_TEST(limits_and_inhibition_queue) {
        st->settings.max_parallel_jobs = 1;
        Job *a = flash(any), *b = flash(any);
        (void) plug(1);
        (void) plug(2);
        ck_assert_int_eq(a->state, JOB_STATE_RUNNING);
        ck_assert_int_eq(b->state, JOB_STATE_QUEUED);
        ck_assert_str_eq(b->user_action, "");
        station_inhibit(st);
        pass(a);
        ck_assert_int_eq(b->state, JOB_STATE_QUEUED);
        station_uninhibit(st);
        ck_assert_int_eq(b->state, JOB_STATE_RUNNING);
        ck_assert_str_eq(b->run->port, "usb-0:2");
}
END_TEST

START_TEST(disabled_slot_is_left_alone) {
        ck_assert_int_eq(slot_set_enabled(slot_at(1), false, &err), 0);
        Job *job = flash(any);
        (void) plug(1);
        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_DISABLED);
        ck_assert_int_eq(slot_set_enabled(slot_at(1), true, &err), 0);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
}
END_TEST

static int load_opt_in(void *userdata _unused_, Settings *s, CallError *e _unused_) {
        snprintf(s->slot_options[s->n_slot_options++], sizeof(s->slot_options[0]), "usb-0:1 0525:a4a7");
        return 0;
}

START_TEST(foreign_ids_only_by_opt_in_and_shape) {
        HotplugDevice good = device_at(1, 50), odd = device_at(2, 51), elsewhere = device_at(3, 52);
        Job *job, *never;

        good.vendor = odd.vendor = elsewhere.vendor = 0x0525;
        good.product = odd.product = elsewhere.product = 0xa4a7;
        odd.fits = false;
        device_event(st, true, &good);
        device_event(st, true, &odd);
        device_event(st, true, &elsewhere);
        job = flash(any);
        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        Device *d = station_find_device_by_sysfs(st, good.sysfs);
        ck_assert_int_eq(d->state, DEVICE_STATE_FOREIGN);
        ck_assert_int_eq(station_flash(st, &ON_DEVICE(d), package, &upgrade, 0, &never, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_NOT_IN_BOOT_MODE);
        station_set_loader(st, load_opt_in, NULL);
        ck_assert_int_eq(station_reload(st, &err), 0);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
        ck_assert_ptr_eq(job->device, d);
        ck_assert_int_eq(flash(any)->state, JOB_STATE_WAITING);
}
END_TEST

START_TEST(running_system_is_shown_only) {
        HotplugDevice h = device_at(1, 60);
        h.product = 0x4d10;
        Job *job = flash(any);
        device_event(st, true, &h);
        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        ck_assert_str_eq(station_devices(st)->mode, "not-boot");
        ck_assert_int_eq(station_probe(st, station_devices(st), 0, &job, &err), -1);
}
END_TEST

/* ---- failing, retry, cancel ---- */

START_TEST(refused_write_can_be_retried_at_once) {
        Job *job = flash(any), *again;
        Device *d = plug(1);

        step(job, 0, STAGE_HANDSHAKE);
        step(job, 3, STAGE_WRITE);
        done(job, 1, CLASS_REFUSED, STAGE_WRITE);
        ck_assert_str_eq(job->code, "write-refused");
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_FAILED);
        ck_assert_uint_eq(slot_at(1)->failed, 1);
        ck_assert_str_eq(slot_at(1)->last_code, "write-refused");
        ck_assert_int_eq(job_retry(job, 0, &again, &err), 0);
        ck_assert_uint_eq(again->retry_of, job->id);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
        ck_assert_ptr_eq(again->device, d);
}
END_TEST

START_TEST(broken_session_needs_a_replug) {
        Job *job = flash(any), *again;

        (void) plug(1);
        step(job, 0, STAGE_HANDSHAKE);
        done(job, 1, CLASS_SILENT, STAGE_HANDSHAKE);
        ck_assert_int_eq(job_retry(job, 0, &again, &err), 0);
        ck_assert_int_eq(again->state, JOB_STATE_WAITING);
        ck_assert_str_eq(again->user_action, "replug");
        ck_assert_str_eq(seen.action, "replug");
        ck_assert_uint_eq(workers.n, 1);
        unplug(1);
        ck_assert_str_eq(again->user_action, "plug-in");
        (void) plug(2);
        ck_assert_int_eq(again->state, JOB_STATE_WAITING);
        (void) plug(1);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(pulled_out_and_retried) {
        Job *job = flash(any), *other = flash(any), *again;

        (void) plug(1);
        (void) plug(2);
        step(job, 0, STAGE_HANDSHAKE);
        step(job, 3, STAGE_WRITE);
        unplug(1);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING); /* until the worker says what happened */
        done(job, 1, CLASS_GONE, STAGE_WRITE);
        ck_assert_str_eq(job->code, "write-gone");
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_EMPTY);
        ck_assert_str_eq(slot_at(1)->last_code, "write-gone");
        ck_assert_int_eq(other->state, JOB_STATE_RUNNING);
        ck_assert(!worker_of(other)->cancelled);
        ck_assert_int_eq(job_retry(job, 0, &again, &err), 0);
        ck_assert_int_eq(again->state, JOB_STATE_WAITING);
        ck_assert_str_eq(again->user_action, "plug-in");
        (void) plug(1);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
        pass(again);
        ck_assert_int_eq(again->result, JOB_RESULT_DONE);
}
END_TEST

START_TEST(retry_never_takes_another_unit_that_passed) {
        Job *job = flash(any), *second, *again;

        (void) plug(1);
        step(job, 0, STAGE_HANDSHAKE);
        unplug(1);
        done(job, 1, CLASS_GONE, STAGE_HANDSHAKE);
        second = flash(any);
        (void) plug(1);
        pass(second);
        ck_assert_int_eq(job_retry(job, 0, &again, &err), 0);
        ck_assert_int_eq(again->state, JOB_STATE_WAITING);
}
END_TEST

START_TEST(claim_failure_does_not_eat_the_queue) {
        Job *a = flash(any), *b = flash(any), *again;

        (void) plug(1);
        done(a, 1, CLASS_HOST, STAGE_CLAIM);
        ck_assert_int_eq(a->result, JOB_RESULT_FAILED);
        ck_assert_int_eq(b->state, JOB_STATE_WAITING);
        ck_assert_int_eq(job_retry(a, 0, &again, &err), 0);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(worker_that_cannot_start) {
        workers.error = -EAGAIN;
        Job *a = flash(any), *b = flash(any);
        (void) plug(1);
        settle();
        ck_assert_int_eq(a->result, JOB_RESULT_FAILED);
        ck_assert_int_eq(a->failure.class, CLASS_HOST);
        ck_assert_int_eq(b->state, JOB_STATE_WAITING);
}
END_TEST

START_TEST(cancel) {
        Job *queued = flash(ON_SLOT(5)), *running = flash(any), *again;

        ck_assert_int_eq(job_cancel(queued, &err), 0);
        settle();
        ck_assert_int_eq(queued->result, JOB_RESULT_CANCELED);
        ck_assert_int_eq(job_cancel(queued, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_WRONG_STATE);
        Device *d = plug(1);
        ck_assert_int_eq(job_cancel(running, &err), 0);
        ck_assert_int_eq(running->state, JOB_STATE_CANCELLING);
        ck_assert(worker_of(running)->cancelled);
        ck_assert_int_eq(job_cancel(running, &err), 0);
        done(running, -ECANCELED, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(running->result, JOB_RESULT_CANCELED);
        ck_assert_str_eq(running->code, "");
        ck_assert_uint_eq(slot_at(1)->failed, 0);
        ck_assert(!d->touched); /* no byte was sent */
        ck_assert_int_eq(job_retry(running, 0, &again, &err), 0);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(safe_to_unplug_and_cancelable_follow_the_steps) {
        Job *job = flash(any);
        Slot *slot = slot_at(1);

        (void) plug(1);
        step(job, 1, STAGE_BACKUP);
        ck_assert(slot->safe_to_unplug && job->cancelable);
        step(job, 2, STAGE_ERASE);
        ck_assert(slot->safe_to_unplug && !job->cancelable);
        post(job, (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_ERASE});
        disk.held = true;
        settle();
        ck_assert(!slot->safe_to_unplug);
        ck_assert_int_eq(worker_of(job)->n_go, 0); /* not before it is on disk */
        ck_assert_int_eq(disk.rows[disk.n_rows - 1].step, 2);
        disk.held = false;
        settle();
        ck_assert_int_eq(worker_of(job)->n_go, 1);
        ck_assert_int_eq(worker_of(job)->go_error, 0);
        ck_assert_uint_eq(station_jobs_destructive(st), 1);
        done(job, 1, CLASS_REFUSED, STAGE_ERASE);
        ck_assert(slot->safe_to_unplug);
}
END_TEST

/* A change of the partition table is open on disk before it may begin, until a job on that unit ends well. */
START_TEST(changes_of_the_table_stay_open) {
        Job *job = flash(any);

        (void) plug(1);
        step(job, 1, STAGE_IDENTIFY);
        post(job, (WorkerRecord){.type = RECORD_RECALL, .step = 1, .value = "UID7"});
        settle();
        ck_assert_str_eq(disk.opened.unit, "UID7");
        ck_assert_int_eq(worker_of(job)->n_go, 1);
        ck_assert_uint_eq(worker_of(job)->n_saved, 0);
        post(job, (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_REPARTITION});
        settle();
        ck_assert_uint_eq(disk.n_opened, 1);
        ck_assert_uint_eq(disk.opened.job, job->id);
        ck_assert_str_eq(disk.opened.unit, "UID7");
        ck_assert_int_eq(worker_of(job)->n_go, 2);
        done(job, 1, CLASS_GONE, STAGE_REPARTITION);
        ck_assert_uint_eq(disk.n_closed, 0);
}
END_TEST

START_TEST(an_open_change_is_found_by_the_unit) {
        Job *job = flash(any);

        disk.change_open = true;
        (void) plug(1);
        step(job, 1, STAGE_IDENTIFY);
        /* A unit without identity may be any. */
        post(job, (WorkerRecord){.type = RECORD_RECALL, .step = 1, .value = ""});
        settle();
        ck_assert_int_eq(worker_of(job)->go_error, -EKEYREJECTED);
        post(job, (WorkerRecord){.type = RECORD_RECALL, .step = 1, .value = "UID7"});
        settle();
        ck_assert_int_eq(worker_of(job)->go_error, 0);
        ck_assert_uint_eq(worker_of(job)->n_saved, 1);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_uint_eq(disk.n_closed, 1);
        ck_assert_str_eq(disk.closed.unit, "UID7");
}
END_TEST

START_TEST(no_go_without_disk) {
        Job *job = flash(any);

        (void) plug(1);
        settle();
        disk.error = -ENOSPC;
        post(job,
             (WorkerRecord){.type = RECORD_BACKUP, .step = 1, .partition = "nv", .blob = malloc(8), .blob_size = 8});
        settle();
        ck_assert_uint_eq(disk.n_backups, 1);
        ck_assert_int_eq(worker_of(job)->go_error, -ENOSPC);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
        done(job, 1, CLASS_HOST, STAGE_BACKUP);
        ck_assert_int_eq(job->state, JOB_STATE_FINISHED); /* although the row could not be written */
        ck_assert(strstr(job->note, "could not be recorded"));
        Job *refused;
        ck_assert_int_eq(station_flash(st, &any, package, &upgrade, 0, &refused, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_STORE);
        ck_assert(strstr(err.text, "/state") && strstr(err.text, "No space"));
        pass_time(3000000);
        ck_assert_int_eq(station_flash(st, &any, package, &upgrade, 0, &refused, &err), -1);
        disk.error = 0; /* mended: found out without anybody asking */
        pass_time(3000000);
        ck_assert_int_eq(station_flash(st, &any, package, &upgrade, 0, &refused, &err), 0);
}
END_TEST

/* Many units with large calibration: what finds no room in the store waits for it, and no job ends for that. */
START_TEST(backups_wait_for_room) {
        Job *jobs[4];

        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++) {
                jobs[i] = flash(any);
                (void) plug(i + 1);
        }
        settle();
        disk.backup_room = 1;
        disk.held = true;
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++)
                post(jobs[i], (WorkerRecord){.type = RECORD_BACKUP, .step = 1, .partition = "nv", .blob = malloc(8), .blob_size = 8});
        settle();
        ck_assert_uint_eq(disk.n_backups, 1);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++)
                ck_assert_int_eq(worker_of(jobs[i])->n_go, 0);
        disk.held = false;
        settle();
        ck_assert_uint_eq(disk.n_backups, ELEMENTSOF(jobs));
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++) {
                ck_assert_int_eq(worker_of(jobs[i])->n_go, 1);
                ck_assert_int_eq(worker_of(jobs[i])->go_error, 0);
        }
        disk.backup_room = 0;
}
END_TEST

START_TEST(queued_job_that_cannot_be_recorded_is_not_begun) {
        disk.error = -EROFS;
        Job *job = flash(any);
        settle();
        ck_assert_int_eq(job->result, JOB_RESULT_FAILED);
        ck_assert_str_eq(job->code, "claim-host-read-only");
}
END_TEST

/* ---- re-enumeration ---- */

static void expect(Job *job) {
        post(job, (WorkerRecord){.type = RECORD_EXPECT_BACK, .timeout_ms = 5000});
        settle();
}

START_TEST(back_after_the_record) {
        Job *job = flash(any), *next = flash(any);

        Device *d = plug(1);
        step(job, 0, STAGE_HANDSHAKE);
        expect(job);
        ck_assert_int_eq(d->state, DEVICE_STATE_EXPECTED_BACK);
        unplug(1);
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_BUSY);
        ck_assert_int_eq(worker_of(job)->answers, 0);
        Device *back = plug(1);
        ck_assert_int_eq(worker_of(job)->answers, 1);
        ck_assert_uint_eq(worker_of(job)->answered.devnum, back->devnum);
        ck_assert_ptr_eq(job->device, back);
        ck_assert_int_eq(back->state, DEVICE_STATE_BUSY);
        ck_assert_int_eq(next->state, JOB_STATE_WAITING);
}
END_TEST

START_TEST(back_before_the_record) {
        Job *job = flash(any), *next = flash(any);

        (void) plug(1);
        step(job, 0, STAGE_HANDSHAKE);
        unplug(1);
        Device *back = plug(1);
        ck_assert_int_eq(next->state, JOB_STATE_WAITING); /* the newcomer belongs to the running job */
        ck_assert_int_eq(worker_of(job)->answers, 0);
        expect(job);
        ck_assert_int_eq(worker_of(job)->answers, 1);
        ck_assert_ptr_eq(job->device, back);
}
END_TEST

START_TEST(not_back_in_time) {
        Job *job = flash(any);

        (void) plug(1);
        expect(job);
        unplug(1);
        (void) plug(2); /* another port does not count */
        ck_assert_int_eq(worker_of(job)->answers, 0);
        clock_offset += 6000000;
        settle();
        ck_assert_int_eq(worker_of(job)->answers, -1);
        done(job, 1, CLASS_GONE, STAGE_REENUMERATE);
        ck_assert_str_eq(job->code, "reenumerate-gone");
}
END_TEST

/* ---- progress and stuck workers ---- */

START_TEST(progress_never_falls) {
        Job *job = flash(any);
        Worker *w;

        (void) plug(1);
        w = worker_of(job);
        w->total = 1000;
        for (int i = 1; i <= 10; i++) {
                w->done = (uint64_t) i * 50;
                pass_time(300000);
        }
        ck_assert(job->progress_valid);
        ck_assert_double_eq(job->progress, 0.5);
        ck_assert_uint_gt(job->rate, 100);
        ck_assert_uint_lt(job->rate, 200);
        ck_assert_uint_ne(job->expected_end_usec, U64_UNKNOWN);
        w->done = 100;
        pass_time(300000);
        ck_assert_double_eq(job->progress, 0.5);
        for (int i = 0; i < 30; i++)
                pass_time(300000);
        ck_assert_uint_eq(job->rate, 0);
        ck_assert_uint_eq(job->expected_end_usec, U64_UNKNOWN);
}
END_TEST

/* Few are told of at each tick, many take turns and nobody is forgotten. */
START_TEST(progress_of_many_takes_turns) {
        enum { JOBS = 48, TICKS = 24 };
        Job *jobs[JOBS], *alone;
        unsigned before;

        alone = flash(ON_SLOT(1));
        (void) plug(1);
        for (int t = 0; t < TICKS; t++) {
                worker_of(alone)->total = 1000;
                worker_of(alone)->done++;
                pass_time(300000);
        }
        before = seen.progress[alone->id];
        ck_assert_uint_ge(before, TICKS - 1);
        for (int i = 0; i < JOBS - 1; i++) {
                jobs[i] = flash(ON_SLOT(i + 2));
                (void) plug(i + 2);
        }
        jobs[JOBS - 1] = alone;
        for (int t = 0; t < TICKS; t++) {
                for (int i = 0; i < JOBS; i++) {
                        worker_of(jobs[i])->total = 1000;
                        worker_of(jobs[i])->done++;
                }
                pass_time(300000);
        }
        seen.progress[alone->id] -= before;
        for (int i = 0; i < JOBS; i++) {
                ck_assert_uint_ge(seen.progress[jobs[i]->id], TICKS / 3 - 1);
                ck_assert_uint_le(seen.progress[jobs[i]->id], TICKS / 3 + 1);
        }
}
END_TEST

START_TEST(stuck_worker_wedges_its_slot_only) {
        Job *job = flash(any), *other = flash(any), *next;
        Slot *slot = slot_at(1);

        (void) plug(1);
        (void) plug(2);
        step(job, 0, STAGE_HANDSHAKE);
        worker_of(other)->total = 100;
        for (int i = 0; i < 33; i++) {
                worker_of(other)->done++;
                pass_time(1000000);
        }
        ck_assert(worker_of(job)->cancelled);
        ck_assert(!worker_of(other)->cancelled);
        ck_assert(!worker_of(job)->abandoned);
        for (int i = 0; i < 11; i++) {
                worker_of(other)->done++;
                pass_time(1000000);
        }
        ck_assert(worker_of(job)->abandoned);
        ck_assert_str_eq(job->code, "handshake-host-worker-stuck");
        ck_assert_int_eq(slot->state, SLOT_STATE_WEDGED);
        next = flash(ON_SLOT(1));
        ck_assert_int_eq(next->state, JOB_STATE_QUEUED);
        ck_assert_int_eq(slot_clear_wedged(slot, &err), -1);
        unplug(1);
        ck_assert_int_eq(slot->state, SLOT_STATE_WEDGED);
        ck_assert_int_eq(slot_clear_wedged(slot, &err), 0);
        (void) plug(1);
        ck_assert_int_eq(next->state, JOB_STATE_RUNNING);
}
END_TEST

START_TEST(waiting_for_the_disk_is_not_stuck) {
        Job *job = flash(any);

        (void) plug(1);
        settle();
        post(job, (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_ERASE});
        disk.held = true;
        for (int i = 0; i < 50; i++)
                pass_time(1000000);
        ck_assert(!worker_of(job)->cancelled);
}
END_TEST

START_TEST(late_end_of_a_stuck_worker_frees_the_slot) {
        Job *job = flash(any);
        Slot *slot = slot_at(1);

        (void) plug(1);
        for (int i = 0; i < 45; i++)
                pass_time(1000000);
        ck_assert_int_eq(slot->state, SLOT_STATE_WEDGED);
        done(job, 1, CLASS_SILENT, STAGE_HANDSHAKE);
        ck_assert_int_eq(slot->state, SLOT_STATE_WEDGED);
        unplug(1);
        ck_assert_int_eq(slot->state, SLOT_STATE_EMPTY);
}
END_TEST

/* ---- packages and imports ---- */

START_TEST(import_fails_and_is_cancelled) {
        Failure f = FAILURE_INIT;
        Job *job;

        failure_set(&f, CLASS_PLAN, "crc2", "bad");
        ck_assert_int_eq(station_import(st, -1, "x", 0, &job, &err), 0);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
        finish_task(1, &f);
        ck_assert_str_eq(job->code, "import-plan-crc2");
        ck_assert_int_eq(station_import(st, -1, "x", 0, &job, &err), 0);
        ck_assert_int_eq(job_cancel(job, &err), 0);
        settle();
        ck_assert_int_eq(job->result, JOB_RESULT_CANCELED);
        ck_assert_uint_eq(pool.n_tasks, 0);
        pool.fd_check = -1;
        ck_assert_int_eq(station_import(st, -1, "x", 0, &job, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_BAD_FILE);
        pool.fd_check = 0;
        ck_assert_int_eq(station_import(st, -1, "x", 0, &job, &err), 0);
        for (int i = 0; i < 65; i++)
                pass_time(1000000);
        ck_assert_str_eq(job->code, "import-host-stalled");
        ck_assert_uint_eq(st->n_imports, 0);
}
END_TEST

START_TEST(a_cancelled_draft_holds_no_files) {
        StepsOptions options = {.plan = upgrade, .fdl1_address = U64_UNKNOWN, .fdl2_address = U64_UNKNOWN};
        struct pollfd at = {.events = POLLIN};
        int ends[2];
        Job *job;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        ck_assert_msg(station_draft_steps(st, "write", &any, package, &options, 0, &job, &err) == 0, "%s", err.text);
        ck_assert_int_eq(job_attach_file(job, "f", ends[1], &err), 0);
        ck_assert_int_eq(job_cancel(job, &err), 0);
        settle();
        ck_assert_int_eq(job->state, JOB_STATE_FINISHED); /* and known for a while */
        at.fd = ends[0];
        ck_assert_int_eq(poll(&at, 1, 10000), 1);
        ck_assert_int_eq(at.revents & POLLHUP, POLLHUP);
        close(ends[0]);
}
END_TEST

START_TEST(name_of_a_package_is_cleaned) {
        Job *job;
        ck_assert_int_eq(station_import(st, -1,
                                        "a\nb\xe2\x80\xae"
                                        "c\xff\xc3\xa4",
                                        0, &job, &err),
                         0);
        ck_assert_str_eq(job->package_name, "a_b_c_\xc3\xa4");
}
END_TEST

START_TEST(package_in_use_stays) {
        Job *job = flash(any);

        ck_assert_uint_eq(package->users, 1);
        ck_assert_int_eq(package_remove(package, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_PACKAGE_IN_USE);
        ck_assert_int_eq(job_cancel(job, &err), 0);
        settle();
        ck_assert_uint_eq(package->users, 0);
        ck_assert_int_eq(package_remove(package, &err), 0);
        ck_assert_ptr_null(station_packages(st));
        Job *again;
        ck_assert_int_eq(job_retry(job, 0, &again, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_NO_SUCH_PACKAGE);
}
END_TEST

START_TEST(plan_that_is_refused_makes_no_job) {
        Job *job;
        pool.plan_error = 1;
        ck_assert_int_eq(station_flash(st, &any, package, &upgrade, 0, &job, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_PLAN_REFUSED);
        ck_assert_uint_eq(package->users, 0);
        ck_assert_uint_eq(station_jobs_queued(st), 0);
}
END_TEST

START_TEST(drafts) {
        Job *a, *b;
        ck_assert_int_eq(station_draft(st, "flash", &any, package, &upgrade, 0, &a, &err), 0);
        ck_assert_int_eq(station_draft(st, "flash", &any, package, &upgrade, 0, &b, &err), 0);
        ck_assert_int_eq(station_draft(st, "tea", &any, package, &upgrade, 0, &b, &err), -1);
        (void) plug(1);
        ck_assert_int_eq(a->state, JOB_STATE_DRAFT);
        job_discard(b);
        ck_assert_uint_eq(st->n_drafts, 1);
        ck_assert_int_eq(job_submit(a, &err), 0);
        ck_assert_int_eq(a->state, JOB_STATE_RUNNING);
        ck_assert_int_eq(job_submit(a, &err), -1);
        ck_assert_uint_eq(st->n_drafts, 0);
        ck_assert_uint_eq(package->users, 1);
}
END_TEST

START_TEST(many_jobs_are_bounded) {
        Job *last = NULL;
        unsigned exported = 0;

        for (int i = 0; i < 1500; i++) {
                last = flash(any);
                settle(); /* numbers come in blocks of a thousand */
        }
        for (Job *j = station_jobs(st); j; j = j->next)
                exported += j->exported && j->state == JOB_STATE_WAITING;
        ck_assert_uint_eq(exported, EXPORTED_WAITING);
        ck_assert_ptr_eq(station_find_job(st, last->id), last);
        for (Job *j = station_jobs(st), *next; j; j = next) {
                next = j->next;
                if (j->state != JOB_STATE_FINISHED)
                        ck_assert_int_eq(job_cancel(j, &err), 0);
        }
        settle();
        ck_assert_uint_eq(st->n_finished, JOBS_FINISHED_KEPT);
        ck_assert_uint_eq(station_complete_from(st), last->id - JOBS_FINISHED_KEPT + 1);
        ck_assert_uint_eq(st->n_unfinished, 0);
        ck_assert_uint_eq(package->users, 0);
}
END_TEST

START_TEST(numbers_wait_for_the_disk) {
        Job *job;
        unsigned n = 0;

        disk.held = true;
        while (station_draft(st, "flash", &any, package, &upgrade, 0, &job, &err) == 0) {
                n++;
                job_discard(job);
        }
        ck_assert_int_eq(err.error, BUS_ERROR_STORE);
        ck_assert_uint_ge(n, ID_BLOCK - 10);
        disk.held = false;
        settle();
        ck_assert_int_eq(station_draft(st, "flash", &any, package, &upgrade, 0, &job, &err), 0);
}
END_TEST

START_TEST(labels) {
        ck_assert_int_eq(slot_set_label(slot_at(1), "left 1", &err), 0);
        ck_assert_str_eq(disk.slot.label, "left 1");
        ck_assert_int_eq(slot_set_label(slot_at(2), "left 1", &err), -1);
        ck_assert_int_eq(slot_set_label(slot_at(2), "a/b", &err), -1);
        ck_assert_int_eq(slot_set_label(slot_at(2), "123456789012345678901234567890123", &err), -1);
        ck_assert_int_eq(slot_set_label(slot_at(1), "", &err), 0);
        ck_assert_int_eq(slot_set_label(slot_at(2), "", &err), 0);
        ck_assert_ptr_null(station_need_slot(st, "nonsense", &err));
}
END_TEST

START_TEST(what_a_loader_showed_is_told_to_the_next_job) {
        Job *job = flash(any);
        char loader[65], text[128];
        JobSpec *spec;

        plug(1);
        spec = worker_of(job)->spec;
        memcpy(loader, spec->plan->loader[1], sizeof(loader));
        ck_assert_uint_eq(strlen(loader), 64);
        ck_assert_ptr_null(traits_get(spec->traits + 1, "q:X"));
        snprintf(text, sizeof(text), "%s q:X unknown", loader);
        for (unsigned i = 0; i < 2; i++) { /* told twice, written once */
                post(job, (WorkerRecord){.type = RECORD_STEP, .stage = STAGE_IDENTIFY});
                WorkerRecord r = {.type = RECORD_FACT, .key = "trait"};
                snprintf(r.value, sizeof(r.value), "%s", text);
                post(job, r);
        }
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_uint_eq(disk.n_traits, 1);
        ck_assert_str_eq(disk.trait.loader, loader);
        ck_assert_str_eq(disk.trait.trait, "q:X");
        job = flash(any);
        plug(2);
        ck_assert_str_eq(traits_get(worker_of(job)->spec->traits + 1, "q:X"), "unknown");
        ck_assert_ptr_null(traits_get(worker_of(job)->spec->traits, "q:X"));
        done(job, 0, CLASS_NONE, STAGE_INVALID);
}
END_TEST

/* What it needed in a job is a fact like others; the next job gets longer limits, is watched for longer, and says so in its record. */
START_TEST(a_loader_that_was_slow_gets_longer) {
        WorkerRecord r = {.type = RECORD_FACT, .key = "trait"};
        BslDeadlines set;
        Job *job;

        st->settings.deadlines.repartition = 100000;
        set = st->settings.deadlines;
        job = flash(any);
        plug(1);
        ck_assert_int_eq(memcmp(&worker_of(job)->spec->deadlines, &set, sizeof(set)), 0);
        post(job, (WorkerRecord){.type = RECORD_STEP, .stage = STAGE_IDENTIFY});
        snprintf(r.value, sizeof(r.value), "%s t:repartition 90000", worker_of(job)->spec->plan->loader[1]);
        post(job, r);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_ptr_null(strstr(disk.record.json, "limits"));
        unplug(1);
        pass_time(10000000);
        job = flash(any);
        plug(1);
        set.repartition = 180000;
        ck_assert_int_eq(memcmp(&worker_of(job)->spec->deadlines, &set, sizeof(set)), 0);
        ck_assert_int_eq(memcmp(&job->run->deadlines, &set, sizeof(set)), 0);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_msg(strstr(disk.record.json, "\"limits\":\"RepartitionSec=180 instead of 100\""), "%s", disk.record.json);
        st->settings.fixed_deadlines = true;
        job = flash(any);
        plug(2);
        ck_assert_int_eq(memcmp(&worker_of(job)->spec->deadlines, &st->settings.deadlines, sizeof(set)), 0);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_ptr_null(strstr(disk.record.json, "limits"));
}
END_TEST

START_TEST(probe_leaves_the_unit_fresh) {
        Device *d = plug(1);
        Job *job, *other;

        ck_assert_int_eq(station_probe(st, d, 0, &job, &err), 0);
        ck_assert_int_eq(d->state, DEVICE_STATE_PROBING);
        ck_assert_int_eq(station_probe(st, d, 0, &other, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_DEVICE_BUSY);
        step(job, 0, STAGE_HANDSHAKE);
        post(job, (WorkerRecord){.type = RECORD_FACT, .key = "loader-version", .value = "SPRD3"});
        post(job, (WorkerRecord){.type = RECORD_FACT, .key = "chip-uid", .value = "1234"});
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(job->result, JOB_RESULT_DONE);
        ck_assert_str_eq(d->loader_version, "SPRD3");
        ck_assert_str_eq(d->facts[0].value, "1234");
        ck_assert_uint_eq(slot_at(1)->passed, 0);
        ck_assert_int_eq(flash(any)->state, JOB_STATE_RUNNING);
}
END_TEST

/* After its reset a unit is on the bus for a moment, after a power-off until it is unplugged: nothing begins there. */
START_TEST(a_restarted_unit_takes_nothing) {
        Device *d = plug(1);
        Target target = ON_DEVICE(d);
        Job *job, *other;

        ck_assert_int_eq(station_reset(st, d, _i == 1, 0, &job, &err), 0);
        step(job, 1, STAGE_FINISH);
        ck_assert_int_eq(d->state, DEVICE_STATE_BUSY);
        done(job, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(job->result, JOB_RESULT_DONE);
        ck_assert_int_eq(d->state, DEVICE_STATE_PRESENT);
        device_classify_all(st); /* as after a reload */
        ck_assert_int_eq(d->state, DEVICE_STATE_PRESENT);
        ck_assert_int_eq(station_flash(st, &target, package, &upgrade, 0, &other, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_WRONG_STATE);
        ck_assert_int_eq(station_probe(st, d, 0, &other, &err), -1);
        job = flash(ON_SLOT(1));
        other = flash(any);
        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        ck_assert_str_eq(job->user_action, "replug");
        ck_assert_int_eq(other->state, JOB_STATE_WAITING);
        unplug(1);
        ck_assert_str_eq(job->user_action, "plug-in");
        (void) plug(1);
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
}
END_TEST

/* A reset that failed leaves the unit as it is. */
START_TEST(a_failed_reset_leaves_the_unit) {
        Device *d = plug(1);
        Job *job;

        ck_assert_int_eq(station_reset(st, d, false, 0, &job, &err), 0);
        step(job, 1, STAGE_FINISH);
        done(job, 1, CLASS_REFUSED, STAGE_FINISH);
        ck_assert_int_eq(d->state, DEVICE_STATE_IDLE);
        ck_assert_int_eq(flash(ON_DEVICE(d))->state, JOB_STATE_RUNNING);
}
END_TEST

/* How long a unit has been there is what tells a boot ROM that wakes up from a loader that somebody met before. */
START_TEST(time_on_the_bus) {
        Job *job;

        (void) plug(1);
        pass_time(7000000);
        job = flash(ON_SLOT(1));
        ck_assert_uint_ge(worker_of(job)->spec->on_bus_ms, 7000);
        job = flash(ON_SLOT(2));
        (void) plug(2);
        ck_assert_uint_lt(worker_of(job)->spec->on_bus_ms, 1000);
}
END_TEST

/* ---- stopping and starting again ---- */

static unsigned stopped;
static void on_stopped(void *userdata _unused_) {
        stopped++;
}

START_TEST(stop_lets_writers_finish) {
        Job *harmless = flash(any), *writer = flash(any), *waiting = flash(any);

        (void) plug(1);
        (void) plug(2);
        step(harmless, 0, STAGE_HANDSHAKE);
        post(writer, (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_ERASE});
        settle();
        stopped = 0;
        station_stop(st, on_stopped, NULL);
        ck_assert(worker_of(harmless)->cancelled);
        ck_assert(!worker_of(writer)->cancelled);
        done(harmless, -ECANCELED, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(harmless->result, JOB_RESULT_INTERRUPTED);
        ck_assert_str_eq(harmless->code, "handshake-host-interrupted");
        ck_assert_uint_eq(stopped, 0);
        (void) plug(3);
        ck_assert_int_ne(waiting->state, JOB_STATE_RUNNING);
        station_stop(st, on_stopped, NULL);
        ck_assert(worker_of(writer)->cancelled);
        disk.held = true;
        done(writer, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_uint_eq(stopped, 0);
        disk.held = false;
        settle();
        ck_assert_uint_eq(stopped, 1);
        ck_assert_int_eq(writer->result, JOB_RESULT_DONE);
}
END_TEST

static StoreJob row(uint64_t id, JobState state) {
        StoreJob j = {.id = id,
                      .kind = "flash",
                      .state = state,
                      .target_any = true,
                      .stage = STAGE_INVALID,
                      .failure = FAILURE_INIT};
        snprintf(j.digest, sizeof(j.digest), DIGEST);
        return j;
}

START_TEST(restart) {
        static StorePackage p = {.digest = DIGEST, .name = "x.pac", .size = 1234};
        static StoreSlot slots[] = {{.port = "usb-0:1", .label = "left", .enabled = true, .passed = 7}};
        StoreJob jobs[3] = {row(10, JOB_STATE_FINISHED), row(11, JOB_STATE_RUNNING), row(12, JOB_STATE_WAITING)};
        Job *again;

        jobs[0].result = JOB_RESULT_DONE;
        jobs[1].stage = STAGE_WRITE;
        jobs[1].step = 3;
        jobs[1].step_count = 4;
        jobs[1].started_usec = 5;
        snprintf(jobs[1].port, sizeof(jobs[1].port), "usb-0:1");
        snprintf(jobs[1].unit, sizeof(jobs[1].unit), "%s", _i == 0 ? "63c0a935" : "flash:63c0");
        disk.snapshot = (StoreSnapshot){1, 1, 3, slots, &p, jobs, 1001};
        disk.next_id = 1001;
        present_at_start[n_present_at_start++] = device_at(1, 9);
        begin();
        settle();
        ck_assert_str_eq(slot_at(1)->label, "left");
        ck_assert_uint_eq(slot_at(1)->passed, 7);
        Job *interrupted = station_find_job(st, 11), *queued = station_find_job(st, 12);
        ck_assert_int_eq(station_find_job(st, 10)->result, JOB_RESULT_DONE);
        ck_assert_int_eq(interrupted->result, JOB_RESULT_INTERRUPTED);
        ck_assert_str_eq(interrupted->code, "write-host-interrupted");
        ck_assert(interrupted->failure.must_reflash);
        ck_assert_str_eq(slot_at(1)->last_result, "interrupted");
        ck_assert(strstr(interrupted->failure.text, "step 4 of 4"));
        ck_assert_int_eq(queued->state, JOB_STATE_QUEUED); /* its package is being checked */
        ck_assert_ptr_null(queued->plan);
        finish_task(0, NULL);
        ck_assert_ptr_nonnull(queued->plan);
        ck_assert_int_eq(queued->state, JOB_STATE_WAITING); /* the unit in the socket was in use: only on request */
        /* its loader had told the unit's UID, so it can be asked for that again */
        ck_assert_str_eq(slot_at(1)->device->left, _i == 0 ? interrupted->digest : "");
        ck_assert_int_eq(job_retry(interrupted, 0, &again, &err), 0);
        ck_assert_str_eq(slot_at(1)->device->left, "");
        ck_assert_uint_ge(again->id, 1001);
        ck_assert_int_eq(again->state, JOB_STATE_RUNNING);
        (void) plug(2);
        ck_assert_int_eq(queued->state, JOB_STATE_RUNNING);
}
END_TEST

/* It is still in its socket: that it passed, or failed, is as true as before. */
START_TEST(a_unit_keeps_its_outcome) {
        static StorePackage p = {.digest = DIGEST, .name = "x.pac"};
        StoreJob jobs[1] = {row(12, JOB_STATE_FINISHED)};

        present_at_start[n_present_at_start] = device_at(1, 9);
        present_at_start[n_present_at_start++].initialized_usec = now_monotonic() - 1000000;
        jobs[0].result = _i == 0 ? JOB_RESULT_DONE : JOB_RESULT_FAILED;
        jobs[0].started_usec = now_realtime() + (_i == 2 ? (uint64_t) -60000000 : 0);
        snprintf(jobs[0].port, sizeof(jobs[0].port), "usb-0:1");
        disk.snapshot = (StoreSnapshot){0, 1, 1, NULL, &p, jobs, 1001};
        disk.next_id = 1001;
        begin();
        settle();
        ck_assert_int_eq(slot_at(1)->state, _i == 0 ? SLOT_STATE_PASSED : _i == 1 ? SLOT_STATE_FAILED : SLOT_STATE_OCCUPIED);
        ck_assert_str_eq(slot_at(1)->action, _i == 2 ? "" : "unplug"); /* the last one came after that job */
}
END_TEST

START_TEST(restart_with_damaged_package) {
        static StorePackage p = {.digest = DIGEST, .name = "x.pac"};
        StoreJob jobs[1] = {row(12, JOB_STATE_QUEUED)};
        Failure f = FAILURE_INIT;
        Job *job;

        disk.snapshot = (StoreSnapshot){0, 1, 1, NULL, &p, jobs, 1001};
        disk.next_id = 1001;
        begin();
        settle();
        failure_set(&f, CLASS_PLAN, "crc2", "The copy is damaged.");
        finish_task(1, &f);
        package = station_packages(st);
        ck_assert_str_eq(package->problem, "The copy is damaged.");
        ck_assert_int_eq(station_find_job(st, 12)->result, JOB_RESULT_FAILED);
        ck_assert_int_eq(station_flash(st, &any, package, &upgrade, 0, &job, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_BAD_PACKAGE);
        import_package(); /* the same content again mends it */
        (void) flash(any);
}

/* ---- batches ---- */

static Batch *start_batch(unsigned n_slots, const char *const (*values)[2]) {
        Slot *slots[8];
        BatchRequest q = {.name = "b", .package = package, .slots = slots, .n_slots = n_slots};
        char why[400];
        Batch *b;

        policy_default(&q.policy);
        for (size_t i = 0; values && values[i][0]; i++)
                ck_assert_msg(policy_set(&q.policy, values[i][0], values[i][1], why, sizeof(why)) == 0, "%s", why);
        for (unsigned i = 0; i < n_slots; i++)
                slots[i] = slot_at((int) i + 1);
        ck_assert_msg(station_start_batch(st, &q, &b, &err) == 0, "%s", err.text);
        settle();
        return b;
}
static Job *job_at(int port) {
        settle();
        return slot_at(port)->running;
}
static void fact(Job *job, const char *key, const char *value) {
        WorkerRecord r = {.type = RECORD_FACT};

        snprintf(r.key, sizeof(r.key), "%s", key);
        snprintf(r.value, sizeof(r.value), "%s", value);
        post(job, r);
        settle();
}
static void swap_unit(int port) {
        unplug(port);
        pass_time(4000000); /* a hand needs that long */
        plug(port);
        settle();
}
static void fail_at(int port, FailClass class, Stage stage) {
        Job *job = job_at(port);

        ck_assert_ptr_nonnull(job);
        step(job, 3, stage);
        done(job, 1, class, stage);
}

START_TEST(batch_to_its_count) {
        static const char *const values[][2] = {{"count", "3"}, {NULL, NULL}};
        Batch *b = start_batch(2, values);

        ck_assert_str_eq(slot_at(1)->action, "plug-in");
        plug(1);
        plug(2);
        plug(3); /* of no batch */
        settle();
        ck_assert_ptr_null(job_at(3));
        ck_assert_uint_eq(job_at(1)->batch, b->id);
        pass(job_at(1));
        ck_assert_uint_eq(b->passed, 1);
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_PASSED);
        ck_assert_str_eq(slot_at(1)->action, "unplug");
        ck_assert_ptr_null(job_at(1)); /* the same unit is not flashed again */
        swap_unit(1);
        ck_assert_ptr_nonnull(job_at(1));
        pass(job_at(1));
        swap_unit(1); /* one is under way in slot 2, and three are enough */
        ck_assert_ptr_null(job_at(1));
        pass(job_at(2));
        ck_assert_int_eq(b->state, BATCH_STATE_COMPLETE);
        ck_assert_uint_eq(disk.batch.passed, 3);
        ck_assert_ptr_null(slot_at(1)->batch);
        ck_assert_int_lt(batch_resume(b, &err), 0);
}
END_TEST

START_TEST(a_package_may_go_after_its_batch) {
        Batch *b = start_batch(1, NULL);

        ck_assert_int_eq(package_remove(package, &err), -1);
        ck_assert_int_eq(err.error, BUS_ERROR_PACKAGE_IN_USE);
        ck_assert_int_eq(batch_stop(b, &err), 0);
        settle();
        ck_assert_ptr_eq(b->package, package);
        ck_assert_int_eq(package_remove(package, &err), 0);
        ck_assert_ptr_null(b->package);
        ck_assert_str_ne(b->package_name, "");
}
END_TEST

START_TEST(line_stops_after_k_alike) {
        static const char *const values[][2] = {{"stop-after", "3/5"}, {NULL, NULL}};
        Batch *b = start_batch(2, values);

        plug(1);
        plug(2);
        settle();
        step(job_at(2), 3, STAGE_WRITE);
        fail_at(1, CLASS_REFUSED, STAGE_WRITE);
        swap_unit(1);
        fail_at(1, CLASS_REFUSED, STAGE_CHECKING); /* another kind */
        swap_unit(1);
        fail_at(1, CLASS_REFUSED, STAGE_WRITE);
        ck_assert_int_eq(b->state, BATCH_STATE_RUNNING);
        swap_unit(1);
        fail_at(1, CLASS_REFUSED, STAGE_WRITE);
        ck_assert_int_eq(b->state, BATCH_STATE_PAUSED);
        ck_assert_msg(strstr(b->reason, "3 of the last 4 units failed alike"), "%s", b->reason);
        ck_assert(!worker_of(job_at(2))->cancelled); /* what writes goes on */
        swap_unit(1);
        ck_assert_ptr_null(job_at(1));
        pass(job_at(2));
        ck_assert_uint_eq(b->passed, 1);
        ck_assert_int_eq(b->state, BATCH_STATE_PAUSED);
        ck_assert_int_eq(batch_resume(b, &err), 0);
        ck_assert_ptr_nonnull(job_at(1));
        fail_at(1, CLASS_REFUSED, STAGE_WRITE); /* what was before does not count */
        ck_assert_int_eq(b->state, BATCH_STATE_RUNNING);
}
END_TEST

START_TEST(retries_are_bounded_and_smaller) {
        static const char *const values[][2] = {{"stop-after", "never"}, {"retry", "garbled:2"}, {NULL, NULL}};
        Batch *b = start_batch(1, values);
        uint64_t first;

        plug(1);
        settle();
        first = job_at(1)->id;
        fail_at(1, CLASS_GARBLED, STAGE_WRITE);
        ck_assert_str_eq(slot_at(1)->action, "replug");
        ck_assert_ptr_null(job_at(1)); /* not in the broken session */
        swap_unit(1);
        ck_assert_uint_eq(job_at(1)->retry_of, first);
        ck_assert_uint_eq(job_at(1)->run->smaller_blocks, 1);
        fail_at(1, CLASS_GARBLED, STAGE_WRITE);
        swap_unit(1);
        ck_assert_uint_eq(job_at(1)->run->smaller_blocks, 2);
        fail_at(1, CLASS_GARBLED, STAGE_WRITE);
        ck_assert_str_eq(slot_at(1)->action, "unplug"); /* enough of this one */
        swap_unit(1);
        ck_assert_uint_eq(job_at(1)->retry_of, 0);
        fail_at(1, CLASS_REFUSED, STAGE_WRITE);
        swap_unit(1);
        ck_assert_uint_eq(job_at(1)->retry_of, 0); /* refusals do not heal */
        ck_assert_uint_eq(b->failed, 4);
        ck_assert_uint_eq(slot_at(1)->garbled, 3);
}
END_TEST

/* Its loader proved that nothing is outstanding: nobody has to unplug it. */
START_TEST(retries_by_itself) {
        static const char *const values[][2] = {{"stop-after", "2/5"}, {"retry", "garbled:3 silent:1"}, {NULL, NULL}};
        WorkerRecord r = {.type = RECORD_DONE, .result = 1, .failure = FAILURE_INIT, .report.resting.valid = true};
        Batch *b = start_batch(2, values);
        Job *first, *job;

        plug(1);
        settle();
        failure_set(&r.failure, CLASS_GARBLED, "", "made up");
        r.failure.stage = STAGE_WRITE;
        first = job_at(1);
        for (unsigned n = 1; n <= 3; n++) {
                job = job_at(1);
                ck_assert_ptr_nonnull(job);
                step(job, 3, STAGE_WRITE);
                post(job, r);
                settle();
                ck_assert_ptr_nonnull(job_at(1));
                ck_assert_uint_eq(job_at(1)->retry_of, job->id);
                ck_assert_uint_eq(job_at(1)->run->smaller_blocks, n);
                ck_assert(worker_of(job_at(1))->spec->resting.valid);
        }
        ck_assert_uint_ne(job_at(1)->id, first->id);
        /* It is one unit that fails, not three: the line goes on. */
        ck_assert_int_eq(b->state, BATCH_STATE_RUNNING);
        step(job_at(1), 3, STAGE_WRITE);
        post(job_at(1), r);
        settle();
        ck_assert_ptr_null(job_at(1)); /* enough */
        ck_assert_str_eq(slot_at(1)->action, "unplug");
        ck_assert_int_eq(b->state, BATCH_STATE_RUNNING);
        /* A second one is another unit. */
        plug(2);
        settle();
        fail_at(2, CLASS_GARBLED, STAGE_WRITE);
        ck_assert_int_eq(b->state, BATCH_STATE_PAUSED);
        ck_assert_msg(strstr(b->reason, "2 of the last 2 units failed alike"), "%s", b->reason);
}
END_TEST

/* Somebody takes a unit out while its first loader starts and puts the next one in: the job of the first one fails, and the next one is flashed.
 * One that is back at once may be the same: it failed. */
START_TEST(the_next_unit_came_too_soon) {
        WorkerRecord r = {.type = RECORD_DONE, .result = 1, .failure = FAILURE_INIT};
        Batch *b = start_batch(1, NULL);
        Job *job;

        plug(1);
        settle();
        job = job_at(1);
        step(job, 0, STAGE_EXEC_FDL1);
        expect(job);
        unplug(1);
        pass_time(_i == 0 ? 4000000 : 500000);
        plug(1);
        ck_assert_int_eq(worker_of(job)->answers, 1);
        failure_set(&r.failure, CLASS_MISMATCH, "other-unit", "made up");
        r.failure.stage = STAGE_EXEC_FDL1;
        post(job, r);
        settle();
        ck_assert_int_eq(job->result, JOB_RESULT_FAILED);
        if (_i == 1) {
                ck_assert_ptr_null(job_at(1));
                ck_assert_str_eq(slot_at(1)->action, "unplug");
                return;
        }
        ck_assert_ptr_nonnull(job_at(1));
        ck_assert_uint_gt(job_at(1)->id, job->id);
        ck_assert_uint_eq(job_at(1)->retry_of, 0);
        ck_assert(worker_of(job_at(1))->spec->resting.rom);
        pass(job_at(1));
        ck_assert_uint_eq(b->passed, 1);
        ck_assert_uint_eq(b->failed, 1);
}
END_TEST

START_TEST(a_good_unit_is_skipped) {
        const StoreRecord before = {.job = 7, .digest = DIGEST, .result = "done"}, other = {.job = 8, .digest = "ffff", .result = "done"};
        Batch *b = start_batch(1, NULL);
        Job *job;

        disk.found = &before;
        disk.n_found = 1;
        plug(1);
        job = job_at(1);
        step(job, 1, STAGE_IDENTIFY);
        fact(job, "chip-uid", "c0ffee");
        ck_assert_str_eq(disk.asked.chip, "c0ffee");
        ck_assert(worker_of(job)->cancelled);
        post(job, (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_ERASE}); /* it was quicker */
        settle();
        ck_assert_int_eq(worker_of(job)->go_error, -ECANCELED);
        done(job, -ECANCELED, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(job->result, JOB_RESULT_SKIPPED);
        ck_assert_str_eq(disk.record.result, "skipped");
        ck_assert_uint_eq(disk.record.batch, b->id);
        ck_assert_uint_eq(b->skipped, 1);
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_PASSED);
        /* it got something else since: that is another matter */
        disk.found = &other;
        swap_unit(1);
        fact(job_at(1), "chip-uid", "c0ffee");
        ck_assert(!worker_of(job_at(1))->cancelled);
}
END_TEST

START_TEST(a_unit_unlike_the_others) {
        Batch *b = start_batch(1, NULL);
        Job *job;

        plug(1);
        fact(job_at(1), "storage", "emmc");
        pass(job_at(1));
        swap_unit(1);
        job = job_at(1);
        fact(job, "storage", "ufs");
        ck_assert_int_eq(b->state, BATCH_STATE_PAUSED);
        ck_assert(worker_of(job)->cancelled);
        done(job, -ECANCELED, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(job->result, JOB_RESULT_FAILED);
        ck_assert_str_eq(job->code, "identify-mismatch-cohort");
        /* a person agreed */
        ck_assert_int_eq(batch_resume(b, &err), 0);
        swap_unit(1);
        fact(job_at(1), "storage", "ufs");
        ck_assert(!worker_of(job_at(1))->cancelled);
        ck_assert_int_eq(b->state, BATCH_STATE_RUNNING);
}
END_TEST

START_TEST(a_changed_image_stops_the_line) {
        Batch *b = start_batch(1, NULL);

        map_changed = true;
        plug(1);
        ck_assert_ptr_null(job_at(1));
        map_changed = false;
        ck_assert_int_eq(b->state, BATCH_STATE_PAUSED);
        ck_assert_ptr_nonnull(strstr(b->reason, "changed on disk"));
}
END_TEST

/* A unit that was greeted and waits has not begun: a pause holds it, a drain sends it away, and one that was unplugged hears of it. */
START_TEST(a_pause_holds_who_waits) {
        static const char *const values[][2] = {{"first-article", "confirm"}, {NULL, NULL}};
        Batch *b = start_batch(2, values);
        Job *first, *second;

        plug(1);
        plug(2);
        settle();
        first = job_at(1);
        second = job_at(2);
        step(first, 0, STAGE_HANDSHAKE);
        step(second, 0, STAGE_HANDSHAKE);
        post(first, (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_LOAD_FDL1});
        post(second, (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_LOAD_FDL1});
        settle();
        done(first, 0, CLASS_NONE, STAGE_INVALID);
        ck_assert_int_eq(b->first, FIRST_CONFIRM);
        ck_assert_int_eq(batch_pause(b, &err), 0);
        ck_assert_int_eq(batch_confirm(b, &err), 0);
        pass_time(1000000);
        ck_assert_int_eq(worker_of(second)->n_go, 0);
        ck_assert_str_eq(slot_at(2)->action, "wait");
        switch (_i) {
        case 0:
                ck_assert_int_eq(batch_resume(b, &err), 0);
                settle();
                ck_assert_int_eq(worker_of(second)->n_go, 1);
                ck_assert(!worker_of(second)->cancelled);
                break;
        case 1:
                ck_assert_int_eq(batch_drain(b, &err), 0);
                settle();
                ck_assert(worker_of(second)->cancelled);
                ck_assert_int_eq(worker_of(second)->n_go, 1);
                done(second, -ECANCELED, CLASS_NONE, STAGE_INVALID);
                ck_assert_int_eq(b->state, BATCH_STATE_STOPPED);
                break;
        default:
                unplug(2);
                pass_time(1000000);
                ck_assert_int_eq(worker_of(second)->n_go, 1);
        }
}
END_TEST

START_TEST(the_first_article_goes_alone) {
        static const char *const values[][2] = {{"first-article", "confirm"}, {NULL, NULL}};
        Batch *b = start_batch(2, values);
        Job *first, *second;

        plug(1);
        plug(2);
        first = job_at(1);
        second = job_at(2);
        ck_assert_ptr_nonnull(second); /* greeted at once */
        post(first, (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_LOAD_FDL1});
        post(second, (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_LOAD_FDL1});
        settle();
        ck_assert_int_eq(worker_of(first)->n_go, 1);
        ck_assert_int_eq(worker_of(second)->n_go, 0);
        ck_assert_str_eq(slot_at(2)->action, "wait");
        pass_time(120000000); /* it is no hung worker */
        ck_assert_int_eq(second->state, JOB_STATE_RUNNING);
        pass(first);
        ck_assert_int_eq(b->first, FIRST_CONFIRM);
        ck_assert_int_eq(worker_of(second)->n_go, 0);
        ck_assert_int_eq(batch_confirm(b, &err), 0);
        ck_assert_int_eq(worker_of(second)->n_go, 1);
        ck_assert_int_lt(batch_confirm(b, &err), 0);
}
END_TEST

START_TEST(second_loaders_start_one_after_the_other) {
        (void) start_batch(2, NULL);
        plug(1);
        plug(2);
        post(job_at(1), (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_EXEC_FDL2});
        post(job_at(2), (WorkerRecord){.type = RECORD_GATE, .step = 1, .stage = STAGE_EXEC_FDL2});
        settle();
        ck_assert_int_eq(worker_of(job_at(1))->n_go + worker_of(job_at(2))->n_go, 1);
        pass_time(100000);
        ck_assert_int_eq(worker_of(job_at(1))->n_go, 1);
        ck_assert_int_eq(worker_of(job_at(2))->n_go, 1);
}
END_TEST

/* For its place among the writers a unit may wait longer than for a disk. */
START_TEST(a_writer_too_many_is_held_without_a_limit) {
        Controller *c;
        Worker *fifth;

        (void) start_batch(5, NULL);
        for (int i = 1; i <= 5; i++)
                plug(i);
        c = st->controllers;
        c->rate[4] = c->rate[5] = 1e6;
        c->seen_usec[5] = now_monotonic();
        for (int i = 1; i <= 5; i++) {
                post(job_at(i), (WorkerRecord){.type = RECORD_INTENT, .step = 2, .stage = STAGE_ERASE});
                settle();
        }
        fifth = worker_of(job_at(5));
        ck_assert_int_eq(worker_of(job_at(4))->n_go, 1);
        ck_assert(!worker_of(job_at(4))->held);
        ck_assert_int_eq(fifth->n_go, 0);
        ck_assert(fifth->held);
        /* what was learned is not believed for ever */
        pass_time(61000000);
        schedule_run(st);
        ck_assert_int_eq(fifth->n_go, 1);
}
END_TEST

START_TEST(unlisted_sockets_are_left_alone) {
        Job *job;

        ck_assert_int_eq(slot_set_listed(slot_at(1), true, &err), 0);
        job = flash(any);
        plug(2);
        settle();
        ck_assert_int_eq(job->state, JOB_STATE_WAITING);
        ck_assert_int_eq(slot_at(2)->state, SLOT_STATE_DISABLED);
        plug(1);
        settle();
        ck_assert_int_eq(job->state, JOB_STATE_RUNNING);
        ck_assert(disk.slot.listed);
}
END_TEST

/* Not at once, as the next unit may come, and not here, as it takes long; and not while another unit's job reads. */
START_TEST(what_is_mapped_of_a_package_is_given_back) {
        Job *job = flash(any);
        size_t before;

        plug(1);
        before = pool.n_tasks;
        pass(job);
        pass_time(3000000);
        ck_assert_uint_eq(pool.n_tasks, before);
        unplug(1);
        job = flash(any);
        plug(1);
        map_rests = true;
        pass(job);
        pass_time(500000);
        ck_assert_uint_eq(pool.n_tasks, before);
        pass_time(1000000);
        ck_assert_uint_eq(pool.n_tasks, before + 1);
        ck_assert(map_rests);
        Task *t = pool.tasks[--pool.n_tasks];
        t->run(t);
        ck_assert(!map_rests);
        t->done(t);
        pass_time(5000000);
        ck_assert_uint_eq(pool.n_tasks, before);
}
END_TEST

START_TEST(a_bad_socket_is_closed) {
        static const char *const values[][2] = {{"stop-after", "never"}, {"retry", "0"}, {"quarantine-after", "3"}, {NULL, NULL}};

        (void) start_batch(2, values);
        plug(2);
        pass(job_at(2));
        plug(1);
        for (int i = 0; i < 3; i++) {
                fail_at(1, CLASS_GONE, STAGE_WRITE);
                swap_unit(1);
        }
        ck_assert_int_eq(slot_at(1)->state, SLOT_STATE_QUARANTINED);
        ck_assert_str_eq(slot_at(1)->action, "clear");
        ck_assert_ptr_null(job_at(1));
        ck_assert_int_eq(slot_clear_wedged(slot_at(1), &err), 0);
        ck_assert_ptr_nonnull(job_at(1));
}
END_TEST

static void restart_batch(const char *boot, BatchState expected) {
        StoreBatch row = {.id = 50, .state = BATCH_STATE_RUNNING, .name = "b", .digest = DIGEST, .slots = "usb-0:1\n", .boot_id = "boot-1",
                          .passed = 4, .policy = "count=9\n", .recent = "failed refused write\n"};
        StorePackage p = {.digest = DIGEST, .name = "x.pac"};
        Batch *b;

        setenv("FDLD_BOOT_ID", boot, 1);
        disk.snapshot = (StoreSnapshot){.n_packages = 1, .packages = &p, .n_batches = 1, .batches = &row};
        begin();
        finish_task(0, NULL);
        package = station_find_package(st, DIGEST);
        b = station_find_batch(st, 50);
        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(b->state, expected);
        ck_assert_uint_eq(b->passed, 4);
        ck_assert_uint_eq(b->policy.count, 9);
        ck_assert_uint_eq(b->n_recent, 1);
        plug(1);
        ck_assert(!job_at(1) == (expected == BATCH_STATE_PAUSED));
        if (expected == BATCH_STATE_PAUSED) {
                ck_assert_int_eq(batch_resume(b, &err), 0);
                ck_assert_ptr_nonnull(job_at(1));
        }
        unsetenv("FDLD_BOOT_ID");
}

/* The first start after the crash recorded it and ended before it could go on with the unit. The second one still takes it up, and what
 * comes to nothing there does not say that the unit were in order. */
START_TEST(a_batch_takes_its_unit_up_at_the_second_start) {
        StoreBatch batch = {.id = 5, .state = BATCH_STATE_RUNNING, .name = "b", .digest = DIGEST, .slots = "usb-0:1\n", .boot_id = "boot-1"};
        StorePackage p = {.digest = DIGEST, .name = "x.pac"};
        StoreJob jobs[2] = {row(12, JOB_STATE_RUNNING), row(11, JOB_STATE_FINISHED)}; /* the store gives the unfinished ones first */
        Job *job;

        setenv("FDLD_BOOT_ID", "boot-1", 1);
        for (int i = 0; i < 2; i++) {
                snprintf(jobs[i].port, sizeof(jobs[i].port), "usb-0:1");
                jobs[i].batch = 5;
                jobs[i].started_usec = 5;
        }
        jobs[0].stage = STAGE_HANDSHAKE;
        jobs[0].retry_of = 11;
        jobs[1].result = JOB_RESULT_INTERRUPTED;
        jobs[1].failure.must_reflash = true;
        disk.snapshot = (StoreSnapshot){.n_packages = 1, .packages = &p, .n_batches = 1, .batches = &batch, .n_jobs = 2 - (size_t) _i, .jobs = jobs + _i};
        disk.snapshot.next_id = disk.next_id = 1001;
        present_at_start[n_present_at_start++] = device_at(1, 9);
        begin();
        finish_task(0, NULL);
        package = station_find_package(st, DIGEST);
        if (_i == 0)
                ck_assert(station_find_job(st, 12)->failure.must_reflash);
        job = job_at(1);
        ck_assert_ptr_nonnull(job);
        ck_assert_uint_eq(job->retry_of, _i == 0 ? 12 : 11);
        done(job, 1, CLASS_SILENT, STAGE_HANDSHAKE);
        ck_assert_int_eq(job->result, JOB_RESULT_FAILED);
        ck_assert(job->failure.must_reflash);
        ck_assert_uint_eq(station_find_batch(st, 5)->n_recent, 0); /* nothing that the line could be stopped for */
        unsetenv("FDLD_BOOT_ID");
}
END_TEST

START_TEST(batches_survive_the_daemon) {
        restart_batch("boot-1", BATCH_STATE_RUNNING);
}
END_TEST

START_TEST(batches_wait_after_a_reboot) {
        restart_batch("boot-2", BATCH_STATE_PAUSED);
}
END_TEST
END_TEST

static Suite *suite(void) {
        Suite *s = suite_create("station");
        TCase *t = tcase_create("running"), *restarts = tcase_create("restart");

        tcase_add_checked_fixture(t, setup_ready, teardown);
        tcase_add_test(t, plug_starts_waiting_job_at_once);
        tcase_add_test(t, no_plan_is_computed_when_a_device_appears);
        tcase_add_test(t, finished_only_when_on_disk);
        tcase_add_test(t, a_used_unit_is_not_the_next_unit);
        tcase_add_test(t, present_idle_device_is_next);
        tcase_add_test(t, device_target_waits_while_busy_and_fails_when_it_leaves);
        tcase_add_test(t, add_twice_is_one_device);
        tcase_add_test(t, limits_and_inhibition_queue);
        tcase_add_test(t, disabled_slot_is_left_alone);
        tcase_add_test(t, foreign_ids_only_by_opt_in_and_shape);
        tcase_add_test(t, running_system_is_shown_only);
        tcase_add_test(t, refused_write_can_be_retried_at_once);
        tcase_add_test(t, broken_session_needs_a_replug);
        tcase_add_test(t, pulled_out_and_retried);
        tcase_add_test(t, retry_never_takes_another_unit_that_passed);
        tcase_add_test(t, claim_failure_does_not_eat_the_queue);
        tcase_add_test(t, worker_that_cannot_start);
        tcase_add_test(t, cancel);
        tcase_add_test(t, safe_to_unplug_and_cancelable_follow_the_steps);
        tcase_add_test(t, no_go_without_disk);
        tcase_add_test(t, backups_wait_for_room);
        tcase_add_test(t, changes_of_the_table_stay_open);
        tcase_add_test(t, an_open_change_is_found_by_the_unit);
        tcase_add_test(t, queued_job_that_cannot_be_recorded_is_not_begun);
        tcase_add_test(t, back_after_the_record);
        tcase_add_test(t, back_before_the_record);
        tcase_add_test(t, not_back_in_time);
        tcase_add_test(t, progress_never_falls);
        tcase_add_test(t, progress_of_many_takes_turns);
        tcase_add_test(t, stuck_worker_wedges_its_slot_only);
        tcase_add_test(t, waiting_for_the_disk_is_not_stuck);
        tcase_add_test(t, late_end_of_a_stuck_worker_frees_the_slot);
        tcase_add_test(t, import_fails_and_is_cancelled);
        tcase_add_test(t, name_of_a_package_is_cleaned);
        tcase_add_test(t, a_cancelled_draft_holds_no_files);
        tcase_add_test(t, package_in_use_stays);
        tcase_add_test(t, plan_that_is_refused_makes_no_job);
        tcase_add_test(t, drafts);
        tcase_add_test(t, many_jobs_are_bounded);
        tcase_add_test(t, numbers_wait_for_the_disk);
        tcase_add_test(t, labels);
        tcase_add_test(t, probe_leaves_the_unit_fresh);
        tcase_add_test(t, what_a_loader_showed_is_told_to_the_next_job);
        tcase_add_test(t, a_loader_that_was_slow_gets_longer);
        tcase_add_loop_test(t, a_restarted_unit_takes_nothing, 0, 2);
        tcase_add_test(t, a_failed_reset_leaves_the_unit);
        tcase_add_test(t, time_on_the_bus);
        tcase_add_test(t, stop_lets_writers_finish);
        tcase_add_test(t, batch_to_its_count);
        tcase_add_test(t, a_package_may_go_after_its_batch);
        tcase_add_test(t, line_stops_after_k_alike);
        tcase_add_test(t, retries_are_bounded_and_smaller);
        tcase_add_test(t, retries_by_itself);
        tcase_add_loop_test(t, the_next_unit_came_too_soon, 0, 2);
        tcase_add_test(t, a_good_unit_is_skipped);
        tcase_add_test(t, a_unit_unlike_the_others);
        tcase_add_test(t, a_changed_image_stops_the_line);
        tcase_add_test(t, the_first_article_goes_alone);
        tcase_add_loop_test(t, a_pause_holds_who_waits, 0, 3);
        tcase_add_test(t, second_loaders_start_one_after_the_other);
        tcase_add_test(t, a_writer_too_many_is_held_without_a_limit);
        tcase_add_test(t, unlisted_sockets_are_left_alone);
        tcase_add_test(t, a_bad_socket_is_closed);
        tcase_add_test(t, what_is_mapped_of_a_package_is_given_back);
        suite_add_tcase(s, t);
        tcase_add_checked_fixture(restarts, setup, teardown);
        tcase_add_loop_test(restarts, restart, 0, 2);
        tcase_add_loop_test(restarts, a_unit_keeps_its_outcome, 0, 3);
        tcase_add_test(restarts, batches_survive_the_daemon);
        tcase_add_test(restarts, batches_wait_after_a_reboot);
        tcase_add_test(restarts, restart_with_damaged_package);
        tcase_add_loop_test(restarts, a_batch_takes_its_unit_up_at_the_second_start, 0, 2);
        suite_add_tcase(s, restarts);
        return s;
}

int main(void) {
        SRunner *r = srunner_create(suite());
        int failed;

        /* the daemon's journal of thousands of jobs would bury what the test has to say */
        if (!getenv("FDLD_DEBUG") && !freopen("/dev/null", "we", stderr))
                return EXIT_FAILURE;
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
