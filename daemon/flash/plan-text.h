/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

#include "firmware/pac.h"
#include "flash/plan.h"

/* Packages and plans for people and programs: `fdlctl inspect`, `fdlctl plan`, tests. Text goes out as lines; the JSON
 * objects belong to the caller (json_object_put), NULL without memory. Sizes in JSON are bytes; what is unknown is left
 * out. */

struct json_object;

void inspect_print(const Pac *pac, FILE *out);
struct json_object *inspect_to_json(const Pac *pac);

/* Every choice with what holds for it, and the option that changes it. verify VERIFY_LEVEL_INVALID: as the daemon's settings say. */
void choices_print(const PlanOptions *o, FILE *out);
void plan_print(const Plan *plan, FILE *out);
struct json_object *plan_to_json(const Plan *plan);
