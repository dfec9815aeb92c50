/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/failure.h"

/* Traces of failed jobs: evidence/<job>.trace in the state directory. */

typedef struct EvidenceFile {
        uint64_t job, usec; /* when it was written */
} EvidenceFile;

#define EVIDENCE_NAME_MAX 48
/* "evidence/7.trace", in the state directory. */
const char *evidence_name(uint64_t job, char ret[static EVIDENCE_NAME_MAX]);

/* Makes the folder; removes what a killed writer left. *ret: malloc, oldest first. 0; -1 with *e. */
int evidence_files_open(const char *directory, EvidenceFile **ret, size_t *ret_n, CallError *e);
/* The rest blocks: for threads. 0 or -errno; *ret malloc, -ENOENT: there is none. */
int evidence_file_write(const char *directory, uint64_t job, const char *text, size_t size);
int evidence_file_read(const char *directory, uint64_t job, char **ret, size_t *ret_size);
void evidence_file_remove(const char *directory, uint64_t job);
/* A sealed memory file with the text, at its beginning; or -errno. */
int evidence_to_memory(const char *text, size_t size);
