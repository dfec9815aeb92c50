/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration of a package. */
#include <string.h>

#include "firmware/pac-internal.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Failure f = FAILURE_INIT;
        Pac *pac = calloc(1, sizeof(PacPrivate));

        MUST(pac);
        snprintf(pac->product, sizeof(pac->product), "UIS8910");
        if (pac_parse_xml(pac, (const char *) data, size, 0, &f) == 0) {
                MUST(pac->n_files <= PAC_FILES_MAX && pac->n_partitions <= PAC_PARTITIONS_MAX && pac->n_nv_items <= PAC_NV_ITEMS_MAX);
                for (size_t i = 0; i < pac->n_files; i++)
                        MUST(pac->files[i].n_blocks <= PAC_BLOCKS_MAX);
        } else
                MUST(f.text[0]);
        pac_free(pac);
        return 0;
}
