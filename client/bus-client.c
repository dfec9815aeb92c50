/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus-client.h"

#include "common/failure.h"
#include "common/macro.h"
#include "output.h"

/* The daemon answers within seconds or the call is lost; long work is a job, not a call. */
#define CALL_TIMEOUT_USEC (25 * 1000000ULL)
/* Somebody may be looking for the password. */
#define PERSON_TIMEOUT_USEC (330 * 1000000ULL)
#define NESTING_MAX 16

ClientOptions arg_client;

static sd_bus *connect_remote(const char *host, int *ret_exit) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_system_remote(&bus, host);

        if (r < 0) {
                fprintf(stderr, "fdlctl: Cannot connect to %s: %s. It is reached with ssh, and systemd-stdio-bridge must be there.\n", host,
                        strerror(-r));
                *ret_exit = EXIT_NO_DAEMON;
                return NULL;
        }
        return bus;
}

sd_bus *client_connect(int *ret_exit) {
        sd_bus *bus = NULL;
        int r;

        if (arg_client.host)
                return connect_remote(arg_client.host, ret_exit);
        r = sd_bus_open_system(&bus);

        if (r < 0) {
                fprintf(stderr, "fdlctl: Cannot connect to the system bus: %s. Is dbus running, and DBUS_SYSTEM_BUS_ADDRESS right if set?\n",
                        strerror(-r));
                *ret_exit = EXIT_NO_DAEMON;
                return NULL;
        }
        return bus;
}

static bool is_unreachable(const sd_bus_error *e, int r) {
        static const char *const names[] = {
                SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER, SD_BUS_ERROR_NO_SERVER,
                SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_DISCONNECTED, SD_BUS_ERROR_TIMEOUT,
                "org.freedesktop.DBus.Error.Spawn.ServiceNotFound", "org.freedesktop.systemd1.NoSuchUnit",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (e && sd_bus_error_has_name(e, names[i]))
                        return true;
        return r == -ECONNRESET || r == -ENOTCONN || r == -ECONNREFUSED || r == -ETIMEDOUT || r == -EPIPE;
}

int client_report(const char *doing, const sd_bus_error *error, int r) {
        char text[2048];
        const char *message = error && error->message ? error->message : strerror(r < 0 ? -r : EIO);
        int code;

        if (is_unreachable(error, r) && arg_client.host) {
                fprintf(stderr, "fdlctl: fdld on %s does not answer (%s). Does ssh get there, and does fdld run there?\n", arg_client.host,
                        safe_text(message, text, sizeof(text)));
                return EXIT_NO_DAEMON;
        }
        if (is_unreachable(error, r)) {
                fprintf(stderr, "fdlctl: fdld does not answer (%s). Start it with \"systemctl start fdld\" and look at \"systemctl status fdld\".\n",
                        safe_text(message, text, sizeof(text)));
                return EXIT_NO_DAEMON;
        }
        /* Units come and go between a look and a call; the bus has no other words for an object that has gone. */
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_OBJECT) || sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD)) {
                fprintf(stderr, "fdlctl: %s: what this was meant for has left meanwhile; or fdld is older than this fdlctl (%s)\n", doing,
                        safe_text(message, text, sizeof(text)));
                return EXIT_NOT_FOUND;
        }
        code = error && error->name ? bus_error_exit_code_by_name(error->name) : -1;
        /* The daemon speaks in whole sentences; others need to be told what for. */
        fprintf(stderr, "fdlctl: %s%s%s\n", code >= 0 ? "" : doing, code >= 0 ? "" : ": ", safe_text(message, text, sizeof(text)));
        if (!error || !error->name)
                return EXIT_OTHER;
        if (code >= 0)
                return code;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED) ||
            sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return EXIT_NOT_AUTHORISED;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_INVALID_ARGS))
                return EXIT_USAGE;
        return EXIT_OTHER;
}

/* The same call once more, this time with leave to ask for a password. */
static int call_asking(sd_bus *bus, sd_bus_message *m, uint64_t timeout_usec, sd_bus_error *error, sd_bus_message **reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *again = NULL;
        int r = sd_bus_message_new_method_call(bus, &again, sd_bus_message_get_destination(m), sd_bus_message_get_path(m),
                                               sd_bus_message_get_interface(m), sd_bus_message_get_member(m));

        if (r >= 0)
                r = sd_bus_message_rewind(m, true);
        if (r >= 0)
                r = sd_bus_message_copy(again, m, true);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(again, true);
        if (r < 0)
                return r;
        if (arg_client.before_asking)
                arg_client.before_asking();
        sd_bus_error_free(error);
        return sd_bus_call(bus, again, MAX(timeout_usec, PERSON_TIMEOUT_USEC), error, reply);
}

