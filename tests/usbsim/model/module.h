/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "nvimage.h"
#include "sim.h"
#include "wire.h"

/* What UIS8910 and UIS8850 have in common: the last loader, its flash and its stores. Storage:
 * flash.bin (NOR from 0x60000000), FFAC (/factory: imei.bin, nvXXXX.bin, phasecheck.bin), FSYS, FMOD, FEXT, NVM
 * (running NV). */

#define NOR_BASE 0x60000000u
#define NOR_BLOCK 4096u
#define SPL_AREA 0x20000u
#define SPL_COPY 0x10000u
#define PENDING 65536u
#define PHASE_SIZE 0x100u

typedef enum ModuleTarget { MT_NONE, MT_FLASH, MT_SPL, MT_PHASE, MT_NV, MT_CPIO, MT_NOWHERE } ModuleTarget;

typedef struct Cpio {
        uint8_t head[26];
        char name[256];
        size_t fill;
        enum { CPIO_HEAD, CPIO_NAME, CPIO_DATA, CPIO_OVER } state;
        uint32_t name_size, file_size, left;
        uint8_t *data; /* NULL: the member is skipped */
        unsigned files, skipped;
} Cpio;

typedef struct Module {
        /* ROM, PDL, FDL1: the loader being taken */
        unsigned load_state; /* 0 nothing, 1 started, 2 ended */
        uint32_t load_address, load_size, load_got;
        uint8_t *image;
        /* PDL */
        uint8_t pdl_header[8], *pdl_data;
        size_t pdl_need, pdl_fill;
        uint32_t pdl_next;
        /* last loader */
        ModuleTarget target;
        uint32_t address, size, got, crc;
        uint8_t *ram; /* SPL, NV, PhaseCheck: whole; flash: what is not yet programmed */
        uint32_t pending, programmed;
        bool phase_seen;
        NvTable table;
        uint32_t nv_size;
        uint8_t *session_nv; /* image written in this session (8850) */
        uint8_t *saved_nv;   /* kept over a whole-chip erase (8910) */
        uint8_t saved_phase[PHASE_SIZE];
        bool has_saved_phase;
        Cpio cpio;
} Module;

static inline Module *module_of(SimModel *m) {
        return m->priv;
}
static inline bool is_8910(const SimModel *m) {
        return m->family == &sim_uis8910;
}

/* module.c */
int module_init(SimModel *m, const NvLength *preset, size_t n, uint32_t nv_size, char *err, size_t err_size);
void module_power(SimModel *m);
void module_done(SimModel *m);
size_t module_describe(const SimModel *m, char *buf, size_t size);
void module_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n);
void module_forget_loader(Module *o);
bool module_take(SimModel *m, const uint8_t *d, size_t n); /* a piece of the loader; false: too much */
int module_old_image(SimModel *m, const char *label, uint32_t offset, size_t size, bool uimage);
static inline bool nor_fits(const SimModel *m, uint32_t end) {
        return m->number[OPT_FLASH] >= end;
}
bool uimage_valid(const uint8_t *p, size_t n);
bool uimage_in_flash(SimModel *m, uint32_t offset);
bool sihr_valid(const uint8_t *p, size_t n);
bool sihr_in_flash(SimModel *m, uint32_t offset, uint32_t room);

/* module-nv.c */
int module_nv_fill(SimModel *m);                                       /* a new unit */
int module_nv_defaults(SimModel *m);                                   /* what the 8910's FDL2 mends when it starts */
bool module_nv_image(SimModel *m, uint8_t *image);                     /* false: there is none */
unsigned module_nv_store(SimModel *m, const uint8_t *image, size_t n); /* reply code */

/* module-cpio.c */
void cpio_start(Cpio *c);
void cpio_stop(Cpio *c);
void cpio_feed(SimModel *m, Cpio *c, const uint8_t *p, size_t n);
