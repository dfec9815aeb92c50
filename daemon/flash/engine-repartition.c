/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "firmware/image.h"
#include "firmware/nv.h"

/* A new partition table as a transaction. Before it: the old table and all that is the unit's own are on disk, read twice. Then the
 * first boot stage is erased (the unit cannot start half made, and its ROM goes into download mode), the table sent, read back and
 * compared, and what moved is put back before anything else is done. Whoever finds the unit after a crash in between gets what was saved
 * from engine_recall(), by the unit's chip UID, and puts it back. */

static bool is_nv_name(const char *name) {
        return strstr(name, "fixnv") != NULL;
}

/* Places that hold what only this unit has. */
static bool is_own(const char *name) {
        return is_nv_name(name) || partition_belongs_to(name, "prodnv") || partition_belongs_to(name, "miscdata") || partition_belongs_to(name, "calinv");
}

const EngineSaved *engine_find_saved(const Engine *e, const char *name) {
        for (size_t i = 0; i < e->n_saved; i++)
                if (streq(e->saved[i].name, name))
                        return e->saved + i;
        return NULL;
}

bool engine_puts_back(const Engine *e, unsigned step) {
        const PlanStep *s = e->plan->steps + step;

        return s->op == PLAN_BACKUP && s->partition[0] && e->plan->options.mode != FLASH_MODE_FACTORY &&
               (e->table_differs || e->n_saved > 0);
}

static bool plan_changes_flash(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].destructive)
                        return true;
        return false;
}

int engine_recall(Engine *e) {
        int r;

        if (!e->hooks->recall || !plan_changes_flash(e->plan))
                return 0;
        r = e->hooks->recall(e->hooks->userdata, e->unit, &e->saved, &e->n_saved);
        if (r == -ECANCELED)
                return r;
        if (r == -EKEYREJECTED)
                return engine_fail(e, CLASS_PLAN, "unfinished",
                                   "a job on this socket began to change the partition table of a unit that shows no identity, and did "
                                   "not finish. If this is that unit, retry that job (fdlctl retry): it puts back what it has saved. "
                                   "Nothing was changed");
        if (r < 0) {
                e->text_complete = true;
                return failure_set_errno(e->failure, r,
                                         "whether an earlier change of this unit's partition table is unfinished could not be "
                                         "looked up (%s); nothing was changed",
                                         strerror(-r));
        }
        if (e->n_saved == 0)
                return 0;
        engine_fact(e, "note",
                    "job %llu began to change the partition table of this unit and did not finish: what it had saved is put back",
                    (unsigned long long) e->saved[0].job);
        return 0;
}

/* ---- before ---------------------------------------------------------------------------------------------------- */

/* "l_fixnv2" and "nr_fixnv1_b" are kept with the first copy: the loader writes all of them. */
static bool same_nv(const char *a, const char *b) {
        const char *x = strstr(a, "fixnv"), *y = strstr(b, "fixnv");

        return x && y && x - a == y - b && strncmp(a, b, (size_t) (x - a)) == 0;
}

static bool is_kept(const Engine *e, const char *name) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if (s->op == PLAN_BACKUP && (e->images[i].data || e->images[i].stored) &&
                    (streq(s->partition, name) || same_nv(s->partition, name)))
                        return true;
        }
        return engine_find_saved(e, name) != NULL;
}

static int check_kept(Engine *e, const Table *want) {
        for (size_t i = 0; i < e->live.n; i++) {
                const char *name = e->live.entries[i].name;

                if (!is_own(name) || table_survives(&e->live, want, name) || is_kept(e, name))
                        continue;
                return engine_fail(e, CLASS_MISMATCH, "unsaved",
                                   "%s holds data of this unit alone, the new partition table would destroy it, and it could not be "
                                   "read and stored before; nothing was changed",
                                   name);
        }
        return 0;
}

/* How much of what was read has to come back into a place of `room` bytes: a larger one was blank at its end, or there is no room. */
static size_t needed(const uint8_t *data, size_t size, uint64_t room) {
        size_t at = size;

        if (room >= size || room == 0 || (data[size - 1] != 0 && data[size - 1] != 0xff))
                return size;
        while (at > room && data[at - 1] == data[size - 1])
                at--;
        return at == room ? at : size;
}

