/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define PATH_TEXT_MAX 512

/* What a person types, as an object of `objects` (client_objects()): 0 and the path; else EXIT_NOT_FOUND or EXIT_USAGE (several
 * fit) after a message. */
int find_slot(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);      /* label, port, path */
bool slot_exists(struct json_object *objects, const char *text);
int find_device(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);    /* number, port, path */
int find_package(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);   /* digest start, name, path */
int find_profile(struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);   /* name, path */
/* Jobs need not be listed: the path follows from the number. EXIT_USAGE if the text is neither number nor path. */
int find_job(const char *text, char ret[static PATH_TEXT_MAX]);
/* Can be flashed: in boot mode, present or idle. */
bool device_is_ready(struct json_object *device);
