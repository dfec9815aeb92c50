/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* What was found out about a loader that holds for every unit it runs on, and costs something to ask again: words, kept by the
 * station for the SHA-256 of the loader's image (as it lies in the package). A word that is not there is not known. The words:
 *      "q:READ_CHIP_UID" …  one for each question or order that not every loader knows: "known", "unknown" (it said so), or
 *                           "fatal" (an FDL1 said nothing any more after it)
 *      "raw"                "refused": raw data are offered, but it does not take them
 *      "t:erase" …          one for each of BSL_WAITS: the longest that it needed in a job that ended well, in ms, where that is more than half of
 *                           the limit that it had (patience.h)
 *      "block"              largest block that it takes without escaping, in bytes, where that is less than usual */

typedef struct LoaderTrait {
        char trait[32], value[16];
} LoaderTrait;

#define LOADER_TRAITS_MAX 32
typedef struct LoaderTraits {
        size_t n;
        LoaderTrait list[LOADER_TRAITS_MAX];
} LoaderTraits;

/* NULL: not known. */
const char *traits_get(const LoaderTraits *t, const char *trait);
/* Adds or replaces. False: it was so already, or there is no room for more. */
bool traits_set(LoaderTraits *t, const char *trait, const char *value);
