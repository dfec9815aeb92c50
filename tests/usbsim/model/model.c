/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim.h"
#include "wire.h"

#define DMA_MAX 65536

bool sim_word(const SimModel *m, SimOption opt, const char *word) {
        return strcmp(m->option[opt], word) == 0;
}

bool sim_flag(const SimModel *m, SimOption opt) {
        return m->number[opt] != 0;
}

uint64_t sim_delay(const SimModel *m, SimOption opt) {
        static const struct {
                SimOption opt;
                unsigned phone, module;
        } autos[] = {
                {OPT_FDL1_START, 300, 20},
                {OPT_FDL2_START, 1500, 100},
                {OPT_RESET_DELAY, 50, 2},
        };
        uint64_t ms = m->number[opt];

        /* A reset takes its time even then: its ACK is on the wire. */
        if (m->number[OPT_FAST] && opt != OPT_RESET_DELAY)
                return 0;
        for (size_t i = 0; i < COUNT(autos); i++)
                if (autos[i].opt == opt && ms == UINT64_MAX)
                        ms = m->family->module ? autos[i].module : autos[i].phone;
        return (ms > 1000000 ? 1000000 : ms) * SIM_MS;
}

void sim_work(SimModel *m, uint64_t ns) {
        if (m->busy_until < m->now)
                m->busy_until = m->now;
        m->busy_until += ns;
}

void sim_work_bytes(SimModel *m, uint64_t bytes, SimOption opt) {
        static const struct {
                SimOption opt;
                uint64_t phone, module;
        } autos[] = {
                {OPT_FLASH_RATE, 60000000, 1500000},
                {OPT_ERASE_RATE, 2000000000, 4000000},
                {OPT_VERIFY_RATE, 200000000, 20000000},
        };
        uint64_t rate = m->number[opt];

        for (size_t i = 0; i < COUNT(autos); i++)
                if (autos[i].opt == opt && rate == UINT64_MAX)
                        rate = m->family->module ? autos[i].module : autos[i].phone;
        if (rate && !m->number[OPT_FAST])
                sim_work(m, (uint64_t) ((double) bytes * 1e9 / (double) rate));
}

void sim_hang(SimModel *m, const char *why) {
        m->hung = true;
        m->hung_why = why;
}

void sim_after(SimModel *m, uint64_t ns, SimAction action) {
        for (size_t i = 0; i < SIM_MAX_TIMERS; i++)
                if (!m->timers[i].action) {
                        m->timers[i] = (SimTimer){m->now + ns, action};
                        return;
                }
}

void sim_wish(SimModel *m, SimWish wish, uint64_t delay_ns) {
        m->wish = wish;
        m->wish_delay = delay_ns;
        m->on_bus = false;
}

bool sim_takes_write_fault(SimModel *m) {
        bool r = m->write_error;

        m->write_error = false;
        return r;
}

bool sim_takes_readback_fault(SimModel *m) {
        bool r = m->bad_readback;

        m->bad_readback = false;
        return r;
}

static void forget_session(SimModel *m) {
        sim_wire_reset(m);
        m->busy_until = m->now;
        m->stalled_until = 0;
        memset(m->timers, 0, sizeof(m->timers));
        memset(&m->active, 0, sizeof(m->active));
        memset(m->seen, 0, sizeof(m->seen));
        m->hung = m->starting = m->write_error = m->bad_readback = false;
        m->hung_why = NULL;
        m->wish = SIM_STAY;
        m->unknown = m->replies = 0;
        m->transfer_offset = 0;
        m->drop_sync = 0;
        m->system = false;
        m->family->power(m);
}

static void leave_if_unanswered(SimModel *m) {
        if (m->stage == STAGE_BROM && m->versions_sent == 0)
                sim_wish(m, SIM_LEAVE, 0);
}

/* Listens without SET_CONTROL_LINE_STATE. */
static bool starts_open(const SimModel *m) {
        return sim_word(m, OPT_LINE_STATE, "auto") ? m->family->module : sim_word(m, OPT_LINE_STATE, "none");
}

/* Attached in ROM: by cable, or after a reset that found nothing to boot. */
static void start_rom(SimModel *m, bool by_cable) {
        forget_session(m);
        m->on_bus = true;
        m->port_open = starts_open(m);
        m->versions_sent = 0;
        sim_enter(m, m->family->first);
        if (by_cable && (sim_system_wakes(m) || (m->family->wakes && m->family->wakes(m))))
                return;
        if (m->family->first == STAGE_BROM && m->number[OPT_BROM_WINDOW])
                sim_after(m, m->number[OPT_BROM_WINDOW] * SIM_MS, leave_if_unanswered);
}

static void come_back(SimModel *m) {
        m->on_bus = true;
        m->port_open = starts_open(m);
}

/* Off the bus and back in the stage it is in now. */
void sim_reenumerate_after(SimModel *m, uint64_t delay_ns) {
        sim_wish(m, SIM_REENUMERATE, delay_ns);
        sim_after(m, delay_ns, come_back);
}

