/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

/* A unit that behaves as the one of a trace did: what the host sends is looked up in the trace, and what the device did then is done again,
 * with the same delays. Of its flash it knows what the trace tells: calibration images of the same items, the partition table, and what the
 * host itself writes. A host that asks something else gets the answer that the trace has for such a command; past the end of the trace the
 * unit is silent. */

enum { FLAG = 0x7E, ESCAPE = 0x7D, STREAM_MAX = 2 * 65542 + 4096, PLACES_MAX = 64, NAME_SIZE = 72, GPT_SIZE = 0x8000, READ_NAME = 72 };

/* Something in flash that the host has written. */
typedef struct Place {
        char key[48];
        uint64_t base, size;
} Place;

typedef struct Image {
        char key[48];
        uint8_t *data;
        size_t size;
} Image;

typedef struct Replay {
        Trace trace;
        size_t at;              /* the next line */
        uint32_t syncs;         /* bytes that came of the line before it, whose others may still come; 0 none */
        bool crc, plain;        /* of the last frame of the host */
        uint8_t stream[STREAM_MAX];
        size_t fill;
        bool inside, escape;    /* a frame is being received */
        uint64_t back_after;    /* 0: it does not come back */
        char read_key[48], write_key[48];
        uint64_t read_base, write_at;
        bool keep;              /* what is written is read later */
        Place places[PLACES_MAX];
        size_t n_places;
        Image *images;
        size_t n_images;
        bool challenged;        /* asked CONNECT in the middle of a session */
} Replay;

static Replay *of(const SimModel *m) {
        return m->priv;
}

/* ---- keys of places ---- */

static void name_key(char key[static 48], const uint8_t *p) {
        size_t n = 0;

        for (; n < 36 && p[2 * n]; n++) {
                uint8_t c = p[2 * n];
                key[n] = (char) ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ? c : '_');
        }
        key[n] = 0;
}

static void address_key(char key[static 48], uint32_t address) {
        snprintf(key, 48, "at-%08x", address);
}

static void key_of(char key[static 48], const uint8_t *payload, size_t n) {
        if (n >= NAME_SIZE + 4)
                name_key(key, payload);
        else if (n >= 4)
                address_key(key, be32at(payload));
        else
                key[0] = 0;
}

/* ---- what the trace tells of the flash ---- */

static bool add_image(Replay *r, const char *key, uint8_t *data, size_t size) {
        Image *images = data ? realloc(r->images, (r->n_images + 1) * sizeof(*images)) : NULL;

        if (!images) {
                free(data);
                return false;
        }
        r->images = images;
        images[r->n_images] = (Image){.data = data, .size = size};
        snprintf(images[r->n_images].key, sizeof(images[0].key), "%s", key);
        r->n_images++;
        return true;
}

static void put16(uint8_t *p, bool big, unsigned v) {
        if (big)
                be16to(p, v);
        else
                le16to(p, v);
}

/* "le VERSION FLAGS W L ID/LENGTH …" */
static bool nv_image(Replay *r, const char *key, const char *text) {
        unsigned version, high, low, w, l, id, length;
        size_t size = 4, at = 4;
        char order[8];
        int used = 0, step;
        bool big;

        if (sscanf(text, "%7s %4x %4x%4x %u %u%n", order, &version, &high, &low, &w, &l, &used) != 6)
                return true; /* its items are not known */
        big = strcmp(order, "be") == 0;
        for (const char *p = text + used; sscanf(p, " %4x/%u%n", &id, &length, &step) == 2; p += step)
                size += 4 + ((length + 3u) & ~3u) + (length > 0xFFFF ? 0xFFFFFF : 0);
        if (size > 4u << 20)
                return false;
        uint8_t *d = calloc(1, size + 8);
        if (!d)
                return false;
        for (const char *p = text + used; sscanf(p, " %4x/%u%n", &id, &length, &step) == 2; p += step) {
                uint8_t *item = d + at + 4;

                put16(d + at, big, id);
                put16(d + at + 2, big, length);
                if (id == 2 && length >= 6) {
                        put16(item + length - 4, big, high);
                        put16(item + length - 2, big, low);
                        put16(item, big, version);
                }
                if ((id == 0x12D && w) || (id == 0x9C4 && l))
                        if (length >= 4)
                                put16(item + 2, big, 1);
                at += 4 + ((length + 3u) & ~3u);
        }
        d[at] = d[at + 1] = 0xFF;
        at = (at + 2 + 3) & ~(size_t) 3;
        be16to(d, sim_crc16_arc(d + 2, at - 2));
        return add_image(r, key, d, at);
}

