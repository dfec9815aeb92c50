/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/history.h"

#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/closer.h"
#include "station/internal.h"
#include "station/record.h"

#define EXPORTS_MAX 4
#define PAGE 200
#define STALL_MS 30000
#define POLL_MS 250
/* What a pipe that can be written at all takes without blocking. */
#define CHUNK 4096U

int station_list_records(Station *s, const StoreRecordFilter *filter, StoreRecordsCallback fn, void *userdata) {
        return store_list_records(s->store, filter, fn, userdata);
}

int station_list_backups(Station *s, const StoreBackupFilter *filter, StoreBackupsCallback fn, void *userdata) {
        return store_list_backups(s->store, filter, fn, userdata);
}

int station_read_backup(Station *s, const char *id, StoreBackupCallback fn, void *userdata) {
        return store_read_backup(s->store, id, fn, userdata);
}

int station_add_backup(Station *s, const StoreBackup *backup, int fd, StoreCallback fn, void *userdata) {
        return store_import_backup(s->store, backup, fd, fn, userdata);
}

/* ---- check and prune: slice by slice ---- */

typedef struct Slices {
        Station *station;
        StoreCheckCallback check_fn;
        StorePruneCallback prune_fn;
        uint64_t before_usec, total;
        void *userdata;
} Slices;

static Slices *slices_new(Station *s, void *userdata) {
        Slices *c = calloc(1, sizeof(*c));

        if (c) {
                c->station = s;
                c->userdata = userdata;
        }
        return c;
}

static void on_check(int error, const StoreRecordCheck *check, void *userdata) {
        Slices *c = userdata;
        int r = error;

        if (r == 0 && !check->done) {
                r = store_check_records(c->station->store, check, on_check, c);
                if (r == 0)
                        return;
        }
        c->check_fn(r, check, c->userdata);
        free(c);
}

int station_check_records(Station *s, StoreCheckCallback fn, void *userdata) {
        static const StoreRecordCheck beginning;
        Slices *c = slices_new(s, userdata);
        int r;

        if (!c)
                return -ENOMEM;
        c->check_fn = fn;
        r = store_check_records(s->store, &beginning, on_check, c);
        if (r < 0)
                free(c);
        return r;
}

static void on_pruned(int error, uint64_t n, void *userdata) {
        Slices *c = userdata;
        int r = error;

        c->total += n;
        if (r == 0 && n > 0) {
                r = store_prune_records(c->station->store, c->before_usec, on_pruned, c);
                if (r == 0)
                        return;
        }
        if (c->total > 0)
                log_message(LOG_INFO, MESSAGE_RECORDS_PRUNED, "%llu records of units were pruned.", (unsigned long long) c->total);
        c->prune_fn(r, c->total, c->userdata);
        free(c);
}

int station_prune_records(Station *s, uint64_t before_usec, StorePruneCallback fn, void *userdata) {
        Slices *c = slices_new(s, userdata);
        int r;

        if (!c)
                return -ENOMEM;
        c->prune_fn = fn;
        c->before_usec = before_usec;
        r = store_prune_records(s->store, before_usec, on_pruned, c);
        if (r < 0)
                free(c);
        return r;
}

/* ---- export: a page from the store, a thread that writes it, the next page ---- */

typedef struct Export {
        Task task; /* first */
        Station *station;
        int fd, error;
        bool begun, bounded; /* bounded: a pipe or socket, which may be full */
        ExportFormat format;
        StoreRecordFilter filter;
        StoreRecord *rows;
        size_t n_rows;
        uint64_t total;
        StationExportFunc fn;
        void *userdata;
} Export;

static void drop_rows(Export *x) {
        for (size_t i = 0; i < x->n_rows; i++)
                free(x->rows[i].json);
        free(TAKE_PTR(x->rows));
        x->n_rows = 0;
}

static void export_free(Export *x) {
        drop_rows(x);
        close_elsewherep(&x->fd);
        free(x);
}

