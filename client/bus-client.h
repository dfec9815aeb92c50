/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdarg.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

/* The client's view of the daemon's bus API: calls, objects as JSON, errors as exit codes. */

#define FDLD_NAME "org.fdld.Fdld1"
#define FDLD_ROOT "/org/fdld/Fdld1"
#define FDLD_IFACE(x) "org.fdld.Fdld1." x

enum {
        EXIT_DONE = 0,
        EXIT_OTHER = 1,
        EXIT_USAGE = 2,
        EXIT_NOT_FOUND = 3,
        EXIT_DEVICE = 4,
        EXIT_MISMATCH = 5,
        EXIT_CANCELED = 6,
        EXIT_NOT_AUTHORISED = 7,
        EXIT_NO_DAEMON = 8,
        EXIT_REFUSED = 9,
        EXIT_MUST_REFLASH = 10,
        EXIT_SKIPPED = 11,
        EXIT_DETACHED = 130,
};

typedef struct ClientOptions {
        const char *host;            /* NULL: this machine */
        bool ask_password;           /* calls that need one may lead to a question */
        void (*before_asking)(void); /* may be NULL */
} ClientOptions;
extern ClientOptions arg_client;

/* Connects to the system bus (or DBUS_SYSTEM_BUS_ADDRESS), or that of the other machine. NULL after a message; *ret_exit says what to exit with. */
sd_bus *client_connect(int *ret_exit);

/* One method call that is waited for. On failure prints one line and returns an exit code; else 0 and *reply. */
int client_call(sd_bus *bus, const char *path, const char *interface, const char *member, sd_bus_message **reply,
                const char *types, ...);
int client_call_message(sd_bus *bus, sd_bus_message *m, sd_bus_message **reply);
/* For what may take long: waits as long as the connection lives. */
int client_call_message_patiently(sd_bus *bus, sd_bus_message *m, sd_bus_message **reply);
/* The line and the exit code for a D-Bus error. `doing` is what was tried ("flash"). */
int client_report(const char *doing, const sd_bus_error *error, int r);

/* Reads one complete value of the message as JSON: dictionaries with string keys become objects. 0 or -errno. */
int message_to_json(sd_bus_message *m, struct json_object **ret);

/* All objects: {path: {interface: {property: value}}}. Exit code; 0 is success. */
int client_objects(sd_bus *bus, struct json_object **ret);
/* Objects of one interface as an array of their properties, each with "path" added; sorted by path number. */
struct json_object *client_objects_of(struct json_object *objects, const char *interface);
/* Properties of one object, "path" added. Exit code. */
int client_properties(sd_bus *bus, const char *path, const char *interface, struct json_object **ret);

/* The exit code of a finished job from result and details (as Wait gives). */
int job_exit_code(const char *result, struct json_object *details, const char *error_name);
/* The worse of two, in the order of the manual. */
int worse_exit(int a, int b);
