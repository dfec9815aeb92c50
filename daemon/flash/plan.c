/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan.h"

#include <stdarg.h>
#include <strings.h>

#include "firmware/image.h"
#include "flash/ext-table.h"
#include "flash/family.h"
#include "flash/plan-choice.h"
#include "flash/variant.h"

#define READ_BLOCK 0x3000u
#define NV_HEADER 512u /* what a loader keeps before the image, and gives nobody */
#define NV_READ_DEFAULT 0x100000u
#define PHASE_CHECK_READ_DEFAULT 0x2000u
#define PHASE_CHECK_AREA 0x2000u   /* of miscdata, at its beginning; what lies behind it is the boot loader's */
#define PHASE_CHECK_MODULE 0x100u

#define ADDRESS_RUNNING_NV 0xfe000001u
#define ADDRESS_PHASE_CHECK 0xfe000002u
#define ADDRESS_FIXED_NV 0xfe000003u
#define ADDRESS_PREPACK 0xfe000004u
#define ADDRESS_APPLICATION 0xfe000005u
#define ADDRESS_FORMAT 0xfe000006u
#define FOURCC_FACTORY 0x43414646u /* "FFAC": the file system that holds NV, IMEIs and PhaseCheck */

#define ADDRESS_NOR_BOOT 0x80000000u
#define ADDRESS_NOR_RUNNING_NV 0x90000003u

enum {
#define FAMILY(word, id, ...) id##_INDEX,
#include "flash/types.def"
        FAMILY_MAX,
#define FAMILY(word, id, ...) id = 1 << id##_INDEX,
#include "flash/types.def"
        ANY = (1 << FAMILY_MAX) - 1,
};

typedef enum Form { FORM_ADDRESS, FORM_NAME } Form;
typedef enum Kind {
        KIND_FIRST_LOADER,
        KIND_SECOND_LOADER,
        KIND_WRITE,
        KIND_WRITE_AND_STAMP,
        KIND_WRITE_NV,
        KIND_ERASE,
        KIND_TABLE,
        KIND_NOTHING,
} Kind;

typedef struct Type {
        const char *name;
        Kind kind;
        Form form;
        unsigned families;
        uint32_t block;
} Type;

static const Type types[] = {
#define TYPE(name, kind, form, families, block) {name, KIND_##kind, FORM_##form, families, block},
#include "flash/types.def"
};

static const struct {
        const char *name, *why;
} unsupported[] = {
#define UNSUPPORTED(name, why) {name, why},
#include "flash/types.def"
};

static const struct {
        Form form;
        const char *name;
        uint64_t address;
} critical_places[] = {
#define CRITICAL(form, name, address) {FORM_##form, name, address},
#include "flash/types.def"
};

static const struct {
        const char *product, *type;
        uint32_t block;
} product_blocks[] = {
#define PRODUCT_BLOCK(product, type, block) {product, type, block},
#include "flash/types.def"
};

static const struct {
        const char *product;
        size_t deadline; /* offset in BslDeadlines */
        uint32_t ms;
} product_patience[] = {
#define PRODUCT_PATIENCE(product, deadline, ms) {product, offsetof(BslDeadlines, deadline), ms},
#include "flash/types.def"
};

typedef struct Maker {
        const Pac *pac;      /* with the files selected that are chosen */
        const Pac *whole;    /* as it is */
        Plan *plan;
        Failure *f;
        const Family *kind;
        unsigned family; /* kind->id */
        size_t steps_room;
        size_t questions; /* index of the step before which the unit can be asked what variants it takes */
        bool spl_missing; /* between the erase of the first boot stage and its write */
        char *replaced;   /* names of what is overwritten, for people */
        const PacFile *late; /* phase check that comes behind the NV, see comes_late() */
} Maker;

static int refuse(Maker *m, const char *detail, const char *format, ...) _printf_(3, 4);
static int refuse(Maker *m, const char *detail, const char *format, ...) {
        char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return failure_set(m->f, CLASS_PLAN, detail, "%s", text);
}

/* Whole sentences only: one that does not fit is left out. */
static void append_sentence(char *to, size_t size, const char *text) {
        size_t n = strlen(to);

        if (n + (n > 0) + strlen(text) < size)
                snprintf(to + n, size - n, "%s%s", n > 0 ? " " : "", text);
}

/* What can be shown but not run. */
static int cannot_run(Maker *m, const char *detail, const char *format, ...) _printf_(3, 4);
static int cannot_run(Maker *m, const char *detail, const char *format, ...) {
        char text[256];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (!m->plan->options.display_only)
                return failure_set(m->f, CLASS_PLAN, detail, "%s", text);
        append_sentence(m->plan->not_executable, sizeof(m->plan->not_executable), text);
        return 0;
}

static int say(char ***list, size_t *n, const char *format, ...) _printf_(3, 4);
static int say(char ***list, size_t *n, const char *format, ...) {
        char **all = reallocarray(*list, *n + 1, sizeof(char *)), *text;
        va_list ap;
        int r;

        if (!all)
                return -ENOMEM;
        *list = all;
        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        all[(*n)++] = text;
        return 0;
}
#define LOSE(m, ...) say(&(m)->plan->lost, &(m)->plan->n_lost, __VA_ARGS__)
#define KEEP(m, ...) say(&(m)->plan->kept, &(m)->plan->n_kept, __VA_ARGS__)
#define NOTE(m, ...) say(&(m)->plan->notes, &(m)->plan->n_notes, __VA_ARGS__)

/* ---- what a file of the package is ---------------------------------------------------------------------- */

static const Type *find_type(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (streq(types[i].name, name))
                        return types + i;
        return NULL;
}

static const PacBlock *target_of(const PacFile *file) {
        static const PacBlock none;

        return file->n_blocks > 0 ? file->blocks : &none;
}

static bool by_name(const PacFile *file) {
        const Type *type = find_type(file->type);

        return type && type->form == FORM_NAME;
}

static bool at_address(const PacFile *file, uint64_t address) {
        return !by_name(file) && file->n_blocks > 0 && file->blocks[0].base == address;
}

static bool is_phase_check(const PacFile *file) {
        return strcasecmp(file->id, "PhaseCheck") == 0 || partition_belongs_to(target_of(file)->name, "miscdata") ||
               at_address(file, ADDRESS_PHASE_CHECK) || at_address(file, 0x90000002);
}

static bool is_product_data(const PacFile *file) {
        return strcasecmp(file->id, "ProdNV") == 0 || partition_belongs_to(target_of(file)->name, "prodnv");
}

static bool is_nv(const PacFile *file) {
        const Type *type = find_type(file->type);

        return type && type->kind == KIND_WRITE_NV;
}

/* A place that holds calibration or identity, whatever the package calls it. */
static bool is_nv_place(const PacFile *file) {
        const char *name = by_name(file) ? target_of(file)->name : "";

        return strstr(name, "fixnv") || partition_belongs_to(name, "calinv") || at_address(file, ADDRESS_FIXED_NV) ||
               at_address(file, 0x90000001) ||
               (at_address(file, ADDRESS_FORMAT) && target_of(file)->size == FOURCC_FACTORY);
}

static bool is_erase(const PacFile *file) {
        const Type *type = find_type(file->type);

        return type && type->kind == KIND_ERASE;
}

static bool erases_all(const PacFile *file) {
        return is_erase(file) && (by_name(file) ? strcasecmp(target_of(file)->name, "erase_all") == 0
                                                : target_of(file)->base == 0 && target_of(file)->size == UINT32_MAX);
}

/* Identity that is left alone: PhaseCheck, product data, and whatever the package itself wants to be preserved. */
static bool is_protected(const PacFile *file) {
        return is_phase_check(file) || is_product_data(file) || (file->backup == 1 && !is_nv(file));
}

bool plan_is_boot_chain(const char *partition, uint64_t address) {
        for (size_t i = 0; i < ELEMENTSOF(critical_places); i++)
                if (critical_places[i].form == FORM_NAME ? partition_belongs_to(partition, critical_places[i].name)
                                                         : !partition[0] && address == critical_places[i].address)
                        return true;
        return false;
}

