/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine-bench.h"

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "firmware/digest.h"
#include "must.h"

#define MS 1000000ull

void bench_replug(Bench *b) {
        sim_channel_unplug(b->sim);
        b->sim->now_ns += 1000 * MS;
        sim_channel_plug(b->sim);
}

/* ---- outside ---------------------------------------------------------------------------------------------- */

static BenchEvent *add_event(Bench *b, BenchEventType type, int step, Stage stage, const char *text) {
        BenchEvent *e = b->events + b->n_events++;

        must(b->n_events < BENCH_EVENTS_MAX, "more events than the bench can hold");
        *e = (BenchEvent) {.type = type, .step = step, .stage = stage, .at_ms = b->sim->now_ns / MS};
        snprintf(e->text, sizeof(e->text), "%s", text);
        return e;
}

static void on_step(void *userdata, unsigned step, Stage stage, const char *partition) {
        Bench *b = userdata;

        add_event(b, EVENT_STEP, (int) step, stage, partition);
        if (b->before_step)
                b->before_step(b, (int) step);
        if ((int) step == b->cancel_step)
                b->cancelled = true;
        if ((int) step == b->unplug_step)
                sim_channel_unplug(b->sim);
}

static void on_progress(void *userdata, uint64_t done, uint64_t total) {
        Bench *b = userdata;

        b->progress_fell |= done < b->progress || done > total;
        b->progress = done;
        b->progress_total = total;
        if (b->cancel_bytes && done >= b->cancel_bytes)
                b->cancelled = true;
        if (b->late_fault && done >= b->late_fault_bytes) {
                sim_channel_fault(b->sim, b->late_fault);
                b->late_fault = NULL;
        }
        if (b->unplug_bytes && done >= b->unplug_bytes) {
                sim_channel_unplug(b->sim);
                b->unplug_bytes = 0;
        }
}

static void keep(EngineSaved *list, size_t *n, const char *name, const void *data, size_t size) {
        EngineSaved *s = list + (*n)++;

        ck_assert_uint_lt(*n, 64);
        *s = (EngineSaved) {.data = malloc(size), .size = size, .job = 1};
        snprintf(s->name, sizeof(s->name), "%s", name);
        memcpy(s->data, data, size);
}

static void forget(EngineSaved *list, size_t *n) {
        while (*n > 0)
                free(list[--*n].data);
}

/* The first change that was not finished says what the unit's own data are; later ones only add. */
static void open_vault(Bench *b) {
        for (size_t i = 0; i < b->n_fresh; i++) {
                bool there = false;

                for (size_t k = 0; k < b->n_vault; k++)
                        there |= streq(b->vault[k].name, b->fresh[i].name);
                if (!there)
                        keep(b->vault, &b->n_vault, b->fresh[i].name, b->fresh[i].data, b->fresh[i].size);
        }
        b->vault_open = true;
}

static int on_recall(void *userdata, const char *unit, EngineSaved **ret, size_t *ret_n) {
        Bench *b = userdata;
        EngineSaved *list = calloc(64, sizeof(*list));

        *ret_n = 0;
        snprintf(b->vault_unit, sizeof(b->vault_unit), "%s", unit);
        for (size_t i = 0; b->vault_open && i < b->n_vault; i++)
                keep(list, ret_n, b->vault[i].name, b->vault[i].data, b->vault[i].size);
        if (*ret_n == 0)
                free(list);
        *ret = *ret_n > 0 ? list : NULL;
        return 0;
}

static void on_tap(void *userdata, const uint8_t *data _unused_, size_t size _unused_) {
        Bench *b = userdata;

        if (b->kill_at_send && b->sim->sends >= b->kill_at_send)
                sim_channel_cancel(b->sim);
}

static int on_intent(void *userdata, unsigned step, Stage stage, const char *partition) {
        Bench *b = userdata;

        add_event(b, EVENT_INTENT, (int) step, stage, partition);
        if ((stage == STAGE_REPARTITION || plan_erases_all(b->plan->steps + step)) && b->go_error >= 0)
                open_vault(b);
        return b->go_error_step < 0 || b->go_error_step == (int) step ? b->go_error : 0;
}

