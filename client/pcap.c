/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "common/macro.h"
#include "evidence.h"

/* A trace as a capture: each frame is one transfer as the kernel's monitor of USB buses shows it, its submission and its end. The format
 * of the file and of the head before each packet are those that libpcap documents (LINKTYPE_USB_LINUX_MMAPPED). */

#define HEAD_SIZE 64
#define KEPT_OF_DATA 32U     /* zeros that stand for data which were not kept: more of them tells nothing */
#define FRAME_MAX (2 * (0x10000 + 6) + 2)
#define PACKETS_MAX 400000U
#define LINES_OF_RUN 2

typedef struct Line {
        double seconds;
        char word[16], check[8], mode[8];
        unsigned type;
        unsigned long size;
        const char *payload;   /* hex digits, "~…", "?" or "-"; up to the next blank */
        size_t payload_length;
} Line;

typedef struct Pcap {
        FILE *out;
        uint64_t start_usec, urb;
        unsigned packets;
        uint8_t *frame;
} Pcap;

/* ---- packets ---- */

static void put_head(Pcap *p, uint8_t head[static HEAD_SIZE], char event, uint8_t endpoint, uint64_t usec, uint32_t urb_size, uint32_t kept) {
        memset(head, 0, HEAD_SIZE);
        put_le64(head, p->urb);
        head[8] = (uint8_t) event;
        head[9] = 3; /* bulk */
        head[10] = endpoint;
        head[11] = 1; /* device */
        put_le16(head + 12, 1);
        head[14] = '-';
        head[15] = kept > 0 ? 0 : event == 'S' ? '<' : '>';
        put_le64(head + 16, usec / 1000000);
        put_le32(head + 24, (uint32_t) (usec % 1000000));
        put_le32(head + 28, event == 'S' ? (uint32_t) -115 : 0); /* EINPROGRESS while it is on its way */
        put_le32(head + 32, urb_size);
        put_le32(head + 36, kept);
}

static int put_packet(Pcap *p, char event, uint8_t endpoint, uint64_t usec, uint32_t urb_size, const uint8_t *data, uint32_t kept) {
        uint8_t record[16], head[HEAD_SIZE];

        if (p->packets++ >= PACKETS_MAX)
                return 0;
        put_head(p, head, event, endpoint, usec, urb_size, kept);
        put_le32(record, (uint32_t) (usec / 1000000));
        put_le32(record + 4, (uint32_t) (usec % 1000000));
        put_le32(record + 8, HEAD_SIZE + kept);
        put_le32(record + 12, HEAD_SIZE + (kept > 0 ? urb_size : 0));
        fwrite(record, sizeof(record), 1, p->out);
        fwrite(head, sizeof(head), 1, p->out);
        if (kept > 0)
                fwrite(data, kept, 1, p->out);
        return ferror(p->out) ? -EIO : 0;
}

static int put_transfer(Pcap *p, bool out, uint64_t usec, uint32_t size, const uint8_t *data, uint32_t kept) {
        uint8_t endpoint = out ? 0x06 : 0x85;
        int r;

        p->urb++;
        r = put_packet(p, 'S', endpoint, usec, out ? size : 0x10000, data, out ? kept : 0);
        return r < 0 ? r : put_packet(p, 'C', endpoint, usec, size, data, out ? 0 : kept);
}

/* ---- frames ---- */

static uint16_t crc16(const uint8_t *d, size_t n) {
        uint16_t c = 0;

        for (size_t i = 0; i < n; i++) {
                c = (uint16_t) (c ^ d[i] << 8);
                for (int bit = 0; bit < 8; bit++)
                        c = (uint16_t) (c & 0x8000 ? c << 1 ^ 0x1021 : c << 1);
        }
        return c;
}

static uint16_t sum16(const uint8_t *d, size_t n) {
        uint64_t s = 0;

        for (size_t i = 0; i + 1 < n; i += 2)
                s += get_le16(d + i);
        if (n % 2)
                s += d[n - 1];
        while (s >> 16)
                s = (s & 0xffff) + (s >> 16);
        return (uint16_t) ~s;
}

static unsigned digit(char c) {
        return c <= '9' ? (unsigned) (c - '0') : (unsigned) ((c | 32) - 'a' + 10);
}

