/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "board.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "output.h"

/* ---- the line about the batches ---- */

static const char *loud(const char *state) {
        return streq(state, "paused") ? "PAUSED" : state;
}

void batch_banner(struct json_object *objects, char *ret, size_t size) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Batch"));
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *b = json_object_array_get_idx(list, i);
                const char *state = json_text(b, "State"), *reason = json_text(b, "Reason"), *number = strrchr(json_text(b, "path"), '_');
                char clean[600];

                if (streq(state, "stopped") || streq(state, "complete") || used >= size)
                        continue;
                used += (size_t) snprintf(ret + used, size - used, "%sbatch %s %s%s%s%s", used > 0 ? "; " : "", number ? number + 1 : "?",
                                          loud(state), streq(json_text(b, "FirstArticle"), "confirm") ? ", first article to be confirmed" : "",
                                          reason[0] ? ": " : "", safe_text(reason, clean, sizeof(clean)));
        }
        json_object_put(list);
}

/* ---- text in cells; one character is taken for one column ---- */

static size_t characters(const char *text) {
        size_t n = 0;

        for (; *text; text++)
                n += ((unsigned char) *text & 0xc0) != 0x80;
        return n;
}

/* Cut or filled with blanks to exactly `width` columns. */
static void put_cell(FILE *out, const char *text, size_t width) {
        size_t n = 0;

        for (; *text; text++) {
                bool begins = ((unsigned char) *text & 0xc0) != 0x80;
                if (begins && n == width)
                        break;
                n += begins;
                fputc(*text, out);
        }
        for (; n < width; n++)
                fputc(' ', out);
}

static void put_centred(FILE *out, const char *text, size_t width) {
        size_t n = characters(text), left = n < width ? (width - n) / 2 : 0;

        for (size_t i = 0; i < left; i++)
                fputc(' ', out);
        put_cell(out, text, width - left);
}

/* ---- what a tile says ---- */

typedef struct Tile {
        char label[80], word[40], detail[120], progress[120], action[60], counters[80], score[60];
        const char *colour; /* SGR, "" none */
        double done;        /* 0..1, negative: no bar */
} Tile;

static const struct {
        const char *state, *word, *colour;
} slot_words[] = {
        { "empty", "EMPTY", "" },                 { "occupied", "WAITING", "30;46" },     { "busy", "BUSY", "37;44" },
        { "passed", "PASSED", "30;42" },          { "failed", "FAILED", "37;41" },        { "wedged", "WEDGED", "37;45" },
        { "disabled", "DISABLED", "2" },          { "quarantined", "QUARANTINE", "37;45" },
};

static const struct {
        const char *action, *text;
} actions[] = {
        { "plug-in", "plug in the next unit" }, { "unplug", "take it out" }, { "replug", "power off, plug in again" },
        { "clear", "look at it, then clear" },  { "confirm", "confirm it" }, { "wait", "waits for the first article" },
        { "serial-number", "serial number?" },
};

static void upper(char *text) {
        for (; *text; text++)
                if (*text >= 'a' && *text <= 'z')
                        *text = (char) (*text - 'a' + 'A');
}

static void say_duration(uint64_t usec, char *ret, size_t size) {
        uint64_t s = usec / 1000000;

        snprintf(ret, size, "%llu:%02llu", (unsigned long long) (s / 60), (unsigned long long) (s % 60));
}

