/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/ext-table.h"

#define HEAD_SIZE (4 + 12)
#define NAME_SIZE 72
#define RECORD_SIZE (2 * NAME_SIZE + 8)

static void put_name(uint8_t *to, const char *name) {
        for (size_t i = 0; name[i]; i++)
                to[2 * i] = (uint8_t) name[i];
}

static void put_record(uint8_t *to, const PacExtPartition *p) {
        put_name(to, p->name);
        put_name(to + NAME_SIZE, p->twin);
        put_le32(to + 2 * (size_t) NAME_SIZE, p->size);
        to[2 * NAME_SIZE + 4] = p->type;
}

int ext_table_build(const Pac *pac, uint8_t **ret, size_t *ret_size) {
        size_t size = HEAD_SIZE + pac->n_ext_partitions * RECORD_SIZE;
        uint8_t *p;

        *ret = NULL;
        *ret_size = 0;
        if (!pac->ext_tag[0])
                return 0;
        p = calloc(1, size);
        if (!p)
                return -ENOMEM;
        put_le32(p, 1);
        memcpy(p + 4, pac->ext_tag, 4);
        put_le32(p + 8, HEAD_SIZE);
        put_le32(p + 12, (uint32_t) (size - HEAD_SIZE));
        for (size_t i = 0; i < pac->n_ext_partitions; i++)
                put_record(p + HEAD_SIZE + i * RECORD_SIZE, pac->ext_partitions + i);
        *ret = p;
        *ret_size = size;
        return 0;
}
