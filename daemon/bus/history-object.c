/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <json-c/json.h>

#include "bus/bus-internal.h"
#include "bus/getter.h"
#include "common/closer.h"
#include "common/hex.h"
#include "station/history.h"

/* The interface History of the root object: records of units. Everything here is personal (serials, chips), so every method needs
 * authority and nothing is a property. */

const sd_bus_vtable history_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("Query", SD_BUS_ARGS("a{sv}", filter, "t", cursor, "u", limit), SD_BUS_RESULT("aa{sv}", records, "t", next),
               bus_dispatch, FOR_ALL),
        METHOD("Export", SD_BUS_ARGS("h", out, "s", format, "a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Check", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("b", whole, "a{sv}", details), bus_dispatch, FOR_ALL),
        METHOD("Prune", SD_BUS_ARGS("t", before), SD_BUS_RESULT("t", pruned), bus_dispatch, FOR_ALL),
        SD_BUS_VTABLE_END,
};

/* Turning JSON into variants costs time on the main thread. */
#define PAGE_MAX 100

static int refuse(StoreCall *h, CallError *e, int error) {
        return store_call_refuse(h, "The records cannot be read now", e, error);
}

/* ---- the filter ---- */

typedef struct Filter {
        StoreRecordFilter f;
} Filter;

#define PARSE_TEXT(field)                                                                                              \
        static int parse_##field(const void *value, void *target, CallError *e) {                                      \
                Filter *x = target;                                                                                    \
                if (strlen(value) >= sizeof(x->f.field))                                                               \
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option '" #field "' is too long.");       \
                memcpy(x->f.field, value, strlen(value) + 1);                                                          \
                return 0;                                                                                              \
        }
#define PARSE_NUMBER(field)                                                                                            \
        static int parse_##field(const void *value, void *target, CallError *e _unused_) {                             \
                ((Filter *) target)->f.field = *(const uint64_t *) value;                                              \
                return 0;                                                                                              \
        }
PARSE_TEXT(serial)
PARSE_TEXT(chip)
PARSE_TEXT(slot)
PARSE_TEXT(kind)
PARSE_TEXT(code)
PARSE_TEXT(loaders)
PARSE_NUMBER(batch)
PARSE_NUMBER(job)
PARSE_NUMBER(since_usec)
PARSE_NUMBER(until_usec)
PARSE_NUMBER(cursor)

static int parse_result(const void *value, void *target, CallError *e) {
        if ((int) job_result_from_string(value) < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'result' cannot be '%.64s'. Possible: done, failed, canceled, timeout, interrupted, skipped.",
                                      (const char *) value);
        snprintf(((Filter *) target)->f.result, sizeof(((Filter *) target)->f.result), "%s", (const char *) value);
        return 0;
}

static int parse_package(const void *value, void *target, CallError *e) {
        const char *text = value, *last = strrchr(text, '/');
        Filter *x = target;

        text = last ? last + 1 : text; /* the object path of a package ends with the same */
        if (!is_lower_hex(text, 64))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'package' needs the SHA-256 of a package, 64 hex digits.");
        memcpy(x->f.digest, text, 65);
        return 0;
}

static int parse_order(const void *value, void *target, CallError *e) {
        if (!streq(value, "newest") && !streq(value, "oldest"))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'order' cannot be '%.64s'. Possible: newest, oldest.",
                                      (const char *) value);
        ((Filter *) target)->f.oldest_first = streq(value, "oldest");
        return 0;
}

static const OptionSpec filter_specs[] = {
        {"serial", 's', parse_serial},   {"chip", 's', parse_chip},        {"slot", 's', parse_slot},
        {"kind", 's', parse_kind},       {"result", 's', parse_result},    {"code", 's', parse_code},
        {"package", 's', parse_package}, {"batch", 't', parse_batch},      {"job", 't', parse_job},
        {"since", 't', parse_since_usec}, {"until", 't', parse_until_usec}, {"order", 's', parse_order},
        {"loaders", 's', parse_loaders},
        {"cursor", 't', parse_cursor}, /* of Export alone: the last */
};

/* ---- Query ---- */

