/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "steps.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"

#define FILES_PER_CALL 16

/* ---- words of the command line ---- */

static int parse_number(const char *text, size_t n, uint64_t *ret) {
        char copy[32], *end;

        if (n == 0 || n >= sizeof(copy) || !isdigit((unsigned char) text[0]))
                return -EINVAL;
        memcpy(copy, text, n);
        copy[n] = '\0';
        errno = 0;
        *ret = strtoull(copy, &end, 0);
        if (errno)
                return -ERANGE;
        switch (*end) {
        case '\0': return 0;
        case 'K': *ret *= 1024; break;
        case 'M': *ret *= 1024 * 1024; break;
        case 'G': *ret *= 1024 * 1024 * 1024; break;
        default: return -EINVAL;
        }
        return end[1] ? -EINVAL : 0;
}

int steps_parse_place(const char *text, size_t n, Step *ret) {
        const char *plus = memchr(text, '+', n);
        size_t first = plus ? (size_t) (plus - text) : n;

        if (n > 2 && text[0] == '0' && text[1] == 'x') {
                if (parse_number(text, first, &ret->address) < 0 || (plus && parse_number(plus + 1, n - first - 1, &ret->length) < 0))
                        return usage_error("\"%.*s\" is no address. Write 0x60000000 or 0x60000000+0x1000.", (int) n, text);
                return 0;
        }
        if (n == 0 || n >= sizeof(ret->name) || n > 36)
                return usage_error("\"%.*s\" is no name of a partition.", (int) n, text);
        memcpy(ret->name, text, n);
        ret->name[n] = '\0';
        return 0;
}

static int parse_loader(const char *option, const char *text, StepJob *ret, unsigned i) {
        const char *at = strrchr(text, '@');

        if (!at || at == text || (size_t) (at - text) >= sizeof(ret->fdl[i].file) || parse_number(at + 1, strlen(at + 1), &ret->fdl[i].address) < 0)
                return usage_error("--%s=%s: write FILE@ADDRESS, for example fdl1.bin@0x5500.", option, text);
        memcpy(ret->fdl[i].file, text, (size_t) (at - text));
        ret->fdl[i].file[at - text] = '\0';
        return 0;
}

int steps_loaders(sd_bus *bus, struct json_object *objects, StepJob *ret) {
        int code = 0;

        if (arg_package && (arg_fdl1 || arg_fdl2))
                return usage_error("Loaders come from --package= or from --fdl1= and --fdl2=, not from both.");
        if (arg_loaders && (arg_package || arg_fdl1 || arg_fdl2))
                return usage_error("--loaders= chooses among the packages of the store; it does not go with --package= or --fdl1=.");
        if (arg_package)
                return package_named(bus, objects, arg_package, ret->package);
        if (arg_fdl2 && !arg_fdl1)
                return usage_error("--fdl2= needs --fdl1= too.");
        if (arg_fdl1)
                code = parse_loader("fdl1", arg_fdl1, ret, 0);
        if (code == 0 && arg_fdl2)
                code = parse_loader("fdl2", arg_fdl2, ret, 1);
        return code;
}

Step *steps_add(StepJob *j, const char *op) {
        Step *s;

        if (j->n == j->room) {
                size_t room = j->room ? j->room * 2 : 16;
                Step *more = reallocarray(j->steps, room, sizeof(Step));
                if (!more)
                        return NULL;
                j->steps = more;
                j->room = room;
        }
        s = j->steps + j->n++;
        memset(s, 0, sizeof(*s));
        s->op = op;
        s->length = UINT64_MAX;
        s->any_image = arg_any_image;
        return s;
}

void steps_free(StepJob *j) {
        free(j->steps);
        j->steps = NULL;
        j->n = j->room = 0;
}

/* ---- showing ---- */

