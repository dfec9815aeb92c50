/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/channel.h"
#include "usbsim/model.h"

/* A daemon Channel over one simulated unit, in memory, with virtual time: waiting advances the unit's clock to its next
 * event, so deadlines of minutes pass at once. Single-threaded, but for sim_channel_cancel(). */
typedef struct SimChannel {
        Channel channel; /* give &sc->channel to the session */
        SimModel *model;
        uint64_t now_ns;
        bool high_speed;
        bool attached;       /* on the bus as far as the host has noticed */
        SimWish wish;        /* why it left, SIM_STAY while it has not */
        uint64_t back_at_ns; /* wish SIM_REENUMERATE: when it comes back */
        bool canceled;
        /* Pulls the cable just before that many-th send (counted in `sends`, from 1); 0: never. */
        uint64_t unplug_at_send;
        uint64_t unplug_at_ns; /* pulls the cable when the clock reaches that; 0: never */
        uint64_t sends, receives, bytes_out, bytes_in;
        uint8_t *lent;       /* what was borrowed last: gone with the next, so that who still uses it is found out */
        /* Sees what is sent, as it goes over the wire; may be NULL. */
        void (*tap)(void *userdata, const uint8_t *data, size_t size);
        void *tap_userdata;
} SimChannel;

/* The unit is new in `storage` (see model.h) and plugged in. NULL and a sentence in err. */
SimChannel *sim_channel_new(const char *spec, const char *storage, unsigned seed, char *err, size_t err_size);
SimChannel *sim_channel_free(SimChannel *sc);

void sim_channel_plug(SimChannel *sc);   /* cable in, boot key held: ROM */
void sim_channel_unplug(SimChannel *sc); /* RAM lost, flash kept */
/* After the unit left with SIM_REENUMERATE: waits until it is back on the bus. 0; -ETIMEDOUT; -ENODEV it does not come
 * back. */
int sim_channel_wait_back(SimChannel *sc, uint32_t timeout_ms);
/* The next call in flight, and every one after it until plug, ends with -ECANCELED. */
void sim_channel_cancel(SimChannel *sc);
/* Faults (model.h); aborts the test on a bad line. */
void sim_channel_fault(SimChannel *sc, const char *line);
