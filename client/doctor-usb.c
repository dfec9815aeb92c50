/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/macro.h"
#include "doctor.h"

/* Devices in download mode as sysfs shows them: closed nodes, who holds them, slow links, sleep, and how full a controller is. */

#define SYSFS "/sys/bus/usb/devices"
#define VENDOR "1782"
#define DOWNLOAD_PRODUCT "4d00"

static const char *attribute(const char *device, const char *name, char *ret, size_t size) {
        char path[600];

        snprintf(path, sizeof(path), SYSFS "/%.200s/%.200s", device, name);
        return doctor_read(path, ret, size);
}

/* ---- who has it open ---- */

static bool holds(const char *pid, const char *node) {
        char path[300], target[300];
        bool found = false;
        DIR *d;

        snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
        d = opendir(path);
        for (struct dirent *i; d && !found && (i = readdir(d));) {
                char link[600];
                ssize_t n;
                snprintf(link, sizeof(link), "%s/%.200s", path, i->d_name);
                n = readlink(link, target, sizeof(target) - 1);
                if (n > 0) {
                        target[n] = '\0';
                        found = streq(target, node);
                }
        }
        if (d)
                closedir(d);
        return found;
}

static void found_holder(struct json_object *findings, const char *device, const char *node, const char *pid, const char *name) {
        char command[80];

        if (streq(name, "ModemManager"))
                snprintf(command, sizeof(command), "sudo systemctl stop ModemManager");
        else
                snprintf(command, sizeof(command), "sudo kill %.20s", pid);
        doctor_find(findings, "usb-held", "bad", command, "%s: the program %s (process %s) has %s open. Stop it, then unplug the device and plug it in again.", device,
                    name, pid, node);
}

/* With the caller's rights: what belongs to other users is seen by root alone. */
static void check_holders(struct json_object *findings, const char *device, const char *node) {
        DIR *d = opendir("/proc");

        for (struct dirent *i; d && (i = readdir(d));) {
                char path[300], name[32];
                if (strspn(i->d_name, "0123456789") != strlen(i->d_name) || !holds(i->d_name, node))
                        continue;
                snprintf(path, sizeof(path), "/proc/%s/comm", i->d_name);
                if (!streq(doctor_read(path, name, sizeof(name)), "fdld"))
                        found_holder(findings, device, node, i->d_name, name);
        }
        if (d)
                closedir(d);
}

/* A serial driver makes a port of an interface, and programs open that. */
static void check_ports(struct json_object *findings, const char *device, const char *interface) {
        char path[600], node[300];
        DIR *d;

        snprintf(path, sizeof(path), SYSFS "/%.200s", interface);
        d = opendir(path);
        for (struct dirent *i; d && (i = readdir(d));)
                if (strncmp(i->d_name, "ttyUSB", 6) == 0 || strncmp(i->d_name, "ttyACM", 6) == 0) {
                        snprintf(node, sizeof(node), "/dev/%.200s", i->d_name);
                        check_holders(findings, device, node);
                }
        if (d)
                closedir(d);
}

static void check_driver(struct json_object *findings, const char *device) {
        char prefix[220], link[600], target[300], command[300];
        DIR *d = opendir(SYSFS);

        snprintf(prefix, sizeof(prefix), "%.200s:", device);
        for (struct dirent *i; d && (i = readdir(d));) {
                const char *driver;
                ssize_t n;
                if (strncmp(i->d_name, prefix, strlen(prefix)) != 0)
                        continue;
                snprintf(link, sizeof(link), SYSFS "/%.200s/driver", i->d_name);
                n = readlink(link, target, sizeof(target) - 1);
                if (n <= 0)
                        continue;
                target[n] = '\0';
                driver = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
                if (streq(driver, "usbfs"))
                        continue;
                snprintf(command, sizeof(command), "echo %.100s | sudo tee /sys/bus/usb/drivers/%.100s/unbind", i->d_name, driver);
                doctor_find(findings, "usb-driver", "note", command, "%s: the kernel driver %s has the interface %s; fdld takes it off while it works.", device, driver,
                            i->d_name);
                check_ports(findings, device, i->d_name);
        }
        if (d)
                closedir(d);
}

/* ---- one device ---- */

