/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <string.h>

#include "phone.h"

#define CHUNK (2u << 20)
#define TYPE_RAW_DATA 0xD0
#define TYPE_RAW_PIECE 0xD1

void phone_raw_forget(SimModel *m) {
        Phone *p = phone_of(m);

        free(p->chunk);
        p->chunk = NULL;
        p->raw_enabled = p->raw_exact = p->raw_whole = false;
        m->raw_mode = false;
        m->raw_left = 0;
}

static void stop(SimModel *m) {
        Phone *p = phone_of(m);

        free(p->chunk);
        p->chunk = NULL;
        m->raw_mode = false;
        m->raw_left = 0;
}

static bool next_chunk(SimModel *m) {
        Phone *p = phone_of(m);
        uint64_t left = p->total - p->received;

        p->chunk_size = left < CHUNK ? (uint32_t) left : CHUNK;
        p->chunk_got = 0;
        if (!p->chunk)
                p->chunk = malloc(CHUNK);
        m->raw_mode = p->chunk && p->chunk_size > 0;
        m->raw_left = p->raw_exact && m->raw_mode ? p->chunk_size : 0;
        return m->raw_mode;
}

bool phone_raw_command(SimModel *m, unsigned type, size_t n) {
        Phone *p = phone_of(m);
        uint64_t level = m->number[OPT_RAW];

        if (type == CMD_ENABLE_RAW && level >= 1) {
                p->raw_enabled = true;
                p->raw_exact = n == 8 && !phone_kind(m)->dwc3;
                sim_ack(m);
                return true;
        }
        if (!(type == CMD_RAW_START && level >= 1) && !(type == CMD_RAW_START2 && level >= 2))
                return false;
        p->raw_whole = type == CMD_RAW_START2;
        if (!p->writing || p->failed || (type == CMD_RAW_START && !p->raw_enabled) || !next_chunk(m))
                sim_send(m, p->writing ? REP_FAILED : REP_NOT_STARTED, NULL, 0);
        else
                sim_ack(m);
        return true;
}

static void chunk_done(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        Phone *p = phone_of(m);
        unsigned r;

        (void) type;
        if (n != p->chunk_size) {
                stop(m);
                sim_send(m, REP_SIZE, NULL, 0);
                return;
        }
        if (!p->raw_whole) {
                /* Said before it is written; an error comes as one more frame. */
                sim_ack(m);
                r = phone_fdl2_take(m, d, n);
                stop(m);
                if (r)
                        sim_send(m, r, NULL, 0);
                return;
        }
        r = phone_fdl2_take(m, d, n);
        if (r || !next_chunk(m))
                stop(m);
        sim_send(m, r ? r : REP_ACK, NULL, 0);
}

static void piece_done(SimModel *m, unsigned type, const uint8_t *d, size_t n) {
        (void) type, (void) d, (void) n;
        phone_of(m)->piece_fine = true;
}

/* Part of a chunk came: what goes wrong here does so while the host is still sending. What comes after an answer is no chunk any more. */
static bool takes_piece(SimModel *m) {
        phone_of(m)->piece_fine = false;
        sim_dispatch(m, "raw-piece", TYPE_RAW_PIECE, NULL, 0, piece_done);
        if (!phone_of(m)->piece_fine)
                stop(m);
        return phone_of(m)->piece_fine;
}

void phone_raw_data(SimModel *m, const uint8_t *d, size_t n, bool end) {
        Phone *p = phone_of(m);
        size_t room = CHUNK - p->chunk_got;

        if (n > room)
                n = room;
        if (n)
                memcpy(p->chunk + p->chunk_got, d, n);
        p->chunk_got += (uint32_t) n;
        if (!end && !(p->raw_exact && p->chunk_got >= p->chunk_size)) {
                (void) takes_piece(m);
                return;
        }
        sim_dispatch(m, "raw-data", TYPE_RAW_DATA, p->chunk, p->chunk_got, chunk_done);
}
