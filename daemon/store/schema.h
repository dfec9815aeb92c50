/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sqlite3.h>

#include "store/store.h"

/* How the records of store.h lie in tables: one list of fields for each, from which statements, binding and reading come.
 * Enums are kept as their words, so that the file outlives their order; unsigned 64 bit numbers keep all their bits. */

typedef struct StoreIntent {
        uint64_t job;
        int step;
        Stage stage;
        char partition[40];
        uint64_t usec;
} StoreIntent;

typedef enum TableId { TABLE_JOBS, TABLE_SLOTS, TABLE_PACKAGES, TABLE_INTENTS, TABLE_BACKUPS, TABLE_BATCHES, TABLE_TRAITS, TABLE_LOADERS, TABLE_MAX } TableId;

/* Brings the file to this version, one step for each version behind, each in its own transaction. SQLite codes;
 * SQLITE_MISMATCH: the file was made by a newer fdld. */
#define SCHEMA_VERSION 13
int schema_migrate(sqlite3 *db);

/* "INSERT OR REPLACE INTO …", or a plain INSERT for tables that are written once; malloc, NULL no memory */
char *table_insert_sql(TableId table);
char *table_select_sql(TableId table, const char *tail);
size_t table_row_size(TableId table);
int table_bind(TableId table, sqlite3_stmt *statement, const void *row); /* SQLite code */
void table_read(TableId table, sqlite3_stmt *statement, void *row);
