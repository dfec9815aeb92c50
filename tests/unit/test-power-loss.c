/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <sqlite3.h>

#include "must.h"
#include "pacmaker/pacmaker.h"
#include "power-cut.h"
#include "state-util.h"
#include "store/evidence-files.h"
#include "store/package-store.h"
#include "store/spool.h"
#include "store/store.h"

/* What the store said is on disk is there after a power cut, once and unchanged; the rest is there whole or not at all. A day of a
 * station is recorded (power-cut.h); then the power is cut at each sync of it and at moments in between, and the store opened on what a
 * disk could hold then; and it is cut again while the store does that. FDLD_LONG=1: many more cuts of each. */

#define NEVER SIZE_MAX
#define PROMISES_MAX 4096
#define FOUND_MAX 2048
#define QUOTA (UINT64_C(1) << 30)
#define STOCK_ID "0123456789abcdef0123456789abcdef"
#define LARGE_ID "11111111111111111111111111111111"

/* ---- what was promised ---- */

typedef enum What {
        JOB, RECORD, SLOT, BATCH, TRAIT, LOADERS, USE, PACKAGE_ROW, PACKAGE_FILE, SPOOL, EVIDENCE, BACKUP, INTENT, CHANGE, STOCK, SERIAL, IDS, WHAT_MAX,
} What;
static const char *const what_words[WHAT_MAX] = {
        "job", "record", "slot", "batch", "trait", "loaders", "use of loaders", "package", "package file", "attached files", "evidence",
        "vault entry", "intent", "table change", "stock of serial numbers", "serial number", "block of ids",
};

/* One state of a thing; its next state is another promise. data NULL: it is gone. */
typedef struct Promise {
        What what;
        uint64_t key;
        char *data;
        size_t size;
        unsigned request;
        size_t asked, kept; /* kept: when the store said that it is on disk */
} Promise;

typedef struct Ledger {
        Disk *disk;
        size_t n;
        Promise promises[PROMISES_MAX];
} Ledger;
static Ledger first_day, second_day, *ledger;

static unsigned request, n_open;
static bool together;

static void *copy_of(const void *data, size_t size) {
        char *copy = malloc(size + 1);

        must(copy != NULL, "no memory");
        memcpy(copy, data, size);
        copy[size] = '\0';
        return copy;
}

static Promise *promise_in(Ledger *l, What what, uint64_t key, const void *data, size_t size) {
        Promise *p = l->promises + l->n++;

        must(l->n <= PROMISES_MAX, "more promises than expected");
        *p = (Promise){what, key, data ? copy_of(data, size) : NULL, size, 0, 0, NEVER};
        return p;
}

static void promise(What what, uint64_t key, const void *data, size_t size) {
        Promise *p = promise_in(ledger, what, key, data, size);

        p->request = request;
        p->asked = disk_now(ledger->disk);
}

static void keep_all(unsigned which) {
        size_t now = disk_now(ledger->disk);

        for (size_t i = 0; i < ledger->n; i++)
                if (ledger->promises[i].request == which && ledger->promises[i].kept == NEVER)
                        ledger->promises[i].kept = now;
}

/* ---- the station ---- */

static Store *store;
static StoreSnapshot snapshot;
static PackageStore *packages;
static const char *state;

static void open_store(const char *directory) {
        EvidenceFile *evidence = NULL;
        char *notice = NULL;
        CallError e;
        size_t n;

        state = directory;
        must(store_open(directory, &store, &snapshot, &notice, &e) == 0, "%s", e.text);
        must(!notice, "the store says: %s", notice);
        must(package_store_open(directory, QUOTA, &packages, &e) == 0, "%s", e.text);
        must(evidence_files_open(directory, &evidence, &n, &e) == 0, "%s", e.text);
        free(evidence);
}

static void close_store(void) {
        store_snapshot_clear(&snapshot);
        store = store_close(store);
        packages = package_store_free(packages);
}

static void dispatch_all(void) {
        while (n_open > 0) {
                struct pollfd p = {.fd = store_fd(store), .events = POLLIN};
                must(poll(&p, 1, 60000) == 1, "the store does not answer");
                store_dispatch(store);
        }
}

static void answered(int error) {
        must(error == 0, "the store failed: %s", strerror(-error));
        n_open--;
}

static void on_kept(int error, void *userdata) {
        answered(error);
        keep_all((unsigned) (uintptr_t) userdata);
}

static void on_finished(int error, const StoreJob *job UNUSED, void *userdata) {
        on_kept(error, userdata);
}

static void on_pruned(int error, uint64_t n, void *userdata) {
        must(n > 0, "nothing was pruned");
        on_kept(error, userdata);
}

static uint64_t ids_end;
static void on_ids(int error, uint64_t first, unsigned n, void *userdata) {
        ids_end = first + n;
        promise(IDS, ids_end, &ids_end, sizeof(ids_end));
        ledger->promises[ledger->n - 1].request = (unsigned) (uintptr_t) userdata;
        on_kept(error, userdata);
}

static void on_serial(int error, const StoreSerial *serial, void *userdata) {
        promise(SERIAL, serial->job, serial->held, strlen(serial->held));
        ledger->promises[ledger->n - 1].request = (unsigned) (uintptr_t) userdata;
        on_kept(error, userdata);
}

#define COOKIE ((void *) (uintptr_t) request)

static void queued(int r) {
        must(r == 0, "not taken: %s", strerror(-r));
        n_open++;
        if (!together)
                dispatch_all();
        request++;
}

