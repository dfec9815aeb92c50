/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pacmaker/pacmaker.h"

static const char usage[] =
        "pacmaker FAMILY OUT.pac [OPTION…]\n"
        "Makes a firmware package for tests. FAMILY: uis8910, uis8850, phone, phone-ab, phone-lk, phone-old,\n"
        "phone-nand, feature (two loaders), feature-one.\n\n"
        "  --seed=N              other images (default 1)\n"
        "  --size=ID=SIZE        size of a file, with K, M or G; above 64M it is made of holes\n"
        "  --partitions=none     no partition table\n"
        "  --partitions=NAME=SIZE[,NAME=SIZE…]  another table, MiB, 0xFFFFFFFF the rest\n"
        "  --set=KEY=VALUE       product, version, alias, flash-type, nand-strategy, nv-backup, header (1 or 2)\n"
        "  --unselect=ID         in the package, but not ticked\n"
        "  --remove=ID           not in the package\n"
        "  --sparse=ID           make it an Android sparse image that expands to its size\n"
        "  --plain=ID            make it an ordinary image where the family has a sparse one\n"
        "  --second-enum         the first loader wants to come back on another port\n"
        "  --variant=ID=NAME[=SIZE]  another variant of a file as an entry without an ID; SIZE as the file's\n"
        "  --select=ID=flash|rf  the file is chosen by the unit's NAND, or by its radio chip\n"
        "  --attributes=ID=TEXT  more of <File>: CheckCali=\"GSM,LTE\"\n"
        "  --product-xml=TEXT    more of <Product>: <APR>1</APR>, <ExtTable>…, <RF enable=\"1\">…\n\n"
        "Wrong ones:\n"
        "  --poke=PLACE=HEX      these bytes in the header, or with PLACE = ENTRY+OFFSET in the table\n"
        "  --break=OFFSET        flip a bit of the header after the checksums were made\n"
        "  --xml=OLD=>NEW        replace a text of the configuration\n"
        "  --file=ID=KEY=VALUE   id, type, name, block, base, limit, head, load (address), table (0 or 1), xml (0 or 1)\n"
        "  --add=ID=NAME         one more file, with data, for this partition\n"
        "  --trailing=N          bytes behind the last file\n";

#define CHANGES_MAX 16

/* What the options ask to be wrong, for the hooks. */
static struct {
        const char *pokes[CHANGES_MAX], *edits[CHANGES_MAX];
        size_t n_pokes, n_edits;
        long broken;
} wrong = {.broken = -1};

static _Noreturn void fail(const char *what, const char *arg) {
        fprintf(stderr, "pacmaker: %s: %s\n", what, arg);
        exit(2);
}

/* Cuts "a=b" and gives b. */
static char *value_of(char *arg) {
        char *eq = strchr(arg, '=');

        if (!eq)
                fail("a value is missing", arg);
        *eq = '\0';
        return eq + 1;
}

static uint64_t parse_size(const char *s) {
        char *end;
        uint64_t v = strtoull(s, &end, 0);

        for (const char *units = "KMG", *u = strchr(units, *end); *end && u; u = NULL) {
                v <<= 10 * (u - units + 1);
                end++;
        }
        if (end == s || *end)
                fail("not a size", s);
        return v;
}

static PmFile *file_of(PacMaker *m, const char *id) {
        PmFile *f = pm_find(m, id);

        if (!f)
                fail("the package has no such file", id);
        return f;
}

static void set_size(PacMaker *m, char *arg) {
        const char *value = value_of(arg);
        PmFile *f = file_of(m, arg);

        f->size = parse_size(value);
        if (f->data == PM_NONE)
                fail("this is an operation, it has no data", arg);
}