/* "SECTOR NAME:START:SIZE …" */
static bool gpt_image(Replay *r, const char *text) {
        unsigned sector, n = 0;
        unsigned long long start, size, end = 0;
        uint8_t *d = calloc(1, GPT_SIZE), *h;
        char name[40];
        int used = 0, step;

        if (!d)
                return false;
        if (sscanf(text, "%u%n", &sector, &used) != 1 || (sector != 512 && sector != 4096)) {
                free(d);
                return true;
        }
        for (const char *p = text + used; n < 128 && sscanf(p, " %36[^: ]:%llu:%llu%n", name, &start, &size, &step) == 3; p += step, n++) {
                uint8_t *e = d + 2 * sector + 128 * n;

                if (2 * sector + 128 * (n + 1) > GPT_SIZE || size < sector)
                        break;
                memset(e, 0x11, 16);
                le64to(e + 32, start / sector);
                le64to(e + 40, (start + size) / sector - 1);
                for (size_t i = 0; name[i] && i < 36; i++)
                        e[56 + 2 * i] = (uint8_t) name[i];
                end = start + size > end ? start + size : end;
        }
        h = d + sector;
        memcpy(h, "EFI PART\0\0\1\0", 12);
        le32to(h + 12, 92);
        le64to(h + 24, 1);
        le64to(h + 40, 2 + 128 * 128 / sector);
        le64to(h + 48, end / sector);
        le64to(h + 72, 2);
        le32to(h + 80, n ? n : 1);
        le32to(h + 84, 128);
        le32to(h + 88, sim_crc32(0, d + 2 * sector, 128 * (size_t) (n ? n : 1)));
        le32to(h + 16, sim_crc32(0, h, 92));
        return add_image(r, "user_partition", d, GPT_SIZE);
}

static bool learn_flash(Replay *r) {
        char key[48] = "";

        for (size_t i = 0; i < r->trace.n; i++) {
                const TraceLine *l = r->trace.lines + i;

                if (l->what == TRACE_HOST_FRAME && l->payload && (l->type == CMD_READ_START || l->type == CMD_READ_FLASH))
                        key_of(key, l->payload, l->type == CMD_READ_START ? l->size : 4);
                if ((l->what == TRACE_NV && !nv_image(r, key, l->text)) || (l->what == TRACE_GPT && !gpt_image(r, l->text)))
                        return false;
        }
        return true;
}

/* ---- what the host writes ---- */

static bool is_read_later(const Replay *r, const char *key) {
        char other[48];

        for (size_t i = r->at; i < r->trace.n; i++) {
                const TraceLine *l = r->trace.lines + i;

                if (l->what != TRACE_HOST_FRAME || !l->payload)
                        continue;
                if (l->type == CMD_READ_FLASH)
                        return strncmp(key, "at-", 3) == 0;
                if (l->type != CMD_READ_START)
                        continue;
                key_of(other, l->payload, l->size);
                if (strcmp(key, other) == 0)
                        return true;
        }
        return false;
}

static Place *place(Replay *r, const char *key) {
        for (size_t i = 0; i < r->n_places; i++)
                if (strcmp(r->places[i].key, key) == 0)
                        return r->places + i;
        return NULL;
}

static void start_writing(SimModel *m, const uint8_t *p, size_t n) {
        Replay *r = of(m);
        char file[64];
        Place *where;

        key_of(r->write_key, p, n);
        r->write_at = 0;
        r->keep = is_read_later(r, r->write_key);
        if (!r->keep)
                return;
        where = place(r, r->write_key);
        if (!where && r->n_places < PLACES_MAX) {
                where = r->places + r->n_places++;
                snprintf(where->key, sizeof(where->key), "%s", r->write_key);
        }
        r->keep = where != NULL;
        if (!where)
                return;
        where->base = n < NAME_SIZE && n >= 4 ? be32at(p) : 0;
        where->size = 0;
        snprintf(file, sizeof(file), "w-%.47s", r->write_key);
        store_remove(m, file);
        store_create(m, file, 0);
}

