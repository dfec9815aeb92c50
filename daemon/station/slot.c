/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdio.h>

#include "station/internal.h"

static bool list_exists(const Station *s) {
        for (const Slot *slot = s->slots; slot; slot = slot->next)
                if (slot->listed)
                        return true;
        return false;
}

static bool slot_left_alone(const Slot *slot) {
        return !slot->listed && list_exists(slot->station);
}

int slot_check_listed(const Slot *slot, CallError *e) {
        if (!slot_left_alone(slot))
                return 0;
        return call_error_set(e, BUS_ERROR_WRONG_STATE, "Slot %s is none of the listed sockets of this station, so whatever is plugged in there is left "
                              "alone. Name it with \"fdlctl teach\", or forget the list with \"fdlctl teach --clear\".", slot->port);
}

bool slot_usable(const Slot *slot) {
        return slot->enabled && !slot->quarantine[0] && !slot_left_alone(slot);
}

static SlotState slot_state_now(const Slot *slot) {
        const Device *d = slot->device;

        if (slot->wedged)
                return SLOT_STATE_WEDGED;
        if (slot->running)
                return SLOT_STATE_BUSY;
        if (slot->quarantine[0])
                return SLOT_STATE_QUARANTINED;
        if (!slot_usable(slot))
                return SLOT_STATE_DISABLED;
        if (slot->passed_and_left || (d && (d->outcome == JOB_RESULT_DONE || d->outcome == JOB_RESULT_SKIPPED)))
                return SLOT_STATE_PASSED;
        if (!d)
                return SLOT_STATE_EMPTY;
        return d->outcome == JOB_RESULT_FAILED ? SLOT_STATE_FAILED : SLOT_STATE_OCCUPIED;
}

static Job *next_job(const Slot *slot) {
        for (Job *j = slot->running ? NULL : slot->station->queue; j; j = j->queue_next)
                if (j->slot == slot)
                        return j;
        return slot->running;
}

static void slot_enter_state(Slot *slot, SlotState state) {
        if (slot->state == state)
                return;
        slot->state = state;
        NOTIFY(slot->station, OBJECT_SLOT, slot, "State");
}

static const char *unit_action(const Slot *slot, const Device *d) {
        bool batch = slot->batch && slot->batch->state == BATCH_STATE_RUNNING;

        switch (d ? d->outcome : JOB_RESULT_NONE) {
        case JOB_RESULT_DONE:
        case JOB_RESULT_SKIPPED:
                return "unplug";
        case JOB_RESULT_FAILED:
                return batch && slot->retry_now ? "" : batch && slot->retry_of > 0 ? "replug" : "unplug";
        default:
                return d && (d->broken || (batch && d->touched && !d->resumable)) ? "replug" : "";
        }
}

/* What is asked of the person at the station, in the order of urgency. */
const char *slot_action(const Slot *slot) {
        const Batch *b = slot->batch;

        switch (slot->state) {
        case SLOT_STATE_WEDGED:
                return slot->device ? "unplug" : "clear";
        case SLOT_STATE_QUARANTINED:
                return "clear";
        case SLOT_STATE_BUSY:
                if (slot->running && streq(slot->running->user_action, USER_ACTION_SERIAL))
                        return USER_ACTION_SERIAL;
                return slot->running && slot->running->run->gate == GATE_LOAD ? "wait" : "";
        case SLOT_STATE_DISABLED:
                return "";
        default:
                break;
        }
        if (slot->device)
                return unit_action(slot, slot->device);
        if (slot->passed_and_left)
                return "unplug";
        return b && b->state == BATCH_STATE_RUNNING ? "plug-in" : "";
}

void slot_update(Slot *slot) {
        Job *job = next_job(slot);
        const char *action;
        bool safe = !slot->running || !slot->running->run->destructive;

        if (slot->wedged) /* a thread that does not answer may still be writing */
                safe = !slot->device;
        if (job != slot->job) {
                slot->job = job;
                NOTIFY(slot->station, OBJECT_SLOT, slot, "Job");
        }
        if (safe != slot->safe_to_unplug) {
                slot->safe_to_unplug = safe;
                NOTIFY(slot->station, OBJECT_SLOT, slot, "SafeToUnplug");
        }
        if (slot->device != slot->shown_device) {
                slot->shown_device = slot->device;
                NOTIFY(slot->station, OBJECT_SLOT, slot, "Device");
        }
        slot_enter_state(slot, slot_state_now(slot));
        action = slot_action(slot);
        if (!streq(action, slot->action)) {
                snprintf(slot->action, sizeof(slot->action), "%s", action);
                NOTIFY(slot->station, OBJECT_SLOT, slot, "Action");
        }
}

static void row_written(int error, void *userdata) {
        station_note_write(userdata, error);
}

