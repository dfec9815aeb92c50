/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hotplug.h"

#include <fcntl.h>
#include <libudev.h>
#include <limits.h>
#include <stdio.h>

#define KNOWN_MAX 1024
#define EVENTS_MAX 256
#define RECEIVE_BUFFER (16 * 1024 * 1024)
#define DESCRIPTORS_MAX 4096

/* The id table. `in` and `out`: addresses of the bulk endpoints in download mode, 0 any. */
static const struct {
        uint16_t vendor, product;
        HotplugId id;
        uint8_t in, out;
} ids[] = {
        {0x1782, 0x4d00, HOTPLUG_ID_BOOT, 0, 0},     {0x0525, 0xa4a7, HOTPLUG_ID_OPT_IN, 0x81, 0x02},
        {0x1782, 0x4d16, HOTPLUG_ID_OPT_IN, 0, 0},   {0x1782, 0x4d03, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0x4d10, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x1782, 0x4d11, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0x4d12, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x1782, 0x4d15, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0x4d17, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x1782, 0x4d18, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0x4d19, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x1782, 0x4d20, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0x4d30, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x1782, 0x4e00, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x1782, 0xd001, HOTPLUG_ID_NOT_BOOT, 0, 0}, {0x2c7c, 0x0901, HOTPLUG_ID_NOT_BOOT, 0, 0},
        {0x2c7c, 0x0904, HOTPLUG_ID_NOT_BOOT, 0, 0},
};

struct Hotplug {
        struct udev *udev;
        struct udev_monitor *monitor;
        HotplugFunc fn;
        void *userdata;
        HotplugDevice *known;
        bool *seen; /* beside known, used while enumerating */
        size_t n_known;
};

static int find_id(uint16_t vendor, uint16_t product) {
        for (size_t i = 0; i < ELEMENTSOF(ids); i++)
                if (ids[i].vendor == vendor && ids[i].product == product)
                        return (int) i;
        return -1;
}

HotplugId hotplug_id(uint16_t vendor, uint16_t product) {
        int i = find_id(vendor, product);
        return i < 0 ? HOTPLUG_ID_OTHER : ids[i].id;
}

/* ---- what sysfs says ---- */

/* Last part of a symbolic link's target; "" when there is none. */
static void link_name(const char *directory, const char *link, char *ret, size_t size) {
        char path[PATH_MAX], target[PATH_MAX];
        ssize_t n;

        ret[0] = '\0';
        if (snprintf(path, sizeof(path), "%s/%s", directory, link) >= (int) sizeof(path))
                return;
        n = readlink(path, target, sizeof(target) - 1);
        if (n <= 0)
                return;
        target[n] = '\0';
        const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
        if (strlen(name) < size)
                memcpy(ret, name, strlen(name) + 1);
}

static bool is_chain(const char *s) {
        if (*s < '0' || *s > '9')
                return false;
        for (; *s; s++)
                if (!((*s >= '0' && *s <= '9') || (*s == '.' && s[1] >= '0' && s[1] <= '9')))
                        return false;
        return true;
}

bool hotplug_port_valid(const char *port) {
        const char *usb = strstr(port, "usb-");

        if (!usb || (usb != port && usb[-1] != '-') || strlen(port) >= 128)
                return false;
        for (const char *p = port; *p; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                      strchr("-_.:@+", *p)))
                        return false;
        usb += strlen("usb-");
        size_t n = strspn(usb, "0123456789");
        return n > 0 && usb[n] == ':' && is_chain(usb + n + 1);
}

/* Puts "<part>-" in front. */
static int prepend(char port[static 128], const char *kind, const char *name) {
        char joined[256];

        if (snprintf(joined, sizeof(joined), "%s-%s%s%s", kind, name, port[0] ? "-" : "", port) >= 128)
                return -ENAMETOOLONG;
        memcpy(port, joined, strlen(joined) + 1);
        return 0;
}

int hotplug_derive_port(const char *syspath, char ret[static 128]) {
        char path[PATH_MAX], subsystem[64], last[64] = "";
        int r = 0;

        ret[0] = '\0';
        if (snprintf(path, sizeof(path), "%s", syspath) >= (int) sizeof(path))
                return -ENAMETOOLONG;
        for (char *slash; r == 0 && (slash = strrchr(path, '/')) && slash != path; *slash = '\0') {
                const char *name = slash + 1, *dash = strchr(name, '-');

                link_name(path, "subsystem", subsystem, sizeof(subsystem));
                /* of several in a row the first counts, as udev does it: the device, not its hubs or bridges */
                if (!subsystem[0] || streq(subsystem, last))
                        continue;
                if (streq(subsystem, "usb") && dash && is_chain(dash + 1)) {
                        char part[80];
                        snprintf(part, sizeof(part), "0:%.64s", dash + 1);
                        r = prepend(ret, "usb", part);
                } else if (streq(subsystem, "pci") || streq(subsystem, "platform"))
                        r = prepend(ret, subsystem, name);
                snprintf(last, sizeof(last), "%s", subsystem);
        }
        if (r < 0)
                return r;
        return hotplug_port_valid(ret) ? 0 : -ENODATA;
}

