/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"
#include "every-method.h"
#include "mock-polkit.h"
#include "station/settings.h"

/* Who may do what: every method by every sort of caller, on a bus of our own with something that answers as polkit does. The daemon's
 * side trusts nobody for its uid. */

#define CAN_OBTAIN ERROR("NotAuthorisedCanObtain")
#define DISMISSED ERROR("NotAuthorisedDismissed")
#define DENIED ERROR("NotAuthorised")
#define SOMEBODY 1 /* known everywhere, as bus daemons want */

static MockPolkit *polkit;
static sd_bus *stranger;
static uint32_t stranger_uid;

static void start_polkit(PolkitMood mood) {
        char path[512];
        sd_bus *bus;

        /* Beside the test, where make put it. */
        snprintf(path, sizeof(path), "%s/dbus/org.fdld.fdld1.policy", getenv("FDLD_BUILD") ? getenv("FDLD_BUILD") : ".");
        bus = fixture_client();
        polkit = mock_polkit_new(bus, path);
        sd_bus_unref(bus);
        ck_assert_msg(polkit, "cannot read %s", path);
        mock_polkit_set(polkit, mood);
        while (!mock_polkit_ready(polkit))
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
}

static void setup(void) {
        fixture_daemon(POLICY_OPEN);
        fixture_bus(false);
        fx.client = fixture_client();
        stranger = make_stranger();
        stranger_uid = getuid() == 0 ? NOBODY : getuid();
}

static void teardown(void) {
        sd_bus_close_unref(stranger);
        if (polkit)
                mock_polkit_free(polkit);
        fixture_teardown();
}

static sd_bus_message *interactive(sd_bus_message *m) {
        ck_assert_int_ge(sd_bus_message_set_allow_interactive_authorization(m, true), 0);
        return m;
}

/* ---- the tables ---- */

START_TEST(test_every_interface_has_a_row) {
        DIR *d;
        struct dirent *entry;
        char path[512], name[64], expected[80];
        bool found;

        snprintf(path, sizeof(path), "%s/dbus", getenv("srcdir") ? getenv("srcdir") : ".");
        d = opendir(path);
        ck_assert_ptr_nonnull(d);
        while ((entry = readdir(d))) {
                if (strncmp(entry->d_name, BUS_NAME ".", strlen(BUS_NAME ".")) != 0 || !strstr(entry->d_name, ".xml"))
                        continue;
                found = false;
                for (size_t k = 0; k < n_interfaces; k++) {
                        snprintf(expected, sizeof(expected), "%s.xml", interface_name(k, name));
                        found |= streq(expected, entry->d_name);
                }
                ck_assert_msg(found, "dbus/%s: the interface has no row in `interfaces` of tests/bus/every-method.c, so nothing tests who may "
                                     "call its methods: add one",
                              entry->d_name);
        }
        closedir(d);
}
END_TEST

START_TEST(test_policy_file) {
        char path[512], text[300];
        size_t size;
        unsigned n = 0;
        char *policy;

        snprintf(path, sizeof(path), "%s/dbus/org.fdld.fdld1.policy", getenv("FDLD_BUILD") ? getenv("FDLD_BUILD") : ".");
        policy = read_whole_file(path, &size);
        for (Action a = ACTION_NONE + 1; a < ACTION_MAX; a++) {
                const char *begin, *end, *owner;
                snprintf(text, sizeof(text), "<action id=\"" POLICY_ID "%s\">", action_to_string(a));
                begin = strstr(policy, text);
                ck_assert_msg(begin, "%s has no action %s", path, action_to_string(a));
                end = strstr(begin, "</action>");
                owner = strstr(begin, "<annotate key=\"org.freedesktop.policykit.owner\">unix-user:fdld</annotate>");
                ck_assert_msg(owner && owner < end, "%s: no owner, polkit would not answer", action_to_string(a));
        }
        for (const char *p = policy; (p = strstr(p, "<action id=")); p++)
                n++;
        ck_assert_uint_eq(n, ACTION_MAX - 1);
        free(policy);
}
END_TEST

