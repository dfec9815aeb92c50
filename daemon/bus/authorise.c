/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "bus/bus-internal.h"

/* May the caller do this? Root may; in tests and development the daemon's own user, too; everyone else is asked for at polkit, over the
 * bus and without waiting: the message is kept and dispatched again once the answer is there. The caller is named by its unique name on
 * the bus, which is never used twice. Only a uid that an action names as its owner may ask polkit for others, so every action names ours. */

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define OBJECTS_MAX 16
#define NESTING_MAX 4

static const struct {
        const char *name;
} actions[] = {
        [ACTION_NONE] = {"none"},
#define ACTION(id, name, any, inactive, active, description, message) [ACTION_##id] = {name},
#include "bus/actions.def"
#undef ACTION
};

const char *action_to_string(Action action) {
        return action < ACTION_MAX ? actions[action].name : "";
}

struct Question {
        Bus *bus;
        Peer *peer;
        sd_bus_message *message;
        Action action;
        enum { ASKED, ALLOWED, REFUSED } state;
        CallError refusal;
        uint64_t number; /* polkit's cancellation id */
        sd_bus_slot *call;
        sd_event_source *timer;
        Question *next;
};

bool call_authorised(const Bus *b, uint32_t uid) {
        return uid == 0 || (b->trust_own_uid && uid == getuid());
}

/* ---- what polkit and its rules are told ---- */

typedef struct Subjects {
        const Slot *slot;
        const Device *device;
        const Package *package;
        const Job *job;
        unsigned n;
} Subjects;

static void add_subject(Subjects *s, const BusObject *o) {
        if (!o)
                return;
        if (o->kind == OBJECT_SLOT && !s->slot)
                s->slot = o->object;
        else if (o->kind == OBJECT_DEVICE && !s->device)
                s->device = o->object;
        else if (o->kind == OBJECT_PACKAGE && !s->package)
                s->package = o->object;
        else if (o->kind == OBJECT_JOB && !s->job)
                s->job = o->object;
}

/* Every object that the arguments name. */
static int collect(Bus *b, sd_bus_message *m, unsigned depth, Subjects *s) {
        const char *contents, *path;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                if (type == 'o') {
                        r = sd_bus_message_read_basic(m, 'o', &path);
                        if (r >= 0 && s->n++ < OBJECTS_MAX)
                                add_subject(s, object_find(b, path));
                } else if (strchr("avre", type)) {
                        if (depth >= NESTING_MAX)
                                return -ELOOP;
                        r = sd_bus_message_enter_container(m, type, contents);
                        if (r >= 0)
                                r = collect(b, m, depth + 1, s);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                } else {
                        const char one[] = {type, '\0'};
                        r = sd_bus_message_skip(m, one);
                }
                if (r < 0)
                        return r;
        }
        return r;
}

static Subjects subjects_of(Call *c) {
        Subjects s = {0};

        add_subject(&s, c->object);
        (void) collect(c->bus, c->message, 0, &s);
        (void) sd_bus_message_rewind(c->message, true);
        if (s.job && !s.slot)
                s.slot = s.job->slot;
        if (s.job && !s.device)
                s.device = s.job->device;
        if (s.job && !s.package)
                s.package = s.job->package;
        if (s.device && !s.slot)
                s.slot = s.device->slot;
        return s;
}

static int append_detail(sd_bus_message *m, const char *key, const char *value) {
        char text[512];

        if (!value || !value[0])
                return 0;
        snprintf(text, sizeof(text), "%s", value);
        text_mend(text);
        return sd_bus_message_append(m, "{ss}", key, text);
}

static int append_job_details(sd_bus_message *m, const Job *job) {
        char number[24];
        int r;

        snprintf(number, sizeof(number), "%" PRIu64, job->id);
        r = append_detail(m, "job", number);
        if (r >= 0)
                r = append_detail(m, "kind", job->kind);
        snprintf(number, sizeof(number), "%" PRIu32, job->uid);
        return r < 0 ? r : append_detail(m, "job-user", number);
}

static const char *package_of(Call *c, const Subjects *s) {
        const char *name;
        int fd;

        if (s->package)
                return s->package->name;
        if (s->job && s->job->package_name[0])
                return s->job->package_name;
        if (sd_bus_message_is_method_call(c->message, BUS_NAME ".Manager", "ImportPackage") > 0) {
                int r = sd_bus_message_read(c->message, "hs", &fd, &name);
                (void) sd_bus_message_rewind(c->message, true);
                if (r >= 0)
                        return name;
        }
        return "files";
}

