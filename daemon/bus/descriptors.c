/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <poll.h>

#include "bus/bus-internal.h"
#include "common/closer.h"

/* Every caller may put descriptors into every message, also where none is expected, and sd-bus closes them on the main thread when
 * it frees the message. A file whose close never returns would stop the daemon, so the message is kept until a thread has put
 * something harmless into their place. */

#define FDS_MAX 16
#define NESTING_MAX 16
#define FREE_WAIT_MS 100

struct FdMessage {
        sd_bus_message *message;
        int fds[FDS_MAX];
        size_t n;
        bool started;
        FdMessage *next;
};

static int collect(sd_bus_message *m, unsigned depth, FdMessage *f) {
        const char *contents;
        char type;
        int r, fd;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                if (type == 'h') {
                        r = sd_bus_message_read_basic(m, 'h', &fd);
                        if (r >= 0 && f->n < FDS_MAX)
                                f->fds[f->n++] = fd;
                } else if (strchr("avre", type) && depth < NESTING_MAX) {
                        r = sd_bus_message_enter_container(m, type, contents);
                        if (r >= 0)
                                r = collect(m, depth + 1, f);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                } else {
                        const char one[] = {type, '\0'};
                        r = strchr("avre", type) ? -ELOOP : sd_bus_message_skip(m, one);
                }
                if (r < 0)
                        return r;
        }
        return r;
}

static bool may_have_some(sd_bus_message *m) {
        const char *signature = sd_bus_message_get_signature(m, true);

        return signature && strpbrk(signature, "hv");
}

static void start_more(Bus *b) {
        for (FdMessage *f = b->fd_messages; f; f = f->next)
                if (!f->started) {
                        if (descriptors_empty(f->fds, f->n, b->fd_tell[1], f) < 0)
                                return; /* no descriptor or memory for it: with the next message */
                        f->started = true;
                }
}

void descriptors_dispose(Bus *b, sd_bus_message *m) {
        FdMessage *f;

        if (b->fd_tell[1] < 0 || !may_have_some(m) || sd_bus_message_rewind(m, true) < 0)
                return;
        f = calloc(1, sizeof(*f));
        if (!f)
                return;
        (void) collect(m, 0, f);
        (void) sd_bus_message_rewind(m, true);
        if (f->n == 0) {
                free(f);
                return;
        }
        f->message = sd_bus_message_ref(m);
        f->next = b->fd_messages;
        b->fd_messages = f;
        start_more(b);
}

static bool is_at(Bus *b, const char *path, const char *wanted) {
        size_t n = strlen(wanted);

        return wanted[n - 1] == '/' ? strncmp(path, wanted, n) == 0 && object_lookup(b, path) : streq(path, wanted);
}

/* The calls that want a file have it taken care of by who handles them, where somebody does. */
static bool is_wanted(Bus *b, sd_bus_message *m) {
        static const struct {
                const char *path, *interface, *member, *signature; /* path: of the object, or with the slash of all that begin so */
        } wanted[] = {
                {BUS_ROOT, BUS_NAME ".Manager", "ImportPackage", "hsa{sv}"},
                {BUS_ROOT, BUS_NAME ".History", "Export", "hsa{sv}"},
                {BUS_ROOT, BUS_NAME ".Vault", "AddEntry", "ha{sv}"},
                {BUS_ROOT "/jobs/", BUS_NAME ".Job", "AttachFiles", "a{sh}a{sv}"},
        };
        const char *path = sd_bus_message_get_path(m);

        for (size_t i = 0; path && i < ELEMENTSOF(wanted); i++)
                if (is_at(b, path, wanted[i].path) &&
                    sd_bus_message_is_method_call(m, wanted[i].interface, wanted[i].member) > 0 &&
                    sd_bus_message_has_signature(m, wanted[i].signature) > 0)
                        return true;
        return false;
}

int descriptors_filter(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        if (!is_wanted(userdata, m))
                descriptors_dispose(userdata, m);
        return 0;
}

static int on_emptied(sd_event_source *s _unused_, int fd, uint32_t events _unused_, void *userdata) {
        Bus *b = userdata;
        FdMessage *done;

        while (read(fd, &done, sizeof(done)) == (ssize_t) sizeof(done)) { /* NOLINT: pointers go through the pipe */
                descriptors_emptied();
                for (FdMessage **p = &b->fd_messages; *p; p = &(*p)->next)
                        if (*p == done) {
                                *p = done->next;
                                sd_bus_message_unref(done->message);
                                free(done);
                                break;
                        }
        }
        start_more(b);
        return 0;
}

int descriptors_prepare(Bus *b) {
        if (pipe2(b->fd_tell, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        return sd_event_add_io(b->event, &b->fd_source, b->fd_tell[0], EPOLLIN, on_emptied, b);
}

void descriptors_free(Bus *b) {
        FdMessage *f;

        if (b->fd_tell[0] < 0)
                return;
        /* Those on their way come back within moments; what is stuck ends with the process. */
        while (b->fd_messages && poll(&(struct pollfd){.fd = b->fd_tell[0], .events = POLLIN}, 1, FREE_WAIT_MS) > 0)
                on_emptied(NULL, b->fd_tell[0], POLLIN, b);
        while ((f = b->fd_messages)) {
                b->fd_messages = f->next;
                free(f);
        }
        b->fd_source = sd_event_source_disable_unref(b->fd_source);
        closep(&b->fd_tell[0]);
        closep(&b->fd_tell[1]);
        b->fd_tell[0] = b->fd_tell[1] = -EBADF;
}
