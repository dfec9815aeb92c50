/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/devinfo.h"
#include "bsl/internal.h"

#define NAME_BYTES 72
#define NAME_MAX_CHARS 35 /* loaders keep no more */
#define PARTITION_RECORD 76
#define READ_MAX 0xfffe
#define QUIET_MS 200

static int command_measured(BslSession *s, int code, const void *payload, size_t size, uint32_t deadline, uint32_t *slowest, Failure *f) {
        const Command c = {.code = code, .payload = payload, .size = size, .deadline = deadline, .slowest = slowest, .want = BSL_REP_ACK};

        return session_command(s, &c, NULL, f);
}

static int command_ack(BslSession *s, int code, const void *payload, size_t size, uint32_t deadline, Failure *f) {
        return command_measured(s, code, payload, size, deadline, NULL, f);
}

int bsl_start_address(BslSession *s, uint32_t address, uint32_t size, const uint32_t *checksum, Failure *f) {
        uint8_t payload[12];

        if (size == 0)
                return -EINVAL;
        put_be32(payload, address);
        put_be32(payload + 4, size);
        if (checksum)
                put_be32(payload + 8, *checksum);
        return command_measured(s, BSL_CMD_START_DATA, payload, checksum ? 12 : 8, s->deadlines.start, &s->slowest.start, f);
}

/* Name and size as FDL2 takes them; 64 bits only where needed, old loaders do not know that form. Returns the length,
 * or -EINVAL for a name that cannot be sent. */
static int put_name(uint8_t *payload, const char *name, uint64_t size, const uint32_t *checksum) {
        size_t n = strlen(name);
        int at = NAME_BYTES + 4;

        if (n == 0 || n > NAME_MAX_CHARS)
                return -EINVAL;
        memset(payload, 0, NAME_BYTES + 20);
        for (size_t i = 0; i < n; i++) {
                if (name[i] <= 0x20 || name[i] >= 0x7f)
                        return -EINVAL;
                payload[2 * i] = (uint8_t) name[i];
        }
        put_le32(payload + NAME_BYTES, (uint32_t) size);
        if (size > UINT32_MAX) {
                put_le64(payload + NAME_BYTES, size);
                at = NAME_BYTES + 16;
        }
        if (checksum) {
                put_le32(payload + at, *checksum);
                at += 4;
        }
        return at;
}

static int command_name(BslSession *s, int code, const char *name, uint64_t size, const uint32_t *checksum,
                        uint32_t deadline, uint32_t *slowest, Failure *f) {
        uint8_t payload[NAME_BYTES + 20];
        int n = put_name(payload, name, size, checksum);

        return n < 0 ? n : command_measured(s, code, payload, (size_t) n, deadline, slowest, f);
}

int bsl_start_name(BslSession *s, const char *name, uint64_t size, const uint32_t *checksum, Failure *f) {
        if (size == 0)
                return -EINVAL;
        return command_name(s, BSL_CMD_START_DATA, name, size, checksum, s->deadlines.start, &s->slowest.start, f);
}

int bsl_midst_then(BslSession *s, const void *data, size_t size, bool last, const void *next, size_t next_size, Failure *f) {
        const Command c = {
                .code = BSL_CMD_MIDST_DATA, .payload = data, .size = size, .want = BSL_REP_ACK, .next = next, .next_size = next_size,
                .deadline = last ? s->deadlines.midst_last : s->deadlines.midst,
                .slowest = last ? &s->slowest.midst_last : &s->slowest.midst,
        };

        return size == 0 ? -EINVAL : session_command(s, &c, NULL, f);
}

int bsl_midst(BslSession *s, const void *data, size_t size, bool last, Failure *f) {
        return bsl_midst_then(s, data, size, last, NULL, 0, f);
}

int bsl_enable_raw(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_ENABLE_RAW_DATA, NULL, 0, s->deadlines.other, f);
}

int bsl_raw_start(BslSession *s, bool whole, Failure *f) {
        /* What came before may still have to be written. */
        return command_ack(s, whole ? BSL_CMD_MIDST_RAW_START2 : BSL_CMD_MIDST_RAW_START, NULL, 0, s->deadlines.midst, f);
}

