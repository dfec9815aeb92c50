/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "find.h"

/* Another machine, over ssh. Calls go through a bridge on the far side, which passes no descriptors; so a file is sent through the standard
 * input of an fdlctl there. */

/* Copies a package into the store of `host`; *ret is its object path. Exit code. */
int remote_import(const char *host, int fd, const char *name, char ret[static PATH_TEXT_MAX]);
/* The far side: what comes on the standard input as a plain file. -errno. */
int spool_stdin(void);
/* False after a message: what ssh or a shell might take for something else. */
bool host_is_valid(const char *host);