/* What comes back must have its place, and fit. */
static int check_places(Engine *e, const Table *want) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;
                const TableEntry *t;
                size_t size;

                if (!engine_puts_back(e, (unsigned) i) || !e->images[i].data)
                        continue;
                size = e->images[i].size;
                if (is_nv_name(s->partition))
                        (void) nv_length(e->images[i].data, size, &size);
                t = table_find(want, s->partition);
                if (!t || (t->size != U64_UNKNOWN && t->size < needed(e->images[i].data, size, t->size)))
                        return engine_fail(e, CLASS_MISMATCH, "no-place",
                                           "the new partition table has no room for %s (%zu bytes), which holds data of this unit "
                                           "alone; nothing was changed",
                                           s->partition, size);
        }
        return 0;
}

static bool is_written(const Engine *e, const char *name) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if ((s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV) && streq(s->partition, name))
                        return true;
        }
        return false;
}

/* For people: what is gone afterwards and comes back from nowhere. */
static void tell_lost(Engine *e, const Table *want) {
        char text[400] = "";
        size_t at = 0;

        for (size_t i = 0; i < e->live.n && at < sizeof(text); i++) {
                const char *name = e->live.entries[i].name;

                if (table_is_outside(name) || table_survives(&e->live, want, name) || is_written(e, name) || is_kept(e, name))
                        continue;
                at += (size_t) snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "", name);
        }
        if (at > 0)
                engine_fact(e, "table-lost", "%s", text);
        engine_fact(e, "note", "partition table changed: %.110s%s%.110s", e->differences, at ? ". Lost with it: " : "", text);
}

int engine_store_table(Engine *e) {
        char *text;
        int r;

        if (!e->hooks->backup || !e->live.entries)
                return 0;
        text = table_to_text(&e->live);
        if (!text)
                return -ENOMEM;
        r = e->hooks->backup(e->hooks->userdata, e->step, "partition-table", text, strlen(text));
        if (r >= 0 || r == -ECANCELED)
                return MIN(r, 0);
        e->text_complete = true;
        return failure_set_errno(e->failure, r, "the old partition table could not be stored on disk (%s); it was not changed",
                                 strerror(-r));
}

/* ---- the change ------------------------------------------------------------------------------------------------ */

bool engine_will_erase_all(const Engine *e) {
        for (size_t i = 0; i < e->plan->n_steps && !e->erased_all; i++)
                if (plan_erases_all(e->plan->steps + i))
                        return true;
        return false;
}

/* In factory mode a unit's own data that its loader does not give out any more are gone already. */
static int check_all_kept(Engine *e) {
        for (size_t i = 0; i < e->live.n; i++) {
                const char *name = e->live.entries[i].name;

                if (!is_own(name) || is_kept(e, name))
                        continue;
                if (e->plan->options.mode != FLASH_MODE_FACTORY)
                        return engine_fail(e, CLASS_MISMATCH, "unsaved",
                                           "%s holds data of this unit alone, the erase of all would destroy it, and it could not be read and stored "
                                           "before; nothing was changed",
                                           name);
                engine_fact(e, "note", "%s could not be read and is erased without a copy", name);
        }
        return 0;
}

int engine_before_erase_all(Engine *e) {
        _cleanup_(table_clear) Table want = {};
        int r = 0;

        if (engine_step(e)->partition[0]) {
                r = table_from_plan(e->plan, e->live.sector, &want);
                if (r == 0)
                        r = check_all_kept(e);
                if (r == 0 && e->plan->n_partitions > 0)
                        r = check_places(e, &want);
                if (r == 0)
                        r = engine_store_table(e);
        }
        if (r == 0)
                r = engine_prepare_all(e);
        return r == 0 ? engine_intent(e) : r;
}

/* Answers after which the table is as it was. */
static bool untouched(const Failure *f) {
        return f->class == CLASS_HOST || (f->class == CLASS_REFUSED && (f->reply == 0x96 || f->reply == 0xac || f->reply == 0xfe));
}

/* Only a boot stage that the plan writes again, as its last partition, may be missing in between. */
static int erase_spl(Engine *e) {
        for (size_t i = e->step; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if (s->op != PLAN_WRITE || !streq(s->partition, "splloader") || engine_skips(e, s))
                        continue;
                e->report->wrote = true;
                return bsl_erase_name(e->session, "splloader", 0, e->failure);
        }
        return 0;
}

