/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/station.h"

/* The catalogue of loader pairs: what the checked packages of the store bring. A pair is what its bytes and addresses are; packages
 * with the same one share it. */

typedef struct LoaderPair {
        Package *package;          /* the first that has it */
        unsigned n_packages;
        const char *family;
        char hash[65];             /* of both loaders and their addresses */
        uint64_t fdl1_address, fdl1_size, fdl2_address, fdl2_size; /* U64_UNKNOWN, 0: a loader alone */
        char storage[16];          /* "emmc", "ufs": the package writes the boot stage of that kind only; "" not told */
        unsigned worked, failed;   /* jobs in memory that got past them, or failed while they were loaded or started */
} LoaderPair;

/* *ret: malloc. 0 or -ENOMEM. */
int station_loaders(Station *s, LoaderPair **ret, size_t *ret_n);
/* The package whose loaders a job without one uses. `word`: a hash prefix, package, product or family; "": the pair with which the last job in
 * the target's slot went well, else the only one that fits the device's USB id. NULL with *e whose text lists the candidates if several
 * differ: it is never guessed. *ret_note: why this one, and what speaks against it; "" nothing to say. */
Package *station_choose_loaders(Station *s, const Target *target, const char *word, char ret_note[static 256], CallError *e);
