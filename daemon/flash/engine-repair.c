/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "bsl/codes.h"
#include "firmware/image.h"
#include "firmware/slots.h"
#include "flash/engine-private.h"

/* Repair: what describes and starts the system is compared with a source, and only what is broken is written again. Two rules decide.
 *
 * What is whole but different is no damage: another partition table, another version of the firmware, a header of another image. It is
 * left as it is, and said.
 *
 * Most places must be as in the source before one that is not counts as damaged: else the source is of another version. */

#define HEAD 4096u           /* the header of an image, whatever kind it is */
#define SPL_BLOCK 512u
#define READ_BLOCK 0x3000u
#define LOADER_MAX (64u * 1024 * 1024)
#define MISC_MAX (64u * 1024 * 1024)
#define DISK_MAX (1ull << 42)
#define UNIT_BYTES 3

typedef enum State {
        STATE_ABSENT,  /* there is no such place */
        STATE_SAME,
        STATE_BROKEN,  /* not what can stand there */
        STATE_OTHER,   /* could be right, but it is not the source's */
        STATE_UNSHOWN, /* the loader refuses to show it */
} State;

typedef struct Copy {
        char name[40];         /* partition; "" the step's address */
        State state;
        bool mend;
        char why[72];
} Copy;

typedef struct Place {
        Copy copy[2];          /* the step's own, and its second copy */
        bool is_loader, alike; /* alike: both copies hold the same */
        bool hint;             /* looked at only for what version of the firmware is there */
} Place;

struct EngineRepair {
        Place *places;         /* one for each step of the plan */
        bool examined_table, table_broken;
        char table_why[160];
        Plan table;            /* what has to be sent: partitions and unit only */
        uint8_t slots[SLOTS_SIZE]; /* what belongs into misc */
        unsigned n_looked, n_same, n_other;
        char found[330], left[160], mended[160];
};

struct EngineRepair *engine_repair_new(const Plan *plan) {
        struct EngineRepair *r = calloc(1, sizeof(*r));

        if (r)
                r->places = calloc(plan->n_steps + 1, sizeof(*r->places));
        if (r && !r->places) {
                free(r);
                r = NULL;
        }
        return r;
}

void engine_repair_free(struct EngineRepair *r, const Plan *plan) {
        if (!r)
                return;
        if (r->table.partitions != plan->partitions)
                free(r->table.partitions);
        free(r->places);
        free(r);
}

static void list(char *to, size_t size, const char *what, const char *why) {
        size_t n = strlen(to);

        if (n + strlen(what) + strlen(why) + 6 < size)
                snprintf(to + n, size - n, "%s%s%s%s%s", n > 0 ? ", " : "", what, why[0] ? " (" : "", why, why[0] ? ")" : "");
}

bool engine_table_broken(const Engine *e) {
        return e->repair && e->repair->table_broken;
}

/* ---- the partition table ---------------------------------------------------------------------------------------- */

static int cannot_read(Engine *e) {
        return engine_fail(e, CLASS_PLAN, "unreadable", "this loader does not show what is in flash, so nothing can be compared; nothing was "
                                                        "written. What flashing would do instead: fdlctl plan");
}

/* The end of the device, where its first table does not tell it. */
static int find_end(Engine *e, uint64_t *ret) {
        uint64_t low = 0, high = DISK_MAX / 512;
        bool yes;
        int r = 0;

        while (r == 0 && low + 1 < high) {
                uint64_t middle = low + (high - low) / 2;

                if (engine_cancelled(e))
                        return -ECANCELED;
                r = engine_holds(e, "user_partition", middle * 512, &yes);
                if (yes)
                        low = middle;
                else
                        high = middle;
        }
        *ret = low * 512;
        return r;
}

static int to_table(GptEntry *entries, size_t n, uint32_t sector, const char *source, Table *ret) {
        *ret = (Table) {.entries = calloc(n + 1, sizeof(TableEntry)), .n = n, .unit = 1, .sector = sector, .placed = true, .source = source};
        for (size_t i = 0; ret->entries && i < n; i++) {
                memcpy(ret->entries[i].name, entries[i].name, sizeof(entries[i].name));
                ret->entries[i].start = entries[i].start;
                ret->entries[i].size = entries[i].size;
        }
        free(entries);
        return ret->entries ? 0 : -ENOMEM;
}

