/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "board.h"
#include "bus-client.h"
#include "common/macro.h"
#include "do.h"
#include "fdlctl.h"
#include "find.h"
#include "flash/choice.h"
#include "options.h"
#include "output.h"
#include "package-argument.h"

/* Verbs of a station that runs all day: batches, armed slots, profiles. */

#define MANAGER FDLD_IFACE("Manager")

typedef struct Session {
        sd_bus *bus;
        struct json_object *objects;
} Session;

static int session_open(Session *s) {
        int code = 0;

        *s = (Session) {};
        s->bus = client_connect(&code);
        if (!s->bus)
                return code;
        return client_objects(s->bus, &s->objects);
}

static void session_close(Session *s) {
        json_object_put(s->objects);
        if (s->bus)
                sd_bus_flush_close_unref(s->bus);
}

/* ---- slots ---- */

/* None given is every slot that is free; an empty list is a mistake, mostly of a script. */
static int append_slots(Session *s, sd_bus_message *m, const char *list) {
        int code = 0, r;

        if (list && !list[strspn(list, ", ")]) {
                fprintf(stderr, "fdlctl: --slots= names no slot. Without it, the batch takes every slot that is free.\n");
                return EXIT_USAGE;
        }
        r = sd_bus_message_open_container(m, 'a', "o");
        for (const char *at = list ? list : ""; r >= 0 && code == 0 && *at; at += strcspn(at, ","), at += *at == ',') {
                char path[PATH_TEXT_MAX], text[256];
                snprintf(text, sizeof(text), "%.*s", (int) strcspn(at, ","), at);
                code = slot_named(s->bus, s->objects, text, path);
                if (code == 0)
                        r = sd_bus_message_append(m, "o", path);
        }
        if (r >= 0 && code == 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? client_report("slots", NULL, r) : code;
}

/* ---- options that become values of the policy ---- */

static int append_text(sd_bus_message *m, const char *key, const char *value) {
        return value ? sd_bus_message_append(m, "{sv}", key, "s", value) : 0;
}

static int append_profile(Session *s, sd_bus_message *m) {
        char path[PATH_TEXT_MAX];
        int code;

        if (!arg_profile)
                return 0;
        code = find_profile(s->objects, arg_profile, path);
        return code ? code : sd_bus_message_append(m, "{sv}", "profile", "o", path) < 0 ? EXIT_OTHER : 0;
}

static int append_serials(sd_bus_message *m) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (!arg_serials)
                return 0;
        r = serials_argument(&text);
        return r < 0 ? r : append_text(m, "serials", text);
}

static int append_policy(Session *s, sd_bus_message *m, bool with_profile) {
        int code = 0, r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0 && with_profile)
                code = append_profile(s, m);
        if (code)
                return code;
        const char *const values[][2] = {
                { "mode", arg_mode },           { "finish", arg_finish },         { "count", arg_count },
                { "verify", arg_verify },
                { "first-article", arg_first_article }, { "stop-after", arg_stop_after }, { "retry", arg_retry },
                { "straggler", arg_straggler }, { "quarantine-after", arg_quarantine_after }, { "operator", arg_operator },
                { "allow-warnings", arg_allow_warnings ? "yes" : NULL }, { "reflash", arg_reflash ? "yes" : NULL },
                { "stop-on-difference", arg_stop_on_difference }, { "first-mode", arg_first_mode },
        };
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(values); i++)
                r = append_text(m, values[i][0], values[i][1]);
        for (size_t i = 0; r >= 0 && choice_name(i); i++)
                r = append_text(m, choice_name(i), choice_argument(choice_name(i)));
        if (r >= 0)
                r = append_serials(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? client_report("options", NULL, r) : 0;
}

/* ---- start-batch ---- */

static void print_batch(const char *path) {
        const char *number = strrchr(path, '_');

        if (arg_output.json != JSON_OFF) {
                struct json_object *o = json_object_new_object();
                json_object_object_add(o, "batch", json_object_new_string(path));
                json_object_object_add(o, "id", json_object_new_uint64(number ? strtoull(number + 1, NULL, 10) : 0));
                json_print(o);
                json_object_put(o);
        } else
                printf("batch %s\n", number ? number + 1 : path);
}

static int start_batch(Session *s, const char *name, const char *package) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        int code = 0, r = sd_bus_message_new_method_call(s->bus, &m, FDLD_NAME, FDLD_ROOT, MANAGER, "StartBatch");

        if (r >= 0)
                r = sd_bus_message_append(m, "so", name ? name : "", package);
        if (r < 0)
                return client_report("start-batch", NULL, r);
        code = append_slots(s, m, arg_slots);
        if (code == 0)
                code = append_policy(s, m, true);
        if (code == 0)
                code = client_call_message(s->bus, m, &reply);
        if (code)
                return code;
        if (sd_bus_message_read(reply, "o", &path) < 0)
                return client_report("reply", NULL, -EBADMSG);
        print_batch(path);
        return 0;
}

