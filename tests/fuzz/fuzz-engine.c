/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole flash of a phone, or of a module, against a device that answers whatever it likes. */
#include <errno.h>
#include <string.h>

#include "flash/engine.h"
#include "hostile.h"
#include "pacmaker/pacmaker.h"

typedef struct Subject {
        uint8_t *package;
        size_t size;
        Pac *pac;
        Plan *plan;
} Subject;

static Subject subjects[3];

typedef struct Seen {
        unsigned intents, backups;
        bool saved_first;
} Seen;

static void on_step(void *userdata, unsigned step, Stage stage, const char *partition) {
        (void) userdata;
        (void) step;
        MUST(stage != STAGE_INVALID && partition);
}

static void on_progress(void *userdata, uint64_t done, uint64_t total) {
        (void) userdata;
        MUST(done <= total);
}

static int on_intent(void *userdata, unsigned step, Stage stage, const char *partition) {
        (void) step;
        (void) stage;
        (void) partition;
        ((Seen *) userdata)->intents++;
        return 0;
}

static int on_backup(void *userdata, unsigned step, const char *name, void *data, size_t size) {
        Seen *seen = userdata;

        (void) step;
        MUST(name[0] && (size == 0 || data));
        free(data);
        seen->backups++;
        return 0;
}

static void on_fact(void *userdata, const char *key, const char *value) {
        (void) userdata;
        MUST(key[0] && strlen(value) < 1000);
}

static int on_reenumerate(void *userdata, uint32_t timeout_ms, Channel **ret, Failure *f) {
        (void) userdata;
        (void) timeout_ms;
        (void) ret;
        return failure_set(f, CLASS_GONE, "not-back", "it did not come back");
}

static bool never(void *userdata) {
        (void) userdata;
        return false;
}

static void prepare(Subject *s, const char *family) {
        PacMaker *m = pm_new_family(family, 5);
        Failure f = FAILURE_INIT;
        PacReader reader;

        MUST(m);
        for (unsigned i = 0; i < m->n_files; i++)
                if (m->files[i].data == PM_RANDOM && m->files[i].size > 4096)
                        m->files[i].size = 4096;
        MUST(pm_build(m, &s->package, &s->size) == 0);
        pm_free(m);
        reader = pac_reader_for_memory(s->package, s->size);
        MUST(pac_parse(&reader, &s->pac, &f) == 0);
        MUST(plan_make(s->pac, &(PlanOptions){.mode = FLASH_MODE_UPGRADE, .allow_warnings = true}, &s->plan, &f) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const families[] = {"phone", "uis8910", "phone-ab"};
        Script script = {data, size};
        uint8_t how = script_byte(&script);
        Subject *s = subjects + how % 3;
        Failure f = FAILURE_INIT;
        EngineReport report = {};
        EngineInput input = {};
        Seen seen = {};
        Hostile h;
        EngineHooks hooks = {
                .step = on_step, .progress = on_progress, .intent = on_intent, .backup = on_backup, .fact = on_fact,
                .reenumerate = on_reenumerate, .cancelled = never, .userdata = &seen,
        };
        int r;

        if (!s->plan)
                prepare(s, families[how % 3]);
        hostile_init(&h, script);
        input = (EngineInput){.plan = s->plan, .package = s->package, .package_size = s->size, .on_bus_ms = 60000, .now_s = 1700000000, .raw = how & 4, .trace = trace_new(),
                              .public_data = how & 8};
        bsl_deadlines_default(&input.deadlines);
        MUST(input.trace);
        r = engine_run(&input, &h.channel, &hooks, &report, &f);
        /* Whatever the device said, what is kept of it is text. */
        size_t n = 0;
        char *text = trace_text(input.trace, &(TraceHead){.kind = "flash", .deadlines = &input.deadlines, .code = ""}, &n);
        MUST(text && n > 5 && strcmp(text + n - 5, "\nend\n") == 0 && strlen(text) == n);
        for (size_t i = 0; i < n; i++)
                MUST(text[i] == '\n' || (text[i] >= ' ' && text[i] < 0x7f));
        free(text);
        trace_unref(input.trace);
        MUST(r <= 1);
        if (r == 1) {
                MUST(f.class != CLASS_NONE && f.stage != STAGE_INVALID);
                MUST(f.text[0] && memchr(f.text, 0, sizeof(f.text)));
        }
        if (report.wrote)
                MUST(seen.intents > 0);
        return 0;
}
