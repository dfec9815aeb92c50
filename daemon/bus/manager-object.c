/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/epoll.h>

#include "bus/bus-internal.h"
#include "bus/getter.h"
#include "station/loaders.h"
#include "station/steps.h"

GETTER(get_version, Station, s, ((void) s, append_string(reply, PACKAGE_VERSION)))
GETTER(get_station_name, Station, s, append_string(reply, station_name(s)))
GETTER(get_jobs_running, Station, s, sd_bus_message_append(reply, "u", station_jobs_running(s)))
GETTER(get_jobs_queued, Station, s, sd_bus_message_append(reply, "u", station_jobs_queued(s)))
GETTER(get_batches_running, Station, s, sd_bus_message_append(reply, "u", station_batches_running(s)))
GETTER(get_inhibited, Station, s,
       ((void) s, sd_bus_message_append(reply, "b", ((BusObject *) userdata)->bus->n_leases > 0)))

const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("ImportPackage", SD_BUS_ARGS("h", file, "s", name, "a{sv}", options), SD_BUS_RESULT("t", id, "o", job),
               bus_dispatch, FOR_ALL),
        METHOD("Plan", SD_BUS_ARGS("o", package, "a{sv}", options), SD_BUS_RESULT("aa{sv}", steps), bus_dispatch,
               FOR_ALL),
        METHOD("Flash", SD_BUS_ARGS("o", target, "o", package, "a{sv}", options), SD_BUS_RESULT("t", id, "o", job),
               bus_dispatch, FOR_ALL),
        METHOD("CreateJob", SD_BUS_ARGS("s", kind, "o", target, "a{sv}", options), SD_BUS_RESULT("t", id, "o", job),
               bus_dispatch, FOR_ALL),
        METHOD("ListLoaders", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("aa{sv}", loaders), bus_dispatch, FOR_ALL),
        METHOD("GetJob", SD_BUS_ARGS("t", id), SD_BUS_RESULT("o", job), bus_dispatch, FOR_ALL),
        METHOD("GetSlotByPort", SD_BUS_ARGS("s", port), SD_BUS_RESULT("o", slot), bus_dispatch, FOR_ALL),
        METHOD("GetDeviceBySysfs", SD_BUS_ARGS("s", path), SD_BUS_RESULT("o", device), bus_dispatch, FOR_ALL),
        METHOD("ListJobs", SD_BUS_ARGS("a{sv}", filter), SD_BUS_RESULT("a(tsoosd)", jobs), bus_dispatch, FOR_ALL),
        METHOD("StartBatch", SD_BUS_ARGS("s", name, "o", package, "ao", slots, "a{sv}", options), SD_BUS_RESULT("o", batch),
               bus_dispatch, FOR_ALL),
        METHOD("Inhibit", SD_BUS_ARGS("s", who, "s", why, "s", what), SD_BUS_RESULT("h", lease), bus_dispatch, FOR_ALL),
        METHOD("Explain", SD_BUS_ARGS("s", code), SD_BUS_RESULT("a{sv}", explanation), bus_dispatch, FOR_ALL),
        METHOD("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        SD_BUS_SIGNAL_WITH_ARGS("JobFinished", SD_BUS_ARGS("t", id, "o", job, "s", result, "a{sv}", details), 0),
        SD_BUS_SIGNAL_WITH_ARGS("LeftEarly", SD_BUS_ARGS("o", slot, "t", lived, "a{sv}", details), 0),
        SD_BUS_SIGNAL_WITH_ARGS("UserActionRequired", SD_BUS_ARGS("o", job, "s", action, "a{sv}", details), 0),
        CONSTANT("Version", "s", get_version),
        PROPERTY("StationName", "s", get_station_name),
        PROPERTY("JobsRunning", "u", get_jobs_running),
        PROPERTY("JobsQueued", "u", get_jobs_queued),
        PROPERTY("BatchesRunning", "u", get_batches_running),
        PROPERTY("Inhibited", "b", get_inhibited),
        SD_BUS_VTABLE_END,
};

/* ---- packages in, jobs out ---- */

