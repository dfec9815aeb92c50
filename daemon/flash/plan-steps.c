/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flash/plan-steps.h"

#include "firmware/image.h"
#include "flash/family.h"

/* Payloads of one packet that every loader takes while escaping is on (module §5.2, bsl-protocol §8.1). */
#define BLOCK_ROM 0x210U
#define BLOCK_PDL 0x800U
#define BLOCK_FDL1 0x840U
#define BLOCK_NAME 0x5000U
#define BLOCK_ADDRESS 0x800U
#define BLOCK_READ 0x3000U
/* What is read of calibration before it may be changed; loaders give less if there is less. */
#define NV_READ 0x100000U
#define PHASE_CHECK_MODULE 0x100U
#define PHASE_CHECK_FEATURE 0x2000U

static const char *const kind_words[STEP_KIND_MAX] = {
        [STEP_WRITE] = "write",
        [STEP_READ] = "read",
        [STEP_ERASE] = "erase",
        [STEP_REPAIR] = "repair",
        [STEP_TABLE] = "table",
};

const char *step_kind_to_string(StepKind kind) {
        return kind < STEP_KIND_MAX ? kind_words[kind] : NULL;
}

StepKind step_kind_from_string(const char *word) {
        unsigned i = 0;

        while (i < STEP_KIND_MAX && !streq(kind_words[i], word))
                i++;
        return (StepKind) i;
}

/* ---- loaders ---- */

int plan_steps_loaders(const Pac *pac, StepsInput *ret, Failure *f) {
        const PacFile *loader[2];
        int r;

        r = plan_find_loaders(pac, loader, f);
        if (r != 0)
                return r;
        for (size_t i = 0; i < 2; i++) {
                ret->loader[i] = (StepLoader) {};
                if (!loader[i])
                        continue;
                if (!loader[i]->has_data || loader[i]->n_blocks != 1 || loader[i]->blocks[0].base > UINT32_MAX)
                        return failure_set(f, CLASS_PLAN, "loader", "The loader %s has no data or no usable address.", loader[i]->id);
                ret->loader[i] = (StepLoader){.address = loader[i]->blocks[0].base, .offset = loader[i]->offset, .size = loader[i]->size};
                pac_file_hash(loader[i], ret->loader[i].sha256);
        }
        snprintf(ret->family, sizeof(ret->family), "%s", pac_family(pac));
        ret->second_enumeration = pac->second_enumeration;
        ret->pac = pac;
        return 0;
}

static int check_loaders(const StepsInput *in, Failure *f) {
        unsigned needed = plan_family_loaders(in->family);

        if (needed == 0)
                return failure_set(f, CLASS_PLAN, "family", "The loaders belong to no family that is supported.");
        if (in->loader[0].size == 0 || (needed > 1 && in->loader[1].size == 0))
                return failure_set(f, CLASS_PLAN, "loader", "Devices of the family %s need %s.", in->family,
                                   needed > 1 ? "a first and a second loader" : "a loader");
        for (size_t i = 0; i < 2; i++)
                if (in->loader[i].size > UINT32_MAX || in->loader[i].address > UINT32_MAX - in->loader[i].size)
                        return failure_set(f, CLASS_PLAN, "loader", "The address 0x%llx of a loader is not within 32 bits.",
                                           (unsigned long long) in->loader[i].address);
        return 0;
}

/* ---- checks ---- */

static int check_name(const StepsInput *in, const StepRequest *s, Failure *f) {
        size_t n = strlen(s->partition);

        if (!family_has_names(in->family))
                return failure_set(f, CLASS_PLAN, "names", "Devices of the family %s have no named partitions; give addresses instead of \"%s\".",
                                   in->family, s->partition);
        if (n > 35)
                return failure_set(f, CLASS_PLAN, "partition", "The name \"%s\" is longer than the 35 characters that loaders know.", s->partition);
        for (const char *c = s->partition; *c; c++)
                if (*c <= 0x20 || *c >= 0x7f)
                        return failure_set(f, CLASS_PLAN, "partition", "A partition's name has a character that no loader knows.");
        if (step_kind_sends(s->kind) && streq(s->partition, "user_partition"))
                return failure_set(f, CLASS_PLAN, "partition", "user_partition is the whole user area; loaders only read it.");
        if (streq(s->partition, "erase_all"))
                return failure_set(f, CLASS_PLAN, "erase-all", "Erasing everything is not a step; it is an option of factory and research jobs.");
        if (s->kind != STEP_READ && s->kind != STEP_TABLE && s->offset > 0)
                return failure_set(f, CLASS_PLAN, "offset",
                                   "%s: the protocol has no offset within a named partition; whole partitions are written and erased.", s->partition);
        return 0;
}

