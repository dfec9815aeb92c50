/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "do.h"
#include "find.h"
#include "follow.h"
#include "new-table.h"
#include "options.h"
#include "flash/plan-text.h"
#include "output.h"
#include "steps.h"
#include "remote.h"
#include "package-argument.h"

int paths_add(Paths *p, const char *path) {
        char *copy;

        if (p->n >= TARGETS_MAX) {
                fprintf(stderr, "fdlctl: More than %d at once are not possible; name fewer.\n", TARGETS_MAX);
                return EXIT_USAGE;
        }
        copy = strdup(path);
        if (!copy) {
                fprintf(stderr, "fdlctl: Out of memory.\n");
                return EXIT_OTHER;
        }
        p->items[p->n++] = copy;
        return 0;
}

void paths_clear(Paths *p) {
        for (size_t i = 0; i < p->n; i++)
                free(p->items[i]);
        p->n = 0;
}

int follow_started(sd_bus *bus, const Paths *jobs, bool cancel_on_interrupt) {
        FollowOptions options = { .cancel_on_interrupt = cancel_on_interrupt, .timeout_usec = arg_timeout_usec };
        return follow_jobs(bus, (const char *const *) jobs->items, jobs->n, &options);
}

/* What started jobs look like to a script: one line or one object each, on stdout. */
static void print_job(const char *path) {
        const char *number = strrchr(path, '_');

        if (arg_output.json != JSON_OFF) {
                struct json_object *o = json_object_new_object();
                json_object_object_add(o, "job", json_object_new_string(path));
                json_object_object_add(o, "id", json_object_new_uint64(number ? strtoull(number + 1, NULL, 10) : 0));
                json_print(o);
                json_object_put(o);
        } else
                printf("job %s\n", number ? number + 1 : path);
}

int follow_or_print(sd_bus *bus, const Paths *jobs) {
        if (arg_wait)
                return follow_started(bus, jobs, false);
        for (size_t i = 0; i < jobs->n; i++)
                print_job(jobs->items[i]);
        return 0;
}

int read_job_reply(sd_bus_message *reply, Paths *jobs) {
        const char *path;
        uint64_t id;
        int r = sd_bus_message_read(reply, "to", &id, &path);

        if (r < 0)
                return client_report("reply", NULL, r);
        return paths_add(jobs, path);
}

/* ---- import ---- */

static int open_package(const char *file, int *ret_fd) {
        bool from_stdin = streq(file, "-");
        struct stat st;
        int fd = from_stdin ? spool_stdin() : open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

        if (fd < 0 && from_stdin) {
                fprintf(stderr, "fdlctl: Cannot keep what comes on the standard input: %s.\n", strerror(-fd));
                return EXIT_OTHER;
        }
        if (fd < 0) {
                fprintf(stderr, "fdlctl: Cannot open \"%s\": %s.\n", file, strerror(errno));
                return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_REFUSED;
        }
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                fprintf(stderr, "fdlctl: \"%s\" is not a plain file.\n", file);
                close(fd);
                return EXIT_REFUSED;
        }
        *ret_fd = fd;
        return 0;
}

static int look_at_package(const char *file) {
        _cleanup_close_ int fd = -1;

        return open_package(file, &fd);
}

static int start_import(sd_bus *bus, const char *file, Paths *jobs) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *copy = strdup(file);
        int code;

        if (!copy)
                return client_report("import", NULL, -ENOMEM);
        if (arg_client.host)
                return usage_error("A file cannot be sent to another host without waiting for it.");
        code = open_package(file, &fd);
        if (code == 0)
                code = client_call(bus, FDLD_ROOT, FDLD_IFACE("Manager"), "ImportPackage", &reply, "hsa{sv}", fd,
                                   arg_name ? arg_name : streq(file, "-") ? "standard input" : basename(copy), 0);
        return code ? code : read_job_reply(reply, jobs);
}

static int import_remotely(const char *file, char ret[static PATH_TEXT_MAX]) {
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *copy = strdup(file);
        int code = open_package(file, &fd);

        if (code == 0 && !copy)
                return client_report("import", NULL, -ENOMEM);
        return code ? code : remote_import(arg_client.host, fd, arg_name ? arg_name : basename(copy), ret);
}

