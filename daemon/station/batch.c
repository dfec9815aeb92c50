/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/batch.h"

#include <stdarg.h>
#include <stdio.h>

#include "station/internal.h"
#include "station/serial.h"
#include "station/trail.h"

#define QUICK_RETURN_USEC 3000000ULL /* nobody changes a unit in that time: it came back by itself */
#define QUICK_RETURNS 5

static const char *const first_words[FIRST_MAX] = {"off", "waiting", "running", "confirm", "passed"};

const char *first_state_to_string(FirstState state) {
        return first_words[state];
}

static FirstState first_state_from_string(const char *word) {
        for (int i = 0; i < FIRST_MAX; i++)
                if (streq(first_words[i], word))
                        return (FirstState) i;
        return FIRST_OFF;
}

Batch *station_batches(Station *s) {
        return s->batches;
}

Batch *station_find_batch(Station *s, uint64_t id) {
        for (Batch *b = s->batches; b; b = b->next)
                if (b->id == id)
                        return b;
        return NULL;
}

bool batch_ended(const Batch *b) {
        return b->state == BATCH_STATE_STOPPED || b->state == BATCH_STATE_COMPLETE;
}

#define TELL(b, ...) NOTIFY((b)->station, OBJECT_BATCH, (b), __VA_ARGS__)

/* ---- the row on disk ---- */

static void append_line(char *text, size_t size, const char *format, ...) _printf_(3, 4);
static void append_line(char *text, size_t size, const char *format, ...) {
        size_t used = strlen(text);
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(text + used, size - used, format, ap);
        va_end(ap);
        if (n < 0 || (size_t) n >= size - used)
                text[used] = '\0'; /* a line or nothing */
}

static void fill_lists(const Batch *b, StoreBatch *row) {
        for (size_t i = 0; i < b->n_slots; i++)
                append_line(row->slots, sizeof(row->slots), "%s\n", b->slots[i]->port);
        if (b->n_slots == 0 && b->ports)
                snprintf(row->slots, sizeof(row->slots), "%s", b->ports);
        for (size_t i = 0; i < b->n_cohort; i++)
                append_line(row->cohort, sizeof(row->cohort), "%d %s %s\n", b->cohort[i].agreed, b->cohort[i].key, b->cohort[i].value);
        for (size_t i = 0; i < b->n_recent; i++)
                append_line(row->recent, sizeof(row->recent), "%s %s %s\n", job_result_to_string(b->recent[i].result),
                            fail_class_to_string(b->recent[i].class),
                            b->recent[i].stage == STAGE_INVALID ? "none" : stage_to_string(b->recent[i].stage));
}

static void row_written(int error, void *userdata) {
        station_note_write(userdata, error);
}

static int put_row(const Batch *b) {
        Station *s = b->station;
        StoreBatch *row = calloc(1, sizeof(*row));
        int r;

        if (!row)
                return -ENOMEM;
        *row = (StoreBatch){.id = b->id, .state = b->state, .all_slots = b->all_slots, .armed = b->armed, .uid = b->uid,
                            .created_usec = b->created_usec, .finished_usec = b->finished_usec, .passed = b->passed,
                            .failed = b->failed, .skipped = b->skipped};
        snprintf(row->name, sizeof(row->name), "%s", b->name);
        snprintf(row->digest, sizeof(row->digest), "%s", b->digest);
        snprintf(row->package_name, sizeof(row->package_name), "%s", b->package_name);
        snprintf(row->profile, sizeof(row->profile), "%s", b->profile);
        snprintf(row->operator_name, sizeof(row->operator_name), "%s", b->operator_name);
        snprintf(row->reason, sizeof(row->reason), "%s", b->reason);
        snprintf(row->boot_id, sizeof(row->boot_id), "%s", s->boot_id);
        snprintf(row->first_article, sizeof(row->first_article), "%s", first_words[b->first]);
        policy_to_text(&b->policy, row->policy, sizeof(row->policy));
        fill_lists(b, row);
        s->writes_pending++;
        r = store_put_batch(s->store, row, row_written, s);
        if (r < 0)
                station_note_write(s, r);
        free(row);
        return r;
}

/* ---- memory ---- */

static Batch *batch_free(Batch *b) {
        Batch **at = &b->station->batches;

        while (*at && *at != b)
                at = &(*at)->next;
        if (*at)
                *at = b->next;
        for (size_t i = 0; i < b->n_slots; i++)
                b->slots[i]->batch = NULL;
        free(b->slots);
        free(b->ports);
        free(b);
        return NULL;
}

