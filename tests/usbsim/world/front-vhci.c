/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The front for a whole system: the device side of USB/IP. vhci_hcd is handed one end of a socket pair for each device, and all
 * above it is the kernel's own: enumeration, uevents, usbfs. The protocol is in Documentation/usb/usbip_protocol.rst of the
 * kernel; numbers are in network order. One thread for each device reads what the kernel asks; answers go out under the node's
 * lock, in the order in which they come about. */

#define VHCI "/sys/devices/platform/vhci_hcd"

enum { CMD_SUBMIT = 1, CMD_UNLINK, RET_SUBMIT, RET_UNLINK };
enum { DIRECTION_IN = 1, BUFFER_MAX = 1 << 26, ATTACH_STEPS = 500, ATTACH_STEP_MS = 10 };

typedef struct Header {
        uint32_t command, sequence, device, direction, endpoint;
        uint32_t word[5]; /* SUBMIT: flags, length, …; UNLINK: sequence; answers: status, length, … */
        uint8_t setup[8];
} Header;
_Static_assert(sizeof(Header) == 48, "as it is on the wire");

/* ---- the socket ---- */

static bool receive(int fd, void *to, size_t size) {
        return size == 0 || recv(fd, to, size, MSG_WAITALL) == (ssize_t) size;
}

/* False: the kernel has let go of the device, which the reading thread learns by itself. */
static bool send_all(int fd, const Header *h, const uint8_t *data, size_t size) {
        struct iovec v[2] = { { (void *) h, sizeof *h }, { (void *) data, size } };
        struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

        while (v[0].iov_len + v[1].iov_len > 0) {
                ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                for (unsigned i = 0; i < 2; i++) {
                        size_t part = MIN_OF((size_t) n, v[i].iov_len);

                        v[i].iov_base = (uint8_t *) v[i].iov_base + part;
                        v[i].iov_len -= part;
                        n -= (ssize_t) part;
                }
        }
        return true;
}

/* Status 0 or -errno; `length` is what was moved, of which the kernel wants the bytes of IN transfers. */
static void answer(const File *f, uint32_t command, uint32_t sequence, int status, uint32_t length, const uint8_t *data) {
        Header h = { .command = htonl(command),
                     .sequence = htonl(sequence),
                     .word = { htonl((uint32_t) status), htonl(length) } };

        send_all(f->link, &h, data, data ? length : 0);
}

static void wake(File *f) {
        Node *n = f->node;
        Urb *u;

        while ((u = urb_take_done(f))) {
                /* What was unlinked is answered as such; not what has moved some bytes: a controller hands those back, too. */
                int status = u->status == -ENOENT ? -ECONNRESET : u->status;
                if (!n->gone && (u->status != -ENOENT || u->actual > 0))
                        answer(f, RET_SUBMIT, (uint32_t) u->user_urb, status, u->actual, u->ep & 0x80 ? u->buf : NULL);
                urb_free(n->world, u);
        }
        if (n->gone)
                shutdown(f->link, SHUT_RDWR);
}

/* ---- what the kernel asks ---- */

static Urb *read_urb(File *f, const Header *h, uint8_t ep, uint32_t length) {
        int error;
        Urb *u = urb_new(f->node->world, ep, length, node_max_packet(f->node), &error);

        if (!u)
                quit(1, "No memory for a transfer of %u bytes.", length);
        u->user_urb = h->sequence;
        u->flags = h->word[0] & (USBDEVFS_URB_SHORT_NOT_OK | USBDEVFS_URB_ZERO_PACKET); /* the kernel's own flags are the same bits */
        if (ep & 0x80 || receive(f->link, u->buf, length))
                return u;
        urb_free(f->node->world, u);
        return NULL;
}

static void submit_bulk(File *f, Urb *u) {
        Node *n = f->node;
        const Interface *i;

        u->type = USBDEVFS_URB_TYPE_BULK;
        if (!n->gone && endpoint_interface(n, u->ep, &i) == 0 && urb_submit(f, u) == 0)
                return;
        if (!n->gone)
                answer(f, RET_SUBMIT, (uint32_t) u->user_urb, -EPIPE, 0, NULL);
        urb_free(n->world, u);
}

static void submit_control(File *f, Urb *u, const uint8_t setup[8]) {
        Node *n = f->node;
        size_t wanted = MIN_OF((uint32_t) (setup[6] | setup[7] << 8), u->len);

        u->type = USBDEVFS_URB_TYPE_CONTROL;
        u->file = f;
        TAILQ_INSERT_TAIL(&n->control, u, link);
        if (control_is_deaf(n, setup))
                return; /* until whoever asked has enough */
        int r = n->gone ? -ESHUTDOWN : control_request(n, setup, u->buf, wanted);
        u->actual = r < 0 ? 0 : setup[0] & 0x80 ? (uint32_t) r : u->len;
        urb_finish(n, u, r < 0 ? r : 0);
        if (n->unit)
                unit_run(n->unit);
}

static bool on_submit(File *f, const Header *h) {
        uint8_t ep = (uint8_t) ((h->endpoint & 15) | (h->direction == DIRECTION_IN ? 0x80 : 0));
        Urb *u = h->word[1] <= BUFFER_MAX ? read_urb(f, h, ep, h->word[1]) : NULL;

        if (!u)
                return false;
        pthread_mutex_lock(f->node->lock);
        if (h->endpoint == 0)
                submit_control(f, u, h->setup);
        else
                submit_bulk(f, u);
        pthread_mutex_unlock(f->node->lock);
        return true;
}

