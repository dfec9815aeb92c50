/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>
#include <stdlib.h>

/* What a person wants to be checked before anything is written. A loader that cannot do it ends the job, or leaves a note where the check was
 * only to be tried. What is found wrong always ends it. */

/* Could not be done. `f` is filled where the device said why. */
static int not_done(Engine *e, const char *what, const char *why) {
        const PlanStep *s = engine_step(e);
        Failure f = *e->failure;

        engine_forget(e);
        if (s->optional) {
                engine_fact(e, "note", "%s: not done, %s", what, why);
                return 0;
        }
        e->failure->reply = f.reply;
        snprintf(e->failure->command, sizeof(e->failure->command), "%s", f.command);
        return engine_fail(e, CLASS_PLAN, "unsupported", "%s cannot be done: %s; nothing was written", what, why);
}

/* ---- the first loader --------------------------------------------------------------------------------------- */

/* It knows few commands and dies of any other without a word. */
static int ask_first(Engine *e, const char *trait, const char *what, int (*ask)(BslSession *s, Failure *f)) {
        const char *known = traits_get(e->traits, trait);
        int r;

        if (e->runs != RUNS_FIRST)
                return not_done(e, what, "the last loader runs already; power-cycle the unit");
        if (known && streq(known, "fatal"))
                return not_done(e, what, "this first loader died of that command before");
        if (engine_step(e)->optional && !(known && e->certain[0]))
                return not_done(e, what, "it is not known whether this first loader survives that command");
        r = ask(e->session, e->failure);
        if (r == 0 || (r == 1 && e->failure->class == CLASS_REFUSED))
                engine_learn(e, LOADER_FIRST, trait, "known");
        if (r == 1 && (e->failure->class == CLASS_SILENT || e->failure->class == CLASS_GONE)) {
                engine_learn(e, LOADER_FIRST, trait, "fatal");
                snprintf(e->failure->detail, sizeof(e->failure->detail), "unknown");
                e->failure->text[0] = '\0';
                e->text_complete = true;
                snprintf(e->failure->text, sizeof(e->failure->text),
                         "%s: the first loader said nothing any more; most likely it does not know that command, which kills it. Nothing was written", what);
        }
        return r;
}

int engine_keep_charge(Engine *e) {
        int r = ask_first(e, "q:KEEP_CHARGE", "keeping the unit charging", bsl_keep_charge);

        if (r == 0 && !e->failure->class)
                engine_fact(e, "note", "the first loader was told to let the unit charge");
        return r;
}

static int check_ddr(Engine *e, const char *value _unused_) {
        int r = ask_first(e, "q:DDR_CHECK", "the check of the RAM", bsl_ddr_check);

        if (r == 1 && e->failure->class == CLASS_REFUSED && e->failure->reply == 0xb6)
                return engine_fail(e, CLASS_REFUSED, "", "the RAM of the unit is bad: its first loader tested it (answer B6); nothing was written");
        return r;
}

/* ---- the last one ------------------------------------------------------------------------------------------- */

static int ask_last(Engine *e, Question q, const char *what, int (*ask)(Engine *e, uint32_t answer[static 3]),
                    uint32_t answer[static 3], bool *ret_done) {
        int r;

        *ret_done = false;
        if (engine_step(e)->optional ? !engine_may_try(e, q) : !engine_may_ask(e, q))
                return not_done(e, what, "this loader does not know the question, or may not survive it");
        r = ask(e, answer);
        if (engine_did_not_know(e, q, r))
                return not_done(e, what, "this loader does not know the question");
        *ret_done = r == 0;
        return r;
}

static int ask_chip_type(Engine *e, uint32_t answer[static 3]) {
        return bsl_read_chip_type(e->session, answer, e->failure);
}
static int ask_flash_type(Engine *e, uint32_t answer[static 3]) {
        return bsl_read_flash_type(e->session, answer, e->failure);
}
static int ask_block_info(Engine *e, uint32_t answer[static 3]) {
        return bsl_read_block_info(e->session, answer, answer + 1, e->failure);
}

