/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "world.h"

#include <ctype.h>
#include <getopt.h>

/* The command line, and the part of a device specification that is the world's own business. */

static const char help_text[] =
        "usbsim [OPTIONS] [--device FAMILY[,option=value]...]... -- COMMAND [ARG...]\n"
        "Runs COMMAND, unchanged, in a world with simulated USB devices.\n\n"
        "  -d, --device SPEC      a device; may be given up to 120 times\n"
        "      --replay=TRACE     a device that behaves as the one in a trace did (fdlctl trace JOB >TRACE)\n"
        "      --controllers=N    USB controllers (default: one for each 16 devices)\n"
        "      --platform         controllers are platform devices, not PCI\n"
        "      --kernel           no world of its own: the devices appear in this kernel, by vhci_hcd (modprobe vhci-hcd; root); for a virtual machine\n"
        "      --hub PORT[,full]  a hub at PORT, for example 1-2 (hubs above a port= are made by themselves); full: at 12 Mbit/s only,\n"
        "                         and so is what hangs on it\n"
        "      --bus-rate=RATE    bytes a second shared by the devices of a controller, for example 40M; 0: no limit\n"
        "      --fast             no delays anywhere, no bus rate\n"
        "      --storage=DIR      where flash contents are kept: DIR/<index or name>\n"
        "      --control=SOCKET   path of the control socket (COMMAND finds it in $USBSIM_CONTROL)\n"
        "      --script=FILE      control requests to carry out\n"
        "      --memory-limit=N   limit of usbfs for transfers (default 16Mi; 0: none)\n"
        "      --nice=N           the simulator steps back behind COMMAND, as real devices take no processor time from their host\n"
        "      --stats            tell at the end what the simulator itself has used\n"
        "      --list             families and their options\n"
        "      --ctl REQUEST      send one request to $USBSIM_CONTROL and print the reply\n"
        "  -h, --help  --version\n\n"
        "Options of every device: port=1-1.3 (bus-port.port), speed=full|high|super, perm=ok|read-only|denied,\n"
        "held=DRIVER (a kernel driver), held-by=program|stubborn (a driver that comes back at once), authorized=no (as usbguard does it),\n"
        "power=on|auto|asleep (autosuspend; asleep: cannot be woken), plug=no, twin=yes (the hubs above have a USB3 half),\n"
        "tty[=only] (a pty as /dev/ttyUSBn), boot-id=VVVV:PPPP (what appears after a successful boot),\n"
        "reset=rom|keep|gone (what a USB reset does), line-state=stall, name=NAME, seed=N.\n\n"
        "Control: one JSON object for each line, the reply is one line with \"ok\". \"device\" is an index or a name.\n"
        "  {\"cmd\":\"list\"}  {\"cmd\":\"describe\",\"device\":\"0\"}\n"
        "  {\"cmd\":\"plug\",\"device\":\"0\",\"port\":\"1-2\"}  {\"cmd\":\"unplug\",\"device\":\"0\"}\n"
        "  {\"cmd\":\"replug\",\"device\":\"0\",\"delay\":200,\"port\":\"1-2\"}  "
        "{\"cmd\":\"swap\",\"device\":\"0\",\"spec\":\"FAMILY\"}\n"
        "  {\"cmd\":\"fault\",\"device\":\"0\",\"fault\":\"LINE\"} (see --list)  "
        "{\"cmd\":\"stall\",\"device\":\"0\",\"endpoint\":\"in\"}\n"
        "     (\"kind\":\"error\": only the next transfer fails, with EPROTO)\n"
        "  {\"cmd\":\"set\",\"device\":\"0\",\"perm\":\"denied\",\"held\":\"usbserial\"}  "
        "{\"cmd\":\"set\",\"bus-rate\":\"20M\"}\n"
        "  {\"cmd\":\"wait\",\"device\":\"0\",\"until\":\"stage=fdl2\",\"timeout\":5000} (=, !=, <, > on what describe "
        "tells;\n"
        "  or \"stage\":\"fdl2\" for what must be equal and \"bytes\":4096 for at least that many)\n"
        "A script has such lines; \"after MS\" in front of one waits first; lines with # are comments.\n\n"
        "Exit status: that of COMMAND (128 + signal), 77 where this machine cannot make the world, 2 for wrong "
        "usage.\n";