typedef struct Copies {
        Table first, second; /* entries NULL: not whole */
        bool shown;          /* the loader shows where they stand */
} Copies;

static void copies_clear(Copies *c) {
        table_clear(&c->first);
        table_clear(&c->second);
}

static int read_end(Engine *e, uint64_t end, uint8_t *data) {
        size_t block = bsl_session_transcoding(e->session) ? READ_BLOCK : engine_block_unescaped(e);
        int r = bsl_read_start(e->session, "user_partition", end, e->failure);

        for (size_t at = 0; r == 0 && at < GPT_HEAD_SIZE; at += block)
                r = bsl_read_midst(e->session, end - GPT_HEAD_SIZE + at, data + at, MIN(GPT_HEAD_SIZE - at, block), e->failure);
        return r == 0 ? bsl_read_end(e->session, e->failure) : r;
}

static int read_copies(Engine *e, Copies *ret) {
        _cleanup_free_ uint8_t *data = malloc(GPT_HEAD_SIZE);
        uint64_t size, end = 0;
        GptEntry *entries;
        uint32_t sector;
        size_t n;
        int r;

        if (!data)
                return -ENOMEM;
        r = engine_read_name(e, "user_partition", data, GPT_HEAD_SIZE);
        if (r == 1 && e->failure->class == CLASS_REFUSED && !bsl_session_tainted(e->session)) {
                bool unknown = e->failure->reply == BSL_REP_UNSUPPORTED_COMMAND;

                engine_forget(e);
                return unknown ? cannot_read(e) : 0;
        }
        if (r != 0)
                return r;
        ret->shown = true;
        r = gpt_parse(data, GPT_HEAD_SIZE, &entries, &n, &sector, &size);
        if (r == 0) {
                end = gpt_end(data, GPT_HEAD_SIZE, sector);
                r = to_table(entries, n, sector, "the first copy of the GPT", &ret->first);
        }
        if (r == 0 || r == -EBADMSG)
                r = end > 0 ? 0 : find_end(e, &end);
        if (r != 0 || end < 2 * GPT_HEAD_SIZE)
                return r;
        r = read_end(e, end, data);
        if (r == 1 && e->failure->class == CLASS_REFUSED && !bsl_session_tainted(e->session)) {
                engine_forget(e);
                return 0;
        }
        if (r == 0)
                r = gpt_parse_copy(data, end, &entries, &n, &sector);
        if (r == 0)
                r = to_table(entries, n, sector, "the second copy of the GPT", &ret->second);
        return r == -EBADMSG ? 0 : r;
}

static bool same_tables(const Table *a, const Table *b) {
        if (a->n != b->n || a->sector != b->sector)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (!streq(a->entries[i].name, b->entries[i].name) || a->entries[i].start != b->entries[i].start ||
                    a->entries[i].size != b->entries[i].size)
                        return false;
        return true;
}

/* The list that makes exactly this table again. */
static int list_of(Engine *e, const Table *t) {
        Plan *plan = &e->repair->table;
        uint64_t at = 0;

        plan->partitions = calloc(t->n + 1, sizeof(PacPartition));
        if (!plan->partitions)
                return -ENOMEM;
        plan->partition_unit = UNIT_BYTES;
        plan->n_partitions = t->n;
        for (size_t i = 0; i < t->n; i++) {
                PacPartition *p = plan->partitions + i;

                memcpy(p->name, t->entries[i].name, sizeof(p->name));
                p->size = t->entries[i].size;
                p->gap = (int64_t) (t->entries[i].start - at);
                at = t->entries[i].start + t->entries[i].size;
        }
        return 0;
}

/* The source's own list. Old loaders take nothing else. */
static void list_of_source(Engine *e) {
        Plan *plan = &e->repair->table;

        plan->partitions = e->plan->partitions;
        plan->n_partitions = e->plan->n_partitions;
        plan->partition_unit = e->plan->partition_unit;
}

/* Where nothing moves. */
static bool all_survive(const Table *have, const Table *want) {
        for (size_t i = 0; i < have->n; i++)
                if (!table_is_outside(have->entries[i].name) && !table_survives(have, want, have->entries[i].name))
                        return false;
        return true;
}