int manager_import_package(Call *c) {
        const char *name;
        Job *job;
        int fd, copy, r;

        r = sd_bus_message_read(c->message, "hs", &fd, &name);
        if (r < 0)
                return r;
        if (text_check("name", name, sizeof(job->package_name) - 1, false, c->e) < 0 ||
            options_none(c->message, c->e) < 0)
                return -1;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        if (station_import(c->bus->station, copy, name, c->uid, &job, c->e) < 0)
                return -1;
        return reply_job(c, job);
}

static int append_step(sd_bus_message *m, const PlanStep *step) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_string(m, "op", plan_op_to_string(step->op));
        if (r >= 0)
                r = append_pair_string(m, "stage", stage_to_string(step->stage));
        if (r >= 0)
                r = append_pair_string(m, "id", step->id);
        if (r >= 0)
                r = append_pair_string(m, "partition", step->partition);
        if (r >= 0)
                r = append_pair_u64(m, "address", step->address);
        if (r >= 0)
                r = append_pair_u64(m, "size", step->size);
        if (r >= 0)
                r = append_pair_bool(m, "destructive", step->destructive);
        if (r >= 0)
                r = append_pair_bool(m, "critical", step->critical);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int manager_plan(Call *c) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        FlashOptions options;
        Package *package;
        const char *path;
        int r;

        r = sd_bus_message_read(c->message, "o", &path);
        if (r < 0)
                return r;
        if (options_read_flash(c->message, false, &options, c->e) < 0)
                return -1;
        package = object_need(c->bus, OBJECT_PACKAGE, path, c->e);
        if (!package || station_plan(c->bus->station, package, &options.plan, &plan, c->e) < 0)
                return -1;
        r = new_reply(c->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < plan->n_steps; i++)
                r = append_step(reply, plan->steps + i);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}

static int target_from_path(Bus *b, const char *path, Target *ret, CallError *e) {
        const BusObject *o = object_find(b, path);
        Target t = {.kind = TARGET_ANY};

        if (o && o->kind == OBJECT_DEVICE) {
                t.kind = TARGET_DEVICE;
                t.device = o->object;
        } else if (o && o->kind == OBJECT_SLOT) {
                t.kind = TARGET_SLOT;
                t.slot = o->object;
        } else if (strncmp(path, BUS_ROOT "/devices/", strlen(BUS_ROOT "/devices/")) == 0)
                return call_error_set(e, BUS_ERROR_NO_SUCH_DEVICE, "The target %.256s is not there (any more).", path);
        else if (strncmp(path, BUS_ROOT "/slots/", strlen(BUS_ROOT "/slots/")) == 0)
                return call_error_set(e, BUS_ERROR_NO_SUCH_SLOT, "There is no slot %.256s. GetSlotByPort makes one.",
                                      path);
        else if (!streq(path, "/"))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The target %.256s is not a device, a slot or /.",
                                      path);
        *ret = t;
        return 0;
}

int manager_flash(Call *c) {
        const char *target_path, *package_path;
        FlashOptions options;
        Package *package;
        Target target;
        Job *job;
        int r;

        r = sd_bus_message_read(c->message, "oo", &target_path, &package_path);
        if (r < 0)
                return r;
        if (options_read_flash(c->message, false, &options, c->e) < 0)
                return -1;
        if (target_from_path(c->bus, target_path, &target, c->e) < 0)
                return -1;
        package = object_need(c->bus, OBJECT_PACKAGE, package_path, c->e);
        if (!package || station_flash_as(c->bus->station, &target, package, &options.plan, &options.serial, c->uid, &job, c->e) < 0)
                return -1;
        if (options.operator_name[0])
                job_set_operator(job, options.operator_name);
        return reply_job(c, job);
}

