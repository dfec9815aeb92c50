/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

/* The made-up /sys (a tmpfs) and the database of udev. Paths are those of a real kernel, links are relative. */

/* Makes /sys<dir>/<name> a relative link to /sys<target>. */
static void link_to(const char *dir, const char *name, const char *target) {
        char full[512], to[768];
        size_t n = 0;

        format_to(full, sizeof full, "/sys%s", dir);
        for (const char *p = dir; *p; p++)
                if (*p == '/')
                        n += (size_t) format_to(to + n, sizeof to - n, "../");
        format_to(to + n, sizeof to - n, "%s", target + 1);
        if (make_link(to, full, name) < 0)
                complain("%s/%s: %m", full, name);
}

static void unlink_in(const char *dir, const char *name) {
        char full[512];

        format_to(full, sizeof full, "/sys%s/%s", dir, name);
        unlink(full);
}

void sysfs_add_controller(const Controller *c) {
        char full[512], parent[512];
        bool pci = strncmp(c->path, "/devices/pci", 12) == 0;
        const char *name = strrchr(c->path, '/') + 1;

        format_to(full, sizeof full, "/sys%s", c->path);
        if (make_dirs(full) < 0)
                quit(1, "%s: %m", full);
        link_to(c->path, "subsystem", pci ? "/bus/pci" : "/bus/platform");
        link_to(pci ? "/bus/pci/devices" : "/bus/platform/devices", name, c->path);
        if (!pci) {
                put_file(full, "uevent", "MODALIAS=platform:xhci-hcd\n");
                return;
        }
        put_file(full, "uevent", "DRIVER=xhci_hcd\nPCI_CLASS=C0330\nPCI_ID=8086:A12F\nPCI_SLOT_NAME=%s\n", name);
        put_file(full, "class", "0x0c0330\n");
        put_file(full, "vendor", "0x8086\n");
        put_file(full, "device", "0xa12f\n");
        format_to(parent, sizeof parent, "%.*s", (int) (name - 1 - c->path), c->path);
        if (strstr(parent, "/0000:")) { /* behind a bridge */
                format_to(full, sizeof full, "/sys%s", parent);
                put_file(full, "uevent", "DRIVER=pcieport\nPCI_CLASS=60400\nPCI_SLOT_NAME=%s\n",
                         strrchr(parent, '/') + 1);
                link_to(parent, "subsystem", "/bus/pci");
        }
}

static void speed_files(const Node *n, const char *dir) {
        static const char *const speeds[] = { [SPEED_FULL] = "12", [SPEED_HIGH] = "480", [SPEED_SUPER] = "5000" };

        put_file(dir, "speed", "%s\n", speeds[n->speed]);
        put_file(dir, "version", " %s\n", n->speed == SPEED_SUPER ? "3.00" : "2.00");
        put_file(dir, "bMaxPacketSize0", "%u\n", n->speed == SPEED_SUPER ? 9u : 64u);
        put_file(dir, "bMaxPower", "%s\n", n->is_hub ? "0mA" : "100mA");
        put_file(dir, "rx_lanes", "1\n");
        put_file(dir, "tx_lanes", "1\n");
}

static void string_file(const char *dir, const char *name, const char *value) {
        if (value)
                put_file(dir, name, "%s\n", value);
}

