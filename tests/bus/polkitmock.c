/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "mock-polkit.h"

/* polkitmock POLICY: answers as polkit does on the bus in $DBUS_SYSTEM_BUS_ADDRESS. On stdin it is told how ("allows", "denies", …, one
 * word a line), on stdout it says when that holds, and what it was asked. */

static MockPolkit *polkit;
static unsigned told;

static int on_line(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        char word[64];
        ssize_t n = read(fd, word, sizeof(word) - 1);

        (void) events;
        (void) userdata;
        if (n <= 0)
                return sd_event_exit(sd_event_source_get_event(s), 0);
        word[n] = '\0';
        word[strcspn(word, "\n")] = '\0';
        if (polkit_mood_from_string(word) < 0)
                return sd_event_exit(sd_event_source_get_event(s), 2);
        mock_polkit_set(polkit, (PolkitMood) polkit_mood_from_string(word));
        printf("now %s\n", word);
        return 0;
}

static int on_post(sd_event_source *s, void *userdata) {
        (void) s;
        (void) userdata;
        if (mock_polkit_count(polkit) != told)
                printf("asked %s\n", mock_polkit_asked(polkit));
        told = mock_polkit_count(polkit);
        return 0;
}

int main(int argc, char *argv[]) {
        sd_event *event = NULL;
        sd_bus *bus = NULL;

        if (argc != 2)
                return 2;
        setvbuf(stdout, NULL, _IOLBF, 0);
        if (sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0 || sd_bus_attach_event(bus, event, 0) < 0)
                return 1;
        polkit = mock_polkit_new(bus, argv[1]);
        if (!polkit || sd_event_add_io(event, NULL, STDIN_FILENO, 1 /* EPOLLIN */, on_line, NULL) < 0 ||
            sd_event_add_post(event, NULL, on_post, NULL) < 0)
                return 1;
        return sd_event_loop(event) < 0;
}
