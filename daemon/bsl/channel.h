/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "common/macro.h"

/* A way to move bytes to and from one device: libusb in the daemon (usb/usb-channel.h), memory and virtual
 * time in tests. A channel is used by one thread; only `cancel` of an implementation may be called from others. */
typedef struct Channel Channel;

typedef struct ChannelOps {
        /* Sends `size` bytes as one USB transfer; a zero-length packet follows when size is a multiple of
         * wMaxPacketSize (bsl-protocol §2.4). 0; -ETIMEDOUT the device did not take it; -ENODEV left the bus;
         * -ECANCELED; -EPIPE the device stalls; -EPROTO, -EOVERFLOW bytes were damaged or lost on the wire; any other
         * negative errno: host fault. */
        int (*send)(Channel *c, const void *data, size_t size, uint32_t timeout_ms);
        /* The two halves of send: between them the caller has time for something else. `data` must stay as it is until
         * settle, which waits for the rest of timeout_ms, has returned. Each submit that gave 0 needs its settle, and
         * nothing else is sent in between. NULL: not offered, and send does it all. */
        int (*submit)(Channel *c, const void *data, size_t size, uint32_t timeout_ms);
        int (*settle)(Channel *c);
        /* Sends any amount as one stretch of packets, straight from where it lies; a zero-length packet follows when it
         * fills its last packet. timeout_ms: the longest time without progress. Errors as send; -EREMOTE: the device said
         * something and took no more. */
        int (*stream)(Channel *c, const void *data, size_t size, uint32_t timeout_ms);
        /* Receives one transfer of at most `size` bytes (give 64 KiB + 64 or more: a frame may arrive split or
         * glued). *ret_size may be 0 (a zero-length packet). Errors as send; -ETIMEDOUT: nothing arrived.
         * timeout_ms 0 polls: it must be cheap, the session asks before each command whether a late answer is there. */
        int (*receive)(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size);
        /* The same without a copy: *ret points to what came, all of it, and stays as it is until the channel is asked to receive, to look or to
         * stream again. NULL: not offered. */
        int (*borrow)(Channel *c, uint32_t timeout_ms, const uint8_t **ret, size_t *ret_size);
        /* The class request that opens the port (bsl-protocol §2.3): SET_CONTROL_LINE_STATE, wValue `value`. */
        int (*line_state)(Channel *c, uint16_t value, uint32_t timeout_ms);
        /* Is it still there, and does its port live? Asks the device for its status, which changes nothing; timeout_ms 0: only whether
         * it is on the bus. 0 it answered; -ETIMEDOUT it is on the bus and does not answer, or was not asked; -ENODEV; -ECANCELED. NULL:
         * not offered. */
        int (*look)(Channel *c, uint32_t timeout_ms);
        /* Monotonic milliseconds; virtual in tests. */
        uint64_t (*now)(Channel *c);
        /* Waits; returns early with -ECANCELED or -ENODEV. */
        int (*pause)(Channel *c, uint32_t ms);
} ChannelOps;

struct Channel {
        const ChannelOps *ops;
        uint16_t max_packet; /* wMaxPacketSize of the OUT endpoint, 64 or 512 */
        size_t expected;     /* the user's word: so many bytes the next answer should have; 0 few. It may have others all the same */
        bool goes_on;        /* the user's word: the next answer has few bytes, and another command follows on its heels */
};

static inline int channel_send(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        return c->ops->send(c, data, size, timeout_ms);
}
static inline int channel_submit(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        return c->ops->submit ? c->ops->submit(c, data, size, timeout_ms) : c->ops->send(c, data, size, timeout_ms);
}
static inline int channel_settle(Channel *c) {
        return c->ops->submit ? c->ops->settle(c) : 0;
}
static inline int channel_stream(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        return c->ops->stream ? c->ops->stream(c, data, size, timeout_ms) : -EOPNOTSUPP;
}
static inline int channel_receive(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        return c->ops->receive(c, data, size, timeout_ms, ret_size);
}
/* `data` has room for `size` bytes, for channels that only copy. */
static inline int channel_borrow(Channel *c, void *data, size_t size, uint32_t timeout_ms, const uint8_t **ret, size_t *ret_size) {
        *ret = data;
        return c->ops->borrow ? c->ops->borrow(c, timeout_ms, ret, ret_size) : c->ops->receive(c, data, size, timeout_ms, ret_size);
}
static inline int channel_line_state(Channel *c, uint16_t value, uint32_t timeout_ms) {
        return c->ops->line_state(c, value, timeout_ms);
}
static inline int channel_look(Channel *c, uint32_t timeout_ms) {
        return c->ops->look ? c->ops->look(c, timeout_ms) : -EOPNOTSUPP;
}
static inline uint64_t channel_now(Channel *c) {
        return c->ops->now(c);
}
static inline int channel_pause(Channel *c, uint32_t ms) {
        return c->ops->pause(c, ms);
}