static int append_value(sd_bus_message *m, struct json_object *value, unsigned depth);

static int append_members(sd_bus_message *m, struct json_object *o, unsigned depth) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        json_object_object_foreach(o, key, value) {
                if (r < 0 || !value)
                        continue;
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = append_string(m, key);
                if (r >= 0)
                        r = append_value(m, value, depth);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_array(sd_bus_message *m, struct json_object *a, unsigned depth) {
        int r = sd_bus_message_open_container(m, 'a', "v");

        for (size_t i = 0; r >= 0 && i < json_object_array_length(a); i++)
                r = append_value(m, json_object_array_get_idx(a, i), depth);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_in_variant(sd_bus_message *m, struct json_object *value, const char *type, unsigned depth) {
        int r = sd_bus_message_open_container(m, 'v', type);

        if (r >= 0)
                r = json_object_is_type(value, json_type_array) ? append_array(m, value, depth + 1)
                                                                : append_members(m, value, depth + 1);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* One value as a variant: s, t, d, b, av or a{sv}. */
static int append_value(sd_bus_message *m, struct json_object *value, unsigned depth) {
        if (depth > 8)
                return -ELOOP;
        switch (json_object_get_type(value)) {
        case json_type_boolean:
                return sd_bus_message_append(m, "v", "b", (int) json_object_get_boolean(value));
        case json_type_int:
                return sd_bus_message_append(m, "v", "t", json_object_get_uint64(value));
        case json_type_double:
                return sd_bus_message_append(m, "v", "d", json_object_get_double(value));
        case json_type_array:
                return append_in_variant(m, value, "av", depth);
        case json_type_object:
                return append_in_variant(m, value, "a{sv}", depth);
        default:
                return sd_bus_message_append(m, "v", "s", json_object_get_string(value));
        }
}

static int append_record(sd_bus_message *m, const StoreRecord *record) {
        struct json_object *o = json_tokener_parse(record->json);
        int r = -EBADMSG;

        if (json_object_is_type(o, json_type_object)) {
                json_object_object_add(o, "seq", json_object_new_uint64(record->seq));
                json_object_object_add(o, "previous", json_object_new_string(record->previous));
                json_object_object_add(o, "hash", json_object_new_string(record->hash));
                r = append_members(m, o, 0);
        }
        json_object_put(o);
        return r;
}

static int answer_query(StoreCall *h, const StoreRecord *records, size_t n) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        uint64_t next = n > 0 ? records[n - 1].seq : h->oldest_first ? h->cursor : 0;
        int r;

        r = new_reply(h->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_record(reply, records + i);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "t", next);
        return r < 0 ? r : send_reply(reply);
}

static void on_records(int error, const StoreRecord *records, size_t n, void *userdata) {
        StoreCall *h = userdata;
        int r = error;

        if (h->bus) {
                if (r == 0)
                        r = answer_query(h, records, n);
                if (r < 0)
                        store_call_fail(h, "The records cannot be read", r);
        }
        store_call_free(h);
}

int history_query(Call *c) {
        Filter x = {.f = {.until_usec = U64_UNKNOWN}};
        uint64_t cursor;
        uint32_t limit;
        StoreCall *h;
        int r;

        if (options_read(c->message, filter_specs, ELEMENTSOF(filter_specs) - 1, &x, c->e) < 0)
                return -1;
        r = sd_bus_message_read(c->message, "tu", &cursor, &limit);
        if (r < 0)
                return r;
        x.f.cursor = cursor;
        x.f.limit = limit == 0 || limit > PAGE_MAX ? PAGE_MAX : limit;
        h = store_call_new(c);
        if (!h)
                return -1;
        h->cursor = cursor;
        h->oldest_first = x.f.oldest_first;
        r = station_list_records(c->bus->station, &x.f, on_records, h);
        return r < 0 ? refuse(h, c->e, r) : 1;
}

/* ---- Export ---- */

static void on_exported(int error, uint64_t n _unused_, void *userdata) {
        StoreCall *h = userdata;
        CallError e;

        if (h->bus && error == -EBADF) {
                call_error_set(&e, BUS_ERROR_BAD_FILE, "Records can be written to a plain file, a pipe or a socket, not to this descriptor.");
                (void) reply_call_error(h->message, &e);
        } else if (h->bus && error == -ETIMEDOUT) {
                call_error_set(&e, BUS_ERROR_BAD_FILE, "Nobody read the other end of the pipe for 30 seconds; the export was given up.");
                (void) reply_call_error(h->message, &e);
        } else if (h->bus && error < 0)
                store_call_fail(h, "The export could not be written", error);
        else if (h->bus)
                (void) sd_bus_reply_method_return(h->message, NULL);
        store_call_free(h);
}

static int read_format(const char *word, ExportFormat *ret, CallError *e) {
        if (streq(word, "csv"))
                *ret = EXPORT_CSV;
        else if (streq(word, "jsonl"))
                *ret = EXPORT_JSONL;
        else
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "There is no format '%.64s'. Possible: csv, jsonl.", word);
        return 0;
}

static int copy_output(int fd, int *ret, CallError *e) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
                return call_error_set(e, BUS_ERROR_BAD_FILE, "The descriptor for the export is not open for writing.");
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret < 0 ? -errno : 0;
}

