#ifndef DIT_ABI_TRAINING_NORM_H
#define DIT_ABI_TRAINING_NORM_H

#include "abi/types.h"

typedef struct {
    const f32* x;                // in f32 [rows, hidden]
    const f32* modulation;       // in f32, from the first sample's shift on; the scale follows it
    const f32* output_gradient;  // in f32 [rows, hidden]; null forward
    f32* result;                 // out f32 [rows, hidden]; of the gradient in too: it is added to
    f32* statistics;             // out f32 [rows, 2]: mean, 1/deviation; null forward
    s32 rows;                    // M = B T
    s32 hidden;                  // H
    s32 tokens;                  // T
    s32 stride;                  // values from one sample's modulation to the next
    f32 epsilon;                 // added to the variance
} dit_training_norm;

#endif
