/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "phone.h"

/* The user area on disk: gpt.bin (first 34 sectors), parts/NAME, gpt-backup.bin (last 33); boot areas in boot1.bin and
 * boot2.bin. What lies between partitions is nowhere and reads as zero. */

#define GPT_ENTRIES 128u
#define GPT_ENTRY 128u
#define FIRST_PART (1u << 20)

static uint64_t disk_size(const SimModel *m) {
        return m->number[OPT_SIZE] / phone_sector(m) * phone_sector(m);
}

static uint64_t head_size(const SimModel *m) {
        return phone_gpt_head(m) * phone_sector(m);
}

static uint64_t tail_size(const SimModel *m) {
        return phone_gpt_tail(m) * phone_sector(m);
}

void phone_part_file(const char *name, char *ret, size_t size) {
        size_t at = (size_t) snprintf(ret, size, "parts/");

        if (!*name)
                (void) snprintf(ret + at, size - at, "%%");
        for (; *name && at + 4 < size; name++) {
                unsigned char c = (unsigned char) *name;
                bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                             c == '-';
                at += (size_t) snprintf(ret + at, size - at, plain ? "%c" : "%%%02X", c);
        }
}

const PhonePart *phone_part(const Phone *p, const char *name) {
        for (size_t i = 0; i < p->n_parts; i++)
                if (strcmp(p->parts[i].name, name) == 0)
                        return &p->parts[i];
        return NULL;
}

static bool find_size_query(SimModel *m, const char *name, Target *ret) {
        size_t n = strlen(name);
        Target of;

        if (n <= 5 || strcmp(name + n - 5, "_size") != 0)
                return false;
        snprintf(ret->file, sizeof(ret->file), "%.*s", (int) (n - 5), name);
        if (!phone_find(m, ret->file, &of) || of.kind == TARGET_SIZE)
                return false;
        ret->kind = TARGET_SIZE;
        ret->size = of.kind == TARGET_NV ? of.size + NV_HEADER : of.size;
        return true;
}

bool phone_find(SimModel *m, const char *name, Target *ret) {
        const PhonePart *part = phone_find_slotted(m, name);
        char twin[PHONE_NAME];

        *ret = (Target){.kind = TARGET_NONE};
        snprintf(ret->name, sizeof(ret->name), "%s", part ? part->name : name);
        if (phone_kind(m)->nand)
                return phone_nand_find(m, name, ret);
        if (strcmp(name, "splloader") == 0)
                ret->kind = TARGET_BOOT1;
        else if (strcmp(name, "splloader_bak") == 0 || (strcmp(name, "uboot") == 0 && !part))
                ret->kind = TARGET_BOOT2;
        if (ret->kind != TARGET_NONE) {
                snprintf(ret->file, sizeof(ret->file), ret->kind == TARGET_BOOT1 ? "boot1.bin" : "boot2.bin");
                ret->size = BOOT_AREA;
                return true;
        }
        if (strcmp(name, "user_partition") == 0) {
                ret->kind = TARGET_USER;
                ret->size = disk_size(m);
                return true;
        }
        if (!part)
                return find_size_query(m, name, ret);
        phone_part_file(part->name, ret->file, sizeof(ret->file));
        ret->kind = phone_nv_twin(name, twin) ? TARGET_NV : TARGET_PART;
        ret->size = ret->kind == TARGET_NV ? part->size - NV_HEADER : part->size;
        return true;
}

/* ---- GPT ---- */

static void gpt_header(const SimModel *m, uint8_t *h, const uint8_t *entries, bool backup) {
        uint64_t last = disk_size(m) / phone_sector(m) - 1;
        SimRandom random = sim_random(m->seed, "disk guid");

        memset(h, 0, phone_sector(m));
        memcpy(h, "EFI PART", 8);
        le32to(h + 8, 0x00010000);
        le32to(h + 12, 92);
        le64to(h + 24, backup ? last : 1);
        le64to(h + 32, backup ? 1 : last);
        le64to(h + 40, phone_gpt_head(m));
        le64to(h + 48, last - phone_gpt_tail(m));
        sim_random_fill(&random, h + 56, 16);
        le64to(h + 72, backup ? last - phone_gpt_tail(m) + 1 : 2);
        le32to(h + 80, GPT_ENTRIES);
        le32to(h + 84, GPT_ENTRY);
        le32to(h + 88, sim_crc32(0, entries, GPT_ENTRIES * GPT_ENTRY));
        le32to(h + 16, sim_crc32(0, h, 92));
}

