/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/channel.h"
#include "fuzz.h"

/* A device whose every answer comes from a script, in virtual time. Framing and sums are its own, so that answers that look right can
 * be said in few bytes:
 *   00..07        nothing until the deadline        08..0f  an error of the bus
 *   10..4f n …    a frame of that many bytes of payload, its type next, with a CRC (even) or a sum (odd)
 *   50..8f        that many acknowledgements, one for each question
 *   90..ff n …    bytes as they are, as many as the low bits say */
typedef struct Hostile {
        Channel channel;
        Script script;
        uint64_t now_ms;
        unsigned acks;       /* still to be given */
        unsigned sends, receives;
        bool last_was_crc;
} Hostile;

void hostile_init(Hostile *h, Script script);
