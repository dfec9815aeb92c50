/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/soft-entry.h"

#include <stdio.h>

#define SEND_MS 2000U
#define LINE_MS 500U
#define LOOK_MS 200U
#define DTR_RTS 0x0003U

/* Mode change of the diag protocol, sub-command download (0x80 + mode). */
static const uint8_t diag_download[] = {0x7e, 0, 0, 0, 0, 0x08, 0, 0xfe, 0x82, 0x7e};
/* The same wish in the words of the UIS8910 system's diag and trace ports. */
static const uint8_t diag_module[] = {0x7e, 0x01, 0, 0, 0, 0x08, 0, 0, 0, 0x05, 0x42, 0x7e};
static const uint8_t trace_module[] = {0xad, 0x00, 0x04, 0xfd, 0x03, 0x44, 0x52, 0xe8};
static const char at_8910[] = "AT+QDOWNLOAD=1\r", at_8850[] = "AT+QDownLOAD=1\r";

/* What else modules call it (module §1.2), for those that know no other word: said one after the other, as long as ERROR comes back. */
static const char *const at_others[] = {"AT*DOWNLOAD=1\r", "AT+SPREF=\"AUTODLOADER\"\r"};

static const SoftEntry entries[] = {
        {0x1782, 0x4d03, 0, "diag port", diag_download, sizeof(diag_download), false},
        {0x1782, 0x4d10, 3, "diag port", diag_module, sizeof(diag_module), false},
        {0x1782, 0x4d11, 3, "diag port", diag_module, sizeof(diag_module), false},
        {0x1782, 0x4e00, 2, "trace port", trace_module, sizeof(trace_module), false},
        {0x2c7c, 0x0901, 2, "AT port", at_8910, sizeof(at_8910) - 1, true},
        {0x2c7c, 0x0904, 2, "AT port", at_8850, sizeof(at_8850) - 1, true},
};

const SoftEntry *soft_entry_find(uint16_t vendor, uint16_t product) {
        for (size_t i = 0; i < ELEMENTSOF(entries); i++)
                if (entries[i].vendor == vendor && entries[i].product == product)
                        return entries + i;
        return NULL;
}

static int stays(const SoftEntry *e, bool heard, uint32_t window_ms, Failure *f) {
        f->deadline_ms = f->waited_ms = window_ms;
        return failure_set(f, heard ? CLASS_SLOW : CLASS_SILENT, "soft-entry",
                           heard ? "the running system answered on its %s but did not leave for download mode within %g seconds"
                                 : "the running system ignored the command on its %s: it is still there after %g seconds",
                           e->what, window_ms / 1000.0);
}

/* The end of what an AT port said: a word may come in pieces. */
static bool says_error(char *last, size_t size, const char *data, size_t n) {
        size_t have = strlen(last), keep = MIN(have, size - 1 - MIN(n, size - 1));

        memmove(last, last + have - keep, keep);
        n = MIN(n, size - 1 - keep);
        for (size_t i = 0; i < n; i++)
                last[keep + i] = data[i] ? data[i] : ' ';
        last[keep + n] = '\0';
        return strstr(last, "ERROR");
}

static int wait_leaving(Channel *c, const SoftEntry *e, uint32_t window_ms, Failure *f) {
        const size_t room = 65536 + 64;
        _cleanup_free_ uint8_t *data = malloc(room);
        uint64_t begin = channel_now(c), now = begin;
        char last[64] = "";
        bool heard = false, refused = false;
        size_t others = 0;

        if (!data)
                return failure_set_errno(f, ENOMEM, "not enough memory to listen to the running system");
        for (; now - begin < window_ms; now = channel_now(c)) {
                size_t n = 0;
                int r = channel_receive(c, data, room, (uint32_t) MIN(window_ms - (now - begin), (uint64_t) LOOK_MS), &n);

                if (r == -ENODEV)
                        return 0;
                if (r == -ECANCELED)
                        return r;
                /* A port that is torn down stalls or stammers before it is gone. */
                if (r < 0 && r != -ETIMEDOUT && channel_pause(c, LOOK_MS) == -ENODEV)
                        return 0;
                heard = heard || (r == 0 && n > 0);
                if (r != 0 || !e->text || !says_error(last, sizeof(last), (const char *) data, n))
                        continue;
                refused = true;
                last[0] = '\0';
                if (others == ELEMENTSOF(at_others))
                        break;
                r = channel_send(c, at_others[others], strlen(at_others[others]), SEND_MS);
                if (r == -ENODEV)
                        return 0;
                if (r == -ECANCELED)
                        return r;
                others++;
        }
        if (refused)
                return failure_set(f, CLASS_REFUSED, "soft-entry", "the running system refused the command on its %s (ERROR)", e->what);
        return stays(e, heard, window_ms, f);
}

int soft_entry_send(Channel *c, const SoftEntry *e, uint32_t window_ms, Failure *f) {
        int r;

        snprintf(f->command, sizeof(f->command), "%s", e->text ? "AT" : "MODE CHANGE");
        /* Ports that wait for a terminal need it; others stall, which does no harm. */
        r = channel_line_state(c, DTR_RTS, LINE_MS);
        if (r != -ENODEV && r != -ECANCELED)
                r = channel_send(c, e->message, e->size, SEND_MS);
        if (r == -ENODEV)
                return failure_set(f, CLASS_GONE, "soft-entry", "the running system left the bus before it was asked for download mode");
        if (r == -ETIMEDOUT || r == -EPIPE)
                return failure_set(f, CLASS_SILENT, "soft-entry", "the running system takes no data on its %s", e->what);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                return failure_set_errno(f, r, "the %s of the running system cannot be used: %s", e->what, strerror(-r));
        return wait_leaving(c, e, window_ms, f);
}
