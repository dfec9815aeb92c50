/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The decoder of frames that devices send, with bytes cut into transfers anywhere; then one frame of the same bytes there and back. */
#include <string.h>

#include "bsl/frame.h"
#include "fuzz.h"

static BslDecoder decoder;
static uint8_t wire[BSL_WIRE_MAX];

static void take(const uint8_t *data, size_t size, uint64_t *frames) {
        BslFrame f;
        BslDecoded d;

        do {
                d = bsl_decoder_feed(&decoder, &data, &size, &f);
                if (d != BSL_DECODED_FRAME)
                        continue;
                MUST(f.size <= BSL_PAYLOAD_MAX);
                MUST(f.body_size == f.size + BSL_HEAD + 2);
                MUST(f.payload == f.body + BSL_HEAD);
                (void) bsl_body_check(f.body, f.body_size, BSL_CHECK_CRC16);
                (void) bsl_body_check(f.body, f.body_size, BSL_CHECK_SUM);
                ++*frames;
        } while (size > 0 || d != BSL_DECODED_MORE);
        MUST(bsl_decoder_pending(&decoder) <= sizeof(decoder.buffer));
}

static void there_and_back(const uint8_t *data, size_t size, BslCheck check, bool transcode) {
        size_t n, left;
        const uint8_t *at = wire;
        BslFrame f;

        n = bsl_frame_encode(wire, 0x93, data, size, check, transcode);
        MUST((n == 0) == (size > BSL_PAYLOAD_MAX));
        if (n == 0)
                return;
        bsl_decoder_reset(&decoder, transcode);
        left = n;
        MUST(bsl_decoder_feed(&decoder, &at, &left, &f) == BSL_DECODED_FRAME);
        MUST(left == 0 && f.type == 0x93 && f.size == size);
        MUST(size == 0 || memcmp(f.payload, data, size) == 0);
        MUST(bsl_body_check(f.body, f.body_size, check));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Script s = {data, size};
        uint8_t how = script_byte(&s);
        uint64_t frames = 0;
        size_t piece = how >> 1 ? how >> 1 : size + 1;

        bsl_decoder_reset(&decoder, how & 1);
        for (size_t at = 0; at < s.size; at += piece)
                take(s.data + at, s.size - at < piece ? s.size - at : piece, &frames);
        MUST(decoder.garbage <= size);
        for (unsigned i = 0; i < 4; i++)
                there_and_back(s.data, s.size, i & 1 ? BSL_CHECK_SUM : BSL_CHECK_CRC16, i & 2);
        return 0;
}
