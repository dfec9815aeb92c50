/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "common/macro.h"

/* What a person may choose about a flash job beyond its mode: which files, what is checked before anything is written, and what is
 * left to the mode otherwise. Each choice has one name (option of fdlctl, key on the bus and in profiles) and is read from text in one
 * place. */

typedef enum ChoiceTri { CHOICE_AS_MODE, CHOICE_NO, CHOICE_YES } ChoiceTri;

typedef struct PlanChoice {
        char include[384], exclude[384]; /* ids of files, with commas between; "all" in include: as the package has them ticked */
        char check[160], try_check[160]; /* words of CHOICE_CHECKS, "=value" behind some, with commas between; try: if it can be asked safely */
        ChoiceTri keep_charge;           /* the unit charges while it is flashed */
        bool keep_charge_try;            /* … where the first loader is known to know how */
        ChoiceTri nv;                    /* research: YES the unit's own calibration stays, NO all is the package's */
        ChoiceTri stamps;                /* time stamp and build time are written beside the files */
        ChoiceTri erase_all;             /* factory, research: YES all of the flash is erased first */
        ChoiceTri table_check;           /* NO: a table that differs from the package's is no reason to refuse */
} PlanChoice;

/* X(word, takes a value, what is checked) */
#define CHOICE_CHECKS(X)                                                                                              \
        X(ddr, false, "the first loader tests the RAM")                                                               \
        X(chip-type, true, "chip-type=0xNNNN: the number of the chip")                                                \
        X(memory-type, true, "memory-type=MID-DID[-EID][/…]: the flash chip, hex")                                    \
        X(bad-blocks, true, "bad-blocks=PERCENT: no more bad blocks of the NAND than that")                           \
        X(old-memory, false, "the memory was never used before")                                                      \
        X(calibration, false, "the unit is calibrated")

/* One value by its name. 0; -ENOENT no such name; -EINVAL with *why (a sentence). */
int choice_set(PlanChoice *c, const char *name, const char *value, char *why, size_t why_size);
/* For i = 0, 1, …: the names of all choices; NULL behind the last. */
const char *choice_name(size_t i);
/* As choice_set() reads it; "" it was not chosen. */
void choice_get(const PlanChoice *c, size_t i, char *ret, size_t size);
#define CHOICE_TEXT_MAX 384

/* Lines "name=value", and back; what is not known is passed over. */
#define CHOICE_LINES_MAX 1400
void choice_to_text(const PlanChoice *c, char *ret, size_t size);
void choice_from_text(PlanChoice *c, const char *text);
bool choice_equal(const PlanChoice *a, const PlanChoice *b);
bool choice_is_default(const PlanChoice *c);
/* Nothing was chosen but checks and charging, which need no package. */
bool choice_is_of_loaders(const PlanChoice *c);

/* A list has that word (case does not matter). */
bool choice_lists(const char *list, const char *word);
/* The next item of a list, cut to ret; false: it is at its end. */
bool choice_next(const char **list, char *ret, size_t size);
/* How a check was chosen; *ret its value, "" none. */
typedef enum ChoiceCheck { CHECK_NOT, CHECK_TRY, CHECK_MUST } ChoiceCheck;
ChoiceCheck choice_check(const PlanChoice *c, const char *word, char *ret, size_t size);
