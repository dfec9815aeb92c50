/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/channel.h"
#include "common/failure.h"

/* The one door to libusb: a Channel over the first interface with one bulk IN and one bulk OUT endpoint. Own context,
 * discovery off, the node's descriptor wrapped; descriptors are read again and compared with what was announced (bus
 * numbers are reused quickly). A kernel driver on the interface is detached and attached again at close. */
typedef struct UsbChannel UsbChannel;

/* `sysfs`: the device's folder, "" not known. 0; 1 with *f (class host as in host-causes.h; class gone; class mismatch). */
int usb_channel_open(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, UsbChannel **ret, Failure *f);
/* The port of a running system: that interface and no other, and only if no kernel driver holds it (class host, "driver", with its name). */
int usb_channel_open_port(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, uint8_t interface, UsbChannel **ret, Failure *f);
UsbChannel *usb_channel_close(UsbChannel *u);
DEFINE_CLEANUP(UsbChannel *, usb_channel_close)
Channel *usb_channel_get(UsbChannel *u);
/* From any thread: waits in progress and to come return -ECANCELED. */
void usb_channel_cancel(UsbChannel *u);
