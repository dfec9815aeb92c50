/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/channel.h"
#include "bsl/check.h"
#include "common/failure.h"

/* One conversation with one device in boot mode: framing, check sums, escaping, deadlines, one function for each
 * command. It knows commands, not plans. Facts: bsl-protocol.md and module-and-vendor-flow.md.
 *
 * Return values of all commands: 0 done; 1 failed, *f filled (class, command, reply, deadline, waited; the caller
 * prepares it with FAILURE_INIT and adds stage, step, partition, offset); -ECANCELED; other negative errno for our own
 * faults (-EINVAL, -EMSGSIZE: a wrong argument, nothing was sent). f may be NULL.
 *
 * Classes: `silent` not a byte came within the deadline; `slow` something valid came (log frames), the answer did not;
 * `refused` an error reply; `gone` left the bus; `garbled` bytes came that do not decode, or an answer of the wrong
 * kind ("unexpected") or length ("length"); `host` errno of the channel.
 *
 * When a command ends without a definite answer (silent, slow, garbled, cancelled, host fault) the session is
 * `tainted`: the answer may still come and could pass for that of the next command. Every later command returns the
 * same failure again without sending (design §2.3), reset and power-off too. What remains: bsl_listen(), and
 * bsl_sync() while the device is not in FDL2: devices answer in order, so the VER frame proves that nothing is
 * outstanding, and ends the taint. */

/* Where the device stands, as far as its own answers show. */
typedef enum BslStage {
        BSL_STAGE_UNKNOWN,
        BSL_STAGE_BROM,
        BSL_STAGE_FDL1,
        BSL_STAGE_FDL2,
        BSL_STAGE_PDL, /* UIS8910 ROM, before its FDL1 */
} BslStage;

/* Deadlines in milliseconds: settings with floors (bsl-protocol §8.2, "suggestion"). X(field, default, floor). */
#define BSL_DEADLINES(X)                      \
        X(sync_brom, 20, 5)                   \
        X(sync_brom_window, 30000, 100)       \
        X(sync_fdl1, 1000, 20)                \
        X(sync_fdl1_window, 10000, 100)       \
        X(connect, 3000, 50)                  \
        X(start, 30000, 50)                   \
        X(midst, 60000, 50)                   \
        X(midst_last, 300000, 50)             \
        X(checking_per_mib, 250, 1)           \
        X(end, 60000, 50)                     \
        X(exec_fdl1, 2000, 50)                \
        X(exec_fdl2, 60000, 50)               \
        X(erase, 600000, 50)                  \
        X(erase_all, 3600000, 50)             \
        X(repartition, 100000, 50)            \
        X(read, 20000, 50)                    \
        X(keep_charge, 3000, 50)              \
        X(second_enumeration, 60000, 100)     \
        X(reset, 5000, 50)                    \
        X(soft_entry, 10000, 100)             \
        X(pdl_connect, 1000, 50)              \
        X(pdl_connect_window, 30000, 100)     \
        X(pdl_data, 10000, 50)                \
        X(pdl_exec, 2000, 10)                 \
        X(other, 2000, 50)

typedef struct BslDeadlines {
#define X(field, value, floor) uint32_t field;
        BSL_DEADLINES(X)
#undef X
} BslDeadlines;

/* Those of them whose time is the flash's, and differs with its age and kind. X(field, key of fdld.conf). */
#define BSL_WAITS(X)                  \
        X(start, "Start")             \
        X(midst, "Midst")             \
        X(midst_last, "MidstLast")    \
        X(end, "End")                 \
        X(exec_fdl2, "ExecFdl2")      \
        X(erase, "Erase")             \
        X(repartition, "Repartition")

typedef struct BslSlowest {
#define X(field, key) uint32_t field;
        BSL_WAITS(X)
#undef X
} BslSlowest;

void bsl_deadlines_default(BslDeadlines *ret);
void bsl_deadlines_apply_floors(BslDeadlines *d); /* a session does this to its copy */

#define BSL_STORAGE_NAND 0x101
#define BSL_STORAGE_EMMC 0x102
#define BSL_STORAGE_UFS 0x103

/* The device info in FDL2's answer to EXEC, both encodings (bsl-protocol §6.2). */
typedef struct BslDeviceInfo {
        bool present;            /* false: plain ACK or no decodable info */
        bool disable_transcode;  /* escaping can be switched off */
        uint8_t old_memory, raw_level;
        uint32_t flush_kib;
        uint32_t storage;        /* BSL_STORAGE_…, 0 not said */
        uint32_t challenge;      /* kind, 0 none */
        bool dump_log;
        bool incompatible;       /* the greeting was 96: the loader leaves it to the host whether its table is right */
} BslDeviceInfo;

