/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "common/failure.h"
#include "station/station.h"

/* The one door to sd-bus: shows the station as org.fdld.Fdld1 and turns calls into station functions. Main thread
 * only, and it never waits: connecting, requesting the name and asking for a caller's credentials are asynchronous.
 *
 * Order in main: station_new(), bus_new(), bus_publish(), station_start(), event loop; at the end station_stop(),
 * then bus_free() before station_free(). */
typedef struct Bus Bus;

/* Starts connecting. `address`: a D-Bus address, NULL for the system bus ($DBUS_SYSTEM_BUS_ADDRESS, else the usual
 * socket). `trust_own_uid`: callers of the daemon's own uid may act, for tests and development. `lost`, once and from
 * the event loop: the connection broke, the name was taken or could not be had, or the bus daemon no longer reads;
 * bus_lost_reason() says which. Jobs should be brought to a safe end (station_stop()), then the process should exit
 * with failure. Nothing else is called after it; bus_free() is still due and must not be called from within `lost`. */
int bus_new(sd_event *event, Station *station, const char *address, bool trust_own_uid, void (*lost)(void *userdata),
            void *userdata, Bus **ret, CallError *e);

/* Becomes the station's observer, publishes the objects and requests the name. `ready` (may be NULL) is called once the
 * name is ours: the moment for READY=1. */
int bus_publish(Bus *b, void (*ready)(void *userdata), CallError *e);

/* Somebody would notice if the daemon were another: calls of Wait, questions to polkit, drafts or leases are open. */
bool bus_in_use(const Bus *b);

/* One plain sentence for the log; "" while all is well. Valid until bus_free(). */
const char *bus_lost_reason(const Bus *b);

/* Waits for nothing. Leases end, drafts of callers are dropped, the observer is removed. NULL is allowed. */
Bus *bus_free(Bus *b);
DEFINE_CLEANUP(Bus *, bus_free)
