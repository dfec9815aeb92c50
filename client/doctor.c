/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bus-client.h"
#include "common/macro.h"
#include "fdlctl.h"
#include "options.h"
#include "output.h"

#define STATE_DIRECTORY "/var/lib/fdld"
#define BUILT_AFTER 1767225600 /* 2026-01-01: a clock before that is wrong */
#define FREE_BYTES (UINT64_C(1) << 30)

void doctor_find(struct json_object *findings, const char *check, const char *state, const char *command, const char *format, ...) {
        struct json_object *o = json_object_new_object();
        char text[600];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        json_object_object_add(o, "check", json_object_new_string(check));
        json_object_object_add(o, "state", json_object_new_string(state));
        json_object_object_add(o, "text", json_object_new_string(text));
        json_object_object_add(o, "command", json_object_new_string(command));
        json_object_array_add(findings, o);
}

const char *doctor_read(const char *path, char *ret, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t n = fd >= 0 ? read(fd, ret, size - 1) : -1;

        if (fd >= 0)
                close(fd);
        ret[n > 0 ? n : 0] = '\0';
        ret[strcspn(ret, "\n")] = '\0';
        return ret;
}

/* ---- what is installed ---- */

static bool exists_in(const char *const *folders, const char *name, char *ret, size_t size) {
        for (; *folders; folders++)
                if (snprintf(ret, size, "%s/%s", *folders, name) < (int) size && access(ret, F_OK) == 0)
                        return true;
        return false;
}

static void check_files(struct json_object *findings) {
        static const char *const udev[] = { "/etc/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d", NULL };
        static const char *const dbus[] = { "/etc/dbus-1/system.d", "/usr/local/share/dbus-1/system.d", "/usr/share/dbus-1/system.d", NULL };
        static const char *const polkit[] = { "/usr/share/polkit-1/actions", "/usr/local/share/polkit-1/actions", "/etc/polkit-1/actions", NULL };
        static const struct {
                const char *check, *name, *without, *command;
                const char *const *folders;
        } files[] = {
                { "udev-rule", "60-fdld.rules", "devices in download mode stay closed to fdld, and ModemManager may disturb them",
                  "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb", udev },
                { "bus-policy", "org.fdld.Fdld1.conf", "fdld may not take its name on the system bus", "sudo systemctl reload dbus", dbus },
                { "polkit", "org.fdld.fdld1.policy", "only root may flash", "sudo systemctl restart polkit", polkit },
        };
        char path[200];

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                if (exists_in(files[i].folders, files[i].name, path, sizeof(path)))
                        doctor_find(findings, files[i].check, "good", "", "%s is installed.", path);
                else
                        doctor_find(findings, files[i].check, "bad", files[i].command, "%s is not installed: %s. Install fdld whole, as a package or with make install.",
                                    files[i].name, files[i].without);
}

/* ---- clock, disk, kernel ---- */

static void check_clock(struct json_object *findings) {
        struct timex t = { .modes = 0 };

        if (time(NULL) < BUILT_AFTER)
                doctor_find(findings, "clock", "bad", "sudo timedatectl set-ntp true", "The clock is wrong by years; records would carry wrong times.");
        else if (adjtimex(&t) < 0 || (t.status & STA_UNSYNC))
                doctor_find(findings, "clock", "note", "sudo timedatectl set-ntp true", "The clock is not synchronised; records carry its time.");
        else
                doctor_find(findings, "clock", "good", "", "The clock is synchronised.");
}

static void check_disk(struct json_object *findings) {
        struct statvfs v;
        struct stat st;
        uint64_t free_bytes;

        if (stat(STATE_DIRECTORY, &st) < 0) {
                doctor_find(findings, "state-directory", "note", "sudo systemctl start fdld", STATE_DIRECTORY " is not there (%s); the service makes it at its first start.",
                            strerror(errno));
                return;
        }
        if (!S_ISDIR(st.st_mode) || (st.st_mode & 022))
                doctor_find(findings, "state-directory", "bad", "sudo chmod 0700 " STATE_DIRECTORY, STATE_DIRECTORY " must be a folder that only its owner may write (its mode is %04o).",
                            (unsigned) st.st_mode & 07777);
        if (statvfs(STATE_DIRECTORY, &v) < 0)
                return;
        free_bytes = (uint64_t) v.f_bavail * v.f_frsize;
        if (free_bytes < FREE_BYTES)
                doctor_find(findings, "disk", "bad", "fdlctl remove PACKAGE", "Only %" PRIu64 " MiB are free below " STATE_DIRECTORY ": packages and records need room.",
                            free_bytes >> 20);
        else
                doctor_find(findings, "disk", "good", "", "%" PRIu64 " MiB are free below " STATE_DIRECTORY ".", free_bytes >> 20);
}

static void check_kernel(struct json_object *findings) {
        char text[64];
        struct utsname u;
        unsigned long mb;

        if (uname(&u) == 0)
                doctor_find(findings, "kernel", "good", "", "%s %s on %s.", u.sysname, u.release, u.machine);
        if (!doctor_read("/sys/module/usbcore/parameters/usbfs_memory_mb", text, sizeof(text))[0]) {
                doctor_find(findings, "usbfs-memory", "bad", "sudo modprobe usbcore", "This kernel has no USB (usbcore is not loaded).");
                return;
        }
        mb = strtoul(text, NULL, 10);
        if (mb > 0 && mb < 64)
                doctor_find(findings, "usbfs-memory", "note", "echo 256 | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb",
                            "All programs together may have %lu MiB in USB transfers; more than about %lu devices at once can exceed that.", mb, mb * 2);
        else
                doctor_find(findings, "usbfs-memory", "good", "", "Memory for USB transfers: %lu MiB%s.", mb, mb == 0 ? " (no limit)" : "");
}

