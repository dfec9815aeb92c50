/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdlctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>

#include "bus-client.h"
#include "common/macro.h"
#include "common/words.h"
#include "output.h"

const char *arg_slot, *arg_device, *arg_mode, *arg_finish;
bool arg_all, arg_wait = true, arg_dry_run, arg_allow_warnings;
uint64_t arg_timeout_usec;

typedef struct Verb {
        const char *name, *arguments, *help;
        int min_args, max_args;  /* -1: any number */
        int (*run)(int argc, char **argv);
} Verb;

static const Verb verbs[] = {
        { NULL, NULL, "Look", 0, 0, NULL },
        { "status", "", "The whole station at a glance (default)", 0, 0, verb_status },
        { "devices", "", "Devices that are plugged in", 0, 0, verb_devices },
        { "slots", "", "Sockets of this station", 0, 0, verb_slots },
        { "jobs", "", "Jobs, running ones first", 0, 0, verb_jobs },
        { "packages", "", "Firmware packages in the store", 0, 0, verb_packages },
        { "show", "OBJECT…", "All properties of a job, device, slot or package", 1, -1, verb_show },
        { "monitor", "", "Everything that happens, as it happens", 0, 0, verb_monitor },
        { "explain", "[CODE]", "What a failure code means and what to do", 0, 1, verb_explain },
        { NULL, NULL, "Do", 0, 0, NULL },
        { "import", "FILE.pac…", "Copy a package into the store and check it", 1, -1, verb_import },
        { "flash", "FILE.pac|PACKAGE", "Flash a device, or the next one plugged in", 1, 1, verb_flash },
        { "probe", "[DEVICE]", "Ask a device's loader who it is", 0, 1, verb_probe },
        { "wait", "JOB…", "Wait until jobs are finished", 1, -1, verb_wait },
        { "cancel", "JOB…", "End jobs at the next safe point", 1, -1, verb_cancel },
        { "retry", "JOB…", "Do a finished job again", 1, -1, verb_retry },
        { "answer", "JOB ACTION", "Say that what a job asks for was done", 2, 2, verb_answer },
        { "label", "SLOT NAME", "Name a slot", 2, 2, verb_label },
        { "remove", "PACKAGE…", "Remove packages from the store", 1, -1, verb_remove },
        { NULL, NULL, "Without daemon or device", 0, 0, NULL },
        { "inspect", "FILE.pac", "Contents of a package, and what is odd about it", 1, 1, verb_inspect },
        { "plan", "FILE.pac", "The steps that flashing it would take", 1, 1, verb_plan },
};

static const char *const option_help[] = {
        "  -s --slot=SLOT           Label, port or path of the slot to use",
        "  -d --device=DEVICE       Number, port or path of the device to use",
        "  -a --all                 Every device in boot mode",
        "     --mode=MODE           upgrade (default), factory, research",
        "     --finish=HOW          reset (default), power-off, nothing",
        "     --allow-warnings      Use a package although it has warnings",
        "     --dry-run             Show what would be done; send nothing",
        "     --no-wait             Do not wait for the jobs that were started",
        "     --timeout=SECONDS     Stop waiting after this time",
        "     --json=pretty|short|off, -j   Print JSON",
        "     --no-legend           No headings and no counts",
        "  -q --quiet               No progress",
        "  -h --help, --version",
};

static int help(void) {
        printf("fdlctl [OPTION…] [VERB] …\n\nFlash Spreadtrum/Unisoc devices through fdld.\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                char left[40];
                if (!verbs[i].run) {
                        printf("\n%s:\n", verbs[i].help);
                        continue;
                }
                snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].arguments);
                /* "…" takes three bytes and one column. */
                printf("  %-*s%s\n", 25 + (strstr(left, "…") ? 2 : 0), left, verbs[i].help);
        }
        printf("\nOptions:\n");
        for (size_t i = 0; i < ELEMENTSOF(option_help); i++)
                puts(option_help[i]);
        printf("\nExit codes: 0 done, 1 other, 2 usage, 3 not found or timed out, 4 device,\n"
               "5 mismatch, 6 canceled, 7 not authorised, 8 no daemon, 9 refused by the plan,\n"
               "10 the unit must be flashed again, 11 skipped, 130 detached.\n");
        return 0;
}

static int usage_error(const char *format, ...) _printf_(1, 2);
static int usage_error(const char *format, ...) {
        va_list ap;

        fprintf(stderr, "fdlctl: ");
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fprintf(stderr, " See \"fdlctl --help\".\n");
        return EXIT_USAGE;
}

static int parse_json_mode(const char *value) {
        if (streq(value, "pretty"))
                arg_output.json = JSON_PRETTY;
        else if (streq(value, "short"))
                arg_output.json = JSON_SHORT;
        else if (streq(value, "off"))
                arg_output.json = JSON_OFF;
        else
                return -EINVAL;
        return 0;
}

