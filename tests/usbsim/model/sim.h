/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../model.h"
#include "bits.h"

/* Inside of the device model: model.c (wires, time, replies), fault.c, options.c, store.c, and the families. */

#define SIM_MS 1000000ull
#define SIM_NEVER UINT64_MAX
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum {
        CMD_CONNECT = 0x00,
        CMD_START = 0x01,
        CMD_MIDST = 0x02,
        CMD_END = 0x03,
        CMD_EXEC = 0x04,
        CMD_RESET = 0x05,
        CMD_READ_FLASH = 0x06,
        CMD_CHIP_TYPE = 0x07,
        CMD_BAUD = 0x09,
        CMD_ERASE = 0x0A,
        CMD_REPARTITION = 0x0B,
        CMD_FLASH_TYPE = 0x0C,
        CMD_READ_INFO = 0x0D,
        CMD_SECTOR_SIZE = 0x0F,
        CMD_READ_START = 0x10,
        CMD_READ_MIDST = 0x11,
        CMD_READ_END = 0x12,
        CMD_KEEP_CHARGE = 0x13,
        CMD_EXTTABLE = 0x14,
        CMD_POWER_OFF = 0x17,
        CMD_CHECK_ROOT = 0x19,
        CMD_FLASH_UID = 0x15,
        CMD_CHIP_UID = 0x1A,
        CMD_ENABLE_WRITE = 0x1B,
        CMD_PLAIN = 0x21,
        CMD_DATE_TIME = 0x22,
        CMD_DEBUG_MODE = 0x25,
        CMD_DDR_CHECK = 0x26,
        CMD_ENABLE_RAW = 0x28,
        CMD_BLOCK_INFO = 0x29,
        CMD_FIRST_MODE = 0x2A,
        CMD_RF_TYPE = 0x24,
        CMD_RANDOM_DATA = 0x2B,
        CMD_TIME_STAMP = 0x2C,
        CMD_READ_PARTITION = 0x2D,
        CMD_RAW_START = 0x31,
        CMD_RAW_START2 = 0x33,
        CMD_AUTH_BEGIN = 0x41,
        CMD_AUTH_END = 0x42,
        CMD_EMMC_CID = 0x43,
        CMD_END_PROCESS = 0x7F
};

enum {
        REP_ACK = 0x80,
        REP_VER = 0x81,
        REP_INVALID = 0x82,
        REP_UNKNOWN = 0x83,
        REP_FAILED = 0x84,
        REP_NOT_STARTED = 0x86,
        REP_EARLY_END = 0x88,
        REP_DEST = 0x89,
        REP_SIZE = 0x8A,
        REP_VERIFY = 0x8B,
        REP_READ_FLASH = 0x93,
        REP_CHIP_TYPE = 0x94,
        REP_PARTITION = 0x96,
        REP_DEVICE = 0x97,
        REP_FLASH_INFO = 0x9B,
        REP_SECTOR_SIZE = 0x9C,
        REP_FLASH_TYPE = 0x9D,
        REP_FLASH_UID = 0x9E,
        REP_NV_SUM_ZERO = 0xA0,
        REP_SUM_DIFFERS = 0xA1,
        REP_WRITE = 0xA2,
        REP_SECURITY = 0xAA,
        REP_UID = 0xAB,
        REP_NO_WRITE = 0xAC,
        REP_RF_TYPE = 0xB5,
        REP_DDR = 0xB6,
        REP_BLOCK_INFO = 0xB8,
        REP_RANDOM = 0xB9,
        REP_TABLE = 0xBA,
        REP_AUTH = 0xBD,
        REP_CID = 0xC0,
        REP_LK_MAGIC = 0xD0,
        REP_LK_REPARTITION = 0xD1,
        REP_LK_READ = 0xD2,
        REP_LK_MEMORY = 0xD3,
        REP_FE = 0xFE,
        REP_LOG = 0xFF
};

typedef enum SimOption {
#define O(id, ...) OPT_##id,
#include "options.def"
#undef O
        OPT_COUNT
} SimOption;

typedef enum SimStage { STAGE_OFF, STAGE_BROM, STAGE_PDL, STAGE_FDL1, STAGE_FDL2, STAGE_COUNT } SimStage;

/* What a loader does with a frame that is wrong. */
typedef enum SimBad {
        BAD_DROP,     /* silently, and lives */
        BAD_NAK,      /* 8B, and lives */
        BAD_NAK_HANG, /* 8B, then spins for ever */
        BAD_HANG,     /* panics without a word */
} SimBad;

