/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "firmware/image.h"

#define NV_HEADER 512U

/* Steps that a person chose, against the device's own table: every name, size and image is looked at before the first write. */

/* The table as lines "name bytes", for whoever looks at the device; several facts, as one has little room. */
void engine_tell_table(Engine *e, const Table *live) {
        char lines[480] = "";
        size_t used = 0;

        for (size_t i = 0; i < live->n; i++) {
                used += (size_t) snprintf(lines + used, sizeof(lines) - used, "%s %llu\n", live->entries[i].name,
                                          (unsigned long long) live->entries[i].size);
                if (used + 64 > sizeof(lines) || i + 1 == live->n) {
                        engine_fact(e, "partitions", "%s", lines);
                        used = 0;
                }
        }
}

/* Places that loaders know although no table lists them (bsl-protocol §9.1). */
static bool is_special(const char *name) {
        static const char *const names[] = {"splloader", "splloader_bak", "user_partition", "uboot", "uboot_bak"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i], name))
                        return true;
        return false;
}

static const TableEntry *find(const Table *live, const char *name, const char *suffix) {
        char whole[48];

        snprintf(whole, sizeof(whole), "%s%s", name, suffix);
        return live ? table_find(live, whole) : NULL;
}

/* Letters that differ; small is alike. */
static unsigned distance(const char *a, const char *b) {
        unsigned row[40];
        size_t n = MIN(strlen(b), (size_t) 36);

        for (size_t k = 0; k <= n; k++)
                row[k] = (unsigned) k;
        for (; *a; a++) {
                unsigned before = row[0]++;
                for (size_t k = 1; k <= n; k++) {
                        unsigned above = row[k], best = MIN(row[k], row[k - 1]) + 1;
                        row[k] = MIN(best, before + (*a != b[k - 1]));
                        before = above;
                }
        }
        return row[n];
}

static void list_alike(const Table *live, const char *name, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < live->n; i++) {
                const char *there = live->entries[i].name;
                bool alike = distance(name, there) <= 2 || strstr(there, name) || strstr(name, there);
                if (alike && used + strlen(there) + 3 < size)
                        used += (size_t) snprintf(ret + used, size - used, "%s%s", used > 0 ? ", " : "", there);
        }
}

static int unknown_name(Engine *e, const PlanStep *s, const Table *live) {
        char alike[100];

        if (find(live, s->partition, "_a") && find(live, s->partition, "_b"))
                return engine_fail(e, CLASS_PLAN, "slot",
                                   "this device has two slots: say %s_a or %s_b instead of %s; nothing was written",
                                   s->partition, s->partition, s->partition);
        list_alike(live, s->partition, alike, sizeof(alike));
        return engine_fail(e, CLASS_PLAN, "partition", "the device has no partition %s%s%s; nothing was written", s->partition,
                           alike[0] ? "; it has " : "", alike);
}

static const char *bytes_text(uint64_t bytes, char ret[static 32]) {
        snprintf(ret, 32, "%llu bytes", (unsigned long long) bytes);
        return ret;
}

/* The loader keeps a header of its own in front of calibration data, and neither shows nor takes it. */
static uint64_t without_header(const PlanStep *s, uint64_t room) {
        return partition_is_nv(s->partition) && room > NV_HEADER && room != U64_UNKNOWN ? room - NV_HEADER : room;
}

