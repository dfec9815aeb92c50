/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>
#include <stdlib.h>

/* A template for mkdtemp() and mkstemp() in the folder that `run` clears away afterwards, also after Ctrl-C. */
static inline void scratch_template(char *ret, size_t size, const char *name) {
        const char *tmp = getenv("TMPDIR");

        snprintf(ret, size, "%.100s/%s-XXXXXX", tmp && *tmp ? tmp : "/tmp", name);
}
