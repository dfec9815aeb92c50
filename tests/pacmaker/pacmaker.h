/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes firmware packages for tests and demos: valid ones of any family and size, and, by the hooks, ones that are wrong
 * in any field. Shares no source with what reads them. Sizes above PM_DENSE are made of holes: only the first and the
 * last PM_DENSE / 2 bytes are filled, the file on disk is sparse. */

#define PM_FILES_MAX 600
#define PM_ITEMS_MAX 64
#define PM_PARTITIONS_MAX 1000
#define PM_BLOCKS_MAX 8
#define PM_DENSE (256u * 1024 * 1024) /* larger files have a hole between two ends */
#define PM_END (32u * 1024 * 1024)

typedef enum PmData {
        PM_NONE,
        PM_RANDOM,     /* by the seed of the package and the id */
        PM_BYTES,      /* a copy of the caller's */
        PM_NV,         /* an NV image of `size` bytes with the items of `nv` */
        PM_SPARSE,     /* an Android sparse image that expands to `size` bytes */
} PmData;

typedef struct PmNvEntry {
        uint16_t id, size;
} PmNvEntry;

typedef struct PmFile {
        char id[160], alias[160], type[80], name[300];
        int xml_flag, xml_check;                 /* Flag, CheckFlag */
        uint32_t flag, check, omit;              /* of the table */
        int backup;                              /* attribute, -1 absent */
        char attributes[120];                    /* more of <File>, as written */
        unsigned n_blocks;
        struct {
                char id[80];
                uint64_t base, size;
        } blocks[PM_BLOCKS_MAX];
        bool in_table, in_xml;
        char head[8];                            /* first bytes of random data: marks like "SIHR" */
        char mark[32];                           /* at offset 256 of random data: "##PORT-SECOND-ENUM##" */
        uint32_t load_address;                   /* != 0: at offset 16, high byte first */
        PmData data;
        uint64_t size;
        uint8_t *bytes;                          /* PM_BYTES; built ones too, after pm_build() */
        const PmNvEntry *nv;
} PmFile;

typedef struct PmItem {
        char name[80];
        uint32_t id;
        int backup, use, keep_going;
} PmItem;

typedef struct PmPartition {
        char name[80], size[32];
} PmPartition;

typedef struct PacMaker PacMaker;
struct PacMaker {
        int version;                             /* 1, 2; 0: by the size */
        uint64_t seed;
        char product[300], product_version[300], alias[200];
        uint32_t mode, flash_type, nand_strategy, nv_backup;
        /* configuration; empty names mean the product's */
        char xml_product[300], xml_scheme[300], xml_scheme_of_product[300], product_extra[1024];
        uint32_t flash_type_id;
        int xml_nv_backup;
        char partitions_unit[16];                /* "" no attribute */
        unsigned n_items, n_partitions, n_files;
        PmItem items[PM_ITEMS_MAX];
        PmPartition partitions[PM_PARTITIONS_MAX];
        PmFile files[PM_FILES_MAX];
        bool reverse_table;                      /* table and data in the opposite order of the configuration */
        size_t trailing;                         /* bytes behind the last file */
        /* hooks: the text of the configuration; header and table before and after the checksums */
        void (*change_xml)(PacMaker *m, char **xml, size_t *size, void *userdata);
        void (*change_table)(PacMaker *m, uint8_t *header, uint8_t *table, unsigned n_entries, void *userdata);
        void (*change_sums)(PacMaker *m, uint8_t *header, void *userdata);
        void *userdata;
};

PacMaker *pm_new(const char *product);           /* empty package */
PacMaker *pm_free(PacMaker *m);
/* A package of a family, "uis8910", "uis8850", "phone", "phone-ab", … (families.c): NULL if there is none. */
PacMaker *pm_new_family(const char *family, uint64_t seed);

PmFile *pm_add(PacMaker *m, const char *id, const char *type, uint64_t base, uint64_t block_size);
PmFile *pm_add_name(PacMaker *m, const char *id, const char *type, const char *partition, uint64_t block_size);
PmFile *pm_find(PacMaker *m, const char *id);
void pm_random(PmFile *f, const char *name, uint64_t size);
void pm_bytes(PmFile *f, const char *name, const void *data, size_t size);
void pm_select(PmFile *f, bool on);
/* Another variant of the file, other bytes of the same kind, as an entry without an ID. */
PmFile *pm_variant(PacMaker *m, const PmFile *f, const char *name, uint64_t size);
PmItem *pm_item(PacMaker *m, const char *name, uint32_t id, int keep_going);
PmPartition *pm_partition(PacMaker *m, const char *name, const char *size);
/* Replaces every `from` in the text. For change_xml hooks. */
void pm_replace(char **xml, size_t *size, const char *from, const char *to);

/* The bytes of a file as they are in the package; NULL above PM_DENSE. The caller frees. */
uint8_t *pm_content(PacMaker *m, PmFile *f, uint64_t *ret_size);
/* 0 or -errno. pm_write() leaves holes. */
int pm_write(PacMaker *m, int fd);
int pm_build(PacMaker *m, uint8_t **ret, size_t *ret_size);

uint16_t pm_crc(uint16_t crc, const void *data, size_t size);
uint16_t pm_crc_zeros(uint16_t crc, uint64_t n); /* continued over n zero bytes */