static void check_node(struct json_object *findings, const char *device) {
        char bus[16], number[16], node[64];
        struct stat st;

        attribute(device, "busnum", bus, sizeof(bus));
        attribute(device, "devnum", number, sizeof(number));
        snprintf(node, sizeof(node), "/dev/bus/usb/%03d/%03d", atoi(bus), atoi(number));
        if (stat(node, &st) < 0) {
                doctor_find(findings, "usb-node", "bad", "sudo udevadm trigger --subsystem-match=usb", "%s: its node %s is not there. Is udev running?", device, node);
                return;
        }
        if (!(st.st_mode & 0060))
                doctor_find(findings, "usb-node", "bad", "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb",
                            "%s: %s is not open to the group of fdld (mode %04o, group %u): the udev rule did not act.", device, node, (unsigned) st.st_mode & 07777, (unsigned) st.st_gid);
        check_holders(findings, device, node);
}

/* A rule that is installed need not have acted: the device may have been there before, or udev has not read it yet. */
static void check_rule(struct json_object *findings, const char *device) {
        char number[32], path[64], line[512];
        bool acted = false;
        FILE *f;

        attribute(device, "dev", number, sizeof(number));
        snprintf(path, sizeof(path), "/run/udev/data/c%.30s", number);
        f = fopen(path, "re");
        if (!f)
                return;
        while (!acted && fgets(line, sizeof(line), f))
                acted = strncmp(line, "E:ID_FDLD_DEVICE=1", 18) == 0;
        fclose(f);
        if (acted)
                doctor_find(findings, "udev-rule", "good", "", "%s: the udev rule of fdld acted on it.", device);
        else
                doctor_find(findings, "udev-rule", "bad", "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=usb",
                            "%s: the udev rule of fdld did not act on it.", device);
}

static void check_device(struct json_object *findings, const char *device) {
        char value[64], command[300], hub[300];

        if (streq(attribute(device, "authorized", value, sizeof(value)), "0")) {
                snprintf(command, sizeof(command), "echo 1 | sudo tee " SYSFS "/%.100s/authorized", device);
                doctor_find(findings, "usb-authorized", "bad", command, "%s: this machine does not allow the device (usbguard, or authorized_default).", device);
        }
        doctor_hub_name(device, hub, sizeof(hub));
        if (atoi(attribute(device, "speed", value, sizeof(value))) < 480)
                doctor_find(findings, "usb-speed", "bad", "lsusb -t",
                            "%s: it links at %s Mbit/s instead of 480 (feature phones and modules know no more), at %s. Use another cable, and a hub that is not full "
                            "speed only.",
                            device, value[0] ? value : "?", hub);
        else
                doctor_find(findings, "usb-speed", "good", "", "%s: it links at %s Mbit/s, at %s.", device, value, hub);
        if (streq(attribute(device, "power/control", value, sizeof(value)), "auto")) {
                snprintf(command, sizeof(command), "echo on | sudo tee " SYSFS "/%.100s/power/control", device);
                doctor_find(findings, "usb-autosuspend", "note", command, "%s: the kernel may put it to sleep; fdld's udev rule forbids that.", device);
        }
        check_rule(findings, device);
        check_node(findings, device);
        check_driver(findings, device);
}

/* ---- all ---- */

static void count_devices(struct json_object *findings, unsigned n_devices) {
        if (n_devices == 0)
                doctor_find(findings, "usb-devices", "note", "fdlctl watch", "No device in download mode (" VENDOR ":" DOWNLOAD_PRODUCT ") is plugged in. Power it off, hold its boot key, plug it in.");
        else
                doctor_find(findings, "usb-devices", "good", "", "%u devices in download mode are plugged in.", n_devices);
        if (n_devices > 0 && geteuid() != 0)
                doctor_find(findings, "usb-held", "note", "sudo fdlctl doctor", "Whether programs of other users hold a device is seen by root only.");
}

void doctor_examine_usb(struct json_object *findings) {
        unsigned n_devices = 0;
        DIR *d = opendir(SYSFS);

        if (!d) {
                doctor_find(findings, "usb-devices", "bad", "", "This machine shows no USB (" SYSFS " is not there).");
                return;
        }
        for (struct dirent *i; (i = readdir(d));) {
                char vendor[16], product[16];
                if (i->d_name[0] == '.' || strchr(i->d_name, ':'))
                        continue;
                if (!streq(attribute(i->d_name, "idVendor", vendor, sizeof(vendor)), VENDOR) ||
                    !streq(attribute(i->d_name, "idProduct", product, sizeof(product)), DOWNLOAD_PRODUCT))
                        continue;
                n_devices++;
                check_device(findings, i->d_name);
        }
        closedir(d);
        count_devices(findings, n_devices);
}
