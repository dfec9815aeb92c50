/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "bus/bus-internal.h"

#define OPTIONS_MAX 32 /* bits of `seen` */

static int malformed(CallError *e) {
        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The options of the call cannot be read.");
}

static int unknown_option(const OptionSpec *specs, size_t n, const char *key, CallError *e) {
        char known[400] = "";
        size_t used = 0;

        for (size_t i = 0; i < n && used < sizeof(known); i++)
                used += (size_t) snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", specs[i].key);
        if (n == 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Unknown option '%.64s': this call takes no options.", key);
        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Unknown option '%.64s'. Known here: %s.", key, known);
}

static int read_value(sd_bus_message *m, const OptionSpec *spec, void *target, CallError *e) {
        const char type[] = {spec->type, '\0'};
        const char *contents = NULL, *string;
        union {
                uint64_t t;
                uint32_t u;
                int b;
        } number = {0};
        char kind;
        int r;

        if (sd_bus_message_peek_type(m, &kind, &contents) <= 0 || kind != 'v')
                return malformed(e);
        if (!contents || !streq(contents, type))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option '%s' has the D-Bus type '%.32s' but needs '%s'.", spec->key,
                                      contents ? contents : "", type);
        if (sd_bus_message_enter_container(m, 'v', type) < 0)
                return malformed(e);
        if (spec->type == 's' || spec->type == 'o') {
                if (sd_bus_message_read_basic(m, spec->type, &string) < 0)
                        return malformed(e);
                r = spec->parse(string, target, e);
        } else {
                if (sd_bus_message_read_basic(m, spec->type, &number) < 0)
                        return malformed(e);
                r = spec->parse(&number, target, e);
        }
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m) < 0 ? malformed(e) : 0;
}

static int read_option(sd_bus_message *m, const OptionSpec *specs, size_t n, uint32_t *seen, void *target,
                       CallError *e) {
        const char *key;

        if (sd_bus_message_read_basic(m, 's', &key) < 0)
                return malformed(e);
        for (size_t i = 0; i < n; i++) {
                if (!streq(specs[i].key, key))
                        continue;
                if (*seen & UINT32_C(1) << i)
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option '%s' is given twice.", key);
                *seen |= UINT32_C(1) << i;
                return read_value(m, specs + i, target, e);
        }
        return unknown_option(specs, n, key, e);
}

int options_read(sd_bus_message *m, const OptionSpec *specs, size_t n_specs, void *target, CallError *e) {
        uint32_t seen = 0;
        int r;

        if (sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
                return malformed(e);
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                if (read_option(m, specs, MIN(n_specs, (size_t) OPTIONS_MAX), &seen, target, e) < 0)
                        return -1;
                if (sd_bus_message_exit_container(m) < 0)
                        return malformed(e);
        }
        return r < 0 || sd_bus_message_exit_container(m) < 0 ? malformed(e) : 0;
}

int options_none(sd_bus_message *m, CallError *e) {
        return options_read(m, NULL, 0, NULL, e);
}

static int parse_mode(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;
        FlashMode mode = flash_mode_from_string(value);

        if ((int) mode < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'mode' cannot be '%.64s'. Possible: upgrade, factory, research.",
                                      (const char *) value);
        o->plan.mode = mode;
        return 0;
}

static int parse_allow_warnings(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.allow_warnings = *(const int *) value;
        return 0;
}

static int parse_repartition(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.repartition = *(const int *) value;
        return 0;
}

static int parse_repair(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.repair = *(const int *) value;
        return 0;
}

static int parse_soft_entry(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.soft_entry = *(const int *) value;
        return 0;
}

static int parse_table_only(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.table_only = *(const int *) value;
        return 0;
}

static int parse_any_image(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.any_image = *(const int *) value;
        return 0;
}

static int parse_skip_equal(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->plan.skip_equal = *(const int *) value;
        return 0;
}

