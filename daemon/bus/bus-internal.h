/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/epoll.h>
#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "common/macro.h"

#define BUS_NAME "org.fdld.Fdld1"
#define BUS_ROOT "/org/fdld/Fdld1"
#define BUS_PATH_MAX 512

/* Bounds. A stock bus allows 512 match rules for each connection; each peer that is known costs one. */
#define PEERS_MAX 256
#define HELD_MAX 64 /* messages that wait for credentials, in all (each may carry 16 descriptors) */
#define HELD_PER_PEER_MAX 16
#define WAITERS_MAX 4096
#define WAITERS_PER_PEER_MAX 64
#define DRAFTS_PER_PEER_MAX 64
#define LEASES_MAX 64
#define QUESTIONS_MAX 64 /* calls that wait for polkit; each may carry 16 descriptors */
#define QUESTIONS_PER_USER_MAX 16
#define QUERIES_MAX 32 /* unanswered questions to the store */
#define GHOSTS_MAX 256 /* jobs that are not listed but known by path */

typedef struct BusObject BusObject;
typedef struct Peer Peer;
typedef struct Waiter Waiter;
typedef struct Lease Lease;
typedef struct Query Query;
typedef struct FdMessage FdMessage;
typedef struct StoreCall StoreCall;
typedef struct Question Question;
typedef struct Follower Follower;

/* What the bus knows of an object of the station: where it is, what was told and what is to be told. */
struct BusObject {
        Bus *bus;
        ObjectKind kind;
        void *object; /* Device, Slot, Package, Job or Station */
        char *path;
        uint64_t id;    /* of a job */
        uint64_t dirty; /* changed properties, bits as in the vtable */
        bool wanted;    /* the station lists it; `object` is valid */
        bool listed;    /* announced with InterfacesAdded and in GetManagedObjects */
        bool pending;   /* in the queue of what is to be told */
        bool ghost;     /* a job that is not listed; ask object_lookup() before using `object` */
        bool old;       /* a finished job from the store; `object` is our own copy */
        unsigned n_waiters;
        Peer *owner; /* of a draft */
        BusObject *pending_next;
        BusObject *ghost_next;
};

/* A sender: known while it is on the bus and was of interest. */
struct Peer {
        Bus *bus;
        char name[256];
        enum { PEER_NEW, PEER_ASKING, PEER_KNOWN } state;
        uint32_t uid;
        sd_bus_slot *match, *call;
        sd_bus_message *held[HELD_PER_PEER_MAX];
        unsigned n_held, n_waiters, n_drafts, n_questions;
        Peer *next;
};

struct Waiter {
        BusObject *object;
        Peer *peer;
        sd_bus_message *message;
        Waiter *next;
};

/* Counters of the write queue, in messages, and waiting times. Variables, so that tests need not fill the real thing. */
typedef struct BusLimits {
        uint64_t write_soft; /* above: nothing more is told, changes collect in the dirty bits */
        uint64_t write_hard; /* above: the bus is taken for dead */
        uint64_t stuck_usec; /* so long above write_soft: the same */
        uint64_t answer_usec; /* polkit's time when it may not ask anybody */
        uint64_t person_usec; /* and when somebody types a password */
        uint64_t forget_usec; /* a call that polkit answered and that never came back: its object is gone */
} BusLimits;

typedef struct BusKind {
        Bus *bus;
        ObjectKind kind;
} BusKind;

struct Bus {
        sd_event *event;
        Station *station;
        sd_bus *bus;
        bool trust_own_uid, named;
        void (*lost)(void *userdata);
        void *userdata;
        void (*ready)(void *userdata);
        char reason[256];
        BusLimits limits;
        sd_event_source *flush, *retry, *lost_source;
        uint64_t stuck_since; /* CLOCK_MONOTONIC, 0 not */
        uint64_t flushed_usec; /* when changes were last told; CLOCK_MONOTONIC */
        BusObject root;
        BusKind kinds[OBJECT_JOB + 1];
        void *tree; /* tsearch() of BusObject by path */
        BusObject *pending, **pending_tail;
        BusObject *ghosts; /* newest first */
        unsigned n_ghosts;
        Peer *peers;
        unsigned n_peers, n_held;
        Waiter *waiters;
        unsigned n_waiters;
        Lease *leases;
        unsigned n_leases;
        Query *queries;
        unsigned n_queries;
        Question *questions;
        unsigned n_questions;
        uint64_t question_number;
        StoreCall *store_calls;
        unsigned n_store_calls;
        Follower *followers;
        unsigned n_followers;
        sd_bus_slot *inhibit_call;
        int inhibit_fd;                     /* of logind, -EBADF none */
        bool inhibit_wanted, inhibit_delays; /* it does not let us block */
        FdMessage *fd_messages;
        int fd_tell[2];
        sd_event_source *fd_source;
};