typedef struct BslPartition {
        char name[37];
        uint64_t size;           /* as the device says, in `unit`s decided by the caller */
} BslPartition;

/* What happens on the wire, told as it happens (evidence, tests). */
typedef enum BslEventKind {
        BSL_EVENT_SENT,         /* a frame leaves: type, payload as it goes (an odd one is padded) */
        BSL_EVENT_RECEIVED,     /* a good frame came, log frames (type 00FF) too */
        BSL_EVENT_DAMAGED,      /* a frame came whose check is wrong */
        BSL_EVENT_GARBAGE,      /* `size` bytes came between two flags that are no frame */
        BSL_EVENT_CUT,          /* `size` bytes had come when the wait ended, and no end of a frame */
        BSL_EVENT_SYNC,         /* the bare byte 7E leaves */
        BSL_EVENT_RAW,          /* data leave without a frame */
        BSL_EVENT_PDL_SENT,     /* payload from AE on, as it stands on the wire */
        BSL_EVENT_PDL_RECEIVED,
        BSL_EVENT_OPENED,       /* the request that opens the port; error: why it failed, 0 it did not */
        BSL_EVENT_ERROR,        /* a transfer failed: error */
        BSL_EVENT_EXPIRED,      /* a deadline, of `ms`; sending: the device did not even take the command */
        BSL_EVENT_CHANNEL,      /* the device is back after it had left */
} BslEventKind;

typedef struct BslEvent {
        BslEventKind kind;
        BslCheck check;
        bool plain;             /* without escaping */
        bool sending;
        uint16_t type;
        uint16_t check_value;   /* of frames, as it stands on the wire, high byte first */
        const uint8_t *payload; /* unescaped, valid during the call; NULL for GARBAGE and CUT */
        size_t size;
        int error;              /* negative errno */
        uint32_t ms;
        uint64_t now_ms;        /* of the channel's clock */
} BslEvent;
typedef void (*BslTraceFunc)(void *userdata, const BslEvent *e);

typedef struct BslSession BslSession;

/* Borrows the channel; copies the deadlines. */
BslSession *bsl_session_new(Channel *channel, const BslDeadlines *deadlines); /* NULL: no memory */
BslSession *bsl_session_free(BslSession *s);
DEFINE_CLEANUP(BslSession *, bsl_session_free)
/* Other deadlines from now on (copied): while nobody knows what runs, questions are short; afterwards the settings
 * hold. */
void bsl_session_set_deadlines(BslSession *s, const BslDeadlines *deadlines);
/* How long the slowest good answer of each kind took since this was asked last, ms. */
BslSlowest bsl_session_take_slowest(BslSession *s);
void bsl_session_set_trace(BslSession *s, BslTraceFunc fn, void *userdata);
/* After re-enumeration: the same session goes on over a new channel. */
void bsl_session_set_channel(BslSession *s, Channel *channel);

BslStage bsl_session_stage(const BslSession *s);
BslCheck bsl_session_check(const BslSession *s);
void bsl_session_set_check(BslSession *s, BslCheck check);
/* VER with a sum means FDL1 or a loader that is alone (UIS8850, feature phones): only the caller knows the family. It
 * says FDL2 for a lone loader before the first command that touches flash, so that no sync ends a taint there. */
void bsl_session_set_stage(BslSession *s, BslStage stage);
const char *bsl_session_version(const BslSession *s); /* last VER text, cleaned of control characters, "" none */
const char *bsl_session_log(const BslSession *s);     /* the last text of a log frame, cleaned; "" none came */
unsigned bsl_session_retries(const BslSession *s);    /* how often a command was sent once more */
bool bsl_session_tainted(const BslSession *s);
bool bsl_session_transcoding(const BslSession *s);    /* escaping is on */

/* Opens the port; a failing control request is noted for the text of later failures, not fatal. */
int bsl_open_port(BslSession *s, Failure *f);
/* Sends single bytes 7E until a VER frame comes; adopts the check that fits (§3.4): CRC means BROM, sum means FDL1, a
 * lone loader, or an autodloader past its first EXEC. Each try is up to three bytes, `sync_brom` apart (some loaders
 * want three), then try_ms of listening; `window_ms` bounds the whole. Late answers to surplus bytes are
 * never taken for the answer to a command. */
