/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "follow.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "bus-client.h"
#include "common/failure.h"
#include "common/macro.h"
#include "output.h"

#define REPAINT_USEC 250000
#define SECOND_INTERRUPT_USEC 2000000
#define BAR_WIDTH 20

typedef struct Follow Follow;

typedef struct FollowedJob {
        Follow *follow;
        const char *path;
        struct json_object *properties;
        bool finished;
        int exit_code;
        /* plain lines: what was said last */
        char said_stage[32];
        int said_percent;
} FollowedJob;

struct Follow {
        sd_bus *bus;
        sd_event *event;
        const FollowOptions *options;
        FollowedJob *jobs;
        size_t n, finished;
        unsigned painted;        /* lines on the terminal that the next paint replaces */
        bool terminal, cancelled;
        uint64_t interrupted_usec;
        int exit_code;
};

static uint64_t job_id(const FollowedJob *j) {
        const char *p = strrchr(j->path, '_');
        return p ? strtoull(p + 1, NULL, 10) : 0;
}

static const char *job_place(const FollowedJob *j, char *buf, size_t size) {
        const char *device = json_text(j->properties, "Device"), *p = strrchr(device, '_');

        if (p)
                snprintf(buf, size, "job %" PRIu64 " on device %s", job_id(j), p + 1);
        else
                snprintf(buf, size, "job %" PRIu64, job_id(j));
        return buf;
}

static void rate_text(const FollowedJob *j, char *buf, size_t size) {
        uint64_t rate = json_u64(j->properties, "Rate"), end = json_u64(j->properties, "ExpectedEndUSec");
        char cell[32];
        struct timespec ts;
        uint64_t now;

        buf[0] = '\0';
        if (rate == 0 || rate == UINT64_MAX)
                return;
        struct json_object *v = json_object_new_uint64(rate);
        int n = snprintf(buf, size, " %s/s", cell_text(CELL_BYTES, v, cell, sizeof(cell)));
        json_object_put(v);
        clock_gettime(CLOCK_REALTIME, &ts);
        now = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        if (end != UINT64_MAX && end > now && n > 0 && (size_t) n < size)
                snprintf(buf + n, size - (size_t) n, " %" PRIu64 " s left", (end - now) / 1000000 + 1);
}

static bool asks_serial(const FollowedJob *j) {
        return streq(json_text(j->properties, "UserAction"), "serial-number");
}

static void state_line(const FollowedJob *j, char *buf, size_t size) {
        const char *state = json_text(j->properties, "State"), *stage = json_text(j->properties, "Stage");
        const char *partition = json_text(j->properties, "Partition");
        double progress = json_number(j->properties, "Progress");
        char place[64], rate[64], part[64];
        char bar[BAR_WIDTH + 1];

        job_place(j, place, sizeof(place));
        if (streq(state, "waiting")) {
                snprintf(buf, size, "%-22s waiting for a device: plug it in, in boot mode", place);
                return;
        }
        if (!streq(state, "running") && !streq(state, "cancelling")) {
                snprintf(buf, size, "%-22s %s", place, state);
                return;
        }
        if (asks_serial(j)) {
                snprintf(buf, size, "%-22s asks for the serial number: fdlctl answer %" PRIu64 " NUMBER", place, job_id(j));
                return;
        }
        for (int i = 0; i < BAR_WIDTH; i++)
                bar[i] = i < (int) (progress * BAR_WIDTH) ? '#' : '.';
        bar[BAR_WIDTH] = '\0';
        rate_text(j, rate, sizeof(rate));
        snprintf(buf, size, "%-22s [%s] %3.0f%% %s %s%s", place, bar, progress * 100, stage,
                 safe_text(partition, part, sizeof(part)), rate);
}

/* A line that wraps, or half a character, would spoil the picture. */
static void cut_to_width(char *line, int columns) {
        for (; *line; line++)
                if (((uint8_t) *line & 0xc0) != 0x80 && columns-- == 0) {
                        *line = '\0';
                        return;
                }
}

static void paint(Follow *f) {
        struct winsize w = {0};
        char line[512];

        /* A terminal that does not know its size says 0. */
        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0 || w.ws_row == 0)
                w = (struct winsize) { .ws_col = 80, .ws_row = 24 };
        if (f->painted)
                fprintf(stderr, "\033[%uA\r\033[J", f->painted);
        f->painted = 0;
        for (size_t i = 0; i < f->n && f->painted + 1 < MAX(w.ws_row, 8); i++) {
                if (f->jobs[i].finished)
                        continue;
                state_line(f->jobs + i, line, sizeof(line));
                cut_to_width(line, MAX(w.ws_col, 20) - 1);
                fprintf(stderr, "%s\n", line);
                f->painted++;
        }
}

