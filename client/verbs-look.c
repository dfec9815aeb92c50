/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "board.h"
#include "bus-client.h"
#include "common/failure.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "find.h"
#include "output.h"

static const Column device_columns[] = {
        { "DEVICE", "number", CELL_NUMBER, false },   { "PORT", "Port", CELL_TEXT, false },
        { "VENDOR", "VendorId", CELL_HEX, false },    { "PRODUCT", "ProductId", CELL_HEX, false },
        { "MODE", "Mode", CELL_TEXT, false },         { "STATE", "State", CELL_TEXT, false },
        { "LOADER", "LoaderVersion", CELL_TEXT, false }, { "", "path", CELL_TEXT, true },
        { "", "Speed", CELL_TEXT, true },             { "", "Slot", CELL_TEXT, true },
        { "", "Job", CELL_TEXT, true },               { "", "Stage", CELL_TEXT, true },
        { "", "DevNode", CELL_TEXT, true },           { "", "SysfsPath", CELL_TEXT, true },
};

static const Column slot_columns[] = {
        { "SLOT", "Label", CELL_TEXT, false },      { "PORT", "Port", CELL_TEXT, false },
        { "STATE", "State", CELL_TEXT, false },     { "PASSED", "Passed", CELL_NUMBER, false },
        { "FAILED", "Failed", CELL_NUMBER, false }, { "LAST", "LastResult", CELL_TEXT, false },
        { "CODE", "LastCode", CELL_TEXT, false },   { "UNPLUG", "SafeToUnplug", CELL_BOOL, false },
        { "", "path", CELL_TEXT, true },            { "", "Enabled", CELL_BOOL, true },
        { "ACTION", "Action", CELL_TEXT, false },   { "HEALTH", "Health", CELL_TEXT, false },
        { "LISTED", "Listed", CELL_BOOL, false },   { "", "Batch", CELL_TEXT, true },
        { "", "Quarantine", CELL_TEXT, true },      { "", "Units", CELL_NUMBER, true },
        { "", "Timeouts", CELL_NUMBER, true },      { "", "Resets", CELL_NUMBER, true },
        { "", "Garbled", CELL_NUMBER, true },       { "", "Rate", CELL_NUMBER, true },
        { "", "Device", CELL_TEXT, true },          { "", "Job", CELL_TEXT, true },
};

static const Column job_columns[] = {
        { "JOB", "Id", CELL_NUMBER, false },             { "KIND", "Kind", CELL_TEXT, false },
        { "STATE", "State", CELL_TEXT, false },          { "RESULT", "Result", CELL_TEXT, false },
        { "STAGE", "Stage", CELL_TEXT, false },          { "PROGRESS", "Progress", CELL_PERCENT, false },
        { "PACKAGE", "PackageName", CELL_TEXT, false },  { "SLOT", "place", CELL_TEXT, false },
        { "CODE", "code", CELL_TEXT, false },            { "", "path", CELL_TEXT, true },
        { "", "Device", CELL_TEXT, true },               { "", "Slot", CELL_TEXT, true },
        { "", "Package", CELL_TEXT, true },              { "", "Mode", CELL_TEXT, true },
        { "", "BytesDone", CELL_NUMBER, true },          { "", "BytesTotal", CELL_NUMBER, true },
        { "", "CreatedUSec", CELL_NUMBER, true },        { "", "StartedUSec", CELL_NUMBER, true },
        { "", "FinishedUSec", CELL_NUMBER, true },       { "", "UserAction", CELL_TEXT, true },
        { "", "Error", CELL_TEXT, true },                { "", "Partition", CELL_TEXT, true },
};

