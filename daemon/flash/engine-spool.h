/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/engine-private.h"

/* What is read twice and goes to the vault need not be in memory: sixty units at once would hold as many times 10 MiB. It is written
 * into a nameless file as it comes, the second reading is compared with that file, and whoever stores it must find the SHA-256 of what
 * the device said: a disk that loses something is found out. */

typedef struct EngineSpool EngineSpool;

/* For the present BACKUP step. NULL, memory will do: it is small, or needed after the step for more than the vault, or there is no such
 * file to be had (no room on the disk). */
EngineSpool *engine_spool_for(const Engine *e, size_t size);
/* For whatever may be large. NULL as above. */
EngineSpool *engine_spool_new(const Engine *e, size_t size);
EngineSpool *engine_spool_free(EngineSpool *s);
DEFINE_CLEANUP(EngineSpool *, engine_spool_free)
/* The first reading, in order. 0 or -errno. */
int engine_spool_put(EngineSpool *s, const uint8_t *data, size_t n);
/* The second: 1 the same as before, 0 not, or -errno. */
int engine_spool_same(const EngineSpool *s, uint64_t at, const uint8_t *data, size_t n);
/* A part of it again: 0, or -errno where it is not there or cannot be read. */
int engine_spool_get(const EngineSpool *s, uint64_t at, uint8_t *data, size_t n);
/* All of it, valid as long as *s; NULL data: nothing came. Who has used it asks whether the disk was up to it. 0 or -errno. */
int engine_spool_map(EngineSpool *s, const uint8_t **ret, size_t *ret_size);
bool engine_spool_ok(const EngineSpool *s);
/* Gives the file away, to the vault; blocks until it is there. 0 or -errno, as the hook. */
int engine_spool_store(Engine *e, EngineSpool *s, const char *name);
