/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

/* What udevd would tell and write: messages to the listeners of its multicast group, and the properties for
 * /run/udev/data. */

enum { GROUP_UDEV = 2, MAGIC = 0xfeedcafe };

typedef struct MessageHeader {
        char prefix[8];
        uint32_t magic, header_size, properties_off, properties_len, subsystem_hash, devtype_hash, tags_high, tags_low;
} MessageHeader;

typedef struct Text {
        char *buf;
        size_t size, used;
        char end; /* after each line: NUL in a message, newline in a file */
        const char *prefix;
} Text;

static int nl = -1;
static pthread_mutex_t nl_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t sequence = 1000;

void uevent_open(void) {
        nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
        if (nl < 0)
                quit(77, "A netlink socket for udev messages is refused (%m).");
}

/* MurmurHash2 with seed 0: what libudev's socket filter compares. */
static uint32_t hash_name(const char *s) {
        const uint32_t m = 0x5bd1e995;
        uint32_t n = (uint32_t) strlen(s), h = n, k;

        for (; n >= 4; n -= 4, s += 4) {
                memcpy(&k, s, 4);
                k *= m;
                k ^= k >> 24;
                h = h * m ^ k * m;
        }
        for (uint32_t i = n; i-- > 0;)
                h ^= (uint32_t) (unsigned char) s[i] << 8 * i;
        if (n > 0)
                h *= m;
        h ^= h >> 13;
        h *= m;
        return h ^ h >> 15;
}

static void PRINTF(2, 3) line(Text *t, const char *format, ...) {
        va_list ap;
        size_t room = t->size - t->used;

        int p = snprintf(t->buf + t->used, room, "%s", t->prefix);
        va_start(ap, format);
        int n = p >= 0 && (size_t) p < room ? vsnprintf(t->buf + t->used + p, room - (size_t) p, format, ap) : -1;
        va_end(ap);
        if (n < 0 || (size_t) (p + n) + 1 >= room)
                return;
        t->used += (size_t) (p + n);
        t->buf[t->used++] = t->end;
}

/* udev's own rule for names: what is not harmless becomes an underscore. */
static const char *safe(const char *s, char *buf, size_t size) {
        size_t n = 0;

        for (; *s && n + 1 < size; s++)
                buf[n++] = strchr("#+-.:=@_/", *s) || (*s >= '0' && *s <= '9') || (*s >= 'A' && *s <= 'Z') ||
                                           (*s >= 'a' && *s <= 'z')
                                   ? *s
                                   : '_';
        buf[n] = 0;
        return buf;
}

static void path_tag(const char *path, char *buf, size_t size) {
        size_t n = 0;

        for (; *path && n + 1 < size; path++) {
                bool plain = (*path >= '0' && *path <= '9') || (*path >= 'A' && *path <= 'Z') ||
                             (*path >= 'a' && *path <= 'z') || *path == '-';
                if (plain)
                        buf[n++] = *path;
                else if (n > 0 && buf[n - 1] != '_')
                        buf[n++] = '_';
        }
        buf[n] = 0;
}

/* usb_id and path_id. */
static void identity(Text *t, const Node *n, const Interface *i) {
        char vendor[64], model[64], serial[64], hex[2][8], path[192], tag[192];

        format_to(hex[0], sizeof hex[0], "%04x", n->usb.vendor);
        format_to(hex[1], sizeof hex[1], "%04x", n->usb.product);
        safe(n->usb.manufacturer ?: hex[0], vendor, sizeof vendor);
        safe(n->usb.product_name ?: hex[1], model, sizeof model);
        line(t, "ID_BUS=usb");
        line(t, "ID_MODEL=%s", model);
        line(t, "ID_MODEL_ID=%s", hex[1]);
        line(t, "ID_REVISION=%04x", n->usb.bcd_device);
        if (n->usb.serial)
                line(t, "ID_SERIAL_SHORT=%s", safe(n->usb.serial, serial, sizeof serial));
        line(t, "ID_SERIAL=%s_%s%s%s", vendor, model, n->usb.serial ? "_" : "", n->usb.serial ? serial : "");
        line(t, "ID_VENDOR=%s", vendor);
        line(t, "ID_VENDOR_ID=%s", hex[0]);
        line(t, "ID_USB_INTERFACES=:%s:", n->is_hub ? "090000" : "ff0000");
        if (!n->id_path[0])
                return;
        if (i)
                format_to(path, sizeof path, "%s:1.%u", n->id_path, i->number);
        else
                format_to(path, sizeof path, "%s", n->id_path);
        path_tag(path, tag, sizeof tag);
        line(t, "ID_PATH=%s", path);
        line(t, "ID_PATH_TAG=%s", tag);
}

