/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* Work without a device (import, checks, export): each task runs in a thread of its own, at most `max` at a
 * time, the rest wait in order. A task that hangs (a client's file on a dead network mount) costs its thread only: it can be
 * abandoned, then its `done` is never called and `drop` frees it when the thread ends. */
typedef struct Task Task;
struct Task {
        void (*run)(Task *t);    /* in the pool thread; must touch nothing but the task */
        void (*done)(Task *t);   /* on the main thread, from pool_dispatch(); owns t from here */
        void (*drop)(Task *t);   /* frees an abandoned task, any thread */
        _Atomic bool cancelled;  /* set by task_abandon(); run should look at it */
        struct Task *next;
        int state;
};

typedef struct Pool Pool;
int pool_new(unsigned max, Pool **ret);
Pool *pool_free(Pool *p);        /* abandons what still runs */
int pool_fd(const Pool *p);      /* readable when tasks are done; for the event loop */
void pool_dispatch(Pool *p);     /* main thread */
int pool_submit(Pool *p, Task *t); /* 0; -ENOBUFS: too many waiting (64); the task stays the caller's then */
void pool_abandon(Pool *p, Task *t);