/* A name that stands twice on the root object would be decided by the wrong row. */
START_TEST(test_names_are_unambiguous) {
        static char seen[512][80];
        size_t n = 0;

        for (size_t k = 0; k < n_interfaces; k++) {
                char name[64], entry[80];
                Lines l;

                shipped_lines(k, &l);
                for (size_t i = 0; i < l.n; i++) {
                        if (!method_name(l.lines[i], name))
                                continue;
                        snprintf(entry, sizeof(entry), "%d %s", interfaces[k].kind, name);
                        for (size_t j = 0; j < n; j++)
                                ck_assert_msg(!streq(seen[j], entry), "%s.%s: another interface of the same object has a method of that name",
                                              interfaces[k].name, name);
                        ck_assert_uint_lt(n, ELEMENTSOF(seen));
                        snprintf(seen[n++], sizeof(seen[0]), "%s", entry);
                }
                lines_free(&l);
        }
}
END_TEST

/* ---- every method by every sort of caller ---- */

typedef enum Caller {
        CALLER_ROOT,
        CALLER_ALLOWED,
        CALLER_DENIED,
        CALLER_CHALLENGED,  /* no interaction allowed */
        CALLER_TYPES,       /* the password */
        CALLER_DISMISSES,
        CALLER_SLOW_ALLOWED,
        CALLER_SLOW_DENIED,
        CALLER_NO_POLKIT,
        CALLER_BROKEN_POLKIT,
        CALLER_GARBAGE,
        CALLER_MAX,
} Caller;

static const struct {
        const char *error; /* NULL: may */
        const char *text;
        int mood; /* -1: no polkit */
        bool interactive;
} callers[] = {
        [CALLER_ROOT] = {NULL, "", POLKIT_DENIES, false},
        [CALLER_ALLOWED] = {NULL, "", POLKIT_ALLOWS, false},
        [CALLER_DENIED] = {DENIED, "does not have", POLKIT_DENIES, true},
        [CALLER_CHALLENGED] = {CAN_OBTAIN, "password", POLKIT_CHALLENGES, false},
        [CALLER_TYPES] = {NULL, "", POLKIT_CHALLENGES, true},
        [CALLER_DISMISSES] = {DISMISSED, "dismissed", POLKIT_DISMISSED, true},
        [CALLER_SLOW_ALLOWED] = {NULL, "", POLKIT_SLOW, true},
        [CALLER_SLOW_DENIED] = {DENIED, "does not have", POLKIT_SLOW, true},
        [CALLER_NO_POLKIT] = {DENIED, "no polkit runs", -1, true},
        [CALLER_BROKEN_POLKIT] = {DENIED, "Something went wrong", POLKIT_FAILS, true},
        [CALLER_GARBAGE] = {DENIED, "could not be read", POLKIT_GARBAGE, true},
};

typedef struct Pending {
        bool done;
        char error[128], text[600];
} Pending;

static int on_pending(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Pending *p = userdata;

        p->done = true;
        if (e) {
                snprintf(p->error, sizeof(p->error), "%s", e->name);
                snprintf(p->text, sizeof(p->text), "%s", e->message ? e->message : "");
        }
        return 1;
}

static sd_bus_slot *begin_call(sd_bus *bus, sd_bus_message *m, Pending *p) {
        sd_bus_slot *slot = NULL;

        *p = (Pending){0};
        ck_assert_int_ge(sd_bus_call_async(bus, &slot, m, on_pending, p, UINT64_C(60000000)), 0);
        sd_bus_message_unref(m);
        return slot;
}

static void run_round(void) {
        int r = sd_event_run(fx.event, 0);

        ck_assert_int_ge(r, 0);
        if (r == 0 && !fake_answer_old(fx.station))
                ck_assert_msg(sd_event_run(fx.event, UINT64_C(20000000)) > 0, "nothing happens any more");
}

static void run_until_waiting(unsigned n) {
        while (mock_polkit_waiting(polkit) < n)
                run_round();
}

static void end_call(sd_bus_slot *slot, const Pending *p) {
        while (!p->done)
                run_round();
        sd_bus_slot_unref(slot);
}