int bsl_end_raw(BslSession *s, Failure *f) {
        return command_measured(s, BSL_CMD_END_DATA, NULL, 0, MAX(s->deadlines.end, s->deadlines.midst_last), &s->slowest.midst_last, f);
}

int bsl_end(BslSession *s, Failure *f) {
        return command_measured(s, BSL_CMD_END_DATA, NULL, 0, s->deadlines.end, &s->slowest.end, f);
}

int bsl_exec_brom(BslSession *s, Failure *f) {
        int r = command_ack(s, BSL_CMD_EXEC_DATA, NULL, 0, s->deadlines.exec_fdl1, f);

        if (r != 0)
                return r;
        s->stage = BSL_STAGE_UNKNOWN;
        s->check = BSL_CHECK_SUM;
        return 0;
}

int bsl_exec_fdl2(BslSession *s, BslDeviceInfo *ret, Failure *f) {
        const Command c = {
                .code = BSL_CMD_EXEC_DATA,
                .deadline = s->deadlines.exec_fdl2,
                .slowest = &s->slowest.exec_fdl2,
                .want = BSL_REP_ACK,
                .want2 = BSL_REP_INCOMPATIBLE_PARTITION, /* the normal answer of today's loaders */
                .patient = true,
        };
        BslDeviceInfo info = {};
        BslFrame frame;
        int r = session_command(s, &c, &frame, f);

        if (r != 0)
                return r;
        if (frame.type == BSL_REP_INCOMPATIBLE_PARTITION)
                bsl_device_info_parse(frame.payload, frame.size, &info);
        info.incompatible = frame.type == BSL_REP_INCOMPATIBLE_PARTITION;
        if (ret)
                *ret = info;
        s->stage = BSL_STAGE_FDL2;
        return 0;
}

int bsl_disable_transcode(BslSession *s, Failure *f) {
        int r = command_ack(s, BSL_CMD_DISABLE_TRANSCODE, NULL, 0, s->deadlines.other, f);

        if (r != 0)
                return r;
        s->transcode = false;
        session_clear_rx(s);
        return 0;
}

int bsl_erase_address(BslSession *s, uint32_t address, uint32_t size, Failure *f) {
        bool all = address == 0 && size == UINT32_MAX;
        uint8_t payload[8];

        put_be32(payload, address);
        put_be32(payload + 4, size);
        return command_measured(s, BSL_CMD_ERASE_FLASH, payload, sizeof(payload), all ? s->deadlines.erase_all : s->deadlines.erase,
                                all ? NULL : &s->slowest.erase, f);
}

int bsl_erase_name(BslSession *s, const char *name, uint64_t size, Failure *f) {
        bool all = streq(name, "erase_all");

        return command_name(s, BSL_CMD_ERASE_FLASH, name, size, NULL, all ? s->deadlines.erase_all : s->deadlines.erase,
                            all ? NULL : &s->slowest.erase, f);
}

static int wrong_length(BslSession *s, const Command *c, uint64_t since, size_t asked, size_t got, Failure *f) {
        Wait w = {.command = bsl_command_name(c->code), .since = since};

        failure_set(f, CLASS_GARBLED, "length", "The device answered %s with %zu bytes instead of %zu.", w.command, got,
                    asked);
        session_note(s, &w, f);
        return 1;
}

/* Worth a second try: a definite answer came, or a damaged one, and no deadline expired. */
static bool may_retry(const Failure *f) {
        if (f->class == CLASS_GARBLED)
                return f->deadline_ms == 0;
        return f->class == CLASS_REFUSED && f->reply == BSL_REP_OPERATION_FAILED;
}

static int read_once(BslSession *s, const Command *c, size_t size, bool allow_short, const uint8_t **ret, size_t *ret_size, Failure *f) {
        uint64_t since = channel_now(s->channel);
        BslFrame frame;
        int r = session_command(s, c, &frame, f);

        if (r != 0)
                return r;
        if (frame.size > size || (frame.size < size && !allow_short))
                return wrong_length(s, c, since, size, frame.size, f);
        *ret = frame.payload;
        *ret_size = frame.size;
        return 0;
}

