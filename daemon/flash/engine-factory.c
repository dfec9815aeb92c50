/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "firmware/serials.h"
#include "flash/engine-private.h"

/* The phase-check area with its serial number, and what the unit shall start as. */

static const PlanStep *initialising(const Engine *e) {
        for (size_t i = 0; i < e->plan->n_steps; i++)
                if (e->plan->steps[i].op == PLAN_INITIALISE)
                        return e->plan->steps + i;
        return NULL;
}

/* A unit keeps the layout that its firmware had; one that never had any gets that of its kind. */
static PhaseLayout layout_for(const Engine *e, const PlanStep *s) {
        if (e->knows_layout && phase_check_size(e->layout) <= s->size)
                return e->layout;
        return s->partition[0] && s->size >= phase_check_size(PHASE_SP15) ? PHASE_SP15 : PHASE_SP09;
}

void engine_note_phase_check(Engine *e, const void *data, size_t size) {
        char serial[PHASE_SERIAL_MAX + 1];

        if (!engine_step(e)->phase_check)
                return;
        e->knows_layout = phase_check_layout(data, size, &e->layout);
        phase_check_serial(data, size, serial);
        if (serial[0])
                engine_fact(e, "serial", "%s", serial);
}

static int check_serial(Engine *e, size_t max) {
        if (serial_valid(e->serial) && strlen(e->serial) <= max)
                return 0;
        return engine_fail(e, CLASS_PLAN, "serial",
                           "the serial number does not fit: this unit has room for %zu characters, and they must be A-Z a-z 0-9 . _ - or /", max);
}

int engine_serial(Engine *e) {
        const PlanStep *s = initialising(e);
        size_t max;
        int r;

        if (!s || !e->hooks->serial)
                return -EINVAL;
        max = phase_check_serial_max(layout_for(e, s));
        e->text_complete = true;
        r = e->hooks->serial(e->hooks->userdata, max, e->serial, e->failure);
        e->text_complete = r == 1;
        return r == 0 ? check_serial(e, max) : r;
}

/* Not every loader shows it again. */
static int prove(Engine *e, const uint8_t *image, size_t size) {
        const PlanStep *s = engine_step(e);
        _cleanup_free_ uint8_t *back = malloc(size);
        size_t got = 0, at = 0;
        int r;

        if (!back)
                return -ENOMEM;
        r = engine_read(e, back, size, true, size, &got);
        if (r == 1 && e->failure->class == CLASS_REFUSED) {
                engine_forget(e);
                engine_fact(e, "note", "%s not proven: the device does not show it again", engine_subject(s));
                return 0;
        }
        if (r != 0)
                return r;
        while (at < MIN(size, got) && image[at] == back[at])
                at++;
        e->offset = at;
        if (at < size)
                return engine_fail(e, CLASS_MISMATCH, "serial", "%s was written and reads back differently from byte %zu on", engine_subject(s),
                                   at);
        e->proven[e->step] = true;
        return 0;
}

int engine_initialise(Engine *e) {
        const PlanStep *s = engine_step(e);
        _cleanup_free_ uint8_t *image = malloc(s->size);
        int r;

        if (!image)
                return -ENOMEM;
        r = phase_check_make(image, s->size, layout_for(e, s), e->serial, e->input->stations ? e->input->stations : "DOWNLOAD");
        if (r == 0)
                r = engine_write_image(e, image, s->size);
        if (r == 0)
                r = prove(e, image, s->size);
        if (r == 0)
                engine_fact(e, "serial-written", "%s", e->serial);
        return r;
}

/* Asked for, so a loader that does not know it is a failure: nobody would find the unit as they want it. */
int engine_first_mode(Engine *e) {
        int r = bsl_set_first_mode(e->session, e->plan->options.first_mode - 1, e->failure);

        if (r == 0 || (r == 1 && e->failure->class != CLASS_REFUSED))
                e->report->wrote = true;
        return r;
}
