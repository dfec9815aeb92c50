/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define FLAG 0x7E
#define ESCAPE 0x7D
#define MAX_CHUNKS 128

void sim_wire_reset(SimModel *m) {
        for (SimChunk *c; (c = m->rx);) {
                m->rx = c->next;
                free(c);
        }
        for (SimReply *r; (r = m->tx);) {
                m->tx = r->next;
                free(r);
        }
        m->rx_tail = &m->rx;
        m->rx_count = 0;
        m->wire_generation++;
        m->dma_fill = 0;
        m->body_fill = 0;
        m->parse = 0;
}

/* ---- sending ---- */

static size_t put_escaped(uint8_t *to, const uint8_t *p, size_t n, bool plain) {
        uint8_t *q = to;

        for (; n; n--, p++) {
                if (!plain && (*p == FLAG || *p == ESCAPE)) {
                        *q++ = ESCAPE;
                        *q++ = *p ^ 0x20;
                } else
                        *q++ = *p;
        }
        return (size_t) (q - to);
}

static uint8_t *encode(SimModel *m, unsigned type, const void *payload, size_t n, size_t *ret, bool bad_sum) {
        uint8_t *body = malloc(n + 6), *out = malloc(2 * (n + 6) + 2);
        unsigned check;
        size_t at = 0;

        if (!body || !out) {
                free(body);
                free(out);
                return NULL;
        }
        be16to(body, type);
        be16to(body + 2, (unsigned) n);
        if (n)
                memcpy(body + 4, payload, n);
        if (m->t->crc)
                be16to(body + 4 + n, sim_crc16_xmodem(body, n + 4));
        else {
                check = sim_sum16(body, n + 4);
                le16to(body + 4 + n, check);
        }
        if (bad_sum)
                body[4 + n] ^= 0x55;
        out[at++] = FLAG;
        at += put_escaped(out + at, body, n + 6, m->plain);
        out[at++] = FLAG;
        free(body);
        *ret = at;
        return out;
}

static void queue_transfer(SimModel *m, const uint8_t *p, size_t n, uint64_t due, bool zlp) {
        SimReply *r = malloc(sizeof(*r) + n), **where = &m->tx;

        if (!r)
                return;
        *r = (SimReply){.due = due, .size = n, .zlp = zlp};
        memcpy(r->data, p, n);
        /* A late answer lets later ones pass, but one that is being fetched stays in front. */
        while (*where && ((*where)->at > 0 || (*where)->due <= due))
                where = &(*where)->next;
        r->next = *where;
        *where = r;
}

void sim_send_bytes(SimModel *m, const uint8_t *p, size_t n, uint64_t due, bool zlp) {
        uint64_t chunk = m->number[OPT_IN_CHUNK];

        if (chunk == UINT64_MAX)
                chunk = m->family->module ? 2048 : 0;
        if (chunk == 0)
                chunk = n;
        for (size_t at = 0; at < n; at += (size_t) chunk) {
                size_t step = n - at < chunk ? n - at : (size_t) chunk;
                queue_transfer(m, p + at, step, due, zlp);
        }
}

static bool wants_zlp(const SimModel *m) {
        if (sim_word(m, OPT_ZLP, "auto"))
                return m->t->zlp;
        return sim_word(m, OPT_ZLP, "yes");
}

static uint8_t *make_log(SimModel *m, size_t *ret) {
        static const uint8_t text[] = "\0\0\0\0boot: DDR 1866 MHz, eMMC HS400\n";

        return encode(m, REP_LOG, text, sizeof(text) & ~1u, ret, false);
}

/* The reply with what a fault makes of it. `frame` is freed. */
static void emit(SimModel *m, uint8_t *frame, size_t n, const SimFault *f) {
        uint64_t due = (m->busy_until > m->now ? m->busy_until : m->now) + m->number[OPT_LATENCY] * 1000;
        bool zlp = wants_zlp(m);
        bool every = m->number[OPT_GLUE_LOG] && m->t->frame && m->replies % m->number[OPT_GLUE_LOG] == 0;
        size_t log_size = 0;
        uint8_t *log = NULL;

        if (f->kind == FAULT_LATE)
                due += f->value * SIM_MS;
        if (f->kind == FAULT_GARBAGE) {
                SimRandom random = sim_random(m->seed + m->replies, "garbage");
                sim_random_fill(&random, frame, n);
        }
        if (f->kind == FAULT_TRUNCATE)
                n /= 2;
        if (every || f->kind == FAULT_GLUE_LOG || f->kind == FAULT_UNSOLICITED_LOG)
                log = make_log(m, &log_size);
        if (log && f->kind == FAULT_UNSOLICITED_LOG)
                sim_send_bytes(m, log, log_size, due, zlp);
        else if (log) {
                uint8_t *both = malloc(log_size + n);
                if (both) {
                        memcpy(both, log, log_size);
                        memcpy(both + log_size, frame, n);
                        free(frame);
                        frame = both;
                        n += log_size;
                }
        }
        sim_send_bytes(m, frame, n, due, zlp);
        free(log);
        free(frame);
        if (f->kind == FAULT_HANG_AFTER_ACK)
                sim_hang(m, "fault: hang after ACK");
}

