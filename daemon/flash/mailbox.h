/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/worker.h"

/* The workers' side of the mailbox. */

typedef struct Letter Letter;
struct Letter {
        WorkerRecord record;
        Letter *next;
};

Letter *letter_free(Letter *l);
Mailbox *mailbox_ref(Mailbox *m);
/* Takes the letter. Never blocks and never fails; a fact is dropped when far too many wait. */
void mailbox_post(Mailbox *m, Letter *l);

/* How long a worker waits for GO. A variable, so that a test need not wait for a minute; set before threads start. */
extern uint32_t worker_go_timeout_ms;