/* Rows are compared as they lie in memory: what is between their fields is zero, too. */
static void put_slot(unsigned number, uint64_t passed, uint64_t job) {
        StoreSlot s;

        memset(&s, 0, sizeof(s));
        s.enabled = s.listed = true;
        s.passed = s.units = passed;
        s.last_job = job;
        s.rate = 20000000;
        strcpy(s.last_result, "done");
        snprintf(s.port, sizeof(s.port), "pci-0000:00:14.0-usb-0:%u", number);
        snprintf(s.label, sizeof(s.label), "A %u", number);
        promise(SLOT, number, &s, sizeof(s));
        queued(store_put_slot(store, &s, on_kept, COOKIE));
}

/* From here to its end what is asked for is one transaction. */
static void begin_together(void) {
        together = true;
        disk_hold(ledger->disk);
        put_slot(99, request, 0);
        disk_await_held(ledger->disk);
}

static void end_together(void) {
        disk_release(ledger->disk);
        dispatch_all();
        together = false;
}

static void job_row(uint64_t id, JobState job_state, StoreJob *ret) {
        static const Failure none = FAILURE_INIT;

        memset(ret, 0, sizeof(*ret));
        memcpy(&ret->failure, &none, sizeof(none));
        ret->id = ret->created_usec = id;
        ret->state = job_state;
        ret->stage = STAGE_WRITE;
        ret->step = (int) job_state;
        ret->batch = 7;
        strcpy(ret->kind, "flash");
        strcpy(ret->package_name, "x.pac");
        strcpy(ret->note, "identity not proven");
        strcpy(ret->serial, "stock");
        if (job_state == JOB_STATE_FINISHED) {
                ret->result = JOB_RESULT_DONE;
                ret->finished_usec = id * 1000 + 500;
        }
}

static void put_job(uint64_t id, JobState job_state) {
        StoreJob j;

        job_row(id, job_state, &j);
        promise(JOB, id, &j, sizeof(j));
        queued(store_put_job(store, &j, on_kept, COOKIE));
}

static void put_batch(uint64_t id, uint64_t passed, size_t length) {
        StoreBatch *b = calloc(1, sizeof(*b));

        must(b != NULL, "no memory");
        b->id = id;
        b->state = BATCH_STATE_RUNNING;
        b->passed = passed;
        snprintf(b->name, sizeof(b->name), "batch %u", (unsigned) id);
        memset(b->slots, 'p', MIN(length, sizeof(b->slots) - 1));
        memset(b->cohort, 'c', MIN(length, sizeof(b->cohort) - 1));
        promise(BATCH, id, b, sizeof(*b));
        queued(store_put_batch(store, b, on_kept, COOKIE));
        free(b);
}

static void put_loaders(void) {
        StoreLoaders l;
        StoreTrait t;

        memset(&l, 0, sizeof(l));
        strcpy(l.family, "sc9863a");
        l.fdl1_address = 0x5000;
        l.fdl2_address = 0x9efffe00;
        memset(l.hash, 'e', 64);
        promise(LOADERS, 0, &l, sizeof(l));
        queued(store_put_loaders(store, &l, on_kept, COOKIE));
        memset(&t, 0, sizeof(t));
        strcpy(t.trait, "raw");
        strcpy(t.value, "refused");
        t.usec = 5;
        memset(t.loader, 'e', 64);
        promise(TRAIT, t.usec, &t, sizeof(t));
        queued(store_put_trait(store, &t, on_kept, COOKIE));
}

static void put_intent(uint64_t job, int step) {
        char text[64];

        snprintf(text, sizeof(text), "%s l_fixnv1", stage_to_string(STAGE_WRITE));
        promise(INTENT, job * 100 + (uint64_t) step, text, strlen(text));
        queued(store_put_intent(store, job, step, STAGE_WRITE, "l_fixnv1", on_kept, COOKIE));
}

static size_t backup_bytes(uint64_t job, unsigned n, uint8_t **ret) {
        size_t size = 300 + (size_t) (job * 977 + n * 5003) % 9000;

        *ret = malloc(size);
        must(*ret != NULL, "no memory");
        for (size_t i = 0; i < size; i++)
                (*ret)[i] = (uint8_t) (job * 31 + n * 7 + i * 13 + i / 256);
        return size;
}

static void put_backup(uint64_t job, unsigned n) {
        StoreBackup b = {.job = job, .port = "pci-0000:00:14.0-usb-0:1"};
        uint8_t *data;
        size_t size = backup_bytes(job, n, &data);

        snprintf(b.name, sizeof(b.name), "nv%u", n);
        snprintf(b.unit, sizeof(b.unit), "chip:%u", (unsigned) job);
        promise(BACKUP, job * 100 + n, data, size);
        queued(store_put_backup(store, &b, data, size, on_kept, COOKIE));
}

static StoreChange change_of(uint64_t job) {
        StoreChange c = {.port = "pci-0000:00:14.0-usb-0:1", .job = job};

        snprintf(c.unit, sizeof(c.unit), "%u", (unsigned) job);
        return c;
}

/* With the two backups that it has. */
static void open_change(uint64_t job) {
        StoreChange c = change_of(job);
        uint8_t *data[2];
        size_t size[2];

        for (unsigned i = 0; i < 2; i++)
                size[i] = backup_bytes(job, i, data + i);
        data[0] = realloc(data[0], size[0] + size[1]);
        must(data[0] != NULL, "no memory");
        memcpy(data[0] + size[0], data[1], size[1]);
        promise(CHANGE, job, data[0], size[0] + size[1]);
        free(data[0]);
        free(data[1]);
        queued(store_open_change(store, &c, on_kept, COOKIE));
}

