/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "flash/family.h"

/* What can be read of devices without named partitions, and how much of it: found by asking, since none of their loaders tells. They
 * refuse what lies beyond the end (module-and-vendor-flow.md §3.2), so a search by halves comes to it. */

#define LOOK 2U                     /* loaders are asked for even sizes only */
#define FLASH_STEP 4096U            /* a block of NOR */
#define FLASH_MOST 0x10000000U      /* where the second flash begins */
#define LOGICAL_MOST 0x4000000U
#define NV_BLOCK 0x3000U
#define PHASE_CHECK_MODULE 0x100U

/* 0; 1 with *e->failure. *ret: it gave something. */
static int look(Engine *e, uint64_t address, uint64_t at, size_t n, size_t *ret) {
        int r;

        *ret = 0;
        if (engine_cancelled(e))
                return -ECANCELED;
        r = bsl_read_flash(e->session, (uint32_t) address, (uint32_t) at, e->block, n, true, ret, e->failure);
        if (r != 1 || e->failure->class != CLASS_REFUSED)
                return r;
        engine_forget(e);
        *ret = 0;
        return 0;
}

/* The last place of `step` bytes that is there, by halves. */
static int find_end(Engine *e, uint64_t address, uint64_t most, uint64_t step, uint64_t *ret) {
        uint64_t last = 0;
        size_t got;
        int r = look(e, address, step - LOOK, LOOK, &got);

        *ret = 0;
        if (r != 0 || got < LOOK)
                return r;
        for (uint64_t half = most / 2; half >= step; half /= 2) {
                r = look(e, address, last + half + step - LOOK, LOOK, &got);
                if (r != 0)
                        return r;
                if (got == LOOK)
                        last += half;
        }
        *ret = last + step;
        return 0;
}

/* Modules make the image while they are asked for it, from the beginning on. */
static int measure_nv(Engine *e, uint64_t address, uint64_t most, uint64_t *ret) {
        uint64_t at = 0;
        size_t got = 1;

        while (at < most && got > 0) {
                size_t n = (size_t) MIN(most - at, (uint64_t) NV_BLOCK);
                int r = look(e, address, at, n, &got);

                if (r != 0)
                        return r;
                at += MIN(got, n);
                if (got < n)
                        break;
        }
        *ret = at;
        return 0;
}

static int measure_phase_check(Engine *e, uint64_t address, uint64_t *ret) {
        size_t got;
        int r = look(e, address, 0, PHASE_CHECK_MODULE, &got);

        *ret = got;
        return r;
}

static int measure(Engine *e, const Family *family, uint64_t address, uint64_t *ret) {
        if (family->places == PLACES_LOGICAL)
                return find_end(e, address, LOGICAL_MOST, LOOK, ret);
        if (address_is_nv(address))
                return measure_nv(e, address, family->nv_max, ret);
        if (address_is_identity(address))
                return measure_phase_check(e, address, ret);
        return find_end(e, address, FLASH_MOST, FLASH_STEP, ret);
}

static int measure_all(Engine *e, const Family *family, const uint32_t *places, size_t n, Table *t) {
        for (size_t i = 0; i < n; i++) {
                TableEntry *entry = t->entries + t->n;
                int r = measure(e, family, places[i], &entry->size);

                if (r != 0)
                        return r;
                if (entry->size > 0) {
                        snprintf(entry->name, sizeof(entry->name), "0x%x", places[i]);
                        t->n++;
                }
        }
        return 0;
}

int engine_list_areas(Engine *e) {
        /* pac-format.md §6.3; what is only erased or unpacked there is left out. */
        static const uint32_t module[] = {0x60000000, 0x70000000, 0xfe000002, 0xfe000003};
        static const uint32_t logical[] = {
                0x80000000, 0x80000003, 0x80000004, 0x90000001, 0x90000002, 0x90000004, 0x90000005, 0x90000006,
                0x90000009, 0x9000000a, 0x9000000c, 0x9000000d, 0x9000000e, 0x90000010,
        };
        const Family *family = family_find(e->plan->family);
        bool flash = family && family->places == PLACES_FLASH;
        size_t n = flash ? ELEMENTSOF(module) : ELEMENTSOF(logical);
        _cleanup_(table_clear) Table t = {};
        int r;

        if (!family || family->places == PLACES_NAMES)
                return 0;
        t.entries = calloc(n, sizeof(TableEntry));
        if (!t.entries)
                return -ENOMEM;
        r = measure_all(e, family, flash ? module : logical, n, &t);
        if (r == 0)
                engine_tell_table(e, &t);
        return r;
}

/* One place after the other is usual, so the last one is remembered. 0 in *ret: nobody tells. */
static int room_at(Engine *e, const Family *family, uint64_t base, uint64_t *ret) {
        int r = 0;

        if (e->area_base != base) {
                e->area_size = 0;
                r = measure(e, family, base, &e->area_size);
                e->area_base = r == 0 ? base : 0;
        }
        *ret = e->area_size;
        return r;
}

int engine_fit_area(Engine *e, const PlanStep *s) {
        const Family *family = family_find(e->plan->family);
        bool flash = family && family->places == PLACES_FLASH;
        uint64_t base = s->address, room, at;
        int r;

        if (!family || family->places == PLACES_NAMES || s->partition[0] || s->size == 0 || s->size == U64_UNKNOWN || address_is_identity(s->address))
                return 0;
        if (flash && (base < 0x60000000 || base >= 0x80000000))
                return 0; /* few, each with its own rules */
        if (flash)
                base &= 0xf0000000;
        r = room_at(e, family, base, &room);
        if (r != 0)
                return r;
        at = s->address - base;
        if (room == 0 || (at <= room && s->size <= room - at))
                return 0;
        return engine_fail(e, CLASS_PLAN, "size", "0x%llx is to take %llu bytes, and %s at 0x%llx has %llu; nothing was written", (unsigned long long) s->address,
                           (unsigned long long) s->size, flash ? "the flash" : "the area", (unsigned long long) base, (unsigned long long) room);
}
