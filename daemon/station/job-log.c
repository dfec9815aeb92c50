/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <time.h>

#include "station/internal.h"

/* The last lines of what the journal gets about a job, and what is too small for the journal, for those who follow it. */

#define LOG_MAX (16U * 1024)
/* Most jobs say little, and many finished ones can still be seen. */
#define LOG_STEP 1024U

const char *job_log(const Job *job) {
        return job->run && job->run->log ? job->run->log : "";
}

/* The oldest lines go. */
static void make_room(char *log, size_t n) {
        size_t have = strlen(log);
        char *rest;

        if (have + n < LOG_MAX)
                return;
        rest = strchr(log + MIN(have, n + LOG_MAX / 4), '\n');
        if (rest)
                memmove(log, rest + 1, strlen(rest + 1) + 1);
        else
                log[0] = '\0';
}

static void add_line(JobRun *run, const char *line) {
        size_t have, room;
        char *log;

        if (run->log)
                make_room(run->log, strlen(line));
        have = run->log ? strlen(run->log) : 0;
        room = (have + strlen(line)) / LOG_STEP * LOG_STEP + LOG_STEP;
        if (!run->log || room > have / LOG_STEP * LOG_STEP + LOG_STEP) {
                log = realloc(run->log, room);
                if (!log)
                        return;
                run->log = log;
        }
        strcpy(run->log + have, line);
}

static void on_log(void *userdata, int priority _unused_, const LogFields *fields, const char *text) {
        Station *s = userdata;
        Job *job = station_find_job(s, fields->job);
        uint64_t now = now_realtime();
        time_t seconds = (time_t) (now / 1000000);
        char line[1200], clean[1100], when[16] = "";
        struct tm tm;

        if (!job || !job->run)
                return;
        if (localtime_r(&seconds, &tm))
                strftime(when, sizeof(when), "%H:%M:%S", &tm);
        text_clean(clean, sizeof(clean), text);
        snprintf(line, sizeof(line), "%s.%03u %s\n", when, (unsigned) (now / 1000 % 1000), clean);
        add_line(job->run, line);
        if (s->observer.job_log)
                s->observer.job_log(s->observer.userdata, job, line);
}

void job_log_listen(Station *s) {
        log_set_listener(s ? on_log : NULL, s);
}
