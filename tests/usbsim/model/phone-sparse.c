/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "phone.h"

#define SPARSE_MAGIC 0xED26FF3Au
#define CHUNK_RAW 0xCAC1
#define CHUNK_FILL 0xCAC2
#define CHUNK_SKIP 0xCAC3
#define CHUNK_CRC 0xCAC4
#define DHTB 0x200

bool sparse_begins(const uint8_t *p, size_t n, size_t *ret_skip) {
        if (n >= 28 && le32at(p) == SPARSE_MAGIC) {
                *ret_skip = 0;
                return true;
        }
        if (n >= DHTB + 28 && memcmp(p, "DHTB", 4) == 0 && le32at(p + DHTB) == SPARSE_MAGIC) {
                *ret_skip = DHTB;
                return true;
        }
        return false;
}

void sparse_start(Sparse *s) {
        *s = (Sparse){.state = SPARSE_HEADER, .need = 28};
}

static void next_chunk(Sparse *s) {
        s->fill = 0;
        s->need = s->chunk_header;
        s->state = s->chunks_left ? SPARSE_CHUNK : SPARSE_DONE;
}

static unsigned file_header(Sparse *s) {
        uint32_t head = le16at(s->head + 8);

        s->chunk_header = le16at(s->head + 10);
        s->block = le32at(s->head + 12);
        s->chunks_left = le32at(s->head + 20);
        if (le16at(s->head + 4) != 1 || head < 28 || s->chunk_header < 12 || s->chunk_header > sizeof(s->head) ||
            s->block == 0 || s->block % 4)
                return REP_FAILED;
        s->left = head - 28;
        s->state = SPARSE_SKIP;
        if (s->left == 0)
                next_chunk(s);
        return 0;
}

static unsigned chunk_header(Sparse *s, const Target *t) {
        uint32_t type = le16at(s->head);
        uint64_t out = (uint64_t) le32at(s->head + 4) * s->block, in = le32at(s->head + 8);

        if (in < s->chunk_header)
                return REP_FAILED;
        in -= s->chunk_header;
        s->chunks_left--;
        if (type != CHUNK_CRC && (out > t->size || s->at > t->size - out))
                return REP_SIZE;
        s->left = in;
        s->fill = 0;
        switch (type) {
        case CHUNK_RAW:
                if (in != out)
                        return REP_FAILED;
                s->state = SPARSE_RAW;
                break;
        case CHUNK_FILL:
                if (in != 4)
                        return REP_FAILED;
                s->fill_size = out;
                s->need = 4;
                s->state = SPARSE_FILL_WORD;
                return 0;
        case CHUNK_SKIP:
                s->at += out;
                s->state = SPARSE_SKIP;
                break;
        case CHUNK_CRC:
                s->state = SPARSE_SKIP;
                break;
        default:
                return REP_FAILED;
        }
        if (s->left == 0)
                next_chunk(s);
        return 0;
}

static unsigned fill_chunk(SimModel *m, Sparse *s, const Target *t) {
        uint8_t block[4096];
        bool same = s->head[0] == s->head[1] && s->head[0] == s->head[2] && s->head[0] == s->head[3];

        for (size_t i = 0; i < sizeof(block); i += 4)
                memcpy(block + i, s->head, 4);
        if (same) {
                if (store_fill(m, t->file, s->at, s->fill_size, s->head[0]) < 0)
                        return REP_WRITE;
        } else
                for (uint64_t done = 0; done < s->fill_size; done += sizeof(block)) {
                        uint64_t step = s->fill_size - done < sizeof(block) ? s->fill_size - done : sizeof(block);
                        if (store_write(m, t->file, s->at + done, block, (size_t) step) < 0)
                                return REP_WRITE;
                }
        s->at += s->fill_size;
        m->bytes_written += s->fill_size;
        sim_work_bytes(m, s->fill_size, OPT_FLASH_RATE);
        next_chunk(s);
        return 0;
}

/* Collects a header or fill word; returns bytes taken. */
static size_t collect(Sparse *s, const uint8_t *p, size_t n) {
        size_t step = s->need - s->fill < n ? s->need - s->fill : n;

        memcpy(s->head + s->fill, p, step);
        s->fill += step;
        return step;
}

unsigned sparse_feed(SimModel *m, Sparse *s, const Target *t, const uint8_t *p, size_t n) {
        while (n && s->state != SPARSE_DONE) {
                size_t step;
                unsigned r = 0;

                if (s->state == SPARSE_RAW || s->state == SPARSE_SKIP) {
                        step = s->left < n ? (size_t) s->left : n;
                        if (s->state == SPARSE_RAW) {
                                if (store_write(m, t->file, s->at, p, step) < 0)
                                        return REP_WRITE;
                                s->at += step;
                                m->bytes_written += step;
                                sim_work_bytes(m, step, OPT_FLASH_RATE);
                        }
                        s->left -= step;
                        if (s->left == 0)
                                next_chunk(s);
                } else {
                        step = collect(s, p, n);
                        if (s->fill == s->need)
                                r = s->state == SPARSE_HEADER  ? file_header(s)
                                    : s->state == SPARSE_CHUNK ? chunk_header(s, t)
                                                               : fill_chunk(m, s, t);
                        if (r)
                                return r;
                }
                p += step;
                n -= step;
        }
        return 0;
}