void batch_free_all(Station *s) {
        while (s->batches) {
                if (s->batches->cache)
                        s->batches->cache = plan_cache_unref(s->batches->package, s->batches->cache);
                batch_free(s->batches);
        }
}

static Batch *batch_new(Station *s, uint64_t id) {
        Batch *b = calloc(1, sizeof(*b)), **tail = &s->batches;

        if (!b)
                return NULL;
        b->station = s;
        b->id = id;
        policy_default(&b->policy);
        while (*tail)
                tail = &(*tail)->next;
        *tail = b;
        return b;
}

static void forget_old(Station *s) {
        unsigned ended = 0;

        for (Batch *b = s->batches; b; b = b->next)
                ended += batch_ended(b);
        for (Batch *b = s->batches, *next; b && ended > BATCH_ENDED_KEPT; b = next) {
                next = b->next;
                if (!batch_ended(b) || b->running > 0)
                        continue;
                notify_removed(s, OBJECT_BATCH, b);
                batch_free(b);
                ended--;
        }
}

static void forget_attempts(Slot *slot) {
        slot->attempts = slot->garbled_attempts = slot->quick_failures = 0;
        slot->retry_of = 0;
        slot->retry_now = false;
}

static int take_slot(Batch *b, Slot *slot) {
        Slot **more = reallocarray(b->slots, b->n_slots + 1, sizeof(Slot *));

        if (!more)
                return -ENOMEM;
        b->slots = more;
        b->slots[b->n_slots++] = slot;
        slot->batch = b;
        slot->parked = false;
        forget_attempts(slot);
        NOTIFY(slot->station, OBJECT_SLOT, slot, "Batch");
        return 0;
}

/* An ended batch still says where it ran. */
static void release_slots(Batch *b) {
        size_t size = 1;

        for (size_t i = 0; i < b->n_slots; i++)
                size += strlen(b->slots[i]->port) + 1;
        free(b->ports);
        b->ports = calloc(1, size);
        for (size_t i = 0; i < b->n_slots; i++) {
                Slot *slot = b->slots[i];
                if (b->ports)
                        append_line(b->ports, size, "%s\n", slot->port);
                slot->batch = NULL;
                slot->parked = false;
                forget_attempts(slot);
                NOTIFY(slot->station, OBJECT_SLOT, slot, "Batch");
                slot_update(slot);
        }
        b->n_slots = 0;
}

/* ---- states ---- */

static void update_slots(const Batch *b) {
        for (size_t i = 0; i < b->n_slots; i++)
                slot_update(b->slots[i]);
}

static void batch_enter_state(Batch *b, BatchState state, const char *reason) {
        Station *s = b->station;

        if (b->state == state && streq(b->reason, reason))
                return;
        b->state = state;
        snprintf(b->reason, sizeof(b->reason), "%s", reason);
        if (state == BATCH_STATE_STOPPED || state == BATCH_STATE_COMPLETE)
                b->finished_usec = now_realtime();
        log_write(state == BATCH_STATE_PAUSED && reason[0] ? LOG_WARNING : LOG_NOTICE,
                  &(LogFields){.message = state == BATCH_STATE_PAUSED ? MESSAGE_BATCH_PAUSED : MESSAGE_BATCH},
                  "Batch %llu (%s): %s%s%s", (unsigned long long) b->id, b->name, batch_state_to_string(state), reason[0] ? ": " : "", reason);
        if (batch_ended(b)) {
                release_slots(b);
                if (b->cache)
                        b->cache = plan_cache_unref(b->package, b->cache);
                if (b->package)
                        b->package->users--;
        }
        (void) put_row(b);
        TELL(b, "State", "Reason", "FinishedUSec", "Slots", "Action");
        NOTIFY(s, OBJECT_STATION, s, "BatchesRunning");
        update_slots(b);
        schedule_run(s);
        if (batch_ended(b))
                forget_old(s);
}

static void batch_stop_line(Batch *b, const char *format, ...) _printf_(2, 3);
static void batch_stop_line(Batch *b, const char *format, ...) {
        char reason[sizeof(b->reason)], clean[sizeof(b->reason)];
        va_list ap;

        if (b->state != BATCH_STATE_RUNNING) /* the first reason stays */
                return;
        va_start(ap, format);
        vsnprintf(reason, sizeof(reason), format, ap);
        va_end(ap);
        text_clean(clean, sizeof(clean), reason);
        batch_enter_state(b, BATCH_STATE_PAUSED, clean);
}

static bool enough(const Batch *b) {
        return b->policy.count > 0 && b->passed >= b->policy.count;
}

