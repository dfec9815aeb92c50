/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bsl/codes.h"
#include "bsl/frame.h"
#include "bsl/session.h"

/* Shared by the files of this folder only. */

#define RX_SIZE (64 * 1024 + 512)

/* What was heard since the last command left: decides the failure's class. */
typedef struct Heard {
        uint64_t garbage; /* bytes that belong to no frame */
        uint32_t bad;     /* frames that do not decode or have a wrong check */
        uint32_t valid;   /* frames that are fine but not the answer */
        uint64_t bytes;
        uint32_t transfers;
        uint64_t first_bad_ms;
        uint64_t first_ms; /* when the first bytes came, for the trace */
} Heard;

struct BslSession {
        Channel *channel;
        BslDeadlines deadlines;
        BslTraceFunc trace;
        void *trace_data;

        BslStage stage;
        BslCheck check;
        bool transcode;
        bool adopting; /* a sync is on: the check is not known yet */
        bool sent;     /* the last command left this computer whole */
        bool probed;   /* bsl_probe_fdl2() was used */
        int probe_result;
        Failure probe_failure;
        int port_error; /* why the control request failed, 0 it did not */
        char version[64];
        unsigned retries; /* commands that were sent once more */
        char log[200]; /* the last that the device logged */
        BslSlowest slowest;

        bool tainted;
        Failure taint;

        Heard heard;
        size_t rx_at, rx_end; /* received, not yet decoded */
        const uint8_t *rx;       /* where it lies: the channel's memory, or rx_own */
        BslDecoder decoder;
        uint8_t rx_own[RX_SIZE]; /* of channels that only copy; otherwise these pages are never touched */
        unsigned tx_at;          /* the frame that goes next is, or will be made, here */
        const uint8_t *ready;    /* payload of the MIDST that is made already in tx[tx_at], NULL none */
        size_t ready_size, ready_wire;
        BslCheck ready_check;
        bool ready_transcode;
        bool raw_unproven;       /* a raw chunk was acknowledged before it was written */
        uint8_t tx[2][BSL_WIRE_MAX];
        uint8_t scratch[BSL_PAYLOAD_MAX + 1];
};

typedef struct Command {
        int code;
        const void *payload;
        size_t size;
        uint32_t deadline;
        uint32_t *slowest; /* where its time is noted if it is good, NULL nowhere */
        int want;     /* type of the answer */
        int want2;    /* another one that is as good, 0 none */
        const void *next;        /* MIDST only: what will follow, made ready while the device answers; NULL nothing */
        size_t next_size;
        size_t answer;           /* bytes that its answer should have, 0 few */
        bool patient; /* damaged frames do not shorten the wait: the device restarts meanwhile */
} Command;

/* One command and its answer. *ret may be NULL; its bytes stay valid until the session is used again. */
int session_command(BslSession *s, const Command *c, BslFrame *ret, Failure *f);

/* Only its first half; 0 or an error of the channel. */
int session_send(BslSession *s, const Command *c);
/* Waits until `until` for one frame with a right check, log frames handed to trace. 0; -ETIMEDOUT; -EBADMSG too much
 * garbage, or damaged frames and no good one soon after; other errors of the channel. */
int session_receive(BslSession *s, uint64_t until, bool patient, BslFrame *ret);
/* Fetches one transfer into rx if rx is empty. Errors of the channel; -EBADMSG: flood. */
int session_fill(BslSession *s, uint64_t until);
/* Throws away what arrives until it has been quiet for `quiet` ms, 2 s at most. 0, -ECANCELED, -ENODEV. */
int session_drain(BslSession *s, uint32_t quiet);
void session_begin_wait(BslSession *s);
void session_clear_rx(BslSession *s);

typedef struct Wait {
        const char *command;
        uint32_t deadline;
        uint64_t since;
        uint32_t attempts;
        bool sending;  /* it failed while bytes were sent */
        bool harmless; /* no later answer can be mistaken: no taint */
} Wait;

/* A good answer came: how long did it take? */
void session_measure(const BslSession *s, uint64_t since, uint32_t *slowest);
/* Turns the error of a wait into a typed failure and taints the session where the answer is still outstanding. Returns
 * 1, or -ECANCELED. */
int session_fail(BslSession *s, const Wait *w, int error, Failure *f);
/* A failure that is a definite answer or was found by us: no taint. */
void session_note(BslSession *s, const Wait *w, Failure *f);
void session_copy_failure(Failure *to, const Failure *from);
int session_refuse_tainted(const BslSession *s, Failure *f);
void session_taint(BslSession *s, const Failure *f);
/* Fills in check, escaping and time. Call it only if s->trace. */
void session_trace(BslSession *s, BslEvent *e);
static inline void session_trace_bytes(BslSession *s, BslEventKind kind, const uint8_t *data, size_t size) {
        if (s->trace)
                session_trace(s, &(BslEvent){.kind = kind, .payload = data, .size = size});
}
void clean_text(char *ret, size_t ret_size, const uint8_t *data, size_t size);
