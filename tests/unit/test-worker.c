/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Worker threads and their mailbox. Engine, USB channel and package are doubles, so that each test says itself what
 * happens in the thread. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "flash/mailbox.h"
#include "usb/host-causes.h"
#include "usb/usb-channel.h"

#define PATIENCE_MS 20000

/* ---- doubles --------------------------------------------------------------------------------------------- */

struct UsbChannel {
        Channel channel;
        sem_t cancelled;
};

static _Atomic int n_open, n_opened, n_cancels, denials;
static char last_node[64];
static bool stays_busy;

bool host_device_suspended(const char *sysfs) {
        return streq(sysfs, "/asleep");
}

int usb_channel_open(const char *devnode, const char *sysfs _unused_, uint16_t vendor, uint16_t product, UsbChannel **ret, Failure *f) {
        UsbChannel *u;

        ck_assert_uint_eq(vendor, 0x1782);
        ck_assert_uint_eq(product, 0x4d00);
        snprintf(last_node, sizeof(last_node), "%s", devnode);
        n_opened++;
        if (stays_busy)
                return failure_set_errno(f, EBUSY, "busy");
        if (denials > 0) {
                denials--;
                return failure_set_errno(f, EACCES, "not allowed");
        }
        u = calloc(1, sizeof(*u));
        sem_init(&u->cancelled, 0, 0);
        n_open++;
        *ret = u;
        return 0;
}

int usb_channel_open_port(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, uint8_t interface, UsbChannel **ret, Failure *f) {
        (void) interface;
        return usb_channel_open(devnode, sysfs, vendor, product, ret, f);
}

UsbChannel *usb_channel_close(UsbChannel *u) {
        if (u) {
                n_open--;
                sem_destroy(&u->cancelled);
                free(u);
        }
        return NULL;
}

Channel *usb_channel_get(UsbChannel *u) {
        return &u->channel;
}

void usb_channel_cancel(UsbChannel *u) {
        n_cancels++;
        sem_post(&u->cancelled);
}

MappedFile *mapped_file_unref(MappedFile *m) {
        ck_assert_ptr_null(m);
        return NULL;
}
const uint8_t *mapped_file_data(const MappedFile *m _unused_) {
        return NULL;
}
int64_t mapped_file_time(const MappedFile *m _unused_) {
        return 0;
}
uint64_t mapped_file_size(const MappedFile *m _unused_) {
        return 0;
}
bool mapped_file_ok(MappedFile *m _unused_) {
        return true;
}
void mapped_file_busy(MappedFile *m _unused_) {
}
void mapped_file_rest(MappedFile *m _unused_) {
}
void mapped_file_give_back(MappedFile *m _unused_) {
}

/* What the thread does. Steps 0 to 9 may be broken off, later ones not. */
typedef int (*Script)(const EngineHooks *h, Channel *c, EngineReport *report, Failure *f);
static Script script;

int engine_run(const EngineInput *input _unused_, Channel *channel, const EngineHooks *hooks, EngineReport *ret,
               Failure *f) {
        *ret = (EngineReport) {};
        *f = FAILURE_INIT;
        return script(hooks, channel, ret, f);
}

bool engine_cancel_safe(const Plan *plan _unused_, unsigned step) {
        return step < 10;
}

/* ---- tools ----------------------------------------------------------------------------------------------- */

static Mailbox *box;
static Worker *worker;

static void setup(void) {
        ck_assert_int_eq(mailbox_new(&box), 0);
}

static void teardown(void) {
        workers_join();
        box = mailbox_free(box);
        ck_assert_int_eq(n_open, 0);
}

static void begin(Script s) {
        JobSpec *spec = calloc(1, sizeof(*spec));

        script = s;
        spec->job_id = 42;
        strcpy(spec->name, "job-42");
        strcpy(spec->target.devnode, "/dev/bus/usb/001/007");
        spec->target.vendor = 0x1782;
        spec->target.product = 0x4d00;
        spec->plan = calloc(1, sizeof(*spec->plan));
        ck_assert_int_eq(worker_start(&spec, box, &worker), 0);
        ck_assert_ptr_null(spec);
}

static WorkerRecord take(void) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};
        WorkerRecord r;

        while (!mailbox_take(box, &r))
                ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
        return r;
}

