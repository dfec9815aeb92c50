/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "manifest.h"
#include "new-table.h"
#include "options.h"
#include "output.h"
#include "part-file.h"
#include "steps.h"

/* Calibration and identity of units as the daemon saved them before it wrote something: to look at, to keep elsewhere, to bring back. */

#define VAULT FDLD_IFACE("Vault")
#define PAGE 500U

static const Column entry_columns[] = {
        { "ID", "id", CELL_TEXT, false },        { "SAVED", "saved", CELL_TIME, false },   { "UNIT", "unit", CELL_TEXT, false },
        { "PARTITION", "partition", CELL_TEXT, false }, { "SIZE", "size", CELL_BYTES, false }, { "JOB", "job", CELL_NUMBER, false },
        { "STATE", "state", CELL_TEXT, false },
};

/* ---- list ---- */

/* The page behind the last of the rows. */
static int list_page(sd_bus *bus, struct json_object *rows, size_t *ret_n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        size_t have = json_object_array_length(rows);
        struct json_object *page = NULL, *last = have > 0 ? json_object_array_get_idx(rows, have - 1) : NULL;
        int r, code;

        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, VAULT, "ListEntries");
        if (r >= 0)
                r = last ? sd_bus_message_append(m, "a{sv}", 2, "before", "t", json_u64(last, "saved"), "after", "s", json_text(last, "id"))
                         : sd_bus_message_append(m, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_message_append(m, "u", PAGE);
        if (r < 0)
                return client_report("ListEntries", NULL, r);
        code = client_call_message(bus, m, &reply);
        if (code)
                return code;
        if (message_to_json(reply, &page) < 0)
                return client_report("ListEntries", NULL, -EBADMSG);
        *ret_n = json_object_array_length(page);
        for (size_t i = 0; i < *ret_n; i++)
                json_object_array_add(rows, json_object_get(json_object_array_get_idx(page, i)));
        json_object_put(page);
        return 0;
}

static int list_all(sd_bus *bus, struct json_object *rows) {
        size_t n = 0;
        int code;

        do
                code = list_page(bus, rows, &n);
        while (code == 0 && n == PAGE);
        return code;
}

/* Its file was found in the vault, and nothing that told of it. */
static bool is_recovered(struct json_object *entry) {
        return json_u64(entry, "job") == 0 && streq(json_text(entry, "partition"), "recovered");
}

static int vault_show(sd_bus *bus) {
        struct json_object *rows = json_object_new_array();
        int code = list_all(bus, rows);

        for (size_t i = 0; code == 0 && i < json_object_array_length(rows); i++) {
                struct json_object *row = json_object_array_get_idx(rows, i);
                json_object_object_add(row, "state", json_object_new_string(json_flag(row, "blank") ? "blank" : is_recovered(row) ? "recovered" : json_flag(row, "imported") ? "imported" : "saved"));
        }
        if (code == 0 && arg_output.json != JSON_OFF)
                json_print(rows);
        else if (code == 0)
                table_print(entry_columns, ELEMENTSOF(entry_columns), rows, "item");
        json_object_put(rows);
        return code;
}

/* ---- out ---- */

/* *ret_fd belongs to the reply. */
static int read_entry(sd_bus *bus, const char *id, sd_bus_message **ret_reply, int *ret_fd, struct json_object **ret_entry) {
        int code = client_call(bus, FDLD_ROOT, VAULT, "ReadEntry", ret_reply, "s", id);

        if (code)
                return code;
        if (sd_bus_message_read(*ret_reply, "h", ret_fd) < 0 || message_to_json(*ret_reply, ret_entry) < 0)
                return client_report("ReadEntry", NULL, -EBADMSG);
        return 0;
}

static int copy_out(int fd, const char *path, uint64_t size) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        bool good = false;
        int out;

        if (data == MAP_FAILED)
                return client_report("vault", NULL, -errno);
        out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (out >= 0) {
                good = write(out, data, size) == (ssize_t) size && fsync(out) == 0;
                good = close(out) == 0 && good;
        }
        munmap(data, size);
        if (good)
                return 0;
        fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", path, strerror(errno));
        return EXIT_OTHER;
}

static int export_one(sd_bus *bus, const char *directory, const char *id, struct json_object *files) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct json_object *entry = NULL;
        char path[4200], name[80];
        int fd = -EBADF, code = read_entry(bus, id, &reply, &fd, &entry);

        snprintf(name, sizeof(name), "%.64s.img", id);
        if (code == 0 && snprintf(path, sizeof(path), "%.4000s/%s", directory, name) > 4100)
                code = usage_error("The name of the folder is too long.");
        if (code == 0)
                code = copy_out(fd, path, json_u64(entry, "size"));
        if (code == 0) {
                json_object_object_add(entry, "file", json_object_new_string(name));
                json_object_array_add(files, json_object_get(entry));
        }
        json_object_put(entry);
        return code;
}