static bool is_critical(const PacFile *file) {
        return file->n_blocks > 0 && plan_is_boot_chain(by_name(file) ? target_of(file)->name : "", target_of(file)->base);
}

static bool is_spl_place(const PacFile *file) {
        return by_name(file) ? partition_belongs_to(target_of(file)->name, "splloader")
                             : at_address(file, 0x60000000) || at_address(file, ADDRESS_NOR_BOOT);
}

static bool keeps_nv(const Maker *m, const PacFile *file) {
        switch (m->plan->options.mode) {
        case FLASH_MODE_UPGRADE:
                return true;
        case FLASH_MODE_FACTORY:
                return false;
        default:
                if (m->plan->options.choice.nv != CHOICE_AS_MODE)
                        return m->plan->options.choice.nv == CHOICE_YES;
                return m->pac->nv_backup_enabled && file->backup != 0;
        }
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

static PlanStep *add_step(Maker *m, PlanOp op, Stage stage) {
        Plan *plan = m->plan;

        if (plan->n_steps == m->steps_room) {
                size_t room = MAX(m->steps_room * 2, (size_t) 32);
                PlanStep *steps = reallocarray(plan->steps, room, sizeof(PlanStep));
                if (!steps)
                        return NULL;
                plan->steps = steps;
                m->steps_room = room;
        }
        plan->steps[plan->n_steps] =
                (PlanStep){.op = op, .stage = stage, .backup = -1, .write = -1, .offset = U64_UNKNOWN};
        return plan->steps + plan->n_steps++;
}

static void set_target(PlanStep *step, const PacFile *file) {
        strcpy(step->id, file->id);
        if (by_name(file))
                strcpy(step->partition, target_of(file)->name);
        else
                step->address = target_of(file)->base;
}

static uint32_t block_of(const Maker *m, const PacFile *file) {
        for (size_t i = 0; i < ELEMENTSOF(product_blocks); i++)
                if (strcasestr(m->pac->product, product_blocks[i].product) && streq(product_blocks[i].type, file->type))
                        return product_blocks[i].block;
        return find_type(file->type)->block;
}

static void set_patience(Maker *m) {
        for (size_t i = 0; i < ELEMENTSOF(product_patience); i++)
                if (strcasestr(m->pac->product, product_patience[i].product))
                        memcpy((char *) &m->plan->at_least + product_patience[i].deadline, &product_patience[i].ms,
                               sizeof(uint32_t));
}

/* Before what stands there; numbers of steps that are named in others move along. */
static int insert_step(Maker *m, size_t at, PlanOp op, Stage stage) {
        PlanStep *step = add_step(m, op, stage), *steps = m->plan->steps, new;

        if (!step)
                return -ENOMEM;
        steps = m->plan->steps;
        new = *step;
        memmove(steps + at + 1, steps + at, (m->plan->n_steps - 1 - at) * sizeof(PlanStep));
        steps[at] = new;
        for (size_t i = at + 1; i < m->plan->n_steps; i++) {
                steps[i].backup += steps[i].backup >= (int) at;
                steps[i].write += steps[i].write >= (int) at;
        }
        return 0;
}

static bool has_word(ChoiceTri t, bool otherwise) {
        return t == CHOICE_AS_MODE ? otherwise : t == CHOICE_YES;
}

/* Written beside the files. */
static bool wants_stamps(const Maker *m) {
        return has_word(m->plan->options.choice.stamps, m->plan->options.mode != FLASH_MODE_RESEARCH);
}

static int add_plain(Maker *m, PlanOp op, Stage stage) {
        return add_step(m, op, stage) ? 0 : -ENOMEM;
}

static int add_loader(Maker *m, const PacFile *file, bool first) {
        PlanProtocol protocol = streq(file->type, "HOST_FDL") ? PLAN_PDL : PLAN_BSL;
        PlanStep *step = add_step(m, PLAN_LOAD, first ? STAGE_LOAD_FDL1 : STAGE_LOAD_FDL2);

        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->protocol = protocol;
        step->offset = file->offset;
        step->size = file->size;
        step->block = block_of(m, file);
        step = add_step(m, PLAN_EXEC, first ? STAGE_EXEC_FDL1 : STAGE_EXEC_FDL2);
        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->protocol = protocol;
        return 0;
}

static int check_loader(Maker *m, const PacFile *file) {
        const PacBlock *b = target_of(file);

        if (!file->has_data)
                return refuse(m, "loader", "The loader %s has no data in the package.", file->id);
        if (file->n_blocks != 1 || b->base > UINT32_MAX || file->size > UINT32_MAX - b->base)
                return refuse(m, "loader", "The loader %s has no usable address.", file->id);
        if (!(find_type(file->type)->families & m->family))
                return refuse(m, "loader", "The loader %s of type %s does not belong to the family %s.", file->id,
                              file->type, m->plan->family);
        return 0;
}

int plan_find_loaders(const Pac *pac, const PacFile *ret[static 2], Failure *f) {
        ret[0] = ret[1] = NULL;
        for (size_t i = 0; i < pac->n_files; i++) {
                const PacFile *file = pac->files + i;
                const Type *type = find_type(file->type);

                if (!file->selected || !type || type->kind > KIND_SECOND_LOADER)
                        continue;
                if (ret[type->kind])
                        return failure_set(f, CLASS_PLAN, "loader", "The package has two loaders of one kind: %s and %s.",
                                           ret[type->kind]->id, file->id);
                ret[type->kind] = file;
        }
        if (!ret[0])
                return failure_set(f, CLASS_PLAN, "loader", "The package has no first loader.");
        return 0;
}

unsigned plan_family_loaders(const char *family) {
        const Family *f = family_find(family);

        return f ? f->loaders : 0;
}

static int add_check(Maker *m, const char *word, Stage stage) {
        char value[CHOICE_TEXT_MAX];
        ChoiceCheck how = choice_check(&m->plan->options.choice, word, value, sizeof(value));
        PlanStep *step;

        if (how == CHECK_NOT)
                return 0;
        if (!m->kind->questions) {
                if (how == CHECK_MUST)
                        return refuse(m, "unsupported", "The check %s is not possible: loaders of the family %s do not know it.", word, m->plan->family);
                return NOTE(m, "The check %s is left out: loaders of the family %s do not know it.", word, m->plan->family);
        }
        step = add_step(m, PLAN_CHECK, stage);
        if (!step)
                return -ENOMEM;
        snprintf(step->id, sizeof(step->id), "%s", word);
        step->optional = how == CHECK_TRY;
        return 0;
}

/* Between the loaders: what only the first one can do. It dies of what it does not know, so nothing is sent that nobody asked for. */
static int add_first_questions(Maker *m) {
        const PlanChoice *c = &m->plan->options.choice;
        PlanStep *step;
        int r;

        if (c->keep_charge == CHOICE_YES && !m->kind->questions) {
                r = c->keep_charge_try ? NOTE(m, "Charging is left as it is: loaders of the family %s know no command for it.", m->plan->family)
                                       : refuse(m, "unsupported", "Loaders of the family %s know no command that keeps a unit charging.", m->plan->family);
                if (r != 0)
                        return r;
        } else if (c->keep_charge == CHOICE_YES) {
                step = add_step(m, PLAN_KEEP_CHARGE, STAGE_EXEC_FDL1);
                if (!step)
                        return -ENOMEM;
                step->optional = c->keep_charge_try;
        }
        return add_check(m, "ddr", STAGE_EXEC_FDL1);
}

static int add_checks(Maker *m) {
        static const char *const words[] = {"old-memory", "chip-type", "memory-type", "bad-blocks"};
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(words); i++)
                r = add_check(m, words[i], STAGE_IDENTIFY);
        return r;
}

