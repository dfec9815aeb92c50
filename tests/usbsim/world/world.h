/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "../model.h"
#include "util.h"

/* The USB world: controllers, buses, hubs, and units (device models) sitting in sockets. What is enumerated on a bus is
 * a Node: one appearance of a device, with its number and its descriptors, until it leaves. A unit that comes back is a
 * new node.
 *
 * Locks, in the order in which they nest: world.lock (who sits where, /sys), unit.lock or a hub's own lock (model,
 * claims, transfers), then the leaves: world.nodes_lock, controller.rate_lock, the lock of blocked readers, the netlink
 * lock. */

enum {
        BUSES_MAX = 32,
        UNITS_MAX = 120,
        INTERFACES_MAX = 8,
        HUB_PORTS = 7,
        DEVICES_PER_BUS = 127,
        DEPTH_MAX = 6,
};

typedef struct World World;
typedef struct Front Front;
typedef struct Controller Controller;
typedef struct Bus Bus;
typedef struct Node Node;
typedef struct Unit Unit;
typedef struct File File;
typedef struct Urb Urb;
typedef struct Tty Tty;

TAILQ_HEAD(UrbQueue, Urb);
LIST_HEAD(FileList, File);
LIST_HEAD(NodeList, Node);

/* The numbers are those of USBDEVFS_GET_SPEED. */
typedef enum Speed { SPEED_FULL = 2, SPEED_HIGH = 3, SPEED_SUPER = 5 } Speed;

struct Bus {
        unsigned number;
        Controller *controller;
        bool super;       /* the USB3 half */
        uint8_t used[16]; /* device numbers in use */
        unsigned next_number;
        Node *root;
        Node *hubs[64];
        unsigned n_hubs;
};

struct Controller {
        unsigned index;
        char path[128];   /* /devices/… */
        char id_path[64]; /* as path_id names it: pci-0000:00:14.0 */
        Bus *usb2, *usb3;
        pthread_mutex_t rate_lock;
        uint64_t busy_until; /* the wire is spoken for until then */
};

typedef struct Interface {
        uint8_t number;
        bool bulk;       /* the download interface */
        char driver[32]; /* kernel driver, "" none; "usbfs" is told from owner */
        File *owner;     /* usbfs claim */
        bool foreign;    /* held by a program that only exists as a claim */
} Interface;

struct Node {
        atomic_uint refs;
        uint64_t ino;
        World *world;
        Bus *bus;
        unsigned number;
        char name[40];     /* 1-1.3, usb1 */
        char path[384];    /* /devices/… */
        char id_path[128]; /* "" for root hubs */
        Speed speed;
        bool is_hub;
        unsigned hub_ports;
        SimUsb usb; /* strings are owned copies */
        uint8_t descriptors[512];
        size_t descriptors_size;
        unsigned n_interfaces;
        uint64_t born_us;

        /* under *lock */
        pthread_mutex_t *lock;
        Unit *unit;      /* NULL for hubs */
        bool runs_model; /* false for a hub and for a booted system */
        bool gone;
        bool configured;
        Interface interfaces[INTERFACES_MAX];
        struct FileList files;
        struct UrbQueue in, out, control;
        bool halted_in, halted_out; /* stalled until cleared */
        bool error_in, error_out;   /* the next transfer ends with EPROTO */
        unsigned syncs;             /* transfers with a time limit among them */

        LIST_ENTRY(Node) nodes; /* under world.nodes_lock */
};

typedef enum UnitAction { ACT_NONE, ACT_LEAVE, ACT_REENUMERATE, ACT_BOOT } UnitAction;
/* asleep: suspended by autosuspend, and the kernel cannot wake it */
typedef enum PowerState { POWER_ON, POWER_AUTO, POWER_ASLEEP } PowerState;
typedef enum Permission { PERM_OK, PERM_READ_ONLY, PERM_DENIED } Permission;
typedef enum ResetBehaviour { RESET_ROM, RESET_KEEP, RESET_GONE } ResetBehaviour;
typedef enum TtyMode { TTY_NO, TTY_ALSO, TTY_ONLY } TtyMode;

/* What the world itself knows about a unit from its specification. */
typedef struct UnitOptions {
        char *model_spec; /* what is left for the model */
        char *name;
        char port[40]; /* "" until placed */
        Speed speed;
        Permission permission;
        char held[32]; /* kernel driver */
        bool held_by_program, driver_stubborn; /* stubborn: takes the interface back as soon as it lost it */
        bool unauthorised; /* the machine does not allow it: no configuration, nothing to claim */
        PowerState power;
        bool absent;
        bool twin;
        TtyMode tty;
        bool boots; /* comes back as a running system */
        uint16_t boot_vendor, boot_product;
        ResetBehaviour reset;
        bool stall_line_state;
        unsigned seed;
} UnitOptions;

struct Unit {
        World *world;
        unsigned index;
        UnitOptions o;

