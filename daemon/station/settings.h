/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"
#include "firmware/phase-check.h"
#include "station/profile.h"

/* What one user, other than root, may have at a time. */
typedef struct UserLimits {
        unsigned jobs, drafts, imports, files; /* JobsPerUser= and so on; files: attached to jobs and open */
        uint64_t bytes;                 /* of packages in the store */
} UserLimits;

/* fdld.conf and its drop-ins (libinih). Unknown sections or keys are an error with file and line. */
typedef struct Settings {
        char station_name[64];      /* [Station] Name= */
        unsigned max_parallel_jobs; /* [Station] MaxParallelJobs=, 64 */
        VerifyLevel verify;         /* [Station] Verify=, critical: of jobs that do not say it */
        uint64_t package_quota;     /* [Store] PackageQuota= bytes, suffix K M G T; 16G */
        uint64_t spool_quota;       /* [Store] SpoolQuota= bytes of files attached to jobs; 16G */
        UserLimits limits;          /* [Limits] */
        BslDeadlines deadlines;     /* [Timeouts] SyncBromSec= … one key for each of BSL_DEADLINES, floors apply */
        bool fixed_deadlines;       /* [Timeouts] Learn=no: they are not made longer by what loaders have shown to need */
        char slot_options[64][160]; /* [Slot <ID_PATH>] AllowIds=0525:a4a7 : opt-in of foreign ids, "port ids" */
        size_t n_slot_options;
        char allow_ids[8][10]; /* [Devices] AllowIds=0525:a4a7 1782:4d16 : opt-in for every slot */
        size_t n_allow_ids;
        char soft_options[64][160]; /* [Slot <ID_PATH>] AllowSoftEntry=1782:4d03 : running systems that may be asked for download mode */
        size_t n_soft_options;
        char soft_ids[8][10];  /* [Devices] AllowSoftEntry= : the same for every slot */
        size_t n_soft_ids;
        bool resume_after_reboot; /* [Station] ResumeBatchesAfterReboot=no: batches are paused after a reboot */
        bool raw_data;            /* [Station] RawData=no */
        char stations[PHASE_STATIONS_MAX]; /* [Factory] Stations=DOWNLOAD */
        uint32_t answer_timeout_ms;        /* [Factory] AnswerTimeoutSec=600 */
        ProfileList profiles;     /* profiles.d */
} Settings;

void settings_default(Settings *s);
/* Reads <directory>/fdld.conf and <directory>/fdld.conf.d, every .conf in order of name. A missing file is no error. */
int settings_load(Settings *s, const char *directory, CallError *e);
