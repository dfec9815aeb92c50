/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/policy.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/hex.h"
#include "firmware/serials.h"

void policy_default(BatchPolicy *p) {
        *p = (BatchPolicy){
                .plan = {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET, .verify = VERIFY_LEVEL_INVALID},
                .stop_after = 3,
                .stop_window = 10,
                .stop_on_difference = true,
                .straggler = STRAGGLER_FLAG,
                .straggler_factor = 3,
        };
        for (int c = 0; c < CLASS_MAX; c++)
                p->retry[c] = class_can_heal((FailClass) c) ? 1 : 0;
}

/* What the device or the plan refuses it refuses again. */
bool class_can_heal(FailClass class) {
        switch (class) {
        case CLASS_SILENT:
        case CLASS_SLOW:
        case CLASS_GONE:
        case CLASS_GARBLED:
        case CLASS_HOST:
                return true;
        default:
                return false;
        }
}

/* ---- words and numbers ---- */

static int find_word(const char *const *words, const char *value) {
        for (int i = 0; words[i]; i++)
                if (streq(words[i], value))
                        return i;
        return -EINVAL;
}

static const char *const yes_words[] = {"no", "yes", NULL};
static const char *const finish_words[] = {[FINISH_RESET] = "reset", [FINISH_POWER_OFF] = "power-off",
                                           [FINISH_NOTHING] = "nothing", NULL};
static const char *const first_words[] = {"no", "yes", "confirm", NULL};
static const char *const straggler_words[] = {"off", "flag", "park", NULL};

/* False leaves *ret as it was. */
static bool parse_number(const char *value, uint64_t most, uint64_t *ret) {
        uint64_t n;
        char *end;

        errno = 0;
        n = strtoull(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || errno || *end != '\0' || n > most)
                return false;
        *ret = n;
        return true;
}

static int parse_bool(const char *value, bool *ret) {
        int i = streq(value, "true") || streq(value, "1") ? 1 : streq(value, "false") || streq(value, "0") ? 0 : find_word(yes_words, value);

        if (i < 0)
                return -EINVAL;
        *ret = i;
        return 0;
}

/* ---- one function for each value: 0 or -EINVAL ---- */

static int set_package(BatchPolicy *p, const char *value) {
        if (!value[0] || strlen(value) >= sizeof(p->package))
                return -EINVAL;
        snprintf(p->package, sizeof(p->package), "%s", value);
        return 0;
}

static int set_mode(BatchPolicy *p, const char *value) {
        FlashMode mode = flash_mode_from_string(value);

        if ((int) mode < 0)
                return -EINVAL;
        p->plan.mode = mode;
        return 0;
}

static int set_finish(BatchPolicy *p, const char *value) {
        int i = find_word(finish_words, value);

        if (i < 0)
                return i;
        p->plan.finish = i == FINISH_RESET ? FINISH_RESET : i == FINISH_POWER_OFF ? FINISH_POWER_OFF : FINISH_NOTHING;
        return 0;
}

static int set_allow_warnings(BatchPolicy *p, const char *value) {
        return parse_bool(value, &p->plan.allow_warnings);
}

static int set_verify(BatchPolicy *p, const char *value) {
        VerifyLevel level = verify_level_from_string(value);

        if ((int) level < 0)
                return -EINVAL;
        p->plan.verify = level;
        return 0;
}

#define CHOICE(function, name, index)                                                                                 \
        static int set_##function(BatchPolicy *p, const char *value) {                                                 \
                char why[256];                                                                                         \
                return choice_set(&p->plan.choice, name, value, why, sizeof(why)) == 0 ? 0 : -EINVAL;                  \
        }                                                                                                              \
        static void print_##function(const BatchPolicy *p, char *ret, size_t size) {                                   \
                choice_get(&p->plan.choice, index, ret, size);                                                         \
        }
