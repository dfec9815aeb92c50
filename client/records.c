/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "records.h"

#include <fcntl.h>
#include <poll.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"

#define LINE_MAX_BYTES (1024 * 1024)

/* ---- moments ---- */

static int parse_ago(const char *text, uint64_t now, uint64_t *ret) {
        static const struct {
                const char *unit;
                uint64_t seconds;
        } units[] = { { "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 }, { "w", 7 * 86400 } };
        char *end;
        unsigned long long v;

        if (*text < '0' || *text > '9')
                return -EINVAL;
        errno = 0;
        v = strtoull(text, &end, 10);
        if (errno)
                return -EINVAL;
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                if (streq(end, units[i].unit)) {
                        if (v > now / units[i].seconds)
                                return -EINVAL;
                        *ret = (now - v * units[i].seconds) * 1000000;
                        return 0;
                }
        return -EINVAL;
}

static int parse_date(const char *text, uint64_t *ret) {
        static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tm = { .tm_isdst = -1 };
                const char *end = strptime(text, formats[i], &tm);
                time_t t;

                if (!end || *end)
                        continue;
                t = mktime(&tm);
                if (t < 0)
                        return -EINVAL;
                *ret = (uint64_t) t * 1000000;
                return 0;
        }
        return -EINVAL;
}

static uint64_t midnight(time_t now, int days_before) {
        struct tm tm;

        localtime_r(&now, &tm);
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        tm.tm_mday -= days_before;
        tm.tm_isdst = -1;
        return (uint64_t) mktime(&tm) * 1000000;
}

int parse_moment(const char *text, uint64_t *ret_usec) {
        time_t now = time(NULL);
        char *end;

        if (streq(text, "today") || streq(text, "yesterday")) {
                *ret_usec = midnight(now, text[0] == 'y');
                return 0;
        }
        if (text[0] == '@' && text[1] >= '0' && text[1] <= '9') {
                errno = 0;
                *ret_usec = strtoull(text + 1, &end, 10) * 1000000;
                return errno || *end || *ret_usec / 1000000 > (1ULL << 40) ? -EINVAL : 0;
        }
        if (parse_ago(text, (uint64_t) now, ret_usec) == 0)
                return 0;
        return parse_date(text, ret_usec);
}

/* ---- the filter ---- */

static int append_moment(sd_bus_message *m, const char *key, const char *option, const char *text) {
        uint64_t usec;

        if (!text)
                return 0;
        if (parse_moment(text, &usec) < 0)
                return usage_error("--%s=%s is no time. Write 2026-11-26, \"2026-11-26 20:15\", today, or how long ago: 12h, 7d.", option, text);
        return sd_bus_message_append(m, "{sv}", key, "t", usec) < 0 ? EXIT_OTHER : 0;
}

static int append_batch(sd_bus_message *m) {
        char *end;
        uint64_t n;

        if (!arg_batch)
                return 0;
        errno = 0;
        n = strtoull(arg_batch, &end, 10);
        if (errno || end == arg_batch || *end)
                return usage_error("--batch=%s is no number of a batch.", arg_batch);
        return sd_bus_message_append(m, "{sv}", "batch", "t", n) < 0 ? EXIT_OTHER : 0;
}

int records_append_filter(sd_bus_message *m, const char *order, uint64_t cursor) {
        const struct {
                const char *key, *value;
        } texts[] = { { "serial", arg_serial }, { "chip", arg_chip },     { "slot", arg_slot },
                      { "code", arg_code },     { "result", arg_result }, { "kind", arg_kind },
                      { "loaders", arg_loaders }, { "order", order } };
        int r, code;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(texts); i++)
                if (texts[i].value)
                        r = sd_bus_message_append(m, "{sv}", texts[i].key, "s", texts[i].value);
        if (r >= 0 && cursor != UINT64_MAX)
                r = sd_bus_message_append(m, "{sv}", "cursor", "t", cursor);
        code = r < 0 ? EXIT_OTHER : append_batch(m);
        if (code == 0)
                code = append_moment(m, "since", "since", arg_since);
        if (code == 0)
                code = append_moment(m, "until", "until", arg_until);
        if (code == 0 && sd_bus_message_close_container(m) < 0)
                code = EXIT_OTHER;
        return code;
}

/* ---- export ---- */

