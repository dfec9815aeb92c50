/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <langinfo.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <systemd/sd-event.h>
#include <termios.h>

#include "board.h"
#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "output.h"

/* The board on a screen: told by signals, drawn a few times a second at most. */

#define REDRAW_USEC 200000ULL
#define SECOND_USEC 1000000ULL /* the time left runs on while nothing is told */

typedef struct Watch {
        sd_event *event;
        sd_bus *bus;
        struct json_object *objects;
        BoardView view;
        char message[256];
        uint64_t message_until;
        bool dirty;
        sd_event_source *timer;
        int exit_code;
} Watch;

/* ---- the terminal: as it was, however this ends ---- */

static struct termios terminal_before;
static bool terminal_changed;

static void terminal_restore(void) {
        static const char leave[] = "\033[0m\033[?25h\033[?1049l";

        if (!terminal_changed)
                return;
        terminal_changed = false;
        (void) !write(STDOUT_FILENO, leave, sizeof(leave) - 1);
        (void) tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

static int terminal_enter(void) {
        static const char enter[] = "\033[?1049h\033[?25l\033[2J";
        struct termios t;

        if (tcgetattr(STDIN_FILENO, &terminal_before) < 0)
                return -errno;
        t = terminal_before;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        t.c_cc[VMIN] = 1;
        t.c_cc[VTIME] = 0;
        t.c_cc[VSUSP] = _POSIX_VDISABLE; /* a stopped board would leave the terminal as it is */
        if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0)
                return -errno;
        terminal_changed = true;
        atexit(terminal_restore);
        (void) !write(STDOUT_FILENO, enter, sizeof(enter) - 1);
        return 0;
}

static void find_size(BoardView *v) {
        struct winsize size = {};
        const char *columns = getenv("COLUMNS");

        v->columns = columns && atoi(columns) > 0 ? (unsigned) atoi(columns) : 80;
        v->rows = 24;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
                v->columns = size.ws_col;
                v->rows = size.ws_row;
        }
        v->columns = MIN(v->columns, 500U);
        v->rows = MIN(v->rows, 300U);
}

static void find_abilities(BoardView *v) {
        const char *term = getenv("TERM"), *none = getenv("NO_COLOR");

        v->colour = isatty(STDOUT_FILENO) && !(none && none[0]) && term && !streq(term, "dumb");
        v->utf8 = streq(nl_langinfo(CODESET), "UTF-8");
}

/* ---- what is shown ---- */

static int fetch(Watch *w) {
        struct json_object *manager = NULL, *root = json_object_new_object();
        int code;

        json_object_put(w->objects);
        w->objects = NULL;
        code = client_objects(w->bus, &w->objects);
        if (code == 0)
                code = client_properties(w->bus, FDLD_ROOT, FDLD_IFACE("Manager"), &manager);
        json_object_object_add(root, FDLD_IFACE("Manager"), manager);
        if (code == 0)
                json_object_object_add(w->objects, FDLD_ROOT, root);
        else
                json_object_put(root);
        return code;
}

static void draw(Watch *w) {
        size_t size = 0;
        char *text = NULL;
        FILE *out = open_memstream(&text, &size);
        uint64_t now = 0;

        if (!out)
                return;
        (void) sd_event_now(w->event, CLOCK_MONOTONIC, &now);
        w->view.message = now < w->message_until ? w->message : NULL;
        /* cleared before it is written: behind the last column a clear would take the last character */
        fputs("\033[H\033[K", out);
        board_print(out, w->objects, &w->view, "\r\n\033[K");
        if (fclose(out) == 0)
                for (size_t done = 0; done < size;) {
                        ssize_t n = write(STDOUT_FILENO, text + done, size - done);
                        if (n < 0 && errno != EINTR)
                                break;
                        done += n > 0 ? (size_t) n : 0;
                }
        free(text);
        w->dirty = false;
}