static int add_loaders(Maker *m) {
        const PacFile *loader[2];
        int r;

        r = plan_find_loaders(m->pac, loader, m->f);
        for (size_t i = 0; r == 0 && i < 2; i++)
                r = loader[i] ? check_loader(m, loader[i]) : 0;
        if (r != 0)
                return r;
        if (m->kind->loaders > 1 && !loader[1])
                return refuse(m, "loader", "The package has no second loader.");
        for (size_t i = 0; i < 2 && loader[i]; i++)
                pac_file_hash(loader[i], m->plan->loader[i]);
        m->plan->protocol = m->kind->protocol;
        m->plan->single_loader = !loader[1];
        m->plan->nand_loader = loader[1] && strncmp(loader[1]->type, "NAND_FDL", 8) == 0;
        r = add_loader(m, loader[0], true);
        if (r == 0 && m->pac->second_enumeration)
                r = add_plain(m, PLAN_REENUMERATE, STAGE_REENUMERATE);
        if (r == 0)
                r = add_first_questions(m);
        if (r == 0 && loader[1])
                r = add_loader(m, loader[1], false);
        return r;
}

/* ---- backups -------------------------------------------------------------------------------------------- */

static int find_backup(const Plan *plan, const PacFile *file) {
        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *step = plan->steps + i;

                if (step->op == PLAN_BACKUP &&
                    (by_name(file) ? streq(step->partition, target_of(file)->name)
                                   : !step->partition[0] && step->address == target_of(file)->base))
                        return (int) i;
        }
        return -1;
}

static uint64_t read_size(const PacFile *file) {
        if (at_address(file, ADDRESS_PHASE_CHECK))
                return PHASE_CHECK_MODULE;
        if (target_of(file)->size > 0)
                return target_of(file)->size;
        return is_nv(file) ? NV_READ_DEFAULT : is_phase_check(file) ? PHASE_CHECK_READ_DEFAULT : 0;
}

static ChoiceCheck calibration_check(const Maker *m) {
        char value[8];

        return choice_check(&m->plan->options.choice, "calibration", value, sizeof(value));
}

static int add_backup(Maker *m, const PacFile *file) {
        uint64_t size = read_size(file);
        bool merged = is_nv(file) && file->selected && keeps_nv(m, file) && !m->plan->options.table_only;
        PlanStep *step;

        if (find_backup(m->plan, file) >= 0)
                return 0;
        if (size == 0 || size > 64 * 1024 * 1024)
                return refuse(m, "backup-size", "The package does not say how much of %s has to be saved.", file->id);
        step = add_step(m, PLAN_BACKUP, STAGE_BACKUP);
        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->size = size;
        step->block = READ_BLOCK;
        step->optional = !merged;
        step->phase_check = is_phase_check(file);
        step->checks_calibration =
                merged && !m->plan->options.table_only && m->plan->options.mode == FLASH_MODE_UPGRADE && m->kind->calibration_gate;
        if (is_nv(file) && calibration_check(m) != CHECK_NOT) {
                step->checks_calibration = true;
                step->optional = step->optional && calibration_check(m) == CHECK_TRY;
        }
        if (step->checks_calibration && !m->plan->check_cali[0])
                snprintf(m->plan->check_cali, sizeof(m->plan->check_cali), "%s",
                         file->check_cali[0] ? file->check_cali : "GSM");
        return 0;
}

/* Research does nothing that is not asked for; but before an erase, another table or a write of NV the unit's own data are saved. */
static bool needs_backups(const Maker *m) {
        if (m->plan->options.mode != FLASH_MODE_RESEARCH || m->plan->options.repartition || m->plan->options.choice.erase_all == CHOICE_YES)
                return true;
        for (size_t i = 0; i < m->pac->n_files; i++) {
                const PacFile *file = m->pac->files + i;
                const Type *type = find_type(file->type);

                if (file->selected && type && (type->kind == KIND_ERASE || type->kind == KIND_WRITE_NV || is_protected(file) || is_nv_place(file)))
                        return true;
        }
        return false;
}

/* The vendor reads PhaseCheck first, as its serial number names the other files; then the rest, then NV. */
static int add_backups(Maker *m) {
        bool nv_only = !needs_backups(m);

        if (nv_only && calibration_check(m) == CHECK_NOT)
                return 0;
        for (unsigned round = 0; round < 3; round++)
                for (size_t i = 0; i < m->pac->n_files; i++) {
                        const PacFile *file = m->pac->files + i;
                        unsigned when = is_nv(file) ? 2 : is_phase_check(file) ? 0 : 1;
                        int r;

                        /* What is left out may still be destroyed by an erase. */
                        if (nv_only && !is_nv(file))
                                continue;
                        if ((!file->selected && !m->whole->files[i].selected) || when != round || is_erase(file) || (!is_nv(file) && !is_protected(file)))
                                continue;
                        if (file->n_blocks == 0 || (by_name(file) && !target_of(file)->name[0]))
                                continue;
                        r = add_backup(m, file);
                        if (r != 0)
                                return r;
                }
        return 0;
}

/* ---- partition table ------------------------------------------------------------------------------------ */

/* Copies and slots of one NV are written by the loader together. */
static bool has_nv_backup(const Plan *plan, const char *name) {
        const char *at = strstr(name, "fixnv");

        for (size_t i = 0; i < plan->n_steps; i++) {
                const PlanStep *s = plan->steps + i;
                const char *there = s->op == PLAN_BACKUP ? strstr(s->partition, "fixnv") : NULL;

                if (at && there && at - name == there - s->partition && strncmp(name, s->partition, (size_t) (at - name)) == 0)
                        return true;
        }
        return false;
}

static bool has_backup(const Plan *plan, const char *name) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_BACKUP && streq(plan->steps[i].partition, name))
                        return true;
        return has_nv_backup(plan, name);
}

/* What no file of the package is for and only this unit has. */
static int add_table_backup(Maker *m, const PacPartition *p) {
        bool nv = strstr(p->name, "fixnv1") != NULL;
        uint64_t bytes;
        PlanStep *step;

        if (!nv && !partition_belongs_to(p->name, "prodnv") && !partition_belongs_to(p->name, "miscdata") && !partition_belongs_to(p->name, "calinv"))
                return 0;
        if (has_backup(m->plan, p->name) || p->size == U64_UNKNOWN ||
            __builtin_mul_overflow(p->size, pac_partition_unit(m->pac->partition_unit), &bytes) || bytes > 64 * 1024 * 1024 ||
            bytes <= NV_HEADER)
                return 0; /* the engine refuses to move what it could not save */
        step = add_step(m, PLAN_BACKUP, STAGE_BACKUP);
        if (!step)
                return -ENOMEM;
        strcpy(step->partition, p->name);
        strcpy(step->id, p->name);
        step->size = nv ? bytes - NV_HEADER : bytes;
        step->phase_check = partition_belongs_to(p->name, "miscdata");
        step->block = READ_BLOCK;
        step->optional = true;
        return 0;
}

/* Logical places of loaders that know no names. */
static int add_place_backup(Maker *m, const char *id, uint64_t address, uint64_t size) {
        PlanStep *step;

        for (size_t i = 0; i < m->plan->n_steps; i++)
                if (m->plan->steps[i].op == PLAN_BACKUP && !m->plan->steps[i].partition[0] && m->plan->steps[i].address == address)
                        return 0;
        step = add_step(m, PLAN_BACKUP, STAGE_BACKUP);
        if (!step)
                return -ENOMEM;
        snprintf(step->id, sizeof(step->id), "%s", id);
        step->address = address;
        step->size = size;
        step->block = READ_BLOCK;
        step->optional = true;
        step->phase_check = address == ADDRESS_PHASE_CHECK;
        return 0;
}

/* Where everything is erased, or the place of calibration, what dies is saved although no file of the package is for it. */
static int add_backups_of_the_lost(Maker *m) {
        bool dies = m->plan->options.choice.erase_all == CHOICE_YES;
        int r = 0;

        for (size_t i = 0; i < m->pac->n_files; i++)
                dies |= m->pac->files[i].selected && (erases_all(m->pac->files + i) || (is_erase(m->pac->files + i) && is_nv_place(m->pac->files + i)));
        if (!dies || m->plan->options.table_only || m->plan->options.mode == FLASH_MODE_UPGRADE)
                return 0;
        for (size_t i = 0; r == 0 && m->kind->places == PLACES_NAMES && i < m->pac->n_partitions; i++)
                r = add_table_backup(m, m->pac->partitions + i);
        if (m->kind->places != PLACES_FLASH)
                return r;
        r = add_place_backup(m, "PhaseCheck", ADDRESS_PHASE_CHECK, PHASE_CHECK_MODULE);
        return r == 0 ? add_place_backup(m, "NV", ADDRESS_FIXED_NV, m->kind->nv_max) : r;
}

