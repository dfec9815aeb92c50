/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "flash/traits.h"

/* Time limits that are learned. What a loader needed for a command, in a job that ended well, is kept as one of its traits ("t:erase": ms, see
 * traits.h) if it was more than half of the limit. From then on that limit is PATIENCE_FACTOR times what was needed: never less than what is
 * set, never more than PATIENCE_CEILING times that, and not beyond the longest limit that the vendor's own tools have (bsl-protocol §8.2), so
 * a device that answers later and later cannot stretch it for ever. */
#define PATIENCE_FACTOR 2U
#define PATIENCE_CEILING 4U
#define PATIENCE_MOST_MS 3600000U
/* Any busy computer takes so long once in a while; it is not the flash. */
#define PATIENCE_LEAST_MS 500U

/* The limit, given the one that is set and what was needed, ms. */
uint32_t patience_limit(uint32_t set_ms, uint32_t needed_ms);
/* Makes limits longer as the last loader of a job has shown to need. Traits may be NULL. */
void patience_apply(BslDeadlines *d, const LoaderTraits *loader);
/* Which limits are longer than those that are set, in the words of fdld.conf: "EraseSec=820 instead of 600, …"; "" none. */
void patience_differ(const BslDeadlines *set, const BslDeadlines *longer, char *ret, size_t size);
/* The most that was needed up to now, ms; 0: nothing worth knowing. `wait` is a name of BSL_WAITS. */
uint32_t patience_needed(const LoaderTraits *loader, const char *wait);
/* Name of the trait. */
void patience_trait(const char *wait, char ret[static 32]);
