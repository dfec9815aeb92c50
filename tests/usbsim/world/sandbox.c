/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Private mount and network namespaces (and, for an ordinary user, a user namespace in which he is root): an own /sys,
 * an own /run/udev and an own /dev with an empty bus/usb, where usbfs will be mounted. Everything made here is on tmpfs
 * in the namespace, so it vanishes with the last process in it. */

static void write_proc(const char *path, const char *text) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                quit(77, "The user namespace cannot be set up (%s: %m). Run usbsim as root.", path);
        close(fd);
}

static void enter_namespaces(void) {
        uid_t uid = geteuid();
        gid_t gid = getegid();
        char map[64];

        if (uid == 0 && unshare(CLONE_NEWNS | CLONE_NEWNET) == 0)
                return;
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) < 0) {
                if (uid == 0)
                        quit(77, "Namespaces are refused to this container's root (%m); "
                                 "give the container CAP_SYS_ADMIN, or run usbsim on the host.");
                quit(77, "User namespaces are refused (%m); run usbsim as root, or allow them: "
                         "sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=1000 "
                         "kernel.apparmor_restrict_unprivileged_userns=0 (those that exist). Inside a plain chroot they "
                         "are always refused.");
        }
        write_proc("/proc/self/setgroups", "deny");
        format_to(map, sizeof map, "0 %u 1", uid);
        write_proc("/proc/self/uid_map", map);
        format_to(map, sizeof map, "0 %u 1", gid);
        write_proc("/proc/self/gid_map", map);
}

static int open_fuse(void) {
        int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

        if (fd >= 0)
                return fd;
        if (errno == EACCES)
                quit(77, "No permission on /dev/fuse; as root: chmod 666 /dev/fuse (or run usbsim as root).");
        if (errno == EPERM)
                quit(77, "This container may not use /dev/fuse; start it with --device /dev/fuse.");
        quit(77, "/dev/fuse cannot be opened (%m); as root: modprobe fuse (in a container: start it with --device "
                 "/dev/fuse).");
}

static void mount_tmpfs(const char *where) {
        if (mount("usbsim", where, "tmpfs", MS_NOSUID, "mode=755") < 0)
                quit(77,
                     "Cannot mount on %s (%m); usbsim needs the right to mount in its own namespace (CAP_SYS_ADMIN).",
                     where);
}

static bool skipped_in_dev(const char *name) {
        return strcmp(name, "bus") == 0 || strcmp(name, "ptmx") == 0 || strncmp(name, "vcs", 3) == 0 ||
               strncmp(name, "ttyUSB", 6) == 0 || strncmp(name, "loop", 4) == 0 ||
               (strncmp(name, "tty", 3) == 0 && name[3] >= '0' && name[3] <= '9');
}

/* Makes `name` in the new directory what it was in the old one, which is open as `old`. */
static void keep_entry(int old, const char *dir, const char *name) {
        char from[64 + 256], to[512], target[512];
        struct stat st;

        if (fstatat(old, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISBLK(st.st_mode))
                return;
        format_to(to, sizeof to, "%s/%s", dir, name);
        if (S_ISLNK(st.st_mode)) {
                ssize_t n = readlinkat(old, name, target, sizeof target - 1);

                if (n > 0) {
                        target[n] = 0;
                        if (symlink(target, to) < 0)
                                complain("%s: %m", to);
                }
                return;
        }
        if (S_ISDIR(st.st_mode))
                mkdir(to, 0755);
        else {
                int fd = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                if (fd >= 0)
                        close(fd);
        }
        format_to(from, sizeof from, "/proc/self/fd/%d/%s", old, name);
        if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0) {
                unlink(to);
                rmdir(to);
        }
}