static int put_row(Slot *slot) {
        StoreSlot row = {.enabled = slot->enabled, .passed = slot->passed, .failed = slot->failed};
        int r;

        snprintf(row.port, sizeof(row.port), "%s", slot->port);
        snprintf(row.label, sizeof(row.label), "%s", slot->label);
        snprintf(row.last_result, sizeof(row.last_result), "%s", slot->last_result);
        snprintf(row.last_code, sizeof(row.last_code), "%s", slot->last_code);
        snprintf(row.quarantine, sizeof(row.quarantine), "%s", slot->quarantine);
        row.listed = slot->listed;
        row.units = slot->units;
        row.timeouts = slot->timeouts;
        row.resets = slot->resets;
        row.garbled = slot->garbled;
        row.rate = slot->rate;
        row.passed_and_left = slot->passed_and_left;
        row.bad_links = slot->bad_links;
        memcpy(row.loaders, slot->loaders, sizeof(row.loaders));
        memcpy(row.model, slot->model, sizeof(row.model));
        slot->station->writes_pending++;
        r = store_put_slot(slot->station->store, &row, row_written, slot->station);
        if (r < 0)
                station_note_write(slot->station, r);
        return r;
}

void slot_set_left(Slot *slot, bool passed_and_left) {
        if (slot->passed_and_left == passed_and_left)
                return;
        slot->passed_and_left = passed_and_left;
        (void) put_row(slot);
}

void slot_note_interrupted(Slot *slot, const char *code) {
        snprintf(slot->last_result, sizeof(slot->last_result), "%s", job_result_to_string(JOB_RESULT_INTERRUPTED));
        snprintf(slot->last_code, sizeof(slot->last_code), "%s", code);
        (void) put_row(slot);
}

void slot_count(Slot *slot, const Job *job, JobResult result) {
        if (streq(job->kind, "flash") && result == JOB_RESULT_DONE)
                slot->passed++;
        else if (streq(job->kind, "flash") && result == JOB_RESULT_FAILED)
                slot->failed++;
        snprintf(slot->last_result, sizeof(slot->last_result), "%s", job_result_to_string(result));
        snprintf(slot->last_code, sizeof(slot->last_code), "%s", job->code);
        (void) put_row(slot);
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Passed", "Failed", "LastResult", "LastCode");
}

/* ---- making and finding ---- */

static Slot *slot_new(Station *s, const char *port) {
        Slot *slot = calloc(1, sizeof(Slot)), **tail = &s->slots;

        if (!slot)
                return NULL;
        slot->station = s;
        slot->enabled = slot->safe_to_unplug = true;
        slot->state = SLOT_STATE_EMPTY;
        slot->health = "unknown";
        snprintf(slot->port, sizeof(slot->port), "%s", port);
        while (*tail)
                tail = &(*tail)->next;
        *tail = slot;
        s->n_slots++;
        return slot;
}

Slot *station_find_slot(Station *s, const char *port) {
        for (Slot *slot = s->slots; slot; slot = slot->next)
                if (streq(slot->port, port))
                        return slot;
        return NULL;
}

Slot *slot_find_or_new(Station *s, const char *port) {
        Slot *slot = station_find_slot(s, port);

        if (slot || s->n_slots >= SLOTS_MAX)
                return slot;
        slot = slot_new(s, port);
        if (!slot)
                return NULL;
        notify_added(s, OBJECT_SLOT, slot);
        batch_slot_added(slot);
        return slot;
}

Slot *station_need_slot(Station *s, const char *port, CallError *e) {
        Slot *slot;

        if (!hotplug_port_valid(port)) {
                call_error_set(e, BUS_ERROR_NO_SUCH_SLOT,
                               "This cannot be a USB port. A port is named as udev's ID_PATH, for example "
                               "pci-0000:00:14.0-usb-0:1.2.");
                return NULL;
        }
        slot = station_find_slot(s, port);
        if (slot)
                return slot;
        slot = slot_find_or_new(s, port);
        if (slot)
                (void) put_row(slot); /* somebody wants it, so it is still there after a restart */
        else
                call_error_set(e, BUS_ERROR_QUOTA, "The station knows %u slots already; that is the limit.", SLOTS_MAX);
        return slot;
}

