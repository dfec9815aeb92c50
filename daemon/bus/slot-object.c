/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "bus/getter.h"

GETTER(get_port, Slot, s, append_string(reply, s->port))
GETTER(get_label, Slot, s, append_string(reply, s->label))
GETTER(get_enabled, Slot, s, sd_bus_message_append(reply, "b", (int) s->enabled))
GETTER(get_state, Slot, s, append_string(reply, slot_state_to_string(s->state)))
GETTER(get_device, Slot, s, append_object(reply, OBJECT_DEVICE, s->device))
GETTER(get_job, Slot, s, append_object(reply, OBJECT_JOB, s->job))
GETTER(get_passed, Slot, s, sd_bus_message_append(reply, "t", s->passed))
GETTER(get_failed, Slot, s, sd_bus_message_append(reply, "t", s->failed))
GETTER(get_last_result, Slot, s, append_string(reply, s->last_result))
GETTER(get_last_code, Slot, s, append_string(reply, s->last_code))
GETTER(get_safe_to_unplug, Slot, s, sd_bus_message_append(reply, "b", (int) s->safe_to_unplug))
GETTER(get_listed, Slot, s, sd_bus_message_append(reply, "b", (int) s->listed))
GETTER(get_batch, Slot, s, append_object(reply, OBJECT_BATCH, s->batch))
GETTER(get_quarantine, Slot, s, append_string(reply, s->quarantine))
GETTER(get_action, Slot, s, append_string(reply, s->action))
GETTER(get_health, Slot, s, append_string(reply, s->health ? s->health : "unknown"))
GETTER(get_units, Slot, s, sd_bus_message_append(reply, "t", s->units))
GETTER(get_timeouts, Slot, s, sd_bus_message_append(reply, "t", s->timeouts))
GETTER(get_resets, Slot, s, sd_bus_message_append(reply, "t", s->resets))
GETTER(get_garbled, Slot, s, sd_bus_message_append(reply, "t", s->garbled))
GETTER(get_rate, Slot, s, sd_bus_message_append(reply, "t", s->rate))

const sd_bus_vtable slot_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("SetLabel", SD_BUS_ARGS("s", label), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("SetEnabled", SD_BUS_ARGS("b", enabled), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("ResetCounters", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("ClearWedged", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("SetListed", SD_BUS_ARGS("b", listed), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Arm", SD_BUS_ARGS("o", profile, "a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Disarm", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        CONSTANT("Port", "s", get_port),
        PROPERTY("Label", "s", get_label),
        PROPERTY("Enabled", "b", get_enabled),
        PROPERTY("State", "s", get_state),
        PROPERTY("Device", "o", get_device),
        PROPERTY("Job", "o", get_job),
        PROPERTY("Passed", "t", get_passed),
        PROPERTY("Failed", "t", get_failed),
        PROPERTY("LastResult", "s", get_last_result),
        PROPERTY("LastCode", "s", get_last_code),
        PROPERTY("SafeToUnplug", "b", get_safe_to_unplug),
        PROPERTY("Listed", "b", get_listed),
        PROPERTY("Batch", "o", get_batch),
        PROPERTY("Quarantine", "s", get_quarantine),
        PROPERTY("Action", "s", get_action),
        PROPERTY("Health", "s", get_health),
        PROPERTY("Units", "t", get_units),
        PROPERTY("Timeouts", "t", get_timeouts),
        PROPERTY("Resets", "t", get_resets),
        PROPERTY("Garbled", "t", get_garbled),
        PROPERTY("Rate", "t", get_rate),
        SD_BUS_VTABLE_END,
};

int slot_method_set_label(Call *c) {
        const char *label;
        int r;

        r = sd_bus_message_read(c->message, "s", &label);
        if (r < 0)
                return r;
        if (text_check("label", label, 32, true, c->e) < 0)
                return -1;
        if (slot_set_label(c->object->object, label, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int slot_method_set_enabled(Call *c) {
        int enabled, r;

        r = sd_bus_message_read(c->message, "b", &enabled);
        if (r < 0)
                return r;
        if (slot_set_enabled(c->object->object, enabled, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int slot_method_reset_counters(Call *c) {
        if (slot_reset_counters(c->object->object, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

int slot_method_clear_wedged(Call *c) {
        if (slot_clear_wedged(c->object->object, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}
