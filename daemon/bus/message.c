/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "bus/bus-internal.h"

/* Length of the UTF-8 sequence at p as the bus accepts it, 0 if it is none. */
static size_t utf8_sequence(const unsigned char *p) {
        uint32_t c;
        size_t n;

        if (p[0] < 0x80)
                return 1;
        n = (p[0] & 0xe0) == 0xc0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : (p[0] & 0xf8) == 0xf0 ? 4 : 0;
        if (n == 0)
                return 0;
        c = p[0] & (0x7fU >> n);
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3fU);
        }
        if (c < (n == 2 ? 0x80U : n == 3 ? 0x800U : 0x10000U) || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        return n;
}

bool text_is_clean(const char *s) {
        for (size_t n; *s; s += n) {
                n = utf8_sequence((const unsigned char *) s);
                if (n == 0)
                        return false;
        }
        return true;
}

void text_mend(char *s) {
        for (size_t n; *s; s += n) {
                n = utf8_sequence((const unsigned char *) s);
                if (n == 0) {
                        *s = '?';
                        n = 1;
                }
        }
}

int append_string(sd_bus_message *m, const char *s) {
        _cleanup_free_ char *copy = NULL;

        if (!s || text_is_clean(s))
                return sd_bus_message_append_basic(m, 's', s ? s : "");
        copy = strdup(s);
        if (!copy)
                return -ENOMEM;
        text_mend(copy);
        return sd_bus_message_append_basic(m, 's', copy);
}

int append_object(sd_bus_message *m, ObjectKind kind, const void *object) {
        char buffer[BUS_PATH_MAX];

        return sd_bus_message_append_basic(m, 'o', object_path(kind, object, buffer));
}

static int open_pair(sd_bus_message *m, const char *key, const char *type) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', key);
        if (r < 0)
                return r;
        return sd_bus_message_open_container(m, 'v', type);
}

