/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>

/* Units: a model in a socket. Moves transfers between usbfs and the model, carries out what the model wishes. */

enum { ROUNDS_MAX = 64, BOOT_MS = 300 };

static const SimUsb booted = { .bcd_device = 0x0404,
                               .ep_in = 0x81,
                               .ep_out = 0x01,
                               .max_packet = 512,
                               .n_interfaces = 1,
                               .manufacturer = "Unisoc",
                               .product_name = "Unisoc Phone",
                               .serial = "0123456789ABCDEF" };

/* ---- transfers ---- */

/* An endpoint that stalls, or one packet that was spoilt on the wire. */
static bool fails_now(bool halted, bool *error) {
        bool once = *error;

        *error = false;
        return halted || once;
}

static bool move_out(Unit *u, Node *n, uint64_t now) {
        bool moved = false;
        Urb *urb;

        while ((urb = TAILQ_FIRST(&n->out))) {
                if (fails_now(n->halted_out, &n->error_out)) {
                        urb_finish(n, urb, n->halted_out ? -EPIPE : -EPROTO);
                        continue;
                }
                if (!sim_out_ready(u->model))
                        break;
                if (urb->due == 0)
                        urb->due = rate_due(u->world, n->bus->controller, urb->len, now);
                if (urb->due > now)
                        break;
                bool zlp =
                        urb->len == 0 || (urb->flags & USBDEVFS_URB_ZERO_PACKET && urb->len % node_max_packet(n) == 0);
                sim_out(u->model, urb->buf, urb->len, zlp);
                urb->actual = urb->len;
                u->bytes_out += urb->len;
                if (u->first_byte_ns == 0)
                        u->first_byte_ns = clock_ns();
                u->transfers++;
                urb_finish(n, urb, 0);
                moved = true;
        }
        return moved;
}

/* Takes what the device has for this transfer; true when it is complete. */
static bool fill_in(Unit *u, Node *n, Urb *urb, uint64_t now) {
        bool end = urb->capacity == 0;

        while (!end && urb->actual < urb->capacity && sim_in_ready(u->model)) {
                size_t got = sim_in(u->model, urb->buf + urb->actual, urb->capacity - urb->actual, &end);

                urb->actual += (uint32_t) got;
                if (got == 0 && !end)
                        break;
        }
        if (!end && urb->actual < urb->capacity)
                return false;
        urb->filled = true;
        urb->due = rate_due(u->world, n->bus->controller, urb->actual, now);
        return true;
}

static bool move_in(Unit *u, Node *n, uint64_t now) {
        bool moved = false;
        Urb *urb;

        while ((urb = TAILQ_FIRST(&n->in))) {
                if (fails_now(n->halted_in, &n->error_in)) {
                        urb_finish(n, urb, n->halted_in ? -EPIPE : -EPROTO);
                        continue;
                }
                if (!urb->filled && !fill_in(u, n, urb, now))
                        break;
                if (urb->due > now)
                        break;
                u->transfers++;
                bool babble = urb->actual > urb->len, is_short = urb->actual < urb->len;
                urb_finish(n, urb,
                           babble                                               ? -EOVERFLOW
                           : is_short && urb->flags & USBDEVFS_URB_SHORT_NOT_OK ? -EREMOTEIO
                                                                                : 0);
                moved = true;
        }
        return moved;
}

static void expire(Node *n, struct UrbQueue *q, uint64_t now) {
        Urb *u, *next;

        for (u = TAILQ_FIRST(q); u; u = next) {
                next = TAILQ_NEXT(u, link);
                if (u->sync_req && u->deadline <= now)
                        urb_finish(n, u, -ETIMEDOUT);
        }
}

static uint64_t next_due(const Node *n) {
        const Urb *in = TAILQ_FIRST(&n->in), *out = TAILQ_FIRST(&n->out), *u;
        uint64_t next = NEVER;

        if (in && in->filled)
                next = MIN_OF(next, in->due);
        if (out && out->due > 0)
                next = MIN_OF(next, out->due);
        if (n->syncs > 0) {
                TAILQ_FOREACH (u, &n->in, link)
                        next = MIN_OF(next, u->deadline);
                TAILQ_FOREACH (u, &n->out, link)
                        next = MIN_OF(next, u->deadline);
        }
        return next;
}

/* ---- wishes ---- */

static void act_later(Unit *u, UnitAction action, uint64_t at) {
        u->action = action;
        u->action_at = at;
        if (u->node)
                node_cut(u->node);
        clock_act();
}

static void take_wish(Unit *u, uint64_t now) {
        uint64_t delay = 0;

        switch (sim_take_wish(u->model, &delay)) {
        case SIM_STAY:
                break;
        case SIM_LEAVE:
                act_later(u, ACT_LEAVE, now);
                break;
        case SIM_REENUMERATE:
                act_later(u, ACT_REENUMERATE, now + delay);
                break;
        case SIM_STALL:
                if (u->node)
                        u->node->halted_in = u->node->halted_out = true;
                break;
        case SIM_BOOT:
                act_later(u, ACT_BOOT, now + (u->world->settings.fast ? 0 : BOOT_MS * MS_NS));
                break;
        }
}

