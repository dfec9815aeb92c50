/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What stands in the first line of status and watch about the batches: "" nothing, else e.g. "batch 12 PAUSED: 3 of the last …". */
void batch_banner(struct json_object *objects, char *ret, size_t size);
/* The table of the batches that are not over; nothing if there are none. */
void print_open_batches(struct json_object *objects);

/* The board: a line about the station, one about each batch, a tile for each slot. */
typedef struct BoardView {
        unsigned columns, rows; /* of the screen; rows 0: as many as it needs */
        bool colour, utf8;
        unsigned page;          /* of the tiles; brought into range */
        unsigned n_pages;       /* out */
        const char *message;    /* last line: what a key did; NULL: which keys there are */
} BoardView;

/* Writes `rows` lines (or all), each ended with `newline`. `objects` as of client_objects(). */
void board_print(FILE *out, struct json_object *objects, BoardView *view, const char *newline);
/* The same as JSON, for scripts. */
struct json_object *board_json(struct json_object *objects);