static uint64_t now_usec(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void fill_busy(Tile *t, struct json_object *job) {
        const char *partition = json_text(job, "Partition");
        uint64_t rate = json_u64(job, "Rate"), end = json_u64(job, "ExpectedEndUSec"), now = now_usec();
        char left[40] = "", clean[64], speed[32];

        snprintf(t->word, sizeof(t->word), "%s", json_text(job, "Stage"));
        upper(t->word);
        t->done = json_flag(job, "ProgressValid") ? json_number(job, "Progress") : 0;
        if (end != UINT64_MAX && end > now)
                say_duration(end - now, left, sizeof(left));
        snprintf(t->detail, sizeof(t->detail), "%s%s", json_flag(job, "Straggler") ? "SLOW " : "", safe_text(partition, clean, sizeof(clean)));
        snprintf(speed, sizeof(speed), "%.1f MB/s", (double) rate / 1e6);
        snprintf(t->progress, sizeof(t->progress), "%3.0f %%  %s  %s", t->done * 100, rate > 0 ? speed : "", left);
}

static void fill_state(Tile *t, struct json_object *slot, struct json_object *batch) {
        const char *state = json_text(slot, "State");
        char code[96];

        for (size_t i = 0; i < ELEMENTSOF(slot_words); i++)
                if (streq(slot_words[i].state, state)) {
                        snprintf(t->word, sizeof(t->word), "%s", slot_words[i].word);
                        t->colour = slot_words[i].colour;
                }
        if (!t->word[0])
                snprintf(t->word, sizeof(t->word), "%s", state);
        if (streq(state, "empty") && streq(json_text(batch, "State"), "running")) {
                snprintf(t->word, sizeof(t->word), "READY");
                t->colour = "36";
        }
        if (streq(state, "disabled") && json_flag(slot, "Enabled"))
                snprintf(t->word, sizeof(t->word), "NOT LISTED");
        if (streq(state, "failed"))
                snprintf(t->detail, sizeof(t->detail), "%s", safe_text(json_text(slot, "LastCode"), code, sizeof(code)));
        else if (streq(state, "passed") && streq(json_text(slot, "LastResult"), "skipped"))
                snprintf(t->detail, sizeof(t->detail), "had it already");
        else if (streq(json_text(slot, "Health"), "bad") || streq(json_text(slot, "Health"), "suspect"))
                snprintf(t->detail, sizeof(t->detail), "cable %s?", json_text(slot, "Health"));
}

static Tile make_tile(struct json_object *objects, struct json_object *slot) {
        struct json_object *job = json_member(json_member(objects, json_text(slot, "Job")), FDLD_IFACE("Job"));
        struct json_object *batch = json_member(json_member(objects, json_text(slot, "Batch")), FDLD_IFACE("Batch"));
        const char *label = json_text(slot, "Label"), *port = json_text(slot, "Port"), *usb = strstr(port, "-usb-");
        Tile t = { .colour = "", .done = -1 };

        safe_text(label[0] ? label : usb ? usb + 5 : port, t.label, sizeof(t.label));
        fill_state(&t, slot, batch);
        if (streq(json_text(slot, "State"), "busy") && streq(json_text(job, "State"), "running"))
                fill_busy(&t, job);
        else if (streq(json_text(slot, "State"), "busy") && job)
                snprintf(t.word, sizeof(t.word), "ENDING");
        for (size_t i = 0; i < ELEMENTSOF(actions); i++)
                if (streq(actions[i].action, json_text(slot, "Action")))
                        snprintf(t.action, sizeof(t.action), "%s", actions[i].text);
        if (!t.action[0] && !json_flag(slot, "SafeToUnplug"))
                snprintf(t.action, sizeof(t.action), "do not unplug");
        snprintf(t.score, sizeof(t.score), "+%llu -%llu", (unsigned long long) json_u64(slot, "Passed"),
                 (unsigned long long) json_u64(slot, "Failed"));
        snprintf(t.counters, sizeof(t.counters), "%llu passed, %llu failed", (unsigned long long) json_u64(slot, "Passed"),
                 (unsigned long long) json_u64(slot, "Failed"));
        return t;
}

/* ---- tiles on the screen ---- */

#define TILE_LINES 6
#define TILE_LEAST 19

static void put_bar(FILE *out, const BoardView *v, double done, size_t width) {
        size_t full = (size_t) (done * (double) width + 0.5);

        for (size_t i = 0; i < width; i++)
                fputs(i < full ? (v->utf8 ? "█" : "#") : (v->utf8 ? "░" : "."), out);
}

static void put_coloured(FILE *out, const BoardView *v, const char *colour, const char *text, size_t width, bool centred) {
        bool on = v->colour && colour[0];

        if (on)
                fprintf(out, "\033[%sm", colour);
        (centred ? put_centred : put_cell)(out, text, width);
        if (on)
                fputs("\033[0m", out);
}

/* The name of the slot, and behind it what passed and failed there. */
static void put_title(FILE *out, const BoardView *v, const Tile *t, size_t width) {
        char title[160];
        size_t n = characters(t->score);

        if (n + 4 > width)
                n = 0;
        snprintf(title, sizeof(title), "%s", t->label);
        if (v->colour)
                fputs("\033[1m", out);
        put_cell(out, title, width - n);
        if (v->colour)
                fputs("\033[0m", out);
        if (n > 0)
                fputs(t->score, out);
}

static void put_tile_line(FILE *out, const BoardView *v, const Tile *t, unsigned line, unsigned lines, size_t width) {
        unsigned big = lines - 4; /* lines of the word */
        const char *colour = t->colour;

        if (line == 0)
                put_title(out, v, t, width);
        else if (line <= big)
                put_coloured(out, v, colour, line == (big + 1) / 2 ? t->word : "", width, true);
        else if (line == big + 1 && t->done >= 0 && t->detail[0] == '\0')
                put_bar(out, v, t->done, width);
        else if (line == big + 1)
                put_cell(out, t->detail, width);
        else if (line == big + 2)
                put_cell(out, t->done >= 0 ? t->progress : t->action, width);
        else if (t->done >= 0)
                put_bar(out, v, t->done, width);
        else
                put_cell(out, t->counters, width);
}

typedef struct Grid {
        unsigned columns, rows, lines; /* tiles in a row, rows on a page, lines of a tile with the gap */
        size_t width;
} Grid;

/* As large as they can be with all of them on the screen; else as many as fit, in pages. */
static Grid make_grid(const BoardView *v, unsigned n, unsigned lines) {
        Grid best = {}, g;
        unsigned most = MAX(1U, v->columns / (TILE_LEAST + 1));

        for (unsigned columns = 1; columns <= most; columns++) {
                unsigned need = (n + columns - 1) / columns;

                if (lines == UINT32_MAX && columns < MIN(most, v->columns / 26)) /* paper has no end */
                        continue;
                g = (Grid) { .columns = columns, .width = v->columns / columns - 1 };
                g.lines = lines == UINT32_MAX ? TILE_LINES : MIN(lines / MAX(need, 1U), 12U);
                if (g.lines < TILE_LINES)
                        g.lines = TILE_LINES;
                g.rows = lines == UINT32_MAX ? need : MAX(1U, lines / g.lines);
                bool fits = g.rows >= need, better = !best.columns || (fits && best.rows * best.columns < n) ||
                                    (fits && g.lines * 2 + MIN(g.width, (size_t) 40) > best.lines * 2 + MIN(best.width, (size_t) 40)) ||
                                    (!fits && best.rows * best.columns < n && g.rows * g.columns > best.rows * best.columns);
                if (better)
                        best = g;
        }
        return best;
}

static void put_tiles(FILE *out, BoardView *v, const Tile *tiles, unsigned n, unsigned lines, const char *newline) {
        Grid g = make_grid(v, n, lines);
        unsigned each = g.columns * g.rows, used = 0;

        v->n_pages = MAX(1U, (n + each - 1) / MAX(each, 1U));
        v->page = MIN(v->page, v->n_pages - 1);
        for (unsigned row = 0; row < g.rows; row++) {
                unsigned first = v->page * each + row * g.columns;
                for (unsigned line = 0; line < g.lines && (first < n || lines != UINT32_MAX); line++, used++) {
                        for (unsigned column = 0; column < g.columns && line + 1 < g.lines; column++)
                                if (first + column < n) {
                                        put_tile_line(out, v, tiles + first + column, line, g.lines - 1, g.width);
                                        fputc(' ', out);
                                }
                        fputs(newline, out);
                }
        }
        for (; lines != UINT32_MAX && used < lines; used++)
                fputs(newline, out);
}

/* ---- lines above and below ---- */

static void put_line(FILE *out, const BoardView *v, const char *colour, const char *text, const char *newline) {
        put_coloured(out, v, colour, text, v->columns, false);
        fputs(newline, out);
}

static unsigned put_batches(FILE *out, const BoardView *v, struct json_object *objects, unsigned most, const char *newline) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Batch"));
        unsigned n = 0;

        for (size_t i = json_object_array_length(list); i-- > 0 && n < most;) {
                struct json_object *b = json_object_array_get_idx(list, i);
                uint64_t target = json_u64(b, "TargetCount");
                char line[512], of[32] = "", name[128], package[128];

                if (streq(json_text(b, "State"), "stopped") || (streq(json_text(b, "State"), "complete") && i + 1 < json_object_array_length(list)))
                        continue;
                if (target > 0)
                        snprintf(of, sizeof(of), " of %llu", (unsigned long long) target);
                snprintf(line, sizeof(line), "%s (%s): %s, %llu%s passed, %llu failed, %llu skipped, yield %.0f %%%s%s",
                         safe_text(json_text(b, "Name"), name, sizeof(name)), safe_text(json_text(b, "PackageName"), package, sizeof(package)),
                         json_text(b, "State"), (unsigned long long) json_u64(b, "Passed"), of, (unsigned long long) json_u64(b, "Failed"),
                         (unsigned long long) json_u64(b, "Skipped"), json_number(b, "Yield") * 100,
                         streq(json_text(b, "FirstArticle"), "off") ? "" : ", first article: ",
                         streq(json_text(b, "FirstArticle"), "off") ? "" : json_text(b, "FirstArticle"));
                put_line(out, v, "", line, newline);
                n++;
        }
        json_object_put(list);
        return n;
}

