/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <expat.h>
#include <stdarg.h>
#include <strings.h>

#include "firmware/pac-internal.h"

#define DEPTH_MAX 16
#define ELEMENTS_MAX 65536
#define ATTRIBUTES_MAX 32
#define TEXT_MAX 1024

/* The configuration is walked twice, first for the product, which names the scheme, then for the scheme: nothing has to
 * be kept of the products and schemes that are not ours. */
typedef enum Pass { PASS_PRODUCT, PASS_SCHEME } Pass;

typedef struct Walk {
        Pac *pac;
        Failure *f;
        XML_Parser parser;
        Pass pass;
        uint64_t at; /* of the XML within the package */
        int r;       /* first error */
        char path[512];
        unsigned depth, elements;
        char text[TEXT_MAX + 1];
        size_t text_size;
        bool text_cut;
        bool ours; /* inside our product or scheme */
        unsigned found;
        size_t files_room, items_room, partitions_room, ext_room, chips_room;
        bool rf_on;
        bool has_flag, has_check_flag, has_base;
} Walk;

static void stop(Walk *w, int r) {
        if (w->r == 0)
                w->r = r;
        XML_StopParser(w->parser, XML_FALSE);
}

static void refuse(Walk *w, const char *detail, const char *format, ...) _printf_(3, 4);
static void refuse(Walk *w, const char *detail, const char *format, ...) {
        char reason[160], field[96];
        va_list ap;

        if (w->r != 0)
                return;
        va_start(ap, format);
        vsnprintf(reason, sizeof(reason), format, ap);
        va_end(ap);
        snprintf(field, sizeof(field), "configuration line %lu", (unsigned long) XML_GetCurrentLineNumber(w->parser));
        stop(w, pac_refuse(w->f, detail, field, w->at + (uint64_t) MAX(XML_GetCurrentByteIndex(w->parser), 0L), "%s",
                           reason));
}

static const char *attribute(const char **atts, const char *name) {
        for (size_t i = 0; atts[i]; i += 2)
                if (streq(atts[i], name))
                        return atts[i + 1];
        return NULL;
}

/* A required attribute; refuses and gives NULL where it is missing. */
static const char *need(Walk *w, const char **atts, const char *element, const char *name) {
        const char *v = attribute(atts, name);

        if (!v)
                refuse(w, "attribute", "<%s> has no attribute \"%s\"", element, name);
        return v;
}

static bool copy(Walk *w, const char *what, const char *from, char *ret, size_t size) {
        const char *fault = pac_text_fault(from);

        if (fault) {
                refuse(w, "text", "%s cannot be shown: %s", what, fault);
                return false;
        }
        if (strlen(from) >= size) {
                refuse(w, "text", "%s is longer than %zu bytes", what, size - 1);
                return false;
        }
        strcpy(ret, from);
        return true;
}

/* Complete numbers only, decimal or 0x; `hex` insists on 0x as the vendor's scanner reads anything else as 0. */
static bool number(Walk *w, const char *what, const char *text, bool hex, uint64_t max, uint64_t *ret) {
        bool prefixed = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
        const char *digits = prefixed ? text + 2 : text;
        char *end;

        if ((hex && !prefixed) || digits[0] == '\0' ||
            strspn(digits, prefixed ? "0123456789abcdefABCDEF" : "0123456789") != strlen(digits)) {
                refuse(w, "number", "%s is not a complete %snumber", what, hex ? "0x " : "");
                return false;
        }
        errno = 0;
        *ret = strtoull(digits, &end, prefixed ? 16 : 10);
        if (errno != 0 || *ret > max) {
                refuse(w, "number", "%s is too large", what);
                return false;
        }
        return true;
}

static bool flag(Walk *w, const char *what, const char *text, bool *ret) {
        uint64_t v;

        if (!number(w, what, text, false, 1, &v))
                return false;
        *ret = v != 0;
        return true;
}