/* A reply is due: takes the fault that waits for it. */
static SimFault take_fault(SimModel *m) {
        SimFault f = m->active;

        memset(&m->active, 0, sizeof(m->active));
        m->replies++;
        return f;
}

void sim_send(SimModel *m, unsigned type, const void *payload, size_t size) {
        SimFault f = take_fault(m);
        uint8_t *frame;
        size_t n;

        m->last_reply = (uint8_t) type;
        if (f.kind == FAULT_DROP_ACK)
                return;
        frame = encode(m, type, payload, size, &n, f.kind == FAULT_BAD_SUM);
        if (frame)
                emit(m, frame, n, &f);
}

void sim_send_raw(SimModel *m, const uint8_t *p, size_t n) {
        SimFault f = take_fault(m);
        uint8_t *copy;

        if (f.kind == FAULT_DROP_ACK)
                return;
        copy = malloc(n);
        if (!copy)
                return;
        memcpy(copy, p, n);
        if (f.kind == FAULT_BAD_SUM)
                copy[0] ^= 0x55;
        emit(m, copy, n, &f);
}

void sim_ack(SimModel *m) {
        sim_send(m, REP_ACK, NULL, 0);
}

void sim_version(SimModel *m) {
        m->versions_sent++;
        sim_send(m, REP_VER, m->t->version, strlen(m->t->version) + 1);
}

bool sim_in_ready(const SimModel *m) {
        return m->powered && m->tx && m->tx->due <= m->now;
}

size_t sim_in(SimModel *m, uint8_t *buf, size_t max, bool *end) {
        size_t mps = m->high_speed ? m->usb.max_packet : 64, n;
        SimReply *r = m->tx;
        bool done;

        *end = false;
        if (!sim_in_ready(m))
                return 0;
        n = r->size - r->at < max ? r->size - r->at : max;
        memcpy(buf, r->data + r->at, n);
        r->at += n;
        m->bytes_out += n;
        if (r->at < r->size)
                return n;
        if (r->size % mps != 0)
                done = *end = true;
        else if (!r->zlp)
                done = true;
        else
                done = *end = n < max; /* the ZLP ends this transfer if there is room for it, else it is the next */
        if (done) {
                m->tx = r->next;
                free(r);
        }
        return n;
}

/* ---- commands ---- */

static bool apply_fault_before(SimModel *m, SimFault *f) {
        switch (f->kind) {
        case FAULT_SILENCE:
                return true;
        case FAULT_STALL:
                m->stalled_until = f->value ? m->now + f->value * SIM_MS : SIM_NEVER;
                if (!f->value) {
                        sim_hang(m, "fault: stall");
                        return true;
                }
                sim_work(m, f->value * SIM_MS);
                break;
        case FAULT_NAK:
                if (m->stage == STAGE_PDL)
                        sim_uis8910_pdl_reply(m, (uint32_t) f->value);
                else
                        sim_send(m, (unsigned) f->value, NULL, 0);
                return true;
        case FAULT_DISCONNECT:
                if (f->value) {
                        sim_wire_reset(m);
                        sim_reenumerate_after(m, f->value * SIM_MS);
                } else
                        sim_wish(m, SIM_LEAVE, 0);
                return true;
        case FAULT_SLOW:
                sim_work(m, f->value * SIM_MS);
                break;
        case FAULT_WRITE_ERROR:
                m->write_error = true;
                break;
        case FAULT_BAD_READBACK:
                m->bad_readback = true;
                break;
        default:
                break;
        }
        return false;
}

/* The bytes of its transfer that a command moves, for OFFSET in fault lines. */
static void command_range(const SimModel *m, unsigned type, const uint8_t *p, size_t n, uint64_t *from, uint64_t *to) {
        *from = 0;
        *to = 1;
        if (type == CMD_MIDST || type == 0xE5 || type == 0xD0) {
                *from = m->transfer_offset;
                *to = *from + n;
        } else if (type == CMD_READ_MIDST && n >= 8) {
                *from = n >= 12 ? le64at(p + 4) : le32at(p + 4);
                *to = *from + le32at(p);
        } else if (type == CMD_READ_FLASH && n >= 12) {
                *from = be32at(p + 8);
                *to = *from + be32at(p + 4);
        }
}

