/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "firmware/image.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "part-file.h"
#include "steps.h"

/* Whole devices, out and back in: an identify job tells the table and who it is, one job of reads or writes does the rest. */

#define SPL_RESERVED 512U

typedef struct Device {
        sd_bus *bus;
        struct json_object *objects;
        Paths targets;
        StepJob loaders;           /* package or own files */
        char path[PATH_TEXT_MAX];
        struct json_object *table; /* [[name, bytes], …] */
        struct json_object *identity;
} Device;

static void device_close(Device *d) {
        json_object_put(d->objects);
        json_object_put(d->table);
        json_object_put(d->identity);
        paths_clear(&d->targets);
        if (d->bus)
                sd_bus_flush_close_unref(d->bus);
}

static int read_identity(Device *d) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int code = client_call(d->bus, d->path, FDLD_IFACE("Device"), "GetIdentity", &reply, "a{sv}", 0);

        if (code)
                return code;
        return message_to_json(reply, &d->identity) < 0 ? client_report("GetIdentity", NULL, -EBADMSG) : 0;
}

static int identify(Device *d) {
        struct json_object *properties = NULL, *table = NULL;
        StepJob job = d->loaders;
        Paths jobs = { .n = 0 };
        int code;

        job.kind = "identify";
        code = steps_start(d->bus, &job, d->path, &jobs);
        if (code == 0)
                code = follow_started(d->bus, &jobs, true);
        paths_clear(&jobs);
        d->loaders.checked = true;
        if (code == 0)
                code = client_properties(d->bus, d->path, FDLD_IFACE("Device"), &properties);
        if (code == 0 && json_object_object_get_ex(properties, "Partitions", &table))
                d->table = json_object_get(table);
        json_object_put(properties);
        return code ? code : read_identity(d);
}

static int device_open(Device *d) {
        int code = 0;

        d->bus = client_connect(&code);
        if (!d->bus)
                return code;
        code = client_objects(d->bus, &d->objects);
        if (code == 0)
                code = choose_devices(d->bus, d->objects, &d->targets);
        if (code == 0 && d->targets.n > 1)
                code = usage_error("One device is needed; choose it with --device= or --slot=.");
        if (code)
                return code;
        snprintf(d->path, sizeof(d->path), "%s", d->targets.items[0]);
        code = steps_loaders(d->bus, d->objects, &d->loaders);
        return code ? code : identify(d);
}

/* ---- backup ---- */

static int add_read(const char *directory, StepJob *job, const char *name, uint64_t address, uint64_t length, bool optional) {
        Step *s = steps_add(job, "read");
        char file[80];

        if (!s)
                return client_report("backup", NULL, -ENOMEM);
        snprintf(s->name, sizeof(s->name), "%s", name);
        s->address = address;
        s->length = length;
        s->optional = optional;
        if (name[0])
                snprintf(file, sizeof(file), "%.60s.img", name);
        else
                snprintf(file, sizeof(file), "0x%" PRIx64 ".img", address);
        if (snprintf(s->file, sizeof(s->file), "%.3900s/%s", directory, file) >= (int) sizeof(s->file) - 8)
                return usage_error("The name of the folder is too long.");
        return 0;
}

static bool named(struct json_object *table, const char *name) {
        for (size_t i = 0; table && i < json_object_array_length(table); i++)
                if (streq(json_object_get_string(json_object_array_get_idx(json_object_array_get_idx(table, i), 0)), name))
                        return true;
        return false;
}

/* The loader checks and mends what has two copies, and refuses if both are bad or nothing was ever written. */
static bool may_be_refused(const char *name) {
        return partition_is_nv(name) || partition_is_identity(name) || streq(name, "splloader");
}

/* Of devices without names the table says what they show by address. */
static bool by_address(const char *name) {
        return strncmp(name, "0x", 2) == 0;
}

static struct json_object *table_row(const Device *d, size_t i) {
        return json_object_array_get_idx(d->table, i);
}

