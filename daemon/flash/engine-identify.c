/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"
#include "common/hex.h"
#include "firmware/nv.h"
#include "flash/family.h"

#include <stdio.h>

/* What the last loader says about itself and its device, before anything is decided. */

static bool addressed_by_name(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].partition[0])
                        return true;
        return false;
}

/* A loader that was running before us has told its abilities to somebody else. Asking it to drop escaping is the one
 * safe question: yes, or no, and it may be dropped already. */
static int settle_escaping(Engine *e) {
        int r;

        /* One that has refused it before, to an earlier job of ours, would lose another buffer. */
        if (e->info.present ? !e->info.disable_transcode : e->old || !addressed_by_name(e->plan))
                return 0;
        if (!engine_may_ask(e, Q_DISABLE_TRANSCODE)) {
                e->old = !e->info.present;
                return 0;
        }
        r = bsl_disable_transcode(e->session, e->failure);
        if (!engine_did_not_know(e, Q_DISABLE_TRANSCODE, r))
                return r;
        engine_forget(e);
        e->old = !e->info.present;
        if (e->info.present)
                engine_fact(e, "note", "the loader offers to do without escaping and does not know how: written with it");
        return 0;
}

/* Chosen steps are looked up in it; a job without steps asks for it alone. Modules and feature phones have none. */
static bool wants_table(const Plan *plan) {
        if (plan->chosen)
                return family_has_names(plan->family);
        return plan->n_partitions > 0 && addressed_by_name(plan);
}

static int read_table(Engine *e, bool *ret_modern) {
        int r;

        *ret_modern = false;
        if (!wants_table(e->plan))
                return 0;
        r = engine_live_table(e, &e->live);
        *ret_modern = r == 0 && e->knows_table;
        return r;
}

static const char *storage_word(const Engine *e);

static bool changes_flash(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].destructive)
                        return true;
        return false;
}

/* Loaders that nobody named may belong to another model that was here before. */
static int check_picked(Engine *e, const Table *live) {
        const char *word = storage_word(e), *wanted = e->plan->storage;

        if (!e->plan->picked || !changes_flash(e->plan))
                return 0;
        if (word[0] && wanted[0] && !streq(word, wanted))
                return engine_fail(e, CLASS_MISMATCH, "loaders",
                                   "nobody named the loaders, and the package that they were taken from is for units with %s, while this one has %s; nothing "
                                   "was written", wanted, word);
        return engine_check_picked(e, live);
}

static int check_table(Engine *e) {
        const Table *live = e->live.entries ? &e->live : NULL;
        int r = check_picked(e, live);

        if (r != 0)
                return r;
        r = e->plan->chosen ? engine_resolve(e, live) : live ? engine_check_table(e, live) : 0;
        e->table_differs = e->table_differs || (engine_will_erase_all(e) && e->plan->options.repartition);

        return r == 0 ? engine_check_sparse(e, e->table_differs ? NULL : live) : r;
}

/* Each refused question costs a loader one of few buffers, so this one is only asked of those that know the newer ones.
 */
static int read_chip_uid(Engine *e) {
        char uid[65] = "";
        int r;

        if (!engine_may_ask(e, Q_READ_CHIP_UID))
                return 0;
        r = bsl_read_chip_uid(e->session, uid, sizeof(uid), e->failure);
        if (engine_did_not_know(e, Q_READ_CHIP_UID, r)) {
                engine_forget(e);
                r = 0;
        } else if (r == 0 && uid[0]) {
                e->report->identity_proven = true;
                snprintf(e->unit, sizeof(e->unit), "%s", uid);
                engine_fact(e, "chip-uid", "%s", uid);
                return 0;
        }
        return r;
}

/* Only some loaders know it, and it is asked where the chip does not tell: the flash is soldered to the board as well. Written "flash:HEX";
 * serials of flash have 8 to 16 bytes, and what follows repeats or inverts them. */
#define FLASH_UID_MAX 28

/* What the package wants to be asked or told comes first, where it could be one unknown question too many. */
static bool plan_has_questions(const Engine *e) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                PlanOp op = e->plan->steps[i].op;
                if (op == PLAN_TIME_STAMP || op == PLAN_APR || op == PLAN_EXT_TABLE || op == PLAN_RF_TYPE)
                        return true;
        }
        return false;
}

static int read_flash_uid(Engine *e) {
        char hex[2 * FLASH_UID_MAX + 1];
        uint8_t uid[FLASH_UID_MAX];
        size_t n;
        int r;

        if (e->unit[0] || !engine_may_ask(e, Q_READ_FLASH_UID))
                return 0;
        if (plan_has_questions(e) && !engine_known(e, LOADER_LAST, "q:READ_FLASH_UID"))
                return 0;
        r = bsl_read_flash_uid(e->session, uid, sizeof(uid), &n, e->failure);
        if (engine_did_not_know(e, Q_READ_FLASH_UID, r)) {
                engine_forget(e);
                return 0;
        }
        if (r != 0 || nv_blank(uid, n))
                return r;
        bytes_to_hex(uid, n, hex);
        e->report->identity_proven = true;
        snprintf(e->unit, sizeof(e->unit), "flash:%s", hex);
        engine_fact(e, "flash-uid", "%s", hex);
        return 0;
}