static bool partition_name(Walk *w, const char *what, const char *name, char ret[static 37]) {
        if (strlen(name) > PAC_NAME_MAX) {
                refuse(w, "name", "%s is longer than %d characters", what, PAC_NAME_MAX);
                return false;
        }
        for (const char *p = name; *p; p++)
                if (*p <= ' ' || *p >= 0x7f) {
                        refuse(w, "name", "%s is not plain ASCII", what);
                        return false;
                }
        strcpy(ret, name);
        return true;
}

/* Room for one more element of a growing array, zeroed. */
static void *grow(Walk *w, void *array, size_t *n, size_t *room, size_t max, size_t size, const char *what) {
        void **a = array;

        if (*n >= max) {
                refuse(w, "xml-limit", "more than %zu %s", max, what);
                return NULL;
        }
        if (*n == *room) {
                size_t more = MIN(max, MAX(*room * 2, (size_t) 16));
                void *p = reallocarray(*a, more, size);
                if (!p) {
                        stop(w, -ENOMEM);
                        return NULL;
                }
                *a = p;
                *room = more;
        }
        return memset((char *) *a + (*n)++ * size, 0, size);
}

static PacFile *current_file(Walk *w) {
        return w->pac->files + w->pac->n_files - 1;
}

static PacNvItem *current_item(Walk *w) {
        return w->pac->nv_items + w->pac->n_nv_items - 1;
}

/* ---- product -------------------------------------------------------------------------------------------- */

static void start_product(Walk *w, const char **atts) {
        const char *name = need(w, atts, "Product", "name");

        w->ours = name && streq(name, w->pac->product);
        if (w->ours && ++w->found > 1)
                refuse(w, "duplicate", "the product \"%s\" stands there twice", w->pac->product);
}

static void start_nv_backup(Walk *w, const char **atts) {
        const char *v = need(w, atts, "NVBackup", "backup");

        if (v)
                flag(w, "NVBackup backup", v, &w->pac->nv_backup_enabled);
}

static void start_nv_item(Walk *w, const char **atts) {
        const char *name = need(w, atts, "NVItem", "name"), *backup = name ? need(w, atts, "NVItem", "backup") : NULL;
        PacNvItem *item;

        if (!backup)
                return;
        item = grow(w, &w->pac->nv_items, &w->pac->n_nv_items, &w->items_room, PAC_NV_ITEMS_MAX, sizeof(PacNvItem),
                    "NV items");
        if (!item || !copy(w, "NVItem name", name, item->name, sizeof(item->name)))
                return;
        item->id = UINT32_MAX;
        w->has_base = false;
        flag(w, "NVItem backup", backup, &item->backup);
}

static void end_nv_id(Walk *w, const char *text) {
        uint64_t v;

        if (!number(w, "NVItem ID", text, true, UINT32_MAX, &v))
                return;
        if (v > 0xfffe && v != UINT32_MAX)
                refuse(w, "number", "NVItem ID 0x%llx is no NV id", (unsigned long long) v);
        current_item(w)->id = (uint32_t) v;
        w->has_base = true;
}

static void end_nv_item(Walk *w, const char *text _unused_) {
        if (!w->has_base)
                refuse(w, "xml", "NVItem \"%s\" has no ID", current_item(w)->name);
}

static void start_backup_flag(Walk *w, const char **atts) {
        const char *use = need(w, atts, "BackupFlag", "use");

        if (use)
                flag(w, "BackupFlag use", use, &current_item(w)->use);
}

static void start_nv_flag(Walk *w, const char **atts) {
        const char *name = need(w, atts, "NVFlag", "name"), *check = name ? need(w, atts, "NVFlag", "check") : NULL;
        bool on;

        if (!check || !flag(w, "NVFlag check", check, &on))
                return;
        if (streq(name, "Continue"))
                current_item(w)->keep_going = on;
        else if (streq(name, "Replace"))
                current_item(w)->replace = on;
}