static unsigned units_awaited(const Batch *b) {
        unsigned n = 0;

        for (Job *job = b->station->active; job; job = job->run->active_next)
                n += job->batch == b->id && !(job->slot && job->slot->parked);
        return n;
}

/* A straggler that was parked is not waited for. */
static void check_end(Batch *b) {
        if (batch_ended(b) || units_awaited(b) > 0)
                return;
        if (enough(b))
                batch_enter_state(b, BATCH_STATE_COMPLETE, "");
        else if (b->state == BATCH_STATE_DRAINING)
                batch_enter_state(b, BATCH_STATE_STOPPED, b->reason);
}

/* ---- units in ---- */

bool device_came_back(const Device *d) {
        return d->slot->left_usec > 0 && d->appeared_mono - d->slot->left_usec < QUICK_RETURN_USEC;
}

bool batch_wants(const Device *d) {
        const Slot *slot = d->slot;
        const Batch *b = slot->batch;

        if (!b || b->state != BATCH_STATE_RUNNING || !b->cache || slot->parked)
                return false;
        if (d->touched && !slot->retry_now && !d->resumable)
                return false;
        if (slot->quick_failures >= QUICK_RETURNS && device_came_back(d))
                return false;
        return b->policy.count == 0 || b->passed + units_awaited(b) < b->policy.count;
}

/* The first article is read back as a whole: what it proves, the others rely on. Those that wait for it may become the first one if it
 * fails. */
static PlanCache *unit_plan(Batch *b) {
        PlanOptions options = b->policy.plan;
        PlanCache *cache = NULL;
        CallError e;

        if (b->first != FIRST_OFF && b->first != FIRST_PASSED)
                options.verify = VERIFY_FULL;
        return package_plan(b->package, &options, &cache, &e) < 0 ? NULL : cache;
}

/* Its digest was proven when it was mapped; what was written into the file since is not what the batch began with. */
static bool image_is_the_same(Batch *b) {
        if (!mapped_file_ok(b->package->map))
                batch_stop_line(b, "The package %s cannot be read whole any more: the disk under it is bad. Import it again.", b->package_name);
        else if (!mapped_file_unchanged(b->package->map))
                batch_stop_line(b, "The stored package %s was changed on disk after the batch began, so its hash is no longer the one that was proven. "
                                   "Restart fdld, which checks it again, or import the package anew.", b->package_name);
        else
                return true;
        return false;
}

static Job *make_job(Batch *b, Device *d, uint64_t id) {
        Slot *slot = d->slot;
        PlanCache *cache = unit_plan(b);
        Job *job = cache ? job_new(b->station, id, "flash") : NULL;

        if (!job) {
                plan_cache_unref(b->package, cache);
                return NULL;
        }
        job->uid = b->uid;
        job->batch = b->id;
        job->slot = slot;
        job->retry_of = slot->retry_of;
        job->options = cache->options;
        job->run->target = TARGET_SLOT;
        snprintf(job->run->serial, sizeof(job->run->serial), "%.79s", b->policy.serials);
        job->run->smaller_blocks = slot->garbled_attempts;
        snprintf(job->operator_name, sizeof(job->operator_name), "%s", b->operator_name);
        job_bind_package(job, b->package);
        job->run->cache = cache;
        job->plan = cache->plan;
        job->step_count = (int) cache->plan->n_steps;
        job->bytes_total = cache->plan->bytes_total;
        return job;
}

void batch_start_unit(Device *d) {
        Slot *slot = d->slot;
        Batch *b = slot->batch;
        CallError e = {};
        uint64_t id;
        Job *job;

        if (!image_is_the_same(b))
                return;
        if (station_check_store(b->station, &e) < 0) {
                batch_stop_line(b, "%s", e.text);
                return;
        }
        id = station_take_id(b->station);
        job = id > 0 ? make_job(b, d, id) : NULL;
        if (!job) {
                batch_stop_line(b, "No job could be made for the unit in %s.", slot->port);
                return;
        }
        if (b->first == FIRST_WAITING) {
                b->first = FIRST_RUNNING;
                b->first_job = id;
        }
        d->resumable = slot->retry_now = false;
        b->running++;
        (void) job_start(job, d);
        TELL(b, "Running", "FirstArticle");
}

/* The first article goes alone. The others have been greeted meanwhile and wait in their boot ROM. */
bool batch_lets_load(Job *job) {
        Batch *b = job->batch > 0 ? station_find_batch(job->station, job->batch) : NULL;

        if (!b || batch_ended(b))
                return true;
        if (b->state == BATCH_STATE_PAUSED) /* it has been greeted, no more: that is no unit under way */
                return false;
        if (b->first == FIRST_OFF || b->first == FIRST_PASSED || b->first_job == job->id)
                return true;
        if (b->first != FIRST_WAITING || b->state != BATCH_STATE_RUNNING)
                return false;
        b->first = FIRST_RUNNING;
        b->first_job = job->id;
        TELL(b, "FirstArticle");
        return true;
}

