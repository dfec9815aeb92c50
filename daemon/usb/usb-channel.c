/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "usb/usb-channel.h"

#include <fcntl.h>
#include <libusb.h>
#include <linux/usbdevice_fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "usb/host-causes.h"

/* Room for replies, a multiple of every packet size, so that a longer one goes on in the next transfer instead of overflowing.
 * Most are a few bytes, and the kernel sets the room aside each time; the large one is for a device that is being read. */
#define IN_SMALL (4 * 1024)
#define IN_SIZE (65 * 1024)
/* The largest escaped frame (2 * 65541 + 2). */
#define OUT_SIZE (132 * 1024)
/* So long a cancelled transfer may take to come back; the kernel does it within a millisecond. */
#define CANCEL_MAX_MS 5000
/* When a device is pulled, transfers fail some time before the kernel says that it is gone. */
#define VANISH_MS 500
/* What is streamed goes out in pieces: enough in flight to keep the bus busy while one is replaced, and little enough that 64
 * devices stay below the kernel's limit of 16 MiB for all transfers. Each piece costs a few system calls, so few devices have larger ones.
 * Powers of two, multiples of every packet size. */
#define PIECES 3
#define PIECE_SMALL (64u * 1024)
#define PIECE_LARGE (2048u * 1024)
#define STREAMED_MAX (8u * 1024 * 1024) /* in flight, of all devices: the rest is for those that do something else */
/* A device that answers in the middle of a stream has given up on it; so long it may still take more. */
#define EARLY_ANSWER_MS 500
/* After so much silence, and twice as much each time, it is looked whether the silence is one. */
#define QUIET_MS 200
/* Who asks whether something has come so soon after it was looked is told what was seen then. */
#define LOOKED_MS 1

typedef struct Transfer {
        struct libusb_transfer *urb;
        int completed; /* set by libusb's event handling, which only this channel's thread runs */
        bool submitted;
} Transfer;

struct UsbChannel {
        Channel channel;
        _Atomic bool cancelled;
        int fd;
        char *devnode, *sysfs;
        libusb_context *context;
        libusb_device_handle *handle;
        int interface;
        bool claimed, detached, stuck;
        uint8_t ep_in, ep_out;
        Transfer in[2], out, control, pieces[PIECES];
        unsigned turn; /* which of the two for answers is with the kernel, or will be next */
        bool lent;     /* the bytes of the other are still looked at */
        uint64_t looked; /* when all that had come was last taken from the kernel */
        uint64_t out_until;
        const uint8_t *received;
        size_t in_at, in_end; /* of it, not yet taken by the caller */
        uint8_t in_small[2][IN_SMALL], *in_large; /* the latter only while a device is being read */
        uint8_t control_buffer[LIBUSB_CONTROL_SETUP_SIZE + 2];
};

static UsbChannel *usb_channel_of(Channel *c) {
        return (UsbChannel *) (void *) ((char *) c - offsetof(UsbChannel, channel));
}

static uint64_t usb_now(_unused_ Channel *c) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}

static int error_of(int libusb_error) {
        switch (libusb_error) {
        case LIBUSB_ERROR_NO_DEVICE:
        case LIBUSB_ERROR_NOT_FOUND:
                return -ENODEV;
        case LIBUSB_ERROR_ACCESS:
                return -EACCES;
        case LIBUSB_ERROR_BUSY:
                return -EBUSY;
        case LIBUSB_ERROR_NO_MEM:
                return -ENOMEM;
        case LIBUSB_ERROR_TIMEOUT:
                return -ETIMEDOUT;
        case LIBUSB_ERROR_PIPE:
                return -EPIPE;
        case LIBUSB_ERROR_OVERFLOW:
                return -EOVERFLOW;
        case LIBUSB_ERROR_INVALID_PARAM:
                return -EINVAL;
        default:
                return libusb_error < 0 ? -EIO : 0;
        }
}

