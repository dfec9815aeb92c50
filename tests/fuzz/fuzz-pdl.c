/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other protocol of the UIS8910's boot ROM, without checks or escapes: its replies in bytes and transfers cut anywhere. What a
 * command came to is compared with what a second decoder finds in the bytes that came after it was sent. */
#include <errno.h>
#include <string.h>

#include "bsl/session.h"
#include "fuzz.h"

#define CALLS_MAX 5000
#define HEARD_MAX 8192
#define COMMANDS_MAX 24

/* Each byte of the script is what one transfer from the device is:
 *   00..07        nothing until the deadline          08..0f  an error of the bus
 *   10..1f        a reply with the code of the low bits   20..2f c…  with the code of the next four bytes
 *   30..3f        a reply that says error, code in the low bits
 *   40..7f n      as 10..1f, but only the first bytes of it, as many as the low bits say; the rest is the next transfer
 *   80..ff …      bytes as they are, as many as the low bits say */
typedef struct Rom {
        Channel channel;
        Script script;
        uint64_t now_ms;
        unsigned calls, sends;
        uint8_t rest[12];
        size_t n_rest;
        uint8_t heard[HEARD_MAX]; /* since the last command was sent */
        size_t n_heard;
        bool overheard;
        uint32_t announced; /* of the command that is being sent: bytes after its head that are still to come */
} Rom;

static uint8_t block[0x1000];

static size_t reply(uint8_t out[static 12], uint8_t flow, uint32_t code) {
        memcpy(out, (uint8_t[8]){0xae, 4, 0, 0, 0, flow, 0, 0}, 8);
        for (unsigned i = 0; i < 4; i++)
                out[8 + i] = (uint8_t) (code >> 8 * i);
        return 12;
}

/* Commands leave whole and in their order: head, tag, data. */
static int take_command(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        Rom *rom = (Rom *) c;
        const uint8_t *p = data;

        if (++rom->calls > CALLS_MAX)
                return -ENODEV;
        rom->sends++;
        if (rom->announced == 0) {
                MUST(size == 8 && p[0] == 0xae && p[5] == 0xff && p[6] == 0 && p[7] == 0);
                rom->announced = (uint32_t) (p[1] | p[2] << 8 | p[3] << 16) + ((uint32_t) p[4] << 24);
                MUST(rom->announced >= 12 && rom->announced <= 12 + 0x800);
                rom->n_heard = 0;
                rom->overheard = false;
        } else {
                MUST(size == 12 || rom->announced <= 0x800);
                MUST(size <= rom->announced);
                rom->announced -= (uint32_t) size;
        }
        if (rom->script.size > 1 && rom->script.data[0] == 0xff && rom->script.data[1] == 0xff) {
                size_t n = 2;

                (void) script_take(&rom->script, &n);
                rom->announced = 0; /* it is not gone on with */
                rom->now_ms += timeout_ms;
                return script_byte(&rom->script) & 1 ? -ETIMEDOUT : -EPROTO;
        }
        return 0;
}

static int give(Rom *rom, void *data, size_t size, size_t *ret_size, const uint8_t *bytes, size_t n) {
        *ret_size = n < size ? n : size;
        if (*ret_size == 0)
                return 0;
        memcpy(data, bytes, *ret_size);
        if (rom->n_heard + *ret_size > sizeof(rom->heard))
                rom->overheard = true;
        else {
                memcpy(rom->heard + rom->n_heard, bytes, *ret_size);
                rom->n_heard += *ret_size;
        }
        return 0;
}

