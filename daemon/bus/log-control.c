/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "bus/bus-internal.h"
#include "common/log.h"

/* The interface that "systemctl service-log-level" and "service-log-target" use, org.freedesktop.LogControl1(5). Its properties can be
 * written. A setter cannot wait for polkit, so the message is looked at before sd-bus does, and comes to the setter only when its sender
 * may do this. */

#define LOG_PATH "/org/freedesktop/LogControl1"
#define LOG_INTERFACE "org.freedesktop.LogControl1"

static const char *const levels[] = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};

/* The word may be cut in the middle of a character: with such a text the answer could not even be sent. */
static int refuse(sd_bus_error *error, const char *word, const char *what) {
        char text[256];

        snprintf(text, sizeof(text), "'%.32s' is no %s.", word, what);
        text_mend(text);
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, text);
}

static int get_level(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_, const char *property _unused_,
                     sd_bus_message *reply, void *userdata _unused_, sd_bus_error *error _unused_) {
        return sd_bus_message_append(reply, "s", levels[log_level()]);
}

static int set_level(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_, const char *property _unused_,
                     sd_bus_message *value, void *userdata _unused_, sd_bus_error *error) {
        const char *word;
        int r;

        r = sd_bus_message_read(value, "s", &word);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(levels); i++)
                if (streq(levels[i], word)) {
                        log_set_level((int) i);
                        return 0;
                }
        return refuse(error, word, "log level. Possible: emerg, alert, crit, err, warning, notice, info, debug");
}

static int get_target(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_, const char *property _unused_,
                      sd_bus_message *reply, void *userdata _unused_, sd_bus_error *error _unused_) {
        return sd_bus_message_append(reply, "s", log_target());
}

static int set_target(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_, const char *property _unused_,
                      sd_bus_message *value, void *userdata _unused_, sd_bus_error *error) {
        const char *word;
        int r;

        r = sd_bus_message_read(value, "s", &word);
        if (r < 0)
                return r;
        if (log_set_target(streq(word, "auto") ? NULL : word) < 0)
                return refuse(error, word, "log target. Possible: auto, journal, console, null");
        return 0;
}

static int get_identifier(sd_bus *bus _unused_, const char *path _unused_, const char *interface _unused_, const char *property _unused_,
                          sd_bus_message *reply, void *userdata _unused_, sd_bus_error *error _unused_) {
        return sd_bus_message_append(reply, "s", program_invocation_short_name);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_level, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_target, set_target, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

/* 0: let it through; 1: held or answered. */
static int guard(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CallError e = {.error = BUS_ERROR_MAX};
        Bus *b = userdata;
        Call c = {.bus = b, .object = &b->root, .message = m, .uid = UINT32_MAX, .e = &e};
        const char *path = sd_bus_message_get_path(m);
        int r;

        if (!path || !streq(path, LOG_PATH) || sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Set") <= 0)
                return 0;
        r = call_identify(&c);
        if (r > 0)
                r = call_require(&c, ACTION_MANAGE_DAEMON);
        if (c.held)
                return 1;
        questions_answered(b, m);
        if (r > 0)
                return 0;
        if (e.error >= BUS_ERROR_MAX)
                call_error_set(&e, BUS_ERROR_HOST, "The daemon could not do this: %s.", strerror(-r));
        return sd_bus_error_set(error, bus_error_name(e.error), e.text);
}

int log_control_publish(Bus *b) {
        int r;

        r = sd_bus_add_filter(b->bus, NULL, guard, b);
        return r < 0 ? r : sd_bus_add_object_vtable(b->bus, NULL, LOG_PATH, LOG_INTERFACE, vtable, NULL);
}
