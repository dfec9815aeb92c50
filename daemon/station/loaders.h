/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/station.h"
#include "store/store.h"

/* The catalogue of loader pairs: what checked packages brought, kept also after they were removed, and on what models each pair worked
 * or failed. A pair is what its bytes and addresses are; packages with the same one share it. A model is the product that the package of a
 * job names; where nobody named one, what the last unit in the slot was, else USB id and boot ROM. */

typedef struct LoaderPair LoaderPair;
struct LoaderPair {
        StoreLoaders row;
        char last[65];             /* SHA-256 of the image of its last loader, "" as long as no package of the store has the pair */
        Package *package;          /* the first in the store that has it, NULL: none any more, so it cannot be used */
        unsigned n_packages;
        uint64_t worked, failed;   /* jobs that got past them, or failed while they were loaded or started */
        LoaderPair *next;
};

/* Oldest first; valid until packages change. */
const LoaderPair *station_loaders(Station *s);
/* Which time limits are longer for this pair, as it has needed them: "EraseSec=820 instead of 600"; "" none. */
void station_loader_limits(const Station *s, const LoaderPair *p, char *ret, size_t size);
const StoreLoaderUse *station_loader_uses(Station *s, size_t *ret_n);

/* The package whose loaders a job without one uses. `word`: a hash prefix, package, product, board or family; `family`: the only one that is
 * meant; "": the pair with which the last unit in the target's slot was started, else the only one that fits what is known of the device
 * before a byte of a loader is sent: USB id, and what a probe heard. NULL with *e whose text lists the candidates if several differ: it is
 * never guessed. *ret_note: why this one, and what speaks against it; "" nothing to say. */
Package *station_choose_loaders(Station *s, const Target *target, const char *word, const char *family, char ret_note[static 256], CallError *e);

/* For station/ alone. */
void loaders_restore(Station *s, const StoreSnapshot *snapshot);
void loaders_add_package(Package *p);    /* it was checked */
void loaders_remove_package(Package *p);
void loaders_free_all(Station *s);
/* Hash of two loaders (SHA-256 of each, NULL there is no second). 0 or -ENOMEM. */
int loaders_hash(const uint8_t *const sha256[static 2], const uint64_t address[static 2], char ret[static 65]);
/* A job meets its device: what it runs on, and a note if the pair is known to fail there. */
void loaders_job_starts(Job *job, const Device *d);
/* It is over: what its record says of its pair; counted, and the slot remembers what worked. */
void loaders_job_ends(Job *job, JobResult result);