static void start_partitions(Walk *w, const char **atts) {
        const char *unit = attribute(atts, "unit");
        uint64_t v;

        if (unit && number(w, "Partitions unit", unit, false, 4, &v))
                w->pac->partition_unit = (int) v;
}

static bool partition_size(Walk *w, const char *text, uint64_t *ret) {
        if (streq(text, "-1"))
                *ret = U64_UNKNOWN;
        else if (!number(w, "Partition size", text, false, UINT64_MAX, ret))
                return false;
        if (*ret == UINT32_MAX && w->pac->partition_unit < 0)
                *ret = U64_UNKNOWN;
        if (*ret == 0)
                refuse(w, "partitions", "a partition of size 0");
        return *ret != 0;
}

static bool partition_gap(Walk *w, const char *text, int64_t *ret) {
        uint64_t v;

        if (!text)
                return true;
        if (!number(w, "Partition gap", text, false, INT64_MAX, &v))
                return false;
        *ret = (int64_t) v;
        return true;
}

static void start_partition(Walk *w, const char **atts) {
        const char *id = need(w, atts, "Partition", "id"), *size = id ? need(w, atts, "Partition", "size") : NULL;
        size_t max = w->pac->partition_unit < 0 ? PAC_PARTITIONS_MAX : 744; /* what one frame holds */
        PacPartition *p;

        if (!size)
                return;
        p = grow(w, &w->pac->partitions, &w->pac->n_partitions, &w->partitions_room, max, sizeof(PacPartition),
                 "partitions");
        if (!p || !partition_name(w, "Partition id", id, p->name) || !partition_size(w, size, &p->size) ||
            !partition_gap(w, attribute(atts, "gap"), &p->gap))
                return;
        if (id[0] == '\0')
                refuse(w, "partitions", "a partition without a name");
        for (PacPartition *q = w->pac->partitions; q < p; q++) {
                if (streq(q->name, p->name))
                        refuse(w, "partitions", "the partition \"%s\" stands there twice", p->name);
                if (q->size == U64_UNKNOWN)
                        refuse(w, "partitions", "\"%s\" takes the rest but is not the last partition", q->name);
        }
}

static void start_partition_type(Walk *w, const char **atts) {
        const char *tag = need(w, atts, "PartitionType", "tag");

        if (!tag)
                return;
        if (w->pac->ext_tag[0])
                refuse(w, "ext-table", "the extended table has two lists of partition types");
        else if (strlen(tag) != 4)
                refuse(w, "ext-table", "the tag of a list of partition types does not have four characters");
        else
                copy(w, "PartitionType tag", tag, w->pac->ext_tag, sizeof(w->pac->ext_tag));
}

static void start_ext_partition(Walk *w, const char **atts) {
        const char *id = need(w, atts, "Partition", "id"), *twin = attribute(atts, "id2");
        const char *size = attribute(atts, "size"), *type = attribute(atts, "type");
        PacExtPartition *p;
        uint64_t v = 0;

        if (!id)
                return;
        p = grow(w, &w->pac->ext_partitions, &w->pac->n_ext_partitions, &w->ext_room, PAC_EXT_PARTITIONS_MAX,
                 sizeof(PacExtPartition), "partition types");
        if (!p || !partition_name(w, "Partition id", id, p->name) ||
            (twin && !partition_name(w, "Partition id2", twin, p->twin)))
                return;
        if (id[0] == '\0')
                refuse(w, "ext-table", "a partition type without a name");
        if (size && number(w, "Partition size", size, false, UINT32_MAX, &v))
                p->size = (uint32_t) v;
        v = 0;
        if (type && number(w, "Partition type", type, false, 2, &v))
                p->type = (uint8_t) v;
}

/* What an extended table holds beside the list of partition types: its bytes are not known. */
static void meet_unknown_table(Walk *w, const char *name) {
        if (!w->pac->ext_unknown[0])
                copy(w, "a part of ExtTable", name, w->pac->ext_unknown, sizeof(w->pac->ext_unknown));
}

