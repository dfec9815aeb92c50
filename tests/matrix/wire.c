/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix.h"

/* Listens to what the host sends, and understands as much of it as is needed to strike at it: who gets which command for which
 * part of flash. */

static const struct {
        uint8_t type;
        const char *name;
} names[] = {
        {0x00, "connect"},    {0x01, "start"},       {0x02, "midst"},      {0x03, "end"},          {0x04, "exec"},
        {0x05, "reset"},      {0x06, "read"},        {0x0A, "erase"},      {0x0B, "repartition"},  {0x0D, "read-info"},
        {0x10, "read-start"}, {0x11, "read-midst"},  {0x12, "read-end"},   {0x14, "exttable"},     {0x17, "power-off"},
        {0x1A, "chip-uid"},   {0x1B, "enable-write"}, {0x21, "plain"},     {0x22, "date-time"},    {0x24, "rf-type"},
        {0x28, "enable-raw"}, {0x2C, "time-stamp"},  {0x2D, "read-partition"}, {0x31, "raw-start"}, {0x33, "raw-start2"},
};
static const char *const pdl_names[] = {
        [0] = "pdl-connect", [4] = "pdl-start", [5] = "pdl-mid", [6] = "pdl-end", [7] = "pdl-exec",
};

void wire_start(Wire *w, bool pdl, bool single) {
        WireCommand *list = w->list ? w->list : calloc(WIRE_MAX, sizeof(*list));

        *w = (Wire) {.list = list, .single = single, .at = pdl ? "pdl" : "brom"};
}

void wire_free(Wire *w) {
        free(w->list);
        *w = (Wire) {};
}

static WireCommand *add(Wire *w, const char *command) {
        WireCommand *c = w->list + w->n++;

        if (w->n > WIRE_MAX)
                abort();
        *c = (WireCommand) {.nth = 1};
        snprintf(c->at, sizeof(c->at), "%s", w->at);
        snprintf(c->command, sizeof(c->command), "%s", command);
        for (size_t i = w->n - 1; i-- > 0;)
                if (streq(w->list[i].command, command) && streq(w->list[i].at, w->at)) {
                        c->nth = w->list[i].nth + 1;
                        break;
                }
        return c;
}

/* A sync is asked again and again; only the first question is of interest. */
static void add_sync(Wire *w) {
        for (size_t i = w->n; i-- > 0;)
                if (streq(w->list[i].at, w->at) && streq(w->list[i].command, "sync"))
                        return;
        add(w, "sync");
}

static size_t unescape(const uint8_t *p, size_t n, bool plain, uint8_t *to, size_t max) {
        size_t k = 0;

        for (size_t i = 1; i + 1 < n && k < max; i++)
                to[k++] = !plain && p[i] == 0x7D && i + 2 < n ? p[++i] ^ 0x20 : p[i];
        return k;
}

static uint32_t be32(const uint8_t *p) {
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}
static uint32_t le32(const uint8_t *p) {
        return be32((const uint8_t[]) {p[3], p[2], p[1], p[0]});
}

/* START, READ_START, ERASE: by name or by address. */
static void take_target(Wire *w, const uint8_t *p, unsigned length) {
        w->done = 0;
        w->named = length >= 76;
        if (w->named) {
                size_t n = 0;

                for (; n < 36 && p[2 * n]; n++)
                        w->target[n] = (char) p[2 * n];
                w->target[n] = '\0';
                w->size = le32(p + 72);
        } else {
                snprintf(w->target, sizeof(w->target), "0x%08x", be32(p));
                w->size = be32(p + 4);
        }
}

static void move_on(Wire *w, const char *command) {
        if (streq(command, "pdl-exec"))
                w->at = "fdl1";
        else if (streq(command, "exec"))
                w->at = streq(w->at, "brom") && !w->single ? "fdl1" : "fdl2";
        else if (streq(command, "plain"))
                w->plain = true;
}

static const char *name_of(const uint8_t *body) {
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (body[0] == 0 && body[1] == names[i].type)
                        return names[i].name;
        return "unknown";
}

static void take_frame(Wire *w, const uint8_t *data, size_t size) {
        uint8_t body[128] = {};
        unsigned length;
        const char *name;
        WireCommand *c;

        if (unescape(data, size, w->plain, body, sizeof(body)) < 6)
                return;
        name = name_of(body);
        length = (unsigned) body[2] << 8 | body[3];
        if (streq(name, "start") || streq(name, "read-start") || streq(name, "erase") || streq(name, "read"))
                take_target(w, body + 4, length);
        c = add(w, name);
        if (streq(name, "midst")) {
                c->from = w->done;
                w->done += length;
        } else if (streq(name, "read-midst")) {
                c->from = le32(body + 8);
                w->done = c->from + le32(body + 4);
        } else if (streq(name, "read"))
                c->from = length >= 12 ? be32(body + 12) : 0;
        c->to = w->done;
        c->last = streq(name, "midst") && w->done >= w->size;
        if (strstr(" start midst end erase read read-start read-midst read-end ", name)) {
                snprintf(c->target, sizeof(c->target), "%s", w->target);
                c->named = w->named;
                c->size = w->size;
        }
        move_on(w, name);
}

/* PDL: header, tag and data are transfers of their own. */
static void take_pdl(Wire *w, const uint8_t *data, size_t size) {
        uint32_t type;

        if (!w->pdl_tag) {
                w->pdl_tag = size == 8 && data[0] == 0xAE;
                return;
        }
        w->pdl_tag = false;
        type = le32(data);
        if (size == 12 && type < ELEMENTSOF(pdl_names) && pdl_names[type]) {
                add(w, pdl_names[type]);
                move_on(w, pdl_names[type]);
        }
}

void wire_tap(void *userdata, const uint8_t *data, size_t size) {
        Wire *w = userdata;

        if (size == 1 && data[0] == 0x7E && !streq(w->at, "pdl"))
                add_sync(w);
        else if (streq(w->at, "pdl"))
                take_pdl(w, data, size);
        else if (size >= 8 && data[0] == 0x7E)
                take_frame(w, data, size);
}

bool wire_changes_flash(const WireCommand *c) {
        static const char *const all[] = {"start", "midst", "end", "erase", "repartition", "raw-start", "raw-start2"};

        for (size_t i = 0; streq(c->at, "fdl2") && i < ELEMENTSOF(all); i++)
                if (streq(c->command, all[i]))
                        return true;
        return false;
}

bool wire_repartitioned(const Wire *w, size_t i) {
        while (i-- > 0)
                if (streq(w->list[i].command, "repartition"))
                        return true;
        return false;
}