void sim_dispatch(SimModel *m, const char *command, unsigned type, const uint8_t *p, size_t n,
                  void (*handler)(SimModel *m, unsigned type, const uint8_t *p, size_t n)) {
        uint64_t from, to;
        SimFault *f;

        m->total[type & 0xFF]++;
        m->last_command = (uint8_t) type;
        memset(&m->active, 0, sizeof(m->active));
        command_range(m, type & 0xFF, p, n, &from, &to);
        f = sim_fault_match(m, command, ++m->seen[m->stage][type & 0xFF], from, to);
        if (f) {
                m->active = *f;
                if (apply_fault_before(m, f))
                        return;
        }
        handler(m, type, p, n);
}

static void bad_frame(SimModel *m, SimBad what, const char *why) {
        switch (what) {
        case BAD_DROP:
                return;
        case BAD_NAK_HANG:
                sim_send(m, REP_VERIFY, NULL, 0);
                sim_hang(m, why);
                return;
        case BAD_NAK:
                sim_send(m, REP_VERIFY, NULL, 0);
                return;
        case BAD_HANG:
                sim_hang(m, why);
                return;
        }
}

static bool check_ok(const SimModel *m, const uint8_t *body, size_t n) {
        if (m->t->crc)
                return sim_crc16_xmodem(body, n - 2) == be16at(body + n - 2);
        if (m->t->rda)
                return sim_sum16(body, n - 2) == le16at(body + n - 2);
        /* The residue over everything: this is why an odd payload wants its check high byte first. */
        return sim_sum16(body, n) == 0;
}

static void handle_body(SimModel *m, const uint8_t *body, size_t n) {
        unsigned type;
        size_t length;

        memset(&m->active, 0, sizeof(m->active));
        if (n < 6) {
                bad_frame(m, m->t->bad_length, "frame too short");
                return;
        }
        type = be16at(body);
        length = be16at(body + 2);
        if (m->plain && length + 6 <= n)
                n = length + 6;
        if (length + 6 != n) {
                bad_frame(m, m->t->bad_length, "length field does not fit");
                return;
        }
        if (!check_ok(m, body, n)) {
                bad_frame(m, m->t->bad_sum, "wrong checksum");
                return;
        }
        sim_dispatch(m, sim_command_name(type), type, body + 4, length, m->t->frame);
}

static void parse_byte(SimModel *m, uint8_t b) {
        if (b == FLAG) {
                size_t n = m->body_fill;
                bool too_long = m->body_long;

                m->body_fill = 0;
                m->body_long = false;
                if (m->parse == 0 || (n == 0 && !too_long)) {
                        m->parse = 1;
                        return;
                }
                m->parse = m->t->rda ? 1 : 0;
                if (too_long)
                        bad_frame(m, m->t->too_long, "frame too long");
                else
                        handle_body(m, m->body, n);
                return;
        }
        if (m->parse == 0)
                return;
        if (m->parse == 1 && b == ESCAPE) {
                m->parse = 2;
                return;
        }
        if (m->parse == 2) {
                b = m->t->rda ? b | 0x20 : b ^ 0x20; /* the same for every legal escape */
                m->parse = 1;
        }
        if (m->body_fill >= m->t->max_body || m->body_fill >= SIM_MAX_BODY)
                m->body_long = true;
        else
                m->body[m->body_fill++] = b;
}

static void send_version(SimModel *m, unsigned type, const uint8_t *p, size_t n) {
        (void) type, (void) p, (void) n;
        m->synced = true;
        sim_version(m);
}

#define TYPE_SYNC 0xDF

static void sync_byte(SimModel *m, uint8_t b, SimChunk *c) {
        if (b != FLAG || (m->t->sync_single && c->size != 1)) {
                m->sync_seen = 0;
                return;
        }
        if (m->drop_sync) {
                m->drop_sync--;
                return;
        }
        if (++m->sync_seen < m->t->sync)
                return;
        m->sync_seen = 0;
        m->parse = 0;
        if (m->t->sync_swallow)
                c->at = c->size;
        sim_dispatch(m, "sync", TYPE_SYNC, NULL, 0, send_version);
}