static void close_change(uint64_t job) {
        StoreChange c = change_of(job);

        promise(CHANGE, job, NULL, 0);
        queued(store_close_changes(store, &c, on_kept, COOKIE));
}

static char *record_text(const StoreRecord *r) {
        char *text;

        must(asprintf(&text, "%s %llu %llu %s %s %s %s %s %s %s %llu %llu %s", r->id, (unsigned long long) r->job, (unsigned long long) r->batch,
                      r->kind, r->result, r->port, r->label, r->serial, r->serial_seen, r->chip, (unsigned long long) r->started_usec,
                      (unsigned long long) r->finished_usec, r->json) > 0, "no memory");
        return text;
}

static StoreRecord record_of(uint64_t job) {
        StoreRecord r = {.job = job, .batch = 7, .kind = "flash", .result = "done", .port = "pci-0000:00:14.0-usb-0:1", .label = "A 1",
                         .started_usec = job * 1000, .finished_usec = job * 1000 + 500, .model = "sc9863a", .outcome = LOADERS_WORKED};

        memset(r.loaders, 'e', 64);
        snprintf(r.id, sizeof(r.id), "00000000-0000-4000-8000-%012llu", (unsigned long long) job);
        snprintf(r.serial, sizeof(r.serial), "SN%06llu", (unsigned long long) job);
        snprintf(r.chip, sizeof(r.chip), "chip-%llu", (unsigned long long) job);
        must(asprintf(&r.json, "{\"job\":%llu,\"stages\":\"%0*d\"}", (unsigned long long) job, (int) (job * 397 % 5000), 0) > 0, "no memory");
        return r;
}

/* The job, its record and the count of its loaders. */
static void finish_job(uint64_t job, uint64_t uses) {
        StoreRecord r = record_of(job);
        char *text = record_text(&r);
        StoreJob row;

        job_row(job, JOB_STATE_FINISHED, &row);
        promise(JOB, job, &row, sizeof(row));
        promise(RECORD, job, text, strlen(text));
        promise(USE, 0, &uses, sizeof(uses));
        free(text);
        queued(store_finish_job(store, &row, &r, on_finished, COOKIE));
}

static void put_evidence(uint64_t job) {
        char text[6000];
        int n = snprintf(text, sizeof(text), "trace of %u\n%0*d", (unsigned) job, (int) (job * 701 % 5000), 0);

        promise(EVIDENCE, job, text, (size_t) n);
        must(evidence_file_write(state, job, text, (size_t) n) == 0, "evidence");
        keep_all(request++);
}

static char *describe(SpoolTask *t) {
        char *text;

        return asprintf(&text, "{\"job\":%u}", (unsigned) t->job) > 0 ? text : NULL;
}

/* Two files; the space between them is zero. */
static void put_spool(uint64_t job) {
        static uint8_t data[2][9000];
        char text[sizeof(data) + 2 * SPOOL_ALIGN + 32] = "";
        SpoolFile *files = calloc(2, sizeof(*files));
        SpoolTask *t;
        size_t n;

        must(files != NULL, "no memory");
        for (unsigned i = 0; i < 2; i++) {
                memset(data[i], (int) ('a' + i), sizeof(data[i]));
                files[i] = (SpoolFile){.fd = -1, .data = data[i], .size = sizeof(data[i]) - i};
        }
        n = (size_t) snprintf(text, sizeof(text), "{\"job\":%u}", (unsigned) job);
        memcpy(text + n, data[0], files[0].size);
        memcpy(text + n + 3 * SPOOL_ALIGN, data[1], files[1].size);
        promise(SPOOL, job, text, n + 3 * SPOOL_ALIGN + files[1].size);
        t = spool_task_new(state, job, QUOTA, files, 2);
        must(t != NULL, "no memory");
        t->describe = describe;
        t->task.run(&t->task);
        must(t->result == 0, "%s", t->failure.text);
        spool_task_free(t);
        keep_all(request++);
}

static char package_digest[65];

static void import_package(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ImportTask *t = import_task_new(packages, fd, NULL);
        StorePackage row;

        must(fd >= 0 && t, "%s: %s", path, strerror(errno));
        promise(PACKAGE_FILE, 0, "", 0);
        t->task.run(&t->task);
        must(t->result == 0, "%s", t->failure.text);
        keep_all(request++);
        memset(&row, 0, sizeof(row));
        row.size = row.imported_usec = row.imported_uid = 3;
        strcpy(row.name, "x.pac");
        strcpy(row.digest, t->digest);
        strcpy(package_digest, t->digest);
        promise(PACKAGE_ROW, 0, &row, sizeof(row));
        queued(store_put_package(store, &row, on_kept, COOKIE));
        import_task_free(t);
}

/* In the order of the station. That the file is gone is said to nobody. */
static void remove_package(void) {
        promise(PACKAGE_ROW, 0, NULL, 0);
        queued(store_remove_package(store, package_digest, on_kept, COOKIE));
        promise(PACKAGE_FILE, 0, NULL, 0);
        must(package_store_remove(packages, package_digest) == 0, "%s", strerror(errno));
        request++;
}

static void reserve_serial(uint64_t job) {
        queued(store_reserve_serial(store, &(StoreSerial){.job = job, .stock = STOCK_ID}, on_serial, COOKIE));
}

