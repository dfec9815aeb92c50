/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "firmware/digest.h"
#include "flash/plan.h"

static void print_step(FILE *out, const PlanStep *s) {
        fprintf(out, "%s\t%s\t%s\t%s\t%" PRIx64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%d%d%d\n", plan_op_to_string(s->op),
                stage_to_string(s->stage), s->id, s->partition, s->address, s->size, s->offset, s->sample, s->storage, s->variant, s->destructive,
                s->optional, s->critical);
}

int plan_digest(const Plan *plan, char ret[static 65]) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        int r;

        if (!out)
                return -ENOMEM;
        fprintf(out, "%s\t%d\t%s\n", flash_mode_to_string(plan->options.mode), (int) plan->options.finish, plan->family);
        for (size_t i = 0; i < plan->n_steps; i++)
                print_step(out, plan->steps + i);
        r = fclose(out) == 0 ? digest_hex(text, size, ret) : -ENOMEM;
        free(text);
        return r;
}
