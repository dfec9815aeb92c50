/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/session.h"

/* Command and reply codes that this project uses, and the names of all that are known (bsl-protocol §4, §5). */
enum {
        BSL_CMD_CONNECT = 0x00,
        BSL_CMD_START_DATA = 0x01,
        BSL_CMD_MIDST_DATA = 0x02,
        BSL_CMD_END_DATA = 0x03,
        BSL_CMD_EXEC_DATA = 0x04,
        BSL_CMD_NORMAL_RESET = 0x05,
        BSL_CMD_READ_FLASH = 0x06,
        BSL_CMD_READ_CHIP_TYPE = 0x07,
        BSL_CMD_ERASE_FLASH = 0x0a,
        BSL_CMD_REPARTITION = 0x0b,
        BSL_CMD_READ_FLASH_TYPE = 0x0c,
        BSL_CMD_READ_FLASH_INFO = 0x0d,
        BSL_CMD_READ_START = 0x10,
        BSL_CMD_READ_MIDST = 0x11,
        BSL_CMD_READ_END = 0x12,
        BSL_CMD_KEEP_CHARGE = 0x13,
        BSL_CMD_EXT_TABLE = 0x14,
        BSL_CMD_READ_FLASH_UID = 0x15,
        BSL_CMD_POWER_OFF = 0x17,
        BSL_CMD_READ_CHIP_UID = 0x1a,
        BSL_CMD_ENABLE_WRITE_FLASH = 0x1b,
        BSL_CMD_DISABLE_TRANSCODE = 0x21,
        BSL_CMD_WRITE_APR_INFO = 0x22,
        BSL_CMD_READ_RF_TYPE = 0x24,
        BSL_CMD_DDR_CHECK = 0x26,
        BSL_CMD_ENABLE_RAW_DATA = 0x28,
        BSL_CMD_READ_NAND_BLOCK_INFO = 0x29,
        BSL_CMD_SET_FIRST_MODE = 0x2a,
        BSL_CMD_SET_TIME_STAMP = 0x2c,
        BSL_CMD_READ_PARTITION = 0x2d,
        BSL_CMD_MIDST_RAW_START = 0x31,
        BSL_CMD_MIDST_RAW_START2 = 0x33,
        BSL_CMD_SYNC = 0x7e, /* not a frame: the bare byte */

        BSL_REP_ACK = 0x80,
        BSL_REP_VER = 0x81,
        BSL_REP_OPERATION_FAILED = 0x84,
        BSL_REP_VERIFY_ERROR = 0x8b,
        BSL_REP_READ_FLASH = 0x93,
        BSL_REP_READ_CHIP_TYPE = 0x94,
        BSL_REP_INCOMPATIBLE_PARTITION = 0x96,
        BSL_REP_READ_FLASH_INFO = 0x9b,
        BSL_REP_READ_FLASH_TYPE = 0x9d,
        BSL_REP_READ_FLASH_UID = 0x9e,
        BSL_REP_READ_CHIP_UID = 0xab,
        BSL_REP_NOT_ENABLE_WRITE_FLASH = 0xac,
        BSL_REP_RF_TYPE = 0xb5,
        BSL_REP_READ_NAND_BLOCK_INFO = 0xb8,
        BSL_REP_READ_PARTITION = 0xba,
        BSL_REP_UNSUPPORTED_COMMAND = 0xfe,
        BSL_REP_LOG = 0xff,

        PDL_CMD_CONNECT = 0,
        PDL_CMD_START_DATA = 4,
        PDL_CMD_MID_DATA = 5,
        PDL_CMD_END_DATA = 6,
        PDL_CMD_EXEC_DATA = 7,
};

const char *bsl_pdl_command_name(int command);
/* The reply is not an error: an acknowledgement, a version or data that was asked for. */
bool bsl_reply_is_answer(int reply);
