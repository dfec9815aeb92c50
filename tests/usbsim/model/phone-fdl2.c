/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone.h"

/* FDL2 of the phone: U-Boot with partitions by name. */

#define NAME_BYTES 72
#define HOLE 65536u
#define MISC_LOG_LEVEL 0x2400u
#define MISC_FIRST_MODE 0x2420u
#define MISC_DATE_TIME 0x81400u
#define MISC_STAMP 0x2700u
#define STAMP_MAGIC 0x5445537Eu
#define EXT_HEAD 12u
#define EXT_RECORD 152u

/* Low byte of each UTF-16 unit, 35 characters at most. */
static void decode_name(const uint8_t *d, char name[PHONE_NAME]) {
        size_t i;

        for (i = 0; i < PHONE_NAME - 1 && d[2 * i]; i++)
                name[i] = (char) d[2 * i];
        name[i] = 0;
}

static uint64_t decode_size(const SimModel *m, const uint8_t *d, size_t n, char name[PHONE_NAME]) {
        name[0] = 0;
        if (n < NAME_BYTES + 4)
                return 0;
        decode_name(d, name);
        return n >= 0x58 && !phone_kind(m)->old ? le64at(d + NAME_BYTES) : le32at(d + NAME_BYTES);
}

/* ---- hello ---- */

/* LK asks in the 36th unit of the name for the NV of the active slot. */
static bool find_target(SimModel *m, const uint8_t *d, size_t n, const char *name, Target *ret, bool *active) {
        *active = phone_kind(m)->lk && n >= NAME_BYTES && le16at(d + 70) == 0x31;
        return *active ? phone_find_active(m, name, ret) : phone_find(m, name, ret);
}

/* LK has words of its own for some failures. */
static unsigned or_lk(const SimModel *m, unsigned code, unsigned lk) {
        return phone_kind(m)->lk ? lk : code;
}

static uint32_t storage_type(const SimModel *m) {
        return sim_word(m, OPT_STORAGE, "nand")   ? 0x101
               : sim_word(m, OPT_STORAGE, "emmc") ? 0x102
               : sim_word(m, OPT_STORAGE, "ufs")  ? 0x103
                                                  : 0;
}

static size_t info_struct(const SimModel *m, uint8_t *b) {
        unsigned version = (unsigned) m->number[OPT_INFO_VERSION];

        le32to(b, version);
        le32to(b + 4, sim_word(m, OPT_HDLC, "can-off"));
        if (version <= 1)
                return 8;
        b[8] = (uint8_t) m->number[OPT_OLD_MEMORY];
        b[9] = version >= 4 ? (uint8_t) m->number[OPT_RAW] : 0;
        le32to(b + 12, version >= 4 ? 2048 : 0);
        le32to(b + 16, storage_type(m));
        return 256;
}

static size_t put_tlv(uint8_t *b, size_t at, unsigned type, const void *value, size_t n) {
        le16to(b + at, type);
        le16to(b + at + 2, (unsigned) n);
        memcpy(b + at + 4, value, n);
        return at + 4 + n;
}

/* All ones where nobody has set one. */
static bool read_stamp(SimModel *m, uint8_t ret[8]) {
        uint8_t b[12];
        Target t;

        memset(ret, 0xFF, 8);
        if (!phone_find(m, "miscdata", &t) || store_read(m, t.file, MISC_STAMP, b, sizeof(b)) < 0 ||
            le32at(b) != STAMP_MAGIC)
                return false;
        memcpy(ret, b + 4, 8);
        return true;
}

static size_t info_tlv(SimModel *m, uint8_t *b) {
        uint8_t v[260] = {0};
        size_t at = 4;

        le32to(b, 0x7477656E);
        le32to(v, sim_word(m, OPT_HDLC, "can-off"));
        at = put_tlv(b, at, 0, v, 4);
        v[0] = (uint8_t) m->number[OPT_OLD_MEMORY];
        at = put_tlv(b, at, 1, v, 1);
        v[0] = (uint8_t) m->number[OPT_RAW];
        at = put_tlv(b, at, 2, v, 1);
        le32to(v, 2048);
        at = put_tlv(b, at, 3, v, 4);
        if (sim_word(m, OPT_GATE, "challenge")) {
                SimRandom random = sim_random(m->seed, "challenge");
                le32to(v, 2);
                sim_random_fill(&random, v + 4, 256);
                at = put_tlv(b, at, 4, v, 260);
        }
        le32to(v, storage_type(m) ? storage_type(m) : 0x103);
        at = put_tlv(b, at, 6, v, 4);
        if (read_stamp(m, v) || phone_kind(m)->lk)
                at = put_tlv(b, at, 5, v, 8);
        if (phone_kind(m)->lk) {
                at = put_tlv(b, at, 7, "\1\0\0", 4);
        }
        if (!sim_flag(m, OPT_INFO_EXTRA))
                return at;
        at = put_tlv(b, at, 0x63, "unheard of", 10);
        return put_tlv(b, at, 0xFFFE, v, 0);
}

