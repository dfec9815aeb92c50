/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
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

const char *sim_help(void) {
        return "Families:\n"
               "  phone-emmc   phone with eMMC: boot ROM, FDL1, FDL2 (U-Boot); names address partitions\n"
               "  uis8910      cellular module: ROM with the PDL protocol, FDL1, FDL2; addresses\n"
               "  uis8850      cellular module: ROM, one FDL; addresses\n"
               "Options (X all families, P phone-emmc, A uis8910, B uis8850), with their defaults:\n"
#define O(id, name, families, kind, preset, help) "  " name "=" preset "  [" #families "] " help "\n"
#include "options.def"
#undef O
               "Fault lines: at=STAGE:COMMAND[:OFFSET|:#N] KIND[=VALUE] [count=N|count=forever]; 'clear' removes all.\n"
               "  STAGE brom pdl fdl1 fdl2 *; COMMAND sync connect start midst end exec reset read erase read-start "
               "read-midst\n"
               "  read-end repartition read-partition power-off plain … pdl-connect pdl-start pdl-mid pdl-end pdl-exec "
               "*;\n"
               "  OFFSET byte of the running transfer, #N the Nth such command since power on. KINDs: silence "
               "stall[=MS]\n"
               "  bad-sum nak=XX garbage truncate glue-log unsolicited-log disconnect[=MS] slow=MS late=MS "
               "hang-after-ack\n"
               "  write-error bad-readback drop-ack\n";
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
                if (options[i].families[0] != 'X' && !strchr(options[i].families, m->family->letter))
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

int sim_options_parse(SimModel *m, const char *spec, char *err, size_t err_size) {
        static const SimFamily *const families[] = {&sim_phone_emmc, &sim_uis8910, &sim_uis8850};
        char *text, *save = NULL;

        m->spec = strdup(spec);
        if (!m->spec) {
                snprintf(err, err_size, "out of memory");
                return -ENOMEM;
        }
        text = strtok_r(m->spec, ",", &save);
        for (size_t i = 0; text && i < COUNT(families); i++)
                if (strcmp(families[i]->name, text) == 0)
                        m->family = families[i];
        if (!m->family) {
                snprintf(err, err_size, "no device family '%s'; there are phone-emmc, uis8910, uis8850",
                         text ? text : "");
                return -EINVAL;
        }
        for (int i = 0; i < OPT_COUNT; i++)
                if (set_value(m, i, options[i].preset) < 0) {
                        snprintf(err, err_size, "preset of %s is broken", options[i].name);
                        return -EINVAL;
                }
        while ((text = strtok_r(NULL, ",", &save))) {
                int r = set_option(m, text, err, err_size);
                if (r < 0)
                        return r;
        }
        return 0;
}
