/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world/world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* usbsim: makes the world, runs a command in it, ends as the command ends. */

static World world;

static void make_units(World *w) {
        char err[512] = "unknown reason";

        for (unsigned i = 0; i < w->settings.n_devices; i++) {
                w->units[i] = unit_new(w, i, w->settings.devices[i], err, sizeof err);
                if (!w->units[i])
                        quit(2, "Device %u (%s): %s", i, w->settings.devices[i], err);
                w->n_units++;
        }
        for (unsigned i = 0; i < w->n_units; i++)
                for (unsigned k = 0; k < i; k++)
                        if (w->units[i]->o.name && w->units[k]->o.name &&
                            strcmp(w->units[i]->o.name, w->units[k]->o.name) == 0)
                                quit(2, "Two devices are called %s.", w->units[i]->o.name);
}

static void plug_units(World *w) {
        char err[256];

        for (unsigned i = 0; i < w->n_units; i++)
                if (!w->units[i]->o.absent && !unit_plug(w->units[i], NULL, err, sizeof err))
                        quit(2, "Device %u: %s", i, err);
}

static int make_world(World *w, const sigset_t *before) {
        const Settings *s = &w->settings;

        w->started = clock_ns();
        pthread_mutex_init(&w->lock, NULL);
        pthread_mutex_init(&w->nodes_lock, NULL);
        LIST_INIT(&w->nodes);
        w->next_ino = 0x10000;
        atomic_store(&w->bus_rate, s->bus_rate);
        atomic_store(&w->memory_limit, s->memory_limit);
        w->front = s->kernel ? &front_vhci : &front_usbfs;
        format_to(w->storage, sizeof w->storage, "%s", s->storage ?: w->front->storage);
        format_to(w->control, sizeof w->control, "%s", s->control ?: w->front->control);
        int fd = w->front->enter(w);
        int keeper = keeper_start(w, before, fd); /* while there is but one thread */
        if (s->nice > 0)
                (void) !nice(s->nice); /* not the keeper, and so not the command */
        w->front->open(w);
        make_units(w);
        topology_build(w);
        w->front->start(w, fd);
        plug_units(w);
        clock_start(w);
        control_start(w);
        return keeper;
}

static double seconds(struct timeval t) {
        return (double) t.tv_sec + (double) t.tv_usec / 1e6;
}

static void tell_stats(World *w) {
        struct rusage own, children;

        getrusage(RUSAGE_SELF, &own);
        getrusage(RUSAGE_CHILDREN, &children);
        fprintf(stderr,
                "usbsim: %.2f s; simulator %.2f s user, %.2f s system; command %.2f s user, %.2f s system; "
                "%llu ioctls, %llu transfers, %llu bytes\n",
                (double) (clock_ns() - w->started) / 1e9, seconds(own.ru_utime), seconds(own.ru_stime),
                seconds(children.ru_utime), seconds(children.ru_stime), (unsigned long long) w->n_ioctls,
                (unsigned long long) w->n_urbs, (unsigned long long) w->n_bytes);
}

int main(int argc, char **argv) {
        sigset_t signals, before;

        settings_parse(&world.settings, argc, argv);
        sigemptyset(&signals);
        for (size_t i = 0; i < 7; i++)
                sigaddset(&signals, (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2 }[i]);
        sigprocmask(SIG_BLOCK, &signals, &before);
        int keeper = make_world(&world, &before);
        if (world.settings.script)
                script_start(&world, world.settings.script);
        int code = keeper_run(keeper, &signals);
        wait(NULL);
        if (world.settings.stats)
                tell_stats(&world);
        unlink(world.control);
        fflush(NULL);
        _exit(code); /* the threads go with the process, the mounts with the namespace */
}