static bool in_flash(uint64_t address) {
        return address >= 0x60000000 && address < 0x80000000;
}

/* Logical places that loaders only erase (pac-format.md §6.3), and one that they only unpack. */
static int check_logical(const StepRequest *s, bool module, Failure *f) {
        static const struct {
                bool module, write;
                uint64_t address;
                const char *what;
        } places[] = {
                {false, false, 0x90000003, "running NV"}, {true, false, 0xfe000001, "running NV"},
                {true, true, 0xfe000004, "files to unpack"}, {true, false, 0xfe000005, "the application image"},
                {true, false, 0xfe000006, "a file system"},
        };

        for (size_t i = 0; s->kind != STEP_ERASE && i < ELEMENTSOF(places); i++)
                if (places[i].module == module && places[i].address == s->address && !(s->kind == STEP_WRITE && places[i].write))
                        return failure_set(f, CLASS_PLAN, "place", "0x%llx is %s: loaders do not %s it.", (unsigned long long) s->address,
                                           places[i].what, s->kind == STEP_READ ? "show" : "take data for");
        return 0;
}

static int check_address(const StepsInput *in, const StepRequest *s, Failure *f) {
        const Family *family = family_find(in->family);
        bool module = family && family->places == PLACES_FLASH;

        if (family_has_names(in->family))
                return failure_set(f, CLASS_PLAN, "address", "Phones are addressed by partition name, not by the address 0x%llx.",
                                   (unsigned long long) s->address);
        if (s->address > UINT32_MAX || (s->length != U64_UNKNOWN && s->length > UINT32_MAX))
                return failure_set(f, CLASS_PLAN, "address", "The range at 0x%llx is not within 32 bits.", (unsigned long long) s->address);
        if (s->kind == STEP_READ && s->length == U64_UNKNOWN)
                return failure_set(f, CLASS_PLAN, "length", "How much is to be read at 0x%llx? Give a length.", (unsigned long long) s->address);
        if (s->kind == STEP_ERASE && module && in_flash(s->address) &&
            (s->length == U64_UNKNOWN || s->length == 0 || s->address % 4096 || s->length % 4096))
                return failure_set(f, CLASS_PLAN, "alignment", "Modules erase whole blocks of 4096 bytes: address and length must be multiples of it.");
        if (s->kind == STEP_ERASE && s->address == 0)
                return failure_set(f, CLASS_PLAN, "erase-all", "Erasing everything is not a step; it is an option of factory and research jobs.");
        if (s->kind != STEP_READ && s->offset > 0)
                return failure_set(f, CLASS_PLAN, "offset", "Give the address itself instead of an offset.");
        return check_logical(s, module, f);
}

static int check_step(const StepsInput *in, const StepRequest *s, Failure *f) {
        if (s->kind >= STEP_KIND_MAX)
                return failure_set(f, CLASS_PLAN, "step", "There is no such step.");
        if (s->length == 0)
                return failure_set(f, CLASS_PLAN, "length", "A length of 0 bytes does nothing.");
        if (s->kind == STEP_TABLE && (!s->partition[0] || (s->length == U64_UNKNOWN && !in->options.repartition)))
                return failure_set(f, CLASS_PLAN, "length", "A step table names a partition and its length.");
        if (s->kind != STEP_ERASE && s->kind != STEP_TABLE && !s->file[0])
                return failure_set(f, CLASS_PLAN, "file", "A step %s needs a file.", step_kind_to_string(s->kind));
        return s->partition[0] ? check_name(in, s, f) : check_address(in, s, f);
}

