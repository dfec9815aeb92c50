/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <libusb.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A foreign client: what a program may expect of libusb, libudev and usbfs, checked line by line. */

enum { EP_IN = 0x85, EP_OUT = 0x06, VENDOR = 0x1782, PRODUCT = 0x4d00 };

void check_(bool ok, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define CHECK(ok, ...) check_(ok, __FILE__, __LINE__, __VA_ARGS__)

/* One control request; the reply stays valid until the next one. */
const char *control(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool control_ok(const char *reply);
uint64_t now_ms(void);
double cpu_seconds(void);
/* The node of a device of the world, from its description. */
void device_node(unsigned device, char *ret, size_t size);
libusb_device_handle *open_device(libusb_context *ctx, unsigned device);

/* probe-usbfs.c: without libusb */
void probe_errors(void);
void probe_reap(void);
void probe_memory(void);
void probe_fork(void);
void probe_poll(void);
