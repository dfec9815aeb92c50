/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/soft-entry.h"
#include "station/settings.h"

#include <limits.h>
#include <stdio.h>

#include "hotplug.h"
#include "station/conf-file.h"

#define FILE_MAX (1024 * 1024)

typedef struct Parser {
        ConfFile conf;     /* first */
        Settings *s;
        char section[192]; /* libinih cuts long names; ports are long */
} Parser;

static const struct {
        size_t offset;
        uint32_t floor;
        const char *field;
} timeouts[] = {
#define X(field, value, floor) {offsetof(BslDeadlines, field), floor, #field},
        BSL_DEADLINES(X)
#undef X
};

void settings_default(Settings *s) {
        *s = (Settings){.max_parallel_jobs = 64, .verify = VERIFY_CRITICAL, .package_quota = 16ULL << 30, .spool_quota = 16ULL << 30, .stations = "DOWNLOAD",
                        .answer_timeout_ms = 600000};
        s->limits = (UserLimits){.jobs = 256, .drafts = 64, .imports = 4, .files = 1024, .bytes = 8ULL << 30};
        if (gethostname(s->station_name, sizeof(s->station_name) - 1) < 0 || !s->station_name[0])
                snprintf(s->station_name, sizeof(s->station_name), "fdld");
        bsl_deadlines_default(&s->deadlines);
}

/* "sync_brom_window" is written SyncBromWindowSec= (or …MSec=). */
static bool key_is_timeout(const char *key, const char *field, bool *ret_ms) {
        bool upper = true;

        for (; *field; field++) {
                char c = *field;
                if (c == '_') {
                        upper = true;
                        continue;
                }
                if (upper && c >= 'a' && c <= 'z')
                        c = (char) (c - 'a' + 'A');
                upper = false;
                if (*key++ != c)
                        return false;
        }
        *ret_ms = streq(key, "MSec");
        return *ret_ms || streq(key, "Sec");
}

/* "60", "0.02", "20ms", "5s", "10min", "1h"; a bare number is in units of the key. */
static bool parse_duration(const char *value, bool ms, double *ret_ms) {
        static const struct {
                const char *suffix;
                double factor;
        } units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
        char *end;
        double v, factor = ms ? 1 : 1000;

        if (*value < '0' || *value > '9')
                return false;
        v = strtod(value, &end);
        while (*end == ' ')
                end++;
        if (*end) {
                size_t i = 0;
                while (i < ELEMENTSOF(units) && !streq(end, units[i].suffix))
                        i++;
                if (i == ELEMENTSOF(units))
                        return false;
                factor = units[i].factor;
        }
        *ret_ms = v * factor;
        return v >= 0 && *ret_ms <= 86400000.0;
}

static int set_timeout(Parser *p, const char *key, const char *value) {
        if (streq(key, "Learn")) {
                p->s->fixed_deadlines = streq(value, "no");
                return streq(value, "yes") || streq(value, "no") ? 1 : conf_bad(&p->conf, "Learn=%s must be yes or no.", value);
        }
        for (size_t i = 0; i < ELEMENTSOF(timeouts); i++) {
                double v;
                bool ms;

                if (!key_is_timeout(key, timeouts[i].field, &ms))
                        continue;
                if (!parse_duration(value, ms, &v))
                        return conf_bad(&p->conf, "%s=%s is not a time. Write for example 60, 0.5, 20ms or 10min; at most 24h.",
                                   key, value);
                if (v < timeouts[i].floor)
                        return conf_bad(&p->conf, "%s=%s is too short: below %u ms healthy devices would fail.", key, value,
                                   timeouts[i].floor);
                uint32_t set = (uint32_t) (v + 0.5);
                memcpy((char *) &p->s->deadlines + timeouts[i].offset, &set, sizeof(set));
                return 1;
        }
        return conf_bad(&p->conf, "There is no setting %s= in [Timeouts].", key);
}

