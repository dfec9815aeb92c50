/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A running system is asked for download mode: what is sent, and what each way to take it means. Virtual time. */
#include <check.h>
#include <stdlib.h>

#include "bsl/soft-entry.h"

typedef struct Fake {
        Channel channel;
        uint64_t now, leaves_at; /* UINT64_MAX: stays */
        const char *says;        /* in pieces of 5 bytes, one each 100 ms; NULL nothing */
        size_t said;
        int send_error;
        uint8_t sent[64];
        size_t n_sent;
        unsigned sends;
} Fake;

static Fake *fake_of(Channel *c) {
        return (Fake *) c;
}

static int fake_send(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        Fake *f = fake_of(c);

        (void) timeout_ms;
        ck_assert_uint_le(size, sizeof(f->sent));
        memcpy(f->sent, data, size);
        f->n_sent = size;
        f->sends++;
        return f->send_error;
}

static int fake_receive(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret) {
        Fake *f = fake_of(c);
        size_t left = f->says ? strlen(f->says) - f->said : 0;

        ck_assert_uint_gt(size, 5);
        ck_assert_uint_le(timeout_ms, 200); /* somebody may cancel */
        f->now += left > 0 ? 100 : timeout_ms;
        if (f->now >= f->leaves_at)
                return -ENODEV;
        if (left == 0)
                return -ETIMEDOUT;
        *ret = MIN(left, (size_t) 5);
        memcpy(data, f->says + f->said, *ret);
        f->said += *ret;
        return 0;
}

static int fake_line(Channel *c, uint16_t value, uint32_t timeout_ms) {
        (void) c, (void) timeout_ms;
        ck_assert_uint_ne(value & 1, 0);
        return -EPIPE; /* many ports do not know it */
}

static uint64_t fake_now(Channel *c) {
        return fake_of(c)->now;
}

static int fake_pause(Channel *c, uint32_t ms) {
        fake_of(c)->now += ms;
        return 0;
}

static const ChannelOps ops = {.send = fake_send, .receive = fake_receive, .line_state = fake_line, .now = fake_now, .pause = fake_pause};

static Fake fake(void) {
        return (Fake) {.channel = {.ops = &ops, .max_packet = 512}, .leaves_at = UINT64_MAX};
}

START_TEST(test_bytes) {
        static const uint8_t wanted[] = {0x7e, 0, 0, 0, 0, 0x08, 0, 0xfe, 0x82, 0x7e};
        const SoftEntry *e = soft_entry_find(0x1782, 0x4d03);
        Failure f = FAILURE_INIT;
        Fake c = fake();

        ck_assert_ptr_nonnull(e);
        ck_assert_uint_eq(e->interface, 0);
        c.leaves_at = 700;
        ck_assert_int_eq(soft_entry_send(&c.channel, e, 5000, &f), 0);
        ck_assert_uint_eq(c.n_sent, sizeof(wanted));
        ck_assert_mem_eq(c.sent, wanted, sizeof(wanted));
        ck_assert_uint_eq(c.sends, 1); /* never twice: it may be busy erasing */
        ck_assert_ptr_null(soft_entry_find(0x1782, 0x4d00)); /* download mode itself */
        ck_assert_ptr_null(soft_entry_find(0x18d1, 0x4ee0));
        e = soft_entry_find(0x2c7c, 0x0901);
        ck_assert_ptr_nonnull(e);
        ck_assert_mem_eq(e->message, "AT+QDOWNLOAD=1\r", e->size);
}
END_TEST

/* One that knows another word for it. */
START_TEST(test_other_words) {
        Failure f = FAILURE_INIT;
        Fake c = fake();

        c.says = "\r\nERROR\r\n";
        c.leaves_at = 900;
        ck_assert_int_eq(soft_entry_send(&c.channel, soft_entry_find(0x2c7c, 0x0901), 5000, &f), 0);
        ck_assert_uint_eq(c.sends, 2);
        ck_assert_mem_eq(c.sent, "AT*DOWNLOAD=1\r", c.n_sent);
        c = fake();
        c.says = "\r\nERROR\r\n\r\nERROR\r\n\r\nERROR\r\n";
        ck_assert_int_eq(soft_entry_send(&c.channel, soft_entry_find(0x2c7c, 0x0901), 5000, &f), 1);
        ck_assert_uint_eq(c.sends, 3);
        ck_assert_mem_eq(c.sent, "AT+SPREF=\"AUTODLOADER\"\r", c.n_sent);
        ck_assert_int_eq(f.class, CLASS_REFUSED);
        ck_assert_uint_lt(c.now, 2000); /* there is nothing more to wait for */
}
END_TEST

static const struct {
        uint16_t vendor, product;
        const char *says;
        int send_error;
        FailClass class;
} ways[] = {
        {0x1782, 0x4d03, NULL, 0, CLASS_SILENT},
        {0x1782, 0x4d03, "~an echo, and no more~", 0, CLASS_SLOW},
        {0x2c7c, 0x0904, "\r\n+CPIN: READY\r\n\r\nERROR\r\n", 0, CLASS_REFUSED},
        {0x2c7c, 0x0904, "\r\nOK\r\n", 0, CLASS_SLOW},
        {0x1782, 0x4d03, "ERROR", 0, CLASS_SLOW}, /* not in words */
        {0x1782, 0x4d03, NULL, -ENODEV, CLASS_GONE},
        {0x1782, 0x4d03, NULL, -ETIMEDOUT, CLASS_SILENT},
        {0x1782, 0x4d03, NULL, -ENOMEM, CLASS_HOST},
};

START_TEST(test_ways) {
        const SoftEntry *e = soft_entry_find(ways[_i].vendor, ways[_i].product);
        Failure f = FAILURE_INIT;
        Fake c = fake();

        c.says = ways[_i].says;
        c.send_error = ways[_i].send_error;
        ck_assert_int_eq(soft_entry_send(&c.channel, e, 3000, &f), 1);
        ck_assert_int_eq(f.class, ways[_i].class);
        if (f.class != CLASS_HOST)
                ck_assert_str_eq(f.detail, "soft-entry");
        ck_assert_uint_le(c.now, 3200); /* time-boxed */
}
END_TEST

int main(void) {
        Suite *s = suite_create("soft-entry");
        TCase *t = tcase_create("soft-entry");
        SRunner *r;
        int failed;

        tcase_add_test(t, test_bytes);
        tcase_add_test(t, test_other_words);
        tcase_add_loop_test(t, test_ways, 0, (int) ELEMENTSOF(ways));
        suite_add_tcase(s, t);
        r = srunner_create(s);
        srunner_run_all(r, CK_NORMAL);
        failed = srunner_ntests_failed(r);
        srunner_free(r);
        return failed > 0;
}