/* Descriptors do not go through ssh. */
static bool needs_descriptors(sd_bus_message *m) {
        const char *signature = sd_bus_message_get_signature(m, true);

        return signature && strchr(signature, 'h');
}

static int call_message(sd_bus *bus, sd_bus_message *m, uint64_t timeout_usec, sd_bus_message **reply) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r, code = 0;

        if (arg_client.host && needs_descriptors(m)) {
                fprintf(stderr, "fdlctl: This hands over a file, which does not go through -H. Run it there: ssh %s fdlctl …\n", arg_client.host);
                return EXIT_USAGE;
        }
        r = sd_bus_call(bus, m, timeout_usec, &error, reply);
        if (r < 0 && arg_client.ask_password && !arg_client.host &&
            (sd_bus_error_has_name(&error, "org.fdld.Fdld1.Error.NotAuthorisedCanObtain") ||
             sd_bus_error_has_name(&error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)))
                r = call_asking(bus, m, timeout_usec, &error, reply);
        if (r < 0)
                code = client_report(sd_bus_message_get_member(m), &error, r);
        sd_bus_error_free(&error);
        return code;
}

int client_call_message(sd_bus *bus, sd_bus_message *m, sd_bus_message **reply) {
        return call_message(bus, m, CALL_TIMEOUT_USEC, reply);
}

int client_call_message_patiently(sd_bus *bus, sd_bus_message *m, sd_bus_message **reply) {
        return call_message(bus, m, UINT64_MAX, reply);
}

int client_call(sd_bus *bus, const char *path, const char *interface, const char *member, sd_bus_message **reply,
                const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, path, interface, member);

        if (r >= 0 && types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
        }
        if (r < 0)
                return client_report(member, NULL, r);
        return client_call_message(bus, m, reply);
}

static int value_to_json(sd_bus_message *m, unsigned depth, struct json_object **ret);

static int basic_to_json(sd_bus_message *m, char type, struct json_object **ret) {
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                const char *s;
        } v;
        int r = sd_bus_message_read_basic(m, type, &v);

        if (r < 0)
                return r;
        switch (type) {
        case 'y': *ret = json_object_new_int(v.y); break;
        case 'b': *ret = json_object_new_boolean(v.b); break;
        case 'n': *ret = json_object_new_int(v.n); break;
        case 'q': *ret = json_object_new_int(v.q); break;
        case 'i': *ret = json_object_new_int(v.i); break;
        case 'u': *ret = json_object_new_int64(v.u); break;
        case 'x': *ret = json_object_new_int64(v.x); break;
        case 't': *ret = json_object_new_uint64(v.t); break;
        case 'd': *ret = json_object_new_double(v.d); break;
        case 'h': *ret = json_object_new_string("(descriptor)"); break;
        default: *ret = json_object_new_string(v.s);
        }
        return 0;
}

static int members_to_json(sd_bus_message *m, unsigned depth, struct json_object *array) {
        for (;;) {
                struct json_object *item = NULL;
                int r = sd_bus_message_at_end(m, false);

                if (r != 0)
                        return r < 0 ? r : 0;
                r = value_to_json(m, depth + 1, &item);
                if (r < 0)
                        return r;
                json_object_array_add(array, item);
        }
}

static int dictionary_to_json(sd_bus_message *m, unsigned depth, struct json_object *object) {
        for (;;) {
                struct json_object *key = NULL, *value = NULL;
                const char *contents;
                char type;
                int r = sd_bus_message_peek_type(m, &type, &contents);

                if (r <= 0)
                        return r;
                r = sd_bus_message_enter_container(m, 'e', contents);
                if (r >= 0)
                        r = value_to_json(m, depth + 1, &key);
                if (r >= 0)
                        r = value_to_json(m, depth + 1, &value);
                if (r >= 0)
                        json_object_object_add(object, json_object_get_string(key), json_object_get(value));
                json_object_put(key);
                json_object_put(value);
                if (r < 0 || (r = sd_bus_message_exit_container(m)) < 0)
                        return r;
        }
}

