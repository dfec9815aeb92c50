/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "bus/getter.h"

/* "name size" lines, as the station keeps the live table. */
static int append_partitions(sd_bus_message *m, const char *lines) {
        _cleanup_free_ char *copy = strdup(lines ? lines : "");
        char *save = NULL;
        int r;

        if (!copy)
                return -ENOMEM;
        r = sd_bus_message_open_container(m, 'a', "(st)");
        for (char *line = strtok_r(copy, "\n", &save); r >= 0 && line; line = strtok_r(NULL, "\n", &save)) {
                char *size = strrchr(line, ' ');
                if (!size)
                        continue;
                *size++ = '\0';
                r = sd_bus_message_open_container(m, 'r', "st");
                if (r >= 0)
                        r = append_string(m, line);
                if (r >= 0)
                        r = sd_bus_message_append(m, "t", (uint64_t) strtoull(size, NULL, 10));
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

GETTER(get_sysfs, Device, d, append_string(reply, d->sysfs))
GETTER(get_devnode, Device, d, append_string(reply, d->devnode))
GETTER(get_vendor, Device, d, sd_bus_message_append(reply, "q", d->vendor))
GETTER(get_product, Device, d, sd_bus_message_append(reply, "q", d->product))
GETTER(get_speed, Device, d, append_string(reply, d->speed))
GETTER(get_port, Device, d, append_string(reply, d->port))
GETTER(get_slot, Device, d, append_object(reply, OBJECT_SLOT, d->slot))
GETTER(get_appeared, Device, d, sd_bus_message_append(reply, "t", d->appeared_usec))
GETTER(get_mode, Device, d, append_string(reply, d->mode))
GETTER(get_state, Device, d, append_string(reply, device_state_to_string(d->state)))
GETTER(get_stage, Device, d, append_string(reply, stage_to_string(d->stage)))
GETTER(get_loader_version, Device, d, append_string(reply, d->loader_version))
GETTER(get_chip, Device, d, append_string(reply, d->chip))
GETTER(get_job, Device, d, append_object(reply, OBJECT_JOB, d->job))
GETTER(get_partitions, Device, d, append_partitions(reply, d->partitions))

const sd_bus_vtable device_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("Probe", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("t", id, "o", job), bus_dispatch, FOR_ALL),
        METHOD("Reset", SD_BUS_ARGS("s", how, "a{sv}", options), SD_BUS_RESULT("t", id, "o", job), bus_dispatch,
               FOR_ALL),
        METHOD("GetIdentity", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", identity), bus_dispatch, FOR_ALL),
        CONSTANT("SysfsPath", "s", get_sysfs),
        CONSTANT("DevNode", "s", get_devnode),
        CONSTANT("VendorId", "q", get_vendor),
        CONSTANT("ProductId", "q", get_product),
        CONSTANT("Speed", "s", get_speed),
        CONSTANT("Port", "s", get_port),
        CONSTANT("Slot", "o", get_slot),
        CONSTANT("AppearedUSec", "t", get_appeared),
        PROPERTY("Mode", "s", get_mode),
        PROPERTY("State", "s", get_state),
        PROPERTY("Stage", "s", get_stage),
        PROPERTY("LoaderVersion", "s", get_loader_version),
        PROPERTY("Chip", "s", get_chip),
        PROPERTY("Job", "o", get_job),
        SD_BUS_PROPERTY("Partitions", "a(st)", get_partitions, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_VTABLE_END,
};

int device_probe(Call *c) {
        Job *job;

        if (options_none(c->message, c->e) < 0)
                return -1;
        if (station_probe(c->bus->station, c->object->object, c->uid, &job, c->e) < 0)
                return -1;
        return reply_job(c, job);
}

int device_reset(Call *c) {
        const char *how;
        Job *job;
        int r;

        r = sd_bus_message_read(c->message, "s", &how);
        if (r < 0)
                return r;
        if (!streq(how, "reset") && !streq(how, "power-off"))
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION,
                                      "A device cannot be reset by '%.64s'. Possible: reset, power-off.", how);
        if (options_none(c->message, c->e) < 0)
                return -1;
        if (station_reset(c->bus->station, c->object->object, streq(how, "power-off"), c->uid, &job, c->e) < 0)
                return -1;
        return reply_job(c, job);
}

int device_get_identity(Call *c) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        const Device *d = c->object->object;
        int r;

        if (options_none(c->message, c->e) < 0)
                return -1;
        r = new_reply(c->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_string(reply, "mode", d->mode);
        if (r >= 0 && d->loader_version[0])
                r = append_pair_string(reply, "loader-version", d->loader_version);
        if (r >= 0 && d->chip[0])
                r = append_pair_string(reply, "chip", d->chip);
        for (size_t i = 0; r >= 0 && i < d->n_facts; i++)
                if (!streq(d->facts[i].key, "mode") && !streq(d->facts[i].key, "loader-version") &&
                    !streq(d->facts[i].key, "chip"))
                        r = append_pair_string(reply, d->facts[i].key, d->facts[i].value);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}
