/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Control by JSON lines, on a socket and from a script. */

enum { LINE_MAX_BYTES = 65536, DESCRIBE_MAX = 65536, WAIT_DEFAULT_MS = 10000, LOOK_AGAIN_MS = 1 };

typedef struct json_object Json;

static Json *fail(const char *format, ...) PRINTF(1, 2);

static Json *success(void) {
        Json *o = json_object_new_object();

        json_object_object_add(o, "ok", json_object_new_boolean(true));
        return o;
}

static Json *fail(const char *format, ...) {
        char text[512];
        va_list ap;
        Json *o = json_object_new_object();

        va_start(ap, format);
        vsnprintf(text, sizeof text, format, ap);
        va_end(ap);
        json_object_object_add(o, "ok", json_object_new_boolean(false));
        json_object_object_add(o, "error", json_object_new_string(text));
        return o;
}

static const char *get_string(Json *o, const char *key) {
        Json *v = json_object_object_get(o, key);

        return v ? json_object_get_string(v) : NULL;
}

static bool get_ms(Json *o, const char *key, uint64_t otherwise, uint64_t *ret) {
        const char *s = get_string(o, key);

        *ret = otherwise;
        return !s || parse_u64(s, 3600 * 1000, ret);
}

static void sleep_ms(uint64_t ms) {
        struct timespec t = { .tv_sec = (time_t) (ms / 1000), .tv_nsec = (long) (ms % 1000) * 1000000 };

        while (nanosleep(&t, &t) < 0 && errno == EINTR)
                ;
}

static Unit *find_unit(World *w, Json *request) {
        const char *s = get_string(request, "device");
        uint64_t index;

        if (s && parse_u64(s, UNITS_MAX, &index))
                return index < w->n_units ? w->units[index] : NULL;
        for (unsigned i = 0; s && i < w->n_units; i++)
                if (w->units[i]->o.name && strcmp(w->units[i]->o.name, s) == 0)
                        return w->units[i];
        return NULL;
}

/* ---- what is known of a unit ---- */

static void add_string(Json *o, const char *key, const char *value) {
        json_object_object_add(o, key, value ? json_object_new_string(value) : NULL);
}

static void add_bool(Json *o, const char *key, bool value) {
        json_object_object_add(o, key, json_object_new_boolean(value));
}

static void add_number(Json *o, const char *key, uint64_t value) {
        json_object_object_add(o, key, json_object_new_int64((int64_t) value));
}

/* The unit's lock is held. */
static Json *describe(Unit *u, bool model) {
        char *text = model ? alloc0(DESCRIBE_MAX) : NULL, path[512];
        Json *o = NULL;

        if (text && sim_describe(u->model, text, DESCRIBE_MAX) > 0)
                o = json_tokener_parse(text);
        free(text);
        if (!o || !json_object_is_type(o, json_type_object)) {
                json_object_put(o);
                o = json_object_new_object();
        }
        add_number(o, "index", u->index);
        add_string(o, "name", u->o.name);
        add_string(o, "family", sim_family(u->model));
        add_bool(o, "plugged", u->plugged);
        add_bool(o, "present", u->node && !u->node->gone);
        add_bool(o, "booted", u->node && !u->node->runs_model);
        add_string(o, "port", u->o.port);
        add_string(o, "tty", tty_path(u));
        add_number(o, "transfers", u->transfers);
        add_number(o, "bytes", u->bytes_out);
        /* From the uevent to the first byte of this stay on the bus; 0: none came yet. */
        add_number(o, "first_byte_us", u->first_byte_ns > 0 ? (u->first_byte_ns - u->announced_ns) / 1000 : 0);
        if (u->node && !u->node->gone && u->node->number > 0) {
                format_to(path, sizeof path, "/dev/bus/usb/%03u/%03u", u->node->bus->number, u->node->number);
                add_string(o, "devnode", path);
                format_to(path, sizeof path, "/sys%s", u->node->path);
                add_string(o, "sysfs", path);
                add_string(o, "id-path", u->node->id_path);
        }
        return o;
}