static void say_plain(FollowedJob *j) {
        const char *state = json_text(j->properties, "State"), *stage = json_text(j->properties, "Stage");
        const char *word = asks_serial(j) ? "serial-number" : stage[0] && streq(state, "running") ? stage : state;
        int percent = (int) (json_number(j->properties, "Progress") * 10) * 10;
        char place[64], part[64];

        /* "checking" comes and goes with every partition: not news on paper. */
        if (j->finished || streq(state, "finished") || streq(word, "checking") ||
            (streq(word, j->said_stage) && percent <= j->said_percent))
                return;
        snprintf(j->said_stage, sizeof(j->said_stage), "%s", word);
        j->said_percent = percent;
        fprintf(stderr, "%s: %s%s%s %.0f%%\n", job_place(j, place, sizeof(place)), word,
                json_text(j->properties, "Partition")[0] ? " " : "",
                safe_text(json_text(j->properties, "Partition"), part, sizeof(part)),
                json_number(j->properties, "Progress") * 100);
}

static void show(Follow *f, FollowedJob *j) {
        if (arg_output.quiet)
                return;
        if (!f->terminal)
                say_plain(j);
}

static void print_list(const char *title, struct json_object *list) {
        char text[1024];

        for (size_t i = 0; list && json_object_is_type(list, json_type_array) && i < json_object_array_length(list); i++)
                fprintf(stderr, "  %s %s\n", i == 0 ? title : "              ",
                        safe_text(json_object_get_string(json_object_array_get_idx(list, i)), text, sizeof(text)));
}

/* Where in the job, what was sent, and what came back. */
static void print_particulars(struct json_object *details) {
        uint64_t reply = json_u64(details, "reply"), offset = json_u64(details, "offset"), address = json_u64(details, "address");
        uint64_t waited = json_u64(details, "waited_ms"), deadline = json_u64(details, "deadline_ms"), attempts = json_u64(details, "attempts");
        char text[128];

        if (!json_text(details, "stage")[0])
                return;
        fprintf(stderr, "  where:         stage %s", safe_text(json_text(details, "stage"), text, sizeof(text)));
        if (json_u64(details, "step") != UINT64_MAX)
                fprintf(stderr, ", step %" PRIu64, json_u64(details, "step") + 1);
        if (json_text(details, "partition")[0])
                fprintf(stderr, ", %s", safe_text(json_text(details, "partition"), text, sizeof(text)));
        if (address != UINT64_MAX)
                fprintf(stderr, " at 0x%" PRIx64, address);
        if (offset != UINT64_MAX && offset > 0)
                fprintf(stderr, ", byte %" PRIu64, offset);
        if (json_text(details, "command")[0])
                fprintf(stderr, "; command %s", safe_text(json_text(details, "command"), text, sizeof(text)));
        if (reply != UINT64_MAX)
                fprintf(stderr, ", reply %02" PRIX64, reply);
        if (waited != UINT64_MAX && waited >= 50)
                fprintf(stderr, "; waited %.1f s", (double) waited / 1000);
        if (deadline != UINT64_MAX && deadline > 0)
                fprintf(stderr, " of %.1f s", (double) deadline / 1000);
        if (attempts != UINT64_MAX && attempts > 1)
                fprintf(stderr, ", %" PRIu64 " attempts", attempts);
        fputc('\n', stderr);
}

/* How the device was found, what was seen around it, and what became of the unit. */
static void print_outlook(struct json_object *details) {
        struct json_object *seen = json_member(details, "situation");
        Aftermath found = aftermath_from_string(json_text(details, "device_state"));
        Verdict verdict = verdict_from_string(json_text(details, "verdict"));

        if (found > AFTERMATH_NONE)
                fprintf(stderr, "  the device:    %s\n", aftermath_text(found));
        for (size_t i = 0; seen && json_object_is_type(seen, json_type_array) && i < json_object_array_length(seen); i++) {
                Situation s = situation_from_string(json_object_get_string(json_object_array_get_idx(seen, i)));
                if (s >= 0)
                        fprintf(stderr, "                 %s\n", situation_text(s));
        }
        if (verdict > VERDICT_NONE)
                fprintf(stderr, "  the unit:      %s\n", verdict_text(verdict));
        else if (json_flag(details, "must_reflash"))
                fprintf(stderr, "  This unit must be flashed again before it is used.\n");
}

