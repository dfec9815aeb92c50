/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* How often `run`, which goes over `bytes` bytes, can be done: GB/s, the median of `runs` (5 to 16) of them, each of 20 ms at least. *ret_spread: how far
 * all but the fastest and the slowest lie apart, in percent of it. */
double bench_rate(void (*run)(void), size_t bytes, unsigned runs, double *ret_spread);
