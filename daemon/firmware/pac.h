/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "common/failure.h"
#include "firmware/image.h"
#include "common/macro.h"

/* Firmware package (.pac): read-only view of header, table and XML, all checked.
 * Strings are UTF-8, checked for control and bidi characters. Numbers are host order. Files stay inside
 * the package and are addressed by offset. */

#define PAC_FILES_MAX 512
#define PAC_BLOCKS_MAX 5
#define PAC_PARTITIONS_MAX 862
#define PAC_NV_ITEMS_MAX 4096
#define PAC_XML_MAX (1024 * 1024)
#define PAC_EXT_PARTITIONS_MAX 430 /* what one frame holds */
#define PAC_RF_CHIPS_MAX 64

typedef struct PacBlock {
        char name[37];        /* attribute id: partition name, "" if addressed by number */
        uint64_t base, size;
} PacBlock;

/* One <File> of the scheme, joined with its table entry. In XML order, which is the order of work. */
typedef struct PacFile {
        char id[128], alias[128], type[64], file_name[256];
        bool has_data;        /* the table entry carries bytes */
        bool selected;        /* table check flag: ticked by default */
        bool can_omit;
        uint32_t flag;        /* XML Flag: 1 needs a file, 0 operation, 2 ignore */
        uint32_t check_flag;  /* XML CheckFlag: 1 mandatory */
        int backup;           /* attribute backup: 0, 1, -1 absent */
        char select_by_flash, select_by_rf;
        char check_cali[64];  /* attribute CheckCali, "" absent */
        size_t n_blocks;
        PacBlock blocks[PAC_BLOCKS_MAX];
        uint64_t offset, size; /* data within the package, size 0 for operations */
        uint8_t sha256[32];    /* of the data; valid after pac_verify() */
        uint8_t head[4];       /* the first bytes of the data: of loaders they tell how they are signed */
        ImageKind kind;        /* by its first bytes; UNKNOWN without data */
} PacFile;

typedef struct PacNvItem {
        char name[64];
        uint32_t id;          /* 0xFFFFFFFF: by name */
        bool backup, use;     /* NVItem backup=, BackupFlag use= */
        bool replace, keep_going; /* NVFlag Replace, Continue checked */
} PacNvItem;

typedef struct PacPartition {
        char name[37];
        uint64_t size;        /* in `unit`s, U64_UNKNOWN = the rest */
        int64_t gap;
} PacPartition;

/* Bytes that belong to no <File> of their own: entries with an empty ID, variants of files that are chosen by what the
 * unit has. */
typedef struct PacAttachment {
        char file_name[256];
        uint64_t offset, size;
} PacAttachment;

/* A radio chip of the list <RF>: its number is what the device answers, its name stands in file names. */
typedef struct PacRfChip {
        char name[32];
        uint32_t id;
} PacRfChip;

/* <ExtTable><PartitionType>: what kind of data a partition holds, for loaders that have no list of their own. */
typedef struct PacExtPartition {
        char name[37], twin[37];
        uint32_t size;
        uint8_t type;         /* 0 raw, 1 NV, 2 sparse */
} PacExtPartition;

typedef struct Pac {
        char version[16];     /* "BP_R1.0.0" */
        char product[257], product_version[257], alias[128];
        uint64_t size;
        uint32_t mode, flash_type, nand_strategy, nv_backup;
        uint16_t crc1, crc2;
        /* from the XML */
        char scheme[128];
        uint32_t flash_type_id;  /* 0 NOR (one loader), 1 NAND-like */
        bool reboot_by_at, apr, nv_backup_enabled;
        char ext_tag[5];         /* the product wants EXTTABLE with a table of this tag; "" no */
        size_t n_ext_partitions;
        PacExtPartition *ext_partitions;
        char ext_unknown[32];    /* EXTTABLE should hold a table of a kind that nobody knows the layout of; "" no */
        size_t n_rf_chips;       /* 0: no list, or it is switched off */
        PacRfChip *rf_chips;
        bool second_enumeration; /* the first loader holds "##PORT-SECOND-ENUM##" */
        int partition_unit;      /* attribute unit, -1 absent (MiB, v0 payload) */
        size_t n_partitions;
        PacPartition *partitions;
        size_t n_nv_items;
        PacNvItem *nv_items;
        size_t n_files;
        PacFile *files;          /* XML order */
        size_t n_attachments;
        PacAttachment *attachments; /* table order */
        size_t n_warnings;
        char **warnings;         /* well formed but dangerous: one plain sentence each */
} Pac;

/* Reads `size` bytes at `offset` of the package. 0 or -errno; short files are -EIO. Gives the parser its bytes,
 * so that it works on descriptors (pread) and on mappings alike. */
typedef struct PacReader {
        int (*read)(void *userdata, void *data, size_t size, uint64_t offset);
        /* May be NULL. Where the next bytes are that may differ from zero, at or after the offset: holes need not be read. */
        uint64_t (*next_data)(void *userdata, uint64_t offset);
        void *userdata;
        uint64_t size;
} PacReader;

/* Looks for holes, which moves the descriptor's position. */
PacReader pac_reader_for_fd(int *fd, uint64_t size);
PacReader pac_reader_for_memory(const void *data, uint64_t size);
/* Where the next data of a file with holes are, at or after `at`; `at` itself where the file system does not tell. */
uint64_t pac_next_data(int fd, uint64_t at, uint64_t size);

/* Parses and checks everything except CRC2 (header, CRC1, table, XML, join). 0; 1 with *f filled (class plan, detail
 * word such as "crc1", "overlap", "xml"; text names field, offset and reason); -ENOMEM or the reader's -errno. *ret is
 * owned by the caller. */
int pac_parse(const PacReader *reader, Pac **ret, Failure *f);
Pac *pac_free(Pac *pac);
DEFINE_CLEANUP(Pac *, pac_free)

const PacFile *pac_find_file(const Pac *pac, const char *id); /* case-insensitive, NULL if none */
bool pac_file_is_loader(const PacFile *file);                 /* FDL, FDL1, FDL2, HOST_FDL, NAND_FDL… */

/* The one pass over the whole package: CRC2, SHA-256 of the package and of each file. Feed all bytes in
 * order, any chunking. */
typedef struct PacVerifier PacVerifier;
PacVerifier *pac_verifier_new(Pac *pac);
void pac_verifier_update(PacVerifier *v, const void *data, size_t size);
void pac_verifier_zeros(PacVerifier *v, uint64_t n); /* the same for n zero bytes, faster */
/* 0 and the digest; 1 with *f (detail "crc2"; "changed": these are not the bytes that were parsed) */
int pac_verifier_finish(PacVerifier *v, uint8_t ret_sha256[static 32], Failure *f);
PacVerifier *pac_verifier_free(PacVerifier *v);
DEFINE_CLEANUP(PacVerifier *, pac_verifier_free)
/* pac_verifier over a whole reader. */
/* SHA-256 of a file's data in lower-case hex; "" before pac_verify(). */
void pac_file_hash(const PacFile *file, char ret[static 65]);
int pac_verify(const PacReader *reader, Pac *pac, uint8_t ret_sha256[static 32], Failure *f);

/* Bytes of one unit of the partition list (attribute unit, -1 absent: MiB; bsl-protocol §6.7). A sector counts as 512: where they
 * are larger, the smaller one is the safe guess. */
uint64_t pac_partition_unit(int unit);

/* "uis8910", "uis8850", "phone", …: what the loaders and types of the package say, for people and for matching. */
const char *pac_family(const Pac *pac);