void unit_run(Unit *u) {
        uint64_t now = clock_ns(), next = NEVER;
        unsigned rounds = 0;

        for (; u->powered && rounds < ROUNDS_MAX; rounds++) {
                bool moved = false;

                sim_advance(u->model, now);
                if (u->node && !u->node->gone && u->node->runs_model) {
                        moved |= move_out(u, u->node, now);
                        moved |= move_in(u, u->node, now);
                }
                take_wish(u, now);
                if (!moved && sim_next_event(u->model) > now)
                        break;
                now = clock_ns();
        }
        if (u->powered)
                next = rounds == ROUNDS_MAX ? now : sim_next_event(u->model);
        if (u->node && !u->node->gone) {
                if (u->node->syncs > 0) {
                        expire(u->node, &u->node->in, now);
                        expire(u->node, &u->node->out, now);
                }
                next = MIN_OF(next, next_due(u->node));
        }
        clock_arm(u, next);
        if (u->tty)
                tty_wake(u);
        if (u->waiters > 0)
                pthread_cond_broadcast(&u->changed);
}

/* ---- attach and detach: world.lock is held ---- */

static void hold_interfaces(const Unit *u, Node *n) {
        for (unsigned i = 0; i < n->n_interfaces; i++) {
                Interface *f = &n->interfaces[i];

                if (!f->bulk)
                        continue;
                f->foreign = u->o.held_by_program;
                if (u->o.held[0])
                        memcpy(f->driver, u->o.held, sizeof f->driver);
                else if (u->o.tty != TTY_NO)
                        snprintf(f->driver, sizeof f->driver, "usbserial_generic");
        }
}

static Node *take_node(Unit *u) {
        Node *n = u->node;

        u->node = NULL;
        return n;
}

static bool attach(Unit *u, const SimUsb *other) {
        char name[40];
        Node *hub = unit_hub(u, name, sizeof name);
        SimUsb usb;

        if (!hub)
                return false;
        pthread_mutex_lock(&u->lock);
        if (other)
                usb = *other;
        else
                sim_usb(u->model, &usb);
        Node *n = node_new(u->world, hub->bus, name, hub->path, &usb, u->o.speed);
        n->lock = &u->lock;
        n->unit = u;
        n->runs_model = !other;
        n->configured = other || !u->o.unauthorised;
        if (!other)
                hold_interfaces(u, n);
        pthread_mutex_unlock(&u->lock);
        if (!u->world->front->add(n)) {
                node_unref(n);
                return false;
        }
        pthread_mutex_lock(&u->lock);
        u->node = n;
        u->announced_ns = clock_ns();
        u->first_byte_ns = 0;
        unit_run(u);
        pthread_mutex_unlock(&u->lock);
        return u->world->front->announce(n);
}

static void detach(Node *n) {
        n->world->front->remove(n);
        node_unref(n);
}

uint64_t unit_act(Unit *u, uint64_t now) {
        pthread_mutex_lock(&u->lock);
        UnitAction action = u->action;
        Node *old = action != ACT_NONE ? take_node(u) : NULL;
        uint64_t at = u->action_at;
        bool wait = action != ACT_NONE && now < at;
        if (!wait)
                u->action = ACT_NONE;
        pthread_mutex_unlock(&u->lock);
        if (old)
                detach(old);
        if (wait)
                return at;
        if (action == ACT_REENUMERATE && u->o.tty != TTY_ONLY)
                attach(u, NULL);
        if (action == ACT_BOOT && u->o.boots) {
                SimUsb system = booted;

                system.vendor = u->o.boot_vendor;
                system.product = u->o.boot_product;
                attach(u, &system);
        }
        return NEVER;
}

/* ---- what control asks for ---- */

static void power_on(Unit *u) {
        pthread_mutex_lock(&u->lock);
        if (u->powered)
                sim_power_off(u->model);
        sim_power_on(u->model, clock_ns(), u->o.speed != SPEED_FULL);
        u->powered = u->plugged = true;
        u->action = ACT_NONE;
        pthread_mutex_unlock(&u->lock);
}

static bool plug(Unit *u, const char *port, char *err, size_t err_size) {
        if (u->plugged) {
                snprintf(err, err_size, "The device is plugged in already; unplug it first, or use replug.");
                return false;
        }
        if (port && !unit_place(u, port, err, err_size))
                return false;
        power_on(u);
        if (u->o.tty != TTY_NO)
                tty_start(u);
        if (u->o.tty != TTY_ONLY && !attach(u, NULL)) {
                snprintf(err, err_size, "No device number is free on the bus, or the kernel does not take the device.");
                return false;
        }
        return true;
}