void steps_show(const StepJob *j) {
        static const Column columns[] = {
                { "STEP", "op", CELL_TEXT, false },     { "TARGET", "target", CELL_TEXT, false },
                { "OFFSET", "offset", CELL_NUMBER, false }, { "LENGTH", "length", CELL_TEXT, false },
                { "FILE", "file", CELL_TEXT, false },
        };
        struct json_object *rows = json_object_new_array();
        char text[64];

        for (size_t i = 0; i < j->n; i++) {
                const Step *s = j->steps + i;
                struct json_object *row = json_object_new_object();
                json_object_object_add(row, "op", json_object_new_string(s->op));
                snprintf(text, sizeof(text), "0x%" PRIx64, s->address);
                json_object_object_add(row, "target", json_object_new_string(s->name[0] ? s->name : text));
                json_object_object_add(row, "offset", json_object_new_uint64(s->offset));
                snprintf(text, sizeof(text), "%" PRIu64, s->length);
                json_object_object_add(row, "length", json_object_new_string(s->length == UINT64_MAX ? "all" : text));
                json_object_object_add(row, "file", json_object_new_string(s->file));
                json_object_array_add(rows, row);
        }
        table_print(columns, ELEMENTSOF(columns), rows, "step");
        json_object_put(rows);
}

bool agree(const char *question) {
        char answer[16] = "";

        if (arg_yes)
                return true;
        if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
                fprintf(stderr, "fdlctl: %s Add --yes to do it.\n", question);
                return false;
        }
        fprintf(stderr, "%s Type yes to go on: ", question);
        return fgets(answer, sizeof(answer), stdin) && (streq(answer, "yes\n") || streq(answer, "yes"));
}

/* ---- starting ---- */

