/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/engine-spool.h"

#include <fcntl.h>

#include "common/file-io.h"
#include "common/mapped-file.h"
#include "firmware/digest.h"

/* Below that a file costs more than it saves. */
#define SPOOL_MIN (64U * 1024)
/* Compared piece by piece, on the stack. */
#define PIECE_SIZE (8U * 1024)

struct EngineSpool {
        int fd;
        size_t size;
        Digest *digest;
        MappedFile *map; /* NULL not yet */
};

EngineSpool *engine_spool_for(const Engine *e, size_t size) {
        return e->hooks->backup_file && !engine_puts_back(e, e->step) ? engine_spool_new(e, size) : NULL;
}

EngineSpool *engine_spool_new(const Engine *e, size_t size) {
        _cleanup_(engine_spool_freep) EngineSpool *s = NULL;

        if (!e->hooks->spool || size < SPOOL_MIN)
                return NULL;
        s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        s->fd = e->hooks->spool(e->hooks->userdata, size);
        s->digest = digest_new();
        return s->fd >= 0 && s->digest ? TAKE_PTR(s) : NULL;
}

EngineSpool *engine_spool_free(EngineSpool *s) {
        if (!s)
                return NULL;
        mapped_file_unref(s->map);
        if (s->fd >= 0)
                close(s->fd);
        digest_free(s->digest);
        free(s);
        return NULL;
}

int engine_spool_put(EngineSpool *s, const uint8_t *data, size_t n) {
        int r = write_at(s->fd, data, n, s->size);

        digest_update(s->digest, data, n);
        s->size += n;
        return r;
}

int engine_spool_get(const EngineSpool *s, uint64_t at, uint8_t *data, size_t n) {
        size_t got;
        int r;

        if (at > s->size || n > s->size - at)
                return -EINVAL;
        r = read_at(s->fd, data, n, at, &got);
        return r < 0 ? r : got < n ? -EIO : 0;
}

int engine_spool_same(const EngineSpool *s, uint64_t at, const uint8_t *data, size_t n) {
        uint8_t was[PIECE_SIZE];

        if (at > s->size || n > s->size - at)
                return 0;
        for (size_t done = 0, k; done < n; done += k) {
                int r;

                k = MIN(n - done, sizeof(was));
                r = engine_spool_get(s, at + done, was, k);
                if (r < 0)
                        return r;
                if (memcmp(was, data + done, k) != 0)
                        return 0;
        }
        return 1;
}

int engine_spool_map(EngineSpool *s, const uint8_t **ret, size_t *ret_size) {
        int fd, r;

        *ret = NULL;
        *ret_size = s->size;
        if (s->size == 0)
                return 0;
        fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        r = mapped_file_take(fd, &s->map);
        if (r < 0) {
                close(fd);
                return r;
        }
        if (mapped_file_size(s->map) != s->size)
                return -EIO;
        *ret = mapped_file_data(s->map);
        return 0;
}

bool engine_spool_ok(const EngineSpool *s) {
        return !s->map || mapped_file_ok(s->map);
}

int engine_spool_store(Engine *e, EngineSpool *s, const char *name) {
        char sha256[65];

        s->map = mapped_file_unref(s->map);
        digest_finish(s->digest, sha256);
        if (!sha256[0])
                return -ENOMEM;
        return e->hooks->backup_file(e->hooks->userdata, e->step, name, TAKE_FD(s->fd), s->size, sha256);
}