static int value_to_json(sd_bus_message *m, unsigned depth, struct json_object **ret) {
        const char *contents;
        char type;
        int r = sd_bus_message_peek_type(m, &type, &contents);

        if (r <= 0)
                return r < 0 ? r : -ENODATA;
        if (depth > NESTING_MAX)
                return -ELOOP;
        if (type != 'a' && type != 'v' && type != 'r')
                return basic_to_json(m, type, ret);
        r = sd_bus_message_enter_container(m, type, contents);
        if (r < 0)
                return r;
        if (type == 'v')
                r = value_to_json(m, depth + 1, ret);
        else if (type == 'a' && contents[0] == '{')
                r = dictionary_to_json(m, depth, *ret = json_object_new_object());
        else
                r = members_to_json(m, depth, *ret = json_object_new_array());
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0) {
                json_object_put(*ret);
                *ret = NULL;
        }
        return r < 0 ? r : 0;
}

int message_to_json(sd_bus_message *m, struct json_object **ret) {
        *ret = NULL;
        return value_to_json(m, 0, ret);
}

static int call_to_json(sd_bus *bus, const char *path, const char *interface, const char *member, const char *argument,
                        struct json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int code = client_call(bus, path, interface, member, &reply, argument ? "s" : NULL, argument);

        if (code)
                return code;
        return message_to_json(reply, ret) < 0 ? client_report(member, NULL, -EBADMSG) : 0;
}

int client_objects(sd_bus *bus, struct json_object **ret) {
        return call_to_json(bus, FDLD_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL, ret);
}

int client_properties(sd_bus *bus, const char *path, const char *interface, struct json_object **ret) {
        int code = call_to_json(bus, path, "org.freedesktop.DBus.Properties", "GetAll", interface, ret);

        if (code == 0)
                json_object_object_add(*ret, "path", json_object_new_string(path));
        return code;
}

static uint64_t path_number(struct json_object *o) {
        const char *p = strrchr(json_text(o, "path"), '_');
        return p ? strtoull(p + 1, NULL, 10) : 0;
}

/* As they stand on the jig: by their names, 2 before 10, and those without one behind them by their ports. */
static int compare_slots(struct json_object *x, struct json_object *y) {
        const char *a = json_text(x, "Label"), *b = json_text(y, "Label");

        if (!a[0] != !b[0])
                return a[0] ? -1 : 1;
        return a[0] ? strverscmp(a, b) : strverscmp(json_text(x, "Port"), json_text(y, "Port"));
}

static int compare_paths(const void *a, const void *b) {
        struct json_object *x = *(struct json_object *const *) a, *y = *(struct json_object *const *) b;
        uint64_t m = path_number(x), n = path_number(y);

        if (json_object_object_get_ex(x, "Label", NULL))
                return compare_slots(x, y);
        return m != n ? (m < n ? -1 : 1) : strcmp(json_text(x, "path"), json_text(y, "path"));
}

struct json_object *client_objects_of(struct json_object *objects, const char *interface) {
        struct json_object *list = json_object_new_array();

        json_object_object_foreach(objects, path, interfaces) {
                struct json_object *properties = json_member(interfaces, interface);
                if (!properties)
                        continue;
                json_object_object_add(properties, "path", json_object_new_string(path));
                json_object_array_add(list, json_object_get(properties));
        }
        json_object_array_sort(list, compare_paths);
        return list;
}

int job_exit_code(const char *result, struct json_object *details, const char *error_name) {
        if (streq(result, "done"))
                return EXIT_DONE;
        /* What reads back differently has an exit code of its own. */
        if (streq(json_text(details, "stage"), "verify") && streq(json_text(details, "class"), "mismatch"))
                return EXIT_MISMATCH;
        if (json_flag(details, "must_reflash"))
                return EXIT_MUST_REFLASH;
        if (streq(result, "canceled"))
                return EXIT_CANCELED;
        if (streq(result, "skipped"))
                return EXIT_SKIPPED;
        if (streq(result, "timeout"))
                return EXIT_NOT_FOUND;
        if (error_name && error_name[0]) {
                int code = bus_error_exit_code_by_name(error_name);
                return code >= 0 ? code : EXIT_OTHER;
        }
        return EXIT_OTHER;
}

int worse_exit(int a, int b) {
        static const int order[] = { EXIT_DETACHED, EXIT_MUST_REFLASH, EXIT_DEVICE,   EXIT_MISMATCH, EXIT_REFUSED,
                                     EXIT_NOT_AUTHORISED, EXIT_NOT_FOUND, EXIT_CANCELED, EXIT_SKIPPED };

        for (size_t i = 0; i < ELEMENTSOF(order); i++)
                if (a == order[i] || b == order[i])
                        return order[i];
        return a ? a : b;
}