static int other_table(Engine *e, const Differences *d) {
        char more[32];

        return engine_fail(e, CLASS_MISMATCH, "table",
                           "the unit's partition table is whole, but another one than the source's: %.130s%s. That is no damage; nothing was "
                           "written. To give it the source's: fdlctl repartition",
                           d->text, differences_more(d, more));
}

static int table_is_broken(Engine *e, const char *why) {
        e->repair->table_broken = true;
        snprintf(e->repair->table_why, sizeof(e->repair->table_why), "%s", why);
        list(e->repair->found, sizeof(e->repair->found), "partition table", why);
        return 0;
}

static int no_places(Engine *e, const char *why) {
        return engine_fail(e, CLASS_PLAN, "no-places", "the partition table is damaged (%s), and the source does not tell where the partitions "
                                                       "begin; nothing was written", why);
}

/* One copy is whole and agrees with the source: it says where everything is. */
static int from_copy(Engine *e, const Copies *c, const Table *known, const Table *want) {
        const char *why = !c->first.entries ? "the first copy is damaged" : !c->second.entries ? "the second copy is damaged" : "its two copies differ";

        if (all_survive(known, want))
                list_of_source(e);
        else if (e->plan->partition_unit >= 0 || known->n == 0) {
                int r = list_of(e, known);

                if (r < 0)
                        return r;
        } else
                return no_places(e, why);
        return table_is_broken(e, why);
}

static int judge_table(Engine *e, const Copies *c) {
        const Table *known = c->first.entries ? &c->first : c->second.entries ? &c->second : e->live.n > 0 && !c->shown ? &e->live : NULL;
        _cleanup_(table_clear) Table want = {};
        Differences d = {};
        int r = table_from_plan(e->plan, known ? known->sector : e->live.sector, &want);

        if (r < 0)
                return r;
        if (!known && e->plan->unplaced)
                return no_places(e, "no copy of it is whole");
        if (!known) {
                list_of_source(e);
                return table_is_broken(e, "no copy of it is whole");
        }
        table_compare(&want, known, false, &d);
        if (d.n == 0 && c->shown && (!c->first.entries || !c->second.entries || !same_tables(&c->first, &c->second)))
                return from_copy(e, c, known, &want);
        if (d.n == 0)
                return 0;
        if (e->plan->unplaced || !all_survive(known, &want))
                return other_table(e, &d);
        list_of_source(e);
        return table_is_broken(e, "it lacks partitions");
}

static bool is_nand(const Engine *e) {
        return e->plan->nand_loader || (e->info.present && e->info.storage == BSL_STORAGE_NAND);
}

int engine_examine_table(Engine *e) {
        _cleanup_(copies_clear) Copies copies = {};
        int r;

        if (is_nand(e))
                return 0;
        r = read_copies(e, &copies);
        if (r != 0)
                return r;
        if (!copies.shown && e->live.n == 0) {
                engine_fact(e, "note", "the partition table was not compared: this loader does not show it");
                return 0;
        }
        e->repair->examined_table = true;
        e->repair->n_looked++;
        return judge_table(e, &copies);
}

static int prove_table(Engine *e) {
        _cleanup_(copies_clear) Copies copies = {};
        _cleanup_(table_clear) Table want = {};
        Differences d = {};
        int r = read_copies(e, &copies);

        if (r != 0)
                return r;
        if (!copies.shown) {
                engine_fact(e, "note", "the partition table was acknowledged; this loader does not show it");
                return 0;
        }
        r = table_from_plan(&e->repair->table, copies.first.sector, &want);
        if (r < 0)
                return r;
        if (copies.first.entries)
                table_compare(&want, &copies.first, true, &d);
        if (!copies.first.entries || !copies.second.entries || d.n > 0)
                e->failure->stage = STAGE_VERIFY;
        if (!copies.first.entries || !copies.second.entries || d.n > 0)
                return engine_fail(e, CLASS_MISMATCH, "read-back", "the partition table was written, but %s%.120s",
                                   !copies.first.entries    ? "its first copy is still damaged"
                                   : !copies.second.entries ? "its second copy is still damaged"
                                                            : "reads back differently: ",
                                   d.text);
        table_clear(&e->live);
        e->live = copies.first;
        copies.first = (Table) {};
        return 0;
}

