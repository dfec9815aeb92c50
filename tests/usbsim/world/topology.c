/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

/* Controllers, root hubs, hubs, and a place for every unit. Bus 2k+1 is the USB2 half of controller k, bus 2k+2 its
 * USB3 half; a socket is named by its USB2 half. */

static const SimUsb root_usb2 = { .vendor = 0x1d6b,
                                  .product = 2,
                                  .bcd_device = 0x0601,
                                  .device_class = 9,
                                  .n_interfaces = 1,
                                  .max_packet = 512,
                                  .manufacturer = "usbsim",
                                  .product_name = "xHCI Host Controller" };
static const SimUsb root_usb3 = { .vendor = 0x1d6b,
                                  .product = 3,
                                  .bcd_device = 0x0601,
                                  .device_class = 9,
                                  .n_interfaces = 1,
                                  .max_packet = 1024,
                                  .manufacturer = "usbsim",
                                  .product_name = "xHCI Host Controller" };
static const SimUsb hub_usb2 = { .vendor = 0x05e3,
                                 .product = 0x0610,
                                 .bcd_device = 0x0654,
                                 .device_class = 9,
                                 .n_interfaces = 1,
                                 .max_packet = 512,
                                 .product_name = "USB2.0 Hub" };
static const SimUsb hub_usb3 = { .vendor = 0x05e3,
                                 .product = 0x0625,
                                 .bcd_device = 0x0654,
                                 .device_class = 9,
                                 .n_interfaces = 1,
                                 .max_packet = 1024,
                                 .product_name = "USB3.1 Hub" };

static pthread_mutex_t hub_lock = PTHREAD_MUTEX_INITIALIZER; /* hubs do nothing that could contend */

/* ---- names ---- */

/* "3-1.2": bus and chain of ports. Returns the number of ports, 0 for what is no port. */
static unsigned parse_port(const char *s, unsigned *ret_bus, unsigned chain[DEPTH_MAX]) {
        char *end;
        unsigned depth = 0;

        if (*s < '1' || *s > '9')
                return 0;
        *ret_bus = (unsigned) strtoul(s, &end, 10);
        if (*end != '-')
                return 0;
        do {
                s = end + 1;
                if (*s < '1' || *s > '9' || depth == DEPTH_MAX)
                        return 0;
                chain[depth++] = (unsigned) strtoul(s, &end, 10);
        } while (*end == '.');
        return *end ? 0 : depth;
}

static void print_port(unsigned bus, const unsigned *chain, unsigned depth, char *ret, size_t size) {
        int n = format_to(ret, size, "%u-%u", bus, chain[0]);

        for (unsigned i = 1; i < depth; i++)
                n += format_to(ret + n, size - (size_t) n, ".%u", chain[i]);
}

static Node *hub_by_name(const Bus *b, const char *name) {
        for (unsigned i = 0; i < b->n_hubs; i++)
                if (strcmp(b->hubs[i]->name, name) == 0)
                        return b->hubs[i];
        return NULL;
}

/* ---- hubs ---- */

static Node *add_hub(World *w, Bus *b, const char *name, Node *parent, const char *parent_path, const SimUsb *usb) {
        if (b->n_hubs == COUNT(b->hubs))
                return NULL;
        bool full = w->full_speed_hub && strcmp(name, w->full_speed_hub) == 0;
        Node *n = node_new(w, b, name, parent_path, usb, b->super ? SPEED_SUPER : full ? SPEED_FULL : SPEED_HIGH);
        n->lock = &hub_lock;
        n->is_hub = true;
        n->hub_ports = parent ? HUB_PORTS : w->root_ports;
        snprintf(n->interfaces[0].driver, sizeof n->interfaces[0].driver, "hub");
        if (!w->front->add_hub(n)) {
                node_unref(n);
                return NULL;
        }
        b->hubs[b->n_hubs++] = n;
        return n;
}

static Node *get_hub(World *w, Bus *b, const unsigned *chain, unsigned depth) {
        char name[40];

        if (depth == 0)
                return b->root;
        print_port(b->number, chain, depth, name, sizeof name);
        Node *n = hub_by_name(b, name);
        if (n)
                return n;
        Node *parent = get_hub(w, b, chain, depth - 1);
        if (!parent || chain[depth - 1] > parent->hub_ports)
                return NULL;
        return add_hub(w, b, name, parent, parent->path, b->super ? &hub_usb3 : &hub_usb2);
}

