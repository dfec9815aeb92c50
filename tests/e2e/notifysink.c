/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* notifysink SOCKET: what a service tells its service manager, on stdout, each message in one line. */
int main(int argc, char *argv[]) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        char message[8192];
        ssize_t n;
        int fd;

        if (argc != 2 || strlen(argv[1]) >= sizeof(a.sun_path))
                return 2;
        strcpy(a.sun_path, argv[1]);
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
                perror("notifysink");
                return 1;
        }
        setvbuf(stdout, NULL, _IOLBF, 0);
        while ((n = recv(fd, message, sizeof(message) - 1, 0)) >= 0) {
                message[n] = '\0';
                for (char *p = message; *p; p++)
                        if (*p == '\n')
                                *p = ' ';
                puts(message);
        }
        return 1;
}