static void gpt_entry(const SimModel *m, uint8_t *e, const PhonePart *part) {
        static const uint8_t basic_data[16] = {0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44,
                                               0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7};
        SimRandom random = sim_random(m->seed, part->name);

        memcpy(e, basic_data, 16);
        sim_random_fill(&random, e + 16, 16);
        le64to(e + 32, part->start / phone_sector(m));
        le64to(e + 40, (part->start + part->size) / phone_sector(m) - 1);
        for (size_t i = 0; part->name[i] && i < PHONE_NAME; i++)
                le16to(e + 56 + 2 * i, (uint8_t) part->name[i]);
}

static int gpt_write(SimModel *m) {
        static const uint8_t protective[16] = {0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1};
        Phone *p = phone_of(m);
        uint8_t *gpt = calloc(phone_gpt_head(m), phone_sector(m)), *entries;
        int r;

        if (!gpt)
                return -ENOMEM;
        entries = gpt + 2 * phone_sector(m);
        memcpy(gpt + 446, protective, 16);
        le32to(gpt + 458, 0xFFFFFFFF);
        le16to(gpt + 510, 0xAA55);
        for (size_t i = 0; i < p->n_parts; i++)
                gpt_entry(m, entries + i * GPT_ENTRY, &p->parts[i]);
        gpt_header(m, gpt + phone_sector(m), entries, false);
        r = store_put(m, "gpt.bin", gpt, head_size(m));
        /* The backup: entries, then header. */
        memmove(gpt, entries, GPT_ENTRIES * GPT_ENTRY);
        gpt_header(m, gpt + GPT_ENTRIES * GPT_ENTRY, gpt, true);
        if (r >= 0)
                r = store_put(m, "gpt-backup.bin", gpt, tail_size(m));
        free(gpt);
        return r;
}

static bool header_holds(const uint8_t *h, const uint8_t *entries, uint64_t lba) {
        uint8_t copy[92];

        if (memcmp(h, "EFI PART", 8) != 0 || le32at(h + 12) != 92 || le64at(h + 24) != lba ||
            le32at(h + 88) != sim_crc32(0, entries, GPT_ENTRIES * GPT_ENTRY))
                return false;
        memcpy(copy, h, sizeof(copy));
        memset(copy + 16, 0, 4);
        return sim_crc32(0, copy, sizeof(copy)) == le32at(h + 16);
}

static void take_entries(SimModel *m, const uint8_t *entries) {
        Phone *p = phone_of(m);

        for (size_t i = 0; i < GPT_ENTRIES; i++) {
                const uint8_t *e = entries + i * GPT_ENTRY;
                PhonePart *part = &p->parts[p->n_parts];

                if (sim_all_bytes(e, 16, 0))
                        continue;
                *part = (PhonePart){.start = le64at(e + 32) * phone_sector(m)};
                part->size = (le64at(e + 40) + 1) * phone_sector(m) - part->start;
                for (size_t k = 0; k < PHONE_NAME - 1; k++)
                        part->name[k] = (char) e[56 + 2 * k];
                p->n_parts++;
        }
}

/* As boot loaders do: the first copy, the second if the sums of the first are wrong, none if both are. */
static int gpt_load(SimModel *m) {
        Phone *p = phone_of(m);
        uint8_t *gpt = malloc(head_size(m));
        int r;

        if (!gpt)
                return -ENOMEM;
        p->n_parts = 0;
        r = store_read(m, "gpt.bin", 0, gpt, head_size(m));
        if (r >= 0 && header_holds(gpt + phone_sector(m), gpt + 2 * phone_sector(m), 1))
                take_entries(m, gpt + 2 * phone_sector(m));
        else if (store_read(m, "gpt-backup.bin", 0, gpt, tail_size(m)) >= 0 &&
                 header_holds(gpt + GPT_ENTRIES * GPT_ENTRY, gpt, disk_size(m) / phone_sector(m) - 1))
                take_entries(m, gpt);
        free(gpt);
        return r == -ENOENT ? 0 : r;
}

void phone_disk_power(SimModel *m) {
        if (!phone_kind(m)->nand)
                (void) gpt_load(m);
}

/* ---- layout ---- */

static bool same_place(const PhonePart *a, const PhonePart *b) {
        return a && a->start == b->start && a->size == b->size;
}

