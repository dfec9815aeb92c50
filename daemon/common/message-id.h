/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"

/* MESSAGE_ID of journal entries: one for each row of messages.def and each row of errors.def. They follow from the words there, so they
 * stay the same as long as those do. */

typedef enum LogMessage {
        MESSAGE_NONE,
#define MESSAGE(id, word, subject, text) MESSAGE_##id,
#include "common/messages.def"
#undef MESSAGE
        MESSAGE_FAILURE, /* that of the code */
        MESSAGE_MAX,
} LogMessage;

#define MESSAGE_ID_SIZE 33
/* 32 hex digits. `code` counts for MESSAGE_FAILURE. False: it has none. */
bool message_id(LogMessage message, const char *code, char ret[static MESSAGE_ID_SIZE]);
/* Of a row of errors.def, by its pattern (explanation_foreach). */
void message_id_of_pattern(const char *pattern, char ret[static MESSAGE_ID_SIZE]);
const char *message_subject(LogMessage message);
const char *message_text(LogMessage message);