int engine_repair_table(Engine *e) {
        _cleanup_free_ void *payload = NULL;
        size_t size = 0;
        int r;

        if (!e->repair->table_broken)
                return 0;
        r = table_payload(&e->repair->table, &payload, &size);
        if (r == -EINVAL)
                return engine_fail(e, CLASS_PLAN, "table", "the partition table cannot be sent to this loader; nothing was written");
        if (r == 0)
                r = engine_store_table(e);
        if (r == 0)
                r = engine_intent(e);
        if (r == 0)
                r = engine_send_table(e, payload, size);
        if (r == 0)
                r = prove_table(e);
        if (r == 0)
                list(e->repair->mended, sizeof(e->repair->mended), "partition table", "");
        return r;
}

/* ---- images and loaders ------------------------------------------------------------------------------------------ */

static const uint8_t *source_of(const Engine *e, const PlanStep *s) {
        return e->input->package + s->offset;
}

static ImageKind kind_of_source(const Engine *e, const PlanStep *s) {
        return image_kind(source_of(e, s), (size_t) MIN(s->size, (uint64_t) IMAGE_HEAD), s->size);
}

static bool has_header(ImageKind kind) {
        return kind == IMAGE_DHTB || kind == IMAGE_BOOT || kind == IMAGE_VENDOR_BOOT || kind == IMAGE_VBMETA || kind == IMAGE_DTBO;
}

static PlanStep look_at(const PlanStep *s, const Copy *c, uint64_t size) {
        PlanStep t = *s;

        t.op = PLAN_VERIFY;
        t.size = MIN(s->size, size);
        t.sample = 0;
        t.block = READ_BLOCK;
        memcpy(t.partition, c->name, sizeof(t.partition) - 1);
        return t;
}

/* Reads the beginning of a copy; false with r == 0: not shown. */
static int read_head(Engine *e, const PlanStep *s, const Copy *c, uint64_t at, uint8_t *data, size_t size, bool *ret) {
        PlanStep t = look_at(s, c, size);
        int r = t.partition[0] ? bsl_read_start(e->session, t.partition, at + size, e->failure) : 0;

        *ret = false;
        for (size_t done = 0; r == 0 && done < size; done += READ_BLOCK)
                r = engine_read_part(e, &t, at + done, data + done, MIN(size - done, (size_t) READ_BLOCK));
        if (r == 0 && t.partition[0])
                r = bsl_read_end(e->session, e->failure);
        if (r == 1 && e->failure->class == CLASS_REFUSED && !bsl_session_tainted(e->session)) {
                engine_forget(e);
                return 0;
        }
        *ret = r == 0;
        return r;
}

static bool is_blank(const uint8_t *p, size_t n) {
        size_t zero = 0, one = 0;

        for (size_t i = 0; i < n; i++) {
                zero += p[i] == 0;
                one += p[i] == 0xff;
        }
        return zero == n || one == n;
}

static bool is_spl(const Engine *e, const char *name) {
        return !is_nand(e) && strncmp(name, "splloader", 9) == 0;
}

/* Something of the source's kind stands there, or at least something. */
static int looks_right(Engine *e, const PlanStep *s, const Copy *c, bool *ret) {
        size_t size = (size_t) MIN(s->size, (uint64_t) HEAD);
        uint64_t at = is_spl(e, c->name) && s->size > SPL_BLOCK ? SPL_BLOCK : 0;
        ImageKind want = kind_of_source(e, s), have;
        bool shown;
        int r;

        size = (size_t) MIN(size, s->size - at);
        r = read_head(e, s, c, at, e->block, size, &shown);
        if (r != 0)
                return r;
        have = image_kind(e->block, size, s->size);
        *ret = shown && (at == 0 && has_header(want) ? has_header(have) && (want == have || want == IMAGE_DHTB || have == IMAGE_DHTB)
                                                     : !is_blank(e->block, size));
        return 0;
}

/* What the loader itself puts before the first boot stage: without it the ROM starts nothing. */
static int spl_block(Engine *e, const PlanStep *s, Copy *c) {
        uint8_t block[SPL_BLOCK];
        bool shown;
        int r = read_head(e, s, c, 0, block, sizeof(block), &shown);

        if (r == 0 && shown && is_blank(block, sizeof(block))) {
                c->state = STATE_BROKEN;
                snprintf(c->why, sizeof(c->why), "the block before it is empty");
        }
        return r;
}

