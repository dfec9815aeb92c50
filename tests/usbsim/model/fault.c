/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

const char *const sim_stage_names[STAGE_COUNT] = {"off", "brom", "pdl", "fdl1", "fdl2"};

static const struct {
        const char *name;
        SimFaultKind kind;
        enum { NO_VALUE, NEEDS_MS, MAY_MS, NEEDS_HEX } value;
} kinds[] = {
        {"silence", FAULT_SILENCE, NO_VALUE},
        {"stall", FAULT_STALL, MAY_MS},
        {"bad-sum", FAULT_BAD_SUM, NO_VALUE},
        {"nak", FAULT_NAK, NEEDS_HEX},
        {"garbage", FAULT_GARBAGE, NO_VALUE},
        {"truncate", FAULT_TRUNCATE, NO_VALUE},
        {"glue-log", FAULT_GLUE_LOG, NO_VALUE},
        {"unsolicited-log", FAULT_UNSOLICITED_LOG, NO_VALUE},
        {"disconnect", FAULT_DISCONNECT, MAY_MS},
        {"slow", FAULT_SLOW, NEEDS_MS},
        {"late", FAULT_LATE, NEEDS_MS},
        {"hang-after-ack", FAULT_HANG_AFTER_ACK, NO_VALUE},
        {"write-error", FAULT_WRITE_ERROR, NO_VALUE},
        {"bad-readback", FAULT_BAD_READBACK, NO_VALUE},
        {"drop-ack", FAULT_DROP_ACK, NO_VALUE},
};

static const struct {
        uint8_t type;
        const char *name;
} commands[] = {
        {CMD_CONNECT, "connect"},
        {CMD_START, "start"},
        {CMD_MIDST, "midst"},
        {CMD_END, "end"},
        {CMD_EXEC, "exec"},
        {CMD_RESET, "reset"},
        {CMD_READ_FLASH, "read"},
        {CMD_CHIP_TYPE, "chip-type"},
        {CMD_BAUD, "change-baud"},
        {CMD_ERASE, "erase"},
        {CMD_REPARTITION, "repartition"},
        {CMD_FLASH_TYPE, "flash-type"},
        {CMD_READ_INFO, "read-info"},
        {CMD_SECTOR_SIZE, "sector-size"},
        {CMD_READ_START, "read-start"},
        {CMD_READ_MIDST, "read-midst"},
        {CMD_READ_END, "read-end"},
        {CMD_KEEP_CHARGE, "keep-charge"},
        {CMD_EXTTABLE, "exttable"},
        {CMD_POWER_OFF, "power-off"},
        {CMD_CHECK_ROOT, "check-root"},
        {CMD_CHIP_UID, "chip-uid"},
        {CMD_FLASH_UID, "flash-uid"},
        {CMD_ENABLE_WRITE, "enable-write"},
        {CMD_PLAIN, "plain"},
        {CMD_DATE_TIME, "date-time"},
        {CMD_DEBUG_MODE, "debug-mode"},
        {CMD_RF_TYPE, "rf-type"},
        {CMD_DDR_CHECK, "ddr-check"},
        {CMD_ENABLE_RAW, "enable-raw"},
        {CMD_BLOCK_INFO, "block-info"},
        {CMD_FIRST_MODE, "first-mode"},
        {CMD_RANDOM_DATA, "random-data"},
        {CMD_TIME_STAMP, "time-stamp"},
        {CMD_READ_PARTITION, "read-partition"},
        {CMD_RAW_START, "raw-start"},
        {CMD_RAW_START2, "raw-start2"},
        {CMD_AUTH_BEGIN, "auth-begin"},
        {CMD_AUTH_END, "auth-end"},
        {CMD_EMMC_CID, "emmc-cid"},
        {CMD_END_PROCESS, "end-process"},
};

static const char *const other_commands[] = {
        "*", "sync", "unknown", "raw-data", "raw-piece", "pdl-connect", "pdl-start", "pdl-mid", "pdl-end", "pdl-exec", "pdl-unknown",
};

const char *sim_command_name(unsigned type) {
        for (size_t i = 0; i < COUNT(commands); i++)
                if (commands[i].type == type)
                        return commands[i].name;
        return "unknown";
}

static bool command_known(const char *name) {
        for (size_t i = 0; i < COUNT(commands); i++)
                if (strcmp(commands[i].name, name) == 0)
                        return true;
        for (size_t i = 0; i < COUNT(other_commands); i++)
                if (strcmp(other_commands[i], name) == 0)
                        return true;
        return false;
}

