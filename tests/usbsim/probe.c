/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <libudev.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static unsigned n_checks, n_failed;
static pthread_mutex_t check_lock = PTHREAD_MUTEX_INITIALIZER;

void check_(bool ok, const char *file, int line, const char *format, ...) {
        va_list ap;

        pthread_mutex_lock(&check_lock);
        n_checks++;
        n_failed += !ok;
        if (!ok) {
                printf("%s:%d: FAILED: ", file, line);
                va_start(ap, format);
                vprintf(format, ap);
                va_end(ap);
                putchar('\n');
                fflush(stdout);
        }
        pthread_mutex_unlock(&check_lock);
}

/* ---- tools ---- */

uint64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

double cpu_seconds(void) {
        struct rusage u;

        getrusage(RUSAGE_SELF, &u);
        return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static FILE *connect_control(void) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        const char *path = getenv("USBSIM_CONTROL");
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (!path || fd < 0) {
                fputs("probe runs under usbsim only\n", stderr);
                exit(1);
        }
        snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
        if (connect(fd, (struct sockaddr *) &a, sizeof a) < 0) {
                perror(path);
                exit(1);
        }
        return fdopen(fd, "r+");
}

const char *control(const char *format, ...) {
        static FILE *f;
        static char reply[65536];
        va_list ap;

        if (!f)
                f = connect_control();
        va_start(ap, format);
        vfprintf(f, format, ap);
        va_end(ap);
        fputc('\n', f);
        fflush(f);
        return fgets(reply, sizeof reply, f) ? reply : "";
}

bool control_ok(const char *reply) {
        return strstr(reply, "\"ok\":true");
}

void device_node(unsigned device, char *ret, size_t size) {
        const char *reply = control("{\"cmd\":\"describe\",\"device\":%u}", device),
                   *p = strstr(reply, "\"devnode\":\"");
        size_t n = 0;

        for (p = p ? p + 11 : ""; *p && *p != '"' && n + 1 < size; p++)
                if (*p != '\\')
                        ret[n++] = *p;
        ret[n] = 0;
}

libusb_device_handle *open_device(libusb_context *ctx, unsigned device) {
        libusb_device_handle *h = NULL;
        libusb_device **list;
        unsigned bus = 0, number = 0;
        char node[64];

        device_node(device, node, sizeof node);
        sscanf(node, "/dev/bus/usb/%u/%u", &bus, &number);
        ssize_t n = libusb_get_device_list(ctx, &list);
        for (ssize_t i = 0; i < n; i++)
                if (libusb_get_bus_number(list[i]) == bus && libusb_get_device_address(list[i]) == number)
                        libusb_open(list[i], &h);
        libusb_free_device_list(list, 1);
        return h;
}

static libusb_context *new_context(void) {
        libusb_context *ctx;

        if (libusb_init(&ctx) != 0) {
                fputs("libusb_init failed\n", stderr);
                exit(1);
        }
        return ctx;
}

/* The sync byte and its answer: works in each family's boot ROM. */
static bool say_hello(libusb_device_handle *h) {
        unsigned char buf[4096] = { 0x7e };
        int got = 0;

        libusb_control_transfer(h, 0x21, 34, 0x0601, 0, NULL, 0, 1000);
        for (int i = 0; i < 3; i++) {
                buf[0] = 0x7e;
                if (libusb_bulk_transfer(h, EP_OUT, buf, 1, &got, 1000) == 0 &&
                    libusb_bulk_transfer(h, EP_IN, buf, sizeof buf, &got, 200) == 0 && got > 0 && buf[0] == 0x7e)
                        return true;
        }
        return false;
}

/* ---- what is there ---- */

