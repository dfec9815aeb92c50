/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "find.h"

/* What a person types for a package: a file, which is imported (with progress), or a name or the beginning of a digest. Prints the
 * warnings of the package. Exit code; 0 and the path. */
int package_from_argument(sd_bus *bus, struct json_object *objects, const char *text, char ret[static PATH_TEXT_MAX]);
