/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

/* Nodes: what is enumerated on a bus, from attach to detach. */

static const char *copy_or_null(const char *s) {
        return s ? copy_string(s) : NULL;
}

static void name_interfaces(Node *n) {
        unsigned wanted = n->usb.n_interfaces;

        n->n_interfaces = wanted < 1 ? 1 : wanted > INTERFACES_MAX ? INTERFACES_MAX : wanted;
        for (unsigned i = 0, number = 0; i < n->n_interfaces; i++) {
                bool last = i + 1 == n->n_interfaces;

                if (!last && number == n->usb.interface_number)
                        number++;
                n->interfaces[i].number = last ? n->usb.interface_number : (uint8_t) number++;
                n->interfaces[i].bulk = last && n->usb.device_class != 9;
        }
}

static void make_id_path(Node *n) {
        const char *ports = strchr(n->name, '-');

        if (ports)
                format_to(n->id_path, sizeof n->id_path, "%s-usb-0:%s", n->bus->controller->id_path, ports + 1);
}

Node *node_new(World *w, Bus *bus, const char *name, const char *parent_path, const SimUsb *usb, Speed speed) {
        Node *n = alloc0(sizeof *n);

        atomic_init(&n->refs, 1);
        n->world = w;
        n->bus = bus;
        n->speed = speed;
        n->usb = *usb;
        n->usb.manufacturer = copy_or_null(usb->manufacturer);
        n->usb.product_name = copy_or_null(usb->product_name);
        n->usb.serial = copy_or_null(usb->serial);
        n->configured = true;
        n->born_us = clock_ns() / 1000;
        format_to(n->name, sizeof n->name, "%s", name);
        format_to(n->path, sizeof n->path, "%s/%s", parent_path, name);
        make_id_path(n);
        name_interfaces(n);
        LIST_INIT(&n->files);
        TAILQ_INIT(&n->in);
        TAILQ_INIT(&n->out);
        TAILQ_INIT(&n->control);
        descriptors_build(n);
        return n;
}

Node *node_ref(Node *n) {
        atomic_fetch_add(&n->refs, 1);
        return n;
}

void node_unref(Node *n) {
        if (!n || atomic_fetch_sub(&n->refs, 1) > 1)
                return;
        free((char *) n->usb.manufacturer);
        free((char *) n->usb.product_name);
        free((char *) n->usb.serial);
        free(n);
}

/* As the kernel chooses: the next free one after the last given out, from 1 again after 127. */
bool node_number_take(Node *n) {
        Bus *b = n->bus;

        for (unsigned i = 0; i < DEVICES_PER_BUS; i++) {
                unsigned number = (b->next_number + i - 1) % DEVICES_PER_BUS + 1;

                if (b->used[number / 8] & 1u << number % 8)
                        continue;
                b->used[number / 8] |= (uint8_t) (1u << number % 8);
                b->next_number = number == DEVICES_PER_BUS ? 1 : number + 1;
                n->number = number;
                return true;
        }
        return false;
}

void node_publish(Node *n) {
        World *w = n->world;

        pthread_mutex_lock(&w->nodes_lock);
        n->ino = w->next_ino++;
        LIST_INSERT_HEAD(&w->nodes, node_ref(n), nodes);
        pthread_mutex_unlock(&w->nodes_lock);
}

void node_withdraw(Node *n) {
        World *w = n->world;

        pthread_mutex_lock(&w->nodes_lock);
        LIST_REMOVE(n, nodes);
        pthread_mutex_unlock(&w->nodes_lock);
        n->bus->used[n->number / 8] &= (uint8_t) ~(1u << n->number % 8);
        node_unref(n);
}

Node *node_by_ino(World *w, uint64_t ino) {
        Node *n;

        pthread_mutex_lock(&w->nodes_lock);
        LIST_FOREACH (n, &w->nodes, nodes)
                if (n->ino == ino)
                        break;
        if (n)
                node_ref(n);
        pthread_mutex_unlock(&w->nodes_lock);
        return n;
}

Node *node_by_number(World *w, unsigned bus, unsigned number) {
        Node *n;

        pthread_mutex_lock(&w->nodes_lock);
        LIST_FOREACH (n, &w->nodes, nodes)
                if (n->bus->number == bus && n->number == number)
                        break;
        if (n)
                node_ref(n);
        pthread_mutex_unlock(&w->nodes_lock);
        return n;
}
