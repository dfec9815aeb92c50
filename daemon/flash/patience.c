/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/patience.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

uint32_t patience_limit(uint32_t set_ms, uint32_t needed_ms) {
        uint64_t most = MIN((uint64_t) set_ms * PATIENCE_CEILING, PATIENCE_MOST_MS);

        return (uint32_t) MAX((uint64_t) set_ms, MIN((uint64_t) needed_ms * PATIENCE_FACTOR, most));
}

void patience_trait(const char *wait, char ret[static 32]) {
        snprintf(ret, 32, "t:%s", wait);
}

/* The value comes out of the database. */
uint32_t patience_needed(const LoaderTraits *loader, const char *wait) {
        unsigned long ms;
        const char *value;
        char trait[32], *end;

        patience_trait(wait, trait);
        value = loader ? traits_get(loader, trait) : NULL;
        if (!value || value[0] < '0' || value[0] > '9')
                return 0;
        errno = 0;
        ms = strtoul(value, &end, 10);
        return errno == 0 && *end == '\0' ? (uint32_t) MIN(ms, (unsigned long) UINT32_MAX) : 0;
}

void patience_apply(BslDeadlines *d, const LoaderTraits *loader) {
#define X(field, key) d->field = patience_limit(d->field, patience_needed(loader, #field));
        BSL_WAITS(X)
#undef X
}

void patience_differ(const BslDeadlines *set, const BslDeadlines *longer, char *ret, size_t size) {
        size_t n = 0;

        ret[0] = '\0';
#define X(field, key)                                                                                                      \
        if (longer->field > set->field && n < size)                                                                         \
                n += (size_t) snprintf(ret + n, size - n, "%s" key "Sec=%g instead of %g", n > 0 ? ", " : "",             \
                                       (double) longer->field / 1000, (double) set->field / 1000);
        BSL_WAITS(X)
#undef X
}
