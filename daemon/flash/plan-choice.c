/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan-choice.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* Which files of a package a job is about. */

static int refuse(Failure *f, const char *detail, const char *format, ...) _printf_(3, 4);
static int refuse(Failure *f, const char *detail, const char *format, ...) {
        char text[sizeof(f->text)];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return failure_set(f, CLASS_PLAN, detail, "%s", text);
}

/* As many as there is room for. */
static void list_ids(const Pac *pac, char *ret, size_t size) {
        size_t used = 0;

        ret[0] = '\0';
        for (size_t i = 0; i < pac->n_files; i++) {
                const char *id = pac->files[i].id;

                if (pac_file_is_loader(pac->files + i) || !id[0])
                        continue;
                if (used + strlen(id) + 8 >= size) {
                        snprintf(ret + used, size - used, ", …");
                        return;
                }
                used += (size_t) snprintf(ret + used, size - used, "%s%s", used ? ", " : "", id);
        }
}

static const PacFile *find_id(const Pac *pac, const char *id) {
        for (size_t i = 0; i < pac->n_files; i++)
                if (strcasecmp(pac->files[i].id, id) == 0)
                        return pac->files + i;
        return NULL;
}

static int check_list(const Pac *pac, const char *list, bool include, Failure *f) {
        char id[128], all[180];

        while (choice_next(&list, id, sizeof(id))) {
                const PacFile *file = find_id(pac, id);

                if (include && strcasecmp(id, "all") == 0)
                        continue;
                if (!file) {
                        list_ids(pac, all, sizeof(all));
                        return refuse(f, "choice", "The package has no file \"%.40s\". It has %s.", id, all);
                }
                if (!include && file->selected && pac_file_is_loader(file))
                        return refuse(f, "choice", "%.60s is a loader: nothing can be done without it, so it cannot be left out.", file->id);
        }
        return 0;
}

/* Loaders are no choice: those of the package are used. */
static bool is_chosen(const PlanOptions *o, const PacFile *file) {
        const PlanChoice *c = &o->choice;

        if (pac_file_is_loader(file))
                return file->selected;
        if (choice_lists(c->exclude, file->id))
                return false;
        if (choice_lists(c->include, file->id))
                return true;
        if (o->mode == FLASH_MODE_RESEARCH)
                return file->selected && choice_lists(c->include, "all");
        return file->selected;
}

int plan_choose_files(const Pac *pac, const PlanOptions *o, PacFile **ret, Failure *f) {
        _cleanup_free_ PacFile *files = calloc(MAX(pac->n_files, (size_t) 1), sizeof(*files));
        char all[160];
        bool any = false;
        int r;

        if (!files)
                return -ENOMEM;
        r = check_list(pac, o->choice.include, true, f);
        if (r == 0)
                r = check_list(pac, o->choice.exclude, false, f);
        if (r != 0)
                return r;
        for (size_t i = 0; i < pac->n_files; i++) {
                files[i] = pac->files[i];
                files[i].selected = is_chosen(o, files + i);
                any = any || (files[i].selected && !pac_file_is_loader(files + i));
        }
        if (o->choice.erase_all == CHOICE_YES && (o->mode == FLASH_MODE_UPGRADE || o->table_only || o->check_only))
                return refuse(f, "erase-all", "Erasing all of the flash is for factory and research mode; upgrade mode never does that.");
        if (o->mode == FLASH_MODE_RESEARCH && !any && o->choice.erase_all != CHOICE_YES && !o->repartition && !o->choice.check[0] && !o->check_only) {
                list_ids(pac, all, sizeof(all));
                return refuse(f, "choice", "Research mode does only what is chosen: --include=all, or ids of %s.", all);
        }
        if (o->mode != FLASH_MODE_RESEARCH && (o->choice.nv == CHOICE_NO || o->choice.table_check == CHOICE_NO))
                return refuse(f, "choice", "%s is a choice of research mode only.", o->choice.nv == CHOICE_NO ? "nv=package" : "table-check=no");
        *ret = TAKE_PTR(files);
        return 0;
}