/* $(target), $(package) and $(job) always have a value, as the messages of the actions need them. */
static int append_details(sd_bus_message *m, Call *c) {
        const Subjects s = subjects_of(c);
        char target[200] = "any slot";
        int r;

        if (s.slot)
                snprintf(target, sizeof(target), "slot %s", s.slot->label[0] ? s.slot->label : s.slot->port);
        else if (s.device)
                snprintf(target, sizeof(target), "port %s", s.device->port);
        r = sd_bus_message_open_container(m, 'a', "{ss}");
        if (r >= 0)
                r = append_detail(m, "target", target);
        if (r >= 0)
                r = append_detail(m, "package", package_of(c, &s));
        if (r >= 0 && s.package)
                r = append_detail(m, "digest", s.package->digest);
        if (r >= 0 && s.slot)
                r = append_detail(m, "slot", s.slot->label[0] ? s.slot->label : s.slot->port);
        if (r >= 0 && (s.slot || s.device))
                r = append_detail(m, "port", s.slot ? s.slot->port : s.device->port);
        if (r >= 0)
                r = s.job ? append_job_details(m, s.job) : append_detail(m, "job", "?");
        if (r >= 0)
                r = append_detail(m, "method", sd_bus_message_get_member(c->message));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* ---- questions ---- */

static void question_free(Question *q) {
        Bus *b = q->bus;

        for (Question **p = &b->questions; *p; p = &(*p)->next)
                if (*p == q) {
                        *p = q->next;
                        break;
                }
        b->n_questions--;
        q->peer->n_questions--;
        sd_bus_slot_unref(q->call);
        sd_event_source_disable_unref(q->timer);
        sd_bus_message_unref(q->message);
        free(q);
}

/* The dialog on somebody's screen goes away. */
static void question_cancel(Question *q) {
        char number[24];

        if (q->state != ASKED)
                return;
        snprintf(number, sizeof(number), "%" PRIu64, q->number);
        (void) sd_bus_call_method_async(q->bus->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CancelCheckAuthorization",
                                        NULL, NULL, "s", number);
}

/* All of one message, of one caller, or simply all. */
static void questions_drop(Bus *b, const sd_bus_message *m, const Peer *p, bool dispose) {
        for (Question *q = b->questions, *next; q; q = next) {
                next = q->next;
                if ((m && q->message != m) || (p && q->peer != p))
                        continue;
                question_cancel(q);
                if (dispose && q->state != ALLOWED) /* once for each message */
                        descriptors_dispose(b, q->message);
                question_free(q);
        }
}

void questions_answered(Bus *b, const sd_bus_message *m) {
        questions_drop(b, m, NULL, false);
}

void questions_forget(Bus *b, const Peer *p) {
        questions_drop(b, NULL, p, true);
}

static int on_forget(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Question *q = userdata;

        questions_drop(q->bus, q->message, NULL, true);
        return 0;
}

_printf_(3, 4) static void refuse(Question *q, BusError error, const char *format, ...) {
        va_list ap;

        q->state = REFUSED;
        q->refusal.error = error;
        va_start(ap, format);
        vsnprintf(q->refusal.text, sizeof(q->refusal.text), format, ap);
        va_end(ap);
}

static void refuse_for_fault(Question *q, const sd_bus_error *e) {
        const char *member = sd_bus_message_get_member(q->message), *right = action_to_string(q->action);

        if (sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) || sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
            sd_bus_error_has_name(e, "org.freedesktop.DBus.Error.Spawn.ServiceNotFound") ||
            sd_bus_error_has_name(e, "org.freedesktop.systemd1.NoSuchUnit"))
                refuse(q, BUS_ERROR_NOT_AUTHORISED,
                       "%s needs the right '%s', which only root has while no polkit runs. Run the command as root, for example with sudo, "
                       "or start polkit.",
                       member, right);
        else if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(e, SD_BUS_ERROR_TIMEOUT))
                refuse(q, BUS_ERROR_NOT_AUTHORISED,
                       "%s needs the right '%s', and polkit did not answer in time. Try again, or run the command as root.", member, right);
        else
                refuse(q, BUS_ERROR_NOT_AUTHORISED,
                       "%s needs the right '%s', and polkit could not be asked for it: %.200s. Is the file " POLICY_ID "policy installed? Root needs "
                       "no right.",
                       member, right, e->message ? e->message : e->name);
}

static int read_answer(sd_bus_message *m, int *ret_allowed, int *ret_challenge, bool *ret_dismissed) {
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(m, "bb", ret_allowed, ret_challenge);
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(m, "{ss}", &key, &value)) > 0)
                if (streq(key, "polkit.dismissed") && value[0])
                        *ret_dismissed = true;
        return r < 0 ? r : 0;
}

