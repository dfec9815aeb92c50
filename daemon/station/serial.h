/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/internal.h"

/* Where the serial number of a unit comes from, as text: "" it gets none, "ask" a person says it, "given:NUMBER" the job itself, "stock:ID"
 * the next free one of a list or range. Personal: never in a property or in the journal. Numbers are held by the store for as long as the
 * job runs, and used by a pass. Main thread. */

/* 0 and the source for a job with this plan; -1 with *e. What is to be chosen from goes into the store first. `wish`: NULL nothing was said. */
int serial_source(Station *s, const Plan *plan, const SerialWish *wish, char ret[static SERIAL_SOURCE_MAX], CallError *e);
/* A job that is queued with a number of its own: holds it, or ends the job because it is taken. */
void serial_hold(Job *job);
/* The worker wants to know. */
void serial_wanted(Job *job, unsigned max);
/* A person's answer: 0, and fn is called once it is known whether the number is free; -1 with *e. */
int serial_answer(Job *job, const char *value, JobAnswered fn, void *userdata, CallError *e);
/* The unit is gone: nobody need say a number for it any more. */
void serial_unit_left(Job *job);
/* The job is over. */
void serial_forget(Job *job);
