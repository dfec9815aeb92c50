/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fixture.h"
#include "../unit/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PATIENCE_USEC (20 * UINT64_C(1000000))

Fixture fx;

static void write_config(const char *path, Policy policy) {
        const char *top = getenv("srcdir");
        FILE *f = fopen(path, "we");

        ck_assert_ptr_nonnull(f);
        fprintf(f, "<busconfig><type>system</type><listen>unix:path=%s/bus</listen>", fx.directory);
        fprintf(f, "<auth>EXTERNAL</auth><limit name='max_message_unix_fds'>16</limit><limit "
                   "name='max_incoming_unix_fds'>64</limit>");
        fprintf(f, "<limit name='max_match_rules_per_connection'>512</limit><limit "
                   "name='max_connections_per_user'>512</limit>");
        fprintf(f, "<policy context='default'><allow user='*'/><deny own='*'/><deny send_type='method_call'/>");
        fprintf(f, "<allow send_type='signal'/><allow send_requested_reply='true' send_type='method_return'/>");
        fprintf(f, "<allow send_requested_reply='true' send_type='error'/><allow receive_type='method_call'/>");
        fprintf(f, "<allow receive_type='method_return'/><allow receive_type='error'/><allow receive_type='signal'/>");
        fprintf(f, "<allow send_destination='org.freedesktop.DBus'/></policy>");
        if (policy == POLICY_SHIPPED)
                fprintf(f, "<include>%s/dbus/org.fdld.Fdld1.conf</include>", top ? top : ".");
        else
                fprintf(f, "<policy context='mandatory'><allow own='*'/><allow send_destination='*'/></policy>");
        fprintf(f, "</busconfig>");
        ck_assert_int_eq(fclose(f), 0);
}

static void absolute_top(void) {
        char *top = realpath(getenv("srcdir") ? getenv("srcdir") : ".", NULL);

        ck_assert_ptr_nonnull(top);
        setenv("srcdir", top, 1);
        free(top);
}

void fixture_daemon(Policy policy) {
        char config[192], option[224], print[32];
        int fds[2];

        absolute_top();
        scratch_template(fx.directory, sizeof(fx.directory), "fdld-bus");
        ck_assert_ptr_nonnull(mkdtemp(fx.directory));
        ck_assert_int_eq(chmod(fx.directory, 0755), 0);
        snprintf(config, sizeof(config), "%s/config", fx.directory);
        write_config(config, policy);
        ck_assert_int_eq(pipe(fds), 0);
        fx.daemon = fork();
        ck_assert_int_ge(fx.daemon, 0);
        if (fx.daemon == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                /* It complains of limits and of every refusal. */
                if (!getenv("FDLD_TEST_VERBOSE"))
                        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
                snprintf(option, sizeof(option), "--config-file=%s", config);
                snprintf(print, sizeof(print), "--print-address=%d", fds[1]);
                execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", "--nosyslog", print, NULL);
                _exit(127);
        }
        close(fds[1]);
        ck_assert_int_gt(read(fds[0], fx.address, 1), 0); /* printed once it listens */
        close(fds[0]);
        snprintf(fx.address, sizeof(fx.address), "unix:path=%s/bus", fx.directory);
        ck_assert_int_ge(sd_event_new(&fx.event), 0);
        fx.station = fake_station_new();
}

static void on_ready(void *userdata _unused_) {
        fx.ready = true;
}

static void on_lost(void *userdata _unused_) {
        fx.lost++;
}

void fixture_bus(bool trust_own_uid) {
        CallError e = {.text = ""};

        ck_assert_msg(bus_new(fx.event, fx.station, fx.address, trust_own_uid, on_lost, NULL, &fx.bus, &e) == 0, "%s",
                      e.text);
        ck_assert_msg(bus_publish(fx.bus, on_ready, &e) == 0, "%s", e.text);
        run_until(&fx.ready);
        ck_assert_str_eq(bus_lost_reason(fx.bus), "");
}

sd_bus *fixture_client(void) {
        sd_bus *bus;

        ck_assert_int_ge(sd_bus_new(&bus), 0);
        ck_assert_int_ge(sd_bus_set_address(bus, fx.address), 0);
        ck_assert_int_ge(sd_bus_set_bus_client(bus, true), 0);
        ck_assert_int_ge(sd_bus_negotiate_fds(bus, true), 0);
        ck_assert_int_ge(sd_bus_start(bus), 0);
        ck_assert_int_ge(sd_bus_attach_event(bus, fx.event, SD_EVENT_PRIORITY_NORMAL), 0);
        return bus;
}

