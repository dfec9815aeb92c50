/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mock-polkit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME "org.freedesktop.PolicyKit1"
#define PATH "/org/freedesktop/PolicyKit1/Authority"
#define INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define ERROR_FAILED "org.freedesktop.PolicyKit1.Error.Failed"
#define WAITING_MAX 256

struct MockPolkit {
        sd_bus *bus;
        char *policy;
        PolkitMood mood;
        bool ready;
        char asked[2048];
        unsigned count, cancelled, n_waiting;
        sd_bus_message *waiting[WAITING_MAX];
        char ids[WAITING_MAX][64];
};

static const char *const moods[] = {
        [POLKIT_ALLOWS] = "allows", [POLKIT_DENIES] = "denies", [POLKIT_CHALLENGES] = "challenges", [POLKIT_DISMISSED] = "dismissed",
        [POLKIT_SLOW] = "slow",     [POLKIT_FAILS] = "fails",   [POLKIT_GARBAGE] = "garbage",
};

int polkit_mood_from_string(const char *word) {
        for (int i = 0; i < POLKIT_MOOD_MAX; i++)
                if (strcmp(word, moods[i]) == 0)
                        return i;
        return -1;
}

static int answer(sd_bus_message *m, bool allowed, bool challenge, bool dismissed) {
        if (dismissed)
                return sd_bus_reply_method_return(m, "(bba{ss})", (int) allowed, (int) challenge, 1, "polkit.dismissed", "true");
        return sd_bus_reply_method_return(m, "(bba{ss})", (int) allowed, (int) challenge, 0);
}

/* The file is ours: to look for the attribute is enough. */
static bool knows_action(const MockPolkit *p, const char *action) {
        char attribute[300];

        if (!p->policy)
                return true;
        snprintf(attribute, sizeof(attribute), "<action id=\"%s\">", action);
        return strstr(p->policy, attribute);
}

static int read_question(MockPolkit *p, sd_bus_message *m, const char **ret_action, uint32_t *ret_flags, const char **ret_id) {
        const char *kind, *key, *value, *name;
        size_t n;
        int r;

        r = sd_bus_message_read(m, "(sa{sv})s", &kind, 1, &key, "s", &name, ret_action);
        if (r < 0 || strcmp(kind, "system-bus-name") != 0 || strcmp(key, "name") != 0 || name[0] != ':')
                return -EINVAL;
        snprintf(p->asked, sizeof(p->asked), "%s", *ret_action);
        r = sd_bus_message_enter_container(m, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(m, "{ss}", &key, &value)) > 0) {
                n = strlen(p->asked);
                snprintf(p->asked + n, sizeof(p->asked) - n, " %s=%s", key, value);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_read(m, "us", ret_flags, ret_id);
}

static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        MockPolkit *p = userdata;
        const char *action, *id;
        uint32_t flags;

        if (read_question(p, m, &action, &flags, &id) < 0)
                return sd_bus_error_set(error, ERROR_FAILED, "Malformed question");
        p->count++;
        if (!knows_action(p, action))
                return sd_bus_error_setf(error, ERROR_FAILED, "Action %s is not registered", action);
        switch (p->mood) {
        case POLKIT_ALLOWS:
                return answer(m, true, false, false);
        case POLKIT_CHALLENGES:
                return flags & 1 ? answer(m, true, false, false) : answer(m, false, true, false);
        case POLKIT_DISMISSED:
                return flags & 1 ? answer(m, false, false, true) : answer(m, false, true, false);
        case POLKIT_FAILS:
                return sd_bus_error_set(error, ERROR_FAILED, "Something went wrong");
        case POLKIT_GARBAGE:
                return sd_bus_reply_method_return(m, "s", "yes");
        case POLKIT_SLOW:
                if (p->n_waiting >= WAITING_MAX)
                        return sd_bus_error_set(error, ERROR_FAILED, "Too many questions");
                snprintf(p->ids[p->n_waiting], sizeof(p->ids[0]), "%s", id);
                p->waiting[p->n_waiting++] = sd_bus_message_ref(m);
                return 1;
        default:
                return answer(m, false, false, false);
        }
}

