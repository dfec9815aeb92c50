/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The plain system calls: error numbers, blocking, limits. */

static int open_node(unsigned device) {
        char node[64];

        device_node(device, node, sizeof node);
        int fd = open(node, O_RDWR | O_CLOEXEC);
        CHECK(fd >= 0, "open of %s", node);
        return fd;
}

static int claim(int fd) {
        unsigned zero = 0;

        return ioctl(fd, USBDEVFS_CLAIMINTERFACE, &zero);
}

#define FAILS(call, error) CHECK((call) < 0 && errno == (error), "%s: %m", #call)

static void make_bulk(struct usbdevfs_urb *u, unsigned char ep, void *buf, int size) {
        memset(u, 0, sizeof *u);
        u->type = USBDEVFS_URB_TYPE_BULK;
        u->endpoint = ep;
        u->buffer = buf;
        u->buffer_length = size;
}

static void raise_line(int fd) {
        struct usbdevfs_ctrltransfer c = { .bRequestType = 0x21, .bRequest = 34, .wValue = 0x0601 };

        CHECK(ioctl(fd, USBDEVFS_CONTROL, &c) == 0, "line state");
}

void probe_errors(void) {
        unsigned char buf[512];
        unsigned number = 7, value;
        int fd = open_node(0);
        struct usbdevfs_bulktransfer b = { .ep = EP_IN, .len = sizeof buf, .timeout = 50, .data = buf };
        struct usbdevfs_ctrltransfer c = { .bRequestType = 0x40, .bRequest = 0x99, .timeout = 100 };
        struct usbdevfs_getdriver g = {};
        struct usbdevfs_urb urb, *got;

        make_bulk(&urb, EP_IN, buf, sizeof buf);
        FAILS(ioctl(fd, USBDEVFS_CLAIMINTERFACE, &number), ENOENT);
        FAILS(ioctl(fd, USBDEVFS_RELEASEINTERFACE, &(unsigned){ 0 }), EINVAL);
        FAILS(ioctl(fd, USBDEVFS_GETDRIVER, &g), ENODATA);
        FAILS(ioctl(fd, USBDEVFS_REAPURBNDELAY, &got), EAGAIN);
        FAILS(ioctl(fd, USBDEVFS_DISCARDURB, &urb), EINVAL);
        FAILS(ioctl(fd, USBDEVFS_CONTROL, &c), EPIPE);
        FAILS(ioctl(fd, USBDEVFS_BULK, &b), ETIMEDOUT); /* claims by itself, as the kernel does */
        CHECK(ioctl(fd, USBDEVFS_GETDRIVER, &g) == 0 && strcmp(g.driver, "usbfs") == 0, "driver is %s", g.driver);
        b.ep = 0x83;
        FAILS(ioctl(fd, USBDEVFS_BULK, &b), ENOENT);
        FAILS(ioctl(fd, USBDEVFS_SETCONFIGURATION, &(unsigned){ 1 }), EBUSY);
        FAILS(ioctl(fd, USBDEVFS_SUBMITURB, (void *) 8), EFAULT);
        FAILS(ioctl(fd, _IO('U', 99)), ENOTTY);
        CHECK(ioctl(fd, USBDEVFS_GET_CAPABILITIES, &value) == 0 && value & USBDEVFS_CAP_ZERO_PACKET, "capabilities");
        CHECK(ioctl(fd, USBDEVFS_GET_SPEED) == 3, "speed");
        CHECK(read(fd, buf, sizeof buf) > 18 && buf[0] == 18 && buf[18] == 9, "descriptors by read");
        CHECK(ioctl(fd, USBDEVFS_SUBMITURB, &urb) == 0, "submit");
        control("{\"cmd\":\"unplug\",\"device\":0}");
        FAILS(ioctl(fd, USBDEVFS_DISCARDURB, &urb), ENODEV);
        CHECK(ioctl(fd, USBDEVFS_REAPURB, &got) == 0 && got == &urb && urb.status == -ESHUTDOWN, "status %d",
              urb.status);
        FAILS(ioctl(fd, USBDEVFS_REAPURB, &got), ENODEV);
        FAILS(ioctl(fd, USBDEVFS_SUBMITURB, &urb), ENODEV);
        FAILS(ioctl(fd, USBDEVFS_CLAIMINTERFACE, &(unsigned){ 0 }), ENODEV);
        close(fd);
        control("{\"cmd\":\"plug\",\"device\":0}");
        fd = open_node(0);
        close(fd);
}

/* ---- blocking ---- */

static void *reap_thread(void *p) {
        struct usbdevfs_urb *got = NULL;
        int r = ioctl(*(int *) p, USBDEVFS_REAPURB, &got);

        return r < 0 ? (void *) (intptr_t) -errno : got;
}

static void on_signal(int signo) {
        (void) signo;
}

