/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine says on the wire for the real packages, command by command, against the order of the vendor's tools. Decoded here
 * and not by the daemon's code. */
#include <check.h>
#include <stdio.h>

#include "engine-bench.h"
#include "pacmaker/pacmaker.h"

#define NV_PLACE 0xfe000003u

typedef struct Transcript {
        char *text; /* a line for each command; equal ones in a row are counted */
        size_t size;
        FILE *out;
        /* the frame that is being received */
        uint8_t frame[65536];
        size_t n;
        bool inside, escaped, pdl;
        /* packets in a row */
        const char *packet;
        unsigned packets;
        size_t longest, last;
        /* reads in a row, each from where the one before ended */
        unsigned reads;
        uint32_t read_at, read_place;
        size_t read_longest, read_last;
        unsigned syncs;
        /* the NV image that is being written */
        bool nv;
        uint32_t nv_sum, nv_announced;
        uint16_t nv_stored, nv_crc;
        uint64_t nv_at;
} Transcript;

static void end_run(Transcript *t) {
        if (t->packets)
                fprintf(t->out, "%s %ux%zx last %zx\n", t->packet, t->packets, t->longest, t->last);
        if (t->reads)
                fprintf(t->out, "read %x %ux%zx last %zx\n", t->read_place, t->reads, t->read_longest, t->read_last);
        if (t->syncs)
                fputs("sync\n", t->out);
        t->packets = t->reads = t->syncs = 0;
        t->longest = t->read_longest = 0;
}

static void on_packet(Transcript *t, const char *name, size_t size) {
        if (t->packets == 0)
                end_run(t);
        t->packet = name;
        t->packets++;
        t->longest = MAX(t->longest, size);
        t->last = size;
}

static void on_read(Transcript *t, const uint8_t *p, size_t n) {
        uint32_t place = get_be32(p), offset = n >= 12 ? get_be32(p + 8) : 0;
        size_t size = get_be32(p + 4);

        if (t->reads == 0 || place != t->read_place || offset != t->read_at)
                end_run(t);
        t->reads++;
        t->read_place = place;
        t->read_at = offset + (uint32_t) size;
        t->read_longest = MAX(t->read_longest, size);
        t->read_last = size;
}

static void nv_bytes(Transcript *t, const uint8_t *p, size_t n) {
        if (t->nv_at == 0)
                t->nv_stored = get_be16(p);
        t->nv_crc = t->nv_at == 0 ? pm_crc(0, p + 2, n - 2) : pm_crc(t->nv_crc, p, n);
        for (size_t i = 0; i < n; i++)
                t->nv_sum += p[i];
        t->nv_at += n;
}

static void on_start(Transcript *t, const uint8_t *p, size_t n) {
        fprintf(t->out, "start %x %x%s\n", get_be32(p), get_be32(p + 4), n == 12 ? " sum" : "");
        t->nv = get_be32(p) == NV_PLACE;
        t->nv_announced = n >= 12 ? get_be32(p + 8) : 0;
        t->nv_sum = 0;
        t->nv_at = 0;
}

static void on_frame(Transcript *t, unsigned type, const uint8_t *p, size_t n) {
        if (type == 0x02) {
                on_packet(t, "midst", n);
                if (t->nv)
                        nv_bytes(t, p, n);
                return;
        }
        if (type == 0x06 && n >= 8) {
                on_read(t, p, n);
                return;
        }
        end_run(t);
        switch (type) {
        case 0x00:
                fputs("connect\n", t->out);
                break;
        case 0x01:
                on_start(t, p, n);
                break;
        case 0x03:
                fputs("end\n", t->out);
                if (t->nv) {
                        ck_assert_uint_eq(t->nv_announced, t->nv_sum);
                        ck_assert_uint_eq(t->nv_stored, t->nv_crc);
                }
                t->nv = false;
                break;
        case 0x04:
                fputs("exec\n", t->out);
                break;
        case 0x05:
                fputs("reset\n", t->out);
                break;
        case 0x0a:
                fprintf(t->out, "erase %x %x\n", get_be32(p), get_be32(p + 4));
                break;
        default:
                fprintf(t->out, "command %02x\n", type);
        }
}

static void on_pdl(Transcript *t) {
        uint32_t command = get_le32(t->frame + 8), at = get_le32(t->frame + 12), size = get_le32(t->frame + 16);

        if (command == 5) {
                if (t->packets == 0)
                        end_run(t);
                ck_assert_uint_eq(at, t->packets);
                on_packet(t, "pdl-mid", size);
                return;
        }
        end_run(t);
        switch (command) {
        case 0:
                fputs("pdl-connect\n", t->out);
                break;
        case 4:
                ck_assert_mem_eq(t->frame + 20, "PDL1", 5);
                fprintf(t->out, "pdl-start %x %x\n", at, size);
                break;
        case 6:
                ck_assert_mem_eq(t->frame + 20, "\x1c\x3c\x6e\x06", 4);
                fputs("pdl-end\n", t->out);
                break;
        case 7:
                fputs("pdl-exec\n", t->out);
                break;
        default:
                fprintf(t->out, "pdl-command %u\n", command);
        }
}

static void end_frame(Transcript *t) {
        if (t->n == 0) {
                t->syncs++; /* a second flag in a row: also between two frames, where it means nothing */
                return;
        }
        ck_assert_uint_ge(t->n, 6);
        ck_assert_uint_eq(t->n, get_be16(t->frame + 2) + 6u);
        on_frame(t, get_be16(t->frame), t->frame + 4, t->n - 6);
}