static void probe_libudev(unsigned wanted) {
        struct udev *udev = udev_new();
        struct udev_enumerate *e = udev_enumerate_new(udev);
        struct udev_list_entry *entry;
        char seen[128][64];
        unsigned n = 0;

        udev_enumerate_add_match_subsystem(e, "usb");
        udev_enumerate_add_match_sysattr(e, "idVendor", "1782");
        udev_enumerate_scan_devices(e);
        udev_list_entry_foreach (entry, udev_enumerate_get_list_entry(e)) {
                struct udev_device *d = udev_device_new_from_syspath(udev, udev_list_entry_get_name(entry));
                const char *path = udev_device_get_property_value(d, "ID_PATH");

                CHECK(path && strstr(path, "-usb-0:"), "ID_PATH of %s", udev_device_get_syspath(d));
                for (unsigned i = 0; path && i < n && i < 128; i++)
                        CHECK(strcmp(seen[i], path) != 0, "ID_PATH %s twice", path);
                if (path && n < 128)
                        snprintf(seen[n], sizeof seen[n], "%s", path);
                CHECK(udev_device_get_is_initialized(d), "%s is initialized", path);
                CHECK(udev_device_get_usec_since_initialized(d) > 0, "%s has USEC_INITIALIZED", path);
                CHECK(strcmp(udev_device_get_devtype(d) ?: "", "usb_device") == 0, "devtype of %s", path);
                CHECK(access(udev_device_get_devnode(d) ?: "", F_OK) == 0, "node of %s", path);
                struct udev_device *hub = udev_device_get_parent_with_subsystem_devtype(d, "usb", "usb_device");
                CHECK(hub && udev_device_get_sysattr_value(hub, "maxchild"), "hub of %s", path);
                struct udev_device *same = udev_device_new_from_devnum(udev, 'c', udev_device_get_devnum(d));
                CHECK(same && strcmp(udev_device_get_syspath(same), udev_device_get_syspath(d)) == 0, "devnum of %s",
                      path);
                udev_device_unref(same);
                udev_device_unref(d);
                n++;
        }
        CHECK(n == wanted, "libudev finds %u devices of %u", n, wanted);
        udev_enumerate_unref(e);
        udev_unref(udev);
}

static void probe_devices(unsigned wanted) {
        libusb_context *ctx = new_context();
        libusb_device **list;
        unsigned found = 0, hubs = 0;

        ssize_t n = libusb_get_device_list(ctx, &list);
        for (ssize_t i = 0; i < n; i++) {
                struct libusb_device_descriptor d;
                struct libusb_config_descriptor *c;

                CHECK(libusb_get_device_descriptor(list[i], &d) == 0, "device descriptor");
                hubs += d.bDeviceClass == LIBUSB_CLASS_HUB;
                if (d.idVendor != VENDOR)
                        continue;
                found++;
                CHECK(libusb_get_parent(list[i]), "a device has a hub above");
                CHECK(libusb_get_active_config_descriptor(list[i], &c) == 0 && c->bNumInterfaces >= 1, "configuration");
                libusb_free_config_descriptor(c);
        }
        CHECK(found == wanted, "libusb finds %u devices of %u", found, wanted);
        CHECK(hubs >= 2, "root hubs");
        libusb_free_device_list(list, 1);
        libusb_exit(ctx);
        probe_libudev(wanted);
}

static void check_speed(libusb_context *ctx, unsigned device, int speed, int max_packet) {
        libusb_device_handle *h = open_device(ctx, device);

        CHECK(h, "open of device %u", device);
        if (!h)
                return;
        CHECK(libusb_get_device_speed(libusb_get_device(h)) == speed, "speed of device %u", device);
        int size = libusb_get_max_packet_size(libusb_get_device(h), EP_IN);
        CHECK(size == max_packet, "packets of device %u: %d", device, size);
        CHECK(libusb_claim_interface(h, 0) == 0 && say_hello(h), "device %u answers", device);
        libusb_close(h);
}

/* Device 0 is a high speed one, 1 full speed, 2 SuperSpeed. */
static void probe_speeds(void) {
        libusb_context *ctx = new_context();

        check_speed(ctx, 0, LIBUSB_SPEED_HIGH, 512);
        check_speed(ctx, 1, LIBUSB_SPEED_FULL, 64);
        check_speed(ctx, 2, LIBUSB_SPEED_SUPER, 1024);
        libusb_exit(ctx);
        CHECK(access("/sys/bus/usb/devices/1-3/port/peer/device", F_OK) < 0, "nothing is at the USB3 side of port 3");
        CHECK(access("/sys/bus/usb/devices/2-4/port/peer", F_OK) == 0, "the SuperSpeed port knows its USB2 side");
}

/* ---- events ---- */

static void expect_event(struct udev_monitor *m, const char *action, const char *devtype, char *devnode, size_t size) {
        struct pollfd p = { udev_monitor_get_fd(m), POLLIN, 0 };

        for (uint64_t end = now_ms() + 3000; now_ms() < end;) {
                if (poll(&p, 1, 100) <= 0)
                        continue;
                struct udev_device *d = udev_monitor_receive_device(m);
                if (!d)
                        continue;
                bool hit = strcmp(udev_device_get_action(d), action) == 0 &&
                           strcmp(udev_device_get_devtype(d), devtype) == 0 &&
                           strcmp(udev_device_get_property_value(d, "ID_VENDOR_ID") ?: "", "1782") == 0;
                if (hit && devnode)
                        snprintf(devnode, size, "%s", udev_device_get_devnode(d) ?: "");
                if (hit && strcmp(devtype, "usb_device") == 0)
                        CHECK(udev_device_get_property_value(d, "ID_PATH") && udev_device_get_devnum(d) > 0,
                              "%s is complete", action);
                udev_device_unref(d);
                if (hit)
                        return;
        }
        CHECK(false, "no %s of a %s", action, devtype);
}