/* Imports and waits; the package's path goes to *ret. */
static int import_file(sd_bus *bus, const char *file, char ret[static PATH_TEXT_MAX]) {
        struct json_object *job = NULL;
        Paths jobs = { .n = 0 };
        int code = arg_client.host ? import_remotely(file, ret) : start_import(bus, file, &jobs);

        if (arg_client.host)
                return code;

        if (code == 0)
                code = follow_started(bus, &jobs, true);
        if (code == 0)
                code = client_properties(bus, jobs.items[0], FDLD_IFACE("Job"), &job);
        if (code == 0) {
                snprintf(ret, PATH_TEXT_MAX, "%s", json_text(job, "Package"));
                if (streq(ret, "/") || !ret[0])
                        code = client_report("import", NULL, -EBADMSG);
        }
        json_object_put(job);
        paths_clear(&jobs);
        return code;
}

/* Packages may be dangerous though well formed; who uses one should know. */
static void say_warnings(sd_bus *bus, const char *path) {
        struct json_object *package = NULL, *list = NULL;
        char text[1024];

        if (arg_output.json == JSON_OFF && client_properties(bus, path, FDLD_IFACE("Package"), &package) == 0 &&
            json_object_object_get_ex(package, "Warnings", &list) && json_object_is_type(list, json_type_array))
                for (size_t i = 0; i < json_object_array_length(list); i++)
                        fprintf(stderr, "Warning: %s\n",
                                safe_text(json_object_get_string(json_object_array_get_idx(list, i)), text, sizeof(text)));
        json_object_put(package);
}

static void print_package(const char *path) {
        const char *digest = strrchr(path, '/');

        if (arg_output.json != JSON_OFF) {
                struct json_object *o = json_object_new_object();
                json_object_object_add(o, "package", json_object_new_string(path));
                json_object_object_add(o, "digest", json_object_new_string(digest ? digest + 1 : ""));
                json_print(o);
                json_object_put(o);
        } else
                printf("package %s\n", digest ? digest + 1 : path);
}

int verb_import(int argc, char **argv) {
        int code = 0, worst = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        for (int i = 1; i < argc; i++) {
                char path[PATH_TEXT_MAX];
                Paths jobs = { .n = 0 };

                if (arg_wait) {
                        code = import_file(bus, argv[i], path);
                        if (code == 0) {
                                print_package(path);
                                say_warnings(bus, path);
                        }
                } else {
                        code = start_import(bus, argv[i], &jobs);
                        if (code == 0)
                                print_job(jobs.items[0]);
                        paths_clear(&jobs);
                }
                worst = worse_exit(worst, code);
        }
        sd_bus_flush_close_unref(bus);
        return worst;
}

/* ---- flash ---- */

static bool looks_like_file(const char *text) {
        size_t n = strlen(text);
        return strchr(text, '/') || (n > 4 && streq(text + n - 4, ".pac")) || access(text, F_OK) == 0;
}

/* A name of the store wins only if no such file is here: what is written on the command line is what gets flashed. */
static bool means_file(struct json_object *objects, const char *text) {
        struct json_object *list;
        bool known = false;

        if (text[0] != '/' && access(text, F_OK) == 0)
                return true;
        if (strncmp(text, FDLD_ROOT "/", strlen(FDLD_ROOT "/")) == 0)
                return false;
        list = client_objects_of(objects, FDLD_IFACE("Package"));
        for (size_t i = 0; i < json_object_array_length(list); i++)
                known |= streq(json_text(json_object_array_get_idx(list, i), "Name"), text);
        json_object_put(list);
        return !known && looks_like_file(text);
}

int package_from_argument(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        int code;

        if (means_file(objects, text))
                code = import_file(bus, text, ret);
        else
                code = find_package(objects, text, ret);
        if (code == 0)
                say_warnings(bus, ret);
        return code;
}

static int list_choices(struct json_object *ready) {
        fprintf(stderr, "fdlctl: Several devices are plugged in. Choose one with --device=, or take --all:\n");
        for (size_t i = 0; i < json_object_array_length(ready); i++) {
                struct json_object *d = json_object_array_get_idx(ready, i);
                const char *number = strrchr(json_text(d, "path"), '_');
                char port[256];
                fprintf(stderr, "  --device=%s  at %s\n", number ? number + 1 : "?", safe_text(json_text(d, "Port"), port, sizeof(port)));
        }
        return EXIT_USAGE;
}

