/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "common/hex.h"

int digest_hex(const void *data, size_t size, char ret[static 65]) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL) != 1 || n != 32)
                return -ENOMEM;
        bytes_to_hex(digest, n, ret);
        return 0;
}

struct Digest {
        EVP_MD_CTX *context;
        bool failed;
};

Digest *digest_new(void) {
        Digest *d = calloc(1, sizeof(*d));

        if (!d)
                return NULL;
        d->context = EVP_MD_CTX_new();
        if (!d->context || EVP_DigestInit_ex(d->context, EVP_sha256(), NULL) != 1)
                return digest_free(d);
        return d;
}

void digest_update(Digest *d, const void *data, size_t size) {
        if (d && EVP_DigestUpdate(d->context, data, size) != 1)
                d->failed = true;
}

void digest_finish(Digest *d, char ret[static 65]) {
        uint8_t bytes[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        ret[0] = '\0';
        if (!d || d->failed || EVP_DigestFinal_ex(d->context, bytes, &n) != 1 || n != 32)
                return;
        bytes_to_hex(bytes, n, ret);
}

Digest *digest_free(Digest *d) {
        if (d) {
                EVP_MD_CTX_free(d->context);
                free(d);
        }
        return NULL;
}
