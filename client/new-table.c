/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "new-table.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "manifest.h"
#include "options.h"
#include "output.h"

#define TEXT_MAX (256 * 1024)

/* ---- tables in files ---- */

static int add_row(const char *name, uint64_t start, uint64_t size, StepJob *job) {
        Step *s = steps_add(job, "table");

        if (!s)
                return client_report("repartition", NULL, -ENOMEM);
        snprintf(s->name, sizeof(s->name), "%s", name);
        s->offset = start;
        s->length = size;
        return 0;
}

static bool parse_bytes(const char *word, uint64_t *ret) {
        char *end;

        *ret = UINT64_MAX;
        if (streq(word, "rest"))
                return true;
        errno = 0;
        *ret = strtoull(word, &end, 0);
        if (errno || end == word || word[0] == '-')
                return false;
        if (*end && !end[1]) {
                unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
                if (shift == 0 || *ret >> (64 - shift) != 0)
                        return false;
                *ret <<= shift;
                end++;
        }
        return !*end && *ret > 0;
}

static int add_line(char *line, const char *what, unsigned number, StepJob *job) {
        char *state = NULL, *words[4] = {};
        uint64_t start = 0, size;
        size_t n = 0;

        line[strcspn(line, "#\r")] = '\0';
        for (char *w = strtok_r(line, " \t", &state); w; w = strtok_r(NULL, " \t", &state)) {
                if (n == 3)
                        return usage_error("%s, line %u: too many words; write NAME SIZE.", what, number);
                words[n++] = w;
        }
        if (n == 0)
                return 0;
        if (n == 1 || strlen(words[0]) > 35 || !parse_bytes(words[n - 1], &size) || (n == 3 && !parse_bytes(words[1], &start)))
                return usage_error("%s, line %u: write the name of a partition and its size, as \"boot 64M\" or, for the last one, \"userdata rest\".", what, number);
        return add_row(words[0], start == UINT64_MAX ? 0 : start, size, job);
}

int new_table_from_text(const char *text, const char *what, StepJob *job) {
        char line[256];
        unsigned number = 1;
        int code = 0;

        for (const char *at = text; code == 0 && *at; number++) {
                size_t n = strcspn(at, "\n");
                if (n >= sizeof(line))
                        return usage_error("%s, line %u is too long.", what, number);
                memcpy(line, at, n);
                line[n] = '\0';
                code = add_line(line, what, number, job);
                at += n + (at[n] == '\n');
        }
        return code == 0 && job->n == 0 ? usage_error("%s names no partition.", what) : code;
}

static int from_backup(const char *directory, StepJob *job) {
        struct json_object *manifest = NULL, *table;
        int code = manifest_read(directory, MANIFEST_BACKUP, &manifest);

        table = json_member(manifest, "table");
        for (size_t i = 0; code == 0 && i < json_object_array_length(table); i++) {
                struct json_object *row = json_object_array_get_idx(table, i);
                code = add_row(json_text(row, "name"), 0, json_u64(row, "size"), job);
        }
        if (code == 0 && job->n == 0)
                code = usage_error("The backup in %s has no partition table.", directory);
        if (code == 0 && !arg_package && !arg_fdl1 && !arg_loaders && json_text(manifest, "package")[0])
                arg_package = strdup(json_text(manifest, "package"));
        json_object_put(manifest);
        return code;
}

static int from_file(const char *path, StepJob *job) {
        _cleanup_free_ char *text = calloc(1, TEXT_MAX + 1);
        FILE *f = text ? fopen(path, "re") : NULL;
        size_t n = f ? fread(text, 1, TEXT_MAX, f) : 0;

        if (!f) {
                fprintf(stderr, "fdlctl: %s cannot be read: %s.\n", path, strerror(errno));
                return EXIT_REFUSED;
        }
        fclose(f);
        if (n == TEXT_MAX)
                return usage_error("%s is too long for a partition table.", path);
        return new_table_from_text(text, path, job);
}

static bool is_folder(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Packages begin with UTF-16. */
bool new_table_is_meant(const char *path) {
        char head[64];
        FILE *f;
        size_t n;

        if (is_folder(path))
                return true;
        f = fopen(path, "re");
        n = f ? fread(head, 1, sizeof(head), f) : 0;
        if (f)
                fclose(f);
        return n > 0 && !memchr(head, 0, n);
}

/* ---- the job ---- */

int new_table_start(sd_bus *bus, StepJob *job) {
        struct json_object *objects = NULL;
        Paths targets = { .n = 0 }, jobs = { .n = 0 };
        int code = client_objects(bus, &objects);

        job->kind = "repartition";
        if (code == 0)
                code = steps_loaders(bus, objects, job);
        if (code == 0 && !arg_dry_run)
                code = choose_targets(bus, objects, &targets);
        if (code == 0 && (arg_dry_run || !arg_output.quiet))
                steps_show(job);
        if (code == 0 && !arg_dry_run && !agree("This gives the device that partition table where its own differs: what lies in partitions that move or go is lost, user data too."))
                code = EXIT_USAGE;
        for (size_t i = 0; code == 0 && i < targets.n; i++)
                code = steps_start(bus, job, targets.items[i], &jobs);
        if (code == 0 && jobs.n > 0)
                code = follow_or_print(bus, &jobs);
        paths_clear(&jobs);
        paths_clear(&targets);
        json_object_put(objects);
        return code;
}

int verb_new_table(const char *path) {
        StepJob job = { .n = 0 };
        int code = is_folder(path) ? from_backup(path, &job) : from_file(path, &job);
        sd_bus *bus = code == 0 ? client_connect(&code) : NULL;

        if (bus && code == 0)
                code = new_table_start(bus, &job);
        steps_free(&job);
        if (bus)
                sd_bus_flush_close_unref(bus);
        return code;
}
