#ifndef DIT_ABI_TRAINING_PRODUCT_H
#define DIT_ABI_TRAINING_PRODUCT_H

#include "abi/types.h"

// result [rows, columns] = sum over the depth of left and right, added to what is there or not.
//   product             left            right
//   0 output            [rows, depth]   [columns, depth]
//   1 input gradient    [rows, depth]   [depth, columns]
//   2 weight gradient   [depth, rows]   [depth, columns]
typedef struct {
    const f32* left;   // in f32, its rows multiples of 4 values
    const f32* right;  // in f32, its rows multiples of 4 values
    f32* result;       // out f32 [rows, columns]; in too where it is added to
    s32 rows;
    s32 columns;
    s32 depth;
    s32 adds;  // 0 or 1
} dit_training_product;

#endif
