/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

static bool to_journal, with_prefix, to_nobody;
static int max_level = LOG_INFO;

/* systemd says in $JOURNAL_STREAM which file is the journal; it is ours only if stderr is still that file. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
               st.st_dev == device && st.st_ino == inode;
}

void log_setup(void) {
        to_journal = stderr_is_journal();
        with_prefix = !isatty(STDERR_FILENO);
        if (getenv("FDLD_DEBUG"))
                max_level = LOG_DEBUG;
}

int log_level(void) {
        return max_level;
}

void log_set_level(int priority) {
        max_level = priority;
}

const char *log_target(void) {
        return to_nobody ? "null" : to_journal ? "journal" : "console";
}

int log_set_target(const char *word) {
        if (word && !streq(word, "journal") && !streq(word, "console") && !streq(word, "null"))
                return -EINVAL;
        to_journal = word ? streq(word, "journal") : stderr_is_journal();
        to_nobody = word && streq(word, "null");
        return 0;
}

#define N_FIELDS 7
static size_t add_field(struct iovec iov[N_FIELDS], size_t n, char *text) {
        iov[n] = (struct iovec){text, strlen(text)};
        return n + 1;
}

static void send_to_journal(int priority, const LogFields *f, const char *text) {
        char id[12 + MESSAGE_ID_SIZE] = "MESSAGE_ID=", message[1100], level[16], job[40], slot[160], stage[64], code[120];
        struct iovec iov[N_FIELDS];
        size_t n = 0;

        snprintf(message, sizeof(message), "MESSAGE=%s", text);
        snprintf(level, sizeof(level), "PRIORITY=%d", priority);
        n = add_field(iov, n, message);
        n = add_field(iov, n, level);
        if (f && message_id(f->message, f->code, id + strlen(id)))
                n = add_field(iov, n, id);
        if (f && f->job) {
                snprintf(job, sizeof(job), "FDLD_JOB=%llu", (unsigned long long) f->job);
                n = add_field(iov, n, job);
        }
        if (f && f->slot) {
                snprintf(slot, sizeof(slot), "FDLD_SLOT=%s", f->slot);
                n = add_field(iov, n, slot);
        }
        if (f && f->stage) {
                snprintf(stage, sizeof(stage), "FDLD_STAGE=%s", f->stage);
                n = add_field(iov, n, stage);
        }
        if (f && f->code && f->code[0]) {
                snprintf(code, sizeof(code), "FDLD_CODE=%s", f->code);
                n = add_field(iov, n, code);
        }
        (void) sd_journal_sendv(iov, (int) n);
}

static void (*listener)(void *userdata, int priority, const LogFields *fields, const char *text);
static void *listener_userdata;

void log_set_listener(void (*fn)(void *userdata, int priority, const LogFields *fields, const char *text), void *userdata) {
        listener = fn;
        listener_userdata = userdata;
}

void log_write(int priority, const LogFields *fields, const char *format, ...) {
        bool heard = listener && fields && fields->job, told = priority <= max_level && !to_nobody;
        char text[1024];
        va_list ap;

        if (!heard && !told)
                return;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (heard)
                listener(listener_userdata, priority, fields, text);
        if (!told)
                return;
        if (to_journal)
                send_to_journal(priority, fields, text);
        else if (with_prefix)
                fprintf(stderr, "<%d>%s\n", priority, text);
        else
                fprintf(stderr, "%s\n", text);
}
