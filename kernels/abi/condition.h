#ifndef DIT_ABI_CONDITION_H
#define DIT_ABI_CONDITION_H

#include "abi/types.h"

typedef struct {
    const f16* timestep_embedding;  // in f16 [rows, H]
    const f32* label_table;         // in f32 [classes + 1, H]
    const s32* labels;              // in s32 [rows], each a row of the table
    f16* condition;                 // out f16 [rows, H]
    s32 rows;
} dit_condition;

typedef struct {
    const s32* timesteps;    // in s32 [rows]
    const f32* frequencies;  // in f32 [half]
    f16* features;           // out f16 [rows, 2 half]
    s32 rows;
} dit_timestep_features;

#endif