int verb_start_batch(int argc, char **argv) {
        char package[PATH_TEXT_MAX] = "/";
        const char *name = TAKE_PTR(arg_name); /* of the batch, not of what is imported for it */
        Session s;
        int code = session_open(&s);

        if (code == 0 && argc < 2 && !arg_profile) {
                fprintf(stderr, "fdlctl: \"start-batch\" needs a package, or a profile that names one (--profile=).\n");
                code = EXIT_USAGE;
        }
        if (code == 0 && argc > 1)
                code = package_from_argument(s.bus, s.objects, argv[1], package);
        if (code == 0)
                code = start_batch(&s, name, package);
        session_close(&s);
        return code;
}

/* ---- verbs on batches ---- */

static bool is_open(struct json_object *batch) {
        const char *state = json_text(batch, "State");
        return !streq(state, "stopped") && !streq(state, "complete");
}

/* A number, a path or a name; nothing means the only one that is not over. */
static int find_batch(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Batch"));
        size_t found = 0;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *b = json_object_array_get_idx(list, i);
                const char *number = strrchr(json_text(b, "path"), '_');
                if (text ? !((number && streq(number + 1, text)) || streq(json_text(b, "path"), text) ||
                             (is_open(b) && streq(json_text(b, "Name"), text)))
                         : !is_open(b))
                        continue;
                snprintf(ret, PATH_TEXT_MAX, "%s", json_text(b, "path"));
                found++;
        }
        json_object_put(list);
        if (found == 1)
                return 0;
        if (found == 0 && text)
                fprintf(stderr, "fdlctl: There is no batch \"%.128s\". \"fdlctl batches\" lists them.\n", text);
        else if (found == 0)
                fprintf(stderr, "fdlctl: No batch is under way.\n");
        else
                fprintf(stderr, "fdlctl: Several batches are under way; name one. \"fdlctl batches\" lists them.\n");
        return found == 0 ? EXIT_NOT_FOUND : EXIT_USAGE;
}

static int batch_call(int argc, char **argv, const char *member) {
        char path[PATH_TEXT_MAX];
        int worst = 0;
        Session s;
        int code = session_open(&s);

        for (int i = 1; code == 0 && i < MAX(argc, 2); i++) {
                int one = find_batch(s.objects, i < argc ? argv[i] : NULL, path);
                if (one == 0)
                        one = client_call(s.bus, path, FDLD_IFACE("Batch"), member, NULL, "a{sv}", 0);
                worst = worse_exit(worst, one);
        }
        session_close(&s);
        return code ? code : worst;
}

int verb_pause_batch(int argc, char **argv) {
        return batch_call(argc, argv, "Pause");
}

int verb_resume_batch(int argc, char **argv) {
        return batch_call(argc, argv, "Resume");
}

int verb_drain_batch(int argc, char **argv) {
        return batch_call(argc, argv, "Drain");
}

int verb_stop_batch(int argc, char **argv) {
        return batch_call(argc, argv, "Stop");
}

int verb_confirm(int argc, char **argv) {
        return batch_call(argc, argv, "Confirm");
}

static const Column batch_columns[] = {
        { "BATCH", "Id", CELL_NUMBER, false },        { "NAME", "Name", CELL_TEXT, false },
        { "STATE", "State", CELL_TEXT, false },       { "PASSED", "Passed", CELL_NUMBER, false },
        { "FAILED", "Failed", CELL_NUMBER, false },   { "SKIPPED", "Skipped", CELL_NUMBER, false },
        { "RUNNING", "Running", CELL_NUMBER, false }, { "OF", "TargetCount", CELL_NUMBER, false },
        { "YIELD", "Yield", CELL_PERCENT, false },    { "FIRST", "FirstArticle", CELL_TEXT, false },
        { "REASON", "Reason", CELL_TEXT, false },     { "", "PackageName", CELL_TEXT, true },
        { "", "Package", CELL_TEXT, true },           { "", "Mode", CELL_TEXT, true },
        { "", "Profile", CELL_TEXT, true },           { "", "Slots", CELL_TEXT, true },
        { "", "Policy", CELL_TEXT, true },            { "", "Armed", CELL_BOOL, true },
        { "", "Action", CELL_TEXT, true },
        { "", "CreatedUSec", CELL_NUMBER, true },     { "", "FinishedUSec", CELL_NUMBER, true },
        { "", "path", CELL_TEXT, true },
};