static void probe_monitor(void) {
        struct udev *udev = udev_new();
        struct udev_monitor *m = udev_monitor_new_from_netlink(udev, "udev");
        char node[2][64], now[64];

        udev_monitor_filter_add_match_subsystem_devtype(m, "usb", NULL);
        CHECK(udev_monitor_enable_receiving(m) >= 0, "the monitor is enabled");
        device_node(0, node[0], sizeof node[0]);
        CHECK(control_ok(control("{\"cmd\":\"unplug\",\"device\":\"0\"}")), "unplug");
        expect_event(m, "remove", "usb_interface", NULL, 0);
        expect_event(m, "remove", "usb_device", node[1], sizeof node[1]);
        CHECK(strcmp(node[0], node[1]) == 0, "the node that was there is removed: %s, %s", node[0], node[1]);
        CHECK(access(node[0], F_OK) < 0, "the node has gone");
        CHECK(!control_ok(control("{\"cmd\":\"unplug\",\"device\":\"0\"}")), "unplug twice is an error");
        CHECK(control_ok(control("{\"cmd\":\"plug\",\"device\":0}")), "plug");
        expect_event(m, "add", "usb_device", node[1], sizeof node[1]);
        expect_event(m, "add", "usb_interface", NULL, 0);
        expect_event(m, "bind", "usb_device", NULL, 0);
        CHECK(strcmp(node[0], node[1]) != 0, "device numbers are not used again at once");
        CHECK(control_ok(control("{\"cmd\":\"replug\",\"device\":\"0\",\"delay\":10,\"port\":\"1-9.2\"}")),
              "replug elsewhere");
        expect_event(m, "remove", "usb_device", NULL, 0);
        expect_event(m, "add", "usb_device", node[1], sizeof node[1]);
        device_node(0, now, sizeof now);
        CHECK(strcmp(now, node[1]) == 0, "the description has the new node");
        CHECK(strstr(control("{\"cmd\":\"describe\",\"device\":\"0\"}"), "-usb-0:9.2\""), "the new ID_PATH");
        udev_monitor_unref(m);
        udev_unref(udev);
}

typedef struct Counts {
        _Atomic int arrived, left;
} Counts;

static int LIBUSB_CALL on_hotplug(libusb_context *ctx, libusb_device *d, libusb_hotplug_event e, void *data) {
        Counts *c = data;

        (void) ctx;
        (void) d;
        if (e == LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED)
                c->arrived++;
        else
                c->left++;
        return 0;
}

static void handle_until(libusb_context *ctx, _Atomic int *value, int wanted) {
        for (uint64_t end = now_ms() + 5000; *value < wanted && now_ms() < end;)
                libusb_handle_events_timeout_completed(ctx, &(struct timeval){ .tv_usec = 20000 }, NULL);
}

static void probe_replugs(void) {
        libusb_context *ctx = new_context();
        Counts c = {};

        libusb_hotplug_register_callback(ctx, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT, 0,
                                         VENDOR, PRODUCT, LIBUSB_HOTPLUG_MATCH_ANY, on_hotplug, &c, NULL);
        for (int i = 0; i < 150; i++) { /* more than there are device numbers */
                CHECK(control_ok(control("{\"cmd\":\"replug\",\"device\":\"0\"}")), "replug %d", i);
                handle_until(ctx, &c.arrived, i + 1);
        }
        handle_until(ctx, &c.left, 150);
        CHECK(c.arrived == 150 && c.left == 150, "%d arrived and %d left of 150", c.arrived, c.left);
        libusb_exit(ctx);
}

/* ---- claims ---- */