static bool make_hubs(World *w, Controller *c, const unsigned *chain, unsigned depth, bool twin) {
        for (unsigned d = 1; d <= depth; d++) {
                Node *usb2 = get_hub(w, c->usb2, chain, d);

                if (!usb2)
                        return false;
                if (!twin)
                        continue;
                Node *usb3 = get_hub(w, c->usb3, chain, d);
                if (!usb3)
                        return false;
                w->front->peer_hubs(usb2, usb3);
        }
        return true;
}

/* ---- places ---- */

static Controller *bus_controller(World *w, unsigned bus) {
        return bus >= 1 && bus <= w->n_buses ? w->buses[bus - 1].controller : NULL;
}

/* Is the socket, or a place above or below it, somebody else's? */
static bool place_taken(World *w, const char *port, const Unit *except) {
        size_t n = strlen(port);

        for (unsigned i = 0; i < w->n_units; i++) {
                const char *other = w->units[i] && w->units[i] != except ? w->units[i]->o.port : "";
                size_t m = strlen(other), k = MIN_OF(n, m);

                if (m > 0 && strncmp(port, other, k) == 0 && (n == m || (n > m ? port : other)[k] == '.'))
                        return true;
        }
        return false;
}

Node *unit_hub(const Unit *u, char *ret_name, size_t size) {
        unsigned bus, chain[DEPTH_MAX], depth = parse_port(u->o.port, &bus, chain);
        Controller *c = depth > 0 ? bus_controller(u->world, bus) : NULL;
        char hub[40];

        if (!c)
                return NULL;
        Bus *b = u->o.speed == SPEED_SUPER ? c->usb3 : c->usb2;
        print_port(b->number, chain, depth, ret_name, size);
        if (depth == 1)
                return b->root;
        print_port(b->number, chain, depth - 1, hub, sizeof hub);
        return hub_by_name(b, hub);
}

bool unit_place(Unit *u, const char *port, char *err, size_t err_size) {
        World *w = u->world;
        unsigned bus, chain[DEPTH_MAX], depth = parse_port(port, &bus, chain);
        Controller *c = depth > 0 ? bus_controller(w, bus) : NULL;
        bool super = bus % 2 == 0 || u->o.speed == SPEED_SUPER;
        char name[40];

        if (!c) {
                snprintf(err, err_size, "There is no port %s: the form is bus-port[.port...], buses are 1 to %u.", port,
                         w->n_buses);
                return false;
        }
        print_port(c->usb2->number, chain, depth, name, sizeof name);
        if (place_taken(w, name, u) || hub_by_name(c->usb2, name)) {
                snprintf(err, err_size, "Port %s is taken.", port);
                return false;
        }
        if (depth > 1 && !w->front->has_hubs) {
                snprintf(err, err_size, "Port %s cannot be: there are no hubs here.", port);
                return false;
        }
        if (chain[depth - 1] > (depth == 1 ? w->root_ports : HUB_PORTS) ||
            !make_hubs(w, c, chain, depth - 1, super || u->o.twin)) {
                snprintf(err, err_size, "Port %s cannot be: a root hub has %u ports, a hub %d, a bus %d devices.", port,
                         w->root_ports, HUB_PORTS, DEVICES_PER_BUS);
                return false;
        }
        Node *hub = get_hub(w, c->usb2, chain, depth - 1);
        pthread_mutex_lock(&u->lock);
        if (hub && hub->speed == SPEED_FULL)
                u->o.speed = SPEED_FULL;
        else if (super)
                u->o.speed = SPEED_SUPER;
        else if (u->o.speed == SPEED_SUPER)
                u->o.speed = SPEED_HIGH;
        memcpy(u->o.port, name, sizeof name);
        pthread_mutex_unlock(&u->lock);
        return true;
}

/* The first free socket of a controller: on the root hub where all fit there, else behind hubs. */
static bool find_place(World *w, Controller *c, bool hubs, char *ret, size_t size) {
        for (unsigned p = 1; p <= w->root_ports; p++)
                for (unsigned q = 1; q <= (hubs ? HUB_PORTS : 1); q++) {
                        unsigned chain[2] = { p, q };

                        print_port(c->usb2->number, chain, hubs ? 2 : 1, ret, size);
                        if (!place_taken(w, ret, NULL) && !hub_by_name(c->usb2, ret))
                                return true;
                }
        return false;
}