static void try_method(const World *w, Caller caller, size_t k, const char *line, int fd) {
        bool root = caller == CALLER_ROOT && getuid() == 0;
        sd_bus *bus = root ? fx.client : stranger;
        sd_bus_message *m = good_message(bus, w, k, line, fd);
        const Method *method;
        sd_bus_slot *slot;
        char name[64];
        Pending p;

        method_name(line, name);
        method = method_find(interfaces[k].kind, name);
        if (callers[caller].interactive)
                interactive(m);
        fake_forget(fx.station);
        if (polkit)
                mock_polkit_forget(polkit);
        slot = begin_call(bus, m, &p);
        if (callers[caller].mood == POLKIT_SLOW && method->action != ACTION_NONE) {
                run_until_waiting(1);
                /* While somebody thinks, others are served, and nothing is done yet. */
                sd_bus_message_unref(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 0));
                ck_assert_msg(fake_asked(fx.station)[0] == '\0' && !p.done, "%s did not wait for polkit", name);
                mock_polkit_answer(polkit, caller == CALLER_SLOW_ALLOWED);
        }
        end_call(slot, &p);
        if (method->action == ACTION_NONE || root) {
                ck_assert_msg(!polkit || mock_polkit_count(polkit) == 0, "%s asks polkit although nothing is needed", name);
                ck_assert_msg(!strstr(p.error, "NotAuthorised"), "%s: %s", name, p.text);
                return;
        }
        if (callers[caller].error) {
                ck_assert_msg(streq(p.error, callers[caller].error), "%s: %s (%s) instead of %s", name, p.error, p.text, callers[caller].error);
                ck_assert_msg(strstr(p.text, callers[caller].text), "%s: '%s' is not in '%s'", name, callers[caller].text, p.text);
                ck_assert_msg(fake_asked(fx.station)[0] == '\0', "%s was refused but done", name);
        } else
                ck_assert_msg(!strstr(p.error, "NotAuthorised"), "%s is allowed but refused: %s", name, p.text);
        if (polkit) {
                char asked[128];
                snprintf(asked, sizeof(asked), POLICY_ID "%s ", action_to_string(method->action));
                ck_assert_uint_ge(mock_polkit_count(polkit), 1);
                ck_assert_msg(method->grade || strncmp(mock_polkit_asked(polkit), asked, strlen(asked)) == 0, "%s asked for: %s", name,
                              mock_polkit_asked(polkit));
        }
        ck_assert_uint_eq(fx.bus->n_questions, 0);
}

START_TEST(test_every_method) {
        const Caller caller = _i;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        World w;

        if (caller == CALLER_ROOT && getuid() != 0)
                return;
        if (callers[caller].mood >= 0)
                start_polkit(callers[caller].mood);
        w = world_make();
        /* What needs a right first; then the job is over, so that nothing waits for it. */
        for (unsigned free_ones = 0; free_ones < 2; free_ones++) {
                for (size_t k = 0; k < n_interfaces; k++) {
                        char name[64];
                        Lines l;

                        shipped_lines(k, &l);
                        for (size_t i = 0; i < l.n; i++)
                                if (method_name(l.lines[i], name) &&
                                    (method_find(interfaces[k].kind, name)->action == ACTION_NONE) == free_ones)
                                        try_method(&w, caller, k, l.lines[i], fd);
                        lines_free(&l);
                }
                if (free_ones == 0)
                        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        }
        close(fd);
}
END_TEST

/* ---- owners ---- */

