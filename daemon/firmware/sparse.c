/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/sparse.h"

#include <stdarg.h>

#define MAGIC 0xed26ff3au
#define CHUNK_HEADER_SIZE 12u
#define HEADERS_MAX 64u /* longer ones than those of version 1.0 are allowed, but nobody knows of any */
#define BLOCK_MAX (64u * 1024 * 1024)
#define COPY_SIZE 16384u

enum { CHUNK_RAW = 0xcac1, CHUNK_FILL = 0xcac2, CHUNK_SKIP = 0xcac3, CHUNK_CRC = 0xcac4 };

/* ---- CRC-32 ----------------------------------------------------------------------------------------------- */

/* A step of the register over data that do not depend on it: s → M·s ^ c, over GF(2). */
typedef struct Map {
        uint32_t column[32], constant;
} Map;

static uint32_t one_byte(uint32_t crc, uint8_t byte) {
        crc ^= byte;
        for (int i = 0; i < 8; i++)
                crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        return crc;
}

/* Eight bytes at a time: images have gigabytes. */
typedef struct CrcTable {
        uint32_t at[8][256];
} CrcTable;

static void make_table(CrcTable *t) {
        for (unsigned i = 0; i < 256; i++)
                t->at[0][i] = one_byte(0, (uint8_t) i);
        for (unsigned k = 1; k < 8; k++)
                for (unsigned i = 0; i < 256; i++)
                        t->at[k][i] = t->at[k - 1][i] >> 8 ^ t->at[0][t->at[k - 1][i] & 0xff];
}

static uint32_t crc_data(const CrcTable *t, uint32_t crc, const uint8_t *p, size_t size) {
        for (; size >= 8; p += 8, size -= 8) {
                uint32_t a = get_le32(p) ^ crc, b = get_le32(p + 4);

                crc = t->at[7][a & 0xff] ^ t->at[6][a >> 8 & 0xff] ^ t->at[5][a >> 16 & 0xff] ^ t->at[4][a >> 24] ^
                      t->at[3][b & 0xff] ^ t->at[2][b >> 8 & 0xff] ^ t->at[1][b >> 16 & 0xff] ^ t->at[0][b >> 24];
        }
        while (size--)
                crc = crc >> 8 ^ t->at[0][(crc ^ *p++) & 0xff];
        return crc;
}

static uint32_t map_linear(const Map *m, uint32_t s) {
        uint32_t out = 0;

        for (int i = 0; i < 32; i++)
                out ^= s >> i & 1 ? m->column[i] : 0;
        return out;
}

static void map_twice(Map *m) {
        Map twice;

        for (int i = 0; i < 32; i++)
                twice.column[i] = map_linear(m, m->column[i]);
        twice.constant = map_linear(m, m->constant) ^ m->constant;
        *m = twice;
}

/* The same four bytes n times, in time of log n: a chunk of a few bytes may stand for terabytes. */
static uint32_t crc_repeated(uint32_t crc, uint32_t word, uint64_t n) {
        Map m;

        if (n == 0)
                return crc;
        for (int i = 0; i < 32; i++) {
                m.column[i] = 1u << i;
                for (int k = 0; k < 4; k++)
                        m.column[i] = one_byte(m.column[i], 0);
        }
        m.constant = map_linear(&m, word);
        for (; n > 0; n >>= 1) {
                if (n & 1)
                        crc = map_linear(&m, crc) ^ m.constant;
                if (n > 1)
                        map_twice(&m);
        }
        return crc;
}

/* ---- the walk --------------------------------------------------------------------------------------------- */

typedef struct Walk {
        const PacReader *reader;
        SparseInfo *info;
        Failure *f;
        uint64_t room, at;           /* at: within the file */
        uint64_t blocks;             /* covered so far */
        uint32_t n_blocks, n_chunks; /* as the header says */
        uint32_t header_crc;
        uint16_t chunk_header;
        bool summing;                /* second walk: over the data */
        bool has_crc;
        /* Writers disagree whether what is left out counts as zeros: one register for each. */
        uint32_t crc, crc_short;
        CrcTable table;
        SparseData tell;
        void *userdata;
} Walk;

static int wrong(Walk *w, uint64_t at, const char *field, const char *format, ...) _printf_(4, 5);
static int wrong(Walk *w, uint64_t at, const char *field, const char *format, ...) {
        char what[160];
        va_list ap;

        va_start(ap, format);
        vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        if (w->f)
                w->f->offset = at;
        return failure_set(w->f, CLASS_PLAN, "sparse", "the sparse image is wrong at byte %llu, %s: %s",
                           (unsigned long long) at, field, what);
}