static void LIBUSB_CALL on_completed(struct libusb_transfer *urb) {
        Transfer *t = urb->user_data;

        t->completed = 1;
}

static int handle_events(UsbChannel *u, uint64_t ms, int *completed) {
        struct timeval tv = {.tv_sec = (time_t) (ms / 1000), .tv_usec = (suseconds_t) (ms % 1000 * 1000)};
        int r = libusb_handle_events_timeout_completed(u->context, &tv, completed);

        if (r == 0)
                u->looked = usb_now(NULL);
        return r == LIBUSB_ERROR_INTERRUPTED ? 0 : error_of(r);
}

/* 0 it completed; -ETIMEDOUT; -ECANCELED. The transfer stays submitted in the last two cases. */
static int wait_completed(UsbChannel *u, Transfer *t, uint64_t until) {
        bool polled = false;

        while (!t->completed) {
                uint64_t now = usb_now(NULL);
                int r;

                if (atomic_load(&u->cancelled))
                        return -ECANCELED;
                if (now >= until && polled)
                        return -ETIMEDOUT;
                /* Cancelling interrupts the wait; the second is for safety only. */
                r = handle_events(u, now >= until ? 0 : MIN(until - now, 1000u), &t->completed);
                if (r < 0)
                        return r;
                polled = true;
        }
        return 0;
}

/* Takes a transfer back. False: it never came back; its memory must not be touched any more. */
static bool take_back(UsbChannel *u, Transfer *t) {
        uint64_t until = usb_now(NULL) + CANCEL_MAX_MS;

        if (!t->submitted)
                return true;
        if (!t->completed)
                libusb_cancel_transfer(t->urb);
        while (!t->completed && usb_now(NULL) < until)
                if (handle_events(u, 100, &t->completed) < 0)
                        break;
        u->stuck = u->stuck || !t->completed;
        t->submitted = !t->completed;
        return t->completed;
}

static bool is_gone(const UsbChannel *u) {
        uint32_t caps;

        if (ioctl(u->fd, USBDEVFS_GET_CAPABILITIES, &caps) < 0 && (errno == ENODEV || errno == ESHUTDOWN))
                return true;
        return access(u->devnode, F_OK) < 0 && errno == ENOENT;
}

static int submit(UsbChannel *u, Transfer *t, uint64_t until) {
        for (;;) {
                int r;

                if (u->stuck)
                        return -EIO;
                t->completed = 0;
                r = libusb_submit_transfer(t->urb);
                if (r == 0) {
                        t->submitted = true;
                        return 0;
                }
                /* All devices share the kernel's memory limit for transfers: others will give theirs back soon. */
                if (r != LIBUSB_ERROR_NO_MEM || usb_now(NULL) >= until)
                        return r == LIBUSB_ERROR_IO && is_gone(u) ? -ENODEV : error_of(r);
                r = u->channel.ops->pause(&u->channel, 5);
                if (r < 0)
                        return r;
        }
}

/* A transfer failed on the wire. Was that the device leaving? */
static int damaged_or_gone(UsbChannel *u) {
        uint64_t until = usb_now(NULL) + VANISH_MS;

        do {
                if (is_gone(u))
                        return -ENODEV;
                if (atomic_load(&u->cancelled))
                        return -ECANCELED;
                usleep(10 * 1000);
        } while (usb_now(NULL) < until);
        return -EPROTO;
}

static int status_of(UsbChannel *u, const Transfer *t) {
        switch (t->urb->status) {
        case LIBUSB_TRANSFER_COMPLETED:
                return 0;
        case LIBUSB_TRANSFER_NO_DEVICE:
                return -ENODEV;
        case LIBUSB_TRANSFER_STALL:
                /* Only the halt of this endpoint is lifted. Never a reset or a new configuration: loaders that
                 * inherited the controller from the ROM do not survive it. */
                if (t != &u->control && libusb_clear_halt(u->handle, t->urb->endpoint) == LIBUSB_ERROR_NO_DEVICE)
                        return -ENODEV;
                return -EPIPE;
        case LIBUSB_TRANSFER_OVERFLOW:
                return -EOVERFLOW;
        case LIBUSB_TRANSFER_TIMED_OUT:
                return -ETIMEDOUT;
        default:
                return damaged_or_gone(u);
        }
}