static const char *row_name(struct json_object *row) {
        return json_object_get_string(json_object_array_get_idx(row, 0));
}

static uint64_t row_size(struct json_object *row) {
        return json_object_get_uint64(json_object_array_get_idx(row, 1));
}

static bool has_addresses(const Device *d) {
        return d->table && json_object_array_length(d->table) > 0 && by_address(row_name(table_row(d, 0)));
}

static int add_areas(const Device *d, const char *directory, StepJob *job) {
        int code = 0;

        for (size_t i = 0; code == 0 && i < json_object_array_length(d->table); i++) {
                uint64_t address = strtoull(row_name(table_row(d, i)), NULL, 16);
                code = add_read(directory, job, "", address, row_size(table_row(d, i)), false);
        }
        return code;
}

static int add_table(const Device *d, const char *directory, StepJob *job) {
        size_t n = d->table ? json_object_array_length(d->table) : 0;
        int code = 0;

        if (n == 0) {
                fprintf(stderr, "fdlctl: This device shows no partition table, and nothing by address. Say what is to be backed up: names of partitions, "
                                "as \"fdlctl backup DIR boot system\", or ranges, as \"fdlctl backup DIR 0x60000000+8M 0xfe000003+0x28000\".\n");
                return EXIT_REFUSED;
        }
        if (has_addresses(d))
                return add_areas(d, directory, job);
        if (!named(d->table, "splloader"))
                code = add_read(directory, job, "splloader", 0, UINT64_MAX, true);
        if (code == 0 && !named(d->table, "uboot") && !named(d->table, "uboot_a"))
                code = add_read(directory, job, "uboot", 0, UINT64_MAX, true);
        for (size_t i = 0; code == 0 && i < n; i++) {
                const char *name = json_object_get_string(json_object_array_get_idx(json_object_array_get_idx(d->table, i), 0));
                code = add_read(directory, job, name, 0, UINT64_MAX, may_be_refused(name));
        }
        return code;
}

static int add_places(const char *directory, StepJob *job, int n, char **places) {
        int code = 0;

        for (int i = 0; code == 0 && i < n; i++) {
                Step s = { .length = UINT64_MAX };
                code = steps_parse_place(places[i], strlen(places[i]), &s);
                if (code == 0)
                        code = add_read(directory, job, s.name, s.address, s.length, false);
        }
        return code;
}

static struct json_object *table_array(struct json_object *table) {
        struct json_object *a = json_object_new_array();

        for (size_t i = 0; table && i < json_object_array_length(table); i++) {
                struct json_object *pair = json_object_array_get_idx(table, i), *o = json_object_new_object();
                json_object_object_add(o, "name", json_object_get(json_object_array_get_idx(pair, 0)));
                json_object_object_add(o, "size", json_object_get(json_object_array_get_idx(pair, 1)));
                json_object_array_add(a, o);
        }
        return a;
}

static struct json_object *find_output(struct json_object *outputs, const Step *s) {
        char address[32];

        snprintf(address, sizeof(address), "0x%" PRIx64, s->address);
        for (size_t i = 0; outputs && i < json_object_array_length(outputs); i++) {
                struct json_object *o = json_object_array_get_idx(outputs, i);
                if (streq(json_object_get_string(json_object_array_get_idx(o, 0)), s->name[0] ? s->name : address))
                        return o;
        }
        return NULL;
}