int engine_send_table(Engine *e, const void *payload, size_t size) {
        bool wrote = e->report->wrote;
        int r;

        e->report->wrote = true;
        r = bsl_repartition(e->session, payload, size, e->failure);
        if (engine_wants_enable(e, r)) {
                r = engine_enable_write(e);
                if (r == 0)
                        r = bsl_repartition(e->session, payload, size, e->failure);
        }
        if (r == 1 && untouched(e->failure))
                e->report->wrote = wrote;
        return r;
}

static int send_table(Engine *e) {
        _cleanup_free_ void *payload = NULL;
        size_t size = 0;
        int r = 0;

        if (e->plan->n_partitions > 0)
                r = table_payload(e->plan, &payload, &size);
        if (r == -EINVAL)
                return engine_fail(e, CLASS_PLAN, "table", "the package's partition table cannot be sent: a first gap of less than 34 "
                                                           "sectors, or too long");
        return r < 0 ? r : engine_send_table(e, payload, size);
}

static int check_changed(Engine *e) {
        _cleanup_(table_clear) Table now = {};
        char old[sizeof(e->differences)];
        int r;

        if (e->plan->n_partitions == 0) {
                engine_fact(e, "table", "made anew by the loader, which knows its own table");
                return 0;
        }
        memcpy(old, e->differences, sizeof(old));
        r = engine_live_table(e, &now);
        if (r == 0 && !now.entries)
                return engine_fail(e, CLASS_MISMATCH, "table", "the new partition table cannot be read back");
        if (r != 0)
                return r;
        e->table_differs = false;
        r = engine_check_table(e, &now);
        if (r == 0 && e->table_differs)
                r = engine_fail(e, CLASS_MISMATCH, "table",
                                "the device acknowledged the new partition table but has another one: %.150s", e->differences);
        memcpy(e->differences, old, sizeof(old));
        e->table_differs = true; /* as found: what follows depends on it */
        if (r == 0) {
                table_clear(&e->live);
                e->live = now;
                now = (Table) {};
                engine_fact(e, "table", "changed: %s", old);
        }
        return r;
}

/* Only with the greeting 96 a loader without a list asks for it; one that was running already does not say. */
static bool wanted(const Engine *e) {
        if (e->erased_all)
                return true;
        if (e->plan->n_partitions > 0)
                return e->table_differs;
        return engine_step(e)->force || !e->greeted || e->info.incompatible;
}

int engine_repartition(Engine *e) {
        _cleanup_(table_clear) Table want = {};
        int r;

        if (!wanted(e)) {
                engine_fact(e, "note", "the partition table is as in the package: not changed");
                return 0;
        }
        /* Once the job is over nobody knows which one to retry: only its unit can tell the next job that it is the one. */
        if (e->plan->given_table && !e->report->identity_proven)
                return engine_fail(e, CLASS_PLAN, "table", "this loader does not say which unit it is, so a change that is broken off could not be finished on "
                                   "it later; nothing was changed. Use a package with that table instead");
        r = table_from_plan(e->plan, e->live.sector, &want);
        if (r == 0 && !e->erased_all) {
                r = check_kept(e, &want);
                if (r == 0)
                        r = check_places(e, &want);
                if (r == 0)
                        r = engine_store_table(e);
        }
        if (r == 0)
                r = engine_prepare_all(e);
        if (r == 0)
                r = engine_intent(e);
        if (r != 0)
                return r;
        tell_lost(e, &want);
        r = e->erased_all ? 0 : erase_spl(e);
        if (r == 0)
                r = send_table(e);
        if (r != 0)
                return r;
        e->table_changed = true;
        return check_changed(e);
}

/* ---- after ----------------------------------------------------------------------------------------------------- */

/* Fields of miscdata that a loader clears when it was written (bsl-protocol §6.5, §9.1). */
static const struct {
        size_t at, size;
} cleared[] = {{0x2400, 8}, {0x81400, 512}};

static bool same_data(const char *name, const uint8_t *back, const uint8_t *data, size_t size) {
        size_t at = 0;

        if (!partition_belongs_to(name, "miscdata"))
                return memcmp(back, data, size) == 0;
        for (size_t i = 0; i < ELEMENTSOF(cleared) && at < size; i++) {
                size_t n = MIN(cleared[i].at, size);

                if (memcmp(back + at, data + at, n - at) != 0)
                        return false;
                for (at = n; at < MIN(size, cleared[i].at + cleared[i].size); at++)
                        if (back[at] != data[at] && back[at] != 0)
                                return false;
        }
        return memcmp(back + at, data + at, size - at) == 0;
}

