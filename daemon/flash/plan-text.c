/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan-text.h"

#include <inttypes.h>
#include <json-c/json.h>

#include "common/hex.h"

#define FORMATTED_MAX 32
#define REMARK_MAX 40
#define NV_NAMES_MAX 8
#define LETTER(c) (((c) & 0xff) > ' ' && ((c) & 0xff) < 127 ? (int) ((c) & 0xff) : '?')

static const char *format_size(uint64_t size, char ret[static FORMATTED_MAX]) {
        static const char units[] = "BKMGTPE";
        unsigned u = 0;
        uint64_t rest = 0;

        while (size >= 1024 && u < sizeof(units) - 2) {
                rest = size % 1024 * 10 / 1024;
                size /= 1024;
                u++;
        }
        if (u == 0)
                snprintf(ret, FORMATTED_MAX, "%" PRIu64 "B", size);
        else
                snprintf(ret, FORMATTED_MAX, "%" PRIu64 ".%" PRIu64 "%c", size, rest, units[u]);
        return ret;
}

/* The partition, or the address, or "-". */
static const char *format_target(const char *partition, bool has_address, uint64_t address, char ret[static 40]) {
        if (partition[0])
                snprintf(ret, 40, "%.36s", partition);
        else if (has_address)
                snprintf(ret, 40, "0x%" PRIx64, address);
        else
                strcpy(ret, "-");
        return ret;
}

static void print_list(FILE *out, const char *title, char **list, size_t n) {
        if (n == 0)
                return;
        fprintf(out, "\n%s\n", title);
        for (size_t i = 0; i < n; i++)
                fprintf(out, "  - %s\n", list[i]);
}

/* ---- packages ------------------------------------------------------------------------------------------- */

static const char *file_state(const PacFile *file) {
        if (file->flag == 2)
                return "ignored";
        if (!file->selected)
                return "not ticked";
        return pac_file_is_loader(file) ? "loader" : file->has_data ? "file" : "operation";
}

static const char *unit_word(int unit) {
        static const char *const words[] = {"MiB", "512 KiB", "KiB", "bytes", "sectors"};

        return unit >= 0 && unit < (int) ELEMENTSOF(words) ? words[unit] : "MiB";
}

static void print_files(const Pac *pac, FILE *out) {
        char size[FORMATTED_MAX], target[40];

        fprintf(out, "\n%-16s %-14s %-20s %9s  %-10s %s\n", "ID", "TYPE", "TARGET", "SIZE", "STATE", "FILE");
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;
                const PacBlock *b = file->n_blocks > 0 ? file->blocks : NULL;

                fprintf(out, "%-16s %-14s %-20s %9s  %s", file->id, file->type,
                        format_target(b ? b->name : "", b != NULL, b ? b->base : 0, target),
                        file->has_data ? format_size(file->size, size) : "-", file_state(file));
                if (file->file_name[0])
                        fprintf(out, "%*s %s", (int) (10 - strlen(file_state(file))), "", file->file_name);
                fputc('\n', out);
        }
}

static void print_nv(const Pac *pac, FILE *out) {
        size_t kept = 0;

        fprintf(out, "NV:         %s", pac->nv_backup_enabled ? "kept" : "not kept");
        for (size_t i = 0; pac->nv_backup_enabled && i < pac->n_nv_items; i++) {
                if (!pac->nv_items[i].backup)
                        continue;
                if (kept < NV_NAMES_MAX)
                        fprintf(out, "%s%s", kept ? ", " : ": ", pac->nv_items[i].name);
                kept++;
        }
        if (kept > NV_NAMES_MAX)
                fprintf(out, " and %zu more", kept - NV_NAMES_MAX);
        fputc('\n', out);
}

void inspect_print(const Pac *pac, FILE *out) {
        char size[FORMATTED_MAX];
        bool two = pac->flash_type_id != 0;

        fprintf(out, "Product:    %s\n", pac->product);
        fprintf(out, "Version:    %s\n", pac->product_version);
        fprintf(out, "Alias:      %s\n", pac->alias);
        fprintf(out, "Family:     %s\n", pac_family(pac));
        fprintf(out, "Format:     %s, %s, checksums 0x%04x 0x%04x\n", pac->version, format_size(pac->size, size),
                pac->crc1, pac->crc2);
        fprintf(out, "Flash:      %s%s\n", two ? "NAND, eMMC or UFS" : "NOR",
                pac->second_enumeration ? "; the device comes back on another port after the first loader" : "");
        print_nv(pac, out);
        print_files(pac, out);
        if (pac->n_partitions > 0)
                fprintf(out, "\n%-36s %12s\n", "PARTITION", unit_word(pac->partition_unit));
        for (size_t i = 0; i < pac->n_partitions; i++) {
                if (pac->partitions[i].size == U64_UNKNOWN)
                        fprintf(out, "%-36s %12s\n", pac->partitions[i].name, "the rest");
                else
                        fprintf(out, "%-36s %12" PRIu64 "\n", pac->partitions[i].name, pac->partitions[i].size);
        }
        print_list(out, "Warnings:", pac->warnings, pac->n_warnings);
}

