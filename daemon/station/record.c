/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/record.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "common/hex.h"
#include "station/evidence.h"
#include "station/steps-internal.h"
#include "station/trail.h"

#define RECORD_VERSION 1

bool record_wanted(const Job *job) {
        return !streq(job->kind, "import");
}

/* ---- small things for JSON ---- */

static void add(struct json_object *o, const char *key, struct json_object *value) {
        json_object_object_add(o, key, value);
}

static void add_text(struct json_object *o, const char *key, const char *value) {
        if (value && value[0])
                add(o, key, json_object_new_string(value));
}

static void add_number(struct json_object *o, const char *key, uint64_t value) {
        if (value != U64_UNKNOWN)
                add(o, key, json_object_new_uint64(value));
}

static void add_hex(struct json_object *o, const char *key, const uint8_t sha256[static 32]) {
        char text[65];

        bytes_to_hex(sha256, 32, text);
        add_text(o, key, text);
}

/* ---- parts ---- */

static struct json_object *text_array(const char *const *list) {
        struct json_object *a = json_object_new_array();

        for (; *list; list++)
                json_object_array_add(a, json_object_new_string(*list));
        return a;
}

/* What became of the unit, how it was found, and what was seen around it. */
static void add_outlook(struct json_object *o, const Failure *f) {
        const char *words[SITUATION_MAX + 1];
        size_t n = 0;

        for (int s = 0; s < SITUATION_MAX; s++)
                if (failure_has(f, (Situation) s))
                        words[n++] = situation_to_string((Situation) s);
        words[n] = NULL;
        add_text(o, "device_state", aftermath_to_string(f->aftermath));
        if (n > 0)
                add(o, "situation", text_array(words));
        add_text(o, "verdict", verdict_to_string(f->verdict));
        add(o, "safe_to_unplug", json_object_new_boolean(verdict_safe_to_unplug(f->verdict)));
        add(o, "bootable", json_object_new_boolean(verdict_bootable(f->verdict)));
        add(o, "must_reflash", json_object_new_boolean(f->must_reflash));
}

static void add_explanation(struct json_object *o, const Failure *f) {
        char code[FAILURE_CODE_MAX];
        Explanation x = {};

        if (f->class == CLASS_NONE)
                return;
        explanation_of(f, &x);
        add_text(o, "code", failure_code(f, code));
        add_text(o, "summary", x.summary);
        add(o, "causes", text_array(x.causes));
        add(o, "actions", text_array(x.actions));
}

static struct json_object *failure_object(const Failure *f) {
        struct json_object *o = json_object_new_object();

        add_text(o, "class", fail_class_to_string(f->class));
        add_text(o, "stage", stage_to_string(f->stage));
        if (f->step >= 0)
                add_number(o, "step", (uint64_t) f->step);
        add_text(o, "command", f->command);
        if (f->reply >= 0)
                add_number(o, f->pdl ? "pdl_reply" : "reply", (uint64_t) f->reply);
        add_text(o, "partition", f->partition);
        add_number(o, "offset", f->offset);
        add_number(o, "address", f->address);
        add_number(o, "bytes_done", f->bytes_done);
        if (f->deadline_ms > 0)
                add_number(o, "deadline_ms", f->deadline_ms);
        if (f->waited_ms > 0)
                add_number(o, "waited_ms", f->waited_ms);
        if (f->attempts > 0)
                add_number(o, "attempts", f->attempts);
        add_outlook(o, f);
        add_text(o, "text", f->text);
        add_explanation(o, f);
        return o;
}

static struct json_object *stages_array(const JobTrail *t) {
        struct json_object *a = json_object_new_array();

        for (size_t i = 0; i < t->n_stages; i++) {
                const TrailStage *s = t->stages + i;
                struct json_object *o = json_object_new_object();
                add_text(o, "stage", stage_to_string(s->stage));
                add_number(o, "started_usec", s->started_usec);
                add_number(o, "usec", s->usec);
                add_number(o, "bytes", s->bytes);
                add_number(o, "times", s->times);
                if (s->usec > 0 && s->bytes > 0)
                        add_number(o, "rate", (uint64_t) ((double) s->bytes * 1e6 / (double) s->usec));
                json_object_array_add(a, o);
        }
        return a;
}

static struct json_object *file_object(const PlanStep *step, const PacFile *file) {
        struct json_object *o = json_object_new_object();
        char address[24];

        add_text(o, "id", step->id);
        add_text(o, "partition", step->partition);
        if (!step->partition[0]) {
                snprintf(address, sizeof(address), "0x%llx", (unsigned long long) step->address);
                add_text(o, "address", address);
        }
        add_number(o, "size", file->size);
        add_hex(o, "sha256", file->sha256);
        return o;
}