static Json *describe_locked(Unit *u, bool model) {
        pthread_mutex_lock(&u->lock);
        Json *o = describe(u, model);
        pthread_mutex_unlock(&u->lock);
        return o;
}

static Json *with_device(Unit *u) {
        Json *o = success();

        json_object_object_add(o, "device", describe_locked(u, true));
        return o;
}

/* ---- conditions ---- */

typedef struct Condition {
        char key[64], op[3], value[128];
} Condition;

static bool condition_parse(const char *s, Condition *c) {
        size_t n = s ? strcspn(s, "=!<>") : 0, ops;

        if (n == 0 || n >= sizeof c->key || !s[n])
                return false;
        ops = strspn(s + n, "=!<>");
        if (ops > 2 || strlen(s + n + ops) >= sizeof c->value)
                return false;
        snprintf(c->key, sizeof c->key, "%.*s", (int) n, s);
        snprintf(c->op, sizeof c->op, "%.*s", (int) ops, s + n);
        snprintf(c->value, sizeof c->value, "%s", s + n + ops);
        return strcmp(c->op, "=") == 0 || strcmp(c->op, "!=") == 0 || strcmp(c->op, "<") == 0 ||
               strcmp(c->op, ">") == 0;
}

/* "a.b" looks into objects. */
static Json *lookup(Json *o, const char *key) {
        char part[64];

        for (;;) {
                size_t n = strcspn(key, ".");
                Json *next;

                snprintf(part, sizeof part, "%.*s", (int) n, key);
                if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, part, &next))
                        return NULL;
                if (!key[n])
                        return next;
                o = next;
                key += n + 1;
        }
}

static bool condition_holds(const Condition *c, Json *o) {
        Json *v = lookup(o, c->key);
        const char *s = v ? json_object_get_string(v) : "";

        if (c->op[0] == '=')
                return strcmp(s, c->value) == 0;
        if (c->op[0] == '!')
                return strcmp(s, c->value) != 0;
        double a = v ? json_object_get_double(v) : 0, b = strtod(c->value, NULL);
        return c->op[0] == '<' ? a < b : a > b;
}

/* ---- commands ---- */

static Json *cmd_list(World *w, Unit *u UNUSED, Json *request UNUSED) {
        Json *o = success(), *list = json_object_new_array();

        for (unsigned i = 0; i < w->n_units; i++)
                json_object_array_add(list, describe_locked(w->units[i], false));
        json_object_object_add(o, "devices", list);
        return o;
}

static Json *cmd_describe(World *w UNUSED, Unit *u, Json *request UNUSED) {
        return with_device(u);
}

static Json *cmd_plug(World *w UNUSED, Unit *u, Json *request) {
        char err[256];

        return unit_plug(u, get_string(request, "port"), err, sizeof err) ? with_device(u) : fail("%s", err);
}

static Json *cmd_unplug(World *w UNUSED, Unit *u, Json *request UNUSED) {
        char err[256];

        return unit_unplug(u, err, sizeof err) ? with_device(u) : fail("%s", err);
}

static Json *cmd_replug(World *w UNUSED, Unit *u, Json *request) {
        char err[256];
        uint64_t delay;

        if (!get_ms(request, "delay", 0, &delay))
                return fail("\"delay\" is a number of milliseconds.");
        if (unit_unplug(u, err, sizeof err)) /* else it is out already */
                sleep_ms(delay);
        return unit_plug(u, get_string(request, "port"), err, sizeof err) ? with_device(u) : fail("%s", err);
}

static Json *cmd_swap(World *w UNUSED, Unit *u, Json *request) {
        char err[256];

        return unit_swap(u, get_string(request, "spec"), err, sizeof err) ? with_device(u) : fail("%s", err);
}

static Json *cmd_fault(World *w UNUSED, Unit *u, Json *request) {
        const char *line = get_string(request, "fault");
        char err[256] = "";

        if (!line)
                return fail("\"fault\" is missing; see usbsim --list.");
        pthread_mutex_lock(&u->lock);
        bool ok = sim_fault(u->model, line, err, sizeof err);
        unit_run(u);
        pthread_mutex_unlock(&u->lock);
        return ok ? success() : fail("%s", err);
}

