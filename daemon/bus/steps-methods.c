/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>

#include "bus/bus-internal.h"
#include "common/closer.h"
#include "station/steps.h"

/* AddSteps, AttachFiles, and what a job made of steps has read. */

#define FILES_PER_CALL_MAX 16 /* a stock bus takes no more descriptors in one message */

/* ---- AddSteps(a(sa{sv})) ---- */

static int parse_partition(const void *value, void *target, CallError *e) {
        StepRequest *s = target;

        if (text_check("partition", value, sizeof(s->partition) - 1, false, e) < 0)
                return -1;
        memcpy(s->partition, value, strlen(value) + 1);
        return 0;
}

static int parse_file(const void *value, void *target, CallError *e) {
        StepRequest *s = target;

        if (text_check("file", value, sizeof(s->file) - 1, false, e) < 0)
                return -1;
        memcpy(s->file, value, strlen(value) + 1);
        return 0;
}

static int parse_address(const void *value, void *target, CallError *e _unused_) {
        ((StepRequest *) target)->address = *(const uint64_t *) value;
        return 0;
}

static int parse_offset(const void *value, void *target, CallError *e _unused_) {
        ((StepRequest *) target)->offset = *(const uint64_t *) value;
        return 0;
}

static int parse_length(const void *value, void *target, CallError *e) {
        if (*(const uint64_t *) value == 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A step of length 0 does nothing.");
        ((StepRequest *) target)->length = *(const uint64_t *) value;
        return 0;
}

static int parse_any_image(const void *value, void *target, CallError *e _unused_) {
        ((StepRequest *) target)->any_image = *(const int *) value;
        return 0;
}

static int parse_exact(const void *value, void *target, CallError *e _unused_) {
        ((StepRequest *) target)->exact = *(const int *) value;
        return 0;
}

static int parse_optional(const void *value, void *target, CallError *e _unused_) {
        ((StepRequest *) target)->optional = *(const int *) value;
        return 0;
}

static int read_step(sd_bus_message *m, StepRequest *ret, CallError *e) {
        static const OptionSpec specs[] = {
                {"partition", 's', parse_partition}, {"address", 't', parse_address}, {"offset", 't', parse_offset},
                {"length", 't', parse_length},       {"file", 's', parse_file},       {"any-image", 'b', parse_any_image},
                {"exact", 'b', parse_exact},         {"optional", 'b', parse_optional},
        };
        StepRequest s = {.length = U64_UNKNOWN, .address = U64_UNKNOWN};
        const char *word;
        int r;

        r = sd_bus_message_read(m, "s", &word);
        if (r < 0)
                return r;
        s.kind = step_kind_from_string(word);
        if (s.kind == STEP_KIND_MAX)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "There is no step '%.32s'. Possible: write, read, erase; in jobs of kind repair: repair, table; of kind repartition: table.", word);
        if (options_read(m, specs, ELEMENTSOF(specs), &s, e) < 0)
                return -1;
        if (!s.partition[0] == (s.address == U64_UNKNOWN))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A step %s needs a partition or an address, one of them.", word);
        *ret = s;
        return 0;
}

static int read_steps(sd_bus_message *m, StepRequest *steps, size_t *n, CallError *e) {
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(sa{sv})");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', "sa{sv}")) > 0) {
                if (*n == STEPS_MAX)
                        return call_error_set(e, BUS_ERROR_QUOTA, "A job has at most %d steps.", STEPS_MAX);
                r = read_step(m, steps + (*n)++, e);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

int job_method_add_steps(Call *c) {
        _cleanup_free_ StepRequest *steps = calloc(STEPS_MAX, sizeof(StepRequest));
        size_t n = 0;
        int r;

        if (!steps)
                return -ENOMEM;
        if (job_is_old(c) < 0)
                return -1;
        r = read_steps(c->message, steps, &n, c->e);
        if (r < 0)
                return r;
        if (n == 0)
                return call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "The list of steps is empty.");
        if (job_add_steps(c->object->object, steps, n, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

/* ---- AttachFiles(a{sh}, a{sv}) ---- */

static int attach_one(Call *c, const char *key, int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        if (copy < 0)
                return -errno;
        if (text_check("key", key, 63, false, c->e) < 0 || job_attach_file(c->object->object, key, copy, c->e) < 0) {
                close_elsewhere(copy);
                return -1;
        }
        return 0;
}

int job_method_attach_files(Call *c) {
        const char *key;
        unsigned n = 0;
        int fd, r;

        if (job_is_old(c) < 0)
                return -1;
        r = sd_bus_message_enter_container(c->message, 'a', "{sh}");
        while (r >= 0 && (r = sd_bus_message_read(c->message, "{sh}", &key, &fd)) > 0) {
                if (n++ == FILES_PER_CALL_MAX)
                        return call_error_set(c->e, BUS_ERROR_QUOTA, "A call attaches at most %d files; make several.", FILES_PER_CALL_MAX);
                r = attach_one(c, key, fd);
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(c->message);
        if (r < 0)
                return r;
        if (options_none(c->message, c->e) < 0)
                return -1;
        return sd_bus_reply_method_return(c->message, NULL);
}

/* ---- Outputs a(sttsb): partition, where the reading began, bytes, SHA-256, all of what was asked for ---- */

static int append_output(sd_bus_message *m, const char *line) {
        unsigned long long skip, bytes;
        char subject[64], sum[65], whole[8];

        if (sscanf(line, "%63s %llu %llu %64s %7s", subject, &skip, &bytes, sum, whole) != 5)
                return 0;
        return sd_bus_message_append(m, "(sttsb)", subject, (uint64_t) skip, (uint64_t) bytes, sum, (int) streq(whole, "whole"));
}

int append_outputs(sd_bus_message *m, const Job *job) {
        const char *line = job_outputs(job);
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sttsb)");
        for (; r >= 0 && line && *line; line += strcspn(line, "\n"), line += *line == '\n')
                r = append_output(m, line);
        return r < 0 ? r : sd_bus_message_close_container(m);
}
