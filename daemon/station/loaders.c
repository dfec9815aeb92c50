/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/loaders.h"

#include <stdio.h>
#include <strings.h>

#include "firmware/digest.h"
#include "station/internal.h"

/* ---- the list ---- */

static const PacFile *find_loader(const Pac *pac, bool first) {
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *f = pac->files + i;
                bool is_first = streq(f->type, "FDL") || streq(f->type, "HOST_FDL");

                if (f->selected && f->has_data && pac_file_is_loader(f) && is_first == first && f->n_blocks > 0)
                        return f;
        }
        return NULL;
}

/* Packages with boot stages for both kinds of storage are for either. */
static const char *storage_of(const Pac *pac) {
        const PacFile *emmc = pac_find_file(pac, "SPLLoaderEMMC"), *ufs = pac_find_file(pac, "SPLLoaderUFS");

        return emmc && ufs ? "" : emmc ? "emmc" : ufs ? "ufs" : "";
}

static bool make_pair(Package *p, LoaderPair *ret) {
        const PacFile *loader[2];
        struct {
                uint64_t address[2];
                uint8_t sha256[2][32];
        } all = {};

        if (!p->pac || p->problem[0])
                return false;
        loader[0] = find_loader(p->pac, true);
        loader[1] = find_loader(p->pac, false);
        if (!loader[0])
                return false;
        *ret = (LoaderPair) {.package = p, .n_packages = 1, .family = pac_family(p->pac), .fdl2_address = U64_UNKNOWN};
        ret->fdl1_address = loader[0]->blocks[0].base;
        ret->fdl1_size = loader[0]->size;
        if (loader[1]) {
                ret->fdl2_address = loader[1]->blocks[0].base;
                ret->fdl2_size = loader[1]->size;
        }
        for (size_t i = 0; i < 2 && loader[i]; i++) {
                all.address[i] = loader[i]->blocks[0].base;
                memcpy(all.sha256[i], loader[i]->sha256, 32);
        }
        snprintf(ret->storage, sizeof(ret->storage), "%s", storage_of(p->pac));
        return digest_hex(&all, sizeof(all), ret->hash) == 0;
}

/* Failures that speak against the loaders themselves. */
static void count_jobs(const Station *s, const Package *p, LoaderPair *pair) {
        for (const Job *j = s->jobs; j; j = j->next) {
                if (j->package != p || j->state != JOB_STATE_FINISHED || streq(j->kind, "import"))
                        continue;
                if (j->result == JOB_RESULT_DONE)
                        pair->worked++;
                else if (j->result == JOB_RESULT_FAILED &&
                         (j->failure.stage == STAGE_LOAD_FDL1 || j->failure.stage == STAGE_EXEC_FDL1 ||
                          j->failure.stage == STAGE_LOAD_FDL2 || j->failure.stage == STAGE_EXEC_FDL2))
                        pair->failed++;
        }
}