static void add_sum(struct json_object *a, const JobSteps *steps, const char *key, const char *partition, uint64_t address) {
        const StepSum *sum = steps_find_sum(steps, key);
        struct json_object *o;
        char text[24];

        if (!sum)
                return;
        o = json_object_new_object();
        add_text(o, "id", key);
        add_text(o, "partition", partition);
        if (!partition[0]) {
                snprintf(text, sizeof(text), "0x%llx", (unsigned long long) address);
                add_text(o, "address", text);
        }
        add_number(o, "size", sum->size);
        add_text(o, "sha256", sum->sha256);
        json_object_array_add(a, o);
}

/* What a job made of steps sends: files of the client, and loaders. */
static void add_attached(struct json_object *record, const JobSteps *steps) {
        struct json_object *loaders = json_object_new_array(), *files = json_object_new_array();

        add_sum(loaders, steps, "fdl1", "", steps->input.loader[0].address);
        add_sum(loaders, steps, "fdl2", "", steps->input.loader[1].address);
        for (size_t i = 0; i < steps->n_steps; i++)
                if (steps->steps[i].kind == STEP_WRITE)
                        add_sum(files, steps, steps->steps[i].file, steps->steps[i].partition, steps->steps[i].address);
        add(record, "loaders", loaders);
        add(record, "files", files);
}

/* What the plan takes out of the package: loaders apart from what goes into flash. */
static void add_files(struct json_object *record, const Job *job) {
        struct json_object *loaders, *files;
        const Plan *plan = job->plan;

        if (job->run->steps) {
                add_attached(record, job->run->steps);
                return;
        }
        if (!plan || !job->package || !job->package->pac)
                return;
        loaders = json_object_new_array();
        files = json_object_new_array();
        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                const PacFile *file = s->op == PLAN_LOAD || s->op == PLAN_WRITE || s->op == PLAN_WRITE_NV
                                              ? pac_find_file(job->package->pac, s->id)
                                              : NULL;
                if (file && file->has_data)
                        json_object_array_add(s->op == PLAN_LOAD ? loaders : files, file_object(s, file));
        }
        add(record, "loaders", loaders);
        add(record, "files", files);
}

static struct json_object *package_object(const Job *job) {
        struct json_object *o = json_object_new_object();
        const Pac *pac = job->package ? job->package->pac : NULL;

        add_text(o, "sha256", job->digest);
        add_text(o, "name", job->package_name);
        if (pac) {
                add_text(o, "product", pac->product);
                add_text(o, "version", pac->product_version);
                add_text(o, "family", pac_family(pac));
        }
        return o;
}

/* Of a job that the end of the daemon broke off only its row is left, and what that tells of the unit. */
#define FLASH_MARK "flash:"

static const char *chip_of(const Job *job) {
        if (job->run->trail)
                return trail_find(job, "chip-uid");
        return strncmp(job->run->unit, FLASH_MARK, strlen(FLASH_MARK)) == 0 ? "" : job->run->unit;
}

/* Facts that say who the unit is; the rest is kept under its own keys. */
static struct json_object *unit_object(const Job *job) {
        struct json_object *o = json_object_new_object();
        const JobTrail *t = job->run->trail;
        char id[16];

        if (!t) {
                add_text(o, "chip-uid", chip_of(job));
                if (!chip_of(job)[0] && job->run->unit[0])
                        add_text(o, "flash-uid", job->run->unit + strlen(FLASH_MARK));
                return o;
        }
        snprintf(id, sizeof(id), "%04x:%04x", t->vendor, t->product);
        add_text(o, "usb_id", id);
        add_text(o, "usb_speed", t->speed);
        add_text(o, "hub_speed", t->hub_speed);
        for (size_t i = 0; i < t->n_facts; i++)
                if (!trail_of_job(t->facts[i].key))
                        add_text(o, t->facts[i].key, t->facts[i].value);
        return o;
}

static uint64_t rate_of(const Job *job) {
        uint64_t usec = job_duration_usec(job);

        return usec == 0 ? 0 : (uint64_t) ((double) job->bytes_done * 1e6 / (double) usec);
}

static struct json_object *loaders_object(const JobRun *run) {
        static const char *const words[] = {[LOADERS_WORKED] = "worked", [LOADERS_FAILED] = "failed"};
        struct json_object *o = json_object_new_object();

        add_text(o, "hash", run->loaders);
        add_text(o, "model", run->model);
        add_text(o, "outcome", words[run->loaders_outcome]);
        return o;
}

