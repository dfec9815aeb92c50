/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/variant.h"

#include <stdio.h>
#include <strings.h>

/* A name in its parts: "system" "_b128k_p2k" ".img". The middle is what varies. */
typedef struct Parts {
        size_t prefix, middle; /* lengths */
        const char *extension;
} Parts;

static const char *extension_of(const char *name) {
        const char *dot = strrchr(name, '.');

        return dot ? dot : name + strlen(name);
}

static size_t put_size(char *to, size_t room, char letter, uint32_t bytes) {
        return (size_t) snprintf(to, room, "_%c%u%s", letter, bytes >= 1024 ? bytes / 1024 : bytes, bytes >= 1024 ? "k" : "");
}

void variant_flash_key(uint32_t block, uint32_t page, char ret[static VARIANT_KEY_MAX]) {
        size_t n = put_size(ret, VARIANT_KEY_MAX, 'b', block);

        put_size(ret + n, VARIANT_KEY_MAX - n, 'p', page);
}

/* Length of "_b128k" at p; 0 it is none. */
static size_t size_mark(const char *p, char letter) {
        size_t digits;

        if (p[0] != '_' || (p[1] | 0x20) != letter)
                return 0;
        digits = strspn(p + 2, "0123456789");
        if (digits == 0 || digits > 9)
                return 0;
        return 2 + digits + ((p[2 + digits] | 0x20) == 'k');
}

static bool split_flash(const char *name, Parts *ret) {
        ret->extension = extension_of(name);
        for (const char *p = name; p < ret->extension; p++) {
                size_t block = size_mark(p, 'b'), page = block > 0 ? size_mark(p + block, 'p') : 0;

                if (page == 0 || p + block + page != ret->extension)
                        continue;
                ret->prefix = (size_t) (p - name);
                ret->middle = block + page;
                return true;
        }
        return false;
}

bool variant_flash_key_of(const char *file_name, char ret[static VARIANT_KEY_MAX]) {
        Parts parts;
        size_t i = 0;

        if (!split_flash(file_name, &parts) || parts.middle >= VARIANT_KEY_MAX)
                return false;
        for (; i < parts.middle; i++) {
                char c = file_name[parts.prefix + i];
                ret[i] = c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
        }
        ret[i] = '\0';
        return true;
}

/* "prefix_CHIP_nvitem.bin", "prefix_CHIP_more_nvitem.bin": the chip of the list that the name tells. */
static bool split_rf(const Pac *pac, const char *name, Parts *ret, const PacRfChip **ret_chip) {
        static const char end[] = "nvitem";
        size_t stem;

        ret->extension = extension_of(name);
        stem = (size_t) (ret->extension - name);
        if (stem < sizeof(end) - 1 || strncasecmp(ret->extension - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
                return false;
        for (size_t i = 0; i < pac->n_rf_chips; i++) {
                size_t n = strlen(pac->rf_chips[i].name);

                for (const char *p = name; n > 0 && p + n + 2 <= ret->extension; p++) {
                        if (p[0] != '_' || p[n + 1] != '_' || strncasecmp(p + 1, pac->rf_chips[i].name, n) != 0)
                                continue;
                        ret->prefix = (size_t) (p - name);
                        ret->middle = stem - ret->prefix;
                        *ret_chip = pac->rf_chips + i;
                        return true;
                }
        }
        return false;
}

/* The key of a name, and where its prefix ends. */
static bool key_of(const Pac *pac, const PacFile *file, const char *name, Parts *parts, char ret[static VARIANT_KEY_MAX]) {
        const PacRfChip *chip;

        if (file->select_by_flash)
                return split_flash(name, parts) && variant_flash_key_of(name, ret);
        if (!split_rf(pac, name, parts, &chip))
                return false;
        snprintf(ret, VARIANT_KEY_MAX, "rf:%s", chip->name);
        return true;
}

static bool same_target(const PacFile *a, const PacFile *b) {
        return a->n_blocks == 1 && b->n_blocks == 1 && streq(a->blocks[0].name, b->blocks[0].name) &&
               a->blocks[0].base == b->blocks[0].base && streq(a->type, b->type);
}

typedef struct Collection {
        Variant *list;
        size_t n, max;
        const PacFile *file;
        Failure *f;
} Collection;

static int add(Collection *c, const char *key, const char *name, uint64_t offset, uint64_t size) {
        Variant *v = c->list + c->n;

        for (size_t i = 0; i < c->n; i++)
                if (streq(c->list[i].key, key))
                        return failure_set(c->f, CLASS_PLAN, "select",
                                           "%.60s: the package has two files for %.40s: %.60s and %.60s.", c->file->id, key,
                                           c->list[i].file_name, name);
        if (c->n == c->max)
                return failure_set(c->f, CLASS_PLAN, "select", "%.60s has more than %zu variants.", c->file->id, c->max);
        *v = (Variant){.file_name = name, .offset = offset, .size = size};
        snprintf(v->key, sizeof(v->key), "%s", key);
        c->n++;
        return 0;
}

static int add_files(Collection *c, const Pac *pac) {
        char key[VARIANT_KEY_MAX];
        Parts parts;

        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *other = pac->files + i;
                int r;

                if (other == c->file || !other->selected || !other->has_data ||
                    other->select_by_flash != c->file->select_by_flash || other->select_by_rf != c->file->select_by_rf ||
                    !same_target(other, c->file) || !key_of(pac, other, other->file_name, &parts, key))
                        continue;
                r = add(c, key, other->file_name, other->offset, other->size);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int add_attachments(Collection *c, const Pac *pac, const Parts *own) {
        char key[VARIANT_KEY_MAX];
        Parts parts;

        for (size_t i = 0; i < pac->n_attachments; i++) {
                const PacAttachment *a = pac->attachments + i;
                int r;

                if (!key_of(pac, c->file, a->file_name, &parts, key) || parts.prefix != own->prefix ||
                    strncasecmp(a->file_name, c->file->file_name, own->prefix) != 0 ||
                    strcasecmp(parts.extension, own->extension) != 0)
                        continue;
                r = add(c, key, a->file_name, a->offset, a->size);
                if (r != 0)
                        return r;
        }
        return 0;
}

int variant_collect(const Pac *pac, const PacFile *file, Variant *ret, size_t max, size_t *ret_n, Failure *f) {
        Collection c = {.list = ret, .max = max, .file = file, .f = f};
        char key[VARIANT_KEY_MAX];
        Parts parts;
        int r;

        if (!key_of(pac, file, file->file_name, &parts, key))
                return failure_set(f, CLASS_PLAN, "select", "%.60s is chosen by the %s of the unit, but its name (%.60s) %s.",
                                   file->id, file->select_by_flash ? "flash" : "radio chip", file->file_name,
                                   file->select_by_flash ? "does not end with block and page size (_b128k_p2k)"
                                                         : "is not prefix_CHIP_nvitem with a chip of the package's list");
        r = add(&c, key, file->file_name, file->offset, file->size);
        if (r == 0)
                r = add_files(&c, pac);
        if (r == 0)
                r = add_attachments(&c, pac, &parts);
        *ret_n = c.n;
        return r;
}
