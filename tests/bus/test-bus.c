/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "every-method.h"

/* ---- what is exported is what dbus/ says ---- */

START_TEST(test_introspection) {
        const World w = world_make();

        for (size_t k = 0; k < n_interfaces; k++) {
                sd_bus_message *m = call(w.paths[interfaces[k].kind], "org.freedesktop.DBus.Introspectable", "Introspect", NULL, NULL);
                Lines shipped, exported;
                char interface[64];
                const char *xml;

                ck_assert_int_ge(sd_bus_message_read(m, "s", &xml), 0);
                interface_lines(xml, strlen(xml), interface_name(k, interface), &exported);
                shipped_lines(k, &shipped);
                for (size_t i = 0; i < MAX(shipped.n, exported.n); i++)
                        ck_assert_str_eq(i < exported.n ? exported.lines[i] : "(nothing more)",
                                         i < shipped.n ? shipped.lines[i] : "(nothing more)");
                lines_free(&shipped);
                lines_free(&exported);
                sd_bus_message_unref(m);
        }
}
END_TEST

START_TEST(test_every_method_has_an_action) {
        for (size_t k = 0; k < n_interfaces; k++) {
                char name[64];
                Lines l;

                shipped_lines(k, &l);
                for (size_t i = 0; i < l.n; i++)
                        if (method_name(l.lines[i], name))
                                ck_assert_msg(method_find(interfaces[k].kind, name),
                                              "%s.%s has no row in the table of daemon/bus/methods.c: add one with the action of "
                                              "daemon/bus/actions.def that a caller needs for it",
                                              interfaces[k].name, name);
                lines_free(&l);
        }
        ck_assert_ptr_null(method_find(OBJECT_STATION, "FormatDisk"));
        /* Without the flag sd-bus asks the bus daemon who is calling, and waits. */
        for (size_t k = 0; k < n_interfaces; k++)
                for (const sd_bus_vtable *v = interface_vtable(k); v->type != _SD_BUS_VTABLE_END; v++) {
                        if (v->type != _SD_BUS_VTABLE_METHOD)
                                continue;
                        ck_assert(v->flags & SD_BUS_VTABLE_UNPRIVILEGED);
                        ck_assert(v->x.method.handler == bus_dispatch);
                }
}
END_TEST

/* ---- every method, good ---- */

_printf_(1, 2) static void check_asked(const char *format, ...) {
        char expected[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(expected, sizeof(expected), format, ap);
        va_end(ap);
        ck_assert_str_eq(fake_asked(fx.station), expected);
        fake_forget(fx.station);
}

static void check_new_job(sd_bus_message *m) {
        const char *path;
        char expected[BUS_PATH_MAX];
        uint64_t id;

        ck_assert_int_ge(sd_bus_message_read(m, "to", &id, &path), 0);
        ck_assert_str_eq(path, job_path(id, expected));
        ck_assert_ptr_nonnull(station_find_job(fx.station, id));
        sd_bus_message_unref(m);
}

static void ok(sd_bus_message *m) {
        ck_assert_str_eq(sd_bus_message_get_signature(m, true), "");
        sd_bus_message_unref(m);
}

START_TEST(test_flash) {
        const World w = world_make();
        unsigned uid = getuid();

        check_new_job(call(BUS_ROOT, MANAGER, "Flash", NULL, "ooa{sv}", "/", w.paths[OBJECT_PACKAGE], 0));
        check_asked("flash target=any package=0000 mode=upgrade warnings=0 finish=0 uid=%u", uid);
        check_new_job(call(BUS_ROOT, MANAGER, "Flash", NULL, "ooa{sv}", w.paths[OBJECT_SLOT], w.paths[OBJECT_PACKAGE],
                           3, "mode", "s", "factory", "allow-warnings", "b", 1, "finish", "s", "power-off"));
        check_asked("flash target=%s package=0000 mode=factory warnings=1 finish=1 uid=%u", w.slot->port, uid);
        check_new_job(call(BUS_ROOT, MANAGER, "Flash", NULL, "ooa{sv}", w.paths[OBJECT_DEVICE], w.paths[OBJECT_PACKAGE],
                           2, "mode", "s", "research", "finish", "s", "nothing"));
        check_asked("flash target=%s package=0000 mode=research warnings=0 finish=2 uid=%u", w.device->sysfs, uid);
}
END_TEST

START_TEST(test_import) {
        int fd = memfd_create("package", MFD_CLOEXEC);

        check_new_job(call(BUS_ROOT, MANAGER, "ImportPackage", NULL, "hsa{sv}", fd, "größe.pac", 0));
        check_asked("import name=größe.pac uid=%u", getuid());
        close(fd);
}
END_TEST

START_TEST(test_plan) {
        const World w = world_make();
        sd_bus_message *m =
                call(BUS_ROOT, MANAGER, "Plan", NULL, "oa{sv}", w.paths[OBJECT_PACKAGE], 1, "mode", "s", "research");
        unsigned n = 0;

        check_asked("plan package=0000 mode=research");
        ck_assert_str_eq(sd_bus_message_get_signature(m, true), "aa{sv}");
        ck_assert_int_gt(sd_bus_message_enter_container(m, 'a', "a{sv}"), 0);
        while (sd_bus_message_at_end(m, false) == 0) {
                ck_assert_int_ge(sd_bus_message_skip(m, "a{sv}"), 0);
                n++;
        }
        ck_assert_uint_eq(n, 2);
        sd_bus_message_unref(m);
}
END_TEST

START_TEST(test_manager_finds) {
        const World w = world_make();
        char path[BUS_PATH_MAX];
        sd_bus_message *m;
        const char *s;

        m = call(BUS_ROOT, MANAGER, "GetJob", NULL, "t", w.job->id);
        ck_assert_int_ge(sd_bus_message_read(m, "o", &s), 0);
        ck_assert_str_eq(s, w.paths[OBJECT_JOB]);
        sd_bus_message_unref(m);
        m = call(BUS_ROOT, MANAGER, "GetSlotByPort", NULL, "s", "pci-0:9");
        ck_assert_int_ge(sd_bus_message_read(m, "o", &s), 0);
        ck_assert_str_eq(s, object_path(OBJECT_SLOT, station_find_slot(fx.station, "pci-0:9"), path));
        sd_bus_message_unref(m);
        m = call(BUS_ROOT, MANAGER, "GetDeviceBySysfs", NULL, "s", w.device->sysfs);
        ck_assert_int_ge(sd_bus_message_read(m, "o", &s), 0);
        ck_assert_str_eq(s, w.paths[OBJECT_DEVICE]);
        sd_bus_message_unref(m);
        m = call(BUS_ROOT, MANAGER, "Explain", NULL, "s", "write-gone");
        ck_assert_str_eq(sd_bus_message_get_signature(m, true), "a{sv}");
        sd_bus_message_unref(m);
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        check_asked("reload");
}
END_TEST

START_TEST(test_history) {
        sd_bus_message *m;
        uint64_t next;
        int fd = memfd_create("export", MFD_CLOEXEC), whole;

        m = call(BUS_ROOT, HISTORY, "Query", NULL, "a{sv}tu", 3, "serial", "s", "SN1", "slot", "s", "left", "since", "t", (uint64_t) 7,
                 (uint64_t) 4, 1000U);
        check_asked("records serial=SN1 slot=left result= since=7 oldest=0 cursor=4 limit=100");
        ck_assert_str_eq(sd_bus_message_get_signature(m, true), "aa{sv}t");
        ck_assert_int_ge(sd_bus_message_skip(m, "aa{sv}"), 0);
        ck_assert_int_ge(sd_bus_message_read(m, "t", &next), 0);
        ck_assert_uint_eq(next, 5);
        sd_bus_message_unref(m);
        sd_bus_message_unref(call(BUS_ROOT, HISTORY, "Query", NULL, "a{sv}tu", 2, "order", "s", "oldest", "result", "s", "failed",
                                  (uint64_t) 0, 10U));
        check_asked("records serial= slot= result=failed since=0 oldest=1 cursor=0 limit=10");
        ok(call(BUS_ROOT, HISTORY, "Export", NULL, "hsa{sv}", fd, "csv", 1, "code", "s", "write-gone"));
        check_asked("export format=1 code=write-gone");
        m = call(BUS_ROOT, HISTORY, "Check", NULL, "a{sv}", 0);
        ck_assert_int_ge(sd_bus_message_read(m, "b", &whole), 0);
        ck_assert_int_eq(whole, 0);
        sd_bus_message_unref(m);
        m = call(BUS_ROOT, HISTORY, "Prune", NULL, "t", (uint64_t) 99);
        ck_assert_int_ge(sd_bus_message_read(m, "t", &next), 0);
        ck_assert_uint_eq(next, 3);
        sd_bus_message_unref(m);
        check_asked("prune 99");
        close(fd);
}
END_TEST

START_TEST(test_steps) {
        const World w = world_make();
        sd_bus_message *m;
        const char *path, *name, *sum;
        char job[BUS_PATH_MAX];
        uint64_t id, skip, bytes;
        int fd = memfd_create("image", MFD_CLOEXEC), whole;

        m = call(BUS_ROOT, MANAGER, "CreateJob", NULL, "soa{sv}", "read", "/", 2, "package", "o", w.paths[OBJECT_PACKAGE], "finish", "s", "nothing");
        check_asked("draft-steps read fdl1=ffffffffffffffff finish=2");
        ck_assert_int_ge(sd_bus_message_read(m, "to", &id, &path), 0);
        snprintf(job, sizeof(job), "%s", path);
        sd_bus_message_unref(m);
        ok(call(job, BUS_NAME ".Job", "AddSteps", NULL, "a(sa{sv})", 2, "read", 4, "partition", "s", "boot", "offset", "t", (uint64_t) 4096,
                "length", "t", (uint64_t) 8192, "file", "s", "out", "erase", 1, "address", "t", (uint64_t) 0x60000000));
        check_asked("steps 2 read boot at=ffffffffffffffff offset=4096 length=8192 file=out any=0");
        ok(call(job, BUS_NAME ".Job", "AttachFiles", NULL, "a{sh}a{sv}", 1, "out", fd, 0));
        check_asked("attach out");
        m = call(job, PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "Outputs");
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'v', "a(sttsb)"), 0);
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'a', "(sttsb)"), 0);
        ck_assert_int_gt(sd_bus_message_read(m, "(sttsb)", &name, &skip, &bytes, &sum, &whole), 0);
        ck_assert_str_eq(name, "boot");
        ck_assert_uint_eq(skip, 4096);
        ck_assert_uint_eq(bytes, 8192);
        ck_assert_int_eq(whole, 0);
        sd_bus_message_unref(m);
        close(fd);
}
END_TEST