/* Waits for a transfer that must not stay in flight, and takes it back if it does not end. */
static int finish(UsbChannel *u, Transfer *t, uint64_t until) {
        int w = wait_completed(u, t, until);

        if (w < 0) {
                if (!take_back(u, t))
                        return -EIO;
                /* It may have been through just before it was taken back; a cancel stays a cancel. */
                if (w != -ETIMEDOUT || t->urb->status == LIBUSB_TRANSFER_CANCELLED)
                        return w;
        }
        t->submitted = false;
        return status_of(u, t);
}

static int run_transfer(UsbChannel *u, Transfer *t, uint32_t timeout_ms) {
        uint64_t until = usb_now(NULL) + timeout_ms;
        int r;

        if (atomic_load(&u->cancelled))
                return -ECANCELED;
        r = submit(u, t, until);
        return r < 0 ? r : finish(u, t, until);
}

/* The kernel takes what it sends from where it lies, at once: nothing is copied here. No memory of the kernel's
 * (libusb_dev_mem_alloc) is used: it would count against the limit of all transfers for as long as the device is open. */
static void fill_out(UsbChannel *u, Transfer *t, const void *data, size_t size, bool ends) {
        libusb_fill_bulk_transfer(t->urb, u->handle, u->ep_out, (uint8_t *) data, (int) size, on_completed, t, 0);
        /* A frame that fills its last packet would leave the device waiting for more. */
        t->urb->flags = ends ? LIBUSB_TRANSFER_ADD_ZERO_PACKET : 0;
}

static int usb_submit(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        UsbChannel *u = usb_channel_of(c);

        if (size == 0 || size > OUT_SIZE)
                return -EMSGSIZE;
        if (u->stuck)
                return -EIO;
        if (atomic_load(&u->cancelled))
                return -ECANCELED;
        u->out_until = usb_now(NULL) + timeout_ms;
        fill_out(u, &u->out, data, size, true);
        return submit(u, &u->out, u->out_until);
}

static int usb_settle(Channel *c) {
        UsbChannel *u = usb_channel_of(c);
        int r = finish(u, &u->out, u->out_until);

        return r == 0 && u->out.urb->actual_length != u->out.urb->length ? -EPROTO : r;
}

static int usb_send(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        int r = usb_submit(c, data, size, timeout_ms);

        return r < 0 ? r : usb_settle(c);
}

/* Between blocks the next answer's transfer is with the kernel before anybody has looked at this one: libusb takes what has come until there
 * is no more, so whatever follows on the heels of an answer is seen at once, and that nothing does is known without asking again. Not
 * otherwise: a loader that starts another one may disturb what waits for it. */
static void LIBUSB_CALL on_answered(struct libusb_transfer *urb) {
        UsbChannel *u = urb->user_data;
        unsigned i = urb == u->in[1].urb;
        Transfer *t = u->in + i, *other = u->in + !i;

        t->completed = 1;
        if (urb->status != LIBUSB_TRANSFER_COMPLETED || other->submitted || u->lent || !u->channel.goes_on)
                return;
        libusb_fill_bulk_transfer(other->urb, u->handle, u->ep_in, u->in_small[!i], IN_SMALL, on_answered, u, 0);
        other->completed = 0;
        other->submitted = libusb_submit_transfer(other->urb) == 0; /* else when it is needed */
}

/* The large buffer comes with the first large answer that is expected and goes when they end: in between there are thousands. */
static uint8_t *choose_buffer(UsbChannel *u, int *ret_size) {
        if (u->channel.expected <= IN_SMALL / 2) {
                free(u->in_large);
                u->in_large = NULL;
        } else if (!u->in_large)
                u->in_large = malloc(IN_SIZE);
        *ret_size = u->in_large ? IN_SIZE : IN_SMALL;
        return u->in_large ?: u->in_small[u->turn];
}

