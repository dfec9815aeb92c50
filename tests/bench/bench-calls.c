/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

/* How long callers wait while others watch. bench-calls WATCHERS: so many clients get every signal of the daemon and read it; one more calls
 * the daemon again and again, and the bus daemon itself in between, which tells what the machine alone makes of a call. Until SIGTERM;
 * then lines "NAME VALUE", times in µs. */

#define NAME "org.fdld.Fdld1"
#define PATH "/org/fdld/Fdld1"
#define MOST (1U << 20)
#define PAUSE_USEC 5000

static atomic_bool ended;
static atomic_ullong n_signals;

static void on_term(int signal) {
        (void) signal;
        atomic_store(&ended, true);
}

static uint64_t now_usec(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void must(int r, const char *what) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-calls: %s: %s\n", what, strerror(-r));
        exit(1);
}

static sd_bus *connect_bus(void) {
        sd_bus *bus;

        must(sd_bus_open_system(&bus), "no bus");
        return bus;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *e) {
        (void) m, (void) userdata, (void) e;
        atomic_fetch_add(&n_signals, 1);
        return 0;
}

typedef struct Watchers {
        sd_bus **buses;
        struct pollfd *polls;
        size_t n;
} Watchers;

static void *watch(void *userdata) {
        Watchers *w = userdata;

        while (!atomic_load(&ended)) {
                (void) poll(w->polls, w->n, 100);
                for (size_t i = 0; i < w->n; i++)
                        while (w->polls[i].revents && sd_bus_process(w->buses[i], NULL) > 0)
                                ;
        }
        return NULL;
}

static void start_watchers(Watchers *w, size_t n, pthread_t *ret) {
        *w = (Watchers){.buses = calloc(n, sizeof(sd_bus *)), .polls = calloc(n, sizeof(struct pollfd)), .n = n};
        for (size_t i = 0; i < n; i++) {
                w->buses[i] = connect_bus();
                must(sd_bus_add_match(w->buses[i], NULL, "type='signal',sender='" NAME "'", on_signal, NULL), "no match");
                w->polls[i] = (struct pollfd){.fd = sd_bus_get_fd(w->buses[i]), .events = POLLIN};
        }
        must(-pthread_create(ret, NULL, watch, w), "no thread");
}

typedef struct Times {
        const char *name;
        uint32_t *usec;
        size_t n;
} Times;

static void call(sd_bus *bus, Times *t, const char *to, const char *path, const char *interface, const char *member, const char *argument) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL, *m = NULL;
        uint64_t begin;
        int r = sd_bus_message_new_method_call(bus, &m, to, path, interface, member);

        must(r, "no message");
        if (argument)
                must(argument[0] ? sd_bus_message_append(m, "s", argument) : sd_bus_message_append(m, "a{sv}", 0), "no argument");
        begin = now_usec();
        r = sd_bus_call(bus, m, 0, &e, &reply);
        if (r < 0 && r != -EINTR)
                must(r, e.message ? e.message : member);
        if (r >= 0 && t->n < MOST)
                t->usec[t->n++] = (uint32_t) (now_usec() - begin);
        sd_bus_message_unref(reply);
        sd_bus_message_unref(m);
        sd_bus_error_free(&e);
}

static int compare(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

static void tell(Times *t) {
        if (t->n == 0)
                return;
        qsort(t->usec, t->n, sizeof(uint32_t), compare);
        printf("%s50 %u\n%s99 %u\n%smax %u\n%sn %zu\n", t->name, t->usec[t->n / 2], t->name, t->usec[(t->n - 1) * 99 / 100], t->name, t->usec[t->n - 1],
               t->name, t->n);
        free(t->usec);
}

int main(int argc, char *argv[]) {
        Times get = {.name = "get"}, list = {.name = "list"}, bare = {.name = "bare"}, *all[] = {&get, &list, &bare};
        Watchers watchers;
        pthread_t thread;
        sd_bus *bus;
        size_t n = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;

        if (n == 0 || n > 200)
                return 2;
        signal(SIGTERM, on_term);
        for (size_t i = 0; i < 3; i++)
                all[i]->usec = calloc(MOST, sizeof(uint32_t));
        start_watchers(&watchers, n, &thread);
        bus = connect_bus();
        while (!atomic_load(&ended)) {
                call(bus, &get, NAME, PATH, "org.freedesktop.DBus.Properties", "GetAll", NAME ".Manager");
                call(bus, &list, NAME, PATH, NAME ".Manager", "ListJobs", "");
                call(bus, &bare, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner", NAME);
                (void) poll(NULL, 0, PAUSE_USEC / 1000);
        }
        pthread_join(thread, NULL);
        for (size_t i = 0; i < 3; i++)
                tell(all[i]);
        printf("signals %llu\n", (unsigned long long) atomic_load(&n_signals) / n);
        for (size_t i = 0; i < n; i++)
                sd_bus_unref(watchers.buses[i]);
        free(watchers.buses);
        free(watchers.polls);
        sd_bus_unref(bus);
        return 0;
}
