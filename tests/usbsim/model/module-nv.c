/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

#define IMEI_FILE "FFAC/imei.bin"
#define GSM_CALIBRATION 0x26D

static void item_file(unsigned id, char *ret, size_t size) {
        snprintf(ret, size, "FFAC/nv%04x.bin", id);
}

/* Length of an item in the store, -1 if absent. */
static int load_item(SimModel *m, unsigned id, uint8_t *data, size_t max) {
        int imei = nv_imei_index(id);
        char file[32];
        int64_t n;

        if (imei >= 0) {
                if (store_size(m, IMEI_FILE) < 0 || store_read(m, IMEI_FILE, (uint64_t) imei * 8, data, 8) < 0)
                        return -1;
                return sim_all_bytes(data, 8, 0xFF) ? -1 : 8;
        }
        item_file(id, file, sizeof(file));
        n = store_size(m, file);
        if (n < 0 || (uint64_t) n > max || store_read(m, file, 0, data, (size_t) n) < 0)
                return -1;
        return (int) n;
}

static int save_item(SimModel *m, unsigned id, const uint8_t *data, size_t n) {
        int imei = nv_imei_index(id);
        char file[32];

        if (imei >= 0) {
                uint8_t all[32];
                if (n != 8)
                        return -EINVAL;
                memset(all, 0xFF, sizeof(all));
                if (store_size(m, IMEI_FILE) == 32)
                        (void) store_read(m, IMEI_FILE, 0, all, sizeof(all));
                memcpy(all + imei * 8, data, 8);
                return store_put(m, IMEI_FILE, all, sizeof(all));
        }
        item_file(id, file, sizeof(file));
        return store_put(m, file, data, n);
}

int module_nv_fill(SimModel *m) {
        Module *o = module_of(m);
        uint8_t *data = malloc(0x10000);
        bool bad = sim_word(m, OPT_NV, "bad");
        int r = 0;

        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < o->table.n && r >= 0 && !sim_word(m, OPT_NV, "missing"); i++) {
                unsigned id = o->table.items[i].id;
                size_t n = o->table.items[i].length;

                if (bad && id == NV_ID_IMEI)
                        continue;
                nv_make_item(m, id, data, n);
                if (bad && id == NV_ID_CALIBRATION)
                        n = 64;
                r = save_item(m, id, data, n);
        }
        free(data);
        return r;
}

int module_nv_defaults(SimModel *m) {
        uint8_t *data = calloc(1, 8192);
        int n, r = 0;

        if (!data)
                return -ENOMEM;
        if (load_item(m, NV_ID_CALIBRATION, data, 8192) < 0) {
                memset(data, 0, 8192);
                le32to(data, 0xFF0A);
                r = save_item(m, NV_ID_CALIBRATION, data, 6020);
        }
        memset(data, 0, 8192);
        n = load_item(m, GSM_CALIBRATION, data, 8192);
        if (n == 7706 && r >= 0)
                r = save_item(m, GSM_CALIBRATION, data, 8192);
        free(data);
        return r;
}

/* What is in the store as an image. The 8910 gives the IMEIs first, whatever order was written. */
static bool build(SimModel *m, uint8_t *image) {
        Module *o = module_of(m);
        bool imei_first = is_8910(m) || sim_word(m, OPT_NV, "reordered");
        uint8_t *data = malloc(0x10000);
        unsigned items = 0;
        size_t at = 4;

        if (!data)
                return false;
        for (int pass = imei_first ? 0 : 1; pass < 2; pass++)
                for (size_t i = 0; i < o->table.n; i++) {
                        unsigned id = o->table.items[i].id;
                        size_t next;
                        int n;

                        if (imei_first && (nv_imei_index(id) >= 0) != (pass == 0))
                                continue;
                        n = load_item(m, id, data, 0x10000);
                        if (n < 0)
                                continue;
                        next = nv_put_item(image, o->nv_size, at, id, data, (size_t) n);
                        if (next) {
                                at = next;
                                items++;
                        }
                }
        free(data);
        nv_finish(image, o->nv_size, at, 0x0040);
        return items > 0;
}

/* Refreshes the items of an image from the store without moving them. */
static void refresh(SimModel *m, uint8_t *image, size_t size) {
        uint8_t *data = malloc(0x10000);
        size_t at = 4;

        while (data && at + 4 <= size && le16at(image + at) != NV_ID_END) {
                size_t n = le16at(image + at + 2);

                if (n > size - at - 4)
                        break;
                if (load_item(m, le16at(image + at), data, 0x10000) == (int) n)
                        memcpy(image + at + 4, data, n);
                at += 4 + ((n + 3) & ~(size_t) 3);
        }
        free(data);
}

bool module_nv_image(SimModel *m, uint8_t *image) {
        Module *o = module_of(m);

        if (is_8910(m)) {
                if (o->saved_nv)
                        memcpy(image, o->saved_nv, o->nv_size);
                else
                        (void) build(m, image);
                return true;
        }
        if (o->session_nv) {
                memcpy(image, o->session_nv, o->nv_size);
                refresh(m, image, o->nv_size);
                return true;
        }
        return build(m, image);
}

static unsigned store_items(SimModel *m, const uint8_t *image, size_t size) {
        Module *o = module_of(m);
        size_t at = 4;
        char file[32];

        while (at + 4 <= size && le16at(image + at) != NV_ID_END) {
                unsigned id = le16at(image + at);
                size_t n = le16at(image + at + 2);
                bool kept;

                if (n > size - at - 4 || !nv_table_find(&o->table, id))
                        return REP_FAILED;
                item_file(id, file, sizeof(file));
                kept = sim_flag(m, OPT_QUECTEL) && !o->phase_seen &&
                       (store_size(m, file) >= 0 || (nv_imei_index(id) >= 0 && store_size(m, IMEI_FILE) >= 0));
                if (!kept && save_item(m, id, image + at + 4, n) < 0)
                        return REP_FAILED;
                at += 4 + ((n + 3) & ~(size_t) 3);
        }
        return 0;
}

unsigned module_nv_store(SimModel *m, const uint8_t *image, size_t n) {
        Module *o = module_of(m);
        uint8_t *old;
        unsigned r;

        if (n < 8 || sim_crc16_arc(image + 2, n - 2) != be16at(image))
                return REP_FAILED;
        old = is_8910(m) ? malloc(o->nv_size) : NULL;
        if (old)
                (void) build(m, old);
        r = store_items(m, image, n);
        if (old) {
                uint8_t *now = malloc(o->nv_size);
                /* Other calibration: what runs on it must be made anew. */
                if (now && build(m, now) && memcmp(old, now, o->nv_size) != 0)
                        (void) store_clear_dir(m, "NVM");
                free(now);
                free(old);
        }
        if (r)
                return r;
        if (o->has_saved_phase) {
                (void) store_put(m, "FFAC/phasecheck.bin", o->saved_phase, PHASE_SIZE);
                o->has_saved_phase = false;
        }
        free(o->saved_nv);
        o->saved_nv = NULL;
        if (!is_8910(m)) {
                free(o->session_nv);
                o->session_nv = malloc(o->nv_size);
                if (o->session_nv) {
                        memset(o->session_nv, 0xFF, o->nv_size);
                        memcpy(o->session_nv, image, n < o->nv_size ? n : o->nv_size);
                }
        }
        return 0;
}
