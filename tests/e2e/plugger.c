/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

/* plugger CYCLES UNIT…: plugs simulated units in and out, CYCLES times in all, as fast as the daemon follows: each is out again only after
 * the daemon announced the device of its socket, and in again only after the daemon said that this device has gone. One connection to
 * $USBSIM_CONTROL and one to the bus for all of it. The units are out before and after. */

enum { UNITS_MAX = 64, PATIENCE_S = 120 };

#define NAME "org.fdld.Fdld1"

typedef struct Unit {
        const char *name;
        char port[128];   /* ID_PATH of the socket, once it was plugged in */
        char object[128]; /* path of its device on the bus; empty: the daemon knows of none */
} Unit;

static Unit units[UNITS_MAX];
static unsigned n_units;
static sd_bus *bus;
static FILE *control;

static void die(const char *what, const char *why) {
        fprintf(stderr, "plugger: %s: %s\n", what, why);
        exit(1);
}

static void check(const char *what, int r) {
        if (r < 0)
                die(what, strerror(-r));
}

/* ---- the simulator ---- */

static void connect_control(void) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        const char *path = getenv("USBSIM_CONTROL");
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (!path || strlen(path) >= sizeof(a.sun_path))
                die("USBSIM_CONTROL", "is not set");
        memcpy(a.sun_path, path, strlen(path));
        if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) < 0 || !(control = fdopen(fd, "r")))
                die(path, strerror(errno));
}

static void request(const char *command, const Unit *u) {
        if (dprintf(fileno(control), "{\"cmd\":\"%s\",\"device\":\"%s\"}\n", command, u->name) < 0)
                die(command, strerror(errno));
}

/* The port is kept: it tells which device is which unit. */
static void answer(const char *command, Unit *u) {
        struct json_object *o = NULL, *device, *port;
        char *line = NULL;
        size_t size = 0;

        if (getline(&line, &size, control) < 0 || !(o = json_tokener_parse(line)))
                die(command, "the simulator has gone");
        if (!json_object_get_boolean(json_object_object_get(o, "ok")))
                die(command, line);
        if (json_object_object_get_ex(o, "device", &device) && json_object_object_get_ex(device, "id-path", &port))
                snprintf(u->port, sizeof(u->port), "%s", json_object_get_string(port));
        json_object_put(o);
        free(line);
}

static void all(const char *command, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                request(command, &units[i]);
        for (unsigned i = 0; i < n; i++)
                answer(command, &units[i]);
}

/* ---- the daemon ---- */

/* The value of "Port" among the properties of a device; the message stands before a{sv}. */
static const char *read_port(sd_bus_message *m) {
        const char *key, *port = NULL;

        check("properties", sd_bus_message_enter_container(m, 'a', "{sv}"));
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                check("property", sd_bus_message_read(m, "s", &key));
                if (strcmp(key, "Port") == 0)
                        check("Port", sd_bus_message_read(m, "v", "s", &port));
                else
                        check(key, sd_bus_message_skip(m, "v"));
                check(key, sd_bus_message_exit_container(m));
        }
        check("properties", sd_bus_message_exit_container(m));
        return port;
}

static int on_added(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path, *interface, *port = NULL;

        (void) userdata, (void) error;
        check("path", sd_bus_message_read(m, "o", &path));
        if (strncmp(path, "/org/fdld/Fdld1/devices/", 24) != 0)
                return 0;
        check("interfaces", sd_bus_message_enter_container(m, 'a', "{sa{sv}}"));
        while (sd_bus_message_enter_container(m, 'e', "sa{sv}") > 0) {
                check("interface", sd_bus_message_read(m, "s", &interface));
                if (strcmp(interface, NAME ".Device") == 0)
                        port = read_port(m);
                else
                        check(interface, sd_bus_message_skip(m, "a{sv}"));
                check(interface, sd_bus_message_exit_container(m));
        }
        for (unsigned i = 0; port && i < n_units; i++)
                if (strcmp(units[i].port, port) == 0)
                        snprintf(units[i].object, sizeof(units[i].object), "%s", path);
        return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path;

        (void) userdata, (void) error;
        check("path", sd_bus_message_read(m, "o", &path));
        for (unsigned i = 0; i < n_units; i++)
                if (strcmp(units[i].object, path) == 0)
                        units[i].object[0] = 0;
        return 0;
}

static void connect_bus(void) {
        check("bus", sd_bus_open_system(&bus));
        check("match", sd_bus_match_signal(bus, NULL, NAME, "/org/fdld/Fdld1", "org.freedesktop.DBus.ObjectManager", "InterfacesAdded",
                                           on_added, NULL));
        check("match", sd_bus_match_signal(bus, NULL, NAME, "/org/fdld/Fdld1", "org.freedesktop.DBus.ObjectManager",
                                           "InterfacesRemoved", on_removed, NULL));
}

static unsigned known(unsigned n) {
        unsigned k = 0;

        for (unsigned i = 0; i < n; i++)
                k += units[i].object[0] != 0;
        return k;
}

/* Until the daemon knows the first N units, or none of them. */
static void daemon_follows(unsigned n, unsigned want) {
        time_t end = time(NULL) + PATIENCE_S;

        while (known(n) != want) {
                int r = sd_bus_process(bus, NULL);

                check("bus", r);
                if (r == 0)
                        check("bus", sd_bus_wait(bus, 1000000));
                if (time(NULL) > end)
                        die("the daemon", want ? "did not announce a unit" : "did not say that a unit has gone");
        }
}

int main(int argc, char **argv) {
        unsigned long cycles = argc > 2 ? strtoul(argv[1], NULL, 10) : 0, done;

        n_units = argc > 2 ? (unsigned) argc - 2 : 0;
        if (cycles == 0 || n_units == 0 || n_units > UNITS_MAX) {
                fprintf(stderr, "usage: plugger CYCLES UNIT…\n");
                return 2;
        }
        for (unsigned i = 0; i < n_units; i++)
                units[i].name = argv[i + 2];
        connect_control();
        connect_bus();
        for (done = 0; done < cycles; done += n_units) {
                all("plug", n_units); /* before any signal is read: its answer says which socket it is */
                daemon_follows(n_units, n_units);
                all("unplug", n_units);
                daemon_follows(n_units, 0);
        }
        printf("%lu\n", done);
        sd_bus_flush_close_unref(bus);
        fclose(control);
        return 0;
}
