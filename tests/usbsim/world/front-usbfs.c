/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

/* The front for programs of the world: nodes are in its /sys, in its udev and in its usbfs. */

enum { ROOT_PORTS = 16 };

static int enter(World *w) {
        w->root_ports = ROOT_PORTS;
        return sandbox_enter();
}

static void open_front(World *w UNUSED) {
        uevent_open();
}

static bool add_hub(Node *n) {
        if (!node_number_take(n))
                return false;
        sysfs_add_hub(n);
        node_publish(n);
        uevent_device(n, "add");
        uevent_interface(n, &n->interfaces[0], "add", NULL);
        uevent_interface(n, &n->interfaces[0], "bind", "hub");
        uevent_device(n, "bind");
        return true;
}

static bool add(Node *n) {
        if (!node_number_take(n))
                return false;
        sysfs_add_device(n);
        node_publish(n);
        return true;
}

static bool announce(Node *n) {
        uevent_device(n, "add");
        for (unsigned i = 0; n->configured && i < n->n_interfaces; i++) {
                char driver[sizeof n->interfaces[i].driver];
                const char *bound;

                /* Whoever heard of the device may have claimed it by now. */
                pthread_mutex_lock(n->lock);
                bound = interface_driver(&n->interfaces[i]);
                snprintf(driver, sizeof driver, "%s", bound ? bound : "");
                pthread_mutex_unlock(n->lock);
                uevent_interface(n, &n->interfaces[i], "add", NULL);
                if (driver[0])
                        uevent_interface(n, &n->interfaces[i], "bind", driver);
        }
        uevent_device(n, "bind");
        return true;
}

static void remove_node(Node *n) {
        sysfs_remove_device(n);
        for (unsigned i = 0; i < n->n_interfaces; i++) {
                if (n->interfaces[i].driver[0])
                        uevent_interface(n, &n->interfaces[i], "unbind", NULL);
                uevent_interface(n, &n->interfaces[i], "remove", NULL);
        }
        uevent_device(n, "unbind");
        uevent_device(n, "remove");
        node_withdraw(n);
}

const Front front_usbfs = {
        .has_hubs = true,
        .storage = "/dev/usbsim/storage",
        .control = "/dev/usbsim/control",
        .enter = enter,
        .open = open_front,
        .start = fusefs_start,
        .add_controller = sysfs_add_controller,
        .add_hub = add_hub,
        .peer_hubs = sysfs_peer_hubs,
        .add = add,
        .announce = announce,
        .remove = remove_node,
        .bind = sysfs_bind,
        .power = sysfs_power,
        .wake = file_wake,
};