static Json *cmd_stall(World *w UNUSED, Unit *u, Json *request) {
        const char *ep = get_string(request, "endpoint"), *kind = get_string(request, "kind") ?: "halt";
        bool in = ep && strcmp(ep, "in") == 0;

        if (!in && (!ep || strcmp(ep, "out") != 0))
                return fail("\"endpoint\" is \"in\" or \"out\".");
        bool halt = strcmp(kind, "halt") == 0;
        if (!halt && strcmp(kind, "error") != 0)
                return fail("\"kind\" is \"halt\" (until cleared) or \"error\" (the next transfer).");
        pthread_mutex_lock(&u->lock);
        bool there = u->node;
        if (there) {
                if (halt)
                        *(in ? &u->node->halted_in : &u->node->halted_out) = true;
                else
                        *(in ? &u->node->error_in : &u->node->error_out) = true;
                unit_run(u);
        }
        pthread_mutex_unlock(&u->lock);
        return there ? success() : fail("The device is not on the bus.");
}

static Json *set_unit(Unit *u, Json *request) {
        const char *perm = get_string(request, "perm"), *held = get_string(request, "held"),
                   *held_by = get_string(request, "held-by"), *power = get_string(request, "power");
        Json *r = NULL;

        if (held && strlen(held) >= sizeof u->o.held)
                return fail("The driver's name is too long.");
        pthread_mutex_lock(&u->lock);
        if (perm && !permission_parse(perm, &u->o.permission))
                r = fail("\"perm\" is ok, read-only or denied.");
        if (power && !power_parse(power, &u->o.power))
                r = fail("\"power\" is on, auto or asleep.");
        else if (power && u->node)
                u->world->front->power(u->node);
        if (held)
                snprintf(u->o.held, sizeof u->o.held, "%s", held);
        if (held_by) {
                u->o.held_by_program = strcmp(held_by, "program") == 0;
                u->o.driver_stubborn = strcmp(held_by, "stubborn") == 0;
        }
        for (unsigned i = 0; u->node && i < u->node->n_interfaces; i++) {
                Interface *f = &u->node->interfaces[i];

                if (!f->bulk || f->owner || !(held || held_by))
                        continue;
                snprintf(f->driver, sizeof f->driver, "%s", u->o.held);
                f->foreign = u->o.held_by_program;
                u->world->front->bind(u->node, f, interface_driver(f));
        }
        pthread_mutex_unlock(&u->lock);
        return r ?: success();
}

static Json *cmd_set(World *w, Unit *u, Json *request) {
        const char *rate = get_string(request, "bus-rate"), *limit = get_string(request, "memory-limit");
        uint64_t v;

        if (rate) {
                if (!parse_size(rate, &v))
                        return fail("\"bus-rate\" is a number, for example \"40M\".");
                atomic_store(&w->bus_rate, v);
        }
        if (limit) {
                if (!parse_size(limit, &v))
                        return fail("\"memory-limit\" is a number, for example \"16Mi\".");
                atomic_store(&w->memory_limit, v);
        }
        if (u && w->settings.kernel)
                return fail("With --kernel this is for udev and the drivers to say.");
        if (u)
                return set_unit(u, request);
        return rate || limit ? success() : fail("Nothing to set.");
}

static void sleep_until(Unit *u, uint64_t until) {
        struct timespec t = { .tv_sec = (time_t) (until / S_NS), .tv_nsec = (long) (until % S_NS) };

        pthread_cond_timedwait(&u->changed, &u->lock, &t);
}

/* Besides "until": "stage":"fdl2" is equality, "bytes":4096 at least that many. */
static bool plain_conditions_hold(Json *request, Json *o) {
        json_object_object_foreach (request, key, wanted) {
                if (strcmp(key, "cmd") == 0 || strcmp(key, "device") == 0 || strcmp(key, "timeout") == 0 ||
                    strcmp(key, "until") == 0)
                        continue;
                Json *v = lookup(o, key);
                bool number =
                        json_object_is_type(wanted, json_type_int) || json_object_is_type(wanted, json_type_double);

                if (number ? !v || json_object_get_double(v) < json_object_get_double(wanted)
                           : strcmp(v ? json_object_get_string(v) : "", json_object_get_string(wanted) ?: "") != 0)
                        return false;
        }
        return true;
}