static void write_data(SimModel *m, const uint8_t *p, size_t n) {
        Replay *r = of(m);
        Place *where = r->keep ? place(r, r->write_key) : NULL;
        char file[64];

        if (!where)
                return;
        snprintf(file, sizeof(file), "w-%.47s", r->write_key);
        store_write(m, file, r->write_at, p, n);
        r->write_at += n;
        where->size = r->write_at > where->size ? r->write_at : where->size;
}

static void read_data(SimModel *m, uint64_t at, uint8_t *ret, size_t n) {
        Replay *r = of(m);
        const char *key = r->read_key;
        char file[64];

        memset(ret, 0, n);
        for (size_t i = 0; i < r->n_places; i++) {
                const Place *p = r->places + i;
                bool by_address = strncmp(key, "at-", 3) == 0 && p->base && !(r->read_base >> 31) && r->read_base + at >= p->base &&
                                  r->read_base + at < p->base + p->size;

                if (strcmp(p->key, key) != 0 && !by_address)
                        continue;
                snprintf(file, sizeof(file), "w-%.47s", p->key);
                store_read(m, file, by_address ? r->read_base + at - p->base : at, ret, n);
                return;
        }
        for (size_t i = 0; i < r->n_images; i++)
                if (strcmp(r->images[i].key, key) == 0 && at < r->images[i].size)
                        memcpy(ret, r->images[i].data + at, r->images[i].size - at < n ? r->images[i].size - at : n);
}

/* ---- what the device does ---- */

static void send_frame(SimModel *m, const TraceLine *l, const uint8_t *payload, size_t n, uint64_t due, bool bad) {
        uint8_t *body = malloc(n + 6), *wire = malloc(2 * (n + 6) + 2);
        size_t k = 0;

        if (body && wire) {
                be16to(body, l->type);
                be16to(body + 2, (unsigned) n);
                memcpy(body + 4, payload, n);
                if (l->crc)
                        be16to(body + 4 + n, sim_crc16_xmodem(body, n + 4));
                else
                        le16to(body + 4 + n, sim_sum16(body, n + 4));
                if (bad)
                        body[4 + n] ^= 0x55;
                wire[k++] = FLAG;
                for (size_t i = 0; i < n + 6; i++)
                        if (!l->plain && (body[i] == FLAG || body[i] == ESCAPE)) {
                                wire[k++] = ESCAPE;
                                wire[k++] = body[i] ^ 0x20;
                        } else
                                wire[k++] = body[i];
                wire[k++] = FLAG;
                sim_send_bytes(m, wire, k, due, true);
                m->last_reply = (uint8_t) l->type;
        }
        free(body);
        free(wire);
}

/* Bytes that a reading asks for. */
static uint32_t requested(unsigned type, const uint8_t *payload, size_t n) {
        if (!payload || n < 8)
                return 0;
        return type == CMD_READ_MIDST ? le32at(payload) : type == CMD_READ_FLASH ? be32at(payload + 4) : 0;
}

/* A frame of the trace; of data that were not kept, the place's own. `asked`: the host's frame that it answers. */
static void answer(SimModel *m, const TraceLine *l, const TraceLine *asked, const uint8_t *request, size_t request_size, size_t size, uint64_t due,
                   bool bad) {
        Replay *r = of(m);
        uint8_t *payload = malloc(size ? size : 1);
        uint64_t at = 0;

        if (!payload)
                return;
        if (l->payload && size == l->size)
                memcpy(payload, l->payload, size);
        else if (l->type == REP_READ_FLASH) {
                if (request_size >= 8 && asked->type == CMD_READ_MIDST)
                        at = request_size >= 12 ? le64at(request + 4) : le32at(request + 4);
                else if (request_size >= 8)
                        at = request_size >= 12 ? be32at(request + 8) : be32at(request) - r->read_base;
                read_data(m, at, payload, size);
                if (asked->flip != SIM_NEVER && asked->flip >= at && asked->flip - at < size)
                        payload[asked->flip - at] ^= 1;
        } else
                memset(payload, l->type == REP_UID ? '0' : 0, size);
        send_frame(m, l, payload, size, due, bad);
        free(payload);
}

