/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/package-store.h"

/* Between the directory (package-store.c) and the tasks that work on it (import.c). All of it from any thread. Functions
 * give 0, 1 with *f, or -errno. */

#define IMPORT_TMP_PREFIX ".import-"

PackageStore *package_store_ref(PackageStore *p);
PackageStore *package_store_unref(PackageStore *p);
const char *package_store_path(const PackageStore *p);

/* Room for `size` bytes, of which about `blocks` will need disk: held until package_store_release(). */
int package_store_reserve(PackageStore *p, uint64_t size, uint64_t blocks, Failure *f);
bool package_store_has_size(PackageStore *p, uint64_t size); /* a package of just this size is stored */
void package_store_release(PackageStore *p, uint64_t size);

int package_store_make_tmp(PackageStore *p, char ret_name[static 32], int *ret_fd); /* 0 or -errno */
void package_store_drop_tmp(PackageStore *p, const char *name);
/* Makes the synced temporary file the package. */
int package_store_publish(PackageStore *p, const char *tmp, const char *digest, uint64_t size, bool *ret_existed, Failure *f);
int package_store_open_package(PackageStore *p, const char *digest, int *ret_fd); /* 0 or -errno */

/* "12.3 MiB" */
const char *size_to_text(uint64_t size, char ret[static 24]);
