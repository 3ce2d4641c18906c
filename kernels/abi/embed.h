#ifndef DIT_ABI_EMBED_H
#define DIT_ABI_EMBED_H

#include "abi/types.h"

typedef struct {
    const f32* latents;          // in f32 [images, C, S, S]
    const s32* image_of_sample;  // in s32 [B]
    const f32* weight;           // in f32 [H, C p p]
    const f32* bias;             // in f32 [H], or null
    const f32* positions;        // in f32 [T, H]
    f16* tokens;                 // out f16 [B T, H]
    s32 batch;                   // B
    s32 side;                    // S
} dit_patch_embed;

#endif
