/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "rate.h"
#include "firmware/nv.h"
#include "firmware/pac.h"

/* How fast what is done to whole files is, beside memcpy and SHA-256 in the same run.
 *
 *   bench-firmware PACKAGE   lines "NAME WHAT GB/s SPREAD% TIMES-MEMCPY", each the median of several runs */

#define RUNS 7
#define NV_SIZE (512U * 1024)
#define NV_ITEM 1000U
#define NV_KEPT 64U

static uint8_t *nv, *unit, *merged, *copy;
static const uint8_t *package;
static size_t package_size;
static PacNvItem kept[NV_KEPT + 2];

static void must(bool good, const char *what) {
        if (good)
                return;
        fprintf(stderr, "bench-firmware: %s\n", what);
        exit(1);
}

static size_t put_item(uint8_t *image, size_t at, uint16_t id, uint16_t size, uint8_t fill) {
        put_le16(image + at, id);
        put_le16(image + at + 2, size);
        memset(image + at + 4, fill, size);
        return at + 4 + (size + 3U) / 4 * 4;
}

/* Calibration data as a phone has them: an IMEI, a calibration, and many other items up to the end. */
static uint8_t *make_nv(uint8_t fill) {
        uint8_t *image = malloc(NV_SIZE);
        size_t at = 4;

        must(image, "no memory");
        memset(image, 0xff, NV_SIZE);
        memset(image, 0, 4);
        at = put_item(image, at, 5, 8, fill);
        at = put_item(image, at, 2, 6020, fill);
        put_le16(image + at - 6020, 0xff0a);
        for (uint16_t id = 0x1000; at + NV_ITEM + 8 < NV_SIZE; id++)
                at = put_item(image, at, id, NV_ITEM, fill);
        return image;
}

static void make_list(void) {
        kept[0] = (PacNvItem){.name = "Calibration", .id = UINT32_MAX, .backup = true, .use = true};
        kept[1] = (PacNvItem){.name = "IMEI", .id = UINT32_MAX, .backup = true, .use = true};
        for (unsigned i = 0; i < NV_KEPT; i++) {
                kept[i + 2] = (PacNvItem){.id = 0x1000 + 3 * i, .backup = true, .use = true};
                snprintf(kept[i + 2].name, sizeof(kept[i + 2].name), "Item %u", i);
        }
}

static void do_memcpy(void) {
        memcpy(copy, package, package_size);
}

static void do_sha256(void) {
        uint8_t sum[32];

        must(EVP_Digest(package, package_size, sum, NULL, EVP_sha256(), NULL) == 1, "no SHA-256");
}

static void do_check(void) {
        PacReader reader = pac_reader_for_memory(package, package_size);
        _cleanup_(pac_freep) Pac *pac = NULL;
        Failure f = FAILURE_INIT;
        uint8_t sum[32];

        must(pac_parse(&reader, &pac, &f) == 0 && pac_verify(&reader, pac, sum, &f) == 0, f.text);
}

static void do_merge(void) {
        Failure f = FAILURE_INIT;

        memcpy(merged, nv, NV_SIZE);
        must(nv_merge(merged, NV_SIZE, unit, NV_SIZE, kept, ELEMENTSOF(kept), FLASH_MODE_UPGRADE, &f) == 0, f.text);
        must(nv_seal(merged, NV_SIZE) != 0, "no sum");
}

static void map_package(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        void *p;

        must(fd >= 0 && fstat(fd, &st) == 0, "the package cannot be read");
        package_size = (size_t) st.st_size;
        p = mmap(NULL, package_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
        must(p != MAP_FAILED, "the package cannot be mapped");
        package = p;
        close(fd);
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *name, *what;
                void (*run)(void);
        } works[] = {{"memcpy", "package", do_memcpy}, {"sha-256", "package", do_sha256}, {"pac-check", "package", do_check}, {"nv-merge", "512-KiB", do_merge}};
        double base = 0;

        if (argc != 2)
                return 2;
        map_package(argv[1]);
        copy = malloc(package_size);
        merged = malloc(NV_SIZE);
        must(copy && merged, "no memory");
        nv = make_nv(0x11);
        unit = make_nv(0x22);
        make_list();
        for (size_t i = 0; i < ELEMENTSOF(works); i++) {
                double spread, rate = bench_rate(works[i].run, works[i].run == do_merge ? NV_SIZE : package_size, RUNS, &spread);

                if (i == 0)
                        base = rate;
                printf("%s %s %.2f %.0f %.2f\n", works[i].name, works[i].what, rate, spread, rate / base);
        }
        return 0;
}