CHOICE(include, "include", 0)
CHOICE(exclude, "exclude", 1)
CHOICE(check, "checks", 2)
CHOICE(try_check, "try-checks", 3)
CHOICE(keep_charge, "keep-charge", 4)
CHOICE(nv, "nv", 5)
CHOICE(stamps, "stamps", 6)
CHOICE(table_check, "table-check", 7)
CHOICE(erase_all, "erase-all", 8)
#undef CHOICE

static int set_count(BatchPolicy *p, const char *value) {
        return parse_number(value, 100000000, &p->count) ? 0 : -EINVAL;
}

static int set_first_article(BatchPolicy *p, const char *value) {
        int i = find_word(first_words, value);

        if (i < 0)
                return i;
        p->first_article = (FirstArticle) i;
        return 0;
}

/* "3/10", "3" (of as many as before), "never" */
static int set_stop_after(BatchPolicy *p, const char *value) {
        char first[24];
        uint64_t k, n = p->stop_window;
        const char *slash = strchr(value, '/');

        if (streq(value, "never")) {
                p->stop_after = 0;
                return 0;
        }
        snprintf(first, sizeof(first), "%.*s", (int) (slash ? slash - value : 20), value);
        if (!parse_number(first, STOP_WINDOW_MAX, &k) || (slash && !parse_number(slash + 1, STOP_WINDOW_MAX, &n)) || k < 1)
                return -EINVAL;
        if (!slash)
                n = MAX(n, k);
        if (k > n)
                return -EINVAL;
        p->stop_after = (unsigned) k;
        p->stop_window = (unsigned) n;
        return 0;
}

static int set_stop_on_difference(BatchPolicy *p, const char *value) {
        return parse_bool(value, &p->stop_on_difference);
}

/* "2", or "silent:1 gone:2": what is not named is not repeated. Refusals never are. */
static int set_retry(BatchPolicy *p, const char *value) {
        unsigned retry[CLASS_MAX] = {};
        uint64_t n;

        if (parse_number(value, 10, &n)) {
                for (int c = 0; c < CLASS_MAX; c++)
                        p->retry[c] = class_can_heal((FailClass) c) ? (unsigned) n : 0;
                return 0;
        }
        for (const char *at = value; *at; at += strspn(at, " ,")) {
                size_t length = strcspn(at, " ,");
                char word[40], *colon;
                FailClass class;

                snprintf(word, sizeof(word), "%.*s", (int) MIN(length, sizeof(word) - 1), at);
                colon = strchr(word, ':');
                if (!colon)
                        return -EINVAL;
                *colon = '\0';
                class = fail_class_from_string(word);
                if ((int) class < 0 || !parse_number(colon + 1, 10, &n) || (n > 0 && !class_can_heal(class)))
                        return -EINVAL;
                retry[class] = (unsigned) n;
                at += length;
        }
        if (!value[0])
                return -EINVAL;
        memcpy(p->retry, retry, sizeof(retry));
        return 0;
}

static int set_reflash(BatchPolicy *p, const char *value) {
        return parse_bool(value, &p->reflash);
}

static int set_straggler(BatchPolicy *p, const char *value) {
        int i = find_word(straggler_words, value);

        if (i < 0)
                return i;
        p->straggler = (StragglerPolicy) i;
        return 0;
}

static int set_straggler_factor(BatchPolicy *p, const char *value) {
        uint64_t n;

        if (!parse_number(value, 100, &n) || n < 2)
                return -EINVAL;
        p->straggler_factor = (unsigned) n;
        return 0;
}

static int set_quarantine_after(BatchPolicy *p, const char *value) {
        uint64_t n = 0;

        if (!streq(value, "never") && !parse_number(value, 1000, &n))
                return -EINVAL;
        p->quarantine_after = (unsigned) n;
        return 0;
}

static int set_first_mode(BatchPolicy *p, const char *value) {
        unsigned mode;

        if (!plan_first_mode_from_string(value, &mode))
                return -EINVAL;
        p->plan.first_mode = mode + 1;
        return 0;
}