/* Neither of the two may be with the kernel, nor its bytes be needed. */
static int fetch_begin(UsbChannel *u, uint64_t until) {
        Transfer *t = u->in + u->turn;
        int size;
        uint8_t *buffer = choose_buffer(u, &size);

        libusb_fill_bulk_transfer(t->urb, u->handle, u->ep_in, buffer, size, on_answered, u, 0);
        u->looked = 0;
        return submit(u, t, until);
}

/* Some loaders send no zero-length packet after a reply that fills its last packet (bsl-protocol §2.4): the transfer is not complete then,
 * and only taking it back shows what has come. -ETIMEDOUT: nothing. */
static int fetch_unended(UsbChannel *u, Transfer *t) {
        if (!take_back(u, t))
                return -EIO;
        if (t->urb->status != LIBUSB_TRANSFER_CANCELLED)
                return status_of(u, t);
        return t->urb->actual_length > 0 ? 0 : -ETIMEDOUT;
}

static int fetch_within(UsbChannel *u, Transfer *t, uint64_t until) {
        int r = -ETIMEDOUT;

        for (uint64_t quiet = QUIET_MS; r == -ETIMEDOUT; quiet *= 2) {
                uint64_t look = usb_now(NULL) + quiet;

                r = t->submitted ? 0 : fetch_begin(u, until);
                if (r == 0)
                        r = wait_completed(u, t, MIN(until, look));
                if (r == -ETIMEDOUT && look <= until) {
                        r = fetch_unended(u, t);
                        continue;
                }
                if (r < 0)
                        return r;
                t->submitted = false;
                r = status_of(u, t);
        }
        return r;
}

/* The transfer stays with the kernel between calls: asking whether something arrived costs no transfer. */
static int fetch(UsbChannel *u, uint64_t until) {
        Transfer *t = u->in + u->turn;
        int r = fetch_within(u, t, until);

        if (r < 0)
                return r;
        u->received = t->urb->buffer;
        u->in_at = 0;
        u->in_end = (size_t) t->urb->actual_length;
        u->lent = true;
        u->turn = !u->turn;
        return 0;
}

/* The transfer that an answer will end is with the kernel before the question is asked. */
static int expect_answer(UsbChannel *u, uint64_t until) {
        if (u->in_at < u->in_end)
                return 0;
        u->lent = false;
        return u->in[u->turn].submitted ? 0 : fetch_begin(u, until);
}

/* ---- streams ---- */

static _Atomic unsigned streams; /* of all devices, under way */

typedef struct Stream {
        const uint8_t *data;
        size_t size, at;      /* at: not submitted yet */
        size_t piece;         /* at most so large */
        unsigned first, n;    /* pieces in flight */
        uint32_t timeout_ms;
        uint64_t until, early; /* early: when an answer was seen that came before the end, 0 none */
} Stream;

static size_t piece_of(size_t largest) {
        size_t piece = largest, n = MAX(atomic_load(&streams), 1u);

        while (piece > PIECE_SMALL && n * PIECES * piece > STREAMED_MAX)
                piece /= 2;
        return piece;
}

static int stream_submit(UsbChannel *u, Stream *st) {
        while (st->n < PIECES && st->at < st->size) {
                Transfer *t = u->pieces + (st->first + st->n) % PIECES;
                size_t n = MIN(st->size - st->at, piece_of(st->piece));
                int r;

                fill_out(u, t, st->data + st->at, n, st->at + n == st->size);
                /* With others in flight nothing is lost by waiting for them first, and a smaller piece may still find room. */
                r = submit(u, t, st->n > 0 || st->piece > PIECE_SMALL ? 0 : st->until);
                if (r == -ENOMEM && st->piece > PIECE_SMALL) {
                        st->piece = PIECE_SMALL;
                        continue;
                }
                if (r == -ENOMEM && st->n > 0)
                        return 0;
                if (r < 0)
                        return r;
                st->at += n;
                st->n++;
        }
        return 0;
}

