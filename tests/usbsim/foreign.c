/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client that knows nothing of fdld: libusb's plain calls, its own frames. It takes a phone from the boot ROM to the
 * second loader, writes a partition, reads it back, compares, and resets the phone.
 *
 *   foreign [--plain] [--null=BLOCK|--null=raw] [--gate=N] PARTITION IMAGE [FDL1-BASE FDL2-BASE]
 *
 * --plain switches escaping off where the loader offers it. Exit status 0: what was read is the image. --null is the limit for
 * measurements: all frames are made before, only sending and waiting for each answer is timed, nothing is read back; it tells
 * "null BYTES SECONDS CPU-SECONDS BEGIN END". --gate is for several at once: takes the N-th phone (0 the first), says "ready" when all is
 * prepared and begins when its standard input ends. */
#include <errno.h>
#include <libusb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum {
        CONNECT = 0x00,
        START = 0x01,
        MIDST = 0x02,
        END = 0x03,
        EXEC = 0x04,
        RESET = 0x05,
        READ_START = 0x10,
        READ_MIDST = 0x11,
        READ_END = 0x12,
        ESCAPING_OFF = 0x21,
        ENABLE_RAW = 0x28,
        RAW_START = 0x31,
        ACK = 0x80,
        GREETING = 0x81,
        DATA = 0x93,
        DEVICE_INFO = 0x96,
        LOG = 0xFF,

        FLAG = 0x7E,
        ESCAPE = 0x7D,
        NAME_SIZE = 72,
        BLOCK = 0x1000,
        FRAME_MAX = 0x10000,
        PATIENCE_MS = 5000,
};

typedef struct Phone {
        libusb_device_handle *handle;
        uint8_t in, out;
        unsigned packet;
        bool sums;  /* loaders use a sum, the ROM a CRC */
        bool plain; /* no escaping */
        /* received and not yet looked at */
        uint8_t bytes[2 * FRAME_MAX];
        size_t used, taken;
        /* the last answer */
        unsigned type;
        uint8_t payload[FRAME_MAX];
        size_t length;
} Phone;

static Phone phone;

