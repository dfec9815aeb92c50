/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/check.h"

/* Frames on the wire: 7E | type | length | payload | check | 7E (bsl-protocol §3). */

#define BSL_FLAG 0x7e
#define BSL_ESCAPE 0x7d
#define BSL_PAYLOAD_MAX 0xffff
#define BSL_HEAD 4                                    /* type and length */
#define BSL_BODY_MAX (BSL_HEAD + BSL_PAYLOAD_MAX + 2) /* all between the flags, unescaped */
#define BSL_WIRE_MAX (2 * BSL_BODY_MAX + 2)           /* every byte escaped */

/* Writes one frame to `out` (room for BSL_WIRE_MAX). Returns its length on the wire; 0: the payload is too long. An odd
 * payload is sent as it is, with the check in the order that devices expect. */
size_t bsl_frame_encode(uint8_t *out, uint16_t type, const void *payload, size_t size, BslCheck check, bool transcode);

/* Whether the last two bytes of the body are the right check for the rest. */
bool bsl_body_check(const uint8_t *body, size_t size, BslCheck check);

typedef struct BslFrame {
        uint16_t type;
        const uint8_t *body; /* type, length, payload, check; in the decoder until it is used again, or in the bytes that it was given */
        size_t body_size;
        const uint8_t *payload;
        size_t size; /* of the payload; agrees with the length field */
} BslFrame;

/* Takes frames out of a byte stream, however it was cut into transfers. With escaping on, flags separate frames; with
 * escaping off, the length field decides. What does not belong to a frame is counted and dropped; the work is linear in
 * the bytes, whatever they say. */
typedef struct BslDecoder {
        bool raw;          /* escaping is off */
        bool inside;       /* escaping on: a flag was seen */
        bool escape;       /* escaping on: the last byte was an escape */
        size_t head, tail; /* escaping on: the body is [0, tail); off: unread bytes are [head, tail) */
        uint64_t garbage;  /* bytes dropped so far, flags not counted */
        uint8_t buffer[2 * (BSL_BODY_MAX + 2)];
} BslDecoder;

typedef enum BslDecoded {
        BSL_DECODED_MORE,  /* all bytes used, no frame yet */
        BSL_DECODED_FRAME, /* *ret filled; its check is not tested yet */
        BSL_DECODED_BAD,   /* something between two flags that is no frame; dropped */
} BslDecoded;

void bsl_decoder_reset(BslDecoder *d, bool transcode);
/* Uses up bytes from *data; moves *data and reduces *size. Call again while *size > 0 or it did not say MORE. */
BslDecoded bsl_decoder_feed(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret);
/* Bytes of a frame that has begun and not ended. */
size_t bsl_decoder_pending(const BslDecoder *d);