START_TEST(test_steps_refuse) {
        const World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        char job[BUS_PATH_MAX];

        snprintf(job, sizeof(job), "%s", w.paths[OBJECT_JOB]);
        call(job, BUS_NAME ".Job", "AddSteps", &e, "a(sa{sv})", 1, "format", 1, "partition", "s", "boot");
        check_error(&e, ERROR("InvalidOption"), "write, read, erase");
        call(job, BUS_NAME ".Job", "AddSteps", &e, "a(sa{sv})", 1, "read", 1, "colour", "s", "red");
        check_error(&e, ERROR("InvalidOption"), "colour");
        call(job, BUS_NAME ".Job", "AddSteps", &e, "a(sa{sv})", 1, "read", 0);
        check_error(&e, ERROR("InvalidOption"), "partition or an address");
        call(job, BUS_NAME ".Job", "AddSteps", &e, "a(sa{sv})", 1, "read", 2, "partition", "s", "a", "length", "t", (uint64_t) 0);
        check_error(&e, ERROR("InvalidOption"), "length 0");
        call(job, BUS_NAME ".Job", "AddSteps", &e, "a(sa{sv})", 0);
        check_error(&e, ERROR("InvalidOption"), "empty");
        ck_assert_str_eq(fake_asked(fx.station), "");
}
END_TEST

START_TEST(test_history_refuses) {
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        call(BUS_ROOT, HISTORY, "Query", &e, "a{sv}tu", 1, "colour", "s", "red", (uint64_t) 0, 1U);
        check_error(&e, ERROR("InvalidOption"), "colour");
        call(BUS_ROOT, HISTORY, "Query", &e, "a{sv}tu", 1, "result", "s", "fine", (uint64_t) 0, 1U);
        check_error(&e, ERROR("InvalidOption"), "interrupted");
        call(BUS_ROOT, HISTORY, "Query", &e, "a{sv}tu", 1, "package", "s", "abc", (uint64_t) 0, 1U);
        check_error(&e, ERROR("InvalidOption"), "64 hex digits");
        call(BUS_ROOT, HISTORY, "Export", &e, "hsa{sv}", fd, "csv", 0);
        check_error(&e, ERROR("BadFile"), "not open for writing");
        call(BUS_ROOT, HISTORY, "Export", &e, "hsa{sv}", fd, "xml", 0);
        check_error(&e, ERROR("InvalidOption"), "csv, jsonl");
        close(fd);
}
END_TEST

START_TEST(test_objects) {
        const World w = world_make();
        const char *device = w.paths[OBJECT_DEVICE], *slot = w.paths[OBJECT_SLOT], *job = w.paths[OBJECT_JOB];
        sd_bus_message *m;
        unsigned uid = getuid();

        check_new_job(call(device, BUS_NAME ".Device", "Probe", NULL, "a{sv}", 0));
        check_asked("probe %s uid=%u", w.device->port, uid);
        check_new_job(call(device, BUS_NAME ".Device", "Reset", NULL, "sa{sv}", "power-off", 0));
        check_asked("reset %s off=1 uid=%u", w.device->port, uid);
        m = call(device, BUS_NAME ".Device", "GetIdentity", NULL, "a{sv}", 0);
        ck_assert_int_ge(sd_bus_message_skip(m, "a{sv}"), 0);
        sd_bus_message_unref(m);
        ok(call(slot, BUS_NAME ".Slot", "SetLabel", NULL, "s", "left 1"));
        check_asked("label left 1");
        ok(call(slot, BUS_NAME ".Slot", "SetEnabled", NULL, "b", 1));
        check_asked("enabled 1");
        ok(call(slot, BUS_NAME ".Slot", "ResetCounters", NULL, NULL));
        check_asked("reset-counters");
        ok(call(slot, BUS_NAME ".Slot", "ClearWedged", NULL, NULL));
        check_asked("clear-wedged");
        ok(call(w.paths[OBJECT_PACKAGE], BUS_NAME ".Package", "Remove", NULL, "a{sv}", 0));
        check_asked("remove a.pac");
        ok(call(job, BUS_NAME ".Job", "Cancel", NULL, "a{sv}", 0));
        check_asked("cancel flash");
        ok(call(job, BUS_NAME ".Job", "Answer", NULL, "sa{sv}", "replug", 0));
        check_asked("answer replug");
        check_new_job(call(job, BUS_NAME ".Job", "Retry", NULL, "a{sv}", 0));
        check_asked("retry flash uid=%u", uid);
}
END_TEST

