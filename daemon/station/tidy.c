/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/internal.h"

/* What jobs have read of a package stays mapped for a moment: the next unit of a line finds it there, and no unit waits for it to be given
 * back, which takes long for gigabytes and so is done by the pool. Threads have ended by then, too. */

#define TIDY_USEC 1000000U

typedef struct PagesTask {
        Task task; /* first */
        MappedFile *map;
} PagesTask;

static void give_back(Task *task) {
        mapped_file_give_back(((PagesTask *) task)->map);
}

static void given_back(Task *task) {
        mapped_file_unref(((PagesTask *) task)->map);
        free(task);
}

/* Takes the reference, if it is true. */
static bool hand_over(Station *s, MappedFile *m) {
        PagesTask *t = s->stopping ? NULL : calloc(1, sizeof(*t));

        if (!t)
                return false;
        *t = (PagesTask) {.task = {.run = give_back, .done = given_back, .drop = given_back}, .map = m};
        if (pool_submit(s->pool, &t->task) == 0)
                return true;
        free(t);
        return false;
}

static int on_time(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata) {
        Station *s = userdata;

        s->tidy_timer = sd_event_source_disable_unref(s->tidy_timer);
        workers_join_ended();
        for (Package *p = s->packages; p; p = p->next) {
                MappedFile *m;

                if (!mapped_file_rests(p->map))
                        continue;
                m = mapped_file_ref(p->map);
                if (!hand_over(s, m)) {
                        mapped_file_unref(m);
                        tidy_later(s);
                }
        }
        return 0;
}

void tidy_later(Station *s) {
        if (!s->tidy_timer && !s->stopping)
                (void) sd_event_add_time_relative(s->event, &s->tidy_timer, CLOCK_MONOTONIC, TIDY_USEC, TIDY_USEC / 10, on_time, s);
}

MappedFile *tidy_drop(Station *s, MappedFile *m) {
        if (!mapped_file_rests(m) || !hand_over(s, m))
                mapped_file_unref(m);
        return NULL;
}