static bool unplug(Unit *u, char *err, size_t err_size) {
        if (!u->plugged) {
                snprintf(err, err_size, "The device is not plugged in.");
                return false;
        }
        pthread_mutex_lock(&u->lock);
        Node *old = take_node(u);
        if (old)
                node_cut(old);
        sim_power_off(u->model);
        u->powered = u->plugged = false;
        u->action = ACT_NONE;
        unit_run(u);
        pthread_mutex_unlock(&u->lock);
        if (u->o.tty != TTY_NO)
                tty_stop(u);
        if (old)
                detach(old);
        return true;
}

bool unit_plug(Unit *u, const char *port, char *err, size_t err_size) {
        pthread_mutex_lock(&u->world->lock);
        bool ok = plug(u, port, err, err_size);
        pthread_mutex_unlock(&u->world->lock);
        return ok;
}

bool unit_unplug(Unit *u, char *err, size_t err_size) {
        pthread_mutex_lock(&u->world->lock);
        bool ok = unplug(u, err, err_size);
        pthread_mutex_unlock(&u->world->lock);
        return ok;
}

int unit_reset(Unit *u, Node *n) {
        SimUsb usb;

        node_drop_claims(n);
        node_cancel_all(n, NULL, -1, -ENOENT);
        if (!n->runs_model || u->o.reset == RESET_KEEP)
                return 0;
        if (u->o.reset == RESET_GONE) {
                act_later(u, ACT_LEAVE, clock_ns());
                return -ENODEV;
        }
        sim_power_off(u->model);
        sim_power_on(u->model, clock_ns(), u->o.speed != SPEED_FULL);
        n->halted_in = n->halted_out = false;
        sim_usb(u->model, &usb);
        if (usb.vendor == n->usb.vendor && usb.product == n->usb.product && usb.bcd_device == n->usb.bcd_device) {
                unit_run(u);
                return 0;
        }
        act_later(u, ACT_REENUMERATE, clock_ns()); /* other descriptors: a new device for the kernel */
        return -ENODEV;
}

/* ---- making ---- */

static SimModel *make_model(Unit *u, const UnitOptions *o, unsigned swaps, char *err, size_t err_size) {
        char dir[512], name[80], suffix[24] = "";

        snprintf(name, sizeof name, "%u", u->index);
        if (swaps > 0)
                format_to(suffix, sizeof suffix, ".swap%u", swaps);
        format_to(dir, sizeof dir, "%s/%s%s", u->world->storage, o->name ?: name, suffix);
        int r = make_dirs(dir);
        if (r < 0) {
                snprintf(err, err_size, "The storage directory %s cannot be made: %s.", dir, strerror(-r));
                return NULL;
        }
        return sim_new(o->model_spec, dir, (o->seed ?: u->index + 1) + swaps * 1000, err, err_size);
}

Unit *unit_new(World *w, unsigned index, const char *spec, char *err, size_t err_size) {
        Unit *u = alloc0(sizeof *u);
        pthread_condattr_t monotonic;

        u->world = w;
        u->index = index;
        u->o.speed = SPEED_HIGH;
        atomic_init(&u->next, NEVER);
        pthread_mutex_init(&u->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&u->changed, &monotonic);
        if (unit_options_parse(&u->o, spec, w->settings.fast, err, err_size))
                u->model = make_model(u, &u->o, 0, err, err_size);
        if (u->model)
                return u;
        unit_options_free(&u->o);
        free(u);
        return NULL;
}

static bool swap(Unit *u, const char *spec, char *err, size_t err_size) {
        bool was_plugged = u->plugged;
        UnitOptions o = u->o;

        if (spec) {
                o = (UnitOptions){ .speed = SPEED_HIGH };
                if (!unit_options_parse(&o, spec, u->world->settings.fast, err, err_size)) {
                        unit_options_free(&o);
                        return false;
                }
                memcpy(o.port, u->o.port, sizeof o.port);
        }
        SimModel *m = make_model(u, &o, u->swaps + 1, err, err_size);
        if (!m) {
                if (spec)
                        unit_options_free(&o);
                return false;
        }
        if (was_plugged)
                unplug(u, err, err_size);
        pthread_mutex_lock(&u->lock);
        sim_free(u->model);
        u->model = m;
        u->swaps++;
        if (spec) {
                unit_options_free(&u->o);
                u->o = o;
        }
        pthread_mutex_unlock(&u->lock);
        return !was_plugged || plug(u, NULL, err, err_size);
}

bool unit_swap(Unit *u, const char *spec, char *err, size_t err_size) {
        pthread_mutex_lock(&u->world->lock);
        bool ok = swap(u, spec, err, err_size);
        pthread_mutex_unlock(&u->world->lock);
        return ok;
}
