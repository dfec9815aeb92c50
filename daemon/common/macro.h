/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi) ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))

#define _must_check_ __attribute__((warn_unused_result))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _cleanup_(f) __attribute__((cleanup(f)))

/* Unknown number, on the bus and inside (design: "unknown number UINT64_MAX"). */
#define U64_UNKNOWN UINT64_MAX

static inline void freep(void *p) {
        free(*(void **) p);
}
static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* Moves a pointer out of a variable; the variable is NULL afterwards. */
#define TAKE_PTR(p)                          \
        ({                                   \
                __typeof__(p) _taken_ = (p); \
                (p) = NULL;                  \
                _taken_;                     \
        })
#define TAKE_FD(fd)               \
        ({                        \
                int _fd_ = (fd);  \
                (fd) = -EBADF;    \
                _fd_;             \
        })

/* DEFINE_CLEANUP(Foo*, foo_free) defines foo_freep for use with _cleanup_(). */
#define DEFINE_CLEANUP(type, func)                  \
        static inline void func##p(type *p) {       \
                if (*p)                             \
                        func(*p);                   \
        }

/* Little and big endian loads and stores that do not care about alignment. */
static inline uint16_t get_le16(const void *p) {
        const uint8_t *b = p;
        return (uint16_t) (b[0] | b[1] << 8);
}
static inline uint32_t get_le32(const void *p) {
        const uint8_t *b = p;
        return (uint32_t) b[0] | (uint32_t) b[1] << 8 | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}
static inline uint64_t get_le64(const void *p) {
        return get_le32(p) | (uint64_t) get_le32((const uint8_t *) p + 4) << 32;
}
static inline uint16_t get_be16(const void *p) {
        const uint8_t *b = p;
        return (uint16_t) (b[0] << 8 | b[1]);
}
static inline uint32_t get_be32(const void *p) {
        const uint8_t *b = p;
        return (uint32_t) b[0] << 24 | (uint32_t) b[1] << 16 | (uint32_t) b[2] << 8 | (uint32_t) b[3];
}
static inline void put_le16(void *p, uint16_t v) {
        uint8_t *b = p;
        b[0] = (uint8_t) v;
        b[1] = (uint8_t) (v >> 8);
}
static inline void put_le32(void *p, uint32_t v) {
        put_le16(p, (uint16_t) v);
        put_le16((uint8_t *) p + 2, (uint16_t) (v >> 16));
}
static inline void put_le64(void *p, uint64_t v) {
        put_le32(p, (uint32_t) v);
        put_le32((uint8_t *) p + 4, (uint32_t) (v >> 32));
}
static inline void put_be16(void *p, uint16_t v) {
        uint8_t *b = p;
        b[0] = (uint8_t) (v >> 8);
        b[1] = (uint8_t) v;
}
static inline void put_be32(void *p, uint32_t v) {
        put_be16(p, (uint16_t) (v >> 16));
        put_be16((uint8_t *) p + 2, (uint16_t) v);
}