static const char *parse_point(SimFault *f, char *text) {
        char *command = strchr(text, ':'), *where, *end;

        if (!command)
                return "at= needs STAGE:COMMAND";
        *command++ = 0;
        where = strchr(command, ':');
        if (where)
                *where++ = 0;
        f->stage = strcmp(text, "*") == 0 ? -1 : -2;
        for (int i = STAGE_BROM; i < STAGE_COUNT; i++)
                if (strcmp(text, sim_stage_names[i]) == 0)
                        f->stage = i;
        if (f->stage == -2)
                return "the stage is brom, pdl, fdl1, fdl2 or *";
        if (!command_known(command))
                return "the command is not known";
        snprintf(f->command, sizeof(f->command), "%s", command);
        if (!where)
                return NULL;
        errno = 0;
        if (*where == '#') {
                unsigned long n = strtoul(where + 1, &end, 0);
                f->nth = (unsigned) n;
                if (n == 0 || n > UINT_MAX)
                        return "#N counts from 1";
        } else
                f->offset = strtoull(where, &end, 0);
        if (*end == '@' && end != where && f->nth == 0) {
                unsigned long n = strtoul(end + 1, &end, 0);
                f->transfer = (unsigned) n;
                if (n == 0 || n > UINT_MAX)
                        return "@N counts from 1";
        }
        return *end || end == where || errno ? "the offset is a number, perhaps with @N, or #N" : NULL;
}

static const char *parse_kind(SimFault *f, const char *name, const char *value) {
        char *end;

        for (size_t i = 0; i < COUNT(kinds); i++) {
                if (strcmp(kinds[i].name, name) != 0)
                        continue;
                if (f->kind != FAULT_NONE)
                        return "only one kind in a line";
                f->kind = kinds[i].kind;
                if (kinds[i].value == NO_VALUE)
                        return value ? "this kind takes no value" : NULL;
                if (!value)
                        return kinds[i].value == MAY_MS ? NULL : "this kind needs a value";
                f->value = strtoull(value, &end, kinds[i].value == NEEDS_HEX ? 16 : 0);
                if (*end || end == value || (kinds[i].value == NEEDS_HEX && f->value > 255) || f->value > 1000000000)
                        return "the value is not possible";
                return NULL;
        }
        return "the kind of fault is not known";
}

static const char *parse_word(SimFault *f, char *word, bool *has_point) {
        char *value = strchr(word, '='), *end;

        if (value)
                *value++ = 0;
        if (strcmp(word, "at") == 0 && value) {
                *has_point = true;
                return parse_point(f, value);
        }
        if (strcmp(word, "count") == 0 && value) {
                unsigned long n = strtoul(value, &end, 0);
                f->left = strcmp(value, "forever") == 0 ? UINT_MAX : (unsigned) n;
                return f->left == UINT_MAX || (!*end && n > 0 && n < UINT_MAX) ? NULL : "count= is a number or forever";
        }
        return parse_kind(f, word, value);
}

bool sim_fault(SimModel *m, const char *line, char *err, size_t err_size) {
        SimFault f = {.offset = SIM_NEVER, .left = 1};
        bool has_point = false;
        char text[256], *save = NULL;
        const char *why = NULL;

        if (strcmp(line, "clear") == 0) {
                memset(m->faults, 0, sizeof(m->faults));
                memset(&m->active, 0, sizeof(m->active));
                m->write_error = m->bad_readback = false;
                return true;
        }
        if ((size_t) snprintf(text, sizeof(text), "%s", line) >= sizeof(text))
                why = "the line is too long";
        for (char *w = strtok_r(text, " +\t", &save); w && !why; w = strtok_r(NULL, " +\t", &save))
                why = parse_word(&f, w, &has_point);
        if (!why && !has_point)
                why = "at=STAGE:COMMAND is missing";
        if (!why && f.kind == FAULT_NONE)
                why = "the kind of fault is missing";
        for (size_t i = 0; i < SIM_MAX_FAULTS && !why; i++)
                if (m->faults[i].left == 0) {
                        m->faults[i] = f;
                        return true;
                }
        snprintf(err, err_size, "fault '%s': %s", line, why ? why : "too many faults");
        return false;
}

SimFault *sim_fault_match(SimModel *m, const char *command, unsigned nth, uint64_t from, uint64_t to) {
        for (size_t i = 0; i < SIM_MAX_FAULTS; i++) {
                SimFault *f = &m->faults[i];

                if (f->left == 0 || (f->stage >= 0 && f->stage != (int) m->stage))
                        continue;
                if (strcmp(f->command, "*") != 0 && strcmp(f->command, command) != 0)
                        continue;
                if (f->nth && (f->left == UINT_MAX ? nth < f->nth : nth != f->nth))
                        continue;
                if (f->transfer && f->transfer != m->seen[m->stage][command[0] == 'r' ? CMD_READ_START : CMD_START])
                        continue;
                if (f->offset != SIM_NEVER && (f->offset < from || f->offset >= to))
                        continue;
                if (f->left != UINT_MAX && --f->left > 0 && f->nth)
                        f->nth++;
                m->faults_hit++;
                return f;
        }
        return NULL;
}
