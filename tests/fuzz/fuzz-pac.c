/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole package, and the plans that come of it. With the last byte odd its sums are made right first. */
#include <string.h>

#include "firmware/pac.h"
#include "flash/plan.h"
#include "fuzz.h"
#include "pacmaker/pacmaker.h"

#define HEADER 2124

static void mend(uint8_t *data, size_t size) {
        uint16_t crc;

        if (size < HEADER)
                return;
        crc = pm_crc(0, data + HEADER, size - HEADER);
        data[HEADER - 2] = (uint8_t) crc;
        data[HEADER - 1] = (uint8_t) (crc >> 8);
        crc = pm_crc(0, data, HEADER - 4);
        data[HEADER - 4] = (uint8_t) crc;
        data[HEADER - 3] = (uint8_t) (crc >> 8);
}

static void plans(const Pac *pac) {
        static const FlashMode modes[] = {FLASH_MODE_UPGRADE, FLASH_MODE_FACTORY, FLASH_MODE_RESEARCH};

        for (unsigned i = 0; i < 6; i++) {
                Failure f = FAILURE_INIT;
                Plan *plan = NULL;
                int r = plan_make(pac, &(PlanOptions){.mode = modes[i % 3], .allow_warnings = i >= 3, .display_only = i >= 3}, &plan, &f);

                MUST(r == 0 || r == 1);
                if (r == 1)
                        MUST(f.text[0] && f.class != CLASS_NONE);
                if (r == 0)
                        for (size_t k = 0; k < plan->n_steps; k++) {
                                const PlanStep *s = plan->steps + k;
                                if (s->op == PLAN_WRITE && s->offset != UINT64_MAX && s->offset < pac->size)
                                        MUST(s->size <= pac->size - s->offset);
                        }
                plan_free(plan);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t *copy = malloc(size ? size : 1), digest[32];
        PacReader reader;
        Failure f = FAILURE_INIT;
        Pac *pac = NULL;
        int r;

        MUST(copy);
        memcpy(copy, data, size);
        reader = pac_reader_for_memory(copy, size);
        if (size > 0 && data[size - 1] & 1)
                mend(copy, size);
        r = pac_parse(&reader, &pac, &f);
        MUST(r <= 1);
        if (r == 1)
                MUST(f.text[0] && f.class != CLASS_NONE);
        if (r == 0) {
                for (size_t i = 0; i < pac->n_files; i++)
                        if (pac->files[i].has_data)
                                MUST(pac->files[i].offset <= size && pac->files[i].size <= size - pac->files[i].offset);
                (void) pac_verify(&reader, pac, digest, &f);
                plans(pac);
        }
        pac_free(pac);
        free(copy);
        return 0;
}
