/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

/* Old binary cpio, unpacked while it streams. Whatever is wrong with it is skipped: the loader says ACK all the same.
 */

void cpio_stop(Cpio *c) {
        free(c->data);
        c->data = NULL;
        c->state = CPIO_OVER;
}

void cpio_start(Cpio *c) {
        cpio_stop(c);
        memset(c, 0, sizeof(*c));
        c->state = CPIO_HEAD;
}

/* Where a member goes: the first directory is the mount. */
static bool member_path(SimModel *m, const char *name, char *ret, size_t size) {
        static const char *const mounts[][2] = {{"modem/", "FMOD/"}, {"factory/", "FFAC/"}, {"ext/", "FEXT/"}};
        const char *base = "FSYS/";

        while (*name == '/')
                name++;
        for (size_t i = 0; i < COUNT(mounts); i++)
                if (strncmp(name, mounts[i][0], strlen(mounts[i][0])) == 0) {
                        name += strlen(mounts[i][0]);
                        base = mounts[i][1];
                        break;
                }
        if (!*name || strstr(name, "//") || name[strlen(name) - 1] == '/' ||
            (size_t) snprintf(ret, size, "%s%s", base, name) >= size)
                return false;
        for (char *p = ret; *p; p += strcspn(p, "/"), p += *p == '/')
                if (strncmp(p, "../", 3) == 0 || strcmp(p, "..") == 0 || strncmp(p, "./", 2) == 0 ||
                    strcmp(p, ".") == 0)
                        return false;
        for (char *slash = strchr(ret, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                if (store_mkdir(m, ret) < 0)
                        return false;
                *slash = '/';
        }
        return true;
}

static void finish_member(SimModel *m, Cpio *c) {
        char path[300];

        if (c->data) {
                if (member_path(m, c->name, path, sizeof(path)) && store_put(m, path, c->data, c->file_size) >= 0)
                        c->files++;
                else
                        c->skipped++;
                free(c->data);
                c->data = NULL;
        }
        c->state = CPIO_HEAD;
        c->fill = 0;
}

static void begin_data(SimModel *m, Cpio *c) {
        size_t limit = is_8910(m) ? 0x180000 : 0x190000;
        unsigned mode = le16at(c->head + 6);

        if (strcmp(c->name, "TRAILER!!!") == 0) {
                cpio_stop(c);
                return;
        }
        c->left = c->file_size + (c->file_size & 1);
        c->fill = 0;
        c->state = CPIO_DATA;
        if ((mode & 0170000) == 0040000)
                return;
        if (c->file_size > limit)
                c->skipped++;
        else
                c->data = malloc(c->file_size ? c->file_size : 1);
        if (c->left == 0)
                finish_member(m, c);
}

static bool read_head(Cpio *c) {
        if (le16at(c->head) != 0x71C7)
                return false;
        c->name_size = le16at(c->head + 20);
        c->file_size = le16at(c->head + 22) << 16 | le16at(c->head + 24);
        c->state = CPIO_NAME;
        c->fill = 0;
        return c->name_size > 0 && c->name_size <= sizeof(c->name);
}

void cpio_feed(SimModel *m, Cpio *c, const uint8_t *p, size_t n) {
        while (n && c->state != CPIO_OVER) {
                if (c->state == CPIO_DATA) {
                        size_t step = c->left < n ? c->left : n;
                        size_t room = c->data && c->fill < c->file_size ? c->file_size - c->fill : 0;

                        if (room)
                                memcpy(c->data + c->fill, p, step < room ? step : room);
                        c->fill += step;
                        c->left -= (uint32_t) step;
                        p += step;
                        n -= step;
                        if (c->left == 0)
                                finish_member(m, c);
                        continue;
                }
                if (c->state == CPIO_HEAD) {
                        c->head[c->fill++] = *p;
                        if (c->fill == sizeof(c->head) && !read_head(c))
                                cpio_stop(c);
                } else {
                        if (c->fill < c->name_size)
                                c->name[c->fill] = (char) *p;
                        if (++c->fill == c->name_size + (c->name_size & 1)) {
                                c->name[c->name_size - 1] = 0;
                                begin_data(m, c);
                        }
                }
                p++;
                n--;
        }
}
