/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "bus-client.h"
#include "common/macro.h"
#include "common/words.h"
#include "fdlctl.h"
#include "output.h"

const char *arg_loaders;
const char *arg_include, *arg_exclude, *arg_check_units, *arg_try_check, *arg_keep_charge, *arg_nv, *arg_stamps, *arg_table_check;
const char *arg_sparse;
bool arg_skip_equal;
const char *arg_slot, *arg_device, *arg_mode, *arg_finish, *arg_verify, *arg_raw;
const char *arg_from;
bool arg_erase_all;
bool arg_all, arg_wait = true, arg_dry_run, arg_allow_warnings, arg_repartition, arg_table_only;
uint64_t arg_timeout_usec;
const char *arg_name, *arg_host;
bool arg_pager = true;
bool arg_yes;
const char *arg_operator;
const char *arg_serials, *arg_first_mode;
const char *arg_package, *arg_fdl1, *arg_fdl2, *arg_family;
uint64_t arg_offset, arg_length;
bool arg_any_image, arg_force, arg_unproven;
const char *arg_serial, *arg_chip, *arg_batch, *arg_code, *arg_result, *arg_kind, *arg_since, *arg_until;
const char *arg_prune, *arg_format, *arg_cursor_file;
bool arg_check, arg_follow;
uint64_t arg_limit, arg_cursor;
const char *arg_pcap;
bool arg_personal;
const char *arg_slots, *arg_profile, *arg_count, *arg_first_article, *arg_stop_after, *arg_retry;
const char *arg_straggler, *arg_quarantine_after, *arg_stop_on_difference;
bool arg_reflash, arg_once, arg_clear;

const char *choice_argument(const char *name) {
        const struct {
                const char *name, *value;
        } given_choices[] = {
                {"include", arg_include}, {"exclude", arg_exclude}, {"checks", arg_check_units}, {"try-checks", arg_try_check},
                {"keep-charge", arg_keep_charge}, {"nv", arg_nv}, {"stamps", arg_stamps}, {"table-check", arg_table_check},
                {"erase-all", arg_erase_all ? "yes" : NULL},
        };

        for (size_t i = 0; i < ELEMENTSOF(given_choices); i++)
                if (streq(given_choices[i].name, name))
                        return given_choices[i].value;
        return NULL;
}

int usage_error(const char *format, ...) {
        va_list ap;

        fprintf(stderr, "fdlctl: ");
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, " See \"fdlctl --help\".\n");
        return EXIT_USAGE;
}

/* ---- how values are read: -1 good, else an exit code ---- */

typedef struct Option Option;
struct Option {
        const char *name;
        int letter;                /* 0: none */
        const char *value;         /* how the value is called, NULL: takes none */
        int (*read)(const Option *o, const char *value);
        void *target;
        const char *verbs;         /* that take it, " flash plan "; NULL: all */
        const char *help;          /* NULL: not in --help */
        const char *words;         /* for read_word: what the value may be, "a|b|c" */
};

static int read_text(const Option *o, const char *value) {
        *(const char **) o->target = value;
        return -1;
}

static int read_true(const Option *o, const char *value _unused_) {
        *(bool *) o->target = true;
        return -1;
}

static int read_false(const Option *o, const char *value _unused_) {
        *(bool *) o->target = false;
        return -1;
}

static bool is_word(const char *words, const char *value) {
        size_t n = strlen(value);

        for (const char *at = words; *at; at += strcspn(at, "|"), at += *at == '|')
                if (strcspn(at, "|") == n && strncmp(at, value, n) == 0)
                        return true;
        return false;
}

/* "MODE" is for the help; in a sentence it is a mode. */
static const char *lower(const char *value) {
        static char word[24];
        size_t n = 0;

        for (; n < sizeof(word) - 1 && value[n]; n++)
                word[n] = value[n] >= 'A' && value[n] <= 'Z' ? (char) (value[n] + ('a' - 'A')) : value[n];
        word[n] = '\0';
        return word;
}