int slot_named(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        int code;

        if (!strstr(text, "-usb-") || slot_exists(objects, text))
                return find_slot(objects, text, ret);
        code = client_call(bus, FDLD_ROOT, FDLD_IFACE("Manager"), "GetSlotByPort", &reply, "s", text);
        if (code)
                return code;
        if (sd_bus_message_read(reply, "o", &path) < 0)
                return client_report("reply", NULL, -EBADMSG);
        snprintf(ret, PATH_TEXT_MAX, "%s", path);
        return 0;
}

/* One device: that one. None: the next that comes. Several: --all, or the user must say which. */
int choose_targets(sd_bus *bus, struct json_object *objects, Paths *targets) {
        struct json_object *devices = client_objects_of(objects, FDLD_IFACE("Device")), *ready = json_object_new_array();
        char path[PATH_TEXT_MAX];
        int code = 0;

        for (size_t i = 0; i < json_object_array_length(devices); i++) {
                struct json_object *d = json_object_array_get_idx(devices, i);
                if (device_is_ready(d))
                        json_object_array_add(ready, json_object_get(d));
        }
        if (!!arg_slot + !!arg_device + arg_all > 1) {
                fprintf(stderr, "fdlctl: Only one of --slot=, --device= and --all can be used.\n");
                code = EXIT_USAGE;
        } else if (arg_slot || arg_device) {
                code = arg_slot ? slot_named(bus, objects, arg_slot, path) : find_device(objects, arg_device, path);
                if (code == 0)
                        code = paths_add(targets, path);
        } else if (json_object_array_length(ready) == 0) {
                if (arg_all) {
                        fprintf(stderr, "fdlctl: No device in boot mode is plugged in.\n");
                        code = EXIT_NOT_FOUND;
                } else
                        code = paths_add(targets, "/");
        } else if (json_object_array_length(ready) > 1 && !arg_all)
                code = list_choices(ready);
        else
                for (size_t i = 0; code == 0 && i < json_object_array_length(ready); i++)
                        code = paths_add(targets, json_text(json_object_array_get_idx(ready, i), "path"));
        json_object_put(ready);
        json_object_put(devices);
        return code;
}

int choose_devices(sd_bus *bus, struct json_object *objects, Paths *targets) {
        int code = choose_targets(bus, objects, targets);

        if (code == 0 && arg_slot) {
                struct json_object *slot = json_member(json_member(objects, targets->items[0]), FDLD_IFACE("Slot"));
                const char *device = json_text(slot, "Device");

                paths_clear(targets);
                code = paths_add(targets, device[0] ? device : "/");
        }
        if (code == 0 && streq(targets->items[0], "/")) {
                fprintf(stderr, arg_slot ? "fdlctl: No device is plugged into that slot.\n" : "fdlctl: No device in boot mode is plugged in.\n");
                code = EXIT_NOT_FOUND;
        }
        return code;
}

static bool repairing, entering;

#define ENTER_QUESTION \
        "Some systems erase their first boot stage on the way into download mode: the unit then starts only after it was flashed. To get out of " \
        "download mode without flashing, hold the power key for 15 seconds or take the battery out."

/* Every default, and how it is changed. */
static int print_choices(void) {
        PlanOptions options;
        int code = plan_arguments(&options);

        if (code)
                return code;
        if (!arg_verify)
                options.verify = VERIFY_LEVEL_INVALID;
        putchar('\n');
        choices_print(&options, stdout);
        return 0;
}