static int on_backup(void *userdata, unsigned step, const char *name, void *data, size_t size) {
        Bench *b = userdata;
        BenchEvent *e = add_event(b, EVENT_BACKUP, (int) step, STAGE_BACKUP, name);

        e->data = data;
        e->size = size;
        if (b->backup_error >= 0)
                keep(b->fresh, &b->n_fresh, name, data, size);
        return b->backup_error;
}

/* The disk has room for every second one: what is read goes both ways in all tests. */
static int on_spool(void *userdata, uint64_t size _unused_) {
        Bench *b = userdata;

        return b->n_spools++ % 2 == 1 ? -ENOSPC : memfd_create("spool", MFD_CLOEXEC);
}

static int on_backup_file(void *userdata, unsigned step, const char *name, int fd, uint64_t size, const char *sha256) {
        uint8_t *data = malloc(size + 1);
        char is[65];

        ck_assert_int_eq(pread(fd, data, size + 1, 0), (ssize_t) size);
        close(fd);
        ck_assert_int_eq(digest_hex(data, size, is), 0);
        ck_assert_str_eq(is, sha256);
        ((Bench *) userdata)->n_spooled++;
        return on_backup(userdata, step, name, data, size);
}

static void on_fact(void *userdata, const char *key, const char *value) {
        char text[600];

        snprintf(text, sizeof(text), "%s=%s", key, value);
        add_event(userdata, EVENT_FACT, -1, STAGE_INVALID, text);
}

static int on_reenumerate(void *userdata, uint32_t timeout_ms, Channel **ret, Failure *f) {
        Bench *b = userdata;

        add_event(b, EVENT_REENUMERATE, -1, STAGE_REENUMERATE, "");
        if (b->impostor) {
                b->impostor->now_ns = MAX(b->impostor->now_ns, b->sim->now_ns);
                *ret = &b->impostor->channel;
                return 0;
        }
        if (!b->comes_back || sim_channel_wait_back(b->sim, timeout_ms) < 0)
                return failure_set(f, CLASS_GONE, "", "the device did not come back");
        *ret = &b->sim->channel;
        return 0;
}

static bool is_cancelled(void *userdata) {
        return ((Bench *) userdata)->cancelled;
}

static bool disk_ok(void *userdata) {
        Bench *b = userdata;

        return !b->bad_disk_bytes || b->progress < b->bad_disk_bytes;
}

/* ---- benches ---------------------------------------------------------------------------------------------- */

static Bench *new_bench(const char *spec) {
        const char *tmp = getenv("TMPDIR");
        Bench *b = calloc(1, sizeof(*b));
        char err[256] = "";

        ck_assert_ptr_nonnull(b);
        snprintf(b->dir, sizeof(b->dir), "%.80s/fdld-engine-XXXXXX", tmp ? tmp : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(b->dir));
        b->sim = sim_channel_new(spec, b->dir, 7, err, sizeof(err));
        ck_assert_msg(b->sim, "%s: %s", spec, err);
        b->cancel_step = b->unplug_step = b->go_error_step = -1;
        b->comes_back = true;
        return b;
}

static void read_package(Bench *b) {
        PacReader reader = pac_reader_for_memory(b->package, b->package_size);
        Failure f = FAILURE_INIT;
        uint8_t digest[32];

        ck_assert_msg(pac_parse(&reader, &b->pac, &f) == 0, "%s", f.text);
        ck_assert_msg(pac_verify(&reader, b->pac, digest, &f) == 0, "%s", f.text);
}

