/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "usb/host-causes.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/usbdevice_fs.h>
#include <pwd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static void user_name(uid_t uid, char ret[static 40]) {
        struct passwd pw, *found = NULL;
        char buffer[2048];

        if (getpwuid_r(uid, &pw, buffer, sizeof(buffer), &found) == 0 && found)
                snprintf(ret, 40, "%s", found->pw_name);
        else
                snprintf(ret, 40, "%u", (unsigned) uid);
}

static void group_name(gid_t gid, char ret[static 40]) {
        struct group gr, *found = NULL;
        char buffer[4096];

        if (getgrgid_r(gid, &gr, buffer, sizeof(buffer), &found) == 0 && found)
                snprintf(ret, 40, "%s", found->gr_name);
        else
                snprintf(ret, 40, "%u", (unsigned) gid);
}

/* The first word of a file in the device's folder, "" if there is none. */
static const char *attribute(const char *sysfs, const char *name, char ret[static 32]) {
        _cleanup_close_ int fd = -EBADF;
        char path[320];
        ssize_t n = 0;

        ret[0] = '\0';
        if (!sysfs[0] || snprintf(path, sizeof(path), "%s/%s", sysfs, name) >= (int) sizeof(path))
                return ret;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd >= 0)
                n = read(fd, ret, 31);
        ret[n > 0 ? n : 0] = '\0';
        ret[strcspn(ret, " \n")] = '\0';
        return ret;
}

bool host_device_suspended(const char *sysfs) {
        char status[32];

        attribute(sysfs, "power/runtime_status", status);
        return streq(status, "suspended") || streq(status, "suspending") || streq(status, "error");
}

bool host_cause_blocked(const char *devnode, const char *sysfs, Failure *f) {
        char value[32];

        if (!streq(attribute(sysfs, "authorized", value), "0"))
                return false;
        failure_set(f, CLASS_HOST, "unauthorised",
                    "This machine does not allow %s to be used (authorized is 0): usbguard, or a default of the kernel, blocks new devices.",
                    devnode);
        f->error = EPERM;
        return true;
}

static int no_permission(const char *devnode, int error, const struct stat *st, Failure *f) {
        char owner[40], group[40];

        user_name(st->st_uid, owner);
        group_name(st->st_gid, group);
        return failure_set_errno(f, error,
                                 "No permission to use %s (owner %s, group %s, mode %04o). Install the udev rules of fdld, or run it as a "
                                 "user who may write there.",
                                 devnode, owner, group, (unsigned) st->st_mode & 07777);
}

static bool may_sleep(const char *sysfs) {
        char value[32];

        return streq(attribute(sysfs, "power/control", value), "auto") && host_device_suspended(sysfs);
}

int host_cause_open(const char *devnode, const char *sysfs, int error, Failure *f) {
        struct stat st;

        if (error == ENOENT || error == ENODEV || error == ENXIO)
                return failure_set(f, CLASS_GONE, "", "The device left the bus before it could be opened (%s).", devnode);
        if (host_cause_blocked(devnode, sysfs, f))
                return 1;
        if ((error == EACCES || error == EPERM) && stat(devnode, &st) == 0)
                return no_permission(devnode, error, &st, f);
        if (error == EHOSTUNREACH || may_sleep(sysfs)) {
                failure_set(f, CLASS_HOST, "autosuspend", "%s cannot be opened: the kernel has put it to sleep and could not wake it (%s).",
                            devnode, strerror(error));
                f->error = error;
                return 1;
        }
        return failure_set_errno(f, error, "%s cannot be opened: %s.", devnode, strerror(error));
}

int host_cause_claim(int fd, const char *devnode, const char *sysfs, int interface, int error, bool detached, Failure *f) {
        struct usbdevfs_getdriver driver = {.interface = (unsigned) interface};

        if (host_cause_blocked(devnode, sysfs, f))
                return 1;
        if (error != EBUSY)
                return failure_set_errno(f, error, "Interface %d of %s cannot be claimed: %s.", interface, devnode, strerror(error));
        f->error = EBUSY;
        if (ioctl(fd, USBDEVFS_GETDRIVER, &driver) == 0 && !streq(driver.driver, "usbfs"))
                return failure_set(f, CLASS_HOST, "driver", "The kernel driver %.60s holds interface %d of %s%s.", driver.driver, interface,
                                   devnode, detached ? "; it was taken off and came back at once" : "");
        return failure_set(f, CLASS_HOST, "busy", "Another program holds interface %d of %s. Stop it and retry; fdlctl doctor names it.", interface,
                           devnode);
}
