/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sparse image, and what of it is told once it was found good. */
#include "firmware/sparse.h"
#include "fuzz.h"

typedef struct Told {
        uint64_t at, file;
} Told;

static int tell(void *userdata, uint64_t at, uint64_t size, uint64_t source, uint32_t fill) {
        Told *t = userdata;

        (void) fill;
        MUST(at >= t->at && at + size >= at);
        MUST(source == UINT64_MAX || (source <= t->file && size <= t->file - source));
        t->at = at + size;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        PacReader reader = pac_reader_for_memory(data, size);
        Failure f = FAILURE_INIT;
        SparseInfo info;
        Told told = {.file = size};
        uint64_t prefix;
        int r;

        (void) sparse_detect(data, size < SPARSE_HEAD_SIZE ? size : SPARSE_HEAD_SIZE, &prefix);
        r = sparse_check(&reader, size & 1 ? UINT64_MAX : 1u << 20, &info, &f);
        if (r == 1)
                MUST(f.text[0] && f.class != CLASS_NONE);
        if (r == 0) {
                MUST(sparse_data(&reader, tell, &told) == 0);
                MUST(told.at <= info.expanded);
        }
        return 0;
}