size_t udev_properties(const Node *n, const Interface *i, char *buf, size_t size) {
        Text t = { .buf = buf, .size = size, .end = '\n', .prefix = "" };

        line(&t, "I:%llu", (unsigned long long) n->born_us);
        t.prefix = "E:";
        identity(&t, n, i);
        t.prefix = "";
        line(&t, "V:1");
        return t.used;
}

static void send_message(const char *devtype, const char *text, size_t size) {
        MessageHeader h = {
                .prefix = "libudev",
                .magic = htonl(MAGIC),
                .header_size = sizeof h,
                .properties_off = sizeof h,
                .properties_len = (uint32_t) size,
                .subsystem_hash = htonl(hash_name("usb")),
                .devtype_hash = htonl(hash_name(devtype)),
        };
        struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = GROUP_UDEV };
        struct iovec v[2] = { { &h, sizeof h }, { (void *) text, size } };
        struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = v, .msg_iovlen = 2 };

        /* Nobody listens, or a listener's queue is full: both happen with udevd too. */
        if (sendmsg(nl, &m, 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS)
                complain("A udev message was not sent: %m");
}

static void begin(Text *t, const Node *n, const char *action, const char *suffix, const char *devtype) {
        line(t, "ACTION=%s", action);
        line(t, "DEVPATH=%s%s", n->path, suffix);
        line(t, "SUBSYSTEM=usb");
        line(t, "DEVTYPE=%s", devtype);
        line(t, "SEQNUM=%llu", (unsigned long long) ++sequence);
        line(t, "USEC_INITIALIZED=%llu", (unsigned long long) n->born_us);
        line(t, "PRODUCT=%x/%x/%x", n->usb.vendor, n->usb.product, n->usb.bcd_device);
}

void uevent_device(const Node *n, const char *action) {
        char buf[2048];
        Text t = { .buf = buf, .size = sizeof buf, .end = 0, .prefix = "" };

        pthread_mutex_lock(&nl_lock);
        begin(&t, n, action, "", "usb_device");
        line(&t, "TYPE=%u/%u/0", n->usb.device_class, n->usb.device_class == 0xff ? 0xff : 0);
        line(&t, "DEVNAME=/dev/bus/usb/%03u/%03u", n->bus->number, n->number);
        line(&t, "MAJOR=189");
        line(&t, "MINOR=%u", node_minor(n));
        line(&t, "BUSNUM=%03u", n->bus->number);
        line(&t, "DEVNUM=%03u", n->number);
        line(&t, "DRIVER=usb");
        identity(&t, n, NULL);
        send_message("usb_device", buf, t.used);
        pthread_mutex_unlock(&nl_lock);
}

void uevent_interface(const Node *n, const Interface *i, const char *action, const char *driver) {
        char buf[2048], suffix[64];
        Text t = { .buf = buf, .size = sizeof buf, .end = 0, .prefix = "" };

        pthread_mutex_lock(&nl_lock);
        format_to(suffix, sizeof suffix, "/%s:1.%u", n->name, i->number);
        begin(&t, n, action, suffix, "usb_interface");
        line(&t, "INTERFACE=255/0/0");
        if (driver)
                line(&t, "DRIVER=%s", driver);
        identity(&t, n, i);
        send_message("usb_interface", buf, t.used);
        pthread_mutex_unlock(&nl_lock);
}
