/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "station/evidence.h"
#include "station/internal.h"
#include "station/loaders.h"
#include "store/spool.h"

#define POOL_THREADS 4
#define FIRST_IDS_MSEC 10000
#define LAST_WRITES_MSEC 10000
#define PROBE_USEC 2000000ULL

/* ---- small tools ---- */

static uint64_t read_clock(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

uint64_t now_realtime(void) {
        return read_clock(CLOCK_REALTIME);
}

uint64_t now_monotonic(void) {
        return read_clock(CLOCK_MONOTONIC);
}

/* Length of the UTF-8 character at `s`, 0 if it is broken. */
static size_t utf8_length(const unsigned char *s, uint32_t *ret) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t n = *s < 0x80 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : (*s & 0xf8) == 0xf0 ? 4 : 0;
        uint32_t c;

        if (n == 0)
                return 0;
        c = n == 1 ? *s : *s & (0xffU >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0;
        *ret = c;
        return n;
}

static bool is_harmless(uint32_t c) {
        return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && c != 0x061c && !(c >= 0x200e && c <= 0x200f) &&
               !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

void text_clean(char *ret, size_t size, const char *text) {
        size_t used = 0;

        for (const unsigned char *s = (const unsigned char *) text; *s;) {
                uint32_t c = 0;
                size_t n = utf8_length(s, &c);
                bool good = n > 0 && is_harmless(c);

                if (used + (good ? n : 1) >= size)
                        break;
                if (good)
                        memcpy(ret + used, s, n);
                else
                        ret[used] = '_';
                used += good ? n : 1;
                s += n > 0 ? n : 1;
        }
        ret[used] = '\0';
}

/* ---- the observer ---- */

void station_set_observer(Station *s, const StationObserver *observer) {
        s->observer = observer ? *observer : (StationObserver){};
}

void notify_added(Station *s, ObjectKind kind, void *object) {
        if (s->observer.added)
                s->observer.added(s->observer.userdata, kind, object);
}

void notify_removed(Station *s, ObjectKind kind, void *object) {
        if (s->observer.removed)
                s->observer.removed(s->observer.userdata, kind, object);
}

void notify_changed(Station *s, ObjectKind kind, void *object, const char *const *properties) {
        if (s->observer.changed && (kind != OBJECT_JOB || ((const Job *) object)->exported))
                s->observer.changed(s->observer.userdata, kind, object, properties);
}

/* ---- the store: is it well, and numbers for jobs ---- */

/* While the directory cannot be written it is tried every now and then, so that work goes on soon after it was mended.
 */
static void probed(int error, uint64_t first _unused_, unsigned n _unused_, void *userdata) {
        Station *s = userdata;

        s->store_probing = false;
        station_note_write(s, error);
}

static int probe_store(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Station *s = userdata;

        s->probe = sd_event_source_disable_unref(s->probe);
        s->store_probing = true;
        s->writes_pending++;
        if (store_reserve_ids(s->store, 1, probed, s) < 0)
                probed(s->store_error, 0, 0, s);
        return 0;
}

void station_note_write(Station *s, int error) {
        if (s->writes_pending > 0)
                s->writes_pending--;
        if (error < 0 && s->store_error == 0)
                log_message(LOG_ERR, MESSAGE_STORE_BAD, "%s cannot be written: %s. No new jobs are taken until that is mended; running ones go on as "
                          "long as they can.",
                          s->directory, strerror(-error));
        else if (error >= 0 && s->store_error < 0)
                log_message(LOG_NOTICE, MESSAGE_STORE_GOOD, "%s can be written again.", s->directory);
        s->store_error = error < 0 ? error : 0;
        if (error < 0 && !s->probe && !s->store_probing && !s->stopping)
                (void) sd_event_add_time_relative(s->event, &s->probe, CLOCK_MONOTONIC, PROBE_USEC, PROBE_USEC / 10,
                                                  probe_store, s);
        station_check_stopped(s);
}

static void got_ids(int error, uint64_t first, unsigned n, void *userdata) {
        Station *s = userdata;

        s->id_pending = false;
        if (error >= 0 && s->id_next == s->id_end) {
                s->id_next = first;
                s->id_end = first + n;
        } else if (error >= 0) {
                s->id2_next = first;
                s->id2_end = first + n;
        }
        station_note_write(s, error);
}

static void reserve_ids(Station *s) {
        if (s->id_pending || s->id2_next < s->id2_end || s->id_end - s->id_next > ID_LOW)
                return;
        if (store_reserve_ids(s->store, ID_BLOCK, got_ids, s) < 0)
                return;
        s->id_pending = true;
        s->writes_pending++;
}

uint64_t station_take_id(Station *s) {
        if (s->id_next == s->id_end && s->id2_next < s->id2_end) {
                s->id_next = s->id2_next;
                s->id_end = s->id2_end;
                s->id2_next = s->id2_end = 0;
        }
        reserve_ids(s);
        return s->id_next < s->id_end ? s->id_next++ : 0;
}

int station_check_store(Station *s, CallError *e) {
        int error = s->store_error == 0 && store_full(s->store) ? -ENOSPC : s->store_error;

        if (error == 0)
                return 0;
        return call_error_set(e, BUS_ERROR_STORE,
                              "The state directory %s cannot be written (%s), so no job could be recorded. It must "
                              "belong to the user of the "
                              "daemon (uid %u), be writable and have space. Mend that and try again.",
                              s->directory, strerror(-error), (unsigned) geteuid());
}

/* Before the event loop runs it is allowed to wait: without numbers no job can be taken. */
static int wait_for_ids(Station *s, CallError *e) {
        uint64_t end = now_monotonic() + FIRST_IDS_MSEC * 1000ULL;

        reserve_ids(s);
        while (s->id_pending && now_monotonic() < end) {
                struct pollfd p = {.fd = store_fd(s->store), .events = POLLIN};
                (void) poll(&p, 1, 100);
                store_dispatch(s->store);
        }
        if (s->id_next == s->id_end)
                return call_error_set(e, BUS_ERROR_STORE, "The state directory %s cannot be written: %s.", s->directory,
                                      strerror(s->store_error ? -s->store_error : ETIMEDOUT));
        return 0;
}

/* ---- event sources ---- */

static int store_event(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Station *s = userdata;

        store_dispatch(s->store);
        return 0;
}

static int pool_event(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Station *s = userdata;

        pool_dispatch(s->pool);
        return 0;
}

static int hotplug_event(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        Station *s = userdata;
        int r = hotplug_dispatch(s->hotplug);

        if (r < 0)
                log_message(LOG_ERR, MESSAGE_DEVICE_IGNORED, "Devices could not be listed again: %s.", strerror(-r));
        return 0;
}

static int watch(Station *s, sd_event_source **ret, int fd, sd_event_io_handler_t handler, int64_t priority) {
        int r = sd_event_add_io(s->event, ret, fd, POLLIN, handler, s);

        return r < 0 ? r : sd_event_source_set_priority(*ret, priority);
}

static int add_sources(Station *s) {
        int r;

        r = watch(s, &s->store_source, store_fd(s->store), store_event, SD_EVENT_PRIORITY_NORMAL - 10);
        if (r >= 0)
                r = watch(s, &s->mailbox_source, mailbox_fd(s->mailbox), mailbox_event, SD_EVENT_PRIORITY_NORMAL - 5);
        if (r >= 0)
                r = watch(s, &s->pool_source, pool_fd(s->pool), pool_event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

/* ---- begin ---- */

/* The last thing that happened in its socket. */
static bool is_newest(const StoreSnapshot *snapshot, const StoreJob *j) {
        for (size_t i = 0; i < snapshot->n_jobs; i++)
                if (snapshot->jobs[i].id > j->id && streq(snapshot->jobs[i].port, j->port))
                        return false;
        return true;
}

/* Also those that an earlier start has recorded already: that daemon may have ended before it could go on with the unit. */
static void note_interrupted(Station *s, const StoreSnapshot *snapshot) {
        s->interrupted_ports = calloc(snapshot->n_jobs + 1, sizeof(s->interrupted_ports[0]));
        for (size_t i = 0; s->interrupted_ports && i < snapshot->n_jobs; i++) {
                const StoreJob *j = snapshot->jobs + i;
                InterruptedPort *p;
                bool running = j->state == JOB_STATE_RUNNING || j->state == JOB_STATE_CANCELLING;
                if (!j->port[0] || (!running && !(j->state == JOB_STATE_FINISHED && j->result == JOB_RESULT_INTERRUPTED && is_newest(snapshot, j))))
                        continue;
                p = s->interrupted_ports + s->n_interrupted_ports++;
                snprintf(p->port, sizeof(p->port), "%s", j->port);
                p->batch = j->batch;
                p->job = j->id;
                p->started_usec = j->started_usec;
                /* The last step may have restarted it: then it is another appearance. */
                if (j->unit[0] && strncmp(j->unit, "flash:", 6) != 0)
                        snprintf(p->digest, sizeof(p->digest), "%s", j->digest);
        }
}

static bool is_unfinished(uint64_t id, void *userdata) {
        const Job *job = station_find_job(userdata, id);

        return job && job->state != JOB_STATE_FINISHED && !job->run->concluding;
}

/* The unit hands it over, as /proc/sys is hidden from the daemon. Not known: every start counts as one after a reboot. */
static void read_boot_id(Station *s) {
        const char *given = getenv("FDLD_BOOT_ID");
        FILE *f = given && given[0] ? NULL : fopen("/proc/sys/kernel/random/boot_id", "re");

        if (given && given[0])
                text_clean(s->boot_id, sizeof(s->boot_id), given);
        else if (!f || !fgets(s->boot_id, sizeof(s->boot_id), f))
                snprintf(s->boot_id, sizeof(s->boot_id), "unknown-%llu", (unsigned long long) now_realtime());
        s->boot_id[strcspn(s->boot_id, "\n")] = '\0';
        if (f)
                fclose(f);
}

static void restore(Station *s, const StoreSnapshot *snapshot) {
        note_interrupted(s, snapshot);
        loaders_restore(s, snapshot);
        for (size_t i = 0; i < snapshot->n_slots; i++)
                slot_restore(s, snapshot->slots + i);
        for (Slot *slot = s->slots; slot; slot = slot->next) /* each is compared with all the others */
                slot_update_health(slot);
        for (size_t i = 0; i < snapshot->n_traits; i++)
                traits_restore(s, snapshot->traits + i);
        for (size_t i = 0; i < snapshot->n_packages; i++)
                package_restore(s, snapshot->packages + i);
        read_boot_id(s);
        for (size_t i = 0; i < snapshot->n_batches; i++)
                batch_restore(s, snapshot->batches + i);
        /* What is finished first: a retry looks at the attempt before it, and what was running is the last to be forgotten. */
        s->complete_from = snapshot->complete_from;
        for (int finished = 1; finished >= 0; finished--)
                for (size_t i = 0; i < snapshot->n_jobs; i++)
                        if ((snapshot->jobs[i].state == JOB_STATE_FINISHED) == finished)
                                job_restore(s, snapshot->jobs + i);
        spool_sweep(s->directory, is_unfinished, s);
}

static int open_parts(Station *s, CallError *e) {
        _cleanup_free_ char *notice = NULL;
        StoreSnapshot snapshot = {};
        int r;

        if (store_open(s->directory, &s->store, &snapshot, &notice, e) < 0)
                return -1;
        if (notice)
                log_message(LOG_WARNING, MESSAGE_STORE_DAMAGED, "%s", notice);
        r = package_store_open(s->directory, s->settings.package_quota, &s->package_store, e);
        if (r >= 0) {
                r = pool_new(POOL_THREADS, &s->pool);
                if (r >= 0)
                        r = mailbox_new(&s->mailbox);
                if (r >= 0)
                        r = add_sources(s);
                if (r < 0)
                        r = call_error_set(e, BUS_ERROR_HOST, "The daemon could not be set up: %s.", strerror(-r));
                else
                        r = wait_for_ids(s, e);
        }
        if (r >= 0)
                r = evidence_open(s, e);
        if (r >= 0)
                restore(s, &snapshot);
        store_snapshot_clear(&snapshot);
        return r < 0 ? -1 : 0;
}

int station_new(sd_event *event, const Settings *settings, const char *state_directory, Station **ret, CallError *e) {
        Station *s = calloc(1, sizeof(Station));

        if (!s)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        s->event = sd_event_ref(event);
        s->settings = *settings;
        if (snprintf(s->directory, sizeof(s->directory), "%s", state_directory) >= (int) sizeof(s->directory)) {
                station_free(s);
                return call_error_set(e, BUS_ERROR_STORE, "The name of the state directory is too long.");
        }
        if (open_parts(s, e) < 0) {
                station_free(s);
                return -1;
        }
        job_log_listen(s);
        *ret = s;
        return 0;
}

int station_start(Station *s, CallError *e) {
        int r = hotplug_new(device_event, s, &s->hotplug);

        if (r >= 0)
                r = watch(s, &s->hotplug_source, hotplug_fd(s->hotplug), hotplug_event, SD_EVENT_PRIORITY_NORMAL - 20);
        s->started = r >= 0;
        package_verify_next(s);
        if (r >= 0)
                r = hotplug_enumerate(s->hotplug);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_HOST, "USB devices cannot be watched: %s.", strerror(-r));
        s->enumerated = true;
        queue_run(s);
        return 0;
}

/* ---- end ---- */

/* What was handed to the store is written before it closes; its callbacks still find their station. */
static void drain_store(Station *s) {
        uint64_t end = now_monotonic() + LAST_WRITES_MSEC * 1000ULL;

        while (s->writes_pending > 0 && now_monotonic() < end) {
                struct pollfd p = {.fd = store_fd(s->store), .events = POLLIN};
                (void) poll(&p, 1, 100);
                store_dispatch(s->store);
        }
}

Station *station_free(Station *s) {
        sd_event_source **sources[] = {&s->store_source, &s->pool_source,    &s->mailbox_source, &s->hotplug_source,
                                       &s->tick,         &s->stopped_source, &s->probe,          &s->gate_timer,
                                       &s->tidy_timer};

        s->stopping = true;
        s->started = false;
        station_set_observer(s, NULL);
        for (size_t i = 0; i < ELEMENTSOF(sources); i++)
                *sources[i] = sd_event_source_disable_unref(*sources[i]);
        hotplug_free(s->hotplug);
        if (s->store)
                drain_store(s);
        if (s->pool)
                pool_free(s->pool);
        job_free_all(s);
        workers_join();
        station_free_waiting_backups(s);
        job_log_listen(NULL);
        if (s->mailbox)
                mailbox_free(s->mailbox);
        evidence_free(s);
        batch_free_all(s);
        device_free_all(s);
        package_free_all(s);
        loaders_free_all(s);
        slot_free_all(s);
        traits_free_all(s);
        if (s->package_store)
                package_store_free(s->package_store);
        if (s->store)
                store_close(s->store);
        free(s->interrupted_ports);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

static int report_stopped(sd_event_source *source _unused_, void *userdata) {
        Station *s = userdata;
        void (*fn)(void *userdata) = s->stopped;

        s->stopped = NULL;
        if (fn)
                fn(s->stopped_userdata);
        return 0;
}

/* Still: no thread at work and every result on disk. */
void station_check_stopped(Station *s) {
        if (!s->stopping || !s->stopped || s->n_active > 0 || s->writes_pending > 0 || s->stopped_source)
                return;
        if (sd_event_add_defer(s->event, &s->stopped_source, report_stopped, s) < 0)
                s->stopped(s->stopped_userdata);
}

/* First call: what has not changed flash yet ends, the rest goes on to its end, for a unit half written is a dead unit.
 * Called again: everything ends at its next safe point. */
void station_stop(Station *s, void (*fn)(void *userdata), void *userdata) {
        bool again = s->stopping;

        s->stopping = true;
        s->stopped = fn;
        s->stopped_userdata = userdata;
        for (Job *job = s->active, *next; job; job = next) {
                next = job->run->active_next;
                if (job->run->import) {
                        import_cancel(job);
                        job_conclude(job, JOB_RESULT_INTERRUPTED, NULL);
                } else if (job->run->worker && (again || !job->run->wrote))
                        job_request_cancel(job);
        }
        station_check_stopped(s);
}

/* ---- settings ---- */

void station_set_loader(Station *s, StationLoader load, void *userdata) {
        s->load = load;
        s->load_userdata = userdata;
}

int station_reload(Station *s, CallError *e) {
        Settings fresh;

        if (!s->load)
                return call_error_set(e, BUS_ERROR_HOST, "There is nothing to reload from.");
        settings_default(&fresh);
        if (s->load(s->load_userdata, &fresh, e) < 0)
                return -1;
        for (size_t i = 0; i < s->settings.profiles.n; i++)
                notify_removed(s, OBJECT_PROFILE, s->settings.profiles.items + i);
        fresh.package_quota = s->settings.package_quota; /* the store took it at start */
        s->settings = fresh;
        log_message(LOG_NOTICE, MESSAGE_SETTINGS, "The configuration was read again.");
        NOTIFY(s, OBJECT_STATION, s, "StationName");
        for (size_t i = 0; i < s->settings.profiles.n; i++)
                notify_added(s, OBJECT_PROFILE, s->settings.profiles.items + i);
        device_classify_all(s);
        queue_run(s);
        return 0;
}

Profile *station_profiles(Station *s, size_t *ret_n) {
        *ret_n = s->settings.profiles.n;
        return s->settings.profiles.items;
}

Profile *station_find_profile(Station *s, const char *name) {
        for (size_t i = 0; i < s->settings.profiles.n; i++)
                if (streq(s->settings.profiles.items[i].name, name))
                        return s->settings.profiles.items + i;
        return NULL;
}

unsigned station_batches_running(const Station *s) {
        unsigned n = 0;

        for (const Batch *b = s->batches; b; b = b->next)
                n += b->state == BATCH_STATE_RUNNING;
        return n;
}

const char *station_name(const Station *s) {
        return s->settings.station_name;
}

/* ---- numbers, inhibition, old jobs ---- */

const UserLimits *station_limits(const Station *s) {
        return &s->settings.limits;
}

uint64_t station_complete_from(const Station *s) {
        return s->complete_from;
}

unsigned station_jobs_running(const Station *s) {
        return s->n_running;
}

unsigned station_jobs_queued(const Station *s) {
        return s->n_queued;
}

unsigned station_jobs_destructive(const Station *s) {
        unsigned n = 0;

        for (const Job *job = s->active; job; job = job->run->active_next)
                n += job->run->wrote;
        return n;
}

void station_inhibit(Station *s) {
        if (s->inhibited++ == 0)
                NOTIFY(s, OBJECT_STATION, s, "Inhibited");
}

void station_uninhibit(Station *s) {
        if (s->inhibited == 0 || --s->inhibited > 0)
                return;
        NOTIFY(s, OBJECT_STATION, s, "Inhibited");
        queue_run(s);
}

int station_list_old_jobs(Station *s, uint64_t before, unsigned limit, StationJobsFunc fn, void *userdata) {
        return store_list_jobs(s->store, before, limit, fn, userdata);
}
