/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "remote.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bus-client.h"
#include "common/macro.h"
#include "output.h"

#define SSH_FAILED 255

bool host_is_valid(const char *host) {
        bool good = host[0] && host[0] != '-' && strlen(host) < 256;

        for (const char *p = host; *p; p++)
                good &= (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("@.:_-[]%", *p);
        if (!good)
                fprintf(stderr, "fdlctl: \"%s\" is no host. It looks like HOST or USER@HOST.\n", host);
        return good;
}

/* For the shell on the far side. */
static void quote(const char *text, char *buf, size_t size) {
        size_t n = 0;

        buf[n++] = '\'';
        for (; *text && n + 6 < size; text++)
                if (*text == '\'') {
                        memcpy(buf + n, "'\\''", 4);
                        n += 4;
                } else
                        buf[n++] = *text;
        buf[n++] = '\'';
        buf[n] = '\0';
}

static void run_ssh(const char *host, int fd, int out, const char *command) {
        if (dup2(fd, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
                _exit(1);
        execlp("ssh", "ssh", "-xT", "--", host, command, (char *) NULL);
        fprintf(stderr, "fdlctl: Cannot run ssh: %s.\n", strerror(errno));
        _exit(SSH_FAILED);
}

/* "package DIGEST" */
static bool read_answer(int fd, char ret[static PATH_TEXT_MAX]) {
        FILE *f = fdopen(fd, "re");
        char line[256], digest[65];
        bool found = false;

        if (!f) {
                close(fd);
                return false;
        }
        while (fgets(line, sizeof(line), f))
                if (sscanf(line, "package %64[0-9a-f]", digest) == 1 && strlen(digest) == 64) {
                        snprintf(ret, PATH_TEXT_MAX, FDLD_ROOT "/packages/%s", digest);
                        found = true;
                }
        fclose(f);
        return found;
}

int remote_import(const char *host, int fd, const char *name, char ret[static PATH_TEXT_MAX]) {
        char quoted[1024], command[1200];
        int fds[2], status;
        bool found;
        pid_t pid;

        quote(name, quoted, sizeof(quoted));
        snprintf(command, sizeof(command), "fdlctl%s --no-ask-password import --name=%s -", arg_output.quiet ? " -q" : "", quoted);
        if (pipe2(fds, O_CLOEXEC) < 0)
                return client_report("import", NULL, -errno);
        fflush(NULL);
        pid = fork();
        if (pid == 0)
                run_ssh(host, fd, fds[1], command);
        close(fds[1]);
        if (pid < 0) {
                close(fds[0]);
                return client_report("import", NULL, -errno);
        }
        found = read_answer(fds[0], ret);
        if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
                return EXIT_OTHER;
        if (WEXITSTATUS(status) == SSH_FAILED) {
                fprintf(stderr, "fdlctl: %s cannot be reached with ssh.\n", host);
                return EXIT_NO_DAEMON;
        }
        if (WEXITSTATUS(status) == 127) {
                fprintf(stderr, "fdlctl: There is no fdlctl on %s, which a file would be sent to. Install it there.\n", host);
                return EXIT_OTHER;
        }
        if (WEXITSTATUS(status) != 0)
                return WEXITSTATUS(status);
        return found ? 0 : client_report("import", NULL, -EBADMSG);
}

int spool_stdin(void) {
        const char *directory = getenv("TMPDIR");
        char buf[65536];
        ssize_t n;
        int fd;

        fd = open(directory && directory[0] ? directory : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                fd = memfd_create("package", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        while ((n = read(STDIN_FILENO, buf, sizeof(buf))) != 0) {
                for (ssize_t done = 0, w; n > 0 && done < n; done += w) {
                        w = write(fd, buf + done, (size_t) (n - done));
                        if (w < 0) {
                                n = -errno;
                                close(fd);
                                return (int) n;
                        }
                }
                if (n < 0 && errno != EINTR) {
                        n = -errno;
                        close(fd);
                        return (int) n;
                }
        }
        return fd;
}
