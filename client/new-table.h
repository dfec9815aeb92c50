/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "steps.h"

/* A partition table to give a device, as steps "table" of a job of kind repartition. Exit codes; messages are printed. */

/* Lines "NAME SIZE" or, as the vault keeps them, "NAME START SIZE" in bytes; "#" begins a comment. Sizes end with K, M or G as wanted;
 * "rest" may be the last one's. `what`: for messages. */
int new_table_from_text(const char *text, const char *what, StepJob *job);
/* True if the argument of a verb means a table: a text file, or the folder of a backup. */
bool new_table_is_meant(const char *path);
int verb_new_table(const char *path);
/* Loaders, device, agreement, job; `job` has its steps. */
int new_table_start(sd_bus *bus, StepJob *job);
