/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "bus/bus-internal.h"

/* Calls that wait for an answer of the store. */

#define ASKED_MAX 32

StoreCall *store_call_free(StoreCall *h) {
        Bus *b = h->bus;

        if (b) {
                for (StoreCall **p = &b->store_calls; *p; p = &(*p)->next)
                        if (*p == h) {
                                *p = h->next;
                                break;
                        }
                b->n_store_calls--;
        }
        sd_bus_message_unref(h->message);
        free(h);
        return NULL;
}

void store_calls_free(Bus *b) {
        for (StoreCall *h = b->store_calls, *next; h; h = next) {
                next = h->next;
                h->bus = NULL;
                h->message = sd_bus_message_unref(h->message);
        }
        b->store_calls = NULL;
        b->n_store_calls = 0;
}

StoreCall *store_call_new(Call *c) {
        StoreCall *h;

        if (c->bus->n_store_calls >= ASKED_MAX) {
                call_error_set(c->e, BUS_ERROR_QUOTA, "Too many questions about records wait for an answer. Try again later.");
                return NULL;
        }
        h = calloc(1, sizeof(*h));
        if (!h) {
                call_error_set(c->e, BUS_ERROR_HOST, "No memory left for the question.");
                return NULL;
        }
        *h = (StoreCall){.bus = c->bus, .message = sd_bus_message_ref(c->message), .next = c->bus->store_calls};
        c->bus->store_calls = h;
        c->bus->n_store_calls++;
        return h;
}

int store_call_refuse(StoreCall *h, const char *what, CallError *e, int error) {
        store_call_free(h);
        return call_error_set(e, BUS_ERROR_STORE, "%s: %s.", what, strerror(-error));
}

void store_call_fail(StoreCall *h, const char *what, int error) {
        CallError e;

        call_error_set(&e, BUS_ERROR_STORE, "%s: %s.", what, strerror(-error));
        (void) reply_call_error(h->message, &e);
}