void phone_fdl2_hello(SimModel *m) {
        uint8_t b[512] = {0};

        if (sim_word(m, OPT_GATE, "silent")) {
                sim_hang(m, "FDL2 never answers");
                return;
        }
        if (sim_word(m, OPT_INFO, "ack"))
                sim_ack(m);
        else if (sim_word(m, OPT_INFO, "empty"))
                sim_send(m, REP_PARTITION, NULL, 0);
        else if (sim_word(m, OPT_INFO, "tlv") || sim_word(m, OPT_GATE, "challenge"))
                sim_send(m, REP_PARTITION, b, info_tlv(m, b));
        else
                sim_send(m, REP_PARTITION, b, info_struct(m, b));
}

/* ---- write ---- */

static void end_write(Phone *p) {
        free(p->buffer);
        p->buffer = NULL;
        p->fill = p->room = 0;
        p->writing = false;
}

/* A UBI volume whose update was not finished is empty. */
static void abandon_write(SimModel *m) {
        Phone *p = phone_of(m);

        if (p->writing && phone_kind(m)->nand && p->target.kind == TARGET_PART)
                (void) store_fill(m, p->target.file, 0, p->target.size, 0);
        end_write(p);
}

void phone_fdl2_forget(SimModel *m) {
        Phone *p = phone_of(m);

        abandon_write(m);
        p->failed = p->reading = p->write_enabled = false;
        p->ext_size = 0;
        p->ext_crc = 0;
        phone_raw_forget(m);
}

static bool is_signed(const char *name) {
        size_t n = strlen(name);

        static const char *const names[] = {"uboot",  "trustos",  "sml",        "teecfg",    "vbmeta",
                                            "boot",   "recovery", "dtbo",       "splloader", "l_modem",
                                            "l_ldsp", "nr_modem", "vendor_boot"};

        if (n > 2 && (strcmp(name + n - 2, "_a") == 0 || strcmp(name + n - 2, "_b") == 0))
                n -= 2;

        for (size_t i = 0; i < COUNT(names); i++)
                if (strlen(names[i]) == n && strncmp(names[i], name, n) == 0)
                        return true;
        return false;
}

/* As it lies in flash, bad blocks and all. */
static uint64_t mtd_size(SimModel *m, const Target *t) {
        int64_t size = store_size(m, t->file);

        return size > 0 ? (uint64_t) size : 0;
}

static unsigned check_start(SimModel *m, size_t n, uint64_t size) {
        Phone *p = phone_of(m);
        uint64_t room = p->target.size;

        if (p->no_such_target)
                return sim_word(m, OPT_UNKNOWN_PART, "early") ? REP_PARTITION : 0;
        if (p->target.kind == TARGET_USER || p->target.kind == TARGET_SIZE)
                return REP_FAILED;
        if (p->target.kind == TARGET_NV) {
                if (!phone_kind(m)->old && (n != 0x50 && n != 0x5C))
                        return REP_NV_SUM_ZERO;
                if (!phone_kind(m)->old && p->nv_sum == 0)
                        return REP_NV_SUM_ZERO;
                return size > m->number[OPT_FIXNV] || size > room ? REP_SIZE : 0;
        }
        /* What is verified is held in memory, whole. */
        if (phone_kind(m)->lk && is_signed(p->target.name) && size > m->number[OPT_MALLOC])
                return REP_LK_MEMORY;
        if (p->target.kind == TARGET_BOOT1 && sim_word(m, OPT_SPL_HEAD, "shift"))
                room -= BOOT_RESERVED;
        /* What is sparse may be small in the file and big on disk: looked at while writing. */
        return size > room ? REP_SIZE : 0;
}