/* ---- programs that get in the way ---- */

static void check_program(struct json_object *findings, const char *name, const char *pid) {
        static const struct {
                const char *name, *state, *text, *command;
        } known[] = {
                { "spd_dump", "bad", "uses download mode devices by itself; two programs on one device break its session", "sudo pkill -x spd_dump" },
                { "spreadtrum_flash", "bad", "uses download mode devices by itself; two programs on one device break its session", "sudo pkill -f spreadtrum_flash" },
                { "usbguard-daemon", "note", "decides which USB devices may be used; devices that it blocks are not seen by fdld", "usbguard list-devices -b" },
                { "ModemManager", "note", "probes serial ports; fdld's udev rule keeps it away from devices in download mode only", "sudo systemctl mask --now ModemManager" },
                { "tlp", "note", "may put USB devices to sleep", "echo USB_AUTOSUSPEND=0 | sudo tee /etc/tlp.d/50-fdld.conf && sudo tlp start" },
        };

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strncmp(name, known[i].name, 15) == 0)
                        doctor_find(findings, "programs", known[i].state, known[i].command, "%s (process %s) %s.", known[i].name, pid, known[i].text);
}

static void check_programs(struct json_object *findings) {
        DIR *d = opendir("/proc");
        size_t before = json_object_array_length(findings);

        for (struct dirent *i; d && (i = readdir(d));) {
                char path[300], name[32];
                if (strspn(i->d_name, "0123456789") != strlen(i->d_name))
                        continue;
                snprintf(path, sizeof(path), "/proc/%s/comm", i->d_name);
                check_program(findings, doctor_read(path, name, sizeof(name)), i->d_name);
        }
        if (d)
                closedir(d);
        if (json_object_array_length(findings) == before)
                doctor_find(findings, "programs", "good", "", "No other program is known to get in the way.");
}

void doctor_examine_machine(struct json_object *findings) {
        check_files(findings);
        check_clock(findings);
        check_disk(findings);
        check_kernel(findings);
        check_programs(findings);
}

/* ---- the daemon ---- */

static void check_daemon(sd_bus *bus, struct json_object *findings) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *version = NULL;

        if (sd_bus_get_property_string(bus, FDLD_NAME, FDLD_ROOT, FDLD_IFACE("Manager"), "Version", &error, &version) < 0)
                doctor_find(findings, "daemon", "bad", "sudo systemctl start fdld && journalctl -u fdld -e", "fdld does not answer: %s",
                            error.message ? error.message : "no reply.");
        else if (!streq(version, PACKAGE_VERSION))
                doctor_find(findings, "daemon", "note", "sudo systemctl restart fdld", "fdld %s is running, and this is fdlctl " PACKAGE_VERSION ".", version);
        else
                doctor_find(findings, "daemon", "good", "", "fdld %s answers.", version);
}

static void check_polkit(sd_bus *bus, struct json_object *findings) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int owned = 0;

        if (sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner", NULL, &reply, "s",
                               "org.freedesktop.PolicyKit1") < 0 || sd_bus_message_read(reply, "b", &owned) < 0)
                return;
        if (!owned)
                doctor_find(findings, "polkit", "note", "sudo systemctl start polkit", "polkit is not running: only root may flash.");
}

static void check_versions(sd_bus *bus, struct json_object *findings) {
        _cleanup_free_ char *systemd = NULL;

        if (sd_bus_get_property_string(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "Version", NULL,
                                       &systemd) < 0)
                doctor_find(findings, "versions", "good", "", "fdlctl " PACKAGE_VERSION "; systemd does not answer on this bus.");
        else
                doctor_find(findings, "versions", atoi(systemd) < 252 ? "note" : "good", atoi(systemd) < 252 ? "systemctl --version" : "",
                            "fdlctl " PACKAGE_VERSION ", systemd %s%s.", systemd, atoi(systemd) < 252 ? " (fdld is made for 252 or newer)" : "");
}

void doctor_examine_bus(struct json_object *findings) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r < 0) {
                doctor_find(findings, "bus", "bad", "sudo systemctl start dbus", "The system bus cannot be reached: %s.", strerror(-r));
                return;
        }
        check_daemon(bus, findings);
        check_polkit(bus, findings);
        check_versions(bus, findings);
        sd_bus_flush_close_unref(bus);
}

/* ---- what people see ---- */

static void print_finding(struct json_object *f) {
        const char *state = json_text(f, "state"), *command = json_text(f, "command");
        char text[1300];

        printf("%-4s  %-15s  %s\n", streq(state, "good") ? "ok" : state, json_text(f, "check"), safe_text(json_text(f, "text"), text, sizeof(text)));
        if (command[0])
                printf("%-4s  %-15s    %s\n", "", "", command);
}

int verb_doctor(int argc _unused_, char **argv _unused_) {
        struct json_object *findings = json_object_new_array();
        size_t n, bad = 0;

        doctor_examine_bus(findings);
        doctor_examine_machine(findings);
        doctor_examine_usb(findings);
        doctor_examine_hubs(findings);
        doctor_examine_host(findings);
        n = json_object_array_length(findings);
        for (size_t i = 0; i < n; i++)
                bad += streq(json_text(json_object_array_get_idx(findings, i), "state"), "bad");
        if (arg_output.json != JSON_OFF)
                json_print(findings);
        else {
                for (size_t i = 0; i < n; i++)
                        print_finding(json_object_array_get_idx(findings, i));
                if (arg_output.legend)
                        printf("\n%zu of %zu findings need something to be done.\n", bad, n);
        }
        json_object_put(findings);
        return bad ? EXIT_OTHER : EXIT_DONE;
}
