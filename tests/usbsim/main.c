/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world/world.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* usbsim: makes the world, runs a command in it, ends as the command ends. */

enum { GRACE_STEPS = 40, GRACE_MS = 50 };

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
                        if (w->units[i]->o.name && w->units[k]->o.name && strcmp(w->units[i]->o.name, w->units[k]->o.name) == 0)
                                quit(2, "Two devices are called %s.", w->units[i]->o.name);
}

static void plug_units(World *w) {
        char err[256];

        for (unsigned i = 0; i < w->n_units; i++)
                if (!w->units[i]->o.absent && !unit_plug(w->units[i], NULL, err, sizeof err))
                        quit(2, "Device %u: %s", i, err);
}

static void make_world(World *w) {
        const Settings *s = &w->settings;

        w->started = clock_ns();
        pthread_mutex_init(&w->lock, NULL);
        pthread_mutex_init(&w->nodes_lock, NULL);
        LIST_INIT(&w->nodes);
        w->next_ino = 0x10000;
        atomic_store(&w->bus_rate, s->bus_rate);
        atomic_store(&w->memory_limit, s->memory_limit);
        format_to(w->storage, sizeof w->storage, "%s", s->storage ?: "/dev/usbsim/storage");
        format_to(w->control, sizeof w->control, "%s", s->control ?: "/dev/usbsim/control");
        int fuse_fd = sandbox_enter();
        uevent_open();
        make_units(w);
        topology_build(w);
        fusefs_start(w, fuse_fd);
        plug_units(w);
        clock_start(w);
        control_start(w);
}

static pid_t run_command(char **command, const sigset_t *mask, const char *control) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                quit(1, "No process can be started: %m.");
        if (pid > 0)
                return pid;
        /* The other threads are not here: nothing but exec. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        sigprocmask(SIG_SETMASK, mask, NULL);
        setenv("SYSTEMD_DEVICE_VERIFY_SYSFS", "0", 1); /* our /sys is a tmpfs */
        setenv("USBSIM_CONTROL", control, 1);
        execvp(command[0], command);
        int r = errno;
        complain("%s cannot be started: %s.", command[0], strerror(r));
        _exit(r == ENOENT ? 127 : 126);
}

/* Passes signals on until the command has ended; what else was adopted is reaped on the way. */
static int await_command(pid_t child, const sigset_t *signals) {
        siginfo_t info;
        int status;
        pid_t pid;

        for (;;) {
                if (sigwaitinfo(signals, &info) < 0)
                        continue;
                if (info.si_signo != SIGCHLD) {
                        /* A terminal sends its signals to the command as well. */
                        if (info.si_code != SI_KERNEL)
                                kill(child, info.si_signo);
                        continue;
                }
                while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                        if (pid == child)
                                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
}

static unsigned signal_children(int signo) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        unsigned n = 0;

        while (d && (e = readdir(d))) {
                char path[300], text[512];
                uint64_t pid;
                int parent;

                if (!parse_u64(e->d_name, INT32_MAX, &pid))
                        continue;
                snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
                FILE *f = fopen(path, "re");
                size_t size = f ? fread(text, 1, sizeof text - 1, f) : 0;
                if (f)
                        fclose(f);
                text[size] = 0;
                const char *after = strrchr(text, ')'); /* a name may contain anything */
                if (after && sscanf(after + 1, " %*c %d", &parent) == 1 && parent == getpid()) {
                        kill((pid_t) pid, signo);
                        n++;
                }
        }
        if (d)
                closedir(d);
        return n;
}

/* What the command left behind has become our child, and its devices end now. */
static void end_leftovers(void) {
        for (unsigned i = 0; i < GRACE_STEPS; i++) {
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
                if (signal_children(i + 1 < GRACE_STEPS / 2 ? SIGTERM : SIGKILL) == 0)
                        return;
                nanosleep(&(struct timespec){ .tv_nsec = GRACE_MS * 1000000 }, NULL);
        }
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
                (double) (clock_ns() - w->started) / 1e9, seconds(own.ru_utime), seconds(own.ru_stime), seconds(children.ru_utime),
                seconds(children.ru_stime), (unsigned long long) w->n_ioctls, (unsigned long long) w->n_urbs,
                (unsigned long long) w->n_bytes);
}

int main(int argc, char **argv) {
        sigset_t signals, before;

        settings_parse(&world.settings, argc, argv);
        sigemptyset(&signals);
        for (size_t i = 0; i < 7; i++)
                sigaddset(&signals, (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2 }[i]);
        sigprocmask(SIG_BLOCK, &signals, &before);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        make_world(&world);
        pid_t child = run_command(world.settings.command, &before, world.control);
        if (world.settings.script)
                script_start(&world, world.settings.script);
        int code = await_command(child, &signals);
        end_leftovers();
        if (world.settings.stats)
                tell_stats(&world);
        unlink(world.control);
        fflush(NULL);
        _exit(code); /* the threads go with the process, the mounts with the namespace */
}