/* What may still be ended ends; what writes goes on, but the batch and the other slots do not wait for it. */
void batch_park(Job *job) {
        Batch *b = station_find_batch(job->station, job->batch);

        if (!job->slot || !b)
                return;
        job->slot->parked = true;
        if (!job->run->wrote)
                job_request_cancel(job);
        slot_update(job->slot);
        check_end(b);
        queue_run(job->station);
}

/* ---- what is learned of a unit, before its flash is touched ---- */

static bool cohort_key(const Job *job, const char *key) {
        const Plan *plan = job_plan(job);

        if (streq(key, "loader-version"))
                return job->stage == STAGE_EXEC_FDL2 || (job->stage == STAGE_EXEC_FDL1 && plan && plan->single_loader);
        return streq(key, "storage") || streq(key, "table") || streq(key, "chip");
}

static const CohortFact *agreed_fact(const Batch *b, const char *key) {
        for (size_t i = 0; i < b->n_cohort; i++)
                if (b->cohort[i].agreed && streq(b->cohort[i].key, key))
                        return b->cohort + i;
        return NULL;
}

static void note_fact(Batch *b, const char *key, const char *value, bool agreed) {
        CohortFact f = {.agreed = agreed};

        snprintf(f.key, sizeof(f.key), "%s", key);
        text_clean(f.value, sizeof(f.value), value);
        for (size_t i = 0; i < b->n_cohort; i++)
                if (streq(b->cohort[i].key, f.key) && streq(b->cohort[i].value, f.value)) {
                        b->cohort[i].agreed |= agreed;
                        return;
                }
        if (b->n_cohort < ELEMENTSOF(b->cohort))
                b->cohort[b->n_cohort++] = f;
}

static bool value_known(const Batch *b, const char *key, const char *value) {
        char clean[sizeof(b->cohort[0].value)];

        text_clean(clean, sizeof(clean), value);
        for (size_t i = 0; i < b->n_cohort; i++)
                if (b->cohort[i].agreed && streq(b->cohort[i].key, key) && streq(b->cohort[i].value, clean))
                        return true;
        return false;
}

/* The worker ends at its next safe point; until it did nothing is sent to flash. */
static void judge(Job *job, JobResult verdict, const Failure *f) {
        if (job->run->verdict != JOB_RESULT_NONE || job->run->changed_flash || !job->run->worker)
                return;
        job->run->verdict = verdict;
        job->run->verdict_failure = f ? *f : FAILURE_INIT;
        job_request_cancel(job);
}

static void check_cohort(Batch *b, Job *job, const char *key, const char *value) {
        const CohortFact *known = agreed_fact(b, key);
        Failure f = FAILURE_INIT;

        if (!b->policy.stop_on_difference || !known || value_known(b, key, value) || job->run->changed_flash)
                return;
        f.stage = STAGE_IDENTIFY;
        f.step = job->step;
        failure_set(&f, CLASS_MISMATCH, "cohort", "The unit differs from its batch: its %s is \"%.80s\", that of the others \"%.80s\".", key,
                    value, known->value);
        note_fact(b, key, value, false);
        judge(job, JOB_RESULT_FAILED, &f);
        batch_stop_line(b, "The unit in %s differs from the others: its %s is \"%.100s\" instead of \"%.100s\". Nothing was written to it. "
                           "Resume if such units belong to this batch.",
                        job->slot->label[0] ? job->slot->label : job->slot->port, key, value, known->value);
}

typedef struct Lookup {
        Station *station;
        uint64_t job;
        char digest[65];
} Lookup;

/* Comes before the answer to an intent that was written after the question was put: the store keeps the order. */
static void looked_up(int error, const StoreRecord *records, size_t n, void *userdata) {
        Lookup *l = userdata;
        Job *job = station_find_job(l->station, l->job);

        if (error == 0 && n > 0 && job && job->state == JOB_STATE_RUNNING && streq(records[0].digest, l->digest) &&
            (streq(records[0].result, "done") || streq(records[0].result, "skipped"))) {
                char text[160];
                snprintf(text, sizeof(text), "This unit passed with the same package before (job %llu), so it was not flashed again.",
                         (unsigned long long) records[0].job);
                judge(job, JOB_RESULT_SKIPPED, NULL);
                if (job->run->verdict == JOB_RESULT_SKIPPED)
                        job_note(job, text);
        }
        free(l);
}