/* Waits for the oldest piece. */
static int stream_wait(UsbChannel *u, Stream *st) {
        Transfer *t = u->pieces + st->first;

        while (!t->completed) {
                uint64_t until = st->until;
                int r;

                if (u->in[u->turn].submitted && u->in[u->turn].completed && st->early == 0)
                        st->early = usb_now(NULL) + EARLY_ANSWER_MS;
                if (st->early)
                        until = MIN(until, st->early);
                else
                        until = MIN(until, usb_now(NULL) + EARLY_ANSWER_MS);
                r = wait_completed(u, t, until);
                if (r == -ETIMEDOUT && st->early && usb_now(NULL) >= st->early)
                        return -EREMOTE;
                if (r < 0 && (r != -ETIMEDOUT || usb_now(NULL) >= st->until))
                        return r;
        }
        t->submitted = false;
        st->first = (st->first + 1) % PIECES;
        st->n--;
        st->until = usb_now(NULL) + st->timeout_ms;
        return status_of(u, t) ?: t->urb->actual_length != t->urb->length ? -EPROTO : 0;
}

static int stream_end(UsbChannel *u, Stream *st, int r) {
        for (; st->n > 0; st->n--, st->first = (st->first + 1) % PIECES)
                if (!take_back(u, u->pieces + st->first))
                        r = -EIO;
        return r;
}

static int usb_stream(Channel *c, const void *data, size_t size, uint32_t timeout_ms) {
        UsbChannel *u = usb_channel_of(c);
        Stream st = {.data = data, .size = size, .piece = PIECE_LARGE, .timeout_ms = timeout_ms, .until = usb_now(NULL) + timeout_ms};
        int r;

        if (size == 0)
                return -EMSGSIZE;
        atomic_fetch_add(&streams, 1);
        r = expect_answer(u, st.until);
        while (r == 0 && (st.at < st.size || st.n > 0)) {
                r = atomic_load(&u->cancelled) ? -ECANCELED : stream_submit(u, &st);
                if (r == 0)
                        r = stream_wait(u, &st);
        }
        if (r < 0)
                r = stream_end(u, &st, r);
        atomic_fetch_sub(&streams, 1);
        return r;
}

static bool looked_just_now(const UsbChannel *u) {
        const Transfer *t = u->in + u->turn;

        return t->submitted && !t->completed && usb_now(NULL) - u->looked <= LOOKED_MS;
}

static int usb_fetch(UsbChannel *u, uint32_t timeout_ms) {
        int r;

        if (atomic_load(&u->cancelled))
                return -ECANCELED;
        if (u->in_at < u->in_end)
                return 0;
        u->lent = false;
        if (timeout_ms == 0 && looked_just_now(u))
                return -ETIMEDOUT;
        r = fetch(u, usb_now(NULL) + timeout_ms);
        /* Whoever only looks has seen nothing; who waits, waits for memory too. */
        return r == -ENOMEM && timeout_ms == 0 ? -ETIMEDOUT : r;
}

static int usb_borrow(Channel *c, uint32_t timeout_ms, const uint8_t **ret, size_t *ret_size) {
        UsbChannel *u = usb_channel_of(c);
        int r = usb_fetch(u, timeout_ms);

        if (r < 0)
                return r;
        *ret = u->received + u->in_at;
        *ret_size = u->in_end - u->in_at;
        u->in_at = u->in_end;
        return 0;
}

static int usb_receive(Channel *c, void *data, size_t size, uint32_t timeout_ms, size_t *ret_size) {
        UsbChannel *u = usb_channel_of(c);
        size_t n;
        int r = usb_fetch(u, timeout_ms);

        if (r < 0)
                return r;
        n = MIN(size, u->in_end - u->in_at);
        memcpy(data, u->received + u->in_at, n);
        u->in_at += n;
        *ret_size = n;
        return 0;
}

