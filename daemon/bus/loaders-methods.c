/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "station/loaders.h"

static int append_loaders(sd_bus_message *m, const LoaderPair *p) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0)
                r = append_pair_string(m, "hash", p->hash);
        if (r >= 0)
                r = append_pair_string(m, "family", p->family);
        if (r >= 0)
                r = append_pair_string(m, "product", p->package->pac->product);
        if (r >= 0)
                r = append_pair_string(m, "board", p->package->pac->alias);
        if (r >= 0)
                r = append_pair_string(m, "storage", p->storage);
        if (r >= 0)
                r = append_pair_object(m, "package", OBJECT_PACKAGE, p->package);
        if (r >= 0)
                r = append_pair_string(m, "package-name", p->package->name);
        if (r >= 0)
                r = append_pair_u64(m, "packages", p->n_packages);
        if (r >= 0)
                r = append_pair_u64(m, "fdl1-address", p->fdl1_address);
        if (r >= 0)
                r = append_pair_u64(m, "fdl1-size", p->fdl1_size);
        if (r >= 0 && p->fdl2_address != U64_UNKNOWN)
                r = append_pair_u64(m, "fdl2-address", p->fdl2_address);
        if (r >= 0 && p->fdl2_address != U64_UNKNOWN)
                r = append_pair_u64(m, "fdl2-size", p->fdl2_size);
        if (r >= 0)
                r = append_pair_u64(m, "worked", p->worked);
        if (r >= 0)
                r = append_pair_u64(m, "failed", p->failed);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int manager_list_loaders(Call *c) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_free_ LoaderPair *list = NULL;
        size_t n = 0;
        int r;

        if (options_none(c->message, c->e) < 0)
                return -1;
        r = station_loaders(c->bus->station, &list, &n);
        if (r >= 0)
                r = new_reply(c->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_loaders(reply, list + i);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}
