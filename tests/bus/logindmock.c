/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for logind on a private bus: gives inhibitors and prints what is asked for and when it is let go. With "--no-block" it refuses
 * to block, as logind does without a rule. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

static int refuse_block;

static int on_closed(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        (void) events;
        (void) userdata;
        printf("released\n");
        fflush(stdout);
        close(fd);
        sd_event_source_unref(s);
        return 0;
}

static int inhibit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *what, *who, *why, *mode;
        int fds[2], r;

        if (sd_bus_message_read(m, "ssss", &what, &who, &why, &mode) < 0)
                return -EINVAL;
        printf("inhibit %s %s %s\n", what, who, mode);
        fflush(stdout);
        if (refuse_block && strcmp(mode, "block") == 0)
                return sd_bus_error_set(error, "org.freedesktop.DBus.Error.AccessDenied", "Permission denied");
        if (pipe(fds) < 0)
                return -EIO;
        r = sd_event_add_io(userdata, NULL, fds[0], 0, on_closed, NULL);
        if (r >= 0)
                r = sd_bus_reply_method_return(m, "h", fds[1]);
        close(fds[1]);
        return r;
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Inhibit", "ssss", "h", inhibit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* Prints what is said to a notification socket. */
static int listen_to(const char *path) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        char text[1024];

        snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
        if (fd < 0 || bind(fd, (const struct sockaddr *) &a, sizeof(a)) < 0)
                return 1;
        for (;;) {
                ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
                if (n < 0)
                        return 1;
                text[n] = '\0';
                printf("%s\n", text);
                fflush(stdout);
        }
}

int main(int argc, char **argv) {
        sd_event *event = NULL;
        sd_bus *bus = NULL;

        if (argc > 2 && strcmp(argv[1], "--notify") == 0)
                return listen_to(argv[2]);
        refuse_block = argc > 1 && strcmp(argv[1], "--no-block") == 0;
        if (sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0 || sd_bus_attach_event(bus, event, 0) < 0 ||
            sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/login1", "org.freedesktop.login1.Manager", vtable, event) < 0 ||
            sd_bus_request_name(bus, "org.freedesktop.login1", 0) < 0)
                return 1;
        return sd_event_loop(event) < 0;
}
