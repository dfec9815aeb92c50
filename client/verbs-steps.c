/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"
#include "part-file.h"
#include "steps.h"

/* What the verbs below have in common: a connection, the objects, one device, loaders. */
typedef struct Context {
        sd_bus *bus;
        struct json_object *objects;
        Paths targets, jobs;
        StepJob job;
} Context;

static int context_open(Context *c, const char *kind, bool needs_device) {
        int code = 0;

        c->job.kind = kind;
        c->bus = client_connect(&code);
        if (!c->bus)
                return code;
        code = client_objects(c->bus, &c->objects);
        if (code == 0 && !arg_dry_run)
                code = needs_device ? choose_devices(c->bus, c->objects, &c->targets) : choose_targets(c->bus, c->objects, &c->targets);
        if (code == 0 && c->targets.n > 1) {
                fprintf(stderr, "fdlctl: \"%s\" works on one device at a time; choose it with --device=.\n", kind);
                code = EXIT_USAGE;
        }
        return code ? code : steps_loaders(c->bus, c->objects, &c->job);
}

static void context_close(Context *c) {
        steps_free(&c->job);
        json_object_put(c->objects);
        paths_clear(&c->targets);
        paths_clear(&c->jobs);
        if (c->bus)
                sd_bus_flush_close_unref(c->bus);
}

static int no_memory(void) {
        return client_report("steps", NULL, -ENOMEM);
}

/* PLACE=FILE */
static int add_with_file(Context *c, const char *op, const char *text) {
        const char *equals = strchr(text, '=');
        Step *s;
        int code;

        if (!equals || equals == text || !equals[1] || strlen(equals + 1) >= sizeof(s->file) - 8)
                return usage_error("\"%s\": write PARTITION=FILE or 0xADDRESS=FILE.", text);
        s = steps_add(&c->job, op);
        if (!s)
                return no_memory();
        code = steps_parse_place(text, (size_t) (equals - text), s);
        snprintf(s->file, sizeof(s->file), "%s", equals + 1);
        return code;
}

static int start_and_follow(Context *c, bool cancel_on_interrupt) {
        int code;

        if (streq(c->targets.items[0], "/") && !arg_output.quiet)
                fprintf(stderr, "No device in boot mode is plugged in; %s.\n", arg_wait ? "waiting for the next one" : "the job waits for the next one");
        code = steps_start(c->bus, &c->job, c->targets.items[0], &c->jobs);
        if (code)
                return code;
        return cancel_on_interrupt ? follow_started(c->bus, &c->jobs, true) : follow_or_print(c->bus, &c->jobs);
}

/* ---- write and erase ---- */

static const char *list_places(const StepJob *j, char *buf, size_t size) {
        size_t used = 0;

        buf[0] = '\0';
        for (size_t i = 0; i < j->n && used < size; i++) {
                char address[32];
                snprintf(address, sizeof(address), "0x%" PRIx64, j->steps[i].address);
                used += (size_t) snprintf(buf + used, size - used, "%s%s", i > 0 ? ", " : "", j->steps[i].name[0] ? j->steps[i].name : address);
        }
        return buf;
}

static int change_flash(Context *c, const char *what) {
        char places[1024], question[1200];

        if (arg_dry_run) {
                steps_show(&c->job);
                return 0;
        }
        snprintf(question, sizeof(question), "%s on the device: %s.", what, list_places(&c->job, places, sizeof(places)));
        if (!agree(question))
                return EXIT_USAGE;
        return start_and_follow(c, false);
}

int verb_write(int argc, char **argv) {
        Context c = {};
        int code = 0;

        code = context_open(&c, "write", false);
        for (int i = 1; code == 0 && i < argc; i++)
                code = add_with_file(&c, "write", argv[i]);
        if (code == 0)
                code = change_flash(&c, "This overwrites what is");
        context_close(&c);
        return code;
}

int verb_erase(int argc, char **argv) {
        Context c = {};
        int code = context_open(&c, "erase", false);

        for (int i = 1; code == 0 && i < argc; i++) {
                Step *s = steps_add(&c.job, "erase");
                code = s ? steps_parse_place(argv[i], strlen(argv[i]), s) : no_memory();
        }
        if (code == 0)
                code = change_flash(&c, "This erases what is");
        context_close(&c);
        return code;
}

/* ---- read ---- */

