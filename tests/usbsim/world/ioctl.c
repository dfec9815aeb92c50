/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define FUSE_USE_VERSION 35
#include "world.h"

#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/usbdevice_fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

/* The ioctls of usbfs. FUSE hands over the client's pointer and thread; memory is moved by process_vm_readv/writev. */

enum {
        LATER = 1 << 30, /* the answer comes from elsewhere */
        CONTROL_MAX = 4096,
        BUFFER_MAX = 1 << 26,
        URB_FLAGS = USBDEVFS_URB_ISO_ASAP | USBDEVFS_URB_SHORT_NOT_OK | USBDEVFS_URB_BULK_CONTINUATION |
                    USBDEVFS_URB_NO_FSBR | USBDEVFS_URB_ZERO_PACKET | USBDEVFS_URB_NO_INTERRUPT,
        CAPABILITIES = USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_BULK_CONTINUATION | USBDEVFS_CAP_NO_PACKET_SIZE_LIM |
                       USBDEVFS_CAP_BULK_SCATTER_GATHER | USBDEVFS_CAP_REAP_AFTER_DISCONNECT,
};

typedef struct Call {
        fuse_req_t req;
        File *file;
        Node *node;
        pid_t pid;
        uint64_t arg;
} Call;

/* A client asleep in REAPURB. Who takes it off the list answers it. */
typedef struct Sleeper {
        LIST_ENTRY(Sleeper) sleepers;
        fuse_req_t req;
        File *file;
        pid_t pid;
        uint64_t arg;
} Sleeper;

static pthread_mutex_t sleepers_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, Sleeper) sleepers = LIST_HEAD_INITIALIZER(sleepers);

static int fetch(pid_t pid, uint64_t from, void *to, size_t size) {
        struct iovec local = { to, size }, remote = { (void *) (uintptr_t) from, size };

        if (size == 0)
                return 0;
        return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t) size ? 0 : -EFAULT;
}

static int give(pid_t pid, uint64_t to, const void *from, size_t size) {
        struct iovec local = { (void *) from, size }, remote = { (void *) (uintptr_t) to, size };

        if (size == 0)
                return 0;
        return process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t) size ? 0 : -EFAULT;
}

static void reply(fuse_req_t req, int r) {
        if (r < 0)
                fuse_reply_err(req, -r);
        else
                fuse_reply_ioctl(req, r, NULL, 0);
}

/* ---- reap ---- */

/* One call moves data, both numbers and the pointer. Frees the URB. */
static int hand_back(World *w, Urb *u, pid_t pid, uint64_t arg) {
        int32_t status = u->status, actual = (int32_t) u->actual;
        bool control = u->type == USBDEVFS_URB_TYPE_CONTROL;
        bool in = control ? u->buf[0] & 0x80 : u->ep & 0x80;
        size_t skip = control ? 8 : 0, size = in ? u->actual : 0;
        struct iovec local[4] = {
                { u->buf + skip, size },
                { &status, 4 },
                { &actual, 4 },
                { &u->user_urb, sizeof(void *) },
        };
        struct iovec remote[4] = {
                { (void *) (uintptr_t) (u->user_buf + skip), size },
                { (void *) (uintptr_t) (u->user_urb + offsetof(struct usbdevfs_urb, status)), 4 },
                { (void *) (uintptr_t) (u->user_urb + offsetof(struct usbdevfs_urb, actual_length)), 4 },
                { (void *) (uintptr_t) arg, sizeof(void *) },
        };
        ssize_t total = (ssize_t) (size + 8 + sizeof(void *));
        int r = process_vm_writev(pid, local, 4, remote, 4, 0) == total ? 0 : -EFAULT;

        urb_free(w, u);
        return r;
}

static Sleeper *take_sleeper(const File *f, fuse_req_t req) {
        Sleeper *s;

        pthread_mutex_lock(&sleepers_lock);
        LIST_FOREACH (s, &sleepers, sleepers)
                if ((f && s->file == f) || s->req == req)
                        break;
        if (s) {
                LIST_REMOVE(s, sleepers);
                atomic_fetch_sub(&s->file->sleepers, 1);
        }
        pthread_mutex_unlock(&sleepers_lock);
        return s;
}

