/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bus-client.h"
#include "common/macro.h"
#include "doctor.h"
#include "evidence.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"

/* All that somebody needs who looks for the cause of a failure, in one archive. What says whose device it was, or who stood there, stays
 * outside unless it is asked for: known values are cut out wherever they stand, and so is what looks like one. */

#define SECRETS_MAX 64
#define TEXT_MAX (4U * 1024 * 1024)
#define REMOVED "[removed]"

typedef struct Bundle {
        sd_bus *bus;
        const char *job_path;
        uint64_t job;
        struct archive *archive;
        char folder[48];
        time_t now;
        bool personal;
        char *secrets[SECRETS_MAX];
        size_t n_secrets;
        struct json_object *record, *properties; /* NULL: not to be had */
        char *trace;                             /* the same */
} Bundle;

/* ---- what is personal ---- */

static bool is_part(char c) {
        return isalnum((unsigned char) c);
}

/* Numbers of phones and cards have 14 to 20 digits, chip UIDs 16 and more of hexadecimal; hashes of files and plans (40, 64) are nobody's. */
static bool looks_personal(const char *word, size_t n) {
        size_t digits = 0, hex = 0;

        for (size_t i = 0; i < n; i++) {
                digits += word[i] >= '0' && word[i] <= '9';
                hex += isxdigit((unsigned char) word[i]) != 0;
        }
        if (digits == n)
                return n >= 14 && n <= 20;
        return hex == n && digits > 0 && n >= 16 && n != 40 && n != 64;
}

static void remember(Bundle *b, const char *secret) {
        if (strlen(secret) < 4 || b->n_secrets == SECRETS_MAX)
                return;
        b->secrets[b->n_secrets] = strdup(secret);
        b->n_secrets += b->secrets[b->n_secrets] != NULL;
}

static size_t secret_at(const Bundle *b, const char *at) {
        size_t longest = 0;

        for (size_t i = 0; i < b->n_secrets; i++) {
                size_t n = strlen(b->secrets[i]);
                if (n > longest && strncasecmp(at, b->secrets[i], n) == 0)
                        longest = n;
        }
        return longest;
}

/* A copy without it, malloc'ed. `guess`: also what only looks like it. */
static char *cleaned(const Bundle *b, const char *text, bool guess) {
        char *out = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&out, &size);

        if (!f)
                return NULL;
        while (*text) {
                size_t n = b->personal ? 0 : secret_at(b, text), word = 0;

                while (n == 0 && is_part(text[word]))
                        word++;
                if (n == 0 && guess && !b->personal && looks_personal(text, word))
                        n = word;
                if (n > 0)
                        fputs(REMOVED, f);
                else if (word > 0 && b->n_secrets > 0)
                        fputc(*text, f), word = 1; /* a secret may begin within a word */
                else
                        fwrite(text, 1, word > 0 ? word : 1, f);
                text += n > 0 ? n : word > 0 ? word : 1;
        }
        if (fclose(f) != 0) {
                free(out);
                return NULL;
        }
        return out;
}

/* What of a record's unit says what it is, not which one. */
static bool is_harmless_key(const char *key) {
        static const char *const keys[] = {
                "usb_id", "usb_speed", "loader-version", "storage", "table", "partitions", "sparse", "block", "page", "flash-info", "rf-type", "slot",
                "family", "security", "put-back", "raw", "device-state", "situation", "traits",
        };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (streq(keys[i], key))
                        return true;
        return false;
}

/* Strings are cleaned, whatever they are in. */
static struct json_object *cleaned_json(const Bundle *b, struct json_object *value) {
        struct json_object *copy;
        char *text;

        switch (json_object_get_type(value)) {
        case json_type_object:
                copy = json_object_new_object();
                json_object_object_foreach(value, key, member) json_object_object_add(copy, key, cleaned_json(b, member));
                return copy;
        case json_type_array:
                copy = json_object_new_array();
                for (size_t i = 0; i < json_object_array_length(value); i++)
                        json_object_array_add(copy, cleaned_json(b, json_object_array_get_idx(value, i)));
                return copy;
        case json_type_string:
                text = cleaned(b, json_object_get_string(value), true);
                copy = json_object_new_string(text ? text : REMOVED);
                free(text);
                return copy;
        default:
                return json_object_get(value);
        }
}

/* Takes out of the record what identifies, and remembers it, so that it is found in other places too. */
static void strip_record(Bundle *b) {
        static const char *const whole[] = {"operator", "uid", "hash", "previous"};
        struct json_object *unit = json_member(b->record, "unit"), *kept = json_object_new_object();

        if (b->personal) {
                json_object_put(kept);
                return;
        }
        remember(b, json_text(b->record, "operator"));
        for (size_t i = 0; i < ELEMENTSOF(whole); i++)
                json_object_object_del(b->record, whole[i]);
        if (json_object_is_type(unit, json_type_object)) {
                json_object_object_foreach(unit, key, value) {
                        if (is_harmless_key(key))
                                json_object_object_add(kept, key, json_object_get(value));
                        else if (json_object_is_type(value, json_type_string))
                                remember(b, json_object_get_string(value));
                }
        }
        json_object_object_add(b->record, "unit", kept);
}

