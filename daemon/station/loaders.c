/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "station/loaders.h"

#include <stdio.h>
#include <strings.h>

#include "firmware/digest.h"
#include "station/internal.h"
#include "station/steps-internal.h"
#include "station/trail.h"

#define USES_MAX 10000U

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
        const PacFile *emmc = pac_find_file(pac, "SPLLoaderEMMC"), *ufs = pac_find_file(pac, "SPLLoaderUFS"), *second = find_loader(pac, false);

        if (second && strncmp(second->type, "NAND_FDL", 8) == 0)
                return "nand";
        return emmc && ufs ? "" : emmc ? "emmc" : ufs ? "ufs" : "";
}

/* What stands before the code: a header with a signature, or none. */
static const char *signature_of(const PacFile *f) {
        static const struct {
                char mark[4];
                const char *word;
        } heads[] = {{{'D', 'H', 'T', 'B'}, "dhtb"}, {{'S', 'I', 'H', 'R'}, "sihr"}, {{0x27, 0x05, 0x19, 0x56}, "uimage"}};

        for (size_t i = 0; i < ELEMENTSOF(heads); i++)
                if (memcmp(f->head, heads[i].mark, 4) == 0)
                        return heads[i].word;
        return "none";
}

int loaders_hash(const uint8_t *const sha256[static 2], const uint64_t address[static 2], char ret[static 65]) {
        struct {
                uint64_t address[2];
                uint8_t sha256[2][32];
        } all = {};

        for (size_t i = 0; i < 2 && sha256[i]; i++) {
                all.address[i] = address[i];
                memcpy(all.sha256[i], sha256[i], 32);
        }
        return digest_hex(&all, sizeof(all), ret);
}

static bool describe(const Package *p, StoreLoaders *ret) {
        const PacFile *loader[2] = {find_loader(p->pac, true), find_loader(p->pac, false)};
        const uint8_t *sums[2] = {};
        uint64_t address[2] = {};
        const char *signature;

        if (!loader[0])
                return false;
        *ret = (StoreLoaders) {.fdl2_address = U64_UNKNOWN, .added_usec = now_realtime()};
        for (size_t i = 0; i < 2 && loader[i]; i++) {
                address[i] = loader[i]->blocks[0].base;
                sums[i] = loader[i]->sha256;
        }
        ret->fdl1_address = address[0];
        ret->fdl1_size = loader[0]->size;
        if (loader[1]) {
                ret->fdl2_address = address[1];
                ret->fdl2_size = loader[1]->size;
        }
        signature = signature_of(loader[0]);
        if (!loader[1] || streq(signature, signature_of(loader[1])))
                snprintf(ret->signature, sizeof(ret->signature), "%s", signature);
        else
                snprintf(ret->signature, sizeof(ret->signature), "%s+%s", signature, signature_of(loader[1]));
        snprintf(ret->family, sizeof(ret->family), "%s", pac_family(p->pac));
        text_clean(ret->board, sizeof(ret->board), p->pac->alias);
        text_clean(ret->product, sizeof(ret->product), p->pac->product);
        snprintf(ret->storage, sizeof(ret->storage), "%s", storage_of(p->pac));
        snprintf(ret->digest, sizeof(ret->digest), "%s", p->digest);
        snprintf(ret->package_name, sizeof(ret->package_name), "%s", p->name);
        return loaders_hash(sums, address, ret->hash) == 0;
}

static LoaderPair *find_pair(const Station *s, const char *hash) {
        for (LoaderPair *p = s->loaders; p; p = p->next)
                if (streq(p->row.hash, hash))
                        return p;
        return NULL;
}

static LoaderPair *add_pair(Station *s, const StoreLoaders *row, bool at_end) {
        LoaderPair *p = calloc(1, sizeof(*p)), **at = &s->loaders;

        if (!p)
                return NULL;
        p->row = *row;
        while (at_end && *at)
                at = &(*at)->next;
        p->next = *at;
        *at = p;
        return p;
}

static void row_written(int error, void *userdata) {
        station_note_write(userdata, error);
}

static LoaderPair *new_pair(Station *s, const StoreLoaders *row) {
        LoaderPair *p = add_pair(s, row, true);
        int r;

        if (!p)
                return NULL;
        s->writes_pending++;
        r = store_put_loaders(s->store, row, row_written, s);
        if (r < 0)
                station_note_write(s, r);
        return p;
}

