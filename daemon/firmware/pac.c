/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/pac.h"

#include <openssl/evp.h>
#include <strings.h>

#include "firmware/crc16.h"
#include "firmware/pac-internal.h"

/* How much of a first loader is searched for its wish to come back on another port. Real ones are below 100 KiB. */
#define SCAN_MAX (4u * 1024 * 1024)

typedef struct Parse {
        const PacReader *reader;
        Failure *f;
        Pac *pac;
        bool wide; /* R2: the high words count */
        size_t n_entries;
        PacEntry *entries;
} Parse;

/* ---- readers -------------------------------------------------------------------------------------------- */

static int read_fd(void *userdata, void *data, size_t size, uint64_t offset) {
        uint8_t *p = data;

        while (size > 0) {
                ssize_t n = pread(*(int *) userdata, p, size, (off_t) offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO;
                p += n;
                size -= (size_t) n;
                offset += (uint64_t) n;
        }
        return 0;
}

static int read_memory(void *userdata, void *data, size_t size, uint64_t offset) {
        memcpy(data, (const uint8_t *) userdata + offset, size);
        return 0;
}

uint64_t pac_next_data(int fd, uint64_t at, uint64_t size) {
        off_t next = lseek(fd, (off_t) at, SEEK_DATA);

        if (next < 0) /* ENXIO: nothing but holes up to the end */
                return errno == ENXIO && at < size ? size : at;
        return MIN((uint64_t) next, size);
}

static uint64_t next_data_fd(void *userdata, uint64_t offset) {
        return pac_next_data(*(int *) userdata, offset, UINT64_MAX);
}

PacReader pac_reader_for_fd(int *fd, uint64_t size) {
        return (PacReader){.read = read_fd, .next_data = next_data_fd, .userdata = fd, .size = size};
}

PacReader pac_reader_for_memory(const void *data, uint64_t size) {
        return (PacReader){.read = read_memory, .userdata = (void *) data, .size = size};
}

static int read_at(const PacReader *reader, void *data, size_t size, uint64_t offset) {
        if (offset > reader->size || size > reader->size - offset)
                return -EIO;
        return reader->read(reader->userdata, data, size, offset);
}

/* ---- header --------------------------------------------------------------------------------------------- */

static int parse_text(Failure *f, const char *field, const uint8_t *data, uint64_t offset, size_t units, char *ret,
                      size_t size) {
        const char *fault = pac_utf16_field(data, units, ret, size);

        return fault ? pac_refuse(f, "text", field, offset, "%s", fault) : 0;
}

static int parse_version(Parse *p, const uint8_t *h) {
        char version[24];
        int r = parse_text(p->f, "version", h, 0, 22, version, sizeof(version));

        if (r != 0)
                return r;
        if (!streq(version, "BP_R1.0.0") && !streq(version, "BP_R2.0.1"))
                return pac_refuse(p->f, "version", "version", 0, "\"%s\" is not a package version that is known",
                                  version);
        strcpy(p->pac->version, version);
        p->wide = streq(version, "BP_R2.0.1");
        return 0;
}

static int check_magic(Parse *p, const uint8_t *h) {
        uint16_t crc = crc16_arc(0, h, 2120);

        if (get_le32(h + 2116) != PAC_MAGIC)
                return pac_refuse(p->f, "magic", "magic", 2116,
                                  "it is 0x%08x, not 0x%08x; packages without it have no checksums", get_le32(h + 2116),
                                  PAC_MAGIC);
        p->pac->crc1 = get_le16(h + 2120);
        p->pac->crc2 = get_le16(h + 2122);
        if (crc != p->pac->crc1)
                return pac_refuse(p->f, "crc1", "header checksum", 2120,
                                  "it is 0x%04x but the header gives 0x%04x; the file is damaged", p->pac->crc1, crc);
        if (get_le16(h + 1316) != 0)
                return pac_refuse(p->f, "encrypted", "encryption mark", 1316,
                                  "the file table is encrypted and cannot be read");
        return 0;
}

static int check_size(Parse *p, const uint8_t *h) {
        uint32_t high = get_le32(h + 44);

        if (!p->wide && high != 0)
                return pac_refuse(p->f, "size", "package size, high word", 44, "it is 0x%x in a package of version 1",
                                  high);
        p->pac->size = (uint64_t) high << 32 | get_le32(h + 48);
        if (p->pac->size != p->reader->size)
                return pac_refuse(p->f, "size", "package size", 48,
                                  "the header says %llu bytes, the file has %llu; it is cut or has more behind it",
                                  (unsigned long long) p->pac->size, (unsigned long long) p->reader->size);
        return 0;
}

static int check_table_place(Parse *p, const uint8_t *h) {
        uint32_t n = get_le32(h + 1076), at = get_le32(h + 1080);

        if (n == 0 || n > PAC_FILES_MAX)
                return pac_refuse(p->f, "count", "number of files", 1076, "it is %d; 1 to %d are possible", (int) n,
                                  PAC_FILES_MAX);
        if (at != PAC_HEADER_SIZE)
                return pac_refuse(p->f, "table", "place of the file table", 1080, "it is %u, not %u", at,
                                  PAC_HEADER_SIZE);
        if (PAC_HEADER_SIZE + (uint64_t) n * PAC_ENTRY_SIZE > p->reader->size)
                return pac_refuse(p->f, "table", "number of files", 1076,
                                  "a table of %u entries does not fit into the file", n);
        p->n_entries = n;
        return 0;
}

static int parse_header_texts(Parse *p, const uint8_t *h) {
        char product[257];
        int r = parse_text(p->f, "product name", h + 52, 52, 256, product, sizeof(product));

        if (r == 0)
                r = parse_text(p->f, "product version", h + 564, 564, 256, p->pac->product_version,
                               sizeof(p->pac->product_version));
        if (r == 0)
                r = parse_text(p->f, "product alias", h + 1104, 1104, 100, p->pac->alias, sizeof(p->pac->alias));
        if (r != 0)
                return r;
        /* Tools show "PAC_" before the name; some packers write it too. */
        strcpy(p->pac->product, strncmp(product, "PAC_", 4) == 0 ? product + 4 : product);
        return 0;
}

static int parse_header(Parse *p) {
        uint8_t h[PAC_HEADER_SIZE];
        int r;

        if (p->reader->size < PAC_HEADER_SIZE + PAC_ENTRY_SIZE)
                return pac_refuse(p->f, "size", "file", 0, "%llu bytes are too few for a firmware package",
                                  (unsigned long long) p->reader->size);
        r = read_at(p->reader, h, sizeof(h), 0);
        if (r != 0)
                return r;
        r = parse_version(p, h);
        if (r == 0)
                r = check_size(p, h);
        if (r == 0)
                r = check_magic(p, h);
        if (r == 0)
                r = check_table_place(p, h);
        if (r == 0)
                r = parse_header_texts(p, h);
        p->pac->mode = get_le32(h + 1084);
        p->pac->flash_type = get_le32(h + 1088);
        p->pac->nand_strategy = get_le32(h + 1092);
        p->pac->nv_backup = get_le32(h + 1096);
        return r;
}

/* ---- table ---------------------------------------------------------------------------------------------- */

static int parse_entry_texts(Parse *p, const uint8_t *d, PacEntry *e) {
        char version[520];
        int r = parse_text(p->f, "file ID", d + 4, e->at + 4, 256, e->id, sizeof(e->id));
        const char *fault;

        if (r == 0)
                r = parse_text(p->f, "file name", d + 516, e->at + 516, 256, e->name, sizeof(e->name));
        if (r == 0)
                r = parse_text(p->f, "file version", d + 1028, e->at + 1028, 252, version, sizeof(version));
        if (r != 0)
                return r;
        fault = pac_file_name_fault(e->name);
        return fault ? pac_refuse(p->f, "file-name", "file name", e->at + 516, "%s", fault) : 0;
}

static int parse_entry_numbers(Parse *p, const uint8_t *d, PacEntry *e) {
        uint32_t size_high = get_le32(d + 1532), offset_high = get_le32(d + 1536);

        if (get_le32(d) != PAC_ENTRY_SIZE)
                return pac_refuse(p->f, "struct-size", "size of the table entry", e->at, "it is %u, not %u",
                                  get_le32(d), PAC_ENTRY_SIZE);
        if (!p->wide && (size_high || offset_high))
                return pac_refuse(p->f, "high-words", "high words of size and offset", e->at + 1532,
                                  "they are not zero in a package of version 1");
        if (get_le32(d + 1560) > 5)
                return pac_refuse(p->f, "addresses", "number of addresses", e->at + 1560,
                                  "it is %d; at most 5 are possible", (int) get_le32(d + 1560));
        e->size = (uint64_t) size_high << 32 | get_le32(d + 1540);
        e->offset = (uint64_t) offset_high << 32 | get_le32(d + 1552);
        e->flag = get_le32(d + 1544);
        e->check = get_le32(d + 1548);
        e->omit = get_le32(d + 1556);
        return 0;
}

static int check_flags(Parse *p, const PacEntry *e) {
        if (e->size > 0 && e->flag == 0)
                return pac_refuse(p->f, "flags", "file flag", e->at + 1544,
                                  "\"%.60s\" is an operation but has %llu bytes of data", e->id,
                                  (unsigned long long) e->size);
        if ((e->flag & 1) && e->check == 1 && e->omit == 0 && e->size == 0)
                return pac_refuse(p->f, "flags", "file size", e->at + 1540,
                                  "\"%.60s\" needs a file, is selected, but has no data", e->id);
        if ((e->flag & 1) && !e->name[0] && (e->size > 0 || e->check == 1))
                return pac_refuse(p->f, "file-name", "file name", e->at + 516, "\"%.60s\" needs a file but names none",
                                  e->id);
        return 0;
}

/* The vendor's tools read the data one behind the other, others go by the offsets: only a file that means the same to
 * both is taken. */
static int check_place(Parse *p, const PacEntry *e, uint64_t *running) {
        uint64_t start = PAC_HEADER_SIZE + (uint64_t) p->n_entries * PAC_ENTRY_SIZE;

        if (e->size == 0)
                return 0;
        if (e->offset > p->reader->size || e->size > p->reader->size - e->offset)
                return pac_refuse(p->f, "range", "data offset and size", e->at + 1540,
                                  "the data of \"%.60s\" reach beyond the end of the file", e->id);
        if (e->offset < start)
                return pac_refuse(p->f, "overlap", "data offset", e->at + 1552,
                                  "the data of \"%.60s\" lie within the header or table", e->id);
        if (e->offset < *running)
                return pac_refuse(p->f, "overlap", "data offset", e->at + 1552,
                                  "the data of \"%.60s\" overlap those before", e->id);
        if (e->offset > *running)
                return pac_refuse(p->f, "gap", "data offset", e->at + 1552,
                                  "the data of \"%.60s\" do not follow those before", e->id);
        *running += e->size;
        return 0;
}

static int parse_entry(Parse *p, size_t i, uint64_t *running) {
        PacEntry *e = p->entries + i;
        uint8_t d[PAC_ENTRY_SIZE];
        int r;

        e->at = PAC_HEADER_SIZE + (uint64_t) i * PAC_ENTRY_SIZE;
        r = read_at(p->reader, d, sizeof(d), e->at);
        if (r == 0)
                r = parse_entry_numbers(p, d, e);
        if (r == 0)
                r = parse_entry_texts(p, d, e);
        if (r == 0)
                r = check_flags(p, e);
        return r != 0 ? r : check_place(p, e, running);
}

static int check_ids(Parse *p) {
        for (size_t i = 0; i < p->n_entries; i++) {
                const PacEntry *e = p->entries + i;

                if (i + 1 == p->n_entries && e->flag != 2)
                        return pac_refuse(p->f, "xml-missing", "file flag", e->at + 1544, "the package has no configuration");
                if (i + 1 < p->n_entries && e->flag == 2)
                        return pac_refuse(p->f, "xml-place", "file flag", e->at + 1544,
                                          p->entries[p->n_entries - 1].flag == 2
                                                  ? "there are two configurations"
                                                  : "the configuration is not the last entry");
                for (size_t k = 0; e->id[0] && k < i; k++)
                        if (pac_same_id(e->id, p->entries[k].id))
                                return pac_refuse(p->f, "duplicate", "file ID", e->at + 4,
                                                  "\"%.60s\" stands there twice", e->id);
        }
        return 0;
}

static int parse_table(Parse *p) {
        uint64_t running = PAC_HEADER_SIZE + (uint64_t) p->n_entries * PAC_ENTRY_SIZE;
        int r = 0;

        p->entries = calloc(p->n_entries, sizeof(PacEntry));
        if (!p->entries)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < p->n_entries; i++)
                r = parse_entry(p, i, &running);
        if (r == 0)
                r = check_ids(p);
        if (r == 0 && running != p->reader->size)
                r = pac_refuse(p->f, "trailing", "end of the data", running,
                               "%llu more bytes stand behind the last file",
                               (unsigned long long) (p->reader->size - running));
        return r;
}

