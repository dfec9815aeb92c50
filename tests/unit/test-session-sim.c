/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bsl/session.h"
#include "firmware/pac.h"
#include "scratch.h"
#include "sim-channel.h"

/* The session against simulated units that share no source with it: loaders, deadlines and answers as real ones have
 * them. */

static char storage[160];
static SimChannel *unit;
static BslSession *session;
static Failure fail;
static unsigned logs;
static uint8_t block[0x10000], got[0x40000];

#define OK(call) ck_assert_msg((call) == 0, "%s: %s", #call, fail.text)

static void on_trace(_unused_ void *userdata, const BslEvent *e) {
        if (e->kind == BSL_EVENT_RECEIVED && e->type == 0xff)
                logs++;
}

static void begin(const char *spec) {
        char err[512];

        unit = sim_channel_new(spec, storage, 1, err, sizeof(err));
        ck_assert_msg(unit != NULL, "%s", err);
        fail = FAILURE_INIT;
        session = bsl_session_new(&unit->channel, NULL);
        ck_assert_ptr_nonnull(session);
        bsl_session_set_trace(session, on_trace, NULL);
        logs = 0;
}

static void end(void) {
        session = bsl_session_free(session);
        unit = sim_channel_free(unit);
}

static void setup(void) {
        scratch_template(storage, sizeof(storage), "fdld-session");
        ck_assert_ptr_nonnull(mkdtemp(storage));
        for (size_t i = 0; i < sizeof(block); i++)
                block[i] = (uint8_t) (i * 13 ^ i >> 8);
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *ftw) {
        return remove(path);
}