        pthread_mutex_t lock;
        pthread_cond_t changed; /* for those who wait for a condition */
        unsigned waiters;
        SimModel *model;
        Node *node;   /* what is enumerated now; set under world.lock and lock */
        bool plugged; /* a cable is in */
        bool powered; /* the model runs */
        unsigned swaps;
        uint64_t transfers, bytes_out;
        uint64_t announced_ns, first_byte_ns; /* of this stay on the bus; 0 not yet */

        UnitAction action; /* wish of the model that is still to be carried out */
        uint64_t action_at;
        atomic_uint_fast64_t next; /* when the clock must run this unit */
        Tty *tty;
};

/* One open file of usbfs. All under the node's lock. */
struct File {
        LIST_ENTRY(File) files;
        Node *node;
        bool writable;
        uint64_t claimed; /* a bit for each interface number */
        struct UrbQueue done;
        atomic_uint sleepers;  /* blocked in REAPURB */
        atomic_bool closing;   /* a close was seen: release may be on its way */
        uint32_t disabled_eps; /* bulk continuation: one bit for each endpoint and direction */
        int link;              /* vhci: our end of the socket to the kernel */
        void *poll_handle;     /* fuse_pollhandle of whoever sleeps in poll */
};

typedef enum BulkState { BULK_PLAIN, BULK_CONTINUES, BULK_UNLINK } BulkState;

struct Urb {
        TAILQ_ENTRY(Urb) link;
        File *file;
        uint64_t user_urb, user_buf;
        uint8_t type, ep, interface;
        uint32_t flags;
        uint32_t len, capacity, actual;
        int status;
        BulkState bulk;
        bool filled;     /* IN: the device has answered, the bytes are on the wire */
        uint64_t due;    /* the bytes have passed the wire then; 0 not begun */
        uint64_t memory; /* charged to the usbfs limit */
        void *sync_req;  /* blocking BULK: the request that waits for this */
        pid_t sync_pid;
        uint64_t deadline;
        uint8_t buf[];
};

typedef struct Settings {
        unsigned controllers; /* 0: as many as sensible */
        bool platform;        /* platform devices instead of PCI */
        bool kernel;          /* no world of their own: devices of this kernel */
        char *hubs[64];
        unsigned n_hubs;
        char *devices[UNITS_MAX];
        unsigned n_devices;
        uint64_t bus_rate;
        bool bus_rate_set;
        bool fast;
        bool stats;
        char *storage;
        char *control;
        char *script;
        uint64_t memory_limit;
        int nice;
        char **command;
} Settings;

/* Where nodes are seen: in a world of their own below libusb and libudev, or by the USB stack of this kernel. */
struct Front {
        bool has_hubs; /* units may sit behind hubs */
        const char *storage, *control;

        int (*enter)(World *w);          /* first of all, while there is one thread; a descriptor that ends with the simulator, or -1 */
        void (*open)(World *w);          /* before there is a node */
        void (*start)(World *w, int fd); /* once there are controllers; what enter() returned */
        void (*add_controller)(const Controller *c);
        bool (*add_hub)(Node *n);
        void (*peer_hubs)(const Node *usb2, const Node *usb3); /* the two halves of each socket point at each other */
        bool (*add)(Node *n);                                  /* world.lock is held: whoever knows of it may open it */
        bool (*announce)(Node *n);                             /* all that listen hear of it */
        void (*remove)(Node *n);                               /* world.lock is held; the node is cut already: open files know */
        void (*bind)(Node *n, const Interface *i, const char *driver);
        void (*power)(const Node *n);
        void (*wake)(File *f); /* the node's lock is held: transfers are done, or it has gone */
};
extern const Front front_usbfs, front_vhci;

struct World {
        const Front *front;
        unsigned root_ports;
        Settings settings;
        pthread_mutex_t lock;
        Controller controllers[BUSES_MAX / 2];
        unsigned n_controllers;
        Bus buses[BUSES_MAX];
        unsigned n_buses;
        const char *full_speed_hub; /* the hub that is being made, if it is one; NULL */
        Unit *units[UNITS_MAX];
        unsigned n_units;

        pthread_mutex_t nodes_lock;
        struct NodeList nodes;
        uint64_t next_ino;

        atomic_uint_fast64_t bus_rate, memory_limit, memory_used;
        atomic_uint closing_files;
        atomic_uint_fast64_t n_ioctls, n_urbs, n_bytes;
        uint64_t started;
        char storage[256];
        char control[128];
};

/* options.c */
void settings_parse(Settings *s, int argc, char **argv);
bool unit_options_parse(UnitOptions *o, const char *spec, bool fast, char *err, size_t err_size);
void unit_options_free(UnitOptions *o);
bool permission_parse(const char *s, Permission *ret);
bool power_parse(const char *s, PowerState *ret);

/* sandbox.c: makes the namespaces and the empty places that are filled later. Returns the descriptor of /dev/fuse. */
int sandbox_enter(void);

/* keeper.c: starts the command and ends what it leaves behind */
int keeper_start(const World *w, const sigset_t *before, int front_fd);
int keeper_run(int fd, const sigset_t *signals);

/* topology.c */
void topology_build(World *w); /* controllers, root hubs, hubs, a place for each unit */
/* Puts a unit into a socket: checks the port, makes the hubs above it. A socket is named by its USB2 half; the name of
 * the USB3 half (even bus) means a SuperSpeed device there. */
