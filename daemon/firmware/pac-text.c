/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "firmware/pac-internal.h"

int pac_refuse(Failure *f, const char *detail, const char *field, uint64_t offset, const char *format, ...) {
        char reason[200];
        va_list ap;

        va_start(ap, format);
        vsnprintf(reason, sizeof(reason), format, ap);
        va_end(ap);
        if (f)
                f->offset = offset;
        return failure_set(f, CLASS_PLAN, detail, "%s at offset %llu: %s", field, (unsigned long long) offset, reason);
}

bool pac_same_id(const char *a, const char *b) {
        return strcasecmp(a, b) == 0;
}

static const char *char_fault(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029)
                return "it holds a control character";
        if (c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
                return "it holds a mark that changes the direction of text";
        if (c >= 0xd800 && c < 0xe000)
                return "it holds a surrogate";
        if (c == 0xfeff || c == 0xfffe || c == 0xffff)
                return "it holds a character that is none";
        return NULL;
}

/* Decodes one character of well-formed or ill-formed UTF-8; 0 at the end, U32 max if ill-formed. */
static uint32_t next_char(const char **p) {
        const uint8_t *s = (const uint8_t *) *p;
        unsigned n = s[0] < 0x80                   ? 0
                     : s[0] >= 0xc2 && s[0] < 0xe0 ? 1
                     : s[0] >= 0xe0 && s[0] < 0xf0 ? 2
                     : s[0] >= 0xf0 && s[0] < 0xf5 ? 3
                                                   : 9;
        uint32_t c = n == 0 ? s[0] : n == 1 ? s[0] & 0x1fu : n == 2 ? s[0] & 0xfu : s[0] & 7u;

        if (n == 9)
                return UINT32_MAX;
        for (unsigned i = 1; i <= n; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return UINT32_MAX;
                c = c << 6 | (s[i] & 0x3fu);
        }
        if ((n == 2 && c < 0x800) || (n == 3 && (c < 0x10000 || c > 0x10ffff)))
                return UINT32_MAX;
        *p += c ? n + 1 : 0;
        return c;
}

const char *pac_text_fault(const char *utf8) {
        uint32_t c;

        while ((c = next_char(&utf8))) {
                const char *fault = c == UINT32_MAX ? "it is not UTF-8" : char_fault(c);
                if (fault)
                        return fault;
        }
        return NULL;
}

static size_t put_utf8(uint32_t c, char *ret) {
        if (c < 0x80) {
                ret[0] = (char) c;
                return 1;
        }
        if (c < 0x800) {
                ret[0] = (char) (0xc0 | c >> 6);
                ret[1] = (char) (0x80 | (c & 0x3f));
                return 2;
        }
        ret[0] = (char) (0xe0 | c >> 12);
        ret[1] = (char) (0x80 | (c >> 6 & 0x3f));
        ret[2] = (char) (0x80 | (c & 0x3f));
        return 3;
}

const char *pac_utf16_field(const uint8_t *data, size_t units, char *ret, size_t size) {
        size_t n = 0, i = 0;

        for (; i < units && get_le16(data + 2 * i); i++) {
                const char *fault = char_fault(get_le16(data + 2 * i));
                char utf8[4];
                size_t len;

                if (fault)
                        return fault;
                len = put_utf8(get_le16(data + 2 * i), utf8);
                if (n + len >= size)
                        return "it is too long";
                memcpy(ret + n, utf8, len);
                n += len;
        }
        if (i == units)
                return "it does not end with a NUL";
        ret[n] = '\0';
        for (; i < units; i++)
                if (get_le16(data + 2 * i))
                        return "something stands behind its end";
        return NULL;
}

static bool is_device_name(const char *name) {
        static const char *const devices[] = {"con", "prn", "aux", "nul", "com", "lpt"};
        size_t stem = strcspn(name, ".");

        for (size_t i = 0; i < ELEMENTSOF(devices); i++) {
                if (strncasecmp(name, devices[i], 3) != 0)
                        continue;
                if (i < 4 ? stem == 3 : stem == 4 && isdigit((unsigned char) name[3]))
                        return true;
        }
        return false;
}

const char *pac_file_name_fault(const char *name) {
        if (strpbrk(name, "/\\"))
                return "the name holds a path separator";
        if (strchr(name, ':'))
                return "the name holds a colon";
        if (name[0] == '.')
                return "the name begins with a dot";
        if (strstr(name, ".."))
                return "the name holds two dots in a row";
        if (is_device_name(name))
                return "it is the name of a device";
        return NULL;
}