static void on_byte(Transcript *t, uint8_t byte) {
        if (t->pdl || (!t->inside && byte == 0xae)) {
                t->pdl = true;
                t->frame[t->n++] = byte;
                if (t->n >= 8 && t->n == 8 + get_le32(t->frame + 1)) {
                        on_pdl(t);
                        t->n = 0;
                        t->pdl = false;
                }
                return;
        }
        if (byte == 0x7e) {
                if (t->inside && t->n > 0) {
                        end_frame(t);
                        t->inside = false;
                        t->n = 0;
                } else
                        t->inside = true;
                return;
        }
        ck_assert_msg(t->inside, "byte %02x outside of a frame", byte);
        if (byte == 0x7d) {
                t->escaped = true;
                return;
        }
        ck_assert_uint_lt(t->n, sizeof(t->frame));
        t->frame[t->n++] = t->escaped ? byte ^ 0x20 : byte;
        t->escaped = false;
}

/* A transfer of nothing but flags asks who is there. */
static void tap(void *userdata, const uint8_t *data, size_t size) {
        Transcript *t = userdata;
        bool flags = !t->pdl && t->n == 0;

        for (size_t i = 0; flags && i < size; i++)
                flags = data[i] == 0x7e;
        if (flags) {
                if (t->syncs == 0)
                        end_run(t);
                t->syncs++;
                t->inside = false;
                return;
        }
        for (size_t i = 0; i < size; i++)
                on_byte(t, data[i]);
}

/* Where the vendor's tool reads the NV once, it is read twice, before the first erase; PhaseCheck too. */
static const struct {
        const char *spec, *file, *want;
} real[] = {
        {"uis8910,fast", "uis8910_full.pac",
         "pdl-connect\npdl-start 838000 33a0\npdl-mid 7x800 last 3a0\npdl-end\npdl-exec\n"
         "sync\nconnect\n"
         "start 810000 cbe0\nmidst 25x840 last 5e0\nend\nexec\n"
         "read fe000002 1x100 last 100\nread fe000002 1x100 last 100\n"
         "read fe000003 11x3000 last 2000\nread fe000003 11x3000 last 2000\n"
         "start 60000000 a420\nmidst 21x800 last 420\nend\n"
         "start 60010000 13c6c0\nmidst 633x800 last 6c0\nend\n"
         "start 60560000 280000\nmidst 1280x800 last 800\nend\n"
         "erase fe000006 53595346\nerase fe000001 0\n"
         "start fe000003 20000 sum\nmidst 64x800 last 800\nend\n"
         "start fe000004 6a\nmidst 1x6a last 6a\nend\nreset\n"},
        {"uis8850,fast", "uis8850_full.pac",
         "sync\nconnect\nstart 50800000 10b80\nmidst 130x210 last 170\nend\nexec\n"
         "sync\nconnect\n"
         "read fe000002 1x100 last 100\nread fe000002 1x100 last 100\n"
         "read fe000003 14x3000 last 1000\nread fe000003 14x3000 last 1000\n"
         "erase 60000000 20000\n"
         "start 60020000 2a40\nmidst 6x800 last 240\nend\n"
         "erase fe000006 444f4d46\n"
         "start fe000003 28000 sum\nmidst 80x800 last 800\nend\n"
         "start 60030000 145940\nmidst 652x800 last 140\nend\n"
         "start 601ae000 88c0\nmidst 18x800 last c0\nend\n"
         "start fe000004 104fc0\nmidst 522x800 last 7c0\nend\n"
         "start fe000004 2b48\nmidst 6x800 last 348\nend\n"
         "erase fe000001 0\n"
         "start 60000000 f800\nmidst 31x800 last 800\nend\n"
         "read fe000003 14x3000 last 1000\nreset\n"},
        {"uis8850,fast", "uis8850_app_only.pac",
         "sync\nconnect\nstart 50800000 10b80\nmidst 130x210 last 170\nend\nexec\n"
         "sync\nconnect\nstart 601ae000 88c0\nmidst 18x800 last c0\nend\nreset\n"},
        {"uis8850,fast", "uis8850_erase_only.pac",
         "sync\nconnect\nstart 50800000 10b80\nmidst 130x210 last 170\nend\nexec\n"
         "sync\nconnect\nerase 601ae000 51000\nreset\n"},
};

START_TEST(real_package) {
        Bench *b = bench_new(real[_i].spec, real[_i].file);
        Transcript *t = calloc(1, sizeof(*t));

        if (b) {
                bench_plan(b, FLASH_MODE_UPGRADE);
                t->out = open_memstream(&t->text, &t->size);
                b->sim->tap = tap;
                b->sim->tap_userdata = t;
                ck_assert_msg(bench_run(b) == 0, "%s: %s", bench_code(b), b->failure.text);
                end_run(t);
                fclose(t->out);
                ck_assert_str_eq(t->text, real[_i].want);
                free(t->text);
        }
        free(t);
        bench_free(b);
}
END_TEST

int main(void) {
        Suite *suite = suite_create("transcript");
        TCase *tc = tcase_create("real packages");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tc, 60);
        tcase_add_loop_test(tc, real_package, 0, (int) ELEMENTSOF(real));
        suite_add_tcase(suite, tc);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        if (!getenv("FDLD_TEST_PACS") && failed == 0)
                return 77;
        return failed > 0;
}
