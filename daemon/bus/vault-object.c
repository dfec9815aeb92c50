/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <unistd.h>

#include "bus/bus-internal.h"
#include "bus/getter.h"
#include "common/closer.h"
#include "common/hex.h"
#include "station/history.h"

/* The interface Vault of the root object: calibration and identity of units, as they were before something was written. Personal, so every
 * method needs authority. Bytes go as sealed memory files: nothing on either side waits for anybody else's disk. */

const sd_bus_vtable vault_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("ListEntries", SD_BUS_ARGS("a{sv}", filter, "u", limit), SD_BUS_RESULT("aa{sv}", entries), bus_dispatch, FOR_ALL),
        METHOD("ReadEntry", SD_BUS_ARGS("s", id), SD_BUS_RESULT("h", data, "a{sv}", entry), bus_dispatch, FOR_ALL),
        METHOD("AddEntry", SD_BUS_ARGS("h", data, "a{sv}", entry), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        SD_BUS_VTABLE_END,
};

#define PAGE_MAX 500

static int append_entry(sd_bus_message *m, const StoreBackup *b) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0)
                r = append_pair_string(m, "id", b->id);
        if (r >= 0)
                r = append_pair_string(m, "unit", b->unit);
        if (r >= 0)
                r = append_pair_string(m, "partition", b->name);
        if (r >= 0)
                r = append_pair_u64(m, "size", b->size);
        if (r >= 0)
                r = append_pair_string(m, "sha256", b->sha256);
        if (r >= 0)
                r = append_pair_u64(m, "saved", b->usec);
        if (r >= 0)
                r = append_pair_u64(m, "job", b->job);
        if (r >= 0)
                r = append_pair_string(m, "port", b->port);
        if (r >= 0)
                r = append_pair_bool(m, "blank", b->blank);
        if (r >= 0)
                r = append_pair_bool(m, "imported", b->imported);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* ---- ListEntries ---- */

#define PARSE_TEXT(Type, option, field)                                                                                \
        static int parse_##Type##_##field(const void *value, void *target, CallError *e) {                             \
                Type *x = target;                                                                                      \
                if (text_check(option, value, sizeof(x->field) - 1, false, e) < 0)                                     \
                        return -1;                                                                                     \
                memcpy(x->field, value, strlen(value) + 1);                                                            \
                return 0;                                                                                              \
        }
#define PARSE_NUMBER(Type, field)                                                                                      \
        static int parse_##Type##_##field(const void *value, void *target, CallError *e _unused_) {                    \
                ((Type *) target)->field = *(const uint64_t *) value;                                                  \
                return 0;                                                                                              \
        }
PARSE_TEXT(StoreBackupFilter, "id", id)
PARSE_TEXT(StoreBackupFilter, "unit", unit)
PARSE_TEXT(StoreBackupFilter, "port", port)
PARSE_TEXT(StoreBackupFilter, "after", after)
PARSE_NUMBER(StoreBackupFilter, job)
PARSE_NUMBER(StoreBackupFilter, before_usec)
PARSE_TEXT(StoreBackup, "id", id)
PARSE_TEXT(StoreBackup, "unit", unit)
PARSE_TEXT(StoreBackup, "port", port)
PARSE_TEXT(StoreBackup, "partition", name)
PARSE_TEXT(StoreBackup, "sha256", sha256)
PARSE_NUMBER(StoreBackup, job)
PARSE_NUMBER(StoreBackup, size)
PARSE_NUMBER(StoreBackup, usec)

static const OptionSpec filter_specs[] = {
        {"id", 's', parse_StoreBackupFilter_id},
        {"unit", 's', parse_StoreBackupFilter_unit},
        {"port", 's', parse_StoreBackupFilter_port},
        {"job", 't', parse_StoreBackupFilter_job},
        {"before", 't', parse_StoreBackupFilter_before_usec},
        {"after", 's', parse_StoreBackupFilter_after},
};

static int answer_list(StoreCall *h, const StoreBackup *backups, size_t n) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = new_reply(h->message, &reply);

        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_entry(reply, backups + i);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : send_reply(reply);
}

static void on_list(int error, const StoreBackup *backups, size_t n, void *userdata) {
        StoreCall *h = userdata;
        int r = error;

        if (h->bus) {
                if (r == 0)
                        r = answer_list(h, backups, n);
                if (r < 0)
                        store_call_fail(h, "The vault cannot be read", r);
        }
        store_call_free(h);
}

int vault_list(Call *c) {
        StoreBackupFilter f = {0};
        uint32_t limit;
        StoreCall *h;
        int r;

        if (options_read(c->message, filter_specs, ELEMENTSOF(filter_specs), &f, c->e) < 0)
                return -1;
        r = sd_bus_message_read(c->message, "u", &limit);
        if (r < 0)
                return r;
        f.limit = limit == 0 || limit > PAGE_MAX ? PAGE_MAX : limit;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_list_backups(c->bus->station, &f, on_list, h);
        return r < 0 ? store_call_refuse(h, "The vault cannot be read now", c->e, r) : 1;
}