static const PacFile *find_table_file(const Maker *m) {
        for (size_t i = 0; i < m->pac->n_files; i++) {
                const Type *type = find_type(m->pac->files[i].type);
                if (m->pac->files[i].selected && type && type->kind == KIND_TABLE)
                        return m->pac->files + i;
        }
        return NULL;
}

static int tell_table(Maker *m) {
        int r;

        if (m->pac->n_partitions > 0)
                r = LOSE(m,
                         "The partition table is replaced by the package's (%zu partitions) where the unit's differs: what lies in "
                         "partitions that move, change their size or go is lost, user data too.",
                         m->pac->n_partitions);
        else
                r = LOSE(m, "The loader makes its partition table anew if the unit's differs: what lies in it is lost, user data too.");
        if (r == 0)
                r = KEEP(m, "Before the partition table is changed, the old one and the unit's calibration and identity data are stored; "
                            "what moves is put back and read back.");
        return r;
}

static int add_table_steps(Maker *m, bool force) {
        bool keep = m->plan->options.mode != FLASH_MODE_FACTORY || m->plan->options.table_only;
        PlanStep *step;
        int r = 0;

        for (size_t i = 0; r == 0 && i < m->pac->n_partitions; i++)
                r = add_table_backup(m, m->pac->partitions + i);
        step = r == 0 ? add_step(m, PLAN_REPARTITION, STAGE_REPARTITION) : NULL;
        if (!step)
                return r == 0 ? -ENOMEM : r;
        strcpy(step->id, "partition table");
        step->destructive = step->critical = true;
        step->force = force;
        return keep ? add_plain(m, PLAN_RESTORE, STAGE_RESTORE) : 0;
}

static int check_erase_all(Maker *m) {
        if (m->family == PHONE && m->pac->n_partitions == 0 && !find_table_file(m))
                return refuse(m, "erase-all", "With the flash the partition table goes, and the package has none to put in its place.");
        return 0;
}

/* Behind the backups. On phones a new table follows, and what is the unit's own goes back into it. */
static int add_erase_all(Maker *m) {
        bool named = m->family == PHONE;
        PlanStep *step;
        int r;

        if (m->plan->options.choice.erase_all != CHOICE_YES)
                return 0;
        r = check_erase_all(m);
        for (size_t i = 0; r == 0 && named && i < m->pac->n_partitions; i++)
                r = add_table_backup(m, m->pac->partitions + i);
        step = r == 0 ? add_step(m, PLAN_ERASE, STAGE_ERASE) : NULL;
        if (!step)
                return r == 0 ? -ENOMEM : r;
        strcpy(step->id, "all");
        if (named) {
                strcpy(step->partition, "erase_all");
                m->plan->options.repartition = true;
        }
        step->size = UINT32_MAX;
        step->destructive = step->critical = true;
        m->spl_missing = true;
        r = LOSE(m, "All of the flash is erased first: user data, and whatever no file of the package brings.");
        if (r == 0 && !named)
                r = LOSE(m, "Calibration and identity are erased with it; only what a file of the package merges with the unit's own comes back. A copy "
                            "is stored (fdlctl vault).");
        return r;
}