/* The unit's lock is held; it is let go of in between. Returns the last description. */
static Json *wait_for(Unit *u, Json *request, const Condition *c, uint64_t end, bool *ret_holds) {
        Json *o = NULL;

        for (;;) {
                json_object_put(o);
                o = describe(u, true);
                *ret_holds = (!c || condition_holds(c, o)) && plain_conditions_hold(request, o);
                if (*ret_holds || clock_ns() >= end)
                        return o;
                sleep_until(u, end);
                /* Not at every transfer: a fast device would be slowed down by being watched. */
                pthread_mutex_unlock(&u->lock);
                sleep_ms(LOOK_AGAIN_MS);
                pthread_mutex_lock(&u->lock);
        }
}

static Json *cmd_wait(World *w UNUSED, Unit *u, Json *request) {
        const char *until = get_string(request, "until");
        Condition c;
        uint64_t timeout;
        bool holds;

        if (until && !condition_parse(until, &c))
                return fail("\"until\" is a key, one of = != < > and a value, for example \"stage=fdl2\".");
        if (!get_ms(request, "timeout", WAIT_DEFAULT_MS, &timeout))
                return fail("\"timeout\" is a number of milliseconds.");
        pthread_mutex_lock(&u->lock);
        u->waiters++;
        Json *o = wait_for(u, request, until ? &c : NULL, clock_ns() + timeout * MS_NS, &holds);
        u->waiters--;
        pthread_mutex_unlock(&u->lock);
        Json *r = holds ? success()
                        : fail("Waited %llu ms in vain for %s.", (unsigned long long) timeout,
                               json_object_to_json_string(request));
        json_object_object_add(r, "device", o);
        return r;
}

static Json *cmd_stats(World *w, Unit *u UNUSED, Json *request UNUSED) {
        Json *o = success();

        add_number(o, "ioctls", atomic_load(&w->n_ioctls));
        add_number(o, "urbs", atomic_load(&w->n_urbs));
        add_number(o, "bytes", atomic_load(&w->n_bytes));
        add_number(o, "memory-used", atomic_load(&w->memory_used));
        return o;
}

static const struct {
        const char *name;
        Json *(*run)(World *w, Unit *u, Json *request);
        bool needs_device;
} commands[] = {
        { "list", cmd_list, false },    { "describe", cmd_describe, true }, { "plug", cmd_plug, true },
        { "unplug", cmd_unplug, true }, { "replug", cmd_replug, true },     { "swap", cmd_swap, true },
        { "fault", cmd_fault, true },   { "stall", cmd_stall, true },       { "set", cmd_set, false },
        { "wait", cmd_wait, true },     { "stats", cmd_stats, false },
};

static Json *run_request(World *w, Json *request) {
        const char *name = json_object_is_type(request, json_type_object) ? get_string(request, "cmd") : NULL;

        if (!name)
                return fail("A request is a JSON object with \"cmd\"; see usbsim --help.");
        Unit *u = find_unit(w, request);
        for (size_t i = 0; i < COUNT(commands); i++) {
                if (strcmp(commands[i].name, name) != 0)
                        continue;
                if (!u && (commands[i].needs_device || get_string(request, "device")))
                        return fail("There is no device \"%s\".", get_string(request, "device") ?: "");
                return commands[i].run(w, u, request);
        }
        return fail("Unknown command \"%s\"; see usbsim --help.", name);
}

char *control_handle(World *w, const char *line) {
        Json *request = json_tokener_parse(line);
        Json *reply = run_request(w, request);
        char *text = copy_string(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));

        json_object_put(request);
        json_object_put(reply);
        return text;
}

/* ---- socket ---- */

typedef struct Connection {
        World *world;
        int fd;
} Connection;