/* *ret: what came, where it lies. */
static int read_exactly(BslSession *s, const Command *c, size_t size, bool allow_short, const uint8_t **ret, size_t *ret_size, Failure *f) {
        Failure own = FAILURE_INIT;
        int r, d;

        if (size == 0 || size > READ_MAX)
                return -EINVAL;
        if (s->tainted)
                return session_refuse_tainted(s, f);
        r = read_once(s, c, size, allow_short, ret, ret_size, &own);
        if (r <= 0)
                return r;
        if (may_retry(&own)) {
                d = session_drain(s, QUIET_MS);
                if (d == -ECANCELED)
                        return d;
                s->tainted = false;
                s->retries++;
                own = FAILURE_INIT;
                r = read_once(s, c, size, allow_short, ret, ret_size, &own);
                own.attempts = 2;
                if (r == 0)
                        *ret = memcpy(s->scratch, *ret, *ret_size); /* what is drained takes its place */
                /* Two requests are out: a surplus answer must not meet the next one. */
                d = r < 0 ? 0 : session_drain(s, QUIET_MS);
                if (d == -ECANCELED)
                        return d;
        }
        if (r > 0 && f)
                session_copy_failure(f, &own);
        return r;
}

int bsl_view_flash(BslSession *s, uint32_t address, uint32_t offset, size_t size, bool allow_short, const uint8_t **ret, size_t *ret_size,
                   Failure *f) {
        bool logical = address >> 31;
        uint8_t payload[12];
        const Command c = {.code = BSL_CMD_READ_FLASH,
                           .payload = payload,
                           .size = logical ? 12 : 8,
                           .deadline = s->deadlines.read,
                           .answer = size,
                           .want = BSL_REP_READ_FLASH};

        put_be32(payload, logical ? address : address + offset);
        put_be32(payload + 4, (uint32_t) size);
        put_be32(payload + 8, offset);
        return read_exactly(s, &c, size, allow_short, ret, ret_size, f);
}

int bsl_read_flash(BslSession *s, uint32_t address, uint32_t offset, void *data, size_t size, bool allow_short,
                   size_t *ret_size, Failure *f) {
        const uint8_t *came;
        size_t n;
        int r = bsl_view_flash(s, address, offset, size, allow_short, &came, &n, f);

        if (r != 0)
                return r;
        memcpy(data, came, n);
        if (ret_size)
                *ret_size = n;
        return 0;
}

int bsl_read_start(BslSession *s, const char *name, uint64_t size, Failure *f) {
        return command_name(s, BSL_CMD_READ_START, name, size, NULL, s->deadlines.read, NULL, f);
}

int bsl_view_midst(BslSession *s, uint64_t offset, size_t size, const uint8_t **ret, Failure *f) {
        uint8_t payload[12];
        size_t n;
        const Command c = {.code = BSL_CMD_READ_MIDST,
                           .payload = payload,
                           .size = offset > UINT32_MAX ? 12 : 8,
                           .deadline = s->deadlines.read,
                           .answer = size,
                           .want = BSL_REP_READ_FLASH};

        put_le32(payload, (uint32_t) size);
        put_le64(payload + 4, offset);
        return read_exactly(s, &c, size, false, ret, &n, f);
}

int bsl_read_midst(BslSession *s, uint64_t offset, void *data, size_t size, Failure *f) {
        const uint8_t *came;
        int r = bsl_view_midst(s, offset, size, &came, f);

        if (r == 0)
                memcpy(data, came, size);
        return r;
}

int bsl_read_end(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_READ_END, NULL, 0, s->deadlines.read, f);
}

/* Names hold UTF-16LE; loaders look at the low bytes only. */
static void take_name(const uint8_t *p, char ret[static 37]) {
        size_t n = 0;

        for (; n < 36 && get_le16(p + 2 * n) != 0; n++) {
                uint16_t unit = get_le16(p + 2 * n);
                ret[n] = unit > 0x20 && unit < 0x7f ? (char) unit : '?';
        }
        ret[n] = '\0';
}

