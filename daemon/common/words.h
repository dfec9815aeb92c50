/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The enums whose words travel on the bus, in the store and in failure codes.
 * For each enum Foo: foo_to_string() gives a static word, or NULL for a value out of range;
 * foo_from_string() gives the value or FOO_INVALID (negative). */

#define DECLARE_WORDS(Type, prefix)                 \
        const char *prefix##_to_string(Type value); \
        Type prefix##_from_string(const char *word);

typedef enum Stage {
#define STAGE_WORDS(name, word) STAGE_##name,
#include "common/words.def"
        STAGE_MAX,
        STAGE_INVALID = -22,
} Stage;

typedef enum FailClass {
        CLASS_NONE, /* not failed; word "none" */
#define CLASS_WORDS(name, word) CLASS_##name,
#include "common/words.def"
        CLASS_MAX,
        CLASS_INVALID = -22,
} FailClass;

typedef enum Aftermath {
        AFTERMATH_NONE, /* nobody looked; word "" */
#define AFTERMATH_WORDS(name, word) AFTERMATH_##name,
#include "common/words.def"
        AFTERMATH_MAX,
        AFTERMATH_INVALID = -22,
} Aftermath;

typedef enum Verdict {
        VERDICT_NONE, /* no unit is concerned; word "" */
#define VERDICT_WORDS(name, word) VERDICT_##name,
#include "common/words.def"
        VERDICT_MAX,
        VERDICT_INVALID = -22,
} Verdict;

/* Several hold at a time: as a set, bit 1 << value. */
typedef enum Situation {
#define SITUATION_WORDS(name, word) SITUATION_##name,
#include "common/words.def"
        SITUATION_MAX,
        SITUATION_INVALID = -22,
} Situation;

typedef enum JobState {
#define JOB_STATE_WORDS(name, word) JOB_STATE_##name,
#include "common/words.def"
        JOB_STATE_MAX,
        JOB_STATE_INVALID = -22,
} JobState;

typedef enum JobResult {
        JOB_RESULT_NONE, /* not finished; word "" */
#define JOB_RESULT_WORDS(name, word) JOB_RESULT_##name,
#include "common/words.def"
        JOB_RESULT_MAX,
        JOB_RESULT_INVALID = -22,
} JobResult;

typedef enum DeviceState {
#define DEVICE_STATE_WORDS(name, word) DEVICE_STATE_##name,
#include "common/words.def"
        DEVICE_STATE_MAX,
        DEVICE_STATE_INVALID = -22,
} DeviceState;

typedef enum SlotState {
#define SLOT_STATE_WORDS(name, word) SLOT_STATE_##name,
#include "common/words.def"
        SLOT_STATE_MAX,
        SLOT_STATE_INVALID = -22,
} SlotState;

typedef enum FlashMode {
#define FLASH_MODE_WORDS(name, word) FLASH_MODE_##name,
#include "common/words.def"
        FLASH_MODE_MAX,
        FLASH_MODE_INVALID = -22,
} FlashMode;

typedef enum BatchState {
#define BATCH_STATE_WORDS(name, word) BATCH_STATE_##name,
#include "common/words.def"
        BATCH_STATE_MAX,
        BATCH_STATE_INVALID = -22,
} BatchState;

/* How much is read back and compared after writing: nothing, pieces of everything, the places that decide whether and as whom a unit
 * lives and pieces of the rest, everything. */
typedef enum VerifyLevel {
#define VERIFY_LEVEL_WORDS(name, word) VERIFY_##name,
#include "common/words.def"
        VERIFY_LEVEL_MAX,
        VERIFY_LEVEL_INVALID = -22,
} VerifyLevel;

DECLARE_WORDS(Stage, stage)
DECLARE_WORDS(FailClass, fail_class)
DECLARE_WORDS(Aftermath, aftermath)
DECLARE_WORDS(Verdict, verdict)
DECLARE_WORDS(Situation, situation)
DECLARE_WORDS(JobState, job_state)
DECLARE_WORDS(JobResult, job_result)
DECLARE_WORDS(DeviceState, device_state)
DECLARE_WORDS(SlotState, slot_state)
DECLARE_WORDS(FlashMode, flash_mode)
DECLARE_WORDS(BatchState, batch_state)
DECLARE_WORDS(VerifyLevel, verify_level)