static _Noreturn void give_up(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void give_up(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        fputs("foreign: ", stderr);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
        va_end(ap);
        exit(1);
}

static uint64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* ---- the cable ---- */

/* The first interface with one bulk endpoint in each direction. */
static bool find_endpoints(Phone *p, libusb_device *device) {
        struct libusb_config_descriptor *config;

        if (libusb_get_active_config_descriptor(device, &config) < 0 || config->bNumInterfaces == 0)
                return false;
        const struct libusb_interface_descriptor *i = &config->interface[0].altsetting[0];
        for (unsigned k = 0; k < i->bNumEndpoints; k++) {
                const struct libusb_endpoint_descriptor *e = &i->endpoint[k];

                if ((e->bmAttributes & 3) != LIBUSB_TRANSFER_TYPE_BULK)
                        continue;
                if (e->bEndpointAddress & LIBUSB_ENDPOINT_IN)
                        p->in = e->bEndpointAddress;
                else {
                        p->out = e->bEndpointAddress;
                        p->packet = e->wMaxPacketSize;
                }
        }
        libusb_free_config_descriptor(config);
        return p->in && p->out && p->packet;
}

static libusb_device_handle *open_phone(unsigned number) {
        libusb_device **list;
        libusb_device_handle *handle = NULL;
        ssize_t n = libusb_get_device_list(NULL, &list);

        for (ssize_t i = 0; i < n; i++) {
                struct libusb_device_descriptor d;
                if (libusb_get_device_descriptor(list[i], &d) < 0 || d.idVendor != 0x1782 || d.idProduct != 0x4d00 || number-- > 0)
                        continue;
                if (libusb_open(list[i], &handle) < 0)
                        handle = NULL;
                break;
        }
        if (n >= 0)
                libusb_free_device_list(list, 1);
        return handle;
}

static void plug_in(Phone *p, unsigned number) {
        int r = libusb_init(NULL);

        if (r < 0)
                give_up("libusb: %s", libusb_error_name(r));
        p->handle = open_phone(number);
        if (!p->handle)
                give_up("no device 1782:4d00 that can be opened");
        if (!find_endpoints(p, libusb_get_device(p->handle)))
                give_up("the device has no pair of bulk endpoints");
        r = libusb_claim_interface(p->handle, 0);
        if (r < 0)
                give_up("claim: %s", libusb_error_name(r));
        r = libusb_control_transfer(p->handle, 0x21, 34, 0x0601, 0, NULL, 0, 1000);
        if (r < 0)
                give_up("the line state: %s", libusb_error_name(r));
}

/* What ends on a packet border needs an empty packet behind it. */
static void send_bytes(Phone *p, uint8_t *data, size_t size) {
        int done = 0, r = libusb_bulk_transfer(p->handle, p->out, data, (int) size, &done, PATIENCE_MS);

        if (r < 0 || (size_t) done != size)
                give_up("sending %zu bytes: %s", size, libusb_error_name(r));
        if (size % p->packet != 0)
                return;
        r = libusb_bulk_transfer(p->handle, p->out, data, 0, &done, PATIENCE_MS);
        if (r < 0)
                give_up("sending an empty packet: %s", libusb_error_name(r));
}

/* Waits for more bytes; false when none came in time. */
static bool receive(Phone *p, unsigned timeout) {
        int done = 0, r;

        memmove(p->bytes, p->bytes + p->taken, p->used - p->taken);
        p->used -= p->taken;
        p->taken = 0;
        if (sizeof p->bytes - p->used < FRAME_MAX)
                give_up("an answer without end");
        r = libusb_bulk_transfer(p->handle, p->in, p->bytes + p->used, FRAME_MAX, &done, timeout);
        p->used += (size_t) done;
        if (r < 0 && r != LIBUSB_ERROR_TIMEOUT)
                give_up("receiving: %s", libusb_error_name(r));
        return r == 0 || done > 0;
}

/* ---- frames ---- */

static uint16_t crc(const uint8_t *d, size_t n) {
        uint32_t c = 0;

        for (size_t i = 0; i < n; i++) {
                c ^= (uint32_t) d[i] << 8;
                for (unsigned bit = 0; bit < 8; bit++)
                        c = c & 0x8000 ? (c << 1) ^ 0x1021 : c << 1;
        }
        return (uint16_t) c;
}

/* Little-endian words added up with the carry brought round, the complement; the stored low byte comes first, so the two
 * are swapped here. */
static uint16_t sum(const uint8_t *d, size_t n) {
        uint32_t s = 0;

        for (size_t i = 0; i < n; i++)
                s += i & 1 ? (uint32_t) d[i] << 8 : d[i];
        while (s >> 16)
                s = (s & 0xFFFF) + (s >> 16);
        s = ~s & 0xFFFF;
        return (uint16_t) (s << 8 | s >> 8);
}

static uint16_t check_of(const Phone *p, const uint8_t *d, size_t n) {
        return p->sums ? sum(d, n) : crc(d, n);
}

enum { WIRE_MAX = 2 * (FRAME_MAX + 6) + 2 };

static size_t make_frame(const Phone *p, uint8_t *wire, unsigned type, const void *payload, size_t n) {
        static uint8_t body[FRAME_MAX + 6];
        size_t k = 0, size = n + 6;
        uint16_t check;

        body[0] = (uint8_t) (type >> 8);
        body[1] = (uint8_t) type;
        body[2] = (uint8_t) (n >> 8);
        body[3] = (uint8_t) n;
        if (n > 0)
                memcpy(body + 4, payload, n);
        check = check_of(p, body, n + 4);
        body[n + 4] = (uint8_t) (check >> 8);
        body[n + 5] = (uint8_t) check;
        wire[k++] = FLAG;
        for (size_t i = 0; i < size; i++)
                if (!p->plain && (body[i] == FLAG || body[i] == ESCAPE)) {
                        wire[k++] = ESCAPE;
                        wire[k++] = body[i] ^ 0x20;
                } else
                        wire[k++] = body[i];
        wire[k++] = FLAG;
        return k;
}

static void send_frame(Phone *p, unsigned type, const void *payload, size_t n) {
        static uint8_t wire[WIRE_MAX];

        send_bytes(p, wire, make_frame(p, wire, type, payload, n));
}

/* Takes one byte of the frame's body, unescaped; -1: none there yet, -2: the closing flag. */
static int body_byte(const Phone *p, size_t *at) {
        if (*at >= p->used)
                return -1;
        int c = p->bytes[(*at)++];
        if (p->plain)
                return c;
        if (c == FLAG)
                return -2;
        if (c != ESCAPE)
                return c;
        if (*at >= p->used)
                return -1;
        return p->bytes[(*at)++] ^ 0x20;
}

/* True when a whole frame was there; it is in type, payload, length. */
static bool take_frame(Phone *p) {
        static uint8_t body[FRAME_MAX + 6];
        size_t at = p->taken, n = 0, whole = 6;
        int c = 0;

        while (at < p->used && p->bytes[at] == FLAG)
                at++;
        for (; n < whole && (c = body_byte(p, &at)) >= 0; body[n++] = (uint8_t) c)
                if (n == 3)
                        whole = 6 + (size_t) (body[2] << 8 | c);
        if (c == -2)
                give_up("a frame of %zu bytes ends early", n);
        if (n < whole || at >= p->used)
                return false;
        if (p->bytes[at++] != FLAG)
                give_up("a frame without its end");
        if (check_of(p, body, n - 2) != (body[n - 2] << 8 | body[n - 1]))
                give_up("answer %02x has a wrong check", body[1]);
        p->taken = at;
        p->type = (unsigned) body[0] << 8 | body[1];
        p->length = n - 6;
        memcpy(p->payload, body + 4, p->length);
        return true;
}

/* The next answer that is no log; false when none came in time. */
static bool answer(Phone *p, unsigned timeout) {
        uint64_t end = now_ms() + timeout;

        for (;;) {
                while (take_frame(p))
                        if (p->type != LOG)
                                return true;
                uint64_t now = now_ms();
                if (now >= end || (!receive(p, (unsigned) (end - now)) && now_ms() >= end))
                        return false;
        }
}

static void ask(Phone *p, unsigned type, const void *payload, size_t n, unsigned want) {
        send_frame(p, type, payload, n);
        if (!answer(p, PATIENCE_MS))
                give_up("no answer to command %02x", type);
        if (p->type != want)
                give_up("command %02x is answered with %02x, not %02x", type, p->type, want);
}

/* ---- the session ---- */

static void put_be32(uint8_t *d, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                d[i] = (uint8_t) (v >> (24 - 8 * i));
}

static void put_le32(uint8_t *d, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                d[i] = (uint8_t) (v >> 8 * i);
}

/* The first bytes after a start of the loader may get lost. */
static void greet(Phone *p, const char *what) {
        uint8_t flag = FLAG;

        for (unsigned i = 0; i < 10; i++) {
                send_bytes(p, &flag, 1);
                if (!answer(p, 300))
                        continue;
                if (p->type != GREETING)
                        give_up("%s greets with %02x", what, p->type);
                printf("%s says \"%.*s\"\n", what, (int) p->length, (const char *) p->payload);
                ask(p, CONNECT, NULL, 0, ACK);
                return;
        }
        give_up("%s does not answer", what);
}

static void load(Phone *p, uint32_t base, size_t block) {
        static uint8_t image[40000];
        uint8_t start[8];

        /* What the loaders are made of does not matter to a simulated phone, nor to this client. */
        for (size_t i = 0; i < sizeof image; i++)
                image[i] = (uint8_t) (i * 7 + (i >> 8));
        memcpy(image, "DHTB", 4);
        put_be32(start, base);
        put_be32(start + 4, sizeof image);
        ask(p, START, start, sizeof start, ACK);
        for (size_t at = 0, n; at < sizeof image; at += n) {
                n = sizeof image - at < block ? sizeof image - at : block;
                ask(p, MIDST, image + at, n, ACK);
        }
        ask(p, END, NULL, 0, ACK);
}

static void start_second_loader(Phone *p) {
        send_frame(p, EXEC, NULL, 0);
        if (!answer(p, 20000))
                give_up("FDL2 does not start");
        if (p->type != DEVICE_INFO && p->type != ACK)
                give_up("FDL2 greets with %02x", p->type);
        printf("FDL2 runs, %zu bytes of device info\n", p->length);
}

static void name_and_size(uint8_t *d, const char *name, uint32_t size) {
        memset(d, 0, NAME_SIZE + 4);
        for (size_t i = 0; name[i] && i < 35; i++)
                d[2 * i] = (uint8_t) name[i];
        put_le32(d + NAME_SIZE, size);
}

static void write_partition(Phone *p, const char *name, const uint8_t *data, size_t size) {
        uint8_t start[NAME_SIZE + 4];

        name_and_size(start, name, (uint32_t) size);
        ask(p, START, start, sizeof start, ACK);
        for (size_t at = 0, n; at < size; at += n) {
                n = size - at < BLOCK ? size - at : BLOCK;
                ask(p, MIDST, data + at, n, ACK);
        }
        ask(p, END, NULL, 0, ACK);
}

static void compare_partition(Phone *p, const char *name, const uint8_t *data, size_t size) {
        uint8_t start[NAME_SIZE + 4], piece[8];

        name_and_size(start, name, (uint32_t) size);
        ask(p, READ_START, start, sizeof start, ACK);
        for (size_t at = 0, n; at < size; at += n) {
                n = size - at < BLOCK ? size - at : BLOCK;
                put_le32(piece, (uint32_t) n);
                put_le32(piece + 4, (uint32_t) at);
                ask(p, READ_MIDST, piece, sizeof piece, DATA);
                if (p->length != n || memcmp(p->payload, data + at, n) != 0)
                        give_up("%s differs near byte %zu", name, at);
        }
        ask(p, READ_END, NULL, 0, ACK);
}

/* ---- nothing but sending and waiting ---- */

typedef struct Piece {
        uint8_t *bytes;
        size_t size;
} Piece;

static int in_done, out_done;

static void LIBUSB_CALL on_done(struct libusb_transfer *t) {
        if (t->status != LIBUSB_TRANSFER_COMPLETED)
                give_up("a transfer ends with status %d", t->status);
        *(int *) t->user_data = 1;
}

static void exchange(Phone *p, struct libusb_transfer *in, struct libusb_transfer *out, const Piece *piece) {
        static uint8_t reply[4096];

        in_done = out_done = 0;
        libusb_fill_bulk_transfer(in, p->handle, p->in, reply, sizeof reply, on_done, &in_done, 60000);
        libusb_fill_bulk_transfer(out, p->handle, p->out, piece->bytes, (int) piece->size, on_done, &out_done, 60000);
        out->flags = LIBUSB_TRANSFER_ADD_ZERO_PACKET;
        if (libusb_submit_transfer(in) < 0 || libusb_submit_transfer(out) < 0)
                give_up("a transfer cannot be submitted");
        while (!in_done || !out_done)
                if (libusb_handle_events_completed(NULL, in_done ? &out_done : &in_done) < 0)
                        give_up("the events of libusb");
        if (in->actual_length < 3 || reply[2] != ACK)
                give_up("the answer is no ACK");
}

static double cpu_seconds(void) {
        struct rusage r;

        getrusage(RUSAGE_SELF, &r);
        return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static double seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void wait_at_gate(void) {
        puts("ready");
        fflush(stdout);
        while (getchar() != EOF)
                ;
}

static void write_null(Phone *p, const char *name, uint8_t *data, size_t size, bool raw, size_t block, bool gate) {
        size_t chunk = raw ? 2u << 20 : block, n = 0;
        Piece *pieces = calloc(2 * (size / chunk + 1), sizeof *pieces);
        struct libusb_transfer *in = libusb_alloc_transfer(0), *out = libusb_alloc_transfer(0);
        uint8_t start[NAME_SIZE + 4];
        double t, cpu;

        if (!pieces || !in || !out)
                give_up("no memory");
        if (raw)
                ask(p, ENABLE_RAW, NULL, 0, ACK);
        name_and_size(start, name, (uint32_t) size);
        ask(p, START, start, sizeof start, ACK);
        for (size_t at = 0; at < size; at += chunk) {
                size_t k = size - at < chunk ? size - at : chunk;
                uint8_t *wire = malloc(raw ? 64 : 2 * (k + 6) + 2);

                if (!wire)
                        give_up("no memory");
                pieces[n++] = (Piece){ wire, make_frame(p, wire, raw ? RAW_START : MIDST, data + at, raw ? 0 : k) };
                if (raw)
                        pieces[n++] = (Piece){ data + at, k };
        }
        if (gate)
                wait_at_gate();
        t = seconds();
        cpu = cpu_seconds();
        for (size_t i = 0; i < n; i++)
                exchange(p, in, out, pieces + i);
        printf("null %zu %.6f %.6f %.6f %.6f\n", size, seconds() - t, cpu_seconds() - cpu, t, seconds());
        ask(p, END, NULL, 0, ACK);
        for (size_t i = 0; i < n; i += raw ? 2 : 1)
                free(pieces[i].bytes);
        free(pieces);
        libusb_free_transfer(in);
        libusb_free_transfer(out);
}

static uint8_t *read_image(const char *path, size_t *ret_size) {
        FILE *f = fopen(path, "rb");
        long n;

        if (!f || fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) <= 0 || n > 256 << 20 || n % 2 != 0)
                give_up("%s: a file of even size is needed", path);
        rewind(f);
        *ret_size = (size_t) n;
        uint8_t *data = malloc(*ret_size);
        if (!data || fread(data, 1, *ret_size, f) != *ret_size)
                give_up("%s: %s", path, strerror(errno));
        fclose(f);
        return data;
}

static void unplug(Phone *p) {
        libusb_release_interface(p->handle, 0);
        libusb_close(p->handle);
        libusb_exit(NULL);
}

int main(int argc, char **argv) {
        Phone *p = &phone;
        bool plain = argc > 1 && strcmp(argv[1], "--plain") == 0;
        const char *null = NULL, *gate = NULL;
        size_t size;

        argv += plain;
        argc -= plain;
        if (argc > 1 && strncmp(argv[1], "--null=", 7) == 0) {
                null = argv[1] + 7;
                argv++;
                argc--;
        }
        if (null && argc > 1 && strncmp(argv[1], "--gate=", 7) == 0) {
                gate = argv[1] + 7;
                argv++;
                argc--;
        }
        if (argc != 3 && argc != 5) {
                fputs("usage: foreign [--plain] [--null=BLOCK|raw] [--gate=N] PARTITION IMAGE [FDL1-BASE FDL2-BASE]\n", stderr);
                return 2;
        }
        uint8_t *image = read_image(argv[2], &size);
        uint32_t first = argc == 5 ? (uint32_t) strtoul(argv[3], NULL, 0) : 0x5500;
        uint32_t second = argc == 5 ? (uint32_t) strtoul(argv[4], NULL, 0) : 0x9EFFFE00;

        plug_in(p, gate ? (unsigned) strtoul(gate, NULL, 10) : 0);
        greet(p, "the ROM");
        load(p, first, 528);
        ask(p, EXEC, NULL, 0, ACK);
        p->sums = true;
        greet(p, "FDL1");
        load(p, second, 2112);
        start_second_loader(p);
        if (plain) {
                ask(p, ESCAPING_OFF, NULL, 0, ACK);
                p->plain = true;
        }
        if (null) {
                bool raw = strcmp(null, "raw") == 0;
                size_t block = raw ? 0 : strtoul(null, NULL, 0);

                if (!raw && (block < 2 || block > FRAME_MAX - 8 || block % 2))
                        give_up("a block has 2 to %d bytes, an even number", FRAME_MAX - 8);
                write_null(p, argv[1], image, size, raw, block, gate);
                unplug(p);
                free(image);
                return 0;
        }
        write_partition(p, argv[1], image, size);
        compare_partition(p, argv[1], image, size);
        ask(p, RESET, NULL, 0, ACK);
        printf("%s: %zu bytes written, read back, the same\n", argv[1], size);
        unplug(p);
        free(image);
        return 0;
}