static void on_interrupt(fuse_req_t req, void *data UNUSED) {
        Sleeper *s = take_sleeper(NULL, req);

        if (s)
                fuse_reply_err(req, EINTR);
        free(s);
}

/* Something can be reaped now, or never will. */
void file_wake(File *f) {
        bool ready = !TAILQ_EMPTY(&f->done) || f->node->gone;
        Sleeper *s;

        while (ready && atomic_load(&f->sleepers) > 0 && (s = take_sleeper(f, NULL))) {
                Urb *u = urb_take_done(f);

                reply(s->req, u ? hand_back(f->node->world, u, s->pid, s->arg) : -ENODEV);
                free(s);
                ready = !TAILQ_EMPTY(&f->done) || f->node->gone;
        }
        if (ready && f->poll_handle) {
                poll_wake(f->poll_handle);
                f->poll_handle = NULL;
        }
}

static int reap_now(Call *c) {
        pthread_mutex_lock(c->node->lock);
        Urb *u = urb_take_done(c->file);
        int r = u ? 0 : c->node->gone ? -ENODEV : -EAGAIN;
        pthread_mutex_unlock(c->node->lock);
        return u ? hand_back(c->node->world, u, c->pid, c->arg) : r;
}

static int reap_wait(Call *c) {
        Sleeper *s = alloc0(sizeof *s);
        int r = LATER;

        *s = (Sleeper){ .req = c->req, .file = c->file, .pid = c->pid, .arg = c->arg };
        fuse_req_interrupt_func(c->req, on_interrupt, NULL); /* not under the lock: it takes libfuse's own */
        pthread_mutex_lock(c->node->lock);
        Urb *u = urb_take_done(c->file);
        if (u || c->node->gone)
                r = -ENODEV;
        else {
                pthread_mutex_lock(&sleepers_lock);
                if (fuse_req_interrupted(c->req))
                        r = -EINTR;
                else {
                        atomic_fetch_add(&c->file->sleepers, 1);
                        LIST_INSERT_HEAD(&sleepers, s, sleepers);
                }
                pthread_mutex_unlock(&sleepers_lock);
        }
        pthread_mutex_unlock(c->node->lock);
        if (r != LATER)
                free(s);
        return u ? hand_back(c->node->world, u, c->pid, c->arg) : r;
}

/* ---- transfers ---- */

/* Class and standard requests go to somebody: he must be claimed. */
static int check_recipient(Call *c, uint8_t type, uint16_t index) {
        const Interface *i;
        unsigned number = index & 0xff;
        int r;

        if (!c->node->configured && (type & 0x1f) != 0)
                return -EHOSTUNREACH;
        if ((type & 0x60) == 0x40)
                return 0;
        switch (type & 0x1f) {
        case 1:
                return file_check_claim(c->file, number);
        case 2:
                if ((number & 0x7f) == 0)
                        return 0;
                r = endpoint_interface(c->node, (uint8_t) number, &i);
                return r < 0 ? r : file_check_claim(c->file, i->number);
        default:
                return 0;
        }
}

static int do_control(Call *c, const uint8_t setup[8], uint8_t *data, size_t size) {
        uint16_t index = (uint16_t) (setup[4] | setup[5] << 8);
        int r = check_recipient(c, setup[0], index);

        if (r < 0)
                return r;
        if (control_is_deaf(c->node, setup))
                return -ETIMEDOUT;
        r = control_request(c->node, setup, data, size);
        if (c->node->unit)
                unit_run(c->node->unit);
        return c->node->gone ? -ENODEV : r;
}

static int submit_control(Call *c, Urb *u) {
        size_t wanted = u->len >= 8 ? (size_t) (u->buf[6] | u->buf[7] << 8) : 0;

        if (u->len < 8 || u->len - 8 < wanted)
                return -EINVAL;
        int r = check_recipient(c, u->buf[0], (uint16_t) (u->buf[4] | u->buf[5] << 8));
        if (r < 0)
                return r;
        if (control_is_deaf(c->node, u->buf)) { /* until whoever asked has enough */
                u->file = c->file;
                TAILQ_INSERT_TAIL(&c->node->control, u, link);
                return 0;
        }
        r = control_request(c->node, u->buf, u->buf + 8, wanted);
        u->actual = r < 0 ? 0 : u->buf[0] & 0x80 ? (uint32_t) r : (uint32_t) wanted;
        u->file = c->file;
        TAILQ_INSERT_TAIL(&c->node->control, u, link);
        urb_finish(c->node, u, r < 0 ? r : 0);
        if (c->node->unit)
                unit_run(c->node->unit);
        return 0;
}

