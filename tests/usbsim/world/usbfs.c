/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <unistd.h>

/* What the kernel's usbfs keeps for each open file: claims and queues of transfers. Error numbers are the kernel's. */

enum { CLOSE_WAIT_STEPS = 60, CLOSE_WAIT_US = 500, URB_OVERHEAD = 384 };

/* ---- memory limit, over all open files ---- */

bool memory_take(World *w, uint64_t n) {
        uint64_t limit = atomic_load(&w->memory_limit);
        uint64_t used = atomic_fetch_add(&w->memory_used, n) + n;

        if (limit == 0 || used <= limit)
                return true;
        atomic_fetch_sub(&w->memory_used, n);
        return false;
}

void memory_give(World *w, uint64_t n) {
        atomic_fetch_sub(&w->memory_used, n);
}

/* close() of the last descriptor has returned before FUSE tells of the release: give that a moment. */
static void await_closing(World *w, pthread_mutex_t *lock) {
        if (lock)
                pthread_mutex_unlock(lock);
        for (unsigned i = 0; i < CLOSE_WAIT_STEPS && atomic_load(&w->closing_files) > 0; i++)
                usleep(CLOSE_WAIT_US);
        if (lock)
                pthread_mutex_lock(lock);
}

Urb *urb_new(World *w, uint8_t ep, uint32_t len, unsigned max_packet, int *ret_error) {
        uint32_t capacity = ep & 0x80 ? (len + max_packet - 1) / max_packet * max_packet : len;
        uint64_t memory = (uint64_t) len + URB_OVERHEAD;

        if (!memory_take(w, memory)) {
                await_closing(w, NULL);
                if (!memory_take(w, memory)) {
                        *ret_error = -ENOMEM;
                        return NULL;
                }
        }
        Urb *u = malloc(sizeof *u + capacity);
        if (!u) {
                memory_give(w, memory);
                *ret_error = -ENOMEM;
                return NULL;
        }
        *u = (Urb){ .ep = ep, .len = len, .capacity = capacity, .memory = memory, .deadline = NEVER };
        return u;
}

void urb_free(World *w, Urb *u) {
        memory_give(w, u->memory);
        free(u);
}

/* ---- interfaces ---- */

Interface *node_interface(Node *n, unsigned number) {
        for (unsigned i = 0; n->configured && i < n->n_interfaces; i++)
                if (n->interfaces[i].number == number)
                        return &n->interfaces[i];
        return NULL;
}

const char *interface_driver(const Interface *i) {
        return i->owner || i->foreign ? "usbfs" : i->driver[0] ? i->driver : NULL;
}

int endpoint_interface(const Node *n, uint8_t ep, const Interface **ret) {
        if (ep & ~0x8f)
                return -EINVAL;
        for (unsigned i = 0; n->configured && i < n->n_interfaces; i++)
                if (n->interfaces[i].bulk && (ep == n->usb.ep_in || ep == n->usb.ep_out)) {
                        *ret = &n->interfaces[i];
                        return 0;
                }
        return -ENOENT;
}

int file_claim(File *f, unsigned number) {
        Node *n = f->node;

        if (number >= 64)
                return -EINVAL;
        if (f->claimed >> number & 1)
                return 0;
        Interface *i = node_interface(n, number);
        if (!i)
                return -ENOENT;
        if (i->owner && i->owner->closing) {
                await_closing(n->world, n->lock);
                if (n->gone)
                        return -ENODEV;
        }
        if (interface_driver(i))
                return -EBUSY;
        i->owner = f;
        f->claimed |= UINT64_C(1) << number;
        n->world->front->bind(n, i, "usbfs");
        return 0;
}

/* The kernel claims by itself for those who forgot to. */
int file_check_claim(File *f, unsigned number) {
        if (!f->node->configured)
                return -EHOSTUNREACH;
        return file_claim(f, number);
}

static void drop_claim(Node *n, Interface *i) {
        File *f = i->owner;

        f->claimed &= ~(UINT64_C(1) << i->number);
        i->owner = NULL;
        node_cancel_all(n, f, i->number, -ENOENT);
        if (!n->gone)
                n->world->front->bind(n, i, NULL);
}

int file_release_claim(File *f, unsigned number) {
        if (number >= 64)
                return -EINVAL;
        Interface *i = node_interface(f->node, number);
        if (!i)
                return -ENOENT;
        if (i->owner != f)
                return -EINVAL;
        drop_claim(f->node, i);
        return 0;
}

void node_drop_claims(Node *n) {
        for (unsigned i = 0; i < n->n_interfaces; i++)
                if (n->interfaces[i].owner)
                        drop_claim(n, &n->interfaces[i]);
}

/* USBDEVFS_DISCONNECT: takes the interface from whoever drives it. */
int interface_detach(Node *n, Interface *i) {
        if (i->foreign)
                return -EBUSY;
        if (i->owner)
                drop_claim(n, i);
        else if (i->driver[0]) {
                bool back = n->unit && n->unit->o.driver_stubborn;
                if (!back)
                        i->driver[0] = 0;
                n->world->front->bind(n, i, NULL);
                if (back)
                        n->world->front->bind(n, i, i->driver);
                if (n->unit)
                        tty_wake(n->unit);
        } else
                return -ENODATA;
        return 0;
}

/* ---- files ---- */