/* ---- the archive ---- */

static int add_file(Bundle *b, const char *name, const char *text, size_t size) {
        struct archive_entry *e = archive_entry_new();
        char path[100];
        int r = -EIO;

        if (!e)
                return -ENOMEM;
        snprintf(path, sizeof(path), "%s/%s", b->folder, name);
        archive_entry_set_pathname(e, path);
        archive_entry_set_size(e, (la_int64_t) size);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_mtime(e, b->now, 0);
        if (archive_write_header(b->archive, e) == ARCHIVE_OK && archive_write_data(b->archive, text, size) == (la_ssize_t) size)
                r = 0;
        archive_entry_free(e);
        return r;
}

static int add_text(Bundle *b, const char *name, const char *text, bool guess) {
        char *clean = cleaned(b, text, guess);
        int r = clean ? add_file(b, name, clean, strlen(clean)) : -ENOMEM;

        free(clean);
        return r;
}

static int add_json(Bundle *b, const char *name, struct json_object *value) {
        struct json_object *clean = cleaned_json(b, value);
        const char *text = json_object_to_json_string_ext(clean, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
        int r = add_file(b, name, text, strlen(text));

        json_object_put(clean);
        return r;
}

/* ---- what goes in ---- */

static void fetch_record(Bundle *b) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct json_object *rows = NULL;

        if (sd_bus_call_method(b->bus, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("History"), "Query", NULL, &reply, "a{sv}tu", 1, "job", "t", b->job,
                               UINT64_C(0), 1) < 0 ||
            message_to_json(reply, &rows) < 0)
                return;
        if (json_object_array_length(rows) > 0)
                b->record = json_object_get(json_object_array_get_idx(rows, 0));
        json_object_put(rows);
}

static int add_record(Bundle *b) {
        if (b->record)
                return add_json(b, "record.json", b->record);
        return add_text(b, "record.txt", "There is no record of this job, or you may not read it.\n", false);
}

static int add_trace(Bundle *b) {
        if (!b->trace)
                return add_text(b, "trace.txt", "Nothing is kept of what was said in this job, or you may not read it.\n", false);
        return add_text(b, "trace.txt", b->trace, false); /* nothing personal gets into a trace */
}

/* Of a package that is still there, made anew with the job's mode. */
static int add_plan(Bundle *b) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *package = json_text(b->properties, "Package"), *mode = json_text(b->properties, "Mode");
        struct json_object *plan = NULL;
        int r;

        if (!package[0] || streq(package, "/"))
                return add_text(b, "plan.txt", "The package of this job is not in the store any more, or it has none.\n", false);
        r = sd_bus_call_method(b->bus, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "Plan", NULL, &reply, "oa{sv}", package, 2, "mode", "s",
                               mode[0] ? mode : "upgrade", "allow-warnings", "b", 1);
        if (r < 0 || message_to_json(reply, &plan) < 0)
                return add_text(b, "plan.txt", "The plan of this job cannot be made any more.\n", false);
        r = add_json(b, "plan.json", plan);
        json_object_put(plan);
        return r;
}

static unsigned hex_byte(const char *p) {
        char pair[3] = {p[0], p[1], '\0'};

        return (unsigned) strtoul(pair, NULL, 16);
}

/* The answer to READ_PARTITION: names of 36 units of UTF-16, and a number. */
static void put_entries(FILE *out, const char *hex, size_t n) {
        enum { NAME = 72, ENTRY = 76 };

        for (; n >= 2 * ENTRY; hex += 2 * ENTRY, n -= 2 * ENTRY) {
                unsigned long size = 0;

                for (size_t i = 0; i < NAME / 2; i++) {
                        unsigned c = hex_byte(hex + 4 * i);
                        if (c > 0x20 && c < 0x7f)
                                fputc((int) c, out);
                }
                for (size_t i = 0; i < 4; i++)
                        size |= (unsigned long) hex_byte(hex + 2 * (NAME + i)) << 8 * i;
                fprintf(out, " %lu\n", size);
        }
}