enum {
        OPT_CONTROLLERS = 256,
        OPT_REPLAY,
        OPT_PLATFORM,
        OPT_KERNEL,
        OPT_HUB,
        OPT_RATE,
        OPT_FAST,
        OPT_STORAGE,
        OPT_CONTROL,
        OPT_SCRIPT,
        OPT_MEMORY,
        OPT_NICE,
        OPT_STATS,
        OPT_LIST,
        OPT_CTL,
        OPT_VERSION
};

static const struct option long_options[] = {
        { "device", required_argument, NULL, 'd' },
        { "replay", required_argument, NULL, OPT_REPLAY },
        { "controllers", required_argument, NULL, OPT_CONTROLLERS },
        { "platform", no_argument, NULL, OPT_PLATFORM },
        { "kernel", no_argument, NULL, OPT_KERNEL },
        { "hub", required_argument, NULL, OPT_HUB },
        { "bus-rate", required_argument, NULL, OPT_RATE },
        { "fast", no_argument, NULL, OPT_FAST },
        { "storage", required_argument, NULL, OPT_STORAGE },
        { "control", required_argument, NULL, OPT_CONTROL },
        { "script", required_argument, NULL, OPT_SCRIPT },
        { "memory-limit", required_argument, NULL, OPT_MEMORY },
        { "nice", required_argument, NULL, OPT_NICE },
        { "stats", no_argument, NULL, OPT_STATS },
        { "list", no_argument, NULL, OPT_LIST },
        { "ctl", required_argument, NULL, OPT_CTL },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPT_VERSION },
        {},
};

static void want_size(const char *name, const char *value, uint64_t *ret) {
        if (!parse_size(value, ret))
                quit(2, "--%s=%s: a number is needed, for example 40M or 16Mi.", name, value);
}

/* A device that plays a trace. */
static void add_replay(Settings *s, const char *path) {
        size_t size = strlen(path) + 32;
        char *spec = malloc(size);

        if (s->n_devices == UNITS_MAX)
                quit(2, "More than %d devices.", UNITS_MAX);
        if (!spec || strpbrk(path, ","))
                quit(2, "--replay=%s: a file without commas in its name is needed.", path);
        snprintf(spec, size, "replay,trace=%s", path);
        s->devices[s->n_devices++] = spec;
}

static void set_value(Settings *s, int c, char *value) {
        uint64_t v;

        switch (c) {
        case 'd':
                if (s->n_devices == UNITS_MAX)
                        quit(2, "More than %d devices.", UNITS_MAX);
                s->devices[s->n_devices++] = value;
                break;
        case OPT_REPLAY:
                add_replay(s, value);
                break;
        case OPT_CONTROLLERS:
                if (!parse_u64(value, BUSES_MAX / 2, &v) || v == 0)
                        quit(2, "--controllers=%s: a number from 1 to %d is needed.", value, BUSES_MAX / 2);
                s->controllers = (unsigned) v;
                break;
        case OPT_HUB:
                if (s->n_hubs == COUNT(s->hubs))
                        quit(2, "More than %zu hubs.", COUNT(s->hubs));
                s->hubs[s->n_hubs++] = value;
                break;
        case OPT_RATE:
                want_size("bus-rate", value, &s->bus_rate);
                s->bus_rate_set = true;
                break;
        case OPT_STORAGE:
                s->storage = value;
                break;
        case OPT_CONTROL:
                s->control = value;
                break;
        case OPT_SCRIPT:
                s->script = value;
                break;
        case OPT_MEMORY:
                want_size("memory-limit", value, &s->memory_limit);
                break;
        case OPT_NICE:
                if (!parse_u64(value, 19, &v))
                        quit(2, "--nice=%s: a number from 0 to 19 is needed.", value);
                s->nice = (int) v;
                break;
        }
}

