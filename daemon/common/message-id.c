/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/message-id.h"

static const struct {
        const char *word, *subject, *text;
} messages[] = {
        {"", "", ""},
#define MESSAGE(id, word, subject, text) {word, subject, text},
#include "common/messages.def"
#undef MESSAGE
        {"", "", ""},
};

const char *message_subject(LogMessage message) {
        return messages[message].subject;
}

const char *message_text(LogMessage message) {
        return messages[message].text;
}

/* FNV-1a with 128 bits: spreads well enough that no two words of two short tables meet. */
static void name_to_id(const char *space, const char *name, char ret[static MESSAGE_ID_SIZE]) {
        unsigned __int128 hash = (unsigned __int128) 0x6c62272e07bb0142ULL << 64 | 0x62b821756295c58dULL;
        const unsigned __int128 prime = (unsigned __int128) 1 << 88 | 0x13b;

        for (const char *p = space; *p; p++)
                hash = (hash ^ (unsigned char) *p) * prime;
        for (const char *p = name; *p; p++)
                hash = (hash ^ (unsigned char) *p) * prime;
        snprintf(ret, MESSAGE_ID_SIZE, "%016llx%016llx", (unsigned long long) (hash >> 64), (unsigned long long) hash);
}

void message_id_of_pattern(const char *pattern, char ret[static MESSAGE_ID_SIZE]) {
        name_to_id("org.fdld.Fdld1 failure ", pattern, ret);
}

bool message_id(LogMessage message, const char *code, char ret[static MESSAGE_ID_SIZE]) {
        char pattern[FAILURE_CODE_MAX];

        if (message == MESSAGE_NONE || message >= MESSAGE_MAX)
                return false;
        if (message != MESSAGE_FAILURE) {
                name_to_id("org.fdld.Fdld1 message ", messages[message].word, ret);
                return true;
        }
        if (!code || !explanation_pattern(code, pattern))
                return false;
        message_id_of_pattern(pattern, ret);
        return true;
}