static int draft_steps(Call *c, const char *kind, const Target *target, Package *package, const FlashOptions *options, Job **ret) {
        StepsOptions steps = {.plan = options->plan, .fdl1_address = options->fdl1_address, .fdl2_address = options->fdl2_address};
        bool own = options->fdl1_address != U64_UNKNOWN || options->fdl2_address != U64_UNKNOWN;
        char note[256] = "";
        int r;

        if (options->loaders[0] && (own || package))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "Option 'loaders' chooses among packages: give no package and no loaders of your own.");
        if (!package && !own && kind_has_steps(kind)) {
                package = station_choose_loaders(c->bus->station, target, options->loaders, options->family, note, c->e);
                if (!package)
                        return -1;
                steps.named = options->loaders[0] != '\0';
                steps.picked = !steps.named;
        }
        snprintf(steps.family, sizeof(steps.family), "%s", options->family);
        snprintf(steps.unit, sizeof(steps.unit), "%s", options->unit);
        r = station_draft_steps(c->bus->station, kind, target, package, &steps, c->uid, ret, c->e);
        if (r >= 0 && note[0])
                job_add_note(*ret, note);
        return r;
}

static int make_draft(Call *c, const char *kind, const char *target_path, const FlashOptions *options) {
        char buffer[BUS_PATH_MAX];
        Package *package;
        BusObject *o;
        Target target;
        Job *job;
        int r;

        if (target_from_path(c->bus, target_path, &target, c->e) < 0)
                return -1;
        package = options->package[0] ? object_need(c->bus, OBJECT_PACKAGE, options->package, c->e) : NULL;
        if (options->package[0] && !package)
                return -1;
        r = streq(kind, "flash") || streq(kind, "verify")
                    ? station_draft_as(c->bus->station, kind, &target, package, &options->plan, &options->serial, c->uid, &job, c->e)
                                 : draft_steps(c, kind, &target, package, options, &job);
        if (r < 0)
                return -1;
        job_set_operator(job, options->operator_name);
        o = object_lookup(c->bus, job_path(job->id, buffer));
        if (!o) {
                job_discard(job);
                return -ENOMEM;
        }
        job_owner_set(o, c->peer);
        return reply_job(c, job);
}

int manager_create_job(Call *c) {
        const char *kind, *target;
        FlashOptions options;
        const PlanChoice *choice = &options.plan.choice;
        int r;

        r = sd_bus_message_read(c->message, "so", &kind, &target);
        if (r < 0)
                return r;
        if (options_read_flash(c->message, true, &options, c->e) < 0)
                return -1;
        if (!options.package[0] && (streq(kind, "flash") || streq(kind, "verify")))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'package' (o) is missing: which package is meant?");
        if (kind_has_steps(kind) && !(streq(kind, "repair") ? choice_is_default(choice) : choice_is_of_loaders(choice)))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION,
                                      "include, exclude, nv, stamps, table-check and erase-all are options of kinds flash and verify; checks, try-checks and "
                                      "keep-charge also of kinds made of steps but repair.");
        if (options.unit[0] && !kind_has_steps(kind))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "Option 'unit' is for jobs made of steps.");
        if ((options.serial.serial || options.serial.serials || options.plan.first_mode > 0) && !streq(kind, "flash"))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "The options 'serial', 'serials' and 'first-mode' are for jobs of the kind flash.");
        if (c->peer->n_drafts >= DRAFTS_PER_PEER_MAX)
                return call_error_set(c->e, BUS_ERROR_QUOTA, "Too many drafts (%d) of this caller wait for Submit.",
                                      DRAFTS_PER_PEER_MAX);
        return make_draft(c, kind, target, &options);
}

/* ---- finding ---- */

int manager_get_job(Call *c) {
        char buffer[BUS_PATH_MAX];
        uint64_t id;
        int r;

        r = sd_bus_message_read(c->message, "t", &id);
        if (r < 0)
                return r;
        if (object_lookup(c->bus, job_path(id, buffer)))
                return sd_bus_reply_method_return(c->message, "o", buffer);
        return old_job_get(c, id);
}

int manager_get_slot_by_port(Call *c) {
        char buffer[BUS_PATH_MAX];
        const char *port;
        Slot *slot;
        int r;

        r = sd_bus_message_read(c->message, "s", &port);
        if (r < 0)
                return r;
        if (text_check("port", port, sizeof(slot->port) - 1, false, c->e) < 0)
                return -1;
        slot = station_need_slot(c->bus->station, port, c->e);
        if (!slot)
                return -1;
        return sd_bus_reply_method_return(c->message, "o", object_path(OBJECT_SLOT, slot, buffer));
}

