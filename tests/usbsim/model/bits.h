/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The simulator's own arithmetic: written from the protocol description, never shared with the daemon, so that one
 * mistake cannot hide in both. */

uint16_t sim_crc16_xmodem(const uint8_t *p, size_t n);
uint16_t sim_crc16_arc(const uint8_t *p, size_t n);
uint32_t sim_crc32(uint32_t crc, const void *p, size_t n); /* start with 0, may be continued */
/* One's complement of the folded sum of little-endian words. */
uint16_t sim_sum16(const uint8_t *p, size_t n);
uint32_t sim_bytesum(const uint8_t *p, size_t n);

static inline uint32_t be16at(const uint8_t *p) {
        return (uint32_t) p[0] << 8 | p[1];
}
static inline uint32_t be32at(const uint8_t *p) {
        return be16at(p) << 16 | be16at(p + 2);
}
static inline uint32_t le16at(const uint8_t *p) {
        return (uint32_t) p[1] << 8 | p[0];
}
static inline uint32_t le32at(const uint8_t *p) {
        return le16at(p + 2) << 16 | le16at(p);
}
static inline uint64_t le64at(const uint8_t *p) {
        return (uint64_t) le32at(p + 4) << 32 | le32at(p);
}
static inline void be16to(uint8_t *p, uint32_t v) {
        p[0] = (uint8_t) (v >> 8);
        p[1] = (uint8_t) v;
}
static inline void be32to(uint8_t *p, uint32_t v) {
        be16to(p, v >> 16);
        be16to(p + 2, v);
}
static inline void le16to(uint8_t *p, uint32_t v) {
        p[0] = (uint8_t) v;
        p[1] = (uint8_t) (v >> 8);
}
static inline void le32to(uint8_t *p, uint32_t v) {
        le16to(p, v);
        le16to(p + 2, v >> 16);
}
static inline void le64to(uint8_t *p, uint64_t v) {
        le32to(p, (uint32_t) v);
        le32to(p + 4, (uint32_t) (v >> 32));
}

/* Repeatable pseudo-random numbers: the same seed and label give the same unit on every machine. */
typedef struct SimRandom {
        uint64_t state;
} SimRandom;
SimRandom sim_random(unsigned seed, const char *label);
uint64_t sim_random_next(SimRandom *r);
void sim_random_fill(SimRandom *r, void *buf, size_t n);

bool sim_all_bytes(const uint8_t *p, size_t n, uint8_t byte);
