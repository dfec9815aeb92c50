/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"
#include "records.h"

#define HISTORY FDLD_IFACE("History")

static const Column record_columns[] = {
        { "RECORD", "seq", CELL_NUMBER, false },   { "FINISHED", "finished_usec", CELL_TIME, false },
        { "JOB", "job", CELL_NUMBER, false },      { "KIND", "kind", CELL_TEXT, false },
        { "RESULT", "result", CELL_TEXT, false },  { "CODE", "code", CELL_TEXT, false },
        { "SLOT", "place", CELL_TEXT, false },     { "SERIAL", "serial", CELL_TEXT, false },
        { "CHIP", "chip", CELL_TEXT, false },      { "PACKAGE", "package_name", CELL_TEXT, false },
};

static void copy_text(struct json_object *row, const char *key, const char *value) {
        json_object_object_add(row, key, json_object_new_string(value));
}

/* What the table shows of the nested parts. */
static void flatten(struct json_object *row) {
        struct json_object *unit = json_member(row, "unit"), *package = json_member(row, "package");
        const char *slot = json_text(row, "slot"), *serial = json_text(unit, "serial-written");

        copy_text(row, "place", slot[0] ? slot : json_text(row, "port"));
        copy_text(row, "serial", serial[0] ? serial : json_text(unit, "serial"));
        copy_text(row, "chip", json_text(unit, "chip-uid"));
        copy_text(row, "package_name", json_text(package, "name"));
}

/* One page is appended to rows; *next is 0 at the end. */
static int query_page(sd_bus *bus, uint64_t cursor, unsigned limit, struct json_object *rows, uint64_t *next) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        struct json_object *page = NULL;
        int r, code;

        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, HISTORY, "Query");
        if (r < 0)
                return client_report("Query", NULL, r);
        code = records_append_filter(m, "newest", UINT64_MAX);
        if (code)
                return code;
        r = sd_bus_message_append(m, "tu", cursor, limit);
        if (r < 0)
                return client_report("Query", NULL, r);
        code = client_call_message(bus, m, &reply);
        if (code)
                return code;
        if (message_to_json(reply, &page) < 0 || sd_bus_message_read(reply, "t", next) < 0)
                code = client_report("Query", NULL, -EBADMSG);
        for (size_t i = 0; code == 0 && i < json_object_array_length(page); i++)
                json_object_array_add(rows, json_object_get(json_object_array_get_idx(page, i)));
        json_object_put(page);
        return code;
}

static int show_records(sd_bus *bus) {
        struct json_object *rows = json_object_new_array();
        uint64_t cursor = 0, want = arg_limit > 0 ? arg_limit : 50;
        int code = 0;

        do {
                uint64_t have = json_object_array_length(rows);
                code = query_page(bus, cursor, (unsigned) MIN(want - have, UINT64_C(100)), rows, &cursor);
        } while (code == 0 && cursor > 0 && json_object_array_length(rows) < want);
        if (code == 0 && arg_output.json != JSON_OFF)
                json_print(rows);
        else if (code == 0) {
                for (size_t i = 0; i < json_object_array_length(rows); i++)
                        flatten(json_object_array_get_idx(rows, i));
                table_print(record_columns, ELEMENTSOF(record_columns), rows, "record");
        }
        json_object_put(rows);
        return code;
}

static int check_records(sd_bus *bus) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        struct json_object *details = NULL;
        int r, code, whole;

        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, HISTORY, "Check");
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return client_report("Check", NULL, r);
        code = client_call_message_patiently(bus, m, &reply);
        if (code)
                return code;
        if (sd_bus_message_read(reply, "b", &whole) < 0 || message_to_json(reply, &details) < 0)
                return client_report("Check", NULL, -EBADMSG);
        if (arg_output.json != JSON_OFF) {
                json_object_object_add(details, "whole", json_object_new_boolean(whole));
                json_print(details);
        } else if (whole) {
                printf("%" PRIu64 " records are as they were written", json_u64(details, "checked"));
                if (json_u64(details, "pruned") > 0)
                        printf("; those up to %" PRIu64 " were pruned", json_u64(details, "pruned"));
                printf(".\nThe last one is %" PRIu64 ", hash %s.\n", json_u64(details, "last"), json_text(details, "hash"));
        } else
                printf("The records are NOT as they were written: %s\n%" PRIu64 " records before it are good.\n",
                       json_text(details, "problem"), json_u64(details, "checked"));
        json_object_put(details);
        return whole ? EXIT_DONE : EXIT_MISMATCH;
}

static int prune_records(sd_bus *bus) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        uint64_t before, n;
        int r, code;

        if (parse_moment(arg_prune, &before) < 0)
                return usage_error("--prune=%s is no time. Write 2026-11-26, or how old: 90d, 52w.", arg_prune);
        if (!arg_yes)
                return usage_error("Pruning forgets records for good. Export them first, then add --yes.");
        r = sd_bus_message_new_method_call(bus, &m, FDLD_NAME, FDLD_ROOT, HISTORY, "Prune");
        if (r >= 0)
                r = sd_bus_message_append(m, "t", before);
        if (r < 0)
                return client_report("Prune", NULL, r);
        code = client_call_message_patiently(bus, m, &reply);
        if (code)
                return code;
        if (sd_bus_message_read(reply, "t", &n) < 0)
                return client_report("Prune", NULL, -EBADMSG);
        printf("%" PRIu64 " records were forgotten.\n", n);
        return EXIT_DONE;
}