/* ---- configuration and join ----------------------------------------------------------------------------- */

static int parse_configuration(Parse *p) {
        const PacEntry *e = p->entries + p->n_entries - 1;
        PacPrivate *private = (PacPrivate *) p->pac;
        _cleanup_free_ char *xml = NULL;
        int r;

        if (e->size == 0 || e->size > PAC_XML_MAX)
                return pac_refuse(p->f, "xml-limit", "size of the configuration", e->at + 1540,
                                  "%llu bytes; 1 to %d are possible", (unsigned long long) e->size, PAC_XML_MAX);
        xml = malloc(e->size);
        if (!xml)
                return -ENOMEM;
        r = read_at(p->reader, xml, e->size, e->offset);
        if (r != 0)
                return r;
        private->xml_offset = e->offset;
        private->xml_size = e->size;
        if (!EVP_Digest(xml, e->size, private->xml_sha256, NULL, EVP_sha256(), NULL))
                return -ENOMEM;
        return pac_parse_xml(p->pac, xml, e->size, e->offset, p->f);
}

static void join_file(PacFile *file, PacEntry *e) {
        e->joined = true;
        strcpy(file->file_name, e->name);
        file->selected = e->check == 1 && file->flag != 2;
        file->can_omit = e->omit == 1;
        file->offset = e->offset;
        file->size = e->size;
        file->has_data = e->size > 0;
}

