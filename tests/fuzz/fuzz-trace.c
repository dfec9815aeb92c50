/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Traces as files, which people send each other: made into a capture by fdlctl, and read by the simulator that plays them. Whatever the
 * text is, the capture is one that other programs can read. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evidence.h"
#include "fuzz.h"
#include "usbsim/model/replay.h"

#define RUN_MAX 300 /* longer runs take longer, and that is all */
#define SNAPLEN 0x40000u

/* Reads a capture while it is written. */
typedef struct Reader {
        uint8_t head[24];
        size_t n_head, need;  /* of the head that is being collected */
        uint64_t left;        /* of the packet that is passing by */
        unsigned packets;
} Reader;

static uint32_t le32(const uint8_t *p) {
        return (uint32_t) (p[0] | p[1] << 8 | p[2] << 16) + ((uint32_t) p[3] << 24);
}

static void whole_head(Reader *r) {
        if (r->need == 24) {
                MUST(le32(r->head) == 0xa1b2c3d4 && le32(r->head + 20) == 220 && le32(r->head + 16) == SNAPLEN);
        } else {
                uint32_t usec = le32(r->head + 4), kept = le32(r->head + 8), size = le32(r->head + 12);

                MUST(usec < 1000000);
                MUST(kept >= 64 && kept <= SNAPLEN && kept <= size);
                r->left = kept;
                r->packets++;
        }
        r->need = 16;
        r->n_head = 0;
}

static ssize_t read_on(void *cookie, const char *data, size_t size) {
        Reader *r = cookie;

        for (size_t at = 0; at < size;) {
                size_t n = size - at;

                if (r->left > 0) {
                        n = n < r->left ? n : (size_t) r->left;
                        r->left -= n;
                } else {
                        n = n < r->need - r->n_head ? n : r->need - r->n_head;
                        memcpy(r->head + r->n_head, data + at, n);
                        r->n_head += n;
                        if (r->n_head == r->need)
                                whole_head(r);
                }
                at += n;
        }
        return (ssize_t) size;
}

static void capture(const char *text, size_t size) {
        Reader r = {.need = 24};
        FILE *out = fopencookie(&r, "w", (cookie_io_functions_t){.write = read_on});
        unsigned line = 0;
        int status;

        MUST(out);
        status = pcap_write(out, text, size, &line);
        MUST(fclose(out) == 0);
        MUST(status <= 0 && line <= size + 1);
        MUST(r.left == 0 && r.n_head == 0); /* no packet is cut */
        MUST(r.packets % 2 == 0);           /* a submission, and its end */
}

static void simulator(const uint8_t *data, size_t size) {
        char path[64], err[512] = "";
        Trace t = {0};
        int fd = memfd_create("trace", MFD_CLOEXEC);

        MUST(fd >= 0 && write(fd, data, size) == (ssize_t) size);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (trace_load(&t, path, err, sizeof(err))) {
                uint64_t sum = 0;

                for (size_t i = 0; i < t.n; i++)
                        for (uint32_t k = 0; t.lines[i].payload && k < t.lines[i].size; k++)
                                sum += t.lines[i].payload[k];
                MUST(sum < UINT64_MAX);
        } else
                MUST(err[0] && memchr(err, 0, sizeof(err)));
        trace_clear(&t);
        close(fd);
}

static bool has_long_run(const char *text) {
        for (const char *at = text; (at = strstr(at, "run ")); at++) {
                char *end;

                if (strtoul(at + 4, &end, 10) > RUN_MAX)
                        return true;
        }
        return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1);

        MUST(text);
        memcpy(text, data, size);
        text[size] = 0;
        if (!has_long_run(text)) {
                capture(text, size);
                simulator(data, size);
        }
        free(text);
        return 0;
}