START_TEST(test_station_errors_arrive) {
        const World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;

        fake_fail(fx.station, BUS_ERROR_PACKAGE_IN_USE, "Job 7 uses it. Cancel it first.");
        call(w.paths[OBJECT_PACKAGE], BUS_NAME ".Package", "Remove", &e, "a{sv}", 0);
        check_error(&e, ERROR("PackageInUse"), "Job 7 uses it. Cancel it first.");
        fake_fail(fx.station, BUS_ERROR_DEVICE_BUSY, "");
        call(w.paths[OBJECT_DEVICE], BUS_NAME ".Device", "Probe", &e, "a{sv}", 0);
        check_error(&e, ERROR("DeviceBusy"), "in use");
        /* A text cut in the middle of a character must not throw the daemon off the bus. */
        fake_fail(fx.station, BUS_ERROR_BAD_FILE, "gr\xc3");
        call(w.paths[OBJECT_DEVICE], BUS_NAME ".Device", "Probe", &e, "a{sv}", 0);
        check_error(&e, ERROR("BadFile"), "gr?");
        ck_assert_uint_eq(fx.lost, 0);
}
END_TEST

/* ---- bad input ---- */

START_TEST(test_bad_options) {
        const World w = world_make();
        const char *package = w.paths[OBJECT_PACKAGE];
        sd_bus_error e = SD_BUS_ERROR_NULL;

        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "speed", "s", "high");
        check_error(&e, ERROR("InvalidOption"), "'speed'");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "mode", "u", 3);
        check_error(&e, ERROR("InvalidOption"), "'mode'");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "mode", "s", "Upgrade");
        check_error(&e, ERROR("InvalidOption"), "upgrade, factory, research");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "finish", "s", "explode");
        check_error(&e, ERROR("InvalidOption"), "'finish'");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 2, "mode", "s", "upgrade", "mode", "s",
             "upgrade");
        check_error(&e, ERROR("InvalidOption"), "twice");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", package, 1, "package", "o", "/");
        check_error(&e, ERROR("InvalidOption"), "'package'");
        call(BUS_ROOT, MANAGER, "Plan", &e, "oa{sv}", package, 1, "allow-warnings", "s", "yes");
        check_error(&e, ERROR("InvalidOption"), "'allow-warnings'");
        call(w.paths[OBJECT_JOB], BUS_NAME ".Job", "Cancel", &e, "a{sv}", 1, "force", "b", 1);
        check_error(&e, ERROR("InvalidOption"), "'force'");
        call(BUS_ROOT, MANAGER, "ListJobs", &e, "a{sv}", 1, "limit", "u", 1001);
        check_error(&e, ERROR("InvalidOption"), "'limit'");
        call(BUS_ROOT, MANAGER, "ListJobs", &e, "a{sv}", 1, "state", "s", "happy");
        check_error(&e, ERROR("InvalidOption"), "'state'");
        ck_assert_str_eq(fake_asked(fx.station), "");
}
END_TEST

START_TEST(test_bad_values) {
        const World w = world_make();
        const char *package = w.paths[OBJECT_PACKAGE], *slot = w.paths[OBJECT_SLOT];
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        sd_bus_error e = SD_BUS_ERROR_NULL;
        char longest[300];

        memset(longest, 'x', sizeof(longest) - 1);
        longest[sizeof(longest) - 1] = '\0';
        call(BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", fd, "a\nb", 0);
        check_error(&e, ERROR("InvalidOption"), "control characters");
        call(BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", fd,
             "a\xe2\x80\xae"
             "b",
             0);
        check_error(&e, ERROR("InvalidOption"), "control characters");
        call(BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", fd, "", 0);
        check_error(&e, ERROR("InvalidOption"), "empty");
        call(BUS_ROOT, MANAGER, "ImportPackage", &e, "hsa{sv}", fd, longest, 0);
        check_error(&e, ERROR("InvalidOption"), "longer");
        call(slot, BUS_NAME ".Slot", "SetLabel", &e, "s", longest);
        check_error(&e, ERROR("InvalidOption"), "longer");
        call(BUS_ROOT, MANAGER, "GetSlotByPort", &e, "s", longest);
        check_error(&e, ERROR("InvalidOption"), "longer");
        call(w.paths[OBJECT_DEVICE], BUS_NAME ".Device", "Reset", &e, "sa{sv}", "gently", 0);
        check_error(&e, ERROR("InvalidOption"), "gently");
        call(BUS_ROOT, MANAGER, "Inhibit", &e, "sss", "test", "why not", "sleep");
        check_error(&e, ERROR("InvalidOption"), "sleep");
        call(BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "frob", "/", 1, "package", "o", package);
        check_error(&e, ERROR("InvalidOption"), "'frob'");
        call(BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "flash", "/", 0);
        check_error(&e, ERROR("InvalidOption"), "'package'");
        call(BUS_ROOT, MANAGER, "Explain", &e, "s", "nonsense");
        check_error(&e, ERROR("NoSuchCode"), "nonsense");
        ck_assert_str_eq(fake_asked(fx.station), "");
        close(fd);
}
END_TEST

START_TEST(test_bad_paths) {
        const World w = world_make();
        const char *package = w.paths[OBJECT_PACKAGE];
        sd_bus_error e = SD_BUS_ERROR_NULL;

        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", "/", 0);
        check_error(&e, ERROR("NoSuchPackage"), "");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", "/", w.paths[OBJECT_SLOT], 0);
        check_error(&e, ERROR("NoSuchPackage"), "");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", BUS_ROOT "/devices/_999", package, 0);
        check_error(&e, ERROR("NoSuchDevice"), "_999");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", BUS_ROOT "/slots/x", package, 0);
        check_error(&e, ERROR("NoSuchSlot"), "GetSlotByPort");
        call(BUS_ROOT, MANAGER, "Flash", &e, "ooa{sv}", package, package, 0);
        check_error(&e, ERROR("InvalidOption"), "not a device, a slot or /");
        call(BUS_ROOT, MANAGER, "GetDeviceBySysfs", &e, "s", "/sys/none");
        check_error(&e, ERROR("NoSuchDevice"), "/sys/none");
        call(BUS_ROOT "/devices/_999", BUS_NAME ".Device", "Probe", &e, "a{sv}", 0);
        check_error(&e, ERROR("NoSuchDevice"), "");
        call(BUS_ROOT "/slots/x", BUS_NAME ".Slot", "ResetCounters", &e, NULL);
        check_error(&e, ERROR("NoSuchSlot"), "");
        call(BUS_ROOT "/packages/ff", BUS_NAME ".Package", "Remove", &e, "a{sv}", 0);
        check_error(&e, ERROR("NoSuchPackage"), "");
        /* also where the interface is not that of such objects */
        call(BUS_ROOT "/packages/ff", BUS_NAME ".Job", "Wait", &e, NULL);
        check_error(&e, ERROR("NoSuchPackage"), "");
        call(BUS_ROOT "/slots/x", "org.freedesktop.DBus.Properties", "Get", &e, "ss", BUS_NAME ".Device", "Mode");
        check_error(&e, ERROR("NoSuchSlot"), "");
        call(BUS_ROOT "/jobs/_7", BUS_NAME ".Job", "Wait", &e, NULL);
        check_error(&e, ERROR("NoSuchJob"), "7");
        call(BUS_ROOT "/jobs/_07", BUS_NAME ".Job", "Wait", &e, NULL);
        check_error(&e, ERROR("NoSuchJob"), "");
        call(BUS_ROOT, MANAGER, "GetJob", &e, "t", UINT64_MAX);
        check_error(&e, ERROR("NoSuchJob"), "");
        call("/org/fdld/Nothing", BUS_NAME ".Job", "Wait", &e, NULL);
        check_error(&e, UNKNOWN_OBJECT, "");
}
END_TEST

/* No method takes this signature, none may act on it. */
START_TEST(test_wrong_types) {
        const World w = world_make();

        for (size_t k = 0; k < n_interfaces; k++) {
                char name[64], interface[64];
                Lines l;

                shipped_lines(k, &l);
                for (size_t i = 0; i < l.n; i++) {
                        sd_bus_error e = SD_BUS_ERROR_NULL;
                        if (!method_name(l.lines[i], name))
                                continue;
                        call(w.paths[interfaces[k].kind], interface_name(k, interface), name, &e, "(ii)d", 1, 2, 0.5);
                        check_error(&e, INVALID_ARGS, "");
                }
                lines_free(&l);
        }
        ck_assert_str_eq(fake_asked(fx.station), "");
}
END_TEST

/* ---- who may ---- */

/* Calls everything; what needs a right must be refused with this error and without a trace. */
static void check_refused(sd_bus *stranger, const char *error, const char *text) {
        const World w = world_make();
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        for (size_t k = 0; k < n_interfaces; k++) {
                char name[64];
                Lines l;

                shipped_lines(k, &l);
                for (size_t i = 0; i < l.n; i++) {
                        sd_bus_error e = SD_BUS_ERROR_NULL;
                        if (!method_name(l.lines[i], name) || method_find(interfaces[k].kind, name)->action == ACTION_NONE)
                                continue;
                        fake_forget(fx.station);
                        good_call(stranger, &w, k, l.lines[i], fd, &e);
                        check_error(&e, error, text);
                        ck_assert_msg(fake_asked(fx.station)[0] == '\0', "%s was refused but done", name);
                }
                lines_free(&l);
        }
        close(fd);
        /* Looking is free. */
        sd_bus_message_unref(call_on(stranger, w.paths[OBJECT_JOB], PROPERTIES, "GetAll", NULL, "s", BUS_NAME ".Job"));
        sd_bus_message_unref(
                call_on(stranger, BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL, NULL));
        sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 0));
        sd_bus_message_unref(call_on(stranger, BUS_ROOT, MANAGER, "GetJob", NULL, "t", w.job->id));
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        sd_bus_message_unref(call_on(stranger, w.paths[OBJECT_JOB], BUS_NAME ".Job", "Wait", NULL, NULL));
}

