/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fault matrix in virtual time. Without FDLD_LONG a sample of it. FDLD_CELLS=TEXT: only cells whose names hold it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "matrix.h"
#include "unit/scratch.h"

const char *const fault_words[FAULT_MAX] = {
#define X(id, word, line, column, executed) word,
        FAULTS(X)
#undef X
};
static const char *const fault_lines[FAULT_MAX] = {
#define X(id, word, line, column, executed) line,
        FAULTS(X)
#undef X
};
static const char *const fault_columns[FAULT_MAX] = {
#define X(id, word, line, column, executed) column,
        FAULTS(X)
#undef X
};
static const char *const columns[] = {"silent", "slow", "checksum", "refused", "garbage", "truncated",
                                      "glued",  "gone", "late",     "hang",    "unit",    "flash"};

static const World worlds[] = {
        {"phone", "phone-emmc,fast,size=64M,table=", "phone", true, false, VERIFY_FULL},
        {"uis8850", "uis8850,fast,image-check=0", "uis8850", true, false, VERIFY_FULL},
        {"uis8910", "uis8910,fast,image-check=0", "uis8910", false, false, VERIFY_ACK},
        {"second-enum", "phone-emmc,fast,size=64M,table=", "phone", true, true, VERIFY_ACK},
        {"feature", "feature-nor,fast,image-check=0", "feature", false, false, VERIFY_FULL},
        {"new-table", "phone-emmc,fast,size=64M,table=", "phone", true, false, VERIFY_ACK, .new_table = true},
};

/* Refusals of §5, those that are no answers to anything. */
static const uint8_t refusals[] = {0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x96, 0x97,
                                   0x98, 0x99, 0x9a, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xac,
                                   0xad, 0xb3, 0xb4, 0xb6, 0xb7, 0xb9, 0xbf, 0xd0, 0xd1, 0xd2, 0xd3, 0xfe};
static const uint8_t few_refusals[] = {0x84, 0x8b, 0x8a, 0x96, 0xfe};
/* Where the whole list is tried. */
static const char *const all_refused[] = {"load-fdl1 end", "exec-fdl1 exec", "exec-fdl1 connect", "load-fdl2 end", "exec-fdl2 exec",
                                          "identify plain", "backup read-start", "backup read", "erase erase", "repartition repartition", "write start",
                                          "checking midst", "write end", "verify read-midst", "finish reset"};

/* ---- results, over all processes -------------------------------------------------------------------------- */

#define ROWS_MAX 400
typedef struct Row {
        char name[64];
        unsigned n[ELEMENTSOF(columns)], right[ELEMENTSOF(columns)];
} Row;
typedef struct Results {
        Row rows[ROWS_MAX];
        unsigned n_rows, cells, right;
} Results;
static Results *results;

static void count(const Cell *c, bool right) {
        const WireCommand *w = c->clean->list + c->at;
        Row *row = NULL;
        char name[64];

        snprintf(name, sizeof(name), "%s %s", c->stage, w->command);
        for (unsigned i = 0; i < results->n_rows && !row; i++)
                if (streq(results->rows[i].name, name))
                        row = results->rows + i;
        if (!row) {
                row = results->rows + results->n_rows++;
                ck_assert_uint_le(results->n_rows, ROWS_MAX);
                strcpy(row->name, name);
        }
        for (size_t i = 0; i < ELEMENTSOF(columns); i++)
                if (streq(columns[i], fault_columns[c->fault])) {
                        row->n[i]++;
                        row->right[i] += right;
                }
        results->cells++;
        results->right += right;
}