static void send_garbage(SimModel *m, size_t n, bool framed, uint64_t due) {
        uint8_t *bytes = malloc(n + 5);
        size_t size = n > 5 ? n : 5;

        if (!bytes)
                return;
        memset(bytes, 0x55, size);
        bytes[0] = FLAG;
        if (framed) /* ends, but its length is wrong */
                bytes[size - 1] = FLAG;
        else
                memcpy(bytes + 1, "\0\x80\xFF\xFF", 4);
        sim_send_bytes(m, bytes, size, due, true);
        free(bytes);
}

static void send_pdl(SimModel *m, unsigned code, uint64_t due) {
        uint8_t b[12] = {0xAE, 4, 0, 0, 0, code ? 0xEE : 0xFF};

        le32to(b + 8, code);
        sim_send_bytes(m, b, sizeof(b), due, true);
}

static void leave(SimModel *m) {
        Replay *r = of(m);

        if (r->back_after)
                sim_reenumerate_after(m, r->back_after);
        else
                sim_wish(m, SIM_LEAVE, 0);
        r->fill = 0;
        r->inside = false;
}

static void stall(SimModel *m) {
        m->wish = SIM_STALL;
}

/* What follows line `after` in the trace until the host speaks again, from now on. */
static void act(SimModel *m, size_t after, const uint8_t *request, size_t request_size) {
        Replay *r = of(m);
        const TraceLine *asked = after < r->trace.n ? r->trace.lines + after : NULL;
        uint64_t base = asked ? asked->at : 0;
        size_t i = asked ? after + 1 : 0;

        for (; i < r->trace.n; i++) {
                const TraceLine *l = r->trace.lines + i;
                uint64_t due = m->now + (l->at > base ? l->at - base : 0);

                if (trace_is_host(l)) {
                        m->no_buffers = l->untaken;
                        if (l->untaken)
                                continue; /* it may leave while it takes nothing */
                        break;
                }
                switch (l->what) {
                case TRACE_FRAME:
                case TRACE_BAD_FRAME:
                        if (!asked)
                                break;
                        uint32_t want = requested(asked->type, request, request_size);
                        bool as_asked = l->type == REP_READ_FLASH && want && requested(asked->type, asked->payload, asked->size) == l->size;
                        answer(m, l, asked, request, request_size, as_asked ? want : l->size, due, l->what == TRACE_BAD_FRAME);
                        break;
                case TRACE_GARBAGE:
                case TRACE_CUT:
                        send_garbage(m, l->size, l->what == TRACE_GARBAGE, due);
                        break;
                case TRACE_PDL:
                        send_pdl(m, l->type, due);
                        break;
                case TRACE_GONE:
                        r->back_after = i + 1 < r->trace.n && l[1].what == TRACE_BACK ? (l[1].at > l->at ? l[1].at - l->at : SIM_MS) : 0;
                        sim_after(m, due - m->now, leave);
                        break;
                case TRACE_STALL:
                        sim_after(m, due - m->now, stall);
                        break;
                default:
                        break;
                }
        }
}

/* ---- what the host says ---- */

typedef struct Item {
        TraceWhat what;
        unsigned type;
        const uint8_t *payload;
        size_t size;
        uint64_t hash;
} Item;

/* The hash of the trace's format: words of eight bytes, zeros behind the last. */
static uint64_t hash_words(uint64_t h, const uint8_t *p, size_t n) {
        for (size_t i = 0; i < n; i += 8) {
                uint8_t word[8] = {0};

                memcpy(word, p + i, n - i < 8 ? n - i : 8);
                h = (h ^ le64at(word)) * 0x100000001B3ull;
        }
        return h;
}

