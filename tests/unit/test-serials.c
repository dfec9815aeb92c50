/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <check.h>

#include "firmware/phase-check.h"
#include "firmware/serials.h"

/* Serial numbers as text, and the area that holds them in a unit. Offsets are written out here: they are what firmware looks at. */

START_TEST(test_sp09) {
        uint8_t area[0x100];
        char serial[PHASE_SERIAL_MAX + 1];
        PhaseLayout layout;

        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP09, "AB12", "CAL Download MMI"), 0);
        ck_assert_mem_eq(area, "90PS", 4);
        ck_assert_mem_eq(area + 4, "AB12\0", 5);
        ck_assert_uint_eq(area[28], 0);
        ck_assert_uint_eq(get_le32(area + 52), 3);
        ck_assert_str_eq((char *) area + 56, "CAL");
        ck_assert_str_eq((char *) area + 66, "Download");
        ck_assert_str_eq((char *) area + 76, "MMI");
        ck_assert_uint_eq(area[219], 1);
        ck_assert_str_eq((char *) area + 220, "PASS");
        ck_assert_uint_eq(get_le16(area + 252), 0xfffd);
        ck_assert_uint_eq(get_le16(area + 254), 0x7ffd);
        ck_assert(phase_check_layout(area, sizeof(area), &layout) && layout == PHASE_SP09);
        phase_check_serial(area, sizeof(area), serial);
        ck_assert_str_eq(serial, "AB12");
        ck_assert(!phase_check_layout(area, sizeof(area) - 1, &layout));
}
END_TEST

START_TEST(test_sp15) {
        uint8_t area[0x2000];
        char serial[PHASE_SERIAL_MAX + 1], longest[64];

        memset(longest, 'X', 63);
        longest[63] = '\0';
        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP15, longest, "DOWNLOAD"), 0);
        ck_assert_mem_eq(area, "51PS", 4);
        ck_assert_uint_eq(area[4 + 63], 0);
        ck_assert_uint_eq(area[68], 0); /* the second serial number */
        ck_assert_uint_eq(get_le32(area + 132), 1);
        ck_assert_str_eq((char *) area + 136, "DOWNLOAD");
        ck_assert_uint_eq(area[449], 1);
        ck_assert_str_eq((char *) area + 450, "PASS");
        ck_assert_uint_eq(get_le32(area + 484), 0xfffffffe);
        ck_assert_uint_eq(get_le32(area + 488), 0xfffffffe);
        for (size_t i = 492; i < sizeof(area); i++)
                ck_assert_uint_eq(area[i], 0xff);
        phase_check_serial(area, sizeof(area), serial);
        ck_assert_str_eq(serial, longest);
        /* What a unit holds is not believed. */
        memset(area + 4, 'Y', 64);
        phase_check_serial(area, sizeof(area), serial);
        ck_assert_str_eq(serial, "");
        memcpy(area + 4, "A\x1b[2J\0", 6);
        phase_check_serial(area, sizeof(area), serial);
        ck_assert_str_eq(serial, "");
        memset(area, 0xff, sizeof(area));
        phase_check_serial(area, sizeof(area), serial);
        ck_assert_str_eq(serial, "");
}
END_TEST

START_TEST(test_does_not_fit) {
        uint8_t area[0x100];

        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP15, "A", "DOWNLOAD"), -EINVAL);
        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP09, "123456789012345678901234", "DOWNLOAD"), -EINVAL);
        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP09, "A", "TENLETTERS"), -EINVAL);
        ck_assert_int_eq(phase_check_make(area, sizeof(area), PHASE_SP09, "A", "  "), -EINVAL);
        ck_assert(phase_check_stations_valid("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"));
        ck_assert(!phase_check_stations_valid("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"));
        ck_assert(!phase_check_stations_valid("TENLETTERS"));
        ck_assert(!phase_check_stations_valid("A\tB"));
        ck_assert(!phase_check_stations_valid(""));
}
END_TEST

START_TEST(test_range) {
        char serial[64], why[320];
        size_t longest;
        uint64_t n;

        ck_assert_int_eq(serials_check("AB24:0098-0101", &n, &longest, why, sizeof(why)), 0);
        ck_assert_uint_eq(n, 4);
        ck_assert_uint_eq(longest, 8);
        ck_assert(serials_get("AB24:0098-0101", 0, serial));
        ck_assert_str_eq(serial, "AB240098");
        ck_assert(serials_get("AB24:0098-0101", 3, serial));
        ck_assert_str_eq(serial, "AB240101");
        ck_assert(!serials_get("AB24:0098-0101", 4, serial));
        ck_assert_int_eq(serials_check(":1-9", &n, &longest, why, sizeof(why)), 0);
        ck_assert(serials_get(":1-9", 8, serial));
        ck_assert_str_eq(serial, "9");
        ck_assert_int_eq(serials_check("A:000000000000000000-999999999999999999", &n, &longest, why, sizeof(why)), 0);
        ck_assert_uint_eq(n, 1000000000000000000);
}
END_TEST

START_TEST(test_list) {
        char serial[64], why[320];
        size_t longest;
        uint64_t n;

        ck_assert_int_eq(serials_check("\nA-1, B_2\r\nC.3 D/4\n", &n, &longest, why, sizeof(why)), 0);
        ck_assert_uint_eq(n, 4);
        ck_assert(serials_get("\nA-1, B_2\r\nC.3 D/4\n", 2, serial));
        ck_assert_str_eq(serial, "C.3");
        ck_assert(!serials_get("\nA-1, B_2\r\nC.3 D/4\n", 4, serial));
}
END_TEST

START_TEST(test_no_serials) {
        static const char *const bad[] = {
                "", " ,\n", "A:1-", "A:-1", "A:1", "A:2-1", "A:1-10", "A:1-2-3", "A:1-2 B", "A B:1-2", "é", "A;B", "0001-0500",
                "A:0000000000000000000-9999999999999999999", "1234567890123456789012345678901234567890123456789012345678901234",
                "123456789012345678901234567890123456789012345678901234567890:0001-0002",
        };
        char why[320];
        size_t longest;
        uint64_t n;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                why[0] = '\0';
                ck_assert_msg(serials_check(bad[i], &n, &longest, why, sizeof(why)) == -EINVAL, "\"%s\" was taken", bad[i]);
                ck_assert(why[0]);
        }
}
END_TEST

int main(void) {
        Suite *s = suite_create("serials");
        TCase *t = tcase_create("serials");
        SRunner *runner;
        int failed;

        tcase_add_test(t, test_sp09);
        tcase_add_test(t, test_sp15);
        tcase_add_test(t, test_does_not_fit);
        tcase_add_test(t, test_range);
        tcase_add_test(t, test_list);
        tcase_add_test(t, test_no_serials);
        suite_add_tcase(s, t);
        runner = srunner_create(s);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? 1 : 0;
}