static int put_frame(Pcap *p, const Line *l, uint64_t usec) {
        bool whole = l->payload_length == 2 * l->size && l->payload[0] != '~' && l->payload[0] != '?', esc = streq(l->mode, "esc");
        uint8_t *body = p->frame, *wire = p->frame + 0x10000 + 16;
        size_t size = l->size, n = 0, kept;
        uint16_t check;

        put_be16(body, (uint16_t) l->type);
        put_be16(body + 2, (uint16_t) size);
        memset(body + 4, 0, size);
        for (size_t i = 0; whole && i < size; i++)
                body[4 + i] = (uint8_t) (digit(l->payload[2 * i]) << 4 | digit(l->payload[2 * i + 1]));
        check = streq(l->check, "crc") ? crc16(body, size + 4) : sum16(body, size + 4);
        if (streq(l->word, "!"))
                check ^= 0x5555;
        if (streq(l->check, "crc") || (size % 2 && streq(l->word, ">")))
                put_be16(body + 4 + size, check);
        else
                put_le16(body + 4 + size, check);
        wire[n++] = 0x7e;
        for (size_t i = 0; i < size + 6; i++)
                if (esc && (body[i] == 0x7e || body[i] == 0x7d)) {
                        wire[n++] = 0x7d;
                        wire[n++] = body[i] ^ 0x20;
                } else
                        wire[n++] = body[i];
        wire[n++] = 0x7e;
        kept = whole || size <= KEPT_OF_DATA ? n : 5 + KEPT_OF_DATA;
        return put_transfer(p, streq(l->word, ">"), usec, (uint32_t) n, wire, (uint32_t) kept);
}

static int put_blank(Pcap *p, bool out, uint64_t usec, unsigned long size, uint8_t byte) {
        uint8_t data[KEPT_OF_DATA];
        size_t kept = MIN(size, (unsigned long) KEPT_OF_DATA);

        memset(data, byte, sizeof(data));
        return put_transfer(p, out, usec, (uint32_t) MIN(size, 0x7fffffffUL), data, (uint32_t) kept);
}

/* The other protocol of the UIS8910's boot ROM: eight bytes, then what they announce. */
static int put_pdl(Pcap *p, const char *text, uint64_t usec) {
        unsigned code = 0, address = 0, length = 0, size = 0;
        uint8_t b[20 + KEPT_OF_DATA] = {0xae};
        bool out = sscanf(text, "%*f pdl> %u %u %u %u", &code, &address, &length, &size) == 4;
        size_t kept = out ? 20 + MIN(size, KEPT_OF_DATA) : 12;

        if (!out && sscanf(text, "%*f pdl< %u", &code) != 1)
                return -EBADMSG;
        if (size > 0xffff)
                return -EBADMSG;
        put_le32(b + 1, out ? 12 + size : 4);
        b[5] = out || code == 0 ? 0xff : 0xee;
        put_le32(b + 8, code);
        put_le32(b + 12, address);
        put_le32(b + 16, length);
        return put_transfer(p, out, usec, out ? 20 + size : 12, b, (uint32_t) kept);
}

/* ---- lines ---- */

static bool parse_frame(const char *text, Line *l) {
        int at = 0;

        if (sscanf(text, "%lf %15s %7s %7s %4x %lu%n", &l->seconds, l->word, l->check, l->mode, &l->type, &l->size, &at) != 6 || at == 0 ||
            l->size > 0xffff || (!streq(l->check, "crc") && !streq(l->check, "sum")) || (!streq(l->mode, "esc") && !streq(l->mode, "plain")))
                return false;
        l->payload = text + at;
        if (streq(l->word, "!")) {
                l->payload_length = 0;
                l->payload = "?";
                return true;
        }
        if (*l->payload++ != ' ')
                return false;
        l->payload_length = strcspn(l->payload, " \n");
        if (l->payload[0] == '~' || l->payload[0] == '?' || l->payload[0] == '-')
                return true;
        for (size_t i = 0; i < l->payload_length; i++)
                if (!isxdigit((unsigned char) l->payload[i]))
                        return false;
        return l->payload_length == 2 * l->size;
}