static void do_start(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        char name[PHONE_NAME];
        uint64_t size = decode_size(m, d, n, name);
        unsigned r;

        if (sim_word(m, OPT_GATE, "write-protect") && !p->write_enabled) {
                sim_send(m, REP_NO_WRITE, NULL, 0);
                return;
        }
        abandon_write(m);
        p->no_such_target = !find_target(m, d, n, name, &p->target, &p->this_slot);
        p->nv_sum = n >= 0x5C ? le32at(d + 0x58) : n >= 0x50 && n < 0x58 ? le32at(d + 0x4C) : 0;
        r = check_start(m, n, size);
        if (r) {
                sim_send(m, r, NULL, 0);
                return;
        }
        if (phone_kind(m)->nand && p->target.kind == TARGET_PART) {
                /* The update of a volume begins with emptying it. */
                (void) store_fill(m, p->target.file, 0, p->target.size, 0);
                m->bytes_erased += p->target.size;
                sim_work_bytes(m, p->target.size, OPT_ERASE_RATE);
        }
        p->writing = true;
        p->failed = p->sparse_on = false;
        p->total = size;
        p->received = p->written = 0;
        m->transfer_offset = 0;
        sim_ack(m);
}

/* What the first bytes tell: signature, sparse stream; and what they do to userdata. */
static unsigned first_flush(SimModel *m, size_t *skip) {
        Phone *p = phone_of(m);

        if (sim_flag(m, OPT_SECURE) && is_signed(p->target.name) && (p->fill < 4 || memcmp(p->buffer, "DHTB", 4) != 0))
                return or_lk(m, REP_FAILED, REP_LK_MAGIC);
        if (phone_kind(m)->nand)
                return p->target.kind == TARGET_MTD && store_fill(m, p->target.file, 0, mtd_size(m, &p->target), 0) < 0
                               ? REP_WRITE
                               : 0;
        if (p->target.kind == TARGET_PART && sparse_begins(p->buffer, p->fill, skip)) {
                p->sparse_on = true;
                sparse_start(&p->sparse);
        }
        if (strcmp(p->target.name, "userdata") == 0) {
                m->bytes_erased += p->target.size / 100;
                if (store_fill(m, p->target.file, 0, p->target.size / 100 / 512 * 512, 0) < 0)
                        return REP_WRITE;
        }
        return 0;
}

static unsigned flush_nv(SimModel *m) {
        Phone *p = phone_of(m);

        if (!phone_kind(m)->old && sim_bytesum(p->buffer, p->fill) != p->nv_sum)
                return (unsigned) m->number[OPT_NV_SUM_ERROR];
        p->written = p->fill;
        return phone_nv_store(m, p->target.name, p->buffer, p->fill, p->this_slot) < 0 ? REP_WRITE : 0;
}

static int put_data(SimModel *m, uint64_t at) {
        Phone *p = phone_of(m);

        if (p->target.kind == TARGET_MTD)
                return phone_mtd_write(m, p->target.name, at, p->buffer, p->fill);
        /* Nothing but zero becomes a hole: huge images need no disk. */
        if (p->fill >= HOLE && sim_all_bytes(p->buffer, p->fill, 0))
                return store_fill(m, p->target.file, at, p->fill, 0);
        return store_write(m, p->target.file, at, p->buffer, p->fill);
}

static unsigned flush_plain(SimModel *m) {
        Phone *p = phone_of(m);
        uint64_t base = p->target.kind == TARGET_BOOT1 && sim_word(m, OPT_SPL_HEAD, "shift") ? BOOT_RESERVED : 0;

        if (put_data(m, base + p->written) < 0)
                return REP_WRITE;
        p->written += p->fill;
        m->bytes_written += p->fill;
        sim_work_bytes(m, p->fill, OPT_FLASH_RATE);
        return 0;
}

static unsigned flush(SimModel *m) {
        Phone *p = phone_of(m);
        size_t skip = 0;
        unsigned r = 0;

        if (p->no_such_target)
                return REP_PARTITION;
        if (p->written == 0 && !p->sparse_on)
                r = first_flush(m, &skip);
        if (r)
                return r;
        if (p->target.kind != TARGET_MTD && sim_takes_write_fault(m) &&
            !(phone_kind(m)->nand && phone_ubi_block_fails(m)))
                return REP_WRITE;
        if (p->target.kind == TARGET_NV)
                r = flush_nv(m);
        else if (p->sparse_on)
                r = sparse_feed(m, &p->sparse, &p->target, p->buffer + skip, p->fill - skip);
        else
                r = flush_plain(m);
        p->fill = 0;
        return r;
}

static int copy_part(SimModel *m, const Target *from, const Target *to, uint64_t n) {
        uint8_t block[65536];

        for (uint64_t at = 0; at < n; at += sizeof(block)) {
                size_t step = n - at < sizeof(block) ? (size_t) (n - at) : sizeof(block);

                if (store_read(m, from->file, at, block, step) < 0 || store_write(m, to->file, at, block, step) < 0)
                        return -1;
        }
        sim_work_bytes(m, n, OPT_FLASH_RATE);
        return 0;
}