static int fetch(Walk *w, void *data, size_t size, const char *field) {
        if (size > w->reader->size || w->at > w->reader->size - size)
                return wrong(w, w->at, field, "the file ends there");
        return w->reader->read(w->reader->userdata, data, size, w->at);
}

bool sparse_detect(const void *head, size_t size, uint64_t *ret_prefix) {
        const uint8_t *p = head;

        if (size >= SPARSE_HEADER_SIZE && get_le32(p) == MAGIC) {
                *ret_prefix = 0;
                return true;
        }
        if (size >= SPARSE_HEAD_SIZE && memcmp(p, "DHTB", 4) == 0 && get_le32(p + SPARSE_PREFIX_SIZE) == MAGIC) {
                *ret_prefix = SPARSE_PREFIX_SIZE;
                return true;
        }
        return false;
}

static int check_header(Walk *w, const uint8_t *h) {
        uint16_t size = get_le16(h + 8);
        uint32_t block = get_le32(h + 12);

        if (get_le16(h + 4) != 1)
                return wrong(w, w->at + 4, "major version", "%u, only 1 is known", get_le16(h + 4));
        if (size < SPARSE_HEADER_SIZE || size > HEADERS_MAX)
                return wrong(w, w->at + 8, "size of the header", "%u", size);
        w->chunk_header = get_le16(h + 10);
        if (w->chunk_header < CHUNK_HEADER_SIZE || w->chunk_header > HEADERS_MAX)
                return wrong(w, w->at + 10, "size of chunk headers", "%u", w->chunk_header);
        if (block == 0 || block % 4 != 0 || block > BLOCK_MAX)
                return wrong(w, w->at + 12, "size of a block", "%u", block);
        w->n_blocks = get_le32(h + 16);
        w->n_chunks = get_le32(h + 20);
        w->header_crc = get_le32(h + 24);
        w->has_crc = w->header_crc != 0;
        if (w->n_blocks == 0)
                return wrong(w, w->at + 16, "number of blocks", "0");
        w->info->block = block;
        w->info->chunks = w->n_chunks;
        w->info->expanded = (uint64_t) w->n_blocks * block;
        w->at += size;
        if (w->info->expanded <= w->room)
                return 0;
        return failure_set(w->f, CLASS_MISMATCH, "sparse-size",
                           "the sparse image expands to %llu bytes, its partition has %llu",
                           (unsigned long long) w->info->expanded, (unsigned long long) w->room);
}

static int read_header(Walk *w) {
        uint8_t head[SPARSE_HEAD_SIZE];
        size_t n = (size_t) MIN(w->reader->size, (uint64_t) sizeof(head));
        int r;

        w->at = 0;
        r = fetch(w, head, n, "header");
        if (r != 0)
                return r;
        if (!sparse_detect(head, n, &w->info->prefix))
                return wrong(w, 0, "header", "this is no sparse image");
        w->at = w->info->prefix;
        return check_header(w, head + w->info->prefix);
}

static int sum_raw(Walk *w, uint64_t at, uint64_t size) {
        uint8_t copy[COPY_SIZE];

        while (size > 0) {
                size_t n = (size_t) MIN(size, (uint64_t) sizeof(copy));
                int r = w->reader->read(w->reader->userdata, copy, n, at);

                if (r != 0)
                        return r;
                w->crc = crc_data(&w->table, w->crc, copy, n);
                w->crc_short = crc_data(&w->table, w->crc_short, copy, n);
                at += n;
                size -= n;
        }
        return 0;
}

static int check_sum(Walk *w, uint64_t at, const char *field, uint32_t want) {
        if (!w->summing || want == ~w->crc || want == ~w->crc_short)
                return 0;
        return wrong(w, at, field, "it is 0x%08x, the data give 0x%08x", want, ~w->crc);
}

/* Fill and CRC chunks carry one number. */
static int number_chunk(Walk *w, uint64_t data, uint16_t type, uint64_t n_words) {
        uint64_t chunk = w->at;
        uint8_t number[4];
        int r;

        w->at = data;
        r = fetch(w, number, sizeof(number), type == CHUNK_CRC ? "CRC" : "fill value");
        w->at = chunk;
        if (r != 0)
                return r;
        if (type == CHUNK_CRC) {
                w->has_crc = true;
                return check_sum(w, data, "CRC", get_le32(number));
        }
        if (w->summing) {
                w->crc = crc_repeated(w->crc, get_le32(number), n_words);
                w->crc_short = crc_repeated(w->crc_short, get_le32(number), n_words);
        }
        return 0;
}