/* A batch of the database names its stock. */
static int set_serials(BatchPolicy *p, const char *value) {
        char why[320];
        size_t longest;
        uint64_t n;

        if (strlen(value) >= sizeof(p->serials) || (!streq(value, "ask") && !(strncmp(value, "stock:", 6) == 0 && is_lower_hex(value + 6, 32)) &&
                                                    serials_check(value, &n, &longest, why, sizeof(why)) < 0))
                return -EINVAL;
        snprintf(p->serials, sizeof(p->serials), "%s", value);
        return 0;
}

/* ---- and back ---- */

static void print_yes(bool v, char *ret, size_t size) {
        snprintf(ret, size, "%s", yes_words[v]);
}

static void print_package(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", p->package);
}

static void print_mode(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", flash_mode_to_string(p->plan.mode));
}

static void print_finish(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", finish_words[p->plan.finish]);
}

static void print_allow_warnings(const BatchPolicy *p, char *ret, size_t size) {
        print_yes(p->plan.allow_warnings, ret, size);
}

static void print_count(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%llu", (unsigned long long) p->count);
}

static void print_first_article(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", first_words[p->first_article]);
}

static void print_first_mode(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", p->plan.first_mode > 0 ? plan_first_mode_to_string(p->plan.first_mode - 1) : "");
}

static void print_serials(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", !p->serials[0] || streq(p->serials, "ask") ? p->serials : "list");
}

/* "": as the settings say. */
static void print_verify(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", p->plan.verify == VERIFY_LEVEL_INVALID ? "" : verify_level_to_string(p->plan.verify));
}

static void print_stop_after(const BatchPolicy *p, char *ret, size_t size) {
        if (p->stop_after == 0)
                snprintf(ret, size, "never");
        else
                snprintf(ret, size, "%u/%u", p->stop_after, p->stop_window);
}

static void print_stop_on_difference(const BatchPolicy *p, char *ret, size_t size) {
        print_yes(p->stop_on_difference, ret, size);
}

static void print_retry(const BatchPolicy *p, char *ret, size_t size) {
        size_t used = 0;

        snprintf(ret, size, "0");
        for (int c = 0; c < CLASS_MAX; c++)
                if (p->retry[c] > 0 && used < size)
                        used += (size_t) snprintf(ret + used, size - used, "%s%s:%u", used > 0 ? " " : "",
                                                  fail_class_to_string((FailClass) c), p->retry[c]);
}

static void print_reflash(const BatchPolicy *p, char *ret, size_t size) {
        print_yes(p->reflash, ret, size);
}

static void print_straggler(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%s", straggler_words[p->straggler]);
}

static void print_straggler_factor(const BatchPolicy *p, char *ret, size_t size) {
        snprintf(ret, size, "%u", p->straggler_factor);
}

static void print_quarantine_after(const BatchPolicy *p, char *ret, size_t size) {
        if (p->quarantine_after == 0)
                snprintf(ret, size, "never");
        else
                snprintf(ret, size, "%u", p->quarantine_after);
}

/* ---- the table ---- */

