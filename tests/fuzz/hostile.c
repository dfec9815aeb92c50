/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hostile.h"

#include <errno.h>
#include <string.h>

#define CALLS_MAX 20000

static uint16_t crc(const uint8_t *p, size_t n) {
        uint16_t c = 0;

        while (n--) {
                c ^= (uint16_t) (*p++ << 8);
                for (int i = 0; i < 8; i++)
                        c = (uint16_t) (c & 0x8000 ? c << 1 ^ 0x1021 : c << 1);
        }
        return c;
}

static uint16_t sum(const uint8_t *p, size_t n) {
        uint32_t s = 0;

        for (; n > 1; n -= 2, p += 2)
                s += (uint32_t) (p[0] | p[1] << 8);
        if (n)
                s += *p;
        s = (s >> 16) + (s & 0xffff);
        s += s >> 16;
        s = ~s & 0xffff;
        return (uint16_t) (s >> 8 | s << 8);
}

static size_t frame(uint8_t *out, uint8_t type, const uint8_t *payload, size_t n, bool with_crc) {
        uint8_t body[4 + 256 + 2] = {0, type, (uint8_t) (n >> 8), (uint8_t) n};
        size_t at = 0;
        uint16_t check;

        if (n > 0)
                memcpy(body + 4, payload, n);
        check = with_crc ? crc(body, n + 4) : sum(body, n + 4);
        body[n + 4] = (uint8_t) (check >> 8);
        body[n + 5] = (uint8_t) check;
        out[at++] = 0x7e;
        for (size_t i = 0; i < n + 6; i++) {
                if (body[i] == 0x7e || body[i] == 0x7d) {
                        out[at++] = 0x7d;
                        out[at++] = body[i] ^ 0x20;
                } else
                        out[at++] = body[i];
        }
        out[at++] = 0x7e;
        return at;
}

static int error_of(uint8_t c) {
        static const int errors[] = {-ENODEV, -EPROTO, -EPIPE, -EOVERFLOW, -EIO, -ENODEV, -EPROTO, -ECANCELED};

        return errors[c & 7];
}

static int send_some(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        Hostile *h = (Hostile *) c;

        (void) data;
        (void) size;
        if (++h->sends > CALLS_MAX)
                return -ENODEV;
        /* a rare word in the script: the device does not take it */
        if (h->acks == 0 && h->script.size > 1 && h->script.data[0] == 0xfe) {
                (void) script_byte(&h->script);
                h->now_ms += timeout_ms;
                return script_byte(&h->script) & 1 ? -ETIMEDOUT : -EPROTO;
        }
        return 0;
}

static int give(void *data, size_t size, size_t *ret_size, const uint8_t *bytes, size_t n) {
        *ret_size = n < size ? n : size;
        if (*ret_size > 0)
                memcpy(data, bytes, *ret_size);
        return 0;
}

static int receive(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        Hostile *h = (Hostile *) c;
        uint8_t out[600], word;
        const uint8_t *payload;
        size_t n;

        *ret_size = 0;
        if (++h->receives > CALLS_MAX)
                return -ENODEV;
        /* between two commands most devices are silent */
        if (timeout_ms == 0 && (h->script.size == 0 || h->script.data[0] != 0xfd))
                return -ETIMEDOUT;
        h->now_ms++;
        if (h->acks > 0) {
                h->acks--;
                return give(data, size, ret_size, out, frame(out, 0x80, NULL, 0, h->last_was_crc));
        }
        if (h->script.size == 0)
                return -ENODEV;
        word = script_byte(&h->script);
        if (word < 0x08) {
                h->now_ms += timeout_ms;
                return -ETIMEDOUT;
        }
        if (word < 0x10)
                return error_of(word);
        if (word < 0x50) {
                uint8_t type = script_byte(&h->script);
                n = word & 0x3f;
                payload = script_take(&h->script, &n);
                h->last_was_crc = !(word & 1);
                return give(data, size, ret_size, out, frame(out, type, payload, n, h->last_was_crc));
        }
        if (word < 0x90) {
                h->acks = word & 0x3f;
                return give(data, size, ret_size, out, frame(out, 0x80, NULL, 0, h->last_was_crc));
        }
        n = word & 0x7f;
        payload = script_take(&h->script, &n);
        return give(data, size, ret_size, payload, n);
}

static int stream(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        Hostile *h = (Hostile *) c;

        if (h->script.size > 1 && h->script.data[0] == 0xfc) {
                (void) script_byte(&h->script);
                return -EREMOTE;
        }
        return send_some(c, data, size, timeout_ms);
}

static int line_state(Channel *c, uint16_t value, uint32_t timeout_ms) {
        (void) c;
        (void) timeout_ms;
        return value & 2 ? -EPIPE : 0;
}

static uint64_t now(Channel *c) {
        return ((Hostile *) c)->now_ms;
}

static int pause_ms(Channel *c, uint32_t ms) {
        ((Hostile *) c)->now_ms += ms;
        return 0;
}

void hostile_init(Hostile *h, Script script) {
        static const ChannelOps ops = {
                .send = send_some,
                .stream = stream,
                .receive = receive,
                .line_state = line_state,
                .now = now,
                .pause = pause_ms,
        };

        *h = (Hostile){.channel = {.ops = &ops, .max_packet = 64}, .script = script, .last_was_crc = true};
}
