/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <check.h>
#include <systemd/sd-bus.h>

#include "bus/bus-internal.h"
#include "fake-station.h"

/* A bus daemon of our own, the bus code on a fake station, and clients, all on one event loop: nothing here depends on
 * time. */
typedef struct Fixture {
        char directory[160], address[320];
        pid_t daemon;
        sd_event *event;
        Station *station;
        Bus *bus;
        sd_bus *client;
        bool ready;
        unsigned lost;
} Fixture;

extern Fixture fx;

typedef enum Policy { POLICY_OPEN, POLICY_SHIPPED } Policy;

void fixture_daemon(Policy policy);   /* the bus daemon and the loop only */
void fixture_bus(bool trust_own_uid); /* the daemon's side, name taken */
sd_bus *fixture_client(void);         /* another client, said hello */
sd_bus *fixture_client_as(uid_t uid);
void fixture_setup(void); /* all, open policy, own uid trusted, one client */
void fixture_teardown(void);

/* Runs the loop until *flag; fails the test after a while. */
void run_until(const bool *flag);
/* Runs the loop until the client's message has gone to the bus daemon and back: all that was sent before has been seen.
 */
void settle(void);

/* The reply, or NULL and *error (may be NULL: the call must succeed). */
sd_bus_message *call_on(sd_bus *bus, const char *path, const char *interface, const char *member, sd_bus_error *error,
                        const char *types, ...);
/* The same with a message of one's own, which is freed. */
sd_bus_message *call_message(sd_bus *bus, sd_bus_message *m, sd_bus_error *error);
#define call(path, interface, member, error, ...) call_on(fx.client, path, interface, member, error, __VA_ARGS__)
/* Must fail with this name; the text is looked at. */
void check_error(sd_bus_error *e, const char *name, const char *text);
#define MANAGER "org.fdld.Fdld1.Manager"