/* DIR [ID…]: all of them without ids. */
static int vault_export(sd_bus *bus, int argc, char **argv) {
        struct json_object *rows = json_object_new_array(), *files = json_object_new_array(), *m = json_object_new_object();
        int code = argc < 1 ? usage_error("Say where to: fdlctl vault export DIR [ID…].") : manifest_make_folder(argv[0]);

        json_object_object_add(m, MANIFEST_VAULT, json_object_new_int(1));
        json_object_object_add(m, "files", files);
        for (int i = 1; i < argc; i++) {
                struct json_object *row = json_object_new_object();
                json_object_object_add(row, "id", json_object_new_string(argv[i]));
                json_object_array_add(rows, row);
        }
        if (code == 0 && argc == 1)
                code = list_all(bus, rows);
        for (size_t i = 0; code == 0 && i < json_object_array_length(rows); i++)
                code = export_one(bus, argv[0], json_text(json_object_array_get_idx(rows, i), "id"), files);
        if (code == 0)
                code = manifest_write(argv[0], m);
        if (code == 0 && !arg_output.quiet)
                fprintf(stderr, "%zu entries and a manifest are in %s. They identify units: keep them private.\n", json_object_array_length(files), argv[0]);
        json_object_put(m);
        json_object_put(rows);
        return code;
}

/* ---- in ---- */

static int sealed_copy(const char *path, uint64_t size, int *ret) {
        void *data = malloc(size + 1);
        FILE *f = fopen(path, "re");
        int fd = -1;

        if (data && f && fread(data, 1, size + 1, f) == size)
                fd = memfd_create("fdlctl-vault", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd >= 0 && (write(fd, data, size) != (ssize_t) size || lseek(fd, 0, SEEK_SET) != 0 ||
                        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0)) {
                close(fd);
                fd = -1;
        }
        if (f)
                fclose(f);
        free(data);
        *ret = fd;
        return fd >= 0 ? 0 : client_report("vault", NULL, -EIO);
}

static int append_entry(sd_bus_message *m, struct json_object *f) {
        static const char *const texts[] = { "id", "unit", "partition", "sha256", "port" }, *const numbers[] = { "size", "saved", "job" };
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(texts); i++)
                r = sd_bus_message_append(m, "{sv}", texts[i], "s", json_text(f, texts[i]));
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(numbers); i++)
                r = sd_bus_message_append(m, "{sv}", numbers[i], "t", json_u64(f, numbers[i]));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int import_one(sd_bus *bus, const char *directory, struct json_object *f) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        char path[4200];
        int fd, r, code;

        snprintf(path, sizeof(path), "%.3900s/%.199s", directory, json_text(f, "file"));
        if (json_u64(f, "size") > 64 * 1024 * 1024)
                return usage_error("%s is too large for an entry of the vault.", path);
        code = sealed_copy(path, json_u64(f, "size"), &fd);
        if (code)
                return code;
        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, VAULT, "AddEntry");
        if (r >= 0)
                r = sd_bus_message_append(m, "h", fd);
        if (r >= 0)
                r = append_entry(m, f);
        close(fd);
        return r < 0 ? client_report("AddEntry", NULL, r) : client_call_message(bus, m, &reply);
}

static bool is_known(struct json_object *rows, const char *id) {
        for (size_t i = 0; i < json_object_array_length(rows); i++) {
                struct json_object *row = json_object_array_get_idx(rows, i);
                if (streq(json_text(row, "id"), id) && !is_recovered(row))
                        return true;
        }
        return false;
}

static int vault_import(sd_bus *bus, int argc, char **argv) {
        struct json_object *manifest = NULL, *rows = json_object_new_array();
        size_t taken = 0, n = 0;
        int code = argc != 1 ? usage_error("Say where from: fdlctl vault import DIR.") : manifest_read(argv[0], MANIFEST_VAULT, &manifest);

        if (code == 0)
                code = manifest_check_files(argv[0], manifest);
        if (code == 0)
                code = list_all(bus, rows);
        if (code == 0)
                n = json_object_array_length(json_member(manifest, "files"));
        for (size_t i = 0; code == 0 && i < n; i++) {
                struct json_object *f = json_object_array_get_idx(json_member(manifest, "files"), i);
                if (is_known(rows, json_text(f, "id")))
                        continue;
                code = import_one(bus, argv[0], f);
                taken += code == 0;
        }
        if (code == 0 && !arg_output.quiet)
                fprintf(stderr, "%zu entries were taken in; %zu were here already.\n", taken, n - taken);
        json_object_put(manifest);
        json_object_put(rows);
        return code;
}

/* ---- back to the unit ---- */