static void start_rf(Walk *w, const char **atts) {
        const char *enable = attribute(atts, "enable");

        w->rf_on = false;
        if (enable)
                flag(w, "RF enable", enable, &w->rf_on);
}

static void start_transceiver(Walk *w, const char **atts) {
        const char *id = need(w, atts, "Transceiver", "id"), *name = id ? need(w, atts, "Transceiver", "name") : NULL;
        PacRfChip *chip;
        uint64_t v;

        if (!name || !w->rf_on)
                return;
        chip = grow(w, &w->pac->rf_chips, &w->pac->n_rf_chips, &w->chips_room, PAC_RF_CHIPS_MAX, sizeof(PacRfChip),
                    "radio chips");
        if (!chip || !copy(w, "Transceiver name", name, chip->name, sizeof(chip->name)) ||
            !number(w, "Transceiver id", id, false, UINT32_MAX, &v))
                return;
        chip->id = (uint32_t) v;
        for (PacRfChip *other = w->pac->rf_chips; other < chip; other++)
                if (other->id == chip->id || strcasecmp(other->name, chip->name) == 0)
                        refuse(w, "duplicate", "the radio chip \"%s\" stands there twice", chip->name);
}

static void end_scheme_name(Walk *w, const char *text) {
        copy(w, "SchemeName", text, w->pac->scheme, sizeof(w->pac->scheme));
}

static void end_flash_type_id(Walk *w, const char *text) {
        uint64_t v;

        if (number(w, "FlashTypeID", text, false, UINT32_MAX, &v))
                w->pac->flash_type_id = (uint32_t) v;
}

static void end_reboot_by_at(Walk *w, const char *text) {
        flag(w, "RebootByAT", text, &w->pac->reboot_by_at);
}

static void end_apr(Walk *w, const char *text) {
        flag(w, "APR", text, &w->pac->apr);
}

/* ---- scheme --------------------------------------------------------------------------------------------- */

static void start_scheme(Walk *w, const char **atts) {
        const char *name = need(w, atts, "Scheme", "name");

        w->ours = name && streq(name, w->pac->scheme);
        if (w->ours && ++w->found > 1)
                refuse(w, "duplicate", "the scheme \"%s\" stands there twice", w->pac->scheme);
}

static void start_file(Walk *w, const char **atts) {
        const char *backup = attribute(atts, "backup"), *cali = attribute(atts, "CheckCali");
        const char *by_flash = attribute(atts, "selbyflash"), *by_rf = attribute(atts, "selbyrf");
        PacFile *file =
                grow(w, &w->pac->files, &w->pac->n_files, &w->files_room, PAC_FILES_MAX, sizeof(PacFile), "files");
        uint64_t v;
        bool on;

        if (!file)
                return;
        w->has_flag = w->has_check_flag = false;
        file->backup = -1;
        if (backup && number(w, "File backup", backup, false, 255, &v))
                file->backup = v == 255 ? -1 : v != 0;
        if (cali)
                copy(w, "File CheckCali", cali, file->check_cali, sizeof(file->check_cali));
        if (by_flash && flag(w, "File selbyflash", by_flash, &on))
                file->select_by_flash = on;
        if (by_rf && flag(w, "File selbyrf", by_rf, &on))
                file->select_by_rf = on;
}

static void start_block(Walk *w, const char **atts) {
        PacFile *file = current_file(w);
        const char *id = attribute(atts, "id");

        if (file->n_blocks >= PAC_BLOCKS_MAX) {
                refuse(w, "blocks", "a file with more than %d blocks", PAC_BLOCKS_MAX);
                return;
        }
        file->n_blocks++;
        if (id)
                partition_name(w, "Block id", id, file->blocks[file->n_blocks - 1].name);
}

