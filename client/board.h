/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

/* What stands in the first line of status and watch about the batches: "" nothing, else e.g. "batch 12 PAUSED: 3 of the last …". */
void batch_banner(struct json_object *objects, char *ret, size_t size);
/* The table of the batches that are not over; nothing if there are none. */
void print_open_batches(struct json_object *objects);
