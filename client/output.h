/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What a person or a script gets to see: tables, JSON, safe text. */

typedef enum JsonMode { JSON_OFF, JSON_SHORT, JSON_PRETTY } JsonMode;

typedef struct OutputOptions {
        JsonMode json;
        bool legend, quiet;
} OutputOptions;
extern OutputOptions arg_output;

typedef enum CellKind {
        CELL_TEXT,
        CELL_NUMBER,
        CELL_BYTES,    /* 1.4 MiB */
        CELL_TIME,     /* µs since the epoch, local time */
        CELL_PERCENT,  /* 0..1 */
        CELL_HEX,      /* 4 digits */
        CELL_BOOL,
        CELL_DIGEST,   /* first 12 characters */
} CellKind;

/* One definition serves text and JSON: `key` is the JSON name and the key in the row objects. */
typedef struct Column {
        const char *title, *key;
        CellKind kind;
        bool hidden;   /* JSON only */
} Column;

/* Prints rows (a JSON array of objects) by the columns; `noun` for the legend ("job"). */
void table_print(const Column *columns, size_t n_columns, struct json_object *rows, const char *noun);
/* A cell as text; static buffer of the caller. */
const char *cell_text(CellKind kind, struct json_object *value, char *buf, size_t size);
/* Prints a JSON value in the chosen mode, with a newline. */
void json_print(struct json_object *value);

/* Text from devices, packages and clients: control characters, invalid UTF-8 and bidi marks become escapes. */
const char *safe_text(const char *text, char *buf, size_t size);
void safe_print(const char *text); /* the same on stdout, of any length */

/* Lists "key=value" lines of an object, or JSON. */
void properties_print(struct json_object *properties);

/* Small readers of JSON objects; missing or of another type gives the neutral value. */
const char *json_text(struct json_object *o, const char *key);
uint64_t json_u64(struct json_object *o, const char *key);
double json_number(struct json_object *o, const char *key);
bool json_flag(struct json_object *o, const char *key);
struct json_object *json_member(struct json_object *o, const char *key);
