/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The device model: one simulated unit, a pure library. No threads, no files but its storage directory, no clock but
 * the time it is given (nanoseconds, any epoch, never falling). Shares no source with the daemon. Two fronts use it:
 * the USB world (world/) and an in-memory channel for unit tests.
 *
 * A front calls sim_advance() when time passes and whenever sim_next_event() says so; then asks for replies and wishes.
 * The unit's time is that of the last sim_advance(): advance before handing it bytes.
 *
 * Storage, for tests that compare flash (all files sparse, at their full size):
 *   phone-emmc        parts/NAME, boot1.bin, boot2.bin (boot areas of 4 MiB), gpt.bin (first 34 sectors of 512 bytes),
 *                     gpt-backup.bin (last 33)
 *   phone-ufs-ab      the same with sectors of 4096: gpt.bin (first 6), gpt-backup.bin (last 5); boot1.bin, boot2.bin are
 *                     the boot LUNs. A write of X_a of the boot chain (phone-ab-table.h) goes to X_b too, an erase does
 *                     not. NV is kept in both copies of both slots; erasing it erases the twin of that slot.
 *   phone-lk          as phone-ufs-ab
 *   phone-old         as phone-emmc, but boot2.bin is the partition uboot and boot1.bin has no copy
 *   phone-nand        parts/NAME (UBI volumes, listed in volumes.txt as 'name bytes'); mtd-splloader.bin, mtd-uboot.bin as
 *                     they lie in flash, blocks whose byte in mtd-….bad is not 0 left out; ubi.bad counts failed blocks.
 *                     What is erased reads as zero, and a volume whose update was not finished is empty
 *   feature-nor       flash.bin (areas as in feature-table.h; erased is FF)
 *   uis8910, uis8850  flash.bin (NOR, first byte is address 0x60000000); FFAC/imei.bin (4 x 8 bytes), FFAC/nvXXXX.bin
 * (an item each), FFAC/phasecheck.bin; FSYS FMOD FEXT FFAC (file systems; cpio members land in them), NVM (running NV)
 * The single loader of uis8850 is stage fdl2.
 *
 * Fault lines (sim_fault, the control socket, scripts; in a spec as fault=LINE with + for spaces, several allowed):
 *
 *   line  := "clear" | point kind [count]        words in any order, separated by spaces or +
 *   point := "at=" STAGE ":" COMMAND [":" OFFSET ["@" N] | ":#" N]
 *   count := "count=" N | "count=forever"        how often it strikes; default once
 *
 *   STAGE    brom pdl fdl1 fdl2, * any
 *   COMMAND  connect start midst end exec reset power-off read erase read-start read-midst read-end repartition
 *            read-partition plain chip-uid change-baud keep-charge read-info enable-write … (as in the "commands" of
 *            sim_describe), unknown, sync (the 7E that makes it say VER), pdl-connect pdl-start pdl-mid pdl-end
 *            pdl-exec, * any
 *   OFFSET   strikes at the command that moves that byte of the running transfer (midst, pdl-mid, read, read-midst)
 *   @N       only in the transfer that the stage's N-th START (for read-midst: READ_START) began
 *   #N       strikes at the N-th such command of the stage since power on, 1 the first (with count: from there on)
 *
 *   silence            not executed, not answered; the unit lives
 *   stall[=MS]         takes no more data for MS (then executes and answers), without MS for ever
 *   bad-sum            executed, the reply's checksum is wrong
 *   nak=XX             not executed, reply XX (hex)
 *   garbage            executed, random bytes instead of the reply
 *   truncate           executed, the first half of the reply
 *   glue-log           executed, an FF frame in front of the reply in the same transfer
 *   unsolicited-log    executed, an FF frame as a transfer of its own before the reply
 *   disconnect[=MS]    off the bus before executing; with MS back after that time in the same stage, else for good
 *   slow=MS            takes MS longer, busy meanwhile
 *   late=MS            executed at once, its reply comes MS later; the unit goes on, later replies overtake it
 *   hang-after-ack     executed, answered, then mute for ever
 *   write-error        the next write or erase of flash (in this command, or a later one) fails
 *   bad-readback       a read returns a flipped bit; what is being written has a flipped bit in flash afterwards
 *   drop-ack           executed, not answered */

