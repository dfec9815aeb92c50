/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/policy.h"
#include "station/station.h"

/* Named policies: <configuration>/profiles.d/<name>.conf, one section [Profile]. Read-only to clients. */

#define PROFILES_MAX 64

struct Profile {
        char name[65]; /* of the file, without .conf */
        char description[128];
        BatchPolicy policy;
};

typedef struct ProfileList {
        size_t n;
        Profile items[PROFILES_MAX];
} ProfileList;

/* Strict: an unknown section or key, a value that cannot be, and a file that says nothing are errors with file and line. A missing
 * directory is no error. 0; -1 with *e and *ret as it was. */
int profiles_load(const char *directory, ProfileList *ret, CallError *e);

/* Profiles of the station, in the order of their names. */
Profile *station_profiles(Station *s, size_t *ret_n);
Profile *station_find_profile(Station *s, const char *name);
