/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <sys/prctl.h>
#include <time.h>

/* Two threads: one runs the models when their time has come, the other carries out what needs the lock of the world
 * (devices that leave and come back). And the wire: its bytes a second, shared by the devices of a controller. */

enum { STEP_NS = 50000, BURST_NS = 2000000 };

static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sleep_cond;
static uint64_t sleeps_until; /* under sleep_lock */

static struct timespec timespec_of(uint64_t ns) {
        return (struct timespec){ .tv_sec = (time_t) (ns / S_NS), .tv_nsec = (long) (ns % S_NS) };
}

static void sleep_on(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until) {
        if (until == NEVER)
                pthread_cond_wait(cond, lock);
        else {
                struct timespec t = timespec_of(until);

                pthread_cond_timedwait(cond, lock, &t);
        }
}

void clock_arm(Unit *u, uint64_t at) {
        if (atomic_load_explicit(&u->next, memory_order_relaxed) == at)
                return;
        pthread_mutex_lock(&sleep_lock);
        atomic_store(&u->next, at);
        if (at < sleeps_until)
                pthread_cond_signal(&sleep_cond);
        pthread_mutex_unlock(&sleep_lock);
}

static uint64_t run_due_units(World *w) {
        uint64_t first = NEVER;

        for (unsigned i = 0; i < w->n_units; i++) {
                Unit *u = w->units[i];

                if (atomic_load(&u->next) <= clock_ns()) {
                        pthread_mutex_lock(&u->lock);
                        unit_run(u);
                        pthread_mutex_unlock(&u->lock);
                }
                first = MIN_OF(first, atomic_load(&u->next));
        }
        return first;
}

static void *model_thread(void *p) {
        World *w = p;

        prctl(PR_SET_TIMERSLACK, 1);
        for (;;) {
                uint64_t first = run_due_units(w);

                pthread_mutex_lock(&sleep_lock);
                for (unsigned i = 0; i < w->n_units; i++)
                        first = MIN_OF(first, atomic_load(&w->units[i]->next));
                sleeps_until = first;
                /* However wrong a model is about its next event, the others get their turn. */
                sleep_on(&sleep_cond, &sleep_lock, first == NEVER ? NEVER : MAX_OF(first, clock_ns() + STEP_NS));
                sleeps_until = 0;
                pthread_mutex_unlock(&sleep_lock);
        }
        return NULL;
}

/* Wishes are told from under a unit's lock, while world.lock comes before it: hence a lock of its own. */
static pthread_mutex_t act_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t act_cond;
static bool act_wanted;

void clock_act(void) {
        pthread_mutex_lock(&act_lock);
        act_wanted = true;
        pthread_cond_signal(&act_cond);
        pthread_mutex_unlock(&act_lock);
}

static uint64_t act_round(World *w) {
        uint64_t now = clock_ns(), next = NEVER;

        pthread_mutex_lock(&w->lock);
        for (unsigned i = 0; i < w->n_units; i++)
                next = MIN_OF(next, unit_act(w->units[i], now));
        pthread_mutex_unlock(&w->lock);
        return next;
}

static void *world_thread(void *p) {
        for (;;) {
                uint64_t next = act_round(p);

                pthread_mutex_lock(&act_lock);
                while (!act_wanted && clock_ns() < next)
                        sleep_on(&act_cond, &act_lock, next);
                act_wanted = false;
                pthread_mutex_unlock(&act_lock);
        }
        return NULL;
}

void clock_start(World *w) {
        pthread_condattr_t monotonic;
        pthread_t t;

        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&sleep_cond, &monotonic);
        pthread_cond_init(&act_cond, &monotonic);
        if (pthread_create(&t, NULL, model_thread, w) != 0 || pthread_create(&t, NULL, world_thread, w) != 0)
                quit(1, "No thread can be started.");
}

/* ---- the wire ---- */

/* Says when `bytes` have passed. A short burst is let through at once: timers are coarser than packets. */
uint64_t rate_due(World *w, Controller *c, uint64_t bytes, uint64_t now) {
        uint64_t rate = atomic_load_explicit(&w->bus_rate, memory_order_relaxed);

        atomic_fetch_add_explicit(&w->n_bytes, bytes, memory_order_relaxed);
        if (rate == 0)
                return now;
        pthread_mutex_lock(&c->rate_lock);
        c->busy_until = MAX_OF(c->busy_until, now) + bytes * S_NS / rate;
        uint64_t due = c->busy_until;
        pthread_mutex_unlock(&c->rate_lock);
        return due > now + BURST_NS ? due - BURST_NS : now;
}