void settings_parse(Settings *s, int argc, char **argv) {
        int c;

        *s = (Settings){ .bus_rate = 40000000, .memory_limit = 16 << 20 };
        while ((c = getopt_long(argc, argv, "+d:h", long_options, NULL)) != -1)
                switch (c) {
                case OPT_PLATFORM:
                        s->platform = true;
                        break;
                case OPT_KERNEL:
                        s->kernel = true;
                        break;
                case OPT_FAST:
                        s->fast = true;
                        break;
                case OPT_STATS:
                        s->stats = true;
                        break;
                case OPT_LIST:
                        fputs(sim_help(), stdout);
                        exit(0);
                case OPT_CTL:
                        exit(control_client(optarg));
                case 'h':
                        fputs(help_text, stdout);
                        exit(0);
                case OPT_VERSION:
                        puts("usbsim " PACKAGE_VERSION);
                        exit(0);
                case '?':
                        quit(2, "See usbsim --help.");
                default:
                        set_value(s, c, optarg);
                }
        if (optind == argc)
                quit(2, "A command to run is needed; see usbsim --help.");
        if (s->fast && !s->bus_rate_set)
                s->bus_rate = 0;
        s->command = argv + optind;
}

/* ---- device specifications ---- */

bool permission_parse(const char *s, Permission *ret) {
        static const char *const words[] = {
                [PERM_OK] = "ok", [PERM_READ_ONLY] = "read-only", [PERM_DENIED] = "denied"
        };

        for (size_t i = 0; i < COUNT(words); i++)
                if (strcmp(s, words[i]) == 0) {
                        *ret = (Permission) i;
                        return true;
                }
        return false;
}

bool power_parse(const char *s, PowerState *ret) {
        static const char *const words[] = { [POWER_ON] = "on", [POWER_AUTO] = "auto", [POWER_ASLEEP] = "asleep" };

        for (size_t i = 0; i < COUNT(words); i++)
                if (strcmp(s, words[i]) == 0) {
                        *ret = (PowerState) i;
                        return true;
                }
        return false;
}

static bool yes_or_no(const char *v, bool *ret) {
        *ret = !v || strcmp(v, "yes") == 0 || strcmp(v, "1") == 0;
        return *ret || strcmp(v, "no") == 0 || strcmp(v, "0") == 0;
}

static bool copy_word(const char *v, char *ret, size_t size) {
        size_t n = v ? strlen(v) : 0;

        if (n == 0 || n >= size)
                return false;
        for (const char *p = v; *p; p++)
                if (!isalnum((unsigned char) *p) && !strchr("._-", *p))
                        return false;
        memcpy(ret, v, n + 1);
        return true;
}

static bool set_speed(UnitOptions *o, const char *v) {
        if (v && strcmp(v, "full") == 0)
                o->speed = SPEED_FULL;
        else if (v && strcmp(v, "high") == 0)
                o->speed = SPEED_HIGH;
        else if (v && strcmp(v, "super") == 0)
                o->speed = SPEED_SUPER;
        else
                return false;
        return true;
}

static bool set_reset(UnitOptions *o, const char *v) {
        static const char *const words[] = { [RESET_ROM] = "rom", [RESET_KEEP] = "keep", [RESET_GONE] = "gone" };

        for (size_t i = 0; v && i < COUNT(words); i++)
                if (strcmp(v, words[i]) == 0) {
                        o->reset = (ResetBehaviour) i;
                        return true;
                }
        return false;
}

