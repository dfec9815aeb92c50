/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <expat.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus-fuzz.h"

/* bus-fuzz: a client that knows nothing of the daemon but what its introspection says, and calls every method of every object with
 * arguments that a generator with a seed makes. The daemon must live, answer every call, and say something of use in every error. At the
 * end all that was begun is ended again, so that others can look whether everything that it took was given back. */

#define NAME "org.fdld.Fdld1"
#define ROOT "/org/fdld/Fdld1"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define SECOND UINT64_C(1000000)
#define PING_MAX (2 * SECOND)   /* of time in which the daemon could have worked */
#define ANSWER_MAX (10 * SECOND)
#define LAST_ANSWER_MAX (60 * SECOND) /* of those that wait for the end of a job, once it was asked to end */
#define COUNT(a) ((unsigned) (sizeof(a) / sizeof((a)[0])))

typedef struct Method {
        char interface[96], member[64];
        struct {
                char type[32], name[32];
        } arguments[8];
        unsigned n_arguments;
} Method;
typedef struct Property {
        char interface[96], name[64], type[32];
        bool writable;
} Property;
typedef struct Place {
        char interface[96], path[300];
} Place;
typedef struct Pending {
        char what[64];
        uint64_t since;
        bool lasting; /* may take as long as a job */
        sd_bus_slot *slot;
} Pending;

static Method methods[256];
static Property properties[512];
static Place places[4096];
static unsigned n_methods, n_properties, n_places;
static sd_bus *control, *bus;
static char owner[64];
static Pending pending[256];
static unsigned n_pending;
static uint64_t seed, n_calls, n_answers, n_errors;
static int daemon_pid;
static sd_bus_message *trail[16];
static unsigned trail_next;

/* ---- ends ---- */

static void print_message(sd_bus_message *m) {
        char *text = NULL;
        size_t size = 0, column = 0, lines = 0;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return;
        sd_bus_message_dump(m, f, SD_BUS_MESSAGE_DUMP_WITH_HEADER);
        fclose(f);
        for (const char *p = text; *p && lines < 40; p++) {
                column = *p == '\n' ? 0 : column + 1;
                lines += *p == '\n';
                if (column < 160)
                        fputc(*p == '\n' || (*p >= 32 && *p < 127) ? *p : '?', stderr);
        }
        free(text);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...) {
        va_list ap;

        fprintf(stderr, "---- the last calls, the newest last\n");
        for (unsigned i = 0; i < COUNT(trail); i++)
                if (trail[(trail_next + i) % COUNT(trail)])
                        print_message(trail[(trail_next + i) % COUNT(trail)]);
        fprintf(stderr, "bus-fuzz: ");
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, "\nbus-fuzz: after %" PRIu64 " calls; again with FDLD_FUZZ_SEED=%" PRIu64 "\n", n_calls, seed);
        exit(1);
}

static void must(int r, const char *what) {
        if (r < 0)
                die("%s: %s", what, strerror(-r));
}

/* ---- time ---- */

static uint64_t now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * SECOND + (uint64_t) t.tv_nsec / 1000;
}

/* How long these waited for a processor. */
static uint64_t starved_one(int pid) {
        unsigned long long ran = 0, waited = 0;
        char file[64];
        FILE *f;

        snprintf(file, sizeof(file), "/proc/%i/schedstat", pid);
        f = fopen(file, "re");
        if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
                waited = 0;
        if (f)
                fclose(f);
        return waited / 1000;
}

static uint64_t starved(void) {
        return starved_one(daemon_pid) + starved_one(getpid());
}

/* ---- what errors may be ---- */