/* The job goes on with what another one began on a unit: who took it out of the slot meanwhile must hear of it. */
static int check_expected(Engine *e) {
        if (!e->input->unit[0] || streq(e->input->unit, e->unit))
                return 0;
        if (!e->unit[0]) {
                engine_fact(e, "note", "whether this is the unit of the interrupted job could not be proven: this loader does not tell who it is");
                return 0;
        }
        return engine_fail(e, CLASS_MISMATCH, "other-unit",
                           "another unit in this slot: its chip UID is not that of the unit on which the interrupted job was working; nothing was "
                           "written. Plug that one in and retry, or start a job of its own for this one");
}

static int check_unit(Engine *e) {
        if (!e->plan->unit[0] || streq(e->plan->unit, e->unit))
                return 0;
        if (!e->unit[0])
                return engine_fail(e, CLASS_MISMATCH, "unit", "the data belong to the unit with the chip UID %s, and this device does not say who it is; "
                                   "nothing was written", e->plan->unit);
        return engine_fail(e, CLASS_MISMATCH, "unit", "the data belong to the unit with the chip UID %s, and this is another one, %s; nothing was written",
                           e->plan->unit, e->unit);
}

/* As plans say it; "" not known. */
static const char *storage_word(const Engine *e) {
        switch (e->info.present && e->info.storage ? e->info.storage : e->storage) {
        case BSL_STORAGE_NAND:
                return "nand";
        case BSL_STORAGE_EMMC:
                return "emmc";
        case BSL_STORAGE_UFS:
                return "ufs";
        default:
                return "";
        }
}

bool engine_other_storage(const Engine *e, const PlanStep *s) {
        return s->storage[0] && !streq(s->storage, storage_word(e));
}

bool engine_skips(const Engine *e, const PlanStep *s) {
        return engine_other_storage(e, s) ||
               (s->variant[0] && !streq(s->variant, e->flash_key) && !streq(s->variant, e->rf_key));
}

/* The boot loader for this storage is missing: the one that is there would be erased, or left as it is. */
static int check_boot_loader(Engine *e) {
        for (size_t i = 0; i < e->plan->n_steps; i++) {
                const PlanStep *s = e->plan->steps + i;
                bool other = false;

                if (!streq(s->partition, "splloader") || !engine_other_storage(e, s))
                        continue;
                for (size_t k = 0; k < e->plan->n_steps; k++) {
                        const PlanStep *t = e->plan->steps + k;
                        other = other || (t->op == s->op && streq(t->partition, s->partition) && !engine_other_storage(e, t));
                }
                if (!other)
                        return engine_fail(e, CLASS_MISMATCH, "storage-kind",
                                           "the package has %s for %s only, and the unit has %s", engine_subject(s),
                                           s->storage, storage_word(e));
        }
        return 0;
}

static bool needs_storage(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].storage[0])
                        return true;
        return false;
}

/* A loader that was running before us has told its storage to somebody else. Its partition table tells, too: the sectors of eMMC have 512
 * bytes, those of UFS 4096. */
static int infer_storage(Engine *e) {
        _cleanup_(table_clear) Table gpt = {};
        int r = engine_read_gpt(e, &gpt);

        if (r != 0 || !gpt.entries)
                return r;
        e->storage = gpt.sector == 4096 ? BSL_STORAGE_UFS : BSL_STORAGE_EMMC;
        engine_fact(e, "note", "the loader does not say what storage the unit has; sectors of %u bytes mean %s", gpt.sector,
                    storage_word(e));
        return 0;
}

/* Some packages carry boot loaders for two kinds of storage: which one is meant must be certain. */
static int check_storage(Engine *e) {
        const char *word = storage_word(e);

        if (!word[0] && !e->greeted && needs_storage(e->plan)) {
                int r = infer_storage(e);
                if (r != 0)
                        return r;
                word = storage_word(e);
        }
        if (word[0]) {
                engine_fact(e, "storage", "%s", word);
                return check_boot_loader(e);
        }
        for (size_t i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].storage[0])
                        return engine_fail(
                                e, CLASS_MISMATCH, "storage",
                                "the package has %s for %s only, and the loader does not say what storage the "
                                "unit has",
                                engine_subject(e->plan->steps + i), e->plan->steps[i].storage);
        return 0;
}

/* A job that wants to know what there is. */
static bool only_identifies(const Plan *plan) {
        for (size_t i = 0; plan->chosen && i < plan->n_steps; i++)
                if (plan->steps[i].stage > STAGE_IDENTIFY && plan->steps[i].stage != STAGE_FINISH)
                        return false;
        return plan->chosen && !plan->options.repair;
}

int engine_identify(Engine *e) {
        bool modern;
        int r;

        if (e->info.challenge != 0)
                return engine_fail(e, CLASS_REFUSED, "challenge",
                                   "the loader demands that the host proves itself with a key of its maker (kind %u); "
                                   "nothing was written",
                                   (unsigned) e->info.challenge);
        r = settle_escaping(e);
        if (r == 0)
                r = check_storage(e);
        if (r != 0)
                return r;
        r = read_table(e, &modern);
        if (r == 0 && modern)
                r = read_chip_uid(e);
        if (r == 0 && modern)
                r = read_flash_uid(e);
        if (r == 0 && !e->report->identity_proven)
                engine_fact(e, "note", "identity not proven: this loader offers none");
        if (r == 0)
                r = check_expected(e);
        if (r == 0)
                r = check_unit(e);
        if (r == 0)
                r = engine_recall(e);
        if (r == 0)
                r = check_table(e);
        return r == 0 && only_identifies(e->plan) ? engine_list_areas(e) : r;
}