/* Without the option a unit with another table is refused. */
static int add_table(Maker *m) {
        const PacFile *file = find_table_file(m);
        bool list = m->pac->n_partitions > 0;
        int r;

        if (m->plan->options.repartition && (m->family != PHONE || (!list && !file)))
                return refuse(m, "table", "The package has no partition table to give a unit.");
        if (m->family != PHONE || (!list && !file))
                return 0;
        if (!m->plan->options.repartition) {
                if (file && NOTE(m, "%s: the package asks for a new partition table; it is made only with the option --repartition.",
                                 file->id) < 0)
                        return -ENOMEM;
                return 0;
        }
        r = tell_table(m);
        return r == 0 ? add_table_steps(m, list || m->plan->options.choice.erase_all == CHOICE_YES || (file && strncmp(file->type, "FORCE_", 6) == 0)) : r;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

/* Without a list of chips the vendor's tools take the file as it is. */
static bool by_rf(const Maker *m, const PacFile *file) {
        return file->select_by_rf && m->pac->n_rf_chips > 0;
}

static int check_target(Maker *m, const PacFile *file, const Type *type) {
        const PacBlock *b = target_of(file);

        if (file->n_blocks > 1)
                return refuse(m, "blocks", "%s goes to %zu places; only one is supported.", file->id, file->n_blocks);
        if ((file->select_by_flash || by_rf(m, file)) && !m->kind->questions)
                return refuse(m, "select", "%s has variants for different %s, and loaders of the family %s cannot be asked.",
                              file->id, file->select_by_flash ? "flash chips" : "radio chips", m->plan->family);
        if (by_rf(m, file) && type->kind != KIND_WRITE_NV)
                return refuse(m, "select", "%s is chosen by radio chip, which only NV images can be.", file->id);
        if (type->form == FORM_NAME && !b->name[0])
                return refuse(m, "target", "%s (type %s) names no partition.", file->id, file->type);
        if (type->form == FORM_ADDRESS &&
            (file->n_blocks == 0 || b->base > UINT32_MAX || file->size > UINT32_MAX || b->size > UINT32_MAX))
                return refuse(m, "target", "%s (type %s) has no usable 32-bit address and size.", file->id, file->type);
        return 0;
}

static bool is_raw_flash(uint64_t address, uint64_t size) {
        return address >= 0x60000000 && address < 0x80000000 && size <= 0x80000000 - address;
}

/* What loaders of NOR feature phones know: logical numbers, no addresses. */
static bool is_logical(uint64_t address) {
        return (address >= 0x80000000 && address < 0x80000010) || (address >= 0x90000000 && address < 0x90000100);
}

static bool fits_write(const Maker *m, const PacFile *file) {
        uint64_t base = target_of(file)->base;

        if (m->kind->places == PLACES_LOGICAL)
                return is_logical(base) && base != ADDRESS_NOR_RUNNING_NV;
        return is_raw_flash(base, file->size) || base == ADDRESS_FIXED_NV || base == ADDRESS_PREPACK ||
               (base == ADDRESS_PHASE_CHECK && (file->size == 0x100 || !file->has_data));
}

static bool fits_erase(const Maker *m, const PacFile *file) {
        const PacBlock *b = target_of(file);

        if (m->kind->places == PLACES_LOGICAL)
                return is_logical(b->base) || erases_all(file);
        return b->base == ADDRESS_RUNNING_NV || b->base == ADDRESS_PHASE_CHECK || b->base == ADDRESS_APPLICATION ||
               b->base == ADDRESS_FORMAT || erases_all(file) ||
               (is_raw_flash(b->base, b->size) && b->base % 4096 == 0 && b->size % 4096 == 0);
}

/* Loaders without partitions take few addresses and refuse the others, some only when half of the job is done. */
static int check_address(Maker *m, const PacFile *file) {
        const PacBlock *b = target_of(file);
        bool fits;

        if (m->kind->places == PLACES_NAMES)
                return 0;
        if (!is_erase(file)) {
                fits = fits_write(m, file);
                return fits ? 0
                            : refuse(m, "target",
                                     "%s cannot be written to 0x%llx (%llu bytes): the loader refuses that.", file->id,
                                     (unsigned long long) b->base, (unsigned long long) file->size);
        }
        fits = fits_erase(m, file);
        if (!fits)
                return refuse(m, "target", "%s cannot erase 0x%llx (%llu bytes): the loader refuses that.", file->id,
                              (unsigned long long) b->base, (unsigned long long) b->size);
        return 0;
}

static int check_upgrade(Maker *m, const PacFile *file, size_t index) {
        if (m->plan->options.mode != FLASH_MODE_UPGRADE)
                return 0;
        if (erases_all(file))
                return refuse(m, "erase-all", "%s erases the whole flash, which upgrade mode never does.", file->id);
        if (!is_nv_place(file) || is_nv(file))
                return 0;
        if (!is_erase(file))
                return refuse(m, "nv",
                              "%s overwrites calibration or identity without keeping the unit's own; upgrade mode "
                              "never does that.",
                              file->id);
        for (size_t i = index + 1; i < m->pac->n_files; i++) {
                const PacFile *later = m->pac->files + i;
                if (later->selected && is_nv(later) && by_name(later) == by_name(file) &&
                    streq(target_of(later)->name, target_of(file)->name) &&
                    target_of(later)->base == target_of(file)->base)
                        return 0;
        }
        return refuse(m, "nv",
                      "%s erases calibration or identity and nothing puts it back; upgrade mode never does that.",
                      file->id);
}

static int note_storage(Maker *m) {
        for (size_t i = 0; i < m->plan->n_steps; i++)
                if (m->plan->steps[i].storage[0])
                        return NOTE(m, "SPLLoaderEMMC and SPLLoaderUFS: the storage of the unit decides which of them is "
                                       "written. A unit that does not say what it has is refused.");
        return 0;
}

/* Only where both kinds are selected: one alone is meant for whatever unit there is. */
static const char *storage_of(const Maker *m, const PacFile *file) {
        const PacFile *emmc = pac_find_file(m->pac, "SPLLoaderEMMC"), *ufs = pac_find_file(m->pac, "SPLLoaderUFS");

        if (!emmc || !ufs || !emmc->selected || !ufs->selected)
                return "";
        return streq(file->id, emmc->id) ? "emmc" : streq(file->id, ufs->id) ? "ufs" : "";
}

static void mark(Maker *m, PlanStep *step, const PacFile *file) {
        step->destructive = true;
        step->boot_chain = is_critical(file);
        step->critical = step->boot_chain || m->spl_missing;
        strcpy(step->storage, storage_of(m, file));
        if (is_spl_place(file))
                m->spl_missing = step->op == PLAN_ERASE;
}

static int replaced(Maker *m, const PacFile *file) {
        char *all;

        if (asprintf(&all, "%s%s%s", m->replaced ? m->replaced : "", m->replaced ? ", " : "", file->id) < 0)
                return -ENOMEM;
        free(m->replaced);
        m->replaced = all;
        return 0;
}

/* What is surely something else than its partition holds. */
static int check_image(Maker *m, const PacFile *file) {
        const char *wanted;

        if (m->plan->options.any_image || !by_name(file) || image_fits(file->kind, target_of(file)->name, &wanted))
                return 0;
        return cannot_run(m, "image-type", "%s, which goes to %s, is %s, and %s belongs there.", file->id, target_of(file)->name,
                          image_kind_to_string(file->kind), wanted);
}

static int add_write(Maker *m, const PacFile *file) {
        PlanStep *step;
        int r;

        if (!file->has_data) {
                if (file->flag == 1 && file->can_omit)
                        return NOTE(m, "%s is left out: the package has no file for it.", file->id);
                return refuse(m, "data", "%s (type %s) has to be written but the package has no file for it.", file->id,
                              file->type);
        }
        r = check_image(m, file);
        if (r != 0)
                return r;
        step = add_step(m, PLAN_WRITE, STAGE_WRITE);
        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->offset = file->offset;
        step->size = file->size;
        step->block = block_of(m, file);
        mark(m, step, file);
        if (at_address(file, ADDRESS_PREPACK) &&
            NOTE(m, "%s is unpacked by the loader into the unit's file systems and cannot be read back.", file->id) < 0)
                return -ENOMEM;
        return replaced(m, file);
}

static const char *fourcc(uint64_t size, char ret[static 5]) {
        for (int i = 0; i < 4; i++) {
                char c = (char) (size >> 8 * i);
                ret[i] = c > ' ' && c < 0x7f ? c : '?';
        }
        ret[4] = '\0';
        return ret;
}

static int lose_erased(Maker *m, const PacFile *file) {
        const PacBlock *b = target_of(file);
        char name[5];

        if (by_name(file) && strstr(b->name, "runtimenv"))
                return LOSE(m, "%s: the running NV (%s) is erased; the unit makes it anew from the fixed NV.", file->id,
                            b->name);
        if (by_name(file) && partition_belongs_to(b->name, "userdata"))
                return LOSE(m, "%s: all user data are erased.", file->id);
        if (by_name(file))
                return LOSE(m, "%s: the partition %s is erased.", file->id, b->name);
        if (at_address(file, ADDRESS_RUNNING_NV) || at_address(file, ADDRESS_NOR_RUNNING_NV))
                return LOSE(m, "%s: the running NV is erased; the unit makes it anew from the fixed NV.", file->id);
        if (at_address(file, ADDRESS_FORMAT))
                return LOSE(m, "%s: the file system %s is formatted, all files in it are lost.", file->id,
                            fourcc(b->size, name));
        return LOSE(m, "%s: %llu bytes of flash at 0x%llx are erased.", file->id, (unsigned long long) b->size,
                    (unsigned long long) b->base);
}

static int add_erase(Maker *m, const PacFile *file) {
        PlanStep *step = add_step(m, PLAN_ERASE, STAGE_ERASE);

        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->size = target_of(file)->size;
        mark(m, step, file);
        return lose_erased(m, file);
}

static int check_nv_size(Maker *m, const PacFile *file) {
        uint64_t max = m->kind->nv_max;

        if (file->size < 8 || file->size > max)
                return refuse(m, "nv", "The NV image %s has %llu bytes; this place takes 8 to %llu.", file->id,
                              (unsigned long long) file->size, (unsigned long long) max);
        return 0;
}

static int add_nv(Maker *m, const PacFile *file) {
        bool keep = keeps_nv(m, file);
        PlanStep *step;
        int r;

        if (!file->has_data)
                return add_write(m, file);
        r = check_nv_size(m, file);
        if (r != 0)
                return r;
        step = add_step(m, PLAN_WRITE_NV, STAGE_WRITE);
        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->offset = file->offset;
        step->size = file->size;
        step->block = block_of(m, file);
        step->backup = keep ? find_backup(m->plan, file) : -1;
        mark(m, step, file);
        if (streq(file->type, "NV_COMM_SLOT") &&
            NOTE(m, "%s: the NV of the slot that the package names (%s) is read; the loader writes it to both slots.",
                 file->id, target_of(file)->name) < 0)
                return -ENOMEM;
        if (keep && m->pac->n_nv_items > 0) {
                r = KEEP(m, "%s: the unit's own calibration and IMEIs are read twice, stored, and put into the new NV.",
                         file->id);
                return r != 0 ? r
                              : LOSE(m, "%s: all other NV settings are replaced by those of the package.", file->id);
        }
        r = LOSE(m, "%s: the unit's calibration and IMEIs are replaced by those of the package; a backup is stored.",
                 file->id);
        if (r == 0 && m->plan->options.mode == FLASH_MODE_FACTORY)
                r = NOTE(m, "%s: the unit counts as not calibrated afterwards.", file->id);
        return r;
}

static bool has_step(const Plan *plan, PlanOp op) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == op)
                        return true;
        return false;
}

/* When all is erased, loaders of modules keep the phase-check area in RAM, answer from there, and put it back with the next NV
 * (module-and-vendor-flow): what is written before that does not stay. */
static bool comes_late(const Maker *m) {
        bool all = m->plan->options.choice.erase_all == CHOICE_YES, nv = false;

        for (size_t i = 0; i < m->pac->n_files; i++) {
                const PacFile *file = m->pac->files + i;
                all |= file->selected && erases_all(file);
                nv |= file->selected && file->has_data && is_nv_place(file);
        }
        return m->kind->places == PLACES_FLASH && all && nv && !has_step(m->plan, PLAN_WRITE_NV);
}

