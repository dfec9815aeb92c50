/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small tools of the simulated world. It shares no source with the daemon, so it has its own. */

#define COUNT(x) (sizeof(x) / sizeof((x)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define NEVER UINT64_MAX
#define MS_NS UINT64_C(1000000)
#define S_NS UINT64_C(1000000000)

#define PRINTF(a, b) __attribute__((format(printf, a, b)))
#define UNUSED __attribute__((unused))

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_ns(void);

/* Says what is wrong and ends the program: 77 where the machine lacks something (with the cure), 1 else. */
void quit(int code, const char *format, ...) PRINTF(2, 3) __attribute__((noreturn));
void complain(const char *format, ...) PRINTF(1, 2);

void *alloc0(size_t size);
char *copy_string(const char *s);
/* snprintf that ends the program instead of cutting: the paths of this world are made by itself. */
int format_to(char *buf, size_t size, const char *format, ...) PRINTF(3, 4);

bool parse_u64(const char *s, uint64_t max, uint64_t *ret);
/* A size or rate with an optional suffix: k, M, G are powers of ten, Ki, Mi, Gi of two. */
bool parse_size(const char *s, uint64_t *ret);

int make_dirs(const char *path);
int write_file_at(const char *dir, const char *name, const void *data, size_t size);
int put_file(const char *dir, const char *name, const char *format, ...) PRINTF(3, 4);
int make_link(const char *target, const char *dir, const char *name);
void remove_tree(const char *path);