static void add(struct json_object *o, const char *key, struct json_object *value) {
        json_object_object_add(o, key, value);
}

static void add_text(struct json_object *o, const char *key, const char *text) {
        add(o, key, json_object_new_string(text));
}

static void add_number(struct json_object *o, const char *key, uint64_t v) {
        add(o, key, json_object_new_uint64(v));
}

static void add_bool(struct json_object *o, const char *key, bool v) {
        add(o, key, json_object_new_boolean(v));
}

static void add_texts(struct json_object *o, const char *key, char **list, size_t n) {
        struct json_object *array = json_object_new_array();

        for (size_t i = 0; i < n; i++)
                json_object_array_add(array, json_object_new_string(list[i]));
        add(o, key, array);
}

static void add_digest(struct json_object *o, const uint8_t digest[static 32]) {
        static const uint8_t none[32];
        char hex[65];

        if (memcmp(digest, none, 32) == 0)
                return;
        bytes_to_hex(digest, 32, hex);
        add_text(o, "sha256", hex);
}

static struct json_object *file_to_json(const PacFile *file) {
        struct json_object *o = json_object_new_object();

        add_text(o, "id", file->id);
        add_text(o, "type", file->type);
        if (file->n_blocks > 0 && file->blocks[0].name[0])
                add_text(o, "partition", file->blocks[0].name);
        if (file->n_blocks > 0)
                add_number(o, "address", file->blocks[0].base);
        if (file->n_blocks > 0)
                add_number(o, "argument", file->blocks[0].size);
        add_text(o, "file", file->file_name);
        add_number(o, "size", file->size);
        if (file->has_data)
                add_number(o, "offset", file->offset);
        add_bool(o, "selected", file->selected);
        add_bool(o, "can_omit", file->can_omit);
        add_number(o, "flag", file->flag);
        add_bool(o, "mandatory", file->check_flag == 1);
        if (file->backup >= 0)
                add_bool(o, "backup", file->backup);
        add_bool(o, "loader", pac_file_is_loader(file));
        add_digest(o, file->sha256);
        return o;
}

static void add_nv_items(struct json_object *o, const PacNvItem *items, size_t n) {
        struct json_object *array = json_object_new_array();

        for (size_t i = 0; i < n; i++) {
                struct json_object *item = json_object_new_object();

                add_text(item, "name", items[i].name);
                if (items[i].id != UINT32_MAX)
                        add_number(item, "id", items[i].id);
                add_bool(item, "keep", items[i].backup);
                add_bool(item, "continue", items[i].use && items[i].keep_going);
                json_object_array_add(array, item);
        }
        add(o, "nv_items", array);
}

static void add_partitions(struct json_object *o, const PacPartition *partitions, size_t n, int unit) {
        struct json_object *array = json_object_new_array();

        for (size_t i = 0; i < n; i++) {
                struct json_object *p = json_object_new_object();

                add_text(p, "name", partitions[i].name);
                if (partitions[i].size != U64_UNKNOWN)
                        add_number(p, "size", partitions[i].size);
                add_number(p, "gap", (uint64_t) partitions[i].gap);
                json_object_array_add(array, p);
        }
        add(o, "partitions", array);
        if (n > 0)
                add_text(o, "partition_unit", unit_word(unit));
}

struct json_object *inspect_to_json(const Pac *pac) {
        struct json_object *o = json_object_new_object(), *files = json_object_new_array();

