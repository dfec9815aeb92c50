/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/serial.h"

#include <stdio.h>

#include "firmware/digest.h"
#include "firmware/serials.h"

#define ASK "ask"
#define GIVEN "given:"
#define STOCK "stock:"

static const char *after(const char *source, const char *word) {
        return strncmp(source, word, strlen(word)) == 0 ? source + strlen(word) : NULL;
}

/* ---- where it shall come from ---- */

static int check_given(Station *s, const char *serial, size_t max, CallError *e) {
        if (!serial_valid(serial) || strlen(serial) > max)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'serial' is no serial number that fits: 1 to %zu characters A-Z a-z 0-9 . _ - and / are possible.", max);
        for (const Job *job = station_jobs(s); job; job = job->next) {
                const char *other = after(job->run->serial, GIVEN);
                if (other && job->state != JOB_STATE_FINISHED && !job->run->concluding && streq(other, serial))
                        return call_error_set(e, BUS_ERROR_PLAN_REFUSED, "This serial number is meant for the unit of job %llu already.",
                                              (unsigned long long) job->id);
        }
        return 0;
}

static void stock_written(int error, void *userdata) {
        station_note_write(userdata, error);
}

static int put_stock(Station *s, const char *text, size_t max, char ret[static SERIAL_SOURCE_MAX], CallError *e) {
        char why[320], digest[65];
        size_t longest = 0;
        uint64_t n;
        int r;

        if (strlen(text) > SERIALS_TEXT_MAX)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The list of serial numbers is longer than 1 MiB.");
        if (serials_check(text, &n, &longest, why, sizeof(why)) < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'serials': %s", why);
        if (longest > max)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'serials': the units have room for %zu characters, and there are longer numbers.", max);
        r = digest_hex(text, strlen(text), digest);
        if (r == 0) {
                digest[32] = '\0';
                s->writes_pending++;
                r = store_put_stock(s->store, digest, text, stock_written, s);
                if (r < 0)
                        station_note_write(s, r);
        }
        if (r < 0)
                return call_error_set(e, BUS_ERROR_STORE, "The serial numbers cannot be stored: %s.", strerror(-r));
        snprintf(ret, SERIAL_SOURCE_MAX, STOCK "%s", digest);
        return 0;
}

int serial_source(Station *s, const Plan *plan, const SerialWish *wish, char ret[static SERIAL_SOURCE_MAX], CallError *e) {
        const char *serial = wish && wish->serial && wish->serial[0] ? wish->serial : NULL,
                   *serials = wish && wish->serials && wish->serials[0] ? wish->serials : NULL;
        size_t max;

        ret[0] = '\0';
        if (!plan_writes_serial(plan, &max))
                return !serial && !serials ? 0
                                           : call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                                            "A serial number is written in factory mode only, with a package that has a PhaseCheck.");
        if (serial && serials)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Only one of the options 'serial' and 'serials' can be used.");
        if (serial) {
                if (check_given(s, serial, max, e) < 0)
                        return -1;
                snprintf(ret, SERIAL_SOURCE_MAX, GIVEN "%s", serial);
                return 0;
        }
        if (serials && !streq(serials, ASK))
                return put_stock(s, serials, max, ret, e);
        snprintf(ret, SERIAL_SOURCE_MAX, ASK);
        return 0;
}

/* ---- questions to the store ---- */

typedef struct Asked {
        Station *station;
        uint64_t job;
        JobAnswered fn;
        void *userdata;
        void (*then)(Job *job, int error, const StoreSerial *serial, struct Asked *asked);
} Asked;

static void on_reserved(int error, const StoreSerial *serial, void *userdata) {
        Asked *asked = userdata;
        Station *s = asked->station;
        Job *job = station_find_job(s, asked->job);

        if (job && !job->run->concluding && job->state != JOB_STATE_FINISHED)
                asked->then(job, error, serial, asked);
        else if (asked->fn) {
                CallError e = {};
                call_error_set(&e, BUS_ERROR_WRONG_STATE, "Job %llu is over.", (unsigned long long) asked->job);
                asked->fn(&e, asked->userdata);
        }
        free(asked);
        station_note_write(s, error == -EEXIST || error == -ENODATA || error == -EBUSY || error == -ENOENT ? 0 : error);
}

static int reserve(Job *job, const char *value, const char *stock, Asked template) {
        StoreSerial q = {.job = job->id};
        Asked *asked = malloc(sizeof(*asked));
        int r;

        if (!asked)
                return -ENOMEM;
        *asked = template;
        asked->station = job->station;
        asked->job = job->id;
        snprintf(q.value, sizeof(q.value), "%s", value ? value : "");
        snprintf(q.stock, sizeof(q.stock), "%s", stock ? stock : "");
        job->station->writes_pending++;
        r = store_reserve_serial(job->station->store, &q, on_reserved, asked);
        if (r < 0) {
                free(asked);
                station_note_write(job->station, r);
        }
        return r;
}

/* Why a unit gets no number. */
static void explain(int error, uint64_t other, Failure *f) {
        switch (error) {
        case -EEXIST:
                failure_set(f, CLASS_PLAN, "serial-taken", "This serial number was given to another unit before (job %llu); nothing was written.",
                            (unsigned long long) other);
                return;
        case -ENODATA:
                failure_set(f, CLASS_PLAN, "serials-used-up", "All serial numbers of the list or range are used or in use; nothing was written.");
                return;
        default:
                failure_set_errno(f, error, "No serial number could be had from the store: %s; nothing was written.", strerror(-error));
        }
}

/* ---- a number of the job's own ---- */