void loaders_add_package(Package *p) {
        StoreLoaders row;
        const PacFile *last;
        LoaderPair *pair;

        if (!p->pac || p->problem[0] || p->loaders || !describe(p, &row))
                return;
        pair = find_pair(p->station, row.hash);
        if (!pair)
                pair = new_pair(p->station, &row);
        if (!pair)
                return;
        p->loaders = pair;
        pair->n_packages++;
        last = find_loader(p->pac, false);
        pac_file_hash(last ? last : find_loader(p->pac, true), pair->last);
        if (!pair->package || streq(p->digest, pair->row.digest))
                pair->package = p;
}

void loaders_remove_package(Package *gone) {
        LoaderPair *pair = gone->loaders;

        if (!pair)
                return;
        gone->loaders = NULL;
        pair->package = NULL;
        pair->n_packages = 0;
        for (Package *p = gone->station->packages; p; p = p->next)
                if (p->loaders == pair) {
                        pair->package = pair->package ? pair->package : p;
                        pair->n_packages++;
                }
}

void loaders_free_all(Station *s) {
        while (s->loaders) {
                LoaderPair *next = s->loaders->next;
                free(s->loaders);
                s->loaders = next;
        }
        free(s->uses);
        s->uses = NULL;
        s->n_uses = 0;
}

const LoaderPair *station_loaders(Station *s) {
        for (LoaderPair *p = s->loaders; p; p = p->next) {
                p->worked = p->failed = 0;
                for (size_t i = 0; i < s->n_uses; i++)
                        if (streq(s->uses[i].hash, p->row.hash)) {
                                p->worked += s->uses[i].worked;
                                p->failed += s->uses[i].failed;
                        }
        }
        return s->loaders;
}

const StoreLoaderUse *station_loader_uses(Station *s, size_t *ret_n) {
        *ret_n = s->n_uses;
        return s->uses;
}

void station_loader_limits(const Station *s, const LoaderPair *p, char *ret, size_t size) {
        BslDeadlines longer = s->settings.deadlines;
        LoaderTraits traits;

        station_loader_traits(s, p->last, &traits);
        if (!s->settings.fixed_deadlines)
                patience_apply(&longer, &traits);
        patience_differ(&s->settings.deadlines, &longer, ret, size);
}

/* ---- how they did ---- */

static StoreLoaderUse *find_use(const Station *s, const char *hash, const char *model) {
        for (size_t i = 0; i < s->n_uses; i++)
                if (streq(s->uses[i].hash, hash) && streq(s->uses[i].model, model))
                        return s->uses + i;
        return NULL;
}

static StoreLoaderUse *need_use(Station *s, const char *hash, const char *model) {
        StoreLoaderUse *use = find_use(s, hash, model), *more;

        if (use || s->n_uses >= USES_MAX)
                return use;
        more = reallocarray(s->uses, s->n_uses + 1, sizeof(*more));
        if (!more)
                return NULL;
        s->uses = more;
        use = more + s->n_uses++;
        *use = (StoreLoaderUse) {};
        snprintf(use->hash, sizeof(use->hash), "%s", hash);
        snprintf(use->model, sizeof(use->model), "%s", model);
        return use;
}

void loaders_restore(Station *s, const StoreSnapshot *snapshot) {
        for (size_t i = 0; i < snapshot->n_loaders; i++)
                (void) add_pair(s, snapshot->loaders + i, false);
        for (size_t i = snapshot->n_uses; i-- > 0;) {
                StoreLoaderUse *use = need_use(s, snapshot->uses[i].hash, snapshot->uses[i].model);
                if (use)
                        *use = snapshot->uses[i];
        }
}

/* Fails there more than it works: worth a word before it is tried again. */
static bool known_to_fail(const StoreLoaderUse *use) {
        return use && use->failed > 0 && use->failed > use->worked;
}

static void describe_failures(const StoreLoaderUse *use, char *ret, size_t size) {
        char worked[48] = " and never worked on it";

        if (use->worked > 0)
                snprintf(worked, sizeof(worked), " and worked %llu times", (unsigned long long) use->worked);
        snprintf(ret, size, "loaders %.8s are known to fail on %.48s: they failed %llu time%s, last with %.48s,%s", use->hash, use->model,
                 (unsigned long long) use->failed, use->failed == 1 ? "" : "s", use->last_code, worked);
}

/* ---- jobs ---- */

static const char *product_of(const Job *job) {
        const JobSteps *steps = job->run->steps;

        if (steps)
                return steps->input.product;
        return job->package && job->package->pac ? job->package->pac->product : "";
}

static const char *hash_of(const Job *job) {
        const JobSteps *steps = job->run->steps;

        if (steps)
                return steps->input.loaders;
        return job->package && job->package->loaders ? job->package->loaders->row.hash : "";
}