/* Covers a directory with a tmpfs in which the old entries are still there, but for those that `skip` names. */
static void cover(const char *dir, bool (*skip)(const char *name)) {
        int old = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = old >= 0 ? opendir(dir) : NULL;
        struct dirent *e;

        if (!d)
                quit(77, "%s cannot be read: %m.", dir);
        mount_tmpfs(dir);
        while ((e = readdir(d)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !skip(e->d_name))
                        keep_entry(old, dir, e->d_name);
        closedir(d);
        close(old);
}

static bool skipped_in_run(const char *name) {
        return strcmp(name, "udev") == 0;
}

static bool skipped_in_sys(const char *name) {
        return strcmp(name, "fs") != 0 && strcmp(name, "kernel") != 0 && strcmp(name, "module") != 0;
}

static void make_sys(void) {
        int cpus = open("/sys/devices/system", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char from[64];

        cover("/sys", skipped_in_sys);
        make_dirs("/sys/devices/system");
        if (cpus >= 0) {
                format_to(from, sizeof from, "/proc/self/fd/%d", cpus);
                if (mount(from, "/sys/devices/system", NULL, MS_BIND | MS_REC, NULL) < 0)
                        complain("/sys/devices/system: %m");
                close(cpus);
        }
        make_dirs("/sys/bus/usb/devices");
        make_dirs("/sys/bus/usb/drivers/usb");
        make_dirs("/sys/bus/usb/drivers/usbfs");
        make_dirs("/sys/bus/usb/drivers/hub");
        make_dirs("/sys/bus/pci/devices");
        make_dirs("/sys/bus/platform/devices");
        make_dirs("/sys/class/tty");
        make_dirs("/sys/dev/char");
        make_dirs("/sys/dev/block");
}

static void make_run_udev(void) {
        struct stat st;

        if (stat("/run/udev", &st) == 0 && S_ISDIR(st.st_mode))
                mount_tmpfs("/run/udev");
        else if (stat("/run", &st) == 0)
                cover("/run", skipped_in_run);
        else
                quit(77, "There is no /run on this machine; as root: mkdir /run.");
        if (make_dirs("/run/udev/data") < 0 || put_file("/run/udev", "control", "%s", "") < 0)
                quit(77, "/run/udev cannot be filled: %m.");
}

/* /dev/ptmx works only beside the mount that it belongs to; a bind of the one file does not. Where devpts' own ptmx is
 * closed to us, a devpts of our own is needed (the terminal stays open, only its name in /dev/pts is lost). */
static void make_ptmx(void) {
        if (access("/dev/pts/ptmx", R_OK | W_OK) < 0 &&
            mount("usbsim", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620") < 0)
                complain("There will be no pseudo terminals: %m");
        make_link("pts/ptmx", "/dev", "ptmx");
}

static void make_dev(void) {
        cover("/dev", skipped_in_dev);
        make_ptmx();
        if (make_dirs("/dev/bus/usb") < 0 || make_dirs("/dev/usbsim") < 0)
                quit(77, "/dev cannot be filled: %m.");
}

/* A new network namespace has its loopback interface down. */
static void raise_loopback(void) {
        struct ifreq r = { .ifr_name = "lo" };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return;
        if (ioctl(fd, SIOCGIFFLAGS, &r) == 0) {
                r.ifr_flags |= IFF_UP;
                ioctl(fd, SIOCSIFFLAGS, &r);
        }
        close(fd);
}

static void mount_usbfs(int fuse_fd) {
        char options[128];

        format_to(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other", fuse_fd, getuid(),
                  getgid());
        if (mount("usbsim", "/dev/bus/usb", "fuse", MS_NOSUID | MS_NODEV, options) < 0)
                quit(77, "FUSE cannot be mounted (%m); as root: modprobe fuse, or run usbsim as root.");
}

int sandbox_enter(void) {
        char cwd[4096];
        bool have_cwd = getcwd(cwd, sizeof cwd);

        enter_namespaces();
        int fuse_fd = open_fuse(); /* must be opened inside the namespace */
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                if (errno == EINVAL)
                        quit(77, "The root folder of this chroot is no mount point, so mounts cannot be made private; "
                                 "before entering it, as root: mount --bind DIR DIR.");
                quit(77, "Mounts cannot be made private (%m); usbsim needs CAP_SYS_ADMIN.");
        }
        raise_loopback();
        make_sys();
        make_run_udev();
        make_dev();
        mount_usbfs(fuse_fd);
        /* The working directory may be under what was covered. */
        if (have_cwd && chdir(cwd) < 0)
                complain("%s: %m", cwd);
        return fuse_fd;
}