static void end_base(Walk *w, const char *text) {
        PacFile *file = current_file(w);

        number(w, "Base", text, true, UINT64_MAX, &file->blocks[file->n_blocks - 1].base);
}

static void end_size(Walk *w, const char *text) {
        PacFile *file = current_file(w);

        number(w, "Size", text, true, UINT64_MAX, &file->blocks[file->n_blocks - 1].size);
}

static void end_id(Walk *w, const char *text) {
        copy(w, "File ID", text, current_file(w)->id, sizeof(current_file(w)->id));
}

static void end_alias(Walk *w, const char *text) {
        copy(w, "IDAlias", text, current_file(w)->alias, sizeof(current_file(w)->alias));
}

static void end_type(Walk *w, const char *text) {
        copy(w, "Type", text, current_file(w)->type, sizeof(current_file(w)->type));
}

static void end_flag(Walk *w, const char *text) {
        uint64_t v;

        if (number(w, "Flag", text, false, 2, &v))
                current_file(w)->flag = (uint32_t) v;
        w->has_flag = true;
}

static void end_check_flag(Walk *w, const char *text) {
        uint64_t v;

        if (number(w, "CheckFlag", text, false, 2, &v))
                current_file(w)->check_flag = (uint32_t) v;
        w->has_check_flag = true;
}

static void end_file(Walk *w, const char *text _unused_) {
        PacFile *file = current_file(w);

        if (!file->id[0])
                refuse(w, "xml", "a file without an ID");
        else if (!file->type[0])
                refuse(w, "xml", "the file \"%s\" has no Type", file->id);
        else if (!w->has_flag || !w->has_check_flag)
                refuse(w, "xml", "the file \"%s\" has no %s", file->id, w->has_flag ? "CheckFlag" : "Flag");
        else if (strcasestr(file->type, "secureboot") || strcasestr(file->type, "efuse"))
                refuse(w, "secure-boot", "the file \"%s\" asks for %s, which burns fuses; it is never sent", file->id,
                       file->type);
        else if (!file->alias[0])
                strcpy(file->alias, file->id);
        for (PacFile *other = w->pac->files; other < file; other++)
                if (pac_same_id(other->id, file->id))
                        refuse(w, "duplicate", "the file ID \"%s\" stands there twice", file->id);
}

/* ---- walking -------------------------------------------------------------------------------------------- */

#define PRODUCT "/BMAConfig/ProductList/Product"
#define SCHEME "/BMAConfig/SchemeList/Scheme"

static const struct Rule {
        const char *path;
        Pass pass;
        void (*start)(Walk *w, const char **atts);
        void (*end)(Walk *w, const char *text);
} rules[] = {
        {PRODUCT, PASS_PRODUCT, start_product, NULL},
        {PRODUCT "/SchemeName", PASS_PRODUCT, NULL, end_scheme_name},
        {PRODUCT "/FlashTypeID", PASS_PRODUCT, NULL, end_flash_type_id},
        {PRODUCT "/RebootByAT", PASS_PRODUCT, NULL, end_reboot_by_at},
        {PRODUCT "/APR", PASS_PRODUCT, NULL, end_apr},
        {PRODUCT "/NVBackup", PASS_PRODUCT, start_nv_backup, NULL},
        {PRODUCT "/NVBackup/NVItem", PASS_PRODUCT, start_nv_item, end_nv_item},
        {PRODUCT "/NVBackup/NVItem/ID", PASS_PRODUCT, NULL, end_nv_id},
        {PRODUCT "/NVBackup/NVItem/BackupFlag", PASS_PRODUCT, start_backup_flag, NULL},
        {PRODUCT "/NVBackup/NVItem/BackupFlag/NVFlag", PASS_PRODUCT, start_nv_flag, NULL},
        {PRODUCT "/Partitions", PASS_PRODUCT, start_partitions, NULL},
        {PRODUCT "/Partitions/Partition", PASS_PRODUCT, start_partition, NULL},
        {PRODUCT "/ExtTable/PartitionType", PASS_PRODUCT, start_partition_type, NULL},
        {PRODUCT "/ExtTable/PartitionType/Partition", PASS_PRODUCT, start_ext_partition, NULL},
        {PRODUCT "/RF", PASS_PRODUCT, start_rf, NULL},
        {PRODUCT "/RF/Transceiver", PASS_PRODUCT, start_transceiver, NULL},
        {SCHEME, PASS_SCHEME, start_scheme, NULL},
        {SCHEME "/File", PASS_SCHEME, start_file, end_file},
        {SCHEME "/File/ID", PASS_SCHEME, NULL, end_id},
        {SCHEME "/File/IDAlias", PASS_SCHEME, NULL, end_alias},
        {SCHEME "/File/Type", PASS_SCHEME, NULL, end_type},
        {SCHEME "/File/Block", PASS_SCHEME, start_block, NULL},
        {SCHEME "/File/Block/Base", PASS_SCHEME, NULL, end_base},
        {SCHEME "/File/Block/Size", PASS_SCHEME, NULL, end_size},
        {SCHEME "/File/Flag", PASS_SCHEME, NULL, end_flag},
        {SCHEME "/File/CheckFlag", PASS_SCHEME, NULL, end_check_flag},
};