START_TEST(test_strangers_are_refused) {
        sd_bus *stranger;

        fixture_daemon(POLICY_OPEN);
        fixture_bus(false);
        stranger = make_stranger();
        check_refused(stranger, ERROR("NotAuthorised"), "root");
        sd_bus_close_unref(stranger);
        fixture_teardown();
}
END_TEST

/* The policy as shipped lets everyone call; the daemon says no. Only root and the daemon's user may own the name there. */
START_TEST(test_shipped_policy) {
        sd_bus *stranger;

        if (getuid() != 0) {
                printf("the shipped policy is only tried as root: skipped\n");
                return;
        }
        fixture_daemon(POLICY_SHIPPED);
        fixture_bus(false);
        stranger = make_stranger();
        check_refused(stranger, ERROR("NotAuthorised"), "root");
        sd_bus_close_unref(stranger);
        fx.client = fixture_client();
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        fixture_teardown();
}
END_TEST

/* The answer of one caller's question is not another's, and a peer that leaves is forgotten. */
START_TEST(test_credentials_are_forgotten) {
        sd_bus *other = fixture_client();

        ok(call_on(other, BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        ck_assert_uint_eq(fx.bus->n_peers, 2);
        sd_bus_close_unref(other);
        while (fx.bus->n_peers > 1)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        ck_assert_uint_eq(fx.bus->n_held, 0);
}
END_TEST

typedef struct Burst {
        unsigned n, failed;
        bool done;
} Burst;

static int on_burst(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        Burst *b = userdata;

        if (sd_bus_message_get_error(m)) {
                ck_assert_str_eq(sd_bus_message_get_error(m)->name, ERROR("QuotaExceeded"));
                b->failed++;
        }
        b->done = --b->n == 0;
        return 1;
}

/* Held calls are bounded; all are answered, in the end. */
START_TEST(test_many_calls_before_credentials) {
        Burst b = {.n = 100};

        for (unsigned i = 0; i < 100; i++)
                ck_assert_int_ge(sd_bus_call_method_async(fx.client, NULL, BUS_NAME, BUS_ROOT, MANAGER, "Reload",
                                                          on_burst, &b, NULL),
                                 0);
        run_until(&b.done);
        ck_assert_uint_le(b.failed, 100 - HELD_PER_PEER_MAX);
        ck_assert_uint_eq(fx.bus->n_held, 0);
}
END_TEST

/* ---- signals and the object manager ---- */

static char heard[64][256];
static size_t n_heard;
static bool heard_flag;

static int on_signal(sd_bus_message *m, void *userdata _unused_, sd_bus_error *error _unused_) {
        const char *member = sd_bus_message_get_member(m), *first = "";
        char *line = heard[n_heard++ % ELEMENTSOF(heard)];

        if (streq(member, "InterfacesAdded") || streq(member, "InterfacesRemoved"))
                (void) sd_bus_message_read_basic(m, 'o', &first);
        else
                first = sd_bus_message_get_path(m);
        snprintf(line, sizeof(heard[0]), "%s %s", member, first);
        if (streq(member, "PropertiesChanged")) {
                ck_assert_int_ge(sd_bus_message_skip(m, "s"), 0);
                ck_assert_int_ge(sd_bus_message_enter_container(m, 'a', "{sv}"), 0);
                while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                        ck_assert_int_ge(sd_bus_message_read_basic(m, 's', &first), 0);
                        strncat(line, " ", sizeof(heard[0]) - strlen(line) - 1);
                        strncat(line, first, sizeof(heard[0]) - strlen(line) - 1);
                        ck_assert_int_ge(sd_bus_message_skip(m, "v"), 0);
                        ck_assert_int_ge(sd_bus_message_exit_container(m), 0);
                }
        }
        heard_flag = true;
        return 0;
}

static void listen_to_all(void) {
        n_heard = 0;
        ck_assert_int_ge(sd_bus_add_match(fx.client, NULL, "type='signal',sender='" BUS_NAME "'", on_signal, NULL), 0);
        settle();
}

_printf_(2, 3) static void check_heard(size_t i, const char *format, ...) {
        char expected[512];
        va_list ap;

        va_start(ap, format);
        vsnprintf(expected, sizeof(expected), format, ap);
        va_end(ap);
        ck_assert_msg(i < n_heard, "'%s' was not heard", expected);
        ck_assert_str_eq(heard[i], expected);
}

START_TEST(test_added_changed_removed) {
        static const char *const some[] = {"State", "Id", "Nonsense", NULL}, *const more[] = {"Stage", "State", NULL};
        World w;

        listen_to_all();
        w = world_make();
        settle();
        check_heard(0, "InterfacesAdded %s", w.paths[OBJECT_SLOT]);
        check_heard(1, "InterfacesAdded %s", w.paths[OBJECT_DEVICE]);
        check_heard(2, "InterfacesAdded %s", w.paths[OBJECT_PACKAGE]);
        check_heard(3, "InterfacesAdded %s", w.paths[OBJECT_JOB]);
        check_heard(4, "InterfacesAdded %s", w.paths[OBJECT_BATCH]);
        check_heard(5, "InterfacesAdded %s", w.paths[OBJECT_PROFILE]);
        /* Many changes in one turn of the loop are one signal; what never changes and what is unknown is not in it. */
        for (unsigned i = 0; i < 100; i++) {
                fake_changed(fx.station, OBJECT_JOB, w.job, some);
                fake_changed(fx.station, OBJECT_JOB, w.job, more);
        }
        settle();
        check_heard(6, "PropertiesChanged %s State Stage", w.paths[OBJECT_JOB]);
        fake_remove_device(fx.station, w.device);
        settle();
        check_heard(7, "InterfacesRemoved %s", w.paths[OBJECT_DEVICE]);
        /* Gone before it was told of: silence. */
        fake_remove_device(fx.station, fake_add_device(fx.station, "x"));
        settle();
        ck_assert_uint_eq(n_heard, 8);
}
END_TEST

static unsigned count_managed(const char *path) {
        sd_bus_message *m = call(BUS_ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL, NULL);
        unsigned n = 0;

        ck_assert_int_gt(sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}"), 0);
        while (sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}") > 0) {
                const char *p;
                ck_assert_int_gt(sd_bus_message_read_basic(m, 'o', &p), 0);
                n += !path || streq(p, path);
                ck_assert_int_ge(sd_bus_message_skip(m, "a{sa{sv}}"), 0);
                ck_assert_int_ge(sd_bus_message_exit_container(m), 0);
        }
        sd_bus_message_unref(m);
        return n;
}