static int join_one(Parse *p, PacFile *file) {
        for (size_t i = 0; i + 1 < p->n_entries; i++) {
                PacEntry *e = p->entries + i;

                if (!e->id[0] || !pac_same_id(e->id, file->id))
                        continue;
                if (file->flag == 0 && e->size > 0)
                        return pac_refuse(p->f, "flags", "file flag", e->at + 1544,
                                          "\"%.60s\" has data but the configuration calls it an operation", file->id);
                join_file(file, e);
                return 0;
        }
        if (file->flag == 2)
                return 0;
        return pac_refuse(p->f, "join", "file table", PAC_HEADER_SIZE,
                          "the configuration's file \"%.60s\" is not in it", file->id);
}

static int collect_attachments(Parse *p) {
        Pac *pac = p->pac;

        pac->attachments = calloc(p->n_entries, sizeof(PacAttachment));
        if (!pac->attachments)
                return -ENOMEM;
        for (size_t i = 0; i + 1 < p->n_entries; i++) {
                const PacEntry *e = p->entries + i;
                PacAttachment *a = pac->attachments + pac->n_attachments;

                if (e->id[0] || e->size == 0)
                        continue;
                strcpy(a->file_name, e->name);
                a->offset = e->offset;
                a->size = e->size;
                pac->n_attachments++;
        }
        return 0;
}

