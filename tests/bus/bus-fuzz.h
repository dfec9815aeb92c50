/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Arguments for bus-fuzz by a generator with a seed: mostly what the daemon knows, put together in ways that it may not expect. */

void values_seed(uint64_t seed);
unsigned below(unsigned n); /* 0 … n - 1 */
static inline bool one_in(unsigned n) {
        return below(n) == 0;
}

/* What the generator knows, each kept once, as long as there is room. Types: D-Bus, "" unknown. */
void values_learn_word(const char *word);
void values_learn_path(const char *path);
void values_learn_key(const char *key, const char *type);
void values_words_matter(void); /* those so far are as likely as all that come later */
/* Options are those of this method from now on; texts of errors say which it has, of which type, and what they may be. */
void values_about(const char *method);
void values_learn_from_error(const char *text);
const char *values_path(void);
const char *values_path_like(const char *part); /* one with this in it, if there is one; in half of the cases a young one */
/* All strings and object paths in what is left of a message. */
void values_learn_message(sd_bus_message *m);

/* Descriptors to pass: a package, and what is none. */
void values_open_files(const char *folder, const char *package);
int values_package(void);
void values_drain(void); /* reads what was written into them */

/* Appends arguments of these types. A message gets at most some 300 KB and 12 descriptors, then all is small. */
int values_append(sd_bus_message *m, const char *types, const char *name /* says what is meant */);
/* Any complete types. */
const char *values_types(void);
void values_begin_message(void);
int values_append_string(sd_bus_message *m);