static uint64_t edge_hash(const uint8_t *p, size_t n, const uint8_t *check) {
        uint64_t h = (0xCBF29CE484222325ull ^ ((uint64_t) be16at(check) << 32 | n)) * 0x100000001B3ull;
        size_t first = n < 32 ? n : 32, last = n - first < 32 ? n - first : 32;

        h = hash_words(h, p, first);
        return hash_words(h, p + n - last, last);
}

static bool fits(const TraceLine *l, const Item *it) {
        if (l->what != it->what || l->type != it->type)
                return false;
        if (it->what == TRACE_HOST_SYNC)
                return true;
        if (l->size != it->size)
                return false;
        if (l->after_lost && l->hash)
                return l->hash == it->hash;
        if (!l->payload)
                return true;
        if (it->type == CMD_READ_MIDST || it->type == CMD_READ_FLASH) /* readings of a run have different places */
                return requested(it->type, it->payload, it->size) == requested(l->type, l->payload, l->size);
        return memcmp(l->payload, it->payload, it->size) == 0;
}

static size_t next_host(const Replay *r, size_t i) {
        while (i < r->trace.n && !trace_is_host(r->trace.lines + i))
                i++;
        return i;
}

/* The same command for the same place, of another package. */
static bool fits_loosely(const TraceLine *l, const Item *it) {
        char want[48], have[48];

        if (it->what != TRACE_HOST_FRAME || l->what != it->what || l->type != it->type || l->after_lost)
                return false;
        if (!l->payload || l->size < NAME_SIZE + 4 || it->size < NAME_SIZE + 4)
                return true;
        name_key(want, l->payload);
        name_key(have, it->payload);
        return strcmp(want, have) == 0;
}

static bool is_certain(const TraceLine *l, const Item *it) {
        if (l->hash)
                return l->hash == it->hash;
        return l->payload && l->size >= 8 && memcmp(l->payload, it->payload, l->size) == 0;
}

/* A frame that the trace does not have here: forward to where it has it, but not out of the transfer that runs. */
static size_t look_ahead(const Replay *r, const Item *it) {
        bool crossed = false; /* what is not known: only what cannot be mistaken counts behind it */

        for (size_t i = next_host(r, r->at); i < r->trace.n; i = next_host(r, i + 1)) {
                const TraceLine *l = r->trace.lines + i;

                crossed = crossed || l->after_lost;
                if (fits(l, it) && (!crossed || is_certain(l, it)))
                        return i;
                if ((it->type == CMD_MIDST || it->what != TRACE_HOST_FRAME) && l->type != it->type)
                        break;
        }
        return r->trace.n;
}

/* Logs are no answer. */
static const TraceLine *reply_to(const Replay *r, size_t i) {
        for (i++; i < r->trace.n && !trace_is_host(r->trace.lines + i); i++)
                if (r->trace.lines[i].what == TRACE_FRAME && r->trace.lines[i].type != REP_LOG)
                        return r->trace.lines + i;
        return NULL;
}

/* The answer that such a command had elsewhere. */
static void improvise(SimModel *m, const Item *it) {
        Replay *r = of(m);

        for (size_t k = 0; k < r->trace.n; k++) {
                size_t i = (r->at + r->trace.n - k) % r->trace.n; /* back from here, then from the end */
                const TraceLine *l = r->trace.lines + i;

                const TraceLine *found = l->what == it->what && l->type == it->type ? reply_to(r, i) : NULL;
                if (!found)
                        continue;
                size_t size = found->size;
                if (found->type == REP_READ_FLASH && it->size >= 8)
                        size = (it->type == CMD_READ_MIDST ? le32at(it->payload) : be32at(it->payload + 4)) & 0xFFFF;
                TraceLine reply = *found;
                reply.crc = r->crc;
                reply.plain = r->plain;
                answer(m, &reply, l, it->payload, it->size, size, m->now, false);
                return;
        }
}