/* Where many jobs run, changes are collected for a while; what comes is there and told at once. */
START_TEST(test_changes_of_many_jobs_are_collected) {
        static const char *const state[] = {"State", NULL}, *const stage[] = {"Stage", NULL};
        char path[BUS_PATH_MAX];
        World w;

        fake_set_running(fx.station, 64);
        w = world_make();
        settle();
        listen_to_all();
        fake_changed(fx.station, OBJECT_JOB, w.job, state);
        settle();
        ck_assert_uint_eq(n_heard, 0);
        fake_changed(fx.station, OBJECT_JOB, w.job, stage);
        heard_flag = false;
        run_until(&heard_flag);
        settle();
        ck_assert_uint_eq(n_heard, 1);
        check_heard(0, "PropertiesChanged %s State Stage", w.paths[OBJECT_JOB]);
        object_path(OBJECT_DEVICE, fake_add_device(fx.station, "x"), path);
        settle();
        ck_assert_uint_eq(count_managed(path), 1);
        check_heard(1, "InterfacesAdded %s", path);
        /* The end of a job, too. */
        fake_changed(fx.station, OBJECT_JOB, w.job, stage);
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        settle();
        ck_assert_uint_ge(n_heard, 4);
        check_heard(3, "JobFinished %s", BUS_ROOT);
}
END_TEST

START_TEST(test_finish_is_told_in_order) {
        const World w = world_make();
        static const char *const changed[] = {"JobsRunning", NULL};

        settle();
        listen_to_all();
        fake_changed(fx.station, OBJECT_STATION, fx.station, changed);
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        fake_user_action(fx.station, w.job, "unplug");
        settle();
        check_heard(0, "PropertiesChanged %s State Result Error", w.paths[OBJECT_JOB]);
        check_heard(1, "JobFinished %s", BUS_ROOT);
        check_heard(2, "UserActionRequired %s", BUS_ROOT);
        check_heard(3, "PropertiesChanged %s JobsRunning", BUS_ROOT);
}
END_TEST

START_TEST(test_managed_objects) {
        char hidden[BUS_PATH_MAX];
        World w;

        ck_assert_uint_eq(count_managed(NULL), 0);
        w = world_make();
        settle();
        job_path(fake_add_job(fx.station, "flash", JOB_STATE_QUEUED, false)->id, hidden);
        for (ObjectKind k = OBJECT_DEVICE; k <= OBJECT_JOB; k++)
                ck_assert_uint_eq(count_managed(w.paths[k]), 1);
        /* A job that is not listed is there when asked for, and stays unlisted. */
        sd_bus_message_unref(call(hidden, PROPERTIES, "GetAll", NULL, "s", BUS_NAME ".Job"));
        ck_assert_uint_eq(count_managed(hidden), 0);
        ck_assert_uint_eq(count_managed(NULL), 6);
}
END_TEST

START_TEST(test_ghosts_are_bounded) {
        Job *first = fake_add_job(fx.station, "flash", JOB_STATE_QUEUED, false);
        char path[BUS_PATH_MAX];

        for (unsigned i = 0; i < GHOSTS_MAX + 20; i++) {
                Job *job = fake_add_job(fx.station, "flash", JOB_STATE_QUEUED, false);
                sd_bus_message_unref(
                        call(job_path(job->id, path), PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "State"));
        }
        ck_assert_uint_le(fx.bus->n_ghosts, GHOSTS_MAX);
        /* One that left memory is not there any more, and nothing of it is touched. */
        sd_bus_message_unref(call(job_path(first->id, path), PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "State"));
        fake_remove_job(fx.station, first);
        sd_bus_error e = SD_BUS_ERROR_NULL;
        call(path, PROPERTIES, "Get", &e, "ss", BUS_NAME ".Job", "State");
        check_error(&e, ERROR("NoSuchJob"), "");
}
END_TEST

/* ---- a failed job, as it is shown ---- */

static bool has_key(sd_bus_message *m, const char *wanted, const char *type) {
        bool found = false;
        const char *key, *contents;
        char kind;

        ck_assert_int_ge(sd_bus_message_rewind(m, false), 0);
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                ck_assert_int_ge(sd_bus_message_read_basic(m, 's', &key), 0);
                ck_assert_int_ge(sd_bus_message_peek_type(m, &kind, &contents), 0);
                found = found || (streq(key, wanted) && streq(contents, type));
                ck_assert_int_ge(sd_bus_message_skip(m, "v"), 0);
                ck_assert_int_ge(sd_bus_message_exit_container(m), 0);
        }
        return found;
}

START_TEST(test_error_property) {
        static const char *const keys[][2] = {
                {"class", "s"},     {"stage", "s"},      {"step", "t"},    {"command", "s"},      {"reply", "t"},
                {"partition", "s"}, {"offset", "t"},     {"address", "t"}, {"must_reflash", "b"}, {"summary", "s"},
                {"causes", "as"},   {"actions", "as"},   {"code", "s"},    {"deadline_ms", "t"},  {"waited_ms", "t"},
                {"attempts", "t"},  {"bytes_done", "t"}, {"device_state", "s"}, {"situation", "as"}, {"verdict", "s"},
                {"safe_to_unplug", "b"}, {"bootable", "b"},
        };
        const World w = world_make();
        const char *name, *text;
        sd_bus_message *m;

        settle();
        m = call(w.paths[OBJECT_JOB], PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "Error");
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'v', "(ssa{sv})"), 0);
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'r', "ssa{sv}"), 0);
        ck_assert_int_ge(sd_bus_message_read(m, "ss", &name, &text), 0);
        ck_assert_str_eq(name, "");
        ck_assert_str_eq(text, "");
        sd_bus_message_unref(m);
        failure_set(&w.job->failure, CLASS_REFUSED, NULL, "boot does not fit: gr\xc3");
        w.job->failure.stage = STAGE_WRITE;
        w.job->failure.reply = 0x8a;
        m = call(w.paths[OBJECT_JOB], PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "Error");
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'v', "(ssa{sv})"), 0);
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'r', "ssa{sv}"), 0);
        ck_assert_int_ge(sd_bus_message_read(m, "ss", &name, &text), 0);
        ck_assert_str_eq(name, ERROR("Refused"));
        ck_assert_str_eq(text, "boot does not fit: gr?");
        ck_assert_int_ge(sd_bus_message_enter_container(m, 'a', "{sv}"), 0);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                ck_assert_msg(has_key(m, keys[i][0], keys[i][1]), "%s (%s) is missing", keys[i][0], keys[i][1]);
        sd_bus_message_unref(m);
}
END_TEST

/* ---- waiting ---- */

typedef struct WaitResult {
        unsigned done, failed, quota;
        char result[32];
} WaitResult;

static int on_waited(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        WaitResult *r = userdata;
        const char *result;

        r->done++;
        if (e) {
                r->failed++;
                r->quota += streq(e->name, ERROR("QuotaExceeded"));
                return 1;
        }
        ck_assert_int_ge(sd_bus_message_read(m, "s", &result), 0);
        snprintf(r->result, sizeof(r->result), "%s", result);
        return 1;
}

