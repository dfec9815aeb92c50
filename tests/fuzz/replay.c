/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A harness without a fuzzer: runs each file, and each file of each folder, that is named. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (16u << 20)

static unsigned tried;

static void replay_file(const char *path) {
        FILE *f = fopen(path, "re");
        uint8_t *data;
        size_t n;

        if (!f) {
                perror(path);
                exit(EXIT_FAILURE);
        }
        data = malloc(INPUT_MAX);
        if (!data)
                abort();
        n = fread(data, 1, INPUT_MAX, f);
        fclose(f);
        /* of exactly that size: a read beyond the end must show */
        data = realloc(data, n ? n : 1);
        (void) LLVMFuzzerTestOneInput(data, n);
        free(data);
        tried++;
}

static void replay(const char *path) {
        struct dirent **names;
        struct stat st;
        int n;

        if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
                replay_file(path);
                return;
        }
        n = scandir(path, &names, NULL, alphasort);
        if (n < 0) {
                perror(path);
                exit(EXIT_FAILURE);
        }
        for (int i = 0; i < n; i++) {
                char whole[4096];

                if (names[i]->d_name[0] != '.') {
                        snprintf(whole, sizeof(whole), "%s/%s", path, names[i]->d_name);
                        replay(whole);
                }
                free(names[i]);
        }
        free(names);
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                replay(argv[i]);
        printf("%u inputs\n", tried);
        return EXIT_SUCCESS;
}
