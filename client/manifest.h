/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

/* DIR/manifest.json of a backup: the device's table, who it was, and each file with size and SHA-256. Version 1:
 *
 *      {"fdld-backup":1, "created_usec":N, "family":"phone", "package":"sha256", "identity":{"chip-uid":"…", …},
 *       "table":[{"name":"boot","size":N}, …],
 *       "files":[{"partition":"boot" | "address":N, "file":"boot.img","size":N,"sha256":"…"}, …]}
 */
#define MANIFEST_NAME "manifest.json"
#define MANIFEST_BACKUP "fdld-backup"
/* What was copied out of the vault: {"fdld-vault":1, "files":[{"file":"ID.img","size":N,"sha256":"…", "id":…, "unit":… and so on}, …]} */
#define MANIFEST_VAULT "fdld-vault"

/* Exit codes; messages are printed. */
int manifest_make_folder(const char *directory); /* refused if there is a manifest in it already, but for --force */
int manifest_write(const char *directory, struct json_object *manifest);
int manifest_read(const char *directory, const char *kind, struct json_object **ret);
/* Every file is there, as long as it was, with the same hash. */
int manifest_check_files(const char *directory, struct json_object *manifest);