static int usb_line_state(Channel *c, uint16_t value, uint32_t timeout_ms) {
        UsbChannel *u = usb_channel_of(c);

        libusb_fill_control_setup(u->control_buffer, 0x21, 0x22, value, (uint16_t) u->interface, 0);
        libusb_fill_control_transfer(u->control.urb, u->handle, u->control_buffer, on_completed, &u->control, 0);
        return run_transfer(u, &u->control, timeout_ms);
}

/* GET_STATUS of the device: whoever runs its USB port answers that, and nothing changes by it. */
static int usb_look(Channel *c, uint32_t timeout_ms) {
        UsbChannel *u = usb_channel_of(c);
        int r;

        if (is_gone(u))
                return -ENODEV;
        if (timeout_ms == 0 || u->stuck)
                return -ETIMEDOUT;
        libusb_fill_control_setup(u->control_buffer, LIBUSB_ENDPOINT_IN, LIBUSB_REQUEST_GET_STATUS, 0, 0, 2);
        libusb_fill_control_transfer(u->control.urb, u->handle, u->control_buffer, on_completed, &u->control, 0);
        r = run_transfer(u, &u->control, timeout_ms);
        /* A refusal is an answer, too. */
        return r == -EPIPE || r == -EOVERFLOW ? 0 : r == -ENODEV || r == -ECANCELED || r == 0 ? r : -ETIMEDOUT;
}

static int usb_pause(Channel *c, uint32_t ms) {
        UsbChannel *u = usb_channel_of(c);
        uint64_t until = usb_now(NULL) + ms, now;

        while ((now = usb_now(NULL)) < until) {
                int r;

                if (atomic_load(&u->cancelled))
                        return -ECANCELED;
                if (is_gone(u))
                        return -ENODEV;
                r = handle_events(u, MIN(until - now, 1000u), NULL);
                if (r < 0)
                        return r;
        }
        return atomic_load(&u->cancelled) ? -ECANCELED : 0;
}

static const ChannelOps usb_ops = {
        .send = usb_send,
        .submit = usb_submit,
        .settle = usb_settle,
        .stream = usb_stream,
        .receive = usb_receive,
        .borrow = usb_borrow,
        .line_state = usb_line_state,
        .look = usb_look,
        .now = usb_now,
        .pause = usb_pause,
};

void usb_channel_cancel(UsbChannel *u) {
        atomic_store(&u->cancelled, true);
        libusb_interrupt_event_handler(u->context);
}

Channel *usb_channel_get(UsbChannel *u) {
        return &u->channel;
}

static void free_transfer(UsbChannel *u, Transfer *t) {
        /* What the kernel still holds cannot be freed; losing it is the lesser evil. */
        if (t->urb && take_back(u, t))
                libusb_free_transfer(t->urb);
}

UsbChannel *usb_channel_close(UsbChannel *u) {
        if (!u)
                return NULL;
        u->lent = true; /* an answer that still comes is the last: no transfer for another follows it */
        for (size_t i = 0; i < ELEMENTSOF(u->in); i++)
                free_transfer(u, u->in + i);
        free_transfer(u, &u->out);
        free_transfer(u, &u->control);
        for (size_t i = 0; i < PIECES; i++)
                free_transfer(u, u->pieces + i);
        if (u->stuck)
                return NULL;
        if (u->claimed)
                libusb_release_interface(u->handle, u->interface);
        if (u->detached)
                libusb_attach_kernel_driver(u->handle, u->interface);
        if (u->handle)
                libusb_close(u->handle);
        if (u->context)
                libusb_exit(u->context);
        if (u->fd >= 0)
                close(u->fd);
        free(u->in_large);
        free(u->devnode);
        free(u->sysfs);
        free(u);
        return NULL;
}

