/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The keeper: a small process between the simulator and the command. Whatever the command leaves behind becomes its
 * child and is ended by it, when the command has ended and also when the simulator is killed. */

enum { GRACE_STEPS = 60, TERM_STEPS = 40, GRACE_MS = 50 };

typedef struct Message {
        enum { COMMAND_STARTED, COMMAND_ENDED } kind;
        int value; /* pid, exit status */
} Message;

static void tell(int fd, int kind, int value) {
        Message m = { .kind = kind, .value = value };

        if (send(fd, &m, sizeof m, MSG_NOSIGNAL) < 0 && errno != EPIPE)
                complain("The simulator cannot be told: %m");
}

static void start_command(const World *w, const sigset_t *mask) {
        char **command = w->settings.command;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == 1)
                _exit(1);
        sigprocmask(SIG_SETMASK, mask, NULL);
        if (!w->settings.kernel)
                setenv("SYSTEMD_DEVICE_VERIFY_SYSFS", "0", 1); /* our /sys is a tmpfs */
        setenv("USBSIM_CONTROL", w->control, 1);
        execvp(command[0], command);
        int r = errno;
        complain("%s cannot be started: %s.", command[0], strerror(r));
        _exit(r == ENOENT ? 127 : 126);
}

static bool is_child(const char *pid) {
        char path[300], text[512];
        int parent;

        snprintf(path, sizeof path, "/proc/%s/stat", pid);
        FILE *f = fopen(path, "re");
        if (!f)
                return false;
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
        const char *after = strrchr(text, ')'); /* a name may contain anything */
        return after && sscanf(after + 1, " %*c %d", &parent) == 1 && parent == getpid();
}

static unsigned signal_children(int signo) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        unsigned n = 0;

        while (d && (e = readdir(d))) {
                uint64_t pid;

                if (!parse_u64(e->d_name, INT32_MAX, &pid) || !is_child(e->d_name))
                        continue;
                kill((pid_t) pid, signo);
                n++;
        }
        if (d)
                closedir(d);
        return n;
}

/* As children end, theirs become ours: until there are none. */
static void end_leftovers(bool at_once) {
        for (unsigned i = at_once ? TERM_STEPS : 0; i < GRACE_STEPS; i++) {
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
                if (signal_children(i < TERM_STEPS ? SIGTERM : SIGKILL) == 0)
                        return;
                nanosleep(&(struct timespec){ .tv_nsec = (i < 4 ? 2 : GRACE_MS) * 1000000 }, NULL);
        }
}

/* A terminal sends its signals to the command as well. */
static void pass_on(const struct signalfd_siginfo *info, pid_t child) {
        if (info->ssi_code != SI_KERNEL)
                kill(child, (int) info->ssi_signo);
}

/* Waits for the end of the command or of the simulator; true: the command has ended. */
static bool watch(int fd, int signals, pid_t child, int *ret_status) {
        struct pollfd p[2] = { { fd, POLLIN, 0 }, { signals, POLLIN, 0 } };
        struct signalfd_siginfo info;
        pid_t pid;

        for (;;) {
                if (poll(p, 2, -1) < 0)
                        continue;
                if (p[0].revents)
                        return false;
                if (!p[1].revents || read(signals, &info, sizeof info) < 0)
                        continue;
                if (info.ssi_signo != SIGCHLD) {
                        pass_on(&info, child);
                        continue;
                }
                while ((pid = waitpid(-1, ret_status, WNOHANG)) > 0)
                        if (pid == child)
                                return true;
        }
}

static void keeper(int fd, const World *w, const sigset_t *before) {
        sigset_t blocked;
        int status = 0;
        char go;

        prctl(PR_SET_CHILD_SUBREAPER, 1);
        sigprocmask(SIG_SETMASK, NULL, &blocked);
        int signals = signalfd(-1, &blocked, SFD_CLOEXEC);
        if (read(fd, &go, 1) != 1)
                _exit(0);
        pid_t child = fork();
        if (child < 0)
                _exit(1);
        if (child == 0)
                start_command(w, before);
        tell(fd, COMMAND_STARTED, child);
        bool ended = watch(fd, signals, child, &status);
        end_leftovers(!ended);
        if (ended)
                tell(fd, COMMAND_ENDED, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        _exit(0);
}

int keeper_start(const World *w, const sigset_t *before, int front_fd) {
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                quit(1, "No socket pair: %m.");
        pid_t pid = fork();
        if (pid < 0)
                quit(1, "No process can be started: %m.");
        if (pid == 0) {
                close(fds[0]);
                if (front_fd >= 0)
                        close(front_fd); /* the file system must end with the simulator */
                keeper(fds[1], w, before);
        }
        close(fds[1]);
        return fds[0];
}

/* Lets the command start, passes signals on to it, returns how it ended. All signals are blocked. */
int keeper_run(int fd, const sigset_t *signals) {
        int signal_fd = signalfd(-1, signals, SFD_CLOEXEC);
        struct pollfd p[2] = { { fd, POLLIN, 0 }, { signal_fd, POLLIN, 0 } };
        struct signalfd_siginfo info;
        pid_t child = 0;
        Message m;

        if (signal_fd < 0 || send(fd, "", 1, MSG_NOSIGNAL) != 1)
                quit(1, "The command cannot be started: %m.");
        for (;;) {
                if (poll(p, 2, -1) < 0)
                        continue;
                if (p[0].revents) {
                        if (recv(fd, &m, sizeof m, 0) != sizeof m)
                                return 128 + SIGKILL; /* the keeper was killed, and the command with it */
                        if (m.kind == COMMAND_ENDED)
                                return m.value;
                        child = m.value;
                }
                if (p[1].revents && child > 0 && read(signal_fd, &info, sizeof info) == sizeof info &&
                    info.ssi_signo != SIGCHLD)
                        pass_on(&info, child);
        }
}