/* Many blocked readers must not keep others from being served. */
void probe_reap(void) {
        pthread_t threads[40];
        void *result;
        unsigned char byte = 0x7e, buf[4096];
        int fd = open_node(0);
        struct usbdevfs_urb in;
        struct usbdevfs_bulktransfer b = { .ep = EP_OUT, .len = 1, .timeout = 1000, .data = &byte };

        make_bulk(&in, EP_IN, buf, sizeof buf);
        CHECK(claim(fd) == 0, "claim");
        raise_line(fd);
        for (int i = 0; i < 40; i++)
                pthread_create(&threads[i], NULL, reap_thread, &fd);
        usleep(50000);
        CHECK(ioctl(fd, USBDEVFS_SUBMITURB, &in) == 0, "submit");
        for (int i = 0; i < 3 && in.actual_length == 0; i++) {
                CHECK(ioctl(fd, USBDEVFS_BULK, &b) == 1, "write while others sleep");
                usleep(20000);
        }
        CHECK(in.actual_length > 0 && buf[0] == 0x7e, "one sleeper has got the answer");
        sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL);
        int interrupted = 0, served = 0, gone = 0;
        pthread_kill(threads[0], SIGUSR1);
        usleep(50000);
        control("{\"cmd\":\"unplug\",\"device\":0}");
        for (int i = 0; i < 40; i++) {
                pthread_join(threads[i], &result);
                served += result == &in;
                interrupted += result == (void *) (intptr_t) -EINTR;
                gone += result == (void *) (intptr_t) -ENODEV;
        }
        CHECK(served == 1 && interrupted <= 1 && served + interrupted + gone == 40,
              "%d served, %d interrupted, %d gone", served, interrupted, gone);
        close(fd);
        control("{\"cmd\":\"plug\",\"device\":0}");
}

void probe_poll(void) {
        unsigned char buf[512];
        int fd = open_node(0);
        struct pollfd p = { fd, POLLOUT, 0 };
        struct usbdevfs_urb in, *got;

        make_bulk(&in, EP_IN, buf, sizeof buf);
        CHECK(claim(fd) == 0 && poll(&p, 1, 20) == 0, "nothing to reap");
        CHECK(ioctl(fd, USBDEVFS_SUBMITURB, &in) == 0 && poll(&p, 1, 20) == 0, "still nothing");
        CHECK(ioctl(fd, USBDEVFS_DISCARDURB, &in) == 0 && poll(&p, 1, 1000) == 1 && p.revents == POLLOUT, "revents %x",
              p.revents);
        CHECK(ioctl(fd, USBDEVFS_REAPURBNDELAY, &got) == 0 && in.status == -ENOENT, "status %d", in.status);
        control("{\"cmd\":\"unplug\",\"device\":0}");
        CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR && p.revents & POLLHUP, "revents %x", p.revents);
        close(fd);
        control("{\"cmd\":\"plug\",\"device\":0}");
}

/* ---- limits ---- */

void probe_memory(void) {
        enum { SIZE = 1 << 20 };
        static unsigned char buf[SIZE];
        struct usbdevfs_urb urbs[20], *got;
        int fd = open_node(0), other = open_node(1), n = 0;

        CHECK(claim(fd) == 0 && claim(other) == 0, "claim");
        while (n < 20) {
                make_bulk(&urbs[n], EP_IN, buf, SIZE);
                if (ioctl(n % 2 ? other : fd, USBDEVFS_SUBMITURB, &urbs[n]) < 0)
                        break;
                n++;
        }
        CHECK(n == 15 && errno == ENOMEM, "%d MiB on two devices, then %m", n);
        close(other);
        make_bulk(&urbs[n], EP_IN, buf, SIZE);
        CHECK(ioctl(fd, USBDEVFS_SUBMITURB, &urbs[n]) == 0, "room again after close");
        CHECK(ioctl(fd, USBDEVFS_DISCARDURB, &urbs[n]) == 0 && ioctl(fd, USBDEVFS_REAPURB, &got) == 0,
              "and after reaping");
        close(fd);
        fd = open_node(0);
        CHECK(claim(fd) == 0, "claim again");
        close(fd);
        for (int i = 0; i < 100 && !strstr(control("{\"cmd\":\"stats\"}"), "\"memory-used\":0"); i++)
                usleep(10000);
        CHECK(strstr(control("{\"cmd\":\"stats\"}"), "\"memory-used\":0"), "nothing is charged any more");
}

/* A child that ends closes its copies of all descriptors; the parent's claims stay. */
void probe_fork(void) {
        int fd = open_node(0), status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        waitpid(pid, &status, 0);
        CHECK(claim(fd) == 0, "claim");
        pid = fork();
        if (pid == 0)
                _exit(0);
        waitpid(pid, &status, 0);
        int other = open_node(0);
        CHECK(claim(other) < 0 && errno == EBUSY, "the claim survives a child");
        close(fd);
        CHECK(claim(other) == 0, "and ends with the last descriptor");
        close(other);
}
