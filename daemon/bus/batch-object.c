/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "bus/bus-internal.h"
#include "bus/getter.h"
#include "station/batch.h"
#include "station/profile.h"

#define VALUES_MAX 32

/* ---- the policy as a dictionary ---- */

typedef struct Appending {
        sd_bus_message *m;
        int r;
} Appending;

static void append_value(const char *name, const char *value, void *userdata) {
        Appending *a = userdata;

        if (a->r >= 0 && value[0])
                a->r = append_pair_string(a->m, name, value);
}

static int append_policy(sd_bus_message *reply, const BatchPolicy *p) {
        Appending a = {.m = reply, .r = sd_bus_message_open_container(reply, 'a', "{sv}")};

        policy_foreach(p, append_value, &a);
        return a.r < 0 ? a.r : sd_bus_message_close_container(reply);
}

/* ---- .Batch ---- */

static int append_slots(sd_bus_message *reply, const Batch *b) {
        int r = sd_bus_message_open_container(reply, 'a', "o");

        for (size_t i = 0; r >= 0 && i < b->n_slots; i++)
                r = append_object(reply, OBJECT_SLOT, b->slots[i]);
        for (const char *at = b->n_slots == 0 && b->ports ? b->ports : ""; r >= 0 && *at; at += strcspn(at, "\n"), at += *at == '\n') {
                char port[128];
                const Slot *slot;
                snprintf(port, sizeof(port), "%.*s", (int) strcspn(at, "\n"), at);
                slot = station_find_slot(b->station, port);
                if (slot)
                        r = append_object(reply, OBJECT_SLOT, slot);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Of all units that ended, how many are good; 1 while there are none. */
static double yield_of(const Batch *b) {
        return b->passed + b->failed > 0 ? (double) b->passed / (double) (b->passed + b->failed) : 1;
}

static const char *action_of(const Batch *b) {
        return b->first == FIRST_CONFIRM && !batch_ended(b) ? "confirm" : b->state == BATCH_STATE_PAUSED ? "resume" : "";
}

GETTER(get_id, Batch, b, sd_bus_message_append(reply, "t", b->id))
GETTER(get_name, Batch, b, append_string(reply, b->name))
GETTER(get_package, Batch, b, append_object(reply, OBJECT_PACKAGE, b->package))
GETTER(get_package_name, Batch, b, append_string(reply, b->package_name))
GETTER(get_digest, Batch, b, append_string(reply, b->digest))
GETTER(get_profile, Batch, b, append_string(reply, b->profile))
GETTER(get_mode, Batch, b, append_string(reply, flash_mode_to_string(b->policy.plan.mode)))
GETTER(get_policy, Batch, b, append_policy(reply, &b->policy))
GETTER(get_slots, Batch, b, append_slots(reply, b))
GETTER(get_armed, Batch, b, sd_bus_message_append(reply, "b", (int) b->armed))
GETTER(get_target_count, Batch, b, sd_bus_message_append(reply, "t", b->policy.count))
GETTER(get_passed, Batch, b, sd_bus_message_append(reply, "t", b->passed))
GETTER(get_failed, Batch, b, sd_bus_message_append(reply, "t", b->failed))
GETTER(get_skipped, Batch, b, sd_bus_message_append(reply, "t", b->skipped))
GETTER(get_running, Batch, b, sd_bus_message_append(reply, "t", b->running))
GETTER(get_yield, Batch, b, sd_bus_message_append(reply, "d", yield_of(b)))
GETTER(get_state, Batch, b, append_string(reply, batch_state_to_string(b->state)))
GETTER(get_reason, Batch, b, append_string(reply, b->reason))
GETTER(get_first_article, Batch, b, append_string(reply, first_state_to_string(b->first)))
GETTER(get_action, Batch, b, append_string(reply, action_of(b)))
GETTER(get_created, Batch, b, sd_bus_message_append(reply, "t", b->created_usec))
GETTER(get_finished, Batch, b, sd_bus_message_append(reply, "t", b->finished_usec))
GETTER(get_uid, Batch, b, sd_bus_message_append(reply, "u", b->uid))

const sd_bus_vtable batch_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("Pause", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Resume", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Drain", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Stop", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Confirm", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        CONSTANT("Id", "t", get_id),
        CONSTANT("Name", "s", get_name),
        CONSTANT("Package", "o", get_package),
        CONSTANT("PackageName", "s", get_package_name),
        CONSTANT("Digest", "s", get_digest),
        CONSTANT("Profile", "s", get_profile),
        CONSTANT("Mode", "s", get_mode),
        CONSTANT("Policy", "a{sv}", get_policy),
        CONSTANT("Armed", "b", get_armed),
        CONSTANT("TargetCount", "t", get_target_count),
        CONSTANT("CreatedUSec", "t", get_created),
        CONSTANT("RequestedByUID", "u", get_uid),
        PROPERTY("Slots", "ao", get_slots),
        PROPERTY("Passed", "t", get_passed),
        PROPERTY("Failed", "t", get_failed),
        PROPERTY("Skipped", "t", get_skipped),
        PROPERTY("Running", "t", get_running),
        PROPERTY("Yield", "d", get_yield),
        PROPERTY("State", "s", get_state),
        PROPERTY("Reason", "s", get_reason),
        PROPERTY("FirstArticle", "s", get_first_article),
        PROPERTY("Action", "s", get_action),
        PROPERTY("FinishedUSec", "t", get_finished),
        SD_BUS_VTABLE_END,
};

static int change(Call *c, int (*fn)(Batch *b, CallError *e)) {
        if (options_none(c->message, c->e) < 0 || fn(c->object->object, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int batch_method_pause(Call *c) {
        return change(c, batch_pause);
}

int batch_method_resume(Call *c) {
        return change(c, batch_resume);
}

int batch_method_drain(Call *c) {
        return change(c, batch_drain);
}

int batch_method_stop(Call *c) {
        return change(c, batch_stop);
}

int batch_method_confirm(Call *c) {
        return change(c, batch_confirm);
}

/* ---- .Profile ---- */

GETTER(get_profile_name, Profile, p, append_string(reply, p->name))
GETTER(get_profile_description, Profile, p, append_string(reply, p->description))
GETTER(get_profile_package, Profile, p, append_string(reply, p->policy.package))
GETTER(get_profile_mode, Profile, p, append_string(reply, flash_mode_to_string(p->policy.plan.mode)))
GETTER(get_profile_policy, Profile, p, append_policy(reply, &p->policy))

const sd_bus_vtable profile_vtable[] = {
        SD_BUS_VTABLE_START(0),
        CONSTANT("Name", "s", get_profile_name),
        CONSTANT("Description", "s", get_profile_description),
        CONSTANT("Package", "s", get_profile_package),
        CONSTANT("Mode", "s", get_profile_mode),
        CONSTANT("Policy", "a{sv}", get_profile_policy),
        SD_BUS_VTABLE_END,
};

/* ---- options of StartBatch and Arm: values of the policy as text or as what they are ---- */

typedef struct Values {
        struct {
                char key[40], text[BUS_PATH_MAX];
        } items[VALUES_MAX];
        size_t n;
        const char *serials; /* may be long; into the message */
} Values;

static int read_text(sd_bus_message *m, char type, char *ret, size_t size) {
        const char *text = NULL;
        uint64_t t = 0;
        uint32_t u = 0;
        int b = 0, r;

        switch (type) {
        case 's':
        case 'o':
                r = sd_bus_message_read_basic(m, type, &text);
                if (r >= 0 && strlen(text) >= size)
                        return -EINVAL;
                if (r >= 0)
                        snprintf(ret, size, "%s", text);
                return r;
        case 'b':
                r = sd_bus_message_read_basic(m, type, &b);
                snprintf(ret, size, "%s", b ? "yes" : "no");
                return r;
        case 't':
                r = sd_bus_message_read_basic(m, type, &t);
                snprintf(ret, size, "%" PRIu64, t);
                return r;
        case 'u':
                r = sd_bus_message_read_basic(m, type, &u);
                snprintf(ret, size, "%" PRIu32, u);
                return r;
        default:
                return -EINVAL;
        }
}

static int add_value(sd_bus_message *m, Values *v, CallError *e) {
        const char *key, *contents = NULL;
        char type;

        if (sd_bus_message_read_basic(m, 's', &key) < 0 || sd_bus_message_peek_type(m, &type, &contents) <= 0 || type != 'v')
                return -EINVAL;
        if (v->n == VALUES_MAX || strlen(key) >= sizeof(v->items[0].key))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Unknown option '%.64s', or too many of them.", key);
        for (size_t i = 0; i < v->n; i++)
                if (streq(v->items[i].key, key))
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option '%s' is given twice.", key);
        if (streq(key, "serials") && !v->serials && streq(contents, "s"))
                return sd_bus_message_read(m, "v", "s", &v->serials) < 0 ? -EINVAL : 0;
        snprintf(v->items[v->n].key, sizeof(v->items[0].key), "%s", key);
        if (strlen(contents) != 1 || sd_bus_message_enter_container(m, 'v', contents) < 0 ||
            read_text(m, contents[0], v->items[v->n].text, sizeof(v->items[0].text)) < 0 || sd_bus_message_exit_container(m) < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option '%s' must be a text (s), a number (t, u), yes or no (b) or an object (o).", key);
        v->n++;
        return 0;
}

static int read_values(sd_bus_message *m, Values *ret, CallError *e) {
        int r;

        ret->n = 0;
        ret->serials = NULL;
        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = add_value(m, ret, e);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static const char *value_of(const Values *v, const char *key) {
        for (size_t i = 0; i < v->n; i++)
                if (streq(v->items[i].key, key))
                        return v->items[i].text;
        return NULL;
}

static bool is_own_key(const char *key) {
        return streq(key, "profile") || streq(key, "operator") || streq(key, "package");
}

static int apply_values(const Values *v, BatchPolicy *p, CallError *e) {
        for (size_t i = 0; i < v->n; i++) {
                const char *key = v->items[i].key;
                char why[400];
                int r;

                if (is_own_key(key))
                        continue;
                /* the names of profiles are not those of the bus */
                r = key[0] >= 'a' && key[0] <= 'z' ? policy_set(p, key, v->items[i].text, why, sizeof(why)) : -ENOENT;
                if (r == -ENOENT)
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Unknown option '%.64s'. The properties Policy of batches and profiles show "
                                                                           "which there are; besides them: profile, operator, package.", key);
                if (r < 0)
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s", why);
        }
        return 0;
}

static const Profile *profile_at(Bus *b, const char *path, CallError *e) {
        return object_need(b, OBJECT_PROFILE, path, e);
}

static Package *named_package(Station *s, const char *name, CallError *e) {
        Package *found = NULL;

        for (Package *p = station_packages(s); p; p = p->next)
                if (streq(p->name, name) || (strlen(name) >= 4 && strncmp(p->digest, name, strlen(name)) == 0))
                        found = p; /* of several with one name the newest */
        if (!found)
                call_error_set(e, BUS_ERROR_NO_SUCH_PACKAGE, "There is no package \"%.128s\" in the store.", name);
        return found;
}

/* From the call, else from the profile. */
static Package *choose_package(Call *c, const char *path, const BatchPolicy *p) {
        if (path && !streq(path, "/"))
                return object_need(c->bus, OBJECT_PACKAGE, path, c->e);
        if (p->package[0])
                return named_package(c->bus->station, p->package, c->e);
        call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "Which package? Neither the call nor a profile names one.");
        return NULL;
}

/* What StartBatch and Arm have in common. `v` must live as long as *ret. */
static int prepare(Call *c, const char *profile_path, const char *package_path, const Values *v, BatchRequest *ret) {
        const Profile *profile = NULL;

        policy_default(&ret->policy);
        if (profile_path && !streq(profile_path, "/")) {
                profile = profile_at(c->bus, profile_path, c->e);
                if (!profile)
                        return -1;
                ret->policy = profile->policy;
                ret->profile = profile->name;
        }
        if (apply_values(v, &ret->policy, c->e) < 0)
                return -1;
        ret->serials = v->serials;
        ret->operator_name = value_of(v, "operator");
        if (ret->operator_name && text_check("operator", ret->operator_name, 63, true, c->e) < 0)
                return -1;
        ret->uid = c->uid;
        ret->package = choose_package(c, package_path, &ret->policy);
        return ret->package ? 0 : -1;
}

static int read_slots(Call *c, Slot ***ret, size_t *ret_n) {
        Slot **slots = NULL;
        const char *path;
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(c->message, 'a', "o");
        while (r >= 0 && (r = sd_bus_message_read_basic(c->message, 'o', &path)) > 0) {
                Slot *slot = object_need(c->bus, OBJECT_SLOT, path, c->e), **more;
                more = slot && n < 1024 ? reallocarray(slots, n + 1, sizeof(Slot *)) : NULL;
                if (!more) {
                        free(slots);
                        return slot ? -ENOMEM : -1;
                }
                slots = more;
                slots[n++] = slot;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(c->message);
        if (r < 0) {
                free(slots);
                return r;
        }
        *ret = slots;
        *ret_n = n;
        return 0;
}

static int reply_batch(Call *c, const Batch *b) {
        char buffer[BUS_PATH_MAX];

        return sd_bus_reply_method_return(c->message, "o", object_path(OBJECT_BATCH, b, buffer));
}

int manager_start_batch(Call *c) {
        _cleanup_free_ Slot **slots = NULL;
        const char *name, *package;
        BatchRequest q = {};
        Batch *b;
        Values v;
        int r;

        r = sd_bus_message_read(c->message, "so", &name, &package);
        if (r >= 0)
                r = read_slots(c, &slots, &q.n_slots);
        if (r >= 0)
                r = read_values(c->message, &v, c->e);
        if (r < 0)
                return r;
        if (text_check("name", name, sizeof(b->name) - 1, true, c->e) < 0)
                return -1;
        if (prepare(c, value_of(&v, "profile"), value_of(&v, "package") ? value_of(&v, "package") : package, &v, &q) < 0)
                return -1;
        q.name = name[0] ? name : q.package->name;
        q.slots = slots;
        q.all_slots = q.n_slots == 0;
        if (station_start_batch(c->bus->station, &q, &b, c->e) < 0)
                return -1;
        return reply_batch(c, b);
}

int slot_method_arm(Call *c) {
        Slot *slot = c->object->object;
        BatchRequest q = {.armed = true};
        const char *profile;
        char name[65];
        Batch *b;
        Values v;
        int r;

        r = sd_bus_message_read(c->message, "o", &profile);
        if (r >= 0)
                r = read_values(c->message, &v, c->e);
        if (r < 0)
                return r;
        if (prepare(c, profile, value_of(&v, "package"), &v, &q) < 0)
                return -1;
        snprintf(name, sizeof(name), "armed %.50s", slot->label[0] ? slot->label : slot->port);
        q.name = name;
        q.slots = &slot;
        q.n_slots = 1;
        if (station_start_batch(c->bus->station, &q, &b, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int slot_method_disarm(Call *c) {
        if (slot_disarm(c->object->object, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int slot_method_set_listed(Call *c) {
        int listed, r;

        r = sd_bus_message_read(c->message, "b", &listed);
        if (r < 0)
                return r;
        if (slot_set_listed(c->object->object, listed, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

/* A profile was written by the administrator; a mode that the caller asks for is the caller's. */
static int grade_mode(Call *c, Action *ret) {
        const char *mode;
        Values v;
        int r;

        r = read_values(c->message, &v, c->e);
        if (r < 0)
                return r;
        mode = value_of(&v, "mode");
        if (mode && !streq(mode, "upgrade"))
                *ret = ACTION_FLASH_CRITICAL;
        return 0;
}

int grade_start_batch(Call *c, Action *ret) {
        int r = sd_bus_message_skip(c->message, "soao");

        return r < 0 ? r : grade_mode(c, ret);
}

int grade_arm(Call *c, Action *ret) {
        int r = sd_bus_message_skip(c->message, "o");

        return r < 0 ? r : grade_mode(c, ret);
}