int manager_get_device_by_sysfs(Call *c) {
        char buffer[BUS_PATH_MAX];
        const char *path;
        Device *device;
        int r;

        r = sd_bus_message_read(c->message, "s", &path);
        if (r < 0)
                return r;
        device = station_find_device_by_sysfs(c->bus->station, path);
        if (!device)
                return call_error_set(c->e, BUS_ERROR_NO_SUCH_DEVICE,
                                      "No device in boot mode has the sysfs path %.256s.", path);
        return sd_bus_reply_method_return(c->message, "o", object_path(OBJECT_DEVICE, device, buffer));
}

typedef struct JobFilter {
        JobState state;
        uint64_t before;
        uint32_t limit;
} JobFilter;

static int parse_state(const void *value, void *target, CallError *e) {
        JobState state = job_state_from_string(value);

        if ((int) state < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'state' cannot be '%.64s'. Possible: draft, queued, waiting, "
                                      "running, cancelling, finished.",
                                      (const char *) value);
        ((JobFilter *) target)->state = state;
        return 0;
}

static int parse_before(const void *value, void *target, CallError *e _unused_) {
        ((JobFilter *) target)->before = *(const uint64_t *) value;
        return 0;
}

static int parse_limit(const void *value, void *target, CallError *e) {
        uint32_t limit = *(const uint32_t *) value;

        if (limit < 1 || limit > 1000)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'limit' must be between 1 and 1000.");
        ((JobFilter *) target)->limit = limit;
        return 0;
}

int manager_list_jobs(Call *c) {
        static const OptionSpec specs[] = {
                {"state", 's', parse_state},
                {"before", 't', parse_before},
                {"limit", 'u', parse_limit},
        };
        JobFilter f = {.state = JOB_STATE_INVALID, .limit = 100};

        if (options_read(c->message, specs, ELEMENTSOF(specs), &f, c->e) < 0)
                return -1;
        return old_jobs_list(c, f.state, f.before, f.limit);
}

/* ---- Inhibit: a pipe whose other end the caller holds ---- */

struct Lease {
        Bus *bus;
        sd_event_source *source;
        Lease *next;
};

static void lease_free(Lease *l) {
        Bus *b = l->bus;

        for (Lease **p = &b->leases; *p; p = &(*p)->next)
                if (*p == l) {
                        *p = l->next;
                        break;
                }
        sd_event_source_disable_unref(l->source); /* closes the descriptor */
        free(l);
        b->n_leases--;
        station_uninhibit(b->station);
        if (b->n_leases == 0)
                object_mark(&b->root, "Inhibited");
}

void leases_free(Bus *b) {
        while (b->leases)
                lease_free(b->leases);
}

static int on_lease_closed(sd_event_source *s _unused_, int fd _unused_, uint32_t events _unused_, void *userdata) {
        lease_free(userdata);
        return 0;
}

static int lease_new(Bus *b, int *ret_fd) {
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        int fds[2], r;
        Lease *l;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        ours = fds[0];
        theirs = fds[1];
        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        l->bus = b;
        /* No events but the hang-up, which always comes: what is written into the pipe does not matter. */
        r = sd_event_add_io(b->event, &l->source, ours, 0, on_lease_closed, l);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(l->source, true);
        if (r < 0) {
                sd_event_source_disable_unref(l->source);
                free(l);
                return r;
        }
        (void) TAKE_FD(ours);
        l->next = b->leases;
        b->leases = l;
        b->n_leases++;
        station_inhibit(b->station);
        if (b->n_leases == 1)
                object_mark(&b->root, "Inhibited");
        *ret_fd = TAKE_FD(theirs);
        return 0;
}

