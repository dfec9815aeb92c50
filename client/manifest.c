/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "output.h"
#include "part-file.h"

#define MANIFEST_MAX (16 * 1024 * 1024)

static bool path_in(const char *directory, const char *name, char *ret, size_t size) {
        return snprintf(ret, size, "%s/%s", directory, name) < (int) size;
}

int manifest_make_folder(const char *directory) {
        char path[4200];

        if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
                fprintf(stderr, "fdlctl: The folder %s cannot be made: %s.\n", directory, strerror(errno));
                return EXIT_REFUSED;
        }
        if (!path_in(directory, MANIFEST_NAME, path, sizeof(path)))
                return EXIT_USAGE;
        if (access(path, F_OK) == 0 && !arg_force) {
                fprintf(stderr, "fdlctl: %s holds something already. Choose another folder, or add --force.\n", directory);
                return EXIT_REFUSED;
        }
        return 0;
}

int manifest_write(const char *directory, struct json_object *manifest) {
        char path[4200], part[4200];
        FILE *f;
        bool good;

        if (!path_in(directory, MANIFEST_NAME, path, sizeof(path)) || !path_in(directory, MANIFEST_NAME ".part", part, sizeof(part)))
                return EXIT_USAGE;
        f = fopen(part, "we");
        good = f && fprintf(f, "%s\n", json_object_to_json_string_ext(manifest, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)) > 0 &&
               fflush(f) == 0 && fsync(fileno(f)) == 0;
        if (f && fclose(f) != 0)
                good = false;
        if (good && rename(part, path) == 0)
                return 0;
        fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", path, strerror(errno));
        return EXIT_OTHER;
}

static char *read_text(const char *path) {
        FILE *f = fopen(path, "re");
        char *text = NULL;
        struct stat st;

        if (f && fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size < MANIFEST_MAX)
                text = malloc((size_t) st.st_size + 1);
        if (text) {
                size_t n = fread(text, 1, (size_t) st.st_size, f);
                text[n] = '\0';
        }
        if (f)
                fclose(f);
        return text;
}

/* Names of files stay within the folder. */
static bool good_file(struct json_object *file) {
        const char *name = json_text(file, "file");

        return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) < 200 && strlen(json_text(file, "sha256")) == 64;
}

int manifest_read(const char *directory, const char *kind, struct json_object **ret) {
        _cleanup_free_ char *text = NULL;
        struct json_object *o, *files;
        char path[4200];
        bool good;

        if (!path_in(directory, MANIFEST_NAME, path, sizeof(path)))
                return EXIT_USAGE;
        text = read_text(path);
        if (!text) {
                fprintf(stderr, "fdlctl: %s cannot be read: %s. Is this the right folder?\n", path, strerror(errno));
                return EXIT_NOT_FOUND;
        }
        o = json_tokener_parse(text);
        files = json_member(o, "files");
        good = json_u64(o, kind) == 1 && json_object_is_type(files, json_type_array) &&
               (!streq(kind, MANIFEST_BACKUP) || json_object_is_type(json_member(o, "table"), json_type_array));
        for (size_t i = 0; good && i < json_object_array_length(files); i++)
                good = good_file(json_object_array_get_idx(files, i));
        if (!good) {
                json_object_put(o);
                fprintf(stderr, "fdlctl: %s is no manifest that this fdlctl understands.\n", path);
                return EXIT_REFUSED;
        }
        *ret = o;
        return 0;
}

int manifest_check_files(const char *directory, struct json_object *manifest) {
        struct json_object *files = json_member(manifest, "files");
        char path[4500], sum[65];
        struct stat st;

        for (size_t i = 0; i < json_object_array_length(files); i++) {
                struct json_object *f = json_object_array_get_idx(files, i);
                if (!path_in(directory, json_text(f, "file"), path, sizeof(path)) || stat(path, &st) < 0) {
                        fprintf(stderr, "fdlctl: %s is missing from the folder; nothing was touched.\n", json_text(f, "file"));
                        return EXIT_REFUSED;
                }
                if ((uint64_t) st.st_size != json_u64(f, "size") || !file_sum(path, UINT64_MAX, sum) || !streq(sum, json_text(f, "sha256"))) {
                        fprintf(stderr, "fdlctl: %s is not what was saved (size or hash differ); nothing was touched.\n", json_text(f, "file"));
                        return EXIT_MISMATCH;
                }
        }
        return 0;
}