static bool load_file(Bench *b, const char *name) {
        const char *folder = getenv("FDLD_TEST_PACS");
        char path[512];
        struct stat st;
        int fd;

        if (!folder) {
                fprintf(stderr, "SKIPPED: FDLD_TEST_PACS is not set, %s is not tested\n", name);
                return false;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
        b->package_size = (size_t) st.st_size;
        b->package = malloc(b->package_size);
        ck_assert_int_eq(pread(fd, b->package, b->package_size, 0), st.st_size);
        close(fd);
        return true;
}

Bench *bench_new_made(const char *spec, PacMaker *maker) {
        Bench *b = new_bench(spec);

        ck_assert_int_eq(pm_build(maker, &b->package, &b->package_size), 0);
        pm_free(maker);
        read_package(b);
        return b;
}

Bench *bench_new_file(const char *spec, PacMaker *maker, const char *id, uint64_t size) {
        Bench *b = new_bench(spec);
        PmFile *big = pm_find(maker, id);
        char path[200];
        Failure f = FAILURE_INIT;
        PacReader reader;
        struct stat st;
        int fd;

        ck_assert_ptr_nonnull(big);
        pm_random(big, "big.img", size);
        snprintf(path, sizeof(path), "%s.pac", b->dir);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        unlink(path);
        ck_assert_int_eq(pm_write(maker, fd), 0);
        pm_free(maker);
        ck_assert_int_eq(fstat(fd, &st), 0);
        b->package_size = (size_t) st.st_size;
        b->package = mmap(NULL, b->package_size, PROT_READ, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(b->package, MAP_FAILED);
        b->package_mapped = true;
        close(fd);
        reader = pac_reader_for_memory(b->package, b->package_size);
        ck_assert_msg(pac_parse(&reader, &b->pac, &f) == 0, "%s", f.text);
        return b;
}

Bench *bench_new(const char *spec, const char *package) {
        PacMaker *maker = pm_new_family(package, 11);
        Bench *b;

        if (maker)
                return bench_new_made(spec, maker);
        b = new_bench(spec);
        if (!load_file(b, package))
                return bench_free(b);
        read_package(b);
        return b;
}

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *w _unused_) {
        return remove(path);
}

void bench_remove_folder(const char *path) {
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

Bench *bench_free(Bench *b) {
        if (!b)
                return NULL;
        for (size_t i = 0; i < b->n_events; i++)
                free(b->events[i].data);
        forget(b->vault, &b->n_vault);
        forget(b->fresh, &b->n_fresh);
        sim_channel_free(b->sim);
        plan_free(b->plan);
        pac_free(b->pac);
        if (b->package_mapped)
                munmap(b->package, b->package_size);
        else
                free(b->package);
        bench_remove_folder(b->dir);
        free(b);
        return NULL;
}

void bench_plan(Bench *b, FlashMode mode) {
        bench_plan_with(b, &(PlanOptions) {.mode = mode, .finish = FINISH_RESET, .allow_warnings = true, .verify = b->verify});
}

void bench_plan_with(Bench *b, const PlanOptions *options) {
        Failure f = FAILURE_INIT;
        Plan *plan = NULL;
        int r;

        r = plan_make(b->pac, options, &plan, &f);
        ck_assert_msg(r == 0, "plan: %d %s", r, f.text);
        bench_take_plan(b, plan);
}

void bench_take_plan(Bench *b, Plan *plan) {
        plan_free(b->plan);
        b->plan = plan;
        b->input = (EngineInput) {
                .plan = b->plan, .package = b->package, .package_size = b->package_size, .package_ok = disk_ok,
                .package_userdata = b,
        };
        bsl_deadlines_default(&b->input.deadlines);
}

void bench_fault(Bench *b, const char *line) {
        sim_channel_fault(b->sim, line);
}

/* What was read is compared by those who want to know. */
static int on_output(void *userdata, unsigned output _unused_, uint64_t offset _unused_, const void *data _unused_, size_t size) {
        ((Bench *) userdata)->bytes_output += size;
        return 0;
}

int bench_run(Bench *b) {
        EngineHooks hooks = {
                .step = on_step, .progress = on_progress, .intent = on_intent, .backup = on_backup,
                .spool = on_spool, .backup_file = on_backup_file, .fact = on_fact, .output = on_output,
                .recall = on_recall, .reenumerate = on_reenumerate, .cancelled = is_cancelled, .userdata = b,
        };

        b->sim->canceled = false;
        if (b->kill_at_send) {
                b->sim->tap = on_tap;
                b->sim->tap_userdata = b;
        }
        forget(b->fresh, &b->n_fresh);
        for (size_t i = 0; i < b->n_events; i++)
                free(b->events[i].data);
        b->n_events = 0;
        b->progress = b->progress_total = 0;
        b->progress_fell = b->cancelled = false;
        b->result = engine_run(&b->input, &b->sim->channel, &hooks, &b->report, &b->failure);
        if (b->result == 0) {
                b->vault_open = false;
                forget(b->vault, &b->n_vault);
        }
        return b->result;
}

int bench_find_step(const Bench *b, PlanOp op, const char *id) {
        for (size_t i = 0; i < b->plan->n_steps; i++) {
                const PlanStep *s = b->plan->steps + i;
                if (s->op == op && (!id || streq(s->id, id) || streq(s->partition, id)))
                        return (int) i;
        }
        ck_abort_msg("the plan has no step %s %s", plan_op_to_string(op), id ? id : "");
}

const BenchEvent *bench_event(const Bench *b, BenchEventType type, const char *text) {
        for (size_t i = 0; i < b->n_events; i++)
                if (b->events[i].type == type && (!text || strstr(b->events[i].text, text)))
                        return b->events + i;
        return NULL;
}

bool bench_describes(const Bench *b, const char *text) {
        static char buf[65536];

        sim_describe(b->sim->model, buf, sizeof(buf));
        return strstr(buf, text) != NULL;
}

const char *bench_code(const Bench *b) {
        static char code[FAILURE_CODE_MAX];

        return failure_code(&b->failure, code);
}

/* ---- flash ------------------------------------------------------------------------------------------------ */

typedef struct FlashFile {
        char name[256];
        uint8_t *data;
        size_t size;
        unsigned *users;         /* pictures that share the data */
} FlashFile;

struct BenchFlash {
        FlashFile files[512];
        size_t n;
};

static void new_data(FlashFile *file, size_t n) {
        file->data = calloc(1, n + 1);
        file->users = malloc(sizeof(*file->users));
        ck_assert(file->data && file->users);
        *file->users = 1;
}

static void drop_data(FlashFile *file) {
        if (!file->users || --*file->users > 0)
                return;
        free(file->data);
        free(file->users);
}

static BenchFlash *collecting;
static size_t prefix;

static int collect(const char *path, const struct stat *st, int type, struct FTW *w _unused_) {
        FlashFile *file;
        size_t n;
        int fd;

        if (type != FTW_F)
                return 0;
        ck_assert_uint_lt(collecting->n, ELEMENTSOF(collecting->files));
        file = collecting->files + collecting->n++;
        snprintf(file->name, sizeof(file->name), "%s", path + prefix);
        file->size = (size_t) st->st_size;
        n = MIN(file->size, (size_t) BENCH_KEEP_MAX);
        new_data(file, n);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        for (size_t at = 0; at < n;) {
                off_t data = lseek(fd, (off_t) at, SEEK_DATA), hole;
                ssize_t r;

                if (data < 0) /* nothing but a hole is left */
                        break;
                at = (size_t) data;
                hole = lseek(fd, data, SEEK_HOLE);
                while (at < MIN(n, (size_t) hole)) {
                        r = pread(fd, file->data + at, MIN(n, (size_t) hole) - at, (off_t) at);
                        ck_assert_int_gt(r, 0);
                        at += (size_t) r;
                }
        }
        close(fd);
        return 0;
}

BenchFlash *bench_flash(const Bench *b) {
        collecting = calloc(1, sizeof(*collecting));
        prefix = strlen(b->dir) + 1;
        ck_assert_int_eq(nftw(b->dir, collect, 16, FTW_PHYS), 0);
        return collecting;
}

BenchFlash *bench_flash_free(BenchFlash *f) {
        if (!f)
                return NULL;
        for (size_t i = 0; i < f->n; i++)
                drop_data(f->files + i);
        free(f);
        return NULL;
}

BenchFlash *bench_flash_copy(const BenchFlash *f) {
        BenchFlash *copy = calloc(1, sizeof(*copy));

        ck_assert_ptr_nonnull(copy);
        for (; copy->n < f->n; copy->n++) {
                copy->files[copy->n] = f->files[copy->n];
                ++*copy->files[copy->n].users;
        }
        return copy;
}

const char *bench_flash_name(const BenchFlash *f, size_t i) {
        return i < f->n ? f->files[i].name : NULL;
}

static const FlashFile *find_file(const BenchFlash *f, const char *name) {
        for (size_t i = 0; i < f->n; i++)
                if (streq(f->files[i].name, name))
                        return f->files + i;
        return NULL;
}

uint8_t *bench_flash_file(BenchFlash *f, const char *name, size_t *ret_size) {
        const FlashFile *file = find_file(f, name);

        if (file && ret_size)
                *ret_size = MIN(file->size, (size_t) BENCH_KEEP_MAX);
        return file ? file->data : NULL;
}

static bool excepted(const char *name, const char *const *except) {
        for (; except && *except; except++)
                if (strncmp(name, *except, strlen(*except)) == 0)
                        return true;
        return false;
}

const char *bench_flash_differs(const BenchFlash *want, const BenchFlash *have, const char *const *except) {
        static char text[400];

        for (size_t i = 0; i < want->n; i++) {
                const FlashFile *w = want->files + i, *h = find_file(have, w->name);
                size_t n = MIN(w->size, (size_t) BENCH_KEEP_MAX), at = 0;

                if (excepted(w->name, except))
                        continue;
                if (!h || h->size != w->size) {
                        snprintf(text, sizeof(text), "%.255s is missing or has another size", w->name);
                        return text;
                }
                if (w->data == h->data || memcmp(w->data, h->data, n) == 0)
                        continue;
                while (at < n && w->data[at] == h->data[at])
                        at++;
                if (at < n) {
                        snprintf(text, sizeof(text), "%.255s differs at 0x%zx", w->name, at);
                        return text;
                }
        }
        for (size_t i = 0; i < have->n; i++)
                if (!find_file(want, have->files[i].name) && !excepted(have->files[i].name, except)) {
                        snprintf(text, sizeof(text), "%.255s was not there before", have->files[i].name);
                        return text;
                }
        return "";
}

void bench_flash_put(BenchFlash *f, const char *name, const void *data, size_t size) {
        FlashFile *file = (FlashFile *) find_file(f, name);

        if (!file) {
                ck_assert_uint_lt(f->n, ELEMENTSOF(f->files));
                file = f->files + f->n++;
                *file = (FlashFile) {};
                snprintf(file->name, sizeof(file->name), "%s", name);
        }
        drop_data(file);
        new_data(file, size);
        file->size = size;
        memcpy(file->data, data, size);
}

void bench_flash_remove(BenchFlash *f, const char *prefix_) {
        for (size_t i = 0; i < f->n;)
                if (strncmp(f->files[i].name, prefix_, strlen(prefix_)) == 0) {
                        drop_data(f->files + i);
                        f->files[i] = f->files[--f->n];
                } else
                        i++;
}

/* It is about to be changed: not for others who hold a picture of it. */
static void make_own(FlashFile *file) {
        FlashFile shared = *file;
        size_t n = MIN(file->size, (size_t) BENCH_KEEP_MAX);

        if (*shared.users == 1)
                return;
        new_data(file, n);
        memcpy(file->data, shared.data, n);
        --*shared.users;
}

static uint8_t *room_for(BenchFlash *f, const char *name, size_t offset, size_t size) {
        FlashFile *file = (FlashFile *) find_file(f, name);

        must(file, "the unit has no %s", name);
        must(offset <= file->size && size <= file->size - offset, "%s is too small for 0x%zx+0x%zx", name,
                      offset, size);
        must(offset + size <= BENCH_KEEP_MAX, "%s: only 0x%x bytes are compared", name, BENCH_KEEP_MAX);
        make_own(file);
        return file->data + offset;
}

void bench_flash_patch(BenchFlash *f, const char *name, size_t offset, const void *data, size_t size) {
        memcpy(room_for(f, name, offset, size), data, size);
}

void bench_flash_fill(BenchFlash *f, const char *name, size_t offset, size_t size, uint8_t byte) {
        const FlashFile *file = find_file(f, name);
        size_t n = file && file->size > BENCH_KEEP_MAX && offset < BENCH_KEEP_MAX ? MIN(size, BENCH_KEEP_MAX - offset) : size;

        memset(room_for(f, name, offset, n), byte, n);
}
