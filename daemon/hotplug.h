/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* The one door to libudev: says which devices of interest are on the bus. Main thread only. */

/* What the USB id alone says (design §3). */
typedef enum HotplugId {
        HOTPLUG_ID_OTHER,    /* none of ours, never reported */
        HOTPLUG_ID_BOOT,     /* download mode */
        HOTPLUG_ID_OPT_IN,   /* perhaps download mode: only where the settings say so */
        HOTPLUG_ID_NOT_BOOT, /* a running system: shown, never written to */
} HotplugId;

HotplugId hotplug_id(uint16_t vendor, uint16_t product);

typedef struct HotplugDevice {
        char sysfs[256], devnode[64], speed[16];
        char hub_speed[16];        /* of the hub, or of the controller's own, that it hangs on; "" not known */
        char port[128]; /* ID_PATH of the USB2 side of the socket */
        uint16_t vendor, product;
        uint8_t busnum, devnum;
        HotplugId id;
        bool fits;                 /* the descriptors are those of a download mode of this id */
        uint64_t initialized_usec; /* CLOCK_MONOTONIC when udev saw it, 0 unknown */
} HotplugDevice;

typedef struct Hotplug Hotplug;
/* Each appearance is reported once, each departure once; a port that changes hands in between is a departure and an
 * appearance. */
typedef void (*HotplugFunc)(void *userdata, bool added, const HotplugDevice *device);

int hotplug_new(HotplugFunc fn, void *userdata, Hotplug **ret);
Hotplug *hotplug_free(Hotplug *h);
int hotplug_fd(const Hotplug *h); /* readable when events wait */
/* Takes what waits, at most 256 events a call. When the kernel dropped events: enumerates again. 0 or -errno. */
int hotplug_dispatch(Hotplug *h);
/* Looks at everything that is there and compares with what is known. */
int hotplug_enumerate(Hotplug *h);

/* The parts that need no libudev, for tests. */
/* ID_PATH as udev builds it, from the chain of parents in sysfs. 0 or -errno. */
int hotplug_derive_port(const char *syspath, char ret[static 128]);
/* Port of the USB2 side: for a device on the USB3 side the chain of ports comes from the peer link. `port` is changed
 * in place. */
void hotplug_usb2_port(const char *syspath, const char *speed, char port[static 128]);
/* Raw descriptors as in the sysfs file of that name: one interface with the bulk pair that this id has in download
 * mode. */
bool hotplug_descriptors_fit(uint16_t vendor, uint16_t product, const uint8_t *data, size_t size);
/* "pci-0000:00:14.0-usb-0:1.2": may this be the port of a USB device? */
bool hotplug_port_valid(const char *port);
