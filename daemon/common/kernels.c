/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/kernels.h"

#include <pthread.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* ---- for every processor ---- */

static size_t copy_plain_bytes(uint8_t *out, const uint8_t *in, size_t size) {
        size_t n = 0;

        while (n < size && in[n] != 0x7d && in[n] != 0x7e) {
                out[n] = in[n];
                n++;
        }
        return n;
}

/* Eight bytes at a time: bit 7 of a byte of the result is set where that byte is zero. Bytes above the first hit may be wrong, which
 * does not matter: there is one, and the bytes are looked at singly then. */
static inline uint64_t zero_bytes(uint64_t v) {
        return (v - 0x0101010101010101u) & ~v & 0x8080808080808080u;
}

static size_t copy_plain_words(uint8_t *out, const uint8_t *in, size_t size) {
        size_t n = 0;

        for (; size - n >= 8; n += 8) {
                uint64_t v;

                memcpy(&v, in + n, 8);
                memcpy(out + n, &v, 8);
                if (zero_bytes(v ^ 0x7d7d7d7d7d7d7d7du) | zero_bytes(v ^ 0x7e7e7e7e7e7e7e7eu))
                        break;
        }
        return n + copy_plain_bytes(out + n, in + n, size - n);
}

/* Wide words give the same sum modulo 65535 as 16-bit ones, and zero only for zeros; that is all that its users need. Here the
 * exact sum is kept, so that all forms agree. */
static uint64_t sum_words_plain(const uint8_t *p, size_t size) {
        uint64_t sum = 0;

        for (; size >= 8; p += 8, size -= 8) {
                uint64_t v = get_le64(p);

                sum += (v & 0xffff) + (v >> 16 & 0xffff) + (v >> 32 & 0xffff) + (v >> 48);
        }
        for (; size > 1; p += 2, size -= 2)
                sum += get_le16(p);
        return size > 0 ? sum + *p : sum;
}

static uint64_t copy_sum_words_plain(uint8_t *out, const uint8_t *in, size_t size) {
        if (size == 0)
                return 0;
        memcpy(out, in, size);
        return sum_words_plain(out, size);
}

/* tables[n][b]: the remainder of byte b with n zero bytes behind it. */
static uint16_t tables_1021[8][256], tables_arc[8][256];

static void make_tables(void) {
        for (unsigned b = 0; b < 256; b++) {
                uint16_t a = (uint16_t) (b << 8), r = (uint16_t) b;

                for (unsigned i = 0; i < 8; i++) {
                        a = (uint16_t) (a & 0x8000 ? a << 1 ^ 0x1021 : a << 1);
                        r = (uint16_t) (r & 1 ? r >> 1 ^ 0xa001 : r >> 1);
                }
                tables_1021[0][b] = a;
                tables_arc[0][b] = r;
        }
        for (unsigned n = 1; n < 8; n++)
                for (unsigned b = 0; b < 256; b++) {
                        uint16_t a = tables_1021[n - 1][b], r = tables_arc[n - 1][b];

                        tables_1021[n][b] = (uint16_t) (a << 8 ^ tables_1021[0][a >> 8]);
                        tables_arc[n][b] = (uint16_t) (r >> 8 ^ tables_arc[0][r & 0xff]);
                }
}

static uint16_t crc_1021_tables(uint16_t crc, const uint8_t *p, size_t size) {
        for (; size >= 8; p += 8, size -= 8)
                crc = (uint16_t) (tables_1021[7][crc >> 8 ^ p[0]] ^ tables_1021[6][(crc & 0xff) ^ p[1]] ^ tables_1021[5][p[2]] ^
                                  tables_1021[4][p[3]] ^ tables_1021[3][p[4]] ^ tables_1021[2][p[5]] ^ tables_1021[1][p[6]] ^
                                  tables_1021[0][p[7]]);
        for (; size > 0; p++, size--)
                crc = (uint16_t) (crc << 8 ^ tables_1021[0][crc >> 8 ^ *p]);
        return crc;
}