static WorkerRecord next(RecordType type) {
        WorkerRecord r = take();

        /* The last thing that every job tells before it is over. */
        if (type == RECORD_DONE && r.type == RECORD_FACT && strcmp(r.key, "plan") == 0) {
                ck_assert_uint_eq(strlen(r.value), 64);
                r = take();
        }
        ck_assert_int_eq(r.type, type);
        ck_assert_uint_eq(r.job_id, 42);
        ck_assert_uint_gt(r.now_usec, 0);
        return r;
}

static WorkerRecord finish(void) {
        WorkerRecord r = next(RECORD_DONE);

        worker = worker_reap(worker);
        free(r.blob); /* the trace of a failure */
        r.blob = NULL;
        return r;
}

static bool readable(void) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};

        return poll(&p, 1, 0) == 1;
}

static Letter *letter(RecordType type, int step) {
        Letter *l = calloc(1, sizeof(*l));

        l->record.type = type;
        l->record.step = step;
        return l;
}

/* ---- mailbox --------------------------------------------------------------------------------------------- */

START_TEST(mailbox_keeps_order_and_signals) {
        WorkerRecord r;

        ck_assert(!readable());
        ck_assert(!mailbox_take(box, &r));
        for (int i = 0; i < 3; i++)
                mailbox_post(box, letter(RECORD_STEP, i));
        for (int i = 0; i < 3; i++) {
                ck_assert(readable());
                ck_assert(mailbox_take(box, &r));
                ck_assert_int_eq(r.step, i);
        }
        ck_assert(!readable());
        mailbox_post(box, letter(RECORD_STEP, 3));
        ck_assert(readable());
}
END_TEST

START_TEST(mailbox_drops_facts_only) {
        size_t facts = 0, steps = 0;
        WorkerRecord r;

        for (int i = 0; i < 6000; i++)
                mailbox_post(box, letter(RECORD_FACT, i));
        for (int i = 0; i < 100; i++)
                mailbox_post(box, letter(RECORD_STEP, i));
        while (mailbox_take(box, &r))
                r.type == RECORD_FACT ? facts++ : steps++;
        ck_assert_uint_eq(facts, 4096);
        ck_assert_uint_eq(steps, 100);
}
END_TEST

START_TEST(mailbox_frees_what_nobody_took) {
        Letter *l = letter(RECORD_BACKUP, 0);
        Mailbox *other = mailbox_ref(box);

        l->record.blob = malloc(100);
        box = mailbox_free(box);
        mailbox_post(other, l); /* a worker that was abandoned */
        mailbox_free(other);
}
END_TEST

#define POSTERS 8
#define POSTS 2000

static void *poster(void *userdata) {
        for (int i = 0; i < POSTS; i++) {
                Letter *l = letter(RECORD_STEP, i);

                l->record.job_id = (uint64_t) (uintptr_t) userdata;
                mailbox_post(box, l);
        }
        return NULL;
}

START_TEST(mailbox_from_many_threads) {
        struct pollfd p = {.fd = mailbox_fd(box), .events = POLLIN};
        pthread_t threads[POSTERS];
        int seen[POSTERS] = {};
        WorkerRecord r;

        for (uintptr_t i = 0; i < POSTERS; i++)
                pthread_create(&threads[i], NULL, poster, (void *) i);
        for (size_t n = 0; n < POSTERS * POSTS;) {
                if (!mailbox_take(box, &r)) {
                        ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
                        continue;
                }
                ck_assert_int_eq(r.step, seen[r.job_id]++);
                n++;
        }
        for (size_t i = 0; i < POSTERS; i++)
                pthread_join(threads[i], NULL);
        ck_assert(!mailbox_take(box, &r));
        ck_assert(!readable());
}
END_TEST

/* ---- workers --------------------------------------------------------------------------------------------- */

static int whole_job(const EngineHooks *h, Channel *c _unused_, EngineReport *report, Failure *f _unused_) {
        void *data = malloc(5);
        int r;

        memcpy(data, "IMEI", 5);
        h->step(h->userdata, 0, STAGE_HANDSHAKE, "");
        h->fact(h->userdata, "chip-uid", "0123");
        h->progress(h->userdata, 70, 100);
        r = h->backup(h->userdata, 1, "NV", data, 5);
        if (r != 0)
                return r;
        h->step(h->userdata, 12, STAGE_WRITE, "boot");
        r = h->intent(h->userdata, 12, STAGE_WRITE, "boot");
        report->bytes_done = 100;
        return r;
}

