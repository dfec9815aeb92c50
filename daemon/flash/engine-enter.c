/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/soft-entry.h"
#include "flash/engine-private.h"

/* From a running system into download mode, by software. Some builds erase their first boot stage for that: from here on the unit may start
 * only once the job has written it again. That is why no other job does this. */

#define WAY_OUT "to get out without flashing: hold the power key for 15 seconds, or take the battery out; where that does not help, the boot stage was " \
                "erased on the way and this package has to be flashed"

static int not_back(Engine *e) {
        e->failure->attempts = 1;
        return engine_fail(e, CLASS_GONE, "soft-entry",
                           "the device left its system but did not come back in download mode on the same port within %g seconds; plug it in with the "
                           "boot key held, or " WAY_OUT, e->deadlines.second_enumeration / 1000.0);
}

int engine_enter(Engine *e) {
        const SoftEntry *entry = e->input->entry;
        Channel *channel = NULL;
        int r;

        if (!entry) { /* in download mode already */
                engine_fact(e, "note", "the device was in download mode already");
                return 0;
        }
        if (!e->hooks->reenumerate)
                return -EINVAL;
        r = engine_intent(e);
        if (r != 0)
                return r;
        engine_fact(e, "note", "download mode was asked for on the %s of the running system; " WAY_OUT, entry->what);
        r = soft_entry_send(e->channel, entry, e->deadlines.soft_entry, e->failure);
        e->text_complete = r == 1;
        if (r != 0)
                return r;
        e->report->wrote = true; /* its boot stage may be gone */
        r = e->hooks->reenumerate(e->hooks->userdata, e->deadlines.second_enumeration, &channel, e->failure);
        if (r == 1 && e->failure->class == CLASS_GONE)
                return not_back(e);
        if (r != 0)
                return r;
        e->channel = channel;
        bsl_session_set_channel(e->session, channel);
        engine_fact(e, "note", "identity not proven between the running system and download mode: port and time decide");
        return 0;
}