static int append_options(sd_bus_message *m) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0 && arg_mode)
                r = sd_bus_message_append(m, "{sv}", "mode", "s", arg_mode);
        if (r >= 0 && arg_operator)
                r = sd_bus_message_append(m, "{sv}", "operator", "s", arg_operator);
        if (r >= 0 && arg_finish)
                r = sd_bus_message_append(m, "{sv}", "finish", "s", arg_finish);
        if (r >= 0 && arg_verify)
                r = sd_bus_message_append(m, "{sv}", "verify", "s", arg_verify);
        if (r >= 0 && arg_raw)
                r = sd_bus_message_append(m, "{sv}", "raw", "s", arg_raw);
        if (r >= 0 && arg_sparse)
                r = sd_bus_message_append(m, "{sv}", "sparse", "s", arg_sparse);
        if (r >= 0 && arg_skip_equal)
                r = sd_bus_message_append(m, "{sv}", "skip-equal", "b", 1);
        if (r >= 0 && arg_any_image)
                r = sd_bus_message_append(m, "{sv}", "any-image", "b", 1);
        for (size_t i = 0; r >= 0 && choice_name(i); i++)
                if (streq(choice_name(i), "erase-all"))
                        r = arg_erase_all ? sd_bus_message_append(m, "{sv}", "erase-all", "b", 1) : 0;
                else if (choice_argument(choice_name(i)))
                        r = sd_bus_message_append(m, "{sv}", choice_name(i), "s", choice_argument(choice_name(i)));
        if (r >= 0 && arg_allow_warnings)
                r = sd_bus_message_append(m, "{sv}", "allow-warnings", "b", 1);
        if (r >= 0 && arg_repartition)
                r = sd_bus_message_append(m, "{sv}", "repartition", "b", 1);
        if (r >= 0 && entering)
                r = sd_bus_message_append(m, "{sv}", "soft-entry", "b", 1);
        if (r >= 0 && repairing)
                r = sd_bus_message_append(m, "{sv}", "repair", "b", 1);
        if (r >= 0 && arg_table_only)
                r = sd_bus_message_append(m, "{sv}", "table-only", "b", 1);
        if (r >= 0 && arg_serial)
                r = sd_bus_message_append(m, "{sv}", "serial", "s", arg_serial);
        if (r >= 0 && arg_first_mode)
                r = sd_bus_message_append(m, "{sv}", "first-mode", "s", arg_first_mode);
        if (r >= 0 && arg_serials) {
                _cleanup_free_ char *text = NULL;
                r = serials_argument(&text);
                if (r >= 0)
                        r = sd_bus_message_append(m, "{sv}", "serials", "s", text);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int start_flash(sd_bus *bus, const char *target, const char *package, Paths *jobs) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int code, r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "Flash");

        if (r >= 0)
                r = sd_bus_message_append(m, "oo", target, package);
        if (r >= 0)
                r = append_options(m);
        if (r < 0)
                return client_report("flash", NULL, r);
        code = client_call_message(bus, m, &reply);
        return code ? code : read_job_reply(reply, jobs);
}

/* A job of kind verify has no method of its own: made, then submitted. */
static int start_verify(sd_bus *bus, const char *target, const char *package, Paths *jobs) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        size_t n = jobs->n;
        int code = client_call(bus, FDLD_ROOT, FDLD_IFACE("Manager"), "CreateJob", &reply, "soa{sv}", "verify", target, 3, "package", "o",
                               package, "verify", "s", arg_verify ? arg_verify : "full", "finish", "s", arg_finish ? arg_finish : "reset");

        if (code == 0)
                code = read_job_reply(reply, jobs);
        return code || jobs->n == n ? code : client_call(bus, jobs->items[n], FDLD_IFACE("Job"), "Submit", NULL, "a{sv}", 0);
}

static int show_plan(sd_bus *bus, const char *package) {
        static const Column columns[] = {
                { "STEP", "op", CELL_TEXT, false },       { "STAGE", "stage", CELL_TEXT, false },
                { "FILE", "id", CELL_TEXT, false },       { "TARGET", "partition", CELL_TEXT, false },
                { "ADDRESS", "address", CELL_HEX, false }, { "SIZE", "size", CELL_BYTES, false },
                { "CHANGES FLASH", "destructive", CELL_BOOL, false },
        };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        struct json_object *steps = NULL;
        int code, r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "Plan");

        if (r >= 0)
                r = sd_bus_message_append(m, "o", package);
        if (r >= 0)
                r = append_options(m);
        if (r < 0)
                return client_report("plan", NULL, r);
        code = client_call_message(bus, m, &reply);
        if (code)
                return code;
        if (message_to_json(reply, &steps) < 0)
                return client_report("plan", NULL, -EBADMSG);
        table_print(columns, ELEMENTSOF(columns), steps, "step");
        json_object_put(steps);
        return arg_output.json == JSON_OFF ? print_choices() : 0;
}

int package_named(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        int code;

        if (!means_file(objects, text))
                return find_package(objects, text, ret);
        code = look_at_package(text);
        return code ? code : import_file(bus, text, ret);
}

typedef int (*StartFunc)(sd_bus *bus, const char *target, const char *package, Paths *jobs);

