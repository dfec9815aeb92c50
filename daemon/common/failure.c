/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/failure.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int failure_set(Failure *f, FailClass class, const char *detail, const char *format, ...) {
        va_list ap;

        if (!f)
                return 1;
        f->class = class;
        snprintf(f->detail, sizeof(f->detail), "%s", detail ? detail : "");
        va_start(ap, format);
        vsnprintf(f->text, sizeof(f->text), format, ap);
        va_end(ap);
        return 1;
}

static const char *errno_detail(int error) {
        switch (error) {
        case EACCES:
        case EPERM:
                return "permission";
        case EBUSY:
                return "busy";
        case ENOSPC:
        case EDQUOT:
                return "disk-full";
        case ENOMEM:
                return "memory";
        case EROFS:
                return "read-only";
        case EMFILE:
        case ENFILE:
                return "too-many-files";
        default:
                return "io";
        }
}

int failure_set_errno(Failure *f, int error, const char *format, ...) {
        va_list ap;

        if (!f)
                return 1;
        error = error < 0 ? -error : error;
        f->class = CLASS_HOST;
        f->error = error;
        snprintf(f->detail, sizeof(f->detail), "%s", errno_detail(error));
        va_start(ap, format);
        vsnprintf(f->text, sizeof(f->text), format, ap);
        va_end(ap);
        return 1;
}

const char *failure_code(const Failure *f, char ret[static FAILURE_CODE_MAX]) {
        const char *stage = stage_to_string(f->stage), *class = fail_class_to_string(f->class);

        if (!stage)
                stage = "claim";
        if (f->detail[0])
                snprintf(ret, FAILURE_CODE_MAX, "%s-%s-%s", stage, class, f->detail);
        else if (f->reply >= 0 && f->pdl)
                snprintf(ret, FAILURE_CODE_MAX, "%s-%s-pdl-%02d", stage, class, (int) (f->reply & 0xff));
        else if (f->reply >= 0)
                snprintf(ret, FAILURE_CODE_MAX, "%s-%s-%02x", stage, class, (unsigned) (f->reply & 0xff));
        else
                snprintf(ret, FAILURE_CODE_MAX, "%s-%s", stage, class);
        return ret;
}

/* ---- what became of the unit, and what was seen ---- */

static const struct {
        bool safe, bootable;
        const char *text;
} verdicts[] = {
        [VERDICT_NONE] = {true, true, ""},
#define VERDICT_TEXT(name, safe, bootable, text) [VERDICT_##name] = {safe, bootable, text},
#include "common/errors.def"
};
static const char *const aftermaths[] = {
        [AFTERMATH_NONE] = "",
#define AFTERMATH_TEXT(name, text) [AFTERMATH_##name] = text,
#include "common/errors.def"
};
static const char *const situations[] = {
#define SITUATION_TEXT(name, text) [SITUATION_##name] = text,
#include "common/errors.def"
};

bool verdict_safe_to_unplug(Verdict v) {
        return verdicts[v].safe;
}
bool verdict_bootable(Verdict v) {
        return verdicts[v].bootable;
}
const char *verdict_text(Verdict v) {
        return verdicts[v].text;
}
const char *aftermath_text(Aftermath a) {
        return aftermaths[a];
}
const char *situation_text(Situation s) {
        return situations[s];
}

void failure_complete_verdict(Failure *f) {
        if (f->verdict == VERDICT_NONE)
                f->verdict = f->must_reflash ? VERDICT_MUST_REFLASH : VERDICT_UNCHANGED;
}

typedef struct ExplainRow {
        const char *stage, *class, *detail, *summary, *causes, *actions;
} ExplainRow;

static const ExplainRow explain_table[] = {
#define EXPLAIN(stage, class, detail, summary, causes, actions) {stage, class, detail, summary, causes, actions},
#include "common/errors.def"
};

static const struct {
        const char *class, *name;
        int exit_code;
} class_names[] = {
#define CLASS_NAME(class, suffix, exit) {class, "org.fdld.Fdld1.Error." suffix, exit},
#include "common/errors.def"
};

/* Texts of the table hold their lists as lines. A row is cut when somebody asks for it first, and lives for ever: most are never asked for. */
static Explanation parsed[ELEMENTSOF(explain_table)];

static void split_lines(const char *text, const char *list[static EXPLANATION_LIST_MAX]) {
        char *line = strdup(text);
        size_t n = 0;

        while (line && n < EXPLANATION_LIST_MAX - 1) {
                char *end = strchr(line, '\n');
                if (end)
                        *end++ = '\0';
                list[n++] = line;
                line = end;
        }
        list[n] = NULL;
}

