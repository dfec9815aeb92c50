/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/profile.h"

#include <dirent.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>

#define FILE_MAX (256 * 1024)

typedef struct Parser {
        Profile *profile;
        CallError *e;
        const char *path;
        FILE *file;
        unsigned line, n_values;
        size_t bytes;
        bool failed;
        char section[64];
        char seen[32][32];
        size_t n_seen;
} Parser;

static int bad(Parser *p, const char *text) {
        if (!p->failed)
                call_error_set(p->e, BUS_ERROR_INVALID_OPTION, "%s:%u: %s", p->path, p->line, text);
        p->failed = true;
        return 0;
}

static int set_description(Parser *p, const char *value) {
        if (strlen(value) >= sizeof(p->profile->description))
                return bad(p, "Description= is too long.");
        for (const unsigned char *c = (const unsigned char *) value; *c; c++)
                if (*c < 0x20 || *c > 0x7e)
                        return bad(p, "Description= may hold printable ASCII characters only.");
        snprintf(p->profile->description, sizeof(p->profile->description), "%s", value);
        return 1;
}

static bool seen_before(Parser *p, const char *key) {
        for (size_t i = 0; i < p->n_seen; i++)
                if (streq(p->seen[i], key))
                        return true;
        if (p->n_seen < ELEMENTSOF(p->seen))
                snprintf(p->seen[p->n_seen++], sizeof(p->seen[0]), "%s", key);
        return false;
}

static int handler(void *userdata, const char *section, const char *key, const char *value) {
        Parser *p = userdata;
        char why[400], text[480];
        int r;

        if (p->failed)
                return 0;
        snprintf(p->section, sizeof(p->section), "%s", section);
        if (!streq(section, "Profile"))
                return bad(p, section[0] ? "There is no such section; the only one is [Profile]." : "A setting stands before [Profile].");
        if (seen_before(p, key))
                return bad(p, "This setting was given before.");
        if (streq(key, "Description"))
                return set_description(p, value);
        /* here the names are those of profiles, not those of the bus */
        r = key[0] >= 'A' && key[0] <= 'Z' ? policy_set(&p->profile->policy, key, value, why, sizeof(why)) : -ENOENT;
        if (r == -ENOENT)
                snprintf(text, sizeof(text), "There is no setting %.64s= in [Profile].", key);
        else if (r < 0)
                snprintf(text, sizeof(text), "%s", why);
        else {
                p->n_values++;
                return 1;
        }
        return bad(p, text);
}

/* libinih takes a section without settings for nothing at all. */
static void check_section(Parser *p, const char *line) {
        const char *at = line + strspn(line, " \t"), *end = strchr(at, ']');

        if (*at == '[' && end && !(end - at == 8 && strncmp(at, "[Profile", 8) == 0))
                bad(p, "There is no such section; the only one is [Profile].");
}

/* Line by line, so that mistakes can be reported with their line. */
static char *read_line(char *str, int num, void *stream) {
        Parser *p = stream;
        size_t n;

        if (p->failed || num < 4 || !fgets(str, num - 2, p->file))
                return NULL;
        p->line++;
        n = strlen(str);
        p->bytes += n;
        if (p->bytes > FILE_MAX)
                bad(p, "The file is too large.");
        else if (n > 0 && str[n - 1] != '\n' && !feof(p->file))
                bad(p, "The line is too long or holds a zero byte.");
        else if ((str[0] == ' ' || str[0] == '\t') && str[strspn(str, " \t\r\n")] != '\0')
                bad(p, "A line must not begin with a blank: settings cannot be continued.");
        else
                check_section(p, str);
        return p->failed ? NULL : str;
}

static int load_file(const char *path, Profile *ret, CallError *e) {
        Parser p = {.profile = ret, .e = e, .path = path};
        int r;

        p.file = fopen(path, "re");
        if (!p.file)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s cannot be read: %s.", path, strerror(errno));
        policy_default(&ret->policy);
        r = ini_parse_stream(read_line, &p, handler, &p);
        if (ferror(p.file))
                bad(&p, "The file cannot be read to its end.");
        fclose(p.file);
        if (!p.failed && r != 0) {
                p.line = r > 0 ? (unsigned) r : p.line;
                bad(&p, "This is neither a section nor a setting nor a comment.");
        }
        if (!p.failed && p.n_values == 0) {
                p.line = MAX(p.line, 1U);
                bad(&p, "The profile is empty: it says nothing of what is to be done. Set at least one of Package=, Mode=, StopAfter=, ….");
        }
        return p.failed ? -1 : 0;
}

static bool name_valid(const char *name) {
        size_t n = strlen(name);

        return n >= 1 && n <= 64 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n && name[0] != '.';
}

static int is_conf(const struct dirent *d) {
        size_t n = strlen(d->d_name);
        return d->d_name[0] != '.' && n > 5 && streq(d->d_name + n - 5, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_one(const char *folder, const char *file, ProfileList *list, CallError *e) {
        char path[PATH_MAX];
        Profile *p = list->items + list->n;

        *p = (Profile){};
        snprintf(path, sizeof(path), "%s/%s", folder, file);
        if (list->n >= PROFILES_MAX - 1)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s: There are more than %d profiles.", path, PROFILES_MAX - 1);
        if (strlen(file) > sizeof(p->name) - 1 + 5)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s: The name of a profile has at most 64 characters.", path);
        snprintf(p->name, sizeof(p->name), "%.*s", (int) strlen(file) - 5, file);
        if (!name_valid(p->name))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s: The name of a profile is made of A-Z a-z 0-9 . _ and -.", path);
        if (load_file(path, p, e) < 0)
                return -1;
        list->n++;
        return 0;
}

int profiles_load(const char *directory, ProfileList *ret, CallError *e) {
        char folder[PATH_MAX - 300];
        struct dirent **list = NULL;
        ProfileList *loaded;
        int n, r = 0;

        if (strlen(directory) > sizeof(folder) - 32)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The name of the configuration directory is too long.");
        snprintf(folder, sizeof(folder), "%s/profiles.d", directory);
        loaded = calloc(1, sizeof(*loaded));
        if (!loaded)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        n = scandir(folder, &list, is_conf, by_name);
        if (n < 0 && errno != ENOENT && errno != ENOTDIR)
                r = call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s cannot be read: %s.", folder, strerror(errno));
        for (int i = 0; i < n; i++) {
                if (r == 0)
                        r = load_one(folder, list[i]->d_name, loaded, e);
                free(list[i]);
        }
        free(list);
        if (r == 0)
                *ret = *loaded;
        free(loaded);
        return r;
}