static bool parse_size(const char *value, uint64_t *ret) {
        static const char suffixes[] = "KMGT";
        unsigned long long v;
        unsigned shift = 0;
        char *end;

        if (*value < '0' || *value > '9')
                return false;
        errno = 0;
        v = strtoull(value, &end, 10);
        if (errno)
                return false;
        if (*end) {
                const char *s = strchr(suffixes, *end);
                if (!s || end[1])
                        return false;
                shift = 10 * (unsigned) (s - suffixes + 1);
        }
        if (v > UINT64_MAX >> shift)
                return false;
        *ret = (uint64_t) v << shift;
        return true;
}

/* One id, "0525:a4a7". */
static bool parse_id(const char *word, size_t n, bool (*possible)(uint16_t vendor, uint16_t product), char ret[static 10]) {
        unsigned vendor, product;
        char copy[10];
        int used = 0;

        if (n != 9 || word[4] != ':')
                return false;
        memcpy(copy, word, 9);
        copy[9] = '\0';
        if (sscanf(copy, "%4x:%4x%n", &vendor, &product, &used) != 2 || used != 9 ||
            !possible((uint16_t) vendor, (uint16_t) product))
                return false;
        snprintf(ret, 10, "%04x:%04x", vendor & 0xffff, product & 0xffff);
        return true;
}

static bool may_be_download_mode(uint16_t vendor, uint16_t product) {
        return hotplug_id(vendor, product) == HOTPLUG_ID_OPT_IN;
}

static bool takes_soft_entry(uint16_t vendor, uint16_t product) {
        return soft_entry_find(vendor, product) != NULL;
}

/* Calls add for each id of a list separated by blanks. */
static int parse_ids(Parser *p, const char *key, const char *value, bool (*add)(Parser *p, const char *id)) {
        bool soft = streq(key, "AllowSoftEntry");

        for (const char *at = value + strspn(value, " \t"); *at; at += strspn(at, " \t")) {
                size_t n = strcspn(at, " \t");
                char id[10];

                if (!parse_id(at, n, soft ? takes_soft_entry : may_be_download_mode, id))
                        return conf_bad(&p->conf, "%s=%s: \"%.*s\" is not an id that can be allowed; those are %s.", key, value,
                                        (int) MIN(n, (size_t) 40), at,
                                        soft ? "1782:4d03, 1782:4d10, 1782:4d11, 1782:4e00, 2c7c:0901 and 2c7c:0904" : "0525:a4a7 and 1782:4d16");
                if (!add(p, id))
                        return conf_bad(&p->conf, "Too many ids or slots are listed.");
                at += n;
        }
        return 1;
}

static bool add_allowed(Parser *p, const char *id) {
        if (p->s->n_allow_ids == ELEMENTSOF(p->s->allow_ids))
                return false;
        memcpy(p->s->allow_ids[p->s->n_allow_ids++], id, 10);
        return true;
}

static bool add_soft(Parser *p, const char *id) {
        if (p->s->n_soft_ids == ELEMENTSOF(p->s->soft_ids))
                return false;
        memcpy(p->s->soft_ids[p->s->n_soft_ids++], id, 10);
        return true;
}

#define ROW sizeof(((Settings *) NULL)->slot_options[0])

/* "port id id" */
static bool add_to_row(const char *port, const char *id, char (*rows)[ROW], size_t max, size_t *used) {
        size_t length, n = strlen(port);

        for (size_t i = 0; i < *used; i++) {
                char *row = rows[i];
                if (strncmp(row, port, n) != 0 || row[n] != ' ')
                        continue;
                length = strlen(row);
                if (length + 11 > ROW)
                        return false;
                snprintf(row + length, ROW - length, " %s", id);
                return true;
        }
        if (*used == max)
                return false;
        snprintf(rows[(*used)++], ROW, "%.127s %s", port, id);
        return true;
}

static bool add_slot_id(Parser *p, const char *id) {
        return add_to_row(p->section + strlen("Slot "), id, p->s->slot_options, ELEMENTSOF(p->s->slot_options), &p->s->n_slot_options);
}

static bool add_slot_soft(Parser *p, const char *id) {
        return add_to_row(p->section + strlen("Slot "), id, p->s->soft_options, ELEMENTSOF(p->s->soft_options), &p->s->n_soft_options);
}