static uint16_t crc_arc_tables(uint16_t crc, const uint8_t *p, size_t size) {
        for (; size >= 8; p += 8, size -= 8)
                crc = (uint16_t) (tables_arc[7][(crc & 0xff) ^ p[0]] ^ tables_arc[6][crc >> 8 ^ p[1]] ^ tables_arc[5][p[2]] ^
                                  tables_arc[4][p[3]] ^ tables_arc[3][p[4]] ^ tables_arc[2][p[5]] ^ tables_arc[1][p[6]] ^
                                  tables_arc[0][p[7]]);
        for (; size > 0; p++, size--)
                crc = (uint16_t) (crc >> 8 ^ tables_arc[0][(crc ^ *p) & 0xff]);
        return crc;
}

static const Kernels plain = {
        "plain", copy_plain_words, sum_words_plain, copy_sum_words_plain, crc_1021_tables, crc_arc_tables,
};

#ifdef __x86_64__

/* ---- x86: 16 bytes at a time, which every one of them has ---- */

static size_t copy_plain_sse2(uint8_t *out, const uint8_t *in, size_t size) {
        const __m128i d = _mm_set1_epi8(0x7d), e = _mm_set1_epi8(0x7e);
        size_t n = 0;

        for (; size - n >= 16; n += 16) {
                __m128i v = _mm_loadu_si128((const void *) (in + n));
                unsigned hit = (unsigned) _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, d), _mm_cmpeq_epi8(v, e)));

                _mm_storeu_si128((void *) (out + n), v);
                if (hit)
                        return n + (size_t) __builtin_ctz(hit);
        }
        return n + copy_plain_words(out + n, in + n, size - n);
}

static inline uint64_t halves(__m128i v) {
        return (uint64_t) _mm_cvtsi128_si64(v) + (uint64_t) _mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v));
}

static inline __attribute__((always_inline)) uint64_t sum_sse2(uint8_t *out, const uint8_t *p, size_t size) {
        const __m128i low = _mm_set1_epi16(0xff), zero = _mm_setzero_si128();
        __m128i lows = zero, highs = zero;
        size_t n = 0;

        for (; size - n >= 16; n += 16) {
                __m128i v = _mm_loadu_si128((const void *) (p + n));

                if (out)
                        _mm_storeu_si128((void *) (out + n), v);
                lows = _mm_add_epi64(lows, _mm_sad_epu8(_mm_and_si128(v, low), zero));
                highs = _mm_add_epi64(highs, _mm_sad_epu8(_mm_srli_epi16(v, 8), zero));
        }
        return halves(lows) + (halves(highs) << 8) +
               (out ? copy_sum_words_plain(out + n, p + n, size - n) : sum_words_plain(p + n, size - n));
}

static uint64_t sum_words_sse2(const uint8_t *p, size_t size) {
        return sum_sse2(NULL, p, size);
}

static uint64_t copy_sum_words_sse2(uint8_t *out, const uint8_t *p, size_t size) {
        return sum_sse2(out, p, size);
}

static const Kernels sse2 = {
        "sse2", copy_plain_sse2, sum_words_sse2, copy_sum_words_sse2, crc_1021_tables, crc_arc_tables,
};

/* ---- 32 bytes at a time, and products without carry ---- */

__attribute__((target("avx2"))) static size_t copy_plain_avx2(uint8_t *out, const uint8_t *in, size_t size) {
        const __m256i d = _mm256_set1_epi8(0x7d), e = _mm256_set1_epi8(0x7e);
        size_t n = 0;

        for (; size - n >= 32; n += 32) {
                __m256i v = _mm256_loadu_si256((const void *) (in + n));
                unsigned hit =
                        (unsigned) _mm256_movemask_epi8(_mm256_or_si256(_mm256_cmpeq_epi8(v, d), _mm256_cmpeq_epi8(v, e)));

                _mm256_storeu_si256((void *) (out + n), v);
                if (hit)
                        return n + (size_t) __builtin_ctz(hit);
        }
        return n + copy_plain_words(out + n, in + n, size - n);
}

__attribute__((target("avx2"))) static inline uint64_t quarters(__m256i v) {
        __m128i s = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

        return (uint64_t) _mm_cvtsi128_si64(s) + (uint64_t) _mm_extract_epi64(s, 1);
}