int history_export(Call *c) {
        Filter x = {.f = {.until_usec = U64_UNKNOWN, .oldest_first = true}};
        _cleanup_(close_elsewherep) int copy = -EBADF;
        ExportFormat format = EXPORT_JSONL;
        const char *word;
        StoreCall *h;
        int fd, r;

        r = sd_bus_message_read(c->message, "hs", &fd, &word);
        if (r < 0)
                return r;
        if (read_format(word, &format, c->e) < 0 || options_read(c->message, filter_specs, ELEMENTSOF(filter_specs), &x, c->e) < 0)
                return -1;
        r = copy_output(fd, &copy, c->e);
        if (r < 0)
                return r;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_export_records(c->bus->station, copy, format, &x.f, on_exported, h);
        if (r == -EBUSY) {
                store_call_free(h);
                return call_error_set(c->e, BUS_ERROR_QUOTA, "Too many exports are running. Try again later.");
        }
        if (r < 0)
                return refuse(h, c->e, r);
        (void) TAKE_FD(copy);
        return 1;
}

/* ---- Check and Prune ---- */

static int answer_check(StoreCall *h, const StoreRecordCheck *check) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        r = new_reply(h->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "b", check->bad_seq == 0);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = append_pair_u64(reply, "checked", check->checked);
        if (r >= 0)
                r = append_pair_u64(reply, "pruned", check->pruned);
        if (r >= 0)
                r = append_pair_u64(reply, "last", check->seq);
        if (r >= 0)
                r = append_pair_string(reply, "hash", check->hash);
        if (r >= 0 && check->bad_seq > 0)
                r = append_pair_u64(reply, "bad", check->bad_seq);
        if (r >= 0 && check->bad_seq > 0)
                r = append_pair_string(reply, "problem", check->problem);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}

static void on_checked(int error, const StoreRecordCheck *check, void *userdata) {
        StoreCall *h = userdata;
        int r = error;

        if (h->bus) {
                if (r == 0)
                        r = answer_check(h, check);
                if (r < 0)
                        store_call_fail(h, "The records cannot be checked", r);
        }
        store_call_free(h);
}

int history_check(Call *c) {
        StoreCall *h;
        int r;

        if (options_none(c->message, c->e) < 0)
                return -1;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_check_records(c->bus->station, on_checked, h);
        return r < 0 ? refuse(h, c->e, r) : 1;
}

static void on_pruned(int error, uint64_t n, void *userdata) {
        StoreCall *h = userdata;

        if (h->bus && error < 0)
                store_call_fail(h, "The records could not be pruned", error);
        else if (h->bus)
                (void) sd_bus_reply_method_return(h->message, "t", n);
        store_call_free(h);
}

int history_prune(Call *c) {
        uint64_t before;
        StoreCall *h;
        int r;

        r = sd_bus_message_read(c->message, "t", &before);
        if (r < 0)
                return r;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_prune_records(c->bus->station, before, on_pruned, h);
        return r < 0 ? refuse(h, c->e, r) : 1;
}