        add_text(o, "format", pac->version);
        add_text(o, "product", pac->product);
        add_text(o, "version", pac->product_version);
        add_text(o, "alias", pac->alias);
        add_text(o, "family", pac_family(pac));
        add_text(o, "scheme", pac->scheme);
        add_number(o, "size", pac->size);
        add_number(o, "crc1", pac->crc1);
        add_number(o, "crc2", pac->crc2);
        add_number(o, "flash_type", pac->flash_type_id);
        add_bool(o, "nv_backup", pac->nv_backup_enabled);
        add_bool(o, "reboot_by_at", pac->reboot_by_at);
        add_bool(o, "second_enumeration", pac->second_enumeration);
        for (size_t i = 0; i < pac->n_files; i++)
                json_object_array_add(files, file_to_json(pac->files + i));
        add(o, "files", files);
        add_partitions(o, pac->partitions, pac->n_partitions, pac->partition_unit);
        add_nv_items(o, pac->nv_items, pac->n_nv_items);
        add_texts(o, "warnings", pac->warnings, pac->n_warnings);
        return o;
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static bool has_target(const PlanStep *step) {
        return step->id[0] != '\0' && step->op != PLAN_CHECK;
}

static const char *step_size(const PlanStep *step, char ret[static FORMATTED_MAX]) {
        switch (step->op) {
        case PLAN_LOAD:
        case PLAN_BACKUP:
        case PLAN_WRITE:
        case PLAN_WRITE_NV:
        case PLAN_CHECK_NV:
        case PLAN_INITIALISE:
                return format_size(step->size, ret);
        case PLAN_VERIFY:
                return format_size(plan_step_bytes(step), ret);
        case PLAN_ERASE: /* of logical places the number is no size */
                return !step->partition[0] && step->address < 0xfe000000 && step->size > 0
                               ? format_size(step->size, ret)
                               : "-";
        default:
                return "-";
        }
}

/* Places that only the loaders of modules know. */
static const char *erase_remark(const PlanStep *step, char ret[static REMARK_MAX]) {
        uint32_t name = (uint32_t) step->size;

        if (step->partition[0] || step->address < 0xfe000000)
                return "";
        switch (step->address) {
        case 0xfe000001:
                return "running NV";
        case 0xfe000005:
                return "application image";
        case 0xfe000006:
                snprintf(ret, REMARK_MAX, "formats the file system %c%c%c%c", LETTER(name), LETTER(name >> 8),
                         LETTER(name >> 16), LETTER(name >> 24));
                return ret;
        default:
                return "";
        }
}

static const char *variant_remark(const PlanStep *step, char ret[static REMARK_MAX]) {
        snprintf(ret, REMARK_MAX, "only on %.30s", step->variant + (strncmp(step->variant, "rf:", 3) == 0 ? 3 : 1));
        return ret;
}

static const char *step_remark(const PlanStep *step, char ret[static REMARK_MAX]) {
        if (step->variant[0])
                return variant_remark(step, ret);
        switch (step->op) {
        case PLAN_BACKUP:
                return step->optional             ? "read twice, stored, if the unit has it"
                       : step->checks_calibration ? "read twice, stored; must be calibrated"
                                                  : "read twice, stored";
        case PLAN_WRITE_NV:
                return step->backup >= 0 ? "merged with the unit's own" : "as in the package";
        case PLAN_SERIAL:
                return "given, from a list or a range, or asked for";
        case PLAN_INITIALISE:
                return "made anew, with the serial number; read back";
        case PLAN_CHECK_NV:
                return "read back and compared, at most 3 rounds";
        case PLAN_REPARTITION:
                return "only if the unit's differs; saved before, read back";
        case PLAN_ENTER:
                return "only if it is not in download mode yet";
        case PLAN_EXAMINE_TABLE:
                return "both copies, against the source";
        case PLAN_REPAIR_TABLE:
                return "only if it is broken and nothing moves; read back";
        case PLAN_EXAMINE:
                return "all that follows, against the source";
        case PLAN_REPAIR:
                return streq(step->partition, "misc") ? "only the block that chooses the slot, if it is broken" : "only if it is broken; read back";
        case PLAN_RESTORE:
                return "only what a change of the table has moved";
        case PLAN_VERIFY:
                return step->sample > 0 && step->sample < step->size ? "read back in pieces and compared" : "read back and compared";
        case PLAN_REENUMERATE:
                return "the device leaves and comes back";
        case PLAN_CHECK:
        case PLAN_KEEP_CHARGE:
                return step->optional ? "if the loader can" : "must be possible";
        case PLAN_ERASE:
                return plan_erases_all(step) ? "all of the flash" : erase_remark(step, ret);
        default:
                return step->storage[0] ? "only on this kind of storage" : "";
        }
}

static void print_step(const PlanStep *step, size_t number, FILE *out) {
        char size[FORMATTED_MAX], target[40], text[REMARK_MAX];
        const char *remark = step_remark(step, text);

        fprintf(out, "%4zu %-12s %-16s %-20s %9s%s%s%s%s%s\n", number, plan_op_to_string(step->op),
                step->id[0] ? step->id : "-",
                format_target(step->partition, has_target(step), step->address, target), step_size(step, size),
                remark[0] || step->critical ? "  " : "", remark, step->storage[0] ? ": " : "", step->storage,
                !step->critical ? "" : remark[0] ? "; critical" : "critical");
}

/* ---- choices: what holds where nothing is said ---- */

typedef void (*ChoiceFunc)(const char *name, const char *value, const char *option, void *userdata);

static const char *files_chosen(const PlanOptions *o) {
        if (o->mode == FLASH_MODE_RESEARCH)
                return o->choice.include[0] ? o->choice.include : "none";
        return o->choice.include[0] ? "as the package has them ticked, and those included" : "as the package has them ticked";
}

static const char *nv_chosen(const PlanOptions *o) {
        if (o->choice.nv != CHOICE_AS_MODE)
                return o->choice.nv == CHOICE_YES ? "the unit's own calibration is kept" : "all is the package's";
        return o->mode == FLASH_MODE_UPGRADE   ? "the unit's own calibration is kept"
               : o->mode == FLASH_MODE_FACTORY ? "all is the package's"
                                               : "the unit's own calibration is kept if the package says so";
}

static const char *tri(ChoiceTri t, bool otherwise) {
        return (t == CHOICE_AS_MODE ? otherwise : t == CHOICE_YES) ? "yes" : "no";
}

static void choices_foreach(const PlanOptions *o, ChoiceFunc fn, void *userdata) {
        static const char *const finish[] = {[FINISH_RESET] = "reset", [FINISH_POWER_OFF] = "power-off", [FINISH_NOTHING] = "nothing"};
        bool research = o->mode == FLASH_MODE_RESEARCH;

        fn("mode", flash_mode_to_string(o->mode), "--mode=upgrade|factory|research", userdata);
        fn("files", files_chosen(o), "--include=ID,…", userdata);
        fn("left out", o->choice.exclude[0] ? o->choice.exclude : "none", "--exclude=ID,…", userdata);
        fn("repartition", o->repartition ? "if the table differs" : "no", "--repartition", userdata);
        fn("erase all first", tri(o->choice.erase_all, false), o->mode == FLASH_MODE_UPGRADE ? "never in upgrade" : "--erase-all", userdata);
        fn("table check", o->repartition ? "decides about repartition" : tri(o->choice.table_check, true), research ? "--table-check=no" : "with research", userdata);
        fn("NV", nv_chosen(o), research ? "--nv=keep|package" : "with research", userdata);
        fn("stamps", tri(o->choice.stamps, !research), "--stamps=yes|no", userdata);
        fn("keep charge", o->choice.keep_charge_try ? "try" : tri(o->choice.keep_charge, false), "--keep-charge=yes|try|no", userdata);
        fn("checks", o->choice.check[0] ? o->choice.check : o->mode == FLASH_MODE_UPGRADE ? "calibration, where NV is written" : "none", "--checks=CHECK,…", userdata);
        fn("checks if possible", o->choice.try_check[0] ? o->choice.try_check : "none", "--try-checks=CHECK,…", userdata);
        fn("raw data", o->raw == RAW_DATA_ON ? "on" : o->raw == RAW_DATA_OFF ? "off" : "as RawData= of fdld.conf says", "--raw=on|off", userdata);
        fn("verify", (int) o->verify < 0 ? "as Verify= of fdld.conf says" : verify_level_to_string(o->verify), "--verify=ack|sample|critical|full", userdata);
        fn("finish", finish[o->finish], "--finish=reset|power-off|nothing", userdata);
        fn("packages with warnings", o->allow_warnings ? "used" : "refused", "--allow-warnings", userdata);
        fn("backup before erase, table, NV", "always", "cannot be changed", userdata);
}

static void print_choice(const char *name, const char *value, const char *option, void *userdata) {
        fprintf(userdata, "  %-31s %-50s %s\n", name, value, option);
}

void choices_print(const PlanOptions *o, FILE *out) {
        fputs("Choices:\n", out);
        choices_foreach(o, print_choice, out);
}

static void add_choice(const char *name, const char *value, const char *option, void *userdata) {
        struct json_object *o = json_object_new_object();

        add_text(o, "choice", name);
        add_text(o, "value", value);
        add_text(o, "option", option);
        json_object_array_add(userdata, o);
}

static struct json_object *choices_to_json(const PlanOptions *o) {
        struct json_object *array = json_object_new_array();

