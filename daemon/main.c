/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "bus/bus.h"
#include "common/log.h"
#include "common/mapped-file.h"
#include "loop.h"
#include "station/settings.h"
#include "station/station.h"
#include "upgrade.h"

/* Exit codes: 0 stopped as asked, 1 failed, 2 usage, 3 bad configuration, 4 the state directory cannot be used (also:
 * another daemon uses it), 5 no bus or no name on it. */
enum { EXIT_USAGE = 2, EXIT_BAD_SETTINGS = 3, EXIT_STATE = 4, EXIT_NO_BUS = 5 };

#define EXTEND_USEC 30000000ULL
#define EXTEND_EVERY_USEC 10000000ULL

typedef struct Daemon {
        const char *state_directory, *runtime_directory, *configuration_directory, *bus_address;
        bool trust_own_uid;
        Settings settings;
        sd_event *event;
        Station *station;
        Bus *bus;
        Upgrade *upgrade;
        bool have_name, started, stopping, renewing; /* renewing: to execute the new program */
        int exit_code;
        char status[256];
} Daemon;

static void print_help(void) {
        printf("fdld [OPTIONS...]\n\n"
               "Flashes Spreadtrum and Unisoc devices in boot mode; fdlctl(1) is its client.\n\n"
               "Options:\n"
               "  -h --help                         Show this help\n"
               "     --version                      Show the version\n"
               "     --state-directory=PATH         Records and packages ($STATE_DIRECTORY, %s/lib/fdld)\n"
               "     --runtime-directory=PATH       Files that a restart may lose ($RUNTIME_DIRECTORY, /run/fdld)\n"
               "     --configuration-directory=PATH fdld.conf and fdld.conf.d/ ($CONFIGURATION_DIRECTORY, %s/fdld)\n"
               "     --bus-address=ADDRESS          Bus to serve ($DBUS_SYSTEM_BUS_ADDRESS, the system bus)\n"
               "     --trust-own-uid                Callers of the same user may do everything: for tests only\n",
               FDLD_LOCALSTATEDIR, FDLD_SYSCONFDIR);
}

/* systemd gives lists separated by colons: the first is ours. */
static const char *directory_from(const char *variable, const char *fallback, char buffer[static PATH_MAX]) {
        const char *value = getenv(variable);

        if (!value || !value[0])
                return fallback;
        snprintf(buffer, PATH_MAX, "%.*s", (int) strcspn(value, ":"), value);
        return buffer;
}

/* 0 go on, 1 done, negative: usage error. */
static int parse_options(Daemon *d, int argc, char *argv[]) {
        enum { ARG_VERSION = 0x100, ARG_STATE, ARG_RUNTIME, ARG_CONFIGURATION, ARG_BUS, ARG_TRUST };
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, ARG_VERSION},
                {"state-directory", required_argument, NULL, ARG_STATE},
                {"runtime-directory", required_argument, NULL, ARG_RUNTIME},
                {"configuration-directory", required_argument, NULL, ARG_CONFIGURATION},
                {"bus-address", required_argument, NULL, ARG_BUS},
                {"trust-own-uid", no_argument, NULL, ARG_TRUST},
                {},
        };
        static char state[PATH_MAX], runtime[PATH_MAX], configuration[PATH_MAX];

        d->state_directory = directory_from("STATE_DIRECTORY", FDLD_LOCALSTATEDIR "/lib/fdld", state);
        d->runtime_directory = directory_from("RUNTIME_DIRECTORY", "/run/fdld", runtime);
        d->configuration_directory = directory_from("CONFIGURATION_DIRECTORY", FDLD_SYSCONFDIR "/fdld", configuration);
        for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) >= 0;)
                switch (c) {
                case 'h':
                        print_help();
                        return 1;
                case ARG_VERSION:
                        puts(PACKAGE_STRING);
                        return 1;
                case ARG_STATE:
                        d->state_directory = optarg;
                        break;
                case ARG_RUNTIME:
                        d->runtime_directory = optarg;
                        break;
                case ARG_CONFIGURATION:
                        d->configuration_directory = optarg;
                        break;
                case ARG_BUS:
                        d->bus_address = optarg;
                        break;
                case ARG_TRUST:
                        d->trust_own_uid = true;
                        break;
                default:
                        fprintf(stderr, "Try fdld --help.\n");
                        return -EINVAL;
                }
        if (optind < argc) {
                fprintf(stderr, "fdld takes no arguments, \"%s\" is one too many. Try fdld --help.\n", argv[optind]);
                return -EINVAL;
        }
        return 0;
}