sd_bus *fixture_client_as(uid_t uid) {
        sd_bus *bus;

        /* The bus daemon looks at who connects. */
        ck_assert_int_eq(seteuid(uid), 0);
        bus = fixture_client();
        while (sd_bus_is_ready(bus) == 0)
                ck_assert_int_gt(sd_event_run(fx.event, PATIENCE_USEC), 0);
        ck_assert_int_eq(seteuid(0), 0);
        return bus;
}

void fixture_setup(void) {
        fixture_daemon(POLICY_OPEN);
        fixture_bus(true);
        fx.client = fixture_client();
}

void fixture_teardown(void) {
        char path[224];

        fx.bus = bus_free(fx.bus);
        fx.client = sd_bus_close_unref(fx.client);
        (void) fake_answer_old(fx.station); /* too late: must not hurt */
        fake_station_free(fx.station);
        fx.event = sd_event_unref(fx.event);
        kill(fx.daemon, SIGKILL);
        waitpid(fx.daemon, NULL, 0);
        snprintf(path, sizeof(path), "%s/config", fx.directory);
        unlink(path);
        snprintf(path, sizeof(path), "%s/bus", fx.directory);
        unlink(path);
        rmdir(fx.directory);
        memset(&fx, 0, sizeof(fx));
}

void run_until(const bool *flag) {
        while (!*flag)
                ck_assert_msg(sd_event_run(fx.event, PATIENCE_USEC) > 0, "nothing happens any more");
}

typedef struct Pending {
        bool done;
        sd_bus_message *reply;
} Pending;

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Pending *p = userdata;

        p->reply = sd_bus_message_ref(m);
        p->done = true;
        return 1;
}

sd_bus_message *call_on(sd_bus *bus, const char *path, const char *interface, const char *member, sd_bus_error *error,
                        const char *types, ...) {
        sd_bus_message *m = NULL;
        va_list ap;

        ck_assert_int_ge(sd_bus_message_new_method_call(bus, &m, BUS_NAME, path, interface, member), 0);
        va_start(ap, types);
        if (types)
                ck_assert_int_ge(sd_bus_message_appendv(m, types, ap), 0);
        va_end(ap);
        return call_message(bus, m, error);
}

sd_bus_message *call_message(sd_bus *bus, sd_bus_message *m, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(m);
        sd_bus_slot *slot = NULL;
        Pending p = {0};

        ck_assert_int_ge(sd_bus_call_async(bus, &slot, m, on_reply, &p, PATIENCE_USEC), 0);
        while (!p.done) {
                /* Questions to the store are answered when nothing else is to do, as a thread would. */
                int r = sd_event_run(fx.event, 0);
                ck_assert_int_ge(r, 0);
                if (r == 0 && !fake_answer_old(fx.station))
                        ck_assert_msg(sd_event_run(fx.event, PATIENCE_USEC) > 0, "no reply to %s", member);
        }
        sd_bus_slot_unref(slot);
        if (!sd_bus_message_get_error(p.reply)) {
                ck_assert_msg(!error, "%s succeeded but must not", member);
                sd_bus_message_unref(m);
                return p.reply;
        }
        ck_assert_msg(error, "%s failed: %s: %s", member, sd_bus_message_get_error(p.reply)->name,
                      sd_bus_message_get_error(p.reply)->message);
        sd_bus_message_unref(m);
        sd_bus_error_copy(error, sd_bus_message_get_error(p.reply));
        sd_bus_message_unref(p.reply);
        return NULL;
}

void check_error(sd_bus_error *e, const char *name, const char *text) {
        ck_assert_str_eq(e->name ? e->name : "(none)", name);
        ck_assert_msg(strstr(e->message ? e->message : "", text), "'%s' is not in '%s'", text, e->message);
        sd_bus_error_free(e);
}

void settle(void) {
        for (unsigned i = 0; i < 3; i++)
                sd_bus_message_unref(call(BUS_ROOT, "org.freedesktop.DBus.Peer", "Ping", NULL, NULL));
}