bool unit_place(Unit *u, const char *port, char *err, size_t err_size);
/* The hub that a unit hangs on, and the unit's name there: the half of the socket that its speed calls for. */
Node *unit_hub(const Unit *u, char *ret_name, size_t size);

/* node.c */
Node *node_new(World *w, Bus *bus, const char *name, const char *parent_path, const SimUsb *usb, Speed speed);
Node *node_ref(Node *n);
void node_unref(Node *n);
bool node_number_take(Node *n);
void node_publish(Node *n);  /* opens find it from now on */
void node_withdraw(Node *n); /* no longer; its device number is free */
Node *node_by_ino(World *w, uint64_t ino);
Node *node_by_number(World *w, unsigned bus, unsigned number);
static inline unsigned node_minor(const Node *n) {
        return (n->bus->number - 1) * 128 + n->number - 1;
}

static inline unsigned node_max_packet(const Node *n) {
        return n->speed == SPEED_SUPER ? 1024 : n->speed == SPEED_FULL ? 64 : n->usb.max_packet;
}

/* descriptors.c */
void descriptors_build(Node *n);
/* Reply to a standard or class request on endpoint 0: bytes, or -errno. The node's lock is held. */
int control_request(Node *n, const uint8_t setup[8], uint8_t *data, size_t size);
/* What hangs does not answer on endpoint 0 either. */
bool control_is_deaf(const Node *n, const uint8_t setup[8]);

/* sysfs.c */
void sysfs_add_controller(const Controller *c);
void sysfs_add_hub(Node *n);
void sysfs_peer_hubs(const Node *usb2, const Node *usb3);
void sysfs_power(const Node *n); /* what the unit's power option says */
void sysfs_add_device(Node *n);
void sysfs_remove_device(Node *n);
/* Driver link of an interface; NULL removes it. Also tells udev. */
void sysfs_bind(Node *n, const Interface *i, const char *driver);

/* uevent.c */
void uevent_open(void);
void uevent_device(const Node *n, const char *action);
void uevent_interface(const Node *n, const Interface *i, const char *action, const char *driver);
size_t udev_properties(const Node *n, const Interface *i, char *buf, size_t size);

/* usbfs.c: the node's lock is held unless said otherwise */
File *file_open(Node *n, bool writable); /* takes the lock itself; NULL: gone */
void file_close(File *f);                /* takes the lock itself */
int file_claim(File *f, unsigned interface);
int file_check_claim(File *f, unsigned interface);
int file_release_claim(File *f, unsigned interface);
int endpoint_interface(const Node *n, uint8_t ep, const Interface **ret);
Interface *node_interface(Node *n, unsigned number);
const char *interface_driver(const Interface *i);
void node_drop_claims(Node *n);
int interface_detach(Node *n, Interface *i);
int urb_submit(File *f, Urb *u); /* keeps the URB on success */
int urb_discard(File *f, uint64_t user_urb);
Urb *urb_take_done(File *f);
void urb_finish(Node *n, Urb *u, int status);
void urb_free(World *w, Urb *u);
Urb *urb_new(World *w, uint8_t ep, uint32_t len, unsigned max_packet, int *ret_error);
void node_cancel_all(Node *n, File *f, int interface, int status);
void node_cut(Node *n); /* the device is off the bus */
bool memory_take(World *w, uint64_t n);
void memory_give(World *w, uint64_t n);

/* ioctl.c: the first two are called with the lock held */
void file_wake(File *f);
void sync_reply(Urb *u);
void ioctl_serve(void *fuse_req, File *f, unsigned cmd, uint64_t arg);

/* fusefs.c */
void fusefs_start(World *w, int fuse_fd);
void poll_wake(void *poll_handle);

/* unit.c */
Unit *unit_new(World *w, unsigned index, const char *spec, char *err, size_t err_size);
void unit_run(Unit *u); /* lock held: lets the model work, moves transfers, arms the clock */
/* These take world.lock themselves. */
bool unit_plug(Unit *u, const char *port, char *err, size_t err_size);
bool unit_unplug(Unit *u, char *err, size_t err_size);
bool unit_swap(Unit *u, const char *spec, char *err, size_t err_size);
int unit_reset(Unit *u, Node *n);         /* unit lock held */
uint64_t unit_act(Unit *u, uint64_t now); /* world.lock held: carries out wishes, says when to come again */

/* clock.c */
void clock_start(World *w);
void clock_arm(Unit *u, uint64_t at);
void clock_act(void); /* a wish is waiting */
uint64_t rate_due(World *w, Controller *c, uint64_t bytes, uint64_t now);

/* tty.c */
void tty_start(Unit *u); /* world.lock held */
void tty_stop(Unit *u);
void tty_wake(Unit *u);
const char *tty_path(const Unit *u);

/* control.c */
void control_start(World *w);
int control_client(const char *request);
/* One request, one reply (to be freed). */
char *control_handle(World *w, const char *line);
void script_start(World *w, const char *path);
