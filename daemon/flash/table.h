/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "firmware/gpt.h"
#include "flash/plan.h"

/* Partition tables as bytes, whoever told them: the package, READ_PARTITION, the GPT, or probing. Pure. */

typedef struct TableEntry {
        char name[37];
        uint64_t start, size;    /* bytes; size U64_UNKNOWN: the rest */
} TableEntry;

typedef struct Table {
        TableEntry *entries;     /* NULL: nobody told it */
        size_t n;
        uint64_t unit;           /* sizes are exact up to less than this many bytes */
        uint32_t sector;         /* 512, 4096, 0 not known */
        bool placed;             /* starts are true; else counted from the sizes */
        const char *source;      /* "READ_PARTITION", "the GPT", "asking by name", "the package" */
} Table;

void table_clear(Table *t); /* for _cleanup_() too */

/* What the package wants; `sector` of the device for lists in sectors, 0 not known. -ENOMEM. */
int table_from_plan(const Plan *plan, uint32_t sector, Table *ret);
/* READ_PARTITION names no unit: KiB with 512-byte sectors, 8 KiB with 4096, mebibytes on some. The one in which most sizes agree with
 * the plan's is taken; `ufs`: which one if none agrees. -ENOMEM. */
int table_from_partitions(const Plan *plan, const BslPartition *live, size_t n, bool ufs, Table *ret);
/* -EBADMSG, -ENOMEM */
int table_from_gpt(const uint8_t *data, size_t size, Table *ret);

const TableEntry *table_find(const Table *t, const char *name);
/* Boot areas outside the table: some loaders list them, most do not. */
bool table_is_outside(const char *name);

/* The differences, as many as fit, and how many there are. */
typedef struct Differences {
        char text[400];
        size_t used, n, shown;
} Differences;
_printf_(2, 3) void differ(Differences *d, const char *format, ...);
/* " and 3 more", or "" */
const char *differences_more(const Differences *d, char ret[static 32]);
/* What of `have` (device) is not as in `want` (package): names, sizes, order; places where both are known and the package asks for
 * gaps. */
void table_compare(const Table *want, const Table *have, bool gaps, Differences *d);
/* True if what lies in the partition survives a change from `have` to `want`: it keeps place and size. */
bool table_survives(const Table *have, const Table *want, const char *name);

/* "name start size" lines in bytes, for the vault and for people. malloc, NULL no memory. */
char *table_to_text(const Table *t);
/* The payload of REPARTITION for the package's list (bsl-protocol §6.7): v0 without a unit, else v1. 0; -ENOMEM; -EINVAL for a list
 * that cannot be sent (a first gap below 34 sectors, a frame too long). malloc. */
int table_payload(const Plan *plan, void **ret, size_t *ret_size);

const char *table_human(uint64_t bytes, char *buf, size_t size);