/* Once the file is there. What its device's table says is for the engine. */
static int check_image(const StepsInput *in, const StepRequest *s, Failure *f) {
        char text[256];

        if (s->kind != STEP_WRITE || s->any_image || !s->partition[0] || image_check(s->kind_of_data, in->loader[0].kind, s->looked, s->partition, text, sizeof(text)))
                return 0;
        snprintf(f->partition, sizeof(f->partition), "%s", s->partition);
        return failure_set(f, CLASS_PLAN, "image-type", "%s", text);
}

/* A table to be made: what no device could have is known before one is there. */
static int check_new_table(const StepsInput *in, Failure *f) {
        if (in->picked)
                return failure_set(f, CLASS_PLAN, "loaders", "Which loaders shall change the partition table? Name a package of exactly this model, or files.");
        for (size_t i = 0; i < in->n_steps; i++) {
                const StepRequest *s = in->steps + i;

                if (s->length == U64_UNKNOWN && i + 1 < in->n_steps)
                        return failure_set(f, CLASS_PLAN, "table", "%s takes the rest and is not the last partition.", s->partition);
                for (size_t k = 0; k < i; k++)
                        if (streq(in->steps[k].partition, s->partition))
                                return failure_set(f, CLASS_PLAN, "table", "The partition %s stands twice in the table.", s->partition);
        }
        return 0;
}

/* Of what may be chosen for flashing a package: what is done before anything is written, the same for chosen steps. */
static const char *const first_checks[] = {"ddr"}, *const last_checks[] = {"old-memory", "chip-type", "memory-type", "bad-blocks"};

static int check_choice(const StepsInput *in, Failure *f) {
        const PlanChoice *c = &in->options.choice;
        const Family *family = family_find(in->family);
        char value[CHOICE_TEXT_MAX];

        if (choice_check(c, "calibration", value, sizeof(value)) != CHECK_NOT)
                return failure_set(f, CLASS_PLAN, "choice", "Whether a unit is calibrated is checked when a package is flashed; jobs of chosen steps cannot.");
        if (family->questions)
                return 0;
        if (c->keep_charge == CHOICE_YES && !c->keep_charge_try)
                return failure_set(f, CLASS_PLAN, "unsupported", "Loaders of the family %s know no command that keeps a unit charging.", in->family);
        if (c->check[0])
                return failure_set(f, CLASS_PLAN, "unsupported", "The checks %.80s are not possible: loaders of the family %s do not know them.", c->check, in->family);
        return 0;
}

int plan_steps_check(const StepsInput *in, Failure *f) {
        int r = check_loaders(in, f);

        if (r == 0)
                r = check_choice(in, f);
        if (r == 0 && in->n_steps > STEPS_MAX)
                r = failure_set(f, CLASS_PLAN, "steps", "A job has at most %d steps.", STEPS_MAX);
        for (size_t i = 0; r == 0 && i < in->n_steps; i++)
                r = check_step(in, in->steps + i, f);
        return r == 0 && in->options.repartition ? check_new_table(in, f) : r;
}

/* ---- making ---- */

typedef struct Steps {
        const StepsInput *in;
        Plan *plan;
        size_t room;
} Steps;

static PlanStep *add(Steps *m, PlanOp op, Stage stage) {
        Plan *plan = m->plan;

        plan->steps[plan->n_steps] = (PlanStep){.op = op, .stage = stage, .backup = -1, .write = -1, .offset = U64_UNKNOWN};
        return plan->steps + plan->n_steps++;
}

static void add_loader(Steps *m, unsigned which) {
        const StepLoader *l = m->in->loader + which;
        bool pdl = which == 0 && m->plan->protocol == PLAN_PDL;
        PlanStep *s = add(m, PLAN_LOAD, which == 0 ? STAGE_LOAD_FDL1 : STAGE_LOAD_FDL2);

        snprintf(s->id, sizeof(s->id), which == 0 ? "FDL1" : "FDL2");
        s->protocol = pdl ? PLAN_PDL : PLAN_BSL;
        s->address = l->address;
        s->offset = l->offset;
        s->size = l->size;
        s->block = which > 0 ? BLOCK_FDL1 : pdl ? BLOCK_PDL : BLOCK_ROM;
        s = add(m, PLAN_EXEC, which == 0 ? STAGE_EXEC_FDL1 : STAGE_EXEC_FDL2);
        s->protocol = pdl ? PLAN_PDL : PLAN_BSL;
        s->address = l->address;
        snprintf(s->id, sizeof(s->id), which == 0 ? "FDL1" : "FDL2");
}

