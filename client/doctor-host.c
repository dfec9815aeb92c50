/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/macro.h"
#include "doctor.h"

/* What the sandboxed daemon cannot see, or is not asked: users and groups, who owns the state directory, and what the kernel has said. */

#define STATE_DIRECTORY "/var/lib/fdld"
#define SERVICE_USER "fdld"
#define LOG_LINES 8
#define LOG_LINE_MAX 200
#define LOG_RECORDS_MAX 200000

/* ---- users and groups ---- */

static bool in_group(gid_t group) {
        gid_t groups[256];
        int n = getgroups(ELEMENTSOF(groups), groups);

        if (getegid() == group)
                return true;
        for (int i = 0; i < n; i++)
                if (groups[i] == group)
                        return true;
        return false;
}

static void check_group(struct json_object *findings) {
        const struct passwd *user = getpwnam(SERVICE_USER);
        const struct group *group = getgrnam(SERVICE_USER);

        if (!user || !group) {
                doctor_find(findings, "group", "bad", "sudo systemd-sysusers",
                            "There is no user and group \"" SERVICE_USER "\": the service cannot start, and the udev rule gives devices to nobody.");
                return;
        }
        doctor_find(findings, "group", "good", "", "Devices belong to the group %s (%u); you %s in it, which is not needed to use fdlctl.", group->gr_name,
                    (unsigned) group->gr_gid, in_group(group->gr_gid) ? "are" : "are not");
}

static void check_owner(struct json_object *findings) {
        const struct passwd *user = getpwnam(SERVICE_USER);
        struct stat st;

        if (!user || stat(STATE_DIRECTORY, &st) < 0)
                return;
        if (st.st_uid != user->pw_uid && st.st_uid != 0)
                doctor_find(findings, "state-owner", "bad", "sudo chown -R " SERVICE_USER ": " STATE_DIRECTORY,
                            STATE_DIRECTORY " belongs to user %u, not to " SERVICE_USER " (%u): the daemon cannot record anything.", (unsigned) st.st_uid,
                            (unsigned) user->pw_uid);
        else
                doctor_find(findings, "state-owner", "good", "", STATE_DIRECTORY " belongs to the right user.");
}

/* ---- the kernel's log ---- */

typedef struct Tail {
        char lines[LOG_LINES][LOG_LINE_MAX];
        size_t n;
        bool power, dead;
} Tail;

/* Lines about USB that tell of trouble; others would only be noise. */
static bool is_trouble(const char *text) {
        static const char *const words[] = {"over-current", "descriptor read", "unable to enumerate", "not accepting address", "device not responding",
                                            "cannot reset", "reset high-speed", "reset full-speed", "error -71", "error -110", "error -32",
                                            "disabled by hub", "not running at top speed", "HC died", "host controller not responding",
                                            "Not enough bandwidth", "No resources", "usbfs: process", "babble"};

        if (!strcasestr(text, "usb") && !strcasestr(text, "xhci") && !strcasestr(text, "hub"))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                if (strcasestr(text, words[i]))
                        return true;
        return false;
}

/* "level,number,usec,flags;text", continuation lines behind it. */
static void take_record(Tail *tail, char *record) {
        char *text = strchr(record, ';');
        unsigned long long usec = 0;

        if (!text || sscanf(record, "%*u,%*u,%llu", &usec) != 1)
                return;
        *text++ = '\0';
        text[strcspn(text, "\n")] = '\0';
        if (!is_trouble(text))
                return;
        tail->power = tail->power || strcasestr(text, "over-current");
        tail->dead = tail->dead || strcasestr(text, "unable to enumerate");
        snprintf(tail->lines[tail->n++ % LOG_LINES], LOG_LINE_MAX, "[%llu.%03llu] %.160s", usec / 1000000, usec / 1000 % 1000, text);
}

static int read_log(Tail *tail) {
        int fd = open("/dev/kmsg", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        char record[8192];

        if (fd < 0)
                return -errno;
        for (unsigned i = 0; i < LOG_RECORDS_MAX; i++) {
                ssize_t n = read(fd, record, sizeof(record) - 1);
                if (n < 0 && (errno == EPIPE || errno == EINTR)) /* some were overwritten meanwhile */
                        continue;
                if (n <= 0)
                        break;
                record[n] = '\0';
                take_record(tail, record);
        }
        close(fd);
        return 0;
}

static void check_kernel_log(struct json_object *findings) {
        Tail tail = {};
        int r = read_log(&tail);
        size_t shown = MIN(tail.n, (size_t) LOG_LINES);

        if (r < 0) {
                doctor_find(findings, "kernel-log", "note", "sudo fdlctl doctor", "The kernel's log may not be read by you (%s).", strerror(-r));
                return;
        }
        if (tail.n == 0) {
                doctor_find(findings, "kernel-log", "good", "", "The kernel has logged no trouble with USB.");
                return;
        }
        if (tail.power)
                doctor_find(findings, "usb-power", "bad", "journalctl -k --grep=over-current",
                            "A hub or port was overloaded (over-current): use a hub with a stronger power supply, or fewer devices at it.");
        if (tail.dead)
                doctor_find(findings, "usb-no-start", "note", "fdlctl explain finish-gone-no-return",
                            "A device was plugged in whose port answers nothing (unable to enumerate). If it was flashed before, its boot chain is incomplete: "
                            "take it off everything, battery too, then hold its boot key and plug it in. Else it is the cable, the socket or the hub.");
        for (size_t i = 0; i < shown; i++)
                doctor_find(findings, "kernel-log", "note", i + 1 == shown ? "journalctl -k --grep=usb" : "", "%s", tail.lines[(tail.n - shown + i) % LOG_LINES]);
}

void doctor_examine_host(struct json_object *findings) {
        check_group(findings);
        check_owner(findings);
        check_kernel_log(findings);
}
