/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "board.h"

#include <stdio.h>

#include "bus-client.h"
#include "common/macro.h"
#include "output.h"

/* ---- the line about the batches ---- */

static const char *loud(const char *state) {
        return streq(state, "paused") ? "PAUSED" : state;
}

void batch_banner(struct json_object *objects, char *ret, size_t size) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Batch"));
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *b = json_object_array_get_idx(list, i);
                const char *state = json_text(b, "State"), *reason = json_text(b, "Reason"), *number = strrchr(json_text(b, "path"), '_');
                char clean[600];

                if (streq(state, "stopped") || streq(state, "complete") || used >= size)
                        continue;
                used += (size_t) snprintf(ret + used, size - used, "%sbatch %s %s%s%s%s", used > 0 ? "; " : "", number ? number + 1 : "?",
                                          loud(state), streq(json_text(b, "FirstArticle"), "confirm") ? ", first article to be confirmed" : "",
                                          reason[0] ? ": " : "", safe_text(reason, clean, sizeof(clean)));
        }
        json_object_put(list);
}
