/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Settings and profiles of a batch. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "station/settings.h"

static char folder[] = "/tmp/fdld-fuzz.XXXXXX";
static char settings_path[64], profile_path[96], profiles_path[64];

static void clear(void) {
        unlink(settings_path);
        unlink(profile_path);
        rmdir(profiles_path);
        rmdir(folder);
}

static void prepare(void) {
        MUST(mkdtemp(folder));
        snprintf(settings_path, sizeof(settings_path), "%s/fdld.conf", folder);
        snprintf(profiles_path, sizeof(profiles_path), "%s/profiles.d", folder);
        snprintf(profile_path, sizeof(profile_path), "%s/night.conf", profiles_path);
        MUST(mkdir(profiles_path, 0700) == 0);
        atexit(clear);
}

static void put(const char *path, const uint8_t *data, size_t size) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        MUST(fd >= 0 && write(fd, data, size) == (ssize_t) size);
        close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static Settings settings;
        static ProfileList profiles;
        CallError e = {};

        if (!settings_path[0])
                prepare();
        put(settings_path, data, size);
        put(profile_path, data, size);
        settings_default(&settings);
        if (settings_load(&settings, folder, &e) < 0)
                MUST(e.text[0]);
        else
                MUST(settings.n_slot_options <= 64 && settings.n_allow_ids <= 8 && settings.max_parallel_jobs > 0);
        if (profiles_load(profiles_path, &profiles, &e) < 0)
                MUST(e.text[0]);
        else
                MUST(profiles.n <= PROFILES_MAX);
        return 0;
}