static void check_error(const char *what, const sd_bus_error *e) {
        static const char *const good[] = {"InvalidArgs", "UnknownMethod", "UnknownObject", "UnknownInterface", "UnknownProperty", "PropertyReadOnly"};
        static const char *const empty_words[] = {"he daemon could not do this", "nknown error", "Success", "(null)", "Out of memory"};
        static const char standard[] = "org.freedesktop.DBus.Error.";
        bool known = strncmp(e->name, NAME ".Error.", strlen(NAME ".Error.")) == 0;

        for (unsigned i = 0; i < COUNT(good); i++)
                known = known || (strncmp(e->name, standard, strlen(standard)) == 0 && strcmp(e->name + strlen(standard), good[i]) == 0);
        if (!known)
                die("%s: the error is %s: %s", what, e->name, e->message ? e->message : "");
        if (!e->message || !e->message[0])
                die("%s: %s says nothing", what, e->name);
        if (strcmp(e->message, strerror(sd_bus_error_get_errno(e))) == 0)
                die("%s: %s is a bare number of an error: %s", what, e->name, e->message);
        if (strncmp(e->name, NAME, strlen(NAME)) == 0 && strlen(e->message) > 2000)
                die("%s: %s says too much: %s", what, e->name, e->message);
        for (unsigned i = 0; i < COUNT(empty_words); i++)
                if (strstr(e->message, empty_words[i]))
                        die("%s: %s says nothing of use: %s", what, e->name, e->message);
        values_about(what);
        values_learn_from_error(e->message);
}

/* ---- the control connection: one call, its answer ---- */

static char last_error[512];

/* NULL: an error, which was a good one. */
static sd_bus_message *ask(const char *path, const char *interface, const char *member, const char *types, ...) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply = NULL;
        va_list ap;
        int r;

        must(sd_bus_message_new_method_call(control, &m, NAME, path, interface, member), "message");
        va_start(ap, types);
        must(sd_bus_message_appendv(m, types, ap), "arguments");
        va_end(ap);
        r = sd_bus_call(control, m, 2 * ANSWER_MAX, &e, &reply);
        sd_bus_message_unref(m);
        if (r < 0) {
                if (!sd_bus_error_is_set(&e))
                        die("%s: %s", member, strerror(-r));
                check_error(member, &e);
                snprintf(last_error, sizeof(last_error), "%s", e.message);
                sd_bus_error_free(&e);
                return NULL;
        }
        return reply;
}

static void ping(const char *after) {
        uint64_t since = now(), lost = starved(), took;
        sd_bus_message *reply = ask(ROOT, "org.freedesktop.DBus.Peer", "Ping", "");

        took = now() - since;
        lost = starved() - lost;
        if (!reply)
                die("No answer to Ping after %s", after);
        if (strcmp(sd_bus_message_get_sender(reply), owner) != 0)
                die("Another daemon (%s instead of %s) answers after %s", sd_bus_message_get_sender(reply), owner, after);
        if (took > PING_MAX + lost)
                die("Ping took %" PRIu64 " ms after %s", took / 1000, after);
        sd_bus_message_unref(reply);
}

/* ---- introspection ---- */

typedef struct Walk {
        const char *path;
        char interface[96], children[512][128];
        unsigned depth, n_children;
        Method method;
        bool in_method;
} Walk;

static const char *attribute(const XML_Char **a, const char *name) {
        for (; a[0]; a += 2)
                if (strcmp(a[0], name) == 0)
                        return a[1];
        return "";
}

static void add_method(const Method *m) {
        for (unsigned i = 0; i < n_methods; i++)
                if (strcmp(methods[i].interface, m->interface) == 0 && strcmp(methods[i].member, m->member) == 0)
                        return;
        if (n_methods == COUNT(methods))
                die("too many methods");
        methods[n_methods++] = *m;
}

static void add_property(const Walk *w, const XML_Char **a) {
        Property *p = properties + n_properties;

        for (unsigned i = 0; i < n_properties; i++)
                if (strcmp(properties[i].interface, w->interface) == 0 && strcmp(properties[i].name, attribute(a, "name")) == 0)
                        return;
        if (n_properties == COUNT(properties))
                die("too many properties");
        n_properties++;
        snprintf(p->interface, sizeof(p->interface), "%s", w->interface);
        snprintf(p->name, sizeof(p->name), "%s", attribute(a, "name"));
        snprintf(p->type, sizeof(p->type), "%s", attribute(a, "type"));
        p->writable = strstr(attribute(a, "access"), "write");
}

static void add_place(const Walk *w) {
        if (n_places == COUNT(places))
                return;
        snprintf(places[n_places].interface, sizeof(places[0].interface), "%s", w->interface);
        snprintf(places[n_places].path, sizeof(places[0].path), "%s", w->path);
        n_places++;
}