static void start_wait(sd_bus *bus, const char *path, WaitResult *r) {
        sd_bus_message *m;

        ck_assert_int_ge(sd_bus_message_new_method_call(bus, &m, BUS_NAME, path, BUS_NAME ".Job", "Wait"), 0);
        ck_assert_int_ge(sd_bus_call_async(bus, NULL, m, on_waited, r, UINT64_MAX), 0);
        sd_bus_message_unref(m);
}

static void run_until_waiters(unsigned n) {
        while (fx.bus->n_waiters != n)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
}

static void run_until_done(const WaitResult *r, unsigned n) {
        while (r->done < n)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
}

START_TEST(test_wait_from_many) {
        const World w = world_make();
        sd_bus *clients[20], *leaver = fixture_client();
        WaitResult r = {0}, unheard = {0};

        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                clients[i] = fixture_client();
                start_wait(clients[i], w.paths[OBJECT_JOB], &r);
                start_wait(clients[i], w.paths[OBJECT_JOB], &r);
        }
        start_wait(leaver, w.paths[OBJECT_JOB], &unheard);
        run_until_waiters(41);
        sd_bus_close_unref(leaver);
        run_until_waiters(40);
        ck_assert_uint_eq(r.done, 0);
        failure_set(&w.job->failure, CLASS_GONE, NULL, "pulled");
        w.job->failure.stage = STAGE_WRITE;
        fake_finish(fx.station, w.job, JOB_RESULT_FAILED);
        run_until_done(&r, 40);
        ck_assert_uint_eq(r.failed, 0);
        ck_assert_str_eq(r.result, "failed");
        ck_assert_uint_eq(fx.bus->n_waiters, 0);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                sd_bus_close_unref(clients[i]);
}
END_TEST

START_TEST(test_wait_is_bounded) {
        const World w = world_make();
        WaitResult r = {0};

        for (unsigned i = 0; i < WAITERS_PER_PEER_MAX + 5; i++)
                start_wait(fx.client, w.paths[OBJECT_JOB], &r);
        run_until_done(&r, 5);
        ck_assert_uint_eq(r.quota, 5);
        ck_assert_uint_eq(fx.bus->n_waiters, WAITERS_PER_PEER_MAX);
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        run_until_done(&r, WAITERS_PER_PEER_MAX + 5);
        ck_assert_uint_eq(r.failed, 5);
}
END_TEST

/* Who may only look cannot take all the room from who may act. */
START_TEST(test_waiters_leave_room) {
        const World w = world_make();
        sd_bus *clients[PEERS_MAX / 2 + 1];
        WaitResult r = {0};

        for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
                clients[i] = fixture_client();
                start_wait(clients[i], w.paths[OBJECT_JOB], &r);
        }
        run_until_done(&r, 1);
        ck_assert_uint_eq(r.quota, 1);
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        start_wait(fx.client, w.paths[OBJECT_JOB], &r);
        run_until_waiters(PEERS_MAX / 2 + 1);
        for (size_t i = 0; i < ELEMENTSOF(clients); i++)
                sd_bus_close_unref(clients[i]);
        run_until_waiters(1);
}
END_TEST

START_TEST(test_wait_for_a_job_that_vanishes) {
        Job *job = fake_add_job(fx.station, "flash", JOB_STATE_FINISHED, true);
        char path[BUS_PATH_MAX];
        WaitResult r = {0};

        job->state = JOB_STATE_RUNNING;
        start_wait(fx.client, job_path(job->id, path), &r);
        run_until_waiters(1);
        job->state = JOB_STATE_FINISHED;
        fake_remove_job(fx.station, job);
        run_until_done(&r, 1);
        ck_assert_uint_eq(r.failed, 1);
}
END_TEST

/* ---- drafts and leases ---- */

static Job *make_draft(sd_bus *bus, const World *w, char path[static BUS_PATH_MAX]) {
        sd_bus_message *m =
                call_on(bus, BUS_ROOT, MANAGER, "CreateJob", NULL, "soa{sv}", "flash", w->paths[OBJECT_SLOT], 2,
                        "package", "o", w->paths[OBJECT_PACKAGE], "mode", "s", "factory");
        const char *p;
        uint64_t id;

        ck_assert_int_ge(sd_bus_message_read(m, "to", &id, &p), 0);
        snprintf(path, BUS_PATH_MAX, "%s", p);
        sd_bus_message_unref(m);
        check_asked("draft kind=flash target=%s package=0000 mode=factory uid=%u", w->slot->port, getuid());
        return station_find_job(fx.station, id);
}

START_TEST(test_drafts) {
        const World w = world_make();
        sd_bus *other = fixture_client();
        char kept[BUS_PATH_MAX], dropped[BUS_PATH_MAX];
        Job *job = make_draft(other, &w, kept);
        uint64_t id;

        ok(call_on(other, kept, BUS_NAME ".Job", "Submit", NULL, "a{sv}", 0));
        check_asked("submit flash");
        ck_assert_int_eq(job->state, JOB_STATE_QUEUED);
        id = make_draft(other, &w, dropped)->id;
        sd_bus_close_unref(other);
        while (station_find_job(fx.station, id))
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        check_asked("discard");
        ck_assert_ptr_nonnull(station_find_job(fx.station, job->id));
        ck_assert_uint_eq(fx.bus->n_peers, 0);
}
END_TEST

START_TEST(test_drafts_are_bounded) {
        const World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        char path[BUS_PATH_MAX];

        for (unsigned i = 0; i < DRAFTS_PER_PEER_MAX; i++)
                make_draft(fx.client, &w, path);
        call(BUS_ROOT, MANAGER, "CreateJob", &e, "soa{sv}", "flash", "/", 1, "package", "o", w.paths[OBJECT_PACKAGE]);
        check_error(&e, ERROR("QuotaExceeded"), "drafts");
}
END_TEST

START_TEST(test_inhibit) {
        sd_bus_message *first, *second;
        sd_bus_error e = SD_BUS_ERROR_NULL;
        int fd, copy;

        first = call(BUS_ROOT, MANAGER, "Inhibit", NULL, "sss", "test", "", "start");
        second = call(BUS_ROOT, MANAGER, "Inhibit", NULL, "sss", "test", "cleaning", "start");
        ck_assert_uint_eq(fake_inhibitors(fx.station), 2);
        ck_assert_int_ge(sd_bus_message_read(second, "h", &fd), 0);
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        ck_assert_int_eq(write(copy, "x", 1), 1); /* harmless */
        sd_bus_message_unref(second);
        sd_bus_message_unref(first);
        settle();
        ck_assert_uint_eq(fake_inhibitors(fx.station), 1);
        close(copy);
        settle();
        ck_assert_uint_eq(fake_inhibitors(fx.station), 0);
        sd_bus_message *leases[LEASES_MAX];
        for (unsigned i = 0; i < LEASES_MAX; i++)
                leases[i] = call(BUS_ROOT, MANAGER, "Inhibit", NULL, "sss", "test", "", "start");
        call(BUS_ROOT, MANAGER, "Inhibit", &e, "sss", "test", "", "start");
        check_error(&e, ERROR("QuotaExceeded"), "leases");
        for (unsigned i = 0; i < LEASES_MAX; i++)
                sd_bus_message_unref(leases[i]);
}
END_TEST

/* ---- the log of a job ---- */

/* All that is there; *ret_end: and no more will come. */
static size_t drain(int fd, char *ret, size_t size, bool *ret_end) {
        size_t n = 0;
        ssize_t k;

        while ((k = recv(fd, ret + n, size - 1 - n, MSG_DONTWAIT)) > 0)
                n += (size_t) k;
        ret[n] = '\0';
        *ret_end = k == 0;
        return n;
}

