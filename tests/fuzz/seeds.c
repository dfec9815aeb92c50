/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where fuzzers begin: one good input of each kind, made anew, so that no package lies in the source tree. usage: fuzz-seeds FOLDER */
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "pacmaker/pacmaker.h"

static const char *top;

static void put(const char *kind, const char *name, const void *data, size_t size) {
        char path[4096];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%s", top, kind);
        (void) mkdir(path, 0777);
        snprintf(path, sizeof(path), "%s/%s/%s", top, kind, name);
        f = fopen(path, "we");
        MUST(f && fwrite(data, 1, size, f) == size && fclose(f) == 0);
}

static void put_xml(PacMaker *m, char **xml, size_t *size, void *userdata) {
        (void) m;
        put("xml", userdata, *xml, *size);
}

static void packages(void) {
        static const char *const families[] = {"uis8910", "uis8850", "phone", "phone-ab", "phone-nand", "phone-old", "feature"};

        for (unsigned i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
                PacMaker *m = pm_new_family(families[i], i + 1);
                uint8_t *data;
                size_t size;

                if (!m)
                        continue;
                for (unsigned k = 0; k < m->n_files; k++)
                        if (m->files[k].data == PM_RANDOM && m->files[k].size > 64)
                                m->files[k].size = 64;
                m->change_xml = put_xml;
                m->userdata = (void *) (uintptr_t) families[i];
                MUST(pm_build(m, &data, &size) == 0);
                put("pac", families[i], data, size);
                free(data);
                pm_free(m);
        }
}

static void images(void) {
        static const PmNvEntry items[] = {{0x2, 8}, {0x5, 8}, {0x26d, 12}, {0x6, 4}, {0xfe, 3}, {0x12, 16}, {0, 0}};
        PacMaker *m = pm_new("seed");
        PmFile *nv = pm_add(m, "NV", "NV", 0, 0x1000), *sparse = pm_add(m, "S", "CODE", 0, 0x10000);
        uint8_t *data, twice[8192];
        uint64_t size;

        pm_random(nv, "nv.bin", 1024);
        nv->data = PM_NV;
        nv->nv = items;
        data = pm_content(m, nv, &size);
        if (data && size <= 4096) {
                memcpy(twice, data, size);
                memcpy(twice + size, data, size);
                put("nv", "twice", twice, 2 * size);
                free(data);
        }
        pm_random(sparse, "sparse.img", 64 * 1024);
        sparse->data = PM_SPARSE;
        data = pm_content(m, sparse, &size);
        MUST(data);
        put("sparse", "image", data, size);
        free(data);
        pm_free(m);
}

static void put16(uint8_t *p, unsigned c) {
        p[0] = (uint8_t) c;
        p[1] = 0;
}

static void tables(void) {
        static uint8_t disk[1 + 0x8000];

        for (unsigned large = 0; large < 2; large++) {
                size_t sector = large ? 4096 : 512;
                uint8_t *h = disk + 1 + sector, *entry = disk + 1 + 2 * sector;

                memset(disk, 0, sizeof(disk));
                disk[0] = (uint8_t) (1 | large << 1); /* sums are made right */
                memcpy(h, "EFI PART\0\0\1\0\x5c", 13);
                h[24] = 1;
                memcpy(h + 40, "\x22", 1);
                memcpy(h + 48, "\xff\xff", 2);
                h[72] = 2;
                h[80] = 128;
                h[84] = 128;
                for (unsigned i = 0; i < 3; i++, entry += 128) {
                        memset(entry, 0x11 + (int) i, 32);
                        entry[32] = (uint8_t) (0x40 + i * 0x20);
                        entry[40] = (uint8_t) (0x5f + i * 0x20);
                        put16(entry + 56, 'a' + i);
                }
                put("gpt", large ? "4096" : "512", disk, sizeof(disk));
        }
}

