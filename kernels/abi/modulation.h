// The adaLN modulation of one layer: a table of rows, and which of them each sample uses at the current step.
// The row of sample b is rows[*step * sample_count + b]; a row holds chunks of H values (shift, scale or gate).
#ifndef DIT_ABI_MODULATION_H
#define DIT_ABI_MODULATION_H

#include "abi/types.h"

typedef struct {
    const f32* table;  // f32 [R, stride]
    const s32* rows;   // s32 [steps, sample_count]
    const s32* step;   // s32 [1]
    s32 stride;        // values from one row of the table to the next
    s32 sample_count;  // B
} dit_modulation;

#endif