static void held(Job *job, int error, const StoreSerial *serial, Asked *asked _unused_) {
        Failure f = FAILURE_INIT;

        job->run->serial_pending = false;
        if (error < 0) {
                f.stage = STAGE_CLAIM;
                explain(error, serial->other, &f);
                job_conclude(job, JOB_RESULT_FAILED, &f);
        }
        queue_run(job->station);
}

void serial_hold(Job *job) {
        const char *value = after(job->run->serial, GIVEN);
        int r;

        if (!value)
                return;
        job->run->serial_pending = true;
        r = reserve(job, value, NULL, (Asked){.then = held});
        if (r < 0)
                held(job, r, &(StoreSerial){}, NULL);
}

/* ---- the worker asks ---- */

static void refuse(Job *job, const Failure *f) {
        serial_forget(job);
        if (job->run->worker)
                worker_answer_serial(job->run->worker, NULL, f);
}

/* The unit was not waiting for itself: that time does not count against it. */
static void give(Job *job, const char *serial) {
        serial_forget(job);
        job->run->active_usec = now_monotonic();
        if (job->run->worker)
                worker_answer_serial(job->run->worker, serial, NULL);
}

static void came(Job *job, int error, const StoreSerial *serial, Asked *asked _unused_) {
        Failure f = FAILURE_INIT;

        if (error == 0) {
                give(job, serial->held);
                return;
        }
        explain(error, serial->other, &f);
        refuse(job, &f);
}

static int on_late(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Job *job = userdata;
        Failure f = FAILURE_INIT;

        failure_set(&f, CLASS_PLAN, "no-answer", "Nobody said the serial number within %g seconds; nothing was written.",
                    job->station->settings.answer_timeout_ms / 1000.0);
        refuse(job, &f);
        return 0;
}

void serial_unit_left(Job *job) {
        Failure f = FAILURE_INIT;

        if (!job->run->asking)
                return;
        failure_set(&f, CLASS_GONE, "", "The device left the bus while it waited for its serial number; nothing was written.");
        refuse(job, &f);
}

static int ask(Job *job) {
        uint64_t usec = (uint64_t) job->station->settings.answer_timeout_ms * 1000;
        int r = sd_event_add_time_relative(job->station->event, &job->run->answer_timer, CLOCK_MONOTONIC, usec, 1000, on_late, job);

        if (r < 0)
                return r;
        job->answer_by_usec = now_realtime() + usec;
        job_set_action(job, USER_ACTION_SERIAL);
        return 0;
}

/* It waits for us from here on, for as long as people need: no sign of trouble. */
void serial_wanted(Job *job, unsigned max) {
        const char *value = after(job->run->serial, GIVEN), *stock = after(job->run->serial, STOCK);
        int r;

        job->run->asking = true;
        job->run->asking_usec = now_monotonic();
        job->run->serial_max = max;
        job->run->held++;
        if (value) {
                give(job, value);
                return;
        }
        r = stock ? reserve(job, NULL, stock, (Asked){.then = came}) : ask(job);
        if (r < 0)
                came(job, r, &(StoreSerial){}, NULL);
        if (job->slot)
                slot_update(job->slot);
}

void serial_forget(Job *job) {
        JobRun *run = job->run;

        run->answer_timer = sd_event_source_disable_unref(run->answer_timer);
        if (!run->asking)
                return;
        run->asking = run->answering = false;
        run->waited_usec += now_monotonic() - run->asking_usec;
        if (run->held > 0)
                run->held--;
        job_set_action(job, "");
        if (job->slot)
                slot_update(job->slot);
}

/* ---- a person answers ---- */

static void checked(Job *job, int error, const StoreSerial *serial, Asked *asked) {
        CallError e = {};

        job->run->answering = false;
        if (error == 0 && !job->run->asking)
                error = -ETIMEDOUT;
        if (error == 0) {
                give(job, serial->held);
                asked->fn(NULL, asked->userdata);
                return;
        }
        if (error == -EEXIST)
                call_error_set(&e, BUS_ERROR_PLAN_REFUSED, "This serial number was given to another unit before (job %llu). Job %llu still asks for one.",
                               (unsigned long long) serial->other, (unsigned long long) job->id);
        else if (error == -ETIMEDOUT)
                call_error_set(&e, BUS_ERROR_WRONG_STATE, "Job %llu does not ask any more: the answer came too late.", (unsigned long long) job->id);
        else
                call_error_set(&e, BUS_ERROR_STORE, "The serial number could not be recorded: %s.", strerror(-error));
        asked->fn(&e, asked->userdata);
}

int serial_answer(Job *job, const char *value, JobAnswered fn, void *userdata, CallError *e) {
        int r;

        if (!value)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Job %llu asks for a serial number: give it as the option 'serial'.",
                                      (unsigned long long) job->id);
        if (!job->run->asking || job->state != JOB_STATE_RUNNING)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Job %llu does not ask any more.", (unsigned long long) job->id);
        if (job->run->answering)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "An answer to job %llu is being checked already.", (unsigned long long) job->id);
        if (!serial_valid(value) || strlen(value) > job->run->serial_max)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "That is no serial number that fits: 1 to %u characters A-Z a-z 0-9 . _ - and / are possible. Job %llu still asks for one.",
                                      job->run->serial_max, (unsigned long long) job->id);
        r = reserve(job, value, NULL, (Asked){.fn = fn, .userdata = userdata, .then = checked});
        if (r < 0)
                return call_error_set(e, BUS_ERROR_STORE, "The serial number could not be recorded: %s.", strerror(-r));
        job->run->answering = true;
        return 0;
}
