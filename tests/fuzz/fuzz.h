/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* One harness for each thing that takes bytes from strangers: libFuzzer calls it with inputs that it invents; replay.c calls it with files. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the bytes are. Ends the process: that is what a fuzzer looks for. */
#define MUST(condition)                                                                          \
        do {                                                                                     \
                if (!(condition)) {                                                              \
                        fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
                        abort();                                                                 \
                }                                                                                \
        } while (0)

/* The input as a script: numbers are taken from its front, 0 once it is used up. */
typedef struct Script {
        const uint8_t *data;
        size_t size;
} Script;

static inline uint8_t script_byte(Script *s) {
        if (s->size == 0)
                return 0;
        s->size--;
        return *s->data++;
}

static inline const uint8_t *script_take(Script *s, size_t *n) {
        const uint8_t *at = s->data;

        if (*n > s->size)
                *n = s->size;
        s->data += *n;
        s->size -= *n;
        return at;
}