static int stamp(Maker *m, const PacFile *file) {
        PlanStep *step = add_step(m, PLAN_TIME_STAMP, STAGE_WRITE);

        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->destructive = true;
        return NOTE(m, "%s: the time is written beside it; a loader that does not know how leaves that out.", file->id);
}

/* What a package brings for this place, if anything, is that of no unit. */
static int initialise(Maker *m, const PacFile *file) {
        PlanStep *step;
        int r;

        if (has_step(m->plan, PLAN_INITIALISE) || (m->late && m->late != file))
                return NOTE(m, "%s is left out: the phase-check area is made anew already.", file->id);
        if (comes_late(m)) {
                m->late = file;
                return 0;
        }
        m->late = NULL;
        step = add_step(m, PLAN_INITIALISE, STAGE_WRITE);
        if (!step)
                return -ENOMEM;
        set_target(step, file);
        step->size = MIN(read_size(file), (uint64_t) PHASE_CHECK_AREA);
        step->block = block_of(m, file);
        mark(m, step, file);
        if (step->size < PHASE_CHECK_MODULE)
                return refuse(m, "serial", "%s has no room for a serial number.", file->id);
        r = LOSE(m, "%s: serial number and test results are initialised; a backup is stored.", file->id);
        return r == 0 && find_type(file->type)->kind == KIND_WRITE_AND_STAMP && m->kind->questions ? stamp(m, file) : r;
}

static int initialise_product_data(Maker *m, const PacFile *file) {
        if (!by_name(file))
                return refuse(m, "data", "%s has to be initialised but the package has no file for it.", file->id);
        return add_erase(m, file);
}

/* The serial number comes before the first change: a job that waits for it, or gets none, has done nothing to the unit. */
static int add_serial(Maker *m) {
        PlanStep *step;

        if (m->plan->options.mode != FLASH_MODE_FACTORY || m->plan->options.table_only)
                return 0;
        for (size_t i = 0; i < m->pac->n_files; i++) {
                const PacFile *file = m->pac->files + i;

                if (!file->selected || !find_type(file->type) || !is_phase_check(file) || is_erase(file))
                        continue;
                step = add_step(m, PLAN_SERIAL, STAGE_IDENTIFY);
                return step ? 0 : -ENOMEM;
        }
        return NOTE(m, "The package has no place for a serial number (PhaseCheck): none is written.");
}

/* PhaseCheck, product data and the like: *ret_done if nothing more is to be done for the file. */
static int add_protected(Maker *m, const PacFile *file, bool *ret_done) {
        bool saved = find_backup(m->plan, file) >= 0;

        *ret_done = true;
        switch (m->plan->options.mode) {
        case FLASH_MODE_UPGRADE:
                return KEEP(m, "%s: %snot touched.", file->id, saved ? "read twice, stored, and " : "");
        case FLASH_MODE_FACTORY:
                if (is_phase_check(file) && !is_erase(file))
                        return initialise(m, file);
                if (is_product_data(file) && !file->has_data && !is_erase(file))
                        return initialise_product_data(m, file);
                break;
        default:
                /* Named by a person: written. */
                if (file->has_data && choice_lists(m->plan->options.choice.include, file->id))
                        break;
                if (file->backup == 1 || (is_phase_check(file) && !file->has_data && !is_erase(file)))
                        return KEEP(m, "%s: %snot touched.", file->id, saved ? "read twice, stored, and " : "");
        }
        *ret_done = false;
        return 0;
}

/* Files of one target that stand apart in the configuration are variants of each other: the first speaks for all. */
static bool spoken_for(const Maker *m, const PacFile *file) {
        for (const PacFile *f = m->pac->files; f < file; f++)
                if (f->selected && f->has_data && f->select_by_flash == file->select_by_flash &&
                    f->select_by_rf == file->select_by_rf && streq(f->type, file->type) &&
                    streq(target_of(f)->name, target_of(file)->name) && target_of(f)->base == target_of(file)->base)
                        return true;
        return false;
}

/* What is said once is not said again for each variant. */
typedef struct Said {
        size_t n_lost, n_kept, n_notes, replaced;
} Said;

static Said said(const Maker *m) {
        return (Said){m->plan->n_lost, m->plan->n_kept, m->plan->n_notes, m->replaced ? strlen(m->replaced) : 0};
}

static void unsay(Maker *m, Said to) {
        Plan *p = m->plan;

        while (p->n_lost > to.n_lost)
                free(p->lost[--p->n_lost]);
        while (p->n_kept > to.n_kept)
                free(p->kept[--p->n_kept]);
        while (p->n_notes > to.n_notes)
                free(p->notes[--p->n_notes]);
        if (m->replaced)
                m->replaced[to.replaced] = '\0';
}

#define VARIANTS_MAX 32
/* A step for each variant; which of them is done, the unit tells. */
static int add_variants(Maker *m, const PacFile *file, int (*add)(Maker *m, const PacFile *file)) {
        Variant *list;
        size_t n = 0;
        int r;

        if (!file->has_data)
                return add(m, file);
        if (spoken_for(m, file))
                return 0;
        list = calloc(VARIANTS_MAX, sizeof(Variant));
        if (!list)
                return -ENOMEM;
        r = variant_collect(m->pac, file, list, VARIANTS_MAX, &n, m->f);
        for (size_t i = 0; r == 0 && i < n; i++) {
                size_t before = m->plan->n_steps;
                Said heard = said(m);
                PacFile one = *file;

                one.offset = list[i].offset;
                one.size = list[i].size;
                r = add(m, &one);
                if (r == 0 && i > 0)
                        unsay(m, heard);
                if (r == 0 && m->plan->n_steps > before)
                        strcpy(m->plan->steps[before].variant, list[i].key);
        }
        free(list);
        if (r == 0)
                r = NOTE(m, "%s has %zu variant%s; the %s of the unit decides which of them is written.", file->id, n,
                         n == 1 ? "" : "s", file->select_by_flash ? "block and page size of the flash" : "radio chip");
        return r;
}

static int add_stamped(Maker *m, const PacFile *file) {
        size_t before = m->plan->n_steps;
        int r = file->select_by_flash ? add_variants(m, file, add_write) : add_write(m, file);

        if (r != 0 || m->plan->n_steps == before)
                return r;
        if (!wants_stamps(m))
                return 0;
        if (!m->kind->questions)
                return refuse(m, "type", "%s (type %s) also sets a time stamp, which loaders of the family %s cannot do.",
                              file->id, file->type, m->plan->family);
        return stamp(m, file);
}

static int unknown_type(Maker *m, const PacFile *file) {
        for (size_t i = 0; i < ELEMENTSOF(unsupported); i++)
                if (streq(unsupported[i].name, file->type))
                        return refuse(m, "type", "%s asks for %s (type %s), which is not supported.", file->id,
                                      unsupported[i].why, file->type);
        return refuse(m, "type", "%s has the type \"%s\", which is not known; what it would do cannot be told.",
                      file->id, file->type);
}

static int add_file(Maker *m, const PacFile *file, size_t index) {
        const Type *type = find_type(file->type);
        bool done = false;
        int r;

        if (!type)
                return unknown_type(m, file);
        if (type->kind <= KIND_SECOND_LOADER || type->kind == KIND_TABLE || type->kind == KIND_NOTHING)
                return 0; /* done elsewhere, or not at all */
        r = check_target(m, file, type);
        if (r == 0 && is_protected(file))
                r = add_protected(m, file, &done);
        if (r != 0 || done)
                return r;
        if (!(type->families & m->family))
                return refuse(m, "type", "%s has the type %s, which the family %s does not have.", file->id, file->type,
                              m->plan->family);
        r = check_upgrade(m, file, index);
        if (r == 0)
                r = check_address(m, file);
        if (r != 0)
                return r;
        switch (type->kind) {
        case KIND_ERASE:
                return add_erase(m, file);
        case KIND_WRITE_NV:
                return by_rf(m, file) || file->select_by_flash ? add_variants(m, file, add_nv) : add_nv(m, file);
        case KIND_WRITE_AND_STAMP:
                return add_stamped(m, file);
        default:
                return file->select_by_flash ? add_variants(m, file, add_write) : add_write(m, file);
        }
}

