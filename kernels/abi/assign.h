#ifndef DIT_ABI_ASSIGN_H
#define DIT_ABI_ASSIGN_H

#include "abi/types.h"

typedef struct {
    const f32* points;     // in f32 [point_count, d]
    const f32* weights;    // in f32 [point_count, d]; null for ones
    const f32* codewords;  // in f32 [codeword_count, d]
    s32* codes;            // out s32 [point_count]
    f32* distances;        // out f32 [point_count]
    s32 point_count;
    s32 codeword_count;
} dit_assign;

#endif