int verb_history(int argc _unused_, char **argv _unused_) {
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = arg_check ? check_records(bus) : arg_prune ? prune_records(bus) : show_records(bus);
        sd_bus_flush_close_unref(bus);
        return code;
}

/* ---- export ---- */

static int read_cursor(uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        unsigned long long n;
        size_t size = 0;
        FILE *f;

        *ret = arg_cursor;
        if (!arg_cursor_file)
                return 0;
        f = fopen(arg_cursor_file, "re");
        if (!f && errno == ENOENT)
                return 0; /* the beginning */
        if (!f) {
                fprintf(stderr, "fdlctl: %s: %s.\n", arg_cursor_file, strerror(errno));
                return EXIT_REFUSED;
        }
        if (getline(&text, &size, f) < 0 || sscanf(text, "%llu", &n) != 1) {
                fclose(f);
                fprintf(stderr, "fdlctl: %s does not hold the number of a record.\n", arg_cursor_file);
                return EXIT_REFUSED;
        }
        fclose(f);
        *ret = n;
        return 0;
}

/* After the records are out: what was given twice can be told by its id, what was never given would be lost. */
static int write_cursor(uint64_t cursor) {
        char path[4096];
        FILE *f;
        bool good;

        if (!arg_cursor_file)
                return 0;
        snprintf(path, sizeof(path), "%s.new", arg_cursor_file);
        f = fopen(path, "we");
        good = f && fprintf(f, "%" PRIu64 "\n", cursor) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;
        if (f && fclose(f) != 0)
                good = false;
        if (good && rename(path, arg_cursor_file) == 0)
                return 0;
        fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", arg_cursor_file, strerror(errno));
        return EXIT_OTHER;
}

static int pass_on(sd_bus *bus, uint64_t *cursor, FILE *out) {
        uint64_t before = *cursor, n = 0;
        int code = records_export(bus, arg_format ? arg_format : "jsonl", cursor, out, &n);

        if (*cursor != before) {
                int r = write_cursor(*cursor);
                code = code ? code : r;
        }
        return code;
}

static int on_job_finished(sd_bus_message *m _unused_, void *userdata, sd_bus_error *error _unused_) {
        *(bool *) userdata = true;
        return 0;
}

/* Until the connection or the daemon is gone. */
static int follow_one(sd_bus *bus, uint64_t *cursor, FILE *out) {
        sd_bus_slot *slot = NULL;
        bool finished = true;
        int code = 0, r;

        r = sd_bus_match_signal(bus, &slot, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "JobFinished", on_job_finished, &finished);
        if (r < 0)
                return client_report("export", NULL, r);
        while (code == 0) {
                if (finished) {
                        finished = false;
                        code = pass_on(bus, cursor, out);
                        continue;
                }
                while ((r = sd_bus_process(bus, NULL)) > 0)
                        ;
                /* A record without a signal (of a job that a crash interrupted) is found after a while. */
                if (r >= 0 && !finished)
                        r = sd_bus_wait(bus, 5000000);
                if (r < 0 && r != -EINTR)
                        code = EXIT_NO_DAEMON;
                if (r == 0)
                        finished = true;
        }
        sd_bus_slot_unref(slot);
        return code;
}

static int follow_forever(uint64_t *cursor, FILE *out) {
        bool said = false;

        for (;;) {
                int code = 0;
                sd_bus *bus = client_connect(&code);
                if (bus) {
                        code = follow_one(bus, cursor, out);
                        sd_bus_flush_close_unref(bus);
                }
                if (code != EXIT_NO_DAEMON && code != EXIT_DONE)
                        return code;
                if (!said)
                        fprintf(stderr, "fdlctl: waiting for the daemon.\n");
                said = true;
                nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
        }
}

/* A file is complete or not there. */
static int export_to_file(sd_bus *bus, const char *name, uint64_t *cursor) {
        char part[4096];
        FILE *out;
        int code;

        if (snprintf(part, sizeof(part), "%s.part", name) >= (int) sizeof(part))
                return usage_error("The name of the file is too long.");
        out = fopen(part, "we");
        if (!out) {
                fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", part, strerror(errno));
                return EXIT_REFUSED;
        }
        code = pass_on(bus, cursor, out);
        if (fclose(out) != 0 && code == 0)
                code = EXIT_OTHER;
        if (code == 0 && rename(part, name) < 0)
                code = EXIT_OTHER;
        if (code)
                fprintf(stderr, "fdlctl: the export is not complete; what came is in %s.\n", part);
        return code;
}

int verb_export(int argc, char **argv) {
        uint64_t cursor = 0;
        int code = read_cursor(&cursor);
        sd_bus *bus;

        if (code)
                return code;
        if (arg_follow && argc > 1)
                return usage_error("--follow writes to standard output.");
        if ((arg_follow || arg_cursor_file) && arg_format && !streq(arg_format, "jsonl"))
                return usage_error("--follow and --cursor-file need the format jsonl.");
        if (arg_follow)
                return follow_forever(&cursor, stdout);
        bus = client_connect(&code);
        if (!bus)
                return code;
        code = argc > 1 ? export_to_file(bus, argv[1], &cursor) : pass_on(bus, &cursor, stdout);
        sd_bus_flush_close_unref(bus);
        return code;
}
