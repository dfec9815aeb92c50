/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "bus/bus-internal.h"

#define SYSTEM_BUS "unix:path=/run/dbus/system_bus_socket"
#define SEC UINT64_C(1000000)
#define JOBS_TOLD_AT_ONCE 4
#define OBJECTS_AT_ONCE 16
#define PAUSE_FOR_EACH_JOB_USEC UINT64_C(8000)

const char *bus_lost_reason(const Bus *b) {
        return b->reason;
}

bool bus_in_use(const Bus *b) {
        unsigned drafts = 0;

        for (const Peer *p = b->peers; p; p = p->next)
                drafts += p->n_drafts;
        return drafts > 0 || b->n_waiters > 0 || b->n_questions > 0 || b->n_held > 0 || b->n_leases > 0 || b->n_store_calls > 0;
}

void bus_lose(Bus *b, const char *format, ...) {
        va_list ap;

        if (b->reason[0])
                return;
        va_start(ap, format);
        vsnprintf(b->reason, sizeof(b->reason), format, ap);
        va_end(ap);
        text_mend(b->reason);
        b->named = false;
        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(b->retry, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(b->lost_source, SD_EVENT_ONESHOT);
}

/* From the loop, never from within a call of the owner's. */
static int on_lost(sd_event_source *s _unused_, void *userdata) {
        Bus *b = userdata;

        sd_bus_close(b->bus);
        if (b->lost)
                b->lost(b->userdata);
        return 0;
}

/* ---- telling, with a look at who does not listen ---- */

/* True if the bus takes what we say. While it does not, changes collect in the dirty bits: memory stays bounded and the
 * newest state is what is told in the end. */
static bool bus_listens(Bus *b) {
        uint64_t queued = 0, now = 0;

        (void) sd_bus_get_n_queued_write(b->bus, &queued);
        if (queued <= b->limits.write_soft) {
                b->stuck_since = 0;
                return true;
        }
        (void) sd_event_now(b->event, CLOCK_MONOTONIC, &now);
        if (b->stuck_since == 0)
                b->stuck_since = now;
        if (queued > b->limits.write_hard || now - b->stuck_since >= b->limits.stuck_usec)
                bus_lose(b, "The D-Bus daemon has stopped reading: %llu messages wait. Restart it, then restart fdld.",
                         (unsigned long long) queued);
        return false;
}

static int flush_later(Bus *b, uint64_t usec) {
        (void) sd_event_source_set_time_relative(b->retry, usec);
        (void) sd_event_source_set_enabled(b->retry, SD_EVENT_ONESHOT);
        return 0;
}

/* Each signal is copied to every client that listens, and many jobs have much to say: their changes are collected for a while, the longer
 * the more there are. Whoever asks gets what is so now, and the end of a job is told at once. */
static uint64_t rest_of_pause(const Bus *b, uint64_t now) {
        unsigned jobs = station_jobs_running(b->station);
        uint64_t pause = jobs <= JOBS_TOLD_AT_ONCE ? 0 : MIN(jobs * PAUSE_FOR_EACH_JOB_USEC, SEC / 2);

        return b->flushed_usec + pause > now ? b->flushed_usec + pause - now : 0;
}

static int on_flush(sd_event_source *s _unused_, void *userdata) {
        Bus *b = userdata;
        uint64_t now = 0, rest;

        if (b->reason[0])
                return 0;
        (void) sd_event_now(b->event, CLOCK_MONOTONIC, &now);
        rest = rest_of_pause(b, now);
        if (rest > 0)
                return flush_later(b, rest);
        if (bus_listens(b)) {
                /* Somebody may want an answer in between. */
                if (objects_flush(b, OBJECTS_AT_ONCE))
                        b->flushed_usec = now;
                else
                        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_ONESHOT);
                inhibitor_update(b);
                return 0;
        }
        return b->reason[0] ? 0 : flush_later(b, MIN(SEC / 4, b->limits.stuck_usec));
}

static int on_retry(sd_event_source *s, uint64_t usec _unused_, void *userdata) {
        return on_flush(s, userdata);
}

static int make_sources(Bus *b) {
        int r;

        r = sd_event_add_defer(b->event, &b->flush, on_flush, b);
        if (r >= 0)
                r = sd_event_source_set_enabled(b->flush, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_time_relative(b->event, &b->retry, CLOCK_MONOTONIC, 0, 0, on_retry, b);
        if (r >= 0)
                r = sd_event_source_set_enabled(b->retry, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(b->event, &b->lost_source, on_lost, b);
        return r < 0 ? r : sd_event_source_set_enabled(b->lost_source, SD_EVENT_OFF);
}

/* ---- connection and name ---- */

static int on_disconnected(sd_bus_message *m _unused_, void *userdata, sd_bus_error *error _unused_) {
        bus_lose(userdata, "The connection to the D-Bus daemon has ended. Is it running, and may this user connect?");
        return 0;
}

static int on_name_lost(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const char *name;

        if (sd_bus_message_read(m, "s", &name) >= 0 && streq(name, BUS_NAME))
                bus_lose(userdata, "The name %s on the bus was lost to another program.", BUS_NAME);
        return 0;
}

static void name_refused(Bus *b, const sd_bus_error *e) {
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED))
                bus_lose(b,
                         "The bus policy does not let this user own %s. Install %s.conf into dbus-1/system.d, or run "
                         "as the "
                         "user it names.",
                         BUS_NAME, BUS_NAME);
        else
                bus_lose(b, "The bus does not give the name %s: %s", BUS_NAME, e->message ? e->message : e->name);
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Bus *b = userdata;
        uint32_t result;

        if (b->reason[0])
                return 0;
        if (e) {
                name_refused(b, e);
                return 0;
        }
        /* 1: owner, 4: owner already; else somebody holds it */
        if (sd_bus_message_read(m, "u", &result) < 0 || (result != 1 && result != 4)) {
                bus_lose(b, "Another fdld runs on this bus: the name %s is taken. Stop it first.", BUS_NAME);
                return 0;
        }
        b->named = true;
        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_ONESHOT);
        if (b->ready)
                b->ready(b->userdata);
        return 0;
}

