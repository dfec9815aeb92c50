/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "station/internal.h"

/* Later it is no late return but somebody who plugs something in. */
#define LATE_USEC (600 * 1000000ULL)
#define LEAVE_USEC 10000000ULL

/* Nobody hears of a device before it was announced. */
#define CHANGED(d, ...)                                                                                                \
        do {                                                                                                           \
                if ((d)->announced)                                                                                    \
                        NOTIFY((d)->station, OBJECT_DEVICE, (d), __VA_ARGS__);                                         \
        } while (0)

void device_enter_state(Device *d, DeviceState state) {
        if (d->state == state)
                return;
        d->state = state;
        CHANGED(d, "State", "Job");
}

void device_set_mode(Device *d, const char *mode) {
        if (streq(d->mode, mode))
                return;
        d->mode = mode;
        CHANGED(d, "Mode");
}

void device_set_stage(Device *d, Stage stage) {
        if (d->stage == stage)
                return;
        d->stage = stage;
        CHANGED(d, "Stage");
}

static void remember_fact(Device *d, const char *key, const char *value) {
        size_t i = 0;

        while (i < d->n_facts && !streq(d->facts[i].key, key))
                i++;
        if (i == ELEMENTSOF(d->facts))
                return;
        if (i == d->n_facts)
                d->n_facts++;
        text_clean(d->facts[i].key, sizeof(d->facts[i].key), key);
        text_clean(d->facts[i].value, sizeof(d->facts[i].value), value);
}

/* A table may come in several records; lines are joined. */
static void add_partitions(Device *d, const char *lines) {
        size_t have = d->partitions ? strlen(d->partitions) : 0, more = strlen(lines);
        char *joined;

        if (have + more > 128 * 1024)
                return;
        joined = realloc(d->partitions, have + more + 2);
        if (!joined)
                return;
        d->partitions = joined;
        memcpy(joined + have, lines, more + 1);
        if (more > 0 && lines[more - 1] != '\n')
                memcpy(joined + have + more, "\n", 2);
        CHANGED(d, "Partitions");
}

void device_fact(Device *d, const char *key, const char *value) {
        if (streq(key, "loader-version")) {
                text_clean(d->loader_version, sizeof(d->loader_version), value);
                CHANGED(d, "LoaderVersion");
        } else if (streq(key, "chip")) {
                text_clean(d->chip, sizeof(d->chip), value);
                CHANGED(d, "Chip");
        } else if (streq(key, "partitions"))
                add_partitions(d, value);
        else
                remember_fact(d, key, value);
}

void device_clear_facts(Device *d) {
        free(d->partitions);
        d->partitions = NULL;
}

UsbTarget device_target(const Device *d) {
        UsbTarget t = {.vendor = d->vendor, .product = d->product, .busnum = d->busnum, .devnum = d->devnum};

        snprintf(t.devnode, sizeof(t.devnode), "%s", d->devnode);
        t.entry = device_soft_entry(d);
        snprintf(t.sysfs, sizeof(t.sysfs), "%s", d->sysfs);
        return t;
}

/* ---- which devices we may touch ---- */

static bool listed(const Device *d, const char (*ids)[10], size_t n_ids, const char (*rows)[160], size_t n_rows) {
        size_t n = strlen(d->port);
        char id[10];

        snprintf(id, sizeof(id), "%04x:%04x", d->vendor, d->product);
        for (size_t i = 0; i < n_ids; i++)
                if (streq(ids[i], id))
                        return true;
        for (size_t i = 0; i < n_rows; i++)
                if (strncmp(rows[i], d->port, n) == 0 && rows[i][n] == ' ' && strstr(rows[i] + n, id))
                        return true;
        return false;
}

static bool opted_in(const Device *d) {
        const Settings *set = &d->station->settings;

        return listed(d, set->allow_ids, set->n_allow_ids, set->slot_options, set->n_slot_options);
}

const SoftEntry *device_soft_entry(const Device *d) {
        const Settings *set = &d->station->settings;

        return !d->acted_on && listed(d, set->soft_ids, set->n_soft_ids, set->soft_options, set->n_soft_options)
                       ? soft_entry_find(d->vendor, d->product)
                       : NULL;
}

static void classify(Device *d) {
        HotplugId id = hotplug_id(d->vendor, d->product);

        if (d->job)
                return;
        d->acted_on = id == HOTPLUG_ID_BOOT || (id == HOTPLUG_ID_OPT_IN && d->fits && opted_in(d));
        device_set_mode(d, d->acted_on ? (d->touched ? d->mode : "unknown") : "not-boot");
        if (d->acted_on)
                device_enter_state(d, d->leaving ? DEVICE_STATE_PRESENT : DEVICE_STATE_IDLE);
        else
                device_enter_state(d, id == HOTPLUG_ID_OPT_IN ? DEVICE_STATE_FOREIGN : DEVICE_STATE_PRESENT);
}

void device_classify_all(Station *s) {
        for (Device *d = s->devices; d; d = d->next) {
                classify(d);
                slot_update(d->slot);
        }
}

