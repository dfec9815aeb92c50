/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "station/steps.h"

/* How much a call risks, where that depends on its arguments or on whose job it is. What is not known to be harmless is critical. */

static Action flash_action(const PlanOptions *o) {
        /* Files that look wrong for their partition. */
        if (o->any_image)
                return ACTION_FLASH_CRITICAL;
        return o->mode == FLASH_MODE_UPGRADE && !o->repartition && !o->repair && o->choice.erase_all != CHOICE_YES && !o->soft_entry ? ACTION_FLASH : ACTION_FLASH_CRITICAL;
}

static Action kind_action(const char *kind, const PlanOptions *o) {
        static const struct {
                const char *kind;
                Action action;
        } kinds[] = {
                {"import", ACTION_IMPORT}, {"probe", ACTION_PROBE}, {"reset", ACTION_FLASH},
                {"read", ACTION_READ},     {"backup", ACTION_READ}, {"verify", ACTION_READ},  {"identify", ACTION_PROBE},
        };

        if (streq(kind, "flash"))
                return flash_action(o);
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (streq(kinds[i].kind, kind))
                        return kinds[i].action;
        return ACTION_FLASH_CRITICAL;
}

static const Job *job_of(const Call *c) {
        return c->object->object;
}

int grade_flash(Call *c, Action *ret) {
        FlashOptions options;
        int r;

        r = sd_bus_message_skip(c->message, "oo");
        if (r < 0)
                return r;
        if (options_read_flash(c->message, false, &options, c->e) < 0)
                return -1;
        *ret = flash_action(&options.plan);
        return 0;
}

int grade_create_job(Call *c, Action *ret) {
        FlashOptions options;
        const char *kind;
        int r;

        r = sd_bus_message_read(c->message, "s", &kind);
        if (r >= 0)
                r = sd_bus_message_skip(c->message, "o");
        if (r < 0)
                return r;
        if (options_read_flash(c->message, true, &options, c->e) < 0)
                return -1;
        *ret = kind_action(kind, &options.plan);
        /* Somebody's own program would run on the device. */
        if (options.fdl1_address != U64_UNKNOWN || options.fdl2_address != U64_UNKNOWN)
                *ret = ACTION_FLASH_CRITICAL;
        return 0;
}

/* What is in a draft of the caller's own was allowed when it was made. */
int grade_submit(Call *c, Action *ret) {
        const Job *job = job_of(c);

        *ret = job->uid == c->uid ? ACTION_NONE : kind_action(job->kind, &job->options);
        return 0;
}

/* The same work once more. A job made of steps that names no package runs somebody's own loaders. */
int grade_retry(Call *c, Action *ret) {
        const Job *job = job_of(c);

        *ret = !job->digest[0] && kind_has_steps(job->kind) ? ACTION_FLASH_CRITICAL : kind_action(job->kind, &job->options);
        return 0;
}

/* Own jobs need nothing. */
int grade_own(Call *c, Action *ret) {
        if (job_of(c)->uid == c->uid)
                *ret = ACTION_NONE;
        return 0;
}