/* ---- what systemd is told ---- */

static void tell_status(Daemon *d) {
        unsigned writing = station_jobs_destructive(d->station);
        char status[sizeof(d->status)], more[64] = "";
        const char *upgraded = "";

        if (writing > 0)
                snprintf(more, sizeof(more), ", %u changing flash", writing);
        if (upgrade_waiting(d->upgrade) && !d->stopping)
                upgraded = "; the program was upgraded, the new one takes over when no job runs and nobody waits for one";
        snprintf(status, sizeof(status), "%s%u running, %u queued%s%s", d->stopping && !d->renewing ? "Stopping: " : "",
                 station_jobs_running(d->station), station_jobs_queued(d->station), more, upgraded);
        if (streq(status, d->status))
                return;
        memcpy(d->status, status, sizeof(status));
        (void) sd_notifyf(false, "STATUS=%s", status);
}

static void on_still(void *userdata);

/* The way of a restart, without systemd noticing more than a reload: same process, same environment; what is queued is on disk. */
static void renew_if_idle(Daemon *d) {
        if (!upgrade_waiting(d->upgrade) || d->stopping || !d->started || station_jobs_running(d->station) > 0 || bus_in_use(d->bus))
                return;
        d->stopping = d->renewing = true;
        log_message(LOG_NOTICE, MESSAGE_UPGRADE, "Nothing runs: the new program in %s takes over.", upgrade_path(d->upgrade));
        station_stop(d->station, on_still, d);
}

static void on_replaced(void *userdata) {
        Daemon *d = userdata;

        log_message(LOG_NOTICE, MESSAGE_UPGRADE, "The program in %s was upgraded; the new one takes over when no job runs.", upgrade_path(d->upgrade));
}

/* After every round of the loop; says something only when it changed. */
static int on_post(sd_event_source *source _unused_, void *userdata) {
        renew_if_idle(userdata);
        tell_status(userdata);
        return 0;
}

/* Everything is closed by now. */
static int execute_new(char *path, char *argv[]) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=The new program takes over",
                          (unsigned long long) now.tv_sec * 1000000ULL + (unsigned long long) now.tv_nsec / 1000ULL);
        execv(path, argv);
        log_message(LOG_ERR, MESSAGE_UPGRADE_FAILED, "Cannot execute %s: %s.", path, strerror(errno));
        return EXIT_FAILURE;
}

static void check_ready(Daemon *d) {
        if (!d->have_name || !d->started || d->stopping)
                return;
        (void) sd_notify(false, "READY=1");
        log_message(LOG_NOTICE, MESSAGE_READY, "Ready: station \"%s\", state in %s.", station_name(d->station), d->state_directory);
}

/* ---- end ---- */

static void on_still(void *userdata) {
        Daemon *d = userdata;

        (void) sd_event_exit(d->event, d->exit_code);
}