/* Only to the unit that it is from: the daemon asks the device before anything is written. */
static int check_entry(struct json_object *entry, StepJob *job) {
        const char *unit = json_text(entry, "unit");

        if (json_flag(entry, "blank")) {
                fprintf(stderr, "fdlctl: This entry is blank: that is how the unit was, and writing it would help nobody.\n");
                return EXIT_REFUSED;
        }
        if (is_recovered(entry)) {
                fprintf(stderr, "fdlctl: The database that told which unit and partition this entry is from was lost. Take in an export of the vault that has it "
                                "(\"fdlctl vault import DIR\"), or, if you know the partition, \"fdlctl vault export DIR\" and \"fdlctl write\".\n");
                return EXIT_REFUSED;
        }
        if (strncmp(unit, "chip:", 5) == 0) {
                snprintf(job->unit, sizeof(job->unit), "%s", unit + 5);
                return 0;
        }
        if (arg_unproven)
                return 0;
        fprintf(stderr, "fdlctl: This entry belongs to %s, and such a unit cannot prove who it is. Compare the label; if it is the same unit, add --unproven.\n",
                unit[0] ? unit : "a unit that gave no name");
        return EXIT_REFUSED;
}

static int add_write(struct json_object *entry, int fd, StepJob *job) {
        const char *name = json_text(entry, "partition");
        Step *s = steps_add(job, "write");
        int code;

        if (!s)
                return client_report("vault", NULL, -ENOMEM);
        code = steps_parse_place(name, strlen(name), s);
        snprintf(s->file, sizeof(s->file), "/proc/self/fd/%d", fd);
        s->any_image = s->exact = true;
        s->length = file_length_without_blank(s->file, json_u64(entry, "size"));
        return code;
}

static int start_restore(sd_bus *bus, struct json_object *entry, const StepJob *job, const char *target) {
        Paths jobs = { .n = 0 };
        char question[300], unit[160], name[80];
        int code = 0;

        if (arg_dry_run) {
                steps_show(job);
                return 0;
        }
        snprintf(question, sizeof(question), "This overwrites %s of the device with what was saved of %s.", safe_text(json_text(entry, "partition"), name, sizeof(name)),
                 safe_text(json_text(entry, "unit"), unit, sizeof(unit)));
        if (!agree(question))
                return EXIT_USAGE;
        code = steps_start(bus, job, target, &jobs);
        if (code == 0)
                code = follow_or_print(bus, &jobs);
        paths_clear(&jobs);
        return code;
}

/* A table that a change replaced: the change is undone. */
static int restore_table(sd_bus *bus, struct json_object *entry, int fd, StepJob *job) {
        uint64_t size = json_u64(entry, "size");
        _cleanup_free_ char *text = size < 1024 * 1024 ? calloc(1, size + 1) : NULL;
        int code = check_entry(entry, job);

        if (code)
                return code;
        if (!text || pread(fd, text, size, 0) != (ssize_t) size)
                return client_report("vault", NULL, text ? -EIO : -ENOMEM);
        code = new_table_from_text(text, "The partition table of the vault", job);
        return code ? code : new_table_start(bus, job);
}

static int vault_restore(sd_bus *bus, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct json_object *entry = NULL, *objects = NULL;
        StepJob job = { .n = 0 };
        Paths targets = { .n = 0 };
        int fd = -EBADF, code;

        if (argc != 1)
                return usage_error("Say which entry: fdlctl vault restore ID.");
        code = read_entry(bus, argv[0], &reply, &fd, &entry);
        if (code == 0 && streq(json_text(entry, "partition"), "partition-table")) {
                code = restore_table(bus, entry, fd, &job);
                goto end;
        }
        if (code == 0)
                code = client_objects(bus, &objects);
        if (code == 0)
                code = choose_targets(bus, objects, &targets);
        if (code == 0 && targets.n > 1)
                code = usage_error("One device is needed; choose it with --device= or --slot=.");
        if (code == 0)
                code = steps_loaders(bus, objects, &job);
        job.kind = "restore";
        if (code == 0)
                code = check_entry(entry, &job);
        if (code == 0)
                code = add_write(entry, fd, &job);
        if (code == 0)
                code = start_restore(bus, entry, &job, targets.items[0]);
end:
        steps_free(&job);
        paths_clear(&targets);
        json_object_put(objects);
        json_object_put(entry);
        return code;
}

int verb_vault(int argc, char **argv) {
        const char *what = argc > 1 ? argv[1] : "list";
        int code = 0;
        sd_bus *bus;

        if (!streq(what, "list") && !streq(what, "export") && !streq(what, "import") && !streq(what, "restore"))
                return usage_error("\"%s\" cannot be done with the vault; possible are list, export DIR [ID…], import DIR and restore ID.", what);
        bus = client_connect(&code);
        if (!bus)
                return code;
        code = streq(what, "export") ? vault_export(bus, argc - 2, argv + 2)
               : streq(what, "import") ? vault_import(bus, argc - 2, argv + 2)
               : streq(what, "restore") ? vault_restore(bus, argc - 2, argv + 2) : vault_show(bus);
        sd_bus_flush_close_unref(bus);
        return code;
}
