/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/plan.h"

/* verbs-offline.c: what the command line says about a flash. 0 or an exit code. */
int plan_arguments(PlanOptions *ret);

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "find.h"

/* What verbs that start work have in common. */

#define TARGETS_MAX 512

/* A list of object paths that belong to us. */
typedef struct Paths {
        char *items[TARGETS_MAX];
        size_t n;
} Paths;
/* Appends a copy. 0, or an exit code after a line on stderr: the list is full, or out of memory. */
int paths_add(Paths *p, const char *path);
void paths_clear(Paths *p);

/* By --slot=, --device= and --all. One device: that one. None: "/", the next that comes. Several: the user must say which. Exit code. */
int choose_targets(sd_bus *bus, struct json_object *objects, Paths *targets);
/* A label, a port or a path; a port that nobody used yet becomes a slot. Exit code. */
int slot_named(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);
/* The same where a device must be there: a slot stands for what is plugged into it now. */
int choose_devices(sd_bus *bus, struct json_object *objects, Paths *targets);
/* A package of the store, or a file, which is imported. Exit code. */
int package_named(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);
/* What --serials= says, or the file that it names with "@" (malloc). 0, or -errno after a line on stderr. */
int serials_argument(char **ret);
/* Appends the job that a start method has answered with. Exit code. */
int read_job_reply(sd_bus_message *reply, Paths *jobs);
int follow_started(sd_bus *bus, const Paths *jobs, bool cancel_on_interrupt);
/* Asked before `fdlctl repair` starts, once its plan was shown. */
#define REPAIR_QUESTION "This writes again what is broken on the device, and nothing else."
int repair_from_package(const char *package); /* exit code */
/* As --wait and --no-wait say. */
int follow_or_print(sd_bus *bus, const Paths *jobs);