static int check_submit(Call *c, const struct usbdevfs_urb *k, uint8_t *ret_interface) {
        const Interface *i;
        int r;

        if (c->node->gone)
                return -ENODEV;
        if (k->flags & ~(unsigned) URB_FLAGS || k->buffer_length < 0 || k->buffer_length > BUFFER_MAX ||
            (k->buffer_length > 0 && !k->buffer))
                return -EINVAL;
        if (k->type == USBDEVFS_URB_TYPE_CONTROL && (k->endpoint & 0x7f) == 0)
                return 0;
        r = endpoint_interface(c->node, k->endpoint, &i);
        if (r >= 0)
                r = file_check_claim(c->file, i->number);
        if (r < 0)
                return r;
        *ret_interface = i->number;
        return k->type == USBDEVFS_URB_TYPE_BULK || k->type == USBDEVFS_URB_TYPE_INTERRUPT ? 0 : -EINVAL;
}

static Urb *make_urb(Call *c, const struct usbdevfs_urb *k, int *ret_error) {
        bool control = k->type == USBDEVFS_URB_TYPE_CONTROL;
        Urb *u = urb_new(c->node->world, control ? 0 : k->endpoint, (uint32_t) k->buffer_length,
                         node_max_packet(c->node), ret_error);

        if (!u)
                return NULL;
        u->user_urb = c->arg;
        u->user_buf = (uintptr_t) k->buffer;
        u->type = k->type;
        u->flags = k->flags;
        if (control || !(k->endpoint & 0x80))
                *ret_error = fetch(c->pid, u->user_buf, u->buf, u->len);
        if (*ret_error < 0) {
                urb_free(c->node->world, u);
                return NULL;
        }
        return u;
}

static int submit(Call *c) {
        struct usbdevfs_urb k;
        uint8_t interface = 0;
        int r = fetch(c->pid, c->arg, &k, sizeof k);

        if (r < 0)
                return r;
        pthread_mutex_lock(c->node->lock);
        r = check_submit(c, &k, &interface);
        pthread_mutex_unlock(c->node->lock);
        if (r < 0)
                return r;
        Urb *u = make_urb(c, &k, &r);
        if (!u)
                return r;
        u->interface = interface;
        pthread_mutex_lock(c->node->lock);
        if (c->node->gone)
                r = -ENODEV;
        else
                r = k.type == USBDEVFS_URB_TYPE_CONTROL ? submit_control(c, u) : urb_submit(c->file, u);
        pthread_mutex_unlock(c->node->lock);
        if (r < 0)
                urb_free(c->node->world, u);
        return r;
}

void sync_reply(Urb *u) {
        int r = u->status < 0 ? u->status : (int) u->actual;

        if (r > 0 && u->ep & 0x80 && give(u->sync_pid, u->user_buf, u->buf, u->actual) < 0)
                r = -EFAULT;
        reply(u->sync_req, r);
}

static int bulk(Call *c) {
        struct usbdevfs_bulktransfer b;
        uint8_t interface = 0;
        int r = fetch(c->pid, c->arg, &b, sizeof b);

        if (r < 0)
                return r;
        struct usbdevfs_urb k = { .type = USBDEVFS_URB_TYPE_BULK,
                                  .endpoint = (uint8_t) b.ep,
                                  .buffer = b.data,
                                  .buffer_length = b.len > BUFFER_MAX ? -1 : (int) b.len };
        pthread_mutex_lock(c->node->lock);
        r = b.ep > 0xff ? -EINVAL : check_submit(c, &k, &interface);
        pthread_mutex_unlock(c->node->lock);
        if (r < 0)
                return r;
        Urb *u = make_urb(c, &k, &r);
        if (!u)
                return r;
        u->interface = interface;
        u->sync_req = c->req;
        u->sync_pid = c->pid;
        u->deadline = b.timeout > 0 ? clock_ns() + b.timeout * MS_NS : NEVER;
        pthread_mutex_lock(c->node->lock);
        r = c->node->gone ? -ENODEV : urb_submit(c->file, u);
        pthread_mutex_unlock(c->node->lock);
        if (r < 0)
                urb_free(c->node->world, u);
        return r < 0 ? r : LATER;
}