static int close_pair(sd_bus_message *m, int r) {
        if (r < 0)
                return r;
        r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int append_pair_string(sd_bus_message *m, const char *key, const char *value) {
        int r = open_pair(m, key, "s");
        return close_pair(m, r < 0 ? r : append_string(m, value));
}

int append_pair_object(sd_bus_message *m, const char *key, ObjectKind kind, const void *object) {
        int r = open_pair(m, key, "o");
        return close_pair(m, r < 0 ? r : append_object(m, kind, object));
}

int append_pair_u64(sd_bus_message *m, const char *key, uint64_t value) {
        return sd_bus_message_append(m, "{sv}", key, "t", value);
}

int append_pair_bool(sd_bus_message *m, const char *key, bool value) {
        return sd_bus_message_append(m, "{sv}", key, "b", (int) value);
}

int append_pair_int(sd_bus_message *m, const char *key, int32_t value) {
        return sd_bus_message_append(m, "{sv}", key, "i", value);
}

int append_pair_list(sd_bus_message *m, const char *key, const char *const *list, size_t n) {
        int r;

        r = open_pair(m, key, "as");
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; r >= 0 && i < n && list && list[i]; i++)
                r = append_string(m, list[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return close_pair(m, r);
}

/* Numbers are t, unknown ones UINT64_MAX, so that a client needs one rule for all. */
static int append_failure_numbers(sd_bus_message *m, const Failure *f) {
        const struct {
                const char *key;
                uint64_t value;
        } numbers[] = {
                {"step", f->step < 0 ? U64_UNKNOWN : (uint64_t) f->step},
                {"reply", f->reply < 0 ? U64_UNKNOWN : (uint64_t) f->reply},
                {"offset", f->offset},
                {"address", f->address},
                {"deadline_ms", f->deadline_ms},
                {"waited_ms", f->waited_ms},
                {"attempts", f->attempts},
                {"bytes_done", f->bytes_done},
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(numbers); i++)
                r = append_pair_u64(m, numbers[i].key, numbers[i].value);
        return r;
}

/* What became of the unit, how it was found, and what was seen around it. */
static int append_outlook(sd_bus_message *m, const Failure *f) {
        const char *words[SITUATION_MAX];
        size_t n = 0;
        int r;

        for (int s = 0; s < SITUATION_MAX; s++)
                if (failure_has(f, (Situation) s))
                        words[n++] = situation_to_string((Situation) s);
        r = append_pair_string(m, "verdict", verdict_to_string(f->verdict));
        if (r >= 0)
                r = append_pair_string(m, "device_state", aftermath_to_string(f->aftermath));
        if (r >= 0)
                r = append_pair_list(m, "situation", words, n);
        if (r >= 0)
                r = append_pair_bool(m, "safe_to_unplug", verdict_safe_to_unplug(f->verdict));
        if (r >= 0)
                r = append_pair_bool(m, "bootable", verdict_bootable(f->verdict));
        return r < 0 ? r : append_pair_bool(m, "must_reflash", f->must_reflash);
}

static int append_failure(sd_bus_message *m, const Job *job, const char *code, const Explanation *x) {
        const Failure *f = &job->failure;
        const char *stage = stage_to_string(f->stage), *class = fail_class_to_string(f->class);
        const struct {
                const char *key, *value;
        } strings[] = {
                {"class", class},        {"stage", stage}, {"command", f->command}, {"partition", f->partition},
                {"summary", x->summary}, {"code", code},
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(strings); i++)
                r = append_pair_string(m, strings[i].key, strings[i].value);
        if (r >= 0)
                r = append_failure_numbers(m, f);
        if (r >= 0)
                r = append_outlook(m, f);
        if (r >= 0 && station_has_evidence(job->station, job->id)) {
                char name[64];
                snprintf(name, sizeof(name), "evidence/%" PRIu64 ".trace", job->id);
                r = append_pair_string(m, "evidence", name);
        }
        if (r >= 0)
                r = append_pair_list(m, "causes", x->causes, EXPLANATION_LIST_MAX);
        return r < 0 ? r : append_pair_list(m, "actions", x->actions, EXPLANATION_LIST_MAX);
}

/* What earlier records say of it; left out where they say nothing. */
static int append_statistics(sd_bus_message *m, const Job *job) {
        const char *lines[EXPLANATION_LIST_MAX] = {};
        char text[sizeof(job->statistics)];
        size_t n = 0;

        if (!job->statistics[0])
                return 0;
        memcpy(text, job->statistics, sizeof(text));
        for (char *line = text, *end; line && n < EXPLANATION_LIST_MAX - 1; line = end) {
                end = strchr(line, '\n');
                if (end)
                        *end++ = '\0';
                lines[n++] = line;
        }
        return append_pair_list(m, "notes", lines, EXPLANATION_LIST_MAX);
}

static const char *job_code(const Job *job, char buffer[static FAILURE_CODE_MAX]) {
        return job->code[0] ? job->code : failure_code(&job->failure, buffer);
}

static const char *job_text(const Job *job, const Explanation *x) {
        return job->failure.text[0] ? job->failure.text : x->summary;
}

/* What reads back differently has a code of its own; else it matters most that the unit is between two firmwares. */
static int exit_code_of(const Failure *f, const Explanation *x) {
        bool read_back = f->stage == STAGE_VERIFY && f->class == CLASS_MISMATCH;

        return f->must_reflash && !read_back ? 10 : x->exit_code;
}

/* Of a job that was cancelled between its writes: no failure, but the unit is not whole. */
static int append_half_written(sd_bus_message *m, const Failure *f) {
        int r = append_pair_string(m, "stage", stage_to_string(f->stage));

        if (r >= 0)
                r = append_pair_string(m, "partition", f->partition);
        if (r >= 0)
                r = append_failure_numbers(m, f);
        return r < 0 ? r : append_outlook(m, f);
}

static int append_no_error(sd_bus_message *m, const Failure *f) {
        int r;

        if (!f->must_reflash)
                return sd_bus_message_append(m, "(ssa{sv})", "", "", 0);
        r = sd_bus_message_open_container(m, 'r', "ssa{sv}");
        if (r >= 0)
                r = append_string(m, "");
        if (r >= 0)
                r = append_string(m, f->text);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_half_written(m, f);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int append_error(sd_bus_message *m, const Job *job) {
        char buffer[FAILURE_CODE_MAX];
        Explanation x = {0};
        int r;

        if (job->failure.class == CLASS_NONE)
                return append_no_error(m, &job->failure);
        explanation_of(&job->failure, &x);
        r = sd_bus_message_open_container(m, 'r', "ssa{sv}");
        if (r >= 0)
                r = append_string(m, x.dbus_name);
        if (r >= 0)
                r = append_string(m, job_text(job, &x));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_failure(m, job, job_code(job, buffer), &x);
        if (r >= 0)
                r = append_statistics(m, job);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_stages(sd_bus_message *m, const Job *job) {
        JobStage stages[STAGE_MAX];
        size_t n = job_stages(job, stages);
        int r;

        r = open_pair(m, "stages", "a(sttt)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sttt)");
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append(m, "(sttt)", stage_to_string(stages[i].stage), stages[i].usec, stages[i].bytes,
                                          (uint64_t) stages[i].times);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return close_pair(m, r);
}

/* What the work was like, whether it went well or not. */
static int append_report(sd_bus_message *m, const Job *job) {
        uint64_t usec = job_duration_usec(job);
        int r;

        r = append_pair_u64(m, "duration_usec", usec);
        if (r >= 0)
                r = append_pair_u64(m, "rate", usec > 0 ? (uint64_t) ((double) job->bytes_done * 1e6 / (double) usec) : 0);
        if (r >= 0)
                r = append_pair_u64(m, "retries", job->retries);
        if (r >= 0)
                r = append_pair_string(m, "verified", job->verified);
        return r < 0 ? r : append_stages(m, job);
}

int append_result(sd_bus_message *m, const Job *job) {
        char buffer[FAILURE_CODE_MAX];
        Explanation x = {0};
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        if (job->failure.class == CLASS_NONE && job->failure.must_reflash) {
                r = append_half_written(m, &job->failure);
                if (r >= 0)
                        r = append_pair_string(m, "text", job->failure.text);
                if (r >= 0)
                        r = append_pair_int(m, "exit", 10);
        } else if (job->failure.class == CLASS_NONE)
                r = append_pair_u64(m, "bytes_done", job->bytes_done);
        else {
                explanation_of(&job->failure, &x);
                r = append_failure(m, job, job_code(job, buffer), &x);
                if (r >= 0)
                        r = append_statistics(m, job);
                if (r >= 0)
                        r = append_pair_string(m, "error", x.dbus_name);
                if (r >= 0)
                        r = append_pair_string(m, "text", job_text(job, &x));
                if (r >= 0)
                        r = append_pair_int(m, "exit", exit_code_of(&job->failure, &x));
        }
        if (r >= 0)
                r = append_report(m, job);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int new_reply(sd_bus_message *call, sd_bus_message **ret) {
        return sd_bus_message_new_method_return(call, ret);
}

int send_reply(sd_bus_message *reply) {
        return sd_bus_send(NULL, reply, NULL);
}

int reply_job(Call *c, Job *job) {
        char buffer[BUS_PATH_MAX];

        return sd_bus_reply_method_return(c->message, "to", job->id, job_path(job->id, buffer));
}