/* `uses`: of the loaders, with this one. */
static void unit(uint64_t job, uint64_t uses, bool in_one) {
        put_job(job, JOB_STATE_RUNNING);
        reserve_serial(job);
        if (in_one)
                begin_together();
        put_backup(job, 0);
        put_backup(job, 1);
        open_change(job);
        for (int step = 0; step < 3; step++)
                put_intent(job, step);
        if (in_one)
                end_together();
        put_intent(job, 3);
        if (in_one)
                begin_together();
        finish_job(job, uses);
        close_change(job);
        put_batch(7, job, 100);
        put_slot((unsigned) (job % 3), job, job);
        if (in_one)
                end_together();
}

static void prune_up_to(uint64_t job) {
        for (uint64_t i = 1; i <= job; i++) {
                promise(JOB, i, NULL, 0);
                promise(RECORD, i, NULL, 0);
                for (unsigned step = 0; step < 4; step++)
                        promise(INTENT, i * 100 + step, NULL, 0);
        }
        queued(store_prune_records(store, job * 1000 + 501, on_pruned, COOKIE));
}

static void put_stock(const char *id, uint64_t key, size_t length) {
        char *text = malloc(length + 1);

        must(text != NULL, "no memory");
        for (size_t i = 0; i < length; i++)
                text[i] = (char) ('0' + (i / 4096 + i) % 10);
        text[length] = '\0';
        if (key == 0)
                strcpy(text, "SN:0001-1000");
        promise(STOCK, key, text, strlen(text));
        queued(store_put_stock(store, id, text, on_kept, COOKIE));
        free(text);
}

/* So many pages in one transaction that the log is brought into the database, and begins again. */
static void many_pages(void) {
        put_stock(LARGE_ID, 1, (size_t) 1010 * 4096);
}

static char package_path[PATH_MAX];

static void live_a_day(const char *directory) {
        open_store(directory);
        import_package(package_path);
        queued(store_reserve_ids(store, 64, on_ids, COOKIE));
        put_loaders();
        put_stock(STOCK_ID, 0, 100);
        put_batch(7, 0, 10);
        for (unsigned i = 0; i < 3; i++)
                put_slot(i, 0, 0);
        unit(1, 1, false);
        put_spool(2);
        put_job(2, JOB_STATE_QUEUED);
        put_job(50, JOB_STATE_QUEUED);
        unit(2, 2, true);
        put_evidence(2);
        remove_package();
        import_package(package_path);
        close_store();
        open_store(directory);
        unit(3, 3, true);
        queued(store_reserve_ids(store, 64, on_ids, COOKIE));
        put_evidence(2);
        unit(4, 4, true);
        prune_up_to(2);
        unit(5, 5, true);
        put_spool(50);
        many_pages();
        put_job(6, JOB_STATE_RUNNING);
        put_backup(6, 0);
        put_backup(6, 1);
        open_change(6);
        reserve_serial(6);
        import_package(package_path);
        close_store();
}

/* ---- what is there ---- */

typedef struct Found {
        What what;
        uint64_t key;
        char *data;
        size_t size;
} Found;
static Found found[FOUND_MAX];
static size_t n_found;

static char where[160]; /* which cut: for the texts of failures */

static const Found *find(What what, uint64_t key) {
        for (size_t i = 0; i < n_found; i++)
                if (found[i].what == what && found[i].key == key)
                        return found + i;
        return NULL;
}

static void note_found(What what, uint64_t key, const void *data, size_t size) {
        must(!find(what, key), "%s: %s %llu is there twice", where, what_words[what], (unsigned long long) key);
        must(n_found < FOUND_MAX, "more found than expected");
        found[n_found++] = (Found){what, key, copy_of(data, size), size};
}

static void forget_found(void) {
        for (size_t i = 0; i < n_found; i++)
                free(found[i].data);
        n_found = 0;
}

static void on_jobs(int error, const StoreJob *jobs, size_t n, void *userdata UNUSED) {
        answered(error);
        for (size_t i = 0; i < n; i++)
                note_found(JOB, jobs[i].id, jobs + i, sizeof(*jobs));
}

static void on_records(int error, const StoreRecord *records, size_t n, void *userdata UNUSED) {
        answered(error);
        for (size_t i = 0; i < n; i++) {
                char *text = record_text(records + i);
                must(i == 0 || records[i].seq == records[i - 1].seq + 1, "%s: record %u is missing", where, (unsigned) records[i].seq - 1);
                note_found(RECORD, records[i].job, text, strlen(text));
                free(text);
        }
}

static StoreRecordCheck check;
static void on_check(int error, const StoreRecordCheck *c, void *userdata UNUSED) {
        answered(error);
        check = *c;
}

static void on_read(int error, const StoreBackup *b, int fd, void *userdata) {
        static char data[16384];
        const StoreBackup *listed = userdata;
        unsigned n = 0;

        must(error == 0, "%s: vault entry %s of job %u cannot be read: %s", where, listed->name, (unsigned) listed->job, strerror(-error));
        answered(error);
        must(b->size <= sizeof(data) && pread(fd, data, b->size, 0) == (ssize_t) b->size, "%s: short vault entry", where);
        close(fd);
        if (streq(b->name, STORE_RECOVERED)) /* its row did not get in, so nothing was promised */
                return;
        must(sscanf(b->name, "nv%u", &n) == 1, "%s", b->name);
        note_found(BACKUP, b->job * 100 + n, data, b->size);
}

