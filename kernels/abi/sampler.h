// One image's step of a sampler, and the kernels that apply it: C# makes the whole table before the first step.
#ifndef DIT_ABI_SAMPLER_H
#define DIT_ABI_SAMPLER_H

#include "abi/types.h"

// x <- latent x + prediction eps + sigma noise; eps = u + s (c - u) on the guided channels, else c (c, u: the predictions of the
// conditional and the unconditional row). With a learned variance sigma = exp((f max + (1 - f) min)/2), f = (v + 1)/2, v the channel of
// the conditional row C further on.
typedef struct {
    s32 image;              // which latent
    s32 conditional_row;    // row of the batch
    s32 unconditional_row;  // row of the batch, or -1 without guidance
    f32 guidance_scale;     // s
    s32 guided_channels;    // leading channels that are guided
    f32 latent;
    f32 prediction;
    f32 sigma;             // without learned variance
    s32 learned_variance;  // 0 or 1
    f32 min_log_variance;
    f32 max_log_variance;
} dit_sample_update;

// What every kernel of the sampler needs to take a step. The last block of a launch adds 1 to the counter, so the same launch does the next step.
typedef struct {
    const dit_sample_update* updates;  // in [steps, update_count]
    const f32* noise;                  // in f32 [2, image_count, C, S, S], the half step & 1 is read; or null: nothing is added
    f32* latents;                      // in/out f32 [image_count, C, S, S]
    s32* step;                         // in/out s32 [1]
    u32* ticket;                       // in/out u32 [1], 0 between launches
    s32 update_count;                  // entries of a step
    s32 image_count;                   // images of a half of the noise
} dit_sampler;

typedef struct {
    dit_sampler sampler;
    const f32* prediction;  // in f32 [rows, Cout, S, S]
    s32 channels;           // C
    s32 out_channels;       // Cout
    s32 plane_size;         // S*S
} dit_guide_and_update;

typedef struct {
    const f32* patches;  // in f32 [B, T, p*p*C], tokens row-major, values of a token over (p, q, c)
    f32* output;         // out f32 [B, C, S, S]
    s32 sample_count;    // B
    s32 channels;        // C
    s32 side;            // S
    s32 patch;           // p
} dit_unpatchify;

#endif
