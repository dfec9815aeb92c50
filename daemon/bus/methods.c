/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"

/* Every method of every interface, what a caller must be allowed to do for it (actions.def), who does it, and who says how much it risks
 * where that depends (grades.c). A method that is not here is refused, and a test compares the table with the introspection data. */
static const Method methods[] = {
        {OBJECT_STATION, "ImportPackage", ACTION_IMPORT, manager_import_package},
        {OBJECT_STATION, "Plan", ACTION_NONE, manager_plan},
        {OBJECT_STATION, "Flash", ACTION_FLASH, manager_flash, grade_flash},
        {OBJECT_STATION, "CreateJob", ACTION_FLASH, manager_create_job, grade_create_job},
        {OBJECT_STATION, "GetJob", ACTION_NONE, manager_get_job},
        {OBJECT_STATION, "ListLoaders", ACTION_NONE, manager_list_loaders},
        {OBJECT_STATION, "GetSlotByPort", ACTION_MANAGE_SLOTS, manager_get_slot_by_port}, /* may make one */
        {OBJECT_STATION, "GetDeviceBySysfs", ACTION_NONE, manager_get_device_by_sysfs},
        {OBJECT_STATION, "ListJobs", ACTION_NONE, manager_list_jobs},
        {OBJECT_STATION, "Inhibit", ACTION_INHIBIT, manager_inhibit},
        {OBJECT_STATION, "Explain", ACTION_NONE, manager_explain},
        {OBJECT_STATION, "Reload", ACTION_MANAGE_DAEMON, manager_reload},
        {OBJECT_STATION, "Query", ACTION_HISTORY_READ, history_query},
        {OBJECT_STATION, "Export", ACTION_EXPORT, history_export},
        {OBJECT_STATION, "Check", ACTION_HISTORY_READ, history_check},
        {OBJECT_STATION, "Prune", ACTION_HISTORY_PRUNE, history_prune},
        {OBJECT_STATION, "ListEntries", ACTION_READ, vault_list},
        {OBJECT_STATION, "ReadEntry", ACTION_VAULT, vault_read},
        {OBJECT_STATION, "AddEntry", ACTION_VAULT, vault_add},
        {OBJECT_STATION, "StartBatch", ACTION_MANAGE_BATCHES, manager_start_batch, grade_start_batch},
        {OBJECT_DEVICE, "Probe", ACTION_PROBE, device_probe},
        {OBJECT_DEVICE, "Reset", ACTION_FLASH, device_reset},
        {OBJECT_DEVICE, "GetIdentity", ACTION_READ, device_get_identity},
        {OBJECT_SLOT, "SetLabel", ACTION_MANAGE_SLOTS, slot_method_set_label},
        {OBJECT_SLOT, "SetEnabled", ACTION_MANAGE_SLOTS, slot_method_set_enabled},
        {OBJECT_SLOT, "ResetCounters", ACTION_MANAGE_SLOTS, slot_method_reset_counters},
        {OBJECT_SLOT, "ClearWedged", ACTION_MANAGE_SLOTS, slot_method_clear_wedged},
        {OBJECT_SLOT, "SetListed", ACTION_MANAGE_SLOTS, slot_method_set_listed},
        {OBJECT_SLOT, "Arm", ACTION_ARM, slot_method_arm, grade_arm},
        {OBJECT_SLOT, "Disarm", ACTION_ARM, slot_method_disarm},
        {OBJECT_BATCH, "Pause", ACTION_MANAGE_BATCHES, batch_method_pause},
        {OBJECT_BATCH, "Resume", ACTION_MANAGE_BATCHES, batch_method_resume},
        {OBJECT_BATCH, "Drain", ACTION_MANAGE_BATCHES, batch_method_drain},
        {OBJECT_BATCH, "Stop", ACTION_MANAGE_BATCHES, batch_method_stop},
        {OBJECT_BATCH, "Confirm", ACTION_MANAGE_BATCHES, batch_method_confirm},
        {OBJECT_PACKAGE, "Remove", ACTION_MANAGE_PACKAGES, package_method_remove},
        {OBJECT_JOB, "AddSteps", ACTION_FLASH_CRITICAL, job_method_add_steps, grade_own},
        {OBJECT_JOB, "AttachFiles", ACTION_FLASH_CRITICAL, job_method_attach_files, grade_own},
        {OBJECT_JOB, "Submit", ACTION_FLASH, job_method_submit, grade_submit},
        {OBJECT_JOB, "Cancel", ACTION_CANCEL, job_method_cancel, grade_own},
        {OBJECT_JOB, "Answer", ACTION_FLASH, job_method_answer, grade_own},
        {OBJECT_JOB, "Wait", ACTION_NONE, job_method_wait},
        {OBJECT_JOB, "Retry", ACTION_FLASH, job_method_retry, grade_retry},
        {OBJECT_JOB, "Trace", ACTION_TRACE, job_method_trace, grade_own},
        {OBJECT_JOB, "FollowLog", ACTION_TRACE, job_method_follow_log, grade_own},
};

const Method *method_find(ObjectKind kind, const char *member) {
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (methods[i].kind == kind && streq(methods[i].member, member))
                        return methods + i;
        return NULL;
}

/* 1 may, 0 held. */
static int authorise(Call *c, const Method *method) {
        Action action = method->action;
        int r;

        r = call_identify(c);
        if (r <= 0 || call_authorised(c->bus, c->uid))
                return r;
        if (method->grade) {
                r = method->grade(c, &action);
                if (r >= 0)
                        r = sd_bus_message_rewind(c->message, true);
                if (r < 0)
                        return r;
        }
        /* A standing order that risks more needs both rights. */
        if (action != ACTION_NONE && action != method->action && (method->action == ACTION_ARM || method->action == ACTION_MANAGE_BATCHES)) {
                r = call_require(c, method->action);
                if (r <= 0)
                        return r;
        }
        return call_require(c, action);
}

static int run(Call *c) {
        const char *member = sd_bus_message_get_member(c->message);
        const Method *method = method_find(c->object->kind, member);
        int r;

        if (!method)
                return call_error_set(c->e, BUS_ERROR_NOT_AUTHORISED, "Nobody may call %s.", member);
        if (method->action != ACTION_NONE) {
                r = authorise(c, method);
                if (r < 0)
                        return r;
                if (r == 0) /* held */
                        return 1;
                if (limits_check(c, method) < 0)
                        return -1;
        }
        return method->handler(c);
}

static void mend_error(CallError *e) {
        if (!e->text[0])
                call_error_set(e, e->error, "%s", bus_error_summary(e->error));
        text_mend(e->text);
}

int bus_dispatch(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CallError e = {.error = BUS_ERROR_MAX};
        BusObject *o = userdata;
        Call c = {.bus = o->bus, .object = o, .message = m, .uid = UINT32_MAX, .e = &e};
        int r;

        r = run(&c);
        if (!c.held) {
                descriptors_dispose(c.bus, m);
                questions_answered(c.bus, m);
        }
        if (r >= 0)
                return 1;
        if (e.error >= BUS_ERROR_MAX)
                call_error_set(&e, BUS_ERROR_HOST, "The daemon could not do this: %s.", strerror(-r));
        mend_error(&e);
        return sd_bus_error_set(error, bus_error_name(e.error), e.text);
}

int reply_call_error(sd_bus_message *m, const CallError *e) {
        CallError copy = *e;

        mend_error(&copy);
        return sd_bus_reply_method_error(m, &SD_BUS_ERROR_MAKE_CONST(bus_error_name(copy.error), copy.text));
}
