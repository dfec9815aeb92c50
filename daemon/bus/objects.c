/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <search.h>
#include <stdio.h>

#include "bus/bus-internal.h"
#include "station/batch.h"
#include "station/profile.h"

static const ObjectClass classes[] = {
        [OBJECT_STATION] = {BUS_ROOT, BUS_NAME ".Manager", manager_vtable, BUS_ERROR_HOST},
        [OBJECT_DEVICE] = {BUS_ROOT "/devices", BUS_NAME ".Device", device_vtable, BUS_ERROR_NO_SUCH_DEVICE},
        [OBJECT_SLOT] = {BUS_ROOT "/slots", BUS_NAME ".Slot", slot_vtable, BUS_ERROR_NO_SUCH_SLOT},
        [OBJECT_PACKAGE] = {BUS_ROOT "/packages", BUS_NAME ".Package", package_vtable, BUS_ERROR_NO_SUCH_PACKAGE},
        [OBJECT_PROFILE] = {BUS_ROOT "/profiles", BUS_NAME ".Profile", profile_vtable, BUS_ERROR_NO_SUCH_PROFILE},
        [OBJECT_BATCH] = {BUS_ROOT "/batches", BUS_NAME ".Batch", batch_vtable, BUS_ERROR_NO_SUCH_BATCH},
        [OBJECT_JOB] = {BUS_ROOT "/jobs", BUS_NAME ".Job", job_vtable, BUS_ERROR_NO_SUCH_JOB},
};

const RootInterface root_interfaces[] = {
        {BUS_NAME ".History", history_vtable},
        {BUS_NAME ".Vault", vault_vtable},
        {NULL, NULL},
};

const ObjectClass *object_class(ObjectKind kind) {
        return classes + kind;
}

const char *job_path(uint64_t id, char buffer[static BUS_PATH_MAX]) {
        snprintf(buffer, BUS_PATH_MAX, "%s/_%" PRIu64, classes[OBJECT_JOB].prefix, id);
        return buffer;
}

const char *object_path(ObjectKind kind, const void *object, char buffer[static BUS_PATH_MAX]) {
        _cleanup_free_ char *encoded = NULL;

        if (!object)
                return "/";
        switch (kind) {
        case OBJECT_STATION:
                return BUS_ROOT;
        case OBJECT_DEVICE:
                snprintf(buffer, BUS_PATH_MAX, "%s/_%" PRIu64, classes[kind].prefix, ((const Device *) object)->number);
                return buffer;
        case OBJECT_SLOT:
                if (sd_bus_path_encode(classes[kind].prefix, ((const Slot *) object)->port, &encoded) < 0)
                        return "/";
                snprintf(buffer, BUS_PATH_MAX, "%s", encoded);
                return buffer;
        case OBJECT_PACKAGE:
                snprintf(buffer, BUS_PATH_MAX, "%s/%s", classes[kind].prefix, ((const Package *) object)->digest);
                return buffer;
        case OBJECT_PROFILE:
                if (sd_bus_path_encode(classes[kind].prefix, ((const Profile *) object)->name, &encoded) < 0)
                        return "/";
                snprintf(buffer, BUS_PATH_MAX, "%s", encoded);
                return buffer;
        case OBJECT_BATCH:
                snprintf(buffer, BUS_PATH_MAX, "%s/_%" PRIu64, classes[kind].prefix, ((const Batch *) object)->id);
                return buffer;
        case OBJECT_JOB:
                return job_path(((const Job *) object)->id, buffer);
        }
        return "/";
}

/* ---- the tree ---- */

static int compare(const void *a, const void *b) {
        return strcmp(((const BusObject *) a)->path, ((const BusObject *) b)->path);
}

BusObject *object_find(Bus *b, const char *path) {
        BusObject key = {.path = (char *) path};
        BusObject **found = tfind(&key, &b->tree, compare);

        return found ? *found : NULL;
}

