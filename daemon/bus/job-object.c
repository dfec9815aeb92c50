/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-internal.h"
#include "bus/getter.h"

/* Unknown numbers are the largest of their type; no step is one of them. */
static uint32_t step_number(int step) {
        return step < 0 ? UINT32_MAX : (uint32_t) step;
}

GETTER(get_id, Job, j, sd_bus_message_append(reply, "t", j->id))
GETTER(get_kind, Job, j, append_string(reply, j->kind))
GETTER(get_state, Job, j, append_string(reply, job_state_to_string(j->state)))
GETTER(get_result, Job, j, append_string(reply, job_result_to_string(j->result)))
GETTER(get_slot, Job, j, append_object(reply, OBJECT_SLOT, j->slot))
GETTER(get_device, Job, j, append_object(reply, OBJECT_DEVICE, j->device))
GETTER(get_package, Job, j, append_object(reply, OBJECT_PACKAGE, j->package))
GETTER(get_package_name, Job, j, append_string(reply, j->package_name))
GETTER(get_mode, Job, j, append_string(reply, streq(j->kind, "flash") ? flash_mode_to_string(j->options.mode) : ""))
GETTER(get_stage, Job, j, append_string(reply, stage_to_string(j->stage)))
GETTER(get_step, Job, j, sd_bus_message_append(reply, "u", step_number(j->step)))
GETTER(get_step_count, Job, j, sd_bus_message_append(reply, "u", step_number(j->step_count)))
GETTER(get_partition, Job, j, append_string(reply, j->partition))
GETTER(get_progress, Job, j, sd_bus_message_append(reply, "d", j->progress))
GETTER(get_progress_valid, Job, j, sd_bus_message_append(reply, "b", (int) j->progress_valid))
GETTER(get_bytes_done, Job, j, sd_bus_message_append(reply, "t", j->bytes_done))
GETTER(get_bytes_total, Job, j, sd_bus_message_append(reply, "t", j->bytes_total))
GETTER(get_rate, Job, j, sd_bus_message_append(reply, "t", j->rate))
GETTER(get_expected_end, Job, j, sd_bus_message_append(reply, "t", j->expected_end_usec))
GETTER(get_cancelable, Job, j, sd_bus_message_append(reply, "b", (int) j->cancelable))
GETTER(get_error, Job, j, append_error(reply, j))
GETTER(get_user_action, Job, j, append_string(reply, j->user_action))
GETTER(get_answer_by, Job, j, sd_bus_message_append(reply, "t", j->answer_by_usec))
GETTER(get_created, Job, j, sd_bus_message_append(reply, "t", j->created_usec))
GETTER(get_started, Job, j, sd_bus_message_append(reply, "t", j->started_usec))
GETTER(get_finished, Job, j, sd_bus_message_append(reply, "t", j->finished_usec))
GETTER(get_uid, Job, j, sd_bus_message_append(reply, "u", j->uid))
GETTER(get_retry_of, Job, j, sd_bus_message_append(reply, "t", j->retry_of))
GETTER(get_verified, Job, j, append_string(reply, j->verified))
GETTER(get_note, Job, j, append_string(reply, j->note))
GETTER(get_outputs, Job, j, append_outputs(reply, j))
GETTER(get_straggler, Job, j, sd_bus_message_append(reply, "b", (int) j->straggler))
GETTER(get_batch, Job, j, sd_bus_message_append(reply, "t", j->batch))