static void on_start(void *userdata, const XML_Char *element, const XML_Char **a) {
        Walk *w = userdata;

        w->depth++;
        if (strcmp(element, "node") == 0 && w->depth == 2 && w->n_children < COUNT(w->children))
                snprintf(w->children[w->n_children++], sizeof(w->children[0]), "%s", attribute(a, "name"));
        else if (strcmp(element, "interface") == 0) {
                snprintf(w->interface, sizeof(w->interface), "%s", attribute(a, "name"));
                add_place(w);
        } else if (strcmp(element, "method") == 0) {
                w->in_method = true;
                w->method = (Method){0};
                snprintf(w->method.interface, sizeof(w->method.interface), "%s", w->interface);
                snprintf(w->method.member, sizeof(w->method.member), "%s", attribute(a, "name"));
        } else if (strcmp(element, "arg") == 0 && w->in_method && strcmp(attribute(a, "direction"), "out") != 0) {
                unsigned n = w->method.n_arguments++;

                if (n == COUNT(w->method.arguments))
                        die("too many arguments");
                snprintf(w->method.arguments[n].type, sizeof(w->method.arguments[n].type), "%s", attribute(a, "type"));
                snprintf(w->method.arguments[n].name, sizeof(w->method.arguments[n].name), "%s", attribute(a, "name"));
        } else if (strcmp(element, "property") == 0)
                add_property(w, a);
}

static void on_end(void *userdata, const XML_Char *element) {
        Walk *w = userdata;

        w->depth--;
        if (strcmp(element, "method") == 0) {
                w->in_method = false;
                add_method(&w->method);
        }
}

