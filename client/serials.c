/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/macro.h"
#include "do.h"
#include "fdlctl.h"

#define LIST_MAX (1024U * 1024)

static int read_list(const char *file, char *text) {
        _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
        size_t used = 0;
        ssize_t n;

        if (fd < 0)
                return -errno;
        while ((n = read(fd, text + used, LIST_MAX + 1 - used)) > 0)
                used += (size_t) n;
        if (n < 0)
                return -errno;
        text[used] = '\0';
        return used > LIST_MAX ? -EFBIG : 0;
}

int serials_argument(char **ret) {
        _cleanup_free_ char *text = NULL;
        int r = 0;

        if (arg_serials[0] == '@') {
                text = malloc(LIST_MAX + 2);
                r = text ? read_list(arg_serials + 1, text) : -ENOMEM;
        } else
                text = strdup(arg_serials);
        if (r < 0)
                fprintf(stderr, "fdlctl: The serial numbers cannot be read from %s: %s.\n", arg_serials + 1, strerror(-r));
        if (r == 0 && !text)
                r = -ENOMEM;
        if (r == 0)
                *ret = TAKE_PTR(text);
        return r;
}