        choices_foreach(o, add_choice, array);
        return array;
}

void plan_print(const Plan *plan, FILE *out) {
        char size[FORMATTED_MAX];
        bool critical = false;

        fprintf(out, "Mode:       %s\n", flash_mode_to_string(plan->options.mode));
        fprintf(out, "Verify:     %s\n", verify_level_to_string(plan->options.verify));
        fprintf(out, "Family:     %s, %s\n", plan->family, plan->single_loader ? "one loader" : "two loaders");
        fprintf(out, "Bytes:      %s over the wire\n", format_size(plan->bytes_total, size));
        if (plan->not_executable[0])
                fprintf(out, "Cannot run: %s\n", plan->not_executable);
        print_list(out, "Warnings:", plan->warnings, plan->n_warnings);
        fprintf(out, "\n%4s %-12s %-16s %-20s %9s  %s\n", "STEP", "WHAT", "ITEM", "TARGET", "SIZE", "REMARK");
        for (size_t i = 0; i < plan->n_steps; i++) {
                critical = critical || plan->steps[i].critical;
                print_step(plan->steps + i, i, out);
        }
        if (critical)
                fputs("\nA unit that fails at a critical step may not start any more: it must be flashed again.\n", out);
        print_list(out, "Lost:", plan->lost, plan->n_lost);
        print_list(out, "Kept:", plan->kept, plan->n_kept);
        print_list(out, "Notes:", plan->notes, plan->n_notes);
        fputc('\n', out);
        choices_print(&plan->options, out);
}

static struct json_object *step_to_json(const PlanStep *step, size_t index) {
        struct json_object *o = json_object_new_object();

