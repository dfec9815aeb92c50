/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "hotplug.h"
#include "scratch.h"

static char root[160];

/* ---- a made-up sysfs ---- */

static void make(const char *path, const char *subsystem) {
        char full[PATH_MAX], link[PATH_MAX], target[64];

        snprintf(full, sizeof(full), "%s/%s", root, path);
        ck_assert_int_eq(mkdir(full, 0700), 0);
        if (!subsystem)
                return;
        ck_assert_int_lt(snprintf(link, sizeof(link), "%.1000s/subsystem", full), (int) sizeof(link));
        snprintf(target, sizeof(target), "/sys/bus/%s", subsystem);
        ck_assert_int_eq(symlink(target, link), 0);
}

static void point(const char *path, const char *target) {
        char full[PATH_MAX];

        snprintf(full, sizeof(full), "%s/%s", root, path);
        ck_assert_int_eq(symlink(target, full), 0);
}

static const char *at(const char *path) {
        static char full[PATH_MAX];
        snprintf(full, sizeof(full), "%s/%s", root, path);
        return full;
}

static void setup(void) {
        scratch_template(root, sizeof(root), "fdld-hotplug");
        ck_assert_ptr_nonnull(mkdtemp(root));
        make("pci0000:00", NULL);
        make("pci0000:00/0000:00:14.0", "pci");
        make("pci0000:00/0000:00:14.0/usb1", "usb");
        make("pci0000:00/0000:00:14.0/usb1/1-5", "usb");
        make("pci0000:00/0000:00:14.0/usb1/1-5/1-5.2", "usb");
        make("pci0000:00/0000:00:14.0/usb2", "usb");
        make("pci0000:00/0000:00:14.0/usb2/2-1", "usb");
        make("pci0000:00/0000:00:14.0/usb2/2-0:1.0", "usb");
        make("pci0000:00/0000:00:14.0/usb2/2-0:1.0/usb2-port1", NULL);
}

static int erase(const char *path, const struct stat *st _unused_, int flag _unused_, struct FTW *ftw _unused_) {
        return remove(path);
}

static void teardown(void) {
        nftw(root, erase, 8, FTW_DEPTH | FTW_PHYS);
}

START_TEST(port_from_parents) {
        char port[128];

        ck_assert_int_eq(hotplug_derive_port(at("pci0000:00/0000:00:14.0/usb1/1-5/1-5.2"), port), 0);
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:5.2");
        ck_assert_int_eq(hotplug_derive_port(at("pci0000:00/0000:00:14.0/usb1/1-5"), port), 0);
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:5");
        ck_assert_int_lt(hotplug_derive_port(at("pci0000:00/0000:00:14.0/usb1"), port), 0);
        ck_assert_int_lt(hotplug_derive_port("/nonexistent/1-1", port), 0);
}
END_TEST

START_TEST(port_behind_platform_and_bridges) {
        char port[128];

        make("soc", "platform");
        make("soc/fd500000.pcie", "platform");
        make("soc/fd500000.pcie/pci0000:00", NULL);
        make("soc/fd500000.pcie/pci0000:00/0000:00:00.0", "pci");
        make("soc/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0", "pci");
        make("soc/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb3", "usb");
        make("soc/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb3/3-2", "usb");
        ck_assert_int_eq(
                hotplug_derive_port(at("soc/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0/usb3/3-2"), port), 0);
        ck_assert_str_eq(port, "platform-fd500000.pcie-pci-0000:01:00.0-usb-0:2");
}
END_TEST

START_TEST(usb3_twin_has_the_usb2_port) {
        char port[128] = "pci-0000:00:14.0-usb-0:1";
        const char *device = "pci0000:00/0000:00:14.0/usb2/2-1";

        hotplug_usb2_port(at(device), "5000", port); /* no link: stays */
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:1");
        point("pci0000:00/0000:00:14.0/usb2/2-1/port", "../2-0:1.0/usb2-port1");
        point("pci0000:00/0000:00:14.0/usb2/2-0:1.0/usb2-port1/peer", "../../usb1/1-0:1.0/usb1-port5");
        hotplug_usb2_port(at(device), "480", port); /* already the USB2 side */
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:1");
        hotplug_usb2_port(at(device), "5000", port);
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:5");
}
END_TEST

START_TEST(usb3_twin_behind_a_hub) {
        char port[128] = "pci-0000:00:14.0-usb-0:1.3";
        const char *device = "pci0000:00/0000:00:14.0/usb2/2-1";

        point("pci0000:00/0000:00:14.0/usb2/2-1/port", "../2-0:1.0/usb2-port1");
        point("pci0000:00/0000:00:14.0/usb2/2-0:1.0/usb2-port1/peer", "../../../1-5:1.0/1-5-port3");
        hotplug_usb2_port(at(device), "10000", port);
        ck_assert_str_eq(port, "pci-0000:00:14.0-usb-0:5.3");
}
END_TEST

