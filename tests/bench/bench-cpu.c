/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* bench-cpu PID: the processor time of all its threads, those that have ended too, in µs. /proc tells it in ticks of 10 ms, of which writing a
 * whole image takes a few. */
int main(int argc, char **argv) {
        int pid = argc == 2 ? atoi(argv[1]) : 0;
        clockid_t clock;
        struct timespec t;

        if (pid <= 0) { /* 0 would be this program */
                fputs("usage: bench-cpu PID\n", stderr);
                return EXIT_FAILURE;
        }
        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0) {
                fprintf(stderr, "bench-cpu: there is no process %d\n", pid);
                return EXIT_FAILURE;
        }
        printf("%lld\n", (long long) t.tv_sec * 1000000 + t.tv_nsec / 1000);
        return EXIT_SUCCESS;
}