static const Column package_columns[] = {
        { "PACKAGE", "Digest", CELL_DIGEST, false }, { "NAME", "Name", CELL_TEXT, false },
        { "PRODUCT", "Product", CELL_TEXT, false },  { "VERSION", "Version", CELL_TEXT, false },
        { "FAMILY", "Family", CELL_TEXT, false },    { "SIZE", "Size", CELL_BYTES, false },
        { "IMPORTED", "Imported", CELL_TIME, false }, { "", "path", CELL_TEXT, true },
        { "", "Alias", CELL_TEXT, true },            { "", "Ready", CELL_BOOL, true },
        { "", "Warnings", CELL_TEXT, true },
};

static int get_objects(sd_bus **ret_bus, struct json_object **ret) {
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = client_objects(bus, ret);
        if (code) {
                sd_bus_flush_close_unref(bus);
                return code;
        }
        *ret_bus = bus;
        return 0;
}

static void add_number(struct json_object *row) {
        const char *n = strrchr(json_text(row, "path"), '_');
        if (n)
                json_object_object_add(row, "number", json_object_new_uint64(strtoull(n + 1, NULL, 10)));
}

/* The slot's label, else its port: what a person calls the place. */
static void add_place(struct json_object *row, struct json_object *objects) {
        struct json_object *slot = json_member(json_member(objects, json_text(row, "Slot")), FDLD_IFACE("Slot"));
        const char *label = json_text(slot, "Label");
        struct json_object *error = json_member(row, "Error");

        json_object_object_add(row, "place", json_object_new_string(label[0] ? label : json_text(slot, "Port")));
        if (error && json_object_array_length(error) == 3)
                json_object_object_add(row, "code", json_object_new_string(
                                json_text(json_object_array_get_idx(error, 2), "code")));
}

static void print_kind(struct json_object *objects, const char *interface, const Column *columns, size_t n, const char *noun) {
        struct json_object *rows = client_objects_of(objects, interface);

        for (size_t i = 0; i < json_object_array_length(rows); i++) {
                struct json_object *row = json_object_array_get_idx(rows, i);
                add_number(row);
                add_place(row, objects);
        }
        table_print(columns, n, rows, noun);
        json_object_put(rows);
}

static int list_verb(const char *interface, const Column *columns, size_t n, const char *noun) {
        struct json_object *objects = NULL;
        sd_bus *bus = NULL;
        int code = get_objects(&bus, &objects);

        if (code)
                return code;
        print_kind(objects, interface, columns, n, noun);
        json_object_put(objects);
        sd_bus_flush_close_unref(bus);
        return 0;
}

int verb_devices(int argc _unused_, char **argv _unused_) {
        return list_verb(FDLD_IFACE("Device"), device_columns, ELEMENTSOF(device_columns), "device");
}

int verb_slots(int argc _unused_, char **argv _unused_) {
        return list_verb(FDLD_IFACE("Slot"), slot_columns, ELEMENTSOF(slot_columns), "slot");
}

int verb_jobs(int argc _unused_, char **argv _unused_) {
        return list_verb(FDLD_IFACE("Job"), job_columns, ELEMENTSOF(job_columns), "job");
}

int verb_packages(int argc _unused_, char **argv _unused_) {
        return list_verb(FDLD_IFACE("Package"), package_columns, ELEMENTSOF(package_columns), "package");
}

int verb_status(int argc _unused_, char **argv _unused_) {
        struct json_object *objects = NULL, *manager = NULL;
        char name[128], banner[700];
        sd_bus *bus = NULL;
        int code = get_objects(&bus, &objects);

        if (code)
                return code;
        code = client_properties(bus, FDLD_ROOT, FDLD_IFACE("Manager"), &manager);
        if (code == 0 && arg_output.json != JSON_OFF) {
                json_object_object_add(manager, "objects", json_object_get(objects));
                if (arg_client.host)
                        json_object_object_add(manager, "host", json_object_new_string(arg_client.host));
                json_print(manager);
        } else if (code == 0) {
                const char *station = json_text(manager, "StationName");
                batch_banner(objects, banner, sizeof(banner));
                printf("fdld %s%s%s: %" PRIu64 " running, %" PRIu64 " queued%s%s%s\n\n", json_text(manager, "Version"),
                       station[0] ? " at " : "", safe_text(station, name, sizeof(name)), json_u64(manager, "JobsRunning"),
                       json_u64(manager, "JobsQueued"), json_flag(manager, "Inhibited") ? ", starting is inhibited" : "",
                       banner[0] ? "; " : "", banner);
                print_open_batches(objects);
                print_kind(objects, FDLD_IFACE("Device"), device_columns, ELEMENTSOF(device_columns), "device");
                putchar('\n');
                print_kind(objects, FDLD_IFACE("Job"), job_columns, ELEMENTSOF(job_columns), "job");
        }
        json_object_put(manager);
        json_object_put(objects);
        sd_bus_flush_close_unref(bus);
        return code;
}