static StoreBackup backups[FOUND_MAX];
static size_t n_backups;
static void on_backups(int error, const StoreBackup *list, size_t n, void *userdata UNUSED) {
        answered(error);
        n_backups = n;
        if (n > 0)
                memcpy(backups, list, n * sizeof(*list));
}

static uint64_t recalled;
static void on_areas(int error, StoreArea *areas, size_t n, void *userdata UNUSED) {
        static char data[65536];
        size_t size = 0;

        must(error == 0, "%s: what the table change of job %u saved cannot be read: %s", where, (unsigned) recalled, strerror(-error));
        answered(error);
        for (size_t i = 0; i < n; i++) {
                must(areas[i].size <= sizeof(data) - size, "too much");
                memcpy(data + size, areas[i].data, areas[i].size);
                size += areas[i].size;
        }
        if (n > 0)
                note_found(CHANGE, recalled, data, size);
}

static void ask(int r) {
        must(r == 0, "not taken: %s", strerror(-r));
        n_open++;
        dispatch_all();
}

static void look_at_vault(void) {
        ask(store_list_backups(store, &(StoreBackupFilter){.limit = 1000}, on_backups, NULL));
        for (size_t i = 0; i < n_backups; i++)
                ask(store_read_backup(store, backups[i].id, on_read, backups + i));
        for (recalled = 1; recalled <= 16; recalled++) {
                StoreChange c = change_of(recalled);
                ask(store_recall_change(store, &c, on_areas, NULL));
        }
}

static void look_at_snapshot(void) {
        for (size_t i = 0; i < snapshot.n_slots; i++)
                note_found(SLOT, (uint64_t) atoi(strrchr(snapshot.slots[i].port, ':') + 1), snapshot.slots + i, sizeof(StoreSlot));
        for (size_t i = 0; i < snapshot.n_batches; i++)
                note_found(BATCH, snapshot.batches[i].id, snapshot.batches + i, sizeof(StoreBatch));
        for (size_t i = 0; i < snapshot.n_traits; i++)
                note_found(TRAIT, snapshot.traits[i].usec, snapshot.traits + i, sizeof(StoreTrait));
        for (size_t i = 0; i < snapshot.n_loaders; i++)
                note_found(LOADERS, 0, snapshot.loaders + i, sizeof(StoreLoaders));
        for (size_t i = 0; i < snapshot.n_uses; i++)
                note_found(USE, 0, &snapshot.uses[i].worked, sizeof(uint64_t));
        /* One that was made up for a file without a row is none. */
        for (size_t i = 0; i < snapshot.n_packages; i++)
                if (snapshot.packages[i].imported_uid != UINT32_MAX)
                        note_found(PACKAGE_ROW, 0, snapshot.packages + i, sizeof(StorePackage));
}

/* A name that is there stands for a whole file. */
static void look_at_package(const char *name) {
        char digest[65];
        ImportTask *t;

        snprintf(digest, sizeof(digest), "%.64s", name);
        t = verify_task_new(packages, digest, NULL);
        must(t != NULL, "no memory");
        t->task.run(&t->task);
        must(t->result == 0, "%s: the package file is damaged: %s", where, t->failure.text);
        import_task_free(t);
        note_found(PACKAGE_FILE, 0, "", 0);
}

static void look_at_packages(void) {
        DIR *d;

        snprintf(test_directory, sizeof(test_directory), "%s/packages", state);
        d = opendir(test_directory);
        must(d != NULL, "%s: %s", test_directory, strerror(errno));
        for (struct dirent *i; (i = readdir(d));)
                if (i->d_name[0] != '.')
                        look_at_package(i->d_name);
        closedir(d);
        must(count_entries(test_directory, ".import-") == 0, "%s: half an import is left", where);
}

static void look_at_spool(uint64_t job) {
        MappedFile *m = NULL;
        char *text = NULL;
        size_t n;

        if (spool_read_description(state, job, &text) < 0)
                return;
        must(spool_map(state, job, &m) == 0, "%s: the files attached to job %u are missing", where, (unsigned) job);
        n = strlen(text);
        text = realloc(text, n + mapped_file_size(m));
        must(text != NULL, "no memory");
        memcpy(text + n, mapped_file_data(m), mapped_file_size(m));
        note_found(SPOOL, job, text, n + mapped_file_size(m));
        mapped_file_unref(m);
        free(text);
}

static void look_at_files(void) {
        look_at_packages();
        for (uint64_t job = 1; job <= 64; job++) {
                size_t size = 0;
                char *text = NULL;
                look_at_spool(job);
                if (evidence_file_read(state, job, &text, &size) == 0)
                        note_found(EVIDENCE, job, text, size);
                free(text);
        }
        must(count_entries(state, ".tmp-") == 0, "%s: half a file is left", where);
}