__attribute__((target("avx2"))) static uint64_t sum_words_avx2(const uint8_t *p, size_t size) {
        const __m256i low = _mm256_set1_epi16(0xff), zero = _mm256_setzero_si256();
        __m256i lows = zero, highs = zero;
        size_t n = 0;

        for (; size - n >= 32; n += 32) {
                __m256i v = _mm256_loadu_si256((const void *) (p + n));

                lows = _mm256_add_epi64(lows, _mm256_sad_epu8(_mm256_and_si256(v, low), zero));
                highs = _mm256_add_epi64(highs, _mm256_sad_epu8(_mm256_srli_epi16(v, 8), zero));
        }
        return quarters(lows) + (quarters(highs) << 8) + sum_words_plain(p + n, size - n);
}

__attribute__((target("avx2"))) static uint64_t copy_sum_words_avx2(uint8_t *out, const uint8_t *p, size_t size) {
        const __m256i low = _mm256_set1_epi16(0xff), zero = _mm256_setzero_si256();
        __m256i lows = zero, highs = zero;
        size_t n = 0;

        for (; size - n >= 32; n += 32) {
                __m256i v = _mm256_loadu_si256((const void *) (p + n));

                _mm256_storeu_si256((void *) (out + n), v);
                lows = _mm256_add_epi64(lows, _mm256_sad_epu8(_mm256_and_si256(v, low), zero));
                highs = _mm256_add_epi64(highs, _mm256_sad_epu8(_mm256_srli_epi16(v, 8), zero));
        }
        return quarters(lows) + (quarters(highs) << 8) + copy_sum_words_plain(out + n, p + n, size - n);
}

/* Folding: 128 bits that stand n bits before the end are worth as much as their halves times x^(n+64) and x^n, taken modulo the
 * polynomial. What is left in the end goes through the tables. */

/* x^n modulo x^16 + x^12 + x^5 + 1 (low 0x1021) or x^16 + x^15 + x^2 + 1 (low 0x8005). */
static uint16_t power_of_x(unsigned n, uint16_t low) {
        uint16_t r = 1;

        while (n-- > 0)
                r = (uint16_t) (r & 0x8000 ? r << 1 ^ low : r << 1);
        return r;
}

/* Bit 63 stands for x^0. A product of two such numbers is one place short: the exponents make up for it. */
static uint64_t mirrored(uint16_t v) {
        uint64_t r = 0;

        for (unsigned i = 0; i < 16; i++)
                r |= (uint64_t) (v >> i & 1) << (63 - i);
        return r;
}

/* For steps of 512 and of 128 bits; high half, low half. */
static uint64_t fold_1021[2][2], fold_arc[2][2];

static void make_folds(void) {
        static const unsigned steps[2] = {512, 128};

        for (unsigned i = 0; i < 2; i++) {
                fold_1021[i][0] = power_of_x(steps[i] + 64, 0x1021);
                fold_1021[i][1] = power_of_x(steps[i], 0x1021);
                fold_arc[i][0] = mirrored(power_of_x(steps[i] + 64 - 1, 0x8005));
                fold_arc[i][1] = mirrored(power_of_x(steps[i] - 1, 0x8005));
        }
}

/* `k`: factor of the high half of the register in its high half, that of the low half in its low half. */
__attribute__((target("pclmul,ssse3"))) static inline __m128i fold(__m128i v, __m128i k) {
        return _mm_xor_si128(_mm_clmulepi64_si128(v, k, 0x11), _mm_clmulepi64_si128(v, k, 0x00));
}

__attribute__((target("pclmul,ssse3"))) static inline __m128i load_turned(const uint8_t *p) {
        const __m128i order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

        return _mm_shuffle_epi8(_mm_loadu_si128((const void *) p), order);
}

