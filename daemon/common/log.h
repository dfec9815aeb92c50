/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <syslog.h>

#include "common/macro.h"
#include "common/message-id.h"

/* The daemon's journal: structured when systemd reads our stderr, else lines on stderr. Main thread only; bsl/ and
 * firmware/ never log. */
typedef struct LogFields {
        uint64_t job;                    /* 0 none; FDLD_JOB= */
        const char *slot, *stage, *code; /* NULL none; FDLD_SLOT= FDLD_STAGE= FDLD_CODE= */
        LogMessage message;              /* MESSAGE_ID=, what journalctl -x explains */
} LogFields;

void log_setup(void);
/* What is told: up to this priority, LOG_INFO at the start (LOG_DEBUG with $FDLD_DEBUG). */
int log_level(void);
void log_set_level(int priority);
/* Where to: "journal", "console" (standard error output) or "null". NULL takes what fits best, as at the start. -EINVAL for another word. */
const char *log_target(void);
int log_set_target(const char *word);
/* Hears all that is about a job, whatever the level (one listener; NULL: none). */
void log_set_listener(void (*fn)(void *userdata, int priority, const LogFields *fields, const char *text), void *userdata);
void log_write(int priority, const LogFields *fields, const char *format, ...) _printf_(3, 4);
/* An entry about the whole station. */
#define log_message(priority, message_of, ...) log_write((priority), &(LogFields){.message = (message_of)}, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_notice(...) log_write(LOG_NOTICE, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERR, NULL, __VA_ARGS__)
