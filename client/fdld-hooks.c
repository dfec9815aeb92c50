/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "hook-run.h"
#include "output.h"

/* Follows the records of units and runs the programs of hooks.d for them. A client like any other: it can be slow, hang or die, and no
 * device notices; after a restart it goes on with the first record that it has not finished. */

#define WAIT_USEC 10000000
#define PAGE 20
#define LIVE_MAX 256

/* What is told once and not recorded: somebody must do something, the line has stopped. */
typedef struct Live {
        const char *event;
        struct json_object *data;
} Live;

typedef struct Hooks {
        HookOptions options;
        const char *state;         /* folder of the cursor */
        uint64_t cursor;
        sd_bus *bus;
        bool finished;             /* a job: look for records */
        Live live[LIVE_MAX];
        size_t n_live;
} Hooks;

static volatile sig_atomic_t stop;

static void on_signal(int signal _unused_) {
        stop = 1;
}

/* ---- the cursor ---- */

static const char *cursor_path(const Hooks *h, const char *suffix, char *buf, size_t size) {
        snprintf(buf, size, "%s/cursor%s", h->state, suffix);
        return buf;
}

static bool read_cursor(Hooks *h) {
        char path[4096];
        unsigned long long n;
        FILE *f = fopen(cursor_path(h, "", path, sizeof(path)), "re");
        bool good;

        if (!f)
                return false;
        good = fscanf(f, "%llu", &n) == 1;
        fclose(f);
        if (good)
                h->cursor = n;
        return good;
}

static void write_cursor(const Hooks *h) {
        char path[4096], part[4096];
        FILE *f = fopen(cursor_path(h, ".new", part, sizeof(part)), "we");
        bool good = f && fprintf(f, "%" PRIu64 "\n", h->cursor) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;

        if (f && fclose(f) != 0)
                good = false;
        if (!good || rename(part, cursor_path(h, "", path, sizeof(path))) < 0)
                fprintf(stderr, "<3>The place in the records cannot be kept in %s: %s. After a restart hooks will run again.\n", h->state,
                        strerror(errno));
}

/* ---- records ---- */

static const char *event_of(const char *result) {
        return streq(result, "done") ? "passed" : streq(result, "skipped") ? "skipped" : "failed";
}

