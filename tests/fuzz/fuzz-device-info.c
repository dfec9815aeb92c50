/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a second loader says of itself, in both encodings. */
#include "bsl/devinfo.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        BslDeviceInfo info = {.present = true, .storage = 77};
        bool usable = bsl_device_info_parse(data, size, &info);

        MUST(usable == info.present);
        MUST(info.present || (info.storage == 0 && !info.disable_transcode && info.raw_level == 0));
        return 0;
}
