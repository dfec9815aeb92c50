/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "do.h"

/* A job made of steps, as it grows on the client's side: files are opened here and passed as descriptors. */

#define STEP_NAME_MAX 64

typedef struct Step {
        const char *op;            /* "write", "read", "erase" */
        char name[STEP_NAME_MAX];  /* partition, "" by address */
        uint64_t address, offset, length; /* length UINT64_MAX: all */
        char file[4096];           /* "" none */
        bool any_image, exact, optional;
} Step;

typedef struct StepJob {
        const char *kind;
        char package[PATH_TEXT_MAX]; /* "" none */
        struct {
                char file[4096];   /* "" none */
                uint64_t address;
        } fdl[2];
        bool checked;              /* an earlier job of the same verb has made the chosen checks and left the last loader running */
        char unit[65];             /* chip UID of the only unit that it is for, "" any */
        Step *steps;
        size_t n, room;
} StepJob;

/* From --package=, or --fdl1= and --fdl2=. Exit code. */
int steps_loaders(sd_bus *bus, struct json_object *objects, StepJob *ret);
/* "NAME", "0xADDRESS", "0xADDRESS+LENGTH"; with a file "…=FILE". NULL: no memory; else the new step. */
Step *steps_add(StepJob *j, const char *op);
int steps_parse_place(const char *text, size_t n, Step *ret); /* exit code */
void steps_free(StepJob *j);

/* What would be sent: a table, or JSON. */
void steps_show(const StepJob *j);
/* CreateJob, AttachFiles, AddSteps, Submit; reads go into the files as they are named, made if they are not there. Exit code. */
int steps_start(sd_bus *bus, const StepJob *j, const char *target, Paths *jobs);
/* Properties of a job that is over. Exit code. */
int steps_outputs(sd_bus *bus, const char *job, struct json_object **ret);
/* True if the user agrees to lose something: --yes, or typed on the terminal. Says what is missing otherwise. */
bool agree(const char *question);
