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
        "Makes a firmware package for tests. FAMILY: uis8910, uis8850, phone.\n\n"
        "  --seed=N              other images (default 1)\n"
        "  --size=ID=SIZE        size of a file, with K, M or G; above 64M it is made of holes\n"
        "  --partitions=none     no partition table\n"
        "  --partitions=NAME=SIZE[,NAME=SIZE…]  another table, MiB, 0xFFFFFFFF the rest\n"
        "  --set=KEY=VALUE       product, version, alias, flash-type, nand-strategy, nv-backup, header (1 or 2)\n"
        "  --unselect=ID         in the package, but not ticked\n"
        "  --remove=ID           not in the package\n"
        "  --sparse=ID           make it an Android sparse image that expands to its size\n"
        "  --second-enum         the first loader wants to come back on another port\n";

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

static void remove_file(PacMaker *m, const char *id) {
        PmFile *f = file_of(m, id);

        f->in_table = f->in_xml = false;
        pm_select(f, false);
}

static void apply(PacMaker *m, int option, char *arg) {
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
                {"second-enum", no_argument, NULL, 'e'},
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