static void note(SimModel *m, const Item *it) {
        Replay *r = of(m);

        m->total[it->type & 0xFF]++;
        m->last_command = (uint8_t) it->type;
        if (it->what == TRACE_HOST_RAW || (it->what == TRACE_HOST_FRAME && it->type == CMD_MIDST))
                write_data(m, it->payload, it->size);
        if (it->what != TRACE_HOST_FRAME)
                return;
        if (it->type == CMD_START)
                start_writing(m, it->payload, it->size);
        else if (it->type == CMD_READ_START)
                key_of(r->read_key, it->payload, it->size);
        else if (it->type == CMD_READ_FLASH && it->size >= 8) {
                /* With an offset of its own the address is the name of a store. */
                address_key(r->read_key, be32at(it->payload));
                r->read_base = it->size >= 12 ? UINT32_MAX : be32at(it->payload);
        }
}

static void item(SimModel *m, const Item *it) {
        Replay *r = of(m);
        size_t next = next_host(r, r->at);

        note(m, it);
        if (it->what == TRACE_HOST_SYNC && r->syncs > 0 && r->at > 0 && r->syncs < r->trace.lines[r->at - 1].size) {
                r->syncs++;
                return;
        }
        r->syncs = 0;
        if (next == r->trace.n)
                return; /* past the end: silent */
        if (it->what == TRACE_HOST_SYNC && r->trace.lines[next].what != TRACE_HOST_SYNC)
                return;
        /* The trace begins in the middle, with a loader that ran: it says so the way such loaders do. */
        if (r->at == 0 && !r->challenged && it->what == TRACE_HOST_FRAME && it->type == CMD_CONNECT && !fits(r->trace.lines + next, it)) {
                const TraceLine fe = {.what = TRACE_FRAME, .type = REP_FE};
                r->challenged = true;
                send_frame(m, &fe, (const uint8_t *) "", 0, m->now, false);
                return;
        }
        if (!fits(r->trace.lines + next, it) || (r->trace.lines[next].after_lost && !is_certain(r->trace.lines + next, it))) {
                size_t later = look_ahead(r, it);
                next = later < r->trace.n || !fits_loosely(r->trace.lines + next, it) ? later : next;
        }
        if (next == r->trace.n) {
                improvise(m, it);
                return;
        }
        r->at = next + 1;
        r->syncs = it->what == TRACE_HOST_SYNC;
        act(m, next, it->payload, it->size);
}

/* ---- from bytes to that ---- */

static void frame(SimModel *m, const uint8_t *body, size_t n) {
        Replay *r = of(m);
        Item it = {.what = TRACE_HOST_FRAME};

        if (n < 6)
                return;
        it.type = be16at(body);
        it.size = be16at(body + 2);
        it.payload = body + 4;
        if (it.size + 6 > n)
                return;
        r->crc = sim_crc16_xmodem(body, it.size + 4) == be16at(body + 4 + it.size);
        it.hash = edge_hash(it.payload, it.size, body + 4 + it.size);
        item(m, &it);
}

static void escaped(SimModel *m, const uint8_t *p, size_t n) {
        Replay *r = of(m);

        if (n == 1 && *p == FLAG && r->fill == 0) {
                item(m, &(Item){.what = TRACE_HOST_SYNC});
                r->inside = false;
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (p[i] == FLAG) {
                        size_t size = r->fill;

                        r->fill = 0;
                        r->escape = false;
                        r->inside = size == 0;
                        if (size > 0)
                                frame(m, r->stream, size);
                } else if (r->inside && p[i] == ESCAPE)
                        r->escape = true;
                else if (r->inside && r->fill < STREAM_MAX) {
                        r->stream[r->fill++] = r->escape ? p[i] ^ 0x20 : p[i];
                        r->escape = false;
                }
        }
}

/* Collects `want` bytes, over transfers. False: more are to come. */
static bool collect(Replay *r, const uint8_t *p, size_t n, size_t want) {
        size_t take = n < STREAM_MAX - r->fill ? n : STREAM_MAX - r->fill;

        memcpy(r->stream + r->fill, p, take);
        r->fill += take;
        return r->fill >= want;
}

static void pdl(SimModel *m, const uint8_t *p, size_t n) {
        Replay *r = of(m);
        size_t whole;

        if (!collect(r, p, n, 8))
                return;
        whole = 8 + (size_t) le32at(r->stream + 1);
        if (r->stream[0] != 0xAE || whole < 20 || whole > STREAM_MAX) {
                r->fill = 0;
                return;
        }
        if (r->fill < whole)
                return;
        Item it = {.what = TRACE_HOST_PDL, .type = le32at(r->stream + 8) & 0xFFFF, .payload = r->stream + 20, .size = whole - 20};
        r->fill = 0;
        item(m, &it);
}