int station_loaders(Station *s, LoaderPair **ret, size_t *ret_n) {
        LoaderPair *list, pair;
        size_t n = 0, room = 0, k;

        for (Package *p = s->packages; p; p = p->next)
                room++;
        list = calloc(room + 1, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (Package *p = s->packages; p; p = p->next) {
                if (!make_pair(p, &pair))
                        continue;
                for (k = 0; k < n && !streq(list[k].hash, pair.hash); k++)
                        ;
                if (k == n)
                        list[n++] = pair;
                else
                        list[k].n_packages++;
                count_jobs(s, p, list + k);
        }
        *ret = list;
        *ret_n = n;
        return 0;
}

/* ---- the choice ---- */

static const Device *device_of(const Target *t) {
        return t->kind == TARGET_DEVICE ? t->device : t->kind == TARGET_SLOT ? t->slot->device : NULL;
}

static const Slot *slot_of(const Target *t) {
        return t->kind == TARGET_DEVICE ? t->device->slot : t->kind == TARGET_SLOT ? t->slot : NULL;
}

/* What the USB id alone rules out. */
static bool fits_id(const Device *d, const LoaderPair *p) {
        bool module = streq(p->family, "uis8910") || streq(p->family, "uis8850");

        if (!d)
                return true;
        if (d->vendor == 0x0525)
                return streq(p->family, "uis8910");
        if (d->vendor == 0x1782 && d->product == 0x4d16)
                return streq(p->family, "uis8850");
        return d->vendor != 0x1782 || d->product != 0x4d00 || !module || streq(p->family, "uis8850");
}

static bool fits_word(const LoaderPair *p, const char *word) {
        size_t n = strlen(word);

        return n == 0 || (n >= 4 && strncmp(p->hash, word, n) == 0) || (n >= 4 && strncmp(p->package->digest, word, n) == 0) ||
               strcasecmp(p->package->name, word) == 0 || strcasecmp(p->package->pac->product, word) == 0 ||
               strcasecmp(p->family, word) == 0;
}

/* The last flash in that socket that went well: most likely the same kind of unit sits there. */
static const Package *last_in_slot(Station *s, const Slot *slot) {
        const Package *last = NULL;

        for (const Job *j = s->jobs; slot && j; j = j->next)
                if (j->slot == slot && j->result == JOB_RESULT_DONE && j->package && j->package->pac)
                        last = j->package;
        return last;
}

static void list_candidates(const LoaderPair *list, size_t n, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < n && used + 80 < size; i++)
                used += (size_t) snprintf(ret + used, size - used, "%s%.8s (%.24s, %.12s)", i ? ", " : "", list[i].hash,
                                          list[i].package->pac->product, list[i].family);
}

static Package *take(const LoaderPair *p, const char *why, char ret_note[static 256]) {
        if (p->failed > 0)
                snprintf(ret_note, 256, "loaders %.8s of %.60s%s; %u job%s failed while these were loaded or started", p->hash, p->package->name, why,
                         p->failed, p->failed == 1 ? "" : "s");
        else
                snprintf(ret_note, 256, "loaders %.8s of %.60s%s", p->hash, p->package->name, why);
        return p->package;
}

Package *station_choose_loaders(Station *s, const Target *target, const char *word, char ret_note[static 256], CallError *e) {
        _cleanup_free_ LoaderPair *list = NULL;
        const Package *last = word[0] ? NULL : last_in_slot(s, slot_of(target));
        LoaderPair of_last;
        char text[360];
        size_t n = 0, fitting = 0;

        ret_note[0] = '\0';
        if (station_loaders(s, &list, &n) < 0) {
                call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
                return NULL;
        }
        for (size_t i = 0; i < n; i++)
                if (fits_word(list + i, word) && fits_id(device_of(target), list + i))
                        list[fitting++] = list[i];
        if (last && make_pair((Package *) last, &of_last))
                for (size_t i = 0; i < fitting; i++)
                        if (streq(list[i].hash, of_last.hash))
                                return take(list + i, ", as for the last unit in this slot", ret_note);
        if (fitting == 1)
                return take(list, word[0] ? "" : ", the only ones that fit", ret_note);
        list_candidates(list, fitting, text, sizeof(text));
        if (fitting == 0)
                call_error_set(e, BUS_ERROR_INVALID_OPTION,
                               n == 0 ? "Which loaders shall be used? The store has no package: import one, or give fdl1-address and fdl2-address and "
                                        "attach the files fdl1 and fdl2."
                                      : "No loaders of the store fit%s%.64s%s.",
                               word[0] ? " '" : " this device", word, word[0] ? "'" : "");
        else
                call_error_set(e, BUS_ERROR_INVALID_OPTION, "Several loaders could be meant, and they differ: %s. Name one (option loaders) or give a package.",
                               text);
        return NULL;
}

void job_add_note(Job *job, const char *text) {
        job_note(job, text);
}
