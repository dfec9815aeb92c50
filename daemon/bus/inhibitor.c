/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

#include "bus/bus-internal.h"

/* While flash is being changed the computer shall not be switched off nor put to sleep. logind is asked, and nobody waits for its answer;
 * where there is none, nothing is lost. It lets everyone delay; to block it wants permission, for which a rule of polkit is shipped. */

#define LOGIND "org.freedesktop.login1"
#define ANSWER_USEC 30000000ULL

static int ask(Bus *b, bool block);

static bool is_refusal(const sd_bus_error *e) {
        return sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) || sd_bus_error_has_name(e, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED) ||
               sd_bus_error_has_name(e, "org.freedesktop.PolicyKit1.Error.NotAuthorized");
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Bus *b = userdata;
        int fd;

        b->inhibit_call = sd_bus_slot_unref(b->inhibit_call);
        if (sd_bus_message_is_method_error(m, NULL)) {
                if (!b->inhibit_delays && is_refusal(sd_bus_message_get_error(m)) && b->inhibit_wanted) {
                        b->inhibit_delays = true;
                        (void) ask(b, false);
                }
                return 0;
        }
        if (sd_bus_message_read(m, "h", &fd) >= 0 && b->inhibit_wanted && b->inhibit_fd < 0)
                b->inhibit_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return 0;
}

static int ask(Bus *b, bool block) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r = sd_bus_message_new_method_call(b->bus, &m, LOGIND, "/org/freedesktop/login1", LOGIND ".Manager", "Inhibit");

        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_message_append(m, "ssss", "shutdown:sleep", "fdld", "The flash memory of a device is being written.",
                                          block ? "block" : "delay");
        return r < 0 ? r : sd_bus_call_async(b->bus, &b->inhibit_call, m, on_answer, b, ANSWER_USEC);
}

void inhibitor_update(Bus *b) {
        bool wanted = station_jobs_destructive(b->station) > 0;

        if (wanted == b->inhibit_wanted)
                return;
        b->inhibit_wanted = wanted;
        if (!wanted) {
                if (b->inhibit_fd >= 0)
                        close(TAKE_FD(b->inhibit_fd)); /* a pipe: nothing to wait for */
        } else if (!b->inhibit_call)
                (void) ask(b, !b->inhibit_delays);
}

void inhibitor_free(Bus *b) {
        b->inhibit_call = sd_bus_slot_unref(b->inhibit_call);
        if (b->inhibit_fd >= 0)
                close(TAKE_FD(b->inhibit_fd));
}
