/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdbool.h>

#include "find.h"

#include "bus-client.h"
#include "common/macro.h"
#include "output.h"

bool device_is_ready(struct json_object *device) {
        const char *state = json_text(device, "State"), *mode = json_text(device, "Mode");

        /* "present": restarted, or in no boot mode: not a unit to work on */
        return !streq(mode, "not-boot") && (streq(state, "idle") || streq(state, "probing"));
}

typedef bool (*MatchFunc)(struct json_object *o, const char *text);

static bool match_slot(struct json_object *o, const char *text) {
        return streq(json_text(o, "Label"), text) || streq(json_text(o, "Port"), text);
}

static bool match_device(struct json_object *o, const char *text) {
        const char *n = strrchr(json_text(o, "path"), '_');
        return (n && streq(n + 1, text)) || streq(json_text(o, "Port"), text) || streq(json_text(o, "DevNode"), text);
}

static bool match_package(struct json_object *o, const char *text) {
        return streq(json_text(o, "Name"), text) || (strlen(text) >= 4 && strncmp(json_text(o, "Digest"), text, strlen(text)) == 0);
}

static int find(struct json_object *objects, const char *interface, const char *noun, const char *text, MatchFunc match,
                char ret[static PATH_TEXT_MAX]) {
        struct json_object *list;
        size_t n, found = 0;

        if (!text[0]) {
                fprintf(stderr, "fdlctl: The name of the %s is empty. \"fdlctl %ss\" lists them.\n", noun, noun);
                return EXIT_USAGE;
        }
        list = client_objects_of(objects, interface);
        n = json_object_array_length(list);
        for (size_t i = 0; i < n; i++) {
                struct json_object *o = json_object_array_get_idx(list, i);
                if (!streq(json_text(o, "path"), text) && !match(o, text))
                        continue;
                snprintf(ret, PATH_TEXT_MAX, "%s", json_text(o, "path"));
                found++;
        }
        json_object_put(list);
        if (found == 1)
                return 0;
        if (found == 0) {
                fprintf(stderr, "fdlctl: There is no %s \"%.128s\". \"fdlctl %ss\" lists them.\n", noun, text, noun);
                return EXIT_NOT_FOUND;
        }
        fprintf(stderr, "fdlctl: \"%.128s\" fits %zu %ss; say more of it.\n", text, found, noun);
        return EXIT_USAGE;
}

int find_slot(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        return find(objects, FDLD_IFACE("Slot"), "slot", text, match_slot, ret);
}

bool slot_exists(struct json_object *objects, const char *text) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Slot"));
        bool found = false;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *o = json_object_array_get_idx(list, i);
                found = found || streq(json_text(o, "path"), text) || match_slot(o, text);
        }
        json_object_put(list);
        return found;
}

int find_device(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        return find(objects, FDLD_IFACE("Device"), "device", text, match_device, ret);
}

int find_package(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        return find(objects, FDLD_IFACE("Package"), "package", text, match_package, ret);
}

static bool match_profile(struct json_object *o, const char *text) {
        return streq(json_text(o, "Name"), text);
}

int find_profile(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]) {
        return find(objects, FDLD_IFACE("Profile"), "profile", text, match_profile, ret);
}

int find_job(const char *text, char ret[static PATH_TEXT_MAX]) {
        static const char prefix[] = FDLD_ROOT "/jobs/_";
        const char *digits = strncmp(text, prefix, strlen(prefix)) == 0 ? text + strlen(prefix) : text;

        if (!digits[0] || strlen(digits) > 20 || digits[strspn(digits, "0123456789")]) {
                fprintf(stderr, "fdlctl: \"%.64s\" is no job number. \"fdlctl jobs\" lists them.\n", text);
                return EXIT_USAGE;
        }
        snprintf(ret, PATH_TEXT_MAX, "%s%s", prefix, digits);
        return 0;
}
