/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <errno.h>

/* Descriptors, and the requests on endpoint 0. */

enum { DT_DEVICE = 1, DT_CONFIG = 2, DT_STRING = 3, DT_INTERFACE = 4, DT_ENDPOINT = 5, DT_COMPANION = 0x30 };

static void add(Node *n, const uint8_t *bytes, size_t size) {
        if (n->descriptors_size + size > sizeof n->descriptors)
                quit(1, "The descriptors of %s are too long.", n->name);
        memcpy(n->descriptors + n->descriptors_size, bytes, size);
        n->descriptors_size += size;
}

static void add_endpoint(Node *n, uint8_t address, uint8_t attributes, unsigned max_packet, uint8_t interval) {
        uint8_t d[7] = { 7,       DT_ENDPOINT, address, attributes, (uint8_t) max_packet, (uint8_t) (max_packet >> 8),
                         interval };
        uint8_t companion[6] = { 6, DT_COMPANION, 0, 0, 0, 0 };

        add(n, d, sizeof d);
        if (n->speed == SPEED_SUPER)
                add(n, companion, sizeof companion);
}

static void add_interface(Node *n, const Interface *i) {
        uint8_t class = n->is_hub || n->usb.device_class == 9 ? 9 : 0xff;
        uint8_t d[9] = { 9, DT_INTERFACE, i->number, 0, i->bulk ? 2 : class == 9 ? 1 : 0, class, 0, 0, 0 };

        add(n, d, sizeof d);
        if (i->bulk) {
                add_endpoint(n, n->usb.ep_in, 2, node_max_packet(n), 0);
                add_endpoint(n, n->usb.ep_out, 2, node_max_packet(n), 0);
        } else if (class == 9)
                add_endpoint(n, 0x81, 3, 4, 12);
}

void descriptors_build(Node *n) {
        const SimUsb *u = &n->usb;
        unsigned usb = n->speed == SPEED_SUPER ? 0x0300 : 0x0200;
        uint8_t sub = u->device_class == 0xff ? 0xff : 0;
        uint8_t d[18] = { 18,
                          DT_DEVICE,
                          (uint8_t) usb,
                          (uint8_t) (usb >> 8),
                          u->device_class,
                          sub,
                          0,
                          n->speed == SPEED_SUPER ? 9 : 64,
                          (uint8_t) u->vendor,
                          (uint8_t) (u->vendor >> 8),
                          (uint8_t) u->product,
                          (uint8_t) (u->product >> 8),
                          (uint8_t) u->bcd_device,
                          (uint8_t) (u->bcd_device >> 8),
                          u->manufacturer ? 1 : 0,
                          u->product_name ? 2 : 0,
                          u->serial ? 3 : 0,
                          1 };
        uint8_t c[9] = { 9, DT_CONFIG, 0, 0, (uint8_t) n->n_interfaces, 1, 0, 0xc0, n->speed == SPEED_SUPER ? 12 : 50 };

        n->descriptors_size = 0;
        add(n, d, sizeof d);
        add(n, c, sizeof c);
        for (unsigned i = 0; i < n->n_interfaces; i++)
                add_interface(n, &n->interfaces[i]);
        size_t total = n->descriptors_size - sizeof d;
        n->descriptors[18 + 2] = (uint8_t) total;
        n->descriptors[18 + 3] = (uint8_t) (total >> 8);
}

static size_t string_descriptor(const Node *n, unsigned index, uint8_t out[256]) {
        const char *const strings[] = { NULL, n->usb.manufacturer, n->usb.product_name, n->usb.serial };
        size_t size = 2;

        if (index == 0) {
                memcpy(out, (const uint8_t[]){ 4, DT_STRING, 0x09, 0x04 }, 4);
                return n->usb.manufacturer || n->usb.product_name || n->usb.serial ? 4 : 0;
        }
        if (index >= COUNT(strings) || !strings[index])
                return 0;
        for (const char *s = strings[index]; *s && size < 254; s++) {
                out[size++] = (uint8_t) *s;
                out[size++] = 0;
        }
        out[0] = (uint8_t) size;
        out[1] = DT_STRING;
        return size;
}

static int get_descriptor(const Node *n, uint16_t value, uint8_t *data, size_t size) {
        uint8_t string[256];
        const uint8_t *from = string;
        size_t got = 0;

        if (value >> 8 == DT_DEVICE) {
                from = n->descriptors;
                got = 18;
        } else if (value >> 8 == DT_CONFIG && (value & 0xff) == 0) {
                from = n->descriptors + 18;
                got = n->descriptors_size - 18;
        } else if (value >> 8 == DT_STRING)
                got = string_descriptor(n, value & 0xff, string);
        if (got == 0)
                return -EPIPE;
        got = MIN_OF(got, size);
        memcpy(data, from, got);
        return (int) got;
}

static int answer(uint8_t *data, size_t size, const uint8_t *bytes, size_t n) {
        n = MIN_OF(n, size);
        memcpy(data, bytes, n);
        return (int) n;
}

static int class_request(Node *n, uint8_t request, uint16_t value) {
        Unit *u = n->unit;

        if (request != 0x22 || !u || !n->runs_model || u->o.stall_line_state)
                return -EPIPE;
        sim_line_state(u->model, value);
        return 0;
}

static void clear_halt(Node *n, uint8_t ep) {
        if (ep == n->usb.ep_in)
                n->halted_in = false;
        if (ep == n->usb.ep_out)
                n->halted_out = false;
}

/* What the host's own controller does for it (clearing a halt) is not asked of it. */
bool control_is_deaf(const Node *n, const uint8_t setup[8]) {
        return n->unit && n->runs_model && !sim_alive(n->unit->model) && !(setup[0] == 0x02 && setup[1] == 0x01);
}

int control_request(Node *n, const uint8_t setup[8], uint8_t *data, size_t size) {
        static const uint8_t zeros[2];
        uint16_t value = (uint16_t) (setup[2] | setup[3] << 8);
        uint8_t one = n->configured;

        switch (setup[0] << 8 | setup[1]) {
        case 0x2122:
                return class_request(n, setup[1], value);
        case 0x8006: /* GET_DESCRIPTOR */
                return get_descriptor(n, value, data, size);
        case 0x8008: /* GET_CONFIGURATION */
                return answer(data, size, &one, 1);
        case 0x8000: /* GET_STATUS of the device: self powered */
                return answer(data, size, (const uint8_t[]){ 1, 0 }, 2);
        case 0x8100:
        case 0x8200:
                return answer(data, size, zeros, 2);
        case 0x810a: /* GET_INTERFACE */
                return answer(data, size, zeros, 1);
        case 0x0009: /* SET_CONFIGURATION */
        case 0x010b: /* SET_INTERFACE */
                return value <= 1 ? 0 : -EPIPE;
        case 0x0201: /* CLEAR_FEATURE(ENDPOINT_HALT) */
                clear_halt(n, setup[4]);
                return 0;
        default:
                return -EPIPE;
        }
}
