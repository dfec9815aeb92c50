/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bits.h"

uint16_t sim_crc16_xmodem(const uint8_t *p, size_t n) {
        uint32_t crc = 0;

        while (n--) {
                crc ^= (uint32_t) *p++ << 8;
                for (int bit = 0; bit < 8; bit++)
                        crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        }
        return (uint16_t) crc;
}

uint16_t sim_crc16_arc(const uint8_t *p, size_t n) {
        uint32_t crc = 0;

        while (n--) {
                crc ^= *p++;
                for (int bit = 0; bit < 8; bit++)
                        crc = crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1;
        }
        return (uint16_t) crc;
}

uint32_t sim_crc32(uint32_t crc, const void *data, size_t n) {
        /* Nibble table: small, and quick enough for whole flash images. */
        static const uint32_t t[16] = {
                0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
                0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
        };
        const uint8_t *p = data;

        crc = ~crc;
        while (n--) {
                crc ^= *p++;
                crc = crc >> 4 ^ t[crc & 15];
                crc = crc >> 4 ^ t[crc & 15];
        }
        return ~crc;
}

uint16_t sim_sum16(const uint8_t *p, size_t n) {
        uint32_t s = 0;

        for (; n >= 2; n -= 2, p += 2)
                s += le16at(p);
        if (n)
                s += *p;
        s = (s >> 16) + (s & 0xFFFF);
        s += s >> 16;
        return (uint16_t) ~s;
}

uint32_t sim_bytesum(const uint8_t *p, size_t n) {
        uint32_t s = 0;

        while (n--)
                s += *p++;
        return s;
}

SimRandom sim_random(unsigned seed, const char *label) {
        SimRandom r = {0x9E3779B97F4A7C15u ^ seed};

        for (; *label; label++)
                r.state = (r.state ^ (uint8_t) *label) * 0x100000001B3u;
        (void) sim_random_next(&r);
        return r;
}

uint64_t sim_random_next(SimRandom *r) {
        uint64_t z = r->state += 0x9E3779B97F4A7C15u;

        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        return z ^ z >> 31;
}

void sim_random_fill(SimRandom *r, void *buf, size_t n) {
        uint8_t *p = buf;

        for (; n >= 8; n -= 8, p += 8)
                le64to(p, sim_random_next(r));
        if (n) {
                uint64_t v = sim_random_next(r);
                for (; n; n--, v >>= 8)
                        *p++ = (uint8_t) v;
        }
}

bool sim_all_bytes(const uint8_t *p, size_t n, uint8_t byte) {
        for (; n; n--)
                if (*p++ != byte)
                        return false;
        return true;
}
