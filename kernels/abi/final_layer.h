#ifndef DIT_ABI_FINAL_LAYER_H
#define DIT_ABI_FINAL_LAYER_H

#include "abi/modulation.h"
#include "abi/sampler.h"

typedef struct {
    const f16* tokens;          // in f16 [rows, T, H]
    dit_modulation modulation;  // of the final layer: chunk 0 shifts, chunk 1 scales
    const f16* weight;          // in f16 [N, H], N = p*p*Cout
    const f32* bias;            // in f32 [N]
    dit_sampler sampler;        // what becomes of the prediction
    f32* prediction;            // out f32 [rows, Cout, S, S], or null
    s32 side;                   // S
    f32 epsilon;                // added to the variance
} dit_final_layer;

#endif
