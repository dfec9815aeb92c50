/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>

#include "phone-ab-table.h"
#include "phone.h"

/* Two slots: the active one is named in misc; FDL2 keeps the boot chain of both alike. */

#define BCB 0x800u
#define BCB_MAGIC 0x42414342u
#define BCB_SIZE 32u
#define BCB_SUM 28u
#define SNAPSHOT "SNAP"

/* The boot loader believes a block only with its sum, which is over all that stands before it. */
static bool block_holds(const uint8_t b[BCB_SIZE]) {
        return le32at(b + 4) == BCB_MAGIC && le32at(b + BCB_SUM) == sim_crc32(0, b, BCB_SUM);
}

char phone_slot(SimModel *m) {
        uint8_t b[BCB_SIZE];
        Target t;

        if (!phone_kind(m)->slots || !phone_find(m, "misc", &t) || store_read(m, t.file, BCB, b, sizeof(b)) < 0)
                return 'a';
        return block_holds(b) && b[0] == '_' && b[1] == 'b' ? 'b' : 'a';
}

static size_t slot_at(const char *name) {
        size_t n = strlen(name);

        return n > 2 && name[n - 2] == '_' && (name[n - 1] == 'a' || name[n - 1] == 'b') ? n - 2 : 0;
}

bool phone_other_slot(const char *name, char ret[PHONE_NAME]) {
        size_t at = slot_at(name);

        if (!at)
                return false;
        snprintf(ret, PHONE_NAME, "%s", name);
        ret[at + 1] ^= 'a' ^ 'b';
        return true;
}

/* Package and phone may disagree about slots in NV names. */
const PhonePart *phone_find_slotted(SimModel *m, const char *name) {
        const PhonePart *part = phone_part(phone_of(m), name);
        char other[PHONE_NAME];
        size_t at = slot_at(name);

        if (part || !phone_kind(m)->slots || !phone_nv_twin(name, other))
                return part;
        if (at)
                snprintf(other, sizeof(other), "%.*s", (int) at, name);
        else
                snprintf(other, sizeof(other), "%.33s_%c", name, phone_slot(m));
        return phone_part(phone_of(m), other);
}

bool phone_find_active(SimModel *m, const char *name, Target *ret) {
        char active[PHONE_NAME];
        size_t at = slot_at(name);

        snprintf(active, sizeof(active), "%.*s_%c", at ? (int) at : 33, name, phone_slot(m));
        return phone_find(m, phone_part(phone_of(m), active) ? active : name, ret);
}

static bool in_boot_chain(const char *name, size_t n) {
#define X(text) text,
        static const char *const chain[] = {PHONE_AB_MIRROR(X)};
#undef X

        for (size_t i = 0; i < COUNT(chain); i++)
                if (strlen(chain[i]) == n && strncmp(chain[i], name, n) == 0)
                        return true;
        return false;
}

bool phone_mirror(SimModel *m, const char *name, char ret[PHONE_NAME]) {
        if (!phone_kind(m)->slots) {
                snprintf(ret, PHONE_NAME, "%.31s_bak", name);
                return in_boot_chain(name, strlen(name));
        }
        return slot_at(name) && name[strlen(name) - 1] == 'a' && in_boot_chain(name, slot_at(name)) &&
               phone_other_slot(name, ret);
}

static int write_part(SimModel *m, const char *name, uint64_t offset, const void *p, size_t n) {
        Target t;

        return phone_find(m, name, &t) ? store_write(m, t.file, offset, p, n) : 0;
}

static bool super_sum(SimModel *m, uint32_t *ret) {
        uint8_t b[4096];
        Target t;

        if (!phone_find(m, "super", &t) || store_read(m, t.file, 0, b, sizeof(b)) < 0)
                return false;
        *ret = sim_crc32(0, b, sizeof(b));
        return true;
}

int phone_slots_fill(SimModel *m) {
        uint8_t b[32] = {0};
        uint32_t sum;
        int r;

        if (!phone_kind(m)->slots)
                return 0;
        b[0] = '_';
        b[1] = (uint8_t) *m->option[OPT_SLOT];
        le32to(b + 4, BCB_MAGIC);
        b[8] = 1;
        b[9] = 2;
        for (unsigned i = 0; i < 2; i++)
                b[12 + 2 * i] = *m->option[OPT_SLOT] == 'a' + (int) i ? 0xFF : 0x7E; /* priority 15 or 14, tries 7, booted */
        le32to(b + BCB_SUM, sim_crc32(0, b, BCB_SUM));
        r = write_part(m, "misc", BCB, b, sizeof(b));
        if (r < 0 || !sim_flag(m, OPT_SNAPSHOT) || !super_sum(m, &sum))
                return r;
        memcpy(b, SNAPSHOT, 4);
        le32to(b + 4, sum);
        return write_part(m, "metadata", 0, b, 8);
}

/* A snapshot is of one super only. */
bool phone_snapshot_fits(SimModel *m) {
        uint8_t b[8];
        uint32_t sum;
        Target t;

        if (!phone_kind(m)->slots || !phone_find(m, "metadata", &t) || store_read(m, t.file, 0, b, sizeof(b)) < 0 ||
            memcmp(b, SNAPSHOT, 4) != 0)
                return true;
        return super_sum(m, &sum) && sum == le32at(b + 4);
}