static int answer(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        static const int errors[] = {-ENODEV, -EPROTO, -EPIPE, -EOVERFLOW, -EIO, -ENODEV, -EPROTO, -ECANCELED};
        Rom *rom = (Rom *) c;
        uint8_t out[12], word;
        size_t n;

        *ret_size = 0;
        if (++rom->calls > CALLS_MAX)
                return -ENODEV;
        if (timeout_ms == 0 && (rom->script.size == 0 || rom->script.data[0] != 0xfd))
                return -ETIMEDOUT;
        rom->now_ms++;
        if (rom->n_rest > 0) {
                n = rom->n_rest;
                rom->n_rest = 0;
                return give(rom, data, size, ret_size, rom->rest, n);
        }
        if (rom->script.size == 0)
                return -ENODEV;
        word = script_byte(&rom->script);
        if (word < 0x08) {
                rom->now_ms += timeout_ms;
                return -ETIMEDOUT;
        }
        if (word < 0x10)
                return errors[word & 7];
        if (word < 0x20)
                return give(rom, data, size, ret_size, out, reply(out, 0xff, word & 15));
        if (word < 0x30) {
                const uint8_t *p = script_take(&rom->script, (n = 4, &n));
                uint32_t code = 0;

                for (size_t i = 0; i < n; i++)
                        code |= (uint32_t) p[i] << 8 * i;
                return give(rom, data, size, ret_size, out, reply(out, 0xff, code));
        }
        if (word < 0x40)
                return give(rom, data, size, ret_size, out, reply(out, 0xee, word & 15));
        if (word < 0x80) {
                n = word & 15 ? (size_t) (word & 15) % 12 : 1;
                reply(out, 0xff, word >> 4 & 3);
                rom->n_rest = 12 - n;
                memcpy(rom->rest, out + n, rom->n_rest);
                return give(rom, data, size, ret_size, out, n);
        }
        n = word & 0x7f;
        const uint8_t *bytes = script_take(&rom->script, &n);
        return give(rom, data, size, ret_size, bytes, n);
}

static uint64_t now(Channel *c) {
        return ((Rom *) c)->now_ms;
}

static int line_state(Channel *c, uint16_t value, uint32_t timeout_ms) {
        (void) c, (void) value, (void) timeout_ms;
        return 0;
}

static int pause_ms(Channel *c, uint32_t ms) {
        ((Rom *) c)->now_ms += ms;
        return 0;
}

/* The first reply in what was heard. */
static bool first_reply(const Rom *rom, uint32_t *ret) {
        for (size_t i = 0; i + 12 <= rom->n_heard; i++) {
                const uint8_t *p = rom->heard + i;

                if (memcmp(p, "\xae\4\0\0\0\xff\0", 8) != 0 && memcmp(p, "\xae\4\0\0\0\xee\0", 8) != 0)
                        continue;
                *ret = (uint32_t) (p[8] | p[9] << 8 | p[10] << 16) + ((uint32_t) p[11] << 24);
                return true;
        }
        return false;
}

static int command(BslSession *s, uint8_t which, Failure *f) {
        switch (which % 5) {
        case 0: return bsl_pdl_connect(s, f);
        case 1: return bsl_pdl_start(s, 0x838000, which * 97, f);
        case 2: return bsl_pdl_midst(s, which, block, which * 16, f);
        case 3: return bsl_pdl_end(s, f);
        default: return bsl_pdl_exec(s, f);
        }
}

static void check_outcome(const Rom *rom, uint8_t which, int r, const Failure *f) {
        uint32_t code = 0;
        bool found = first_reply(rom, &code);

        MUST(r <= 1);
        if (r == 1)
                MUST(f->class != CLASS_NONE && f->text[0] && memchr(f->text, 0, sizeof(f->text)));
        if (rom->overheard || r < 0)
                return;
        if (which % 5 == 4)
                MUST(r != 0 || !found || code == 0);
        else
                MUST(r != 0 || (found && code == 0));
        if (r == 1 && f->class == CLASS_REFUSED)
                MUST(found && code != 0 && f->pdl && f->reply == (int32_t) (code < 255 ? code : 255));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        static const ChannelOps ops = {.send = take_command, .receive = answer, .line_state = line_state, .now = now, .pause = pause_ms};
        static Rom rom;
        Script script = {bytes, size};
        uint8_t commands[COMMANDS_MAX];
        unsigned n = script_byte(&script) % COMMANDS_MAX;
        BslDeadlines deadlines;
        BslSession *s;

        for (unsigned i = 0; i < n; i++)
                commands[i] = script_byte(&script);
        rom = (Rom){.channel = {.ops = &ops, .max_packet = 64}, .script = script};
        bsl_deadlines_default(&deadlines);
        s = bsl_session_new(&rom.channel, &deadlines);
        MUST(s);
        for (unsigned i = 0; i < n; i++) {
                Failure f = FAILURE_INIT;
                bool tainted = bsl_session_tainted(s);
                unsigned sends = rom.sends;
                int r = command(s, commands[i], &f);

                /* A late answer could pass for another's. */
                if (tainted)
                        MUST(rom.sends == sends);
                if (rom.sends > sends)
                        check_outcome(&rom, commands[i], r, &f);
                rom.announced = 0; /* a command that the bus failed under is not gone on with */
        }
        bsl_session_free(s);
        return 0;
}