static int add_files(Maker *m) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < m->pac->n_files; i++) {
                const PacFile *file = m->pac->files + i;

                if (file->flag == 2)
                        continue;
                if (file->selected)
                        r = add_file(m, file, i);
                else if (m->plan->options.mode == FLASH_MODE_RESEARCH)
                        continue; /* only what is chosen is spoken of */
                else if (choice_lists(m->plan->options.choice.exclude, file->id))
                        r = NOTE(m, "%s is left out, as chosen.", file->id);
                else
                        r = NOTE(m, "%s is not selected in the package: nothing is done for it.", file->id);
                if (r == 0 && m->late && !comes_late(m))
                        r = initialise(m, m->late);
        }
        if (r == 0 && m->replaced)
                r = LOSE(m, "What the unit holds now is replaced: %s.", m->replaced);
        return r;
}

static int check_calibration_step(Maker *m) {
        if (calibration_check(m) != CHECK_MUST)
                return 0;
        for (size_t i = 0; i < m->plan->n_steps; i++)
                if (m->plan->steps[i].checks_calibration)
                        return 0;
        return refuse(m, "unsupported", "The check calibration is not possible: the package has no NV image, so it is not known where the unit's is.");
}

/* A package that erases the first boot stage writes it again at its end; left out, the unit would not start any more. */
static int check_boot_stage(Maker *m) {
        const PlanChoice *c = &m->plan->options.choice;

        if (!m->spl_missing || (!c->include[0] && !c->exclude[0]))
                return 0;
        if (m->plan->options.mode == FLASH_MODE_RESEARCH && c->erase_all == CHOICE_YES)
                return NOTE(m, "The unit will not start: nothing is written that its boot ROM could run. It stays in download mode.");
        return refuse(m, "choice", "The first boot stage would be erased and not written again. Leave out its erase too, or write it.");
}

/* Loaders of NOR products let the host compare what the NV store made of the image. */
static int add_nv_checks(Maker *m) {
        size_t n = m->plan->n_steps;

        if (m->pac->flash_type_id != 0)
                return 0;
        for (size_t i = 0; i < n; i++) {
                PlanStep *check, write = m->plan->steps[i];

                if (write.op != PLAN_WRITE_NV)
                        continue;
                check = add_step(m, PLAN_CHECK_NV, STAGE_VERIFY);
                if (!check)
                        return -ENOMEM;
                *check = write;
                check->op = PLAN_CHECK_NV;
                check->stage = STAGE_VERIFY;
                check->block = READ_BLOCK;
                check->write = (int) i;
        }
        return 0;
}

/* Which variant is meant is asked before anything is read or written. */
static int add_questions(Maker *m) {
        bool flash = false, rf = false;
        int r = 0;

        for (size_t i = 0; i < m->plan->n_steps; i++) {
                const char *variant = m->plan->steps[i].variant;

                rf = rf || strncmp(variant, "rf:", 3) == 0;
                flash = flash || variant[0] == '_';
        }
        if (rf)
                r = insert_step(m, m->questions, PLAN_RF_TYPE, STAGE_IDENTIFY);
        if (r == 0 && flash)
                r = insert_step(m, m->questions, PLAN_FLASH_INFO, STAGE_IDENTIFY);
        return r;
}

static int add_ext_table(Maker *m) {
        Plan *plan = m->plan;
        PlanStep *step;
        int r;

        if (m->pac->ext_unknown[0])
                return refuse(m, "ext-table", "The package's extended table holds <%s>, whose layout is not known.",
                              m->pac->ext_unknown);
        r = ext_table_build(m->pac, &plan->ext_table, &plan->ext_table_size);
        if (r != 0 || !plan->ext_table)
                return r;
        if (!m->kind->questions)
                return refuse(m, "ext-table", "The package sends an extended partition table, which loaders of the family %s "
                                              "do not take.",
                              plan->family);
        step = add_step(m, PLAN_EXT_TABLE, STAGE_IDENTIFY);
        return step ? 0 : -ENOMEM;
}

static int add_apr(Maker *m) {
        PlanStep *step;

        if (!m->pac->apr || !wants_stamps(m))
                return 0;
        if (!m->kind->questions)
                return NOTE(m, "The package asks for its build time to be written, which loaders of the family %s cannot do: "
                               "it is left out.",
                            m->plan->family);
        step = add_step(m, PLAN_APR, STAGE_WRITE);
        if (!step)
                return -ENOMEM;
        step->destructive = true;
        return NOTE(m, "The build time of the package is written into the unit's miscdata (APR); a loader that does not know "
                       "how leaves that out.");
}

static int add_first_mode(Maker *m) {
        const PlanOptions *o = &m->plan->options;
        PlanStep *step;

        if (o->first_mode == 0)
                return 0;
        if (o->mode == FLASH_MODE_UPGRADE)
                return refuse(m, "mode", "What the unit starts as the next time is told to it in factory and research mode only.");
        if (!m->kind->questions)
                return refuse(m, "mode", "Loaders of the family %s cannot be told what the unit shall start as the next time.", m->plan->family);
        step = add_step(m, PLAN_FIRST_MODE, STAGE_WRITE);
        if (!step)
                return -ENOMEM;
        step->destructive = true;
        return NOTE(m, "The next start of the unit is told: %s.", plan_first_mode_to_string(o->first_mode - 1));
}

