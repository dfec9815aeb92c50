/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/conf-file.h"

#include <dirent.h>
#include <ini.h>
#include <stdarg.h>

int conf_bad(ConfFile *c, const char *format, ...) {
        char text[480];
        va_list ap;

        if (c->failed)
                return 0;
        c->failed = true;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        call_error_set(c->e, BUS_ERROR_INVALID_OPTION, "%s:%u: %s", c->path, c->number, text);
        return 0;
}

static int on_setting(void *userdata, const char *section, const char *key, const char *value) {
        ConfFile *c = userdata;

        return c->failed ? 0 : c->set(c, section, key, value);
}

/* Feeds libinih line by line, so that mistakes can be reported with their line. */
static char *read_line(char *str, int num, void *stream) {
        ConfFile *c = stream;
        size_t n;

        if (c->failed || num < 4 || !fgets(str, num - 2, c->file))
                return NULL;
        c->number++;
        n = strlen(str);
        c->bytes += n;
        if (c->bytes > c->size_max)
                conf_bad(c, "The file is too large.");
        else if (n > 0 && str[n - 1] != '\n' && !feof(c->file))
                conf_bad(c, "The line is too long or holds a zero byte.");
        else if ((str[0] == ' ' || str[0] == '\t') && str[strspn(str, " \t\r\n")] != '\0')
                conf_bad(c, "A line must not begin with a blank: settings cannot be continued.");
        else
                c->line(c, str);
        return c->failed ? NULL : str;
}

int conf_read(ConfFile *c, const char *path, bool optional, CallError *e) {
        int r;

        c->path = path;
        c->e = e;
        c->file = fopen(path, "re");
        if (!c->file) {
                if (optional && errno == ENOENT)
                        return 0;
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s cannot be read: %s.", path, strerror(errno));
        }
        r = ini_parse_stream(read_line, c, on_setting, c);
        if (ferror(c->file))
                conf_bad(c, "The file cannot be read to its end.");
        fclose(TAKE_PTR(c->file));
        if (!c->failed && r != 0) {
                c->number = r > 0 ? (unsigned) r : c->number;
                conf_bad(c, "This is neither a section nor a setting nor a comment.");
        }
        return c->failed ? -1 : 0;
}

static int is_conf(const struct dirent *d) {
        size_t n = strlen(d->d_name);
        return d->d_name[0] != '.' && n > 5 && streq(d->d_name + n - 5, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b) {
        return strcmp((*a)->d_name, (*b)->d_name);
}

int conf_each(const char *folder, int (*each)(const char *folder, const char *name, void *userdata, CallError *e), void *userdata,
              CallError *e) {
        struct dirent **list = NULL;
        int n = scandir(folder, &list, is_conf, by_name), r = 0;

        if (n < 0 && errno != ENOENT && errno != ENOTDIR)
                r = call_error_set(e, BUS_ERROR_INVALID_OPTION, "%s cannot be read: %s.", folder, strerror(errno));
        for (int i = 0; i < n; i++) {
                if (r == 0)
                        r = each(folder, list[i]->d_name, userdata, e);
                free(list[i]);
        }
        free(list);
        return r;
}
