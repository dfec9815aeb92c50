/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "phone.h"

/* A running system with a port that can be asked for download mode: the diag port of a phone, the AT port of a module. It obeys, ignores the
 * wish, refuses it, or erases its first boot stage on the way, as some builds do so that the ROM finds nothing to start. */

#define LEAVES_AFTER_MS 300

static const uint8_t mode_change[] = {0x7E, 0, 0, 0, 0, 0x08, 0, 0xFE, 0x82, 0x7E};

static void system_transfer(SimModel *m, const uint8_t *p, size_t n, bool end);

static const SimTraits traits_system = {
        .name = "system", .dma = 4096, .buffers = 2, .max_body = 4096, .zlp = true, .raw = system_transfer,
};

static void leave(SimModel *m) {
        bool erases = sim_word(m, OPT_SYSTEM, "erases");

        if (erases && m->family->phone) {
                (void) store_fill(m, "boot1.bin", 0, 4u << 20, 0);
                (void) store_fill(m, "boot2.bin", 0, 4u << 20, 0);
        } else if (erases)
                (void) store_fill(m, "flash.bin", 0, 4096, 0xFF);
        sim_restart_in_rom(m);
        if (m->family->phone && !erases)
                phone_autod_begin(m);
}

static void reply(SimModel *m, const void *p, size_t n) {
        sim_send_bytes(m, p, n, m->now, true);
}

static void asked(SimModel *m, bool obeys) {
        if (obeys)
                sim_after(m, LEAVES_AFTER_MS * SIM_MS, leave);
}

static void diag(SimModel *m) {
        size_t n = sizeof(mode_change);

        if (m->body_fill < n)
                return;
        if (memcmp(m->body, mode_change, n) == 0 && !sim_word(m, OPT_SYSTEM, "deaf")) {
                reply(m, m->body, n);
                asked(m, !sim_word(m, OPT_SYSTEM, "refuses"));
        }
        m->body_fill = 0;
}

static void at_line(SimModel *m, const char *line) {
        bool known = strcasecmp(line, sim_word(m, OPT_SYSTEM, "star") ? "AT*DOWNLOAD=1" : "AT+QDOWNLOAD=1") == 0;

        if (sim_word(m, OPT_SYSTEM, "deaf"))
                return;
        if (known && !sim_word(m, OPT_SYSTEM, "refuses")) {
                reply(m, "\r\nOK\r\n", 6);
                asked(m, true);
        } else
                reply(m, "\r\nERROR\r\n", 9);
}

static void at(SimModel *m) {
        uint8_t *cr = memchr(m->body, '\r', m->body_fill);
        char line[64];

        if (!cr)
                return;
        snprintf(line, sizeof(line), "%.*s", (int) (cr - m->body), (const char *) m->body);
        m->body_fill = 0;
        at_line(m, line);
}

static void system_transfer(SimModel *m, const uint8_t *p, size_t n, bool end) {
        (void) end;
        if (n > SIM_MAX_BODY - m->body_fill)
                m->body_fill = 0;
        memcpy(m->body + m->body_fill, p, n);
        m->body_fill += n;
        if (m->family->module)
                at(m);
        else
                diag(m);
}

bool sim_system_wakes(SimModel *m) {
        if (sim_word(m, OPT_SYSTEM, "no") || !m->family->bootable(m))
                return false;
        m->system = true;
        m->t = &traits_system;
        m->synced = true;
        m->body_fill = 0;
        return true;
}

void sim_system_usb(const SimModel *m, SimUsb *usb) {
        if (!m->system)
                return;
        usb->vendor = m->family->module ? 0x2c7c : 0x1782;
        usb->product = !m->family->module ? 0x4d03 : usb->product == 0x4d16 ? 0x0904 : 0x0901;
        usb->interface_number = m->family->module ? 2 : 0;
        usb->n_interfaces = m->family->module ? 3 : 2;
        usb->manufacturer = "Unisoc";
        usb->product_name = "Running system";
}