static const char *chunk_word(uint16_t type) {
        switch (type) {
        case CHUNK_RAW:
                return "raw chunk";
        case CHUNK_FILL:
                return "fill chunk";
        case CHUNK_SKIP:
                return "skipped chunk";
        default:
                return "CRC chunk";
        }
}

static int chunk_content(Walk *w, uint16_t type, uint64_t out, uint64_t in) {
        uint64_t data = w->at + w->chunk_header;
        uint64_t want = type == CHUNK_RAW ? out : type == CHUNK_SKIP ? 0 : 4;

        if (in != want)
                return wrong(w, w->at + 8, chunk_word(type), "it carries %llu bytes instead of %llu",
                             (unsigned long long) in, (unsigned long long) want);
        if (in > w->reader->size - data)
                return wrong(w, data, chunk_word(type), "the file ends in the middle of it");
        if (type == CHUNK_FILL || type == CHUNK_CRC)
                return number_chunk(w, data, type, out / 4);
        if (!w->summing)
                return 0;
        if (type == CHUNK_RAW)
                return sum_raw(w, data, in);
        w->crc = crc_repeated(w->crc, 0, out / 4);
        return 0;
}

static int tell_chunk(Walk *w, uint16_t type, uint32_t blocks) {
        uint64_t at = w->blocks * w->info->block, size = (uint64_t) blocks * w->info->block, data = w->at + w->chunk_header;
        uint8_t word[4];
        int r;

        if (type == CHUNK_RAW)
                return w->tell(w->userdata, at, size, data, 0);
        if (type != CHUNK_FILL)
                return 0;
        r = w->reader->read(w->reader->userdata, word, sizeof(word), data);
        return r != 0 ? r : w->tell(w->userdata, at, size, U64_UNKNOWN, get_le32(word));
}

static int read_chunk(Walk *w) {
        uint8_t h[CHUNK_HEADER_SIZE];
        uint32_t blocks, total;
        uint16_t type;
        int r = fetch(w, h, sizeof(h), "chunk header");

        if (r != 0)
                return r;
        type = get_le16(h);
        blocks = get_le32(h + 4);
        total = get_le32(h + 8);
        if (type < CHUNK_RAW || type > CHUNK_CRC)
                return wrong(w, w->at, "kind of chunk", "0x%04x is not known", type);
        if (total < w->chunk_header || w->chunk_header > w->reader->size - w->at)
                return wrong(w, w->at + 8, "size of the chunk", "%u", total);
        if (type == CHUNK_CRC && blocks != 0)
                return wrong(w, w->at + 4, "blocks of a CRC chunk", "%u instead of none", blocks);
        if (blocks > w->n_blocks - w->blocks)
                return wrong(w, w->at + 4, "blocks of the chunk", "%u, but only %llu are left of the %u of the image",
                             blocks, (unsigned long long) (w->n_blocks - w->blocks), w->n_blocks);
        r = chunk_content(w, type, (uint64_t) blocks * w->info->block, total - w->chunk_header);
        if (r == 0 && w->tell && blocks > 0)
                r = tell_chunk(w, type, blocks);
        w->blocks += blocks;
        w->at += total;
        return r;
}

static int walk(Walk *w) {
        int r = read_header(w);

        w->blocks = 0;
        w->crc = w->crc_short = UINT32_MAX;
        for (uint32_t i = 0; r == 0 && i < w->n_chunks; i++)
                r = read_chunk(w);
        if (r != 0)
                return r;
        if (w->blocks != w->n_blocks)
                return wrong(w, w->at, "blocks of all chunks", "%llu, the header says %u",
                             (unsigned long long) w->blocks, w->n_blocks);
        /* Behind a signed image stands its signature. */
        if (w->at != w->reader->size && w->info->prefix == 0)
                return wrong(w, w->at, "end", "%llu bytes follow that belong to no chunk",
                             (unsigned long long) (w->reader->size - w->at));
        return w->header_crc != 0 ? check_sum(w, w->info->prefix + 24, "CRC in the header", w->header_crc) : 0;
}

int sparse_check(const PacReader *reader, uint64_t room, SparseInfo *ret, Failure *f) {
        Walk w = {.reader = reader, .info = ret, .room = room, .f = f};
        bool has_crc;
        int r;

        *ret = (SparseInfo){};
        r = walk(&w);
        has_crc = w.has_crc;
        if (r != 0 || !has_crc)
                return r;
        make_table(&w.table);
        w.summing = true;
        r = walk(&w);
        ret->summed = r == 0;
        return r;
}

int sparse_data(const PacReader *reader, SparseData tell, void *userdata) {
        SparseInfo info = {};
        Walk w = {.reader = reader, .info = &info, .room = U64_UNKNOWN, .tell = tell, .userdata = userdata};

        return walk(&w);
}