int manager_inhibit(Call *c) {
        const char *who, *why, *what;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = sd_bus_message_read(c->message, "sss", &who, &why, &what);
        if (r < 0)
                return r;
        if (text_check("who", who, 256, false, c->e) < 0 || text_check("why", why, 256, true, c->e) < 0)
                return -1;
        if (!streq(what, "start"))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "'%.64s' cannot be inhibited. Possible: start.",
                                      what);
        if (c->bus->n_leases >= LEASES_MAX)
                return call_error_set(c->e, BUS_ERROR_QUOTA, "Too many leases (%d) are held. Close some.", LEASES_MAX);
        r = lease_new(c->bus, &fd);
        return r < 0 ? r : sd_bus_reply_method_return(c->message, "h", fd);
}

/* ---- the rest ---- */

int manager_explain(Call *c) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        Explanation x = {0};
        const char *code;
        int r;

        r = sd_bus_message_read(c->message, "s", &code);
        if (r < 0)
                return r;
        if (!explanation_find(code, &x))
                return call_error_set(c->e, BUS_ERROR_NO_SUCH_CODE,
                                      "'%.64s' is not a failure code. Codes look like write-refused-8a.", code);
        r = new_reply(c->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_string(reply, "summary", x.summary);
        if (r >= 0)
                r = append_pair_list(reply, "causes", x.causes, EXPLANATION_LIST_MAX);
        if (r >= 0)
                r = append_pair_list(reply, "actions", x.actions, EXPLANATION_LIST_MAX);
        if (r >= 0)
                r = append_pair_string(reply, "error", x.dbus_name);
        if (r >= 0)
                r = append_pair_int(reply, "exit", x.exit_code);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}

int manager_reload(Call *c) {
        if (station_reload(c->bus->station, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

void manager_emit_job_finished(Bus *b, Job *job) {
        _cleanup_message_ sd_bus_message *m = NULL;
        char buffer[BUS_PATH_MAX];
        int r;

        if (!b->named)
                return;
        r = sd_bus_message_new_signal(b->bus, &m, BUS_ROOT, BUS_NAME ".Manager", "JobFinished");
        if (r >= 0)
                r = sd_bus_message_append(m, "to", job->id, job_path(job->id, buffer));
        if (r >= 0)
                r = append_string(m, job_result_to_string(job->result));
        if (r >= 0)
                r = append_result(m, job);
        if (r >= 0)
                (void) sd_bus_send(b->bus, m, NULL);
}

void manager_emit_user_action(Bus *b, Job *job, const char *action) {
        _cleanup_message_ sd_bus_message *m = NULL;
        char buffer[BUS_PATH_MAX];
        int r;

        if (!b->named)
                return;
        r = sd_bus_message_new_signal(b->bus, &m, BUS_ROOT, BUS_NAME ".Manager", "UserActionRequired");
        if (r >= 0)
                r = sd_bus_message_append(m, "o", job_path(job->id, buffer));
        if (r >= 0)
                r = append_string(m, action);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_object(m, "slot", OBJECT_SLOT, job->slot);
        if (r >= 0 && job->slot)
                r = append_pair_string(m, "port", job->slot->port);
        if (r >= 0 && job->slot)
                r = append_pair_string(m, "label", job->slot->label);
        if (r >= 0 && job->answer_by_usec != U64_UNKNOWN)
                r = append_pair_u64(m, "answer-by", job->answer_by_usec);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                (void) sd_bus_send(b->bus, m, NULL);
}

void manager_emit_left_early(Bus *b, Slot *slot, uint64_t lived_usec) {
        _cleanup_message_ sd_bus_message *m = NULL;
        char buffer[BUS_PATH_MAX];
        int r;

        if (!b->named)
                return;
        r = sd_bus_message_new_signal(b->bus, &m, BUS_ROOT, BUS_NAME ".Manager", "LeftEarly");
        if (r >= 0)
                r = sd_bus_message_append(m, "ot", object_path(OBJECT_SLOT, slot, buffer), lived_usec);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_string(m, "port", slot->port);
        if (r >= 0)
                r = append_pair_string(m, "label", slot->label);
        if (r >= 0)
                r = append_pair_string(m, "advice",
                                       "The boot key was not held, or not the right one: the device went on to charging. Switch it off fully (battery out "
                                       "for 10 seconds), hold the boot key and plug it in. Keys differ: volume down, volume up, both, or a key of the keypad.");
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                (void) sd_bus_send(b->bus, m, NULL);
}