/* The table that was told last, out of the trace. */
static bool put_table(FILE *out, const char *trace) {
        const char *last = NULL, *p = trace, *word;
        bool gpt = false;

        for (; (p = strchr(p, '\n')); p++) {
                size_t n = strcspn(p + 1, "\n");
                const char *line = p + 1;

                if ((word = memmem(line, n, " 00ba ", 6))) {
                        last = word + 6 + strcspn(word + 6, " \n");
                        gpt = false;
                } else if ((word = memmem(line, n, " gpt ", 5))) {
                        last = word + 5;
                        gpt = true;
                }
        }
        if (!last)
                return false;
        last += *last == ' ';
        fputs(gpt ? "From the GPT (bytes: sector, then name:start:size):\n" : "As READ_PARTITION told it (in the loader's own unit):\n", out);
        if (gpt)
                fprintf(out, "%.*s\n", (int) strcspn(last, "\n"), last);
        else
                put_entries(out, last, strcspn(last, " \n"));
        return true;
}

static int add_table(Bundle *b) {
        struct json_object *unit = json_member(b->record, "unit");
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        int r;

        if (!out)
                return -ENOMEM;
        if (json_text(unit, "table")[0])
                fprintf(out, "%s\n\n", json_text(unit, "table"));
        if (!b->trace || !put_table(out, b->trace))
                fputs("The device did not tell its table in this job, or the trace is not kept.\n", out);
        if (fclose(out) != 0)
                return -ENOMEM;
        r = add_text(b, "table.txt", text, false);
        free(text);
        return r;
}

/* What a program says, at most so much; NULL: it cannot be run. No shell has a hand in it. */
static char *output_of(const char *const *command) {
        int fds[2], none = open("/dev/null", O_RDWR | O_CLOEXEC), status = -1;
        char *text = NULL, line[4096];
        size_t size = 0, total = 0;
        FILE *in, *out;
        pid_t pid;

        if (none < 0 || pipe2(fds, O_CLOEXEC) < 0)
                return NULL;
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                (void) dup2(none, STDIN_FILENO);
                (void) dup2(fds[1], STDOUT_FILENO);
                (void) dup2(none, STDERR_FILENO);
                execvp(command[0], (char *const *) command);
                _exit(127);
        }
        close(none);
        close(fds[1]);
        in = pid > 0 ? fdopen(fds[0], "r") : NULL;
        if (!in) {
                close(fds[0]);
                return NULL;
        }
        out = open_memstream(&text, &size);
        while (out && total < TEXT_MAX && fgets(line, sizeof(line), in)) {
                total += strlen(line);
                fputs(line, out);
        }
        fclose(in);
        (void) waitpid(pid, &status, 0);
        if (!out || fclose(out) != 0 || (total == 0 && status != 0)) {
                free(text);
                return NULL;
        }
        return text;
}

static bool is_about_usb(const char *line) {
        static const char *const words[] = {"usb", "hub ", "xhci", "ehci", "uhci", "ohci", "1782", "fdld", "cdc_acm", "option1", "over-current", "overcurrent"};

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasestr(line, words[i]))
                        return true;
        return false;
}

/* Devices tell the kernel their serial numbers. */
static void hide_serial(const Bundle *b, char *line) {
        char *at = b->personal ? NULL : strcasestr(line, "serialnumber:");

        if (at)
                at[strlen("serialnumber:")] = '\0';
}

static int add_kernel(Bundle *b) {
        static const char *const journal[] = {"journalctl", "-k", "-b", "--no-hostname", "--no-pager", "-q", "-n", "5000", "-o", "short-monotonic", NULL};
        static const char *const dmesg[] = {"dmesg", NULL};
        char *text = output_of(journal), *clean = NULL, *save = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&clean, &size);
        unsigned n = 0;
        int r;

        if (!text || !text[0]) {
                free(text);
                text = output_of(dmesg);
        }
        if (!out) {
                free(text);
                return -ENOMEM;
        }
        for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
                if (!is_about_usb(line))
                        continue;
                hide_serial(b, line);
                fprintf(out, "%s\n", line);
                n++;
        }
        if (n == 0)
                fputs("The kernel's messages cannot be read by you, or none is about USB.\n", out);
        free(text);
        if (fclose(out) != 0)
                return -ENOMEM;
        r = add_text(b, "kernel.txt", clean, true);
        free(clean);
        return r;
}

static int add_doctor(Bundle *b) {
        struct json_object *findings = json_object_new_array();
        int r;

        doctor_examine_bus(findings);
        doctor_examine_machine(findings);
        doctor_examine_usb(findings);
        r = add_json(b, "doctor.json", findings);
        json_object_put(findings);
        return r;
}

static void os_name(char *ret, size_t size) {
        FILE *f = fopen("/etc/os-release", "re");
        char line[200];

        snprintf(ret, size, "unknown");
        while (f && fgets(line, sizeof(line), f))
                if (strncmp(line, "PRETTY_NAME=", 12) == 0) {
                        const char *value = line + 12 + (line[12] == '"');
                        snprintf(ret, size, "%.*s", (int) strcspn(value, "\"\n"), value);
                }
        if (f)
                fclose(f);
}