/* What was read is checked, and put into the manifest. */
static int take_file(const Step *s, struct json_object *output, struct json_object *files) {
        struct json_object *o;
        const char *sum;
        uint64_t size;
        char seen[65];

        if (!output) { /* refused, and that was allowed */
                (void) unlink(s->file);
                fprintf(stderr, "%s: the device has nothing there.\n", s->name[0] ? s->name : s->file);
                return 0;
        }
        size = json_object_get_uint64(json_object_array_get_idx(output, 2));
        if (!json_object_get_boolean(json_object_array_get_idx(output, 4))) {
                (void) unlink(s->file);
                fprintf(stderr, "fdlctl: The device shows only the first %" PRIu64 " bytes of %s; the backup is without it.\n", size,
                        s->name[0] ? s->name : s->file);
                return EXIT_DEVICE;
        }
        sum = json_object_get_string(json_object_array_get_idx(output, 3));
        if (!file_sum(s->file, UINT64_MAX, seen) || !streq(seen, sum)) {
                fprintf(stderr, "fdlctl: %s does not hold what was read from the device.\n", s->file);
                return EXIT_MISMATCH;
        }
        o = json_object_new_object();
        if (s->name[0])
                json_object_object_add(o, "partition", json_object_new_string(s->name));
        else
                json_object_object_add(o, "address", json_object_new_uint64(s->address));
        json_object_object_add(o, "file", json_object_new_string(strrchr(s->file, '/') + 1));
        json_object_object_add(o, "size", json_object_new_uint64(size));
        json_object_object_add(o, "sha256", json_object_new_string(sum));
        json_object_array_add(files, o);
        return 0;
}

