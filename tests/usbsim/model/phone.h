/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "loader.h"
#include "nvimage.h"
#include "sim.h"
#include "wire.h"

#define PHONE_MAX_PARTS 128
#define PHONE_NAME 36
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
        TARGET_MTD,
        TARGET_SIZE
} TargetKind;

typedef struct PhonePreset {
        const char *name;
        uint32_t mib; /* 0xFFFFFFFF: the rest */
} PhonePreset;

/* What an earlier firmware left in a partition of a new unit. */
typedef struct PhoneImage {
        const char *name;
        uint32_t size;
        const char *magic;
} PhoneImage;

/* How the phone families differ. */
typedef struct PhoneKind {
        const PhonePreset *table;
        size_t n_table;
        const PhoneImage *images;
        size_t n_images;
        const char *fixnv, *runtimenv; /* first copies */
        bool slots;                    /* X_a is mirrored to X_b instead of X to X_bak; NV in both slots */
        bool uboot_in_boot2;           /* so splloader has no copy there */
        bool dwc3;                     /* raw data of a known length needs its ZLP nevertheless */
        bool nand;                     /* UBI volumes, no table command */
        bool old;                      /* 32-bit only, never unescaped, no table command */
        bool lk;
} PhoneKind;

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
        Loader loader;
        bool enumerates_again, autod;

        /* FDL2 */
        bool writing, failed, sparse_on, no_such_target, this_slot;
        Target target;
        uint64_t total, received, written;
        uint32_t nv_sum;
        uint8_t *buffer;
        size_t fill, room;
        Sparse sparse;
        /* raw data: the running chunk */
        uint8_t *chunk;
        uint32_t chunk_size, chunk_got;
        bool raw_enabled, raw_exact, raw_whole, piece_fine;
        bool reading;
        Target source;
        uint64_t source_size; /* as READ_START said */
        bool fetched;         /* MTD: what READ_START announced is in RAM */
        bool write_enabled;
        size_t ext_size; /* of the last EXTTABLE, and its CRC-32 */
        uint32_t ext_crc;
} Phone;

static inline Phone *phone_of(SimModel *m) {
        return m->priv;
}
static inline const PhoneKind *phone_kind(const SimModel *m) {
        return m->family->phone;
}
static inline uint64_t phone_sector(const SimModel *m) {
        return m->number[OPT_SECTOR];
}
/* Sectors of the GPT at the start, and of its copy at the end of the disk. */
static inline uint64_t phone_gpt_head(const SimModel *m) {
        return 2 + 16384 / phone_sector(m);
}
static inline uint64_t phone_gpt_tail(const SimModel *m) {
        return 1 + 16384 / phone_sector(m);
}

/* phone.c */
int phone_init(SimModel *m, bool fresh, char *err, size_t err_size);
void phone_done(SimModel *m);
void phone_power(SimModel *m);
void phone_power_cycle(SimModel *m);
size_t phone_describe(const SimModel *m, char *buf, size_t size);
bool phone_wakes(SimModel *m);
void phone_autod_begin(SimModel *m);
void phone_usb_now(const SimModel *m, SimUsb *usb);
extern const SimTraits traits_rom, traits_fdl1, traits_fdl1_dwc3, traits_fdl2;
#define PHONE_FAMILY                                                                                                   \
        .usb = PHONE_USB, .first = STAGE_BROM, .init = phone_init, .done = phone_done, .power = phone_power_cycle,     \
        .wakes = phone_wakes, .usb_now = phone_usb_now, .bootable = phone_bootable, .describe = phone_describe

/* phone-autod.c */
extern const SimTraits traits_autod_rom, traits_autod_fdl1;
void phone_fdl2_begins(SimModel *m);

/* phone-slots.c */
char phone_slot(SimModel *m);                                       /* 'a' or 'b' */
bool phone_other_slot(const char *name, char ret[PHONE_NAME]);      /* X_a ⇄ X_b */
const PhonePart *phone_find_slotted(SimModel *m, const char *name); /* NV with or without slot in the name */
/* The NV of the active slot, whatever slot the name says. */
bool phone_find_active(SimModel *m, const char *name, Target *ret);
bool phone_mirror(SimModel *m, const char *name, char ret[PHONE_NAME]); /* the copy that a write makes */
int phone_slots_fill(SimModel *m);                                      /* a new unit */
bool phone_snapshot_fits(SimModel *m);

/* phone-nand.c */
int phone_nand_prepare(SimModel *m, bool fresh, char *err, size_t err_size);
bool phone_nand_find(SimModel *m, const char *name, Target *ret);
uint64_t phone_nand_room(const SimModel *m); /* for volumes */
int phone_nand_layout(SimModel *m, const PhonePart *wanted, size_t n);
int phone_nand_erase_all(SimModel *m);
bool phone_nand_bootable(SimModel *m);
void phone_nand_info(SimModel *m);
void phone_nand_type(SimModel *m);
void phone_nand_blocks(SimModel *m);
int phone_mtd_write(SimModel *m, const char *name, uint64_t offset, uint8_t *p, size_t n);
int phone_mtd_read(SimModel *m, const char *name, uint64_t offset, uint8_t *p, size_t n);
bool phone_ubi_block_fails(SimModel *m); /* false: no spare block is left */

/* phone-disk.c: what is in flash. */
void phone_disk_power(SimModel *m); /* what stands in flash now is what is known of its table */
int phone_disk_init(SimModel *m, bool fresh, char *err, size_t err_size);
bool phone_find(SimModel *m, const char *name, Target *ret);
const PhonePart *phone_part(const Phone *p, const char *name);
void phone_part_file(const char *name, char *ret, size_t size);
int phone_disk_layout(SimModel *m, const PhonePart *wanted, size_t n); /* writes a GPT; sizes of 0: rest */
/* The family's own table, as wanted for phone_disk_layout(). */
int phone_disk_preset(SimModel *m, PhonePart *parts, size_t *ret_n);
int phone_disk_erase_all(SimModel *m);
int phone_user_read(SimModel *m, uint64_t offset, uint8_t *buf, size_t n);
bool phone_bootable(SimModel *m);
int phone_seal_spl(SimModel *m, uint64_t length); /* the checksum block, and the copy */

/* phone-nv.c */
bool phone_nv_twin(const char *name, char ret[PHONE_NAME]); /* l_fixnv1 → l_fixnv2 */
/* In all its copies; one_slot: not those of the other slot. */
int phone_nv_store(SimModel *m, const char *name, const uint8_t *image, size_t n, bool one_slot);
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