__attribute__((target("pclmul,ssse3"))) static uint16_t crc_1021_clmul(uint16_t crc, const uint8_t *p, size_t size) {
        const __m128i order = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        __m128i a, b, c, d, k;
        uint8_t rest[16];

        if (size < 128)
                return crc_1021_tables(crc, p, size);
        a = _mm_xor_si128(load_turned(p), _mm_set_epi64x((int64_t) ((uint64_t) crc << 48), 0));
        b = load_turned(p + 16);
        c = load_turned(p + 32);
        d = load_turned(p + 48);
        k = _mm_set_epi64x((int64_t) fold_1021[0][0], (int64_t) fold_1021[0][1]);
        for (p += 64, size -= 64; size >= 64; p += 64, size -= 64) {
                a = _mm_xor_si128(fold(a, k), load_turned(p));
                b = _mm_xor_si128(fold(b, k), load_turned(p + 16));
                c = _mm_xor_si128(fold(c, k), load_turned(p + 32));
                d = _mm_xor_si128(fold(d, k), load_turned(p + 48));
        }
        k = _mm_set_epi64x((int64_t) fold_1021[1][0], (int64_t) fold_1021[1][1]);
        b = _mm_xor_si128(fold(a, k), b);
        c = _mm_xor_si128(fold(b, k), c);
        d = _mm_xor_si128(fold(c, k), d);
        for (; size >= 16; p += 16, size -= 16)
                d = _mm_xor_si128(fold(d, k), load_turned(p));
        _mm_storeu_si128((void *) rest, _mm_shuffle_epi8(d, order));
        return crc_1021_tables(crc_1021_tables(0, rest, sizeof(rest)), p, size);
}

__attribute__((target("pclmul,ssse3"))) static inline __m128i load(const uint8_t *p) {
        return _mm_loadu_si128((const void *) p);
}

/* Mirrored: the low half of the register stands for the high powers. */
__attribute__((target("pclmul,ssse3"))) static uint16_t crc_arc_clmul(uint16_t crc, const uint8_t *p, size_t size) {
        __m128i a, b, c, d, k;
        uint8_t rest[16];

        if (size < 128)
                return crc_arc_tables(crc, p, size);
        a = _mm_xor_si128(load(p), _mm_cvtsi32_si128(crc));
        b = load(p + 16);
        c = load(p + 32);
        d = load(p + 48);
        k = _mm_set_epi64x((int64_t) fold_arc[0][1], (int64_t) fold_arc[0][0]);
        for (p += 64, size -= 64; size >= 64; p += 64, size -= 64) {
                a = _mm_xor_si128(fold(a, k), load(p));
                b = _mm_xor_si128(fold(b, k), load(p + 16));
                c = _mm_xor_si128(fold(c, k), load(p + 32));
                d = _mm_xor_si128(fold(d, k), load(p + 48));
        }
        k = _mm_set_epi64x((int64_t) fold_arc[1][1], (int64_t) fold_arc[1][0]);
        b = _mm_xor_si128(fold(a, k), b);
        c = _mm_xor_si128(fold(b, k), c);
        d = _mm_xor_si128(fold(c, k), d);
        for (; size >= 16; p += 16, size -= 16)
                d = _mm_xor_si128(fold(d, k), load(p));
        _mm_storeu_si128((void *) rest, d);
        return crc_arc_tables(crc_arc_tables(0, rest, sizeof(rest)), p, size);
}

static const Kernels sse2_clmul = {
        "sse2+pclmul", copy_plain_sse2, sum_words_sse2, copy_sum_words_sse2, crc_1021_clmul, crc_arc_clmul,
};
static const Kernels avx2_clmul = {
        "avx2+pclmul", copy_plain_avx2, sum_words_avx2, copy_sum_words_avx2, crc_1021_clmul, crc_arc_clmul,
};

#endif

/* ---- which ---- */

static const Kernels *available[4];
static size_t n_available;

static void choose(void) {
        make_tables();
        available[n_available++] = &plain;
#ifdef __x86_64__
        __builtin_cpu_init();
        make_folds();
        available[n_available++] = &sse2;
        if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("ssse3"))
                return;
        available[n_available++] = &sse2_clmul;
        if (__builtin_cpu_supports("avx2"))
                available[n_available++] = &avx2_clmul;
#endif
}

size_t kernels_all(const Kernels *ret[static 4]) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, choose);
        memcpy(ret, available, sizeof(available));
        return n_available;
}

/* Before main(): no caller needs to ask whether it has happened. */
static const Kernels *best;

__attribute__((constructor)) static void find_best(void) {
        const Kernels *all[4];

        /* cppcheck-suppress uninitvar ; kernels_all() fills it */
        best = all[kernels_all(all) - 1];
}

const Kernels *kernels(void) {
        return best;
}