/* FILE.part becomes FILE when it is whole and is what the daemon read. */
static int prepare_read(Context *c, Step *s) {
        char part[sizeof(s->file) + 8];
        int code;

        if (access(s->file, F_OK) == 0 && !arg_force) {
                fprintf(stderr, "fdlctl: %s exists already. Choose another name, or add --force.\n", s->file);
                return EXIT_REFUSED;
        }
        snprintf(part, sizeof(part), "%s.part", s->file);
        code = part_resume(part, s->name, s->address, arg_offset, &s->offset);
        if (code)
                return code;
        if (s->offset > arg_offset && !arg_output.quiet)
                fprintf(stderr, "%s: going on at byte %" PRIu64 ".\n", s->file, s->offset - arg_offset);
        if (s->length != UINT64_MAX)
                s->length = s->length > s->offset - arg_offset ? s->length - (s->offset - arg_offset) : 0;
        (void) c;
        return 0;
}

static int finish_one(const Step *s, struct json_object *outputs) {
        char part[sizeof(s->file) + 8], address[32];
        const char *name = s->name[0] ? s->name : address;

        snprintf(part, sizeof(part), "%s.part", s->file);
        snprintf(address, sizeof(address), "0x%" PRIx64, s->address);
        for (size_t i = 0; outputs && i < json_object_array_length(outputs); i++) {
                struct json_object *o = json_object_array_get_idx(outputs, i);
                if (!streq(json_object_get_string(json_object_array_get_idx(o, 0)), name))
                        continue;
                return part_finish(part, s->file, name, arg_offset, s->offset - arg_offset, json_object_get_uint64(json_object_array_get_idx(o, 2)),
                                   json_object_get_string(json_object_array_get_idx(o, 3)), json_object_get_boolean(json_object_array_get_idx(o, 4)));
        }
        return EXIT_OTHER;
}

static int finish_reads(Context *c, int code) {
        struct json_object *properties = NULL, *outputs = NULL;

        if (c->jobs.n == 0 || steps_outputs(c->bus, c->jobs.items[0], &properties))
                return code;
        json_object_object_get_ex(properties, "Outputs", &outputs);
        for (size_t i = 0; i < c->job.n; i++) {
                int r = finish_one(c->job.steps + i, outputs);
                if (code == 0)
                        code = r;
        }
        json_object_put(properties);
        return code;
}

/* Outputs are written into the .part files, at the place where the reading goes on: files of their own for each run are joined by
 * part_finish(). */
static void name_parts(Context *c) {
        for (size_t i = 0; i < c->job.n; i++) {
                Step *s = c->job.steps + i;
                char run[sizeof(s->file)];
                snprintf(run, sizeof(run), "%.4080s.run", s->file);
                (void) unlink(run);
                memcpy(s->file, run, sizeof(run));
        }
}

static void unname_parts(Context *c) {
        for (size_t i = 0; i < c->job.n; i++)
                c->job.steps[i].file[strlen(c->job.steps[i].file) - 4] = '\0';
}

static int read_all(Context *c) {
        int code = 0;

        for (size_t i = 0; code == 0 && i < c->job.n; i++)
                code = prepare_read(c, c->job.steps + i);
        if (code)
                return code;
        name_parts(c);
        code = start_and_follow(c, true);
        unname_parts(c);
        return finish_reads(c, code);
}

int verb_read(int argc, char **argv) {
        Context c = {};
        int code = context_open(&c, "read", false);

        for (int i = 1; code == 0 && i < argc; i++) {
                code = add_with_file(&c, "read", argv[i]);
                if (code == 0 && arg_length > 0)
                        c.job.steps[c.job.n - 1].length = arg_length;
                if (code == 0)
                        c.job.steps[c.job.n - 1].offset = arg_offset;
        }
        if (code == 0 && arg_dry_run)
                steps_show(&c.job);
        else if (code == 0)
                code = read_all(&c);
        context_close(&c);
        return code;
}

/* ---- reset ---- */

int verb_reset(int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Context c = {};
        int code;

        if (argc > 1)
                arg_device = argv[1];
        code = context_open(&c, "reset", true);
        if (code == 0)
                code = client_call(c.bus, c.targets.items[0], FDLD_IFACE("Device"), "Reset", &reply, "sa{sv}",
                                   arg_finish && streq(arg_finish, "power-off") ? "power-off" : "reset", 0);
        if (code == 0)
                code = read_job_reply(reply, &c.jobs);
        if (code == 0)
                code = follow_or_print(c.bus, &c.jobs);
        context_close(&c);
        return code;
}
