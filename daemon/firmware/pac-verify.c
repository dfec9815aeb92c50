/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <openssl/evp.h>

#include "common/hex.h"
#include "firmware/crc16.h"
#include "firmware/pac-internal.h"

#define CHUNK (1024u * 1024)

/* A range of the package with a digest of its own. They follow each other in order. */
typedef struct Range {
        uint64_t offset, size;
        PacFile *file;           /* whose sha256 it becomes, or … */
        const uint8_t *expected; /* … what it must be */
} Range;

struct PacVerifier {
        PacPrivate *private;
        EVP_MD_CTX *whole, *part;
        bool failed; /* of OpenSSL, without memory */
        bool changed;
        uint64_t at;
        uint16_t crc;
        size_t n_ranges, range;
        Range ranges[PAC_FILES_MAX + 2];
};

static int by_offset(const void *a, const void *b) {
        const Range *x = a, *y = b;

        return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void add_ranges(PacVerifier *v) {
        PacPrivate *private = v->private;

        v->ranges[v->n_ranges++] = (Range){0, private->head_size, NULL, private->head_sha256};
        for (size_t i = 0; i < private->pac.n_files; i++) {
                PacFile *file = private->pac.files + i;
                if (file->size > 0)
                        v->ranges[v->n_ranges++] = (Range){file->offset, file->size, file, NULL};
        }
        v->ranges[v->n_ranges++] = (Range){private->xml_offset, private->xml_size, NULL, private->xml_sha256};
        qsort(v->ranges, v->n_ranges, sizeof(Range), by_offset);
}

PacVerifier *pac_verifier_new(Pac *pac) {
        PacVerifier *v = calloc(1, sizeof(*v));

        if (!v)
                return NULL;
        v->private = (PacPrivate *) pac;
        v->whole = EVP_MD_CTX_new();
        v->part = EVP_MD_CTX_new();
        if (!v->whole || !v->part || !EVP_DigestInit_ex(v->whole, EVP_sha256(), NULL))
                return pac_verifier_free(v);
        add_ranges(v);
        return v;
}

PacVerifier *pac_verifier_free(PacVerifier *v) {
        if (!v)
                return NULL;
        EVP_MD_CTX_free(v->whole);
        EVP_MD_CTX_free(v->part);
        free(v);
        return NULL;
}

static void end_range(PacVerifier *v, Range *range) {
        uint8_t digest[EVP_MAX_MD_SIZE];

        if (!EVP_DigestFinal_ex(v->part, digest, NULL))
                v->failed = true;
        else if (range->file)
                memcpy(range->file->sha256, digest, 32);
        else if (memcmp(range->expected, digest, 32) != 0)
                v->changed = true;
        v->range++;
}

/* Feeds what lies within one range, or up to the next one; gives how much that was. */
static size_t feed_range(PacVerifier *v, const uint8_t *data, size_t size) {
        Range *range = v->ranges + v->range;
        uint64_t end;

        if (v->range >= v->n_ranges)
                return size;
        if (v->at < range->offset)
                return (size_t) MIN((uint64_t) size, range->offset - v->at);
        if (v->at == range->offset && !EVP_DigestInit_ex(v->part, EVP_sha256(), NULL))
                v->failed = true;
        end = range->offset + range->size;
        size = (size_t) MIN((uint64_t) size, end - v->at);
        if (!EVP_DigestUpdate(v->part, data, size))
                v->failed = true;
        if (v->at + size == end)
                end_range(v, range);
        return size;
}

/* How many of the next n bytes lie in the header, which the data checksum leaves out. */
static uint64_t in_header(const PacVerifier *v, uint64_t n) {
        return v->at < PAC_HEADER_SIZE ? MIN(n, PAC_HEADER_SIZE - v->at) : 0;
}

static void hash(PacVerifier *v, const uint8_t *p, size_t size) {
        if (!EVP_DigestUpdate(v->whole, p, size))
                v->failed = true;
        while (size > 0) {
                size_t n = feed_range(v, p, size);
                v->at += n;
                p += n;
                size -= n;
        }
}

void pac_verifier_update(PacVerifier *v, const void *data, size_t size) {
        size_t skip = (size_t) in_header(v, size);

        v->crc = crc16_arc(v->crc, (const uint8_t *) data + skip, size - skip);
        hash(v, data, size);
}

void pac_verifier_zeros(PacVerifier *v, uint64_t n) {
        static const uint8_t zeros[64 * 1024]; /* stays in the cache */

        v->crc = crc16_arc_zeros(v->crc, n - in_header(v, n));
        for (; n > 0; n -= MIN(n, (uint64_t) sizeof(zeros)))
                hash(v, zeros, (size_t) MIN(n, (uint64_t) sizeof(zeros)));
}

int pac_verifier_finish(PacVerifier *v, uint8_t ret_sha256[static 32], Failure *f) {
        const Pac *pac = &v->private->pac;
        uint8_t digest[EVP_MAX_MD_SIZE];

        if (v->failed || !EVP_DigestFinal_ex(v->whole, digest, NULL))
                return -ENOMEM;
        if (v->at != pac->size)
                return pac_refuse(f, "changed", "file", v->at, "it had %llu bytes when it was opened, now %llu came",
                                  (unsigned long long) pac->size, (unsigned long long) v->at);
        if (v->changed)
                return pac_refuse(f, "changed", "file", 0, "header, table or configuration changed while it was read");
        if (v->crc != pac->crc2)
                return pac_refuse(f, "crc2", "data checksum", 2122,
                                  "it is 0x%04x but the data give 0x%04x; the file is damaged", pac->crc2, v->crc);
        memcpy(ret_sha256, digest, 32);
        return 0;
}

int pac_verify(const PacReader *reader, Pac *pac, uint8_t ret_sha256[static 32], Failure *f) {
        _cleanup_(pac_verifier_freep) PacVerifier *v = pac_verifier_new(pac);
        _cleanup_free_ uint8_t *chunk = malloc(CHUNK);

        if (!v || !chunk)
                return -ENOMEM;
        for (uint64_t at = 0; at < reader->size;) {
                uint64_t data = reader->next_data ? reader->next_data(reader->userdata, at) : at;
                size_t n = (size_t) MIN(reader->size - at, (uint64_t) CHUNK);
                int r;

                if (data > at) {
                        data = MIN(data, reader->size);
                        pac_verifier_zeros(v, data - at);
                        at = data;
                        continue;
                }
                r = reader->read(reader->userdata, chunk, n, at);
                if (r != 0)
                        return r;
                pac_verifier_update(v, chunk, n);
                at += n;
        }
        return pac_verifier_finish(v, ret_sha256, f);
}

void pac_file_hash(const PacFile *file, char ret[static 65]) {
        static const uint8_t none[32];

        if (memcmp(file->sha256, none, sizeof(none)) == 0)
                ret[0] = '\0';
        else
                bytes_to_hex(file->sha256, sizeof(file->sha256), ret);
}