static void set_library_options(void) {
        /* No enumeration and no hot-plug thread: devices come from udev. */
        libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
}

static int wrap_node(UsbChannel *u, Failure *f) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        int r;

        pthread_once(&once, set_library_options);
        r = libusb_init(&u->context);
        if (r < 0) {
                u->context = NULL;
                return failure_set_errno(f, error_of(r), "libusb cannot start: %s.", libusb_strerror(r));
        }
        libusb_set_option(u->context, LIBUSB_OPTION_LOG_LEVEL, LIBUSB_LOG_LEVEL_NONE);
        r = libusb_wrap_sys_device(u->context, (intptr_t) u->fd, &u->handle);
        if (r == 0)
                return 0;
        u->handle = NULL;
        if (r == LIBUSB_ERROR_NO_DEVICE || is_gone(u))
                return failure_set(f, CLASS_GONE, "", "The device left the bus while it was opened (%s).", u->devnode);
        return failure_set_errno(f, error_of(r), "%s cannot be used as a USB device: %s.", u->devnode,
                                 libusb_strerror(r));
}

static int check_identity(UsbChannel *u, uint16_t vendor, uint16_t product, Failure *f) {
        struct libusb_device_descriptor d;
        int r = libusb_get_device_descriptor(libusb_get_device(u->handle), &d);

        if (r < 0)
                return failure_set_errno(f, error_of(r), "The descriptors of %s cannot be read: %s.", u->devnode,
                                         libusb_strerror(r));
        if (d.idVendor == vendor && d.idProduct == product)
                return 0;
        return failure_set(f, CLASS_MISMATCH, "device",
                           "Another device took this number: %s is %04x:%04x now, expected "
                           "%04x:%04x.",
                           u->devnode, d.idVendor, d.idProduct, vendor, product);
}

/* One bulk endpoint in each direction; others, of other kinds, do not matter. */
static bool take_endpoints(UsbChannel *u, const struct libusb_interface_descriptor *d) {
        unsigned ins = 0, outs = 0;

        for (unsigned i = 0; i < d->bNumEndpoints; i++) {
                const struct libusb_endpoint_descriptor *e = d->endpoint + i;

                if ((e->bmAttributes & LIBUSB_TRANSFER_TYPE_MASK) != LIBUSB_TRANSFER_TYPE_BULK)
                        continue;
                if (e->bEndpointAddress & LIBUSB_ENDPOINT_IN) {
                        ins++;
                        u->ep_in = e->bEndpointAddress;
                } else {
                        outs++;
                        u->ep_out = e->bEndpointAddress;
                        u->channel.max_packet = e->wMaxPacketSize & 0x7ff;
                }
        }
        u->interface = d->bInterfaceNumber;
        return ins == 1 && outs == 1;
}

static int find_interface(UsbChannel *u, int port, Failure *f) {
        libusb_device *device = libusb_get_device(u->handle);
        struct libusb_config_descriptor *config = NULL;
        bool found = false;
        int r = libusb_get_active_config_descriptor(device, &config);

        if (r < 0)
                r = libusb_get_config_descriptor(device, 0, &config);
        if (r < 0)
                return failure_set_errno(f, error_of(r), "The descriptors of %s cannot be read: %s.", u->devnode,
                                         libusb_strerror(r));
        for (unsigned i = 0; i < config->bNumInterfaces && !found; i++)
                if (config->interface[i].num_altsetting > 0 && (port < 0 || config->interface[i].altsetting->bInterfaceNumber == port))
                        found = take_endpoints(u, config->interface[i].altsetting);
        libusb_free_config_descriptor(config);
        if (!found && port >= 0)
                return failure_set(f, CLASS_MISMATCH, "interface", "Interface %d of %s has not one bulk endpoint in each direction: this system has "
                                                                   "another layout than is known of its id.", port, u->devnode);
        if (!found)
                return failure_set(f, CLASS_MISMATCH, "interface",
                                   "%s has no interface with one bulk endpoint in each "
                                   "direction: this is no download port.",
                                   u->devnode);
        return 0;
}