static void look_up(Batch *b, Job *job, const char *chip) {
        StoreRecordFilter filter = {.kind = "flash", .until_usec = U64_UNKNOWN, .limit = 1};
        Lookup *l;

        if (b->policy.reflash || job->retry_of > 0 || !chip[0] || strlen(chip) >= sizeof(filter.chip))
                return;
        l = calloc(1, sizeof(*l));
        if (!l)
                return;
        *l = (Lookup){.station = b->station, .job = job->id};
        memcpy(l->digest, job->digest, sizeof(l->digest));
        snprintf(filter.chip, sizeof(filter.chip), "%s", chip);
        if (store_list_records(b->station->store, &filter, looked_up, l) < 0)
                free(l);
}

void batch_job_fact(Job *job, const char *key, const char *value) {
        Batch *b = job->batch > 0 ? station_find_batch(job->station, job->batch) : NULL;

        if (!b)
                return;
        if (streq(key, "chip-uid"))
                look_up(b, job, value);
        else if (cohort_key(job, key))
                check_cohort(b, job, key, value);
}

/* ---- units out ---- */

static void agree_to_unit(Batch *b, const Job *job) {
        static const char *const keys[] = {"storage", "table", "chip", "loader-version"};
        const JobTrail *t = job->run->trail;
        bool loaded = false;

        for (size_t i = 0; t && i < t->n_stages; i++)
                loaded |= t->stages[i].stage == STAGE_EXEC_FDL2 || (t->stages[i].stage == STAGE_EXEC_FDL1 && job_plan(job) && job_plan(job)->single_loader);
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                const char *value = trail_find(job, keys[i]);
                if (value[0] && (loaded || !streq(keys[i], "loader-version")))
                        note_fact(b, keys[i], value, true);
        }
}

/* Tried again and failed in the same way: it is one unit, not two. Which unit it was must be certain: it was never unplugged, or told who it
 * is. */
static bool counted_before(const Job *job) {
        const Job *old = job->retry_of > 0 ? station_find_job(job->station, job->retry_of) : NULL;

        return old && old->run && old->batch == job->batch && old->result == JOB_RESULT_FAILED && old->failure.class == job->failure.class &&
               old->failure.stage == job->failure.stage &&
               ((job->run->first_device > 0 && old->run->first_device == job->run->first_device) ||
                (job->run->unit[0] && streq(old->run->unit, job->run->unit)));
}

static void remember(Batch *b, const Job *job, JobResult result) {
        size_t keep = MIN(b->n_recent, ELEMENTSOF(b->recent) - 1);

        memmove(b->recent + 1, b->recent, keep * sizeof(b->recent[0]));
        b->recent[0] = (BatchOutcome){result, job->failure.class, job->failure.stage};
        b->n_recent = keep + 1;
}

static void check_line(Batch *b, const Job *job) {
        size_t n = MIN(b->n_recent, (size_t) b->policy.stop_window);
        unsigned alike = 0;

        for (size_t i = 0; i < n; i++)
                alike += b->recent[i].result == JOB_RESULT_FAILED && b->recent[i].class == job->failure.class &&
                         b->recent[i].stage == job->failure.stage;
        if (b->policy.stop_after > 0 && alike >= b->policy.stop_after)
                batch_stop_line(b, "%u of the last %zu units failed alike, the last one in %s with %s: %s", alike, n,
                                job->slot->label[0] ? job->slot->label : job->slot->port, job->code, job->failure.text);
}

static void end_first_article(Batch *b, const Job *job, JobResult result) {
        if (job->id != b->first_job || b->first != FIRST_RUNNING)
                return;
        b->first_job = 0;
        if (result == JOB_RESULT_DONE)
                b->first = b->policy.first_article == FIRST_ARTICLE_CONFIRM ? FIRST_CONFIRM : FIRST_PASSED;
        else
                b->first = FIRST_WAITING;
        if (result == JOB_RESULT_FAILED && !(b->state == BATCH_STATE_PAUSED && b->reason[0]))
                batch_stop_line(b, "The first article failed with %s: %s", job->code, job->failure.text);
}

/* The next device in the socket is most likely the same unit, plugged in again as the slot asks for. */
static void plan_retry(const Batch *b, Slot *slot, const Job *job) {
        FailClass class = job->failure.class;
        const Device *d = slot->device;

        if (d && device_came_back(d))
                slot->quick_failures++;
        if (slot->attempts >= b->policy.retry[class]) {
                unsigned quick = slot->quick_failures;
                forget_attempts(slot);
                slot->quick_failures = quick;
                return;
        }
        slot->attempts++;
        slot->garbled_attempts += class == CLASS_GARBLED;
        slot->retry_of = job->id;
        slot->retry_now = d && !d->broken && b->state == BATCH_STATE_RUNNING;
}