static void take_answer(Question *q, sd_bus_message *m) {
        const char *member = sd_bus_message_get_member(q->message), *right = action_to_string(q->action);
        int allowed = false, challenge = false;
        bool dismissed = false;

        if (read_answer(m, &allowed, &challenge, &dismissed) < 0)
                refuse(q, BUS_ERROR_NOT_AUTHORISED, "%s needs the right '%s', and polkit's answer could not be read.", member, right);
        else if (allowed)
                q->state = ALLOWED;
        else if (dismissed)
                refuse(q, BUS_ERROR_NOT_AUTHORISED_DISMISSED,
                       "%s needs the right '%s', and the question for a password was dismissed. Nothing was done.", member, right);
        else if (challenge)
                refuse(q, BUS_ERROR_NOT_AUTHORISED_CAN_OBTAIN,
                       "%s needs the right '%s', for which a password must be given. Call again with interactive authorisation and an agent "
                       "that asks for it, or as root.",
                       member, right);
        else
                refuse(q, BUS_ERROR_NOT_AUTHORISED,
                       "%s needs the right '%s' (" POLICY_ID "%s), which this user does not have. Ask an administrator for a polkit rule, or "
                       "run the command as root.",
                       member, right, right);
}

/* The message was accepted before; it goes through the dispatcher again and now finds the answer. */
static void come_again(Question *q) {
        CallError e;

        if (sd_bus_message_rewind(q->message, true) >= 0 && sd_bus_enqueue_for_read(q->bus->bus, q->message) >= 0 &&
            sd_event_add_time_relative(q->bus->event, &q->timer, CLOCK_MONOTONIC, q->bus->limits.forget_usec, 0, on_forget, q) >= 0)
                return;
        call_error_set(&e, BUS_ERROR_HOST, "The daemon has too many calls to answer. Try again.");
        (void) reply_call_error(q->message, &e);
        descriptors_dispose(q->bus, q->message);
        question_free(q);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const sd_bus_error *failed = sd_bus_message_get_error(m);
        Question *q = userdata;

        q->call = sd_bus_slot_unref(q->call);
        if (failed && (sd_bus_error_has_name(failed, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(failed, SD_BUS_ERROR_TIMEOUT)))
                question_cancel(q);
        if (failed)
                refuse_for_fault(q, failed);
        else
                take_answer(q, m);
        come_again(q);
        return 0;
}

static int send_question(Question *q, Call *c) {
        _cleanup_message_ sd_bus_message *m = NULL;
        bool person = sd_bus_message_get_allow_interactive_authorization(c->message) > 0;
        char id[64], number[24];
        int r;

        snprintf(id, sizeof(id), POLICY_ID "%s", action_to_string(q->action));
        snprintf(number, sizeof(number), "%" PRIu64, q->number);
        r = sd_bus_message_new_method_call(c->bus->bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s", c->peer->name, id);
        if (r >= 0)
                r = append_details(m, c);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", (uint32_t) person, number);
        return r < 0 ? r : sd_bus_call_async(c->bus->bus, &q->call, m, on_answer, q, person ? c->bus->limits.person_usec : c->bus->limits.answer_usec);
}

static unsigned questions_of(const Bus *b, uint32_t uid) {
        unsigned n = 0;

        for (const Question *q = b->questions; q; q = q->next)
                n += q->peer->uid == uid;
        return n;
}

/* 0: the message is held. */
static int ask(Call *c, Action action) {
        Bus *b = c->bus;
        Question *q;
        int r;

        if (b->n_questions >= QUESTIONS_MAX || questions_of(b, c->uid) >= QUESTIONS_PER_USER_MAX)
                return call_error_set(c->e, BUS_ERROR_QUOTA,
                                      "Too many calls of this user wait for an authorisation (at most %d). Answer or dismiss them first.",
                                      QUESTIONS_PER_USER_MAX);
        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (Question){.bus = b,
                        .peer = c->peer,
                        .message = sd_bus_message_ref(c->message),
                        .action = action,
                        .number = ++b->question_number,
                        .next = b->questions};
        b->questions = q;
        b->n_questions++;
        c->peer->n_questions++;
        r = send_question(q, c);
        if (r < 0) {
                question_free(q);
                return r;
        }
        c->held = true;
        return 0;
}

int call_require(Call *c, Action action) {
        if (action == ACTION_NONE || call_authorised(c->bus, c->uid))
                return 1;
        for (Question *q = c->bus->questions; q; q = q->next) {
                if (q->message != c->message || q->action != action || q->state == ASKED)
                        continue;
                if (q->state == ALLOWED) {
                        (void) sd_event_source_set_enabled(q->timer, SD_EVENT_OFF); /* it came; it may ask for more */
                        return 1;
                }
                *c->e = q->refusal;
                return -1;
        }
        return ask(c, action);
}

int call_identify(Call *c) {
        int r;

        c->peer = peer_need(c->bus, c->message, c->e);
        if (!c->peer)
                return -1;
        if (c->peer->state != PEER_KNOWN) {
                r = peer_hold(c->peer, c->message, c->e);
                c->held = r >= 0;
                return r < 0 ? r : 0;
        }
        c->uid = c->peer->uid;
        return 1;
}
