/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone.h"
#include "phone-table.h"

#define VN 0x00004E56u
#define VN_VERSION 101

static const NvLength preset[] = {
#define X(id, length) {id, length},
        PHONE_NV_ITEMS(X)
#undef X
};

bool phone_nv_twin(const char *name, char ret[PHONE_NAME]) {
        const char *base = strstr(name, "fixnv1");
        size_t n;

        if (!base)
                base = strstr(name, "runtimenv1");
        if (!base)
                return false;
        n = strcspn(base, "1");
        if (base[n + 1] && strcmp(base + n + 1, "_a") != 0 && strcmp(base + n + 1, "_b") != 0)
                return false;
        snprintf(ret, PHONE_NAME, "%s", name);
        ret[(size_t) (base - name) + n] = '2';
        return true;
}

static int store_copy(SimModel *m, const char *name, const uint8_t *image, size_t n) {
        uint8_t head[NV_HEADER] = {0};
        const PhonePart *part = phone_part(phone_of(m), name);
        char file[128];
        int r;

        if (!part)
                return 0;
        if (n + NV_HEADER > part->size)
                return -ENOSPC;
        phone_part_file(name, file, sizeof(file));
        le32to(head, VN);
        le32to(head + 4, (uint32_t) n);
        le32to(head + 8, sim_bytesum(image, n));
        le32to(head + 12, VN_VERSION);
        r = store_write(m, file, 0, head, sizeof(head));
        if (r >= 0)
                r = store_write(m, file, NV_HEADER, image, n);
        m->bytes_written += n + NV_HEADER;
        sim_work_bytes(m, n + NV_HEADER, OPT_FLASH_RATE);
        return r;
}

static int store_pair(SimModel *m, const char *name, const uint8_t *image, size_t n) {
        char twin[PHONE_NAME];
        int r = store_copy(m, name, image, n);

        if (r >= 0 && phone_nv_twin(name, twin))
                r = store_copy(m, twin, image, n);
        return r;
}

int phone_nv_store(SimModel *m, const char *name, const uint8_t *image, size_t n, bool one_slot) {
        char other[PHONE_NAME];
        int r = store_pair(m, name, image, n);

        if (r >= 0 && !one_slot && phone_kind(m)->slots && phone_other_slot(name, other))
                r = store_pair(m, other, image, n);
        return r;
}

/* The image of a copy if its header and sum are good. */
static uint8_t *load_copy(SimModel *m, const char *name, size_t *ret_size) {
        const PhonePart *part = phone_part(phone_of(m), name);
        uint8_t head[16], *image;
        uint32_t length;
        char file[128];

        if (!part)
                return NULL;
        phone_part_file(name, file, sizeof(file));
        if (store_read(m, file, 0, head, sizeof(head)) < 0 || le32at(head) != VN)
                return NULL;
        length = le32at(head + 4);
        if (length == 0 || length > part->size - NV_HEADER)
                return NULL;
        image = malloc(length);
        if (image && store_read(m, file, NV_HEADER, image, length) >= 0 &&
            sim_bytesum(image, length) == le32at(head + 8)) {
                *ret_size = length;
                return image;
        }
        free(image);
        return NULL;
}

int phone_nv_repair(SimModel *m, const char *name) {
        char twin[PHONE_NAME];
        uint8_t *first, *second = NULL;
        size_t n_first = 0, n_second = 0;
        int r = 0;

        if (!phone_nv_twin(name, twin))
                return -EINVAL;
        first = load_copy(m, name, &n_first);
        second = load_copy(m, twin, &n_second);
        if (!first && !second)
                r = -EIO;
        else if (!first)
                r = store_copy(m, name, second, n_second);
        else if (!second)
                r = store_copy(m, twin, first, n_first);
        free(first);
        free(second);
        return r;
}

static int damage_copy(SimModel *m, const char *name) {
        char file[128];

        if (!phone_part(phone_of(m), name))
                return 0;
        phone_part_file(name, file, sizeof(file));
        return store_fill(m, file, NV_HEADER + 100, 16, 0xA5);
}

static int damage_slots(SimModel *m, const char *name) {
        char other[PHONE_NAME];
        int r = damage_copy(m, name);

        return r >= 0 && phone_other_slot(name, other) ? damage_copy(m, other) : r;
}

static int fill_pair(SimModel *m, const char *name, uint8_t *image, size_t size) {
        char twin[PHONE_NAME];
        int r;

        if (!phone_part(phone_of(m), name) || sim_word(m, OPT_NV, "missing"))
                return 0;
        r = phone_nv_store(m, name, image, size, false);
        if (!phone_nv_twin(name, twin))
                return r;
        if (r >= 0 && (sim_word(m, OPT_NV, "twin-bad") || sim_word(m, OPT_NV, "both-bad")))
                r = damage_slots(m, twin);
        if (r >= 0 && (sim_word(m, OPT_NV, "first-bad") || sim_word(m, OPT_NV, "both-bad")))
                r = damage_slots(m, name);
        return r;
}

int phone_nv_fill(SimModel *m, char *err, size_t err_size) {
        const PhonePart *part = phone_part(phone_of(m), phone_kind(m)->fixnv);
        size_t size = PHONE_NV_SIZE, need = 16;
        uint8_t *image;
        NvTable table;
        int r;

        r = nv_table_load(m, preset, COUNT(preset), &table, err, err_size);
        if (r < 0)
                return r;
        for (size_t i = 0; i < table.n; i++)
                need += table.items[i].length + 8u;
        while (need > size)
                size *= 2;
        image = part && size <= part->size - NV_HEADER ? malloc(size) : NULL;
        if (image && !nv_make_image(m, &table, sim_word(m, OPT_NV, "reordered"), image, size)) {
                snprintf(err, err_size, "the NV items do not fit into %zu bytes", size);
                r = -ENOSPC;
        }
        if (image && r >= 0 && sim_word(m, OPT_NV, "bad"))
                le16to(image + 6, 0xFFF0); /* the first item's length leads out of the image */
        if (image && r >= 0)
                r = fill_pair(m, phone_kind(m)->fixnv, image, size);
        if (image && r >= 0)
                r = fill_pair(m, phone_kind(m)->runtimenv, image, 4096);
        if (r < 0 && !*err)
                snprintf(err, err_size, "NV: %s", strerror(-r));
        free(table.items);
        free(image);
        return r;
}
