/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "matrix.h"

/* What must come of a fault, from the protocol description (§) and the principles of the project alone. */

typedef enum Ruling {
        DONE,          /* it did no harm */
        SILENT, SLOW, GARBLED, GONE,
        REFUSED,       /* with the reply as detail */
        MUTE_NEXT,     /* silent, at the command that follows */
        OTHER_UNIT,    /* a boot ROM came back where a loader should be running */
        READS_DIFFER,  /* of two readings */
        READ_BACK,     /* what was written is not there */
        DONE_OR_GARBLED, /* depends on whether the random bytes hold what looks like a frame */
        NO_SYNC,       /* silent, but what stayed unanswered is the sync after it */
} Ruling;

typedef struct Rule {
        const char *stages, *commands, *faults, *codes; /* words; "*" any */
        Ruling verdict;
} Rule;

/* The first that fits decides. A fault word with + at its end: it strikes again and again. */
static const Rule rules[] = {
        /* An FF frame is no answer (§6.9), and what comes within its deadline is in time (§8.2). */
        {"*", "*", "glued log slow pause late", "*", DONE},

        /* The sync byte is repeated, for the ROM and after each EXEC: first answers are lost normally (§6.1). */
        {"*", "sync", "silent lost bad-sum garbage truncated nak over overdue never", "*", DONE},
        {"*", "sync", "silent+", "*", SILENT},
        /* A loader that answers, understood or not, takes commands; which of them a ROM is, its answer would have to tell. */
        {"exec-fdl1 reenumerate", "sync", "bad-sum+ garbage+ truncated+", "*", DONE},
        {"*", "sync", "bad-sum+ garbage+ truncated+", "*", GARBLED},
        /* CONNECT is sent twice (§6.1), but never again to who does not know it (§4.5). */
        {"*", "connect", "nak nak+", "fe", REFUSED},
        {"*", "connect", "silent lost bad-sum garbage truncated nak over overdue never", "*", DONE},
        {"*", "connect", "silent+ lost+", "*", SILENT},
        {"*", "connect", "bad-sum+ garbage+ truncated+", "*", GARBLED},
        {"*", "connect", "nak+", "*", REFUSED},
        /* The ROM of UIS8910 is asked again and again too; a refusal is an answer. */
        {"*", "pdl-connect", "silent lost bad-sum garbage truncated over overdue never", "*", DONE},
        {"*", "pdl-connect", "silent+ lost+", "*", SILENT},
        {"*", "pdl-connect", "bad-sum+ garbage+ truncated+", "*", GARBLED},

        /* Leaving the bus after the first EXEC may be a second enumeration (§2.5): who comes back is met by a sync. */
        {"exec-fdl1 reenumerate", "sync connect", "back", "*", DONE},
        /* A boot ROM there: the unit lost its power, or it is another one. PDL does not know the sync. */
        {"exec-fdl1 reenumerate", "exec", "back", "*", OTHER_UNIT},
        {"exec-fdl1 reenumerate", "pdl-exec", "back", "*", NO_SYNC},
        /* EXEC of PDL has no answer: whether it was understood is seen from who answers the sync. */
        {"exec-fdl1", "pdl-exec", "silent stalled", "*", NO_SYNC},
        /* With a second enumeration announced, EXEC's answer need not come: the unit leaves. */
        {"exec-announced", "exec", "lost bad-sum garbage truncated over overdue never", "*", DONE},

        /* Reset: acknowledged or left the bus. */
        {"finish", "reset", "lost bad-sum garbage truncated gone back unit overdue never hang", "*", DONE},

        /* Somebody else in the socket: a ROM answers with CRC, and PDL does not know the sync. */
        {"exec-fdl1 reenumerate", "exec sync connect pdl-exec", "unit", "bsl", OTHER_UNIT},
        {"exec-fdl1 reenumerate", "exec sync connect pdl-exec", "unit", "pdl", NO_SYNC},
        {"*", "*", "unit", "*", GONE},

        /* Absent in many loaders (§6.6, §4.5): there are other ways to the table, none that needs the chip UID, and a
         * loader that keeps its escaping is as good (§6.3). */
        {"identify", "read-partition chip-uid plain", "nak", "*", DONE},
        {"repartition", "read-partition", "nak", "*", DONE},
        /* What is to be put back may be there already; whether it is, some loaders do not show. */
        {"restore-first", "read-start read-midst read-end", "nak nak+", "*", DONE},

        /* What the unit may never have had (phase check of a unit that passed no line) is read if it is there. */
        {"backup-optional", "*", "nak nak+", "fe", REFUSED},
        {"backup-optional", "*", "nak", "*", DONE},

        /* Reading changes nothing: one more try after a damaged answer or 84, never after an expired deadline. */
        {"*", "read read-midst", "bad-sum", "*", DONE},
        {"*", "read read-midst", "garbage", "*", DONE_OR_GARBLED},
        {"*", "read read-midst", "nak", "84", DONE},
        {"*", "read read-midst", "bad-sum+", "*", GARBLED},
        {"backup", "read read-midst", "bad-flash", "*", READS_DIFFER},
        {"verify", "read read-midst", "bad-flash", "*", READ_BACK},
        /* What a loader does not show is no fault, if it has not shown a part of it before. */
        {"verify-first", "read read-start read-midst", "nak nak+", "*", DONE},

        /* "Too much data" to the very first block of an image: the loader's buffer is smaller than blocks without escaping may be. */
        {"write-large", "midst", "nak", "8a", DONE},

        /* Worn flash: eMMC loaders say A2 at the last block and 84 to an erase, modules 84, and 8B when their own check fails. */
        {"checking", "midst", "write-error", "*", REFUSED},
        {"erase", "erase", "write-error", "*", REFUSED},
        {"write", "end", "write-error bad-flash", "*", REFUSED},
        {"checking", "midst", "bad-flash", "*", READ_BACK},

        /* Everything else is what it looks like. */
        {"*", "*", "silent silent+ lost stalled never", "*", SILENT},
        {"*", "*", "over overdue", "*", SLOW},
        {"*", "*", "bad-sum garbage truncated", "*", GARBLED},
        {"*", "*", "gone back", "*", GONE},
        {"*", "*", "nak nak+", "*", REFUSED},
        {"*", "*", "hang", "*", MUTE_NEXT},
};

