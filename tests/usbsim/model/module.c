/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

#define ADDR_RUNNING_NV 0xFE000001u
#define ADDR_PHASE 0xFE000002u
#define ADDR_NV 0xFE000003u
#define ADDR_PREPACK 0xFE000004u
#define ADDR_APP_IMAGE 0xFE000005u
#define ADDR_FORMAT 0xFE000006u

static const char *const file_systems[] = {"FSYS", "FMOD", "FEXT", "FFAC"};

static uint32_t nor_size(const SimModel *m) {
        return (uint32_t) m->number[OPT_FLASH];
}

static bool in_nor(const SimModel *m, uint32_t address, uint32_t size) {
        return address >= NOR_BASE && address - NOR_BASE <= nor_size(m) && size <= nor_size(m) - (address - NOR_BASE);
}

/* ---- images ---- */

bool uimage_valid(const uint8_t *p, size_t n) {
        uint8_t head[64];

        if (n < 64 || be32at(p) != 0x27051956 || be32at(p + 12) == 0 || be32at(p + 12) > n - 64)
                return false;
        memcpy(head, p, 64);
        memset(head + 4, 0, 4);
        return sim_crc32(0, head, 64) == be32at(p + 4) && sim_crc32(0, p + 64, be32at(p + 12)) == be32at(p + 24);
}

bool sihr_valid(const uint8_t *p, size_t n) {
        uint32_t size;

        if (n < 0x100 || memcmp(p, "SIHR", 4) != 0)
                return false;
        size = le32at(p + 0x24);
        return size >= 0x100 && size <= n;
}

bool uimage_in_flash(SimModel *m, uint32_t offset) {
        uint8_t head[64], *image;
        bool valid = false;
        uint32_t n;

        if (store_read(m, "flash.bin", offset, head, sizeof(head)) < 0)
                return false;
        if (!sim_flag(m, OPT_IMAGE_CHECK))
                return !sim_all_bytes(head, sizeof(head), 0xFF);
        n = be32at(head + 12);
        if (be32at(head) != 0x27051956 || n > nor_size(m) - offset - 64)
                return false;
        image = malloc(n + 64);
        if (image && store_read(m, "flash.bin", offset, image, n + 64) >= 0)
                valid = uimage_valid(image, n + 64);
        free(image);
        return valid;
}

/* The vendor's hash is not known: an image counts as complete when its end is there too. */
bool sihr_in_flash(SimModel *m, uint32_t offset, uint32_t room) {
        uint8_t head[0x100], tail[64];

        if (store_read(m, "flash.bin", offset, head, sizeof(head)) < 0)
                return false;
        if (!sim_flag(m, OPT_IMAGE_CHECK))
                return !sim_all_bytes(head, sizeof(head), 0xFF);
        if (!sihr_valid(head, room < 0x100 ? 0x100 : room))
                return false;
        if (store_read(m, "flash.bin", offset + le32at(head + 0x24) - sizeof(tail), tail, sizeof(tail)) < 0)
                return false;
        return !sim_all_bytes(tail, sizeof(tail), 0xFF);
}

int module_old_image(SimModel *m, const char *label, uint32_t offset, size_t size, bool uimage) {
        SimRandom random = sim_random(m->seed, label);
        uint8_t *data = calloc(1, size);
        int r;

        if (!data)
                return -ENOMEM;
        sim_random_fill(&random, data, size);
        if (uimage) {
                memset(data, 0, 64);
                be32to(data, 0x27051956);
                be32to(data + 12, (uint32_t) size - 64);
                be32to(data + 24, sim_crc32(0, data + 64, size - 64));
                be32to(data + 4, sim_crc32(0, data, 64));
        } else {
                memset(data, 0, 0x100);
                memcpy(data, "SIHR", 4);
                le32to(data + 0x24, (uint32_t) size);
        }
        r = store_write(m, "flash.bin", offset, data, size);
        free(data);
        return r;
}

