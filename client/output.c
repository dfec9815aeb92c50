/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "output.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "common/macro.h"

#define CELL_MAX 512
#define COLUMNS_MAX 24

OutputOptions arg_output = { .json = JSON_OFF, .legend = true };

struct json_object *json_member(struct json_object *o, const char *key) {
        struct json_object *v = NULL;

        if (!o || !json_object_is_type(o, json_type_object))
                return NULL;
        json_object_object_get_ex(o, key, &v);
        return v;
}

const char *json_text(struct json_object *o, const char *key) {
        struct json_object *v = json_member(o, key);
        return v && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

uint64_t json_u64(struct json_object *o, const char *key) {
        struct json_object *v = json_member(o, key);
        return v ? json_object_get_uint64(v) : 0;
}

double json_number(struct json_object *o, const char *key) {
        struct json_object *v = json_member(o, key);
        return v ? json_object_get_double(v) : 0;
}

bool json_flag(struct json_object *o, const char *key) {
        struct json_object *v = json_member(o, key);
        return v && json_object_get_boolean(v);
}

/* Length of a well-formed UTF-8 sequence at s, and its code point; 0 if malformed. */
static size_t utf8_sequence(const char *s, uint32_t *ret) {
        const uint8_t *b = (const uint8_t *) s;
        static const uint32_t floors[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n = b[0] < 0x80 ? 1 : (b[0] & 0xe0) == 0xc0 ? 2 : (b[0] & 0xf0) == 0xe0 ? 3 : (b[0] & 0xf8) == 0xf0 ? 4 : 0;
        uint32_t c;

        if (n == 0)
                return 0;
        c = n == 1 ? b[0] : b[0] & (0xffu >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if ((b[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (b[i] & 0x3f);
        }
        if (c < floors[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret = c;
        return n;
}

static bool harmless(uint32_t c) {
        return !(c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
                 (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
                 (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f));
}

/* One character of `s` as it may be shown; its length in `s`. */
static size_t safe_character(const char *s, char ret[static 16]) {
        uint32_t c = 0;
        size_t k = utf8_sequence(s, &c);

        if (k > 0 && harmless(c)) {
                memcpy(ret, s, k);
                ret[k] = '\0';
        } else if (k > 0)
                snprintf(ret, 16, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
        else
                snprintf(ret, 16, "\\x%02x", (uint8_t) *s);
        return MAX(k, (size_t) 1);
}

const char *safe_text(const char *text, char *buf, size_t size) {
        char piece[16];
        size_t n = 0;

        for (const char *s = text; *s;) {
                s += safe_character(s, piece);
                if (n + strlen(piece) >= size)
                        break;
                memcpy(buf + n, piece, strlen(piece));
                n += strlen(piece);
        }
        buf[n] = '\0';
        return buf;
}

void safe_print(const char *text) {
        char piece[16];

        while (*text) {
                text += safe_character(text, piece);
                fputs(piece, stdout);
        }
}

static void bytes_text(uint64_t v, char *buf, size_t size) {
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
        double x = (double) v;
        size_t u = 0;

        while (x >= 1024 && u + 1 < ELEMENTSOF(units)) {
                x /= 1024;
                u++;
        }
        snprintf(buf, size, u == 0 ? "%.0f %s" : "%.1f %s", x, units[u]);
}

static void time_text(uint64_t usec, char *buf, size_t size) {
        time_t t = (time_t) (usec / 1000000);
        struct tm tm;

        if (!localtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                snprintf(buf, size, "%" PRIu64, usec);
}

const char *cell_text(CellKind kind, struct json_object *value, char *buf, size_t size) {
        uint64_t number = value ? json_object_get_uint64(value) : 0;

        if (!value || (kind != CELL_TEXT && kind != CELL_DIGEST && kind != CELL_BOOL && number == UINT64_MAX)) {
                snprintf(buf, size, "-");
                return buf;
        }
        switch (kind) {
        case CELL_BYTES:
                bytes_text(number, buf, size);
                break;
        case CELL_TIME:
                if (number == 0)
                        snprintf(buf, size, "-");
                else
                        time_text(number, buf, size);
                break;
        case CELL_PERCENT:
                snprintf(buf, size, "%.0f%%", json_object_get_double(value) * 100);
                break;
        case CELL_HEX:
                snprintf(buf, size, "%04" PRIx64, number);
                break;
        case CELL_BOOL:
                snprintf(buf, size, "%s", json_object_get_boolean(value) ? "yes" : "no");
                break;
        default:
                safe_text(json_object_get_string(value), buf, kind == CELL_DIGEST ? MIN(size, (size_t) 25) : size);
                if (kind == CELL_DIGEST && strlen(buf) > 12)
                        buf[12] = '\0';
                if (!buf[0])
                        snprintf(buf, size, "-");
        }
        return buf;
}

static void print_escaped_json(uint32_t c) {
        if (c >= 0x10000)
                printf("\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + (c & 0x3ff));
        else
                printf("\\u%04x", c);
}

/* The same text for a program, harmless on a terminal: what would be acted on there stands as \u escapes, which JSON allows in
 * strings, and nowhere else such characters can be. Line breaks are those of the pretty form. */
void json_print(struct json_object *value) {
        int flags = arg_output.json == JSON_PRETTY ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED : JSON_C_TO_STRING_PLAIN;

        for (const char *s = json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_NOSLASHESCAPE); *s;) {
                uint32_t c = 0;
                size_t k = utf8_sequence(s, &c);

                if (k == 0)
                        print_escaped_json(0xfffd);
                else if (harmless(c) || c == '\n')
                        fwrite(s, 1, k, stdout);
                else
                        print_escaped_json(c);
                s += MAX(k, (size_t) 1);
        }
        putchar('\n');
}

static void table_print_json(const Column *columns, size_t n_columns, struct json_object *rows) {
        struct json_object *out = json_object_new_array();

        for (size_t i = 0; i < json_object_array_length(rows); i++) {
                struct json_object *row = json_object_array_get_idx(rows, i), *o = json_object_new_object();
                for (size_t c = 0; c < n_columns; c++)
                        json_object_object_add(o, columns[c].key, json_object_get(json_member(row, columns[c].key)));
                json_object_array_add(out, o);
        }
        json_print(out);
        json_object_put(out);
}

/* Columns on screen, not bytes: continuation bytes of UTF-8 take no room. */
static int text_width(const char *s) {
        int n = 0;
        for (; *s; s++)
                n += ((uint8_t) *s & 0xc0) != 0x80;
        return n;
}

static void print_padded(const char *s, int width, bool last) {
        printf("%s", s);
        if (!last)
                printf("%*s", width - text_width(s) + 2, "");
}

void table_print(const Column *columns, size_t n_columns, struct json_object *rows, const char *noun) {
        int width[COLUMNS_MAX] = { 0 };
        char cell[CELL_MAX];
        size_t n_rows = json_object_array_length(rows), last = 0;

        if (arg_output.json != JSON_OFF) {
                table_print_json(columns, n_columns, rows);
                return;
        }
        for (size_t c = 0; c < n_columns; c++) {
                if (columns[c].hidden)
                        continue;
                last = c;
                width[c] = text_width(columns[c].title);
                for (size_t i = 0; i < n_rows; i++) {
                        struct json_object *row = json_object_array_get_idx(rows, i);
                        int w = text_width(cell_text(columns[c].kind, json_member(row, columns[c].key), cell, sizeof(cell)));
                        width[c] = MAX(width[c], w);
                }
        }
        if (arg_output.legend && n_rows > 0) {
                for (size_t c = 0; c < n_columns; c++)
                        if (!columns[c].hidden)
                                print_padded(columns[c].title, width[c], c == last);
                putchar('\n');
        }
        for (size_t i = 0; i < n_rows; i++) {
                struct json_object *row = json_object_array_get_idx(rows, i);
                for (size_t c = 0; c < n_columns; c++)
                        if (!columns[c].hidden)
                                print_padded(cell_text(columns[c].kind, json_member(row, columns[c].key), cell, sizeof(cell)),
                                             width[c], c == last);
                putchar('\n');
        }
        if (arg_output.legend)
                printf("%s%zu %s%s listed.\n", n_rows ? "\n" : "", n_rows, noun, n_rows == 1 ? "" : noun[strlen(noun) - 1] == 'h' ? "es" : "s");
}

void properties_print(struct json_object *properties) {
        if (arg_output.json != JSON_OFF) {
                json_print(properties);
                return;
        }
        json_object_object_foreach(properties, key, value) {
                bool plain = !value || json_object_is_type(value, json_type_string);
                const char *s = !value ? "" : plain ? json_object_get_string(value)
                                                    : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
                printf("%s=", key);
                safe_print(s);
                putchar('\n');
        }
}
