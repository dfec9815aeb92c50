/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pacmaker/pacmaker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER 2124u
#define ENTRY 2580u

static void *must(void *p) {
        if (!p) {
                fputs("pacmaker: out of memory\n", stderr);
                abort();
        }
        return p;
}

static void put16(uint8_t *p, unsigned v) {
        p[0] = (uint8_t) (v & 255);
        p[1] = (uint8_t) (v >> 8 & 255);
}

static void put32(uint8_t *p, uint32_t v) {
        put16(p, v & 0xffff);
        put16(p + 2, v >> 16);
}

/* Names of tests are ASCII or Latin-1 at most: one byte, one unit. */
static void put_text(uint8_t *p, size_t units, const char *s) {
        for (size_t i = 0; i < units && s[i]; i++)
                put16(p + 2 * i, (uint8_t) s[i]);
}

/* ---- CRC-16, reflected 0xA001: bit by bit, as slow as it is plain ----------------------------------------- */

static uint16_t crc_byte(uint16_t crc, uint8_t b) {
        crc ^= b;
        for (int i = 0; i < 8; i++)
                crc = (uint16_t) (crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
        return crc;
}

uint16_t pm_crc(uint16_t crc, const void *data, size_t size) {
        static uint16_t of_byte[256];
        const uint8_t *p = data;

        if (of_byte[1] == 0)
                for (unsigned i = 0; i < 256; i++)
                        of_byte[i] = crc_byte(0, (uint8_t) i);
        while (size--)
                crc = (uint16_t) (crc >> 8 ^ of_byte[(crc ^ *p++) & 255]);
        return crc;
}

/* A zero byte is a linear map of the 16 bits: n of them are its n-th power. */
uint16_t pm_crc_zeros(uint16_t crc, uint64_t n) {
        uint16_t map[16], next[16];

        for (int i = 0; i < 16; i++)
                map[i] = crc_byte((uint16_t) (1u << i), 0);
        for (; n > 0; n >>= 1) {
                if (n & 1) {
                        uint16_t out = 0;
                        for (int i = 0; i < 16; i++)
                                out ^= crc >> i & 1 ? map[i] : 0;
                        crc = out;
                }
                for (int i = 0; i < 16; i++) {
                        next[i] = 0;
                        for (int k = 0; k < 16; k++)
                                next[i] ^= map[i] >> k & 1 ? map[k] : 0;
                }
                memcpy(map, next, sizeof(map));
        }
        return crc;
}

/* ---- content -------------------------------------------------------------------------------------------- */

/* Variants of a file have no id: their names tell them apart. */
static const char *seed_of(const PmFile *f) {
        return f->id[0] ? f->id : f->name;
}

static uint64_t start_state(const PacMaker *m, const char *id) {
        uint64_t s = 0x9e3779b97f4a7c15u ^ m->seed * 0xd1342543de82ef95u;

        for (const char *p = id; *p; p++)
                s = (s ^ (uint8_t) *p) * 0x100000001b3u;
        return s | 1;
}

static void fill_random(uint64_t *state, uint8_t *p, size_t size) {
        for (size_t i = 0; i < size; i++) {
                if (i % 8 == 0) {
                        *state ^= *state >> 12;
                        *state ^= *state << 25;
                        *state ^= *state >> 27;
                }
                p[i] = (uint8_t) ((*state * 0x2545f4914f6cdd1du) >> 8 * (i % 8));
        }
}

static uint32_t image_crc(const uint8_t *p, size_t n) {
        uint32_t c = UINT32_MAX;

        while (n--) {
                c ^= *p++;
                for (int bit = 0; bit < 8; bit++)
                        c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        }
        return ~c;
}

static void put32be(uint8_t *p, uint32_t v) {
        for (int i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> 8 * (3 - i));
}

/* The length (and checksums) in the header, which ROMs and loaders look at before they start an image. */
static void seal_head(const PmFile *f, uint8_t *p, size_t size) {
        if (size >= 0x100 && memcmp(f->head, "SIHR", 4) == 0)
                put32(p + 0x24, (uint32_t) size);
        if (size <= 64 || memcmp(f->head, "\x27\x05\x19\x56", 4) != 0)
                return;
        put32be(p + 4, 0);
        put32be(p + 12, (uint32_t) size - 64);
        put32be(p + 24, image_crc(p + 64, size - 64));
        put32be(p + 4, image_crc(p, 64));
}

static void put_head(const PmFile *f, uint8_t *p, size_t size) {
        if (size >= 24 && f->head[0])
                memcpy(p, f->head, strlen(f->head));
        if (size >= 288 && f->mark[0])
                memcpy(p + 256, f->mark, strlen(f->mark));
        if (size >= 24 && f->load_address)
                for (int i = 0; i < 4; i++)
                        p[16 + i] = (uint8_t) (f->load_address >> 8 * (3 - i));
}

static void put_nv_item(uint8_t *data, const PmNvEntry *e, uint64_t *state) {
        fill_random(state, data, e->size);
        if (e->id == 2 && e->size >= 8) {
                put16(data, 0xff0a);
                memset(data + e->size - 4, 0, 4); /* an image of a package is never calibrated */
        }
}

static void fill_nv(const PacMaker *m, const PmFile *f, uint8_t *p) {
        uint64_t state = start_state(m, seed_of(f));
        size_t at = 4;

        memset(p, 0xff, f->size);
        put16(p, 0x1234); /* packages carry no valid checksum: the host has to make it */
        put16(p + 2, 0x1cec);
        for (const PmNvEntry *e = f->nv; e && e->size; e++) {
                if (at + 4 + e->size + 6 > f->size)
                        break;
                put16(p + at, e->id);
                put16(p + at + 2, e->size);
                put_nv_item(p + at + 4, e, &state);
                at += 4 + (e->size + 3u) / 4 * 4;
        }
}

/* One quarter each: raw, fill, skipped, raw; blocks of 4 KiB. Above PM_DENSE most of it is skipped. */
static uint8_t *make_sparse(const PacMaker *m, const PmFile *f, uint64_t *ret_size) {
        uint64_t blocks = f->size / 4096, quarter = blocks / 4, state = start_state(m, seed_of(f)), last, skipped;

        if (f->size > PM_DENSE)
                quarter = 1024;
        skipped = f->size > PM_DENSE ? blocks - 3 * quarter : quarter;
        last = blocks - 2 * quarter - skipped;

        const struct {
                unsigned type;
                uint64_t blocks, bytes;
        } chunks[] = {{0xcac1, quarter, quarter * 4096},
                      {0xcac2, quarter, 4},
                      {0xcac3, skipped, 0},
                      {0xcac1, last, last * 4096}};
        uint64_t total = 28;
        uint8_t *p, *c;

        for (int i = 0; i < 4; i++)
                total += 12 + chunks[i].bytes;
        p = must(calloc(1, total));
        put32(p, 0xed26ff3a);
        put16(p + 4, 1);
        put16(p + 8, 28);
        put16(p + 10, 12);
        put32(p + 12, 4096);
        put32(p + 16, (uint32_t) blocks);
        put32(p + 20, 4);
        c = p + 28;
        for (int i = 0; i < 4; i++) {
                put16(c, chunks[i].type);
                put32(c + 4, (uint32_t) chunks[i].blocks);
                put32(c + 8, (uint32_t) (12 + chunks[i].bytes));
                fill_random(&state, c + 12, chunks[i].bytes);
                c += 12 + chunks[i].bytes;
        }
        *ret_size = total;
        return p;
}

uint8_t *pm_content(PacMaker *m, PmFile *f, uint64_t *ret_size) {
        uint64_t state = start_state(m, seed_of(f));
        uint8_t *p;

        *ret_size = f->data == PM_NONE ? 0 : f->size;
        if (f->data == PM_SPARSE)
                return make_sparse(m, f, ret_size);
        if (*ret_size > PM_DENSE || *ret_size == 0)
                return NULL;
        p = must(malloc(f->size));
        if (f->data == PM_BYTES)
                memcpy(p, f->bytes, f->size);
        else if (f->data == PM_NV)
                fill_nv(m, f, p);
        else {
                fill_random(&state, p, f->size);
                put_head(f, p, f->size);
                seal_head(f, p, f->size);
        }
        return p;
}

/* ---- putting together ------------------------------------------------------------------------------------- */

PacMaker *pm_new(const char *product) {
        PacMaker *m = must(calloc(1, sizeof(*m)));

        snprintf(m->product, sizeof(m->product), "%s", product);
        strcpy(m->product_version, "1.0");
        snprintf(m->alias, sizeof(m->alias), "%.190s", product);
        m->nv_backup = 1;
        m->xml_nv_backup = 1;
        m->seed = 1;
        return m;
}

PacMaker *pm_free(PacMaker *m) {
        for (unsigned i = 0; m && i < m->n_files; i++)
                free(m->files[i].bytes);
        free(m);
        return NULL;
}

static PmFile *add(PacMaker *m, const char *id, const char *type) {
        PmFile *f = m->files + m->n_files++;

        if (m->n_files > PM_FILES_MAX)
                abort();
        snprintf(f->id, sizeof(f->id), "%s", id);
        snprintf(f->alias, sizeof(f->alias), "%s", id);
        snprintf(f->type, sizeof(f->type), "%s", type);
        f->check = f->omit = 1;
        f->backup = -1;
        f->in_table = f->in_xml = true;
        f->n_blocks = 1;
        return f;
}

PmFile *pm_add(PacMaker *m, const char *id, const char *type, uint64_t base, uint64_t block_size) {
        PmFile *f = add(m, id, type);

        f->blocks[0].base = base;
        f->blocks[0].size = block_size;
        return f;
}

PmFile *pm_add_name(PacMaker *m, const char *id, const char *type, const char *partition, uint64_t block_size) {
        PmFile *f = add(m, id, type);

        snprintf(f->blocks[0].id, sizeof(f->blocks[0].id), "%s", partition);
        f->blocks[0].size = block_size;
        return f;
}

PmFile *pm_find(PacMaker *m, const char *id) {
        for (unsigned i = 0; i < m->n_files; i++)
                if (strcmp(m->files[i].id, id) == 0)
                        return m->files + i;
        return NULL;
}

static void needs_file(PmFile *f, const char *name, uint64_t size) {
        snprintf(f->name, sizeof(f->name), "%s", name);
        f->size = size;
        f->xml_flag = 1;
        f->flag = strncmp(f->id, "FDL", 3) == 0 || strcmp(f->id, "HOST_FDL") == 0 ? 0x101 : 1;
        f->xml_check = f->flag == 0x101;
        f->omit = 0;
}

void pm_random(PmFile *f, const char *name, uint64_t size) {
        needs_file(f, name, size);
        f->data = PM_RANDOM;
}

void pm_bytes(PmFile *f, const char *name, const void *data, size_t size) {
        needs_file(f, name, size);
        f->data = PM_BYTES;
        free(f->bytes);
        f->bytes = must(malloc(size ? size : 1));
        memcpy(f->bytes, data, size);
}

PmFile *pm_variant(PacMaker *m, const PmFile *f, const char *name, uint64_t size) {
        PmFile *v = add(m, "", f->type);

        needs_file(v, name, size);
        v->data = f->data;
        v->nv = f->nv;
        memcpy(v->head, f->head, sizeof(v->head));
        v->in_xml = false;
        v->n_blocks = 0;
        return v;
}

void pm_select(PmFile *f, bool on) {
        f->check = on;
        if (!on) {
                f->data = PM_NONE;
                f->size = 0;
        }
}

PmItem *pm_item(PacMaker *m, const char *name, uint32_t id, int keep_going) {
        PmItem *i = m->items + m->n_items++;

        if (m->n_items > PM_ITEMS_MAX)
                abort();
        snprintf(i->name, sizeof(i->name), "%s", name);
        i->id = id;
        i->backup = i->use = 1;
        i->keep_going = keep_going;
        return i;
}

PmPartition *pm_partition(PacMaker *m, const char *name, const char *size) {
        PmPartition *p = m->partitions + m->n_partitions++;

        if (m->n_partitions > PM_PARTITIONS_MAX)
                abort();
        snprintf(p->name, sizeof(p->name), "%s", name);
        snprintf(p->size, sizeof(p->size), "%s", size);
        return p;
}

/* ---- configuration -------------------------------------------------------------------------------------- */

static const char * or (const char *a, const char *b) {
        return a[0] ? a : b;
}

static void print_product(const PacMaker *m, FILE *o) {
        fprintf(o,
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BMAConfig>\n\t<ProductList>\n\t\t<Product name=\"%s\">\n",
                or (m->xml_product, m->product));
        fprintf(o, "\t\t\t<SchemeName>%s</SchemeName>\n\t\t\t<RebootByAT>1</RebootByAT>\n",
                or (m->xml_scheme_of_product, m->product));
        fprintf(o, "\t\t\t<FlashTypeID>%" PRIu32 "</FlashTypeID>\n\t\t\t<Mode>0</Mode>\n%s", m->flash_type_id,
                m->product_extra);
        fprintf(o, "\t\t\t<NVBackup backup=\"%d\">\n", m->xml_nv_backup);
        for (unsigned i = 0; i < m->n_items; i++) {
                const PmItem *n = m->items + i;
                fprintf(o, "\t\t\t\t<NVItem backup=\"%d\" name=\"%s\">\n\t\t\t\t\t<ID>0x%" PRIx32 "</ID>\n", n->backup,
                        n->name, n->id);
                fprintf(o, "\t\t\t\t\t<BackupFlag use=\"%d\">\n", n->use);
                if (n->keep_going)
                        fputs("\t\t\t\t\t\t<NVFlag check=\"1\" name=\"Continue\"/>\n", o);
                fputs("\t\t\t\t\t</BackupFlag>\n\t\t\t\t</NVItem>\n", o);
        }
        fputs("\t\t\t</NVBackup>\n", o);
        if (m->n_partitions > 0) {
                fputs("\t\t\t<Partitions", o);
                if (m->partitions_unit[0])
                        fprintf(o, " unit=\"%s\"", m->partitions_unit);
                fputs(">\n", o);
                for (unsigned i = 0; i < m->n_partitions; i++)
                        fprintf(o, "\t\t\t\t<Partition id=\"%s\" size=\"%s\"/>\n", m->partitions[i].name,
                                m->partitions[i].size);
                fputs("\t\t\t</Partitions>\n", o);
        }
        fputs("\t\t\t<Chips enable=\"0\"/>\n\t\t</Product>\n\t</ProductList>\n", o);
}

static void print_file(const PmFile *f, FILE *o) {
        fputs("\t\t\t<File", o);
        if (f->backup >= 0)
                fprintf(o, " backup=\"%d\"", f->backup);
        fprintf(o, "%s%s>\n\t\t\t\t<ID>%s</ID>\n", f->attributes[0] ? " " : "", f->attributes, f->id);
        fprintf(o, "\t\t\t\t<IDAlias>%s</IDAlias>\n\t\t\t\t<Type>%s</Type>\n", f->alias, f->type);
        for (unsigned i = 0; i < f->n_blocks; i++) {
                fputs("\t\t\t\t<Block", o);
                if (f->blocks[i].id[0])
                        fprintf(o, " id=\"%s\"", f->blocks[i].id);
                fprintf(o,
                        ">\n\t\t\t\t\t<Base>0x%" PRIx64 "</Base>\n\t\t\t\t\t<Size>0x%" PRIx64
                        "</Size>\n\t\t\t\t</Block>\n",
                        f->blocks[i].base, f->blocks[i].size);
        }
        fprintf(o,
                "\t\t\t\t<Flag>%d</Flag>\n\t\t\t\t<CheckFlag>%d</CheckFlag>\n\t\t\t\t<Description>%s</"
                "Description>\n\t\t\t</File>\n",
                f->xml_flag, f->xml_check, f->alias);
}

static char *make_xml(PacMaker *m, size_t *ret_size) {
        char *xml = NULL;
        FILE *o = must(open_memstream(&xml, ret_size));

        print_product(m, o);
        fprintf(o, "\t<SchemeList>\n\t\t<Scheme name=\"%s\">\n", or (m->xml_scheme, m->product));
        for (unsigned i = 0; i < m->n_files; i++)
                if (m->files[i].in_xml)
                        print_file(m->files + i, o);
        fputs("\t\t</Scheme>\n\t</SchemeList>\n</BMAConfig>\n", o);
        fclose(o);
        if (m->change_xml)
                m->change_xml(m, &xml, ret_size, m->userdata);
        return xml;
}

void pm_replace(char **xml, size_t *size, const char *from, const char *to) {
        char *out = NULL, *p = *xml, *hit;
        size_t out_size;
        FILE *o = must(open_memstream(&out, &out_size));

        while ((hit = memmem(p, *size - (size_t) (p - *xml), from, strlen(from)))) {
                fwrite(p, 1, (size_t) (hit - p), o);
                fputs(to, o);
                p = hit + strlen(from);
        }
        fwrite(p, 1, *size - (size_t) (p - *xml), o);
        fclose(o);
        free(*xml);
        *xml = out;
        *size = out_size;
}

/* ---- header, table, data ---------------------------------------------------------------------------------- */

typedef struct Piece {
        const PmFile *file; /* NULL: the configuration */
        uint8_t *bytes;     /* NULL with size > 0: holes */
        uint64_t size;
} Piece;

typedef struct Build {
        PacMaker *m;
        unsigned n;
        Piece pieces[PM_FILES_MAX + 1];
        uint64_t total;
        bool wide;
        uint8_t header[HEADER], *table;
} Build;

static void collect(Build *b) {
        PacMaker *m = b->m;
        size_t xml_size;

        for (unsigned i = 0; i < m->n_files; i++) {
                PmFile *f = m->files + (m->reverse_table ? m->n_files - 1 - i : i);
                Piece *p = b->pieces + b->n;

                if (!f->in_table)
                        continue;
                p->file = f;
                p->bytes = pm_content(m, f, &p->size);
                b->n++;
        }
        b->pieces[b->n].bytes = (uint8_t *) make_xml(m, &xml_size);
        b->pieces[b->n++].size = xml_size;
        b->total = HEADER + (uint64_t) ENTRY * b->n;
        for (unsigned i = 0; i < b->n; i++)
                b->total += b->pieces[i].size;
        b->total += m->trailing;
        b->wide = m->version ? m->version == 2 : b->total > UINT32_MAX;
}

static void put_entry(const Build *b, uint8_t *e, const Piece *p, uint64_t offset) {
        const PmFile *f = p->file;
        char name[310];

        put32(e, ENTRY);
        if (p->size == 0)
                offset = 0;
        put32(e + 1532, (uint32_t) (p->size >> 32));
        put32(e + 1536, (uint32_t) (offset >> 32));
        put32(e + 1540, (uint32_t) p->size);
        put32(e + 1552, (uint32_t) offset);
        if (!f) {
                snprintf(name, sizeof(name), "%s.xml", b->m->product);
                put_text(e + 516, 255, name);
                put32(e + 1544, 2);
                return;
        }
        put_text(e + 4, 256, f->id);
        put_text(e + 516, 256, f->name);
        put32(e + 1544, f->flag);
        put32(e + 1548, f->check);
        put32(e + 1556, f->omit);
        put32(e + 1560, f->n_blocks > 5 ? 5 : f->n_blocks);
        for (unsigned i = 0; i < f->n_blocks && i < 5; i++)
                put32(e + 1564 + 4 * i, (uint32_t) f->blocks[i].base);
}

static void put_header(Build *b) {
        const PacMaker *m = b->m;
        uint8_t *h = b->header;

        put_text(h, 22, b->wide ? "BP_R2.0.1" : "BP_R1.0.0");
        put32(h + 44, (uint32_t) (b->total >> 32));
        put32(h + 48, (uint32_t) b->total);
        put_text(h + 52, 256, m->product);
        put_text(h + 564, 256, m->product_version);
        put32(h + 1076, b->n);
        put32(h + 1080, HEADER);
        put32(h + 1084, m->mode);
        put32(h + 1088, m->flash_type);
        put32(h + 1092, m->nand_strategy);
        put32(h + 1096, m->nv_backup);
        put_text(h + 1104, 100, m->alias);
        put32(h + 1308, 1);
        put32(h + 1312, 1);
        put32(h + 2116, 0xfffafffa);
}

/* Above PM_DENSE: the ends are random, the middle is a hole. */
static uint8_t *big_end(const PacMaker *m, const PmFile *f, bool tail) {
        uint64_t state = start_state(m, seed_of(f)) + (tail ? 2 : 0);
        uint8_t *p = must(malloc(PM_END));

        fill_random(&state, p, PM_END);
        if (!tail)
                put_head(f, p, PM_END);
        return p;
}

static uint16_t crc_piece(const PacMaker *m, const Piece *p, uint16_t crc) {
        if (p->bytes)
                return pm_crc(crc, p->bytes, p->size);
        if (p->size == 0)
                return crc;
        for (int tail = 0; tail < 2; tail++) {
                uint8_t *end = big_end(m, p->file, tail);
                if (tail)
                        crc = pm_crc_zeros(crc, p->size - 2 * PM_END);
                crc = pm_crc(crc, end, PM_END);
                free(end);
        }
        return crc;
}

static void put_all(Build *b) {
        uint64_t offset = HEADER + (uint64_t) ENTRY * b->n;
        uint16_t crc;

        b->table = must(calloc(b->n, ENTRY));
        for (unsigned i = 0; i < b->n; i++) {
                put_entry(b, b->table + (size_t) ENTRY * i, b->pieces + i, offset);
                offset += b->pieces[i].size;
        }
        put_header(b);
        if (b->m->change_table)
                b->m->change_table(b->m, b->header, b->table, b->n, b->m->userdata);
        crc = pm_crc(0, b->table, (size_t) ENTRY * b->n);
        for (unsigned i = 0; i < b->n; i++)
                crc = crc_piece(b->m, b->pieces + i, crc);
        crc = pm_crc_zeros(crc, b->m->trailing);
        put16(b->header + 2120, pm_crc(0, b->header, 2120));
        put16(b->header + 2122, crc);
        if (b->m->change_sums)
                b->m->change_sums(b->m, b->header, b->m->userdata);
}

static int put_fd(int fd, const uint8_t *p, size_t size, uint64_t at) {
        while (size > 0) {
                ssize_t n = pwrite(fd, p, size, (off_t) at);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                p += n;
                size -= (size_t) n;
                at += (uint64_t) n;
        }
        return 0;
}

static int put_piece(const PacMaker *m, int fd, const Piece *p, uint64_t at) {
        int r = 0;

        if (p->bytes)
                return put_fd(fd, p->bytes, p->size, at);
        for (int tail = 0; p->size > 0 && r == 0 && tail < 2; tail++) {
                uint8_t *end = big_end(m, p->file, tail);
                r = put_fd(fd, end, PM_END, tail ? at + p->size - PM_END : at);
                free(end);
        }
        return r;
}

static void drop(Build *b) {
        for (unsigned i = 0; i < b->n; i++)
                free(b->pieces[i].bytes);
        free(b->table);
        free(b);
}

int pm_write(PacMaker *m, int fd) {
        Build *b = must(calloc(1, sizeof(*b)));
        uint64_t at;
        int r;

        b->m = m;
        collect(b);
        put_all(b);
        at = HEADER + (uint64_t) ENTRY * b->n;
        r = ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t) b->total) < 0 ? -errno : 0;
        if (r == 0)
                r = put_fd(fd, b->header, HEADER, 0);
        if (r == 0)
                r = put_fd(fd, b->table, at - HEADER, HEADER);
        for (unsigned i = 0; r == 0 && i < b->n; i++) {
                r = put_piece(m, fd, b->pieces + i, at);
                at += b->pieces[i].size;
        }
        drop(b);
        return r;
}

int pm_build(PacMaker *m, uint8_t **ret, size_t *ret_size) {
        Build *b = must(calloc(1, sizeof(*b)));
        size_t at;

        b->m = m;
        collect(b);
        put_all(b);
        *ret = must(calloc(1, b->total));
        *ret_size = b->total;
        at = HEADER + (size_t) ENTRY * b->n;
        memcpy(*ret, b->header, HEADER);
        memcpy(*ret + HEADER, b->table, at - HEADER);
        for (unsigned i = 0; i < b->n; i++) {
                if (b->pieces[i].bytes)
                        memcpy(*ret + at, b->pieces[i].bytes, b->pieces[i].size);
                at += b->pieces[i].size;
        }
        drop(b);
        return 0;
}