static int set_station(Parser *p, const char *key, const char *value) {
        if (streq(key, "Name") || streq(key, "Station")) {
                size_t n = strlen(value);
                if (n == 0 || n >= sizeof(p->s->station_name))
                        return conf_bad(&p->conf, "%s= must have 1 to %zu characters.", key, sizeof(p->s->station_name) - 1);
                for (size_t i = 0; i < n; i++)
                        if ((unsigned char) value[i] < 0x20 || (unsigned char) value[i] > 0x7e)
                                return conf_bad(&p->conf, "%s= may hold printable ASCII characters only.", key);
                memcpy(p->s->station_name, value, n + 1);
                return 1;
        }
        if (streq(key, "MaxParallelJobs")) {
                uint64_t v;
                if (!parse_size(value, &v) || v < 1 || v > 256)
                        return conf_bad(&p->conf, "MaxParallelJobs=%s must be a number from 1 to 256.", value);
                p->s->max_parallel_jobs = (unsigned) v;
                return 1;
        }
        if (streq(key, "RawData")) {
                p->s->raw_data = streq(value, "yes");
                return streq(value, "yes") || streq(value, "no") ? 1 : conf_bad(&p->conf, "RawData=%s must be yes or no.", value);
        }
        if (streq(key, "ResumeBatchesAfterReboot")) {
                p->s->resume_after_reboot = streq(value, "yes");
                return streq(value, "yes") || streq(value, "no") ? 1 : conf_bad(&p->conf, "ResumeBatchesAfterReboot=%s must be yes or no.", value);
        }
        if (streq(key, "Verify")) {
                VerifyLevel level = verify_level_from_string(value);
                if ((int) level < 0)
                        return conf_bad(&p->conf, "Verify=%s must be ack, sample, critical or full.", value);
                p->s->verify = level;
                return 1;
        }
        return conf_bad(&p->conf, "There is no setting %s= in [Station].", key);
}

static int set_limit(Parser *p, const char *key, const char *value) {
        UserLimits *l = &p->s->limits;
        unsigned *count = streq(key, "JobsPerUser") ? &l->jobs : streq(key, "DraftsPerUser") ? &l->drafts : streq(key, "ImportsPerUser") ? &l->imports :
                          streq(key, "FilesPerUser") ? &l->files : NULL;
        uint64_t v;

        if (streq(key, "BytesPerUser"))
                return parse_size(value, &l->bytes) ? 1 : conf_bad(&p->conf, "BytesPerUser=%s must be a number of bytes, with K, M, G or T if you like.", value);
        if (!count)
                return conf_bad(&p->conf, "There is no setting %s= in [Limits].", key);
        if (!parse_size(value, &v) || v < 1 || v > 100000)
                return conf_bad(&p->conf, "%s=%s must be a number from 1 to 100000.", key, value);
        *count = (unsigned) v;
        return 1;
}

static int set_factory(Parser *p, const char *key, const char *value) {
        double ms;

        if (streq(key, "Stations")) {
                if (!phase_check_stations_valid(value))
                        return conf_bad(&p->conf, "Stations= must be 1 to 15 names with blanks between them, each of 1 to 9 characters.");
                snprintf(p->s->stations, sizeof(p->s->stations), "%s", value);
                return 1;
        }
        if (!streq(key, "AnswerTimeoutSec"))
                return conf_bad(&p->conf, "There is no setting %s= in [Factory].", key);
        if (!parse_duration(value, false, &ms) || ms < 1000)
                return conf_bad(&p->conf, "AnswerTimeoutSec=%s must be a time of 1 s at least. Write for example 90 or 10min; at most 24h.", value);
        p->s->answer_timeout_ms = (uint32_t) ms;
        return 1;
}

