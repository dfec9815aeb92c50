/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/* What the command line may say before, between and after the words: one table (options.c) from which parsing, --help and the check
 * which verb takes what come. Values are in fdlctl.h. */

/* Sorts the options out of argv; words are left from optind on. -1: go on; else the exit code. */
int options_parse(int argc, char **argv);
/* An option that was given but means nothing to the verb is a mistake. -1: all fit; else the exit code. */
int options_check(const char *verb);
void options_help(void);
/* One line and EXIT_USAGE. */
/* What was given for a choice (flash/choice.h), NULL nothing. */
const char *choice_argument(const char *name);
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
