#ifndef DIT_ABI_TRAINING_POINTWISE_H
#define DIT_ABI_TRAINING_POINTWISE_H

#include "abi/types.h"

// What work on single values reads; which kernel reads what stands in training/pointwise.cu.
typedef struct {
    const f32* input;   // in f32 [rows, columns]
    const f32* factor;  // in f32 [rows, columns], or one row for all, or a row every `stride` values for each sample
    f32* result;        // out f32 [rows, columns]; in too where it is added to; may be the input
    s32 rows;
    s32 columns;
    s32 tokens;  // rows of a sample
    s32 stride;  // values from one sample's factors to the next
} dit_training_pointwise;

typedef struct {
    const f32* x;       // in f32 [count]
    const f32* target;  // in f32 [count]
    f32* gradient;      // in and out f32 [count]: added to
    f32* partials;      // out f32 [blocks]: sum of squares of each
    s32 count;
    f32 factor;  // 2 weight
} dit_squared_error;

#endif
