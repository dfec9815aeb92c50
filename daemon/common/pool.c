/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#define WAITING_MAX 64
#define THREADS_MAX 64
#define DISPATCH_MAX 64
#define STACK_SIZE (1024 * 1024)
/* How long pool_free() lets tasks end that look at their flag; who hangs is left behind. */
#define FREE_WAIT_SEC 2

enum { TASK_WAITING, TASK_RUNNING, TASK_ABANDONED, TASK_DONE };

typedef struct TaskList {
        Task *first, *last;
        unsigned n;
} TaskList;

struct Pool {
        pthread_mutex_t mutex;
        pthread_cond_t thread_ended;
        int event_fd;
        unsigned max;
        /* Under the mutex. Threads refer to the pool, so the last one out frees it. */
        unsigned threads, abandoned;
        TaskList waiting, running, done;
        bool closing, owned;
};

static void list_append(TaskList *l, Task *t) {
        t->next = NULL;
        if (l->last)
                l->last->next = t;
        else
                l->first = t;
        l->last = t;
        l->n++;
}

static bool list_remove(TaskList *l, Task *t) {
        Task *before = NULL;

        for (Task *i = l->first; i; before = i, i = i->next) {
                if (i != t)
                        continue;
                if (before)
                        before->next = t->next;
                else
                        l->first = t->next;
                if (l->last == t)
                        l->last = before;
                t->next = NULL;
                l->n--;
                return true;
        }
        return false;
}

static Task *list_pop(TaskList *l) {
        Task *t = l->first;

        if (t)
                list_remove(l, t);
        return t;
}

static void wake(Pool *p) {
        uint64_t one = 1;

        /* Fails only if the counter is full, and then the descriptor is readable anyway. */
        (void) !write(p->event_fd, &one, sizeof(one));
}

static void pool_destroy(Pool *p) {
        close(p->event_fd);
        pthread_cond_destroy(&p->thread_ended);
        pthread_mutex_destroy(&p->mutex);
        free(p);
}

/* May a task start in addition to those that run? A hung and abandoned one frees its place, but only so often: else a
 * client could collect threads without end. */
static bool have_room(const Pool *p) {
        return !p->closing && p->running.n < p->max && p->running.n + p->abandoned < 2 * p->max;
}

/* The mutex is held on entry and on return. */
static void run_one(Pool *p, Task *t) {
        bool drop;

        pthread_mutex_unlock(&p->mutex);
        t->run(t);
        pthread_mutex_lock(&p->mutex);
        drop = t->state == TASK_ABANDONED;
        if (drop) {
                /* It may hang in there too (closing a file of a dead mount), so it stays counted until it is over. */
                pthread_mutex_unlock(&p->mutex);
                t->drop(t);
                pthread_mutex_lock(&p->mutex);
                p->abandoned--;
                return;
        }
        list_remove(&p->running, t);
        t->state = TASK_DONE;
        list_append(&p->done, t);
        wake(p);
}

static Task *take_waiting(Pool *p) {
        Task *t = have_room(p) ? list_pop(&p->waiting) : NULL;

        if (t) {
                t->state = TASK_RUNNING;
                list_append(&p->running, t);
        }
        return t;
}

static void *thread_main(void *userdata) {
        Pool *p = userdata;
        Task *t;
        bool last;

        pthread_setname_np(pthread_self(), "fdld-pool");
        pthread_mutex_lock(&p->mutex);
        while ((t = take_waiting(p)))
                run_one(p, t);
        p->threads--;
        pthread_cond_broadcast(&p->thread_ended);
        last = p->threads == 0 && !p->owned;
        pthread_mutex_unlock(&p->mutex);
        if (last)
                pool_destroy(p);
        return NULL;
}

/* Signals belong to the main thread. Not so those that a fault of the thread itself raises: a bad disk under a mapped file is
 * survived by a handler of SIGBUS. */
static void thread_signals(sigset_t *ret) {
        static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};

        sigfillset(ret);
        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                sigdelset(ret, own[i]);
}