static int read_word(const Option *o, const char *value) {
        if (!is_word(o->words, value))
                return usage_error("\"%s\" is no %s for --%s; possible are %s.", value, lower(o->value), o->name, o->words);
        *(const char **) o->target = value;
        return -1;
}

static int read_first_article(const Option *o, const char *value) {
        if (value && !streq(value, "yes") && !streq(value, "no") && !streq(value, "confirm"))
                return usage_error("\"%s\" cannot follow --%s; possible are yes, no and confirm.", value, o->name);
        *(const char **) o->target = value ? value : "yes";
        return -1;
}

static int read_seconds(const Option *o, const char *value) {
        char *end;
        double s = strtod(value, &end);

        if (end == value || *end || !(s > 0) || s > 1e9)
                return usage_error("\"%s\" is no number of seconds.", value);
        *(uint64_t *) o->target = MAX((uint64_t) (s * 1e6), (uint64_t) 1); /* 0 would mean for ever */
        return -1;
}

static int read_number(const Option *o, const char *value) {
        char *end;

        errno = 0;
        *(uint64_t *) o->target = strtoull(value, &end, 10);
        if (errno || end == value || *end || value[0] == '-')
                return usage_error("--%s needs a number, not \"%s\".", o->name, value);
        return -1;
}

/* 4096, 0x1000, 4K, 1M */
static int read_size(const Option *o, const char *value) {
        unsigned shift = 0;
        char *end;

        errno = 0;
        *(uint64_t *) o->target = strtoull(value, &end, 0);
        if (*end && !end[1])
                shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
        if (errno || end == value || (*end && shift == 0) || value[0] == '-')
                return usage_error("--%s needs a number of bytes, not \"%s\".", o->name, value);
        *(uint64_t *) o->target <<= shift;
        return -1;
}

static int read_json(const Option *o, const char *value) {
        if (!is_word(o->words, value))
                return usage_error("\"%s\" is no JSON mode; it is pretty, short or off.", value);
        arg_output.json = streq(value, "pretty") ? JSON_PRETTY : streq(value, "short") ? JSON_SHORT : JSON_OFF;
        return -1;
}

static int read_j(const Option *o _unused_, const char *value _unused_) {
        if (arg_output.json == JSON_OFF)
                arg_output.json = JSON_SHORT;
        return -1;
}

static int read_help(const Option *o, const char *value _unused_) {
        ((void (*)(void)) o->target)();
        return 0;
}

static void print_version(void) {
        puts("fdlctl " PACKAGE_VERSION);
}

/* ---- the table ---- */

#define FLASHES " flash enter-download plan repartition start-batch arm "
#define WRITES " write restore verify "
#define CHECKED " write read erase backup restore "
#define BATCH " start-batch "
#define BATCH_OR_ARM " start-batch arm "
#define RECORDS " history export "
#define STEPS " write read erase backup restore repair verify vault "
#define TARGETS " flash enter-download verify repartition probe history export write read erase backup restore repair vault reset "
/* Harmless where nothing is waited for: scripts give them to everything. */
#define WAITS NULL

