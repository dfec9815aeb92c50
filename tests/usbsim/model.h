/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The device model: one simulated unit, a pure library. No threads, no files but its storage directory, no clock but the time
 * it is given (nanoseconds, any epoch, never falling). Shares no source with the daemon. Two fronts use it: the
 * USB world (world/) and an in-memory channel for unit tests.
 *
 * A front calls sim_advance() when time passes and whenever sim_next_event() says so; then asks for replies and wishes. */

typedef struct SimModel SimModel;

/* What is on the bus when the unit is powered and in download mode. */
typedef struct SimUsb {
        uint16_t vendor, product, bcd_device;
        uint8_t device_class;
        uint8_t ep_in, ep_out;
        uint16_t max_packet;        /* at high speed; 64 at full speed */
        uint8_t interface_number;   /* number of the download interface */
        uint8_t n_interfaces;       /* others before it are plain vendor interfaces without endpoints */
        const char *manufacturer, *product_name, *serial; /* NULL: no string descriptor */
} SimUsb;

/* `spec` is FAMILY[,option=value]… as on the command line. `storage`: directory for this unit's flash, made and filled
 * with a sensible previous content (calibrated NV with its own IMEIs, old images) if empty, else used as it is. `seed` makes
 * units differ (serials, IMEIs, chip UID). On error NULL and a sentence in err. */
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
void sim_line_state(SimModel *m, uint16_t value);        /* SET_CONTROL_LINE_STATE */
bool sim_out_ready(const SimModel *m);                   /* false: NAK, keep the transfer waiting */
/* One OUT transfer, `zlp` if a zero-length packet followed it. A transfer ends for the device on a short packet, a
 * ZLP or a full buffer: the model keeps what is incomplete. */
void sim_out(SimModel *m, const uint8_t *data, size_t size, bool zlp);
bool sim_in_ready(const SimModel *m);
/* Takes up to max bytes of the reply that is due; *end: the transfer is complete (short packet or ZLP). May return 0 with
 * *end (a bare ZLP). */
size_t sim_in(SimModel *m, uint8_t *buf, size_t max, bool *end);

uint64_t sim_next_event(const SimModel *m);              /* ns, UINT64_MAX none */
void sim_advance(SimModel *m, uint64_t now_ns);

typedef enum SimWish { SIM_STAY, SIM_LEAVE, SIM_REENUMERATE, SIM_BOOT } SimWish;
/* Asked after each call: LEAVE: drops off the bus for good (powered off, or dead); REENUMERATE: off and back after *ret_delay
 * with what sim_usb() then says; BOOT: reset with a valid boot chain: leaves and stays away (it runs Android now); a reset
 * without one is a REENUMERATE into BROM. Cleared by the call. */
SimWish sim_take_wish(SimModel *m, uint64_t *ret_delay_ns);

/* Faults, one line of the control grammar: see docs in usbsim --help. Returns false with a sentence. */
bool sim_fault(SimModel *m, const char *line, char *err, size_t err_size);
/* Facts for tests as one JSON object: stage, commands seen, bytes written, bootable, hung, version… */
size_t sim_describe(const SimModel *m, char *buf, size_t size);
