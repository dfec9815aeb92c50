/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/frame.h"

#include "common/kernels.h"

static size_t escape_bytes(uint8_t *out, const uint8_t *data, size_t size) {
        const Kernels *k = kernels();
        size_t n = 0, at = 0;

        for (;;) {
                size_t plain = k->copy_plain(out + n, data + at, size - at);

                n += plain;
                at += plain;
                if (at == size)
                        return n;
                out[n++] = BSL_ESCAPE;
                out[n++] = data[at++] ^ 0x20;
        }
}

/* Low byte first; behind an odd payload the receiver, who sums the whole body, pairs the first byte of the check with the
 * last one of the payload. */
static void put_sum(uint8_t *tail, uint64_t sum, size_t size) {
        if (size % 2 == 0)
                put_le16(tail, bsl_sum16_fold(sum));
        else
                put_be16(tail, bsl_sum16_fold(sum));
}

static void make_tail(uint8_t *tail, const uint8_t *head, const uint8_t *payload, size_t size, BslCheck check) {
        const Kernels *k = kernels();

        if (check == BSL_CHECK_CRC16)
                put_be16(tail, bsl_crc16(bsl_crc16(0, head, BSL_HEAD), payload, size));
        else
                put_sum(tail, k->sum_words(head, BSL_HEAD) + k->sum_words(payload, size), size);
}

/* One pass over the payload: it is summed while it is copied. */
static size_t encode_plain(uint8_t *out, const uint8_t *head, const uint8_t *payload, size_t size, BslCheck check) {
        const Kernels *k = kernels();
        uint8_t *p = out;

        *p++ = BSL_FLAG;
        memcpy(p, head, BSL_HEAD);
        p += BSL_HEAD;
        if (check == BSL_CHECK_SUM)
                put_sum(p + size, k->sum_words(head, BSL_HEAD) + k->copy_sum_words(p, payload, size), size);
        else {
                if (size > 0)
                        memcpy(p, payload, size);
                make_tail(p + size, head, payload, size, check);
        }
        p += size + 2;
        *p++ = BSL_FLAG;
        return (size_t) (p - out);
}

size_t bsl_frame_encode(uint8_t *out, uint16_t type, const void *payload, size_t size, BslCheck check, bool transcode) {
        uint8_t head[BSL_HEAD], tail[2];
        size_t n = 0;

        if (size > BSL_PAYLOAD_MAX)
                return 0;
        if (size == 0)
                payload = head; /* may be NULL */
        put_be16(head, type);
        put_be16(head + 2, (uint16_t) size);
        if (!transcode)
                return encode_plain(out, head, payload, size, check);
        make_tail(tail, head, payload, size, check);
        out[n++] = BSL_FLAG;
        n += escape_bytes(out + n, head, sizeof(head));
        n += escape_bytes(out + n, payload, size);
        n += escape_bytes(out + n, tail, sizeof(tail));
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

/* More than the length field announces, or than any frame can have: what comes is dropped up to the next flag. */
static bool too_long(const BslDecoder *d) {
        return d->tail > BSL_HEAD && d->tail > (size_t) get_be16(d->buffer + 2) + BSL_HEAD + 2;
}

/* The inside of a frame whose length is known, up to the next byte that means something. */
static void feed_plain(BslDecoder *d, const uint8_t **data, size_t *size) {
        size_t body, n;

        if (!d->inside || d->escape || d->tail < BSL_HEAD)
                return;
        body = (size_t) get_be16(d->buffer + 2) + BSL_HEAD + 2;
        n = kernels()->copy_plain(d->buffer + d->tail, *data, MIN(*size, body - MIN(body, d->tail)));
        d->tail += n;
        *data += n;
        *size -= n;
}

static BslDecoded feed_escaped(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        for (;;) {
                uint8_t byte;

                feed_plain(d, data, size);
                if (*size == 0)
                        return BSL_DECODED_MORE;
                byte = *(*data)++;
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
                        if (too_long(d)) {
                                d->garbage += d->tail;
                                d->inside = false;
                                d->tail = 0;
                                return BSL_DECODED_BAD;
                        }
                }
        }
}

/* Looks at what begins at p: a whole frame, the beginning of one, or neither. Constant time. */
static BslDecoded raw_candidate(const uint8_t *p, size_t n, size_t *ret_body) {
        size_t body;

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
                BslDecoded r = raw_candidate(d->buffer + d->head, d->tail - d->head, &body);

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

/* A frame that came whole and behind nothing unfinished is taken from where it lies; what is left of the one before it is at most its
 * closing flag. */
static bool raw_in_place(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        const uint8_t *start = *data + 1;
        size_t unread = d->tail - d->head, body = 0;

        if (unread > 1 || (unread == 1 && d->buffer[d->head] != BSL_FLAG) || raw_candidate(*data, *size, &body) != BSL_DECODED_FRAME)
                return false;
        d->buffer[0] = BSL_FLAG;
        d->head = 0;
        d->tail = 1;
        *data += body + 2;
        *size -= body + 2;
        frame_found(start, body, ret);
        return true;
}

static BslDecoded feed_raw(BslDecoder *d, const uint8_t **data, size_t *size, BslFrame *ret) {
        for (;;) {
                BslDecoded r = raw_scan(d, ret);
                size_t n;

                if (r != BSL_DECODED_MORE || *size == 0)
                        return r;
                if (raw_in_place(d, data, size, ret))
                        return BSL_DECODED_FRAME;
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
