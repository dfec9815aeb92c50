/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdlctl.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>

#include "agent.h"
#include "bus-client.h"
#include "common/macro.h"
#include "options.h"
#include "output.h"
#include "pager.h"
#include "remote.h"

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
        { "loaders", "", "Loader pairs that the packages bring", 0, 0, verb_loaders },
        { "batches", "", "Batches and how they get on", 0, 0, verb_batches },
        { "profiles", "", "Named ways to run a batch", 0, 0, verb_profiles },
        { "show", "OBJECT…", "All properties of a job, device, slot or package", 1, -1, verb_show },
        { "monitor", "", "Everything that happens, as it happens", 0, 0, verb_monitor },
        { "watch", "", "A board of all slots that fills the screen", 0, 0, verb_watch },
        { "explain", "[CODE]", "What a failure code means and what to do", 0, 1, verb_explain },
        { NULL, NULL, "Do", 0, 0, NULL },
        { "import", "FILE.pac…", "Copy a package into the store and check it", 1, -1, verb_import },
        { "flash", "FILE.pac|PACKAGE", "Flash a device, or the next one plugged in", 1, 1, verb_flash },
        { "repartition", "FILE.pac|PACKAGE|TABLE|DIR", "Give a device a partition table, no more", 1, 1, verb_repartition },
        { "enter-download", "FILE.pac|PACKAGE", "Ask a running system for download mode, and flash it", 1, 1, verb_enter_download },
        { "verify", "FILE.pac|PACKAGE|DIR", "Compare a device with a package or a backup", 1, 1, verb_verify },
        { "probe", "[DEVICE]", "Ask a device's loader who it is", 0, 1, verb_probe },
        { "write", "PART=FILE…", "Write files to partitions or addresses", 1, -1, verb_write },
        { "read", "PART=FILE…", "Read partitions or ranges into files", 1, -1, verb_read },
        { "erase", "PART…", "Erase partitions or ranges", 1, -1, verb_erase },
        { "backup", "DIR [PART…]", "Read a whole device into a folder", 1, -1, verb_backup },
        { "restore", "DIR [PART…]", "Write a backup back to its device", 1, -1, verb_restore },
        { "repair", "", "Mend table, headers, loaders, slot choice; no more", 0, 0, verb_repair },
        { "vault", "[WHAT …]", "Saved calibration data: list, export, import, restore", 0, -1, verb_vault },
        { "reset", "[DEVICE]", "Restart a device", 0, 1, verb_reset },
        { "wait", "JOB…", "Wait until jobs are finished", 1, -1, verb_wait },
        { "cancel", "JOB…", "End jobs at the next safe point", 1, -1, verb_cancel },
        { "retry", "JOB…", "Do a finished job again", 1, -1, verb_retry },
        { "answer", "JOB [NUMBER|ACTION]", "Give the serial number that a job asks for", 1, 3, verb_answer },
        { "label", "SLOT NAME", "Name a slot", 2, 2, verb_label },
        { "remove", "PACKAGE…", "Remove packages from the store", 1, -1, verb_remove },
        { NULL, NULL, "Station", 0, 0, NULL },
        { "start-batch", "[FILE.pac|PACKAGE]", "Flash whatever is plugged into the slots", 0, 1, verb_start_batch },
        { "pause-batch", "[BATCH…]", "No new units until it is resumed", 0, -1, verb_pause_batch },
        { "resume-batch", "[BATCH…]", "Go on: somebody looked", 0, -1, verb_resume_batch },
        { "drain-batch", "[BATCH…]", "End when the running units are through", 0, -1, verb_drain_batch },
        { "stop-batch", "[BATCH…]", "End; what is not writing yet ends at once", 0, -1, verb_stop_batch },
        { "confirm", "[BATCH]", "The first article is good", 0, 1, verb_confirm },
        { "arm", "SLOT…", "Flash each device that appears there", 1, -1, verb_arm },
        { "disarm", "SLOT…", "No longer", 1, -1, verb_disarm },
        { "teach", "[NAME…]", "Name the sockets of a jig, one device each in turn", 0, -1, verb_teach },
        { "clear", "SLOT…", "A wedged or quarantined slot is good again", 1, -1, verb_clear },
        { NULL, NULL, "Records", 0, 0, NULL },
        { "history", "", "What units got, newest first", 0, 0, verb_history },
        { "export", "[FILE]", "Records as JSON lines or CSV", 0, 1, verb_export },
        { "trace", "JOB", "What a job and its device said to each other", 1, 1, verb_trace },
        { "bundle", "JOB [FILE]", "All there is about a job, in one archive", 1, 2, verb_bundle },
        { "logs", "JOB", "The log of a job, until it is over", 1, 1, verb_logs },
        { NULL, NULL, "Without daemon or device", 0, 0, NULL },
        { "doctor", "", "What on this machine keeps devices from being flashed", 0, 0, verb_doctor },
        { "inspect", "FILE.pac", "Contents of a package, and what is odd about it", 1, 1, verb_inspect },
        { "plan", "FILE.pac", "The steps that flashing it would take", 1, 1, verb_plan },
};

