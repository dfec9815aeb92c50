/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- lists -------------------------------------------------------------------------------------------------- */

bool choice_next(const char **list, char *ret, size_t size) {
        while (**list == ',' || **list == ' ')
                (*list)++;
        if (!**list)
                return false;
        snprintf(ret, size, "%.*s", (int) strcspn(*list, ", "), *list);
        *list += strcspn(*list, ", ");
        return true;
}

bool choice_lists(const char *list, const char *word) {
        char item[128];

        while (choice_next(&list, item, sizeof(item)))
                if (strcasecmp(item, word) == 0)
                        return true;
        return false;
}

/* ---- checks ------------------------------------------------------------------------------------------------- */

static const struct {
        const char *word;
        bool value;
} checks[] = {
#define X(word, value, what) {#word, value},
        CHOICE_CHECKS(X)
#undef X
};

static bool is_hex_group(const char *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!strchr("0123456789abcdefABCDEF", p[i]))
                        return false;
        return n > 0 && n <= 8;
}

/* "2c-ac-15/ec-bc" */
static bool is_memory_list(const char *p) {
        unsigned groups = 0;

        for (; *p; p += strcspn(p, "-/"), p += *p != '\0') {
                size_t n = strcspn(p, "-/");

                if (!is_hex_group(p, n) || ++groups > 3 || (p[n] && !p[n + 1]))
                        return false;
                if (p[n] != '-') {
                        if (groups < 2)
                                return false;
                        groups = 0;
                }
        }
        return groups == 0;
}

static bool good_value(const char *word, const char *value) {
        char *end;

        if (streq(word, "memory-type"))
                return value[0] && is_memory_list(value);
        errno = 0;
        if (streq(word, "bad-blocks")) {
                double percent = strtod(value, &end);
                return value[0] >= '0' && value[0] <= '9' && !*end && percent >= 0 && percent <= 100;
        }
        return value[0] >= '0' && value[0] <= '9' && strtoull(value, &end, 0) <= UINT32_MAX && !errno && !*end;
}

static bool good_check(const char *item) {
        char word[40];
        const char *equals = strchr(item, '=');

        snprintf(word, sizeof(word), "%.*s", (int) strcspn(item, "="), item);
        for (size_t i = 0; i < ELEMENTSOF(checks); i++)
                if (streq(checks[i].word, word))
                        return checks[i].value ? equals && good_value(word, equals + 1) : !equals;
        return false;
}

static bool find_check(const char *list, const char *word, char *ret, size_t size) {
        char item[128];
        size_t n = strlen(word);

        while (choice_next(&list, item, sizeof(item)))
                if (strncmp(item, word, n) == 0 && (item[n] == '=' || !item[n])) {
                        snprintf(ret, size, "%s", item[n] ? item + n + 1 : "");
                        return true;
                }
        return false;
}

ChoiceCheck choice_check(const PlanChoice *c, const char *word, char *ret, size_t size) {
        return find_check(c->check, word, ret, size) ? CHECK_MUST : find_check(c->try_check, word, ret, size) ? CHECK_TRY : CHECK_NOT;
}

/* ---- one function for each choice: true if the value can be ------------------------------------------------- */

static bool set_list(char *to, size_t size, const char *value, bool (*good)(const char *item)) {
        const char *at = value;
        char item[160];
        size_t n = 0;

        if (strlen(value) >= size)
                return false;
        while (choice_next(&at, item, sizeof(item))) {
                if ((good && !good(item)) || item[strcspn(item, "\n\r\t")])
                        return false;
                n++;
        }
        if (n > 0)
                snprintf(to, size, "%s", value);
        return n > 0;
}

static bool set_include(PlanChoice *c, const char *value) {
        return set_list(c->include, sizeof(c->include), value, NULL);
}
static bool set_exclude(PlanChoice *c, const char *value) {
        return set_list(c->exclude, sizeof(c->exclude), value, NULL);
}
static bool set_check(PlanChoice *c, const char *value) {
        return set_list(c->check, sizeof(c->check), value, good_check);
}
static bool set_try_check(PlanChoice *c, const char *value) {
        return set_list(c->try_check, sizeof(c->try_check), value, good_check);
}

static bool set_tri(ChoiceTri *to, const char *value, const char *yes, const char *no) {
        *to = streq(value, yes) ? CHOICE_YES : streq(value, no) ? CHOICE_NO : CHOICE_AS_MODE;
        return *to != CHOICE_AS_MODE;
}
static bool set_keep_charge(PlanChoice *c, const char *value) {
        c->keep_charge_try = streq(value, "try");
        return set_tri(&c->keep_charge, c->keep_charge_try ? "yes" : value, "yes", "no");
}
static bool set_nv(PlanChoice *c, const char *value) {
        return set_tri(&c->nv, value, "keep", "package");
}
static bool set_stamps(PlanChoice *c, const char *value) {
        return set_tri(&c->stamps, value, "yes", "no");
}
static bool set_erase_all(PlanChoice *c, const char *value) {
        return set_tri(&c->erase_all, value, "yes", "no");
}
static bool set_table_check(PlanChoice *c, const char *value) {
        return set_tri(&c->table_check, value, "yes", "no");
}

