/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

typedef enum Kind { FLAG, NUM, HEX8, WORD, TEXT } Kind;

static const struct {
        const char *name, *families;
        Kind kind;
        const char *preset, *help;
} options[OPT_COUNT] = {
#define O(id, name, families, kind, preset, help) {name, #families, kind, preset, help},
#include "options.def"
#undef O
};

static size_t put(char *text, size_t size, size_t at, const char *format, ...) __attribute__((format(printf, 4, 5)));
static size_t put(char *text, size_t size, size_t at, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = at < size ? vsnprintf(text + at, size - at, format, ap) : 0;
        va_end(ap);
        return at + (n > 0 ? (size_t) n : 0);
}

static size_t put_family(char *text, size_t size, size_t at, const SimFamily *f) {
        at = put(text, size, at, "  %-12s [%s] %s\n", f->name, f->letters, f->about);
        for (const SimPreset *p = f->presets; p && p->value; p++)
                at = put(text, size, at, "%s%s=%s", p == f->presets ? "                 " : ",",
                         options[p->option].name, p->value);
        return f->presets ? put(text, size, at, "\n") : at;
}

const char *sim_help(void) {
        static char text[24576];
        size_t at = put(text, sizeof(text), 0, "Families, with the letters of their options and what they preset:\n");

        for (size_t i = 0; sim_families[i]; i++)
                at = put_family(text, sizeof(text), at, sim_families[i]);
        at = put(text, sizeof(text), at, "Options (X: all families), with their defaults:\n");
        for (size_t i = 0; i < OPT_COUNT; i++)
                at = put(text, sizeof(text), at, "  %s=%s  [%s] %s\n", options[i].name, options[i].preset,
                         options[i].families, options[i].help);
        (void) put(
                text, sizeof(text), at, "%s",
                "Fault lines: at=STAGE:COMMAND[:OFFSET[@N]|:#N] KIND[=VALUE] [count=N|count=forever]; 'clear' removes "
                "all.\n"
                "  STAGE brom pdl fdl1 fdl2 *; COMMAND sync connect start midst end exec reset read erase read-start "
                "read-midst\n"
                "  read-end repartition read-partition power-off plain … pdl-connect pdl-start pdl-mid pdl-end "
                "pdl-exec "
                "*;\n"
                "  OFFSET byte of the running transfer (@N: of the Nth START), #N the Nth such command since power on. KINDs: silence "
                "stall[=MS]\n"
                "  bad-sum nak=XX garbage truncate glue-log unsolicited-log disconnect[=MS] slow=MS late=MS "
                "hang-after-ack\n"
                "  write-error bad-readback drop-ack\n");
        return text;
}

static int parse_number(const char *text, uint64_t *ret) {
        char *end;

        if (strcmp(text, "auto") == 0) {
                *ret = UINT64_MAX;
                return 0;
        }
        errno = 0;
        *ret = strtoull(text, &end, 0);
        if (errno || end == text || *text == '-')
                return -EINVAL;
        if (*end == 'k' || *end == 'K')
                *ret <<= 10, end++;
        else if (*end == 'M')
                *ret <<= 20, end++;
        return *end ? -EINVAL : 0;
}

/* The words allowed stand at the front of the help, separated by |. */
static bool word_allowed(const char *help, const char *word) {
        size_t n = strlen(word);

        for (;;) {
                size_t len = strcspn(help, "|: ");
                if (len == n && strncmp(help, word, n) == 0)
                        return true;
                if (help[len] != '|')
                        return false;
                help += len + 1;
        }
}

static int set_value(SimModel *m, int i, const char *value) {
        char *end;

        m->option[i] = value;
        switch (options[i].kind) {
        case FLAG:
                if (strcmp(value, "") == 0 || strcmp(value, "1") == 0 || strcmp(value, "yes") == 0)
                        m->number[i] = 1;
                else if (strcmp(value, "0") == 0 || strcmp(value, "no") == 0)
                        m->number[i] = 0;
                else
                        return -EINVAL;
                return 0;
        case NUM:
                return parse_number(value, &m->number[i]);
        case HEX8:
                m->number[i] = strtoul(value, &end, 16);
                return *end || end == value || m->number[i] > 255 ? -EINVAL : 0;
        case WORD:
                return word_allowed(options[i].help, value) ? 0 : -EINVAL;
        case TEXT:
                return 0;
        }
        return -EINVAL;
}

static int set_option(SimModel *m, char *text, char *err, size_t err_size) {
        char *value = strchr(text, '=');
        bool known = false;
        char why[128];

        if (value)
                *value++ = 0;
        for (int i = 0; i < OPT_COUNT; i++) {
                if (strcmp(options[i].name, text) != 0)
                        continue;
                known = true;
                if (options[i].families[0] != 'X' && !strpbrk(options[i].families, m->family->letters))
                        break;
                if (i == OPT_FAULT) {
                        if (!value || !sim_fault(m, value, why, sizeof(why))) {
                                snprintf(err, err_size, "option fault: %s", value ? why : "a line is needed");
                                return -EINVAL;
                        }
                        return 0;
                }
                if (set_value(m, i, value ? value : options[i].kind == FLAG ? "1" : "?") < 0) {
                        snprintf(err, err_size, "option %s=%s: not possible; %s", text, value ? value : "",
                                 options[i].help);
                        return -EINVAL;
                }
                return 0;
        }
        snprintf(err, err_size,
                 known ? "option %s does not exist for %s" : "option %s is not known (%s); see usbsim --list", text,
                 m->family->name);
        return -EINVAL;
}

const SimFamily *const sim_families[] = {&sim_phone_emmc, &sim_phone_ufs_ab, &sim_phone_lk,
                                         &sim_phone_old,  &sim_phone_nand,   &sim_feature_nor,
                                         &sim_uis8910,    &sim_uis8850,      &sim_replay,     NULL};

static const SimFamily *find_family(const char *name, char *err, size_t err_size) {
        int at;

        for (size_t i = 0; sim_families[i]; i++)
                if (strcmp(sim_families[i]->name, name) == 0)
                        return sim_families[i];
        at = snprintf(err, err_size, "no device family '%s'; there are", name);
        for (size_t i = 0; sim_families[i] && at >= 0 && (size_t) at < err_size; i++)
                at += snprintf(err + at, err_size - (size_t) at, "%s %s", i ? "," : "", sim_families[i]->name);
        return NULL;
}

static int set_presets(SimModel *m, char *err, size_t err_size) {
        for (int i = 0; i < OPT_COUNT; i++)
                if (set_value(m, i, options[i].preset) < 0) {
                        snprintf(err, err_size, "preset of %s is broken", options[i].name);
                        return -EINVAL;
                }
        for (const SimPreset *p = m->family->presets; p && p->value; p++)
                if (set_value(m, (int) p->option, p->value) < 0) {
                        snprintf(err, err_size, "preset of %s for %s is broken", options[p->option].name,
                                 m->family->name);
                        return -EINVAL;
                }
        return 0;
}

int sim_options_parse(SimModel *m, const char *spec, char *err, size_t err_size) {
        char *text, *save = NULL;

        m->spec = strdup(spec);
        if (!m->spec) {
                snprintf(err, err_size, "out of memory");
                return -ENOMEM;
        }
        text = strtok_r(m->spec, ",", &save);
        m->family = find_family(text ? text : "", err, err_size);
        if (!m->family || set_presets(m, err, err_size) < 0)
                return -EINVAL;
        while ((text = strtok_r(NULL, ",", &save))) {
                int r = set_option(m, text, err, err_size);
                if (r < 0)
                        return r;
        }
        return 0;
}
