/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/schema.h"

/* The SQLite file itself: opening, damage, statements. One thread at a time. 0 or -errno. */
typedef struct Database Database;

#define DATABASE_NAME "fdld.db"

/* `used`: the directory held a database before, so an empty or missing one is a loss and not a beginning.
 * *ret_lost: a new one was begun in place of what is described in *ret_notice (malloc). 0; -1 with *e. */
int database_open(int dir_fd, const char *directory, bool used, Database **ret, bool *ret_lost, char **ret_notice,
                  CallError *e);
Database *database_close(Database *d);
/* Nobody asked for a while: what was read only to have it at hand is given back. */
void database_rest(Database *d);

int database_begin(Database *d);
int database_commit(Database *d);
void database_rollback(Database *d);
/* The transaction is still the one that was begun, so what failed is that one statement. */
bool database_in_transaction(const Database *d);

int database_put(Database *d, TableId table, const void *row);
int database_remove_package(Database *d, const char *digest);
int database_set_next_id(Database *d, uint64_t next_id);
int database_next_id(Database *d, uint64_t *ret);
/* Newest first, id < before (0: newest). */
int database_list_jobs(Database *d, uint64_t before, unsigned limit, StoreJob **ret, size_t *ret_n);
int database_get_job(Database *d, uint64_t id, StoreJob **ret, size_t *ret_n);
int database_load(Database *d, StoreSnapshot *ret); /* all but next_id */

/* For the other files of store/ that have statements of their own. */
int database_errno(Database *d, int rc); /* of an SQLite code */
/* A column of text, cut to what there is room for; NULL is "". */
void database_text(sqlite3_stmt *statement, int column, char *ret, size_t size);
int database_prepare(Database *d, const char *sql, sqlite3_stmt **ret);
static inline void statement_finalizep(sqlite3_stmt **statement) {
        sqlite3_finalize(*statement);
}
#define _cleanup_statement_ _cleanup_(statement_finalizep)

/* database-history.c: records and their chain. store.h says what each does; all in the transaction of the caller. */
int database_add_record(Database *d, const StoreRecord *record);
int database_list_records(Database *d, const StoreRecordFilter *filter, StoreRecord **ret, size_t *ret_n);
int database_check_records(Database *d, StoreRecordCheck *check);
int database_prune_records(Database *d, uint64_t before_usec, uint64_t *ret_n);
void records_free(StoreRecord *records, size_t n);

/* database-changes.c */
int database_open_change(Database *d, const StoreChange *c);
int database_close_changes(Database *d, const StoreChange *c);
int database_list_change(Database *d, const StoreChange *c, StoreBackup **ret, size_t *ret_n); /* each name once */

/* database-serials.c: store.h says what each does */
int database_put_stock(Database *d, const char *id, const char *text);
int database_reserve_serial(Database *d, StoreSerial *serial);
int database_settle_serials(Database *d, uint64_t job, bool used);
int database_sweep_serials(Database *d);

/* database-vault.c */
int database_list_backups(Database *d, const StoreBackupFilter *filter, StoreBackup **ret, size_t *ret_n);
/* One job is one unit: what its backups know of it is known of all of them. Fills backup->unit, or spreads it to the earlier rows. */
/* The row of a file that was found without one: whoever knows more of it brings another. */
int database_forget_recovered(Database *d, const char *id);
int database_tie_backup(Database *d, StoreBackup *backup);
/* database-loaders.c */
int database_load_loaders(Database *d, StoreSnapshot *ret);
int database_count_use(Database *d, const StoreRecord *record);
/* database-statistics.c: for a job that failed, what earlier records say; fills job->statistics and adds it to record->json (malloc). */
int database_statistics(Database *d, StoreJob *job, StoreRecord *record);
/* All rows of a bound statement into one array (malloc); the statement is reset. */
int database_fetch(Database *d, TableId table, sqlite3_stmt *statement, void **ret, size_t *ret_n);