void hotplug_usb2_port(const char *syspath, const char *speed, char port[static 128]) {
        char directory[PATH_MAX], peer[64], chain[64];
        char *colon = strrchr(port, ':'), *mark;

        if (atoi(speed) < 5000 || !colon ||
            snprintf(directory, sizeof(directory), "%s/port", syspath) >= (int) sizeof(directory))
                return;
        link_name(directory, "peer", peer, sizeof(peer));
        mark = strstr(peer, "-port");
        if (!mark)
                return;
        *mark = '\0';
        mark += strlen("-port");
        const char *hub = strchr(peer, '-'); /* "usb1" is a root hub, "1-1.2" a hub behind port 1.2 */
        if (snprintf(chain, sizeof(chain), "%s%s%s", hub ? hub + 1 : "", hub ? "." : "", mark) >= (int) sizeof(chain))
                return;
        if (!is_chain(chain) || (size_t) (colon + 1 - port) + strlen(chain) >= 128)
                return;
        memcpy(colon + 1, chain, strlen(chain) + 1);
}

/* An interface with exactly one bulk IN and one bulk OUT endpoint; interrupt endpoints do not matter. */
typedef struct BulkPair {
        unsigned n_in, n_out;
        uint8_t in, out;
} BulkPair;

static bool pair_fits(const BulkPair *p, int row) {
        return p->n_in == 1 && p->n_out == 1 && (!ids[row].in || ids[row].in == p->in) &&
               (!ids[row].out || ids[row].out == p->out);
}

bool hotplug_descriptors_fit(uint16_t vendor, uint16_t product, const uint8_t *data, size_t size) {
        int row = find_id(vendor, product);
        BulkPair pair = {};
        bool fits = false;

        if (row < 0 || size < 18 || data[0] != 18 || data[1] != 1 || get_le16(data + 8) != vendor ||
            get_le16(data + 10) != product)
                return false;
        for (size_t at = 18; at + 2 <= size && data[at] >= 2 && at + data[at] <= size && !fits; at += data[at]) {
                const uint8_t *d = data + at;

                if (d[1] == 4 && d[0] >= 9) { /* interface */
                        fits = pair_fits(&pair, row);
                        pair = (BulkPair){};
                } else if (d[1] == 5 && d[0] >= 7 && (d[3] & 3) == 2) { /* bulk endpoint */
                        if (d[2] & 0x80) {
                                pair.n_in++;
                                pair.in = d[2];
                        } else {
                                pair.n_out++;
                                pair.out = d[2];
                        }
                }
        }
        return fits || pair_fits(&pair, row);
}

static bool read_descriptors_fit(const HotplugDevice *d) {
        char path[PATH_MAX];
        uint8_t data[DESCRIPTORS_MAX];
        _cleanup_close_ int fd = -EBADF;

        snprintf(path, sizeof(path), "%s/descriptors", d->sysfs);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return false;
        ssize_t n = read(fd, data, sizeof(data));
        return n > 0 && hotplug_descriptors_fit(d->vendor, d->product, data, (size_t) n);
}

/* ---- udev ---- */

static unsigned attribute(struct udev_device *u, const char *name, int base) {
        const char *value = udev_device_get_sysattr_value(u, name);
        return value ? (unsigned) strtoul(value, NULL, base) : 0;
}

/* 0: of interest, *ret filled; 1: not; -errno. */
static int read_device(struct udev_device *u, HotplugDevice *ret) {
        const char *node = udev_device_get_devnode(u), *path = udev_device_get_syspath(u), *port, *usec, *speed;
        struct udev_device *hub = udev_device_get_parent_with_subsystem_devtype(u, "usb", "usb_device"); /* lives as long as u */
        HotplugDevice d = {};

        d.vendor = (uint16_t) attribute(u, "idVendor", 16);
        d.product = (uint16_t) attribute(u, "idProduct", 16);
        d.id = hotplug_id(d.vendor, d.product);
        if (d.id == HOTPLUG_ID_OTHER || !node || !path)
                return 1;
        d.busnum = (uint8_t) attribute(u, "busnum", 10);
        d.devnum = (uint8_t) attribute(u, "devnum", 10);
        speed = udev_device_get_sysattr_value(u, "speed");
        snprintf(d.speed, sizeof(d.speed), "%s", speed ? speed : "");
        speed = hub ? udev_device_get_sysattr_value(hub, "speed") : NULL;
        snprintf(d.hub_speed, sizeof(d.hub_speed), "%s", speed ? speed : "");
        if (snprintf(d.sysfs, sizeof(d.sysfs), "%s", path) >= (int) sizeof(d.sysfs) ||
            snprintf(d.devnode, sizeof(d.devnode), "%s", node) >= (int) sizeof(d.devnode))
                return -ENAMETOOLONG;
        port = udev_device_get_property_value(u, "ID_PATH");
        if (port && hotplug_port_valid(port))
                snprintf(d.port, sizeof(d.port), "%s", port);
        else if (hotplug_derive_port(path, d.port) < 0)
                return -ENODATA;
        hotplug_usb2_port(path, d.speed, d.port);
        usec = udev_device_get_property_value(u, "USEC_INITIALIZED");
        d.initialized_usec = usec ? strtoull(usec, NULL, 10) : 0;
        d.fits = read_descriptors_fit(&d);
        *ret = d;
        return 0;
}

