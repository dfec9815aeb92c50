/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/macro.h"

#define READY_MS 5000

static pid_t agent;

/* The descriptor is closed by the agent when it is ready, or when it could not start. */
static void run_agent(int ready, pid_t client) {
        char fd[16], process[24];
        int terminal;

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        /* Its questions belong on the terminal, whatever our output is. */
        terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
        if (terminal < 0 || dup2(terminal, STDIN_FILENO) < 0 || dup2(terminal, STDOUT_FILENO) < 0 || dup2(terminal, STDERR_FILENO) < 0)
                _exit(1);
        if (fcntl(ready, F_SETFD, 0) < 0)
                _exit(1);
        snprintf(fd, sizeof(fd), "%d", ready);
        snprintf(process, sizeof(process), "%d", (int) client);
        execlp("pkttyagent", "pkttyagent", "--process", process, "--notify-fd", fd, "--fallback", (char *) NULL);
        _exit(127);
}

void agent_open(void) {
        pid_t client = getpid();
        int fds[2];

        if (agent > 0 || geteuid() == 0 || !isatty(STDIN_FILENO) || pipe2(fds, O_CLOEXEC) < 0)
                return;
        fflush(NULL);
        agent = fork();
        if (agent == 0)
                run_agent(fds[1], client);
        close(fds[1]);
        if (agent > 0)
                (void) poll(&(struct pollfd){ .fd = fds[0], .events = POLLIN }, 1, READY_MS);
        close(fds[0]);
}

void agent_close(void) {
        if (agent <= 0)
                return;
        (void) kill(agent, SIGTERM);
        (void) kill(agent, SIGCONT);
        (void) waitpid(agent, NULL, 0);
        agent = 0;
}