static int on_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        MockPolkit *p = userdata;
        const char *id;

        if (sd_bus_message_read(m, "s", &id) < 0)
                return sd_bus_error_set(error, ERROR_FAILED, "Malformed");
        for (unsigned i = 0; i < p->n_waiting; i++)
                if (strcmp(p->ids[i], id) == 0) {
                        p->cancelled++;
                        sd_bus_reply_method_errorf(p->waiting[i], "org.freedesktop.PolicyKit1.Error.Cancelled", "Cancelled");
                        sd_bus_message_unref(p->waiting[i]);
                        p->n_waiting--;
                        memmove(p->waiting + i, p->waiting + i + 1, (p->n_waiting - i) * sizeof(p->waiting[0]));
                        memmove(p->ids + i, p->ids + i + 1, (p->n_waiting - i) * sizeof(p->ids[0]));
                        return sd_bus_reply_method_return(m, NULL);
                }
        return sd_bus_error_set(error, ERROR_FAILED, "No such question");
}

/* Not a vtable: with one, sd-bus would not let wrong answers out. */
static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_method_call(m, INTERFACE, "CheckAuthorization") > 0)
                return on_check(m, userdata, error);
        if (sd_bus_message_is_method_call(m, INTERFACE, "CancelCheckAuthorization") > 0)
                return on_cancel(m, userdata, error);
        return 0;
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        MockPolkit *p = userdata;

        (void) error;
        p->ready = !sd_bus_message_get_error(m);
        return 0;
}

static char *read_file(const char *path) {
        FILE *f = fopen(path, "re");
        char *data = NULL;
        size_t capacity = 0;

        if (!f)
                return NULL;
        if (getdelim(&data, &capacity, '\0', f) < 0) {
                free(data);
                data = NULL;
        }
        fclose(f);
        return data;
}

MockPolkit *mock_polkit_new(sd_bus *bus, const char *policy) {
        MockPolkit *p = calloc(1, sizeof(*p));

        if (!p)
                return NULL;
        p->bus = sd_bus_ref(bus);
        if (policy) {
                p->policy = read_file(policy);
                if (!p->policy) {
                        mock_polkit_free(p);
                        return NULL;
                }
        }
        if (sd_bus_add_object(bus, NULL, PATH, on_call, p) < 0 ||
            sd_bus_request_name_async(bus, NULL, NAME, 0, on_name, p) < 0) {
                mock_polkit_free(p);
                return NULL;
        }
        return p;
}

void mock_polkit_free(MockPolkit *p) {
        for (unsigned i = 0; i < p->n_waiting; i++)
                sd_bus_message_unref(p->waiting[i]);
        sd_bus_close_unref(p->bus);
        free(p->policy);
        free(p);
}

void mock_polkit_set(MockPolkit *p, PolkitMood mood) {
        p->mood = mood;
}

bool mock_polkit_ready(const MockPolkit *p) {
        return p->ready;
}

const char *mock_polkit_asked(const MockPolkit *p) {
        return p->asked;
}

unsigned mock_polkit_count(const MockPolkit *p) {
        return p->count;
}

unsigned mock_polkit_cancelled(const MockPolkit *p) {
        return p->cancelled;
}

unsigned mock_polkit_waiting(const MockPolkit *p) {
        return p->n_waiting;
}

void mock_polkit_forget(MockPolkit *p) {
        p->asked[0] = '\0';
        p->count = p->cancelled = 0;
}

void mock_polkit_answer(MockPolkit *p, bool allow) {
        while (p->n_waiting > 0) {
                sd_bus_message *m = p->waiting[--p->n_waiting];
                (void) answer(m, allow, false, false);
                sd_bus_message_unref(m);
        }
}