static int with_package(char **argv, StartFunc start) {
        struct json_object *objects = NULL;
        Paths targets = { .n = 0 }, jobs = { .n = 0 };
        char package[PATH_TEXT_MAX];
        int code = 0, worst = 0;
        bool file = false;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = client_objects(bus, &objects);
        if (code == 0 && !(file = means_file(objects, argv[1])))
                code = find_package(objects, argv[1], package);
        if (code == 0 && file)
                code = look_at_package(argv[1]);
        if (code == 0 && !arg_dry_run)
                code = choose_targets(bus, objects, &targets);
        if (code == 0 && file)
                code = import_file(bus, argv[1], package);
        if (code == 0)
                say_warnings(bus, package);
        if (code == 0 && targets.n == 1 && streq(targets.items[0], "/") && !arg_output.quiet)
                fprintf(stderr, "No device in boot mode is plugged in; %s.\n",
                        arg_wait ? "waiting for the next one" : "the job waits for the next one");
        if (code == 0 && (arg_dry_run || (repairing && !arg_output.quiet)))
                code = show_plan(bus, package);
        if (code == 0 && repairing && !arg_dry_run && !agree(REPAIR_QUESTION))
                code = EXIT_USAGE;
        if (code == 0 && entering && !arg_dry_run && !agree(ENTER_QUESTION))
                code = EXIT_USAGE;
        for (size_t i = 0; code == 0 && i < targets.n; i++)
                worst = worse_exit(worst, start(bus, targets.items[i], package, &jobs));
        if (code == 0 && jobs.n > 0)
                worst = worse_exit(worst, follow_or_print(bus, &jobs));
        json_object_put(objects);
        paths_clear(&targets);
        paths_clear(&jobs);
        sd_bus_flush_close_unref(bus);
        return code ? code : worst;
}

int verb_flash(int argc _unused_, char **argv) {
        return with_package(argv, start_flash);
}

int verb_enter_download(int argc _unused_, char **argv) {
        if (!arg_dry_run && !arg_slot && !arg_device)
                return usage_error("Which system shall be asked for download mode? Say --slot= or --device=.");
        entering = true;
        return with_package(argv, start_flash);
}

int repair_from_package(const char *package) {
        char *words[] = { (char *) "repair", (char *) package, NULL };

        repairing = true;
        return with_package(words, start_flash);
}

int verb_verify(int argc _unused_, char **argv) {
        struct stat st;

        if (stat(argv[1], &st) == 0 && S_ISDIR(st.st_mode))
                return must_be_here("verify") ?: verify_backup(argv[1]);
        return with_package(argv, start_verify);
}

/* The same work, but nothing except the table is written, and what has to survive it. */
int verb_repartition(int argc, char **argv) {
        if (new_table_is_meant(argv[1]))
                return must_be_here("repartition") ?: verb_new_table(argv[1]);
        if (arg_package || arg_loaders || arg_fdl1 || arg_fdl2)
                return usage_error("A package brings its own loaders; others can be named for a table from a file.");
        arg_repartition = arg_table_only = true;
        return verb_flash(argc, argv);
}

/* ---- verbs on jobs ---- */

int verb_wait(int argc, char **argv) {
        char path[PATH_TEXT_MAX];
        Paths jobs = { .n = 0 };
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        for (int i = 1; i < argc && code == 0; i++) {
                code = find_job(argv[i], path);
                if (code == 0)
                        code = paths_add(&jobs, path);
        }
        if (code == 0)
                code = follow_started(bus, &jobs, false);
        paths_clear(&jobs);
        sd_bus_flush_close_unref(bus);
        return code;
}

typedef int (*JobFunc)(sd_bus *bus, const char *path, Paths *jobs);

static int for_each_job(int argc, char **argv, JobFunc fn, bool follow_new) {
        char path[PATH_TEXT_MAX];
        Paths jobs = { .n = 0 };
        int code = 0, worst = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        for (int i = 1; i < argc; i++) {
                code = find_job(argv[i], path);
                if (code == 0)
                        code = fn(bus, path, &jobs);
                worst = worse_exit(worst, code);
        }
        if (follow_new && jobs.n > 0)
                worst = worse_exit(worst, follow_or_print(bus, &jobs));
        paths_clear(&jobs);
        sd_bus_flush_close_unref(bus);
        return worst;
}

static int cancel_job(sd_bus *bus, const char *path, Paths *jobs _unused_) {
        return client_call(bus, path, FDLD_IFACE("Job"), "Cancel", NULL, "a{sv}", 0);
}

static int retry_job(sd_bus *bus, const char *path, Paths *jobs) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int code = client_call(bus, path, FDLD_IFACE("Job"), "Retry", &reply, "a{sv}", 0);

        return code ? code : read_job_reply(reply, jobs);
}

int verb_cancel(int argc, char **argv) {
        return for_each_job(argc, argv, cancel_job, false);
}

int verb_retry(int argc, char **argv) {
        return for_each_job(argc, argv, retry_job, true);
}