void sim_reenumerate(SimModel *m) {
        sim_reenumerate_after(m, m->number[OPT_REENUM_DELAY] * SIM_MS);
}

void sim_reboot(SimModel *m) {
        bool boots = m->family->bootable(m);

        m->resets++;
        if (boots) {
                sim_wish(m, SIM_BOOT, 0);
                m->stage = STAGE_OFF;
                m->t = NULL;
                return;
        }
        start_rom(m, false);
        sim_reenumerate(m);
}

void sim_restart_in_rom(SimModel *m) {
        start_rom(m, false);
        sim_reenumerate(m);
}

void sim_reset_soon(SimModel *m) {
        m->starting = true; /* it listens no more */
        sim_after(m, (m->busy_until > m->now ? m->busy_until - m->now : 0) + sim_delay(m, OPT_RESET_DELAY), sim_reboot);
}

void sim_enter(SimModel *m, SimStage stage) {
        m->stage = stage;
        m->t = m->family->stage[stage];
        m->starting = false;
        m->synced = m->t->sync == 0;
        m->connected = false;
        m->plain = m->raw_mode = false;
        m->raw_left = 0;
        m->lost_buffers = 0;
        m->no_buffers = false;
        m->sync_seen = 0;
        m->parse = 0;
        m->body_fill = 0;
        m->body_long = false;
        m->transfer_offset = 0;
}

void sim_power_on(SimModel *m, uint64_t now_ns, bool high_speed) {
        if (now_ns > m->now)
                m->now = now_ns;
        m->powered = true;
        m->high_speed = high_speed;
        m->power_cycles++;
        start_rom(m, true);
}

void sim_power_off(SimModel *m) {
        forget_session(m);
        m->powered = m->on_bus = m->port_open = false;
        m->stage = STAGE_OFF;
        m->t = NULL;
        store_forget(m);
}

void sim_line_state(SimModel *m, uint16_t value) {
        if (m->on_bus && (value & 0xFF) != 0)
                m->port_open = true;
}

uint64_t sim_next_event(const SimModel *m) {
        uint64_t next = SIM_NEVER;

        for (size_t i = 0; i < SIM_MAX_TIMERS; i++)
                if (m->timers[i].action && m->timers[i].at < next)
                        next = m->timers[i].at;
        if (m->tx && m->tx->due > m->now && m->tx->due < next)
                next = m->tx->due;
        if (m->rx && !m->hung && m->busy_until > m->now && m->busy_until < next)
                next = m->busy_until;
        if (m->stalled_until > m->now && m->stalled_until < next)
                next = m->stalled_until;
        return next;
}

static void run_timers(SimModel *m) {
        for (;;) {
                SimTimer *first = NULL;
                SimAction action;

                for (size_t i = 0; i < SIM_MAX_TIMERS; i++)
                        if (m->timers[i].action && m->timers[i].at <= m->now && (!first || m->timers[i].at < first->at))
                                first = &m->timers[i];
                if (!first)
                        return;
                action = first->action;
                first->action = NULL;
                action(m);
        }
}

void sim_advance(SimModel *m, uint64_t now_ns) {
        uint64_t next;

        while ((next = sim_next_event(m)) <= now_ns && next != SIM_NEVER) {
                if (next > m->now)
                        m->now = next;
                run_timers(m);
                sim_wire_pump(m);
        }
        if (now_ns > m->now)
                m->now = now_ns;
        sim_wire_pump(m);
}

SimWish sim_take_wish(SimModel *m, uint64_t *ret_delay_ns) {
        SimWish wish = m->wish;

        /* The last reply may still be fetched before the plug is seen to be gone. */
        if (ret_delay_ns)
                *ret_delay_ns = m->wish_delay;
        m->wish = SIM_STAY;
        return wish;
}

void sim_usb(const SimModel *m, SimUsb *ret) {
        *ret = m->usb;
        if (m->family->usb_now)
                m->family->usb_now(m, ret);
        sim_system_usb(m, ret);
}

const char *sim_family(const SimModel *m) {
        return m->family->name;
}

static int fill_usb(SimModel *m, char *err, size_t err_size) {
        unsigned vendor, product;
        char end;

        m->usb = m->family->usb;
        if (*m->option[OPT_ID]) {
                if (sscanf(m->option[OPT_ID], "%4x:%4x%c", &vendor, &product, &end) != 2) {
                        snprintf(err, err_size, "option id=%s: VID:PID in hexadecimal is needed", m->option[OPT_ID]);
                        return -EINVAL;
                }
                m->usb.vendor = (uint16_t) vendor;
                m->usb.product = (uint16_t) product;
        }
        if (m->number[OPT_MPS]) {
                if (m->number[OPT_MPS] > 1024 || m->number[OPT_MPS] % 8) {
                        snprintf(err, err_size, "option mps=%s: 8 to 1024", m->option[OPT_MPS]);
                        return -EINVAL;
                }
                m->usb.max_packet = (uint16_t) m->number[OPT_MPS];
        }
        if (*m->option[OPT_SERIAL])
                m->usb.serial = m->option[OPT_SERIAL];
        return 0;
}

