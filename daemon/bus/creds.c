/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "bus/bus-internal.h"

/* Who is calling. The blocking ways of sd-bus to find out are not used: with a bus daemon that hangs, they would stop
 * every job's supervision. The bus is asked once for each unique name; the message that needs the answer is kept and
 * put back into the queue of incoming messages afterwards. */

Peer *peer_find(Bus *b, const char *name) {
        for (Peer *p = b->peers; p; p = p->next)
                if (streq(p->name, name))
                        return p;
        return NULL;
}

static void peer_free(Peer *p) {
        Bus *b = p->bus;

        for (Peer **q = &b->peers; *q; q = &(*q)->next)
                if (*q == p) {
                        *q = p->next;
                        break;
                }
        for (unsigned i = 0; i < p->n_held; i++) {
                descriptors_dispose(b, p->held[i]);
                sd_bus_message_unref(p->held[i]);
        }
        b->n_held -= p->n_held;
        b->n_peers--;
        sd_bus_slot_unref(p->match);
        sd_bus_slot_unref(p->call);
        free(p);
}

static BusObject *draft_of(Peer *p) {
        for (BusObject *o = p->bus->ghosts; o; o = o->ghost_next)
                if (o->owner == p)
                        return o;
        return NULL;
}

static void discard_drafts(Peer *p) {
        Bus *b = p->bus;
        BusObject *o;

        while ((o = draft_of(p))) {
                Job *job = station_find_job(b->station, o->id);
                followers_end(b, o->id);
                object_remove(o);
                if (job && job->state == JOB_STATE_DRAFT)
                        job_discard(job);
        }
}

void peer_gone(Peer *p) {
        waiters_drop(p->bus, NULL, p);
        questions_forget(p->bus, p);
        discard_drafts(p);
        peer_free(p);
}

static int on_name_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Peer *p = userdata;
        const char *name, *before, *after;

        if (sd_bus_message_read(m, "sss", &name, &before, &after) >= 0 && streq(name, p->name) && !after[0])
                peer_gone(p);
        return 0;
}

static bool make_room(Bus *b) {
        Peer *oldest = NULL;

        /* New ones are put in front, so the last idle one is the oldest. */
        for (Peer *p = b->peers; p; p = p->next)
                if (p->state != PEER_ASKING && p->n_held == 0 && p->n_waiters == 0 && p->n_drafts == 0 && p->n_questions == 0)
                        oldest = p;
        if (oldest)
                peer_free(oldest);
        return oldest;
}

static int ask(Peer *p);

Peer *peer_need(Bus *b, sd_bus_message *m, CallError *e) {
        const char *name = sd_bus_message_get_sender(m);
        char rule[512];
        Peer *p;

        if (!name || strlen(name) >= sizeof(p->name)) {
                call_error_set(e, BUS_ERROR_NOT_AUTHORISED, "The caller has no name on the bus.");
                return NULL;
        }
        p = peer_find(b, name);
        if (p)
                return p;
        if (b->n_peers >= PEERS_MAX && !make_room(b)) {
                call_error_set(e, BUS_ERROR_QUOTA, "Too many programs (%u) use this daemon at once. Try again later.",
                               b->n_peers);
                return NULL;
        }
        p = calloc(1, sizeof(*p));
        if (!p) {
                call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
                return NULL;
        }
        p->bus = b;
        snprintf(p->name, sizeof(p->name), "%s", name);
        p->next = b->peers;
        b->peers = p;
        b->n_peers++;
        snprintf(rule, sizeof(rule),
                 "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                 "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='%s'",
                 name);
        /* Asked for in any case, after the rule: a peer that was gone before the rule was there is found out by the answer. */
        if (sd_bus_add_match_async(b->bus, &p->match, rule, on_name_owner_changed, NULL, p) < 0 || ask(p) < 0) {
                peer_free(p);
                call_error_set(e, BUS_ERROR_HOST, "The bus cannot be asked to watch the caller.");
                return NULL;
        }
        return p;
}

static int read_uid(sd_bus_message *m, uint32_t *ret) {
        bool found = false;
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                if (streq(key, "UnixUserID")) {
                        r = sd_bus_message_read(m, "v", "u", ret);
                        found = true;
                } else
                        r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : found ? 0 : -ENODATA;
}

static void refuse_held(Peer *p, const char *why) {
        CallError e;

        call_error_set(&e, BUS_ERROR_NOT_AUTHORISED, "The bus does not say who is calling (%.200s). Try again.", why);
        for (unsigned i = 0; i < p->n_held; i++) {
                (void) reply_call_error(p->held[i], &e);
                descriptors_dispose(p->bus, p->held[i]);
                p->held[i] = sd_bus_message_unref(p->held[i]);
        }
        p->bus->n_held -= p->n_held;
        p->n_held = 0;
}

/* The messages were accepted before; they go through the dispatcher again and now find the answer. */
static void release_held(Peer *p) {
        CallError e;
        unsigned n = p->n_held;

        p->bus->n_held -= n;
        p->n_held = 0;
        for (unsigned i = 0; i < n; i++) {
                sd_bus_message *m = TAKE_PTR(p->held[i]);
                if (sd_bus_message_rewind(m, true) < 0 || sd_bus_enqueue_for_read(p->bus->bus, m) < 0) {
                        call_error_set(&e, BUS_ERROR_HOST, "The daemon has too many calls to answer. Try again.");
                        (void) reply_call_error(m, &e);
                        descriptors_dispose(p->bus, m);
                }
                sd_bus_message_unref(m);
        }
}

static int on_credentials(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Peer *p = userdata;
        const sd_bus_error *failed = sd_bus_message_get_error(m);
        int r;

        p->call = sd_bus_slot_unref(p->call);
        p->state = PEER_NEW;
        if (failed && sd_bus_error_has_name(failed, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                peer_gone(p);
                return 0;
        }
        r = failed ? -EIO : read_uid(m, &p->uid);
        if (r < 0) {
                refuse_held(p, failed && failed->message ? failed->message : strerror(-r));
                return 0;
        }
        p->state = PEER_KNOWN;
        release_held(p);
        return 0;
}

static int ask(Peer *p) {
        int r;

        r = sd_bus_call_method_async(p->bus->bus, &p->call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetConnectionCredentials", on_credentials, p, "s",
                                     p->name);
        if (r >= 0)
                p->state = PEER_ASKING;
        return r;
}

int peer_hold(Peer *p, sd_bus_message *m, CallError *e) {
        Bus *b = p->bus;

        if (p->n_held >= HELD_PER_PEER_MAX || b->n_held >= HELD_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA,
                                      "Too many calls wait for the bus to say who is calling. Try again later.");
        if (p->state == PEER_NEW && ask(p) < 0)
                return call_error_set(e, BUS_ERROR_HOST, "The bus cannot be asked who is calling. Try again later.");
        p->held[p->n_held++] = sd_bus_message_ref(m);
        b->n_held++;
        return 1;
}

void peers_free(Bus *b) {
        questions_forget(b, NULL);
        while (b->peers) {
                discard_drafts(b->peers);
                peer_free(b->peers);
        }
}