/* The unit that was worked on when the last daemon ended. One that came later than the job began is another appearance: of the same
 * unit after a re-enumeration, or of another one; nobody can tell, so it is met like any new one. */
static const InterruptedPort *interruption_of(const Device *d) {
        const Station *s = d->station;

        for (size_t i = 0; i < s->n_interrupted_ports; i++)
                if (streq(s->interrupted_ports[i].port, d->port))
                        return d->initialized_usec <= 1 || s->interrupted_ports[i].started_usec > d->appeared_usec ? s->interrupted_ports + i : NULL;
        return NULL;
}

/* What became of a unit that is still there: the last job on it said so before the daemon ended. */
static JobResult outcome_before_start(const Device *d) {
        const Job *last = NULL;

        for (const Job *j = d->station->jobs; j; j = j->next)
                if (j->state == JOB_STATE_FINISHED && j->run && streq(j->kind, "flash") && streq(j->run->port, d->port) && j->started_usec > d->appeared_usec)
                        last = j;
        return last ? last->result : JOB_RESULT_NONE;
}

/* Found at start: was this very unit used before the daemon stopped? Then it is nobody's "next unit". */
static bool used_before_start(const Device *d) {
        const Station *s = d->station;

        if (interruption_of(d))
                return true;
        if (d->initialized_usec <= 1) /* not known */
                return false;
        for (const Job *j = s->jobs; j; j = j->next)
                if (j->state == JOB_STATE_FINISHED && j->run && streq(j->run->port, d->port) &&
                    j->started_usec > d->appeared_usec)
                        return true;
        return false;
}

/* ---- coming and going ---- */

static Device *device_new(Station *s, Slot *slot, const HotplugDevice *h) {
        Device *d = calloc(1, sizeof(Device)), **tail = &s->devices;
        uint64_t mono = now_monotonic();

        if (!d)
                return NULL;
        *d = (Device){
                .station = s,
                .number = ++s->next_device,
                .vendor = h->vendor,
                .product = h->product,
                .busnum = h->busnum,
                .devnum = h->devnum,
                .mode = "unknown",
                .state = DEVICE_STATE_PRESENT,
                .stage = STAGE_INVALID,
                .slot = slot,
                .fits = h->fits,
                .initialized_usec = h->initialized_usec,
                .appeared_usec = now_realtime(),
                .since_usec = mono,
                .appeared_mono = mono,
        };
        if (h->initialized_usec > 1 && h->initialized_usec < mono) {
                d->appeared_usec -= mono - h->initialized_usec;
                d->since_usec = h->initialized_usec;
        }
        snprintf(d->sysfs, sizeof(d->sysfs), "%s", h->sysfs);
        snprintf(d->devnode, sizeof(d->devnode), "%s", h->devnode);
        snprintf(d->speed, sizeof(d->speed), "%s", h->speed);
        snprintf(d->hub_speed, sizeof(d->hub_speed), "%s", h->hub_speed);
        snprintf(d->port, sizeof(d->port), "%s", h->port);
        while (*tail)
                tail = &(*tail)->next;
        *tail = d;
        s->n_devices++;
        return d;
}

static void device_free(Device *d) {
        Station *s = d->station;
        Device **at = &s->devices;

        while (*at && *at != d)
                at = &(*at)->next;
        if (*at)
                *at = d->next;
        s->n_devices--;
        free(d->partitions);
        free(d);
}

/* Without the boot key a phone shows its boot ROM for one or two seconds and goes on to charging (bsl-protocol §12 F1). */
#define EARLY_USEC 5000000ULL

static void tell_left_early(Station *s, const Device *d) {
        uint64_t now = now_realtime(), lived = now > d->appeared_usec ? now - d->appeared_usec : 0;

        if (!d->acted_on || d->loader_version[0] || !streq(d->mode, "unknown") || d->passed_usec > 0 || lived >= EARLY_USEC || s->stopping)
                return;
        log_write(LOG_NOTICE, &(LogFields){.slot = d->slot->port, .message = MESSAGE_DEVICE_EARLY},
                  "%s: a device in boot mode was seen for %.1f s and left without a word. Was its boot key held? Switch it off fully (battery out for 10 "
                  "seconds), hold the boot key, plug it in.",
                  d->slot->port, (double) lived / 1e6);
        if (s->observer.left_early)
                s->observer.left_early(s->observer.userdata, d->slot, lived);
}