START_TEST(worker_posts_in_order) {
        uint64_t done = 0, total = 0;
        WorkerRecord r;

        begin(whole_job);
        r = next(RECORD_STEP);
        ck_assert_int_eq(r.stage, STAGE_HANDSHAKE);
        r = next(RECORD_FACT);
        ck_assert_str_eq(r.key, "chip-uid");
        ck_assert_str_eq(r.value, "0123");
        r = next(RECORD_BACKUP);
        ck_assert_str_eq(r.partition, "NV");
        ck_assert_uint_eq(r.blob_size, 5);
        ck_assert_str_eq(r.blob, "IMEI");
        free(r.blob);
        worker_progress(worker, &done, &total);
        ck_assert_uint_eq(done, 70);
        ck_assert_uint_eq(total, 100);
        worker_go(worker, 0);
        next(RECORD_STEP);
        r = next(RECORD_INTENT);
        ck_assert_int_eq(r.step, 12);
        ck_assert_str_eq(r.partition, "boot");
        ck_assert(!readable());
        worker_go(worker, 0);
        r = finish();
        ck_assert_int_eq(r.result, 0);
        ck_assert_uint_eq(r.report.bytes_done, 100);
        ck_assert(!readable());
}
END_TEST

static int only_intent(const EngineHooks *h, Channel *c _unused_, EngineReport *report _unused_, Failure *f) {
        int r;

        h->step(h->userdata, 12, STAGE_ERASE, "");
        r = h->intent(h->userdata, 12, STAGE_ERASE, "");
        if (r == -ECANCELED)
                return r;
        return r < 0 ? failure_set_errno(f, r, "no") : 0;
}

START_TEST(worker_hears_that_the_disk_is_full) {
        WorkerRecord r;

        begin(only_intent);
        next(RECORD_STEP);
        next(RECORD_INTENT);
        worker_go(worker, -ENOSPC);
        r = finish();
        ck_assert_int_eq(r.result, 1);
        ck_assert_str_eq(r.failure.detail, "disk-full");
}
END_TEST

START_TEST(worker_does_not_wait_for_ever) {
        WorkerRecord r;

        worker_go_timeout_ms = 20;
        begin(only_intent);
        next(RECORD_STEP);
        next(RECORD_INTENT);
        r = finish();
        ck_assert_int_eq(r.result, 1);
        ck_assert_int_eq(r.failure.error, ETIMEDOUT);
}
END_TEST

START_TEST(worker_that_is_held_waits_longer) {
        worker_go_timeout_ms = 200;
        begin(only_intent);
        next(RECORD_STEP);
        next(RECORD_INTENT);
        worker_hold(worker);
        usleep(400000);
        worker_go(worker, 0);
        ck_assert_int_eq(finish().result, 0);
}
END_TEST

START_TEST(cancel_ends_the_wait_for_go) {
        WorkerRecord r;

        begin(only_intent);
        next(RECORD_STEP);
        next(RECORD_INTENT);
        worker_cancel(worker);
        worker_cancel(worker);
        r = finish();
        ck_assert_int_eq(r.result, -ECANCELED);
        ck_assert_int_eq(n_cancels, 0);
}
END_TEST

/* A transfer that lasts until it is cancelled. */
static int wait_for_cancel(const EngineHooks *h, Channel *c, EngineReport *report _unused_, Failure *f) {
        UsbChannel *u = (UsbChannel *) c;

        h->step(h->userdata, 3, STAGE_LOAD_FDL1, "FDL");
        while (sem_wait(&u->cancelled) < 0)
                ck_assert_int_eq(errno, EINTR);
        return h->cancelled(h->userdata) ? -ECANCELED
                                         : failure_set(f, CLASS_HOST, "test", "cancelled without a reason");
}

START_TEST(cancel_breaks_off_a_safe_step) {
        begin(wait_for_cancel);
        next(RECORD_STEP);
        worker_cancel(worker);
        ck_assert_int_eq(finish().result, -ECANCELED);
        ck_assert_int_eq(n_cancels, 1);
}
END_TEST

static int write_on(const EngineHooks *h, Channel *c _unused_, EngineReport *report _unused_, Failure *f _unused_) {
        h->step(h->userdata, 12, STAGE_WRITE, "boot");
        while (!h->cancelled(h->userdata))
                sched_yield();
        h->step(h->userdata, 13, STAGE_WRITE, "system");
        return h->cancelled(h->userdata) ? -ECANCELED : 0;
}