static void print_table(void) {
        printf("%-28s", "stage command");
        for (size_t i = 0; i < ELEMENTSOF(columns); i++)
                printf(" %9s", columns[i]);
        printf("\n");
        for (unsigned r = 0; r < results->n_rows; r++) {
                const Row *row = results->rows + r;

                printf("%-28s", row->name);
                for (size_t i = 0; i < ELEMENTSOF(columns); i++) {
                        char cell[32] = "-";

                        if (row->n[i] && row->n[i] == row->right[i])
                                snprintf(cell, sizeof(cell), "%u", row->n[i]);
                        else if (row->n[i])
                                snprintf(cell, sizeof(cell), "%u/%u", row->right[i], row->n[i]);
                        printf(" %9s", cell);
                }
                printf("\n");
        }
        printf("%u cells, %u right\n", results->cells, results->right);
        fflush(stdout);
}

/* ---- where faults strike ---------------------------------------------------------------------------------- */

/* The unit's own: put back when the table was changed. Its NV is written once more, merged with what is new. */
static bool restores(const Wire *w, size_t i) {
        const char *target = w->list[i].target;

        if (streq(target, "prodnv") || streq(target, "miscdata"))
                return true;
        for (size_t k = i + 1; k < w->n && streq(target, "l_fixnv1"); k++)
                if (streq(w->list[k].command, "start") && streq(w->list[k].target, target))
                        return true;
        return false;
}

const char *cell_stage(const World *world, const Wire *w, size_t i) {
        const WireCommand *c = w->list + i;
        bool greets = streq(c->command, "sync") || streq(c->command, "connect") || streq(c->command, "pdl-connect");

        if (streq(c->at, "brom") || streq(c->at, "pdl"))
                return greets ? "handshake" : streq(c->command, "exec") || streq(c->command, "pdl-exec") ? "exec-fdl1" : "load-fdl1";
        if (greets)
                return world->second_enumeration ? "reenumerate" : "exec-fdl1";
        if (streq(c->at, "fdl1"))
                return streq(c->command, "exec") ? "exec-fdl2" : "load-fdl2";
        if (streq(c->command, "reset") || streq(c->command, "power-off"))
                return "finish";
        if (world->new_table && wire_repartitioned(w, i) && (streq(c->command, "read-partition") || restores(w, i)))
                return streq(c->command, "read-partition") ? "repartition" : "restore";
        if (streq(c->command, "erase") || streq(c->command, "repartition"))
                return streq(c->command, "erase") ? "erase" : "repartition";
        if (wire_changes_flash(c))
                return c->named && c->last ? "checking" : "write";
        if (strncmp(c->command, "read", 4) != 0 || streq(c->command, "read-partition") || streq(c->target, "user_partition"))
                return "identify";
        while (i-- > 0)
                if (wire_changes_flash(w->list + i))
                        return "verify";
        return "backup";
}

/* bsl-protocol §8.2, the suggestions. */
void matrix_deadlines(BslDeadlines *d) {
        *d = (BslDeadlines) {
                .sync_brom = 20, .sync_brom_window = 30000, .sync_fdl1 = 1000, .sync_fdl1_window = 10000, .connect = 3000,
                .start = 30000, .midst = 60000, .midst_last = 300000, .end = 60000, .exec_fdl1 = 2000, .exec_fdl2 = 60000,
                .erase = 600000, .erase_all = 3600000, .repartition = 100000, .read = 20000, .keep_charge = 3000,
                .second_enumeration = 60000, .reset = 2000, .pdl_connect = 1000, .pdl_connect_window = 30000, .pdl_data = 10000,
                .pdl_exec = 2000, .other = 2000,
        };
}

uint32_t cell_deadline(const WireCommand *c) {
        static const struct {
                const char *command;
                uint32_t ms;
        } limits[] = {
                {"sync", 2000}, {"connect", 3000}, {"pdl-connect", 1000}, {"pdl-start", 10000}, {"pdl-mid", 10000}, {"pdl-end", 10000},
                {"pdl-exec", 2000}, {"start", 30000}, {"midst", 60000}, {"end", 60000}, {"erase", 600000}, {"repartition", 100000},
                {"read", 20000}, {"read-start", 20000}, {"read-midst", 20000}, {"read-end", 20000}, {"read-partition", 20000},
        };

        if (streq(c->command, "exec"))
                return streq(c->at, "brom") ? 2000 : 60000;
        if (c->last)
                return 300000;
        for (size_t i = 0; i < ELEMENTSOF(limits); i++)
                if (streq(limits[i].command, c->command))
                        return limits[i].ms;
        return 2000;
}