static int add_versions(Bundle *b) {
        struct json_object *manager = NULL;
        struct utsname u;
        char *text = NULL, system[200];
        int r;

        if (client_properties(b->bus, FDLD_ROOT, FDLD_IFACE("Manager"), &manager) != 0)
                manager = NULL;
        uname(&u);
        os_name(system, sizeof(system));
        r = asprintf(&text, "fdlctl %s\nfdld %s\nlibarchive %s\nkernel %s %s %s\nsystem %s\n", PACKAGE_VERSION, json_text(manager, "Version"),
                     archive_version_string(), u.sysname, u.release, u.machine, system);
        r = r < 0 ? -ENOMEM : add_text(b, "versions.txt", text, false);
        free(text);
        json_object_put(manager);
        return r;
}

static int add_readme(Bundle *b) {
        char text[1200];

        snprintf(text, sizeof(text),
                 "What there is about job %" PRIu64 " of a flashing station that runs fdld.\n\n"
                 "  job.json      the job's properties, with its failure, causes and actions\n"
                 "  record.json   its record: package, files with hashes, stages, what is known of the unit\n"
                 "  trace.txt     what was said between the station and the device; usbsim --replay=trace.txt plays it\n"
                 "  plan.json     the steps of the package in the job's mode\n"
                 "  table.txt     the device's partition table\n"
                 "  kernel.txt    what the kernel says of USB\n"
                 "  doctor.json   what fdlctl doctor finds on the machine\n"
                 "  versions.txt  of the programs\n\n%s\n",
                 b->job,
                 b->personal ? "It holds personal data: serial numbers, chip UIDs, names."
                             : "Serial numbers, chip UIDs, IMEIs and names were removed.");
        return add_file(b, "README.txt", text, strlen(text));
}

static int fill(Bundle *b) {
        static int (*const parts[])(Bundle * b) = {add_readme, add_record, add_trace, add_plan, add_table, add_kernel, add_doctor, add_versions};
        int r = 0;

        if (b->record)
                strip_record(b);
        if (!b->personal)
                json_object_object_del(b->properties, "RequestedByUID");
        r = add_json(b, "job.json", b->properties);
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(parts); i++)
                r = parts[i](b);
        return r;
}

/* ---- the verb ---- */

static int write_archive(Bundle *b, const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (arg_force ? O_TRUNC : O_EXCL), 0600), r;

        if (fd < 0)
                return -errno;
        b->archive = archive_write_new();
        if (!b->archive || archive_write_add_filter_gzip(b->archive) != ARCHIVE_OK || archive_write_set_format_pax_restricted(b->archive) != ARCHIVE_OK ||
            archive_write_open_fd(b->archive, fd) != ARCHIVE_OK)
                r = -ENOMEM;
        else
                r = fill(b);
        if (b->archive && archive_write_free(b->archive) != ARCHIVE_OK && r == 0)
                r = -EIO;
        if ((fsync(fd) < 0 && errno != EINVAL) && r == 0)
                r = -errno;
        close(fd);
        if (r < 0)
                unlink(path);
        return r;
}

static int make_bundle(Bundle *b, const char *path) {
        int code = client_properties(b->bus, b->job_path, FDLD_IFACE("Job"), &b->properties), r;
        size_t size = 0;

        if (code)
                return code;
        b->now = time(NULL);
        snprintf(b->folder, sizeof(b->folder), "fdld-job-%" PRIu64, b->job);
        fetch_record(b);
        if (evidence_trace(b->bus, b->job_path, true, &b->trace, &size) != 0)
                b->trace = NULL;
        r = write_archive(b, path);
        if (r == -EEXIST)
                fprintf(stderr, "fdlctl: %s exists; --force overwrites it.\n", path);
        else if (r < 0)
                fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", path, strerror(-r));
        else if (!arg_output.quiet)
                printf("%s\n", path);
        return r < 0 ? EXIT_OTHER : 0;
}

int verb_bundle(int argc, char **argv) {
        char path[PATH_TEXT_MAX], name[64];
        Bundle b = {.job_path = path, .personal = arg_personal};
        int code = 0;

        code = find_job(argv[1], path);
        if (code)
                return code;
        b.job = strtoull(strrchr(path, '_') + 1, NULL, 10);
        b.bus = client_connect(&code);
        if (!b.bus)
                return code;
        snprintf(name, sizeof(name), "fdld-job-%" PRIu64 ".tar.gz", b.job);
        code = make_bundle(&b, argc > 2 ? argv[2] : name);
        for (size_t i = 0; i < b.n_secrets; i++)
                free(b.secrets[i]);
        free(b.trace);
        json_object_put(b.record);
        json_object_put(b.properties);
        sd_bus_flush_close_unref(b.bus);
        return code;
}