int bsl_sync(BslSession *s, uint32_t try_ms, uint32_t window_ms, Failure *f);
/* After a sync that stayed silent: is it an FDL2 left over from an earlier session (§6.1)? Sends one CONNECT with a
 * sum; ACK or FE mean yes, and the stage becomes FDL2. At most once in a session (a repeated call sends nothing and
 * tells the same). Whether escaping is on there is unknown: bsl_disable_transcode() next makes it certain, where the
 * family has it. */
int bsl_probe_fdl2(BslSession *s, Failure *f);
/* CONNECT, tried twice (some ROMs fail the first); a late VER or surplus ACK is drained. */
int bsl_connect(BslSession *s, Failure *f);
/* The same to whoever does not answer a sync because somebody has met him before: as to a loader, and as to a boot ROM (the stage is
 * BROM then) where the answer is an 8B with CRC. */
int bsl_connect_running(BslSession *s, Failure *f);
/* To a last loader that is known to know READ_CHIP_UID, in whatever state an earlier session has left it: what it still says to that one
 * is thrown away. It answers in order, so its chip UID proves that nothing is outstanding; nothing of this costs it anything or touches
 * flash. `drop`: it is known to know DISABLE_TRANSCODE too, and gets that first, since nobody knows whether it escapes. For a new session;
 * the stage is FDL2 then, the check the sum. */
int bsl_meet_again(BslSession *s, bool drop, uint32_t deadline, char *ret, size_t size, Failure *f);
/* Listens for ms without sending. True: the device is alive (something valid arrived); a failure of class silent in *f
 * and in the taint then becomes slow. The taint stays. */
bool bsl_listen(BslSession *s, uint32_t ms, Failure *f);

/* START sizes must be even and exactly what will be sent: the caller rounds up, bsl_midst() pads the odd last block.
 * Size 0 is -EINVAL. */
int bsl_start_address(BslSession *s, uint32_t address, uint32_t size, const uint32_t *checksum, Failure *f);
/* Name form: 76 bytes, 88 when size needs it, 80/92 with checksum (§4.1). */
int bsl_start_name(BslSession *s, const char *name, uint64_t size, const uint32_t *checksum, Failure *f);
/* `last`: the final block of the image, which may take long (§6.5). Odd sizes are padded with one zero. */
int bsl_midst(BslSession *s, const void *data, size_t size, bool last, Failure *f);
/* The same, and makes the frame of what follows ready while the device answers; nothing of it is sent. When the next command is
 * that MIDST (same memory, same size), it goes out as it was made: the memory must not change until then. A caller who wants to
 * know whether the memory could be read asks after this and before that. */
int bsl_midst_then(BslSession *s, const void *data, size_t size, bool last, const void *next, size_t next_size, Failure *f);
void bsl_midst_prepare(BslSession *s, const void *data, size_t size);
/* Raw data (§6.4), for loaders that offer them and only while escaping is off. ENABLE once in a session; then within START … END
 * either bsl_raw_start() and bsl_raw_data() for each chunk (level 1), or bsl_raw_start() once and all chunks (level 2, `whole`).
 * The plain form of ENABLE is sent, after which each chunk ends with a short packet or a zero-length packet: what all known
 * drivers want. With level 1 a chunk is acknowledged before it is written, and an error comes as the apparent answer to the next
 * command: that command then fails with this text, and the session is tainted, since the real answer is still to come. */
int bsl_enable_raw(BslSession *s, Failure *f);
int bsl_raw_start(BslSession *s, bool whole, Failure *f);
int bsl_raw_data(BslSession *s, const void *data, size_t size, bool whole, bool last, Failure *f);
/* END behind raw data: only its answer tells that all was written. */
int bsl_end_raw(BslSession *s, Failure *f);
int bsl_end(BslSession *s, Failure *f);
int bsl_exec_brom(BslSession *s, Failure *f);            /* BROM: ACK then jump */
int bsl_exec_fdl2(BslSession *s, BslDeviceInfo *ret, Failure *f); /* FDL1: the answer comes from FDL2: 80 or 96 */
int bsl_disable_transcode(BslSession *s, Failure *f);

int bsl_erase_address(BslSession *s, uint32_t address, uint32_t size, Failure *f);
int bsl_erase_name(BslSession *s, const char *name, uint64_t size, Failure *f);
/* READ_FLASH: 12-byte form with offset when address bit 31 is set, else 8 bytes with moving address (module §5.5).
 * Exactly `size` bytes (at most 0xfffe) or a failure, unless allow_short. This and READ_MIDST: one retry after
 * draining when the answer was damaged, of wrong length or 84; never after an expired deadline. */