/* What stands before the first event. */
static uint64_t start_of(const char *text) {
        const char *line = strstr(text, "\nstarted ");
        struct tm tm = {0};

        if (!line || sscanf(line, "\nstarted %d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
                return 0;
        tm.tm_year -= 1900;
        tm.tm_mon--;
        return (uint64_t) MAX(timegm(&tm), (time_t) 0) * 1000000;
}

/* Seconds that a job may have taken. */
static bool is_time(double seconds) {
        return seconds >= 0 && seconds <= 1e9;
}

static int put_line(Pcap *p, const char *text, double seconds, bool own_time) {
        unsigned long size = 0;
        Line l = {0};
        double at;
        char word[16];

        if (sscanf(text, "%lf %15s", &at, word) != 2 || !is_time(at))
                return -EBADMSG;
        uint64_t usec = p->start_usec + (uint64_t) ((own_time ? at : seconds) * 1e6);
        if (streq(word, ">") || streq(word, "<") || streq(word, "!"))
                return parse_frame(text, &l) ? put_frame(p, &l, usec) : -EBADMSG;
        if (streq(word, "sync"))
                return put_blank(p, true, usec, 1, 0x7e);
        if (sscanf(text, "%*f raw %lu", &size) == 1)
                return put_blank(p, true, usec, size, 0);
        if (sscanf(text, "%*f garbage %lu", &size) == 1 || sscanf(text, "%*f cut %lu", &size) == 1)
                return put_blank(p, false, usec, size, 0);
        if (streq(word, "pdl>") || streq(word, "pdl<"))
                return put_pdl(p, text, usec);
        return 0; /* not on the wire */
}

/* The lines of a run, each as often as it was. */
static int put_run(Pcap *p, const char *lines[static LINES_OF_RUN], unsigned n, unsigned count, double until) {
        double from;

        if (sscanf(lines[0], "%lf", &from) != 1 || !is_time(from) || !is_time(until))
                return -EBADMSG;
        for (unsigned i = 0; i < count && p->packets < PACKETS_MAX; i++)
                for (unsigned k = 0; k < n; k++) {
                        int r = put_line(p, lines[k], count > 1 ? from + (until - from) * i / (count - 1) : from, i == 0);
                        if (r < 0)
                                return r;
                }
        return 0;
}

static int put_all(Pcap *p, char *text, unsigned *ret_line) {
        const char *run[LINES_OF_RUN];
        unsigned n_run = 0, have = 0, count = 0;
        bool begun = false;
        double until = 0;
        char *save = NULL;

        *ret_line = 0;
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                int r = 0;

                ++*ret_line;
                if (*ret_line == 1 && !streq(line, "fdld-trace 1"))
                        return -EBADMSG;
                if (streq(line, "end"))
                        return begun ? 0 : -EBADMSG;
                if (!begun) {
                        begun = streq(line, "begin");
                        continue;
                }
                if (n_run > have) {
                        run[have++] = line;
                        if (have == n_run) {
                                r = put_run(p, run, n_run, count, until);
                                n_run = have = 0;
                        }
                } else if (strncmp(line, "run ", 4) == 0) {
                        if (sscanf(line, "run %u %u %lf", &count, &n_run, &until) != 3 || n_run < 1 || n_run > LINES_OF_RUN)
                                return -EBADMSG;
                } else if (strncmp(line, "lost ", 5) != 0)
                        r = put_line(p, line, 0, true);
                if (r < 0)
                        return r;
        }
        return -EBADMSG;
}

int pcap_write(FILE *out, const char *text, size_t size, unsigned *ret_line) {
        _cleanup_free_ char *copy = strndup(text, size);
        _cleanup_free_ uint8_t *frame = malloc(0x10000 + 16 + FRAME_MAX);
        Pcap p = {.out = out, .frame = frame};
        uint8_t head[24];
        int r;

        if (!copy || !frame)
                return -ENOMEM;
        p.start_usec = start_of(copy);
        put_le32(head, 0xa1b2c3d4);
        put_le16(head + 4, 2);
        put_le16(head + 6, 4);
        put_le64(head + 8, 0);
        put_le32(head + 16, 0x40000);
        put_le32(head + 20, 220); /* LINKTYPE_USB_LINUX_MMAPPED */
        fwrite(head, sizeof(head), 1, out);
        r = put_all(&p, copy, ret_line);
        return r < 0 ? r : ferror(out) ? -EIO : 0;
}
