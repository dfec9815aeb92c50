/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

/* What stands on this machine between a device and fdld, seen with the caller's rights, with or without the daemon. */

/* Appends {"check", "state": "good" | "note" | "bad", "text", "command"} for each finding; command is "" or what mends it. */
void doctor_examine_machine(struct json_object *findings); /* rules, clock, disk, kernel settings, other programs */
void doctor_examine_usb(struct json_object *findings);     /* devices in download mode, and how they are plugged in */
void doctor_examine_hubs(struct json_object *findings);    /* hubs and controllers */
void doctor_examine_host(struct json_object *findings);    /* users, groups, owners, what the kernel logged */
void doctor_examine_bus(struct json_object *findings);     /* the bus, the daemon, its policy, its version */

void doctor_find(struct json_object *findings, const char *check, const char *state, const char *command, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
/* "1-2 (USB2.0 Hub), 480 Mbit/s": what a device hangs on. */
const char *doctor_hub_name(const char *device, char *ret, size_t size);
/* First line of a file in /sys or /proc, without its end; "" if it cannot be read. */
const char *doctor_read(const char *path, char *ret, size_t size);
