// Gradients that are sums over rows, fp32: of a bias, db = sum dy; of a gate, dg = sum d y; of a modulation, dshift = sum dy and
// dscale = sum dy (x - mean)/deviation. The last three for each sample.
//
// Layouts: abi/training_sums.h.
//
// A block takes 32 columns, so that a warp reads whole lines; warp w adds rows w, w + 16, ... in order, then the 16 sums are added in order.
// Bound: bytes, 4 to 8 a value. Compared with sums in double precision.
#include "abi/training_sums.h"
#include "common/ptx.cuh"

constexpr u32 kWarps = 16;

// add(place of the row, place in it, sums) for every row of the block's sample, then the sums to result, one row behind another.
template <int count, class Add> DIT_DEVICE void sum_rows(const dit_training_sums& args, Add add) {
    const u32 warp = warp_index(), lane = lane_index();
    const s32 column = static_cast<s32>(block_x() * 32 + lane);
    const bool exists = column < args.columns;
    f32 sums[count] = {};
    if (exists) {
        const long long first = static_cast<long long>(block_y()) * args.rows;
#pragma unroll 4
        for (s32 row = static_cast<s32>(warp); row < args.rows; row += kWarps) add(first + row, (first + row) * args.columns + column, sums);
    }
#pragma unroll
    for (u32 i = 0; i < count; i++) shared_store(((i * kWarps + warp) * 32 + lane) * 4, sums[i]);
    block_sync();
    if (warp >= count || !exists) return;
    f32 sum = 0;
#pragma unroll
    for (u32 w = 0; w < kWarps; w++) sum += shared_load<f32>(((warp * kWarps + w) * 32 + lane) * 4);
    global_store(args.result + static_cast<long long>(block_y()) * args.stride + static_cast<s32>(warp) * args.columns + column, sum);
}

DIT_KERNEL(bias_sums_kernel, dit_training_sums, 32 * kWarps) {
    sum_rows<1>(args, [&](long long, long long at, f32(&sums)[1]) { sums[0] += global_load_readonly(args.gradient + at); });
}

DIT_KERNEL(gate_sums_kernel, dit_training_sums, 32 * kWarps) {
    sum_rows<1>(args, [&](long long, long long at, f32(&sums)[1]) {
        sums[0] = fused_multiply_add(global_load_readonly(args.gradient + at), global_load_readonly(args.values + at), sums[0]);
    });
}

DIT_KERNEL(modulation_sums_kernel, dit_training_sums, 32 * kWarps) {
    sum_rows<2>(args, [&](long long row, long long at, f32(&sums)[2]) {
        const f32x2 statistics = global_load_readonly(reinterpret_cast<const f32x2*>(args.statistics) + row);
        const f32 gradient = global_load_readonly(args.gradient + at);
        sums[0] += gradient;
        sums[1] = fused_multiply_add(gradient, (global_load_readonly(args.values + at) - statistics.x) * statistics.y, sums[1]);
    });
}
