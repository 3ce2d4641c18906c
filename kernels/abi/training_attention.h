#ifndef DIT_ABI_TRAINING_ATTENTION_H
#define DIT_ABI_TRAINING_ATTENTION_H

#include "abi/types.h"

typedef struct {
    const f32* qkv;              // in f32 [B, T, 3, heads, D]
    const f32* output_gradient;  // in f32 [B, T, heads, D]; null forward
    f32* output;                 // out f32 [B, T, heads, D]; null in the gradient
    f32* input_gradient;         // out f32 [B, T, 3, heads, D]; null forward
    f32* statistics;             // f32 [B, heads, T, 4]: largest q k, 1/sum, sum of p dp; out of the queries' kernel, in to the keys'
    s32 tokens;                  // T
    s32 heads;
    f32 scale;  // 1/sqrt(D)
} dit_training_attention;

#endif