/* Before it is put back, a refusal to read is an answer too: damaged calibration data are not given out. */
static int is_there(Engine *e, const char *name, const uint8_t *data, size_t size, bool before, bool *ret) {
        _cleanup_free_ uint8_t *back = malloc(size);
        int r;

        *ret = false;
        if (!back)
                return -ENOMEM;
        r = engine_read_name(e, name, back, size);
        if (before && r == 1 && e->failure->class == CLASS_REFUSED && !bsl_session_tainted(e->session)) {
                engine_forget(e);
                return 0;
        }
        if (r == 0)
                *ret = same_data(name, back, data, size);
        return r;
}

static int put_back(Engine *e, const char *name, uint8_t *data, size_t size, bool nv) {
        bool there;
        size_t n;
        int r;

        r = is_there(e, name, data, size, true, &there);
        if (r != 0 || there)
                return r;
        r = engine_prepare_all(e);
        if (r == 0)
                r = engine_intent(e);
        if (r == 0)
                r = engine_write_name(e, name, data, size, nv);
        if (r == 0)
                r = is_there(e, name, data, size, false, &there);
        if (r != 0)
                return r;
        if (!there)
                return engine_fail(e, CLASS_MISMATCH, "restore",
                                   "%s was put back and reads back differently; its data are stored", name);
        engine_fact(e, "put-back", "%s", name);
        n = strlen(e->put_back);
        snprintf(e->put_back + n, sizeof(e->put_back) - n, "%s%s", n > 0 ? ", " : "", name);
        return 0;
}

/* An image as it was read goes on to the end of its partition: only what the items reach over is NV. */
static int put_back_area(Engine *e, const char *name, uint8_t *data, size_t size) {
        const TableEntry *t = e->live.entries ? table_find(&e->live, name) : NULL;
        bool nv = is_nv_name(name);
        size_t length = size > 0 && t ? needed(data, size, t->size) : size;

        if (nv && !nv_length(data, size, &length)) {
                engine_fact(e, "note", "%s: what was saved of it is no NV image and was not put back; it is stored", name);
                return 0;
        }
        snprintf(e->failure->partition, sizeof(e->failure->partition), "%s", name);
        return put_back(e, name, data, length, nv);
}

static bool step_covers(const Engine *e, const char *name) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;

                if ((s->op == PLAN_BACKUP || s->op == PLAN_WRITE_NV || s->op == PLAN_WRITE) && streq(s->partition, name))
                        return true;
        }
        return false;
}

static int put_back_saved(Engine *e) {
        for (size_t i = 0; i < e->n_saved; i++) {
                EngineSaved *s = e->saved + i;
                int r;

                if (step_covers(e, s->name) || streq(s->name, "partition-table"))
                        continue;
                if (e->live.entries && !table_find(&e->live, s->name)) {
                        engine_fact(e, "note", "%s was saved before the table was changed and has no place now; it is stored", s->name);
                        continue;
                }
                r = put_back_area(e, s->name, s->data, s->size);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int put_back_all(Engine *e) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                int r;

                if (!engine_puts_back(e, (unsigned) i) || !e->images[i].data)
                        continue;
                r = put_back_area(e, e->plan->steps[i].partition, e->images[i].data, e->images[i].size);
                if (r != 0)
                        return r;
        }
        return put_back_saved(e);
}

int engine_restore(Engine *e) {
        int r;

        if (e->restored || e->plan->options.mode == FLASH_MODE_FACTORY || (!e->table_changed && e->n_saved == 0))
                return 0;
        e->restored = true;
        r = put_back_all(e);
        if (e->put_back[0])
                engine_fact(e, "note", "put back, as the unit's own: %s", e->put_back);
        return r;
}

int engine_restore_first(Engine *e) {
        Stage stage = e->stage;
        int r;

        if (e->n_saved == 0 || e->restored || e->table_differs)
                return 0;
        engine_enter_stage(e, STAGE_RESTORE);
        r = engine_restore(e);
        if (r == 0)
                engine_enter_stage(e, stage);
        return r;
}
