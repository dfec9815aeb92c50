/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvimage.h"

static const uint16_t imei_ids[] = {0x5, 0x179, 0x186, 0x1E4};

int nv_imei_index(unsigned id) {
        for (size_t i = 0; i < COUNT(imei_ids); i++)
                if (imei_ids[i] == id)
                        return (int) i;
        return -1;
}

static int read_table(FILE *f, NvTable *t, char *err, size_t err_size) {
        char line[128];

        for (unsigned n = 1; fgets(line, sizeof(line), f); n++) {
                unsigned id, length;
                NvLength *grown;
                char *end;

                if (line[strspn(line, " \t\r\n")] == 0 || line[0] == '#')
                        continue;
                id = (unsigned) strtoul(line, &end, 0);
                length = (unsigned) strtoul(end, &end, 0);
                if (id >= NV_ID_END || length == 0 || length > 0xFFFF) {
                        snprintf(err, err_size, "NV table, line %u: 'ID LENGTH' is needed", n);
                        return -EINVAL;
                }
                grown = realloc(t->items, (t->n + 1) * sizeof(*grown));
                if (!grown || t->n > 4096)
                        return -ENOMEM;
                t->items = grown;
                t->items[t->n++] = (NvLength){(uint16_t) id, (uint16_t) length};
        }
        return 0;
}

static void reverse(NvTable *t) {
        for (size_t i = 0; i < t->n / 2; i++) {
                NvLength item = t->items[i];

                t->items[i] = t->items[t->n - 1 - i];
                t->items[t->n - 1 - i] = item;
        }
}

static int load(SimModel *m, const NvLength *preset, size_t n, NvTable *ret, char *err, size_t err_size) {
        const char *file = m->option[OPT_NV];
        FILE *f;
        int r;

        *ret = (NvTable){0};
        if (!strchr(file, '/')) {
                ret->items = malloc(n * sizeof(*preset));
                if (!ret->items)
                        return -ENOMEM;
                memcpy(ret->items, preset, n * sizeof(*preset));
                ret->n = n;
                return 0;
        }
        f = fopen(file, "re");
        if (!f) {
                snprintf(err, err_size, "NV table %s: %s", file, strerror(errno));
                return -errno;
        }
        r = read_table(f, ret, err, err_size);
        fclose(f);
        return r;
}

int nv_table_load(SimModel *m, const NvLength *preset, size_t n, NvTable *ret, char *err, size_t err_size) {
        int r = load(m, preset, n, ret, err, err_size);

        if (r >= 0 && sim_word(m, OPT_NV_ORDER, "reversed"))
                reverse(ret);
        return r;
}

const NvLength *nv_table_find(const NvTable *t, unsigned id) {
        for (size_t i = 0; i < t->n; i++)
                if (t->items[i].id == id)
                        return &t->items[i];
        return NULL;
}

void nv_imei_text(SimModel *m, int index, char ret[16]) {
        SimRandom random = sim_random(m->seed, "imei");
        unsigned sum = 0;

        memcpy(ret, "86", 2);
        for (int skip = 0; skip < index; skip++)
                (void) sim_random_next(&random);
        snprintf(ret + 2, 13, "%012llu", (unsigned long long) (sim_random_next(&random) % 1000000000000ull));
        for (int i = 0; i < 14; i++) {
                unsigned d = (unsigned) (ret[i] - '0') * (i & 1 ? 2 : 1);
                sum += d / 10 + d % 10;
        }
        ret[14] = (char) ('0' + (10 - sum % 10) % 10);
        ret[15] = 0;
}

/* BCD, low nibble of the first byte is the type of identity. */
static void make_imei(SimModel *m, int index, uint8_t data[8]) {
        char digits[16];

        nv_imei_text(m, index, digits);
        data[0] = (uint8_t) ((digits[0] - '0') << 4 | 0xA);
        for (int i = 1; i < 8; i++)
                data[i] = (uint8_t) ((digits[2 * i] - '0') << 4 | (digits[2 * i - 1] - '0'));
}

void nv_make_item(SimModel *m, unsigned id, uint8_t *data, size_t length) {
        char label[32];
        SimRandom random;

        snprintf(label, sizeof(label), "nv %x", id);
        random = sim_random(m->seed, label);
        sim_random_fill(&random, data, length);
        if (nv_imei_index(id) >= 0 && length == 8)
                make_imei(m, nv_imei_index(id), data);
        if (id == NV_ID_CALIBRATION && length >= 6020) {
                /* Structure version 0xFF0A; its last word is the calibration flag. */
                le32to(data, 0xFF0A);
                le32to(data + 6016, sim_flag(m, OPT_UNCALIBRATED) ? 0 : 0x00000007);
        }
        if (id == NV_ID_LTE_CALIBRATION && length >= 4)
                le16to(data + 2, sim_flag(m, OPT_UNCALIBRATED_LTE) ? 0 : 7);
}

size_t nv_put_item(uint8_t *image, size_t size, size_t at, unsigned id, const uint8_t *data, size_t length) {
        size_t padded = (length + 3) & ~(size_t) 3;

        if (at + 4 + padded + 4 > size)
                return 0;
        le16to(image + at, id);
        le16to(image + at + 2, (unsigned) length);
        memcpy(image + at + 4, data, length);
        memset(image + at + 4 + length, 0, padded - length);
        return at + 4 + padded;
}

void nv_finish(uint8_t *image, size_t size, size_t at, unsigned stamp) {
        memset(image + at, 0xFF, size - at);
        le16to(image + 2, stamp);
        be16to(image, sim_crc16_arc(image + 2, size - 2));
}

bool nv_make_image(SimModel *m, const NvTable *t, bool imei_first, uint8_t *image, size_t size) {
        uint8_t *data = malloc(0x10000);
        size_t at = 4;

        if (!data)
                return false;
        for (int pass = imei_first ? 0 : 1; pass < 2 && at; pass++)
                for (size_t i = 0; i < t->n && at; i++) {
                        bool imei = nv_imei_index(t->items[i].id) >= 0;
                        if (imei_first && imei != (pass == 0))
                                continue;
                        nv_make_item(m, t->items[i].id, data, t->items[i].length);
                        at = nv_put_item(image, size, at, t->items[i].id, data, t->items[i].length);
                }
        free(data);
        if (at)
                nv_finish(image, size, at, 0x0040);
        return at != 0;
}
