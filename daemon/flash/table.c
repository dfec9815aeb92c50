/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB (1024u * 1024)
#define FIRST_START MIB /* where loaders put the first partition if nobody says */

#define V0_RECORD 76
#define V1_RECORD 88
#define V1_HEADER 16
#define V1_MAGIC 0x3a726170
#define V1_TAG 0x3a6c6274
#define V1_BYTES 3
#define V1_SECTORS 4
#define NAME_BYTES 72
#define FIRST_GAP_SECTORS 34 /* the GPT itself */
#define FRAME_MAX 0xfffe

void table_clear(Table *t) {
        free(t->entries);
        *t = (Table) {};
}

static uint64_t to_bytes(uint64_t size, uint64_t unit) {
        uint64_t bytes;

        return size == U64_UNKNOWN || __builtin_mul_overflow(size, unit, &bytes) ? U64_UNKNOWN : bytes;
}

static int table_new(size_t n, Table *ret) {
        *ret = (Table) {.entries = calloc(MAX(n, (size_t) 1), sizeof(TableEntry)), .n = n};
        return ret->entries ? 0 : -ENOMEM;
}

bool table_is_outside(const char *name) {
        return streq(name, "splloader") || streq(name, "splloader_bak");
}

static void place(Table *t, const PacPartition *gaps, uint64_t gap_unit) {
        uint64_t at = FIRST_START;
        bool first = true;

        for (size_t i = 0; i < t->n; i++) {
                TableEntry *e = t->entries + i;
                uint64_t gap = gaps ? to_bytes((uint64_t) gaps[i].gap, gap_unit) : 0;

                if (table_is_outside(e->name))
                        continue;
                if (first && gap > 0)
                        at = 0;
                first = false;
                if (at != U64_UNKNOWN && __builtin_add_overflow(at, gap, &at))
                        at = U64_UNKNOWN;
                e->start = at;
                if (at == U64_UNKNOWN || e->size == U64_UNKNOWN || __builtin_add_overflow(at, e->size, &at))
                        at = U64_UNKNOWN;
        }
}

int table_from_plan(const Plan *plan, uint32_t sector, Table *ret) {
        uint64_t unit = plan->partition_unit == V1_SECTORS && sector > 0 ? sector : pac_partition_unit(plan->partition_unit);
        int r = table_new(plan->n_partitions, ret);

        if (r < 0)
                return r;
        for (size_t i = 0; i < plan->n_partitions; i++) {
                memcpy(ret->entries[i].name, plan->partitions[i].name, sizeof(ret->entries[i].name));
                ret->entries[i].size = to_bytes(plan->partitions[i].size, unit);
        }
        place(ret, plan->partitions, unit);
        ret->unit = 1;
        ret->source = "the package";
        return 0;
}

/* Tables are cut to whole mebibytes or KiB by some loaders: a remainder below one unit of the coarser side is none. */
static bool same_size(uint64_t planned, uint64_t live, uint64_t unit) {
        return planned > live ? planned - live < unit : live - planned < unit;
}

static size_t count_fitting(const Plan *plan, const BslPartition *live, size_t n, uint64_t unit) {
        size_t fitting = 0;

        for (size_t i = 0; i < plan->n_partitions; i++) {
                const PacPartition *p = plan->partitions + i;
                uint64_t planned = to_bytes(p->size, pac_partition_unit(plan->partition_unit));

                for (size_t k = 0; k < n && planned != U64_UNKNOWN; k++)
                        if (streq(live[k].name, p->name)) {
                                fitting += same_size(planned, to_bytes(live[k].size, unit), unit);
                                break;
                        }
        }
        return fitting;
}

static uint64_t live_unit(const Plan *plan, const BslPartition *live, size_t n, bool ufs) {
        static const uint64_t units[] = {1024, 8 * 1024, MIB, 512};
        size_t best_fitting = 0;
        uint64_t best = ufs ? 8 * 1024 : 1024;

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                size_t fitting = count_fitting(plan, live, n, units[i]);
                if (fitting > best_fitting) {
                        best_fitting = fitting;
                        best = units[i];
                }
        }
        return best;
}

int table_from_partitions(const Plan *plan, const BslPartition *live, size_t n, bool ufs, Table *ret) {
        uint64_t unit = live_unit(plan, live, n, ufs);
        int r = table_new(n, ret);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                memcpy(ret->entries[i].name, live[i].name, sizeof(live[i].name));
                ret->entries[i].size = to_bytes(live[i].size, unit);
        }
        place(ret, NULL, 1);
        ret->unit = unit;
        ret->source = "READ_PARTITION";
        return 0;
}