/* Who does not read loses lines and hears of it; who went away is forgotten; a job that is over ends the log. */
START_TEST(test_follow_log) {
        static char text[4 * 1024 * 1024];
        const World w = world_make();
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *m, *gone, *logs[16];
        unsigned n = 0, missing = 0;
        const char *hole;
        char line[200];
        bool end;
        int fd;

        m = call(w.paths[OBJECT_JOB], BUS_NAME ".Job", "FollowLog", NULL, NULL);
        ck_assert_int_ge(sd_bus_message_read(m, "h", &fd), 0);
        gone = call(w.paths[OBJECT_JOB], BUS_NAME ".Job", "FollowLog", NULL, NULL);
        ck_assert_uint_eq(fx.bus->n_followers, 2);
        sd_bus_message_unref(gone);
        settle();
        fake_log(fx.station, w.job, "first\n");
        ck_assert_uint_eq(fx.bus->n_followers, 1);
        drain(fd, text, sizeof(text), &end);
        ck_assert_str_eq(text, "first\n");
        ck_assert(!end);
        for (unsigned i = 0; i < 50000; i++) {
                snprintf(line, sizeof(line), "line %05u of a job that says much while nobody listens to it at all\n", i);
                fake_log(fx.station, w.job, line);
        }
        drain(fd, text, sizeof(text), &end);
        ck_assert(!end);
        fake_log(fx.station, w.job, "last\n");
        drain(fd, text + strlen(text), sizeof(text) - strlen(text), &end);
        for (const char *p = text; (p = strstr(p, "line ")); p += 5)
                n++;
        hole = strchr(text, '(');
        ck_assert_ptr_nonnull(hole);
        ck_assert_int_eq(sscanf(hole, "(%u lines were not read in time", &missing), 1);
        ck_assert_uint_eq(n + missing, 50000);
        ck_assert_ptr_nonnull(strstr(hole, "\nlast\n"));
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        drain(fd, text, sizeof(text), &end);
        ck_assert(end);
        ck_assert_uint_eq(fx.bus->n_followers, 0);
        sd_bus_message_unref(m);

        Job *other = fake_add_job(fx.station, "flash", JOB_STATE_RUNNING, true);
        char path[BUS_PATH_MAX];
        job_path(other->id, path);
        for (unsigned i = 0; i < ELEMENTSOF(logs); i++)
                logs[i] = call(path, BUS_NAME ".Job", "FollowLog", NULL, NULL);
        call(path, BUS_NAME ".Job", "FollowLog", &e, NULL);
        check_error(&e, ERROR("QuotaExceeded"), "Too many logs");
        for (unsigned i = 0; i < ELEMENTSOF(logs); i++)
                sd_bus_message_unref(logs[i]);
        settle();
        sd_bus_message_unref(call(path, BUS_NAME ".Job", "FollowLog", NULL, NULL)); /* these are not counted, though the job said nothing since */
        settle();
        fake_log(fx.station, other, "nobody hears this\n");
        ck_assert_uint_eq(fx.bus->n_followers, 0);
}
END_TEST

/* A draft that is dropped ends what follows it. */
START_TEST(test_follow_draft) {
        const World w = world_make();
        sd_bus *other = fixture_client();
        char path[BUS_PATH_MAX];
        sd_bus_message *m;
        int fd;

        make_draft(fx.client, &w, path);
        m = call(path, BUS_NAME ".Job", "FollowLog", NULL, NULL);
        ck_assert_uint_eq(fx.bus->n_followers, 1);
        ok(call(path, BUS_NAME ".Job", "Cancel", NULL, "a{sv}", 0));
        ck_assert_uint_eq(fx.bus->n_followers, 0);
        ck_assert_int_ge(sd_bus_message_read(m, "h", &fd), 0);
        while (read(fd, path, 1) > 0)
                ;
        sd_bus_message_unref(m);

        make_draft(other, &w, path);
        m = call(path, BUS_NAME ".Job", "FollowLog", NULL, NULL);
        ck_assert_uint_eq(fx.bus->n_followers, 1);
        sd_bus_close_unref(other);
        while (fx.bus->n_followers > 0)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        sd_bus_message_unref(m);
}
END_TEST

/* ---- old jobs ---- */

START_TEST(test_old_jobs) {
        char path[BUS_PATH_MAX];
        sd_bus_error e = SD_BUS_ERROR_NULL;
        sd_bus_message *m;
        const char *s;

        fake_add_old_job(fx.station, 7, "pci-0:1");
        fake_add_old_job(fx.station, 9, "");
        /* by path, without asking GetJob before */
        m = call(job_path(7, path), BUS_NAME ".Job", "Wait", NULL, NULL);
        ck_assert_int_ge(sd_bus_message_read(m, "s", &s), 0);
        ck_assert_str_eq(s, "done");
        sd_bus_message_unref(m);
        m = call(BUS_ROOT, MANAGER, "GetJob", NULL, "t", UINT64_C(9));
        ck_assert_int_ge(sd_bus_message_read(m, "o", &s), 0);
        ck_assert_str_eq(s, job_path(9, path));
        sd_bus_message_unref(m);
        sd_bus_message_unref(call(path, PROPERTIES, "GetAll", NULL, "s", BUS_NAME ".Job"));
        call(path, BUS_NAME ".Job", "Retry", &e, "a{sv}", 0);
        check_error(&e, ERROR("WrongState"), "record");
        call(BUS_ROOT, MANAGER, "GetJob", &e, "t", UINT64_C(8));
        check_error(&e, ERROR("NoSuchJob"), "8");
        ck_assert_uint_eq(count_managed(NULL), 0);
}
END_TEST

/* What is known of a job may name a package that is removed later. */
START_TEST(test_old_job_outlives_its_package) {
        Package *package = fake_add_package(fx.station, '1', "a.pac");
        char path[BUS_PATH_MAX], of[BUS_PATH_MAX];
        sd_bus_message *m;
        const char *s;

        fake_add_old_job(fx.station, 7, "");
        fake_last_old_job_of(fx.station, package);
        job_path(7, path);
        m = call(path, PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "Package");
        ck_assert_int_ge(sd_bus_message_read(m, "v", "o", &s), 0);
        ck_assert_str_eq(s, object_path(OBJECT_PACKAGE, package, of));
        sd_bus_message_unref(m);
        fake_remove_package(fx.station, package);
        m = call(path, PROPERTIES, "Get", NULL, "ss", BUS_NAME ".Job", "Package");
        ck_assert_int_ge(sd_bus_message_read(m, "v", "o", &s), 0);
        ck_assert_str_eq(s, "/");
        sd_bus_message_unref(m);
}
END_TEST

static void check_list(sd_bus_message *m, const uint64_t *ids, size_t n) {
        size_t i = 0;

        ck_assert_int_gt(sd_bus_message_enter_container(m, 'a', "(tsoosd)"), 0);
        for (;; i++) {
                const char *state, *job, *slot, *kind;
                double progress;
                uint64_t id;
                int r = sd_bus_message_read(m, "(tsoosd)", &id, &state, &job, &slot, &kind, &progress);
                ck_assert_int_ge(r, 0);
                if (r == 0)
                        break;
                ck_assert_uint_lt(i, n);
                ck_assert_uint_eq(id, ids[i]);
        }
        ck_assert_uint_eq(i, n);
        sd_bus_message_unref(m);
}

START_TEST(test_list_jobs) {
        static const uint64_t all[] = {101, 100, 9, 8, 7}, page[] = {9, 8}, running[] = {101};

        fake_add_old_job(fx.station, 7, "pci-0:1");
        fake_add_old_job(fx.station, 8, "");
        fake_add_old_job(fx.station, 9, "");
        fake_add_job(fx.station, "flash", JOB_STATE_FINISHED, true);
        fake_add_old_job(fx.station, 100, ""); /* still in memory: once in the list */
        fake_add_job(fx.station, "flash", JOB_STATE_RUNNING, true);
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 0), all, ELEMENTSOF(all));
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 2, "before", "t", UINT64_C(100), "limit", "u", 2),
                   page, 2);
        /* The newest ones are in memory: nobody waits for the disk. */
        unsigned asked = fake_old_jobs_asked(fx.station);
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 1, "limit", "u", 1), running, 1);
        ck_assert_uint_eq(fake_old_jobs_asked(fx.station), asked);
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 1, "limit", "u", 2), all, 2);
        ck_assert_uint_eq(fake_old_jobs_asked(fx.station), asked + 1);
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 1, "state", "s", "running"), running, 1);
        check_list(call(BUS_ROOT, MANAGER, "ListJobs", NULL, "a{sv}", 1, "state", "s", "draft"), NULL, 0);
}
END_TEST

