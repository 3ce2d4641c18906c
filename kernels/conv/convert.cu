// Copies between layouts and between f32 and f16: out[b, r, c] = in[b, r, c], any strides. To f16 it rounds to nearest; what is too large becomes infinite.
//
// A thread moves one value; neighbours take neighbouring columns. For uploads, downloads and the way from latents to decoder input, none of
// them in a sampling step. Bound: bytes. Compared with a loop in C#.
//
// SOURCE_HALF, DESTINATION_HALF: 1 for f16, 0 for f32.
#include "abi/elementwise.h"
#include "common/ptx.cuh"

DIT_KERNEL(convert_kernel, dit_elementwise_convert, 256) {
    const u32 index = block_x() * 256 + thread_index();
    const s32 row = static_cast<s32>(index / static_cast<u32>(args.columns)), column = static_cast<s32>(index % static_cast<u32>(args.columns));
    if (row >= args.rows) return;
    const long long batch = block_y();
    const long long from = batch * args.source_batch_stride + static_cast<long long>(row) * args.source_row_stride + static_cast<long long>(column) * args.source_column_stride;
    const long long to = batch * args.destination_batch_stride + static_cast<long long>(row) * args.destination_row_stride + static_cast<long long>(column) * args.destination_column_stride;
    f32 value;
    if constexpr (SOURCE_HALF != 0) value = half_to_float(global_load_readonly(static_cast<const f16*>(args.source) + from));
    else value = global_load_readonly(static_cast<const f32*>(args.source) + from);
    if constexpr (DESTINATION_HALF != 0) global_store(static_cast<f16*>(args.destination) + to, float_to_half(value));
    else global_store(static_cast<f32*>(args.destination) + to, value);
}
