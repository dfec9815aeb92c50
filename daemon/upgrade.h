/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

/* Notices that the program on disk is another than the one that runs: it was upgraded. Main thread. */
typedef struct Upgrade Upgrade;

/* `argv0` is not believed; the kernel knows where the program is. `replaced` is called once, some seconds after the last change. 0 or
 * -errno; without /proc or inotify nothing is ever noticed, which is no reason not to start. */
int upgrade_watch(sd_event *event, void (*replaced)(void *userdata), void *userdata, Upgrade **ret);
/* NULL is allowed, here and below. */
Upgrade *upgrade_free(Upgrade *u);
bool upgrade_waiting(const Upgrade *u); /* it was replaced */
const char *upgrade_path(const Upgrade *u);