static void teardown(void) {
        nftw(storage, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- a phone ---------------------------------------------------------------------------------------------- */

static void send_image(const uint8_t *data, size_t size, size_t step) {
        for (size_t at = 0; at < size; at += step)
                OK(bsl_midst(session, data + at, MIN(step, size - at), at + step >= size, &fail));
        OK(bsl_end(session, &fail));
}

static void phone_to_fdl1(const char *spec) {
        begin(spec);
        OK(bsl_open_port(session, &fail));
        OK(bsl_sync(session, 20, 30000, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_BROM);
        ck_assert_str_eq(bsl_session_version(session), "SPRD3");
        OK(bsl_connect(session, &fail));
        OK(bsl_start_address(session, 0x5500, 0x2000, NULL, &fail));
        send_image(block, 0x2000, 528);
        OK(bsl_exec_brom(session, &fail));
        OK(bsl_sync(session, 1000, 10000, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL1);
        ck_assert_ptr_nonnull(strstr(bsl_session_version(session), "Boot Block"));
        OK(bsl_connect(session, &fail));
}

static BslDeviceInfo phone_to_fdl2(const char *spec) {
        BslDeviceInfo info;

        phone_to_fdl1(spec);
        OK(bsl_start_address(session, 0x9efffe00, 0x4000, NULL, &fail));
        send_image(block, 0x4000, 2112);
        OK(bsl_exec_fdl2(session, &info, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL2);
        return info;
}

/* Writes and reads one partition, then resets. */
static void phone_work(bool raw) {
        size_t step = raw ? 0xf000 : 0x3000, n = 0;
        BslPartition *table = NULL;

        if (raw)
                OK(bsl_disable_transcode(session, &fail));
        OK(bsl_read_partitions(session, &table, &n, &fail));
        ck_assert_uint_gt(n, 3);
        free(table);
        OK(bsl_start_name(session, "misc", sizeof(block), NULL, &fail));
        send_image(block, sizeof(block), step);
        OK(bsl_read_start(session, "misc", sizeof(block), &fail));
        for (size_t at = 0; at < sizeof(block); at += step)
                OK(bsl_read_midst(session, at, got + at, MIN(step, sizeof(block) - at), &fail));
        OK(bsl_read_end(session, &fail));
        ck_assert_mem_eq(got, block, sizeof(block));
        OK(bsl_reset(session, &fail));
}

static const char *const phones[] = {
        "phone-emmc,image-check=0",
        "phone-emmc,image-check=0,info=tlv",
        "phone-emmc,image-check=0,hdlc=always",
        "phone-emmc,image-check=0,glue-log=1",
        "phone-emmc,image-check=0,glue-log=3,hdlc=always",
        "phone-emmc,image-check=0,zlp=yes",
        "phone-emmc,image-check=0,zlp=no",
        "phone-emmc,image-check=0,in-chunk=64",
        "phone-emmc,image-check=0,drop-sync=4",
        "phone-emmc,image-check=0,resync",
        "phone-emmc,image-check=0,mps=64",
        "phone-emmc,image-check=0,line-state=drop,latency=20000",
};

START_TEST(test_phone) {
        BslDeviceInfo info = phone_to_fdl2(phones[_i]);

        ck_assert(info.present);
        ck_assert(info.disable_transcode == !strstr(phones[_i], "always"));
        phone_work(info.disable_transcode);
        ck_assert(!strstr(phones[_i], "glue-log") || logs > 0);
        end();
}
END_TEST

START_TEST(test_phone_plain_ack) {
        BslDeviceInfo info = phone_to_fdl2("phone-emmc,image-check=0,info=ack");

        ck_assert(!info.present);
        phone_work(false);
        end();
}
END_TEST

/* A loader of an earlier session is known by its refusal of CONNECT. */
START_TEST(test_phone_left_in_fdl2) {
        phone_to_fdl2("phone-emmc,image-check=0");
        OK(bsl_disable_transcode(session, &fail));
        session = bsl_session_free(session);
        session = bsl_session_new(&unit->channel, NULL);
        ck_assert_int_eq(bsl_sync(session, 20, 500, &fail), 1);
        ck_assert_int_eq(fail.class, CLASS_SILENT);
        OK(bsl_probe_fdl2(session, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_FDL2);
        phone_work(true);
        end();
}
END_TEST

static const struct {
        const char *fault, *class;
        int reply;
        bool tainted;
} faults[] = {
        {"at=fdl2:midst silence", "silent", -1, true},    {"at=fdl2:midst stall", "silent", -1, true},
        {"at=fdl2:midst drop-ack", "silent", -1, true},   {"at=fdl2:midst late=90000", "silent", -1, true},
        {"at=fdl2:midst slow=90000", "silent", -1, true}, {"at=fdl2:midst bad-sum", "garbled", -1, true},
        {"at=fdl2:midst garbage", "garbled", -1, true},   {"at=fdl2:midst truncate", "garbled", -1, true},
        {"at=fdl2:midst nak=84", "refused", 0x84, false}, {"at=fdl2:midst nak=a2", "refused", 0xa2, false},
        {"at=fdl2:midst disconnect", "gone", -1, false},
};

START_TEST(test_faults) {
        phone_to_fdl2("phone-emmc,image-check=0");
        OK(bsl_start_name(session, "misc", sizeof(block), NULL, &fail));
        sim_channel_fault(unit, faults[_i].fault);
        ck_assert_int_eq(bsl_midst(session, block, 0x1000, false, &fail), 1);
        ck_assert_str_eq(fail_class_to_string(fail.class), faults[_i].class);
        ck_assert_int_eq(fail.reply, faults[_i].reply);
        ck_assert_str_eq(fail.command, "MIDST_DATA");
        ck_assert_int_eq(bsl_session_tainted(session), faults[_i].tainted);
        if (faults[_i].tainted) {
                uint64_t sends = unit->sends;
                ck_assert(!strstr(faults[_i].fault, "0000") || bsl_listen(session, 60000, &fail));
                ck_assert_int_eq(bsl_end(session, &fail), 1);
                ck_assert_int_eq(bsl_reset(session, &fail), 1);
                ck_assert_uint_eq(unit->sends, sends);
        }
        end();
}
END_TEST

static const char *const harmless[] = {"at=fdl2:midst glue-log", "at=fdl2:midst unsolicited-log",
                                       "at=fdl2:midst slow=20000", "at=fdl2:* glue-log count=forever",
                                       "at=fdl2:* unsolicited-log count=forever"};

START_TEST(test_harmless_faults) {
        BslDeviceInfo info = phone_to_fdl2("phone-emmc,image-check=0");

        sim_channel_fault(unit, harmless[_i]);
        phone_work(info.disable_transcode);
        end();
}
END_TEST

/* A damaged read is asked for once more. */
START_TEST(test_read_again) {
        phone_to_fdl2("phone-emmc,image-check=0");
        OK(bsl_read_start(session, "misc", 0x1000, &fail));
        sim_channel_fault(unit, "at=fdl2:read-midst bad-sum");
        OK(bsl_read_midst(session, 0, got, 0x1000, &fail));
        sim_channel_fault(unit, "at=fdl2:read-midst nak=84");
        OK(bsl_read_midst(session, 0, got, 0x1000, &fail));
        sim_channel_fault(unit, "at=fdl2:read-midst truncate");
        ck_assert_int_eq(bsl_read_midst(session, 0, got, 0x1000, &fail), 1);
        ck_assert_int_eq(fail.class, CLASS_GARBLED);
        end();
}
END_TEST

START_TEST(test_rom_faults) {
        begin("phone-emmc,image-check=0,brom-refuse=a6");
        OK(bsl_open_port(session, &fail));
        OK(bsl_sync(session, 20, 30000, &fail));
        OK(bsl_connect(session, &fail));
        OK(bsl_start_address(session, 0x5500, 0x400, NULL, &fail));
        OK(bsl_midst(session, block, 0x400 - 0x200, false, &fail));
        OK(bsl_midst(session, block, 0x200, true, &fail));
        ck_assert_int_eq(bsl_end(session, &fail), 1);
        ck_assert_int_eq(fail.reply, 0xa6);
        end();
}
END_TEST

START_TEST(test_cancel) {
        phone_to_fdl2("phone-emmc,image-check=0");
        sim_channel_cancel(unit);
        ck_assert_int_eq(bsl_erase_name(session, "misc", 0, &fail), -ECANCELED);
        end();
}
END_TEST

/* ---- modules, with the bytes of real packages --------------------------------------------------------------- */

typedef struct Package {
        int fd;
        Pac *pac;
} Package;

static bool open_package(const char *name, Package *ret) {
        const char *folder = getenv("FDLD_TEST_PACS");
        char path[512];
        struct stat st;
        PacReader reader;

        if (!folder || !*folder) {
                fprintf(stderr, "FDLD_TEST_PACS is not set: %s is not tried\n", name);
                return false;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        ret->fd = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_msg(ret->fd >= 0, "%s: %s", path, strerror(errno));
        ck_assert_int_eq(fstat(ret->fd, &st), 0);
        reader = pac_reader_for_fd(&ret->fd, (uint64_t) st.st_size);
        ck_assert_msg(pac_parse(&reader, &ret->pac, &fail) == 0, "%s", fail.text);
        return true;
}

static void close_package(Package *p) {
        pac_free(p->pac);
        close(p->fd);
}

static uint8_t *file_bytes(const Package *p, const char *id, size_t *ret_size, uint32_t *ret_base) {
        const PacFile *f = pac_find_file(p->pac, id);
        uint8_t *data;

        ck_assert_msg(f && f->size > 0 && f->n_blocks > 0, "%s", id);
        data = malloc(f->size);
        ck_assert_int_eq(pread(p->fd, data, f->size, (off_t) f->offset), (ssize_t) f->size);
        *ret_size = f->size;
        *ret_base = (uint32_t) f->blocks[0].base;
        return data;
}

static void load_file(const Package *p, const char *id, size_t step) {
        uint32_t base;
        size_t size;
        uint8_t *data = file_bytes(p, id, &size, &base);

        OK(bsl_start_address(session, base, (uint32_t) (size + size % 2), NULL, &fail));
        send_image(data, size, step);
        free(data);
}

/* Writes one file of the package and reads it back from the chip. */
static void module_work(const Package *p, const char *id) {
        uint32_t base;
        size_t size, n;
        uint8_t *data = file_bytes(p, id, &size, &base);

        load_file(p, id, 0x800);
        for (size_t at = 0; at < size; at += 0x3000) {
                size_t want = MIN(size - at, 0x3000u);
                OK(bsl_read_flash(session, base, (uint32_t) at, got, want, false, &n, &fail));
                ck_assert_uint_eq(n, want);
                ck_assert_mem_eq(got, data + at, want);
        }
        free(data);
        OK(bsl_erase_address(session, 0xfe000006, 0x53595346, &fail));
        OK(bsl_read_flash(session, 0xfe000003, 0, got, 0x3000, true, &n, &fail));
        ck_assert_uint_gt(n, 0);
        ck_assert_int_eq(bsl_start_address(session, 0x50000000, 0x100, NULL, &fail), 1);
        ck_assert_int_eq(fail.reply, 0x89);
        ck_assert_int_eq(bsl_read_flash(session, 0xfe000001, 0, got, 16, false, &n, &fail), 1);
        ck_assert_int_eq(fail.reply, 0x82);
        OK(bsl_reset(session, &fail));
}

START_TEST(test_uis8850) {
        Package p;

        if (!open_package("uis8850_full.pac", &p))
                return;
        begin(_i ? "uis8850,glue-log=2,in-chunk=64" : "uis8850");
        OK(bsl_open_port(session, &fail));
        OK(bsl_sync(session, 20, 30000, &fail));
        ck_assert_int_eq(bsl_session_stage(session), BSL_STAGE_BROM);
        OK(bsl_connect(session, &fail));
        load_file(&p, "FDL", 0x210);
        OK(bsl_exec_brom(session, &fail));
        OK(bsl_sync(session, 1000, 10000, &fail));
        ck_assert_int_eq(bsl_session_check(session), BSL_CHECK_SUM);
        bsl_session_set_stage(session, BSL_STAGE_FDL2);
        OK(bsl_connect(session, &fail));
        module_work(&p, "BOOT");
        close_package(&p);
        end();
}
END_TEST

START_TEST(test_uis8910) {
        uint32_t base, index = 0;
        BslDeviceInfo info;
        uint8_t *data;
        size_t size;
        Package p;

        if (!open_package("uis8910_full.pac", &p))
                return;
        begin("uis8910");
        OK(bsl_open_port(session, &fail));
        OK(bsl_pdl_connect(session, &fail));
        data = file_bytes(&p, "HOST_FDL", &size, &base);
        OK(bsl_pdl_start(session, base, (uint32_t) size, &fail));
        for (size_t at = 0; at < size; at += 0x800)
                OK(bsl_pdl_midst(session, index++, data + at, MIN(size - at, 0x800u), &fail));
        free(data);
        OK(bsl_pdl_end(session, &fail));
        OK(bsl_pdl_exec(session, &fail));
        OK(bsl_sync(session, 1000, 10000, &fail));
        OK(bsl_connect(session, &fail));
        load_file(&p, "FDL2", 0x840);
        OK(bsl_exec_fdl2(session, &info, &fail));
        ck_assert(!info.present);
        OK(bsl_connect(session, &fail));
        module_work(&p, "BOOTLOADER");
        close_package(&p);
        end();
}
END_TEST

int main(void) {
        Suite *suite = suite_create("session on simulated units");
        TCase *tc = tcase_create("units");
        SRunner *runner;
        int failed;

        tcase_set_timeout(tc, 60);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_add_loop_test(tc, test_phone, 0, ELEMENTSOF(phones));
        tcase_add_test(tc, test_phone_plain_ack);
        tcase_add_test(tc, test_phone_left_in_fdl2);
        tcase_add_loop_test(tc, test_faults, 0, ELEMENTSOF(faults));
        tcase_add_loop_test(tc, test_harmless_faults, 0, ELEMENTSOF(harmless));
        tcase_add_test(tc, test_read_again);
        tcase_add_test(tc, test_rom_faults);
        tcase_add_test(tc, test_cancel);
        tcase_add_loop_test(tc, test_uis8850, 0, 2);
        tcase_add_test(tc, test_uis8910);
        suite_add_tcase(suite, tc);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
