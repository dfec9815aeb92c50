/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

int digest_hex(const void *data, size_t size, char ret[static 65]) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL) != 1 || n != 32)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                snprintf(ret + 2 * i, 3, "%02x", digest[i]);
        return 0;
}