START_TEST(test_owners) {
        World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        char number[64];

        start_polkit(POLKIT_DENIES);
        w.job->uid = stranger_uid;
        sd_bus_message_unref(call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Cancel", NULL, "a{sv}", 0));
        ck_assert_uint_eq(mock_polkit_count(polkit), 0);
        sd_bus_message_unref(call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Answer", NULL, "sa{sv}", "replug", 0));
        ck_assert_uint_eq(mock_polkit_count(polkit), 0);
        /* The same work again is work. */
        call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Retry", &e, "a{sv}", 0);
        check_error(&e, DENIED, "flash");
        w.job->uid = stranger_uid + 1;
        call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Cancel", &e, "a{sv}", 0);
        check_error(&e, DENIED, "cancel-any");
        snprintf(number, sizeof(number), " job=%" PRIu64 " kind=flash job-user=", w.job->id);
        ck_assert_ptr_nonnull(strstr(mock_polkit_asked(polkit), number));
}
END_TEST

/* ---- what polkit and its rules are told ---- */

static bool asked(const char *text) {
        return strstr(mock_polkit_asked(polkit), text);
}

START_TEST(test_details) {
        World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;

        start_polkit(POLKIT_DENIES);
        strcpy(w.slot->label, "left");
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", w.paths[OBJECT_SLOT], w.paths[OBJECT_PACKAGE], 0);
        check_error(&e, DENIED, "org.fdld.fdld1.flash)");
        ck_assert(asked("org.fdld.fdld1.flash target=slot left package=a.pac digest=0000"));
        ck_assert(asked(" slot=left port=pci-0000:00:14.0-usb-0:2 "));
        ck_assert(asked(" method=Flash"));
        call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "flash", w.paths[OBJECT_DEVICE], 1, "package", "o",
                w.paths[OBJECT_PACKAGE]);
        check_error(&e, DENIED, "flash");
        ck_assert(asked("package=a.pac digest=0000"));
        ck_assert(asked("port=pci-0000:00:14.0-usb-0:2"));
        call_on(stranger, BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", STDIN_FILENO, "b.pac", 0);
        check_error(&e, DENIED, "import");
        ck_assert(asked("org.fdld.fdld1.import target=any slot package=b.pac"));
        sd_bus_error_free(&e);
}
END_TEST

START_TEST(test_risk) {
        World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        const char *package = w.paths[OBJECT_PACKAGE];

        start_polkit(POLKIT_DENIES);
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "mode", "s", "factory");
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "mode", "s", "research");
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "erase-all", "b", 1);
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "repair", "b", 1);
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "soft-entry", "b", 1);
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "repair", "/", 1, "package", "o", package);
        check_error(&e, DENIED, "flash-critical");
        call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "flash", "/", 2, "package", "o", package, "mode", "s", "factory");
        check_error(&e, DENIED, "flash-critical");
        w.job->options.mode = FLASH_MODE_FACTORY;
        call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Retry", &e, "a{sv}", 0);
        check_error(&e, DENIED, "flash-critical");
        /* A standing order that may lose data needs the right to give standing orders and the right to lose data. */
        mock_polkit_set(polkit, POLKIT_ALLOWS);
        mock_polkit_forget(polkit);
        sd_bus_message *m;
        Pending p;
        ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, BUS_ROOT, MANAGER, "StartBatch"), 0);
        ck_assert_int_ge(sd_bus_message_append(m, "soaoa{sv}", "b", package, 1, w.paths[OBJECT_SLOT], 1, "mode", "s", "factory"), 0);
        end_call(begin_call(stranger, m, &p), &p);
        ck_assert_uint_eq(mock_polkit_count(polkit), 2);
        ck_assert(asked("org.fdld.fdld1.flash-critical "));
        mock_polkit_set(polkit, POLKIT_DENIES);
        call_on(stranger, BUS_ROOT, MANAGER, "StartBatch", &e, "soaoa{sv}", "b", package, 1, w.paths[OBJECT_SLOT], 1, "mode", "s", "factory");
        check_error(&e, DENIED, "manage-batches");
        /* Bad arguments need no password to be told. */
        mock_polkit_forget(polkit);
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "mood", "s", "good");
        check_error(&e, ERROR("InvalidOption"), "mood");
        ck_assert_uint_eq(mock_polkit_count(polkit), 0);
}
END_TEST

/* A draft was allowed when it was made; that is not asked for twice. */
START_TEST(test_draft_is_asked_for_once) {
        World w = world_make();
        const char *path;
        sd_bus_message *m;
        char copy[BUS_PATH_MAX];

        start_polkit(POLKIT_ALLOWS);
        m = call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", NULL, "soa{sv}", "flash", "/", 2, "package", "o", w.paths[OBJECT_PACKAGE],
                    "mode", "s", "factory");
        ck_assert_int_ge(sd_bus_message_read(m, "to", NULL, &path), 0);
        snprintf(copy, sizeof(copy), "%s", path);
        sd_bus_message_unref(m);
        mock_polkit_set(polkit, POLKIT_DENIES);
        sd_bus_message_unref(call_on(stranger, copy, BUS_NAME ".Job", "Submit", NULL, "a{sv}", 0));
        ck_assert_uint_eq(mock_polkit_count(polkit), 1);
}
END_TEST

/* ---- callers that flood, die, or ask for what goes away ---- */

