/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

/* Records of units, as History gives them. */

/* The filter of the command line (--serial, --chip, --slot, --batch, --code, --result, --kind, --since, --until) as a{sv} for Query and
 * Export; `cursor` UINT64_MAX and `order` NULL are left out. Exit code after a message; 0 is good. */
int records_append_filter(sd_bus_message *m, const char *order, uint64_t cursor);

/* Moments as people write them: "2026-11-26", "2026-11-26 20:15[:30]" (local time), "@1790000000", "today", "yesterday", or how long ago:
 * "90min", "12h", "7d", "4w". µs since the epoch; -EINVAL. */
int parse_moment(const char *text, uint64_t *ret_usec);

/* Lets the daemon write records into a pipe and copies them to `out` as they come; *cursor becomes the number of the last whole one
 * (jsonl), *n is increased by each line. Exit code. */
int records_export(sd_bus *bus, const char *format, uint64_t *cursor, FILE *out, uint64_t *n);