static int make_manifest(const Device *d, const StepJob *job, const char *job_path, const char *directory) {
        struct json_object *m = json_object_new_object(), *files = json_object_new_array(), *properties = NULL, *outputs = NULL;
        const char *digest = strrchr(d->loaders.package, '/');
        struct timespec now;
        int code;

        clock_gettime(CLOCK_REALTIME, &now);
        json_object_object_add(m, MANIFEST_BACKUP, json_object_new_int(1));
        json_object_object_add(m, "created_usec", json_object_new_uint64((uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000));
        json_object_object_add(m, "package", json_object_new_string(digest ? digest + 1 : ""));
        json_object_object_add(m, "identity", json_object_get(d->identity));
        json_object_object_add(m, "table", table_array(d->table));
        json_object_object_add(m, "files", files);
        code = steps_outputs(d->bus, job_path, &properties);
        if (code == 0)
                json_object_object_get_ex(properties, "Outputs", &outputs);
        for (size_t i = 0; code == 0 && i < job->n; i++)
                code = take_file(job->steps + i, find_output(outputs, job->steps + i), files);
        if (code == 0)
                code = manifest_write(directory, m);
        if (code == 0 && !arg_output.quiet)
                fprintf(stderr, "%zu files and a manifest are in %s.\n", json_object_array_length(files), directory);
        json_object_put(properties);
        json_object_put(m);
        return code;
}

/* What an earlier try left would be taken for what is on the device. */
static void remove_old(const StepJob *job) {
        for (size_t i = 0; i < job->n; i++)
                (void) unlink(job->steps[i].file);
}

int verb_backup(int argc, char **argv) {
        Paths jobs = { .n = 0 };
        Device d = { .bus = NULL };
        StepJob job;
        int code = arg_dry_run ? 0 : manifest_make_folder(argv[1]);

        if (code)
                return code;
        code = device_open(&d);
        job = d.loaders;
        job.kind = "backup";
        if (code == 0)
                code = argc > 2 ? add_places(argv[1], &job, argc - 2, argv + 2) : add_table(&d, argv[1], &job);
        if (code == 0 && arg_dry_run)
                steps_show(&job);
        else if (code == 0) {
                remove_old(&job);
                code = steps_start(d.bus, &job, d.path, &jobs);
        }
        if (code == 0 && jobs.n > 0)
                code = follow_started(d.bus, &jobs, true);
        if (code == 0 && jobs.n > 0)
                code = make_manifest(&d, &job, jobs.items[0], argv[1]);
        steps_free(&job);
        paths_clear(&jobs);
        device_close(&d);
        return code;
}

/* ---- restore ---- */

/* Flash of another size is another device. Areas that are blank now are not shown, and NV is as long as what is in it. */
static int check_areas(const Device *d, struct json_object *manifest) {
        struct json_object *table = json_member(manifest, "table");

        for (size_t i = 0; i < json_object_array_length(table); i++) {
                struct json_object *want = json_object_array_get_idx(table, i);
                const char *name = json_text(want, "name");
                for (size_t k = 0; k < json_object_array_length(d->table); k++) {
                        struct json_object *is = table_row(d, k);
                        if (!streq(row_name(is), name) || row_size(is) == json_u64(want, "size") || address_is_identity(strtoull(name, NULL, 16)))
                                continue;
                        fprintf(stderr, "fdlctl: The device has %" PRIu64 " bytes at %s, and the backup is of one with %" PRIu64 "; nothing was written.\n",
                                row_size(is), name, json_u64(want, "size"));
                        return EXIT_MISMATCH;
                }
        }
        return 0;
}

static int check_table(const Device *d, struct json_object *manifest) {
        struct json_object *table = json_member(manifest, "table");
        size_t n = json_object_array_length(table), have = d->table ? json_object_array_length(d->table) : 0;

        if (has_addresses(d) && (n == 0 || by_address(json_text(json_object_array_get_idx(table, 0), "name"))))
                return check_areas(d, manifest);
        for (size_t i = 0; i < MAX(n, have); i++) {
                struct json_object *want = i < n ? json_object_array_get_idx(table, i) : NULL;
                struct json_object *is = i < have ? json_object_array_get_idx(d->table, i) : NULL;
                const char *name = want ? json_text(want, "name") : json_object_get_string(json_object_array_get_idx(is, 0));
                if (want && is && streq(name, json_object_get_string(json_object_array_get_idx(is, 0))) &&
                    json_u64(want, "size") == json_object_get_uint64(json_object_array_get_idx(is, 1)))
                        continue;
                fprintf(stderr, "fdlctl: The partition table of the device is not that of the backup (at %s, number %zu); nothing was written. "
                                "Repartition it first.\n", name, i + 1);
                return EXIT_MISMATCH;
        }
        return 0;
}

static bool same_unit(const Device *d, struct json_object *manifest) {
        const char *was = json_text(json_member(manifest, "identity"), "chip-uid"), *is = json_text(d->identity, "chip-uid");

        return was[0] && streq(was, is);
}

/* All of a module's flash: the file system with calibration and IMEIs lies somewhere in it. */
static bool is_whole_flash(struct json_object *manifest, struct json_object *file) {
        struct json_object *table = json_member(manifest, "table");
        char address[32];

        snprintf(address, sizeof(address), "0x%" PRIx64, json_u64(file, "address"));
        for (size_t i = 0; json_u64(file, "address") < 0x80000000 && i < json_object_array_length(table); i++) {
                struct json_object *row = json_object_array_get_idx(table, i);
                if (streq(json_text(row, "name"), address) && json_u64(row, "size") == json_u64(file, "size"))
                        return true;
        }
        return false;
}

static bool is_identity(struct json_object *manifest, struct json_object *file) {
        const char *name = json_text(file, "partition");

        return name[0] ? partition_is_identity(name) : address_is_identity(json_u64(file, "address")) || is_whole_flash(manifest, file);
}

/* Of two units that say who they are one never gets the other's. Where the device cannot say it, a person must. */
static int check_unit(const Device *d, struct json_object *manifest, struct json_object *file) {
        const char *was = json_text(json_member(manifest, "identity"), "chip-uid"), *is = json_text(d->identity, "chip-uid");

        if (was[0] && is[0]) {
                fprintf(stderr, "fdlctl: %s holds calibration or identity, and the device is not the unit that it came from; nothing was written. "
                                "Name the partitions to restore without it.\n", json_text(file, "file"));
                return EXIT_MISMATCH;
        }
        if (arg_unproven)
                return 0;
        fprintf(stderr, "fdlctl: %s holds calibration or identity, and that this is the unit it came from is not proven: it does not say who it is; "
                        "nothing was written. Compare the label; if it is the same unit, add --unproven. Or name the partitions to restore without it.\n",
                json_text(file, "file"));
        return EXIT_MISMATCH;
}

static bool wanted(struct json_object *file, int n, char **places) {
        char address[32];

        if (n == 0)
                return true;
        snprintf(address, sizeof(address), "0x%" PRIx64, json_u64(file, "address"));
        for (int i = 0; i < n; i++)
                if (streq(places[i], json_text(file, "partition")) || streq(places[i], address))
                        return true;
        return false;
}

/* What follows the image in its partition was read too and is of no account. The second copy is read with the loader's header, which
 * tells the length: "VN\0\0", then length, both little-endian (bsl-protocol §9.2). Else what is blank at the end is left out. */
static uint64_t nv_length(struct json_object *manifest, struct json_object *file, const char *directory) {
        struct json_object *files = json_member(manifest, "files");
        char twin[80], path[4500];
        uint8_t head[8] = {};
        char *one;
        FILE *f;

        snprintf(twin, sizeof(twin), "%.70s", json_text(file, "partition"));
        one = strstr(twin, "nv1");
        if (one)
                one[2] = '2';
        for (size_t i = 0; one && i < json_object_array_length(files); i++) {
                struct json_object *other = json_object_array_get_idx(files, i);
                if (!streq(json_text(other, "partition"), twin) || snprintf(path, sizeof(path), "%.3900s/%.180s", directory, json_text(other, "file")) < 0)
                        continue;
                f = fopen(path, "re");
                if (f && fread(head, 1, sizeof(head), f) != sizeof(head))
                        memset(head, 0, sizeof(head));
                if (f)
                        fclose(f);
        }
        if (memcmp(head, "VN\0\0", 4) == 0)
                return (uint64_t) head[4] | (uint64_t) head[5] << 8 | (uint64_t) head[6] << 16 | (uint64_t) head[7] << 24;
        snprintf(path, sizeof(path), "%.3900s/%.180s", directory, json_text(file, "file"));
        return file_length_without_blank(path, json_u64(file, "size"));
}

/* The block that the loader put in front of the boot loader tells how much stands behind it: at 0x24 a magic, at 0x2c the length. An image
 * may end with bytes that look like blank flash, and what an earlier one left may stand behind it. */
static uint64_t spl_length(const char *path, uint64_t size) {
        uint64_t told = 0;
        uint8_t head[0x30] = {};
        FILE *f = fopen(path, "re");

        if (f && fread(head, 1, sizeof(head), f) == sizeof(head) && memcmp(head + 0x24, "\xa5\xa5\x55\xaa", 4) == 0)
                told = SPL_RESERVED + ((uint64_t) head[0x2c] | (uint64_t) head[0x2d] << 8 | (uint64_t) head[0x2e] << 16 | (uint64_t) head[0x2f] << 24);
        if (f)
                fclose(f);
        return told > 0 && told <= size ? told : file_length_without_blank(path, size);
}

/* How much of a file is to be written: loaders make sums over just that much. */
static uint64_t image_length(struct json_object *manifest, struct json_object *file, const char *directory) {
        const char *name = json_text(file, "partition");
        char path[4500];

        if (partition_is_nv(name))
                return nv_length(manifest, file, directory);
        if (!streq(name, "splloader"))
                return UINT64_MAX;
        snprintf(path, sizeof(path), "%.3900s/%.180s", directory, json_text(file, "file"));
        return spl_length(path, json_u64(file, "size"));
}

static int add_write(const Device *d, struct json_object *manifest, struct json_object *file, const char *path, uint64_t length, StepJob *job) {
        Step *s = steps_add(job, "write");

        if (!s)
                return client_report("restore", NULL, -ENOMEM);
        snprintf(s->name, sizeof(s->name), "%s", json_text(file, "partition"));
        s->address = json_u64(file, "address");
        if (is_identity(manifest, file))
                snprintf(job->unit, sizeof(job->unit), "%s", json_text(d->identity, "chip-uid"));
        s->any_image = s->exact = true;
        s->length = length;
        snprintf(s->file, sizeof(s->file), "%s", path);
        return 0;
}

static int add_writes(const Device *d, struct json_object *manifest, const char *directory, StepJob *job, int n, char **places) {
        struct json_object *files = json_member(manifest, "files");
        bool same = same_unit(d, manifest);

        for (size_t i = 0; i < json_object_array_length(files); i++) {
                struct json_object *f = json_object_array_get_idx(files, i);
                uint64_t length, seen;
                char path[4200];
                int code;

                if (!wanted(f, n, places))
                        continue;
                if (is_identity(manifest, f) && !same) {
                        code = check_unit(d, manifest, f);
                        if (code)
                                return code;
                }
                snprintf(path, sizeof(path), "%.3900s/%.180s", directory, json_text(f, "file"));
                length = image_length(manifest, f, directory);
                seen = streq(json_text(f, "partition"), "splloader") ? file_length_without_blank(path, json_u64(f, "size")) : 0;
                /* What stands behind the boot loader comes first: the loader makes its sum over what is written last. */
                code = seen > length ? add_write(d, manifest, f, path, seen, job) : 0;
                if (code == 0)
                        code = add_write(d, manifest, f, path, length, job);
                if (code)
                        return code;
        }
        if (job->n > 0)
                return 0;
        fprintf(stderr, "fdlctl: The backup holds nothing of what you name.\n");
        return EXIT_NOT_FOUND;
}

int verb_restore(int argc, char **argv) {
        struct json_object *manifest = NULL;
        Paths jobs = { .n = 0 };
        Device d = { .bus = NULL };
        StepJob job = { .n = 0 };
        int code = manifest_read(argv[1], MANIFEST_BACKUP, &manifest);

        if (code == 0)
                code = manifest_check_files(argv[1], manifest);
        if (code == 0)
                code = device_open(&d);
        if (code == 0)
                code = check_table(&d, manifest);
        job = d.loaders;
        job.kind = "restore";
        if (code == 0)
                code = add_writes(&d, manifest, argv[1], &job, argc - 2, argv + 2);
        if (code == 0 && arg_dry_run)
                steps_show(&job);
        else if (code == 0 && !agree("This overwrites what is on the device with the backup."))
                code = EXIT_USAGE;
        else if (code == 0)
                code = steps_start(d.bus, &job, d.path, &jobs);
        if (code == 0 && jobs.n > 0)
                code = follow_or_print(d.bus, &jobs);
        json_object_put(manifest);
        steps_free(&job);
        paths_clear(&jobs);
        device_close(&d);
        return code;
}

/* ---- verify ---- */

#define COMPARE_BLOCK 4096

/* Where two files differ first, and in how many blocks. False if one cannot be read. */
static bool compare_files(const char *a, const char *b, uint64_t *first, uint64_t *differ, uint64_t *blocks) {
        uint8_t x[COMPARE_BLOCK], y[COMPARE_BLOCK];
        FILE *f = fopen(a, "re"), *g = fopen(b, "re");
        bool good = f && g;

        *first = UINT64_MAX;
        *differ = *blocks = 0;
        while (good) {
                size_t n = fread(x, 1, sizeof(x), f), m = fread(y, 1, sizeof(y), g), i = 0, both = MIN(n, m);
                if (n == 0 && m == 0)
                        break;
                while (i < both && x[i] == y[i])
                        i++;
                if (i < both || n != m) {
                        *first = MIN(*first, *blocks * COMPARE_BLOCK + i);
                        (*differ)++;
                }
                (*blocks)++;
        }
        good = good && !ferror(f) && !ferror(g);
        if (f)
                fclose(f);
        if (g)
                fclose(g);
        return good;
}

static int compare_one(const char *directory, struct json_object *file, const Step *s, struct json_object *output) {
        const char *name = s->name[0] ? s->name : json_text(file, "file");
        uint64_t first, differ, blocks;
        char path[4200];

        snprintf(path, sizeof(path), "%.3900s/%.199s", directory, json_text(file, "file"));
        if (!output) {
                printf("%s: the device refuses to show it.\n", name);
                return EXIT_MISMATCH;
        }
        if (streq(json_object_get_string(json_object_array_get_idx(output, 3)), json_text(file, "sha256")))
                return 0;
        if (!compare_files(path, s->file, &first, &differ, &blocks)) {
                fprintf(stderr, "fdlctl: %s cannot be read: %s.\n", path, strerror(errno));
                return EXIT_OTHER;
        }
        printf("%s: differs from byte %" PRIu64 " on, in %" PRIu64 " of %" PRIu64 " blocks of %d bytes.\n", name, first, differ, blocks, COMPARE_BLOCK);
        return EXIT_MISMATCH;
}

static int add_verify_reads(const char *scratch, struct json_object *files, StepJob *job) {
        int code = 0;

        for (size_t i = 0; code == 0 && i < json_object_array_length(files); i++) {
                struct json_object *f = json_object_array_get_idx(files, i);
                const char *name = json_text(f, "partition");
                uint64_t length = !name[0] || streq(name, "splloader") || streq(name, "uboot") ? json_u64(f, "size") : UINT64_MAX;
                code = add_read(scratch, job, name, json_u64(f, "address"), length, may_be_refused(name));
        }
        return code;
}

static int compare_all(const Device *d, const char *directory, struct json_object *files, const StepJob *job, const char *job_path) {
        struct json_object *properties = NULL, *outputs = NULL;
        int worst = 0, code = steps_outputs(d->bus, job_path, &properties);
        size_t differ = 0;

        if (code == 0)
                json_object_object_get_ex(properties, "Outputs", &outputs);
        for (size_t i = 0; code == 0 && i < job->n; i++) {
                int one = compare_one(directory, json_object_array_get_idx(files, i), job->steps + i, find_output(outputs, job->steps + i));
                differ += one != 0;
                worst = worse_exit(worst, one);
        }
        json_object_put(properties);
        if (code == 0 && !arg_output.quiet)
                printf("%zu of %zu files of the backup are on the device as they were.\n", job->n - differ, job->n);
        return code ? code : worst;
}

/* What is read lies beside the backup until it is compared: that folder has room for a device. */
static int make_scratch(const char *directory, char *ret, size_t size) {
        if (snprintf(ret, size, "%.3800s/.verify-XXXXXX", directory) < (int) size && mkdtemp(ret))
                return 0;
        fprintf(stderr, "fdlctl: Nothing can be written into %s: %s.\n", directory, strerror(errno));
        return EXIT_REFUSED;
}

int verify_backup(const char *directory) {
        struct json_object *manifest = NULL, *files;
        char scratch[4000] = "";
        Paths jobs = { .n = 0 };
        Device d = { .bus = NULL };
        StepJob job = { .n = 0 };
        int code = manifest_read(directory, MANIFEST_BACKUP, &manifest);

        if (code == 0)
                code = manifest_check_files(directory, manifest);
        files = json_member(manifest, "files");
        if (code == 0)
                code = device_open(&d);
        if (code == 0)
                code = check_table(&d, manifest);
        job = d.loaders;
        job.kind = "read";
        if (code == 0)
                code = make_scratch(directory, scratch, sizeof(scratch));
        if (code == 0)
                code = add_verify_reads(scratch, files, &job);
        if (code == 0)
                code = steps_start(d.bus, &job, d.path, &jobs);
        if (code == 0)
                code = follow_started(d.bus, &jobs, true);
        if (code == 0)
                code = compare_all(&d, directory, files, &job, jobs.items[0]);
        remove_old(&job);
        if (scratch[0])
                (void) rmdir(scratch);
        json_object_put(manifest);
        steps_free(&job);
        paths_clear(&jobs);
        device_close(&d);
        return code;
}