START_TEST(cancel_leaves_a_write_alone) {
        begin(write_on);
        next(RECORD_STEP);
        worker_cancel(worker);
        next(RECORD_STEP);
        ck_assert_int_eq(finish().result, -ECANCELED);
        ck_assert_int_eq(n_cancels, 0);
}
END_TEST

static int reenumerate(const EngineHooks *h, Channel *c _unused_, EngineReport *report _unused_, Failure *f) {
        Channel *again = NULL;
        int r = h->reenumerate(h->userdata, 3000, &again, f);

        if (r == 0)
                ck_assert_ptr_nonnull(again);
        return r;
}

START_TEST(worker_goes_on_at_the_new_node) {
        UsbTarget target = {.devnode = "/dev/bus/usb/001/008", .vendor = 0x1782, .product = 0x4d00};
        WorkerRecord r;

        begin(reenumerate);
        r = next(RECORD_EXPECT_BACK);
        ck_assert_uint_eq(r.timeout_ms, 3000);
        ck_assert_int_eq(n_open, 0);
        worker_answer_device(worker, &target);
        ck_assert_int_eq(finish().result, 0);
        ck_assert_int_eq(n_opened, 2);
        ck_assert_str_eq(last_node, "/dev/bus/usb/001/008");
}
END_TEST

START_TEST(worker_hears_that_it_did_not_come_back) {
        WorkerRecord r;

        begin(reenumerate);
        next(RECORD_EXPECT_BACK);
        worker_answer_device(worker, NULL);
        r = finish();
        ck_assert_int_eq(r.result, 1);
        ck_assert_int_eq(r.failure.class, CLASS_GONE);
}
END_TEST

START_TEST(cancel_ends_the_wait_for_the_device) {
        begin(reenumerate);
        next(RECORD_EXPECT_BACK);
        worker_cancel(worker);
        ck_assert_int_eq(finish().result, -ECANCELED);
}
END_TEST

static int nothing(const EngineHooks *h _unused_, Channel *c _unused_, EngineReport *report _unused_,
                   Failure *f _unused_) {
        return 0;
}

START_TEST(worker_waits_for_udev_to_set_permissions) {
        denials = 2;
        begin(nothing);
        ck_assert_int_eq(finish().result, 0);
        ck_assert_int_eq(n_opened, 3);
}
END_TEST

START_TEST(worker_gives_up_on_a_node_that_stays_shut) {
        WorkerRecord r;

        denials = 1000;
        begin(nothing);
        r = finish();
        ck_assert_int_eq(r.result, 1);
        ck_assert_int_eq(r.failure.stage, STAGE_CLAIM);
        ck_assert_int_eq(r.failure.class, CLASS_HOST);
        ck_assert_str_eq(r.failure.detail, "permission");
        ck_assert_uint_ge(r.failure.waited_ms, 1000);
}
END_TEST

START_TEST(worker_does_not_repeat_other_failures) {
        char code[FAILURE_CODE_MAX];
        WorkerRecord r;

        stays_busy = true;
        begin(nothing);
        r = finish();
        ck_assert_str_eq(failure_code(&r.failure, code), "claim-host-busy");
        ck_assert_int_eq(n_opened, 1);
}
END_TEST

START_TEST(cancel_before_the_device_opens) {
        denials = 1000;
        begin(nothing);
        worker_cancel(worker);
        ck_assert_int_eq(finish().result, -ECANCELED);
}
END_TEST

static int own_fault(const EngineHooks *h _unused_, Channel *c _unused_, EngineReport *report _unused_,
                     Failure *f _unused_) {
        return -EINVAL;
}

START_TEST(own_faults_are_failures_of_class_host) {
        WorkerRecord r;

        begin(own_fault);
        r = finish();
        ck_assert_int_eq(r.result, 1);
        ck_assert_int_eq(r.failure.class, CLASS_HOST);
        ck_assert_str_ne(r.failure.text, "");
}
END_TEST