/* Which interface an object path belongs to. */
static const char *interface_of_path(const char *path) {
        static const struct {
                const char *folder, *interface;
        } folders[] = {
                { FDLD_ROOT "/jobs/", FDLD_IFACE("Job") },         { FDLD_ROOT "/devices/", FDLD_IFACE("Device") },
                { FDLD_ROOT "/slots/", FDLD_IFACE("Slot") },       { FDLD_ROOT "/packages/", FDLD_IFACE("Package") },
                { FDLD_ROOT "/batches/", FDLD_IFACE("Batch") },    { FDLD_ROOT "/profiles/", FDLD_IFACE("Profile") },
        };

        for (size_t i = 0; i < ELEMENTSOF(folders); i++)
                if (strncmp(path, folders[i].folder, strlen(folders[i].folder)) == 0)
                        return folders[i].interface;
        return FDLD_IFACE("Manager");
}

/* job 12, "12", device/1, slot labels, ports, digests, object paths: the first kind that knows the name. */
static int find_anything(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        static const char *const kinds[] = { FDLD_IFACE("Slot"), FDLD_IFACE("Package"), FDLD_IFACE("Device") };
        FILE *keep = stderr;
        int code = EXIT_NOT_FOUND;

        if (text[0] == '/' && (!sd_bus_object_path_is_valid(text) || strlen(text) >= PATH_TEXT_MAX)) {
                fprintf(stderr, "fdlctl: \"%.128s\" is no object path.\n", text);
                return EXIT_USAGE;
        }
        if (text[0] == '/') {
                snprintf(ret, PATH_TEXT_MAX, "%s", text);
                return 0;
        }
        if (text[0] && text[strspn(text, "0123456789")] == '\0')
                return find_job(text, ret);
        stderr = fopen("/dev/null", "we");
        for (size_t i = 0; i < ELEMENTSOF(kinds) && code; i++)
                code = i == 0 ? find_slot(objects, text, ret) : i == 1 ? find_package(objects, text, ret) : find_device(objects, text, ret);
        if (stderr)
                fclose(stderr);
        stderr = keep;
        if (code)
                fprintf(stderr, "fdlctl: Nothing is called \"%.128s\": no job, slot, package or device.\n", text);
        return code;
}

int verb_show(int argc, char **argv) {
        struct json_object *objects = NULL;
        sd_bus *bus = NULL;
        int code = get_objects(&bus, &objects);

        if (code)
                return code;
        for (int i = 1; i < argc && code == 0; i++) {
                struct json_object *properties = NULL;
                char path[PATH_TEXT_MAX];

                code = find_anything(objects, argv[i], path);
                if (code == 0)
                        code = client_properties(bus, path, interface_of_path(path), &properties);
                if (code == 0) {
                        if (i > 1 && arg_output.json == JSON_OFF)
                                putchar('\n');
                        properties_print(properties);
                }
                json_object_put(properties);
        }
        json_object_put(objects);
        sd_bus_flush_close_unref(bus);
        return code;
}

