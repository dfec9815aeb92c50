/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast the loops over every byte are, beside memcpy in the same run.
 *
 *   bench-kernels          lines "NAME FORM GB/s SPREAD% TIMES-MEMCPY", each the median of several runs
 *   bench-kernels --count  does each once over 4 MiB: for a counter of instructions
 *   bench-kernels --form   the form that this processor gets */
#include <stdio.h>

#include "rate.h"
#include "bsl/frame.h"
#include "common/kernels.h"

#define SIZE ((size_t) 4 << 20)
#define FRAME 0x5000u
#define RUNS 9

static uint8_t *in, *out, *back, *escaped;
static size_t n_escaped;
static const Kernels *k;
static volatile uint64_t sink;

static void do_memcpy(void) {
        memcpy(out, in, SIZE);
        sink += out[SIZE - 1];
}
static void do_sum(void) {
        sink += k->sum_words(in, SIZE);
}
static void do_copy_sum(void) {
        sink += k->copy_sum_words(out, in, SIZE);
}
static void do_crc_1021(void) {
        sink += k->crc_1021(0, in, SIZE);
}
static void do_crc_arc(void) {
        sink += k->crc_arc(0, in, SIZE);
}

/* Of bytes as they are in compressed images: each of 128 is escaped. */
static void do_escape(void) {
        size_t at = 0, n = 0;

        while (at < SIZE) {
                size_t plain = k->copy_plain(escaped + n, in + at, SIZE - at);

                at += plain;
                n += plain;
                if (at < SIZE) {
                        escaped[n++] = 0x7d;
                        escaped[n++] = in[at++] ^ 0x20;
                }
        }
        n_escaped = n;
}
static void do_unescape(void) {
        size_t at = 0, n = 0;

        while (at < n_escaped) {
                size_t plain = k->copy_plain(back + n, escaped + at, n_escaped - at);

                at += plain;
                n += plain;
                if (at + 1 < n_escaped) {
                        back[n++] = escaped[at + 1] ^ 0x20;
                        at += 2;
                }
        }
        sink += back[n - 1];
}

/* Whole frames, as they are sent and received. */
static void do_frames(bool transcode) {
        static uint8_t wire[BSL_WIRE_MAX];

        for (size_t at = 0; at < SIZE; at += FRAME)
                sink += bsl_frame_encode(wire, 2, in + at, MIN(SIZE - at, (size_t) FRAME), BSL_CHECK_SUM, transcode);
}
static void do_encode_escaped(void) {
        do_frames(true);
}
static void do_encode_plain(void) {
        do_frames(false);
}

static const struct {
        const char *name;
        void (*run)(void);
        bool by_form; /* measured for each form */
} loops[] = {
        {"memcpy", do_memcpy, false},     {"sum", do_sum, true},
        {"copy+sum", do_copy_sum, true},  {"crc-1021", do_crc_1021, true},
        {"crc-arc", do_crc_arc, true},    {"escape", do_escape, true},
        {"unescape", do_unescape, true},  {"frame-escaped", do_encode_escaped, false},
        {"frame-plain", do_encode_plain, false},
};

static void fill(void) {
        uint64_t s = 88172645463325252u;

        for (size_t i = 0; i < SIZE; i++) {
                s ^= s << 13;
                s ^= s >> 7;
                s ^= s << 17;
                in[i] = (uint8_t) s;
        }
}

int main(int argc, char **argv) {
        const Kernels *all[4];
        size_t n = kernels_all(all);
        double base = 0;

        in = malloc(SIZE);
        out = malloc(SIZE);
        back = malloc(SIZE);
        escaped = malloc(2 * SIZE);
        if (!in || !out || !back || !escaped)
                return 1;
        fill();
        k = kernels();
        if (argc > 1 && streq(argv[1], "--form")) {
                puts(k->name);
                return 0;
        }
        if (argc > 1 && streq(argv[1], "--count")) {
                for (size_t i = 1; i < ELEMENTSOF(loops); i++)
                        loops[i].run();
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(loops); i++)
                for (size_t form = loops[i].by_form ? 0 : n - 1; form < n; form++) {
                        double spread, rate;

                        k = all[form];
                        rate = bench_rate(loops[i].run, SIZE, RUNS, &spread);
                        if (i == 0)
                                base = rate;
                        printf("%s %s %.2f %.0f %.2f\n", loops[i].name, i == 0 ? "libc" : k->name, rate, spread, rate / base);
                }
        return 0;
}
