/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* An interface as sorted lines: "method Flash(in o target, …)", "property Id t read const". Ends the test when the XML
 * is bad. */
typedef struct Lines {
        size_t n;
        char *lines[256];
} Lines;

void interface_lines(const char *xml, size_t size, const char *interface, Lines *ret);
void lines_free(Lines *l);
char *read_whole_file(const char *path, size_t *ret_size);