static void device_remove(Device *d) {
        Station *s = d->station;
        Slot *slot = d->slot;
        Job *job = slot->running;

        log_write(LOG_INFO, &(LogFields){.slot = slot->port, .message = MESSAGE_DEVICE_LEFT}, "%s: device %04x:%04x left.", slot->port, d->vendor,
                  d->product);
        tell_left_early(s, d);
        if (slot->device == d)
                slot->device = NULL;
        slot->left_usec = now_monotonic();
        slot->retry_now = false;
        /* its own reset takes a good unit off the bus; what leaves later was unplugged */
        slot_set_left(slot, d->passed_usec > 0 && now_monotonic() - d->passed_usec < LEAVE_USEC);
        if (slot->wedged && slot->wedged_job == 0)
                slot->wedged = false; /* the stuck thread has ended before */
        if (job)
                job_device_left(job, d);
        d->job = NULL;
        d->state = DEVICE_STATE_GONE;
        for (Job *j = s->queue, *next; j; j = next) {
                next = j->queue_next;
                if (j->run->want_device != d->number)
                        continue;
                if (j->run->needs_replug ||
                    j->run->follow_slot) { /* as asked for: what comes back is the unit to work on */
                        j->run->want_device = 0;
                        continue;
                }
                Failure f = FAILURE_INIT;
                f.stage = STAGE_CLAIM;
                failure_set(&f, CLASS_GONE, "", "The device left %s before the job began; no byte was sent.",
                            slot->port);
                job_conclude(j, JOB_RESULT_FAILED, &f);
        }
        for (Job *j = s->queue; j; j = j->queue_next)
                if (j->slot == slot)
                        j->run->needs_replug = false;
        notify_removed(s, OBJECT_DEVICE, d);
        device_free(d);
        slot_update(slot);
        queue_run(s);
}

static Device *find_by_sysfs(Station *s, const char *sysfs) {
        for (Device *d = s->devices; d; d = d->next)
                if (streq(d->sysfs, sysfs))
                        return d;
        return NULL;
}

/* Nobody waits for it any more: a device like any other, but the job that gave up and the next one say so. */
static void note_late(Device *d) {
        Slot *slot = d->slot;
        uint64_t late = now_monotonic() - slot->gave_up_usec;
        Job *job = slot->gave_up_job > 0 ? station_find_job(d->station, slot->gave_up_job) : NULL;
        char text[120];

        if (slot->gave_up_job == 0)
                return;
        if (late < LATE_USEC) {
                d->late_job = slot->gave_up_job;
                d->late_usec = late;
                snprintf(text, sizeof(text), "a device came back to this slot %.1f s after job %llu gave up", (double) late / 1e6,
                         (unsigned long long) slot->gave_up_job);
                log_write(LOG_NOTICE, &(LogFields){.message = MESSAGE_JOB_NOTE, .slot = slot->port, .job = slot->gave_up_job}, "%s: %s; it is taken as a new one.", slot->port, text);
                if (job) {
                        job_note(job, text);
                        job_put_row(job);
                }
        }
        slot->gave_up_job = 0;
}

static void device_add(Station *s, const HotplugDevice *h) {
        Slot *slot;
        Device *d;

        if (find_by_sysfs(s, h->sysfs))
                return;
        slot = s->n_devices < DEVICES_MAX ? slot_find_or_new(s, h->port) : NULL;
        d = slot ? device_new(s, slot, h) : NULL;
        if (!d) {
                log_message(LOG_WARNING, MESSAGE_DEVICE_IGNORED, "%s: device %04x:%04x is ignored: too many devices or ports.", h->port, h->vendor,
                            h->product);
                return;
        }
        d->touched = !s->enumerated && used_before_start(d);
        if (d->touched && h->initialized_usec <= 1)
                d->since_usec = 0; /* it was there before this daemon */
        d->resumable = d->touched && interruption_of(d);
        if (d->touched && !d->resumable && h->initialized_usec > 1)
                d->outcome = outcome_before_start(d);
        if (d->resumable)
                memcpy(d->left, interruption_of(d)->digest, sizeof(d->left));
        if (d->resumable && slot->batch && slot->batch->id == interruption_of(d)->batch)
                slot->retry_of = interruption_of(d)->job; /* the batch goes on with it */
        slot->device = d;
        note_late(d);
        classify(d);
        return_note(d);
        d->announced = true;
        notify_added(s, OBJECT_DEVICE, d);
        schedule_device_added(d);
        if (d->acted_on) {
                slot_set_left(slot, false);
                if (slot->running)
                        job_device_arrived(slot->running, d);
                else
                        queue_run(s); /* before anything else: a boot ROM may wait for a moment only */
        }
        log_write(LOG_INFO, &(LogFields){.slot = slot->port, .message = MESSAGE_DEVICE_CAME}, "%s: device %04x:%04x appeared%s.", slot->port, d->vendor,
                  d->product,
                  d->acted_on ? ""
                  : d->state == DEVICE_STATE_FOREIGN
                          ? "; it is not allowed by AllowIds= or does not look like download mode"
                          : ", not in boot mode");
        slot_update(slot);
}

void device_event(void *userdata, bool added, const HotplugDevice *h) {
        Station *s = userdata;
        Device *d;

        if (added) {
                device_add(s, h);
                return;
        }
        d = find_by_sysfs(s, h->sysfs);
        if (d)
                device_remove(d);
}

void device_free_all(Station *s) {
        while (s->devices)
                device_free(s->devices);
}

/* ---- what others look up ---- */

Device *station_devices(Station *s) {
        return s->devices;
}

Device *station_find_device(Station *s, uint64_t number) {
        for (Device *d = s->devices; d; d = d->next)
                if (d->number == number)
                        return d;
        return NULL;
}

Device *station_find_device_by_sysfs(Station *s, const char *sysfs) {
        return find_by_sysfs(s, sysfs);
}