/* Many a unit is silent after the daemon ended in the middle of a loader. That says nothing of the line. */
static bool left_silent(const Job *job) {
        const Job *old = job->retry_of > 0 ? station_find_job(job->station, job->retry_of) : NULL;

        return old && old->result == JOB_RESULT_INTERRUPTED && job->failure.stage == STAGE_HANDSHAKE;
}

static void count_unit(Batch *b, const Job *job, JobResult result) {
        switch (result) {
        case JOB_RESULT_DONE:
                b->passed++;
                agree_to_unit(b, job);
                schedule_unit_passed(job);
                break;
        case JOB_RESULT_FAILED:
                b->failed++;
                if (left_silent(job) || counted_before(job))
                        return;
                break;
        case JOB_RESULT_SKIPPED:
                b->skipped++;
                return;
        default:
                return;
        }
        remember(b, job, result);
}

void batch_job_ended(Job *job, JobResult result) {
        Batch *b = job->batch > 0 ? station_find_batch(job->station, job->batch) : NULL;
        Slot *slot = job->slot;

        if (!b)
                return;
        if (b->running > 0)
                b->running--;
        count_unit(b, job, result);
        if (slot && slot->batch == b) {
                slot->parked = false;
                if (result == JOB_RESULT_FAILED)
                        plan_retry(b, slot, job);
                else
                        forget_attempts(slot);
        }
        end_first_article(b, job, result);
        if (result == JOB_RESULT_FAILED && !left_silent(job) && !counted_before(job))
                check_line(b, job);
        (void) put_row(b);
        TELL(b, "Passed", "Failed", "Skipped", "Yield", "Running", "FirstArticle", "Action");
        check_end(b);
        schedule_run(b->station);
}

/* ---- what people do ---- */

static int not_now(const Batch *b, const char *what, CallError *e) {
        return call_error_set(e, BUS_ERROR_WRONG_STATE, "Batch %llu is %s and cannot be %s.", (unsigned long long) b->id,
                              batch_state_to_string(b->state), what);
}

int batch_pause(Batch *b, CallError *e) {
        if (b->state == BATCH_STATE_PAUSED)
                return 0;
        if (b->state != BATCH_STATE_RUNNING)
                return not_now(b, "paused", e);
        batch_enter_state(b, BATCH_STATE_PAUSED, "");
        return 0;
}

int batch_resume(Batch *b, CallError *e) {
        if (b->state == BATCH_STATE_RUNNING)
                return 0;
        if (batch_ended(b))
                return not_now(b, "resumed", e);
        if (b->package->problem[0])
                return call_error_set(e, BUS_ERROR_BAD_PACKAGE, "%s", b->package->problem);
        if (station_check_store(b->station, e) < 0)
                return -1;
        b->n_recent = 0;
        for (size_t i = 0; i < b->n_cohort; i++)
                b->cohort[i].agreed = true;
        batch_enter_state(b, BATCH_STATE_RUNNING, "");
        queue_run(b->station);
        return 0;
}

int batch_drain(Batch *b, CallError *e) {
        if (batch_ended(b))
                return not_now(b, "drained", e);
        /* What waits to begin does not begin any more. */
        for (Job *job = b->station->active, *next; job; job = next) {
                next = job->run->active_next;
                if (job->batch == b->id && job->run->worker && job->run->gate == GATE_LOAD)
                        job_request_cancel(job);
        }
        if (b->state != BATCH_STATE_DRAINING)
                batch_enter_state(b, BATCH_STATE_DRAINING, b->reason);
        schedule_run(b->station);
        check_end(b);
        return 0;
}

int batch_stop(Batch *b, CallError *e) {
        if (batch_ended(b))
                return not_now(b, "stopped", e);
        for (Job *job = b->station->active, *next; job; job = next) {
                next = job->run->active_next;
                if (job->batch == b->id && job->run->worker && !job->run->wrote)
                        job_request_cancel(job);
        }
        batch_enter_state(b, BATCH_STATE_STOPPED, "");
        queue_run(b->station);
        return 0;
}

int batch_confirm(Batch *b, CallError *e) {
        if (batch_ended(b))
                return not_now(b, "confirmed", e);
        if (b->first != FIRST_CONFIRM)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Batch %llu waits for no confirmation; its first article is: %s.",
                                      (unsigned long long) b->id, first_words[b->first]);
        b->first = FIRST_PASSED;
        (void) put_row(b);
        TELL(b, "FirstArticle", "Action");
        update_slots(b);
        schedule_run(b->station);
        queue_run(b->station);
        return 0;
}