/* bus.c */
void bus_lose(Bus *b, const char *format, ...) _printf_(2, 3);

/* objects.c: the tree, what is listed, what is to be told */
typedef struct ObjectClass {
        const char *prefix; /* path of the parent, the root object itself for the station */
        const char *interface;
        const sd_bus_vtable *vtable;
        BusError missing;
} ObjectClass;
const ObjectClass *object_class(ObjectKind kind);
const char *object_path(ObjectKind kind, const void *object, char buffer[static BUS_PATH_MAX]);
const char *job_path(uint64_t id, char buffer[static BUS_PATH_MAX]);
BusObject *object_find(Bus *b, const char *path);
bool job_id_from_path(const char *path, uint64_t *ret);
/* Also finds jobs that are in memory but not listed. */
BusObject *object_lookup(Bus *b, const char *path);
BusObject *object_add_ghost(Bus *b, Job *job, bool old /* the copy becomes the object's */);
void object_remove(BusObject *o);
void object_schedule(BusObject *o);
void object_mark(BusObject *o, const char *property);
void object_tell(BusObject *o);
int objects_publish(Bus *b);
int objects_filter(sd_bus_message *m, void *userdata, sd_bus_error *error);
/* Tells the changes of so many objects at most. False: there are more. */
bool objects_flush(Bus *b, unsigned most);
void objects_free(Bus *b);
/* The object at a path that must be of one kind; NULL with *e. */
void *object_need(Bus *b, ObjectKind kind, const char *path, CallError *e);

/* creds.c: who is calling */
Peer *peer_find(Bus *b, const char *name);
Peer *peer_need(Bus *b, sd_bus_message *m, CallError *e);
/* Keeps the message until the peer's credentials are known, then it is dispatched again. */
int peer_hold(Peer *p, sd_bus_message *m, CallError *e);
void peer_gone(Peer *p);
void peers_free(Bus *b);

/* actions.def: what may be allowed */
#define POLICY_ID "org.fdld.fdld1."
typedef enum Action {
        ACTION_NONE, /* reads; everyone */
#define ACTION(id, name, any, inactive, active, description, message) ACTION_##id,
#include "bus/actions.def"
#undef ACTION
        ACTION_MAX,
} Action;
const char *action_to_string(Action action);

typedef struct Call {
        Bus *bus;
        BusObject *object;
        sd_bus_message *message;
        Peer *peer;   /* NULL for ACTION_NONE */
        uint32_t uid; /* as peer */
        bool held;    /* comes again when it is known who calls and whether that is allowed */
        CallError *e;
} Call;
/* >= 0: answered, or will be. -1 with *c->e set; another negative errno: our own fault. */
typedef int (*Handler)(Call *c);

/* Chooses what a call needs by its arguments: the message is at its beginning and is rewound afterwards. The row's action is where
 * *ret starts. 0, or as Handler for arguments that are wrong anyway. */
typedef int (*Grade)(Call *c, Action *ret);

/* methods.c: which method needs what */
typedef struct Method {
        ObjectKind kind;
        const char *member;
        Action action;
        Handler handler;
        Grade grade;   /* NULL: always `action` */
} Method;
const Method *method_find(ObjectKind kind, const char *member);
/* The handler of every method in every vtable. */
int bus_dispatch(sd_bus_message *m, void *userdata, sd_bus_error *error);
int reply_call_error(sd_bus_message *m, const CallError *e);