static void parse_row(const ExplainRow *row, Explanation *e) {
        split_lines(row->causes, e->causes);
        split_lines(row->actions, e->actions);
        for (size_t k = 0; k < ELEMENTSOF(class_names); k++)
                if (streq(class_names[k].class, row->class)) {
                        e->dbus_name = class_names[k].name;
                        e->exit_code = class_names[k].exit_code;
                }
        e->summary = row->summary;
}

static void row_to_explanation(size_t i, Explanation *ret) {
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

        pthread_mutex_lock(&lock);
        if (!parsed[i].summary)
                parse_row(explain_table + i, parsed + i);
        *ret = parsed[i];
        pthread_mutex_unlock(&lock);
}

/* One of several words, or both are empty. */
static bool among(const char *words, const char *word) {
        size_t n = strlen(word);

        for (; n > 0 && *words; words += strcspn(words, " "), words += *words == ' ')
                if (strcspn(words, " ") == n && strncmp(words, word, n) == 0)
                        return true;
        return n == 0 && !*words;
}

static bool find_row(const char *stage, const char *class, const char *detail, size_t *ret) {
        for (size_t i = 0; i < ELEMENTSOF(explain_table); i++)
                if (streq(explain_table[i].class, class) && among(explain_table[i].stage, stage) &&
                    among(explain_table[i].detail, detail)) {
                        *ret = i;
                        return true;
                }
        return false;
}

/* What may stand in place of a stage: "any" for those that have no row of their own; "vendor" for the numbers of the maker's tools. */
static const char *const other_stages[] = {"any", "vendor"};

/* Splits "load-fdl1-refused-a6": stage words contain dashes, so the longest known stage wins. */
static bool split_code(const char *code, const char **ret_stage, const char **ret_class, const char **ret_detail) {
        for (int s = 0; s < STAGE_MAX + (int) ELEMENTSOF(other_stages); s++) {
                const char *stage = s < STAGE_MAX ? stage_to_string((Stage) s) : other_stages[s - STAGE_MAX];
                size_t n = strlen(stage);
                if (strncmp(code, stage, n) != 0 || code[n] != '-')
                        continue;
                for (int c = CLASS_NONE + 1; c < CLASS_MAX; c++) {
                        const char *class = fail_class_to_string((FailClass) c);
                        size_t m = strlen(class);
                        const char *rest = code + n + 1;
                        if (strncmp(rest, class, m) != 0 || (rest[m] != '\0' && rest[m] != '-'))
                                continue;
                        *ret_stage = stage;
                        *ret_class = class;
                        *ret_detail = rest[m] ? rest + m + 1 : "";
                        return true;
                }
        }
        return false;
}

/* A number alone is what the maker's tools show: a reply of the device, or a failure of their own. */
static const char *from_number(const char *code, char ret[static FAILURE_CODE_MAX]) {
        unsigned long n;
        char *end;

        if (code[0] < '0' || code[0] > '9')
                return code;
        n = strtoul(code, &end, 0);
        if (*end || n < 0x80 || n > 999)
                return code;
        snprintf(ret, FAILURE_CODE_MAX, n <= 0xff ? "any-refused-%02lx" : "vendor-host-%lu", n);
        return ret;
}

/* From the particular to the general. */
static bool find_best(const char *code, size_t *ret, char ret_pattern[static FAILURE_CODE_MAX]) {
        const char *stage, *class, *detail;
        char buffer[FAILURE_CODE_MAX];

        code = from_number(code, buffer);
        if (!split_code(code, &stage, &class, &detail))
                return false;
        for (unsigned i = 0; i < 4; i++) {
                const char *s = i % 2 ? "any" : stage, *d = i < 2 ? detail : "";
                if (!find_row(s, class, d, ret))
                        continue;
                snprintf(ret_pattern, FAILURE_CODE_MAX, "%s-%s%s%s", s, class, d[0] ? "-" : "", d);
                return true;
        }
        return false;
}

bool explanation_find(const char *code, Explanation *ret) {
        char pattern[FAILURE_CODE_MAX];
        size_t i;

        if (!find_best(code, &i, pattern))
                return false;
        row_to_explanation(i, ret);
        return true;
}

bool explanation_pattern(const char *code, char ret[static FAILURE_CODE_MAX]) {
        size_t i;

        return find_best(code, &i, ret);
}

/* ---- one case ---- */

static const struct {
        bool first;
        const char *kind, *word, *stages, *classes, *cause, *action;
} hints[] = {
#define HINT(place, kind, word, stages, classes, cause, action) {HINT_##place, kind, word, stages, classes, cause, action},
#define HINT_FIRST true
#define HINT_LAST false
#include "common/errors.def"
};