/* ---- bad days ---- */

/* 17 descriptors cost the sender its connection, and nobody else anything. */
START_TEST(test_too_many_descriptors) {
        sd_bus *greedy = fixture_client();
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        sd_bus_message *m;

        sd_bus_message_unref(call_on(greedy, BUS_ROOT, "org.freedesktop.DBus.Peer", "Ping", NULL, NULL));
        ck_assert_int_ge(sd_bus_message_new_method_call(greedy, &m, BUS_NAME, BUS_ROOT, MANAGER, "ImportPackage"), 0);
        ck_assert_int_ge(sd_bus_message_open_container(m, 'a', "h"), 0);
        for (unsigned i = 0; i < 17; i++)
                ck_assert_int_ge(sd_bus_message_append(m, "h", fd), 0);
        ck_assert_int_ge(sd_bus_message_close_container(m), 0);
        ck_assert_int_ge(sd_bus_send(greedy, m, NULL), 0);
        sd_bus_message_unref(m);
        while (sd_bus_is_open(greedy) > 0)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        sd_bus_close_unref(greedy);
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
        ck_assert_uint_eq(fx.lost, 0);
        close(fd);
}
END_TEST

static void run_until_lost(void) {
        while (fx.lost == 0)
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        ck_assert_uint_eq(fx.lost, 1);
}

START_TEST(test_second_daemon) {
        Bus *first = fx.bus;
        CallError e = {.text = ""};
        Station *station = fake_station_new();

        ck_assert_int_eq(bus_new(fx.event, station, fx.address, true, NULL, NULL, &fx.bus, &e), 0);
        ck_assert_int_eq(bus_publish(fx.bus, NULL, &e), 0);
        while (!bus_lost_reason(fx.bus)[0])
                ck_assert_int_gt(sd_event_run(fx.event, UINT64_C(10000000)), 0);
        ck_assert_ptr_nonnull(strstr(bus_lost_reason(fx.bus), "Another fdld"));
        bus_free(fx.bus);
        fake_station_free(station);
        fx.bus = first;
        ok(call(BUS_ROOT, MANAGER, "Reload", NULL, NULL));
}
END_TEST

START_TEST(test_bus_daemon_dies) {
        const World w = world_make();
        WaitResult r = {0};

        start_wait(fx.client, w.paths[OBJECT_JOB], &r);
        run_until_waiters(1);
        kill(fx.daemon, SIGKILL);
        run_until_lost();
        ck_assert_ptr_nonnull(strstr(bus_lost_reason(fx.bus), "connection"));
        /* The station goes on until its jobs are safe. */
        fake_finish(fx.station, w.job, JOB_RESULT_DONE);
        fake_remove_device(fx.station, w.device);
}
END_TEST

START_TEST(test_bus_daemon_hangs) {
        static const char *const changed[] = {"Progress", "BytesDone", NULL};
        const World w = world_make();
        uint64_t queued = 0;

        settle();
        fx.bus->limits = (BusLimits){.write_soft = 16, .write_hard = 1024, .stuck_usec = 100000};
        kill(fx.daemon, SIGSTOP);
        for (unsigned i = 0; fx.lost == 0; i++) {
                fake_changed(fx.station, OBJECT_JOB, w.job, changed);
                ck_assert_int_ge(sd_event_run(fx.event, 1000), 0);
                if (!bus_lost_reason(fx.bus)[0]) {
                        ck_assert_int_ge(sd_bus_get_n_queued_write(fx.bus->bus, &queued), 0);
                        ck_assert_uint_le(queued, 20);
                }
                ck_assert_uint_lt(i, 1000000);
        }
        ck_assert_ptr_nonnull(strstr(bus_lost_reason(fx.bus), "stopped reading"));
}
END_TEST

/* The end of the daemon does not wait for a bus daemon that hangs. */
START_TEST(test_exit_while_bus_daemon_hangs) {
        static const char *const changed[] = {"Error", "Progress", NULL};
        const World w = world_make();
        uint64_t queued = 0;

        settle();
        kill(fx.daemon, SIGSTOP);
        while (queued < 8) {
                fake_changed(fx.station, OBJECT_JOB, w.job, changed);
                ck_assert_int_ge(sd_event_run(fx.event, 1000), 0);
                ck_assert_int_ge(sd_bus_get_n_queued_write(fx.bus->bus, &queued), 0);
        }
        ck_assert_int_ge(sd_bus_set_close_on_exit(fx.client, false), 0);
        ck_assert_int_ge(sd_event_exit(fx.event, 0), 0);
        ck_assert_int_ge(sd_event_loop(fx.event), 0);
}
END_TEST

START_TEST(test_no_bus_daemon) {
        CallError e = {.text = ""};
        sd_event *event = NULL;
        Bus *bus = NULL;

        ck_assert_int_ge(sd_event_new(&event), 0);
        ck_assert_int_eq(bus_new(event, NULL, "unix:path=/nonexistent/bus", true, NULL, NULL, &bus, &e), -1);
        ck_assert_ptr_null(bus);
        ck_assert_ptr_nonnull(strstr(e.text, "/nonexistent/bus"));
        sd_event_unref(event);
}
END_TEST

static TCase *make_case(const char *name, bool with_fixture) {
        TCase *c = tcase_create(name);

        tcase_set_timeout(c, 120);
        if (with_fixture)
                tcase_add_checked_fixture(c, fixture_setup, fixture_teardown);
        return c;
}

int main(void) {
        const TTest *const with_bus[] = {
                test_introspection,
                test_history,
                test_history_refuses,
                test_steps,
                test_steps_refuse,
                test_every_method_has_an_action,
                test_flash,
                test_import,
                test_plan,
                test_manager_finds,
                test_objects,
                test_station_errors_arrive,
                test_bad_options,
                test_bad_values,
                test_bad_paths,
                test_wrong_types,
                test_credentials_are_forgotten,
                test_many_calls_before_credentials,
                test_added_changed_removed,
                test_finish_is_told_in_order, test_changes_of_many_jobs_are_collected,
                test_managed_objects,
                test_ghosts_are_bounded,
                test_error_property,
                test_wait_from_many,
                test_wait_is_bounded,
                test_waiters_leave_room,
                test_wait_for_a_job_that_vanishes,
                test_drafts,
                test_drafts_are_bounded,
                test_inhibit, test_follow_log, test_follow_draft,
                test_old_jobs, test_old_job_outlives_its_package,
                test_list_jobs,
                test_too_many_descriptors,
                test_second_daemon,
                test_bus_daemon_dies,
                test_bus_daemon_hangs,
                test_exit_while_bus_daemon_hangs,
        };
        const TTest *const alone[] = {test_strangers_are_refused, test_shipped_policy, test_no_bus_daemon};
        TCase *c = make_case("bus", true), *d = make_case("alone", false);
        Suite *s = suite_create("bus");
        SRunner *runner;
        int failed;

        for (size_t i = 0; i < ELEMENTSOF(with_bus); i++)
                tcase_add_test(c, with_bus[i]);
        for (size_t i = 0; i < ELEMENTSOF(alone); i++)
                tcase_add_test(d, alone[i]);
        suite_add_tcase(s, c);
        suite_add_tcase(s, d);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
