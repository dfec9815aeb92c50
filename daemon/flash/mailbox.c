/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/mailbox.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

/* Workers wait for an answer to nearly everything they post and a plan has few steps, so the list stays short by
 * itself. Only facts could pile up while the main thread is busy; they are dropped beyond this. */
#define FACTS_MAX 4096

/* No lock: a worker that lost its processor while it held one would keep the main thread waiting. */
struct Mailbox {
        int fd;
        _Atomic unsigned n_ref;
        _Atomic size_t n;
        _Atomic(Letter *) newest; /* what was posted, the last first */
        Letter *first;            /* taken out of there, in the order of posting; the main thread's */
};

int mailbox_new(Mailbox **ret) {
        Mailbox *m = calloc(1, sizeof(*m));

        if (!m)
                return -ENOMEM;
        m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (m->fd < 0) {
                int r = -errno;
                free(m);
                return r;
        }
        m->n_ref = 1;
        *ret = m;
        return 0;
}

Mailbox *mailbox_ref(Mailbox *m) {
        atomic_fetch_add(&m->n_ref, 1);
        return m;
}

Letter *letter_free(Letter *l) {
        if (!l)
                return NULL;
        free(l->record.blob);
        if (l->record.spooled)
                close(l->record.fd);
        free(l);
        return NULL;
}

/* All that was posted, in that order. */
static Letter *take_posted(Mailbox *m) {
        Letter *newest = atomic_exchange(&m->newest, NULL), *first = NULL;

        while (newest) {
                Letter *l = newest;
                newest = l->next;
                l->next = first;
                first = l;
        }
        return first;
}

static void free_letters(Letter *l) {
        while (l) {
                Letter *next = l->next;
                letter_free(l);
                l = next;
        }
}

/* Workers hold references of their own: one that was abandoned may still post when everything else is gone. */
Mailbox *mailbox_free(Mailbox *m) {
        if (!m || atomic_fetch_sub(&m->n_ref, 1) > 1)
                return NULL;
        free_letters(m->first);
        free_letters(take_posted(m));
        close(m->fd);
        free(m);
        return NULL;
}

int mailbox_fd(const Mailbox *m) {
        return m->fd;
}

static void signal_letters(Mailbox *m) {
        static const uint64_t one = 1;

        (void) !write(m->fd, &one, sizeof(one));
}

void mailbox_post(Mailbox *m, Letter *l) {
        Letter *before;

        if (l->record.type == RECORD_FACT && atomic_load(&m->n) >= FACTS_MAX) {
                letter_free(l);
                return;
        }
        atomic_fetch_add(&m->n, 1);
        before = atomic_load(&m->newest);
        do
                l->next = before;
        while (!atomic_compare_exchange_weak(&m->newest, &before, l));
        /* The letter is the reader's now. Who finds others there relies on the one who posted the first of them. */
        if (!before)
                signal_letters(m);
}

/* The descriptor is readable as long as there is something, and now and then when there is nothing any more. */
static void clear_signal(Mailbox *m) {
        uint64_t count;

        (void) !read(m->fd, &count, sizeof(count));
        m->first = take_posted(m); /* what is posted from here on signals again */
        if (m->first)
                signal_letters(m);
}

bool mailbox_take(Mailbox *m, WorkerRecord *ret) {
        Letter *l;

        if (!m->first)
                m->first = take_posted(m);
        l = m->first;
        if (l)
                m->first = l->next;
        if (!m->first)
                clear_signal(m);
        if (!l)
                return false;
        atomic_fetch_sub(&m->n, 1);
        *ret = l->record;
        free(l);
        return true;
}