static int parse_sparse(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (streq(value, "auto"))
                o->plan.sparse = SPARSE_AUTO;
        else if (streq(value, "expand"))
                o->plan.sparse = SPARSE_EXPAND;
        else if (streq(value, "asis"))
                o->plan.sparse = SPARSE_AS_IS;
        else
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'sparse' cannot be '%.64s'. Possible: auto, expand, asis.",
                                      (const char *) value);
        return 0;
}

static int parse_finish(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (streq(value, "reset"))
                o->plan.finish = FINISH_RESET;
        else if (streq(value, "power-off"))
                o->plan.finish = FINISH_POWER_OFF;
        else if (streq(value, "nothing"))
                o->plan.finish = FINISH_NOTHING;
        else
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'finish' cannot be '%.64s'. Possible: reset, power-off, nothing.",
                                      (const char *) value);
        return 0;
}

static int parse_verify(const void *value, void *target, CallError *e) {
        VerifyLevel level = verify_level_from_string(value);

        if ((int) level < 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'verify' cannot be '%.64s'. Possible: ack, sample, critical, full.",
                                      (const char *) value);
        ((FlashOptions *) target)->plan.verify = level;
        return 0;
}

static int choose(void *target, const char *name, const char *value, CallError *e) {
        char why[256];

        if (choice_set(&((FlashOptions *) target)->plan.choice, name, value, why, sizeof(why)) == 0)
                return 0;
        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option %s", why);
}
#define CHOICE(function, name)                                                                                        \
        static int parse_##function(const void *value, void *target, CallError *e) {                                   \
                return choose(target, name, value, e);                                                                 \
        }
CHOICE(include, "include")
CHOICE(exclude, "exclude")
CHOICE(check, "checks")
CHOICE(try_check, "try-checks")
CHOICE(keep_charge, "keep-charge")
CHOICE(nv, "nv")
CHOICE(stamps, "stamps")
CHOICE(table_check, "table-check")
#undef CHOICE

static int parse_erase_all(const void *value, void *target, CallError *e) {
        return choose(target, "erase-all", *(const int *) value ? "yes" : "no", e);
}

static int parse_raw(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (streq(value, "on"))
                o->plan.raw = RAW_DATA_ON;
        else if (streq(value, "off"))
                o->plan.raw = RAW_DATA_OFF;
        else
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'raw' cannot be '%.64s'. Possible: on, off.",
                                      (const char *) value);
        return 0;
}

static int parse_package(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (strlen(value) >= sizeof(o->package))
                return call_error_set(e, BUS_ERROR_NO_SUCH_PACKAGE,
                                      "Option 'package' is not the path of a package in the store.");
        memcpy(o->package, value, strlen(value) + 1);
        return 0;
}

static int parse_operator(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (text_check("operator", value, sizeof(o->operator_name) - 1, true, e) < 0)
                return -1;
        memcpy(o->operator_name, value, strlen(value) + 1);
        return 0;
}

static int parse_serial(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->serial.serial = value;
        return 0;
}

static int parse_serials(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->serial.serials = value;
        return 0;
}

static int parse_first_mode(const void *value, void *target, CallError *e) {
        unsigned mode;

        if (!plan_first_mode_from_string(value, &mode))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Option 'first-mode' cannot be '%.64s'. Possible: normal, gsm-cal, gsm-final, …, bbat, native-mmi, apk-mmi, upt, or "
                                      "their numbers.",
                                      (const char *) value);
        ((FlashOptions *) target)->plan.first_mode = mode + 1;
        return 0;
}

static int parse_family(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (strlen(value) >= sizeof(o->family) || plan_family_loaders(value) == 0)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'family' cannot be '%.32s'. Possible: phone, feature, uis8910, uis8850.",
                                      (const char *) value);
        memcpy(o->family, value, strlen(value) + 1);
        return 0;
}

static int parse_unit(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (text_check("unit", value, sizeof(o->unit) - 1, false, e) < 0)
                return -1;
        memcpy(o->unit, value, strlen(value) + 1);
        return 0;
}

static int parse_fdl1(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->fdl1_address = *(const uint64_t *) value;
        return 0;
}

static int parse_fdl2(const void *value, void *target, CallError *e _unused_) {
        ((FlashOptions *) target)->fdl2_address = *(const uint64_t *) value;
        return 0;
}