static void *serve(void *p) {
        Connection c = *(Connection *) p;
        FILE *in = fdopen(dup(c.fd), "r");
        char *line = alloc0(LINE_MAX_BYTES);

        free(p);
        while (in && fgets(line, LINE_MAX_BYTES, in)) {
                char *reply = control_handle(c.world, line);
                size_t n = strlen(reply);

                reply[n++] = '\n';
                bool sent = send(c.fd, reply, n, MSG_NOSIGNAL) == (ssize_t) n;
                free(reply);
                if (!sent)
                        break;
        }
        if (in)
                fclose(in);
        close(c.fd);
        free(line);
        return NULL;
}

static int listener = -1;

static void *accept_thread(void *p) {
        pthread_t t;
        int fd;

        while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
                if (fd < 0)
                        continue;
                Connection *c = alloc0(sizeof *c);

                *c = (Connection){ p, fd };
                if (pthread_create(&t, NULL, serve, c) != 0) {
                        close(fd);
                        free(c);
                        continue;
                }
                pthread_detach(t);
        }
        return NULL;
}

static void set_address(struct sockaddr_un *a, const char *path) {
        *a = (struct sockaddr_un){ .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof a->sun_path)
                quit(2, "The path of the control socket is too long: %s", path);
        memcpy(a->sun_path, path, strlen(path));
}

void control_start(World *w) {
        struct sockaddr_un a;
        pthread_t t;

        set_address(&a, w->control);
        unlink(w->control);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *) &a, sizeof a) < 0 || listen(listener, 64) < 0)
                quit(1, "The control socket %s cannot be made: %m.", w->control);
        if (pthread_create(&t, NULL, accept_thread, w) != 0)
                quit(1, "No thread can be started.");
}

int control_client(const char *request) {
        const char *path = getenv("USBSIM_CONTROL");
        struct sockaddr_un a;
        char *reply = NULL;
        size_t size = 0;

        if (!path)
                quit(2, "$USBSIM_CONTROL is not set: --ctl works inside a world, or with the path of its --control "
                        "socket there.");
        set_address(&a, path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof a) < 0)
                quit(1, "No answer on %s: %m.", path);
        if (dprintf(fd, "%s\n", request) < 0)
                quit(1, "%s: %m.", path);
        FILE *f = fdopen(fd, "r");
        if (!f || getline(&reply, &size, f) < 0)
                quit(1, "%s: the simulator has gone.", path);
        fputs(reply, stdout);
        Json *o = json_tokener_parse(reply);
        bool ok = o && json_object_get_boolean(json_object_object_get(o, "ok"));
        json_object_put(o);
        free(reply);
        fclose(f);
        return ok ? 0 : 1;
}

/* ---- script ---- */

typedef struct Script {
        World *world;
        FILE *file;
        const char *path;
} Script;

static const char *script_wait(const char *line) {
        unsigned long ms;
        int used = 0;

        while (sscanf(line, " after %lu%n", &ms, &used) == 1 && used > 0) {
                sleep_ms(MIN_OF(ms, 3600ul * 1000));
                line += used;
                used = 0;
        }
        return line + strspn(line, " \t");
}

static void *script_thread(void *p) {
        Script *s = p;
        char *line = NULL;
        size_t size = 0;

        for (unsigned n = 1; getline(&line, &size, s->file) >= 0; n++) {
                line[strcspn(line, "\r\n")] = 0;
                const char *request = line[strspn(line, " \t")] == '#' ? "" : script_wait(line);
                if (!*request)
                        continue;
                char *reply = control_handle(s->world, request);
                if (strncmp(reply, "{\"ok\":true", 10) != 0)
                        complain("%s:%u: %s", s->path, n, reply);
                free(reply);
        }
        free(line);
        fclose(s->file);
        free(s);
        return NULL;
}

void script_start(World *w, const char *path) {
        Script *s = alloc0(sizeof *s);
        pthread_t t;

        *s = (Script){ w, fopen(path, "re"), path };
        if (!s->file)
                quit(2, "The script %s cannot be read: %m.", path);
        if (pthread_create(&t, NULL, script_thread, s) != 0)
                quit(1, "No thread can be started.");
        pthread_detach(t);
}