static void talk(void) {
        /* see hostile.h: greetings with a CRC, then acknowledgements in abundance */
        static const uint8_t phone[] = {0, 0x1c, 0x81, 'S', 'P', 'R', 'D', '3', 0, 0x8f, 0x13, 0x81, 'F', 'D', 'L', 0x8f, 0x8f, 0x11, 0x93, 1, 0x8f, 0x8f, 0x8f};
        static const uint8_t module[] = {1, 0x9b, 0xae, 4, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0x8f, 0x8f};
        static const uint8_t rom[] = {6, 0, 1, 2, 7, 3, 4, 0, 0x10, 0x10, 0x43, 0x10, 0x92, 'x', 0x10, 0x31, 0x21, 1, 2, 3, 4, 0};
        static const uint8_t commands[] = {0, 12, 0, 1, 2, 4, 5, 6, 7, 0, 1, 8, 9, 16, 0x18, 0x81, 'v', 'e', 'r', 0x8f, 0x11, 0x80, 0};
        static const uint8_t info[] = {0x15, 0, 0, 0, 0x01, 0, 0, 0, 0x02, 1, 0, 0, 0x54, 0x4f, 0x57, 0x54, 0, 0, 1, 0};
        static const uint8_t frames[] = {1, 0x7e, 0, 0x80, 0, 0, 0xff, 0x7f, 0x7e, 0x7e, 0, 0x81, 0, 3, 'v', 0x7d, 0x5e, 'r', 1, 2, 0x7e};
        static const uint8_t options[] = {1, 3, 0, 6, 1, 0, 1, 0, 1, 3, 6, 1, 9};
        static const char settings[] = "[Station]\nName=one\nMaxParallelJobs=4\nRawData=yes\nVerify=full\n[Store]\nPackageQuota=2G\n[Timeouts]\n"
                                       "StartMSec=1500\n[Devices]\nAllowIds=0525:a4a7\n[Slot pci-0000:00:14.0-usb-0:1]\nAllowIds=1782:4d16\n";
        static const char trace[] = "fdld-trace 1\nversion 1\njob 4 flash\nstarted 2026-11-27T03:21:39Z\ndevice 1782:4d00 480\npackage x.pac\nfamily phone\n"
                                    "deadline sync_brom 20\nfailure gone write 13 write-gone 8a MIDST_DATA\nbegin\n"
                                    "     0.000 step 1 handshake \n     0.000 open ok\n     0.000 sync 1\n     0.001 < crc esc 0081 6 535052443300\n"
                                    "     0.001 > crc esc 0002 528 ~7456841227ce8efc\nrun 3 2 0.400\n     0.002 > sum plain 0010 8 0000100000002000\n"
                                    "     0.002 < sum plain 0093 4 ?\n     0.500 differs 4097\n     0.510 ! crc esc 0080 0\n     0.520 raw 2048 ~0011223344556677\n     0.530 garbage 7\n"
                                    "     0.540 cut 16\n     0.550 pdl> 4 8617984 4096 5\n     0.560 pdl< 0\nlost 12\n     0.570 error damaged\n"
                                    "     0.580 expired 1000 sending\n     0.590 back\n     0.600 nv 2 8\n     0.610 gpt 64 95 boot\n     0.700 error gone\nend\n";
        static const char profile[] = "[Profile]\nDescription=night\nMode=upgrade\nCount=10\nStopAfter=3/10\nRetry=1\nFirstArticle=yes\n";

        put("engine", "phone", phone, sizeof(phone));
        put("engine", "module", module, sizeof(module));
        put("session", "phone", commands, sizeof(commands));
        put("pdl", "whole", rom, sizeof(rom));
        put("trace", "words", trace, sizeof(trace) - 1);
        put("session", "module", module, sizeof(module));
        put("device-info", "words", info, sizeof(info));
        put("frame", "three", frames, sizeof(frames));
        put("options", "three", options, sizeof(options));
        put("settings", "station", settings, sizeof(settings) - 1);
        put("settings", "profile", profile, sizeof(profile) - 1);
}

int main(int argc, char **argv) {
        if (argc != 2) {
                fprintf(stderr, "usage: fuzz-seeds FOLDER\n");
                return 2;
        }
        top = argv[1];
        (void) mkdir(top, 0777);
        packages();
        images();
        tables();
        talk();
        return EXIT_SUCCESS;
}