const char *cell_name(const Cell *c) {
        static char text[240];
        const WireCommand *w = c->clean->list + c->at;
        char code[8] = "";

        if (c->fault == FAULT_NAK)
                snprintf(code, sizeof(code), "-%02x", c->code);
        snprintf(text, sizeof(text), "%s %s %s#%u%s%s %s%s%s%s%s", c->world->name, c->stage, w->command, w->nth, w->target[0] ? " " : "",
                 w->target, fault_words[c->fault], code, c->always ? " for ever" : "", c->impostor ? " " : "", c->impostor ? c->impostor : "");
        return text;
}

static void plant(Bench *b, const Cell *c) {
        const WireCommand *w = c->clean->list + c->at;
        uint32_t limit = cell_deadline(w), ms = c->fault == FAULT_OVER || c->fault == FAULT_OVERDUE ? limit + 1000
                                                : c->fault == FAULT_NEVER                           ? limit + 100000
                                                                                                    : limit / 2;
        char kind[64], line[200];

        snprintf(kind, sizeof(kind), "%s", fault_lines[c->fault]);
        if (strstr(kind, "%u"))
                snprintf(strstr(kind, "%u"), 20, "%u", ms);
        else if (strstr(kind, "%02x"))
                snprintf(strstr(kind, "%02x"), 20, "%02x", c->code);
        snprintf(line, sizeof(line), "at=%s:%s:#%u %s%s", w->at, w->command, w->nth, kind, c->always ? " count=forever" : "");
        bench_fault(b, line);
}

/* ---- units with two packages ------------------------------------------------------------------------------ */

static char table_path[200];

/* The simulated phone's partitions, but small: what is compared is read again and again. */
static void write_table(void) {
        static const struct {
                const char *name;
                unsigned mib;
        } parts[] = {
                {"prodnv", 1}, {"miscdata", 1}, {"misc", 1}, {"l_fixnv1", 2}, {"l_fixnv2", 2}, {"l_runtimenv1", 1}, {"l_runtimenv2", 1},
                {"trustos", 1}, {"trustos_bak", 1}, {"sml", 1}, {"sml_bak", 1}, {"uboot", 1}, {"uboot_bak", 1}, {"vbmeta", 1},
                {"vbmeta_bak", 1}, {"logo", 1}, {"fbootlogo", 1}, {"l_ldsp", 1}, {"l_modem", 1}, {"l_deltanv", 1}, {"gpsgl", 1},
                {"gpsbd", 1}, {"wcnmodem", 1}, {"persist", 1}, {"boot", 1}, {"recovery", 1}, {"dtbo", 1}, {"super", 2}, {"cache", 1},
        };
        FILE *f;

        scratch_template(table_path, sizeof(table_path), "fdld-matrix-table");
        close(mkstemp(table_path));
        f = fopen(table_path, "we");
        if (!f)
                abort();
        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                fprintf(f, "%s %u\n", parts[i].name, parts[i].mib);
        fprintf(f, "userdata rest\n");
        fclose(f);
}

static void shrink(PacMaker *m) {
        static const char *const keep[] = {"FDL", "FDL2", NULL};

        for (unsigned i = 0; i < m->n_files; i++) {
                PmFile *f = m->files + i;
                bool loader = streq(f->id, keep[0]) || streq(f->id, keep[1]);

                if (f->data != PM_RANDOM || f->size == 0)
                        continue;
                f->size = loader ? MIN(f->size, 12000ull) : streq(f->id, "Modem_LTE") || streq(f->id, "System") ? 140000 : MIN(f->size, 20000ull);
        }
        pm_find(m, "ProdNV")->blocks[0].size = 0x40000;
        m->n_partitions = 0;
        {
                char name[64];
                unsigned mib;
                FILE *f = fopen(table_path, "re");

                while (fscanf(f, "%63s %u", name, &mib) == 2) {
                        char size[16];

                        snprintf(size, sizeof(size), "%u", mib);
                        pm_partition(m, name, size);
                }
                fclose(f);
                pm_partition(m, "userdata", "0xFFFFFFFF");
        }
}