/* The last rows, which only CreateJob knows. */
#define OF_CREATE_JOB 6U

static int parse_loaders(const void *value, void *target, CallError *e) {
        FlashOptions *o = target;

        if (text_check("name of loaders", value, sizeof(o->loaders) - 1, false, e) < 0)
                return -1;
        memcpy(o->loaders, value, strlen(value) + 1);
        return 0;
}

int options_read_flash(sd_bus_message *m, bool with_package, FlashOptions *ret, CallError *e) {
        static const OptionSpec specs[] = {
                {"mode", 's', parse_mode},
                {"allow-warnings", 'b', parse_allow_warnings},
                {"finish", 's', parse_finish},
                {"verify", 's', parse_verify},
                {"raw", 's', parse_raw},
                {"any-image", 'b', parse_any_image},
                {"sparse", 's', parse_sparse},
                {"skip-equal", 'b', parse_skip_equal},
                {"operator", 's', parse_operator},
                {"include", 's', parse_include},
                {"exclude", 's', parse_exclude},
                {"checks", 's', parse_check},
                {"try-checks", 's', parse_try_check},
                {"keep-charge", 's', parse_keep_charge},
                {"nv", 's', parse_nv},
                {"stamps", 's', parse_stamps},
                {"table-check", 's', parse_table_check},
                {"erase-all", 'b', parse_erase_all},
                {"repartition", 'b', parse_repartition},
                {"table-only", 'b', parse_table_only},
                {"repair", 'b', parse_repair},
                {"soft-entry", 'b', parse_soft_entry},
                {"serial", 's', parse_serial},
                {"serials", 's', parse_serials},
                {"first-mode", 's', parse_first_mode},
                {"package", 'o', parse_package},
                {"family", 's', parse_family},
                {"loaders", 's', parse_loaders},
                {"unit", 's', parse_unit},
                {"fdl1-address", 't', parse_fdl1},
                {"fdl2-address", 't', parse_fdl2},
        };
        FlashOptions o = {.plan = {.mode = FLASH_MODE_UPGRADE, .finish = FINISH_RESET, .verify = VERIFY_LEVEL_INVALID},
                          .fdl1_address = U64_UNKNOWN, .fdl2_address = U64_UNKNOWN};

        if (options_read(m, specs, ELEMENTSOF(specs) - (with_package ? 0 : OF_CREATE_JOB), &o, e) < 0)
                return -1;
        if (o.plan.table_only && !o.plan.repartition)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'table-only' needs 'repartition'.");
        if (o.plan.soft_entry && (o.plan.repair || o.plan.table_only))
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'soft-entry' is for jobs that write a whole package.");
        if (o.plan.repair && o.plan.repartition)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Option 'repair' changes no partition table: it does not go with 'repartition'.");
        *ret = o;
        return 0;
}

/* Characters that could make a terminal or a list show something else than what is there. The text is valid UTF-8. */
static bool is_control(const unsigned char *p) {
        if (p[0] < 0x20 || p[0] == 0x7f)
                return true;
        if (p[0] == 0xc2 && p[1] < 0xa0) /* U+0080..9F */
                return true;
        if (p[0] == 0xd8 && p[1] == 0x9c) /* U+061C */
                return true;
        if (p[0] != 0xe2)
                return false;
        return (p[1] == 0x80 &&
                ((p[2] >= 0x8e && p[2] <= 0x8f) || (p[2] >= 0xa8 && p[2] <= 0xae))) || /* 200E-F, 2028-2E */
               (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);                         /* 2066-2069 */
}

int text_check(const char *what, const char *text, size_t max, bool empty_ok, CallError *e) {
        if (!text[0] && !empty_ok)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The %s must not be empty.", what);
        if (strlen(text) > max)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "The %s is longer than %zu bytes.", what, max);
        for (const unsigned char *p = (const unsigned char *) text; *p; p++)
                if (is_control(p))
                        return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                              "The %s holds control characters (at byte %zu). Use plain text.", what,
                                              (size_t) (p - (const unsigned char *) text));
        return 0;
}