static void run_record(Hooks *h, struct json_object *record) {
        struct json_object *o = json_object_new_object();
        const char *event = event_of(json_text(record, "result"));

        json_object_object_add(o, "event", json_object_new_string(event));
        json_object_object_add(o, "record", json_object_get(record));
        hooks_run(&h->options, event, json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(o);
        h->cursor = json_u64(record, "seq");
        write_cursor(h);
}

static int query(Hooks *h, const char *order, uint64_t cursor, unsigned limit, struct json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int code = client_call(h->bus, FDLD_ROOT, FDLD_IFACE("History"), "Query", &reply, "a{sv}tu", 1, "order", "s", order, cursor, limit);

        if (code)
                return code;
        return message_to_json(reply, ret) < 0 ? EXIT_OTHER : 0;
}

/* What was before the first start is history: labels for last year's units help nobody. */
static int begin_at_the_end(Hooks *h) {
        struct json_object *rows = NULL;
        int code = query(h, "newest", 0, 1, &rows);

        if (code)
                return code;
        if (json_object_array_length(rows) > 0)
                h->cursor = json_u64(json_object_array_get_idx(rows, 0), "seq");
        json_object_put(rows);
        write_cursor(h);
        return 0;
}

static int run_records(Hooks *h) {
        size_t n = PAGE;
        int code = 0;

        while (code == 0 && n == PAGE && !stop) {
                struct json_object *rows = NULL;
                code = query(h, "oldest", h->cursor, PAGE, &rows);
                if (code)
                        return code;
                n = json_object_array_length(rows);
                for (size_t i = 0; i < n && !stop; i++)
                        run_record(h, json_object_array_get_idx(rows, i));
                json_object_put(rows);
        }
        return code;
}

/* ---- what is told once ---- */

static void remember(Hooks *h, const char *event, struct json_object *data) {
        if (h->n_live == LIVE_MAX) {
                fprintf(stderr, "<4>Hooks are too slow: a %s was left out.\n", event);
                json_object_put(data);
                return;
        }
        h->live[h->n_live++] = (Live) { event, data };
}

static void run_live(Hooks *h) {
        for (size_t i = 0; i < h->n_live; i++) {
                struct json_object *o = h->live[i].data;
                json_object_object_add(o, "event", json_object_new_string(h->live[i].event));
                hooks_run(&h->options, h->live[i].event,
                          json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
                json_object_put(o);
        }
        h->n_live = 0;
}

static int on_job_finished(sd_bus_message *m _unused_, void *userdata, sd_bus_error *error _unused_) {
        ((Hooks *) userdata)->finished = true;
        return 0;
}

static int on_user_action(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        struct json_object *o = json_object_new_object(), *details = NULL;
        const char *job, *action, *number;

        if (sd_bus_message_read(m, "os", &job, &action) < 0 || message_to_json(m, &details) < 0) {
                json_object_put(o);
                return 0;
        }
        number = strrchr(job, '_');
        json_object_object_add(o, "job", json_object_new_uint64(number ? strtoull(number + 1, NULL, 10) : 0));
        json_object_object_add(o, "action", json_object_new_string(action));
        json_object_object_add(o, "details", details);
        remember(userdata, "user-action", o);
        return 0;
}

/* A batch that pauses by itself says why. */
static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        struct json_object *changed = NULL, *o;
        const char *interface;

        if (sd_bus_message_read(m, "s", &interface) < 0 || !streq(interface, FDLD_IFACE("Batch")) || message_to_json(m, &changed) < 0)
                return 0;
        if (streq(json_text(changed, "State"), "paused") && json_text(changed, "Reason")[0]) {
                o = json_object_new_object();
                json_object_object_add(changed, "path", json_object_new_string(sd_bus_message_get_path(m)));
                json_object_object_add(o, "batch", json_object_get(changed));
                remember(userdata, "line-stopped", o);
        }
        json_object_put(changed);
        return 0;
}

/* ---- the loop ---- */

static int subscribe(Hooks *h) {
        int r;

        r = sd_bus_match_signal(h->bus, NULL, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "JobFinished", on_job_finished, h);
        if (r >= 0)
                r = sd_bus_match_signal(h->bus, NULL, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "UserActionRequired", on_user_action, h);
        if (r >= 0)
                r = sd_bus_match_signal(h->bus, NULL, FDLD_NAME, NULL, "org.freedesktop.DBus.Properties", "PropertiesChanged", on_properties, h);
        return r < 0 ? EXIT_OTHER : 0;
}

static int serve(Hooks *h) {
        int code = subscribe(h), r;

        if (code == 0 && !read_cursor(h))
                code = begin_at_the_end(h);
        h->finished = true;
        while (code == 0 && !stop) {
                while ((r = sd_bus_process(h->bus, NULL)) > 0)
                        ;
                if (r < 0)
                        return EXIT_NO_DAEMON;
                run_live(h);
                if (h->finished) {
                        h->finished = false;
                        code = run_records(h);
                        continue;
                }
                r = sd_bus_wait(h->bus, WAIT_USEC);
                if (r < 0 && r != -EINTR)
                        return EXIT_NO_DAEMON;
                h->finished |= r == 0; /* records of what a crash interrupted have no signal */
        }
        return code;
}

static void usage(FILE *out) {
        fprintf(out, "fdld-hooks [--directory=DIR] [--state=DIR] [--timeout=SECONDS]\n\n"
                     "Runs the programs of a folder when a unit has passed, failed or was skipped, when\n"
                     "a line stops and when somebody must do something. See fdld-hooks.service.\n\n"
                     "  --directory=DIR    programs, run in the order of their names (" FDLD_SYSCONFDIR "/fdld/hooks.d)\n"
                     "  --state=DIR        where the place in the records is kept ($STATE_DIRECTORY)\n"
                     "  --timeout=SECONDS  a program may take so long (30)\n");
}

static int parse(Hooks *h, int argc, char **argv) {
        static const struct option options[] = {
                { "directory", required_argument, NULL, 'd' }, { "state", required_argument, NULL, 's' },
                { "timeout", required_argument, NULL, 't' },   { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },         {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'd': h->options.directory = optarg; break;
                case 's': h->state = optarg; break;
                case 't': h->options.timeout_ms = (unsigned) strtoul(optarg, NULL, 10) * 1000; break;
                case 'h': usage(stdout); return 0;
                case 'v': puts("fdld-hooks " PACKAGE_VERSION); return 0;
                default: return EXIT_USAGE;
                }
        if (optind < argc || !h->state || h->options.timeout_ms < 1000 || h->options.timeout_ms > 3600000) {
                usage(stderr);
                return EXIT_USAGE;
        }
        return -1;
}

int main(int argc, char **argv) {
        Hooks h = { .options = { .directory = FDLD_SYSCONFDIR "/fdld/hooks.d", .timeout_ms = 30000 }, .state = getenv("STATE_DIRECTORY") };
        struct sigaction action = { .sa_handler = on_signal };
        int code = parse(&h, argc, argv);

        if (code >= 0)
                return code;
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        signal(SIGPIPE, SIG_IGN);
        while (!stop) {
                h.bus = client_connect(&code);
                if (h.bus) {
                        code = serve(&h);
                        h.bus = sd_bus_flush_close_unref(h.bus);
                }
                if (code == EXIT_NOT_AUTHORISED)
                        return code;
                if (!stop)
                        nanosleep(&(struct timespec) { .tv_sec = 5 }, NULL);
        }
        return 0;
}