/* Names of the protocol description, §4. */
static const char *const command_names[][2] = {
        {"sync", "CHECK_BAUD"}, {"connect", "CONNECT"}, {"start", "START_DATA"}, {"midst", "MIDST_DATA"}, {"end", "END_DATA"},
        {"exec", "EXEC_DATA"}, {"reset", "NORMAL_RESET"}, {"read", "READ_FLASH"}, {"erase", "ERASE_FLASH"},
        {"repartition", "REPARTITION"}, {"read-info", "READ_FLASH_INFO"}, {"read-start", "READ_START"},
        {"read-midst", "READ_MIDST"}, {"read-end", "READ_END"}, {"exttable", "EXTTABLE"}, {"power-off", "POWER_OFF"},
        {"chip-uid", "READ_CHIP_UID"}, {"plain", "DISABLE_TRANSCODE"}, {"read-partition", "READ_PARTITION"},
        {"enable-raw", "ENABLE_RAW_DATA"}, {"raw-start", "MIDST_RAW_START"}, {"raw-start2", "MIDST_RAW_START2"},
        {"pdl-connect", "PDL CONNECT"}, {"pdl-start", "PDL START_DATA"}, {"pdl-mid", "PDL MID_DATA"},
        {"pdl-end", "PDL END_DATA"}, {"pdl-exec", "PDL EXEC_DATA"},
};

static const char *name_of(const char *command) {
        for (size_t i = 0; i < ELEMENTSOF(command_names); i++)
                if (streq(command_names[i][0], command))
                        return command_names[i][1];
        return "?";
}

static bool in(const char *words, const char *word) {
        char text[400], wanted[40];

        if (streq(words, "*"))
                return true;
        snprintf(text, sizeof(text), " %s ", words);
        snprintf(wanted, sizeof(wanted), " %s ", word);
        return strstr(text, wanted);
}

/* A reading back of which nothing was shown before. */
static bool is_first_look(const Cell *c) {
        const WireCommand *w = c->clean->list + c->at;

        if (!streq(c->stage, "verify"))
                return false;
        if (streq(w->command, "read-start"))
                return true;
        for (size_t i = c->at; i-- > 0;) {
                const WireCommand *before = c->clean->list + i;

                if (streq(before->command, "read-start"))
                        return true;
                if (!streq(before->command, w->command))
                        return streq(w->command, "read");
                if (streq(w->command, "read-midst") || w->from > 0 || strtoull(before->target, NULL, 0) + before->size == strtoull(w->target, NULL, 0))
                        return false;
                return true;
        }
        return true;
}

static bool is_optional(const Cell *c) {
        const char *target = c->clean->list[c->at].target;

        return streq(c->stage, "backup") && (streq(target, "miscdata") || streq(target, "prodnv") || streq(target, "0xfe000002") || streq(target, "0x90000002"));
}