static void place_units(World *w) {
        unsigned share = (w->n_units + w->n_controllers - 1) / w->n_controllers;
        char err[256], port[40];

        for (unsigned i = 0; i < w->n_units; i++) {
                Unit *u = w->units[i];

                if (!u->o.port[0])
                        continue;
                memcpy(port, u->o.port, sizeof port);
                u->o.port[0] = 0;
                if (!unit_place(u, port, err, sizeof err))
                        quit(2, "Device %u: %s", i, err);
        }
        for (unsigned i = 0; i < w->n_units; i++) {
                Unit *u = w->units[i];

                if (u->o.port[0])
                        continue;
                if (!find_place(w, &w->controllers[i / share], share > 8 && w->front->has_hubs, port, sizeof port))
                        quit(2, "Device %u: no socket is free; use more --controllers.", i);
                if (!unit_place(u, port, err, sizeof err))
                        quit(2, "Device %u: %s", i, err);
        }
}

/* ---- controllers ---- */

static void name_controller(Controller *c, bool platform) {
        if (platform) {
                format_to(c->path, sizeof c->path, "/devices/platform/xhci-hcd.%u.auto", c->index);
                format_to(c->id_path, sizeof c->id_path, "platform-xhci-hcd.%u.auto", c->index);
        } else if (c->index == 0) {
                format_to(c->path, sizeof c->path, "/devices/pci0000:00/0000:00:14.0");
                format_to(c->id_path, sizeof c->id_path, "pci-0000:00:14.0");
        } else {
                format_to(c->path, sizeof c->path, "/devices/pci0000:00/0000:00:1c.%u/0000:%02x:00.0",
                          (c->index - 1) % 8, c->index + 1);
                format_to(c->id_path, sizeof c->id_path, "pci-0000:%02x:00.0", c->index + 1);
        }
}

static Bus *add_bus(World *w, Controller *c, bool super) {
        Bus *b = &w->buses[w->n_buses++];
        char name[16];

        *b = (Bus){ .number = w->n_buses, .controller = c, .super = super, .next_number = 1 };
        format_to(name, sizeof name, "usb%u", b->number);
        b->root = add_hub(w, b, name, NULL, c->path, super ? &root_usb3 : &root_usb2);
        return b;
}

/* The highest bus that a port on the command line speaks of. */
static unsigned buses_named(const World *w) {
        unsigned bus, chain[DEPTH_MAX], max = 0;

        for (unsigned i = 0; i < w->n_units; i++)
                if (parse_port(w->units[i]->o.port, &bus, chain))
                        max = MAX_OF(max, bus);
        for (unsigned i = 0; i < w->settings.n_hubs; i++)
                if (sscanf(w->settings.hubs[i], "%u-", &bus) == 1)
                        max = MAX_OF(max, bus);
        return max;
}

void topology_build(World *w) {
        unsigned wanted = w->settings.controllers, bus, chain[DEPTH_MAX];

        if (wanted == 0)
                wanted = MAX_OF((w->n_units + 15) / 16, (buses_named(w) + 1) / 2);
        w->n_controllers = MIN_OF(MAX_OF(wanted, 1u), (unsigned) COUNT(w->controllers));
        for (unsigned i = 0; i < w->n_controllers; i++) {
                Controller *c = &w->controllers[i];

                c->index = i;
                pthread_mutex_init(&c->rate_lock, NULL);
                name_controller(c, w->settings.platform);
                w->front->add_controller(c);
                c->usb2 = add_bus(w, c, false);
                c->usb3 = add_bus(w, c, true);
                w->front->peer_hubs(c->usb2->root, c->usb3->root);
        }
        for (unsigned i = 0; i < w->settings.n_hubs; i++) {
                char port[40];
                bool full = strchr(w->settings.hubs[i], ',') && strcmp(strchr(w->settings.hubs[i], ','), ",full") == 0;
                snprintf(port, sizeof port, "%.*s", full ? (int) strcspn(w->settings.hubs[i], ",") : 39, w->settings.hubs[i]);
                unsigned depth = parse_port(port, &bus, chain);
                Controller *c = depth > 0 ? bus_controller(w, bus) : NULL;

                w->full_speed_hub = full ? port : NULL;
                bool made = c && make_hubs(w, c, chain, depth, !full);
                w->full_speed_hub = NULL;
                if (!made)
                        quit(2, "--hub %s: there is no such port.", w->settings.hubs[i]);
        }
        place_units(w);
}