static ssize_t find_known(const Hotplug *h, const char *sysfs) {
        for (size_t i = 0; i < h->n_known; i++)
                if (streq(h->known[i].sysfs, sysfs))
                        return (ssize_t) i;
        return -1;
}

static void forget(Hotplug *h, size_t i) {
        HotplugDevice d = h->known[i];

        h->n_known--;
        h->known[i] = h->known[h->n_known];
        h->seen[i] = h->seen[h->n_known];
        h->fn(h->userdata, false, &d);
}

static void appear(Hotplug *h, const HotplugDevice *d) {
        ssize_t i = find_known(h, d->sysfs);

        if (i >= 0 && h->known[i].devnum == d->devnum && h->known[i].busnum == d->busnum &&
            h->known[i].vendor == d->vendor && h->known[i].product == d->product) {
                h->seen[i] = true;
                return;
        }
        if (i >= 0)
                forget(h, (size_t) i); /* the departure was lost, or is still to come and will then be stale */
        if (h->n_known == KNOWN_MAX)
                return;
        h->seen[h->n_known] = true;
        h->known[h->n_known++] = *d;
        h->fn(h->userdata, true, d);
}

/* A departure may be older than what is known by now: then it names another node. */
static void depart(Hotplug *h, struct udev_device *u) {
        const char *path = udev_device_get_syspath(u), *node = udev_device_get_devnode(u);
        ssize_t i = path ? find_known(h, path) : -1;

        if (i >= 0 && (!node || streq(node, h->known[i].devnode)))
                forget(h, (size_t) i);
}

int hotplug_enumerate(Hotplug *h) {
        struct udev_enumerate *e = udev_enumerate_new(h->udev);
        struct udev_list_entry *entry;
        int r;

        if (!e)
                return -ENOMEM;
        memset(h->seen, 0, KNOWN_MAX * sizeof(bool));
        udev_enumerate_add_match_subsystem(e, "usb");
        r = udev_enumerate_scan_devices(e);
        if (r >= 0)
                udev_list_entry_foreach(entry, udev_enumerate_get_list_entry(e)) {
                        struct udev_device *u = udev_device_new_from_syspath(h->udev, udev_list_entry_get_name(entry));
                        const char *type = u ? udev_device_get_devtype(u) : NULL;
                        HotplugDevice d;

                        if (type && streq(type, "usb_device") && read_device(u, &d) == 0)
                                appear(h, &d);
                        udev_device_unref(u);
                }
        udev_enumerate_unref(e);
        for (size_t i = h->n_known; r >= 0 && i-- > 0;)
                if (!h->seen[i])
                        forget(h, i);
        return r < 0 ? r : 0;
}

int hotplug_dispatch(Hotplug *h) {
        for (unsigned n = 0; n < EVENTS_MAX; n++) {
                struct udev_device *u;
                HotplugDevice d;

                errno = 0;
                u = udev_monitor_receive_device(h->monitor);
                if (!u) {
                        if (errno == ENOBUFS)
                                return hotplug_enumerate(h);
                        return 0;
                }
                const char *action = udev_device_get_action(u);
                if (action && streq(action, "remove"))
                        depart(h, u);
                else if (action && !streq(action, "unbind") && read_device(u, &d) == 0)
                        appear(h, &d);
                udev_device_unref(u);
        }
        return 0;
}

int hotplug_fd(const Hotplug *h) {
        return udev_monitor_get_fd(h->monitor);
}

int hotplug_new(HotplugFunc fn, void *userdata, Hotplug **ret) {
        Hotplug *h = calloc(1, sizeof(Hotplug));
        int r = -ENOMEM;

        if (!h)
                return -ENOMEM;
        h->fn = fn;
        h->userdata = userdata;
        h->known = calloc(KNOWN_MAX, sizeof(HotplugDevice));
        h->seen = calloc(KNOWN_MAX, sizeof(bool));
        h->udev = udev_new();
        if (!h->known || !h->seen || !h->udev)
                goto fail;
        h->monitor = udev_monitor_new_from_netlink(h->udev, "udev");
        if (!h->monitor)
                goto fail;
        /* needs CAP_NET_ADMIN above a limit: then the default must do, and ENOBUFS is handled */
        (void) udev_monitor_set_receive_buffer_size(h->monitor, RECEIVE_BUFFER);
        r = udev_monitor_filter_add_match_subsystem_devtype(h->monitor, "usb", "usb_device");
        if (r >= 0)
                r = udev_monitor_enable_receiving(h->monitor);
        if (r < 0)
                goto fail;
        *ret = h;
        return 0;
fail:
        hotplug_free(h);
        return r;
}

Hotplug *hotplug_free(Hotplug *h) {
        if (!h)
                return NULL;
        if (h->monitor)
                udev_monitor_unref(h->monitor);
        if (h->udev)
                udev_unref(h->udev);
        free(h->known);
        free(h->seen);
        free(h);
        return NULL;
}