int bsl_read_flash(BslSession *s, uint32_t address, uint32_t offset, void *data, size_t size, bool allow_short,
                   size_t *ret_size, Failure *f);
int bsl_read_start(BslSession *s, const char *name, uint64_t size, Failure *f);
int bsl_read_midst(BslSession *s, uint64_t offset, void *data, size_t size, Failure *f);
/* The same two without a copy: *ret points to the bytes where they came, valid until the session is used again. */
int bsl_view_flash(BslSession *s, uint32_t address, uint32_t offset, size_t size, bool allow_short, const uint8_t **ret, size_t *ret_size,
                   Failure *f);
int bsl_view_midst(BslSession *s, uint64_t offset, size_t size, const uint8_t **ret, Failure *f);
int bsl_read_end(BslSession *s, Failure *f);
/* *ret: malloc'ed array, at most 862 entries. */
int bsl_read_partitions(BslSession *s, BslPartition **ret, size_t *ret_n, Failure *f);
int bsl_read_chip_uid(BslSession *s, char *ret, size_t size, Failure *f);
/* Bytes as they come, of no known layout; at most `size`, what is longer is cut. */
int bsl_read_flash_uid(BslSession *s, uint8_t *ret, size_t size, size_t *ret_size, Failure *f);
/* Where START or REPARTITION was answered with AC: the loader's switch against writing by mistake. */
int bsl_enable_write_flash(BslSession *s, Failure *f);
/* What kind of data partitions hold; changes nothing in flash. */
int bsl_ext_table(BslSession *s, const void *payload, size_t size, Failure *f);
/* The three words as they came, big-endian on the wire: a flag, then block and page size of the NAND in either order (§15 U6).
 * Only to loaders of NAND units: others never answer. */
int bsl_read_flash_info(BslSession *s, uint32_t ret[static 3], Failure *f);
int bsl_read_rf_type(BslSession *s, uint32_t *ret, Failure *f); /* little-endian on the wire (§15 U16) */
/* To FDL1 only, and only where it is known to know them: it dies of a command that it does not know (§4.5). */
int bsl_keep_charge(BslSession *s, Failure *f);
int bsl_ddr_check(BslSession *s, Failure *f); /* refused with B6: the RAM is bad */
int bsl_read_chip_type(BslSession *s, uint32_t *ret, Failure *f);
/* MID, DID and EID; on eMMC and UFS some builds tell the megabytes of RAM and flash instead. */
int bsl_read_flash_type(BslSession *s, uint32_t ret[static 3], Failure *f);
/* Two words, big-endian, of which the larger is taken for all blocks and the smaller for the bad ones: no document tells their order. */
int bsl_read_block_info(BslSession *s, uint32_t *ret_all, uint32_t *ret_bad, Failure *f);
/* Both write into miscdata. The stamp goes out as u64, little-endian, as the loader stores it. */
int bsl_set_time_stamp(BslSession *s, uint64_t stamp, Failure *f);
/* What the unit starts as the next time: 0 as usual, others as plan.h lists them; a 32-bit number, of which loaders read the lowest byte. */
int bsl_set_first_mode(BslSession *s, uint32_t mode, Failure *f);
int bsl_write_apr_info(BslSession *s, const void *info, size_t size, Failure *f);
int bsl_repartition(BslSession *s, const void *payload, size_t size, Failure *f);
/* ACK, or the device leaves the bus: both are success (design §2.1). */
int bsl_reset(BslSession *s, Failure *f);
int bsl_power_off(BslSession *s, Failure *f);

/* UIS8910 ROM (module §1.3); block of at most 0x800. CONNECT is repeated every pdl_connect ms within its window. */
int bsl_pdl_connect(BslSession *s, Failure *f);
int bsl_pdl_start(BslSession *s, uint32_t address, uint32_t size, Failure *f);
int bsl_pdl_midst(BslSession *s, uint32_t index, const void *data, size_t size, Failure *f);
int bsl_pdl_end(BslSession *s, Failure *f);
int bsl_pdl_exec(BslSession *s, Failure *f); /* no reply comes; waits pdl_exec, then switches to sum */

/* Names for texts and records; never NULL, "unknown" for a code without a name. PDL errors have two numberings, the
 * text gives both meanings. */
const char *bsl_command_name(int command);
const char *bsl_reply_name(int reply);
const char *bsl_pdl_reply_name(int reply);