START_TEST(test_caller_dies) {
        sd_bus_message *m;
        sd_bus_slot *slot;
        Pending p;
        sd_bus *other;

        start_polkit(POLKIT_SLOW);
        other = getuid() == 0 ? fixture_client_as(SOMEBODY) : fixture_client();
        ck_assert_int_ge(sd_bus_message_new_method_call(other, &m, BUS_NAME, BUS_ROOT, MANAGER, "Reload"), 0);
        slot = begin_call(other, interactive(m), &p);
        run_until_waiting(1);
        ck_assert_uint_eq(fx.bus->n_questions, 1);
        sd_bus_slot_unref(slot);
        sd_bus_close_unref(other);
        /* The dialog is taken away. */
        while (mock_polkit_waiting(polkit) > 0)
                run_round();
        ck_assert_uint_eq(mock_polkit_cancelled(polkit), 1);
        ck_assert_uint_eq(fx.bus->n_questions, 0);
        settle();
        ck_assert_str_eq(fake_asked(fx.station), "");
}
END_TEST

START_TEST(test_caller_floods) {
        static Pending p[100];
        sd_bus_slot *slots[ELEMENTSOF(p)];
        unsigned refused = 0;
        sd_bus *other;

        start_polkit(POLKIT_SLOW);
        /* Its uid is known first, or the calls would wait for that. */
        sd_bus_message *m;
        ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, BUS_ROOT, MANAGER, "Reload"), 0);
        slots[0] = begin_call(stranger, m, p);
        run_until_waiting(1);
        for (size_t i = 1; i < ELEMENTSOF(p); i++) {
                ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, BUS_ROOT, MANAGER, "Reload"), 0);
                slots[i] = begin_call(stranger, m, p + i);
        }
        run_until_waiting(QUESTIONS_PER_USER_MAX);
        settle();
        while (!p[ELEMENTSOF(p) - 1].done)
                run_round();
        ck_assert_uint_eq(mock_polkit_waiting(polkit), QUESTIONS_PER_USER_MAX);
        for (size_t i = 0; i < ELEMENTSOF(p); i++)
                if (p[i].done) {
                        ck_assert_str_eq(p[i].error, ERROR("QuotaExceeded"));
                        refused++;
                }
        ck_assert_uint_eq(refused, ELEMENTSOF(p) - QUESTIONS_PER_USER_MAX);
        /* Another user is asked for, and root needs nobody. */
        if (getuid() == 0) {
                Pending q;
                sd_bus_slot *slot;
                other = fixture_client_as(SOMEBODY);
                ck_assert_int_ge(sd_bus_message_new_method_call(other, &m, BUS_NAME, BUS_ROOT, MANAGER, "Reload"), 0);
                slot = begin_call(other, m, &q);
                run_until_waiting(QUESTIONS_PER_USER_MAX + 1);
                sd_bus_message_unref(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
                mock_polkit_answer(polkit, true);
                end_call(slot, &q);
                ck_assert_str_eq(q.error, "");
                sd_bus_close_unref(other);
        } else
                mock_polkit_answer(polkit, true);
        for (size_t i = 0; i < ELEMENTSOF(p); i++)
                end_call(slots[i], p + i);
        ck_assert_uint_eq(fx.bus->n_questions, 0);
}
END_TEST

START_TEST(test_object_goes_away) {
        World w = world_make();
        sd_bus_message *m;
        sd_bus_slot *slot;
        Pending p;

        start_polkit(POLKIT_SLOW);
        fx.bus->limits.forget_usec = 1000;
        ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, w.paths[OBJECT_SLOT], BUS_NAME ".Slot", "ResetCounters"), 0);
        slot = begin_call(stranger, m, &p);
        run_until_waiting(1);
        ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, w.paths[OBJECT_DEVICE], BUS_NAME ".Device", "Probe"), 0);
        ck_assert_int_ge(sd_bus_message_append(m, "a{sv}", 0), 0);
        Pending q;
        sd_bus_slot *other = begin_call(stranger, m, &q);
        run_until_waiting(2);
        fake_remove_device(fx.station, w.device);
        mock_polkit_answer(polkit, true);
        end_call(slot, &p);
        end_call(other, &q);
        ck_assert_str_eq(p.error, "");
        ck_assert_str_eq(q.error, ERROR("NoSuchDevice"));
        while (fx.bus->n_questions > 0)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
}
END_TEST