static void print_notes(const char *note) {
        struct json_object *lines = json_object_new_array();

        for (; *note; note += strcspn(note, "\n"), note += *note == '\n')
                json_object_array_add(lines, json_object_new_string_len(note, (int) strcspn(note, "\n")));
        print_list("noted:        ", lines);
        json_object_put(lines);
}

static void print_failure(const FollowedJob *j, const char *result, struct json_object *details) {
        char place[64], text[1024];
        const char *code = json_text(details, "code"), *said = json_text(details, "text");

        fprintf(stderr, "%s: %s%s%s\n", job_place(j, place, sizeof(place)), result, code[0] ? ", " : "", code);
        if (json_text(details, "summary")[0])
                fprintf(stderr, "  %s\n", safe_text(json_text(details, "summary"), text, sizeof(text)));
        if (said[0])
                fprintf(stderr, "  %s\n", safe_text(said, text, sizeof(text)));
        print_particulars(details);
        print_list("likely cause: ", json_member(details, "causes"));
        print_list("earlier:      ", json_member(details, "notes"));
        print_notes(json_text(j->properties, "Note"));
        print_list("what to do:   ", json_member(details, "actions"));
        print_outlook(details);
        if ((streq(result, "failed") || json_flag(details, "must_reflash")) &&
            streq(json_text(j->properties, "Kind"), "flash"))
                fprintf(stderr, "  To try again: fdlctl retry %" PRIu64 "\n", job_id(j));
        if (json_text(details, "evidence")[0])
                fprintf(stderr, "  What was said: fdlctl trace %" PRIu64 "; for help from others: fdlctl bundle %" PRIu64 "\n", job_id(j), job_id(j));
}

static const char *amount(uint64_t bytes, char *ret, size_t size) {
        struct json_object *v = json_object_new_uint64(bytes);

        cell_text(CELL_BYTES, v, ret, size);
        json_object_put(v);
        return ret;
}

/* One stage: "write 12.1 s at 9.8 MiB/s". */
static void stage_text(struct json_object *stage, char *ret, size_t size) {
        char word[64], cell[32];
        uint64_t usec, bytes;
        int n;

        ret[0] = '\0';
        if (!json_object_is_type(stage, json_type_array) || json_object_array_length(stage) != 4)
                return;
        usec = json_object_get_uint64(json_object_array_get_idx(stage, 1));
        bytes = json_object_get_uint64(json_object_array_get_idx(stage, 2));
        n = snprintf(ret, size, "%s %.1f s", safe_text(json_object_get_string(json_object_array_get_idx(stage, 0)), word, sizeof(word)), (double) usec / 1e6);
        if (usec > 0 && bytes > 0 && n > 0 && (size_t) n < size)
                snprintf(ret + n, size - (size_t) n, " at %s/s", amount((uint64_t) ((double) bytes * 1e6 / (double) usec), cell, sizeof(cell)));
}

