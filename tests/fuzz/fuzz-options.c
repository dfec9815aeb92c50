/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dictionaries of options as clients send them: keys that there are and that there are not, values of any type, containers within. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/bus-internal.h"
#include "fuzz.h"

static sd_bus *bus;

/* A bus that nobody answers on: messages are only made and read. */
static void prepare(void) {
        int pair[2];

        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        MUST(sd_bus_new(&bus) >= 0 && sd_bus_set_fd(bus, pair[0], pair[0]) >= 0 && sd_bus_start(bus) >= 0);
}

static void text(Script *s, char *ret, size_t size) {
        size_t n = script_byte(s) % size;
        const uint8_t *at = script_take(s, &n);

        memcpy(ret, at, n);
        ret[n] = '\0';
}

static int append_key(sd_bus_message *m, Script *s) {
        static const char *const keys[] = {"mode", "allow-warnings", "finish", "verify", "raw", "operator", "repartition", "table-only",
                                           "package", "family", "loaders", "unit", "fdl1-address", "fdl2-address"};
        uint8_t which = script_byte(s);
        char own[40];

        if (which < 224)
                return sd_bus_message_append_basic(m, 's', keys[which % ELEMENTSOF(keys)]);
        text(s, own, sizeof(own));
        return sd_bus_message_append_basic(m, 's', own);
}

static int append_word(sd_bus_message *m, Script *s) {
        static const char *const words[] = {"upgrade", "factory", "research", "reset", "power-off", "nothing", "ack", "sample", "critical",
                                            "full", "on", "off", "phone", "uis8910", "uis8850", "feature"};
        char own[100];

        if (script_byte(s) & 1)
                return sd_bus_message_append(m, "v", "s", words[script_byte(s) % ELEMENTSOF(words)]);
        text(s, own, sizeof(own));
        return sd_bus_message_append(m, "v", "s", own);
}

static int append_value(sd_bus_message *m, Script *s) {
        switch (script_byte(s) % 8) {
        case 0: return sd_bus_message_append(m, "v", "b", script_byte(s) & 1);
        case 1: return sd_bus_message_append(m, "v", "t", (uint64_t) script_byte(s) << 56 | script_byte(s));
        case 2: return sd_bus_message_append(m, "v", "o", "/org/fdld/Fdld1/packages/aa");
        case 3: return sd_bus_message_append(m, "v", "as", 2, "a", "b");
        case 4: return sd_bus_message_append(m, "v", "a{sv}", 1, "mode", "s", "factory");
        case 5: return sd_bus_message_append(m, "v", "i", (int) script_byte(s));
        default: return append_word(m, s);
        }
}

static sd_bus_message *message(Script *s) {
        sd_bus_message *m = NULL;
        unsigned n = script_byte(s) % 20;

        MUST(sd_bus_message_new_method_call(bus, &m, NULL, "/x", "x.y", "Z") >= 0);
        MUST(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
        for (unsigned i = 0; i < n; i++) {
                MUST(sd_bus_message_open_container(m, 'e', "sv") >= 0);
                /* sd-bus itself refuses text that is no UTF-8; the message is then as useless as it would be to a client */
                if (append_key(m, s) < 0 || append_value(m, s) < 0)
                        return sd_bus_message_unref(m);
                MUST(sd_bus_message_close_container(m) >= 0);
        }
        MUST(sd_bus_message_close_container(m) >= 0);
        MUST(sd_bus_message_seal(m, 1, 0) >= 0 && sd_bus_message_rewind(m, true) >= 0);
        return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Script s = {data, size};
        bool with_package = script_byte(&s) & 1;
        FlashOptions o, untouched;
        CallError e = {};
        sd_bus_message *m;

        if (!bus)
                prepare();
        m = message(&s);
        if (!m)
                return 0;
        memset(&o, 0x5a, sizeof(o));
        untouched = o;
        if (options_read_flash(m, with_package, &o, &e) < 0) {
                MUST(e.text[0] && memcmp(&o, &untouched, sizeof(o)) == 0);
        } else {
                MUST(memchr(o.operator_name, 0, sizeof(o.operator_name)) && memchr(o.package, 0, sizeof(o.package)));
                MUST(flash_mode_to_string(o.plan.mode));
        }
        sd_bus_message_unref(m);
        return 0;
}