int slot_disarm(Slot *slot, CallError *e) {
        if (!slot->batch || !slot->batch->armed)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "Slot %s is not armed%s.", slot->port,
                                      slot->batch ? "; a batch runs there" : "");
        return batch_stop(slot->batch, e);
}

/* ---- begin ---- */

static int check_slots(const BatchRequest *q, CallError *e) {
        for (size_t i = 0; i < q->n_slots; i++) {
                const Slot *slot = q->slots[i];
                if (slot->batch)
                        return call_error_set(e, BUS_ERROR_DEVICE_BUSY, "Slot %s belongs to batch %llu (%s) already.", slot->port,
                                              (unsigned long long) slot->batch->id, slot->batch->name);
                if (slot_check_listed(slot, e) < 0)
                        return -1;
                for (size_t k = 0; k < i; k++)
                        if (q->slots[k] == slot)
                                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "Slot %s is given twice.", slot->port);
        }
        return 0;
}

static int check_request(Station *s, const BatchRequest *q, CallError *e) {
        unsigned open = 0;

        for (Batch *b = s->batches; b; b = b->next)
                open += !batch_ended(b);
        if (s->stopping)
                return call_error_set(e, BUS_ERROR_WRONG_STATE, "The daemon is stopping and takes no new batches.");
        if (open >= BATCH_RUNNING_MAX)
                return call_error_set(e, BUS_ERROR_QUOTA, "%u batches are under way; that is the limit.", open);
        if (q->n_slots == 0 && !q->all_slots)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION, "A batch needs at least one slot.");
        for (Batch *b = q->all_slots ? s->batches : NULL; b; b = b->next)
                if (!batch_ended(b) && b->all_slots)
                        return call_error_set(e, BUS_ERROR_DEVICE_BUSY, "Batch %llu (%s) takes every free slot already. Name the slots.",
                                              (unsigned long long) b->id, b->name);
        return check_slots(q, e) < 0 ? -1 : station_check_store(s, e);
}

static void take_free_slots(Batch *b) {
        for (Slot *slot = b->station->slots; slot; slot = slot->next)
                if (!slot->batch)
                        (void) take_slot(b, slot);
}

void batch_slot_added(Slot *slot) {
        for (Batch *b = slot->station->batches; b; b = b->next)
                if (b->all_slots && !batch_ended(b) && !slot->batch && take_slot(b, slot) == 0) {
                        (void) put_row(b);
                        TELL(b, "Slots");
                }
}

/* Where the numbers of its units come from; the numbers themselves lie in the store. */
static int choose_serials(Batch *b, const BatchRequest *q, CallError *e) {
        SerialWish wish = {.serials = q->serials ? q->serials : q->policy.serials};
        char source[SERIAL_SOURCE_MAX];

        if (serial_source(b->station, b->cache->plan, &wish, source, e) < 0)
                return -1;
        snprintf(b->policy.serials, sizeof(b->policy.serials), "%s", source);
        return 0;
}

static int begin(Batch *b, const BatchRequest *q, CallError *e) {
        b->policy = q->policy;
        b->uid = q->uid;
        b->armed = q->armed;
        b->all_slots = q->all_slots;
        b->created_usec = now_realtime();
        b->state = BATCH_STATE_RUNNING;
        b->first = q->policy.first_article == FIRST_ARTICLE_NO ? FIRST_OFF : FIRST_WAITING;
        b->package = q->package;
        snprintf(b->name, sizeof(b->name), "%s", q->name);
        snprintf(b->profile, sizeof(b->profile), "%s", q->profile ? q->profile : "");
        snprintf(b->operator_name, sizeof(b->operator_name), "%s", q->operator_name ? q->operator_name : "");
        snprintf(b->digest, sizeof(b->digest), "%s", q->package->digest);
        snprintf(b->package_name, sizeof(b->package_name), "%s", q->package->name);
        if (package_plan(b->package, &b->policy.plan, &b->cache, e) < 0 || choose_serials(b, q, e) < 0)
                return -1;
        for (size_t i = 0; i < q->n_slots; i++)
                if (take_slot(b, q->slots[i]) < 0)
                        return call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
        if (b->all_slots)
                take_free_slots(b);
        return put_row(b) < 0 ? call_error_set(e, BUS_ERROR_STORE, "The batch cannot be recorded.") : 0;
}

