#ifndef DIT_ABI_TRAINING_SUMS_H
#define DIT_ABI_TRAINING_SUMS_H

#include "abi/types.h"

typedef struct {
    const f32* gradient;    // in f32 [samples, rows, columns]
    const f32* values;      // in f32 [samples, rows, columns]: what the gradient is multiplied by; null for biases
    const f32* statistics;  // in f32 [samples, rows, 2]: mean, 1/deviation of the values; null but for norms
    f32* result;            // out f32, a row of columns every `stride` values for each sample; for norms shift and, after it, scale
    s32 rows;               // of a sample
    s32 columns;
    s32 stride;
} dit_training_sums;

#endif
