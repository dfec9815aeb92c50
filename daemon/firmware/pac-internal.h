/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firmware/pac.h"

/* Shared by the parts of the package reader only. */

#define PAC_HEADER_SIZE 2124u
#define PAC_ENTRY_SIZE 2580u
#define PAC_MAGIC 0xfffafffau
#define PAC_NAME_MAX 35 /* characters of a partition name */

/* What pac_parse() allocates: the public view first, then what pac_verify() needs to know that it reads the same bytes.
 */
typedef struct PacPrivate {
        Pac pac;
        uint64_t head_size; /* header and table */
        uint64_t xml_offset, xml_size;
        uint8_t head_sha256[32], xml_sha256[32];
} PacPrivate;

typedef struct PacEntry {
        char id[128], name[256];
        uint64_t size, offset;
        uint64_t at; /* offset of the entry itself, for texts */
        uint32_t flag, check, omit;
        bool joined;
} PacEntry;

/* Refusal: class plan, "<field> at offset <offset>: <reason>". Returns 1. */
int pac_refuse(Failure *f, const char *detail, const char *field, uint64_t offset, const char *format, ...)
        _printf_(5, 6);

/* NULL if the text may be shown to people, else what is wrong with it. */
const char *pac_text_fault(const char *utf8);
/* Fixed field of UTF-16LE units, NUL padded. NULL or what is wrong with it. */
const char *pac_utf16_field(const uint8_t *data, size_t units, char *ret, size_t size);
/* NULL or why no file should have this name. */
const char *pac_file_name_fault(const char *name);
bool pac_same_id(const char *a, const char *b); /* ASCII case does not count */

/* Product and scheme of the configuration; fills everything of *pac that stands in the XML. `at`: offset within the
 * package. */
int pac_parse_xml(Pac *pac, const char *xml, size_t size, uint64_t at, Failure *f);
/* What is well formed but dangerous; numbers as in the list of malformed packages that the tests follow. */
int pac_collect_warnings(const PacReader *reader, Pac *pac);
int pac_warn(Pac *pac, const char *format, ...) _printf_(2, 3);