static int append_steps(sd_bus_message *m, const StepJob *j) {
        int r = sd_bus_message_open_container(m, 'a', "(sa{sv})");

        for (size_t i = 0; r >= 0 && i < j->n; i++) {
                const Step *s = j->steps + i;
                char key[32];

                snprintf(key, sizeof(key), "step-%zu", i);
                r = sd_bus_message_open_container(m, 'r', "sa{sv}");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", s->op);
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'a', "{sv}");
                if (r >= 0)
                        r = s->name[0] ? sd_bus_message_append(m, "{sv}", "partition", "s", s->name)
                                       : sd_bus_message_append(m, "{sv}", "address", "t", s->address);
                if (r >= 0 && s->offset > 0)
                        r = sd_bus_message_append(m, "{sv}", "offset", "t", s->offset);
                if (r >= 0 && s->length != UINT64_MAX)
                        r = sd_bus_message_append(m, "{sv}", "length", "t", s->length);
                if (r >= 0 && s->file[0])
                        r = sd_bus_message_append(m, "{sv}", "file", "s", key);
                if (r >= 0 && s->any_image)
                        r = sd_bus_message_append(m, "{sv}", "any-image", "b", 1);
                if (r >= 0 && s->exact)
                        r = sd_bus_message_append(m, "{sv}", "exact", "b", 1);
                if (r >= 0 && s->optional)
                        r = sd_bus_message_append(m, "{sv}", "optional", "b", 1);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int open_file(const char *name, bool output, int *ret) {
        int fd = open(name, output ? O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY : O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

        if (fd < 0) {
                fprintf(stderr, "fdlctl: %s cannot be opened: %s.\n", name, strerror(errno));
                return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_REFUSED;
        }
        *ret = fd;
        return 0;
}

/* Descriptors go a few at a time: a stock bus takes no more than 16 in a message. */
typedef struct Batch {
        sd_bus *bus;
        const char *job;
        const char *names[FILES_PER_CALL];
        char keys[FILES_PER_CALL][32];
        int fds[FILES_PER_CALL];
        size_t n;
} Batch;

static int batch_send(Batch *b) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r, code;

        if (b->n == 0)
                return 0;
        r = sd_bus_message_new_method_call(b->bus, &m, FDLD_NAME, b->job, FDLD_IFACE("Job"), "AttachFiles");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sh}");
        for (size_t i = 0; r >= 0 && i < b->n; i++)
                r = sd_bus_message_append(m, "{sh}", b->keys[i], b->fds[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        code = r < 0 ? client_report("AttachFiles", NULL, r) : client_call_message(b->bus, m, &reply);
        for (size_t i = 0; i < b->n; i++)
                close(b->fds[i]);
        b->n = 0;
        return code;
}

static int batch_add(Batch *b, const char *key, const char *name, bool output) {
        int code = open_file(name, output, b->fds + b->n);

        if (code)
                return code;
        snprintf(b->keys[b->n++], sizeof(b->keys[0]), "%s", key);
        return b->n == FILES_PER_CALL ? batch_send(b) : 0;
}

static int attach_all(sd_bus *bus, const StepJob *j, const char *job) {
        Batch b = { .bus = bus, .job = job };
        int code = 0;

        for (unsigned i = 0; code == 0 && i < 2; i++)
                if (j->fdl[i].file[0])
                        code = batch_add(&b, i == 0 ? "fdl1" : "fdl2", j->fdl[i].file, false);
        for (size_t i = 0; code == 0 && i < j->n; i++) {
                char key[32];
                snprintf(key, sizeof(key), "step-%zu", i);
                if (j->steps[i].file[0])
                        code = batch_add(&b, key, j->steps[i].file, streq(j->steps[i].op, "read"));
        }
        if (code == 0)
                return batch_send(&b);
        for (size_t i = 0; i < b.n; i++)
                close(b.fds[i]);
        return code;
}

static int create_job(sd_bus *bus, const StepJob *j, const char *target, Paths *jobs) {
        static const char *const choices[] = { "checks", "try-checks", "keep-charge" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        /* What only reads leaves the device as it is; after a write it shall start. */
        const char *finish = arg_finish ? arg_finish : streq(j->kind, "read") || streq(j->kind, "backup") || streq(j->kind, "identify") ? "nothing" : "reset";
        int code, r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "CreateJob");

        if (r >= 0)
                r = sd_bus_message_append(m, "so", j->kind, target);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && j->package[0])
                r = sd_bus_message_append(m, "{sv}", "package", "o", j->package);
        if (r >= 0 && j->fdl[0].file[0])
                r = sd_bus_message_append(m, "{sv}", "fdl1-address", "t", j->fdl[0].address);
        if (r >= 0 && j->fdl[1].file[0])
                r = sd_bus_message_append(m, "{sv}", "fdl2-address", "t", j->fdl[1].address);
        if (r >= 0 && arg_loaders)
                r = sd_bus_message_append(m, "{sv}", "loaders", "s", arg_loaders);
        if (r >= 0 && arg_family)
                r = sd_bus_message_append(m, "{sv}", "family", "s", arg_family);
        if (r >= 0 && j->unit[0])
                r = sd_bus_message_append(m, "{sv}", "unit", "s", j->unit);
        if (r >= 0 && arg_operator)
                r = sd_bus_message_append(m, "{sv}", "operator", "s", arg_operator);
        if (r >= 0 && arg_verify)
                r = sd_bus_message_append(m, "{sv}", "verify", "s", arg_verify);
        if (r >= 0 && arg_raw)
                r = sd_bus_message_append(m, "{sv}", "raw", "s", arg_raw);
        if (r >= 0 && arg_sparse)
                r = sd_bus_message_append(m, "{sv}", "sparse", "s", arg_sparse);
        if (r >= 0 && arg_skip_equal)
                r = sd_bus_message_append(m, "{sv}", "skip-equal", "b", 1);
        for (size_t i = 0; r >= 0 && !j->checked && i < ELEMENTSOF(choices); i++)
                if (choice_argument(choices[i]))
                        r = sd_bus_message_append(m, "{sv}", choices[i], "s", choice_argument(choices[i]));
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "finish", "s", finish);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return client_report("CreateJob", NULL, r);
        code = client_call_message(bus, m, &reply);
        return code ? code : read_job_reply(reply, jobs);
}

static int add_steps(sd_bus *bus, const StepJob *j, const char *job) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        if (j->n == 0)
                return 0;
        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, job, FDLD_IFACE("Job"), "AddSteps");
        if (r >= 0)
                r = append_steps(m, j);
        return r < 0 ? client_report("AddSteps", NULL, r) : client_call_message(bus, m, &reply);
}

int steps_start(sd_bus *bus, const StepJob *j, const char *target, Paths *jobs) {
        int code = create_job(bus, j, target, jobs);
        const char *job;

        if (code)
                return code;
        job = jobs->items[jobs->n - 1];
        code = add_steps(bus, j, job);
        if (code == 0)
                code = attach_all(bus, j, job);
        if (code == 0)
                code = client_call(bus, job, FDLD_IFACE("Job"), "Submit", NULL, "a{sv}", 0);
        return code;
}

int steps_outputs(sd_bus *bus, const char *job, struct json_object **ret) {
        return client_properties(bus, job, FDLD_IFACE("Job"), ret);
}
