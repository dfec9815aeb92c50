/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/closer.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "common/macro.h"

#define CLOSERS_MAX 64
#define STACK_SIZE (256 * 1024)

typedef struct Closing Closing;
struct Closing {
        Closing *next;
        int tell; /* -1: nobody waits, the numbers themselves are closed too */
        void *cookie;
        size_t n;
        int fds[];
};

/* With as many threads as there may be, the rest waits for one of them. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned n_closers;
static Closing *waiting, **waiting_tail = &waiting;
/* Orders what a thread did with the numbers before what their owner does next; the pipe alone does so for the kernel only. */
static atomic_uint n_emptied;

static void close_all(Closing *c) {
        int harmless = c->tell >= 0 ? eventfd(0, EFD_CLOEXEC) : -EBADF;

        for (size_t i = 0; i < c->n; i++)
                /* The number is free of the old file before that one is closed, which is what may not return. Its owner closes it again:
                 * something must be there, also where no descriptor is left for it. */
                if (c->tell < 0)
                        close(c->fds[i]);
                else
                        (void) dup3(harmless >= 0 ? harmless : c->tell, c->fds[i], O_CLOEXEC);
        closep(&harmless);
        atomic_fetch_add(&n_emptied, 1);
        if (c->tell >= 0)
                (void) !write(c->tell, &c->cookie, sizeof(c->cookie));
        closep(&c->tell);
        free(c);
}

/* NULL: nothing waits, and this thread ends. */
static Closing *next_closing(void) {
        Closing *c;

        pthread_mutex_lock(&lock);
        c = waiting;
        if (!c)
                n_closers--;
        else if (!(waiting = c->next))
                waiting_tail = &waiting;
        pthread_mutex_unlock(&lock);
        return c;
}

static void *closer_main(void *userdata) {
        Closing *c = userdata;

        pthread_setname_np(pthread_self(), "fdld-closer");
        do
                close_all(c);
        while ((c = next_closing()));
        return NULL;
}

/* True: a thread that runs takes it. */
static bool wait_for_thread(Closing *c) {
        bool waits;

        pthread_mutex_lock(&lock);
        waits = n_closers >= CLOSERS_MAX;
        if (waits) {
                c->next = NULL;
                *waiting_tail = c;
                waiting_tail = &c->next;
        } else
                n_closers++;
        pthread_mutex_unlock(&lock);
        return waits;
}

static int start(Closing *c) {
        pthread_attr_t attr;
        sigset_t all, before;
        pthread_t thread;
        int r;

        if (wait_for_thread(c))
                return 0;
        r = pthread_attr_init(&attr);
        if (r == 0) {
                pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
                pthread_attr_setstacksize(&attr, STACK_SIZE);
                sigfillset(&all);
                pthread_sigmask(SIG_SETMASK, &all, &before);
                r = pthread_create(&thread, &attr, closer_main, c);
                pthread_sigmask(SIG_SETMASK, &before, NULL);
                pthread_attr_destroy(&attr);
        }
        if (r == 0)
                return 0;
        pthread_mutex_lock(&lock);
        n_closers--;
        pthread_mutex_unlock(&lock);
        return -r;
}

static int closing_start(const int *fds, size_t n, int tell, void *cookie) {
        Closing *c = malloc(sizeof(*c) + n * sizeof(int));
        int r;

        if (!c)
                return -ENOMEM;
        *c = (Closing){.tell = -1, .cookie = cookie, .n = n};
        if (n > 0)
                memcpy(c->fds, fds, n * sizeof(int));
        if (tell >= 0) {
                c->tell = fcntl(tell, F_DUPFD_CLOEXEC, 3);
                if (c->tell < 0) {
                        r = -errno;
                        free(c);
                        return r;
                }
        }
        r = start(c);
        if (r < 0) {
                closep(&c->tell);
                free(c);
        }
        return r;
}

void close_elsewhere(int fd) {
        if (fd >= 0)
                (void) closing_start(&fd, 1, -1, NULL);
}

void descriptors_emptied(void) {
        (void) atomic_load(&n_emptied);
}

int descriptors_empty(const int *fds, size_t n, int tell, void *cookie) {
        return closing_start(fds, n, tell, cookie);
}