static int on_timer(sd_event_source *source, uint64_t usec _unused_, void *userdata) {
        Watch *w = userdata;

        draw(w);
        (void) sd_event_source_set_time_relative(source, SECOND_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void draw_soon(Watch *w) {
        if (w->dirty)
                return;
        w->dirty = true;
        (void) sd_event_source_set_time_relative(w->timer, REDRAW_USEC);
        (void) sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

/* ---- signals of the daemon ---- */

static void take_changes(Watch *w, sd_bus_message *m) {
        struct json_object *changed = NULL, *object, *properties;
        const char *interface;

        if (sd_bus_message_read(m, "s", &interface) < 0 || message_to_json(m, &changed) < 0)
                return;
        object = json_member(w->objects, sd_bus_message_get_path(m));
        properties = object ? json_member(object, interface) : NULL;
        if (properties && json_object_is_type(changed, json_type_object)) {
                json_object_object_foreach(changed, key, value)
                        json_object_object_add(properties, key, json_object_get(value));
        }
        json_object_put(changed);
}

static void take_object(Watch *w, sd_bus_message *m) {
        struct json_object *interfaces = NULL;
        const char *path;

        if (sd_bus_message_read(m, "o", &path) < 0)
                return;
        if (streq(sd_bus_message_get_member(m), "InterfacesRemoved"))
                json_object_object_del(w->objects, path);
        else if (message_to_json(m, &interfaces) == 0)
                json_object_object_add(w->objects, path, interfaces);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Watch *w = userdata;

        if (!w->objects)
                return 0;
        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties", "PropertiesChanged"))
                take_changes(w, m);
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", NULL))
                take_object(w, m);
        draw_soon(w);
        return 0;
}

/* The daemon went or came. */
static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const char *name, *before, *now;
        Watch *w = userdata;

        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
                return 0;
        if (now[0] && fetch(w) == 0)
                snprintf(w->message, sizeof(w->message), " fdld is back.");
        else
                snprintf(w->message, sizeof(w->message), " fdld is not running: what is shown is old. Waiting for it.");
        w->message_until = now[0] ? 0 : UINT64_MAX;
        draw_soon(w);
        return 0;
}

/* ---- keys ---- */

static void say(Watch *w, const char *text) {
        uint64_t now = 0;

        (void) sd_event_now(w->event, CLOCK_MONOTONIC, &now);
        snprintf(w->message, sizeof(w->message), " %s", text);
        w->message_until = now + 5 * SECOND_USEC;
        draw_soon(w);
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        char text[200];

        say(userdata, e ? safe_text(e->message ? e->message : e->name, text, sizeof(text)) : "Done.");
        return 0;
}

static unsigned call_batches(Watch *w, const char *key, const char *value, const char *member) {
        struct json_object *list = client_objects_of(w->objects, FDLD_IFACE("Batch"));
        unsigned n = 0;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *b = json_object_array_get_idx(list, i);
                if (streq(json_text(b, key), value) && sd_bus_call_method_async(w->bus, NULL, FDLD_NAME, json_text(b, "path"), FDLD_IFACE("Batch"),
                                                                                 member, on_reply, w, "a{sv}", 0) >= 0)
                        n++;
        }
        json_object_put(list);
        return n;
}

static unsigned clear_slots(Watch *w) {
        struct json_object *list = client_objects_of(w->objects, FDLD_IFACE("Slot"));
        unsigned n = 0;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
                struct json_object *s = json_object_array_get_idx(list, i);
                if (streq(json_text(s, "Action"), "clear") && sd_bus_call_method_async(w->bus, NULL, FDLD_NAME, json_text(s, "path"),
                                                                                       FDLD_IFACE("Slot"), "ClearWedged", on_reply, w, "") >= 0)
                        n++;
        }
        json_object_put(list);
        return n;
}

static int press(Watch *w, char key) {
        switch (key) {
        case 'q':
        case 'Q':
                return sd_event_exit(w->event, 0);
        case 'p':
                if (call_batches(w, "State", "running", "Pause") == 0)
                        say(w, "No batch is running.");
                break;
        case 'r':
                if (call_batches(w, "State", "paused", "Resume") == 0)
                        say(w, "No batch is paused.");
                break;
        case 'a':
        case 'c':
                if (call_batches(w, "Action", "confirm", "Confirm") + clear_slots(w) == 0)
                        say(w, "Nothing waits to be acknowledged.");
                break;
        case 'n':
        case ' ':
                w->view.page = w->view.page + 1 < w->view.n_pages ? w->view.page + 1 : 0;
                draw(w);
                break;
        case 'b':
                w->view.page = w->view.page > 0 ? w->view.page - 1 : MAX(w->view.n_pages, 1U) - 1;
                draw(w);
                break;
        default:
                break;
        }
        return 0;
}