/* ---- ReadEntry ---- */

static int answer_read(StoreCall *h, const StoreBackup *backup, int fd) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = new_reply(h->message, &reply);

        if (r >= 0)
                r = sd_bus_message_append(reply, "h", fd);
        if (r >= 0)
                r = append_entry(reply, backup);
        return r < 0 ? r : send_reply(reply);
}

static void on_read(int error, const StoreBackup *backup, int fd, void *userdata) {
        _cleanup_(close_elsewherep) int owned = fd;
        StoreCall *h = userdata;
        int r = error;
        CallError e;

        if (h->bus && r == -ENOENT) {
                call_error_set(&e, BUS_ERROR_NO_SUCH_ENTRY, "There is no such entry in the vault.");
                (void) reply_call_error(h->message, &e);
        } else if (h->bus && r == -EBADMSG) {
                call_error_set(&e, BUS_ERROR_STORE, "The file of this entry is damaged: its bytes are not those that were saved. The disk of the station may be failing.");
                (void) reply_call_error(h->message, &e);
        } else if (h->bus) {
                if (r == 0)
                        r = answer_read(h, backup, owned);
                if (r < 0)
                        store_call_fail(h, "The entry cannot be read", r);
        }
        store_call_free(h);
}

static int id_check(const char *id, CallError *e) {
        return is_lower_hex(id, 32)
                       ? 0
                       : call_error_set(e, BUS_ERROR_INVALID_OPTION, "The id of an entry of the vault has 32 hex digits.");
}

int vault_read(Call *c) {
        const char *id;
        StoreCall *h;
        int r;

        r = sd_bus_message_read(c->message, "s", &id);
        if (r < 0)
                return r;
        if (id_check(id, c->e) < 0)
                return -1;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_read_backup(c->bus->station, id, on_read, h);
        return r < 0 ? store_call_refuse(h, "The vault cannot be read now", c->e, r) : 1;
}

/* ---- AddEntry ---- */

static const OptionSpec entry_specs[] = {
        {"id", 's', parse_StoreBackup_id},         {"unit", 's', parse_StoreBackup_unit}, {"partition", 's', parse_StoreBackup_name},
        {"sha256", 's', parse_StoreBackup_sha256}, {"size", 't', parse_StoreBackup_size}, {"saved", 't', parse_StoreBackup_usec},
        {"job", 't', parse_StoreBackup_job},       {"port", 's', parse_StoreBackup_port},
};

static void on_added(int error, void *userdata) {
        StoreCall *h = userdata;
        CallError e;

        if (h->bus && error == -EEXIST)
                call_error_set(&e, BUS_ERROR_INVALID_OPTION, "This entry is in the vault already; nothing was changed.");
        else if (h->bus && error == -EBADMSG)
                call_error_set(&e, BUS_ERROR_BAD_FILE, "The bytes are not those that the entry tells of: size or SHA-256 differ. Nothing was taken in.");
        else if (h->bus && error == -EBADF)
                call_error_set(&e, BUS_ERROR_BAD_FILE, "An entry is handed over in a sealed memory file (memfd_create, F_SEAL_WRITE and F_SEAL_SHRINK).");
        else if (h->bus && error < 0)
                call_error_set(&e, BUS_ERROR_STORE, "The entry could not be stored: %s.", strerror(-error));
        if (h->bus && error < 0)
                (void) reply_call_error(h->message, &e);
        else if (h->bus)
                (void) sd_bus_reply_method_return(h->message, NULL);
        store_call_free(h);
}

static int entry_check(const StoreBackup *b, CallError *e) {
        if (id_check(b->id, e) < 0)
                return -1;
        if (!is_lower_hex(b->sha256, 64))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'sha256' of an entry has 64 hex digits.");
        if (b->size == 0 || !b->name[0])
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "An entry needs the options 'partition' and 'size'.");
        return 0;
}

int vault_add(Call *c) {
        _cleanup_(close_elsewherep) int copy = -EBADF;
        StoreBackup b = {.usec = 1};
        StoreCall *h;
        int fd, r;

        r = sd_bus_message_read(c->message, "h", &fd);
        if (r < 0)
                return r;
        if (options_read(c->message, entry_specs, ELEMENTSOF(entry_specs), &b, c->e) < 0 || entry_check(&b, c->e) < 0)
                return -1;
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return -errno;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = station_add_backup(c->bus->station, &b, copy, on_added, h);
        if (r == -EFBIG) {
                store_call_free(h);
                return call_error_set(c->e, BUS_ERROR_BAD_FILE, "An entry has at most 64 MiB.");
        }
        if (r < 0)
                return store_call_refuse(h, "The vault takes nothing in now", c->e, r);
        (void) TAKE_FD(copy);
        return 1;
}