/* Raw data may be larger than what is collected: only their amount matters, and the bytes for the file. */
static void raw_data(SimModel *m, const uint8_t *p, size_t n, size_t size) {
        Replay *r = of(m);

        write_data(m, p, n);
        r->fill += n;
        if (r->fill < size)
                return;
        r->fill = 0;
        r->at = next_host(r, r->at) + 1;
        m->total[0xD0]++;
        act(m, r->at - 1, NULL, 0);
}

static void received(SimModel *m, const uint8_t *p, size_t n, bool end) {
        Replay *r = of(m);
        size_t next = next_host(r, r->at);
        const TraceLine *l = next < r->trace.n ? r->trace.lines + next : NULL;

        (void) end;
        if (n == 0)
                return;
        if (l && l->what == TRACE_HOST_PDL)
                pdl(m, p, n);
        else if (l && l->what == TRACE_HOST_RAW)
                raw_data(m, p, n, l->size);
        else {
                if (l && l->what == TRACE_HOST_FRAME)
                        r->plain = l->plain;
                if (r->plain && n > 2)
                        frame(m, p + 1, n - 2);
                else if (!r->plain)
                        escaped(m, p, n);
        }
}

/* ---- the family ---- */

static int init(SimModel *m, bool fresh, char *err, size_t err_size) {
        Replay *r = calloc(1, sizeof(*r));

        (void) fresh;
        if (!r) {
                snprintf(err, err_size, "out of memory");
                return -1;
        }
        m->priv = r;
        if (!*m->option[OPT_TRACE]) {
                snprintf(err, err_size, "replay needs trace=FILE");
                return -1;
        }
        if (!trace_load(&r->trace, m->option[OPT_TRACE], err, err_size))
                return -1;
        m->usb.vendor = (uint16_t) r->trace.vendor;
        m->usb.product = (uint16_t) r->trace.product;
        if (!learn_flash(r)) {
                snprintf(err, err_size, "the trace %s tells of more flash than can be", m->option[OPT_TRACE]);
                return -1;
        }
        return 0;
}

static void done(SimModel *m) {
        Replay *r = of(m);

        for (size_t i = 0; i < r->n_images; i++)
                free(r->images[i].data);
        free(r->images);
        trace_clear(&r->trace);
        free(r);
        m->priv = NULL;
}

static void power(SimModel *m) {
        Replay *r = of(m);

        r->at = r->fill = r->n_places = 0;
        r->syncs = 0;
        r->inside = r->escape = r->crc = r->plain = r->keep = r->challenged = false;
        r->back_after = 0;
        m->no_buffers = false;
        act(m, SIZE_MAX, NULL, 0);
}

static bool bootable(SimModel *m) {
        (void) m;
        return false;
}

static size_t describe(const SimModel *m, char *buf, size_t size) {
        const Replay *r = of(m);
        int n = snprintf(buf, size, "\"replay\":{\"lines\":%zu,\"at\":%zu},", r->trace.n, r->at);

        return n > 0 && (size_t) n < size ? (size_t) n : 0;
}

static const SimTraits replayed = {.name = "replay", .version = "", .dma = 65536, .buffers = 64, .max_body = 65536, .raw = received, .zlp = true};

const SimFamily sim_replay = {
        .name = "replay",
        .about = "a unit that behaves as the one in a trace of fdld did",
        .letters = "R",
        .usb = {.vendor = 0x1782,
                .product = 0x4D00,
                .bcd_device = 0xFFFF,
                .device_class = 0xFF,
                .ep_in = 0x85,
                .ep_out = 0x06,
                .max_packet = 512,
                .n_interfaces = 1},
        .first = STAGE_BROM,
        .stage = {[STAGE_BROM] = &replayed},
        .init = init,
        .done = done,
        .power = power,
        .bootable = bootable,
        .describe = describe,
};
