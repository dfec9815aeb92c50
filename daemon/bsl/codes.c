/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/codes.h"

static const char *const commands[0x100] = {
        [0x00] = "CONNECT", [0x01] = "START_DATA", [0x02] = "MIDST_DATA", [0x03] = "END_DATA", [0x04] = "EXEC_DATA",
        [0x05] = "NORMAL_RESET", [0x06] = "READ_FLASH", [0x07] = "READ_CHIP_TYPE", [0x08] = "READ_NVITEM",
        [0x09] = "CHANGE_BAUD", [0x0a] = "ERASE_FLASH", [0x0b] = "REPARTITION", [0x0c] = "READ_FLASH_TYPE",
        [0x0d] = "READ_FLASH_INFO", [0x0f] = "READ_SECTOR_SIZE", [0x10] = "READ_START", [0x11] = "READ_MIDST",
        [0x12] = "READ_END", [0x13] = "KEEP_CHARGE", [0x14] = "EXTTABLE", [0x15] = "READ_FLASH_UID",
        [0x16] = "READ_SOFTSIM_EID", [0x17] = "POWER_OFF", [0x19] = "CHECK_ROOT", [0x1a] = "READ_CHIP_UID",
        [0x1b] = "ENABLE_WRITE_FLASH", [0x1c] = "ENABLE_SECUREBOOT", [0x1d] = "IDENTIFY_START", [0x1e] = "IDENTIFY_END",
        [0x1f] = "READ_CU_REF", [0x20] = "READ_REFINFO", [0x21] = "DISABLE_TRANSCODE", [0x22] = "WRITE_APR_INFO",
        [0x23] = "CUST_DUMMY", [0x24] = "READ_RF_TYPE", [0x25] = "ENABLE_DEBUG_MODE", [0x26] = "DDR_CHECK",
        [0x27] = "SELF_REFRESH", [0x28] = "ENABLE_RAW_DATA", [0x29] = "READ_NAND_BLOCK_INFO",
        [0x2a] = "SET_FIRST_MODE", [0x2b] = "SET_RANDOM_DATA", [0x2c] = "SET_TIME_STAMP", [0x2d] = "READ_PARTITION",
        [0x2e] = "READ_VCUR", [0x2f] = "WRITE_VPAC", [0x31] = "MIDST_RAW_START", [0x32] = "FLUSH_DATA",
        [0x33] = "MIDST_RAW_START2", [0x34] = "ENABLE_UBOOT_LOG", [0x35] = "DUMP_UBOOT_LOG", [0x40] = "DISABLE_SELINUX",
        [0x41] = "AUTH_BEGIN", [0x42] = "AUTH_END", [0x43] = "EMMC_CID", [0x44] = "OPEN_WATCH_DOG",
        [0x45] = "CLOSE_WATCH_DOG", [0x46] = "POWEROFF_NOKEY", [0x47] = "WRITE_EFUSE", [0x48] = "READ_PART_VALUE",
        [0x49] = "WRITE_PART_VALUE", [0x50] = "WRITE_TIMESTAMP", [0x51] = "PARTITION_SIGNATURE", [0x7e] = "CHECK_BAUD",
        [0x7f] = "END_PROCESS", [0xcc] = "SEND_FLAG",
};

