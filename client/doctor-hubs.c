/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macro.h"
#include "doctor.h"

/* Hubs and controllers by name: how fast they link, how much hangs on them, and how near a controller is to its limits. */

#define SYSFS "/sys/bus/usb/devices"
/* Many xHCI controllers can serve 96 endpoints, some no more than 64. Each device takes one for control and those of its interfaces. */
#define ENDPOINTS_MAX 96
#define ENDPOINTS_MANY 60
#define CONTROLLERS_MAX 64

static const char *attribute(const char *device, const char *name, char *ret, size_t size) {
        char path[600];

        snprintf(path, sizeof(path), SYSFS "/%.200s/%.200s", device, name);
        return doctor_read(path, ret, size);
}

static bool is_hub(const char *device) {
        char class[16];

        return streq(attribute(device, "bDeviceClass", class, sizeof(class)), "09");
}

/* "1-2.3" hangs on "1-2", "1-2" on "usb1". */
static void parent_of(const char *device, char ret[static 64]) {
        const char *dot = strrchr(device, '.');

        if (dot)
                snprintf(ret, 64, "%.*s", (int) MIN((size_t) (dot - device), (size_t) 63), device);
        else
                snprintf(ret, 64, "usb%d", atoi(device));
}

const char *doctor_hub_name(const char *device, char *ret, size_t size) {
        char hub[64], product[128], speed[16];

        parent_of(device, hub);
        attribute(hub, "product", product, sizeof(product));
        attribute(hub, "speed", speed, sizeof(speed));
        snprintf(ret, size, "%s%s%s%s, %s Mbit/s", hub, product[0] ? " (" : "", product, product[0] ? ")" : "", speed[0] ? speed : "?");
        return ret;
}

static unsigned count_below(const char *hub, unsigned *ret_download) {
        DIR *d = opendir(SYSFS);
        unsigned n = 0;

        *ret_download = 0;
        for (struct dirent *i; d && (i = readdir(d));) {
                char parent[64], vendor[16], product[16];
                if (i->d_name[0] == '.' || strchr(i->d_name, ':') || strncmp(i->d_name, "usb", 3) == 0)
                        continue;
                parent_of(i->d_name, parent);
                if (!streq(parent, hub))
                        continue;
                n++;
                *ret_download += streq(attribute(i->d_name, "idVendor", vendor, sizeof(vendor)), "1782") &&
                                 streq(attribute(i->d_name, "idProduct", product, sizeof(product)), "4d00");
        }
        if (d)
                closedir(d);
        return n;
}

static void check_hub(struct json_object *findings, const char *hub) {
        char product[128], speed[16];
        unsigned download, n = count_below(hub, &download);

        attribute(hub, "product", product, sizeof(product));
        attribute(hub, "speed", speed, sizeof(speed));
        if (n == 0)
                return;
        if (atoi(speed) > 0 && atoi(speed) < 480)
                doctor_find(findings, "usb-hub", download > 0 ? "bad" : "note", "lsusb -t",
                            "The hub %s (%s) links at %s Mbit/s only, and so does all that hangs on it (%u devices, %u in download mode). Plug them in elsewhere, or "
                            "replace it.",
                            hub, product[0] ? product : "no name", speed, n, download);
        else if (download > 0)
                doctor_find(findings, "usb-hub", "good", "", "The hub %s (%s) links at %s Mbit/s; %u devices hang on it, %u of them in download mode.", hub,
                            product[0] ? product : "no name", speed[0] ? speed : "?", n, download);
}

/* ---- controllers ---- */

typedef struct Host {
        char name[64];      /* the bus address of the controller, or of the bus where it has none */
        unsigned devices, endpoints;
} Host;

static unsigned endpoints_of(const char *device) {
        char prefix[220];
        DIR *d = opendir(SYSFS);
        unsigned n = 1;

        snprintf(prefix, sizeof(prefix), "%.200s:", device);
        for (struct dirent *i; d && (i = readdir(d));) {
                char value[16];
                if (strncmp(i->d_name, prefix, strlen(prefix)) == 0)
                        n += (unsigned) strtoul(attribute(i->d_name, "bNumEndpoints", value, sizeof(value)), NULL, 16);
        }
        if (d)
                closedir(d);
        return n;
}

/* Both halves of a controller, USB 2 and 3, have the same serial: its address. */
static Host *host_of(Host *hosts, size_t *n, const char *device) {
        char root[16], serial[64], bus[16];

        snprintf(root, sizeof(root), "usb%d", atoi(attribute(device, "busnum", bus, sizeof(bus))));
        attribute(root, "serial", serial, sizeof(serial));
        for (size_t i = 0; i < *n; i++)
                if (streq(hosts[i].name, serial[0] ? serial : root))
                        return hosts + i;
        if (*n == CONTROLLERS_MAX)
                return NULL;
        snprintf(hosts[*n].name, sizeof(hosts[*n].name), "%s", serial[0] ? serial : root);
        return hosts + (*n)++;
}

static void tell_host(struct json_object *findings, const Host *h) {
        if (h->endpoints >= ENDPOINTS_MANY)
                doctor_find(findings, "usb-controller", h->endpoints >= ENDPOINTS_MAX ? "bad" : "note", "lsusb -t",
                            "The USB controller %s serves %u devices with %u endpoints; many controllers end at %u, some at 64, and refuse further devices then. Spread them "
                            "over controllers.",
                            h->name, h->devices, h->endpoints, (unsigned) ENDPOINTS_MAX);
        else
                doctor_find(findings, "usb-controller", "good", "", "The USB controller %s serves %u devices with %u endpoints.", h->name, h->devices, h->endpoints);
}

void doctor_examine_hubs(struct json_object *findings) {
        Host hosts[CONTROLLERS_MAX] = {};
        size_t n = 0;
        DIR *d = opendir(SYSFS);

        for (struct dirent *i; d && (i = readdir(d));) {
                Host *h;
                if (i->d_name[0] == '.' || strchr(i->d_name, ':'))
                        continue;
                if (is_hub(i->d_name))
                        check_hub(findings, i->d_name);
                h = host_of(hosts, &n, i->d_name);
                if (!h)
                        continue;
                h->devices++;
                h->endpoints += endpoints_of(i->d_name);
        }
        if (d)
                closedir(d);
        for (size_t i = 0; i < n; i++)
                tell_host(findings, hosts + i);
}
