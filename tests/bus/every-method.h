/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "fixture.h"
#include "introspection.h"

/* Every interface of the bus with every method, one object of each kind, and calls that make sense: for tests that try them all. */

#define ERROR(name) "org.fdld.Fdld1.Error." name
#define INVALID_ARGS "org.freedesktop.DBus.Error.InvalidArgs"
#define UNKNOWN_OBJECT "org.freedesktop.DBus.Error.UnknownObject"
#define HISTORY BUS_NAME ".History"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define NOBODY 65534

#define N_INTERFACES_MAX 32

/* A row for each interface. */
typedef struct InterfaceRow {
        const char *name;
        ObjectKind kind; /* of the object that has it */
} InterfaceRow;
extern const InterfaceRow interfaces[];
extern const size_t n_interfaces;

/* One object of each kind. */
typedef struct World {
        Slot *slot;
        Device *device;
        Package *package;
        Batch *batch;
        Job *job;
        char paths[OBJECT_JOB + 1][BUS_PATH_MAX];
} World;

World world_make(void);
const char *interface_name(size_t i, char buffer[static 64]);
/* What dbus/ says of an interface. */
void shipped_lines(size_t interface_index, Lines *ret);
const sd_bus_vtable *interface_vtable(size_t i);
bool method_name(const char *line, char ret[static 64]);
/* Calls a method with acceptable arguments, made from its line of the introspection data. */
sd_bus_message *good_message(sd_bus *bus, const World *w, size_t i, const char *line, int fd);
sd_bus_message *good_call(sd_bus *bus, const World *w, size_t i, const char *line, int fd, sd_bus_error *e);
/* As root: somebody else's uid. As somebody else: the own uid, without trust. */
sd_bus *make_stranger(void);
