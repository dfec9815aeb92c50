/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "station/loaders.h"

/* a(stts): model, worked, failed, code of the last failure. */
static int append_models(sd_bus_message *m, const StoreLoaderUse *uses, size_t n, const char *hash) {
        int r = sd_bus_message_open_container(m, 'e', "sv");

        if (r >= 0)
                r = sd_bus_message_append(m, "s", "models");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(stts)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(stts)");
        for (size_t i = 0; r >= 0 && i < n; i++)
                if (streq(uses[i].hash, hash))
                        r = sd_bus_message_append(m, "(stts)", uses[i].model, uses[i].worked, uses[i].failed, uses[i].last_code);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_texts(sd_bus_message *m, const LoaderPair *p) {
        const StoreLoaders *row = &p->row;
        const struct {
                const char *key, *value;
        } texts[] = {
                {"hash", row->hash},       {"family", row->family},       {"product", row->product},           {"board", row->board},
                {"storage", row->storage}, {"signature", row->signature}, {"package-name", p->package ? p->package->name : row->package_name},
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(texts); i++)
                r = append_pair_string(m, texts[i].key, texts[i].value);
        return r;
}

static int append_numbers(sd_bus_message *m, const LoaderPair *p) {
        const StoreLoaders *row = &p->row;
        bool second = row->fdl2_address != U64_UNKNOWN;
        int r = append_pair_u64(m, "packages", p->n_packages);

        if (r >= 0)
                r = append_pair_u64(m, "fdl1-address", row->fdl1_address);
        if (r >= 0)
                r = append_pair_u64(m, "fdl1-size", row->fdl1_size);
        if (r >= 0 && second)
                r = append_pair_u64(m, "fdl2-address", row->fdl2_address);
        if (r >= 0 && second)
                r = append_pair_u64(m, "fdl2-size", row->fdl2_size);
        if (r >= 0)
                r = append_pair_u64(m, "worked", p->worked);
        return r < 0 ? r : append_pair_u64(m, "failed", p->failed);
}

static int append_limits(Call *c, sd_bus_message *m, const LoaderPair *p) {
        char limits[400];

        station_loader_limits(c->bus->station, p, limits, sizeof(limits));
        return append_pair_string(m, "limits", limits);
}

static int append_loaders(Call *c, sd_bus_message *m, const LoaderPair *p, const StoreLoaderUse *uses, size_t n_uses) {
        /* After a start it is there before it was checked. */
        const Package *package = p->package ? p->package : station_find_package(c->bus->station, p->row.digest);
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0)
                r = append_texts(m, p);
        if (r >= 0)
                r = append_pair_object(m, "package", OBJECT_PACKAGE, package);
        if (r >= 0)
                r = append_numbers(m, p);
        if (r >= 0)
                r = append_limits(c, m, p);
        if (r >= 0)
                r = append_models(m, uses, n_uses, p->row.hash);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int manager_list_loaders(Call *c) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const StoreLoaderUse *uses;
        size_t n_uses;
        int r;

        if (options_none(c->message, c->e) < 0)
                return -1;
        uses = station_loader_uses(c->bus->station, &n_uses);
        r = new_reply(c->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (const LoaderPair *p = station_loaders(c->bus->station); r >= 0 && p; p = p->next)
                r = append_loaders(c, reply, p, uses, n_uses);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}