static int add_finish(Maker *m) {
        switch (m->plan->options.finish) {
        case FINISH_RESET:
                return add_plain(m, PLAN_RESET, STAGE_FINISH);
        case FINISH_POWER_OFF:
                return add_plain(m, PLAN_POWER_OFF, STAGE_FINISH);
        default:
                return 0;
        }
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static int copy_lists(Maker *m) {
        const Pac *pac = m->pac;
        Plan *plan = m->plan;

        if (pac->n_partitions > 0) {
                plan->partitions = reallocarray(NULL, pac->n_partitions, sizeof(PacPartition));
                if (!plan->partitions)
                        return -ENOMEM;
                memcpy(plan->partitions, pac->partitions, pac->n_partitions * sizeof(PacPartition));
                plan->n_partitions = pac->n_partitions;
        }
        if (pac->n_nv_items > 0) {
                plan->nv_items = reallocarray(NULL, pac->n_nv_items, sizeof(PacNvItem));
                if (!plan->nv_items)
                        return -ENOMEM;
                memcpy(plan->nv_items, pac->nv_items, pac->n_nv_items * sizeof(PacNvItem));
                plan->n_nv_items = pac->n_nv_items;
        }
        if (pac->n_rf_chips > 0) {
                plan->rf_chips = reallocarray(NULL, pac->n_rf_chips, sizeof(PacRfChip));
                if (!plan->rf_chips)
                        return -ENOMEM;
                memcpy(plan->rf_chips, pac->rf_chips, pac->n_rf_chips * sizeof(PacRfChip));
                plan->n_rf_chips = pac->n_rf_chips;
        }
        set_patience(m);
        plan->partition_unit = pac->partition_unit;
        for (size_t i = 0; i < pac->n_warnings; i++)
                if (say(&plan->warnings, &plan->n_warnings, "%s", pac->warnings[i]) < 0)
                        return -ENOMEM;
        return 0;
}

static int check_package(Maker *m) {
        const Pac *pac = m->pac;

        if (m->family == 0)
                return refuse(m, "family", "The loaders of the package belong to no family that is supported.");
        if (m->plan->options.mode < 0 || m->plan->options.mode >= FLASH_MODE_MAX)
                return refuse(m, "mode", "There is no such mode.");
        if (pac->mode != 0)
                return refuse(m, "nand-mode",
                              "The package is made for raw NAND pages (mode %u), which is not supported.", pac->mode);
        if (pac->n_warnings > 0 && !m->plan->options.allow_warnings)
                return cannot_run(m, "warnings",
                                  "The package has %zu warning%s, so it needs the option --allow-warnings. %s%s",
                                  pac->n_warnings, pac->n_warnings == 1 ? "" : "s", pac->warnings[0],
                                  pac->n_warnings == 1 ? "" : " …");
        return 0;
}

static int add_notes(Maker *m) {
        bool nv = false;
        int r = 0;

        for (size_t i = 0; i < m->plan->n_steps; i++)
                nv = nv || m->plan->steps[i].op == PLAN_WRITE_NV;
        r = note_storage(m);
        if (r == 0 && !nv)
                r = KEEP(m, "Calibration and IMEIs of the unit: not touched.");
        if (r == 0 && m->plan->options.choice.table_check == CHOICE_NO)
                r = NOTE(m, "Whether the unit's partition table is the package's is not asked, only whether each file fits its partition.");
        else if (r == 0 && m->pac->n_partitions > 0 && !m->plan->options.repartition)
                r = NOTE(m,
                         "The package expects %zu partitions. A unit whose table differs is refused before the first "
                         "write.",
                         m->pac->n_partitions);
        if (r == 0 && m->pac->n_partitions > 0)
                r = NOTE(m, "A loader that does not tell its partition table leaves that check undone; the record says "
                            "so.");
        return r;
}

/* Some systems erase their first boot stage when they are asked for download mode. */
static int check_enter(Maker *m) {
        const PlanOptions *o = &m->plan->options;

        if (!o->soft_entry)
                return 0;
        for (size_t i = 0; i < m->plan->n_steps && !o->repair && !o->check_only; i++) {
                const PlanStep *s = m->plan->steps + i;

                if (s->op == PLAN_WRITE && (s->partition[0] ? streq(s->partition, "splloader")
                                                            : s->address == 0x60000000 || s->address == ADDRESS_NOR_BOOT))
                        return 0;
        }
        return refuse(m, "soft-entry", "The package writes no first boot stage (SPL). Some systems erase theirs on the way into download mode, and "
                                       "the unit would not start any more.");
}

static int add_enter(Maker *m) {
        PlanStep *step;

        if (!m->plan->options.soft_entry)
                return 0;
        step = add_step(m, PLAN_ENTER, STAGE_HANDSHAKE);
        if (!step)
                return -ENOMEM;
        step->destructive = step->critical = true;
        return NOTE(m, "The running system is asked for download mode first. Some builds erase their first boot stage on the way: the unit then "
                       "starts only after this job has written it.");
}

static int fill(Maker *m) {
        int r = check_package(m);

        if (r == 0)
                r = copy_lists(m);
        if (r == 0)
                r = add_enter(m);
        if (r == 0)
                r = add_plain(m, PLAN_HANDSHAKE, STAGE_HANDSHAKE);
        if (r == 0)
                r = add_loaders(m);
        if (r == 0)
                r = add_plain(m, PLAN_IDENTIFY, STAGE_IDENTIFY);
        if (r == 0)
                r = add_checks(m);
        if (r == 0)
                r = add_ext_table(m);
        m->questions = m->plan->n_steps;
        if (r == 0)
                r = add_backups(m);
        if (r == 0)
                r = add_backups_of_the_lost(m);
        if (r == 0)
                r = add_serial(m);
        if (r == 0)
                r = add_erase_all(m);
        if (r == 0)
                r = add_table(m);
        if (r == 0 && !m->plan->options.table_only)
                r = add_files(m);
        if (r == 0)
                r = check_boot_stage(m);
        if (r == 0)
                r = check_calibration_step(m);
        if (r == 0)
                r = add_nv_checks(m);
        if (r == 0)
                r = add_questions(m);
        if (r == 0 && !m->plan->options.table_only)
                r = add_apr(m);
        if (r == 0 && !m->plan->options.table_only)
                r = add_first_mode(m);
        if (r == 0)
                r = add_finish(m);
        if (r == 0)
                r = check_enter(m);
        if (r == 0)
                r = add_notes(m);
        if (r == 0)
                r = m->plan->options.repair ? plan_keep_repair(m->plan) : plan_add_verify(m->plan);
        for (size_t i = 0; r == 0 && i < m->plan->n_steps; i++)
                m->plan->bytes_total += plan_step_bytes(m->plan->steps + i);
        return r;
}

int plan_make(const Pac *pac, const PlanOptions *options, Plan **ret, Failure *f) {
        _cleanup_(plan_freep) Plan *plan = calloc(1, sizeof(*plan));
        const char *family = pac_family(pac);
        _cleanup_free_ PacFile *files = NULL;
        Pac chosen = *pac;
        Maker m = {.pac = &chosen, .whole = pac, .plan = plan, .f = f};
        int r;

        if (!plan)
                return -ENOMEM;
        r = plan_choose_files(pac, options, &files, f);
        if (r != 0)
                return r;
        chosen.files = files;
        plan->options = *options;
        if (options->repair) /* no rule about what a mode keeps: nothing of the unit's own is touched */
                plan->options.mode = FLASH_MODE_RESEARCH;
        snprintf(plan->family, sizeof(plan->family), "%s", family);
        m.kind = family_find(family);
        m.family = m.kind ? m.kind->id : 0;
        r = fill(&m);
        free(m.replaced);
        if (r == 0)
                *ret = TAKE_PTR(plan);
        return r;
}

static void free_list(char **list, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(list[i]);
        free(list);
}

Plan *plan_free(Plan *plan) {
        if (!plan)
                return NULL;
        free_list(plan->lost, plan->n_lost);
        free_list(plan->kept, plan->n_kept);
        free_list(plan->notes, plan->n_notes);
        free_list(plan->warnings, plan->n_warnings);
        free(plan->steps);
        free(plan->partitions);
        free(plan->nv_items);
        free(plan->ext_table);
        free(plan->rf_chips);
        free(plan);
        return NULL;
}

uint64_t plan_step_bytes(const PlanStep *step) {
        switch (step->op) {
        case PLAN_LOAD:
        case PLAN_WRITE:
        case PLAN_WRITE_NV:
        case PLAN_CHECK_NV:
        case PLAN_INITIALISE:
                return step->size;
        case PLAN_BACKUP:
                return 2 * step->size;
        case PLAN_READ:
                return step->size == U64_UNKNOWN ? 0 : step->size;
        case PLAN_VERIFY:
                return step->sample > 0 ? MIN(step->sample, step->size) : step->size;
        default:
                return 0;
        }
}

const char *plan_op_to_string(PlanOp op) {
        static const char *const words[PLAN_OP_MAX] = {
                [PLAN_ENTER] = "enter-download",
                [PLAN_HANDSHAKE] = "handshake",
                [PLAN_LOAD] = "load",
                [PLAN_EXEC] = "exec",
                [PLAN_REENUMERATE] = "reenumerate",
                [PLAN_IDENTIFY] = "identify",
                [PLAN_EXT_TABLE] = "ext-table",
                [PLAN_FLASH_INFO] = "flash-info",
                [PLAN_RF_TYPE] = "rf-type",
                [PLAN_KEEP_CHARGE] = "keep-charge",
                [PLAN_CHECK] = "check",
                [PLAN_BACKUP] = "backup",
                [PLAN_ERASE] = "erase",
                [PLAN_WRITE] = "write",
                [PLAN_WRITE_NV] = "write-nv",
                [PLAN_CHECK_NV] = "check-nv",
                [PLAN_VERIFY] = "verify",
                [PLAN_SERIAL] = "serial",
                [PLAN_INITIALISE] = "initialise",
                [PLAN_TIME_STAMP] = "time-stamp",
                [PLAN_APR] = "apr",
                [PLAN_FIRST_MODE] = "first-mode",
                [PLAN_READ] = "read",
                [PLAN_REPARTITION] = "repartition",
                [PLAN_RESTORE] = "restore",
                [PLAN_EXAMINE_TABLE] = "examine-table",
                [PLAN_REPAIR_TABLE] = "repair-table",
                [PLAN_EXAMINE] = "examine",
                [PLAN_REPAIR] = "repair",
                [PLAN_RESET] = "reset",
                [PLAN_POWER_OFF] = "power-off",
        };

        return op >= 0 && op < PLAN_OP_MAX ? words[op] : NULL;
}