static const Column profile_columns[] = {
        { "PROFILE", "Name", CELL_TEXT, false },    { "MODE", "Mode", CELL_TEXT, false },
        { "PACKAGE", "Package", CELL_TEXT, false }, { "DESCRIPTION", "Description", CELL_TEXT, false },
        { "", "Policy", CELL_TEXT, true },          { "", "path", CELL_TEXT, true },
};

static int list(const char *interface, const Column *columns, size_t n, const char *noun) {
        Session s;
        int code = session_open(&s);

        if (code == 0) {
                struct json_object *rows = client_objects_of(s.objects, interface);
                table_print(columns, n, rows, noun);
                json_object_put(rows);
        }
        session_close(&s);
        return code;
}

int verb_batches(int argc _unused_, char **argv _unused_) {
        return list(FDLD_IFACE("Batch"), batch_columns, ELEMENTSOF(batch_columns), "batch");
}

int verb_profiles(int argc _unused_, char **argv _unused_) {
        return list(FDLD_IFACE("Profile"), profile_columns, ELEMENTSOF(profile_columns), "profile");
}

void print_open_batches(struct json_object *objects) {
        struct json_object *all = client_objects_of(objects, FDLD_IFACE("Batch")), *rows = json_object_new_array();

        for (size_t i = 0; i < json_object_array_length(all); i++)
                if (is_open(json_object_array_get_idx(all, i)))
                        json_object_array_add(rows, json_object_get(json_object_array_get_idx(all, i)));
        if (json_object_array_length(rows) > 0) {
                table_print(batch_columns, ELEMENTSOF(batch_columns), rows, "batch");
                putchar('\n');
        }
        json_object_put(rows);
        json_object_put(all);
}

/* ---- verbs on slots ---- */

static int arm_one(Session *s, const char *slot, const char *profile, const char *package) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int code, r = sd_bus_message_new_method_call(s->bus, &m, FDLD_NAME, slot, FDLD_IFACE("Slot"), "Arm");

        if (r >= 0)
                r = sd_bus_message_append(m, "o", profile);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && package)
                r = sd_bus_message_append(m, "{sv}", "package", "o", package);
        const char *const values[][2] = {
                { "mode", arg_mode }, { "finish", arg_finish }, { "operator", arg_operator }, { "retry", arg_retry },
                { "verify", arg_verify }, { "count", arg_count }, { "stop-after", arg_stop_after }, { "allow-warnings", arg_allow_warnings ? "yes" : NULL },
                { "reflash", arg_reflash ? "yes" : NULL }, { "first-mode", arg_first_mode },
        };
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(values); i++)
                r = append_text(m, values[i][0], values[i][1]);
        if (r >= 0)
                r = append_serials(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return client_report("arm", NULL, r);
        code = client_call_message(s->bus, m, &reply);
        return code;
}

int verb_arm(int argc, char **argv) {
        char profile[PATH_TEXT_MAX] = "/", package[PATH_TEXT_MAX], slot[PATH_TEXT_MAX];
        int worst = 0;
        Session s;
        int code = session_open(&s);

        if (code == 0 && !arg_profile && !arg_package) {
                fprintf(stderr, "fdlctl: \"arm\" needs --profile= or --package=: what shall be flashed there?\n");
                code = EXIT_USAGE;
        }
        if (code == 0 && arg_profile)
                code = find_profile(s.objects, arg_profile, profile);
        if (code == 0 && arg_package)
                code = package_from_argument(s.bus, s.objects, arg_package, package);
        for (int i = 1; code == 0 && i < argc; i++) {
                int one = slot_named(s.bus, s.objects, argv[i], slot);
                if (one == 0)
                        one = arm_one(&s, slot, profile, arg_package ? package : NULL);
                worst = worse_exit(worst, one);
        }
        session_close(&s);
        return code ? code : worst;
}

static int slot_call(int argc, char **argv, const char *member) {
        char path[PATH_TEXT_MAX];
        int worst = 0;
        Session s;
        int code = session_open(&s);

        for (int i = 1; code == 0 && i < argc; i++) {
                int one = find_slot(s.objects, argv[i], path);
                if (one == 0)
                        one = client_call(s.bus, path, FDLD_IFACE("Slot"), member, NULL, "");
                worst = worse_exit(worst, one);
        }
        session_close(&s);
        return code ? code : worst;
}

int verb_disarm(int argc, char **argv) {
        return slot_call(argc, argv, "Disarm");
}

int verb_clear(int argc, char **argv) {
        return slot_call(argc, argv, "ClearWedged");
}
