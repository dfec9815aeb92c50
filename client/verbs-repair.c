/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "firmware/image.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "part-file.h"
#include "steps.h"

/* fdlctl repair: from a package the daemon makes the plan itself; from the folder of a backup, its table and those of its files that
 * describe or start a system are sent along. */

static bool has_header(const char *path) {
        uint8_t head[IMAGE_HEAD] = {};
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(head, 1, sizeof(head), f) : 0;
        struct stat st;
        bool yes = false;

        if (f && fstat(fileno(f), &st) == 0)
                switch (image_kind(head, n, (uint64_t) st.st_size)) {
                case IMAGE_DHTB:
                case IMAGE_BOOT:
                case IMAGE_VENDOR_BOOT:
                case IMAGE_VBMETA:
                case IMAGE_DTBO:
                        yes = true;
                        break;
                default:
                        break;
                }
        if (f)
                fclose(f);
        return yes;
}

static int add_file(const char *directory, struct json_object *file, StepJob *job) {
        const char *name = json_text(file, "partition");
        char path[4200];
        Step *s;

        if (snprintf(path, sizeof(path), "%.3900s/%.180s", directory, json_text(file, "file")) < 0 || !name[0])
                return 0;
        if (!partition_is_loader(name) && !streq(name, "misc") && !has_header(path))
                return 0;
        s = steps_add(job, "repair");
        if (!s)
                return client_report("repair", NULL, -ENOMEM);
        snprintf(s->name, sizeof(s->name), "%s", name);
        snprintf(s->file, sizeof(s->file), "%.4000s", path);
        /* The loader makes a sum over just so much. */
        if (streq(name, "splloader"))
                s->length = file_length_without_blank(path, json_u64(file, "size"));
        return 0;
}

static int add_steps(const char *directory, struct json_object *manifest, StepJob *job) {
        struct json_object *table = json_member(manifest, "table"), *files = json_member(manifest, "files");
        int code = 0;

        for (size_t i = 0; table && i < json_object_array_length(table); i++) {
                struct json_object *p = json_object_array_get_idx(table, i);
                Step *s = steps_add(job, "table");

                if (!s)
                        return client_report("repair", NULL, -ENOMEM);
                snprintf(s->name, sizeof(s->name), "%s", json_text(p, "name"));
                s->length = json_u64(p, "size");
        }
        for (size_t i = 0; code == 0 && i < json_object_array_length(files); i++)
                code = add_file(directory, json_object_array_get_idx(files, i), job);
        if (code == 0 && job->n == 0) {
                fprintf(stderr, "fdlctl: The backup holds no partition table and nothing that starts a system: nothing to repair from.\n");
                code = EXIT_NOT_FOUND;
        }
        return code;
}

static int start(sd_bus *bus, struct json_object *objects, const char *directory, struct json_object *manifest, StepJob *job, Paths *jobs) {
        Paths targets = { .n = 0 };
        int code;

        /* Its loaders are those of the package that the backup was made with. */
        if (!arg_package && !arg_fdl1 && !arg_loaders && json_text(manifest, "package")[0])
                arg_package = json_text(manifest, "package");
        code = steps_loaders(bus, objects, job);
        if (code == 0)
                code = add_steps(directory, manifest, job);
        if (code == 0 && arg_dry_run) {
                steps_show(job);
                return 0;
        }
        if (code == 0)
                code = choose_targets(bus, objects, &targets);
        if (code == 0 && !arg_output.quiet)
                steps_show(job);
        if (code == 0 && !agree(REPAIR_QUESTION))
                code = EXIT_USAGE;
        for (size_t i = 0; code == 0 && i < targets.n; i++)
                code = steps_start(bus, job, targets.items[i], jobs);
        paths_clear(&targets);
        return code;
}

static int repair_from_backup(const char *directory) {
        struct json_object *manifest = NULL, *objects = NULL;
        Paths jobs = { .n = 0 };
        StepJob job = { .kind = "repair" };
        sd_bus *bus;
        int code = manifest_read(directory, MANIFEST_BACKUP, &manifest);

        if (code == 0)
                code = manifest_check_files(directory, manifest);
        bus = code == 0 ? client_connect(&code) : NULL;
        if (bus)
                code = client_objects(bus, &objects);
        if (bus && code == 0)
                code = start(bus, objects, directory, manifest, &job, &jobs);
        if (code == 0 && jobs.n > 0)
                code = follow_or_print(bus, &jobs);
        json_object_put(objects);
        json_object_put(manifest);
        steps_free(&job);
        paths_clear(&jobs);
        if (bus)
                sd_bus_flush_close_unref(bus);
        return code;
}

int verb_repair(int argc _unused_, char **argv _unused_) {
        struct stat st;

        if (!arg_from)
                return usage_error("From what? Give --from= the folder of a backup, or a package.");
        if (stat(arg_from, &st) == 0 && S_ISDIR(st.st_mode))
                return must_be_here("repair") ?: repair_from_backup(arg_from);
        return repair_from_package(arg_from);
}