/* Device 0 is free, 1 has a kernel driver, 2 is another program's, 3 may not be opened. */
static void probe_claims(void) {
        libusb_context *ctx = new_context();
        libusb_device_handle *a = open_device(ctx, 0), *b = open_device(ctx, 0);

        CHECK(a && b, "opened twice");
        CHECK(libusb_claim_interface(a, 0) == 0, "claim");
        CHECK(libusb_claim_interface(b, 0) == LIBUSB_ERROR_BUSY, "the second one gets BUSY");
        CHECK(access("/sys/bus/usb/devices/1-1:1.0/driver", F_OK) == 0, "the claim is seen in /sys");
        libusb_close(a);
        CHECK(libusb_claim_interface(b, 0) == 0, "free at once after close");
        CHECK(say_hello(b), "and it answers");
        CHECK(libusb_claim_interface(b, 5) == LIBUSB_ERROR_NOT_FOUND, "no such interface");
        CHECK(libusb_reset_device(b) == 0 && say_hello(b), "answers after a reset");
        libusb_close(b);

        a = open_device(ctx, 1);
        CHECK(libusb_kernel_driver_active(a, 0) == 1, "a kernel driver is there");
        CHECK(libusb_claim_interface(a, 0) == LIBUSB_ERROR_BUSY, "BUSY by the kernel driver");
        CHECK(libusb_set_auto_detach_kernel_driver(a, 1) == 0 && libusb_claim_interface(a, 0) == 0,
              "claim with detaching");
        CHECK(libusb_kernel_driver_active(a, 0) == 0, "the driver has gone");
        libusb_release_interface(a, 0);
        CHECK(libusb_kernel_driver_active(a, 0) == 1, "the driver is back");
        libusb_close(a);

        a = open_device(ctx, 2);
        libusb_set_auto_detach_kernel_driver(a, 1);
        CHECK(libusb_claim_interface(a, 0) == LIBUSB_ERROR_BUSY, "BUSY by a program");
        CHECK(libusb_detach_kernel_driver(a, 0) != 0, "which cannot be detached");
        CHECK(control_ok(control("{\"cmd\":\"set\",\"device\":2,\"held-by\":\"nobody\"}")), "the program ends");
        CHECK(libusb_claim_interface(a, 0) == 0, "then it is free");
        libusb_close(a);
        libusb_exit(ctx);
}

