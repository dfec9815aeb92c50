/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "upgrade.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/macro.h"

/* Package managers change several files, one after the other; the program may come before what it needs. */
#define SETTLE_USEC UINT64_C(3000000)

struct Upgrade {
        char path[PATH_MAX];
        dev_t dev;
        ino_t ino;
        sd_event_source *watch, *settled;
        bool replaced;
        void (*fn)(void *userdata);
        void *userdata;
};

static int on_settled(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Upgrade *u = userdata;
        struct stat st;

        /* Gone: it is being removed, and whoever does that stops us. */
        if (stat(u->path, &st) < 0 || !S_ISREG(st.st_mode) || access(u->path, X_OK) < 0)
                return 0;
        if (st.st_dev == u->dev && st.st_ino == u->ino)
                return 0;
        /* The watch stays on: libsystemd 252 turns in a circle for good when one is off and an event for it was read already. */
        u->replaced = true;
        u->fn(u->userdata);
        return 0;
}

static int on_change(sd_event_source *s _unused_, const struct inotify_event *event, void *userdata) {
        Upgrade *u = userdata;

        if (u->replaced)
                return 0;
        if (!(event->mask & IN_Q_OVERFLOW) && (event->len == 0 || !streq(event->name, strrchr(u->path, '/') + 1)))
                return 0;
        (void) sd_event_source_set_time_relative(u->settled, SETTLE_USEC);
        return sd_event_source_set_enabled(u->settled, SD_EVENT_ONESHOT);
}

static int watch_path(Upgrade *u, sd_event *event) {
        char directory[PATH_MAX];
        struct stat st;
        ssize_t n;
        int r;

        n = readlink("/proc/self/exe", u->path, sizeof(u->path) - 1);
        if (n < 0)
                return -errno;
        u->path[n] = '\0';
        if (stat("/proc/self/exe", &st) < 0)
                return -errno;
        u->dev = st.st_dev;
        u->ino = st.st_ino;
        memcpy(directory, u->path, sizeof(directory));
        r = sd_event_add_time_relative(event, &u->settled, CLOCK_MONOTONIC, SETTLE_USEC, 0, on_settled, u);
        if (r >= 0)
                r = sd_event_source_set_enabled(u->settled, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_inotify(event, &u->watch, dirname(directory), IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE, on_change, u);
        return r < 0 ? r : 0;
}

int upgrade_watch(sd_event *event, void (*replaced)(void *userdata), void *userdata, Upgrade **ret) {
        Upgrade *u = calloc(1, sizeof(*u));
        int r;

        if (!u)
                return -ENOMEM;
        u->fn = replaced;
        u->userdata = userdata;
        r = watch_path(u, event);
        if (r < 0) {
                upgrade_free(u);
                return r;
        }
        *ret = u;
        return 0;
}

Upgrade *upgrade_free(Upgrade *u) {
        if (!u)
                return NULL;
        sd_event_source_disable_unref(u->watch);
        sd_event_source_disable_unref(u->settled);
        free(u);
        return NULL;
}

bool upgrade_waiting(const Upgrade *u) {
        return u && u->replaced;
}

const char *upgrade_path(const Upgrade *u) {
        return u ? u->path : "";
}