/* authorise.c */
bool call_authorised(const Bus *b, uint32_t uid); /* without asking */
/* Who calls. 1: c->peer and c->uid are set; 0: held, the handler returns at once and is called again; negative as Handler. */
int call_identify(Call *c);
/* May the caller do this, now that it is known? 1 yes; 0 held, as above; negative as Handler. A handler may ask for more than one action,
 * one after the other, before it changes anything. */
int call_require(Call *c, Action action);
void questions_answered(Bus *b, const sd_bus_message *m); /* the message is done with */
void questions_forget(Bus *b, const Peer *p);             /* NULL: all */

/* limits.c: 0, or -1 with *c->e when the user has enough of what the method makes. */
int limits_check(Call *c, const Method *method);

/* log-control.c: /org/freedesktop/LogControl1 */
int log_control_publish(Bus *b);

/* grades.c */
int grade_flash(Call *c, Action *ret);
int grade_create_job(Call *c, Action *ret);
int grade_submit(Call *c, Action *ret);
int grade_retry(Call *c, Action *ret);
int grade_start_batch(Call *c, Action *ret);
int grade_arm(Call *c, Action *ret);
int grade_own(Call *c, Action *ret); /* nothing for the user whose job it is */

int manager_import_package(Call *c);
int manager_plan(Call *c);
int manager_flash(Call *c);
int manager_create_job(Call *c);
int manager_list_loaders(Call *c);
int manager_get_job(Call *c);
int manager_get_slot_by_port(Call *c);
int manager_get_device_by_sysfs(Call *c);
int manager_list_jobs(Call *c);
int manager_inhibit(Call *c);
int manager_explain(Call *c);
int manager_reload(Call *c);
int history_query(Call *c);
int history_export(Call *c);
int history_check(Call *c);
int history_prune(Call *c);
int vault_list(Call *c);
int vault_read(Call *c);
int vault_add(Call *c);
int device_probe(Call *c);
int device_reset(Call *c);
int device_get_identity(Call *c);
int slot_method_set_label(Call *c);
int slot_method_set_enabled(Call *c);
int slot_method_reset_counters(Call *c);
int slot_method_clear_wedged(Call *c);
int slot_method_arm(Call *c);
int slot_method_disarm(Call *c);
int slot_method_set_listed(Call *c);
int manager_start_batch(Call *c);
int batch_method_pause(Call *c);
int batch_method_resume(Call *c);
int batch_method_drain(Call *c);
int batch_method_stop(Call *c);
int batch_method_confirm(Call *c);
int package_method_remove(Call *c);
int job_method_add_steps(Call *c);
int job_method_attach_files(Call *c);
int job_method_submit(Call *c);
int job_method_cancel(Call *c);
int job_method_answer(Call *c);
int job_method_wait(Call *c);
int job_method_retry(Call *c);
int job_method_trace(Call *c);
int job_method_follow_log(Call *c);

/* Interfaces of the root object besides its own. */
typedef struct RootInterface {
        const char *name;
        const sd_bus_vtable *vtable;
} RootInterface;
extern const RootInterface root_interfaces[]; /* ends with a NULL name */

extern const sd_bus_vtable history_vtable[], vault_vtable[], manager_vtable[], device_vtable[], slot_vtable[], package_vtable[], job_vtable[],
        batch_vtable[], profile_vtable[];

/* manager-object.c */
void leases_free(Bus *b);
void manager_emit_job_finished(Bus *b, Job *job);
void manager_emit_left_early(Bus *b, Slot *slot, uint64_t lived_usec);
void manager_emit_user_action(Bus *b, Job *job, const char *action);

/* job-object.c */
void waiters_answer(BusObject *o);
void waiters_drop(Bus *b, const BusObject *o, const Peer *p); /* of the object, of the peer */
void job_owner_set(BusObject *o, Peer *p);
/* -1 with *c->e for a job of which only the record is left; else 0. */
int job_is_old(Call *c);
int append_outputs(sd_bus_message *m, const Job *job); /* a(sttsb) */

/* evidence-methods.c */
void followers_tell(Bus *b, uint64_t job, const char *line);
void followers_end(Bus *b, uint64_t job); /* 0: all */

