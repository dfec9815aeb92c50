/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "output.h"

/* Names the sockets of a jig: one device is plugged into each in turn. Named sockets are listed, and from then on all others are left
 * alone. Names come from the command line, or are asked for on a terminal. */

typedef struct Teaching {
        sd_bus *bus;
        bool seen;
        char slot[512], port[256]; /* where a device appeared last */
        struct json_object *known; /* paths of devices that were there or were told of */
} Teaching;

static void note_device(Teaching *t, const char *path, struct json_object *device) {
        if (json_object_object_get_ex(t->known, path, NULL))
                return;
        json_object_object_add(t->known, path, json_object_new_boolean(true));
        snprintf(t->slot, sizeof(t->slot), "%s", json_text(device, "Slot"));
        snprintf(t->port, sizeof(t->port), "%s", json_text(device, "Port"));
        t->seen = true;
}

static int on_added(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        struct json_object *interfaces = NULL, *device;
        Teaching *t = userdata;
        const char *path;

        if (sd_bus_message_read(m, "o", &path) < 0 || message_to_json(m, &interfaces) < 0)
                return 0;
        device = json_member(interfaces, FDLD_IFACE("Device"));
        if (device)
                note_device(t, path, device);
        json_object_put(interfaces);
        return 0;
}

static uint64_t now_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

/* 0 a device appeared; else an exit code. */
static int wait_device(Teaching *t) {
        uint64_t end = arg_timeout_usec > 0 ? now_usec() + arg_timeout_usec : UINT64_MAX;

        t->seen = false;
        while (!t->seen) {
                uint64_t now = now_usec();
                int r = sd_bus_process(t->bus, NULL);

                if (r == 0 && now >= end) {
                        fprintf(stderr, "fdlctl: No device was plugged in.\n");
                        return EXIT_NOT_FOUND;
                }
                if (r == 0)
                        r = sd_bus_wait(t->bus, end == UINT64_MAX ? UINT64_MAX : end - now);
                if (r < 0 && r != -EINTR)
                        return client_report("teach", NULL, r);
        }
        return 0;
}

static void strip(char *text) {
        size_t n = strlen(text);

        while (n > 0 && isspace((unsigned char) text[n - 1]))
                text[--n] = '\0';
}

static int name_slot(Teaching *t, const char *name) {
        int code = client_call(t->bus, t->slot, FDLD_IFACE("Slot"), "SetLabel", NULL, "s", name);

        if (code == 0)
                code = client_call(t->bus, t->slot, FDLD_IFACE("Slot"), "SetListed", NULL, "b", 1);
        if (code)
                return code;
        if (arg_output.json != JSON_OFF) {
                struct json_object *o = json_object_new_object();
                json_object_object_add(o, "slot", json_object_new_string(name));
                json_object_object_add(o, "port", json_object_new_string(t->port));
                json_print(o);
                json_object_put(o);
        } else
                printf("%s is %s\n", name, t->port);
        fflush(stdout);
        return 0;
}

/* Names as they come from the command line. */
static int teach_names(Teaching *t, int n, char **names) {
        int code = 0;

        for (int i = 0; i < n && code == 0; i++) {
                if (!arg_output.quiet)
                        fprintf(stderr, "Plug a device into the socket \"%s\" (%d of %d).\n", names[i], i + 1, n);
                code = wait_device(t);
                if (code == 0)
                        code = name_slot(t, names[i]);
        }
        return code;
}

/* A person is asked for each name; an empty one ends it. */
static int teach_asking(Teaching *t) {
        char line[128];
        int code = 0;

        fprintf(stderr, "Plug one device into each socket in turn. Ctrl-C ends.\n");
        for (unsigned n = 1; code == 0; n++) {
                fprintf(stderr, "Socket %u: plug a device in …\n", n);
                code = wait_device(t);
                if (code)
                        break;
                fprintf(stderr, "A device at %s. Name of this socket (empty: that was the last): ", t->port);
                if (!fgets(line, sizeof(line), stdin))
                        break;
                strip(line);
                if (!line[0])
                        break;
                code = name_slot(t, line);
                if (code == EXIT_USAGE) /* a name that is taken or cannot be one: again, with another */
                        code = 0;
        }
        return code;
}

static int forget_list(sd_bus *bus, struct json_object *objects) {
        struct json_object *slots = client_objects_of(objects, FDLD_IFACE("Slot"));
        int worst = 0;

        for (size_t i = 0; i < json_object_array_length(slots); i++) {
                struct json_object *s = json_object_array_get_idx(slots, i);
                if (json_flag(s, "Listed"))
                        worst = worse_exit(worst, client_call(bus, json_text(s, "path"), FDLD_IFACE("Slot"), "SetListed", NULL, "b", 0));
        }
        json_object_put(slots);
        return worst;
}

static void note_present(Teaching *t, struct json_object *objects) {
        struct json_object *devices = client_objects_of(objects, FDLD_IFACE("Device"));

        for (size_t i = 0; i < json_object_array_length(devices); i++)
                json_object_object_add(t->known, json_text(json_object_array_get_idx(devices, i), "path"), json_object_new_boolean(true));
        json_object_put(devices);
}

int verb_teach(int argc, char **argv) {
        struct json_object *objects = NULL;
        Teaching t = { .known = json_object_new_object() };
        int code = 0, r;

        if (argc < 2 && !arg_clear && !isatty(STDIN_FILENO)) {
                fprintf(stderr, "fdlctl: \"teach\" needs the names of the sockets, in the order in which devices will be plugged in.\n");
                json_object_put(t.known);
                return EXIT_USAGE;
        }
        t.bus = client_connect(&code);
        if (!t.bus) {
                json_object_put(t.known);
                return code;
        }
        r = sd_bus_add_match(t.bus, NULL, "type='signal',sender='" FDLD_NAME "',member='InterfacesAdded'", on_added, &t);
        code = r < 0 ? client_report("teach", NULL, r) : client_objects(t.bus, &objects);
        if (code == 0 && arg_clear)
                code = forget_list(t.bus, objects);
        if (code == 0 && !(arg_clear && argc < 2)) {
                note_present(&t, objects);
                code = argc > 1 ? teach_names(&t, argc - 1, argv + 1) : teach_asking(&t);
        }
        json_object_put(t.known);
        json_object_put(objects);
        sd_bus_flush_close_unref(t.bus);
        return code;
}