static int look(Engine *e, const PlanStep *s, Copy *c, uint64_t size, EngineDifference *d) {
        PlanStep t = look_at(s, c, size);
        int r = engine_compare(e, &t, d);

        if (r != 0)
                return r;
        if (!d->shown && d->reply == BSL_REP_UNSUPPORTED_COMMAND)
                return cannot_read(e);
        if (!d->shown)
                c->state = STATE_UNSHOWN;
        else
                c->state = d->n_differ == 0 ? STATE_SAME : STATE_OTHER;
        return 0;
}

static int examine_copy(Engine *e, const PlanStep *s, const Place *p, Copy *c) {
        EngineDifference d;
        bool right = false;
        int r = look(e, s, c, p->is_loader ? s->size : HEAD, &d);

        if (p->hint)
                return r;
        if (r == 0 && c->state == STATE_OTHER && !p->is_loader && s->size > HEAD)
                r = look(e, s, c, s->size, &d);
        if (r != 0 || (c->state != STATE_OTHER && c->state != STATE_SAME))
                return r;
        if (c->state == STATE_SAME)
                return is_spl(e, c->name) ? spl_block(e, s, c) : 0;
        r = looks_right(e, s, c, &right);
        if (r != 0)
                return r;
        if (!p->is_loader && d.n_differ == 1 && d.first < HEAD) {
                c->state = STATE_BROKEN;
                snprintf(c->why, sizeof(c->why), "its header differs at byte %llu, its data do not", (unsigned long long) d.first);
        } else if (!right) {
                c->state = STATE_BROKEN;
                snprintf(c->why, sizeof(c->why), "it has no header");
        } else
                snprintf(c->why, sizeof(c->why), "differs from byte %llu on, in %llu of %llu blocks", (unsigned long long) d.first,
                         (unsigned long long) d.n_differ, (unsigned long long) d.n_blocks);
        if (p->is_loader && c->state == STATE_BROKEN && !has_header(kind_of_source(e, s)))
                snprintf(c->why, sizeof(c->why), "it is empty");
        return 0;
}

/* ---- second copies ------------------------------------------------------------------------------------------------ */

static bool in_live(const Engine *e, const char *name) {
        return e->live.entries && table_find(&e->live, name);
}

static bool has_step(const Engine *e, const char *name) {
        for (size_t i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_REPAIR && streq(e->plan->steps[i].partition, name))
                        return true;
        return false;
}

/* Loaders write these twice (bsl-protocol §9.1, §9.3). */
static bool is_mirrored(const char *name, size_t n) {
        static const char *const names[] = {"uboot", "trustos", "teecfg", "sml", "vbmeta"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strlen(names[i]) == n && strncmp(names[i], name, n) == 0)
                        return true;
        return false;
}

static void find_second(const Engine *e, const char *name, char ret[static 40]) {
        size_t n = strlen(name);

        ret[0] = '\0';
        if (streq(name, "splloader")) {
                /* The second boot area holds the next stage where no partition does. */
                if (!is_nand(e) && (in_live(e, "uboot") || in_live(e, "uboot_a")))
                        strcpy(ret, "splloader_bak");
        } else if (n > 2 && streq(name + n - 2, "_a") && is_mirrored(name, n - 2))
                snprintf(ret, 40, "%.*s_b", (int) MIN(n - 2, (size_t) 36), name);
        else if (is_mirrored(name, n))
                snprintf(ret, 40, "%.35s_bak", name);
        if (ret[0] && (has_step(e, ret) || (!streq(ret, "splloader_bak") && !in_live(e, ret))))
                ret[0] = '\0';
}

static int read_copy(Engine *e, const PlanStep *s, const Copy *c, uint8_t **ret) {
        bool shown;
        int r;

        *ret = malloc(s->size);
        if (!*ret)
                return -ENOMEM;
        r = read_head(e, s, c, 0, *ret, s->size, &shown);
        if (r != 0 || !shown) {
                free(*ret);
                *ret = NULL;
        }
        return r;
}

/* The same twice is no accident. */
static int compare_copies(Engine *e, const PlanStep *s, Place *p) {
        _cleanup_free_ uint8_t *a = NULL, *b = NULL;
        int r;

        if (s->size > LOADER_MAX)
                return 0;
        r = read_copy(e, s, p->copy, &a);
        if (r == 0)
                r = read_copy(e, s, p->copy + 1, &b);
        p->alike = r == 0 && a && b && memcmp(a, b, s->size) == 0;
        return r;
}