static int place_files(SimModel *m, const PhonePart *old, size_t n_old) {
        Phone *p = phone_of(m);
        char file[128];
        int r = 0;

        for (size_t i = 0; i < n_old; i++) {
                phone_part_file(old[i].name, file, sizeof(file));
                if (!same_place(phone_part(p, old[i].name), &old[i]))
                        (void) store_remove(m, file);
        }
        for (size_t i = 0; i < p->n_parts && r >= 0; i++) {
                phone_part_file(p->parts[i].name, file, sizeof(file));
                if (store_size(m, file) < 0)
                        r = store_create(m, file, p->parts[i].size);
        }
        return r;
}

int phone_disk_layout(SimModel *m, const PhonePart *wanted, size_t n) {
        Phone *p = phone_of(m);
        uint64_t end = disk_size(m) - tail_size(m);
        PhonePart *old;
        size_t n_old = p->n_parts;
        int r;

        if (phone_kind(m)->nand)
                return phone_nand_layout(m, wanted, n);
        for (size_t i = 0; i < n; i++)
                if (wanted[i].start % phone_sector(m) || wanted[i].start < head_size(m) || wanted[i].start >= end ||
                    wanted[i].size < phone_sector(m) || wanted[i].size > end - wanted[i].start)
                        return -ENOSPC;
        if (n > PHONE_MAX_PARTS)
                return -E2BIG;
        old = malloc(sizeof(p->parts));
        if (!old)
                return -ENOMEM;
        memcpy(old, p->parts, sizeof(p->parts));
        memcpy(p->parts, wanted, n * sizeof(*wanted));
        p->n_parts = n;
        r = place_files(m, old, n_old);
        free(old);
        return r < 0 ? r : gpt_write(m);
}

int phone_disk_erase_all(SimModel *m) {
        Phone *p = phone_of(m);
        int r = 0;

        if (phone_kind(m)->nand)
                return phone_nand_erase_all(m);
        if (store_fill(m, "boot1.bin", 0, BOOT_AREA, 0) < 0 || store_fill(m, "boot2.bin", 0, BOOT_AREA, 0) < 0)
                r = -EIO;
        store_clear_dir(m, "parts");
        p->n_parts = 0;
        if (store_fill(m, "gpt.bin", 0, head_size(m), 0) < 0 || store_fill(m, "gpt-backup.bin", 0, tail_size(m), 0) < 0)
                r = -EIO;
        return r;
}

/* One piece of the user area; *step is how far it reaches. */
static int user_piece(SimModel *m, uint64_t offset, uint8_t *buf, size_t *step) {
        Phone *p = phone_of(m);
        uint64_t backup = disk_size(m) - tail_size(m);
        char file[128];

        if (offset < head_size(m)) {
                if (*step > head_size(m) - offset)
                        *step = (size_t) (head_size(m) - offset);
                return store_read(m, "gpt.bin", offset, buf, *step);
        }
        if (offset >= backup)
                return store_read(m, "gpt-backup.bin", offset - backup, buf, *step);
        if (*step > backup - offset)
                *step = (size_t) (backup - offset);
        for (size_t i = 0; i < p->n_parts; i++) {
                const PhonePart *part = &p->parts[i];

                if (offset<part->start && * step> part->start - offset)
                        *step = (size_t) (part->start - offset);
                if (offset < part->start || offset >= part->start + part->size)
                        continue;
                if (*step > part->start + part->size - offset)
                        *step = (size_t) (part->start + part->size - offset);
                phone_part_file(part->name, file, sizeof(file));
                return store_read(m, file, offset - part->start, buf, *step);
        }
        memset(buf, 0, *step);
        return 0;
}

int phone_user_read(SimModel *m, uint64_t offset, uint8_t *buf, size_t n) {
        while (n) {
                size_t step = n;
                int r = user_piece(m, offset, buf, &step);

                if (r < 0)
                        return r;
                offset += step;
                buf += step;
                n -= step;
        }
        return 0;
}

/* ---- boot chain ---- */

#define SPL_HEAD 0x20u
#define SPL_MAGIC 0xAA55A5A5u

/* Sum of the words behind the reserved block; the whole area is read so that a missing tail shows. */
static int spl_sum(SimModel *m, const char *file, uint32_t length, uint32_t *ret) {
        uint8_t *data = malloc(BOOT_AREA);
        int r;

        if (!data)
                return -ENOMEM;
        r = store_read(m, file, 0, data, BOOT_AREA);
        *ret = length > BOOT_AREA - BOOT_RESERVED ? 0 : sim_crc32(0, data + BOOT_RESERVED, length);
        free(data);
        return r;
}

