#ifndef DIT_ABI_ATTENTION_H
#define DIT_ABI_ATTENTION_H

#include "abi/activation.h"

typedef struct {
    const f16* qkv;            // in f16 [3, B, heads, T, D]
    f16* output;               // out f16 [B T, heads D]; null when quantized
    dit_activation quantized;  // out; unused when not quantized
    s32 batch;                 // B
    s32 heads;
    s32 tokens;       // T
    f32 score_scale;  // log2(e)/sqrt(D)
} dit_attention;

#endif