static int compare_spl_blocks(Engine *e, const PlanStep *s, Place *p) {
        uint8_t a[SPL_BLOCK], b[SPL_BLOCK];
        bool shown_a = false, shown_b = false;
        int r = read_head(e, s, p->copy, 0, a, sizeof(a), &shown_a);

        if (r == 0)
                r = read_head(e, s, p->copy + 1, 0, b, sizeof(b), &shown_b);
        if (r == 0 && shown_a && shown_b && memcmp(a, b, sizeof(a)) != 0) {
                p->copy[0].state = STATE_BROKEN;
                snprintf(p->copy[0].why, sizeof(p->copy[0].why), "the block before it is not that of its second copy");
        }
        return r;
}

static int examine_place(Engine *e, unsigned i) {
        const PlanStep *s = e->plan->steps + i;
        Place *p = e->repair->places + i;
        int r = 0;

        p->is_loader = s->partition[0] ? partition_is_loader(s->partition) : s->boot_chain;
        p->hint = !p->is_loader && !has_header(kind_of_source(e, s));
        /* File systems change by themselves. */
        if (p->hint && kind_of_source(e, s) != IMAGE_UNKNOWN)
                return 0;
        memcpy(p->copy[0].name, s->partition, sizeof(s->partition));
        if (p->is_loader || (!p->hint && is_mirrored(s->partition, strcspn(s->partition, "_"))))
                find_second(e, s->partition, p->copy[1].name);
        r = examine_copy(e, s, p, p->copy);
        if (r == 0 && p->copy[1].name[0])
                r = examine_copy(e, s, p, p->copy + 1);
        if (r != 0 || !p->copy[1].name[0])
                return r;
        if (p->copy[0].state == STATE_OTHER && p->copy[1].state == STATE_OTHER)
                r = compare_copies(e, s, p);
        else if (is_spl(e, s->partition) && p->copy[0].state == STATE_SAME && p->copy[1].state == STATE_SAME)
                r = compare_spl_blocks(e, s, p);
        return r;
}

static void count_place(Engine *e, const Place *p) {
        bool same = p->copy[0].state == STATE_SAME || p->copy[1].state == STATE_SAME;
        bool other = p->copy[0].state == STATE_OTHER || p->copy[1].state == STATE_OTHER;

        for (unsigned k = 0; k < 2; k++)
                e->repair->n_looked += p->copy[k].state != STATE_ABSENT && p->copy[k].state != STATE_UNSHOWN;
        e->repair->n_same += same;
        e->repair->n_other += !same && other;
}

static void judge_place(Engine *e, const PlanStep *s, Place *p) {
        struct EngineRepair *repair = e->repair;
        bool same = p->copy[0].state == STATE_SAME || p->copy[1].state == STATE_SAME;

        for (unsigned k = 0; k < 2; k++) {
                Copy *c = p->copy + k;
                const char *name = c->name[0] ? c->name : engine_subject(s);

                if (p->hint)
                        continue;
                if (c->state == STATE_UNSHOWN)
                        list(repair->left, sizeof(repair->left), name, "not shown by the loader");
                /* One of two copies that is not as the other is damaged, whatever it looks like. */
                c->mend = c->state == STATE_BROKEN || (c->state == STATE_OTHER && (same || (p->is_loader && !p->alike)));
                if (c->mend)
                        list(repair->found, sizeof(repair->found), name, c->why);
                else if (c->state == STATE_OTHER)
                        list(repair->left, sizeof(repair->left), name, p->alike ? "another version, twice the same" : "another image, its header is whole");
        }
}

/* ---- which slot --------------------------------------------------------------------------------------------------- */

static bool has_slots(const Engine *e) {
        return in_live(e, "misc") && (in_live(e, "boot_a") || in_live(e, "uboot_a"));
}