int bsl_read_partitions(BslSession *s, BslPartition **ret, size_t *ret_n, Failure *f) {
        const Command c = {
                .code = BSL_CMD_READ_PARTITION, .deadline = s->deadlines.read, .want = BSL_REP_READ_PARTITION};
        uint64_t since = channel_now(s->channel);
        _cleanup_free_ BslPartition *table = NULL;
        Failure own = FAILURE_INIT;
        BslFrame frame;
        size_t n;
        int r = session_command(s, &c, &frame, f);

        if (r != 0)
                return r;
        n = frame.size / PARTITION_RECORD;
        if (frame.size % PARTITION_RECORD != 0) {
                wrong_length(s, &c, since, n * PARTITION_RECORD, frame.size, &own);
                if (f)
                        session_copy_failure(f, &own);
                return 1;
        }
        table = calloc(MAX(n, 1u), sizeof(*table));
        if (!table)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                take_name(frame.payload + i * PARTITION_RECORD, table[i].name);
                table[i].size = get_le32(frame.payload + i * PARTITION_RECORD + NAME_BYTES);
        }
        *ret = TAKE_PTR(table);
        *ret_n = n;
        return 0;
}

int bsl_read_chip_uid(BslSession *s, char *ret, size_t size, Failure *f) {
        const Command c = {
                .code = BSL_CMD_READ_CHIP_UID, .deadline = s->deadlines.other, .want = BSL_REP_READ_CHIP_UID};
        BslFrame frame;
        int r;

        if (size == 0)
                return -EINVAL;
        r = session_command(s, &c, &frame, f);
        if (r == 0)
                clean_text(ret, size, frame.payload, frame.size);
        return r;
}

/* What else comes is late: the answer to something that somebody asked before. */
static int ask_past_stale(BslSession *s, const Command *c, BslFrame *ret, Failure *f) {
        Wait w = {.command = bsl_command_name(c->code), .deadline = c->deadline, .since = channel_now(s->channel)};
        int r = session_drain(s, QUIET_MS);

        if (r == 0)
                r = session_send(s, c);
        w.sending = r < 0;
        while (r == 0) {
                r = session_receive(s, w.since + c->deadline, true, ret);
                if (r == 0 && ret->type == c->want)
                        return 0;
                s->heard.valid++;
        }
        return session_fail(s, &w, r, f);
}

int bsl_meet_again(BslSession *s, bool drop, uint32_t deadline, char *ret, size_t size, Failure *f) {
        const Command plain = {.code = BSL_CMD_DISABLE_TRANSCODE, .deadline = deadline, .want = BSL_REP_ACK};
        const Command uid = {.code = BSL_CMD_READ_CHIP_UID, .deadline = deadline, .want = BSL_REP_READ_CHIP_UID};
        BslFrame frame;
        int r;

        if (size == 0)
                return -EINVAL;
        s->check = BSL_CHECK_SUM;
        if (drop) {
                r = ask_past_stale(s, &plain, &frame, f);
                if (r != 0)
                        return r;
                s->transcode = false;
                session_clear_rx(s);
        }
        r = ask_past_stale(s, &uid, &frame, f);
        if (r != 0)
                return r;
        s->stage = BSL_STAGE_FDL2;
        clean_text(ret, size, frame.payload, frame.size);
        return 0;
}

int bsl_read_flash_uid(BslSession *s, uint8_t *ret, size_t size, size_t *ret_size, Failure *f) {
        const Command c = {
                .code = BSL_CMD_READ_FLASH_UID, .deadline = s->deadlines.other, .want = BSL_REP_READ_FLASH_UID};
        BslFrame frame;
        int r;

        *ret_size = 0;
        r = session_command(s, &c, &frame, f);
        if (r == 0) {
                *ret_size = MIN(frame.size, size);
                memcpy(ret, frame.payload, *ret_size);
        }
        return r;
}

int bsl_enable_write_flash(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_ENABLE_WRITE_FLASH, NULL, 0, s->deadlines.other, f);
}

int bsl_ext_table(BslSession *s, const void *payload, size_t size, Failure *f) {
        return command_ack(s, BSL_CMD_EXT_TABLE, payload, size, s->deadlines.other, f);
}

/* A question with an answer of fixed length. */
static int ask_fixed(BslSession *s, int code, int want, void *ret, size_t size, Failure *f) {
        const Command c = {.code = code, .deadline = s->deadlines.other, .want = want};
        uint64_t since = channel_now(s->channel);
        BslFrame frame;
        int r = session_command(s, &c, &frame, f);

        if (r != 0)
                return r;
        if (frame.size < size)
                return wrong_length(s, &c, since, size, frame.size, f);
        memcpy(ret, frame.payload, size);
        return 0;
}

