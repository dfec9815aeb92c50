/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <check.h>

/* For loops over bytes and messages: ck_assert() writes to a file for each that holds. */
#define must(condition, ...)                               \
        do {                                               \
                if (!(condition))                          \
                        ck_abort_msg(__VA_ARGS__);         \
        } while (0)