START_TEST(valid_ports) {
        static const char *const good[] = {"pci-0000:00:14.0-usb-0:1", "pci-0000:00:14.0-usb-0:1.2.3.4",
                                           "platform-sim-usb-0:12", "usb-0:1", "platform-vhci_hcd.0-usb-0:1"};
        static const char *const bad[] = {
                "",           "usb",        "usb-0:",           "usb-0:a",   "usb-:1",        "usb-0:1.",
                "usb-0:.1",   "usb-0:1..2", "pci-0000:00:14.0", "x/usb-0:1", "pci\n-usb-0:1", "xusb-0:1",
                "usb-0:1:1.0"};

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                ck_assert_msg(hotplug_port_valid(good[i]), "%s", good[i]);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                ck_assert_msg(!hotplug_port_valid(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(id_table) {
        ck_assert_int_eq(hotplug_id(0x1782, 0x4d00), HOTPLUG_ID_BOOT);
        ck_assert_int_eq(hotplug_id(0x0525, 0xa4a7), HOTPLUG_ID_OPT_IN);
        ck_assert_int_eq(hotplug_id(0x1782, 0x4d16), HOTPLUG_ID_OPT_IN);
        ck_assert_int_eq(hotplug_id(0x1782, 0x4d03), HOTPLUG_ID_NOT_BOOT);
        ck_assert_int_eq(hotplug_id(0x1782, 0x4d10), HOTPLUG_ID_NOT_BOOT);
        ck_assert_int_eq(hotplug_id(0x18d1, 0x4ee0), HOTPLUG_ID_OTHER);
}
END_TEST

/* ---- descriptors ---- */

#define DEVICE(vl, vh, pl, ph) 18, 1, 0, 2, 0xff, 0xff, 0, 64, vl, vh, pl, ph, 0, 0, 0, 0, 0, 1
#define CONFIG 9, 2, 0, 0, 1, 1, 0, 0xc0, 50
#define INTERFACE(n, eps) 9, 4, n, 0, eps, 0xff, 0, 0, 0
#define ENDPOINT(address, type) 7, 5, address, type, 0, 2, 0

static bool fits(const uint8_t *data, size_t size) {
        return hotplug_descriptors_fit(get_le16(data + 8), get_le16(data + 10), data, size);
}

START_TEST(descriptors) {
        static const uint8_t module[] = {DEVICE(0x25, 0x05, 0xa7, 0xa4),
                                         CONFIG,
                                         INTERFACE(0, 1),
                                         ENDPOINT(0x83, 3),
                                         INTERFACE(1, 2),
                                         ENDPOINT(0x81, 2),
                                         ENDPOINT(0x02, 2)};
        static const uint8_t gadget[] = {DEVICE(0x25, 0x05, 0xa7, 0xa4), CONFIG, INTERFACE(0, 2), ENDPOINT(0x82, 2),
                                         ENDPOINT(0x01, 2)};
        static const uint8_t phone[] = {DEVICE(0x82, 0x17, 0x00, 0x4d), CONFIG, INTERFACE(0, 2), ENDPOINT(0x85, 2),
                                        ENDPOINT(0x06, 2)};
        static const uint8_t three[] = {DEVICE(0x82, 0x17, 0x16, 0x4d),
                                        CONFIG,
                                        INTERFACE(0, 3),
                                        ENDPOINT(0x85, 2),
                                        ENDPOINT(0x06, 2),
                                        ENDPOINT(0x07, 2)};

        ck_assert(fits(module, sizeof(module)));
        ck_assert(!fits(gadget, sizeof(gadget)));
        ck_assert(fits(phone, sizeof(phone)));
        ck_assert(!fits(three, sizeof(three)));
        ck_assert(!hotplug_descriptors_fit(0x1782, 0x4d00, module, sizeof(module))); /* others than announced */
        for (size_t n = 0; n < sizeof(module); n++) {
                uint8_t *copy = malloc(n ? n : 1); /* exactly so long: a sanitizer sees one byte too far */
                memcpy(copy, module, n);
                ck_assert(!hotplug_descriptors_fit(0x0525, 0xa4a7, copy, n));
                free(copy);
        }
}
END_TEST

START_TEST(descriptors_that_lie) {
        static const uint8_t zero[] = {DEVICE(0x82, 0x17, 0x00, 0x4d), 0, 0, 0, 0};
        static const uint8_t longer[] = {DEVICE(0x82, 0x17, 0x00, 0x4d), 200, 4, 0, 0};
        static const uint8_t tiny[] = {DEVICE(0x82, 0x17, 0x00, 0x4d), 2, 5, 3, 5, 0x81};

        ck_assert(!fits(zero, sizeof(zero)));
        ck_assert(!fits(longer, sizeof(longer)));
        ck_assert(!fits(tiny, sizeof(tiny)));
}
END_TEST

int main(void) {
        Suite *suite = suite_create("hotplug");
        TCase *t = tcase_create("all");
        SRunner *r = srunner_create(suite);
        int failed;

        tcase_add_checked_fixture(t, setup, teardown);
        tcase_add_test(t, port_from_parents);
        tcase_add_test(t, port_behind_platform_and_bridges);
        tcase_add_test(t, usb3_twin_has_the_usb2_port);
        tcase_add_test(t, usb3_twin_behind_a_hub);
        tcase_add_test(t, valid_ports);
        tcase_add_test(t, id_table);
        tcase_add_test(t, descriptors);
        tcase_add_test(t, descriptors_that_lie);
        suite_add_tcase(suite, t);
        srunner_run_all(r, CK_ENV);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
