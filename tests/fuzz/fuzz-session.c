/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands in any order against a device that answers whatever it likes. */
#include <errno.h>
#include <string.h>

#include "hostile.h"
#include "bsl/session.h"

#define COMMANDS_MAX 40

static uint8_t data[0x1000];

static int phones(BslSession *s, uint8_t which, Failure *f) {
        static const char *const names[] = {"boot", "splloader", "user_partition", "nr_fixnv1_a"};
        _cleanup_free_ BslPartition *partitions = NULL;
        uint32_t words[3], chip;
        BslDeviceInfo info;
        char text[64];
        size_t n;
        int r;

        switch (which % 26) {
        case 0: return bsl_sync(s, 100, 2000, f);
        case 1: return bsl_connect(s, f);
        case 2: return bsl_start_address(s, 0x5500, 0x1000, NULL, f);
        case 3: return bsl_start_name(s, names[which / 26 % 4], which & 64 ? 0x300000000 : 0x1000, NULL, f);
        case 4: return bsl_midst(s, data, which * 3, false, f);
        case 5: return bsl_midst_then(s, data, 0x200, false, data + 0x200, 0x200, f);
        case 6: return bsl_end(s, f);
        case 7: return bsl_exec_brom(s, f);
        case 8: return bsl_exec_fdl2(s, &info, f);
        case 9: return bsl_disable_transcode(s, f);
        case 10: return bsl_erase_name(s, names[which / 26 % 4], 0, f);
        case 11: return bsl_erase_address(s, 0x60000000, 0x1000, f);
        case 12:
                r = bsl_read_flash(s, which & 64 ? 0x80000000 : 0x60000000, 0, data, sizeof(data), which & 32, &n, f);
                MUST(r != 0 || n <= sizeof(data));
                return r;
        case 13: return bsl_read_start(s, names[0], 0x1000, f);
        case 14: return bsl_read_midst(s, which, data, which * 2 + 1, f);
        case 15: return bsl_read_end(s, f);
        case 16:
                n = 0;
                r = bsl_read_partitions(s, &partitions, &n, f);
                MUST(r != 0 || n <= 862);
                for (size_t i = 0; r == 0 && i < n; i++)
                        MUST(memchr(partitions[i].name, 0, sizeof(partitions[i].name)));
                return r;
        case 17:
                r = bsl_read_chip_uid(s, text, sizeof(text), f);
                MUST(r != 0 || memchr(text, 0, sizeof(text)));
                return r;
        case 18: return bsl_enable_write_flash(s, f);
        case 19: return bsl_read_flash_info(s, words, f);
        case 20: return bsl_read_rf_type(s, &chip, f);
        case 21: return bsl_repartition(s, data, which * 8, f);
        case 22: return bsl_enable_raw(s, f);
        case 23: return bsl_raw_start(s, which & 64, f);
        case 24: return bsl_raw_data(s, data, 0x800, which & 64, which & 32, f);
        default: return which & 64 ? bsl_probe_fdl2(s, f) : which & 32 ? bsl_end_raw(s, f) : bsl_reset(s, f);
        }
}

static int module(BslSession *s, uint8_t which, Failure *f) {
        switch (which % 5) {
        case 0: return bsl_pdl_connect(s, f);
        case 1: return bsl_pdl_start(s, 0x838000, 0x1000, f);
        case 2: return bsl_pdl_midst(s, which, data, which * 8, f);
        case 3: return bsl_pdl_end(s, f);
        default: return bsl_pdl_exec(s, f);
        }
}

static void on_event(void *userdata, const BslEvent *e) {
        uint64_t *seen = userdata;

        for (size_t i = 0; e->payload && i < e->size; i++)
                *seen += e->payload[i];
}

static void check_answer(int r, const Failure *f) {
        MUST(r <= 1);
        if (r != 1)
                return;
        MUST(f->class != CLASS_NONE);
        MUST(f->text[0] && memchr(f->text, 0, sizeof(f->text)));
}

/* After an unanswered command nothing is sent but a sync outside of the last loader (design: a late answer could pass for another's). */
static void check_taint(const BslSession *s, bool was_tainted, unsigned sends, const Hostile *h, bool sync, int r) {
        (void) s;
        if (was_tainted && !sync && r != -EINVAL && r != -EMSGSIZE)
                MUST(h->sends == sends);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        Script script = {bytes, size};
        BslDeadlines deadlines;
        uint8_t commands[COMMANDS_MAX], how = script_byte(&script);
        unsigned n = script_byte(&script) % COMMANDS_MAX;
        uint64_t seen = 0;
        BslSession *s;
        Hostile h;

        for (unsigned i = 0; i < n; i++)
                commands[i] = script_byte(&script);
        hostile_init(&h, script);
        bsl_deadlines_default(&deadlines);
        s = bsl_session_new(&h.channel, &deadlines);
        MUST(s);
        bsl_session_set_trace(s, on_event, &seen);
        if (how & 2)
                bsl_session_set_check(s, BSL_CHECK_SUM);
        if (how & 4)
                bsl_session_set_stage(s, BSL_STAGE_FDL2);
        for (unsigned i = 0; i < n; i++) {
                Failure f = FAILURE_INIT;
                bool tainted = bsl_session_tainted(s);
                unsigned sends = h.sends;
                int r = how & 1 ? module(s, commands[i], &f) : phones(s, commands[i], &f);

                check_answer(r, &f);
                check_taint(s, tainted, sends, &h, !(how & 1) && commands[i] % 26 == 0, r);
        }
        MUST(memchr(bsl_session_version(s), 0, 256));
        bsl_session_free(s);
        return 0;
}
