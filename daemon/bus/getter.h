/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/bus-internal.h"

/* Rows of the vtables. Every method goes through bus_dispatch() and is UNPRIVILEGED: without the flag sd-bus would ask
 * the bus daemon who is calling and wait for the answer. */
#define METHOD SD_BUS_METHOD_WITH_ARGS
#define FOR_ALL SD_BUS_VTABLE_UNPRIVILEGED
#define CONSTANT(name, type, get) SD_BUS_PROPERTY(name, type, get, 0, SD_BUS_VTABLE_PROPERTY_CONST)
#define PROPERTY(name, type, get) SD_BUS_PROPERTY(name, type, get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

/* A getter: `var` is the station's object, the expression appends one value to `reply`. */
#define GETTER(name, Type, var, expression)                                                                            \
        static int name(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_,               \
                        const char *property _unused_, sd_bus_message *reply, void *userdata,                          \
                        sd_bus_error *error _unused_) {                                                                \
                const Type *var = ((const BusObject *) userdata)->object;                                              \
                return (expression);                                                                                   \
        }