static int fit_read(Engine *e, unsigned i, uint64_t room) {
        const PlanStep *s = e->plan->steps + i;
        char a[32];

        if (room == U64_UNKNOWN && s->size == U64_UNKNOWN) {
                int r = engine_probe_size(e, s->partition, &room);

                if (r != 0)
                        return r;
                if (room == 0 && !s->optional)
                        return engine_fail(e, CLASS_PLAN, "partition", "the device has no partition %s that can be read; nothing was written",
                                           s->partition);
                room = without_header(s, room);
                if (room == U64_UNKNOWN)
                        return engine_fail(e, CLASS_PLAN, "length", "the device does not tell how large %s is: give a length", s->partition);
                if (room <= s->skip) { /* refused when it is read, and that is allowed */
                        e->sizes[i] = 0;
                        return 0;
                }
        }
        if (room != U64_UNKNOWN && (s->skip >= room || (s->size != U64_UNKNOWN && s->size > room - s->skip)))
                return engine_fail(e, CLASS_PLAN, "length", "what is to be read of %s lies beyond its end: it has %s", s->partition,
                                   bytes_text(room, a));
        e->sizes[i] = s->size == U64_UNKNOWN ? room - s->skip : s->size;
        if (s->size == U64_UNKNOWN)
                e->report->bytes_total += e->sizes[i];
        return 0;
}

static int fit_write(Engine *e, const PlanStep *s, uint64_t room) {
        char a[32], b[32];

        if (room == U64_UNKNOWN || s->size <= room || engine_is_sparse(e, s))
                return 0;
        return engine_fail(e, CLASS_PLAN, "size", "the file for %s has %s, the partition %s; nothing was written", s->partition,
                           bytes_text(s->size, a), bytes_text(room, b));
}

static int kind_at(Engine *e, uint64_t offset, uint64_t size, ImageKind *ret) {
        uint8_t head[IMAGE_HEAD];
        size_t n = (size_t) MIN(size, sizeof(head));
        int r = engine_copy(e, offset, head, n);

        *ret = r == 0 ? image_kind(head, n, size) : IMAGE_UNKNOWN;
        return r;
}

/* Of the first loader: the ROM decides whether the unit wants signatures. */
static int kind_of_loaders(Engine *e, ImageKind *ret) {
        *ret = IMAGE_UNKNOWN;
        for (size_t i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_LOAD)
                        return kind_at(e, e->plan->steps[i].offset, e->plan->steps[i].size, ret);
        return 0;
}

int engine_fit_image(Engine *e, const PlanStep *s) {
        ImageKind kind, loaders = IMAGE_UNKNOWN;
        char text[256];
        int r;

        if (s->any_image || e->plan->options.any_image || !s->partition[0])
                return 0;
        r = kind_at(e, s->offset, s->size, &kind);
        if (r == 0 && e->plan->chosen)
                r = kind_of_loaders(e, &loaders);
        if (r != 0 || image_check(kind, loaders, e->plan->chosen && !e->plan->options.repair, s->partition, text, sizeof(text)))
                return r;
        return engine_fail(e, CLASS_PLAN, "image-type", "%s", text);
}

/* Without a table only the device knows whether a name exists. */
static int resolve_one(Engine *e, unsigned i, const Table *live) {
        const PlanStep *s = e->plan->steps + i;
        const TableEntry *l = find(live, s->partition, "");
        uint64_t room;

        /* The loader finds calibration under the plain name and that of the slot (bsl-protocol §9.2). */
        if (!l && partition_is_nv(s->partition))
                l = find(live, s->partition, "_a");
        if (!l && live && !is_special(s->partition))
                return unknown_name(e, s, live);
        room = without_header(s, l ? l->size : U64_UNKNOWN);
        if (s->op == PLAN_READ)
                return fit_read(e, i, room);
        return s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV ? fit_write(e, s, room) : 0;
}

static bool is_chosen(const PlanStep *s) {
        return s->op == PLAN_READ || s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV || s->op == PLAN_ERASE;
}

int engine_resolve(Engine *e, const Table *live) {
        int r = 0;

        if (live)
                engine_tell_table(e, live);
        for (unsigned i = 0; r == 0 && i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if (!is_chosen(s))
                        continue;
                e->sizes[i] = s->size;
                if (s->partition[0])
                        r = resolve_one(e, i, live);
                else if (s->destructive)
                        r = engine_fit_area(e, s);
                if (r == 0 && (s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV))
                        r = engine_fit_image(e, s);
        }
        return r;
}