static bool anything_paused(struct json_object *objects) {
        struct json_object *list = client_objects_of(objects, FDLD_IFACE("Batch"));
        bool paused = false;

        for (size_t i = 0; i < json_object_array_length(list); i++)
                paused |= streq(json_text(json_object_array_get_idx(list, i), "State"), "paused");
        json_object_put(list);
        return paused;
}

static void put_head(FILE *out, const BoardView *v, struct json_object *objects, const char *newline) {
        struct json_object *manager = json_member(json_member(objects, FDLD_ROOT), FDLD_IFACE("Manager"));
        char banner[700], line[900], name[128];

        batch_banner(objects, banner, sizeof(banner));
        snprintf(line, sizeof(line), " %s%s%s", safe_text(json_text(manager, "StationName"), name, sizeof(name)), banner[0] ? ": " : ": no batch",
                 banner);
        put_line(out, v, anything_paused(objects) ? "1;37;41" : "7", line, newline);
}

void board_print(FILE *out, struct json_object *objects, BoardView *v, const char *newline) {
        struct json_object *slots = client_objects_of(objects, FDLD_IFACE("Slot"));
        unsigned n = (unsigned) json_object_array_length(slots), used;
        Tile *tiles = calloc(MAX(n, 1U), sizeof(Tile));

        v->columns = MAX(v->columns, 20U);
        for (unsigned i = 0; tiles && i < n; i++)
                tiles[i] = make_tile(objects, json_object_array_get_idx(slots, i));
        put_head(out, v, objects, newline);
        used = 2 + put_batches(out, v, objects, v->rows == 0 ? UINT32_MAX : MAX(v->rows / 8, 1U), newline);
        if (n == 0)
                put_line(out, v, "", "No slot is known yet: plug a device in, or name the sockets with \"fdlctl teach\".", newline);
        used += n == 0;
        if (tiles)
                put_tiles(out, v, tiles, n, v->rows == 0 ? UINT32_MAX : v->rows > used ? v->rows - used : 1, newline);
        if (v->rows > 0) {
                char keys[160];
                snprintf(keys, sizeof(keys), " p pause  r resume  a acknowledge  q quit%s", v->n_pages > 1 ? "  n/b page" : "");
                put_coloured(out, v, "7", v->message ? v->message : keys, v->columns, false);
        }
        free(tiles);
        json_object_put(slots);
}

