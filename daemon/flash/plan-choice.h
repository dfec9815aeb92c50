/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "flash/plan.h"

/* A copy of the package's list of files in which those are selected that a job will do something for, by mode and choice (malloc). 0; 1 with *f
 * (an id that the package does not have, a loader left out, nothing chosen); -ENOMEM. */
int plan_choose_files(const Pac *pac, const PlanOptions *options, PacFile **ret, Failure *f);