int table_from_gpt(const uint8_t *data, size_t size, Table *ret) {
        GptEntry *entries;
        uint64_t end;
        uint32_t sector;
        size_t n;
        int r = gpt_parse(data, size, &entries, &n, &sector, &end);

        if (r < 0)
                return r;
        r = table_new(n, ret);
        for (size_t i = 0; r == 0 && i < n; i++) {
                memcpy(ret->entries[i].name, entries[i].name, sizeof(entries[i].name));
                ret->entries[i].start = entries[i].start;
                ret->entries[i].size = entries[i].size;
        }
        free(entries);
        if (r < 0)
                return r;
        ret->unit = 1;
        ret->sector = sector;
        ret->placed = true;
        ret->source = "the GPT";
        return 0;
}

const TableEntry *table_find(const Table *t, const char *name) {
        for (size_t i = 0; i < t->n; i++)
                if (streq(t->entries[i].name, name))
                        return t->entries + i;
        return NULL;
}

/* ---- differences -------------------------------------------------------------------------------------------- */

void differ(Differences *d, const char *format, ...) {
        char item[160];
        va_list ap;
        size_t n;

        va_start(ap, format);
        vsnprintf(item, sizeof(item), format, ap);
        va_end(ap);
        n = strlen(item);
        d->n++;
        if (d->shown + 1 != d->n || d->used + n + 3 > sizeof(d->text))
                return;
        d->used += (size_t) snprintf(d->text + d->used, sizeof(d->text) - d->used, "%s%s", d->shown ? "; " : "", item);
        d->shown++;
}

const char *differences_more(const Differences *d, char ret[static 32]) {
        ret[0] = '\0';
        if (d->n > d->shown)
                snprintf(ret, 32, "; and %zu more", d->n - d->shown);
        return ret;
}

const char *table_human(uint64_t bytes, char *buf, size_t size) {
        if (bytes == U64_UNKNOWN)
                snprintf(buf, size, "the rest");
        else if (bytes >= MIB && bytes % MIB == 0)
                snprintf(buf, size, "%llu MiB", (unsigned long long) (bytes / MIB));
        else if (bytes % 1024 == 0)
                snprintf(buf, size, "%llu KiB", (unsigned long long) (bytes / 1024));
        else
                snprintf(buf, size, "%llu bytes", (unsigned long long) bytes);
        return buf;
}

static void compare_sizes(const Table *want, const Table *have, Differences *d) {
        for (size_t i = 0; i < want->n; i++) {
                const TableEntry *p = want->entries + i, *l = table_find(have, p->name);
                char a[32], b[32];

                if (!l && !table_is_outside(p->name))
                        differ(d, "%s is missing on the device", p->name);
                /* The last partition takes the rest, and the rest differs from chip to chip. */
                else if (l && p->size != U64_UNKNOWN && i + 1 < want->n && !same_size(p->size, l->size, have->unit))
                        differ(d, "%s is %s on the device, %s in the package", p->name, table_human(l->size, a, sizeof(a)),
                               table_human(p->size, b, sizeof(b)));
        }
        for (size_t i = 0; i < have->n; i++)
                if (!table_is_outside(have->entries[i].name) && !table_find(want, have->entries[i].name))
                        differ(d, "%s is only on the device", have->entries[i].name);
}

static void compare_order(const Table *want, const Table *have, Differences *d) {
        size_t i = 0, k = 0;

        while (i < want->n && k < have->n) {
                const char *w = want->entries[i].name, *h = have->entries[k].name;

                if (table_is_outside(w))
                        i++;
                else if (table_is_outside(h))
                        k++;
                else if (streq(w, h))
                        i++, k++;
                else {
                        differ(d, "%s stands where the package has %s", h, w);
                        return;
                }
        }
}

static void compare_places(const Table *want, const Table *have, Differences *d) {
        for (size_t i = 0; i < want->n; i++) {
                const TableEntry *p = want->entries + i, *l = table_find(have, p->name);

                if (l && !table_is_outside(p->name) && p->start != U64_UNKNOWN && p->start != l->start) {
                        differ(d, "%s begins at 0x%llx on the device, at 0x%llx in the package", p->name,
                               (unsigned long long) l->start, (unsigned long long) p->start);
                        return; /* all behind it follow */
                }
        }
}

void table_compare(const Table *want, const Table *have, bool gaps, Differences *d) {
        compare_sizes(want, have, d);
        if (d->n == 0)
                compare_order(want, have, d);
        if (d->n == 0 && gaps && have->placed)
                compare_places(want, have, d);
}

/* Where the device does not tell places, both tables are counted in the same way; the rest is the same rest if it begins at the same
 * place. */
