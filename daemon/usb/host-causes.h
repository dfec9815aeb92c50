/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"

/* Why this computer could not get at a device that is on its bus, as the node and sysfs tell: permission, a driver, another program, a
 * machine that does not allow it, a device that was put to sleep. `sysfs`: the device's folder, "" not known. Each has a code of its own.
 * All return 1 with *f filled. They read files and may block: not for the main thread. */
int host_cause_open(const char *devnode, const char *sysfs, int error, Failure *f);
/* `fd`: of the node. `detached`: a driver was taken off the interface just before. */
int host_cause_claim(int fd, const char *devnode, const char *sysfs, int interface, int error, bool detached, Failure *f);
/* True, with *f filled, if the machine keeps the device from being used at all (authorized = 0). */
bool host_cause_blocked(const char *devnode, const char *sysfs, Failure *f);
/* The kernel has put it to sleep, or could not wake it. */
bool host_device_suspended(const char *sysfs);