int bsl_read_flash_info(BslSession *s, uint32_t ret[static 3], Failure *f) {
        uint8_t b[12];
        int r = ask_fixed(s, BSL_CMD_READ_FLASH_INFO, BSL_REP_READ_FLASH_INFO, b, sizeof(b), f);

        for (size_t i = 0; r == 0 && i < 3; i++)
                ret[i] = get_be32(b + 4 * i);
        return r;
}

int bsl_read_rf_type(BslSession *s, uint32_t *ret, Failure *f) {
        uint8_t b[4];
        int r = ask_fixed(s, BSL_CMD_READ_RF_TYPE, BSL_REP_RF_TYPE, b, sizeof(b), f);

        if (r == 0)
                *ret = get_le32(b);
        return r;
}

int bsl_keep_charge(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_KEEP_CHARGE, NULL, 0, s->deadlines.keep_charge, f);
}

#define DDR_CHECK_MS 30000U /* as the vendor's tool */
int bsl_ddr_check(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_DDR_CHECK, NULL, 0, MAX(s->deadlines.other, DDR_CHECK_MS), f);
}

int bsl_read_chip_type(BslSession *s, uint32_t *ret, Failure *f) {
        uint8_t b[4];
        int r = ask_fixed(s, BSL_CMD_READ_CHIP_TYPE, BSL_REP_READ_CHIP_TYPE, b, sizeof(b), f);

        if (r == 0)
                *ret = get_be32(b);
        return r;
}

int bsl_read_flash_type(BslSession *s, uint32_t ret[static 3], Failure *f) {
        uint8_t b[12];
        int r = ask_fixed(s, BSL_CMD_READ_FLASH_TYPE, BSL_REP_READ_FLASH_TYPE, b, sizeof(b), f);

        for (size_t i = 0; r == 0 && i < 3; i++)
                ret[i] = get_be32(b + 4 * i);
        return r;
}

int bsl_read_block_info(BslSession *s, uint32_t *ret_all, uint32_t *ret_bad, Failure *f) {
        uint8_t b[8];
        int r = ask_fixed(s, BSL_CMD_READ_NAND_BLOCK_INFO, BSL_REP_READ_NAND_BLOCK_INFO, b, sizeof(b), f);

        if (r == 0) {
                *ret_all = MAX(get_be32(b), get_be32(b + 4));
                *ret_bad = MIN(get_be32(b), get_be32(b + 4));
        }
        return r;
}

int bsl_set_time_stamp(BslSession *s, uint64_t stamp, Failure *f) {
        uint8_t b[8];

        put_le64(b, stamp);
        return command_ack(s, BSL_CMD_SET_TIME_STAMP, b, sizeof(b), s->deadlines.start, f);
}

int bsl_set_first_mode(BslSession *s, uint32_t mode, Failure *f) {
        uint8_t b[4];

        put_le32(b, mode);
        return command_ack(s, BSL_CMD_SET_FIRST_MODE, b, sizeof(b), s->deadlines.start, f);
}

int bsl_write_apr_info(BslSession *s, const void *info, size_t size, Failure *f) {
        return command_ack(s, BSL_CMD_WRITE_APR_INFO, info, size, s->deadlines.start, f);
}

int bsl_repartition(BslSession *s, const void *payload, size_t size, Failure *f) {
        return command_measured(s, BSL_CMD_REPARTITION, payload, size, s->deadlines.repartition, &s->slowest.repartition, f);
}

int bsl_reset(BslSession *s, Failure *f) {
        Failure own = FAILURE_INIT;
        int r = command_ack(s, BSL_CMD_NORMAL_RESET, NULL, 0, s->deadlines.reset, &own);

        if (r <= 0)
                return r;
        /* It left after the command had gone out: that is the reset. */
        if (own.class == CLASS_GONE && s->sent)
                return 0;
        if (f)
                session_copy_failure(f, &own);
        return 1;
}

int bsl_power_off(BslSession *s, Failure *f) {
        return command_ack(s, BSL_CMD_POWER_OFF, NULL, 0, s->deadlines.reset, f);
}