void fdlctl_help(void) {
        printf("fdlctl [OPTION…] [VERB] …\n\nFlash Spreadtrum/Unisoc devices through fdld.\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                char left[40];
                if (!verbs[i].run) {
                        printf("\n%s:\n", verbs[i].help);
                        continue;
                }
                snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].arguments);
                /* "…" takes three bytes and one column. What is too long for its column has its text on the next line. */
                int width = 25 + (strstr(left, "…") ? 2 : 0);
                if ((int) strlen(left) > width - 2)
                        printf("  %s\n  %25s%s\n", left, "", verbs[i].help);
                else
                        printf("  %-*s%s\n", width, left, verbs[i].help);
        }
        printf("\nOptions:\n");
        options_help();
        printf("\nExit codes: 0 done, 1 other, 2 usage, 3 not found or timed out, 4 device,\n"
               "5 mismatch, 6 canceled, 7 not authorised, 8 no daemon, 9 refused by the plan,\n"
               "10 the unit must be flashed again, 11 skipped, 130 detached.\n");
}

int must_be_here(const char *verb) {
        if (!arg_host)
                return 0;
        return usage_error("\"%s\" hands over files, which does not go through -H. Run it there: ssh %s fdlctl %s …", verb, arg_host, verb);
}

static bool in_list(const char *list, const char *name) {
        char word[40];

        snprintf(word, sizeof(word), " %s ", name);
        return strstr(list, word);
}

static int run_verb(const Verb *v, int argc, char **argv) {
        int code;

        if (arg_pager && !arg_follow && in_list(" status devices slots jobs packages batches profiles loaders vault show explain history inspect plan trace ", v->name))
                pager_open();
        code = v->run(argc, argv);
        pager_close();
        agent_close();
        return code;
}

/* One after the other; what one says is not lost if another cannot be reached. */
static int run_on_hosts(const Verb *v, int argc, char **argv) {
        char *copy = strdup(arg_host), *save = NULL;
        int code, worst = 0;

        if (!in_list(" status devices slots jobs packages batches ", v->name)) {
                free(copy);
                return usage_error("Several hosts can only be looked at: status, devices, slots, jobs, packages, batches.");
        }
        arg_pager = false;
        for (char *host = copy ? strtok_r(copy, ",", &save) : NULL; host; host = strtok_r(NULL, ",", &save)) {
                if (!host_is_valid(host)) {
                        worst = EXIT_USAGE;
                        break;
                }
                if (arg_output.json == JSON_OFF)
                        printf("%s%s:\n", host == copy ? "" : "\n", host);
                fflush(stdout);
                arg_client.host = host;
                code = run_verb(v, argc, argv);
                worst = code && !worst ? code : worse_exit(worst, code);
        }
        free(copy);
        return worst;
}

static int run_anywhere(const Verb *v, int argc, char **argv) {
        if (!arg_host)
                return run_verb(v, argc, argv);
        if (in_list(" inspect plan explain ", v->name))
                return usage_error("\"%s\" needs no daemon and does not take --host.", v->name);
        if (strchr(arg_host, ','))
                return run_on_hosts(v, argc, argv);
        if (!host_is_valid(arg_host))
                return EXIT_USAGE;
        if (in_list(" doctor bundle ", v->name))
                return usage_error("\"%s\" looks at the machine that it runs on. Run it there: ssh %s fdlctl %s …", v->name, arg_host, v->name);
        if (in_list(" read write backup restore trace logs ", v->name) ||
            (streq(v->name, "vault") && argc > 1 && (streq(argv[1], "export") || streq(argv[1], "import") || streq(argv[1], "restore"))))
                return must_be_here(v->name);
        arg_client.host = arg_host;
        return run_verb(v, argc, argv);
}

int main(int argc, char **argv) {
        int code;

        arg_client = (ClientOptions) { .ask_password = true, .before_asking = agent_open };
        setlocale(LC_ALL, "");
        setlocale(LC_NUMERIC, "C"); /* what scripts read and write */
        code = options_parse(argc, argv);
        if (code >= 0)
                return code;
        const char *name = optind < argc ? argv[optind] : "status";
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                int n = optind < argc ? argc - optind - 1 : 0;
                if (!verbs[i].name || !streq(verbs[i].name, name))
                        continue;
                if (n < verbs[i].min_args)
                        return usage_error("\"%s\" needs %s.", name, verbs[i].arguments);
                if (verbs[i].max_args >= 0 && n > verbs[i].max_args)
                        return usage_error("Too many arguments for \"%s\".", name);
                code = options_check(name);
                if (code >= 0)
                        return code;
                return run_anywhere(verbs + i, n + 1, optind < argc ? argv + optind : (char *[]){ (char *) name, NULL });
        }
        return usage_error("\"%s\" is no verb.", name);
}