static bool set_boot_id(UnitOptions *o, const char *v) {
        unsigned vendor, product;
        char end;

        if (!v || sscanf(v, "%4x:%4x%c", &vendor, &product, &end) != 2)
                return false;
        o->boots = true;
        o->boot_vendor = (uint16_t) vendor;
        o->boot_product = (uint16_t) product;
        return true;
}

static bool set_name(UnitOptions *o, const char *v) {
        char word[64];

        if (!copy_word(v, word, sizeof word) || isdigit((unsigned char) word[0]) || word[0] == '.')
                return false;
        free(o->name);
        o->name = copy_string(word);
        return true;
}

/* 1: it was the world's, 0: it is for the model, -1: the value is wrong. */
static int take_option(UnitOptions *o, const char *key, const char *v) {
        bool b = false;
        uint64_t n = 0;
        bool ok;

        if (strcmp(key, "port") == 0)
                ok = copy_word(v, o->port, sizeof o->port);
        else if (strcmp(key, "speed") == 0)
                ok = set_speed(o, v);
        else if (strcmp(key, "perm") == 0)
                ok = v && permission_parse(v, &o->permission);
        else if (strcmp(key, "held") == 0)
                ok = copy_word(v, o->held, sizeof o->held);
        else if (strcmp(key, "held-by") == 0)
                ok = (o->held_by_program = v && strcmp(v, "program") == 0) || (o->driver_stubborn = v && strcmp(v, "stubborn") == 0);
        else if (strcmp(key, "authorized") == 0) {
                ok = yes_or_no(v, &b);
                o->unauthorised = !b;
        } else if (strcmp(key, "power") == 0)
                ok = v && power_parse(v, &o->power);
        else if (strcmp(key, "plug") == 0) {
                ok = yes_or_no(v, &b);
                o->absent = !b;
        } else if (strcmp(key, "twin") == 0)
                ok = yes_or_no(v, &o->twin);
        else if (strcmp(key, "tty") == 0) {
                bool only = v && strcmp(v, "only") == 0;

                ok = only || yes_or_no(v, &b);
                o->tty = only ? TTY_ONLY : b ? TTY_ALSO : TTY_NO;
        } else if (strcmp(key, "boot-id") == 0)
                ok = set_boot_id(o, v);
        else if (strcmp(key, "reset") == 0)
                ok = set_reset(o, v);
        else if (strcmp(key, "line-state") == 0 && v && strcmp(v, "stall") == 0)
                ok = o->stall_line_state = true; /* the other values are the model's */
        else if (strcmp(key, "name") == 0)
                ok = set_name(o, v);
        else if (strcmp(key, "seed") == 0) {
                ok = v && parse_u64(v, UINT32_MAX, &n);
                o->seed = (unsigned) n;
        } else
                return 0;
        return ok ? 1 : -1;
}

bool unit_options_parse(UnitOptions *o, const char *spec, bool fast, char *err, size_t err_size) {
        char *copy = copy_string(spec), *rest = copy, *word;
        size_t size = strlen(spec) + sizeof ",fast=1";
        char *model = alloc0(size);
        bool first = true, ok = true;

        while (ok && (word = strsep(&rest, ","))) {
                char whole[1024], *v;

                snprintf(whole, sizeof whole, "%s", word);
                v = strchr(word, '=');
                if (v)
                        *v++ = 0;
                int r = first ? 0 : take_option(o, word, v);
                if (r < 0) {
                        snprintf(err, err_size, "Device \"%s\": the value of %s is not possible; see usbsim --help.",
                                 spec, word);
                        ok = false;
                } else if (r == 0) {
                        size_t used = strlen(model);

                        snprintf(model + used, size - used, "%s%s", first ? "" : ",", whole);
                }
                first = false;
        }
        if (fast)
                strcat(model, ",fast=1");
        o->model_spec = model;
        free(copy);
        return ok;
}

void unit_options_free(UnitOptions *o) {
        free(o->model_spec);
        free(o->name);
        o->model_spec = o->name = NULL;
}