static int check_chip_type(Engine *e, const char *value) {
        uint32_t want = (uint32_t) strtoul(value, NULL, 0), answer[3] = {};
        bool done;
        int r = ask_last(e, Q_READ_CHIP_TYPE, "the check of the chip", ask_chip_type, answer, &done);

        if (!done)
                return r;
        engine_fact(e, "chip-type", "0x%x", answer[0]);
        if (answer[0] != want)
                return engine_fail(e, CLASS_MISMATCH, "chip-type", "the unit has the chip 0x%x, and 0x%x is wanted; nothing was written", answer[0], want);
        return 0;
}

/* "2c-ac-15/ec-bc": MID, DID and, where it is given, EID of one of them. */
static bool is_wanted_memory(const char *list, const uint32_t have[static 3]) {
        while (*list) {
                bool same = true;

                for (unsigned i = 0; i < 3; i++) {
                        char *end;

                        same = strtoul(list, &end, 16) == have[i] && same;
                        list = end;
                        if (*list != '-')
                                break;
                        list++;
                }
                if (same)
                        return true;
                list += *list == '/';
        }
        return false;
}

static int check_memory_type(Engine *e, const char *value) {
        uint32_t answer[3] = {};
        bool done;
        int r = ask_last(e, Q_READ_FLASH_TYPE, "the check of the memory", ask_flash_type, answer, &done);

        if (!done)
                return r;
        engine_fact(e, "memory-type", "%x-%x-%x", answer[0], answer[1], answer[2]);
        if (!is_wanted_memory(value, answer))
                return engine_fail(e, CLASS_MISMATCH, "memory-type", "the unit has the memory %x-%x-%x, and %.100s is wanted; nothing was written", answer[0],
                                   answer[1], answer[2], value);
        return 0;
}

static int check_bad_blocks(Engine *e, const char *value) {
        double most = strtod(value, NULL), rate;
        uint32_t answer[3] = {};
        bool done;
        int r;

        if (e->info.present && e->info.storage ? e->info.storage != BSL_STORAGE_NAND : !e->plan->nand_loader)
                return not_done(e, "the check for bad blocks", "the unit has no NAND");
        r = ask_last(e, Q_READ_NAND_BLOCK_INFO, "the check for bad blocks", ask_block_info, answer, &done);
        if (!done)
                return r;
        if (answer[0] == 0)
                return not_done(e, "the check for bad blocks", "what the loader tells cannot be used");
        rate = 100.0 * answer[1] / answer[0];
        engine_fact(e, "bad-blocks", "%u of %u", answer[1], answer[0]);
        if (rate > most)
                return engine_fail(e, CLASS_MISMATCH, "bad-blocks", "%u of %u blocks of the NAND are bad (%.2f %%), and %s %% are allowed; nothing was written",
                                   answer[1], answer[0], rate, value);
        return 0;
}

/* Told once, in the greeting (bsl-protocol §6.2). */
static int check_old_memory(Engine *e, const char *value _unused_) {
        unsigned bits = e->info.old_memory;

        if (!e->info.present)
                return not_done(e, "the check for memory that was used before", "this loader does not tell");
        engine_fact(e, "old-memory", "0x%x", bits);
        if (bits == 0)
                return 0;
        return engine_fail(e, CLASS_MISMATCH, "old-memory", "the memory of the unit was used before:%s%s%s%s; nothing was written",
                           bits & 1 ? " its registers were changed," : "", bits & 2 ? " it has a partition table," : "",
                           bits & 4 ? " its RPMB key is written," : "", bits & ~7U ? " unknown marks," : "");
}

int engine_check(Engine *e) {
        static const struct {
                const char *word;
                int (*check)(Engine *e, const char *value);
        } checks[] = {
                {"ddr", check_ddr},
                {"chip-type", check_chip_type},
                {"memory-type", check_memory_type},
                {"bad-blocks", check_bad_blocks},
                {"old-memory", check_old_memory},
        };
        const PlanStep *s = engine_step(e);
        char value[CHOICE_TEXT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(checks); i++)
                if (streq(checks[i].word, s->id) && choice_check(&e->plan->options.choice, s->id, value, sizeof(value)) != CHECK_NOT)
                        return checks[i].check(e, value);
        return -EINVAL;
}