static int control(Call *c) {
        struct usbdevfs_ctrltransfer k;
        uint8_t data[CONTROL_MAX];
        int r = fetch(c->pid, c->arg, &k, sizeof k);

        if (r < 0)
                return r;
        if (k.wLength > sizeof data)
                return -EINVAL;
        bool in = k.bRequestType & 0x80;
        if (!in && fetch(c->pid, (uintptr_t) k.data, data, k.wLength) < 0)
                return -EFAULT;
        const uint8_t setup[8] = { k.bRequestType,      k.bRequest,
                                   (uint8_t) k.wValue,  (uint8_t) (k.wValue >> 8),
                                   (uint8_t) k.wIndex,  (uint8_t) (k.wIndex >> 8),
                                   (uint8_t) k.wLength, (uint8_t) (k.wLength >> 8) };
        pthread_mutex_lock(c->node->lock);
        r = c->node->gone ? -ENODEV : do_control(c, setup, data, k.wLength);
        pthread_mutex_unlock(c->node->lock);
        if (r > 0 && in && give(c->pid, (uintptr_t) k.data, data, (size_t) r) < 0)
                r = -EFAULT;
        return r >= 0 && !in ? (int) k.wLength : r;
}

/* ---- the rest; the lock is held, the device is there ---- */

static int discard(Call *c) {
        return urb_discard(c->file, c->arg);
}

static int claim(Call *c) {
        unsigned number;

        return fetch(c->pid, c->arg, &number, sizeof number) ?: file_claim(c->file, number);
}

static int release_claim(Call *c) {
        unsigned number;

        return fetch(c->pid, c->arg, &number, sizeof number) ?: file_release_claim(c->file, number);
}

static int disconnect_claim(Call *c) {
        struct usbdevfs_disconnect_claim k;
        int r = fetch(c->pid, c->arg, &k, sizeof k);

        if (r < 0)
                return r;
        Interface *i = node_interface(c->node, k.interface);
        if (!i)
                return -EINVAL;
        const char *driver = i->owner == c->file ? NULL : interface_driver(i);
        if (driver) {
                bool same = strncmp(k.driver, driver, sizeof k.driver) == 0;

                if ((k.flags & USBDEVFS_DISCONNECT_CLAIM_IF_DRIVER && !same) ||
                    (k.flags & USBDEVFS_DISCONNECT_CLAIM_EXCEPT_DRIVER && same))
                        return -EBUSY;
                r = interface_detach(c->node, i);
                if (r < 0)
                        return r;
        }
        return file_claim(c->file, k.interface);
}

static int driver_ioctl(Call *c) {
        struct usbdevfs_ioctl k;
        int r = fetch(c->pid, c->arg, &k, sizeof k);

        if (r < 0)
                return r;
        Interface *i = k.ifno >= 0 ? node_interface(c->node, (unsigned) k.ifno) : NULL;
        if (!i)
                return -EINVAL;
        if ((unsigned) k.ioctl_code == (unsigned) USBDEVFS_DISCONNECT)
                return interface_detach(c->node, i);
        if ((unsigned) k.ioctl_code != (unsigned) USBDEVFS_CONNECT)
                return -ENOTTY;
        if (interface_driver(i))
                return -EBUSY;
        Unit *u = c->node->unit;
        const char *driver = !u || !i->bulk       ? ""
                             : u->o.held[0]       ? u->o.held
                             : u->o.tty != TTY_NO ? "usbserial_generic"
                                                  : "";
        if (!driver[0])
                return 0;
        snprintf(i->driver, sizeof i->driver, "%s", driver);
        sysfs_bind(c->node, i, i->driver);
        return 1;
}

static int get_driver(Call *c) {
        struct usbdevfs_getdriver k = {};
        int r = fetch(c->pid, c->arg, &k.interface, sizeof k.interface);

        if (r < 0)
                return r;
        const Interface *i = node_interface(c->node, k.interface);
        const char *driver = i ? interface_driver(i) : NULL;
        if (!driver)
                return -ENODATA;
        snprintf(k.driver, sizeof k.driver, "%s", driver);
        return give(c->pid, c->arg, &k, sizeof k);
}