static int join(Parse *p) {
        bool loader = false;
        int r;

        for (size_t i = 0; i < p->pac->n_files; i++) {
                PacFile *file = p->pac->files + i;

                r = join_one(p, file);
                if (r != 0)
                        return r;
                loader = loader || ((pac_same_id(file->id, "FDL") || pac_same_id(file->id, "HOST_FDL")) &&
                                    file->selected && file->has_data);
        }
        for (size_t i = 0; i < p->n_entries; i++)
                if (p->entries[i].id[0] && p->entries[i].flag != 2 && !p->entries[i].joined)
                        return pac_refuse(p->f, "join", "file ID", p->entries[i].at + 4,
                                          "the configuration has no file \"%.60s\"", p->entries[i].id);
        if (!loader)
                return pac_refuse(p->f, "loader", "file table", PAC_HEADER_SIZE,
                                  "the package has no first loader (FDL or HOST_FDL)");
        return 0;
}

/* ---- loaders -------------------------------------------------------------------------------------------- */

bool pac_file_is_loader(const PacFile *file) {
        static const char *const types[] = {"FDL", "FDL1", "FDL2", "HOST_FDL", "NAND_FDL", "FDL2_64", "NAND_FDL_64"};

        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(file->type, types[i]))
                        return true;
        return false;
}

const PacFile *pac_find_file(const Pac *pac, const char *id) {
        for (size_t i = 0; i < pac->n_files; i++)
                if (pac_same_id(pac->files[i].id, id))
                        return pac->files + i;
        return NULL;
}

/* NOR feature phones: nothing has a name or an address, all has a logical number. */
static bool by_logical_number(const Pac *pac) {
        bool logical = false;

        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;
                uint64_t base = file->n_blocks > 0 ? file->blocks[0].base : 0;

                if (pac_file_is_loader(file) || file->n_blocks == 0)
                        continue;
                if (file->blocks[0].name[0])
                        return false;
                logical = logical || (base >> 4 == 0x8000000) || (base >> 8 == 0x900000);
        }
        return logical;
}

