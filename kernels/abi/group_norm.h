#ifndef DIT_ABI_GROUP_NORM_H
#define DIT_ABI_GROUP_NORM_H

#include "abi/types.h"

typedef struct {
    const f16* input;  // in f16 [B, P, stride], stride = C rounded up to 8
    const f32* gamma;  // in f32 [C]
    const f32* beta;   // in f32 [C]
    f32* partials;     // f32 [B, slabs, groups, 2]: mean and sum of squared deviations; written by the first kernel, read by the second
    f16* output;       // out f16 [B, P, stride], may be the input
    s32 pixel_count;   // P
    s32 channels;      // C
    s32 group_count;   // divides C
    s32 slab_pixels;   // pixels of a block
    f32 epsilon;       // added to the variance
} dit_group_norm;

#endif