static int look_at_thread(const EngineHooks *h _unused_, Channel *c _unused_, EngineReport *report _unused_,
                          Failure *f _unused_) {
        char name[16] = "";
        sigset_t set;

        pthread_getname_np(pthread_self(), name, sizeof(name));
        ck_assert_str_eq(name, "job-42");
        pthread_sigmask(SIG_BLOCK, NULL, &set);
        ck_assert_int_eq(sigismember(&set, SIGTERM), 1);
        ck_assert_int_eq(sigismember(&set, SIGCHLD), 1);
        ck_assert_int_eq(sigismember(&set, SIGBUS), 0);
        return 0;
}

START_TEST(thread_is_named_and_deaf_to_signals) {
        sigset_t set;

        begin(look_at_thread);
        pthread_sigmask(SIG_BLOCK, NULL, &set);
        ck_assert_int_eq(sigismember(&set, SIGTERM), 0);
        ck_assert_int_eq(finish().result, 0);
}
END_TEST

static sem_t release, released;

static int hang(const EngineHooks *h, Channel *c _unused_, EngineReport *report _unused_, Failure *f _unused_) {
        h->step(h->userdata, 12, STAGE_WRITE, "");
        sem_wait(&release);
        h->fact(h->userdata, "note", "too late");
        sem_post(&released);
        return 0;
}

START_TEST(an_abandoned_worker_is_not_heard_any_more) {
        WorkerRecord r;

        sem_init(&release, 0, 0);
        sem_init(&released, 0, 0);
        begin(hang);
        next(RECORD_STEP);
        worker_abandon(worker);
        sem_post(&release);
        sem_wait(&released);
        ck_assert(!mailbox_take(box, &r));
        /* Its channel may or may not be closed by now: not ours to wait for. */
        while (n_open > 0)
                sched_yield();
}
END_TEST

static sem_t last_instructions;
static pthread_key_t at_end;

static void take_long(void *value _unused_) {
        sem_wait(&last_instructions);
}

static int end_slowly(const EngineHooks *h _unused_, Channel *c _unused_, EngineReport *report _unused_, Failure *f _unused_) {
        return pthread_setspecific(at_end, &at_end);
}

/* A thread that is done may still be kept from ending, for as long as the machine is busy. */
START_TEST(nobody_waits_for_the_last_instructions) {
        sem_init(&last_instructions, 0, 0);
        ck_assert_int_eq(pthread_key_create(&at_end, take_long), 0);
        for (unsigned i = 0; i < 3; i++) {
                begin(end_slowly);
                ck_assert_int_eq(finish().result, 0);
        }
        workers_join_ended();
        for (unsigned i = 0; i < 3; i++)
                sem_post(&last_instructions);
        workers_join();
}
END_TEST

int main(void) {
        Suite *s = suite_create("worker");
        TCase *t = tcase_create("mailbox"), *w = tcase_create("worker");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, mailbox_keeps_order_and_signals);
        tcase_add_test(t, mailbox_drops_facts_only);
        tcase_add_test(t, mailbox_frees_what_nobody_took);
        tcase_add_test(t, mailbox_from_many_threads);
        suite_add_tcase(s, t);
        tcase_add_checked_fixture(w, setup, teardown);
        tcase_set_timeout(w, 60);
        tcase_add_test(w, nobody_waits_for_the_last_instructions);
        tcase_add_test(w, worker_posts_in_order);
        tcase_add_test(w, worker_hears_that_the_disk_is_full);
        tcase_add_test(w, worker_does_not_wait_for_ever);
        tcase_add_test(w, worker_that_is_held_waits_longer);
        tcase_add_test(w, cancel_ends_the_wait_for_go);
        tcase_add_test(w, cancel_breaks_off_a_safe_step);
        tcase_add_test(w, cancel_leaves_a_write_alone);
        tcase_add_test(w, worker_goes_on_at_the_new_node);
        tcase_add_test(w, worker_hears_that_it_did_not_come_back);
        tcase_add_test(w, cancel_ends_the_wait_for_the_device);
        tcase_add_test(w, worker_waits_for_udev_to_set_permissions);
        tcase_add_test(w, worker_gives_up_on_a_node_that_stays_shut);
        tcase_add_test(w, worker_does_not_repeat_other_failures);
        tcase_add_test(w, cancel_before_the_device_opens);
        tcase_add_test(w, own_faults_are_failures_of_class_host);
        tcase_add_test(w, thread_is_named_and_deaf_to_signals);
        tcase_add_test(w, an_abandoned_worker_is_not_heard_any_more);
        suite_add_tcase(s, w);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