#define SERIAL_ACTION "serial-number"

/* A number on the command line is seen by everyone on this computer: it may be typed, or come from a pipe. */
static bool read_number_line(const char *job, char *ret, size_t size) {
        if (isatty(STDIN_FILENO))
                fprintf(stderr, "Serial number for the unit of job %s: ", job);
        if (!fgets(ret, (int) size, stdin))
                return false;
        ret[strcspn(ret, "\r\n")] = '\0';
        return ret[0] != '\0';
}

static int answer_serial(sd_bus *bus, const char *job, const char *path, const char *value) {
        char line[128];

        if ((!value || streq(value, "-")) && !read_number_line(job, line, sizeof(line))) {
                fprintf(stderr, "fdlctl: Job %s asks for a serial number, and none was given.\n", job);
                return EXIT_USAGE;
        }
        return client_call(bus, path, FDLD_IFACE("Job"), "Answer", NULL, "sa{sv}", SERIAL_ACTION, 1, "serial", "s",
                           value && !streq(value, "-") ? value : line);
}

/* "answer JOB NUMBER", or "answer JOB ACTION" as before, or both words. */
static int answer_job(sd_bus *bus, int argc, char **argv) {
        struct json_object *job = NULL;
        char path[PATH_TEXT_MAX], asked[32];
        int code = find_job(argv[1], path);

        if (code == 0)
                code = client_properties(bus, path, FDLD_IFACE("Job"), &job);
        if (code)
                return code;
        snprintf(asked, sizeof(asked), "%s", json_text(job, "UserAction"));
        json_object_put(job);
        if (streq(asked, SERIAL_ACTION)) {
                bool word = argc > 2 && streq(argv[2], SERIAL_ACTION);
                if (argc > 3 && !word)
                        return usage_error("Job %s asks for \"%s\".", argv[1], asked);
                return answer_serial(bus, argv[1], path, word ? argc > 3 ? argv[3] : NULL : argc > 2 ? argv[2] : NULL);
        }
        if (argc > 3)
                return usage_error("\"answer\" takes a job and one value.");
        return client_call(bus, path, FDLD_IFACE("Job"), "Answer", NULL, "sa{sv}", argc > 2 ? argv[2] : asked[0] ? asked : SERIAL_ACTION,
                           0);
}

int verb_answer(int argc, char **argv) {
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = answer_job(bus, argc, argv);
        sd_bus_flush_close_unref(bus);
        return code;
}

/* ---- verbs on other objects ---- */

int verb_remove(int argc, char **argv) {
        struct json_object *objects = NULL;
        char path[PATH_TEXT_MAX];
        int code = 0, worst = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        worst = client_objects(bus, &objects);
        for (int i = 1; objects && i < argc; i++) {
                code = find_package(objects, argv[i], path);
                if (code == 0)
                        code = client_call(bus, path, FDLD_IFACE("Package"), "Remove", NULL, "a{sv}", 0);
                worst = worse_exit(worst, code);
        }
        json_object_put(objects);
        sd_bus_flush_close_unref(bus);
        return worst;
}

int verb_label(int argc _unused_, char **argv) {
        struct json_object *objects = NULL;
        char path[PATH_TEXT_MAX];
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = client_objects(bus, &objects);
        if (code == 0)
                code = slot_named(bus, objects, argv[1], path);
        if (code == 0)
                code = client_call(bus, path, FDLD_IFACE("Slot"), "SetLabel", NULL, "s", argv[2]);
        json_object_put(objects);
        sd_bus_flush_close_unref(bus);
        return code;
}

int verb_probe(int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct json_object *objects = NULL;
        Paths targets = { .n = 0 }, jobs = { .n = 0 };
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        if (argc > 1)
                arg_device = argv[1];
        code = client_objects(bus, &objects);
        if (code == 0)
                code = choose_devices(bus, objects, &targets);
        for (size_t i = 0; code == 0 && i < targets.n; i++) {
                code = client_call(bus, targets.items[i], FDLD_IFACE("Device"), "Probe", &reply, "a{sv}", 0);
                if (code == 0)
                        code = read_job_reply(reply, &jobs);
                reply = sd_bus_message_unref(reply);
        }
        if (code == 0)
                code = follow_or_print(bus, &jobs);
        json_object_put(objects);
        paths_clear(&targets);
        paths_clear(&jobs);
        sd_bus_flush_close_unref(bus);
        return code;
}