/* By another program's eyes. */
static void look_at_database(void) {
        char path[PATH_MAX * 2], text[128];
        sqlite3_stmt *s;
        sqlite3 *db;

        snprintf(path, sizeof(path), "%s/fdld.db", state);
        must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "%s: %s", where, sqlite3_errmsg(db));
        must(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW, "%s: %s", where,
             sqlite3_errmsg(db));
        must(strcmp((const char *) sqlite3_column_text(s, 0), "ok") == 0, "%s: %s", where, sqlite3_column_text(s, 0));
        sqlite3_finalize(s);
        must(sqlite3_prepare_v2(db, "SELECT job, step, stage, partition FROM intents", -1, &s, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
        while (sqlite3_step(s) == SQLITE_ROW) {
                snprintf(text, sizeof(text), "%s %s", sqlite3_column_text(s, 2), sqlite3_column_text(s, 3));
                note_found(INTENT, (uint64_t) sqlite3_column_int64(s, 0) * 100 + (uint64_t) sqlite3_column_int(s, 1), text, strlen(text));
        }
        sqlite3_finalize(s);
        must(sqlite3_prepare_v2(db, "SELECT text, id FROM serial_stocks", -1, &s, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
        while (sqlite3_step(s) == SQLITE_ROW)
                note_found(STOCK, strcmp((const char *) sqlite3_column_text(s, 1), LARGE_ID) == 0, sqlite3_column_text(s, 0),
                           (size_t) sqlite3_column_bytes(s, 0));
        sqlite3_finalize(s);
        sqlite3_close(db);
}

/* ---- comparing ---- */

/* Kept by what the store answers, not found by looking. */
static bool is_answer(What what) {
        return what == SERIAL || what == IDS;
}

static unsigned records_of_batch(uint64_t batch) {
        unsigned n = 0;

        for (size_t i = 0; batch == 7 && i < n_found; i++)
                n += found[i].what == RECORD;
        return n;
}

static bool is_version(const Promise *p, const Found *f) {
        StoreBatch b;

        if (!f || !p->data)
                return !f && !p->data;
        if (p->size != f->size)
                return false;
        if (p->what != BATCH)
                return memcmp(p->data, f->data, p->size) == 0;
        /* Its units are counted by their records, too. */
        memcpy(&b, p->data, sizeof(b));
        b.passed = MAX(b.passed, (uint64_t) records_of_batch(b.id));
        return memcmp(&b, f->data, sizeof(b)) == 0;
}

/* The last state that was promised to be on disk, or one that was asked for since. */
static void compare_one(size_t first, size_t at) {
        const Promise *p = ledger->promises + first;
        const Found *f = find(p->what, p->key);
        bool fits = !f, promised = false;

        for (size_t i = first; i < ledger->n; i++) {
                const Promise *q = ledger->promises + i;
                if (q->what != p->what || q->key != p->key || q->asked > at)
                        continue;
                if (q->kept <= at) {
                        promised = true;
                        fits = false;
                }
                fits |= is_version(q, f);
        }
        must(fits, "%s: %s %llu %s", where, what_words[p->what], (unsigned long long) p->key,
             !f && promised ? "is lost, although it was said to be on disk" : f && promised ? "is not what was last said to be on disk" : "is there, but not as anybody wrote it");
}

static void compare_ids(size_t at) {
        for (size_t i = 0; i < ledger->n; i++) {
                const Promise *p = ledger->promises + i;
                must(p->what != IDS || p->kept > at || snapshot.next_id >= p->key, "%s: ids below %llu would be given again", where,
                     (unsigned long long) p->key);
        }
}

static int serial_error;
static char serial_held[64];
static void on_serial_again(int error, const StoreSerial *serial, void *userdata UNUSED) {
        answered(0);
        serial_error = error;
        snprintf(serial_held, sizeof(serial_held), "%s", serial->held);
}

/* Held as long as the job runs, used for good when it passed. */
static void check_serials(size_t at) {
        for (size_t i = 0; i < ledger->n; i++) {
                const Promise *p = ledger->promises + i;
                const Found *job = p->what == SERIAL && p->kept <= at ? find(JOB, p->key) : NULL;
                StoreSerial again = {.job = p->key, .stock = STOCK_ID};

                if (!job)
                        continue;
                if (((const StoreJob *) (const void *) job->data)->state != JOB_STATE_FINISHED) {
                        ask(store_reserve_serial(store, &again, on_serial_again, NULL));
                        must(serial_error == 0 && strcmp(serial_held, p->data) == 0, "%s: job %u has another serial number", where, (unsigned) p->key);
                        continue;
                }
                again = (StoreSerial){.job = 1000};
                snprintf(again.value, sizeof(again.value), "%s", p->data);
                ask(store_reserve_serial(store, &again, on_serial_again, NULL));
                must(serial_error == -EEXIST, "%s: the serial number of job %u is given again", where, (unsigned) p->key);
        }
}

/* The job's last row and its record came together. */
static void check_pairs(void) {
        for (size_t i = 0; i < n_found; i++) {
                const StoreJob *job = (const StoreJob *) (const void *) found[i].data;
                must(found[i].what != JOB || (job->state == JOB_STATE_FINISHED) == (find(RECORD, job->id) != NULL), "%s: job %u is finished without a record, or the other way round",
                     where, (unsigned) job->id);
        }
}

static void check_chain(void) {
        check = (StoreRecordCheck){};
        do
                ask(store_check_records(store, &check, on_check, NULL));
        while (!check.done && check.bad_seq == 0);
        must(check.bad_seq == 0, "%s: record %u: %s", where, (unsigned) check.bad_seq, check.problem);
}

static bool seen_before(size_t i) {
        for (size_t j = 0; j < i; j++)
                if (ledger->promises[j].what == ledger->promises[i].what && ledger->promises[j].key == ledger->promises[i].key)
                        return true;
        return false;
}

static void compare_all(size_t at) {
        for (size_t i = 0; i < ledger->n; i++)
                if (!is_answer(ledger->promises[i].what) && !seen_before(i))
                        compare_one(i, at);
        for (size_t i = 0; i < n_found; i++) {
                bool known = false;
                for (size_t j = 0; j < ledger->n && !known; j++)
                        known = ledger->promises[j].what == found[i].what && ledger->promises[j].key == found[i].key;
                must(known, "%s: %s %llu comes from nowhere", where, what_words[found[i].what], (unsigned long long) found[i].key);
        }
}

/* Opens what a cut left, as a starting daemon does, and looks at all of it. */
static void look_after_cut(const char *directory, size_t at) {
        forget_found();
        open_store(directory);
        compare_ids(at);
        look_at_snapshot();
        ask(store_list_jobs(store, 0, 1000, on_jobs, NULL));
        ask(store_list_records(store, &(StoreRecordFilter){.until_usec = U64_UNKNOWN, .limit = 1000, .oldest_first = true}, on_records, NULL));
        look_at_vault();
        look_at_files();
        check_chain();
        check_serials(at);
        check_pairs();
        close_store();
        look_at_database();
        compare_all(at);
}

/* ---- cutting ---- */

static char cut_path[PATH_MAX];

static void remove_tree(const char *path) {
        (void) nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void try_cut(size_t at, Cut how, uint64_t seed) {
        static const char *const words[CUT_MAX] = {"loses", "tears", "late", "keeps"};

        snprintf(where, sizeof(where), "cut %zu %s %llu", at, words[how], (unsigned long long) seed);
        remove_tree(cut_path);
        disk_cut(ledger->disk, at, how, seed, cut_path);
        look_after_cut(cut_path, at);
        remove_tree(cut_path);
}

static bool is_long(void) {
        return getenv("FDLD_LONG") != NULL;
}

static void setup_all(void) {
        static char directory[PATH_MAX];
        PacMaker *m = pm_new_family("uis8850", 1);
        int fd;

        snprintf(package_path, sizeof(package_path), "%s/x.pac", test_base);
        fd = open(package_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(m && fd >= 0, "%s: %s", package_path, strerror(errno));
        for (unsigned i = 0; i < m->n_files; i++)
                if (m->files[i].data == PM_RANDOM)
                        m->files[i].size = MIN(m->files[i].size, UINT64_C(3000));
        must(pm_write(m, fd) == 0, "the package cannot be made");
        close(fd);
        pm_free(m);
        snprintf(directory, sizeof(directory), "%s/day", test_base);
        must(mkdir(directory, 0700) == 0, "%s: %s", directory, strerror(errno));
        ledger = &first_day;
        ledger->disk = disk_watch(directory);
        live_a_day(directory);
        disk_unwatch(ledger->disk);
        snprintf(cut_path, sizeof(cut_path), "%s/cut", test_base);
}

/* Nothing came to the directory past the recorder, so the model is the truth. */
START_TEST(all_was_recorded) {
        char command[PATH_MAX * 2];

        disk_cut(first_day.disk, disk_now(first_day.disk), CUT_KEEPS, 0, cut_path);
        snprintf(command, sizeof(command), "diff -r '%s/day' '%s'", test_base, cut_path);
        ck_assert_int_eq(system(command), 0);
        look_after_cut(cut_path, disk_now(first_day.disk));
        remove_tree(cut_path);
}
END_TEST

/* The moment before a sync is the one at which most is at stake. */
START_TEST(cut_at_each_sync) {
        size_t n = disk_now(first_day.disk), syncs = 0;

        for (size_t at = 0; at <= n; at++) {
                if (at < n && !disk_syncs_at(first_day.disk, at))
                        continue;
                syncs++;
                try_cut(at, CUT_LOSES, at);
                for (unsigned i = 0; i < (is_long() ? 5 : 1); i++)
                        try_cut(at, CUT_TEARS, at * 100 + i);
        }
        ck_assert_uint_ge(syncs, 120);
}
END_TEST

/* A moment at `share` (0 … 1) of the day, which is as long as it has syncs: some single ones have thousands of writes before them. */
static size_t moment(const Disk *d, double share, uint64_t *random) {
        size_t n = disk_now(d), n_syncs = 0, from = 0, to;

        for (size_t i = 0; i < n; i++)
                n_syncs += disk_syncs_at(d, i);
        for (size_t skip = (size_t) (share * (double) n_syncs); from < n && skip > 0; from++)
                skip -= disk_syncs_at(d, from);
        for (to = from; to < n && !disk_syncs_at(d, to);)
                to++;
        return from + random_next(random) % (to - from + 1);
}

START_TEST(cut_anywhere) {
        unsigned rounds = is_long() ? 1200 : 60;
        uint64_t random = 1;

        for (unsigned i = 0; i < rounds; i++)
                try_cut(moment(first_day.disk, (double) i / rounds, &random), i % 8 == 0 ? CUT_KEEPS : i % 2 ? CUT_LATE : CUT_TEARS, i);
}
END_TEST

/* ---- the power comes back, and goes again ---- */

/* What was found after the first cut is on disk now, and what was not is not. */
static void start_second_day(size_t at) {
        ledger = &second_day;
        for (size_t i = 0; i < ledger->n; i++)
                free(ledger->promises[i].data);
        ledger->n = 0;
        for (size_t i = 0; i < first_day.n; i++) {
                const Promise *p = first_day.promises + i;
                const Found *f = find(p->what, p->key);
                if (is_answer(p->what) && p->kept <= at)
                        promise_in(ledger, p->what, p->key, p->data, p->size)->kept = 0;
                else if (!is_answer(p->what))
                        promise_in(ledger, p->what, p->key, f ? f->data : NULL, f ? f->size : 0)->kept = 0;
        }
}

static void live_a_second_day(const char *directory) {
        const Found *uses = find(USE, 0);
        uint64_t n = 0;

        if (uses)
                memcpy(&n, uses->data, sizeof(n));
        open_store(directory);
        put_loaders();
        put_stock(STOCK_ID, 0, 100);
        unit(11, n + 1, true);
        put_spool(12);
        put_evidence(11);
        import_package(package_path);
        close_store();
}

static void cut_twice(size_t at, uint64_t seed, unsigned rounds) {
        static char again[PATH_MAX];
        uint64_t random = seed;

        snprintf(again, sizeof(again), "%s/again", test_base);
        ledger = &first_day;
        try_cut(at, CUT_TEARS, seed);
        disk_cut(ledger->disk, at, CUT_TEARS, seed, again);
        start_second_day(at);
        ledger->disk = disk_watch(again);
        live_a_second_day(again);
        disk_unwatch(ledger->disk);
        for (unsigned i = 0; i < rounds; i++)
                try_cut(moment(ledger->disk, (double) i / rounds, &random), i % 3 ? CUT_TEARS : CUT_LOSES, seed + i);
        disk_free(ledger->disk);
        remove_tree(again);
}

START_TEST(cut_again) {
        unsigned days = is_long() ? 40 : 4;
        uint64_t random = 2;

        for (unsigned i = 0; i < days; i++)
                cut_twice(moment(first_day.disk, (i + 0.5) / days, &random), i, is_long() ? 24 : 8);
}
END_TEST

/* ---- a damaged database is kept aside, whatever happens meanwhile ---- */

static bool is_aside(const char *directory) {
        return count_entries(directory, "fdld.db.damaged-") > 0;
}

static void spoil(const char *directory) {
        static const char rubbish[200] = "This is no database.";
        char path[PATH_MAX * 2];
        int fd;

        snprintf(path, sizeof(path), "%s/fdld.db", directory);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        must(fd >= 0 && pwrite(fd, rubbish, sizeof(rubbish), 0) == sizeof(rubbish), "%s: %s", path, strerror(errno));
        close(fd);
}

static char *open_spoilt(const char *directory) {
        char *notice = NULL;
        CallError e;

        state = directory;
        must(store_open(directory, &store, &snapshot, &notice, &e) == 0, "%s: %s", where, e.text);
        must(package_store_open(directory, QUOTA, &packages, &e) == 0, "%s", e.text);
        return notice;
}

static void look_after_spoilt_cut(size_t at) {
        char *notice;

        forget_found();
        notice = open_spoilt(cut_path);
        compare_ids(at);
        must(is_aside(cut_path), "%s: the damaged database is gone", where);
        for (size_t i = 0; i < ledger->n; i++)
                must(!notice || ledger->promises[i].kept == 0 || ledger->promises[i].kept > at, "%s: %s", where, notice);
        free(notice);
        ask(store_list_jobs(store, 0, 1000, on_jobs, NULL));
        ask(store_list_records(store, &(StoreRecordFilter){.until_usec = U64_UNKNOWN, .limit = 1000, .oldest_first = true}, on_records, NULL));
        check_chain();
        check_pairs();
        close_store();
        look_at_database();
        for (size_t i = 0; i < ledger->n; i++)
                if (ledger->promises[i].what == JOB || ledger->promises[i].what == RECORD)
                        compare_one(i, at);
}

START_TEST(cut_while_a_damaged_database_is_moved) {
        static char again[PATH_MAX];
        uint64_t random = 3;
        size_t n = moment(first_day.disk, 0.6, &random);
        Disk *d;

        snprintf(again, sizeof(again), "%s/again", test_base);
        disk_cut(first_day.disk, n, CUT_KEEPS, 0, again);
        spoil(again);
        ledger = &second_day;
        for (size_t i = 0; i < first_day.n; i++)
                if (first_day.promises[i].what == IDS && first_day.promises[i].kept <= n)
                        promise_in(ledger, IDS, first_day.promises[i].key, "", 0)->kept = 0;
        ck_assert_uint_gt(ledger->n, 0);
        d = ledger->disk = disk_watch(again);
        free(open_spoilt(again));
        put_job(21, JOB_STATE_QUEUED);
        finish_job(22, 1);
        close_store();
        disk_unwatch(d);
        for (size_t at = 0; at <= disk_now(d); at += is_long() ? 1 : 5) {
                snprintf(where, sizeof(where), "damaged, cut %zu", at);
                remove_tree(cut_path);
                disk_cut(d, at, at % 2 ? CUT_TEARS : CUT_LOSES, at, cut_path);
                look_after_spoilt_cut(at);
        }
}
END_TEST

int main(void) {
        Suite *suite = suite_create("power-loss");
        TCase *t = tcase_create("power-loss");

        if (!disk_possible())
                return 77;
        tcase_set_timeout(t, is_long() ? 1800 : 300);
        tcase_add_unchecked_fixture(t, setup_all, NULL);
        tcase_add_test(t, all_was_recorded);
        tcase_add_test(t, cut_at_each_sync);
        tcase_add_test(t, cut_anywhere);
        tcase_add_test(t, cut_again);
        tcase_add_test(t, cut_while_a_damaged_database_is_moved);
        suite_add_tcase(suite, t);
        return run_in_test_base(suite);
}
