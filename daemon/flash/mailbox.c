/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/mailbox.h"

#include <pthread.h>
#include <sys/eventfd.h>

/* Workers wait for an answer to nearly everything they post and a plan has few steps, so the list stays short by
 * itself. Only facts could pile up while the main thread is busy; they are dropped beyond this. */
#define FACTS_MAX 4096

struct Mailbox {
        pthread_mutex_t lock;
        int fd;
        unsigned n_ref;
        size_t n;
        Letter *first, **tail;
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
        pthread_mutex_init(&m->lock, NULL);
        m->n_ref = 1;
        m->tail = &m->first;
        *ret = m;
        return 0;
}

Mailbox *mailbox_ref(Mailbox *m) {
        pthread_mutex_lock(&m->lock);
        m->n_ref++;
        pthread_mutex_unlock(&m->lock);
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

/* Workers hold references of their own: one that was abandoned may still post when everything else is gone. */
Mailbox *mailbox_free(Mailbox *m) {
        unsigned n;

        if (!m)
                return NULL;
        pthread_mutex_lock(&m->lock);
        n = --m->n_ref;
        pthread_mutex_unlock(&m->lock);
        if (n > 0)
                return NULL;
        while (m->first) {
                Letter *l = m->first;
                m->first = l->next;
                letter_free(l);
        }
        close(m->fd);
        pthread_mutex_destroy(&m->lock);
        free(m);
        return NULL;
}

int mailbox_fd(const Mailbox *m) {
        return m->fd;
}

void mailbox_post(Mailbox *m, Letter *l) {
        static const uint64_t one = 1;

        l->next = NULL;
        pthread_mutex_lock(&m->lock);
        if (l->record.type == RECORD_FACT && m->n >= FACTS_MAX) {
                pthread_mutex_unlock(&m->lock);
                letter_free(l);
                return;
        }
        *m->tail = l;
        m->tail = &l->next;
        if (m->n++ == 0)
                (void) !write(m->fd, &one, sizeof(one));
        pthread_mutex_unlock(&m->lock);
}

bool mailbox_take(Mailbox *m, WorkerRecord *ret) {
        Letter *l;
        uint64_t count;

        pthread_mutex_lock(&m->lock);
        l = m->first;
        if (l) {
                m->first = l->next;
                m->n--;
        }
        /* Cleared with the last letter and under the lock: the next post finds an empty list and sets it again. */
        if (!m->first) {
                m->tail = &m->first;
                (void) !read(m->fd, &count, sizeof(count));
        }
        pthread_mutex_unlock(&m->lock);
        if (!l)
                return false;
        *ret = l->record;
        free(l);
        return true;
}
