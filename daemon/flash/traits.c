/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/traits.h"

#include <stdio.h>

static LoaderTrait *find(const LoaderTraits *t, const char *trait) {
        for (size_t i = 0; i < t->n; i++)
                if (streq(t->list[i].trait, trait))
                        return (LoaderTrait *) t->list + i;
        return NULL;
}

const char *traits_get(const LoaderTraits *t, const char *trait) {
        const LoaderTrait *found = find(t, trait);

        return found ? found->value : NULL;
}

bool traits_set(LoaderTraits *t, const char *trait, const char *value) {
        LoaderTrait *at = find(t, trait);

        if (at ? streq(at->value, value) : t->n == LOADER_TRAITS_MAX)
                return false;
        if (!at)
                at = t->list + t->n++;
        snprintf(at->trait, sizeof(at->trait), "%s", trait);
        snprintf(at->value, sizeof(at->value), "%s", value);
        return true;
}
