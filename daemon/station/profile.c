/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/profile.h"

#include <limits.h>
#include <stdio.h>

#include "station/conf-file.h"

#define FILE_MAX (256 * 1024)

typedef struct Parser {
        ConfFile conf; /* first */
        Profile *profile;
        unsigned n_values;
        char seen[32][32];
        size_t n_seen;
} Parser;

static int set_description(Parser *p, const char *value) {
        if (strlen(value) >= sizeof(p->profile->description))
                return conf_bad(&p->conf, "Description= is too long.");
        for (const unsigned char *c = (const unsigned char *) value; *c; c++)
                if (*c < 0x20 || *c > 0x7e)
                        return conf_bad(&p->conf, "Description= may hold printable ASCII characters only.");
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

static int set(ConfFile *c, const char *section, const char *key, const char *value) {
        Parser *p = (Parser *) c;
        char why[400];
        int r;

        if (!streq(section, "Profile"))
                return conf_bad(c, "%s", section[0] ? "There is no such section; the only one is [Profile]." : "A setting stands before [Profile].");
        if (seen_before(p, key))
                return conf_bad(c, "This setting was given before.");
        if (streq(key, "Description"))
                return set_description(p, value);
        /* here the names are those of profiles, not those of the bus */
        r = key[0] >= 'A' && key[0] <= 'Z' ? policy_set(&p->profile->policy, key, value, why, sizeof(why)) : -ENOENT;
        if (r == -ENOENT)
                return conf_bad(c, "There is no setting %.64s= in [Profile].", key);
        if (r < 0)
                return conf_bad(c, "%s", why);
        p->n_values++;
        return 1;
}

/* libinih takes a section without settings for nothing at all. */
static void check_section(ConfFile *c, const char *line) {
        const char *at = line + strspn(line, " \t"), *end = strchr(at, ']');

        if (*at == '[' && end && !(end - at == 8 && strncmp(at, "[Profile", 8) == 0))
                conf_bad(c, "There is no such section; the only one is [Profile].");
}

static int load_file(const char *path, Profile *ret, CallError *e) {
        Parser p = {.conf = {.size_max = FILE_MAX, .line = check_section, .set = set}, .profile = ret};

        policy_default(&ret->policy);
        if (conf_read(&p.conf, path, false, e) < 0)
                return -1;
        if (p.n_values > 0)
                return 0;
        p.conf.number = MAX(p.conf.number, 1U);
        conf_bad(&p.conf, "The profile is empty: it says nothing of what is to be done. Set at least one of Package=, Mode=, StopAfter=, ….");
        return -1;
}

static bool name_valid(const char *name) {
        size_t n = strlen(name);

        return n >= 1 && n <= 64 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n && name[0] != '.';
}

static int load_one(const char *folder, const char *file, void *userdata, CallError *e) {
        ProfileList *list = userdata;
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
        ProfileList *loaded;
        int r;

        if (strlen(directory) > sizeof(folder) - 32)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The name of the configuration directory is too long.");
        snprintf(folder, sizeof(folder), "%s/profiles.d", directory);
        loaded = calloc(1, sizeof(*loaded));
        if (!loaded)
                return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        r = conf_each(folder, load_one, loaded, e);
        if (r == 0)
                *ret = *loaded;
        free(loaded);
        return r;
}
