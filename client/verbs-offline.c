/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "do.h"
#include "firmware/pac.h"
#include "flash/plan-text.h"
#include "flash/plan.h"
#include "options.h"
#include "output.h"

static int report_failure(const char *file, const Failure *f) {
        char code[FAILURE_CODE_MAX], text[1024];
        Explanation e;

        explanation_of(f, &e);
        fprintf(stderr, "fdlctl: %s: %s\n", file, safe_text(f->text, text, sizeof(text)));
        fprintf(stderr, "  code: %s\n", failure_code(f, code));
        for (size_t i = 0; e.actions[i]; i++)
                fprintf(stderr, "  %s %s\n", i ? "           " : "what to do:", e.actions[i]);
        return e.exit_code;
}

static int open_and_parse(const char *file, Pac **ret) {
        _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        Failure f = FAILURE_INIT;
        uint8_t digest[32];
        PacReader reader;
        struct stat st;
        int r;

        if (fd < 0) {
                fprintf(stderr, "fdlctl: Cannot open \"%s\": %s.\n", file, strerror(errno));
                return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_REFUSED;
        }
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                fprintf(stderr, "fdlctl: \"%s\" is not a plain file.\n", file);
                return EXIT_REFUSED;
        }
        reader = pac_reader_for_fd(&fd, (uint64_t) st.st_size);
        f.stage = STAGE_IMPORT;
        r = pac_parse(&reader, ret, &f);
        if (r == 0)
                r = pac_verify(&reader, *ret, digest, &f);
        if (r > 0) {
                *ret = pac_free(*ret);
                return report_failure(file, &f);
        }
        if (r < 0) {
                *ret = pac_free(*ret);
                return client_report(file, NULL, r);
        }
        return 0;
}

int verb_inspect(int argc _unused_, char **argv) {
        _cleanup_(pac_freep) Pac *pac = NULL;
        int code = open_and_parse(argv[1], &pac);

        if (code)
                return code;
        if (arg_output.json != JSON_OFF) {
                struct json_object *o = inspect_to_json(pac);
                json_print(o);
                json_object_put(o);
        } else
                inspect_print(pac, stdout);
        return 0;
}

int plan_arguments(PlanOptions *ret) {
        PlanOptions options = { .display_only = true, .mode = arg_mode ? flash_mode_from_string(arg_mode) : FLASH_MODE_UPGRADE,
                                .allow_warnings = arg_allow_warnings, .repartition = arg_repartition, .any_image = arg_any_image,
                                .verify = arg_verify ? verify_level_from_string(arg_verify) : VERIFY_CRITICAL,
                                .finish = !arg_finish || streq(arg_finish, "reset") ? FINISH_RESET
                                          : streq(arg_finish, "power-off")          ? FINISH_POWER_OFF
                                                                                    : FINISH_NOTHING };

        options.raw = !arg_raw ? RAW_DATA_UNSET : streq(arg_raw, "on") ? RAW_DATA_ON : RAW_DATA_OFF;
        for (size_t i = 0; choice_name(i); i++) {
                const char *value = choice_argument(choice_name(i));
                char why[256];

                if (value && choice_set(&options.choice, choice_name(i), value, why, sizeof(why)) < 0)
                        return usage_error("--%s", why);
        }
        *ret = options;
        return 0;
}

int verb_plan(int argc _unused_, char **argv) {
        _cleanup_(pac_freep) Pac *pac = NULL;
        _cleanup_(plan_freep) Plan *plan = NULL;
        PlanOptions options;
        Failure f = FAILURE_INIT;
        int code = plan_arguments(&options), r;

        if (code == 0)
                code = open_and_parse(argv[1], &pac);
        if (code)
                return code;
        r = plan_make(pac, &options, &plan, &f);
        if (r < 0)
                return client_report("plan", NULL, r);
        if (r > 0)
                return report_failure(argv[1], &f);
        if (arg_output.json != JSON_OFF) {
                struct json_object *o = plan_to_json(plan);
                json_print(o);
                json_object_put(o);
        } else
                plan_print(plan, stdout);
        return 0;
}
