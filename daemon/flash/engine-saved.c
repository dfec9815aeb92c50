/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine.h"

#include <stdlib.h>

void engine_saved_free(EngineSaved *saved, size_t n) {
        for (size_t i = 0; saved && i < n; i++)
                free(saved[i].data);
        free(saved);
}