/* ---- loaders being taken by ROM and FDL1 ---- */

void module_forget_loader(Module *o) {
        free(o->image);
        o->image = NULL;
        o->load_state = 0;
        o->load_size = o->load_got = 0;
}

bool module_take(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);

        if (n > o->load_size - o->load_got)
                return false;
        if (!o->image)
                o->image = calloc(1, o->load_size ? o->load_size : 1);
        if (!o->image)
                return false;
        if (n)
                memcpy(o->image + o->load_got, d, n);
        o->load_got += (uint32_t) n;
        m->transfer_offset = o->load_got;
        return true;
}

/* ---- START, MIDST, END ---- */

static void stop_transfer(Module *o) {
        free(o->ram);
        o->ram = NULL;
        o->target = MT_NONE;
        cpio_stop(&o->cpio);
}

static ModuleTarget pick_target(SimModel *m, uint32_t address, uint32_t size, unsigned *ret_code) {
        *ret_code = 0;
        if (address == ADDR_PHASE) {
                *ret_code = size == PHASE_SIZE ? 0 : REP_SIZE;
                return MT_PHASE;
        }
        if (address == ADDR_NV) {
                *ret_code = size > module_of(m)->nv_size ? REP_SIZE : 0;
                return MT_NV;
        }
        if (address == ADDR_PREPACK)
                return MT_CPIO;
        if (!in_nor(m, address, size)) {
                *ret_code = REP_DEST;
                return MT_NOWHERE;
        }
        return !is_8910(m) && address == NOR_BASE && size <= SPL_AREA ? MT_SPL : MT_FLASH;
}

static void do_start(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);
        uint32_t need = PENDING;
        unsigned code;

        if (n < 8) {
                sim_send(m, REP_INVALID, NULL, 0);
                return;
        }
        stop_transfer(o);
        o->address = be32at(d);
        o->size = be32at(d + 4);
        o->got = o->crc = o->pending = o->programmed = 0;
        m->transfer_offset = 0;
        o->target = pick_target(m, o->address, o->size, &code);
        if (o->target == MT_PHASE && !code)
                o->phase_seen = true;
        if (code) {
                /* The 8850 says no and still takes the data. */
                o->target = code == REP_DEST && !is_8910(m) ? MT_NOWHERE : MT_NONE;
                sim_send(m, code, NULL, 0);
                return;
        }
        if (o->target == MT_CPIO)
                cpio_start(&o->cpio);
        if (o->target != MT_FLASH)
                need = o->size;
        if (o->target != MT_CPIO)
                o->ram = malloc(need ? need : 1);
        sim_ack(m);
}

/* Erases the blocks that a write enters, then programs. What stands before the start in its block survives. */
static bool program(SimModel *m, uint32_t offset, const uint8_t *p, uint32_t n, uint32_t first) {
        for (uint32_t at = offset; at < offset + n; at = (at / NOR_BLOCK + 1) * NOR_BLOCK) {
                uint32_t end = (at / NOR_BLOCK + 1) * NOR_BLOCK;

                if (at % NOR_BLOCK && at != first)
                        continue;
                if (store_fill(m, "flash.bin", at, end - at, 0xFF) < 0)
                        return false;
        }
        if (sim_takes_write_fault(m) || store_write(m, "flash.bin", offset, p, n) < 0)
                return false;
        m->bytes_written += n;
        sim_work_bytes(m, n, OPT_FLASH_RATE);
        return true;
}

static bool flush_pending(SimModel *m) {
        Module *o = module_of(m);
        uint32_t first = o->address - NOR_BASE;
        bool good = o->pending == 0 || program(m, first + o->programmed, o->ram, o->pending, first);

        o->programmed += o->pending;
        o->pending = 0;
        return good;
}

static bool take_flash(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);

        while (n) {
                size_t step = PENDING - o->pending < n ? PENDING - o->pending : n;

                memcpy(o->ram + o->pending, d, step);
                o->pending += (uint32_t) step;
                d += step;
                n -= step;
                if (o->pending == PENDING && !flush_pending(m))
                        return false;
        }
        return true;
}