static void add_checks(Steps *m, const char *const *words, size_t n, Stage stage) {
        char value[CHOICE_TEXT_MAX];

        for (size_t i = 0; i < n; i++) {
                ChoiceCheck how = choice_check(&m->plan->options.choice, words[i], value, sizeof(value));
                PlanStep *s = how == CHECK_NOT ? NULL : add(m, PLAN_CHECK, stage);

                if (!s)
                        continue;
                snprintf(s->id, sizeof(s->id), "%s", words[i]);
                s->optional = how == CHECK_TRY;
        }
}

/* Between the loaders: the first one dies of what it does not know, so nothing is sent that nobody asked for. */
static void add_first_questions(Steps *m) {
        const PlanChoice *c = &m->plan->options.choice;

        if (c->keep_charge == CHOICE_YES)
                add(m, PLAN_KEEP_CHARGE, STAGE_EXEC_FDL1)->optional = c->keep_charge_try;
        add_checks(m, first_checks, ELEMENTSOF(first_checks), STAGE_EXEC_FDL1);
}

static bool is_nv_step(const StepRequest *s) {
        return s->partition[0] ? partition_is_nv(s->partition) : address_is_nv(s->address);
}

static bool is_spl(const StepRequest *s) {
        return s->partition[0] ? strncmp(s->partition, "splloader", 9) == 0 : s->address == 0x60000000 || s->address == 0x80000000;
}

static void set_target(PlanStep *step, const StepRequest *s) {
        if (s->partition[0]) {
                snprintf(step->partition, sizeof(step->partition), "%s", s->partition);
                snprintf(step->id, sizeof(step->id), "%s", s->partition);
        } else {
                snprintf(step->id, sizeof(step->id), "0x%llx", (unsigned long long) s->address);
                step->address = s->address;
        }
}

static bool has_backup(const Plan *plan, const StepRequest *s) {
        for (size_t i = 0; i < plan->n_steps; i++)
                if (plan->steps[i].op == PLAN_BACKUP && streq(plan->steps[i].partition, s->partition) &&
                    plan->steps[i].address == (s->partition[0] ? 0 : s->address))
                        return true;
        return false;
}

static bool is_identity(const StepRequest *s) {
        return is_nv_step(s) || (s->partition[0] ? partition_is_identity(s->partition) : address_is_identity(s->address));
}

/* At addresses the longest that the family has; the device's own may be shorter. */
static uint64_t backup_size(const Steps *m, const StepRequest *s) {
        const Family *family = family_find(m->in->family);

        if (s->partition[0])
                return NV_READ;
        if (address_is_nv(s->address))
                return family->nv_max;
        return family->places == PLACES_FLASH ? PHASE_CHECK_MODULE : PHASE_CHECK_FEATURE;
}

/* Calibration and identity are on disk before anything may destroy them, whatever a person asks for. */
static void add_backups(Steps *m) {
        for (size_t i = 0; i < m->in->n_steps; i++) {
                const StepRequest *s = m->in->steps + i;
                PlanStep *step;

                if (s->kind == STEP_READ || s->kind >= STEP_REPAIR || has_backup(m->plan, s) || !is_identity(s))
                        continue;
                step = add(m, PLAN_BACKUP, STAGE_BACKUP);
                set_target(step, s);
                step->size = backup_size(m, s);
                step->shorter = !s->partition[0];
                step->block = BLOCK_READ;
                step->optional = true; /* erased, damaged, or never there: nothing that could be lost */
        }
}