void loaders_job_starts(Job *job, const Device *d) {
        JobRun *run = job->run;
        const char *product = product_of(job);
        char text[256];

        text_clean(run->model, sizeof(run->model), product[0] ? product : d->slot->model);
        run->model_known = run->model[0] != '\0';
        if (!run->model_known)
                snprintf(run->model, sizeof(run->model), "%04x:%04x", d->vendor, d->product);
        if (hash_of(job)[0] && known_to_fail(find_use(job->station, hash_of(job), run->model))) {
                describe_failures(find_use(job->station, hash_of(job), run->model), text, sizeof(text));
                job_note(job, text);
        }
}

/* Failures that speak against the loaders themselves, not against a cable. */
static bool speaks_against(const Failure *f) {
        switch (f->stage) {
        case STAGE_LOAD_FDL1:
        case STAGE_LOAD_FDL2:
                return f->class == CLASS_REFUSED || f->class == CLASS_SILENT;
        case STAGE_EXEC_FDL1:
        case STAGE_REENUMERATE:
        case STAGE_EXEC_FDL2:
                return f->class != CLASS_HOST && f->class != CLASS_PLAN;
        default:
                return false;
        }
}

/* The slot remembers what it was started with, for jobs that do not say. */
static void remember(Job *job) {
        const JobRun *run = job->run;

        if (!job->slot)
                return;
        snprintf(job->slot->loaders, sizeof(job->slot->loaders), "%s", hash_of(job));
        if (run->model_known && job->failure.class != CLASS_MISMATCH)
                snprintf(job->slot->model, sizeof(job->slot->model), "%s", run->model);
}

void loaders_job_ends(Job *job, JobResult result) {
        JobRun *run = job->run;
        StoreLoaderUse *use;

        if (!hash_of(job)[0] || !run->talked)
                return;
        if (run->loaders_started)
                run->loaders_outcome = LOADERS_WORKED;
        else if (result == JOB_RESULT_FAILED && speaks_against(&job->failure))
                run->loaders_outcome = LOADERS_FAILED;
        snprintf(run->loaders, sizeof(run->loaders), "%s", hash_of(job));
        if (run->loaders_outcome == LOADERS_UNUSED)
                return;
        use = need_use(job->station, run->loaders, run->model);
        if (use) {
                use->worked += run->loaders_outcome == LOADERS_WORKED;
                use->failed += run->loaders_outcome == LOADERS_FAILED;
                use->last_usec = job->finished_usec;
                if (run->loaders_outcome == LOADERS_FAILED)
                        snprintf(use->last_code, sizeof(use->last_code), "%s", job->code);
        }
        if (run->loaders_outcome == LOADERS_WORKED)
                remember(job);
}

/* ---- the choice ---- */

static const Device *device_of(const Target *t) {
        return t->kind == TARGET_DEVICE ? t->device : t->kind == TARGET_SLOT ? t->slot->device : NULL;
}

static const Slot *slot_of(const Target *t) {
        return t->kind == TARGET_DEVICE ? t->device->slot : t->kind == TARGET_SLOT ? t->slot : NULL;
}

/* What the USB id alone rules out. */
static bool fits_id(const Device *d, const char *family) {
        bool module = streq(family, "uis8910") || streq(family, "uis8850");

        if (!d)
                return true;
        if (d->vendor == 0x0525)
                return streq(family, "uis8910");
        if (d->vendor == 0x1782 && d->product == 0x4d16)
                return streq(family, "uis8850");
        return d->vendor != 0x1782 || d->product != 0x4d00 || !module || streq(family, "uis8850");
}

/* What an earlier session on this very device heard (bsl-protocol §7; "SPRD3" is said by ROMs of all kinds). */
static bool fits_greeting(const Device *d, const char *family) {
        bool module = streq(family, "uis8910") || streq(family, "uis8850");

        if (!d)
                return true;
        if (streq(d->mode, "pdl"))
                return streq(family, "uis8910");
        if (strncmp(d->loader_version, "SPRD4:", 6) == 0)
                return streq(family, "phone");
        if (streq(d->loader_version, "Spreadtrum Boot Block version 1.2"))
                return module;
        return !streq(d->loader_version, "Spreadtrum Boot Block version 1.1") || !module;
}

