/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/station.h"
#include "store/store.h"

/* The records of units, for whoever shows them: asked page by page from the store, so that nothing waits behind a long question. All
 * start functions give 0, or -errno and then fn is never called. fn is called once, on the main thread. */

int station_list_records(Station *s, const StoreRecordFilter *filter, StoreRecordsCallback fn, void *userdata);
/* All of the chain. */
int station_check_records(Station *s, StoreCheckCallback fn, void *userdata);
/* All that ended before; n in all. */
int station_prune_records(Station *s, uint64_t before_usec, StorePruneCallback fn, void *userdata);

/* The vault, as the store does it. */
int station_list_backups(Station *s, const StoreBackupFilter *filter, StoreBackupsCallback fn, void *userdata);
int station_read_backup(Station *s, const char *id, StoreBackupCallback fn, void *userdata);
int station_add_backup(Station *s, const StoreBackup *backup, int fd, StoreCallback fn, void *userdata); /* fd moved on success */

typedef enum ExportFormat { EXPORT_JSONL, EXPORT_CSV } ExportFormat;
/* Writes all records of the filter (cursor and direction of it hold, its limit does not) into a file, pipe or socket that the client
 * gave; in a thread, which gives up when nobody reads for half a minute. fd is moved on success. error: -errno of the
 * writing or the store; n: records written. */
typedef void (*StationExportFunc)(int error, uint64_t n, void *userdata);
int station_export_records(Station *s, int fd, ExportFormat format, const StoreRecordFilter *filter, StationExportFunc fn,
                           void *userdata);
