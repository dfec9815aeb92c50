/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/phase-check.h"
#include "flash/plan.h"

/* What factory mode has of its own. */

/* The numbers that loaders take, as the vendor's guide for production lists them. */
static const char *const first_modes[] = {
        "normal",      "gsm-cal",       "gsm-final",       "wcdma-cal",  "wcdma-final",   "td-cal",    "td-final",   "lte-tdd-cal",
        "lte-tdd-final", "lte-fdd-cal", "lte-fdd-final",   "nr-cal",     "nr-final",      "nr-mmwave-cal", "nr-mmwave-final", "cdma-cal",
        "cdma-final",  "bbat",          "native-mmi",      "apk-mmi",    "nb-iot-cal",    "nb-iot-final", "upt",
};

const char *plan_first_mode_to_string(unsigned mode) {
        return mode < ELEMENTSOF(first_modes) ? first_modes[mode] : NULL;
}

bool plan_first_mode_from_string(const char *word, unsigned *ret) {
        unsigned long v;
        char *end;

        for (unsigned i = 0; i < ELEMENTSOF(first_modes); i++)
                if (streq(first_modes[i], word)) {
                        *ret = i;
                        return true;
                }
        if (word[0] < '0' || word[0] > '9')
                return false;
        errno = 0;
        v = strtoul(word, &end, 0);
        *ret = (unsigned) v;
        return !errno && *end == '\0' && v < ELEMENTSOF(first_modes);
}

bool plan_writes_serial(const Plan *plan, size_t *ret_max) {
        for (size_t i = 0; plan && i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_INITIALISE) {
                        bool phone = plan->steps[i].partition[0] != '\0';
                        *ret_max = phase_check_serial_max(phone ? PHASE_SP15 : PHASE_SP09);
                        return true;
                }
        return false;
}