static void device_files(const Node *n, const char *dir) {
        const SimUsb *u = &n->usb;
        const char *ports = strchr(n->name, '-');

        put_file(dir, "uevent",
                 "MAJOR=189\nMINOR=%u\nDEVNAME=bus/usb/%03u/%03u\nDEVTYPE=usb_device\nDRIVER=usb\nPRODUCT=%x/%x/%x\n"
                 "TYPE=%u/%u/0\nBUSNUM=%03u\nDEVNUM=%03u\n",
                 node_minor(n), n->bus->number, n->number, u->vendor, u->product, u->bcd_device, u->device_class,
                 u->device_class == 0xff ? 0xff : 0, n->bus->number, n->number);
        put_file(dir, "dev", "189:%u\n", node_minor(n));
        put_file(dir, "busnum", "%u\n", n->bus->number);
        put_file(dir, "devnum", "%u\n", n->number);
        put_file(dir, "devpath", "%s\n", ports ? ports + 1 : "0");
        put_file(dir, "idVendor", "%04x\n", u->vendor);
        put_file(dir, "idProduct", "%04x\n", u->product);
        put_file(dir, "bcdDevice", "%04x\n", u->bcd_device);
        put_file(dir, "bDeviceClass", "%02x\n", u->device_class);
        put_file(dir, "bDeviceSubClass", "%02x\n", u->device_class == 0xff ? 0xff : 0);
        put_file(dir, "bDeviceProtocol", "00\n");
        put_file(dir, "bNumConfigurations", "1\n");
        put_file(dir, "bNumInterfaces", "%2u\n", n->n_interfaces);
        put_file(dir, "bConfigurationValue", "%s\n", n->configured ? "1" : "");
        put_file(dir, "bmAttributes", "c0\n");
        put_file(dir, "configuration", "%s", "");
        put_file(dir, "maxchild", "%u\n", n->hub_ports);
        put_file(dir, "authorized", "%d\n", !n->unit || !n->unit->o.unauthorised);
        put_file(dir, "removable", "%s\n", ports ? "removable" : "unknown");
        put_file(dir, "quirks", "0x0\n");
        put_file(dir, "urbnum", "0\n");
        string_file(dir, "manufacturer", u->manufacturer);
        string_file(dir, "product", u->product_name);
        string_file(dir, "serial", u->serial);
        write_file_at(dir, "descriptors", n->descriptors, n->descriptors_size);
        speed_files(n, dir);
}

/* Interface directories are called after the device, but 1-0:1.0 on a root hub. */
static void interface_name(const Node *n, const Interface *i, char *ret, size_t size) {
        if (strchr(n->name, '-'))
                format_to(ret, size, "%s:1.%u", n->name, i->number);
        else
                format_to(ret, size, "%u-0:1.%u", n->bus->number, i->number);
}

static void interface_path(const Node *n, const Interface *i, char *ret, size_t size) {
        char name[64];

        interface_name(n, i, name, sizeof name);
        format_to(ret, size, "%s/%s", n->path, name);
}

static void add_interface(const Node *n, const Interface *i) {
        char path[480], dir[512], name[64], props[1024], data[128];
        unsigned class = n->is_hub ? 9 : 0xff;

        interface_name(n, i, name, sizeof name);
        interface_path(n, i, path, sizeof path);
        format_to(dir, sizeof dir, "/sys%s", path);
        mkdir(dir, 0755);
        put_file(dir, "uevent", "DEVTYPE=usb_interface\nPRODUCT=%x/%x/%x\nTYPE=%u/0/0\nINTERFACE=%u/0/0\n",
                 n->usb.vendor, n->usb.product, n->usb.bcd_device, n->usb.device_class, class);
        put_file(dir, "bInterfaceNumber", "%02x\n", i->number);
        put_file(dir, "bAlternateSetting", " 0\n");
        put_file(dir, "bNumEndpoints", "%02x\n", i->bulk ? 2 : n->is_hub ? 1 : 0);
        put_file(dir, "bInterfaceClass", "%02x\n", class);
        put_file(dir, "bInterfaceSubClass", "00\n");
        put_file(dir, "bInterfaceProtocol", "00\n");
        link_to(path, "subsystem", "/bus/usb");
        link_to("/bus/usb/devices", name, path);
        format_to(data, sizeof data, "+usb:%s", name);
        size_t size = udev_properties(n, i, props, sizeof props);
        write_file_at("/run/udev/data", data, props, size);
}

/* Directory of a port of a hub, where a port knows its other half and its device. */
static void port_path(const Node *hub, unsigned port, char *ret, size_t size) {
        char path[480];

        interface_path(hub, &hub->interfaces[0], path, sizeof path);
        format_to(ret, size, "%s/%s-port%u", path, hub->name, port);
}

static bool own_port(const Node *n, char *ret, size_t size) {
        char parent[40];
        const char *dot = strrchr(n->name, '.'), *dash = strchr(n->name, '-');
        const Bus *b = n->bus;

        if (!dash)
                return false;
        if (dot)
                format_to(parent, sizeof parent, "%.*s", (int) (dot - n->name), n->name);
        else
                format_to(parent, sizeof parent, "usb%u", b->number);
        for (unsigned i = 0; i < b->n_hubs; i++)
                if (strcmp(b->hubs[i]->name, parent) == 0) {
                        port_path(b->hubs[i], (unsigned) strtoul((dot ?: dash) + 1, NULL, 10), ret, size);
                        return true;
                }
        return false;
}

