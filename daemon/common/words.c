/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/words.h"

#include "common/macro.h"

static const char *table_word(const char *const *table, size_t n, int value) {
        return value >= 0 && (size_t) value < n ? table[value] : NULL;
}

static int table_value(const char *const *table, size_t n, const char *word) {
        if (word)
                for (size_t i = 0; i < n; i++)
                        if (streq(table[i], word))
                                return (int) i;
        return -EINVAL;
}

#define DEFINE_WORDS(Type, prefix, table)                                             \
        const char *prefix##_to_string(Type value) {                                  \
                return table_word(table, ELEMENTSOF(table), (int) value);             \
        }                                                                             \
        Type prefix##_from_string(const char *word) {                                 \
                return (Type) table_value(table, ELEMENTSOF(table), word);            \
        }

static const char *const stage_table[] = {
#define STAGE_WORDS(name, word) [STAGE_##name] = word,
#include "common/words.def"
};
static const char *const class_table[] = {
        [CLASS_NONE] = "none",
#define CLASS_WORDS(name, word) [CLASS_##name] = word,
#include "common/words.def"
};
static const char *const aftermath_table[] = {
        [AFTERMATH_NONE] = "",
#define AFTERMATH_WORDS(name, word) [AFTERMATH_##name] = word,
#include "common/words.def"
};
static const char *const verdict_table[] = {
        [VERDICT_NONE] = "",
#define VERDICT_WORDS(name, word) [VERDICT_##name] = word,
#include "common/words.def"
};
static const char *const situation_table[] = {
#define SITUATION_WORDS(name, word) [SITUATION_##name] = word,
#include "common/words.def"
};
static const char *const job_state_table[] = {
#define JOB_STATE_WORDS(name, word) [JOB_STATE_##name] = word,
#include "common/words.def"
};
static const char *const job_result_table[] = {
        [JOB_RESULT_NONE] = "",
#define JOB_RESULT_WORDS(name, word) [JOB_RESULT_##name] = word,
#include "common/words.def"
};
static const char *const device_state_table[] = {
#define DEVICE_STATE_WORDS(name, word) [DEVICE_STATE_##name] = word,
#include "common/words.def"
};
static const char *const slot_state_table[] = {
#define SLOT_STATE_WORDS(name, word) [SLOT_STATE_##name] = word,
#include "common/words.def"
};
static const char *const flash_mode_table[] = {
#define FLASH_MODE_WORDS(name, word) [FLASH_MODE_##name] = word,
#include "common/words.def"
};
static const char *const batch_state_table[] = {
#define BATCH_STATE_WORDS(name, word) [BATCH_STATE_##name] = word,
#include "common/words.def"
};
static const char *const verify_level_table[] = {
#define VERIFY_LEVEL_WORDS(name, word) [VERIFY_##name] = word,
#include "common/words.def"
};

DEFINE_WORDS(Stage, stage, stage_table)
DEFINE_WORDS(FailClass, fail_class, class_table)
DEFINE_WORDS(Aftermath, aftermath, aftermath_table)
DEFINE_WORDS(Verdict, verdict, verdict_table)
DEFINE_WORDS(Situation, situation, situation_table)
DEFINE_WORDS(JobState, job_state, job_state_table)
DEFINE_WORDS(JobResult, job_result, job_result_table)
DEFINE_WORDS(DeviceState, device_state, device_state_table)
DEFINE_WORDS(SlotState, slot_state, slot_state_table)
DEFINE_WORDS(FlashMode, flash_mode, flash_mode_table)
DEFINE_WORDS(BatchState, batch_state, batch_state_table)
DEFINE_WORDS(VerifyLevel, verify_level, verify_level_table)
