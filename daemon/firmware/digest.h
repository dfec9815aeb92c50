/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* SHA-256 in lower-case hex. 0 or -ENOMEM. */
int digest_hex(const void *data, size_t size, char ret[static 65]);
