/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook-run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/macro.h"

static uint64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static bool trusted(const struct stat *st, const char *path) {
        if (st->st_uid == 0 && !(st->st_mode & (S_IWGRP | S_IWOTH)))
                return true;
        fprintf(stderr, "<4>%s must belong to root and be writable by root only; it is left out.\n", path);
        return false;
}

static bool is_program(const char *directory, const char *name, char *path, size_t size) {
        size_t n = strlen(name);
        struct stat st;

        /* What editors and package managers leave behind. */
        if (name[0] == '.' || name[n - 1] == '~' || strstr(name, ".dpkg-"))
                return false;
        if (snprintf(path, size, "%s/%s", directory, name) >= (int) size || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
            !(st.st_mode & 0111))
                return false;
        return trusted(&st, path);
}

static pid_t start(const char *path, const char *event, int *ret_stdin) {
        int fds[2];
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -1;
        pid = fork();
        if (pid == 0) {
                setpgid(0, 0);
                dup2(fds[0], STDIN_FILENO);
                signal(SIGPIPE, SIG_DFL);
                setenv("FDLD_EVENT", event, 1);
                execl(path, path, event, NULL);
                fprintf(stderr, "<3>%s cannot be run: %s.\n", path, strerror(errno));
                _exit(127);
        }
        close(fds[0]);
        if (pid < 0) {
                close(fds[1]);
                return -1;
        }
        setpgid(pid, pid); /* whoever is first */
        fcntl(fds[1], F_SETFL, O_NONBLOCK);
        *ret_stdin = fds[1];
        return pid;
}

/* Gives what the pipe takes; closes it when all is through or nobody reads. A program need not read what it is given. */
static void feed(int *in, const char **json) {
        ssize_t n = write(*in, *json, strlen(*json));

        if (n > 0)
                *json += n;
        if (**json && (n >= 0 || errno == EAGAIN || errno == EINTR))
                return;
        close(*in);
        *in = -1;
}

/* Feeds and waits. True: it has ended and *ret is its status. */
static bool attend(pid_t pid, int in, const char *json, uint64_t until, int *ret) {
        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        uint64_t now = now_ms();
        bool ended = false;

        while (pidfd >= 0 && !ended && now < until) {
                struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = in, .events = POLLOUT } };
                if (poll(p, 2, (int) (until - now)) < 0 && errno != EINTR)
                        break;
                if (in >= 0 && p[1].revents)
                        feed(&in, &json);
                ended = (p[0].revents & POLLIN) && waitpid(pid, ret, WNOHANG) == pid;
                now = now_ms();
        }
        closep(&in);
        return ended;
}

static void report(const char *path, const char *event, int status) {
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                fprintf(stderr, "<4>%s %s: exit status %d.\n", path, event, WEXITSTATUS(status));
        else if (WIFSIGNALED(status))
                fprintf(stderr, "<4>%s %s: killed by signal %d.\n", path, event, WTERMSIG(status));
}

static void run_one(const HookOptions *o, const char *path, const char *event, const char *json) {
        int in = -1, status = 0;
        pid_t pid = start(path, event, &in);

        if (pid < 0) {
                fprintf(stderr, "<3>%s cannot be run: %s.\n", path, strerror(errno));
                return;
        }
        if (attend(pid, in, json, now_ms() + o->timeout_ms, &status)) {
                report(path, event, status);
                return;
        }
        fprintf(stderr, "<4>%s %s took longer than %u seconds and was killed.\n", path, event, o->timeout_ms / 1000);
        kill(-pid, SIGKILL);
        (void) waitpid(pid, &status, 0);
}

void hooks_run(const HookOptions *o, const char *event, const char *json) {
        struct dirent **names = NULL;
        struct stat st;
        int n;

        if (stat(o->directory, &st) < 0 || !trusted(&st, o->directory))
                return;
        n = scandir(o->directory, &names, NULL, alphasort);
        for (int i = 0; i < n; i++) {
                char path[4096];
                if (is_program(o->directory, names[i]->d_name, path, sizeof(path)))
                        run_one(o, path, event, json);
                free(names[i]);
        }
        free(names);
}
