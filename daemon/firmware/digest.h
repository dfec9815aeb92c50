/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* SHA-256 in lower-case hex. 0 or -ENOMEM. */
int digest_hex(const void *data, size_t size, char ret[static 65]);

/* The same piece by piece. Functions bear NULL. */
typedef struct Digest Digest;
Digest *digest_new(void); /* NULL: no memory */
void digest_update(Digest *d, const void *data, size_t size);
void digest_finish(Digest *d, char ret[static 65]); /* "" if something went wrong */
Digest *digest_free(Digest *d);
DEFINE_CLEANUP(Digest *, digest_free)
