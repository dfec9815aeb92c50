/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "bus/bus-internal.h"
#include "station/settings.h"
#include "station/steps.h"

/* How much of the station one user may take, so that the others find room. Root may take it all. What each caller (connection) may have
 * open is bounded besides. */

typedef enum Share { SHARE_NONE, SHARE_JOB, SHARE_DRAFT, SHARE_IMPORT, SHARE_FILE, SHARE_SUBMIT } Share;

static Share share_of(const Method *method) {
        static const struct {
                const char *member;
                Share share;
        } shares[] = {
                {"ImportPackage", SHARE_IMPORT}, {"CreateJob", SHARE_DRAFT}, {"Flash", SHARE_JOB}, {"Submit", SHARE_SUBMIT},
                {"Retry", SHARE_JOB},            {"Probe", SHARE_JOB},       {"Reset", SHARE_JOB},
                {"AttachFiles", SHARE_FILE},
        };

        for (size_t i = 0; i < ELEMENTSOF(shares); i++)
                if (streq(shares[i].member, method->member))
                        return shares[i].share;
        return SHARE_NONE;
}

typedef struct Usage {
        unsigned jobs, drafts, imports, files;
        uint64_t bytes;
} Usage;

static Usage usage_of(const Bus *b, uint32_t uid) {
        Usage u = {0};

        for (const Job *j = station_jobs(b->station); j; j = j->next) {
                if (j->uid != uid || j->state == JOB_STATE_FINISHED)
                        continue;
                u.files += job_files_held(j);
                u.bytes += job_bytes_held(j);
                if (j->state == JOB_STATE_DRAFT)
                        u.drafts++;
                else if (streq(j->kind, "import")) {
                        u.imports++;
                        u.bytes += j->bytes_total == U64_UNKNOWN ? 0 : j->bytes_total;
                } else
                        u.jobs++;
        }
        for (const Package *p = station_packages(b->station); p; p = p->next)
                u.bytes += p->imported_uid == uid ? p->size : 0;
        return u;
}

static int check_count(Call *c, unsigned used, unsigned limit, const char *what, const char *how, const char *setting) {
        if (used < limit)
                return 0;
        return call_error_set(c->e, BUS_ERROR_QUOTA, "This user already has %u %s, as many as %s= in [Limits] of fdld.conf allows. %s", used, what,
                              setting, how);
}

static int check_jobs(Call *c, const Usage *u, const UserLimits *l) {
        return check_count(c, u->jobs, l->jobs, "jobs that are not finished", "Wait for some, or cancel some.", "JobsPerUser");
}

static int check_bytes(Call *c, uint64_t used, uint64_t limit) {
        if (used < limit)
                return 0;
        return call_error_set(c->e, BUS_ERROR_QUOTA,
                              "The packages that this user imported and the files of this user's jobs take %" PRIu64 " MiB, as many as "
                              "BytesPerUser= in [Limits] of fdld.conf allows. Remove packages that are no longer needed, or wait for jobs.",
                              used >> 20);
}

int limits_check(Call *c, const Method *method) {
        Share share = share_of(method);
        const UserLimits *l;
        Usage u;
        int r;

        if (share == SHARE_NONE || call_authorised(c->bus, c->uid))
                return 0;
        l = station_limits(c->bus->station);
        u = usage_of(c->bus, c->uid);
        switch (share) {
        case SHARE_DRAFT:
                return check_count(c, u.drafts, l->drafts, "drafts", "Submit or cancel some.", "DraftsPerUser");
        case SHARE_FILE:
                return check_count(c, u.files, l->files, "files attached to jobs", "Submit or cancel some.", "FilesPerUser");
        case SHARE_IMPORT:
                r = check_count(c, u.imports, l->imports, "imports that are not finished", "Wait for one.", "ImportsPerUser");
                return r == 0 ? check_bytes(c, u.bytes, l->bytes) : r;
        case SHARE_SUBMIT:
                r = check_jobs(c, &u, l);
                return r == 0 && !c->object->old && job_files_held(c->object->object) > 0 ? check_bytes(c, u.bytes, l->bytes) : r;
        default:
                return check_jobs(c, &u, l);
        }
}
