/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/channel.h"
#include "common/failure.h"

/* How a running system is asked to go into download mode: one message to one of its ports (bsl-protocol §10.2, module §1.2, §2.1). */
typedef struct SoftEntry {
        uint16_t vendor, product;
        uint8_t interface;       /* its number */
        const char *what;        /* for people: "diag port", "AT port" */
        const void *message;
        size_t size;
        bool text;               /* an AT command: ERROR is a refusal, and the other words for it are tried */
} SoftEntry;

/* NULL: nothing is known for systems with this id. */
const SoftEntry *soft_entry_find(uint16_t vendor, uint16_t product);

/* Sends the message once and waits for at most `window_ms` until the device leaves the bus. 0: it left. 1 with *f: class silent (not a
 * word, and it stays), slow (it answered, and stays), refused (ERROR), gone (before anything was sent), host; detail "soft-entry".
 * -ECANCELED. */
int soft_entry_send(Channel *c, const SoftEntry *entry, uint32_t window_ms, Failure *f);
