/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rate.h"

#include <stdlib.h>
#include <time.h>

#define RUNS_MAX 16
#define RUN_SECONDS 0.02

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int ascending(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return x < y ? -1 : x > y;
}

double bench_rate(void (*run)(void), size_t bytes, unsigned runs, double *ret_spread) {
        double rates[RUNS_MAX];

        if (runs > RUNS_MAX)
                runs = RUNS_MAX;
        run();
        for (unsigned i = 0; i < runs; i++) {
                double t = now();
                unsigned n = 0;

                do {
                        run();
                        n++;
                } while (now() - t < RUN_SECONDS);
                rates[i] = (double) n * (double) bytes / (now() - t) / 1e9;
        }
        qsort(rates, runs, sizeof(rates[0]), ascending);
        *ret_spread = (rates[runs - 2] - rates[1]) / rates[runs / 2] * 100;
        return rates[runs / 2];
}