static int set_up(SimModel *m, const char *spec, const char *storage, char *err, size_t err_size) {
        SimRandom random;
        int r;

        r = sim_options_parse(m, spec, err, err_size);
        if (r < 0)
                return r;
        r = fill_usb(m, err, err_size);
        if (r < 0)
                return r;
        m->dma = malloc(DMA_MAX);
        m->body = malloc(SIM_MAX_BODY);
        if (!m->dma || !m->body) {
                snprintf(err, err_size, "out of memory");
                return -ENOMEM;
        }
        if (mkdir(storage, 0777) < 0 && errno != EEXIST) {
                snprintf(err, err_size, "storage %s: %s", storage, strerror(errno));
                return -errno;
        }
        m->dir_fd = open(storage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (m->dir_fd < 0) {
                snprintf(err, err_size, "storage %s: %s", storage, strerror(errno));
                return -errno;
        }
        random = sim_random(m->seed, "chip uid");
        snprintf(m->uid, sizeof(m->uid), "%016llx%016llx", (unsigned long long) sim_random_next(&random),
                 (unsigned long long) sim_random_next(&random));
        return m->family->init(m, store_is_empty(m), err, err_size);
}

SimModel *sim_new(const char *spec, const char *storage, unsigned seed, char *err, size_t err_size) {
        SimModel *m = calloc(1, sizeof(*m));

        err[0] = 0;
        if (!m) {
                snprintf(err, err_size, "out of memory");
                return NULL;
        }
        m->seed = seed;
        m->dir_fd = m->file_fd = -1;
        m->rx_tail = &m->rx;
        if (set_up(m, spec, storage, err, err_size) < 0) {
                if (!*err)
                        snprintf(err, err_size, "storage %s could not be filled", storage);
                return sim_free(m);
        }
        m->bytes_written = m->bytes_erased = 0; /* what filling the storage counted */
        return m;
}

SimModel *sim_free(SimModel *m) {
        if (!m)
                return NULL;
        sim_wire_reset(m);
        if (m->family && m->priv)
                m->family->done(m);
        store_forget(m);
        if (m->dir_fd >= 0)
                close(m->dir_fd);
        free(m->dma);
        free(m->body);
        free(m->spec);
        free(m);
        return NULL;
}

static size_t describe_commands(const SimModel *m, char *buf, size_t size, size_t at) {
        const char *comma = "";

        for (unsigned i = 0; i < 256 && at < size; i++) {
                if (!m->total[i])
                        continue;
                if (strcmp(sim_command_name(i), "unknown") == 0)
                        at += (size_t) snprintf(buf + at, size - at, "%s\"%s-%02x\":%u", comma,
                                                (i & 0xF0) == 0xE0 ? "pdl" : "unknown", i, m->total[i]);
                else
                        at += (size_t) snprintf(buf + at, size - at, "%s\"%s\":%u", comma, sim_command_name(i),
                                                m->total[i]);
                comma = ",";
        }
        return at;
}

size_t sim_describe(const SimModel *m, char *buf, size_t size) {
        bool bootable = m->family->bootable((SimModel *) m); /* reads flash through the cached descriptor */
        size_t at;

        at = (size_t) snprintf(
                buf, size,
                "{\"family\":\"%s\",\"stage\":\"%s\",\"powered\":%s,\"on_bus\":%s,\"port_open\":%s,\"high_speed\":%s,"
                "\"hung\":%s,\"hung_why\":\"%s\",\"bootable\":%s,\"version\":\"%s\",\"plain\":%s,\"uid\":\"%s\","
                "\"bytes_in\":%llu,\"bytes_out\":%llu,\"bytes_written\":%llu,\"bytes_erased\":%llu,\"bytes_read\":%llu,"
                "\"unknown\":%u,\"power_cycles\":%u,\"resets\":%u,\"faults_hit\":%u,\"last_command\":\"%s\","
                "\"last_reply\":\"%02x\",",
                m->family->name, sim_stage_names[m->stage], m->powered ? "true" : "false", m->on_bus ? "true" : "false",
                m->port_open ? "true" : "false", m->high_speed ? "true" : "false", m->hung ? "true" : "false",
                m->hung_why ? m->hung_why : "", bootable ? "true" : "false", m->t && m->t->version ? m->t->version : "",
                m->plain ? "true" : "false", m->uid, (unsigned long long) m->bytes_in,
                (unsigned long long) m->bytes_out, (unsigned long long) m->bytes_written,
                (unsigned long long) m->bytes_erased, (unsigned long long) m->bytes_read, m->unknown, m->power_cycles,
                m->resets, m->faults_hit, sim_command_name(m->last_command), m->last_reply);
        if (at < size)
                at += m->family->describe(m, buf + at, size - at);
        if (at < size)
                at += (size_t) snprintf(buf + at, size - at, "\"commands\":{");
        at = describe_commands(m, buf, size, at);
        if (at < size)
                at += (size_t) snprintf(buf + at, size - at, "}}");
        return at < size ? at : size ? size - 1 : 0;
}