File *file_open(Node *n, bool writable) {
        File *f = NULL;

        pthread_mutex_lock(n->lock);
        if (!n->gone) {
                f = alloc0(sizeof *f);
                f->node = node_ref(n);
                f->writable = writable;
                TAILQ_INIT(&f->done);
                LIST_INSERT_HEAD(&n->files, f, files);
        }
        pthread_mutex_unlock(n->lock);
        return f;
}

void file_close(File *f) {
        Node *n = f->node;
        World *w = n->world;
        Urb *u;

        pthread_mutex_lock(n->lock);
        for (unsigned i = 0; i < n->n_interfaces; i++)
                if (n->interfaces[i].owner == f)
                        drop_claim(n, &n->interfaces[i]);
        node_cancel_all(n, f, -1, -ENOENT);
        LIST_REMOVE(f, files);
        while ((u = urb_take_done(f)))
                urb_free(w, u);
        if (f->closing)
                atomic_fetch_sub(&w->closing_files, 1);
        pthread_mutex_unlock(n->lock);
        free(f);
        node_unref(n);
}

/* ---- transfers ---- */

static struct UrbQueue *urb_queue(Node *n, const Urb *u) {
        return u->type == USBDEVFS_URB_TYPE_CONTROL ? &n->control : u->ep & 0x80 ? &n->in : &n->out;
}

static uint32_t ep_bit(uint8_t ep) {
        return UINT32_C(1) << ((ep & 15) | (ep & 0x80 ? 16 : 0));
}

/* After an error those transfers that continue the failed one must not run. */
static void cancel_continuation(Node *n, File *f, uint8_t ep) {
        struct UrbQueue *q = ep & 0x80 ? &n->in : &n->out;
        Urb *u, *next;

        f->disabled_eps |= ep_bit(ep);
        for (u = TAILQ_FIRST(q); u; u = next) {
                next = TAILQ_NEXT(u, link);
                if (u->file != f || u->ep != ep)
                        continue;
                if (u->bulk != BULK_CONTINUES)
                        break;
                u->bulk = BULK_UNLINK;
                urb_finish(n, u, -ECONNRESET);
                next = TAILQ_FIRST(q);
        }
}

void urb_finish(Node *n, Urb *u, int status) {
        File *f = u->file;

        TAILQ_REMOVE(urb_queue(n, u), u, link);
        n->syncs -= u->sync_req != NULL;
        u->status = status;
        if (u->actual > u->len)
                u->actual = u->len;
        if (u->sync_req) {
                sync_reply(u);
                urb_free(n->world, u);
                return;
        }
        TAILQ_INSERT_TAIL(&f->done, u, link);
        if (status < 0 && status != -ECONNRESET && status != -ENOENT && u->type == USBDEVFS_URB_TYPE_BULK)
                cancel_continuation(n, f, u->ep);
        n->world->front->wake(f);
}

int urb_submit(File *f, Urb *u) {
        Node *n = f->node;

        if (u->flags & USBDEVFS_URB_BULK_CONTINUATION)
                u->bulk = BULK_CONTINUES;
        else
                f->disabled_eps &= ~ep_bit(u->ep);
        if (f->disabled_eps & ep_bit(u->ep))
                return -EREMOTEIO;
        u->file = f;
        n->syncs += u->sync_req != NULL;
        TAILQ_INSERT_TAIL(urb_queue(n, u), u, link);
        atomic_fetch_add_explicit(&n->world->n_urbs, 1, memory_order_relaxed);
        if (n->unit)
                unit_run(n->unit);
        return 0;
}

static Urb *find_urb(struct UrbQueue *q, const File *f, uint64_t user_urb) {
        Urb *u;

        TAILQ_FOREACH (u, q, link)
                if (u->file == f && u->user_urb == user_urb && !u->sync_req)
                        return u;
        return NULL;
}

int urb_discard(File *f, uint64_t user_urb) {
        Node *n = f->node;
        Urb *u = find_urb(&n->in, f, user_urb) ?: find_urb(&n->out, f, user_urb) ?: find_urb(&n->control, f, user_urb);

        if (!u)
                return -EINVAL;
        urb_finish(n, u, -ENOENT);
        if (n->unit)
                unit_run(n->unit);
        return 0;
}

Urb *urb_take_done(File *f) {
        Urb *u = TAILQ_FIRST(&f->done);

        if (u)
                TAILQ_REMOVE(&f->done, u, link);
        return u;
}

static void cancel_queue(Node *n, struct UrbQueue *q, const File *f, int interface, int status) {
        Urb *u;

        do {
                TAILQ_FOREACH (u, q, link)
                        if ((!f || u->file == f) && (interface < 0 || u->interface == interface))
                                break;
                if (u)
                        urb_finish(n, u, status); /* may take others with it, so look again from the start */
        } while (u);
}

/* interface < 0: all; f NULL: of everybody. */
void node_cancel_all(Node *n, File *f, int interface, int status) {
        cancel_queue(n, &n->in, f, interface, status);
        cancel_queue(n, &n->out, f, interface, status);
        if (interface < 0)
                cancel_queue(n, &n->control, f, -1, status);
}

void node_cut(Node *n) {
        File *f;

        if (n->gone)
                return;
        n->gone = true;
        for (unsigned i = 0; i < n->n_interfaces; i++) {
                n->interfaces[i].owner = NULL;
                n->interfaces[i].foreign = false;
        }
        LIST_FOREACH (f, &n->files, files)
                f->claimed = 0;
        node_cancel_all(n, NULL, -1, -ESHUTDOWN);
        LIST_FOREACH (f, &n->files, files)
                n->world->front->wake(f);
}