/* How one stage of one family talks. */
typedef struct SimTraits {
        const char *name;
        const char *version; /* text of VER */
        bool crc;            /* CRC-16 instead of the sum */
        bool rda;            /* odd sums low byte first, shared flags tolerated */
        unsigned sync;       /* 7E in a row before VER; 0: no sync phase */
        bool sync_swallow;   /* the rest of the transfer that held the sync byte is lost */
        bool sync_single;    /* the sync byte counts only as a transfer of its own */
        bool resync_idle;    /* bare 7E before CONNECT give VER again */
        uint32_t dma;        /* an OUT transfer ends when that many bytes arrived */
        unsigned buffers;    /* transfers taken while busy */
        size_t max_body;     /* type to check, unescaped */
        SimBad bad_sum, bad_length, too_long;
        bool zlp; /* IN transfers end with a ZLP where needed */
        void (*frame)(SimModel *m, unsigned type, const uint8_t *p, size_t n);
        /* Takes received transfers where there are no BSL frames (frame is NULL then). */
        void (*raw)(SimModel *m, const uint8_t *p, size_t n, bool end);
} SimTraits;

typedef struct SimPreset {
        SimOption option;
        const char *value;
} SimPreset;

typedef struct SimFamily {
        const char *name, *about;
        const char *letters;      /* of the options that it has, in options.def */
        const SimPreset *presets; /* what differs from options.def; ends with value NULL */
        SimUsb usb;
        SimStage first; /* after power on with the boot key held */
        bool module;
        const SimTraits *stage[STAGE_COUNT];
        const struct PhoneKind *phone; /* phones only */
        int (*init)(SimModel *m, bool fresh, char *err, size_t err_size);
        void (*done)(SimModel *m);
        void (*power)(SimModel *m); /* RAM state is lost */
        /* On power on, if it runs something else than the ROM now: does that and says true. */
        bool (*wakes)(SimModel *m);
        void (*usb_now)(const SimModel *m, SimUsb *usb); /* changes what is on the bus just now */
        bool (*bootable)(SimModel *m);
        size_t (*describe)(const SimModel *m, char *buf, size_t size);
} SimFamily;

extern const SimFamily sim_phone_emmc, sim_phone_ufs_ab, sim_phone_lk, sim_phone_old, sim_phone_nand, sim_feature_nor,
        sim_uis8910, sim_uis8850, sim_replay;
extern const SimFamily *const sim_families[];

typedef enum SimFaultKind {
        FAULT_NONE,
        FAULT_SILENCE,
        FAULT_STALL,
        FAULT_BAD_SUM,
        FAULT_NAK,
        FAULT_GARBAGE,
        FAULT_TRUNCATE,
        FAULT_GLUE_LOG,
        FAULT_UNSOLICITED_LOG,
        FAULT_DISCONNECT,
        FAULT_SLOW,
        FAULT_LATE,
        FAULT_HANG_AFTER_ACK,
        FAULT_WRITE_ERROR,
        FAULT_BAD_READBACK,
        FAULT_DROP_ACK,
} SimFaultKind;

typedef struct SimFault {
        int stage;        /* -1 any */
        char command[16]; /* "*" any */
        uint64_t offset;  /* SIM_NEVER: any */
        unsigned nth;      /* 0: any */
        unsigned transfer; /* the offset is that of the transfer begun by the N-th START (or READ_START); 0: any */
        SimFaultKind kind;
        uint64_t value;
        unsigned left; /* 0: used up; UINT_MAX: for ever */
} SimFault;

typedef struct SimChunk {
        struct SimChunk *next;
        size_t size, at;
        bool end;
        uint8_t data[];
} SimChunk;

typedef struct SimReply {
        struct SimReply *next;
        uint64_t due;
        size_t size, at;
        bool zlp;
        uint8_t data[];
} SimReply;

typedef void (*SimAction)(SimModel *m);

#define SIM_MAX_FAULTS 32
#define SIM_MAX_TIMERS 4
#define SIM_MAX_BODY 65544

typedef struct SimTimer {
        uint64_t at;
        SimAction action;
} SimTimer;

struct SimModel {
        const SimFamily *family;
        unsigned seed;
        const char *option[OPT_COUNT]; /* text as given or default */
        uint64_t number[OPT_COUNT];    /* NUM, FLAG, HEX8; UINT64_MAX for "auto" */
        char *spec;                    /* owns the option texts */
        char serial[40], uid[40];
        SimUsb usb;

        int dir_fd;  /* storage */
        int file_fd; /* the file used last, kept open */
        char *file_name;

