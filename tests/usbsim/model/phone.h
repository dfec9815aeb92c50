/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "nvimage.h"
#include "sim.h"
#include "wire.h"

#define PHONE_MAX_PARTS 128
#define PHONE_NAME 36
#define SECTOR 512u
#define BOOT_AREA (4u << 20)
#define BOOT_RESERVED 512u
#define NV_HEADER 512u

typedef enum TargetKind {
        TARGET_NONE,
        TARGET_PART,
        TARGET_NV,
        TARGET_BOOT1,
        TARGET_BOOT2,
        TARGET_USER,
        TARGET_SIZE
} TargetKind;

typedef struct PhonePart {
        char name[PHONE_NAME];
        uint64_t start, size; /* bytes */
} PhonePart;

typedef struct Target {
        TargetKind kind;
        char name[PHONE_NAME];
        char file[128];
        uint64_t size; /* bytes that can be addressed */
} Target;

/* Expands an Android sparse stream as it comes. */
typedef struct Sparse {
        uint8_t head[32];
        size_t fill, need;
        enum { SPARSE_HEADER, SPARSE_SKIP, SPARSE_CHUNK, SPARSE_RAW, SPARSE_FILL_WORD, SPARSE_DONE } state;
        uint32_t block, chunk_header, chunks_left;
        uint64_t at, left; /* output offset; bytes of the chunk still to come or to skip */
        uint64_t fill_size;
} Sparse;

typedef struct Phone {
        PhonePart parts[PHONE_MAX_PARTS];
        size_t n_parts;

        /* ROM and FDL1: the loader being taken */
        bool started;
        uint32_t address, size, got;
        uint8_t *loader;
        bool enumerates_again;

        /* FDL2 */
        bool writing, failed, sparse_on, no_such_target;
        Target target;
        uint64_t total, received, written;
        uint32_t nv_sum;
        uint8_t *buffer;
        size_t fill, room;
        Sparse sparse;
        /* raw data: the running chunk */
        uint8_t *chunk;
        uint32_t chunk_size, chunk_got;
        bool raw_enabled, raw_exact, raw_whole;
        bool reading;
        Target source;
        bool write_enabled;
} Phone;

static inline Phone *phone_of(SimModel *m) {
        return m->priv;
}

/* phone-disk.c: what is in flash. */
int phone_disk_init(SimModel *m, bool fresh, char *err, size_t err_size);
bool phone_find(SimModel *m, const char *name, Target *ret);
const PhonePart *phone_part(const Phone *p, const char *name);
void phone_part_file(const char *name, char *ret, size_t size);
int phone_disk_layout(SimModel *m, const PhonePart *wanted, size_t n); /* writes a GPT; sizes of 0: rest */
int phone_disk_erase_all(SimModel *m);
int phone_user_read(SimModel *m, uint64_t offset, uint8_t *buf, size_t n);
bool phone_bootable(SimModel *m);
int phone_seal_spl(SimModel *m, uint64_t length); /* the checksum block, and the copy */

/* phone-nv.c */
bool phone_nv_twin(const char *name, char ret[PHONE_NAME]); /* l_fixnv1 → l_fixnv2 */
int phone_nv_store(SimModel *m, const char *name, const uint8_t *image, size_t n);
int phone_nv_repair(SimModel *m, const char *name); /* negative: both copies bad */
int phone_nv_fill(SimModel *m, char *err, size_t err_size);

/* phone-fdl2.c */
void phone_fdl2_frame(SimModel *m, unsigned type, const uint8_t *p, size_t n);
void phone_fdl2_hello(SimModel *m);
void phone_fdl2_forget(SimModel *m);

/* The next bytes of what is being written: 0 or a reply code. */
unsigned phone_fdl2_take(SimModel *m, const uint8_t *d, size_t n);

/* phone-raw.c: unframed data. true: the command was one of these. */
bool phone_raw_command(SimModel *m, unsigned type, size_t n);
void phone_raw_data(SimModel *m, const uint8_t *p, size_t n, bool end);
void phone_raw_forget(SimModel *m);

/* phone-sparse.c: reply code, 0 going well. */
bool sparse_begins(const uint8_t *p, size_t n, size_t *ret_skip);
void sparse_start(Sparse *s);
unsigned sparse_feed(SimModel *m, Sparse *s, const Target *t, const uint8_t *p, size_t n);
