/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "bus/bus-internal.h"

/* What a job leaves behind for whoever looks for the cause: its trace, and its log while it runs. */

/* ---- Trace ---- */

static void on_trace(int error, int fd, void *userdata) {
        _cleanup_close_ int owned = fd; /* a memory file: closing it never waits */
        StoreCall *h = userdata;
        CallError e;

        if (h->bus && error < 0) {
                call_error_set(&e, error == -ENOENT ? BUS_ERROR_NO_SUCH_ENTRY : BUS_ERROR_STORE,
                               error == -ENOENT ? "Nothing is kept any more of what was said in this job." : "The trace of this job cannot be read: %s.",
                               strerror(-error));
                (void) reply_call_error(h->message, &e);
        } else if (h->bus)
                (void) sd_bus_reply_method_return(h->message, "h", owned);
        store_call_free(h);
}

int job_method_trace(Call *c) {
        const Job *job = c->object->object;
        StoreCall *h = store_call_new(c);
        int r;

        if (!h)
                return -1;
        r = station_trace(c->bus->station, job->id, on_trace, h);
        if (r >= 0)
                return 1;
        store_call_free(h);
        if (r == -ENOENT)
                return call_error_set(c->e, BUS_ERROR_NO_SUCH_ENTRY,
                                      "Nothing is kept of what was said in this job: traces are there while a job runs on a device, and of jobs that failed.");
        if (r == -EBUSY)
                return call_error_set(c->e, BUS_ERROR_QUOTA, "Too many traces are being read. Try again later.");
        return call_error_set(c->e, BUS_ERROR_STORE, "The trace of this job cannot be read now: %s.", strerror(-r));
}

/* ---- FollowLog ---- */

#define FOLLOWERS_MAX 128
#define FOLLOWERS_PER_USER_MAX 16

/* One that reads a job's log. Who does not read misses lines, and is told how many. */
struct Follower {
        uint64_t job;
        uint32_t uid;
        int fd;
        unsigned missed;
        Follower *next;
};

static void follower_free(Follower *f) {
        close(f->fd); /* a socket of our own making */
        free(f);
}

static bool send_text(const Follower *f, const char *text, size_t n) {
        return send(f->fd, text, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t) n;
}

/* False: nobody reads there any more. */
static bool send_line(Follower *f, const char *line) {
        char missed[80];
        ssize_t r;

        if (f->missed > 0) {
                snprintf(missed, sizeof(missed), "(%u lines were not read in time and are missing here)\n", f->missed);
                if (!send_text(f, missed, strlen(missed))) {
                        f->missed++;
                        return errno == EAGAIN;
                }
                f->missed = 0;
        }
        r = send(f->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r < 0 && errno == EAGAIN)
                f->missed++;
        else if (r < 0)
                return false;
        return true;
}

typedef struct Told {
        uint64_t job; /* 0: all */
        const char *line;
} Told;

static void followers_drop(Bus *b, bool (*is_gone)(Follower *f, const Told *t), const Told *t) {
        for (Follower **p = &b->followers; *p;) {
                Follower *f = *p;
                if (!is_gone(f, t)) {
                        p = &f->next;
                        continue;
                }
                *p = f->next;
                b->n_followers--;
                follower_free(f);
        }
}

static bool is_deaf(Follower *f, const Told *t) {
        return f->job == t->job && !send_line(f, t->line);
}

void followers_tell(Bus *b, uint64_t job, const char *line) {
        followers_drop(b, is_deaf, &(Told) {.job = job, .line = line});
}

static bool is_of(Follower *f, const Told *t) {
        return t->job == 0 || f->job == t->job;
}

/* The job is over: end of file. 0: all. */
void followers_end(Bus *b, uint64_t job) {
        followers_drop(b, is_of, &(Told) {.job = job});
}

/* A job that waits says nothing, so who went away was not noticed yet. */
static bool hung_up(Follower *f, const Told *t _unused_) {
        struct pollfd at = {.fd = f->fd};

        return poll(&at, 1, 0) > 0 && (at.revents & (POLLHUP | POLLERR));
}

static bool may_follow(Bus *b, uint32_t uid) {
        unsigned own = 0;

        followers_drop(b, hung_up, NULL);
        for (const Follower *f = b->followers; f; f = f->next)
                own += f->uid == uid;
        return own < FOLLOWERS_PER_USER_MAX && b->n_followers < FOLLOWERS_MAX;
}

int job_method_follow_log(Call *c) {
        const Job *job = c->object->object;
        _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
        int fds[2], size = 256 * 1024;
        Follower *f;
        int r;

        if (job_is_old(c) < 0)
                return -1;
        if (!may_follow(c->bus, c->uid))
                return call_error_set(c->e, BUS_ERROR_QUOTA, "Too many logs are being followed (at most %d for each user).", FOLLOWERS_PER_USER_MAX);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        ours = fds[0];
        theirs = fds[1];
        (void) shutdown(ours, SHUT_RD);
        (void) setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        *f = (Follower){.job = job->id, .uid = c->uid, .fd = TAKE_FD(ours)};
        (void) send_text(f, job_log(job), strlen(job_log(job)));
        if (job->state == JOB_STATE_FINISHED)
                follower_free(f);
        else {
                f->next = c->bus->followers;
                c->bus->followers = f;
                c->bus->n_followers++;
        }
        r = sd_bus_reply_method_return(c->message, "h", theirs);
        return r;
}
