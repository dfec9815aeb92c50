/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "every-method.h"

#include <stdio.h>

#include "station/batch.h"
#include "station/profile.h"

const InterfaceRow interfaces[] = {
        {"Manager", OBJECT_STATION},
        {"History", OBJECT_STATION},
        {"Vault", OBJECT_STATION},
        {"Device", OBJECT_DEVICE},
        {"Slot", OBJECT_SLOT},
        {"Package", OBJECT_PACKAGE},
        {"Batch", OBJECT_BATCH},
        {"Profile", OBJECT_PROFILE},
        {"Job", OBJECT_JOB},
};
const size_t n_interfaces = ELEMENTSOF(interfaces);

World world_make(void) {
        World w = {0};
        const void *objects[OBJECT_JOB + 1];

        w.slot = fake_add_slot(fx.station, "pci-0000:00:14.0-usb-0:2");
        w.device = fake_add_device(fx.station, "pci-0000:00:14.0-usb-0:2");
        w.package = fake_add_package(fx.station, '0', "a.pac");
        w.job = fake_add_job(fx.station, "flash", JOB_STATE_RUNNING, true);
        w.batch = fake_add_batch(fx.station, "b");
        objects[OBJECT_STATION] = fx.station;
        objects[OBJECT_DEVICE] = w.device;
        objects[OBJECT_SLOT] = w.slot;
        objects[OBJECT_PACKAGE] = w.package;
        objects[OBJECT_JOB] = w.job;
        objects[OBJECT_BATCH] = w.batch;
        objects[OBJECT_PROFILE] = fake_add_profile(fx.station);
        for (ObjectKind k = OBJECT_STATION; k <= OBJECT_JOB; k++) {
                char buffer[BUS_PATH_MAX];
                snprintf(w.paths[k], BUS_PATH_MAX, "%s", object_path(k, objects[k], buffer));
        }
        return w;
}

const char *interface_name(size_t i, char buffer[static 64]) {
        snprintf(buffer, 64, BUS_NAME ".%s", interfaces[i].name);
        return buffer;
}

void shipped_lines(size_t interface_index, Lines *ret) {
        char path[512], interface[64];
        size_t size;
        char *xml;

        interface_name(interface_index, interface);
        snprintf(path, sizeof(path), "%s/dbus/%s.xml", getenv("srcdir"), interface);
        xml = read_whole_file(path, &size);
        interface_lines(xml, size, interface, ret);
        free(xml);
        ck_assert_uint_gt(ret->n, 0);
}

const sd_bus_vtable *interface_vtable(size_t k) {
        char name[64];

        for (const RootInterface *i = root_interfaces; i->name; i++)
                if (streq(i->name, interface_name(k, name)))
                        return i->vtable;
        return object_class(interfaces[k].kind)->vtable;
}

bool method_name(const char *line, char ret[static 64]) {
        return sscanf(line, "method %63[A-Za-z0-9]", ret) == 1;
}

/* Something acceptable for an argument, by its type and, where that is not enough, by its name. */
static int append_good(sd_bus_message *m, const World *w, const char *method, const char *type, const char *name, int fd) {
        static const char *const texts[][2] = {{"what", "start"}, {"how", "reset"},       {"code", "any-gone"},
                                               {"kind", "flash"}, {"format", "jsonl"},    {"action", "replug"},
                                               {"port", "pci-0:9"}};
        const char *text = "x";

        if (streq(type, "h"))
                return sd_bus_message_append(m, "h", fd);
        if (streq(type, "b"))
                return sd_bus_message_append(m, "b", 1);
        if (streq(type, "t"))
                return sd_bus_message_append(m, "t", w->job->id);
        if (streq(type, "u"))
                return sd_bus_message_append(m, "u", 1);
        if (streq(type, "o"))
                return sd_bus_message_append(m, "o", streq(name, "package") ? w->paths[OBJECT_PACKAGE] : "/");
        if ((streq(method, "CreateJob") || streq(method, "Arm")) && streq(type, "a{sv}"))
                return sd_bus_message_append(m, "a{sv}", 1, "package", "o", w->paths[OBJECT_PACKAGE]);
        if (type[0] == 'a') {
                int r = sd_bus_message_open_container(m, 'a', type + 1);
                return r < 0 ? r : sd_bus_message_close_container(m);
        }
        ck_assert_msg(streq(type, "s"), "%s: no example of an argument of type %s", method, type);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (streq(texts[i][0], name))
                        text = texts[i][1];
        return sd_bus_message_append(m, "s", streq(method, "GetDeviceBySysfs") ? w->device->sysfs : text);
}

sd_bus_message *good_message(sd_bus *bus, const World *w, size_t k, const char *line, int fd) {
        sd_bus_message *m = NULL;
        char name[64], interface[64], direction[8], type[64], argument[64];

        ck_assert(method_name(line, name));
        ck_assert_int_ge(sd_bus_message_new_method_call(bus, &m, BUS_NAME, w->paths[interfaces[k].kind], interface_name(k, interface), name), 0);
        line += strlen("method ") + strlen(name);
        for (int used; sscanf(line, " %7s %63s %63[^,],%n", direction, type, argument, &used) == 3; line += used)
                if (streq(direction, "in"))
                        ck_assert_int_ge(append_good(m, w, name, type, argument, fd), 0);
        return m;
}

sd_bus_message *good_call(sd_bus *bus, const World *w, size_t k, const char *line, int fd, sd_bus_error *e) {
        return call_message(bus, good_message(bus, w, k, line, fd), e);
}

sd_bus *make_stranger(void) {
        return getuid() == 0 ? fixture_client_as(NOBODY) : fixture_client();
}

