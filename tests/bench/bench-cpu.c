/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* bench-cpu PID: the processor time of all its threads, those that have ended too, in µs. /proc tells it in ticks of 10 ms, of which writing a
 * whole image takes a few. */
int main(int argc, char **argv) {
        clockid_t clock;
        struct timespec t;
        int r = argc == 2 ? clock_getcpuclockid(atoi(argv[1]), &clock) : EXIT_FAILURE;

        if (argc != 2 || r != 0 || clock_gettime(clock, &t) < 0) {
                fprintf(stderr, "usage: bench-cpu PID%s%s\n", argc == 2 && r != 0 ? ": " : "", argc == 2 && r != 0 ? strerror(r) : "");
                return EXIT_FAILURE;
        }
        printf("%lld\n", (long long) t.tv_sec * 1000000 + t.tv_nsec / 1000);
        return EXIT_SUCCESS;
}
