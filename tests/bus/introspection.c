/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "introspection.h"

#include <check.h>
#include <expat.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
        const char *interface;
        Lines *lines;
        bool inside;
        char line[1024], emits[32];
        bool property;
} Reader;

static const char *attribute(const char **attributes, const char *name) {
        for (; *attributes; attributes += 2)
                if (strcmp(attributes[0], name) == 0)
                        return attributes[1];
        return "";
}

static void add(Reader *r, const char *text) {
        size_t n = strlen(r->line);

        snprintf(r->line + n, sizeof(r->line) - n, "%s", text);
}

static void begin(void *userdata, const char *element, const char **a) {
        Reader *r = userdata;

        if (strcmp(element, "interface") == 0)
                r->inside = strcmp(attribute(a, "name"), r->interface) == 0;
        if (!r->inside)
                return;
        if (strcmp(element, "method") == 0 || strcmp(element, "signal") == 0 || strcmp(element, "property") == 0) {
                snprintf(r->line, sizeof(r->line), "%s %s", element, attribute(a, "name"));
                r->property = element[0] == 'p';
                strcpy(r->emits, "true");
                if (r->property) {
                        add(r, " ");
                        add(r, attribute(a, "type"));
                        add(r, " ");
                        add(r, attribute(a, "access"));
                }
        } else if (strcmp(element, "arg") == 0) {
                add(r, " ");
                add(r, attribute(a, "direction"));
                add(r, " ");
                add(r, attribute(a, "type"));
                add(r, " ");
                add(r, attribute(a, "name"));
                add(r, ",");
        } else if (strcmp(element, "annotation") == 0) {
                if (strstr(attribute(a, "name"), "EmitsChangedSignal"))
                        snprintf(r->emits, sizeof(r->emits), "%s", attribute(a, "value"));
                else {
                        add(r, " annotation ");
                        add(r, attribute(a, "name"));
                }
        }
}

static void end(void *userdata, const char *element) {
        Reader *r = userdata;

        if (!r->inside)
                return;
        if (strcmp(element, "interface") == 0)
                r->inside = false;
        else if (strcmp(element, "method") == 0 || strcmp(element, "signal") == 0 || strcmp(element, "property") == 0) {
                if (r->property) {
                        add(r, " ");
                        add(r, r->emits);
                }
                ck_assert_uint_lt(r->lines->n, 256);
                r->lines->lines[r->lines->n++] = strdup(r->line);
        }
}

static int compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

void interface_lines(const char *xml, size_t size, const char *interface, Lines *ret) {
        Reader r = {.interface = interface, .lines = ret};
        XML_Parser parser = XML_ParserCreate(NULL);

        memset(ret, 0, sizeof(*ret));
        XML_SetUserData(parser, &r);
        XML_SetElementHandler(parser, begin, end);
        ck_assert_msg(XML_Parse(parser, xml, (int) size, true) == XML_STATUS_OK, "bad XML: %s in line %lu",
                      XML_ErrorString(XML_GetErrorCode(parser)), XML_GetCurrentLineNumber(parser));
        XML_ParserFree(parser);
        qsort(ret->lines, ret->n, sizeof(char *), compare);
}

void lines_free(Lines *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->lines[i]);
        l->n = 0;
}

char *read_whole_file(const char *path, size_t *ret_size) {
        FILE *f = fopen(path, "re");
        char *data = NULL;
        size_t capacity = 0;

        ck_assert_msg(f, "cannot open %s", path);
        *ret_size = 0;
        if (getdelim(&data, &capacity, EOF, f) > 0)
                *ret_size = strlen(data);
        fclose(f);
        return data;
}