static BusObject *object_new(Bus *b, ObjectKind kind, void *object) {
        char buffer[BUS_PATH_MAX];
        BusObject *o = calloc(1, sizeof(*o));

        if (!o)
                return NULL;
        o->bus = b;
        o->kind = kind;
        o->object = object;
        o->id = kind == OBJECT_JOB ? ((const Job *) object)->id : 0;
        o->path = strdup(object_path(kind, object, buffer));
        if (!o->path || !tsearch(o, &b->tree, compare)) {
                free(o->path);
                free(o);
                return NULL;
        }
        return o;
}

static void ghost_unlink(BusObject *o) {
        Bus *b = o->bus;

        if (!o->ghost)
                return;
        for (BusObject **p = &b->ghosts; *p; p = &(*p)->ghost_next)
                if (*p == o) {
                        *p = o->ghost_next;
                        break;
                }
        o->ghost = false;
        b->n_ghosts--;
}

static void unqueue(BusObject *o) {
        Bus *b = o->bus;

        if (!o->pending)
                return;
        for (BusObject **p = &b->pending; *p; p = &(*p)->pending_next)
                if (*p == o) {
                        *p = o->pending_next;
                        if (b->pending_tail == &o->pending_next)
                                b->pending_tail = p;
                        break;
                }
        o->pending = false;
}

void object_remove(BusObject *o) {
        Bus *b = o->bus;

        if (o->kind == OBJECT_JOB) {
                waiters_drop(b, o, NULL);
                job_owner_set(o, NULL);
                ghost_unlink(o);
        }
        /* Found by its path until the signal is made: sd-bus asks which interfaces were there. */
        if (o->listed && b->named)
                (void) sd_bus_emit_object_removed(b->bus, o->path);
        unqueue(o);
        tdelete(o, &b->tree, compare);
        if (o->old)
                free(o->object);
        free(o->path);
        free(o);
}

/* ---- ghosts: jobs that are not listed but were asked for, have somebody waiting for them, or are drafts. The station
 * does not say when such a job leaves memory, so it is looked up by its number each time. ---- */

static void ghost_link(BusObject *o) {
        Bus *b = o->bus;

        o->ghost = true;
        o->ghost_next = b->ghosts;
        b->ghosts = o;
        b->n_ghosts++;
}

static void forget_ghosts(Bus *b) {
        for (BusObject *o = b->ghosts, *next, *oldest = NULL; o; o = next) {
                next = o->ghost_next;
                if (!o->owner && o->n_waiters == 0)
                        oldest = o;
                if (!next && oldest)
                        object_remove(oldest);
        }
}

BusObject *object_add_ghost(Bus *b, Job *job, bool old) {
        BusObject *o;

        if (b->n_ghosts >= GHOSTS_MAX)
                forget_ghosts(b);
        o = object_new(b, OBJECT_JOB, job);
        if (!o)
                return NULL;
        o->old = old;
        ghost_link(o);
        return o;
}

BusObject *object_lookup(Bus *b, const char *path) {
        BusObject *o = object_find(b, path);
        uint64_t id;
        Job *job;

        if (o && (o->kind != OBJECT_JOB || o->old || o->wanted))
                return o;
        if (!job_id_from_path(path, &id))
                return NULL;
        job = station_find_job(b->station, id);
        if (o && !job) {
                followers_end(b, id);
                object_remove(o);
                return NULL;
        }
        if (o)
                o->object = job;
        else if (job)
                o = object_add_ghost(b, job, false);
        return o;
}

bool job_id_from_path(const char *path, uint64_t *ret) {
        const char *prefix = BUS_ROOT "/jobs/_";
        char buffer[BUS_PATH_MAX];
        char *end;

        if (!path || strncmp(path, prefix, strlen(prefix)) != 0)
                return false;
        errno = 0;
        *ret = strtoull(path + strlen(prefix), &end, 10);
        /* One job, one path: no signs, no leading zeros. */
        return errno == 0 && *end == '\0' && streq(job_path(*ret, buffer), path);
}