static bool any_or_among(const char *words, const char *word) {
        return streq(words, "any") || (word && among(words, word));
}

static bool holds(const Failure *f, const char *kind, const char *word) {
        if (streq(kind, "command"))
                return streq(f->command, word);
        if (streq(kind, "partition"))
                return strstr(f->partition, word);
        if (streq(kind, "device-state"))
                return streq(aftermath_to_string(f->aftermath), word);
        return failure_has(f, situation_from_string(word));
}

static bool listed(const char *const *list, const char *text) {
        for (; *list; list++)
                if (streq(*list, text))
                        return true;
        return false;
}

/* The least likely one makes room. */
static void put(const char *list[static EXPLANATION_LIST_MAX], const char *text, bool first) {
        size_t n = 0;

        if (!text[0] || listed(list, text))
                return;
        while (list[n])
                n++;
        if (n == EXPLANATION_LIST_MAX - 1)
                n--;
        if (first)
                memmove(list + 1, list, n * sizeof(*list));
        list[first ? 0 : n] = text;
        list[n + 1] = NULL;
}

/* A class, or a class with its detail: "refused-84". */
static bool hint_fits(const Failure *f, size_t i) {
        const char *class = fail_class_to_string(f->class);
        char exact[48];

        if (f->reply >= 0 && !f->pdl && !f->detail[0])
                snprintf(exact, sizeof(exact), "%s-%02x", class, (unsigned) (f->reply & 0xff));
        else
                snprintf(exact, sizeof(exact), "%s%s%s", class, f->detail[0] ? "-" : "", f->detail);
        return any_or_among(hints[i].stages, stage_to_string(f->stage)) && (among(hints[i].classes, class) || among(hints[i].classes, exact)) &&
               holds(f, hints[i].kind, hints[i].word);
}

void explanation_of(const Failure *f, Explanation *ret) {
        char code[FAILURE_CODE_MAX];
        size_t i;

        if (!explanation_find(failure_code(f, code), ret)) {
                if (!find_row("any", "host", "", &i))
                        return;
                row_to_explanation(i, ret);
        }
        for (i = ELEMENTSOF(hints); i-- > 0;)
                if (hint_fits(f, i)) {
                        put(ret->causes, hints[i].cause, hints[i].first);
                        put(ret->actions, hints[i].action, hints[i].first);
                }
}

/* Cuts the next of several words off; the one empty word of "" is one too. False: there are no more. */
static bool next_word(const char **words, char *ret, size_t size) {
        size_t n;

        if (!*words)
                return false;
        n = strcspn(*words, " ");
        snprintf(ret, size, "%.*s", (int) n, *words);
        *words = (*words)[n] ? *words + n + 1 : NULL;
        return true;
}

void explanation_foreach(void (*fn)(const char *pattern, const Explanation *e, void *userdata), void *userdata) {
        for (size_t i = 0; i < ELEMENTSOF(explain_table); i++) {
                const ExplainRow *row = explain_table + i;
                char pattern[FAILURE_CODE_MAX], stage[32], detail[32];
                Explanation e;

                row_to_explanation(i, &e);
                for (const char *stages = row->stage; next_word(&stages, stage, sizeof(stage));)
                        for (const char *details = row->detail; next_word(&details, detail, sizeof(detail));) {
                                snprintf(pattern, sizeof(pattern), "%s-%s%s%s", stage, row->class, detail[0] ? "-" : "", detail);
                                fn(pattern, &e, userdata);
                        }
        }
}

static const struct {
        const char *name, *summary;
        int error, exit_code;
} bus_errors[] = {
#define BUS_ERROR(id, suffix, error, exit, summary) [BUS_ERROR_##id] = {"org.fdld.Fdld1.Error." suffix, summary, error, exit},
#include "common/errors.def"
};

const char *bus_error_name(BusError e) {
        return bus_errors[e].name;
}

const char *bus_error_summary(BusError e) {
        return bus_errors[e].summary;
}

int bus_error_exit_code_by_name(const char *dbus_name) {
        for (size_t i = 0; i < ELEMENTSOF(bus_errors); i++)
                if (streq(bus_errors[i].name, dbus_name))
                        return bus_errors[i].exit_code;
        for (size_t k = 0; k < ELEMENTSOF(class_names); k++)
                if (streq(class_names[k].name, dbus_name))
                        return class_names[k].exit_code;
        return -1;
}

int call_error_set(CallError *e, BusError error, const char *format, ...) {
        va_list ap;

        if (!e)
                return -1;
        e->error = error;
        va_start(ap, format);
        vsnprintf(e->text, sizeof(e->text), format, ap);
        va_end(ap);
        return -1;
}