bool table_survives(const Table *have, const Table *want, const char *name) {
        const TableEntry *h = table_find(have, name), *w = table_find(want, name);
        bool last;

        if (!h || !w)
                return false;
        last = w == want->entries + want->n - 1;
        if (h->start == U64_UNKNOWN || h->start != w->start)
                return false;
        return w->size == U64_UNKNOWN ? last : same_size(w->size, h->size, have->unit);
}

/* ---- payload, text ------------------------------------------------------------------------------------------ */

char *table_to_text(const Table *t) {
        size_t room = 64 + t->n * 96, at;
        char *text = malloc(room);

        if (!text)
                return NULL;
        at = (size_t) snprintf(text, room, "# name start size, in bytes; told by %s\n", t->source);
        for (size_t i = 0; i < t->n && at < room; i++)
                at += (size_t) snprintf(text + at, room - at, "%s %llu %llu\n", t->entries[i].name,
                                        (unsigned long long) t->entries[i].start, (unsigned long long) t->entries[i].size);
        return text;
}

static void put32(uint8_t *p, uint32_t v) {
        for (int i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v) {
        put32(p, (uint32_t) v);
        put32(p + 4, (uint32_t) (v >> 32));
}

static void put_name(uint8_t *p, const char *name) {
        for (size_t i = 0; i < NAME_BYTES / 2 - 1 && name[i]; i++)
                p[2 * i] = (uint8_t) name[i];
}

/* Boot areas are no part of what the loader lays out. */
static size_t count_records(const Plan *plan) {
        size_t n = 0;

        for (size_t i = 0; i < plan->n_partitions; i++)
                n += !table_is_outside(plan->partitions[i].name);
        return n;
}

static int payload_v0(const Plan *plan, uint8_t *p) {
        for (size_t i = 0; i < plan->n_partitions; i++) {
                const PacPartition *part = plan->partitions + i;

                if (table_is_outside(part->name))
                        continue;
                if (part->size != U64_UNKNOWN && part->size >= UINT32_MAX)
                        return -EINVAL;
                put_name(p, part->name);
                put32(p + NAME_BYTES, part->size == U64_UNKNOWN ? UINT32_MAX : (uint32_t) part->size);
                p += V0_RECORD;
        }
        return 0;
}

static int put_v1_record(const PacPartition *part, uint64_t unit, uint64_t least, bool first, uint8_t *p) {
        uint64_t size = to_bytes(part->size, unit), gap = to_bytes((uint64_t) part->gap, unit);

        if ((size == U64_UNKNOWN && part->size != U64_UNKNOWN) || (size != U64_UNKNOWN && size > INT64_MAX) || gap > INT64_MAX)
                return -EINVAL;
        if (first && gap > 0 && gap < least)
                return -EINVAL;
        put_name(p, part->name);
        put64(p + NAME_BYTES, size);
        put64(p + NAME_BYTES + 8, gap);
        return 0;
}

static int payload_v1(const Plan *plan, size_t n, uint8_t *p) {
        bool sectors = plan->partition_unit == V1_SECTORS, first = true;
        uint64_t unit = sectors ? 1 : pac_partition_unit(plan->partition_unit), least = FIRST_GAP_SECTORS * (sectors ? 1u : 512u);

        put32(p, V1_MAGIC);
        p[4] = 1;
        p[5] = sectors ? V1_SECTORS : V1_BYTES;
        p[6] = 1;
        put32(p + 8, V1_TAG);
        p[12] = V1_HEADER;
        p[14] = (uint8_t) (n * V1_RECORD);
        p[15] = (uint8_t) (n * V1_RECORD >> 8);
        p += V1_HEADER;
        for (size_t i = 0; i < plan->n_partitions; i++) {
                int r;

                if (table_is_outside(plan->partitions[i].name))
                        continue;
                r = put_v1_record(plan->partitions + i, unit, least, first, p);
                if (r < 0)
                        return r;
                first = false;
                p += V1_RECORD;
        }
        return 0;
}

int table_payload(const Plan *plan, void **ret, size_t *ret_size) {
        bool v0 = plan->partition_unit < 0;
        size_t n = count_records(plan), size = v0 ? n * V0_RECORD : V1_HEADER + n * V1_RECORD;
        uint8_t *p;
        int r;

        if (n == 0 || size > FRAME_MAX)
                return -EINVAL;
        p = calloc(1, size);
        if (!p)
                return -ENOMEM;
        r = v0 ? payload_v0(plan, p) : payload_v1(plan, n, p);
        if (r < 0) {
                free(p);
                return r;
        }
        *ret = p;
        *ret_size = size;
        return 0;
}