int phone_seal_spl(SimModel *m, uint64_t length) {
        uint8_t head[16], *copy;
        uint32_t sum, body;
        int r;

        body = sim_word(m, OPT_SPL_HEAD, "shift") ? (uint32_t) length
               : length > BOOT_RESERVED           ? (uint32_t) length - BOOT_RESERVED
                                                  : 0;
        r = spl_sum(m, "boot1.bin", body, &sum);
        if (r < 0)
                return r;
        r = store_fill(m, "boot1.bin", 0, BOOT_RESERVED, 0);
        le32to(head, 0);
        le32to(head + 4, SPL_MAGIC);
        le32to(head + 8, sum);
        le32to(head + 12, body);
        if (r >= 0)
                r = store_write(m, "boot1.bin", SPL_HEAD, head, sizeof(head));
        if (phone_kind(m)->uboot_in_boot2)
                return r;
        copy = malloc(BOOT_AREA);
        if (!copy)
                return -ENOMEM;
        if (r >= 0)
                r = store_read(m, "boot1.bin", 0, copy, BOOT_AREA);
        if (r >= 0)
                r = store_write(m, "boot2.bin", 0, copy, BOOT_AREA);
        free(copy);
        return r;
}

static bool spl_valid(SimModel *m, const char *file) {
        uint8_t head[16];
        uint32_t sum;

        if (store_read(m, file, SPL_HEAD, head, sizeof(head)) < 0 || le32at(head + 4) != SPL_MAGIC ||
            le32at(head + 12) == 0)
                return false;
        return spl_sum(m, file, le32at(head + 12), &sum) >= 0 && sum == le32at(head + 8);
}

static bool uboot_valid(SimModel *m, const char *name) {
        uint8_t head[512];
        Target t;

        if (!phone_find(m, name, &t) || store_read(m, t.file, 0, head, sizeof(head)) < 0)
                return false;
        if (sim_flag(m, OPT_SECURE) && memcmp(head, "DHTB", 4) != 0)
                return false;
        return !sim_all_bytes(head, sizeof(head), 0) && !sim_all_bytes(head, sizeof(head), 0xFF);
}

bool phone_bootable(SimModel *m) {
        if (phone_kind(m)->nand)
                return phone_nand_bootable(m);
        if (!spl_valid(m, "boot1.bin") && !spl_valid(m, "boot2.bin"))
                return false;
        if (!sim_flag(m, OPT_IMAGE_CHECK))
                return true;
        if (phone_kind(m)->slots)
                return uboot_valid(m, phone_slot(m) == 'b' ? "uboot_b" : "uboot_a") && phone_snapshot_fits(m);
        return uboot_valid(m, "uboot") || (phone_part(phone_of(m), "uboot_bak") && uboot_valid(m, "uboot_bak"));
}

/* ---- a new unit ---- */

static int add_part(SimModel *m, PhonePart *parts, size_t *n, const char *name, uint64_t mib, uint64_t *at) {
        uint64_t room = phone_kind(m)->nand ? phone_nand_room(m) : disk_size(m) - tail_size(m), end = room >> 20 << 20;

        if (*n >= PHONE_MAX_PARTS)
                return -E2BIG;
        if (*at >= end)
                return -ENOSPC;
        snprintf(parts[*n].name, PHONE_NAME, "%s", name);
        parts[*n].start = *at;
        parts[*n].size = mib == 0xFFFFFFFF ? room - *at : mib << 20;
        *at += parts[(*n)++].size;
        return 0;
}

static int read_table(SimModel *m, const char *file, PhonePart *parts, size_t *n, uint64_t *at) {
        char line[160], name[36], size[32];
        FILE *f = fopen(file, "re");
        int r = 0;

        if (!f)
                return -errno;
        while (r >= 0 && fgets(line, sizeof(line), f)) {
                if (line[0] == '#' || line[strspn(line, " \t\r\n")] == 0)
                        continue;
                if (sscanf(line, "%35s %31s", name, size) != 2)
                        r = -EINVAL;
                else
                        r = add_part(m, parts, n, name,
                                     strcmp(size, "rest") == 0 ? 0xFFFFFFFF : strtoull(size, NULL, 0), at);
        }
        fclose(f);
        return r;
}

