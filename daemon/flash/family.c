/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/family.h"

enum {
#define FAMILY(word, id, ...) id##_INDEX,
#include "flash/types.def"
};

static const Family families[] = {
#define FAMILY(word, id, loaders, nv_max, gate, protocol, places, questions)                                            \
        {word, 1u << id##_INDEX, loaders, nv_max, gate, PLAN_##protocol, PLACES_##places, questions},
#include "flash/types.def"
};

const Family *family_find(const char *word) {
        for (size_t i = 0; i < ELEMENTSOF(families); i++)
                if (streq(families[i].word, word))
                        return families + i;
        return NULL;
}

bool family_has_names(const char *word) {
        const Family *family = family_find(word);

        return family && family->places == PLACES_NAMES;
}
