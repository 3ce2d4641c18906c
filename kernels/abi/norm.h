#ifndef DIT_ABI_NORM_H
#define DIT_ABI_NORM_H

#include "abi/activation.h"
#include "abi/modulation.h"

typedef struct {
    const f16* tokens;          // in f16 [rows, H]
    f16* output;                // out f16 [rows, H]; null when quantized
    dit_activation quantized;   // out; unused when not quantized
    dit_modulation modulation;  // in: shift at shift_offset, scale H values later
    s32 rows;                   // M = B T
    s32 tokens_per_sample;      // T
    s32 shift_offset;           // values from the start of a table row, a multiple of 4
    f32 epsilon;                // added to the variance
} dit_norm_modulate;

#endif