int phone_disk_preset(SimModel *m, PhonePart *parts, size_t *ret_n) {
        const PhoneKind *k = phone_kind(m);
        uint64_t at = k->nand ? 0 : FIRST_PART;
        int r = 0;

        *ret_n = 0;
        for (size_t i = 0; i < k->n_table && r >= 0; i++)
                r = add_part(m, parts, ret_n, k->table[i].name, k->table[i].mib, &at);
        return r;
}

static int make_table(SimModel *m, char *err, size_t err_size) {
        PhonePart *parts = calloc(PHONE_MAX_PARTS, sizeof(*parts));
        const char *file = m->option[OPT_TABLE];
        uint64_t at = phone_kind(m)->nand ? 0 : FIRST_PART;
        size_t n = 0;
        int r = 0;

        if (!parts)
                return -ENOMEM;
        if (*file)
                r = read_table(m, file, parts, &n, &at);
        else
                r = phone_disk_preset(m, parts, &n);
        if (r >= 0)
                r = phone_disk_layout(m, parts, n);
        if (r < 0)
                snprintf(err, err_size, "partition table %s: %s", *file ? file : "(default)", strerror(-r));
        free(parts);
        return r;
}

/* Something of the unit's own at the start of a partition, as an earlier firmware would have left it. */
static int old_image(SimModel *m, const char *name, size_t size, const char *magic) {
        SimRandom random = sim_random(m->seed, name);
        uint8_t *data;
        Target t;
        int r;

        if (!phone_find(m, name, &t))
                return 0;
        if (size > t.size)
                size = (size_t) t.size;
        data = malloc(size);
        if (!data)
                return -ENOMEM;
        sim_random_fill(&random, data, size);
        if (magic && size >= 512) {
                memset(data, 0, 512);
                memcpy(data, magic, strlen(magic));
        }
        if (strcmp(name, "prodnv") == 0 || strcmp(name, "persist") == 0)
                le16to(data + 0x438, 0xEF53);
        if (phone_kind(m)->nand && strcmp(name, "prodnv") == 0)
                le32to(data, 0x06101831);
        if (strcmp(name, "miscdata") == 0) {
                memset(data, 0xFF, 512);
                le32to(data, 0x53503135);
                memset(data + 4, 0, 128);
                snprintf((char *) data + 4, 64, "SN%010u", m->seed);
        }
        r = t.kind == TARGET_MTD ? phone_mtd_write(m, name, 0, data, size) : store_write(m, t.file, 0, data, size);
        free(data);
        return r;
}

static int fill_images(SimModel *m) {
        const PhoneKind *k = phone_kind(m);
        int r;

        for (size_t i = 0; i < k->n_images; i++) {
                r = old_image(m, k->images[i].name, k->images[i].size, k->images[i].magic);
                if (r < 0)
                        return r;
        }
        r = phone_slots_fill(m);
        if (r >= 0)
                r = old_image(m, "splloader", 65536, "DHTB");
        return r < 0 || phone_kind(m)->nand ? r : phone_seal_spl(m, 65536);
}

static int make_boot_areas(SimModel *m) {
        int r = store_create(m, "boot1.bin", BOOT_AREA);

        return r < 0 ? r : store_create(m, "boot2.bin", BOOT_AREA);
}

static int fill_new(SimModel *m, char *err, size_t err_size) {
        int r = store_mkdir(m, "parts");

        if (r >= 0)
                r = make_table(m, err, err_size);
        if (r >= 0)
                r = fill_images(m);
        return r < 0 ? r : phone_nv_fill(m, err, err_size);
}

int phone_disk_init(SimModel *m, bool fresh, char *err, size_t err_size) {
        const PhoneKind *k = phone_kind(m);
        int r;

        if (phone_sector(m) != 512 && phone_sector(m) != 4096) {
                snprintf(err, err_size, "option sector=%s: 512 or 4096", m->option[OPT_SECTOR]);
                return -EINVAL;
        }
        if (disk_size(m) < (64u << 20)) {
                snprintf(err, err_size, "option size=%s: 64M or more", m->option[OPT_SIZE]);
                return -EINVAL;
        }
        r = k->nand ? phone_nand_prepare(m, fresh, err, err_size) : fresh ? make_boot_areas(m) : gpt_load(m);
        if (fresh && r >= 0)
                r = fill_new(m, err, err_size);
        if (r < 0 && *err)
                return r;
        if (r < 0)
                snprintf(err, err_size, "storage of the phone: %s", strerror(-r));
        return r;
}