int station_start_batch(Station *s, const BatchRequest *q, Batch **ret, CallError *e) {
        uint64_t id;
        Batch *b;

        if (check_request(s, q, e) < 0)
                return -1;
        id = station_take_id(s);
        b = id > 0 ? batch_new(s, id) : NULL;
        if (!b)
                return call_error_set(e, BUS_ERROR_STORE, "No number is on disk at the moment; try again.");
        if (begin(b, q, e) < 0) {
                if (b->cache)
                        plan_cache_unref(b->package, b->cache);
                batch_free(b);
                return -1;
        }
        b->package->users++;
        log_message(LOG_NOTICE, MESSAGE_BATCH, "Batch %llu (%s) begins: %s on %zu slot(s).", (unsigned long long) id, b->name,
                  b->package_name, b->n_slots);
        notify_added(s, OBJECT_BATCH, b);
        NOTIFY(s, OBJECT_STATION, s, "BatchesRunning");
        update_slots(b);
        *ret = b;
        queue_run(s);
        return 0;
}

/* ---- what survived a restart ---- */

static void restore_recent(Batch *b, const char *text) {
        for (const char *at = text; *at && b->n_recent < ELEMENTSOF(b->recent); at += strcspn(at, "\n"), at += *at == '\n') {
                char result[16], class[16], stage[24];
                if (sscanf(at, "%15s %15s %23s", result, class, stage) == 3)
                        b->recent[b->n_recent++] = (BatchOutcome){job_result_from_string(result), fail_class_from_string(class),
                                                                  stage_from_string(stage)};
        }
}

static void restore_cohort(Batch *b, const char *text) {
        for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
                char key[24], value[200];
                int agreed;
                if (sscanf(at, "%d %23s %199[^\n]", &agreed, key, value) == 3)
                        note_fact(b, key, value, agreed != 0);
        }
}

static void restore_slots(Batch *b, const char *ports) {
        for (const char *at = ports; *at; at += strcspn(at, "\n"), at += *at == '\n') {
                char port[sizeof(((Slot *) 0)->port)];
                Slot *slot;
                snprintf(port, sizeof(port), "%.*s", (int) strcspn(at, "\n"), at);
                slot = hotplug_port_valid(port) ? slot_find_or_new(b->station, port) : NULL;
                if (slot && !slot->batch)
                        (void) take_slot(b, slot);
        }
}

void batch_restore(Station *s, const StoreBatch *row) {
        Batch *b = batch_new(s, row->id);

        if (!b)
                return;
        snprintf(b->name, sizeof(b->name), "%s", row->name);
        snprintf(b->digest, sizeof(b->digest), "%s", row->digest);
        snprintf(b->package_name, sizeof(b->package_name), "%s", row->package_name);
        snprintf(b->profile, sizeof(b->profile), "%s", row->profile);
        snprintf(b->operator_name, sizeof(b->operator_name), "%s", row->operator_name);
        snprintf(b->reason, sizeof(b->reason), "%s", row->reason);
        policy_from_text(&b->policy, row->policy);
        b->state = row->state;
        b->uid = row->uid;
        b->armed = row->armed;
        b->all_slots = row->all_slots;
        b->created_usec = row->created_usec;
        b->finished_usec = row->finished_usec;
        b->passed = row->passed;
        b->failed = row->failed;
        b->skipped = row->skipped;
        b->first = first_state_from_string(row->first_article);
        if (b->first == FIRST_RUNNING)
                b->first = FIRST_WAITING;
        restore_recent(b, row->recent);
        restore_cohort(b, row->cohort);
        if (batch_ended(b)) {
                b->ports = strdup(row->slots);
                return;
        }
        restore_slots(b, row->slots);
        b->package = station_find_package(s, row->digest);
        if (b->package)
                b->package->users++;
        if (!b->package)
                batch_enter_state(b, BATCH_STATE_STOPPED, "Its package is no longer in the store.");
        else if (b->state == BATCH_STATE_RUNNING && !streq(row->boot_id, s->boot_id) && !s->settings.resume_after_reboot)
                batch_enter_state(b, BATCH_STATE_PAUSED, "The computer was restarted. Look at what is in the slots, then resume.");
}

/* The plan is made once the package was checked. */
void batch_package_ready(Package *p) {
        for (Batch *b = p->station->batches; b; b = b->next) {
                CallError e = {};

                if (b->package != p || batch_ended(b) || b->cache)
                        continue;
                if (package_plan(p, &b->policy.plan, &b->cache, &e) < 0)
                        batch_stop_line(b, "%s", e.text);
                update_slots(b); /* now they want units again */
                check_end(b);
        }
}