static const char *const replies[0x100] = {
        [0x80] = "ACK", [0x81] = "VER", [0x82] = "INVALID_CMD", [0x83] = "UNKNOWN_CMD", [0x84] = "OPERATION_FAILED",
        [0x85] = "NOT_SUPPORT_BAUDRATE", [0x86] = "DOWN_NOT_START", [0x87] = "DOWN_MULTI_START",
        [0x88] = "DOWN_EARLY_END", [0x89] = "DOWN_DEST_ERROR", [0x8a] = "DOWN_SIZE_ERROR", [0x8b] = "VERIFY_ERROR",
        [0x8c] = "NOT_VERIFY", [0x8d] = "NOT_ENOUGH_MEMORY", [0x8e] = "WAIT_INPUT_TIMEOUT", [0x8f] = "SUCCEED",
        [0x90] = "VALID_BAUDRATE", [0x91] = "REPEAT_CONTINUE", [0x92] = "REPEAT_BREAK", [0x93] = "READ_FLASH",
        [0x94] = "READ_CHIP_TYPE", [0x95] = "READ_NVITEM", [0x96] = "INCOMPATIBLE_PARTITION", [0x97] = "UNKNOWN_DEVICE",
        [0x98] = "INVALID_DEVICE_SIZE", [0x99] = "ILLEGAL_SDRAM", [0x9a] = "WRONG_SDRAM_PARAMETER",
        [0x9b] = "READ_FLASH_INFO", [0x9c] = "READ_SECTOR_SIZE", [0x9d] = "READ_FLASH_TYPE", [0x9e] = "READ_FLASH_UID",
        [0x9f] = "READ_SOFTSIM_EID", [0xa0] = "ERROR_CHECKSUM", [0xa1] = "CHECKSUM_DIFF", [0xa2] = "WRITE_ERROR",
        [0xa3] = "CHIPID_NOT_MATCH", [0xa4] = "FLASH_CFG_ERROR", [0xa5] = "DOWN_STL_SIZE_ERROR",
        [0xa6] = "SECURITY_VERIFICATION_FAIL", [0xa7] = "PHONE_IS_ROOTED", [0xa8] = "SIMLOCK_NOT_SUPPORTED",
        [0xa9] = "UNLOCK_NOT_SUPPORTED", [0xaa] = "SEC_VERIFY_ERROR", [0xab] = "READ_CHIP_UID",
        [0xac] = "NOT_ENABLE_WRITE_FLASH", [0xad] = "ENABLE_SECUREBOOT_ERROR", [0xae] = "IDENTIFY_START",
        [0xaf] = "IDENTIFY_END", [0xb0] = "READ_CU_REF", [0xb1] = "READ_REFINFO", [0xb2] = "CUST_DUMMY",
        [0xb3] = "FLASH_WRITTEN_PROTECTION", [0xb4] = "FLASH_INITIALIZING_FAIL", [0xb5] = "RF_TRANSCEIVER_TYPE",
        [0xb6] = "DDR_CHECK_ERROR", [0xb7] = "SELF_REFRESH_ERROR", [0xb8] = "READ_NAND_BLOCK_INFO",
        [0xb9] = "RANDOM_DATA_ERROR", [0xba] = "READ_PARTITION", [0xbb] = "DUMP_UBOOT_LOG", [0xbc] = "READ_VCUR_DATA",
        [0xbd] = "AUTH_M1_DATA", [0xbe] = "READ_PART_VALUE", [0xbf] = "UNSUPPORTED_PARTITION", [0xc0] = "EMMC_CID",
        [0xd0] = "MAGIC_ERROR", [0xd1] = "REPARTITION_ERROR", [0xd2] = "READ_FLASH_ERROR", [0xd3] = "MALLOC_ERROR",
        [0xfe] = "UNSUPPORTED_COMMAND", [0xff] = "LOG",
};

static const char *const pdl_commands[] = {
        "PDL CONNECT", "PDL ERASE_FLASH", "PDL ERASE_PARTITION", "PDL ERASE_ALL", "PDL START_DATA", "PDL MID_DATA",
        "PDL END_DATA", "PDL EXEC_DATA", "PDL READ_FLASH", "PDL READ_PARTITIONS", "PDL NORMAL_RESET", "PDL READ_CHIPID",
        "PDL SET_BAUDRATE",
};

static const char *const pdl_replies[] = {
        "ACK",
        "invalid command (tool), packet error (device)",
        "unknown command (tool), invalid command (device)",
        "invalid address (tool), unknown command (device)",
        "invalid baud rate (tool), invalid address (device)",
        "invalid partition (tool), invalid baud rate (device)",
        "size error (tool), invalid partition (device)",
        "wait timeout (tool), invalid size (device)",
        "verify error (tool), wait timeout (device)",
        "checksum error (tool), verify error (device)",
        "operation failed (tool), checksum error (device)",
        "device error (tool), operation failed (device)",
        "no memory (tool), device error (device)",
};

static const char *lookup(const char *const *table, size_t n, int code) {
        return code >= 0 && (size_t) code < n && table[code] ? table[code] : "unknown";
}

const char *bsl_command_name(int command) {
        return lookup(commands, ELEMENTSOF(commands), command);
}

const char *bsl_reply_name(int reply) {
        return lookup(replies, ELEMENTSOF(replies), reply);
}

const char *bsl_pdl_command_name(int command) {
        return lookup(pdl_commands, ELEMENTSOF(pdl_commands), command);
}

const char *bsl_pdl_reply_name(int reply) {
        return lookup(pdl_replies, ELEMENTSOF(pdl_replies), reply);
}

bool bsl_reply_is_answer(int reply) {
        switch (reply) {
        case 0x80 ... 0x81:
        case 0x8f ... 0x90:
        case 0x93 ... 0x95:
        case 0x9b ... 0x9f:
        case 0xab:
        case 0xae ... 0xb2:
        case 0xb5:
        case 0xb8:
        case 0xba ... 0xbe:
        case 0xc0:
        case 0xff:
                return true;
        default:
                return false;
        }
}
