/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-private.h"

#include <stdio.h>

#include "firmware/digest.h"

/* Flash into an output of the job, hashed on the way. */

static int put(Engine *e, const PlanStep *s, uint64_t at, const uint8_t *data, size_t n) {
        int r;

        if (!e->hooks->output)
                return -EINVAL;
        r = e->hooks->output(e->hooks->userdata, s->output, at, data, n);
        if (r >= 0 || r == -ECANCELED)
                return MIN(r, 0);
        e->text_complete = true;
        failure_set_errno(e->failure, r, "what was read of %s could not be written to the output at byte %llu: %s", engine_subject(s),
                          (unsigned long long) at, strerror(-r));
        return 1;
}

static int read_all(Engine *e, const PlanStep *s, uint64_t size, Digest *digest, uint64_t *ret_done) {
        uint32_t block = engine_read_block(e, s);
        uint64_t at = 0;

        while (at < size) {
                size_t n = (size_t) MIN(size - at, block);
                const uint8_t *data;
                int r;

                *ret_done = at;
                if (engine_cancelled(e))
                        return -ECANCELED;
                e->offset = s->skip + at;
                r = engine_view_part(e, s, s->skip + at, n, &data);
                if (r == 0)
                        r = put(e, s, at, data, n);
                if (r != 0)
                        return r;
                digest_update(digest, data, n);
                at += n;
                engine_progress(e, at);
        }
        *ret_done = at;
        return 0;
}

/* Also of what was cut off: so much is good, and a later job may go on from there. */
static void tell(Engine *e, const PlanStep *s, uint64_t done, Digest *digest, int r) {
        char sum[65];

        digest_finish(digest, sum);
        if (done > 0)
                engine_fact(e, "read", "%u %llu %llu %s %s %s", s->output, (unsigned long long) s->skip, (unsigned long long) done, sum,
                            r == 0 ? "whole" : "part", engine_subject(s));
}

int engine_output(Engine *e) {
        const PlanStep *s = engine_step(e);
        uint64_t size = e->sizes[e->step], done = 0;
        Digest *digest = digest_new();
        int r = 0;

        if (!digest)
                return -ENOMEM;
        if (s->partition[0])
                r = bsl_read_start(e->session, s->partition, s->skip + size, e->failure);
        if (r == 0)
                r = read_all(e, s, size, digest, &done);
        if (r == 0 && s->partition[0])
                r = bsl_read_end(e->session, e->failure);
        tell(e, s, done, digest, r);
        digest_free(digest);
        return r;
}