static int start_thread(Pool *p) {
        pthread_attr_t attr;
        sigset_t all, before;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attr);
        if (r != 0)
                return -r;
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attr, STACK_SIZE);
        thread_signals(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(&thread, &attr, thread_main, p);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (r == 0)
                p->threads++;
        return -r;
}

/* One thread for each task that waits and may start. Threads that were just made and did not take a task yet count as
 * busy, so compare with the number of threads and not of running tasks. */
static int start_threads(Pool *p) {
        unsigned busy = p->running.n + p->abandoned;
        unsigned starting = p->threads > busy ? p->threads - busy : 0;
        int r = 0;

        while (r == 0 && starting < p->waiting.n && !p->closing && p->running.n + starting < p->max &&
               busy + starting < 2 * p->max) {
                r = start_thread(p);
                if (r == 0)
                        starting++;
        }
        /* Whoever runs takes the waiting ones afterwards. */
        return starting > 0 || p->running.n > 0 ? 0 : r;
}

int pool_new(unsigned max, Pool **ret) {
        pthread_condattr_t attr;
        Pool *p;

        if (max == 0 || max > THREADS_MAX)
                return -EINVAL;
        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (p->event_fd < 0) {
                int r = -errno;
                free(p);
                return r;
        }
        pthread_mutex_init(&p->mutex, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&p->thread_ended, &attr);
        pthread_condattr_destroy(&attr);
        p->max = max;
        p->owned = true;
        *ret = p;
        return 0;
}

static void drop_all(Pool *p, TaskList *l) {
        Task *t;

        while ((t = list_pop(l))) {
                pthread_mutex_unlock(&p->mutex);
                t->drop(t);
                pthread_mutex_lock(&p->mutex);
        }
}

static void abandon_running(Pool *p, Task *t) {
        list_remove(&p->running, t);
        p->abandoned++;
        t->state = TASK_ABANDONED;
        t->cancelled = true;
}

Pool *pool_free(Pool *p) {
        struct timespec until;
        bool last;

        if (!p)
                return NULL;
        pthread_mutex_lock(&p->mutex);
        p->closing = true;
        drop_all(p, &p->waiting);
        while (p->running.first)
                abandon_running(p, p->running.first);
        drop_all(p, &p->done);
        /* The process may be about to end: code that still runs then could use what exit handlers tore down. */
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += FREE_WAIT_SEC;
        while (p->threads > 0)
                if (pthread_cond_timedwait(&p->thread_ended, &p->mutex, &until) != 0)
                        break;
        p->owned = false;
        last = p->threads == 0;
        pthread_mutex_unlock(&p->mutex);
        if (last)
                pool_destroy(p);
        return NULL;
}

int pool_fd(const Pool *p) {
        return p->event_fd;
}

void pool_dispatch(Pool *p) {
        uint64_t count;

        (void) !read(p->event_fd, &count, sizeof(count));
        for (unsigned i = 0; i < DISPATCH_MAX; i++) {
                Task *t;

                pthread_mutex_lock(&p->mutex);
                t = list_pop(&p->done);
                pthread_mutex_unlock(&p->mutex);
                if (!t)
                        return;
                t->done(t);
        }
        wake(p);
}

int pool_submit(Pool *p, Task *t) {
        int r;

        pthread_mutex_lock(&p->mutex);
        if (p->waiting.n >= WAITING_MAX) {
                pthread_mutex_unlock(&p->mutex);
                return -ENOBUFS;
        }
        t->state = TASK_WAITING;
        list_append(&p->waiting, t);
        r = start_threads(p);
        if (r < 0)
                list_remove(&p->waiting, t);
        pthread_mutex_unlock(&p->mutex);
        return r;
}

void pool_abandon(Pool *p, Task *t) {
        bool drop = true;

        pthread_mutex_lock(&p->mutex);
        t->cancelled = true;
        switch (t->state) {
        case TASK_WAITING:
                list_remove(&p->waiting, t);
                break;
        case TASK_DONE:
                list_remove(&p->done, t);
                break;
        case TASK_RUNNING:
                abandon_running(p, t);
                (void) start_threads(p);
                drop = false;
                break;
        default: /* abandoned before */
                drop = false;
        }
        pthread_mutex_unlock(&p->mutex);
        if (drop)
                t->drop(t);
}