START_TEST(test_polkit_hangs) {
        sd_bus_error e = SD_BUS_ERROR_NULL;

        start_polkit(POLKIT_SLOW);
        fx.bus->limits.answer_usec = 20000;
        call_on(stranger, BUS_ROOT, MANAGER, "Reload", &e, NULL);
        check_error(&e, DENIED, "did not answer in time");
        while (mock_polkit_cancelled(polkit) == 0)
                run_round();
        /* It comes and goes as it likes. */
        mock_polkit_set(polkit, POLKIT_ALLOWS);
        sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        mock_polkit_free(polkit);
        polkit = NULL;
        settle();
        call_on(stranger, BUS_ROOT, MANAGER, "Reload", &e, NULL);
        check_error(&e, DENIED, "no polkit runs");
        ck_assert_uint_eq(fx.bus->n_questions, 0);
}
END_TEST

/* One user cannot take what others need; root can. */
START_TEST(test_user_limits) {
        World w = world_make();
        const char *package = w.paths[OBJECT_PACKAGE];
        const UserLimits *l = station_limits(fx.station);
        sd_bus_error e = SD_BUS_ERROR_NULL;
        Job *jobs[16];
        size_t n = 0;

        start_polkit(POLKIT_ALLOWS);
        for (unsigned i = 0; i < l->imports; i++) {
                jobs[n] = fake_add_job(fx.station, "import", JOB_STATE_RUNNING, true);
                jobs[n++]->uid = stranger_uid;
        }
        call_on(stranger, BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", STDIN_FILENO, "b.pac", 0);
        check_error(&e, ERROR("QuotaExceeded"), "ImportsPerUser=");
        fake_finish(fx.station, jobs[0], JOB_RESULT_DONE);
        w.package->imported_uid = stranger_uid;
        w.package->size = l->bytes;
        call_on(stranger, BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", STDIN_FILENO, "b.pac", 0);
        check_error(&e, ERROR("QuotaExceeded"), "BytesPerUser=");
        w.package->size = l->bytes - 1;
        sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "ImportPackage", NULL, "hsa{sv}", STDIN_FILENO, "b.pac", 0));
        /* Copies of what jobs brought count as well, and a draft that brings more has to wait. */
        Job *holder = fake_add_job(fx.station, "read", JOB_STATE_QUEUED, true), *draft = fake_add_job(fx.station, "read", JOB_STATE_DRAFT, true);
        char path[80];
        snprintf(path, sizeof(path), BUS_ROOT "/jobs/_%llu", (unsigned long long) draft->id);
        holder->uid = draft->uid = stranger_uid;
        holder->bytes_total = 1;
        call_on(stranger, BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", STDIN_FILENO, "b.pac", 0);
        check_error(&e, ERROR("QuotaExceeded"), "BytesPerUser=");
        call_on(stranger, path, BUS_NAME ".Job", "Submit", &e, "a{sv}", 0);
        check_error(&e, ERROR("QuotaExceeded"), "BytesPerUser=");
        fake_finish(fx.station, holder, JOB_RESULT_DONE);
        sd_bus_message_unref(call_on(stranger, path, BUS_NAME ".Job", "Submit", NULL, "a{sv}", 0));
        fake_finish(fx.station, draft, JOB_RESULT_DONE);
        for (unsigned i = 0; i < l->jobs; i++) {
                jobs[n] = fake_add_job(fx.station, "flash", JOB_STATE_QUEUED, true);
                jobs[n++]->uid = stranger_uid;
        }
        call_on(stranger, BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 0);
        check_error(&e, ERROR("QuotaExceeded"), "JobsPerUser=");
        call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Retry", &e, "a{sv}", 0);
        check_error(&e, ERROR("QuotaExceeded"), "JobsPerUser=");
        /* Their jobs count, not those of others. */
        jobs[n - 1]->uid = stranger_uid + 1;
        sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "Flash", NULL, "ooa{sv}", "/", package, 0));
        for (unsigned i = 0; i < l->drafts; i++)
                sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", NULL, "soa{sv}", "flash", "/", 1, "package", "o", package));
        call_on(stranger, BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "flash", "/", 1, "package", "o", package);
        check_error(&e, ERROR("QuotaExceeded"), "DraftsPerUser=");
        if (getuid() == 0) {
                w.job->uid = 0;
                for (unsigned i = 0; i <= l->drafts; i++)
                        sd_bus_message_unref(call(BUS_ROOT, MANAGER, "CreateJob", NULL, "soa{sv}", "flash", "/", 1, "package", "o", package));
        }
}
END_TEST