/* old-jobs.c: finished jobs that only the store knows */
int old_jobs_filter(sd_bus_message *m, void *userdata, sd_bus_error *error);
int old_job_get(Call *c, uint64_t id);
int old_jobs_list(Call *c, JobState state, uint64_t before, unsigned limit);
void old_jobs_free(Bus *b);

/* inhibitor.c: logind, while flash is being changed */
void inhibitor_update(Bus *b);
void inhibitor_free(Bus *b);

/* store-call.c: an answer that comes once the store has given it. All on the main thread. */
struct StoreCall {
        Bus *bus; /* NULL: the bus is gone, the answer does not matter */
        sd_bus_message *message;
        uint64_t cursor;
        bool oldest_first;
        StoreCall *next;
};
StoreCall *store_call_new(Call *c); /* NULL: c->e says why */
StoreCall *store_call_free(StoreCall *h);
/* The store did not even take the question: frees h; -1 with *e. */
int store_call_refuse(StoreCall *h, const char *what, CallError *e, int error);
void store_call_fail(StoreCall *h, const char *what, int error); /* answers; h stays */
void store_calls_free(Bus *b);

/* descriptors.c: descriptors of callers are never closed on the main thread. Called for each message that may have some before it is
 * released; they are of no use afterwards. */
int descriptors_prepare(Bus *b);
int descriptors_filter(sd_bus_message *m, void *userdata, sd_bus_error *error);
void descriptors_dispose(Bus *b, sd_bus_message *m);
void descriptors_free(Bus *b);

/* options.c: a{sv} read key by key */
typedef struct OptionSpec {
        const char *key;
        char type; /* D-Bus basic type */
        int (*parse)(const void *value, void *target,
                     CallError *e); /* const char* for s and o, else a pointer to the value */
} OptionSpec;
int options_read(sd_bus_message *m, const OptionSpec *specs, size_t n_specs, void *target, CallError *e);
int options_none(sd_bus_message *m, CallError *e);
typedef struct FlashOptions {
        PlanOptions plan;
        char package[BUS_PATH_MAX];
        char loaders[128];             /* which, where neither package nor own loaders are given */
        char operator_name[64];
        SerialWish serial;             /* into the message */
        /* of jobs made of steps with own loaders */
        char family[32];
        char unit[65];
        uint64_t fdl1_address, fdl2_address; /* U64_UNKNOWN: not given */
} FlashOptions;
int options_read_flash(sd_bus_message *m, bool with_package, FlashOptions *ret, CallError *e);
/* Text from a client that people will read: not empty unless allowed, at most `max` bytes, no control or bidi
 * characters. */
int text_check(const char *what, const char *text, size_t max, bool empty_ok, CallError *e);

/* message.c: appending */
/* A text that was cut in the middle of a character is enough to be thrown off the bus, so everything is looked at. */
bool text_is_clean(const char *s);
void text_mend(char *s);
int append_string(sd_bus_message *m, const char *s);
int append_object(sd_bus_message *m, ObjectKind kind, const void *object); /* NULL: "/" */
int append_pair_string(sd_bus_message *m, const char *key, const char *value);
int append_pair_object(sd_bus_message *m, const char *key, ObjectKind kind, const void *object);
int append_pair_u64(sd_bus_message *m, const char *key, uint64_t value);
int append_pair_bool(sd_bus_message *m, const char *key, bool value);
int append_pair_int(sd_bus_message *m, const char *key, int32_t value);
int append_pair_list(sd_bus_message *m, const char *key, const char *const *list, size_t n);
int append_error(sd_bus_message *m, const Job *job);  /* (ssa{sv}) */
int append_result(sd_bus_message *m, const Job *job); /* a{sv} of Wait and JobFinished */
int new_reply(sd_bus_message *call, sd_bus_message **ret);
int send_reply(sd_bus_message *reply);
int reply_job(Call *c, Job *job); /* (t id, o job) */

static inline void sd_bus_message_unrefpp(sd_bus_message **m) {
        sd_bus_message_unref(*m);
}
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefpp)