void slot_restore(Station *s, const StoreSlot *row) {
        Slot *slot;

        if (!hotplug_port_valid(row->port) || s->n_slots >= SLOTS_MAX || station_find_slot(s, row->port))
                return;
        slot = slot_new(s, row->port);
        if (!slot)
                return;
        snprintf(slot->label, sizeof(slot->label), "%s", row->label);
        slot->enabled = row->enabled;
        slot->passed = row->passed;
        slot->failed = row->failed;
        snprintf(slot->last_result, sizeof(slot->last_result), "%s", row->last_result);
        snprintf(slot->last_code, sizeof(slot->last_code), "%s", row->last_code);
        snprintf(slot->quarantine, sizeof(slot->quarantine), "%s", row->quarantine);
        slot->listed = row->listed;
        slot->units = row->units;
        slot->timeouts = row->timeouts;
        slot->resets = row->resets;
        slot->garbled = row->garbled;
        slot->rate = row->rate;
        slot->passed_and_left = row->passed_and_left;
        slot->bad_links = (unsigned) MIN(row->bad_links, (uint64_t) UINT_MAX);
        memcpy(slot->loaders, row->loaders, sizeof(slot->loaders));
        memcpy(slot->model, row->model, sizeof(slot->model));
        slot->state = slot_state_now(slot);
}

void slot_free_all(Station *s) {
        while (s->slots) {
                Slot *slot = s->slots;
                s->slots = slot->next;
                free(slot);
        }
}

Slot *station_slots(Station *s) {
        return s->slots;
}

/* ---- what clients change ---- */

static bool label_valid(const char *label) {
        size_t n = strlen(label);

        for (size_t i = 0; i < n; i++)
                if (!((label[i] >= 'A' && label[i] <= 'Z') || (label[i] >= 'a' && label[i] <= 'z') ||
                      (label[i] >= '0' && label[i] <= '9') || strchr("._ -", label[i])))
                        return false;
        return n <= 32;
}

static int refused_by_store(CallError *e, int r) {
        return call_error_set(e, BUS_ERROR_STORE, "This cannot be recorded: %s.", strerror(-r));
}

int slot_set_label(Slot *slot, const char *label, CallError *e) {
        char before[sizeof(slot->label)];
        int r;

        if (!label_valid(label))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "A label has at most 32 of the characters A-Z a-z 0-9 . _ - and blank; an empty "
                                      "one takes it away.");
        for (Slot *other = label[0] ? slot->station->slots : NULL; other; other = other->next)
                if (other != slot && streq(other->label, label))
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Slot %s has the label \"%s\" already.",
                                              other->port, label);
        memcpy(before, slot->label, sizeof(before));
        snprintf(slot->label, sizeof(slot->label), "%s", label);
        r = put_row(slot);
        if (r < 0) {
                memcpy(slot->label, before, sizeof(before));
                return refused_by_store(e, r);
        }
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Label");
        return 0;
}

int slot_set_enabled(Slot *slot, bool enabled, CallError *e) {
        int r;

        if (slot->enabled == enabled)
                return 0;
        slot->enabled = enabled;
        r = put_row(slot);
        if (r < 0) {
                slot->enabled = !enabled;
                return refused_by_store(e, r);
        }
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Enabled");
        slot_update(slot);
        queue_run(slot->station);
        return 0;
}

int slot_reset_counters(Slot *slot, CallError *e) {
        uint64_t passed = slot->passed, failed = slot->failed;
        int r;

        slot->passed = slot->failed = 0;
        r = put_row(slot);
        if (r < 0) {
                slot->passed = passed;
                slot->failed = failed;
                return refused_by_store(e, r);
        }
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Passed", "Failed");
        return 0;
}

static void update_all(Station *s) {
        for (Slot *slot = s->slots; slot; slot = slot->next)
                slot_update(slot);
}

int slot_set_listed(Slot *slot, bool listed, CallError *e) {
        int r;

        if (slot->listed == listed)
                return 0;
        slot->listed = listed;
        r = put_row(slot);
        if (r < 0) {
                slot->listed = !listed;
                return refused_by_store(e, r);
        }
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Listed");
        update_all(slot->station); /* the first and the last change what may be done with all the others */
        queue_run(slot->station);
        return 0;
}

static int leave_quarantine(Slot *slot, CallError *e) {
        char before[sizeof(slot->quarantine)];
        int r;

        memcpy(before, slot->quarantine, sizeof(before));
        slot->quarantine[0] = '\0';
        r = put_row(slot);
        if (r < 0) {
                memcpy(slot->quarantine, before, sizeof(before));
                return refused_by_store(e, r);
        }
        slot->bad_links = 0;
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Quarantine");
        slot_update(slot);
        queue_run(slot->station);
        return 0;
}

int slot_clear_wedged(Slot *slot, CallError *e) {
        if (!slot->wedged && slot->quarantine[0])
                return leave_quarantine(slot, e);
        if (!slot->wedged)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Slot %s is not wedged and not in quarantine.", slot->port);
        if (slot->device)
                return call_error_set(
                        e, BUS_ERROR_WRONG_STATE,
                        "The device is still in slot %s, and the stuck work may still write to it. Unplug it first.",
                        slot->port);
        slot->wedged = false;
        slot->wedged_job = 0;
        slot_update(slot);
        queue_run(slot->station);
        return 0;
}