static const struct Rule *find_rule(const Walk *w) {
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (rules[i].pass == w->pass && streq(rules[i].path, w->path))
                        return rules + i;
        return NULL;
}

/* The element that makes all below it ours: of other products and schemes nothing is looked at. */
static bool is_root_rule(const struct Rule *rule) {
        return rule->start == start_product || rule->start == start_scheme;
}

static bool within_limits(Walk *w, const char *name, const char **atts) {
        size_t n = 0, room = sizeof(w->path) - strlen(w->path);

        while (atts[2 * n])
                n++;
        if (++w->elements > ELEMENTS_MAX)
                refuse(w, "xml-limit", "more than %d elements", ELEMENTS_MAX);
        else if (++w->depth > DEPTH_MAX || strlen(name) + 2 > room)
                refuse(w, "xml-limit", "elements nested deeper than %d or with very long names", DEPTH_MAX);
        else if (n > ATTRIBUTES_MAX)
                refuse(w, "xml-limit", "an element with more than %d attributes", ATTRIBUTES_MAX);
        else
                return true;
        return false;
}

static void on_start(void *userdata, const char *name, const char **atts) {
        Walk *w = userdata;
        const struct Rule *rule;

        if (w->r != 0 || !within_limits(w, name, atts))
                return;
        strcat(strcat(w->path, "/"), name);
        w->text_size = 0;
        w->text_cut = false;
        rule = find_rule(w);
        if (rule && rule->start && (w->ours || is_root_rule(rule)))
                rule->start(w, atts);
        else if (!rule && w->ours && strncmp(w->path, PRODUCT "/ExtTable/", strlen(PRODUCT "/ExtTable/")) == 0)
                meet_unknown_table(w, name);
}

static char *trim(Walk *w) {
        char *s = w->text;

        while (w->text_size > 0 && strchr(" \t\r\n", s[w->text_size - 1]))
                w->text_size--;
        s[w->text_size] = '\0';
        return s + strspn(s, " \t\r\n");
}

static void on_end(void *userdata, const char *name _unused_) {
        Walk *w = userdata;
        const struct Rule *rule;

        if (w->r != 0)
                return;
        rule = find_rule(w);
        if (rule && rule->end && w->ours) {
                if (w->text_cut)
                        refuse(w, "xml-limit", "a value longer than %d bytes", TEXT_MAX);
                else
                        rule->end(w, trim(w));
        }
        if (rule && is_root_rule(rule))
                w->ours = false;
        w->text_size = 0;
        w->depth--;
        *strrchr(w->path, '/') = '\0';
}