const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD("AddSteps", SD_BUS_ARGS("a(sa{sv})", steps), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("AttachFiles", SD_BUS_ARGS("a{sh}", files, "a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Submit", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Cancel", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Answer", SD_BUS_ARGS("s", action, "a{sv}", options), SD_BUS_NO_RESULT, bus_dispatch, FOR_ALL),
        METHOD("Wait", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", result, "a{sv}", details), bus_dispatch, FOR_ALL),
        METHOD("Retry", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("t", id, "o", job), bus_dispatch, FOR_ALL),
        METHOD("Trace", SD_BUS_NO_ARGS, SD_BUS_RESULT("h", trace), bus_dispatch, FOR_ALL),
        METHOD("FollowLog", SD_BUS_NO_ARGS, SD_BUS_RESULT("h", log), bus_dispatch, FOR_ALL),
        CONSTANT("Id", "t", get_id),
        CONSTANT("Kind", "s", get_kind),
        PROPERTY("State", "s", get_state),
        PROPERTY("Result", "s", get_result),
        PROPERTY("Slot", "o", get_slot),
        PROPERTY("Device", "o", get_device),
        PROPERTY("Package", "o", get_package),
        PROPERTY("PackageName", "s", get_package_name),
        CONSTANT("Mode", "s", get_mode),
        PROPERTY("Stage", "s", get_stage),
        PROPERTY("Step", "u", get_step),
        PROPERTY("StepCount", "u", get_step_count),
        PROPERTY("Partition", "s", get_partition),
        PROPERTY("Progress", "d", get_progress),
        PROPERTY("ProgressValid", "b", get_progress_valid),
        PROPERTY("BytesDone", "t", get_bytes_done),
        PROPERTY("BytesTotal", "t", get_bytes_total),
        PROPERTY("Rate", "t", get_rate),
        PROPERTY("ExpectedEndUSec", "t", get_expected_end),
        PROPERTY("Cancelable", "b", get_cancelable),
        PROPERTY("Error", "(ssa{sv})", get_error),
        PROPERTY("UserAction", "s", get_user_action),
        PROPERTY("AnswerByUSec", "t", get_answer_by),
        CONSTANT("CreatedUSec", "t", get_created),
        PROPERTY("StartedUSec", "t", get_started),
        PROPERTY("FinishedUSec", "t", get_finished),
        CONSTANT("RequestedByUID", "u", get_uid),
        CONSTANT("Batch", "t", get_batch),
        CONSTANT("RetryOf", "t", get_retry_of),
        PROPERTY("Verified", "s", get_verified),
        PROPERTY("Note", "s", get_note),
        PROPERTY("Outputs", "a(sttsb)", get_outputs),
        PROPERTY("Straggler", "b", get_straggler),
        SD_BUS_VTABLE_END,
};

void job_owner_set(BusObject *o, Peer *p) {
        if (o->owner)
                o->owner->n_drafts--;
        o->owner = p;
        if (p)
                p->n_drafts++;
}

/* ---- Wait ---- */

static int reply_result(sd_bus_message *call, const Job *job) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        r = new_reply(call, &reply);
        if (r >= 0)
                r = append_string(reply, job_result_to_string(job->result));
        if (r >= 0)
                r = append_result(reply, job);
        return r < 0 ? r : send_reply(reply);
}

/* Takes out of the list the first waiter of the object, of the peer, or any. */
static Waiter *take_waiter(Bus *b, const BusObject *o, const Peer *p) {
        for (Waiter **w = &b->waiters; *w; w = &(*w)->next) {
                Waiter *found = *w;
                if ((o && found->object != o) || (p && found->peer != p))
                        continue;
                *w = found->next;
                found->peer->n_waiters--;
                found->object->n_waiters--;
                b->n_waiters--;
                return found;
        }
        return NULL;
}

static void waiter_free(Waiter *w) {
        sd_bus_message_unref(w->message);
        free(w);
}

void waiters_answer(BusObject *o) {
        Waiter *w;

        while ((w = take_waiter(o->bus, o, NULL))) {
                (void) reply_result(w->message, o->object);
                waiter_free(w);
        }
}

void waiters_drop(Bus *b, const BusObject *o, const Peer *p) {
        CallError e;
        Waiter *w;

        call_error_set(&e, BUS_ERROR_NO_SUCH_JOB, "The job is no more.");
        while ((w = take_waiter(b, o, p))) {
                if (!p)
                        (void) reply_call_error(w->message, &e);
                waiter_free(w);
        }
}

/* Everyone may wait, so those who may do nothing else get half of the room at most: root must never find it taken. */
static bool may_wait(const Bus *b, const Peer *p) {
        unsigned n_peers = 0;

        if (p->n_waiters >= WAITERS_PER_PEER_MAX || b->n_waiters >= WAITERS_MAX)
                return false;
        if (p->state == PEER_KNOWN && call_authorised(b, p->uid))
                return true;
        for (const Peer *q = b->peers; q; q = q->next)
                n_peers += q->n_waiters > 0;
        return b->n_waiters < WAITERS_MAX / 2 && (p->n_waiters > 0 || n_peers < PEERS_MAX / 2);
}

int job_method_wait(Call *c) {
        const Job *job = c->object->object;
        Peer *p;
        Waiter *w;

        if (job->state == JOB_STATE_FINISHED)
                return reply_result(c->message, job);
        p = peer_need(c->bus, c->message, c->e);
        if (!p)
                return -1;
        if (!may_wait(c->bus, p))
                return call_error_set(c->e, BUS_ERROR_QUOTA,
                                      "Too many calls of Wait are open (at most %d for each caller). "
                                      "Listen to the signal JobFinished instead.",
                                      WAITERS_PER_PEER_MAX);
        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (Waiter){
                .object = c->object, .peer = p, .message = sd_bus_message_ref(c->message), .next = c->bus->waiters};
        c->bus->waiters = w;
        c->bus->n_waiters++;
        p->n_waiters++;
        c->object->n_waiters++;
        return 1;
}

/* ---- the rest ---- */

int job_is_old(Call *c) {
        if (c->object->old)
                return call_error_set(
                        c->e, BUS_ERROR_WRONG_STATE,
                        "The job is finished and only its record is left. Start a new one for the same package.");
        return 0;
}

int job_method_submit(Call *c) {
        BusObject *o;

        if (options_none(c->message, c->e) < 0 || job_is_old(c) < 0)
                return -1;
        if (job_submit(c->object->object, c->e) < 0)
                return -1;
        /* From here on it lives without the caller; it may even be over and gone. */
        o = object_find(c->bus, sd_bus_message_get_path(c->message));
        if (o)
                job_owner_set(o, NULL);
        return sd_bus_reply_method_return(c->message, NULL);
}

int job_method_cancel(Call *c) {
        if (options_none(c->message, c->e) < 0 || job_is_old(c) < 0)
                return -1;
        if (job_cancel(c->object->object, c->e) < 0)
                return -1;
        /* A draft is gone now, and with it who waited for it or followed it. */
        (void) object_lookup(c->bus, sd_bus_message_get_path(c->message));
        return sd_bus_reply_method_return(c->message, NULL);
}

static int parse_answer(const void *value, void *target, CallError *e _unused_) {
        *(const char **) target = value;
        return 0;
}

/* Whether a number is free the store must say first. */
static void on_answered(const CallError *e, void *userdata) {
        StoreCall *h = userdata;

        if (h->bus && e)
                (void) reply_call_error(h->message, e);
        else if (h->bus)
                (void) sd_bus_reply_method_return(h->message, NULL);
        store_call_free(h);
}

int job_method_answer(Call *c) {
        static const OptionSpec specs[] = {{"serial", 's', parse_answer}};
        const char *action, *value = NULL;
        StoreCall *h;
        int r;

        r = sd_bus_message_read(c->message, "s", &action);
        if (r < 0)
                return r;
        if (text_check("action", action, 31, false, c->e) < 0 || options_read(c->message, specs, ELEMENTSOF(specs), &value, c->e) < 0 ||
            job_is_old(c) < 0)
                return -1;
        h = store_call_new(c);
        if (!h)
                return -1;
        r = job_answer(c->object->object, action, value, on_answered, h, c->e);
        if (r > 0)
                return 1;
        store_call_free(h);
        return r < 0 ? -1 : sd_bus_reply_method_return(c->message, NULL);
}

int job_method_retry(Call *c) {
        Job *job;

        if (options_none(c->message, c->e) < 0 || job_is_old(c) < 0)
                return -1;
        if (job_retry(c->object->object, c->uid, &job, c->e) < 0)
                return -1;
        return reply_job(c, job);
}