static int on_extend(sd_event_source *source, uint64_t usec, void *userdata) {
        Daemon *d = userdata;

        if (station_jobs_running(d->station) > 0)
                (void) sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu", EXTEND_USEC);
        (void) sd_event_source_set_time(source, usec + EXTEND_EVERY_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void stop(Daemon *d, int exit_code) {
        bool first = !d->stopping;

        d->stopping = true;
        d->renewing = false; /* somebody wants an end */
        d->exit_code = MAX(d->exit_code, exit_code);
        if (first) {
                (void) sd_notify(false, "STOPPING=1");
                (void) sd_event_add_time_relative(d->event, NULL, CLOCK_MONOTONIC, 0, 0, on_extend, d);
                if (station_jobs_destructive(d->station) > 0)
                        log_message(LOG_NOTICE, MESSAGE_STOPPING, "Stopping when %u job(s) that changed flash are done; a second signal ends them at "
                                   "their next safe "
                                   "point.",
                                   station_jobs_destructive(d->station));
        }
        station_stop(d->station, on_still, d);
}

static int on_stop_signal(sd_event_source *source _unused_, const struct signalfd_siginfo *si _unused_,
                          void *userdata) {
        stop(userdata, 0);
        return 0;
}

static void on_bus_lost(void *userdata) {
        Daemon *d = userdata;

        log_message(LOG_ERR, MESSAGE_BUS_LOST, "%s", bus_lost_reason(d->bus));
        stop(d, EXIT_NO_BUS);
}

/* ---- settings ---- */

static int load_settings(void *userdata, Settings *ret, CallError *e) {
        const Daemon *d = userdata;

        return settings_load(ret, d->configuration_directory, e);
}

static int on_reload_signal(sd_event_source *source _unused_, const struct signalfd_siginfo *si _unused_,
                            void *userdata) {
        Daemon *d = userdata;
        CallError e = {};

        if (station_reload(d->station, &e) < 0)
                log_message(LOG_ERR, MESSAGE_SETTINGS_BAD, "The configuration was not taken over: %s", e.text);
        return 0;
}

/* ---- begin ---- */

static void on_name(void *userdata) {
        Daemon *d = userdata;

        d->have_name = true;
        check_ready(d);
}

/* SIGPIPE would come from a bus or a log reader that goes away. */
static int block_signals(void) {
        sigset_t set;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

static int prepare_loop(Daemon *d) {
        int r = sd_event_default(&d->event);

        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGTERM, on_stop_signal, d);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGINT, on_stop_signal, d);
        if (r >= 0)
                r = sd_event_add_signal(d->event, NULL, SIGHUP, on_reload_signal, d);
        if (r >= 0)
                r = sd_event_add_post(d->event, NULL, on_post, d);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        if (r >= 0 && upgrade_watch(d->event, on_replaced, d, &d->upgrade) < 0)
                log_message(LOG_WARNING, MESSAGE_UPGRADE_FAILED, "An upgrade of the program will not be noticed: restart the daemon after one.");
        return r < 0 ? r : 0;
}

static int complain(const char *text, int exit_code) {
        log_error("%s", text);
        return exit_code;
}

static int begin(Daemon *d) {
        CallError e = {};
        int r;

        settings_default(&d->settings);
        if (settings_load(&d->settings, d->configuration_directory, &e) < 0)
                return complain(e.text, EXIT_BAD_SETTINGS);
        r = prepare_loop(d);
        if (r >= 0)
                r = mapped_file_setup();
        if (r < 0)
                return complain(strerror(-r), EXIT_FAILURE);
        if (station_new(d->event, &d->settings, d->state_directory, &d->station, &e) < 0)
                return complain(e.text, EXIT_STATE);
        station_set_loader(d->station, load_settings, d);
        if (bus_new(d->event, d->station, d->bus_address, d->trust_own_uid, on_bus_lost, d, &d->bus, &e) < 0 ||
            bus_publish(d->bus, on_name, &e) < 0)
                return complain(e.text, EXIT_NO_BUS);
        if (station_start(d->station, &e) < 0)
                return complain(e.text, EXIT_FAILURE);
        d->started = true;
        check_ready(d);
        return 0;
}

static int serve(Daemon *d) {
        LoopTimes t;
        int r = loop_run(d->event, &t);

        log_info("The main loop worked %llu times, %llu of them for more than %u ms (%llu by processor time); the longest took %.1f ms, of the "
                 "processor %.1f ms.",
                 (unsigned long long) t.n, (unsigned long long) t.over, LOOP_BUDGET_USEC / 1000, (unsigned long long) t.over_cpu,
                 (double) t.longest_usec / 1000, (double) t.longest_cpu_usec / 1000);
        return r;
}

/* Memory must not grow with the devices that were here: what is large comes from the kernel and goes back to it when it is freed (by
 * itself the C library would raise that limit to the largest block it has seen, and keep what is below in each thread's arena), and
 * no worker has an arena to itself; few enough share the main thread's that it seldom waits for one. Nothing is allocated for each
 * frame. */
static void bound_memory(void) {
        mallopt(M_MMAP_THRESHOLD, 64 * 1024);
        mallopt(M_TRIM_THRESHOLD, 128 * 1024);
        mallopt(M_ARENA_MAX, 8);
}

int main(int argc, char *argv[]) {
        Daemon d = {};
        char program[PATH_MAX];
        int r = parse_options(&d, argc, argv);

        if (r != 0)
                return r < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        bound_memory();
        umask(0077);
        log_setup();
        r = block_signals();
        r = r < 0 ? complain(strerror(-r), EXIT_FAILURE) : begin(&d);
        if (r == 0)
                r = serve(&d);
        if (r < 0)
                r = complain(strerror(-r), EXIT_FAILURE);
        bus_free(d.bus);
        if (d.station)
                station_free(d.station);
        snprintf(program, sizeof(program), "%s", upgrade_path(d.upgrade));
        upgrade_free(d.upgrade);
        sd_event_unref(d.event);
        return r == 0 && d.renewing ? execute_new(program, argv) : r;
}