static void add_outcome(struct json_object *o, const Job *job, const StoreJob *row) {
        add_text(o, "result", job_result_to_string(row->result));
        add_text(o, "code", job->code);
        if (job->failure.class != CLASS_NONE || job->failure.must_reflash)
                add(o, "failure", failure_object(&job->failure));
        if (station_has_evidence(job->station, job->id)) {
                char name[EVIDENCE_NAME_MAX];
                add_text(o, "evidence", evidence_name(job->id, name));
        }
        add_text(o, "note", job->note);
        add_number(o, "created_usec", job->created_usec);
        add_number(o, "started_usec", job->started_usec > 0 ? job->started_usec : U64_UNKNOWN);
        add_number(o, "finished_usec", job->finished_usec);
        add_number(o, "bytes_done", job->bytes_done);
        add_number(o, "bytes_total", job->bytes_total);
        add_number(o, "rate", rate_of(job));
        add_number(o, "duration_usec", job_duration_usec(job));
        add_number(o, "retries", job->retries);
        add_number(o, "retry_of", job->retry_of > 0 ? job->retry_of : U64_UNKNOWN);
        if (job->run->trail)
                add(o, "stages", stages_array(job->run->trail));
}

static struct json_object *record_object(const Job *job, const StoreJob *row, const StoreRecord *r) {
        struct json_object *o = json_object_new_object();

        add_number(o, "version", RECORD_VERSION);
        add_text(o, "id", r->id);
        add_number(o, "job", job->id);
        add_text(o, "kind", job->kind);
        add_text(o, "station", station_name(job->station));
        add_text(o, "operator", job->operator_name);
        add_text(o, "slot", r->label);
        add_text(o, "port", r->port);
        add_number(o, "uid", job->uid);
        if (job->batch > 0)
                add_number(o, "batch", job->batch);
        if (job->digest[0])
                add(o, "package", package_object(job));
        if (streq(job->kind, "flash"))
                add_text(o, "mode", flash_mode_to_string(job->options.mode));
        add_text(o, "plan", trail_find(job, "plan"));
        add_text(o, "verify", trail_find(job, "verify"));
        add_text(o, "skipped", trail_find(job, "skipped"));
        add_text(o, "expanded", trail_find(job, "expanded"));
        add_text(o, "limits", trail_find(job, "limits"));
        add(o, "unit", unit_object(job));
        add_outcome(o, job, row);
        add_files(o, job);
        if (job->run->loaders[0])
                add(o, "loader_pair", loaders_object(job->run));
        return o;
}

/* ---- columns ---- */

static int random_uuid(char ret[static 37]) {
        uint8_t b[16];

        if (getrandom(b, sizeof(b), 0) != (ssize_t) sizeof(b))
                return -EIO;
        b[6] = (uint8_t) ((b[6] & 0x0f) | 0x40); /* version 4, RFC 9562 */
        b[8] = (uint8_t) ((b[8] & 0x3f) | 0x80);
        snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
                 b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
        return 0;
}

static void fill_columns(const Job *job, const StoreJob *row, StoreRecord *r) {
        const char *written = trail_find(job, "serial-written"), *seen = trail_find(job, "serial");

        r->job = job->id;
        r->batch = job->batch;
        r->started_usec = job->started_usec;
        r->finished_usec = job->finished_usec;
        snprintf(r->kind, sizeof(r->kind), "%s", job->kind);
        snprintf(r->result, sizeof(r->result), "%s", job_result_to_string(row->result));
        snprintf(r->code, sizeof(r->code), "%s", job->code);
        snprintf(r->port, sizeof(r->port), "%s", row->port[0] ? row->port : row->target_port);
        snprintf(r->label, sizeof(r->label), "%s", job->slot ? job->slot->label : "");
        snprintf(r->digest, sizeof(r->digest), "%s", job->digest);
        snprintf(r->serial, sizeof(r->serial), "%.64s", written[0] ? written : seen);
        snprintf(r->serial_seen, sizeof(r->serial_seen), "%.64s", seen);
        snprintf(r->chip, sizeof(r->chip), "%.128s", chip_of(job));
        memcpy(r->loaders, job->run->loaders, sizeof(r->loaders));
        memcpy(r->model, job->run->model, sizeof(r->model));
        r->outcome = job->run->loaders_outcome;
}

int record_make(const Job *job, const StoreJob *row, StoreRecord *ret) {
        struct json_object *o;
        StoreRecord r = {};
        int e;

        e = random_uuid(r.id);
        if (e < 0)
                return e;
        fill_columns(job, row, &r);
        o = record_object(job, row, &r);
        r.json = strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(o);
        if (!r.json)
                return -ENOMEM;
        *ret = r;
        return 0;
}