static void set_partitions(PacMaker *m, char *arg) {
        m->n_partitions = 0;
        if (strcmp(arg, "none") == 0)
                return;
        for (char *save = NULL, *p = strtok_r(arg, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
                const char *size = value_of(p);
                pm_partition(m, p, size);
        }
}

static void set_key(PacMaker *m, char *arg) {
        const char *v = value_of(arg);

        if (strcmp(arg, "product") == 0)
                snprintf(m->product, sizeof(m->product), "%s", v);
        else if (strcmp(arg, "version") == 0)
                snprintf(m->product_version, sizeof(m->product_version), "%s", v);
        else if (strcmp(arg, "alias") == 0)
                snprintf(m->alias, sizeof(m->alias), "%s", v);
        else if (strcmp(arg, "flash-type") == 0)
                m->flash_type = m->flash_type_id = (uint32_t) parse_size(v);
        else if (strcmp(arg, "nand-strategy") == 0)
                m->nand_strategy = (uint32_t) parse_size(v);
        else if (strcmp(arg, "nv-backup") == 0)
                m->nv_backup = (uint32_t) (m->xml_nv_backup = (int) parse_size(v));
        else if (strcmp(arg, "header") == 0)
                m->version = (int) parse_size(v);
        else
                fail("no such key", arg);
}

static void add_variant(PacMaker *m, char *arg) {
        char *name = value_of(arg), *size = strchr(name, '=');

        if (size)
                *size++ = '\0';
        pm_variant(m, file_of(m, arg), name, size ? parse_size(size) : file_of(m, arg)->size);
}

static void select_by(PacMaker *m, char *arg) {
        const char *v = value_of(arg);

        if (strcmp(v, "flash") != 0 && strcmp(v, "rf") != 0)
                fail("flash or rf", v);
        snprintf(file_of(m, arg)->attributes, sizeof(file_of(m, arg)->attributes), "selby%s=\"1\"", v);
}

static void set_attributes(PacMaker *m, char *arg) {
        const char *v = value_of(arg);

        snprintf(file_of(m, arg)->attributes, sizeof(file_of(m, arg)->attributes), "%s", v);
}

static void remove_file(PacMaker *m, const char *id) {
        PmFile *f = file_of(m, id);

        f->in_table = f->in_xml = false;
        pm_select(f, false);
}

static void poke(PacMaker *m, uint8_t *header, uint8_t *table, unsigned n, void *userdata) {
        (void) m;
        (void) userdata;
        for (size_t i = 0; i < wrong.n_pokes; i++) {
                char *end;
                unsigned long at = strtoul(wrong.pokes[i], &end, 0);
                uint8_t *p = header + at;

                if (*end == '+') {
                        if (at >= n)
                                fail("no such entry", wrong.pokes[i]);
                        p = table + 2580 * at + strtoul(end + 1, &end, 0);
                }
                if (*end++ != '=')
                        fail("a value is missing", wrong.pokes[i]);
                for (unsigned byte; sscanf(end, "%2x", &byte) == 1; end += 2)
                        *p++ = (uint8_t) byte;
        }
}

static void break_header(PacMaker *m, uint8_t *header, void *userdata) {
        (void) m;
        (void) userdata;
        if (wrong.broken >= 0)
                header[wrong.broken] ^= 1;
}

static void edit(PacMaker *m, char **xml, size_t *size, void *userdata) {
        (void) m;
        (void) userdata;
        for (size_t i = 0; i < wrong.n_edits; i++) {
                char *old = strdup(wrong.edits[i]), *new = old ? strstr(old, "=>") : NULL;

                if (!new)
                        fail("a value is missing", wrong.edits[i]);
                *new = '\0';
                if (!memmem(*xml, *size, old, strlen(old)))
                        fail("the configuration has no such text", old);
                pm_replace(xml, size, old, new + 2);
                free(old);
        }
}

static void remember(const char **list, size_t *n, const char *arg) {
        if (*n >= CHANGES_MAX)
                fail("too many changes", arg);
        list[(*n)++] = arg;
}

static void set_file(PacMaker *m, char *arg) {
        char *key = value_of(arg), *v = value_of(key);
        PmFile *f = file_of(m, arg);

        if (strcmp(key, "id") == 0)
                snprintf(f->id, sizeof(f->id), "%s", v);
        else if (strcmp(key, "type") == 0)
                snprintf(f->type, sizeof(f->type), "%s", v);
        else if (strcmp(key, "name") == 0)
                snprintf(f->name, sizeof(f->name), "%s", v);
        else if (strcmp(key, "block") == 0)
                snprintf(f->blocks[0].id, sizeof(f->blocks[0].id), "%s", v);
        else if (strcmp(key, "base") == 0)
                f->blocks[0].base = parse_size(v);
        else if (strcmp(key, "limit") == 0)
                f->blocks[0].size = parse_size(v);
        else if (strcmp(key, "head") == 0)
                snprintf(f->head, sizeof(f->head), "%s", v);
        else if (strcmp(key, "load") == 0)
                f->load_address = (uint32_t) parse_size(v);
        else if (strcmp(key, "table") == 0)
                f->in_table = parse_size(v) != 0;
        else if (strcmp(key, "xml") == 0)
                f->in_xml = parse_size(v) != 0;
        else
                fail("no such key", key);
}

static void add_file(PacMaker *m, char *arg) {
        const char *partition = value_of(arg);
        char name[80];

        snprintf(name, sizeof(name), "%s.bin", arg);
        pm_random(pm_add_name(m, arg, "CODE2", partition, 0), name, 4096);
}

static void apply_wrong(PacMaker *m, int option, char *arg) {
        m->change_table = poke;
        m->change_sums = break_header;
        m->change_xml = edit;
        switch (option) {
        case 'P':
                remember(wrong.pokes, &wrong.n_pokes, arg);
                break;
        case 'X':
                remember(wrong.edits, &wrong.n_edits, arg);
                break;
        case 'B':
                wrong.broken = (long) parse_size(arg);
                break;
        case 'F':
                set_file(m, arg);
                break;
        case 'A':
                add_file(m, arg);
                break;
        case 'T':
                m->trailing = parse_size(arg);
                break;
        }
}

static void apply(PacMaker *m, int option, char *arg) {
        if (option >= 'A' && option <= 'Z') {
                apply_wrong(m, option, arg);
                return;
        }
        switch (option) {
        case 's':
                m->seed = parse_size(arg);
                break;
        case 'z':
                set_size(m, arg);
                break;
        case 'p':
                set_partitions(m, arg);
                break;
        case 'k':
                set_key(m, arg);
                break;
        case 'u':
                pm_select(file_of(m, arg), false);
                break;
        case 'r':
                remove_file(m, arg);
                break;
        case 'a':
                file_of(m, arg)->data = PM_SPARSE;
                break;
        case 'v':
                add_variant(m, arg);
                break;
        case 'b':
                select_by(m, arg);
                break;
        case 't':
                set_attributes(m, arg);
                break;
        case 'x':
                snprintf(m->product_extra, sizeof(m->product_extra), "%s\n", arg);
                break;
        case 'n':
                file_of(m, arg)->data = PM_RANDOM;
                break;
        case 'e':
                strcpy(file_of(m, "FDL")->mark, "##PORT-SECOND-ENUM##");
                break;
        default:
                fputs(usage, option == 'h' ? stdout : stderr);
                exit(option == 'h' ? 0 : 2);
        }
}

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                {"seed", required_argument, NULL, 's'},
                {"size", required_argument, NULL, 'z'},
                {"partitions", required_argument, NULL, 'p'},
                {"set", required_argument, NULL, 'k'},
                {"unselect", required_argument, NULL, 'u'},
                {"remove", required_argument, NULL, 'r'},
                {"sparse", required_argument, NULL, 'a'},
                {"plain", required_argument, NULL, 'n'},
                {"second-enum", no_argument, NULL, 'e'},
                {"variant", required_argument, NULL, 'v'},
                {"select", required_argument, NULL, 'b'},
                {"attributes", required_argument, NULL, 't'},
                {"product-xml", required_argument, NULL, 'x'},
                {"poke", required_argument, NULL, 'P'},
                {"break", required_argument, NULL, 'B'},
                {"xml", required_argument, NULL, 'X'},
                {"file", required_argument, NULL, 'F'},
                {"add", required_argument, NULL, 'A'},
                {"trailing", required_argument, NULL, 'T'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        PacMaker *m;
        int o, fd, r;

        if (argc < 3 || argv[1][0] == '-') {
                bool help = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
                fputs(usage, help ? stdout : stderr);
                return help ? 0 : 2;
        }
        m = pm_new_family(argv[1], 1);
        if (!m)
                fail("no such family", argv[1]);
        optind = 3;
        while ((o = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                apply(m, o, optarg);
        if (optind < argc)
                fail("one argument too many", argv[optind]);
        fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        r = fd < 0 ? -errno : pm_write(m, fd);
        if (r == 0 && close(fd) < 0)
                r = -errno;
        pm_free(m);
        if (r < 0)
                fail(argv[2], strerror(-r));
        return 0;
}