static void do_midst(SimModel *m, const uint8_t *d, size_t n) {
        Module *o = module_of(m);
        bool good = true;

        if (o->target == MT_NONE) {
                sim_send(m, REP_NOT_STARTED, NULL, 0);
                return;
        }
        if (n > o->size - o->got) {
                stop_transfer(o);
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        o->crc = sim_crc32(o->crc, d, n);
        if (o->target == MT_FLASH)
                good = o->ram && take_flash(m, d, n);
        else if (o->target == MT_CPIO) {
                cpio_feed(m, &o->cpio, d, n);
                sim_work_bytes(m, n, OPT_FLASH_RATE);
                m->bytes_written += n;
        } else if (o->ram)
                memcpy(o->ram + o->got, d, n);
        if (o->target != MT_FLASH && o->target != MT_NOWHERE && sim_takes_write_fault(m))
                good = false;
        o->got += (uint32_t) n;
        m->transfer_offset = o->got;
        if (good) {
                sim_ack(m);
                return;
        }
        stop_transfer(o);
        sim_send(m, REP_FAILED, NULL, 0);
}

static unsigned read_back(SimModel *m, uint32_t offset, uint32_t n, uint32_t crc) {
        uint8_t block[NOR_BLOCK];
        uint32_t now = 0;

        if (sim_takes_readback_fault(m) && n && store_read(m, "flash.bin", offset + n / 2, block, 1) >= 0) {
                block[0] ^= 0x20;
                (void) store_write(m, "flash.bin", offset + n / 2, block, 1);
        }
        sim_work_bytes(m, n, OPT_VERIFY_RATE);
        for (uint32_t at = 0; at < n;) {
                uint32_t step = n - at < sizeof(block) ? n - at : (uint32_t) sizeof(block);

                if (store_read(m, "flash.bin", offset + at, block, step) < 0)
                        return REP_FAILED;
                now = sim_crc32(now, block, step);
                at += step;
        }
        return now == crc ? 0 : REP_VERIFY;
}

static bool signed_range(const SimModel *m, uint32_t offset) {
        return is_8910(m) ? offset == 0 || offset == 0x10000 : offset == 0 || offset == 0x20000 || offset == 0x30000;
}

static unsigned end_flash(SimModel *m) {
        Module *o = module_of(m);
        uint32_t offset = o->address - NOR_BASE;
        unsigned r;

        if (!flush_pending(m))
                return REP_FAILED;
        r = read_back(m, offset, o->size, o->crc);
        if (r || !sim_flag(m, OPT_SECURE) || !signed_range(m, offset))
                return r;
        if (is_8910(m))
                return uimage_in_flash(m, offset) ? 0 : REP_VERIFY;
        return sihr_in_flash(m, offset, o->size) ? 0 : REP_SECURITY;
}

static unsigned end_spl(SimModel *m) {
        Module *o = module_of(m);
        unsigned r;

        if (sim_flag(m, OPT_SECURE) && !sihr_valid(o->ram, o->size))
                return REP_SECURITY;
        if (!program(m, 0, o->ram, o->size, 0))
                return REP_FAILED;
        r = read_back(m, 0, o->size, o->crc);
        if (r || o->size > SPL_COPY || m->number[OPT_SPL_COPIES] < 2)
                return r;
        if (!program(m, SPL_COPY, o->ram, o->size, SPL_COPY))
                return REP_FAILED;
        return read_back(m, SPL_COPY, o->size, o->crc);
}

static void do_end(SimModel *m) {
        Module *o = module_of(m);
        unsigned r = 0;

        if (o->target == MT_NONE)
                r = REP_NOT_STARTED;
        else if (o->target == MT_NOWHERE)
                r = REP_INVALID;
        else if (o->got < o->size)
                r = REP_SIZE;
        else if (o->target == MT_FLASH)
                r = end_flash(m);
        else if (o->target == MT_SPL)
                r = end_spl(m);
        else if (sim_takes_write_fault(m))
                r = REP_FAILED;
        else if (o->target == MT_PHASE)
                r = store_put(m, "FFAC/phasecheck.bin", o->ram, PHASE_SIZE) < 0 ? REP_FAILED : 0;
        else if (o->target == MT_NV) {
                r = module_nv_store(m, o->ram, o->size);
                m->bytes_written += o->size;
                sim_work_bytes(m, o->size, OPT_FLASH_RATE);
        }
        stop_transfer(o);
        sim_send(m, r ? r : REP_ACK, NULL, 0);
}

/* ---- READ_FLASH ---- */

static unsigned read_nv(SimModel *m, uint8_t *buf, uint32_t *size, uint32_t offset) {
        Module *o = module_of(m);
        uint32_t there = o->nv_size;
        uint8_t *image = malloc(o->nv_size);
        unsigned r = 0;

        if (!image || !module_nv_image(m, image))
                r = REP_FAILED;
        if (!is_8910(m) && m->number[OPT_NV_SHORT] && m->number[OPT_NV_SHORT] < there)
                there = (uint32_t) m->number[OPT_NV_SHORT];
        if (!r && offset >= there)
                r = REP_INVALID;
        if (!r) {
                if (*size > there - offset)
                        *size = there - offset;
                memcpy(buf, image + offset, *size);
        }
        free(image);
        return r;
}

static unsigned read_any(SimModel *m, uint32_t address, uint8_t *buf, uint32_t *size, uint32_t offset) {
        uint8_t phase[PHASE_SIZE];

        if (address == ADDR_NV)
                return read_nv(m, buf, size, offset);
        if (address == ADDR_PHASE) {
                if (module_of(m)->has_saved_phase)
                        memcpy(phase, module_of(m)->saved_phase, PHASE_SIZE);
                else if (store_size(m, "FFAC/phasecheck.bin") != PHASE_SIZE)
                        return REP_FAILED;
                else if (store_read(m, "FFAC/phasecheck.bin", 0, phase, PHASE_SIZE) < 0)
                        return REP_FAILED;
                if (offset >= PHASE_SIZE || *size > PHASE_SIZE - offset)
                        return REP_INVALID;
                memcpy(buf, phase + offset, *size);
                return 0;
        }
        if (offset > UINT32_MAX - address || !in_nor(m, address + offset, *size))
                return REP_INVALID;
        return store_read(m, "flash.bin", address - NOR_BASE + offset, buf, *size) < 0 ? REP_FAILED : 0;
}

static void do_read(SimModel *m, const uint8_t *d, size_t n) {
        uint32_t size = n >= 8 ? be32at(d + 4) : 0;
        uint8_t *buf = NULL;
        unsigned r = REP_INVALID;

        if (n >= 8 && size > 0 && size <= 0xFFF0)
                buf = malloc(size);
        if (buf)
                r = read_any(m, be32at(d), buf, &size, n >= 12 ? be32at(d + 8) : 0);
        if (r)
                sim_send(m, r, NULL, 0);
        else {
                if (sim_takes_readback_fault(m))
                        buf[size / 2] ^= 0x10;
                m->bytes_read += size;
                sim_work_bytes(m, size, OPT_VERIFY_RATE);
                sim_send(m, REP_READ_FLASH, buf, size);
        }
        free(buf);
}

/* ---- ERASE ---- */

static bool nor_blank(SimModel *m, uint32_t offset, uint32_t n) {
        uint8_t block[NOR_BLOCK];

        for (uint32_t at = 0; at < n;) {
                uint32_t step = n - at < sizeof(block) ? n - at : (uint32_t) sizeof(block);

                if (store_read(m, "flash.bin", offset + at, block, step) < 0 || !sim_all_bytes(block, step, 0xFF))
                        return false;
                at += step;
        }
        return true;
}

static unsigned erase_range(SimModel *m, uint32_t address, uint32_t size) {
        uint32_t offset = address - NOR_BASE;

        if (sim_flag(m, OPT_MODEL_MISMATCH))
                return REP_DEVICE;
        if (!in_nor(m, address, size))
                return REP_INVALID;
        if (is_8910(m) && nor_blank(m, offset, size))
                return 0;
        if (offset % NOR_BLOCK || size % NOR_BLOCK)
                return REP_INVALID;
        m->bytes_erased += size;
        sim_work_bytes(m, size, OPT_ERASE_RATE);
        return store_fill(m, "flash.bin", offset, size, 0xFF) < 0 ? REP_FAILED : 0;
}

/* Identity survives in RAM only: if power is lost before NV is written again, it is gone. */
static unsigned erase_chip(SimModel *m) {
        Module *o = module_of(m);

        if (is_8910(m) && !o->saved_nv) {
                uint8_t *image = malloc(o->nv_size);
                if (image)
                        (void) module_nv_image(m, image);
                o->saved_nv = image;
        }
        if (!o->has_saved_phase && store_size(m, "FFAC/phasecheck.bin") == PHASE_SIZE)
                o->has_saved_phase = store_read(m, "FFAC/phasecheck.bin", 0, o->saved_phase, PHASE_SIZE) >= 0;
        for (size_t i = 0; i < COUNT(file_systems); i++)
                (void) store_clear_dir(m, file_systems[i]);
        (void) store_clear_dir(m, "NVM");
        m->bytes_erased += nor_size(m);
        sim_work_bytes(m, nor_size(m), OPT_ERASE_RATE);
        return store_fill(m, "flash.bin", 0, nor_size(m), 0xFF) < 0 ? REP_FAILED : 0;
}

static unsigned format(SimModel *m, uint32_t fourcc) {
        for (size_t i = 0; i < COUNT(file_systems); i++)
                if (le32at((const uint8_t *) file_systems[i]) == fourcc) {
                        if (!sim_flag(m, OPT_FAST))
                                sim_work(m, 100 * SIM_MS);
                        return store_clear_dir(m, file_systems[i]) < 0 ? REP_FAILED : 0;
                }
        return REP_FAILED;
}

static void do_erase(SimModel *m, const uint8_t *d, size_t n) {
        uint32_t address = n >= 8 ? be32at(d) : 0, size = n >= 8 ? be32at(d + 4) : 0;
        unsigned r = 0;

        if (n < 8)
                r = REP_INVALID;
        else if (sim_takes_write_fault(m))
                r = REP_FAILED;
        else if (address == ADDR_RUNNING_NV)
                (void) store_clear_dir(m, "NVM");
        else if (address == ADDR_PHASE)
                (void) store_remove(m, "FFAC/phasecheck.bin");
        else if (address == ADDR_APP_IMAGE)
                (void) store_remove(m, "FSYS/appimg.img");
        else if (address == ADDR_FORMAT)
                r = format(m, size);
        else if (address == 0 && size == 0xFFFFFFFF)
                r = erase_chip(m);
        else
                r = erase_range(m, address, size);
        sim_send(m, r ? r : REP_ACK, NULL, 0);
}

void module_frame(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        switch (type) {
        case CMD_CONNECT:
                m->connected = true;
                sim_ack(m);
                break;
        case CMD_START:
                do_start(m, d, n);
                break;
        case CMD_MIDST:
                do_midst(m, d, n);
                break;
        case CMD_END:
                do_end(m);
                break;
        case CMD_READ_FLASH:
                do_read(m, d, n);
                break;
        case CMD_ERASE:
                do_erase(m, d, n);
                break;
        case CMD_BAUD:
        case CMD_REPARTITION:
        case CMD_DEBUG_MODE:
                sim_ack(m);
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
                m->unknown++;
                sim_send(m, REP_INVALID, NULL, 0);
        }
}

/* ---- unit ---- */

static int fill_files(SimModel *m) {
        static const struct {
                const char *file;
                size_t size;
        } old[] = {
                {"FSYS/sysinfo.bin", 512}, {"FMOD/cp.bin.000", 40000},     {"FMOD/old.bin.999", 1000},
                {"FEXT/user.dat", 2000},   {"FFAC/modem_config.bin", 334}, {"NVM/running.bin", 4096},
                {"NVM/adaptive.bin", 300},
        };
        uint8_t phase[PHASE_SIZE], *data = malloc(65536);
        int r = 0;

        if (!data)
                return -ENOMEM;
        for (size_t i = 0; i < COUNT(old) && r >= 0; i++) {
                SimRandom random = sim_random(m->seed, old[i].file);
                sim_random_fill(&random, data, old[i].size);
                r = store_put(m, old[i].file, data, old[i].size);
        }
        free(data);
        memset(phase, 0xFF, sizeof(phase));
        memset(phase, 0, 52);
        le32to(phase, 0x53503039);
        snprintf((char *) phase + 4, 24, "SN%010u", m->seed);
        return r < 0 ? r : store_put(m, "FFAC/phasecheck.bin", phase, sizeof(phase));
}

static int fill(SimModel *m) {
        int r = store_mkdir(m, "NVM");

        for (size_t i = 0; i < COUNT(file_systems) && r >= 0; i++)
                r = store_mkdir(m, file_systems[i]);
        if (r >= 0)
                r = store_create(m, "flash.bin", nor_size(m));
        if (r >= 0)
                r = store_fill(m, "flash.bin", 0, nor_size(m), 0xFF);
        if (r >= 0)
                r = module_nv_fill(m);
        return r < 0 ? r : fill_files(m);
}

int module_init(SimModel *m, const NvLength *preset, size_t n, uint32_t nv_size, char *err, size_t err_size) {
        Module *o = m->priv = calloc(1, sizeof(Module));
        bool fresh = store_is_empty(m);
        int r;

        if (!o)
                return -ENOMEM;
        o->cpio.state = CPIO_OVER;
        o->nv_size = nv_size;
        if (m->number[OPT_FLASH] < (1u << 20) || m->number[OPT_FLASH] > (64u << 20) || m->number[OPT_FLASH] % 65536) {
                snprintf(err, err_size, "option flash=%s: 1M to 64M", m->option[OPT_FLASH]);
                return -EINVAL;
        }
        if (sim_word(m, OPT_NV, "first-bad") || sim_word(m, OPT_NV, "twin-bad") || sim_word(m, OPT_NV, "both-bad")) {
                snprintf(err, err_size, "option nv=%s: modules keep no twin of their NV", m->option[OPT_NV]);
                return -EINVAL;
        }
        r = nv_table_load(m, preset, n, &o->table, err, err_size);
        if (r >= 0 && fresh) {
                r = fill(m);
                if (r < 0)
                        snprintf(err, err_size, "storage of the module: %s", strerror(-r));
        }
        return r;
}

void module_power(SimModel *m) {
        Module *o = module_of(m);

        module_forget_loader(o);
        stop_transfer(o);
        free(o->pdl_data);
        o->pdl_data = NULL;
        o->pdl_need = o->pdl_fill = 0;
        free(o->session_nv);
        o->session_nv = NULL;
        free(o->saved_nv);
        o->saved_nv = NULL;
        o->has_saved_phase = o->phase_seen = false;
}

void module_done(SimModel *m) {
        module_power(m);
        free(module_of(m)->table.items);
        free(m->priv);
        m->priv = NULL;
}

size_t module_describe(const SimModel *m, char *buf, size_t size) {
        const Module *o = m->priv;

        return (size_t) snprintf(buf, size, "\"address\":%u,\"received\":%u,\"cpio_files\":%u,\"cpio_skipped\":%u,",
                                 o->address, o->got, o->cpio.files, o->cpio.skipped);
}
