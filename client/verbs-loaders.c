/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "output.h"

/* The catalogue of loader pairs. */

static const Column columns[] = {
        { "HASH", "short", CELL_TEXT, false },          { "FAMILY", "family", CELL_TEXT, false },
        { "BOARD", "board", CELL_TEXT, false },         { "PRODUCT", "product", CELL_TEXT, false },
        { "STORAGE", "storage", CELL_TEXT, false },     { "SIGNATURE", "signature", CELL_TEXT, false },
        { "FDL1", "fdl1-address", CELL_HEX, false },    { "FDL2", "fdl2-address", CELL_HEX, false },
        { "WORKED", "worked", CELL_NUMBER, false },     { "FAILED", "failed", CELL_NUMBER, false },
        { "ON MODELS", "where", CELL_TEXT, false },     { "PACKAGE", "from", CELL_TEXT, false },
        { "", "hash", CELL_TEXT, true },                { "", "package-name", CELL_TEXT, true },
        { "", "package", CELL_TEXT, true },             { "", "packages", CELL_NUMBER, true },
        { "", "fdl1-size", CELL_NUMBER, true },         { "", "fdl2-size", CELL_NUMBER, true },
        { "", "models", CELL_TEXT, true },              { "LIMITS", "limits", CELL_TEXT, true },
};

/* "SIMPHONE 3:1": worked three times and failed once. */
static void describe_models(struct json_object *models, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; models && i < json_object_array_length(models) && used + 8 < size; i++) {
                struct json_object *m = json_object_array_get_idx(models, i);

                used += (size_t) snprintf(ret + used, size - used, "%s%s %" PRIu64 ":%" PRIu64, i > 0 ? ", " : "",
                                          json_object_get_string(json_object_array_get_idx(m, 0)), json_object_get_uint64(json_object_array_get_idx(m, 1)),
                                          json_object_get_uint64(json_object_array_get_idx(m, 2)));
        }
}

/* What the table shows; so many digits of the hash are enough for --loaders=. */
static void add_short(struct json_object *rows) {
        for (size_t i = 0; i < json_object_array_length(rows); i++) {
                struct json_object *row = json_object_array_get_idx(rows, i);
                bool removed = streq(json_text(row, "package"), "/");
                char text[300];

                snprintf(text, sizeof(text), "%.8s", json_text(row, "hash"));
                json_object_object_add(row, "short", json_object_new_string(text));
                describe_models(json_member(row, "models"), text, sizeof(text));
                json_object_object_add(row, "where", json_object_new_string(text));
                snprintf(text, sizeof(text), "%.255s%s", json_text(row, "package-name"), removed ? " (removed)" : "");
                json_object_object_add(row, "from", json_object_new_string(text));
        }
}

int verb_loaders(int argc _unused_, char **argv _unused_) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        struct json_object *rows = NULL;
        int code = 0, r;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "ListLoaders");
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        code = r < 0 ? client_report("loaders", NULL, r) : client_call_message(bus, m, &reply);
        if (code == 0 && message_to_json(reply, &rows) < 0)
                code = client_report("loaders", NULL, -EBADMSG);
        if (code == 0) {
                add_short(rows);
                table_print(columns, ELEMENTSOF(columns), rows, "loader pair");
        }
        json_object_put(rows);
        sd_bus_flush_close_unref(bus);
        return code;
}