/* Copies what was written to its twin, seals the SPL. */
static unsigned after_last(SimModel *m) {
        Phone *p = phone_of(m);
        char name[PHONE_NAME];
        uint8_t flip;
        Target twin;

        if (sim_takes_readback_fault(m) && p->target.file[0] &&
            store_read(m, p->target.file, p->total / 2, &flip, 1) >= 0) {
                flip ^= 1;
                (void) store_write(m, p->target.file, p->total / 2, &flip, 1);
        }
        if (p->target.kind == TARGET_BOOT1)
                return phone_seal_spl(m, p->total) < 0 ? REP_WRITE : 0;
        if (p->target.kind != TARGET_PART || p->sparse_on || !phone_mirror(m, p->target.name, name) ||
            !phone_find(m, name, &twin) || twin.size < p->total)
                return 0;
        return copy_part(m, &p->target, &twin, p->total) < 0 ? REP_WRITE : 0;
}

static bool keep(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        size_t room = p->room ? p->room : 65536;
        uint8_t *grown;

        while (room < p->fill + n)
                room *= 2;
        if (room != p->room) {
                grown = realloc(p->buffer, room);
                if (!grown)
                        return false;
                p->buffer = grown;
                p->room = room;
        }
        if (n)
                memcpy(p->buffer + p->fill, d, n);
        p->fill += n;
        return true;
}

unsigned phone_fdl2_take(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        unsigned r = 0;

        if (!p->writing || p->failed)
                return p->failed ? REP_FAILED : REP_NOT_STARTED;
        if (n > p->total - p->received)
                return REP_SIZE;
        if (!keep(m, d, n))
                r = 0x8D;
        p->received += n;
        m->transfer_offset = p->received;
        if (!r && (p->fill >= m->number[OPT_BUFFER] || p->received == p->total)) {
                /* An NV image is one piece. */
                if (p->target.kind != TARGET_NV || p->received == p->total)
                        r = flush(m);
                if (!r && p->received == p->total)
                        r = after_last(m);
        }
        p->failed = r != 0;
        /* Half a system would start and fail: LK leaves none. */
        if (r && phone_kind(m)->lk && strcmp(p->target.name, "super") == 0)
                (void) store_fill(m, p->target.file, 0, p->target.size, 0);
        return r;
}

static void do_midst(SimModel *m, const uint8_t *d, size_t n) {
        unsigned r = phone_fdl2_take(m, d, n);

        sim_send(m, r ? r : REP_ACK, NULL, 0);
}

static void do_end(SimModel *m) {
        Phone *p = phone_of(m);
        bool good = !p->failed && p->received == p->total;

        if (!p->writing) {
                sim_send(m, REP_NOT_STARTED, NULL, 0);
                return;
        }
        if (good && p->sparse_on && p->sparse.state != SPARSE_DONE)
                good = false;
        if (good && strcmp(p->target.name, "miscdata") == 0) {
                (void) store_fill(m, p->target.file, MISC_LOG_LEVEL, 8, 0);
                (void) store_fill(m, p->target.file, MISC_DATE_TIME, 16, 0);
        }
        if (good)
                end_write(p);
        else
                abandon_write(m);
        if (good)
                sim_ack(m);
        else
                sim_send(m, REP_FAILED, NULL, 0);
}

/* ---- read ---- */

static unsigned check_source(SimModel *m) {
        Phone *p = phone_of(m);
        uint8_t magic[4];

        if (p->source.kind == TARGET_NV && phone_nv_repair(m, p->source.name) < 0)
                return or_lk(m, REP_FAILED, REP_LK_READ);
        if (phone_kind(m)->nand && p->source_size > p->source.size)
                return REP_SIZE;
        if (phone_kind(m)->nand)
                return strcmp(p->source.name, "prodnv") == 0 &&
                                       (store_read(m, p->source.file, 0, magic, 4) < 0 || le32at(magic) != 0x06101831)
                               ? REP_FAILED
                               : 0;
        if (strcmp(p->source.name, "prodnv") == 0 && p->source.kind == TARGET_PART)
                if (store_read(m, p->source.file, 0x438, magic, 2) < 0 || le16at(magic) != 0xEF53)
                        return or_lk(m, REP_FAILED, REP_LK_READ);
        return 0;
}

static void do_read_start(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        char name[PHONE_NAME];
        bool active;
        unsigned r;

        p->source_size = decode_size(m, d, n, name);
        p->reading = p->fetched = false;
        m->transfer_offset = 0;
        r = find_target(m, d, n, name, &p->source, &active) ? check_source(m) : (unsigned) m->number[OPT_UNKNOWN_READ];
        if (r) {
                sim_send(m, r, NULL, 0);
                return;
        }
        p->reading = true;
        sim_ack(m);
}

