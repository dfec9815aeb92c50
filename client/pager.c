/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pager.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/macro.h"

static pid_t pager;

static void run_pager(int from) {
        const char *own = getenv("PAGER");

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void) signal(SIGINT, SIG_IGN); /* less does what is due */
        if (dup2(from, STDIN_FILENO) < 0)
                _exit(1);
        /* Short lists just appear; no commands from within, as the text comes from elsewhere. */
        (void) setenv("LESS", "FRSXMK", true);
        (void) setenv("LESSSECURE", "1", true);
        if (own && own[0])
                execlp("sh", "sh", "-c", own, (char *) NULL);
        execlp("less", "less", (char *) NULL);
        execlp("more", "more", (char *) NULL);
        execlp("cat", "cat", (char *) NULL);
        _exit(127);
}

void pager_open(void) {
        const char *own = getenv("PAGER"), *term = getenv("TERM");
        int fds[2];

        if (pager > 0 || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) || !term || streq(term, "dumb") ||
            (own && (streq(own, "cat") || !own[0])) || pipe2(fds, O_CLOEXEC) < 0)
                return;
        fflush(NULL);
        pager = fork();
        if (pager == 0)
                run_pager(fds[0]);
        if (pager > 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                (void) signal(SIGPIPE, SIG_IGN); /* it was left before the end */
        }
        close(fds[0]);
        close(fds[1]);
}

void pager_close(void) {
        if (pager <= 0)
                return;
        fflush(stdout);
        (void) fclose(stdout);
        (void) waitpid(pager, NULL, 0);
        pager = 0;
}