struct json_object *board_json(struct json_object *objects) {
        struct json_object *o = json_object_new_object(), *slots = client_objects_of(objects, FDLD_IFACE("Slot"));
        struct json_object *list = json_object_new_array();
        char banner[700];

        batch_banner(objects, banner, sizeof(banner));
        json_object_object_add(o, "banner", json_object_new_string(banner));
        json_object_object_add(o, "batches", client_objects_of(objects, FDLD_IFACE("Batch")));
        for (size_t i = 0; i < json_object_array_length(slots); i++) {
                struct json_object *slot = json_object_array_get_idx(slots, i), *one = json_object_new_object();
                Tile t = make_tile(objects, slot);
                json_object_object_add(one, "slot", json_object_new_string(t.label));
                json_object_object_add(one, "port", json_object_new_string(json_text(slot, "Port")));
                json_object_object_add(one, "state", json_object_new_string(json_text(slot, "State")));
                json_object_object_add(one, "word", json_object_new_string(t.word));
                json_object_object_add(one, "detail", json_object_new_string(t.detail));
                json_object_object_add(one, "action", json_object_new_string(json_text(slot, "Action")));
                json_object_object_add(one, "progress", t.done < 0 ? NULL : json_object_new_double(t.done));
                json_object_object_add(one, "passed", json_object_new_uint64(json_u64(slot, "Passed")));
                json_object_object_add(one, "failed", json_object_new_uint64(json_u64(slot, "Failed")));
                json_object_array_add(list, one);
        }
        json_object_object_add(o, "slots", list);
        json_object_put(slots);
        return o;
}