/* A look at what will be put back, before it is. */
static bool is_look_before(const Cell *c) {
        const Wire *w = c->clean;

        if (!streq(c->stage, "restore") || strncmp(w->list[c->at].command, "read", 4) != 0)
                return false;
        for (size_t i = c->at; i-- > 0 && streq(cell_stage(c->world, w, i), "restore");)
                if (streq(w->list[i].command, "start") && streq(w->list[i].target, w->list[c->at].target))
                        return false;
        return true;
}

static bool is_first_large(const Cell *c) {
        const WireCommand *w = c->clean->list + c->at;

        return (streq(c->stage, "write") || streq(c->stage, "checking")) && streq(w->command, "midst") && w->named && w->from == 0 && w->size > 4096;
}

static Ruling ruling_of(const Cell *c) {
        const WireCommand *w = c->clean->list + c->at;
        const char *command = w->command, *stage = is_first_look(c) ? "verify-first" : is_optional(c) ? "backup-optional"
                            : is_look_before(c)                    ? "restore-first"
                            : is_first_large(c)                    ? "write-large"
                            : c->world->second_enumeration         ? "exec-announced"
                                                                   : NULL;
        char fault[20], code[8] = "";

        snprintf(fault, sizeof(fault), "%s%s", fault_words[c->fault], c->always ? "+" : "");
        if (c->fault == FAULT_NAK)
                snprintf(code, sizeof(code), "%02x", c->code);
        else if (c->fault == FAULT_UNIT)
                snprintf(code, sizeof(code), "%s", strstr(c->impostor, "uis8910") ? "pdl" : "bsl");
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if ((in(rules[i].stages, c->stage) || (stage && in(rules[i].stages, stage))) && in(rules[i].commands, command) &&
                    in(rules[i].faults, fault) && in(rules[i].codes, code))
                        return rules[i].verdict;
        ck_abort_msg("no rule for %s", cell_name(c));
}

/* NV of modules and feature phones is a store of items, some of which are the firmware's: it may give back others. */
static bool is_store(const WireCommand *w) {
        return streq(w->target, "0xfe000003") || streq(w->target, "0x90000001");
}

/* Which faults can strike where. */
bool rule_applies(const Cell *c) {
        const WireCommand *w = c->clean->list + c->at;
        bool read = streq(w->command, "read") || streq(w->command, "read-midst");

        /* No answer comes that could be changed. */
        if (streq(w->command, "pdl-exec"))
                return !c->always && (c->fault == FAULT_SILENT || c->fault == FAULT_STALLED || c->fault == FAULT_GONE ||
                                      c->fault == FAULT_BACK || c->fault == FAULT_NAK || c->fault == FAULT_SLOW || c->fault == FAULT_UNIT);
        /* 96 and 80 are what is hoped for. */
        if (c->fault == FAULT_NAK && streq(c->stage, "exec-fdl2") && c->code == 0x96)
                return false;
        if (c->fault == FAULT_WRITE_ERROR)
                return !c->always && ((streq(w->command, "midst") && streq(c->stage, "checking")) || streq(w->command, "erase") ||
                                      (streq(w->command, "end") && !w->named && streq(c->stage, "write") && w->size % 65536 &&
                                       !streq(c->world->family, "feature"))); /* those have written it all before END */
        if (c->fault == FAULT_BAD_FLASH)
                return !c->always && ((read && (streq(c->stage, "backup") || (streq(c->stage, "verify") && !is_store(w)))) ||
                                      (streq(w->command, "midst") && streq(c->stage, "checking") && !strstr(w->target, "nv")) ||
                                      (streq(w->command, "end") && !w->named && streq(c->stage, "write") && strncmp(w->target, "0x6", 3) == 0));
        if (!c->always)
                return true;
        /* A lone answer that is lost for ever: that ROM takes commands then. */
        if (streq(w->command, "sync") && (c->fault == FAULT_LOST || (c->fault != FAULT_SILENT && streq(c->world->name, "uis8850"))))
                return false;
        if (streq(w->command, "sync") || streq(w->command, "connect") || streq(w->command, "pdl-connect"))
                return c->fault == FAULT_SILENT || c->fault == FAULT_LOST || c->fault == FAULT_BAD_SUM || c->fault == FAULT_GARBAGE ||
                       c->fault == FAULT_TRUNCATED || (c->fault == FAULT_NAK && streq(w->command, "connect"));
        return read && !is_optional(c) && !is_look_before(c) && !is_first_look(c) && (c->fault == FAULT_BAD_SUM || (c->fault == FAULT_NAK && c->code == 0x84));
}

static void set(Outcome *o, FailClass class, const char *detail) {
        o->class = class;
        snprintf(o->detail, sizeof(o->detail), "%s", detail);
}

