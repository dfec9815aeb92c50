/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdarg.h>
#include <stdio.h>

/* The device's partition table against the package's, and every file against the device's table. */

/* The differences, as many as fit, and how many there are. */
typedef struct Differences {
        char text[400];
        size_t used, n, shown;
} Differences;

_printf_(2, 3) static void differ(Differences *d, const char *format, ...) {
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

/* Boot areas outside the table: some loaders list them, most do not. */
static bool outside_table(const char *name) {
        return streq(name, "splloader") || streq(name, "splloader_bak");
}

static const BslPartition *find_live(const BslPartition *live, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (streq(live[i].name, name))
                        return live + i;
        return NULL;
}

static const PacPartition *find_planned(const Plan *plan, const char *name) {
        for (size_t i = 0; i < plan->n_partitions; i++)
                if (streq(plan->partitions[i].name, name))
                        return plan->partitions + i;
        return NULL;
}

static uint64_t to_bytes(uint64_t size, uint64_t unit) {
        uint64_t bytes;

        return size == U64_UNKNOWN || __builtin_mul_overflow(size, unit, &bytes) ? U64_UNKNOWN : bytes;
}

/* Tables are cut to whole mebibytes or KiB by some loaders: a remainder below one unit of the coarser side is none. */
static bool same_size(uint64_t planned, uint64_t live, uint64_t unit) {
        return planned > live ? planned - live < unit : live - planned < unit;
}

static size_t count_fitting(const Plan *plan, const BslPartition *live, size_t n, uint64_t unit) {
        size_t fitting = 0;

        for (size_t i = 0; i < plan->n_partitions; i++) {
                const PacPartition *p = plan->partitions + i;
                const BslPartition *l = find_live(live, n, p->name);
                uint64_t planned = to_bytes(p->size, pac_partition_unit(plan->partition_unit));

                if (l && planned != U64_UNKNOWN && same_size(planned, to_bytes(l->size, unit), unit))
                        fitting++;
        }
        return fitting;
}

/* The loader does not name its unit: KiB with 512-byte sectors, 8 KiB with 4096, mebibytes on some. The one in which
 * most sizes agree is meant. */
uint64_t engine_live_unit(const Plan *plan, const BslPartition *live, size_t n) {
        static const uint64_t units[] = {1024, 8 * 1024, 1024 * 1024, 512};
        size_t best = 0, best_fitting = 0;

        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                size_t fitting = count_fitting(plan, live, n, units[i]);
                if (fitting > best_fitting) {
                        best_fitting = fitting;
                        best = i;
                }
        }
        return units[best];
}

static const char *human(uint64_t bytes, char *buf, size_t size) {
        if (bytes == U64_UNKNOWN)
                snprintf(buf, size, "the rest");
        else if (bytes >= 1024 * 1024 && bytes % (1024 * 1024) == 0)
                snprintf(buf, size, "%llu MiB", (unsigned long long) (bytes / 1024 / 1024));
        else if (bytes % 1024 == 0)
                snprintf(buf, size, "%llu KiB", (unsigned long long) (bytes / 1024));
        else
                snprintf(buf, size, "%llu bytes", (unsigned long long) bytes);
        return buf;
}

static void compare_sizes(const Plan *plan, const BslPartition *live, size_t n, uint64_t unit, Differences *d) {
        for (size_t i = 0; i < plan->n_partitions; i++) {
                const PacPartition *p = plan->partitions + i;
                const BslPartition *l = find_live(live, n, p->name);
                uint64_t want = to_bytes(p->size, pac_partition_unit(plan->partition_unit));
                uint64_t have = l ? to_bytes(l->size, unit) : 0;
                char a[32], b[32];

                if (!l && !outside_table(p->name))
                        differ(d, "%s is missing on the device", p->name);
                /* The last partition takes the rest, and the rest differs from chip to chip. */
                else if (l && want != U64_UNKNOWN && i + 1 < plan->n_partitions && !same_size(want, have, unit))
                        differ(d, "%s is %s on the device, %s in the package", p->name, human(have, a, sizeof(a)),
                               human(want, b, sizeof(b)));
        }
        for (size_t i = 0; i < n; i++)
                if (!outside_table(live[i].name) && !find_planned(plan, live[i].name))
                        differ(d, "%s is only on the device", live[i].name);
}

static void compare_order(const Plan *plan, const BslPartition *live, size_t n, Differences *d) {
        size_t i = 0, k = 0;

        while (i < plan->n_partitions && k < n) {
                if (outside_table(plan->partitions[i].name))
                        i++;
                else if (outside_table(live[k].name))
                        k++;
                else if (streq(plan->partitions[i].name, live[k].name))
                        i++, k++;
                else {
                        differ(d, "%s stands where the package has %s", live[k].name, plan->partitions[i].name);
                        return;
                }
        }
}

/* Calibration data of slotted and plain names are found by the loader under either. */
static const BslPartition *find_target(const BslPartition *live, size_t n, const PlanStep *s) {
        const BslPartition *l = find_live(live, n, s->partition);
        char slotted[48];

        if (l)
                return l;
        snprintf(slotted, sizeof(slotted), "%s_a", s->partition);
        return find_live(live, n, slotted);
}

uint64_t engine_room(const Plan *plan, const BslPartition *live, size_t n, const PlanStep *s) {
        const BslPartition *l = find_target(live, n, s);
        const PacPartition *p = find_planned(plan, s->partition);

        if (l)
                return to_bytes(l->size, engine_live_unit(plan, live, n));
        return p ? to_bytes(p->size, pac_partition_unit(plan->partition_unit)) : U64_UNKNOWN;
}

static void compare_files(const Engine *e, const BslPartition *live, size_t n, uint64_t unit, Differences *d) {
        const Plan *plan = e->plan;

        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                const BslPartition *l;
                uint64_t room;
                char a[32], b[32];

                if (!s->partition[0] || outside_table(s->partition) || (s->op != PLAN_WRITE && s->op != PLAN_WRITE_NV))
                        continue;
                l = find_target(live, n, s);
                room = l ? to_bytes(l->size, unit) : 0;
                if (!l && !find_planned(plan, s->partition))
                        differ(d, "%s, which the package writes, is not on the device", s->partition);
                else if (l && room != U64_UNKNOWN && s->size > room && !engine_is_sparse(e, s))
                        differ(d, "the file for %s has %s, the partition %s", s->partition,
                               human(s->size, a, sizeof(a)), human(room, b, sizeof(b)));
        }
}

int engine_check_table(Engine *e, const BslPartition *live, size_t n_live) {
        uint64_t unit = engine_live_unit(e->plan, live, n_live);
        Differences d = {};
        char more[32] = "";

        compare_sizes(e->plan, live, n_live, unit, &d);
        if (d.n == 0)
                compare_order(e->plan, live, n_live, &d);
        compare_files(e, live, n_live, unit, &d);
        if (d.n == 0) {
                engine_fact(e, "table", "%zu partitions as in the package", e->plan->n_partitions);
                return 0;
        }
        if (d.n > d.shown)
                snprintf(more, sizeof(more), "; and %zu more", d.n - d.shown);
        engine_fact(e, "table", "differs: %s%s", d.text, more);
        return engine_fail(e, CLASS_MISMATCH, "table", "the partition table differs from the package: %.150s%s%s",
                           d.text, strlen(d.text) > 150 ? " …" : "", more);
}