static int on_key(sd_event_source *source _unused_, int fd, uint32_t events _unused_, void *userdata) {
        Watch *w = userdata;
        char keys[64];
        ssize_t n = read(fd, keys, sizeof(keys));

        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
                return sd_event_exit(w->event, 0); /* the terminal is gone */
        for (ssize_t i = 0; i < n; i++) {
                if (keys[i] == '\033') /* arrows and the like: not ours */
                        break;
                press(w, keys[i]);
        }
        return 0;
}

static int on_resize(sd_event_source *source _unused_, const struct signalfd_siginfo *si _unused_, void *userdata) {
        Watch *w = userdata;

        find_size(&w->view);
        (void) !write(STDOUT_FILENO, "\033[2J", 4);
        draw(w);
        return 0;
}

static int on_end(sd_event_source *source _unused_, const struct signalfd_siginfo *si, void *userdata) {
        Watch *w = userdata;

        w->exit_code = si->ssi_signo == SIGINT ? 0 : 128 + (int) si->ssi_signo;
        return sd_event_exit(w->event, 0);
}

/* ---- begin ---- */

static int add_sources(Watch *w) {
        static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
        int r = sd_event_add_time_relative(w->event, &w->timer, CLOCK_MONOTONIC, SECOND_USEC, 10000, on_timer, w);

        for (size_t i = 0; i < ELEMENTSOF(ends) && r >= 0; i++)
                r = sd_event_add_signal(w->event, NULL, ends[i], on_end, w);
        if (r >= 0)
                r = sd_event_add_signal(w->event, NULL, SIGWINCH, on_resize, w);
        if (r >= 0)
                r = sd_event_add_io(w->event, NULL, STDIN_FILENO, EPOLLIN, on_key, w);
        if (r >= 0)
                r = sd_bus_attach_event(w->bus, w->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_add_match(w->bus, NULL, "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" FDLD_NAME "'",
                                     on_owner, w);
        return r;
}

static int run(Watch *w) {
        sigset_t set;
        int r = sd_event_default(&w->event);

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGWINCH);
        sigprocmask(SIG_BLOCK, &set, NULL);
        if (r >= 0)
                r = add_sources(w);
        if (r >= 0)
                r = terminal_enter();
        if (r >= 0) {
                draw(w);
                r = sd_event_loop(w->event);
        }
        terminal_restore();
        return r;
}

static void print_once(Watch *w) {
        if (arg_output.json != JSON_OFF) {
                struct json_object *o = board_json(w->objects);
                json_print(o);
                json_object_put(o);
                return;
        }
        w->view.rows = 0;
        board_print(stdout, w->objects, &w->view, "\n");
}

int verb_watch(int argc _unused_, char **argv _unused_) {
        Watch w = {};
        int code = 0, r = 0;

        find_size(&w.view);
        find_abilities(&w.view);
        if (!arg_once && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))) {
                fprintf(stderr, "fdlctl: \"watch\" needs a terminal; \"watch --once\" prints the board.\n");
                return EXIT_USAGE;
        }
        w.bus = client_connect(&code);
        if (!w.bus)
                return code;
        /* listen first: nothing is missed between the answer and the first signal */
        if (!arg_once)
                r = sd_bus_add_match(w.bus, NULL, "type='signal',sender='" FDLD_NAME "',path_namespace='" FDLD_ROOT "'", on_signal, &w);
        code = r < 0 ? client_report("watch", NULL, r) : fetch(&w);
        if (code == 0 && arg_once)
                print_once(&w);
        else if (code == 0) {
                r = run(&w);
                code = r < 0 ? client_report("watch", NULL, r) : w.exit_code;
        }
        sd_bus_close_unref(w.bus);
        sd_event_source_disable_unref(w.timer);
        json_object_put(w.objects);
        sd_event_unref(w.event);
        return code;
}