static void on_text(void *userdata, const char *s, int n) {
        Walk *w = userdata;
        size_t take = MIN((size_t) n, TEXT_MAX - w->text_size);

        memcpy(w->text + w->text_size, s, take);
        w->text_size += take;
        w->text_cut = w->text_cut || take < (size_t) n;
}

static void on_doctype(void *userdata, const char *name _unused_, const char *system _unused_,
                       const char *public _unused_, int internal _unused_) {
        refuse(userdata, "xml-dtd", "a document type, which configurations never have");
}

static void on_declaration(void *userdata, const char *version _unused_, const char *encoding,
                           int standalone _unused_) {
        static const char *const known[] = {"utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le"};

        if (!encoding)
                return;
        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strcasecmp(encoding, known[i]) == 0)
                        return;
        refuse(userdata, "xml", "an encoding other than UTF-8");
}

static int walk(Walk *w, Pass pass, const char *xml, size_t size) {
        w->pass = pass;
        w->path[0] = '\0';
        w->depth = w->elements = w->found = 0;
        w->ours = false;
        w->parser = XML_ParserCreate(NULL);
        if (!w->parser)
                return -ENOMEM;
        XML_SetUserData(w->parser, w);
        XML_SetElementHandler(w->parser, on_start, on_end);
        XML_SetCharacterDataHandler(w->parser, on_text);
        XML_SetStartDoctypeDeclHandler(w->parser, on_doctype);
        XML_SetXmlDeclHandler(w->parser, on_declaration);
        XML_SetParamEntityParsing(w->parser, XML_PARAM_ENTITY_PARSING_NEVER);
        if (XML_Parse(w->parser, xml, (int) size, 1) != XML_STATUS_OK && w->r == 0) {
                if (XML_GetErrorCode(w->parser) == XML_ERROR_NO_MEMORY)
                        w->r = -ENOMEM;
                else
                        refuse(w, "xml", "it is not well formed: %s", XML_ErrorString(XML_GetErrorCode(w->parser)));
        }
        XML_ParserFree(w->parser);
        w->parser = NULL;
        return w->r;
}

/* Bytes that expat should see: one NUL at the end is a habit of packers, any other is not. */
static int check_bytes(const char *xml, size_t *size, uint64_t at, Failure *f) {
        bool wide = *size >= 2 && (memcmp(xml, "\xff\xfe", 2) == 0 || memcmp(xml, "\xfe\xff", 2) == 0);
        const char *nul;

        if (wide) {
                if (*size >= 4 && *size % 2 == 0 && xml[*size - 1] == 0 && xml[*size - 2] == 0)
                        *size -= 2;
                return 0;
        }
        if (*size > 0 && xml[*size - 1] == '\0')
                (*size)--;
        nul = memchr(xml, '\0', *size);
        if (nul)
                return pac_refuse(f, "xml", "configuration", at + (uint64_t) (nul - xml), "it holds a NUL byte");
        return 0;
}

int pac_parse_xml(Pac *pac, const char *xml, size_t size, uint64_t at, Failure *f) {
        Walk w = {.pac = pac, .f = f, .at = at};
        int r;

        pac->partition_unit = -1;
        r = check_bytes(xml, &size, at, f);
        if (r == 0)
                r = walk(&w, PASS_PRODUCT, xml, size);
        if (r != 0)
                return r;
        if (w.found == 0)
                return pac_refuse(f, "product", "configuration", at,
                                  "it has no product \"%.60s\", which the header names", pac->product);
        if (!pac->scheme[0])
                return pac_refuse(f, "scheme", "configuration", at, "the product names no scheme");
        r = walk(&w, PASS_SCHEME, xml, size);
        if (r != 0)
                return r;
        if (w.found == 0)
                return pac_refuse(f, "scheme", "configuration", at, "it has no scheme \"%.60s\"", pac->scheme);
        return 0;
}
