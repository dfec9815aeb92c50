/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* A unit as a serial port: a pty that appears as /dev/ttyUSBn, and a thread that moves bytes between it and the model,
 * as the kernel's usb-serial driver does: what is written at once is one OUT transfer, reads are byte streams. */

enum { CHUNK = 4096, IDLE_MS = 20 };

struct Tty {
        Unit *unit;
        pthread_t thread;
        int master, wake;
        atomic_bool stop;
        bool open; /* somebody has the port open */
        char path[32], target[64];
        size_t held; /* read from the port, not yet taken by the device */
        uint8_t out[CHUNK];
};

/* The driver may have been taken off the interface. */
static bool has_driver(const Unit *u) {
        if (u->o.tty == TTY_ONLY)
                return u->powered && u->action == ACT_NONE;
        if (!u->node || u->node->gone || !u->node->runs_model)
                return false;
        for (unsigned i = 0; i < u->node->n_interfaces; i++)
                if (u->node->interfaces[i].bulk && !u->node->interfaces[i].owner && u->node->interfaces[i].driver[0])
                        return true;
        return false;
}

/* Opening the port raises DTR. */
static void set_open(Tty *t, bool open) {
        if (open && !t->open) {
                pthread_mutex_lock(&t->unit->lock);
                if (has_driver(t->unit))
                        sim_line_state(t->unit->model, 1);
                unit_run(t->unit);
                pthread_mutex_unlock(&t->unit->lock);
        }
        t->open = open;
}

static void to_device(Tty *t) {
        Unit *u = t->unit;

        if (t->held == 0) {
                ssize_t n = read(t->master, t->out, sizeof t->out);

                if (n <= 0)
                        return;
                t->held = (size_t) n;
        }
        pthread_mutex_lock(&u->lock);
        if (!has_driver(u))
                t->held = 0;
        else if (sim_out_ready(u->model)) {
                sim_out(u->model, t->out, t->held, false);
                u->bytes_out += t->held;
                u->transfers++;
                t->held = 0;
                unit_run(u);
        }
        pthread_mutex_unlock(&u->lock);
}

static bool from_device(Tty *t) {
        Unit *u = t->unit;
        uint8_t buf[CHUNK];
        size_t n = 0;
        bool end;

        pthread_mutex_lock(&u->lock);
        if (has_driver(u) && sim_in_ready(u->model)) {
                n = sim_in(u->model, buf, sizeof buf, &end);
                unit_run(u);
        }
        pthread_mutex_unlock(&u->lock);
        for (size_t done = 0; done < n && !atomic_load(&t->stop);) {
                ssize_t k = write(t->master, buf + done, n - done);
                struct pollfd p = { t->master, POLLOUT, 0 };

                if (k > 0)
                        done += (size_t) k;
                else if (errno != EAGAIN || poll(&p, 1, IDLE_MS) < 0)
                        break;
        }
        return n > 0;
}

static void *tty_thread(void *p) {
        Tty *t = p;
        uint64_t ignored;

        while (!atomic_load(&t->stop)) {
                struct pollfd fds[2] = { { t->wake, POLLIN, 0 }, { t->master, t->held > 0 ? 0 : POLLIN, 0 } };
                /* With nobody on the other side the master reports HUP all the time: look now and then only. */
                int r = poll(fds, t->open ? 2 : 1, t->open && t->held == 0 ? -1 : IDLE_MS);

                if (!t->open && poll(fds + 1, 1, 0) < 0)
                        continue;
                if (r > 0 && fds[0].revents && read(t->wake, &ignored, sizeof ignored) < 0)
                        continue;
                set_open(t, !(fds[1].revents & POLLHUP));
                if (!t->open)
                        continue;
                if (t->held > 0 || fds[1].revents & POLLIN)
                        to_device(t);
                while (from_device(t))
                        ;
        }
        return NULL;
}

static bool open_pty(Tty *t) {
        struct termios raw;

        t->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
        if (t->master < 0 || grantpt(t->master) < 0 || unlockpt(t->master) < 0 ||
            ptsname_r(t->master, t->target, sizeof t->target) != 0)
                return false;
        /* The first open and close makes the master report HUP until a client comes. */
        int slave = open(t->target, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (slave < 0)
                return false;
        if (tcgetattr(slave, &raw) == 0) {
                cfmakeraw(&raw);
                tcsetattr(slave, TCSANOW, &raw);
        }
        close(slave);
        return true;
}

static bool name_port(Tty *t) {
        for (unsigned i = 0; i < UNITS_MAX; i++) {
                format_to(t->path, sizeof t->path, "/dev/ttyUSB%u", i);
                if (symlink(t->target, t->path) == 0)
                        return true;
                if (errno != EEXIST)
                        return false;
        }
        return false;
}

void tty_start(Unit *u) {
        Tty *t = alloc0(sizeof *t);

        t->unit = u;
        t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (t->wake < 0 || !open_pty(t) || !name_port(t) || pthread_create(&t->thread, NULL, tty_thread, t) != 0) {
                complain("Device %u gets no serial port: %m", u->index);
                free(t);
                return;
        }
        pthread_mutex_lock(&u->lock);
        u->tty = t;
        pthread_mutex_unlock(&u->lock);
}

void tty_stop(Unit *u) {
        pthread_mutex_lock(&u->lock);
        Tty *t = u->tty;
        u->tty = NULL;
        pthread_mutex_unlock(&u->lock);
        if (!t)
                return;
        unlink(t->path);
        atomic_store(&t->stop, true);
        if (eventfd_write(t->wake, 1) < 0)
                complain("A serial port cannot be stopped: %m");
        pthread_join(t->thread, NULL);
        close(t->master);
        close(t->wake);
        free(t);
}

/* The unit's lock is held. */
void tty_wake(Unit *u) {
        if (u->tty && (!has_driver(u) || sim_in_ready(u->model)))
                eventfd_write(u->tty->wake, 1);
}

const char *tty_path(const Unit *u) {
        return u->tty ? u->tty->path : NULL;
}