static void probe_denied(void) {
        char node[64];

        device_node(3, node, sizeof node);
        CHECK(open(node, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES, "EACCES on the node");
        control("{\"cmd\":\"set\",\"device\":3,\"perm\":\"ok\"}");
        int fd = open(node, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0, "allowed now");
        close(fd);
}

/* ---- transfers ---- */

static void LIBUSB_CALL on_done(struct libusb_transfer *t) {
        *(_Atomic int *) t->user_data += 1;
}

static struct libusb_transfer *submit_in(libusb_device_handle *h, unsigned char *buf, int size, _Atomic int *done) {
        struct libusb_transfer *t = libusb_alloc_transfer(0);

        libusb_fill_bulk_transfer(t, h, EP_IN, buf, size, on_done, done, 0);
        CHECK(libusb_submit_transfer(t) == 0, "submit");
        return t;
}

static void probe_cancel(void) {
        libusb_context *ctx = new_context();
        libusb_device_handle *h = open_device(ctx, 0);
        static unsigned char buf[8][4096];
        struct libusb_transfer *t[8];
        _Atomic int done = 0;
        int got;

        CHECK(libusb_claim_interface(h, 0) == 0 && say_hello(h), "answers");
        double cpu = cpu_seconds();
        uint64_t start = now_ms();
        CHECK(libusb_bulk_transfer(h, EP_IN, buf[0], 512, &got, 300) == LIBUSB_ERROR_TIMEOUT, "time limit of a read");
        CHECK(now_ms() - start >= 290 && now_ms() - start < 2000, "took %d ms", (int) (now_ms() - start));
        CHECK(cpu_seconds() - cpu < 0.1, "waiting costs %.3f s", cpu_seconds() - cpu);
        for (int i = 0; i < 8; i++)
                t[i] = submit_in(h, buf[i], sizeof buf[i], &done);
        for (int i = 0; i < 8; i++)
                libusb_cancel_transfer(t[i]);
        handle_until(ctx, &done, 8);
        for (int i = 0; i < 8; i++) {
                CHECK(t[i]->status == LIBUSB_TRANSFER_CANCELLED, "transfer %d: %d", i, t[i]->status);
                libusb_free_transfer(t[i]);
        }
        CHECK(say_hello(h), "answers after canceling");
        control("{\"cmd\":\"stall\",\"device\":0,\"endpoint\":\"in\"}");
        CHECK(libusb_bulk_transfer(h, EP_IN, buf[0], 512, &got, 300) == LIBUSB_ERROR_PIPE, "a stalled endpoint");
        CHECK(libusb_clear_halt(h, EP_IN) == 0 && say_hello(h), "answers after clearing the halt");
        control("{\"cmd\":\"stall\",\"device\":0,\"endpoint\":\"out\",\"kind\":\"error\"}");
        CHECK(libusb_bulk_transfer(h, EP_OUT, buf[0], 1, &got, 300) == LIBUSB_ERROR_IO, "a spoilt packet");
        CHECK(say_hello(h), "and on it goes");
        libusb_close(h);
        libusb_exit(ctx);
}

static void probe_unplug(void) {
        libusb_context *ctx = new_context();
        libusb_device_handle *h = open_device(ctx, 0);
        unsigned char buf[4096];
        _Atomic int done = 0;
        int got;

        CHECK(libusb_claim_interface(h, 0) == 0 && say_hello(h), "answers");
        struct libusb_transfer *t = submit_in(h, buf, sizeof buf, &done);
        control("{\"cmd\":\"unplug\",\"device\":0}");
        handle_until(ctx, &done, 1);
        CHECK(t->status == LIBUSB_TRANSFER_NO_DEVICE, "the waiting read ends with %d", t->status);
        CHECK(libusb_bulk_transfer(h, EP_OUT, buf, 1, &got, 300) == LIBUSB_ERROR_NO_DEVICE, "a write says so too");
        CHECK(libusb_control_transfer(h, 0x80, 8, 0, 0, buf, 1, 300) == LIBUSB_ERROR_NO_DEVICE,
              "and a control request");
        double cpu = cpu_seconds();
        for (int i = 0; i < 5; i++)
                libusb_handle_events_timeout_completed(ctx, &(struct timeval){ .tv_usec = 40000 }, NULL);
        CHECK(cpu_seconds() - cpu < 0.1, "a dead handle costs %.3f s", cpu_seconds() - cpu);
        libusb_free_transfer(t);
        libusb_close(h);
        control("{\"cmd\":\"plug\",\"device\":0}");
        h = open_device(ctx, 0);
        for (int i = 0; !h && i < 50; i++) { /* libusb learns of it by its own thread */
                usleep(10000);
                h = open_device(ctx, 0);
        }
        CHECK(h && libusb_claim_interface(h, 0) == 0 && say_hello(h), "answers when it is back");
        libusb_close(h);
        libusb_exit(ctx);
}

static void *hello_thread(void *p) {
        libusb_context *ctx = new_context();
        libusb_device_handle *h = NULL;
        char *node = p;
        int fd = open(node, O_RDWR | O_CLOEXEC);

        CHECK(fd >= 0 && libusb_wrap_sys_device(ctx, fd, &h) == 0, "wrapping %s", node);
        if (h) {
                CHECK(libusb_claim_interface(h, 0) == 0, "claiming %s", node);
                for (int i = 0; i < 20; i++)
                        CHECK(say_hello(h), "%s answers", node);
                libusb_close(h);
        }
        close(fd);
        libusb_exit(ctx);
        return NULL;
}

/* A thread for each device, all at once. */
static void probe_many(unsigned n) {
        static char nodes[128][64];
        pthread_t threads[128];

        libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
        for (unsigned i = 0; i < n && i < 128; i++)
                device_node(i, nodes[i], sizeof nodes[i]);
        for (unsigned i = 0; i < n && i < 128; i++)
                pthread_create(&threads[i], NULL, hello_thread, nodes[i]);
        for (unsigned i = 0; i < n && i < 128; i++)
                pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*run)(void);
        } probes[] = {
                { "speeds", probe_speeds }, { "monitor", probe_monitor }, { "replugs", probe_replugs },
                { "claims", probe_claims }, { "denied", probe_denied },   { "cancel", probe_cancel },
                { "unplug", probe_unplug }, { "errors", probe_errors },   { "reap", probe_reap },
                { "memory", probe_memory }, { "fork", probe_fork },       { "poll", probe_poll },
        };
        const char *name = argc > 1 ? argv[1] : "";
        unsigned n = argc > 2 ? (unsigned) atoi(argv[2]) : 1;
        bool known = true;

        if (strcmp(name, "devices") == 0)
                probe_devices(n);
        else if (strcmp(name, "many") == 0)
                probe_many(n);
        else {
                known = false;
                for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
                        if (strcmp(name, probes[i].name) == 0) {
                                probes[i].run();
                                known = true;
                        }
        }
        if (!known) {
                fputs("usage: probe NAME [N], under usbsim\n", stderr);
                return 2;
        }
        printf("%s: %u checks, %u failed\n", name, n_checks, n_failed);
        return n_failed > 0;
}
