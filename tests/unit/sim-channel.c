/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "sim-channel.h"

#define MS 1000000ull

static SimChannel *of(Channel *c) {
        return (SimChannel *) c;
}

static void pull(SimChannel *sc, SimWish why) {
        sim_power_off(sc->model);
        sc->attached = false;
        sc->wish = why;
}

/* Lets time pass up to `until`, but not further than the unit's next event. */
static void step(SimChannel *sc, uint64_t until) {
        uint64_t next = sim_next_event(sc->model), delay;
        SimWish wish;

        if (next > until)
                next = until;
        if (sc->unplug_at_ns && next > sc->unplug_at_ns)
                next = sc->unplug_at_ns;
        if (next > sc->now_ns)
                sc->now_ns = next;
        sim_advance(sc->model, sc->now_ns);
        if (sc->unplug_at_ns && sc->now_ns >= sc->unplug_at_ns) {
                sc->unplug_at_ns = 0;
                pull(sc, SIM_LEAVE);
                return;
        }
        wish = sim_take_wish(sc->model, &delay);
        if (wish == SIM_STAY)
                return;
        sc->attached = false;
        sc->wish = wish;
        sc->back_at_ns = sc->now_ns + delay;
}

static uint64_t deadline(const SimChannel *sc, uint32_t timeout_ms) {
        return sc->now_ns + timeout_ms * MS;
}

static int sc_send(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        SimChannel *sc = of(c);
        uint64_t until = deadline(sc, timeout_ms);

        sc->sends++;
        if (sc->unplug_at_send && sc->sends == sc->unplug_at_send)
                pull(sc, SIM_LEAVE);
        for (;;) {
                step(sc, sc->now_ns);
                if (sc->canceled)
                        return -ECANCELED;
                if (!sc->attached)
                        return -ENODEV;
                if (sim_out_ready(sc->model))
                        break;
                if (sc->now_ns >= until)
                        return -ETIMEDOUT;
                step(sc, until);
        }
        sc->bytes_out += size;
        if (sc->tap)
                sc->tap(sc->tap_userdata, data, size);
        sim_out(sc->model, data, size, size % c->max_packet == 0);
        step(sc, sc->now_ns);
        return 0;
}

static int sc_receive(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        SimChannel *sc = of(c);
        uint64_t until = deadline(sc, timeout_ms);
        size_t got = 0;

        *ret_size = 0;
        sc->receives++;
        for (;;) {
                /* A transfer ends on a short packet, a ZLP or a full buffer; without them it goes on with the next
                 * reply. */
                while (sc->attached && sim_in_ready(sc->model)) {
                        bool end;

                        got += sim_in(sc->model, (uint8_t *) data + got, size - got, &end);
                        if (end || got == size)
                                goto done;
                }
                if (sc->canceled)
                        return -ECANCELED;
                if (!sc->attached && got == 0)
                        return -ENODEV;
                if (!sc->attached || (sc->now_ns >= until && got > 0))
                        goto done;
                if (sc->now_ns >= until)
                        return -ETIMEDOUT;
                step(sc, until);
        }
done:
        sc->bytes_in += got;
        *ret_size = got;
        return 0;
}

static int sc_borrow(Channel *c, uint32_t timeout_ms, const uint8_t **ret, size_t *ret_size) {
        const size_t room = 65 * 1024;
        uint8_t *lent = malloc(room);
        int r;

        if (!lent)
                return -ENOMEM;
        if (of(c)->lent)
                memset(of(c)->lent, 0xdb, room);
        free(of(c)->lent);
        of(c)->lent = lent;
        r = sc_receive(c, lent, room, timeout_ms, ret_size);
        *ret = lent;
        return r;
}

/* In pieces, as a real one; only the last may be followed by a zero-length packet. */
static int sc_stream(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        SimChannel *sc = of(c);
        const uint8_t *p = data;

        while (size > 0) {
                size_t n = size < 65536 ? size : 65536;
                uint64_t until = deadline(sc, timeout_ms);

                sc->sends++;
                if (sc->unplug_at_send && sc->sends == sc->unplug_at_send)
                        pull(sc, SIM_LEAVE);
                for (;;) {
                        step(sc, sc->now_ns);
                        if (sc->canceled)
                                return -ECANCELED;
                        if (!sc->attached)
                                return -ENODEV;
                        if (sim_out_ready(sc->model))
                                break;
                        if (sim_in_ready(sc->model))
                                return -EREMOTE;
                        if (sc->now_ns >= until)
                                return -ETIMEDOUT;
                        step(sc, until);
                }
                sc->bytes_out += n;
                sim_out(sc->model, p, n, n == size && n % c->max_packet == 0);
                step(sc, sc->now_ns);
                p += n;
                size -= n;
        }
        return 0;
}

