/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "sim.h"

/* wire.c: from USB transfers to frames and back. */
void sim_wire_reset(SimModel *m);
void sim_wire_pump(SimModel *m); /* handles what was received, as far as the unit is not busy */
void sim_reenumerate(SimModel *m);
void sim_reenumerate_after(SimModel *m, uint64_t delay_ns);
void sim_send_raw(SimModel *m, const uint8_t *p, size_t n); /* a reply that is no BSL frame */