typedef struct Copy {
        sd_bus *bus;
        FILE *out;
        int fd;
        bool json, answered, full;
        sd_bus_message *reply;
        char *line;
        size_t used;
        uint64_t *cursor, *n;
} Copy;

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Copy *c = userdata;

        c->reply = sd_bus_message_ref(m);
        c->answered = true;
        return 1;
}

/* Only whole lines are passed on: whoever is cut off goes on after the last of them. */
static void take_lines(Copy *c) {
        char *begin = c->line, *end;

        while ((end = memchr(begin, '\n', c->used - (size_t) (begin - c->line)))) {
                unsigned long long seq;
                if (fwrite(begin, 1, (size_t) (end + 1 - begin), c->out) != (size_t) (end + 1 - begin))
                        c->full = true;
                *end = '\0';
                if (!c->full && c->json && sscanf(begin, "{\"seq\":%llu", &seq) == 1)
                        *c->cursor = seq;
                if (!c->full)
                        ++*c->n;
                begin = end + 1;
        }
        c->used -= (size_t) (begin - c->line);
        memmove(c->line, begin, c->used);
}

/* 1 more may come, 0 end, -errno. */
static int read_more(Copy *c) {
        ssize_t n = read(c->fd, c->line + c->used, LINE_MAX_BYTES - c->used);

        if (n < 0)
                return errno == EINTR || errno == EAGAIN ? 1 : -errno;
        if (n == 0)
                return 0;
        c->used += (size_t) n;
        take_lines(c);
        return c->used == LINE_MAX_BYTES ? -EMSGSIZE : c->full ? -EPIPE : 1;
}

static int copy_all(Copy *c) {
        bool open = true;
        int r = 0;

        while (open || !c->answered) {
                struct pollfd p[2] = { { .fd = sd_bus_get_fd(c->bus), .events = POLLIN }, { .fd = open ? c->fd : -1, .events = POLLIN } };

                while ((r = sd_bus_process(c->bus, NULL)) > 0)
                        ;
                if (r < 0)
                        return r;
                if (c->answered && !open)
                        break;
                if (sd_bus_get_events(c->bus) & POLLOUT)
                        p[0].events |= POLLOUT;
                if (poll(p, 2, 1000) < 0 && errno != EINTR)
                        return -errno;
                if (open && p[1].revents) {
                        r = read_more(c);
                        if (r < 0)
                                return r;
                        open = r > 0;
                }
        }
        return fflush(c->out) == 0 && !c->full ? 0 : -errno;
}

static int send_export(Copy *c, const char *format, uint64_t cursor, int fd, sd_bus_slot **slot) {
        sd_bus_message *m = NULL;
        int r, code = 0;

        r = sd_bus_message_new_method_call(c->bus, &m, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("History"), "Export");
        if (r >= 0)
                r = sd_bus_message_append(m, "hs", fd, format);
        if (r >= 0)
                code = records_append_filter(m, "oldest", cursor);
        if (r >= 0 && code == 0)
                r = sd_bus_call_async(c->bus, slot, m, on_reply, c, UINT64_MAX);
        if (r >= 0 && code == 0)
                r = sd_bus_flush(c->bus);
        sd_bus_message_unref(m);
        return code ? code : r < 0 ? client_report("Export", NULL, r) : 0;
}

static int finish_export(Copy *c, int r) {
        const sd_bus_error *error = c->reply ? sd_bus_message_get_error(c->reply) : NULL;

        if (error)
                return client_report("Export", error, -sd_bus_message_get_errno(c->reply));
        if (r == -EPIPE) /* whoever read our output has enough */
                return EXIT_OTHER;
        return r < 0 ? client_report("Export", NULL, r) : 0;
}

int records_export(sd_bus *bus, const char *format, uint64_t *cursor, FILE *out, uint64_t *n) {
        Copy c = { .bus = bus, .out = out, .json = streq(format, "jsonl"), .cursor = cursor, .n = n };
        sd_bus_slot *slot = NULL;
        int fds[2], code, r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return client_report("Export", NULL, -errno);
        c.fd = fds[0];
        c.line = malloc(LINE_MAX_BYTES);
        code = c.line ? send_export(&c, format, *cursor, fds[1], &slot) : client_report("Export", NULL, -ENOMEM);
        close(fds[1]);
        if (code == 0) {
                r = copy_all(&c);
                code = finish_export(&c, r);
        }
        sd_bus_slot_unref(slot);
        sd_bus_message_unref(c.reply);
        free(c.line);
        close(fds[0]);
        return code;
}