typedef struct SimModel SimModel;

/* What is on the bus when the unit is powered and in download mode. */
typedef struct SimUsb {
        uint16_t vendor, product, bcd_device;
        uint8_t device_class;
        uint8_t ep_in, ep_out;
        uint16_t max_packet;      /* at high speed; 64 at full speed */
        uint8_t interface_number; /* number of the download interface */
        uint8_t n_interfaces;     /* others before it are plain vendor interfaces without endpoints */
        const char *manufacturer, *product_name, *serial; /* NULL: no string descriptor */
} SimUsb;

/* `spec` is FAMILY[,option=value]… as on the command line. `storage`: directory for this unit's flash, made and filled
 * with a sensible previous content (calibrated NV with its own IMEIs, old images) if empty, else used as it is. `seed`
 * makes units differ (serials, IMEIs, chip UID). On error NULL and a sentence in err. */
SimModel *sim_new(const char *spec, const char *storage, unsigned seed, char *err, size_t err_size);
SimModel *sim_free(SimModel *m);
const char *sim_family(const SimModel *m);
/* One line for each family and option, for usbsim --list. */
const char *sim_help(void);

void sim_usb(const SimModel *m, SimUsb *ret);

/* Power: on = cable in with the boot key held (BROM); off = cable out. State in RAM is lost, flash stays. */
void sim_power_on(SimModel *m, uint64_t now_ns, bool high_speed);
void sim_power_off(SimModel *m);

/* Host side of the wires. */
void sim_line_state(SimModel *m, uint16_t value); /* SET_CONTROL_LINE_STATE */
/* Whoever runs its USB port answers requests on endpoint 0. False: what ran there hangs, and polls its port no more. */
bool sim_alive(const SimModel *m);
bool sim_out_ready(const SimModel *m);            /* false: NAK, keep the transfer waiting */
/* One OUT transfer, `zlp` if a zero-length packet followed it. A transfer ends for the device on a short packet, a
 * ZLP or a full buffer: the model keeps what is incomplete. */
void sim_out(SimModel *m, const uint8_t *data, size_t size, bool zlp);
bool sim_in_ready(const SimModel *m);
/* Takes up to max bytes of the reply that is due; *end: the transfer is complete (short packet or ZLP). May return 0
 * with *end (a bare ZLP). */
size_t sim_in(SimModel *m, uint8_t *buf, size_t max, bool *end);

uint64_t sim_next_event(const SimModel *m); /* ns, UINT64_MAX none */
void sim_advance(SimModel *m, uint64_t now_ns);

typedef enum SimWish { SIM_STAY, SIM_LEAVE, SIM_REENUMERATE, SIM_BOOT, SIM_STALL } SimWish;
/* Asked after each call: LEAVE: drops off the bus for good (powered off, or dead); REENUMERATE: off and back after
 * *ret_delay with what sim_usb() then says (no sim_power_on: the unit stays powered and knows its stage); BOOT: reset
 * with a valid boot chain: leaves and stays away (it runs Android now); a reset without one is a REENUMERATE into BROM.
 * STALL: both endpoints are halted. Cleared by the call. Replies that were ready may be fetched first. */
SimWish sim_take_wish(SimModel *m, uint64_t *ret_delay_ns);

/* One fault line of the grammar above. Returns false with a sentence. */
bool sim_fault(SimModel *m, const char *line, char *err, size_t err_size);
/* Facts for tests as one JSON object: stage, commands seen, bytes written, bootable, hung, version… */
size_t sim_describe(const SimModel *m, char *buf, size_t size);