/* ---- export ---- */

char *record_line(const StoreRecord *r) {
        char *line;

        if (asprintf(&line, "{\"seq\":%" PRIu64 ",\"previous\":\"%s\",\"hash\":\"%s\"%s%s\n", r->seq, r->previous, r->hash,
                     r->json[0] == '{' && r->json[1] != '}' ? "," : "", r->json[0] == '{' ? r->json + 1 : "}") < 0)
                return NULL;
        return line;
}

/* Where a column comes from: a path in the JSON ("unit.storage"). */
static const struct {
        const char *name, *path;
        bool time;
} csv_columns[] = {
        {"seq", NULL, false}, {"id", "id", false}, {"job", "job", false}, {"kind", "kind", false},
        {"result", "result", false}, {"code", "code", false}, {"started", "started_usec", true},
        {"finished", "finished_usec", true}, {"station", "station", false}, {"operator", "operator", false},
        {"batch", "batch", false}, {"slot", "slot", false}, {"port", "port", false}, {"package", "package.name", false},
        {"package_sha256", "package.sha256", false}, {"product", "package.product", false},
        {"version", "package.version", false}, {"mode", "mode", false}, {"serial", "unit.serial-written", false},
        {"serial_seen", "unit.serial", false}, {"chip", "unit.chip-uid", false}, {"flash", "unit.flash-uid", false},
        {"storage", "unit.storage", false}, {"loader", "unit.loader-version", false}, {"verify", "verify", false},
        {"plan", "plan", false}, {"bytes", "bytes_done", false}, {"rate", "rate", false}, {"retry_of", "retry_of", false},
        {"uid", "uid", false}, {"text", "failure.text", false}, {"note", "note", false}, {"hash", NULL, false},
};

const char *record_csv_header(void) {
        static const char header[] =
                "seq,id,job,kind,result,code,started,finished,station,operator,batch,slot,port,package,package_sha256,product,version,"
                "mode,serial,serial_seen,chip,flash,storage,loader,verify,plan,bytes,rate,retry_of,uid,text,note,hash\r\n";

        return header;
}

static struct json_object *find_path(struct json_object *o, const char *path) {
        char part[32];

        for (; o && *path; path += strcspn(path, "."), path += *path == '.') {
                snprintf(part, sizeof(part), "%.*s", (int) strcspn(path, "."), path);
                if (!json_object_object_get_ex(o, part, &o))
                        return NULL;
        }
        return o;
}

/* A cell that a spreadsheet would take for a formula gets an apostrophe; quotes are doubled. */
static void print_cell(FILE *out, const char *text) {
        bool formula = text[0] && strchr("=+-@\t\r", text[0]) != NULL;

        if (!formula && !strpbrk(text, "\",\r\n")) {
                fputs(text, out);
                return;
        }
        fputc('"', out);
        if (formula)
                fputc('\'', out);
        for (; *text; text++) {
                if (*text == '"')
                        fputc('"', out);
                fputc(*text, out);
        }
        fputc('"', out);
}

/* ISO 8601, UTC: sorts as text and needs no explanation. */
static void print_time(FILE *out, uint64_t usec) {
        time_t seconds = (time_t) (usec / 1000000);
        char text[32];
        struct tm tm;

        if (!gmtime_r(&seconds, &tm) || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                return;
        fprintf(out, "%s.%03uZ", text, (unsigned) (usec / 1000 % 1000));
}

static void print_column(FILE *out, size_t i, const StoreRecord *r, struct json_object *o) {
        struct json_object *value = csv_columns[i].path ? find_path(o, csv_columns[i].path) : NULL;

        if (streq(csv_columns[i].name, "seq"))
                fprintf(out, "%" PRIu64, r->seq);
        else if (streq(csv_columns[i].name, "hash"))
                fputs(r->hash, out);
        else if (value && csv_columns[i].time)
                print_time(out, json_object_get_uint64(value));
        else if (value)
                print_cell(out, json_object_get_string(value));
}

char *record_csv(const StoreRecord *r) {
        struct json_object *o = json_tokener_parse(r->json);
        size_t size = 0;
        char *text = NULL;
        FILE *out = open_memstream(&text, &size);

        if (!out) {
                json_object_put(o);
                return NULL;
        }
        for (size_t i = 0; i < ELEMENTSOF(csv_columns); i++) {
                if (i > 0)
                        fputc(',', out);
                print_column(out, i, r, o);
        }
        fputs("\r\n", out);
        json_object_put(o);
        if (fclose(out) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