const char *pac_family(const Pac *pac) {
        static const struct {
                const char *family, *type;
                size_t loaders;
                bool logical;
        } rows[] = {
#define RECOGNISE(family, type, loaders, logical) {family, type, loaders, logical},
#include "firmware/families.def"
        };

        for (size_t k = 0; k < ELEMENTSOF(rows); k++) {
                size_t first = 0, all = 0;

                for (size_t i = 0; i < pac->n_files; i++) {
                        const PacFile *file = pac->files + i;

                        if (!file->selected || !pac_file_is_loader(file))
                                continue;
                        first += streq(file->type, rows[k].type);
                        all++;
                }
                if (first > 0 && (rows[k].loaders == 0 || rows[k].loaders == all) &&
                    (!rows[k].logical || (pac->flash_type_id == 0 && by_logical_number(pac))))
                        return rows[k].family;
        }
        return "unknown";
}

static int scan_loader(Parse *p) {
        static const char mark[] = "##PORT-SECOND-ENUM##";
        const PacFile *file = pac_find_file(p->pac, "FDL");
        _cleanup_free_ uint8_t *data = NULL;
        size_t size;
        int r;

        if (!file || !file->has_data)
                return 0;
        size = (size_t) MIN(file->size, (uint64_t) SCAN_MAX);
        data = malloc(size);
        if (!data)
                return -ENOMEM;
        r = read_at(p->reader, data, size, file->offset);
        if (r == 0)
                p->pac->second_enumeration = memmem(data, size, mark, sizeof(mark) - 1) != NULL;
        return r;
}

/* Files that loaders write by name have a type; so much of each is looked at. */
static int read_heads(Parse *p) {
        uint8_t head[IMAGE_HEAD];

        for (size_t i = 0; i < p->pac->n_files; i++) {
                PacFile *file = p->pac->files + i;
                size_t n = (size_t) MIN(file->size, (uint64_t) sizeof(head));
                int r;

                if (!file->has_data || n < sizeof(file->head))
                        continue;
                r = read_at(p->reader, head, n, file->offset);
                if (r != 0)
                        return r;
                memcpy(file->head, head, sizeof(file->head));
                file->kind = image_kind(head, n, file->size);
        }
        return 0;
}

/* What was parsed is remembered by digest, so that the pass over the whole file proves that it is still the same. */
static int digest_head(Parse *p) {
        PacPrivate *private = (PacPrivate *) p->pac;
        _cleanup_free_ uint8_t *head = NULL;
        int r;

        private->head_size = PAC_HEADER_SIZE + (uint64_t) p->n_entries * PAC_ENTRY_SIZE;
        head = malloc(private->head_size);
        if (!head)
                return -ENOMEM;
        r = read_at(p->reader, head, private->head_size, 0);
        if (r == 0 && !EVP_Digest(head, private->head_size, private->head_sha256, NULL, EVP_sha256(), NULL))
                r = -ENOMEM;
        return r;
}

int pac_parse(const PacReader *reader, Pac **ret, Failure *f) {
        _cleanup_(pac_freep) Pac *pac = calloc(1, sizeof(PacPrivate));
        Parse p = {.reader = reader, .f = f, .pac = pac};
        int r;

        if (!pac)
                return -ENOMEM;
        r = parse_header(&p);
        if (r == 0)
                r = parse_table(&p);
        if (r == 0)
                r = digest_head(&p);
        if (r == 0)
                r = parse_configuration(&p);
        if (r == 0)
                r = join(&p);
        if (r == 0)
                r = collect_attachments(&p);
        if (r == 0)
                r = scan_loader(&p);
        if (r == 0)
                r = read_heads(&p);
        if (r == 0)
                r = pac_collect_warnings(reader, pac);
        free(p.entries);
        if (r == 0)
                *ret = TAKE_PTR(pac);
        return r;
}

Pac *pac_free(Pac *pac) {
        if (!pac)
                return NULL;
        for (size_t i = 0; i < pac->n_warnings; i++)
                free(pac->warnings[i]);
        free(pac->warnings);
        free(pac->partitions);
        free(pac->nv_items);
        free(pac->ext_partitions);
        free(pac->rf_chips);
        free(pac->attachments);
        free(pac->files);
        free(pac);
        return NULL;
}

uint64_t pac_partition_unit(int unit) {
        switch (unit) {
        case 1:
                return 512 * 1024;
        case 2:
                return 1024;
        case 3:
                return 1;
        case 4:
                return 512;
        default:
                return 1024 * 1024;
        }
}