static int sc_line_state(Channel *c, uint16_t value, uint32_t timeout_ms) {
        SimChannel *sc = of(c);

        (void) timeout_ms;
        step(sc, sc->now_ns);
        if (!sc->attached)
                return -ENODEV;
        sim_line_state(sc->model, value);
        return 0;
}

static int sc_look(Channel *c, uint32_t timeout_ms) {
        SimChannel *sc = of(c);
        uint64_t until = deadline(sc, timeout_ms);

        step(sc, sc->now_ns);
        while (sc->attached && !sc->canceled && (timeout_ms == 0 || !sim_alive(sc->model))) {
                if (sc->now_ns >= until)
                        return -ETIMEDOUT;
                step(sc, until);
        }
        return sc->canceled ? -ECANCELED : sc->attached ? 0 : -ENODEV;
}

static uint64_t sc_now(Channel *c) {
        return of(c)->now_ns / MS;
}

static int sc_pause(Channel *c, uint32_t ms) {
        SimChannel *sc = of(c);
        uint64_t until = deadline(sc, ms);

        while (sc->now_ns < until && sc->attached && !sc->canceled)
                step(sc, until);
        return sc->canceled ? -ECANCELED : sc->attached ? 0 : -ENODEV;
}

static const ChannelOps ops = {
        .send = sc_send,
        .stream = sc_stream,
        .receive = sc_receive,
        .borrow = sc_borrow,
        .line_state = sc_line_state,
        .look = sc_look,
        .now = sc_now,
        .pause = sc_pause,
};

void sim_channel_plug(SimChannel *sc) {
        SimUsb usb;

        sim_power_on(sc->model, sc->now_ns, sc->high_speed);
        sim_usb(sc->model, &usb);
        sc->channel.max_packet = sc->high_speed ? usb.max_packet : 64;
        sc->attached = true;
        sc->wish = SIM_STAY;
        sc->canceled = false;
}

void sim_channel_unplug(SimChannel *sc) {
        pull(sc, SIM_LEAVE);
}

int sim_channel_wait_back(SimChannel *sc, uint32_t timeout_ms) {
        uint64_t until = deadline(sc, timeout_ms);

        if (sc->attached)
                return 0;
        if (sc->wish != SIM_REENUMERATE)
                return -ENODEV;
        while (sc->now_ns < sc->back_at_ns) {
                if (sc->now_ns >= until)
                        return -ETIMEDOUT;
                step(sc, until < sc->back_at_ns ? until : sc->back_at_ns);
        }
        sc->attached = true;
        sc->wish = SIM_STAY;
        step(sc, sc->now_ns);
        return sc->attached ? 0 : -ENODEV;
}

void sim_channel_cancel(SimChannel *sc) {
        sc->canceled = true;
}

void sim_channel_fault(SimChannel *sc, const char *line) {
        char err[256];

        if (sim_fault(sc->model, line, err, sizeof(err)))
                return;
        fprintf(stderr, "%s\n", err);
        abort();
}

SimChannel *sim_channel_new(const char *spec, const char *storage, unsigned seed, char *err, size_t err_size) {
        SimChannel *sc = calloc(1, sizeof(*sc));

        if (!sc) {
                snprintf(err, err_size, "out of memory");
                return NULL;
        }
        sc->channel.ops = &ops;
        sc->high_speed = true;
        sc->now_ns = 1000 * MS;
        sc->model = sim_new(spec, storage, seed, err, err_size);
        if (!sc->model) {
                free(sc);
                return NULL;
        }
        sim_channel_plug(sc);
        return sc;
}

SimChannel *sim_channel_free(SimChannel *sc) {
        if (sc) {
                sim_free(sc->model);
                free(sc->lent);
                free(sc);
        }
        return NULL;
}