static void on_unlink(File *f, const Header *h) {
        pthread_mutex_lock(f->node->lock);
        int r = urb_discard(f, h->word[0]);
        if (!f->node->gone)
                answer(f, RET_UNLINK, h->sequence, r == 0 ? -ECONNRESET : 0, 0, NULL);
        pthread_mutex_unlock(f->node->lock);
}

static bool read_header(int fd, Header *h) {
        if (!receive(fd, h, sizeof *h))
                return false;
        h->command = ntohl(h->command);
        h->sequence = ntohl(h->sequence);
        h->direction = ntohl(h->direction);
        h->endpoint = ntohl(h->endpoint);
        for (size_t i = 0; i < COUNT(h->word); i++)
                h->word[i] = ntohl(h->word[i]);
        return true;
}

static void *serve(void *p) {
        File *f = p;
        int fd = f->link;
        Header h;
        bool ok = true;

        while (ok && read_header(fd, &h)) {
                if (h.command == CMD_UNLINK)
                        on_unlink(f, &h);
                else
                        ok = h.command == CMD_SUBMIT && on_submit(f, &h);
        }
        file_close(f);
        close(fd);
        return NULL;
}

/* ---- ports ---- */

/* The number of a port: those of one controller follow those of another; the kernel finds the half by the speed. */
static unsigned port_of(const Node *n) {
        return n->bus->controller->index * n->world->root_ports * 2 + (unsigned) strtoul(strchr(n->name, '-') + 1, NULL, 10) - 1;
}

/* 0 or -errno. The port is busy for a moment after its last device. */
static int attach_port(const Node *n, int fd) {
        int at = open(VHCI ".0/attach", O_WRONLY | O_CLOEXEC), r = -EBUSY;
        char text[64];

        if (at < 0)
                return -errno;
        int size = format_to(text, sizeof text, "%u %d %u %u", port_of(n), fd, (unsigned) (n->born_us & 0x7fffffff), (unsigned) n->speed);
        for (unsigned i = 0; r == -EBUSY && i < ATTACH_STEPS; i++) {
                if (i > 0)
                        nanosleep(&(struct timespec){ .tv_nsec = ATTACH_STEP_MS * 1000000 }, NULL);
                r = write(at, text, (size_t) size) == size ? 0 : -errno;
        }
        close(at);
        return r;
}

static bool announce(Node *n) {
        File *f = file_open(n, true);
        int ends[2], r = -ENODEV;
        pthread_t t;

        if (!f)
                return false;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                quit(1, "No socket pair: %m.");
        f->link = ends[0];
        if (pthread_create(&t, NULL, serve, f) != 0)
                quit(1, "No thread can be started.");
        pthread_detach(t);
        r = attach_port(n, ends[1]);
        if (r < 0) {
                complain("%s: the kernel does not take the device: %s.", n->name, strerror(-r));
                shutdown(ends[1], SHUT_RDWR);
        }
        close(ends[1]);
        return r == 0;
}

/* ---- the rest of the front ---- */

static unsigned read_number(const char *path) {
        FILE *f = fopen(path, "re");
        unsigned n = 0;

        if (!f)
                return 0;
        if (fscanf(f, "%u", &n) != 1)
                n = 0;
        fclose(f);
        return n;
}

static unsigned count_controllers(void) {
        char path[64];
        unsigned n = 0;

        do
                format_to(path, sizeof path, VHCI ".%u", n);
        while (access(path, F_OK) == 0 && ++n < BUSES_MAX / 2);
        return n;
}

static int enter(World *w) {
        unsigned controllers = count_controllers(), ports = read_number(VHCI ".0/nports");

        if (controllers == 0 || ports < 2 * controllers)
                quit(77, "This kernel has no vhci_hcd; as root: modprobe vhci-hcd.");
        w->root_ports = ports / controllers / 2;
        atomic_store(&w->memory_limit, 0); /* the kernel's own limit counts */
        if (make_dirs(w->storage) < 0 || make_dirs("/run/usbsim") < 0)
                quit(77, "%s or /run/usbsim cannot be made: %m", w->storage);
        return -1;
}

static void refuse_options(const Unit *u) {
        const UnitOptions *o = &u->o;

        if (o->permission != PERM_OK || o->held[0] || o->held_by_program || o->unauthorised || o->power != POWER_ON || o->tty != TTY_NO || o->twin)
                quit(2, "Device %u: perm, held, held-by, authorized, power, tty and twin are not possible with --kernel: they are up to its udev and drivers.",
                     u->index);
}

static void start(World *w, int fd UNUSED) {
        for (unsigned i = 0; i < w->n_units; i++)
                refuse_options(w->units[i]);
}

static void open_front(World *w UNUSED) {
}

static void add_controller(const Controller *c) {
        if (c->index >= count_controllers())
                quit(2, "The kernel has %u controllers, and devices on more of them are wanted.", count_controllers());
}

/* The kernel has its own root hubs. */
static bool add_hub(Node *n UNUSED) {
        return true;
}

static void peer_hubs(const Node *usb2 UNUSED, const Node *usb3 UNUSED) {
}

static bool add(Node *n UNUSED) {
        return true;
}

/* Its socket was shut down when it was cut. */
static void remove_node(Node *n UNUSED) {
}

static void bind_nothing(Node *n UNUSED, const Interface *i UNUSED, const char *driver UNUSED) {
}

static void power(const Node *n UNUSED) {
}

const Front front_vhci = {
        .has_hubs = false,
        .storage = "/run/usbsim/storage",
        .control = "/run/usbsim/control",
        .enter = enter,
        .open = open_front,
        .start = start,
        .add_controller = add_controller,
        .add_hub = add_hub,
        .peer_hubs = peer_hubs,
        .add = add,
        .announce = announce,
        .remove = remove_node,
        .bind = bind_nothing,
        .power = power,
        .wake = wake,
};
