/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "bus/getter.h"

/* A package is Ready once it was read and verified in this run of the daemon; what comes from its contents is empty
 * before. */

static int append_file(sd_bus_message *m, const PacFile *f) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sstb");
        if (r >= 0)
                r = append_string(m, f->id);
        if (r >= 0)
                r = append_string(m, f->file_name);
        if (r >= 0)
                r = sd_bus_message_append(m, "tb", f->size, (int) f->has_data);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_files(sd_bus_message *m, const Pac *pac) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sstb)");
        for (size_t i = 0; r >= 0 && pac && i < pac->n_files; i++)
                r = append_file(m, pac->files + i);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_warnings(sd_bus_message *m, const Pac *pac) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; r >= 0 && pac && i < pac->n_warnings; i++)
                r = append_string(m, pac->warnings[i]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

GETTER(get_digest, Package, p, append_string(reply, p->digest))
GETTER(get_name, Package, p, append_string(reply, p->name))
GETTER(get_product, Package, p, append_string(reply, p->pac ? p->pac->product : ""))
GETTER(get_version, Package, p, append_string(reply, p->pac ? p->pac->product_version : ""))
GETTER(get_alias, Package, p, append_string(reply, p->pac ? p->pac->alias : ""))
GETTER(get_family, Package, p, append_string(reply, p->pac ? pac_family(p->pac) : ""))
GETTER(get_files, Package, p, append_files(reply, p->pac))
GETTER(get_size, Package, p, sd_bus_message_append(reply, "t", p->size))
GETTER(get_imported, Package, p, sd_bus_message_append(reply, "t", p->imported_usec))
GETTER(get_ready, Package, p, sd_bus_message_append(reply, "b", (int) (p->pac != NULL)))
GETTER(get_problem, Package, p, append_string(reply, p->problem))
GETTER(get_warnings, Package, p, append_warnings(reply, p->pac))

const sd_bus_vtable package_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("Remove", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        CONSTANT("Digest", "s", get_digest),
        CONSTANT("Name", "s", get_name),
        PROPERTY("Product", "s", get_product),
        PROPERTY("Version", "s", get_version),
        PROPERTY("Alias", "s", get_alias),
        PROPERTY("Family", "s", get_family),
        PROPERTY("Files", "a(sstb)", get_files),
        CONSTANT("Size", "t", get_size),
        CONSTANT("Imported", "t", get_imported),
        PROPERTY("Ready", "b", get_ready),
        PROPERTY("Problem", "s", get_problem),
        PROPERTY("Warnings", "as", get_warnings),
        SD_BUS_VTABLE_END,
};

int package_method_remove(Call *c) {
        if (options_none(c->message, c->e) < 0)
                return -1;
        if (package_remove(c->object->object, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}
