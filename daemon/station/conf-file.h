/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "common/macro.h"

#include <stdio.h>

/* The one door to libinih: files of settings, read strictly. A mistake is an error that names file and line, never something that is
 * passed over. */

typedef struct ConfFile ConfFile;
struct ConfFile {
        size_t size_max;           /* bytes of a file */
        /* What each line is looked at for before libinih gets it: it cuts names of sections, and takes no notice of empty ones. */
        void (*line)(ConfFile *c, const char *line);
        /* One setting: 1, or 0 after conf_bad(). `section`: as libinih gives it, "" before the first one. */
        int (*set)(ConfFile *c, const char *section, const char *key, const char *value);
        /* Of conf_read(). */
        const char *path;
        CallError *e;
        FILE *file;
        unsigned number;           /* of the line, 1 … */
        size_t bytes;
        bool failed;
};

/* The first mistake is the one that is reported. 0, for the handlers. */
int conf_bad(ConfFile *c, const char *format, ...) _printf_(2, 3);
/* 0; -1 with *e. `optional`: a file that is not there is an empty one. */
int conf_read(ConfFile *c, const char *path, bool optional, CallError *e);

/* Each NAME.conf of a folder in the order of their names, until one fails. A folder that is not there is empty. 0; -1 with *e. */
int conf_each(const char *folder, int (*each)(const char *folder, const char *name, void *userdata, CallError *e), void *userdata,
              CallError *e);
