/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "station/station.h"
#include "store/store.h"

/* A station without devices or store: it keeps what it is told in lists and writes down what it was asked to do. */
Station *fake_station_new(void);
void fake_station_free(Station *s);

/* The last request, as text: "flash slot=pci-0:1 package=00… mode=upgrade warnings=0 finish=0 uid=0". */
const char *fake_asked(Station *s);
void fake_forget(Station *s);
/* The next request fails with this. */
void fake_fail(Station *s, BusError error, const char *text);

Device *fake_add_device(Station *s, const char *port);
void fake_remove_device(Station *s, Device *d);
Slot *fake_add_slot(Station *s, const char *port);
Package *fake_add_package(Station *s, char digit, const char *name);
void fake_remove_package(Station *s, Package *p);
Job *fake_add_job(Station *s, const char *kind, JobState state, bool exported);
void fake_remove_job(Station *s, Job *job);
void fake_changed(Station *s, ObjectKind kind, void *object, const char *const *properties);
void fake_finish(Station *s, Job *job, JobResult result);
void fake_log(Station *s, Job *job, const char *line);
void fake_user_action(Station *s, Job *job, const char *action);
void fake_add_old_job(Station *s, uint64_t id, const char *port);
void fake_set_running(Station *s, unsigned n); /* 3 at first */
/* How often the disk was asked for them. */
unsigned fake_old_jobs_asked(const Station *s);
void fake_last_old_job_of(Station *s, const Package *p);
/* Answers the questions about old jobs that wait; false if there was none. */
bool fake_answer_old(Station *s);
unsigned fake_inhibitors(Station *s);
Batch *fake_add_batch(Station *s, const char *name);
Profile *fake_add_profile(Station *s);