        uint64_t now, busy_until, stalled_until;
        SimTimer timers[SIM_MAX_TIMERS];
        bool powered, high_speed, on_bus, port_open, hung;
        const char *hung_why;
        SimWish wish;
        uint64_t wish_delay;
        SimStage stage;
        const SimTraits *t;
        bool starting;         /* between EXEC and the new stage's first breath */
        bool raw_mode;         /* unframed data is due: raw() takes it, `end` after a short packet or ZLP */
        size_t raw_left;       /* raw data of a length the driver knows: ends without a ZLP too; 0: unknown */
        bool system;           /* a running system */
        bool plain;            /* escaping off */
        unsigned lost_buffers; /* fewer transfers are taken while busy */
        bool no_buffers;       /* none at all: mute */

        /* receiving */
        uint8_t *dma;
        size_t dma_fill;
        SimChunk *rx, **rx_tail;
        unsigned rx_count, wire_generation;
        unsigned sync_seen, drop_sync;
        bool synced, connected;
        int parse; /* 0 hunting, 1 body, 2 after 7D */
        uint8_t *body;
        size_t body_fill;
        bool body_long;

        /* sending */
        SimReply *tx;
        unsigned replies; /* since power on */

        SimFault faults[SIM_MAX_FAULTS];
        SimFault active;                /* applies to the command being handled, until its reply */
        bool write_error, bad_readback; /* armed for the next flash access */
        unsigned faults_hit;

        unsigned seen[STAGE_COUNT][256];
        unsigned total[256], versions_sent, unknown, power_cycles, resets;
        uint64_t bytes_in, bytes_out, bytes_written, bytes_erased, bytes_read;
        uint8_t last_command, last_reply;
        uint64_t transfer_offset; /* bytes of the running START/READ already moved, for fault offsets */

        void *priv;
};

/* ---- model.c ---- */
void sim_send(SimModel *m, unsigned type, const void *payload, size_t size);
void sim_send_bytes(SimModel *m, const uint8_t *p, size_t n, uint64_t due, bool zlp);
void sim_ack(SimModel *m);
void sim_work(SimModel *m, uint64_t ns); /* the command takes that long */
void sim_work_bytes(SimModel *m, uint64_t bytes, SimOption rate);
void sim_hang(SimModel *m, const char *why);
void sim_after(SimModel *m, uint64_t ns, SimAction action);
void sim_enter(SimModel *m, SimStage stage); /* at once; the stage speaks from now on */
void sim_wish(SimModel *m, SimWish wish, uint64_t delay_ns);
void sim_version(SimModel *m);
void sim_dispatch(SimModel *m, const char *command, unsigned type, const uint8_t *p, size_t n,
                  void (*handler)(SimModel *m, unsigned type, const uint8_t *p, size_t n));
void sim_reboot(SimModel *m); /* boots or comes back in ROM */
void sim_reset_soon(SimModel *m);
const char *sim_command_name(unsigned type);
uint64_t sim_delay(const SimModel *m, SimOption opt); /* ns of an option in ms */
bool sim_word(const SimModel *m, SimOption opt, const char *word);
bool sim_flag(const SimModel *m, SimOption opt);
bool sim_takes_readback_fault(SimModel *m);
bool sim_takes_write_fault(SimModel *m);

void sim_restart_in_rom(SimModel *m); /* off the bus, and back in ROM */

/* ---- system.c ---- */
bool sim_system_wakes(SimModel *m);
void sim_system_usb(const SimModel *m, SimUsb *usb);

/* ---- uis8910.c ---- */
void sim_uis8910_pdl_reply(SimModel *m, uint32_t code); /* 0: acknowledged */

/* ---- options.c ---- */
int sim_options_parse(SimModel *m, const char *spec, char *err, size_t err_size);

/* ---- fault.c ---- */
SimFault *sim_fault_match(SimModel *m, const char *command, unsigned nth, uint64_t from, uint64_t to);
extern const char *const sim_stage_names[STAGE_COUNT];

/* ---- store.c ---- */
/* Files are named relative to the storage directory. Reads past the end give zeros. 0 or negative errno. */
int store_read(SimModel *m, const char *file, uint64_t offset, void *buf, size_t n);
int store_write(SimModel *m, const char *file, uint64_t offset, const void *buf, size_t n);
int store_fill(SimModel *m, const char *file, uint64_t offset, uint64_t n, uint8_t byte);
int store_create(SimModel *m, const char *file, uint64_t size); /* all zero, a hole */
int64_t store_size(SimModel *m, const char *file);              /* negative: absent */
int store_put(SimModel *m, const char *file, const void *buf, size_t n);
int store_remove(SimModel *m, const char *file);
int store_mkdir(SimModel *m, const char *dir);
int store_clear_dir(SimModel *m, const char *dir);
bool store_is_empty(SimModel *m);
void store_forget(SimModel *m); /* closes the cached file */