static int on_signal(sd_bus_message *m, void *userdata _unused_, sd_bus_error *ret_error _unused_) {
        struct json_object *o = json_object_new_object(), *arguments = json_object_new_array(), *item = NULL;

        while (sd_bus_message_at_end(m, true) == 0 && message_to_json(m, &item) == 0)
                json_object_array_add(arguments, item);
        json_object_object_add(o, "path", json_object_new_string(sd_bus_message_get_path(m)));
        json_object_object_add(o, "interface", json_object_new_string(sd_bus_message_get_interface(m)));
        json_object_object_add(o, "signal", json_object_new_string(sd_bus_message_get_member(m)));
        json_object_object_add(o, "arguments", arguments);
        if (arg_output.json != JSON_OFF)
                json_print(o);
        else {
                printf("%s %s ", sd_bus_message_get_path(m), sd_bus_message_get_member(m));
                safe_print(json_object_to_json_string_ext(arguments, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
                putchar('\n');
        }
        fflush(stdout);
        json_object_put(o);
        return 0;
}

int verb_monitor(int argc _unused_, char **argv _unused_) {
        int code = 0, r;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        r = sd_bus_add_match(bus, NULL, "type='signal',sender='" FDLD_NAME "',path_namespace='" FDLD_ROOT "'", on_signal, NULL);
        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r == -EINTR)
                        r = 0;
        }
        code = client_report("monitor", NULL, r);
        sd_bus_close_unref(bus);
        return code;
}

static void explanation_to_json(const char *code, const Explanation *e, struct json_object *list) {
        struct json_object *o = json_object_new_object(), *causes = json_object_new_array(), *actions = json_object_new_array();

        for (size_t i = 0; e->causes[i]; i++)
                json_object_array_add(causes, json_object_new_string(e->causes[i]));
        for (size_t i = 0; e->actions[i]; i++)
                json_object_array_add(actions, json_object_new_string(e->actions[i]));
        json_object_object_add(o, "code", json_object_new_string(code));
        json_object_object_add(o, "summary", json_object_new_string(e->summary));
        json_object_object_add(o, "causes", causes);
        json_object_object_add(o, "actions", actions);
        json_object_object_add(o, "error", json_object_new_string(e->dbus_name));
        json_object_object_add(o, "exit", json_object_new_int(e->exit_code));
        json_object_array_add(list, o);
}

static void collect_row(const char *pattern, const Explanation *e, void *userdata) {
        explanation_to_json(pattern, e, userdata);
}

static void print_explanation(const char *code, const Explanation *e) {
        printf("%s\n  %s\n", code, e->summary);
        for (size_t i = 0; e->causes[i]; i++)
                printf("  %s %s\n", i ? "             " : "likely cause:", e->causes[i]);
        for (size_t i = 0; e->actions[i]; i++)
                printf("  %s %s\n", i ? "             " : "what to do:  ", e->actions[i]);
}

int verb_explain(int argc, char **argv) {
        static const Column columns[] = {
                { "CODE", "code", CELL_TEXT, false }, { "MEANING", "summary", CELL_TEXT, false },
                { "", "causes", CELL_TEXT, true },    { "", "actions", CELL_TEXT, true },
                { "", "error", CELL_TEXT, true },     { "", "exit", CELL_NUMBER, true },
        };
        struct json_object *list = json_object_new_array();
        Explanation e;
        int code = 0;

        if (argc < 2) {
                explanation_foreach(collect_row, list);
                table_print(columns, ELEMENTSOF(columns), list, "code");
        } else if (!explanation_find(argv[1], &e)) {
                fprintf(stderr, "fdlctl: \"%.80s\" is no failure code. A code is <stage>-<class>[-<detail>], such as write-gone.\n", argv[1]);
                code = EXIT_NOT_FOUND;
        } else if (arg_output.json != JSON_OFF) {
                explanation_to_json(argv[1], &e, list);
                json_print(json_object_array_get_idx(list, 0));
        } else
                print_explanation(argv[1], &e);
        json_object_put(list);
        return code;
}