static int set_value(Parser *p, const char *key, const char *value) {
        const char *section = p->section;

        if (streq(section, "Station"))
                return set_station(p, key, value);
        if (streq(section, "Timeouts"))
                return set_timeout(p, key, value);
        if (streq(section, "Limits"))
                return set_limit(p, key, value);
        if (streq(section, "Factory"))
                return set_factory(p, key, value);
        if (streq(section, "Store")) {
                if (!streq(key, "PackageQuota") && !streq(key, "SpoolQuota"))
                        return conf_bad(&p->conf, "There is no setting %s= in [Store].", key);
                return parse_size(value, streq(key, "SpoolQuota") ? &p->s->spool_quota : &p->s->package_quota)
                               ? 1
                               : conf_bad(&p->conf, "%s=%s must be a number of bytes, with K, M, G or T if you like.", key, value);
        }
        if (streq(section, "Devices"))
                return streq(key, "AllowIds")         ? parse_ids(p, key, value, add_allowed)
                       : streq(key, "AllowSoftEntry") ? parse_ids(p, key, value, add_soft)
                                                      : conf_bad(&p->conf, "There is no setting %s= in [Devices].", key);
        if (strncmp(section, "Slot ", 5) == 0) {
                if (!hotplug_port_valid(section + 5))
                        return conf_bad(&p->conf, "[%.140s] does not name a port. It looks like [Slot pci-0000:00:14.0-usb-0:1.2]; "
                                   "`fdlctl slots` lists the ports.",
                                   section);
                return streq(key, "AllowIds")         ? parse_ids(p, key, value, add_slot_id)
                       : streq(key, "AllowSoftEntry") ? parse_ids(p, key, value, add_slot_soft)
                                                      : conf_bad(&p->conf, "There is no setting %s= in [Slot …].", key);
        }
        return conf_bad(&p->conf, "There is no section [%.140s]; there are Station, Store, Limits, Factory, Timeouts, Devices and Slot <port>.",
                   section);
}

static int set(ConfFile *c, const char *section, const char *key, const char *value) {
        Parser *p = (Parser *) c;

        if (!section[0])
                return conf_bad(c, "%.100s= stands before the first [Section].", key);
        return set_value(p, key, value);
}

/* Notes the whole name of a section, which libinih would cut at 50 bytes. */
static void note_section(ConfFile *c, const char *line) {
        Parser *p = (Parser *) c;
        const char *at = line + strspn(line, " \t"), *end = strchr(at, ']');
        size_t n;

        if (*at != '[' || !end)
                return;
        n = (size_t) (end - at - 1);
        if (n >= sizeof(p->section)) {
                conf_bad(&p->conf, "The name of this section is too long.");
                return;
        }
        memcpy(p->section, at + 1, n);
        p->section[n] = '\0';
        if (!(streq(p->section, "Station") || streq(p->section, "Store") || streq(p->section, "Limits") || streq(p->section, "Timeouts") || streq(p->section, "Factory") ||
              streq(p->section, "Devices") || strncmp(p->section, "Slot ", 5) == 0))
                conf_bad(&p->conf, "There is no section [%.140s]; there are Station, Store, Limits, Factory, Timeouts, Devices and Slot <port>.",
                    p->section);
}

static int load_file(Settings *s, const char *path, CallError *e) {
        Parser p = {.conf = {.size_max = FILE_MAX, .line = note_section, .set = set}, .s = s};

        return conf_read(&p.conf, path, true, e);
}

static int load_drop_in(const char *folder, const char *name, void *userdata, CallError *e) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return load_file(userdata, path, e);
}

int settings_load(Settings *s, const char *directory, CallError *e) {
        char path[PATH_MAX], drop[PATH_MAX - 256];
        Settings loaded;
        int r;

        if (strlen(directory) > sizeof(drop) - 32)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "The name of the configuration directory is too long.");
        settings_default(&loaded);
        snprintf(path, sizeof(path), "%s/fdld.conf", directory);
        r = load_file(&loaded, path, e);
        snprintf(drop, sizeof(drop), "%s/fdld.conf.d", directory);
        if (r == 0)
                r = conf_each(drop, load_drop_in, &loaded, e);
        if (r == 0)
                r = profiles_load(directory, &loaded.profiles, e);
        if (r == 0)
                *s = loaded;
        return r;
}
