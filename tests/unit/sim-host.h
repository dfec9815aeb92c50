/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <check.h>
#include <unistd.h>

#include "sim-channel.h"

/* A foreign client for tests of the device model: it judges simulated units by bytes on the wire against bytes on the
 * wire. Frames that the protocol description gives are literals in the tests; longer flows use the small encoder here,
 * which test-simmodel checks against those literals first. One unit at a time, in a storage directory of its own. */

#define MS 1000000ull
#define PDL_ACK "ae04000000ff0000 00000000"

extern char dir[160]; /* its storage */
extern SimModel *m;
extern uint64_t now;
extern bool use_crc, rda_sums, plain; /* how to frame */
extern uint8_t answer[70000];         /* payload of the last reply */
extern size_t answer_size;

/* Around each test. */
void set_up(void);
void tear_down(void);
void add_case(Suite *s, const char *name, const TTest *const tests[], size_t n);
int run_suite(Suite *s);

void plug(const char *spec, unsigned seed);
void advance(uint64_t ns);

/* Bytes. */
size_t from_hex(const char *hex, uint8_t *to);
void put(const uint8_t *p, size_t n);
void send_hex(const char *hex);
/* What arrives within a minute. */
size_t fetch(uint8_t *to, size_t max);
void expect_hex(const char *hex);
void expect_nothing(void);
void ask(const char *send, const char *reply);

/* Frames. */
size_t build(unsigned type, const uint8_t *p, size_t n, uint8_t *to);
/* Sends a frame, returns the reply's type (0: none); its payload in answer. */
unsigned command(unsigned type, const void *p, size_t n);
unsigned start_at(uint32_t address, uint32_t size);
unsigned erase_at(uint32_t address, uint32_t size);
unsigned read_at(uint32_t address, uint32_t size, uint32_t offset);
void name_to(uint8_t *p, const char *name);
unsigned named(unsigned type, const char *name, uint32_t size);
unsigned read_piece(uint32_t size, uint32_t offset);
unsigned all_midst(const uint8_t *p, size_t n, size_t step);
/* START, all data, END. */
unsigned write_part(const char *name, const void *p, size_t n);
unsigned write_nv(const char *name, const uint8_t *data, size_t n, uint32_t sum, bool with_sum);

/* Files of the unit. */
void read_store(const char *file, uint64_t offset, void *buf, size_t n);
void write_store(const char *file, uint64_t offset, const void *buf, size_t n);
bool in_store(const char *file);
/* A file of its own next to the storage directory. */
void write_beside(char *path, size_t size, const char *text, size_t n);

bool said(const char *text);
void pattern(uint8_t *p, size_t n, unsigned seed);
void fault(const char *line);

/* Up to a stage. */
void phone_rom(const char *spec);
void phone_fdl1(const char *spec);
void phone_fdl1_at(const char *spec, uint32_t base);
unsigned start_fdl2(uint32_t base); /* reply to EXEC */
void phone_fdl2(const char *spec);
void rom_8850(const char *spec);
void fdl_8850(const char *spec);
void pdl(const char *head, const char *tag, const uint8_t *data, size_t n);
void fdl1_8910(const char *spec);
void fdl2_8910(const char *spec);

/* Images and NV of modules. */
void sihr(uint8_t *p, size_t n);
void uimage(uint8_t *p, size_t n);
void read_nv(uint8_t *to, size_t size);
size_t find_item(const uint8_t *image, size_t size, unsigned id);