#define REPORT_WIDTH 100
static size_t report_width(void) {
        struct winsize w = {0};

        if (!isatty(STDERR_FILENO) || ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
                return REPORT_WIDTH;
        return CLAMP((size_t) w.ws_col - 1, (size_t) 40, (size_t) REPORT_WIDTH);
}

static void print_stages(struct json_object *stages) {
        size_t n = json_object_array_length(stages), column = 0, width = report_width();

        for (size_t i = 0; i < n; i++) {
                char text[160];
                stage_text(json_object_array_get_idx(stages, i), text, sizeof(text));
                if (column == 0 || column + strlen(text) + 2 > width)
                        column = (size_t) fprintf(stderr, "%s%s", i == 0 ? "" : "\n", i == 0 ? "  stages: " : "          ");
                column += (size_t) fprintf(stderr, "%s%s", text, i + 1 < n ? ", " : "");
        }
        fputc('\n', stderr);
}

/* What the work was like: how much, how fast, how well proven, and where the time went. */
static void print_report(struct json_object *details) {
        struct json_object *stages = json_member(details, "stages");
        uint64_t usec = json_u64(details, "duration_usec"), retries = json_u64(details, "retries");
        char text[32], bytes[32], rate[32];

        if (!stages || !json_object_is_type(stages, json_type_array) || json_object_array_length(stages) == 0)
                return;
        fprintf(stderr, "  in %.1f s", (double) usec / 1e6);
        if (json_u64(details, "bytes_done") > 0 && json_u64(details, "rate") > 0)
                fprintf(stderr, ", %s at %s/s", amount(json_u64(details, "bytes_done"), bytes, sizeof(bytes)), amount(json_u64(details, "rate"), rate, sizeof(rate)));
        if (json_text(details, "verified")[0])
                fprintf(stderr, ", verified: %s", safe_text(json_text(details, "verified"), text, sizeof(text)));
        if (retries > 0)
                fprintf(stderr, ", %" PRIu64 " %s", retries, retries == 1 ? "retry" : "retries");
        fputc('\n', stderr);
        print_stages(stages);
}

static void job_over(Follow *f, FollowedJob *j, const char *result, struct json_object *details) {
        struct json_object *error = NULL;
        const char *error_name = "";
        char place[64];
        int code;

        if (j->finished)
                return;
        j->finished = true;
        f->finished++;
        /* The device is known only from the properties of the end. */
        client_properties(f->bus, j->path, FDLD_IFACE("Job"), &error);
        if (error) {
                json_object_put(j->properties);
                j->properties = error;
                error = json_member(j->properties, "Error");
                if (error && json_object_array_length(error) == 3)
                        error_name = json_object_get_string(json_object_array_get_idx(error, 0));
        }
        code = job_exit_code(result, details, error_name);
        f->exit_code = worse_exit(f->exit_code, code);
        if (f->painted) {
                fprintf(stderr, "\033[%uA\r\033[J", f->painted);
                f->painted = 0;
        }
        if (!streq(result, "done"))
                print_failure(j, result, details);
        else if (!arg_output.quiet) {
                fprintf(stderr, "%s: done%s\n", job_place(j, place, sizeof(place)),
                        streq(json_text(j->properties, "UserAction"), "unplug") ? "; unplug it: it goes off when it loses the cable" : "");
                print_report(details);
        }
        if (f->finished == f->n)
                sd_event_exit(f->event, 0);
}

static int on_wait_reply(sd_bus_message *m, void *userdata, sd_bus_error *ret_error _unused_) {
        FollowedJob *j = userdata;
        struct json_object *details = NULL;
        const char *result;

        if (sd_bus_message_is_method_error(m, NULL)) {
                const sd_bus_error *e = sd_bus_message_get_error(m);
                j->follow->exit_code = worse_exit(j->follow->exit_code, client_report("wait", e, 0));
                j->finished = true;
                if (++j->follow->finished == j->follow->n)
                        sd_event_exit(j->follow->event, 0);
                return 1;
        }
        if (sd_bus_message_read(m, "s", &result) < 0 || message_to_json(m, &details) < 0)
                result = "failed";
        job_over(j->follow, j, result, details);
        json_object_put(details);
        return 1;
}

static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *ret_error _unused_) {
        FollowedJob *j = userdata;
        struct json_object *changed = NULL;
        const char *interface;

        if (j->finished || sd_bus_message_read(m, "s", &interface) < 0 || !streq(interface, FDLD_IFACE("Job")) ||
            message_to_json(m, &changed) < 0)
                return 0;
        json_object_object_foreach(changed, key, value)
                json_object_object_add(j->properties, key, json_object_get(value));
        json_object_put(changed);
        show(j->follow, j);
        return 0;
}

static int on_repaint(sd_event_source *s, uint64_t usec, void *userdata) {
        Follow *f = userdata;

        paint(f);
        sd_event_source_set_time(s, usec + REPAINT_USEC);
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Follow *f = userdata;

        fprintf(stderr, "fdlctl: Still not finished; the work goes on without me.\n");
        f->exit_code = worse_exit(f->exit_code, EXIT_NOT_FOUND);
        return sd_event_exit(f->event, 0);
}

static void cancel_all(Follow *f) {
        f->cancelled = true;
        for (size_t i = 0; i < f->n; i++)
                if (!f->jobs[i].finished)
                        sd_bus_call_method_async(f->bus, NULL, FDLD_NAME, f->jobs[i].path, FDLD_IFACE("Job"), "Cancel", NULL,
                                                 NULL, "a{sv}", 0);
        fprintf(stderr, "\nCancelling; a step that changes flash is finished first.\n");
}

static int detach(Follow *f) {
        fprintf(stderr, "Detached: the work goes on. To watch it again: fdlctl wait");
        for (size_t i = 0; i < f->n; i++)
                if (!f->jobs[i].finished)
                        fprintf(stderr, " %" PRIu64, job_id(f->jobs + i));
        fputc('\n', stderr);
        f->painted = 0;
        f->exit_code = EXIT_DETACHED;
        return sd_event_exit(f->event, 0);
}

static int on_detach(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Follow *f = userdata;

        return f->cancelled ? 0 : detach(f);
}