static void port_state(const char *port, const char *state) {
        char dir[520];

        format_to(dir, sizeof dir, "/sys%s", port);
        put_file(dir, "state", "%s\n", state);
}

static void add_database(const Node *n) {
        char props[1024], data[32];
        size_t size = udev_properties(n, NULL, props, sizeof props);

        format_to(data, sizeof data, "c189:%u", node_minor(n));
        write_file_at("/run/udev/data", data, props, size);
}

void sysfs_power(const Node *n) {
        PowerState p = n->unit ? n->unit->o.power : POWER_ON;
        char dir[540];

        format_to(dir, sizeof dir, "/sys%s/power", n->path);
        mkdir(dir, 0755);
        put_file(dir, "control", "%s\n", p == POWER_ON ? "on" : "auto");
        put_file(dir, "runtime_status", "%s\n", p == POWER_ASLEEP ? "suspended" : "active");
}

void sysfs_add_device(Node *n) {
        char dir[512], port[512], number[32];

        format_to(dir, sizeof dir, "/sys%s", n->path);
        make_dirs(dir);
        device_files(n, dir);
        link_to(n->path, "subsystem", "/bus/usb");
        link_to(n->path, "driver", "/bus/usb/drivers/usb");
        sysfs_power(n);
        for (unsigned i = 0; n->configured && i < n->n_interfaces; i++)
                add_interface(n, &n->interfaces[i]);
        if (own_port(n, port, sizeof port)) {
                link_to(n->path, "port", port);
                link_to(port, "device", n->path);
                port_state(port, "configured");
        }
        add_database(n);
        format_to(number, sizeof number, "189:%u", node_minor(n));
        link_to("/dev/char", number, n->path);
        link_to("/bus/usb/devices", n->name, n->path);
}

void sysfs_remove_device(Node *n) {
        char text[512], name[64], port[512];

        format_to(text, sizeof text, "189:%u", node_minor(n));
        unlink_in("/dev/char", text);
        unlink_in("/bus/usb/devices", n->name);
        if (own_port(n, port, sizeof port)) {
                unlink_in(port, "device");
                port_state(port, "not attached");
        }
        for (unsigned i = 0; i < n->n_interfaces; i++) {
                interface_name(n, &n->interfaces[i], name, sizeof name);
                unlink_in("/bus/usb/devices", name);
                format_to(text, sizeof text, "/run/udev/data/+usb:%s", name);
                unlink(text);
        }
        format_to(text, sizeof text, "/sys%s", n->path);
        remove_tree(text);
        format_to(text, sizeof text, "/run/udev/data/c189:%u", node_minor(n));
        unlink(text);
}

void sysfs_bind(Node *n, const Interface *i, const char *driver) {
        char path[480], target[128], dir[160];

        interface_path(n, i, path, sizeof path);
        if (driver) {
                format_to(target, sizeof target, "/bus/usb/drivers/%s", driver);
                format_to(dir, sizeof dir, "/sys%s", target);
                mkdir(dir, 0755);
                link_to(path, "driver", target);
        } else
                unlink_in(path, "driver");
        uevent_interface(n, i, driver ? "bind" : "unbind", driver);
}

void sysfs_add_hub(Node *n) {
        char path[512], dir[512];

        sysfs_add_device(n);
        interface_path(n, &n->interfaces[0], path, sizeof path);
        link_to(path, "driver", "/bus/usb/drivers/hub");
        for (unsigned p = 1; p <= n->hub_ports; p++) {
                port_path(n, p, path, sizeof path);
                format_to(dir, sizeof dir, "/sys%s", path);
                mkdir(dir, 0755);
                put_file(dir, "uevent", "DEVTYPE=usb_port\n");
                put_file(dir, "connect_type", "hotplug\n");
                put_file(dir, "location", "0x%08x\n", n->bus->controller->index << 8 | p);
                port_state(path, "not attached");
        }
}

void sysfs_peer_hubs(const Node *usb2, const Node *usb3) {
        char a[512], b[512];

        for (unsigned p = 1; p <= MIN_OF(usb2->hub_ports, usb3->hub_ports); p++) {
                port_path(usb2, p, a, sizeof a);
                port_path(usb3, p, b, sizeof b);
                link_to(a, "peer", b);
                link_to(b, "peer", a);
        }
}