static void export_drop(Task *t) {
        export_free((Export *) t);
}

static int wait_writable(const Export *x) {
        for (unsigned waited = 0; waited < STALL_MS; waited += POLL_MS) {
                struct pollfd p = {.fd = x->fd, .events = POLLOUT};
                int r = poll(&p, 1, POLL_MS);
                if (x->task.cancelled)
                        return -ECANCELED;
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r > 0)
                        return 0;
        }
        return -ETIMEDOUT;
}

static int write_all(const Export *x, const char *data, size_t size) {
        while (size > 0) {
                int r = x->bounded ? wait_writable(x) : 0;
                ssize_t n;

                if (r < 0)
                        return r;
                n = write(x->fd, data, x->bounded ? MIN(size, CHUNK) : size);
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                if (n > 0) {
                        data += n;
                        size -= (size_t) n;
                }
        }
        return 0;
}

static int begin_output(Export *x) {
        struct stat st;

        x->begun = true;
        if (fstat(x->fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
                return -EBADF;
        x->bounded = !S_ISREG(st.st_mode);
        return x->format == EXPORT_CSV ? write_all(x, record_csv_header(), strlen(record_csv_header())) : 0;
}

static int write_row(const Export *x, const StoreRecord *row) {
        _cleanup_free_ char *line = x->format == EXPORT_CSV ? record_csv(row) : record_line(row);

        return line ? write_all(x, line, strlen(line)) : -ENOMEM;
}

static void export_run(Task *t) {
        Export *x = (Export *) t;

        if (!x->begun)
                x->error = begin_output(x);
        for (size_t i = 0; x->error == 0 && i < x->n_rows; i++) {
                x->error = write_row(x, x->rows + i);
                x->total += x->error == 0;
        }
}

static void export_end(Export *x, int error) {
        x->station->n_exports--;
        x->fn(error, x->total, x->userdata);
        export_free(x);
}

static int next_page(Export *x);

static void export_done(Task *t) {
        Export *x = (Export *) t;
        bool last = x->n_rows < PAGE;
        int r = x->error;

        if (!last)
                x->filter.cursor = x->rows[x->n_rows - 1].seq;
        drop_rows(x);
        if (r == 0 && !last)
                r = next_page(x);
        if (r < 0 || last)
                export_end(x, r);
}

static int copy_rows(Export *x, const StoreRecord *rows, size_t n) {
        x->rows = calloc(n + 1, sizeof(*rows));
        if (!x->rows)
                return -ENOMEM;
        for (; x->n_rows < n; x->n_rows++) {
                x->rows[x->n_rows] = rows[x->n_rows];
                x->rows[x->n_rows].json = strdup(rows[x->n_rows].json);
                if (!x->rows[x->n_rows].json)
                        return -ENOMEM;
        }
        return 0;
}

static void on_page(int error, const StoreRecord *rows, size_t n, void *userdata) {
        Export *x = userdata;
        int r = error == 0 ? copy_rows(x, rows, n) : error;

        if (r == 0) {
                x->task = (Task){.run = export_run, .done = export_done, .drop = export_drop};
                r = pool_submit(x->station->pool, &x->task);
        }
        if (r < 0)
                export_end(x, r);
}

static int next_page(Export *x) {
        return store_list_records(x->station->store, &x->filter, on_page, x);
}

int station_export_records(Station *s, int fd, ExportFormat format, const StoreRecordFilter *filter, StationExportFunc fn,
                           void *userdata) {
        Export *x;
        int r;

        if (s->n_exports >= EXPORTS_MAX)
                return -EBUSY;
        x = calloc(1, sizeof(*x));
        if (!x)
                return -ENOMEM;
        *x = (Export){.station = s, .fd = fd, .format = format, .filter = *filter, .fn = fn, .userdata = userdata};
        x->filter.limit = PAGE;
        r = next_page(x);
        if (r < 0) {
                free(x);
                return r;
        }
        s->n_exports++;
        return 0;
}
