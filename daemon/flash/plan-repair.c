/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "firmware/image.h"
#include "flash/family.h"
#include "flash/plan.h"

/* What repairs a unit without flashing it: everything is looked at first, and of what is broken only the descriptor is written. */

#define BLOCK_NAME 0x5000u
#define BLOCK_ADDRESS 0x800u
#define BLOCK_READ 0x3000u
#define NV_HEADER 512u /* what a loader keeps before the image, and gives nobody */
#define BACKUP_MAX (64u * 1024 * 1024)

PlanStep plan_repair_step(const char *partition, uint64_t address, uint64_t offset, uint64_t size) {
        PlanStep s = {.op = PLAN_REPAIR, .stage = STAGE_WRITE, .backup = -1, .write = -1, .offset = offset, .size = size, .destructive = true};

        snprintf(s.partition, sizeof(s.partition), "%s", partition);
        if (partition[0])
                snprintf(s.id, sizeof(s.id), "%s", partition);
        else
                snprintf(s.id, sizeof(s.id), "0x%llx", (unsigned long long) address);
        s.address = address;
        s.block = partition[0] ? BLOCK_NAME : BLOCK_ADDRESS;
        s.boot_chain = s.critical = plan_is_boot_chain(partition, address);
        return s;
}

static bool is_for_repair(const PlanStep *s) {
        switch (s->op) {
        case PLAN_HANDSHAKE:
        case PLAN_LOAD:
        case PLAN_EXEC:
        case PLAN_REENUMERATE:
        case PLAN_IDENTIFY:
        case PLAN_FLASH_INFO:
        case PLAN_RF_TYPE:
                return true;
        default:
                return false;
        }
}

/* Places of modules that are no flash are not read back as they were sent. */
static bool can_be_looked_at(const PlanStep *s) {
        return s->op == PLAN_WRITE && s->size > 0 && !streq(s->partition, "misc") &&
               (s->partition[0] ? !partition_is_identity(s->partition) : s->address < 0xfe000000);
}

static PlanStep plain(PlanOp op, Stage stage, const char *id) {
        PlanStep s = {.op = op, .stage = stage, .backup = -1, .write = -1, .offset = U64_UNKNOWN};

        snprintf(s.id, sizeof(s.id), "%s", id);
        return s;
}

static PlanStep repair_of(const PlanStep *write) {
        PlanStep s = plan_repair_step(write->partition, write->address, write->offset, write->size);

        memcpy(s.id, write->id, sizeof(s.id));
        memcpy(s.storage, write->storage, sizeof(s.storage));
        memcpy(s.variant, write->variant, sizeof(s.variant));
        s.block = write->block;
        return s;
}

/* The boot stage that the ROM starts comes last, as everywhere. */
static bool is_first_stage(const PlanStep *s) {
        return s->partition[0] ? strncmp(s->partition, "splloader", 9) == 0 : s->address == 0x60000000 || s->address == 0x80000000;
}

static size_t add_repairs(const Plan *plan, PlanStep *to) {
        size_t n = 0;

        for (unsigned last = 0; last < 2; last++)
                for (size_t i = 0; i < plan->n_steps; i++)
                        if (can_be_looked_at(plan->steps + i) && is_first_stage(plan->steps + i) == (last == 1))
                                to[n++] = repair_of(plan->steps + i);
        return n;
}

/* A whole image of misc in the source tells the slot. */
static PlanStep misc_step(const Plan *plan) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_WRITE && streq(plan->steps[i].partition, "misc"))
                        return plan_repair_step("misc", 0, plan->steps[i].offset, plan->steps[i].size);
        return plan_repair_step("misc", 0, U64_UNKNOWN, 0);
}

/* ---- what the unit alone has, before its table is written ---- */

static bool is_kept(const PlanStep *steps, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (steps[i].op == PLAN_BACKUP && streq(steps[i].partition, name))
                        return true;
        return false;
}

static size_t add_backups(const Plan *plan, PlanStep *to) {
        size_t n = 0;

        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_BACKUP) {
                        to[n] = plan->steps[i];
                        to[n].checks_calibration = false;
                        to[n++].optional = true;
                }
        for (size_t i = 0; i < plan->n_partitions; i++) {
                const PacPartition *p = plan->partitions + i;
                uint64_t own = strstr(p->name, "fixnv") ? NV_HEADER : 0, bytes;

                if (!partition_is_identity(p->name) || (own > 0 && !partition_is_nv(p->name)) || is_kept(to, n, p->name) || p->size == U64_UNKNOWN ||
                    __builtin_mul_overflow(p->size, pac_partition_unit(plan->partition_unit), &bytes) || bytes > BACKUP_MAX || bytes <= own)
                        continue;
                to[n] = plain(PLAN_BACKUP, STAGE_BACKUP, p->name);
                snprintf(to[n].partition, sizeof(to[n].partition), "%s", p->name);
                to[n].size = bytes - own;
                to[n].block = BLOCK_READ;
                to[n++].optional = true;
        }
        return n;
}

static void drop_list(char ***list, size_t *n) {
        while (*n > 0)
                free((*list)[--*n]);
}

static int say_kept(Plan *plan) {
        char **all = reallocarray(plan->kept, 1, sizeof(char *));

        if (!all)
                return -ENOMEM;
        plan->kept = all;
        all[0] = strdup("Everything is looked at first; written again is only what is broken of the partition table, headers, loaders and the "
                        "block that chooses the slot. User data, calibration and identity are not touched.");
        plan->n_kept = all[0] ? 1 : 0;
        return all[0] ? 0 : -ENOMEM;
}

int plan_keep_repair(Plan *plan) {
        bool names = family_has_names(plan->family), table = names && plan->n_partitions > 0;
        PlanStep *steps = reallocarray(NULL, plan->n_steps + plan->n_partitions + 5, sizeof(PlanStep));
        size_t n = 0;

        if (!steps)
                return -ENOMEM;
        for (size_t i = 0; i < plan->n_steps; i++)
                if (is_for_repair(plan->steps + i))
                        steps[n++] = plan->steps[i];
        if (table)
                steps[n++] = plain(PLAN_EXAMINE_TABLE, STAGE_VERIFY, "partition table");
        if (table) {
                n += add_backups(plan, steps + n);
                steps[n] = plain(PLAN_REPAIR_TABLE, STAGE_REPARTITION, "partition table");
                steps[n].critical = steps[n].destructive = true;
                n++;
        }
        steps[n++] = plain(PLAN_EXAMINE, STAGE_VERIFY, "");
        if (names)
                steps[n++] = misc_step(plan);
        n += add_repairs(plan, steps + n);
        if (plan->options.finish != FINISH_NOTHING)
                steps[n++] = plain(plan->options.finish == FINISH_RESET ? PLAN_RESET : PLAN_POWER_OFF, STAGE_FINISH, "");
        free(plan->steps);
        plan->steps = steps;
        plan->n_steps = n;
        plan->chosen = true; /* the table is looked at by the repair itself, not refused */
        drop_list(&plan->lost, &plan->n_lost);
        drop_list(&plan->kept, &plan->n_kept);
        drop_list(&plan->notes, &plan->n_notes);
        return say_kept(plan);
}
