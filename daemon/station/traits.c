/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"

/* What loaders have shown of themselves, for the next job that uses them. All of it is in memory; the rows are there for the next
 * start of the daemon. */

/* More than any station has loaders; beyond it nothing new is learned. */
#define LOADERS_MAX 4096

struct KnownLoader {
        char loader[65];
        LoaderTraits traits;
        KnownLoader *next;
};

static KnownLoader *find(const Station *s, const char *loader) {
        KnownLoader *k = s->known_loaders;

        while (k && !streq(k->loader, loader))
                k = k->next;
        return k;
}

static KnownLoader *find_or_new(Station *s, const char *loader) {
        KnownLoader *k = find(s, loader);

        if (k || s->n_known_loaders >= LOADERS_MAX)
                return k;
        k = calloc(1, sizeof(*k));
        if (!k)
                return NULL;
        snprintf(k->loader, sizeof(k->loader), "%s", loader);
        k->next = s->known_loaders;
        s->known_loaders = k;
        s->n_known_loaders++;
        return k;
}

void station_loader_traits(const Station *s, const char *loader, LoaderTraits *ret) {
        const KnownLoader *k = loader[0] ? find(s, loader) : NULL;

        if (k)
                *ret = k->traits;
        else
                ret->n = 0;
}

void traits_restore(Station *s, const StoreTrait *row) {
        KnownLoader *k = row->loader[0] ? find_or_new(s, row->loader) : NULL;

        if (k)
                traits_set(&k->traits, row->trait, row->value);
}

static void written(int error, void *userdata) {
        station_note_write(userdata, error);
}

void station_loader_learned(Station *s, const char *loader, const char *trait, const char *value) {
        StoreTrait row = {.usec = now_realtime()};
        KnownLoader *k = loader[0] ? find_or_new(s, loader) : NULL;

        if (!k || !traits_set(&k->traits, trait, value))
                return;
        snprintf(row.loader, sizeof(row.loader), "%s", loader);
        snprintf(row.trait, sizeof(row.trait), "%s", trait);
        snprintf(row.value, sizeof(row.value), "%s", value);
        if (store_put_trait(s->store, &row, written, s) >= 0)
                s->writes_pending++;
}

/* "HASH trait value", from a worker. */
void traits_fact(Job *job, const char *text) {
        char loader[65], trait[32], value[16];

        if (sscanf(text, "%64s %31s %15s", loader, trait, value) == 3)
                station_loader_learned(job->station, loader, trait, value);
}

void traits_free_all(Station *s) {
        for (KnownLoader *k = s->known_loaders, *next; k; k = next) {
                next = k->next;
                free(k);
        }
        s->known_loaders = NULL;
        s->n_known_loaders = 0;
}
