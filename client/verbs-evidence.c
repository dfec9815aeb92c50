/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus-client.h"
#include "common/macro.h"
#include "evidence.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"

#define TEXT_MAX (64U * 1024 * 1024)

static int read_whole(int fd, char **ret, size_t *ret_size) {
        struct stat st;
        size_t n = 0;
        char *text;

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > TEXT_MAX)
                return -EBADMSG;
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        while (n < (size_t) st.st_size) {
                ssize_t k = pread(fd, text + n, (size_t) st.st_size - n, (off_t) n);
                if (k <= 0)
                        break;
                n += (size_t) k;
        }
        text[n] = '\0';
        *ret = text;
        *ret_size = n;
        return 0;
}

int evidence_trace(sd_bus *bus, const char *job_path, bool quiet, char **ret, size_t *ret_size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int code, fd, r;

        if (quiet) {
                r = sd_bus_call_method(bus, FDLD_NAME, job_path, FDLD_IFACE("Job"), "Trace", NULL, &reply, "");
                code = r < 0 ? EXIT_NOT_FOUND : 0;
        } else
                code = client_call(bus, job_path, FDLD_IFACE("Job"), "Trace", &reply, "");
        if (code)
                return code;
        r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = read_whole(fd, ret, ret_size);
        return r < 0 ? client_report("trace", NULL, r) : 0;
}

/* Whatever the daemon says: nothing but what a terminal bears. */
static void print_text(const char *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                putchar(text[i] == '\n' || (text[i] >= ' ' && text[i] < 0x7f) ? text[i] : '.');
}

static int write_pcap(const char *path, const char *text, size_t size) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (arg_force ? O_TRUNC : O_EXCL), 0644), r = fd < 0 ? -errno : 0;
        FILE *out = fd >= 0 ? fdopen(fd, "wb") : NULL;
        unsigned line = 0;

        if (out) {
                r = pcap_write(out, text, size, &line);
                if (fclose(out) != 0 && r == 0)
                        r = -errno;
        }
        if (r == -EBADMSG)
                fprintf(stderr, "fdlctl: The trace cannot be understood from its line %u on; is this fdlctl older than the daemon?\n", line);
        else if (r == -EEXIST)
                fprintf(stderr, "fdlctl: %s exists; --force overwrites it.\n", path);
        else if (r < 0)
                fprintf(stderr, "fdlctl: %s cannot be written: %s.\n", path, strerror(-r));
        return r < 0 ? EXIT_OTHER : 0;
}

int verb_trace(int argc _unused_, char **argv) {
        _cleanup_free_ char *text = NULL;
        char path[PATH_TEXT_MAX];
        size_t size = 0;
        int code = 0;
        sd_bus *bus = client_connect(&code);

        if (!bus)
                return code;
        code = find_job(argv[1], path);
        if (code == 0)
                code = evidence_trace(bus, path, false, &text, &size);
        if (code == 0 && arg_pcap)
                code = write_pcap(arg_pcap, text, size);
        else if (code == 0)
                print_text(text, size);
        sd_bus_flush_close_unref(bus);
        return code;
}

int verb_logs(int argc _unused_, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        char path[PATH_TEXT_MAX], buffer[4096];
        int code = 0, fd;
        sd_bus *bus = client_connect(&code);
        ssize_t n;

        if (!bus)
                return code;
        code = find_job(argv[1], path);
        if (code == 0)
                code = client_call(bus, path, FDLD_IFACE("Job"), "FollowLog", &reply, "");
        if (code == 0 && sd_bus_message_read(reply, "h", &fd) < 0)
                code = client_report("logs", NULL, -EBADMSG);
        while (code == 0 && ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)))
                if (n > 0) {
                        for (ssize_t i = 0; i < n; i++)
                                putchar((unsigned char) buffer[i] >= ' ' || buffer[i] == '\n' ? buffer[i] : '.');
                        fflush(stdout);
                }
        sd_bus_flush_close_unref(bus);
        return code;
}