static int get_capabilities(Call *c) {
        uint32_t v = CAPABILITIES;

        return give(c->pid, c->arg, &v, sizeof v);
}

static int get_speed(Call *c) {
        return (int) c->node->speed;
}

static int connect_info(Call *c) {
        struct usbdevfs_connectinfo k = { .devnum = c->node->number, .slow = 0 };

        return give(c->pid, c->arg, &k, sizeof k);
}

static int set_configuration(Call *c) {
        int value, r = fetch(c->pid, c->arg, &value, sizeof value);

        if (r < 0)
                return r;
        for (unsigned i = 0; i < c->node->n_interfaces; i++)
                if (interface_driver(&c->node->interfaces[i]))
                        return -EBUSY;
        if (value != 1 && value != 0 && value != -1)
                return -EINVAL;
        c->node->configured = value == 1;
        return 0;
}

static int set_interface(Call *c) {
        struct usbdevfs_setinterface k;
        int r = fetch(c->pid, c->arg, &k, sizeof k) ?: file_check_claim(c->file, k.interface);

        if (r < 0)
                return r;
        if (k.altsetting != 0)
                return -EINVAL;
        node_cancel_all(c->node, c->file, (int) k.interface, -ENOENT);
        return 0;
}

static int clear_halt(Call *c) {
        const Interface *i;
        unsigned ep;
        int r = fetch(c->pid, c->arg, &ep, sizeof ep);

        if (r >= 0)
                r = ep > 0xff ? -EINVAL : endpoint_interface(c->node, (uint8_t) ep, &i);
        if (r >= 0)
                r = file_check_claim(c->file, i->number);
        if (r < 0)
                return r;
        if (ep & 0x80)
                c->node->halted_in = false;
        else
                c->node->halted_out = false;
        if (c->node->unit)
                unit_run(c->node->unit);
        return 0;
}

static int reset(Call *c) {
        return c->node->unit ? unit_reset(c->node->unit, c->node) : 0;
}

static const struct {
        unsigned cmd;
        int (*serve)(Call *c);
        bool locks_itself;
} table[] = {
        { USBDEVFS_SUBMITURB, submit, true },
        { USBDEVFS_REAPURBNDELAY, reap_now, true },
        { USBDEVFS_REAPURB, reap_wait, true },
        { USBDEVFS_BULK, bulk, true },
        { USBDEVFS_CONTROL, control, true },
        { USBDEVFS_DISCARDURB, discard, false },
        { USBDEVFS_CLAIMINTERFACE, claim, false },
        { USBDEVFS_RELEASEINTERFACE, release_claim, false },
        { USBDEVFS_DISCONNECT_CLAIM, disconnect_claim, false },
        { USBDEVFS_IOCTL, driver_ioctl, false },
        { USBDEVFS_GETDRIVER, get_driver, false },
        { USBDEVFS_GET_CAPABILITIES, get_capabilities, false },
        { USBDEVFS_GET_SPEED, get_speed, false },
        { USBDEVFS_CONNECTINFO, connect_info, false },
        { USBDEVFS_SETCONFIGURATION, set_configuration, false },
        { USBDEVFS_SETINTERFACE, set_interface, false },
        { USBDEVFS_CLEAR_HALT, clear_halt, false },
        { USBDEVFS_RESETEP, clear_halt, false },
        { USBDEVFS_RESET, reset, false },
};

static int serve_locked(Call *c, int (*serve)(Call *c)) {
        pthread_mutex_lock(c->node->lock);
        int r = c->node->gone ? -ENODEV : serve(c);
        pthread_mutex_unlock(c->node->lock);
        return r;
}

void ioctl_serve(void *fuse_req, File *f, unsigned cmd, uint64_t arg) {
        Call c = { .req = fuse_req, .file = f, .node = f->node, .arg = arg };
        int r = -ENOTTY;

        c.pid = fuse_req_ctx(c.req)->pid;
        atomic_fetch_add_explicit(&f->node->world->n_ioctls, 1, memory_order_relaxed);
        if (!f->writable)
                r = -EPERM;
        else
                for (size_t i = 0; i < COUNT(table); i++)
                        if (table[i].cmd == cmd) {
                                r = table[i].locks_itself ? table[i].serve(&c) : serve_locked(&c, table[i].serve);
                                break;
                        }
        if (r != LATER)
                reply(c.req, r);
}