static void walk(const char *path, unsigned depth) {
        sd_bus_message *reply = ask(path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        XML_Parser parser = XML_ParserCreate(NULL);
        Walk *w = calloc(1, sizeof(*w));
        const char *xml;

        if (!w || !parser)
                die("no memory");
        if (reply) { /* objects may go meanwhile */
                values_learn_path(path);
                w->path = path;
                must(sd_bus_message_read(reply, "s", &xml), "introspection");
                XML_SetUserData(parser, w);
                XML_SetElementHandler(parser, on_start, on_end);
                if (XML_Parse(parser, xml, (int) strlen(xml), 1) != XML_STATUS_OK)
                        die("The introspection of %s cannot be read", path);
                sd_bus_message_unref(reply);
        }
        XML_ParserFree(parser);
        for (unsigned i = 0; i < w->n_children && depth < 10; i++) {
                char child[300];

                snprintf(child, sizeof(child), "%s/%s", strcmp(path, "/") == 0 ? "" : path, w->children[i]);
                walk(child, depth + 1);
        }
        free(w);
}

static void walk_all(void) {
        sd_bus_message *reply;

        n_places = 0;
        walk("/", 0);
        for (unsigned i = 0; i < n_places; i++)
                sd_bus_message_unref(ask(places[i].path, PROPERTIES, "GetAll", "s", places[i].interface));
        reply = ask(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "");
        if (!reply)
                die("No managed objects: %s", last_error);
        values_learn_message(reply);
        sd_bus_message_unref(reply);
}

/* ---- calls ---- */

static void forget(Pending *p) {
        sd_bus_slot_unref(p->slot);
        *p = pending[--n_pending];
        /* The slot's callback is told by its slot which one it is, so that they may be moved. */
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        sd_bus_slot *slot = sd_bus_get_current_slot(bus);
        Pending *p = pending;

        (void) userdata;
        (void) error;
        while (p < pending + n_pending && p->slot != slot)
                p++;
        if (p == pending + n_pending)
                return 0;
        n_answers++;
        if (sd_bus_message_is_method_error(m, NULL)) {
                n_errors++;
                check_error(p->what, sd_bus_message_get_error(m));
        } else
                values_learn_message(m);
        forget(p);
        return 0;
}

/* An object that has the interface, mostly; it may be one that was made a moment ago and is in no list. */
static const char *place_of(const char *interface) {
        const char *path = values_path(), *kind = strrchr(interface, '.') + 1;
        unsigned seen = 0;

        if (one_in(16))
                return path;
        if (strncmp(interface, NAME ".", strlen(NAME ".")) == 0 && one_in(3))
                path = values_path_like(kind);
        else
                for (unsigned i = 0; i < n_places; i++)
                        if (strcmp(places[i].interface, interface) == 0 && one_in(++seen))
                                path = places[i].path;
        return path;
}

static const Property *pick_property(bool set) {
        const Property *p = NULL;
        unsigned seen = 0;

        for (unsigned i = 0; i < n_properties; i++)
                if ((!set || properties[i].writable || one_in(100)) && one_in(++seen))
                        p = properties + i;
        return p;
}

static int append_property(sd_bus_message *m, const char *member, const Property *p) {
        const char *type;
        int r;

        r = sd_bus_message_append(m, "s", p->interface);
        if (r < 0 || strcmp(member, "GetAll") == 0)
                return r;
        r = sd_bus_message_append(m, "s", p->name);
        if (r < 0 || strcmp(member, "Set") != 0)
                return r;
        type = one_in(8) ? "as" : p->type;
        r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
                r = values_append(m, type, p->name);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_arguments(sd_bus_message *m, const Method *method, const Property *property) {
        int r = 0;

        values_begin_message();
        if (one_in(12))
                return values_append(m, values_types(), "");
        if (property)
                return append_property(m, method->member, property);
        for (unsigned i = 0; r >= 0 && i < method->n_arguments; i++)
                r = values_append(m, method->arguments[i].type, method->arguments[i].name);
        return r;
}

static void remember(sd_bus_message *m) {
        sd_bus_message_unref(trail[trail_next]);
        trail[trail_next] = sd_bus_message_ref(m);
        trail_next = (trail_next + 1) % COUNT(trail);
}

static void call(const Method *method) {
        const char *member = one_in(50) ? methods[below(n_methods)].member : method->member;
        const Property *property = NULL;
        Pending *p = pending + n_pending;
        sd_bus_message *m = NULL;
        int r;

        values_about(method->member);
        if (strcmp(method->interface, PROPERTIES) == 0 && !one_in(4))
                property = pick_property(strcmp(method->member, "Set") == 0);
        r = sd_bus_message_new_method_call(bus, &m, NAME, place_of(property ? property->interface : method->interface), one_in(30) ? NULL : method->interface, member);
        must(r, "message");
        r = append_arguments(m, method, property);
        if (r == -ENOSPC || n_pending == COUNT(pending)) { /* enough descriptors, or enough that waits */
                sd_bus_message_unref(m);
                return;
        }
        must(r, method->member);
        remember(m);
        n_calls++;
        if (one_in(40)) {
                must(sd_bus_message_set_expect_reply(m, 0), "message");
                must(sd_bus_send(bus, m, NULL), "send");
        } else {
                *p = (Pending){.since = now(), .lasting = strcmp(member, "Wait") == 0};
                snprintf(p->what, sizeof(p->what), "%s", member);
                must(sd_bus_call_async(bus, &p->slot, m, on_reply, NULL, UINT64_MAX), "call");
                n_pending++;
        }
        sd_bus_message_unref(m);
}

static const Pending *unanswered(bool lasting_too) {
        for (unsigned i = 0; i < n_pending; i++)
                if (lasting_too || !pending[i].lasting)
                        return pending + i;
        return NULL;
}

static void collect(bool lasting_too) {
        uint64_t most = lasting_too ? LAST_ANSWER_MAX : ANSWER_MAX, begin = now(), lost = starved();
        const Pending *p;
        int r;

        while ((p = unanswered(lasting_too))) {
                r = sd_bus_process(bus, NULL);
                must(r, "The bus connection is lost");
                if (r > 0)
                        continue;
                if (now() - begin > most && now() - begin > most + starved() - lost)
                        die("%s was not answered", p->what);
                values_drain();
                must(sd_bus_wait(bus, SECOND / 20), "wait");
        }
        while ((r = sd_bus_process(bus, NULL)) > 0)
                ;
        must(r, "The bus connection is lost");
}

/* ---- clients come and go ---- */

static void end_jobs(void) {
        sd_bus_message *reply = ask(ROOT, NAME ".Manager", "ListJobs", "a{sv}", 1, "limit", "u", UINT32_C(1000)), *done;
        const char *state, *path;

        if (!reply)
                die("No list of jobs: %s", last_error);
        must(sd_bus_message_enter_container(reply, 'a', "(tsoosd)"), "jobs");
        while (sd_bus_message_read(reply, "(tsoosd)", NULL, &state, &path, NULL, NULL, NULL) > 0) {
                if (strcmp(state, "finished") == 0)
                        continue;
                done = ask(path, NAME ".Job", "Cancel", "a{sv}", 0);
                sd_bus_message_unref(done);
        }
        sd_bus_message_unref(reply);
}

static void end_batches(void) {
        for (unsigned i = 0; i < n_places; i++)
                if (strcmp(places[i].interface, NAME ".Batch") == 0)
                        sd_bus_message_unref(ask(places[i].path, NAME ".Batch", "Stop", "a{sv}", 0));
}

static uint32_t station_number(const char *property) {
        sd_bus_message *reply = ask(ROOT, PROPERTIES, "Get", "ss", NAME ".Manager", property);
        uint32_t n;

        if (!reply)
                die("No property %s: %s", property, last_error);
        must(sd_bus_message_read(reply, "v", "u", &n), property);
        sd_bus_message_unref(reply);
        return n;
}

/* All work of the station ends, and what waited for it is answered. */
static void end_work(void) {
        uint64_t begin = now();

        do {
                if (now() - begin > LAST_ANSWER_MAX)
                        die("The work does not end: %u jobs run, %u wait, %u batches", station_number("JobsRunning"), station_number("JobsQueued"),
                            station_number("BatchesRunning"));
                walk_all();
                end_batches();
                end_jobs();
                if (begin != now())
                        usleep(20000);
        } while (station_number("JobsRunning") + station_number("JobsQueued") + station_number("BatchesRunning") > 0);
        collect(true);
}

/* For who comes after us. */
static void open_slots(void) {
        for (unsigned i = 0; i < n_places; i++) {
                if (strcmp(places[i].interface, NAME ".Slot") != 0)
                        continue;
                sd_bus_message_unref(ask(places[i].path, NAME ".Slot", "SetEnabled", "b", 1));
                sd_bus_message_unref(ask(places[i].path, NAME ".Slot", "SetListed", "b", 0));
                sd_bus_message_unref(ask(places[i].path, NAME ".Slot", "ClearWedged", ""));
        }
}

static void leave(bool politely) {
        if (!bus)
                return;
        collect(false);
        if (politely)
                end_work();
        while (n_pending > 0)
                forget(pending);
        for (unsigned i = 0; i < COUNT(trail); i++)
                trail[i] = sd_bus_message_unref(trail[i]);
        sd_bus_flush(bus);
        sd_bus_close(bus);
        bus = sd_bus_unref(bus);
}

static const char *first_place(const char *interface) {
        for (unsigned i = 0; i < n_places; i++)
                if (strcmp(places[i].interface, interface) == 0)
                        return places[i].path;
        return NULL;
}

/* What was removed or ended comes back, so that there is something of each kind. */
static void stock_up(void) {
        const char *package = first_place(NAME ".Package");

        sd_bus_message_unref(ask(ROOT, NAME ".Manager", "Reload", ""));
        if (!package)
                sd_bus_message_unref(ask(ROOT, NAME ".Manager", "ImportPackage", "hsa{sv}", values_package(), "phone.pac", 0));
        else
                sd_bus_message_unref(ask(ROOT, NAME ".Manager", "StartBatch", "soaoa{sv}", "line", package, 0, 1, "retry", "u", UINT32_C(0)));
}

static void enter(void) {
        leave(one_in(4));
        stock_up();
        must(sd_bus_open_system(&bus), "bus");
        must(sd_bus_add_match(bus, NULL, "type='signal',sender='" NAME "'", NULL, NULL), "match");
        walk_all();
}

/* ---- */

static void one_round(unsigned round) {
        if (round == 0 || one_in(6))
                enter();
        for (unsigned i = 0; i < n_methods; i++) {
                for (unsigned n = 1 + below(4); n > 0; n--)
                        call(methods + i);
                collect(false);
                ping(methods[i].member);
        }
}

static void find_owner(void) {
        sd_bus_creds *creds = NULL;
        const char *name;

        must(sd_bus_open_system(&control), "bus");
        must(sd_bus_get_name_creds(control, NAME, SD_BUS_CREDS_UNIQUE_NAME | SD_BUS_CREDS_PID, &creds), NAME);
        must(sd_bus_creds_get_unique_name(creds, &name), "name");
        must(sd_bus_creds_get_pid(creds, &daemon_pid), "pid");
        snprintf(owner, sizeof(owner), "%s", name);
        sd_bus_creds_unref(creds);
}

static void learn_words(int n, char **words) {
        static const char *const keys[] = {
                "mode:s", "allow-warnings:b", "finish:s", "verify:s", "raw:s", "any-image:b", "sparse:s", "skip-equal:b", "operator:s", "include:s", "exclude:s", "checks:s",
                "try-checks:s", "keep-charge:s", "nv:s", "stamps:s", "table-check:s", "erase-all:b", "repartition:b", "table-only:b", "repair:b", "soft-entry:b", "serial:s",
                "serials:s", "first-mode:s", "package:o", "family:s", "loaders:s", "unit:s", "fdl1-address:t", "fdl2-address:t", "partition:s", "address:t", "file:s",
                "offset:t", "length:t", "exact:b", "optional:b", "chip:s", "slot:s", "kind:s", "result:s", "code:s", "batch:t", "job:t", "since:t", "until:t", "order:s",
                "cursor:t", "id:s", "port:s", "before:t", "after:s", "size:t", "sha256:s", "saved:t", "state:s", "limit:u", "profile:o", "count:t", "first-article:b",
                "stop-after:s", "retry:s",
        };
        static const char *const usual[] = {
                "flash", "verify", "read", "backup", "write", "erase", "restore", "steps", "identify", "repair", "repartition", "table", "reset", "power-off", "start", "csv",
                "jsonl", "serial-number", "plug-in", "finished", "queued", "newest", "oldest", "write-refused-8a", "handshake-silent", "debug", "info", "console", "fdl1", "fdl2",
                "boot", "upgrade", "factory", "research", NAME ".Manager", NAME ".Job", "JobsRunning",
        };

        for (unsigned i = 0; i < COUNT(keys); i++) {
                char key[64];

                snprintf(key, sizeof(key), "%.*s", (int) strcspn(keys[i], ":"), keys[i]);
                values_learn_key(key, strchr(keys[i], ':') + 1);
        }
        for (unsigned i = 0; i < COUNT(usual); i++)
                values_learn_word(usual[i]);
        for (int i = 0; i < n; i++)
                values_learn_word(words[i]);
        values_words_matter();
}

static uint64_t read_number(const char *text) {
        char *end;
        uint64_t n;

        errno = 0;
        n = strtoull(text, &end, 0);
        if (errno || end == text || *end) {
                fprintf(stderr, "bus-fuzz: '%s' is no number\n", text);
                exit(2);
        }
        return n;
}

int main(int argc, char **argv) {
        static const struct option options[] = {{"seed", required_argument, NULL, 's'}, {"rounds", required_argument, NULL, 'r'}, {"seconds", required_argument, NULL, 't'}, {0}};
        uint64_t rounds = 10, seconds = 0, begin = now();
        unsigned round = 0;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 's')
                        seed = read_number(optarg);
                else if (c == 'r')
                        rounds = read_number(optarg);
                else if (c == 't')
                        seconds = read_number(optarg);
                else
                        return 2;
        if (argc - optind < 2) {
                fprintf(stderr, "usage: bus-fuzz [--seed=N] [--rounds=N] [--seconds=N] FOLDER PACKAGE [WORD…]\n");
                return 2;
        }
        values_seed(seed);
        learn_words(argc - optind - 2, argv + optind + 2);
        values_open_files(argv[optind], argv[optind + 1]);
        find_owner();
        while (seconds ? now() - begin < seconds * SECOND : round < rounds)
                one_round(round++);
        leave(true);
        open_slots();
        ping("the end");
        sd_bus_flush_close_unref(control);
        printf("seed %" PRIu64 ": %u rounds, %u methods, %" PRIu64 " calls, %" PRIu64 " answers, of them %" PRIu64 " errors, %" PRIu64 " ms\n", seed, round, n_methods, n_calls,
               n_answers, n_errors, (now() - begin) / 1000);
        return 0;
}