        add_number(o, "step", index);
        add_text(o, "op", plan_op_to_string(step->op));
        add_text(o, "stage", stage_to_string(step->stage));
        if (step->id[0])
                add_text(o, "id", step->id);
        if (step->partition[0])
                add_text(o, "partition", step->partition);
        else if (has_target(step))
                add_number(o, "address", step->address);
        if (has_target(step) && step->op != PLAN_EXEC)
                add_number(o, step->op == PLAN_ERASE ? "argument" : "size", step->size);
        if (step->offset != U64_UNKNOWN)
                add_number(o, "offset", step->offset);
        if (step->block > 0)
                add_number(o, "block", step->block);
        if (step->backup >= 0)
                add_number(o, "backup", (uint64_t) step->backup);
        if (step->op == PLAN_VERIFY)
                add_number(o, "read_back", plan_step_bytes(step));
        if (step->storage[0])
                add_text(o, "storage", step->storage);
        if (step->variant[0])
                add_text(o, "variant", step->variant);
        add_bool(o, "destructive", step->destructive);
        add_bool(o, "critical", step->critical);
        add_bool(o, "optional", step->optional);
        return o;
}

struct json_object *plan_to_json(const Plan *plan) {
        struct json_object *o = json_object_new_object(), *steps = json_object_new_array();

        add_text(o, "mode", flash_mode_to_string(plan->options.mode));
        add_text(o, "verify", verify_level_to_string(plan->options.verify));
        add_text(o, "family", plan->family);
        add_bool(o, "single_loader", plan->single_loader);
        add_bool(o, "executable", !plan->not_executable[0]);
        if (plan->not_executable[0])
                add_text(o, "refused", plan->not_executable);
        add_number(o, "bytes", plan->bytes_total);
        for (size_t i = 0; i < plan->n_steps; i++)
                json_object_array_add(steps, step_to_json(plan->steps + i, i));
        add(o, "steps", steps);
        add_partitions(o, plan->partitions, plan->n_partitions, plan->partition_unit);
        add_nv_items(o, plan->nv_items, plan->n_nv_items);
        add_texts(o, "lost", plan->lost, plan->n_lost);
        add_texts(o, "kept", plan->kept, plan->n_kept);
        add_texts(o, "notes", plan->notes, plan->n_notes);
        add(o, "choices", choices_to_json(&plan->options));
        add_texts(o, "warnings", plan->warnings, plan->n_warnings);
        return o;
}