static int watch(Bus *b) {
        int r;

        r = sd_bus_match_signal_async(b->bus, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                      "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, NULL, b);
        if (r < 0)
                return r;
        return sd_bus_match_signal_async(b->bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                         "org.freedesktop.DBus", "NameLost", on_name_lost, NULL, b);
}

/* Step by step, so that the address is ours to choose. Nothing here waits; the
 * handshake runs from the event loop. */
static int connect_bus(Bus *b, const char *address) {
        int r;

        r = sd_bus_new(&b->bus);
        if (r >= 0)
                r = sd_bus_set_address(b->bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(b->bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(b->bus, true);
        if (r >= 0)
                r = sd_bus_set_description(b->bus, "fdld");
        /* At the end of the loop sd-bus would flush, and with a bus daemon that hangs the process would never end. */
        if (r >= 0)
                r = sd_bus_set_close_on_exit(b->bus, false);
        if (r >= 0)
                r = sd_bus_start(b->bus);
        if (r >= 0)
                r = sd_bus_attach_event(b->bus, b->event, SD_EVENT_PRIORITY_NORMAL);
        return r < 0 ? r : watch(b);
}

int bus_new(sd_event *event, Station *station, const char *address, bool trust_own_uid, void (*lost)(void *userdata),
            void *userdata, Bus **ret, CallError *e) {
        _cleanup_(bus_freep) Bus *b = calloc(1, sizeof(*b));
        int r;

        if (!b)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        b->inhibit_fd = -EBADF;
        if (!address)
                address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
        if (!address)
                address = SYSTEM_BUS;
        b->event = sd_event_ref(event);
        b->station = station;
        b->trust_own_uid = trust_own_uid;
        b->lost = lost;
        b->userdata = userdata;
        b->pending_tail = &b->pending;
        b->limits = (BusLimits){.write_soft = 4096,
                                .write_hard = 16384,
                                .stuck_usec = 30 * SEC,
                                .answer_usec = 10 * SEC,
                                .person_usec = 300 * SEC,
                                .forget_usec = 30 * SEC};
        b->fd_tell[0] = b->fd_tell[1] = -EBADF;
        r = make_sources(b);
        if (r >= 0)
                r = descriptors_prepare(b);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_HOST, "Cannot prepare the event loop: %s.", strerror(-r));
        r = connect_bus(b, address);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_HOST,
                                      "Cannot connect to the D-Bus daemon at %.256s: %s. Start it, or give the "
                                      "address of another in DBUS_SYSTEM_BUS_ADDRESS.",
                                      address, strerror(-r));
        *ret = TAKE_PTR(b);
        return 0;
}

int bus_publish(Bus *b, void (*ready)(void *userdata), CallError *e) {
        int r;

        b->ready = ready;
        /* The last one added is asked first, and sees every message. */
        r = sd_bus_add_filter(b->bus, NULL, objects_filter, b);
        if (r >= 0)
                r = sd_bus_add_filter(b->bus, NULL, old_jobs_filter, b);
        if (r >= 0)
                r = sd_bus_add_filter(b->bus, NULL, descriptors_filter, b);
        if (r >= 0)
                r = objects_publish(b);
        if (r >= 0)
                r = log_control_publish(b);
        if (r >= 0)
                r = sd_bus_request_name_async(b->bus, NULL, BUS_NAME, 0, on_name, b);
        if (r < 0)
                return call_error_set(e, BUS_ERROR_HOST, "Cannot show the daemon on the bus: %s.", strerror(-r));
        return 0;
}

Bus *bus_free(Bus *b) {
        if (!b)
                return NULL;
        if (b->named && bus_listens(b))
                (void) objects_flush(b, UINT_MAX);
        b->named = false;
        waiters_drop(b, NULL, NULL);
        peers_free(b);
        if (b->root.bus)
                station_set_observer(b->station, NULL);
        leases_free(b);
        followers_end(b, 0);
        old_jobs_free(b);
        store_calls_free(b);
        sd_bus_close_unref(b->bus);
        descriptors_free(b);
        inhibitor_free(b);
        objects_free(b);
        sd_event_source_disable_unref(b->flush);
        sd_event_source_disable_unref(b->retry);
        sd_event_source_disable_unref(b->lost_source);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}
