/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"
#include "flash/plan.h"

/* What a batch does with its units: from the options of a caller, from a profile, or from the database. Each value has one name in
 * profiles ("StopAfter") and one on the bus ("stop-after"), and is read from text in one place. */

typedef enum FirstArticle { FIRST_ARTICLE_NO, FIRST_ARTICLE_YES, FIRST_ARTICLE_CONFIRM } FirstArticle;
typedef enum StragglerPolicy { STRAGGLER_OFF, STRAGGLER_FLAG, STRAGGLER_PARK } StragglerPolicy;

#define STOP_WINDOW_MAX 64

typedef struct BatchPolicy {
        char package[256];          /* name or beginning of the digest; "" the caller names one */
        PlanOptions plan;
        char serials[256];          /* "", "ask", a list or range (firmware/serials.h); of a batch: station/serial.h. Personal */
        uint64_t count;             /* units that shall pass, 0 no end */
        FirstArticle first_article;
        unsigned stop_after, stop_window; /* so many failures of one kind among the last so many; 0 never */
        bool stop_on_difference;    /* a unit unlike its cohort pauses the batch */
        unsigned retry[CLASS_MAX];  /* further attempts after a failure of this class */
        bool reflash;               /* units that passed with this package are flashed again */
        StragglerPolicy straggler;
        unsigned straggler_factor;  /* times the median */
        unsigned quarantine_after;  /* failures of the link in a row, while others pass; 0 never */
} BatchPolicy;

void policy_default(BatchPolicy *p);
/* One value, by its name in profiles or on the bus. 0; -ENOENT no such name; -EINVAL with *why (a sentence). */
int policy_set(BatchPolicy *p, const char *name, const char *value, char *why, size_t why_size);
/* Calls fn for every value, with its name on the bus. Values that policy_set() reads. */
/* Of serial numbers only how they are had is told. */
void policy_foreach(const BatchPolicy *p, void (*fn)(const char *name, const char *value, void *userdata), void *userdata);
/* Lines "name=value" for the database, and back. */
void policy_to_text(const BatchPolicy *p, char *ret, size_t size);
void policy_from_text(BatchPolicy *p, const char *text);
/* May another attempt heal it at all? */
bool class_can_heal(FailClass class);