void *object_need(Bus *b, ObjectKind kind, const char *path, CallError *e) {
        BusObject *o = object_find(b, path);

        if (o && o->kind == kind)
                return o->object;
        call_error_set(e, classes[kind].missing, "%s (%.256s)", bus_error_summary(classes[kind].missing), path);
        return NULL;
}

/* ---- for sd-bus: find and enumerate ---- */

static int find(sd_bus *bus _unused_, const char *path, const char *interface _unused_, void *userdata, void **ret,
                sd_bus_error *error _unused_) {
        BusObject *o = object_lookup(userdata, path);

        if (!o)
                return 0;
        *ret = o;
        return 1;
}

/* Before sd-bus looks for the object of a call: what find() would say of one that is missing is lost where the interface is wrong too. */
int objects_filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path = sd_bus_message_get_path(m);

        if (!path || !sd_bus_message_is_method_call(m, NULL, NULL) || sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Peer", NULL) ||
            object_lookup(userdata, path))
                return 0;
        for (ObjectKind kind = OBJECT_DEVICE; kind <= OBJECT_JOB; kind++) {
                size_t n = strlen(classes[kind].prefix);
                if (strncmp(path, classes[kind].prefix, n) == 0 && path[n] == '/')
                        return sd_bus_error_set(error, bus_error_name(classes[kind].missing), bus_error_summary(classes[kind].missing));
        }
        return 0;
}

typedef struct Enumeration {
        ObjectKind kind;
        size_t n, max;
        char **paths;
} Enumeration;

static void enumerate_one(const void *node, VISIT visit, void *userdata) {
        const BusObject *o = *(BusObject *const *) node;
        Enumeration *e = userdata;

        if ((visit != postorder && visit != leaf) || !o->listed || o->kind != e->kind)
                return;
        if (e->paths && e->n < e->max)
                e->paths[e->n] = strdup(o->path);
        e->n++;
}

/* The prefix is that of the question, not that of the enumerator; sd-bus drops what lies outside of it. */
static int enumerate(sd_bus *bus _unused_, const char *prefix _unused_, void *userdata, char ***ret,
                     sd_bus_error *error _unused_) {
        const BusKind *k = userdata;
        Enumeration e = {.kind = k->kind};

        twalk_r(k->bus->tree, enumerate_one, &e);
        e.max = e.n;
        e.n = 0;
        e.paths = calloc(e.max + 1, sizeof(char *));
        if (!e.paths)
                return -ENOMEM;
        twalk_r(k->bus->tree, enumerate_one, &e);
        for (size_t i = 0; i < e.max; i++)
                if (!e.paths[i]) {
                        for (size_t n = 0; n < e.max; n++)
                                free(e.paths[n]);
                        free(e.paths);
                        return -ENOMEM;
                }
        *ret = e.paths;
        return 0;
}

/* ---- telling ---- */

void object_schedule(BusObject *o) {
        Bus *b = o->bus;

        if (!o->pending) {
                o->pending = true;
                o->pending_next = NULL;
                *b->pending_tail = o;
                b->pending_tail = &o->pending_next;
        }
        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_ONESHOT);
}

/* Calls fn for each property that has change signals, with its bit. */
static void each_property(const sd_bus_vtable *vtable, void (*fn)(const char *name, uint64_t bit, void *userdata),
                          void *userdata) {
        uint64_t bit = 1;

        for (const sd_bus_vtable *v = vtable; v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_PROPERTY &&
                    (v->flags & (SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE | SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION))) {
                        fn(v->x.property.member, bit, userdata);
                        bit <<= 1;
                }
}

typedef struct Marking {
        const char *name;
        uint64_t bits;
} Marking;

static void mark_one(const char *name, uint64_t bit, void *userdata) {
        Marking *m = userdata;

        if (streq(name, m->name))
                m->bits |= bit;
}

void object_mark(BusObject *o, const char *property) {
        Marking m = {.name = property};

        each_property(classes[o->kind].vtable, mark_one, &m);
        if (m.bits == 0)
                return;
        o->dirty |= m.bits;
        object_schedule(o);
}

typedef struct Naming {
        uint64_t dirty;
        char *names[65];
        size_t n;
} Naming;