static const Option options[] = {
        { "slot", 's', "SLOT", read_text, &arg_slot, TARGETS, "Label, port or path of the slot to use", NULL },
        { "device", 'd', "DEVICE", read_text, &arg_device, TARGETS, "Number, port or path of the device to use", NULL },
        { "all", 'a', NULL, read_true, &arg_all, " flash verify repartition repair ", "Every device in boot mode", NULL },
        { "mode", 0, "MODE", read_word, &arg_mode, FLASHES, "upgrade (default), factory, research", "upgrade|factory|research" },
        { "raw", 0, "on|off", read_word, &arg_raw, " flash enter-download write ", "Images without frames where the loader offers it", "on|off" },
        { "sparse", 0, "WAY", read_word, &arg_sparse, " flash write ", "Expand sparse images: auto (super), expand, asis", "auto|expand|asis" },
        { "skip-equal", 0, NULL, read_true, &arg_skip_equal, " flash write ", "Read first; do not write what is there already", NULL },
        { "finish", 0, "WAY", read_word, &arg_finish, FLASHES STEPS " reset ", "reset (default), power-off, nothing", "reset|power-off|nothing" },
        { "verify", 0, "LEVEL", read_word, &arg_verify, FLASHES BATCH_OR_ARM WRITES, "Read back ack (nothing), sample, critical, full",
          "ack|sample|critical|full" },
        { "include", 0, "ID,…", read_text, &arg_include, FLASHES, "Also these files (all: the ticked ones)", NULL },
        { "exclude", 0, "ID,…", read_text, &arg_exclude, FLASHES, "Leave these files out", NULL },
        { "keep-charge", 0, "HOW", read_word, &arg_keep_charge, FLASHES CHECKED, "Let the unit charge: yes, try, no (default)", "yes|try|no" },
        { "checks", 0, "CHECK,…", read_text, &arg_check_units, FLASHES CHECKED, "Before anything is written: ddr, old-memory, …", NULL },
        { "try-checks", 0, "CHECK,…", read_text, &arg_try_check, FLASHES CHECKED, "Check that before, if the loader can", NULL },
        { "nv", 0, "WHOSE", read_word, &arg_nv, FLASHES, "research: keep (own calibration) or package", "keep|package" },
        { "stamps", 0, "YES", read_word, &arg_stamps, FLASHES, "Time stamp, build time: yes or no (research)", "yes|no" },
        { "table-check", 0, "YES", read_word, &arg_table_check, FLASHES, "research: no: another partition table is fine", "yes|no" },
        { "erase-all", 0, NULL, read_true, &arg_erase_all, FLASHES, "factory, research: erase all of the flash first", NULL },
        { "allow-warnings", 0, NULL, read_true, &arg_allow_warnings, FLASHES, "Use a package although it has warnings", NULL },
        { "repartition", 0, NULL, read_true, &arg_repartition, " flash plan repartition ", "Give the unit the package's table if it differs", NULL },
        { "dry-run", 0, NULL, read_true, &arg_dry_run, " flash enter-download repartition write read erase backup restore repair vault ", "Show what would be done; send nothing", NULL },
        { "no-wait", 0, NULL, read_false, &arg_wait, WAITS, "Do not wait for the jobs that were started", NULL },
        { "wait", 0, NULL, read_true, &arg_wait, WAITS, NULL, NULL },
        { "timeout", 0, "SECONDS", read_seconds, &arg_timeout_usec, WAITS, "Stop waiting after this time", NULL },
        { "operator", 0, "NAME", read_text, &arg_operator, " flash enter-download repartition start-batch arm " STEPS, "Who stands at the station, for the record", NULL },
        { "from", 0, "SOURCE", read_text, &arg_from, " repair ", "Folder of a backup, or package, that is right", NULL },
        { "serials", 0, "NUMBERS", read_text, &arg_serials, " flash " BATCH_OR_ARM, "Numbers for units: AB:0001-0500, A1,A2, @FILE, ask", NULL },
        { "first-mode", 0, "MODE", read_text, &arg_first_mode, " flash " BATCH_OR_ARM, "What the unit starts as: bbat, apk-mmi, 0x11, …", NULL },
        { "package", 'p', "PACKAGE", read_text, &arg_package, STEPS " repartition arm ", "Package of the store, or file, with the loaders", NULL },
        { "loaders", 0, "WHICH", read_text, &arg_loaders, STEPS " repartition " RECORDS, "Hash, package, product, board or family of loaders", NULL },
        { "fdl1", 0, "FILE@ADDR", read_text, &arg_fdl1, STEPS " repartition ", "First loader, for devices without a package", NULL },
        { "fdl2", 0, "FILE@ADDR", read_text, &arg_fdl2, STEPS " repartition ", "Second loader", NULL },
        { "family", 0, "FAMILY", read_text, &arg_family, STEPS " repartition ", "Of the loaders: phone, feature, uis8910, uis8850", NULL },
        { "offset", 0, "BYTES", read_size, &arg_offset, " read ", "Read from here on", NULL },
        { "length", 0, "BYTES", read_size, &arg_length, " read ", "Read so much", NULL },
        { "any-image", 0, NULL, read_true, &arg_any_image, " flash plan write restore ", "Write a file whatever it looks like", NULL },
        { "force", 0, NULL, read_true, &arg_force, " read backup vault trace bundle ", "Overwrite files that are there", NULL },
        { "unproven", 0, NULL, read_true, &arg_unproven, " vault restore ", "Restore to a unit that cannot prove who it is", NULL },
        { "yes", 'y', NULL, read_true, &arg_yes, NULL, "Do not ask before something is lost", NULL },
        { "slots", 0, "SLOT,…", read_text, &arg_slots, BATCH, "Slots of the batch (default: all that are free)", NULL },
        { "name", 0, "NAME", read_text, &arg_name, " import " BATCH, "How the batch, or a package from a pipe, is called", NULL },
        { "profile", 0, "PROFILE", read_text, &arg_profile, BATCH_OR_ARM, "Take what is not said here from a profile", NULL },
        { "count", 0, "N", read_text, &arg_count, BATCH_OR_ARM, "End when so many units passed", NULL },
        { "first-article", 0, "[confirm]", read_first_article, &arg_first_article, BATCH, "One unit must pass (be confirmed) before the rest", NULL },
        { "stop-after", 0, "K/N", read_text, &arg_stop_after, BATCH_OR_ARM, "Pause if K of the last N fail alike (3/10), or never", NULL },
        { "retry", 0, "N", read_text, &arg_retry, BATCH_OR_ARM, "Attempts after a failure that heals (1), or class:n", NULL },
        { "reflash", 0, NULL, read_true, &arg_reflash, BATCH_OR_ARM, "Also units that passed with this package before", NULL },
        { "straggler", 0, "WAY", read_word, &arg_straggler, BATCH, "Slow units: flag (default), park or off", "off|flag|park" },
        { "stop-on-difference", 0, "YES", read_word, &arg_stop_on_difference, BATCH, "Pause at a unit unlike the others: yes (default), no", "yes|no" },
        { "quarantine-after", 0, "N", read_text, &arg_quarantine_after, BATCH, "Close a slot after N lost connections in a row", NULL },
        { "once", 0, NULL, read_true, &arg_once, " watch ", "Print the board once, for scripts", NULL },
        { "clear", 0, NULL, read_true, &arg_clear, " teach ", "Forget which sockets were listed", NULL },
        { "serial", 0, "SN", read_text, &arg_serial, " flash " RECORDS, "Factory mode: number to write. Records of it", NULL },
        { "chip", 0, "UID", read_text, &arg_chip, RECORDS, "Records of this chip", NULL },
        { "batch", 0, "N", read_text, &arg_batch, RECORDS, "Records of this batch", NULL },
        { "code", 0, "CODE", read_text, &arg_code, RECORDS, "Records with this failure code", NULL },
        { "result", 0, "RESULT", read_word, &arg_result, RECORDS, "Records with this result (done, failed, …)",
          "done|failed|canceled|timeout|interrupted|skipped" },
        { "kind", 0, "KIND", read_text, &arg_kind, RECORDS, "Records of this kind of job", NULL },
        { "since", 0, "TIME", read_text, &arg_since, RECORDS, "Ended at or after: 2026-11-26, today, 12h", NULL },
        { "until", 0, "TIME", read_text, &arg_until, RECORDS, "Ended before", NULL },
        { "limit", 'n', "N", read_number, &arg_limit, " history ", "At most so many records (50)", NULL },
        { "check", 0, NULL, read_true, &arg_check, " history ", "Whether records were changed afterwards", NULL },
        { "prune", 0, "TIME", read_text, &arg_prune, " history ", "Forget records older than this", NULL },
        { "pcap", 0, "FILE", read_text, &arg_pcap, " trace ", "Write the trace as a USB capture", NULL },
        { "personal", 0, NULL, read_true, &arg_personal, " bundle ", "With serial numbers, chip UIDs and names", NULL },
        { "format", 0, "FORMAT", read_word, &arg_format, " export ", "jsonl (default) or csv", "jsonl|csv" },
        { "follow", 'f', NULL, read_true, &arg_follow, " export ", "Go on as units end", NULL },
        { "cursor", 0, "N", read_number, &arg_cursor, " export ", "Records after this one", NULL },
        { "cursor-file", 0, "FILE", read_text, &arg_cursor_file, " export ", "Keep the last record's number there", NULL },
        { "host", 'H', "HOST", read_text, &arg_host, NULL, "[USER@]HOST to look after, over ssh; status -H a,b", NULL },
        { "no-ask-password", 0, NULL, read_false, &arg_client.ask_password, NULL, "Do not ask for a password", NULL },
        { "no-pager", 0, NULL, read_false, &arg_pager, NULL, "Long lists without a pager", NULL },
        { "json", 0, "MODE", read_json, NULL, NULL, "pretty, short or off; -j is --json=short", "pretty|short|off" },
        { NULL, 'j', NULL, read_j, NULL, NULL, NULL, NULL },
        { "no-legend", 0, NULL, read_false, &arg_output.legend, NULL, "No headings and no counts", NULL },
        { "quiet", 'q', NULL, read_true, &arg_output.quiet, NULL, "No progress", NULL },
        { "help", 'h', NULL, read_help, fdlctl_help, NULL, "This text", NULL },
        { "version", 0, NULL, read_help, print_version, NULL, "The version", NULL },
};