static const char *tri_word(ChoiceTri t, const char *yes, const char *no) {
        return t == CHOICE_YES ? yes : t == CHOICE_NO ? no : "";
}
static const char *get_include(const PlanChoice *c) {
        return c->include;
}
static const char *get_exclude(const PlanChoice *c) {
        return c->exclude;
}
static const char *get_check(const PlanChoice *c) {
        return c->check;
}
static const char *get_try_check(const PlanChoice *c) {
        return c->try_check;
}
static const char *get_keep_charge(const PlanChoice *c) {
        return tri_word(c->keep_charge, c->keep_charge_try ? "try" : "yes", "no");
}
static const char *get_nv(const PlanChoice *c) {
        return tri_word(c->nv, "keep", "package");
}
static const char *get_stamps(const PlanChoice *c) {
        return tri_word(c->stamps, "yes", "no");
}
static const char *get_erase_all(const PlanChoice *c) {
        return tri_word(c->erase_all, "yes", "no");
}
static const char *get_table_check(const PlanChoice *c) {
        return tri_word(c->table_check, "yes", "no");
}

static const struct {
        const char *name, *possible;
        bool (*set)(PlanChoice *c, const char *value);
        const char *(*get)(const PlanChoice *c);
} choices[] = {
        {"include", "ids of files with commas between, 383 bytes at most", set_include, get_include},
        {"exclude", "ids of files with commas between, 383 bytes at most", set_exclude, get_exclude},
        {"checks", "ddr, chip-type=0xNNNN, memory-type=MID-DID[-EID][/…], bad-blocks=PERCENT, old-memory, calibration", set_check, get_check},
        {"try-checks", "ddr, chip-type=0xNNNN, memory-type=MID-DID[-EID][/…], bad-blocks=PERCENT, old-memory, calibration", set_try_check, get_try_check},
        {"keep-charge", "yes, try, no", set_keep_charge, get_keep_charge},
        {"nv", "keep, package", set_nv, get_nv},
        {"stamps", "yes, no", set_stamps, get_stamps},
        {"table-check", "yes, no", set_table_check, get_table_check},
        {"erase-all", "yes, no", set_erase_all, get_erase_all},
};

const char *choice_name(size_t i) {
        return i < ELEMENTSOF(choices) ? choices[i].name : NULL;
}

void choice_get(const PlanChoice *c, size_t i, char *ret, size_t size) {
        snprintf(ret, size, "%s", i < ELEMENTSOF(choices) ? choices[i].get(c) : "");
}

int choice_set(PlanChoice *c, const char *name, const char *value, char *why, size_t why_size) {
        for (size_t i = 0; i < ELEMENTSOF(choices); i++) {
                PlanChoice next = *c;

                if (!streq(choices[i].name, name))
                        continue;
                if (!choices[i].set(&next, value)) {
                        snprintf(why, why_size, "%s cannot be \"%.64s\". Possible: %s.", name, value, choices[i].possible);
                        return -EINVAL;
                }
                *c = next;
                return 0;
        }
        return -ENOENT;
}

/* ---- as a whole --------------------------------------------------------------------------------------------- */

void choice_to_text(const PlanChoice *c, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < ELEMENTSOF(choices) && used < size; i++) {
                const char *value = choices[i].get(c);
                if (value[0])
                        used += (size_t) snprintf(ret + used, size - used, "%s=%s\n", choices[i].name, value);
        }
}

void choice_from_text(PlanChoice *c, const char *text) {
        *c = (PlanChoice) {};
        while (*text) {
                size_t n = strcspn(text, "\n");
                char line[CHOICE_TEXT_MAX + 40], why[256], *equals;

                snprintf(line, sizeof(line), "%.*s", (int) n, text);
                equals = strchr(line, '=');
                if (equals) {
                        *equals = '\0';
                        (void) choice_set(c, line, equals + 1, why, sizeof(why));
                }
                text += n + (text[n] == '\n');
        }
}

bool choice_equal(const PlanChoice *a, const PlanChoice *b) {
        for (size_t i = 0; i < ELEMENTSOF(choices); i++)
                if (!streq(choices[i].get(a), choices[i].get(b)))
                        return false;
        return true;
}

bool choice_is_default(const PlanChoice *c) {
        return choice_equal(c, &(PlanChoice) {});
}

bool choice_is_of_loaders(const PlanChoice *c) {
        PlanChoice rest = *c;

        rest.check[0] = rest.try_check[0] = '\0';
        rest.keep_charge = CHOICE_AS_MODE;
        rest.keep_charge_try = false;
        return choice_is_default(&rest);
}