static void name_one(const char *name, uint64_t bit, void *userdata) {
        Naming *n = userdata;

        if (n->dirty & bit)
                n->names[n->n++] = (char *) name;
}

/* Says all that is not yet said of one object, now. */
void object_tell(BusObject *o) {
        const ObjectClass *class = object_class(o->kind);
        Naming n = {.dirty = o->dirty};

        if (!o->bus->named)
                return;
        unqueue(o);
        o->dirty = 0;
        if (o->wanted && !o->listed) {
                o->listed = true;
                if (o->kind != OBJECT_STATION && sd_bus_emit_object_added(o->bus->bus, o->path) < 0)
                        o->listed = false;
                return;
        }
        if (n.dirty) {
                each_property(class->vtable, name_one, &n);
                (void) sd_bus_emit_properties_changed_strv(o->bus->bus, o->path, class->interface, n.names);
        }
}

bool objects_flush(Bus *b, unsigned most) {
        if (!b->named)
                return true;
        for (; b->pending && most > 0; most--)
                object_tell(b->pending);
        return !b->pending;
}

/* ---- what the station says ---- */

static BusObject *object_of(Bus *b, ObjectKind kind, void *object) {
        char buffer[BUS_PATH_MAX];

        return kind == OBJECT_STATION ? &b->root : object_find(b, object_path(kind, object, buffer));
}

static BusObject *adopt(Bus *b, ObjectKind kind, void *object) {
        BusObject *o = object_of(b, kind, object);

        if (o && !o->ghost) {
                object_remove(o);
                o = NULL;
        }
        if (o) {
                ghost_unlink(o);
                o->object = object;
        } else
                o = object_new(b, kind, object);
        if (o)
                o->wanted = true;
        return o;
}

static void on_added(void *userdata, ObjectKind kind, void *object) {
        BusObject *o = kind == OBJECT_STATION ? NULL : adopt(userdata, kind, object);

        if (!o)
                return;
        /* Nobody finds what was not announced: that does not wait with the changes. */
        o->bus->flushed_usec = 0;
        object_schedule(o);
}

/* Copies of old jobs are not the station's, which takes care of its own. */
static void forget_in_old_jobs(Bus *b, const void *gone) {
        for (BusObject *o = b->ghosts; o; o = o->ghost_next) {
                Job *job = o->object;

                if (o->old && job->package == gone)
                        job->package = NULL;
                if (o->old && job->slot == gone)
                        job->slot = NULL;
        }
}

static void on_removed(void *userdata, ObjectKind kind, void *object) {
        Bus *b = userdata;
        BusObject *o = object_of(b, kind, object);

        if (kind == OBJECT_PACKAGE || kind == OBJECT_SLOT)
                forget_in_old_jobs(b, object);
        if (!o || o == &b->root || !o->wanted)
                return;
        /* A job may live on without being listed. */
        if (kind == OBJECT_JOB && o->n_waiters > 0 && ((const Job *) object)->state != JOB_STATE_FINISHED) {
                if (o->listed && b->named)
                        (void) sd_bus_emit_object_removed(b->bus, o->path);
                unqueue(o);
                o->wanted = o->listed = false;
                o->dirty = 0;
                ghost_link(o);
        } else
                object_remove(o);
}

static void on_changed(void *userdata, ObjectKind kind, void *object, const char *const *properties) {
        BusObject *o = object_of(userdata, kind, object);

        for (; o && o->wanted && *properties; properties++)
                object_mark(o, *properties);
}

static void on_job_finished(void *userdata, Job *job) {
        Bus *b = userdata;
        BusObject *o = object_of(b, OBJECT_JOB, job);

        followers_end(b, job->id);
        if (o) {
                /* Whoever hears that the job is over shall find its last properties told before. */
                o->object = job;
                job_owner_set(o, NULL);
                if (o->wanted)
                        object_tell(o);
        }
        manager_emit_job_finished(b, job);
        if (o)
                waiters_answer(o);
}