typedef struct Packed {
        uint8_t *bytes;
        size_t size;
        Pac *pac;
        Plan *plan;
        EngineInput input;
} Packed;

typedef struct Rig {
        const World *world;
        Bench *bench;
        Packed packages[2];
        unsigned turn;
        BenchFlash *flash;      /* as it is now */
        Wire wire;
} Rig;

static PacMaker *make(const World *world, uint64_t seed) {
        PacMaker *m = pm_new_family(world->family, seed);

        if (streq(world->family, "phone"))
                shrink(m);
        if (world->second_enumeration)
                strcpy(pm_find(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
        /* Each job has another table than the one before. Not in the size of what is saved first: all jobs must ask for the same. */
        for (unsigned i = 0; world->new_table && i < m->n_partitions; i++)
                if (streq(m->partitions[i].name, "cache"))
                        snprintf(m->partitions[i].size, sizeof(m->partitions[i].size), "%u", seed == 11 ? 2 : 3);
        return m;
}

static void take_package(Rig *rig, unsigned i) {
        Bench *b = rig->bench;

        bench_plan_with(b, &(PlanOptions) {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET, .allow_warnings = true,
                                           .verify = rig->world->verify, .repartition = rig->world->new_table});
        matrix_deadlines(&b->input.deadlines);
        rig->packages[i] = (Packed) {b->package, b->package_size, b->pac, b->plan, b->input};
}

/* Flashes the other package next. */
static void turn(Rig *rig) {
        Packed *p = rig->packages + (rig->turn ^= 1);
        Bench *b = rig->bench;

        b->package = p->bytes;
        b->package_size = p->size;
        b->pac = p->pac;
        b->plan = p->plan;
        b->input = p->input;
}

static const char *spec_of(const World *world) {
        static char spec[300];

        snprintf(spec, sizeof(spec), "%s%s", world->spec, strstr(world->spec, "table=") ? table_path : "");
        return spec;
}

static void rig_start(Rig *rig, const World *world) {
        Bench *other;

        *rig = (Rig) {.world = world};
        rig->bench = bench_new_made(spec_of(world), make(world, 11));
        take_package(rig, 0);
        other = bench_new_made(spec_of(world), make(world, 12));
        rig->bench->plan = NULL;
        rig->bench->package = other->package;
        rig->bench->package_size = other->package_size;
        rig->bench->pac = other->pac;
        other->package = NULL;
        other->pac = NULL;
        bench_free(other);
        take_package(rig, 1);
        rig->turn = 1;
        rig->bench->sim->tap = wire_tap;
        rig->bench->sim->tap_userdata = &rig->wire;
        rig->flash = bench_flash(rig->bench);
}

static int rig_run(Rig *rig) {
        bool pdl = rig->bench->plan->protocol == PLAN_PDL;

        wire_start(&rig->wire, pdl, rig->bench->plan->single_loader);
        return bench_run(rig->bench);
}

static void rig_replug(Rig *rig) {
        bench_fault(rig->bench, "clear");
        bench_replug(rig->bench);
}

static void rig_end(Rig *rig) {
        Packed *p = rig->packages + (rig->turn ^ 1);

        bench_flash_free(rig->flash);
        bench_free(rig->bench);
        plan_free(p->plan);
        pac_free(p->pac);
        free(p->bytes);
        wire_free(&rig->wire);
}

/* ---- cells ------------------------------------------------------------------------------------------------ */

static SimChannel *impostor(const Cell *c, char dir[static 128]) {
        const char *tmp = getenv("TMPDIR");
        char err[256];
        SimChannel *sc;

        snprintf(dir, 128, "%.80s/fdld-impostor-XXXXXX", tmp ? tmp : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        sc = sim_channel_new(c->impostor, dir, 99, err, sizeof(err));
        ck_assert_msg(sc, "%s", err);
        return sc;
}

static const char *impostor_left_alone(SimChannel *sc) {
        static char text[65536];

        sim_describe(sc->model, text, sizeof(text));
        return strstr(text, "\"bytes_written\":0,\"bytes_erased\":0,") ? "" : "the other unit was written to";
}

/* After an expired deadline or a refusal nothing that changes flash goes out any more. */
static const char *nothing_sent_after(const Rig *rig, const Cell *c, const Outcome *o) {
        const WireCommand *struck = c->clean->list + o->at;
        size_t n = 0, want = 0;

        if (o->class == CLASS_MISMATCH || (c->fault == FAULT_NAK && c->code == 0xac))
                return "";
        for (size_t i = 0; i < rig->wire.n; i++)
                n += wire_changes_flash(rig->wire.list + i);
        for (size_t i = 0; i <= o->at; i++)
                want += wire_changes_flash(c->clean->list + i);
        (void) struck;
        return n > want ? "a command that changes flash was sent after the failure" : "";
}

static const char *next_job(Rig *rig, BenchFlash *before) {
        static char text[600];
        const char *bad;

        rig_replug(rig);
        if (rig_run(rig) != 0) {
                snprintf(text, sizeof(text), "the next job ended with %s: %s", bench_code(rig->bench), rig->bench->failure.text);
                return text;
        }
        bench_flash_free(rig->flash);
        rig->flash = bench_flash(rig->bench);
        bad = rig->world->new_table ? judge_table(rig->bench, before, rig->flash) : judge_done(rig->bench, before, rig->flash);
        snprintf(text, sizeof(text), "the next job: %s", bad);
        return *bad ? text : "";
}

static const char *judge(Rig *rig, const Cell *c, const Outcome *o, BenchFlash *before) {
        static char text[1000];
        BenchFlash *now = bench_flash(rig->bench);
        const char *bad = "";

        if (bench_describes(rig->bench, "\"faults_hit\":0,"))
                bad = "the fault did not strike";
        else if (o->done || (o->may_be_done && rig->bench->result == 0)) {
                snprintf(text, sizeof(text), "%s: %s", bench_code(rig->bench), rig->bench->failure.text);
                bad = rig->bench->result != 0        ? text
                      : rig->world->new_table ? judge_table(rig->bench, before, now)
                                              : judge_done(rig->bench, before, now);
        } else {
                bad = judge_failure(rig->bench, c, o);
                if (!*bad && !rig->world->new_table)
                        bad = judge_flash(rig->bench, c, o, before, now);
                if (!*bad)
                        bad = nothing_sent_after(rig, c, o);
        }
        bench_flash_free(now);
        return bad;
}

static bool run_cell(Rig *rig, const Cell *c) {
        Outcome o = rule_outcome(c);
        BenchFlash *before = rig->flash;
        char verdict[1000], dir[128];
        SimChannel *other = NULL;
        const char *bad;

        turn(rig);
        rig_replug(rig);
        plant(rig->bench, c);
        if (c->impostor)
                other = rig->bench->impostor = impostor(c, dir);
        rig_run(rig);
        snprintf(verdict, sizeof(verdict), "%s", judge(rig, c, &o, before));
        rig->flash = NULL;
        if (other) {
                if (!verdict[0])
                        snprintf(verdict, sizeof(verdict), "%s", impostor_left_alone(other));
                rig->bench->impostor = NULL;
                sim_channel_free(other);
                bench_remove_folder(dir);
        }
        bad = next_job(rig, before);
        if (!verdict[0])
                snprintf(verdict, sizeof(verdict), "%s", bad);
        if (!rig->flash)
                rig->flash = bench_flash(rig->bench);
        bench_flash_free(before);
        count(c, !verdict[0]);
        if (verdict[0])
                printf("WRONG: %s: %s\n", cell_name(c), verdict);
        else if (getenv("FDLD_TELL"))
                printf("right: %s: %s\n", cell_name(c), o.done ? "done" : fail_class_to_string(o.class));
        fflush(stdout);
        return !verdict[0];
}

static bool chosen(const Cell *c, unsigned number) {
        const char *text = getenv("FDLD_CELLS");

        if (text)
                return strstr(cell_name(c), text);
        return getenv("FDLD_LONG") || number % 9 == 3;
}

typedef struct Walk {
        Rig *rig;
        unsigned every;      /* only each n-th fault is tried at this command */
        unsigned number, tried, wrong;
} Walk;

static void one(Walk *w, Cell c) {
        if (!rule_applies(&c) || w->number++ % w->every || !chosen(&c, w->tried++))
                return;
        if (!run_cell(w->rig, &c)) {
                w->wrong++;
                /* What it left behind is not what the next one begins with. */
                if (w->rig->bench->result != 0) {
                        const World *world = w->rig->world;

                        rig_end(w->rig);
                        rig_start(w->rig, world);
                }
        }
}

static void all_refusals(Walk *w, Cell c, bool all) {
        const uint8_t *codes = all ? refusals : few_refusals;
        size_t n = all ? ELEMENTSOF(refusals) : ELEMENTSOF(few_refusals);
        bool pdl = strncmp(c.clean->list[c.at].command, "pdl-", 4) == 0;

        c.fault = FAULT_NAK;
        for (c.code = 1; pdl && c.code <= 12; c.code++)
                one(w, c);
        for (size_t i = 0; !pdl && i < n; i++) {
                c.code = codes[i];
                one(w, c);
        }
}

static void all_faults(Walk *w, Cell c, bool all) {
        static const char *const others[] = {"phone-emmc,fast", "uis8850,fast", "uis8910,fast"};
        bool starts = streq(c.stage, "exec-fdl1") || streq(c.stage, "reenumerate");

        for (c.fault = 0; c.fault < FAULT_MAX; c.fault++) {
                if (c.fault == FAULT_NAK)
                        all_refusals(w, c, all);
                else if (c.fault == FAULT_UNIT)
                        for (size_t i = 0; i < (starts ? ELEMENTSOF(others) : 1); i++) {
                                Cell d = c;
                                d.impostor = others[i];
                                one(w, d);
                        }
                else {
                        one(w, c);
                        c.always = true;
                        one(w, c);
                        c.always = false;
                }
        }
        c.fault = FAULT_NAK;
        c.always = true;
        for (size_t i = 0; i < ELEMENTSOF(few_refusals); i++) {
                c.code = few_refusals[i];
                one(w, c);
        }
}

/* ---- which commands --------------------------------------------------------------------------------------- */

#define POINTS_MAX 120
typedef struct Point {
        const World *world;
        size_t at;
        bool first;          /* of its stage and command */
} Point;
static Point points[POINTS_MAX * ELEMENTSOF(worlds)];
static unsigned n_points;
static Wire clean[ELEMENTSOF(worlds)];
typedef struct Shared {
        WireCommand lists[ELEMENTSOF(worlds)][WIRE_MAX];
        size_t n[ELEMENTSOF(worlds)];
        Results results;
} Shared;
static Shared *shared;

/* In each stage each command: the first of its kind, one in the middle and the last, if they are for different places or parts. */
static void add_points(const World *world, const Wire *w) {
        for (size_t i = 0; i < w->n; i++) {
                const char *stage = cell_stage(world, w, i);
                size_t before = 0, after = 0;

                if (world->second_enumeration && !streq(stage, "exec-fdl1") && !streq(stage, "reenumerate"))
                        continue;
                if (world->new_table && !streq(stage, "repartition") && !streq(stage, "restore"))
                        continue;
                for (size_t k = 0; k < w->n; k++)
                        if (streq(w->list[k].command, w->list[i].command) && streq(cell_stage(world, w, k), stage))
                                *(k < i ? &before : &after) += 1;
                after--;
                if (before > 0 && after > 0 && before != (before + after) / 2)
                        continue;
                if (streq(w->list[i].command, "unknown"))
                        continue;
                if (n_points == ELEMENTSOF(points))
                        abort();
                points[n_points++] = (Point) {world, i, before == 0};
        }
}

/* What is sent when nothing goes wrong; kept in memory that all processes share. */
START_TEST(the_way_through) {
        Rig rig;

        rig_start(&rig, worlds + _i);
        free(rig.wire.list);
        rig.wire = (Wire) {.list = shared->lists[_i]};
        ck_assert_msg(rig_run(&rig) == 0, "%s: %s: %s", worlds[_i].name, bench_code(rig.bench), rig.bench->failure.text);
        shared->n[_i] = rig.wire.n;
        rig.wire = (Wire) {};
        rig_end(&rig);
}
END_TEST

static bool takes_all_refusals(const Point *p, const char *stage) {
        char name[64];

        snprintf(name, sizeof(name), "%s %s", stage, clean[p->world - worlds].list[p->at].command);
        for (size_t i = 0; p->first && i < ELEMENTSOF(all_refused); i++)
                if (streq(all_refused[i], name))
                        return p->world == worlds || p->world->new_table || streq(name, "backup read");
        return false;
}

START_TEST(point) {
        const Point *p = points + _i;
        const Wire *w = clean + (p->world - worlds);
        const char *stage = cell_stage(p->world, w, p->at);
        Walk walk = {.number = (unsigned) _i, .tried = (unsigned) _i * 5};
        Rig rig;

        walk.rig = &rig;
        walk.every = p->world->new_table ? 3 : p->world->main ? p->first ? 1 : 6 : p->first ? 3 : 8;
        if (takes_all_refusals(p, stage))
                walk.every = 1;
        if (!getenv("FDLD_LONG") && !getenv("FDLD_CELLS") && _i % 5)
                return;
        rig_start(&rig, p->world);
        all_faults(&walk, (Cell) {.world = p->world, .clean = w, .at = p->at, .stage = stage}, takes_all_refusals(p, stage));
        rig_end(&rig);
        ck_assert_msg(walk.wrong == 0, "%u cells are wrong", walk.wrong);
}
END_TEST

static int run(const char *name, const TTest *test, int n) {
        Suite *s = suite_create(name);
        TCase *t = tcase_create(name);
        SRunner *runner;
        int failed;

        tcase_set_timeout(t, 600);
        tcase_add_loop_test(t, test, 0, n);
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed;
}

static void find_points(void) {
        for (size_t i = 0; i < ELEMENTSOF(worlds); i++) {
                clean[i] = (Wire) {.list = shared->lists[i], .n = shared->n[i]};
                add_points(worlds + i, clean + i);
        }
        for (unsigned i = 0; getenv("FDLD_POINTS") && i < n_points; i++) {
                Cell c = {.world = points[i].world, .clean = clean + (points[i].world - worlds), .at = points[i].at};

                c.stage = cell_stage(c.world, c.clean, c.at);
                printf("%u: %s\n", i, cell_name(&c));
        }
}

int main(void) {
        int failed;

        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (shared == MAP_FAILED)
                return EXIT_FAILURE;
        results = &shared->results;
        if (getenv("FDLD_TEST_MEMORY")) /* flash of simulated units is written all the time */
                setenv("TMPDIR", getenv("FDLD_TEST_MEMORY"), 1);
        write_table();
        failed = run("ways", the_way_through, ELEMENTSOF(worlds));
        if (failed == 0) {
                find_points();
                failed = run("cells", point, (int) n_points);
                print_table();
        }
        unlink(table_path);
        return failed || results->right < results->cells ? EXIT_FAILURE : EXIT_SUCCESS;
}