/* Sync bytes where frames are expected: padding, or a host that starts afresh. True if the transfer is used up. */
static bool bare_sync(SimModel *m, SimChunk *c) {
        if (c->at != 0 || m->t->sync == 0 || m->body_fill || !sim_all_bytes(c->data, c->size, FLAG)) {
                if (c->at == 0)
                        m->sync_seen = 0;
                return false;
        }
        if (!(m->t->resync_idle && !m->connected) && !sim_flag(m, OPT_RESYNC))
                return false;
        m->sync_seen += (unsigned) c->size;
        if (m->sync_seen >= m->t->sync) {
                m->sync_seen = 0;
                m->parse = 0;
                sim_dispatch(m, "sync", TYPE_SYNC, NULL, 0, send_version);
        }
        c->at = c->size;
        return true;
}

static void take_chunk(SimModel *m, SimChunk *c) {
        if (!m->t->frame || m->raw_mode) {
                c->at = c->size;
                m->t->raw(m, c->data, c->size, c->end);
                return;
        }
        if (m->plain) {
                /* The driver looks at neither flag: first and last byte are dropped unseen. */
                c->at = c->size;
                if (c->size > 2)
                        handle_body(m, c->data + 1, c->size - 2);
                return;
        }
        if (m->synced && bare_sync(m, c))
                return;
        while (c->at < c->size && !m->hung && !m->starting && m->on_bus && m->now >= m->busy_until && !m->plain) {
                uint8_t b = c->data[c->at++];
                if (m->synced)
                        parse_byte(m, b);
                else
                        sync_byte(m, b, c);
        }
}

static bool may_work(const SimModel *m) {
        return m->on_bus && m->t && !m->hung && !m->starting && m->now >= m->busy_until;
}

void sim_wire_pump(SimModel *m) {
        while (m->rx && may_work(m)) {
                unsigned generation = m->wire_generation;
                SimChunk *c = m->rx;

                /* Taken out of the queue: a command may make the unit forget all it received. */
                m->rx = c->next;
                if (!m->rx)
                        m->rx_tail = &m->rx;
                m->rx_count--;
                take_chunk(m, c);
                if (c->at >= c->size || m->plain || generation != m->wire_generation) {
                        free(c);
                        continue;
                }
                c->next = m->rx;
                if (!m->rx)
                        m->rx_tail = &c->next;
                m->rx = c;
                m->rx_count++;
        }
}

static void complete_dma(SimModel *m, bool end) {
        SimChunk *c;

        if ((m->dma_fill == 0 && !(m->raw_mode && end)) || m->rx_count >= MAX_CHUNKS) {
                m->dma_fill = 0;
                return;
        }
        c = malloc(sizeof(*c) + m->dma_fill);
        if (!c)
                return;
        *c = (SimChunk){.size = m->dma_fill, .end = end};
        memcpy(c->data, m->dma, m->dma_fill);
        *m->rx_tail = c;
        m->rx_tail = &c->next;
        m->rx_count++;
        m->dma_fill = 0;
}

bool sim_alive(const SimModel *m) {
        return m->powered && m->on_bus && !m->hung;
}

bool sim_out_ready(const SimModel *m) {
        unsigned buffers;

        if (!m->on_bus || !m->t || m->stalled_until > m->now)
                return false;
        if (!m->port_open && !sim_word(m, OPT_LINE_STATE, "drop"))
                return false;
        buffers = m->t->buffers > m->lost_buffers ? m->t->buffers - m->lost_buffers : 1;
        return !m->no_buffers && m->rx_count < buffers;
}

/* A packet that does not fit into what is left of the buffer goes on in the next one. That it was cut there does not make it a
 * short one. */
static void take_packet(SimModel *m, const uint8_t *data, size_t size, bool is_short) {
        while (size) {
                size_t dma = m->raw_left && m->dma_fill + m->raw_left < m->t->dma ? m->dma_fill + m->raw_left : m->t->dma;
                size_t room = dma - m->dma_fill, take = size < room ? size : room;

                memcpy(m->dma + m->dma_fill, data, take);
                m->dma_fill += take;
                data += take;
                size -= take;
                m->raw_left -= take < m->raw_left ? take : m->raw_left;
                if (m->dma_fill == dma || (is_short && size == 0))
                        complete_dma(m, is_short && size == 0);
        }
}

void sim_out(SimModel *m, const uint8_t *data, size_t size, bool zlp) {
        size_t mps = m->high_speed ? m->usb.max_packet : 64;

        if (!m->on_bus || !m->t || !m->port_open)
                return;
        m->bytes_in += size;
        while (size) {
                size_t packet = size < mps ? size : mps;

                take_packet(m, data, packet, packet < mps);
                data += packet;
                size -= packet;
        }
        if (zlp)
                complete_dma(m, true);
        sim_wire_pump(m);
}