static bool fits_word(const LoaderPair *pair, const char *word) {
        size_t n = strlen(word);

        if (n == 0 || (n >= 4 && strncmp(pair->row.hash, word, n) == 0) || strcasecmp(pair->row.family, word) == 0)
                return true;
        for (const Package *p = pair->package ? pair->package->station->packages : NULL; p; p = p->next)
                if (p->loaders == pair && ((n >= 4 && strncmp(p->digest, word, n) == 0) || strcasecmp(p->name, word) == 0 ||
                                           strcasecmp(p->pac->product, word) == 0 || strcasecmp(p->pac->alias, word) == 0))
                        return true;
        return !pair->package && (strcasecmp(pair->row.product, word) == 0 || strcasecmp(pair->row.board, word) == 0 ||
                                  strcasecmp(pair->row.package_name, word) == 0);
}

/* What is known of the unit before it was asked anything. */
static void expected_model(const Target *t, char ret[static 97]) {
        const Device *d = device_of(t);
        const Slot *slot = slot_of(t);

        if (slot && slot->model[0])
                snprintf(ret, 97, "%s", slot->model);
        else if (d)
                snprintf(ret, 97, "%04x:%04x", d->vendor, d->product);
        else
                ret[0] = '\0';
}

static void list_candidates(LoaderPair *const *list, size_t n, const char *model, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < n && used + 110 < size; i++) {
                const StoreLoaders *row = &list[i]->row;
                bool fails = known_to_fail(find_use(list[i]->package->station, row->hash, model));

                used += (size_t) snprintf(ret + used, size - used, "%s%.8s (%.24s, %.12s%s)", i ? ", " : "", row->hash, row->product, row->family,
                                          fails ? ", known to fail on this model" : "");
        }
}

static Package *take(LoaderPair *pair, const char *why, char ret_note[static 256]) {
        snprintf(ret_note, 256, "loaders %.8s of %.60s%s", pair->row.hash, pair->package->name, why);
        return pair->package;
}

static bool fits(const LoaderPair *pair, const Target *target, const char *word, const char *family) {
        return fits_word(pair, word) && fits_id(device_of(target), pair->row.family) && fits_greeting(device_of(target), pair->row.family) &&
               (!family[0] || streq(family, pair->row.family));
}

static int none_fits(const Station *s, const char *word, const LoaderPair *removed, CallError *e) {
        if (!s->loaders)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "Which loaders shall be used? The store has no package: import one, or give fdl1-address and fdl2-address and "
                                      "attach the files fdl1 and fdl2.");
        if (removed)
                return call_error_set(e, BUS_ERROR_INVALID_OPTION,
                                      "The loaders %.8s fit, but the package that brought them (%.80s) is no longer in the store. Import it again.",
                                      removed->row.hash, removed->row.package_name);
        return call_error_set(e, BUS_ERROR_INVALID_OPTION, "No loaders of the store fit%s%.64s%s.", word[0] ? " '" : " this device", word,
                              word[0] ? "'" : "");
}

static Package *choose(Station *s, LoaderPair **list, const Target *target, const char *word, const char *family, char ret_note[static 256], CallError *e) {
        const Slot *slot = slot_of(target);
        LoaderPair *removed = NULL;
        char text[360], model[97];
        size_t n = 0;

        for (LoaderPair *p = s->loaders; p; p = p->next) {
                if (!fits(p, target, word, family))
                        continue;
                if (!word[0] && slot && streq(p->row.hash, slot->loaders) && p->package)
                        return take(p, ", as for the last unit in this slot", ret_note);
                if (p->package)
                        list[n++] = p;
                else
                        removed = p;
        }
        if (n == 1)
                return take(list[0], word[0] ? "" : ", the only ones that fit", ret_note);
        if (n == 0) {
                (void) none_fits(s, word, removed, e);
                return NULL;
        }
        expected_model(target, model);
        list_candidates(list, n, model, text, sizeof(text));
        call_error_set(e, BUS_ERROR_INVALID_OPTION, "Several loaders could be meant, and they differ: %s. Name one (option loaders) or give a package.", text);
        return NULL;
}

Package *station_choose_loaders(Station *s, const Target *target, const char *word, const char *family, char ret_note[static 256], CallError *e) {
        _cleanup_free_ LoaderPair **list = NULL;
        size_t room = 1;

        ret_note[0] = '\0';
        for (const LoaderPair *p = s->loaders; p; p = p->next)
                room++;
        list = reallocarray(NULL, room, sizeof(*list)); /* NOLINT: of pointers */
        if (!list) {
                call_error_set(e, BUS_ERROR_HOST, "Out of memory.");
                return NULL;
        }
        return choose(s, list, target, word, family, ret_note, e);
}

void job_add_note(Job *job, const char *text) {
        job_note(job, text);
}
