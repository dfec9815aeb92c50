/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan.h"

/* What is read back after writing. A write is checked before the next begins: what comes later may change it for good reasons (file
 * systems that unpacked files go to, stamps), and the first boot stage, which comes last, is then only written over what was found
 * good. */

#define READ_BLOCK 0x3000u
#define ADDRESS_PREPACK 0xfe000004u

/* Pieces of 16 KiB: first, last, and evenly between. */
#define PIECE 0x4000u
#define PIECES 32u
#define SAMPLE (PIECES * PIECE)
#define ALIGN 0x1000u

static uint64_t piece_start(uint64_t total, uint64_t pieces, uint64_t i) {
        uint64_t room = total - PIECE;

        /* Without overflow for any size. */
        return (room / (pieces - 1) * i + room % (pieces - 1) * i / (pieces - 1)) / ALIGN * ALIGN;
}

bool plan_verify_piece(uint64_t total, uint64_t sample, uint64_t at, uint64_t *ret) {
        uint64_t pieces = sample / PIECE;

        *ret = total - at;
        if (pieces < 2 || total <= sample)
                return true;
        for (uint64_t i = 0; i < pieces; i++) {
                uint64_t start = piece_start(total, pieces, i);
                uint64_t end = i + 1 == pieces ? total : start + PIECE;

                if (at >= end)
                        continue;
                *ret = at < start ? start - at : end - at;
                return at >= start;
        }
        return false;
}

static bool checked_by_itself(const Plan *plan, size_t write) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_CHECK_NV && plan->steps[i].write == (int) write)
                        return true;
        return false;
}

static bool wants(const Plan *plan, size_t i) {
        const PlanStep *s = plan->steps + i;

        if (s->op != PLAN_WRITE && s->op != PLAN_WRITE_NV)
                return false;
        /* What the loader unpacks into file systems lies nowhere as it came. */
        return (s->partition[0] || s->address != ADDRESS_PREPACK) && !checked_by_itself(plan, i);
}

static PlanStep verify_step(const Plan *plan, const PlanStep *write, size_t index) {
        bool all = plan->options.verify == VERIFY_FULL || write->op == PLAN_WRITE_NV ||
                   (plan->options.verify == VERIFY_CRITICAL && write->boot_chain);
        PlanStep s = *write;

        s.op = PLAN_VERIFY;
        s.stage = STAGE_VERIFY;
        s.block = READ_BLOCK;
        s.backup = -1;
        s.write = (int) index;
        s.sample = all || write->size <= SAMPLE ? 0 : SAMPLE;
        s.destructive = s.optional = false;
        return s;
}

/* Without the writes themselves: who is it, what does it hold. NV is of the unit, not of the package. */
static bool is_for_check(const PlanStep *s, const PlanStep *before) {
        switch (s->op) {
        case PLAN_HANDSHAKE:
        case PLAN_LOAD:
        case PLAN_EXEC:
        case PLAN_REENUMERATE:
        case PLAN_IDENTIFY:
        case PLAN_FLASH_INFO:
        case PLAN_RF_TYPE:
        case PLAN_RESET:
        case PLAN_POWER_OFF:
                return true;
        case PLAN_VERIFY:
                return before->op == PLAN_WRITE;
        default:
                return false;
        }
}

static void drop_list(char ***list, size_t *n) {
        while (*n > 0)
                free((*list)[--*n]);
}

static void keep_checks(Plan *plan) {
        PlanStep before = {};
        size_t n = 0;

        for (size_t i = 0; i < plan->n_steps; i++) {
                PlanStep s = plan->steps[i];

                if (is_for_check(&s, &before)) {
                        plan->steps[n] = s;
                        plan->steps[n].write = -1;
                        plan->steps[n++].critical = false;
                }
                before = s;
        }
        plan->n_steps = n;
        drop_list(&plan->lost, &plan->n_lost);
        drop_list(&plan->kept, &plan->n_kept);
}

int plan_add_verify(Plan *plan) {
        size_t n = plan->n_steps, more = 0, *moved;
        PlanStep *steps;

        if (plan->options.check_only && plan->options.verify == VERIFY_ACK)
                plan->options.verify = VERIFY_FULL;
        if (plan->options.verify == VERIFY_ACK)
                return 0;
        for (size_t i = 0; i < n; i++)
                more += wants(plan, i);
        steps = reallocarray(NULL, n + more, sizeof(PlanStep));
        moved = reallocarray(NULL, n, sizeof(size_t));
        if (!steps || !moved) {
                free(steps);
                free(moved);
                return -ENOMEM;
        }
        for (size_t i = 0, to = 0; i < n; i++) {
                PlanStep *s = steps + to;

                *s = plan->steps[i];
                s->backup = s->backup >= 0 ? (int) moved[s->backup] : s->backup;
                s->write = s->write >= 0 ? (int) moved[s->write] : s->write;
                moved[i] = to++;
                if (wants(plan, i))
                        steps[to++] = verify_step(plan, s, moved[i]);
        }
        free(moved);
        free(plan->steps);
        plan->steps = steps;
        plan->n_steps = n + more;
        if (plan->options.check_only)
                keep_checks(plan);
        return 0;
}
