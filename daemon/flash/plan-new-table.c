/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan-steps.h"

#include <stdio.h>
#include <string.h>

/* A partition table that somebody gave, instead of that of a package: the same transaction (engine-repartition.c). */

#define MIB (1024U * 1024)
#define FIRST_START MIB      /* where loaders put the first partition if nobody says */
#define UNIT_BYTES 3
#define UNIT_SECTORS 4
#define OWN_MAX (64U * MIB)
#define BLOCK_READ 0x3000U

/* Boot areas that some loaders list, and none is told of. */
static bool is_outside(const char *name) {
        return streq(name, "splloader") || streq(name, "splloader_bak");
}

static bool divides(const StepsInput *in, uint64_t unit) {
        for (size_t i = 0; i < in->n_steps; i++)
                if (in->steps[i].length != U64_UNKNOWN && in->steps[i].length % unit != 0)
                        return false;
        return true;
}

/* Where everything stands one behind the other, as loaders place it by themselves, there is nothing to say. */
static bool needs_gaps(const StepsInput *in) {
        uint64_t at = FIRST_START;

        for (size_t i = 0; i < in->n_steps; i++) {
                const StepRequest *s = in->steps + i;

                if (is_outside(s->partition))
                        continue;
                if (s->offset == 0 || s->offset == U64_UNKNOWN)
                        return false; /* not known */
                if (s->offset != at)
                        return true;
                at += s->length;
        }
        return false;
}

static int choose_unit(const StepsInput *in) {
        int unit = in->pac && in->pac->n_partitions > 0 ? in->pac->partition_unit : -1;

        if (needs_gaps(in))
                return UNIT_BYTES;
        return unit != UNIT_SECTORS && divides(in, pac_partition_unit(unit)) ? unit : UNIT_BYTES;
}

int plan_give_table(const StepsInput *in, Plan *plan) {
        int chosen = choose_unit(in);
        uint64_t unit = pac_partition_unit(chosen), at = 0;
        bool gaps = needs_gaps(in);

        free(plan->partitions);
        plan->n_partitions = 0;
        plan->partition_unit = chosen;
        plan->partitions = calloc(in->n_steps, sizeof(PacPartition));
        if (!plan->partitions)
                return -ENOMEM;
        for (size_t i = 0; i < in->n_steps; i++) {
                const StepRequest *s = in->steps + i;
                PacPartition *p = plan->partitions + plan->n_partitions;

                if (is_outside(s->partition))
                        continue;
                plan->n_partitions++;
                snprintf(p->name, sizeof(p->name), "%s", s->partition);
                p->size = s->length == U64_UNKNOWN ? U64_UNKNOWN : s->length / unit;
                if (gaps && s->offset >= at && s->offset - at <= INT64_MAX)
                        p->gap = (int64_t) (s->offset - at);
                at = s->length == U64_UNKNOWN ? U64_UNKNOWN : s->offset + s->length;
        }
        return 0;
}

/* What only this unit has; of calibration the loader writes all copies from the first. */
static bool is_own(const char *name) {
        return partition_is_nv(name) ? !partition_is_running_nv(name) : partition_belongs_to(name, "prodnv") || partition_belongs_to(name, "miscdata") || partition_belongs_to(name, "calinv");
}

static bool has_nv_backup(const Plan *plan, const char *name) {
        const char *at = strstr(name, "fixnv");

        for (size_t i = 0; at && i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_BACKUP && strncmp(name, plan->steps[i].partition, (size_t) (at - name) + 5) == 0)
                        return true;
        return false;
}

static PlanStep *add(Plan *plan, PlanOp op, Stage stage, const char *id) {
        PlanStep *s = plan->steps + plan->n_steps++;

        *s = (PlanStep) {.op = op, .stage = stage, .backup = -1, .write = -1, .offset = U64_UNKNOWN};
        snprintf(s->id, sizeof(s->id), "%s", id);
        return s;
}

int plan_add_new_table(Plan *plan) {
        uint64_t unit = pac_partition_unit(plan->partition_unit);
        PlanStep *s;

        for (size_t i = 0; i < plan->n_partitions; i++) {
                const char *name = plan->partitions[i].name;

                if (!is_own(name) || has_nv_backup(plan, name))
                        continue;
                s = add(plan, PLAN_BACKUP, STAGE_BACKUP, name);
                snprintf(s->partition, sizeof(s->partition), "%s", name);
                s->size = OWN_MAX;
                if (plan->partitions[i].size < OWN_MAX / unit)
                        s->size = MAX(plan->partitions[i].size, (uint64_t) 1) * unit;
                s->block = BLOCK_READ;
                s->optional = true;
        }
        s = add(plan, PLAN_REPARTITION, STAGE_REPARTITION, "partition table");
        s->destructive = s->critical = true;
        s->force = true;
        add(plan, PLAN_RESTORE, STAGE_RESTORE, "");
        return 0;
}