static void on_user_action(void *userdata, Job *job, const char *action) {
        Bus *b = userdata;
        BusObject *o = object_of(b, OBJECT_JOB, job);

        if (o && o->wanted)
                object_tell(o);
        manager_emit_user_action(b, job, action);
}

static void on_left_early(void *userdata, Slot *slot, uint64_t lived_usec) {
        manager_emit_left_early(userdata, slot, lived_usec);
}

/* ---- begin and end ---- */

static int publish_class(Bus *b, ObjectKind kind) {
        const ObjectClass *class = object_class(kind);
        int r;

        b->kinds[kind] = (BusKind){b, kind};
        r = sd_bus_add_fallback_vtable(b->bus, NULL, class->prefix, class->interface, class->vtable, find, b);
        return r < 0 ? r : sd_bus_add_node_enumerator(b->bus, NULL, class->prefix, enumerate, b->kinds + kind);
}

/* What is there before the name is ours: nobody saw the time before, no need to announce. */
static int adopt_silently(Bus *b, ObjectKind kind, void *object) {
        BusObject *o = adopt(b, kind, object);

        if (!o)
                return -ENOMEM;
        o->listed = true;
        return 0;
}

static void on_job_log(void *userdata, Job *job, const char *line) {
        followers_tell(userdata, job->id, line);
}

static int adopt_all(Bus *b) {
        size_t n_profiles = 0;
        Profile *profiles = station_profiles(b->station, &n_profiles);
        int r = 0;

        for (size_t i = 0; i < n_profiles && r >= 0; i++)
                r = adopt_silently(b, OBJECT_PROFILE, profiles + i);
        for (Batch *i = station_batches(b->station); i && r >= 0; i = i->next)
                r = adopt_silently(b, OBJECT_BATCH, i);

        for (Device *d = station_devices(b->station); d && r >= 0; d = d->next)
                r = adopt_silently(b, OBJECT_DEVICE, d);
        for (Slot *s = station_slots(b->station); s && r >= 0; s = s->next)
                r = adopt_silently(b, OBJECT_SLOT, s);
        for (Package *p = station_packages(b->station); p && r >= 0; p = p->next)
                r = adopt_silently(b, OBJECT_PACKAGE, p);
        for (Job *j = station_jobs(b->station); j && r >= 0; j = j->next)
                r = j->exported ? adopt_silently(b, OBJECT_JOB, j) : 0;
        return r;
}

int objects_publish(Bus *b) {
        const StationObserver observer = {
                .added = on_added,
                .removed = on_removed,
                .changed = on_changed,
                .job_finished = on_job_finished,
                .job_log = on_job_log,
                .user_action = on_user_action,
                .left_early = on_left_early,
                .userdata = b,
        };
        int r;

        b->root = (BusObject){.bus = b,
                              .kind = OBJECT_STATION,
                              .object = b->station,
                              .path = (char *) BUS_ROOT,
                              .listed = true,
                              .wanted = true};
        r = sd_bus_add_object_vtable(b->bus, NULL, BUS_ROOT, classes[OBJECT_STATION].interface, manager_vtable,
                                     &b->root);
        for (const RootInterface *i = root_interfaces; r >= 0 && i->name; i++)
                r = sd_bus_add_object_vtable(b->bus, NULL, BUS_ROOT, i->name, i->vtable, &b->root);
        if (r >= 0)
                r = sd_bus_add_object_manager(b->bus, NULL, BUS_ROOT);
        for (ObjectKind kind = OBJECT_DEVICE; r >= 0 && kind <= OBJECT_JOB; kind++)
                r = publish_class(b, kind);
        if (r >= 0)
                r = adopt_all(b);
        if (r < 0)
                return r;
        station_set_observer(b->station, &observer);
        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_ONESHOT);
        return 0;
}

static void free_object(void *p) {
        BusObject *o = p;

        if (o->old)
                free(o->object);
        free(o->path);
        free(o);
}

void objects_free(Bus *b) {
        tdestroy(b->tree, free_object);
        b->tree = NULL;
        b->pending = NULL;
        b->pending_tail = &b->pending;
}
