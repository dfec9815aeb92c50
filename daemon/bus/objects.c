/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <search.h>
#include <stdio.h>

#include "bus/bus-internal.h"

static const ObjectClass classes[] = {
        [OBJECT_STATION] = {BUS_ROOT, BUS_NAME ".Manager", manager_vtable, BUS_ERROR_HOST},
        [OBJECT_DEVICE] = {BUS_ROOT "/devices", BUS_NAME ".Device", device_vtable, BUS_ERROR_NO_SUCH_DEVICE},
        [OBJECT_SLOT] = {BUS_ROOT "/slots", BUS_NAME ".Slot", slot_vtable, BUS_ERROR_NO_SUCH_SLOT},
        [OBJECT_PACKAGE] = {BUS_ROOT "/packages", BUS_NAME ".Package", package_vtable, BUS_ERROR_NO_SUCH_PACKAGE},
        [OBJECT_JOB] = {BUS_ROOT "/jobs", BUS_NAME ".Job", job_vtable, BUS_ERROR_NO_SUCH_JOB},
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

BusObject *object_add(Bus *b, ObjectKind kind, void *object) {
        char buffer[BUS_PATH_MAX];
        BusObject *o, *known;

        known = object_find(b, object_path(kind, object, buffer));
        if (known)
                object_remove(known);
        o = calloc(1, sizeof(*o));
        if (!o)
                return NULL;
        o->bus = b;
        o->kind = kind;
        o->object = object;
        o->path = strdup(buffer);
        if (!o->path || !tsearch(o, &b->tree, compare)) {
                free(o->path);
                free(o);
                return NULL;
        }
        /* Jobs are listed by rule, see relist(). */
        o->wanted = kind != OBJECT_JOB;
        if (kind == OBJECT_JOB)
                b->relist = true;
        return o;
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
                b->relist = true;
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

void *object_need(Bus *b, ObjectKind kind, const char *path, CallError *e) {
        BusObject *o = object_find(b, path);

        if (o && o->kind == kind)
                return o->object;
        call_error_set(e, classes[kind].missing, "%s (%.256s)", bus_error_summary(classes[kind].missing), path);
        return NULL;
}

/* ---- for sd-bus: find and enumerate ---- */

static int find(sd_bus *bus _unused_, const char *path, const char *interface _unused_, void *userdata, void **ret,
                sd_bus_error *error) {
        Bus *b = userdata;
        BusObject *o = object_find(b, path);

        if (o) {
                *ret = o;
                return 1;
        }
        for (ObjectKind kind = OBJECT_DEVICE; kind <= OBJECT_JOB; kind++) {
                size_t n = strlen(classes[kind].prefix);
                if (strncmp(path, classes[kind].prefix, n) == 0 && path[n] == '/')
                        return sd_bus_error_set(error, bus_error_name(classes[kind].missing),
                                                bus_error_summary(classes[kind].missing));
        }
        return 0;
}

typedef struct Enumeration {
        const char *prefix;
        size_t n, max;
        char **paths;
} Enumeration;

static void enumerate_one(const void *node, VISIT visit, void *userdata) {
        const BusObject *o = *(BusObject *const *) node;
        Enumeration *e = userdata;

        if ((visit != postorder && visit != leaf) || !o->listed || !streq(classes[o->kind].prefix, e->prefix))
                return;
        if (e->paths && e->n < e->max)
                e->paths[e->n] = strdup(o->path);
        e->n++;
}

static int enumerate(sd_bus *bus _unused_, const char *prefix, void *userdata, char ***ret, sd_bus_error *error _unused_) {
        Bus *b = userdata;
        Enumeration e = {.prefix = prefix};

        twalk_r(b->tree, enumerate_one, &e);
        e.max = e.n;
        e.n = 0;
        e.paths = calloc(e.max + 1, sizeof(char *));
        if (!e.paths)
                return -ENOMEM;
        twalk_r(b->tree, enumerate_one, &e);
        for (size_t i = 0; i < e.max; i++)
                if (!e.paths[i]) {
                        for (size_t k = 0; k < e.max; k++)
                                free(e.paths[k]);
                        free(e.paths);
                        return -ENOMEM;
                }
        *ret = e.paths;
        return 0;
}

/* ---- which jobs are listed: ten thousand objects in one answer would stop the loop for a third of a second ---- */

static int by_finish(const void *a, const void *b) {
        const Job *x = *(Job *const *) a, *y = *(Job *const *) b;

        if (x->finished_usec != y->finished_usec)
                return x->finished_usec < y->finished_usec ? 1 : -1;
        return x->id < y->id ? 1 : -1;
}

static void want(Bus *b, const Job *job, bool wanted) {
        char buffer[BUS_PATH_MAX];
        BusObject *o = object_find(b, job_path(job->id, buffer));

        if (!o || o->wanted == wanted)
                return;
        o->wanted = wanted;
        object_schedule(o);
}

static void relist(Bus *b) {
        unsigned n_waiting = 0, n_queued = 0;
        size_t n_finished = 0, n = 0;
        _cleanup_free_ Job **finished = NULL;

        for (Job *job = station_jobs(b->station); job; job = job->next)
                n_finished += job->state == JOB_STATE_FINISHED;
        finished = calloc(n_finished + 1, sizeof(Job *));
        if (!finished)
                return;
        for (Job *job = station_jobs(b->station); job; job = job->next)
                switch (job->state) {
                case JOB_STATE_FINISHED:
                        finished[n++] = job;
                        break;
                case JOB_STATE_WAITING:
                        want(b, job, n_waiting++ < LISTED_WAITING_MAX);
                        break;
                case JOB_STATE_QUEUED:
                        want(b, job, n_queued++ < LISTED_QUEUED_MAX);
                        break;
                default:
                        want(b, job, job->state != JOB_STATE_DRAFT);
                }
        qsort(finished, n, sizeof(Job *), by_finish);
        for (size_t i = 0; i < n; i++)
                want(b, finished[i], i < LISTED_FINISHED_MAX);
        b->relist = false;
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
static void each_property(const sd_bus_vtable *vtable, void (*fn)(const char *name, uint64_t bit, void *userdata), void *userdata) {
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
        if (!o->wanted && o->listed) {
                (void) sd_bus_emit_object_removed(o->bus->bus, o->path);
                o->listed = false;
        }
}

void objects_flush(Bus *b) {
        if (!b->named)
                return;
        if (b->relist)
                relist(b);
        while (b->pending)
                object_tell(b->pending);
}

/* ---- what the station says ---- */

static BusObject *object_of(Bus *b, ObjectKind kind, void *object) {
        char buffer[BUS_PATH_MAX];

        return kind == OBJECT_STATION ? &b->root : object_find(b, object_path(kind, object, buffer));
}

static void on_added(void *userdata, ObjectKind kind, void *object) {
        Bus *b = userdata;
        BusObject *o;

        if (kind == OBJECT_STATION)
                return;
        o = object_add(b, kind, object);
        if (o)
                object_schedule(o);
}

static void on_removed(void *userdata, ObjectKind kind, void *object) {
        BusObject *o = object_of(userdata, kind, object);

        if (o && o != &o->bus->root)
                object_remove(o);
}

static void on_changed(void *userdata, ObjectKind kind, void *object, const char *const *properties) {
        Bus *b = userdata;
        BusObject *o = object_of(b, kind, object);

        if (!o)
                return;
        for (; *properties; properties++) {
                if (kind == OBJECT_JOB && streq(*properties, "State")) {
                        b->relist = true;
                        if (((const Job *) object)->state != JOB_STATE_DRAFT)
                                job_owner_set(o, NULL);
                        object_schedule(o);
                }
                object_mark(o, *properties);
        }
}

static void on_job_finished(void *userdata, Job *job) {
        Bus *b = userdata;
        BusObject *o = object_of(b, OBJECT_JOB, job);

        if (!o)
                return;
        /* Whoever hears that the job is over shall find its last properties told before. */
        job_owner_set(o, NULL);
        b->relist = true;
        object_schedule(o);
        object_tell(o);
        manager_emit_job_finished(b, job);
        waiters_answer(o);
        (void) sd_event_source_set_enabled(b->flush, SD_EVENT_ONESHOT);
}

static void on_user_action(void *userdata, Job *job, const char *action) {
        Bus *b = userdata;
        BusObject *o = object_of(b, OBJECT_JOB, job);

        if (o && o->pending)
                object_tell(o);
        manager_emit_user_action(b, job, action);
}

/* ---- begin and end ---- */

static int publish_class(Bus *b, ObjectKind kind) {
        const ObjectClass *class = object_class(kind);
        int r;

        r = sd_bus_add_fallback_vtable(b->bus, NULL, class->prefix, class->interface, class->vtable, find, b);
        return r < 0 ? r : sd_bus_add_node_enumerator(b->bus, NULL, class->prefix, enumerate, b);
}

static int adopt(Bus *b, ObjectKind kind, void *object) {
        BusObject *o = object_add(b, kind, object);

        if (!o)
                return -ENOMEM;
        /* Nobody saw the time before: no need to announce. */
        o->listed = o->wanted;
        return 0;
}

static int adopt_all(Bus *b) {
        int r = 0;

        for (Device *d = station_devices(b->station); d && r >= 0; d = d->next)
                r = adopt(b, OBJECT_DEVICE, d);
        for (Slot *s = station_slots(b->station); s && r >= 0; s = s->next)
                r = adopt(b, OBJECT_SLOT, s);
        for (Package *p = station_packages(b->station); p && r >= 0; p = p->next)
                r = adopt(b, OBJECT_PACKAGE, p);
        for (Job *j = station_jobs(b->station); j && r >= 0; j = j->next)
                r = adopt(b, OBJECT_JOB, j);
        return r;
}

int objects_publish(Bus *b) {
        const StationObserver observer = {
                .added = on_added,
                .removed = on_removed,
                .changed = on_changed,
                .job_finished = on_job_finished,
                .user_action = on_user_action,
                .userdata = b,
        };
        int r;

        b->root = (BusObject) {.bus = b, .kind = OBJECT_STATION, .object = b->station, .path = (char *) BUS_ROOT,
                               .listed = true, .wanted = true};
        r = sd_bus_add_object_vtable(b->bus, NULL, BUS_ROOT, classes[OBJECT_STATION].interface, manager_vtable, &b->root);
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