static const struct {
        const char *key, *option, *possible;
        int (*set)(BatchPolicy *p, const char *value);
        void (*print)(const BatchPolicy *p, char *ret, size_t size);
} values[] = {
        {"Package", "package", "the name of a package in the store, or the beginning of its digest", set_package, print_package},
        {"Mode", "mode", "upgrade, factory, research", set_mode, print_mode},
        {"Finish", "finish", "reset, power-off, nothing", set_finish, print_finish},
        {"Verify", "verify", "ack, sample, critical, full", set_verify, print_verify},
        {"AllowWarnings", "allow-warnings", "yes, no", set_allow_warnings, print_allow_warnings},
        {"Include", "include", "ids of files with commas between, 383 bytes at most; all", set_include, print_include},
        {"Exclude", "exclude", "ids of files with commas between, 383 bytes at most", set_exclude, print_exclude},
        {"Checks", "checks", "ddr, chip-type=0xNNNN, memory-type=MID-DID[-EID], bad-blocks=PERCENT, old-memory, calibration", set_check, print_check},
        {"TryChecks", "try-checks", "the same as of Checks", set_try_check, print_try_check},
        {"KeepCharge", "keep-charge", "yes, try, no", set_keep_charge, print_keep_charge},
        {"Nv", "nv", "keep, package", set_nv, print_nv},
        {"Stamps", "stamps", "yes, no", set_stamps, print_stamps},
        {"TableCheck", "table-check", "yes, no", set_table_check, print_table_check},
        {"EraseAll", "erase-all", "yes, no", set_erase_all, print_erase_all},
        {"FirstMode", "first-mode", "normal, gsm-cal, gsm-final, …, bbat, native-mmi, apk-mmi, upt, or the number", set_first_mode, print_first_mode},
        {"Serials", "serials", "ask, a range like AB24:0001-0500, or a list", set_serials, print_serials},
        {"Count", "count", "a number of units; 0 for no end", set_count, print_count},
        {"FirstArticle", "first-article", "no, yes, confirm", set_first_article, print_first_article},
        {"StopAfter", "stop-after", "3/10 (so many alike among the last so many, 64 at most), never", set_stop_after, print_stop_after},
        {"StopOnDifference", "stop-on-difference", "yes, no", set_stop_on_difference, print_stop_on_difference},
        {"Retry", "retry", "a number up to 10, or silent:1 slow:1 gone:1 garbled:1 host:1; refusals are never repeated", set_retry, print_retry},
        {"Reflash", "reflash", "yes, no", set_reflash, print_reflash},
        {"Straggler", "straggler", "off, flag, park", set_straggler, print_straggler},
        {"StragglerFactor", "straggler-factor", "2 to 100", set_straggler_factor, print_straggler_factor},
        {"QuarantineAfter", "quarantine-after", "a number of failures, never", set_quarantine_after, print_quarantine_after},
};

int policy_set(BatchPolicy *p, const char *name, const char *value, char *why, size_t why_size) {
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                if (!streq(values[i].key, name) && !streq(values[i].option, name))
                        continue;
                if (values[i].set(p, value) == 0)
                        return 0;
                snprintf(why, why_size, "%s cannot be \"%.64s\". Possible: %s.", name, value, values[i].possible);
                return -EINVAL;
        }
        return -ENOENT;
}

void policy_foreach(const BatchPolicy *p, void (*fn)(const char *name, const char *value, void *userdata), void *userdata) {
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                char value[CHOICE_TEXT_MAX];
                values[i].print(p, value, sizeof(value));
                fn(values[i].option, value, userdata);
        }
}

typedef struct Lines {
        char *text;
        size_t used, size;
} Lines;

static void add_line(const char *name, const char *value, void *userdata) {
        Lines *l = userdata;

        if (value[0] && l->used < l->size && !streq(name, "serials"))
                l->used += (size_t) snprintf(l->text + l->used, l->size - l->used, "%s=%s\n", name, value);
}

void policy_to_text(const BatchPolicy *p, char *ret, size_t size) {
        Lines l = {ret, 0, size};

        ret[0] = '\0';
        policy_foreach(p, add_line, &l);
        if (p->serials[0] && l.used < size)
                snprintf(ret + l.used, size - l.used, "serials=%s\n", p->serials);
}

/* What this version does not know stays at its default. */
void policy_from_text(BatchPolicy *p, const char *text) {
        policy_default(p);
        for (const char *at = text; *at;) {
                size_t n = strcspn(at, "\n");
                char line[CHOICE_TEXT_MAX + 40], why[256], *equals;

                snprintf(line, sizeof(line), "%.*s", (int) MIN(n, sizeof(line) - 1), at);
                equals = strchr(line, '=');
                if (equals) {
                        *equals = '\0';
                        (void) policy_set(p, line, equals + 1, why, sizeof(why));
                }
                at += n;
                at += *at == '\n';
        }
}
