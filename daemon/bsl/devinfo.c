/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bsl/devinfo.h"

#define TLV_MAGIC 0x7477656e

static uint32_t value_of(const uint8_t *p, size_t size) {
        return size >= 4 ? get_le32(p) : size >= 2 ? get_le16(p) : size == 1 ? p[0] : 0;
}

static bool parse_struct(const uint8_t *p, size_t size, BslDeviceInfo *ret) {
        if (size < 8)
                return false;
        ret->disable_transcode = get_le32(p + 4) != 0;
        if (size >= 9)
                ret->old_memory = p[8];
        if (size >= 10)
                ret->raw_level = p[9];
        if (size >= 16)
                ret->flush_kib = get_le32(p + 12);
        if (size >= 20)
                ret->storage = get_le32(p + 16);
        return true;
}

static void take_record(uint16_t type, const uint8_t *value, size_t size, BslDeviceInfo *ret) {
        if (size == 0) /* padding looks like an empty record of type 0 */
                return;
        switch (type) {
        case 0:
                ret->disable_transcode = value_of(value, size) != 0;
                break;
        case 1:
                ret->old_memory = (uint8_t) value_of(value, size);
                break;
        case 2:
                ret->raw_level = (uint8_t) value_of(value, size);
                break;
        case 3:
                ret->flush_kib = value_of(value, size);
                break;
        case 4:
                ret->challenge = value_of(value, size);
                break;
        case 6:
                ret->storage = value_of(value, size);
                break;
        case 7:
                ret->dump_log = value_of(value, size) != 0;
                break;
        default:
                break;
        }
}

static bool parse_tlv(const uint8_t *p, size_t size, BslDeviceInfo *ret) {
        while (size >= 4) {
                size_t n = get_le16(p + 2);

                if (n > size - 4)
                        return false;
                take_record(get_le16(p), p + 4, n, ret);
                p += 4 + n;
                size -= 4 + n;
        }
        /* Up to three bytes of padding are nobody's record; they are zero or nothing is. */
        for (; size > 0; p++, size--)
                if (*p != 0)
                        return false;
        return true;
}

bool bsl_device_info_parse(const void *data, size_t size, BslDeviceInfo *ret) {
        BslDeviceInfo info = {};
        const uint8_t *p = data;
        bool ok = false;

        if (size >= 4 && get_le32(p) == TLV_MAGIC)
                ok = parse_tlv(p + 4, size - 4, &info);
        else if (size >= 4 && get_le32(p) >= 1 && get_le32(p) <= 4)
                ok = parse_struct(p, size, &info);
        if (!ok)
                info = (BslDeviceInfo){};
        info.present = ok;
        *ret = info;
        return ok;
}