static int read_piece(SimModel *m, uint64_t offset, uint8_t *buf, size_t n) {
        Phone *p = phone_of(m);
        char text[128] = {0};

        switch (p->source.kind) {
        case TARGET_USER:
                return phone_user_read(m, offset, buf, n);
        case TARGET_SIZE:
                memset(buf, 0, n);
                snprintf(text, sizeof(text), "size:%.35s: 0x%llx block number: 0x%llx\n", p->source.name,
                         (unsigned long long) p->source.size, (unsigned long long) p->source.size / phone_sector(m));
                if (offset < sizeof(text))
                        memcpy(buf, text + offset, n < sizeof(text) - offset ? n : sizeof(text) - offset);
                return 0;
        case TARGET_NV:
                return store_read(m, p->source.file, offset + NV_HEADER, buf, n);
        case TARGET_MTD:
                /* Fetched at once when its start is read. */
                p->fetched |= offset == 0;
                if (!p->fetched || offset + n > p->source_size)
                        return -1;
                return phone_mtd_read(m, p->source.name, offset, buf, n);
        default:
                return store_read(m, p->source.file, offset, buf, n);
        }
}

static void do_read_midst(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        uint64_t offset;
        uint32_t length;
        uint8_t *buf;

        if (!p->reading || n < 8) {
                sim_send(m, REP_FAILED, NULL, 0);
                return;
        }
        length = le32at(d);
        offset = n >= 12 && !phone_kind(m)->old ? le64at(d + 4) : le32at(d + 4);
        if (length > 0xFFFE || length == 0) {
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        if (p->source.kind != TARGET_SIZE && (offset > p->source.size || length > p->source.size - offset)) {
                sim_send(m, or_lk(m, REP_FAILED, REP_LK_READ), NULL, 0);
                return;
        }
        buf = malloc(length);
        if (buf && read_piece(m, offset, buf, length) >= 0) {
                if (sim_takes_readback_fault(m))
                        buf[length / 2] ^= 0x10;
                m->bytes_read += length;
                sim_work_bytes(m, length, OPT_VERIFY_RATE);
                sim_send(m, REP_READ_FLASH, buf, length);
        } else
                sim_send(m, REP_FAILED, NULL, 0);
        free(buf);
}

static void do_read_table(SimModel *m) {
        const Phone *p = phone_of(m);
        uint8_t *b = calloc(p->n_parts + 1, NAME_BYTES + 4);
        uint64_t unit = sim_word(m, OPT_STORAGE, "ufs") ? 8192 : 2 * phone_sector(m);

        if (!b)
                return;
        for (size_t i = 0; i < p->n_parts; i++) {
                uint8_t *e = b + i * (NAME_BYTES + 4);

                for (size_t k = 0; p->parts[i].name[k]; k++)
                        e[2 * k] = (uint8_t) p->parts[i].name[k];
                le32to(e + NAME_BYTES, (uint32_t) (p->parts[i].size / unit));
        }
        sim_send(m, REP_TABLE, b, p->n_parts * (NAME_BYTES + 4));
        free(b);
}

/* ---- erase, repartition ---- */

static void erase_named(SimModel *m, const char *name) {
        Target t;

        if (!phone_find(m, name, &t) || !t.file[0] || t.kind == TARGET_SIZE)
                return;
        if (t.kind == TARGET_NV)
                t.size += NV_HEADER;
        (void) store_fill(m, t.file, 0, t.kind == TARGET_MTD ? mtd_size(m, &t) : t.size, 0);
        m->bytes_erased += t.size;
        sim_work_bytes(m, t.size, OPT_ERASE_RATE);
}

static void do_erase(SimModel *m, const uint8_t *d, size_t n) {
        static const char *const paired[] = {"uboot", "trustos", "teecfg", "sml", "vbmeta", "splloader"};
        char name[PHONE_NAME], twin[PHONE_NAME + 4];
        uint64_t size = decode_size(m, d, n, name);
        Target t;

        if (sim_takes_write_fault(m)) {
                sim_send(m, REP_FAILED, NULL, 0);
                return;
        }
        if (strcmp(name, "erase_all") == 0 && size == 0xFFFFFFFF) {
                sim_work_bytes(m, m->number[OPT_SIZE], OPT_ERASE_RATE);
                m->bytes_erased += m->number[OPT_SIZE];
                sim_send(m, phone_disk_erase_all(m) < 0 ? REP_FAILED : REP_ACK, NULL, 0);
                return;
        }
        if (!phone_find(m, name, &t) || t.kind == TARGET_USER || t.kind == TARGET_SIZE) {
                sim_send(m, (unsigned) m->number[OPT_UNKNOWN_READ], NULL, 0);
                return;
        }
        erase_named(m, name);
        if (t.kind == TARGET_NV && phone_nv_twin(t.name, twin))
                erase_named(m, twin);
        for (size_t i = 0; i < COUNT(paired); i++)
                if (strcmp(paired[i], name) == 0 && !(phone_kind(m)->uboot_in_boot2 && t.kind == TARGET_BOOT1)) {
                        snprintf(twin, sizeof(twin), "%s_bak", name);
                        erase_named(m, twin);
                }
        sim_ack(m);
}

static bool parse_entry(SimModel *m, PhonePart *part, const uint8_t *name, uint64_t size, uint64_t *at, bool last) {
        uint64_t end = phone_kind(m)->nand
                               ? phone_nand_room(m)
                               : (m->number[OPT_SIZE] / phone_sector(m) - phone_gpt_tail(m)) * phone_sector(m);

        *part = (PhonePart){.start = *at};
        decode_name(name, part->name);
        if (*at >= end)
                return false;
        part->size = size == UINT64_MAX ? end - *at : size;
        if (size == UINT64_MAX && !last)
                return false;
        if (part->size > end - *at)
                return false;
        *at += part->size;
        return true;
}

static unsigned repartition_v1(SimModel *m, const uint8_t *d, size_t n, PhonePart *parts, size_t *count) {
        const uint64_t units[] = {1u << 20, 512u << 10, 1u << 10, 1, phone_sector(m)};
        uint64_t at = 0, unit;
        size_t entries;

        if (n < 16 || d[4] != 1 || d[5] >= COUNT(units) || d[6] != 1 || le32at(d + 8) != 0x3A6C6274)
                return REP_PARTITION;
        entries = le16at(d + 14) / 88;
        if (le16at(d + 12) != 16 || le16at(d + 14) % 88 || 16 + entries * 88 > n || entries > PHONE_MAX_PARTS)
                return REP_PARTITION;
        unit = units[d[5]];
        for (size_t i = 0; i < entries; i++) {
                const uint8_t *e = d + 16 + i * 88;
                uint64_t size = le64at(e + 72), gap = le64at(e + 80);

                if (size > m->number[OPT_SIZE] && size != UINT64_MAX)
                        return REP_PARTITION;
                if (gap > m->number[OPT_SIZE])
                        return REP_PARTITION;
                gap = i == 0 && gap == 0 ? 1u << 20 : gap * unit;
                if (phone_kind(m)->nand)
                        gap = 0;
                else if (i == 0 && gap < 34 * phone_sector(m))
                        return REP_PARTITION;
                at += gap;
                if (!parse_entry(m, &parts[i], e, size == UINT64_MAX ? size : size * unit, &at, i + 1 == entries))
                        return REP_PARTITION;
        }
        *count = entries;
        return 0;
}

static unsigned repartition_v0(SimModel *m, const uint8_t *d, size_t n, PhonePart *parts, size_t *count) {
        uint64_t at = phone_kind(m)->nand ? 0 : 1u << 20;

        *count = n / 76;
        if (n == 0 || n % 76 || *count > PHONE_MAX_PARTS)
                return REP_PARTITION;
        for (size_t i = 0; i < *count; i++) {
                uint32_t mib = le32at(d + i * 76 + NAME_BYTES);

                if (!parse_entry(m, &parts[i], d + i * 76, mib == 0xFFFFFFFF ? UINT64_MAX : (uint64_t) mib << 20, &at,
                                 i + 1 == *count))
                        return REP_PARTITION;
        }
        return 0;
}

static void do_repartition(SimModel *m, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        PhonePart *parts;
        size_t count = 0;
        unsigned r;

        if (sim_word(m, OPT_GATE, "write-protect") && !p->write_enabled) {
                sim_send(m, REP_NO_WRITE, NULL, 0);
                return;
        }
        parts = calloc(PHONE_MAX_PARTS, sizeof(*parts));
        if (!parts)
                return;
        if (n == 0 && phone_kind(m)->nand)
                r = phone_disk_preset(m, parts, &count) < 0 ? REP_FAILED : 0;
        else if (n >= 4 && le32at(d) == 0x3A726170 && !phone_kind(m)->old)
                r = repartition_v1(m, d, n, parts, &count);
        else
                r = repartition_v0(m, d, n, parts, &count);
        if (!r && sim_flag(m, OPT_WORN)) {
                free(parts);
                sim_ack(m);
                return;
        }
        if (!r && (sim_takes_write_fault(m) || phone_disk_layout(m, parts, count) < 0))
                r = REP_FAILED;
        free(parts);
        if (!r && !sim_flag(m, OPT_FAST))
                sim_work(m, 500 * SIM_MS);
        sim_send(m, r ? or_lk(m, r, REP_LK_REPARTITION) : REP_ACK, NULL, 0);
}

/* ---- the rest ---- */

static void write_misc(SimModel *m, uint64_t offset, const uint8_t *d, size_t n, size_t max) {
        Target t;

        if (phone_find(m, "miscdata", &t) && n)
                (void) store_write(m, t.file, offset, d, n < max ? n : max);
        sim_ack(m);
}

static void set_stamp(SimModel *m, const uint8_t *d, size_t n) {
        uint8_t b[12];

        if (n < 8) {
                sim_send(m, REP_FAILED, NULL, 0);
                return;
        }
        le32to(b, STAMP_MAGIC);
        memcpy(b + 4, d, 8);
        write_misc(m, MISC_STAMP, b, sizeof(b), sizeof(b));
}

/* Typed lists of partitions: every table inside the payload, every record whole. */
static bool ext_table_fits(const uint8_t *d, size_t n) {
        uint32_t count = n >= 4 ? le32at(d) : 0;

        if (count == 0 || count > (n - 4) / EXT_HEAD)
                return false;
        for (uint32_t i = 0; i < count; i++) {
                const uint8_t *head = d + 4 + i * EXT_HEAD;
                uint32_t at = le32at(head + 4), size = le32at(head + 8);

                if (at < 4 + count * EXT_HEAD || at > n || size > n - at)
                        return false;
                if (memcmp(head, "paty", 4) == 0 && (size % EXT_RECORD || size / EXT_RECORD > PHONE_MAX_PARTS))
                        return false;
        }
        return true;
}

static void ext_table(SimModel *m, const uint8_t *d, size_t n) {
        if (!ext_table_fits(d, n)) {
                sim_send(m, REP_FAILED, NULL, 0);
                return;
        }
        phone_of(m)->ext_size = n;
        phone_of(m)->ext_crc = sim_crc32(0, d, n);
        sim_ack(m);
}

static void first_mode(SimModel *m, const uint8_t *d, size_t n) {
        uint8_t v[8] = {0};

        le32to(v, 0x53464D00);
        v[4] = n ? d[0] : 0;
        write_misc(m, MISC_FIRST_MODE, v, sizeof(v), sizeof(v));
}

static void unsupported(SimModel *m) {
        m->unknown++;
        sim_send(m, REP_FE, NULL, 0);
        /* The receive buffer is never given back. */
        if (m->number[OPT_UNKNOWN_LIMIT]) {
                m->lost_buffers++;
                if (m->unknown >= m->number[OPT_UNKNOWN_LIMIT]) {
                        m->no_buffers = true;
                        sim_hang(m, "no receive buffers left after unknown commands");
                }
        }
}

/* True: the gate has dealt with it. */
static bool gated(SimModel *m, unsigned type) {
        uint8_t m1[290] = {0};

        if (sim_word(m, OPT_GATE, "challenge")) {
                if (type == CMD_RANDOM_DATA) {
                        sim_send(m, REP_RANDOM, NULL, 0);
                        sim_hang(m, "wrong answer to the challenge");
                }
                return true;
        }
        if (!sim_word(m, OPT_GATE, "auth") || type == CMD_PLAIN)
                return false;
        if (type == CMD_AUTH_BEGIN)
                sim_send(m, REP_AUTH, m1, sizeof(m1));
        else
                unsupported(m);
        return true;
}

static void flash_ids(SimModel *m) {
        const char *at = m->option[OPT_FLASH_IDS];
        uint8_t b[16] = {0};

        for (unsigned i = 0; i < 3 && *at; i++) {
                char *end;

                be32to(b + 4 * i, (uint32_t) strtoul(at, &end, 16));
                at = *end ? end + 1 : end;
        }
        sim_send(m, REP_FLASH_TYPE, b, sizeof(b));
}

static void settings(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        SimRandom random = sim_random(m->seed, "cid");
        uint8_t cid[16];

        if (type == CMD_FLASH_TYPE && m->option[OPT_FLASH_IDS][0]) {
                flash_ids(m);
                return;
        }
        if (phone_kind(m)->nand && (type == CMD_FLASH_TYPE || type == CMD_BLOCK_INFO)) {
                (type == CMD_FLASH_TYPE ? phone_nand_type : phone_nand_blocks)(m);
                return;
        }
        switch (type) {
        case CMD_CHIP_TYPE:
                if (m->number[OPT_CHIP_TYPE] == UINT64_MAX) {
                        unsupported(m);
                        break;
                }
                be32to(cid, (uint32_t) m->number[OPT_CHIP_TYPE]);
                sim_send(m, REP_CHIP_TYPE, cid, 4);
                break;
        case CMD_CHIP_UID:
                sim_send(m, REP_UID, m->uid, strlen(m->uid));
                break;
        case CMD_FLASH_UID:
                if (!sim_flag(m, OPT_FLASH_UID)) {
                        unsupported(m);
                        break;
                }
                sim_random_fill(&random, cid, sizeof(cid));
                sim_send(m, REP_FLASH_UID, cid, sizeof(cid));
                break;
        case CMD_EMMC_CID:
                sim_random_fill(&random, cid, sizeof(cid));
                sim_send(m, REP_CID, cid, sizeof(cid));
                break;
        case CMD_DATE_TIME:
                if (sim_flag(m, OPT_APR))
                        write_misc(m, MISC_DATE_TIME, d, n, 512);
                else
                        unsupported(m);
                break;
        case CMD_RF_TYPE:
                if (m->number[OPT_RF] == UINT64_MAX) {
                        unsupported(m);
                        break;
                }
                le32to(cid, (uint32_t) m->number[OPT_RF]);
                sim_send(m, REP_RF_TYPE, cid, 4);
                break;
        case CMD_EXTTABLE:
                if (sim_flag(m, OPT_EXT_TABLE))
                        ext_table(m, d, n);
                else
                        unsupported(m);
                break;
        case CMD_TIME_STAMP:
                if (sim_flag(m, OPT_TIME_STAMP))
                        set_stamp(m, d, n);
                else
                        unsupported(m);
                break;
        case CMD_DEBUG_MODE:
                write_misc(m, MISC_LOG_LEVEL, d, n, 8);
                break;
        case CMD_FIRST_MODE:
                first_mode(m, d, n);
                break;
        case CMD_ENABLE_WRITE:
                if (!sim_word(m, OPT_GATE, "write-protect")) {
                        unsupported(m);
                        break;
                }
                phone_of(m)->write_enabled = true;
                sim_ack(m);
                break;
        case CMD_CHECK_ROOT:
        case CMD_END_PROCESS:
                sim_ack(m);
                break;
        default:
                unsupported(m);
        }
}

/* Commands that this loader does not have. */
static bool too_new(const SimModel *m, unsigned type) {
        const PhoneKind *k = phone_kind(m);
        const char *list = m->option[OPT_UNKNOWN], *name = sim_command_name(type);

        for (size_t n = strlen(name); *list; list += strcspn(list, "+"), list += *list == '+')
                if (strncmp(list, name, n) == 0 && (list[n] == '+' || !list[n]))
                        return true;
        return (k->old && (type == CMD_PLAIN || type == CMD_TIME_STAMP)) || ((k->old || k->nand) && type == CMD_READ_PARTITION);
}

void phone_fdl2_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        if (gated(m, type))
                return;
        if (too_new(m, type)) {
                unsupported(m);
                return;
        }
        switch (type) {
        case CMD_START:
                do_start(m, d, n);
                break;
        case CMD_MIDST:
                do_midst(m, d, n);
                break;
        case CMD_END:
                do_end(m);
                break;
        case CMD_READ_START:
                do_read_start(m, d, n);
                break;
        case CMD_READ_MIDST:
                do_read_midst(m, d, n);
                break;
        case CMD_READ_END:
                phone_of(m)->reading = false;
                sim_ack(m);
                break;
        case CMD_ERASE:
                do_erase(m, d, n);
                break;
        case CMD_REPARTITION:
                do_repartition(m, d, n);
                break;
        case CMD_READ_PARTITION:
                do_read_table(m);
                break;
        case CMD_READ_INFO: /* registered, but nothing answers where there is no NAND */
                if (phone_kind(m)->nand)
                        phone_nand_info(m);
                break;
        case CMD_PLAIN:
                sim_ack(m);
                m->plain = true;
                break;
        case CMD_RESET:
                sim_ack(m);
                sim_reset_soon(m);
                break;
        case CMD_POWER_OFF:
                sim_ack(m);
                sim_hang(m, "waits until it is unplugged");
                break;
        default:
                if (!phone_raw_command(m, type, n))
                        settings(m, type, d, n);
        }
}