static int parse_seconds(const char *value, uint64_t *ret_usec) {
        char *end;
        double s = strtod(value, &end);

        if (end == value || *end || !(s > 0) || s > 1e9)
                return -EINVAL;
        *ret_usec = MAX((uint64_t) (s * 1e6), (uint64_t) 1); /* 0 would mean for ever */
        return 0;
}

enum { OPT_MODE = 256, OPT_FINISH, OPT_WARNINGS, OPT_DRY_RUN, OPT_NO_WAIT, OPT_WAIT, OPT_TIMEOUT, OPT_JSON, OPT_NO_LEGEND, OPT_VERSION };

static const struct option options[] = {
        { "slot", required_argument, NULL, 's' },        { "device", required_argument, NULL, 'd' },
        { "all", no_argument, NULL, 'a' },               { "mode", required_argument, NULL, OPT_MODE },
        { "finish", required_argument, NULL, OPT_FINISH }, { "allow-warnings", no_argument, NULL, OPT_WARNINGS },
        { "dry-run", no_argument, NULL, OPT_DRY_RUN },   { "no-wait", no_argument, NULL, OPT_NO_WAIT },
        { "wait", no_argument, NULL, OPT_WAIT },         { "timeout", required_argument, NULL, OPT_TIMEOUT },
        { "json", required_argument, NULL, OPT_JSON },   { "no-legend", no_argument, NULL, OPT_NO_LEGEND },
        { "quiet", no_argument, NULL, 'q' },             { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPT_VERSION },   {},
};

/* -1: go on; else the exit code. */
static int parse_option(int c) {
        switch (c) {
        case 's': arg_slot = optarg; break;
        case 'd': arg_device = optarg; break;
        case 'a': arg_all = true; break;
        case 'j': arg_output.json = arg_output.json == JSON_OFF ? JSON_SHORT : arg_output.json; break;
        case 'q': arg_output.quiet = true; break;
        case 'h': return help();
        case OPT_MODE:
                if (flash_mode_from_string(optarg) < 0)
                        return usage_error("\"%s\" is no mode; it is upgrade, factory or research.", optarg);
                arg_mode = optarg;
                break;
        case OPT_FINISH:
                if (!streq(optarg, "reset") && !streq(optarg, "power-off") && !streq(optarg, "nothing"))
                        return usage_error("\"%s\" is no way to finish; it is reset, power-off or nothing.", optarg);
                arg_finish = optarg;
                break;
        case OPT_WARNINGS: arg_allow_warnings = true; break;
        case OPT_DRY_RUN: arg_dry_run = true; break;
        case OPT_NO_WAIT: arg_wait = false; break;
        case OPT_WAIT: arg_wait = true; break;
        case OPT_TIMEOUT:
                if (parse_seconds(optarg, &arg_timeout_usec) < 0)
                        return usage_error("\"%s\" is no number of seconds.", optarg);
                break;
        case OPT_JSON:
                if (parse_json_mode(optarg) < 0)
                        return usage_error("\"%s\" is no JSON mode; it is pretty, short or off.", optarg);
                break;
        case OPT_NO_LEGEND: arg_output.legend = false; break;
        case OPT_VERSION:
                puts("fdlctl " PACKAGE_VERSION);
                return 0;
        default: return usage_error("That option is not known.");
        }
        return -1;
}

int main(int argc, char **argv) {
        int c, code;

        setlocale(LC_ALL, "");
        setlocale(LC_NUMERIC, "C"); /* what scripts read and write */
        opterr = 0;
        while (true) {
                int at = optind;
                c = getopt_long(argc, argv, ":s:d:ajqh", options, NULL);
                if (c < 0)
                        break;
                if (c == '?')
                        return usage_error("Option \"%s\" is not known.", argv[at]);
                if (c == ':')
                        return usage_error("Option \"%s\" needs a value.", argv[at]);
                code = parse_option(c);
                if (code >= 0)
                        return code;
        }
        const char *name = optind < argc ? argv[optind] : "status";
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                int n = optind < argc ? argc - optind - 1 : 0;
                if (!verbs[i].name || !streq(verbs[i].name, name))
                        continue;
                if (n < verbs[i].min_args)
                        return usage_error("\"%s\" needs %s.", name, verbs[i].arguments);
                if (verbs[i].max_args >= 0 && n > verbs[i].max_args)
                        return usage_error("Too many arguments for \"%s\".", name);
                return verbs[i].run(n + 1, optind < argc ? argv + optind : (char *[]){ (char *) name, NULL });
        }
        return usage_error("\"%s\" is no verb.", name);
}