static void add_chosen(Steps *m, const StepRequest *s) {
        static const PlanOp ops[] = {[STEP_WRITE] = PLAN_WRITE, [STEP_READ] = PLAN_READ, [STEP_ERASE] = PLAN_ERASE, [STEP_REPAIR] = PLAN_WRITE};
        static const Stage stages[] = {[STEP_WRITE] = STAGE_WRITE, [STEP_READ] = STAGE_READ, [STEP_ERASE] = STAGE_ERASE, [STEP_REPAIR] = STAGE_WRITE};
        PlanStep *step = add(m, s->kind == STEP_WRITE && is_nv_step(s) ? PLAN_WRITE_NV : ops[s->kind], stages[s->kind]);

        set_target(step, s);
        step->block = s->kind == STEP_READ ? BLOCK_READ : s->partition[0] && !is_nv_step(s) ? BLOCK_NAME : BLOCK_ADDRESS;
        step->destructive = s->kind != STEP_READ;
        step->critical = step->destructive && is_spl(s);
        step->boot_chain = step->destructive && plan_is_boot_chain(step->partition, step->address);
        step->any_image = s->any_image;
        step->exact = s->exact;
        step->optional = s->optional;
        switch (s->kind) {
        case STEP_WRITE:
        case STEP_REPAIR:
                step->offset = s->data_offset;
                step->size = s->size;
                break;
        case STEP_READ:
                step->skip = s->offset;
                step->size = s->length;
                step->output = s->output;
                break;
        default:
                /* A named partition is erased whole; its size is not looked at (bsl-protocol §4.4). */
                step->size = s->partition[0] || s->length == U64_UNKNOWN ? 0 : s->length;
        }
}

/* The boot loader comes last: as long as it is missing an interrupted unit enters download mode by itself. */
static void add_all_chosen(Steps *m) {
        for (unsigned round = 0; round < 2; round++)
                for (size_t i = 0; i < m->in->n_steps; i++) {
                        const StepRequest *s = m->in->steps + i;
                        if (s->kind != STEP_TABLE && (s->kind == STEP_WRITE && is_spl(s)) == (round == 1))
                                add_chosen(m, s);
                }
}

static int copy_table(Plan *plan, const Pac *pac) {
        plan->partition_unit = pac ? pac->partition_unit : -1;
        if (!pac || pac->n_partitions == 0)
                return 0;
        plan->partitions = reallocarray(NULL, pac->n_partitions, sizeof(PacPartition));
        if (!plan->partitions)
                return -ENOMEM;
        memcpy(plan->partitions, pac->partitions, pac->n_partitions * sizeof(PacPartition));
        plan->n_partitions = pac->n_partitions;
        return 0;
}

/* A list of the source that agrees with that of the loaders' package is that one, gaps and all. */
static bool as_in_package(const StepsInput *in, const Plan *plan) {
        uint64_t unit = pac_partition_unit(plan->partition_unit);
        size_t i = 0;

        for (size_t k = 0; k < in->n_steps; k++) {
                const StepRequest *s = in->steps + k;
                const PacPartition *p;

                if (s->kind != STEP_TABLE || streq(s->partition, "splloader") || streq(s->partition, "splloader_bak"))
                        continue;
                while (i < plan->n_partitions && (streq(plan->partitions[i].name, "splloader") || streq(plan->partitions[i].name, "splloader_bak")))
                        i++;
                p = plan->partitions + i++;
                if (i > plan->n_partitions || !streq(p->name, s->partition) || (p->size != U64_UNKNOWN && p->size * unit != s->length))
                        return false;
        }
        return i == plan->n_partitions;
}

static int take_table(const StepsInput *in, Plan *plan) {
        size_t n = 0;

        for (size_t i = 0; i < in->n_steps; i++)
                n += in->steps[i].kind == STEP_TABLE;
        if (n == 0 || as_in_package(in, plan))
                return 0;
        if (in->options.repartition)
                return plan_give_table(in, plan);
        free(plan->partitions);
        plan->partitions = calloc(n, sizeof(PacPartition));
        if (!plan->partitions)
                return -ENOMEM;
        plan->n_partitions = 0;
        plan->partition_unit = 3; /* bytes */
        plan->unplaced = true;
        for (size_t i = 0; i < in->n_steps; i++)
                if (in->steps[i].kind == STEP_TABLE) {
                        PacPartition *p = plan->partitions + plan->n_partitions++;

                        snprintf(p->name, sizeof(p->name), "%s", in->steps[i].partition);
                        p->size = in->steps[i].length;
                }
        return 0;
}

