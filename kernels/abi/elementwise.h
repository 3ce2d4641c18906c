#ifndef DIT_ABI_ELEMENTWISE_H
#define DIT_ABI_ELEMENTWISE_H

#include "abi/types.h"

// out[b, r, c] = in[b, r, c]. Strides are in elements.
typedef struct {
    const void* source;            // in [batches, rows, columns], f32 or f16
    void* destination;             // out [batches, rows, columns], f32 or f16
    s32 rows;
    s32 columns;
    s32 source_row_stride;
    s32 source_column_stride;
    s32 destination_row_stride;
    s32 destination_column_stride;
    s32 source_batch_stride;
    s32 destination_batch_stride;
} dit_elementwise_convert;

#endif