static void refusal(const Cell *c, Outcome *o) {
        const WireCommand *w = c->clean->list + c->at;
        char text[16];

        if (c->fault == FAULT_WRITE_ERROR)
                snprintf(text, sizeof(text), "%s", streq(c->stage, "checking") ? "a2" : "84");
        else if (c->fault == FAULT_BAD_FLASH)
                snprintf(text, sizeof(text), "8b");
        else if (strncmp(w->command, "pdl-", 4) == 0)
                snprintf(text, sizeof(text), "pdl-%02u", c->code);
        else
                snprintf(text, sizeof(text), "%02x", c->code);
        set(o, CLASS_REFUSED, text);
}

Outcome rule_outcome(const Cell *c) {
        Outcome o = {.stage = c->stage, .command = name_of(c->clean->list[c->at].command), .at = c->at};

        switch (ruling_of(c)) {
        case DONE:
                o.done = true;
                break;
        case SILENT:
                set(&o, CLASS_SILENT, "");
                break;
        case SLOW:
                set(&o, CLASS_SLOW, "");
                break;
        case DONE_OR_GARBLED:
                o.may_be_done = true;
                set(&o, CLASS_GARBLED, "");
                break;
        case GARBLED:
                set(&o, CLASS_GARBLED, "");
                break;
        case GONE:
                set(&o, CLASS_GONE, "");
                /* It left, and did not come back when it was expected to. */
                if (c->world->second_enumeration && streq(o.stage, "exec-fdl1"))
                        o.stage = "reenumerate";
                o.command = streq(o.stage, "reenumerate") || streq(o.stage, "exec-fdl1") ? NULL : o.command;
                break;
        case REFUSED:
                refusal(c, &o);
                break;
        case MUTE_NEXT:
                o.at = c->at + 1;
                ck_assert_uint_lt(o.at, c->clean->n);
                o.stage = cell_stage(c->world, c->clean, o.at);
                o.command = name_of(c->clean->list[o.at].command);
                set(&o, CLASS_SILENT, "");
                break;
        case OTHER_UNIT:
                set(&o, CLASS_MISMATCH, "other-unit");
                o.stage = c->world->second_enumeration ? "reenumerate" : "exec-fdl1";
                o.command = NULL;
                break;
        case NO_SYNC:
                o.command = "CHECK_BAUD";
                o.stage = c->world->second_enumeration ? "reenumerate" : "exec-fdl1";
                set(&o, CLASS_SILENT, "");
                break;
        case READS_DIFFER:
                set(&o, CLASS_MISMATCH, "backup");
                o.command = NULL;
                break;
        case READ_BACK:
                set(&o, CLASS_MISMATCH, "read-back");
                o.stage = "verify";
                o.command = NULL;
                for (size_t i = c->at; i < c->clean->n && streq(c->stage, "checking"); i++)
                        if (strncmp(c->clean->list[i].command, "read", 4) == 0) {
                                o.at = i;
                                break;
                        }
                break;
        }
        /* While it checks an image it is only asked whether its port still takes data: one that does not is dead. */
        if (o.class == CLASS_SILENT && streq(o.stage, "checking") && (c->fault == FAULT_STALLED || c->fault == FAULT_HANG))
                snprintf(o.detail, sizeof(o.detail), "dead");
        return o;
}

/* Replies that say why a command was not begun (§5): nothing has happened then. All others leave flash in doubt. */
bool rule_in_doubt(unsigned code) {
        static const unsigned not_begun[] = {0x82, 0x83, 0x85, 0x86, 0x87, 0x89, 0x8a, 0x8d, 0x96, 0x97, 0x98,
                                             0xa0, 0xa3, 0xa4, 0xac, 0xb3, 0xb4, 0xbf, 0xfe};

        for (size_t i = 0; i < ELEMENTSOF(not_begun); i++)
                if (not_begun[i] == code)
                        return false;
        return true;
}

/* Something that changes flash was begun, or may have been, and not everything that the job wants was done. */
bool rule_must_reflash(const Cell *c, const Outcome *o) {
        const WireCommand *w = c->clean->list + c->at;

        if (streq(o->stage, "finish"))
                return false;
        for (size_t i = 0; i < MAX(c->at, o->at); i++)
                if (wire_changes_flash(c->clean->list + i))
                        return true;
        if (o->at > c->at) /* mute, and nobody knows whether it was carried out */
                return wire_changes_flash(c->clean->list + o->at);
        if (!wire_changes_flash(w))
                return false;
        return c->fault != FAULT_NAK || rule_in_doubt(c->code);
}
