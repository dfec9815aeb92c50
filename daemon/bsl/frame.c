/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/frame.h"

static size_t put_bytes(uint8_t *out, const uint8_t *data, size_t size, bool transcode) {
        size_t n = 0;

        if (!transcode) {
                if (size > 0)
                        memcpy(out, data, size);
                return size;
        }
        for (size_t i = 0; i < size; i++) {
                if (data[i] == BSL_FLAG || data[i] == BSL_ESCAPE) {
                        out[n++] = BSL_ESCAPE;
                        out[n++] = data[i] ^ 0x20;
                } else
                        out[n++] = data[i];
        }
        return n;
}

/* The sum of head and payload, which lie apart in memory. */
static uint16_t sum_of_two(const uint8_t *head, const uint8_t *payload, size_t size) {
        uint32_t a = (uint16_t) ~bsl_sum16(head, BSL_HEAD), b = (uint16_t) ~bsl_sum16(payload, size), sum = a + b;

        sum = (sum >> 16) + (sum & 0xffff);
        return (uint16_t) ~sum;
}

size_t bsl_frame_encode(uint8_t *out, uint16_t type, const void *payload, size_t size, BslCheck check, bool transcode) {
        uint8_t head[BSL_HEAD], tail[2];
        size_t n = 0;

        if (size > BSL_PAYLOAD_MAX)
                return 0;
        put_be16(head, type);
        put_be16(head + 2, (uint16_t) size);
        out[n++] = BSL_FLAG;
        if (check == BSL_CHECK_CRC16)
                put_be16(tail, bsl_crc16(bsl_crc16(0, head, sizeof(head)), payload, size));
        else if (size % 2 == 0)
                put_le16(tail, sum_of_two(head, payload, size));
        else /* the receiver sums the whole body: the first check byte pairs with the last byte of the payload */
                put_be16(tail, sum_of_two(head, payload, size));
        n += put_bytes(out + n, head, sizeof(head), transcode);
        n += put_bytes(out + n, payload, size, transcode);
        n += put_bytes(out + n, tail, sizeof(tail), transcode);
        out[n++] = BSL_FLAG;
        return n;
}

bool bsl_body_check(const uint8_t *body, size_t size, BslCheck check) {
        uint16_t sum;

        if (size < BSL_HEAD + 2)
                return false;
        if (check == BSL_CHECK_CRC16)
                return bsl_crc16(0, body, size - 2) == get_be16(body + size - 2);
        sum = bsl_sum16(body, size - 2);
        /* Loaders do not agree on the order behind an odd payload. */
        return sum == get_le16(body + size - 2) || (size % 2 != 0 && sum == get_be16(body + size - 2));
}

void bsl_decoder_reset(BslDecoder *d, bool transcode) {
        d->raw = !transcode;
        d->inside = d->escape = false;
        d->head = d->tail = 0;
        d->garbage = 0;
}

static BslDecoded frame_found(const uint8_t *body, size_t size, BslFrame *ret) {
        *ret = (BslFrame){
                .type = get_be16(body),
                .body = body,
                .body_size = size,
                .payload = body + BSL_HEAD,
                .size = size - BSL_HEAD - 2,
        };
        return BSL_DECODED_FRAME;
}

/* A flag: the end of what was collected, and at the same time a possible beginning. */
static BslDecoded escaped_flag(BslDecoder *d, BslFrame *ret) {
        size_t size = d->tail;
        bool inside = d->inside, cut = d->escape;

        d->inside = true;
        d->escape = false;
        d->tail = 0;
        if (!inside || (size == 0 && !cut))
                return BSL_DECODED_MORE;
        if (!cut && size >= BSL_HEAD + 2 && get_be16(d->buffer + 2) == size - BSL_HEAD - 2)
                return frame_found(d->buffer, size, ret);
        d->garbage += size + cut;
        return BSL_DECODED_BAD;
}

static BslDecoded feed_escaped(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        while (*size > 0) {
                uint8_t byte = *(*data)++;

                --*size;
                if (byte == BSL_FLAG) {
                        BslDecoded r = escaped_flag(d, ret);
                        if (r != BSL_DECODED_MORE)
                                return r;
                } else if (!d->inside)
                        d->garbage++;
                else if (byte == BSL_ESCAPE && !d->escape)
                        d->escape = true;
                else {
                        d->buffer[d->tail++] = d->escape ? byte ^ 0x20 : byte;
                        d->escape = false;
                        /* More than the length field announces, or than any frame can have: wait for the next flag. */
                        if (d->tail > BSL_HEAD && d->tail > (size_t) get_be16(d->buffer + 2) + BSL_HEAD + 2) {
                                d->garbage += d->tail;
                                d->inside = false;
                                d->tail = 0;
                                return BSL_DECODED_BAD;
                        }
                }
        }
        return BSL_DECODED_MORE;
}

/* Looks at what begins at d->head: a whole frame, the beginning of one, or neither. Constant time. */
static BslDecoded raw_candidate(const BslDecoder *d, size_t *ret_body) {
        const uint8_t *p = d->buffer + d->head;
        size_t n = d->tail - d->head, body;

        /* Devices answer with types 0080 to 00FF only. */
        if ((n > 0 && p[0] != BSL_FLAG) || (n > 1 && p[1] != 0) || (n > 2 && p[2] < 0x80))
                return BSL_DECODED_BAD;
        if (n < 1 + BSL_HEAD)
                return BSL_DECODED_MORE;
        body = BSL_HEAD + (size_t) get_be16(p + 3) + 2;
        if (n < body + 2)
                return BSL_DECODED_MORE;
        if (p[body + 1] != BSL_FLAG)
                return BSL_DECODED_BAD;
        *ret_body = body;
        return BSL_DECODED_FRAME;
}

static BslDecoded raw_scan(BslDecoder *d, BslFrame *ret) {
        uint64_t before = d->garbage;

        while (d->head < d->tail) {
                size_t body = 0;
                BslDecoded r = raw_candidate(d, &body);

                if (r == BSL_DECODED_MORE)
                        break;
                if (r == BSL_DECODED_FRAME) {
                        const uint8_t *start = d->buffer + d->head + 1;
                        /* The closing flag stays: it may open the next frame. */
                        d->head += body + 1;
                        return frame_found(start, body, ret);
                }
                if (d->buffer[d->head] != BSL_FLAG)
                        d->garbage++;
                d->head++;
        }
        return d->garbage > before ? BSL_DECODED_BAD : BSL_DECODED_MORE;
}

static BslDecoded feed_raw(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        for (;;) {
                BslDecoded r = raw_scan(d, ret);
                size_t n;

                if (r != BSL_DECODED_MORE || *size == 0)
                        return r;
                /* What is unread is less than one frame, so moving it always makes room for the rest of it. */
                if (d->head == d->tail || sizeof(d->buffer) - d->tail < *size) {
                        memmove(d->buffer, d->buffer + d->head, d->tail - d->head);
                        d->tail -= d->head;
                        d->head = 0;
                }
                n = MIN(*size, sizeof(d->buffer) - d->tail);
                memcpy(d->buffer + d->tail, *data, n);
                d->tail += n;
                *data += n;
                *size -= n;
        }
}

BslDecoded bsl_decoder_feed(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        return d->raw ? feed_raw(d, data, size, ret) : feed_escaped(d, data, size, ret);
}

size_t bsl_decoder_pending(const BslDecoder *d) {
        if (!d->raw)
                return d->tail + d->escape;
        return d->tail - d->head > 1 ? d->tail - d->head : 0;
}