/* What belongs there: the source's, or the unit's own as far as it still makes sense. */
static void right_slots(Engine *e, const PlanStep *s, const uint8_t *have, SlotsState state) {
        const uint8_t *source = s->size >= SLOTS_AT + SLOTS_SIZE ? source_of(e, s) + SLOTS_AT : NULL;
        uint8_t *to = e->repair->slots;

        if (source && slots_check(source) <= SLOTS_GOOD) {
                memcpy(to, source, SLOTS_SIZE);
                return;
        }
        memcpy(to, have, SLOTS_SIZE);
        if (state == SLOTS_BAD_SUM)
                slots_seal(to);
        else
                slots_make(to, slots_active(have) ? slots_active(have) : 'a');
}

static int examine_slots(Engine *e, unsigned i) {
        const PlanStep *s = e->plan->steps + i;
        Copy *c = e->repair->places[i].copy;
        uint8_t have[SLOTS_SIZE];
        SlotsState state;
        bool shown;
        int r;

        if (!has_slots(e))
                return 0;
        strcpy(c->name, "misc");
        r = read_head(e, s, c, SLOTS_AT, have, sizeof(have), &shown);
        if (r != 0 || !shown)
                return r;
        e->repair->n_looked++;
        state = slots_check(have);
        c->mend = state == SLOTS_BAD || state == SLOTS_BAD_SUM;
        if (state == SLOTS_EMPTY && s->size >= SLOTS_AT + SLOTS_SIZE && slots_check(source_of(e, s) + SLOTS_AT) == SLOTS_GOOD)
                c->mend = true;
        if (!c->mend)
                return 0;
        right_slots(e, s, have, state);
        list(e->repair->found, sizeof(e->repair->found), "misc",
             state == SLOTS_EMPTY     ? "the block that chooses the slot is empty"
             : state == SLOTS_BAD_SUM ? "the sum of the block that chooses the slot is wrong"
                                      : "the block that chooses the slot is damaged");
        return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */

static int examine_all(Engine *e) {
        int r = 0;

        for (unsigned i = 0; r == 0 && i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if (s->op != PLAN_REPAIR || engine_skips(e, s))
                        continue;
                r = streq(s->partition, "misc") ? examine_slots(e, i) : s->size > 0 ? examine_place(e, i) : 0;
                if (r == 1 && !e->failure->partition[0])
                        snprintf(e->failure->partition, sizeof(e->failure->partition), "%.39s", engine_subject(s));
                if (r == 0)
                        count_place(e, e->repair->places + i);
        }
        return r;
}

static int tell(Engine *e) {
        struct EngineRepair *repair = e->repair;

        if (repair->left[0])
                engine_fact(e, "note", "left as it is: %s", repair->left);
        if (repair->found[0]) {
                engine_fact(e, "repair-found", "%s", repair->found);
                engine_fact(e, "note", "broken: %s", repair->found);
        } else {
                engine_fact(e, "repair-found", "nothing");
                engine_fact(e, "note", "nothing is broken: %u places were compared with the source, nothing was written", repair->n_looked);
        }
        return 0;
}

int engine_examine(Engine *e) {
        int r;

        if (e->read_unknown.class != CLASS_NONE)
                return cannot_read(e);
        r = examine_all(e);
        if (r != 0)
                return r;
        e->offset = U64_UNKNOWN;
        if (e->repair->n_looked == 0)
                return cannot_read(e);
        if (e->repair->n_other > e->repair->n_same)
                return engine_fail(e, CLASS_MISMATCH, "source",
                                   "of %u places that hold something, %u are not the source's: it is of another version than the firmware on this "
                                   "unit, and what is damaged cannot be told; %s",
                                   e->repair->n_other + e->repair->n_same, e->repair->n_other,
                                   e->report->wrote ? "only the partition table was mended" : "nothing was written");
        for (unsigned i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_REPAIR && !streq(e->plan->steps[i].partition, "misc"))
                        judge_place(e, e->plan->steps + i, e->repair->places + i);
        return tell(e);
}

/* ---- mending ------------------------------------------------------------------------------------------------------ */

static int not_mended(Engine *e, const char *name, const EngineDifference *d) {
        e->offset = d->first;
        e->failure->stage = STAGE_VERIFY;
        return engine_fail(e, CLASS_MISMATCH, "read-back", "%s was mended, but reads back differently: first at byte %llu, in %llu of %llu blocks", name,
                           (unsigned long long) d->first, (unsigned long long) d->n_differ, (unsigned long long) d->n_blocks);
}

static int prove_copy(Engine *e, const PlanStep *s, Copy *c) {
        EngineDifference d = {};
        int r;

        if (c->state == STATE_ABSENT || c->state == STATE_UNSHOWN)
                return 0;
        r = look(e, s, c, s->size, &d);
        if (r == 0 && c->state == STATE_SAME && is_spl(e, c->name))
                r = spl_block(e, s, c);
        return r == 0 && c->state != STATE_SAME ? not_mended(e, c->name[0] ? c->name : engine_subject(s), &d) : r;
}

static int write_second(Engine *e, const PlanStep *s, const Copy *c) {
        _cleanup_free_ uint8_t *data = malloc(s->size);
        int r;

        if (!data)
                return -ENOMEM;
        r = engine_copy(e, s->offset, data, s->size);
        return r == 0 ? engine_write_name(e, c->name, data, s->size, false) : r;
}

static int mend_place(Engine *e, const PlanStep *s, Place *p) {
        /* The block of the first boot stage is made by the loader, for both copies, when the first is written. */
        bool first = p->copy[0].mend || is_spl(e, s->partition);
        int r = engine_intent(e);

        if (r == 0)
                r = first ? engine_write(e) : write_second(e, s, p->copy + 1);
        if (r == 0)
                r = prove_copy(e, s, p->copy);
        if (r == 0)
                r = prove_copy(e, s, p->copy + 1);
        if (r == 0 && p->copy[1].mend && p->copy[1].state != STATE_SAME)
                r = engine_fail(e, CLASS_MISMATCH, "read-back", "%s was mended, but is still broken", p->copy[1].name);
        for (unsigned k = 0; r == 0 && k < 2; k++)
                if (p->copy[k].mend)
                        list(e->repair->mended, sizeof(e->repair->mended), p->copy[k].name[0] ? p->copy[k].name : engine_subject(s), "");
        return r;
}

/* The protocol writes whole partitions only: the rest of misc goes back as it was read. */
static int mend_slots(Engine *e) {
        const TableEntry *t = table_find(&e->live, "misc");
        _cleanup_free_ uint8_t *data = NULL, *back = NULL;
        size_t size = t && t->size <= MISC_MAX ? (size_t) t->size : 0;
        int r;

        if (size < SLOTS_AT + SLOTS_SIZE)
                return engine_fail(e, CLASS_PLAN, "size", "misc has %zu bytes, which cannot be mended; nothing was written to it", size);
        data = malloc(size);
        back = malloc(size);
        if (!data || !back)
                return -ENOMEM;
        r = engine_read_name(e, "misc", data, size);
        if (r == 0)
                r = engine_read_name(e, "misc", back, size);
        if (r == 0 && memcmp(data, back, size) != 0)
                r = engine_fail(e, CLASS_MISMATCH, "backup", "misc was read twice and the two readings differ, so it was not written");
        if (r == 0)
                r = engine_intent(e);
        if (r != 0)
                return r;
        memcpy(data + SLOTS_AT, e->repair->slots, SLOTS_SIZE);
        r = engine_write_name(e, "misc", data, size, false);
        if (r == 0)
                r = engine_read_name(e, "misc", back, size);
        if (r == 0 && memcmp(data, back, size) != 0)
                e->failure->stage = STAGE_VERIFY;
        if (r == 0 && memcmp(data, back, size) != 0)
                r = engine_fail(e, CLASS_MISMATCH, "read-back", "misc was mended, but reads back differently");
        if (r == 0)
                list(e->repair->mended, sizeof(e->repair->mended), "misc", "");
        return r;
}

static bool is_last(const Engine *e) {
        for (size_t i = e->step + 1; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_REPAIR)
                        return false;
        return true;
}

int engine_repair(Engine *e) {
        const PlanStep *s = engine_step(e);
        Place *p = e->repair->places + e->step;
        int r = 0;

        if (p->copy[0].mend || p->copy[1].mend)
                r = streq(s->partition, "misc") ? mend_slots(e) : mend_place(e, s, p);
        if (r == 0 && is_last(e) && e->repair->mended[0]) {
                engine_fact(e, "repair-mended", "%s", e->repair->mended);
                engine_fact(e, "note", "mended and read back: %s", e->repair->mended);
                engine_fact(e, "verify", "full");
        }
        return r;
}