static int fill(Steps *m) {
        Plan *plan = m->plan;
        int r;

        /* A new table: some of its partitions are backed up, and two steps make it. */
        plan->steps = calloc(m->in->n_steps * 2 + 20, sizeof(PlanStep));
        if (!plan->steps)
                return -ENOMEM;
        plan->options = m->in->options;
        plan->chosen = !m->in->options.repartition;
        plan->given_table = m->in->options.repartition;
        plan->protocol = family_find(m->in->family)->protocol;
        plan->single_loader = m->in->loader[1].size == 0;
        snprintf(plan->family, sizeof(plan->family), "%s", m->in->family);
        snprintf(plan->unit, sizeof(plan->unit), "%s", m->in->unit);
        for (size_t i = 0; i < 2; i++)
                memcpy(plan->loader[i], m->in->loader[i].sha256, sizeof(plan->loader[i]));
        plan->picked = m->in->picked;
        snprintf(plan->storage, sizeof(plan->storage), "%s", m->in->storage);
        r = copy_table(plan, m->in->pac);
        if (r == 0)
                r = take_table(m->in, plan);
        if (r < 0)
                return r;
        add(m, PLAN_HANDSHAKE, STAGE_HANDSHAKE);
        add_loader(m, 0);
        if (m->in->second_enumeration)
                add(m, PLAN_REENUMERATE, STAGE_REENUMERATE);
        if (family_find(plan->family)->questions)
                add_first_questions(m);
        if (!plan->single_loader)
                add_loader(m, 1);
        add(m, PLAN_IDENTIFY, STAGE_IDENTIFY);
        if (family_find(plan->family)->questions)
                add_checks(m, last_checks, ELEMENTSOF(last_checks), STAGE_IDENTIFY);
        r = plan->options.repartition ? plan_add_new_table(plan) : 0;
        if (r < 0)
                return r;
        add_backups(m);
        add_all_chosen(m);
        if (plan->options.finish != FINISH_NOTHING)
                add(m, plan->options.finish == FINISH_RESET ? PLAN_RESET : PLAN_POWER_OFF, STAGE_FINISH);
        r = plan->options.repair ? plan_keep_repair(plan) : plan_add_verify(plan);
        for (size_t i = 0; i < plan->n_steps; i++)
                plan->bytes_total += plan_step_bytes(plan->steps + i);
        return r;
}

/* What the places of modules take that are no flash. */
static int check_size(const StepsInput *in, const StepRequest *s, Failure *f) {
        const Family *family = family_find(in->family);

        if (s->kind != STEP_WRITE || s->partition[0] || family->places != PLACES_FLASH || s->size == 0)
                return 0;
        if (address_is_nv(s->address) && s->size > family->nv_max)
                return failure_set(f, CLASS_PLAN, "size", "The file for 0x%llx has %llu bytes; NV of the family %s has %llu at most.", (unsigned long long) s->address,
                                   (unsigned long long) s->size, in->family, (unsigned long long) family->nv_max);
        if (!address_is_nv(s->address) && address_is_identity(s->address) && s->size != PHASE_CHECK_MODULE)
                return failure_set(f, CLASS_PLAN, "size", "The file for 0x%llx has %llu bytes; phase check has %u.", (unsigned long long) s->address,
                                   (unsigned long long) s->size, PHASE_CHECK_MODULE);
        return 0;
}

int plan_make_steps(const StepsInput *in, Plan **ret, Failure *f) {
        _cleanup_(plan_freep) Plan *plan = NULL;
        int r;

        r = plan_steps_check(in, f);
        for (size_t i = 0; r == 0 && i < in->n_steps; i++)
                r = check_image(in, in->steps + i, f);
        for (size_t i = 0; r == 0 && i < in->n_steps; i++)
                r = check_size(in, in->steps + i, f);
        if (r != 0)
                return r;
        plan = calloc(1, sizeof(*plan));
        if (!plan)
                return -ENOMEM;
        r = fill(&(Steps){.in = in, .plan = plan});
        if (r == 0)
                *ret = TAKE_PTR(plan);
        return r;
}