/* Written properties, which sd-bus cannot let wait: the log's level is everyone's to read and the administrator's to change. */
START_TEST(test_log_control) {
        const char *path = "/org/freedesktop/LogControl1", *interface = "org.freedesktop.LogControl1";
        int level = log_level();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        const char *word;
        sd_bus_message *m;

        start_polkit(POLKIT_DENIES);
        call_on(stranger, path, PROPERTIES, "Set", &e, "ssv", interface, "LogLevel", "s", "debug");
        check_error(&e, DENIED, "manage-daemon");
        ck_assert_int_eq(log_level(), level);
        m = call_on(stranger, path, PROPERTIES, "Get", NULL, "ss", interface, "LogLevel");
        ck_assert_int_ge(sd_bus_message_read(m, "v", "s", &word), 0);
        ck_assert_str_eq(word, "info");
        sd_bus_message_unref(m);
        mock_polkit_set(polkit, POLKIT_ALLOWS);
        sd_bus_message_unref(call_on(stranger, path, PROPERTIES, "Set", NULL, "ssv", interface, "LogLevel", "s", "debug"));
        ck_assert_int_eq(log_level(), LOG_DEBUG);
        sd_bus_message_unref(call_on(stranger, path, PROPERTIES, "Set", NULL, "ssv", interface, "LogTarget", "s", "null"));
        ck_assert_str_eq(log_target(), "null");
        sd_bus_message_unref(call_on(stranger, path, PROPERTIES, "Set", NULL, "ssv", interface, "LogTarget", "s", "auto"));
        ck_assert_str_eq(log_target(), "console");
        call_on(stranger, path, PROPERTIES, "Set", &e, "ssv", interface, "LogLevel", "s", "loud");
        check_error(&e, INVALID_ARGS, "no log level");
        /* cut in the middle of a character */
        call_on(stranger, path, PROPERTIES, "Set", &e, "ssv", interface, "LogLevel", "s", "1234567890123456789012345678901\xc3\xa4");
        check_error(&e, INVALID_ARGS, "no log level");
        call_on(stranger, path, PROPERTIES, "Set", &e, "ssv", interface, "LogTarget", "s", "123456789012345678901234567890\xe2\x82\xac");
        check_error(&e, INVALID_ARGS, "no log target");
        call_on(stranger, path, PROPERTIES, "Set", &e, "ssv", interface, "SyslogIdentifier", "s", "x");
        check_error(&e, "org.freedesktop.DBus.Error.PropertyReadOnly", "");
        ck_assert_uint_eq(fx.bus->n_questions, 0);
        log_set_level(level);
}
END_TEST

/* The daemon's side goes away while polkit thinks: no leak, nothing done. */
START_TEST(test_end_while_asking) {
        sd_bus_message *m;
        sd_bus_slot *slot;
        Pending p;

        start_polkit(POLKIT_SLOW);
        ck_assert_int_ge(sd_bus_message_new_method_call(stranger, &m, BUS_NAME, BUS_ROOT, MANAGER, "Reload"), 0);
        slot = begin_call(stranger, m, &p);
        run_until_waiting(1);
        fx.bus = bus_free(fx.bus);
        sd_bus_slot_unref(slot);
        ck_assert_str_eq(fake_asked(fx.station), "");
}
END_TEST

int main(void) {
        const TTest *const tests[] = {
                test_every_interface_has_a_row, test_policy_file,  test_names_are_unambiguous, test_owners,      test_details, test_risk,
                test_draft_is_asked_for_once,   test_caller_dies,  test_caller_floods,         test_object_goes_away,
                test_polkit_hangs,              test_end_while_asking, test_log_control, test_user_limits,
        };
        TCase *c = tcase_create("authorise");
        Suite *s = suite_create("authorise");
        SRunner *runner;
        int failed;

        tcase_set_timeout(c, 120);
        tcase_add_checked_fixture(c, setup, teardown);
        for (size_t i = 0; i < ELEMENTSOF(tests); i++)
                tcase_add_test(c, tests[i]);
        tcase_add_loop_test(c, test_every_method, 0, CALLER_MAX);
        suite_add_tcase(s, c);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