static int on_interrupt(sd_event_source *s _unused_, const struct signalfd_siginfo *si, void *userdata) {
        Follow *f = userdata;
        uint64_t now;

        sd_event_now(f->event, CLOCK_MONOTONIC, &now);
        if (si->ssi_signo == SIGTERM)
                return detach(f);
        if (f->cancelled) /* cancelling takes too long for somebody */
                return detach(f);
        if (f->options->cancel_on_interrupt || (f->interrupted_usec && now - f->interrupted_usec < SECOND_INTERRUPT_USEC)) {
                cancel_all(f);
                return 0;
        }
        f->interrupted_usec = now;
        fprintf(stderr, "\nDetaching; press Ctrl-C again within 2 seconds to cancel the work instead.\n");
        f->painted = 0;
        return sd_event_add_time(f->event, NULL, CLOCK_MONOTONIC, now + SECOND_INTERRUPT_USEC, 10000, on_detach, f);
}

static int follow_one(Follow *f, FollowedJob *j) {
        int code, r;

        r = sd_bus_match_signal(f->bus, NULL, FDLD_NAME, j->path, "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                on_properties, j);
        if (r < 0)
                return client_report("wait", NULL, r);
        code = client_properties(f->bus, j->path, FDLD_IFACE("Job"), &j->properties);
        if (code)
                return code;
        show(f, j);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        r = sd_bus_message_new_method_call(f->bus, &m, FDLD_NAME, j->path, FDLD_IFACE("Job"), "Wait");
        if (r >= 0)
                r = sd_bus_call_async(f->bus, NULL, m, on_wait_reply, j, UINT64_MAX);
        return r < 0 ? client_report("wait", NULL, r) : 0;
}

static int on_disconnected(sd_bus_message *m _unused_, void *userdata, sd_bus_error *ret_error _unused_) {
        Follow *f = userdata;

        f->exit_code = client_report("wait", NULL, -ECONNRESET);
        return sd_event_exit(f->event, 0);
}

static int follow_setup(Follow *f, const char *const *paths) {
        uint64_t now;
        sigset_t mask;
        int code = 0;

        sigemptyset(&mask);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGTERM);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        /* The bus is used again after the jobs are over. */
        sd_bus_set_close_on_exit(f->bus, false);
        if (sd_event_default(&f->event) < 0 || sd_bus_attach_event(f->bus, f->event, SD_EVENT_PRIORITY_NORMAL) < 0 ||
            sd_event_add_signal(f->event, NULL, SIGINT, on_interrupt, f) < 0 ||
            sd_event_add_signal(f->event, NULL, SIGTERM, on_interrupt, f) < 0)
                return client_report("wait", NULL, -ENOMEM);
        sd_event_now(f->event, CLOCK_MONOTONIC, &now);
        sd_bus_match_signal_async(f->bus, NULL, "org.freedesktop.DBus.Local", NULL, "org.freedesktop.DBus.Local", "Disconnected",
                                  on_disconnected, NULL, f);
        if (f->terminal)
                sd_event_add_time(f->event, NULL, CLOCK_MONOTONIC, now, 10000, on_repaint, f);
        if (f->options->timeout_usec)
                sd_event_add_time(f->event, NULL, CLOCK_MONOTONIC, now + f->options->timeout_usec, 10000, on_timeout, f);
        for (size_t i = 0; i < f->n && code == 0; i++) {
                f->jobs[i] = (FollowedJob) { .follow = f, .path = paths[i], .said_percent = -1 };
                code = follow_one(f, f->jobs + i);
        }
        return code;
}

int follow_jobs(sd_bus *bus, const char *const *paths, size_t n, const FollowOptions *options) {
        const char *term = getenv("TERM");
        Follow f = {
                .bus = bus, .options = options, .n = n,
                .terminal = !arg_output.quiet && isatty(STDERR_FILENO) && !(term && streq(term, "dumb")),
        };
        int code;

        if (n == 0)
                return 0;
        f.jobs = calloc(n, sizeof(FollowedJob));
        if (!f.jobs)
                return client_report("wait", NULL, -ENOMEM);
        code = follow_setup(&f, paths);
        if (code == 0 && f.finished < n)
                sd_event_loop(f.event);
        if (f.painted)
                paint(&f);
        for (size_t i = 0; i < n; i++)
                json_object_put(f.jobs[i].properties);
        free(f.jobs);
        sd_bus_detach_event(bus);
        sd_event_unref(f.event);
        return code ? code : f.exit_code;
}