static int claim_failed(UsbChannel *u, int error, Failure *f) {
        if (error == LIBUSB_ERROR_NO_DEVICE || is_gone(u))
                return failure_set(f, CLASS_GONE, "", "The device left the bus while it was claimed (%s).", u->devnode);
        return host_cause_claim(u->fd, u->devnode, u->sysfs, u->interface, -error_of(error), u->detached, f);
}

static int claim(UsbChannel *u, bool keep_driver, Failure *f) {
        int r;

        /* Whoever uses the port of a running system is not thrown out of it. */
        if (keep_driver && libusb_kernel_driver_active(u->handle, u->interface) == 1)
                return claim_failed(u, LIBUSB_ERROR_BUSY, f);
        if (libusb_kernel_driver_active(u->handle, u->interface) == 1) {
                r = libusb_detach_kernel_driver(u->handle, u->interface);
                if (r < 0 && r != LIBUSB_ERROR_NOT_FOUND)
                        return claim_failed(u, r, f);
                u->detached = r == 0;
        }
        r = libusb_claim_interface(u->handle, u->interface);
        if (r < 0)
                return claim_failed(u, r, f);
        u->claimed = true;
        return 0;
}

static int allocate(UsbChannel *u, Failure *f) {
        bool enough = true;

        u->out.urb = libusb_alloc_transfer(0);
        u->control.urb = libusb_alloc_transfer(0);
        for (size_t i = 0; i < ELEMENTSOF(u->in); i++)
                enough = (u->in[i].urb = libusb_alloc_transfer(0)) && enough;
        for (size_t i = 0; i < PIECES; i++)
                enough = (u->pieces[i].urb = libusb_alloc_transfer(0)) && enough;
        if (!enough || !u->out.urb || !u->control.urb)
                return failure_set_errno(f, ENOMEM, "Not enough memory for USB transfers.");
        return 0;
}

/* Where the device has no configuration, what fails first is some innocent question: the cause lies behind it. */
static int behind(const UsbChannel *u, int r, Failure *f) {
        Failure blocked = FAILURE_INIT;

        if (r == 1 && f->class != CLASS_GONE && host_cause_blocked(u->devnode, u->sysfs, &blocked))
                *f = blocked;
        return r;
}

/* `port`: number of the interface, -1 the download port. */
static int open_any(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, int port, UsbChannel **ret, Failure *f) {
        _cleanup_(usb_channel_closep) UsbChannel *u = calloc(1, sizeof(*u));
        int r;

        if (!u)
                return failure_set_errno(f, ENOMEM, "Not enough memory.");
        u->channel.ops = &usb_ops;
        u->fd = -EBADF;
        u->devnode = strdup(devnode);
        u->sysfs = strdup(sysfs);
        if (!u->devnode || !u->sysfs)
                return failure_set_errno(f, ENOMEM, "Not enough memory.");
        u->fd = open(devnode, O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (u->fd < 0)
                return host_cause_open(devnode, sysfs, errno, f);
        r = wrap_node(u, f);
        if (r == 0)
                r = check_identity(u, vendor, product, f);
        if (r == 0)
                r = find_interface(u, port, f);
        if (r == 0)
                r = claim(u, port >= 0, f);
        if (r == 0)
                r = allocate(u, f);
        if (r == 0)
                *ret = TAKE_PTR(u);
        else
                r = behind(u, r, f);
        return r;
}

int usb_channel_open(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, UsbChannel **ret, Failure *f) {
        return open_any(devnode, sysfs, vendor, product, -1, ret, f);
}

int usb_channel_open_port(const char *devnode, const char *sysfs, uint16_t vendor, uint16_t product, uint8_t interface, UsbChannel **ret,
                          Failure *f) {
        return open_any(devnode, sysfs, vendor, product, interface, ret, f);
}
