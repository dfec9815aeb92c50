/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Something that answers as polkit does, on a bus of the test's own. It is as strict as polkit about what it is asked: the right types, a
 * subject that is on the bus, an action that the shipped policy knows. */
typedef enum PolkitMood {
        POLKIT_ALLOWS,
        POLKIT_DENIES,
        POLKIT_CHALLENGES, /* a password is needed; with interaction allowed somebody gives it */
        POLKIT_DISMISSED,  /* a password is needed, and whoever is asked closes the dialog */
        POLKIT_SLOW,       /* keeps the questions until polkit_answer() */
        POLKIT_FAILS,      /* answers with an error */
        POLKIT_GARBAGE,    /* answers with something else */
        POLKIT_MOOD_MAX,
} PolkitMood;

typedef struct MockPolkit MockPolkit;

/* Takes the name on the bus of `bus`, which must be attached to an event loop. `policy`: the policy file; NULL: knows every action. */
MockPolkit *mock_polkit_new(sd_bus *bus, const char *policy);
void mock_polkit_free(MockPolkit *p);
void mock_polkit_set(MockPolkit *p, PolkitMood mood);
int polkit_mood_from_string(const char *word);
bool mock_polkit_ready(const MockPolkit *p);
/* Of the last question: "action key=value key=value …", "" if there was none since mock_polkit_forget(). */
const char *mock_polkit_asked(const MockPolkit *p);
unsigned mock_polkit_count(const MockPolkit *p);
unsigned mock_polkit_cancelled(const MockPolkit *p);
unsigned mock_polkit_waiting(const MockPolkit *p);
void mock_polkit_forget(MockPolkit *p);
/* POLKIT_SLOW: answers everything that waits. */
void mock_polkit_answer(MockPolkit *p, bool allow);
