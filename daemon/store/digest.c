/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/digest.h"

#include <openssl/evp.h>

#include "store/state-directory.h"

int digest_hex(const void *data, size_t size, char ret[static 65]) {
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL) != 1 || n != 32)
                return -ENOMEM;
        bytes_to_hex(digest, n, ret);
        return 0;
}