static bool given[ELEMENTSOF(options)];

void options_help(void) {
        for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                const Option *o = options + i;
                char left[40], letter[4] = "  ";

                if (!o->help)
                        continue;
                if (o->letter)
                        snprintf(letter, sizeof(letter), "-%c", o->letter);
                snprintf(left, sizeof(left), "%s --%s%s%s", letter, o->name, o->value && o->value[0] != '[' ? "=" : "",
                         !o->value ? "" : o->value[0] == '[' ? "[=confirm]" : o->value);
                if (strlen(left) > 24)
                        printf("  %s\n  %25s %s\n", left, "", o->help);
                else
                        printf("  %-25s %s\n", left, o->help);
        }
}

/* A value in brackets may be left out. */
static int argument_of(const Option *o) {
        return !o->value ? no_argument : o->value[0] == '[' ? optional_argument : required_argument;
}

int options_parse(int argc, char **argv) {
        struct option longs[ELEMENTSOF(options) + 1] = {};
        char letters[ELEMENTSOF(options) * 2 + 2] = ":";
        size_t n = 0, at = 1;

        /* Values below 256 are letters. */
        for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                const Option *o = options + i;
                if (o->name)
                        longs[n++] = (struct option) { o->name, argument_of(o), NULL, 256 + (int) i };
                if (o->letter)
                        letters[at++] = (char) o->letter;
                if (o->letter && o->value)
                        letters[at++] = ':';
        }
        opterr = 0;
        while (true) {
                int word = optind, c = getopt_long(argc, argv, letters, longs, NULL), code;
                if (c < 0)
                        return -1;
                if (c == '?')
                        return usage_error("Option \"%s\" is not known.", argv[word]);
                if (c == ':')
                        return usage_error("Option \"%s\" needs a value.", argv[word]);
                for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                        if (c != 256 + (int) i && c != options[i].letter)
                                continue;
                        given[i] = true;
                        code = options[i].read(options + i, optarg);
                        if (code >= 0)
                                return code;
                }
        }
}

int options_check(const char *verb) {
        char word[40];

        snprintf(word, sizeof(word), " %s ", verb);
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (given[i] && options[i].verbs && !strstr(options[i].verbs, word))
                        return usage_error("\"%s\" does not take --%s.", verb, options[i].name);
        return -1;
}
